//! A node of the shipped binary whose members are unreachable, and its operator's verbs.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The shipped binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_standby-node");
/// A generous bound for whatever a node does by itself; the machine may be loaded.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// How to start a node; what is not given is as a test most often needs it.
#[derive(Default)]
pub(crate) struct NodeFlags {
    /// The node's directory; a temporary one by default.
    pub(crate) dir: Option<PathBuf>,
    /// `--consensus-endpoints`; a port that nobody listens at by default.
    pub(crate) consensus_endpoints: Option<String>,
    /// More flags.
    pub(crate) extra: Vec<String>,
}

/// A running node. Dropping it kills it.
pub(crate) struct Node {
    child: Child,
    dir: PathBuf,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    _temp: Option<TempDir>,
}

impl Node {
    /// Starts `run` on loopback.
    pub(crate) fn start(flags: NodeFlags) -> Self {
        let temp = flags.dir.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
        let dir = flags.dir.unwrap_or_else(|| temp.as_ref().expect("just made").path().join("node"));
        let endpoints = flags.consensus_endpoints.unwrap_or_else(|| format!("127.0.0.1:{}", closed_port()));
        let mut child = Command::new(BINARY)
            .args([
                "run",
                "--no-progress",
                "--host",
                "127.0.0.1",
                "--consensus-endpoints",
                &endpoints,
                "--dir",
            ])
            .arg(&dir)
            .args(&flags.extra)
            .env("RUST_LOG", "info")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Mutex::new(String::new()));
        let readers =
            vec![read_lines(child.stdout.take(), &output), read_lines(child.stderr.take(), &output)];
        Self { child, dir, output, readers, _temp: temp }
    }

    /// Starts a node and waits until it runs.
    pub(crate) fn running(flags: NodeFlags) -> Self {
        let mut node = Self::start(flags);
        assert!(node.local_addr_or_exit().is_some(), "{}", node.output());
        node.await_status("alive", |status| status["state"] != "DOWN");
        node
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything that it has printed.
    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("output lock").clone()
    }

    /// The socket's address as the log tells it; `None` when the node has ended.
    pub(crate) fn local_addr_or_exit(&mut self) -> Option<SocketAddr> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let output = self.output();
            if let Some((_, rest)) = output.split_once("local_addr=") {
                let address = rest.split_whitespace().next().unwrap_or_default();
                return Some(address.parse().expect("an address in the log"));
            }
            if !self.is_running() {
                return None;
            }
            assert!(Instant::now() < deadline, "no local_addr in the log:\n{output}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = run(&["status", "--json", "--dir", path(&self.dir)]);
        (output.code == Some(0)).then(|| serde_json::from_str(&output.stdout).expect("JSON"))
    }

    /// One number of the status.
    pub(crate) fn number(&self, field: &str) -> i64 {
        self.await_status("there", |_| true)[field].as_i64().expect("a number")
    }

    /// Waits until the status is as wanted.
    pub(crate) fn await_status(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let status = self.status();
            if let Some(status) = status.as_ref().filter(|status| accept(status)) {
                return status.clone();
            }
            assert!(Instant::now() < deadline, "status is not {what}: {status:#?}\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the output has at least `count` lines with `text`.
    pub(crate) fn await_output(&self, text: &str, count: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.output().lines().filter(|line| line.contains(text)).count() < count {
            assert!(Instant::now() < deadline, "no {count} lines with `{text}`:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// RssAnon in KiB.
    pub(crate) fn anonymous_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5 or newer");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of kB")
    }

    /// What the log says behind the last `key`, for example an address.
    pub(crate) fn told(&self, key: &str) -> String {
        let output = self.output();
        let (_, rest) = output.rsplit_once(key).unwrap_or_else(|| panic!("no {key} in:\n{output}"));
        rest.split_whitespace().next().expect("a word").to_owned()
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.wait();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.wait()
    }

    /// Waits for its end and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                for reader in self.readers.drain(..) {
                    let _ = reader.join();
                }
                return status.code();
            }
            assert!(Instant::now() < deadline, "the node does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a verb left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// One clear error: this exit code, all of these words, and nothing that only its authors understand.
    #[track_caller]
    pub(crate) fn expect_error(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in:\n{}", self.stderr);
        }
        for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "unwrap", "Os {", "Some("] {
            assert!(!self.stderr.contains(noise), "`{noise}` in:\n{}", self.stderr);
        }
        let errors = self.stderr.lines().filter(|line| line.starts_with("standby-node: "));
        assert!(code != 1 || errors.count() == 1, "one error, not several:\n{}", self.stderr);
    }
}

/// Runs the binary to its end, which must come by itself.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with(arguments, |_| {})
}

/// As [`run`], with a say in how it is started.
pub(crate) fn run_with(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("RUST_LOG", "info").env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().expect("the binary starts");
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("its output");
            panic!("{arguments:?} does not end:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// A UDP port of loopback at which nobody listens.
pub(crate) fn closed_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("its address").port()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("test paths are ASCII")
}

fn read_lines(pipe: Option<impl Read + Send + 'static>, output: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let reader = BufReader::new(pipe.expect("it was asked for"));
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            let mut output = output.lock().expect("output lock");
            output.push_str(&line);
            output.push('\n');
        }
    })
}
