//! Snapshot sets: how they come to count, in steps that never wait for the disk.
//!
//! A set's recordings are durable before the first step. Each step writes, and the next one follows only when another
//! thread has put the file on the disk ([`ControlFileSync`]): stop positions, then the recordings count in the catalog,
//! then the set counts in recording.log.

use std::path::PathBuf;

use consensus_tap::archive::Recording;
use consensus_tap::file::catalog::Descriptor;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::log::SnapshotKind;
use consensus_tap::wire::TermLength;

use super::{History, HistoryError, RecordingPlace, active_descriptor, geometry_of};
use crate::store::ControlFileSync;
use crate::store::purge::recordings_of;
use crate::store::recording_syncer::RecordingSyncer;
use crate::store::recording_writer::RecordingWriter;
use crate::store::segment::{SegmentError, remove_recording};
use crate::store::snapshot_recording::{ReservedRecording, WrittenRecording, descriptor};
use crate::sys::clock;
use crate::sys::mapped::Published;

/// The recording of one snapshot of a member, in the catalog. Its files are created by whoever may wait for the disk.
#[derive(Debug)]
pub struct PlannedSnapshot {
    archive: PathBuf,
    geometry: RecordingGeometry,
    /// Where the member's ends.
    stop_position: i64,
}

impl PlannedSnapshot {
    /// Which recording it will be.
    pub fn recording_id(&self) -> i64 {
        self.geometry.recording_id()
    }

    /// Creates its first file. Blocks on the disk.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn open(&self) -> Result<RecordingWriter, SegmentError> {
        if self.stop_position > self.geometry.start_position() {
            RecordingWriter::create_complete(&self.archive, self.geometry, self.stop_position)
        } else {
            RecordingWriter::create(&self.archive, self.geometry, None)
        }
    }
}

impl History {
    /// A place for one snapshot of a member. Nobody finds it before [`Self::reveal_recordings`].
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn plan_snapshot(&mut self, source: &Recording) -> Result<PlannedSnapshot, HistoryError> {
        let descriptor = active_descriptor(source);
        let of_recording = |recording_id| geometry_of(&Descriptor { recording_id, ..descriptor.clone() });
        // Before the catalog takes what no archive could have.
        of_recording(self.catalog.next_recording_id())?;
        let geometry = of_recording(self.add_hidden(&descriptor)?)?;
        Ok(PlannedSnapshot { archive: self.archive.clone(), geometry, stop_position: source.stop_position })
    }

    /// In the place of one that was given up, if there is one of its length: a member from which snapshots cannot be
    /// fetched would make the catalog grow for ever.
    fn add_hidden(&mut self, descriptor: &Descriptor) -> Result<i64, HistoryError> {
        for index in 0..self.given_up.len() {
            if self.catalog.reuse_hidden(self.given_up[index], descriptor.clone())? {
                return Ok(self.given_up.swap_remove(index));
            }
        }
        Ok(self.catalog.add_hidden(descriptor.clone())?)
    }

    /// What makes a snapshot of a member durable, on a thread that may wait for it. The writer is done.
    pub fn snapshot_syncer(&self, writer: &RecordingWriter) -> RecordingSyncer {
        let geometry = *writer.geometry();
        RecordingSyncer::new(&self.archive, geometry, writer.published(), geometry.start_position())
    }

    /// Places for a snapshot set of our own: the services' by id, the consensus module's last. Nobody finds them before
    /// [`Self::reveal_recordings`].
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn reserve_snapshots(
        &mut self,
        service_count: usize,
        term_length: TermLength,
    ) -> Result<Vec<ReservedRecording>, HistoryError> {
        let services = std::iter::repeat_n(SnapshotKind::Service, service_count);
        let mut places: Vec<ReservedRecording> = Vec::with_capacity(service_count + 1);
        for kind in services.chain([SnapshotKind::ConsensusModule]) {
            match self.reserve(kind, term_length) {
                Ok(place) => places.push(place),
                Err(error) => {
                    let reserved: Vec<i64> = places.iter().map(ReservedRecording::recording_id).collect();
                    self.withdraw_snapshots(None, &reserved);
                    return Err(error);
                }
            }
        }
        Ok(places)
    }

    fn reserve(
        &mut self,
        kind: SnapshotKind,
        term_length: TermLength,
    ) -> Result<ReservedRecording, HistoryError> {
        // A member's would be that of its publication; ours never was one, so any that no other recording has will do.
        let session_id = self.catalog.next_recording_id() as i32;
        let descriptor = descriptor(kind, term_length, session_id);
        let recording_id = self.catalog.add_hidden(descriptor.clone())?;
        let geometry = geometry_of(&Descriptor { recording_id, ..descriptor.clone() })?;
        Ok(ReservedRecording::new(&self.archive, geometry, kind, &descriptor))
    }

    /// Notes where recordings end whose bytes are on the disk.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn stop_recordings(
        &mut self,
        recordings: &[WrittenRecording],
    ) -> Result<ControlFileSync, HistoryError> {
        let now_ms = clock::epoch_ms();
        for recording in recordings {
            self.catalog.stop_hidden(recording.recording_id, recording.stop_position, now_ms)?;
        }
        Ok(self.catalog.for_sync()?)
    }

    /// Makes recordings count whose stop positions are on the disk.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn reveal_recordings(
        &mut self,
        recordings: &[WrittenRecording],
    ) -> Result<ControlFileSync, HistoryError> {
        for recording in recordings {
            self.catalog.reveal(recording.recording_id)?;
        }
        Ok(self.catalog.for_sync()?)
    }

    /// Enters a set whose recordings count, on the disk.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn enter_snapshot_set(&mut self, set: &SnapshotSet) -> Result<ControlFileSync, HistoryError> {
        self.recording_log.append_snapshot_set(set)?;
        Ok(self.recording_log.for_sync()?)
    }

    /// Takes back what was done for a set that is given up, at whichever step. What cannot be taken back is said in the
    /// log: it is without effect unless a power cut brings the set's rows back, and then a start passes them over.
    pub fn withdraw_snapshots(&mut self, set: Option<&SnapshotSet>, recording_ids: &[i64]) {
        if let Some(set) = set
            && let Err(error) = self.recording_log.withdraw_snapshot_set(set)
        {
            tracing::warn!(%error, "could not take back a snapshot set in recording.log");
        }
        for recording_id in recording_ids {
            if let Err(error) = self.catalog.withdraw(*recording_id) {
                tracing::warn!(%error, "could not take back a snapshot's recording");
            }
        }
    }

    /// Removes what was recorded of a set of the members' that was given up.
    pub fn discard_snapshots(&mut self, writers: Vec<RecordingWriter>) {
        for writer in writers {
            let recording_id = writer.geometry().recording_id();
            drop(writer);
            self.discard_snapshot(recording_id);
        }
    }

    /// As [`Self::discard_snapshots`], of one that was planned and has no writer.
    pub fn discard_snapshot(&mut self, recording_id: i64) {
        match remove_recording(&self.archive, recording_id) {
            Ok(()) => self.given_up.push(recording_id),
            Err(error) => tracing::warn!(%error, "could not remove a snapshot that was given up"),
        }
    }

    /// The newest complete snapshot set.
    pub fn latest_snapshot_set(&self, service_count: usize) -> Option<SnapshotSet> {
        self.recording_log.log().latest_snapshot_set(service_count)
    }

    /// Every complete, valid snapshot set, newest first.
    pub fn snapshot_sets(&self, service_count: usize) -> Vec<SnapshotSet> {
        self.recording_log.log().snapshot_sets(service_count)
    }

    /// Every complete snapshot set, newest first, for whatever number of services.
    pub fn snapshot_sets_as_found(&self) -> Vec<SnapshotSet> {
        self.recording_log.log().snapshot_sets_as_found()
    }

    /// Marks a set as one that nobody is to start from. Not synced: should a power cut undo it, the next start finds the
    /// same fault again.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn invalidate_snapshot_set(&mut self, set: &SnapshotSet) -> Result<(), HistoryError> {
        Ok(self.recording_log.withdraw_snapshot_set(set)?)
    }

    /// Marks sets as none to start from that name recordings which the archive does not have. A set that was given up
    /// comes back so: its recordings were withdrawn on the disk, and a power cut undid that of its rows. Returns how many
    /// there were.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn withdraw_lost_sets(&mut self) -> Result<usize, HistoryError> {
        let mut withdrawn_count = 0;
        for set in self.snapshot_sets_as_found() {
            let lost =
                recordings_of(&set).find(|recording_id| self.catalog.descriptor(*recording_id).is_none());
            if let Some(recording_id) = lost {
                let log_position = set.log_position;
                tracing::warn!(
                    log_position,
                    recording_id,
                    "a snapshot set names a recording that is not here"
                );
                self.recording_log.withdraw_snapshot_set(&set)?;
                withdrawn_count += 1;
            }
        }
        Ok(withdrawn_count)
    }

    /// Where a leadership term begins in the log, if it has its row.
    pub fn term_base_log_position(&self, leadership_term_id: i64) -> Option<i64> {
        let row = self.recording_log.log().find_term(leadership_term_id);
        row.map(|row| row.entry.term_base_log_position)
    }

    /// A complete snapshot recording, and where it ends.
    ///
    /// # Errors
    /// [`HistoryError`] when the catalog does not have it.
    pub fn snapshot_place(&self, recording_id: i64) -> Result<(RecordingPlace, i64), HistoryError> {
        let descriptor = self.descriptor(recording_id)?;
        let Descriptor { start_position, stop_position, .. } = *descriptor;
        if start_position != 0 || stop_position < 0 {
            let path = self.catalog.path();
            return Err(HistoryError::NotASnapshot { path, recording_id, start_position, stop_position });
        }
        let geometry = geometry_of(descriptor)?;
        Ok((self.place(geometry, Published::new(stop_position)), stop_position))
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::wire::{DataHeader, FrameType, data};
    use service_api::SnapshotWriter as _;

    use super::*;
    use crate::store::SyncLevel;
    use crate::store::directory::NodeDirectory;
    use crate::store::snapshot_recording::SnapshotRecording;

    fn open(dir: &std::path::Path) -> History {
        History::open(&NodeDirectory::open(dir, 1).unwrap(), SyncLevel::Data).unwrap()
    }

    /// A member's snapshot of so many bytes.
    fn source(stop_position: i64) -> Recording {
        Recording {
            recording_id: 3,
            start_timestamp: 0,
            stop_timestamp: 1,
            start_position: 0,
            stop_position,
            initial_term_id: 0,
            segment_file_length: 64 * 1024,
            term_buffer_length: 64 * 1024,
            mtu_length: 1408,
            session_id: 1,
            stream_id: SnapshotKind::Service.stream_id(),
            stripped_channel: "aeron:udp".to_owned(),
            original_channel: "aeron:udp".to_owned(),
            source_identity: "a:1".to_owned(),
        }
    }

    /// Writes a set of one service at position 640, without entering it.
    fn written(history: &mut History) -> (SnapshotSet, Vec<WrittenRecording>) {
        let places = history.reserve_snapshots(1, TermLength::MIN).unwrap();
        let write = |place: &ReservedRecording| {
            let mut recording = SnapshotRecording::create(place).unwrap();
            for length in [0, 8000, 1377] {
                recording.write(&vec![1; length]).unwrap();
            }
            recording.finish().unwrap()
        };
        let recordings: Vec<WrittenRecording> = places.iter().map(write).collect();
        let set = SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position: 640,
            timestamp: 7,
            consensus_module: recordings[1].recording_id,
            services: vec![recordings[0].recording_id],
        };
        (set, recordings)
    }

    fn ids(recordings: &[WrittenRecording]) -> Vec<i64> {
        recordings.iter().map(|recording| recording.recording_id).collect()
    }

    #[test]
    fn a_set_counts_after_its_last_step_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        let (set, recordings) = written(&mut history);
        let found = |history: &History| {
            (history.snapshot_place(set.consensus_module).is_ok(), history.latest_snapshot_set(1))
        };
        assert_eq!(found(&history), (false, None));
        history.stop_recordings(&recordings).unwrap().sync().unwrap();
        assert_eq!(found(&history), (false, None));
        history.reveal_recordings(&recordings).unwrap().sync().unwrap();
        assert_eq!(found(&history), (true, None));
        history.enter_snapshot_set(&set).unwrap().sync().unwrap();
        assert_eq!(found(&history), (true, Some(set.clone())));
        let (_, stop_position) = history.snapshot_place(set.services[0]).unwrap();
        assert_eq!(stop_position, recordings[0].stop_position);
    }

    #[test]
    fn a_set_that_is_withdrawn_at_any_step_leaves_nothing_that_counts() {
        for steps in 0..=3 {
            let dir = tempfile::tempdir().unwrap();
            let mut history = open(dir.path());
            let (set, recordings) = written(&mut history);
            if steps > 0 {
                history.stop_recordings(&recordings).unwrap();
            }
            if steps > 1 {
                history.reveal_recordings(&recordings).unwrap();
            }
            if steps > 2 {
                history.enter_snapshot_set(&set).unwrap();
            }
            history.withdraw_snapshots(Some(&set), &ids(&recordings));
            let reopened = open(dir.path());
            assert_eq!(reopened.latest_snapshot_set(1), None, "after {steps} steps");
            assert!(reopened.snapshot_place(set.consensus_module).is_err(), "after {steps} steps");
        }
    }

    #[test]
    fn members_snapshots_that_are_given_up_leave_their_place_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        for _ in 0..3 {
            let planned = history.plan_snapshot(&source(960)).unwrap();
            let writers =
                vec![planned.open().unwrap(), history.plan_snapshot(&source(64)).unwrap().open().unwrap()];
            history.discard_snapshots(writers);
            let refused = history.plan_snapshot(&source(960)).unwrap().recording_id();
            history.discard_snapshot(refused);
        }
        assert_eq!(history.catalog.records().len(), 2);
        // A crash gives them up too; one of another length takes a new place.
        history.plan_snapshot(&source(960)).unwrap().open().unwrap();
        let mut again = open(dir.path());
        let longer =
            Recording { original_channel: "aeron:udp?alias=".to_owned() + &"x".repeat(500), ..source(64) };
        assert_eq!(again.plan_snapshot(&longer).unwrap().recording_id(), 2);
        let mut ids: Vec<i64> =
            (0..2).map(|_| again.plan_snapshot(&source(64)).unwrap().recording_id()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1]);
        assert!(open(dir.path()).catalog.records().len() == 3, "the file can be read");
    }

    #[test]
    fn a_members_snapshot_takes_the_disk_for_its_own_length_and_no_more() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        let stop_position = 10_016;
        let source = Recording { segment_file_length: 128 * 1024 * 1024, ..source(stop_position) };
        let mut writer = history.plan_snapshot(&source).unwrap().open().unwrap();
        let metadata = dir.path().join("archive").join("0-0.rec").metadata().unwrap();
        assert_eq!(metadata.len(), 128 * 1024 * 1024);
        assert!(metadata.blocks() * 512 < 64 * 1024, "{} blocks", metadata.blocks());

        let frame = |position: i64, length: i32| {
            let header = DataHeader {
                frame_length: length,
                flags: data::UNFRAGMENTED,
                frame_type: FrameType::Data,
                term_offset: position as i32,
                session_id: 9,
                stream_id: source.stream_id,
                term_id: 0,
                reserved_value: 0,
            };
            let mut bytes = header.encode().to_vec();
            bytes.resize(length as usize, 7);
            bytes
        };
        writer.append(0, &frame(0, 9_984)).unwrap();
        let error = writer.append(9_984, &frame(9_984, 64)).unwrap_err().to_string();
        assert!(error.contains("ends at 10048, the recording was to end at 10016"), "{error}");
        writer.append(9_984, &frame(9_984, 32)).unwrap();
        assert_eq!(writer.recorded_position(), stop_position);
        history.snapshot_syncer(&writer).sync().unwrap();
    }

    #[test]
    fn a_message_that_no_loader_could_put_together_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        let places = history.reserve_snapshots(0, TermLength::MIN).unwrap();
        let mut recording = SnapshotRecording::create(&places[0]).unwrap();
        assert_eq!(recording.max_message_length(), 8192);
        let error = recording.write(&[0; 8193]).unwrap_err().to_string();
        assert!(error.contains("8193 bytes") && error.contains("snapshot_term_length"), "{error}");
    }

    #[test]
    fn what_a_crash_left_of_a_set_is_removed_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = open(dir.path());
        let (set, recordings) = written(&mut first);
        first.stop_recordings(&recordings).unwrap();
        first.reveal_recordings(&recordings).unwrap();
        first.enter_snapshot_set(&set).unwrap();
        let (_, lost) = written(&mut first);
        let (_, stopped) = written(&mut first);
        first.stop_recordings(&stopped).unwrap();
        let (_, given_up) = written(&mut first);
        first.withdraw_snapshots(None, &ids(&given_up));
        drop(first);
        let again = open(dir.path());
        let segment_count = |recording_id: i64| {
            let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
            let names = std::fs::read_dir(dir.path().join("archive")).unwrap().map(|e| name(e.unwrap()));
            names.filter(|name| name.starts_with(&format!("{recording_id}-"))).count()
        };
        for left in [lost, stopped, given_up] {
            assert_eq!(ids(&left).into_iter().map(segment_count).sum::<usize>(), 0, "{left:?}");
        }
        let with_checksums = 4;
        assert_eq!(ids(&recordings).into_iter().map(segment_count).sum::<usize>(), with_checksums);
        assert_eq!(again.latest_snapshot_set(1), Some(set));
    }
}
