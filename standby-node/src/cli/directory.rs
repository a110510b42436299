//! `describe`, `recording-log`, `recovery-plan`: what lies in a directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{DirectoryArgs, print, print_json};
use crate::inspection::node_report::NodeReport;
use crate::inspection::recording_log_report::RecordingLogReport;
use crate::inspection::recovery_plan::RecoveryPlan;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct RecoveryPlanArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Plan for this many services [default: as many as the newest snapshot has]
    #[arg(long, value_name = "N")]
    services: Option<usize>,
}

pub(super) fn describe(args: &DirectoryArgs) -> Result<ExitCode, String> {
    let report = NodeReport::read(&args.files()?, clock::epoch_ms()).map_err(|error| error.to_string())?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn recording_log(args: &DirectoryArgs) -> Result<ExitCode, String> {
    let report = RecordingLogReport::read(&args.files()?).map_err(|error| error.to_string())?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn recovery_plan(args: &RecoveryPlanArgs) -> Result<ExitCode, String> {
    let files = super::output::files(&args.dir)?;
    let plan = RecoveryPlan::read(&files, args.services).map_err(|error| error.to_string())?;
    if args.json {
        print_json(&plan)?
    } else {
        print(&plan.to_text())?
    }
    Ok(ExitCode::SUCCESS)
}
