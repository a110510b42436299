//! Messages between a cluster and its clients (schema 111, streams 101 and 102).
//!
//! A client writes to the ingress stream and reads its own egress stream. Members and non-members use
//! [`SessionEvent`], [`Challenge`] and [`ChallengeResponse`] on the consensus stream too, with
//! `cluster_session_id` -1. Tables: `aeron-cluster-codecs.xml` of Aeron 1.51.0.

use super::message::{Schema, Secret, SemanticVersion, sbe_enum, sbe_message};
use super::sbe::{DecodeError, Message};

/// The schema of every cluster message.
pub const CLUSTER_SCHEMA: Schema = Schema { id: 111, version: 16 };
/// The client protocol's version: 0.3.0. Peers must agree on the major part.
pub const CLUSTER_PROTOCOL_VERSION: SemanticVersion = SemanticVersion::new(0, 3, 0);
/// Bytes before the application's payload in a session message: header and [`SessionMessageHeader`].
pub const SESSION_HEADER_LENGTH: usize = 32;
/// `cluster_session_id` where there is no session: redirects, refusals and everything on the consensus stream.
pub const NULL_SESSION_ID: i64 = -1;

/// A message that a client reads from its egress stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EgressMessage<'a> {
    /// An application message: the header and its payload.
    Session(SessionMessageHeader, &'a [u8]),
    /// The outcome of a connect request, or the end of a session.
    Event(SessionEvent<'a>),
    /// Another member leads now.
    NewLeader(NewLeaderEvent<'a>),
    /// The cluster asks for more credentials.
    Challenge(Challenge<'a>),
    /// The outcome of an admin request.
    AdminResponse(AdminResponse<'a>),
    /// A template that is not an egress message; skip and count it.
    Unknown(u16),
}

impl<'a> EgressMessage<'a> {
    /// Reads one message of an egress stream.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are of another schema, end early, or have a string that is not ASCII.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(bytes)?;
        check_schema(&message)?;
        Ok(match message.header.template_id {
            SessionMessageHeader::TEMPLATE_ID => {
                Self::Session(SessionMessageHeader::decode(&message)?, message.tail())
            }
            SessionEvent::TEMPLATE_ID => Self::Event(SessionEvent::decode(&message)?),
            NewLeaderEvent::TEMPLATE_ID => Self::NewLeader(NewLeaderEvent::decode(&message)?),
            Challenge::TEMPLATE_ID => Self::Challenge(Challenge::decode(&message)?),
            AdminResponse::TEMPLATE_ID => Self::AdminResponse(AdminResponse::decode(&message)?),
            template_id => Self::Unknown(template_id),
        })
    }
}

/// A message that a leader reads from its ingress stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IngressMessage<'a> {
    /// An application message: the header and its payload.
    Session(SessionMessageHeader, &'a [u8]),
    /// A client wants a session.
    Connect(SessionConnectRequest<'a>),
    /// A client ends its session.
    Close(SessionCloseRequest),
    /// A client is alive.
    KeepAlive(SessionKeepAlive),
    /// The answer to a [`Challenge`].
    ChallengeResponse(ChallengeResponse<'a>),
    /// A client asks for an operator's action.
    AdminRequest(AdminRequest<'a>),
    /// A template that is not an ingress message; skip and count it.
    Unknown(u16),
}

impl<'a> IngressMessage<'a> {
    /// Reads one message of an ingress stream.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are of another schema, end early, or have a string that is not ASCII.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(bytes)?;
        check_schema(&message)?;
        Ok(match message.header.template_id {
            SessionMessageHeader::TEMPLATE_ID => {
                Self::Session(SessionMessageHeader::decode(&message)?, message.tail())
            }
            SessionConnectRequest::TEMPLATE_ID => Self::Connect(SessionConnectRequest::decode(&message)?),
            SessionCloseRequest::TEMPLATE_ID => Self::Close(SessionCloseRequest::decode(&message)?),
            SessionKeepAlive::TEMPLATE_ID => Self::KeepAlive(SessionKeepAlive::decode(&message)?),
            ChallengeResponse::TEMPLATE_ID => Self::ChallengeResponse(ChallengeResponse::decode(&message)?),
            AdminRequest::TEMPLATE_ID => Self::AdminRequest(AdminRequest::decode(&message)?),
            template_id => Self::Unknown(template_id),
        })
    }
}

/// Refuses a message of another schema, whatever its template.
pub(super) fn check_schema(message: &Message<'_>) -> Result<(), DecodeError> {
    if message.header.schema_id == CLUSTER_SCHEMA.id {
        Ok(())
    } else {
        Err(DecodeError::UnexpectedSchema(message.header.schema_id))
    }
}

sbe_enum! {
    /// What a [`SessionEvent`] tells.
    EventCode {
        /// The session is open.
        Ok = 0,
        /// The request failed; `detail` says why.
        Error = 1,
        /// Not the leader; `detail` is the ingress endpoints of the members.
        Redirect = 2,
        /// The credentials were refused, or do not allow what was asked.
        AuthenticationRejected = 3,
        /// The session was closed; `detail` is the reason.
        Closed = 4,
    }
}

sbe_enum! {
    /// What an [`AdminRequest`] asks for.
    AdminRequestType {
        /// A snapshot on every member.
        Snapshot = 0,
    }
}

sbe_enum! {
    /// What became of an [`AdminRequest`].
    AdminResponseCode {
        /// Accepted.
        Ok = 0,
        /// Failed; the message says why.
        Error = 1,
        /// The client's principal does not allow it.
        UnauthorisedAccess = 2,
    }
}

sbe_message! {
    /// Before every application message, in ingress, egress, the log and from services to the module.
    SessionMessageHeader = 1 of CLUSTER_SCHEMA, block 24 {
        /// The leadership term that the sender knows.
        leadership_term_id: i64,
        /// The client's session, or a service's id.
        cluster_session_id: i64,
        /// Cluster time at append; 0 in ingress.
        timestamp: i64,
    }
}

sbe_message! {
    /// The outcome of a request to the cluster, or news of a session.
    SessionEvent<'a> = 2 of CLUSTER_SCHEMA, block 44 {
        /// The session, -1 where none exists.
        cluster_session_id: i64,
        /// The request that this answers.
        correlation_id: i64,
        /// The current leadership term.
        leadership_term_id: i64,
        /// The leader as the sender knows it, -1 for none.
        leader_member_id: i32,
        /// What happened.
        code: EventCode,
        /// The cluster's protocol version; null before schema version 6.
        version: SemanticVersion,
        /// Nanoseconds without a leader before an election; null before schema version 13.
        leader_heartbeat_timeout_ns: i64,
    } var {
        /// Text for a human, or the endpoints to go to after a redirect.
        detail: &'a str;
    }
}

sbe_message! {
    /// A client asks for a session.
    SessionConnectRequest<'a> = 3 of CLUSTER_SCHEMA, block 16 {
        /// What the answer will carry.
        correlation_id: i64,
        /// The stream that the client reads.
        response_stream_id: i32,
        /// The client's protocol version; null before schema version 2.
        version: SemanticVersion,
    } var {
        /// The channel that the client reads.
        response_channel: &'a str;
        /// What the authenticator gets.
        encoded_credentials: Secret<'a>;
        /// Free text: name and version of the client.
        client_info: &'a str, since 14;
    }
}

sbe_message! {
    /// A client ends its session.
    SessionCloseRequest = 4 of CLUSTER_SCHEMA, block 16 {
        /// The leadership term that the client knows.
        leadership_term_id: i64,
        /// The session.
        cluster_session_id: i64,
    }
}

sbe_message! {
    /// A client is alive.
    SessionKeepAlive = 5 of CLUSTER_SCHEMA, block 16 {
        /// The leadership term that the client knows.
        leadership_term_id: i64,
        /// The session.
        cluster_session_id: i64,
    }
}

sbe_message! {
    /// Another member leads: clients move their ingress there.
    NewLeaderEvent<'a> = 6 of CLUSTER_SCHEMA, block 20 {
        /// The new leadership term.
        leadership_term_id: i64,
        /// The session.
        cluster_session_id: i64,
        /// The new leader; `ingress_endpoints` must name it.
        leader_member_id: i32,
    } var {
        /// `id=endpoint` of every member, joined by commas.
        ingress_endpoints: &'a str;
    }
}

sbe_message! {
    /// The cluster asks for more credentials.
    Challenge<'a> = 7 of CLUSTER_SCHEMA, block 16 {
        /// The request that is being challenged.
        correlation_id: i64,
        /// The session to name in the answer; -1 on the consensus stream.
        cluster_session_id: i64,
    } var {
        /// What the credentials supplier gets.
        encoded_challenge: &'a [u8];
    }
}

sbe_message! {
    /// The answer to a [`Challenge`].
    ChallengeResponse<'a> = 8 of CLUSTER_SCHEMA, block 16 {
        /// A new one: the outcome will carry it in place of the request's.
        correlation_id: i64,
        /// As in the challenge.
        cluster_session_id: i64,
    } var {
        /// What the authenticator gets.
        encoded_credentials: Secret<'a>;
    }
}

sbe_message! {
    /// A client asks for an operator's action.
    AdminRequest<'a> = 26 of CLUSTER_SCHEMA, block 28 {
        /// The leadership term that the client knows.
        leadership_term_id: i64,
        /// The session.
        cluster_session_id: i64,
        /// What the answer will carry.
        correlation_id: i64,
        /// The action.
        request_type: AdminRequestType,
    } var {
        /// Empty in 1.51.
        payload: &'a [u8];
    }
}

sbe_message! {
    /// What became of an [`AdminRequest`].
    AdminResponse<'a> = 27 of CLUSTER_SCHEMA, block 24 {
        /// The session.
        cluster_session_id: i64,
        /// The request that this answers.
        correlation_id: i64,
        /// The action.
        request_type: AdminRequestType,
        /// The outcome.
        response_code: AdminResponseCode,
    } var {
        /// Text for a human.
        message: &'a str;
        /// Empty in 1.51.
        payload: &'a [u8];
    }
}

#[cfg(test)]
mod tests;
