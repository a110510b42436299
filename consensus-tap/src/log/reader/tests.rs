use super::*;
use crate::codec::log::{
    ClusterAction, ClusterActionRequest, ClusterTimeUnit, EventError, SessionMessage, TimerEvent,
};
use crate::log::test_frames::Recording;
use crate::wire::data::{BEGIN, END, UNFRAGMENTED};
use crate::wire::{FrameType, Reject};
use proptest::prelude::*;

const TERM: i64 = 4;

fn encoded(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn session_message(payload: &[u8]) -> Vec<u8> {
    let message = SessionMessage { leadership_term_id: TERM, cluster_session_id: 1, timestamp: 9, payload };
    encoded(|out| message.encode(out))
}

fn timer(correlation_id: i64) -> Vec<u8> {
    let event = TimerEvent { leadership_term_id: TERM, correlation_id, timestamp: 9 };
    encoded(|out| event.encode(out))
}

fn new_term(base: i64, position: i64, leadership_term_id: i64) -> Vec<u8> {
    let event = NewLeadershipTermEvent {
        leadership_term_id,
        log_position: position,
        timestamp: 9,
        term_base_log_position: base,
        leader_member_id: 0,
        log_session_id: 7,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    encoded(|out| event.encode(out))
}

fn append_new_term(log: &mut Recording, leadership_term_id: i64) -> i64 {
    let at = log.position();
    log.message(&new_term(at, at + 96, leadership_term_id))
}

fn reader(log: &Recording, mid_message: MidMessage) -> LogReader {
    LogReader::new(LogStart {
        terms: log.terms,
        position: log.start,
        leadership_term_id: Some(TERM),
        mid_message,
    })
}

/// Reads all of a log that begins in term [`TERM`]; what was visited, and the error that ended it.
fn read(log: &Recording) -> (Vec<(String, i64)>, Option<LogError>) {
    let mut reader = reader(log, MidMessage::Reject);
    let mut visited = Vec::new();
    let result = reader.poll(&log.bytes, PollLimits::NONE, |event, position| {
        visited.push((name(event), position));
        ControlFlow::Continue(())
    });
    (visited, result.err())
}

fn name(event: &LogEvent<'_>) -> String {
    match event {
        LogEvent::SessionMessage(message) => format!("message {}", message.payload.len()),
        LogEvent::Timer(timer) => format!("timer {}", timer.correlation_id),
        LogEvent::ClusterAction(_) => "action".to_owned(),
        LogEvent::NewLeadershipTerm(term) => format!("term {}", term.leadership_term_id),
        other => format!("{other:?}"),
    }
}

fn fault(log: &Recording) -> (i64, LogFault) {
    let error = read(log).1.expect("the log is at fault");
    (error.position, error.fault)
}

#[test]
fn events_come_with_the_position_at_which_they_end() {
    let mut log = Recording::at(0);
    log.message(&session_message(&[1; 20]));
    log.fragmented(&session_message(&[2; 300]), 64);
    log.message(&timer(5));
    let expected = [("message 20".to_owned(), 96), ("message 300".to_owned(), 640), ("timer 5".into(), 704)];
    assert_eq!(read(&log), (expected.to_vec(), None));
}

#[test]
fn a_poll_ends_at_its_limits_and_where_the_visitor_breaks() {
    let mut log = Recording::at(0);
    for id in 0..10 {
        log.message(&timer(id));
    }
    let mut reader = reader(&log, MidMessage::Reject);
    let poll = |reader: &mut LogReader, limits, break_at| {
        let from = reader.position() as usize;
        reader.poll(&log.bytes[from..], limits, |event, _| match event {
            LogEvent::Timer(timer) if timer.correlation_id == break_at => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    };
    assert_eq!(poll(&mut reader, PollLimits { frame_count: 2, ..PollLimits::NONE }, -1), Ok(128));
    assert_eq!(poll(&mut reader, PollLimits { byte_count: 65, ..PollLimits::NONE }, -1), Ok(128));
    assert_eq!(poll(&mut reader, PollLimits::NONE, 5), Ok(128));
    assert_eq!((reader.position(), reader.applied_position()), (384, 384));
    assert_eq!(poll(&mut reader, PollLimits::NONE, -1), Ok(256));
    assert_eq!(reader.poll(&[], PollLimits::NONE, |_, _| ControlFlow::Continue(())), Ok(0));
}

#[test]
fn an_unfinished_message_stays_pending_and_unapplied_until_its_end_comes() {
    let mut log = Recording::at(0);
    log.message(&timer(1));
    let begin = log.position();
    log.fragmented(&session_message(&[2; 100]), 64);
    let end = log.position();

    let mut reader = reader(&log, MidMessage::Reject);
    let mut visited = 0;
    let mut count = |_: &LogEvent<'_>, _| {
        visited += 1;
        ControlFlow::Continue(())
    };
    let cut = end as usize - 64;
    reader.poll(&log.bytes[..cut], PollLimits::NONE, &mut count).unwrap();
    assert_eq!((reader.position(), reader.applied_position()), (cut as i64, begin));
    assert_eq!(reader.unfinished_since(), Some(begin));
    reader.poll(&log.bytes[cut..], PollLimits::NONE, &mut count).unwrap();
    assert_eq!((reader.position(), reader.applied_position()), (end, end));
    assert_eq!(reader.unfinished_since(), None);
    assert_eq!(visited, 2);
}

#[test]
fn padding_is_a_boundary() {
    let mut log = Recording::at(65_536 - 128);
    log.message(&timer(1));
    log.pad();
    let mut reader = reader(&log, MidMessage::Reject);
    reader.poll(&log.bytes, PollLimits::NONE, |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(reader.applied_position(), 65_536);
}

#[test]
fn a_new_leaders_first_event_cuts_off_what_the_old_leader_left_unfinished() {
    let mut log = Recording::at(0);
    log.fragment(BEGIN, &session_message(&[1; 32]));
    append_new_term(&mut log, TERM + 1);
    assert_eq!(read(&log), (vec![("term 5".to_owned(), 192)], None));
}

#[test]
fn a_new_leader_pads_a_term_that_its_first_event_does_not_fit_into() {
    let mut log = Recording::at(65_536 - 128);
    log.fragment(BEGIN, &session_message(&[]));
    let base = log.position();
    log.pad();
    log.message(&new_term(base, 65_536 + 96, TERM + 1));
    assert_eq!(read(&log), (vec![("term 5".to_owned(), 65_536 + 96)], None));
}

#[test]
fn no_other_message_may_cut_one_off() {
    for next in [&|log: &mut Recording| log.message(&timer(1)), &|log: &mut Recording| {
        log.pad();
        log.message(&timer(1))
    }] as [&dyn Fn(&mut Recording) -> i64; 2]
    {
        let mut log = Recording::at(0);
        log.fragment(BEGIN, &session_message(&[]));
        next(&mut log);
        let (visited, error) = read(&log);
        assert!(visited.is_empty());
        let unfinished = FrameFault::Unfinished { begin_position: 0 };
        assert_eq!(error.unwrap().fault, LogFault::Frame(unfinished));
    }

    let mut log = Recording::at(0);
    log.fragment(BEGIN, &session_message(&[]));
    log.fragment(BEGIN, &session_message(&[]));
    assert_eq!(fault(&log), (64, FrameFault::Unfinished { begin_position: 0 }.into()));

    let mut log = Recording::at(65_536 - 128);
    log.fragment(BEGIN, &session_message(&[]));
    log.pad();
    log.fragment(END, &[1]);
    let begin_position = 65_536 - 128;
    assert_eq!(fault(&log), (65_536, FrameFault::Unfinished { begin_position }.into()));
}

#[test]
fn a_log_that_begins_within_a_message_is_refused_or_skipped_as_asked() {
    let mut log = Recording::at(640);
    log.fragment(0, &[1; 40]);
    log.fragment(END, &[1; 40]);
    log.message(&timer(1));
    assert_eq!(fault(&log), (640, FrameFault::NotBegun.into()));

    let mut reader = reader(&log, MidMessage::Skip);
    let mut positions = Vec::new();
    let mut visit = |_: &LogEvent<'_>, position| {
        positions.push(position);
        ControlFlow::Continue(())
    };
    reader.poll(&log.bytes[..96], PollLimits::NONE, &mut visit).unwrap();
    assert_eq!((reader.position(), reader.applied_position()), (736, 640));
    reader.poll(&log.bytes[96..192], PollLimits::NONE, &mut visit).unwrap();
    assert_eq!((reader.position(), reader.applied_position()), (832, 832));
    reader.poll(&log.bytes[192..], PollLimits::NONE, &mut visit).unwrap();
    assert_eq!(positions, [896]);

    // Only at the start: later on a fragment without its beginning is a fault as ever.
    let mut rest = Recording::at(896);
    rest.fragment(0, &[1]);
    assert!(reader.poll(&rest.bytes, PollLimits::NONE, |_, _| ControlFlow::Continue(())).is_err());
}

#[test]
fn frames_that_are_not_where_they_say_are_refused() {
    let mut log = Recording::at(0);
    log.message(&timer(1));
    log.message(&timer(2));
    let whole = log.bytes.clone();

    log.bytes[64 + 8] = 32;
    let (position, LogFault::Frame(FrameFault::Misplaced { term_offset, found_term_offset, .. })) =
        fault(&log)
    else {
        panic!("{:?}", fault(&log))
    };
    assert_eq!((position, term_offset, found_term_offset), (64, 64, 32));

    log.bytes.clone_from(&whole);
    log.bytes[64 + 20] += 1;
    assert!(matches!(fault(&log), (64, LogFault::Frame(FrameFault::Misplaced { .. }))));

    log.bytes.clone_from(&whole);
    log.bytes[64..68].fill(0);
    assert_eq!(fault(&log), (64, FrameFault::Malformed(Reject::BadLength).into()));

    log.bytes.clone_from(&whole);
    log.bytes.truncate(100);
    assert!(matches!(fault(&log), (64, LogFault::Frame(FrameFault::Malformed(_)))));

    let mut log = Recording::at(65_536 - 64);
    log.frame(UNFRAGMENTED, FrameType::Data, &[0; 60]);
    assert_eq!(fault(&log), (65_536 - 64, FrameFault::BeyondTerm.into()));
}

#[test]
fn what_stands_before_the_fault_is_visited_and_what_stands_behind_never() {
    let mut log = Recording::at(0);
    log.message(&timer(1));
    log.message(&[0; 40]);
    log.message(&timer(2));
    let mut reader = reader(&log, MidMessage::Reject);
    let mut visited = 0;
    for _ in 0..2 {
        let error = reader
            .poll(&log.bytes, PollLimits::NONE, |_, _| {
                visited += 1;
                ControlFlow::Continue(())
            })
            .unwrap_err();
        assert_eq!(error.position, 64);
        assert!(matches!(error.fault, LogFault::Event(EventError::Malformed(_))), "{error}");
    }
    assert_eq!((visited, reader.applied_position()), (1, 64));
}

#[test]
fn a_term_must_begin_and_end_where_it_says_and_be_newer() {
    let log_of = |base, position, term| {
        let mut log = Recording::at(0);
        log.message(&timer(1));
        log.message(&new_term(base, position, term));
        log
    };
    assert!(read(&log_of(64, 160, TERM + 1)).1.is_none());
    assert_eq!(fault(&log_of(64, 192, TERM + 1)).1, LogFault::EventPosition { stated: 192, found: 160 });
    assert_eq!(fault(&log_of(0, 160, TERM + 1)).1, LogFault::TermBase { stated: 0, found: 64 });
    assert_eq!(fault(&log_of(64, 160, TERM)).1, LogFault::TermOrder { current: TERM, found: TERM });
    assert_eq!(fault(&log_of(64, 160, TERM - 1)).1, LogFault::TermOrder { current: TERM, found: TERM - 1 });
}

#[test]
fn a_message_of_another_term_than_the_one_it_stands_in_is_refused() {
    let mut log = Recording::at(0);
    append_new_term(&mut log, TERM + 2);
    log.message(&timer(1));
    assert_eq!(fault(&log), (96, LogFault::TermMismatch { current: TERM + 2, found: TERM }));
}

#[test]
fn an_action_must_end_where_it_says() {
    let mut log = Recording::at(0);
    let action = ClusterActionRequest {
        leadership_term_id: TERM,
        log_position: 64,
        timestamp: 9,
        action: ClusterAction::Suspend,
        flags: 0,
    };
    log.message(&encoded(|out| action.encode(out)));
    assert_eq!(fault(&log), (0, LogFault::EventPosition { stated: 64, found: 96 }));
}

#[test]
fn an_error_says_where_and_what_was_expected() {
    let error = LogError { position: 96, fault: LogFault::TermOrder { current: 5, found: 4 } };
    let text = error.to_string();
    let expected = "from position 96: leadership term 4 begins, but term 5 has begun before it; compare";
    assert!(text.contains(expected) && text.contains("`reseed`"), "{text}");
}

proptest! {
    #[test]
    fn any_cut_of_a_log_into_runs_and_polls_visits_the_same(
        lengths in proptest::collection::vec(0usize..400, 1..40),
        frame_count in 1usize..5,
        byte_count in 1usize..400,
    ) {
        let mut log = Recording::at(65_536 - 4096);
        for (index, &length) in lengths.iter().enumerate() {
            let left = log.terms.term_end(log.position()) - log.position();
            if left < 2048 && index % 2 == 0 && left < 65_536 {
                log.pad();
            }
            log.fragmented(&session_message(&vec![index as u8; length]), 128);
        }
        let (whole, error) = read(&log);
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(whole.len(), lengths.len());

        let mut reader = reader(&log, MidMessage::Reject);
        let mut visited = Vec::new();
        while reader.position() < log.position() {
            let from = (reader.position() - log.start) as usize;
            let limits = PollLimits { frame_count, byte_count };
            reader.poll(&log.bytes[from..], limits, |event, position| {
                visited.push((name(event), position));
                ControlFlow::Continue(())
            }).unwrap();
        }
        prop_assert_eq!(visited, whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut log = Recording::at(0);
        log.bytes = bytes;
        let _ = read(&log);
    }

    #[test]
    fn a_log_with_flipped_bytes_never_panics(
        flips in proptest::collection::vec((0usize..1000, any::<u8>()), 1..8),
    ) {
        let mut log = Recording::at(0);
        append_new_term(&mut log, TERM + 1);
        log.fragmented(&session_message(&[1; 300]), 64);
        log.message(&timer(1));
        for (at, value) in flips {
            let at = at % log.bytes.len();
            log.bytes[at] ^= value;
        }
        let _ = read(&log);
    }
}
