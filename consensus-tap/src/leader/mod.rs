//! The leader of a cluster of one member: clients in, log out.
//!
//! A [`Leader`] owns the socket that clients send to and hear from. It appends what they send to the log,
//! with the timers that are due and the messages that services offered, and tells clients what becomes of
//! their sessions. What the log implies is not its own: it is shown the [`ConsensusModuleState`] that was
//! applied so far, and remembers only what it appended since. Bytes and time in, datagrams, log frames and
//! [`LeaderAction`]s out.
//!
//! ```text
//!   datagrams ─> Endpoint ─> Ingress ─┬─ messages ─────────────────────────────> LogPublisher ─> LogAppender
//!                                     └─ connect, close, ... ─> sessions ────────────^
//!   applied state ─> timers that are due, services' messages, sessions they closed ──'
//!   services' replies ─> Egress of a session ─> Endpoint ─> datagrams
//!
//!   TERM appended -> committed: ingress subscribed -> ACTIVE <-> SUSPENDED
//!                                                       '-> TERMINATING -> TERMINATED
//! ```
//! The order of a duty cycle is Java's: timers, then services' messages, then ingress.
//!
//! Invariants:
//! - Nothing is appended twice: of timers, services' messages and session ids this leader knows what is in
//!   the log and not applied yet.
//! - The first event that it appends begins its term; no ingress is taken before that is committed.
//! - What a client sends or does not take costs bounded memory, and never the turn of another.

mod action;
mod closing;
mod config;
mod connecting;
mod control;
mod egress;
mod in_flight;
mod ingress;
mod leaving;
mod log_publisher;
mod misuse;
mod opening;
mod reports;
mod requests;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

pub use self::action::{ControlAction, LeaderAction, LeaderCounters};
pub use self::config::{LeaderConfig, LeaderStart};
pub use self::egress::EgressState;
pub use self::log_publisher::{LogAppender, LogFull};

use self::connecting::ConnectingSession;
use self::control::Phase;
use self::egress::{Egress, EgressLimits};
use self::in_flight::{ServiceAppends, TimerFirings};
use self::ingress::Ingress;
use self::leaving::LeavingSession;
use self::log_publisher::{AppendError, LogPublisher};
use self::misuse::Misuse;
use self::reports::Reports;
use self::sessions::OpenSessions;
use crate::authentication::Authenticator;
use crate::authorisation::AuthorisationService;
use crate::codec::log::SessionMessage;
use crate::codec::session::{CLUSTER_PROTOCOL_VERSION, EventCode, SessionEvent};
use crate::endpoint::{
    Endpoint, EndpointEvent, EndpointLimits, LookupToken, NameLookups, Transmit, TransportCounters,
};
use crate::image::SubscriptionId;
use crate::module::ConsensusModuleState;
use crate::publication::OfferError;
use crate::wire::TermLength;

/// Images beyond those of sessions that are let in: of clients that connect, or are only told why not.
const SPARE_IMAGE_COUNT: usize = 64;
/// How often sessions are looked at, in nanoseconds.
const TICK_NS: u64 = 1_000_000;
/// While no ingress was taken for this long, though there was some, clients are not blamed for their silence.
const STALL_NS: u64 = 100_000_000;

/// Leads a cluster of one member.
#[derive(Debug)]
pub struct Leader {
    config: LeaderConfig,
    start: LeaderStart,
    identity: Identity,
    phase: Phase,
    endpoint: Endpoint,
    lookups: NameLookups,
    subscription: Option<SubscriptionId>,
    ingress: Ingress,
    log: LogPublisher,
    sessions: OpenSessions,
    connecting: Vec<ConnectingSession>,
    leaving: Vec<LeavingSession>,
    /// Every reply to what the log holds up to here has come.
    replied_position: i64,
    next_session_id: i64,
    timers: TimerFirings,
    service_messages: ServiceAppends,
    pending_control: Option<ControlAction>,
    authenticator: Box<dyn Authenticator>,
    authorisation: Box<dyn AuthorisationService>,
    actions: VecDeque<LeaderAction>,
    reports: Reports,
    misuse: Misuse,
    counters: LeaderCounters,
    /// Since when ingress waits and none was taken.
    stalled_since_ns: Option<u64>,
    tick_due_ns: u64,
    random: u64,
    message: Vec<u8>,
}

/// What every word to a client says of this leader.
#[derive(Debug)]
struct Identity {
    member_id: i32,
    leadership_term_id: i64,
    leader_heartbeat_timeout_ns: i64,
    /// `id=endpoint`.
    ingress_endpoints: String,
}

impl Leader {
    /// A leader whose term begins at `start`, with the state that the log implies there. `receiver_id`
    /// identifies our receiving side to senders and must be unique among them.
    ///
    /// # Panics
    /// When the MTU of the log or the term length of egress is none, or the ingress window is less than 4096
    /// bytes.
    pub fn new(
        config: LeaderConfig,
        start: LeaderStart,
        state: &ConsensusModuleState,
        authenticator: Box<dyn Authenticator>,
        authorisation: Box<dyn AuthorisationService>,
        receiver_id: i64,
    ) -> Self {
        let LeaderConfig { egress_term_length, ingress_window_length, .. } = config;
        assert!(TermLength::new(egress_term_length).is_ok(), "egress terms of {egress_term_length} bytes");
        assert!(ingress_window_length >= 4096, "an ingress window of {ingress_window_length} bytes");
        // The cluster that we take over may have allowed more sessions.
        let session_count_max = config.session_count_max.max(state.sessions().count());
        let image_count_max = session_count_max + SPARE_IMAGE_COUNT;
        let limits = EndpointLimits { image_count_max, reserved_image_count: 0, ..EndpointLimits::default() };
        let log = LogPublisher::new(&start, state.cluster_time());
        let message_length_max = config.ingress_message_length_max.min(log.message_length_max());
        let identity = Identity {
            member_id: config.member_id,
            leadership_term_id: start.leadership_term_id,
            leader_heartbeat_timeout_ns: i64::try_from(config.leader_heartbeat_timeout_ns)
                .unwrap_or(i64::MAX),
            ingress_endpoints: format!("{}={}", config.member_id, config.ingress_endpoint),
        };
        let mut leader = Self {
            identity,
            start,
            phase: Phase::TermToAppend,
            endpoint: Endpoint::with_limits(receiver_id, limits),
            lookups: NameLookups::default(),
            subscription: None,
            ingress: Ingress::new(message_length_max, config.ingress_window_length, image_count_max),
            log,
            sessions: OpenSessions::default(),
            connecting: Vec::new(),
            leaving: Vec::new(),
            replied_position: i64::MIN,
            next_session_id: state.next_session_id(),
            timers: TimerFirings::default(),
            service_messages: ServiceAppends::new(state),
            pending_control: None,
            authenticator,
            authorisation,
            actions: VecDeque::new(),
            reports: Reports::default(),
            misuse: Misuse::default(),
            counters: LeaderCounters::default(),
            stalled_since_ns: None,
            tick_due_ns: 0,
            random: config.seed,
            message: Vec::new(),
            config,
        };
        leader.take_over_sessions(state);
        leader
    }

    /// A datagram came in. `cluster_time` is the clock's, in the log's unit; what is appended bears it, or
    /// the last event's time if that is later.
    pub fn on_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ns: u64,
        cluster_time: i64,
        log: &mut impl LogAppender,
    ) {
        self.log.advance_time(cluster_time);
        let is_taking = self.phase == Phase::Active;
        let Self { endpoint, ingress, sessions, log: publisher, counters, identity, .. } = self;
        let leadership_term_id = identity.leadership_term_id;
        let mut sink = ingress.sink(is_taking, |image, message| {
            requests::on_frequent(
                message,
                image,
                (leadership_term_id, now_ns),
                sessions,
                counters,
                |session_id, payload| publisher.append_message(session_id, payload, log),
            )
        });
        endpoint.on_datagram(datagram, from, now_ns, &mut sink);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(event);
        }
        self.drain_ingress(now_ns, log);
    }

    /// A name was looked up, or could not be (`None`).
    pub fn on_resolved(&mut self, token: LookupToken, address: Option<SocketAddr>, now_ns: u64) {
        let Self { endpoint, connecting, sessions, leaving, .. } = self;
        let connecting = connecting.iter_mut().map(|session| &mut session.egress);
        let open = sessions.iter_mut().map(|session| &mut session.egress);
        let leaving = leaving.iter_mut().map(|leaving| &mut leaving.egress);
        let _ = connecting
            .chain(open)
            .chain(leaving)
            .any(|egress| egress.on_resolved(token, address, now_ns, endpoint));
    }

    /// An operator asks for something. Returns false when something else is being done, which only an abort
    /// puts aside, or when this cannot be done now: a suspended leader resumes or aborts, and only a
    /// suspended one resumes.
    pub fn on_control(&mut self, action: ControlAction) -> bool {
        let is_free = self.pending_control.is_none() || action == ControlAction::Abort;
        let is_possible = is_free && self.phase.allows(action);
        if is_possible {
            self.pending_control = Some(action);
        }
        is_possible
    }

    /// One duty cycle: does what time, the operator and the applied `state` demand. Everything below
    /// `commit_position` will survive a restart. Returns how much there was to do.
    pub fn on_timeout(
        &mut self,
        now_ns: u64,
        cluster_time: i64,
        commit_position: i64,
        state: &ConsensusModuleState,
        log: &mut impl LogAppender,
    ) -> usize {
        let cluster_time = self.log.advance_time(cluster_time);
        let mut work = self.endpoint.on_timeout(now_ns);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(event);
            work += 1;
        }
        work += self.advance_phase(now_ns, commit_position, state, log);
        if self.phase == Phase::Active {
            work += self.append_what_is_due(cluster_time, state, log);
        }
        work += self.drain_ingress(now_ns, log);
        if now_ns >= self.tick_due_ns || state.sessions().closing_count() > 0 {
            self.tick_due_ns = now_ns.saturating_add(TICK_NS);
            work += self.advance_connecting(now_ns, log);
            work += self.check_sessions(now_ns, commit_position, state, log);
            work += self.flush_egress();
            work += self.advance_leaving(now_ns);
            self.make_room(now_ns);
            self.tell_of_misuse(now_ns);
        }
        work
    }

    /// Sends a service's reply to a client: `timestamp` is the service's cluster time. Replies of a session
    /// leave in the order in which they come here. A session that is closed takes them until
    /// [`Self::on_replied`] says that there are no more.
    ///
    /// # Errors
    /// [`OfferError`] when it is lost: [`OfferError::Closed`] when the session is,
    /// [`OfferError::NotConnected`] when its client does not listen, [`OfferError::BackPressured`] when too
    /// much waits for it, [`OfferError::MessageTooLong`].
    pub fn offer_egress(
        &mut self,
        cluster_session_id: i64,
        timestamp: i64,
        payload: &[u8],
    ) -> Result<(), OfferError> {
        let header = SessionMessage {
            leadership_term_id: self.identity.leadership_term_id,
            cluster_session_id,
            timestamp,
            payload: &[],
        }
        .header_bytes();
        let offered = match self.egress_mut(cluster_session_id) {
            Some((egress, endpoint)) => egress.offer([&header, payload], endpoint),
            None => Err(OfferError::Closed),
        };
        self.counters.replies_refused += u64::from(offered.is_err());
        offered
    }

    /// Whether a session that is closed waits for [`Self::on_replied`].
    pub fn awaits_replies(&self) -> bool {
        self.leaving.iter().any(LeavingSession::takes_replies)
    }

    /// All that any service replied to the log up to `position` has been offered.
    pub fn on_replied(&mut self, position: i64) {
        self.replied_position = self.replied_position.max(position);
    }

    /// Whether a session's client takes replies; `None` when there is no such session.
    pub fn egress_state(&mut self, cluster_session_id: i64) -> Option<EgressState> {
        let (egress, endpoint) = self.egress_mut(cluster_session_id)?;
        Some(egress.state(endpoint))
    }

    /// Hands out datagrams to send.
    pub fn poll_transmit(&mut self, now_ns: u64, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        self.endpoint.poll_transmit(now_ns, send)
    }

    /// The next word to the node.
    pub fn poll_action(&mut self) -> Option<LeaderAction> {
        if let Some((token, endpoint)) = self.lookups.poll() {
            return Some(LeaderAction::Resolve { token, endpoint });
        }
        self.actions.pop_front().or_else(|| self.reports.pop().map(LeaderAction::Report))
    }

    /// End of the log, as far as this leader appended to it.
    pub fn log_position(&self) -> i64 {
        self.log.position()
    }

    /// Whether an operator suspended the cluster.
    pub fn is_suspended(&self) -> bool {
        self.phase == Phase::Suspended
    }

    /// Whether ingress waits for the log.
    pub fn is_ingress_held(&self) -> bool {
        self.ingress.is_held()
    }

    /// How many sessions are open, and how many clients are about to get one.
    pub fn session_counts(&self) -> (usize, usize) {
        let is_pending = |session: &&ConnectingSession| !session.is_refused();
        (self.sessions.count(), self.connecting.iter().filter(is_pending).count())
    }

    /// What happened so far.
    pub fn counters(&self) -> LeaderCounters {
        LeaderCounters {
            dropped: self.ingress.dropped_count(),
            reports_dropped: self.reports.dropped_count(),
            ..self.counters
        }
    }

    /// Counts of the transport.
    pub fn transport_counters(&self) -> &TransportCounters {
        self.endpoint.counters()
    }

    /// How many publications, subscriptions and images are open or taking leave: what is left of a leader
    /// that was closed.
    pub fn stream_count(&self) -> usize {
        self.endpoint.stream_count()
    }

    /// Stops to serve: ingress ends, and so does every egress behind what it took. What is still to be sent
    /// comes out of [`Self::poll_transmit`].
    pub fn close(&mut self, now_ns: u64) {
        self.phase = Phase::Terminated;
        if let Some(subscription) = self.subscription.take() {
            self.endpoint.remove_subscription(subscription, now_ns);
        }
        let connecting = self.connecting.drain(..).map(|session| session.egress);
        let leaving = self.leaving.drain(..).map(|leaving| leaving.egress);
        for mut egress in connecting.chain(leaving) {
            egress.close(now_ns, &mut self.endpoint);
        }
        for session in self.sessions.iter_mut() {
            session.egress.close(now_ns, &mut self.endpoint);
        }
    }

    /// The egress of a session to which services may reply.
    fn egress_mut(&mut self, cluster_session_id: i64) -> Option<(&mut Egress, &mut Endpoint)> {
        let Self { sessions, leaving, endpoint, .. } = self;
        if let Some(session) = sessions.get_mut(cluster_session_id) {
            return Some((&mut session.egress, endpoint));
        }
        let is_it =
            |session: &&mut LeavingSession| session.id == cluster_session_id && session.takes_replies();
        leaving.iter_mut().find(is_it).map(|session| (&mut session.egress, endpoint))
    }

    fn append_what_is_due(
        &mut self,
        cluster_time: i64,
        state: &ConsensusModuleState,
        log: &mut impl LogAppender,
    ) -> usize {
        let fired_count = self.timers.fire(state, cluster_time, &mut self.log, log);
        self.counters.timers_fired += fired_count as u64;
        let Self { service_messages, log: publisher, reports, .. } = self;
        let appended_count = service_messages.append(state, publisher, log, |unappendable| {
            reports.push(format!(
                "service {} offered a message of {} bytes, longer than the log's terms allow; it and all that \
                 the service offers from now on stay out of the log",
                unappendable.service_id, unappendable.length
            ));
        });
        self.counters.service_messages_appended += appended_count as u64;
        fired_count + appended_count
    }

    /// Takes ingress that waits, unless the leader takes none now.
    fn drain_ingress(&mut self, now_ns: u64, log: &mut impl LogAppender) -> usize {
        let mut taken_count = 0;
        if self.phase == Phase::Active && self.ingress.is_held() {
            let mut ingress = std::mem::take(&mut self.ingress);
            taken_count = ingress.drain(|image, source, message| {
                self.on_ingress_message(message, (image, source), now_ns, log)
            });
            self.ingress = ingress;
            while let Some((image, held_at)) = self.ingress.poll_progress() {
                self.endpoint.set_image_held_at(image, held_at, now_ns);
            }
            self.watch_stall(taken_count > 0 || !self.ingress.is_held(), now_ns);
        }
        while let Some(ended) = self.ingress.poll_ended() {
            self.on_ingress_ended(ended);
        }
        taken_count
    }

    /// Clients that could not get through for a while are given a whole timeout again.
    fn watch_stall(&mut self, has_progress: bool, now_ns: u64) {
        if !has_progress {
            self.stalled_since_ns.get_or_insert(now_ns);
        } else if self.is_stalled(now_ns) {
            self.forgive_silence(now_ns);
        } else {
            self.stalled_since_ns = None;
        }
    }

    fn is_stalled(&self, now_ns: u64) -> bool {
        self.stalled_since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) > STALL_NS)
    }

    fn forgive_silence(&mut self, now_ns: u64) {
        self.stalled_since_ns = None;
        for session in self.sessions.iter_mut() {
            session.last_activity_ns = now_ns;
        }
    }

    fn on_endpoint_event(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::ImageAvailable { key, source, .. } => {
                self.ingress.on_image_available(key, source);
            }
            EndpointEvent::ImageUnavailable { key, .. } => {
                self.ingress.on_image_unavailable(key, self.phase == Phase::Active);
            }
            // A client that refuses its egress is no longer connected, which its replies find out.
            EndpointEvent::PublicationRejected { .. } => {}
        }
    }

    fn egress_limits(&self) -> EgressLimits {
        EgressLimits {
            term_length: self.config.egress_term_length,
            backlog_length_max: self.config.egress_backlog_length_max,
        }
    }
}

impl Identity {
    fn session_event<'a>(
        &self,
        (cluster_session_id, correlation_id): (i64, i64),
        code: EventCode,
        detail: &'a str,
    ) -> SessionEvent<'a> {
        SessionEvent {
            cluster_session_id,
            correlation_id,
            leadership_term_id: self.leadership_term_id,
            leader_member_id: self.member_id,
            code,
            version: CLUSTER_PROTOCOL_VERSION,
            leader_heartbeat_timeout_ns: self.leader_heartbeat_timeout_ns,
            detail,
        }
    }
}
