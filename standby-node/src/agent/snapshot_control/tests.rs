use consensus_tap::codec::log::NewLeadershipTermEvent;
use consensus_tap::file::recording_log::{EntryKind, Row};
use rtrb::RingBuffer;
use service_api::ClusterTimeUnit;

use super::*;
use crate::agent::snapshot_part::SnapshotPoint;
use crate::store::SyncLevel;
use crate::store::cnc::{CncFile, CncSettings};
use crate::store::directory::NodeDirectory;
use crate::store::recording_log::RecordingLogFile;
use crate::store::snapshot_recording::SnapshotRecording;

/// The control, and what stands in for the snapshot agent.
struct Bench {
    control: SnapshotControl,
    history: History,
    gauges: SnapshotGauges,
    orders: Consumer<SnapshotOrder>,
    news: Producer<SnapshotNews>,
    _cnc: CncFile,
    dir: tempfile::TempDir,
}

const SERVICE_COUNT: usize = 1;
const LOG_END: i64 = 4096;

impl Bench {
    fn new(schedule: SnapshotSchedule) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(dir.path(), 1).unwrap();
        let mut history = History::open(&directory, SyncLevel::None).unwrap();
        let term = NewLeadershipTermEvent {
            leadership_term_id: 2,
            log_position: 96,
            timestamp: 0,
            term_base_log_position: 32,
            leader_member_id: 0,
            log_session_id: 0,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        };
        history.on_leadership_term(0, &term).unwrap();
        let (cnc, mut counters) =
            CncFile::create(&dir.path().join("aeron"), &CncSettings::default(), 1).unwrap();
        let gauges = SnapshotGauges::allocate(&mut counters, 0).unwrap();
        let (order_sender, orders) = RingBuffer::new(8);
        let (news, news_receiver) = RingBuffer::new(8);
        let mut control = SnapshotControl::new(
            SERVICE_COUNT,
            TermLength::MIN,
            schedule,
            gauges.clone(),
            order_sender,
            news_receiver,
        );
        control.start(&history, 0, 0);
        Self { control, history, gauges, orders, news, _cnc: cnc, dir }
    }

    fn work(&mut self) -> Vec<SnapshotEvent> {
        self.control.do_work(&mut self.history, LOG_END, 1);
        std::iter::from_fn(|| self.control.poll_event()).collect()
    }

    fn tell(&mut self, news: SnapshotNews) -> Vec<SnapshotEvent> {
        self.news.push(news).unwrap();
        self.work()
    }

    fn order(&mut self) -> Option<SnapshotOrder> {
        self.orders.pop().ok()
    }

    /// A set at this position is written and reported; returns its module's recording.
    fn written(&mut self, log_position: i64) -> i64 {
        assert_eq!(self.tell(SnapshotNews::Begun { log_position }), []);
        let Some(SnapshotOrder::Reserved(places)) = self.order() else { panic!("no places") };
        let module = places[SERVICE_COUNT].recording_id();
        assert_eq!(self.report_written(log_position, places), []);
        module
    }

    fn report_written(&mut self, log_position: i64, places: Vec<ReservedRecording>) -> Vec<SnapshotEvent> {
        let recordings = places.iter().map(record).collect();
        let point = SnapshotPoint {
            log_position,
            leadership_term_id: 2,
            timestamp: 7,
            time_unit: ClusterTimeUnit::Millis,
        };
        self.tell(SnapshotNews::Written(WrittenSet { point, recordings, places }))
    }

    /// The snapshot agent puts on the disk what it was given; what came of it.
    fn sync(&mut self) -> Vec<SnapshotEvent> {
        let Some(SnapshotOrder::Sync(file)) = self.order() else { panic!("nothing to sync") };
        file.sync().unwrap();
        self.tell(SnapshotNews::Synced)
    }

    /// A member's set at this position was fetched, is on the disk, and is to count.
    fn fetched(&mut self, log_position: i64) {
        let places = self.history.reserve_snapshots(SERVICE_COUNT, TermLength::MIN).unwrap();
        let row = |(index, place): (usize, &ReservedRecording)| SnapshotEntry {
            recording_id: place.recording_id(),
            leadership_term_id: 2,
            term_base_log_position: 32,
            log_position,
            timestamp: 7,
            service_id: index as i32 - 1,
        };
        let rows: Vec<SnapshotEntry> = places.iter().enumerate().map(row).collect();
        let recordings = places.iter().map(record).collect();
        self.control.publish_fetched(&rows, recordings, &mut self.history);
    }

    /// Asks by the toggle; the log stands at its end.
    fn ask(&mut self) {
        self.gauges.toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT);
        assert_eq!(self.work(), [SnapshotEvent::Mark]);
        self.control.on_marked(LOG_END);
    }

    /// The readers hand over their parts for [`LOG_END`], where a set is on its way.
    fn not_needed(&mut self) {
        self.tell(SnapshotNews::Begun { log_position: LOG_END });
        assert!(matches!(self.order(), Some(SnapshotOrder::NotNeeded)));
        let over = SnapshotNews::GivenUp { log_position: LOG_END, recording_ids: Vec::new(), reason: None };
        assert_eq!(self.tell(over), []);
    }

    /// What the toggle says, and how the last request ended.
    fn answer(&self) -> (i64, i64) {
        (self.gauges.toggle.get(), self.gauges.result.get())
    }

    /// How many rows recording.log has of valid snapshots.
    fn row_count(&self) -> usize {
        let path = self.dir.path().join("cluster/recording.log");
        let (log, _) = RecordingLogFile::read(&path).unwrap().unwrap();
        let is_snapshot = |row: &&Row| row.entry.kind == EntryKind::Snapshot && row.entry.valid;
        log.rows().iter().filter(is_snapshot).count()
    }

    fn set(&self) -> Option<SnapshotSet> {
        self.history.latest_snapshot_set(SERVICE_COUNT)
    }
}

fn record(place: &ReservedRecording) -> WrittenRecording {
    let mut recording = SnapshotRecording::create(place).unwrap();
    recording.append(&[7; 100]).unwrap();
    recording.finish().unwrap()
}

fn by_hand() -> Bench {
    Bench::new(SnapshotSchedule::default())
}

#[test]
fn each_step_waits_until_the_one_before_is_on_the_disk() {
    let mut bench = by_hand();
    let module = bench.written(640);
    let is_revealed = |bench: &Bench| bench.history.snapshot_place(module).is_ok();
    assert_eq!((is_revealed(&bench), bench.set()), (false, None), "stop positions are written");
    assert_eq!(bench.sync(), []);
    assert_eq!((is_revealed(&bench), bench.set()), (true, None), "the recordings count");
    assert_eq!(bench.sync(), []);
    assert_eq!(bench.gauges.count.get(), 0, "the row is written, and not known to be on the disk");
    let set = bench.set().unwrap();
    assert_eq!((set.log_position, set.term_base_log_position, set.timestamp), (640, 32, 7));
    assert_eq!((set.consensus_module, set.services.len()), (module, 1));
    assert_eq!(bench.sync(), [SnapshotEvent::Published(set)]);
    assert_eq!((bench.gauges.count.get(), bench.gauges.position.get()), (1, 640));
}

#[test]
fn a_sync_that_fails_at_any_step_takes_the_set_back_and_the_next_one_counts() {
    for good_syncs in 0..3 {
        let mut bench = by_hand();
        let module = bench.written(640);
        (0..good_syncs).for_each(|_| assert_eq!(bench.sync(), []));
        assert!(matches!(bench.order(), Some(SnapshotOrder::Sync(_))));
        let events = bench.tell(SnapshotNews::SyncFailed { reason: "the disk is gone".to_owned() });
        let [SnapshotEvent::GivenUp { error: reason, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(reason, "standby snapshot given up: the disk is gone");
        assert!(matches!(bench.order(), Some(SnapshotOrder::Remove(places)) if places.len() == 2));
        assert_eq!((bench.set(), bench.gauges.failures.get()), (None, 1), "after {good_syncs} syncs");
        assert!(bench.history.snapshot_place(module).is_err(), "after {good_syncs} syncs");

        bench.written(960);
        (0..2).for_each(|_| assert_eq!(bench.sync(), []));
        assert!(matches!(bench.sync()[..], [SnapshotEvent::Published(_)]));
        assert_eq!(bench.set().map(|set| set.log_position), Some(960));
    }
}

#[test]
fn a_set_of_a_term_without_its_row_does_not_count() {
    let mut bench = by_hand();
    bench.tell(SnapshotNews::Begun { log_position: 640 });
    let Some(SnapshotOrder::Reserved(places)) = bench.order() else { panic!("no places") };
    let recordings = places
        .iter()
        .map(|place| WrittenRecording { recording_id: place.recording_id(), stop_position: 96 })
        .collect();
    let point = SnapshotPoint {
        log_position: 640,
        leadership_term_id: 3,
        timestamp: 7,
        time_unit: ClusterTimeUnit::Millis,
    };
    let events = bench.tell(SnapshotNews::Written(WrittenSet { point, recordings, places }));
    assert!(
        matches!(&events[..], [SnapshotEvent::GivenUp { error: reason, .. }] if reason.contains("leadership term 3"))
    );
    assert!(matches!(bench.order(), Some(SnapshotOrder::Remove(_))));
}

#[test]
fn the_toggle_asks_once_and_is_answered_with_the_position() {
    let mut bench = by_hand();
    assert!(bench.gauges.toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT));
    assert_eq!(bench.work(), [SnapshotEvent::Mark]);
    assert_eq!(bench.work(), [], "one at a time");
    // A snapshot that the log asked for, before the mark, is not the answer.
    for position in [640, 4096] {
        bench.written(position);
        bench.control.on_marked(LOG_END);
        (0..3).for_each(|_| drop(bench.sync()));
        let is_answered = position >= LOG_END;
        let toggle = if is_answered { TOGGLE_NEUTRAL } else { TOGGLE_SNAPSHOT };
        assert_eq!(bench.gauges.toggle.get(), toggle, "after the set at {position}");
    }
    assert_eq!(bench.gauges.result.get(), 4096);
}

#[test]
fn an_answer_that_is_there_before_the_mark_is_known_is_not_lost() {
    let mut bench = by_hand();
    bench.gauges.toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT);
    assert_eq!(bench.work(), [SnapshotEvent::Mark]);
    let given_up = SnapshotNews::GivenUp {
        log_position: LOG_END,
        recording_ids: Vec::new(),
        reason: Some("service 0: no view".to_owned()),
    };
    assert_eq!(bench.tell(given_up).len(), 1);
    assert_eq!(bench.gauges.toggle.get(), TOGGLE_SNAPSHOT);
    bench.control.on_marked(LOG_END);
    assert_eq!((bench.gauges.toggle.get(), bench.gauges.result.get()), (TOGGLE_NEUTRAL, -1));
}

#[test]
fn a_position_that_has_a_set_needs_no_other() {
    let mut bench = by_hand();
    // No reader has spoken of a member's set.
    bench.fetched(LOG_END);
    bench.work();
    (0..3).for_each(|_| drop(bench.sync()));
    bench.ask();
    assert_eq!(bench.answer().0, TOGGLE_SNAPSHOT);
    bench.not_needed();
    assert_eq!((bench.answer(), bench.gauges.count.get()), ((TOGGLE_NEUTRAL, LOG_END), 0));
}

#[test]
fn a_request_where_the_log_stands_is_answered_with_the_set_that_every_reader_has_spoken_of() {
    let mut bench = by_hand();
    bench.written(LOG_END);
    (0..3).for_each(|_| drop(bench.sync()));
    bench.ask();
    assert_eq!(bench.answer(), (TOGGLE_NEUTRAL, LOG_END), "no reader speaks of it again");
    assert_eq!((bench.control.given_up_at(), bench.control.is_idle()), (None, true));
}

#[test]
fn a_request_where_a_set_was_given_up_asks_every_reader_again() {
    let mut bench = by_hand();
    let given_up = |log_position| SnapshotNews::GivenUp {
        log_position,
        recording_ids: Vec::new(),
        reason: Some("service 0: no view".to_owned()),
    };
    bench.tell(given_up(LOG_END));
    assert_eq!(bench.control.given_up_at(), Some(LOG_END));
    bench.tell(given_up(640));
    assert_eq!(bench.control.given_up_at(), Some(LOG_END), "readers stand at the newest");
    bench.ask();
    assert_eq!(bench.answer().0, TOGGLE_SNAPSHOT, "what failed before is no answer");
    bench.written(LOG_END);
    (0..3).for_each(|_| drop(bench.sync()));
    assert_eq!((bench.answer(), bench.control.given_up_at()), ((TOGGLE_NEUTRAL, LOG_END), None));
}

#[test]
fn the_schedule_asks_by_itself_and_the_toggle_waits_for_its_turn() {
    let mut bench = Bench::new(SnapshotSchedule::new(None, Some(1000)));
    assert_eq!(bench.work(), [SnapshotEvent::Mark]);
    bench.control.on_marked(LOG_END);
    bench.gauges.toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT);
    assert_eq!(bench.work(), []);
    bench.written(LOG_END);
    let events: Vec<_> = (0..3).flat_map(|_| bench.sync()).collect();
    assert!(matches!(events[..], [SnapshotEvent::Published(_), SnapshotEvent::Mark]), "{events:?}");
    assert_eq!(bench.gauges.toggle.get(), TOGGLE_SNAPSHOT);
}

#[test]
fn a_request_that_nobody_knows_is_refused_in_words() {
    let mut bench = by_hand();
    bench.gauges.toggle.set_ordered(9);
    let events = bench.work();
    assert!(
        matches!(&events[..], [SnapshotEvent::GivenUp { error: reason, .. }] if reason.contains(": 9 is no request"))
    );
    assert_eq!(bench.gauges.toggle.get(), TOGGLE_NEUTRAL);
}

#[test]
fn a_set_on_its_way_is_the_answer_to_whoever_asks_for_one_at_its_position() {
    for (is_own, fails) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut bench = by_hand();
        if is_own {
            bench.written(LOG_END);
        } else {
            bench.fetched(LOG_END);
        }
        bench.ask();
        assert!(matches!(bench.order(), Some(SnapshotOrder::Sync(_))), "it is on its way");
        bench.not_needed();
        assert_eq!(bench.answer().0, TOGGLE_SNAPSHOT, "it does not count yet");
        if fails {
            bench.tell(SnapshotNews::SyncFailed { reason: "the disk is gone".to_owned() });
        } else {
            bench.tell(SnapshotNews::Synced);
            (0..2).for_each(|_| drop(bench.sync()));
        }
        assert_eq!(bench.answer(), (TOGGLE_NEUTRAL, if fails { -1 } else { LOG_END }));
        assert_eq!(bench.row_count(), if fails { 0 } else { SERVICE_COUNT + 1 });
    }
}

#[test]
fn of_two_sets_at_one_position_the_first_counts() {
    let mut bench = by_hand();
    bench.tell(SnapshotNews::Begun { log_position: LOG_END });
    let Some(SnapshotOrder::Reserved(places)) = bench.order() else { panic!("no places") };
    bench.fetched(LOG_END);
    bench.ask();
    assert_eq!(bench.report_written(LOG_END, places), []);
    (0..2).for_each(|_| assert_eq!(bench.sync(), []));
    assert!(matches!(bench.sync()[..], [SnapshotEvent::FetchedPublished(_)]));
    assert!(
        matches!(bench.order(), Some(SnapshotOrder::Remove(places)) if places.len() == SERVICE_COUNT + 1)
    );
    assert_eq!((bench.row_count(), bench.answer()), (SERVICE_COUNT + 1, (TOGGLE_NEUTRAL, LOG_END)));

    let mut bench = by_hand();
    bench.written(LOG_END);
    bench.fetched(LOG_END);
    (0..2).for_each(|_| assert_eq!(bench.sync(), []));
    assert!(matches!(bench.sync()[..], [SnapshotEvent::Published(_)]));
    assert_eq!((bench.row_count(), bench.control.is_publishing_fetched()), (SERVICE_COUNT + 1, false));
}
