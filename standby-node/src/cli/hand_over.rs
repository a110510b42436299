//! `hand-over`: give the cluster back, from a node that leads to fresh Java members.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use consensus_tap::file::activation::{Activation, ActivationPhase, ActivationRecord};

use super::control::{ControlRequest, LeadingNode};
use super::output::{files, print, print_json, stopped};
use crate::inspection::NodeFiles;
use crate::seed::{self, SeedReport};
use crate::store::activation_record;
use crate::store::directory::NodeDirectory;
use crate::sys::clock;

/// What activation.dat says while a hand-over is under way: so one that was interrupted is told from a fence of another
/// kind, and can be done again.
const FILE_NAME: &str = "hand-over.dat";

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
                LeadingNode::find(&args.dir, &aeron_dir).map_err(|error| format!("{error} ({in_use})"))?;
            node.request(ControlRequest::Shutdown)?;
            node.await_done(ControlRequest::Shutdown, wait)?;
            stopped(&args.dir)?
        }
    };
    let files = files(&args.dir)?;
    let fence = Fence::set(&files, &directory)?;
    let reports = match seed::hand_over(&files, &members, args.services, clock::epoch_ms()) {
        Ok(reports) => reports,
        Err(error) => return Err(fence.lift(&error.to_string(), &members)),
    };
    fence.keep()?;
    drop(directory);
    if args.json {
        print_json(&reports)?;
    } else {
        print(&text(&reports))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// That the cluster is led elsewhere from now on: a start of this node that led again would make two of it. On the disk
/// before anybody can start from what is handed over.
#[derive(Debug)]
struct Fence {
    /// activation.dat, and what it said before; `None` where that was a hand-over that was interrupted.
    path: PathBuf,
    before: Option<Activation>,
    /// [`FILE_NAME`].
    mark_path: PathBuf,
}

impl Fence {
    fn set(files: &NodeFiles, directory: &NodeDirectory) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let path = activation_record::path_in(&directory.cluster());
        let mark_path = directory.cluster().join(FILE_NAME);
        let before = activation_record::read(&path).map_err(|error| text(&error))?;
        let is_interrupted = mark_path.exists()
            && activation_record::read(&mark_path).map_err(|error| text(&error))? == before;
        let is_fenced = before.record.as_ref().is_some_and(|record| record.phase == ActivationPhase::Fenced);
        if is_fenced && !is_interrupted {
            return Err(
                "this node is fenced: another leads, or it has handed its cluster over (activation.dat); \
                        hand over from the node that leads, or `deactivate` this one if there is none"
                    .to_owned(),
            );
        }
        check_led(files, &before)?;
        let record =
            before.record.clone().map(|record| ActivationRecord { phase: ActivationPhase::Fenced, ..record });
        let fenced = Activation { record, ..before.clone() };
        for path in [&mark_path, &path] {
            activation_record::replace(path, &fenced).map_err(|error| text(&error))?;
        }
        Ok(Self { path, before: Some(before).filter(|_| !is_interrupted), mark_path })
    }

    /// The hand-over is complete.
    fn keep(self) -> Result<(), String> {
        std::fs::remove_file(&self.mark_path).map_err(|error| {
            format!(
                "the directories are written, but {}: cannot remove it: {error}",
                self.mark_path.display()
            )
        })
    }

    /// The hand-over has failed. Where nobody can start from anything, this node is as it was.
    fn lift(self, reason: &str, members: &[(i32, PathBuf)]) -> String {
        let is_startable = |out: &Path| out.join("cluster").exists();
        let before = self.before.filter(|_| !members.iter().any(|(_, out)| is_startable(out)));
        let Some(before) = before else {
            return format!("{reason}; this node is fenced until the hand-over is repeated, or `deactivate`");
        };
        match activation_record::replace(&self.path, &before) {
            Ok(()) => {
                // What is left of it would say nothing.
                let _ = std::fs::remove_file(&self.mark_path);
                reason.to_owned()
            }
            Err(error) => format!("{reason}; this node stays fenced until `deactivate`: {error}"),
        }
    }
}

/// Whether this node led the log that it has.
fn check_led(files: &NodeFiles, activation: &Activation) -> Result<(), String> {
    let (recording_log, _) = files.recording_log().map_err(|error| error.to_string())?;
    let newest = recording_log.last_term().map_or(-1, |row| row.entry.leadership_term_id);
    if newest < 0 {
        return Err("there is no log in this directory to be handed over".to_owned());
    }
    if !activation.led_last(newest) {
        return Err(format!(
            "the log in this directory was led by another node, in term {newest}: hand over from the node that leads, \
             or `activate` this one once that cluster is gone"
        ));
    }
    Ok(())
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
