//! What a standby answers on the consensus stream, so that others can follow it as if it were a member.
//!
//! ```text
//!   BackupQuery      -> BackupResponse: our log, our counter, the members and us, our snapshots
//!   HeartbeatRequest -> HeartbeatResponse
//!   StandbySnapshot  -> SessionEvent ERROR: only members take them
//!   ChallengeResponse -> goes on with the request that was challenged
//!
//!   request -> Resolving -> Connecting -> (Challenge sent ->) answered -> closed with an end of stream
//! ```
//! As members do: an answer goes to the channel that the request names, once somebody listens there, and a request
//! that is not answered within the session timeout is forgotten without a word. Unlike members, who leave this to
//! memory, only so many requests are kept at once, and each challenge has a session id of its own, so that two of
//! them cannot be mistaken for each other.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) use self::answer::snapshot;
pub use self::answer::{LastTerm, Standing};

use self::answer::Answers;
use super::allow_list::AllowList;
use crate::authentication::{Authenticator, Verdict};
use crate::channel::HostPort;
use crate::codec::consensus::ConsensusMessage;
use crate::codec::message::{Secret, SemanticVersion};
use crate::codec::sbe::NULL_I64;
use crate::codec::session::{
    CLUSTER_PROTOCOL_VERSION, Challenge, ChallengeResponse, EventCode, NULL_SESSION_ID, SessionEvent,
};
use crate::endpoint::{Endpoint, LookupToken, NameLookups, response_publication};
use crate::publication::{OfferError, PublicationId, PublicationParams, PublicationState};
use crate::random::next_random;

/// Settings of a [`ConsensusServer`].
#[derive(Clone, Debug)]
pub struct ConsensusServerConfig {
    /// This node's id.
    pub member_id: i32,
    /// `host:port` at which others reach this server and the archive.
    pub endpoint: HostPort,
    /// Who is heard.
    pub allow_list: AllowList,
    /// How long a request is kept, in nanoseconds: 10 s in Aeron (aeron.cluster.session.timeout).
    pub session_timeout_ns: u64,
    /// The most requests at once, those included whose answer is still being repeated to a peer that lost it.
    pub request_count_max: usize,
    /// Seeds session ids; a run with the same seed and input does the same.
    pub seed: u64,
}

impl Default for ConsensusServerConfig {
    fn default() -> Self {
        Self {
            member_id: 0,
            endpoint: HostPort { host: "localhost".to_owned(), port: 0 },
            allow_list: AllowList::default(),
            session_timeout_ns: 10_000_000_000,
            request_count_max: 64,
            seed: 0,
        }
    }
}

/// A request that was turned away, or cannot be answered: for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedRequest {
    /// Where it came from.
    pub from: SocketAddr,
    /// What was asked, and why it was refused.
    pub reason: String,
}

/// What came of requests so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConsensusServerCounters {
    /// Requests of any kind.
    pub requests: u64,
    /// Answers with what was asked for.
    pub answered: u64,
    /// Requests that were turned away, with a word where somebody listened.
    pub refused: u64,
    /// Requests that nobody listened for in time, or that could not be answered in time.
    pub timed_out: u64,
    /// Requests beyond the limit.
    pub over_limit: u64,
    /// Messages that did not decode.
    pub invalid: u64,
    /// Messages that are for members only.
    pub ignored: u64,
}

/// Answers requests on the consensus stream.
#[derive(Debug)]
pub struct ConsensusServer {
    config: ConsensusServerConfig,
    authenticator: Box<dyn Authenticator>,
    answers: Answers,
    requests: Vec<Request>,
    /// Publications that have said all and still answer NAKs.
    closing: Vec<PublicationId>,
    refused: VecDeque<RefusedRequest>,
    counters: ConsensusServerCounters,
    random: u64,
    next_session_id: i64,
    message: Vec<u8>,
}

/// One request on its way to its answer.
#[derive(Debug)]
struct Request {
    kind: RequestKind,
    from: SocketAddr,
    session_id: i64,
    correlation_id: i64,
    credentials: Vec<u8>,
    lookup: LookupToken,
    params: PublicationParams,
    publication: Option<PublicationId>,
    decision: Decision,
    deadline_ns: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RequestKind {
    Backup { log_position: i64 },
    Heartbeat,
    StandbySnapshot,
}

/// How far it is decided what to answer.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Decision {
    /// The authenticator is asked when somebody listens.
    Open,
    /// To be challenged with this.
    Challenge(Vec<u8>),
    /// Challenged; the answer is to come.
    Challenged,
    Serve,
    Refuse {
        code: EventCode,
        detail: String,
    },
}

/// What was done for a request in one duty cycle.
enum Step {
    Wait,
    Done,
    Drop,
}

impl RequestKind {
    fn name(self) -> &'static str {
        match self {
            Self::Backup { .. } => "BackupQuery",
            Self::Heartbeat => "HeartbeatRequest",
            Self::StandbySnapshot => "StandbySnapshot",
        }
    }
}

impl ConsensusServer {
    /// A server that has nothing to say yet: [`Self::on_standing`] tells it.
    pub fn new(config: ConsensusServerConfig, authenticator: Box<dyn Authenticator>) -> Self {
        Self {
            answers: Answers::new(config.member_id, config.endpoint.to_string()),
            random: config.seed,
            config,
            authenticator,
            requests: Vec::new(),
            closing: Vec::new(),
            refused: VecDeque::new(),
            counters: ConsensusServerCounters::default(),
            next_session_id: 1,
            message: Vec::new(),
        }
    }

    /// What there is to say has changed.
    pub fn on_standing(&mut self, standing: Arc<Standing>) {
        self.answers.on_standing(standing);
    }

    /// A message of the consensus stream came from `from`.
    pub fn on_message(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64, lookups: &mut NameLookups) {
        match ConsensusMessage::decode(bytes) {
            Ok(ConsensusMessage::BackupQuery(query)) => {
                // Before version 16 of the schema a query has no position; Java writes -1 where it means none.
                let log_position = match query.log_position {
                    NULL_I64 | -1 => i64::MAX,
                    log_position => log_position,
                };
                let channel = (query.response_channel, query.response_stream_id);
                let kind = RequestKind::Backup { log_position };
                let request = (kind, query.correlation_id, query.encoded_credentials);
                self.on_request(request, channel, query.version, (from, now_ns), lookups);
            }
            Ok(ConsensusMessage::HeartbeatRequest(request)) => {
                let channel = (request.response_channel, request.response_stream_id);
                let heartbeat = (RequestKind::Heartbeat, request.correlation_id, request.encoded_credentials);
                self.on_request(heartbeat, channel, CLUSTER_PROTOCOL_VERSION, (from, now_ns), lookups);
            }
            Ok(ConsensusMessage::StandbySnapshot(snapshot)) => {
                let channel = (snapshot.response_channel, snapshot.response_stream_id);
                let kind = RequestKind::StandbySnapshot;
                let request = (kind, snapshot.correlation_id, snapshot.encoded_credentials);
                self.on_request(request, channel, snapshot.version, (from, now_ns), lookups);
            }
            Ok(ConsensusMessage::ChallengeResponse(response)) => {
                self.on_challenge_response(&response, now_ns)
            }
            Ok(_) => self.counters.ignored += 1,
            Err(_) => self.counters.invalid += 1,
        }
    }

    /// A name was looked up, or could not be (`None`). False when it was not this server's.
    pub fn on_resolved(
        &mut self,
        lookup: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> bool {
        let Some(index) = self.requests.iter().position(|request| request.lookup == lookup) else {
            return false;
        };
        match address {
            Some(address) => {
                let request = &mut self.requests[index];
                request.publication = Some(endpoint.add_publication(request.params, address, now_ns));
            }
            None => {
                let request = self.requests.swap_remove(index);
                self.counters.refused += 1;
                self.report(request.from, request.kind, "the host of its response channel does not resolve");
            }
        }
        true
    }

    /// Answers whom somebody listens for by now, and forgets what waited too long.
    pub fn on_timeout(&mut self, now_ns: u64, endpoint: &mut Endpoint) -> usize {
        self.closing
            .retain(|publication| endpoint.publication_state(*publication) != PublicationState::Closed);
        let mut work = 0;
        let mut requests = std::mem::take(&mut self.requests);
        requests.retain_mut(|request| {
            let step = self.advance(request, now_ns, endpoint);
            match step {
                Step::Wait => return true,
                Step::Done => {}
                Step::Drop => self.counters.timed_out += 1,
            }
            work += 1;
            if let Some(publication) = request.publication {
                endpoint.close_publication(publication, now_ns);
                self.closing.push(publication);
            }
            false
        });
        self.requests = requests;
        work
    }

    /// The next request that was turned away, oldest first.
    pub fn poll_refused(&mut self) -> Option<RefusedRequest> {
        self.refused.pop_front()
    }

    /// What came of requests so far.
    pub fn counters(&self) -> &ConsensusServerCounters {
        &self.counters
    }

    fn on_request(
        &mut self,
        (kind, correlation_id, credentials): (RequestKind, i64, Secret<'_>),
        (channel, stream_id): (&str, i32),
        version: SemanticVersion,
        (from, now_ns): (SocketAddr, u64),
        lookups: &mut NameLookups,
    ) {
        self.counters.requests += 1;
        if self.requests.len() + self.closing.len() >= self.config.request_count_max {
            self.counters.over_limit += 1;
            return;
        }
        let wire_session_id = next_random(&mut self.random) as i32;
        let (endpoint, params) =
            match response_publication(channel, (stream_id, wire_session_id), TERM_LENGTH) {
                Ok(publication) => publication,
                Err(reason) => {
                    self.counters.refused += 1;
                    return self.report(from, kind, &reason);
                }
            };
        let decision = self.decide(kind, version, from);
        if let Decision::Refuse { detail, .. } = &decision {
            self.report(from, kind, &detail.clone());
        }
        let session_id = self.next_session_id;
        self.next_session_id += 1;
        self.requests.push(Request {
            kind,
            from,
            session_id,
            correlation_id,
            credentials: credentials.0.to_vec(),
            lookup: lookups.ask_for_client(endpoint),
            params,
            publication: None,
            decision,
            deadline_ns: now_ns.saturating_add(self.config.session_timeout_ns),
        });
    }

    /// What can be decided before anybody listens.
    fn decide(&self, kind: RequestKind, version: SemanticVersion, from: SocketAddr) -> Decision {
        if !self.config.allow_list.allows(from) {
            return Decision::Refuse {
                code: EventCode::AuthenticationRejected,
                detail: format!("{} is not in this standby's serve_allow", from.ip()),
            };
        }
        if version.major() != CLUSTER_PROTOCOL_VERSION.major() {
            return Decision::Refuse {
                code: EventCode::Error,
                detail: format!("invalid client version {version}, cluster={CLUSTER_PROTOCOL_VERSION}"),
            };
        }
        if kind == RequestKind::StandbySnapshot {
            return Decision::Refuse {
                code: EventCode::Error,
                detail: "a standby takes no standby snapshots: announce them to members".to_owned(),
            };
        }
        Decision::Open
    }

    fn on_challenge_response(&mut self, response: &ChallengeResponse<'_>, now_ns: u64) {
        let of_response = |request: &&mut Request| {
            request.session_id == response.cluster_session_id && request.decision == Decision::Challenged
        };
        let Some(request) = self.requests.iter_mut().find(of_response) else {
            self.counters.ignored += 1;
            return;
        };
        // As members do: the answer carries the id that came with the response.
        request.correlation_id = response.correlation_id;
        request.deadline_ns = now_ns.saturating_add(self.config.session_timeout_ns);
        let verdict =
            self.authenticator.on_challenge_response(request.session_id, response.encoded_credentials.0);
        request.decision = decision(verdict);
        if matches!(request.decision, Decision::Refuse { .. }) {
            let (from, kind) = (request.from, request.kind);
            self.report(from, kind, NOT_AUTHENTICATED);
        }
    }

    fn advance(&mut self, request: &mut Request, now_ns: u64, endpoint: &mut Endpoint) -> Step {
        if now_ns > request.deadline_ns {
            return Step::Drop;
        }
        let Some(publication) = request.publication else { return Step::Wait };
        if endpoint.publication_state(publication) != PublicationState::Connected {
            return Step::Wait;
        }
        if request.decision == Decision::Open {
            request.decision =
                decision(self.authenticator.on_connect(request.session_id, &request.credentials));
            if matches!(request.decision, Decision::Refuse { .. }) {
                self.report(request.from, request.kind, NOT_AUTHENTICATED);
            }
        }
        self.message.clear();
        match &request.decision {
            Decision::Open | Decision::Challenged => return Step::Wait,
            Decision::Challenge(challenge) => Challenge {
                correlation_id: request.correlation_id,
                cluster_session_id: request.session_id,
                encoded_challenge: challenge,
            }
            .encode(&mut self.message),
            Decision::Serve => {
                if let Err(reason) = self.answers.encode(request, &mut self.message) {
                    request.decision = Decision::Refuse { code: EventCode::Error, detail: reason.clone() };
                    self.report(request.from, request.kind, &reason);
                    return Step::Wait;
                }
                if self.message.is_empty() {
                    return Step::Wait;
                }
            }
            Decision::Refuse { code, detail } => SessionEvent {
                cluster_session_id: NULL_SESSION_ID,
                correlation_id: request.correlation_id,
                leadership_term_id: self.answers.leadership_term_id(),
                leader_member_id: self.answers.leader_member_id(),
                code: *code,
                version: CLUSTER_PROTOCOL_VERSION,
                leader_heartbeat_timeout_ns: NULL_I64,
                detail,
            }
            .encode(&mut self.message),
        }
        match endpoint.offer(publication, &self.message) {
            Ok(_) => {}
            Err(OfferError::MessageTooLong) if request.decision == Decision::Serve => {
                let detail = "the answer is longer than its channel allows".to_owned();
                request.decision = Decision::Refuse { code: EventCode::Error, detail };
                return Step::Wait;
            }
            Err(_) => return Step::Wait,
        }
        match request.decision {
            Decision::Challenge(_) => {
                request.decision = Decision::Challenged;
                return Step::Wait;
            }
            Decision::Serve => self.counters.answered += 1,
            _ => self.counters.refused += 1,
        }
        Step::Done
    }

    fn report(&mut self, from: SocketAddr, kind: RequestKind, reason: &str) {
        if self.refused.len() < REPORT_COUNT_MAX {
            self.refused.push_back(RefusedRequest { from, reason: format!("{}: {reason}", kind.name()) });
        }
    }
}

/// Room for a member list of any length.
const TERM_LENGTH: i32 = 128 * 1024;
/// Reports that nobody took are counted only.
const REPORT_COUNT_MAX: usize = 64;
const NOT_AUTHENTICATED: &str = "session failed authentication";

fn decision(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Accepted(_) => Decision::Serve,
        Verdict::Challenged(challenge) => Decision::Challenge(challenge),
        Verdict::Rejected => {
            Decision::Refuse { code: EventCode::AuthenticationRejected, detail: NOT_AUTHENTICATED.to_owned() }
        }
    }
}
