//! Drives one service with the recorded log, where it lies.

use std::fmt;
use std::ops::ControlFlow;

use consensus_tap::codec::log::LogEvent;
use consensus_tap::log::{LogReader, PollLimits};
use rtrb::{Consumer, Producer};
use service_api::host::ServiceDriver;
use service_api::{
    ClusterSessionId, ClusteredService, LeadershipTermId, LogPosition, MemberId, NewLeadershipTerm, Role,
    ServiceError, StatusFields,
};

use super::egress_ring::EgressSender;
use super::emission_ring::EmissionSender;
use super::log_ring::{LogEnd, LogReceiver};
use super::service_snapshots::ServiceSnapshots;
use super::{Agent, AgentError};
use crate::service_start::{ServiceLoaded, ServiceOrder, ServiceStart};
use crate::status::ServiceGauges;
use crate::store::recorded_snapshot::LoadError;
use crate::store::recording_reader::RecordingReader;
use crate::sys::clock;

/// One duty cycle applies at most this much, so that commands and emissions are not held up by a long catch-up.
const LIMITS: PollLimits = PollLimits { frame_count: 4096, byte_count: 1024 * 1024 };
/// Figures of the service are shown as often as an operator can read them.
const STATUS_INTERVAL_NS: u64 = 50_000_000;

/// A service, its view of the cluster, and its place in the log.
#[derive(Debug)]
pub struct ServiceAgent<S> {
    name: String,
    driver: ServiceDriver<S, EgressSender>,
    fresh: FreshService<S>,
    links: ServiceLinks,
    /// What was loaded; nothing of the log is applied before the word to begin.
    loaded: Option<Reading>,
    was_loaded: bool,
    reading: Option<Reading>,
    /// An event could not be applied: nothing behind it is.
    has_failed: bool,
    end: LogEnd,
    /// Where this node begins to lead, until the service was told.
    leads_from: Option<i64>,
    status: StatusFields,
    status_due_ns: u64,
}

/// Makes a new instance of the service.
pub struct FreshService<S>(pub Box<dyn FnMut() -> Result<S, ServiceError> + Send>);

/// What ties a service agent to the others.
#[derive(Debug)]
pub struct ServiceLinks {
    /// From the conductor: how to start.
    pub orders: Consumer<ServiceOrder>,
    /// To the conductor.
    pub loaded: Producer<ServiceLoaded>,
    /// From the receiver.
    pub log: LogReceiver,
    /// To the module follower.
    pub emissions: EmissionSender,
    /// How it takes part in snapshots; `None` where it does not.
    pub snapshots: Option<ServiceSnapshots>,
    /// Its counters; `None` for a replica, which nobody looks at.
    pub gauges: Option<ServiceGauges>,
    /// Whether the service is told when this node leads, and then replies to clients; a replica is not.
    pub takes_lead: bool,
}

#[derive(Debug)]
struct Reading {
    reader: LogReader,
    recording: RecordingReader,
}

impl<S> fmt::Debug for FreshService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshService")
    }
}

impl<S: ClusteredService> ServiceAgent<S> {
    /// An agent that waits for its start. `driver` has the first instance of the service, `fresh` makes those that follow
    /// if it cannot be loaded.
    pub fn new(
        name: impl Into<String>,
        driver: ServiceDriver<S, EgressSender>,
        fresh: FreshService<S>,
        links: ServiceLinks,
    ) -> Self {
        Self {
            name: name.into(),
            driver,
            fresh,
            links,
            loaded: None,
            was_loaded: false,
            reading: None,
            has_failed: false,
            end: LogEnd::NONE,
            leads_from: None,
            status: StatusFields::new(),
            status_due_ns: 0,
        }
    }

    fn start(&mut self) -> usize {
        let Ok(order) = self.links.orders.pop() else { return 0 };
        match order {
            ServiceOrder::Load(start) => {
                let loaded = self.load(*start).map_err(|error| (error.to_string(), error.blame()));
                // One answer for each order, and there is a slot for it.
                let _ = self.links.loaded.push(loaded);
            }
            ServiceOrder::Begin => {
                self.reading = self.loaded.take();
                self.publish();
            }
        }
        1
    }

    fn load(&mut self, start: ServiceStart) -> Result<(), LoadError> {
        let ServiceStart { point, offer_length_max, snapshot, log_reader, log_recording } = start;
        self.loaded = None;
        if std::mem::replace(&mut self.was_loaded, true) {
            self.driver.renew((self.fresh.0)()?);
        }
        self.driver.limit_offers(offer_length_max);
        match snapshot {
            Some(mut snapshot) => {
                snapshot.restore_sessions(&mut self.driver)?;
                let started = self.driver.start(point, Some(&mut snapshot));
                started.map_err(|error| snapshot.load_error(error))?;
                snapshot.check()?;
            }
            None => self.driver.start(point, None)?,
        }
        self.loaded = Some(Reading { reader: log_reader, recording: log_recording });
        Ok(())
    }

    /// Applies a batch, and takes a snapshot where one is due behind it. Returns how much was done.
    fn apply(&mut self) -> Result<usize, AgentError> {
        let Some(Reading { reader, recording }) = self.reading.as_mut() else { return Ok(0) };
        let ServiceLinks { log, snapshots, takes_lead, .. } = &mut self.links;
        let from = reader.position();
        if from >= self.end.position {
            match log.poll() {
                Some(end) => self.end = end,
                None => return Ok(0),
            }
            if let Some(snapshots) = snapshots {
                snapshots.marks.on_log_end(&self.end);
            }
            if *takes_lead && self.end.leads_from.is_some() {
                self.leads_from = self.end.leads_from;
            }
        }
        let mut read = 0;
        if from < self.end.position {
            let end = self.leads_from.map_or(self.end.position, |position| position.min(self.end.position));
            let (to, limits) = match snapshots {
                Some(snapshots) => snapshots.marks.bound(reader, end, LIMITS),
                None => (end, LIMITS),
            };
            let run = recording.frames(from, to)?;
            let driver = &mut self.driver;
            let mut failed = None;
            read = reader.poll(run, limits, |event, position| {
                if let Err(error) = deliver(driver, event, position) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                // The client need not wait for the rest of the batch.
                driver.egress_mut().flush_handled(position);
                match (event, &mut *snapshots) {
                    (LogEvent::ClusterAction(action), Some(snapshots)) => snapshots.marks.on_action(action),
                    _ => ControlFlow::Continue(()),
                }
            })?;
            if let Some(error) = failed {
                return Err(format!("at log position {}: {error}", reader.applied_position()).into());
            }
            if reader.position() >= self.end.position
                && let Some(gauges) = &mut self.links.gauges
            {
                // The cycle's own time would hide what this cycle took: the clock is read once a batch.
                gauges.record_lag(self.end.received_ns);
            }
        }
        self.take_snapshot();
        self.take_lead();
        Ok(read.max(1))
    }

    /// Tells the service that this node leads, once everything before is applied and nothing behind.
    fn take_lead(&mut self) {
        let (Some(reading), Some(position)) = (&self.reading, self.leads_from) else { return };
        if reading.reader.position() >= position {
            assert_eq!(reading.reader.position(), position, "the service has passed where this node leads");
            self.leads_from = None;
            self.driver.on_role_change(Role::Leader);
        }
    }

    /// Takes this service's part of a snapshot if one is due here.
    fn take_snapshot(&mut self) {
        let (Some(reading), Some(snapshots)) = (&self.reading, &mut self.links.snapshots) else { return };
        let applied_position = reading.reader.applied_position();
        if !snapshots.marks.take_due(applied_position) {
            return;
        }
        let begin_ns = clock::monotonic_ns();
        snapshots.take(&mut self.driver, applied_position);
        if let Some(gauges) = &self.links.gauges {
            gauges.record_snapshot_stop(clock::monotonic_ns() - begin_ns);
        }
    }

    /// Hands emissions over and says how far the service is. While the module follower is behind with all
    /// buffers, both wait; the service goes on.
    fn publish(&mut self) {
        let Some(reading) = &self.reading else { return };
        let (position, read_position) = (reading.reader.applied_position(), reading.reader.position());
        let driver = &mut self.driver;
        let has_emissions = !driver.emissions().is_empty();
        let emissions = &mut self.links.emissions;
        if emissions.send(has_emissions, |buffer| driver.swap_emissions(buffer)) {
            // Nothing is emitted within a message: whoever may go on to its first half can come to the end of a log that
            // stops there.
            emissions.publish(read_position);
        }
        if let Some(gauges) = &self.links.gauges {
            gauges.applied_position.set_ordered(position);
        }
    }

    fn show_status(&mut self, now_ns: u64) {
        let Some(gauges) = &mut self.links.gauges else { return };
        if now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + STATUS_INTERVAL_NS;
            self.driver.status(&mut self.status);
            gauges.show(&self.status, now_ns);
        }
    }
}

impl<S: ClusteredService> Agent for ServiceAgent<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        if self.reading.is_none() {
            return Ok(self.start());
        }
        // The event at fault counts as read: whoever closes this agent must not go on behind it.
        let mut work = self.apply().inspect_err(|_| self.has_failed = true)?;
        if work > 0 {
            self.publish();
        }
        if let Some(snapshots) = &mut self.links.snapshots {
            snapshots.parts.flush();
        }
        work += self.driver.egress_mut().settle();
        work += self.driver.do_background_work(now_ns);
        self.show_status(now_ns);
        Ok(work)
    }

    fn running_position(&self) -> Option<i64> {
        self.reading.as_ref().map(|reading| reading.reader.applied_position())
    }

    /// What the receiver recorded before it closed is still applied: a clean end leaves nothing behind.
    fn on_close(&mut self) {
        // A snapshot that is asked for now would not be published any more.
        self.links.snapshots = None;
        while self.reading.is_some() && !self.has_failed {
            match self.apply() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(agent = self.name, %error, "could not apply the rest of the log");
                    break;
                }
            }
        }
        if !self.has_failed {
            self.publish();
        }
        self.driver.terminate();
        self.driver.status(&mut self.status);
        if let Some(gauges) = &mut self.links.gauges {
            gauges.show(&self.status, clock::monotonic_ns());
        }
    }
}

/// One event of the log, as the service sees it.
#[inline]
fn deliver<S: ClusteredService>(
    driver: &mut ServiceDriver<S, EgressSender>,
    event: &LogEvent<'_>,
    position: i64,
) -> Result<(), ServiceError> {
    let position = LogPosition(position);
    match event {
        LogEvent::SessionMessage(message) => driver.on_session_message(
            position,
            message.timestamp,
            ClusterSessionId(message.cluster_session_id),
            message.payload,
        ),
        LogEvent::Timer(timer) => driver.on_timer_event(position, timer.timestamp, timer.correlation_id),
        LogEvent::SessionOpen(open) => driver.on_session_open(
            position,
            open.timestamp,
            ClusterSessionId(open.cluster_session_id),
            open.response_stream_id,
            open.response_channel,
            open.encoded_principal,
        ),
        LogEvent::SessionClose(close) => driver.on_session_close(
            position,
            close.timestamp,
            ClusterSessionId(close.cluster_session_id),
            close.close_reason,
        ),
        LogEvent::ClusterAction(action) => {
            driver.on_cluster_action(position, action.timestamp);
            Ok(())
        }
        LogEvent::NewLeadershipTerm(term) => driver.on_new_leadership_term(&NewLeadershipTerm {
            leadership_term_id: LeadershipTermId(term.leadership_term_id),
            log_position: position,
            timestamp: term.timestamp,
            term_base_log_position: LogPosition(term.term_base_log_position),
            leader_member_id: MemberId(term.leader_member_id),
            log_session_id: term.log_session_id,
            time_unit: term.time_unit,
            app_version: term.app_version,
        }),
        LogEvent::Ignored { .. } => Ok(()),
    }
}
