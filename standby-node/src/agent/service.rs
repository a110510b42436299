//! Drives one service with the recorded log, where it lies.

use std::ops::ControlFlow;

use consensus_tap::codec::log::LogEvent;
use consensus_tap::log::{LogReader, PollLimits};
use rtrb::Consumer;
use service_api::host::ServiceDriver;
use service_api::{
    ClusterSessionId, ClusteredService, LeadershipTermId, LogPosition, MemberId, NewLeadershipTerm,
    ServiceError, StatusFields,
};

use super::emission_ring::EmissionSender;
use super::log_ring::{LogEnd, LogReceiver};
use super::{Agent, AgentError};
use crate::service_start::ServiceStart;
use crate::status::ServiceGauges;
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
    driver: ServiceDriver<S>,
    starts: Consumer<ServiceStart>,
    reading: Option<Reading>,
    log: LogReceiver,
    end: LogEnd,
    emissions: EmissionSender,
    gauges: ServiceGauges,
    status: StatusFields,
    status_due_ns: u64,
}

#[derive(Debug)]
struct Reading {
    reader: LogReader,
    recording: RecordingReader,
}

impl<S: ClusteredService> ServiceAgent<S> {
    /// An agent that waits for its start.
    pub fn new(
        driver: ServiceDriver<S>,
        service_id: u8,
        starts: Consumer<ServiceStart>,
        log: LogReceiver,
        emissions: EmissionSender,
        gauges: ServiceGauges,
    ) -> Self {
        Self {
            name: format!("service-{service_id}"),
            driver,
            starts,
            reading: None,
            log,
            end: LogEnd { position: i64::MIN, received_ns: 0 },
            emissions,
            gauges,
            status: StatusFields::new(),
            status_due_ns: 0,
        }
    }

    fn start(&mut self) -> Result<usize, AgentError> {
        let Ok(start) = self.starts.pop() else { return Ok(0) };
        let ServiceStart { point, snapshot, log_reader, log_recording } = start;
        match snapshot {
            Some(mut snapshot) => {
                snapshot.restore_sessions(&mut self.driver)?;
                self.driver.start(point, Some(&mut snapshot))?;
            }
            None => self.driver.start(point, None)?,
        }
        self.reading = Some(Reading { reader: log_reader, recording: log_recording });
        self.gauges.applied_position.set_ordered(point.log_position.0);
        self.publish();
        Ok(1)
    }

    fn apply(&mut self) -> Result<usize, AgentError> {
        let Some(Reading { reader, recording }) = self.reading.as_mut() else { return Ok(0) };
        let from = reader.position();
        if from >= self.end.position {
            match self.log.poll() {
                Some(end) => self.end = end,
                None => return Ok(0),
            }
        }
        if from >= self.end.position {
            return Ok(1);
        }
        let run = recording.frames(from, self.end.position)?;
        let driver = &mut self.driver;
        let mut failed = None;
        let read = reader.poll(run, LIMITS, |event, position| match deliver(driver, event, position) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed {
            return Err(format!("at log position {}: {error}", reader.applied_position()).into());
        }
        Ok(read)
    }

    /// Hands emissions over and says how far the service is. While the module follower is behind with all
    /// buffers, both wait; the service goes on.
    fn publish(&mut self) {
        let Some(reading) = &self.reading else { return };
        let position = reading.reader.applied_position();
        let driver = &mut self.driver;
        let has_emissions = !driver.emissions().is_empty();
        if self.emissions.send(has_emissions, |buffer| driver.swap_emissions(buffer)) {
            self.emissions.publish(position);
        }
        self.gauges.applied_position.set_ordered(position);
    }

    fn show_status(&mut self, now_ns: u64) {
        if self.reading.is_some() && now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + STATUS_INTERVAL_NS;
            self.driver.status(&mut self.status);
            self.gauges.show(&self.status, now_ns);
        }
    }
}

impl<S: ClusteredService> Agent for ServiceAgent<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        if self.reading.is_none() {
            return self.start();
        }
        let mut work = self.apply()?;
        if work > 0 {
            self.publish();
            if self.reading.as_ref().is_some_and(|reading| reading.reader.position() >= self.end.position) {
                // The cycle's own time would hide what this cycle took: the clock is read once a batch.
                self.gauges.record_lag(self.end.received_ns);
            }
        }
        work += self.driver.do_background_work(now_ns);
        self.show_status(now_ns);
        Ok(work)
    }

    /// What the receiver recorded before it closed is still applied: a clean end leaves nothing behind.
    fn on_close(&mut self) {
        while self.reading.is_some() {
            match self.apply() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(agent = self.name, %error, "could not apply the rest of the log");
                    break;
                }
            }
        }
        self.publish();
        self.driver.terminate();
        self.driver.status(&mut self.status);
        self.gauges.show(&self.status, clock::monotonic_ns());
    }
}

/// One event of the log, as the service sees it.
#[inline]
fn deliver<S: ClusteredService>(
    driver: &mut ServiceDriver<S>,
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
