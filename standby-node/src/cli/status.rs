//! `status`: what a running node is doing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::{print, print_json};
use crate::status::{CheckLimits, StatusReport};

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// For monitors: exit with 1 and say why unless the node follows within the limits
    #[arg(long)]
    check: bool,
    /// Most bytes that the services may be behind the source
    #[arg(long, value_name = "N", requires = "check")]
    max_lag_bytes: Option<u64>,
    /// Longest time in seconds that the services may be behind the source
    #[arg(long, value_name = "SECONDS", requires = "check")]
    max_lag: Option<f64>,
}

pub(super) fn status(args: &StatusArgs) -> Result<ExitCode, String> {
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let report = StatusReport::read(&aeron_dir)
        .and_then(|report| report.with_files(&args.dir))
        .map_err(|error| error.to_string())?;
    if args.check {
        let lag = args
            .max_lag
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(|error| format!("--max-lag: {error}"))?;
        let problems = report.problems(CheckLimits { lag_bytes: args.max_lag_bytes, lag });
        for problem in &problems {
            print(&format!("{problem}\n"))?;
        }
        return Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}
