//! One leader, its log, what the log implies, and clients, in virtual time.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use super::*;
use crate::authentication::{AcceptAll, Authenticator};
use crate::authorisation::{AuthorisationService, DenyAll};
use crate::channel::HostPort;
use crate::codec::log::ClusterTimeUnit;
use crate::codec::message::{Secret, SemanticVersion};
use crate::codec::session::{
    AdminRequest, AdminRequestType, ChallengeResponse, EgressMessage, SessionCloseRequest,
    SessionConnectRequest, SessionKeepAlive, SessionMessageHeader,
};
use crate::endpoint::Inbox;
use crate::image::{ImageKey, ImageSink, Refused, SubscriptionParams};
use crate::log::{LogReader, LogStart, MidMessage, PollLimits};
use crate::publication::{PublicationId, PublicationParams};
use crate::random::next_random;
use crate::wire::data::HEADER_LENGTH;
use crate::wire::{DataFrame, StreamTerms};
use service_api::LogPosition;

pub(super) const STEP_NS: u64 = 1_000_000;
pub(super) const SECOND_NS: u64 = 1_000_000_000;
pub(super) const TERM_ID: i64 = 7;
pub(super) const TERMS: StreamTerms = StreamTerms { initial_term_id: 3, term_length: TermLength::MIN };

/// A log in memory, from a position on.
pub(super) struct TestLog {
    pub(super) start: i64,
    pub(super) bytes: Vec<u8>,
    pub(super) is_full: bool,
    /// Takes padding all the same: what is behind it is in another segment.
    pub(super) takes_padding: bool,
}

impl TestLog {
    pub(super) fn position(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }
}

impl LogAppender for TestLog {
    fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), LogFull> {
        assert_eq!(position, self.position(), "appends join on");
        let first = DataFrame::parse(frames).expect("a whole frame");
        if self.is_full && !(first.is_padding() && self.takes_padding) {
            return Err(LogFull);
        }
        self.bytes.extend_from_slice(frames);
        if first.is_padding() {
            assert_eq!(frames.len(), HEADER_LENGTH);
            self.bytes.resize(self.bytes.len() - HEADER_LENGTH + first.aligned_length(), 0);
        }
        let term_end = TERMS.term_end(position);
        assert!(self.position() <= term_end, "a run lies within its term");
        Ok(())
    }
}

pub(super) struct Rig {
    pub(super) leader: Leader,
    pub(super) log: TestLog,
    pub(super) state: ConsensusModuleState,
    reader: LogReader,
    /// What is appended is committed only while this is set.
    pub(super) commits: bool,
    /// What is committed is applied only while this is set.
    pub(super) applies: bool,
    /// The service's replies to what is applied have come, only while this is set.
    pub(super) replies: bool,
    commit_position: i64,
    pub(super) now_ns: u64,
    pub(super) clients: Vec<Client>,
    pub(super) actions: Vec<LeaderAction>,
    events: Vec<String>,
    /// Of a thousand datagrams, so many are lost.
    pub(super) loss_per_mille: u64,
    random: u64,
    ns_per_tick: u64,
}

pub(super) struct Setup {
    pub(super) config: LeaderConfig,
    pub(super) state: ConsensusModuleState,
    pub(super) log_position: i64,
    pub(super) is_startup: bool,
    pub(super) authenticator: Box<dyn Authenticator>,
    pub(super) authorisation: Box<dyn AuthorisationService>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: LeaderConfig {
                member_id: 3,
                ingress_endpoint: HostPort { host: "10.0.0.1".to_owned(), port: 9000 },
                ..LeaderConfig::default()
            },
            state: ConsensusModuleState::new(1, 1),
            log_position: 0,
            is_startup: false,
            authenticator: Box::new(AcceptAll),
            authorisation: Box::new(DenyAll),
        }
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(super) fn with(setup: Setup) -> Self {
        let Setup { config, state, log_position, is_startup, authenticator, authorisation } = setup;
        let start = LeaderStart {
            leadership_term_id: TERM_ID,
            log_position,
            terms: TERMS,
            mtu_length: 1408,
            log_session_id: 77,
            log_stream_id: 105,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
            is_startup,
        };
        let reader = LogReader::new(LogStart {
            terms: TERMS,
            position: log_position,
            leadership_term_id: (state.leadership_term_id() >= 0).then_some(state.leadership_term_id()),
            mid_message: MidMessage::Reject,
        });
        Self {
            leader: Leader::new(config, start, &state, authenticator, authorisation, 99),
            log: TestLog { start: log_position, bytes: Vec::new(), is_full: false, takes_padding: false },
            state,
            reader,
            commits: true,
            applies: true,
            replies: true,
            commit_position: log_position,
            now_ns: SECOND_NS,
            clients: Vec::new(),
            actions: Vec::new(),
            events: Vec::new(),
            loss_per_mille: 0,
            random: 1,
            ns_per_tick: 1_000_000,
        }
    }

    pub(super) fn cluster_time(&self) -> i64 {
        (self.now_ns / self.ns_per_tick) as i64
    }

    pub(super) fn add_client(&mut self) -> usize {
        self.clients.push(Client::new(self.clients.len(), self.now_ns));
        self.clients.len() - 1
    }

    /// Asks for a session and waits for it.
    pub(super) fn connect(&mut self, client: usize) -> i64 {
        self.run_ms(300);
        self.clients[client].request_session(1000 + client as i64, b"");
        for _ in 0..2000 {
            self.run_ms(1);
            if let Some(event) = self.clients[client].event(EventCode::Ok) {
                return event.cluster_session_id;
            }
        }
        panic!("no session: {:?}, {:?}", self.leader.counters(), self.actions);
    }

    pub(super) fn run_ms(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    pub(super) fn step(&mut self) {
        self.now_ns += STEP_NS;
        let cluster_time = self.cluster_time();
        self.leader.on_timeout(self.now_ns, cluster_time, self.commit_position, &self.state, &mut self.log);
        self.apply();
        if self.replies {
            self.leader.on_replied(self.state.log_position());
        }
        while let Some(action) = self.leader.poll_action() {
            if let LeaderAction::Resolve { token, endpoint } = &action {
                self.leader.on_resolved(*token, endpoint.socket_addr(), self.now_ns);
            }
            self.actions.push(action);
        }
        self.carry();
    }

    fn carry(&mut self) {
        let now_ns = self.now_ns;
        let mut datagrams = Vec::new();
        let mut collect = |from: SocketAddr, run: Transmit<'_>| {
            datagrams.extend(run.datagrams().map(|bytes| (from, run.to, bytes.to_vec())));
        };
        self.leader.poll_transmit(now_ns, &mut |run| collect(leader_address(), run));
        for client in &mut self.clients {
            let address = client.address;
            client.on_timeout(now_ns);
            client.endpoint.poll_transmit(now_ns, &mut |run| collect(address, run));
        }
        for (from, to, bytes) in datagrams {
            let is_silent =
                |address| self.clients.iter().any(|client| client.address == address && client.is_silent);
            let is_lost = next_random(&mut self.random) % 1000 < self.loss_per_mille;
            if is_lost || is_silent(from) || is_silent(to) {
                continue;
            }
            if to == leader_address() {
                let cluster_time = self.cluster_time();
                self.leader.on_datagram(&bytes, from, now_ns, cluster_time, &mut self.log);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == to) {
                client.on_datagram(&bytes, from, now_ns);
            }
        }
    }

    /// Commits and applies what was appended.
    fn apply(&mut self) {
        if self.commits {
            self.commit_position = self.log.position();
        }
        if !self.applies {
            return;
        }
        let range = (self.reader.position() - self.log.start) as usize
            ..(self.commit_position - self.log.start) as usize;
        let Self { reader, log, state, events, .. } = self;
        let read = reader.poll(&log.bytes[range], PollLimits::NONE, |event, position| {
            state.on_event(event, LogPosition(position)).expect("a member could follow");
            events.push(in_words(event));
            ControlFlow::Continue(())
        });
        read.expect("a log that reads");
    }

    /// What the log holds, as applied so far.
    pub(super) fn events(&self) -> &[String] {
        &self.events
    }
}

fn in_words(event: &LogEvent<'_>) -> String {
    match event {
        LogEvent::SessionMessage(message) => {
            let payload =
                String::from_utf8_lossy(&message.payload[..message.payload.len().min(40)]).into_owned();
            match message.cluster_session_id {
                id @ 0.. => format!("message {id} {payload}"),
                id => format!("service message {} {payload}", id & 0xff_ffff),
            }
        }
        LogEvent::Timer(timer) => format!("timer {}", timer.correlation_id),
        LogEvent::SessionOpen(open) => format!("open {}", open.cluster_session_id),
        LogEvent::SessionClose(close) => {
            format!("close {} {:?}", close.cluster_session_id, close.close_reason)
        }
        LogEvent::ClusterAction(action) => format!("{:?} {}", action.action, action.flags),
        LogEvent::NewLeadershipTerm(term) => format!("term {}", term.leadership_term_id),
        LogEvent::Ignored { template_id } => format!("ignored {template_id}"),
    }
}

pub(super) fn leader_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9000))
}

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Event(HeardEvent),
    Reply { leadership_term_id: i64, cluster_session_id: i64, timestamp: i64, payload: Vec<u8> },
    NewLeader { leadership_term_id: i64, cluster_session_id: i64, member_id: i32, endpoints: String },
    Challenge { correlation_id: i64, cluster_session_id: i64, challenge: Vec<u8> },
    Admin { correlation_id: i64, code: AdminResponseCode, message: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeardEvent {
    pub(super) cluster_session_id: i64,
    pub(super) correlation_id: i64,
    pub(super) leadership_term_id: i64,
    pub(super) leader_member_id: i32,
    pub(super) leader_heartbeat_timeout_ns: i64,
    pub(super) code: EventCode,
    pub(super) detail: String,
}

pub(super) struct Client {
    pub(super) address: SocketAddr,
    endpoint: Endpoint,
    pub(super) publication: PublicationId,
    egress: SubscriptionId,
    inbox: Inbox,
    pub(super) heard: Vec<Heard>,
    /// Takes no more of what is sent to it than its window holds.
    pub(super) takes_nothing: bool,
    stopped_at: Option<(ImageKey, i64)>,
    kept: Vec<(ImageKey, i64, Vec<u8>)>,
    /// Nothing comes from it or gets to it.
    pub(super) is_silent: bool,
    pub(super) term_id: i64,
}

struct Sink<'a> {
    inbox: &'a mut Inbox,
    takes_nothing: bool,
    stopped_at: &'a mut Option<(ImageKey, i64)>,
    kept: &'a mut Vec<(ImageKey, i64, Vec<u8>)>,
}

impl ImageSink for Sink<'_> {
    fn append(&mut self, key: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        if self.takes_nothing {
            self.stopped_at.get_or_insert((key, position));
            self.kept.push((key, position, frames.to_vec()));
            return Ok(());
        }
        if self.inbox.on_frames(key, position, frames) { Ok(()) } else { Err(Refused) }
    }

    fn held_at(&self, key: ImageKey) -> Option<i64> {
        self.stopped_at.filter(|(stopped, _)| *stopped == key).map(|(_, position)| position)
    }
}

impl Client {
    fn new(index: usize, now_ns: u64) -> Self {
        let address = SocketAddr::from(([10, 0, 1, index as u8], 20_000));
        let mut endpoint = Endpoint::new(1000 + index as i64);
        let egress = endpoint.add_subscription(SubscriptionParams::new(102));
        let params =
            PublicationParams { term_length: 1 << 20, ..PublicationParams::new(500 + index as i32, 101) };
        let publication = endpoint.add_publication(params, leader_address(), now_ns);
        Self {
            address,
            endpoint,
            publication,
            egress,
            inbox: Inbox::default(),
            heard: Vec::new(),
            takes_nothing: false,
            stopped_at: None,
            kept: Vec::new(),
            is_silent: false,
            term_id: TERM_ID,
        }
    }

    pub(super) fn channel(&self) -> String {
        format!("aeron:udp?endpoint={}", self.address)
    }

    pub(super) fn offer(&mut self, message: &[u8]) -> Result<i64, OfferError> {
        self.endpoint.offer(self.publication, message)
    }

    pub(super) fn request_session(&mut self, correlation_id: i64, credentials: &[u8]) {
        let channel = self.channel();
        self.request_session_to(correlation_id, credentials, &channel, SemanticVersion::new(0, 3, 0));
    }

    pub(super) fn request_session_to(
        &mut self,
        correlation_id: i64,
        credentials: &[u8],
        channel: &str,
        version: SemanticVersion,
    ) {
        let mut message = Vec::new();
        SessionConnectRequest {
            correlation_id,
            response_stream_id: 102,
            version,
            response_channel: channel,
            encoded_credentials: Secret(credentials),
            client_info: "name=test",
        }
        .encode(&mut message);
        self.offer(&message).unwrap();
    }

    pub(super) fn try_send_message(&mut self, session: i64, payload: &[u8]) -> Result<i64, OfferError> {
        let mut message = Vec::new();
        SessionMessageHeader { leadership_term_id: self.term_id, cluster_session_id: session, timestamp: 0 }
            .encode(&mut message);
        message.extend_from_slice(payload);
        self.offer(&message)
    }

    pub(super) fn send_message(&mut self, session: i64, payload: &[u8]) {
        self.try_send_message(session, payload).unwrap();
    }

    pub(super) fn close_session(&mut self, session: i64) {
        let mut message = Vec::new();
        SessionCloseRequest { leadership_term_id: self.term_id, cluster_session_id: session }
            .encode(&mut message);
        self.offer(&message).unwrap();
    }

    pub(super) fn keep_alive(&mut self, session: i64) {
        let mut message = Vec::new();
        SessionKeepAlive { leadership_term_id: self.term_id, cluster_session_id: session }
            .encode(&mut message);
        self.offer(&message).unwrap();
    }

    pub(super) fn answer_challenge(&mut self, session: i64, correlation_id: i64, credentials: &[u8]) {
        let mut message = Vec::new();
        ChallengeResponse {
            correlation_id,
            cluster_session_id: session,
            encoded_credentials: Secret(credentials),
        }
        .encode(&mut message);
        self.offer(&message).unwrap();
    }

    pub(super) fn request_snapshot(&mut self, session: i64, correlation_id: i64) {
        let mut message = Vec::new();
        AdminRequest {
            leadership_term_id: self.term_id,
            cluster_session_id: session,
            correlation_id,
            request_type: AdminRequestType::Snapshot,
            payload: &[],
        }
        .encode(&mut message);
        self.offer(&message).unwrap();
    }

    /// Ends the stream that it sends.
    pub(super) fn leave(&mut self, now_ns: u64) {
        self.endpoint.close_publication(self.publication, now_ns);
    }

    /// Hears nothing any more, and says so.
    pub(super) fn stop_listening(&mut self, now_ns: u64) {
        self.endpoint.remove_subscription(self.egress, now_ns);
    }

    pub(super) fn event(&self, code: EventCode) -> Option<&HeardEvent> {
        self.heard.iter().find_map(|heard| match heard {
            Heard::Event(event) if event.code == code => Some(event),
            _ => None,
        })
    }

    pub(super) fn replies(&self) -> Vec<String> {
        let reply = |heard: &Heard| match heard {
            Heard::Reply { payload, .. } => Some(String::from_utf8_lossy(payload).into_owned()),
            _ => None,
        };
        self.heard.iter().filter_map(reply).collect()
    }

    fn on_timeout(&mut self, now_ns: u64) {
        self.endpoint.on_timeout(now_ns);
        while let Some(event) = self.endpoint.poll_event() {
            if let EndpointEvent::ImageUnavailable { key, .. } = event {
                self.inbox.close(key);
            }
        }
    }

    fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) {
        let Self { endpoint, inbox, stopped_at, kept, takes_nothing, .. } = self;
        let sink = &mut Sink { inbox, takes_nothing: *takes_nothing, stopped_at, kept };
        endpoint.on_datagram(bytes, from, now_ns, sink);
        self.hear();
    }

    /// Takes what it left, and all that follows.
    pub(super) fn take_all(&mut self, now_ns: u64) {
        self.takes_nothing = false;
        for (key, position, frames) in std::mem::take(&mut self.kept) {
            assert!(self.inbox.on_frames(key, position, &frames));
            self.hear();
        }
        if let Some((key, _)) = self.stopped_at.take() {
            self.endpoint.set_image_held_at(key, None, now_ns);
        }
    }

    fn hear(&mut self) {
        let Self { inbox, heard, .. } = self;
        inbox.drain(|_, bytes| {
            heard.push(match EgressMessage::decode(bytes).unwrap() {
                EgressMessage::Event(event) => Heard::Event(HeardEvent {
                    cluster_session_id: event.cluster_session_id,
                    correlation_id: event.correlation_id,
                    leadership_term_id: event.leadership_term_id,
                    leader_member_id: event.leader_member_id,
                    leader_heartbeat_timeout_ns: event.leader_heartbeat_timeout_ns,
                    code: event.code,
                    detail: event.detail.to_owned(),
                }),
                EgressMessage::Session(header, payload) => Heard::Reply {
                    leadership_term_id: header.leadership_term_id,
                    cluster_session_id: header.cluster_session_id,
                    timestamp: header.timestamp,
                    payload: payload.to_vec(),
                },
                EgressMessage::NewLeader(event) => Heard::NewLeader {
                    leadership_term_id: event.leadership_term_id,
                    cluster_session_id: event.cluster_session_id,
                    member_id: event.leader_member_id,
                    endpoints: event.ingress_endpoints.to_owned(),
                },
                EgressMessage::Challenge(challenge) => Heard::Challenge {
                    correlation_id: challenge.correlation_id,
                    cluster_session_id: challenge.cluster_session_id,
                    challenge: challenge.encoded_challenge.to_vec(),
                },
                EgressMessage::AdminResponse(response) => Heard::Admin {
                    correlation_id: response.correlation_id,
                    code: response.response_code,
                    message: response.message.to_owned(),
                },
                EgressMessage::Unknown(template) => panic!("template {template} on egress"),
            });
        });
    }
}
