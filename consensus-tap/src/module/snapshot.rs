//! The state's snapshot, written and read as a Java member's consensus module does.

use super::ConsensusModuleState;
use super::sessions::{Session, SessionState};
use crate::codec::log::{ClusterTimeUnit, service_id_of};
use crate::codec::snapshot::{
    CONSENSUS_MODULE_TYPE_ID, ClusterSession, ConsensusModule, PendingMessageTracker, ServiceCounters,
    SnapshotMark, SnapshotMarker, SnapshotMessage, Timer,
};
use crate::log::{
    PollLimits, SnapshotError, SnapshotExpectation, SnapshotFault, SnapshotKind, SnapshotPart, SnapshotReader,
};
use crate::wire::StreamTerms;

impl ConsensusModuleState {
    /// Emits the messages of a snapshot of this state, in order, each without its frame headers.
    ///
    /// The bytes are those of a Java member in the same state, but for the order of timers, which is
    /// arbitrary there and ascending here. Principals, cluster time and whether the cluster is suspended are
    /// not part of it.
    pub fn take_snapshot(&self, emit: &mut dyn FnMut(&[u8])) {
        let mut buffer = Vec::new();
        let mut put = |encode: &dyn Fn(&mut Vec<u8>)| {
            buffer.clear();
            encode(&mut buffer);
            emit(&buffer);
        };

        put(&|out| self.marker(SnapshotMark::Begin).encode(out));
        put(&|out| self.module_message().encode(out));
        for session in self.sessions.iter() {
            put(&|out| session_message(session).encode(out));
        }
        for (correlation_id, deadline) in self.timers.iter() {
            put(&|out| Timer { correlation_id, deadline }.encode(out));
        }
        for service in &self.services {
            let tracker = PendingMessageTracker {
                counters: ServiceCounters {
                    next_service_session_id: service.corrected_next_service_session_id(),
                    log_service_session_id: service.log_service_session_id(),
                    pending_message_capacity: capacity_of(service.size()),
                },
                service_id: service.service_id() as i32,
            };
            put(&|out| tracker.encode(out));
            for message in service.messages() {
                put(&|out| out.extend_from_slice(message));
            }
        }
        put(&|out| self.marker(SnapshotMark::End).encode(out));
    }

    fn marker(&self, mark: SnapshotMark) -> SnapshotMarker {
        SnapshotMarker {
            type_id: CONSENSUS_MODULE_TYPE_ID,
            log_position: self.log_position,
            leadership_term_id: self.leadership_term_id,
            index: 0,
            mark: Some(mark),
            time_unit: self.time_unit.unwrap_or(ClusterTimeUnit::Millis),
            app_version: self.app_version,
        }
    }

    /// Service 0's counters as they are, not corrected as in its tracker's message.
    fn module_message(&self) -> ConsensusModule {
        let counters = self.services.first().map_or(
            ServiceCounters {
                next_service_session_id: 0,
                log_service_session_id: 0,
                pending_message_capacity: 0,
            },
            |service| ServiceCounters {
                next_service_session_id: service.next_service_session_id(),
                log_service_session_id: service.log_service_session_id(),
                pending_message_capacity: capacity_of(service.size()),
            },
        );
        ConsensusModule { next_session_id: self.next_session_id, service_0: Some(counters) }
    }
}

fn session_message(session: &Session) -> ClusterSession<'_> {
    ClusterSession {
        cluster_session_id: session.id,
        correlation_id: session.correlation_id,
        opened_log_position: session.opened_log_position,
        time_of_last_activity: -1,
        close_reason: match session.state {
            SessionState::Open => None,
            SessionState::Closing(reason) => Some(reason),
        },
        response_stream_id: session.response_stream_id,
        response_channel: &session.response_channel,
    }
}

fn capacity_of(size: usize) -> i32 {
    i32::try_from(size).expect("a ring is at most 1 GiB")
}

/// Builds a state from the parts of a consensus module's snapshot, as a [`SnapshotReader`] visits them.
#[derive(Debug)]
pub struct ModuleLoader {
    state: ConsensusModuleState,
}

impl ModuleLoader {
    /// A loader for a node with this many services and this application version.
    ///
    /// # Panics
    /// As [`ConsensusModuleState::new`].
    pub fn new(service_count: usize, app_version: i32) -> Self {
        Self { state: ConsensusModuleState::new(service_count, app_version) }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// [`SnapshotFault`] when the part contradicts the node's services or the parts before.
    pub fn on_part(&mut self, part: SnapshotPart<'_>) -> Result<(), SnapshotFault> {
        match part {
            SnapshotPart::Begin(marker) => {
                self.state.log_position = marker.log_position;
                self.state.leadership_term_id = marker.leadership_term_id;
                self.state.time_unit = Some(marker.time_unit);
                Ok(())
            }
            SnapshotPart::Message(message) => self.on_message(message),
            SnapshotPart::End(_) => self.verify(),
            SnapshotPart::Application(_) => Ok(()),
        }
    }

    /// The state. Complete once the END marker was taken in.
    pub fn finish(self) -> ConsensusModuleState {
        self.state
    }

    fn on_message(&mut self, message: SnapshotMessage<'_>) -> Result<(), SnapshotFault> {
        match message {
            SnapshotMessage::ConsensusModule(module) => {
                self.state.next_session_id = module.next_session_id;
                match module.service_0 {
                    Some(counters) if !self.state.services.is_empty() => self.load_service(0, counters),
                    _ => Ok(()),
                }
            }
            SnapshotMessage::ClusterSession(session) => {
                self.on_session(&session);
                Ok(())
            }
            SnapshotMessage::Timer(timer) => {
                self.state.timers.schedule(timer.correlation_id, timer.deadline);
                Ok(())
            }
            SnapshotMessage::PendingMessageTracker(tracker) => {
                let service_id = usize::try_from(tracker.service_id)
                    .ok()
                    .filter(|&service_id| service_id < self.state.services.len())
                    .ok_or_else(|| self.unknown_service(tracker.service_id))?;
                self.load_service(service_id, tracker.counters)
            }
            SnapshotMessage::PendingMessage(pending) => {
                let service_id = service_id_of(pending.cluster_session_id);
                let fault = self.unknown_service(service_id as i32);
                let service = self.state.services.get_mut(service_id).ok_or(fault)?;
                if !service.load_message(pending.message) {
                    let capacity = (service.size() + pending.message.len()) as i64;
                    return Err(SnapshotFault::PendingMessageCapacity { service_id, capacity });
                }
                Ok(())
            }
            SnapshotMessage::Marker(_)
            | SnapshotMessage::ClientSession(_)
            | SnapshotMessage::Ignored { .. } => Ok(()),
        }
    }

    fn on_session(&mut self, session: &ClusterSession<'_>) {
        let id = session.cluster_session_id;
        // Of two sessions with one id a member keeps the later one reachable.
        self.state.sessions.remove(id);
        self.state.sessions.insert(Session {
            id,
            correlation_id: session.correlation_id,
            opened_log_position: session.opened_log_position,
            time_of_last_activity: session.time_of_last_activity,
            state: session.close_reason.map_or(SessionState::Open, SessionState::Closing),
            response_stream_id: session.response_stream_id,
            response_channel: session.response_channel.to_owned(),
            encoded_principal: Vec::new(),
        });
        self.state.next_session_id = self.state.next_session_id.max(id.saturating_add(1));
    }

    fn load_service(&mut self, service_id: usize, counters: ServiceCounters) -> Result<(), SnapshotFault> {
        if self.state.services[service_id].load(counters) {
            return Ok(());
        }
        let capacity = i64::from(counters.pending_message_capacity);
        Err(SnapshotFault::PendingMessageCapacity { service_id, capacity })
    }

    /// Holds each service's counters against its pending messages.
    fn verify(&self) -> Result<(), SnapshotFault> {
        for service in &self.state.services {
            let service_id = service.service_id();
            let mut expected = service.log_service_session_id().wrapping_add(1);
            for message in service.iter() {
                let found = message.cluster_session_id;
                if found != expected {
                    return Err(SnapshotFault::PendingMessageOrder { service_id, expected, found });
                }
                expected = expected.wrapping_add(1);
            }
            let next_service_session_id = service.next_service_session_id();
            if next_service_session_id != expected {
                return Err(SnapshotFault::PendingMessageCount {
                    service_id,
                    expected,
                    next_service_session_id,
                });
            }
        }
        Ok(())
    }

    fn unknown_service(&self, service_id: i32) -> SnapshotFault {
        SnapshotFault::UnknownService { service_id, service_count: self.state.services.len() }
    }
}

/// Loads a whole consensus module's snapshot recording, `recording` being its frames from position 0.
///
/// # Errors
/// [`SnapshotError`].
///
/// # Panics
/// When the expectation is of a service's snapshot or of any version, or as [`ConsensusModuleState::new`].
pub fn load_snapshot(
    recording: &[u8],
    terms: StreamTerms,
    expectation: SnapshotExpectation,
    service_count: usize,
) -> Result<ConsensusModuleState, SnapshotError> {
    assert!(expectation.kind == SnapshotKind::ConsensusModule);
    let app_version = expectation.app_version.expect("the module goes on with a version");
    let mut reader = SnapshotReader::new(terms, expectation);
    let mut loader = ModuleLoader::new(service_count, app_version);
    reader.poll(recording, PollLimits::NONE, |part| loader.on_part(part))?;
    reader.finish()?;
    Ok(loader.finish())
}
