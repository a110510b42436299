//! The store of a node, driven as its agents drive it, and what it has promised so far.

use std::collections::BTreeMap;
use std::path::Path;

use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::recording_log::SnapshotSet;
use standby_node::agent::syncer::SyncedLog;
use standby_node::store::SyncLevel;
use standby_node::store::directory::NodeDirectory;
use standby_node::store::durability::BootId;
use standby_node::store::history::{History, OpenedLog, RecordingPlace};
use standby_node::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use standby_node::store::recording_writer::RecordingWriter;
use standby_node::store::segment_preparer::SegmentPreparer;
use standby_node::store::snapshot_recording::WrittenRecording;

use crate::cluster::{Cluster, Frame, SERVICE_COUNT};
use crate::duties::{Announcements, messages_of};

/// What a node said it has, over all of its lives, and must have again after any crash.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// There is a log.
    pub(crate) log: bool,
    /// Up to where the log was recorded.
    pub(crate) recorded_position: i64,
    /// Up to where the log was on the disk.
    pub(crate) durable_position: i64,
    /// In this boot, and no tail waits for its confirmation: a crash of the process loses nothing of what was recorded.
    pub(crate) is_confirmed: bool,
    /// Sets that were entered, by log position.
    pub(crate) sets: BTreeMap<i64, SnapshotSet>,
    /// Positions of sets that may be there or not: their entering failed, or their removal.
    pub(crate) open_sets: Vec<i64>,
    /// What was purged of the log lies below.
    pub(crate) log_start: i64,
    pub(crate) announcements: Announcements,
}

/// What went wrong, in the node's own words.
pub(crate) type Failure = String;

/// One life of a node.
pub(crate) struct Node<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) history: History,
    cluster_mark: ClusterMarkFile,
    archive_mark: ArchiveMarkFile,
    pub(crate) log: Option<Log>,
    /// Of the source that is followed in this life.
    session_id: i32,
    /// Where the module stands: terms below are entered.
    pub(crate) module_position: i64,
    pub(crate) directory: NodeDirectory,
}

pub(crate) struct Log {
    pub(crate) writer: RecordingWriter,
    preparer: SegmentPreparer,
    pub(crate) synced: SyncedLog,
    pub(crate) place: RecordingPlace,
}

impl<'a> Node<'a> {
    /// Starts in `root`, and checks what is there against what was promised.
    pub(crate) fn start(
        cluster: &'a Cluster,
        root: &Path,
        level: SyncLevel,
        boot: &BootId,
        life: i32,
        promises: &mut Promises,
    ) -> Result<Self, Failure> {
        // Longer than a process of another kind must have been silent.
        let now_ms = 20_000 * i64::from(life);
        let directory = NodeDirectory::open(root, now_ms).map_err(words)?;
        let history = History::open_in_boot(&directory, level, boot.clone()).map_err(words)?;
        let cluster_mark =
            ClusterMarkFile::activate(&directory, ClusterMark::default(), now_ms).map_err(words)?;
        let archive_mark =
            ArchiveMarkFile::activate(&directory, ArchiveMark::default(), now_ms).map_err(words)?;
        let mut node = Self {
            cluster,
            history,
            cluster_mark,
            archive_mark,
            log: None,
            session_id: life,
            module_position: cluster.start_position,
            directory,
        };
        promises.announcements.check(&node.announcements_path());
        let recovered = node.history.recover_log().map_err(words)?;
        node.check_sets(promises);
        if let Some(log) = recovered {
            let position = log.writer.recorded_position();
            assert!(
                position >= promises.durable_position,
                "{position} found, though {} was durable",
                promises.durable_position
            );
            if promises.is_confirmed {
                assert_eq!(position, promises.recorded_position, "of one boot everything is found again");
            }
            promises.is_confirmed = log.tail_end == position;
            promises.recorded_position = position;
            node.open_log(log, promises);
            node.check_log();
        } else {
            assert!(!promises.log, "the log is not found any more");
        }
        node.cluster_mark.ready(now_ms).map_err(words)?;
        node.archive_mark.ready(now_ms).map_err(words)?;
        Ok(node)
    }

    /// Whether the whole log is recorded.
    pub(crate) fn is_complete(&self) -> bool {
        self.recorded_position() == Some(self.cluster.end_position())
    }

    fn recorded_position(&self) -> Option<i64> {
        self.log.as_ref().map(|log| log.writer.recorded_position())
    }

    /// Creates the log, from the members' newest snapshot if the cluster is not young.
    pub(crate) fn create_log(&mut self, promises: &mut Promises) -> Result<(), Failure> {
        if self.log.is_some() {
            return Ok(());
        }
        let start_position = self.cluster.start_position;
        if start_position > 0 && self.history.latest_snapshot_set(SERVICE_COUNT).is_none() {
            self.take_snapshot(start_position, promises)?;
        }
        let set = self.history.latest_snapshot_set(SERVICE_COUNT);
        let source = self.cluster.log_recording();
        let planned = self.history.create_log(start_position, &source, set.as_ref()).map_err(words)?;
        let log = planned.open().map_err(words)?;
        promises.log = true;
        promises.is_confirmed = true;
        promises.recorded_position = start_position;
        promises.durable_position = start_position;
        self.open_log(log, promises);
        Ok(())
    }

    fn open_log(&mut self, log: OpenedLog, promises: &mut Promises) {
        let OpenedLog { writer, preparer, syncer, durability, place, .. } = log;
        let usable =
            |set: &SnapshotSet| (place.start_position()..=place.end_position()).contains(&set.log_position);
        let mut set = self.history.latest_snapshot_set(SERVICE_COUNT).filter(usable);
        assert!(place.start_position() >= promises.log_start, "what was purged is back");
        if set.is_none() && place.start_position() > self.cluster.start_position {
            set = self.history.snapshot_sets(SERVICE_COUNT).into_iter().find(usable);
            assert!(set.is_some(), "the log was purged, and no set is left to start from");
        }
        self.module_position = set.map_or(place.start_position(), |set| set.log_position);
        promises.log = true;
        let synced = SyncedLog { syncer, durability, tail: writer.tail() };
        self.log = Some(Log { writer, preparer, synced, place });
    }

    /// Records up to `count` frames, in runs as datagrams bring them.
    pub(crate) fn record(&mut self, count: usize, promises: &mut Promises) -> Result<(), Failure> {
        let session_id = self.session_id;
        let Some(log) = &mut self.log else { return Ok(()) };
        let frames = self.cluster.frames_from(log.writer.recorded_position());
        for frame in frames.iter().take(count) {
            log.writer.append(frame.position, &in_session(&frame.bytes, session_id)).map_err(words)?;
            promises.recorded_position = log.writer.recorded_position();
        }
        Ok(())
    }

    /// Prepares the next segment, as the storage agent does; what fails is tried again.
    pub(crate) fn prepare(&mut self) {
        if let Some(log) = &mut self.log {
            let _ = log.preparer.do_work();
        }
    }

    /// Makes the log durable.
    pub(crate) fn sync(&mut self, promises: &mut Promises) -> Result<(), Failure> {
        let Some(log) = &mut self.log else { return Ok(()) };
        // After a sync that failed, the disk may have less than the page cache.
        promises.durable_position = log.synced.sync().inspect_err(|_| promises.is_confirmed = false)?;
        promises.is_confirmed |= promises.durable_position >= log.synced.tail.end();
        Ok(())
    }

    /// The module goes on through the log, and terms are entered.
    pub(crate) fn follow(&mut self, event_count: usize) -> Result<(), Failure> {
        let Some(log) = &self.log else { return Ok(()) };
        let end = log.writer.recorded_position();
        let begin = self.module_position;
        let terms = self.cluster.terms.iter();
        let passed = terms.filter(|term| term.log_position > begin && term.log_position <= end);
        for term in passed.take(event_count) {
            self.history.on_leadership_term(log.place.recording_id(), term).map_err(words)?;
            self.module_position = term.log_position;
        }
        Ok(())
    }

    /// Fetches a snapshot set where the module stands, unless there is one.
    pub(crate) fn take_snapshot_once(&mut self, promises: &mut Promises) -> Result<(), Failure> {
        if promises.sets.contains_key(&self.module_position) {
            return Ok(());
        }
        self.take_snapshot(self.module_position, promises)
    }

    fn take_snapshot(&mut self, position: i64, promises: &mut Promises) -> Result<(), Failure> {
        let writers = self.write_snapshot(position)?;
        promises.open_sets.push(position);
        let mut recordings = Vec::new();
        for writer in writers {
            let stop_position = self.history.snapshot_syncer(&writer).sync().map_err(words)?;
            recordings
                .push(WrittenRecording { recording_id: writer.geometry().recording_id(), stop_position });
        }
        let recording_ids: Vec<i64> = recordings.iter().map(|recording| recording.recording_id).collect();
        let set = self.cluster.snapshot_set(position, &recording_ids);
        self.enter(&recordings, &set).inspect_err(|_| {
            // A conductor gives the set up where it can.
            self.history.withdraw_snapshots(Some(&set), &recording_ids);
        })?;
        promises.open_sets.retain(|open| *open != position);
        promises.sets.insert(position, set);
        Ok(())
    }

    pub(crate) fn enter(
        &mut self,
        recordings: &[WrittenRecording],
        set: &SnapshotSet,
    ) -> Result<(), Failure> {
        self.history.stop_recordings(recordings).map_err(words)?.sync().map_err(words)?;
        self.history.reveal_recordings(recordings).map_err(words)?.sync().map_err(words)?;
        self.history.enter_snapshot_set(set).map_err(words)?.sync().map_err(words)
    }

    /// Fetches a snapshot set, and gives it up.
    pub(crate) fn discard_snapshot(&mut self) -> Result<(), Failure> {
        let writers = self.write_snapshot(self.module_position)?;
        self.history.discard_snapshots(writers);
        Ok(())
    }

    fn write_snapshot(&mut self, position: i64) -> Result<Vec<RecordingWriter>, Failure> {
        let mut writers = Vec::new();
        for service_id in -1..SERVICE_COUNT as i32 {
            let planned = self.history.plan_snapshot(&self.cluster.snapshot_recording()).map_err(words)?;
            let mut writer = planned.open().map_err(words)?;
            for frame in self.cluster.snapshot_frames(position, service_id) {
                writer.append(frame.position, &frame.bytes).map_err(words)?;
            }
            writers.push(writer);
        }
        Ok(writers)
    }

    /// Ends in order, as far as it goes.
    pub(crate) fn close(mut self, promises: &mut Promises) -> Result<(), Failure> {
        if let Some(log) = &self.log {
            let (recording_id, end) = (log.place.recording_id(), log.place.end_position());
            self.history.close_log(recording_id, end).map_err(words)?;
        }
        self.cluster_mark.terminate().map_err(words)?;
        self.archive_mark.terminate().map_err(words)?;
        self.sync(promises)
    }

    /// What was recorded is what the cluster sent, whoever sent it.
    fn check_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        let mut reader = log.place.reader();
        let mut at = log.place.start_position();
        let end = log.place.end_position();
        let log_start = at;
        // A purge cuts between segments, and frames lie within one.
        let left = self.cluster.frames.iter().skip_while(|frame| frame.position < log_start);
        for frame in left.take_while(|frame| frame.position < end) {
            assert_eq!(frame.position, at);
            let recorded = reader.frames(at, frame.end).expect("what counts as recorded can be read");
            expect_frame(frame, recorded);
            at = frame.end;
            if end - frame.position <= 64 * 1024 {
                let again = in_session(&frame.bytes, self.session_id);
                assert!(log.writer.matches(frame.position, &again).expect("it can be read"));
            }
        }
        assert_eq!(at, end, "the recording ends within a frame, or beyond the log");
    }

    /// Every set that was promised is there, and every one that is there is whole.
    fn check_sets(&self, promises: &mut Promises) {
        let mut found = BTreeMap::new();
        for set in self.history.snapshot_sets(SERVICE_COUNT) {
            let recording_ids = std::iter::once(&set.consensus_module).chain(&set.services);
            for (service_id, recording_id) in (-1..).zip(recording_ids) {
                self.check_snapshot(set.log_position, service_id, *recording_id);
            }
            found.insert(set.log_position, set);
        }
        for (position, set) in &promises.sets {
            if !promises.open_sets.contains(position) {
                assert_eq!(found.get(position), Some(set), "a set that was entered is not found any more");
            }
        }
        for position in found.keys() {
            let is_known = promises.sets.contains_key(position) || promises.open_sets.contains(position);
            assert!(is_known, "nobody entered a set at {position}");
        }
        promises.sets = found;
        promises.open_sets.clear();
    }

    fn check_snapshot(&self, log_position: i64, service_id: i32, recording_id: i64) {
        let (place, stop_position) =
            self.history.snapshot_place(recording_id).expect("a set's recordings are in the catalog");
        let mut reader = place.reader();
        if place.terms().initial_term_id == 0 {
            // One of its own: members' begin with another term.
            let mut frames = Vec::new();
            while (frames.len() as i64) < stop_position {
                let run = reader.frames(frames.len() as i64, stop_position);
                frames.extend_from_slice(run.expect("a set's recordings can be read"));
            }
            let expected = self.cluster.snapshot_messages(log_position, service_id);
            assert!(messages_of(&frames) == expected, "the own recording of {service_id} at {log_position}");
            return;
        }
        let mut at = 0;
        for frame in self.cluster.snapshot_frames(log_position, service_id) {
            let recorded = reader.frames(frame.position, frame.end).expect("a set's recordings can be read");
            expect_frame(&frame, recorded);
            at = frame.end;
        }
        assert_eq!(at, stop_position, "the recording of service {service_id} at {log_position}");
    }
}

const SESSION_ID: std::ops::Range<usize> = 12..16;

fn in_session(bytes: &[u8], session_id: i32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[SESSION_ID].copy_from_slice(&session_id.to_le_bytes());
    bytes
}

/// A recorded frame is the one that was sent, its session apart; behind a padding frame's header lie zeros.
fn expect_frame(frame: &Frame, recorded: &[u8]) {
    let (sent, rest) = recorded.split_at(frame.bytes.len());
    assert!(in_session(sent, 0) == frame.bytes, "other bytes at {}", frame.position);
    assert!(rest.iter().all(|byte| *byte == 0), "padding at {} is not zero", frame.position);
}

pub(crate) fn words(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}
