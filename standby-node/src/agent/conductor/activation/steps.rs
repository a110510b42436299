//! What each step of a transition asks of the conductor and of the other agents, and what becomes of it.

use consensus_tap::codec::consensus::parse_cluster_members;
use consensus_tap::file::cnc::counters::{TOGGLE_ACTIVATE, TOGGLE_DRY_RUN, TOGGLE_NEUTRAL};
use consensus_tap::transition::{
    Decision, ForcedChecks, LogFacts, Outcome, RequestKind, TransitionAction, TransitionState,
};

use super::Activation;
use super::saves::Save;
use crate::activation_files::ActivationRequest;
use crate::agent::AgentError;
use crate::agent::archive::ArchiveCommand;
use crate::agent::conductor::{BootstrapError, Conductor};
use crate::agent::log_ring::LogEnd;
use crate::agent::receiver::{ReceiverCommand, SealedLog};
use crate::agent::storage::StorageJob;
use crate::sys::clock;

/// How often this is looked at. Nothing here is urgent to less.
const INTERVAL_NS: u64 = 1_000_000;
/// Who must not lead any more leads no longer than this, whatever the disk does.
const STOP_TIMEOUT_NS: u64 = 100_000_000;
/// How often other standbys are told how this one stands, though nothing has changed.
const BEACON_INTERVAL_NS: u64 = 100_000_000;

impl Conductor {
    /// The source named the members of the cluster.
    pub(in crate::agent::conductor) fn on_cluster_members(&mut self) {
        let cluster_members = self.downstream.cluster_members().to_owned();
        if cluster_members.is_empty() || cluster_members == self.activation.saves.file().cluster_members {
            return;
        }
        self.activation.saves.push(Save::Members(cluster_members.clone()));
        self.probe(&cluster_members);
    }

    /// Probes the members that were named last, in this run or another.
    pub(in crate::agent::conductor) fn probe_remembered(&mut self) {
        let cluster_members = self.activation.saves.file().cluster_members.clone();
        if !cluster_members.is_empty() {
            self.probe(&cluster_members);
        }
    }

    fn probe(&mut self, cluster_members: &str) {
        let named = parse_cluster_members(cluster_members).unwrap_or_default();
        self.activation.facts.are_members_named |= named.iter().any(|member| !member.is_standby());
        let members = self.activation.probed(cluster_members);
        if members == self.activation.probed {
            return;
        }
        self.activation.probed = members.clone();
        // Until the first look at these.
        self.activation.facts.members = self.activation.unprobed();
        if self.activation.config.probe {
            self.rings.archive_commands.push(ArchiveCommand::Probe(members));
        }
    }

    /// Gets on with what an operator or a restart asks for. Returns how much was done.
    pub(in crate::agent::conductor) fn transit(&mut self) -> Result<usize, AgentError> {
        let now_ns = self.now_ns;
        if now_ns < self.activation.due_ns {
            return Ok(0);
        }
        self.activation.due_ns = now_ns + INTERVAL_NS;
        self.look_at_flag();
        let Self { activation, log, module, history, leadership, .. } = self;
        let Activation { transition, facts, source, config, .. } = activation;
        let end_position = log.as_ref().map(|log| log.end_position());
        source.look(facts, end_position, now_ns);
        facts.recorded_term_id = history.last_term().map_or(-1, |term| term.leadership_term_id);
        facts.leadership_term_id = facts.leadership_term_id.max(facts.recorded_term_id);
        // What is led already is not this transition's to judge.
        let reader = module.as_ref().filter(|module| module.has_started() && !leadership.is_leading());
        facts.log = match (log, reader) {
            (Some(log), Some(module)) => Some(LogFacts {
                recording_id: log.recording_id(),
                leadership_term_id: history.term_before(log.end_position()).unwrap_or(-1),
                end_position: log.end_position(),
                applied_position: module.applied_position().unwrap_or(log.start_position()),
                is_read: module.read_position() == Some(log.end_position()),
            }),
            _ => facts.log.filter(|_| leadership.is_leading()),
        };
        if !config.probe {
            facts.members_ns = now_ns;
        }
        transition.on_timeout(now_ns, facts);
        let work = self.act()?;
        self.activation.write_report();
        if now_ns >= self.activation.beacon_due_ns && !self.activation.config.standbys.is_empty() {
            self.tell_standbys();
        }
        if let Some(job) = self.activation.saves.next() {
            self.rings.jobs.push(job);
        }
        let Self { activation: Activation { gauges, facts, .. }, leadership, .. } = self;
        gauges.know_members(&facts.members, leadership.counters());
        self.activation.show(now_ns);
        Ok(work)
    }

    fn look_at_flag(&mut self) {
        let Activation {
            transition,
            toggle,
            request,
            report_id,
            flag_seen_ms,
            cluster_directory,
            told_step_count,
            ..
        } = &mut self.activation;
        let flag = toggle.get_volatile();
        if request.is_some() || !matches!(flag, TOGGLE_ACTIVATE | TOGGLE_DRY_RUN) {
            *flag_seen_ms = None;
            return;
        }
        // What is under way may take its time, and what was asked for meanwhile is no older for that.
        let seen_ms = *flag_seen_ms.get_or_insert_with(clock::epoch_ms);
        if transition.is_busy() {
            return;
        }
        *flag_seen_ms = None;
        let (taken, fault) = ActivationRequest::take(cluster_directory, seen_ms);
        if let Some(fault) = fault {
            tracing::warn!("{fault}: nothing is forced");
        }
        let forced = ForcedChecks::from_names(taken.forced.iter().map(String::as_str));
        let forced = forced.unwrap_or_else(|error| {
            tracing::warn!("{error}: nothing is forced");
            ForcedChecks::NONE
        });
        let is_dry_run = flag == TOGGLE_DRY_RUN;
        tracing::info!(is_dry_run, forced = forced.names().join(","), "activation asked for");
        if transition.on_request(is_dry_run, forced, self.now_ns) {
            *told_step_count = 0;
            (*request, *report_id) = (Some(flag), taken.id);
        } else {
            tracing::warn!("this node leads already");
            // How it came to do so is the answer to whoever waits for one.
            self.activation.answer(taken.id);
            self.activation.toggle.set_ordered(TOGGLE_NEUTRAL);
        }
    }

    fn act(&mut self) -> Result<usize, AgentError> {
        let mut work = 0;
        while let Some(action) = self.activation.transition.poll_action() {
            work += 1;
            match action {
                TransitionAction::TellPeers => self.tell_standbys(),
                TransitionAction::SaveGrant(grant) => self.activation.saves.push(Save::Grant(grant)),
                TransitionAction::FollowPeer { member_id } => self.follow_standby(member_id),
                TransitionAction::Seal => self.command(ReceiverCommand::Pause),
                TransitionAction::ReadTail { tail_end } => {
                    let end_position = self.read_tail(tail_end);
                    self.activation.transition.on_tail_read(end_position);
                    self.activation.due_ns = 0;
                }
                TransitionAction::Unseal => self.command(ReceiverCommand::Resume),
                TransitionAction::Fence { leadership_term_id, log_position } => {
                    match self.activation.fence(leadership_term_id, log_position) {
                        Some(order) => self.rings.jobs.push(StorageJob::Fence(Box::new(order))),
                        None => self.on_fenced(Ok(())),
                    }
                }
                TransitionAction::Record(decision) => self.activation.record(decision),
                TransitionAction::Lead(decision) => {
                    self.activation.decision = Some(decision);
                    self.seal();
                }
                TransitionAction::RecordFenced => self.activation.saves.push(Save::Fenced),
                TransitionAction::StopLeading => {
                    self.activation.ends_ns = Some(self.now_ns + STOP_TIMEOUT_NS);
                }
                TransitionAction::Done(outcome) => self.on_transition_done(&outcome)?,
            }
        }
        // Its restart asks before it leads, so a disk that is slow now is no reason to go on.
        if self.activation.ends_ns.is_some_and(|at| self.activation.saves.is_empty() || self.now_ns >= at) {
            let text = "another standby leads in a newer term: this node stops, and serves nobody until it \
                        is told to `activate` or `deactivate`";
            self.life.record_halt(text);
            return Err(text.into());
        }
        Ok(work)
    }

    fn tell_standbys(&mut self) {
        self.activation.beacon_due_ns = self.now_ns + BEACON_INTERVAL_NS;
        if !self.activation.config.standbys.is_empty() {
            let beacon = self.activation.transition.beacon();
            self.rings.archive_commands.push(ArchiveCommand::TellStandbys(beacon));
        }
    }

    fn follow_standby(&mut self, member_id: i32) {
        let standbys = &self.activation.config.standbys;
        let Some((_, endpoint)) = standbys.iter().find(|(id, _)| *id == member_id) else { return };
        tracing::info!(member_id, %endpoint, "another standby is followed");
        let endpoint = endpoint.clone();
        self.command(ReceiverCommand::Prefer { endpoint });
    }

    /// The request came to its end: the flag goes back, and why is where operators look for it.
    fn on_transition_done(&mut self, outcome: &Outcome) -> Result<(), AgentError> {
        self.activation.write_report();
        let report = self.activation.transition.report();
        let is_bootstrap = report.is_some_and(|report| report.kind == RequestKind::Bootstrap);
        let loss = match report {
            _ if is_bootstrap => "none: the cluster is new".to_owned(),
            report => report.map(|report| report.loss.to_string()).unwrap_or_default(),
        };
        match outcome {
            Outcome::Active { leadership_term_id, base_log_position } => {
                tracing::info!(leadership_term_id, base_log_position, loss, "active");
            }
            Outcome::WouldActivate { leadership_term_id } => {
                tracing::info!(leadership_term_id, loss, "nothing speaks against activation");
            }
            // There is nothing to follow here, and nobody to be told later: whoever started the node hears it now.
            Outcome::Refused(refusals) if is_bootstrap => {
                let reasons: Vec<&str> = refusals.iter().map(|refusal| refusal.reason.as_str()).collect();
                return Err(BootstrapError::Refused { reasons: reasons.join("; ") }.into());
            }
            Outcome::Refused(refusals) => {
                for refusal in refusals {
                    tracing::warn!(check = refusal.check.name(), "activation refused: {}", refusal.reason);
                }
                let is_dry_run = self.activation.request == Some(TOGGLE_DRY_RUN);
                if let Some(first) = refusals.first().filter(|_| !is_dry_run) {
                    // The error log keeps each text for good: figures that change are for the node's log.
                    self.life.record_error(&format!("activation refused: {}", first.check.name()));
                }
            }
        }
        if self.activation.transition.state() == TransitionState::Fenced {
            tracing::warn!("this node serves nobody, and waits for `activate` or `deactivate`");
        }
        if self.activation.request.take().is_some() {
            self.activation.toggle.set_ordered(TOGGLE_NEUTRAL);
        }
        Ok(())
    }

    pub(in crate::agent::conductor) fn on_fenced(&mut self, fenced: Result<(), String>) {
        self.activation.transition.on_fenced(fenced);
        self.activation.due_ns = 0;
    }

    /// The receiver has left its source, and nothing more is recorded.
    pub(in crate::agent::conductor) fn on_paused(&mut self) {
        let end_position = self.log.as_ref().map_or(-1, |log| log.end_position());
        self.activation.transition.on_sealed(end_position, self.now_ns);
        self.activation.due_ns = 0;
    }

    /// `activation.dat` is as it was to be, or not.
    pub(in crate::agent::conductor) fn on_activation_saved(&mut self, saved: &Result<(), String>) {
        if let Err(reason) = saved {
            tracing::error!("activation.dat: {reason}");
            self.life.record_error(&format!("activation.dat: {reason}"));
        }
        self.activation.on_saved(saved, self.now_ns);
        if let Some(job) = self.activation.saves.next() {
            self.rings.jobs.push(job);
        }
    }

    /// How far the tail makes up a log. It was read when the node started, so this is quick; and the receiver has left
    /// its source, so nobody writes there.
    fn read_tail(&self, tail_end: i64) -> i64 {
        let (Some(log), Some(module)) = (&self.log, &self.module) else { return 0 };
        let applied_position = module.applied_position().unwrap_or(log.start_position());
        log.whole_up_to(applied_position, module.leadership_term_id(), tail_end)
    }

    /// The log is ours to lead, if that was decided; else it is given back.
    pub(in crate::agent::conductor) fn lead_as_decided(
        &mut self,
        mut log: Box<SealedLog>,
    ) -> Result<Option<Box<SealedLog>>, AgentError> {
        let Some(decision) = self.activation.take_decision() else { return Ok(Some(log)) };
        let Decision { leadership_term_id, base_log_position, .. } = decision;
        let Some(writer) = &mut log.writer else { return Err("there is no log to be led".into()) };
        // What was decided to be used of a tail.
        if writer.recorded_position() < base_log_position {
            log.end = LogEnd::at(writer.accept_tail(base_log_position)?, self.now_ns);
        }
        let end_position = writer.recorded_position();
        if end_position != base_log_position {
            return Err(format!(
                "term {leadership_term_id} was to begin at {base_log_position}, and the log ends at {end_position}"
            )
            .into());
        }
        self.lead(log, leadership_term_id);
        Ok(None)
    }

    /// Clients are served, by what was decided here.
    pub(in crate::agent::conductor) fn on_leading(&mut self) {
        self.activation.transition.on_leading(self.now_ns);
        self.activation.due_ns = 0;
    }
}
