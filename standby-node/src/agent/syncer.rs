//! Makes the log durable, on a thread that waits for nothing but the disk.
//!
//! Between two syncs it sleeps, or until somebody wakes it who waits for one: then all that was recorded
//! meanwhile becomes durable at once.

use std::time::Duration;

use rtrb::{Consumer, Producer};

use super::{Agent, AgentError};
use crate::store::counters::Counter;
use crate::store::durability::DurabilityFile;
use crate::store::recording_syncer::RecordingSyncer;
use crate::store::sync_watch::SyncWatch;
use crate::store::tail_watch::TailWatch;

/// What it takes to make a log durable.
#[derive(Debug)]
pub struct SyncedLog {
    /// Makes it durable.
    pub syncer: RecordingSyncer,
    /// Remembers how far.
    pub durability: DurabilityFile,
    /// Whether the files hold more than is recorded.
    pub tail: TailWatch,
}

impl SyncedLog {
    /// Makes what is recorded durable, and returns how far it is.
    ///
    /// # Errors
    /// Why it could not, in words; the log cannot be made durable any more then.
    pub fn sync(&mut self) -> Result<i64, String> {
        self.try_sync().inspect_err(|_| {
            if let Err(error) = self.durability.distrust() {
                tracing::warn!(%error, "the next start may trust what this disk has lost");
            }
        })
    }

    /// Two syncs, and neither can be left out. Without the first the mark would vouch for what is not there.
    /// Without the second a power cut would take the mark back though the data is there: frames carry no
    /// checksum, so behind the mark a page of old bytes looks like one that was written, and the next start
    /// believes none of them but what a source sends again. Who leads has no source: it would lose what it
    /// had promised to clients. One sync would do if a mark bore a checksum of what it vouches for.
    fn try_sync(&mut self) -> Result<i64, String> {
        let position = self.syncer.sync().map_err(|error| error.to_string())?;
        let recording_id = self.syncer.recording_id();
        let has_tail = position < self.tail.end();
        self.durability.mark(recording_id, position, has_tail).map_err(|error| error.to_string())?;
        if !has_tail {
            self.tail.settle();
        }
        Ok(position)
    }
}

/// The syncer.
#[derive(Debug)]
pub struct Syncer {
    logs: Consumer<Box<SyncedLog>>,
    failures: Producer<String>,
    log: Option<Box<SyncedLog>>,
    watch: SyncWatch,
    durable_position: Counter,
    /// 0 for "as soon as something is recorded".
    interval_ns: u64,
    due_ns: u64,
}

impl Syncer {
    /// An agent that syncs the log it is given every `interval`, or at once with `None`, and shows how far it
    /// is by `watch` and `durable_position`. It tells one failure, and syncs nothing any more.
    pub fn new(
        logs: Consumer<Box<SyncedLog>>,
        failures: Producer<String>,
        watch: SyncWatch,
        durable_position: Counter,
        interval: Option<Duration>,
    ) -> Self {
        let interval_ns = interval.map_or(0, |interval| interval.as_nanos() as u64);
        Self { logs, failures, log: None, watch, durable_position, interval_ns, due_ns: 0 }
    }

    /// Syncs what was recorded, and returns 1 if that was anything.
    fn sync(&mut self) -> usize {
        let Some(log) = self.log.as_mut() else { return 0 };
        match log.sync() {
            Ok(position) => {
                let before = self.watch.durable_position();
                self.watch.set_durable_position(position);
                self.durable_position.set_ordered(position);
                usize::from(position > before)
            }
            Err(reason) => {
                self.log = None;
                // One log, one failure; the ring has room for it.
                let _ = self.failures.push(reason);
                0
            }
        }
    }
}

impl Agent for Syncer {
    fn name(&self) -> &str {
        "syncer"
    }

    fn on_start(&mut self) -> Result<(), AgentError> {
        self.watch.set_syncing_thread();
        Ok(())
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        if let Ok(log) = self.logs.pop() {
            self.log = Some(log);
        }
        if now_ns < self.due_ns {
            return Ok(0);
        }
        self.due_ns = now_ns + self.interval_ns;
        Ok(self.sync())
    }

    /// A clean end leaves everything on the disk.
    fn on_close(&mut self) {
        self.sync();
    }
}
