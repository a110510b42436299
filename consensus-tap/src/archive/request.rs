//! Requests on their way: encoded messages that wait to be sent, and those that wait for an answer.

use crate::codec::archive_control::{NULL_VALUE, REPLAY_ALL_AND_FOLLOW};
use std::collections::VecDeque;
use std::fmt;

/// Tells which request an answer belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CorrelationId(pub i64);

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestKind {
    /// A recording's descriptor.
    ListRecording,
    /// Descriptors from an id on.
    ListRecordings,
    /// The newest recording of a stream.
    FindLastMatchingRecording,
    /// Where a recording begins.
    StartPosition,
    /// Where a recording was stopped.
    StopPosition,
    /// How far an active recording is.
    RecordingPosition,
    /// How far a recording is, active or not.
    MaxRecordedPosition,
    /// A replay.
    Replay,
    /// A replay that a counter bounds.
    BoundedReplay,
    /// The end of a replay.
    StopReplay,
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListRecording => "list recording",
            Self::ListRecordings => "list recordings",
            Self::FindLastMatchingRecording => "find last matching recording",
            Self::StartPosition => "start position",
            Self::StopPosition => "stop position",
            Self::RecordingPosition => "recording position",
            Self::MaxRecordedPosition => "max recorded position",
            Self::Replay => "replay",
            Self::BoundedReplay => "bounded replay",
            Self::StopReplay => "stop replay",
        })
    }
}

/// Why a request was not taken. It left no trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestRefused {
    /// The session is not open yet, or not any more.
    #[error("the archive session is not connected")]
    NotConnected,
    /// Too many requests wait for their answers.
    #[error("too many requests wait for the archive's answers")]
    TooMany,
    /// A channel is longer than Aeron takes.
    #[error("the channel is longer than Aeron takes")]
    ChannelTooLong,
}

/// What to replay, and to where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayParams<'a> {
    /// The recording.
    pub recording_id: i64,
    /// Where to begin, a multiple of 32; -1 is the recording's start.
    pub position: i64,
    /// Bytes to replay, or one of the special lengths.
    pub length: i64,
    /// The stream to replay to.
    pub replay_stream_id: i32,
    /// The channel to replay to. With a `session-id`, the image has that one.
    pub replay_channel: &'a str,
    /// Most bytes that the archive reads at once, -1 for its own default.
    pub file_io_max_length: i32,
}

impl<'a> ReplayParams<'a> {
    /// A replay from the recording's start that follows it for as long as it is active.
    pub const fn new(recording_id: i64, replay_stream_id: i32, replay_channel: &'a str) -> Self {
        Self {
            recording_id,
            position: NULL_VALUE,
            length: REPLAY_ALL_AND_FOLLOW,
            replay_stream_id,
            replay_channel,
            file_io_max_length: -1,
        }
    }
}

/// Most requests that wait for an answer at one time.
pub(super) const REQUESTS_MAX: usize = 64;

/// A request that has not been answered, whether sent or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) correlation_id: i64,
    pub(super) kind: RequestKind,
    pub(super) deadline_ns: u64,
    pub(super) progress: Progress,
}

/// What a request's kind does not tell about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    Plain,
    /// Stops this replay.
    StopReplay {
        replay_session_id: i64,
    },
    /// Waits for at most so many descriptors.
    Listing {
        found: u32,
        wanted: u32,
    },
}

/// Encoded messages in the order they must be sent. Buffers are used again, so that a request that is
/// repeated allocates nothing.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    messages: VecDeque<(i64, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

impl SendQueue {
    /// Appends the message that `encode` writes. `correlation_id` serves to withdraw it.
    pub(super) fn push(&mut self, correlation_id: i64, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        encode(&mut buffer);
        self.messages.push_back((correlation_id, buffer));
    }

    pub(super) fn front(&self) -> Option<&[u8]> {
        self.messages.front().map(|(_, bytes)| bytes.as_slice())
    }

    pub(super) fn front_correlation_id(&self) -> Option<i64> {
        self.messages.front().map(|(correlation_id, _)| *correlation_id)
    }

    pub(super) fn pop(&mut self) {
        if let Some((_, buffer)) = self.messages.pop_front() {
            self.recycle(buffer);
        }
    }

    /// Takes a message back that was never sent.
    pub(super) fn withdraw(&mut self, correlation_id: i64) {
        if let Some(index) = self.messages.iter().position(|(id, _)| *id == correlation_id)
            && let Some((_, buffer)) = self.messages.remove(index)
        {
            self.recycle(buffer);
        }
    }

    pub(super) fn clear(&mut self) {
        while !self.messages.is_empty() {
            self.pop();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
    }
}

const SPARE_BUFFERS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut queue = SendQueue::default();
        queue.push(1, |out| out.extend_from_slice(&[1; 100]));
        let address = queue.front().unwrap().as_ptr();
        queue.pop();
        for id in 2..50 {
            queue.push(id, |out| out.extend_from_slice(&[2; 100]));
            assert_eq!(queue.front().unwrap().as_ptr(), address);
            assert_eq!(queue.front().unwrap(), [2; 100]);
            queue.pop();
        }
    }

    #[test]
    fn a_withdrawn_message_is_not_sent() {
        let mut queue = SendQueue::default();
        for id in [1_u8, 2, 3] {
            queue.push(i64::from(id), |out| out.push(id));
        }
        queue.withdraw(2);
        queue.withdraw(9);
        assert_eq!(queue.front(), Some(&[1][..]));
        queue.pop();
        assert_eq!(queue.front(), Some(&[3][..]));
        queue.clear();
        assert_eq!(queue.front(), None);
    }
}
