//! The trait that a user implements.

use crate::{
    ClientSession, CloseReason, Cluster, ClusterTimeUnit, LeadershipTermId, LogPosition, MemberId, Role,
    ServiceError, SnapshotReader, SnapshotWriter, StatusFields,
};

/// A deterministic state machine over the cluster's log.
///
/// Every node of the cluster gives the same events in the same order to its copy of the service, from one thread,
/// one callback at a time. State may depend on nothing else: no clock (use [`Cluster::time`]), no random numbers,
/// no iteration over a `HashMap`, no role. The test kit's
/// [`assert_deterministic`](crate::test_kit::assert_deterministic) finds most slips.
///
/// Life cycle: `on_start`, then the other callbacks in any number and order, then `on_terminate`. A panic
/// stops the service as an error does.
pub trait ClusteredService: Send {
    /// Begins the life of the service, fresh or from a snapshot. Read all of the snapshot: what is left unread
    /// is not an error to the runtime, but probably is one in your format.
    ///
    /// # Errors
    /// The snapshot cannot be used. The node then does not start, and shows the message.
    fn on_start(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError>;

    /// A client has connected and was authenticated.
    fn on_session_open(&mut self, cluster: &Cluster<'_>, session: ClientSession<'_>, timestamp: i64) {
        let _ = (cluster, session, timestamp);
    }

    /// A message, from a client, or (`session` is `None`) one that a service of this cluster offered. Every
    /// service sees all of them. `payload` lies in the log and is valid during the callback.
    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        payload: &[u8],
    );

    /// A client has gone. `session` is no longer among [`Cluster::sessions`].
    fn on_session_close(
        &mut self,
        cluster: &Cluster<'_>,
        session: ClientSession<'_>,
        timestamp: i64,
        reason: CloseReason,
    ) {
        let _ = (cluster, session, timestamp, reason);
    }

    /// A timer has fired that some service of this cluster scheduled under `correlation_id`.
    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, timestamp: i64) {
        let _ = (cluster, correlation_id, timestamp);
    }

    /// Writes the state, so that `on_start` of a fresh copy can restore it. Called at an event of the log, or
    /// between two of them when only this node takes a snapshot: it must not change the state.
    ///
    /// # Errors
    /// Pass on those of the writer; any other gives the snapshot up as well, and the service goes on.
    fn on_take_snapshot(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError>;

    /// A frozen view of the state that another thread writes while this one goes on, or `None` (the default) if
    /// the service has no cheap way to make one and writes its snapshots itself, between two events. What it writes
    /// must be what [`on_take_snapshot`](Self::on_take_snapshot) would write now.
    fn freeze(&mut self, cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        let _ = cluster;
        None
    }

    /// This node has another role now. It is the one callback that differs from node to node.
    fn on_role_change(&mut self, cluster: &Cluster<'_>, role: Role) {
        let _ = (cluster, role);
    }

    /// A leader was elected; what follows in the log is of its term.
    fn on_new_leadership_term_event(&mut self, cluster: &Cluster<'_>, term: &NewLeadershipTerm) {
        let _ = (cluster, term);
    }

    /// The last callback. It is not called after a failed start.
    fn on_terminate(&mut self, cluster: &Cluster<'_>) {
        let _ = cluster;
    }

    /// Called in every duty cycle for work that has no bearing on the state, such as keeping a connection alive.
    /// `now_ns` is a monotonic clock of this node. Returns the amount of work done, 0 for none.
    fn do_background_work(&mut self, cluster: &Cluster<'_>, now_ns: u64) -> usize {
        let _ = (cluster, now_ns);
        0
    }

    /// Adds the figures that an operator should see. Called some twenty times a second between two events, once before
    /// [`on_start`](Self::on_start) and once after [`on_terminate`](Self::on_terminate), so it must be cheap.
    ///
    /// The call before `on_start` decides which figures there are: add each of them there, whatever its value. Later
    /// calls may leave some out, which then keep their last value, but a figure that is new, or of another kind than at
    /// first, is not shown. Names are at most 100 bytes long and differ from each other.
    fn status(&self, fields: &mut StatusFields) {
        let _ = fields;
    }
}

/// State that no longer changes, written as a snapshot on another thread.
pub trait FrozenState: Send {
    /// Writes it.
    ///
    /// # Errors
    /// As for [`ClusteredService::on_take_snapshot`].
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError>;
}

/// The first event of a leader's reign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewLeadershipTerm {
    /// Of the new term.
    pub leadership_term_id: LeadershipTermId,
    /// The end of this event.
    pub log_position: LogPosition,
    /// Cluster time of this event.
    pub timestamp: i64,
    /// Where the term begins.
    pub term_base_log_position: LogPosition,
    /// Who leads.
    pub leader_member_id: MemberId,
    /// Of the leader's publication of the log.
    pub log_session_id: i32,
    /// Of all timestamps in the term.
    pub time_unit: ClusterTimeUnit,
    /// That the consensus module was configured with: major << 16 | minor << 8 | patch.
    pub app_version: i32,
}

impl<S: ClusteredService + ?Sized> ClusteredService for Box<S> {
    fn on_start(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        (**self).on_start(cluster, snapshot)
    }

    fn on_session_open(&mut self, cluster: &Cluster<'_>, session: ClientSession<'_>, timestamp: i64) {
        (**self).on_session_open(cluster, session, timestamp);
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        payload: &[u8],
    ) {
        (**self).on_session_message(cluster, session, timestamp, payload);
    }

    fn on_session_close(
        &mut self,
        cluster: &Cluster<'_>,
        session: ClientSession<'_>,
        timestamp: i64,
        reason: CloseReason,
    ) {
        (**self).on_session_close(cluster, session, timestamp, reason);
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, timestamp: i64) {
        (**self).on_timer_event(cluster, correlation_id, timestamp);
    }

    fn on_take_snapshot(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        (**self).on_take_snapshot(cluster, snapshot)
    }

    fn freeze(&mut self, cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        (**self).freeze(cluster)
    }

    fn on_role_change(&mut self, cluster: &Cluster<'_>, role: Role) {
        (**self).on_role_change(cluster, role);
    }

    fn on_new_leadership_term_event(&mut self, cluster: &Cluster<'_>, term: &NewLeadershipTerm) {
        (**self).on_new_leadership_term_event(cluster, term);
    }

    fn on_terminate(&mut self, cluster: &Cluster<'_>) {
        (**self).on_terminate(cluster);
    }

    fn do_background_work(&mut self, cluster: &Cluster<'_>, now_ns: u64) -> usize {
        (**self).do_background_work(cluster, now_ns)
    }

    fn status(&self, fields: &mut StatusFields) {
        (**self).status(fields);
    }
}
