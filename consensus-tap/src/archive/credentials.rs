//! What we say when asked who we are.

use std::fmt;

/// Credentials for an authenticator: of an archive, or of a cluster's members. Never printed.
#[derive(Clone, Default, Eq, PartialEq)]
pub enum Credentials {
    /// None: enough for Aeron's default authenticator.
    #[default]
    None,
    /// Bytes sent with the first message, e.g. `user:password`. A challenge is not answered.
    Simple(Vec<u8>),
    /// Bytes sent with the first message, and others that answer every challenge.
    ChallengeResponse {
        /// Sent with the first message.
        initial: Vec<u8>,
        /// Sent as the answer to a challenge.
        answer: Vec<u8>,
    },
}

impl Credentials {
    /// What to send with the first message.
    pub fn initial(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Simple(initial) | Self::ChallengeResponse { initial, .. } => initial,
        }
    }

    /// What to answer to `challenge`; `None` when there is nothing to say.
    pub fn on_challenge(&self, _challenge: &[u8]) -> Option<&[u8]> {
        match self {
            Self::None | Self::Simple(_) => None,
            Self::ChallengeResponse { answer, .. } => Some(answer),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Simple(_) => "Simple(..)",
            Self::ChallengeResponse { .. } => "ChallengeResponse(..)",
        })
    }
}
