//! Clients' sessions, as their leader sees them: open in the log, and not closed there yet.

use std::fmt;
use std::net::SocketAddr;

use crate::codec::log::CloseReason;
use crate::image::ImageKey;

use super::egress::{Egress, EgressState};

/// A session between its open and its close event.
#[derive(Debug)]
pub(super) struct OpenSession {
    pub(super) id: i64,
    /// The client's id of its request; [`super::LeaderAction`] and events bear it.
    pub(super) correlation_id: i64,
    pub(super) encoded_principal: Vec<u8>,
    pub(super) egress: Egress,
    /// Where its connect request came from; `None` for one that another leader opened.
    pub(super) source: Option<SocketAddr>,
    /// The image that the client's messages come through, once it is known.
    pub(super) ingress_image: Option<ImageKey>,
    pub(super) last_activity_ns: u64,
    /// Somebody closed it, and the log does not take its close event yet.
    pub(super) closing: Option<CloseReason>,
    pub(super) event: PendingEvent,
    /// What the node was last told of its egress.
    pub(super) told_state: Option<EgressState>,
}

/// What a client must hear before anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PendingEvent {
    /// It heard it.
    None,
    /// That its session is open, once its open event, which ends here, is committed.
    Opened(i64),
    /// That this node leads now.
    NewLeader,
}

impl OpenSession {
    pub(super) fn is_open(&self) -> bool {
        self.closing.is_none()
    }

    /// The client in words. Without its session's id: the error log keeps every text that is new.
    pub(super) fn client(&self) -> impl fmt::Display + use<> {
        let source = self.source;
        fmt::from_fn(move |f| match source {
            Some(source) => write!(f, "a client at {}", source.ip()),
            None => f.write_str("a client that another leader let in"),
        })
    }
}

/// All sessions, in ascending order of id.
#[derive(Debug, Default)]
pub(super) struct OpenSessions {
    sessions: Vec<OpenSession>,
    /// Where the last one asked for is: the next message is most likely for it too.
    last_index: usize,
}

impl OpenSessions {
    pub(super) fn count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn insert(&mut self, session: OpenSession) {
        let index = self.sessions.partition_point(|other| other.id < session.id);
        self.sessions.insert(index, session);
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut OpenSession> {
        if self.sessions.get(self.last_index).is_none_or(|session| session.id != id) {
            self.last_index = self.sessions.binary_search_by_key(&id, |session| session.id).ok()?;
        }
        self.sessions.get_mut(self.last_index)
    }

    pub(super) fn remove_at(&mut self, index: usize) -> OpenSession {
        self.sessions.remove(index)
    }

    pub(super) fn at_mut(&mut self, index: usize) -> &mut OpenSession {
        &mut self.sessions[index]
    }

    pub(super) fn index_of(&self, id: i64) -> Option<usize> {
        self.sessions.binary_search_by_key(&id, |session| session.id).ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenSession> {
        self.sessions.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenSession> {
        self.sessions.iter_mut()
    }
}
