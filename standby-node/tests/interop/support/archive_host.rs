//! A Java media driver with an archive, in a process of their own.

use std::path::Path;
use std::time::Duration;

use super::java;
use super::process::Process;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A Java archive on a directory. Dropping it kills it.
pub(crate) struct ArchiveHost {
    process: Process,
}

impl ArchiveHost {
    /// Starts one on `dir`, which holds `archive`, and waits until it serves. Flags are those of ArchiveHost.java.
    ///
    /// # Panics
    /// If it does not come up.
    pub(crate) fn start(log: &Path, dir: &Path, aeron_dir: &Path, flags: &[&str]) -> Self {
        let mut command = java::command("ArchiveHost", java::AERON_VERSION);
        command.arg("--dir").arg(dir).arg("--aeron-dir").arg(aeron_dir).args(flags);
        let process = Process::spawn("archive-host", &command, log);
        let ready = process.await_line(0, START_TIMEOUT, "ready", |line| line == "ready");
        ready.unwrap_or_else(|error| panic!("{error}"));
        Self { process }
    }

    /// The process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}
