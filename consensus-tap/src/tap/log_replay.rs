//! One bounded replay of a source's log: compare what we have, append what is new.

use super::recorder::{AppendError, RecordFailed, Recorder, RecordingKey};
use crate::archive::CorrelationId;
use crate::image::{ImageKey, SubscriptionId};
use crate::wire::data::{HEADER_LENGTH, frames};

/// How far back of our end a replay begins, so that the overlap tells a fork from a continuation. As much of the log as
/// that must stay, whatever is purged.
pub const OVERLAP_LENGTH: i64 = 64 * 1024;

/// The replay under way.
///
/// Its frames below `end_at_open` were recorded from an earlier source and are compared; the first that
/// differs stops everything before a byte is appended. From there on frames go into the recording.
#[derive(Debug)]
pub(super) struct LogReplay {
    pub(super) subscription: SubscriptionId,
    pub(super) correlation_id: CorrelationId,
    pub(super) start_position: i64,
    pub(super) replay_session_id: i64,
    /// Known once the replay's stream is there.
    pub(super) image: Option<ImageKey>,
    pub(super) opened_ns: u64,
    pub(super) outcome: Option<ReplayOutcome>,
    position: i64,
    end_at_open: i64,
}

/// Why a replay takes no more bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplayOutcome {
    /// The source's log holds something else at this position than ours.
    Diverged { position: i64 },
    /// Bytes came that do not follow those before, or are none of this log.
    Misplaced { position: i64 },
    /// The recording took no more.
    RecordFailed,
}

impl LogReplay {
    pub(super) fn new(
        subscription: SubscriptionId,
        correlation_id: CorrelationId,
        replay_session_id: i64,
        start_position: i64,
        end: i64,
        now_ns: u64,
    ) -> Self {
        Self {
            subscription,
            correlation_id,
            start_position,
            replay_session_id,
            image: None,
            opened_ns: now_ns,
            outcome: None,
            position: start_position,
            end_at_open: end,
        }
    }

    /// Position up to which the source has sent.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether all that we had recorded was found in the source's log.
    pub(super) fn is_verified(&self) -> bool {
        self.position >= self.end_at_open
    }

    /// Takes contiguous frames; false stops the image.
    pub(super) fn on_frames(&mut self, position: i64, bytes: &[u8], recorder: &mut impl Recorder) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        if position != self.position {
            self.outcome = Some(ReplayOutcome::Misplaced { position });
            return false;
        }
        let compared = if position < self.end_at_open {
            match self.compare(position, bytes, recorder) {
                Ok(compared) => compared,
                Err(outcome) => {
                    self.outcome = Some(outcome);
                    return false;
                }
            }
        } else {
            Compared { bytes: 0, end: position }
        };
        self.position = compared.end;
        let rest = &bytes[compared.bytes..];
        if rest.is_empty() {
            return true;
        }
        match recorder.append(RecordingKey::Log, compared.end, rest) {
            Ok(()) => {
                self.position = recorder.position(RecordingKey::Log).unwrap_or(compared.end);
                true
            }
            Err(AppendError::Misplaced) => {
                self.outcome = Some(ReplayOutcome::Misplaced { position: compared.end });
                false
            }
            Err(AppendError::Failed) => {
                self.outcome = Some(ReplayOutcome::RecordFailed);
                false
            }
        }
    }

    /// Compares the frames that begin below our end. A frame that begins below it and ends beyond it does
    /// not belong to the log that we recorded, which ends at a frame's end.
    fn compare(
        &self,
        position: i64,
        bytes: &[u8],
        recorder: &mut impl Recorder,
    ) -> Result<Compared, ReplayOutcome> {
        let mut at = position;
        let mut consumed = 0;
        for frame in frames(bytes) {
            let Ok(frame) = frame else { return Err(ReplayOutcome::Diverged { position: at }) };
            if at >= self.end_at_open {
                break;
            }
            let end = at + frame.aligned_length() as i64;
            let stored_length = if frame.is_padding() { HEADER_LENGTH } else { frame.aligned_length() };
            let frame_bytes = &bytes[consumed..consumed + stored_length];
            let same = end <= self.end_at_open
                && recorder.matches(at, frame_bytes).map_err(|RecordFailed| ReplayOutcome::RecordFailed)?;
            if !same {
                return Err(ReplayOutcome::Diverged { position: at });
            }
            consumed += stored_length;
            at = end;
        }
        Ok(Compared { bytes: consumed, end: at })
    }
}

struct Compared {
    bytes: usize,
    end: i64,
}
