//! What goes from the archive of a running node, in steps that never wait for the disk.
//!
//! Each step writes, and the next one follows only when another thread has put the file on the disk: the sets no longer
//! count in recording.log, then their recordings no longer count in the catalog and the log begins later, then files are
//! deleted that nothing names. A crash in between leaves files, which the next purge finds.

use consensus_tap::file::catalog::RecordState;
use consensus_tap::file::recording_log::{EntryKind, SnapshotSet};
use consensus_tap::file::retention::{Pins, Purge, RetentionPolicy, plan_purge};

use super::{History, HistoryError, RecordingPlace, SNAPSHOT_STREAM_IDS, recording_of};
use crate::store::ControlFileSync;
use crate::store::purge::{UnnamedFiles, recordings_of};
use crate::store::recording_list::RecordingList;

/// What is about to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Going {
    /// As it was decided.
    pub purge: Purge,
    /// Recordings of the sets, and of older ones that count no more.
    pub recording_ids: Vec<i64>,
}

impl Going {
    /// Whether nothing goes.
    pub fn is_empty(&self, log: &RecordingPlace) -> bool {
        self.recording_ids.is_empty() && self.purge.is_empty(&log.geometry)
    }
}

impl History {
    /// Decides what may go. Only what lies below `certain_position` counts: the log is on the disk up to there, and was
    /// read. After a power cut it may end there, and a set beyond it would be none to start from.
    pub fn plan_purge(
        &self,
        policy: RetentionPolicy,
        pins: &Pins,
        service_count: usize,
        log: &RecordingPlace,
        certain_position: i64,
    ) -> Going {
        let sets = match service_count {
            // What is fetched for others may be of any number of services.
            0 => self.snapshot_sets_as_found(),
            _ => self.snapshot_sets(service_count),
        };
        let is_there = |set: &SnapshotSet| {
            set.log_position <= certain_position
                && recordings_of(set).all(|recording_id| self.catalog.descriptor(recording_id).is_some())
        };
        let sets: Vec<SnapshotSet> = sets.into_iter().filter(is_there).collect();
        let purge = plan_purge(policy, pins, &sets, &log.geometry, certain_position);
        let kept = sets.iter().filter(|set| !purge.sets.contains(set)).map(|set| set.log_position).min();
        let mut recording_ids: Vec<i64> = purge.sets.iter().flat_map(recordings_of).collect();
        // What is none to start from here may be the one that a member was told of and has yet to fetch.
        let kept = kept.map(|kept| pins.set_positions.iter().copied().fold(kept, i64::min));
        recording_ids.extend(kept.into_iter().flat_map(|kept| self.withdrawn_recordings(kept)));
        Going { purge, recording_ids }
    }

    /// Recordings of sets before `position` that are in the archive and count no more: somebody marked them as invalid,
    /// or a purge came no farther.
    fn withdrawn_recordings(&self, position: i64) -> Vec<i64> {
        let rows = self.recording_log.log().rows();
        let of_snapshot = rows.iter().map(|row| &row.entry).filter(|entry| entry.kind == EntryKind::Snapshot);
        let (valid, invalid): (Vec<_>, Vec<_>) = of_snapshot.partition(|entry| entry.valid);
        let is_named = |recording_id| valid.iter().any(|entry| entry.recording_id == recording_id);
        let is_snapshot = |recording_id| {
            let descriptor = self.catalog.descriptor(recording_id);
            descriptor.is_some_and(|descriptor| SNAPSHOT_STREAM_IDS.contains(&descriptor.stream_id))
        };
        let old = invalid.into_iter().filter(|entry| entry.log_position < position);
        let mut recording_ids: Vec<i64> = old
            .map(|entry| entry.recording_id)
            .filter(|&recording_id| is_snapshot(recording_id) && !is_named(recording_id))
            .collect();
        recording_ids.sort_unstable();
        recording_ids.dedup();
        recording_ids
    }

    /// As [`Self::recordings`], once all of that has gone.
    pub fn recordings_without(&self, going: &Going, log: &RecordingPlace) -> RecordingList {
        let mut list = RecordingList::default();
        for descriptor in self.catalog.iter().filter(|own| !going.recording_ids.contains(&own.recording_id)) {
            let mut recording = recording_of(descriptor);
            if recording.recording_id == log.recording_id() {
                recording.start_position = going.purge.log_start_position;
            }
            if let Some(place) = self.served_place(descriptor, Some(log)) {
                list.push(recording, place);
            }
        }
        list.set_log(Some(log.recording_id()));
        list
    }

    /// Marks the sets that go as none to start from.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn withdraw_sets(&mut self, going: &Going) -> Result<ControlFileSync, HistoryError> {
        going.purge.sets.iter().try_for_each(|set| self.recording_log.withdraw_snapshot_set(set))?;
        Ok(self.recording_log.for_sync()?)
    }

    /// Has the catalog no longer name what goes; `log` begins where it then does.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn disown(
        &mut self,
        going: &Going,
        log: &mut RecordingPlace,
    ) -> Result<ControlFileSync, HistoryError> {
        for &recording_id in &going.recording_ids {
            self.catalog.withdraw(recording_id)?;
        }
        let start_position = going.purge.log_start_position;
        if start_position > log.start_position() {
            self.catalog.move_start_position(log.recording_id(), start_position)?;
            log.geometry = log.geometry.purged_below(start_position);
        }
        Ok(self.catalog.for_sync()?)
    }

    /// What the archive's directory may hold and the catalog does not name. Recordings that are being made are not among
    /// them.
    pub fn unnamed_files(&self) -> UnnamedFiles {
        let records = self.catalog.records().iter();
        let known = records.filter(|record| record.state != RecordState::Invalid).cloned().collect();
        UnnamedFiles::new(&self.archive, known)
    }
}

#[cfg(test)]
mod tests;
