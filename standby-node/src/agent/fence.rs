//! The operator's hook that makes sure that nobody else serves: a command, run beside everything else.
//!
//! It is started and looked at, never waited for. Its output goes to a file, whose end is told to the
//! operator; a pipe that nobody reads would hold the command up. What does not end in time is killed with all that it
//! has started.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::sys::process_group::ProcessGroup;

/// What is told of the output at most.
const OUTPUT_TOLD_LENGTH: u64 = 2048;

/// A fence that is to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FenceOrder {
    /// For the shell.
    pub command: String,
    /// What the command finds in its environment.
    pub environment: Vec<(&'static str, String)>,
    /// Where its output goes.
    pub output: PathBuf,
    /// How long it may take.
    pub timeout_ns: u64,
}

/// A fence on its way.
#[derive(Debug)]
pub struct Fence {
    process: ProcessGroup,
    order: FenceOrder,
    deadline_ns: u64,
}

impl Fence {
    /// Starts the command.
    ///
    /// # Errors
    /// In words.
    pub fn start(order: FenceOrder, now_ns: u64) -> Result<Self, String> {
        let deadline_ns = now_ns.saturating_add(order.timeout_ns);
        match spawn(&order) {
            Ok(process) => Ok(Self { process, order, deadline_ns }),
            Err(error) => Err(format!("fence `{}` could not be started: {error}", order.command)),
        }
    }

    /// How it ended, once it has: in order, or not, in words. The end of what it printed is logged either
    /// way.
    pub fn poll(&mut self, now_ns: u64) -> Option<Result<(), String>> {
        let ended = match self.process.leader().try_wait() {
            Ok(None) if now_ns < self.deadline_ns => return None,
            Ok(None) => {
                let seconds = self.order.timeout_ns as f64 / 1e9;
                self.end();
                Err(format!("fence `{}` did not end within {seconds} s and was killed", self.order.command))
            }
            Ok(Some(status)) => self.judge(status),
            Err(error) => Err(format!("fence `{}` cannot be waited for: {error}", self.order.command)),
        };
        let output = told(&self.order.output).unwrap_or_else(|error| format!("({error})"));
        match &ended {
            Ok(()) => tracing::info!(output, "the fence succeeded"),
            Err(reason) => tracing::error!(output, "{reason}"),
        }
        Some(ended)
    }

    fn judge(&self, status: ExitStatus) -> Result<(), String> {
        let Self { order: FenceOrder { command, output, .. }, .. } = self;
        if status.success() {
            return Ok(());
        }
        Err(format!("fence `{command}` failed ({status}); its output is in {}", output.display()))
    }

    fn end(&mut self) {
        // With what it has started: a part of it that comes late must not fence who serves by then.
        if let Err(error) = self.process.kill() {
            tracing::warn!(%error, "the fence could not be killed");
        }
    }
}

fn spawn(order: &FenceOrder) -> io::Result<ProcessGroup> {
    let output = File::create(&order.output)?;
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(&order.command)
        .envs(order.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    ProcessGroup::spawn(&mut command)
}

/// The end of what was printed.
fn told(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_TOLD_LENGTH)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_TOLD_LENGTH).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(command: &str, timeout_ns: u64) -> (Result<(), String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let order = FenceOrder {
            command: command.to_owned(),
            environment: vec![("STANDBY_LOG_POSITION", "4096".to_owned())],
            output: dir.path().join("fence-output.txt"),
            timeout_ns,
        };
        let output = order.output.clone();
        let mut fence = Fence::start(order, 0).unwrap();
        for now_ns in (0..).step_by(10_000_000) {
            if let Some(ended) = fence.poll(now_ns) {
                return (ended, told(&output).unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("it ends or is killed")
    }

    #[test]
    fn a_command_that_succeeds_is_a_fence_and_is_told_where_the_log_ends() {
        let (ended, output) = run("echo fenced at $STANDBY_LOG_POSITION", 10_000_000_000);
        assert_eq!((ended, output.as_str()), (Ok(()), "fenced at 4096"));
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_none() {
        let (ended, output) = run("echo no >&2; exit 3", 10_000_000_000);
        assert!(ended.unwrap_err().contains("3") && output == "no");
        let (ended, _) = run("sleep 60; true", 50_000_000);
        assert!(ended.unwrap_err().contains("did not end within 0.05 s"));
    }

    #[test]
    fn a_fence_that_cannot_be_started_is_refused_in_words() {
        let order = FenceOrder {
            command: "true".to_owned(),
            environment: Vec::new(),
            output: PathBuf::from("/nowhere/at/all"),
            timeout_ns: 1,
        };
        assert!(Fence::start(order, 0).unwrap_err().contains("could not be started"));
    }
}
