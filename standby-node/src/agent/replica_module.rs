//! The module follower of a replica: its only use is its part of snapshots.

use rtrb::Consumer;

use super::module_follower::ModuleFollower;
use super::{Agent, AgentError};
use crate::service_start::ModuleStart;

/// Follows behind the replica's services.
#[derive(Debug)]
pub struct ReplicaModule {
    follower: ModuleFollower,
    starts: Consumer<ModuleStart>,
}

impl ReplicaModule {
    /// An agent that waits for its start.
    pub fn new(follower: ModuleFollower, starts: Consumer<ModuleStart>) -> Self {
        Self { follower, starts }
    }
}

impl Agent for ReplicaModule {
    fn name(&self) -> &str {
        "replica-module"
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        if let Ok(ModuleStart { state, log_reader, log_recording }) = self.starts.pop() {
            self.follower.start(state, log_reader, log_recording);
        }
        let work = self.follower.do_work()?;
        // recording.log is the conductor's.
        self.follower.drain_terms().for_each(drop);
        Ok(work)
    }
}
