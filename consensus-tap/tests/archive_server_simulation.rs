//! The archive server and its clients over a bad network, in virtual time. One seed decides everything: the
//! recordings, the requests, the faults.
//!
//! Faults come first; then the network heals, and everything must converge: every request is answered once, every
//! replay has delivered what is recorded, and when all clients have left nothing is left of them.
//! `STANDBY_SIM_SEEDS` sets how many seeds run (200 if not set), `STANDBY_SIM_SEED` runs one.

#[path = "serving/client.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod client;
#[path = "transport/network.rs"]
mod network;
#[path = "serving/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod rig;
#[path = "transport/rng.rs"]
mod rng;
#[path = "transport/seeds.rs"]
mod seeds;
#[path = "serving/store.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod store;

use client::{REPLAY_STREAM_ID, without_session_and_stream};
use consensus_tap::archive::server::ArchiveServerConfig;
use consensus_tap::authentication::AcceptAll;
use consensus_tap::codec::archive_control::{
    BoundedReplayRequest, CloseSessionRequest, ControlResponseCode as Code, ListRecordingRequest,
    ListRecordingsRequest, MaxRecordedPositionRequest, NULL_VALUE, ReplayRequest, StopReplayRequest,
    replay_image_session_id,
};
use consensus_tap::image::UnavailableReason;
use network::Network;
use rig::{LIMIT_COUNTER_ID, MS, Rig, SECOND};
use rng::Rng;
use seeds::run_seeds;
use store::{MemoryStore, TERM_LENGTH, recorded_frames};

/// Shorter than anybody's patience, which is 5 s.
const OUTAGE_MAX_MS: u64 = 3_000;
const LOG: i64 = 9;
const STOPPED_IDS: [i64; 2] = [2, 4];
/// Enough for every log to roll over terms and segments.
const LOG_LENGTH_MAX: i64 = 600_000;

/// What happened in all runs together: a simulation without faults proves nothing.
#[derive(Debug, Default)]
struct Seen {
    dropped_datagrams: u64,
    answers: u64,
    errors: u64,
    replayed_bytes: u64,
    complete_replays: u64,
    followed_replays: u64,
    stopped_replays: u64,
    retransmits: u64,
}

/// A request that a client made.
#[derive(Debug)]
struct Asked {
    client: usize,
    correlation_id: i64,
    what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Position,
    Descriptor,
    /// Of so many recordings.
    Listing(usize),
    /// Of a recording, from a position on.
    Replay {
        recording_id: i64,
        position: i64,
        is_stopped: bool,
    },
    StopReplay,
}

struct World {
    rng: Rng,
    rig: Rig,
    sessions: Vec<i64>,
    asked: Vec<Asked>,
    next_correlation_id: i64,
    outages_left: u64,
}

#[test]
fn every_request_is_answered_and_every_replay_is_true_whatever_the_network_does() {
    let mut seen = Seen::default();
    let is_enough = run_seeds(200, |seed, _| World::new(seed).run(&mut seen));
    println!("{seen:#?}");
    if is_enough {
        assert!(seen.dropped_datagrams > 0 && seen.retransmits > 0, "{seen:?}");
        assert!(seen.answers > 0 && seen.errors > 0 && seen.replayed_bytes > 0, "{seen:?}");
        assert!(
            seen.complete_replays > 0 && seen.followed_replays > 0 && seen.stopped_replays > 0,
            "{seen:?}"
        );
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut store = MemoryStore::default();
        for id in STOPPED_IDS {
            let start = i64::from(TERM_LENGTH) * rng.between(0, 3) as i64 + rng.pick(&[0, 96, 4_096]);
            let length = rng.pick(&[0, 64, 5_000, 150_000]);
            let frames = recorded_frames(&mut rng, start, length);
            store.add(id, start, frames, true);
        }
        let start = rng.pick(&[0, 131_072, 65_536 + 320]);
        let length = rng.pick(&[0, 5_000, 200_000]);
        let frames = recorded_frames(&mut rng, start, length);
        store.add(LOG, start, frames, false);
        store.commit_position = store.end_position(LOG);
        let config =
            ArchiveServerConfig { seed: rng.next(), replay_count_max: 4, ..ArchiveServerConfig::default() };
        let mut network = Network::new(Rng::new(rng.next()));
        let outages_left = rng.pick(&[0, 0, 1]);
        if outages_left == 0 && rng.chance(300) {
            network.fail_until(SECOND + rng.between(100, OUTAGE_MAX_MS) * MS);
        }
        let mut rig = Rig::with(store, config, Box::new(AcceptAll), network);
        let client_count = rng.between(1, 3) as usize;
        let mut sessions = Vec::new();
        for _ in 0..client_count {
            sessions.push(rig.connect().1);
        }
        Self { rng, rig, sessions, asked: Vec::new(), next_correlation_id: 100, outages_left }
    }

    fn run(mut self, seen: &mut Seen) {
        for _ in 0..self.rng.between(20, 120) {
            if self.rng.chance(400) && self.rig.store.end_position(LOG) < LOG_LENGTH_MAX {
                let end = self.rig.store.end_position(LOG);
                let length = self.rng.pick(&[32, 2_000, 20_000]);
                let frames = recorded_frames(&mut self.rng, end, length);
                self.rig.store.append(LOG, &frames);
                self.rig.store.commit_position = self.rig.store.end_position(LOG);
            }
            if self.rng.chance(250) {
                self.ask();
            }
            if self.outages_left > 0 && self.rng.chance(20) {
                self.outages_left -= 1;
                let until_ns = self.rig.now_ns + self.rng.between(10, OUTAGE_MAX_MS) * MS;
                self.rig.network.fail_until(until_ns);
            }
            self.rig.run_for(self.rng.pick(&[MS, 10 * MS, 50 * MS]));
            self.check_replays();
        }
        self.rig.network.heal();
        let Self { rig, asked, .. } = &mut self;
        rig.run_until("every answer", |rig| asked.iter().all(|asked| is_answered(rig, asked)));
        rig.run_until("every replay", |rig| asked.iter().all(|asked| is_replayed(rig, asked)));
        self.check_replays();
        self.count(seen);
        self.leave();
    }

    fn ask(&mut self) {
        let client = self.rng.below(self.sessions.len() as u64) as usize;
        let control_session_id = self.sessions[client];
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let recording_id = self.rng.pick(&[STOPPED_IDS[0], STOPPED_IDS[1], LOG, LOG]);
        let to = &mut self.rig.clients[client];
        let what = match self.rng.below(6) {
            0 => {
                to.send(|out| {
                    MaxRecordedPositionRequest { control_session_id, correlation_id, recording_id }
                        .encode(out);
                });
                What::Position
            }
            1 => {
                to.send(|out| {
                    ListRecordingRequest { control_session_id, correlation_id, recording_id }.encode(out);
                });
                What::Descriptor
            }
            2 => {
                let request = ListRecordingsRequest {
                    control_session_id,
                    correlation_id,
                    from_recording_id: 3,
                    record_count: 9,
                };
                to.send(|out| request.encode(out));
                What::Listing(2)
            }
            3 => self.ask_to_stop(client, correlation_id),
            _ => self.ask_for_replay(client, correlation_id, recording_id),
        };
        self.asked.push(Asked { client, correlation_id, what });
    }

    fn ask_for_replay(&mut self, client: usize, correlation_id: i64, recording_id: i64) -> What {
        let control_session_id = self.sessions[client];
        let channel = format!("aeron:udp?endpoint={}", self.rig.clients[client].address);
        let start = self.rig.store.start_position(recording_id);
        // Only some of these are frames; the rest is refused.
        let position = self.rng.pick(&[NULL_VALUE, NULL_VALUE, start, start + 64, start - 32]);
        let is_bounded = recording_id == LOG && self.rng.chance(500);
        let to = &mut self.rig.clients[client];
        if is_bounded {
            to.send(|out| {
                BoundedReplayRequest {
                    control_session_id,
                    correlation_id,
                    recording_id,
                    position,
                    length: NULL_VALUE,
                    limit_counter_id: LIMIT_COUNTER_ID,
                    replay_stream_id: REPLAY_STREAM_ID,
                    file_io_max_length: -1,
                    replay_token: NULL_VALUE,
                    replay_channel: &channel,
                }
                .encode(out);
            });
        } else {
            to.send(|out| {
                ReplayRequest {
                    control_session_id,
                    correlation_id,
                    recording_id,
                    position,
                    length: NULL_VALUE,
                    replay_stream_id: REPLAY_STREAM_ID,
                    file_io_max_length: -1,
                    replay_token: NULL_VALUE,
                    replay_channel: &channel,
                }
                .encode(out);
            });
        }
        let position = if position == NULL_VALUE { start } else { position };
        What::Replay { recording_id, position, is_stopped: false }
    }

    /// Stops some replay that this client was granted; one that is not there if there is none.
    fn ask_to_stop(&mut self, client: usize, correlation_id: i64) -> What {
        let control_session_id = self.sessions[client];
        let rig = &mut self.rig;
        let running = self.asked.iter_mut().find(|asked| {
            asked.client == client
                && matches!(asked.what, What::Replay { is_stopped: false, .. })
                && granted(rig, asked).is_some()
        });
        let mut replay_session_id = -5;
        if let Some(asked) = running {
            replay_session_id = granted(rig, asked).expect("just looked");
            if let What::Replay { is_stopped, .. } = &mut asked.what {
                *is_stopped = true;
            }
        }
        rig.clients[client].send(|out| {
            StopReplayRequest { control_session_id, correlation_id, replay_session_id }.encode(out);
        });
        What::StopReplay
    }

    /// Whatever a replay delivered so far is what is recorded there.
    fn check_replays(&self) {
        for asked in &self.asked {
            let What::Replay { recording_id, position, is_stopped } = asked.what else { continue };
            let Some(replay_session_id) = granted(&self.rig, asked) else { continue };
            let session_id = replay_image_session_id(replay_session_id);
            let Some(replay) = self.rig.clients[asked.client].received.replays.get(&session_id) else {
                continue;
            };
            assert_eq!(replay.join_position, position, "{asked:?}");
            let recorded = self.rig.store.bytes(recording_id, position);
            let delivered = without_session_and_stream(&replay.bytes);
            assert!(delivered == without_session_and_stream(&recorded[..delivered.len()]), "{asked:?}");
            match replay.ended {
                None => {}
                Some(UnavailableReason::EndOfStream) => {
                    assert!(
                        recording_id != LOG && delivered.len() == recorded.len(),
                        "{asked:?}: only the whole ends"
                    );
                }
                Some(reason) => assert!(is_stopped, "{asked:?}: {reason:?}"),
            }
        }
    }

    fn count(&self, seen: &mut Seen) {
        seen.dropped_datagrams += self.rig.network.dropped_count;
        seen.retransmits += self.rig.serving.transport_counters().retransmits_sent;
        seen.replayed_bytes += self.rig.serving.archive().stats().replayed_bytes;
        for asked in &self.asked {
            seen.answers += 1;
            let answers = self.rig.clients[asked.client].answers(asked.correlation_id);
            // Who was granted a replay may hear more of it, all others hear once.
            if !matches!(asked.what, What::Descriptor) {
                assert_eq!(answers.len(), 1, "{asked:?}: {answers:?}");
            }
            seen.errors += answers.iter().filter(|answer| answer.0 == Code::Error).count() as u64;
            match asked.what {
                What::Replay { .. } if granted(&self.rig, asked).is_none() => {}
                What::Replay { is_stopped: true, .. } => seen.stopped_replays += 1,
                What::Replay { recording_id: LOG, .. } => seen.followed_replays += 1,
                What::Replay { .. } => seen.complete_replays += 1,
                _ => {}
            }
        }
    }

    /// All clients leave, in order or not, and nothing is left of them.
    fn leave(mut self) {
        for client in 0..self.sessions.len() {
            let control_session_id = self.sessions[client];
            if self.rng.chance(500) {
                self.rig.clients[client].send(|out| CloseSessionRequest { control_session_id }.encode(out));
            }
        }
        self.rig.run_for(SECOND);
        self.rig.clients.clear();
        self.rig.run_for(20 * SECOND);
        let archive = self.rig.serving.archive();
        assert_eq!((archive.session_count(), archive.replay_count()), (0, 0));
        assert_eq!(self.rig.serving.stream_count(), rig::SUBSCRIPTION_COUNT, "nothing but subscriptions");
    }
}

/// The session id of a replay that was granted.
fn granted(rig: &Rig, asked: &Asked) -> Option<i64> {
    let answers = rig.clients[asked.client].answers(asked.correlation_id);
    answers.first().filter(|answer| answer.0 == Code::Ok).map(|answer| answer.1)
}

fn is_answered(rig: &Rig, asked: &Asked) -> bool {
    let client = &rig.clients[asked.client];
    let answers = client.answers(asked.correlation_id);
    match asked.what {
        What::Descriptor => client.listed(asked.correlation_id).len() == 1 || !answers.is_empty(),
        What::Listing(count) => {
            !answers.is_empty() && [0, count].contains(&client.listed(asked.correlation_id).len())
        }
        _ => !answers.is_empty(),
    }
}

/// Whether a replay that goes on has delivered all there is, and one of a stopped recording its end.
fn is_replayed(rig: &Rig, asked: &Asked) -> bool {
    let What::Replay { recording_id, position, is_stopped: false } = asked.what else { return true };
    let Some(replay_session_id) = granted(rig, asked) else { return true };
    let session_id = replay_image_session_id(replay_session_id);
    let Some(replay) = rig.clients[asked.client].received.replays.get(&session_id) else { return false };
    let is_whole = position + replay.bytes.len() as i64 == rig.store.end_position(recording_id);
    is_whole && (recording_id == LOG || replay.ended.is_some())
}
