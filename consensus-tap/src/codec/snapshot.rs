//! Messages of a snapshot recording (schema 111): the consensus module's (stream 107) and a service's
//! (stream 106).
//!
//! ```text
//! consensus module (marker type 1)             service (marker type 2)
//!   SnapshotMarker BEGIN                         SnapshotMarker BEGIN
//!   ConsensusModule                              ClientSession *
//!   ClusterSession *                             SnapshotMarker END
//!   Timer *                                      the service's own fragments, in a format of its own
//!   ( PendingMessageTracker
//!     SessionMessageHeader * ) a service
//!   SnapshotMarker END
//! ```
//! Source: `aeron-cluster-codecs.xml` and `ConsensusModuleSnapshotTaker.java` of Aeron 1.51.

use super::log::{
    CloseReason, ClusterTimeUnit, EventError, SCHEMA_ID, SESSION_HEADER_LENGTH, SessionMessage, header,
    null_as_zero, require_block, time_unit_from_code,
};
use super::sbe::{DecodeError, Encoder, HEADER_LENGTH, Message, NULL_I32, NULL_I64};

/// Marker type of the consensus module's snapshot.
pub const CONSENSUS_MODULE_TYPE_ID: i64 = 1;
/// Marker type of a service's snapshot.
pub const SERVICE_TYPE_ID: i64 = 2;

/// One message of a snapshot, decoded. Borrows from the message's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotMessage<'a> {
    /// Where the snapshot begins or ends.
    Marker(SnapshotMarker),
    /// A session, as a service keeps it.
    ClientSession(ClientSession<'a>),
    /// A session, as the consensus module keeps it.
    ClusterSession(ClusterSession<'a>),
    /// A timer that has not fired.
    Timer(Timer),
    /// Counters of the consensus module.
    ConsensusModule(ConsensusModule),
    /// Counters of one service's messages; its pending messages follow.
    PendingMessageTracker(PendingMessageTracker),
    /// A service's message that the log does not hold yet.
    PendingMessage(PendingMessage<'a>),
    /// A message that loaders pass over: ClusterMembers(106) and templates that they do not know.
    Ignored {
        /// Its template id.
        template_id: u16,
    },
}

impl<'a> SnapshotMessage<'a> {
    /// Decodes one whole message, without its frame headers.
    ///
    /// # Errors
    /// [`EventError`] when the message is not of schema 111, is cut short, or holds an enum value that
    /// schema version 16 does not name.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EventError> {
        let message = Message::parse(bytes)?;
        if message.header.schema_id != SCHEMA_ID {
            return Err(DecodeError::UnexpectedSchema(message.header.schema_id).into());
        }
        Ok(match message.header.template_id {
            SessionMessage::TEMPLATE_ID => {
                Self::PendingMessage(PendingMessage::from_message(&message, bytes)?)
            }
            SnapshotMarker::TEMPLATE_ID => Self::Marker(SnapshotMarker::from_message(&message)?),
            ClientSession::TEMPLATE_ID => Self::ClientSession(ClientSession::from_message(&message)?),
            ClusterSession::TEMPLATE_ID => Self::ClusterSession(ClusterSession::from_message(&message)?),
            Timer::TEMPLATE_ID => Self::Timer(Timer::from_message(&message)?),
            ConsensusModule::TEMPLATE_ID => Self::ConsensusModule(ConsensusModule::from_message(&message)?),
            PendingMessageTracker::TEMPLATE_ID => {
                Self::PendingMessageTracker(PendingMessageTracker::from_message(&message)?)
            }
            template_id => Self::Ignored { template_id },
        })
    }
}

/// SnapshotMarker(100): block of 40 bytes, 32 before schema version 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotMarker {
    /// Whose snapshot: [`CONSENSUS_MODULE_TYPE_ID`] or [`SERVICE_TYPE_ID`].
    pub type_id: i64,
    /// Position of the log at which the snapshot was taken.
    pub log_position: i64,
    /// The leader's term at that position.
    pub leadership_term_id: i64,
    /// Section of the snapshot; always 0.
    pub index: i32,
    /// Begin, section or end; `None` for null, which loaders pass over.
    pub mark: Option<SnapshotMark>,
    /// Unit of the timestamps within. Null reads as milliseconds.
    pub time_unit: ClusterTimeUnit,
    /// The application's version. Null reads as 0.
    pub app_version: i32,
}

impl SnapshotMarker {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 100;
    const BLOCK_LENGTH: u16 = 40;
    const BLOCK_LENGTH_BEFORE_TIME_UNIT: u16 = 32;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH_BEFORE_TIME_UNIT)?;
        Ok(Self {
            type_id: message.i64(0),
            log_position: message.i64(8),
            leadership_term_id: message.i64(16),
            index: message.i32(24),
            mark: SnapshotMark::from_code(message.i32(28))?,
            time_unit: time_unit_from_code(message.i32(32))?,
            app_version: null_as_zero(message.i32(36)),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.type_id)
            .i64(self.log_position)
            .i64(self.leadership_term_id)
            .i32(self.index)
            .i32(self.mark.map_or(NULL_I32, SnapshotMark::code))
            .i32(self.time_unit.code())
            .i32(self.app_version);
    }
}

/// What a [`SnapshotMarker`] marks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotMark {
    /// First message of a snapshot.
    Begin,
    /// A section's start; never written, passed over.
    Section,
    /// Last message that the cluster itself reads.
    End,
}

impl SnapshotMark {
    /// The wire's code.
    pub const fn code(self) -> i32 {
        match self {
            Self::Begin => 0,
            Self::Section => 1,
            Self::End => 2,
        }
    }

    const fn from_code(code: i32) -> Result<Option<Self>, EventError> {
        match code {
            0 => Ok(Some(Self::Begin)),
            1 => Ok(Some(Self::Section)),
            2 => Ok(Some(Self::End)),
            NULL_I32 => Ok(None),
            value => Err(EventError::UnknownValue { field: "mark", value }),
        }
    }
}

/// ClientSession(102): block of 12 bytes, then response channel and encoded principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientSession<'a> {
    /// The session.
    pub cluster_session_id: i64,
    /// Stream on which the client listens.
    pub response_stream_id: i32,
    /// Channel on which the client listens.
    pub response_channel: &'a str,
    /// Who the authenticator says the client is.
    pub encoded_principal: &'a [u8],
}

impl<'a> ClientSession<'a> {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 102;
    const BLOCK_LENGTH: u16 = 12;

    fn from_message(message: &Message<'a>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        let mut tail = message.tail_reader();
        Ok(Self {
            cluster_session_id: message.i64(0),
            response_stream_id: message.i32(8),
            response_channel: tail.ascii()?,
            encoded_principal: tail.bytes()?,
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.cluster_session_id)
            .i32(self.response_stream_id)
            .bytes(self.response_channel.as_bytes())
            .bytes(self.encoded_principal);
    }
}

/// ClusterSession(103): block of 40 bytes, then the response channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClusterSession<'a> {
    /// The session.
    pub cluster_session_id: i64,
    /// The client's own id of its connect request.
    pub correlation_id: i64,
    /// End of the session's open event in the log.
    pub opened_log_position: i64,
    /// Always written as -1.
    pub time_of_last_activity: i64,
    /// Why the session is closing; `None` (null, `i32::MIN`, not 0) while it is open.
    pub close_reason: Option<CloseReason>,
    /// Stream on which the client listens.
    pub response_stream_id: i32,
    /// Channel on which the client listens.
    pub response_channel: &'a str,
}

impl<'a> ClusterSession<'a> {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 103;
    const BLOCK_LENGTH: u16 = 40;

    fn from_message(message: &Message<'a>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        let close_reason = match message.i32(32) {
            NULL_I32 => None,
            value => Some(
                CloseReason::from_code(value)
                    .ok_or(EventError::UnknownValue { field: "closeReason", value })?,
            ),
        };
        Ok(Self {
            cluster_session_id: message.i64(0),
            correlation_id: message.i64(8),
            opened_log_position: message.i64(16),
            time_of_last_activity: message.i64(24),
            close_reason,
            response_stream_id: message.i32(36),
            response_channel: message.tail_reader().ascii()?,
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.cluster_session_id)
            .i64(self.correlation_id)
            .i64(self.opened_log_position)
            .i64(self.time_of_last_activity)
            .i32(self.close_reason.map_or(NULL_I32, CloseReason::code))
            .i32(self.response_stream_id)
            .bytes(self.response_channel.as_bytes());
    }
}

/// Timer(104): block of 16 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timer {
    /// The key under which a service scheduled it.
    pub correlation_id: i64,
    /// Cluster time at which it is due.
    pub deadline: i64,
}

impl Timer {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 104;
    const BLOCK_LENGTH: u16 = 16;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        Ok(Self { correlation_id: message.i64(0), deadline: message.i64(8) })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.correlation_id)
            .i64(self.deadline);
    }
}

/// ConsensusModule(105): block of 28 bytes, 8 before schema version 3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConsensusModule {
    /// Id of the next session to be opened.
    pub next_session_id: i64,
    /// Service 0's counters as they were before trackers existed, `None` before schema version 3.
    pub service_0: Option<ServiceCounters>,
}

impl ConsensusModule {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 105;
    const BLOCK_LENGTH: u16 = 28;
    const BLOCK_LENGTH_BEFORE_SERVICES: u16 = 8;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH_BEFORE_SERVICES)?;
        let counters = ServiceCounters {
            next_service_session_id: message.i64(8),
            log_service_session_id: message.i64(16),
            pending_message_capacity: null_as_zero(message.i32(24)),
        };
        // The log id of a fresh service 0 equals null, so it cannot tell: the block's length and the next
        // id, which is never null, do.
        let service_0 = (message.header.block_length >= Self::BLOCK_LENGTH
            && counters.next_service_session_id != NULL_I64)
            .then_some(counters);
        Ok(Self { next_session_id: message.i64(0), service_0 })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let counters = self.service_0.unwrap_or(ServiceCounters {
            next_service_session_id: NULL_I64,
            log_service_session_id: NULL_I64,
            pending_message_capacity: 0,
        });
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.next_session_id)
            .i64(counters.next_service_session_id)
            .i64(counters.log_service_session_id)
            .i32(counters.pending_message_capacity);
    }
}

/// PendingMessageTracker(107): block of 24 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingMessageTracker {
    /// The service's counters.
    pub counters: ServiceCounters,
    /// Which service, from 0.
    pub service_id: i32,
}

impl PendingMessageTracker {
    /// Template id.
    pub const TEMPLATE_ID: u16 = 107;
    const BLOCK_LENGTH: u16 = 24;

    fn from_message(message: &Message<'_>) -> Result<Self, EventError> {
        require_block(message, Self::BLOCK_LENGTH)?;
        Ok(Self {
            counters: ServiceCounters {
                next_service_session_id: message.i64(0),
                log_service_session_id: message.i64(8),
                pending_message_capacity: null_as_zero(message.i32(16)),
            },
            service_id: message.i32(20),
        })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.counters.next_service_session_id)
            .i64(self.counters.log_service_session_id)
            .i32(self.counters.pending_message_capacity)
            .i32(self.service_id);
    }
}

/// How far one service has sent messages, and how many of them the log holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServiceCounters {
    /// Session id that the service's next message gets.
    pub next_service_session_id: i64,
    /// Session id of its newest message in the log.
    pub log_service_session_id: i64,
    /// Bytes in use in the ring of its pending messages.
    pub pending_message_capacity: i32,
}

/// SessionMessageHeader(1) within a snapshot: a service's message that the log does not hold yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingMessage<'a> {
    /// Session id that the message has or will get in the log.
    pub cluster_session_id: i64,
    /// The whole message, from its SBE header: what a loader keeps as it is.
    pub message: &'a [u8],
}

impl<'a> PendingMessage<'a> {
    fn from_message(message: &Message<'a>, bytes: &'a [u8]) -> Result<Self, EventError> {
        // The block's length is fixed here: members patch these bytes in place, at fixed offsets.
        if HEADER_LENGTH + usize::from(message.header.block_length) != SESSION_HEADER_LENGTH {
            return Err(DecodeError::Truncated.into());
        }
        Ok(Self { cluster_session_id: message.i64(8), message: bytes })
    }
}

#[cfg(test)]
mod tests;
