use super::*;

pub(super) fn busy_state() -> ConsensusModuleState {
    let mut feed = Feed::new(2);
    feed.open(1);
    feed.open(2);
    feed.emit(0, ServiceEmission::Offer(b"zero"));
    feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(2) });
    feed.schedule(9, 7000);
    feed.schedule(-4, 8000);
    feed.emit(1, ServiceEmission::Offer(&[1; 3000]));
    feed.emit(1, ServiceEmission::Offer(b"one"));
    feed.message(service_session_id(0, 1));
    feed.state
}

#[test]
fn a_snapshot_holds_the_messages_of_a_java_member_in_its_order() {
    let state = busy_state();
    let mut messages = Vec::new();
    state.take_snapshot(&mut |message| messages.push(message.to_vec()));
    let decoded: Vec<_> = messages.iter().map(|message| SnapshotMessage::decode(message).unwrap()).collect();

    let marker = |mark| {
        SnapshotMessage::Marker(SnapshotMarker {
            type_id: 1,
            log_position: 32 * 4,
            leadership_term_id: TERM,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        })
    };
    let session = |id, close_reason| {
        SnapshotMessage::ClusterSession(ClusterSession {
            cluster_session_id: id,
            correlation_id: id + 100,
            opened_log_position: 32 + 32 * id,
            time_of_last_activity: -1,
            close_reason,
            response_stream_id: 102,
            response_channel: CHANNEL,
        })
    };
    let counters = |service_id, next, log, pending_message_capacity| ServiceCounters {
        next_service_session_id: service_session_id(service_id, next),
        log_service_session_id: service_session_id(service_id, log),
        pending_message_capacity,
    };
    let tracker = |service_id: usize, counters| {
        SnapshotMessage::PendingMessageTracker(PendingMessageTracker {
            counters,
            service_id: service_id as i32,
        })
    };
    assert_eq!(decoded[0], marker(SnapshotMark::Begin));
    let module = ConsensusModule { next_session_id: 3, service_0: Some(counters(0, 2, 1, 0)) };
    assert_eq!(decoded[1], SnapshotMessage::ConsensusModule(module));
    assert_eq!(decoded[2], session(1, None));
    assert_eq!(decoded[3], session(2, Some(CloseReason::ServiceAction)));
    assert_eq!(decoded[4], SnapshotMessage::Timer(Timer { correlation_id: -4, deadline: 8000 }));
    assert_eq!(decoded[5], SnapshotMessage::Timer(Timer { correlation_id: 9, deadline: 7000 }));
    assert_eq!(decoded[6], tracker(0, counters(0, 2, 1, 0)));
    assert_eq!(decoded[7], tracker(1, counters(1, 3, 0, 3040 + 48)));
    let mut pending = Vec::new();
    SessionMessage {
        leadership_term_id: TERM,
        cluster_session_id: service_session_id(1, 2),
        timestamp: i64::MAX,
        payload: b"one",
    }
    .encode(&mut pending);
    assert_eq!(messages[9], pending);
    assert_eq!(decoded[10], marker(SnapshotMark::End));
    assert_eq!(decoded.len(), 11);
}

#[test]
fn a_state_loaded_from_its_snapshot_is_the_same() {
    let state = busy_state();
    let recording = recording_of(&state);
    let loaded = load(&recording, 2).unwrap();
    assert_eq!(loaded.diff(&state), Vec::<String>::new());
    assert_eq!(recording_of(&loaded).bytes, recording.bytes);
}

#[test]
fn a_snapshot_states_a_next_id_that_loads_though_the_service_missed_messages() {
    let mut feed = Feed::new(1);
    feed.message(service_session_id(0, 3));
    let loaded = load(&recording_of(&feed.state), 1).unwrap();
    assert_eq!(loaded.services()[0].next_service_session_id(), service_session_id(0, 4));
    assert_eq!(
        feed.state.diff(&loaded),
        ["service 0: messages in the log that it never offered is 3, theirs is 0"]
    );
}

#[test]
fn the_smallest_snapshot_has_the_length_that_java_writes() {
    assert_eq!(recording_of(&Feed::new(1).state).bytes.len(), 352);
    let without_services = Feed::new(0).state;
    let recording = recording_of(&without_services);
    assert_eq!(recording.bytes.len(), 352 - 64);
    assert!(load(&recording, 0).unwrap().diff(&without_services).is_empty());
}

/// A snapshot of one service with these counters and pending ids.
fn service_recording(next: i64, log: i64, capacity: i32, pending: &[i64]) -> Recording {
    let mut recording = Recording::at(0);
    let mut put = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        recording.message(&bytes);
    };
    let marker = SnapshotMarker {
        type_id: 1,
        log_position: 64,
        leadership_term_id: TERM,
        index: 0,
        mark: Some(SnapshotMark::Begin),
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    put(&|out| marker.encode(out));
    let counters = ServiceCounters {
        next_service_session_id: service_session_id(0, next),
        log_service_session_id: service_session_id(0, log),
        pending_message_capacity: capacity,
    };
    put(&|out| PendingMessageTracker { counters, service_id: 0 }.encode(out));
    for &count in pending {
        let cluster_session_id = service_session_id(0, count);
        let message =
            SessionMessage { leadership_term_id: 1, cluster_session_id, timestamp: 640, payload: b"x" };
        put(&|out| message.encode(out));
    }
    put(&|out| SnapshotMarker { mark: Some(SnapshotMark::End), ..marker }.encode(out));
    recording
}

#[test]
fn pending_messages_must_follow_the_log_one_by_one_up_to_the_next_id() {
    let fault = |next, pending: &[i64]| load(&service_recording(next, 4, 0, pending), 1).unwrap_err().fault;
    assert!(load(&service_recording(7, 4, 0, &[5, 6]), 1).is_ok());
    assert!(matches!(fault(7, &[5, 7]), SnapshotFault::PendingMessageOrder { service_id: 0, .. }));
    assert!(matches!(fault(8, &[5, 6]), SnapshotFault::PendingMessageCount { service_id: 0, .. }));
}

#[test]
fn a_pending_message_that_a_leader_had_appended_counts_as_not_appended() {
    let loaded = load(&service_recording(6, 4, 0, &[5]), 1).unwrap();
    let mut last = Vec::new();
    loaded.take_snapshot(&mut |message| {
        if let Ok(SnapshotMessage::PendingMessage(pending)) = SnapshotMessage::decode(message) {
            last = pending.message.to_vec();
        }
    });
    assert_eq!(last[24..32], i64::MAX.to_le_bytes());
}

#[test]
fn a_snapshot_of_more_services_or_of_an_impossible_ring_is_refused() {
    let recording = recording_of(&Feed::new(2).state);
    let fault = load(&recording, 1).unwrap_err().fault;
    assert_eq!(fault, SnapshotFault::UnknownService { service_id: 1, service_count: 1 });
    for capacity in [-1, i32::MIN + 1, (1 << 30) + 1] {
        let fault = load(&service_recording(5, 4, capacity, &[]), 1).unwrap_err().fault;
        assert!(matches!(fault, SnapshotFault::PendingMessageCapacity { .. }), "{fault}");
    }
}

#[test]
fn a_principal_is_taken_from_a_services_snapshot() {
    let mut loaded = load(&recording_of(&busy_state()), 2).unwrap();
    assert!(loaded.sessions().get(1).unwrap().encoded_principal.is_empty());
    assert!(loaded.set_principal(ClusterSessionId(1), b"me"));
    assert!(!loaded.set_principal(ClusterSessionId(9), b"me"));
    assert_eq!(loaded.sessions().get(1).unwrap().encoded_principal, b"me");
}

// Differences

#[test]
fn differences_are_named_and_long_lists_are_counted() {
    let ours = busy_state();
    let mut feed = Feed { state: busy_state(), timestamp: 1000 };
    feed.schedule(9, 7001);
    for id in 100..150 {
        feed.schedule(id, 1);
    }
    feed.emit(1, ServiceEmission::Offer(b"more"));
    feed.event(&close(1));
    let theirs = feed.state;
    let lines = ours.diff(&theirs);
    assert!(lines.contains(&"log_position is 128, theirs is 160".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"session 1 is missing from theirs".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"timer 9: deadline is 7000, theirs is 7001".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"timer 100 is missing from ours".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"31 more differences in timers".to_owned()), "{lines:#?}");
    let pending = format!("service 1: pending message {} is missing from ours", service_session_id(1, 3));
    assert!(lines.contains(&pending), "{lines:#?}");
}

#[test]
fn a_session_that_only_the_leader_knows_to_be_closing_is_no_difference() {
    let ours = busy_state();
    let closing = |reason| {
        let mut state = busy_state();
        state.sessions.get_mut(1).unwrap().state = SessionState::Closing(reason);
        state
    };
    assert!(ours.diff(&closing(CloseReason::Timeout)).is_empty());
    assert!(ours.diff(&closing(CloseReason::ClientAction)).is_empty());
    assert_eq!(ours.diff(&closing(CloseReason::ServiceAction)).len(), 1);
    assert_eq!(closing(CloseReason::Timeout).diff(&ours).len(), 1);
}
