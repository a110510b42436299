//! Keeps what a consensus module would know: one more reader of the log, never ahead of a service.
//!
//! At each position the event comes first, then what the services emitted there, in order of service id. So the
//! follower may pass a position only when every service has.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use consensus_tap::codec::log::{LogEvent, NewLeadershipTermEvent};
use consensus_tap::log::{LogError, LogReader, PollLimits};
use consensus_tap::module::{ConsensusModuleState, ModuleError, ServiceEmission};
use service_api::LogPosition;
use service_api::ServiceId;
use service_api::host::{Emissions, Request};

use super::emission_ring::EmissionReceiver;
use super::log_ring::LogReceiver;
use super::snapshot_marks::SnapshotMarks;
use super::snapshot_part::{PartContent, PartSender, SnapshotPoint};
use crate::message_buffer::MessageBuffer;
use crate::store::counters::Counter;
use crate::store::recording_reader::RecordingReader;
use crate::store::segment::SegmentError;
use crate::sys::clock;

/// One call applies at most this much, so that files and commands get their turn during a long catch-up.
const LIMITS: PollLimits = PollLimits { frame_count: 4096, byte_count: 1024 * 1024 };

/// The module's state and its place in the log.
#[derive(Debug)]
pub struct ModuleFollower {
    reading: Option<Reading>,
    /// An event could not be followed: nothing behind it is.
    has_failed: bool,
    log: LogReceiver,
    end_position: i64,
    services: Vec<ServiceEmissions>,
    /// Terms that began, for whoever keeps recording.log.
    terms: Vec<NewLeadershipTermEvent>,
    snapshots: Option<ModuleSnapshots>,
    position: ModulePosition,
}

/// Where a module follower stands, for other threads.
#[derive(Clone, Debug)]
pub struct ModulePosition(Arc<AtomicI64>);

impl ModulePosition {
    /// Up to where the log was read; `None` before the follower started. Terms that began below are out, or on their way.
    pub fn get(&self) -> Option<i64> {
        let position = self.0.load(Ordering::Acquire);
        (position != NOT_STARTED).then_some(position)
    }
}

const NOT_STARTED: i64 = i64::MIN;

/// What the follower needs to take its part of snapshots.
#[derive(Debug)]
pub struct ModuleSnapshots {
    /// When.
    pub marks: SnapshotMarks,
    /// To the snapshot agent.
    pub parts: PartSender,
    /// The longest time that a part has taken; `None` where nobody waits for it.
    pub stop_max_ns: Option<Counter>,
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
    /// A follower that waits for its start. Without `snapshots` it takes part in none.
    pub fn new(
        log: LogReceiver,
        emissions: Vec<EmissionReceiver>,
        snapshots: Option<ModuleSnapshots>,
    ) -> Self {
        let services = emissions
            .into_iter()
            .map(|receiver| ServiceEmissions { receiver, buffer: None, offset: 0 })
            .collect();
        Self {
            reading: None,
            has_failed: false,
            log,
            end_position: i64::MIN,
            services,
            terms: Vec::new(),
            snapshots,
            position: ModulePosition(Arc::new(AtomicI64::new(NOT_STARTED))),
        }
    }

    /// Begins with a state and the log from its position on. With none, only the terms are taken from the log.
    pub fn start(
        &mut self,
        state: Option<ConsensusModuleState>,
        reader: LogReader,
        recording: RecordingReader,
    ) {
        self.position.0.store(reader.applied_position(), Ordering::Release);
        self.reading = Some(Reading { state, reader, recording });
    }

    /// Whether it was given its start.
    pub fn has_started(&self) -> bool {
        self.reading.is_some()
    }

    /// Where it stands, to be asked from any thread.
    pub fn position(&self) -> ModulePosition {
        self.position.clone()
    }

    /// The state, once started with one.
    pub fn state(&self) -> Option<&ConsensusModuleState> {
        self.reading.as_ref()?.state.as_ref()
    }

    /// Up to where the log's frames were read, once started: at the end of the log this may lie behind
    /// [`Self::position`], where a message is that nobody ended.
    pub fn read_position(&self) -> Option<i64> {
        self.reading.as_ref().map(|reading| reading.reader.position())
    }

    /// The last message boundary that it has reached, once started.
    pub fn applied_position(&self) -> Option<i64> {
        self.reading.as_ref().map(|reading| reading.reader.applied_position())
    }

    /// The leadership term that [`Self::applied_position`] lies in, once started and known.
    pub fn leadership_term_id(&self) -> Option<i64> {
        self.reading.as_ref()?.reader.leadership_term_id()
    }

    /// Takes the terms that began since the last call.
    pub fn drain_terms(&mut self) -> impl Iterator<Item = NewLeadershipTermEvent> + '_ {
        self.terms.drain(..)
    }

    /// Applies what is recorded and what every service has passed. Returns how much was done.
    ///
    /// # Errors
    /// [`FollowError`]; no later call gets farther.
    pub fn do_work(&mut self) -> Result<usize, FollowError> {
        if self.has_failed {
            return Ok(0);
        }
        self.follow().inspect_err(|_| self.has_failed = true)
    }

    fn follow(&mut self) -> Result<usize, FollowError> {
        let Self { reading, services, terms, snapshots, position: shared_position, .. } = self;
        let Some(Reading { state, reader, recording }) = reading.as_mut() else { return Ok(0) };
        while let Some(end) = self.log.poll() {
            self.end_position = end.position;
            if let Some(snapshots) = snapshots {
                snapshots.marks.on_log_end(&end);
            }
        }
        // Emissions up to here have all been sent, so what is not in the buffers does not exist.
        let through = services.iter().map(|service| service.receiver.through()).min();
        let limit = through.unwrap_or(i64::MAX).min(self.end_position);
        let from = reader.position();
        let mut read = 0;
        if from < limit {
            let (to, limits) = match snapshots {
                Some(snapshots) => snapshots.marks.bound(reader, limit, LIMITS),
                None => (limit, LIMITS),
            };
            let run = recording.frames(from, to)?;
            let mut failed = None;
            read = reader.poll(run, limits, |event, position| {
                if let Err(source) = apply(state, services, event, position) {
                    failed = Some(FollowError::Module { position, source });
                    return ControlFlow::Break(());
                }
                match (event, &mut *snapshots) {
                    (LogEvent::NewLeadershipTerm(term), _) => terms.push(*term),
                    (LogEvent::ClusterAction(action), Some(snapshots)) => {
                        return snapshots.marks.on_action(action);
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            shared_position.0.store(reader.applied_position(), Ordering::Release);
        }
        if let Some(snapshots) = snapshots {
            snapshots.parts.flush();
            if snapshots.marks.take_due(reader.applied_position())
                && let Some(state) = state
            {
                state.on_boundary(LogPosition(reader.applied_position()));
                snapshots.take(state);
                read += 1;
            }
        }
        Ok(read)
    }

    /// Takes part in no more snapshots: they would not be published any more.
    pub fn close_snapshots(&mut self) {
        self.snapshots = None;
    }
}

impl ModuleSnapshots {
    fn take(&mut self, state: &ConsensusModuleState) {
        let log_position = state.log_position();
        let Some(time_unit) = state.time_unit().filter(|_| state.leadership_term_id() >= 0) else {
            self.parts.skip(log_position, "the log holds no leadership term yet");
            return;
        };
        if self.parts.is_busy() {
            self.parts.skip(log_position, "the module's part of the snapshot before is still being written");
            return;
        }
        let begin_ns = clock::monotonic_ns();
        let mut messages = MessageBuffer::new();
        state.take_snapshot(&mut |message| messages.push(message));
        let point = SnapshotPoint {
            log_position,
            leadership_term_id: state.leadership_term_id(),
            timestamp: state.cluster_time(),
            time_unit,
        };
        self.parts.send(point, messages, PartContent::None);
        if let Some(stop_max_ns) = &self.stop_max_ns {
            stop_max_ns.max_ordered((clock::monotonic_ns() - begin_ns) as i64);
        }
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
