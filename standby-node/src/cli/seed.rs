//! `seed`: write the directory of a member that lost its disk.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{files, print, print_json};
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct SeedArgs {
    /// Directory of the node, which may run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Id of the member that lost its disk
    #[arg(long, value_name = "N")]
    member_id: i32,
    /// Directory to be written, new or empty: `archive` and `cluster` in it are the member's
    #[arg(long, value_name = "MEMBER_DIR")]
    out: PathBuf,
    /// How many services the cluster has [default: as many as the newest snapshot]
    #[arg(long, value_name = "N")]
    services: Option<usize>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn seed(args: &SeedArgs) -> Result<ExitCode, String> {
    let report =
        crate::seed::seed(&files(&args.dir)?, &args.out, args.member_id, args.services, clock::epoch_ms())
            .map_err(|error| error.to_string())?;
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{} is ready for member {}: {}, log from {} to {}, no vote in terms up to {}\n",
        report.out.display(),
        report.member_id,
        report.snapshot_position.map_or_else(|| "no snapshot".to_owned(), |at| format!("snapshot at {at}")),
        report.log_start_position,
        report.log_end_position,
        report.candidate_term_id
    );
    for fault in &report.faulty_snapshots {
        let _ = writeln!(text, "not used: {fault}");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
