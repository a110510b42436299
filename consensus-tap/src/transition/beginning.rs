//! A cluster begins with this node: nobody is left behind by it, and nobody begins another one.
//!
//! No member can be asked who leads what was never led, and nothing is lost, so there is no source to drain and no fence
//! to run. But the directory may be empty because its disk was lost, or because it was cleared to follow again: each
//! named standby says that it knows of no cluster, and promises to begin none, before this node serves anybody.

use super::check::{Check, ForcedChecks, Refusal};
use super::facts::{Facts, LogFacts};
use super::peers::{Beacon, Grant, NO_CLAIM};
use super::report::RequestKind;
use super::{FIRST_TERM_ID, Transition, TransitionAction, TransitionState};

impl Transition {
    /// Looks whether others know of a cluster.
    pub(super) fn begin_cluster(&mut self, log: &LogFacts, now_ns: u64, facts: &Facts) {
        self.begin(RequestKind::Bootstrap, ForcedChecks::NONE, now_ns);
        if self.config.standby_ids.is_empty() {
            self.claim_id = self.new_claim_id();
            self.decide(FIRST_TERM_ID, log, now_ns, facts);
        } else {
            self.enter(
                TransitionState::Check,
                "other standbys are asked for a cluster that is there",
                now_ns,
            );
        }
    }

    /// Nobody knows of one once all have said so.
    pub(super) fn check_beginning(&mut self, now_ns: u64) {
        let refusals = self.against_beginning(now_ns);
        if !refusals.is_empty() {
            return self.refuse(refusals, now_ns);
        }
        let unheard: Vec<i32> = self.peers.out_of_contact(now_ns).collect();
        if unheard.is_empty() {
            self.claim_id = self.new_claim_id();
            self.enter_claim("no other standby knows of a cluster; they are asked to begin none", now_ns);
        } else if self.is_out_of_patience(now_ns) {
            self.refuse(unheard.into_iter().map(unreachable).collect(), now_ns);
        }
    }

    /// It begins once all have promised.
    pub(super) fn claim_beginning(&mut self, now_ns: u64, facts: &Facts) {
        let refusals = self.against_beginning(now_ns);
        let are_all_heard = self.peers.out_of_contact(now_ns).next().is_none();
        if !refusals.is_empty() {
            self.refuse(refusals, now_ns);
        } else if let Some(log) = facts.log
            && are_all_heard
            && self.peers.have_granted(self.claim_id, now_ns)
        {
            self.decide(FIRST_TERM_ID, &log, now_ns, facts);
        } else if self.is_out_of_patience(now_ns) {
            let refusals = vec![self.not_granted(now_ns)];
            self.refuse(refusals, now_ns);
        }
    }

    /// Another one claims at the same time and comes first: it is to be seen what becomes of that.
    pub(super) fn put_off_beginning(&mut self) {
        self.attempt = None;
        self.report = None;
        self.claim_id = NO_CLAIM;
        self.begins_cluster = true;
        self.actions.push_back(TransitionAction::TellPeers);
    }

    /// Whether who was promised may yet lead, or withdraw.
    pub(super) fn awaits_promised(&self, now_ns: u64) -> bool {
        let promised = self.grant.map(|grant| grant.member_id);
        let is_undecided =
            |beacon: &Beacon| Some(beacon.member_id) == promised && !beacon.state.is_beyond_claim();
        self.peers.in_contact(now_ns).any(is_undecided)
    }

    fn against_beginning(&self, now_ns: u64) -> Vec<Refusal> {
        let mut found = Vec::new();
        if let Some(Grant { member_id, .. }) = self.grant {
            let reason = format!(
                "standby {member_id} was promised that this node does not lead: start without it to follow that one, or \
                 `deactivate` this node first where that one is gone for good"
            );
            found.push(Refusal { check: Check::Granted, reason });
        }
        for beacon in self.peers.in_contact(now_ns) {
            let id = beacon.member_id;
            if beacon.state.is_beyond_claim() {
                let reason =
                    format!("standby {id} leads, or is about to: start without it to follow that one");
                found.push(Refusal { check: Check::StandbyActive, reason });
            } else if beacon.log_position > 0 || beacon.leadership_term_id >= FIRST_TERM_ID {
                let reason = format!(
                    "standby {id} has the log of a cluster, up to {}, or knows of one: start without it to follow, or \
                     activate that one",
                    beacon.log_position.max(0)
                );
                found.push(Refusal { check: Check::Behind, reason });
            }
        }
        found
    }
}

fn unreachable(id: i32) -> Refusal {
    let reason = format!(
        "standby {id} cannot be asked whether there is a cluster already: start that one first, it waits for a log; \
         where there is none yet, leave it out of `standby_endpoints` for the first start"
    );
    Refusal { check: Check::StandbyUnreachable, reason }
}
