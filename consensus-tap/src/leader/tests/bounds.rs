//! What one client does, and what it costs the others.

use super::rig::{Heard, Rig, SECOND_NS, Setup};
use super::*;
use crate::codec::message::SemanticVersion;

#[test]
fn beyond_the_limit_a_client_is_told_so_and_gets_its_turn_when_another_leaves() {
    let config = LeaderConfig { session_count_max: 2, ..Setup::default().config };
    let mut rig = Rig::with(Setup { config, ..Setup::default() });
    let clients: Vec<usize> = (0..3).map(|_| rig.add_client()).collect();
    let first = rig.connect(clients[0]);
    rig.connect(clients[1]);
    rig.clients[clients[2]].request_session(7, b"");
    rig.run_ms(300);
    let refused = rig.clients[clients[2]].event(EventCode::Error).expect("a word");
    assert_eq!((refused.correlation_id, refused.detail.as_str()), (7, "concurrent session limit"));
    assert_eq!(rig.leader.counters().clients_rejected, 1);

    rig.clients[clients[0]].close_session(first);
    rig.run_ms(10);
    rig.connect(clients[2]);
    assert_eq!(rig.leader.session_counts(), (2, 0));
}

#[test]
fn a_client_of_another_protocol_is_told_so() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.run_ms(300);
    let channel = rig.clients[client].channel();
    rig.clients[client].request_session_to(7, b"", &channel, SemanticVersion::new(1, 2, 3));
    rig.run_ms(300);
    let refused = rig.clients[client].event(EventCode::Error).expect("a word");
    assert_eq!(refused.detail, "invalid client version 1.2.3, cluster is 0.3.0");
    assert_eq!(rig.events(), ["term 7"]);
}

#[test]
fn a_client_that_cannot_be_answered_is_reported_and_costs_nothing() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.run_ms(300);
    let long = format!("aeron:udp?endpoint=10.0.1.0:20000|alias={}", "x".repeat(5_000));
    for (index, channel) in
        ["", "aeron:ipc", "aeron:udp?endpoint=nowhere:1", long.as_str()].into_iter().enumerate()
    {
        rig.clients[client].request_session_to(index as i64, b"", channel, SemanticVersion::new(0, 3, 0));
        rig.run_ms(20);
    }
    assert_eq!(rig.leader.session_counts(), (0, 0));
    assert_eq!(rig.leader.counters().clients_rejected, 4);
    let reports = rig.actions.iter().filter(|action| matches!(action, LeaderAction::Report(_)));
    assert_eq!(reports.count(), 4);
}

#[test]
fn a_request_that_comes_twice_opens_one_session() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.run_ms(300);
    for _ in 0..3 {
        rig.clients[client].request_session(9, b"");
    }
    rig.run_ms(300);
    rig.clients[client].request_session(9, b"");
    rig.run_ms(300);
    assert_eq!(rig.events(), ["term 7", "open 1"]);
    assert_eq!(rig.leader.counters().connects_repeated, 3);
}

#[test]
fn a_host_that_a_client_names_is_told_from_one_that_the_log_names() {
    let mut rig = Rig::with(Setup { state: state_with_a_session(), log_position: 256, ..Setup::default() });
    let client = rig.add_client();
    rig.connect(client);
    let is_of_client = |action: &LeaderAction| match action {
        LeaderAction::Resolve { token, .. } => Some(token.is_of_client),
        _ => None,
    };
    let asked: Vec<bool> = rig.actions.iter().filter_map(is_of_client).collect();
    assert_eq!(asked, [false, true], "the session that is taken over, then the new client");
}

#[test]
fn a_flood_of_requests_costs_bounded_memory_and_no_other_session() {
    let mut rig = Rig::new();
    let (good, bad) = (rig.add_client(), rig.add_client());
    let session = rig.connect(good);
    let mut stream_count_max = 0;
    for i in 0..4_000 {
        // Half of them answer to an address where nobody listens.
        let channel = match i % 2 {
            0 => rig.clients[bad].channel(),
            _ => format!("aeron:udp?endpoint=10.9.9.9:{}", 1 + i),
        };
        let version = SemanticVersion::new((i % 5) as u8, 3, 0);
        rig.clients[bad].request_session_to(10_000 + i, b"", &channel, version);
        if i % 10 == 0 {
            rig.clients[good].send_message(session, format!("{i}").as_bytes());
            rig.leader.offer_egress(session, 0, format!("{i}").as_bytes()).unwrap();
        }
        rig.run_ms(1);
        stream_count_max = stream_count_max.max(rig.leader.stream_count());
    }
    rig.run_ms(100);
    let numbers: Vec<String> = (0..400).map(|i| (i * 10).to_string()).collect();
    assert_eq!(rig.clients[good].replies(), numbers);
    let expected = numbers.iter().map(|number| format!("message {session} {number}"));
    assert!(rig.events().iter().filter(|event| event.starts_with("message")).cloned().eq(expected));
    assert!(stream_count_max <= 300, "{stream_count_max} streams");
    assert!(rig.leader.counters().connects_over_limit > 1_000, "{:?}", rig.leader.counters());

    // Once it is over, newcomers are let in.
    rig.clients[bad].leave(rig.now_ns);
    rig.clients[good].keep_alive(session);
    for _ in 0..3 {
        rig.run_ms(5_000);
        rig.clients[good].keep_alive(session);
    }
    let newcomer = rig.add_client();
    rig.connect(newcomer);
}

#[test]
fn what_is_too_long_or_nonsense_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    rig.clients[client].offer(b"nonsense").unwrap();
    // The log's terms take 8 KiB.
    rig.clients[client].send_message(session, &[1; 8 * 1024 - 31]);
    rig.clients[client].send_message(session, &[2; 100 * 1024]);
    rig.clients[client].send_message(session + 1, b"no such session");
    rig.clients[client].term_id = 6;
    rig.clients[client].send_message(session, b"another term");
    rig.clients[client].keep_alive(session);
    rig.clients[client].close_session(session);
    rig.clients[client].term_id = 7;
    rig.clients[client].send_message(session, &[b'a'; 8 * 1024 - 32]);
    rig.run_ms(50);
    assert_eq!(rig.events()[2..], [format!("message 1 {}", "a".repeat(40))]);
    let counters = rig.leader.counters();
    assert_eq!((counters.invalid, counters.dropped, counters.messages_ignored), (1, 2, 4));
}

#[test]
fn a_client_that_takes_no_replies_is_back_pressured_and_hurts_nobody_else() {
    let config = LeaderConfig {
        egress_term_length: 256 * 1024,
        egress_backlog_length_max: 200 * 1024,
        ..Setup::default().config
    };
    let mut rig = Rig::with(Setup { config, ..Setup::default() });
    let (slow, good) = (rig.add_client(), rig.add_client());
    let (slow_session, good_session) = (rig.connect(slow), rig.connect(good));
    rig.run_ms(5);
    rig.clients[slow].takes_nothing = true;
    let mut taken = Vec::new();
    let mut states = Vec::new();
    for i in 0..2_000 {
        let reply = format!("{i:01000}");
        if rig.leader.offer_egress(slow_session, 0, reply.as_bytes()).is_ok() {
            taken.push(reply.clone());
        }
        let state = rig.leader.egress_state(slow_session).unwrap();
        if states.last() != Some(&state) {
            states.push(state);
        }
        rig.leader.offer_egress(good_session, 0, reply.as_bytes()).unwrap();
        rig.run_ms(1);
        assert_eq!(rig.clients[good].replies().len(), i + 1, "at once");
        if i % 500 == 0 {
            rig.clients[slow].keep_alive(slow_session);
            rig.clients[good].keep_alive(good_session);
        }
    }
    assert_eq!(states, [EgressState::Connected, EgressState::BackPressured]);
    assert!(taken.len() < 600, "{} replies are kept", taken.len());
    assert_eq!(rig.leader.counters().replies_refused, 2_000 - taken.len() as u64);

    let now_ns = rig.now_ns;
    rig.clients[slow].take_all(now_ns);
    rig.run_ms(200);
    assert!(rig.clients[slow].replies() == taken, "all that was taken comes, in order");
    assert_eq!(rig.leader.egress_state(slow_session), Some(EgressState::Connected));
}

#[test]
fn a_client_that_stays_away_from_its_response_channel_is_given_up() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.run_ms(300);
    rig.clients[client].request_session_to(
        1,
        b"",
        "aeron:udp?endpoint=10.7.7.7:1",
        SemanticVersion::new(0, 3, 0),
    );
    rig.run_ms(9_000);
    assert_eq!(rig.leader.session_counts(), (0, 1));
    rig.run_ms(1_500);
    assert_eq!(rig.leader.session_counts(), (0, 0));
    assert_eq!(rig.leader.counters().clients_timed_out, 1);
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    rig.connect(client);
    rig.clients[client].is_silent = true;
    rig.run_ms(30_000);
    assert_eq!(rig.events()[2..], ["close 1 Timeout"]);
    assert_eq!(rig.leader.stream_count(), 1, "the ingress subscription stays");
    let told = rig.actions.iter().filter(|action| matches!(action, LeaderAction::SessionClosed { .. }));
    assert_eq!(told.count(), 1);
}

#[test]
fn noise_on_the_line_does_no_harm() {
    use crate::random::next_random;
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    let mut random = 5;
    for i in 0..20_000_u64 {
        let length = next_random(&mut random) % 200;
        let mut datagram: Vec<u8> = (0..length).map(|_| next_random(&mut random) as u8).collect();
        if i % 3 == 0 && datagram.len() > 32 {
            // Looks like a frame of the ingress stream.
            let type_code = [0, 1, 2, 3, 5][i as usize % 5];
            datagram[..8].copy_from_slice(&[length as u8, 0, 0, 0, 0, 0xc0, type_code, 0]);
            datagram[12..20].copy_from_slice(&[244, 1, 0, 0, 101, 0, 0, 0]);
        }
        let from = rig.clients[client].address;
        rig.leader.on_datagram(&datagram, from, rig.now_ns, 0, &mut rig.log);
        if i % 100 == 0 {
            rig.run_ms(1);
        }
    }
    rig.clients[client].send_message(session, b"still here");
    rig.run_ms(20);
    assert_eq!(rig.events().last().unwrap(), "message 1 still here");
    assert!(rig.now_ns > SECOND_NS && matches!(rig.clients[client].heard[0], Heard::Event(_)));
}

#[test]
fn those_who_are_gone_without_leave_and_without_a_session_make_room() {
    let mut rig = Rig::new();
    let good = rig.add_client();
    let session = rig.connect(good);
    // Each describes its stream, and is never heard of again.
    let flood = 2 * SPARE_IMAGE_COUNT;
    for _ in 0..flood {
        let gone = rig.add_client();
        rig.run_ms(2);
        rig.clients[gone].is_silent = true;
    }
    let newcomer = rig.add_client();
    rig.run_ms(500);
    assert!(rig.leader.transport_counters().setups_over_limit > 0, "there is no room");
    rig.run_ms(1_000);
    rig.connect(newcomer);
    rig.clients[good].send_message(session, b"still here");
    rig.run_ms(20);
    assert_eq!(rig.events().last().unwrap(), "message 1 still here");
    let reports = rig.actions.iter().filter(|action| matches!(action, LeaderAction::Report(_)));
    assert_eq!(reports.count(), 1, "of what clients do it is told once in a while");
}

#[test]
fn operators_are_told_who_sends_what_it_should_not_once() {
    let mut rig = Rig::new();
    let client = rig.add_client();
    let session = rig.connect(client);
    for _ in 0..10 {
        rig.clients[client].offer(b"nonsense").unwrap();
        rig.clients[client].send_message(session, &[2; 100 * 1024]);
        rig.run_ms(50);
        rig.leader.on_datagram(b"noise", "10.9.9.9:1".parse().unwrap(), rig.now_ns, 0, &mut rig.log);
    }
    rig.run_ms(10);
    let reports = rig.actions.iter().filter_map(|action| match action {
        LeaderAction::Report(text) => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(
        reports.collect::<Vec<_>>(),
        [
            "a client at 10.0.1.0 sends what is no message of a client",
            "a client at 10.0.1.0 sends messages that are too long or broken off",
            "datagrams that are no frames of Aeron's come to the ingress endpoint",
        ]
    );
}
