//! A client as a service sees it.

use std::cell::RefMut;
use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::error::OfferError;
use crate::host::{Egress, EgressHeader, Session};
use crate::{Cluster, ClusterError, ClusterSessionId, Role};

/// An open session, lent for one callback. Keep its [`id`](Self::id) and look it up again later.
#[derive(Clone, Copy)]
pub struct ClientSession<'a> {
    pub(crate) session: &'a Session,
    pub(crate) cluster: Cluster<'a>,
}

impl<'a> ClientSession<'a> {
    /// Unique in the life of the cluster, ascending in the order in which sessions opened.
    pub fn id(&self) -> ClusterSessionId {
        self.session.id()
    }

    /// The stream on which the client listens for replies.
    pub fn response_stream_id(&self) -> i32 {
        self.session.response_stream_id()
    }

    /// The channel on which the client listens for replies.
    pub fn response_channel(&self) -> &'a str {
        self.session.response_channel()
    }

    /// Whom the authenticator took the client for; empty for nobody in particular.
    pub fn principal(&self) -> &'a [u8] {
        self.session.principal()
    }

    /// Whether this service has requested the session's close, in this run of the node and since it last began to lead:
    /// after a restart, or on another node, the answer may be another. It saves work; nothing of the service's state, nor
    /// what it emits, may depend on it.
    pub fn is_closing(&self) -> bool {
        self.session.is_closing.get()
    }

    /// Requests the close of the session, as [`Cluster::close_session`] does. A session that has closed
    /// already, as in `on_session_close`, is left alone.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn close(&self) -> Result<(), ClusterError> {
        match self.cluster.close_session(self.id()) {
            Err(ClusterError::UnknownSession(_)) => Ok(()),
            other => other,
        }
    }

    /// Sends a message to the client, if this node leads. On every other node the message is dropped and the
    /// result is `Ok`, so that a service replies without asking for the role.
    ///
    /// # Errors
    /// See [`OfferError`]. It must not change the service's state.
    pub fn offer(&self, message: &[u8]) -> Result<(), OfferError> {
        let state = self.cluster.state;
        state.check_reply()?;
        if state.role != Role::Leader {
            // A mistake that a leader would notice is noticed here too, not first after an activation.
            return if state.scratch.try_borrow().is_ok() { Ok(()) } else { Err(OfferError::ClaimOpen) };
        }
        let mut egress = self.cluster.egress.try_borrow_mut().map_err(|_| OfferError::ClaimOpen)?;
        egress.offer(&self.header(), message)
    }

    /// Room for a message of `length` bytes to the client, to be filled in place and then
    /// [committed](Claim::commit). Its bytes are not zeroed. On a node that does not lead the room is a scratch
    /// buffer and nothing is sent.
    ///
    /// # Errors
    /// See [`OfferError`]. It must not change the service's state.
    pub fn try_claim(&self, length: usize) -> Result<Claim<'a>, OfferError> {
        let state = self.cluster.state;
        state.check_reply()?;
        if state.role != Role::Leader {
            if length > MOCKED_CLAIM_LENGTH_MAX {
                return Err(OfferError::TooLong { length, length_max: MOCKED_CLAIM_LENGTH_MAX });
            }
            let mut scratch = state.scratch.try_borrow_mut().map_err(|_| OfferError::ClaimOpen)?;
            if scratch.len() < length {
                scratch.resize(MOCKED_CLAIM_LENGTH_MAX, 0);
            }
            return Ok(Claim { room: Room::Scratch(RefMut::map(scratch, |bytes| &mut bytes[..length])) });
        }
        let mut egress = self.cluster.egress.try_borrow_mut().map_err(|_| OfferError::ClaimOpen)?;
        egress.try_claim(&self.header(), length)?;
        Ok(Claim { room: Room::Egress(egress) })
    }

    fn header(&self) -> EgressHeader {
        EgressHeader {
            leadership_term_id: self.cluster.leadership_term_id(),
            cluster_session_id: self.id(),
            timestamp: self.cluster.time(),
        }
    }
}

impl fmt::Debug for ClientSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

/// Room for one message to a client. Dropping it without a commit sends nothing.
pub struct Claim<'a> {
    room: Room<'a>,
}

enum Room<'a> {
    Scratch(RefMut<'a, [u8]>),
    Egress(RefMut<'a, dyn Egress>),
    Committed,
}

impl Claim<'_> {
    /// Sends the message as it now stands.
    ///
    /// # Errors
    /// See [`OfferError`]. It must not change the service's state.
    pub fn commit(mut self) -> Result<(), OfferError> {
        match std::mem::replace(&mut self.room, Room::Committed) {
            Room::Egress(mut egress) => egress.commit(),
            Room::Scratch(_) | Room::Committed => Ok(()),
        }
    }
}

impl Deref for Claim<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.room {
            Room::Scratch(bytes) => bytes,
            Room::Egress(egress) => egress.claimed(),
            Room::Committed => &[],
        }
    }
}

impl DerefMut for Claim<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Scratch(bytes) => bytes,
            Room::Egress(egress) => egress.claimed_mut(),
            Room::Committed => &mut [],
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Room::Egress(egress) = &mut self.room {
            egress.abort();
        }
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("length", &self.len()).finish_non_exhaustive()
    }
}

/// Why a session closed. The numbers are those of `CloseReason` in Aeron's cluster schema.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(i32)]
pub enum CloseReason {
    /// The client asked for it.
    ClientAction = 0,
    /// A service asked for it.
    ServiceAction = 1,
    /// The client was silent for longer than the session timeout, or was lost in a restart.
    Timeout = 2,
}

impl CloseReason {
    /// As it stands in messages.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The reason of this number, if there is one.
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::ClientAction, Self::ServiceAction, Self::Timeout]
            .into_iter()
            .find(|reason| reason.code() == code)
    }
}

/// The longest claim on a node that does not lead: a UDP payload of 65,504 bytes less the frame's and the
/// session message's header, which is also Aeron's limit for it. A leader's limit is that of the channel.
pub const MOCKED_CLAIM_LENGTH_MAX: usize = 65_504 - 32 - 32;
