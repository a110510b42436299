//! Reads the cluster's log, event by event.

use super::error::{FrameFault, LogError, LogFault};
use super::message_reader::{Before, MessageReader, MidMessage, RecordedMessage, Step};
use crate::codec::log::{LogEvent, NewLeadershipTermEvent};
use crate::wire::StreamTerms;
use std::ops::ControlFlow;

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub struct LogStart {
    /// Terms of the recording, from its descriptor.
    pub terms: StreamTerms,
    /// Position of the first frame.
    pub position: i64,
    /// The leadership term in which `position` lies; `None` when it is not known, as at position 0.
    pub leadership_term_id: Option<i64>,
    /// What to do when `position` lies within a message.
    pub mid_message: MidMessage,
}

/// How much one poll may do.
#[derive(Clone, Copy, Debug)]
pub struct PollLimits {
    /// Frames, at least 1.
    pub frame_count: usize,
    /// Bytes, at least 1. A poll takes no more frames once it has taken this many bytes.
    pub byte_count: usize,
}

impl PollLimits {
    /// All of the run.
    pub const NONE: Self = Self { frame_count: usize::MAX, byte_count: usize::MAX };
}

/// Reads the cluster's log from runs of recorded frames.
///
/// The reader owns no memory of the log: a run is lent to each poll and read where it lies. Only a message
/// in several fragments is copied, into one buffer that is used again.
///
/// Invariants: `applied_position <= position`; everything below the applied position has been visited; both
/// differ only while a message is unfinished, and then the rest of it may come or, when its leader died, a
/// new leader's first event may stand in its place. Frames and events are checked against their place, so a
/// reader never delivers across a gap or from another term than the one it is in.
#[derive(Debug)]
pub struct LogReader {
    messages: MessageReader,
    applied_position: i64,
    leadership_term_id: Option<i64>,
    failed: Option<LogError>,
}

impl LogReader {
    /// A reader at `start`.
    ///
    /// # Panics
    /// When the position is negative, no multiple of 32, or beyond the end of any stream of these terms.
    pub fn new(start: LogStart) -> Self {
        Self {
            messages: MessageReader::new(start.terms, start.position, start.mid_message),
            applied_position: start.position,
            leadership_term_id: start.leadership_term_id,
            failed: None,
        }
    }

    /// Start of the next frame to read: where the next run must begin.
    pub fn position(&self) -> i64 {
        self.messages.position()
    }

    /// End of the last message that was visited, or of padding behind it: where snapshots and leadership
    /// terms may begin.
    pub fn applied_position(&self) -> i64 {
        self.applied_position
    }

    /// Start of a message whose end has not come yet.
    pub fn unfinished_since(&self) -> Option<i64> {
        self.messages.unfinished_since()
    }

    /// The leadership term in which the applied position lies, `None` before the first is known.
    pub fn leadership_term_id(&self) -> Option<i64> {
        self.leadership_term_id
    }

    /// Visits the events that end within `run`, with the position at which each ends.
    ///
    /// `run` is whole frames, the first at [`Self::position`]; it may be empty. A visitor that breaks ends
    /// the poll behind the event it was given; that event counts as applied. Returns how many bytes of
    /// `run` were read.
    ///
    /// # Errors
    /// [`LogError`] at the first byte that no log holds. Nothing from there on was visited, and every later
    /// poll returns the same error.
    pub fn poll(
        &mut self,
        run: &[u8],
        limits: PollLimits,
        mut visit: impl FnMut(&LogEvent<'_>, i64) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let begin_position = self.messages.position();
        let mut read_length = 0;
        let mut frame_count = 0;
        while read_length < run.len() && read_length < limits.byte_count && frame_count < limits.frame_count {
            let frame_position = self.messages.position();
            match self.messages.step(&run[read_length..]) {
                Ok(Step::Message(message)) => {
                    let message_position = message.begin_position;
                    let end_position = message.end_position;
                    let event = match checked_event(&message, self.leadership_term_id) {
                        Ok(event) => event,
                        Err(fault) => return Err(self.fail(message_position, fault)),
                    };
                    if let LogEvent::NewLeadershipTerm(term) = &event {
                        self.leadership_term_id = Some(term.leadership_term_id);
                    }
                    let flow = visit(&event, end_position);
                    self.applied_position = end_position;
                    if flow.is_break() {
                        break;
                    }
                }
                Ok(Step::Nothing) => self.applied_position = self.messages.boundary(),
                Err(fault) => return Err(self.fail(frame_position, fault.into())),
            }
            frame_count += 1;
            read_length = (self.messages.position() - begin_position) as usize;
        }
        Ok((self.messages.position() - begin_position) as usize)
    }

    #[cold]
    fn fail(&mut self, position: i64, fault: LogFault) -> LogError {
        let error = LogError { position, fault };
        self.failed = Some(error);
        error
    }
}

/// Decodes a message and holds what it says of its place against its place.
#[inline]
fn checked_event<'a>(
    message: &RecordedMessage<'a>,
    leadership_term_id: Option<i64>,
) -> Result<LogEvent<'a>, LogFault> {
    let event = LogEvent::decode(message.bytes)?;
    if let LogEvent::NewLeadershipTerm(term) = &event {
        check_new_term(term, message, leadership_term_id)?;
        return Ok(event);
    }
    if let Some(begin_position) = message.cut_off {
        return Err(FrameFault::Unfinished { begin_position }.into());
    }
    // Whatever a leader appends bears its term, so a message of another one was spliced in.
    if let (Some(found), Some(current)) = (event.leadership_term_id(), leadership_term_id)
        && found != current
    {
        return Err(LogFault::TermMismatch { current, found });
    }
    if let LogEvent::ClusterAction(action) = &event {
        check_end(action.log_position, message)?;
    }
    Ok(event)
}

fn check_new_term(
    term: &NewLeadershipTermEvent,
    message: &RecordedMessage<'_>,
    leadership_term_id: Option<i64>,
) -> Result<(), LogFault> {
    check_end(term.log_position, message)?;
    // A leader knows its base before it appends; when the event does not fit into the log-buffer term, the
    // padding that fills the term comes between.
    let stated = term.term_base_log_position;
    let found = message.begin_position;
    let at_base = match message.before {
        _ if stated == found => true,
        Before::Padding(begin) => stated == begin,
        Before::Unknown => (0..found).contains(&stated),
        Before::Data => false,
    };
    if !at_base {
        return Err(LogFault::TermBase { stated, found });
    }
    match leadership_term_id {
        Some(current) if term.leadership_term_id <= current => {
            Err(LogFault::TermOrder { current, found: term.leadership_term_id })
        }
        _ => Ok(()),
    }
}

fn check_end(stated: i64, message: &RecordedMessage<'_>) -> Result<(), LogFault> {
    if stated != message.end_position {
        return Err(LogFault::EventPosition { stated, found: message.end_position });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
