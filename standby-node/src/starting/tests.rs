use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use consensus_tap::archive::Recording;
use consensus_tap::codec::log::{LogEvent, NewLeadershipTermEvent, TimerEvent};
use consensus_tap::codec::snapshot::{SERVICE_TYPE_ID, SnapshotMark, SnapshotMarker};
use consensus_tap::wire::FrameType;
use consensus_tap::wire::TermLength;
use consensus_tap::wire::data::{DataHeader, UNFRAGMENTED};
use service_api::ClusteredService;

use super::*;
use crate::agent::Agent as _;
use crate::agent::service::ServiceAgent;
use crate::audit::Audit;
use crate::config::{NodeConfig, Settings};
use crate::service_set::{MakeService, NewService, ServiceSet, SetRole};
use crate::store::SyncLevel;
use crate::store::directory::NodeDirectory;
use crate::store::snapshot_recording::{ReservedRecording, SnapshotRecording};

const APP_VERSION: i32 = 1;
const LOG_END: i64 = 4096;
const TERM: i64 = 2;

/// A node's history with a log up to [`LOG_END`], and a service that counts its instances.
struct Bench {
    history: History,
    log: RecordingPlace,
    starting: Starting,
    agents: Vec<ServiceAgent<Box<dyn ClusteredService>>>,
    instances: Arc<AtomicUsize>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(log_start: i64, app_version: i32) -> Self {
        Self::of_log(log_start, app_version, |_| TERM)
    }

    /// With a message every 64 bytes, of the leadership term that there is at its position.
    fn of_log(log_start: i64, app_version: i32, term_at: impl Fn(i64) -> i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(dir.path(), 1).unwrap();
        let mut history = History::open(&directory, SyncLevel::None).unwrap();
        let mut opened = history.create_log(log_start, &source(), None).unwrap().open().unwrap();
        for position in (log_start..LOG_END).step_by(64) {
            opened.writer.append(position, &frame(position, term_at(position))).unwrap();
        }
        let instances = Arc::new(AtomicUsize::new(0));
        let make: Arc<MakeService> = {
            let instances = Arc::clone(&instances);
            Arc::new(move |_| {
                instances.fetch_add(1, Ordering::Relaxed);
                Ok(Box::new(Audit::new(|| 0).with_output(Box::new(std::io::sink()))))
            })
        };
        let settings = Settings {
            dir: Some(dir.path().to_owned()),
            host: Some("localhost".to_owned()),
            consensus_endpoints: Some(vec!["localhost:1".to_owned()]),
            ..Settings::default()
        };
        let config = NodeConfig::new(settings, 2).unwrap();
        let service = make(0).unwrap();
        let first = NewService { name: "service-0".to_owned(), service, gauges: None };
        let set = ServiceSet::assemble(&config, &make, vec![first], SetRole::First, false, None);
        let starting = Starting::new(app_version, 1, set.links);
        Self { history, log: opened.place, starting, agents: set.agents, instances, dir }
    }

    /// Enters a set at this position.
    fn enter(&mut self, log_position: i64) -> SnapshotSet {
        let places = self.history.reserve_snapshots(1, TermLength::MIN).unwrap();
        let mut recordings = vec![record(&places[0], &service_messages(log_position))];
        recordings.push(record(&places[1], &module_messages(log_position)));
        self.history.stop_recordings(&recordings).unwrap();
        self.history.reveal_recordings(&recordings).unwrap();
        let set = SnapshotSet {
            leadership_term_id: TERM,
            term_base_log_position: 0,
            log_position,
            timestamp: 7,
            consensus_module: places[1].recording_id(),
            services: vec![places[0].recording_id()],
        };
        self.history.enter_snapshot_set(&set).unwrap();
        set
    }

    fn start(&mut self) -> Result<Started, StartingError> {
        self.starting.begin(&self.history, &self.log)?;
        loop {
            for agent in &mut self.agents {
                agent.do_work(0).unwrap();
            }
            if let Some(started) = self.starting.poll(&self.history)? {
                return Ok(started);
            }
        }
    }

    fn segment(&self, recording_id: i64) -> std::path::PathBuf {
        self.dir.path().join("archive").join(format!("{recording_id}-0.rec"))
    }
}

fn record(
    place: &ReservedRecording,
    messages: &[Vec<u8>],
) -> crate::store::snapshot_recording::WrittenRecording {
    let mut recording = SnapshotRecording::create(place).unwrap();
    messages.iter().for_each(|message| recording.append(message).unwrap());
    recording.finish().unwrap()
}

fn service_messages(log_position: i64) -> Vec<Vec<u8>> {
    let marker = |mark| {
        let mut out = Vec::new();
        SnapshotMarker {
            type_id: SERVICE_TYPE_ID,
            log_position,
            leadership_term_id: TERM,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: APP_VERSION,
        }
        .encode(&mut out);
        out
    };
    // The audit service without ballast: hash, count, length; then the hash of no ballast.
    let state = [5_u64.to_le_bytes(), 3_u64.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    let ballast_hash = 0xcbf2_9ce4_8422_2325_u64.to_le_bytes().to_vec();
    vec![marker(SnapshotMark::Begin), marker(SnapshotMark::End), state, ballast_hash]
}

fn module_messages(log_position: i64) -> Vec<Vec<u8>> {
    let mut state = ConsensusModuleState::new(1, APP_VERSION);
    let term = LogEvent::NewLeadershipTerm(NewLeadershipTermEvent {
        leadership_term_id: TERM,
        log_position: 96,
        timestamp: 0,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 0,
        time_unit: ClusterTimeUnit::Millis,
        app_version: APP_VERSION,
    });
    state.on_event(&term, LogPosition(96)).unwrap();
    state.on_boundary(LogPosition(log_position));
    let mut messages = Vec::new();
    state.take_snapshot(&mut |message| messages.push(message.to_vec()));
    messages
}

fn source() -> Recording {
    Recording {
        recording_id: 3,
        start_timestamp: 0,
        stop_timestamp: -1,
        start_position: 0,
        stop_position: -1,
        initial_term_id: 0,
        segment_file_length: 65_536,
        term_buffer_length: 65_536,
        mtu_length: 1408,
        session_id: 1,
        stream_id: 100,
        stripped_channel: "aeron:udp".to_owned(),
        original_channel: "aeron:udp".to_owned(),
        source_identity: "a:1".to_owned(),
    }
}

fn frame(position: i64, leadership_term_id: i64) -> Vec<u8> {
    let header = DataHeader {
        frame_length: 64,
        flags: UNFRAGMENTED,
        frame_type: FrameType::Data,
        term_offset: position as i32,
        session_id: 9,
        stream_id: 100,
        term_id: 0,
        reserved_value: 0,
    };
    let mut frame = header.encode().to_vec();
    TimerEvent { leadership_term_id, correlation_id: position, timestamp: 0 }.encode(&mut frame);
    frame
}

fn flip(path: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_newest_set_within_the_log_is_the_one_that_is_loaded() {
    let mut bench = Bench::new(0, APP_VERSION);
    for position in [640, 960, LOG_END + 64] {
        bench.enter(position);
    }
    let started = bench.start().unwrap();
    assert_eq!((started.log_position, started.refused.len()), (960, 0));
    assert_eq!(started.modules[0].state.as_ref().unwrap().log_position(), 960);
    assert_eq!(started.modules[0].log_reader.position(), 960);
    assert_eq!(bench.instances.load(Ordering::Relaxed), 1);
}

#[test]
fn a_set_that_a_service_refuses_is_passed_over_with_a_fresh_service() {
    let mut bench = Bench::new(0, APP_VERSION);
    bench.enter(640);
    let newest = bench.enter(960);
    flip(&bench.segment(newest.services[0]), &0xcbf2_9ce4_8422_2325_u64.to_le_bytes());
    let started = bench.start().unwrap();
    assert_eq!((started.log_position, bench.instances.load(Ordering::Relaxed)), (640, 2));
    let [refused] = &started.refused[..] else { panic!("{:?}", started.refused) };
    assert_eq!(refused.set, newest);
    for word in ["position 960", "service 0", &format!("{}-0.rec", newest.services[0]), "ballast"] {
        assert!(refused.reason.contains(word), "no `{word}` in {}", refused.reason);
    }
    assert_eq!(started.lost().collect::<Vec<_>>(), [&newest], "for the service has loaded another");
    bench.history.invalidate_snapshot_set(&newest).unwrap();
    assert_eq!(bench.history.latest_snapshot_set(1).map(|set| set.log_position), Some(640));
}

#[test]
fn a_damaged_module_snapshot_or_a_missing_file_is_passed_over() {
    let mut bench = Bench::new(0, APP_VERSION);
    bench.enter(640);
    let damaged = bench.enter(960);
    // The BEGIN marker's schema id.
    flip(&bench.segment(damaged.consensus_module), &[111, 0]);
    let missing = bench.enter(1280);
    std::fs::remove_file(bench.segment(missing.services[0])).unwrap();
    let started = bench.start().unwrap();
    assert_eq!(started.log_position, 640);
    let refused: Vec<i64> = started.refused.iter().map(|refused| refused.set.log_position).collect();
    assert_eq!(refused, [1280, 960]);
    assert!(started.refused[1].reason.contains("consensus module"), "{}", started.refused[1].reason);
}

#[test]
fn a_service_that_loads_none_of_them_leaves_all_as_they_are() {
    let mut bench = Bench::new(0, APP_VERSION);
    for position in [640, 960] {
        let set = bench.enter(position);
        flip(&bench.segment(set.services[0]), &0xcbf2_9ce4_8422_2325_u64.to_le_bytes());
    }
    let started = bench.start().unwrap();
    assert_eq!((started.log_position, started.refused.len()), (0, 2));
    assert_eq!(started.lost().count(), 0, "it may be another binary that loads them");
}

#[test]
fn a_set_of_a_tail_that_was_lost_is_passed_over() {
    // The term that came in its place is not entered yet: messages are all that tells of it.
    let mut bench = Bench::of_log(0, APP_VERSION, |position| if position < 704 { TERM } else { 12 });
    bench.enter(640);
    bench.enter(960);
    let started = bench.start().unwrap();
    assert_eq!((started.log_position, started.refused.len()), (640, 1));
    let reason = &started.refused[0].reason;
    assert!(reason.contains("position 960") && reason.contains("leadership term 12"), "{reason}");
    assert_eq!(started.lost().count(), 0);

    let mut bench = Bench::new(0, APP_VERSION);
    bench.enter(640);
    bench.enter(960);
    let log_recording_id = bench.log.recording_id();
    bench.history.begin_leadership_term(log_recording_id, TERM, 0, 7).unwrap();
    bench.history.begin_leadership_term(log_recording_id, 12, 704, 7).unwrap();
    let positions =
        |history: &History| history.snapshot_sets(1).iter().map(|set| set.log_position).collect::<Vec<_>>();
    assert_eq!(positions(&bench.history), [640], "it counts no more once the term is entered");
    assert_eq!(bench.start().unwrap().log_position, 640);
}

#[test]
fn a_node_without_services_begins_where_a_snapshot_says_itself_that_it_is() {
    for log_position in [992, 1000] {
        // Any application's version will do.
        let mut bench = Bench::new(0, 2 << 16);
        bench.enter(640);
        // As any application's, whose services nobody here knows.
        let wrong = SnapshotSet { log_position, services: Vec::new(), ..bench.enter(960) };
        bench.history.enter_snapshot_set(&wrong).unwrap();
        bench.starting = Starting::new(2 << 16, 0, Vec::new());
        bench.agents.clear();
        let started = bench.start().unwrap();
        assert_eq!(started.log_position, 960);
        assert_eq!(started.lost().collect::<Vec<_>>(), [&wrong]);
    }
}

#[test]
fn behind_the_last_set_comes_the_beginning_of_the_log() {
    let mut bench = Bench::new(0, APP_VERSION);
    let only = bench.enter(960);
    std::fs::remove_file(bench.segment(only.consensus_module)).unwrap();
    let started = bench.start().unwrap();
    assert_eq!((started.log_position, started.refused.len()), (0, 1));
    assert_eq!(started.modules[0].state.as_ref().unwrap().log_position(), 0);
}

#[test]
fn a_log_that_begins_in_its_middle_needs_a_snapshot_and_the_error_says_what_was_tried() {
    let mut bench = Bench::new(640, APP_VERSION);
    let only = bench.enter(960);
    std::fs::remove_file(bench.segment(only.consensus_module)).unwrap();
    let error = bench.start().unwrap_err().to_string();
    for word in ["begins at position 640", "position 960", "consensus module", "`reseed`"] {
        assert!(error.contains(word), "no `{word}` in {error}");
    }
    assert_eq!(bench.history.latest_snapshot_set(1), Some(only), "nothing is invalidated in vain");
}

#[test]
fn a_version_that_fits_no_snapshot_is_the_configurations_fault_and_not_the_snapshots() {
    let mut bench = Bench::new(0, 2 << 16);
    let only = bench.enter(960);
    let error = bench.start().unwrap_err().to_string();
    assert!(error.contains("app_version") && error.contains("2.0.0"), "{error}");
    assert_eq!(bench.history.latest_snapshot_set(1), Some(only));
}

#[test]
fn no_service_applies_anything_before_the_word_to_begin() {
    let mut bench = Bench::new(0, APP_VERSION);
    bench.enter(960);
    bench.starting.begin(&bench.history, &bench.log).unwrap();
    bench.agents[0].do_work(0).unwrap();
    assert_eq!(bench.agents[0].do_work(0).unwrap(), 0, "loaded, and waiting");
    assert!(bench.starting.poll(&bench.history).unwrap().is_some());
    assert_eq!(bench.agents[0].do_work(0).unwrap(), 1, "begun");
}
