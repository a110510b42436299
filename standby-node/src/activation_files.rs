//! What goes between a node and the verb that asks it to lead, beside the flag: two small files in the
//! cluster directory.
//!
//! The flag is enough to activate. What it cannot carry, checks that are overridden, is in a request file
//! that the verb writes just before it sets the flag; each step, with its time, is in a report file that the
//! node replaces as it goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use consensus_tap::transition::{Outcome, RequestKind, TransitionReport};
use serde::{Deserialize, Serialize};

use crate::sys::disk;

/// Name of the request file in the cluster directory.
pub const REQUEST_FILE_NAME: &str = "activation-request.json";
/// Name of the report file in the cluster directory.
pub const REPORT_FILE_NAME: &str = "activation-report.json";

/// A request that is older does not belong to a flag that is set now.
const REQUEST_AGE_MAX_MS: i64 = 10_000;

/// What the flag cannot carry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActivationRequest {
    /// Tells this request's report from others.
    pub id: u64,
    /// When it was written, milliseconds since 1970.
    pub time_ms: i64,
    /// Names of the checks that are overridden.
    pub forced: Vec<String>,
}

/// How a request went.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ActivationReport {
    /// Of the request; 0 for a flag that was set without one.
    pub id: u64,
    /// When this was written, milliseconds since 1970.
    pub time_ms: i64,
    /// Whether it was only asked what would happen.
    pub dry_run: bool,
    /// What was overridden.
    pub forced: Vec<String>,
    /// In order.
    pub steps: Vec<ReportedStep>,
    /// Where the services stand.
    pub applied_position: i64,
    /// How far the source's log was recorded, as it last told.
    pub source_position: Option<i64>,
    /// How old that figure is, seconds.
    pub source_position_age_s: Option<f64>,
    /// Bytes between; `None` where nobody knows.
    pub lost_bytes: Option<i64>,
    /// The same in words.
    pub loss: String,
    /// Each member of the cluster, as far as they were named.
    pub members: Vec<ReportedMember>,
    /// Each other standby.
    pub standbys: Vec<ReportedStandby>,
    /// `None` while it is under way.
    pub outcome: Option<ReportedOutcome>,
}

/// One step.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportedStep {
    /// In which state.
    pub state: String,
    /// Since the request.
    pub elapsed_us: u64,
    /// In words.
    pub text: String,
}

/// What was known of a member.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportedMember {
    /// Its id.
    pub member_id: i32,
    /// Where it is probed.
    pub endpoint: String,
    /// `living`, `silent` or `unknown`.
    pub state: String,
    /// For how long nothing was heard of it; `None` if nothing ever was.
    pub sign_age_s: Option<f64>,
}

/// What was known of another standby.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportedStandby {
    /// Its id.
    pub member_id: i32,
    /// For how long nothing was heard of it; `None` if nothing ever was.
    pub heard_age_s: Option<f64>,
    /// How it stood then.
    pub state: Option<String>,
    /// Where its log ended then.
    pub log_position: Option<i64>,
}

/// How it ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ReportedOutcome {
    /// This node leads.
    Active {
        /// The term.
        leadership_term_id: i64,
        /// Where it begins.
        base_log_position: i64,
    },
    /// It would.
    WouldActivate {
        /// In this term.
        leadership_term_id: i64,
    },
    /// Something speaks against it.
    Refused {
        /// What does.
        reasons: Vec<RefusedCheck>,
    },
}

/// One reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefusedCheck {
    /// By name.
    pub check: String,
    /// Whether an operator may override it.
    pub forceable: bool,
    /// In words, with the next step.
    pub reason: String,
}

impl ActivationRequest {
    /// Takes the request that belongs to a flag that was just seen. A file that is too old or cannot be read
    /// is none, and why is told.
    pub fn take(cluster_directory: &Path, now_ms: i64) -> (Self, Option<String>) {
        let path = cluster_directory.join(REQUEST_FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => return (Self::default(), Some(format!("{}: {error}", path.display()))),
        };
        let removed = disk::remove(&path).map_err(|error| error.to_string());
        let request = serde_json::from_slice::<Self>(&bytes).map_err(|error| error.to_string());
        match removed.and(request) {
            Ok(request) if now_ms.saturating_sub(request.time_ms) <= REQUEST_AGE_MAX_MS => (request, None),
            Ok(_) => (Self::default(), Some(format!("{}: it is of an earlier request", path.display()))),
            Err(reason) => (Self::default(), Some(format!("{}: {reason}", path.display()))),
        }
    }

    /// Puts a request where the node looks for it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, cluster_directory: &Path) -> io::Result<()> {
        replace(&cluster_directory.join(REQUEST_FILE_NAME), &to_bytes(self))
    }
}

impl ActivationReport {
    /// What a transition says of request `id`.
    pub fn new(id: u64, report: &TransitionReport, now_ms: i64) -> Self {
        let TransitionReport { kind, forced, steps, loss, members, standbys, outcome } = report;
        let seconds = |age_ns: u64| age_ns as f64 / 1e9;
        Self {
            id,
            time_ms: now_ms,
            dry_run: *kind == RequestKind::DryRun,
            forced: forced.names().into_iter().map(str::to_owned).collect(),
            steps: steps
                .iter()
                .map(|step| ReportedStep {
                    state: step.state.name().to_owned(),
                    elapsed_us: step.elapsed_ns / 1000,
                    text: step.text.clone(),
                })
                .collect(),
            applied_position: loss.applied_position,
            source_position: loss.source_position,
            source_position_age_s: loss.source_position_age_ns.map(seconds),
            lost_bytes: loss.known_bytes(),
            loss: loss.to_string(),
            members: members
                .iter()
                .map(|member| ReportedMember {
                    member_id: member.member_id,
                    endpoint: member.endpoint.clone(),
                    state: member.state.name().to_owned(),
                    sign_age_s: member.sign_age_ns.map(seconds),
                })
                .collect(),
            standbys: standbys
                .iter()
                .map(|standby| ReportedStandby {
                    member_id: standby.member_id,
                    heard_age_s: standby.heard_age_ns.map(seconds),
                    state: standby.state.map(|state| state.name().to_owned()),
                    log_position: standby.log_position,
                })
                .collect(),
            outcome: outcome.as_ref().map(reported),
        }
    }

    /// Puts the report in the place of the one before. Not on the disk: it is for whoever waits now.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, cluster_directory: &Path) -> io::Result<()> {
        replace(&cluster_directory.join(REPORT_FILE_NAME), &to_bytes(self))
    }

    /// Reads the last report; `None` where there is none that can be read.
    pub fn read(cluster_directory: &Path) -> Option<Self> {
        let bytes = fs::read(cluster_directory.join(REPORT_FILE_NAME)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

fn reported(outcome: &Outcome) -> ReportedOutcome {
    match outcome {
        Outcome::Active { leadership_term_id, base_log_position } => ReportedOutcome::Active {
            leadership_term_id: *leadership_term_id,
            base_log_position: *base_log_position,
        },
        Outcome::WouldActivate { leadership_term_id } => {
            ReportedOutcome::WouldActivate { leadership_term_id: *leadership_term_id }
        }
        Outcome::Refused(refusals) => ReportedOutcome::Refused {
            reasons: refusals
                .iter()
                .map(|refusal| RefusedCheck {
                    check: refusal.check.name().to_owned(),
                    forceable: refusal.check.is_forceable(),
                    reason: refusal.reason.clone(),
                })
                .collect(),
        },
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain values serialise");
    bytes.push(b'\n');
    bytes
}

/// Whole or not at all, for readers beside us.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension("json.tmp");
    match disk::remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk::create(&temporary)?;
    disk::write(&file, &temporary, 0, bytes)?;
    disk::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once_and_only_while_it_is_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let request = ActivationRequest { id: 7, time_ms: 1_000, forced: vec!["behind".to_owned()] };
        request.write(dir.path()).unwrap();
        assert_eq!(ActivationRequest::take(dir.path(), 2_000), (request.clone(), None));
        assert_eq!(ActivationRequest::take(dir.path(), 2_000), (ActivationRequest::default(), None));
        request.write(dir.path()).unwrap();
        let (taken, why) = ActivationRequest::take(dir.path(), 60_000);
        assert_eq!(taken, ActivationRequest::default());
        assert!(why.unwrap().contains("earlier request"));
    }

    #[test]
    fn a_request_that_cannot_be_read_forces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(REQUEST_FILE_NAME), b"{\"id\":1").unwrap();
        let (taken, why) = ActivationRequest::take(dir.path(), 0);
        assert_eq!(taken, ActivationRequest::default());
        assert!(why.unwrap().contains(REQUEST_FILE_NAME));
    }
}
