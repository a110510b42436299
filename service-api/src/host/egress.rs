//! The way of replies from a leading node to its clients.

use super::Session;
use crate::{ClusterSessionId, LeadershipTermId, OfferError};

/// Sends replies. Called only while the node leads, apart from `connect` and `disconnect`.
///
/// At most one claim is open at a time, and nothing else is called until it is committed or aborted.
pub trait Egress: Send {
    /// The session may get replies from now on: it opened while the node leads, or the node began to lead.
    fn connect(&mut self, session: &Session) {
        let _ = session;
    }

    /// The session closed, or the node no longer leads. Offers to it are `NotConnected` from now on.
    fn disconnect(&mut self, id: ClusterSessionId) {
        let _ = id;
    }

    /// Sends one message behind a session message header.
    ///
    /// # Errors
    /// `NotConnected`, `BackPressured`, `Closed` or `TooLong`.
    fn offer(&mut self, header: &EgressHeader, payload: &[u8]) -> Result<(), OfferError>;

    /// Claims room for a payload of `length` bytes behind a session message header.
    ///
    /// # Errors
    /// As for `offer`.
    fn try_claim(&mut self, header: &EgressHeader, length: usize) -> Result<(), OfferError>;

    /// The payload of the open claim.
    fn claimed(&self) -> &[u8];

    /// The payload of the open claim, to be filled.
    fn claimed_mut(&mut self) -> &mut [u8];

    /// Sends the open claim.
    ///
    /// # Errors
    /// As for `offer`, if it shows only now.
    fn commit(&mut self) -> Result<(), OfferError>;

    /// Gives the open claim up.
    fn abort(&mut self);

    /// Called between two tries of a back-pressured message. Where one thread runs the service and the sender,
    /// it must do the sender's work, or the service waits for ever.
    fn idle(&mut self) {
        std::thread::yield_now();
    }
}

/// What stands in the header of a reply (`SessionMessageHeader` in Aeron's cluster schema).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EgressHeader {
    /// The current term.
    pub leadership_term_id: LeadershipTermId,
    /// To whom.
    pub cluster_session_id: ClusterSessionId,
    /// Cluster time of the event that is replied to.
    pub timestamp: i64,
}

/// For a host that never leads, such as one that replays a log: nobody is connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEgress;

impl Egress for NoEgress {
    fn offer(&mut self, _header: &EgressHeader, _payload: &[u8]) -> Result<(), OfferError> {
        Err(OfferError::NotConnected)
    }

    fn try_claim(&mut self, _header: &EgressHeader, _length: usize) -> Result<(), OfferError> {
        Err(OfferError::NotConnected)
    }

    fn claimed(&self) -> &[u8] {
        &[]
    }

    fn claimed_mut(&mut self) -> &mut [u8] {
        &mut []
    }

    fn commit(&mut self) -> Result<(), OfferError> {
        Err(OfferError::NotConnected)
    }

    fn abort(&mut self) {}
}
