//! The archive server as its clients see it, over a network that loses nothing. Both sides are ours here; the
//! interop tests of `standby-node` have real ones.

#[path = "archive_server/listing.rs"]
mod listing;
#[path = "archive_server/replays.rs"]
mod replays;
#[path = "archive_server/sessions.rs"]
mod sessions;

#[path = "serving/client.rs"]
mod client;
#[path = "transport/network.rs"]
#[allow(dead_code, reason = "nothing is lost here")]
mod network;
#[path = "serving/rig.rs"]
mod rig;
#[path = "transport/rng.rs"]
#[allow(dead_code, reason = "shared with simulations")]
mod rng;
#[path = "serving/store.rs"]
mod store;

use client::{REPLAY_STREAM_ID, without_session_and_stream};
use consensus_tap::archive::server::ArchiveServerConfig;
use consensus_tap::authentication::{AcceptAll, SharedSecrets};
use consensus_tap::codec::archive_control::{
    ArchiveIdRequest, ArchiveResponse, BoundedReplayRequest, ChallengeResponse, CloseSessionRequest,
    ConnectRequest, ControlResponseCode as Code, FindLastMatchingRecordingRequest, KeepAliveRequest,
    ListRecordingRequest, ListRecordingSubscriptionsRequest, ListRecordingsForUriRequest,
    ListRecordingsRequest, MaxRecordedPositionRequest, NULL_VALUE, RecordingPositionRequest, ReplayRequest,
    ReplayTokenRequest, StartPositionRequest, StopAllReplaysRequest, StopPositionRequest, StopReplayRequest,
    replay_image_session_id,
};
use consensus_tap::codec::message::{Secret, SemanticVersion};
use consensus_tap::image::UnavailableReason;
use consensus_tap::publication::PublicationState;
use consensus_tap::serving::{AllowList, ConsensusServerConfig, Serving, ServingConfig};
use rig::{ARCHIVE_ID, LIMIT_COUNTER_ID, MS, Rig, SECOND, SUBSCRIPTION_COUNT, quiet_network};
use rng::Rng;
use store::{INITIAL_TERM_ID, MTU, MemoryStore, TERM_LENGTH, recorded_frames};

/// Where the recordings of [`store`] begin: in the middle of a term, not of a segment.
const START: i64 = 3 * TERM_LENGTH as i64 + 96;
/// A snapshot that was recorded whole.
const STOPPED: i64 = 3;
/// The log, which goes on.
const LOG: i64 = 7;

fn store() -> MemoryStore {
    let mut rng = Rng::new(1);
    let mut store = MemoryStore::default();
    store.add(STOPPED, START, recorded_frames(&mut rng, START, 400_000), true);
    store.add(5, 0, Vec::new(), true);
    store.add(LOG, 0, recorded_frames(&mut rng, 0, 300_000), false);
    store.commit_position = store.end_position(LOG);
    store
}

fn replay(rig: &Rig, client: usize, control_session_id: i64, recording_id: i64) -> ReplayRequest<'static> {
    let channel = format!("aeron:udp?endpoint={}", rig.clients[client].address);
    ReplayRequest {
        control_session_id,
        correlation_id: 50,
        recording_id,
        position: NULL_VALUE,
        length: NULL_VALUE,
        replay_stream_id: REPLAY_STREAM_ID,
        file_io_max_length: -1,
        replay_token: NULL_VALUE,
        replay_channel: channel.leak(),
    }
}

/// Asks for a replay that is granted, and returns its image's session id.
fn start(rig: &mut Rig, client: usize, request: ReplayRequest<'_>) -> i32 {
    rig.clients[client].send(|out| request.encode(out));
    let (code, replay_session_id, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Ok, "{text}");
    replay_image_session_id(replay_session_id)
}

/// Asks for something that is refused, and returns the error's code and words.
fn refused(rig: &mut Rig, client: usize, request: ReplayRequest<'_>) -> (i64, String) {
    rig.clients[client].send(|out| request.encode(out));
    let (code, relevant_id, text) = rig.answer(client, request.correlation_id);
    assert_eq!(code, Code::Error, "{relevant_id}");
    (relevant_id, text)
}

fn await_replay(rig: &mut Rig, client: usize, session_id: i32, length: usize) {
    rig.run_until("the replay's bytes", |rig| {
        let replay = rig.clients[client].received.replays.get(&session_id);
        replay.is_some_and(|replay| replay.bytes.len() >= length)
    });
}

fn ended(rig: &Rig, client: usize, session_id: i32) -> Option<UnavailableReason> {
    rig.clients[client].received.replays.get(&session_id).and_then(|replay| replay.ended)
}
