//! Drives one service, event by event.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::session_table::SessionTable;
use super::{Egress, Emissions, NoEgress, Session};
use crate::error::{Callback, ClusterError, OfferError};
use crate::{
    ClientSession, CloseReason, Cluster, ClusterSessionId, ClusterTimeUnit, ClusteredService, FrozenState,
    LeadershipTermId, LogPosition, MemberId, NewLeadershipTerm, Role, ServiceError, ServiceId,
    SnapshotReader, SnapshotWriter, StatusFields,
};

/// A service, and its own view of the cluster.
///
/// Call [`restore_session`](Self::restore_session) for every session of a snapshot, then
/// [`start`](Self::start), then one method for every event of the log in order. After an event, or a batch of
/// them, take what was emitted with [`swap_emissions`](Self::swap_emissions).
///
/// An error from any method but [`take_snapshot`](Self::take_snapshot) is final: the service's state is no
/// longer that of the log, and no event may follow.
///
/// # Panics
/// Every event method, if the driver was not started, or if the position goes backwards: the runtime is wrong.
pub struct ServiceDriver<S, E = NoEgress> {
    service: S,
    state: HostState,
    egress: RefCell<E>,
    is_started: bool,
    unknown_close_count: u64,
}

/// Where in the log a service starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StartPoint {
    /// The position that the snapshot stands at, 0 without one.
    pub log_position: LogPosition,
    /// The term that the snapshot was taken in, -1 without one.
    pub leadership_term_id: LeadershipTermId,
    /// Cluster time at the snapshot, 0 without one.
    pub timestamp: i64,
    /// From the snapshot's marker.
    pub time_unit: ClusterTimeUnit,
}

impl StartPoint {
    /// The beginning of a log.
    pub const FRESH: Self = Self {
        log_position: LogPosition(0),
        leadership_term_id: LeadershipTermId(-1),
        timestamp: 0,
        time_unit: ClusterTimeUnit::Millis,
    };
}

impl<S: ClusteredService> ServiceDriver<S> {
    /// A driver for a node that never leads.
    pub fn without_egress(service: S, member_id: MemberId, service_id: ServiceId) -> Self {
        Self::new(service, NoEgress, member_id, service_id)
    }
}

impl<S: ClusteredService, E: Egress + 'static> ServiceDriver<S, E> {
    /// A driver that is yet to be started.
    pub fn new(service: S, egress: E, member_id: MemberId, service_id: ServiceId) -> Self {
        Self {
            service,
            state: HostState::new(member_id, service_id),
            egress: RefCell::new(egress),
            is_started: false,
            unknown_close_count: 0,
        }
    }

    /// Begins anew with another instance of the service, as after [`new`](Self::new): for one that could not be
    /// started. The way to clients stays.
    pub fn renew(&mut self, service: S) {
        self.service = service;
        self.state = HostState::new(self.state.member_id, self.state.service_id);
        self.is_started = false;
        self.unknown_close_count = 0;
    }

    /// From now on the service may [`offer`](crate::Cluster::offer) messages of up to `length_max` bytes: what the log
    /// takes, the same on all nodes. Without a word of it there is no limit, nor after [`renew`](Self::renew).
    pub fn limit_offers(&mut self, length_max: usize) {
        self.state.offer_length_max = length_max;
    }

    /// Puts a session of a snapshot into the table. The service is not told; it sees it in `on_start`.
    ///
    /// # Errors
    /// The snapshot holds two sessions of one id.
    ///
    /// # Panics
    /// If the driver was started.
    pub fn restore_session(
        &mut self,
        id: ClusterSessionId,
        response_stream_id: i32,
        response_channel: &str,
        principal: &[u8],
    ) -> Result<(), ServiceError> {
        assert!(!self.is_started, "sessions are restored before the start");
        match self.state.sessions.insert(Session::new(id, response_stream_id, response_channel, principal)) {
            Ok(_) => Ok(()),
            Err(_) => Err(ServiceError::new(format!("the snapshot holds session {id} twice"))),
        }
    }

    /// Starts the service, from the application's part of a snapshot if there is one.
    ///
    /// # Errors
    /// That of the service. The session table is then empty, and another start may be tried.
    ///
    /// # Panics
    /// If the driver was started.
    pub fn start(
        &mut self,
        point: StartPoint,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        assert!(!self.is_started, "a service starts once");
        self.state.log_position = point.log_position;
        self.state.leadership_term_id = point.leadership_term_id;
        self.state.time = point.timestamp;
        self.state.time_unit = point.time_unit;
        let started = self.lifecycle(Callback::Start, |service, cluster| service.on_start(cluster, snapshot));
        match started {
            Ok(()) => self.is_started = true,
            Err(_) => self.state.sessions.clear(),
        }
        started
    }

    /// A `SessionMessageHeader` event. A negative id is that of a service; it and an unknown one give the
    /// service no session.
    ///
    /// # Errors
    /// The emissions are full.
    #[inline]
    pub fn on_session_message(
        &mut self,
        position: LogPosition,
        timestamp: i64,
        id: ClusterSessionId,
        payload: &[u8],
    ) -> Result<(), ServiceError> {
        self.advance(position, timestamp);
        let cluster = Cluster { state: &self.state, egress: &self.egress };
        let session = cluster.session(id);
        self.service.on_session_message(&cluster, session, timestamp, payload);
        self.state.check_emissions()
    }

    /// A `TimerEvent`.
    ///
    /// # Errors
    /// The emissions are full.
    pub fn on_timer_event(
        &mut self,
        position: LogPosition,
        timestamp: i64,
        correlation_id: i64,
    ) -> Result<(), ServiceError> {
        self.advance(position, timestamp);
        let cluster = Cluster { state: &self.state, egress: &self.egress };
        self.service.on_timer_event(&cluster, correlation_id, timestamp);
        self.state.check_emissions()
    }

    /// A `SessionOpenEvent`.
    ///
    /// # Errors
    /// A session of this id is open, or the emissions are full.
    pub fn on_session_open(
        &mut self,
        position: LogPosition,
        timestamp: i64,
        id: ClusterSessionId,
        response_stream_id: i32,
        response_channel: &str,
        principal: &[u8],
    ) -> Result<(), ServiceError> {
        self.advance(position, timestamp);
        let session = Session::new(id, response_stream_id, response_channel, principal);
        let Ok(session) = self.state.sessions.insert(session) else {
            return Err(ServiceError::new(format!(
                "the log opens session {id} at {position}, but it is open: the log or the snapshot is damaged"
            )));
        };
        if self.state.role == Role::Leader {
            self.egress.get_mut().connect(session);
        }
        let cluster = Cluster { state: &self.state, egress: &self.egress };
        let session = cluster.session(id).expect("it was inserted above");
        self.service.on_session_open(&cluster, session, timestamp);
        self.state.check_emissions()
    }

    /// A `SessionCloseEvent`. That of an unknown session is counted and not passed on, as in Java.
    ///
    /// # Errors
    /// The emissions are full.
    pub fn on_session_close(
        &mut self,
        position: LogPosition,
        timestamp: i64,
        id: ClusterSessionId,
        reason: CloseReason,
    ) -> Result<(), ServiceError> {
        self.advance(position, timestamp);
        let Some(session) = self.state.sessions.remove(id) else {
            self.unknown_close_count += 1;
            return Ok(());
        };
        if self.state.role == Role::Leader {
            self.egress.get_mut().disconnect(id);
        }
        let cluster = Cluster { state: &self.state, egress: &self.egress };
        let session = ClientSession { session: &session, cluster };
        self.service.on_session_close(&cluster, session, timestamp, reason);
        self.state.check_emissions()
    }

    /// A `NewLeadershipTermEvent`.
    ///
    /// # Errors
    /// The emissions are full.
    pub fn on_new_leadership_term(&mut self, term: &NewLeadershipTerm) -> Result<(), ServiceError> {
        self.advance(term.log_position, term.timestamp);
        self.state.leadership_term_id = term.leadership_term_id;
        self.state.time_unit = term.time_unit;
        let cluster = Cluster { state: &self.state, egress: &self.egress };
        self.service.on_new_leadership_term_event(&cluster, term);
        self.state.check_emissions()
    }

    /// A `ClusterActionRequest`, of which a service sees no more than the time and the position. If it asks for a
    /// snapshot that this node is to take, call [`take_snapshot`](Self::take_snapshot) or
    /// [`freeze`](Self::freeze) next.
    pub fn on_cluster_action(&mut self, position: LogPosition, timestamp: i64) {
        self.advance(position, timestamp);
    }

    /// Has the service write its state as of the current position. The marks and the
    /// [sessions](Self::sessions) before it are the runtime's to write.
    ///
    /// # Errors
    /// That of the service or the writer. The snapshot is void; the service may go on.
    pub fn take_snapshot(&mut self, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        self.assert_started();
        self.lifecycle(Callback::TakeSnapshot, |service, cluster| service.on_take_snapshot(cluster, snapshot))
    }

    /// A view of the state as of the current position that another thread can write; `None` if the service has
    /// none to offer.
    pub fn freeze(&mut self) -> Option<Box<dyn FrozenState>> {
        self.assert_started();
        self.lifecycle(Callback::TakeSnapshot, |service, cluster| service.freeze(cluster))
    }

    /// The node has this role now. The service is told if it is another than before. A node that begins to lead
    /// connects every session; closes that were requested before may be requested again, as in Java.
    pub fn on_role_change(&mut self, role: Role) {
        self.assert_started();
        let was = std::mem::replace(&mut self.state.role, role);
        if role == was {
            return;
        }
        let egress = self.egress.get_mut();
        if role == Role::Leader {
            for session in self.state.sessions.iter() {
                session.is_closing.set(false);
                egress.connect(session);
            }
        } else if was == Role::Leader {
            for session in self.state.sessions.iter() {
                egress.disconnect(session.id());
            }
        }
        self.lifecycle(Callback::RoleChange, |service, cluster| service.on_role_change(cluster, role));
    }

    /// The last call, unless the start failed. A second one does nothing.
    pub fn terminate(&mut self) {
        if std::mem::replace(&mut self.is_started, false) {
            self.lifecycle(Callback::Terminate, |service, cluster| service.on_terminate(cluster));
        }
    }

    /// The service's background work; the amount done.
    pub fn do_background_work(&mut self, now_ns: u64) -> usize {
        self.assert_started();
        self.lifecycle(Callback::BackgroundWork, |service, cluster| {
            service.do_background_work(cluster, now_ns)
        })
    }

    /// Replaces `fields` by those of the service.
    pub fn status(&self, fields: &mut StatusFields) {
        fields.clear();
        self.service.status(fields);
    }

    /// What was emitted since the last swap.
    pub fn emissions(&mut self) -> &Emissions {
        self.state.emissions.get_mut()
    }

    /// Takes what was emitted and leaves `empty` in its place, cleared.
    pub fn swap_emissions(&mut self, empty: &mut Emissions) {
        empty.clear();
        std::mem::swap(self.state.emissions.get_mut(), empty);
    }

    /// The open sessions by ascending id, as a snapshot holds them.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = &Session> {
        self.state.sessions.iter()
    }

    /// Where in the log the service stands.
    pub fn log_position(&self) -> LogPosition {
        self.state.log_position
    }

    /// The term that the service is in, -1 before the first.
    pub fn leadership_term_id(&self) -> LeadershipTermId {
        self.state.leadership_term_id
    }

    /// Cluster time of the last event.
    pub fn time(&self) -> i64 {
        self.state.time
    }

    /// The unit of cluster time.
    pub fn time_unit(&self) -> ClusterTimeUnit {
        self.state.time_unit
    }

    /// The role that the service was told.
    pub fn role(&self) -> Role {
        self.state.role
    }

    /// How often the log closed a session that was not open.
    pub fn unknown_close_count(&self) -> u64 {
        self.unknown_close_count
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The service, at the end of its life.
    pub fn into_service(self) -> S {
        self.service
    }

    /// The way to clients.
    pub fn egress_mut(&mut self) -> &mut E {
        self.egress.get_mut()
    }

    #[inline]
    fn advance(&mut self, position: LogPosition, timestamp: i64) {
        self.assert_started();
        assert!(position >= self.state.log_position, "the log runs forwards");
        self.state.log_position = position;
        self.state.time = timestamp;
    }

    #[inline]
    fn assert_started(&self) {
        assert!(self.is_started, "the service is not started");
    }

    fn lifecycle<T>(&mut self, callback: Callback, call: impl FnOnce(&mut S, &Cluster<'_>) -> T) -> T {
        self.state.callback = callback;
        let result = call(&mut self.service, &Cluster { state: &self.state, egress: &self.egress });
        self.state.callback = Callback::LogEvent;
        result
    }
}

impl<S, E> fmt::Debug for ServiceDriver<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceDriver")
            .field("state", &self.state)
            .field("is_started", &self.is_started)
            .finish_non_exhaustive()
    }
}

/// What a [`Cluster`] handle shows. Cells, because a service holds handles to its sessions while it emits.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) member_id: MemberId,
    pub(crate) service_id: ServiceId,
    pub(crate) role: Role,
    pub(crate) callback: Callback,
    pub(crate) time: i64,
    pub(crate) time_unit: ClusterTimeUnit,
    pub(crate) log_position: LogPosition,
    pub(crate) leadership_term_id: LeadershipTermId,
    pub(crate) sessions: SessionTable,
    /// Where claims of a node that does not lead are written. Borrowed while such a claim is open.
    pub(crate) scratch: RefCell<Vec<u8>>,
    /// The longest message that the log takes of a service, in bytes.
    pub(crate) offer_length_max: usize,
    emissions: RefCell<Emissions>,
    emissions_full: Cell<bool>,
}

impl HostState {
    fn new(member_id: MemberId, service_id: ServiceId) -> Self {
        let StartPoint { log_position, leadership_term_id, timestamp, time_unit } = StartPoint::FRESH;
        Self {
            member_id,
            service_id,
            role: Role::Follower,
            callback: Callback::LogEvent,
            time: timestamp,
            time_unit,
            log_position,
            leadership_term_id,
            sessions: SessionTable::default(),
            offer_length_max: usize::MAX,
            emissions: RefCell::new(Emissions::new()),
            scratch: RefCell::new(Vec::new()),
            emissions_full: Cell::new(false),
        }
    }

    #[inline]
    pub(crate) fn check_log_event(&self) -> Result<(), ClusterError> {
        if self.callback == Callback::LogEvent {
            Ok(())
        } else {
            Err(ClusterError::NotAllowed(self.callback))
        }
    }

    #[inline]
    pub(crate) fn check_reply(&self) -> Result<(), OfferError> {
        if self.callback == Callback::LogEvent { Ok(()) } else { Err(OfferError::NotAllowed(self.callback)) }
    }

    /// Appends to the emissions. A refusal is remembered, because a service that ignores it would go on with a
    /// state that the other nodes do not have.
    #[inline]
    pub(crate) fn emit(
        &self,
        push: impl FnOnce(&mut Emissions, LogPosition) -> Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        let result = push(&mut self.emissions.borrow_mut(), self.log_position);
        if result.is_err() {
            self.emissions_full.set(true);
        }
        result
    }

    #[inline]
    fn check_emissions(&self) -> Result<(), ServiceError> {
        if self.emissions_full.get() { Err(self.emissions_full_error()) } else { Ok(()) }
    }

    #[cold]
    fn emissions_full_error(&self) -> ServiceError {
        ServiceError::new(format!(
            "service {} at {}: {}",
            self.service_id,
            self.log_position,
            ClusterError::EmissionsFull
        ))
    }
}

#[cfg(test)]
mod tests;
