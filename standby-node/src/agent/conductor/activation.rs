//! The way from standby to leader, as the conductor drives it: the flag and its answer, what is known of
//! members and other standbys, what is asked of other agents, what must be on the disk. Every decision is the
//! [`Transition`]'s.

mod saves;
mod source_watch;

use std::path::{Path, PathBuf};

use consensus_tap::channel::HostPort;
use consensus_tap::codec::consensus::{ClusterMember, parse_cluster_members};
use consensus_tap::file::activation::{Activation as ActivationFile, ActivationPhase};
use consensus_tap::file::cnc::counters::{TOGGLE_ACTIVATE, TOGGLE_DRY_RUN, TOGGLE_NEUTRAL};
use consensus_tap::serving::ProbedMember;
use consensus_tap::tap::TapConfig;
use consensus_tap::transition::{
    Beacon, Decision, Facts, ForcedChecks, Grant, Led, LogFacts, MemberSign, Outcome, Remembered, Transition,
    TransitionAction, TransitionConfig, TransitionState,
};

use self::saves::{Save, Saves};
use self::source_watch::SourceWatch;
use super::{ArchiveCommand, Conductor, ReceiverCommand, StorageJob};
use crate::activation_files::{ActivationReport, ActivationRequest};
use crate::agent::AgentError;
use crate::agent::fence::FenceOrder;
use crate::agent::log_ring::LogEnd;
use crate::agent::receiver::SealedLog;
use crate::config::{ActivationConfig, FenceConfig};
use crate::status::{SourceGauges, TransitionGauges};
use crate::store::SyncLevel;
use crate::store::counters::Counter;
use crate::sys::clock;

/// How often this is looked at. Nothing here is urgent to less.
const INTERVAL_NS: u64 = 1_000_000;
/// Who must not lead any more leads no longer than this, whatever the disk does.
const STOP_TIMEOUT_NS: u64 = 100_000_000;
/// How often other standbys are told how this one stands, though nothing has changed.
const BEACON_INTERVAL_NS: u64 = 100_000_000;

/// What activation needs, and where it stands.
#[derive(Debug)]
pub struct Activation {
    transition: Transition,
    facts: Facts,
    source: SourceWatch,
    config: ActivationConfig,
    tap: TapConfig,
    /// Whom the archive agent looks for, or would.
    probed: Vec<ProbedMember>,
    gauges: TransitionGauges,
    toggle: Counter,
    cluster_directory: PathBuf,
    saves: Saves,
    request: Option<Request>,
    /// Steps of the report that were written.
    told_step_count: usize,
    /// The log is to be led from here on, once the receiver gives it away.
    decision: Option<Decision>,
    /// Another one leads: this node ends once that is on the disk, and then at the latest.
    ends_ns: Option<u64>,
    due_ns: u64,
    beacon_due_ns: u64,
}

/// The flag that is set now.
#[derive(Debug)]
struct Request {
    id: u64,
    flag: i64,
}

/// What a node is made of that may activate.
#[derive(Debug)]
pub struct ActivationParts {
    /// As configured.
    pub config: ActivationConfig,
    /// How members are reached.
    pub tap: TapConfig,
    /// Its counters.
    pub gauges: TransitionGauges,
    /// What operators set.
    pub toggle: Counter,
    /// What the receiver shows of its source.
    pub source: SourceGauges,
    /// Services of this node.
    pub service_count: usize,
    /// Where the files lie.
    pub cluster_directory: PathBuf,
    /// `activation.dat`.
    pub file_path: PathBuf,
    /// What it holds.
    pub file: ActivationFile,
    /// What must be on the disk before a message counts that this node appends.
    pub file_sync_level: SyncLevel,
    /// Random at each start.
    pub seed: u64,
    /// When this node starts, milliseconds since 1970.
    pub now_ms: i64,
}

impl Activation {
    /// Goes on from what the disk remembers.
    pub fn new(parts: ActivationParts) -> Self {
        let ActivationParts {
            config,
            tap,
            gauges,
            toggle,
            source,
            service_count,
            cluster_directory,
            file_path,
            file,
            file_sync_level,
            seed,
            now_ms,
        } = parts;
        let remembered = Remembered {
            led: file.record.as_ref().map(|record| Led {
                leadership_term_id: record.leadership_term_id,
                claim_id: record.claim_id,
                forced: ForcedChecks::from_bits(record.forced_checks),
                is_fenced: record.phase == ActivationPhase::Fenced,
            }),
            grant: file.grant.map(|(member_id, claim_id)| Grant { member_id, claim_id }),
        };
        let transition = TransitionConfig {
            member_id: tap.member_id,
            standby_ids: config.standbys.iter().map(|(id, _)| *id).collect(),
            has_fence: config.fence.is_some(),
            liveness_timeout_ns: config.liveness_timeout_ns,
            patience_ns: (2 * config.liveness_timeout_ns).max(2_000_000_000),
            incarnation: now_ms,
            seed,
            ..TransitionConfig::default()
        };
        let facts = Facts { service_count, source_member_id: -1, received_position: -1, ..Facts::default() };
        Self {
            transition: Transition::new(transition, remembered),
            facts: Facts { leadership_term_id: -1, recorded_term_id: -1, ..facts },
            source: SourceWatch::new(source),
            config,
            tap,
            probed: Vec::new(),
            gauges,
            toggle,
            cluster_directory,
            saves: Saves::new(file_path, file, file_sync_level),
            request: None,
            told_step_count: 0,
            decision: None,
            ends_ns: None,
            due_ns: 0,
            beacon_due_ns: 0,
        }
    }

    /// Whether this node may follow anybody: it never decided to lead.
    pub(super) fn may_follow(&self) -> bool {
        self.transition.may_follow()
    }

    /// Whether it was fenced, and does not even try to lead again by itself.
    pub(super) fn is_fenced_for_good(&self) -> bool {
        self.saves.file().record.as_ref().is_some_and(|record| record.phase == ActivationPhase::Fenced)
    }

    /// This node begins a cluster, whose only member has this entry.
    pub(super) fn on_bootstrap(&mut self, member_entry: String) {
        // On the disk with the decision: a restart knows whom there is to ask.
        self.saves.set_cluster_members(member_entry);
        self.transition.on_bootstrap();
    }

    /// This node led the log that it found, last in this term, though no decision says so any more.
    pub(super) fn on_own_log(&mut self, leadership_term_id: i64, member_entry: String) {
        if self.saves.file().cluster_members.is_empty() {
            self.saves.set_cluster_members(member_entry);
        }
        self.transition.on_own_log(leadership_term_id);
    }

    /// The log's files end at `tail_end`, of which less may be confirmed.
    pub(super) fn on_log_opened(&mut self, end_position: i64, tail_end: i64, now_ns: u64) {
        // What this node appended and did not sync did not count, if it led so.
        let is_our_own = self.saves.file().record.as_ref().is_some_and(|record| {
            record.phase == ActivationPhase::Leading
                && record.file_sync_level > 0
                && end_position >= record.base_log_position
        });
        self.facts.unverified_end = Some(tail_end).filter(|end| *end > end_position && !is_our_own);
        self.facts.last_byte_ns = now_ns;
    }

    /// What was heard of the members, which the archive agent looked at just now.
    pub(super) fn on_member_signs(&mut self, members: Vec<MemberSign>, now_ns: u64) {
        // Not of those that were looked for before.
        let is_of = |probed: &ProbedMember, sign: &MemberSign| {
            sign.member_id == probed.member_id && sign.endpoint == probed.consensus_endpoint.to_string()
        };
        let is_of_these = members.len() == self.probed.len()
            && self.probed.iter().all(|probed| members.iter().any(|sign| is_of(probed, sign)));
        if self.config.probe && is_of_these {
            self.facts.members = members;
            self.facts.members_ns = now_ns;
        }
    }

    /// Another standby said how it stands.
    pub(super) fn on_beacon(&mut self, beacon: &Beacon, now_ns: u64) {
        self.transition.on_beacon(beacon, now_ns);
        self.due_ns = 0;
    }

    /// The receiver gave the log away: to be led in this term, if that was decided.
    pub(super) fn take_decision(&mut self) -> Option<Decision> {
        self.decision.take()
    }

    /// Members to be probed, as the list names them.
    fn probed(&self, cluster_members: &str) -> Vec<ProbedMember> {
        let members = parse_cluster_members(cluster_members).unwrap_or_default();
        // How another standby stands it says itself, and more than that it lives.
        let is_ours = |id| id == self.tap.member_id || self.config.standbys.iter().any(|(s, _)| *s == id);
        let is_voter = |member: &ClusterMember| !member.is_standby() && !is_ours(member.id);
        let probed = members.into_iter().filter(is_voter).filter_map(|member| {
            let endpoint: HostPort = member.consensus_endpoint.parse().ok()?;
            Some(ProbedMember { member_id: member.id, consensus_endpoint: self.tap.reached_at(&endpoint) })
        });
        probed.collect()
    }

    /// Members whose signs nobody has looked at: of them nothing is known.
    fn unprobed(&self) -> Vec<MemberSign> {
        let sign = |member: &ProbedMember| MemberSign {
            member_id: member.member_id,
            endpoint: member.consensus_endpoint.to_string(),
            probed_since_ns: None,
            last_sign_ns: None,
        };
        self.probed.iter().map(sign).collect()
    }

    fn on_saved(&mut self, saved: &Result<(), String>, now_ns: u64) {
        match self.saves.on_written() {
            Some(Save::Grant(_)) => self.transition.on_grant_saved(saved.is_ok()),
            Some(Save::Decision(_)) => self.transition.on_recorded(saved.clone(), now_ns),
            Some(Save::Fenced | Save::Members(_)) | None => {}
        }
        self.due_ns = 0;
    }

    fn fence(&self, leadership_term_id: i64, log_position: i64) -> Option<FenceOrder> {
        let Some(FenceConfig::Command(command)) = &self.config.fence else { return None };
        let members: Vec<String> = self.facts.members.iter().map(|member| member.endpoint.clone()).collect();
        Some(FenceOrder {
            command: command.clone(),
            environment: vec![
                ("STANDBY_MEMBER_ID", self.tap.member_id.to_string()),
                ("STANDBY_LEADERSHIP_TERM_ID", leadership_term_id.to_string()),
                ("STANDBY_LOG_POSITION", log_position.to_string()),
                ("STANDBY_CLUSTER_MEMBERS", self.saves.file().cluster_members.clone()),
                ("STANDBY_CONSENSUS_ENDPOINTS", members.join(",")),
            ],
            output: self.cluster_directory.join(FENCE_OUTPUT_FILE_NAME),
            timeout_ns: self.config.fence_timeout_ns,
        })
    }

    fn write_report(&mut self) {
        let id = self.request.as_ref().map_or(0, |request| request.id);
        let Some(report) = self.transition.report() else { return };
        let told = report.steps.len() + usize::from(report.outcome.is_some());
        if told == self.told_step_count {
            return;
        }
        for step in report.steps.iter().skip(self.told_step_count) {
            let elapsed_ms = step.elapsed_ns as f64 / 1e6;
            tracing::info!(state = step.state.name(), elapsed_ms, "activation: {}", step.text);
        }
        self.told_step_count = told;
        if let Err(error) =
            ActivationReport::new(id, report, clock::epoch_ms()).write(&self.cluster_directory)
        {
            tracing::warn!(%error, "the report of the activation could not be written");
        }
    }

    fn show(&mut self, begin_ns: u64) {
        self.gauges.state.set_ordered(self.transition.counter_value());
        self.gauges.refused.set_ordered(self.transition.refused_count() as i64);
        self.gauges.show_members(&self.facts.members, begin_ns);
        self.gauges.on_cycle(clock::monotonic_ns().saturating_sub(begin_ns));
    }
}

/// Name of the fence's output in the cluster directory.
const FENCE_OUTPUT_FILE_NAME: &str = "fence-output.txt";

impl Conductor {
    /// The source named the members of the cluster.
    pub(super) fn on_cluster_members(&mut self) {
        let cluster_members = self.downstream.cluster_members().to_owned();
        if cluster_members.is_empty() || cluster_members == self.activation.saves.file().cluster_members {
            return;
        }
        self.activation.saves.push(Save::Members(cluster_members.clone()));
        self.probe(&cluster_members);
    }

    /// Probes the members that were named last, in this run or another.
    pub(super) fn probe_remembered(&mut self) {
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
    pub(super) fn transit(&mut self) -> Result<usize, AgentError> {
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
        let Activation { transition, toggle, request, cluster_directory, told_step_count, .. } =
            &mut self.activation;
        let flag = toggle.get_volatile();
        if request.is_some() || !matches!(flag, TOGGLE_ACTIVATE | TOGGLE_DRY_RUN) || transition.is_busy() {
            return;
        }
        let (taken, fault) = ActivationRequest::take(cluster_directory, clock::epoch_ms());
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
        *told_step_count = 0;
        if transition.on_request(is_dry_run, forced, self.now_ns) {
            *request = Some(Request { id: taken.id, flag });
        } else {
            tracing::warn!("this node leads already");
            toggle.set_ordered(TOGGLE_NEUTRAL);
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
                TransitionAction::Record(decision) => self.activation.saves.push(Save::Decision(decision)),
                TransitionAction::Lead(decision) => {
                    self.activation.decision = Some(decision);
                    self.seal();
                }
                TransitionAction::RecordFenced => self.activation.saves.push(Save::Fenced),
                TransitionAction::StopLeading => {
                    self.activation.ends_ns = Some(self.now_ns + STOP_TIMEOUT_NS);
                }
                TransitionAction::Done(outcome) => self.on_transition_done(&outcome),
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
    fn on_transition_done(&mut self, outcome: &Outcome) {
        self.activation.write_report();
        let loss = self.activation.transition.report().map(|report| report.loss.to_string());
        let loss = loss.unwrap_or_default();
        match outcome {
            Outcome::Active { leadership_term_id, base_log_position } => {
                tracing::info!(leadership_term_id, base_log_position, loss, "active");
            }
            Outcome::WouldActivate { leadership_term_id } => {
                tracing::info!(leadership_term_id, loss, "nothing speaks against activation");
            }
            Outcome::Refused(refusals) => {
                for refusal in refusals {
                    tracing::warn!(check = refusal.check.name(), "activation refused: {}", refusal.reason);
                }
                let is_dry_run = self.activation.request.as_ref().is_some_and(|r| r.flag == TOGGLE_DRY_RUN);
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
    }

    pub(super) fn on_fenced(&mut self, fenced: Result<(), String>) {
        self.activation.transition.on_fenced(fenced);
        self.activation.due_ns = 0;
    }

    /// The receiver has left its source, and nothing more is recorded.
    pub(super) fn on_paused(&mut self) {
        let end_position = self.log.as_ref().map_or(-1, |log| log.end_position());
        self.activation.transition.on_sealed(end_position, self.now_ns);
        self.activation.due_ns = 0;
    }

    /// `activation.dat` is as it was to be, or not.
    pub(super) fn on_activation_saved(&mut self, saved: &Result<(), String>) {
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
    pub(super) fn lead_as_decided(
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
    pub(super) fn on_leading(&mut self) {
        self.activation.transition.on_leading(self.now_ns);
        self.activation.due_ns = 0;
    }
}

/// Removes what an earlier run left of a request: its flag has gone with it.
pub fn discard_requests(cluster_directory: &Path) {
    let (_, fault) = ActivationRequest::take(cluster_directory, i64::MAX);
    if let Some(fault) = fault {
        tracing::debug!("{fault}");
    }
}
