//! What a client sends to an archive.

use super::{ARCHIVE_SCHEMA, check_schema};
use crate::codec::message::{Secret, SemanticVersion, sbe_message};
use crate::codec::sbe::{DecodeError, Message};

/// A message of a control stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ArchiveRequest<'a> {
    /// Opens a control session, as clients did before they had credentials.
    Connect(ConnectRequest<'a>),
    /// Opens a control session.
    AuthConnect(AuthConnectRequest<'a>),
    /// Answers a challenge.
    ChallengeResponse(ChallengeResponse<'a>),
    /// Asks which archive this is.
    ArchiveId(ArchiveIdRequest),
    /// Tells that the client lives.
    KeepAlive(KeepAliveRequest),
    /// Ends a control session.
    CloseSession(CloseSessionRequest),
    /// Starts a replay.
    Replay(ReplayRequest<'a>),
    /// Starts a replay that a counter bounds.
    BoundedReplay(BoundedReplayRequest<'a>),
    /// Stops a replay.
    StopReplay(StopReplayRequest),
    /// Stops all replays of a recording.
    StopAllReplays(StopAllReplaysRequest),
    /// Asks for a token, so that a replay may be asked for from another publication.
    ReplayToken(ReplayTokenRequest),
    /// Asks for descriptors from an id on.
    ListRecordings(ListRecordingsRequest),
    /// Asks for descriptors of one stream from an id on.
    ListRecordingsForUri(ListRecordingsForUriRequest<'a>),
    /// Asks for one descriptor.
    ListRecording(ListRecordingRequest),
    /// Asks for the newest recording of a stream.
    FindLastMatching(FindLastMatchingRecordingRequest<'a>),
    /// Asks for recording subscriptions.
    ListRecordingSubscriptions(ListRecordingSubscriptionsRequest<'a>),
    /// Asks how far an active recording is.
    RecordingPosition(RecordingPositionRequest),
    /// Asks where a recording begins.
    StartPosition(StartPositionRequest),
    /// Asks where a stopped recording ends.
    StopPosition(StopPositionRequest),
    /// Asks how far a recording is, active or not.
    MaxRecordedPosition(MaxRecordedPositionRequest),
    /// Asks for something that would change an archive.
    Change(ChangeRequest),
    /// A template that is not known here; answer nothing and count it.
    Unknown(u16),
}

impl<'a> ArchiveRequest<'a> {
    /// Reads one message of a control stream.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are of another schema, end early, or have a string that is not ASCII.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(bytes)?;
        check_schema(&message)?;
        Ok(match message.header.template_id {
            ConnectRequest::TEMPLATE_ID => Self::Connect(ConnectRequest::decode(&message)?),
            AuthConnectRequest::TEMPLATE_ID => Self::AuthConnect(AuthConnectRequest::decode(&message)?),
            ChallengeResponse::TEMPLATE_ID => Self::ChallengeResponse(ChallengeResponse::decode(&message)?),
            ArchiveIdRequest::TEMPLATE_ID => Self::ArchiveId(ArchiveIdRequest::decode(&message)?),
            KeepAliveRequest::TEMPLATE_ID => Self::KeepAlive(KeepAliveRequest::decode(&message)?),
            CloseSessionRequest::TEMPLATE_ID => Self::CloseSession(CloseSessionRequest::decode(&message)?),
            ReplayRequest::TEMPLATE_ID => Self::Replay(ReplayRequest::decode(&message)?),
            BoundedReplayRequest::TEMPLATE_ID => Self::BoundedReplay(BoundedReplayRequest::decode(&message)?),
            StopReplayRequest::TEMPLATE_ID => Self::StopReplay(StopReplayRequest::decode(&message)?),
            StopAllReplaysRequest::TEMPLATE_ID => {
                Self::StopAllReplays(StopAllReplaysRequest::decode(&message)?)
            }
            ReplayTokenRequest::TEMPLATE_ID => Self::ReplayToken(ReplayTokenRequest::decode(&message)?),
            ListRecordingsForUriRequest::TEMPLATE_ID => {
                Self::ListRecordingsForUri(ListRecordingsForUriRequest::decode(&message)?)
            }
            ListRecordingSubscriptionsRequest::TEMPLATE_ID => {
                Self::ListRecordingSubscriptions(ListRecordingSubscriptionsRequest::decode(&message)?)
            }
            ListRecordingsRequest::TEMPLATE_ID => {
                Self::ListRecordings(ListRecordingsRequest::decode(&message)?)
            }
            ListRecordingRequest::TEMPLATE_ID => Self::ListRecording(ListRecordingRequest::decode(&message)?),
            FindLastMatchingRecordingRequest::TEMPLATE_ID => {
                Self::FindLastMatching(FindLastMatchingRecordingRequest::decode(&message)?)
            }
            RecordingPositionRequest::TEMPLATE_ID => {
                Self::RecordingPosition(RecordingPositionRequest::decode(&message)?)
            }
            StartPositionRequest::TEMPLATE_ID => Self::StartPosition(StartPositionRequest::decode(&message)?),
            StopPositionRequest::TEMPLATE_ID => Self::StopPosition(StopPositionRequest::decode(&message)?),
            MaxRecordedPositionRequest::TEMPLATE_ID => {
                Self::MaxRecordedPosition(MaxRecordedPositionRequest::decode(&message)?)
            }
            template_id => match ChangeRequest::decode(&message) {
                Some(request) => Self::Change(request),
                None => Self::Unknown(template_id),
            },
        })
    }
}

/// A request that would make an archive record, or change what it has. Only what an answer needs is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChangeRequest {
    /// What is asked for, in words.
    pub name: &'static str,
    /// The control session.
    pub control_session_id: i64,
    /// What the answer will carry.
    pub correlation_id: i64,
}

impl ChangeRequest {
    /// Template ids and what they ask for. Later versions of a request have an id of their own.
    const NAMES: [(u16, &'static str); 19] = [
        (4, "start recording"),
        (5, "stop recording"),
        (11, "extend recording"),
        (13, "truncate recording"),
        (14, "stop recording subscription"),
        (50, "replicate"),
        (51, "stop replication"),
        (53, "detach segments"),
        (54, "delete detached segments"),
        (55, "purge segments"),
        (56, "attach segments"),
        (57, "migrate segments"),
        (62, "replicate"),
        (63, "start recording"),
        (64, "extend recording"),
        (65, "stop recording by identity"),
        (66, "replicate"),
        (104, "purge recording"),
        (107, "update channel"),
    ];

    fn decode(message: &Message<'_>) -> Option<Self> {
        let template_id = message.header.template_id;
        let (_, name) = Self::NAMES.into_iter().find(|(id, _)| *id == template_id)?;
        Some(Self { name, control_session_id: message.i64(0), correlation_id: message.i64(8) })
    }
}

sbe_message! {
    /// Opens a control session without credentials: what clients sent before Aeron 1.24.
    ConnectRequest<'a> = 2 of ARCHIVE_SCHEMA, block 16 {
        /// What the answer will carry.
        correlation_id: i64,
        /// The stream that the client reads.
        response_stream_id: i32,
        /// The client's protocol version; null before schema version 2.
        version: SemanticVersion,
    } var {
        /// The channel that the client reads. The archive's publication uses its `session-id`.
        response_channel: &'a str;
    }
}

sbe_message! {
    /// Opens a control session: the first message of every client.
    AuthConnectRequest<'a> = 58 of ARCHIVE_SCHEMA, block 16 {
        /// What the answer will carry.
        correlation_id: i64,
        /// The stream that the client reads.
        response_stream_id: i32,
        /// The client's protocol version; any other major part than the archive's is refused.
        version: SemanticVersion,
    } var {
        /// The channel that the client reads. The archive's publication uses its `session-id`.
        response_channel: &'a str;
        /// What the authenticator gets.
        encoded_credentials: Secret<'a>;
        /// Free text: name and version of the client.
        client_info: &'a str, since 12;
    }
}

sbe_message! {
    /// The answer to a [`Challenge`](super::Challenge).
    ChallengeResponse<'a> = 60 of ARCHIVE_SCHEMA, block 16 {
        /// The control session.
        control_session_id: i64,
        /// A new one: the outcome will carry it in place of the connect request's.
        correlation_id: i64,
    } var {
        /// What the authenticator gets.
        encoded_credentials: Secret<'a>;
    }
}

sbe_message! {
    /// Asks for the archive's id; not before protocol version 1.11.0.
    ArchiveIdRequest = 68 of ARCHIVE_SCHEMA, block 16 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
    }
}

sbe_message! {
    /// Tells that the client lives. Has no answer.
    KeepAliveRequest = 61 of ARCHIVE_SCHEMA, block 16 {
        /// The control session.
        control_session_id: i64,
        /// Of no use, because nothing answers: -1.
        correlation_id: i64,
    }
}

sbe_message! {
    /// Ends a control session. Has no answer.
    CloseSessionRequest = 3 of ARCHIVE_SCHEMA, block 8 {
        /// The control session.
        control_session_id: i64,
    }
}

sbe_message! {
    /// Starts a replay; the answer is the replay's session id, see
    /// [`replay_image_session_id`](super::replay_image_session_id).
    ReplayRequest<'a> = 6 of ARCHIVE_SCHEMA, block 56 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
        /// Where to begin, a multiple of 32; -1 is the recording's start.
        position: i64,
        /// Bytes to replay, or [`REPLAY_ALL_AND_FOLLOW`](super::REPLAY_ALL_AND_FOLLOW) or
        /// [`REPLAY_ALL_AND_STOP`](super::REPLAY_ALL_AND_STOP).
        length: i64,
        /// The stream to replay to.
        replay_stream_id: i32,
        /// Most bytes that the archive reads at once, -1 for its own default; null before schema version 7.
        file_io_max_length: i32,
        /// For response channels, -1 otherwise; null before schema version 10.
        replay_token: i64,
    } var {
        /// The channel to replay to; its `session-id` becomes the image's.
        replay_channel: &'a str;
    }
}

sbe_message! {
    /// Starts a replay that never passes a counter's value.
    BoundedReplayRequest<'a> = 18 of ARCHIVE_SCHEMA, block 60 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
        /// Where to begin, a multiple of 32; -1 is the recording's start.
        position: i64,
        /// Bytes to replay, or [`REPLAY_ALL_AND_FOLLOW`](super::REPLAY_ALL_AND_FOLLOW) or
        /// [`REPLAY_ALL_AND_STOP`](super::REPLAY_ALL_AND_STOP).
        length: i64,
        /// The counter, in the archive's driver. The archive does not check what it counts.
        limit_counter_id: i32,
        /// The stream to replay to.
        replay_stream_id: i32,
        /// Most bytes that the archive reads at once, -1 for its own default; null before schema version 7.
        file_io_max_length: i32,
        /// For response channels, -1 otherwise; null before schema version 10.
        replay_token: i64,
    } var {
        /// The channel to replay to; its `session-id` becomes the image's.
        replay_channel: &'a str;
    }
}

sbe_message! {
    /// Stops a replay; no error if there is none.
    StopReplayRequest = 7 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// What answered the replay request.
        replay_session_id: i64,
    }
}

sbe_message! {
    /// Asks for descriptors in order of their ids.
    ListRecordingsRequest = 8 of ARCHIVE_SCHEMA, block 28 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// First id to list, present or not.
        from_recording_id: i64,
        /// Most descriptors to send.
        record_count: i32,
    }
}

sbe_message! {
    /// Asks for one descriptor.
    ListRecordingRequest = 10 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks for the newest recording of a session and stream; the answer is its id or -1.
    FindLastMatchingRecordingRequest<'a> = 16 of ARCHIVE_SCHEMA, block 32 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// Oldest id to consider.
        min_recording_id: i64,
        /// The publication that was recorded.
        session_id: i32,
        /// The stream that was recorded.
        stream_id: i32,
    } var {
        /// What the original channel must contain, byte for byte.
        channel: &'a str;
    }
}

sbe_message! {
    /// Asks how far an active recording is; the answer is -1 if it is not active.
    RecordingPositionRequest = 12 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks where a recording begins.
    StartPositionRequest = 52 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks where a recording was stopped; the answer is -1 while it is active.
    StopPositionRequest = 15 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks how far a recording is: its live position, or where it was stopped.
    MaxRecordedPositionRequest = 67 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Stops every replay of a recording; no error if there is none.
    StopAllReplaysRequest = 19 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording; -1 for all.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks for a token for replays to response channels.
    ReplayTokenRequest = 105 of ARCHIVE_SCHEMA, block 24 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The recording.
        recording_id: i64,
    }
}

sbe_message! {
    /// Asks for descriptors of one stream in order of their ids.
    ListRecordingsForUriRequest<'a> = 9 of ARCHIVE_SCHEMA, block 32 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// First id to list, present or not.
        from_recording_id: i64,
        /// Most descriptors to send.
        record_count: i32,
        /// The stream that was recorded.
        stream_id: i32,
    } var {
        /// What the original channel must contain, byte for byte.
        channel: &'a str;
    }
}

sbe_message! {
    /// Asks which streams are being recorded.
    ListRecordingSubscriptionsRequest<'a> = 17 of ARCHIVE_SCHEMA, block 32 {
        /// The control session.
        control_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// How many to leave out.
        pseudo_index: i32,
        /// Most descriptors to send.
        subscription_count: i32,
        /// Whether `stream_id` counts: 1 for yes.
        apply_stream_id: i32,
        /// The stream.
        stream_id: i32,
    } var {
        /// What the channel must contain, byte for byte.
        channel: &'a str;
    }
}
