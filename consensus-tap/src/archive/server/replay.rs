//! One replay: recorded frames to one receiver, from a position to a limit, following a recording that grows.

use super::channels::Destination;
use super::store::RecordedFrames;
use crate::codec::archive_control::ArchiveErrorCode;
use crate::endpoint::{Endpoint, LookupToken};
use crate::publication::{OfferError, PublicationId, PublicationParams, PublicationState};
use crate::wire::data::HEADER_LENGTH;
use crate::wire::{DataFrame, StreamTerms, frames};

/// So far a replay leads what its receiver has let us send, in bytes: what is read ahead is copied twice as far from
/// the processor's caches.
const LEAD_MAX: i64 = 256 * 1024;
/// Bytes read from the recording at once; longer than any frame.
const READ_LENGTH: i64 = 128 * 1024;

/// A replay and its reader.
#[derive(Debug)]
pub(super) struct Replay<R> {
    pub(super) control_session_id: i64,
    pub(super) correlation_id: i64,
    pub(super) recording_id: i64,
    /// The next byte to read.
    pub(super) position: i64,
    /// Where the replay is complete, `i64::MAX` for one that follows.
    pub(super) limit: i64,
    /// Whether the commit position bounds it.
    pub(super) is_bounded: bool,
    pub(super) source: Source<R>,
    pub(super) channel: String,
    pub(super) state: State,
}

/// What is replayed.
#[derive(Debug)]
pub(super) struct Source<R> {
    pub(super) reader: R,
    pub(super) terms: StreamTerms,
    pub(super) stream_id: i32,
    pub(super) mtu: i32,
}

#[derive(Debug)]
pub(super) enum State {
    LookingUp { token: LookupToken, destination: Destination, params: PublicationParams, deadline_ns: u64 },
    Connecting { publication: PublicationId, replay_session_id: i64, stream_id: i32, deadline_ns: u64 },
    Replaying { publication: PublicationId, replay_session_id: i64 },
}

/// How a replay went on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// As much as could be was handed over, and more is to come.
    GoesOn,
    /// Everything up to the limit was: the receiver is told of the stream's end.
    Complete,
    /// The receiver is gone.
    Disconnected,
    /// It cannot go on.
    Failed(Fault),
}

/// Why a replay cannot begin or go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) code: ArchiveErrorCode,
    pub(super) message: String,
}

impl<R> Replay<R> {
    pub(super) fn publication(&self) -> Option<PublicationId> {
        match self.state {
            State::LookingUp { .. } => None,
            State::Connecting { publication, .. } | State::Replaying { publication, .. } => Some(publication),
        }
    }

    /// What the client knows the replay by, once it was told.
    pub(super) fn replay_session_id(&self) -> Option<i64> {
        match self.state {
            State::LookingUp { .. } => None,
            State::Connecting { replay_session_id, .. } | State::Replaying { replay_session_id, .. } => {
                Some(replay_session_id)
            }
        }
    }
}

impl<R: RecordedFrames> Replay<R> {
    /// Goes on as far as receiver and recording allow. `commit_position` counts if the replay is bounded by it.
    pub(super) fn go_on(&mut self, commit_position: i64, endpoint: &mut Endpoint, now_ns: u64) -> Progress {
        let (publication, connecting) = match self.state {
            State::LookingUp { deadline_ns, .. } if now_ns <= deadline_ns => return Progress::GoesOn,
            State::LookingUp { .. } => {
                return self.failed(format!("no address found in time for replayChannel={}", self.channel));
            }
            State::Connecting { publication, stream_id, deadline_ns, .. } => {
                (publication, Some((stream_id, deadline_ns)))
            }
            State::Replaying { publication, .. } => (publication, None),
        };
        match (endpoint.publication_state(publication), connecting) {
            (PublicationState::Connected, _) => {}
            (PublicationState::Connecting, Some((_, deadline_ns))) if now_ns <= deadline_ns => {
                return Progress::GoesOn;
            }
            (PublicationState::Connecting, Some((stream_id, _))) => {
                let channel = &self.channel;
                return self.failed(format!(
                    "no connection established for replayChannel={channel}, replayStreamId={stream_id}"
                ));
            }
            _ => return Progress::Disconnected,
        }
        if let State::Connecting { publication, replay_session_id, .. } = self.state {
            self.state = State::Replaying { publication, replay_session_id };
        }
        loop {
            match self.step(publication, commit_position, endpoint) {
                Ok(0) if self.position >= self.limit => return Progress::Complete,
                Ok(0) => return Progress::GoesOn,
                Ok(advance) => self.position += advance,
                Err(progress) => return progress,
            }
        }
    }

    /// Hands over one run of frames, and returns how far it leads.
    fn step(
        &mut self,
        publication: PublicationId,
        commit_position: i64,
        endpoint: &mut Endpoint,
    ) -> Result<i64, Progress> {
        let position = self.position;
        let recorded = self.source.reader.end_position();
        let end = if self.is_bounded { recorded.min(commit_position) } else { recorded };
        let sender_position = endpoint.sender_position(publication).unwrap_or(position);
        if position >= self.limit || position >= end || position - sender_position >= LEAD_MAX {
            return Ok(0);
        }
        let Source { reader, terms, stream_id, mtu } = &mut self.source;
        // Beyond a bound, which may lie within a frame, so that the frame is seen whole.
        let bytes = match reader.frames(position, recorded.min(position + READ_LENGTH)) {
            Ok(bytes) => bytes,
            Err(reason) => return Err(self.failed(reason)),
        };
        let first = frame_at(bytes, position, *terms, *stream_id, *mtu);
        let Some(first) = first.filter(|frame| position + frame.aligned_length() as i64 <= recorded) else {
            return Err(self.failed(format!("unexpected end of recording at position={position}")));
        };
        if position + first.aligned_length() as i64 > end {
            return Ok(0);
        }
        let run = if first.is_padding() {
            // Longer than what was read at once, maybe; its header says all there is to say.
            &bytes[..HEADER_LENGTH]
        } else {
            let below_end = bytes.len().min((end - position) as usize);
            up_to_limit(&bytes[..below_end], self.limit - position)
        };
        match endpoint.offer_recorded(publication, run) {
            Ok(advance) => Ok(advance),
            Err(OfferError::BackPressured) => Ok(0),
            Err(OfferError::NotConnected | OfferError::Closed) => Err(Progress::Disconnected),
            Err(error @ (OfferError::PositionMax | OfferError::MessageTooLong)) => {
                Err(self.failed(format!("position={position}: {error}")))
            }
        }
    }

    fn failed(&self, reason: String) -> Progress {
        let (recording_id, replay_session_id) = (self.recording_id, self.replay_session_id().unwrap_or(-1));
        Progress::Failed(Fault {
            code: ArchiveErrorCode::Generic,
            message: format!("{reason}, recordingId={recording_id}, replaySessionId={replay_session_id}"),
        })
    }
}

impl<R: RecordedFrames> Source<R> {
    /// Whether a frame begins at a position that is recorded.
    pub(super) fn has_frame_at(&mut self, position: i64) -> Result<bool, String> {
        let Self { reader, terms, stream_id, mtu } = self;
        let end = reader.end_position();
        let bytes = reader.frames(position, end.min(position + READ_LENGTH))?;
        Ok(frame_at(bytes, position, *terms, *stream_id, *mtu).is_some())
    }
}

/// The whole frame of the recording that the bytes at `position` begin with; of padding, the header is enough.
fn frame_at(
    bytes: &[u8],
    position: i64,
    terms: StreamTerms,
    stream_id: i32,
    mtu: i32,
) -> Option<DataFrame<'_>> {
    let frame = DataFrame::parse(bytes).ok()?;
    let is_in_place = frame.term_id() == terms.term_id(position)
        && frame.term_offset() == terms.term_offset(position)
        && frame.stream_id() == stream_id
        && position + frame.aligned_length() as i64 <= terms.term_end(position);
    let is_sendable = frame.is_padding() || frame.frame_length() <= mtu as usize;
    (is_in_place && is_sendable && !frame.is_heartbeat()).then_some(frame)
}

/// As many frames as it takes to reach `length`: the last one may pass it, as in a Java archive's replays.
fn up_to_limit(bytes: &[u8], length: i64) -> &[u8] {
    if bytes.len() as i64 <= length {
        return bytes;
    }
    let mut walk = frames(bytes);
    while (walk.walked_length() as i64) < length && walk.next().is_some_and(|frame| frame.is_ok()) {}
    &bytes[..walk.walked_length().min(bytes.len())]
}
