//! `archive`: the recordings of a node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::{files, print, print_json};
use crate::inspection::archive_report::{ArchiveReport, ArchiveVerification};
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
}

pub(super) fn archive(args: ArchiveArgs) -> Result<ExitCode, String> {
    match args.verb {
        ArchiveVerb::Describe(args) => describe(&args),
        ArchiveVerb::Verify(args) => verify(&args),
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
    let verification = ArchiveVerification::run(&files(dir)?, *recording_id, depth, clock::epoch_ms())
        .map_err(|error| error.to_string())?;
    if *json {
        print_json(&verification)?
    } else {
        print(&verification.to_text())?
    }
    Ok(if verification.faulty_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
