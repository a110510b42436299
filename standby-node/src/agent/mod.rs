//! Roles that a thread can run: duty cycle, runner, idle strategies, and each agent in a file of its own.

pub mod archive;
pub mod backlog;
pub mod conductor;
pub mod egress_ring;
pub mod emission_ring;
pub mod fence;
mod fetched_snapshots;
pub mod idle;
pub mod leading;
pub mod log_ring;
mod lookups;
pub mod module_follower;
pub mod receiver;
pub mod replica_module;
pub mod runner;
pub mod service;
pub mod service_snapshots;
pub mod snapshot;
pub mod snapshot_control;
pub mod snapshot_marks;
pub mod snapshot_part;
pub mod snapshot_schedule;
pub mod snapshot_stream;
pub mod storage;
pub mod syncer;
pub mod throttle;

use std::error::Error;

use crate::sys::readiness::Readiness;

/// Why an agent cannot go on. Any error converts into it with `?`; what a peer or the network does wrong is
/// no such reason.
pub type AgentError = Box<dyn Error + Send + Sync>;

/// One role, driven by one thread in small steps. Built on any thread, it lives on the runner's from
/// [`on_start`](Self::on_start) on.
pub trait Agent {
    /// Names the role in errors, counters and thread lists, such as `receiver`.
    fn name(&self) -> &str;

    /// Called once before the first duty cycle. May allocate and wait.
    ///
    /// # Errors
    ///
    /// Any error stops the node; [`on_close`](Self::on_close) is not called.
    fn on_start(&mut self) -> Result<(), AgentError> {
        Ok(())
    }

    /// One duty cycle: does a bounded amount of whatever is ready and returns how many things were done; 0
    /// lets the thread idle. `now_ns` is the monotonic clock, read once for the cycle. Neither blocks nor
    /// allocates nor logs nor reads a clock.
    ///
    /// # Errors
    ///
    /// Any error stops the node: only what makes going on pointless or harmful.
    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError>;

    /// Whether the agent is so far behind that what arrives next may wait a moment until more has arrived. Asked
    /// after a duty cycle without work.
    fn is_catching_up(&self) -> bool {
        false
    }

    /// Adds what the next duty cycle would receive from: a datagram there ends the sleep of an idle thread.
    /// Asked before each sleep.
    fn sleep_at(&self, readiness: &mut Readiness) {
        let _ = readiness;
    }

    /// Called once after the last duty cycle, also after one that failed, unless the agent panicked.
    fn on_close(&mut self) {}

    /// Name of the agent whose code ran last, for the report of an error or a panic. A composite names its
    /// member.
    fn running_name(&self) -> &str {
        self.name()
    }

    /// Log position up to which the agent whose code ran last has applied the log, if it applies it: what came next
    /// is what it failed at. Asked for after a panic, too.
    fn running_position(&self) -> Option<i64> {
        None
    }
}

/// Several agents on one thread, one duty cycle of each after the other.
#[allow(missing_debug_implementations, reason = "agents need not be printable")]
pub struct CompositeAgent {
    name: String,
    agents: Vec<Box<dyn Agent + Send>>,
    /// How many agents have started: those are closed.
    started: usize,
    running: usize,
}

impl CompositeAgent {
    /// The given agents in the given order; closed in the reverse one.
    ///
    /// # Panics
    ///
    /// If `agents` is empty.
    pub fn new(agents: Vec<Box<dyn Agent + Send>>) -> Self {
        assert!(!agents.is_empty(), "a thread without a role would only idle");
        let names: Vec<&str> = agents.iter().map(|agent| agent.name()).collect();
        Self { name: names.join("+"), agents, started: 0, running: 0 }
    }

    fn close_started(&mut self) {
        for index in (0..std::mem::take(&mut self.started)).rev() {
            self.running = index;
            self.agents[index].on_close();
        }
    }
}

impl Agent for CompositeAgent {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_start(&mut self) -> Result<(), AgentError> {
        for index in 0..self.agents.len() {
            self.running = index;
            if let Err(error) = self.agents[index].on_start() {
                self.close_started();
                self.running = index;
                return Err(error);
            }
            self.started = index + 1;
        }
        Ok(())
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        for (index, agent) in self.agents.iter_mut().enumerate() {
            self.running = index;
            work += agent.do_work(now_ns)?;
        }
        Ok(work)
    }

    fn is_catching_up(&self) -> bool {
        self.agents.iter().any(|agent| agent.is_catching_up())
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        self.agents.iter().for_each(|agent| agent.sleep_at(readiness));
    }

    fn on_close(&mut self) {
        self.close_started();
    }

    fn running_name(&self) -> &str {
        self.agents[self.running].running_name()
    }

    fn running_position(&self) -> Option<i64> {
        self.agents[self.running].running_position()
    }
}

impl<A: Agent + ?Sized> Agent for Box<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn on_start(&mut self) -> Result<(), AgentError> {
        (**self).on_start()
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        (**self).do_work(now_ns)
    }

    fn is_catching_up(&self) -> bool {
        (**self).is_catching_up()
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        (**self).sleep_at(readiness);
    }

    fn on_close(&mut self) {
        (**self).on_close();
    }

    fn running_name(&self) -> &str {
        (**self).running_name()
    }

    fn running_position(&self) -> Option<i64> {
        (**self).running_position()
    }
}
