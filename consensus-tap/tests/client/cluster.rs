//! A cluster as clients see it: members, one of which leads, and sessions that outlive their leader. What a
//! leader takes is committed at once; what it has not answered dies with it.

use std::net::SocketAddr;

use consensus_tap::channel::ChannelUri;
use consensus_tap::codec::message::{Secret, SemanticVersion};
use consensus_tap::codec::session::{
    AdminResponse, AdminResponseCode, CLUSTER_PROTOCOL_VERSION, Challenge, EventCode, IngressMessage,
    NewLeaderEvent, SessionConnectRequest, SessionEvent, SessionMessageHeader,
};

use super::member::Member;
use super::network::Network;

pub(crate) const SESSION_TIMEOUT_NS: u64 = 10_000_000_000;
pub(crate) const HEARTBEAT_TIMEOUT_NS: i64 = 10_000_000_000;

/// What a test wants of the cluster besides serving.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// Clients must connect with these bytes.
    pub(crate) credentials: Option<Vec<u8>>,
    /// Clients are challenged and must answer with these bytes.
    pub(crate) challenge_answer: Option<Vec<u8>>,
    /// Sessions are refused with these words.
    pub(crate) refusal: Option<String>,
    /// Nobody is answered.
    pub(crate) is_mute: bool,
    /// What is said of the members in place of the truth.
    pub(crate) endpoints: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) leader: Option<usize>,
    pub(crate) term: i64,
    pub(crate) sessions: Vec<ClientSession>,
    pub(crate) behaviour: Behaviour,
    pub(crate) keep_alive_count: u64,
    receiver_id: i64,
}

#[derive(Debug)]
pub(crate) struct ClientSession {
    pub(crate) id: i64,
    pub(crate) to: (SocketAddr, i32),
    pub(crate) is_open: bool,
    /// The payloads that were taken, oldest first.
    pub(crate) log: Vec<Vec<u8>>,
    correlation_id: i64,
    last_activity_ns: u64,
}

impl Cluster {
    pub(crate) fn new(member_count: usize) -> Self {
        let address = |id| SocketAddr::from(([10, 0, 0, id as u8 + 1], 9002));
        Self {
            members: (0..member_count).map(|id| Member::new(id as i32, address(id))).collect(),
            leader: Some(0),
            term: 1,
            sessions: Vec::new(),
            behaviour: Behaviour::default(),
            keep_alive_count: 0,
            receiver_id: 100,
        }
    }

    /// `0=10.0.0.1:9002,...`
    pub(crate) fn ingress_endpoints(&self) -> String {
        let entries = self.members.iter().map(|member| format!("{}={}", member.id, member.address));
        entries.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn kill_leader(&mut self) {
        if let Some(leader) = self.leader.take() {
            self.members[leader].kill();
        }
    }

    pub(crate) fn restart(&mut self, member: usize) {
        self.receiver_id += 1;
        self.members[member].restart(self.receiver_id);
    }

    /// A running member leads from now on, and tells every client.
    pub(crate) fn elect(&mut self, leader: usize, now_ns: u64) {
        self.leader = Some(leader);
        self.term += 1;
        let endpoints = self.told_endpoints();
        for session in self.sessions.iter_mut().filter(|session| session.is_open) {
            session.last_activity_ns = now_ns;
            let mut message = Vec::new();
            NewLeaderEvent {
                leadership_term_id: self.term,
                cluster_session_id: session.id,
                leader_member_id: self.members[leader].id,
                ingress_endpoints: &endpoints,
            }
            .encode(&mut message);
            self.members[leader].answer(session.to, message, now_ns);
        }
    }

    /// The leader ends a session.
    pub(crate) fn close_session(&mut self, id: i64, detail: &str, now_ns: u64) {
        let session = self.sessions.iter_mut().find(|session| session.id == id).expect("it was opened");
        session.is_open = false;
        let (to, correlation_id) = (session.to, session.correlation_id);
        if let Some(leader) = self.leader {
            self.send_event(leader, to, (id, correlation_id), EventCode::Closed, detail, now_ns);
            self.members[leader].end_answers(to);
        }
    }

    /// Sends a payload to a session, as a service does.
    pub(crate) fn send(&mut self, session_id: i64, to: (SocketAddr, i32), payload: &[u8], now_ns: u64) {
        let Some(leader) = self.leader else { return };
        let mut message = Vec::new();
        SessionMessageHeader { leadership_term_id: self.term, cluster_session_id: session_id, timestamp: 7 }
            .encode(&mut message);
        message.extend_from_slice(payload);
        self.members[leader].answer(to, message, now_ns);
    }

    pub(crate) fn on_timeout(&mut self, now_ns: u64, network: &mut Network) {
        for index in 0..self.members.len() {
            for message in self.members[index].take_messages() {
                self.on_ingress(index, &message, now_ns);
            }
        }
        let silent = |session: &&ClientSession| {
            session.is_open && now_ns - session.last_activity_ns > SESSION_TIMEOUT_NS
        };
        if self.leader.is_some()
            && let Some(id) = self.sessions.iter().find(silent).map(|session| session.id)
        {
            self.close_session(id, "TIMEOUT", now_ns);
        }
        self.members.iter_mut().for_each(|member| member.on_timeout(now_ns, network));
    }

    fn on_ingress(&mut self, at: usize, message: &[u8], now_ns: u64) {
        if self.behaviour.is_mute {
            return;
        }
        let leads = self.leader == Some(at);
        match IngressMessage::decode(message).expect("clients send what can be read") {
            IngressMessage::Connect(request) if leads => self.on_connect(at, &request, now_ns),
            IngressMessage::Connect(request) => self.redirect(at, &request, now_ns),
            IngressMessage::ChallengeResponse(response) if leads => {
                let answer = self.behaviour.challenge_answer.clone();
                let is_right = answer.as_deref() == Some(response.encoded_credentials.0);
                let id = response.cluster_session_id;
                let session = self.sessions.iter_mut().find(|session| session.id == id).expect("challenged");
                session.correlation_id = response.correlation_id;
                session.is_open = is_right;
                let (to, ids) = (session.to, (id, response.correlation_id));
                let code = if is_right { EventCode::Ok } else { EventCode::AuthenticationRejected };
                self.send_event(at, to, ids, code, if is_right { "" } else { "wrong answer" }, now_ns);
            }
            IngressMessage::Session(header, payload) if leads => {
                if let Some(session) = self.session_of(header.cluster_session_id, header.leadership_term_id) {
                    session.last_activity_ns = now_ns;
                    session.log.push(payload.to_vec());
                    let (id, to) = (session.id, session.to);
                    self.send(id, to, payload, now_ns);
                }
            }
            IngressMessage::KeepAlive(message) if leads => {
                self.keep_alive_count += 1;
                if let Some(session) = self.session_of(message.cluster_session_id, message.leadership_term_id)
                {
                    session.last_activity_ns = now_ns;
                }
            }
            IngressMessage::Close(message) if leads => {
                if let Some(session) = self.session_of(message.cluster_session_id, message.leadership_term_id)
                {
                    session.is_open = false;
                    let to = session.to;
                    self.members[at].end_answers(to);
                }
            }
            IngressMessage::AdminRequest(request) if leads => {
                let id = request.cluster_session_id;
                if let Some(session) = self.session_of(id, request.leadership_term_id) {
                    let to = session.to;
                    let mut message = Vec::new();
                    AdminResponse {
                        cluster_session_id: id,
                        correlation_id: request.correlation_id,
                        request_type: request.request_type,
                        response_code: AdminResponseCode::UnauthorisedAccess,
                        message: "no",
                        payload: &[],
                    }
                    .encode(&mut message);
                    self.members[at].answer(to, message, now_ns);
                }
            }
            _ => {}
        }
    }

    fn on_connect(&mut self, at: usize, request: &SessionConnectRequest<'_>, now_ns: u64) {
        assert_eq!(request.version.major(), CLUSTER_PROTOCOL_VERSION.major());
        let (to, correlation_id) = (response_address(request), request.correlation_id);
        let Behaviour { credentials, challenge_answer, refusal, .. } = self.behaviour.clone();
        if let Some(detail) = refusal {
            return self.send_event(at, to, (-1, correlation_id), EventCode::Error, &detail, now_ns);
        }
        if credentials.is_some_and(|expected| Secret(&expected) != request.encoded_credentials) {
            let code = EventCode::AuthenticationRejected;
            return self.send_event(at, to, (-1, correlation_id), code, "wrong credentials", now_ns);
        }
        let id = self.sessions.len() as i64 + 1;
        let is_open = challenge_answer.is_none();
        let log = Vec::new();
        self.sessions.push(ClientSession { id, to, is_open, log, correlation_id, last_activity_ns: now_ns });
        if is_open {
            self.send_event(at, to, (id, correlation_id), EventCode::Ok, "", now_ns);
        } else {
            let mut message = Vec::new();
            Challenge { correlation_id, cluster_session_id: id, encoded_challenge: b"who" }
                .encode(&mut message);
            self.members[at].answer(to, message, now_ns);
        }
    }

    fn redirect(&mut self, at: usize, request: &SessionConnectRequest<'_>, now_ns: u64) {
        if self.leader.is_some() {
            let (to, ids) = (response_address(request), (-1, request.correlation_id));
            let endpoints = self.told_endpoints();
            self.send_event(at, to, ids, EventCode::Redirect, &endpoints, now_ns);
        }
    }

    fn send_event(
        &mut self,
        from: usize,
        to: (SocketAddr, i32),
        (cluster_session_id, correlation_id): (i64, i64),
        code: EventCode,
        detail: &str,
        now_ns: u64,
    ) {
        let mut message = Vec::new();
        SessionEvent {
            cluster_session_id,
            correlation_id,
            leadership_term_id: self.term,
            leader_member_id: self.leader.map_or(-1, |leader| self.members[leader].id),
            code,
            version: SemanticVersion::new(0, 3, 0),
            leader_heartbeat_timeout_ns: HEARTBEAT_TIMEOUT_NS,
            detail,
        }
        .encode(&mut message);
        self.members[from].answer(to, message, now_ns);
    }

    fn session_of(&mut self, id: i64, term: i64) -> Option<&mut ClientSession> {
        let term_now = self.term;
        self.sessions.iter_mut().find(|session| session.id == id && session.is_open && term == term_now)
    }

    fn told_endpoints(&self) -> String {
        self.behaviour.endpoints.clone().unwrap_or_else(|| self.ingress_endpoints())
    }
}

fn response_address(request: &SessionConnectRequest<'_>) -> (SocketAddr, i32) {
    let channel = ChannelUri::parse(request.response_channel).expect("a channel");
    let endpoint = channel.required_endpoint().expect("an endpoint");
    (endpoint.socket_addr().expect("an address"), request.response_stream_id)
}
