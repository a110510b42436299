//! A client of a cluster: of Aeron's Java members as well as of an active node of ours.
//!
//! [`ClusterClient`] is one session and one UDP socket. It has no thread: whoever owns it calls
//! [`poll`](ClusterClient::poll), from a loop that spins as long as latency counts, and less often where it
//! does not, but at least ten times a second, or the cluster takes the client for dead. Nothing is allocated
//! for a message, and the clock is read once for each `poll`.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//!
//! use standby_node::agent::idle::{IdleStrategy, Idler};
//! use standby_node::cluster_client::{ClusterClient, ClusterClientError, OfferError, config};
//!
//! fn main() -> Result<(), ClusterClientError> {
//!     // Every member that may lead, a standby too; and where members, and a standby, can reach us.
//!     let members = "0=10.0.0.1:9002,1=10.0.0.2:9002,2=10.0.0.3:9002";
//!     let mut config = config(members, "aeron:udp?endpoint=10.0.0.7:0")?;
//!     // As long as an operator needs to activate a standby.
//!     config.new_leader_timeout_ns = Some(Duration::from_secs(300).as_nanos() as u64);
//!     let mut client = ClusterClient::connect(config)?;
//!
//!     let mut replies = 0;
//!     let mut idler = Idler::new(IdleStrategy::BACKOFF);
//!     let mut offered = 0;
//!     let deadline = Instant::now() + Duration::from_secs(600);
//!     while replies < 1_000 && Instant::now() < deadline {
//!         let mut work = 0;
//!         if offered < 1_000 {
//!             match client.offer(b"buy 100 at 7") {
//!                 Ok(_) => {
//!                     offered += 1;
//!                     work += 1;
//!                 }
//!                 // The cluster is busy, or without a leader: `poll` on, and offer again.
//!                 Err(OfferError::BackPressured | OfferError::NotConnected) => {}
//!                 // `poll` tells why the session is over.
//!                 Err(OfferError::Closed) => {}
//!                 Err(error) => panic!("cannot be sent: {error}"),
//!             }
//!         }
//!         work += client.poll(&mut |_timestamp: i64, _reply: &[u8]| replies += 1)?;
//!         idler.idle(work);
//!     }
//!     client.close(Duration::from_secs(1))
//! }
//! ```
//! A leader that dies takes along what it has not committed, and its replies to what it has: an application
//! that must know repeats what has no reply, and its service tells repetitions from news.

mod error;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use consensus_tap::channel::{ChannelUri, key};
use consensus_tap::client::{ClusterClient as Session, IngressEndpoints};
use consensus_tap::endpoint::TransportCounters;

use crate::agent::idle::{IdleStrategy, Idler};
use crate::launch::entropy;
use crate::net::socket::{BufferLengths, NetworkSocket, resolve};
use crate::net::{DatagramIo, IoCounters, Offload, Outgoing};
use crate::sys::clock::monotonic_ns;
use crate::sys::mmsg::MmsgIo;

pub use consensus_tap::archive::Credentials;
pub use consensus_tap::client::{
    BadEndpoints, ClientState, ClusterClientConfig, ClusterClientCounters, ConnectFailure, EgressListener,
    SessionEnd,
};
pub use consensus_tap::codec::session::{AdminResponse, SessionEvent};
pub use consensus_tap::publication::OfferError;
pub use error::ClusterClientError;

/// A configuration with defaults for a cluster whose members take ingress at `ingress_endpoints`
/// (`0=host:port,1=host:port`) and answer to `egress_channel` (`aeron:udp?endpoint=host:port`; port 0 for any
/// free one).
///
/// # Errors
/// When one of them cannot be read.
pub fn config(
    ingress_endpoints: &str,
    egress_channel: &str,
) -> Result<ClusterClientConfig, ClusterClientError> {
    let ingress_endpoints: IngressEndpoints = ingress_endpoints.parse()?;
    ChannelUri::parse(egress_channel)?.required_endpoint()?;
    Ok(ClusterClientConfig::new(ingress_endpoints, egress_channel.to_owned(), entropy()))
}

/// One session with a cluster. See the [module](self) for an example.
#[derive(Debug)]
pub struct ClusterClient {
    session: Session,
    io: MmsgIo,
}

impl ClusterClient {
    /// Opens a session, and waits until it is open: [`ClusterClientConfig::message_timeout_ns`] at most.
    ///
    /// # Errors
    /// What is wrong with the configuration, or [`ClusterClientError::Ended`] with why there is no session.
    pub fn connect(config: ClusterClientConfig) -> Result<Self, ClusterClientError> {
        let mut client = Self::open(config)?;
        let mut idler = Idler::new(IdleStrategy::BACKOFF);
        while client.state() == ClientState::Connecting {
            let work = client.poll(&mut |_, _: &[u8]| {})?;
            idler.idle(work);
        }
        Ok(client)
    }

    /// Begins to open a session; [`poll`](Self::poll) goes on with it until [`state`](Self::state) is
    /// [`ClientState::Connected`].
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn open(mut config: ClusterClientConfig) -> Result<Self, ClusterClientError> {
        let mut channel = ChannelUri::parse(&config.egress_channel)?;
        let endpoint = channel.required_endpoint()?;
        let buffers =
            BufferLengths { receive: usize::try_from(config.egress_window_length).ok(), send: None };
        let socket = NetworkSocket::open("egress_channel", &endpoint.to_string(), buffers)?;
        for shortfall in socket.shortfalls() {
            tracing::warn!("{shortfall}");
        }
        channel.put(key::ENDPOINT, endpoint.with_port(socket.local_addr().port()))?;
        config.egress_channel = channel.to_string();
        let session = Session::new(config, monotonic_ns())?;
        Ok(Self { session, io: MmsgIo::new(socket, Offload::default()) })
    }

    /// Takes what has arrived, hands messages to `listener`, sends what is due and what was offered, and
    /// returns how much there was to do. Never waits, with one exception: when a new leader is named by a
    /// host name, that is looked up.
    ///
    /// # Errors
    /// [`ClusterClientError::Ended`] when the session is over, each time; [`ClusterClientError::Io`] when the
    /// socket is.
    pub fn poll(&mut self, listener: &mut impl EgressListener) -> Result<usize, ClusterClientError> {
        let now_ns = monotonic_ns();
        let Self { session, io } = self;
        let mut work = io.receive(DATAGRAMS_PER_POLL_MAX, |bytes, from| {
            session.on_datagram(bytes, from, now_ns, listener);
        })?;
        work += session.on_timeout(now_ns);
        while let Some((lookup, endpoint)) = session.poll_lookup() {
            let address = endpoint.socket_addr().or_else(|| look_up(&endpoint.to_string()));
            session.on_resolved(lookup, address, now_ns);
            work += 1;
        }
        work += self.send(now_ns)?;
        match self.session.end() {
            Some(end) => Err(end.clone().into()),
            None => Ok(work),
        }
    }

    /// Offers a message to the cluster, and returns its end's position in the ingress. The next
    /// [`poll`](Self::poll) or [`flush`](Self::flush) sends it, together with what was offered before:
    /// several small ones travel in one datagram.
    ///
    /// # Errors
    /// [`OfferError`]; nothing is taken then. `NotConnected` while a new leader is awaited, `Closed` when the
    /// session is over.
    pub fn offer(&mut self, payload: &[u8]) -> Result<i64, OfferError> {
        self.session.offer(payload)
    }

    /// Sends what was offered, as far as the cluster's window allows.
    ///
    /// # Errors
    /// When the socket cannot be used any more.
    pub fn flush(&mut self) -> Result<(), ClusterClientError> {
        self.send(monotonic_ns()).map(drop)
    }

    /// Asks the leader for a snapshot on all members;
    /// [`on_admin_response`](EgressListener::on_admin_response) tells the outcome.
    ///
    /// # Errors
    /// [`OfferError`], as for every offer.
    pub fn request_snapshot(&mut self, correlation_id: i64) -> Result<i64, OfferError> {
        self.session.request_snapshot(correlation_id)
    }

    /// Ends the session, and waits until the cluster knows, but no longer than `timeout`: after that it finds
    /// out by its own session timeout. What still arrives is dropped.
    ///
    /// # Errors
    /// When the socket cannot be used any more.
    pub fn close(mut self, timeout: Duration) -> Result<(), ClusterClientError> {
        let deadline = Instant::now() + timeout;
        let mut idler = Idler::new(IdleStrategy::BACKOFF);
        self.session.close();
        while !self.session.is_gone() && Instant::now() < deadline {
            match self.poll(&mut |_, _: &[u8]| {}) {
                Ok(work) => idler.idle(work),
                Err(ClusterClientError::Ended(_)) => idler.idle(0),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How far this client is.
    pub fn state(&self) -> ClientState {
        self.session.state()
    }

    /// The session's id; -1 before it was opened.
    pub fn cluster_session_id(&self) -> i64 {
        self.session.cluster_session_id()
    }

    /// The leadership term in which the session is; -1 before it was opened.
    pub fn leadership_term_id(&self) -> i64 {
        self.session.leadership_term_id()
    }

    /// The member that leads the session; -1 before it was opened.
    pub fn leader_member_id(&self) -> i32 {
        self.session.leader_member_id()
    }

    /// The longest payload that can be offered, in bytes.
    pub fn message_length_max(&self) -> usize {
        self.session.message_length_max()
    }

    /// Where the cluster answers to.
    pub fn egress_address(&self) -> SocketAddr {
        self.io.local_addr()
    }

    /// What was dropped.
    pub fn counters(&self) -> ClusterClientCounters {
        self.session.counters()
    }

    /// What happened on the wire.
    pub fn transport_counters(&self) -> &TransportCounters {
        self.session.transport_counters()
    }

    /// What happened at the socket.
    pub fn io_counters(&self) -> IoCounters {
        self.io.counters()
    }

    fn send(&mut self, now_ns: u64) -> Result<usize, ClusterClientError> {
        let mut out = Outgoing::new(&mut self.io);
        let sent = self.session.poll_transmit(now_ns, &mut |run| out.send(run));
        out.finish()?;
        Ok(sent)
    }
}

/// The cluster is told, if one datagram can tell it; it finds out by its session timeout otherwise.
impl Drop for ClusterClient {
    fn drop(&mut self) {
        if self.session.state() != ClientState::Closed {
            self.session.close();
            let _ = self.send(monotonic_ns());
        }
    }
}

/// One receive call takes at most this many datagrams before offers are sent.
const DATAGRAMS_PER_POLL_MAX: usize = 64;

fn look_up(endpoint: &str) -> Option<SocketAddr> {
    match resolve("ingress_endpoints", endpoint) {
        Ok(address) => Some(address),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}
