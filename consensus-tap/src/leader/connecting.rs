//! Clients that asked for a session, on their way to one or to a refusal.
//!
//! ```text
//!  request -> Undecided -> (Challenge -> Challenged ->) Accepted -> open
//!                 '-> Refused -> told, gone
//! ```

use std::net::SocketAddr;

use super::egress::Egress;
use crate::authentication::{Authenticator, ENCODED_PRINCIPAL_LENGTH_MAX, Verdict};
use crate::codec::session::EventCode;
use crate::endpoint::Endpoint;
use crate::image::ImageKey;

/// A client without a session.
#[derive(Debug)]
pub(super) struct ConnectingSession {
    pub(super) id: i64,
    pub(super) correlation_id: i64,
    pub(super) response_stream_id: i32,
    pub(super) response_channel: String,
    pub(super) client_info: String,
    pub(super) source: SocketAddr,
    /// Where its request came through.
    pub(super) image: ImageKey,
    pub(super) credentials: Vec<u8>,
    pub(super) egress: Egress,
    pub(super) stage: Stage,
    pub(super) last_activity_ns: u64,
    /// Its request's image ended, so nobody waits for the session any more.
    pub(super) has_left: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// The authenticator is asked when the client listens.
    Undecided,
    /// To be challenged with this.
    Challenge(Vec<u8>),
    /// Challenged; the answer is to come.
    Challenged,
    /// To be opened for this principal.
    Accepted(Vec<u8>),
    /// To be told why not.
    Refused { code: EventCode, detail: String },
}

/// What clients are told as Java's are.
pub(super) const SESSION_LIMIT: &str = "concurrent session limit";
pub(super) const SESSION_REJECTED: &str = "session failed authentication";
pub(super) const INVALID_VERSION: &str = "invalid client version";

impl ConnectingSession {
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.stage, Stage::Refused { .. })
    }

    /// Whether this is the same request once more.
    pub(super) fn is_repeated_by(&self, image: ImageKey, correlation_id: i64) -> bool {
        self.image == image && self.correlation_id == correlation_id
    }

    /// Asks the authenticator, once the client listens.
    pub(super) fn decide(&mut self, endpoint: &Endpoint, authenticator: &mut dyn Authenticator) {
        if self.stage == Stage::Undecided && self.egress.is_connected(endpoint) {
            let verdict = authenticator.on_connect(self.id, &self.credentials);
            self.on_verdict(verdict);
        }
    }

    /// The client answered a challenge. The outcome carries the id that came with the answer, as members have
    /// it.
    pub(super) fn on_challenge_response(
        &mut self,
        (correlation_id, credentials): (i64, &[u8]),
        now_ns: u64,
        authenticator: &mut dyn Authenticator,
    ) {
        self.correlation_id = correlation_id;
        self.last_activity_ns = now_ns;
        let verdict = authenticator.on_challenge_response(self.id, credentials);
        self.on_verdict(verdict);
    }

    fn on_verdict(&mut self, verdict: Verdict) {
        self.stage = match verdict {
            Verdict::Accepted(principal) if principal.len() > ENCODED_PRINCIPAL_LENGTH_MAX => {
                Stage::Refused {
                    code: EventCode::Error,
                    detail: format!(
                        "encoded principal max length {ENCODED_PRINCIPAL_LENGTH_MAX} exceeded: length={}",
                        principal.len()
                    ),
                }
            }
            Verdict::Accepted(principal) => Stage::Accepted(principal),
            Verdict::Challenged(challenge) => Stage::Challenge(challenge),
            Verdict::Rejected => Stage::Refused {
                code: EventCode::AuthenticationRejected,
                detail: SESSION_REJECTED.to_owned(),
            },
        };
    }
}
