//! Java peers: where their classes come from, and a process that answers lines with lines.

use crate::error::BenchError;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The version that peers run.
pub(crate) const AERON_VERSION: &str = "1.51.0";

/// The repository's top directory, as cargo knows it; the current one without cargo.
pub(crate) fn workspace_root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest
        .and_then(|directory| directory.parent().map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from("."))
}

/// A running peer. Killed when dropped.
#[derive(Debug)]
pub(crate) struct JavaPeer {
    name: &'static str,
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl JavaPeer {
    /// Starts `main_class` from perf/java and waits until it prints "ready". What it says on stderr goes to ours.
    pub(crate) fn start(
        name: &'static str,
        main_class: &str,
        arguments: &[String],
    ) -> Result<Self, BenchError> {
        let failed = |what: String| BenchError::Peer { peer: name, what };
        let class_path = class_path().map_err(failed)?;
        let options = format!("@{}", java_directory().join("jvm-options").display());
        let mut process = Command::new("java")
            .args([options.as_str(), "-cp", &class_path, main_class])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("cannot start java: {error}")))?;
        let commands = process.stdin.take().expect("stdin was asked for");
        let output = process.stdout.take().expect("stdout was asked for");
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut peer = Self { name, process, commands, answers };
        peer.expect("ready", START_TIMEOUT)?;
        Ok(peer)
    }

    /// Sends a command and returns what its answer says behind `word`.
    pub(crate) fn ask(&mut self, command: &str, word: &str, timeout: Duration) -> Result<String, BenchError> {
        writeln!(self.commands, "{command}")
            .map_err(|error| self.failed(format!("does not take \"{command}\": {error}")))?;
        self.expect(word, timeout)
    }

    fn expect(&mut self, word: &str, timeout: Duration) -> Result<String, BenchError> {
        let answer = self.answers.recv_timeout(timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => self.failed(format!("no \"{word}\" within {timeout:?}")),
            RecvTimeoutError::Disconnected => self.failed(format!("ended before it said \"{word}\"")),
        })?;
        match answer.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(self.failed(answer)),
        }
    }

    fn failed(&self, what: String) -> BenchError {
        BenchError::Peer { peer: self.name, what }
    }
}

impl Drop for JavaPeer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Aeron's jar and our compiled peers. `scripts/interop/setup` brings the first, javac the second.
fn class_path() -> Result<String, String> {
    let setup = workspace_root().join("scripts/interop/setup");
    let output = Command::new(&setup)
        .arg(AERON_VERSION)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: cannot run it: {error}", setup.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (true, Some(interop)) = (output.status.success(), text.lines().last()) else {
        return Err(format!("{}: failed", setup.display()));
    };
    let classes = compile(interop)?;
    Ok(format!("{}:{interop}", classes.display()))
}

/// Compiles perf/java beside this program. Takes a second, so every start does it.
fn compile(class_path: &str) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let classes = program.with_file_name("perf-java");
    let mut sources = Vec::new();
    list_sources(&java_directory(), &mut sources).map_err(|error| format!("perf/java: {error}"))?;
    fs::create_dir_all(&classes).map_err(|error| format!("{}: {error}", classes.display()))?;
    let status = Command::new("javac")
        .args(["-nowarn", "-Xlint:none", "--release", "17", "-cp", class_path, "-d"])
        .arg(&classes)
        .args(&sources)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start javac: {error}"))?;
    if status.success() { Ok(classes) } else { Err("perf/java does not compile".to_owned()) }
}

fn list_sources(directory: &Path, sources: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            list_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
    Ok(())
}

fn java_directory() -> PathBuf {
    workspace_root().join("perf/java")
}

const START_TIMEOUT: Duration = Duration::from_secs(30);
