//! The open sessions of one service.

use std::cell::Cell;

use crate::ClusterSessionId;

/// One client's session, as the log opened it and a snapshot holds it.
#[derive(Clone, Debug)]
pub struct Session {
    id: ClusterSessionId,
    response_stream_id: i32,
    response_channel: Box<str>,
    principal: Box<[u8]>,
    /// The service has requested the close. Not part of a snapshot: the consensus module keeps that.
    pub(crate) is_closing: Cell<bool>,
}

impl Session {
    /// A session of these parts.
    pub fn new(
        id: ClusterSessionId,
        response_stream_id: i32,
        response_channel: &str,
        principal: &[u8],
    ) -> Self {
        Self {
            id,
            response_stream_id,
            response_channel: response_channel.into(),
            principal: principal.into(),
            is_closing: Cell::new(false),
        }
    }

    /// Its identity.
    pub fn id(&self) -> ClusterSessionId {
        self.id
    }

    /// The stream on which the client listens.
    pub fn response_stream_id(&self) -> i32 {
        self.response_stream_id
    }

    /// The channel on which the client listens.
    pub fn response_channel(&self) -> &str {
        &self.response_channel
    }

    /// The encoded principal.
    pub fn principal(&self) -> &[u8] {
        &self.principal
    }
}

/// Sessions by ascending id. The ids lie apart from the rest, so that a search touches few cache lines, and the
/// last hit is tried first: clients send in bursts.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    ids: Vec<i64>,
    sessions: Vec<Session>,
    last_hit: Cell<usize>,
}

impl SessionTable {
    #[inline]
    pub(crate) fn get(&self, id: ClusterSessionId) -> Option<&Session> {
        let mut index = self.last_hit.get();
        if self.ids.get(index) != Some(&id.0) {
            index = self.ids.binary_search(&id.0).ok()?;
            self.last_hit.set(index);
        }
        self.sessions.get(index)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Session> {
        self.sessions.iter()
    }

    /// Adds a session; gives it back if its id is taken.
    pub(crate) fn insert(&mut self, session: Session) -> Result<&Session, Session> {
        let id = session.id.0;
        let index = match self.ids.last() {
            Some(&last) if last >= id => match self.ids.binary_search(&id) {
                Ok(_) => return Err(session),
                Err(index) => index,
            },
            // Sessions open in the order of their ids, so this is the rule.
            _ => self.ids.len(),
        };
        self.ids.insert(index, id);
        self.sessions.insert(index, session);
        Ok(&self.sessions[index])
    }

    pub(crate) fn remove(&mut self, id: ClusterSessionId) -> Option<Session> {
        let index = self.ids.binary_search(&id.0).ok()?;
        self.ids.remove(index);
        Some(self.sessions.remove(index))
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.sessions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: i64) -> Session {
        Session::new(ClusterSessionId(id), 102, "aeron:udp?endpoint=localhost:0", b"")
    }

    fn ids(table: &SessionTable) -> Vec<i64> {
        table.iter().map(|session| session.id().0).collect()
    }

    #[test]
    fn keeps_sessions_by_ascending_id_whatever_the_order_of_insertion() {
        let mut table = SessionTable::default();
        for id in [5, 1, 9, 7] {
            table.insert(session(id)).unwrap();
        }
        assert_eq!(ids(&table), [1, 5, 7, 9]);
    }

    #[test]
    fn refuses_an_id_that_is_taken() {
        let mut table = SessionTable::default();
        table.insert(session(1)).unwrap();
        table.insert(session(2)).unwrap();
        assert!(table.insert(session(1)).is_err());
        assert!(table.insert(session(2)).is_err());
        assert_eq!(ids(&table), [1, 2]);
    }

    #[test]
    fn finds_the_right_session_after_the_last_hit_has_moved() {
        let mut table = SessionTable::default();
        for id in [1, 2, 3] {
            table.insert(session(id)).unwrap();
        }
        assert_eq!(table.get(ClusterSessionId(3)).unwrap().id().0, 3);
        table.remove(ClusterSessionId(1)).unwrap();
        assert_eq!(table.get(ClusterSessionId(3)).unwrap().id().0, 3);
        assert_eq!(table.get(ClusterSessionId(2)).unwrap().id().0, 2);
        table.remove(ClusterSessionId(2)).unwrap();
        assert!(table.get(ClusterSessionId(2)).is_none());
        assert!(table.get(ClusterSessionId(-1)).is_none());
    }
}
