//! A client of a cluster: one session, from the request for it to its end, across changes of the leader.
//!
//! ```text
//!  CONNECTING ──── session OK ───> CONNECTED ──── ingress or egress lost ───> AWAIT_NEW_LEADER
//!    │ ^ each member's ingress,      │  ^                                         │   │
//!    │ │ then the leader's only      │  └── sent ── AWAIT_NEW_LEADER_CONNECTION <─┘   │ new leader timeout
//!    │ └─ redirect, challenge        └── NewLeaderEvent ──^   │ message timeout       │
//!    └─ refusal, message timeout ──────────────────> CLOSED <─┴───────────────────────┘
//! ```
//! As Java's `AeronCluster` behaves, with what it leaves to its application: keep-alives, which also make
//! sure that a new leader is spoken to in time. Source: `AeronCluster.java` of Aeron 1.51.0.

mod config;
mod connecting;
mod egress;
mod egress_listener;
mod ending;
mod ingress;
mod ingress_endpoints;
mod session;

pub use config::{ClusterClientConfig, ClusterClientConfigError};
pub use egress_listener::EgressListener;
pub use ending::{BadEndpoints, ConnectFailure, ConnectStep, SessionEnd};
pub use ingress_endpoints::{IngressEndpoint, IngressEndpoints, IngressEndpointsError};
pub use session::ClusterClientCounters;

use std::net::SocketAddr;

use crate::channel::HostPort;
use crate::codec::session::{
    AdminRequest, AdminRequestType, SESSION_HEADER_LENGTH, SessionCloseRequest, SessionKeepAlive,
};
use crate::endpoint::{
    Endpoint, EndpointEvent, EndpointLimits, LookupToken, NameLookups, Transmit, TransportCounters,
};
use crate::image::{SubscriptionId, SubscriptionParams};
use crate::publication::{OfferError, PublicationId, PublicationState};
use crate::random::next_random;
use connecting::Connecting;
use egress::{Assemblers, EgressSink};
use ingress::Ingress;
use session::{News, Session};

/// How far a client is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientState {
    /// The session is being asked for.
    Connecting,
    /// Messages are taken.
    Connected,
    /// The leader is gone; the next one will call.
    AwaitNewLeader,
    /// The next leader called; the way there is being opened.
    AwaitNewLeaderConnection,
    /// It is over: see [`ClusterClient::end`].
    Closed,
}

/// A client's side of one session: datagrams and time in, datagrams and messages out.
///
/// After each input, and after offers, send what [`Self::poll_transmit`] gives and look up what
/// [`Self::poll_lookup`] asks for. Nothing is allocated for a message; memory comes with publications and
/// images.
#[derive(Debug)]
pub struct ClusterClient {
    config: ClusterClientConfig,
    endpoint: Endpoint,
    subscription: SubscriptionId,
    assemblers: Assemblers,
    session: Session,
    ingress: Ingress,
    lookups: NameLookups,
    state: State,
    /// When a keep-alive is due if nothing else is sent.
    keep_alive_due_ns: u64,
    /// The time of the last input: offers tell none.
    now_ns: u64,
    message: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Connecting(Connecting),
    Connected,
    AwaitNewLeader { deadline_ns: u64 },
    AwaitNewLeaderConnection { deadline_ns: u64 },
    Closed { end: SessionEnd, leaving: Option<Leaving> },
}

/// The cluster is being told that the session is over.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    publication: PublicationId,
    is_told: bool,
    deadline_ns: u64,
}

impl ClusterClient {
    /// A client that looks for the leader from now on.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: ClusterClientConfig, now_ns: u64) -> Result<Self, ClusterClientConfigError> {
        config.check()?;
        let mut random = config.seed;
        // 0 stands for any receiver.
        let receiver_id = next_random(&mut random) as i64 | 1;
        let limits = EndpointLimits { image_count_max: IMAGE_COUNT_MAX, ..EndpointLimits::default() };
        let limits = EndpointLimits { reserved_image_count: 0, ..limits };
        let mut endpoint = Endpoint::with_limits(receiver_id, limits);
        let subscription = endpoint.add_subscription(SubscriptionParams {
            receive_window_length: config.egress_window_length,
            ..SubscriptionParams::new(config.egress_stream_id)
        });
        let mut lookups = NameLookups::default();
        let mut ingress = Ingress::new(&config, next_random(&mut random));
        ingress.open(&config.ingress_endpoints, None, &mut lookups, &mut endpoint, now_ns);
        Ok(Self {
            endpoint,
            subscription,
            assemblers: Assemblers::new(config.egress_message_length_max),
            session: Session::new(config.credentials.clone(), next_random(&mut random)),
            ingress,
            lookups,
            state: State::Connecting(Connecting::new(now_ns.saturating_add(config.message_timeout_ns))),
            keep_alive_due_ns: u64::MAX,
            now_ns,
            message: Vec::new(),
            config,
        })
    }

    /// Takes a datagram; what it completes goes to `listener` before this returns.
    pub fn on_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ns: u64,
        listener: &mut impl EgressListener,
    ) {
        self.now_ns = now_ns;
        let Self { endpoint, assemblers, session, .. } = self;
        endpoint.on_datagram(datagram, from, now_ns, &mut EgressSink { assemblers, session, listener });
        self.take_news();
    }

    /// Does what time demands, and returns how much that was.
    pub fn on_timeout(&mut self, now_ns: u64) -> usize {
        self.now_ns = now_ns;
        let mut work = self.endpoint.on_timeout(now_ns);
        self.take_news();
        work += match self.state {
            State::Connecting(_) => self.go_on_connecting(),
            State::Connected => self.watch_ingress() + self.keep_alive(),
            State::AwaitNewLeader { deadline_ns } if now_ns >= deadline_ns => {
                self.finish(SessionEnd::NoNewLeader { timeout_ns: self.new_leader_timeout_ns() })
            }
            State::AwaitNewLeaderConnection { deadline_ns } if now_ns >= deadline_ns => {
                self.finish(SessionEnd::NewLeaderUnreachable {
                    leader_member_id: self.session.leader_member_id,
                    endpoint: self.ingress.endpoints_in_words(),
                })
            }
            State::AwaitNewLeaderConnection { .. } if self.ingress.choose(&self.endpoint) => {
                self.keep_alive()
            }
            State::AwaitNewLeader { .. } | State::AwaitNewLeaderConnection { .. } => 0,
            State::Closed { leaving: Some(leaving), .. } => self.leave(leaving),
            State::Closed { leaving: None, .. } => 0,
        };
        work
    }

    /// Hands every datagram that is ready to `send`, and returns how many there were.
    pub fn poll_transmit(&mut self, now_ns: u64, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        self.endpoint.poll_transmit(now_ns, send)
    }

    /// The next name to look up; answered by [`Self::on_resolved`].
    pub fn poll_lookup(&mut self) -> Option<(LookupToken, HostPort)> {
        self.lookups.poll()
    }

    /// A name was looked up; `None` when it has no address.
    pub fn on_resolved(&mut self, lookup: LookupToken, address: Option<SocketAddr>, now_ns: u64) {
        self.now_ns = now_ns;
        self.ingress.on_resolved(lookup, address, &mut self.endpoint, now_ns);
    }

    /// Offers a message to the cluster, and returns the position of its end in the ingress. Header and
    /// payload are copied once, into the stream; the next [`Self::poll_transmit`] sends them.
    ///
    /// What was taken is on its way, not yet in the cluster's log: a leader that dies takes it along.
    ///
    /// # Errors
    /// [`OfferError`]; nothing is taken then. `NotConnected` while a new leader is awaited, `Closed` at the
    /// end.
    pub fn offer(&mut self, payload: &[u8]) -> Result<i64, OfferError> {
        let publication = self.publication()?;
        let result = self.endpoint.offer_parts(publication, self.session.header(), payload);
        self.track(result)
    }

    /// Tells the cluster that the session is alive: where
    /// [`keep_alive_interval_ns`](ClusterClientConfig::keep_alive_interval_ns) is set, this is done by
    /// itself.
    ///
    /// # Errors
    /// [`OfferError`], as for every offer.
    pub fn send_keep_alive(&mut self) -> Result<i64, OfferError> {
        let (leadership_term_id, cluster_session_id) = self.ids();
        self.send(|out| SessionKeepAlive { leadership_term_id, cluster_session_id }.encode(out))
    }

    /// Asks the leader for a snapshot on all members;
    /// [`on_admin_response`](EgressListener::on_admin_response) tells the outcome.
    ///
    /// # Errors
    /// [`OfferError`], as for every offer.
    pub fn request_snapshot(&mut self, correlation_id: i64) -> Result<i64, OfferError> {
        let (leadership_term_id, cluster_session_id) = self.ids();
        let request_type = AdminRequestType::Snapshot;
        self.send(|out| {
            AdminRequest {
                leadership_term_id,
                cluster_session_id,
                correlation_id,
                request_type,
                payload: &[],
            }
            .encode(out);
        })
    }

    /// Ends the session. The cluster is told, for which inputs and transmits must go on until
    /// [`Self::is_gone`].
    pub fn close(&mut self) {
        if self.state() == ClientState::Closed {
            return;
        }
        let leaving = self.publication().ok().map(|publication| Leaving {
            publication,
            is_told: false,
            deadline_ns: self.now_ns.saturating_add(self.config.message_timeout_ns),
        });
        self.session.end();
        self.state = State::Closed { end: SessionEnd::ByClient, leaving };
        match leaving {
            Some(leaving) => _ = self.leave(leaving),
            None => self.withdraw(),
        }
    }

    /// How far this client is.
    pub fn state(&self) -> ClientState {
        match self.state {
            State::Connecting(_) => ClientState::Connecting,
            State::Connected => ClientState::Connected,
            State::AwaitNewLeader { .. } => ClientState::AwaitNewLeader,
            State::AwaitNewLeaderConnection { .. } => ClientState::AwaitNewLeaderConnection,
            State::Closed { .. } => ClientState::Closed,
        }
    }

    /// Why the client is closed; `None` while it is not.
    pub fn end(&self) -> Option<&SessionEnd> {
        match &self.state {
            State::Closed { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Whether nothing is left to be said: the client is closed, and the cluster knows or cannot be told.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Closed { leaving: None, .. })
    }

    /// The session's id; -1 before it was opened.
    pub fn cluster_session_id(&self) -> i64 {
        self.session.cluster_session_id
    }

    /// The leadership term in which the session is; -1 before it was opened.
    pub fn leadership_term_id(&self) -> i64 {
        self.session.leadership_term_id
    }

    /// The member that leads the session; -1 before it was opened.
    pub fn leader_member_id(&self) -> i32 {
        self.session.leader_member_id
    }

    /// The longest payload that can be offered, in bytes.
    pub fn message_length_max(&self) -> usize {
        self.config.message_length_max()
    }

    /// What was dropped.
    pub fn counters(&self) -> ClusterClientCounters {
        self.session.counters
    }

    /// What happened on the wire.
    pub fn transport_counters(&self) -> &TransportCounters {
        self.endpoint.counters()
    }

    fn take_news(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                EndpointEvent::ImageAvailable { key, .. } => self.assemblers.open(key),
                EndpointEvent::ImageUnavailable { key, .. } => {
                    self.assemblers.close(key);
                    if self.session.egress_image == Some(key) {
                        self.session.egress_image = None;
                        self.on_disconnected();
                    }
                }
                // A receiver that refuses our ingress is one that falls silent.
                EndpointEvent::PublicationRejected { .. } => {}
            }
        }
        if !self.session.news.is_empty() {
            for news in std::mem::take(&mut self.session.news) {
                if self.state() != ClientState::Closed {
                    self.on_news(news);
                }
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Opened => {
                self.ingress.keep_chosen(&mut self.endpoint, self.now_ns);
                self.state = State::Connected;
                self.postpone_keep_alive();
            }
            News::Failed(failure) => _ = self.finish(failure.into()),
            News::Challenged => self.state_of_connecting(Connecting::send),
            News::Redirected { leader_member_id, endpoints } => {
                let Self { ingress, lookups, endpoint, now_ns, .. } = self;
                ingress.redirect(&endpoints, leader_member_id, lookups, endpoint, *now_ns);
                self.state_of_connecting(Connecting::start_over);
            }
            News::NewLeader { endpoints: Ok(endpoints) } => {
                let Self { ingress, lookups, endpoint, now_ns, .. } = self;
                let leader_member_id = self.session.leader_member_id;
                ingress.open(&endpoints, Some(leader_member_id), lookups, endpoint, *now_ns);
                self.assemblers.reset_all_but(self.session.egress_image);
                let deadline_ns = self.now_ns.saturating_add(self.config.message_timeout_ns);
                self.state = State::AwaitNewLeaderConnection { deadline_ns };
                self.keep_alive_due_ns = self.now_ns;
            }
            News::NewLeader { endpoints: Err(reason) } => {
                let leader_member_id = self.session.leader_member_id;
                self.finish(SessionEnd::NewLeaderUnknown { leader_member_id, reason });
            }
            News::Closed { detail } => _ = self.finish(SessionEnd::ByCluster { detail }),
        }
    }

    fn on_disconnected(&mut self) {
        if matches!(self.state, State::Connected | State::AwaitNewLeaderConnection { .. }) {
            self.ingress.close(&mut self.endpoint, self.now_ns);
            let deadline_ns = self.now_ns.saturating_add(self.new_leader_timeout_ns());
            self.state = State::AwaitNewLeader { deadline_ns };
        }
    }

    fn new_leader_timeout_ns(&self) -> u64 {
        let heartbeat_timeout_ns =
            self.session.leader_heartbeat_timeout_ns.unwrap_or(LEADER_HEARTBEAT_TIMEOUT_NS);
        self.config.new_leader_timeout_ns.unwrap_or(heartbeat_timeout_ns.saturating_mul(2))
    }

    fn watch_ingress(&mut self) -> usize {
        let state = self.ingress.publication().map(|id| self.endpoint.publication_state(id));
        if state == Some(PublicationState::Connected) {
            return 0;
        }
        self.on_disconnected();
        1
    }

    fn keep_alive(&mut self) -> usize {
        if self.now_ns < self.keep_alive_due_ns || self.config.keep_alive_interval_ns.is_none() {
            return 0;
        }
        // One that is back-pressured is not needed: what holds it up tells as much.
        usize::from(self.send_keep_alive().is_ok())
    }

    fn postpone_keep_alive(&mut self) {
        self.keep_alive_due_ns = match self.config.keep_alive_interval_ns {
            Some(interval_ns) => self.now_ns.saturating_add(interval_ns),
            None => u64::MAX,
        };
    }

    fn ids(&self) -> (i64, i64) {
        (self.session.leadership_term_id, self.session.cluster_session_id)
    }

    /// Where to send to.
    fn publication(&self) -> Result<PublicationId, OfferError> {
        match self.state {
            State::Connected | State::AwaitNewLeaderConnection { .. } => {
                self.ingress.publication().ok_or(OfferError::NotConnected)
            }
            State::Connecting(_) | State::AwaitNewLeader { .. } => Err(OfferError::NotConnected),
            State::Closed { .. } => Err(OfferError::Closed),
        }
    }

    fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<i64, OfferError> {
        let publication = self.publication()?;
        self.message.clear();
        encode(&mut self.message);
        let result = self.endpoint.offer(publication, &self.message);
        self.track(result)
    }

    /// Draws conclusions from an offer.
    fn track(&mut self, result: Result<i64, OfferError>) -> Result<i64, OfferError> {
        match (result, &self.state) {
            (Ok(_), state) => {
                if matches!(state, State::AwaitNewLeaderConnection { .. }) {
                    self.state = State::Connected;
                }
                self.postpone_keep_alive();
            }
            (Err(OfferError::NotConnected | OfferError::Closed), State::Connected) => self.on_disconnected(),
            (Err(OfferError::PositionMax), _) => _ = self.finish(SessionEnd::PositionMax),
            (Err(_), _) => {}
        }
        result
    }

    /// Ends it without a word to the cluster.
    fn finish(&mut self, end: SessionEnd) -> usize {
        self.session.end();
        self.state = State::Closed { end, leaving: None };
        self.withdraw();
        1
    }

    /// Tells the cluster that the session is over. That the cluster closes its end, too, is the receipt.
    fn leave(&mut self, mut leaving: Leaving) -> usize {
        let Leaving { publication, deadline_ns, .. } = leaving;
        if !leaving.is_told {
            let (leadership_term_id, cluster_session_id) = self.ids();
            self.message.clear();
            SessionCloseRequest { leadership_term_id, cluster_session_id }.encode(&mut self.message);
            let result = self.endpoint.offer(publication, &self.message);
            leaving.is_told = result != Err(OfferError::BackPressured);
            if leaving.is_told {
                self.endpoint.close_publication(publication, self.now_ns);
            }
        }
        let is_heard = self.session.egress_image.is_none()
            || self.endpoint.publication_state(publication) == PublicationState::Closed;
        let is_over = leaving.is_told && is_heard || self.now_ns >= deadline_ns;
        if let State::Closed { leaving: kept, .. } = &mut self.state {
            *kept = if is_over { None } else { Some(leaving) };
        }
        if is_over {
            self.withdraw();
        }
        usize::from(is_over)
    }

    /// Closes all streams.
    fn withdraw(&mut self) {
        self.ingress.close(&mut self.endpoint, self.now_ns);
        self.endpoint.remove_subscription(self.subscription, self.now_ns);
    }
}

/// The members of a cluster, and a few that were.
const IMAGE_COUNT_MAX: usize = 16;
/// Aeron's default, for clusters too old to name theirs.
const LEADER_HEARTBEAT_TIMEOUT_NS: u64 = 10_000_000_000;
const _: () = assert!(SESSION_HEADER_LENGTH == 32);
