//! From the first message to a session, or to a failure in words.

use super::*;

#[test]
fn connects_as_java_does() {
    let mut rig = Rig::new(Credentials::Simple(b"me".into()));
    assert_eq!(rig.client.poll_request(), None);
    rig.client.on_connected(rig.now_ns);
    let connect = AuthConnectRequest {
        correlation_id: SEED,
        response_stream_id: 20,
        version: SemanticVersion(68_608),
        response_channel: "aeron:udp?endpoint=localhost:8131|session-id=7",
        encoded_credentials: Secret(b"me"),
        client_info: "name=standby",
    };
    assert_eq!(
        ArchiveRequest::decode(rig.client.poll_request().unwrap()),
        Ok(ArchiveRequest::AuthConnect(connect))
    );
    // A refused offer is made again.
    assert!(rig.client.poll_request().is_some());
    rig.client.request_sent();
    assert_eq!(rig.client.poll_request(), None);

    rig.ok(SEED, SESSION);
    let archive_id = ArchiveIdRequest { control_session_id: SESSION, correlation_id: SEED + 1 };
    assert_eq!(
        ArchiveRequest::decode(rig.client.poll_request().unwrap()),
        Ok(ArchiveRequest::ArchiveId(archive_id))
    );
    rig.client.request_sent();
    assert!(!rig.client.is_connected());
    assert_eq!(rig.client.list_recording(1, 5), Err(RequestRefused::NotConnected));

    rig.ok(SEED + 1, 99);
    let keep_alive = KeepAliveRequest { control_session_id: SESSION, correlation_id: -1 };
    assert_eq!(
        ArchiveRequest::decode(rig.client.poll_request().unwrap()),
        Ok(ArchiveRequest::KeepAlive(keep_alive))
    );
    assert_eq!(rig.events(), [ArchiveEvent::Connected { archive_id: Some(99) }]);
    assert!(rig.client.is_connected());
}

#[test]
fn asks_an_old_archive_for_no_id() {
    let mut rig = Rig::new(Credentials::None);
    rig.client.on_connected(rig.now_ns);
    rig.sent_ids();
    let old = ControlResponse {
        version: SemanticVersion::new(1, 10, 0),
        ..response(SEED, ControlResponseCode::Ok, SESSION, "")
    };
    rig.hear(|out| old.encode(out));
    assert_eq!(rig.sent_ids(), [KeepAliveRequest::TEMPLATE_ID]);
    assert_eq!(rig.events(), [ArchiveEvent::Connected { archive_id: None }]);
}

#[test]
fn a_repeated_connect_response_is_no_news() {
    let mut rig = Rig::new(Credentials::None);
    rig.client.on_connected(rig.now_ns);
    rig.sent_ids();
    rig.ok(SEED, SESSION);
    rig.ok(SEED, SESSION);
    assert_eq!(rig.sent_ids(), [ArchiveIdRequest::TEMPLATE_ID]);
    rig.ok(SEED + 1, 99);
    rig.ok(SEED, SESSION);
    assert_eq!(rig.sent_ids(), [KeepAliveRequest::TEMPLATE_ID]);
    assert_eq!(rig.events(), [ArchiveEvent::Connected { archive_id: Some(99) }]);
    assert_eq!(rig.client.stats(), ArchiveClientStats::default());
}

#[test]
fn wrong_credentials_are_told_in_words_and_the_session_is_closed() {
    let mut rig = Rig::new(Credentials::Simple(b"nobody".into()));
    rig.client.on_connected(rig.now_ns);
    rig.sent_ids();
    rig.respond(SEED, ControlResponseCode::Error, 10, "authentication rejected");
    assert_eq!(rig.sent_ids(), [CloseSessionRequest::TEMPLATE_ID]);
    let failure = rig.failure();
    assert_eq!(
        failure,
        ArchiveFailure::Refused {
            code: ArchiveErrorCode::AuthenticationRejected,
            message: "authentication rejected".into()
        }
    );
    assert!(failure.to_string().contains("check `archive_credentials`"), "{failure}");
    assert!(rig.client.is_over());
    // The archive repeats itself; nothing more comes of it.
    rig.respond(SEED, ControlResponseCode::Error, 10, "authentication rejected");
    assert_eq!((rig.events(), rig.sent_ids()), (vec![], vec![]));
}

#[test]
fn a_refused_version_is_not_mistaken_for_an_error_code() {
    let mut rig = Rig::new(Credentials::None);
    rig.client.on_connected(rig.now_ns);
    rig.respond(SEED, ControlResponseCode::Error, SESSION, "invalid client version 1.12.0");
    let message = "invalid client version 1.12.0".into();
    assert_eq!(rig.failure(), ArchiveFailure::Refused { code: ArchiveErrorCode::Generic, message });
}

#[test]
fn a_challenge_is_answered_under_a_new_correlation_id() {
    let credentials = Credentials::ChallengeResponse { initial: b"me".into(), answer: b"open sesame".into() };
    let mut rig = Rig::new(credentials);
    rig.client.on_connected(rig.now_ns);
    rig.sent_ids();
    let challenge = Challenge {
        control_session_id: SESSION,
        correlation_id: SEED,
        version: ARCHIVE_PROTOCOL_VERSION,
        encoded_challenge: b"who?",
    };
    rig.hear(|out| challenge.encode(out));
    let answer = ChallengeResponse {
        control_session_id: SESSION,
        correlation_id: SEED + 1,
        encoded_credentials: Secret(b"open sesame"),
    };
    assert_eq!(
        ArchiveRequest::decode(rig.client.poll_request().unwrap()),
        Ok(ArchiveRequest::ChallengeResponse(answer))
    );
    rig.client.request_sent();
    // An answer to the request that was challenged opens nothing.
    rig.ok(SEED, SESSION);
    assert_eq!(rig.sent_ids(), []);
    rig.ok(SEED + 1, SESSION);
    assert_eq!(rig.sent_ids(), [ArchiveIdRequest::TEMPLATE_ID]);
    rig.ok(SEED + 2, 99);
    assert!(rig.client.is_connected());
}

#[test]
fn a_challenge_that_the_credentials_do_not_answer_fails_the_session() {
    for credentials in [Credentials::None, Credentials::Simple(b"me".into())] {
        let mut rig = Rig::new(credentials);
        rig.client.on_connected(rig.now_ns);
        rig.sent_ids();
        let challenge = Challenge {
            control_session_id: SESSION,
            correlation_id: SEED,
            version: ARCHIVE_PROTOCOL_VERSION,
            encoded_challenge: b"who?",
        };
        rig.hear(|out| challenge.encode(out));
        assert_eq!(rig.sent_ids(), [CloseSessionRequest::TEMPLATE_ID]);
        assert_eq!(rig.failure(), ArchiveFailure::Challenged);
    }
}

#[test]
fn an_archive_that_challenges_on_and_on_fills_no_queue() {
    let mut rig = Rig::new(Credentials::ChallengeResponse { initial: vec![], answer: vec![1] });
    rig.client.on_connected(rig.now_ns);
    for correlation_id in SEED..SEED + 100 {
        let challenge = Challenge {
            control_session_id: SESSION,
            correlation_id,
            version: ARCHIVE_PROTOCOL_VERSION,
            encoded_challenge: &[],
        };
        rig.hear(|out| challenge.encode(out));
    }
    assert_eq!(rig.sent_ids(), [ChallengeResponse::TEMPLATE_ID]);
}

#[test]
fn a_connect_timeout_tells_how_far_it_got() {
    let step = |prepare: fn(&mut Rig)| {
        let mut rig = Rig::new(Credentials::ChallengeResponse { initial: vec![], answer: vec![1] });
        rig.pass(0);
        prepare(&mut rig);
        rig.pass(TIMEOUT_NS - 1);
        assert_eq!(rig.events(), []);
        assert_eq!(rig.client.next_deadline_ns(), Some(rig.now_ns + 1));
        rig.pass(1);
        match rig.failure() {
            ArchiveFailure::ConnectTimeout { step } => step,
            other => panic!("expected a time-out, got {other:?}"),
        }
    };
    assert_eq!(step(|_| {}), ConnectStep::AwaitPublication);
    assert_eq!(step(|rig| rig.client.on_connected(rig.now_ns)), ConnectStep::Send);
    let connect = |rig: &mut Rig| {
        rig.client.on_connected(rig.now_ns);
        rig.sent_ids();
    };
    assert_eq!(step(connect), ConnectStep::AwaitConnectResponse);
    assert_eq!(
        step(|rig| {
            rig.client.on_connected(rig.now_ns);
            let challenge = Challenge {
                control_session_id: SESSION,
                correlation_id: SEED,
                version: ARCHIVE_PROTOCOL_VERSION,
                encoded_challenge: &[],
            };
            rig.hear(|out| challenge.encode(out));
            rig.sent_ids();
        }),
        ConnectStep::AwaitChallengeOutcome
    );
    assert_eq!(
        step(|rig| {
            rig.client.on_connected(rig.now_ns);
            rig.ok(SEED, SESSION);
            rig.sent_ids();
        }),
        ConnectStep::AwaitArchiveId
    );
}

#[test]
fn a_session_that_times_out_half_open_is_closed() {
    let mut rig = Rig::new(Credentials::None);
    rig.client.on_connected(rig.now_ns);
    rig.ok(SEED, SESSION);
    rig.sent_ids();
    rig.pass(TIMEOUT_NS);
    assert_eq!(rig.sent_ids(), [CloseSessionRequest::TEMPLATE_ID]);
}

#[test]
fn another_protocol_on_the_response_stream_fails_the_session() {
    let mut rig = Rig::connected();
    rig.client.on_message(&[8, 0, 80, 0, 111, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0], 5);
    assert_eq!(rig.failure(), ArchiveFailure::WrongSchema { found: 111 });
}
