//! Readers of recordings: the log, and both kinds of snapshots.

use std::ops::ControlFlow;

use consensus_tap::image::FragmentAssembler;
use consensus_tap::log::{
    LogReader, LogStart, MidMessage, PollLimits, SnapshotExpectation, SnapshotKind, SnapshotPart,
    SnapshotReader,
};
use consensus_tap::module::{ConsensusModuleState, load_snapshot};
use consensus_tap::wire::{StreamTerms, TermLength, frames};
use service_api::LogPosition;

/// What the seeds are recorded with.
pub const TERMS: StreamTerms = StreamTerms { initial_term_id: 0, term_length: TermLength::MIN };

/// A log, given whole and given frame by frame: both read the same, and the module takes what the reader passes.
pub fn log_reader(bytes: &[u8]) {
    for mid_message in [MidMessage::Reject, MidMessage::Skip] {
        let start = LogStart { terms: TERMS, position: 0, leadership_term_id: None, mid_message };
        let mut whole = Vec::new();
        let mut module = ConsensusModuleState::new(1, 1);
        let mut module_takes = true;
        let mut reader = LogReader::new(start);
        let result = reader.poll(bytes, PollLimits::NONE, |event, position| {
            assert!(position > 0);
            module_takes = module_takes && module.on_event(event, LogPosition(position)).is_ok();
            whole.push(position);
            ControlFlow::Continue(())
        });
        match &result {
            Ok(length) => assert_eq!(*length, bytes.len()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert!(reader.applied_position() <= reader.position());
        assert!(usize::try_from(reader.position()).expect("positions are not negative") <= bytes.len());

        let mut stepped = Vec::new();
        let mut reader = LogReader::new(start);
        let limits = PollLimits { frame_count: 1, ..PollLimits::NONE };
        let mut at = 0;
        let error = loop {
            match reader.poll(&bytes[at..], limits, |_, position| {
                stepped.push(position);
                ControlFlow::Continue(())
            }) {
                Ok(0) => break None,
                Ok(length) => at += length,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(whole, stepped);
        assert_eq!(result.err(), error);
        if let Some(error) = error {
            let again = reader.poll(&bytes[at..], limits, |_, _| panic!("a failed reader visits nothing"));
            assert_eq!(again, Err(error), "a reader that failed stays so");
        }
    }
}

/// A consensus module's snapshot: what loads is no more than what it was loaded from.
pub fn module_snapshot(bytes: &[u8]) {
    for service_count in [0, 1, 3] {
        match load_snapshot(bytes, TERMS, expectation(SnapshotKind::ConsensusModule), service_count) {
            Ok(state) => {
                let _ = state.next_session_id();
                assert!(state.sessions().iter().count() * 64 <= bytes.len());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A service's snapshot.
pub fn service_snapshot(bytes: &[u8]) {
    let mut reader = SnapshotReader::new(TERMS, expectation(SnapshotKind::Service));
    let mut application_length = 0;
    let result = reader.poll(bytes, PollLimits::NONE, |part| {
        if let SnapshotPart::Application(message) = part {
            application_length += message.len();
        }
        Ok(())
    });
    assert!(application_length <= bytes.len());
    match result.and(reader.finish()) {
        Ok(()) => assert!(reader.is_done()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Frames of one stream in any order. The first byte bounds a message, so that the bound is met.
pub fn fragment_assembler(bytes: &[u8]) {
    let Some((&bound, bytes)) = bytes.split_first() else { return };
    let message_length_max = usize::from(bound) * 64;
    let mut assembler = FragmentAssembler::new(message_length_max);
    let mut position = 0;
    let mut payload_length = 0;
    for frame in frames(bytes).map_while(Result::ok) {
        payload_length += frame.payload().len();
        // Some frames claim another place than behind the last, as after a loss.
        let claimed = if frame.reserved_value() & 7 == 7 { position + 32 } else { position };
        if let Some(message) = assembler.on_frame(&frame, claimed) {
            assert!(message.bytes.len() <= message_length_max.min(payload_length));
            assert!(message.begin_position < message.end_position);
        }
        position = claimed + frame.aligned_length() as i64;
    }
    assert!(assembler.incomplete_since().is_none_or(|begin| begin < position));
}

fn expectation(kind: SnapshotKind) -> SnapshotExpectation {
    SnapshotExpectation { kind, app_version: Some(1), time_unit: None, log_position: None }
}
