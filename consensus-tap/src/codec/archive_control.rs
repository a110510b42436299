//! Archive control protocol messages (schema 101).
//!
//! A client writes [`requests`](ArchiveRequest) to the archive's control stream (default 10) and reads
//! [`responses`](ArchiveResponse) from its own response stream (default 20). A request names its control
//! session and a correlation id, which the answer repeats. A [`ControlResponse`] that is an error carries
//! the error code, not an id, in `relevant_id`. Tables: `aeron-archive-codecs.xml` of Aeron 1.51.0.

mod error_code;
mod requests;
mod responses;

pub use error_code::ArchiveErrorCode;
pub use requests::{
    ArchiveIdRequest, ArchiveRequest, AuthConnectRequest, BoundedReplayRequest, ChallengeResponse,
    ChangeRequest, CloseSessionRequest, ConnectRequest, FindLastMatchingRecordingRequest, KeepAliveRequest,
    ListRecordingRequest, ListRecordingSubscriptionsRequest, ListRecordingsForUriRequest,
    ListRecordingsRequest, MaxRecordedPositionRequest, RecordingPositionRequest, ReplayRequest,
    ReplayTokenRequest, StartPositionRequest, StopAllReplaysRequest, StopPositionRequest, StopReplayRequest,
};
pub use responses::{
    ArchiveResponse, Challenge, ControlResponse, ControlResponseCode, Ping, RecordingDescriptor,
    RecordingSignal, RecordingSignalEvent,
};

use super::message::{Schema, SemanticVersion};
use super::sbe::{DecodeError, Message};

/// The schema of every archive control message.
pub const ARCHIVE_SCHEMA: Schema = Schema { id: 101, version: 13 };
/// The control protocol's version: 1.12.0. Peers must agree on the major part.
pub const ARCHIVE_PROTOCOL_VERSION: SemanticVersion = SemanticVersion::new(1, 12, 0);
/// The first protocol version whose archives answer an [`ArchiveIdRequest`]: 1.11.0.
pub const ARCHIVE_ID_VERSION: SemanticVersion = SemanticVersion::new(1, 11, 0);
/// "None", "not set" and "still active" in ids, positions and lengths.
pub const NULL_VALUE: i64 = -1;
/// A replay's length: everything, then what is recorded meanwhile, for as long as the recording is active.
pub const REPLAY_ALL_AND_FOLLOW: i64 = -1;
/// A replay's length: everything up to the limit at the time of the request.
pub const REPLAY_ALL_AND_STOP: i64 = -2;

/// The session id of a replay's image, from the replay session id that answered the request.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the session id")]
pub const fn replay_image_session_id(replay_session_id: i64) -> i32 {
    replay_session_id as i32
}

fn check_schema(message: &Message<'_>) -> Result<(), DecodeError> {
    if message.header.schema_id == ARCHIVE_SCHEMA.id {
        Ok(())
    } else {
        Err(DecodeError::UnexpectedSchema(message.header.schema_id))
    }
}

#[cfg(test)]
mod tests;
