//! One control session with an archive.
//!
//! ```text
//!  AwaitPublication ── AuthConnect ──> Connecting ── OK ──> AwaitArchiveId ── OK ──> Connected ──> Closed
//!                                        ^    │ Challenge        (skipped below version 1.11.0)
//!                                        └────┘ ChallengeResponse
//!  any of them ── refusal, time-out, disconnection ──> Failed
//! ```
//! The archive repeats its OK every 200 ms until it hears more of us, so an answer to a request that is
//! not waiting any more is no fault. Whatever arrives, at most [`EVENTS_MAX`] events, [`REQUESTS_MAX`]
//! requests and [`REPLAYS_MAX`] replays are held.

mod requests;
mod responses;

use super::request::{Pending, REQUESTS_MAX, SendQueue};
use super::{ArchiveEvent, ArchiveFailure, ConnectStep, CorrelationId, Credentials, RequestKind};
use crate::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveResponse, AuthConnectRequest, CloseSessionRequest, KeepAliveRequest,
    NULL_VALUE,
};
use crate::codec::message::Secret;
use crate::codec::sbe::DecodeError;
use std::collections::VecDeque;

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct ArchiveClientParams {
    /// The stream that we read.
    pub response_stream_id: i32,
    /// The channel that we read, with a resolved port, and with a `session-id` that both our request
    /// publication and the archive's response publication use.
    pub response_channel: String,
    /// Who we are.
    pub credentials: Credentials,
    /// Free text for the archive's operator: name and version of this node.
    pub client_info: String,
    /// Nanoseconds that connecting, and then each request, may take. Java's default is 10 s.
    pub message_timeout_ns: u64,
    /// The first correlation id. Should differ between sessions, so that a late answer fits none.
    pub correlation_seed: i64,
}

/// What was dropped, as counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ArchiveClientStats {
    /// Messages that could not be decoded.
    pub malformed_count: u64,
    /// Messages of a template that is not known here.
    pub unknown_template_count: u64,
    /// Messages of other control sessions.
    pub foreign_session_count: u64,
    /// Answers to requests that do not wait: repeated, late or unasked.
    pub unexpected_count: u64,
    /// Requests that were not answered in time.
    pub timed_out_count: u64,
}

/// A client's side of one control session: bytes and time in, messages and events out.
///
/// After each input, send what [`Self::poll_request`] gives and take what [`Self::poll_event`] gives.
/// A client serves one session; after [`ArchiveEvent::Failed`] make a new one.
#[derive(Debug)]
pub struct ArchiveClient {
    params: ArchiveClientParams,
    state: State,
    control_session_id: Option<i64>,
    /// Known after the first input that tells the time.
    connect_deadline_ns: Option<u64>,
    /// The request that opened the session: its answer may be repeated.
    connect_correlation_id: i64,
    next_correlation_id: i64,
    outgoing: SendQueue,
    pending: Vec<Pending>,
    replays: VecDeque<Replay>,
    events: VecDeque<ArchiveEvent>,
    stats: ArchiveClientStats,
}

impl ArchiveClient {
    /// A client that waits for its publication.
    pub fn new(params: ArchiveClientParams) -> Self {
        Self {
            next_correlation_id: params.correlation_seed,
            params,
            state: State::AwaitPublication,
            control_session_id: None,
            connect_deadline_ns: None,
            connect_correlation_id: NULL_VALUE,
            outgoing: SendQueue::default(),
            pending: Vec::with_capacity(REQUESTS_MAX),
            replays: VecDeque::with_capacity(REPLAYS_MAX),
            events: VecDeque::new(),
            stats: ArchiveClientStats::default(),
        }
    }

    /// The request publication is connected: opens the session. Does nothing the second time.
    pub fn on_connected(&mut self, now_ns: u64) {
        if self.state != State::AwaitPublication {
            return;
        }
        self.start_connect_clock(now_ns);
        let correlation_id = self.take_correlation_id();
        self.connect_correlation_id = correlation_id;
        let params = &self.params;
        self.outgoing.push(correlation_id, |out| {
            AuthConnectRequest {
                correlation_id,
                response_stream_id: params.response_stream_id,
                version: ARCHIVE_PROTOCOL_VERSION,
                response_channel: &params.response_channel,
                encoded_credentials: Secret(params.credentials.initial()),
                client_info: &params.client_info,
            }
            .encode(out);
        });
        self.state = State::Connecting { was_challenged: false };
    }

    /// The request publication or the response image went away: the session is over.
    pub fn on_disconnected(&mut self) {
        if !self.is_over() {
            // A session that nobody hears cannot be closed either.
            self.control_session_id = None;
            self.fail(ArchiveFailure::Disconnected);
        }
    }

    /// Takes one whole message of the response stream.
    pub fn on_message(&mut self, bytes: &[u8], now_ns: u64) {
        if self.is_over() {
            return;
        }
        match ArchiveResponse::decode(bytes) {
            Ok(ArchiveResponse::Control(response)) => self.on_control_response(&response),
            Ok(ArchiveResponse::Descriptor(descriptor)) => self.on_descriptor(&descriptor, now_ns),
            Ok(ArchiveResponse::Signal(signal)) => self.on_signal(&signal),
            Ok(ArchiveResponse::Challenge(challenge)) => self.on_challenge(&challenge),
            // Its arrival alone tells the archive that we live.
            Ok(ArchiveResponse::Ping(_)) => {}
            Ok(ArchiveResponse::Unknown(_)) => self.stats.unknown_template_count += 1,
            Err(DecodeError::UnexpectedSchema(found)) => self.fail(ArchiveFailure::WrongSchema { found }),
            Err(_) => self.stats.malformed_count += 1,
        }
    }

    /// Gives up what has waited too long. The connect clock starts with the first call of this or of
    /// [`Self::on_connected`]. Returns how much was given up.
    pub fn on_timeout(&mut self, now_ns: u64) -> usize {
        if self.is_over() {
            return 0;
        }
        if self.state != State::Connected {
            if now_ns < self.start_connect_clock(now_ns) {
                return 0;
            }
            self.fail(ArchiveFailure::ConnectTimeout { step: self.connect_step() });
            return 1;
        }
        let mut work = 0;
        while let Some(index) = self.pending.iter().position(|pending| now_ns >= pending.deadline_ns) {
            let Pending { correlation_id, kind, .. } = self.pending.remove(index);
            self.outgoing.withdraw(correlation_id);
            self.stats.timed_out_count += 1;
            self.push_event(ArchiveEvent::TimedOut {
                correlation_id: CorrelationId(correlation_id),
                request: kind,
            });
            work += 1;
        }
        work
    }

    /// When [`Self::on_timeout`] is worth calling next, if ever.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        match self.state {
            State::Connected => self.pending.iter().map(|pending| pending.deadline_ns).min(),
            State::Failed | State::Closed => None,
            _ => self.connect_deadline_ns,
        }
    }

    /// The next message to offer to the request publication. It stays until [`Self::request_sent`], so
    /// that a refused offer is simply made again.
    pub fn poll_request(&self) -> Option<&[u8]> {
        self.outgoing.front()
    }

    /// What [`Self::poll_request`] gave has been sent.
    pub fn request_sent(&mut self) {
        self.outgoing.pop();
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ArchiveEvent> {
        self.events.pop_front()
    }

    /// Whether requests are taken.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether the session is over, failed or closed. A last message may still wait to be sent.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Failed | State::Closed)
    }

    /// What was dropped so far.
    pub fn stats(&self) -> ArchiveClientStats {
        self.stats
    }

    /// Ends the session. Unsent requests are dropped; one last message may have to be sent.
    pub fn close(&mut self) {
        if !self.is_over() {
            self.end(State::Closed);
        }
    }

    fn push_keep_alive(&mut self, control_session_id: i64) {
        self.outgoing.push(NULL_VALUE, |out| {
            KeepAliveRequest { control_session_id, correlation_id: NULL_VALUE }.encode(out);
        });
    }

    fn push_event(&mut self, event: ArchiveEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        } else if !self.is_over() {
            // Going on without this event would leave its reader waiting for ever.
            self.fail(ArchiveFailure::Backlog);
        }
    }

    fn fail(&mut self, failure: ArchiveFailure) {
        self.end(State::Failed);
        // Beyond the bound on purpose: it is the last.
        self.events.push_back(ArchiveEvent::Failed(failure));
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.pending.clear();
        self.replays.clear();
        self.outgoing.clear();
        if let Some(control_session_id) = self.control_session_id {
            self.outgoing.push(NULL_VALUE, |out| CloseSessionRequest { control_session_id }.encode(out));
        }
    }

    fn connect_step(&self) -> ConnectStep {
        match self.state {
            State::AwaitPublication => ConnectStep::AwaitPublication,
            _ if self.outgoing.len() > 0 => ConnectStep::Send,
            State::Connecting { was_challenged: true } => ConnectStep::AwaitChallengeOutcome,
            State::Connecting { was_challenged: false } => ConnectStep::AwaitConnectResponse,
            _ => ConnectStep::AwaitArchiveId,
        }
    }

    fn start_connect_clock(&mut self, now_ns: u64) -> u64 {
        let deadline_ns = now_ns.saturating_add(self.params.message_timeout_ns);
        *self.connect_deadline_ns.get_or_insert(deadline_ns)
    }

    fn take_correlation_id(&mut self) -> i64 {
        // -1 means "none" on the wire.
        if self.next_correlation_id == NULL_VALUE {
            self.next_correlation_id = 0;
        }
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        correlation_id
    }
}

/// Most events that wait to be taken.
const EVENTS_MAX: usize = 256;
/// Most granted replays whose late errors are told apart from noise. The oldest is forgotten first.
const REPLAYS_MAX: usize = 64;
/// Most messages that wait to be sent: every request, and keep-alives.
const OUTGOING_MAX: usize = REQUESTS_MAX + 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    AwaitPublication,
    Connecting { was_challenged: bool },
    AwaitArchiveId { correlation_id: i64 },
    Connected,
    Failed,
    Closed,
}

/// A replay that the archive granted.
#[derive(Clone, Copy, Debug)]
struct Replay {
    correlation_id: i64,
    kind: RequestKind,
    replay_session_id: i64,
}

#[cfg(test)]
mod tests;
