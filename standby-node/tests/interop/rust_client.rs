//! Our cluster client and Java members.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use standby_node::agent::idle::{IdleStrategy, Idler};
use standby_node::cluster_client::{
    ClientState, ClusterClient, ClusterClientError, ConnectFailure, Credentials, EgressListener, OfferError,
    SessionEnd, config,
};

use crate::support::audit_log::compare;
use crate::support::cluster::{Cluster, ClusterConfig};

const MINUTE: Duration = Duration::from_secs(60);
const EGRESS: &str = "aeron:udp?endpoint=localhost:0";
const CREDENTIALS: &str = "rust:client";
const ANSWER: &str = "the-answer";
/// Most messages that wait for their replies.
const WINDOW: usize = 256;

#[test]
fn twenty_thousand_messages_are_answered_once_and_in_order() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("rust_client", 3));
    let mut load = Load::connect(&cluster.ingress_endpoints());
    load.send((0..20_000).map(|index| 16 + index % 3_000));
    // As long as the ingress takes, in many fragments, and over the ends of its terms.
    let longest = load.client.message_length_max();
    load.send((0..40).map(|index| longest - index));
    assert_eq!(load.ledger.replied, 20_040);
    load.client.close(MINUTE).unwrap();

    let follower = cluster.follower().expect("three members");
    let only_follower = format!("{follower}={}", cluster.member(follower).ingress_endpoint());
    let mut redirected = Load::connect(&only_follower);
    assert_eq!(Some(redirected.client.leader_member_id()), cluster.leader().map(i32::from));
    redirected.send((0..100).map(|_| 100));
    redirected.client.close(MINUTE).unwrap();

    cluster.shutdown();
    compare(&cluster.audit_logs()).unwrap();
}

#[test]
fn closed_sessions_make_room_at_once() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("rust_client_sessions", 1));
    let begin = Instant::now();
    // Members take ten sessions by default, and wait ten seconds for one that is silent.
    for _ in 0..25 {
        let mut load = Load::connect(&cluster.ingress_endpoints());
        load.send([64]);
        load.client.close(MINUTE).unwrap();
    }
    // One that is dropped takes leave, too.
    for _ in 0..25 {
        drop(Load::connect(&cluster.ingress_endpoints()));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());

    let kept: Vec<Load> = (0..10).map(|_| Load::connect(&cluster.ingress_endpoints())).collect();
    let refused = ClusterClient::connect(config(&cluster.ingress_endpoints(), EGRESS).unwrap());
    match refused {
        Err(ClusterClientError::Ended(SessionEnd::NotConnected(ConnectFailure::Refused { detail }))) => {
            assert_eq!(detail, "concurrent session limit");
        }
        other => panic!("{other:?}"),
    }
    drop(kept);
    cluster.shutdown();
}

#[test]
fn credentials_and_the_answer_to_a_challenge_open_a_session() {
    if crate::support::skip() {
        return;
    }
    let gates = ["--credentials", CREDENTIALS, "--challenge", ANSWER];
    let cluster = Cluster::start(ClusterConfig::new("rust_client_access", 1).flags(&gates));
    let connect = |credentials: &str, answer: Option<&str>| {
        let mut config = config(&cluster.ingress_endpoints(), EGRESS).unwrap();
        let initial = credentials.as_bytes().to_vec();
        config.credentials = match answer {
            Some(answer) => Credentials::ChallengeResponse { initial, answer: answer.as_bytes().to_vec() },
            None => Credentials::Simple(initial),
        };
        ClusterClient::connect(config)
    };
    let failure = |outcome: Result<ClusterClient, ClusterClientError>| match outcome {
        Err(ClusterClientError::Ended(SessionEnd::NotConnected(failure))) => failure,
        other => panic!("{other:?}"),
    };
    let is_rejected =
        |failure: &ConnectFailure| matches!(failure, ConnectFailure::AuthenticationRejected { .. });
    let wrong_credentials = failure(connect("nobody", Some(ANSWER)));
    assert!(is_rejected(&wrong_credentials), "{wrong_credentials}");
    let wrong_answer = failure(connect(CREDENTIALS, Some("a guess")));
    assert!(is_rejected(&wrong_answer), "{wrong_answer}");
    assert_eq!(failure(connect(CREDENTIALS, None)), ConnectFailure::Challenged);

    let mut load = Load::new(connect(CREDENTIALS, Some(ANSWER)).unwrap());
    load.send((0..1_000).map(|_| 64));
    load.client.close(MINUTE).unwrap();
    cluster.shutdown();
}

#[test]
fn the_session_goes_on_when_the_leader_is_killed() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("rust_client_new_leader", 3));
    let mut load = Load::connect(&cluster.ingress_endpoints());
    load.send((0..1_000).map(|_| 200));
    let session_id = load.client.cluster_session_id();

    let killed = cluster.await_leader(None, MINUTE);
    assert_eq!(load.client.leader_member_id(), i32::from(killed));
    cluster.member(killed).kill();
    load.await_new_leader();
    assert_ne!(load.client.leader_member_id(), i32::from(killed));
    load.send((0..5_000).map(|index| 16 + index % 3_000));
    assert_eq!((load.client.cluster_session_id(), load.ledger.new_leaders), (session_id, 1));
    // Counts go on where they were: the state behind the session is the same.
    assert_eq!(load.ledger.last_count, 6_000);

    cluster.member(killed).restart();
    load.client.close(MINUTE).unwrap();
    cluster.await_quiet(MINUTE);
    cluster.shutdown();
    compare(&cluster.audit_logs()).unwrap();
}

#[test]
fn a_cluster_that_is_not_there_is_said_within_the_message_timeout() {
    let mut config = config("0=localhost:9", EGRESS).unwrap();
    config.message_timeout_ns = 300_000_000;
    let begin = Instant::now();
    let error = ClusterClient::connect(config).unwrap_err().to_string();
    assert!(error.contains("0=localhost:9") && error.contains("300 ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2));
}

/// A session that sends audit messages, and checks each reply.
struct Load {
    client: ClusterClient,
    ledger: Ledger,
    idler: Idler,
    next_stamp: i64,
}

/// What was sent and has no reply yet, by the stamp that replies repeat.
#[derive(Default)]
struct Ledger {
    open: VecDeque<i64>,
    replied: u64,
    last_count: i64,
    new_leaders: u32,
}

impl EgressListener for Ledger {
    fn on_message(&mut self, _timestamp: i64, reply: &[u8]) {
        let word = |at: usize| i64::from_le_bytes(reply[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!(reply.len(), 32);
        assert_eq!(Some(word(8)), self.open.pop_front(), "replies come in order, and once");
        assert!(word(24) > self.last_count, "counts rise");
        self.last_count = word(24);
        self.replied += 1;
    }

    fn on_new_leader(&mut self, _leadership_term_id: i64, _leader_member_id: i32, _ingress_endpoints: &str) {
        self.new_leaders += 1;
    }
}

impl Load {
    fn connect(ingress_endpoints: &str) -> Self {
        let config = config(ingress_endpoints, EGRESS).unwrap();
        Self::new(ClusterClient::connect(config).unwrap_or_else(|error| panic!("{error}")))
    }

    fn new(client: ClusterClient) -> Self {
        let idler = Idler::new(IdleStrategy::BACKOFF);
        Self { client, ledger: Ledger::default(), idler, next_stamp: 1 }
    }

    /// Sends messages of these lengths, and waits until each has its reply.
    fn send(&mut self, lengths: impl IntoIterator<Item = usize>) {
        let deadline = Instant::now() + MINUTE;
        let mut message = Vec::new();
        for length in lengths {
            // Command 0, stamp, and no zeros.
            message.resize(length, 0x5a);
            message[..8].fill(0);
            message[8..16].copy_from_slice(&self.next_stamp.to_le_bytes());
            while self.ledger.open.len() >= WINDOW || !self.offer(&message) {
                self.poll(deadline);
            }
        }
        while !self.ledger.open.is_empty() {
            self.poll(deadline);
        }
    }

    fn offer(&mut self, message: &[u8]) -> bool {
        match self.client.offer(message) {
            Ok(_) => {
                self.ledger.open.push_back(self.next_stamp);
                self.next_stamp += 1;
                true
            }
            Err(OfferError::BackPressured) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn await_new_leader(&mut self) {
        let deadline = Instant::now() + MINUTE;
        while self.ledger.new_leaders == 0 || self.client.state() != ClientState::Connected {
            self.poll(deadline);
        }
    }

    fn poll(&mut self, deadline: Instant) {
        assert!(Instant::now() < deadline, "{} messages without a reply", self.ledger.open.len());
        let work = self.client.poll(&mut self.ledger).unwrap_or_else(|error| panic!("{error}"));
        self.idler.idle(work);
    }
}
