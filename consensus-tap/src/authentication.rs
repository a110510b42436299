//! Who may use what this node serves: asked by every server of ours with the credentials that a peer sent.

use std::fmt;

/// The longest encoded principal that a cluster's log takes, as in Aeron.
pub const ENCODED_PRINCIPAL_LENGTH_MAX: usize = 4 * 1024;

/// What becomes of credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// They are good: the session is open, for the principal that these bytes encode. Empty where nobody asks who it
    /// is, as with Aeron's default. A cluster takes at most [`ENCODED_PRINCIPAL_LENGTH_MAX`] bytes.
    Accepted(Vec<u8>),
    /// More is asked for: these bytes go to the peer, whose answer decides.
    Challenged(Vec<u8>),
    /// They are not.
    Rejected,
}

/// Decides on the sessions of one server, as Aeron's `Authenticator` does.
pub trait Authenticator: fmt::Debug + Send {
    /// A peer connects. `session_id` tells it from the others.
    fn on_connect(&mut self, session_id: i64, credentials: &[u8]) -> Verdict;

    /// A peer answers the challenge that [`Verdict::Challenged`] sent it. Another challenge may follow.
    fn on_challenge_response(&mut self, session_id: i64, credentials: &[u8]) -> Verdict;
}

/// Lets everybody in: Aeron's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Authenticator for AcceptAll {
    fn on_connect(&mut self, _session_id: i64, _credentials: &[u8]) -> Verdict {
        Verdict::Accepted(Vec::new())
    }

    fn on_challenge_response(&mut self, _session_id: i64, _credentials: &[u8]) -> Verdict {
        Verdict::Accepted(Vec::new())
    }
}

/// Lets in who knows what is configured: credentials to connect with, an answer to a challenge, or both.
#[derive(Clone, Default)]
pub struct SharedSecrets {
    /// What a peer must connect with; `None` for anything.
    pub credentials: Option<Vec<u8>>,
    /// What a peer must answer when it is challenged; `None` for no challenge.
    pub challenge_answer: Option<Vec<u8>>,
}

impl SharedSecrets {
    /// What a peer is challenged with. Its answer is fixed, so this only tells who asks.
    pub const CHALLENGE: &[u8] = b"standby-node";
}

impl Authenticator for SharedSecrets {
    fn on_connect(&mut self, _session_id: i64, credentials: &[u8]) -> Verdict {
        if self.credentials.as_deref().is_some_and(|expected| !are_equal(expected, credentials)) {
            return Verdict::Rejected;
        }
        match self.challenge_answer {
            Some(_) => Verdict::Challenged(Self::CHALLENGE.to_vec()),
            None => Verdict::Accepted(Vec::new()),
        }
    }

    fn on_challenge_response(&mut self, _session_id: i64, credentials: &[u8]) -> Verdict {
        match &self.challenge_answer {
            Some(expected) if !are_equal(expected, credentials) => Verdict::Rejected,
            _ => Verdict::Accepted(Vec::new()),
        }
    }
}

impl fmt::Debug for SharedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecrets")
            .field("credentials", &self.credentials.as_ref().map(Vec::len))
            .field("challenge_answer", &self.challenge_answer.as_ref().map(Vec::len))
            .finish()
    }
}

/// Takes as long for wrong bytes as for right ones of the same length.
fn are_equal(expected: &[u8], found: &[u8]) -> bool {
    expected.len() == found.len() && expected.iter().zip(found).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_alone_decide_at_once() {
        let mut secrets = SharedSecrets { credentials: Some(b"u:p".to_vec()), challenge_answer: None };
        assert_eq!(secrets.on_connect(1, b"u:p"), Verdict::Accepted(Vec::new()));
        for wrong in [&b""[..], b"u:q", b"u:pp", b"u:"] {
            assert_eq!(secrets.on_connect(1, wrong), Verdict::Rejected);
        }
    }

    #[test]
    fn an_answer_is_asked_for_and_decides() {
        let mut secrets = SharedSecrets { credentials: None, challenge_answer: Some(b"answer".to_vec()) };
        assert_eq!(secrets.on_connect(1, b""), Verdict::Challenged(SharedSecrets::CHALLENGE.to_vec()));
        assert_eq!(secrets.on_challenge_response(1, b"answer"), Verdict::Accepted(Vec::new()));
        assert_eq!(secrets.on_challenge_response(1, b"guess"), Verdict::Rejected);
    }

    #[test]
    fn with_both_the_credentials_come_first() {
        let mut secrets =
            SharedSecrets { credentials: Some(b"u:p".to_vec()), challenge_answer: Some(b"a".to_vec()) };
        assert_eq!(secrets.on_connect(1, b"u:q"), Verdict::Rejected);
        assert!(matches!(secrets.on_connect(1, b"u:p"), Verdict::Challenged(_)));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets = SharedSecrets { credentials: Some(b"u:p".to_vec()), challenge_answer: None };
        assert_eq!(format!("{secrets:?}"), "SharedSecrets { credentials: Some(3), challenge_answer: None }");
    }
}
