//! What the cluster says on the egress stream, and what follows from it at once.
//!
//! Messages are read while their datagram is; what needs the endpoint waits as [`News`] until that is over.

use super::{BadEndpoints, ConnectFailure, EgressListener, IngressEndpoints};
use crate::archive::Credentials;
use crate::codec::message::Secret;
use crate::codec::session::{
    Challenge, ChallengeResponse, EgressMessage, EventCode, NULL_SESSION_ID, NewLeaderEvent, SessionEvent,
    SessionMessageHeader,
};
use crate::image::ImageKey;
use crate::random::next_random;

/// What was dropped, as counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClusterClientCounters {
    /// Messages for other sessions, or for this one before it was open.
    pub foreign_session_count: u64,
    /// Messages that could not be decoded, or are of another schema.
    pub malformed_count: u64,
    /// Messages of a template that is not known here.
    pub unknown_template_count: u64,
    /// News of a leader of an older term.
    pub stale_leader_count: u64,
}

/// What the owner of the endpoint has to act upon.
#[derive(Debug)]
pub(super) enum News {
    /// The session is open.
    Opened,
    /// Connecting failed.
    Failed(ConnectFailure),
    /// Another member leads: ask it for the session.
    Redirected { leader_member_id: i32, endpoints: IngressEndpoints },
    /// The cluster asks for more, and the answer is in [`Session::outgoing`].
    Challenged,
    /// Another member leads the session.
    NewLeader { endpoints: Result<IngressEndpoints, BadEndpoints> },
    /// The cluster closed the session.
    Closed { detail: String },
}

/// One session, from the request for it to its end.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    /// In front of every message that is offered.
    header: Vec<u8>,
    pub(super) cluster_session_id: i64,
    pub(super) leadership_term_id: i64,
    pub(super) leader_member_id: i32,
    /// What the cluster named, in nanoseconds; `None` before it did, or if it is too old to.
    pub(super) leader_heartbeat_timeout_ns: Option<u64>,
    /// Where the cluster's word came from last: if it ends, the leader is gone.
    pub(super) egress_image: Option<ImageKey>,
    /// The message to send while connecting.
    pub(super) outgoing: Vec<u8>,
    pub(super) news: Vec<News>,
    pub(super) counters: ClusterClientCounters,
    credentials: Credentials,
    random: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The answer will carry this correlation id; `None` while nothing is asked.
    Connecting(Option<i64>),
    Open,
    Over,
}

impl Session {
    pub(super) fn new(credentials: Credentials, seed: u64) -> Self {
        Self {
            phase: Phase::Connecting(None),
            header: Vec::new(),
            cluster_session_id: NULL_SESSION_ID,
            leadership_term_id: NULL_SESSION_ID,
            leader_member_id: -1,
            leader_heartbeat_timeout_ns: None,
            egress_image: None,
            outgoing: Vec::new(),
            news: Vec::new(),
            counters: ClusterClientCounters::default(),
            credentials,
            random: seed,
        }
    }

    /// The header of a session message of this term.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A correlation id for a request of which the answer is expected from now on.
    pub(super) fn expect_answer(&mut self) -> i64 {
        // -1 is for "none" on the wire.
        let correlation_id = (next_random(&mut self.random) >> 1) as i64;
        self.phase = Phase::Connecting(Some(correlation_id));
        correlation_id
    }

    /// Whatever still comes is not listened to.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
        self.outgoing = Vec::new();
    }

    /// Takes one whole message that came from `image`.
    pub(super) fn on_message(&mut self, image: ImageKey, bytes: &[u8], listener: &mut impl EgressListener) {
        match EgressMessage::decode(bytes) {
            Ok(EgressMessage::Session(header, payload)) => {
                if self.is_ours(header.cluster_session_id) {
                    listener.on_message(header.timestamp, payload);
                }
            }
            Ok(EgressMessage::Event(event)) => self.on_session_event(image, &event, listener),
            Ok(EgressMessage::NewLeader(event)) => self.on_new_leader(image, &event, listener),
            Ok(EgressMessage::Challenge(challenge)) => self.on_challenge(&challenge),
            Ok(EgressMessage::AdminResponse(response)) => {
                if self.is_ours(response.cluster_session_id) {
                    listener.on_admin_response(&response);
                }
            }
            Ok(EgressMessage::Unknown(_)) => self.counters.unknown_template_count += 1,
            Err(_) => self.counters.malformed_count += 1,
        }
    }

    fn is_ours(&mut self, cluster_session_id: i64) -> bool {
        let is_ours = self.phase == Phase::Open && cluster_session_id == self.cluster_session_id;
        if !is_ours {
            self.counters.foreign_session_count += 1;
        }
        is_ours
    }

    fn on_session_event(
        &mut self,
        image: ImageKey,
        event: &SessionEvent<'_>,
        listener: &mut impl EgressListener,
    ) {
        if let Phase::Connecting(expected) = self.phase {
            if expected == Some(event.correlation_id) {
                self.on_connect_response(image, event);
            } else {
                self.counters.foreign_session_count += 1;
            }
            return;
        }
        if !self.is_ours(event.cluster_session_id) {
            return;
        }
        if event.code == EventCode::Closed {
            self.news.push(News::Closed { detail: event.detail.to_owned() });
        }
        listener.on_session_event(event);
    }

    fn on_connect_response(&mut self, image: ImageKey, event: &SessionEvent<'_>) {
        let detail = || event.detail.to_owned();
        let news = match event.code {
            EventCode::Ok => {
                self.phase = Phase::Open;
                self.cluster_session_id = event.cluster_session_id;
                self.leader_heartbeat_timeout_ns = u64::try_from(event.leader_heartbeat_timeout_ns).ok();
                self.follow(image, event.leadership_term_id, event.leader_member_id);
                News::Opened
            }
            EventCode::Error => News::Failed(ConnectFailure::Refused { detail: detail() }),
            EventCode::AuthenticationRejected => {
                News::Failed(ConnectFailure::AuthenticationRejected { detail: detail() })
            }
            EventCode::Redirect => {
                self.phase = Phase::Connecting(None);
                let leader_member_id = event.leader_member_id;
                match endpoints_with(event.detail, leader_member_id) {
                    Ok(endpoints) => News::Redirected { leader_member_id, endpoints },
                    Err(reason) => News::Failed(ConnectFailure::BadRedirect { leader_member_id, reason }),
                }
            }
            // A cluster that closes what it has not opened yet leaves us to the timeout, as it does Java's
            // client.
            EventCode::Closed | EventCode::Other(_) => return,
        };
        self.news.push(news);
    }

    fn on_new_leader(
        &mut self,
        image: ImageKey,
        event: &NewLeaderEvent<'_>,
        listener: &mut impl EgressListener,
    ) {
        if !self.is_ours(event.cluster_session_id) {
            return;
        }
        if event.leadership_term_id < self.leadership_term_id {
            self.counters.stale_leader_count += 1;
            return;
        }
        self.follow(image, event.leadership_term_id, event.leader_member_id);
        let endpoints = endpoints_with(event.ingress_endpoints, event.leader_member_id);
        self.news.push(News::NewLeader { endpoints });
        listener.on_new_leader(event.leadership_term_id, event.leader_member_id, event.ingress_endpoints);
    }

    fn on_challenge(&mut self, challenge: &Challenge<'_>) {
        if self.phase != Phase::Connecting(Some(challenge.correlation_id)) {
            self.counters.foreign_session_count += 1;
            return;
        }
        let correlation_id = self.expect_answer();
        let Some(answer) = self.credentials.on_challenge(challenge.encoded_challenge) else {
            self.news.push(News::Failed(ConnectFailure::Challenged));
            return;
        };
        self.outgoing.clear();
        ChallengeResponse {
            correlation_id,
            cluster_session_id: challenge.cluster_session_id,
            encoded_credentials: Secret(answer),
        }
        .encode(&mut self.outgoing);
        self.news.push(News::Challenged);
    }

    fn follow(&mut self, image: ImageKey, leadership_term_id: i64, leader_member_id: i32) {
        self.egress_image = Some(image);
        self.leadership_term_id = leadership_term_id;
        self.leader_member_id = leader_member_id;
        self.header.clear();
        SessionMessageHeader {
            leadership_term_id,
            cluster_session_id: self.cluster_session_id,
            timestamp: 0,
        }
        .encode(&mut self.header);
    }
}

/// Reads a list of endpoints in which a leader must be named.
fn endpoints_with(text: &str, leader_member_id: i32) -> Result<IngressEndpoints, BadEndpoints> {
    let endpoints: IngressEndpoints = text.parse()?;
    match endpoints.endpoint_of(leader_member_id) {
        Some(_) => Ok(endpoints),
        None => Err(BadEndpoints::LeaderNotNamed { endpoints: text.to_owned() }),
    }
}
