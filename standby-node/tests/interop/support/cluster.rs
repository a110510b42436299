//! A Java cluster on this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::audit_log::AuditLog;
use super::java;
use super::ports::{BLOCK_LENGTH, Ports};
use super::process::{Lines, Process};
use super::scratch::Scratch;

const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// What cluster a test wants.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    /// The test's name, which is that of its log directory.
    pub(crate) test: String,
    pub(crate) members: u16,
    pub(crate) aeron_version: String,
    pub(crate) host: String,
    /// More flags for every member, see MemberFlags.java: for example `--services 2`.
    pub(crate) flags: Vec<String>,
}

impl ClusterConfig {
    pub(crate) fn new(test: &str, members: u16) -> Self {
        Self {
            test: test.to_owned(),
            members,
            aeron_version: java::AERON_VERSION.to_owned(),
            host: "localhost".to_owned(),
            flags: Vec::new(),
        }
    }

    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub(crate) fn aeron_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.aeron_version);
        self
    }
}

/// Running members. Dropping it kills them.
pub(crate) struct Cluster {
    config: ClusterConfig,
    members: Vec<Member>,
    ports: Ports,
    // Last: the members must be dead before their data is deleted.
    scratch: Arc<Scratch>,
}

impl Cluster {
    /// Starts all members with fresh state and waits until each has a leader.
    ///
    /// # Panics
    /// If a member does not come up.
    pub(crate) fn start(config: ClusterConfig) -> Self {
        Self::start_each(config, |_, _| Vec::new())
    }

    /// As [`Self::start`], with more flags for each member: `flags_of` is told its id and the cluster's first port.
    ///
    /// # Panics
    /// If a member does not come up.
    pub(crate) fn start_each(config: ClusterConfig, flags_of: impl Fn(u16, u16) -> Vec<String>) -> Self {
        let cluster = Self::prepare(config, flags_of);
        cluster.launch(&["--clean"]);
        cluster
    }

    /// Starts all members on what `fill` puts into the directory of each, which is not made yet.
    ///
    /// # Panics
    /// If a member does not come up.
    pub(crate) fn start_on(config: ClusterConfig, fill: impl Fn(&Path)) -> Self {
        Self::start_after(config, |member| fill(member.dir()))
    }

    /// Starts all members once `prepare` has done with each what is to be done before, in its directory or beside it.
    ///
    /// # Panics
    /// If a member does not come up.
    pub(crate) fn start_after(config: ClusterConfig, prepare: impl FnMut(&Member)) -> Self {
        let cluster = Self::prepare(config, |_, _| Vec::new());
        cluster.members.iter().for_each(prepare);
        cluster.launch(&[]);
        cluster
    }

    fn prepare(config: ClusterConfig, flags_of: impl Fn(u16, u16) -> Vec<String>) -> Self {
        let scratch = Arc::new(Scratch::new(&config.test));
        let ports = Ports::allocate(config.members);
        let member = |id| {
            let mut member = Member::new(id, &config, ports.base(), &scratch);
            member.flags.extend(flags_of(id, ports.base()));
            member
        };
        let members = (0..config.members).map(member).collect();
        Self { config, members, ports, scratch }
    }

    fn launch(&self, flags: &[&str]) {
        for member in &self.members {
            member.launch(flags);
        }
        for member in &self.members {
            member.await_ready();
        }
    }

    pub(crate) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The test's directories, for what else it starts.
    pub(crate) fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    pub(crate) fn base_port(&self) -> u16 {
        self.ports.base()
    }

    pub(crate) fn member(&self, id: u16) -> &Member {
        &self.members[usize::from(id)]
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// `0=host:port,1=host:port` as a client wants it.
    pub(crate) fn ingress_endpoints(&self) -> String {
        let endpoints =
            self.members.iter().map(|member| format!("{}={}", member.id, member.ingress_endpoint()));
        endpoints.collect::<Vec<_>>().join(",")
    }

    /// Comma-separated, as ClusterBackup and a standby want them.
    pub(crate) fn consensus_endpoints(&self) -> String {
        self.members.iter().map(Member::consensus_endpoint).collect::<Vec<_>>().join(",")
    }

    /// The running member that last said it leads, if it is in no election; the newest term wins.
    pub(crate) fn leader(&self) -> Option<u16> {
        let leads =
            |member: &&Member| member.is_running() && member.role().is_some_and(|role| role.is_leader);
        let leader =
            self.members.iter().filter(leads).max_by_key(|member| member.role().map(|role| role.term));
        leader.map(|member| member.id)
    }

    /// A running member that does not lead.
    pub(crate) fn follower(&self) -> Option<u16> {
        let leader = self.leader();
        let follows = |member: &&Member| member.is_running() && Some(member.id) != leader;
        self.members.iter().find(follows).map(|member| member.id)
    }

    /// Waits for a leader other than `not`.
    ///
    /// # Panics
    /// If none appears in time.
    pub(crate) fn await_leader(&self, not: Option<u16>, timeout: Duration) -> u16 {
        await_some("a leader", timeout, || self.leader().filter(|&leader| Some(leader) != not))
    }

    /// Waits until every running member's commit position is at least this.
    ///
    /// # Panics
    /// If it does not happen in time.
    pub(crate) fn await_commit(&self, position: i64, timeout: Duration) {
        let reached = |member: &Member| !member.is_running() || member.commit_position() >= position;
        await_some(&format!("commit position {position}"), timeout, || {
            self.members.iter().all(reached).then_some(())
        });
    }

    /// Waits until the running members stand at the same commit position and stay there for a moment; returns it.
    pub(crate) fn await_quiet(&self, timeout: Duration) -> i64 {
        let mut last = (i64::MIN, Instant::now());
        await_some("equal commit positions", timeout, || {
            let running = self.members.iter().filter(|member| member.is_running());
            let positions: Vec<_> = running.map(Member::commit_position).collect();
            let position = *positions.first()?;
            if positions.iter().any(|&other| other != position) || position != last.0 {
                last = (position, Instant::now());
                return None;
            }
            // Members print their position every 100 ms.
            (last.1.elapsed() > Duration::from_millis(300)).then_some(position)
        })
    }

    /// Sets the leader's control toggle: SNAPSHOT (waits until it is taken), STANDBY_SNAPSHOT, SUSPEND, RESUME,
    /// ABORT or SHUTDOWN.
    ///
    /// # Panics
    /// If the toggle cannot be set.
    pub(crate) fn control(&self, action: &str) {
        let mut flags = vec!["--action", action];
        if matches!(action, "SNAPSHOT" | "STANDBY_SNAPSHOT") {
            flags.push("--wait");
        }
        let running = self.members.iter().filter(|member| member.is_running());
        let dirs: Vec<_> = running.map(|member| member.aeron_dir().display().to_string()).collect();
        self.run_control(&dirs.join(","), &flags);
    }

    /// Sets one member's node control toggle, for example REPLICATE_STANDBY_SNAPSHOT.
    pub(crate) fn node_control(&self, member: u16, action: &str) {
        let dir = self.member(member).aeron_dir().display().to_string();
        self.run_control(&dir, &["--node", action, "--wait"]);
    }

    /// A snapshot and an orderly end of all members by ClusterControl, once all of them are up to date: one that
    /// lags would be left behind without a leader.
    ///
    /// # Panics
    /// If a running member does not catch up or does not end.
    pub(crate) fn shutdown(&self) {
        self.await_quiet(QUIET_TIMEOUT);
        self.control("SHUTDOWN");
        for member in self.members.iter().filter(|member| member.is_running()) {
            assert!(member.await_end(STOP_TIMEOUT), "member {} did not end after SHUTDOWN", member.id);
        }
    }

    /// The audit lines of every member.
    pub(crate) fn audit_logs(&self) -> Vec<AuditLog> {
        self.members.iter().map(Member::audit_log).collect()
    }

    /// Runs one of our Java programs to its end and returns its stdout lines.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) fn run_java(&self, program: &str, flags: &[&str], timeout: Duration) -> Vec<String> {
        let mut command = java::command(program, &self.config.aeron_version);
        command.args(flags);
        let process = Process::spawn(program, &command, &self.scratch.log(&program.to_lowercase()));
        let status = process.wait(timeout);
        let lines = process.lines().all();
        assert!(status.is_some_and(|status| status.success()), "{program} {flags:?}: {status:?}, {lines:#?}");
        lines
    }

    fn run_control(&self, dirs: &str, flags: &[&str]) {
        let flags: Vec<_> = ["--aeron-dirs", dirs].iter().chain(flags).copied().collect();
        self.run_java("Control", &flags, CONTROL_TIMEOUT);
    }
}

/// What a member last said of itself outside an election.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Role {
    pub(crate) is_leader: bool,
    pub(crate) term: i64,
}

/// One member, running or not.
pub(crate) struct Member {
    id: u16,
    host: String,
    port: u16,
    dir: PathBuf,
    aeron_dir: PathBuf,
    aeron_version: String,
    flags: Vec<String>,
    scratch: Arc<Scratch>,
    process: Mutex<Option<Arc<Process>>>,
    /// The lines of each run, oldest first.
    runs: Mutex<Vec<Arc<Lines>>>,
}

impl Member {
    fn new(id: u16, config: &ClusterConfig, base_port: u16, scratch: &Arc<Scratch>) -> Self {
        let dir = scratch.data(&format!("member-{id}"));
        let aeron_dir = scratch.data(&format!("driver-{id}"));
        let own: [(&str, String); 6] = [
            ("--id", id.to_string()),
            ("--member-count", config.members.to_string()),
            ("--base-port", base_port.to_string()),
            ("--host", config.host.clone()),
            ("--dir", dir.display().to_string()),
            ("--aeron-dir", aeron_dir.display().to_string()),
        ];
        let mut flags: Vec<_> = own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        flags.extend(config.flags.iter().cloned());
        Self {
            id,
            host: config.host.clone(),
            port: base_port + id * BLOCK_LENGTH,
            dir,
            aeron_dir,
            aeron_version: config.aeron_version.clone(),
            flags,
            scratch: Arc::clone(scratch),
            process: Mutex::new(None),
            runs: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Holds `archive` and `cluster`.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    pub(crate) fn aeron_dir(&self) -> &PathBuf {
        &self.aeron_dir
    }

    pub(crate) fn archive_endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn ingress_endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port + 1)
    }

    pub(crate) fn consensus_endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port + 2)
    }

    /// Its entry in the clusterMembers string.
    pub(crate) fn entry(&self) -> String {
        let ports = [1, 2, 3, 4, 0].map(|offset| format!("{}:{}", self.host, self.port + offset));
        format!("{},{}", self.id, ports.join(","))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process().is_some_and(|process| process.is_running())
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.process.lock().expect("process lock").take() {
            process.kill();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end in time.
    pub(crate) fn stop(&self) {
        if let Some(process) = self.process.lock().expect("process lock").take() {
            process.signal("TERM");
            assert!(process.wait(STOP_TIMEOUT).is_some(), "member {} did not end after SIGTERM", self.id);
        }
    }

    /// SIGSTOP: the whole process stands still, and the kernel still takes datagrams for it.
    pub(crate) fn pause(&self) {
        self.running_process().signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.running_process().signal("CONT");
    }

    /// Starts it again on its old state and waits until it has a leader. A running one is killed first.
    pub(crate) fn restart(&self) {
        self.restart_with(&[]);
        self.await_ready();
    }

    /// As [`Self::restart`], with more flags and without waiting: it may have no one to elect.
    pub(crate) fn restart_with(&self, flags: &[&str]) {
        self.kill();
        self.launch(flags);
    }

    /// Waits until its first election is over.
    ///
    /// # Panics
    /// If that does not happen within a minute.
    pub(crate) fn await_ready(&self) {
        let ready =
            self.running_process().await_line(0, START_TIMEOUT, "ready", |line| line.contains(" ready "));
        if let Err(error) = ready {
            panic!("{error}");
        }
    }

    /// Waits for the end of the process; false when it does not come.
    pub(crate) fn await_end(&self, timeout: Duration) -> bool {
        self.process().is_none_or(|process| process.wait(timeout).is_some())
    }

    /// Its role, or `None` while it is not running, not yet ready, or in an election.
    pub(crate) fn role(&self) -> Option<Role> {
        let newest = self.process()?.lines().last_map(|line| {
            let line = line.strip_prefix("member ")?;
            if line.ends_with(" election") {
                return Some(None);
            }
            let term = field(line, "term")?.parse().ok()?;
            Some(Some(Role { is_leader: field(line, "role")? == "LEADER", term }))
        });
        newest.flatten()
    }

    /// The commit position it last printed; 0 before it did.
    pub(crate) fn commit_position(&self) -> i64 {
        let lines = self.process().map(|process| process.lines());
        let last = lines.and_then(|lines| lines.last_map(|line| field(line, "commit")?.parse().ok()));
        last.unwrap_or(0)
    }

    /// Its stdout lines over all runs.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.runs.lock().expect("runs lock").iter().flat_map(|lines| lines.all()).collect()
    }

    pub(crate) fn audit_log(&self) -> AuditLog {
        AuditLog::collect(&format!("member {}", self.id), self.lines())
    }

    fn launch(&self, flags: &[&str]) {
        let mut command = java::command("Member", &self.aeron_version);
        command.args(&self.flags).args(flags);
        let name = format!("member-{}", self.id);
        let process = Process::spawn(&name, &command, &self.scratch.log(&name));
        self.runs.lock().expect("runs lock").push(process.lines());
        *self.process.lock().expect("process lock") = Some(Arc::new(process));
    }

    fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().expect("process lock").clone()
    }

    fn running_process(&self) -> Arc<Process> {
        self.process().unwrap_or_else(|| panic!("member {} does not run", self.id))
    }
}

/// The value of `key=value` among words.
pub(crate) fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// Asks every 10 ms until there is an answer.
///
/// # Panics
/// If there is none in time.
pub(crate) fn await_some<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within {timeout:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
