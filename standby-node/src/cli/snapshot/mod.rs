//! `snapshot`: the snapshot sets of a node.

mod take;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::take::TakeArgs;
use super::output::{files, print, print_json, stopped};
use crate::inspection::snapshot_report::{SnapshotList, SnapshotReport, SnapshotVerification};
use crate::store::recording_log::RecordingLogFile;

/// Without a verb of its own, `snapshot` means `snapshot take`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SnapshotArgs {
    #[command(subcommand)]
    verb: Option<SnapshotVerb>,
    #[command(flatten)]
    take: Option<TakeArgs>,
}

#[derive(Debug, Subcommand)]
enum SnapshotVerb {
    /// Have the running node take a snapshot now (what plain `snapshot` does)
    Take(TakeArgs),
    /// List the valid snapshot sets, newest first
    List(ListArgs),
    /// Print what a snapshot set holds: sessions, timers, pending messages, next ids
    Describe(SetArgs),
    /// Read snapshot sets to their ends and check what loading them demands; exit with 1 if one is faulty
    Verify(VerifyArgs),
    /// Mark a snapshot set as invalid, so that the next start uses the one before; the node must not run
    Invalidate(SetArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Only sets that are complete for this many services
    #[arg(long, value_name = "N")]
    services: Option<usize>,
}

#[derive(Args, Debug)]
struct SetArgs {
    #[command(flatten)]
    list: ListArgs,
    /// The set at this position of the log [default: the newest]
    #[arg(long, value_name = "P")]
    log_position: Option<i64>,
}

#[derive(Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Every set, not only the newest
    #[arg(long, conflicts_with = "log_position")]
    all: bool,
}

pub(super) fn snapshot(args: SnapshotArgs) -> Result<ExitCode, String> {
    match (args.verb, args.take) {
        (Some(SnapshotVerb::Take(args)), _) | (None, Some(args)) => take::take(&args),
        (Some(SnapshotVerb::List(args)), _) => list(&args),
        (Some(SnapshotVerb::Describe(args)), _) => describe(&args),
        (Some(SnapshotVerb::Verify(args)), _) => verify(&args),
        (Some(SnapshotVerb::Invalidate(args)), _) => invalidate(&args),
        (None, None) => Err("snapshot: --dir is missing; see `snapshot --help`".to_owned()),
    }
}

fn list(args: &ListArgs) -> Result<ExitCode, String> {
    let list = SnapshotList::read(&files(&args.dir)?, args.services).map_err(|error| error.to_string())?;
    if args.json {
        print_json(&list)?
    } else {
        print(&list.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(args: &SetArgs) -> Result<ExitCode, String> {
    let files = files(&args.list.dir)?;
    let set = files.snapshot_set(args.list.services, args.log_position).map_err(|error| error.to_string())?;
    let report = SnapshotReport::read(&files, &set).map_err(|error| error.to_string())?;
    if args.list.json {
        print_json(&report)?
    } else {
        print(&report.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> Result<ExitCode, String> {
    let SetArgs { list, log_position } = &args.set;
    let files = files(&list.dir)?;
    let sets = if args.all {
        files.snapshot_sets(list.services)
    } else {
        files.snapshot_set(list.services, *log_position).map(|set| vec![set])
    };
    let sets = sets.map_err(|error| error.to_string())?;
    let verification = SnapshotVerification::run(&files, &sets).map_err(|error| error.to_string())?;
    if list.json {
        print_json(&verification)?
    } else {
        print(&verification.to_text())?
    }
    Ok(if verification.faulty_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn invalidate(args: &SetArgs) -> Result<ExitCode, String> {
    let _stopped = stopped(&args.list.dir)?;
    let files = files(&args.list.dir)?;
    let set = files.snapshot_set(args.list.services, args.log_position).map_err(|error| error.to_string())?;
    RecordingLogFile::open_or_create(&files.recording_log_path())
        .and_then(|mut log| log.invalidate_snapshot_set(&set))
        .map_err(|error| error.to_string())?;
    if args.list.json {
        print_json(&serde_json::json!({ "invalidated_log_position": set.log_position }))?;
    } else {
        print(&format!("the snapshot set at log position {} is invalid now\n", set.log_position))?;
    }
    Ok(ExitCode::SUCCESS)
}
