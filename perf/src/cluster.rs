//! Java clusters on this machine and what runs beside them: the programs of scripts/interop.
//!
//! Everything lives in memory, below /dev/shm, and is removed at the end. Programs run with the full JIT compiler
//! rather than with the quick one that tests use, since here they are rivals.

use crate::error::BenchError;
use crate::java::{AERON_VERSION, workspace_root};
use crate::process::Process;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use standby_node::store::cnc::CncReader;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

/// Running members, from leader to last follower. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Cluster {
    members: Vec<Process>,
    ports: Ports,
    // Behind the members: they must be dead before their files go.
    files: Workplace,
}

impl Cluster {
    /// Starts members with fresh state and waits until member 0 leads.
    pub(crate) fn start(member_count: u16, flags: &[&str]) -> Result<Self, BenchError> {
        let files = Workplace::create()?;
        let ports = Ports::find(member_count)?;
        let mut cluster = Self { members: Vec::new(), ports, files };
        for id in 0..member_count {
            let mut command = cluster.files.java("Member");
            command
                .args(["--id", &id.to_string(), "--member-count", &member_count.to_string()])
                .args(["--base-port", &cluster.ports.base.to_string(), "--appointed-leader", "0", "--clean"])
                .args(["--dir", &cluster.files.path(&format!("member-{id}"))])
                .args(["--aeron-dir", &cluster.member_aeron_dir(id).display().to_string()])
                .args(flags);
            let process = Process::spawn("member", &command, cluster.files.errors(&format!("member-{id}")))?;
            cluster.members.push(process);
        }
        for member in &mut cluster.members {
            member.await_line("ready", START_TIMEOUT, |line| line.contains(" ready "))?;
        }
        Ok(cluster)
    }

    pub(crate) fn files(&self) -> &Workplace {
        &self.files
    }

    /// A member to be asked, and where it may leave its answer.
    pub(crate) fn member(&mut self, id: u16) -> (&mut Process, &Workplace) {
        (&mut self.members[usize::from(id)], &self.files)
    }

    /// Where a member is asked for its log.
    pub(crate) fn consensus_endpoint(&self, id: u16) -> String {
        format!("localhost:{}", self.ports.base + id * PORTS_PER_MEMBER + 2)
    }

    /// The counters of a member's driver.
    pub(crate) fn counters(&self, id: u16) -> Result<CncReader, BenchError> {
        CncReader::open(&self.member_aeron_dir(id)).map_err(BenchError::run)
    }

    /// The first value of a counter type in a member's cnc.dat.
    pub(crate) fn counter(&self, id: u16, type_id: i32) -> Result<Option<i64>, BenchError> {
        Ok(self.counters(id)?.find(type_id, &[]).map(|counter| counter.value))
    }

    /// A client with a driver of its own, connected and idle.
    pub(crate) fn client(&self, flags: &[&str]) -> Result<Client, BenchError> {
        let mut command = self.files.java("Client");
        command
            .args(["--interactive", "--own-driver", "--aeron-dir", &self.files.path("client-driver")])
            .args(["--base-port", &self.ports.base.to_string()])
            .args(["--member-count", &self.members.len().to_string()])
            .args(flags);
        let mut process = Process::spawn("client", &command, self.files.errors("client"))?;
        process.await_line("connected", START_TIMEOUT, |line| line.starts_with("client connected"))?;
        Ok(Client { process, round_trips_path: self.files.path("round-trips") })
    }

    /// A block of ports beside the members', for a peer.
    pub(crate) fn peer_port(&self) -> u16 {
        self.ports.base + self.members.len() as u16 * PORTS_PER_MEMBER
    }

    fn member_aeron_dir(&self, id: u16) -> PathBuf {
        PathBuf::from(self.files.path(&format!("driver-{id}")))
    }
}

/// A client that sends when it is told to.
#[derive(Debug)]
pub(crate) struct Client {
    process: Process,
    round_trips_path: String,
}

impl Client {
    /// Sends messages at a fixed rate a second, 0 for as fast as replies allow, and returns when all were replied
    /// to how long that took.
    pub(crate) fn send(&mut self, count: u64, rate: u64) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let line = self.process.ask(&format!("send {count} {rate}"), "client sent=", LOAD_TIMEOUT)?;
        let duration = begun.elapsed();
        match (number(&line, "sent"), number(&line, "replied"), number(&line, "open")) {
            (Some(sent), Some(replied), Some(open)) if sent == replied && open == 0.0 => Ok(duration),
            _ => Err(BenchError::Peer { peer: "client", what: line }),
        }
    }

    /// Forgets the round trips so far.
    pub(crate) fn reset(&mut self) -> Result<(), BenchError> {
        self.process.ask("reset", "client reset", ANSWER_TIMEOUT).map(drop)
    }

    /// The round trips since the last reset, in nanoseconds, from when each message should have left.
    pub(crate) fn round_trips(&mut self) -> Result<Histogram<u64>, BenchError> {
        let command = format!("round-trips {}", self.round_trips_path);
        self.process.ask(&command, "client wrote", ANSWER_TIMEOUT)?;
        read_histogram(Path::new(&self.round_trips_path))
    }
}

/// The lag histogram of a Java program with `LagCommands`.
pub(crate) fn ask_for_lag(process: &mut Process, files: &Workplace) -> Result<Histogram<u64>, BenchError> {
    let path = files.path("lag");
    process.ask(&format!("lag {path}"), "lag count", ANSWER_TIMEOUT)?;
    read_histogram(Path::new(&path))
}

/// Empties the lag histogram of a Java program with `LagCommands`.
pub(crate) fn reset_lag(process: &mut Process) -> Result<(), BenchError> {
    process.ask("lag reset", "lag reset", ANSWER_TIMEOUT).map(drop)
}

/// The value of `key=value` among words.
pub(crate) fn number(line: &str, key: &str) -> Option<f64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

/// Asks every few milliseconds until there is an answer.
pub(crate) fn await_some<T>(
    what: &str,
    timeout: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, BenchError>,
) -> Result<T, BenchError> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(BenchError::Run(format!("no {what} within {timeout:?}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Where a cluster and its companions keep their files.
#[derive(Debug)]
pub(crate) struct Workplace {
    directory: TempDir,
    class_path: String,
}

impl Workplace {
    fn create() -> Result<Self, BenchError> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = TempDir::with_prefix_in("standby-perf-", parent)
            .map_err(BenchError::io("make a directory for the cluster"))?;
        Ok(Self { directory, class_path: class_path()? })
    }

    /// A path below, as text for a command line. Nothing is made.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A file for a process's stderr.
    pub(crate) fn errors(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.errors"))
    }

    /// Removes what a run left in a directory.
    pub(crate) fn remove(&self, name: &str) -> Result<(), BenchError> {
        let path = self.directory.path().join(name);
        fs::remove_dir_all(&path).map_err(BenchError::file(path, "remove it"))
    }

    /// The command that runs a program of scripts/interop/java.
    pub(crate) fn java(&self, program: &str) -> Command {
        let mut command = Command::new(workspace_root().join("scripts/interop/run"));
        command.env("STANDBY_INTEROP_CP", &self.class_path).env("JAVA_OPTS", JAVA_OPTIONS).arg(program);
        command
    }
}

/// `STANDBY_INTEROP_CP`, or what scripts/interop/setup prints.
fn class_path() -> Result<String, BenchError> {
    if let Ok(class_path) = std::env::var("STANDBY_INTEROP_CP") {
        return Ok(class_path);
    }
    let setup = workspace_root().join("scripts/interop/setup");
    let failed = |what: String| BenchError::Run(format!("{}: {what}", setup.display()));
    let output = Command::new(&setup).arg(AERON_VERSION).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| failed(format!("cannot be run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().last() {
        Some(class_path) if output.status.success() => Ok(class_path.to_owned()),
        _ => Err(failed("prints no class path".to_owned())),
    }
}

/// Blocks of ports, one for each member and two for peers.
#[derive(Debug)]
struct Ports {
    base: u16,
    _guard: UdpSocket,
}

impl Ports {
    fn find(member_count: u16) -> Result<Self, BenchError> {
        let length = (member_count + PEER_BLOCKS) * PORTS_PER_MEMBER;
        let first = FIRST_PORT + (std::process::id() % 1000) as u16 * PORTS_PER_MEMBER;
        for base in (first..LAST_PORT - length).step_by(usize::from(length)) {
            // The last port stays bound: whoever looks next, looks elsewhere.
            let Ok(guard) = UdpSocket::bind(("127.0.0.1", base + length - 1)) else { continue };
            if (base..base + length - 1).all(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok()) {
                return Ok(Self { base, _guard: guard });
            }
        }
        Err(BenchError::Run(format!("no {length} free ports in a row from {first} to {LAST_PORT}")))
    }
}

fn read_histogram(path: &Path) -> Result<Histogram<u64>, BenchError> {
    let bytes = fs::read(path).map_err(BenchError::file(path, "read a histogram from it"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| BenchError::Run(format!("{}: {error}", path.display())))
}

/// Behind the options of scripts/interop, which they override.
const JAVA_OPTIONS: &str = "-XX:TieredStopAtLevel=4";
const PORTS_PER_MEMBER: u16 = 10;
const PEER_BLOCKS: u16 = 2;
const FIRST_PORT: u16 = 12_000;
/// Where Linux begins to hand ports out by itself.
const LAST_PORT: u16 = 32_768;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
