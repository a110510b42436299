//! `replicate`: a member's archive fetches a standby snapshot, from us and from a Java archive.
//!
//! A node follows one member and takes a snapshot with a large ballast. A Java archive is opened on a copy of the node's,
//! so that both offer the same recording. For each of the two, a process with a Java archive of its own, as a member has
//! one, replicates the recording to itself: both stay for the whole bench, each replicates once before it is measured,
//! and each forgets the copy after every run. The time is from the request until the copy is complete and stopped.

use crate::cluster::{Cluster, number};
use crate::error::BenchError;
use crate::node::{Node, ask_for_snapshot, await_snapshot};
use crate::process::Process;
use crate::report::{Case, Measured, Session, Target};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const TIME: Case =
    Case { bench: "replicate", case: "time", unit: "s", peer: "java-archive", target: Target::AtMost(1.1) };

/// Runs the case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let cluster = Cluster::start(1, &[])?;
    cluster.client(&[])?.send(MESSAGES, 0)?;
    let [our_port, their_port, copies_port] = [0, 1, 2].map(|offset| cluster.peer_port() + offset);
    let our_control = format!("localhost:{our_port}");
    let flags = ["--audit-ballast", BALLAST, "--archive-endpoint", &our_control];
    let node = Node::start(&cluster, DIRECTORY, &flags)?;
    node.await_applied(1, SNAPSHOT_TIMEOUT)?;
    ask_for_snapshot(node.aeron_dir())?;
    await_snapshot(&node.counters()?, -1, SNAPSHOT_TIMEOUT)?;
    let _java_archive = open_copy(&cluster, their_port)?;

    let mut from_us = Replicator::start(&cluster, "from-us", our_port, copies_port)?;
    let mut from_java = Replicator::start(&cluster, "from-java", their_port, copies_port + 1)?;
    session.compare(&TIME, || from_us.replicate(), || from_java.replicate())
}

/// A Java archive on a copy of the node's.
fn open_copy(cluster: &Cluster, port: u16) -> Result<Process, BenchError> {
    let files = cluster.files();
    let (from, to) = (files.path(DIRECTORY), files.path(COPY_DIRECTORY));
    copy_files(&Path::new(&from).join(ARCHIVE), &Path::new(&to).join(ARCHIVE))?;
    let mut command = files.java("ArchiveHost");
    command
        .args(["--dir", &to, "--aeron-dir", &files.path("java-archive-driver")])
        .args(["--control-port", &port.to_string()]);
    let mut archive = Process::spawn("java-archive", &command, files.errors("java-archive"))?;
    archive.await_line("ready", START_TIMEOUT, |line| line == "ready")?;
    Ok(archive)
}

fn copy_files(from: &Path, to: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(to).map_err(BenchError::file(to, "create it"))?;
    for entry in fs::read_dir(from).map_err(BenchError::file(from, "list it"))? {
        let path = entry.map_err(BenchError::file(from, "list it"))?.path();
        let name = path.file_name().expect("a file of a directory has a name");
        fs::copy(&path, to.join(name)).map_err(BenchError::file(&path, "copy it"))?;
    }
    Ok(())
}

/// A Java archive that fetches, and its client.
#[derive(Debug)]
struct Replicator {
    process: Process,
    recording_id: i64,
}

impl Replicator {
    /// Connects to the archive at `port`, and fetches once what will be measured.
    fn start(cluster: &Cluster, name: &str, port: u16, own_port: u16) -> Result<Self, BenchError> {
        let files = cluster.files();
        let mut command = files.java("ArchiveClient");
        command
            .args(["--control", &format!("localhost:{port}"), "--archive-port", &own_port.to_string()])
            .args([
                "--archive-dir",
                &files.path(name),
                "--aeron-dir",
                &files.path(&format!("{name}-driver")),
            ]);
        let mut process = Process::spawn("replicating archive", &command, files.errors(name))?;
        process.await_line("connected", START_TIMEOUT, |line| line.starts_with("connected "))?;
        process.tell("list 0 100")?;
        let is_wanted = |line: &str| number(line, "stop").is_some_and(|stop| stop >= RECORDING_LENGTH_MIN);
        let listed = process.await_line("a long recording", START_TIMEOUT, is_wanted)?;
        let recording_id = number(&listed, "id").expect("a listed recording has an id") as i64;
        process.await_line("ok", START_TIMEOUT, |line| line.starts_with("ok "))?;
        let mut replicator = Self { process, recording_id };
        replicator.replicate()?;
        Ok(replicator)
    }

    fn replicate(&mut self) -> Result<Measured, BenchError> {
        let begun = Instant::now();
        let command = format!("replicate {} -1", self.recording_id);
        let answer = self.process.ask(&command, "ok recording=", REPLICATION_TIMEOUT)?;
        let time = begun.elapsed();
        let copy = number(&answer, "recording").expect("it is what the answer begins with");
        self.process.ask(&format!("forget {copy}"), "ok segments=", ANSWER_TIMEOUT)?;
        Ok(Measured::value(time.as_secs_f64()))
    }
}

const BALLAST: &str = "256m";
/// The service's snapshot is the only recording that is as long.
const RECORDING_LENGTH_MIN: f64 = 256.0 * 1024.0 * 1024.0;
const MESSAGES: u64 = 1000;
const DIRECTORY: &str = "node";
const COPY_DIRECTORY: &str = "java-archive";
const ARCHIVE: &str = "archive";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
