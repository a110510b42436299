//! Java clusters on this machine and what runs beside them: the programs of scripts/interop.
//!
//! Everything lives in memory, below /dev/shm, and is removed at the end. Programs run with the full JIT compiler
//! rather than with the quick one that tests use, since here they are rivals.

use crate::error::BenchError;
use crate::java::{AERON_VERSION, workspace_root};
use crate::process::Process;
use consensus_tap::file::cnc::counters::{CLUSTER_CONTROL_TOGGLE, NODE_ROLE, TOGGLE_NEUTRAL};
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
    options: MemberOptions,
    ports: Ports,
    // Behind the members: they must be dead before their files go.
    files: Workplace,
}

impl Cluster {
    /// Starts members with fresh state and waits until member 0 leads.
    pub(crate) fn start(member_count: u16, flags: &[&str]) -> Result<Self, BenchError> {
        Self::start_with(MemberOptions::new(member_count, flags))
    }

    /// As [`Self::start`], with more to be said of the members.
    pub(crate) fn start_with(options: MemberOptions) -> Result<Self, BenchError> {
        let files = Workplace::create()?;
        let ports = Ports::find(options.member_count)?;
        let mut cluster = Self { members: Vec::new(), options, ports, files };
        for id in 0..cluster.options.member_count {
            let member = cluster.spawn_member(id, &["--clean"])?;
            cluster.members.push(member);
        }
        for member in &mut cluster.members {
            await_ready(member)?;
        }
        Ok(cluster)
    }

    fn spawn_member(&self, id: u16, flags: &[&str]) -> Result<Process, BenchError> {
        self.spawn_member_in(&format!("member-{id}"), id, flags)
    }

    fn spawn_member_in(&self, directory: &str, id: u16, flags: &[&str]) -> Result<Process, BenchError> {
        let mut command = self.files.java("Member");
        command
            .args(["--id", &id.to_string(), "--member-count", &self.options.member_count.to_string()])
            .args(["--base-port", &self.ports.base.to_string(), "--appointed-leader", "0"])
            .args(["--dir", &self.files.path(directory)])
            .args(["--aeron-dir", &self.member_aeron_dir(id).display().to_string()])
            .args(&self.options.flags)
            .args(flags);
        if let Some(heap) = self.options.heap {
            command.env("JAVA_OPTS", format!("{JAVA_OPTIONS} -Xmx{heap}"));
        }
        Process::spawn("member", &command, self.files.errors(&format!("member-{id}")))
    }

    /// Kills member 0 of a cluster of one and starts it again on what it left. Returns at once; `await_ready` waits.
    pub(crate) fn restart_alone(&mut self) -> Result<(), BenchError> {
        drop(self.members.pop());
        // Or a reader of counters could take the dead driver's for the new one's.
        self.files.remove(&self.member_driver(0))?;
        self.members.push(self.spawn_member(0, &[])?);
        Ok(())
    }

    /// The member that leads.
    pub(crate) fn leader(&self) -> Result<u16, BenchError> {
        await_some("leader", START_TIMEOUT, || {
            let leads = |&id: &u16| matches!(self.counter(id, NODE_ROLE), Ok(Some(ROLE_LEADER)));
            Ok((0..self.options.member_count).find(leads))
        })
    }

    /// Kills one member.
    pub(crate) fn kill(&mut self, id: u16) -> Result<(), BenchError> {
        self.members[usize::from(id)].kill()
    }

    /// Kills every member at once.
    pub(crate) fn kill_all(&mut self) -> Result<(), BenchError> {
        self.members.iter_mut().try_for_each(Process::kill)
    }

    /// Once all members are killed, starts a cluster of one in the place of member 0, on the files in a
    /// directory.
    pub(crate) fn restore_alone(&mut self, directory: &str) -> Result<(), BenchError> {
        self.members.clear();
        self.files.remove(&self.member_driver(0))?;
        self.options.member_count = 1;
        self.members.push(self.spawn_member_in(directory, 0, &[])?);
        Ok(())
    }

    /// The official ClusterBackup, following all members, with its files in a directory.
    pub(crate) fn back_up(&self, directory: &str, flags: &[&str]) -> Result<(Process, PathBuf), BenchError> {
        let aeron_dir = self.files.path(&format!("{directory}-driver"));
        let mut command = self.files.java("BackupRunner");
        command
            .args(["--clean", "--dir", &self.files.path(directory), "--aeron-dir", &aeron_dir])
            .args(["--consensus-endpoints", &self.consensus_endpoints()])
            .args(["--port", &self.peer_port().to_string()])
            .args(flags);
        let mut backup = Process::spawn("cluster-backup", &command, self.files.errors(directory))?;
        backup.await_line("started", START_TIMEOUT, |line| line == "backup started")?;
        Ok((backup, PathBuf::from(aeron_dir)))
    }

    /// Waits until member 0 leads.
    pub(crate) fn await_ready(&mut self) -> Result<(), BenchError> {
        await_ready(&mut self.members[0])
    }

    /// Sets the leader's control toggle, as the official tools do. It is neutral again when that was carried out.
    pub(crate) fn toggle(&self, action: i64) -> Result<(), BenchError> {
        toggle(&self.member_aeron_dir(0), CLUSTER_CONTROL_TOGGLE, action)
    }

    /// Whether the leader has carried out what its toggle asked for.
    pub(crate) fn is_neutral(&self) -> Result<bool, BenchError> {
        Ok(self.counter(0, CLUSTER_CONTROL_TOGGLE)? == Some(TOGGLE_NEUTRAL))
    }

    pub(crate) fn files(&self) -> &Workplace {
        &self.files
    }

    /// A member to be asked, and where it may leave its answer.
    pub(crate) fn member(&mut self, id: u16) -> (&mut Process, &Workplace) {
        (&mut self.members[usize::from(id)], &self.files)
    }

    /// A member's process.
    pub(crate) fn process(&self, id: u16) -> &Process {
        &self.members[usize::from(id)]
    }

    /// Where a member is asked for its log.
    pub(crate) fn consensus_endpoint(&self, id: u16) -> String {
        format!("localhost:{}", self.ports.base + id * PORTS_PER_MEMBER + 2)
    }

    /// Where all members are asked for their logs, as a list.
    pub(crate) fn consensus_endpoints(&self) -> String {
        (0..self.options.member_count).map(|id| self.consensus_endpoint(id)).collect::<Vec<_>>().join(",")
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
        let endpoints = self.ingress_endpoints();
        Client::start(&self.files, &[&["--ingress-endpoints", &endpoints], flags].concat())
    }

    /// Where members take ingress: `0=host:port,1=host:port`.
    pub(crate) fn ingress_endpoints(&self) -> String {
        let endpoint = |id| format!("{id}=localhost:{}", self.ports.base + id * PORTS_PER_MEMBER + 1);
        (0..self.options.member_count).map(endpoint).collect::<Vec<_>>().join(",")
    }

    /// A block of ports beside the members', for a peer.
    pub(crate) fn peer_port(&self) -> u16 {
        self.ports.base + self.members.len() as u16 * PORTS_PER_MEMBER
    }

    fn member_aeron_dir(&self, id: u16) -> PathBuf {
        PathBuf::from(self.files.path(&self.member_driver(id)))
    }

    fn member_driver(&self, id: u16) -> String {
        format!("driver-{id}")
    }
}

fn await_ready(member: &mut Process) -> Result<(), BenchError> {
    member.await_line("ready", START_TIMEOUT, |line| line.contains(" ready ")).map(drop)
}

/// Sets a control toggle in a cnc.dat, if it is neutral.
pub(crate) fn toggle(aeron_dir: &Path, type_id: i32, action: i64) -> Result<(), BenchError> {
    let cnc = CncReader::open_writable(aeron_dir).map_err(BenchError::run)?;
    let record = cnc.find(type_id, &[]);
    let is_set = record.is_some_and(|record| cnc.counter(record.id).compare_and_set(TOGGLE_NEUTRAL, action));
    if is_set {
        Ok(())
    } else {
        Err(BenchError::Run(format!("{}: toggle {type_id} is not neutral", aeron_dir.display())))
    }
}

/// What members are like.
#[derive(Clone, Debug)]
pub(crate) struct MemberOptions {
    member_count: u16,
    flags: Vec<String>,
    /// As for the JVM, for example `1g`; that of scripts/interop when `None`.
    heap: Option<&'static str>,
}

impl MemberOptions {
    pub(crate) fn new(member_count: u16, flags: &[&str]) -> Self {
        Self { member_count, flags: flags.iter().map(|&flag| flag.to_owned()).collect(), heap: None }
    }

    pub(crate) fn with_heap(self, heap: &'static str) -> Self {
        Self { heap: Some(heap), ..self }
    }
}

/// A client that sends when it is told to.
#[derive(Debug)]
pub(crate) struct Client {
    process: Process,
    round_trips_path: String,
}

impl Client {
    /// A client with a driver of its own, connected and idle; `flags` say to whom.
    pub(crate) fn start(files: &Workplace, flags: &[&str]) -> Result<Self, BenchError> {
        let mut command = files.java("Client");
        command
            .args(["--interactive", "--own-driver", "--aeron-dir", &files.path("client-driver")])
            .args(flags);
        let mut process = Process::spawn("client", &command, files.errors("client"))?;
        process.await_line("connected", START_TIMEOUT, |line| line.starts_with("client connected"))?;
        Ok(Self { process, round_trips_path: files.path("round-trips") })
    }

    /// Sends messages at a fixed rate a second, 0 for as fast as replies allow, and returns when all were replied
    /// to how long that took.
    pub(crate) fn send(&mut self, count: u64, rate: u64) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        self.begin_sending(count, rate)?;
        self.await_sent()?;
        Ok(begun.elapsed())
    }

    /// Begins what [`Self::send`] does, and leaves the end to [`Self::await_sent`].
    pub(crate) fn begin_sending(&mut self, count: u64, rate: u64) -> Result<(), BenchError> {
        self.process.tell(&format!("send {count} {rate}"))
    }

    /// Waits until all that was begun is sent and replied to, and returns the longest time since the last reset in
    /// which a reply was due and none came.
    pub(crate) fn await_sent(&mut self) -> Result<Duration, BenchError> {
        let answer = |line: &str| line.starts_with("client sent=");
        let line = self.process.await_line("client sent=", LOAD_TIMEOUT, answer)?;
        let gap = number(&line, "max_gap_us").map_or(Duration::ZERO, |us| Duration::from_micros(us as u64));
        match (number(&line, "sent"), number(&line, "replied"), number(&line, "open")) {
            (Some(sent), Some(replied), Some(open)) if sent == replied && open == 0.0 => Ok(gap),
            _ => Err(BenchError::Peer { peer: "client", what: line }),
        }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Forgets round trips and gaps so far.
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
    pub(crate) fn create() -> Result<Self, BenchError> {
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

/// Behind the options of scripts/interop, which they override. A driver and its clients may be stood still
/// for longer than Aeron bears of itself.
const JAVA_OPTIONS: &str =
    "-XX:TieredStopAtLevel=4 -Daeron.client.liveness.timeout=60s -Daeron.publication.unblock.timeout=70s";
/// As Aeron counts roles.
const ROLE_LEADER: i64 = 2;
const PORTS_PER_MEMBER: u16 = 10;
const PEER_BLOCKS: u16 = 2;
const FIRST_PORT: u16 = 12_000;
/// Where Linux begins to hand ports out by itself.
const LAST_PORT: u16 = 32_768;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
