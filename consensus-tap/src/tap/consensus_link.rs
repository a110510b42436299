//! The way to one member's consensus module: one publication, one query under way at a time.

use std::net::SocketAddr;

use super::channels::response_channel;
use super::config::TapConfig;
use crate::archive::Credentials;
use crate::channel::HostPort;
use crate::codec::consensus::{ANY_LOG_POSITION, BackupQuery, HeartbeatRequest};
use crate::codec::message::Secret;
use crate::codec::session::{CLUSTER_PROTOCOL_VERSION, Challenge, ChallengeResponse};
use crate::endpoint::Endpoint;
use crate::publication::{PublicationId, PublicationParams, PublicationState};

/// What was asked of the member and has no answer yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Query {
    Backup,
    Heartbeat,
}

/// A publication to one consensus endpoint and the query that waits there.
///
/// All of a member's sessions with non-members share one session id, so two challenged queries at once could
/// not be told apart: there is never more than one.
#[derive(Debug)]
pub(super) struct ConsensusLink {
    pub(super) endpoint: HostPort,
    pub(super) resolve_token: u64,
    publication: Option<PublicationId>,
    wanted: Option<Query>,
    pending: Option<Pending>,
    challenge_answer: Option<ChallengeAnswer>,
    deadline_ns: u64,
    connected: bool,
    response_channel: String,
    message: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    query: Query,
    correlation_id: i64,
}

#[derive(Debug)]
struct ChallengeAnswer {
    correlation_id: i64,
    cluster_session_id: i64,
    credentials: Vec<u8>,
}

/// Why a link cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum LinkFault {
    NotConnected,
    NoAnswer,
    Disconnected,
}

impl LinkFault {
    pub(super) fn in_words(&self) -> &'static str {
        match self {
            Self::NotConnected => "nothing listens there: the member is down, or the address is wrong",
            Self::NoAnswer => {
                "it does not answer a backup query: it is in an election, suspended in a snapshot, or cannot \
                 reach our response endpoint"
            }
            Self::Disconnected => "its driver no longer receives what we send",
        }
    }
}

impl ConsensusLink {
    pub(super) fn new(endpoint: HostPort, resolve_token: u64, now_ns: u64, config: &TapConfig) -> Self {
        Self {
            endpoint,
            resolve_token,
            publication: None,
            wanted: Some(Query::Backup),
            pending: None,
            challenge_answer: None,
            deadline_ns: now_ns + config.connect_timeout_ns,
            connected: false,
            response_channel: response_channel(&config.response_endpoint),
            message: Vec::new(),
        }
    }

    /// The member's address is known.
    pub(super) fn open(
        &mut self,
        address: SocketAddr,
        session_id: i32,
        endpoint: &mut Endpoint,
        config: &TapConfig,
        now_ns: u64,
    ) {
        let params = PublicationParams::new(session_id, config.consensus_stream_id);
        self.publication = Some(endpoint.add_publication(params, address, now_ns));
        self.deadline_ns = now_ns + config.connect_timeout_ns;
    }

    /// Asks as soon as nothing else is under way.
    pub(super) fn ask(&mut self, query: Query) {
        // A backup query says all that a heartbeat would.
        if self.wanted != Some(Query::Backup) {
            self.wanted = Some(query);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_none() && self.pending.is_none()
    }

    /// Sends what is due; reports what came too late.
    pub(super) fn on_timeout(
        &mut self,
        endpoint: &mut Endpoint,
        config: &TapConfig,
        mut next_correlation_id: impl FnMut() -> i64,
        now_ns: u64,
    ) -> Result<(), LinkFault> {
        let Some(publication) = self.publication else {
            return if now_ns > self.deadline_ns { Err(LinkFault::NotConnected) } else { Ok(()) };
        };
        if endpoint.publication_state(publication) != PublicationState::Connected {
            return match (self.connected, now_ns > self.deadline_ns) {
                (true, _) => Err(LinkFault::Disconnected),
                (false, true) => Err(LinkFault::NotConnected),
                (false, false) => Ok(()),
            };
        }
        if !self.connected {
            self.connected = true;
            self.deadline_ns = now_ns + config.response_timeout_ns;
        }
        if let Some(answer) = &self.challenge_answer {
            self.message.clear();
            ChallengeResponse {
                correlation_id: answer.correlation_id,
                cluster_session_id: answer.cluster_session_id,
                encoded_credentials: Secret(&answer.credentials),
            }
            .encode(&mut self.message);
            if endpoint.offer(publication, &self.message).is_ok() {
                self.challenge_answer = None;
            }
        }
        if self.pending.is_some() && now_ns > self.deadline_ns {
            // Whether an unanswered query matters is for the caller to say: a follower that takes a snapshot
            // answers none for as long as it lasts.
            self.pending = None;
            return Err(LinkFault::NoAnswer);
        }
        if let (Some(query), None) = (self.wanted, self.pending) {
            let correlation_id = next_correlation_id();
            self.encode(query, correlation_id, config);
            if endpoint.offer(publication, &self.message).is_ok() {
                self.wanted = None;
                self.pending = Some(Pending { query, correlation_id });
                self.deadline_ns = now_ns + config.response_timeout_ns;
            }
        }
        Ok(())
    }

    fn encode(&mut self, query: Query, correlation_id: i64, config: &TapConfig) {
        self.message.clear();
        let response_channel = self.response_channel.as_str();
        let encoded_credentials = Secret(config.cluster_credentials.initial());
        match query {
            Query::Backup => BackupQuery {
                correlation_id,
                response_stream_id: config.consensus_stream_id,
                version: CLUSTER_PROTOCOL_VERSION,
                log_position: ANY_LOG_POSITION,
                response_channel,
                encoded_credentials,
            }
            .encode(&mut self.message),
            Query::Heartbeat => HeartbeatRequest {
                correlation_id,
                response_stream_id: config.consensus_stream_id,
                response_channel,
                encoded_credentials,
            }
            .encode(&mut self.message),
        }
    }

    /// The query that an answer with this correlation id ends, if it is the one under way.
    pub(super) fn take_answered(&mut self, correlation_id: i64) -> Option<Query> {
        let pending = self.pending.filter(|pending| pending.correlation_id == correlation_id)?;
        self.pending = None;
        Some(pending.query)
    }

    /// The member asks for more than the credentials that came with the query. Its response will carry the
    /// new correlation id. False when it asks us and we have nothing to say.
    pub(super) fn on_challenge(
        &mut self,
        challenge: &Challenge<'_>,
        credentials: &Credentials,
        new_correlation_id: i64,
    ) -> bool {
        let asked = challenge.correlation_id;
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.correlation_id == asked) else {
            return true;
        };
        let Some(answer) = credentials.on_challenge(challenge.encoded_challenge) else { return false };
        pending.correlation_id = new_correlation_id;
        self.challenge_answer = Some(ChallengeAnswer {
            correlation_id: new_correlation_id,
            cluster_session_id: challenge.cluster_session_id,
            credentials: answer.to_vec(),
        });
        true
    }

    pub(super) fn close(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        if let Some(publication) = self.publication.take() {
            endpoint.close_publication(publication, now_ns);
        }
    }
}
