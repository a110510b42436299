//! Retention while the node runs: what the policy no longer wants goes, and nobody who still needs it is disturbed.
//!
//! ```text
//!   plan -> archive serves a list without it, tells who still reads it -> plan again, with that
//!        -> receiver looks below the log's new start no more
//!        -> rows of recording.log, on the disk -> catalog, on the disk -> files
//! ```
//! Whatever fails is said. A deletion is tried again after a minute; what disowns files and may not be on the disk ends
//! it, for only a start writes these files anew. Each step leaves the directory as one that a node, or a Java archive,
//! starts from.

use consensus_tap::file::retention::{Pins, RetentionPolicy};
use consensus_tap::tap::OVERLAP_LENGTH;

use super::{ArchiveCommand, Conductor, LeadCommand, ReceiverCommand, StorageJob};
use crate::agent::storage::PurgeFailure;
use crate::store::ControlFileSync;
use crate::store::counters::Counter;
use crate::store::history::{Going, HistoryError, RecordingPlace};
use crate::store::purge::{Deletions, UnnamedFiles};

/// After a failure, and while others still read what is to go.
const RETRY_INTERVAL_NS: u64 = 60_000_000_000;
/// A snapshot is on the disk before the log up to it is, at file sync level 0 by up to a sync interval.
const DURABLE_INTERVAL_NS: u64 = 100_000_000;

/// What is to be kept, and how far the purge under way has come.
#[derive(Debug)]
pub struct Retention {
    /// `None`: everything.
    policy: Option<RetentionPolicy>,
    durable_position: Counter,
    /// Up to where the replica has certainly read, where there is one.
    replica_position: Option<i64>,
    is_due: bool,
    due_ns: u64,
    /// Nothing more is purged.
    is_halted: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The services do not run yet.
    Starting,
    Idle,
    /// The archive agent is asked who still reads what would go.
    Asking(Question),
    /// The receiver is told where the log will begin.
    MovingStart(Going),
    /// Rows of recording.log are on their way to the disk.
    Withdrawing(Going),
    /// The catalog is on its way to the disk, and then files are deleted.
    Deleting(Going),
}

/// Who still reads what would go.
#[derive(Debug)]
struct Question {
    going: Going,
    pins: Pins,
    log_recording_id: i64,
    unanswered: Vec<i64>,
}

impl Question {
    fn new(going: Going, pins: Pins, log_recording_id: i64) -> Self {
        let unanswered = going.recording_ids.iter().copied().chain([log_recording_id]).collect();
        Self { going, pins, log_recording_id, unanswered }
    }

    /// A replay still reads a recording from `position` on, or none does. True with the last answer.
    fn on_answer(&mut self, recording_id: i64, position: Option<i64>) -> bool {
        self.unanswered.retain(|&asked| asked != recording_id);
        if let Some(position) = position {
            if recording_id == self.log_recording_id {
                self.pins.log_positions.push(position);
            } else {
                // The whole set stays: who reads one of its recordings will ask for the others.
                let of_set =
                    self.going.purge.sets.iter().find(|set| {
                        set.consensus_module == recording_id || set.services.contains(&recording_id)
                    });
                self.pins.set_positions.extend(of_set.map(|set| set.log_position));
                self.going.recording_ids.retain(|&going| going != recording_id);
            }
        }
        self.unanswered.is_empty()
    }

    /// What of `planned`, with the answers in mind, goes now: nothing that nobody was asked about, such as a set that a
    /// newer one has made unwanted since.
    fn limit(&self, mut planned: Going) -> Going {
        let Going { purge, recording_ids } = &self.going;
        planned.purge.sets.retain(|set| purge.sets.contains(set));
        planned.recording_ids.retain(|recording_id| recording_ids.contains(recording_id));
        planned.purge.log_start_position = planned.purge.log_start_position.min(purge.log_start_position);
        planned
    }
}

impl Retention {
    /// Keeps what `policy` wants, all of it with `None`. `durable_position` is up to where the log is on the disk.
    pub fn new(policy: Option<RetentionPolicy>, durable_position: Counter) -> Self {
        let phase = Phase::Starting;
        let (is_due, due_ns, is_halted) = (false, 0, false);
        Self { policy, durable_position, replica_position: None, is_due, due_ns, is_halted, phase }
    }

    /// Everything that reads the log runs, from `log_position` on.
    pub(super) fn start(&mut self, log_position: i64, has_replica: bool) {
        self.replica_position = has_replica.then_some(log_position);
        self.phase = Phase::Idle;
        self.on_history_changed();
    }

    /// All that takes snapshots has read the log up to `log_position`.
    pub(super) fn on_snapshot_published(&mut self, log_position: i64) {
        if let Some(position) = &mut self.replica_position {
            *position = log_position;
        }
        self.on_history_changed();
    }

    /// There is a newer set, or a member needs an older one no more.
    pub(super) fn on_history_changed(&mut self) {
        self.is_due = true;
    }

    /// Nothing more is purged: following has ended for good, and what is here stays as it is for whoever looks for the
    /// cause; or the disk failed. A purge that has begun to change files comes to its end.
    pub(super) fn halt(&mut self) {
        self.is_halted = true;
    }

    /// What the archive must not list any more, though the catalog still does.
    pub(super) fn going(&self) -> Option<&Going> {
        match &self.phase {
            Phase::Asking(Question { going, .. }) | Phase::MovingStart(going) | Phase::Withdrawing(going) => {
                Some(going)
            }
            Phase::Starting | Phase::Idle | Phase::Deleting(_) => None,
        }
    }

    fn may_begin(&self, now_ns: u64) -> bool {
        !self.is_halted && self.is_due && now_ns >= self.due_ns && matches!(self.phase, Phase::Idle)
    }

    /// A step failed. Returns what there is to say.
    fn on_failed(&mut self, failure: &PurgeFailure, now_ns: u64) -> String {
        self.retry_later(now_ns, RETRY_INTERVAL_NS);
        let (reason, next) = match failure {
            PurgeFailure::NotOnDisk(reason) => {
                // A retry would find nothing left to disown, and delete files that the disk may still name.
                self.halt();
                (
                    reason,
                    "nothing more is purged until the node is started again, which writes its files anew",
                )
            }
            PurgeFailure::NotDeleted(reason) => (reason, "it is tried again in a minute"),
        };
        format!("the archive is not purged: {reason}; {next}")
    }

    fn retry_later(&mut self, now_ns: u64, after_ns: u64) {
        self.phase = Phase::Idle;
        self.is_due = true;
        self.due_ns = now_ns.saturating_add(after_ns);
    }
}

impl Conductor {
    /// Begins a purge when one is due.
    pub(super) fn purge(&mut self) -> usize {
        let (Some(policy), Some(log)) = (self.retention.policy, &self.log) else { return 0 };
        if !self.retention.may_begin(self.now_ns) {
            return 0;
        }
        let certain_position = self.certain_position();
        if self.newest_snapshot().is_some_and(|newest| newest > certain_position) {
            // Without that set an older one is still needed.
            self.retention.retry_later(self.now_ns, DURABLE_INTERVAL_NS);
            return 0;
        }
        let pins = self.pins(certain_position);
        let going = self.plan(policy, &pins, log, certain_position);
        self.retention.is_due = false;
        if going.is_empty(log) {
            // A crash may have come between the last step and its files.
            let files = self.history.unnamed_files();
            self.retention.phase = Phase::Deleting(going);
            self.purge_step(Ok(None), Some(files));
            return 1;
        }
        let question = Question::new(going, pins, log.recording_id());
        let asked = question.unanswered.clone();
        self.retention.phase = Phase::Asking(question);
        self.serve_recordings();
        for recording_id in asked {
            self.rings.archive_commands.push(ArchiveCommand::AskLowestReplay { recording_id });
        }
        1
    }

    /// Up to where the log is on the disk and was read. A set beyond may be of a tail that a power cut took, and the log
    /// go on without it: that shows when a new term is read.
    fn certain_position(&self) -> i64 {
        let durable_position = self.retention.durable_position.get_volatile();
        self.module_position.get().map_or(durable_position, |read| durable_position.min(read))
    }

    /// What this node itself and the members need.
    fn pins(&self, certain_position: i64) -> Pins {
        let readers = self.module_position.get().into_iter().chain(self.retention.replica_position);
        let compared_from = certain_position.saturating_sub(OVERLAP_LENGTH);
        Pins {
            log_positions: readers.chain([compared_from]).collect(),
            set_positions: self.downstream.referred_positions(),
        }
    }

    fn plan(
        &self,
        policy: RetentionPolicy,
        pins: &Pins,
        log: &RecordingPlace,
        certain_position: i64,
    ) -> Going {
        self.history.plan_purge(policy, pins, self.starting.service_count(), log, certain_position)
    }

    /// The archive agent says from where on a recording is still read; a replay that it begins from now on reads nothing
    /// of what would go.
    pub(super) fn on_lowest_replay(&mut self, recording_id: i64, position: Option<i64>) {
        if let Phase::Asking(question) = &mut self.retention.phase
            && question.on_answer(recording_id, position)
        {
            self.begin_purge();
        }
    }

    /// Nobody reads what goes now.
    fn begin_purge(&mut self) {
        let Phase::Asking(mut question) = std::mem::replace(&mut self.retention.phase, Phase::Idle) else {
            return;
        };
        let (Some(policy), Some(log)) = (self.retention.policy, &self.log) else { return };
        if self.retention.is_halted {
            return self.serve_recordings();
        }
        let certain_position = self.certain_position();
        // A member may have been told of one meanwhile.
        question.pins.set_positions.extend(self.downstream.referred_positions());
        let going = question.limit(self.plan(policy, &question.pins, log, certain_position));
        let goes_nothing = going.is_empty(log);
        if going != question.going {
            self.retention.retry_later(self.now_ns, RETRY_INTERVAL_NS);
        }
        if goes_nothing {
            return self.serve_recordings();
        }
        self.downstream.on_purge(&going.purge.sets);
        let position = going.purge.log_start_position;
        self.retention.phase = Phase::MovingStart(going);
        self.serve_recordings();
        if self.leadership.is_leading() {
            self.leadership.command(LeadCommand::MoveLogStart { position });
        } else {
            self.command(ReceiverCommand::MoveLogStart { position });
        }
    }

    /// The receiver looks at nothing any more that goes.
    pub(super) fn on_log_start_moved(&mut self) {
        let Phase::MovingStart(going) = std::mem::replace(&mut self.retention.phase, Phase::Idle) else {
            return;
        };
        let withdrawn = self.history.withdraw_sets(&going).map(Some);
        self.retention.phase = Phase::Withdrawing(going);
        self.purge_step(withdrawn, None);
    }

    /// A step is done, or why not.
    pub(super) fn on_purged(&mut self, purged: Result<Deletions, PurgeFailure>) {
        let deletions = match purged {
            Ok(deletions) => deletions,
            Err(failure) => return self.purge_failed(&failure),
        };
        match std::mem::replace(&mut self.retention.phase, Phase::Idle) {
            Phase::Withdrawing(going) => {
                let Some(log) = &mut self.log else { return };
                let disowned = self.history.disown(&going, log).map(Some);
                let files = self.history.unnamed_files();
                self.retention.phase = Phase::Deleting(going);
                self.purge_step(disowned, Some(files));
                self.serve_recordings();
            }
            Phase::Deleting(going) if !deletions.files.is_empty() => {
                let sets: Vec<i64> = going.purge.sets.iter().map(|set| set.log_position).collect();
                tracing::info!(
                    snapshots = ?sets,
                    log_start = going.purge.log_start_position,
                    files = deletions.files.len(),
                    bytes = deletions.occupied,
                    "purged"
                );
            }
            _ => {}
        }
    }

    /// Has the disk catch up with a step.
    fn purge_step(
        &mut self,
        changed: Result<Option<ControlFileSync>, HistoryError>,
        files: Option<UnnamedFiles>,
    ) {
        match changed {
            Ok(changed) => self.rings.jobs.push(StorageJob::Purge { changed, files }),
            Err(error) => self.purge_failed(&PurgeFailure::NotOnDisk(error.to_string())),
        }
    }

    fn purge_failed(&mut self, failure: &PurgeFailure) {
        let text = self.retention.on_failed(failure, self.now_ns);
        tracing::error!("{text}");
        self.life.record_error(&text);
        self.serve_recordings();
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::file::recording_log::SnapshotSet;
    use consensus_tap::file::retention::Purge;

    use super::*;
    use crate::store::cnc::{CncFile, CncSettings};

    const LOG: i64 = 0;

    fn set(log_position: i64, consensus_module: i64) -> SnapshotSet {
        SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position,
            timestamp: 0,
            consensus_module,
            services: vec![consensus_module - 1],
        }
    }

    fn going(sets: &[SnapshotSet], log_start_position: i64) -> Going {
        let recordings = sets.iter().flat_map(|set| [set.services[0], set.consensus_module]);
        Going {
            recording_ids: recordings.collect(),
            purge: Purge { sets: sets.to_vec(), log_start_position },
        }
    }

    fn question(sets: &[SnapshotSet]) -> Question {
        Question::new(going(sets, 65_536), Pins::default(), LOG)
    }

    #[test]
    fn a_replay_holds_the_log_from_its_position_on_and_the_whole_set_of_a_snapshot() {
        let mut question = question(&[set(64, 2), set(4096, 4)]);
        assert!(!question.on_answer(1, None) && !question.on_answer(2, None));
        assert!(!question.on_answer(3, None) && !question.on_answer(4, Some(640)));
        assert!(question.on_answer(LOG, Some(1024)), "all have answered");
        let held = Pins { log_positions: vec![1024], set_positions: vec![4096] };
        assert_eq!(question.pins, held);
        assert_eq!(question.going.recording_ids, [1, 2, 3]);
    }

    #[test]
    fn a_recording_of_no_set_that_is_read_stays_by_itself() {
        let mut question = question(&[set(64, 2)]);
        question.going.recording_ids.push(9);
        question.unanswered.push(9);
        for recording_id in [1, 2, LOG] {
            assert!(!question.on_answer(recording_id, None));
        }
        assert!(question.on_answer(9, Some(0)));
        assert_eq!(question.pins, Pins::default());
        let now = question.limit(Going { recording_ids: vec![1, 2, 9], ..going(&[set(64, 2)], 65_536) });
        assert_eq!(now.recording_ids, [1, 2]);
    }

    #[test]
    fn a_deletion_that_failed_is_tried_again_and_what_may_not_be_on_the_disk_ends_the_purging() {
        let dir = tempfile::tempdir().unwrap();
        let (_cnc, counters) =
            CncFile::create(&dir.path().join("aeron"), &CncSettings::default(), 1).unwrap();
        let mut retention = Retention::new(None, counters.system_counter(0));
        retention.start(0, false);
        assert!(retention.may_begin(0));
        let text = retention.on_failed(&PurgeFailure::NotDeleted("no".into()), 1);
        assert!(text.ends_with("no; it is tried again in a minute"), "{text}");
        assert!(!retention.may_begin(RETRY_INTERVAL_NS) && retention.may_begin(RETRY_INTERVAL_NS + 1));
        let text = retention.on_failed(&PurgeFailure::NotOnDisk("no".into()), 1);
        assert!(text.contains("no; nothing more is purged until the node is started again"), "{text}");
        retention.on_history_changed();
        assert!(!retention.may_begin(u64::MAX));
    }

    #[test]
    fn nothing_goes_that_nobody_was_asked_about() {
        let question = question(&[set(64, 2)]);
        let more = going(&[set(64, 2), set(4096, 4)], 131_072);
        assert_eq!(question.limit(more), going(&[set(64, 2)], 65_536));
        assert_eq!(question.limit(going(&[], 32_768)), going(&[], 32_768), "answers may hold all of it");
    }
}
