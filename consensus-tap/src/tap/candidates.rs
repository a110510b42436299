//! The ring of members that may be asked, and how long to wait after a round in which none would do.

use crate::channel::HostPort;

const PAUSE_MIN_NS: u64 = 100_000_000;
const PAUSE_MAX_NS: u64 = 1_000_000_000;

/// Consensus endpoints, asked in turn without cool-down. Only a whole round of refusals is followed by a
/// pause, which doubles up to a second: a cluster in an election must not be asked in a busy loop.
#[derive(Debug)]
pub(super) struct Candidates {
    endpoints: Vec<HostPort>,
    /// What was last found of each.
    verdicts: Vec<Option<Verdict>>,
    next: usize,
    refused: usize,
    purged: usize,
    ineligible: usize,
    pause_ns: u64,
}

/// Why an endpoint would not do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It did not answer, or is no source for us now.
    Unusable,
    /// It is not of the kind that may be followed.
    Ineligible,
    /// It no longer has the log that would continue ours.
    Purged,
}

/// What follows from a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// How long to wait before the next is asked.
    pub(super) pause_ns: u64,
    /// Every endpoint was refused since the last that served us, or since the last round.
    pub(super) is_round_over: bool,
    /// Each of them that may be followed for having purged its log.
    pub(super) is_all_purged: bool,
}

impl Candidates {
    pub(super) fn new(endpoints: Vec<HostPort>) -> Self {
        let verdicts = vec![None; endpoints.len()];
        Self { endpoints, verdicts, next: 0, refused: 0, purged: 0, ineligible: 0, pause_ns: PAUSE_MIN_NS }
    }

    /// Adds an endpoint that a member named, once.
    pub(super) fn add(&mut self, endpoint: HostPort) {
        if self.endpoints.len() < ENDPOINTS_MAX && !self.endpoints.contains(&endpoint) {
            self.endpoints.push(endpoint);
            self.verdicts.push(None);
        }
    }

    /// Makes an endpoint the one to ask now, known or new.
    pub(super) fn prefer(&mut self, endpoint: HostPort) {
        self.add(endpoint.clone());
        if let Some(index) = self.endpoints.iter().position(|known| *known == endpoint) {
            self.next = index;
            self.begin_round();
        }
    }

    /// Whether there is more than one.
    pub(super) fn is_choice(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Those that did not answer, or were no source, when they were last asked.
    pub(super) fn unusable(&self) -> impl Iterator<Item = &HostPort> {
        let is_unusable = |verdict: &Option<Verdict>| *verdict == Some(Verdict::Unusable);
        self.endpoints
            .iter()
            .zip(&self.verdicts)
            .filter(move |(_, v)| is_unusable(v))
            .map(|(endpoint, _)| endpoint)
    }

    /// The endpoint to ask now.
    pub(super) fn current(&self) -> &HostPort {
        &self.endpoints[self.next]
    }

    /// The current endpoint would not do: moves on.
    pub(super) fn refuse(&mut self, verdict: Verdict) -> Turn {
        self.verdicts[self.next] = Some(verdict);
        self.next = (self.next + 1) % self.endpoints.len();
        self.refused += 1;
        self.purged += usize::from(verdict == Verdict::Purged);
        self.ineligible += usize::from(verdict == Verdict::Ineligible);
        if self.refused < self.endpoints.len() {
            return Turn { pause_ns: 0, is_round_over: false, is_all_purged: false };
        }
        let is_all_purged = self.purged > 0 && self.purged + self.ineligible == self.refused;
        let turn = Turn { pause_ns: self.pause_ns, is_round_over: true, is_all_purged };
        self.begin_round();
        self.pause_ns = (self.pause_ns * 2).min(PAUSE_MAX_NS);
        turn
    }

    /// The current endpoint served us: the next round starts without haste or grudge.
    pub(super) fn served(&mut self) {
        self.begin_round();
        self.pause_ns = PAUSE_MIN_NS;
    }

    fn begin_round(&mut self) {
        (self.refused, self.purged, self.ineligible) = (0, 0, 0);
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
    fn a_preferred_endpoint_is_asked_next_and_the_round_goes_on_behind_it() {
        let mut candidates = Candidates::new(vec!["a:1".parse().unwrap(), "b:1".parse().unwrap()]);
        candidates.prefer("s:1".parse().unwrap());
        assert_eq!(candidates.current().to_string(), "s:1");
        candidates.refuse(Verdict::Unusable);
        assert_eq!(candidates.current().to_string(), "a:1");
        candidates.prefer("b:1".parse().unwrap());
        assert_eq!(candidates.current().to_string(), "b:1");
        assert!(!candidates.refuse(Verdict::Unusable).is_round_over, "it counts from there");
    }

    #[test]
    fn asks_every_endpoint_at_once_and_pauses_only_after_a_whole_round() {
        let mut candidates = Candidates::new(vec![endpoint("a:1"), endpoint("b:1")]);
        let pause_ns = |candidates: &mut Candidates| candidates.refuse(Verdict::Unusable).pause_ns;
        assert_eq!(pause_ns(&mut candidates), 0);
        assert_eq!(candidates.current(), &endpoint("b:1"));
        assert_eq!(pause_ns(&mut candidates), PAUSE_MIN_NS);
        assert_eq!(pause_ns(&mut candidates), 0);
        assert_eq!(pause_ns(&mut candidates), 2 * PAUSE_MIN_NS);
        candidates.served();
        assert_eq!(pause_ns(&mut candidates), 0);
        assert_eq!(pause_ns(&mut candidates), PAUSE_MIN_NS);
    }

    #[test]
    fn all_have_purged_only_when_every_endpoint_of_the_round_said_so() {
        let mut candidates = Candidates::new(vec![endpoint("a:1"), endpoint("b:1")]);
        assert!(!candidates.refuse(Verdict::Purged).is_round_over);
        assert!(!candidates.refuse(Verdict::Unusable).is_all_purged);
        candidates.refuse(Verdict::Purged);
        assert!(candidates.refuse(Verdict::Ineligible).is_all_purged, "of those that may be followed");
        candidates.refuse(Verdict::Ineligible);
        assert!(!candidates.refuse(Verdict::Ineligible).is_all_purged, "none said so");
    }

    #[test]
    fn a_list_of_members_without_end_is_not_believed() {
        let mut candidates = Candidates::new(vec![endpoint("a:1")]);
        (1..1000).for_each(|port| candidates.add(endpoint(&format!("b:{port}"))));
        assert_eq!(candidates.endpoints.len(), ENDPOINTS_MAX);
    }

    #[test]
    fn an_endpoint_is_added_once() {
        let mut candidates = Candidates::new(vec![endpoint("a:1")]);
        candidates.add(endpoint("b:1"));
        candidates.add(endpoint("b:1"));
        assert_eq!(candidates.endpoints.len(), 2);
    }
}
