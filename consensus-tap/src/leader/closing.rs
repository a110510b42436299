//! Looks after open sessions: what they must be told, and when and why they end.

use super::egress::EgressState;
use super::ingress::EndedImage;
use super::log_publisher::AppendError;
use super::sessions::PendingEvent;
use super::{Leader, LeaderAction, LogAppender, Phase};
use crate::codec::log::CloseReason;
use crate::codec::session::{EventCode, NewLeaderEvent};
use crate::module::{ConsensusModuleState, SessionState};

impl Leader {
    /// The client at the other end of an ingress image is gone. What was lost while the leader was not active
    /// closes no session, as with Java: the client may come back, and its next keep-alive tells through what.
    pub(super) fn on_ingress_ended(&mut self, EndedImage { key, has_left }: EndedImage) {
        for session in self.sessions.iter_mut().filter(|session| session.ingress_image == Some(key)) {
            if !has_left {
                session.ingress_image = None;
            } else if session.is_open() {
                session.closing = Some(CloseReason::Timeout);
            }
        }
        for session in self.connecting.iter_mut().filter(|session| session.image == key) {
            session.has_left = true;
        }
        self.tick_due_ns = 0;
    }

    /// Tells sessions what they must hear, and appends the close events of those that end.
    pub(super) fn check_sessions(
        &mut self,
        now_ns: u64,
        commit_position: i64,
        state: &ConsensusModuleState,
        log: &mut impl LogAppender,
    ) -> usize {
        if !matches!(self.phase, Phase::Active | Phase::Suspended) {
            return 0;
        }
        if state.sessions().closing_count() > 0 {
            self.close_for_services(state);
        }
        let mut work = 0;
        if self.phase == Phase::Active {
            if !self.is_stalled(now_ns) {
                self.close_silent(now_ns);
            }
            work += self.append_closes(now_ns, log);
        }
        for index in 0..self.sessions.count() {
            work += self.tell_session(index, commit_position, now_ns);
        }
        work
    }

    fn close_for_services(&mut self, state: &ConsensusModuleState) {
        for session in state.sessions().iter() {
            if let SessionState::Closing(reason) = session.state
                && let Some(session) = self.sessions.get_mut(session.id)
            {
                session.closing.get_or_insert(reason);
            }
        }
    }

    fn close_silent(&mut self, now_ns: u64) {
        let timeout_ns = self.config.session_timeout_ns;
        for session in self.sessions.iter_mut() {
            if session.is_open() && now_ns > session.last_activity_ns.saturating_add(timeout_ns) {
                session.closing = Some(CloseReason::Timeout);
            }
        }
    }

    fn append_closes(&mut self, now_ns: u64, log: &mut impl LogAppender) -> usize {
        let mut work = 0;
        loop {
            let closing = self.sessions.iter().find_map(|session| Some((session.id, session.closing?)));
            let Some((id, reason)) = closing else { return work };
            if self.append_close(id, reason, now_ns, log).is_err() {
                return work;
            }
            work += 1;
        }
    }

    /// Appends a session's close event, and lets it go.
    pub(super) fn append_close(
        &mut self,
        id: i64,
        reason: CloseReason,
        now_ns: u64,
        log: &mut impl LogAppender,
    ) -> Result<(), AppendError> {
        let Some(index) = self.sessions.index_of(id) else { return Ok(()) };
        let closed_position = match self.log.append_session_close(id, reason, log) {
            Ok(position) => position,
            Err(error) => {
                self.counters.log_full += 1;
                return Err(error);
            }
        };
        let session = self.sessions.remove_at(index);
        self.counters.sessions_closed += 1;
        if reason == CloseReason::Timeout {
            self.counters.clients_timed_out += 1;
            let report = || format!("{} is gone or fell silent: its session is closed", session.client());
            self.reports.push_of_client(report, now_ns);
        }
        self.let_go(session, (reason, closed_position), now_ns);
        Ok(())
    }

    /// Sends the event that a session's client must hear first, and tells the node whether the client
    /// listens.
    fn tell_session(&mut self, index: usize, commit_position: i64, now_ns: u64) -> usize {
        let session = self.sessions.at_mut(index);
        let mut work = 0;
        let is_due = match session.event {
            PendingEvent::None => false,
            PendingEvent::Opened(position) => position <= commit_position,
            PendingEvent::NewLeader => true,
        };
        if is_due && session.egress.is_connected(&self.endpoint) {
            self.message.clear();
            match session.event {
                PendingEvent::NewLeader => NewLeaderEvent {
                    leadership_term_id: self.identity.leadership_term_id,
                    cluster_session_id: session.id,
                    leader_member_id: self.identity.member_id,
                    ingress_endpoints: &self.identity.ingress_endpoints,
                }
                .encode(&mut self.message),
                _ => {
                    let ids = (session.id, session.correlation_id);
                    self.identity.session_event(ids, EventCode::Ok, "").encode(&mut self.message);
                }
            }
            if session.egress.offer_event(&self.message, &mut self.endpoint) {
                session.event = PendingEvent::None;
                session.egress.open_gate(&mut self.endpoint);
                work += 1;
            }
        }
        let state = session.egress.state(&self.endpoint);
        if session.told_state != Some(state) {
            // One that another leader let in is reached a moment later.
            let is_lost = session.told_state.is_some() && state != EgressState::Connected;
            if is_lost && session.is_open() {
                let report = || match state {
                    EgressState::BackPressured => {
                        format!(
                            "{} takes replies more slowly than they come: some may be lost",
                            session.client()
                        )
                    }
                    _ => format!("{} does not listen: its replies are lost", session.client()),
                };
                self.reports.push_of_client(report, now_ns);
            }
            session.told_state = Some(state);
            let cluster_session_id = session.id;
            self.actions.push_back(LeaderAction::EgressChanged { cluster_session_id, state });
            work += 1;
        }
        work
    }

    /// Sends replies that waited.
    pub(super) fn flush_egress(&mut self) -> usize {
        let Self { sessions, endpoint, .. } = self;
        sessions.iter_mut().map(|session| session.egress.flush(endpoint)).sum()
    }
}
