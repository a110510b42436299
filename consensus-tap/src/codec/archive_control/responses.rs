//! What an archive sends to a client.

use super::{ARCHIVE_SCHEMA, check_schema};
use crate::codec::message::{SemanticVersion, sbe_enum, sbe_message};
use crate::codec::sbe::{DecodeError, Message};

/// A message of a response stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ArchiveResponse<'a> {
    /// The outcome of a request.
    Control(ControlResponse<'a>),
    /// One recording of a listing.
    Descriptor(RecordingDescriptor<'a>),
    /// A recording changed.
    Signal(RecordingSignalEvent),
    /// The archive asks for more credentials.
    Challenge(Challenge<'a>),
    /// The archive is alive.
    Ping(Ping),
    /// A template that is not known here; skip and count it.
    Unknown(u16),
}

impl<'a> ArchiveResponse<'a> {
    /// Reads one message of a response stream.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are of another schema, end early, or have a string that is not ASCII.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(bytes)?;
        check_schema(&message)?;
        Ok(match message.header.template_id {
            ControlResponse::TEMPLATE_ID => Self::Control(ControlResponse::decode(&message)?),
            RecordingDescriptor::TEMPLATE_ID => Self::Descriptor(RecordingDescriptor::decode(&message)?),
            RecordingSignalEvent::TEMPLATE_ID => Self::Signal(RecordingSignalEvent::decode(&message)?),
            Challenge::TEMPLATE_ID => Self::Challenge(Challenge::decode(&message)?),
            Ping::TEMPLATE_ID => Self::Ping(Ping::decode(&message)?),
            template_id => Self::Unknown(template_id),
        })
    }
}

sbe_enum! {
    /// How a request ended.
    ControlResponseCode {
        /// Done; `relevant_id` is the request's result.
        Ok = 0,
        /// Failed; `relevant_id` is an [`ArchiveErrorCode`](super::ArchiveErrorCode).
        Error = 1,
        /// No such recording, or no more of them; `relevant_id` is the id that was not found.
        RecordingUnknown = 2,
        /// No such recording subscription, or no more of them.
        SubscriptionUnknown = 3,
    }
}

sbe_enum! {
    /// What happened to a recording.
    RecordingSignal {
        /// It was started.
        Start = 0,
        /// It was stopped.
        Stop = 1,
        /// It was started again at its end.
        Extend = 2,
        /// It was created by a replication.
        Replicate = 3,
        /// A replication went over to the live stream.
        Merge = 4,
        /// A replication has all of a stopped source.
        Sync = 5,
        /// Segments or the whole were deleted.
        Delete = 6,
        /// A replication ended, however it went.
        ReplicateEnd = 7,
    }
}

sbe_message! {
    /// The outcome of a request.
    ControlResponse<'a> = 1 of ARCHIVE_SCHEMA, block 32 {
        /// The control session.
        control_session_id: i64,
        /// The request that this answers.
        correlation_id: i64,
        /// The request's result, or the error code.
        relevant_id: i64,
        /// How it ended.
        code: ControlResponseCode,
        /// The archive's protocol version; null before schema version 4.
        version: SemanticVersion,
    } var {
        /// Text for a human, empty when all is well.
        error_message: &'a str;
    }
}

sbe_message! {
    /// One recording. Padding may follow it on the wire, because the archive copies a padded catalog record.
    RecordingDescriptor<'a> = 22 of ARCHIVE_SCHEMA, block 80 {
        /// The control session.
        control_session_id: i64,
        /// The listing that this belongs to.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
        /// Milliseconds since the epoch.
        start_timestamp: i64,
        /// Milliseconds since the epoch, -1 while the recording is active.
        stop_timestamp: i64,
        /// First position that is recorded.
        start_position: i64,
        /// End of the recording, -1 while it is active.
        stop_position: i64,
        /// First term of the stream.
        initial_term_id: i32,
        /// Bytes of a segment file.
        segment_file_length: i32,
        /// Bytes of a term.
        term_buffer_length: i32,
        /// Largest frame of the stream.
        mtu_length: i32,
        /// The publication that was recorded.
        session_id: i32,
        /// The stream that was recorded.
        stream_id: i32,
    } var {
        /// The channel without what only concerned one subscription.
        stripped_channel: &'a str;
        /// The channel as it was asked for.
        original_channel: &'a str;
        /// Where the stream came from.
        source_identity: &'a str;
    }
}

sbe_message! {
    /// A recording changed.
    RecordingSignalEvent = 24 of ARCHIVE_SCHEMA, block 44 {
        /// The control session.
        control_session_id: i64,
        /// The request that set this off.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
        /// The recording subscription, -1 for none.
        subscription_id: i64,
        /// The recording's position at that moment.
        position: i64,
        /// What happened.
        signal: RecordingSignal,
    }
}

sbe_message! {
    /// The archive asks for more credentials.
    Challenge<'a> = 59 of ARCHIVE_SCHEMA, block 20 {
        /// The control session to name in the answer.
        control_session_id: i64,
        /// The connect request that is being challenged.
        correlation_id: i64,
        /// The archive's protocol version.
        version: SemanticVersion,
    } var {
        /// What the credentials supplier gets.
        encoded_challenge: &'a [u8];
    }
}

sbe_message! {
    /// The archive is alive, and looks whether the client is. Wants no answer.
    Ping = 106 of ARCHIVE_SCHEMA, block 8 {
        /// The control session.
        control_session_id: i64,
    }
}
