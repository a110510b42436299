//! `activate`: set a running node's flag, and tell each step of what becomes of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use consensus_tap::file::cnc::counters::{
    STANDBY_CONTROL_TOGGLE, TOGGLE_ACTIVATE, TOGGLE_DRY_RUN, TOGGLE_INACTIVE, TOGGLE_NEUTRAL,
    TRANSITION_STATE,
};
use consensus_tap::transition::{ForcedChecks, TransitionState};

use super::output::{files, print, print_json};
use crate::activation_files::{
    ActivationReport, ActivationRequest, REQUEST_FILE_NAME, ReportedMember, ReportedOutcome, ReportedStandby,
    ReportedStep,
};
use crate::store::cnc::CncReader;
use crate::store::counters::Counter;
use crate::sys::clock;

/// Something speaks against it; the node is as it was before.
const REFUSED: u8 = 3;
/// It is still under way.
const NOT_YET: u8 = 4;

#[derive(Args, Debug)]
pub(super) struct ActivateArgs {
    /// Directory of the node, which must run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// Wait at most this long for the end [default: do not wait; 10 for a dry run]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
    /// Only say what would happen, and what could be lost
    #[arg(long)]
    dry_run: bool,
    /// Checks to pass over, by the names under which they refuse
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = check_name)]
    force: Vec<String>,
    /// The end as one JSON object
    #[arg(long)]
    json: bool,
}

const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// A node that takes longer has other troubles.
const FLAG_RETURN_TIME_MAX: Duration = Duration::from_secs(1);
const DRY_RUN_WAIT: Duration = Duration::from_secs(10);
const REQUESTED: &str =
    "activation requested; `status` tells as last_activation what becomes of it, --wait waits for that\n";

fn check_name(name: &str) -> Result<String, String> {
    ForcedChecks::from_names([name]).map(|_| name.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn activate(args: &ActivateArgs) -> Result<ExitCode, String> {
    let wait = args.wait.map(Duration::try_from_secs_f64).transpose();
    let wait = wait.map_err(|error| format!("--wait: {error}"))?;
    let wait = wait.or(args.dry_run.then_some(DRY_RUN_WAIT));
    let dir = args.dir.display();
    files(&args.dir)?;
    let cluster = args.dir.join("cluster");
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let cnc = CncReader::open_writable(&aeron_dir).map_err(|error| format!("{dir}: {error}"))?;
    if !cnc.is_alive(clock::epoch_ms()) {
        return Err(format!("{dir}: no node runs here; start it, or check --dir"));
    }
    let toggle = cnc.find(STANDBY_CONTROL_TOGGLE, &[]).map(|record| cnc.counter(record.id));
    let toggle = toggle.ok_or_else(|| format!("{dir}: this process is no standby: it has no flag"))?;

    let state = cnc.find(TRANSITION_STATE, &[]).map(|record| record.value);
    if state == Some(TransitionState::Active as i64) {
        return Err(format!("{dir}: this node leads already"));
    }
    let id = request(&toggle, &cluster, args).map_err(|reason| format!("{dir}: {reason}"))?;
    let Some(wait) = wait else {
        print(if args.json { "{\n  \"requested\": true\n}\n" } else { REQUESTED })?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(report) = follow(&cnc, &cluster, id, wait, args)? else {
        return Ok(ExitCode::from(NOT_YET));
    };
    await_flag(&toggle, args);
    if args.json {
        print_json(&report)?;
    } else {
        print(&ending(&report))?;
    }
    Ok(match report.outcome {
        Some(ReportedOutcome::Refused { .. }) => ExitCode::from(REFUSED),
        _ => ExitCode::SUCCESS,
    })
}

/// Sets the flag. What it cannot carry lies in a file before it is set.
fn request(toggle: &Counter, cluster: &Path, args: &ActivateArgs) -> Result<u64, String> {
    let id = clock::monotonic_ns() ^ u64::from(std::process::id()).rotate_left(40) | 1;
    let request = ActivationRequest { id, time_ms: clock::epoch_ms(), forced: args.force.clone() };
    request.write(cluster).map_err(|error| format!("the request could not be written: {error}"))?;
    if toggle.compare_and_set(TOGGLE_NEUTRAL, flag(args)) {
        return Ok(id);
    }
    // Whoever sets the flag next must not find it.
    let _ = std::fs::remove_file(cluster.join(REQUEST_FILE_NAME));
    Err(match toggle.get_volatile() {
        TOGGLE_INACTIVE => "the node's services do not run (yet), or it hosts none; see `status`".to_owned(),
        _ => "another request is being carried out; try again when it is done".to_owned(),
    })
}

fn flag(args: &ActivateArgs) -> i64 {
    if args.dry_run { TOGGLE_DRY_RUN } else { TOGGLE_ACTIVATE }
}

/// The flag goes back a moment after the last word is said: who asks again at once must find it there.
fn await_flag(toggle: &Counter, args: &ActivateArgs) {
    let deadline = Instant::now() + FLAG_RETURN_TIME_MAX;
    while toggle.get_volatile() == flag(args) && Instant::now() < deadline {
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Tells each step as it comes. Returns the report once the request has ended, `None` if it has not in time.
fn follow(
    cnc: &CncReader,
    cluster: &Path,
    id: u64,
    wait: Duration,
    args: &ActivateArgs,
) -> Result<Option<ActivationReport>, String> {
    let deadline = Instant::now() + wait;
    let mut told = 0;
    loop {
        let report = ActivationReport::read(cluster).filter(|report| report.id == id);
        if let Some(report) = &report {
            for step in report.steps.iter().skip(told).filter(|_| !args.json) {
                print(&line(step))?;
            }
            told = report.steps.len().max(told);
            if report.outcome.is_some() {
                return Ok(Some(report.clone()));
            }
        }
        if !cnc.is_alive(clock::epoch_ms()) {
            return Err(format!("{}: the node ended; its log says why", args.dir.display()));
        }
        if Instant::now() >= deadline {
            print(&format!(
                "not done within {} s: the request goes on; `status` shows where it is\n",
                wait.as_secs_f64()
            ))?;
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn line(step: &ReportedStep) -> String {
    format!("{:>9.3} ms  {:<9}  {}\n", step.elapsed_us as f64 / 1e3, step.state, step.text)
}

fn ending(report: &ActivationReport) -> String {
    let loss = &report.loss;
    let forced = if report.forced.is_empty() {
        String::new()
    } else {
        format!("passed over by force: {}\n", report.forced.join(", "))
    };
    match &report.outcome {
        Some(ReportedOutcome::Active { leadership_term_id, base_log_position }) => format!(
            "active in term {leadership_term_id} from log position {base_log_position}\n{forced}loss: \
             {loss}\n"
        ),
        Some(ReportedOutcome::WouldActivate { leadership_term_id }) => {
            format!(
                "nothing speaks against it: term {leadership_term_id} would begin\n{forced}{}loss: \
                 {loss}\n{SILENCE}",
                others(report)
            )
        }
        Some(ReportedOutcome::Refused { reasons }) => {
            let mut text = String::new();
            for reason in reasons {
                let force = if reason.forceable { "" } else { " (cannot be forced)" };
                text += &format!("refused, {}{force}: {}\n", reason.check, reason.reason);
            }
            if report.dry_run {
                text += &format!("{}loss: {loss}\n{SILENCE}", others(report));
            }
            text
        }
        None => String::new(),
    }
}

/// A line for each member and each other standby.
fn others(report: &ActivationReport) -> String {
    let ago = |age_s: Option<f64>| {
        age_s.map_or_else(|| "never heard of".to_owned(), |age_s| format!("heard of {age_s:.3} s ago"))
    };
    let mut text = String::new();
    for ReportedMember { member_id, endpoint, state, sign_age_s } in &report.members {
        text += &format!("member {member_id} ({endpoint}): {state}, {}\n", ago(*sign_age_s));
    }
    for ReportedStandby { member_id, heard_age_s, state, log_position } in &report.standbys {
        text += &format!("standby {member_id}: {}", ago(*heard_age_s));
        if let Some(state) = state {
            text += &format!(", {state}");
        }
        if let Some(log_position) = log_position {
            text += &format!(", log up to {log_position}");
        }
        text.push('\n');
    }
    text
}

/// What every look at members' signs leaves open.
const SILENCE: &str = "Silence is no proof of death: a standby that is cut off hears as little as one whose \
                       cluster is gone. Make sure of it before you activate.\n";
