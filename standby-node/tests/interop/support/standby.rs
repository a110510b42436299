//! Our node as a process: the shipped binary, driven as an operator drives it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use standby_node::store::cnc::CncReader;

use super::audit_log::AuditLog;
use super::cluster::Cluster;
use super::process::Process;
use super::scratch::Scratch;

/// The shipped binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_standby-node");
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A standby in a directory of its own. Dropping it kills it.
pub(crate) struct Standby {
    dir: PathBuf,
    log: PathBuf,
    flags: Vec<String>,
    process: Process,
    /// What earlier runs in this directory printed.
    earlier_lines: Vec<String>,
}

impl Standby {
    /// Starts a node beside a cluster, told of every member. `flags` are those of `standby-node run`.
    pub(crate) fn follow(cluster: &Cluster, name: &str, flags: &[&str]) -> Self {
        Self::start(cluster.scratch(), name, &cluster.consensus_endpoints(), flags)
    }

    /// Starts a node that is told of these consensus endpoints, comma separated.
    pub(crate) fn start(scratch: &Scratch, name: &str, endpoints: &str, flags: &[&str]) -> Self {
        let (dir, log) = (scratch.data(name), scratch.log(name));
        let mut all = vec!["run", "--no-progress", "--host", "localhost", "--consensus-endpoints", endpoints];
        all.extend(["--connect-timeout", "500ms", "--response-timeout", "1s", "--source-timeout", "3s"]);
        all.extend(flags);
        let flags: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let process = spawn(name, &dir, &log, &flags);
        Self { dir, log, flags, process, earlier_lines: Vec::new() }
    }

    /// Starts a node in a copy of this one's directory, which has ended, and waits until it runs.
    ///
    /// # Panics
    /// If it still runs, or cannot be copied.
    pub(crate) fn start_copy(&self, scratch: &Scratch, name: &str, endpoints: &str, flags: &[&str]) -> Self {
        assert!(!self.process.is_running(), "a node's directory is copied when it has ended");
        let copied = Command::new("cp").args(["-a", "--"]).arg(&self.dir).arg(scratch.data(name)).status();
        assert!(copied.expect("cp runs").success(), "{} cannot be copied", self.dir.display());
        let copy = Self::start(scratch, name, endpoints, flags);
        // The counters in the copied cnc.dat are those of the node that has ended.
        copy.await_status("of a living node", START_TIMEOUT, |status| status["state"] != "DOWN");
        copy
    }

    /// The counter of this type in its cnc.dat, -1 while there is none.
    pub(crate) fn counter(&self, type_id: i32) -> i64 {
        let cnc = CncReader::open(&self.dir.join("aeron")).ok();
        cnc.and_then(|cnc| cnc.find(type_id, &[])).map_or(-1, |counter| counter.value)
    }

    /// Waits until a counter is as wanted.
    ///
    /// # Panics
    /// With the node's output when that does not come to be.
    pub(crate) fn await_counter(&self, type_id: i32, timeout: Duration, accept: impl Fn(i64) -> bool) {
        let deadline = Instant::now() + timeout;
        while !accept(self.counter(type_id)) {
            assert!(
                Instant::now() < deadline,
                "counter {type_id} stays at {}:\n{}",
                self.counter(type_id),
                self.output()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// What the node wrote to both outputs, over all runs.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(&self) {
        self.process.signal("TERM");
        let status = self.process.wait(Duration::from_secs(20));
        let status = status.unwrap_or_else(|| panic!("the standby does not stop:\n{}", self.output()));
        assert!(status.success(), "the standby ended with {status}:\n{}", self.output());
    }

    /// Starts it again after its end, in the same directory.
    pub(crate) fn restart(&mut self) {
        assert!(!self.process.is_running(), "a node is restarted when it has ended");
        self.earlier_lines.extend(self.process.lines().all());
        self.process = spawn("standby", &self.dir, &self.log, &self.flags);
    }

    /// `reseed`, once the node has ended: what it held is moved aside.
    ///
    /// # Panics
    /// If it is refused.
    pub(crate) fn reseed(&self) {
        let output = Command::new(BINARY).args(["reseed", "--dir"]).arg(&self.dir).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "reseed: {output:?}");
    }

    /// Runs another verb on its directory, and returns what it printed.
    ///
    /// # Panics
    /// If it is refused.
    pub(crate) fn verb(&self, verb: &str, flags: &[&str]) -> String {
        let output = Command::new(BINARY).args([verb, "--dir"]).arg(&self.dir).args(flags).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{verb}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `snapshot --wait`: has the node take one now, and returns its log position.
    ///
    /// # Panics
    /// If it takes none.
    pub(crate) fn take_snapshot(&self) -> i64 {
        let printed = self.verb("snapshot", &["--wait", "30", "--json"]);
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        printed["log_position"].as_i64().expect("a position")
    }

    /// `status --json`, `None` while there is none.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = Command::new(BINARY)
            .args(["status", "--json", "--dir"])
            .arg(&self.dir)
            .output()
            .expect("the binary runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("status prints JSON"))
    }

    /// One number of the status, -1 while there is none.
    pub(crate) fn number(&self, field: &str) -> i64 {
        self.status().and_then(|status| status[field].as_i64()).unwrap_or(-1)
    }

    /// Waits until the status is as wanted.
    ///
    /// # Panics
    /// With the last status and the node's output when it does not come to be.
    pub(crate) fn await_status(
        &self,
        what: &str,
        timeout: Duration,
        accept: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + timeout;
        loop {
            let status = self.status();
            if let Some(status) = status.as_ref().filter(|status| accept(status)) {
                return status.clone();
            }
            assert!(
                Instant::now() < deadline,
                "the standby's status is not {what} within {timeout:?}: {status:#?}\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until its output is as wanted.
    ///
    /// # Panics
    /// With the output when that does not come to be.
    pub(crate) fn await_output(&self, what: &str, timeout: Duration, accept: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + timeout;
        while !accept(&self.output()) {
            assert!(
                Instant::now() < deadline,
                "the standby does not say {what} within {timeout:?}:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every service has applied the log up to `position`.
    pub(crate) fn await_applied(&self, position: i64, timeout: Duration) {
        self.await_status(&format!("applied up to {position}"), timeout, |status| {
            status["applied_position"].as_i64().is_some_and(|applied| applied >= position)
        });
    }

    /// Waits for a state by name.
    pub(crate) fn await_state(&self, state: &str, timeout: Duration) {
        self.await_status(state, timeout, |status| status["state"] == state);
    }

    /// What the services printed, over all runs.
    pub(crate) fn audit_log(&self) -> AuditLog {
        let now = self.process.lines().all();
        AuditLog::collect("standby", self.earlier_lines.iter().chain(&now))
    }
}

fn spawn(name: &str, dir: &Path, log: &Path, flags: &[String]) -> Process {
    let mut command = Command::new(BINARY);
    command.args(flags).arg("--dir").arg(dir).env("RUST_LOG", "info").env("RUST_BACKTRACE", "1");
    Process::spawn(name, &command, log)
}
