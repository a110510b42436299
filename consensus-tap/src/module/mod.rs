//! The consensus-module state that a log implies: sessions, timers, and the messages of services.
//!
//! A Java member keeps this state in its consensus module, fed by the log and, over IPC, by its services.
//! Here services run on the same log in step with the module, so both inputs have one order:
//!
//! ```text
//!  event that ends at p ── on_event(p)
//!                          on_emission(p, service 0) … on_emission(p, service n)   what its handlers emitted
//!  event that ends at q ── on_event(q)
//! ```
//! The state stands at p once all that was emitted at p is in. Snapshots are taken from it there, and a
//! standby that becomes leader appends what it still holds as pending.

mod diff;
mod pending_messages;
mod ring;
mod sessions;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;

pub use diff::LEGITIMATE_DIFFERENCES;
pub use pending_messages::{PendingMessages, PendingServiceMessage};
pub(crate) use ring::RingPosition;
pub use sessions::{Session, SessionState, Sessions};
pub use snapshot::{ModuleLoader, load_snapshot};
pub use timers::Timers;

use crate::codec::log::{
    ClusterAction, ClusterActionRequest, ClusterTimeUnit, LogEvent, NewLeadershipTermEvent, service_id_of,
};
use crate::log::Version;
use service_api::{ClusterSessionId, LogPosition, ServiceId};

/// Most services that a node hosts.
pub const SERVICE_COUNT_MAX: usize = 10;

/// The consensus-module state at one position of the log.
///
/// Invariants: the position only grows; emissions come at the position of the last event, in order of
/// service id; `next_session_id` exceeds the id of every session that ever opened.
#[derive(Clone, Debug)]
pub struct ConsensusModuleState {
    log_position: i64,
    leadership_term_id: i64,
    cluster_time: i64,
    time_unit: Option<ClusterTimeUnit>,
    app_version: i32,
    is_suspended: bool,
    next_session_id: i64,
    sessions: Sessions,
    timers: Timers,
    services: Vec<PendingMessages>,
    last_emitter: usize,
}

/// What a service asked of the cluster while it handled an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceEmission<'a> {
    /// Fire a timer, or move its deadline.
    ScheduleTimer {
        /// Key of the timer, shared by all services.
        correlation_id: i64,
        /// Cluster time at which it is due.
        deadline: i64,
    },
    /// Do not fire a timer.
    CancelTimer {
        /// Key of the timer.
        correlation_id: i64,
    },
    /// Append a message to the log, for every service to handle.
    Offer(&'a [u8]),
    /// Close a client's session.
    CloseSession {
        /// The session; one that is not open is passed over.
        cluster_session_id: ClusterSessionId,
    },
}

/// Why the state cannot follow the log any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ModuleError {
    /// Two sessions with one id.
    #[error("session {cluster_session_id} opens at position {position}, but it is open")]
    SessionOpensTwice {
        /// End of the event.
        position: i64,
        /// The session.
        cluster_session_id: i64,
    },
    /// The log holds a message of a service that is not configured here.
    #[error(
        "the log holds a message of service {service_id} at position {position}, but {service_count} services \
         are configured; configure the services that the members have"
    )]
    UnknownService {
        /// End of the message.
        position: i64,
        /// The service.
        service_id: usize,
        /// How many are configured.
        service_count: usize,
    },
    /// The leader runs another major version of the application.
    #[error(
        "from position {position} on the leader is of application version {}, incompatible with {}; configure \
         the version that the members have",
        Version(*.found), Version(*.expected)
    )]
    AppVersion {
        /// End of the leadership term's event.
        position: i64,
        /// The version configured.
        expected: i32,
        /// The leader's.
        found: i32,
    },
    /// The leader counts time in another unit than leaders before.
    #[error("from position {position} on the leader counts time in {found:?}, it was {expected:?} before")]
    TimeUnit {
        /// End of the leadership term's event.
        position: i64,
        /// The unit so far.
        expected: ClusterTimeUnit,
        /// The leader's.
        found: ClusterTimeUnit,
    },
    /// A service's messages that wait for the log exceed 1 GiB.
    #[error(
        "service {service_id} has more than 1 GiB of messages that the log does not hold yet, at position \
         {position}; it offers messages that the members' services do not"
    )]
    PendingMessagesFull {
        /// Where the message was offered.
        position: i64,
        /// The service.
        service_id: usize,
    },
}

impl ConsensusModuleState {
    /// The state of a cluster that has not run yet, at position 0.
    ///
    /// # Panics
    /// When `service_count` exceeds [`SERVICE_COUNT_MAX`].
    pub fn new(service_count: usize, app_version: i32) -> Self {
        assert!(service_count <= SERVICE_COUNT_MAX, "{service_count} services");
        Self {
            log_position: 0,
            leadership_term_id: -1,
            cluster_time: 0,
            time_unit: None,
            app_version,
            is_suspended: false,
            next_session_id: 1,
            sessions: Sessions::default(),
            timers: Timers::default(),
            services: (0..service_count).map(PendingMessages::new).collect(),
            last_emitter: 0,
        }
    }

    /// Applies the event that ends at `position`.
    ///
    /// # Errors
    /// [`ModuleError`] when no member could follow the log further. The state is then still the one before
    /// the event.
    ///
    /// # Panics
    /// When `position` is not behind the last event's: the caller reads the log in order.
    pub fn on_event(&mut self, event: &LogEvent<'_>, position: LogPosition) -> Result<(), ModuleError> {
        let LogPosition(position) = position;
        assert!(position > self.log_position, "event at {position} after {}", self.log_position);

        match event {
            LogEvent::SessionMessage(message) => {
                let id = message.cluster_session_id;
                if id < 0 {
                    self.on_service_message(id, position)?;
                } else if let Some(session) = self.sessions.get_mut(id) {
                    session.time_of_last_activity = message.timestamp;
                }
            }
            LogEvent::Timer(timer) => self.timers.on_timer_event(timer.correlation_id, timer.timestamp),
            LogEvent::SessionOpen(open) => {
                let cluster_session_id = open.cluster_session_id;
                if !self.sessions.open(open, position) {
                    return Err(ModuleError::SessionOpensTwice { position, cluster_session_id });
                }
                self.next_session_id = self.next_session_id.max(cluster_session_id.saturating_add(1));
            }
            LogEvent::SessionClose(close) => self.sessions.remove(close.cluster_session_id),
            LogEvent::ClusterAction(action) => self.on_cluster_action(action),
            LogEvent::NewLeadershipTerm(term) => self.on_new_leadership_term(term, position)?,
            LogEvent::Ignored { .. } => {}
        }

        if let Some(timestamp) = event.timestamp() {
            self.cluster_time = timestamp;
        }
        self.log_position = position;
        self.last_emitter = 0;
        Ok(())
    }

    /// The log was read up to `position`, a message boundary, and no event lies between the last one and there: padding
    /// at most. The state stands there now.
    ///
    /// # Panics
    /// When `position` is before the last event's.
    pub fn on_boundary(&mut self, position: LogPosition) {
        let LogPosition(position) = position;
        assert!(position >= self.log_position, "a boundary at {position} after {}", self.log_position);
        self.log_position = position;
    }

    /// Applies what `service_id` emitted while it handled the event that ends at `position`.
    ///
    /// # Errors
    /// [`ModuleError::PendingMessagesFull`]; the emission is then not applied.
    ///
    /// # Panics
    /// When `position` is not the last event's, the service is not configured, or a service with a larger
    /// id has emitted at this position: the caller owes that order.
    pub fn on_emission(
        &mut self,
        service_id: ServiceId,
        position: LogPosition,
        emission: ServiceEmission<'_>,
    ) -> Result<(), ModuleError> {
        let service = usize::from(service_id.0);
        assert!(position.0 == self.log_position, "emission at {position}, event at {}", self.log_position);
        assert!(service < self.services.len(), "service {service} is not configured");
        assert!(service >= self.last_emitter, "service {service} after {}", self.last_emitter);
        self.last_emitter = service;

        match emission {
            ServiceEmission::ScheduleTimer { correlation_id, deadline } => {
                self.timers.schedule(correlation_id, deadline);
            }
            ServiceEmission::CancelTimer { correlation_id } => self.timers.cancel(correlation_id),
            ServiceEmission::Offer(payload) => {
                if !self.services[service].offer(self.leadership_term_id, payload) {
                    let position = self.log_position;
                    return Err(ModuleError::PendingMessagesFull { position, service_id: service });
                }
            }
            ServiceEmission::CloseSession { cluster_session_id } => {
                self.sessions.close_by_service(cluster_session_id.0);
            }
        }
        Ok(())
    }

    fn on_service_message(&mut self, cluster_session_id: i64, position: i64) -> Result<(), ModuleError> {
        let service_id = service_id_of(cluster_session_id);
        let service_count = self.services.len();
        let service = self.services.get_mut(service_id).ok_or(ModuleError::UnknownService {
            position,
            service_id,
            service_count,
        })?;
        service.on_logged(cluster_session_id);
        Ok(())
    }

    fn on_cluster_action(&mut self, action: &ClusterActionRequest) {
        if action.leadership_term_id != self.leadership_term_id {
            return;
        }
        match action.action {
            ClusterAction::Suspend => self.is_suspended = true,
            ClusterAction::Resume => self.is_suspended = false,
            // A member goes back to ACTIVE after its snapshot, whatever it was before.
            ClusterAction::Snapshot if action.flags == 0 => self.is_suspended = false,
            ClusterAction::Snapshot => {}
        }
    }

    fn on_new_leadership_term(
        &mut self,
        term: &NewLeadershipTermEvent,
        position: i64,
    ) -> Result<(), ModuleError> {
        if let Some(expected) = self.time_unit
            && expected != term.time_unit
        {
            return Err(ModuleError::TimeUnit { position, expected, found: term.time_unit });
        }
        let (expected, found) = (self.app_version, term.app_version);
        if Version(expected).major() != Version(found).major() {
            return Err(ModuleError::AppVersion { position, expected, found });
        }
        self.time_unit = Some(term.time_unit);
        self.leadership_term_id = term.leadership_term_id;
        Ok(())
    }

    /// End of the last event applied.
    pub fn log_position(&self) -> i64 {
        self.log_position
    }

    /// The leadership term of the log position; -1 before the first.
    pub fn leadership_term_id(&self) -> i64 {
        self.leadership_term_id
    }

    /// Timestamp of the last event, in [`Self::time_unit`]. A snapshot does not hold it: the loader sets it.
    pub fn cluster_time(&self) -> i64 {
        self.cluster_time
    }

    /// Sets cluster time from the row in recording.log of the snapshot that was loaded.
    pub fn set_cluster_time(&mut self, cluster_time: i64) {
        self.cluster_time = cluster_time;
    }

    /// Unit of all timestamps and deadlines, `None` before the first leadership term.
    pub fn time_unit(&self) -> Option<ClusterTimeUnit> {
        self.time_unit
    }

    /// The application's configured version.
    pub fn app_version(&self) -> i32 {
        self.app_version
    }

    /// Whether an operator suspended the cluster.
    pub fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Id of the next session to be opened.
    pub fn next_session_id(&self) -> i64 {
        self.next_session_id
    }

    /// Sessions that are open or closing.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Gives a session the principal that only the log and services' snapshots hold, not the consensus
    /// module's. Returns whether there is such a session.
    pub fn set_principal(&mut self, cluster_session_id: ClusterSessionId, encoded_principal: &[u8]) -> bool {
        match self.sessions.get_mut(cluster_session_id.0) {
            Some(session) => {
                session.encoded_principal = encoded_principal.to_vec();
                true
            }
            None => false,
        }
    }

    /// Timers that have not fired.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Each service's messages that the log does not hold yet, by service id.
    pub fn services(&self) -> &[PendingMessages] {
        &self.services
    }
}
