use super::*;
use crate::authentication::{AcceptAll, SharedSecrets};
use crate::codec::consensus::{
    ANY_LOG_POSITION, BackupQuery, HeartbeatRequest, SnapshotEntry, StandbyEntries, StandbySnapshot,
};
use crate::codec::session::CLUSTER_SCHEMA;
use crate::file::recording_log::SnapshotSet;
use crate::image::SubscriptionParams;
use crate::serving::test_network::{Incoming, SECOND_NS, TestNetwork, address};

const SERVER: usize = 0;
const ASKER: usize = 1;
const STREAM_ID: i32 = 108;
const MEMBERS: &str = "0,i:1,c:1,l:1,u:1,a:1|1,i:2,c:2,l:2,u:2,a:2";

/// A server, and somebody who asks it and reads what it answers.
struct Conversation {
    network: TestNetwork,
    server: ConsensusServer,
    lookups: NameLookups,
    asking: PublicationId,
    answers: Vec<Vec<u8>>,
    ended_count: usize,
}

fn config() -> ConsensusServerConfig {
    ConsensusServerConfig {
        member_id: 100,
        endpoint: "s:9".parse().unwrap(),
        allow_list: AllowList::default(),
        session_timeout_ns: 10 * SECOND_NS,
        request_count_max: 4,
        seed: 1,
    }
}

fn set(log_position: i64) -> SnapshotSet {
    SnapshotSet {
        leadership_term_id: 2,
        term_base_log_position: 64,
        log_position,
        timestamp: 77,
        consensus_module: 5,
        services: vec![6, 7],
    }
}

fn standing() -> Standing {
    Standing {
        last_term: Some(LastTerm { log_recording_id: 3, leadership_term_id: 2, term_base_log_position: 64 }),
        commit_position_counter_id: 44,
        leader_member_id: 1,
        is_following: true,
        is_leading: false,
        cluster_members: MEMBERS.to_owned(),
        snapshot_sets: vec![set(4096), set(1024)],
    }
}

impl Conversation {
    fn with(config: ConsensusServerConfig, authenticator: Box<dyn Authenticator>) -> Self {
        let mut network = TestNetwork::new(2, 0, 1);
        let now_ns = network.now_ns;
        network.endpoint(SERVER).add_subscription(SubscriptionParams::new(STREAM_ID));
        network.endpoint(ASKER).add_subscription(SubscriptionParams::new(STREAM_ID));
        let params = PublicationParams::new(11, STREAM_ID);
        let asking = network.endpoint(ASKER).add_publication(params, address(SERVER), now_ns);
        let mut server = ConsensusServer::new(config, authenticator);
        server.on_standing(Arc::new(standing()));
        let lookups = NameLookups::default();
        let mut conversation = Self { network, server, lookups, asking, answers: Vec::new(), ended_count: 0 };
        conversation.run(SECOND_NS / 10);
        conversation
    }

    fn new() -> Self {
        Self::with(config(), Box::new(AcceptAll))
    }

    fn run(&mut self, time_ns: u64) {
        let end_ns = self.network.now_ns + time_ns;
        while self.network.now_ns < end_ns {
            for (node, incoming) in self.network.step() {
                let now_ns = self.network.now_ns;
                match incoming {
                    Incoming::Message { from, bytes, .. } if node == SERVER => {
                        self.server.on_message(&bytes, from, now_ns, &mut self.lookups);
                    }
                    Incoming::Message { bytes, .. } => self.answers.push(bytes),
                    Incoming::Ended { .. } if node == ASKER => self.ended_count += 1,
                    Incoming::Ended { .. } => {}
                }
            }
            let now_ns = self.network.now_ns;
            let endpoint = self.network.endpoint(SERVER);
            while let Some((lookup, asked)) = self.lookups.poll() {
                assert!(lookup.is_of_client, "the server itself needs no name");
                let address = asked.socket_addr();
                assert!(self.server.on_resolved(lookup, address, now_ns, endpoint));
            }
            self.server.on_timeout(now_ns, endpoint);
        }
    }

    fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut message = Vec::new();
        encode(&mut message);
        self.network.endpoint(ASKER).offer(self.asking, &message).expect("the server listens");
    }

    fn query(&mut self, correlation_id: i64, log_position: i64, credentials: &[u8]) {
        let response_channel = &channel();
        self.send(|out| {
            BackupQuery {
                correlation_id,
                response_stream_id: STREAM_ID,
                version: CLUSTER_PROTOCOL_VERSION,
                log_position,
                response_channel,
                encoded_credentials: Secret(credentials),
            }
            .encode(out);
        });
    }

    /// The only answer so far.
    fn answer(&mut self) -> ConsensusMessage<'_> {
        self.run(SECOND_NS / 2);
        assert_eq!(self.answers.len(), 1, "{:?}", self.server.counters());
        ConsensusMessage::decode(&self.answers[0]).unwrap()
    }

    fn refusal(&mut self) -> (EventCode, i64, String) {
        let ConsensusMessage::SessionEvent(event) = self.answer() else { panic!("not refused") };
        assert_eq!(event.cluster_session_id, -1);
        let refusal = (event.code, event.correlation_id, event.detail.to_owned());
        let report = self.server.poll_refused().expect("the operator is told");
        assert!(report.reason.contains(&refusal.2), "{report:?}");
        assert_eq!((self.server.counters().refused, self.server.counters().answered), (1, 0));
        refusal
    }
}

fn channel() -> String {
    format!("aeron:udp?endpoint={}", address(ASKER))
}

#[test]
fn a_backup_query_gets_our_log_our_counter_the_members_and_us_and_our_snapshots() {
    let mut conversation = Conversation::new();
    conversation.query(7, ANY_LOG_POSITION, b"");
    let ConsensusMessage::BackupResponse(response) = conversation.answer() else { panic!("no response") };
    assert_eq!(response.correlation_id, 7);
    assert_eq!((response.log_recording_id, response.commit_position_counter_id), (3, 44));
    assert_eq!((response.log_leadership_term_id, response.log_term_base_log_position), (2, 64));
    assert_eq!((response.last_leadership_term_id, response.last_term_base_log_position), (2, 64));
    assert_eq!((response.leader_member_id, response.member_id), (1, 100));
    assert_eq!(response.cluster_members, format!("{MEMBERS}|100,s:9,s:9,s:9,s:9,s:9"));
    let row = |recording_id, service_id| SnapshotEntry {
        recording_id,
        leadership_term_id: 2,
        term_base_log_position: 64,
        log_position: 4096,
        timestamp: 77,
        service_id,
    };
    let snapshots: Vec<_> = response.snapshots.iter().collect();
    assert_eq!(snapshots, [row(7, 1), row(6, 0), row(5, -1)]);
}

#[test]
fn a_query_names_the_position_up_to_which_snapshots_are_wanted() {
    for (asked, expected) in [(4096, 4096), (4095, 1024), (1023, 1024), (-1, 4096), (NULL_I64, 4096)] {
        let mut conversation = Conversation::new();
        conversation.query(7, asked, b"");
        let ConsensusMessage::BackupResponse(response) = conversation.answer() else { panic!("no response") };
        assert!(response.snapshots.iter().all(|row| row.log_position == expected), "asked for {asked}");
    }
}

#[test]
fn an_answer_ends_its_stream_and_leaves_nothing_behind() {
    let mut conversation = Conversation::new();
    let before = conversation.network.endpoint(SERVER).stream_count();
    conversation.query(7, ANY_LOG_POSITION, b"");
    conversation.run(10 * SECOND_NS);
    assert_eq!((conversation.answers.len(), conversation.ended_count), (1, 1));
    assert_eq!(conversation.network.endpoint(SERVER).stream_count(), before);
    assert_eq!(conversation.server.counters().answered, 1);
}

#[test]
fn a_heartbeat_is_answered_even_before_there_is_a_log() {
    let mut conversation = Conversation::new();
    conversation.server.on_standing(Arc::new(Standing { last_term: None, ..standing() }));
    conversation.send(|out| {
        HeartbeatRequest {
            correlation_id: 9,
            response_stream_id: STREAM_ID,
            response_channel: &channel(),
            encoded_credentials: Secret(b""),
        }
        .encode(out);
    });
    let ConsensusMessage::HeartbeatResponse(response) = conversation.answer() else { panic!("no response") };
    assert_eq!(response.correlation_id, 9);
}

#[test]
fn a_query_waits_for_our_first_term() {
    let mut conversation = Conversation::new();
    conversation.server.on_standing(Arc::new(Standing { last_term: None, ..standing() }));
    conversation.query(7, ANY_LOG_POSITION, b"");
    conversation.run(2 * SECOND_NS);
    assert!(conversation.answers.is_empty());
    conversation.server.on_standing(Arc::new(standing()));
    assert!(matches!(conversation.answer(), ConsensusMessage::BackupResponse(_)));
}

#[test]
fn a_query_that_has_no_answer_in_time_is_forgotten_without_a_word() {
    let mut conversation = Conversation::new();
    conversation.server.on_standing(Arc::new(Standing { last_term: None, ..standing() }));
    conversation.query(7, ANY_LOG_POSITION, b"");
    conversation.run(16 * SECOND_NS);
    conversation.server.on_standing(Arc::new(standing()));
    conversation.run(SECOND_NS);
    assert_eq!(conversation.answers.len(), 0);
    assert_eq!(conversation.server.counters().timed_out, 1);
}

#[test]
fn without_a_source_other_standbys_are_not_listed() {
    let upstream = format!("{MEMBERS}|99,t:9,t:9,t:9,t:9,t:9");
    for (is_following, listed) in [(true, true), (false, false)] {
        let mut conversation = Conversation::new();
        let cluster_members = upstream.clone();
        conversation.server.on_standing(Arc::new(Standing { is_following, cluster_members, ..standing() }));
        conversation.query(7, ANY_LOG_POSITION, b"");
        let ConsensusMessage::BackupResponse(response) = conversation.answer() else { panic!("no response") };
        assert_eq!(response.cluster_members.contains("99,t:9"), listed);
        assert!(response.cluster_members.ends_with("|100,s:9,s:9,s:9,s:9,s:9"));
    }
}

#[test]
fn a_standby_whose_id_is_another_s_answers_with_what_to_do() {
    let mut conversation = Conversation::new();
    let cluster_members = format!("{MEMBERS}|100,t:9,t:9,t:9,t:9,t:9");
    conversation.server.on_standing(Arc::new(Standing { cluster_members, ..standing() }));
    conversation.query(7, ANY_LOG_POSITION, b"");
    let (code, _, detail) = conversation.refusal();
    assert!(code == EventCode::Error && detail.contains("member_id of its own"), "{detail}");
}

#[test]
fn another_major_version_is_refused_in_java_s_words() {
    let mut conversation = Conversation::new();
    conversation.send(|out| {
        BackupQuery {
            correlation_id: 7,
            response_stream_id: STREAM_ID,
            version: SemanticVersion::new(1, 0, 0),
            log_position: ANY_LOG_POSITION,
            response_channel: &channel(),
            encoded_credentials: Secret(b""),
        }
        .encode(out);
    });
    let refusal = conversation.refusal();
    assert_eq!(refusal, (EventCode::Error, 7, "invalid client version 1.0.0, cluster=0.3.0".to_owned()));
}

#[test]
fn a_standby_takes_no_standby_snapshots_and_says_so() {
    let mut conversation = Conversation::new();
    conversation.send(|out| {
        StandbySnapshot {
            correlation_id: 7,
            version: CLUSTER_PROTOCOL_VERSION,
            response_stream_id: STREAM_ID,
            snapshots: StandbyEntries::new(&[]),
            response_channel: &channel(),
            encoded_credentials: Secret(b""),
        }
        .encode(out);
    });
    let (code, correlation_id, detail) = conversation.refusal();
    assert_eq!((code, correlation_id), (EventCode::Error, 7));
    assert!(detail.contains("takes no standby snapshots"), "{detail}");
}

#[test]
fn an_address_that_is_not_allowed_is_rejected_in_words() {
    let allow_list = AllowList::new(vec!["10.9.0.0/16".parse().unwrap()]);
    let mut conversation =
        Conversation::with(ConsensusServerConfig { allow_list, ..config() }, Box::new(AcceptAll));
    conversation.query(7, ANY_LOG_POSITION, b"");
    let (code, _, detail) = conversation.refusal();
    assert_eq!(code, EventCode::AuthenticationRejected);
    assert!(detail.contains("10.0.0.2") && detail.contains("serve_allow"), "{detail}");
}

#[test]
fn wrong_credentials_are_rejected() {
    let secrets = SharedSecrets { credentials: Some(b"user:1".to_vec()), challenge_answer: None };
    let mut conversation = Conversation::with(config(), Box::new(secrets));
    conversation.query(7, ANY_LOG_POSITION, b"user:2");
    assert_eq!(conversation.refusal().0, EventCode::AuthenticationRejected);
}

/// Challenges whoever asks and reads `answer` back; the last message that came.
fn challenged(answer: &[u8]) -> Conversation {
    let secrets = SharedSecrets { credentials: None, challenge_answer: Some(b"answer".to_vec()) };
    let mut conversation = Conversation::with(config(), Box::new(secrets));
    conversation.query(7, ANY_LOG_POSITION, b"");
    let ConsensusMessage::Challenge(challenge) = conversation.answer() else { panic!("not challenged") };
    assert_eq!(challenge.correlation_id, 7);
    let cluster_session_id = challenge.cluster_session_id;
    conversation.send(|out| {
        ChallengeResponse { correlation_id: 8, cluster_session_id, encoded_credentials: Secret(answer) }
            .encode(out);
    });
    conversation.run(SECOND_NS);
    conversation
}

#[test]
fn a_right_answer_to_a_challenge_gets_what_was_asked_for_under_the_new_correlation_id() {
    let conversation = challenged(b"answer");
    let ConsensusMessage::BackupResponse(response) =
        ConsensusMessage::decode(&conversation.answers[1]).unwrap()
    else {
        panic!("no response")
    };
    assert_eq!(response.correlation_id, 8);
    assert_eq!((conversation.answers.len(), conversation.ended_count), (2, 1));
}

#[test]
fn a_wrong_answer_to_a_challenge_is_rejected() {
    let mut conversation = challenged(b"guess");
    let ConsensusMessage::SessionEvent(event) = ConsensusMessage::decode(&conversation.answers[1]).unwrap()
    else {
        panic!("not refused")
    };
    assert_eq!((event.code, event.correlation_id), (EventCode::AuthenticationRejected, 8));
    assert!(conversation.server.poll_refused().is_some());
    assert_eq!(conversation.server.counters().refused, 1);
}

#[test]
fn an_answer_to_no_challenge_is_ignored() {
    let mut conversation = Conversation::new();
    conversation.send(|out| {
        ChallengeResponse { correlation_id: 8, cluster_session_id: 1, encoded_credentials: Secret(b"") }
            .encode(out);
    });
    conversation.run(SECOND_NS);
    assert_eq!((conversation.answers.len(), conversation.server.counters().ignored), (0, 1));
}

#[test]
fn requests_beyond_the_limit_are_dropped_and_room_comes_back() {
    let mut conversation = Conversation::new();
    conversation.server.on_standing(Arc::new(Standing { last_term: None, ..standing() }));
    for correlation_id in 0..10 {
        conversation.query(correlation_id, ANY_LOG_POSITION, b"");
    }
    conversation.run(SECOND_NS);
    assert_eq!(conversation.server.counters().over_limit, 6);
    conversation.server.on_standing(Arc::new(standing()));
    conversation.run(10 * SECOND_NS);
    assert_eq!(conversation.answers.len(), 4);
    conversation.query(20, ANY_LOG_POSITION, b"");
    conversation.run(SECOND_NS);
    assert_eq!(conversation.answers.len(), 5);
}

#[test]
fn a_channel_that_cannot_be_answered_is_reported() {
    for response_channel in ["aeron:ipc", "nonsense", "aeron:udp?endpoint=name.that.does.not.resolve:9"] {
        let mut conversation = Conversation::new();
        conversation.send(|out| {
            HeartbeatRequest {
                correlation_id: 9,
                response_stream_id: STREAM_ID,
                response_channel,
                encoded_credentials: Secret(b""),
            }
            .encode(out);
        });
        conversation.run(SECOND_NS);
        let report = conversation.server.poll_refused().expect("a report");
        assert!(report.reason.starts_with("HeartbeatRequest: "), "{report:?}");
        assert_eq!(conversation.server.counters().refused, 1);
    }
}

#[test]
fn what_is_for_members_or_for_nobody_is_counted() {
    let mut conversation = Conversation::new();
    let header = |template_id: u16, schema_id: u16| {
        [0, template_id, schema_id, CLUSTER_SCHEMA.version].map(u16::to_le_bytes).concat()
    };
    conversation.send(|out| out.extend(header(55, CLUSTER_SCHEMA.id)));
    conversation.send(|out| out.extend(header(77, CLUSTER_SCHEMA.id)));
    conversation.send(|out| out.extend(b"short"));
    conversation.run(SECOND_NS);
    let counters = conversation.server.counters();
    assert_eq!((counters.ignored, counters.invalid, counters.requests), (1, 2, 0));
}
