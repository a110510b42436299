//! How a node stands between standby and leader, and what it hears of members, as `status` shows it.

use std::path::Path;

use consensus_tap::file::cnc::counters as kind;
use consensus_tap::transition::{Check, TransitionState};
use serde::Serialize;

use crate::activation_files::{ActivationReport, ReportedOutcome};
use crate::store::cnc::CncReader;
use crate::store::counters::CounterRecord;

/// What cnc.dat says of the transition.
#[derive(Clone, Debug, Serialize)]
pub struct ActivationStatus {
    /// `FOLLOWING`, the step of a request that is under way, `ACTIVE` or `FENCED`.
    pub state: String,
    /// The check by which the last request was refused, where that led back to following.
    pub refused: Option<&'static str>,
    /// Requests that were refused since the start; dry runs do not count.
    pub refused_count: i64,
}

/// How the last request went that the node's report file tells of, in this run or an earlier one.
#[derive(Clone, Debug, Serialize)]
pub struct LastActivation {
    /// When it came so far, milliseconds since 1970.
    pub time_ms: i64,
    /// Whether it was only asked what would happen.
    pub dry_run: bool,
    /// The last step that it came to.
    pub state: String,
    /// `under-way`, `active`, `would-activate` or `refused`.
    pub outcome: &'static str,
    /// By which checks it was refused, joined by commas.
    pub refused: String,
    /// What was overridden, joined by commas.
    pub forced: String,
}

/// What cnc.dat says of a member of the cluster.
#[derive(Clone, Debug, Serialize)]
pub struct MemberStatus {
    /// Its id.
    pub id: i32,
    /// Where it is looked for.
    pub endpoint: String,
    /// For how long nothing was heard of it, ns; -1 if nothing ever was.
    pub sign_age_ns: i64,
}

impl ActivationStatus {
    /// Reads the counters.
    pub(super) fn read(cnc: &CncReader) -> Self {
        let value = |type_id| cnc.find(type_id, &[]).map_or(0, |counter| counter.value);
        let shown = value(kind::TRANSITION_STATE);
        let refused = Check::from_value(shown);
        let state = match TransitionState::from_value(shown) {
            Some(state) => state.name().to_owned(),
            None if refused.is_some() => TransitionState::Following.name().to_owned(),
            None => format!("UNKNOWN({shown})"),
        };
        Self { state, refused: refused.map(Check::name), refused_count: value(kind::TRANSITION_ERRORS) }
    }

    /// Whether the node led, or was about to, and may not.
    pub(super) fn is_fenced(&self) -> bool {
        self.state == TransitionState::Fenced.name()
    }
}

impl LastActivation {
    /// Reads the report in a cluster directory.
    pub(super) fn read(cluster_directory: &Path) -> Option<Self> {
        let report = ActivationReport::read(cluster_directory)?;
        let (outcome, refused) = match &report.outcome {
            None => ("under-way", Vec::new()),
            Some(ReportedOutcome::Active { .. }) => ("active", Vec::new()),
            Some(ReportedOutcome::WouldActivate { .. }) => ("would-activate", Vec::new()),
            Some(ReportedOutcome::Refused { reasons }) => {
                ("refused", reasons.iter().map(|reason| reason.check.as_str()).collect())
            }
        };
        Some(Self {
            time_ms: report.time_ms,
            dry_run: report.dry_run,
            state: report.steps.last().map(|step| step.state.clone()).unwrap_or_default(),
            outcome,
            refused: refused.join(","),
            forced: report.forced.join(","),
        })
    }
}

impl MemberStatus {
    /// Reads the counters, in order of ids.
    pub(super) fn read_all(cnc: &CncReader) -> Vec<Self> {
        let member = |counter: CounterRecord| {
            let id = counter.key.get(4..8)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes))?;
            let endpoint = counter.label.rsplit(' ').next().unwrap_or_default().to_owned();
            Some(Self { id, endpoint, sign_age_ns: counter.value })
        };
        let of_members = cnc.counters().filter(|counter| counter.type_id == kind::MEMBER_SIGN_AGE);
        let mut members: Vec<Self> = of_members.filter_map(member).collect();
        members.sort_by_key(|member| member.id);
        members
    }
}
