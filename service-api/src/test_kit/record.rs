//! What came of each event, kept for comparison.

use std::collections::BTreeSet;
use std::fmt;

use crate::host::{Egress, EgressHeader, Emission, Request, Session};
use crate::{ClusterSessionId, LogPosition, MemorySnapshot, OfferError};

/// One event of the log and what the service made of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// In words, such as `message of session 1`.
    pub description: String,
    /// The end of the event.
    pub position: LogPosition,
    /// The service's requests, in order.
    pub emitted: Vec<Emitted>,
    /// The messages that reached clients, in order. Empty on a node that does not lead.
    pub replies: Vec<Reply>,
    /// What the service wrote, if the event was a snapshot.
    pub snapshot: Option<MemorySnapshot>,
}

/// A request of a service, as [`Request`] but owned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Emitted {
    /// See [`Request::ScheduleTimer`].
    ScheduleTimer {
        /// Of the timer.
        correlation_id: i64,
        /// In cluster time.
        deadline: i64,
    },
    /// See [`Request::CancelTimer`].
    CancelTimer {
        /// Of the timer.
        correlation_id: i64,
    },
    /// See [`Request::Offer`].
    Offer {
        /// The message.
        payload: Vec<u8>,
    },
    /// See [`Request::CloseSession`].
    CloseSession {
        /// Which one.
        id: ClusterSessionId,
    },
}

impl From<Emission<'_>> for Emitted {
    fn from(emission: Emission<'_>) -> Self {
        match emission.request {
            Request::ScheduleTimer { correlation_id, deadline } => {
                Self::ScheduleTimer { correlation_id, deadline }
            }
            Request::CancelTimer { correlation_id } => Self::CancelTimer { correlation_id },
            Request::Offer { payload } => Self::Offer { payload: payload.to_vec() },
            Request::CloseSession { id } => Self::CloseSession { id },
        }
    }
}

/// A message that a client got.
#[derive(Clone, Eq, PartialEq)]
pub struct Reply {
    /// Whose client.
    pub session_id: ClusterSessionId,
    /// The message.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}: {:02x?}", self.session_id, self.payload)
    }
}

/// Keeps replies instead of sending them.
#[derive(Debug, Default)]
pub struct RecordingEgress {
    replies: Vec<Reply>,
    connected: BTreeSet<ClusterSessionId>,
    claim: Option<Reply>,
    refusal: Option<OfferError>,
}

impl RecordingEgress {
    pub(crate) fn refuse(&mut self, refusal: Option<OfferError>) {
        self.refusal = refusal;
    }

    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    fn check(&self, header: &EgressHeader, length: usize) -> Result<(), OfferError> {
        if !self.connected.contains(&header.cluster_session_id) {
            return Err(OfferError::NotConnected);
        }
        if length > REPLY_LENGTH_MAX {
            return Err(OfferError::TooLong { length, length_max: REPLY_LENGTH_MAX });
        }
        self.refusal.map_or(Ok(()), Err)
    }
}

impl Egress for RecordingEgress {
    fn connect(&mut self, session: &Session) {
        self.connected.insert(session.id());
    }

    fn disconnect(&mut self, id: ClusterSessionId) {
        self.connected.remove(&id);
    }

    fn offer(&mut self, header: &EgressHeader, payload: &[u8]) -> Result<(), OfferError> {
        self.check(header, payload.len())?;
        self.replies.push(Reply { session_id: header.cluster_session_id, payload: payload.to_vec() });
        Ok(())
    }

    fn try_claim(&mut self, header: &EgressHeader, length: usize) -> Result<(), OfferError> {
        self.check(header, length)?;
        self.claim = Some(Reply { session_id: header.cluster_session_id, payload: vec![0; length] });
        Ok(())
    }

    fn claimed(&self) -> &[u8] {
        self.claim.as_ref().map_or(&[], |claim| &claim.payload)
    }

    fn claimed_mut(&mut self) -> &mut [u8] {
        self.claim.as_mut().map_or(&mut [], |claim| &mut claim.payload)
    }

    fn commit(&mut self) -> Result<(), OfferError> {
        self.replies.extend(self.claim.take());
        Ok(())
    }

    fn abort(&mut self) {
        self.claim = None;
    }
}

/// An eighth of the default IPC and UDP publication's term of 64 MiB.
const REPLY_LENGTH_MAX: usize = 8 * 1024 * 1024;
