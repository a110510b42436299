//! How a session begins: from a connect request to its open event, or from the leader before us.

use super::connecting::{ConnectingSession, Stage};
use super::egress::Egress;
use super::log_publisher::AppendError;
use super::sessions::{OpenSession, PendingEvent};
use super::{Leader, LeaderAction, LogAppender, Phase};
use crate::codec::log::{CloseReason, SessionOpenEvent};
use crate::codec::session::{Challenge, EventCode};
use crate::module::{ConsensusModuleState, Session, SessionState};

/// What becomes of a client in one look at it.
enum Step {
    Wait,
    Open,
    Drop,
}

impl Leader {
    /// Takes the sessions that the log left: open ones go on under this leader, closing ones get their close
    /// event. A cluster that starts closes all.
    pub(super) fn take_over_sessions(&mut self, state: &ConsensusModuleState) {
        for session in state.sessions().iter() {
            let closing = match session.state {
                SessionState::Closing(reason) => Some(reason),
                SessionState::Open if self.start.is_startup => Some(CloseReason::Timeout),
                SessionState::Open => None,
            };
            if closing.is_none() {
                self.actions.push_back(LeaderAction::SessionOpened {
                    cluster_session_id: session.id,
                    client_info: session.response_channel.clone(),
                });
            }
            let session = self.taken_over(session, closing);
            self.sessions.insert(session);
        }
    }

    fn taken_over(&mut self, session: &Session, closing: Option<CloseReason>) -> OpenSession {
        let limits = self.egress_limits();
        // Clients of a cluster that was down are not waited for.
        let egress = if self.start.is_startup {
            Egress::unreachable(limits)
        } else {
            let channel = (session.response_channel.as_str(), session.response_stream_id);
            // The log names these hosts, so there are no more than it has sessions.
            let ask = |endpoint| self.lookups.ask(endpoint);
            Egress::new(channel, limits, &mut self.random, ask).unwrap_or_else(|reason| {
                self.reports.push(format!("session {} cannot be answered: {reason}", session.id));
                Egress::unreachable(limits)
            })
        };
        OpenSession {
            id: session.id,
            correlation_id: session.correlation_id,
            encoded_principal: session.encoded_principal.clone(),
            egress,
            source: None,
            ingress_image: None,
            last_activity_ns: 0,
            closing,
            event: if closing.is_some() { PendingEvent::None } else { PendingEvent::NewLeader },
            told_state: None,
        }
    }

    /// Gets on with clients that have no session yet.
    pub(super) fn advance_connecting(&mut self, now_ns: u64, log: &mut impl LogAppender) -> usize {
        let mut work = 0;
        let mut connecting = std::mem::take(&mut self.connecting);
        connecting.retain_mut(|session| {
            let is_over = match self.advance_client(session, now_ns) {
                Step::Wait => false,
                Step::Open => self.open(session, now_ns, log),
                Step::Drop => {
                    session.egress.close(now_ns, &mut self.endpoint);
                    true
                }
            };
            work += usize::from(is_over);
            !is_over
        });
        self.connecting = connecting;
        work
    }

    fn advance_client(&mut self, session: &mut ConnectingSession, now_ns: u64) -> Step {
        if session.egress.is_unreachable() {
            self.counters.clients_rejected += 1;
            let ConnectingSession { source, response_channel, .. } = &*session;
            let report = || {
                format!(
                    "a client at {} cannot be answered: the host of its response channel \
                     `{response_channel}` does not resolve",
                    source.ip()
                )
            };
            self.reports.push_of_client(report, now_ns);
            return Step::Drop;
        }
        if session.has_left && !session.is_refused() {
            return Step::Drop;
        }
        let deadline_ns = session.last_activity_ns.saturating_add(self.config.session_timeout_ns);
        if now_ns > deadline_ns && self.phase == Phase::Active {
            self.counters.clients_timed_out += u64::from(!session.is_refused());
            return Step::Drop;
        }
        let was_refused = session.is_refused();
        session.decide(&self.endpoint, self.authenticator.as_mut());
        if !was_refused && let Stage::Refused { detail, .. } = &session.stage {
            let report = || format!("a client at {} gets no session: {detail}", session.source.ip());
            self.reports.push_of_client(report, now_ns);
        }
        self.message.clear();
        match &session.stage {
            Stage::Undecided | Stage::Challenged => Step::Wait,
            Stage::Challenge(challenge) => {
                let challenge = Challenge {
                    correlation_id: session.correlation_id,
                    cluster_session_id: session.id,
                    encoded_challenge: challenge,
                };
                challenge.encode(&mut self.message);
                if session.egress.offer_event(&self.message, &mut self.endpoint) {
                    session.stage = Stage::Challenged;
                }
                Step::Wait
            }
            Stage::Accepted(_) if session.egress.is_connected(&self.endpoint) => Step::Open,
            Stage::Accepted(_) => Step::Wait,
            Stage::Refused { code, detail } => {
                let ids = (session.id, session.correlation_id);
                self.identity.session_event(ids, *code, detail).encode(&mut self.message);
                if !session.egress.offer_event(&self.message, &mut self.endpoint) {
                    return Step::Wait;
                }
                self.counters.clients_rejected += 1;
                Step::Drop
            }
        }
    }

    /// Appends a client's open event. Returns false when the client has no session yet: the log takes the
    /// event later, or never.
    fn open(&mut self, session: &mut ConnectingSession, now_ns: u64, log: &mut impl LogAppender) -> bool {
        let Stage::Accepted(encoded_principal) = &session.stage else { return false };
        if self.phase != Phase::Active {
            return false;
        }
        let event = SessionOpenEvent {
            leadership_term_id: 0,
            correlation_id: session.correlation_id,
            cluster_session_id: session.id,
            timestamp: 0,
            response_stream_id: session.response_stream_id,
            response_channel: &session.response_channel,
            encoded_principal,
        };
        let opened_position = match self.log.append_session_open(&event, log) {
            Ok(position) => position,
            Err(AppendError::Full) => {
                self.counters.log_full += 1;
                return false;
            }
            Err(AppendError::TooLong) => {
                let detail = "response channel and principal are longer than the log allows".to_owned();
                session.stage = Stage::Refused { code: EventCode::Error, detail };
                return false;
            }
        };
        let encoded_principal = encoded_principal.clone();
        let egress = std::mem::replace(&mut session.egress, Egress::unreachable(self.egress_limits()));
        self.sessions.insert(OpenSession {
            id: session.id,
            correlation_id: session.correlation_id,
            encoded_principal,
            egress,
            source: Some(session.source),
            ingress_image: Some(session.image),
            last_activity_ns: now_ns,
            closing: None,
            event: PendingEvent::Opened(opened_position),
            told_state: None,
        });
        self.counters.sessions_opened += 1;
        let ConnectingSession { client_info, source, image, .. } = session;
        let client_info = format!("{client_info} sourceIdentity={source} sessionId={}", image.session_id);
        self.actions.push_back(LeaderAction::SessionOpened { cluster_session_id: session.id, client_info });
        true
    }
}
