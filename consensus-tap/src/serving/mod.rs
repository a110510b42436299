//! What this node does for others, over a socket of its own: the second one, so that the receiver of the log never
//! waits for it.
//!
//! [`Serving`] owns the socket's [`Endpoint`] and hands the messages of each control stream to the server of that
//! stream: archive requests to the [`ArchiveServer`]. Bytes and time in, datagrams and [`ServingAction`]s out.
//!
//! ```text
//!   datagrams ─> Endpoint ─> Inbox ─┬─ archive control stream ─> ArchiveServer ─> replays, responses
//!                                   └─ (one arm a stream)
//! ```

mod allow_list;
mod announcer;
mod consensus_server;
mod response_channel;
#[cfg(test)]
mod test_network;

pub use self::allow_list::{AllowList, Network, NetworkError};
pub use self::announcer::{
    AnnouncedMember, Announcement, AnnouncementOutcome, Announcer, AnnouncerConfig, MemberOutcome,
};
pub use self::consensus_server::{
    ConsensusServer, ConsensusServerConfig, ConsensusServerCounters, LastTerm, RefusedRequest, Standing,
};

use crate::archive::server::{ArchiveServer, ArchiveServerConfig, RecordingStore, Surroundings};
use crate::authentication::Authenticator;
use crate::channel::HostPort;
use crate::endpoint::{
    Endpoint, EndpointEvent, EndpointLimits, Inbox, LookupToken, NameLookups, Transmit, TransportCounters,
};
use crate::image::{ImageKey, ImageSink, Refused, SubscriptionId, SubscriptionParams};
use std::net::SocketAddr;

/// Images beyond those of archive clients that are let in: clients that are only told why not, and newcomers whose
/// predecessors take leave.
const SPARE_IMAGE_COUNT: usize = 32;

/// A request to the runtime.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServingAction {
    /// Look a name up, on a thread that may wait: answered by [`Serving::on_resolved`].
    Resolve {
        /// To be given back.
        token: LookupToken,
        /// What to look up.
        endpoint: HostPort,
    },
    /// Tell the operator.
    Report(String),
}

/// The servers of one socket.
#[derive(Debug)]
pub struct Serving<S: RecordingStore> {
    endpoint: Endpoint,
    lookups: NameLookups,
    inbox: Inbox,
    archive_subscription: SubscriptionId,
    archive: ArchiveServer<S>,
}

impl<S: RecordingStore> Serving<S> {
    /// Servers that wait for clients. `receiver_id` identifies our receiving side to senders and must be unique
    /// among them.
    pub fn new(config: ArchiveServerConfig, authenticator: Box<dyn Authenticator>, receiver_id: i64) -> Self {
        let limits = EndpointLimits {
            image_count_max: config.session_count_max + SPARE_IMAGE_COUNT,
            ..EndpointLimits::default()
        };
        let mut endpoint = Endpoint::with_limits(receiver_id, limits);
        let archive_subscription =
            endpoint.add_subscription(SubscriptionParams::new(config.control_stream_id));
        Self {
            endpoint,
            lookups: NameLookups::default(),
            inbox: Inbox::default(),
            archive_subscription,
            archive: ArchiveServer::new(config, authenticator),
        }
    }

    /// A datagram came in.
    pub fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr, now_ns: u64, store: &S) {
        self.endpoint.on_datagram(datagram, from, now_ns, &mut Sink { inbox: &mut self.inbox });
        if !self.inbox.is_empty() {
            self.on_messages(now_ns, store);
        }
    }

    /// A name was looked up, or could not be (`None`).
    pub fn on_resolved(&mut self, token: LookupToken, address: Option<SocketAddr>, now_ns: u64, store: &S) {
        let Self { endpoint, lookups, archive, .. } = self;
        archive.on_resolved(token, address, now_ns, &mut Surroundings { endpoint, lookups, store });
    }

    /// Time passed.
    pub fn on_timeout(&mut self, now_ns: u64, store: &S) -> usize {
        let mut work = self.endpoint.on_timeout(now_ns);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(event, now_ns);
            work += 1;
        }
        let Self { endpoint, lookups, archive, .. } = self;
        work + archive.on_timeout(now_ns, &mut Surroundings { endpoint, lookups, store })
    }

    /// Hands out datagrams to send.
    pub fn poll_transmit(&mut self, now_ns: u64, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        self.endpoint.poll_transmit(now_ns, send)
    }

    /// The next request to the runtime.
    pub fn poll_action(&mut self) -> Option<ServingAction> {
        if let Some((token, endpoint)) = self.lookups.poll() {
            return Some(ServingAction::Resolve { token, endpoint });
        }
        self.archive.poll_report().map(ServingAction::Report)
    }

    /// The archive's server.
    pub fn archive(&self) -> &ArchiveServer<S> {
        &self.archive
    }

    /// Counts of the transport.
    pub fn transport_counters(&self) -> &TransportCounters {
        self.endpoint.counters()
    }

    /// How many publications, subscriptions and images are open or taking leave.
    pub fn stream_count(&self) -> usize {
        self.endpoint.stream_count()
    }

    /// Ends every session; what is still to be sent comes out of [`Self::poll_transmit`].
    pub fn close(&mut self, now_ns: u64) {
        self.archive.close(now_ns, &mut self.endpoint);
        self.endpoint.remove_subscription(self.archive_subscription, now_ns);
    }

    fn on_messages(&mut self, now_ns: u64, store: &S) {
        let Self { endpoint, lookups, inbox, archive, .. } = self;
        inbox.drain(|image, message| {
            archive.on_message(image, message, now_ns, &mut Surroundings { endpoint, lookups, store });
        });
    }

    fn on_endpoint_event(&mut self, event: EndpointEvent, now_ns: u64) {
        match event {
            EndpointEvent::ImageUnavailable { key, .. } => {
                self.inbox.close(key);
                self.archive.on_image_unavailable(key, now_ns, &mut self.endpoint);
            }
            // A client is known by what it asks. A receiver that refuses a replay no longer counts as one, which
            // the replay notices.
            EndpointEvent::ImageAvailable { .. } | EndpointEvent::PublicationRejected { .. } => {}
        }
    }
}

/// All that comes in are control messages.
struct Sink<'a> {
    inbox: &'a mut Inbox,
}

impl ImageSink for Sink<'_> {
    fn append(&mut self, image: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        if self.inbox.on_frames(image, position, frames) { Ok(()) } else { Err(Refused) }
    }
}
