//! What this node does for others, over a socket of its own: the second one, so that the receiver of the log never
//! waits for it.
//!
//! [`Serving`] owns the socket's [`Endpoint`] and hands the messages of each control stream to whom they are for.
//! Bytes and time in, datagrams and [`ServingAction`]s out.
//!
//! ```text
//!   datagrams ─> Endpoint ─> Inbox ─┬─ archive control stream ──> ArchiveServer ───> replays, responses
//!                                   ├─ consensus stream ────────> ConsensusServer ─> answers as of a member
//!                                   ├─ stream of standbys ──────> StandbyLink ─────> how the others stand
//!                                   └─ a stream an announcement > Announcer ───────> what became of it
//! ```

mod allow_list;
mod announcer;
mod consensus_server;
mod liveness;
mod peer_link;
mod standby_link;
#[cfg(test)]
mod test_network;

pub use self::allow_list::{AllowList, Network, NetworkError};
pub use self::announcer::{
    AnnouncedMember, Announcement, AnnouncementOutcome, Announcer, AnnouncerConfig, MemberOutcome,
};
pub use self::consensus_server::{
    ConsensusServer, ConsensusServerConfig, ConsensusServerCounters, LastTerm, RefusedRequest, Standing,
};
pub use self::liveness::ProbedMember;
pub use self::standby_link::StandbyLinkConfig;

use self::liveness::Liveness;
use self::standby_link::StandbyLink;

use crate::archive::server::{ArchiveServer, ArchiveServerConfig, RecordingStore, Surroundings};
use crate::authentication::Authenticator;
use crate::channel::HostPort;
use crate::codec::standby::STANDBY_STREAM_ID;
use crate::endpoint::{
    Endpoint, EndpointEvent, EndpointLimits, Inbox, LookupToken, NameLookups, Transmit, TransportCounters,
};
use crate::image::{ImageKey, ImageSink, Refused, SubscriptionId, SubscriptionParams};
use crate::transition::{Beacon, MemberSign};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Images beyond those of archive clients that are let in: clients that are only told why not, newcomers whose
/// predecessors take leave, those who ask us as a member, and members that answer an announcement.
const SPARE_IMAGE_COUNT: usize = 64;

/// Settings of everything that one socket serves.
#[derive(Clone, Debug, Default)]
pub struct ServingConfig {
    /// The archive's server.
    pub archive: ArchiveServerConfig,
    /// What we answer as if we were a member. Its allow-list counts for the archive too.
    pub consensus: ConsensusServerConfig,
    /// How members are told of snapshots.
    pub announcer: AnnouncerConfig,
    /// Who else stands by.
    pub standbys: StandbyLinkConfig,
}

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
    /// An announcement came to its end at one member.
    Announced(MemberOutcome),
    /// Another standby said how it stands.
    Beacon(Beacon),
    /// Tell the operator.
    Report(String),
}

/// The servers of one socket.
#[derive(Debug)]
pub struct Serving<S: RecordingStore> {
    endpoint: Endpoint,
    lookups: NameLookups,
    inbox: Inbox,
    /// Where each image that is there comes from.
    sources: Vec<(ImageKey, SocketAddr)>,
    allow_list: AllowList,
    archive_subscription: SubscriptionId,
    archive: ArchiveServer<S>,
    consensus_subscription: SubscriptionId,
    consensus: ConsensusServer,
    announcer: Announcer,
    standby_subscription: SubscriptionId,
    standbys: StandbyLink,
    liveness: Liveness,
    reports: VecDeque<String>,
}

impl<S: RecordingStore> Serving<S> {
    /// Servers that wait for clients. `receiver_id` identifies our receiving side to senders and must be unique
    /// among them.
    pub fn new(
        config: ServingConfig,
        archive_authenticator: Box<dyn Authenticator>,
        consensus_authenticator: Box<dyn Authenticator>,
        receiver_id: i64,
    ) -> Self {
        let ServingConfig { archive, consensus, announcer, standbys } = config;
        let limits = EndpointLimits {
            image_count_max: archive.session_count_max + SPARE_IMAGE_COUNT,
            ..EndpointLimits::default()
        };
        let mut endpoint = Endpoint::with_limits(receiver_id, limits);
        let mut subscribe = |stream_id| endpoint.add_subscription(SubscriptionParams::new(stream_id));
        let archive_subscription = subscribe(archive.control_stream_id);
        let consensus_subscription = subscribe(announcer.consensus_stream_id);
        let standby_subscription = subscribe(STANDBY_STREAM_ID);
        let liveness = Liveness::new(announcer.consensus_stream_id, announcer.seed.rotate_left(17));
        Self {
            endpoint,
            lookups: NameLookups::default(),
            inbox: Inbox::default(),
            sources: Vec::new(),
            allow_list: consensus.allow_list.clone(),
            archive_subscription,
            archive: ArchiveServer::new(archive, archive_authenticator),
            consensus_subscription,
            consensus: ConsensusServer::new(consensus, consensus_authenticator),
            announcer: Announcer::new(announcer),
            standby_subscription,
            standbys: StandbyLink::new(standbys),
            liveness,
            reports: VecDeque::new(),
        }
    }

    /// What we say of ourselves when we are asked as a member has changed.
    pub fn on_standing(&mut self, standing: Arc<Standing>) {
        self.consensus.on_standing(standing);
    }

    /// Tells members of a snapshot set that the archive serves by now.
    pub fn announce(&mut self, announcement: &Announcement) {
        self.announcer.announce(announcement);
    }

    /// Probes these members of the cluster from now on; those that were probed before go on being so.
    pub fn probe(&mut self, members: &[ProbedMember], now_ns: u64) {
        self.liveness.probe(members, now_ns, &mut self.endpoint);
    }

    /// What was heard of the members that are probed.
    pub fn member_signs(&self) -> Vec<MemberSign> {
        self.liveness.signs(&self.endpoint)
    }

    /// Tells the other standbys how this one stands.
    pub fn tell_standbys(&mut self, beacon: &Beacon) {
        self.standbys.tell(beacon, &mut self.endpoint);
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
        let Self { endpoint, lookups, archive, consensus, announcer, standbys, liveness, .. } = self;
        if !consensus.on_resolved(token, address, now_ns, endpoint)
            && !announcer.on_resolved(token, address, now_ns, endpoint)
            && !standbys.on_resolved(token, address, now_ns, endpoint)
            && !liveness.on_resolved(token, address, now_ns, endpoint)
        {
            archive.on_resolved(token, address, now_ns, &mut Surroundings { endpoint, lookups, store });
        }
    }

    /// Time passed.
    pub fn on_timeout(&mut self, now_ns: u64, store: &S) -> usize {
        let mut work = self.endpoint.on_timeout(now_ns);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(event, now_ns);
            work += 1;
        }
        let Self { endpoint, lookups, archive, consensus, announcer, standbys, liveness, .. } = self;
        work += consensus.on_timeout(now_ns, endpoint);
        work += announcer.on_timeout(now_ns, endpoint, lookups);
        work += standbys.on_timeout(now_ns, endpoint, lookups);
        work += liveness.on_timeout(now_ns, endpoint, lookups);
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
        if let Some(outcome) = self.announcer.poll_outcome() {
            return Some(ServingAction::Announced(outcome));
        }
        if let Some(beacon) = self.standbys.poll_beacon() {
            return Some(ServingAction::Beacon(beacon));
        }
        let refused = self.consensus.poll_refused().or_else(|| self.standbys.poll_refused());
        if let Some(RefusedRequest { from, reason }) = refused {
            return Some(ServingAction::Report(format!("a request from {from} was refused: {reason}")));
        }
        let report = self.reports.pop_front().or_else(|| self.archive.poll_report());
        report.map(ServingAction::Report)
    }

    /// What came of requests on the consensus stream.
    pub fn consensus_counters(&self) -> &ConsensusServerCounters {
        self.consensus.counters()
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
        self.standbys.close(now_ns, &mut self.endpoint);
        self.liveness.close(now_ns, &mut self.endpoint);
        self.endpoint.remove_subscription(self.standby_subscription, now_ns);
        self.endpoint.remove_subscription(self.archive_subscription, now_ns);
        self.endpoint.remove_subscription(self.consensus_subscription, now_ns);
    }

    fn on_messages(&mut self, now_ns: u64, store: &S) {
        let Self { endpoint, lookups, inbox, sources, archive, consensus, announcer, standbys, .. } = self;
        let source = |image: ImageKey| {
            let known = sources.iter().find(|(known, _)| *known == image);
            known.expect("an image is announced before its first byte").1
        };
        inbox.drain(|image, message| {
            if image.subscription == self.consensus_subscription {
                consensus.on_message(message, source(image), now_ns, lookups);
            } else if image.subscription == self.standby_subscription {
                standbys.on_message(message, source(image));
            } else if announcer.owns(image.subscription) {
                announcer.on_message(image, message, now_ns, endpoint);
            } else {
                archive.on_message(image, message, now_ns, &mut Surroundings { endpoint, lookups, store });
            }
        });
    }

    fn on_endpoint_event(&mut self, event: EndpointEvent, now_ns: u64) {
        match event {
            EndpointEvent::ImageAvailable { key, source, .. } => {
                self.sources.push((key, source));
                if key.subscription == self.archive_subscription && !self.allow_list.allows(source) {
                    // An archive has no word for somebody that it does not know yet; the driver has.
                    self.endpoint.refuse_image(key, now_ns);
                    self.reports.push_back(format!(
                        "an archive client at {source} was refused: the address is not in this standby's serve_allow"
                    ));
                }
            }
            EndpointEvent::ImageUnavailable { key, reason, .. } => {
                self.inbox.close(key);
                self.sources.retain(|(known, _)| *known != key);
                if self.announcer.owns(key.subscription) {
                    self.announcer.on_image_unavailable(key, reason, now_ns, &mut self.endpoint);
                } else if key.subscription == self.archive_subscription {
                    self.archive.on_image_unavailable(key, now_ns, &mut self.endpoint);
                }
            }
            // A receiver that refuses a replay no longer counts as one, which the replay notices.
            EndpointEvent::PublicationRejected { .. } => {}
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
