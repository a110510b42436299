//! What clients ask for, message by message.

use std::net::SocketAddr;

use super::connecting::{ConnectingSession, INVALID_VERSION, SESSION_LIMIT, Stage};
use super::egress::{Egress, EgressLimits};
use super::ingress::Intake;
use super::log_publisher::AppendError;
use super::sessions::OpenSessions;
use super::{ControlAction, Leader, LeaderCounters, LogAppender};
use crate::codec::log::CloseReason;
use crate::codec::session::{
    AdminRequest, AdminRequestType, AdminResponse, AdminResponseCode, CLUSTER_PROTOCOL_VERSION,
    ChallengeResponse, EventCode, IngressMessage, SessionCloseRequest, SessionConnectRequest,
    SessionKeepAlive,
};
use crate::image::ImageKey;
use crate::publication::PublicationParams;

/// Clients that wait to be told why they get no session.
const REFUSED_COUNT_MAX: usize = 64;
/// What a connect request may make the leader keep, in bytes. Aeron sets no bound.
const RESPONSE_CHANNEL_LENGTH_MAX: usize = 4 * 1024;
const CREDENTIALS_LENGTH_MAX: usize = 64 * 1024;
const CLIENT_INFO_LENGTH_MAX: usize = 512;

/// Does what nearly every message asks for: `append` puts a message in the log, `(term, now)` is what it is
/// held against.
#[inline]
pub(super) fn on_frequent(
    message: &[u8],
    image: ImageKey,
    (leadership_term_id, now_ns): (i64, u64),
    sessions: &mut OpenSessions,
    counters: &mut LeaderCounters,
    append: impl FnOnce(i64, &[u8]) -> Result<i64, AppendError>,
) -> Intake {
    match IngressMessage::decode(message) {
        Ok(IngressMessage::Session(header, payload)) => {
            let session = sessions.get_mut(header.cluster_session_id);
            let session = session.filter(|session| session.is_open());
            match session {
                Some(session) if header.leadership_term_id == leadership_term_id => {
                    match append(session.id, payload) {
                        Ok(_) => {
                            session.last_activity_ns = now_ns;
                            counters.messages_appended += 1;
                        }
                        Err(AppendError::Full) => {
                            counters.log_full += 1;
                            return Intake::LogFull;
                        }
                        Err(AppendError::TooLong) => {
                            counters.invalid += 1;
                            return Intake::Invalid;
                        }
                    }
                }
                _ => counters.messages_ignored += 1,
            }
            Intake::Taken
        }
        Ok(IngressMessage::KeepAlive(SessionKeepAlive { leadership_term_id: term, cluster_session_id })) => {
            let session = sessions.get_mut(cluster_session_id).filter(|session| session.is_open());
            match session {
                Some(session) if term == leadership_term_id => {
                    session.ingress_image.get_or_insert(image);
                    session.last_activity_ns = now_ns;
                }
                _ => counters.messages_ignored += 1,
            }
            Intake::Taken
        }
        Ok(IngressMessage::Unknown(_)) => {
            counters.messages_ignored += 1;
            Intake::Taken
        }
        Ok(_) => Intake::Control,
        Err(_) => {
            counters.invalid += 1;
            Intake::Invalid
        }
    }
}

impl Leader {
    /// Does what any message asks for.
    pub(super) fn on_ingress_message(
        &mut self,
        message: &[u8],
        (image, source): (ImageKey, SocketAddr),
        now_ns: u64,
        log: &mut impl LogAppender,
    ) -> Intake {
        let Self { sessions, counters, log: publisher, identity, .. } = self;
        let now = (identity.leadership_term_id, now_ns);
        let intake = on_frequent(message, image, now, sessions, counters, |session_id, payload| {
            publisher.append_message(session_id, payload, log)
        });
        if intake != Intake::Control {
            return intake;
        }
        match IngressMessage::decode(message) {
            Ok(IngressMessage::Connect(request)) => self.on_connect(&request, (image, source), now_ns),
            Ok(IngressMessage::Close(request)) => return self.on_close_request(&request, now_ns, log),
            Ok(IngressMessage::ChallengeResponse(response)) => self.on_challenge_response(&response, now_ns),
            Ok(IngressMessage::AdminRequest(request)) => self.on_admin_request(&request),
            _ => {}
        }
        Intake::Taken
    }

    fn on_connect(
        &mut self,
        request: &SessionConnectRequest<'_>,
        (image, source): (ImageKey, SocketAddr),
        now_ns: u64,
    ) {
        let correlation_id = request.correlation_id;
        let is_repeated = self.connecting.iter().any(|session| session.is_repeated_by(image, correlation_id))
            || self.sessions.iter().any(|session| {
                session.ingress_image == Some(image) && session.correlation_id == correlation_id
            });
        if is_repeated {
            self.counters.connects_repeated += 1;
            return;
        }
        let refusal = self.refusal_of(request);
        let refused_count = self.connecting.iter().filter(|session| session.is_refused()).count();
        if self.stream_count() > self.stream_count_max()
            || refusal.is_some() && refused_count >= REFUSED_COUNT_MAX
        {
            self.counters.connects_over_limit += 1;
            return;
        }
        let mut limits = self.egress_limits();
        if refusal.is_some() {
            limits = EgressLimits { term_length: PublicationParams::TERM_LENGTH, ..limits };
        }
        let channel = (request.response_channel, request.response_stream_id);
        let egress = if request.response_channel.len() > RESPONSE_CHANNEL_LENGTH_MAX {
            Err(format!("its response channel is longer than {RESPONSE_CHANNEL_LENGTH_MAX} bytes"))
        } else {
            let ask = |endpoint| self.lookups.ask_for_client(endpoint);
            Egress::new(channel, limits, &mut self.random, ask)
        };
        let egress = match egress {
            Ok(egress) => egress,
            Err(reason) => {
                self.counters.clients_rejected += 1;
                let report = || format!("a client at {} cannot be answered: {reason}", source.ip());
                self.reports.push_of_client(report, now_ns);
                return;
            }
        };
        let id = self.next_session_id;
        self.next_session_id += 1;
        let stage = match refusal {
            Some((code, detail)) => {
                let report = || format!("a client at {} gets no session: {detail}", source.ip());
                self.reports.push_of_client(report, now_ns);
                Stage::Refused { code, detail }
            }
            None => Stage::Undecided,
        };
        let mut client_info = request.client_info.to_owned();
        client_info.truncate(CLIENT_INFO_LENGTH_MAX);
        self.connecting.push(ConnectingSession {
            id,
            correlation_id,
            response_stream_id: request.response_stream_id,
            response_channel: request.response_channel.to_owned(),
            client_info,
            source,
            image,
            credentials: request.encoded_credentials.0.to_vec(),
            egress,
            stage,
            last_activity_ns: now_ns,
            has_left: false,
        });
        self.tick_due_ns = 0;
    }

    /// Why a client gets no session, before anybody looks at its credentials.
    fn refusal_of(&self, request: &SessionConnectRequest<'_>) -> Option<(EventCode, String)> {
        let (open_count, connecting_count) = self.session_counts();
        let detail = if request.version.major() != CLUSTER_PROTOCOL_VERSION.major() {
            format!("{INVALID_VERSION} {}, cluster is {CLUSTER_PROTOCOL_VERSION}", request.version)
        } else if open_count + connecting_count >= self.config.session_count_max {
            SESSION_LIMIT.to_owned()
        } else if request.encoded_credentials.0.len() > CREDENTIALS_LENGTH_MAX {
            format!("credentials longer than {CREDENTIALS_LENGTH_MAX} bytes")
        } else {
            return None;
        };
        Some((EventCode::Error, detail))
    }

    /// Publications that linger count too: a client that comes and goes must not make the leader hold more
    /// and more.
    fn stream_count_max(&self) -> usize {
        let session_count_max = self.config.session_count_max.max(self.sessions.count());
        3 * session_count_max + 2 * (super::SPARE_IMAGE_COUNT + REFUSED_COUNT_MAX)
    }

    fn on_close_request(
        &mut self,
        request: &SessionCloseRequest,
        now_ns: u64,
        log: &mut impl LogAppender,
    ) -> Intake {
        let id = request.cluster_session_id;
        let is_open = self.sessions.get_mut(id).is_some_and(|session| session.is_open());
        if !is_open || request.leadership_term_id != self.identity.leadership_term_id {
            self.counters.messages_ignored += 1;
            return Intake::Taken;
        }
        match self.append_close(id, CloseReason::ClientAction, now_ns, log) {
            Ok(()) => Intake::Taken,
            Err(_) => Intake::LogFull,
        }
    }

    fn on_challenge_response(&mut self, response: &ChallengeResponse<'_>, now_ns: u64) {
        let is_challenged = |session: &&mut ConnectingSession| {
            session.id == response.cluster_session_id && session.stage == Stage::Challenged
        };
        let Some(session) = self.connecting.iter_mut().find(is_challenged) else {
            self.counters.messages_ignored += 1;
            return;
        };
        let answer = (response.correlation_id, response.encoded_credentials.0);
        session.on_challenge_response(answer, now_ns, self.authenticator.as_mut());
        self.tick_due_ns = 0;
    }

    fn on_admin_request(&mut self, request: &AdminRequest<'_>) {
        let id = request.cluster_session_id;
        let is_of_term = request.leadership_term_id == self.identity.leadership_term_id;
        let Some(session) = self.sessions.get_mut(id).filter(|session| is_of_term && session.is_open())
        else {
            self.counters.messages_ignored += 1;
            return;
        };
        let request_type = request.request_type;
        let is_authorised = self.authorisation.is_authorised(request_type, &session.encoded_principal);
        let (response_code, message) = if !is_authorised {
            let message = format!("Execution of the {} request was not authorised", name_of(request_type));
            (AdminResponseCode::UnauthorisedAccess, message)
        } else if request_type != AdminRequestType::Snapshot {
            (AdminResponseCode::Error, format!("Unknown request type: {}", name_of(request_type)))
        } else if self.on_control(ControlAction::Snapshot) {
            (AdminResponseCode::Ok, String::new())
        } else {
            let message = "Failed to switch ClusterControl to the ToggleState.SNAPSHOT state";
            (AdminResponseCode::Error, message.to_owned())
        };
        self.message.clear();
        AdminResponse {
            cluster_session_id: id,
            correlation_id: request.correlation_id,
            request_type,
            response_code,
            message: &message,
            payload: &[],
        }
        .encode(&mut self.message);
        if let Some(session) = self.sessions.get_mut(id) {
            // A client that takes no answer asks in vain, as with Java.
            let _ = session.egress.offer([&self.message, &[]], &mut self.endpoint);
        }
    }
}

fn name_of(request_type: AdminRequestType) -> String {
    match request_type {
        AdminRequestType::Snapshot => "SNAPSHOT".to_owned(),
        AdminRequestType::Other(value) => format!("NULL_VAL ({value})"),
    }
}
