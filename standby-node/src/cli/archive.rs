//! `archive`: the recordings of a node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use consensus_tap::file::retention::RetentionPolicy;

use super::output::{files, print, print_json, stopped};
use crate::archive_upkeep::{PurgeReport, repair_all};
use crate::inspection::archive_report::{ArchiveReport, ArchiveVerification, checks};
use crate::inspection::recording_check::Depth;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct ArchiveArgs {
    #[command(subcommand)]
    verb: ArchiveVerb,
}

#[derive(Debug, Subcommand)]
enum ArchiveVerb {
    /// List the recordings
    Describe(RecordingArgs),
    /// Hold every recording's files against the catalog; exit with 1 if one is faulty
    Verify(VerifyArgs),
    /// Delete old snapshot sets and the log before them; the node must not run
    Purge(PurgeArgs),
}

#[derive(Args, Debug)]
struct RecordingArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Only this recording
    #[arg(long, value_name = "ID")]
    recording_id: Option<i64>,
}

#[derive(Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    recording: RecordingArgs,
    /// Read only the last segment of each recording
    #[arg(long)]
    last_segment: bool,
    /// Mend the two things over which a Java archive refuses to start; the node must not run
    #[arg(long)]
    repair: bool,
}

#[derive(Args, Debug)]
struct PurgeArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Only sets that are complete for this many services count as snapshots [default: any]
    #[arg(long, value_name = "N")]
    services: Option<usize>,
    /// Print what would go, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct PolicyArgs {
    /// Keep this many of the newest snapshot sets, and the log from the oldest of them on
    #[arg(long, value_name = "N")]
    keep_snapshots: Option<usize>,
    /// Delete snapshot sets and log segments before this position, but never the newest set nor what it needs
    #[arg(long, value_name = "P")]
    before_position: Option<i64>,
}

pub(super) fn archive(args: ArchiveArgs) -> Result<ExitCode, String> {
    match args.verb {
        ArchiveVerb::Describe(args) => describe(&args),
        ArchiveVerb::Verify(args) => verify(&args),
        ArchiveVerb::Purge(args) => purge(&args),
    }
}

fn describe(args: &RecordingArgs) -> Result<ExitCode, String> {
    let report =
        ArchiveReport::read(&files(&args.dir)?, args.recording_id).map_err(|error| error.to_string())?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> Result<ExitCode, String> {
    let RecordingArgs { dir, json, recording_id } = &args.recording;
    let depth = if args.last_segment { Depth::LastSegment } else { Depth::EverySegment };
    let files = files(dir)?;
    let mut repaired = Vec::new();
    if args.repair {
        let _stopped = stopped(dir)?;
        let checks = checks(&files, *recording_id, Depth::LastSegment, clock::epoch_ms())
            .map_err(|error| error.to_string())?;
        repaired = repair_all(&files, &checks).map_err(|error| error.to_string())?;
    }
    let verification = ArchiveVerification::run(&files, *recording_id, depth, clock::epoch_ms())
        .map_err(|error| error.to_string())?
        .repaired(repaired);
    if *json {
        print_json(&verification)?
    } else {
        print(&verification.to_text())?
    }
    Ok(if verification.faulty_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn purge(args: &PurgeArgs) -> Result<ExitCode, String> {
    let policy = match (args.policy.keep_snapshots, args.policy.before_position) {
        (Some(count), _) => RetentionPolicy::KeepSnapshots(count),
        (None, Some(position)) => RetentionPolicy::BeforePosition(position),
        (None, None) => return Err("--keep-snapshots or --before-position is needed".to_owned()),
    };
    let files = files(&args.dir)?;
    let report = if args.dry_run {
        PurgeReport::plan(&files, policy, args.services)
    } else {
        let _stopped = stopped(&args.dir)?;
        PurgeReport::carry_out(&files, policy, args.services)
    };
    let report = report.map_err(|error| error.to_string())?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}
