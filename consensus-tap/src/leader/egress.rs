//! What goes to one client: a publication to its response channel, and the replies that wait for it.

use std::net::SocketAddr;

use crate::channel::HostPort;
use crate::endpoint::{Endpoint, LookupToken, response_publication};
use crate::publication::{OfferError, PublicationId, PublicationParams, PublicationState};
use crate::random::next_random;
use crate::wire::TermLength;

/// Whether a session's client takes replies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EgressState {
    /// Nobody listens: a reply would be lost.
    NotConnected,
    /// Replies are taken.
    Connected,
    /// The client takes replies more slowly than they come: one may be refused soon.
    BackPressured,
}

/// How much egress holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct EgressLimits {
    pub(super) term_length: i32,
    pub(super) backlog_length_max: usize,
}

/// One session's egress. Replies leave in the order in which they came; while its gate is closed none does,
/// so that the event that opens a session, or that names its new leader, comes first.
#[derive(Debug)]
pub(super) struct Egress {
    target: Target,
    limits: EgressLimits,
    is_gated: bool,
    /// Replies that wait, each behind its length; those before `sent_length` have left.
    backlog: Vec<u8>,
    sent_length: usize,
}

#[derive(Debug)]
enum Target {
    LookingUp {
        token: LookupToken,
        params: PublicationParams,
    },
    Known(PublicationId),
    /// The host of the response channel does not resolve.
    Unreachable,
}

impl Egress {
    /// Egress to a response channel, with its gate closed. `ask` has its endpoint looked up.
    ///
    /// # Errors
    /// In words, when the channel cannot be sent to.
    pub(super) fn new(
        (channel, stream_id): (&str, i32),
        limits: EgressLimits,
        random: &mut u64,
        ask: impl FnOnce(HostPort) -> LookupToken,
    ) -> Result<Self, String> {
        let wire_session_id = next_random(random) as i32;
        let (endpoint, params) =
            response_publication(channel, (stream_id, wire_session_id), limits.term_length)?;
        let target = Target::LookingUp { token: ask(endpoint), params };
        Ok(Self::to(target, limits))
    }

    /// Egress to nobody: of a session whose response channel cannot be sent to.
    pub(super) fn unreachable(limits: EgressLimits) -> Self {
        Self::to(Target::Unreachable, limits)
    }

    fn to(target: Target, limits: EgressLimits) -> Self {
        Self { target, limits, is_gated: true, backlog: Vec::new(), sent_length: 0 }
    }

    /// Takes an address that was looked up. Returns false when it was not for this egress.
    pub(super) fn on_resolved(
        &mut self,
        token: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> bool {
        match self.target {
            Target::LookingUp { token: asked, params } if asked == token => {
                self.target = match address {
                    Some(address) => Target::Known(endpoint.add_publication(params, address, now_ns)),
                    None => Target::Unreachable,
                };
                true
            }
            _ => false,
        }
    }

    /// Whether it is known that nobody can be reached.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self.target, Target::Unreachable)
    }

    /// Whether somebody listens.
    pub(super) fn is_connected(&self, endpoint: &Endpoint) -> bool {
        self.publication_state(endpoint) == Some(PublicationState::Connected)
    }

    /// What a service should know before it replies.
    pub(super) fn state(&self, endpoint: &Endpoint) -> EgressState {
        let is_lost = match self.target {
            Target::LookingUp { .. } => false,
            Target::Known(publication) => !matches!(
                endpoint.publication_state(publication),
                PublicationState::Connecting | PublicationState::Connected
            ),
            Target::Unreachable => true,
        };
        if is_lost {
            EgressState::NotConnected
        } else if self.backlog_length() > self.limits.backlog_length_max / 2 {
            EgressState::BackPressured
        } else {
            EgressState::Connected
        }
    }

    /// Sends a message past the gate and past replies that wait. Returns whether it was taken.
    pub(super) fn offer_event(&mut self, message: &[u8], endpoint: &mut Endpoint) -> bool {
        match self.target {
            Target::Known(publication) => endpoint.offer(publication, message).is_ok(),
            Target::LookingUp { .. } | Target::Unreachable => false,
        }
    }

    /// Lets replies out.
    pub(super) fn open_gate(&mut self, endpoint: &mut Endpoint) {
        self.is_gated = false;
        self.flush(endpoint);
    }

    /// Sends a message, which comes in two parts, behind all before it, or keeps it until it can be sent.
    ///
    /// # Errors
    /// [`OfferError`] when it is lost.
    pub(super) fn offer(
        &mut self,
        [header, body]: [&[u8]; 2],
        endpoint: &mut Endpoint,
    ) -> Result<(), OfferError> {
        let length = header.len() + body.len();
        let is_too_long =
            TermLength::new(self.limits.term_length).is_ok_and(|terms| length > terms.message_length_max());
        if is_too_long {
            return Err(OfferError::MessageTooLong);
        }
        if self.state(endpoint) == EgressState::NotConnected {
            return Err(OfferError::NotConnected);
        }
        if !self.is_gated
            && self.backlog_length() == 0
            && let Target::Known(publication) = self.target
        {
            match endpoint.offer_parts(publication, header, body) {
                Ok(_) => return Ok(()),
                Err(OfferError::BackPressured | OfferError::NotConnected) => {}
                Err(error) => return Err(error),
            }
        }
        let kept_length = LENGTH_LENGTH + length;
        if self.backlog_length() + kept_length > self.limits.backlog_length_max {
            return Err(OfferError::BackPressured);
        }
        if self.sent_length > 0 && self.backlog.len() + kept_length > self.backlog.capacity() {
            self.backlog.drain(..self.sent_length);
            self.sent_length = 0;
        }
        self.backlog.extend_from_slice(&(length as u32).to_le_bytes());
        self.backlog.extend_from_slice(header);
        self.backlog.extend_from_slice(body);
        Ok(())
    }

    /// Sends what waits, as far as the client takes it, and returns how many messages that was.
    pub(super) fn flush(&mut self, endpoint: &mut Endpoint) -> usize {
        if self.is_gated || self.backlog_length() == 0 {
            return 0;
        }
        let Target::Known(publication) = self.target else { return 0 };
        let mut sent_count = 0;
        while let Some((length, rest)) = self.backlog[self.sent_length..].split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            if endpoint.offer(publication, &rest[..length]).is_err() {
                return sent_count;
            }
            self.sent_length += LENGTH_LENGTH + length;
            sent_count += 1;
        }
        self.backlog.clear();
        self.sent_length = 0;
        sent_count
    }

    /// Bytes that wait.
    pub(super) fn backlog_length(&self) -> usize {
        self.backlog.len() - self.sent_length
    }

    /// Ends the stream behind what the publication took. What waits is dropped.
    pub(super) fn close(&mut self, now_ns: u64, endpoint: &mut Endpoint) {
        if let Target::Known(publication) = self.target {
            endpoint.close_publication(publication, now_ns);
        }
        self.target = Target::Unreachable;
    }

    fn publication_state(&self, endpoint: &Endpoint) -> Option<PublicationState> {
        match self.target {
            Target::Known(publication) => Some(endpoint.publication_state(publication)),
            Target::LookingUp { .. } | Target::Unreachable => None,
        }
    }
}

const LENGTH_LENGTH: usize = size_of::<u32>();
