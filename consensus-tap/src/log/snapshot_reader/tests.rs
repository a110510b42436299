use super::*;
use crate::codec::log::{EventError, SessionMessage};
use crate::codec::sbe::DecodeError;
use crate::codec::snapshot::ClientSession;
use crate::log::FrameFault;
use crate::log::test_frames::Recording;
use crate::wire::data::{BEGIN, END};
use proptest::prelude::*;

fn marker(kind: SnapshotKind, mark: SnapshotMark) -> SnapshotMarker {
    SnapshotMarker {
        type_id: kind.type_id(),
        log_position: 4096,
        leadership_term_id: 2,
        index: 0,
        mark: Some(mark),
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1 << 16 | 5,
    }
}

fn put(recording: &mut Recording, encode: impl Fn(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    recording.message(&bytes);
}

fn put_mark(recording: &mut Recording, kind: SnapshotKind, mark: SnapshotMark) {
    put(recording, |out| marker(kind, mark).encode(out));
}

const SESSION: ClientSession<'_> = ClientSession {
    cluster_session_id: 1,
    response_stream_id: 102,
    response_channel: "aeron:udp?endpoint=a:1",
    encoded_principal: b"me",
};

fn service_snapshot() -> Recording {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Begin);
    put(&mut recording, |out| SESSION.encode(out));
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::End);
    recording
}

fn expectation(kind: SnapshotKind) -> SnapshotExpectation {
    SnapshotExpectation { kind, app_version: Some(1 << 16), time_unit: None, log_position: Some((4096, 2)) }
}

fn load(recording: &Recording, expectation: SnapshotExpectation) -> Result<Vec<String>, SnapshotError> {
    let mut reader = SnapshotReader::new(recording.terms, expectation);
    let mut parts = Vec::new();
    let limits = PollLimits { frame_count: 2, byte_count: usize::MAX };
    loop {
        let from = reader.position() as usize;
        let read = reader.poll(&recording.bytes[from..], limits, |part| {
            parts.push(match part {
                SnapshotPart::Begin(_) => "begin".to_owned(),
                SnapshotPart::End(_) => "end".to_owned(),
                SnapshotPart::Message(message) => {
                    assert_eq!(message, SnapshotMessage::ClientSession(SESSION));
                    "session".to_owned()
                }
                SnapshotPart::Application(bytes) => format!("application {}", bytes.len()),
            });
            Ok(())
        })?;
        if read == 0 {
            break;
        }
    }
    reader.finish()?;
    Ok(parts)
}

fn service_fault(recording: &Recording) -> SnapshotFault {
    load(recording, expectation(SnapshotKind::Service)).unwrap_err().fault
}

#[test]
fn a_services_own_messages_follow_its_end_marker_in_whatever_format() {
    let mut recording = service_snapshot();
    recording.message(&[7; 4]);
    recording.fragmented(&[8; 200], 64);
    recording.message(&[]);
    let parts = load(&recording, expectation(SnapshotKind::Service)).unwrap();
    assert_eq!(parts, ["begin", "session", "end", "application 4", "application 200", "application 0"]);
}

#[test]
fn what_an_extension_wrote_behind_a_consensus_modules_snapshot_is_left_alone() {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::ConsensusModule, SnapshotMark::Begin);
    put_mark(&mut recording, SnapshotKind::ConsensusModule, SnapshotMark::End);
    recording.fragment(BEGIN, &[1; 4]);
    let parts = load(&recording, expectation(SnapshotKind::ConsensusModule)).unwrap();
    assert_eq!(parts, ["begin", "end"]);
}

#[test]
fn sections_and_unknown_marks_are_passed_over() {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Begin);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Section);
    put(&mut recording, |out| {
        SnapshotMarker { mark: None, ..marker(SnapshotKind::Service, SnapshotMark::End) }.encode(out);
    });
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::End);
    assert_eq!(load(&recording, expectation(SnapshotKind::Service)).unwrap(), ["begin", "end"]);
}

#[test]
fn a_second_begin_is_refused_with_its_position() {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Begin);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Begin);
    let error = load(&recording, expectation(SnapshotKind::Service)).unwrap_err();
    assert_eq!(error, SnapshotError { position: 96, fault: SnapshotFault::BeginsTwice });
    assert!(error.to_string().contains("at position 96 of its recording: the snapshot begins a second time"));
}

#[test]
fn nothing_may_stand_before_the_begin_marker() {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::End);
    assert_eq!(service_fault(&recording), SnapshotFault::BeginMissing);

    let mut recording = Recording::at(0);
    put(&mut recording, |out| SESSION.encode(out));
    assert_eq!(service_fault(&recording), SnapshotFault::BeginMissing);
}

#[test]
fn another_components_snapshot_is_refused() {
    let recording = service_snapshot();
    let error = load(&recording, expectation(SnapshotKind::ConsensusModule)).unwrap_err();
    assert_eq!(error.fault, SnapshotFault::WrongType { expected: 1, found: 2 });
}

#[test]
fn another_schema_is_refused_before_the_end_marker() {
    let mut recording = Recording::at(0);
    put_mark(&mut recording, SnapshotKind::Service, SnapshotMark::Begin);
    put(&mut recording, |out| {
        SESSION.encode(out);
        out[4] = 9;
    });
    let schema = EventError::Malformed(DecodeError::UnexpectedSchema(9));
    assert_eq!(service_fault(&recording), SnapshotFault::Message(schema));
}

#[test]
fn the_major_version_the_unit_and_the_place_must_match() {
    let recording = service_snapshot();
    let right = expectation(SnapshotKind::Service);
    let fault = |expectation| load(&recording, expectation).unwrap_err().fault;

    let error = fault(SnapshotExpectation { app_version: Some(2 << 16), ..right });
    assert_eq!(error.to_string(), "the snapshot is of application version 1.0.5, incompatible with 2.0.0");
    let error = fault(SnapshotExpectation { time_unit: Some(ClusterTimeUnit::Nanos), ..right });
    assert_eq!(error.to_string(), "the snapshot counts time in Millis, the cluster in Nanos");
    let error = fault(SnapshotExpectation { log_position: Some((4096, 3)), ..right });
    assert!(matches!(error, SnapshotFault::WrongPlace { .. }), "{error}");
    assert!(load(&recording, SnapshotExpectation { log_position: None, ..right }).is_ok());
    assert!(load(&recording, SnapshotExpectation { app_version: None, ..right }).is_ok());
}

#[test]
fn a_recording_that_ends_early_is_refused() {
    let mut recording = service_snapshot();
    recording.bytes.truncate(recording.bytes.len() - 96);
    assert_eq!(service_fault(&recording), SnapshotFault::Truncated);

    let mut recording = service_snapshot();
    recording.fragment(BEGIN, &[1; 4]);
    assert_eq!(service_fault(&recording), SnapshotFault::Truncated);

    let mut recording = service_snapshot();
    recording.bytes.truncate(recording.bytes.len() - 32);
    assert!(matches!(service_fault(&recording), SnapshotFault::Frame(FrameFault::Malformed(_))));
    assert_eq!(service_fault(&Recording::at(0)), SnapshotFault::Truncated);
}

#[test]
fn no_message_of_a_snapshot_may_cut_another_off() {
    let mut recording = service_snapshot();
    recording.fragment(BEGIN, &[1; 4]);
    recording.fragment(BEGIN | END, &[1; 4]);
    assert!(matches!(service_fault(&recording), SnapshotFault::Frame(FrameFault::Unfinished { .. })));
}

#[test]
fn a_visitors_refusal_becomes_the_error() {
    let recording = service_snapshot();
    let mut reader = SnapshotReader::new(recording.terms, expectation(SnapshotKind::Service));
    let refuse = SnapshotFault::UnknownService { service_id: 3, service_count: 1 };
    let error = reader.poll(&recording.bytes, PollLimits::NONE, |_| Err(refuse)).unwrap_err();
    assert_eq!(error, SnapshotError { position: 0, fault: refuse });
    assert_eq!(reader.finish(), Err(error));
}

#[test]
fn a_pending_message_keeps_its_bytes() {
    let mut bytes = Vec::new();
    let message =
        SessionMessage { leadership_term_id: 1, cluster_session_id: -1, timestamp: 3, payload: b"abc" };
    message.encode(&mut bytes);
    let Ok(SnapshotMessage::PendingMessage(pending)) = SnapshotMessage::decode(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!((pending.cluster_session_id, pending.message), (-1, &bytes[..]));
}

proptest! {
    #[test]
    fn a_snapshot_with_flipped_bytes_never_panics(
        flips in proptest::collection::vec((0usize..1000, any::<u8>()), 1..8),
    ) {
        let mut recording = service_snapshot();
        recording.fragmented(&[8; 200], 64);
        for (at, value) in flips {
            let at = at % recording.bytes.len();
            recording.bytes[at] ^= value;
        }
        let mut reader = SnapshotReader::new(recording.terms, expectation(SnapshotKind::Service));
        let _ = reader.poll(&recording.bytes, PollLimits::NONE, |_| Ok(()));
        let _ = reader.finish();
    }
}
