use std::path::Path;

use consensus_tap::codec::snapshot::{SERVICE_TYPE_ID, SnapshotMark, SnapshotMarker};
use consensus_tap::log::{SnapshotExpectation, SnapshotKind, SnapshotPart as LoadedPart};
use consensus_tap::wire::TermLength;
use rtrb::RingBuffer;
use service_api::{ClusterTimeUnit, FrozenState, SnapshotWriter};

use super::*;
use crate::agent::snapshot_part::{PartSender, part_ring};
use crate::message_buffer::MessageBuffer;
use crate::store::SyncLevel;
use crate::store::directory::NodeDirectory;
use crate::store::history::History;
use crate::store::recorded_snapshot::RecordedSnapshot;

/// The agent, the readers' ends and the conductor's.
struct Bench {
    agent: Snapshot,
    parts: Vec<PartSender>,
    orders: Producer<SnapshotOrder>,
    news: Consumer<SnapshotNews>,
    history: History,
    dir: tempfile::TempDir,
}

const SERVICE_COUNT: usize = 2;

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(dir.path(), 1).unwrap();
        let history = History::open(&directory, SyncLevel::None).unwrap();
        let (parts, sources) = (0..=SERVICE_COUNT).map(|_| part_ring(4)).unzip();
        let (orders, order_receiver) = RingBuffer::new(8);
        let (news_sender, news) = RingBuffer::new(8);
        Self { agent: Snapshot::new(sources, order_receiver, news_sender), parts, orders, news, history, dir }
    }

    fn work(&mut self) -> Option<SnapshotNews> {
        self.agent.do_work(0).unwrap();
        self.news.pop().ok()
    }

    /// Expects that a set begins, and gives it places.
    fn reserve(&mut self, expected: i64) -> Vec<i64> {
        match self.work() {
            Some(SnapshotNews::Begun { log_position }) => assert_eq!(log_position, expected),
            other => panic!("{other:?}"),
        }
        let places = self.history.reserve_snapshots(SERVICE_COUNT, TermLength::MIN).unwrap();
        let ids = places.iter().map(ReservedRecording::recording_id).collect();
        self.orders.push(SnapshotOrder::Reserved(places)).unwrap();
        ids
    }

    fn segment_count(&self) -> usize {
        let names = std::fs::read_dir(self.dir.path().join("archive")).unwrap();
        names.filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|end| end == "rec")).count()
    }
}

fn point(log_position: i64) -> SnapshotPoint {
    SnapshotPoint { log_position, leadership_term_id: 2, timestamp: 7, time_unit: ClusterTimeUnit::Millis }
}

fn head(log_position: i64) -> MessageBuffer {
    let mut head = MessageBuffer::new();
    for mark in [SnapshotMark::Begin, SnapshotMark::End] {
        let marker = SnapshotMarker {
            type_id: SERVICE_TYPE_ID,
            log_position,
            leadership_term_id: 2,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        };
        head.encode(|out| marker.encode(out));
    }
    head
}

struct View(Vec<Vec<u8>>);

impl FrozenState for View {
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        self.0.iter().try_for_each(|message| snapshot.write(message))
    }
}

/// Passes over the errors of its writer.
struct Careless(View);

impl FrozenState for Careless {
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        self.0.0.iter().for_each(|message| drop(snapshot.write(message)));
        Ok(())
    }
}

fn read(dir: &Path, history: &mut History, written: WrittenRecording) -> Vec<Vec<u8>> {
    history.stop_recordings(&[written]).unwrap();
    history.reveal_recordings(&[written]).unwrap();
    let (place, stop_position) = history.snapshot_place(written.recording_id).unwrap();
    assert!(place.first_file().starts_with(dir));
    let expectation = SnapshotExpectation {
        kind: SnapshotKind::Service,
        app_version: Some(1),
        time_unit: None,
        log_position: Some((640, 2)),
    };
    let mut messages = Vec::new();
    let snapshot = RecordedSnapshot::new(place.reader(), place.terms(), stop_position, expectation);
    let visited = snapshot.read_all(|part| {
        if let LoadedPart::Application(bytes) = part {
            messages.push(bytes.to_vec());
        }
        Ok(())
    });
    visited.unwrap();
    messages
}

#[test]
fn a_set_is_recorded_as_its_parts_come_and_reads_back_as_they_were() {
    let mut bench = Bench::new();
    let messages: Vec<Vec<u8>> = (0..50).map(|i| vec![i as u8; i * 160]).collect();
    bench.parts[1].send(point(640), head(640), PartContent::Frozen(Box::new(View(messages.clone()))));
    let ids = bench.reserve(640);
    assert!(bench.work().is_none() && bench.work().is_none(), "two parts are missing");
    assert!(!bench.parts[1].is_busy(), "what is there is written already");

    let mut buffer = MessageBuffer::new();
    messages.iter().for_each(|message| buffer.push(message));
    bench.parts[0].send(point(640), head(640), PartContent::Messages(buffer));
    bench.parts[2].send(point(640), head(640), PartContent::None);
    let Some(SnapshotNews::Written(set)) = bench.work() else { panic!("all parts are there") };
    assert_eq!(set.point, point(640));
    assert_eq!(set.recordings.iter().map(|written| written.recording_id).collect::<Vec<_>>(), ids);
    let dir = bench.dir.path().to_owned();
    for service in [0, 1] {
        assert_eq!(read(&dir, &mut bench.history, set.recordings[service]), messages, "service {service}");
    }
}

#[test]
fn one_reader_without_a_part_gives_up_the_whole_set_and_the_next_set_is_another_matter() {
    let mut bench = Bench::new();
    bench.parts[0].send(point(640), head(640), PartContent::None);
    let ids = bench.reserve(640);
    bench.work();
    assert_eq!(bench.segment_count(), 1);
    bench.parts[1].skip(640, "no view");
    bench.parts[2].send(point(640), head(640), PartContent::None);
    match bench.work() {
        Some(SnapshotNews::GivenUp { log_position: 640, recording_ids, reason: Some(reason) }) => {
            assert_eq!(recording_ids, ids);
            assert_eq!(reason, "service 1: no view");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.segment_count(), 0);
    assert!(!bench.parts[2].is_busy(), "what came behind the refusal was let go of");

    for part in &mut bench.parts {
        part.send(point(960), head(960), PartContent::None);
    }
    bench.reserve(960);
    assert!(matches!(bench.work(), Some(SnapshotNews::Written(set)) if set.point == point(960)));
}

#[test]
fn a_reader_that_names_a_later_position_has_no_part_of_the_ones_before() {
    let mut bench = Bench::new();
    for position in [640, 960] {
        for index in [0, 2] {
            bench.parts[index].skip(position, "busy");
        }
    }
    bench.parts[1].skip(960, "busy");
    for position in [640, 960] {
        bench.reserve(position);
        let news = bench.work();
        assert!(
            matches!(&news, Some(SnapshotNews::GivenUp { log_position, .. }) if *log_position == position),
            "{news:?}"
        );
    }
    assert!(bench.work().is_none());
}

#[test]
fn parts_that_do_not_stand_at_the_same_point_are_no_set() {
    let mut bench = Bench::new();
    bench.parts[0].send(point(640), head(640), PartContent::None);
    bench.parts[1].send(SnapshotPoint { timestamp: 8, ..point(640) }, head(640), PartContent::None);
    bench.parts[2].send(point(640), head(640), PartContent::None);
    bench.reserve(640);
    let Some(SnapshotNews::GivenUp { reason: Some(reason), .. }) = bench.work() else {
        panic!("not given up")
    };
    assert!(reason.starts_with("service 1: it stands at"), "{reason}");
}

#[test]
fn a_view_that_cannot_be_written_gives_the_set_up_in_its_words_though_the_service_passes_over_it() {
    let too_long = || View(vec![vec![0; 8193], vec![0; 8]]);
    let views: [Box<dyn FrozenState>; 2] = [Box::new(too_long()), Box::new(Careless(too_long()))];
    for view in views {
        let mut bench = Bench::new();
        bench.parts[0].send(point(640), head(640), PartContent::Frozen(view));
        bench.parts[1].send(point(640), head(640), PartContent::None);
        bench.parts[2].send(point(640), head(640), PartContent::None);
        bench.reserve(640);
        let Some(SnapshotNews::GivenUp { reason: Some(reason), .. }) = bench.work() else {
            panic!("not given up")
        };
        assert!(reason.starts_with("service 0: a message of 8193 bytes"), "{reason}");
        assert_eq!(bench.segment_count(), 0);
    }
}

#[test]
fn a_disk_that_takes_no_recording_gives_the_set_up_and_the_agent_goes_on() {
    let mut bench = Bench::new();
    for part in &mut bench.parts {
        part.send(point(640), head(640), PartContent::None);
    }
    let ids = bench.reserve(640);
    // Something stands where the second recording is to begin.
    std::fs::create_dir(bench.dir.path().join("archive").join(format!("{}-0.rec", ids[1]))).unwrap();
    let Some(SnapshotNews::GivenUp { reason: Some(reason), .. }) = bench.work() else {
        panic!("not given up")
    };
    assert!(reason.starts_with("service 1: ") && reason.contains(&format!("{}-0.rec", ids[1])), "{reason}");
}

#[test]
fn a_set_that_is_there_already_is_taken_off_the_rings_without_a_word() {
    let mut bench = Bench::new();
    for part in &mut bench.parts {
        part.send(point(640), head(640), PartContent::None);
    }
    assert!(matches!(bench.work(), Some(SnapshotNews::Begun { .. })));
    bench.orders.push(SnapshotOrder::NotNeeded).unwrap();
    assert!(matches!(bench.work(), Some(SnapshotNews::GivenUp { reason: None, .. })));
    assert!(bench.parts.iter().all(|part| !part.is_busy()));
    assert_eq!(bench.segment_count(), 0);
}
