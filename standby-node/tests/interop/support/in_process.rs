//! Our node within the test process, as a user's own binary embeds it: for services that the shipped binary does
//! not host, and for what only the library tells.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use consensus_tap::module::ConsensusModuleState;
use standby_node::audit::Audit;
use standby_node::config::{Layout, NodeConfig, Settings};
use standby_node::sys::clock;
use standby_node::{NodeHandle, launch};

use super::audit_log::AuditLog;
use super::burst_audit::BurstAudit;
use super::cluster::Cluster;

/// A running node with one [`BurstAudit`].
pub(crate) struct InProcess {
    name: String,
    handle: NodeHandle,
    output: Output,
}

impl InProcess {
    /// Starts a node beside a cluster, told of every member.
    ///
    /// # Panics
    /// If it does not start.
    pub(crate) fn follow(cluster: &Cluster, name: &str, layout: Layout) -> Self {
        let settings = Settings {
            dir: Some(cluster.scratch().data(name)),
            host: Some("localhost".to_owned()),
            consensus_endpoints: Some(cluster.consensus_endpoints().split(',').map(str::to_owned).collect()),
            layout: Some(layout),
            // Spinning would take the members' cores.
            idle: Some("backoff".parse().expect("a strategy")),
            ..Settings::default()
        };
        let config = NodeConfig::new(settings, 2).unwrap_or_else(|error| panic!("{error}"));
        let output = Output::default();
        let printed = output.clone();
        let handle = launch(config, move |_, _| {
            let audit = Audit::new(clock::monotonic_ns).with_output(Box::new(printed.clone()));
            Ok(Box::new(BurstAudit(audit)))
        });
        let handle = handle.unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), handle, output }
    }

    /// The consensus module's state, if there is one.
    pub(crate) fn module_state(&self) -> Option<ConsensusModuleState> {
        self.handle.module_state()
    }

    /// Waits for a module state as wanted. The module is never ahead of a service.
    ///
    /// # Panics
    /// If it does not come to be.
    pub(crate) fn await_module(
        &self,
        what: &str,
        timeout: Duration,
        accept: impl Fn(&ConsensusModuleState) -> bool,
    ) -> ConsensusModuleState {
        let deadline = Instant::now() + timeout;
        loop {
            let state = self.module_state();
            let position = state.as_ref().map(ConsensusModuleState::log_position);
            if let Some(state) = state.filter(&accept) {
                return state;
            }
            assert!(!self.handle.has_failed(), "{} has ended by itself", self.name);
            assert!(
                Instant::now() < deadline,
                "{} is not {what} within {timeout:?}, it is at position {position:?}",
                self.name
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the node, and returns what its service printed.
    ///
    /// # Panics
    /// If it ended by itself, or with an error.
    pub(crate) fn stop(self) -> AuditLog {
        self.handle.stop().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let text = self.output.0.lock().expect("output lock");
        AuditLog::collect(&self.name, String::from_utf8_lossy(&text).lines())
    }
}

/// What a service prints, shared with its reader.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("output lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
