//! Messages of the cluster's log (schema 111, stream 100), as the leader appends them.
//!
//! ```text
//!   0             8               16                 24         32
//!  | SBE header  | leadership    | cluster session  | timestamp | application payload …   SessionMessageHeader(1)
//!  |             |   term id     |   id             |           |
//! ```
//! Every message begins with the SBE header and the leadership term id; `timestamp` is cluster time in the
//! log's own unit. The other layouts stand with their types. Source: `aeron-cluster-codecs.xml` of
//! Aeron 1.51, schema version 16. Readers ignore MembershipChangeEvent(25) and templates they do not know.

pub use service_api::{CloseReason, ClusterTimeUnit};

use super::sbe::{DecodeError, Encoder, Message, MessageHeader, NULL_I32};

/// Schema id of every message between, into and out of cluster members.
pub const SCHEMA_ID: u16 = 111;
/// Version of the schema that Aeron 1.51 writes.
pub const SCHEMA_VERSION: u16 = 16;
/// Bytes before the payload of a [`SessionMessage`]: SBE header and block.
pub const SESSION_HEADER_LENGTH: usize = 32;

/// One message of the log, decoded. Borrows from the message's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogEvent<'a> {
    /// A message from a client, or from a service when the session id is negative.
    SessionMessage(SessionMessage<'a>),
    /// A timer fired.
    Timer(TimerEvent),
    /// A client's session began.
    SessionOpen(SessionOpenEvent<'a>),
    /// A client's session ended.
    SessionClose(SessionCloseEvent),
    /// An operator suspended, resumed or snapshotted the cluster.
    ClusterAction(ClusterActionRequest),
    /// A leader's reign began.
    NewLeadershipTerm(NewLeadershipTermEvent),
    /// A message that readers pass over: MembershipChangeEvent(25) and whatever a newer version adds.
    Ignored {
        /// Its template id.
        template_id: u16,
    },
}

impl<'a> LogEvent<'a> {
    /// Decodes one whole message, without its frame headers.
    ///
    /// # Errors
    /// [`EventError`] when the message is not of schema 111, is cut short, or holds an enum value that
    /// schema version 16 does not name.
    #[inline]
    pub fn decode(message: &'a [u8]) -> Result<Self, EventError> {
        // Nearly every message of a log is one of these; the rest takes the slower, general way.
        if let Some(message) = SessionMessage::from_fixed_layout(message) {
            return Ok(Self::SessionMessage(message));
        }
        Self::decode_any(message)
    }

    #[inline(never)]
    fn decode_any(bytes: &'a [u8]) -> Result<Self, EventError> {
        let message = Message::parse(bytes)?;
        if message.header.schema_id != SCHEMA_ID {
            return Err(DecodeError::UnexpectedSchema(message.header.schema_id).into());
        }
        Ok(match message.header.template_id {
            SessionMessage::TEMPLATE_ID => Self::SessionMessage(SessionMessage::from_message(&message)?),
            TimerEvent::TEMPLATE_ID => Self::Timer(TimerEvent::from_message(&message)?),
            SessionOpenEvent::TEMPLATE_ID => Self::SessionOpen(SessionOpenEvent::from_message(&message)?),
            SessionCloseEvent::TEMPLATE_ID => Self::SessionClose(SessionCloseEvent::from_message(&message)?),
            ClusterActionRequest::TEMPLATE_ID => {
                Self::ClusterAction(ClusterActionRequest::from_message(&message)?)
            }
            NewLeadershipTermEvent::TEMPLATE_ID => {
                Self::NewLeadershipTerm(NewLeadershipTermEvent::from_message(&message)?)
            }
            template_id => Self::Ignored { template_id },
        })
    }

    /// The term in which the leader appended this message, `None` for an ignored one.
    #[inline]
    pub fn leadership_term_id(&self) -> Option<i64> {
        match self {
            Self::SessionMessage(event) => Some(event.leadership_term_id),
            Self::Timer(event) => Some(event.leadership_term_id),
            Self::SessionOpen(event) => Some(event.leadership_term_id),
            Self::SessionClose(event) => Some(event.leadership_term_id),
            Self::ClusterAction(event) => Some(event.leadership_term_id),
            Self::NewLeadershipTerm(event) => Some(event.leadership_term_id),
            Self::Ignored { .. } => None,
        }
    }

    /// Cluster time at which the leader appended this message, `None` for an ignored one.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        match self {
            Self::SessionMessage(event) => Some(event.timestamp),
            Self::Timer(event) => Some(event.timestamp),
            Self::SessionOpen(event) => Some(event.timestamp),
            Self::SessionClose(event) => Some(event.timestamp),
            Self::ClusterAction(event) => Some(event.timestamp),
            Self::NewLeadershipTerm(event) => Some(event.timestamp),
            Self::Ignored { .. } => None,
        }
    }
}

/// SessionMessageHeader(1) and the payload behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionMessage<'a> {
    /// The term of the leader that appended it. A client sends the term it knows.
    pub leadership_term_id: i64,
    /// The client's session; negative for a service's message, see [`service_id_of`].
    pub cluster_session_id: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// What the client or service sent.
    pub payload: &'a [u8],
}

impl<'a> SessionMessage<'a> {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 1;
    const BLOCK_LENGTH: u16 = 24;
    /// First eight bytes of the message as one little-endian integer, and the bits of it that must match:
    /// all but the version, which only ever grows and has not changed this block.
    const FIXED_HEADER: u64 =
        Self::BLOCK_LENGTH as u64 | (Self::TEMPLATE_ID as u64) << 16 | (SCHEMA_ID as u64) << 32;
    const FIXED_HEADER_MASK: u64 = 0x0000_ffff_ffff_ffff;

    #[inline]
    fn from_fixed_layout(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, payload) = bytes.split_first_chunk::<SESSION_HEADER_LENGTH>()?;
        if u64_at(fixed, 0) & Self::FIXED_HEADER_MASK != Self::FIXED_HEADER {
            return None;
        }
        Some(Self {
            leadership_term_id: u64_at(fixed, 8).cast_signed(),
            cluster_session_id: u64_at(fixed, 16).cast_signed(),
            timestamp: u64_at(fixed, 24).cast_signed(),
            payload,
        })
    }

    fn from_message(message: &Message<'a>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        Ok(Self {
            leadership_term_id: message.i64(0),
            cluster_session_id: message.i64(8),
            timestamp: message.i64(16),
            payload: message.tail(),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header_bytes());
        out.extend_from_slice(self.payload);
    }

    /// What stands before the payload.
    #[inline]
    pub fn header_bytes(&self) -> [u8; SESSION_HEADER_LENGTH] {
        let first = Self::FIXED_HEADER | u64::from(SCHEMA_VERSION) << 48;
        let fields = [
            first,
            self.leadership_term_id.cast_unsigned(),
            self.cluster_session_id.cast_unsigned(),
            self.timestamp.cast_unsigned(),
        ];
        let mut bytes = [0; SESSION_HEADER_LENGTH];
        for (bytes, field) in bytes.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// TimerEvent(20): block of 24 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimerEvent {
    /// The term of the leader that appended it.
    pub leadership_term_id: i64,
    /// The key under which a service scheduled it, shared by all services.
    pub correlation_id: i64,
    /// Cluster time, never before the timer's deadline.
    pub timestamp: i64,
}

impl TimerEvent {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 20;
    const BLOCK_LENGTH: u16 = 24;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        Ok(Self {
            leadership_term_id: message.i64(0),
            correlation_id: message.i64(8),
            timestamp: message.i64(16),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.leadership_term_id)
            .i64(self.correlation_id)
            .i64(self.timestamp);
    }
}

/// SessionOpenEvent(21): block of 36 bytes, then response channel and encoded principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionOpenEvent<'a> {
    /// The term of the leader that appended it.
    pub leadership_term_id: i64,
    /// The client's own id of its connect request.
    pub correlation_id: i64,
    /// The session that opened.
    pub cluster_session_id: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// Stream on which the client listens.
    pub response_stream_id: i32,
    /// Channel on which the client listens.
    pub response_channel: &'a str,
    /// Who the authenticator says the client is.
    pub encoded_principal: &'a [u8],
}

impl<'a> SessionOpenEvent<'a> {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 21;
    const BLOCK_LENGTH: u16 = 36;

    fn from_message(message: &Message<'a>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        let mut tail = message.tail_reader();
        Ok(Self {
            leadership_term_id: message.i64(0),
            correlation_id: message.i64(8),
            cluster_session_id: message.i64(16),
            timestamp: message.i64(24),
            response_stream_id: message.i32(32),
            response_channel: tail.ascii()?,
            encoded_principal: tail.bytes()?,
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.leadership_term_id)
            .i64(self.correlation_id)
            .i64(self.cluster_session_id)
            .i64(self.timestamp)
            .i32(self.response_stream_id)
            .bytes(self.response_channel.as_bytes())
            .bytes(self.encoded_principal);
    }
}

/// SessionCloseEvent(22): block of 28 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionCloseEvent {
    /// The term of the leader that appended it.
    pub leadership_term_id: i64,
    /// The session that closed.
    pub cluster_session_id: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// Who closed it.
    pub close_reason: CloseReason,
}

impl SessionCloseEvent {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 22;
    const BLOCK_LENGTH: u16 = 28;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        let code = message.i32(24);
        Ok(Self {
            leadership_term_id: message.i64(0),
            cluster_session_id: message.i64(8),
            timestamp: message.i64(16),
            close_reason: CloseReason::from_code(code)
                .ok_or(EventError::UnknownValue { field: "closeReason", value: code })?,
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.leadership_term_id)
            .i64(self.cluster_session_id)
            .i64(self.timestamp)
            .i32(self.close_reason.code());
    }
}

/// ClusterActionRequest(23): block of 32 bytes, 28 before schema version 11.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClusterActionRequest {
    /// The term of the leader that appended it.
    pub leadership_term_id: i64,
    /// End of this very frame in the log.
    pub log_position: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// What to do.
    pub action: ClusterAction,
    /// 0: members act; [`Self::STANDBY_SNAPSHOT`]: standbys do. Null reads as 0.
    pub flags: i32,
}

impl ClusterActionRequest {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 23;
    /// The flag of a snapshot that members leave to standbys.
    pub const STANDBY_SNAPSHOT: i32 = 1;
    pub(crate) const BLOCK_LENGTH: u16 = 32;
    const BLOCK_LENGTH_BEFORE_FLAGS: u16 = 28;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH_BEFORE_FLAGS)?;
        let code = message.i32(24);
        Ok(Self {
            leadership_term_id: message.i64(0),
            log_position: message.i64(8),
            timestamp: message.i64(16),
            action: ClusterAction::from_code(code)
                .ok_or(EventError::UnknownValue { field: "action", value: code })?,
            flags: null_as_zero(message.i32(28)),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.leadership_term_id)
            .i64(self.log_position)
            .i64(self.timestamp)
            .i32(self.action.code())
            .i32(self.flags);
    }
}

/// NewLeadershipTermEvent(24): block of 48 bytes, 40 before schema version 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewLeadershipTermEvent {
    /// The term that begins.
    pub leadership_term_id: i64,
    /// End of this very frame in the log.
    pub log_position: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// Where the term begins: this frame's start, or the start of the padding that precedes it when the
    /// frame did not fit into its log-buffer term.
    pub term_base_log_position: i64,
    /// The leader.
    pub leader_member_id: i32,
    /// Session id of the leader's log publication.
    pub log_session_id: i32,
    /// Unit of every timestamp. Null reads as milliseconds.
    pub time_unit: ClusterTimeUnit,
    /// The application's version, `major << 16 | minor << 8 | patch`. Null reads as 0.
    pub app_version: i32,
}

impl NewLeadershipTermEvent {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 24;
    pub(crate) const BLOCK_LENGTH: u16 = 48;
    const BLOCK_LENGTH_BEFORE_TIME_UNIT: u16 = 40;
    /// With either block, the headers of frame and message, and what aligns it.
    const FRAME_LENGTH: i64 = 96;

    /// Where its frame begins in the log.
    pub fn begin_position(&self) -> i64 {
        self.log_position.saturating_sub(Self::FRAME_LENGTH)
    }

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH_BEFORE_TIME_UNIT)?;
        Ok(Self {
            leadership_term_id: message.i64(0),
            log_position: message.i64(8),
            timestamp: message.i64(16),
            term_base_log_position: message.i64(24),
            leader_member_id: message.i32(32),
            log_session_id: message.i32(36),
            time_unit: time_unit_from_code(message.i32(40))?,
            app_version: null_as_zero(message.i32(44)),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.leadership_term_id)
            .i64(self.log_position)
            .i64(self.timestamp)
            .i64(self.term_base_log_position)
            .i32(self.leader_member_id)
            .i32(self.log_session_id)
            .i32(self.time_unit.code())
            .i32(self.app_version);
    }
}

/// What an operator asks of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterAction {
    /// Stop taking ingress and firing timers.
    Suspend,
    /// Go on.
    Resume,
    /// Take a snapshot.
    Snapshot,
}

impl ClusterAction {
    /// The wire's code.
    pub const fn code(self) -> i32 {
        match self {
            Self::Suspend => 0,
            Self::Resume => 1,
            Self::Snapshot => 2,
        }
    }

    /// The action with this code, `None` for any other, null included.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Suspend),
            1 => Some(Self::Resume),
            2 => Some(Self::Snapshot),
            _ => None,
        }
    }
}

/// The unit with this code; null is milliseconds, which old versions meant without saying so.
///
/// # Errors
/// [`EventError::UnknownValue`] for any other code.
pub(super) fn time_unit_from_code(code: i32) -> Result<ClusterTimeUnit, EventError> {
    match code {
        NULL_I32 => Ok(ClusterTimeUnit::Millis),
        value => {
            ClusterTimeUnit::from_code(value).ok_or(EventError::UnknownValue { field: "timeUnit", value })
        }
    }
}

/// Why a message of a log or snapshot was not understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EventError {
    /// The message does not hold what its template promises.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// An enum field holds a value that schema version 16 does not name.
    #[error("{field} has the unknown value {value}")]
    UnknownValue {
        /// The field, in the schema's spelling.
        field: &'static str,
        /// What it holds.
        value: i32,
    },
}

/// The service that sent a message with this negative session id: bits 56 to 62.
pub const fn service_id_of(cluster_session_id: i64) -> usize {
    (cluster_session_id.cast_unsigned() >> 56 & 0x7f) as usize
}

/// The session id that a service's message has in the log: bit 63, the service, and a count from 1.
pub const fn service_session_id(service_id: usize, count: i64) -> i64 {
    i64::MIN | (service_id as i64) << 56 | count
}

pub(super) const fn header(template_id: u16, block_length: u16) -> MessageHeader {
    MessageHeader { block_length, template_id, schema_id: SCHEMA_ID, version: SCHEMA_VERSION }
}

/// A block may be longer than ours (a newer version) but never shorter than the oldest one's.
pub(super) fn require_block(message: &Message<'_>, length: u16) -> Result<(), DecodeError> {
    if message.header.block_length < length { Err(DecodeError::Truncated) } else { Ok(()) }
}

pub(super) const fn null_as_zero(value: i32) -> i32 {
    if value == NULL_I32 { 0 } else { value }
}

#[inline]
fn u64_at(bytes: &[u8; SESSION_HEADER_LENGTH], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests;
