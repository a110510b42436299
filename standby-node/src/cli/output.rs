//! What verbs have in common: the directory that they look at, and how they print.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::inspection::NodeFiles;
use crate::store::directory::NodeDirectory;
use crate::store::mark::check_nobody_runs;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct DirectoryArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// As one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl DirectoryArgs {
    pub(super) fn files(&self) -> Result<NodeFiles, String> {
        files(&self.dir)
    }
}

/// The files of the node in `dir`, for reading.
pub(super) fn files(dir: &Path) -> Result<NodeFiles, String> {
    NodeFiles::open(dir).map_err(|error| error.to_string())
}

/// Takes the directory of a node that does not run, for as long as the result lives.
pub(super) fn stopped(dir: &Path) -> Result<NodeDirectory, String> {
    let now_ms = clock::epoch_ms();
    let directory = NodeDirectory::open_stopped(dir, now_ms).map_err(|error| error.to_string())?;
    check_nobody_runs(&directory, now_ms).map_err(|error| error.to_string())?;
    Ok(directory)
}

/// Writes to standard output, which may be a full disk or a pipe that nobody reads any more.
pub(super) fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}

/// Writes one JSON value, indented, to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), String> {
    print(&(serde_json::to_string_pretty(value).map_err(|error| error.to_string())? + "\n"))
}
