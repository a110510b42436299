//! Keeps what a consensus module would know: one more reader of the log, never ahead of a service.
//!
//! At each position the event comes first, then what the services emitted there, in order of service id. So the
//! follower may pass a position only when every service has.

use std::ops::ControlFlow;

use consensus_tap::codec::log::{LogEvent, NewLeadershipTermEvent};
use consensus_tap::log::{LogError, LogReader, PollLimits};
use consensus_tap::module::{ConsensusModuleState, ModuleError, ServiceEmission};
use service_api::LogPosition;
use service_api::ServiceId;
use service_api::host::{Emissions, Request};

use super::emission_ring::EmissionReceiver;
use super::log_ring::LogReceiver;
use crate::store::recording_reader::RecordingReader;
use crate::store::segment::SegmentError;

/// One call applies at most this much, so that files and commands get their turn during a long catch-up.
const LIMITS: PollLimits = PollLimits { frame_count: 4096, byte_count: 1024 * 1024 };

/// The module's state and its place in the log.
#[derive(Debug)]
pub struct ModuleFollower {
    reading: Option<Reading>,
    log: LogReceiver,
    end_position: i64,
    services: Vec<ServiceEmissions>,
    /// Terms that began, for whoever keeps recording.log.
    terms: Vec<NewLeadershipTermEvent>,
}

#[derive(Debug)]
struct Reading {
    /// `None` where no services run: what they would have emitted is missing, and so is the number of them.
    state: Option<ConsensusModuleState>,
    reader: LogReader,
    recording: RecordingReader,
}

/// What one service emitted and the module has not seen yet.
#[derive(Debug)]
struct ServiceEmissions {
    receiver: EmissionReceiver,
    buffer: Option<Emissions>,
    offset: usize,
}

/// Why the module's state cannot follow the log.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log is not one.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log contradicts the state.
    #[error("the consensus module's state cannot follow the log at position {position}: {source}")]
    Module {
        /// Of the event.
        position: i64,
        /// Why.
        source: ModuleError,
    },
    /// The log's files cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

impl ModuleFollower {
    /// A follower that waits for its start.
    pub fn new(log: LogReceiver, emissions: Vec<EmissionReceiver>) -> Self {
        let services = emissions
            .into_iter()
            .map(|receiver| ServiceEmissions { receiver, buffer: None, offset: 0 })
            .collect();
        Self { reading: None, log, end_position: i64::MIN, services, terms: Vec::new() }
    }

    /// Begins with a state and the log from its position on. With none, only the terms are taken from the log.
    pub fn start(
        &mut self,
        state: Option<ConsensusModuleState>,
        reader: LogReader,
        recording: RecordingReader,
    ) {
        self.reading = Some(Reading { state, reader, recording });
    }

    /// The state, once started with one.
    pub fn state(&self) -> Option<&ConsensusModuleState> {
        self.reading.as_ref()?.state.as_ref()
    }

    /// Up to where the log was read, once started: every term that began below is out.
    pub fn log_position(&self) -> Option<i64> {
        self.reading.as_ref().map(|reading| reading.reader.applied_position())
    }

    /// Takes the terms that began since the last call.
    pub fn drain_terms(&mut self) -> impl Iterator<Item = NewLeadershipTermEvent> + '_ {
        self.terms.drain(..)
    }

    /// Applies what is recorded and what every service has passed. Returns how much was done.
    ///
    /// # Errors
    /// [`FollowError`]; the state stays where it was and no later call gets farther.
    pub fn do_work(&mut self) -> Result<usize, FollowError> {
        let Some(Reading { state, reader, recording }) = self.reading.as_mut() else { return Ok(0) };
        while let Some(end) = self.log.poll() {
            self.end_position = end.position;
        }
        // Emissions up to here have all been sent, so what is not in the buffers does not exist.
        let through = self.services.iter().map(|service| service.receiver.through()).min();
        let limit = through.unwrap_or(i64::MAX).min(self.end_position);
        let from = reader.position();
        if from >= limit {
            return Ok(0);
        }
        let run = recording.frames(from, limit)?;
        let Self { services, terms, .. } = self;
        let mut failed = None;
        let read =
            reader.poll(run, LIMITS, |event, position| match apply(state, services, event, position) {
                Ok(()) => {
                    if let LogEvent::NewLeadershipTerm(term) = event {
                        terms.push(*term);
                    }
                    ControlFlow::Continue(())
                }
                Err(source) => {
                    failed = Some(FollowError::Module { position, source });
                    ControlFlow::Break(())
                }
            })?;
        failed.map_or(Ok(read), Err)
    }
}

fn apply(
    state: &mut Option<ConsensusModuleState>,
    services: &mut [ServiceEmissions],
    event: &LogEvent<'_>,
    position: i64,
) -> Result<(), ModuleError> {
    let Some(state) = state else { return Ok(()) };
    state.on_event(event, LogPosition(position))?;
    for (service_id, service) in services.iter_mut().enumerate() {
        service.emitted_at(position, |request| {
            state.on_emission(ServiceId(service_id as u8), LogPosition(position), emission(request))
        })?;
    }
    Ok(())
}

impl ServiceEmissions {
    /// Takes what was emitted at or before `position`.
    fn emitted_at(
        &mut self,
        position: i64,
        mut take: impl FnMut(&Request<'_>) -> Result<(), ModuleError>,
    ) -> Result<(), ModuleError> {
        loop {
            if self.buffer.is_none() {
                self.buffer = self.receiver.poll();
                self.offset = 0;
            }
            let Some(buffer) = &self.buffer else { return Ok(()) };
            match buffer.get(self.offset) {
                Some((emission, _)) if emission.position.0 > position => return Ok(()),
                Some((emission, next)) => {
                    self.offset = next;
                    take(&emission.request)?;
                }
                None => {
                    if let Some(buffer) = self.buffer.take() {
                        self.receiver.recycle(buffer);
                    }
                }
            }
        }
    }
}

fn emission<'a>(request: &Request<'a>) -> ServiceEmission<'a> {
    match *request {
        Request::ScheduleTimer { correlation_id, deadline } => {
            ServiceEmission::ScheduleTimer { correlation_id, deadline }
        }
        Request::CancelTimer { correlation_id } => ServiceEmission::CancelTimer { correlation_id },
        Request::Offer { payload } => ServiceEmission::Offer(payload),
        Request::CloseSession { id } => ServiceEmission::CloseSession { cluster_session_id: id },
    }
}
