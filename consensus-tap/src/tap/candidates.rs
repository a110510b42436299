//! The ring of members that may be asked, and how long to wait after a round in which none would do.

use crate::channel::HostPort;

const PAUSE_MIN_NS: u64 = 100_000_000;
const PAUSE_MAX_NS: u64 = 1_000_000_000;

/// Consensus endpoints, asked in turn without cool-down. Only a whole round of refusals is followed by a
/// pause, which doubles up to a second: a cluster in an election must not be asked in a busy loop.
#[derive(Debug)]
pub(super) struct Candidates {
    endpoints: Vec<HostPort>,
    next: usize,
    refused: usize,
    pause_ns: u64,
}

impl Candidates {
    pub(super) fn new(endpoints: Vec<HostPort>) -> Self {
        assert!(!endpoints.is_empty(), "a tap needs at least one consensus endpoint");
        Self { endpoints, next: 0, refused: 0, pause_ns: PAUSE_MIN_NS }
    }

    /// Adds an endpoint that a member named, once.
    pub(super) fn add(&mut self, endpoint: HostPort) {
        if self.endpoints.len() < ENDPOINTS_MAX && !self.endpoints.contains(&endpoint) {
            self.endpoints.push(endpoint);
        }
    }

    /// The endpoint to ask now.
    pub(super) fn current(&self) -> &HostPort {
        &self.endpoints[self.next]
    }

    /// The current endpoint would not do: moves on, and says how long to wait before asking the next.
    pub(super) fn refuse(&mut self) -> u64 {
        self.next = (self.next + 1) % self.endpoints.len();
        self.refused += 1;
        if self.refused < self.endpoints.len() {
            return 0;
        }
        self.refused = 0;
        let pause_ns = self.pause_ns;
        self.pause_ns = (pause_ns * 2).min(PAUSE_MAX_NS);
        pause_ns
    }

    /// The current endpoint served us: the next round starts without haste or grudge.
    pub(super) fn served(&mut self) {
        self.refused = 0;
        self.pause_ns = PAUSE_MIN_NS;
    }
}

/// No cluster has as many members; a response that names more is not believed.
const ENDPOINTS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn asks_every_endpoint_at_once_and_pauses_only_after_a_whole_round() {
        let mut candidates = Candidates::new(vec![endpoint("a:1"), endpoint("b:1")]);
        assert_eq!(candidates.refuse(), 0);
        assert_eq!(candidates.current(), &endpoint("b:1"));
        assert_eq!(candidates.refuse(), PAUSE_MIN_NS);
        assert_eq!(candidates.refuse(), 0);
        assert_eq!(candidates.refuse(), 2 * PAUSE_MIN_NS);
        candidates.served();
        assert_eq!(candidates.refuse(), 0);
        assert_eq!(candidates.refuse(), PAUSE_MIN_NS);
    }

    #[test]
    fn an_endpoint_is_added_once() {
        let mut candidates = Candidates::new(vec![endpoint("a:1")]);
        candidates.add(endpoint("b:1"));
        candidates.add(endpoint("b:1"));
        assert_eq!(candidates.endpoints.len(), 2);
    }
}
