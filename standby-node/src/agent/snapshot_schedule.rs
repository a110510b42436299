//! When a node takes a snapshot of its own accord.

/// After a failure, or after a snapshot that was wanted soon, this long passes before the next: a disk that is full
/// does not get room by trying, and members that answer nothing are not to be buried in snapshots.
const PAUSE_NS: u64 = 60_000_000_000;

/// The rules, and what has happened so far. Times are those of one monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotSchedule {
    interval_ns: Option<u64>,
    log_length: Option<i64>,
    last_ns: u64,
    last_position: i64,
    not_before_ns: u64,
    wanted_soon: bool,
    soon_not_before_ns: u64,
}

impl SnapshotSchedule {
    /// A snapshot is due when `interval_ns` have passed since the last one, or the log has grown by `log_length` bytes
    /// since then; `None` leaves a rule out.
    pub fn new(interval_ns: Option<u64>, log_length: Option<i64>) -> Self {
        Self { interval_ns, log_length, ..Self::default() }
    }

    /// The services stand at `log_position`, and the clock begins to run.
    pub fn start(&mut self, log_position: i64, now_ns: u64) {
        self.last_position = log_position;
        self.last_ns = now_ns;
    }

    /// Take one as soon as the log has grown, but at most one a minute: for a set of which nobody knows whether a member
    /// has it, which must not be sent twice.
    pub fn request_soon(&mut self) {
        self.wanted_soon = true;
    }

    /// Whether a snapshot is due at the log's end. None is while the log has not grown since the last: it would be the
    /// same one.
    pub fn is_due(&self, log_end: i64, now_ns: u64) -> bool {
        if log_end <= self.last_position || now_ns < self.not_before_ns {
            return false;
        }
        self.interval_ns.is_some_and(|interval_ns| now_ns.saturating_sub(self.last_ns) >= interval_ns)
            || self.log_length.is_some_and(|length| log_end - self.last_position >= length)
            || (self.wanted_soon && now_ns >= self.soon_not_before_ns)
    }

    /// A snapshot at `log_position` counts, whoever asked for it.
    pub fn on_taken(&mut self, log_position: i64, now_ns: u64) {
        if self.wanted_soon && log_position > self.last_position {
            self.wanted_soon = false;
            self.soon_not_before_ns = now_ns.saturating_add(PAUSE_NS);
        }
        self.last_position = self.last_position.max(log_position);
        self.last_ns = now_ns;
    }

    /// A snapshot was given up.
    pub fn on_given_up(&mut self, now_ns: u64) {
        self.last_ns = now_ns;
        self.not_before_ns = now_ns.saturating_add(PAUSE_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn without_rules_nothing_is_due() {
        let mut schedule = SnapshotSchedule::new(None, None);
        schedule.start(640, 0);
        assert!(!schedule.is_due(i64::MAX, u64::MAX));
    }

    #[test]
    fn the_interval_counts_from_the_last_snapshot_and_waits_for_the_log() {
        let mut schedule = SnapshotSchedule::new(Some(10 * SECOND), None);
        schedule.start(640, 5 * SECOND);
        assert!(!schedule.is_due(672, 14 * SECOND) && schedule.is_due(672, 15 * SECOND));
        assert!(!schedule.is_due(640, 100 * SECOND), "the log has not grown");
        schedule.on_taken(672, 16 * SECOND);
        assert!(!schedule.is_due(704, 25 * SECOND) && schedule.is_due(704, 26 * SECOND));
    }

    #[test]
    fn the_log_length_counts_from_the_last_snapshot() {
        let mut schedule = SnapshotSchedule::new(None, Some(1000));
        schedule.start(640, 0);
        assert!(!schedule.is_due(1632, 1) && schedule.is_due(1664, 1));
        schedule.on_taken(1664, 2);
        assert!(!schedule.is_due(2656, 3) && schedule.is_due(2688, 3));
    }

    #[test]
    fn after_a_failure_a_minute_passes() {
        let mut schedule = SnapshotSchedule::new(None, Some(1000));
        schedule.on_given_up(SECOND);
        assert!(!schedule.is_due(5000, 60 * SECOND) && schedule.is_due(5000, 61 * SECOND));
    }

    #[test]
    fn one_that_is_wanted_soon_comes_at_once_and_then_once_a_minute() {
        let mut schedule = SnapshotSchedule::new(None, None);
        schedule.start(640, 0);
        schedule.request_soon();
        assert!(!schedule.is_due(640, 1) && schedule.is_due(672, 1));
        schedule.on_taken(672, 2 * SECOND);
        assert!(!schedule.is_due(704, 3 * SECOND), "it was taken");
        schedule.request_soon();
        assert!(!schedule.is_due(704, 61 * SECOND) && schedule.is_due(704, 62 * SECOND));
    }
}
