//! Clients that come, are let in or turned away, and go.

use super::*;

#[test]
fn a_client_connects_and_its_ok_is_repeated_until_it_asks_for_something() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    rig.run_for(900 * MS);
    let count = rig.clients[client].answers(1).len();
    assert!((4..=6).contains(&count), "once every 200 ms: {count}");
    assert!(rig.clients[client].answers(1).iter().all(|answer| answer.1 == control_session_id));
    rig.clients[client].send(|out| ArchiveIdRequest { control_session_id, correlation_id: 2 }.encode(out));
    assert_eq!(rig.answer(client, 2), (Code::Ok, ARCHIVE_ID, String::new()));
    let count = rig.clients[client].answers(1).len();
    rig.run_for(3 * SECOND);
    assert_eq!(rig.clients[client].answers(1).len(), count);
    let pings = rig.clients[client].received.messages.iter();
    let pings =
        pings.filter(|message| matches!(ArchiveResponse::decode(message), Ok(ArchiveResponse::Ping(_))));
    assert!((3..=4).contains(&pings.count()), "one a second");
}

#[test]
fn a_client_of_old_connects_without_credentials() {
    let mut rig = Rig::new(store());
    let client = rig.add_client();
    let response_channel = rig.clients[client].response_channel();
    rig.clients[client].send(|out| {
        ConnectRequest {
            correlation_id: 9,
            response_stream_id: 20,
            version: SemanticVersion::new(1, 0, 0),
            response_channel: &response_channel,
        }
        .encode(out);
    });
    assert_eq!(rig.answer(client, 9).0, Code::Ok);
}

#[test]
fn a_client_of_another_major_version_is_told_so_until_it_leaves() {
    let mut rig = Rig::new(store());
    let client = rig.add_client();
    rig.clients[client].send_connect_of(1, b"", SemanticVersion::new(2, 0, 0));
    let (code, _, text) = rig.answer(client, 1);
    assert_eq!((code, text.as_str()), (Code::Error, "invalid client version 2.0.0, archive is 1.12.0"));
    rig.run_for(SECOND);
    assert!(rig.clients[client].answers(1).len() > 3);
    rig.run_for(5 * SECOND);
    assert_eq!(rig.serving.archive().session_count(), 0, "it had its time");
    assert_eq!(rig.clients[client].received.responses_ended, Some(UnavailableReason::Revoked));
}

#[test]
fn credentials_decide_and_a_challenge_is_answered_under_a_new_correlation_id() {
    let secrets = SharedSecrets {
        credentials: Some(b"user:password".to_vec()),
        challenge_answer: Some(b"answer".to_vec()),
    };
    let config = ArchiveServerConfig::default();
    let mut rig = Rig::with(store(), config, Box::new(secrets), quiet_network());
    let wrong = rig.add_client();
    rig.clients[wrong].send_connect(1, b"user:guess");
    assert_eq!(rig.answer(wrong, 1), (Code::Error, 10, "authentication rejected".to_owned()));

    for (answer, outcome) in [(&b"answer"[..], Code::Ok), (b"guess", Code::Error)] {
        let client = rig.add_client();
        rig.clients[client].send_connect(1, b"user:password");
        rig.run_until("a challenge", |rig| !rig.clients[client].received.messages.is_empty());
        let message = rig.clients[client].received.messages[0].clone();
        let Ok(ArchiveResponse::Challenge(challenge)) = ArchiveResponse::decode(&message) else {
            panic!("a challenge")
        };
        assert_eq!((challenge.correlation_id, challenge.encoded_challenge), (1, SharedSecrets::CHALLENGE));
        let control_session_id = challenge.control_session_id;
        // Who was not let in yet is not served.
        rig.clients[client]
            .send(|out| ArchiveIdRequest { control_session_id, correlation_id: 2 }.encode(out));
        rig.clients[client].send(|out| {
            ChallengeResponse { control_session_id, correlation_id: 3, encoded_credentials: Secret(answer) }
                .encode(out);
        });
        assert_eq!(rig.answer(client, 3).0, outcome);
        assert!(rig.clients[client].answers(2).is_empty());
    }
}

#[test]
fn a_client_whose_address_is_not_allowed_is_refused_and_reported() {
    let mut rig = Rig::new(store());
    let allow_list = AllowList::new(vec!["192.0.2.0/24".parse().expect("a network")]);
    let consensus = ConsensusServerConfig { allow_list, ..ConsensusServerConfig::default() };
    let config = ServingConfig { consensus, ..ServingConfig::default() };
    rig.serving = Serving::new(config, Box::new(AcceptAll), Box::new(AcceptAll), 7);
    let client = rig.add_client();
    rig.clients[client].send_connect(1, b"");
    rig.run_for(2 * SECOND);
    assert!(rig.clients[client].answers(1).is_empty());
    assert_eq!(rig.serving.archive().session_count(), 0);
    let report = rig.reports.first().expect("the operator is told");
    assert!(report.contains("serve_allow") && report.contains("10.0.1.1"), "{report}");
}

#[test]
fn sessions_have_a_limit_that_is_told() {
    let config = ArchiveServerConfig { session_count_max: 1, ..ArchiveServerConfig::default() };
    let mut rig = Rig::with(store(), config, Box::new(AcceptAll), quiet_network());
    let (first, control_session_id) = rig.connect();
    let second = rig.add_client();
    rig.clients[second].send_connect(1, b"");
    let (code, relevant_id, text) = rig.answer(second, 1);
    assert_eq!((code, relevant_id), (Code::Error, 0));
    assert_eq!(text, "max concurrent control sessions reached 1");
    rig.clients[first].send(|out| CloseSessionRequest { control_session_id }.encode(out));
    rig.run_for(6 * SECOND);
    rig.connect();
}

#[test]
fn a_session_ends_with_a_close_and_with_its_clients_streams() {
    let mut rig = Rig::new(store());
    let (closed, control_session_id) = rig.connect();
    rig.clients[closed].send(|out| CloseSessionRequest { control_session_id }.encode(out));
    rig.run_for(SECOND);
    assert_eq!(rig.clients[closed].received.responses_ended, Some(UnavailableReason::Revoked));
    let (gone, _) = rig.connect();
    let now_ns = rig.now_ns;
    let publication = rig.clients[gone].publication;
    rig.clients[gone].endpoint.close_publication(publication, now_ns);
    rig.run_for(2 * SECOND);
    assert_eq!(rig.clients[gone].received.responses_ended, Some(UnavailableReason::Revoked));
    let (silent, control_session_id) = rig.connect();
    rig.clients[silent].send(|out| KeepAliveRequest { control_session_id, correlation_id: -1 }.encode(out));
    rig.run_for(SECOND);
    assert_eq!(rig.serving.archive().session_count(), 1);
    rig.clients.clear();
    rig.run_for(20 * SECOND);
    assert_eq!(rig.serving.archive().session_count(), 0);
    assert_eq!(rig.serving.stream_count(), SUBSCRIPTION_COUNT, "only the subscriptions are left");
}

#[test]
fn a_request_counts_only_through_the_image_of_its_session() {
    let mut rig = Rig::new(store());
    let (_, control_session_id) = rig.connect();
    let (other, _) = rig.connect();
    rig.clients[other].send(|out| ArchiveIdRequest { control_session_id, correlation_id: 2 }.encode(out));
    rig.clients[other].send(|out| out.extend_from_slice(&[0, 0, 99, 0, 101, 0, 13, 0]));
    rig.clients[other].send(|out| out.extend_from_slice(b"noise"));
    rig.run_for(SECOND);
    let stats = rig.serving.archive().stats();
    assert_eq!((stats.unknown_session_count, stats.unknown_template_count, stats.malformed_count), (1, 1, 1));
    assert!(rig.clients.iter().all(|client| client.answers(2).is_empty()));
}

#[test]
fn an_unusable_response_channel_is_reported_and_its_client_turned_away() {
    let mut rig = Rig::new(store());
    rig.unknown_host = Some("10.0.1.1");
    let unknown = rig.add_client();
    rig.clients[unknown].send_connect(1, b"");
    rig.run_for(SECOND);
    assert!(rig.reports[0].contains("10.0.1.1:7000: it does not resolve"), "{:?}", rig.reports);
    let state = rig.clients[unknown].endpoint.publication_state(rig.clients[unknown].publication);
    assert_eq!(state, PublicationState::Disconnected, "its requests would go nowhere");
    assert_eq!(rig.serving.archive().session_count(), 0);
}

#[test]
fn what_would_change_the_archive_is_refused_in_words() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let templates = [4_u16, 5, 11, 13, 14, 50, 51, 53, 54, 55, 56, 57, 62, 63, 64, 65, 66, 104, 107];
    for (template_id, correlation_id) in templates.into_iter().zip(200_i64..) {
        rig.clients[client].send(|out| {
            for field in [16, template_id, 101, 13] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            out.extend_from_slice(&control_session_id.to_le_bytes());
            out.extend_from_slice(&correlation_id.to_le_bytes());
        });
        let (code, relevant_id, text) = rig.answer(client, correlation_id);
        assert_eq!((code, relevant_id), (Code::Error, 0));
        assert!(text.contains(" is not supported: this is the archive of a standby"), "{text}");
    }
    rig.clients[client].send(|out| {
        ReplayTokenRequest { control_session_id, correlation_id: 300, recording_id: LOG }.encode(out);
    });
    assert!(rig.answer(client, 300).2.contains("response channels are not supported"));
}

#[test]
fn a_server_that_closes_revokes_all_its_streams() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let request = replay(&rig, client, control_session_id, LOG);
    let session_id = start(&mut rig, client, request);
    rig.run_for(SECOND);
    let now_ns = rig.now_ns;
    rig.serving.close(now_ns);
    rig.run_for(SECOND);
    assert_eq!(ended(&rig, client, session_id), Some(UnavailableReason::Revoked));
    assert_eq!(rig.clients[client].received.responses_ended, Some(UnavailableReason::Revoked));
}
