//! The cluster as a service sees it during one callback.

use std::cell::RefCell;
use std::fmt;

use crate::error::ClusterError;
use crate::host::{Egress, HostState};
use crate::{ClientSession, ClusterSessionId, LeadershipTermId, LogPosition, MemberId, ServiceId};

/// The way from a service to the cluster that runs it, lent for one callback.
///
/// The lifetime keeps it inside the callback, and it is neither `Send` nor `Sync`:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<service_api::Cluster<'static>>();
/// ```
///
/// ```compile_fail,E0277
/// fn sync<T: Sync>() {}
/// sync::<service_api::Cluster<'static>>();
/// ```
///
/// What a service requests is kept in order, with the position of the event that caused it, and carried out by
/// the consensus module when it has applied that event too. Nothing here blocks, and on a leader and on a
/// standby all of it behaves alike.
#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    pub(crate) state: &'a HostState,
    pub(crate) egress: &'a RefCell<dyn Egress>,
}

impl<'a> Cluster<'a> {
    /// This node's own id; for log lines, never for state.
    pub fn member_id(&self) -> MemberId {
        self.state.member_id
    }

    /// Which of the node's services this one is.
    pub fn service_id(&self) -> ServiceId {
        self.state.service_id
    }

    /// What this node is at the moment. A standby is a follower until it is activated. Never for state.
    pub fn role(&self) -> Role {
        self.state.role
    }

    /// Cluster time: the timestamp of the event being applied, in [`time_unit`](Self::time_unit)s since
    /// 1970-01-01 UTC. Assigned by the leader, the same on every node.
    pub fn time(&self) -> i64 {
        self.state.time
    }

    /// The unit of every timestamp and deadline. Milliseconds until the first term or snapshot says otherwise.
    pub fn time_unit(&self) -> ClusterTimeUnit {
        self.state.time_unit
    }

    /// The end of the event being applied.
    pub fn log_position(&self) -> LogPosition {
        self.state.log_position
    }

    /// The term of the event being applied, -1 before the first.
    pub fn leadership_term_id(&self) -> LeadershipTermId {
        self.state.leadership_term_id
    }

    /// The open sessions by ascending id, the same on every node.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = ClientSession<'a>> + use<'a> {
        let cluster = *self;
        self.state.sessions.iter().map(move |session| ClientSession { session, cluster })
    }

    /// The open session of this id.
    pub fn session(&self, id: ClusterSessionId) -> Option<ClientSession<'a>> {
        self.state.sessions.get(id).map(|session| ClientSession { session, cluster: *self })
    }

    /// Has a timer event put into the log at `deadline`, a cluster time. A timer that already exists under
    /// `correlation_id` moves. The ids are shared by all services of the cluster: keep some bits for
    /// [`service_id`](Self::service_id).
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn schedule_timer(&self, correlation_id: i64, deadline: i64) -> Result<(), ClusterError> {
        self.state.check_log_event()?;
        if correlation_id == i64::MAX || deadline == i64::MAX {
            return Err(ClusterError::ReservedValue);
        }
        self.state.emit(|emissions, position| emissions.schedule_timer(position, correlation_id, deadline))
    }

    /// Removes a timer. Its event may be in the log already and is then still delivered.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn cancel_timer(&self, correlation_id: i64) -> Result<(), ClusterError> {
        self.state.check_log_event()?;
        if correlation_id == i64::MAX {
            return Err(ClusterError::ReservedValue);
        }
        self.state.emit(|emissions, position| emissions.cancel_timer(position, correlation_id))
    }

    /// Has a message put into the log, where every service sees it, without a session.
    ///
    /// Keep it to 16,352 bytes where Java members run the same service: by default theirs offers over
    /// `aeron:ipc?term-length=128k`, whose longest message is an eighth of the term, 16,384 bytes, of which the session
    /// header takes 32; `Cluster.offer` throws for a longer one. A node of ours refuses only what the log cannot take: an
    /// eighth of the log's term, at most 16 MiB, less those 32. What lies between parts its state from theirs.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn offer(&self, message: &[u8]) -> Result<(), ClusterError> {
        self.state.check_log_event()?;
        let (length, length_max) = (message.len(), self.state.offer_length_max);
        if length > length_max {
            return Err(ClusterError::TooLong { length, length_max });
        }
        self.state.emit(|emissions, position| emissions.offer(position, message))
    }

    /// Has a session closed; `on_session_close` follows when the close is in the log. Once is enough: while a
    /// close is under way another request changes nothing.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn close_session(&self, id: ClusterSessionId) -> Result<(), ClusterError> {
        self.state.check_log_event()?;
        let session = self.state.sessions.get(id).ok_or(ClusterError::UnknownSession(id))?;
        if !session.is_closing.get() {
            self.state.emit(|emissions, position| emissions.close_session(position, id))?;
            session.is_closing.set(true);
        }
        Ok(())
    }

    /// Lets the runtime send what waits, between two tries of a reply that was back-pressured.
    pub fn idle(&self) {
        if let Ok(mut egress) = self.egress.try_borrow_mut() {
            egress.idle();
        }
    }
}

impl fmt::Debug for Cluster<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("member_id", &self.member_id())
            .field("service_id", &self.service_id())
            .field("role", &self.role())
            .field("time", &self.time())
            .field("log_position", &self.log_position())
            .field("leadership_term_id", &self.leadership_term_id())
            .finish_non_exhaustive()
    }
}

/// What a node is in its cluster. The numbers are Aeron's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(i32)]
pub enum Role {
    /// Applies what a leader decides; a standby always, until it is activated.
    Follower = 0,
    /// Stands for election.
    Candidate = 1,
    /// Appends to the log and replies to clients.
    Leader = 2,
}

impl Role {
    /// As it stands in Aeron's counters.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The role of this number, if there is one.
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::Follower, Self::Candidate, Self::Leader].into_iter().find(|role| role.code() == code)
    }
}

/// The unit of cluster time. The numbers are those of `ClusterTimeUnit` in Aeron's cluster schema.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(i32)]
pub enum ClusterTimeUnit {
    /// Milliseconds, the default.
    Millis = 0,
    /// Microseconds.
    Micros = 1,
    /// Nanoseconds.
    Nanos = 2,
}

impl ClusterTimeUnit {
    /// As it stands in messages.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The unit of this number, if there is one.
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::Millis, Self::Micros, Self::Nanos].into_iter().find(|unit| unit.code() == code)
    }

    /// That many milliseconds in this unit, saturating.
    pub fn from_millis(self, millis: i64) -> i64 {
        millis.saturating_mul(match self {
            Self::Millis => 1,
            Self::Micros => 1_000,
            Self::Nanos => 1_000_000,
        })
    }
}
