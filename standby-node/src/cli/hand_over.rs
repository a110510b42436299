//! `hand-over`: give the cluster back, from a node that leads to fresh Java members.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use consensus_tap::file::activation::{Activation, ActivationPhase, ActivationRecord};

use super::control::{ControlRequest, LeadingNode};
use super::output::{files, print, print_json, stopped};
use crate::seed::{self, SeedReport};
use crate::store::activation_record;
use crate::store::directory::NodeDirectory;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct HandOverArgs {
    /// Directory of the node that leads. Where it runs, it takes no more of clients, snapshots, and ends
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// Directories to be written, new or empty, one for each member of the fresh cluster: `archive` and `cluster` in
    /// each are the member's
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    out: Vec<PathBuf>,
    /// Ids of these members, in the same order [default: 0,1,2,…]
    #[arg(long, value_name = "N,N,N", value_delimiter = ',')]
    member_ids: Option<Vec<i32>>,
    /// Wait at most this long for the node's snapshot and end
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    wait: f64,
    /// How many services the cluster has [default: as many as the newest snapshot]
    #[arg(long, value_name = "N")]
    services: Option<usize>,
    /// As one JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn hand_over(args: &HandOverArgs) -> Result<ExitCode, String> {
    let wait = Duration::try_from_secs_f64(args.wait).map_err(|error| format!("--wait: {error}"))?;
    let members = members(args)?;
    files(&args.dir)?;
    // The node does not end for directories that cannot be written.
    seed::check_members(&members).map_err(|error| error.to_string())?;
    // Beside a node that runs the log would go on behind what is handed over.
    let directory = match stopped(&args.dir) {
        Ok(directory) => directory,
        Err(in_use) => {
            let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
            let node =
                LeadingNode::find(&args.dir, &aeron_dir).map_err(|error| format!("{in_use}: {error}"))?;
            node.request(ControlRequest::Shutdown)?;
            node.await_done(ControlRequest::Shutdown, wait)?;
            stopped(&args.dir)?
        }
    };
    let reports = seed::hand_over(&files(&args.dir)?, &members, args.services, clock::epoch_ms())
        .map_err(|error| error.to_string())?;
    give_up_leading(&directory, &reports)?;
    drop(directory);
    if args.json {
        print_json(&reports)?;
    } else {
        print(&text(&reports))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The cluster is led elsewhere from now on: a start of this node that led again would make two of it.
fn give_up_leading(directory: &NodeDirectory, reports: &[SeedReport]) -> Result<(), String> {
    let path = activation_record::path_in(&directory.cluster());
    let found = activation_record::read(&path).map_err(|error| error.to_string())?;
    let record = match found.record {
        Some(record) => ActivationRecord { phase: ActivationPhase::Fenced, ..record },
        None => ActivationRecord {
            phase: ActivationPhase::Fenced,
            leadership_term_id: reports.first().map_or(-1, |report| report.candidate_term_id),
            base_log_position: reports.first().map_or(0, |report| report.log_start_position),
            claim_id: 0,
            log_recording_id: 0,
            forced_checks: 0,
            time_ms: clock::epoch_ms(),
        },
    };
    let fenced = Activation { record: Some(record), ..found };
    activation_record::replace(&path, &fenced)
        .map_err(|error| format!("the directories are written, but this node may lead again: {error}"))
}

fn members(args: &HandOverArgs) -> Result<Vec<(i32, PathBuf)>, String> {
    let ids: Vec<i32> = match &args.member_ids {
        Some(ids) if ids.len() != args.out.len() => {
            return Err(format!(
                "--member-ids names {} members and --out {} directories; name as many of both",
                ids.len(),
                args.out.len()
            ));
        }
        Some(ids) => ids.clone(),
        None => (0..).take(args.out.len()).collect(),
    };
    let is_twice = |index: usize| ids[..index].contains(&ids[index]);
    if let Some(index) = (0..ids.len()).find(|index| is_twice(*index)) {
        return Err(format!("--member-ids names {} twice; each member has an id of its own", ids[index]));
    }
    Ok(ids.into_iter().zip(args.out.iter().cloned()).collect())
}

fn text(reports: &[SeedReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let _ = writeln!(text, "{} is ready for member {}", report.out.display(), report.member_id);
    }
    if let Some(SeedReport {
        snapshot_position, log_end_position, candidate_term_id, faulty_snapshots, ..
    }) = reports.first()
    {
        let snapshot =
            snapshot_position.map_or_else(|| "no snapshot".to_owned(), |at| format!("snapshot at {at}"));
        let _ = writeln!(
            text,
            "each holds the log to its end at {log_end_position}, {snapshot}, and no vote in terms up to \
             {candidate_term_id}"
        );
        for fault in faulty_snapshots {
            let _ = writeln!(text, "not used: {fault}");
        }
        text += "start all of them as a fresh cluster, and put no directory of an old member among them: its log may \
                 hold what this one never had\n";
    }
    text
}
