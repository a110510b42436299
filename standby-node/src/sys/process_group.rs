//! A child process with all that it starts: a group of its own, which ends as one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// A child that leads a process group. What it starts belongs to the group unless it leaves it by itself.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Child,
}

impl ProcessGroup {
    /// Starts `command` in a group of its own.
    ///
    /// # Errors
    /// Those of the system.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { leader: command.process_group(0).spawn()? })
    }

    /// The child that was started.
    pub fn leader(&mut self) -> &mut Child {
        &mut self.leader
    }

    /// Kills the child and all of its group, and waits for the child. Nothing when it has been waited for already: its
    /// id may be somebody else's by now.
    ///
    /// # Errors
    /// Those of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.leader.try_wait()?.is_some() {
            return Ok(());
        }
        let id = libc::pid_t::try_from(self.leader.id()).expect("a process id is a pid_t");
        // SAFETY: `killpg` takes no pointer. The group is the child's: `spawn` made the child its leader, and no other
        // group can have this id while the child has not been waited for, which `try_wait` has just said.
        let killed = unsafe { libc::killpg(id, libc::SIGKILL) };
        if killed != 0 {
            return Err(io::Error::last_os_error());
        }
        self.leader.wait().map(drop)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn is_running(id: i32) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
        // What nobody has waited for yet has ended all the same.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[test]
    fn what_a_child_has_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let mut group = ProcessGroup::spawn(Command::new("/bin/sh").arg("-c").arg(script)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !file.exists() {
            assert!(Instant::now() < deadline, "the child does nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(is_running(id));
        group.kill().unwrap();
        while is_running(id) {
            assert!(Instant::now() < deadline, "{id} goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        group.kill().unwrap();
        assert!(group.leader().try_wait().unwrap().is_some());
    }
}
