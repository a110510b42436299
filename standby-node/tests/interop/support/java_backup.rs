//! The official `ClusterBackup`, with its own driver and archive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::field;
use super::java;
use super::process::Process;
use super::scratch::Scratch;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A running BackupRunner.java. Dropping it kills it.
pub(crate) struct JavaBackup {
    dir: PathBuf,
    log: PathBuf,
    process: Process,
}

impl JavaBackup {
    /// Starts one on the directory of that name, as it is. It asks at `endpoints`, comma separated, and owns three ports
    /// from `port` on.
    pub(crate) fn start(scratch: &Scratch, name: &str, endpoints: &str, port: u16) -> Self {
        let (dir, log) = (scratch.data(name), scratch.log(name));
        let mut command = java::command("BackupRunner", java::AERON_VERSION);
        command.arg("--dir").arg(&dir).args(["--consensus-endpoints", endpoints]).args([
            "--host",
            "localhost",
            "--port",
            &port.to_string(),
        ]);
        let process = Process::spawn(name, &command, &log);
        Self { dir, log, process }
    }

    /// Holds `archive` and `cluster`.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until the log is recorded up to `position`, in this run.
    ///
    /// # Panics
    /// If that does not happen.
    pub(crate) fn await_recorded(&self, position: i64) {
        let is_there = |line: &str| recorded(line).is_some_and(|recorded| recorded >= position);
        let line = self.process.await_line(0, TIMEOUT, &format!("the log up to {position}"), is_there);
        line.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The position that it printed last in this run.
    pub(crate) fn position(&self) -> Option<i64> {
        self.process.lines().last_map(recorded)
    }

    /// What it wrote to both outputs, over all runs.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end.
    pub(crate) fn stop(&self) {
        self.process.signal("TERM");
        assert!(self.process.wait(TIMEOUT).is_some(), "the backup ends");
    }
}

fn recorded(line: &str) -> Option<i64> {
    field(line.strip_prefix("backup ")?, "position")?.parse().ok()
}
