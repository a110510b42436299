//! Reads a snapshot recording, part by part.

use super::error::{SnapshotError, SnapshotFault, Version};
use super::message_reader::{MessageReader, MidMessage, RecordedMessage, Step};
use super::reader::PollLimits;
use crate::codec::log::ClusterTimeUnit;
use crate::codec::snapshot::{
    CONSENSUS_MODULE_TYPE_ID, SERVICE_TYPE_ID, SnapshotMark, SnapshotMarker, SnapshotMessage,
};
use crate::wire::StreamTerms;

/// Whose snapshot a recording holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotKind {
    /// The consensus module's: it ends with its END marker.
    ConsensusModule,
    /// A service's: behind the END marker lies what the service itself wrote.
    Service,
}

impl SnapshotKind {
    /// The type in its markers.
    pub const fn type_id(self) -> i64 {
        match self {
            Self::ConsensusModule => CONSENSUS_MODULE_TYPE_ID,
            Self::Service => SERVICE_TYPE_ID,
        }
    }

    /// The stream that members record it from.
    pub const fn stream_id(self) -> i32 {
        match self {
            Self::ConsensusModule => 107,
            Self::Service => 106,
        }
    }
}

/// What a snapshot must be to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotExpectation {
    /// Whose it is.
    pub kind: SnapshotKind,
    /// The application's configured version, whose major part must match; `None` for any.
    pub app_version: Option<i32>,
    /// The cluster's time unit, `None` to take the snapshot's.
    pub time_unit: Option<ClusterTimeUnit>,
    /// Log position and leadership term of its row in recording.log, `None` to take the snapshot's.
    pub log_position: Option<(i64, i64)>,
}

/// One part of a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotPart<'a> {
    /// The BEGIN marker: always the first part.
    Begin(SnapshotMarker),
    /// A message between the markers.
    Message(SnapshotMessage<'a>),
    /// The END marker.
    End(SnapshotMarker),
    /// What a service wrote behind the END marker: one message, whole.
    Application(&'a [u8]),
}

/// Reads a snapshot from runs of its recording, which begins at position 0.
///
/// A consensus module's snapshot is read up to its END marker, and what an extension wrote behind it is
/// left alone; a service's is read to the end of the recording.
#[derive(Debug)]
pub struct SnapshotReader {
    messages: MessageReader,
    expectation: SnapshotExpectation,
    phase: Phase,
    failed: Option<SnapshotError>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    BeforeBegin,
    Within,
    Ended,
}

impl SnapshotReader {
    /// A reader at the start of a recording with these terms.
    pub fn new(terms: StreamTerms, expectation: SnapshotExpectation) -> Self {
        Self {
            messages: MessageReader::new(terms, 0, MidMessage::Reject),
            expectation,
            phase: Phase::BeforeBegin,
            failed: None,
        }
    }

    /// Start of the next frame to read: where the next run must begin.
    pub fn position(&self) -> i64 {
        self.messages.position()
    }

    /// Whether the END marker was visited.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Visits the parts that end within `run`. Returns how many bytes of `run` were read.
    ///
    /// `run` is whole frames, the first at [`Self::position`]. The visitor may refuse a part with a fault of
    /// its own, which becomes the error.
    ///
    /// # Errors
    /// [`SnapshotError`] at the first part that is not one of the expected snapshot. Every later poll
    /// returns the same error.
    pub fn poll(
        &mut self,
        run: &[u8],
        limits: PollLimits,
        mut visit: impl FnMut(SnapshotPart<'_>) -> Result<(), SnapshotFault>,
    ) -> Result<usize, SnapshotError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let begin_position = self.messages.position();
        let mut read_length = 0;
        let mut frame_count = 0;
        while read_length < run.len()
            && read_length < limits.byte_count
            && frame_count < limits.frame_count
            && !self.is_read()
        {
            let frame_position = self.messages.position();
            match self.messages.step(&run[read_length..]) {
                Ok(Step::Message(message)) => {
                    let message_position = message.begin_position;
                    let visited = match part_of(&message, &mut self.phase, &self.expectation) {
                        Ok(Some(part)) => visit(part),
                        Ok(None) => Ok(()),
                        Err(fault) => Err(fault),
                    };
                    if let Err(fault) = visited {
                        return Err(self.fail(message_position, fault));
                    }
                }
                Ok(Step::Nothing) => {}
                Err(fault) => return Err(self.fail(frame_position, fault.into())),
            }
            frame_count += 1;
            read_length = (self.messages.position() - begin_position) as usize;
        }
        Ok((self.messages.position() - begin_position) as usize)
    }

    /// Says that the recording ends here.
    ///
    /// # Errors
    /// The error of an earlier poll, or [`SnapshotFault::Truncated`] when the END marker or the rest of a
    /// message is missing.
    pub fn finish(&self) -> Result<(), SnapshotError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.phase != Phase::Ended || (!self.is_read() && self.messages.unfinished_since().is_some()) {
            return Err(SnapshotError {
                position: self.messages.position(),
                fault: SnapshotFault::Truncated,
            });
        }
        Ok(())
    }

    fn is_read(&self) -> bool {
        self.phase == Phase::Ended && self.expectation.kind == SnapshotKind::ConsensusModule
    }

    #[cold]
    fn fail(&mut self, position: i64, fault: SnapshotFault) -> SnapshotError {
        let error = SnapshotError { position, fault };
        self.failed = Some(error);
        error
    }
}

/// The part that a message is, `None` for one that loaders pass over.
fn part_of<'a>(
    message: &RecordedMessage<'a>,
    phase: &mut Phase,
    expectation: &SnapshotExpectation,
) -> Result<Option<SnapshotPart<'a>>, SnapshotFault> {
    if let Some(begin_position) = message.cut_off {
        return Err(super::FrameFault::Unfinished { begin_position }.into());
    }
    if *phase == Phase::Ended {
        return Ok(Some(SnapshotPart::Application(message.bytes)));
    }
    let message = SnapshotMessage::decode(message.bytes)?;
    let SnapshotMessage::Marker(marker) = message else {
        return match *phase {
            Phase::BeforeBegin => Err(SnapshotFault::BeginMissing),
            _ => Ok(Some(SnapshotPart::Message(message))),
        };
    };
    if marker.type_id != expectation.kind.type_id() {
        return Err(SnapshotFault::WrongType { expected: expectation.kind.type_id(), found: marker.type_id });
    }
    match (marker.mark, *phase) {
        (Some(SnapshotMark::Begin), Phase::BeforeBegin) => {
            check_begin(&marker, expectation)?;
            *phase = Phase::Within;
            Ok(Some(SnapshotPart::Begin(marker)))
        }
        (Some(SnapshotMark::Begin), _) => Err(SnapshotFault::BeginsTwice),
        (_, Phase::BeforeBegin) => Err(SnapshotFault::BeginMissing),
        (Some(SnapshotMark::End), _) => {
            *phase = Phase::Ended;
            Ok(Some(SnapshotPart::End(marker)))
        }
        (Some(SnapshotMark::Section) | None, _) => Ok(None),
    }
}

fn check_begin(marker: &SnapshotMarker, expectation: &SnapshotExpectation) -> Result<(), SnapshotFault> {
    if let Some(expected) = expectation.app_version
        && Version(marker.app_version).major() != Version(expected).major()
    {
        return Err(SnapshotFault::AppVersion { expected, found: marker.app_version });
    }
    if let Some(expected) = expectation.time_unit
        && expected != marker.time_unit
    {
        return Err(SnapshotFault::TimeUnit { expected, found: marker.time_unit });
    }
    if let Some((log_position, leadership_term_id)) = expectation.log_position
        && (log_position, leadership_term_id) != (marker.log_position, marker.leadership_term_id)
    {
        return Err(SnapshotFault::WrongPlace {
            log_position,
            leadership_term_id,
            found_log_position: marker.log_position,
            found_leadership_term_id: marker.leadership_term_id,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
