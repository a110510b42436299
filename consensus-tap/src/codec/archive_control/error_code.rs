//! What an archive's error code means.

use std::fmt;

/// The code in `relevant_id` of an erroneous `ControlResponse`. Same numbers as `ArchiveException` of 1.51.0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ArchiveErrorCode {
    /// 0: no particular one; the message tells.
    Generic,
    /// 1: the session is listing already.
    ActiveListing,
    /// 2: the recording is active.
    ActiveRecording,
    /// 3: the channel and stream are being recorded already.
    ActiveSubscription,
    /// 4: nothing is being recorded there.
    UnknownSubscription,
    /// 5: no such recording.
    UnknownRecording,
    /// 6: no such replay.
    UnknownReplay,
    /// 7: the archive serves as many replays as it may.
    MaxReplays,
    /// 8: the archive makes as many recordings as it may.
    MaxRecordings,
    /// 9: the stream does not continue the recording.
    InvalidExtension,
    /// 10: the credentials were refused.
    AuthenticationRejected,
    /// 11: the disk is full, or nearly.
    StorageSpace,
    /// 12: no such replication.
    UnknownReplication,
    /// 13: the principal does not allow it.
    UnauthorisedAction,
    /// 14: the source archive of a replication could not be reached.
    ReplicationConnectionFailure,
    /// 15: there is nothing to replay.
    EmptyRecording,
    /// 16: the position is outside the recording, beyond the replay's limit, or not at a frame.
    InvalidPosition,
    /// A code of a later version.
    Other(i64),
}

impl ArchiveErrorCode {
    /// The code in a response's `relevant_id`.
    pub const fn from_relevant_id(relevant_id: i64) -> Self {
        match relevant_id {
            0 => Self::Generic,
            1 => Self::ActiveListing,
            2 => Self::ActiveRecording,
            3 => Self::ActiveSubscription,
            4 => Self::UnknownSubscription,
            5 => Self::UnknownRecording,
            6 => Self::UnknownReplay,
            7 => Self::MaxReplays,
            8 => Self::MaxRecordings,
            9 => Self::InvalidExtension,
            10 => Self::AuthenticationRejected,
            11 => Self::StorageSpace,
            12 => Self::UnknownReplication,
            13 => Self::UnauthorisedAction,
            14 => Self::ReplicationConnectionFailure,
            15 => Self::EmptyRecording,
            16 => Self::InvalidPosition,
            other => Self::Other(other),
        }
    }

    /// What a response's `relevant_id` holds for this code.
    pub const fn to_relevant_id(self) -> i64 {
        match self {
            Self::Generic => 0,
            Self::ActiveListing => 1,
            Self::ActiveRecording => 2,
            Self::ActiveSubscription => 3,
            Self::UnknownSubscription => 4,
            Self::UnknownRecording => 5,
            Self::UnknownReplay => 6,
            Self::MaxReplays => 7,
            Self::MaxRecordings => 8,
            Self::InvalidExtension => 9,
            Self::AuthenticationRejected => 10,
            Self::StorageSpace => 11,
            Self::UnknownReplication => 12,
            Self::UnauthorisedAction => 13,
            Self::ReplicationConnectionFailure => 14,
            Self::EmptyRecording => 15,
            Self::InvalidPosition => 16,
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for ArchiveErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Generic => "error without a code of its own",
            Self::ActiveListing => "a listing is already under way",
            Self::ActiveRecording => "the recording is active",
            Self::ActiveSubscription => "the stream is already being recorded",
            Self::UnknownSubscription => "unknown recording subscription",
            Self::UnknownRecording => "unknown recording",
            Self::UnknownReplay => "unknown replay",
            Self::MaxReplays => "too many concurrent replays",
            Self::MaxRecordings => "too many concurrent recordings",
            Self::InvalidExtension => "the stream does not extend the recording",
            Self::AuthenticationRejected => "authentication rejected",
            Self::StorageSpace => "low storage space",
            Self::UnknownReplication => "unknown replication",
            Self::UnauthorisedAction => "action not authorised",
            Self::ReplicationConnectionFailure => "the source archive could not be reached",
            Self::EmptyRecording => "the recording is empty",
            Self::InvalidPosition => "invalid position",
            Self::Other(other) => return write!(f, "unknown error code {other}"),
        };
        f.write_str(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in (-2..20).chain([i64::MIN, i64::MAX]) {
            assert_eq!(ArchiveErrorCode::from_relevant_id(code).to_relevant_id(), code);
        }
        assert_eq!(ArchiveErrorCode::from_relevant_id(16), ArchiveErrorCode::InvalidPosition);
        assert_eq!(ArchiveErrorCode::from_relevant_id(17).to_string(), "unknown error code 17");
    }
}
