//! The archive control protocol, as the archive: what clients and other archives ask of this node's recordings.
//!
//! [`ArchiveServer`] answers the requests of a control stream and sends replays. It shares the endpoint, and so the
//! socket, with other servers: its owner hands it the messages of its images and calls it when time passes. What it
//! serves belongs to the runtime, behind [`RecordingStore`]; nothing here changes a recording, and a request that
//! would is refused in words.
//!
//! Invariants: a request counts only if it came through the image that its session was opened by; every request of
//! an open session is answered; no replay passes the end of its recording, nor the commit position if that bounds
//! it; sessions, replays and what waits to be sent to each client are bounded.

mod channels;
mod config;
mod listing;
mod replay;
mod requests;
mod session;
mod store;
#[cfg(test)]
mod tests;

pub use self::config::ArchiveServerConfig;
pub use self::store::{RecordedFrames, RecordingStore};

use self::channels::response_stream;
use self::replay::{Fault, Progress, Replay, State};
use self::session::{Connect, ControlSession, End, Refusal};
use crate::authentication::Authenticator;
use crate::codec::archive_control::{ARCHIVE_PROTOCOL_VERSION, ArchiveErrorCode, ArchiveRequest, NULL_VALUE};
use crate::codec::message::SemanticVersion;
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::image::ImageKey;
use crate::publication::{PublicationId, PublicationState};
use crate::random::next_random;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// So many clients more than sessions are told that there are too many.
const REFUSED_COUNT_MAX: usize = 16;
/// Sessions need no finer time.
const TICK_NS: u64 = 1_000_000;
/// What waits for an operator's eyes at most.
const REPORT_COUNT_MAX: usize = 16;

/// Counts of an archive server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ArchiveServerStats {
    /// Messages that could not be decoded.
    pub malformed_count: u64,
    /// Messages of a template that is not known here.
    pub unknown_template_count: u64,
    /// Requests of sessions that are not there, or came through another's image.
    pub unknown_session_count: u64,
    /// Clients that found no room, not even to be told.
    pub dropped_connect_count: u64,
    /// Bytes of recordings that replays handed over.
    pub replayed_bytes: u64,
}

/// Serves the recordings of one node.
#[derive(Debug)]
pub struct ArchiveServer<S: RecordingStore> {
    config: ArchiveServerConfig,
    authenticator: Box<dyn Authenticator>,
    sessions: Vec<ControlSession>,
    replays: Vec<Replay<S::Reader>>,
    /// Publications of replays that are over, until their receivers have everything.
    leaving: Vec<PublicationId>,
    next_control_session_id: i64,
    next_replay_id: i64,
    random: u64,
    tick_ns: u64,
    reports: VecDeque<String>,
    stats: ArchiveServerStats,
}

/// What a server works with besides its own state.
#[derive(Debug)]
pub struct Surroundings<'a, S> {
    /// The socket's streams.
    pub endpoint: &'a mut Endpoint,
    /// Where names are asked for.
    pub lookups: &'a mut NameLookups,
    /// What is served.
    pub store: &'a S,
}

impl<S: RecordingStore> ArchiveServer<S> {
    /// A server without sessions.
    pub fn new(config: ArchiveServerConfig, authenticator: Box<dyn Authenticator>) -> Self {
        let mut random = config.seed;
        Self {
            // As in a Java archive, somewhere in the positive 32 bits.
            next_control_session_id: (next_random(&mut random) & 0x3fff_ffff) as i64,
            next_replay_id: 1,
            random,
            config,
            authenticator,
            sessions: Vec::new(),
            replays: Vec::new(),
            leaving: Vec::new(),
            tick_ns: 0,
            reports: VecDeque::new(),
            stats: ArchiveServerStats::default(),
        }
    }

    /// A message of an image of the control stream.
    pub fn on_message(
        &mut self,
        image: ImageKey,
        message: &[u8],
        now_ns: u64,
        around: &mut Surroundings<'_, S>,
    ) {
        let Ok(request) = ArchiveRequest::decode(message) else {
            self.stats.malformed_count += 1;
            return;
        };
        match request {
            ArchiveRequest::Connect(request) => self.connect(
                image,
                request.version,
                (request.response_channel, request.response_stream_id),
                (request.correlation_id, &[]),
                now_ns,
                around,
            ),
            ArchiveRequest::AuthConnect(request) => self.connect(
                image,
                request.version,
                (request.response_channel, request.response_stream_id),
                (request.correlation_id, request.encoded_credentials.0),
                now_ns,
                around,
            ),
            ArchiveRequest::Unknown(_) => self.stats.unknown_template_count += 1,
            request => self.on_request(image, &request, now_ns, around),
        }
    }

    /// An image of the control stream is gone, and with it the client.
    pub fn on_image_unavailable(&mut self, image: ImageKey, now_ns: u64, endpoint: &mut Endpoint) {
        for session in self.sessions.extract_if(.., |session| session.image == image) {
            leave(&session, endpoint, now_ns);
        }
    }

    /// A name was looked up, or could not be (`None`).
    pub fn on_resolved(
        &mut self,
        token: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        around: &mut Surroundings<'_, S>,
    ) {
        let session = self.sessions.iter().position(|session| session.response_stream(token).is_some());
        if let Some(index) = session {
            self.open_responses(index, token, address, now_ns, around.endpoint);
            return;
        }
        let is_asker = |replay: &Replay<S::Reader>| matches!(replay.state, State::LookingUp { token: wanted, .. } if wanted == token);
        if let Some(index) = self.replays.iter().position(is_asker)
            && let Err(fault) = self.open_replay(index, address, now_ns, around.endpoint)
        {
            let replay = self.replays.remove(index);
            self.tell(&replay, &fault);
        }
    }

    /// Time passed: sessions are told what waits, replays go on. Returns how much there was to do.
    pub fn on_timeout(&mut self, now_ns: u64, around: &mut Surroundings<'_, S>) -> usize {
        let mut work = self.drive_replays(now_ns, around);
        if now_ns < self.tick_ns {
            return work;
        }
        self.tick_ns = now_ns + TICK_NS;
        self.leaving.retain(|id| around.endpoint.publication_state(*id) != PublicationState::Closed);
        let Self { sessions, authenticator, config, reports, .. } = self;
        sessions.retain_mut(|session| {
            work += listing::go_on(session, around.store);
            match session.on_timeout(around.endpoint, authenticator.as_mut(), config, now_ns) {
                Ok(()) => true,
                Err(end) => {
                    leave(session, around.endpoint, now_ns);
                    if end != End::Left {
                        // Its client shall not wait for answers that will not come.
                        around.endpoint.refuse_image(session.image, now_ns);
                        report(
                            reports,
                            format!("archive control session {}: {}", session.id, end.in_words()),
                        );
                    }
                    false
                }
            }
        });
        work
    }

    /// Something that an operator should read in the log, oldest first.
    pub fn poll_report(&mut self) -> Option<String> {
        self.reports.pop_front()
    }

    /// The lowest position that a replay of a recording still has to read; `None` when there is no such replay.
    /// Nothing from there on may be purged. Who raises a recording's start position in the store before asking
    /// this knows that no later replay begins below it.
    pub fn lowest_replay_position(&self, recording_id: i64) -> Option<i64> {
        let replays = self.replays.iter().filter(|replay| replay.recording_id == recording_id);
        replays.map(|replay| replay.position).min()
    }

    /// How many clients are connected, or about to be.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many replays are under way.
    pub fn replay_count(&self) -> usize {
        self.replays.len()
    }

    /// What happened so far.
    pub fn stats(&self) -> &ArchiveServerStats {
        &self.stats
    }

    /// Takes leave of everybody: streams are revoked.
    pub fn close(&mut self, now_ns: u64, endpoint: &mut Endpoint) {
        for replay in self.replays.drain(..) {
            if let Some(publication) = replay.publication() {
                endpoint.revoke_publication(publication, now_ns);
            }
        }
        for session in self.sessions.drain(..) {
            leave(&session, endpoint, now_ns);
        }
    }

    fn connect(
        &mut self,
        image: ImageKey,
        version: SemanticVersion,
        (channel, stream_id): (&str, i32),
        (correlation_id, credentials): (i64, &[u8]),
        now_ns: u64,
        around: &mut Surroundings<'_, S>,
    ) {
        let (destination, params) = match response_stream(channel, stream_id) {
            Ok(stream) => stream,
            Err(error) => {
                // There is nowhere to say so but in the client's own driver.
                around.endpoint.refuse_image(image, now_ns);
                self.report(format!("cannot answer an archive client: {error}"));
                return;
            }
        };
        if self.sessions.len() >= self.config.session_count_max + REFUSED_COUNT_MAX {
            self.stats.dropped_connect_count += 1;
            return;
        }
        let id = self.next_control_session_id;
        self.next_control_session_id += 1;
        let refusal = self.refusal(id, version);
        let token = around.lookups.ask_for_client(destination.endpoint.clone());
        let connect = Connect { correlation_id, credentials, refusal: refusal.as_ref() };
        let deadline_ns = now_ns.saturating_add(self.config.connect_timeout_ns);
        self.sessions.push(ControlSession::new(
            id,
            image,
            connect,
            (token, destination, params),
            deadline_ns,
        ));
    }

    /// Why a client is not let in, whoever it is.
    fn refusal(&self, control_session_id: i64, version: SemanticVersion) -> Option<Refusal> {
        if version.major() != ARCHIVE_PROTOCOL_VERSION.major() {
            let message = format!("invalid client version {version}, archive is {ARCHIVE_PROTOCOL_VERSION}");
            return Some(Refusal { relevant_id: control_session_id, message });
        }
        let most = self.config.session_count_max;
        (self.sessions.len() >= most).then(|| Refusal {
            relevant_id: ArchiveErrorCode::Generic.to_relevant_id(),
            message: format!("max concurrent control sessions reached {most}"),
        })
    }

    fn open_responses(
        &mut self,
        index: usize,
        token: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) {
        let session = &mut self.sessions[index];
        let Some((destination, mut params)) = session.response_stream(token) else { return };
        let problem = match address {
            None => "it does not resolve",
            Some(address) => {
                let wanted = destination.session_id;
                if wanted.is_none_or(|id| !endpoint.is_session_in_use(params.stream_id, id, address)) {
                    params.session_id = wanted.unwrap_or_else(|| {
                        unused_session_id(&mut self.random, params.stream_id, address, endpoint)
                    });
                    let publication = endpoint.add_publication(params, address, now_ns);
                    session.open(publication);
                    return;
                }
                "its session id is in use"
            }
        };
        let text = format!("cannot answer an archive client at {}: {problem}", destination.endpoint);
        let session = self.sessions.remove(index);
        endpoint.refuse_image(session.image, now_ns);
        self.report(text);
    }

    /// Makes the publication of a replay whose destination is known, and tells the client.
    fn open_replay(
        &mut self,
        index: usize,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> Result<(), Fault> {
        let replay = &mut self.replays[index];
        let State::LookingUp { destination, params, .. } = &replay.state else { return Ok(()) };
        let fault = |message| Fault { code: ArchiveErrorCode::Generic, message };
        let address = address.ok_or_else(|| {
            fault(format!(
                "failed to process replayChannel - {} does not resolve to an address that this archive can \
                 send to",
                destination.endpoint
            ))
        })?;
        let mut params = *params;
        let stream_id = params.stream_id;
        params.session_id = match destination.session_id {
            Some(wanted) if endpoint.is_session_in_use(stream_id, wanted, address) => {
                return Err(fault(format!(
                    "failed to create replay publication: existing publication has clashing sessionId={wanted}"
                )));
            }
            Some(wanted) => wanted,
            None => unused_session_id(&mut self.random, stream_id, address, endpoint),
        };
        let publication = endpoint.add_publication(params, address, now_ns);
        let replay_session_id = self.next_replay_id << 32 | i64::from(params.session_id as u32);
        self.next_replay_id += 1;
        let deadline_ns = now_ns.saturating_add(self.config.connect_timeout_ns);
        replay.state = State::Connecting { publication, replay_session_id, stream_id, deadline_ns };
        let (control_session_id, correlation_id) = (replay.control_session_id, replay.correlation_id);
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == control_session_id) {
            session.ok(correlation_id, replay_session_id);
        }
        Ok(())
    }

    fn drive_replays(&mut self, now_ns: u64, around: &mut Surroundings<'_, S>) -> usize {
        let mut work = 0;
        let mut index = 0;
        while let Some(replay) = self.replays.get_mut(index) {
            let begin = replay.position;
            let progress = replay.go_on(around.store.commit_position(), around.endpoint, now_ns);
            let advance = replay.position - begin;
            self.stats.replayed_bytes += advance as u64;
            match progress {
                Progress::GoesOn => {
                    work += usize::from(advance > 0);
                    index += 1;
                    continue;
                }
                Progress::Complete => {
                    let replay = self.replays.remove(index);
                    if let Some(publication) = replay.publication() {
                        around.endpoint.close_publication(publication, now_ns);
                        self.leaving.push(publication);
                    }
                }
                Progress::Disconnected => self.abort_replay(index, now_ns, around.endpoint),
                Progress::Failed(fault) => {
                    let replay = &self.replays[index];
                    let text = format!("replay of recording {}: {}", replay.recording_id, fault.message);
                    self.report(text);
                    let control_session_id = self.replays[index].control_session_id;
                    let correlation_id = self.replays[index].correlation_id;
                    self.abort_replay(index, now_ns, around.endpoint);
                    self.tell_session(control_session_id, correlation_id, &fault);
                }
            }
            work += 1;
        }
        work
    }

    /// Ends a replay before its time: its receiver is told not to wait for the rest.
    fn abort_replay(&mut self, index: usize, now_ns: u64, endpoint: &mut Endpoint) {
        let replay = self.replays.remove(index);
        if let Some(publication) = replay.publication() {
            endpoint.revoke_publication(publication, now_ns);
            self.leaving.push(publication);
        }
    }

    fn tell(&mut self, replay: &Replay<S::Reader>, fault: &Fault) {
        self.tell_session(replay.control_session_id, replay.correlation_id, fault);
    }

    fn tell_session(&mut self, control_session_id: i64, correlation_id: i64, fault: &Fault) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == control_session_id) {
            session.error(correlation_id, fault.code, &fault.message);
        }
    }

    fn report(&mut self, text: String) {
        report(&mut self.reports, text);
    }
}

/// A session's own stream ends with it.
fn leave(session: &ControlSession, endpoint: &mut Endpoint, now_ns: u64) {
    if let Some(publication) = session.publication() {
        endpoint.revoke_publication(publication, now_ns);
    }
}

fn report(reports: &mut VecDeque<String>, text: String) {
    if reports.len() < REPORT_COUNT_MAX {
        reports.push_back(text);
    }
}

/// A session id that no publication to the same place has. Aeron's drivers leave -1 to 1000 to their users.
fn unused_session_id(random: &mut u64, stream_id: i32, to: SocketAddr, endpoint: &Endpoint) -> i32 {
    loop {
        let session_id = next_random(random) as i32;
        if !(-1..=1_000).contains(&session_id) && !endpoint.is_session_in_use(stream_id, session_id, to) {
            return session_id;
        }
    }
}
