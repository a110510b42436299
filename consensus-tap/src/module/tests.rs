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
use std::ops::ControlFlow;

mod any_state;
mod live_log;
mod snapshots;

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
        app_version: Some(1),
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
