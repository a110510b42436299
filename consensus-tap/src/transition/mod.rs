//! From following to leading: what must be known, promised and written before a standby serves anybody.
//!
//! ```text
//!           request                            every standby grants
//! FOLLOWING ─────> DRAIN ─> CHECK ─> CLAIM ────────────────────> SEAL ─> FENCE ─> TERM ─> SERVE ─> ACTIVE
//!     ^              │        │        │                          │       │    on the disk          │
//!     └──────────────┴────────┴────────┴──────────────────────────┴───────┘        v                v
//!       refused: the claim is withdrawn, the source is looked for again         FENCED <── newer term
//! ```
//! Whatever speaks against it before TERM leads back to FOLLOWING, with the reason. From TERM on there is a
//! decision on the disk, and a node that finds one at its start never follows: it claims, checks and fences
//! again under a newer term, or is FENCED, until an operator says what it is to be. A node that begins a
//! cluster asks the other standbys, if it has any, and goes on to TERM. Its restart goes the way of every other.
//!
//! A [`Transition`] decides and does nothing itself: [`Facts`], answers and time in, [`TransitionAction`]s
//! out.
//!
//! Invariants: nothing is served before the decision is on the disk; a grant is on the disk before it is
//! told; of standbys that hear each other one leads at most, and none whose log ends in an older term than
//! another one's, or in the same one and below it; the fence is not run while another one is known to have more.

mod action;
mod attempt;
mod beginning;
mod check;
mod checks;
mod facts;
mod peers;
mod report;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use self::action::{Decision, TransitionAction};
pub use self::check::{Check, ForceError, ForcedChecks, Refusal};
pub use self::facts::{Facts, LogFacts, Loss, MemberSign, MemberState, SourcePosition};
pub use self::peers::{Beacon, Grant, NO_CLAIM, UNREAD};
pub use self::report::{MemberLook, Outcome, RequestKind, StandbyLook, Step, TransitionReport};
pub use self::state::TransitionState;

use self::attempt::Attempt;
use self::peers::Peers;
use crate::random::next_random;

/// Term of a cluster that begins.
const FIRST_TERM_ID: i64 = 0;

/// Settings of a [`Transition`]. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct TransitionConfig {
    /// This node's id.
    pub member_id: i32,
    /// Ids of the other standbys.
    pub standby_ids: Vec<i32>,
    /// Whether there is a hook, or the operator says that none is needed.
    pub has_fence: bool,
    /// For how long nothing may be heard of a member that counts as silent, or of a standby that counts as
    /// reachable.
    pub liveness_timeout_ns: u64,
    /// A replay whose source is not living is at its end when nothing came for so long.
    pub drain_quiet_ns: u64,
    /// What drains, and what waits for other standbys, may stand still for so long.
    pub patience_ns: u64,
    /// Later than at any start before: beacons of this one come after those.
    pub incarnation: i64,
    /// Seeds claim ids: another one at each start.
    pub seed: u64,
}

impl Default for TransitionConfig {
    fn default() -> Self {
        Self {
            member_id: 0,
            standby_ids: Vec::new(),
            has_fence: false,
            liveness_timeout_ns: 1_000_000_000,
            drain_quiet_ns: 20_000_000,
            patience_ns: 2_000_000_000,
            incarnation: 0,
            seed: 0,
        }
    }
}

/// What a node finds on its disk when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Remembered {
    /// That it led, or was about to.
    pub led: Option<Led>,
    /// What it has promised.
    pub grant: Option<Grant>,
}

/// A decision of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Led {
    /// Its term.
    pub leadership_term_id: i64,
    /// Its claim.
    pub claim_id: i64,
    /// What the operator overrode.
    pub forced: ForcedChecks,
    /// Whether it was fenced since: then it does not lead again by itself.
    pub is_fenced: bool,
}

/// Changes a standby into a leader, once.
#[derive(Debug)]
pub struct Transition {
    config: TransitionConfig,
    /// Where the node is while nothing is asked of it: following, active or fenced.
    resting: TransitionState,
    started_ns: Option<u64>,
    peers: Peers,
    /// What this node promises.
    grant: Option<Grant>,
    /// What the disk says that it does.
    saved_grant: Option<Grant>,
    /// What is on its way to the disk.
    saving_grant: Option<Option<Grant>>,
    /// Of this node, while it claims or leads, or may lead again.
    claim_id: i64,
    /// A decision to lead is on the disk, or may be.
    is_decided: bool,
    /// Another one was seen to lead since: the disk says so, or is about to.
    is_fenced_for_good: bool,
    /// The term of that decision.
    leadership_term_id: i64,
    /// To be tried as soon as the log is read: this node led before.
    resume: Option<ForcedChecks>,
    /// To be done as soon as the log is read: a cluster begins here.
    begins_cluster: bool,
    attempt: Option<Attempt>,
    report: Option<TransitionReport>,
    /// The active standby that the tap was told of.
    followed_peer: Option<i32>,
    log_position: i64,
    log_term_id: i64,
    known_term_id: i64,
    sequence: i64,
    refused_count: u64,
    last_refusal: Option<Check>,
    random: u64,
    actions: VecDeque<TransitionAction>,
}

impl Transition {
    /// A transition of a node that starts now, with what it remembers.
    pub fn new(config: TransitionConfig, remembered: Remembered) -> Self {
        let Remembered { led, grant } = remembered;
        let mut transition = Self {
            resting: TransitionState::Following,
            started_ns: None,
            peers: Peers::new(config.member_id, &config.standby_ids, config.liveness_timeout_ns),
            grant,
            saved_grant: grant,
            saving_grant: None,
            claim_id: NO_CLAIM,
            is_decided: false,
            is_fenced_for_good: false,
            leadership_term_id: -1,
            resume: None,
            begins_cluster: false,
            attempt: None,
            report: None,
            followed_peer: None,
            log_position: -1,
            log_term_id: UNREAD,
            known_term_id: -1,
            sequence: 0,
            refused_count: 0,
            last_refusal: None,
            random: config.seed,
            actions: VecDeque::new(),
            config,
        };
        if let Some(Led { leadership_term_id, claim_id, forced, is_fenced }) = led {
            transition.remember_led(leadership_term_id);
            transition.is_fenced_for_good = is_fenced;
            if !is_fenced {
                // It stands until it is claimed anew: who granted it must not lead meanwhile.
                transition.claim_id = claim_id;
                transition.resume = Some(forced.at_a_restart());
            }
        }
        transition
    }

    /// The operator set the flag, or asks what it would do. Returns false while another request is under way,
    /// or when this node leads already.
    pub fn on_request(&mut self, is_dry_run: bool, forced: ForcedChecks, now_ns: u64) -> bool {
        if self.attempt.is_some() || self.resting == TransitionState::Active {
            return false;
        }
        let kind = if is_dry_run { RequestKind::DryRun } else { RequestKind::Activate };
        if kind == RequestKind::Activate {
            self.resume = None;
        }
        self.begin(kind, forced, now_ns);
        true
    }

    /// Another standby said how it stands. One that is not of ours is not heard.
    pub fn on_beacon(&mut self, beacon: &Beacon, now_ns: u64) {
        if !self.peers.on_beacon(beacon, now_ns) {
            return;
        }
        // A grant ends when its owner says that it claims nothing, or something else.
        if let Some(grant) = self.grant
            && grant.member_id == beacon.member_id
            && grant.claim_id != beacon.claim_id
        {
            self.set_grant(None);
        }
        self.consider_leader(beacon, now_ns);
        self.consider_claim(beacon, now_ns);
    }

    /// What was to be saved last is on the disk, or it is not.
    pub fn on_grant_saved(&mut self, is_saved: bool) {
        let Some(saved) = self.saving_grant.take() else { return };
        if is_saved {
            self.saved_grant = saved;
            self.actions.push_back(TransitionAction::TellPeers);
        } else {
            // What the disk has stands; the next beacon of who claims, or no longer does, has it tried again.
            self.grant = self.saved_grant;
        }
        if self.grant != self.saved_grant {
            self.save_grant();
        }
    }

    /// A cluster begins with this node, if no other standby knows of one: its log is empty, and it decided nothing
    /// before.
    pub fn on_bootstrap(&mut self) {
        self.begins_cluster = !self.is_decided;
    }

    /// This node led the log that it found, last in this term, though no decision says so any more: it is to
    /// lead again, if nothing speaks against it.
    pub fn on_own_log(&mut self, leadership_term_id: i64) {
        if !self.is_decided {
            self.remember_led(leadership_term_id);
            self.resume = Some(ForcedChecks::NONE);
        }
    }

    /// Time passed, and this is known now.
    pub fn on_timeout(&mut self, now_ns: u64, facts: &Facts) {
        self.started_ns.get_or_insert(now_ns);
        self.log_position = facts.log.map_or(-1, |log| log.end_position);
        self.log_term_id = facts.log.filter(|log| log.is_read).map_or(UNREAD, |log| log.leadership_term_id);
        self.known_term_id = self.known_term_id.max(facts.leadership_term_id);
        if facts.log.is_some_and(|log| log.is_read)
            && self.attempt.is_none()
            && let Some(forced) = self.resume.take()
        {
            self.begin(RequestKind::Resume, forced, now_ns);
        }
        if let Some(log) = facts.log.filter(|log| log.is_read)
            && self.attempt.is_none()
            && self.resting == TransitionState::Following
            && !self.awaits_promised(now_ns)
            && std::mem::take(&mut self.begins_cluster)
        {
            self.begin_cluster(&log, now_ns, facts);
        }
        self.advance(now_ns, facts);
    }

    /// The next request to the node.
    pub fn poll_action(&mut self) -> Option<TransitionAction> {
        self.actions.pop_front()
    }

    /// Where this node stands. A dry run changes nothing.
    pub fn state(&self) -> TransitionState {
        match &self.attempt {
            Some(attempt) if attempt.kind != RequestKind::DryRun => attempt.state,
            _ => self.resting,
        }
    }

    /// What the transition state counter shows: the state, or why the last request was refused.
    pub fn counter_value(&self) -> i64 {
        match (self.state(), self.last_refusal) {
            (TransitionState::Following, Some(check)) => check.value(),
            (state, _) => state as i64,
        }
    }

    /// How many requests were refused.
    pub fn refused_count(&self) -> u64 {
        self.refused_count
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether this node may follow: it never decided to lead.
    pub fn may_follow(&self) -> bool {
        !self.is_decided
    }

    /// The request that is under way, or the last one.
    pub fn report(&self) -> Option<&TransitionReport> {
        self.report.as_ref()
    }

    /// What to tell the other standbys now. Each call is a later beacon.
    pub fn beacon(&mut self) -> Beacon {
        self.sequence += 1;
        let leadership_term_id = match self.resting {
            TransitionState::Active => self.leadership_term_id,
            _ => self.known_term_id,
        };
        Beacon {
            member_id: self.config.member_id,
            state: self.state(),
            incarnation: self.config.incarnation,
            sequence: self.sequence,
            leadership_term_id,
            log_position: self.log_position,
            log_term_id: self.log_term_id,
            claim_id: self.claim_id,
            grant: self.grant.filter(|_| self.grant == self.saved_grant),
        }
    }

    /// Somebody claims: it has our word, unless we claim ourselves and come first.
    fn consider_claim(&mut self, beacon: &Beacon, now_ns: u64) {
        let claim = Grant { member_id: beacon.member_id, claim_id: beacon.claim_id };
        let has_word_elsewhere = self.grant.is_some() || self.resting == TransitionState::Active;
        if beacon.claim_id == NO_CLAIM || has_word_elsewhere || beacon.log_end().0 < self.own_term_id() {
            return;
        }
        if let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.kind != RequestKind::DryRun) {
            let comes_first = attempt.is_claiming
                && self.config.member_id < beacon.member_id
                && !beacon.state.is_beyond_claim();
            if attempt.is_claim_held || comes_first {
                return;
            }
            if attempt.kind == RequestKind::Bootstrap {
                self.put_off_beginning();
                return self.set_grant(Some(claim));
            }
            let reason = format!(
                "standby {} claims to lead at the same time and comes first: see what becomes of it \
                 (`status` there), and ask again if it does not lead then",
                beacon.member_id
            );
            self.refuse(vec![Refusal { check: Check::ClaimLost, reason }], now_ns);
        }
        self.set_grant(Some(claim));
    }

    /// The term of which this node has what it served, and may serve it again: whoever claims from an older one's log
    /// does not get its word. -1 for none.
    fn own_term_id(&self) -> i64 {
        match self.is_decided && !self.is_fenced_for_good {
            // Until the log is read the decision is all that is known of it.
            true if self.log_term_id == UNREAD => self.leadership_term_id,
            true => self.log_term_id,
            false => -1,
        }
    }

    /// Another one leads: it is followed, or it ends what we do.
    fn consider_leader(&mut self, beacon: &Beacon, now_ns: u64) {
        let is_leading = beacon.state == TransitionState::Active;
        if !is_leading {
            self.followed_peer.take_if(|followed| *followed == beacon.member_id);
            return;
        }
        // Of two in one term that of the smaller id goes on, or both would.
        let rank = |term_id: i64, member_id: i32| (term_id, std::cmp::Reverse(member_id));
        let is_newer = rank(beacon.leadership_term_id, beacon.member_id)
            > rank(self.leadership_term_id, self.config.member_id);
        match self.resting {
            TransitionState::Active if is_newer => {
                self.resting = TransitionState::Fenced;
                self.fence_for_good();
                self.actions.push_back(TransitionAction::StopLeading);
            }
            TransitionState::Fenced => {
                self.resume = None;
                if self.attempt.as_ref().is_some_and(Attempt::may_yield) {
                    let refusals = self.standby_refusals(now_ns);
                    self.refuse(refusals, now_ns);
                } else if self.attempt.is_none() && !self.is_fenced_for_good {
                    self.fence_for_good();
                }
            }
            TransitionState::Following if self.followed_peer != Some(beacon.member_id) => {
                self.followed_peer = Some(beacon.member_id);
                self.actions.push_back(TransitionAction::FollowPeer { member_id: beacon.member_id });
            }
            _ => {}
        }
    }

    fn remember_led(&mut self, leadership_term_id: i64) {
        self.resting = TransitionState::Fenced;
        self.is_decided = true;
        self.leadership_term_id = leadership_term_id;
        self.known_term_id = self.known_term_id.max(leadership_term_id);
    }

    /// Not even a restart makes this node lead again.
    fn fence_for_good(&mut self) {
        self.claim_id = NO_CLAIM;
        self.is_fenced_for_good = true;
        self.last_refusal = Some(Check::NewerTerm);
        self.actions.extend([TransitionAction::RecordFenced, TransitionAction::TellPeers]);
    }

    fn set_grant(&mut self, grant: Option<Grant>) {
        self.grant = grant;
        self.save_grant();
    }

    fn save_grant(&mut self) {
        if self.saving_grant.is_none() {
            self.saving_grant = Some(self.grant);
            self.actions.push_back(TransitionAction::SaveGrant(self.grant));
        }
    }

    fn new_claim_id(&mut self) -> i64 {
        (next_random(&mut self.random) >> 1) as i64 | 1
    }
}
