//! A thread that runs one agent: duty cycle after duty cycle, until told to stop or until the agent fails.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use super::idle::{IdleStrategy, Idler};
use super::{Agent, AgentError};
use crate::status::CycleGauges;
use crate::sys::affinity::{self, AffinityError};
use crate::sys::clock;
use crate::sys::readiness::Readiness;

/// A running agent. Dropping it leaves the thread running; [`join`](Self::join) waits for its end.
#[derive(Debug)]
pub struct AgentRunner {
    thread: JoinHandle<Result<(), RunnerError>>,
    thread_name: String,
    stop: StopFlag,
    cycle_times: Arc<CycleTimes>,
}

/// How a runner's thread is set up.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// The thread's name. Tools show its first 15 bytes.
    pub thread_name: String,
    /// The core to pin the thread to.
    pub core: Option<usize>,
    /// What the thread does when there is no work.
    pub idle: IdleStrategy,
    /// A cycle that takes longer counts as a stall.
    pub cycle_threshold: Duration,
    /// Where others see how long cycles take: one for each role of the thread that has such counters.
    pub cycle_gauges: Vec<CycleGauges>,
}

/// One flag that all runners of a node share: whoever sets it stops all of them, and a runner whose agent
/// fails sets it.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    stopped: Arc<AtomicBool>,
}

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every runner to end after its current duty cycle. Safe to call from a signal handler.
    pub fn stop(&self) {
        // Pairs with the Acquire load in `is_stopped`: who sees the flag sees what was done before it.
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the node is to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// How long duty cycles took, idling included: what a peer may have had to wait for an answer. Written by the
/// runner's thread, read by any.
#[derive(Debug)]
pub struct CycleTimes {
    threshold_ns: u64,
    max_ns: AtomicU64,
    threshold_exceeded_count: AtomicU64,
    gauges: Vec<CycleGauges>,
}

impl CycleTimes {
    /// Nothing measured yet. What is measured is shown by `gauges` too.
    pub fn new(threshold: Duration, gauges: Vec<CycleGauges>) -> Self {
        let threshold_ns = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        Self { threshold_ns, max_ns: AtomicU64::new(0), threshold_exceeded_count: AtomicU64::new(0), gauges }
    }

    /// Longest cycle so far, in nanoseconds.
    pub fn max_ns(&self) -> u64 {
        self.max_ns.load(Ordering::Relaxed)
    }

    /// How many cycles took longer than [`threshold_ns`](Self::threshold_ns).
    pub fn threshold_exceeded_count(&self) -> u64 {
        self.threshold_exceeded_count.load(Ordering::Relaxed)
    }

    /// From which length on a cycle counts as a stall, in nanoseconds.
    pub fn threshold_ns(&self) -> u64 {
        self.threshold_ns
    }

    // One thread writes, so load and store need not be one step.
    fn record(&self, cycle_ns: u64) {
        if cycle_ns > self.max_ns() {
            self.max_ns.store(cycle_ns, Ordering::Relaxed);
            self.gauges.iter().for_each(|gauges| gauges.max_ns.set_ordered(cycle_ns as i64));
        }
        if cycle_ns > self.threshold_ns {
            self.threshold_exceeded_count.store(self.threshold_exceeded_count() + 1, Ordering::Relaxed);
            self.gauges.iter().for_each(|gauges| gauges.exceeded_count.add_ordered(1));
        }
    }
}

/// Why a runner ended before it was told to. The whole node stops with it.
#[derive(Debug, Error)]
pub enum RunnerError {
    /// The system gave no thread.
    #[error("thread {thread}: could not be started: {source}; look at `ulimit -u` and at free memory")]
    Spawn {
        /// The thread's name.
        thread: String,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be pinned.
    #[error("thread {thread}: {source}")]
    Pin {
        /// The thread's name.
        thread: String,
        /// Which core, and which there are.
        source: AffinityError,
    },
    /// The agent could not start.
    #[error("agent {agent} could not start: {source}")]
    Start {
        /// The agent's name; inside a composite, the member's.
        agent: String,
        /// What it said.
        source: AgentError,
    },
    /// A duty cycle failed.
    #[error("agent {agent} failed: {source}")]
    Failed {
        /// The agent's name; inside a composite, the member's.
        agent: String,
        /// What it said.
        source: AgentError,
    },
    /// The agent's code broke one of its own rules. This is a bug of ours or of the hosted service.
    #[error("agent {agent} panicked{}: {message}", behind(*position))]
    Panicked {
        /// The agent's name; inside a composite, the member's.
        agent: String,
        /// Log position up to which it had applied the log, if it applies it.
        position: Option<i64>,
        /// The panic's message.
        message: String,
    },
}

fn behind(position: Option<i64>) -> String {
    position.map(|position| format!(" at what comes behind log position {position}")).unwrap_or_default()
}

impl AgentRunner {
    /// Starts a thread that runs `agent` until `stop` is set.
    ///
    /// # Errors
    ///
    /// [`RunnerError::Spawn`]; everything later is reported by [`join`](Self::join).
    pub fn start(
        mut config: RunnerConfig,
        agent: impl Agent + Send + 'static,
        stop: StopFlag,
    ) -> Result<Self, RunnerError> {
        let gauges = std::mem::take(&mut config.cycle_gauges);
        let cycle_times = Arc::new(CycleTimes::new(config.cycle_threshold, gauges));
        let thread_name = config.thread_name.clone();
        let thread = thread::Builder::new()
            .name(thread_name.clone())
            .spawn({
                let (cycle_times, stop) = (Arc::clone(&cycle_times), stop.clone());
                move || {
                    // However this thread ends, the others must not go on without it.
                    let _stop_all = StopOnDrop(stop.clone());
                    run(&config, agent, &stop, &cycle_times)
                }
            })
            .map_err(|source| RunnerError::Spawn { thread: thread_name.clone(), source })?;
        Ok(Self { thread, thread_name, stop, cycle_times })
    }

    /// The thread's name.
    pub fn thread_name(&self) -> &str {
        &self.thread_name
    }

    /// How long its duty cycles take. Stays readable after the runner's end.
    pub fn cycle_times(&self) -> &Arc<CycleTimes> {
        &self.cycle_times
    }

    /// Whether the thread has ended: [`join`](Self::join) will not wait.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sets the stop flag that this runner shares with all others, and wakes its thread, unless that sleeps
    /// at a socket.
    pub fn stop(&self) {
        self.stop.stop();
        self.thread.thread().unpark();
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    ///
    /// Why it ended, if not by the stop flag.
    pub fn join(self) -> Result<(), RunnerError> {
        self.thread.join().unwrap_or_else(|payload| {
            // `run` catches what agents throw; this one panicked while its result was being dropped.
            let message = panic_message(payload.as_ref());
            Err(RunnerError::Panicked { agent: self.thread_name, position: None, message })
        })
    }
}

struct StopOnDrop(StopFlag);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn run(
    config: &RunnerConfig,
    mut agent: impl Agent,
    stop: &StopFlag,
    cycle_times: &CycleTimes,
) -> Result<(), RunnerError> {
    if let Some(core) = config.core {
        affinity::pin_current_thread(core)
            .map_err(|source| RunnerError::Pin { thread: config.thread_name.clone(), source })?;
    }
    // After a panic nothing but name and position is read from the agent: it is not closed, for it may be in any
    // state. What it left in files must be as usable as after a kill of the process, which it has to be anyway.
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        run_cycles(&mut agent, Idler::new(config.idle), stop, cycle_times)
    }));
    caught.unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref());
        let position = agent.running_position();
        Err(RunnerError::Panicked { agent: agent.running_name().to_owned(), position, message })
    })
}

fn run_cycles(
    agent: &mut impl Agent,
    mut idler: Idler,
    stop: &StopFlag,
    cycle_times: &CycleTimes,
) -> Result<(), RunnerError> {
    if let Err(source) = agent.on_start() {
        return Err(RunnerError::Start { agent: agent.running_name().to_owned(), source });
    }
    let mut result = Ok(());
    let mut sleeper = Sleeper::default();
    let mut last_ns = clock::monotonic_ns();
    while !stop.is_stopped() {
        let now_ns = clock::monotonic_ns();
        cycle_times.record(now_ns - last_ns);
        last_ns = now_ns;
        match agent.do_work(now_ns) {
            Ok(0) if agent.is_catching_up() => idler.gather(),
            Ok(0) => idler.idle_until_woken(|timeout| sleeper.sleep(agent, timeout)),
            Ok(work_count) => {
                idler.idle(work_count);
                sleeper = Sleeper { is_woken: false, ..sleeper };
            }
            Err(source) => {
                result = Err(RunnerError::Failed { agent: agent.running_name().to_owned(), source });
                break;
            }
        }
    }
    // The other runners stop while this one closes, not after.
    stop.stop();
    agent.on_close();
    result
}

/// How a thread sleeps that a datagram is to wake.
#[derive(Debug, Default)]
struct Sleeper {
    readiness: Readiness,
    /// Something woke it, and there has been no work since.
    is_woken: bool,
}

impl Sleeper {
    fn sleep(&mut self, agent: &impl Agent, timeout: Duration) {
        self.readiness.clear();
        // What a cycle has not taken would wake it again and again.
        if !std::mem::take(&mut self.is_woken) {
            agent.sleep_at(&mut self.readiness);
        }
        if self.readiness.is_empty() {
            thread::park_timeout(timeout);
        } else {
            self.is_woken = self.readiness.wait(timeout);
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
