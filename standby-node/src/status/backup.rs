//! What a backup shows of itself, under the type ids, keys and labels of Aeron's `ClusterBackup`.

use std::time::Duration;

use consensus_tap::file::cnc::counters as kind;
use consensus_tap::tap::{TapState, TapStatus};

use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Who sets the deadline from outside need not wait longer than this.
const DEADLINE_CHECK_INTERVAL_NS: u64 = 100_000_000;
/// `ClusterBackup.State`.
const SNAPSHOT_RETRIEVE: i64 = 1;
const CLOSED: i64 = 7;

/// The receiver's part: where the backup is.
#[derive(Debug)]
pub struct BackupGauges {
    state: Counter,
    live_log_position: Counter,
}

/// The conductor's part: when newer snapshots are asked for next, and what came of it.
///
/// The deadline is a counter that others may set, as `ClusterTool backup-query` does.
#[derive(Debug)]
pub struct BackupSchedule {
    query_deadline_ms: Counter,
    snapshots_retrieved: Counter,
    interval_ms: i64,
    check_due_ns: u64,
}

impl BackupGauges {
    /// Allocates the counters.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(counters: &mut CountersManager, cluster_id: i32) -> Result<Self, CountersFull> {
        let mut cluster = |type_id, name| counters.allocate_for_cluster(type_id, name, cluster_id, 0);
        Ok(Self {
            state: cluster(kind::BACKUP_STATE, "ClusterBackup State")?,
            live_log_position: cluster(kind::BACKUP_LIVE_LOG_POSITION, "ClusterBackup live log position")?,
        })
    }

    /// Shows where the backup is, and how far its recording of the log.
    pub fn show(&self, tap: &TapStatus, recorded_position: Option<i64>) {
        self.state.set_ordered(state_code(tap));
        if let Some(position) = recorded_position {
            self.live_log_position.set_ordered(position);
        }
    }

    /// The node ends in order.
    pub fn show_closed(&self) {
        self.state.set_ordered(CLOSED);
    }
}

/// The code of `ClusterBackup.State` that comes nearest. What needs an operator is RESET_BACKUP, as there: nothing is
/// backed up.
fn state_code(tap: &TapStatus) -> i64 {
    match tap.state {
        TapState::BackupQuery => 0,
        TapState::SnapshotRetrieve => SNAPSHOT_RETRIEVE,
        TapState::Following if tap.is_fetching_beside => SNAPSHOT_RETRIEVE,
        TapState::ArchiveConnect => 2,
        TapState::LogReplay => 3,
        TapState::Following => 5,
        TapState::LogPurged | TapState::Diverged | TapState::Failed => 6,
    }
}

impl BackupSchedule {
    /// Allocates the counters; the first query is due an `interval` after `now_ms` (epoch), since every source is
    /// asked for its snapshots when it is chosen.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        interval: Duration,
        now_ms: i64,
    ) -> Result<Self, CountersFull> {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let mut cluster =
            |type_id, name, initial| counters.allocate_for_cluster(type_id, name, cluster_id, initial);
        Ok(Self {
            query_deadline_ms: cluster(
                kind::BACKUP_QUERY_DEADLINE,
                "ClusterBackup next query deadline in ms",
                now_ms.saturating_add(interval_ms),
            )?,
            snapshots_retrieved: cluster(
                kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT,
                "ClusterBackup snapshots retrieved",
                0,
            )?,
            interval_ms,
            check_due_ns: 0,
        })
    }

    /// Whether newer snapshots are to be asked for now. `epoch_ms` is called ten times a second at most.
    pub fn poll(&mut self, now_ns: u64, epoch_ms: impl FnOnce() -> i64) -> bool {
        if now_ns < self.check_due_ns {
            return false;
        }
        self.check_due_ns = now_ns + DEADLINE_CHECK_INTERVAL_NS;
        let now_ms = epoch_ms();
        let deadline_ms = self.query_deadline_ms.get_volatile();
        // What was set from outside in between counts, and is looked at the next time.
        now_ms > deadline_ms
            && self.query_deadline_ms.compare_and_set(deadline_ms, now_ms.saturating_add(self.interval_ms))
    }

    /// A set of snapshots was fetched and entered.
    pub fn on_retrieved(&self) {
        self.snapshots_retrieved.add_ordered(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cnc::{CncFile, CncReader, CncSettings};

    const CLUSTER_ID: i32 = 3;
    const NOW_MS: i64 = 1_000_000;

    #[test]
    fn a_query_is_due_after_each_interval_and_whenever_somebody_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(directory.path(), &CncSettings::default(), NOW_MS).unwrap();
        let interval = Duration::from_secs(60);
        let mut schedule = BackupSchedule::allocate(&mut counters, CLUSTER_ID, interval, NOW_MS).unwrap();
        let deadline = schedule.query_deadline_ms.clone();
        assert_eq!(deadline.get(), NOW_MS + 60_000);

        let mut now_ns = 0;
        let mut poll_at = |now_ms| {
            now_ns += DEADLINE_CHECK_INTERVAL_NS;
            schedule.poll(now_ns, || now_ms)
        };
        assert!(!poll_at(NOW_MS + 60_000));
        assert!(poll_at(NOW_MS + 60_001));
        assert_eq!(deadline.get(), NOW_MS + 120_001);
        assert!(!poll_at(NOW_MS + 60_002));
        deadline.set_ordered(NOW_MS + 61_000);
        assert!(poll_at(NOW_MS + 61_001));
        assert_eq!(deadline.get(), NOW_MS + 121_001);
        // Whoever sets it far away has its peace.
        deadline.set_ordered(i64::MAX);
        assert!(!poll_at(i64::MAX));
    }

    #[test]
    fn between_two_checks_no_clock_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(directory.path(), &CncSettings::default(), NOW_MS).unwrap();
        let mut schedule =
            BackupSchedule::allocate(&mut counters, CLUSTER_ID, Duration::ZERO, NOW_MS).unwrap();
        assert!(schedule.poll(5, || NOW_MS + 1));
        assert!(!schedule.poll(5 + DEADLINE_CHECK_INTERVAL_NS - 1, || panic!("too early")));
    }

    #[test]
    fn counters_carry_the_labels_that_clusterbackup_gives_them() {
        let directory = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(directory.path(), &CncSettings::default(), NOW_MS).unwrap();
        let _gauges = BackupGauges::allocate(&mut counters, CLUSTER_ID).unwrap();
        let _schedule =
            BackupSchedule::allocate(&mut counters, CLUSTER_ID, Duration::from_secs(1), NOW_MS).unwrap();
        let reader = CncReader::open(directory.path()).unwrap();
        for (type_id, label) in [
            (208, "ClusterBackup State - clusterId=3"),
            (209, "ClusterBackup live log position - clusterId=3"),
            (210, "ClusterBackup next query deadline in ms - clusterId=3"),
            (240, "ClusterBackup snapshots retrieved - clusterId=3"),
        ] {
            let counter = reader.find(type_id, &CLUSTER_ID.to_le_bytes()).unwrap();
            assert_eq!(counter.label, label);
        }
    }
}
