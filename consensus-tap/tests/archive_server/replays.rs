//! Recordings that are sent, followed, bounded, and stopped.

use super::*;

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
