//! Messages between members and non-members (schema 111, stream 108).
//!
//! A non-member may send [`BackupQuery`], [`HeartbeatRequest`], [`StandbySnapshot`] and
//! [`ChallengeResponse`], and hears [`BackupResponse`], [`HeartbeatResponse`], [`SessionEvent`] and
//! [`Challenge`]. Every answer goes to the channel that the request names, once it is connected. A stored
//! `StandbySnapshot` is never acknowledged. Tables: `aeron-cluster-codecs.xml` of Aeron 1.51.0.

mod members;
mod snapshots;

pub use members::{
    ClusterMember, IngressEndpoint, MEMBER_COUNT_MAX, MembersError, list_with_standby, parse_cluster_members,
    parse_ingress_endpoints,
};
pub use snapshots::{
    BackupResponse, SnapshotEntry, Snapshots, StandbyEntries, StandbyEntry, StandbySnapshot,
};

use super::message::{Secret, SemanticVersion, sbe_message};
use super::sbe::{DecodeError, Message};
use super::session::{CLUSTER_SCHEMA, Challenge, ChallengeResponse, SessionEvent, check_schema};

/// `BackupQuery::log_position` when the newest snapshots are wanted.
pub const ANY_LOG_POSITION: i64 = i64::MAX;

/// A message of a consensus stream that concerns a non-member: what a standby hears from its source, and
/// what it will be asked once it is a source itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConsensusMessage<'a> {
    /// The answer to a [`BackupQuery`].
    BackupResponse(BackupResponse<'a>),
    /// The answer to a [`HeartbeatRequest`].
    HeartbeatResponse(HeartbeatResponse),
    /// A request was refused.
    SessionEvent(SessionEvent<'a>),
    /// The member asks for more credentials.
    Challenge(Challenge<'a>),
    /// Somebody wants to follow.
    BackupQuery(BackupQuery<'a>),
    /// Somebody asks whether we live.
    HeartbeatRequest(HeartbeatRequest<'a>),
    /// A standby tells of snapshots in its archive.
    StandbySnapshot(StandbySnapshot<'a>),
    /// The answer to a challenge of ours.
    ChallengeResponse(ChallengeResponse<'a>),
    /// A template that concerns members only, or none; skip and count it.
    Unknown(u16),
}

impl<'a> ConsensusMessage<'a> {
    /// Reads one message of a consensus stream.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are of another schema, end early, or have a string that is not ASCII.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(bytes)?;
        check_schema(&message)?;
        Ok(match message.header.template_id {
            BackupResponse::TEMPLATE_ID => Self::BackupResponse(BackupResponse::decode(&message)?),
            HeartbeatResponse::TEMPLATE_ID => Self::HeartbeatResponse(HeartbeatResponse::decode(&message)?),
            SessionEvent::TEMPLATE_ID => Self::SessionEvent(SessionEvent::decode(&message)?),
            Challenge::TEMPLATE_ID => Self::Challenge(Challenge::decode(&message)?),
            BackupQuery::TEMPLATE_ID => Self::BackupQuery(BackupQuery::decode(&message)?),
            HeartbeatRequest::TEMPLATE_ID => Self::HeartbeatRequest(HeartbeatRequest::decode(&message)?),
            StandbySnapshot::TEMPLATE_ID => Self::StandbySnapshot(StandbySnapshot::decode(&message)?),
            ChallengeResponse::TEMPLATE_ID => Self::ChallengeResponse(ChallengeResponse::decode(&message)?),
            template_id => Self::Unknown(template_id),
        })
    }
}

sbe_message! {
    /// A non-member asks a member where the log is, how far it is committed, and for its snapshots.
    BackupQuery<'a> = 77 of CLUSTER_SCHEMA, block 24 {
        /// What the answer will carry.
        correlation_id: i64,
        /// The stream that the asker reads.
        response_stream_id: i32,
        /// [`CLUSTER_PROTOCOL_VERSION`](super::session::CLUSTER_PROTOCOL_VERSION); any other major part is refused.
        version: SemanticVersion,
        /// Newest position that a returned snapshot may have; null before schema version 16.
        log_position: i64,
    } var {
        /// The channel that the asker reads.
        response_channel: &'a str;
        /// What the member's authenticator gets.
        encoded_credentials: Secret<'a>;
    }
}

sbe_message! {
    /// A non-member asks whether a member lives. Proves neither leadership nor commit.
    HeartbeatRequest<'a> = 79 of CLUSTER_SCHEMA, block 12 {
        /// What the answer will carry.
        correlation_id: i64,
        /// The stream that the asker reads.
        response_stream_id: i32,
    } var {
        /// The channel that the asker reads.
        response_channel: &'a str;
        /// What the member's authenticator gets.
        encoded_credentials: Secret<'a>;
    }
}

sbe_message! {
    /// A member lives.
    HeartbeatResponse = 80 of CLUSTER_SCHEMA, block 8 {
        /// The request that this answers.
        correlation_id: i64,
    }
}

#[cfg(test)]
mod tests;
