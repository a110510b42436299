//! A leader between clients and a log, all real but for the network and the clock.

mod bounds;
mod duties;
mod rig;

use self::rig::{Heard, Rig, Setup};
use super::*;
use crate::authentication::SharedSecrets;
use crate::codec::log::LogEvent;
use crate::codec::session::{AdminResponseCode, EventCode};
use crate::module::ServiceEmission;
use service_api::{LogPosition, ServiceId};

#[test]
fn a_client_connects_sends_and_closes() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    assert_eq!(session, 1);
    let opened = rig.clients[client].event(EventCode::Ok).unwrap();
    assert_eq!((opened.leadership_term_id, opened.leader_member_id), (7, 3));
    assert_eq!(opened.leader_heartbeat_timeout_ns, 10_000_000_000);

    rig.clients[client].send_message(session, b"hello");
    rig.run_ms(20);
    rig.clients[client].close_session(session);
    rig.run_ms(20);
    assert_eq!(
        rig.events(),
        ["term 7", "open 1", "message 1 hello", "close 1 ClientAction"],
        "{:?}",
        rig.leader.counters()
    );
    assert_eq!(rig.leader.session_counts(), (0, 0));
    assert!(rig.clients[client].event(EventCode::Closed).is_none(), "who closes is not told");
}

#[test]
fn replies_come_behind_the_event_that_opens_the_session_and_in_order() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.connect(client);
    for i in 0..50 {
        rig.leader.offer_egress(1, i, format!("reply {i}").as_bytes()).unwrap();
    }
    rig.run_ms(20);
    let replies: Vec<String> = (0..50).map(|i| format!("reply {i}")).collect();
    assert_eq!(rig.clients[client].replies(), replies);
    assert!(matches!(rig.clients[client].heard[0], Heard::Event(_)));
    let Heard::Reply { leadership_term_id, cluster_session_id, timestamp, .. } = rig.clients[client].heard[6]
    else {
        panic!("a reply")
    };
    assert_eq!((leadership_term_id, cluster_session_id, timestamp), (7, 1, 5));
}

#[test]
fn a_silent_client_is_closed_and_told() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.run_ms(9_000);
    rig.clients[client].keep_alive(session);
    rig.run_ms(9_000);
    assert_eq!(rig.events(), ["term 7", "open 1"]);
    rig.run_ms(1_100);
    assert_eq!(rig.events(), ["term 7", "open 1", "close 1 Timeout"]);
    let closed = rig.clients[client].event(EventCode::Closed).expect("it hears why");
    assert_eq!((closed.cluster_session_id, closed.detail.as_str()), (1, "TIMEOUT"));
    assert_eq!(rig.leader.counters().clients_timed_out, 1);
}

/// The state of a log whose session 5 is open to the first client that is added.
fn state_with_a_session() -> ConsensusModuleState {
    use crate::codec::log::{ClusterTimeUnit, NewLeadershipTermEvent, SessionOpenEvent};
    let mut state = ConsensusModuleState::new(1, 1);
    let term = NewLeadershipTermEvent {
        leadership_term_id: 2,
        log_position: 96,
        timestamp: 5_000,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 1,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    state.on_event(&LogEvent::NewLeadershipTerm(term), LogPosition(96)).unwrap();
    let open = SessionOpenEvent {
        leadership_term_id: 2,
        correlation_id: 44,
        cluster_session_id: 5,
        timestamp: 5_000,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=10.0.1.0:20000",
        encoded_principal: b"me",
    };
    state.on_event(&LogEvent::SessionOpen(open), LogPosition(256)).unwrap();
    state
}

fn emit(state: &mut ConsensusModuleState, emission: ServiceEmission<'_>) {
    let position = LogPosition(state.log_position());
    state.on_emission(ServiceId(0), position, emission).unwrap();
}

#[test]
fn a_new_leader_takes_sessions_over_and_goes_on_with_ids_timers_and_messages() {
    let mut state = state_with_a_session();
    emit(&mut state, ServiceEmission::ScheduleTimer { correlation_id: 8, deadline: 10 });
    emit(&mut state, ServiceEmission::ScheduleTimer { correlation_id: 9, deadline: i64::MAX });
    emit(&mut state, ServiceEmission::Offer(b"one"));
    emit(&mut state, ServiceEmission::Offer(b"two"));
    let mut rig = Rig::with(Setup { state, log_position: 256, ..Setup::default() });
    let client = rig.add_client();
    rig.applies = false;
    rig.run_ms(50);
    rig.applies = true;
    rig.run_ms(50);
    assert_eq!(rig.events(), ["term 7", "timer 8", "service message 1 one", "service message 2 two"]);
    assert_eq!(
        rig.clients[client].heard,
        [Heard::NewLeader {
            leadership_term_id: 7,
            cluster_session_id: 5,
            member_id: 3,
            endpoints: "3=10.0.0.1:9000".to_owned()
        }]
    );
    rig.run_ms(300);
    rig.clients[client].send_message(5, b"on we go");
    let other = rig.add_client();
    assert_eq!(rig.connect(other), 6);
    assert_eq!(rig.events()[4..], ["message 5 on we go", "open 6"]);
    assert_eq!(rig.state.cluster_time(), 5_000, "time does not go back");
}

#[test]
fn a_cluster_that_starts_closes_what_was_open() {
    let setup =
        Setup { state: state_with_a_session(), log_position: 256, is_startup: true, ..Setup::default() };
    let mut rig = Rig::with(setup);
    rig.add_client();
    rig.run_ms(100);
    assert_eq!(rig.events(), ["term 7", "close 5 Timeout"]);
    assert!(rig.clients[0].heard.is_empty());
}

#[test]
fn a_session_that_a_service_closed_gets_its_close_event_once() {
    let mut rig = Rig::with(Setup { state: state_with_a_session(), log_position: 256, ..Setup::default() });
    let client = rig.add_client();
    rig.run_ms(50);
    emit(
        &mut rig.state,
        ServiceEmission::CloseSession { cluster_session_id: service_api::ClusterSessionId(5) },
    );
    rig.leader.offer_egress(5, 0, b"bye").unwrap();
    rig.applies = false;
    rig.run_ms(50);
    rig.applies = true;
    rig.run_ms(50);
    assert_eq!(rig.events(), ["term 7", "close 5 ServiceAction"]);
    assert_eq!(rig.clients[client].replies(), ["bye"]);
    assert_eq!(rig.clients[client].event(EventCode::Closed).unwrap().detail, "SERVICE_ACTION");
}

#[test]
fn what_a_service_said_before_the_close_comes_before_the_word_of_it() {
    let mut rig = Rig::with(Setup { state: state_with_a_session(), log_position: 256, ..Setup::default() });
    let client = rig.add_client();
    rig.run_ms(50);
    let session = service_api::ClusterSessionId(5);
    emit(&mut rig.state, ServiceEmission::CloseSession { cluster_session_id: session });
    rig.replies = false;
    rig.run_ms(50);
    assert_eq!(rig.events()[1], "close 5 ServiceAction", "it is applied");
    for _ in 0..100 {
        rig.leader.offer_egress(5, 0, b"a row").unwrap();
        rig.run_ms(10);
        assert!(rig.leader.awaits_replies());
    }
    rig.leader.offer_egress(5, 0, b"bye").unwrap();
    rig.replies = true;
    rig.run_ms(50);
    assert!(!rig.leader.awaits_replies());
    assert_eq!(rig.clients[client].replies().len(), 101);
    assert_eq!(rig.leader.offer_egress(5, 0, b"too late"), Err(OfferError::Closed));
    let last: Vec<_> = rig.clients[client].heard.iter().rev().take(2).collect();
    assert!(matches!(last[1], Heard::Reply { payload, .. } if payload == b"bye"));
    assert!(matches!(last[0], Heard::Event(event) if event.code == EventCode::Closed));
    let closed = rig.actions.iter().filter(|action| matches!(action, LeaderAction::SessionClosed { .. }));
    assert_eq!(closed.count(), 1);
}

#[test]
fn a_client_whose_service_is_stuck_hears_of_the_close_all_the_same() {
    let mut rig = Rig::with(Setup { state: state_with_a_session(), log_position: 256, ..Setup::default() });
    let client = rig.add_client();
    rig.run_ms(50);
    let session = service_api::ClusterSessionId(5);
    emit(&mut rig.state, ServiceEmission::CloseSession { cluster_session_id: session });
    rig.replies = false;
    rig.run_ms(4_900);
    assert!(rig.clients[client].event(EventCode::Closed).is_none());
    rig.run_ms(200);
    assert!(rig.clients[client].event(EventCode::Closed).is_some());
    assert_eq!(rig.leader.offer_egress(5, 0, b"too late"), Err(OfferError::Closed));
}

#[test]
fn a_suspended_leader_takes_nothing_and_loses_nothing() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    assert!(rig.leader.on_control(ControlAction::Suspend));
    assert!(!rig.leader.on_control(ControlAction::Snapshot), "one thing after the other");
    rig.run_ms(5);
    assert!(rig.leader.is_suspended());
    let payload = vec![b'x'; 1000];
    let mut sent_count = 0;
    while rig.clients[client].try_send_message(session, &payload).is_ok() {
        sent_count += 1;
        rig.run_ms(1);
    }
    assert!(sent_count > 500, "half a term and a window: {sent_count}");
    rig.run_ms(12_000);
    assert_eq!(rig.events(), ["term 7", "open 1", "Suspend 0"]);
    assert!(rig.leader.on_control(ControlAction::Resume));
    rig.run_ms(100);
    let count = rig.events().iter().filter(|event| event.starts_with("message")).count();
    assert_eq!(count, sent_count);
    assert_eq!(rig.events()[3], "Resume 0");
    assert_eq!(rig.leader.session_counts().0, 1, "its silence was not the client's fault");
}

#[test]
fn a_client_that_is_cut_off_while_the_cluster_is_suspended_keeps_its_session() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    assert!(rig.leader.on_control(ControlAction::Suspend));
    rig.run_ms(5);
    rig.clients[client].send_message(session, b"before");
    // It is held until the image is gone, and must not make the session the image's again.
    rig.clients[client].keep_alive(session);
    rig.run_ms(5);
    rig.clients[client].is_silent = true;
    rig.run_ms(15_000);
    rig.clients[client].is_silent = false;
    rig.run_ms(1_000);
    assert!(rig.leader.on_control(ControlAction::Resume));
    rig.run_ms(100);
    assert_eq!(rig.events()[2..], ["Suspend 0", "Resume 0", "message 1 before"]);
    assert_eq!(rig.leader.session_counts().0, 1);

    // It is known by its new image now.
    rig.clients[client].keep_alive(session);
    rig.run_ms(10);
    let now_ns = rig.now_ns;
    rig.clients[client].leave(now_ns);
    rig.run_ms(300);
    assert_eq!(rig.events()[5..], ["close 1 Timeout"]);
}

#[test]
fn while_the_log_is_full_clients_wait_and_messages_in_fragments_come_whole() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    for i in 0..20_u8 {
        rig.log.is_full = i % 3 != 0;
        rig.clients[client].send_message(session, &vec![b'a' + i; 5_000]);
        rig.run_ms(2);
    }
    rig.log.is_full = false;
    rig.run_ms(100);
    let heads: Vec<_> = rig.events()[2..].iter().map(|event| event.as_bytes()[10]).collect();
    assert_eq!(heads, (b'a'..b'a' + 20).collect::<Vec<_>>());
    assert!(rig.leader.counters().log_full > 0);
}

#[test]
fn an_admin_request_is_denied_by_default() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.clients[client].request_snapshot(session, 55);
    rig.run_ms(20);
    assert!(rig.clients[client].heard.contains(&Heard::Admin {
        correlation_id: 55,
        code: AdminResponseCode::UnauthorisedAccess,
        message: "Execution of the SNAPSHOT request was not authorised".to_owned(),
    }));
    assert_eq!(rig.events(), ["term 7", "open 1"]);
}

#[test]
fn who_is_challenged_gets_a_session_for_the_right_answer_only() {
    let secrets = SharedSecrets { credentials: None, challenge_answer: Some(b"answer".to_vec()) };
    for (answer, code) in [(&b"answer"[..], EventCode::Ok), (b"guess", EventCode::AuthenticationRejected)] {
        let mut rig = Rig::with(Setup { authenticator: Box::new(secrets.clone()), ..Setup::default() });
        let client = rig.add_client();
        rig.run_ms(300);
        rig.clients[client].request_session(41, b"me");
        rig.run_ms(300);
        let Some(Heard::Challenge { correlation_id: 41, cluster_session_id, .. }) =
            rig.clients[client].heard.first().cloned()
        else {
            panic!("a challenge: {:?}", rig.clients[client].heard)
        };
        rig.clients[client].answer_challenge(cluster_session_id, 42, answer);
        rig.run_ms(50);
        let event = rig.clients[client].event(code).expect("an outcome");
        assert_eq!((event.correlation_id, event.cluster_session_id), (42, cluster_session_id));
        assert_eq!(rig.events().len(), if code == EventCode::Ok { 2 } else { 1 });
    }
}

#[test]
fn a_client_whose_ingress_ends_without_a_close_is_timed_out_at_once() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.clients[client].send_message(session, b"last words");
    let now_ns = rig.now_ns;
    rig.clients[client].leave(now_ns);
    rig.run_ms(300);
    assert_eq!(rig.events(), ["term 7", "open 1", "message 1 last words", "close 1 Timeout"]);
}

#[test]
fn replies_to_a_client_that_stopped_listening_are_refused() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    assert_eq!(rig.leader.egress_state(session), Some(EgressState::Connected));
    let now_ns = rig.now_ns;
    rig.clients[client].stop_listening(now_ns);
    rig.run_ms(20);
    assert_eq!(rig.leader.egress_state(session), Some(EgressState::NotConnected));
    assert_eq!(rig.leader.offer_egress(session, 0, b"reply"), Err(OfferError::NotConnected));
    let told = LeaderAction::EgressChanged { cluster_session_id: session, state: EgressState::NotConnected };
    assert!(rig.actions.contains(&told));
}
