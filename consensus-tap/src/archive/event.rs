//! What an [`ArchiveClient`](super::ArchiveClient) reports.

use super::{CorrelationId, RequestKind};
use crate::codec::archive_control::{ArchiveErrorCode, RecordingDescriptor, RecordingSignal};

/// News of a control session. Every request ends in exactly one of `Response`, `ListingEnded`, `Error` and
/// `TimedOut` ([`RequestKind::ListRecording`] in `Descriptor` for the first), unless the session fails before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ArchiveEvent {
    /// The session is open; requests are taken.
    Connected {
        /// The archive's id, `None` when it is older than protocol version 1.11.0.
        archive_id: Option<i64>,
    },
    /// A request succeeded.
    Response {
        /// The request.
        correlation_id: CorrelationId,
        /// What was asked.
        request: RequestKind,
        /// The result: a position, a replay session id, a recording id, or 0.
        relevant_id: i64,
    },
    /// One recording of a listing.
    Descriptor {
        /// The request.
        correlation_id: CorrelationId,
        /// The recording.
        recording: Recording,
    },
    /// A listing has sent all it will send.
    ListingEnded {
        /// The request.
        correlation_id: CorrelationId,
        /// How many descriptors came.
        count: u32,
    },
    /// A request failed, or a replay that had been granted.
    Error {
        /// The request.
        correlation_id: CorrelationId,
        /// What was asked.
        request: RequestKind,
        /// Why, as a code.
        code: ArchiveErrorCode,
        /// Why, in the archive's words; cut at 1,024 bytes.
        message: String,
    },
    /// A request was not answered in time. A late answer is ignored: after a replay timed out, the archive
    /// may still be replaying.
    TimedOut {
        /// The request.
        correlation_id: CorrelationId,
        /// What was asked.
        request: RequestKind,
    },
    /// A recording changed.
    Signal {
        /// The request that set this off.
        correlation_id: CorrelationId,
        /// The recording.
        recording_id: i64,
        /// The recording subscription, -1 for none.
        subscription_id: i64,
        /// The recording's position at that moment.
        position: i64,
        /// What happened.
        signal: RecordingSignal,
    },
    /// The session is over, and every request with it. The last event of a client.
    Failed(ArchiveFailure),
}

/// Why a session is over.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ArchiveFailure {
    /// Connecting took longer than the message timeout.
    #[error("the archive did not connect in time, while {step}")]
    ConnectTimeout {
        /// What was being waited for.
        step: ConnectStep,
    },
    /// The archive refused the session.
    #[error("the archive refused to connect: {code}: {message}{}", next_step(*.code))]
    Refused {
        /// Why, as a code.
        code: ArchiveErrorCode,
        /// Why, in the archive's words.
        message: String,
    },
    /// The archive asks for more than the configured credentials have.
    #[error(
        "the archive sent a challenge, which the configured credentials do not answer; \
             set `challenge_answer`"
    )]
    Challenged,
    /// The response stream carries another protocol.
    #[error(
        "the archive's response stream carries messages of schema {found}, expected 101; \
             check the response channel and stream"
    )]
    WrongSchema {
        /// The schema id found.
        found: u16,
    },
    /// The publication or the image of the session went away.
    #[error("the archive's control session was disconnected")]
    Disconnected,
    /// Events came faster than they were taken.
    #[error("the archive sent more than the node took; the session was given up")]
    Backlog,
}

/// What an operator can do about a refusal, where there is something.
fn next_step(code: ArchiveErrorCode) -> &'static str {
    match code {
        ArchiveErrorCode::AuthenticationRejected => "; check `archive_credentials` and `challenge_answer`",
        _ => "",
    }
}

/// How far connecting got.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectStep {
    /// Nobody subscribes to our requests.
    #[error("waiting for the archive to subscribe to the control channel")]
    AwaitPublication,
    /// The next message of the handshake could not be sent.
    #[error("waiting to send; the control publication is back-pressured")]
    Send,
    /// The connect request is unanswered.
    #[error(
        "waiting for the answer to the connect request; \
             check that the archive can reach the response channel"
    )]
    AwaitConnectResponse,
    /// The challenge was answered, with no outcome yet.
    #[error("waiting for the outcome of the challenge")]
    AwaitChallengeOutcome,
    /// The archive id is unanswered.
    #[error("waiting for the archive's id")]
    AwaitArchiveId,
}

/// A recording, as an archive describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recording {
    /// Its id in that archive.
    pub recording_id: i64,
    /// Milliseconds since the epoch.
    pub start_timestamp: i64,
    /// Milliseconds since the epoch, -1 while it is active.
    pub stop_timestamp: i64,
    /// First position that is recorded.
    pub start_position: i64,
    /// End of the recording, -1 while it is active.
    pub stop_position: i64,
    /// First term of the stream.
    pub initial_term_id: i32,
    /// Bytes of a segment file.
    pub segment_file_length: i32,
    /// Bytes of a term.
    pub term_buffer_length: i32,
    /// Bytes of the largest frame.
    pub mtu_length: i32,
    /// The publication that was recorded.
    pub session_id: i32,
    /// The stream that was recorded.
    pub stream_id: i32,
    /// The channel without what only concerned one subscription.
    pub stripped_channel: String,
    /// The channel as it was asked for.
    pub original_channel: String,
    /// Where the stream came from.
    pub source_identity: String,
}

impl From<&RecordingDescriptor<'_>> for Recording {
    fn from(descriptor: &RecordingDescriptor<'_>) -> Self {
        Self {
            recording_id: descriptor.recording_id,
            start_timestamp: descriptor.start_timestamp,
            stop_timestamp: descriptor.stop_timestamp,
            start_position: descriptor.start_position,
            stop_position: descriptor.stop_position,
            initial_term_id: descriptor.initial_term_id,
            segment_file_length: descriptor.segment_file_length,
            term_buffer_length: descriptor.term_buffer_length,
            mtu_length: descriptor.mtu_length,
            session_id: descriptor.session_id,
            stream_id: descriptor.stream_id,
            stripped_channel: descriptor.stripped_channel.to_owned(),
            original_channel: descriptor.original_channel.to_owned(),
            source_identity: descriptor.source_identity.to_owned(),
        }
    }
}
