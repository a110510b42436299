//! Names that peers gave us, on their way to whoever may look them up: that blocks, and so is not done here.

use crate::channel::HostPort;
use std::collections::VecDeque;

/// Names a question for an address; given back with the answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LookupToken {
    /// Tells the question from all others of whoever asks.
    pub id: u64,
    /// Whether a client gave us the name: anybody who reaches us does, before we know who it is, and as many
    /// names as it likes. The node's own names must not wait behind them.
    pub is_of_client: bool,
}

/// Questions for addresses. Whoever asks keeps the token and knows the answer by it.
#[derive(Debug, Default)]
pub struct NameLookups {
    next_id: u64,
    asked: VecDeque<(LookupToken, HostPort)>,
}

impl NameLookups {
    /// Asks for the address of an endpoint that the node needs. An endpoint that is an address already is asked for too:
    /// only the socket's owner knows which family can be sent to.
    pub fn ask(&mut self, endpoint: HostPort) -> LookupToken {
        self.push(endpoint, false)
    }

    /// Asks, like [`Self::ask`], for the address of an endpoint that a client gave us.
    pub fn ask_for_client(&mut self, endpoint: HostPort) -> LookupToken {
        self.push(endpoint, true)
    }

    fn push(&mut self, endpoint: HostPort, is_of_client: bool) -> LookupToken {
        let token = LookupToken { id: self.next_id, is_of_client };
        self.next_id += 1;
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
    fn every_question_has_a_token_of_its_own_which_says_whose_it_is() {
        let mut lookups = NameLookups::default();
        let endpoint = HostPort { host: "a".to_owned(), port: 1 };
        let tokens = [lookups.ask(endpoint.clone()), lookups.ask_for_client(endpoint.clone())];
        assert_ne!(tokens[0].id, tokens[1].id);
        assert_eq!(tokens.map(|token| token.is_of_client), [false, true]);
        assert_eq!(lookups.poll(), Some((tokens[0], endpoint.clone())));
        assert_eq!(lookups.poll(), Some((tokens[1], endpoint)));
        assert_eq!(lookups.poll(), None);
    }
}
