//! What an open session may ask for, and the answers.

use super::channels::{replay_stream, terms_of};
use super::listing::{self, Listing};
use super::replay::{Fault, Replay, Source, State};
use super::session::ControlSession;
use super::store::{RecordedFrames, RecordingStore};
use super::{ArchiveServer, Surroundings, leave};
use crate::archive::Recording;
use crate::codec::archive_control::{
    ArchiveErrorCode, ArchiveRequest, BoundedReplayRequest, ControlResponseCode, NULL_VALUE,
    REPLAY_ALL_AND_FOLLOW, REPLAY_ALL_AND_STOP, ReplayRequest,
};
use crate::endpoint::NameLookups;
use crate::image::ImageKey;
use crate::wire::FRAME_ALIGNMENT;

/// A replay, bounded or not.
#[derive(Clone, Copy, Debug)]
struct ReplayWish<'a> {
    correlation_id: i64,
    recording_id: i64,
    position: i64,
    length: i64,
    /// The counter that bounds it.
    limit_counter_id: Option<i32>,
    file_io_max_length: i32,
    stream_id: i32,
    channel: &'a str,
}

impl<S: RecordingStore> ArchiveServer<S> {
    pub(super) fn on_request(
        &mut self,
        image: ImageKey,
        request: &ArchiveRequest<'_>,
        now_ns: u64,
        around: &mut Surroundings<'_, S>,
    ) {
        let id = control_session_id(request);
        let found = self.sessions.iter().position(|session| session.id == id && session.image == image);
        let Some(index) = found else {
            self.stats.unknown_session_count += 1;
            return;
        };
        match request {
            ArchiveRequest::CloseSession(_) => {
                let session = self.sessions.remove(index);
                leave(&session, around.endpoint, now_ns);
            }
            ArchiveRequest::ChallengeResponse(answer) => self.sessions[index].on_challenge_response(
                answer.correlation_id,
                answer.encoded_credentials.0,
                self.authenticator.as_mut(),
            ),
            // Who is not let in yet asks in vain, as in a Java archive.
            _ if !self.sessions[index].activate() => {}
            ArchiveRequest::Replay(request) => self.replay(index, &request.into(), now_ns, around),
            ArchiveRequest::BoundedReplay(request) => self.replay(index, &request.into(), now_ns, around),
            ArchiveRequest::StopReplay(request) => {
                let of_client = |replay: &Replay<S::Reader>| {
                    replay.replay_session_id() == Some(request.replay_session_id)
                };
                if let Some(stopped) = self.replays.iter().position(of_client) {
                    self.abort_replay(stopped, now_ns, around.endpoint);
                }
                self.sessions[index].ok(request.correlation_id, 0);
            }
            ArchiveRequest::StopAllReplays(request) => {
                for replay in (0..self.replays.len()).rev() {
                    // One that has not begun has an answer to come yet, and so is left alone, as in a Java archive.
                    if self.replays[replay].publication().is_none() {
                        continue;
                    }
                    let is_meant =
                        [NULL_VALUE, self.replays[replay].recording_id].contains(&request.recording_id);
                    if is_meant {
                        self.abort_replay(replay, now_ns, around.endpoint);
                    }
                }
                self.sessions[index].ok(request.correlation_id, 0);
            }
            request => answer(&mut self.sessions[index], request, around.store, self.config.archive_id),
        }
    }

    fn replay(&mut self, index: usize, wish: &ReplayWish<'_>, now_ns: u64, around: &mut Surroundings<'_, S>) {
        let deadline_ns = now_ns.saturating_add(self.config.connect_timeout_ns);
        let session_id = self.sessions[index].id;
        let prepared = self.prepare_replay(session_id, wish, deadline_ns, around.store, around.lookups);
        match prepared {
            Ok(replay) => self.replays.push(replay),
            Err(Fault { code, message }) => self.sessions[index].error(wish.correlation_id, code, &message),
        }
    }

    /// Checks what is wished for, in the order of a Java archive, and asks for the destination's address.
    fn prepare_replay(
        &self,
        control_session_id: i64,
        wish: &ReplayWish<'_>,
        deadline_ns: u64,
        store: &S,
        lookups: &mut NameLookups,
    ) -> Result<Replay<S::Reader>, Fault> {
        let ReplayWish { recording_id, channel, .. } = *wish;
        if let Some(found) = wish.limit_counter_id.filter(|id| *id != self.config.limit_counter_id) {
            let own = self.config.limit_counter_id;
            return fault(
                ArchiveErrorCode::Generic,
                format!(
                    "unable to create replay limit counter id= {found} because of: only the commit-position \
                     counter of this node, id={own}, can bound a replay"
                ),
            );
        }
        let most = self.config.replay_count_max;
        // Streams of replays that are over hold memory until their receivers have everything.
        if self.replays.len() >= most || self.replays.len() + self.leaving.len() >= 2 * most {
            return fault(ArchiveErrorCode::MaxReplays, format!("max concurrent replays reached {most}"));
        }
        let (Some(recording), Some(reader)) = (store.find(recording_id), store.reader(recording_id)) else {
            return fault(ArchiveErrorCode::UnknownRecording, unknown_recording(recording_id));
        };
        let is_active = recording.stop_position == NULL_VALUE;
        let bound = match (wish.limit_counter_id, is_active) {
            (Some(_), _) => Some(store.commit_position()).filter(|position| *position != NULL_VALUE),
            (None, true) => Some(reader.end_position()),
            (None, false) => None,
        };
        let position = start_position(wish, recording, bound)?;
        let mtu = recording.mtu_length;
        if wish.file_io_max_length > 0 && wish.file_io_max_length < mtu {
            let found = wish.file_io_max_length;
            return fault(ArchiveErrorCode::Generic, format!("fileIoMaxLength={found} < mtuLength={mtu}"));
        }
        let limit = limit(wish, recording, bound, position)?;
        let broken = |problem: String| Fault {
            code: ArchiveErrorCode::Generic,
            message: format!("recording {recording_id} cannot be replayed: {problem}"),
        };
        let terms = terms_of(recording).map_err(|reject| broken(reject.to_string()))?;
        let (destination, params) =
            replay_stream(channel, wish.stream_id, recording, terms, position, self.config.replay_linger_ns)
                .map_err(|error| Fault {
                    code: ArchiveErrorCode::Generic,
                    message: format!("failed to process replayChannel - {error}"),
                })?;
        params.check().map_err(|reject| broken(reject.to_string()))?;
        let mut source = Source { reader, terms, stream_id: recording.stream_id, mtu };
        let is_inside = position > recording.start_position && position < source.reader.end_position();
        if is_inside && !source.has_frame_at(position).map_err(broken)? {
            return fault(
                ArchiveErrorCode::InvalidPosition,
                format!(
                    "replayPosition={position} does not point to a valid frame, recordingId={recording_id}"
                ),
            );
        }
        Ok(Replay {
            control_session_id,
            correlation_id: wish.correlation_id,
            recording_id,
            position,
            limit,
            is_bounded: wish.limit_counter_id.is_some(),
            source,
            channel: channel.to_owned(),
            state: State::LookingUp {
                token: lookups.ask_for_client(destination.endpoint.clone()),
                destination,
                params,
                deadline_ns,
            },
        })
    }
}

/// Where a replay begins, if that is in the recording and below what bounds it.
fn start_position(wish: &ReplayWish<'_>, recording: &Recording, bound: Option<i64>) -> Result<i64, Fault> {
    let (id, start, stop) = (recording.recording_id, recording.start_position, recording.stop_position);
    let position = if wish.position == NULL_VALUE { start } else { wish.position };
    if position % FRAME_ALIGNMENT as i64 != 0 {
        return fault(
            ArchiveErrorCode::Generic,
            format!(
                "requested replay start position={position} is not a multiple of FRAME_ALIGNMENT \
                 ({FRAME_ALIGNMENT}) for recording {id}"
            ),
        );
    }
    if position < start {
        return fault(
            ArchiveErrorCode::InvalidPosition,
            format!(
                "requested replay start position={position} is less than recording start position={start} \
                 for recording {id}"
            ),
        );
    }
    let is_at_stop = wish.position != NULL_VALUE && stop != NULL_VALUE && position >= stop;
    let beyond = if is_at_stop { Some(stop) } else { bound.filter(|bound| position > *bound) };
    match beyond {
        Some(limit) => fault(
            ArchiveErrorCode::InvalidPosition,
            format!(
                "requested replay start position={position} must be less than the limit position={limit} for \
                 recording {id}"
            ),
        ),
        None => Ok(position),
    }
}

/// Where a replay is complete. What grows has no limit of its own.
fn limit(
    wish: &ReplayWish<'_>,
    recording: &Recording,
    bound: Option<i64>,
    position: i64,
) -> Result<i64, Fault> {
    let stop = bound.unwrap_or(recording.stop_position);
    let length_max = if bound.is_some() { i64::MAX - position } else { stop - position };
    let length = match wish.length {
        REPLAY_ALL_AND_FOLLOW => length_max,
        REPLAY_ALL_AND_STOP if stop == position => {
            return fault(
                ArchiveErrorCode::EmptyRecording,
                format!(
                    "When replaying and stopping the replay length must be non-zero, recordingId={}",
                    recording.recording_id
                ),
            );
        }
        REPLAY_ALL_AND_STOP => stop - position,
        length => length.min(length_max),
    };
    if length < 0 {
        return fault(
            ArchiveErrorCode::Generic,
            format!(
                "replay length must be positive: replayLength={length}, length={}, stopPosition={stop}, \
                 replayPosition={position} for recording {}",
                wish.length, recording.recording_id
            ),
        );
    }
    Ok(position + length)
}

/// Answers what needs no more than the session and the list of recordings.
fn answer(
    session: &mut ControlSession,
    request: &ArchiveRequest<'_>,
    store: &impl RecordingStore,
    archive_id: i64,
) {
    match *request {
        ArchiveRequest::ArchiveId(request) => session.ok(request.correlation_id, archive_id),
        ArchiveRequest::ListRecordings(request) => list(
            session,
            Listing {
                correlation_id: request.correlation_id,
                next_recording_id: request.from_recording_id,
                left_count: request.record_count,
                stream: None,
            },
            store,
        ),
        ArchiveRequest::ListRecordingsForUri(request) => list(
            session,
            Listing {
                correlation_id: request.correlation_id,
                next_recording_id: request.from_recording_id,
                left_count: request.record_count,
                stream: Some((request.stream_id, request.channel.to_owned())),
            },
            store,
        ),
        ArchiveRequest::ListRecording(request) => {
            let (correlation_id, recording_id) = (request.correlation_id, request.recording_id);
            match store.find(recording_id) {
                _ if session.listing.is_some() => refuse_listing(session, correlation_id),
                Some(recording) => listing::send_descriptor(session, correlation_id, recording),
                None => {
                    session.response(correlation_id, recording_id, ControlResponseCode::RecordingUnknown, "");
                }
            }
        }
        ArchiveRequest::ListRecordingSubscriptions(request) => {
            // This archive records what its tap follows, and subscribes to nothing else.
            session.response(request.correlation_id, 0, ControlResponseCode::SubscriptionUnknown, "");
        }
        ArchiveRequest::FindLastMatching(request) if request.min_recording_id < 0 => {
            let message = format!("minRecordingId={} < 0", request.min_recording_id);
            session.error(request.correlation_id, ArchiveErrorCode::UnknownRecording, &message);
        }
        ArchiveRequest::FindLastMatching(request) => {
            let is_match = |recording: &&Recording| {
                recording.recording_id >= request.min_recording_id
                    && recording.session_id == request.session_id
                    && recording.stream_id == request.stream_id
                    && recording.original_channel.contains(request.channel)
            };
            let last = store.recordings().iter().rev().find(is_match);
            session.ok(request.correlation_id, last.map_or(NULL_VALUE, |recording| recording.recording_id));
        }
        ArchiveRequest::RecordingPosition(request) => {
            of_recording(session, request.correlation_id, request.recording_id, store, |recording| {
                live_position(recording, store).unwrap_or(NULL_VALUE)
            });
        }
        ArchiveRequest::StartPosition(request) => {
            of_recording(session, request.correlation_id, request.recording_id, store, |recording| {
                recording.start_position
            });
        }
        ArchiveRequest::StopPosition(request) => {
            of_recording(session, request.correlation_id, request.recording_id, store, |recording| {
                recording.stop_position
            });
        }
        ArchiveRequest::MaxRecordedPosition(request) => {
            of_recording(session, request.correlation_id, request.recording_id, store, |recording| {
                live_position(recording, store).unwrap_or(recording.stop_position)
            });
        }
        ArchiveRequest::ReplayToken(request) => session.error(
            request.correlation_id,
            ArchiveErrorCode::Generic,
            "response channels are not supported by this archive: replay to an `endpoint=host:port`",
        ),
        ArchiveRequest::Change(request) => session.error(
            request.correlation_id,
            ArchiveErrorCode::Generic,
            &format!(
                "{} is not supported: this is the archive of a standby, which records its cluster's log and \
                 snapshots and nothing else",
                request.name
            ),
        ),
        // Keep-alives have no answer; the rest has been dealt with.
        _ => {}
    }
}

fn list(session: &mut ControlSession, listing: Listing, store: &impl RecordingStore) {
    if session.listing.is_some() {
        refuse_listing(session, listing.correlation_id);
    } else {
        session.listing = Some(listing);
        listing::go_on(session, store);
    }
}

fn refuse_listing(session: &mut ControlSession, correlation_id: i64) {
    session.error(correlation_id, ArchiveErrorCode::ActiveListing, "active listing already in progress");
}

fn of_recording<S: RecordingStore>(
    session: &mut ControlSession,
    correlation_id: i64,
    recording_id: i64,
    store: &S,
    position: impl FnOnce(&Recording) -> i64,
) {
    match store.find(recording_id) {
        Some(recording) => session.ok(correlation_id, position(recording)),
        None => session.error(
            correlation_id,
            ArchiveErrorCode::UnknownRecording,
            &unknown_recording(recording_id),
        ),
    }
}

/// How far a recording is that is being made; `None` for one that was stopped.
fn live_position(recording: &Recording, store: &impl RecordingStore) -> Option<i64> {
    let is_active = recording.stop_position == NULL_VALUE;
    is_active.then(|| store.reader(recording.recording_id)).flatten().map(|reader| reader.end_position())
}

fn unknown_recording(recording_id: i64) -> String {
    format!("unknown recording id: {recording_id}")
}

fn fault<T>(code: ArchiveErrorCode, message: String) -> Result<T, Fault> {
    Err(Fault { code, message })
}

fn control_session_id(request: &ArchiveRequest<'_>) -> i64 {
    match request {
        ArchiveRequest::ChallengeResponse(request) => request.control_session_id,
        ArchiveRequest::ArchiveId(request) => request.control_session_id,
        ArchiveRequest::KeepAlive(request) => request.control_session_id,
        ArchiveRequest::CloseSession(request) => request.control_session_id,
        ArchiveRequest::Replay(request) => request.control_session_id,
        ArchiveRequest::BoundedReplay(request) => request.control_session_id,
        ArchiveRequest::StopReplay(request) => request.control_session_id,
        ArchiveRequest::StopAllReplays(request) => request.control_session_id,
        ArchiveRequest::ReplayToken(request) => request.control_session_id,
        ArchiveRequest::ListRecordings(request) => request.control_session_id,
        ArchiveRequest::ListRecordingsForUri(request) => request.control_session_id,
        ArchiveRequest::ListRecording(request) => request.control_session_id,
        ArchiveRequest::FindLastMatching(request) => request.control_session_id,
        ArchiveRequest::ListRecordingSubscriptions(request) => request.control_session_id,
        ArchiveRequest::RecordingPosition(request) => request.control_session_id,
        ArchiveRequest::StartPosition(request) => request.control_session_id,
        ArchiveRequest::StopPosition(request) => request.control_session_id,
        ArchiveRequest::MaxRecordedPosition(request) => request.control_session_id,
        ArchiveRequest::Change(request) => request.control_session_id,
        // These come before there is a session, or say nothing of one.
        ArchiveRequest::Connect(_) | ArchiveRequest::AuthConnect(_) | ArchiveRequest::Unknown(_) => {
            NULL_VALUE
        }
    }
}

impl<'a> From<&ReplayRequest<'a>> for ReplayWish<'a> {
    fn from(request: &ReplayRequest<'a>) -> Self {
        Self {
            correlation_id: request.correlation_id,
            recording_id: request.recording_id,
            position: request.position,
            length: request.length,
            limit_counter_id: None,
            file_io_max_length: request.file_io_max_length,
            stream_id: request.replay_stream_id,
            channel: request.replay_channel,
        }
    }
}

impl<'a> From<&BoundedReplayRequest<'a>> for ReplayWish<'a> {
    fn from(request: &BoundedReplayRequest<'a>) -> Self {
        Self {
            correlation_id: request.correlation_id,
            recording_id: request.recording_id,
            position: request.position,
            length: request.length,
            limit_counter_id: Some(request.limit_counter_id),
            file_io_max_length: request.file_io_max_length,
            stream_id: request.replay_stream_id,
            channel: request.replay_channel,
        }
    }
}
