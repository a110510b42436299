//! One standby: a transition, what it asks for and does not have yet, and what its disk keeps.

use consensus_tap::tap::TapState;
use consensus_tap::transition::{
    Decision, Facts, ForcedChecks, Grant, Led, LogFacts, MemberSign, Outcome, Remembered, SourcePosition,
    Transition, TransitionAction, TransitionConfig,
};

use crate::rng::Rng;

pub(crate) const MS: u64 = 1_000_000;
/// Other monotonic clocks begin elsewhere.
const MEMBER_COUNT: i32 = 3;

/// What survives a crash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) led: Option<Led>,
    pub(crate) grant: Option<Grant>,
    pub(crate) log_end: i64,
    /// The term in which the log ends.
    pub(crate) term: i64,
    /// The log was begun by members of a cluster.
    pub(crate) is_of_members: bool,
}

/// What a node is about to do.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    SaveGrant(Option<Grant>),
    Record(Decision),
    RecordFenced,
    Seal,
    Fence { forced: ForcedChecks, asked_ns: u64 },
    Lead(Decision),
}

/// Where a node's clients are served from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    pub(crate) term: i64,
    pub(crate) base: i64,
    pub(crate) was_resumed: bool,
    pub(crate) forced: ForcedChecks,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) disk: Disk,
    pub(crate) running: Option<Running>,
    pub(crate) restart_at_ns: Option<u64>,
    clock_offset_ns: u64,
    /// How fast its clock runs, in thousandths.
    clock_rate: u64,
    pub(crate) is_fence_failing: bool,
    /// It begins a cluster where it finds none.
    pub(crate) begins_cluster: bool,
}

/// What a crash takes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) transition: Transition,
    pub(crate) pending: Vec<(u64, Effect)>,
    pub(crate) serving: Option<Serving>,
    pub(crate) is_sealed: bool,
    /// Whom the tap takes the log from: another standby, or the cluster.
    pub(crate) source: Option<i32>,
    pub(crate) source_position: Option<SourcePosition>,
    pub(crate) last_byte_ns: u64,
    pub(crate) last_sign_ns: Option<u64>,
    since_ns: u64,
    pub(crate) beacon_due_ns: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) is_diverged: bool,
}

impl Node {
    pub(crate) fn new(id: i32, rng: &mut Rng) -> Self {
        Self {
            id,
            disk: Disk { log_end: 4096, is_of_members: true, ..Disk::default() },
            running: None,
            restart_at_ns: Some(0),
            clock_offset_ns: rng.below(1_000_000) * MS,
            clock_rate: rng.between(990, 1010),
            is_fence_failing: false,
            begins_cluster: false,
        }
    }

    /// This node's own clock.
    pub(crate) fn clock(&self, now_ns: u64) -> u64 {
        self.clock_offset_ns + now_ns / 1000 * self.clock_rate
    }

    pub(crate) fn start(&mut self, standby_ids: &[i32], now_ns: u64, seed: u64) {
        let config = TransitionConfig {
            member_id: self.id,
            standby_ids: standby_ids.iter().copied().filter(|id| *id != self.id).collect(),
            has_fence: true,
            incarnation: now_ns as i64 + 1,
            seed,
            ..TransitionConfig::default()
        };
        let remembered = Remembered { led: self.disk.led, grant: self.disk.grant };
        let clock = self.clock(now_ns);
        self.restart_at_ns = None;
        let mut transition = Transition::new(config, remembered);
        if self.begins_cluster && self.disk.led.is_none() && self.disk.log_end == 0 {
            transition.on_bootstrap();
        }
        self.running = Some(Running {
            transition,
            pending: Vec::new(),
            serving: None,
            is_sealed: false,
            source: None,
            source_position: None,
            last_byte_ns: clock,
            last_sign_ns: None,
            since_ns: clock,
            beacon_due_ns: 0,
            outcomes: Vec::new(),
            is_diverged: false,
        });
    }

    /// What was on its way to the disk is there, or not.
    pub(crate) fn kill(&mut self, rng: &mut Rng) {
        let Some(running) = self.running.take() else { return };
        for (_, effect) in running.pending {
            if rng.chance(500) {
                self.put_on_disk(&effect);
            }
        }
    }

    pub(crate) fn put_on_disk(&mut self, effect: &Effect) {
        match effect {
            Effect::SaveGrant(grant) => self.disk.grant = *grant,
            Effect::Record(decision) => {
                self.disk.led = Some(Led {
                    leadership_term_id: decision.leadership_term_id,
                    claim_id: decision.claim_id,
                    forced: decision.forced,
                    is_fenced: false,
                });
            }
            Effect::RecordFenced => {
                if let Some(led) = &mut self.disk.led {
                    led.is_fenced = true;
                }
            }
            Effect::Seal | Effect::Fence { .. } | Effect::Lead(_) => {}
        }
    }

    pub(crate) fn facts(&self, clock_ns: u64) -> Facts {
        let Some(running) = &self.running else { return Facts::default() };
        let member = |member_id| MemberSign {
            member_id,
            endpoint: format!("member-{member_id}:9003"),
            probed_since_ns: Some(running.since_ns),
            last_sign_ns: running.last_sign_ns,
        };
        Facts {
            service_count: 1,
            log: Some(LogFacts {
                recording_id: 0,
                leadership_term_id: self.disk.term,
                end_position: self.disk.log_end,
                applied_position: self.disk.log_end,
                is_read: clock_ns > running.since_ns + 50 * MS,
            }),
            tap_state: if running.is_diverged { TapState::Diverged } else { TapState::Following },
            source_member_id: 0,
            received_position: self.disk.log_end,
            last_byte_ns: running.last_byte_ns,
            source_position: running.source_position,
            overdue_ns: 0,
            unverified_end: None,
            leadership_term_id: self.disk.term,
            recorded_term_id: self.disk.term,
            are_members_named: true,
            // Of a cluster that a standby began there is no other member.
            members: if self.disk.is_of_members {
                (0..MEMBER_COUNT).map(member).collect()
            } else {
                Vec::new()
            },
            members_ns: clock_ns,
        }
    }

    /// Takes what the transition asks for; what is done at once is returned.
    pub(crate) fn take_actions(&mut self, now_ns: u64, rng: &mut Rng) -> Vec<TransitionAction> {
        let mut at_once = Vec::new();
        let Some(running) = &mut self.running else { return at_once };
        while let Some(action) = running.transition.poll_action() {
            let due_ns = now_ns + rng.below(15) * MS;
            let effect = match action {
                TransitionAction::SaveGrant(grant) => Effect::SaveGrant(grant),
                TransitionAction::Record(decision) => Effect::Record(decision),
                TransitionAction::RecordFenced => Effect::RecordFenced,
                TransitionAction::Seal => Effect::Seal,
                TransitionAction::Fence { .. } => {
                    let forced =
                        running.transition.report().map_or(ForcedChecks::NONE, |report| report.forced);
                    Effect::Fence { forced, asked_ns: now_ns }
                }
                TransitionAction::Lead(decision) => Effect::Lead(decision),
                action => {
                    at_once.push(action);
                    continue;
                }
            };
            // The disk takes one after the other.
            let after_ns = running.pending.iter().map(|(due_ns, _)| *due_ns).max().unwrap_or(0);
            running.pending.push((due_ns.max(after_ns), effect));
        }
        at_once
    }
}
