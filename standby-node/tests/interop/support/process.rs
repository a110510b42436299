//! A child process whose lines are read as they come, and which never outlives the test.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// A running or ended child. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    pid: u32,
    lines: Arc<Lines>,
}

impl Process {
    /// Starts the command with its stdout read line by line and both outputs copied to `log`.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub(crate) fn spawn(name: &str, command: &Command, log: &Path) -> Self {
        let mut guarded = Command::new("setpriv");
        guarded
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(key, value),
                None => guarded.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            guarded.current_dir(dir);
        }
        let mut child = spawn_on_lasting_thread(guarded)
            .unwrap_or_else(|error| panic!("cannot start {name} (is setpriv of util-linux there?): {error}"));

        let file = File::options().create(true).append(true).open(log);
        let file = Arc::new(Mutex::new(file.expect("the log file cannot be opened")));
        let lines = Arc::new(Lines::default());
        read_lines(child.stdout.take(), Arc::clone(&file), Some(Arc::clone(&lines)));
        read_lines(child.stderr.take(), file, None);
        Self { name: name.to_owned(), pid: child.id(), child: Mutex::new(child), lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The lines of stdout so far, also after the end.
    pub(crate) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.lines)
    }

    /// Waits for the first line of stdout from index `from` on that the predicate takes.
    ///
    /// # Errors
    /// When the time is over or stdout ended without it; the text tells what was expected and the last lines.
    pub(crate) fn await_line(
        &self,
        from: usize,
        timeout: Duration,
        what: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Result<String, String> {
        self.lines.wait(from, timeout, accept).map_err(|tail| {
            format!("{}: no line with {what} within {timeout:?}; last lines:\n{tail}", self.name)
        })
    }

    /// Writes a line to stdin.
    pub(crate) fn write_line(&self, line: &str) {
        let mut child = self.child.lock().expect("child lock");
        let stdin = child.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the process reads no more");
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// The exit status if the process has ended.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().expect("child lock").try_wait().expect("waiting for a child of ours")
    }

    /// Waits for the end; `None` when it does not come in time.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                self.lines.await_end();
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by name, for example `STOP`. An ended process is left alone.
    pub(crate) fn signal(&self, name: &str) {
        // The child is only reaped under this lock, so its pid cannot belong to another process meanwhile.
        let mut child = self.child.lock().expect("child lock");
        if child.try_wait().expect("waiting for a child of ours").is_none() {
            let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
            assert!(status.expect("kill of procps or util-linux").success(), "kill -{name} {}", self.pid);
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&self) {
        {
            let mut child = self.child.lock().expect("child lock");
            let _ = child.kill();
            let _ = child.wait();
        }
        self.lines.await_end();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines that a process printed.
#[derive(Default)]
pub(crate) struct Lines {
    state: Mutex<LinesState>,
    changed: Condvar,
}

#[derive(Default)]
struct LinesState {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub(crate) fn count(&self) -> usize {
        self.state.lock().expect("lines lock").lines.len()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.state.lock().expect("lines lock").lines.clone()
    }

    /// The newest line that `find` makes something of.
    pub(crate) fn last_map<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let state = self.state.lock().expect("lines lock");
        state.lines.iter().rev().find_map(|line| find(line))
    }

    fn push(&self, line: String) {
        self.state.lock().expect("lines lock").lines.push(line);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().expect("lines lock").ended = true;
        self.changed.notify_all();
    }

    /// Waits until stdout is read to its end, at most a second: a grandchild could hold it open.
    fn await_end(&self) {
        let state = self.state.lock().expect("lines lock");
        let _ = self.changed.wait_timeout_while(state, Duration::from_secs(1), |state| !state.ended);
    }

    fn wait(&self, from: usize, timeout: Duration, accept: impl Fn(&str) -> bool) -> Result<String, String> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock().expect("lines lock");
        let mut at = from;
        loop {
            while at < state.lines.len() {
                if accept(&state.lines[at]) {
                    return Ok(state.lines[at].clone());
                }
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let tail = state.lines.len().saturating_sub(20);
                return Err(state.lines[tail..].join("\n"));
            }
            state = self.changed.wait_timeout(state, left).expect("lines lock").0;
        }
    }
}

fn read_lines(pipe: Option<impl Read + Send + 'static>, log: Arc<Mutex<File>>, lines: Option<Arc<Lines>>) {
    let reader = BufReader::new(pipe.expect("the pipe was asked for"));
    thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            let _ = writeln!(log.lock().expect("log lock"), "{line}");
            if let Some(lines) = &lines {
                lines.push(line);
            }
        }
        if let Some(lines) = lines {
            lines.end();
        }
    });
}

type SpawnRequest = (Command, Sender<io::Result<Child>>);

/// The death signal comes when the *thread* that forked ends, so one thread that lasts forks for all.
fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<SpawnRequest>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<SpawnRequest>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    spawner.lock().expect("spawner lock").send((command, reply)).expect("the spawner lasts");
    answer.recv().expect("the spawner answers")
}
