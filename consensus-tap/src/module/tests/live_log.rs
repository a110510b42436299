//! A log that a real member wrote, and the snapshot that it took.

use super::*;

/// The log of a live run against Java 1.51.0: one member, one service, which on the client's first message
/// offered one message and scheduled three timers, one of which fired.
#[test]
fn a_live_log_leads_to_the_members_own_snapshot() {
    let mut log = Recording::at(0);
    let mut put = |end: i64, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        assert_eq!(log.message(&bytes), end);
    };
    put(96, &|out| NewLeadershipTermEvent { log_position: 96, ..new_term(0) }.encode(out));
    put(256, &|out| SessionOpenEvent { leadership_term_id: 0, ..open(1) }.encode(out));
    let message = |cluster_session_id| SessionMessage {
        leadership_term_id: 0,
        cluster_session_id,
        timestamp: 1001,
        payload: &[1; 16],
    };
    put(352, &|out| message(1).encode(out));
    put(448, &|out| message(1).encode(out));
    put(544, &|out| message(service_session_id(0, 1)).encode(out));
    let timer = TimerEvent { leadership_term_id: 0, correlation_id: 5, timestamp: 1100 };
    put(608, &|out| timer.encode(out));
    for (end, flags) in [(704, 1), (800, 0)] {
        let request = ClusterActionRequest {
            leadership_term_id: 0,
            log_position: end,
            timestamp: 1200,
            action: ClusterAction::Snapshot,
            flags,
        };
        put(end, &|out| request.encode(out));
    }

    let mut reader = LogReader::new(LogStart {
        terms: log.terms,
        position: 0,
        leadership_term_id: None,
        mid_message: MidMessage::Reject,
    });
    let mut state = ConsensusModuleState::new(1, 1);
    let poll = reader.poll(&log.bytes, PollLimits::NONE, |event, position| {
        let position = LogPosition(position);
        state.on_event(event, position).unwrap();
        if position.0 == 352 {
            let emissions = [
                ServiceEmission::Offer(&[1; 16]),
                ServiceEmission::ScheduleTimer { correlation_id: 5, deadline: 1100 },
                ServiceEmission::ScheduleTimer { correlation_id: 6, deadline: 900_000 },
                ServiceEmission::ScheduleTimer { correlation_id: 7, deadline: 900_000 },
            ];
            for emission in emissions {
                state.on_emission(ServiceId(0), position, emission).unwrap();
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!((poll, reader.applied_position()), (Ok(800), 800));
    assert_eq!((state.log_position(), state.cluster_time()), (800, 1200));

    let mut snapshot = Recording::at(0);
    let mut begins = Vec::new();
    state.take_snapshot(&mut |message| {
        begins.push((snapshot.position(), u16::from_le_bytes([message[2], message[3]])));
        snapshot.message(message);
    });
    let expected = [(0, 100), (96, 105), (192, 103), (352, 104), (416, 104), (480, 107), (544, 100)];
    assert_eq!((begins, snapshot.position()), (expected.to_vec(), 640));
    let module = "1c0069006f00100002000000000000000200000000000080010000000000008000000000";
    assert_eq!(hex::encode(&snapshot.bytes[96 + 32..][..36]), module);
    assert_eq!(snapshot.bytes[192 + 32 + 24..][..8], 256i64.to_le_bytes());
    assert_eq!(snapshot.bytes[192 + 32 + 32..][..12], hex::decode("ffffffffffffffff00000080").unwrap()[..]);
}
