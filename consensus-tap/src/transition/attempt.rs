//! One request on its way from FOLLOWING to ACTIVE, or back.

use super::action::{Decision, TransitionAction};
use super::check::{Check, ForcedChecks, Refusal};
use super::checks::Look;
use super::facts::{Facts, LogFacts};
use super::peers::{NO_CLAIM, UNREAD};
use super::report::{Outcome, RequestKind, Step, TransitionReport};
use super::{Transition, TransitionState};

/// A new term is so much newer than any that is known: the cluster may have begun some that nobody told us
/// of.
const TERM_DISTANCE: i64 = 10;
/// So many times longer than usual is waited for a log that another standby has.
const PEER_PATIENCE_FACTOR: u64 = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) kind: RequestKind,
    pub(super) state: TransitionState,
    /// Our claim is open, and may yet lose to another.
    pub(super) is_claiming: bool,
    /// Every standby that can be asked has granted it.
    pub(super) is_claim_held: bool,
    forced: ForcedChecks,
    since_ns: u64,
    entered_ns: u64,
    /// When something last came forward, and how far it was then.
    progress_ns: u64,
    progress: LogFacts,
    followed_peer: Option<i32>,
    /// The source was left, or is about to be.
    is_sealing: bool,
    is_sealed: bool,
    tail: Tail,
    fenced: Option<Result<(), String>>,
    decision: Option<Decision>,
}

impl Attempt {
    /// Whether who is heard to lead ends it.
    pub(super) fn may_yield(&self) -> bool {
        self.kind != RequestKind::DryRun && !self.is_claim_held
    }
}

/// What is used of a tail that no source has confirmed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tail {
    NotAsked,
    Asked,
    /// Up to here; the end of the log where nothing is.
    UsedUpTo(i64),
}

impl Transition {
    pub(super) fn begin(&mut self, kind: RequestKind, forced: ForcedChecks, now_ns: u64) {
        let progress = LogFacts {
            recording_id: 0,
            leadership_term_id: -1,
            end_position: -1,
            applied_position: -1,
            is_read: false,
        };
        self.attempt = Some(Attempt {
            kind,
            state: TransitionState::Drain,
            is_claiming: false,
            is_claim_held: false,
            forced,
            since_ns: now_ns,
            entered_ns: now_ns,
            progress_ns: now_ns,
            progress,
            followed_peer: None,
            is_sealing: false,
            is_sealed: false,
            tail: Tail::NotAsked,
            fenced: None,
            decision: None,
        });
        self.report = Some(TransitionReport {
            kind,
            forced,
            steps: Vec::new(),
            loss: Default::default(),
            members: Vec::new(),
            standbys: Vec::new(),
            outcome: None,
        });
        if kind != RequestKind::DryRun {
            self.last_refusal = None;
        }
        if kind != RequestKind::Bootstrap {
            self.step("take what is left of the log", now_ns);
        }
    }

    /// The tap has left its source: the log ends at `end_position` for good.
    pub fn on_sealed(&mut self, end_position: i64, now_ns: u64) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.is_sealing) {
            attempt.is_sealed = true;
            self.step(&format!("the log ends at {end_position}"), now_ns);
        }
    }

    /// Up to `end_position` frames and messages behind the log's end are whole.
    pub fn on_tail_read(&mut self, end_position: i64) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.tail == Tail::Asked) {
            attempt.tail = Tail::UsedUpTo(end_position);
        }
    }

    /// The hook has ended: in order, or why not, in words.
    pub fn on_fenced(&mut self, fenced: Result<(), String>) {
        if let Some(attempt) = self.attempt.as_mut() {
            attempt.fenced = Some(fenced);
        }
    }

    /// The decision is on the disk; or nobody knows whether it is, and why, in words.
    pub fn on_recorded(&mut self, recorded: Result<(), String>, now_ns: u64) {
        let Some(decision) = self.attempt.as_ref().and_then(|attempt| attempt.decision) else { return };
        match recorded {
            Ok(()) => {
                self.enter(TransitionState::Serve, "the decision and its term are on the disk", now_ns);
                self.actions.push_back(TransitionAction::Lead(decision));
            }
            Err(reason) => {
                let reason = format!(
                    "the decision to lead may not be on the disk: {reason}; remove the cause, then activate \
                     again, or `deactivate`"
                );
                self.refuse(vec![Refusal { check: Check::RecordNotWritten, reason }], now_ns);
            }
        }
    }

    /// The new term is appended and committed, and clients are served.
    pub fn on_leading(&mut self, now_ns: u64) {
        let Some(decision) = self.attempt.as_ref().and_then(|attempt| attempt.decision) else { return };
        self.enter(TransitionState::Active, "clients are served", now_ns);
        self.resting = TransitionState::Active;
        self.attempt = None;
        self.end(Outcome::Active {
            leadership_term_id: decision.leadership_term_id,
            base_log_position: decision.base_log_position,
        });
        self.actions.push_back(TransitionAction::TellPeers);
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self, now_ns: u64, facts: &Facts) {
        let Some(attempt) = &mut self.attempt else { return };
        let (kind, is_sealed) = (attempt.kind, attempt.is_sealed);
        let is_decided = matches!(attempt.state, TransitionState::Term | TransitionState::Serve);
        if let Some(log) = facts.log.filter(|log| *log != attempt.progress) {
            attempt.progress = log;
            attempt.progress_ns = now_ns;
        }
        let state = attempt.state;
        let members = self.look(now_ns, facts).members();
        if let Some(report) = self.report.as_mut().filter(|_| !is_decided) {
            report.loss = facts.loss(now_ns);
            report.members = members;
            report.standbys = self.peers.looks(now_ns);
        }
        match state {
            TransitionState::Drain => self.drain(now_ns, facts),
            TransitionState::Check if kind == RequestKind::Bootstrap => self.check_beginning(now_ns),
            TransitionState::Claim if kind == RequestKind::Bootstrap => self.claim_beginning(now_ns, facts),
            TransitionState::Check => self.check(kind, now_ns, facts),
            TransitionState::Claim => self.claim(now_ns, facts),
            TransitionState::Seal if is_sealed => self.seal(now_ns, facts),
            TransitionState::Fence => self.fence(now_ns, facts),
            _ => {}
        }
    }

    fn drain(&mut self, now_ns: u64, facts: &Facts) {
        let hopeless = self.look(now_ns, facts).hopeless();
        let is_dry_run = self.is_dry_run();
        if !hopeless.is_empty() && !is_dry_run {
            return self.refuse(hopeless, now_ns);
        }
        let is_any_living = self.look(now_ns, facts).is_any_living();
        let Some(attempt) = &self.attempt else { return };
        let has_source = self.is_decided
            || !is_any_living
            || facts.tap_state == crate::tap::TapState::Following
            || is_dry_run;
        // A source that lives goes on sending: its log has no end to wait for.
        let is_quiet =
            is_any_living || now_ns.saturating_sub(facts.last_byte_ns) >= self.config.drain_quiet_ns;
        let is_read = facts.log.is_some_and(|log| log.is_read);
        // Another standby is known to have more: it is worth a wait until it sends.
        let patience_ns = match attempt.followed_peer {
            Some(_) => self.config.patience_ns * PEER_PATIENCE_FACTOR,
            None => self.config.patience_ns,
        };
        let is_stuck = now_ns.saturating_sub(attempt.progress_ns) >= patience_ns;
        // Who has just started has not heard everybody yet.
        let is_alone = !attempt.forced.has(Check::StandbyUnreachable)
            && self.is_new(now_ns)
            && self.peers.out_of_contact(now_ns).next().is_some();
        let is_level = is_dry_run || (!is_alone && self.is_level_with_peers(now_ns, facts));
        if (has_source && is_quiet && is_read && is_level) || is_stuck || facts.log.is_none() {
            self.enter(TransitionState::Check, "look at members, standbys and the log", now_ns);
            let kind = self.attempt.as_ref().map_or(RequestKind::DryRun, |attempt| attempt.kind);
            self.check(kind, now_ns, facts);
        }
    }

    /// Whether no other standby has more of the log. One that has is asked for it.
    fn is_level_with_peers(&mut self, now_ns: u64, facts: &Facts) -> bool {
        let Some(log) = facts.log else { return true };
        let Some(&ahead) = self.peers.ahead_of(&log, now_ns) else { return true };
        let Some(attempt) = &mut self.attempt else { return true };
        if attempt.forced.has(Check::Behind) {
            return true;
        }
        let member_id = ahead.member_id;
        // One that goes on in a newer term from below our end has nothing that could continue ours.
        let continues_ours = ahead.log_position > log.end_position;
        if continues_ours && !self.is_decided && attempt.followed_peer != Some(member_id) {
            attempt.followed_peer = Some(member_id);
            attempt.progress_ns = now_ns;
            let text = format!(
                "standby {member_id} has the log up to {}: it is taken from there",
                ahead.log_position
            );
            self.actions.push_back(TransitionAction::FollowPeer { member_id });
            self.step(&text, now_ns);
        }
        false
    }

    fn check(&mut self, kind: RequestKind, now_ns: u64, facts: &Facts) {
        let refusals = self.look(now_ns, facts).refusals();
        let Some(attempt) = &self.attempt else { return };
        // Who has just begun to look has not seen much yet.
        let may_pass = |refusal: &Refusal| {
            matches!(refusal.check, Check::MemberUnknown | Check::StandbyUnreachable | Check::Behind)
        };
        let is_patient =
            now_ns.saturating_sub(attempt.since_ns) < self.config.patience_ns && self.is_new(now_ns);
        if !refusals.is_empty() {
            if is_patient && refusals.iter().all(may_pass) {
                return;
            }
            return self.refuse(refusals, now_ns);
        }
        // What was forced before is no reason not to look.
        let unseen = || Look { forced: ForcedChecks::NONE, ..self.look(now_ns, facts) }.refusals();
        if kind == RequestKind::Resume && is_patient && unseen().iter().any(may_pass) {
            return;
        }
        if kind == RequestKind::DryRun {
            let leadership_term_id = self.next_term_id();
            self.attempt = None;
            return self.end(Outcome::WouldActivate { leadership_term_id });
        }
        self.claim_id = self.new_claim_id();
        self.enter_claim("nothing speaks against it; other standbys are asked", now_ns);
        self.claim(now_ns, facts);
    }

    pub(super) fn enter_claim(&mut self, text: &str, now_ns: u64) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_claiming = true;
        }
        self.enter(TransitionState::Claim, text, now_ns);
        self.actions.push_back(TransitionAction::TellPeers);
    }

    /// What is waited for in this state did not come.
    pub(super) fn is_out_of_patience(&self, now_ns: u64) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| now_ns.saturating_sub(attempt.entered_ns) >= self.config.patience_ns)
    }

    fn claim(&mut self, now_ns: u64, facts: &Facts) {
        let refusals = self.look(now_ns, facts).refusals();
        let is_timed_out = self.is_out_of_patience(now_ns);
        // Another one that claims too yields or is yielded to; a log that is behind is caught up with.
        let decides_itself =
            |refusal: &Refusal| matches!(refusal.check, Check::StandbyActive | Check::Behind);
        let is_other_held = self.peers.in_contact(now_ns).any(|beacon| beacon.state.is_beyond_claim());
        if is_other_held || is_timed_out || !refusals.iter().all(decides_itself) {
            let refusals = if refusals.is_empty() { vec![self.not_granted(now_ns)] } else { refusals };
            return self.refuse(refusals, now_ns);
        }
        if self.peers.have_granted(self.claim_id, now_ns) && self.is_level_with_peers(now_ns, facts) {
            if let Some(attempt) = &mut self.attempt {
                attempt.is_claim_held = true;
                attempt.is_sealing = true;
            }
            self.enter(TransitionState::Seal, "no other standby will lead; the source is left", now_ns);
            self.actions.extend([TransitionAction::TellPeers, TransitionAction::Seal]);
        }
    }

    pub(super) fn not_granted(&self, now_ns: u64) -> Refusal {
        let promised_elsewhere = self.peers.in_contact(now_ns).find_map(|beacon| {
            let grant = beacon.grant.filter(|grant| grant.member_id != self.config.member_id)?;
            Some((beacon.member_id, grant.member_id))
        });
        let newer = self.peers.in_contact(now_ns).find(|beacon| {
            beacon.grant.is_none() && beacon.log_end().0 > self.log_term_id && self.log_term_id != UNREAD
        });
        let reason = match (promised_elsewhere, newer) {
            (Some((promiser, owner)), _) => format!(
                "standby {promiser} has promised standby {owner} not to lead another: if {owner} is gone for \
                 good, stop {promiser}, `deactivate` it, start it, and ask again"
            ),
            (None, Some(newer)) => format!(
                "standby {id} may lead its own log again, which ends in a newer term, {term}, and promises nothing to \
                 this one: activate that one, or stop it, `deactivate` it, start it, and ask again",
                id = newer.member_id,
                term = newer.log_end().0
            ),
            (None, None) => {
                let asked = self.peers.in_contact(now_ns).map(|beacon| beacon.member_id.to_string());
                format!(
                    "not every standby agreed in time ({}): ask again",
                    asked.collect::<Vec<_>>().join(", ")
                )
            }
        };
        Refusal { check: Check::TimedOut, reason }
    }

    /// The log's end stands still; what lies before it is applied.
    fn seal(&mut self, now_ns: u64, facts: &Facts) {
        let Some(attempt) = &self.attempt else { return };
        let Some(log) = facts.log else { return };
        if !log.is_read {
            if now_ns.saturating_sub(attempt.progress_ns) >= self.config.patience_ns {
                let refusals = self.look(now_ns, facts).refusals();
                self.refuse(refusals, now_ns);
            }
            return;
        }
        // What was heard since the claim was granted: the fence is not run for nothing.
        let refusals = self.look(now_ns, facts).refusals();
        if !refusals.is_empty() {
            return self.refuse(refusals, now_ns);
        }
        let Some(log_position) = self.base(&log, now_ns, facts) else { return };
        let leadership_term_id = self.next_term_id();
        self.enter(TransitionState::Fence, "the fence", now_ns);
        self.actions.push_back(TransitionAction::Fence { leadership_term_id, log_position });
    }

    fn fence(&mut self, now_ns: u64, facts: &Facts) {
        let Some(fenced) = self.attempt.as_mut().and_then(|attempt| attempt.fenced.take()) else { return };
        if let Err(reason) = fenced {
            let reason = format!("{reason}: the old cluster may still serve, so this node does not");
            return self.refuse(vec![Refusal { check: Check::FenceFailed, reason }], now_ns);
        }
        // It may have taken its time.
        let refusals = self.look(now_ns, facts).refusals();
        if !refusals.is_empty() {
            return self.refuse(refusals, now_ns);
        }
        let Some(log) = facts.log else { return };
        self.decide(self.next_term_id(), &log, now_ns, facts);
    }

    /// Where the new term is to begin; `None` while it is being looked how much there is of a tail that the operator
    /// wants used.
    fn base(&mut self, log: &LogFacts, now_ns: u64, facts: &Facts) -> Option<i64> {
        let attempt = self.attempt.as_mut()?;
        let tail_end = facts.unverified_end.filter(|end| *end > log.end_position);
        let Some(tail_end) = tail_end.filter(|_| attempt.forced.has(Check::UnverifiedTail)) else {
            return Some(log.end_position);
        };
        match attempt.tail {
            Tail::NotAsked => {
                attempt.tail = Tail::Asked;
                self.actions.push_back(TransitionAction::ReadTail { tail_end });
                None
            }
            Tail::Asked => None,
            Tail::UsedUpTo(end_position) => {
                let base = end_position.clamp(log.end_position, tail_end);
                let text = format!(
                    "of the tail that no source confirmed, {} to {tail_end}, what makes up a log is used: up to \
                     {base}; {} bytes are given up",
                    log.end_position,
                    tail_end - base
                );
                self.step(&text, now_ns);
                Some(base)
            }
        }
    }

    /// The decision goes to the disk, and nothing takes it back.
    pub(super) fn decide(&mut self, leadership_term_id: i64, log: &LogFacts, now_ns: u64, facts: &Facts) {
        let base_log_position = match self.attempt.as_ref().map(|attempt| attempt.tail) {
            Some(Tail::UsedUpTo(end_position)) => end_position.max(log.end_position),
            _ => log.end_position,
        };
        let decision = Decision {
            leadership_term_id,
            base_log_position,
            log_recording_id: log.recording_id,
            forced: self.attempt.as_ref().map_or(ForcedChecks::NONE, |attempt| attempt.forced),
            claim_id: self.claim_id,
            loss: facts.loss(now_ns),
            is_resumed: self.is_decided,
        };
        if let Some(attempt) = &mut self.attempt {
            attempt.decision = Some(decision);
            attempt.is_claim_held = true;
        }
        self.leadership_term_id = decision.leadership_term_id;
        // Whether or not the disk takes it: from here on a crash may find it there.
        self.is_decided = true;
        self.is_fenced_for_good = false;
        if self.grant.is_some() {
            // The operator made sure that who was promised is gone.
            self.set_grant(None);
        }
        self.resting = TransitionState::Fenced;
        let text = format!("term {} begins at {}", decision.leadership_term_id, decision.base_log_position);
        self.enter(TransitionState::Term, &text, now_ns);
        self.actions.push_back(TransitionAction::Record(decision));
    }

    /// Back to where the request came from, with the reasons.
    pub(super) fn refuse(&mut self, refusals: Vec<Refusal>, now_ns: u64) {
        let Some(attempt) = self.attempt.take() else { return };
        if attempt.kind != RequestKind::DryRun {
            self.refused_count += 1;
            self.last_refusal = refusals.first().map(|refusal| refusal.check);
            self.claim_id = NO_CLAIM;
            if attempt.is_sealing && !self.is_decided {
                self.actions.push_back(TransitionAction::Unseal);
            }
            if self.is_decided && refusals.iter().any(|refusal| refusal.check == Check::StandbyActive) {
                self.is_fenced_for_good = true;
                self.actions.push_back(TransitionAction::RecordFenced);
            }
            self.actions.push_back(TransitionAction::TellPeers);
        }
        if let Some(report) = &mut self.report {
            let elapsed_ns = now_ns.saturating_sub(attempt.since_ns);
            let text = format!("refused, back to {}", self.resting.name());
            report.steps.push(Step { state: attempt.state, elapsed_ns, text });
        }
        self.end(Outcome::Refused(refusals));
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(report) = &mut self.report {
            report.outcome = Some(outcome.clone());
        }
        self.actions.push_back(TransitionAction::Done(outcome));
    }

    pub(super) fn enter(&mut self, state: TransitionState, text: &str, now_ns: u64) {
        if let Some(attempt) = &mut self.attempt {
            attempt.state = state;
            attempt.entered_ns = now_ns;
        }
        self.step(text, now_ns);
    }

    fn step(&mut self, text: &str, now_ns: u64) {
        if let (Some(report), Some(attempt)) = (&mut self.report, &self.attempt) {
            let elapsed_ns = now_ns.saturating_sub(attempt.since_ns);
            report.steps.push(Step { state: attempt.state, elapsed_ns, text: text.to_owned() });
        }
    }

    fn is_new(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.started_ns.unwrap_or(now_ns)) < self.config.patience_ns
    }

    fn is_dry_run(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.kind == RequestKind::DryRun)
    }

    fn next_term_id(&self) -> i64 {
        let newest = self.known_term_id.max(self.peers.newest_term_id());
        newest.saturating_add(TERM_DISTANCE + self.peers.own_place())
    }

    /// What other standbys have against it.
    pub(super) fn standby_refusals(&self, now_ns: u64) -> Vec<Refusal> {
        let facts = Facts::default();
        let mut found = Vec::new();
        self.look(now_ns, &facts).look_at_standbys(&mut found);
        found.retain(|refusal| refusal.check == Check::StandbyActive);
        found
    }

    fn look<'a>(&'a self, now_ns: u64, facts: &'a Facts) -> Look<'a> {
        Look {
            config: &self.config,
            facts,
            peers: &self.peers,
            grant: self.grant,
            forced: self.attempt.as_ref().map_or(ForcedChecks::NONE, |attempt| attempt.forced),
            has_led: self.is_decided,
            next_term_id: self.next_term_id(),
            now_ns,
        }
    }
}
