//! `reseed`: put a node's history aside.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::print;

#[derive(Args, Debug)]
pub(super) struct ReseedArgs {
    /// Directory of the node, which must not run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn reseed(args: &ReseedArgs) -> Result<ExitCode, String> {
    let moved = crate::store::reseed::move_aside(&args.dir).map_err(|error| error.to_string())?;
    print(&format!("history moved to {}; the next `run` begins again from the members\n", moved.display()))?;
    Ok(ExitCode::SUCCESS)
}
