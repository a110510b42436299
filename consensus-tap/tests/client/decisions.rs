//! What a client decides, one case at a time, on a network that loses nothing.

use consensus_tap::archive::Credentials;
use consensus_tap::client::{
    BadEndpoints, ClientState, ClusterClient, ClusterClientConfig, ClusterClientConfigError, ConnectFailure,
    ConnectStep, SessionEnd,
};
use consensus_tap::codec::session::{AdminResponseCode, EventCode};
use consensus_tap::publication::OfferError;

use super::cluster::{Behaviour, Cluster};
use super::world::{MS, SECOND, World};

fn world(member_count: usize, behaviour: Behaviour) -> World {
    let mut cluster = Cluster::new(member_count);
    cluster.behaviour = behaviour;
    World::new(cluster, |_| {})
}

fn connected(member_count: usize) -> World {
    let mut world = world(member_count, Behaviour::default());
    world.connect();
    world
}

/// The end of a client that finds no session within the message timeout.
fn failure(mut world: World) -> ConnectFailure {
    world.run_until(6 * SECOND, |world| world.client.state() == ClientState::Closed);
    match world.client.end() {
        Some(SessionEnd::NotConnected(failure)) => failure.clone(),
        other => panic!("{other:?}, {:?}", world.client.state()),
    }
}

#[test]
fn a_session_is_opened_and_answers_come_back() {
    let mut world = connected(1);
    assert_eq!((world.client.cluster_session_id(), world.client.leadership_term_id()), (1, 1));
    for length in [8, 100, 5_000, world.client.message_length_max()] {
        world.offer(length).unwrap();
        world.run_for(10 * MS);
    }
    world.expect_all_answered();
}

#[test]
fn what_is_too_long_is_refused_and_nothing_taken() {
    let mut world = connected(1);
    let length_max = world.client.message_length_max();
    assert_eq!(world.offer(length_max + 1), Err(OfferError::MessageTooLong));
    world.run_for(10 * MS);
    assert_eq!(world.heard.messages.len(), 0);
}

#[test]
fn a_follower_sends_the_client_to_the_leader() {
    let mut cluster = Cluster::new(3);
    // The only one that listens does not lead.
    cluster.members[0].kill();
    cluster.leader = Some(2);
    let mut world = World::new(cluster, |config| {
        config.ingress_endpoints = "0=10.0.0.1:9002,1=10.0.0.2:9002".parse().unwrap();
    });
    world.connect();
    assert_eq!(world.client.leader_member_id(), 2);
    world.offer(100).unwrap();
    world.run_for(10 * MS);
    world.expect_all_answered();
}

#[test]
fn a_redirect_to_a_member_that_listens_already_opens_no_second_stream() {
    let mut cluster = Cluster::new(2);
    cluster.leader = Some(1);
    let mut world = World::new(cluster, |_| {});
    world.connect();
    assert_eq!(world.client.leader_member_id(), 1);
    // Ingress subscription, egress publication, ingress image.
    assert_eq!(world.cluster.members[1].stream_count(), 3);
}

#[test]
fn a_redirect_that_does_not_name_the_leader_is_said() {
    let behaviour = Behaviour { endpoints: Some("0=10.0.0.1:9002".to_owned()), ..Behaviour::default() };
    let mut world = world(2, behaviour);
    world.cluster.leader = Some(1);
    let reason = BadEndpoints::LeaderNotNamed { endpoints: "0=10.0.0.1:9002".to_owned() };
    assert_eq!(failure(world), ConnectFailure::BadRedirect { leader_member_id: 1, reason });
}

#[test]
fn credentials_and_the_answer_to_a_challenge_are_sent() {
    let mut cluster = Cluster::new(1);
    let (initial, answer) = (b"user:password".to_vec(), b"me".to_vec());
    cluster.behaviour.credentials = Some(initial.clone());
    cluster.behaviour.challenge_answer = Some(answer.clone());
    let with = |credentials: Credentials| {
        let mut cluster = Cluster::new(1);
        cluster.behaviour.credentials = Some(b"user:password".to_vec());
        cluster.behaviour.challenge_answer = Some(b"me".to_vec());
        World::new(cluster, |config| config.credentials = credentials)
    };
    with(Credentials::ChallengeResponse { initial: initial.clone(), answer }).connect();

    let wrong_answer = Credentials::ChallengeResponse { initial: initial.clone(), answer: b"you".to_vec() };
    let detail = "wrong answer".to_owned();
    assert_eq!(failure(with(wrong_answer)), ConnectFailure::AuthenticationRejected { detail });
    let detail = "wrong credentials".to_owned();
    assert_eq!(failure(with(Credentials::None)), ConnectFailure::AuthenticationRejected { detail });
    assert_eq!(failure(with(Credentials::Simple(initial))), ConnectFailure::Challenged);
}

#[test]
fn a_refusal_comes_in_the_clusters_words() {
    let detail = "concurrent session limit".to_owned();
    let refusing = world(1, Behaviour { refusal: Some(detail.clone()), ..Behaviour::default() });
    assert_eq!(failure(refusing), ConnectFailure::Refused { detail });
}

#[test]
fn a_timeout_tells_what_was_waited_for() {
    let step = |world| match failure(world) {
        ConnectFailure::Timeout { step, .. } => step,
        other => panic!("{other:?}"),
    };
    let mut silent = world(1, Behaviour::default());
    silent.cluster.kill_leader();
    assert_eq!(step(silent), ConnectStep::AwaitPublication);
    let mut nameless = world(1, Behaviour::default());
    nameless.is_without_names = true;
    assert_eq!(step(nameless), ConnectStep::AwaitAddress);
    let mute = world(1, Behaviour { is_mute: true, ..Behaviour::default() });
    assert_eq!(step(mute), ConnectStep::AwaitResponse);
}

#[test]
fn the_session_goes_on_with_a_new_leader() {
    let mut world = connected(3);
    world.offer(100).unwrap();
    world.run_for(10 * MS);
    world.cluster.kill_leader();
    world.run_for(SECOND);
    world.cluster.elect(1, world.now_ns);
    assert!(world.run_until(SECOND, |world| world.heard.new_leaders.len() == 1));
    // Found by a keep-alive: the application need not offer anything.
    assert!(world.run_until(SECOND, World::is_connected));
    assert_eq!((world.client.leader_member_id(), world.client.leadership_term_id()), (1, 2));
    world.offer(5_000).unwrap();
    world.run_for(10 * MS);
    world.expect_all_answered();
    assert_eq!(world.cluster.sessions.len(), 1);
}

#[test]
fn a_client_that_sends_keep_alives_itself_speaks_to_a_new_leader_in_time_or_not_at_all() {
    for is_speaking in [true, false] {
        let cluster = Cluster::new(2);
        let mut world = World::new(cluster, |config| config.keep_alive_interval_ns = None);
        world.connect();
        world.cluster.kill_leader();
        world.cluster.elect(1, world.now_ns);
        world.run_for(SECOND);
        assert_eq!(world.client.state(), ClientState::AwaitNewLeaderConnection);
        if is_speaking {
            world.client.send_keep_alive().unwrap();
            assert_eq!(world.client.state(), ClientState::Connected);
            continue;
        }
        world.run_for(5 * SECOND);
        let endpoint = "1=10.0.0.2:9002".to_owned();
        let expected = SessionEnd::NewLeaderUnreachable { leader_member_id: 1, endpoint };
        assert_eq!(world.client.end(), Some(&expected));
    }
}

#[test]
fn a_lost_leader_is_waited_for_as_long_as_two_heartbeat_timeouts() {
    let mut world = connected(1);
    world.cluster.kill_leader();
    assert!(world.run_until(6 * SECOND, |world| world.client.state() == ClientState::AwaitNewLeader));
    let lost_ns = world.now_ns;
    assert_eq!(world.offer(10), Err(OfferError::NotConnected));
    assert!(world.run_until(30 * SECOND, |world| world.client.state() == ClientState::Closed));
    assert_eq!(world.now_ns - lost_ns, 20 * SECOND);
    assert_eq!(world.client.end(), Some(&SessionEnd::NoNewLeader { timeout_ns: 20 * SECOND }));
    assert_eq!(world.offer(10), Err(OfferError::Closed));
}

#[test]
fn an_egress_that_is_closed_means_a_lost_leader_at_once() {
    let mut world = connected(2);
    let to = world.cluster.sessions[0].to;
    world.cluster.members[0].end_answers(to);
    assert!(world.run_until(SECOND, |world| world.client.state() == ClientState::AwaitNewLeader));
    world.cluster.elect(1, world.now_ns);
    assert!(world.run_until(SECOND, World::is_connected));
}

#[test]
fn a_new_leader_that_cannot_be_found_ends_the_session_with_words() {
    let mut unnamed = connected(2);
    unnamed.cluster.behaviour.endpoints = Some("0=10.0.0.1:9002".to_owned());
    unnamed.cluster.elect(1, unnamed.now_ns);
    unnamed.run_for(100 * MS);
    let reason = BadEndpoints::LeaderNotNamed { endpoints: "0=10.0.0.1:9002".to_owned() };
    let expected = SessionEnd::NewLeaderUnknown { leader_member_id: 1, reason };
    assert_eq!(unnamed.client.end(), Some(&expected));

    let mut elsewhere = connected(2);
    elsewhere.cluster.behaviour.endpoints = Some("1=10.0.0.77:9002".to_owned());
    elsewhere.cluster.elect(1, elsewhere.now_ns);
    elsewhere.run_for(6 * SECOND);
    let endpoint = "1=10.0.0.77:9002".to_owned();
    let expected = SessionEnd::NewLeaderUnreachable { leader_member_id: 1, endpoint };
    assert_eq!(elsewhere.client.end(), Some(&expected));
}

#[test]
fn news_of_an_older_term_is_ignored() {
    let mut world = connected(2);
    world.cluster.term = -5;
    world.cluster.elect(1, world.now_ns);
    world.run_for(100 * MS);
    assert!(world.is_connected());
    assert_eq!(world.client.leader_member_id(), 0);
    assert_eq!(world.client.counters().stale_leader_count, 1);
}

#[test]
fn a_session_that_the_cluster_closes_is_over_and_says_why() {
    let mut world = connected(1);
    world.cluster.close_session(1, "SERVICE_ACTION", world.now_ns);
    world.run_for(100 * MS);
    assert_eq!(world.heard.events, [(EventCode::Closed, "SERVICE_ACTION".to_owned())]);
    assert_eq!(world.client.end(), Some(&SessionEnd::ByCluster { detail: "SERVICE_ACTION".to_owned() }));
    assert!(world.client.is_gone());
}

#[test]
fn keep_alives_are_sent_only_while_nothing_else_is() {
    let mut world = connected(1);
    for _ in 0..30 {
        world.offer(20).unwrap();
        world.run_for(500 * MS);
    }
    assert_eq!(world.cluster.keep_alive_count, 0);
    world.run_for(30 * SECOND);
    assert!(world.is_connected(), "{:?}", world.client.end());
    assert!((25..=30).contains(&world.cluster.keep_alive_count), "{}", world.cluster.keep_alive_count);
}

#[test]
fn without_keep_alives_the_cluster_closes_the_session() {
    let mut world = World::new(Cluster::new(1), |config| config.keep_alive_interval_ns = None);
    world.connect();
    world.run_for(11 * SECOND);
    assert_eq!(world.client.end(), Some(&SessionEnd::ByCluster { detail: "TIMEOUT".to_owned() }));
}

#[test]
fn messages_for_others_are_counted_and_kept_from_the_listener() {
    let mut world = connected(1);
    let to = world.cluster.sessions[0].to;
    world.cluster.send(99, to, b"for another", world.now_ns);
    world.cluster.members[0].answer(to, b"\x00\x00\x01\x00\x07\x00\x00\x00".to_vec(), world.now_ns);
    world.cluster.send(1, to, b"for this one", world.now_ns);
    world.run_for(100 * MS);
    assert_eq!(world.heard.messages, [b"for this one"]);
    let counters = world.client.counters();
    assert_eq!((counters.foreign_session_count, counters.malformed_count), (1, 1));
}

#[test]
fn the_outcome_of_an_admin_request_is_heard() {
    let mut world = connected(1);
    world.client.request_snapshot(77).unwrap();
    world.run_for(100 * MS);
    assert_eq!(world.heard.admin_responses, [(77, AdminResponseCode::UnauthorisedAccess)]);
}

#[test]
fn a_close_reaches_the_cluster_behind_all_that_was_offered() {
    let mut world = connected(1);
    for _ in 0..100 {
        world.offer(1_000).unwrap();
    }
    world.client.close();
    assert_eq!(world.client.state(), ClientState::Closed);
    assert_eq!(world.client.offer(b"late"), Err(OfferError::Closed));
    assert!(!world.client.is_gone());
    assert!(world.run_until(SECOND, |world| world.client.is_gone()));
    assert_eq!(world.client.end(), Some(&SessionEnd::ByClient));
    assert!(!world.cluster.sessions[0].is_open);
    assert!(world.cluster.sessions[0].log == world.offered);
}

#[test]
fn a_close_that_nobody_hears_ends_after_the_message_timeout() {
    let mut world = connected(1);
    world.cluster.kill_leader();
    world.client.close();
    assert!(world.run_until(6 * SECOND, |world| world.client.is_gone()));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |change: fn(&mut ClusterClientConfig)| {
        let endpoints = "0=10.0.0.1:9002".parse().unwrap();
        let mut config =
            ClusterClientConfig::new(endpoints, "aeron:udp?endpoint=10.0.9.9:7000".to_owned(), 1);
        change(&mut config);
        ClusterClient::new(config, 0).expect_err("it is wrong")
    };
    type Error = ClusterClientConfigError;
    let error = refused(|config| config.ingress_endpoints = std::iter::empty().collect());
    assert_eq!(error, Error::NoIngressEndpoints);
    assert!(matches!(refused(|config| config.ingress_term_length = 7), Error::BadIngress(_)));
    assert!(matches!(refused(|config| config.ingress_mtu = 1400), Error::BadIngress(_)));
    let error = refused(|config| config.egress_channel = "aeron:udp?endpoint=h:0".to_owned());
    assert!(matches!(error, Error::BadEgressChannel { .. }), "{error}");
    let error = refused(|config| config.egress_channel = "udp".to_owned());
    assert!(matches!(error, Error::UnreadableEgressChannel(_)), "{error}");
    let error = refused(|config| config.egress_window_length = 1000);
    assert_eq!(error, Error::EgressWindowTooShort { length: 1000 });
    let error = refused(|config| config.egress_message_length_max = usize::MAX);
    assert_eq!(error, Error::EgressMessageTooLong { length: usize::MAX });
}
