use super::log::{MTU, SimLog};
use super::member::Driver;
use consensus_tap::channel::HostPort;
use consensus_tap::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveErrorCode, ArchiveRequest, ControlResponse, ControlResponseCode, Ping,
    RecordingDescriptor,
};
use consensus_tap::endpoint::Endpoint;
use consensus_tap::image::ImageKey;
use consensus_tap::publication::{PublicationId, PublicationParams, PublicationState};
use std::collections::HashMap;
use std::net::SocketAddr;

const SECOND: u64 = 1_000_000_000;
const CONNECT_TIMEOUT_NS: u64 = 5 * SECOND;
pub(crate) const LOG_RECORDING_ID: i64 = 0;

/// A member's archive: what of it a standby meets, with Aeron's rules and words.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    pub(crate) sessions: Vec<ControlSession>,
    pub(crate) replays: Vec<Replay>,
    pub(crate) snapshots: HashMap<i64, SimLog>,
    /// Snapshot recordings that are not complete.
    pub(crate) active_snapshots: Vec<i64>,
    pub(crate) refuses_positions: bool,
    /// What it says wrongly of its log.
    pub(crate) misdescribes: Option<fn(&mut RecordingDescriptor<'_>)>,
    /// Replays of the log stand still.
    pub(crate) holds_log_back: bool,
    /// How often a session was ended by its client.
    pub(crate) closed_count: u64,
    /// How often a replay was ended by its client.
    pub(crate) stopped_count: u64,
    next_id: i64,
}

#[derive(Debug)]
pub(crate) struct ControlSession {
    id: i64,
    request_session_id: i32,
    publication: PublicationId,
    connect_correlation_id: Option<i64>,
    responses: Vec<Vec<u8>>,
    opened_ns: u64,
    pinged_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) recording_id: i64,
    id: i64,
    control_session_id: i64,
    correlation_id: i64,
    publication: PublicationId,
    pub(crate) position: i64,
    limit: Limit,
    opened_ns: u64,
    was_connected: bool,
    pub(crate) session_id: i32,
    pub(crate) stream_id: i32,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    Counter { id: i32, registration: u64, last: i64, is_commit: bool },
    End(i64),
}

impl Replay {
    /// Whether something else than the commit position limits it.
    pub(crate) fn is_unsafe(&self) -> bool {
        matches!(self.limit, Limit::Counter { is_commit: false, .. })
    }

    pub(crate) fn has_receiver(&self) -> bool {
        self.was_connected
    }
}

impl Archive {
    /// The archive of a process that has just started; ids begin at `first_id`.
    pub(crate) fn new(snapshots: HashMap<i64, SimLog>, first_id: i64) -> Self {
        Self { snapshots, next_id: first_id, ..Self::default() }
    }

    pub(crate) fn on_message(
        &mut self,
        key: ImageKey,
        bytes: &[u8],
        driver: &Driver,
        log: &SimLog,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        let Ok(request) = ArchiveRequest::decode(bytes) else {
            panic!("the tap speaks the archive's language")
        };
        match request {
            ArchiveRequest::AuthConnect(request) => {
                let (address, session_id) = parse_channel(request.response_channel);
                let session_id = session_id.expect("the response channel names its session");
                let params = PublicationParams::new(session_id, request.response_stream_id);
                self.next_id += 1;
                self.sessions.push(ControlSession {
                    id: self.next_id,
                    request_session_id: key.session_id,
                    publication: endpoint.add_publication(params, address, now_ns),
                    connect_correlation_id: Some(request.correlation_id),
                    responses: Vec::new(),
                    opened_ns: now_ns,
                    pinged_ns: now_ns,
                });
            }
            ArchiveRequest::ArchiveId(request) => {
                self.answer(request.control_session_id, request.correlation_id, Ok(4711));
            }
            ArchiveRequest::KeepAlive(_) => {}
            ArchiveRequest::CloseSession(request) => {
                self.closed_count += 1;
                if let Some(index) = self.sessions.iter().position(|s| s.id == request.control_session_id) {
                    endpoint.revoke_publication(self.sessions.remove(index).publication, now_ns);
                }
            }
            ArchiveRequest::ListRecording(request) => {
                let (id, correlation_id) = (request.control_session_id, request.correlation_id);
                let recording_id = request.recording_id;
                match self.recording(recording_id, log).cloned() {
                    Some(recording) => self.describe(id, correlation_id, recording_id, &recording),
                    None => self.answer_with(
                        id,
                        correlation_id,
                        recording_id,
                        ControlResponseCode::RecordingUnknown,
                        "",
                    ),
                }
            }
            ArchiveRequest::MaxRecordedPosition(request) => {
                let outcome = match self.refuses_positions {
                    true => Err((ArchiveErrorCode::UnauthorisedAction, "not authorised".to_owned())),
                    false => Ok(log.end()),
                };
                self.answer(request.control_session_id, request.correlation_id, outcome);
            }
            ArchiveRequest::StopReplay(request) => {
                if let Some(index) = self.replays.iter().position(|r| r.id == request.replay_session_id) {
                    self.stopped_count += 1;
                    endpoint.revoke_publication(self.replays.remove(index).publication, now_ns);
                }
                self.answer(request.control_session_id, request.correlation_id, Ok(0));
            }
            ArchiveRequest::Replay(request) => {
                let end = self.snapshots.get(&request.recording_id).map_or(0, SimLog::end);
                let limit = Limit::End(end.min(request.position + request.length));
                let asked = (request.control_session_id, request.correlation_id, request.recording_id);
                let to = (request.replay_channel, request.replay_stream_id);
                self.replay(asked, request.position, limit, to, log, endpoint, now_ns);
            }
            ArchiveRequest::BoundedReplay(request) => {
                let (session, correlation_id) = (request.control_session_id, request.correlation_id);
                let id = request.limit_counter_id;
                let Some(counter) = driver.counters.get(&id) else {
                    let text = format!("unable to create replay limit counter id= {id} because of: state");
                    return self.answer(session, correlation_id, Err((ArchiveErrorCode::Generic, text)));
                };
                let limit = Limit::Counter {
                    id,
                    registration: counter.registration,
                    last: counter.value,
                    is_commit: counter.is_commit,
                };
                let asked = (session, correlation_id, request.recording_id);
                let to = (request.replay_channel, request.replay_stream_id);
                self.replay(asked, request.position, limit, to, log, endpoint, now_ns);
            }
            other => panic!("{other:?} is nothing a tap asks for"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one request, spread out")]
    fn replay(
        &mut self,
        (session, correlation_id, recording_id): (i64, i64, i64),
        position: i64,
        limit: Limit,
        (channel, stream_id): (&str, i32),
        log: &SimLog,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        let Some(recording) = self.recording(recording_id, log) else {
            let text = format!("unknown recording id: {recording_id}");
            return self.answer(session, correlation_id, Err((ArchiveErrorCode::UnknownRecording, text)));
        };
        let limit_position = match limit {
            Limit::Counter { last, .. } => last,
            Limit::End(end) => end,
        };
        let refusal = if position < recording.start {
            Some(format!(
                "requested replay start position={position} is less than recording start position={} for recording \
                 {recording_id}",
                recording.start
            ))
        } else if position > limit_position {
            Some(format!(
                "requested replay start position={position} must be less than the limit position={limit_position} for \
                 recording {recording_id}"
            ))
        } else if position > recording.start
            && position != limit_position
            && !recording.is_frame_start(position)
        {
            Some(format!("replayPosition={position} does not point to a valid frame"))
        } else {
            None
        };
        if let Some(text) = refusal {
            return self.answer(session, correlation_id, Err((ArchiveErrorCode::InvalidPosition, text)));
        }
        let (address, session_id) = parse_channel(channel);
        let session_id = session_id.expect("the replay channel names its session");
        let params = PublicationParams {
            initial_term_id: recording.terms.initial_term_id,
            term_id: recording.terms.term_id(position),
            term_offset: recording.terms.term_offset(position),
            term_length: recording.terms.term_length.bytes(),
            mtu: MTU as i32,
            ..PublicationParams::new(session_id, stream_id)
        };
        self.next_id += 1;
        let id = self.next_id << 32 | i64::from(session_id.cast_unsigned());
        self.replays.push(Replay {
            recording_id,
            id,
            control_session_id: session,
            correlation_id,
            publication: endpoint.add_publication(params, address, now_ns),
            position,
            limit,
            opened_ns: now_ns,
            was_connected: false,
            session_id,
            stream_id,
        });
        self.answer(session, correlation_id, Ok(id));
    }

    pub(crate) fn do_work(&mut self, driver: &Driver, log: &SimLog, endpoint: &mut Endpoint, now_ns: u64) {
        self.sessions.retain_mut(|session| session.do_work(endpoint, now_ns));
        let mut ended = Vec::new();
        let mut replays = std::mem::take(&mut self.replays);
        replays.retain_mut(|replay| {
            if self.holds_log_back && replay.recording_id == LOG_RECORDING_ID {
                return true;
            }
            let recording = match self.snapshots.get(&replay.recording_id) {
                Some(snapshot) => snapshot,
                None => log,
            };
            match replay.do_work(recording, driver, endpoint, now_ns) {
                Ok(goes_on) => goes_on,
                Err(text) => {
                    ended.push((replay.control_session_id, replay.correlation_id, text));
                    false
                }
            }
        });
        self.replays = replays;
        for (session, correlation_id, text) in ended {
            self.answer(session, correlation_id, Err((ArchiveErrorCode::Generic, text)));
        }
    }

    /// The log was truncated: its replays end without an end.
    pub(crate) fn revoke_log_replays(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        self.replays.retain(|replay| {
            if replay.recording_id == LOG_RECORDING_ID {
                endpoint.revoke_publication(replay.publication, now_ns);
            }
            replay.recording_id != LOG_RECORDING_ID
        });
    }

    /// Their replays end without an end.
    pub(crate) fn delete_snapshots(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        self.snapshots.clear();
        self.replays.retain(|replay| {
            if replay.recording_id != LOG_RECORDING_ID {
                endpoint.revoke_publication(replay.publication, now_ns);
            }
            replay.recording_id == LOG_RECORDING_ID
        });
    }

    pub(crate) fn on_request_image_gone(&mut self, session_id: i32, endpoint: &mut Endpoint, now_ns: u64) {
        self.sessions.retain(|session| {
            if session.request_session_id == session_id {
                endpoint.revoke_publication(session.publication, now_ns);
            }
            session.request_session_id != session_id
        });
    }

    fn recording<'a>(&'a self, recording_id: i64, log: &'a SimLog) -> Option<&'a SimLog> {
        match recording_id {
            LOG_RECORDING_ID => Some(log),
            _ => self.snapshots.get(&recording_id),
        }
    }

    fn describe(&mut self, session: i64, correlation_id: i64, recording_id: i64, recording: &SimLog) {
        let is_active = recording_id == LOG_RECORDING_ID || self.active_snapshots.contains(&recording_id);
        let mut message = Vec::new();
        let mut descriptor = RecordingDescriptor {
            control_session_id: session,
            correlation_id,
            recording_id,
            start_timestamp: 1,
            stop_timestamp: if is_active { -1 } else { 2 },
            start_position: recording.start,
            stop_position: if is_active { -1 } else { recording.end() },
            initial_term_id: recording.terms.initial_term_id,
            segment_file_length: recording.terms.term_length.bytes(),
            term_buffer_length: recording.terms.term_length.bytes(),
            mtu_length: MTU as i32,
            session_id: 5,
            stream_id: recording.stream_id,
            stripped_channel: "aeron:ipc",
            original_channel: "aeron:ipc?alias=log",
            source_identity: "aeron:ipc",
        };
        if let Some(misdescribe) = self.misdescribes.filter(|_| recording_id == LOG_RECORDING_ID) {
            misdescribe(&mut descriptor);
        }
        descriptor.encode(&mut message);
        self.respond(session, message);
    }

    fn answer(
        &mut self,
        session: i64,
        correlation_id: i64,
        outcome: Result<i64, (ArchiveErrorCode, String)>,
    ) {
        match outcome {
            Ok(relevant_id) => {
                self.answer_with(session, correlation_id, relevant_id, ControlResponseCode::Ok, "");
            }
            Err((code, text)) => {
                let relevant_id = code.to_relevant_id();
                self.answer_with(session, correlation_id, relevant_id, ControlResponseCode::Error, &text);
            }
        }
    }

    fn answer_with(
        &mut self,
        control_session_id: i64,
        correlation_id: i64,
        relevant_id: i64,
        code: ControlResponseCode,
        error_message: &str,
    ) {
        let message = control_response(control_session_id, correlation_id, relevant_id, code, error_message);
        self.respond(control_session_id, message);
    }

    /// Answers into a session that is gone go nowhere.
    fn respond(&mut self, session: i64, message: Vec<u8>) {
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) {
            session.responses.push(message);
        }
    }
}

impl ControlSession {
    fn do_work(&mut self, endpoint: &mut Endpoint, now_ns: u64) -> bool {
        match endpoint.publication_state(self.publication) {
            PublicationState::Connected => {}
            PublicationState::Connecting if now_ns < self.opened_ns + CONNECT_TIMEOUT_NS => return true,
            _ => {
                endpoint.revoke_publication(self.publication, now_ns);
                return false;
            }
        }
        if let Some(correlation_id) = self.connect_correlation_id.take() {
            let ok = control_response(self.id, correlation_id, self.id, ControlResponseCode::Ok, "");
            self.responses.insert(0, ok);
        }
        if now_ns >= self.pinged_ns + SECOND {
            self.pinged_ns = now_ns;
            let mut message = Vec::new();
            Ping { control_session_id: self.id }.encode(&mut message);
            self.responses.push(message);
        }
        while !self.responses.is_empty() && endpoint.offer(self.publication, &self.responses[0]).is_ok() {
            self.responses.remove(0);
        }
        true
    }
}

impl Replay {
    fn do_work(
        &mut self,
        recording: &SimLog,
        driver: &Driver,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) -> Result<bool, String> {
        match endpoint.publication_state(self.publication) {
            PublicationState::Connected => self.was_connected = true,
            PublicationState::Connecting if now_ns < self.opened_ns + CONNECT_TIMEOUT_NS => return Ok(true),
            PublicationState::Connecting => {
                endpoint.revoke_publication(self.publication, now_ns);
                return Err("no connection established for replayChannel".to_owned());
            }
            _ => {
                endpoint.revoke_publication(self.publication, now_ns);
                return Ok(false);
            }
        }
        let (limit, is_final) = match &mut self.limit {
            Limit::End(end) => (*end, true),
            Limit::Counter { id, registration, last, .. } => {
                match driver.counters.get(id).filter(|counter| counter.registration == *registration) {
                    Some(counter) => {
                        *last = counter.value;
                        (*last, false)
                    }
                    None => (*last, true),
                }
            }
        };
        if self.position < recording.start {
            endpoint.revoke_publication(self.publication, now_ns);
            return Err("recording segment not found".to_owned());
        }
        let limit = limit.min(recording.end());
        if self.position < limit {
            let term_end = recording.terms.term_end(self.position).min(limit);
            let run = &recording.bytes[self.position as usize..term_end as usize];
            if let Ok(taken) = endpoint.offer_recorded(self.publication, run) {
                self.position += taken;
            }
        } else if is_final {
            endpoint.close_publication(self.publication, now_ns);
            return Ok(false);
        }
        Ok(true)
    }
}

fn control_response(
    control_session_id: i64,
    correlation_id: i64,
    relevant_id: i64,
    code: ControlResponseCode,
    error_message: &str,
) -> Vec<u8> {
    let mut message = Vec::new();
    let version = ARCHIVE_PROTOCOL_VERSION;
    ControlResponse { control_session_id, correlation_id, relevant_id, code, version, error_message }
        .encode(&mut message);
    message
}

/// Where a channel leads, and the session that it names.
pub(crate) fn parse_channel(channel: &str) -> (SocketAddr, Option<i32>) {
    let value = |key: &str| channel.split(['?', '|']).find_map(|part| part.strip_prefix(key));
    let endpoint: HostPort = value("endpoint=").and_then(|text| text.parse().ok()).expect("an endpoint");
    let session_id = value("session-id=").map(|text| text.parse().expect("a session id"));
    (endpoint.socket_addr().expect("our endpoint is an address"), session_id)
}
