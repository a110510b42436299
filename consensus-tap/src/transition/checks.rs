//! Everything that speaks against leading now, in words.

use super::check::{Check, ForcedChecks, Refusal};
use super::facts::{Facts, LogFacts, MemberSign, MemberState};
use super::peers::{Beacon, Grant, Peers, UNREAD};
use super::report::MemberLook;
use super::{TransitionConfig, TransitionState};
use crate::file::recording_log::SKIPPED_TERMS_MAX;
use crate::tap::TapState;

/// Signs that were looked at longer ago say nothing of now.
const SIGNS_AGE_MAX_NS: u64 = 500_000_000;
/// A source's position that was not reached for so long, though bytes came, is no longer a matter of the way.
const OVERDUE_NS: u64 = 1_000_000_000;

/// One look at everything.
pub(super) struct Look<'a> {
    pub(super) config: &'a TransitionConfig,
    pub(super) facts: &'a Facts,
    pub(super) peers: &'a Peers,
    pub(super) grant: Option<Grant>,
    pub(super) forced: ForcedChecks,
    /// This node led before: it has no source, and asks for none.
    pub(super) has_led: bool,
    /// The term that would begin.
    pub(super) next_term_id: i64,
    pub(super) now_ns: u64,
}

impl Look<'_> {
    /// What speaks against it and is not overridden, what weighs most first.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let mut found = Vec::new();
        self.look_at_ourselves(&mut found);
        self.look_at_standbys(&mut found);
        self.look_at_members(&mut found);
        self.look_at_the_log(&mut found);
        found.retain(|refusal| !self.forced.has(refusal.check));
        found
    }

    /// What no waiting will change.
    pub(super) fn hopeless(&self) -> Vec<Refusal> {
        let mut refusals = self.refusals();
        refusals.retain(|refusal| {
            !matches!(
                refusal.check,
                Check::Behind | Check::MemberUnknown | Check::StandbyUnreachable | Check::PositionUnknown
            )
        });
        refusals
    }

    /// What is known of each member.
    pub(super) fn members(&self) -> Vec<MemberLook> {
        let look = |member: &MemberSign| MemberLook {
            member_id: member.member_id,
            endpoint: member.endpoint.clone(),
            state: self.member_state(member),
            sign_age_ns: member.last_sign_ns.map(|sign_ns| self.now_ns.saturating_sub(sign_ns)),
        };
        self.facts.members.iter().map(look).collect()
    }

    /// Whether some member gives signs of life.
    pub(super) fn is_any_living(&self) -> bool {
        self.facts.members.iter().any(|member| self.member_state(member) == MemberState::Living)
    }

    fn member_state(&self, member: &MemberSign) -> MemberState {
        if self.now_ns.saturating_sub(self.facts.members_ns) > SIGNS_AGE_MAX_NS {
            return MemberState::Unknown;
        }
        member.state(self.now_ns, self.config.liveness_timeout_ns)
    }

    fn look_at_ourselves(&self, found: &mut Vec<Refusal>) {
        let facts = self.facts;
        if facts.service_count == 0 {
            found.push(refusal(
                Check::NoServices,
                "this node hosts no service: start a node with services on a copy of its directory, and \
                 activate that"
                    .to_owned(),
            ));
        }
        if facts.log.is_none() {
            let begin =
                if self.has_led { "`deactivate`, then `run --bootstrap`" } else { "`run --bootstrap`" };
            let reason = format!(
                "no log is being read here (yet): see `status`; a cluster that has none is begun with {begin}"
            );
            found.push(refusal(Check::NoLog, reason));
        }
        if facts.tap_state == TapState::Failed {
            found.push(refusal(
                Check::RecordingFailed,
                "the recording cannot go on: the node's log says why; remove the cause and start it again"
                    .to_owned(),
            ));
        }
        if !self.config.has_fence {
            found.push(refusal(
                Check::Unfenced,
                "nothing makes sure that the old cluster no longer serves: set `fence` to a command that \
                 does, or to \"none\" where it is made sure of otherwise, and start the node again"
                    .to_owned(),
            ));
        }
    }

    pub(super) fn look_at_standbys(&self, found: &mut Vec<Refusal>) {
        for beacon in self.peers.in_contact(self.now_ns) {
            if beacon.state.is_beyond_check() {
                let verb = if beacon.state == TransitionState::Active { "leads" } else { "is about to lead" };
                let reason = format!("standby {} {verb}: this one follows it", beacon.member_id);
                found.push(refusal(Check::StandbyActive, reason));
            }
        }
        self.look_at_promise(found);
        for id in self.peers.out_of_contact(self.now_ns) {
            let reason = format!(
                "standby {id} cannot be reached: make sure that it is not active and that its log reaches no \
                 farther than this one's, then force this check"
            );
            found.push(refusal(Check::StandbyUnreachable, reason));
        }
    }

    fn look_at_promise(&self, found: &mut Vec<Refusal>) {
        if let Some(grant) = self.grant {
            let id = grant.member_id;
            let is_promised = format!("standby {id} was promised that this one does not lead");
            if self.peers.is_in_contact(id, self.now_ns) {
                let reason = format!("{is_promised}: activate or deactivate that one");
                found.push(refusal(Check::StandbyActive, reason));
            } else {
                let reason = format!(
                    "{is_promised}, and cannot be asked now: make sure that it does not run, then force this \
                     check"
                );
                found.push(refusal(Check::Granted, reason));
            }
        }
    }

    fn look_at_members(&self, found: &mut Vec<Refusal>) {
        let facts = self.facts;
        if !facts.are_members_named {
            let reason = "the members of the cluster are not known: none has named them since this node was \
                          started; make sure that none lives, then force this check";
            found.push(refusal(Check::MemberUnknown, reason.to_owned()));
        }
        for member in &facts.members {
            let MemberSign { member_id, endpoint, last_sign_ns, .. } = member;
            match self.member_state(member) {
                MemberState::Living => {
                    let age_ms = self.now_ns.saturating_sub(last_sign_ns.unwrap_or(0)) / 1_000_000;
                    let reason = format!(
                        "member {member_id} ({endpoint}) answered {age_ms} ms ago: stop it; a driver that \
                         outlives its consensus module answers for up to 10 s"
                    );
                    found.push(refusal(Check::MemberLiving, reason));
                }
                MemberState::Unknown => {
                    let reason = format!(
                        "nobody can say whether member {member_id} ({endpoint}) lives: it is not probed, or \
                         has not been for long enough, or its name does not resolve; make sure that it does \
                         not, then force this check"
                    );
                    found.push(refusal(Check::MemberUnknown, reason));
                }
                MemberState::Silent => {}
            }
        }
    }

    fn look_at_the_log(&self, found: &mut Vec<Refusal>) {
        let facts = self.facts;
        let Some(log) = facts.log else { return };
        if facts.tap_state == TapState::Diverged {
            let reason = "the cluster's log is not a continuation of this one: it was started anew, or from \
                          an older state; find out which side is right, then force this check or `reseed`";
            found.push(refusal(Check::Diverged, reason.to_owned()));
        }
        if let Some(end) = facts.unverified_end.filter(|end| *end > log.end_position) {
            let reason = format!(
                "the machine went down, and no source has confirmed what lies between {} and {end} since: \
                 force this check to use it as far as it makes up a log, and to lose what lies behind",
                log.end_position
            );
            found.push(refusal(Check::UnverifiedTail, reason));
        }
        let recorded = facts.recorded_term_id;
        let gap = self.next_term_id.saturating_sub(recorded.max(0));
        if (recorded >= 0 && gap > SKIPPED_TERMS_MAX) || self.next_term_id == i64::MAX {
            let reason = format!(
                "some standby or member told of a term close to {}, and the log's newest is {recorded}: no \
                 cluster holds so many elections; find out who says so (`status` there), and start this node \
                 again without it",
                self.next_term_id
            );
            found.push(refusal(Check::TermTooFar, reason));
        }
        if !log.is_read {
            let reason = format!(
                "services have applied {} of {}: wait until they have applied the rest",
                log.applied_position, log.end_position
            );
            found.push(refusal(Check::Behind, reason));
        }
        if let Some(ahead) = self.peers.ahead_of(&log, self.now_ns) {
            found.push(refusal(Check::Behind, behind(ahead, &log)));
        }
        if self.has_led {
            return;
        }
        match facts.source_position {
            None => {
                let reason = "no source has told how far its log reaches since this node was started, so \
                              nobody knows what would be lost; force this check to lead from what there is";
                found.push(refusal(Check::PositionUnknown, reason.to_owned()));
            }
            Some(source) if source.position > log.end_position && facts.overdue_ns > OVERDUE_NS => {
                let reason = format!(
                    "the source had recorded {} bytes beyond what arrived here, for {:.1} s when the last \
                     byte came: what it committed of them would be lost; activate a standby that has them, \
                     or force this check",
                    source.position - log.end_position,
                    facts.overdue_ns as f64 / 1e9
                );
                found.push(refusal(Check::Behind, reason));
            }
            Some(_) => {}
        }
    }
}

/// In which way the log of another standby is ahead of this one's.
fn behind(ahead: &Beacon, log: &LogFacts) -> String {
    let Beacon { member_id, log_position, .. } = *ahead;
    let (own_term_id, own_position) = (log.leadership_term_id, log.end_position);
    match ahead.log_end() {
        (term_id, _) if term_id > own_term_id && ahead.log_term_id == UNREAD => format!(
            "standby {member_id} has not read its log to its end, which may be of term {term_id}; this one's ends in \
             term {own_term_id}: ask again when it has"
        ),
        (term_id, _) if term_id > own_term_id => format!(
            "the log of standby {member_id} ends in term {term_id}, this one's in term {own_term_id}: what was served \
             in the newer one would be lost; activate that one"
        ),
        _ => format!(
            "the log of standby {member_id} reaches {log_position}, this one's {own_position}: activate that one"
        ),
    }
}

fn refusal(check: Check, reason: String) -> Refusal {
    Refusal { check, reason }
}
