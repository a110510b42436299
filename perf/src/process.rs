//! A child process that is spoken to in lines, and what the system tells of any process.

use crate::error::BenchError;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A running child. Killed when dropped, and when this process dies.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
}

/// Signals that benches send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Asks for an end in order.
    Terminate,
    /// Stands the process still; the kernel goes on taking datagrams for it.
    Stop,
    Continue,
}

impl Process {
    /// Starts a command; what it says on stderr goes to the file `errors`.
    pub(crate) fn spawn(name: &'static str, command: &Command, errors: PathBuf) -> Result<Self, BenchError> {
        let stderr = File::create(&errors).map_err(BenchError::file(&errors, "create it"))?;
        // The death signal comes when the thread that forked ends: only the main thread may start processes.
        let mut guarded = Command::new("setpriv");
        guarded
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = guarded.spawn().map_err(|error| BenchError::Peer {
            peer: name,
            what: format!("cannot be started (is setpriv of util-linux there?): {error}"),
        })?;
        let output = child.stdout.take().expect("stdout was asked for");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, child, lines, errors })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of stdout; those before it are passed over.
    pub(crate) fn await_line(
        &mut self,
        what: &str,
        timeout: Duration,
        accept: impl Fn(&str) -> bool,
    ) -> Result<String, BenchError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if accept(&line) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failed(format!("does not say {what} within {timeout:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed(format!("ended before it said {what}")));
                }
            }
        }
    }

    /// Writes a line to its stdin.
    pub(crate) fn tell(&mut self, command: &str) -> Result<(), BenchError> {
        let stdin = self.child.stdin.as_mut().expect("stdin was asked for");
        let written = writeln!(stdin, "{command}");
        written.map_err(|error| self.failed(format!("does not take \"{command}\": {error}")))
    }

    /// Writes a line to its stdin and waits for the answer that begins like this.
    pub(crate) fn ask(
        &mut self,
        command: &str,
        answer: &str,
        timeout: Duration,
    ) -> Result<String, BenchError> {
        self.tell(command)?;
        self.await_line(answer, timeout, |line| line.starts_with(answer))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), BenchError> {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let status = Command::new("kill").args([name, &self.pid().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.failed(format!("cannot be sent {signal:?}"))),
        }
    }

    /// Kills it, and returns at once.
    pub(crate) fn kill(&mut self) -> Result<(), BenchError> {
        self.child.kill().map_err(BenchError::io("kill a child"))
    }

    /// Ends it in order; killed when that takes too long.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        self.signal(Signal::Terminate)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if self.child.try_wait().map_err(BenchError::io("wait for a child"))?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(self.failed(format!("does not end within {STOP_TIMEOUT:?}")))
    }

    fn failed(&self, what: String) -> BenchError {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let lines: Vec<&str> = errors.lines().collect();
        let tail = lines[lines.len().saturating_sub(ERROR_LINES_SHOWN)..].join("\n");
        BenchError::Peer {
            peer: self.name,
            what: if tail.is_empty() { what } else { format!("{what}\n{tail}") },
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process so far, all its threads, the ended ones too.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let stat = read(&path)?;
    // The name in brackets may hold spaces; behind it come state and the fields from the fourth on.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    match (ticks.next(), ticks.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(Duration::from_millis((user + system) * MILLIS_PER_TICK)),
        _ => Err(BenchError::Run(format!("{}: no times in \"{stat}\"", path.display()))),
    }
}

/// Anonymous memory of a process that is in RAM, in bytes.
pub(crate) fn anonymous_memory(pid: u32) -> Result<u64, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status = read(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| BenchError::Run(format!("{}: no RssAnon", path.display())))
}

fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(BenchError::file(path, "read it"))
}

/// Linux shows times in hundredths of a second (USER_HZ), whatever its own clock.
const MILLIS_PER_TICK: u64 = 10;
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const ERROR_LINES_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn cat() -> (tempfile::TempDir, Process) {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::spawn("cat", &Command::new("cat"), directory.path().join("errors")).unwrap();
        (directory, process)
    }

    #[test]
    fn an_answer_is_found_behind_other_lines() {
        let (_directory, mut cat) = cat();
        let answer = cat.ask("first\nlag 7", "lag", Duration::from_secs(10)).unwrap();
        assert_eq!(answer, "lag 7");
        assert!(cat.ask("other", "lag", Duration::from_millis(50)).is_err());
        cat.stop().unwrap();
    }

    #[test]
    fn what_a_process_used_is_read_from_the_system() {
        let me = std::process::id();
        let before = cpu_time(me).unwrap();
        let begun = Instant::now();
        while cpu_time(me).unwrap() < before + Duration::from_millis(50) {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        assert!(anonymous_memory(me).unwrap() > 100_000);
    }
}
