//! The way from standby to leader, as the conductor drives it: the flag and its answer, what is known of
//! members and other standbys, what is asked of other agents, what must be on the disk. Every decision is the
//! [`Transition`]'s.

mod saves;
mod source_watch;
mod steps;

use std::path::{Path, PathBuf};

use consensus_tap::channel::HostPort;
use consensus_tap::codec::consensus::{ClusterMember, parse_cluster_members};
use consensus_tap::file::activation::{Activation as ActivationFile, ActivationPhase};
use consensus_tap::serving::ProbedMember;
use consensus_tap::tap::TapConfig;
use consensus_tap::transition::{
    Beacon, Decision, Facts, ForcedChecks, Grant, Led, MemberSign, Remembered, Transition, TransitionConfig,
};

use self::saves::{Save, Saves};
use self::source_watch::SourceWatch;
use crate::activation_files::{ActivationReport, ActivationRequest};
use crate::agent::fence::FenceOrder;
use crate::config::{ActivationConfig, FenceConfig};
use crate::status::{SourceGauges, TransitionGauges};
use crate::store::SyncLevel;
use crate::store::counters::Counter;
use crate::sys::clock;

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
    /// The flag whose request is under way.
    request: Option<i64>,
    /// This node's entry in the list of members, if it is to begin a cluster.
    begins_as: Option<String>,
    /// When a flag was first seen that is not taken yet, milliseconds since 1970.
    flag_seen_ms: Option<i64>,
    /// Whose report is written: 0 for nobody's who asked.
    report_id: u64,
    /// The report is to be written, though it says nothing new.
    is_answer_due: bool,
    /// Steps of the report that were written.
    told_step_count: usize,
    /// The log is to be led from here on, once the receiver gives it away.
    decision: Option<Decision>,
    /// Another one leads: this node ends once that is on the disk, and then at the latest.
    ends_ns: Option<u64>,
    due_ns: u64,
    beacon_due_ns: u64,
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
            led: file.decision().map(|record| Led {
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
            begins_as: None,
            flag_seen_ms: None,
            report_id: 0,
            is_answer_due: false,
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
        self.begins_as = Some(member_entry);
        self.transition.on_bootstrap();
    }

    fn record(&mut self, decision: Decision) {
        if let Some(member_entry) = self.begins_as.take() {
            // On the disk with the decision: a restart knows whom there is to ask.
            self.saves.set_cluster_members(member_entry);
        }
        self.saves.push(Save::Decision(decision));
    }

    /// Whether this node led the log that it found, whose newest term this is, before its decision was taken back.
    pub(super) fn led_last(&self, newest_term_id: i64) -> bool {
        self.saves.file().led_last(newest_term_id)
    }

    /// This node is about to follow: from here on its log is what others say it is.
    pub(super) fn on_following(&mut self) {
        if self.saves.file().record.is_some() && self.saves.file().decision().is_none() {
            self.saves.push(Save::Forgotten);
        }
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
        // What this node appended and did not sync did not count, if it led so: whatever became of its decision, for it
        // is forgotten once the node follows.
        let is_our_own = self
            .saves
            .file()
            .record
            .as_ref()
            .is_some_and(|record| record.file_sync_level > 0 && end_position >= record.base_log_position);
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
            Some(Save::Fenced | Save::Forgotten | Save::Members(_)) | None => {}
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

    /// The last report is the answer to another request too: it is written once more, under its id.
    fn answer(&mut self, id: u64) {
        self.report_id = id;
        self.is_answer_due = true;
    }

    fn write_report(&mut self) {
        let Some(report) = self.transition.report() else { return };
        let told = report.steps.len() + usize::from(report.outcome.is_some());
        if told == self.told_step_count && !std::mem::take(&mut self.is_answer_due) {
            return;
        }
        for step in report.steps.iter().skip(self.told_step_count) {
            let elapsed_ms = step.elapsed_ns as f64 / 1e6;
            tracing::info!(state = step.state.name(), elapsed_ms, "activation: {}", step.text);
        }
        self.told_step_count = told;
        let report = ActivationReport::new(self.report_id, report, clock::epoch_ms());
        if let Err(error) = report.write(&self.cluster_directory) {
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

/// Removes what an earlier run left of a request: its flag has gone with it.
pub fn discard_requests(cluster_directory: &Path) {
    let (_, fault) = ActivationRequest::take(cluster_directory, i64::MAX);
    if let Some(fault) = fault {
        tracing::debug!("{fault}");
    }
}
