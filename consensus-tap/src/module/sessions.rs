//! Clients' sessions, as the log opens and closes them.

use crate::codec::log::{CloseReason, SessionOpenEvent};
use std::collections::BTreeMap;

/// Sessions that are open or closing, in ascending order of id.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    by_id: BTreeMap<i64, Session>,
    closing_count: usize,
}

/// One client's session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: i64,
    /// The client's own id of its connect request.
    pub correlation_id: i64,
    /// End of its open event in the log.
    pub opened_log_position: i64,
    /// Cluster time of its last message; -1 when it was loaded from a snapshot, 0 when a service closed it.
    pub time_of_last_activity: i64,
    /// Whether it takes messages.
    pub state: SessionState,
    /// Stream on which the client listens.
    pub response_stream_id: i32,
    /// Channel on which the client listens.
    pub response_channel: String,
    /// Who the client is. Empty when it was loaded from a snapshot and no service's snapshot told.
    pub encoded_principal: Vec<u8>,
}

/// The states of a session that a log implies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionState {
    /// It takes messages.
    Open,
    /// Someone closed it, and the log does not say so yet. A new leader appends the close event.
    Closing(CloseReason),
}

impl Session {
    /// Whether someone closed it.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, SessionState::Closing(_))
    }
}

impl Sessions {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// How many of them are closing: for a leader that looks whom to close, and mostly finds nobody.
    pub fn closing_count(&self) -> usize {
        self.closing_count
    }

    /// The session with this id.
    pub fn get(&self, id: i64) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// All sessions in ascending order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values()
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// Returns false when a session with this id is open or closing.
    pub(super) fn open(&mut self, event: &SessionOpenEvent<'_>, position: i64) -> bool {
        self.insert(Session {
            id: event.cluster_session_id,
            correlation_id: event.correlation_id,
            opened_log_position: position,
            time_of_last_activity: event.timestamp,
            state: SessionState::Open,
            response_stream_id: event.response_stream_id,
            response_channel: event.response_channel.to_owned(),
            encoded_principal: event.encoded_principal.to_vec(),
        })
    }

    /// Returns false when a session with this id is there.
    pub(super) fn insert(&mut self, session: Session) -> bool {
        match self.by_id.entry(session.id) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                self.closing_count += usize::from(session.is_closing());
                entry.insert(session);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    pub(super) fn remove(&mut self, id: i64) {
        let removed = self.by_id.remove(&id);
        self.closing_count -= usize::from(removed.is_some_and(|session| session.is_closing()));
    }

    pub(super) fn close_by_service(&mut self, id: i64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            self.closing_count += usize::from(!session.is_closing());
            session.state = SessionState::Closing(CloseReason::ServiceAction);
            // Long past: a new leader takes the session for inactive and appends its close event at once.
            session.time_of_last_activity = 0;
        }
    }
}
