//! Snapshot sets of the members on their way into recording.log: fetched, made durable, and reached by the log.

use std::collections::VecDeque;

use consensus_tap::codec::consensus::SnapshotEntry;

use crate::store::history::History;
use crate::store::recording_syncer::RecordingSyncer;
use crate::store::recording_writer::RecordingWriter;
use crate::store::snapshot_recording::WrittenRecording;

/// The set being fetched, and those that were fetched whole.
#[derive(Debug, Default)]
pub(super) struct FetchedSnapshots {
    /// Rows of the set being fetched, as far as their recordings were opened.
    rows: Vec<SnapshotEntry>,
    /// Oldest first.
    recorded: VecDeque<RecordedSet>,
}

/// A set that was fetched whole.
#[derive(Debug)]
pub(super) struct RecordedSet {
    /// The members' rows, the consensus module's first.
    pub(super) rows: Vec<SnapshotEntry>,
    /// Our recording of each, and where it ends.
    pub(super) recordings: Vec<WrittenRecording>,
    is_durable: bool,
}

impl FetchedSnapshots {
    /// The recording for a row is open. The first row of a set ends the one before, which was given up.
    pub(super) fn on_opened(&mut self, index: usize, row: SnapshotEntry) {
        self.rows.truncate(index);
        self.rows.push(row);
    }

    /// The set is recorded to its end. Returns what makes it durable.
    pub(super) fn on_recorded(
        &mut self,
        writers: &[RecordingWriter],
        history: &History,
    ) -> Vec<RecordingSyncer> {
        let place = |writer: &RecordingWriter| WrittenRecording {
            recording_id: writer.geometry().recording_id(),
            stop_position: writer.recorded_position(),
        };
        self.recorded.push_back(RecordedSet {
            rows: std::mem::take(&mut self.rows),
            recordings: writers.iter().map(place).collect(),
            is_durable: false,
        });
        writers.iter().map(|writer| history.snapshot_syncer(writer)).collect()
    }

    /// The oldest set that was not yet is durable; or it cannot be, and does not count.
    pub(super) fn on_synced(&mut self, is_durable: bool) {
        let Some(index) = self.recorded.iter().position(|set| !set.is_durable) else { return };
        if is_durable {
            self.recorded[index].is_durable = true;
        } else {
            self.recorded.remove(index);
        }
    }

    /// Whether a set waits to be entered.
    pub(super) fn is_waiting(&self) -> bool {
        !self.recorded.is_empty()
    }

    /// The oldest set, once it may be entered: it is durable, and the log was read beyond it, so that every term before
    /// it has its row. `None` for the log's position: there is no log yet, and it will begin with this set.
    pub(super) fn take_ready(&mut self, log_position: Option<i64>) -> Option<RecordedSet> {
        self.recorded.pop_front_if(|set| {
            set.is_durable && log_position.is_none_or(|position| position >= set.rows[0].log_position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(log_position: i64) -> RecordedSet {
        let module = SnapshotEntry {
            recording_id: 7,
            leadership_term_id: 1,
            term_base_log_position: 0,
            log_position,
            timestamp: 0,
            service_id: -1,
        };
        RecordedSet {
            rows: vec![module],
            recordings: vec![WrittenRecording { recording_id: 3, stop_position: 640 }],
            is_durable: false,
        }
    }

    fn position(set: Option<RecordedSet>) -> Option<i64> {
        set.map(|set| set.rows[0].log_position)
    }

    #[test]
    fn a_set_is_entered_once_it_is_durable_and_the_log_was_read_beyond_it() {
        let mut fetched = FetchedSnapshots::default();
        fetched.recorded.extend([waiting(64), waiting(128)]);
        assert!(fetched.take_ready(Some(1000)).is_none());
        fetched.on_synced(true);
        fetched.on_synced(true);
        assert!(fetched.take_ready(Some(32)).is_none());
        assert_eq!(position(fetched.take_ready(Some(96))), Some(64));
        assert!(fetched.take_ready(Some(96)).is_none() && fetched.is_waiting());
        assert_eq!(position(fetched.take_ready(None)), Some(128), "a log begins with it");
        assert!(!fetched.is_waiting());
    }

    #[test]
    fn only_the_set_that_did_not_reach_the_disk_does_not_count() {
        let mut fetched = FetchedSnapshots::default();
        fetched.recorded.extend([waiting(64), waiting(128), waiting(192)]);
        for is_durable in [true, false, true] {
            fetched.on_synced(is_durable);
        }
        assert_eq!(position(fetched.take_ready(Some(1000))), Some(64));
        assert_eq!(position(fetched.take_ready(Some(1000))), Some(192));
        assert!(!fetched.is_waiting());
    }
}
