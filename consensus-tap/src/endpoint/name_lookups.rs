//! Names that peers gave us, on their way to whoever may look them up: that blocks, and so is not done here.

use crate::channel::HostPort;
use std::collections::VecDeque;

/// Names a question for an address; given back with the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LookupToken(pub u64);

/// Questions for addresses. Whoever asks keeps the token and knows the answer by it.
#[derive(Debug, Default)]
pub struct NameLookups {
    next_token: u64,
    asked: VecDeque<(LookupToken, HostPort)>,
}

impl NameLookups {
    /// Asks for the address of an endpoint. An endpoint that is an address already is asked for too: only the
    /// socket's owner knows which family can be sent to.
    pub fn ask(&mut self, endpoint: HostPort) -> LookupToken {
        let token = LookupToken(self.next_token);
        self.next_token += 1;
        self.asked.push_back((token, endpoint));
        token
    }

    /// The next question, oldest first.
    pub fn poll(&mut self) -> Option<(LookupToken, HostPort)> {
        self.asked.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_token_of_its_own() {
        let mut lookups = NameLookups::default();
        let endpoint = HostPort { host: "a".to_owned(), port: 1 };
        let tokens = [lookups.ask(endpoint.clone()), lookups.ask(endpoint.clone())];
        assert_ne!(tokens[0], tokens[1]);
        assert_eq!(lookups.poll(), Some((tokens[0], endpoint.clone())));
        assert_eq!(lookups.poll(), Some((tokens[1], endpoint)));
        assert_eq!(lookups.poll(), None);
    }
}
