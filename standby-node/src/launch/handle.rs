//! Whoever holds a running node.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use consensus_tap::module::ConsensusModuleState;

use crate::agent::conductor::{ModuleStateRequest, StopWish};
use crate::agent::runner::RunnerError;
use crate::store::directory::NodeDirectory;
use crate::topology::Threads;

/// A running node. [`stop`](Self::stop) ends it in order and says how it went; dropping it ends it as well and waits
/// for that, so that its directory is free for another afterwards.
#[derive(Debug)]
pub struct NodeHandle {
    pub(super) threads: Threads,
    pub(super) aeron_dir: PathBuf,
    pub(super) module_states: mpsc::Sender<ModuleStateRequest>,
    pub(super) stop: StopWish,
    /// Held so that no other node runs in the directory: until the threads have ended, for fields are dropped in order.
    pub(super) _directory: NodeDirectory,
}

impl NodeHandle {
    /// Where this node's cnc.dat is.
    pub fn aeron_dir(&self) -> &std::path::Path {
        &self.aeron_dir
    }

    /// A copy of the consensus module's state: what a snapshot at its log position would hold. `None` until the log
    /// is being read, and once the node has ended. Waits for the conductor's next duty cycle.
    pub fn module_state(&self) -> Option<ConsensusModuleState> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.module_states.send(reply).ok()?;
        // A conductor that ends drops the requests it has not answered, which ends this wait.
        answer.recv().ok().flatten()
    }

    /// Whether the node has ended by itself: [`stop`](Self::stop) says why.
    pub fn has_failed(&self) -> bool {
        self.threads.any_finished()
    }

    /// Whether an operator has asked the cluster to end, and all that this takes is done: [`stop`](Self::stop) is all
    /// that is left.
    pub fn wants_to_stop(&self) -> bool {
        self.stop.is_wished()
    }

    /// Ends the node in order: the sources are left, what is recorded is applied, files are closed.
    ///
    /// # Errors
    /// What ended an agent before its time.
    pub fn stop(self) -> Result<(), RunnerError> {
        self.threads.stop()
    }

    /// Waits until `should_stop` says so, the node wants to stop or it fails, looking ten times a second, and ends it.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn run_until(self, mut should_stop: impl FnMut() -> bool) -> Result<(), RunnerError> {
        while !should_stop() && !self.wants_to_stop() && !self.has_failed() {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.stop()
    }
}
