//! One client: its response stream, how far its connecting got, and what waits to be sent to it.
//!
//! ```text
//!  LookingUp ─> Connecting ─ accepted ─────────────────────> Authenticated ─ any request ─> Active
//!                   │  └──── challenged ─> Challenged ─ accepted ─> ^
//!                   └─ rejected, wrong version, too many ─> Rejected <┘
//! ```
//! Until the first request the OK is repeated every 200 ms, as is a refusal until the client leaves or the connect
//! timeout is over. A client lives as long as it receives its response stream; a ping a second sees to that.

use super::channels::Destination;
use super::listing::Listing;
use crate::archive::request::SendQueue;
use crate::authentication::{Authenticator, Verdict};
use crate::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveErrorCode, Challenge, ControlResponse, ControlResponseCode, Ping,
};
use crate::endpoint::{Endpoint, LookupToken};
use crate::image::ImageKey;
use crate::publication::{OfferError, PublicationId, PublicationParams, PublicationState};

/// An outcome that the client does not react to is repeated this often.
const RESEND_INTERVAL_NS: u64 = 200_000_000;
/// A client that takes no responses gets no more requests served than this.
const RESPONSE_COUNT_MAX: usize = 1_024;

/// A client's control session.
#[derive(Debug)]
pub(super) struct ControlSession {
    pub(super) id: i64,
    /// Requests of the session come through this image only.
    pub(super) image: ImageKey,
    pub(super) listing: Option<Listing>,
    /// Of the connect request, or of the answer to the challenge.
    correlation_id: i64,
    credentials: Vec<u8>,
    state: State,
    publication: Option<PublicationId>,
    /// When the session ends unless something moves.
    deadline_ns: Option<u64>,
    /// When the outcome is repeated, or the next ping is due.
    due_ns: u64,
    responses: SendQueue,
}

#[derive(Debug)]
enum State {
    LookingUp { token: LookupToken, destination: Destination, params: PublicationParams },
    Connecting,
    Challenged,
    Authenticated,
    Active,
    Rejected,
}

impl End {
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Left => "the client left",
            Self::TimedOut => "the client did not connect, or took no response, in time",
            Self::Overrun => "the client asks and takes no responses",
        }
    }
}

/// What a client asked to connect with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connect<'a> {
    pub(super) correlation_id: i64,
    pub(super) credentials: &'a [u8],
    /// Why the session is refused whatever the credentials are: the relevant id of the error, and words.
    pub(super) refusal: Option<&'a Refusal>,
}

/// Why a session is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) relevant_id: i64,
    pub(super) message: String,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The client said so, or went away.
    Left,
    /// It did not do in time what it had to do.
    TimedOut,
    /// It does not take its responses.
    Overrun,
}

impl ControlSession {
    pub(super) fn new(
        id: i64,
        image: ImageKey,
        connect: Connect<'_>,
        (token, destination, params): (LookupToken, Destination, PublicationParams),
        deadline_ns: u64,
    ) -> Self {
        let mut session = Self {
            id,
            image,
            listing: None,
            correlation_id: connect.correlation_id,
            credentials: connect.credentials.to_vec(),
            state: State::LookingUp { token, destination, params },
            publication: None,
            deadline_ns: Some(deadline_ns),
            due_ns: 0,
            responses: SendQueue::default(),
        };
        if let Some(refusal) = connect.refusal {
            session.respond_with(refusal.relevant_id, ControlResponseCode::Error, &refusal.message);
        }
        session
    }

    /// What the session's response stream needs once its address is known; `None` when it does not wait for
    /// `token`.
    pub(super) fn response_stream(&self, token: LookupToken) -> Option<(&Destination, PublicationParams)> {
        match &self.state {
            State::LookingUp { token: wanted, destination, params } if *wanted == token => {
                Some((destination, *params))
            }
            _ => None,
        }
    }

    /// The response stream is there. A session that was refused from the start has its refusal waiting.
    pub(super) fn open(&mut self, publication: PublicationId) {
        self.publication = Some(publication);
        self.state = if self.responses.len() > 0 { State::Rejected } else { State::Connecting };
    }

    /// Whether the client may ask for something now; its first request makes the session active.
    pub(super) fn activate(&mut self) -> bool {
        if matches!(self.state, State::Authenticated) {
            self.state = State::Active;
            self.due_ns = 0;
            // The client has its OK, or would not know the session.
            self.responses.clear();
        }
        matches!(self.state, State::Active)
    }

    pub(super) fn on_challenge_response(
        &mut self,
        correlation_id: i64,
        credentials: &[u8],
        authenticator: &mut dyn Authenticator,
    ) {
        if matches!(self.state, State::Challenged) {
            self.correlation_id = correlation_id;
            let verdict = authenticator.on_challenge_response(self.id, credentials);
            self.on_verdict(verdict);
        }
    }

    /// Answers a request.
    pub(super) fn ok(&mut self, correlation_id: i64, relevant_id: i64) {
        self.response(correlation_id, relevant_id, ControlResponseCode::Ok, "");
    }

    /// Refuses a request.
    pub(super) fn error(&mut self, correlation_id: i64, code: ArchiveErrorCode, message: &str) {
        self.response(correlation_id, code.to_relevant_id(), ControlResponseCode::Error, message);
    }

    /// Answers with any code.
    pub(super) fn response(
        &mut self,
        correlation_id: i64,
        relevant_id: i64,
        code: ControlResponseCode,
        error_message: &str,
    ) {
        let response = self.control_response(correlation_id, relevant_id, code, error_message);
        self.responses.push(correlation_id, |out| response.encode(out));
    }

    /// Answers with what `encode` writes.
    pub(super) fn push(&mut self, correlation_id: i64, encode: impl FnOnce(&mut Vec<u8>)) {
        self.responses.push(correlation_id, encode);
    }

    /// How many responses wait to be sent.
    pub(super) fn waiting_count(&self) -> usize {
        self.responses.len()
    }

    /// Does what is due.
    pub(super) fn on_timeout(
        &mut self,
        endpoint: &mut Endpoint,
        authenticator: &mut dyn Authenticator,
        config: &super::ArchiveServerConfig,
        now_ns: u64,
    ) -> Result<(), End> {
        if self.deadline_ns.is_some_and(|deadline_ns| now_ns > deadline_ns) {
            return Err(End::TimedOut);
        }
        let Some(publication) = self.publication else { return Ok(()) };
        let is_connected = endpoint.publication_state(publication) == PublicationState::Connected;
        match self.state {
            State::LookingUp { .. } => {}
            State::Connecting if is_connected => {
                let credentials = std::mem::take(&mut self.credentials);
                let verdict = authenticator.on_connect(self.id, &credentials);
                self.on_verdict(verdict);
            }
            // Who has not connected yet, or answers nothing, has until the deadline.
            State::Connecting | State::Challenged | State::Rejected => {}
            State::Authenticated | State::Active if !is_connected => return Err(End::Left),
            State::Authenticated => {}
            State::Active if now_ns >= self.due_ns => {
                self.due_ns = now_ns.saturating_add(config.liveness_check_interval_ns);
                let control_session_id = self.id;
                self.responses.push(super::NULL_VALUE, |out| Ping { control_session_id }.encode(out));
            }
            State::Active => {}
        }
        self.send(publication, endpoint, config, now_ns)
    }

    /// Sends as much as the client takes now. An outcome that nothing follows is sent again and again.
    fn send(
        &mut self,
        publication: PublicationId,
        endpoint: &mut Endpoint,
        config: &super::ArchiveServerConfig,
        now_ns: u64,
    ) -> Result<(), End> {
        if self.responses.len() > RESPONSE_COUNT_MAX {
            return Err(End::Overrun);
        }
        let repeats = matches!(self.state, State::Authenticated | State::Rejected);
        if repeats && now_ns < self.due_ns {
            return Ok(());
        }
        while let Some(message) = self.responses.front() {
            match endpoint.offer(publication, message) {
                Ok(_) if repeats => {
                    self.due_ns = now_ns.saturating_add(RESEND_INTERVAL_NS);
                    return Ok(());
                }
                Ok(_) => {
                    self.responses.pop();
                    if matches!(self.state, State::Active) {
                        self.deadline_ns = None;
                    }
                }
                Err(OfferError::MessageTooLong) => self.replace_too_long(),
                Err(_) => {
                    let deadline_ns = now_ns.saturating_add(config.connect_timeout_ns);
                    self.deadline_ns.get_or_insert(deadline_ns);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A descriptor with long channels does not fit in the shortest terms.
    fn replace_too_long(&mut self) {
        let correlation_id = self.responses.front_correlation_id().unwrap_or(super::NULL_VALUE);
        let length = self.responses.front().map_or(0, <[u8]>::len);
        self.responses.pop();
        let message = format!(
            "the response of {length} bytes is longer than the response stream takes: ask for a longer \
             term-length in the response channel"
        );
        self.error(correlation_id, ArchiveErrorCode::Generic, &message);
    }

    fn on_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted(_) => {
                self.deadline_ns = None;
                self.respond_with(self.id, ControlResponseCode::Ok, "");
                self.state = State::Authenticated;
            }
            Verdict::Challenged(encoded_challenge) => {
                let challenge = Challenge {
                    control_session_id: self.id,
                    correlation_id: self.correlation_id,
                    version: ARCHIVE_PROTOCOL_VERSION,
                    encoded_challenge: &encoded_challenge,
                };
                self.responses.push(self.correlation_id, |out| challenge.encode(out));
                self.state = State::Challenged;
            }
            Verdict::Rejected => {
                let code = ArchiveErrorCode::AuthenticationRejected.to_relevant_id();
                self.respond_with(code, ControlResponseCode::Error, "authentication rejected");
                self.state = State::Rejected;
            }
        }
    }

    /// The outcome of connecting: the one message that waits.
    fn respond_with(&mut self, relevant_id: i64, code: ControlResponseCode, message: &str) {
        self.responses.clear();
        self.due_ns = 0;
        self.response(self.correlation_id, relevant_id, code, message);
    }

    fn control_response<'a>(
        &self,
        correlation_id: i64,
        relevant_id: i64,
        code: ControlResponseCode,
        error_message: &'a str,
    ) -> ControlResponse<'a> {
        ControlResponse {
            control_session_id: self.id,
            correlation_id,
            relevant_id,
            code,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message,
        }
    }

    /// The response stream, once it is there.
    pub(super) fn publication(&self) -> Option<PublicationId> {
        self.publication
    }
}
