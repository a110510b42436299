//! The archive server as its clients see it, over a network that loses nothing. Both sides are ours here; the
//! interop tests of `standby-node` have real ones.

#[path = "serving/client.rs"]
mod client;
#[path = "transport/network.rs"]
#[allow(dead_code, reason = "nothing is lost here")]
mod network;
#[path = "serving/rig.rs"]
mod rig;
#[path = "transport/rng.rs"]
#[allow(dead_code, reason = "shared with simulations")]
mod rng;
#[path = "serving/store.rs"]
mod store;

use client::{REPLAY_STREAM_ID, without_session_and_stream};
use consensus_tap::archive::server::ArchiveServerConfig;
use consensus_tap::authentication::{AcceptAll, SharedSecrets};
use consensus_tap::codec::archive_control::{
    ArchiveIdRequest, ArchiveResponse, BoundedReplayRequest, ChallengeResponse, CloseSessionRequest,
    ConnectRequest, ControlResponseCode as Code, FindLastMatchingRecordingRequest, KeepAliveRequest,
    ListRecordingRequest, ListRecordingSubscriptionsRequest, ListRecordingsForUriRequest,
    ListRecordingsRequest, MaxRecordedPositionRequest, NULL_VALUE, RecordingPositionRequest, ReplayRequest,
    ReplayTokenRequest, StartPositionRequest, StopAllReplaysRequest, StopPositionRequest, StopReplayRequest,
    replay_image_session_id,
};
use consensus_tap::codec::message::{Secret, SemanticVersion};
use consensus_tap::image::UnavailableReason;
use consensus_tap::publication::PublicationState;
use consensus_tap::serving::{AllowList, ConsensusServerConfig, Serving, ServingConfig};
use rig::{ARCHIVE_ID, LIMIT_COUNTER_ID, MS, Rig, SECOND, SUBSCRIPTION_COUNT, quiet_network};
use rng::Rng;
use store::{INITIAL_TERM_ID, MTU, MemoryStore, TERM_LENGTH, recorded_frames};

/// Where the recordings of [`store`] begin: in the middle of a term, not of a segment.
const START: i64 = 3 * TERM_LENGTH as i64 + 96;
/// A snapshot that was recorded whole.
const STOPPED: i64 = 3;
/// The log, which goes on.
const LOG: i64 = 7;

fn store() -> MemoryStore {
    let mut rng = Rng::new(1);
    let mut store = MemoryStore::default();
    store.add(STOPPED, START, recorded_frames(&mut rng, START, 400_000), true);
    store.add(5, 0, Vec::new(), true);
    store.add(LOG, 0, recorded_frames(&mut rng, 0, 300_000), false);
    store.commit_position = store.end_position(LOG);
    store
}

fn replay(rig: &Rig, client: usize, control_session_id: i64, recording_id: i64) -> ReplayRequest<'static> {
    let channel = format!("aeron:udp?endpoint={}", rig.clients[client].address);
    ReplayRequest {
        control_session_id,
        correlation_id: 50,
        recording_id,
        position: NULL_VALUE,
        length: NULL_VALUE,
        replay_stream_id: REPLAY_STREAM_ID,
        file_io_max_length: -1,
        replay_token: NULL_VALUE,
        replay_channel: channel.leak(),
    }
}

/// Asks for a replay that is granted, and returns its image's session id.
fn start(rig: &mut Rig, client: usize, request: ReplayRequest<'_>) -> i32 {
    rig.clients[client].send(|out| request.encode(out));
    let (code, replay_session_id, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Ok, "{text}");
    replay_image_session_id(replay_session_id)
}

/// Asks for something that is refused, and returns the error's code and words.
fn refused(rig: &mut Rig, client: usize, request: ReplayRequest<'_>) -> (i64, String) {
    rig.clients[client].send(|out| request.encode(out));
    let (code, relevant_id, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Error, "{relevant_id}");
    (relevant_id, text)
}

fn await_replay(rig: &mut Rig, client: usize, session_id: i32, length: usize) {
    rig.run_until("the replay's bytes", |rig| {
        let replay = rig.clients[client].received.replays.get(&session_id);
        replay.is_some_and(|replay| replay.bytes.len() >= length)
    });
}

fn ended(rig: &Rig, client: usize, session_id: i32) -> Option<UnavailableReason> {
    rig.clients[client].received.replays.get(&session_id).and_then(|replay| replay.ended)
}

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
fn recordings_are_listed_in_all_the_ways_there_are() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let list = |from_recording_id, record_count, correlation_id| ListRecordingsRequest {
        control_session_id,
        correlation_id,
        from_recording_id,
        record_count,
    };
    rig.clients[client].send(|out| list(0, 2, 10).encode(out));
    rig.clients[client].send(|out| list(4, 9, 11).encode(out));
    rig.clients[client].send(|out| list(8, 1, 12).encode(out));
    assert_eq!(rig.answer(client, 11), (Code::RecordingUnknown, 8, String::new()));
    assert_eq!(rig.answer(client, 12), (Code::RecordingUnknown, 8, String::new()));
    assert_eq!((rig.clients[client].listed(10), rig.clients[client].listed(11)), (vec![3, 5], vec![5, 7]));
    assert!(rig.clients[client].answers(10).is_empty(), "a full listing ends with its last descriptor");

    for (stream_id, channel, expected) in
        [(100, "number-", vec![3, 5, 7]), (100, "number-5", vec![5]), (101, "", vec![]), (100, "x", vec![])]
    {
        rig.clients[client].received.messages.clear();
        rig.clients[client].send(|out| {
            ListRecordingsForUriRequest {
                control_session_id,
                correlation_id: 13,
                from_recording_id: 0,
                record_count: 10,
                stream_id,
                channel,
            }
            .encode(out);
        });
        assert_eq!(rig.answer(client, 13).0, Code::RecordingUnknown);
        assert_eq!(rig.clients[client].listed(13), expected, "{stream_id} {channel}");
    }
    for recording_id in [STOPPED, 4] {
        rig.clients[client].send(|out| {
            ListRecordingRequest { control_session_id, correlation_id: recording_id + 100, recording_id }
                .encode(out);
        });
    }
    assert_eq!(rig.answer(client, 104), (Code::RecordingUnknown, 4, String::new()));
    assert_eq!(rig.clients[client].listed(103), [STOPPED]);
    rig.clients[client].send(|out| {
        ListRecordingSubscriptionsRequest {
            control_session_id,
            correlation_id: 20,
            pseudo_index: 0,
            subscription_count: 5,
            apply_stream_id: 0,
            stream_id: 0,
            channel: "",
        }
        .encode(out);
    });
    assert_eq!(rig.answer(client, 20).0, Code::SubscriptionUnknown);
}

#[test]
fn a_descriptor_is_as_long_as_the_catalogs_record() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    rig.clients[client].send(|out| {
        ListRecordingRequest { control_session_id, correlation_id: 2, recording_id: LOG }.encode(out);
    });
    rig.run_until("the descriptor", |rig| !rig.clients[client].listed(2).is_empty());
    let messages = rig.clients[client].received.messages.iter();
    let is_descriptor =
        |message: &&Vec<u8>| matches!(ArchiveResponse::decode(message), Ok(ArchiveResponse::Descriptor(_)));
    let message = messages.rev().find(is_descriptor).expect("it came");
    // 80 bytes of block, three strings with their lengths; the catalog pads them and its header to 64 bytes.
    let strings =
        "aeron:udp?endpoint=a:1".len() + "aeron:udp?endpoint=a:1|alias=number-7".len() + "b:2".len();
    assert_eq!(message.len(), 8 + (32 + 80 + 12 + strings).next_multiple_of(64) - 32);
}

#[test]
fn a_listing_longer_than_the_client_takes_at_once_is_whole_and_alone() {
    let mut store = store();
    (10..500).for_each(|id| store.add(id, 0, Vec::new(), true));
    let mut rig = Rig::new(store);
    let (client, control_session_id) = rig.connect();
    for correlation_id in [30, 31] {
        rig.clients[client].send(|out| {
            ListRecordingsRequest {
                control_session_id,
                correlation_id,
                from_recording_id: 0,
                record_count: 1_000,
            }
            .encode(out);
        });
    }
    assert_eq!(rig.answer(client, 31).1, 1, "one listing at a time");
    assert_eq!(rig.answer(client, 30), (Code::RecordingUnknown, 500, String::new()));
    assert_eq!(rig.clients[client].listed(30).len(), 493);
}

#[test]
fn positions_are_those_of_the_recording_stopped_or_not() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let (stop, live) = (rig.store.end_position(STOPPED), rig.store.end_position(LOG));
    for (recording_id, expected) in [(STOPPED, [START, stop, -1, stop]), (LOG, [0, -1, live, live])] {
        let id = recording_id * 100;
        let to = &mut rig.clients[client];
        let correlation_id = id + 1;
        to.send(|out| StartPositionRequest { control_session_id, correlation_id, recording_id }.encode(out));
        let correlation_id = id + 2;
        to.send(|out| StopPositionRequest { control_session_id, correlation_id, recording_id }.encode(out));
        let correlation_id = id + 3;
        to.send(|out| {
            RecordingPositionRequest { control_session_id, correlation_id, recording_id }.encode(out)
        });
        let correlation_id = id + 4;
        to.send(|out| {
            MaxRecordedPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        });
        let answers = [1, 2, 3, 4].map(|offset| rig.answer(client, id + offset));
        assert!(answers.iter().all(|answer| answer.0 == Code::Ok));
        assert_eq!(answers.map(|answer| answer.1), expected, "recording {recording_id}");
    }
    rig.clients[client].send(|out| {
        StopPositionRequest { control_session_id, correlation_id: 5, recording_id: 99 }.encode(out);
    });
    assert_eq!(rig.answer(client, 5), (Code::Error, 5, "unknown recording id: 99".to_owned()));
}

#[test]
fn the_last_matching_recording_is_found() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    for (correlation_id, min_recording_id, session_id, channel, expected) in [
        (1_000, 0, 900, "alias=number-", 7),
        (1_001, 0, 900, "number-3", 3),
        (1_002, 4, 900, "number-3", -1),
        (1_003, 0, 901, "", -1),
    ] {
        rig.clients[client].send(|out| {
            FindLastMatchingRecordingRequest {
                control_session_id,
                correlation_id,
                min_recording_id,
                session_id,
                stream_id: 100,
                channel,
            }
            .encode(out);
        });
        assert_eq!(rig.answer(client, correlation_id), (Code::Ok, expected, String::new()));
    }
}

#[test]
fn a_stopped_recording_is_replayed_byte_for_byte_and_ends_with_its_stream() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let request = replay(&rig, client, control_session_id, STOPPED);
    let channel = format!("{}|session-id=-77", request.replay_channel);
    let session_id = start(&mut rig, client, ReplayRequest { replay_channel: &channel, ..request });
    assert_eq!(session_id, -77);
    rig.run_until("the end", |rig| ended(rig, client, session_id).is_some());
    let replay = &rig.clients[client].received.replays[&session_id];
    assert_eq!((replay.join_position, replay.initial_term_id, replay.mtu), (START, INITIAL_TERM_ID, MTU));
    let recorded = rig.store.bytes(STOPPED, START);
    assert!(without_session_and_stream(&replay.bytes) == without_session_and_stream(&recorded));
    assert_eq!(replay.ended, Some(UnavailableReason::EndOfStream));
    rig.run_for(SECOND);
    assert_eq!(rig.serving.archive().replay_count(), 0);
    assert_eq!(rig.serving.archive().stats().replayed_bytes, recorded.len() as u64);
}

#[test]
fn the_log_is_followed_while_it_grows_until_the_replay_is_stopped() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let request = replay(&rig, client, control_session_id, LOG);
    let session_id = start(&mut rig, client, request);
    let mut rng = Rng::new(2);
    for _ in 0..40 {
        let frames = recorded_frames(&mut rng, rig.store.end_position(LOG), 20_000);
        rig.store.append(LOG, &frames);
        rig.run_for(10 * MS);
    }
    let recorded = rig.store.bytes(LOG, 0);
    await_replay(&mut rig, client, session_id, recorded.len());
    let replay = &rig.clients[client].received.replays[&session_id];
    assert!(without_session_and_stream(&replay.bytes) == without_session_and_stream(&recorded));
    assert_eq!(rig.serving.archive().lowest_replay_position(LOG), Some(recorded.len() as i64));
    assert_eq!(rig.serving.archive().lowest_replay_position(STOPPED), None);

    let replay_session_id = rig.clients[client].answers(50)[0].1;
    rig.clients[client].send(|out| {
        StopReplayRequest { control_session_id, correlation_id: 51, replay_session_id }.encode(out);
    });
    assert_eq!(rig.answer(client, 51).0, Code::Ok);
    rig.run_for(SECOND);
    assert_eq!(ended(&rig, client, session_id), Some(UnavailableReason::Revoked), "aborted, not complete");
    rig.clients[client].send(|out| {
        StopReplayRequest { control_session_id, correlation_id: 52, replay_session_id }.encode(out);
    });
    assert_eq!(rig.answer(client, 52).0, Code::Ok, "one that is not there is stopped already");
}

#[test]
fn a_bounded_replay_never_passes_the_commit_position() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    // It lies within a frame, of which no part is sent.
    let bound = 64_000;
    rig.store.commit_position = bound;
    let plain = replay(&rig, client, control_session_id, LOG);
    let bounded = |limit_counter_id, position| BoundedReplayRequest {
        control_session_id,
        correlation_id: 60 + i64::from(limit_counter_id) + position,
        recording_id: LOG,
        position,
        length: NULL_VALUE,
        limit_counter_id,
        replay_stream_id: REPLAY_STREAM_ID,
        file_io_max_length: -1,
        replay_token: NULL_VALUE,
        replay_channel: plain.replay_channel,
    };
    let request = bounded(LIMIT_COUNTER_ID, 0);
    rig.clients[client].send(|out| request.encode(out));
    let (code, replay_session_id, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Ok, "{text}");
    let session_id = replay_image_session_id(replay_session_id);
    rig.run_for(SECOND);
    let length = rig.clients[client].received.replays[&session_id].bytes.len() as i64;
    assert!(length <= bound && length > bound - i64::from(MTU), "{length} of {bound}");
    rig.store.commit_position = rig.store.end_position(LOG) + 4_096;
    let recorded = rig.store.bytes(LOG, 0);
    await_replay(&mut rig, client, session_id, recorded.len());

    rig.store.commit_position = 4_096;
    let request = bounded(LIMIT_COUNTER_ID, 8_192);
    rig.clients[client].send(|out| request.encode(out));
    let text =
        "requested replay start position=8192 must be less than the limit position=4096 for recording 7";
    assert_eq!(rig.answer(client, request.correlation_id), (Code::Error, 16, text.to_owned()));
    let request = bounded(3, 0);
    rig.clients[client].send(|out| request.encode(out));
    let (_, relevant_id, text) = rig.answer(client, request.correlation_id);
    assert!(relevant_id == 0 && text.starts_with("unable to create replay limit counter id= 3"), "{text}");
    assert!(text.ends_with("id=61, can bound a replay"), "{text}");
}

#[test]
fn a_replay_that_cannot_be_is_refused_with_its_reason() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let stop = rig.store.end_position(STOPPED);
    let live = rig.store.end_position(LOG);
    // A frame begins 32 bytes behind this one's start at the earliest.
    let inside = {
        let bytes = rig.store.bytes(STOPPED, START);
        let first = i32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        assert!(first > 32, "the first frame is longer than one step");
        START + 32
    };
    let base = replay(&rig, client, control_session_id, STOPPED);
    let mut correlation_id = 100;
    let mut expect = |rig: &mut Rig, request: ReplayRequest<'_>, code, words: String| {
        correlation_id += 1;
        let (found, text) = refused(rig, client, ReplayRequest { correlation_id, ..request });
        assert_eq!((found, text.as_str()), (code, words.as_str()));
    };
    let request = ReplayRequest { recording_id: 4, ..base };
    expect(&mut rig, request, 5, "unknown recording id: 4".to_owned());
    let request = ReplayRequest { position: START + 33, ..base };
    let words = format!(
        "requested replay start position={} is not a multiple of FRAME_ALIGNMENT (32) for recording 3",
        START + 33
    );
    expect(&mut rig, request, 0, words);
    let words = format!(
        "requested replay start position={} is less than recording start position={START} for recording 3",
        START - 32
    );
    expect(&mut rig, ReplayRequest { position: START - 32, ..base }, 16, words);
    let words = format!(
        "requested replay start position={stop} must be less than the limit position={stop} for recording 3"
    );
    expect(&mut rig, ReplayRequest { position: stop, ..base }, 16, words);
    let words = format!(
        "requested replay start position={} must be less than the limit position={live} for recording 7",
        live + 32
    );
    expect(&mut rig, ReplayRequest { position: live + 32, recording_id: LOG, ..base }, 16, words);
    let words = format!("replayPosition={inside} does not point to a valid frame, recordingId=3");
    expect(&mut rig, ReplayRequest { position: inside, ..base }, 16, words);
    let words = "fileIoMaxLength=64 < mtuLength=1408".to_owned();
    expect(&mut rig, ReplayRequest { file_io_max_length: 64, ..base }, 0, words);
    let words = "When replaying and stopping the replay length must be non-zero, recordingId=5".to_owned();
    expect(&mut rig, ReplayRequest { recording_id: 5, length: -2, ..base }, 15, words);
    let words = format!(
        "replay length must be positive: replayLength=-7, length=-7, stopPosition={stop}, \
         replayPosition={START} for recording 3"
    );
    expect(&mut rig, ReplayRequest { length: -7, ..base }, 0, words);
    let words = "failed to process replayChannel - channel `aeron:udp` has no `endpoint`; expected \
                 `endpoint=host:port`"
        .to_owned();
    expect(&mut rig, ReplayRequest { replay_channel: "aeron:udp", ..base }, 0, words);
    let words =
        "failed to process replayChannel - nowhere.example:5 does not resolve to an address that this \
                 archive can send to"
            .to_owned();
    expect(
        &mut rig,
        ReplayRequest { replay_channel: "aeron:udp?endpoint=nowhere.example:5", ..base },
        0,
        words,
    );
    assert_eq!(rig.serving.archive().replay_count(), 0);
}

#[test]
fn a_part_of_a_recording_ends_with_the_frame_that_reaches_its_length() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let request = ReplayRequest { length: 100_001, ..replay(&rig, client, control_session_id, STOPPED) };
    let session_id = start(&mut rig, client, request);
    rig.run_until("the end", |rig| ended(rig, client, session_id).is_some());
    let replay = &rig.clients[client].received.replays[&session_id];
    assert_eq!(replay.ended, Some(UnavailableReason::EndOfStream));
    let length = replay.bytes.len();
    assert!((100_001..100_001 + 2 * TERM_LENGTH as usize).contains(&length), "{length}");
    let recorded = rig.store.bytes(STOPPED, START);
    assert!(without_session_and_stream(&replay.bytes) == without_session_and_stream(&recorded[..length]));
    // Without its last frame it would have been too short.
    let mut at = 0;
    let mut last = 0;
    while at < length {
        last = at;
        let frame_length = i32::from_le_bytes(recorded[at..at + 4].try_into().expect("four bytes"));
        at += (frame_length as usize).next_multiple_of(32);
    }
    assert!(last < 100_001);
}

#[test]
fn nothing_is_sent_to_a_receiver_that_does_not_answer_and_the_client_hears_of_it() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let request = ReplayRequest {
        replay_channel: "aeron:udp?endpoint=10.0.9.9:1",
        ..replay(&rig, client, control_session_id, STOPPED)
    };
    rig.clients[client].send(|out| request.encode(out));
    assert_eq!(rig.answer(client, 50).0, Code::Ok);
    let sent = rig.serving.transport_counters().data_bytes_sent;
    rig.run_until("the error", |rig| rig.clients[client].answers(50).len() == 2);
    let (code, relevant_id, text) = rig.clients[client].answers(50).remove(1);
    assert_eq!((code, relevant_id), (Code::Error, 0));
    assert!(
        text.starts_with("no connection established for replayChannel=aeron:udp?endpoint=10.0.9.9:1"),
        "{text}"
    );
    let responses = rig.serving.transport_counters().data_bytes_sent - sent;
    assert!(responses < 2_000, "pings and the error: {responses}");
    assert_eq!(rig.serving.archive().replay_count(), 0);
}

#[test]
fn a_replay_of_damaged_bytes_is_aborted_with_an_error() {
    let mut store = store();
    let mut bytes = store.bytes(STOPPED, START);
    let damaged = bytes.len();
    bytes.extend_from_slice(&[0; 64]);
    store.add(8, START, bytes, true);
    let mut rig = Rig::new(store);
    let (client, control_session_id) = rig.connect();
    let request = replay(&rig, client, control_session_id, 8);
    let session_id = start(&mut rig, client, request);
    rig.run_until("the end", |rig| ended(rig, client, session_id).is_some());
    assert_eq!(ended(&rig, client, session_id), Some(UnavailableReason::Revoked));
    rig.run_until("the error", |rig| rig.clients[client].answers(50).len() == 2);
    let text = rig.clients[client].answers(50).remove(1).2;
    let words = format!("unexpected end of recording at position={}", START + damaged as i64);
    assert!(text.starts_with(&words), "{text}");
}

#[test]
fn replays_have_a_limit_and_all_can_be_stopped_at_once() {
    let config = ArchiveServerConfig { replay_count_max: 2, ..ArchiveServerConfig::default() };
    let mut rig = Rig::with(store(), config, Box::new(AcceptAll), quiet_network());
    let (client, control_session_id) = rig.connect();
    let base = replay(&rig, client, control_session_id, LOG);
    let sessions =
        [50, 51].map(|correlation_id| start(&mut rig, client, ReplayRequest { correlation_id, ..base }));
    let (code, text) = refused(&mut rig, client, ReplayRequest { correlation_id: 52, ..base });
    assert_eq!((code, text.as_str()), (7, "max concurrent replays reached 2"));
    for (correlation_id, recording_id, left) in [(60, STOPPED, 2), (61, LOG, 0)] {
        rig.clients[client].send(|out| {
            StopAllReplaysRequest { control_session_id, correlation_id, recording_id }.encode(out);
        });
        assert_eq!(rig.answer(client, correlation_id).0, Code::Ok);
        assert_eq!(rig.serving.archive().replay_count(), left);
    }
    rig.run_for(SECOND);
    assert!(sessions.iter().all(|id| ended(&rig, client, *id) == Some(UnavailableReason::Revoked)));
}

#[test]
fn a_replay_that_waits_for_an_address_is_answered_though_all_are_stopped_and_the_address_never_comes() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    rig.is_deaf = true;
    let request = replay(&rig, client, control_session_id, LOG);
    rig.clients[client].send(|out| request.encode(out));
    rig.clients[client].send(|out| {
        StopAllReplaysRequest { control_session_id, correlation_id: 60, recording_id: -1 }.encode(out);
    });
    assert_eq!(rig.answer(client, 60).0, Code::Ok);
    assert_eq!(rig.serving.archive().replay_count(), 1);
    let (code, _, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Error);
    assert!(
        text.starts_with("no address found in time for replayChannel=aeron:udp?endpoint=10.0.1.1:7000"),
        "{text}"
    );
    assert_eq!(rig.serving.archive().replay_count(), 0);
}

#[test]
fn a_session_id_that_is_taken_is_refused() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let base = replay(&rig, client, control_session_id, LOG);
    let channel = format!("{}|session-id=4", base.replay_channel);
    let base = ReplayRequest { replay_channel: &channel, ..base };
    start(&mut rig, client, base);
    let (code, text) = refused(&mut rig, client, ReplayRequest { correlation_id: 51, ..base });
    assert_eq!(code, 0);
    assert!(text.ends_with("existing publication has clashing sessionId=4"), "{text}");
}

#[test]
fn a_receiver_that_goes_away_ends_its_replay() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let (receiver, _) = rig.connect();
    let request = ReplayRequest {
        replay_channel: replay(&rig, receiver, 0, LOG).replay_channel,
        ..replay(&rig, client, control_session_id, LOG)
    };
    start(&mut rig, client, request);
    rig.run_for(SECOND);
    assert_eq!(rig.serving.archive().replay_count(), 1);
    rig.clients.truncate(receiver);
    rig.run_for(20 * SECOND);
    assert_eq!(rig.serving.archive().replay_count(), 0);
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
