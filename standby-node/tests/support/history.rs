//! A node's directory as a node of one `audit` leaves it, made with the stores that a node uses: a log of some segments
//! with sessions, timers and messages, and two snapshot sets taken at positions of it.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::path::{Path, PathBuf};

use consensus_tap::codec::log::{
    ClusterTimeUnit, LogEvent, NewLeadershipTermEvent, SessionMessage, SessionOpenEvent,
};
use consensus_tap::codec::snapshot::{ClientSession, SERVICE_TYPE_ID, SnapshotMark, SnapshotMarker};
use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::catalog::{Descriptor, NULL_POSITION, NULL_TIMESTAMP};
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::module::{ConsensusModuleState, ServiceEmission};
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType};
use service_api::{LogPosition, ServiceId};
use standby_node::store::SyncLevel;
use standby_node::store::catalog::Catalog;
use standby_node::store::directory::NodeDirectory;
use standby_node::store::durability::DurabilityFile;
use standby_node::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use standby_node::store::recording_log::RecordingLogFile;
use standby_node::store::recording_writer::RecordingWriter;
use standby_node::store::snapshot_checksum::SnapshotChecksum;

/// Bytes of a term and of a segment.
pub(crate) const SEGMENT: i64 = 64 * 1024;
/// Member id in the mark files.
pub(crate) const MEMBER_ID: i32 = 9;
const APP_VERSION: i32 = 1;
const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// What was made.
pub(crate) struct Made {
    /// The node's directory.
    pub(crate) dir: PathBuf,
    /// Where the log ends.
    pub(crate) end: i64,
    /// The snapshot sets, oldest first.
    pub(crate) sets: Vec<SnapshotSet>,
    /// Positions of all frames of the log, ascending.
    pub(crate) frames: Vec<i64>,
}

/// How a node ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    Clean,
    Killed,
}

/// Makes a directory whose log reaches at least to `log_length`; a snapshot set is taken at about a third and at about
/// two thirds of that.
pub(crate) fn make(dir: &Path, log_length: i64, ending: Ending) -> Made {
    let now_ms = 1_700_000_000_000;
    let directory = NodeDirectory::open(dir, now_ms).expect("a directory");
    let fields = ClusterMark {
        member_id: MEMBER_ID,
        control_channel: "aeron:ipc?term-length=128k".to_owned(),
        ..ClusterMark::default()
    };
    let mut cluster_mark = ClusterMarkFile::activate(&directory, fields, now_ms).expect("a mark file");
    cluster_mark.ready(now_ms).expect("written");
    cluster_mark.record_error("no source answers", now_ms).expect("written");
    let fields = ArchiveMark { archive_id: i64::from(MEMBER_ID), ..ArchiveMark::default() };
    let mut archive_mark = ArchiveMarkFile::activate(&directory, fields, now_ms).expect("a mark file");
    archive_mark.ready(now_ms).expect("written");
    let mut history = History::open(&directory);
    let log_id = history.catalog.add(descriptor(100)).expect("a record");
    let mut maker = Maker {
        log: history.writer(log_id, 100),
        module: ConsensusModuleState::new(1, APP_VERSION),
        frames: Vec::new(),
    };

    let term = NewLeadershipTermEvent {
        leadership_term_id: 0,
        log_position: 96,
        timestamp: now_ms,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 7,
        time_unit: ClusterTimeUnit::Millis,
        app_version: APP_VERSION,
    };
    maker.append(&LogEvent::NewLeadershipTerm(term), |out| term.encode(out));
    history.recording_log.append_term(log_id, 0, 0, now_ms).expect("a row");
    let open = SessionOpenEvent {
        leadership_term_id: 0,
        correlation_id: 77,
        cluster_session_id: 1,
        timestamp: now_ms,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=localhost:9999",
        encoded_principal: b"alice",
    };
    maker.append(&LogEvent::SessionOpen(open), |out| open.encode(out));
    maker.emit(ServiceEmission::ScheduleTimer { correlation_id: 5, deadline: now_ms + 60_000 });

    let mut sets = Vec::new();
    for upto in [log_length / 3, log_length * 2 / 3, log_length] {
        while maker.position() < upto {
            maker.append_message();
        }
        if upto < log_length {
            maker.emit(ServiceEmission::Offer(b"pending"));
            sets.push(history.take_snapshot(&maker.module));
        }
    }
    let end = maker.position();
    let durability = directory.cluster().join("durable-position.dat");
    let mut durability = DurabilityFile::open_or_create(&durability).expect("a file");
    durability.mark(log_id, end, false).expect("written");
    if ending == Ending::Clean {
        history.catalog.stop(log_id, end, now_ms).expect("closed");
        cluster_mark.terminate().expect("written");
        archive_mark.terminate().expect("written");
    }
    drop(directory);
    // A process that another test is just starting has the lock's descriptor too, until it becomes another program.
    std::thread::sleep(std::time::Duration::from_millis(50));
    Made { dir: dir.to_owned(), end, sets, frames: maker.frames }
}

struct Maker {
    log: RecordingWriter,
    module: ConsensusModuleState,
    frames: Vec<i64>,
}

impl Maker {
    fn position(&self) -> i64 {
        self.log.recorded_position()
    }

    fn append(&mut self, event: &LogEvent<'_>, encode: impl Fn(&mut Vec<u8>)) {
        let mut message = Vec::new();
        encode(&mut message);
        let position = self.position();
        let frame = frame(position, 100, &message);
        self.log.append(position, &frame).expect("room");
        self.frames.push(position);
        self.module.on_event(event, LogPosition(self.position())).expect("an event of a log");
    }

    /// A client's message as long as fits: 1 KiB, or what is left of the term.
    fn append_message(&mut self) {
        let left = SEGMENT - self.position() % SEGMENT;
        let length = (left.min(1024) - HEADER_LENGTH as i64 - 32) as usize;
        let payload: Vec<u8> = (0..length).map(|at| (at + self.frames.len()) as u8 | 1).collect();
        let message =
            SessionMessage { leadership_term_id: 0, cluster_session_id: 1, timestamp: 5, payload: &payload };
        self.append(&LogEvent::SessionMessage(message), |out| message.encode(out));
    }

    fn emit(&mut self, emission: ServiceEmission<'_>) {
        let position = LogPosition(self.position());
        self.module.on_emission(ServiceId(0), position, emission).expect("room");
    }
}

struct History {
    archive: PathBuf,
    catalog: Catalog,
    recording_log: RecordingLogFile,
}

impl History {
    fn open(directory: &NodeDirectory) -> Self {
        let archive = directory.archive();
        let catalog = Catalog::open_or_create(&archive.join("archive.catalog"), SyncLevel::None);
        let recording_log = RecordingLogFile::open_or_create(&directory.cluster().join("recording.log"));
        Self { archive, catalog: catalog.expect("a catalog"), recording_log: recording_log.expect("a file") }
    }

    fn writer(&self, recording_id: i64, stream_id: i32) -> RecordingWriter {
        let descriptor = Descriptor { recording_id, ..descriptor(stream_id) };
        let geometry = descriptor.geometry().expect("a shape");
        RecordingWriter::create(&self.archive, geometry, None).expect("a segment")
    }

    /// Records a set, consensus module first, and enters it.
    fn take_snapshot(&mut self, module: &ConsensusModuleState) -> SnapshotSet {
        let mut messages = Vec::new();
        module.take_snapshot(&mut |message| messages.push(message.to_vec()));
        let consensus_module = self.record(107, &messages);
        let set = SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position: module.log_position(),
            timestamp: module.cluster_time(),
            consensus_module,
            services: vec![self.record(106, &service_snapshot(module.log_position()))],
        };
        self.recording_log.append_snapshot_set(&set).expect("rows");
        set
    }

    fn record(&mut self, stream_id: i32, messages: &[Vec<u8>]) -> i64 {
        let mut writer = self.writer(self.catalog.next_recording_id(), stream_id);
        for message in messages {
            let position = writer.recorded_position();
            writer.append(position, &frame(position, stream_id, message)).expect("room");
        }
        let stop_position = writer.recorded_position();
        SnapshotChecksum::write(&self.archive, writer.geometry(), stop_position).expect("a checksum");
        let descriptor = Descriptor { stop_position, stop_timestamp: 2, ..descriptor(stream_id) };
        self.catalog.add(descriptor).expect("a record")
    }
}

/// What `audit` writes: hash, count and the length of a ballast that is not there, then the hash of that.
fn service_snapshot(log_position: i64) -> Vec<Vec<u8>> {
    let marker = |mark| {
        let mut out = Vec::new();
        SnapshotMarker {
            type_id: SERVICE_TYPE_ID,
            log_position,
            leadership_term_id: 0,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: APP_VERSION,
        }
        .encode(&mut out);
        out
    };
    let mut session = Vec::new();
    ClientSession {
        cluster_session_id: 1,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=localhost:9999",
        encoded_principal: b"alice",
    }
    .encode(&mut session);
    let audit = [FNV_OFFSET_BASIS, 0, 0].map(u64::to_le_bytes).concat();
    let ballast_hash = FNV_OFFSET_BASIS.to_le_bytes().to_vec();
    vec![marker(SnapshotMark::Begin), session, marker(SnapshotMark::End), audit, ballast_hash]
}

fn descriptor(stream_id: i32) -> Descriptor {
    Descriptor {
        start_timestamp: 1,
        stop_timestamp: NULL_TIMESTAMP,
        stop_position: NULL_POSITION,
        initial_term_id: 3,
        segment_file_length: SEGMENT as i32,
        term_buffer_length: SEGMENT as i32,
        mtu_length: 1408,
        session_id: 7,
        stream_id,
        stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
        original_channel: "aeron:udp?endpoint=a:1|alias=log".to_owned(),
        source_identity: "a:1".to_owned(),
        ..Descriptor::default()
    }
}

fn frame(position: i64, stream_id: i32, payload: &[u8]) -> Vec<u8> {
    let header = DataHeader {
        frame_length: (HEADER_LENGTH + payload.len()) as i32,
        flags: UNFRAGMENTED,
        frame_type: FrameType::Data,
        term_offset: (position % SEGMENT) as i32,
        session_id: 7,
        stream_id,
        term_id: 3 + (position / SEGMENT) as i32,
        reserved_value: 0,
    };
    let mut frame = header.encode().to_vec();
    frame.extend_from_slice(payload);
    frame.resize(frame.len().next_multiple_of(32), 0);
    frame
}
