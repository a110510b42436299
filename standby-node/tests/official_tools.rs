//! The node's files against code that nobody here wrote: Aeron's own tools and classes, both ways.
//!
//! The jar is `$AERON_ALL_JAR`, or where Maven keeps it. Without it these tests fail; `STANDBY_NO_JAVA=1`
//! leaves them out, loudly.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::catalog::{Descriptor, NULL_POSITION, NULL_TIMESTAMP};
use consensus_tap::file::cluster_mark::{self, ClusterMark, ComponentType};
use consensus_tap::file::node_state::{self, CandidateTerm};
use consensus_tap::file::recording_log::{self, Entry, EntryKind, SnapshotSet};
use consensus_tap::file::{archive_mark, catalog as catalog_format};
use standby_node::store::SyncLevel;
use standby_node::store::catalog::Catalog;
use standby_node::store::directory::NodeDirectory;
use standby_node::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use standby_node::store::node_state::NodeStateFile;
use standby_node::store::recording_log::RecordingLogFile;

const TERM_LENGTH: i32 = 64 * 1024;
const INITIAL_TERM_ID: i32 = 5;
const STREAM_ID: i32 = 100;
const CLUSTER_TOOL: &str = "io.aeron.cluster.ClusterTool";
const ARCHIVE_TOOL: &str = "io.aeron.archive.ArchiveTool";

#[test]
fn the_official_tools_read_our_directory() {
    let Some(java) = Java::find() else { return };
    let node = Node::create();
    let pid = std::process::id().to_string();

    let describe = java.run(CLUSTER_TOOL, [node.cluster.as_os_str(), "describe".as_ref()]);
    describe.contains("Type: BACKUP");
    describe.contains("componentType=BACKUP");
    describe.contains("memberId=9");
    describe.contains(&format!("pid={pid}"));
    describe.contains("controlChannel='aeron:ipc?term-length=128k'");
    describe.contains(&format!("aeronDirectory='{}'", node.aeron.display()));
    let cluster_pid = java.run(CLUSTER_TOOL, [node.cluster.as_os_str(), "pid".as_ref()]);
    assert_eq!(cluster_pid.text.trim(), pid);

    let rows = java.run(CLUSTER_TOOL, [node.cluster.as_os_str(), "recording-log".as_ref()]);
    let entries: Vec<&str> = rows.text.matches("Entry{").collect();
    assert_eq!(entries.len(), 6, "{}", rows.text);
    // In the order by which readers go, as our own parser has it.
    rows.contains_in_order(&[
        "recordingId=0, leadershipTermId=0, termBaseLogPosition=0, logPosition=224, timestamp=1000, \
         serviceId=-1, type=TERM, isValid=true, entryIndex=0",
        "recordingId=9, leadershipTermId=0, termBaseLogPosition=0, logPosition=160, timestamp=1500, \
         serviceId=-1, type=STANDBY_SNAPSHOT, isValid=true, entryIndex=3, archiveEndpoint=host0:10001",
        "recordingId=2, leadershipTermId=0, termBaseLogPosition=0, logPosition=160, timestamp=1500, \
         serviceId=0, type=SNAPSHOT, isValid=true, entryIndex=1",
        "recordingId=1, leadershipTermId=0, termBaseLogPosition=0, logPosition=160, timestamp=1500, \
         serviceId=-1, type=SNAPSHOT, isValid=true, entryIndex=2",
        "recordingId=0, leadershipTermId=1, termBaseLogPosition=224, logPosition=224, timestamp=2000, \
         serviceId=-1, type=TERM, isValid=true, entryIndex=4",
        "recordingId=0, leadershipTermId=2, termBaseLogPosition=224, logPosition=-1, timestamp=2000, \
         serviceId=-1, type=TERM, isValid=true, entryIndex=5",
    ]);

    let archive = node.archive.as_os_str();
    let archive_pid = java.run(ARCHIVE_TOOL, [archive, "pid".as_ref()]);
    assert_eq!(archive_pid.text.trim(), pid);
    let count = java.run(ARCHIVE_TOOL, [archive, "count-entries".as_ref()]);
    assert_eq!(count.text.trim(), "3");
    let describe = java.run(ARCHIVE_TOOL, [archive, "describe".as_ref()]);
    describe.contains("controlChannel='aeron:udp?endpoint=localhost:8010'");
    describe.contains("archiveId=77");
    describe.contains("Catalog capacity in bytes: 1048576");
    describe.contains_in_order(&[
        "recordingId=0|startTimestamp=1000|stopTimestamp=-1|startPosition=0|stopPosition=-1|initialTermId=5|\
         segmentFileLength=65536|termBufferLength=65536|mtuLength=1408|sessionId=77|streamId=100|\
         strippedChannel='aeron:udp?endpoint=a:1'|originalChannel='aeron:udp?endpoint=a:1|alias=log'|\
         sourceIdentity='10.0.0.1:5000'",
        "recordingId=1|startTimestamp=1000|stopTimestamp=1500|startPosition=0|stopPosition=160|",
        "recordingId=2|startTimestamp=1000|stopTimestamp=1500|startPosition=73728|stopPosition=73952|",
    ]);
    assert!(!describe.text.contains("recordingId=3|"), "the hidden recording is not listed");

    let verify = java.run(ARCHIVE_TOOL, [archive, "verify".as_ref(), "-a".as_ref()]);
    for recording_id in 0..=3 {
        verify.contains(&format!("(recordingId={recording_id}) OK"));
    }
    verify.contains("(recordingId=4) skipping: DELETED");
    // `verify` ends the active recording where its frames end, and finds nothing to change in the others.
    let catalog = node.reopen_catalog();
    let stops: Vec<i64> = catalog.iter().map(|descriptor| descriptor.stop_position).collect();
    assert_eq!(stops, [384, 160, 73952]);
}

#[test]
fn javas_own_classes_open_what_a_killed_node_left() {
    let Some(java) = Java::find() else { return };
    let mut node = Node::create();
    node.end();

    let list = java.run_source("list-archive", &node.archive);
    list.contains("recording 0 0 384 77 aeron:udp?endpoint=a:1|alias=log");
    list.contains("recording 1 0 160 77 ");
    list.contains("recording 2 73728 73952 77 ");
    assert_eq!(list.text.matches("recording ").count(), 3, "{}", list.text);

    let take_over = java.run_source("take-over", &node.cluster);
    take_over.contains("error 2 5 6 no source answers");
    take_over.contains("error 1 7 7 disk almost full");
    take_over.contains("candidate 4 5 6");
    take_over.contains("taken over CONSENSUS_MODULE");
}

#[test]
fn we_read_what_java_wrote() {
    let Some(java) = Java::find() else { return };
    let temp = tempfile::tempdir().unwrap();
    let directory = NodeDirectory::open(temp.path(), now_ms()).unwrap();
    java.run_source("write-cluster", &directory.cluster());
    let recorded = java.run_source("write-archive", &directory.archive());

    let path = directory.cluster().join(recording_log::FILE_NAME);
    let image = fs::read(&path).unwrap();
    let mut file = RecordingLogFile::open_or_create(&path).unwrap();
    assert_eq!(file.log().image(), image, "opening changes nothing");
    let rows = file.log().rows().iter().map(|row| (row.index, row.entry.recording_id, row.entry.valid));
    let expected = [
        (0, 7, true),
        (3, 21, true),
        (4, 22, true),
        (1, 20, true),
        (2, 19, true),
        (5, 7, true),
        (6, 30, false),
        (7, 29, false),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    let standby = &file.log().rows()[2].entry;
    let endpoint = "a-rather-long-host-name.example.com:10001".to_owned();
    assert_eq!(standby.kind, EntryKind::StandbySnapshot { endpoint });
    assert_eq!(file.log().find_term(0).unwrap().entry.log_position, 9600);
    let set = file.log().latest_snapshot_set(1).unwrap();
    assert_eq!((set.log_position, set.consensus_module, set.services), (4096, 19, vec![20]));
    // Each row as Java wrote it, up to its last field, and what both would write next.
    for row in file.log().rows() {
        let at = usize::try_from(row.offset).unwrap();
        let length = match &row.entry.kind {
            EntryKind::StandbySnapshot { endpoint } => 52 + endpoint.len(),
            _ => 48,
        };
        assert_eq!(row.entry.encode().unwrap()[..length], image[at..at + length], "row {}", row.index);
    }
    file.append_term(7, 2, 16_000, 6000).unwrap();
    let rows = java.run(CLUSTER_TOOL, [directory.cluster().as_os_str(), "recording-log".as_ref()]);
    rows.contains("leadershipTermId=1, termBaseLogPosition=9600, logPosition=16000");
    rows.contains("leadershipTermId=2, termBaseLogPosition=16000, logPosition=-1");

    let catalog =
        Catalog::open_or_create(&directory.archive().join(catalog_format::FILE_NAME), SyncLevel::None)
            .unwrap();
    let mut lines = String::new();
    for descriptor in catalog.iter() {
        let Descriptor { stream_id, stop_position, session_id, .. } = descriptor;
        lines.push_str(&format!("recorded {stream_id} {stop_position} {session_id}\n"));
    }
    assert_eq!(lines, recorded.text);
    assert_eq!(catalog.next_recording_id(), 2);
    let first = &catalog.records()[0];
    assert_eq!(first.descriptor.original_channel, "aeron:ipc?term-length=64k|alias=log");
    assert_eq!((first.descriptor.source_identity.as_str(), first.checksum), ("aeron:ipc", 0));
    let image = fs::read(directory.archive().join(catalog_format::FILE_NAME)).unwrap();
    for record in catalog.records() {
        let at = usize::try_from(record.offset).unwrap();
        let bytes = record.descriptor.encode_record(record.state, catalog_format::ALIGNMENT).unwrap();
        assert_eq!(bytes, image[at..at + bytes.len()]);
    }

    let mark = fs::read(directory.cluster().join(cluster_mark::FILE_NAME)).unwrap();
    assert_eq!(mark.len(), cluster_mark::FILE_LENGTH);
    let parsed = ClusterMark::parse(&mark).unwrap();
    assert_eq!(parsed.encode().unwrap(), mark[..cluster_mark::HEADER_LENGTH]);
    assert_eq!(parsed.component_type, ComponentType::ConsensusModule);
    assert_eq!((parsed.member_id, parsed.cluster_id, parsed.version), (3, 5, cluster_mark::VERSION));
    assert_eq!(
        (parsed.aeron_directory.as_str(), parsed.services_cluster_dir.as_str()),
        ("/dev/shm/aeron-x", "/s")
    );
    let mark = fs::read(directory.archive().join(archive_mark::FILE_NAME)).unwrap();
    assert_eq!(mark.len(), archive_mark::FILE_LENGTH);
    let parsed = ArchiveMark::parse(&mark).unwrap();
    assert_eq!(parsed.encode().unwrap(), mark[..archive_mark::HEADER_LENGTH]);
    assert_eq!(parsed.activity_timestamp, archive_mark::TERMINATED);

    let state = NodeStateFile::open_or_create(&directory.cluster().join(node_state::FILE_NAME)).unwrap();
    let expected = CandidateTerm { candidate_term_id: 12, timestamp: 34, log_position: 9600 };
    assert_eq!(state.candidate_term(), expected);
}

/// A directory as a node leaves it: the log's recording active, a complete snapshot, a snapshot that was
/// being written, a deleted recording.
struct Node {
    archive: PathBuf,
    cluster: PathBuf,
    aeron: PathBuf,
    cluster_mark: ClusterMarkFile,
    archive_mark: ArchiveMarkFile,
    _directory: NodeDirectory,
    _temp: tempfile::TempDir,
}

impl Node {
    fn create() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let now_ms = now_ms();
        let directory = NodeDirectory::open(temp.path(), now_ms).unwrap();
        let (archive, cluster, aeron) = (directory.archive(), directory.cluster(), directory.aeron());
        let aeron_directory = aeron.to_str().unwrap().to_owned();

        let fields = ClusterMark {
            member_id: 9,
            aeron_directory: aeron_directory.clone(),
            control_channel: "aeron:ipc?term-length=128k".into(),
            ingress_channel: "aeron:udp".into(),
            ..ClusterMark::default()
        };
        let mut cluster_mark = ClusterMarkFile::activate(&directory, fields, now_ms).unwrap();
        for (text, at) in [("no source answers", 5), ("no source answers", 6), ("disk almost full", 7)] {
            assert!(cluster_mark.record_error(text, at).unwrap());
        }
        cluster_mark.ready(now_ms).unwrap();
        let fields = ArchiveMark {
            archive_id: 77,
            control_channel: "aeron:udp?endpoint=localhost:8010".into(),
            local_control_channel: "aeron:ipc".into(),
            aeron_directory,
            ..ArchiveMark::default()
        };
        let mut archive_mark = ArchiveMarkFile::activate(&directory, fields, now_ms).unwrap();
        archive_mark.ready(now_ms).unwrap();

        write_catalog(&archive);
        write_recording_log(&cluster);
        let mut state = NodeStateFile::open_or_create(&cluster.join(node_state::FILE_NAME)).unwrap();
        let term = CandidateTerm { candidate_term_id: 4, timestamp: 5, log_position: 6 };
        state.update(term, SyncLevel::Data).unwrap();
        Self { archive, cluster, aeron, cluster_mark, archive_mark, _directory: directory, _temp: temp }
    }

    /// Ends in order, as far as the mark files say. Everything else stays as a kill leaves it.
    fn end(&mut self) {
        self.cluster_mark.terminate().unwrap();
        self.archive_mark.terminate().unwrap();
    }

    fn reopen_catalog(&self) -> Catalog {
        Catalog::open_or_create(&self.archive.join(catalog_format::FILE_NAME), SyncLevel::None).unwrap()
    }
}

fn write_catalog(archive: &Path) {
    let path = archive.join(catalog_format::FILE_NAME);
    let mut catalog = Catalog::open_or_create(&path, SyncLevel::Data).unwrap();
    let active = Descriptor {
        start_timestamp: 1000,
        stop_timestamp: NULL_TIMESTAMP,
        start_position: 0,
        stop_position: NULL_POSITION,
        initial_term_id: INITIAL_TERM_ID,
        segment_file_length: TERM_LENGTH,
        term_buffer_length: TERM_LENGTH,
        mtu_length: 1408,
        session_id: 77,
        stream_id: STREAM_ID,
        stripped_channel: "aeron:udp?endpoint=a:1".into(),
        original_channel: "aeron:udp?endpoint=a:1|alias=log".into(),
        source_identity: "10.0.0.1:5000".into(),
        ..Descriptor::default()
    };
    let complete = Descriptor { stop_timestamp: 1500, stop_position: 160, ..active.clone() };

    let log = catalog.add(active.clone()).unwrap();
    write_segment(archive, log, 0, &[100, 1, 128]);
    let consensus_module = catalog.add_hidden(active.clone()).unwrap();
    write_segment(archive, consensus_module, 0, &[100]);
    catalog.stop_hidden(consensus_module, complete.stop_position, complete.stop_timestamp).unwrap();
    catalog.reveal(consensus_module).unwrap();
    // One that starts in the middle of a term: its segment starts with that term.
    let start_position = 73_728;
    let late = Descriptor { start_position, stop_position: start_position + 224, ..complete.clone() };
    let service = catalog.add(late).unwrap();
    write_segment(archive, service, start_position, &[1, 99]);
    catalog.add_hidden(active.clone()).unwrap();
    let deleted = catalog.add(complete).unwrap();
    catalog.delete(deleted).unwrap();
    assert_eq!([log, consensus_module, service, deleted], [0, 1, 2, 4]);
}

fn write_recording_log(cluster: &Path) {
    let path = cluster.join(recording_log::FILE_NAME);
    let mut log = RecordingLogFile::open_or_create(&path).unwrap();
    log.append_term(0, 0, 0, 1000).unwrap();
    let set = SnapshotSet {
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position: 160,
        timestamp: 1500,
        consensus_module: 1,
        services: vec![2],
    };
    log.append_snapshot_set(&set).unwrap();
    let kind = EntryKind::StandbySnapshot { endpoint: "host0:10001".into() };
    let standby = Entry { kind, recording_id: 9, ..set.entries()[1].clone() };
    log.append_snapshot(&standby).unwrap();
    log.ensure_coherent(0, 2, 224, None, 2000).unwrap();
    log.sync(SyncLevel::All).unwrap();
}

/// A segment file with one frame for each payload length, from `start_position` on.
fn write_segment(archive: &Path, recording_id: i64, start_position: i64, payload_lengths: &[i32]) {
    let term_length = i64::from(TERM_LENGTH);
    let base = start_position - start_position % term_length;
    let mut segment = vec![0_u8; usize::try_from(TERM_LENGTH).unwrap()];
    let mut term_offset = i32::try_from(start_position - base).unwrap();
    let term_id = INITIAL_TERM_ID + i32::try_from(base / term_length).unwrap();
    for payload_length in payload_lengths {
        let frame_length = 32 + payload_length;
        let at = usize::try_from(term_offset).unwrap();
        let frame = &mut segment[at..];
        frame[..4].copy_from_slice(&frame_length.to_le_bytes());
        frame[5] = 0xc0;
        frame[6] = 1;
        for (at, field) in [(8, term_offset), (12, 77), (16, STREAM_ID), (20, term_id)] {
            frame[at..at + 4].copy_from_slice(&field.to_le_bytes());
        }
        frame[32..usize::try_from(frame_length).unwrap()].fill(b'x');
        term_offset += (frame_length + 31) & !31;
    }
    fs::write(archive.join(format!("{recording_id}-{base}.rec")), segment).unwrap();
}

fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(elapsed.as_millis()).unwrap()
}

/// Runs Java with Aeron on the class path.
struct Java {
    jar: PathBuf,
}

impl Java {
    /// `None` when the operator asked to leave Java out.
    fn find() -> Option<Self> {
        if std::env::var_os("STANDBY_NO_JAVA").is_some_and(|value| value == "1") {
            eprintln!("LEFT OUT: STANDBY_NO_JAVA=1, nothing was compared with real Aeron");
            return None;
        }
        let maven = "io/aeron/aeron-all/1.51.0/aeron-all-1.51.0.jar";
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let jar = std::env::var_os("AERON_ALL_JAR")
            .map_or_else(|| home.join(".m2/repository").join(maven), PathBuf::from);
        assert!(
            jar.is_file(),
            "no Aeron at {}: set AERON_ALL_JAR to aeron-all-1.51.0.jar, or STANDBY_NO_JAVA=1 to leave the \
             comparison with real Aeron out",
            jar.display()
        );
        Some(Self { jar })
    }

    fn run<'a>(&self, class: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
        self.run_with(OsStr::new(class), arguments)
    }

    fn run_source(&self, command: &str, directory: &Path) -> Output {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/NodeFiles.java");
        self.run_with(source.as_os_str(), [OsStr::new(command), directory.as_os_str()])
    }

    fn run_with<'a>(&self, main: &OsStr, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
        let output = Command::new("java")
            .args(["--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED"])
            .args(["--add-opens", "java.base/java.util.zip=ALL-UNNAMED"])
            .arg("-cp")
            .arg(&self.jar)
            .arg(main)
            .args(arguments)
            .output()
            .expect("java (17 or newer) must be on the PATH");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{text}\n{errors}", main.display(), output.status);
        Output { text }
    }
}

/// What a Java process printed.
struct Output {
    text: String,
}

impl Output {
    fn contains(&self, expected: &str) {
        assert!(self.text.contains(expected), "expected {expected:?} in:\n{}", self.text);
    }

    fn contains_in_order(&self, expected: &[&str]) {
        let mut rest = self.text.as_str();
        for expected in expected {
            let at = rest.find(expected);
            let at = at.unwrap_or_else(|| panic!("expected {expected:?}, in this order, in:\n{}", self.text));
            rest = &rest[at + expected.len()..];
        }
    }
}
