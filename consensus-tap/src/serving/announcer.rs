//! Tells members of snapshots in our archive, and finds out what became of each telling.
//!
//! A member that stores an announcement says nothing: it opens a publication to the response stream that the
//! announcement names, and closes it again. One that refuses says why before it closes. So each announcement has a
//! response stream of its own, and the end of that stream is the receipt:
//!
//! ```text
//!   queued -> Resolving -> Connecting -> Sent -> Confirming -> Taken
//!                │             │          │ SessionEvent ────> Refused
//!                │             │          └ no end of stream in time, or the member is gone ──> Unknown
//!                └─────────────┴ nothing was sent ───────────────────────────────────────────> Unreachable
//! ```
//! A member also closes that publication when its session times out (10 s) and when its consensus module ends. The
//! first is told by time: an end that comes within five seconds of our sending is no time-out. The second is
//! told by what follows: the member's receiver, which the same consensus module holds open, must be heard of again.
//!
//! Invariant: nothing is sent to a member at or below the log position of what was sent there before. The same set
//! twice would leave the member with twice as many rows as its services, and it would load none of them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::consensus_server::snapshot;
use crate::archive::Credentials;
use crate::channel::{ChannelUri, HostPort, key};
use crate::codec::consensus::{
    ConsensusMessage, SnapshotEntry, StandbyEntries, StandbyEntry, StandbySnapshot,
};
use crate::codec::message::Secret;
use crate::codec::session::{
    CLUSTER_PROTOCOL_VERSION, Challenge, ChallengeResponse, EventCode, SessionEvent,
};
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::file::recording_log::SnapshotSet;
use crate::image::{ImageKey, SubscriptionId, SubscriptionParams, UnavailableReason};
use crate::publication::{PublicationId, PublicationParams, PublicationState};
use crate::random::next_random;

/// An end of stream that comes later than this after our sending, in nanoseconds, proves nothing: half of the time after which a
/// member gives a session up (aeron.cluster.session.timeout, 10 s).
const ANSWER_TIMEOUT_NS: u64 = 5_000_000_000;
/// A receiver reports five times a second. One that is heard of so long after the end of stream was alive then.
const CONFIRM_AFTER_NS: u64 = 300_000_000;
/// A receiver that is not heard of for so long is gone.
const CONFIRM_TIMEOUT_NS: u64 = 2_000_000_000;
/// A consensus module that was stopped for a while must not find more than it can take.
const QUEUE_LENGTH_MAX: usize = 256;

/// Settings of an [`Announcer`].
#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    /// `host:port` at which members reach the announcer, and our archive.
    pub endpoint: HostPort,
    /// Stream of the members' consensus messages.
    pub consensus_stream_id: i32,
    /// What members' authenticators get.
    pub credentials: Credentials,
    /// How long a member's driver may take to connect, in nanoseconds.
    pub connect_timeout_ns: u64,
    /// Seeds session, stream and correlation ids; a run with the same seed and input does the same.
    pub seed: u64,
}

impl Default for AnnouncerConfig {
    fn default() -> Self {
        Self {
            endpoint: HostPort { host: "localhost".to_owned(), port: 0 },
            consensus_stream_id: 108,
            credentials: Credentials::None,
            connect_timeout_ns: 5_000_000_000,
            seed: 0,
        }
    }
}

/// A snapshot set to be told of, and whom to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    entries: Vec<SnapshotEntry>,
    members: Vec<AnnouncedMember>,
}

/// A member that is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnnouncedMember {
    /// Its id.
    pub member_id: i32,
    /// Its consensus endpoint, as reached from here.
    pub consensus_endpoint: HostPort,
}

/// What became of one telling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AnnouncementOutcome {
    /// The member has stored it: it will be in its recording log once the member has committed that far.
    Taken,
    /// The member does not want it.
    Refused {
        /// The member's words.
        reason: String,
    },
    /// It was sent, and nobody can tell whether it was stored.
    Unknown {
        /// What was missing.
        reason: &'static str,
    },
    /// Nothing was sent: the same set may be announced again.
    Unreachable {
        /// Why.
        reason: &'static str,
    },
}

/// The outcome at one member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberOutcome {
    /// The member.
    pub member_id: i32,
    /// Log position of the set.
    pub log_position: i64,
    /// What became of it.
    pub outcome: AnnouncementOutcome,
}

impl Announcement {
    /// A complete, durable set of this node's archive, for these members.
    pub fn new(set: &SnapshotSet, members: Vec<AnnouncedMember>) -> Self {
        Self { entries: set.entries().iter().map(snapshot).collect(), members }
    }

    /// Where in the log the set was taken.
    pub fn log_position(&self) -> i64 {
        self.entries[0].log_position
    }

    /// Who is to be told.
    pub fn members(&self) -> &[AnnouncedMember] {
        &self.members
    }
}

/// Sends announcements and watches what becomes of them. One at a time to each member, as its sessions with
/// non-members share one session id and challenges could not be told apart.
#[derive(Debug)]
pub struct Announcer {
    config: AnnouncerConfig,
    queue: VecDeque<Delivery>,
    under_way: Vec<Delivery>,
    /// The highest log position that was sent to each member.
    sent: Vec<(i32, i64)>,
    outcomes: VecDeque<MemberOutcome>,
    random: u64,
    next_correlation_id: i64,
    message: Vec<u8>,
}

/// One announcement to one member.
#[derive(Debug)]
struct Delivery {
    member: AnnouncedMember,
    entries: Vec<SnapshotEntry>,
    correlation_id: i64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Queued,
    Resolving { lookup: LookupToken, deadline_ns: u64 },
    Connecting { link: Link, deadline_ns: u64 },
    Sent { link: Link, deadline_ns: u64 },
    Confirming { link: Link, ended_ns: u64 },
}

/// The way to a member and back.
#[derive(Clone, Copy, Debug)]
struct Link {
    publication: PublicationId,
    subscription: SubscriptionId,
    response_stream_id: i32,
}

impl Stage {
    fn link(self) -> Option<Link> {
        match self {
            Self::Queued | Self::Resolving { .. } => None,
            Self::Connecting { link, .. } | Self::Sent { link, .. } | Self::Confirming { link, .. } => {
                Some(link)
            }
        }
    }
}

impl Delivery {
    fn log_position(&self) -> i64 {
        self.entries[0].log_position
    }
}

impl Announcer {
    /// An announcer with nothing to tell.
    pub fn new(config: AnnouncerConfig) -> Self {
        let mut random = config.seed;
        let next_correlation_id = (next_random(&mut random) >> 1) as i64 & 0x0000_ffff_ffff_0000;
        Self {
            config,
            queue: VecDeque::new(),
            under_way: Vec::new(),
            sent: Vec::new(),
            outcomes: VecDeque::new(),
            random,
            next_correlation_id,
            message: Vec::new(),
        }
    }

    /// Takes an announcement. A member to which as much was sent before is not told again: its outcome is unknown.
    pub fn announce(&mut self, announcement: &Announcement) {
        for member in &announcement.members {
            let delivery = Delivery {
                member: member.clone(),
                entries: announcement.entries.clone(),
                correlation_id: 0,
                stage: Stage::Queued,
            };
            if self.queue.len() < QUEUE_LENGTH_MAX {
                self.queue.push_back(delivery);
            } else {
                self.report(
                    &delivery,
                    AnnouncementOutcome::Unreachable { reason: "too much waits before it" },
                );
            }
        }
    }

    /// Whether everything has come to its end.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.under_way.is_empty()
    }

    /// Whether images of a subscription are answers to this announcer.
    pub fn owns(&self, subscription: SubscriptionId) -> bool {
        self.index_of(subscription).is_some()
    }

    /// A name was looked up, or could not be (`None`). False when it was not this announcer's.
    pub fn on_resolved(
        &mut self,
        lookup: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> bool {
        let of_lookup = |delivery: &Delivery| matches!(delivery.stage, Stage::Resolving { lookup: asked, .. } if asked == lookup);
        let Some(index) = self.under_way.iter().position(of_lookup) else { return false };
        let Some(address) = address else {
            self.end(index, unreachable("its name does not resolve"), now_ns, endpoint);
            return true;
        };
        let response_stream_id = self.response_stream_id();
        let session_id = next_random(&mut self.random) as i32;
        let params = PublicationParams::new(session_id, self.config.consensus_stream_id);
        let link = Link {
            publication: endpoint.add_publication(params, address, now_ns),
            subscription: endpoint.add_subscription(SubscriptionParams::new(response_stream_id)),
            response_stream_id,
        };
        let deadline_ns = now_ns.saturating_add(self.config.connect_timeout_ns);
        self.under_way[index].stage = Stage::Connecting { link, deadline_ns };
        true
    }

    /// A message came on an image that is [ours](Self::owns).
    pub fn on_message(&mut self, key: ImageKey, bytes: &[u8], now_ns: u64, endpoint: &mut Endpoint) {
        let Some(index) = self.index_of(key.subscription) else { return };
        match ConsensusMessage::decode(bytes) {
            Ok(ConsensusMessage::SessionEvent(event)) => {
                self.on_session_event(index, &event, now_ns, endpoint)
            }
            Ok(ConsensusMessage::Challenge(challenge)) => {
                self.on_challenge(index, &challenge, now_ns, endpoint);
            }
            // Nothing else belongs on this stream, so its end will prove nothing.
            Ok(_) | Err(_) => {
                self.end(index, unknown("it answers with a message that is none of these"), now_ns, endpoint);
            }
        }
    }

    /// An image that is [ours](Self::owns) ended; all its messages were taken before.
    pub fn on_image_unavailable(
        &mut self,
        key: ImageKey,
        reason: UnavailableReason,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) {
        let Some(index) = self.index_of(key.subscription) else { return };
        let Stage::Sent { link, deadline_ns } = self.under_way[index].stage else { return };
        if reason == UnavailableReason::EndOfStream && now_ns <= deadline_ns {
            self.under_way[index].stage = Stage::Confirming { link, ended_ns: now_ns };
        } else {
            self.end(index, unknown("its answer did not end in order"), now_ns, endpoint);
        }
    }

    /// Sends what can be sent, and ends what took too long.
    pub fn on_timeout(&mut self, now_ns: u64, endpoint: &mut Endpoint, lookups: &mut NameLookups) -> usize {
        let mut work = self.begin(now_ns, lookups);
        for index in (0..self.under_way.len()).rev() {
            work += usize::from(self.advance(index, now_ns, endpoint));
        }
        work
    }

    /// The next outcome. There is one for each member of each announcement.
    pub fn poll_outcome(&mut self) -> Option<MemberOutcome> {
        self.outcomes.pop_front()
    }

    /// Takes deliveries from the queue whose members have none under way.
    fn begin(&mut self, now_ns: u64, lookups: &mut NameLookups) -> usize {
        let mut begun = 0;
        for _ in 0..self.queue.len() {
            let Some(mut delivery) = self.queue.pop_front() else { break };
            let member_id = delivery.member.member_id;
            if self.under_way.iter().any(|other| other.member.member_id == member_id) {
                self.queue.push_back(delivery);
                continue;
            }
            begun += 1;
            if self.sent_to(member_id).is_some_and(|position| delivery.log_position() <= position) {
                self.report(&delivery, unknown("as new a set was sent there before"));
                continue;
            }
            let lookup = lookups.ask(delivery.member.consensus_endpoint.clone());
            let deadline_ns = now_ns.saturating_add(self.config.connect_timeout_ns);
            delivery.stage = Stage::Resolving { lookup, deadline_ns };
            self.under_way.push(delivery);
        }
        begun
    }

    /// Takes one delivery a step further, and returns whether there was one.
    fn advance(&mut self, index: usize, now_ns: u64, endpoint: &mut Endpoint) -> bool {
        let outcome = match self.under_way[index].stage {
            Stage::Queued => return false,
            Stage::Resolving { deadline_ns, .. } if now_ns > deadline_ns => {
                unreachable("its name was not looked up in time")
            }
            Stage::Resolving { .. } => return false,
            Stage::Connecting { link, deadline_ns } => {
                if endpoint.publication_state(link.publication) == PublicationState::Connected
                    && self.send(index, link, endpoint)
                {
                    let deadline_ns = now_ns.saturating_add(ANSWER_TIMEOUT_NS);
                    self.under_way[index].stage = Stage::Sent { link, deadline_ns };
                    return true;
                }
                if now_ns <= deadline_ns {
                    return false;
                }
                unreachable("nothing listens there: the member is down, or the address is wrong")
            }
            Stage::Sent { deadline_ns, .. } if now_ns > deadline_ns => unknown(
                "it did not answer: it is in an election, stopped, or cannot reach our archive endpoint",
            ),
            Stage::Sent { .. } => return false,
            Stage::Confirming { link, ended_ns } => {
                let is_connected =
                    endpoint.publication_state(link.publication) == PublicationState::Connected;
                let heard_ns = endpoint.last_status_message_ns(link.publication).unwrap_or(0);
                if is_connected && heard_ns >= ended_ns + CONFIRM_AFTER_NS {
                    AnnouncementOutcome::Taken
                } else if !is_connected || now_ns > ended_ns + CONFIRM_TIMEOUT_NS {
                    unknown("its consensus module ended at the same time")
                } else {
                    return false;
                }
            }
        };
        self.end(index, outcome, now_ns, endpoint);
        true
    }

    /// Hands the announcement to the network: from here on it counts as sent.
    fn send(&mut self, index: usize, link: Link, endpoint: &mut Endpoint) -> bool {
        let correlation_id = self.correlation_id();
        let archive_endpoint = self.config.endpoint.to_string();
        let response_channel = ChannelUri::udp()
            .with(key::ENDPOINT, &archive_endpoint)
            .with(key::TERM_LENGTH, RESPONSE_TERM_LENGTH)
            .to_string();
        let delivery = &mut self.under_way[index];
        delivery.correlation_id = correlation_id;
        let entries: Vec<StandbyEntry<'_>> = delivery
            .entries
            .iter()
            .map(|&snapshot| StandbyEntry { snapshot, archive_endpoint: &archive_endpoint })
            .collect();
        self.message.clear();
        StandbySnapshot {
            correlation_id,
            version: CLUSTER_PROTOCOL_VERSION,
            response_stream_id: link.response_stream_id,
            snapshots: StandbyEntries::new(&entries),
            response_channel: &response_channel,
            encoded_credentials: Secret(self.config.credentials.initial()),
        }
        .encode(&mut self.message);
        if endpoint.offer(link.publication, &self.message).is_err() {
            return false;
        }
        let (member_id, log_position) = (delivery.member.member_id, delivery.log_position());
        match self.sent.iter_mut().find(|(id, _)| *id == member_id) {
            Some((_, position)) => *position = log_position,
            None => self.sent.push((member_id, log_position)),
        }
        true
    }

    fn on_session_event(
        &mut self,
        index: usize,
        event: &SessionEvent<'_>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) {
        let is_ours = event.correlation_id == self.under_way[index].correlation_id;
        let outcome = match event.code {
            EventCode::Error | EventCode::AuthenticationRejected if is_ours => {
                AnnouncementOutcome::Refused { reason: event.detail.to_owned() }
            }
            _ => unknown("it answers with an event that says neither yes nor no"),
        };
        self.end(index, outcome, now_ns, endpoint);
    }

    fn on_challenge(
        &mut self,
        index: usize,
        challenge: &Challenge<'_>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) {
        let Some(answer) = self.config.credentials.on_challenge(challenge.encoded_challenge) else {
            let reason = "it challenges our credentials: set `challenge_answer`".to_owned();
            return self.end(index, AnnouncementOutcome::Refused { reason }, now_ns, endpoint);
        };
        self.message.clear();
        let correlation_id = self.next_correlation_id + 1;
        ChallengeResponse {
            correlation_id,
            cluster_session_id: challenge.cluster_session_id,
            encoded_credentials: Secret(answer),
        }
        .encode(&mut self.message);
        let Stage::Sent { link, .. } = self.under_way[index].stage else { return };
        // What is not taken now is not answered in time either: half a term does not wait behind one message.
        if endpoint.offer(link.publication, &self.message).is_ok() {
            self.next_correlation_id = correlation_id;
            self.under_way[index].correlation_id = correlation_id;
        }
    }

    fn end(&mut self, index: usize, outcome: AnnouncementOutcome, now_ns: u64, endpoint: &mut Endpoint) {
        let delivery = self.under_way.swap_remove(index);
        if let Some(link) = delivery.stage.link() {
            endpoint.close_publication(link.publication, now_ns);
            endpoint.remove_subscription(link.subscription, now_ns);
        }
        self.report(&delivery, outcome);
    }

    fn report(&mut self, delivery: &Delivery, outcome: AnnouncementOutcome) {
        let (member_id, log_position) = (delivery.member.member_id, delivery.log_position());
        self.outcomes.push_back(MemberOutcome { member_id, log_position, outcome });
    }

    fn index_of(&self, subscription: SubscriptionId) -> Option<usize> {
        let is_of =
            |delivery: &Delivery| delivery.stage.link().is_some_and(|link| link.subscription == subscription);
        self.under_way.iter().position(is_of)
    }

    fn sent_to(&self, member_id: i32) -> Option<i64> {
        self.sent.iter().find(|(id, _)| *id == member_id).map(|(_, position)| *position)
    }

    fn correlation_id(&mut self) -> i64 {
        self.next_correlation_id += 1;
        self.next_correlation_id
    }

    /// A stream that nobody else answers on. A member's driver gives one publication to all that ask for the same
    /// channel and stream, and such a publication ends for none of them before it ends for all.
    fn response_stream_id(&mut self) -> i32 {
        FIRST_RESPONSE_STREAM_ID | (next_random(&mut self.random) as i32 & 0x0fff_ffff)
    }
}

/// A member answers with one short message at most.
const RESPONSE_TERM_LENGTH: &str = "64k";
/// Far above the streams that Aeron Cluster uses.
const FIRST_RESPONSE_STREAM_ID: i32 = 0x4000_0000;

fn unknown(reason: &'static str) -> AnnouncementOutcome {
    AnnouncementOutcome::Unknown { reason }
}

fn unreachable(reason: &'static str) -> AnnouncementOutcome {
    AnnouncementOutcome::Unreachable { reason }
}
