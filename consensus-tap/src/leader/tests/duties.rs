//! What a leader appends by itself, and what operators ask of it.

use super::rig::{Heard, Rig, Setup, TERMS};
use super::*;
use crate::authorisation::AllowAll;
use crate::wire::DataFrame;

#[test]
fn the_first_event_of_a_term_names_its_base_and_its_own_end() {
    let mut rig = Rig::new();
    rig.run_ms(2);
    // 32 bytes of frame header, then what Java's encoder writes.
    let frame = DataFrame::parse(&rig.log.bytes).unwrap();
    assert_eq!((frame.session_id(), frame.stream_id(), frame.term_id()), (77, 105, TERMS.initial_term_id));
    assert_eq!(
        hex(frame.payload()),
        "300018006f00100007000000000000006000000000000000e903000000000000000000000000000003\
         0000004d0000000000000001000000"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_first_event_that_does_not_fit_into_its_term_begins_the_next_behind_padding() {
    let setup = Setup { log_position: 65_536 - 64, ..Setup::default() };
    let mut rig = Rig::with(setup);
    rig.run_ms(5);
    assert_eq!(rig.events(), ["term 7"]);
    assert_eq!(rig.log.position(), 65_536 + 96);
    let padding = DataFrame::parse(&rig.log.bytes).unwrap();
    assert!(padding.is_padding() && padding.aligned_length() == 64);
}

#[test]
fn nothing_is_served_before_the_term_is_committed_and_no_session_opens_before_its_event_is() {
    let mut rig = Rig::new();
    rig.commits = false;
    let client = rig.add_client();
    rig.run_ms(500);
    assert!(rig.clients[client].offer(b"x").is_err(), "nobody listens yet");
    assert!(!rig.actions.contains(&LeaderAction::Serving));
    rig.commits = true;
    rig.run_ms(300);
    assert!(rig.actions.contains(&LeaderAction::Serving));
    rig.commits = false;
    rig.clients[client].request_session(1, b"");
    rig.run_ms(500);
    assert!(rig.log.bytes.len() > 96, "its open event is in the log");
    assert!(rig.clients[client].heard.is_empty());
    rig.commits = true;
    rig.run_ms(5);
    assert!(rig.clients[client].event(EventCode::Ok).is_some());
}

#[test]
fn timers_fire_the_earliest_first_and_at_most_so_many_in_a_cycle() {
    let mut rig = Rig::new();
    rig.run_ms(5);
    for correlation_id in 0..50 {
        emit(
            &mut rig.state,
            ServiceEmission::ScheduleTimer { correlation_id, deadline: 100 - correlation_id },
        );
    }
    rig.applies = false;
    rig.step();
    assert_eq!(rig.leader.counters().timers_fired, 20);
    rig.run_ms(10);
    assert_eq!(rig.leader.counters().timers_fired, 50);
    rig.applies = true;
    rig.run_ms(1);
    let expected: Vec<String> = (0..50).rev().map(|id| format!("timer {id}")).collect();
    assert_eq!(rig.events()[1..], expected);
    rig.run_ms(10);
    assert_eq!(rig.leader.counters().timers_fired, 50);
}

#[test]
fn a_timer_that_is_moved_while_its_event_is_on_the_way_fires_again_when_it_is_due() {
    let mut rig = Rig::new();
    rig.run_ms(5);
    let deadline = rig.cluster_time();
    emit(&mut rig.state, ServiceEmission::ScheduleTimer { correlation_id: 1, deadline });
    rig.applies = false;
    rig.run_ms(5);
    emit(&mut rig.state, ServiceEmission::ScheduleTimer { correlation_id: 1, deadline: deadline + 100 });
    rig.applies = true;
    rig.run_ms(50);
    assert_eq!(rig.events()[1..], ["timer 1"]);
    rig.run_ms(100);
    assert_eq!(rig.events()[1..], ["timer 1", "timer 1"]);
    assert_eq!(rig.state.timers().count(), 0);
}

#[test]
fn timers_come_before_messages_of_services_and_those_before_ingress() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.log.is_full = true;
    rig.clients[client].send_message(session, b"from a client");
    rig.run_ms(3);
    emit(&mut rig.state, ServiceEmission::Offer(b"from a service"));
    emit(&mut rig.state, ServiceEmission::ScheduleTimer { correlation_id: 4, deadline: 0 });
    rig.run_ms(3);
    assert!(rig.leader.is_ingress_held());
    rig.log.is_full = false;
    rig.run_ms(3);
    assert_eq!(rig.events()[2..], ["timer 4", "service message 1 from a service", "message 1 from a client"]);
}

#[test]
fn a_service_message_that_no_log_takes_is_reported_once_and_holds_up_no_other_service() {
    let mut rig = Rig::with(Setup { state: ConsensusModuleState::new(2, 1), ..Setup::default() });
    rig.run_ms(5);
    emit(&mut rig.state, ServiceEmission::Offer(b"before"));
    emit(&mut rig.state, ServiceEmission::Offer(&[1; 10_000]));
    emit(&mut rig.state, ServiceEmission::Offer(b"behind"));
    let position = LogPosition(rig.state.log_position());
    for i in 0..30 {
        let offered = format!("other {i}");
        let emission = ServiceEmission::Offer(offered.as_bytes());
        rig.state.on_emission(ServiceId(1), position, emission).unwrap();
    }
    rig.run_ms(50);
    assert_eq!(rig.events()[..2], ["term 7", "service message 1 before"]);
    let others: Vec<String> = (0..30).map(|i| format!("service message {} other {i}", i + 1)).collect();
    assert_eq!(rig.events()[2..], others);
    let reports: Vec<_> =
        rig.actions.iter().filter(|action| matches!(action, LeaderAction::Report(_))).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
}

#[test]
fn an_authorised_client_gets_its_snapshot_and_not_two_at_once() {
    let mut rig = Rig::with(Setup { authorisation: Box::new(AllowAll), ..Setup::default() });
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.clients[client].request_snapshot(session, 55);
    rig.clients[client].request_snapshot(session, 56);
    rig.run_ms(20);
    let answers = rig.clients[client].heard.iter().filter_map(|heard| match heard {
        Heard::Admin { correlation_id, code, message } => Some((*correlation_id, *code, message.as_str())),
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let failed = "Failed to switch ClusterControl to the ToggleState.SNAPSHOT state";
    assert_eq!(answers, [(55, AdminResponseCode::Ok, ""), (56, AdminResponseCode::Error, failed)]);
    assert_eq!(rig.events()[2..], ["Snapshot 0"]);
    let log_position = rig.log.position();
    let done = LeaderAction::ControlDone { action: ControlAction::Snapshot, log_position };
    assert!(rig.actions.contains(&done));
}

#[test]
fn a_shutdown_takes_a_snapshot_and_ends_when_everything_is_applied() {
    for (action, last) in [(ControlAction::Shutdown, "Snapshot 0"), (ControlAction::Abort, "message 1 last")]
    {
        let mut rig = Rig::new();
        let client = rig.add_client();
        let session = rig.connect(client);
        rig.clients[client].send_message(session, b"last");
        rig.run_ms(5);
        rig.applies = false;
        assert!(rig.leader.on_control(action));
        rig.run_ms(5);
        rig.clients[client].send_message(session, b"too late");
        let is_terminated = |rig: &Rig| {
            let log_position = rig.log.position();
            rig.actions.contains(&LeaderAction::Terminated { log_position })
        };
        rig.run_ms(20);
        assert!(action == ControlAction::Abort || !is_terminated(&rig), "not applied yet");
        rig.applies = true;
        rig.run_ms(5);
        assert!(is_terminated(&rig));
        assert_eq!(rig.events().last().unwrap(), last);
        assert!(!rig.leader.on_control(ControlAction::Snapshot));

        let now_ns = rig.now_ns;
        rig.leader.close(now_ns);
        rig.run_ms(20_000);
        assert_eq!(rig.leader.stream_count(), 0);
    }
}

#[test]
fn an_abort_ends_though_the_log_is_full_right_behind_padding() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    while rig.log.position() + 8_000 < 65_536 {
        rig.clients[client].send_message(session, &[b'x'; 1_000]);
        rig.run_ms(2);
    }
    rig.log.is_full = true;
    rig.log.takes_padding = true;
    rig.clients[client].send_message(session, &[b'y'; 8_000]);
    rig.run_ms(20);
    assert_eq!(rig.log.position(), 65_536, "padding to the term's end");
    assert!(rig.leader.on_control(ControlAction::Abort));
    rig.run_ms(20);
    assert!(rig.actions.contains(&LeaderAction::Terminated { log_position: 65_536 }));
}

#[test]
fn a_suspended_cluster_stays_suspended_under_a_new_leader_and_clients_hear_of_it() {
    let mut state = state_with_a_session();
    let suspend = crate::codec::log::ClusterActionRequest {
        leadership_term_id: 2,
        log_position: 352,
        timestamp: 5_000,
        action: crate::codec::log::ClusterAction::Suspend,
        flags: 0,
    };
    state.on_event(&LogEvent::ClusterAction(suspend), LogPosition(352)).unwrap();
    let mut rig = Rig::with(Setup { state, log_position: 352, ..Setup::default() });
    let client = rig.add_client();
    rig.run_ms(300);
    assert!(rig.leader.is_suspended());
    assert!(matches!(rig.clients[client].heard[0], Heard::NewLeader { .. }));
    rig.clients[client].send_message(5, b"patient");
    rig.run_ms(20_000);
    assert_eq!(rig.events(), ["term 7"]);
    assert!(rig.leader.on_control(ControlAction::Resume));
    rig.run_ms(10);
    assert_eq!(rig.events()[1..], ["Resume 0", "message 5 patient"]);
}

#[test]
fn a_close_event_that_the_log_does_not_take_comes_later() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.connect(client);
    rig.log.is_full = true;
    rig.run_ms(12_000);
    assert_eq!(rig.events().len(), 2);
    rig.log.is_full = false;
    rig.run_ms(5);
    assert_eq!(rig.events()[2..], ["close 1 Timeout"]);
    assert_eq!(rig.clients[client].event(EventCode::Closed).unwrap().detail, "TIMEOUT");
}
