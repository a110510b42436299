use super::*;
use crate::codec::log::{
    CloseReason, SessionCloseEvent, SessionMessage, SessionOpenEvent, TimerEvent, service_session_id,
};
use crate::codec::snapshot::{
    ClusterSession, ConsensusModule, PendingMessageTracker, ServiceCounters, SnapshotMark, SnapshotMarker,
    SnapshotMessage, Timer,
};
use crate::log::test_frames::Recording;
use crate::log::{
    LogReader, LogStart, MidMessage, PollLimits, SnapshotError, SnapshotExpectation, SnapshotFault,
    SnapshotKind,
};
use proptest::prelude::*;
use std::ops::ControlFlow;

const TERM: i64 = 3;
const CHANNEL: &str = "aeron:udp?rejoin=false|endpoint=localhost:40123";

/// Feeds a state events and emissions, 32 bytes of log each.
struct Feed {
    state: ConsensusModuleState,
    timestamp: i64,
}

impl Feed {
    fn new(service_count: usize) -> Self {
        let mut feed = Self { state: ConsensusModuleState::new(service_count, 1), timestamp: 1000 };
        feed.event(&LogEvent::NewLeadershipTerm(new_term(TERM)));
        feed
    }

    fn event(&mut self, event: &LogEvent<'_>) {
        self.try_event(event).unwrap();
    }

    fn try_event(&mut self, event: &LogEvent<'_>) -> Result<(), ModuleError> {
        self.state.on_event(event, LogPosition(self.state.log_position + 32))
    }

    fn emit(&mut self, service_id: u8, emission: ServiceEmission<'_>) {
        let position = LogPosition(self.state.log_position);
        self.state.on_emission(ServiceId(service_id), position, emission).unwrap();
    }

    fn open(&mut self, id: i64) {
        self.event(&LogEvent::SessionOpen(open(id)));
    }

    fn message(&mut self, cluster_session_id: i64) {
        let timestamp = self.timestamp;
        self.event(&LogEvent::SessionMessage(SessionMessage {
            leadership_term_id: TERM,
            cluster_session_id,
            timestamp,
            payload: b"x",
        }));
    }

    fn timer_event(&mut self, correlation_id: i64, timestamp: i64) {
        self.event(&LogEvent::Timer(TimerEvent { leadership_term_id: TERM, correlation_id, timestamp }));
    }

    fn schedule(&mut self, correlation_id: i64, deadline: i64) {
        self.emit(0, ServiceEmission::ScheduleTimer { correlation_id, deadline });
    }

    fn pending(&self, service: usize) -> Vec<i64> {
        self.state.services()[service].iter().map(|message| message.cluster_session_id & 0xffff).collect()
    }
}

fn new_term(leadership_term_id: i64) -> NewLeadershipTermEvent {
    NewLeadershipTermEvent {
        leadership_term_id,
        log_position: 0,
        timestamp: 1000,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 7,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    }
}

fn open(id: i64) -> SessionOpenEvent<'static> {
    SessionOpenEvent {
        leadership_term_id: TERM,
        correlation_id: id + 100,
        cluster_session_id: id,
        timestamp: 1000,
        response_stream_id: 102,
        response_channel: CHANNEL,
        encoded_principal: b"me",
    }
}

fn close(id: i64) -> LogEvent<'static> {
    LogEvent::SessionClose(SessionCloseEvent {
        leadership_term_id: TERM,
        cluster_session_id: id,
        timestamp: 1000,
        close_reason: CloseReason::Timeout,
    })
}

fn action(action: ClusterAction, leadership_term_id: i64, flags: i32) -> LogEvent<'static> {
    LogEvent::ClusterAction(ClusterActionRequest {
        leadership_term_id,
        log_position: 0,
        timestamp: 1000,
        action,
        flags,
    })
}

fn recording_of(state: &ConsensusModuleState) -> Recording {
    let mut recording = Recording::at(0);
    state.take_snapshot(&mut |message| {
        recording.fragmented(message, 1376);
    });
    recording
}

fn load(recording: &Recording, service_count: usize) -> Result<ConsensusModuleState, SnapshotError> {
    let expectation = SnapshotExpectation {
        kind: SnapshotKind::ConsensusModule,
        app_version: 1,
        time_unit: None,
        log_position: None,
    };
    load_snapshot(&recording.bytes, recording.terms, expectation, service_count)
}

// Sessions

#[test]
fn a_session_is_opened_at_the_end_of_its_event_and_moves_the_next_id() {
    let mut feed = Feed::new(1);
    feed.open(4);
    let session = feed.state.sessions().get(4).unwrap();
    assert_eq!(session.opened_log_position, feed.state.log_position());
    assert_eq!((session.correlation_id, session.state), (104, SessionState::Open));
    assert_eq!((&session.response_channel[..], &session.encoded_principal[..]), (CHANNEL, &b"me"[..]));
    feed.open(2);
    assert_eq!(feed.state.next_session_id(), 5);
    assert_eq!(feed.state.sessions().iter().map(|session| session.id).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn a_message_marks_its_session_active_and_moves_cluster_time() {
    let mut feed = Feed::new(1);
    feed.open(1);
    feed.timestamp = 5000;
    feed.message(1);
    assert_eq!(feed.state.sessions().get(1).unwrap().time_of_last_activity, 5000);
    feed.timestamp = 6000;
    feed.message(77);
    assert_eq!(feed.state.cluster_time(), 6000, "of an unknown session too");
}

#[test]
fn a_close_event_removes_its_session_and_never_gives_its_id_back() {
    let mut feed = Feed::new(1);
    feed.open(1);
    feed.event(&close(1));
    feed.event(&close(9));
    assert_eq!((feed.state.sessions().count(), feed.state.next_session_id()), (0, 2));
}

#[test]
fn a_session_that_a_service_closed_waits_for_its_close_event() {
    let mut feed = Feed::new(1);
    feed.open(1);
    feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(1) });
    feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(9) });
    let session = feed.state.sessions().get(1).unwrap();
    assert_eq!(session.state, SessionState::Closing(CloseReason::ServiceAction));
    assert_eq!(session.time_of_last_activity, 0);
    feed.event(&close(1));
    assert_eq!(feed.state.sessions().count(), 0);
}

#[test]
fn a_session_that_opens_twice_is_refused_and_changes_nothing() {
    let mut feed = Feed::new(1);
    feed.open(1);
    let position = feed.state.log_position() + 32;
    let error = feed.try_event(&LogEvent::SessionOpen(open(1))).unwrap_err();
    assert_eq!(error, ModuleError::SessionOpensTwice { position, cluster_session_id: 1 });
    assert_eq!(feed.state.log_position(), position - 32);
}

// Timers

#[test]
fn a_schedule_of_a_scheduled_timer_moves_its_deadline_whichever_service_made_it() {
    let mut feed = Feed::new(2);
    feed.schedule(7, 5000);
    feed.emit(1, ServiceEmission::ScheduleTimer { correlation_id: 7, deadline: 4000 });
    assert_eq!(feed.state.timers().iter().collect::<Vec<_>>(), [(7, 4000)]);
}

#[test]
fn a_timer_is_gone_once_it_fired_or_was_cancelled() {
    let mut feed = Feed::new(1);
    feed.schedule(7, 5000);
    feed.schedule(8, 5000);
    feed.emit(0, ServiceEmission::CancelTimer { correlation_id: 8 });
    feed.emit(0, ServiceEmission::CancelTimer { correlation_id: 9 });
    feed.timer_event(7, 5000);
    assert_eq!((feed.state.timers().count(), feed.state.timers().outdated_event_count()), (0, 0));
}

#[test]
fn an_event_of_a_cancelled_timer_does_not_swallow_its_next_schedule() {
    let mut feed = Feed::new(1);
    feed.schedule(7, 5000);
    feed.message(1);
    feed.emit(0, ServiceEmission::CancelTimer { correlation_id: 7 });
    feed.timer_event(7, 5000);
    feed.schedule(7, 9000);
    assert_eq!(feed.state.timers().deadline(7), Some(9000));
    assert_eq!(feed.state.timers().outdated_event_count(), 1);
}

#[test]
fn an_event_of_an_earlier_schedule_leaves_the_later_one() {
    let mut feed = Feed::new(1);
    feed.schedule(7, 5000);
    feed.message(1);
    feed.schedule(7, 9000);
    feed.timer_event(7, 5001);
    assert_eq!(feed.state.timers().deadline(7), Some(9000));
    feed.timer_event(7, 9000);
    assert_eq!(feed.state.timers().count(), 0);
}

#[test]
fn a_timer_may_be_scheduled_anew_by_the_handler_of_its_own_event() {
    let mut feed = Feed::new(1);
    feed.schedule(7, 5000);
    feed.timer_event(7, 5000);
    feed.schedule(7, 6000);
    assert_eq!(feed.state.timers().deadline(7), Some(6000));
}

// Messages of services

#[test]
fn offers_are_numbered_by_service_and_swept_by_the_log() {
    let mut feed = Feed::new(2);
    for payload in [&b"a"[..], b"b", b"c"] {
        feed.emit(1, ServiceEmission::Offer(payload));
    }
    let first = feed.state.services()[1].iter().next().unwrap();
    assert_eq!(first, PendingServiceMessage { cluster_session_id: service_session_id(1, 1), payload: b"a" });
    assert_eq!((feed.pending(0), feed.pending(1)), (vec![], vec![1, 2, 3]));
    feed.message(service_session_id(1, 2));
    assert_eq!(feed.pending(1), [3]);
    assert_eq!(feed.state.services()[1].log_service_session_id(), service_session_id(1, 2));
    assert_eq!(feed.state.services()[0].log_service_session_id(), service_session_id(0, 0));
    assert_eq!(feed.state.services()[1].next_service_session_id(), service_session_id(1, 4));
}

#[test]
fn an_offer_that_the_log_already_holds_is_numbered_and_dropped() {
    let mut feed = Feed::new(1);
    feed.message(service_session_id(0, 2));
    assert_eq!(feed.state.services()[0].missed_count(), 2);
    feed.emit(0, ServiceEmission::Offer(b"a"));
    feed.emit(0, ServiceEmission::Offer(b"b"));
    feed.emit(0, ServiceEmission::Offer(b"c"));
    assert_eq!((feed.pending(0), feed.state.services()[0].missed_count()), (vec![3], 0));
}

#[test]
fn a_hundred_thousand_pending_messages_are_swept_one_by_one_in_little_time() {
    let mut feed = Feed::new(1);
    for _ in 0..100_000 {
        feed.emit(0, ServiceEmission::Offer(&[7; 64]));
    }
    assert_eq!(feed.state.services()[0].size(), 100_000 * (8 + 32 + 64));
    for count in 1..=100_000 {
        feed.message(service_session_id(0, count));
    }
    assert!(feed.state.services()[0].is_empty());
}

#[test]
fn an_offer_beyond_the_ring_is_refused_and_not_numbered() {
    let mut feed = Feed::new(1);
    feed.state.services[0] = PendingMessages::bounded(0, 4096);
    for _ in 0..4 {
        feed.emit(0, ServiceEmission::Offer(&[0; 1024 - 40]));
    }
    let position = feed.state.log_position();
    let next = feed.state.services()[0].next_service_session_id();
    let error =
        feed.state.on_emission(ServiceId(0), LogPosition(position), ServiceEmission::Offer(b"")).unwrap_err();
    assert_eq!(error, ModuleError::PendingMessagesFull { position, service_id: 0 });
    assert_eq!(feed.state.services()[0].next_service_session_id(), next);
}

#[test]
fn a_message_of_a_service_that_is_not_configured_is_refused() {
    let mut feed = Feed::new(1);
    let event = LogEvent::SessionMessage(SessionMessage {
        leadership_term_id: TERM,
        cluster_session_id: service_session_id(1, 1),
        timestamp: 0,
        payload: b"",
    });
    let error = feed.try_event(&event).unwrap_err();
    assert_eq!(error, ModuleError::UnknownService { position: 64, service_id: 1, service_count: 1 });
}

// Order

#[test]
#[should_panic(expected = "emission at 32, event at 64")]
fn an_emission_must_come_at_the_position_of_the_last_event() {
    let mut feed = Feed::new(1);
    feed.message(1);
    let _ = feed.state.on_emission(ServiceId(0), LogPosition(32), ServiceEmission::Offer(b""));
}

#[test]
#[should_panic(expected = "service 0 after 1")]
fn emissions_at_one_position_must_come_in_order_of_service() {
    let mut feed = Feed::new(2);
    feed.emit(1, ServiceEmission::Offer(b""));
    feed.emit(0, ServiceEmission::Offer(b""));
}

// Terms and actions

#[test]
fn a_leader_of_another_major_version_or_time_unit_is_refused() {
    let mut feed = Feed::new(1);
    let term = NewLeadershipTermEvent { app_version: 1 << 16, ..new_term(TERM + 1) };
    let error = feed.try_event(&LogEvent::NewLeadershipTerm(term)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "from position 64 on the leader is of application version 1.0.0, incompatible with 0.0.1; configure \
         the version that the members have"
    );
    let term = NewLeadershipTermEvent { time_unit: ClusterTimeUnit::Nanos, ..new_term(TERM + 1) };
    let error = feed.try_event(&LogEvent::NewLeadershipTerm(term)).unwrap_err();
    assert!(matches!(error, ModuleError::TimeUnit { .. }));
    assert_eq!(feed.state.leadership_term_id(), TERM);
    feed.event(&LogEvent::NewLeadershipTerm(NewLeadershipTermEvent { app_version: 9, ..new_term(TERM + 1) }));
    assert_eq!(feed.state.leadership_term_id(), TERM + 1);
}

#[test]
fn actions_of_the_current_term_suspend_and_resume() {
    let mut feed = Feed::new(1);
    feed.event(&action(ClusterAction::Suspend, TERM - 1, 0));
    assert!(!feed.state.is_suspended());
    feed.event(&action(ClusterAction::Suspend, TERM, 0));
    assert!(feed.state.is_suspended());
    feed.event(&action(ClusterAction::Snapshot, TERM, 1));
    assert!(feed.state.is_suspended());
    feed.event(&action(ClusterAction::Resume, TERM, 0));
    assert!(!feed.state.is_suspended());
}

// Snapshots

fn busy_state() -> ConsensusModuleState {
    let mut feed = Feed::new(2);
    feed.open(1);
    feed.open(2);
    feed.emit(0, ServiceEmission::Offer(b"zero"));
    feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(2) });
    feed.schedule(9, 7000);
    feed.schedule(-4, 8000);
    feed.emit(1, ServiceEmission::Offer(&[1; 3000]));
    feed.emit(1, ServiceEmission::Offer(b"one"));
    feed.message(service_session_id(0, 1));
    feed.state
}

#[test]
fn a_snapshot_holds_the_messages_of_a_java_member_in_its_order() {
    let state = busy_state();
    let mut messages = Vec::new();
    state.take_snapshot(&mut |message| messages.push(message.to_vec()));
    let decoded: Vec<_> = messages.iter().map(|message| SnapshotMessage::decode(message).unwrap()).collect();

    let marker = |mark| {
        SnapshotMessage::Marker(SnapshotMarker {
            type_id: 1,
            log_position: 32 * 4,
            leadership_term_id: TERM,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        })
    };
    let session = |id, close_reason| {
        SnapshotMessage::ClusterSession(ClusterSession {
            cluster_session_id: id,
            correlation_id: id + 100,
            opened_log_position: 32 + 32 * id,
            time_of_last_activity: -1,
            close_reason,
            response_stream_id: 102,
            response_channel: CHANNEL,
        })
    };
    let counters = |service_id, next, log, pending_message_capacity| ServiceCounters {
        next_service_session_id: service_session_id(service_id, next),
        log_service_session_id: service_session_id(service_id, log),
        pending_message_capacity,
    };
    let tracker = |service_id: usize, counters| {
        SnapshotMessage::PendingMessageTracker(PendingMessageTracker {
            counters,
            service_id: service_id as i32,
        })
    };
    assert_eq!(decoded[0], marker(SnapshotMark::Begin));
    let module = ConsensusModule { next_session_id: 3, service_0: Some(counters(0, 2, 1, 0)) };
    assert_eq!(decoded[1], SnapshotMessage::ConsensusModule(module));
    assert_eq!(decoded[2], session(1, None));
    assert_eq!(decoded[3], session(2, Some(CloseReason::ServiceAction)));
    assert_eq!(decoded[4], SnapshotMessage::Timer(Timer { correlation_id: -4, deadline: 8000 }));
    assert_eq!(decoded[5], SnapshotMessage::Timer(Timer { correlation_id: 9, deadline: 7000 }));
    assert_eq!(decoded[6], tracker(0, counters(0, 2, 1, 0)));
    assert_eq!(decoded[7], tracker(1, counters(1, 3, 0, 3040 + 48)));
    let mut pending = Vec::new();
    SessionMessage {
        leadership_term_id: TERM,
        cluster_session_id: service_session_id(1, 2),
        timestamp: i64::MAX,
        payload: b"one",
    }
    .encode(&mut pending);
    assert_eq!(messages[9], pending);
    assert_eq!(decoded[10], marker(SnapshotMark::End));
    assert_eq!(decoded.len(), 11);
}

#[test]
fn a_state_loaded_from_its_snapshot_is_the_same() {
    let state = busy_state();
    let recording = recording_of(&state);
    let loaded = load(&recording, 2).unwrap();
    assert_eq!(loaded.diff(&state), Vec::<String>::new());
    assert_eq!(recording_of(&loaded).bytes, recording.bytes);
}

#[test]
fn a_snapshot_states_a_next_id_that_loads_though_the_service_missed_messages() {
    let mut feed = Feed::new(1);
    feed.message(service_session_id(0, 3));
    let loaded = load(&recording_of(&feed.state), 1).unwrap();
    assert_eq!(loaded.services()[0].next_service_session_id(), service_session_id(0, 4));
    assert_eq!(
        feed.state.diff(&loaded),
        ["service 0: messages in the log that it never offered is 3, theirs is 0"]
    );
}

#[test]
fn the_smallest_snapshot_has_the_length_that_java_writes() {
    assert_eq!(recording_of(&Feed::new(1).state).bytes.len(), 352);
    let without_services = Feed::new(0).state;
    let recording = recording_of(&without_services);
    assert_eq!(recording.bytes.len(), 352 - 64);
    assert!(load(&recording, 0).unwrap().diff(&without_services).is_empty());
}

/// A snapshot of one service with these counters and pending ids.
fn service_recording(next: i64, log: i64, capacity: i32, pending: &[i64]) -> Recording {
    let mut recording = Recording::at(0);
    let mut put = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        recording.message(&bytes);
    };
    let marker = SnapshotMarker {
        type_id: 1,
        log_position: 64,
        leadership_term_id: TERM,
        index: 0,
        mark: Some(SnapshotMark::Begin),
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    put(&|out| marker.encode(out));
    let counters = ServiceCounters {
        next_service_session_id: service_session_id(0, next),
        log_service_session_id: service_session_id(0, log),
        pending_message_capacity: capacity,
    };
    put(&|out| PendingMessageTracker { counters, service_id: 0 }.encode(out));
    for &count in pending {
        let cluster_session_id = service_session_id(0, count);
        let message =
            SessionMessage { leadership_term_id: 1, cluster_session_id, timestamp: 640, payload: b"x" };
        put(&|out| message.encode(out));
    }
    put(&|out| SnapshotMarker { mark: Some(SnapshotMark::End), ..marker }.encode(out));
    recording
}

#[test]
fn pending_messages_must_follow_the_log_one_by_one_up_to_the_next_id() {
    let fault = |next, pending: &[i64]| load(&service_recording(next, 4, 0, pending), 1).unwrap_err().fault;
    assert!(load(&service_recording(7, 4, 0, &[5, 6]), 1).is_ok());
    assert!(matches!(fault(7, &[5, 7]), SnapshotFault::PendingMessageOrder { service_id: 0, .. }));
    assert!(matches!(fault(8, &[5, 6]), SnapshotFault::PendingMessageCount { service_id: 0, .. }));
}

#[test]
fn a_pending_message_that_a_leader_had_appended_counts_as_not_appended() {
    let loaded = load(&service_recording(6, 4, 0, &[5]), 1).unwrap();
    let mut last = Vec::new();
    loaded.take_snapshot(&mut |message| {
        if let Ok(SnapshotMessage::PendingMessage(pending)) = SnapshotMessage::decode(message) {
            last = pending.message.to_vec();
        }
    });
    assert_eq!(last[24..32], i64::MAX.to_le_bytes());
}

#[test]
fn a_snapshot_of_more_services_or_of_an_impossible_ring_is_refused() {
    let recording = recording_of(&Feed::new(2).state);
    let fault = load(&recording, 1).unwrap_err().fault;
    assert_eq!(fault, SnapshotFault::UnknownService { service_id: 1, service_count: 1 });
    for capacity in [-1, i32::MIN + 1, (1 << 30) + 1] {
        let fault = load(&service_recording(5, 4, capacity, &[]), 1).unwrap_err().fault;
        assert!(matches!(fault, SnapshotFault::PendingMessageCapacity { .. }), "{fault}");
    }
}

#[test]
fn a_principal_is_taken_from_a_services_snapshot() {
    let mut loaded = load(&recording_of(&busy_state()), 2).unwrap();
    assert!(loaded.sessions().get(1).unwrap().encoded_principal.is_empty());
    assert!(loaded.set_principal(ClusterSessionId(1), b"me"));
    assert!(!loaded.set_principal(ClusterSessionId(9), b"me"));
    assert_eq!(loaded.sessions().get(1).unwrap().encoded_principal, b"me");
}

// Differences

#[test]
fn differences_are_named_and_long_lists_are_counted() {
    let ours = busy_state();
    let mut feed = Feed { state: busy_state(), timestamp: 1000 };
    feed.schedule(9, 7001);
    for id in 100..150 {
        feed.schedule(id, 1);
    }
    feed.emit(1, ServiceEmission::Offer(b"more"));
    feed.event(&close(1));
    let theirs = feed.state;
    let lines = ours.diff(&theirs);
    assert!(lines.contains(&"log_position is 128, theirs is 160".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"session 1 is missing from theirs".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"timer 9: deadline is 7000, theirs is 7001".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"timer 100 is missing from ours".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"31 more differences in timers".to_owned()), "{lines:#?}");
    let pending = format!("service 1: pending message {} is missing from ours", service_session_id(1, 3));
    assert!(lines.contains(&pending), "{lines:#?}");
}

#[test]
fn a_session_that_only_the_leader_knows_to_be_closing_is_no_difference() {
    let ours = busy_state();
    let closing = |reason| {
        let mut state = busy_state();
        state.sessions.get_mut(1).unwrap().state = SessionState::Closing(reason);
        state
    };
    assert!(ours.diff(&closing(CloseReason::Timeout)).is_empty());
    assert!(ours.diff(&closing(CloseReason::ClientAction)).is_empty());
    assert_eq!(ours.diff(&closing(CloseReason::ServiceAction)).len(), 1);
    assert_eq!(closing(CloseReason::Timeout).diff(&ours).len(), 1);
}

// A log that a real member wrote

/// The log of a live run against Java 1.51.0: one member, one service, which on the client's first message
/// offered one message and scheduled three timers, one of which fired.
#[test]
fn a_live_log_leads_to_the_members_own_snapshot() {
    let mut log = Recording::at(0);
    let mut put = |end: i64, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        assert_eq!(log.message(&bytes), end);
    };
    put(96, &|out| NewLeadershipTermEvent { log_position: 96, ..new_term(0) }.encode(out));
    put(256, &|out| SessionOpenEvent { leadership_term_id: 0, ..open(1) }.encode(out));
    let message = |cluster_session_id| SessionMessage {
        leadership_term_id: 0,
        cluster_session_id,
        timestamp: 1001,
        payload: &[1; 16],
    };
    put(352, &|out| message(1).encode(out));
    put(448, &|out| message(1).encode(out));
    put(544, &|out| message(service_session_id(0, 1)).encode(out));
    let timer = TimerEvent { leadership_term_id: 0, correlation_id: 5, timestamp: 1100 };
    put(608, &|out| timer.encode(out));
    for (end, flags) in [(704, 1), (800, 0)] {
        let request = ClusterActionRequest {
            leadership_term_id: 0,
            log_position: end,
            timestamp: 1200,
            action: ClusterAction::Snapshot,
            flags,
        };
        put(end, &|out| request.encode(out));
    }

    let mut reader = LogReader::new(LogStart {
        terms: log.terms,
        position: 0,
        leadership_term_id: None,
        mid_message: MidMessage::Reject,
    });
    let mut state = ConsensusModuleState::new(1, 1);
    let poll = reader.poll(&log.bytes, PollLimits::NONE, |event, position| {
        let position = LogPosition(position);
        state.on_event(event, position).unwrap();
        if position.0 == 352 {
            let emissions = [
                ServiceEmission::Offer(&[1; 16]),
                ServiceEmission::ScheduleTimer { correlation_id: 5, deadline: 1100 },
                ServiceEmission::ScheduleTimer { correlation_id: 6, deadline: 900_000 },
                ServiceEmission::ScheduleTimer { correlation_id: 7, deadline: 900_000 },
            ];
            for emission in emissions {
                state.on_emission(ServiceId(0), position, emission).unwrap();
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!((poll, reader.applied_position()), (Ok(800), 800));
    assert_eq!((state.log_position(), state.cluster_time()), (800, 1200));

    let mut snapshot = Recording::at(0);
    let mut begins = Vec::new();
    state.take_snapshot(&mut |message| {
        begins.push((snapshot.position(), u16::from_le_bytes([message[2], message[3]])));
        snapshot.message(message);
    });
    let expected = [(0, 100), (96, 105), (192, 103), (352, 104), (416, 104), (480, 107), (544, 100)];
    assert_eq!((begins, snapshot.position()), (expected.to_vec(), 640));
    let module = "1c0069006f00100002000000000000000200000000000080010000000000008000000000";
    assert_eq!(hex::encode(&snapshot.bytes[96 + 32..][..36]), module);
    assert_eq!(snapshot.bytes[192 + 32 + 24..][..8], 256i64.to_le_bytes());
    assert_eq!(snapshot.bytes[192 + 32 + 32..][..12], hex::decode("ffffffffffffffff00000080").unwrap()[..]);
}

// Any state

#[derive(Clone, Debug)]
enum Input {
    Open,
    Close(i64),
    Message(i64),
    ServiceLogged(usize),
    Timer(i64, i64),
    Schedule(i64, i64),
    Cancel(i64),
    Offer(usize, Vec<u8>),
    CloseByService(i64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Open),
        (0..8i64).prop_map(Input::Close),
        (0..8i64).prop_map(Input::Message),
        (0..3usize).prop_map(Input::ServiceLogged),
        (0..6i64, 0..100i64).prop_map(|(id, timestamp)| Input::Timer(id, timestamp)),
        (0..6i64, 0..100i64).prop_map(|(id, deadline)| Input::Schedule(id, deadline)),
        (0..6i64).prop_map(Input::Cancel),
        (0..3usize, proptest::collection::vec(any::<u8>(), 0..2000)).prop_map(|(id, p)| Input::Offer(id, p)),
        (0..8i64).prop_map(Input::CloseByService),
    ]
}

fn apply(feed: &mut Feed, input: &Input) {
    match input {
        Input::Open => feed.open(feed.state.next_session_id()),
        Input::Close(id) => feed.event(&close(*id)),
        Input::Message(id) => feed.message(*id),
        // Only what was offered can be logged: the members' service is the same as ours.
        Input::ServiceLogged(service) => {
            let tracker = &feed.state.services()[*service];
            let id = tracker.log_service_session_id() + 1;
            if id < tracker.next_service_session_id() {
                feed.message(id);
            }
        }
        Input::Timer(id, timestamp) => feed.timer_event(*id, *timestamp),
        Input::Schedule(id, deadline) => {
            feed.message(0);
            feed.schedule(*id, *deadline);
        }
        Input::Cancel(correlation_id) => {
            feed.message(0);
            feed.emit(0, ServiceEmission::CancelTimer { correlation_id: *correlation_id });
        }
        Input::Offer(service, payload) => {
            feed.message(0);
            feed.emit(*service as u8, ServiceEmission::Offer(payload));
        }
        Input::CloseByService(id) => {
            feed.message(0);
            feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(*id) });
        }
    }
}

proptest! {
    #[test]
    fn a_snapshot_taken_anywhere_and_the_tail_lead_to_the_same_state_as_the_whole_log(
        inputs in proptest::collection::vec(input(), 1..80),
        cut in 0usize..80,
    ) {
        let cut = cut.min(inputs.len());
        let mut whole = Feed::new(3);
        for input in &inputs[..cut] {
            apply(&mut whole, input);
        }
        let loaded = load(&recording_of(&whole.state), 3).unwrap();
        prop_assert_eq!(whole.state.diff(&loaded), Vec::<String>::new());
        let mut resumed = Feed { state: loaded, timestamp: whole.timestamp };
        for input in &inputs[cut..] {
            apply(&mut whole, input);
            apply(&mut resumed, input);
        }
        prop_assert_eq!(whole.state.diff(&resumed.state), Vec::<String>::new());
        prop_assert_eq!(resumed.state.diff(&whole.state), Vec::<String>::new());
    }

    #[test]
    fn a_snapshot_with_flipped_bytes_never_panics(
        flips in proptest::collection::vec((0usize..100_000, any::<u8>()), 1..6),
    ) {
        let mut recording = recording_of(&busy_state());
        for (at, value) in flips {
            let at = at % recording.bytes.len();
            recording.bytes[at] ^= value;
        }
        if let Ok(state) = load(&recording, 2) {
            let _ = recording_of(&state);
            let _ = state.diff(&busy_state());
        }
    }
}
