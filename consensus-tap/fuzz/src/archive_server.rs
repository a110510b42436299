//! What clients may send to this node's archive, over a network that loses nothing.

use std::net::SocketAddr;

use consensus_tap::archive::Recording;
use consensus_tap::archive::server::{ArchiveServerConfig, RecordedFrames, RecordingStore};
use consensus_tap::authentication::AcceptAll;
use consensus_tap::codec::archive_control::{ARCHIVE_PROTOCOL_VERSION, ArchiveResponse, AuthConnectRequest};
use consensus_tap::codec::message::Secret;
use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::serving::{Serving, ServingAction, ServingConfig};
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType, frames};

use crate::script::Script;

const SECOND_NS: u64 = 1_000_000_000;
const SESSION_COUNT_MAX: usize = 3;
const REPLAY_COUNT_MAX: usize = 2;
/// Sessions, those that are only refused, replays twice over, and the images of one client.
const STREAM_COUNT_MAX: usize = 64;
/// The recordings: one stopped, one that goes on.
const RECORDED_LENGTH: usize = 64 * 64;
const RESPONSE_STREAM_ID: i32 = 20;
const RESPONSE_SESSION_ID: i32 = 5;

/// Requests of an open session in any order, datagrams of any kind, and time between them.
///
/// A step is a byte: below 160 a request follows, as a block, in which an odd step writes the session's id; below 192 a
/// datagram, as a block; above, time passes.
pub fn archive_server(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut pair = Pair::new();
    pair.connect();
    while !script.is_over() {
        let step = script.byte();
        match step {
            0..160 => {
                let mut request = script.block().to_vec();
                if let Some(id) = request.get_mut(8..16).filter(|_| step % 2 == 1) {
                    id.copy_from_slice(&pair.control_session_id.to_le_bytes());
                }
                // What is longer than the stream allows is not sent.
                let _ = pair.client.offer(pair.publication, &request);
            }
            160..192 => {
                pair.serving.on_datagram(script.block(), address(2), pair.now_ns, &pair.store);
            }
            192..240 => pair.now_ns += SECOND_NS / 4,
            240.. => pair.now_ns += 3 * SECOND_NS,
        }
        pair.exchange(step % 8 == 7);
        for message in pair.received.messages.drain(..) {
            assert!(
                ArchiveResponse::decode(&message).is_ok_and(|it| !matches!(it, ArchiveResponse::Unknown(_)))
            );
        }
        let archive = pair.serving.archive();
        assert!(archive.session_count() <= SESSION_COUNT_MAX + 16);
        assert!(archive.replay_count() <= REPLAY_COUNT_MAX);
        assert!(pair.serving.stream_count() <= STREAM_COUNT_MAX);
    }
    let longest = pair.received.replays.iter().map(|(_, begin, end)| end - begin).max();
    assert!(longest.unwrap_or(0) <= RECORDED_LENGTH as i64, "no more than is recorded");
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A server and its client.
struct Pair {
    now_ns: u64,
    serving: Serving<Store>,
    store: Store,
    client: Endpoint,
    publication: PublicationId,
    received: Received,
    control_session_id: i64,
}

impl Pair {
    fn new() -> Self {
        let now_ns = SECOND_NS;
        let config = ArchiveServerConfig {
            session_count_max: SESSION_COUNT_MAX,
            replay_count_max: REPLAY_COUNT_MAX,
            limit_counter_id: 7,
            ..ArchiveServerConfig::default()
        };
        let mut client = Endpoint::new(2);
        // Whatever session and stream a request names for a replay, nothing else is received there.
        for stream_id in [RESPONSE_STREAM_ID, 33] {
            client.add_subscription(SubscriptionParams::new(stream_id));
        }
        let params = PublicationParams::new(RESPONSE_SESSION_ID, config.control_stream_id);
        let publication = client.add_publication(params, address(1), now_ns);
        Self {
            now_ns,
            serving: Serving::new(
                ServingConfig { archive: config, ..ServingConfig::default() },
                Box::new(AcceptAll),
                Box::new(AcceptAll),
                1,
            ),
            store: Store::new(),
            client,
            publication,
            received: Received::default(),
            control_session_id: 0,
        }
    }

    fn connect(&mut self) {
        self.exchange(false);
        let mut request = Vec::new();
        AuthConnectRequest {
            correlation_id: 1,
            response_stream_id: RESPONSE_STREAM_ID,
            version: ARCHIVE_PROTOCOL_VERSION,
            response_channel: "aeron:udp?endpoint=127.0.0.1:2|session-id=5",
            encoded_credentials: Secret(b""),
            client_info: "",
        }
        .encode(&mut request);
        self.client.offer(self.publication, &request).expect("the server listens");
        self.exchange(false);
        let message = self.received.messages.pop().expect("the answer");
        let Ok(ArchiveResponse::Control(response)) = ArchiveResponse::decode(&message) else {
            panic!("a control response")
        };
        self.control_session_id = response.relevant_id;
    }

    /// Lets both sides say all they have to say. Names that are asked for may not resolve.
    fn exchange(&mut self, is_unknown: bool) {
        for _ in 0..6 {
            self.now_ns += 1_000_000;
            let now_ns = self.now_ns;
            self.serving.on_timeout(now_ns, &self.store);
            while let Some(action) = self.serving.poll_action() {
                match action {
                    ServingAction::Resolve { token, endpoint } => {
                        let address = endpoint.socket_addr().filter(|_| !is_unknown);
                        self.serving.on_resolved(token, address, now_ns, &self.store);
                    }
                    ServingAction::Announced(outcome) => panic!("nothing was announced: {outcome:?}"),
                    ServingAction::Beacon(beacon) => panic!("nobody else stands by: {beacon:?}"),
                    ServingAction::Report(text) => assert!(!text.is_empty()),
                }
            }
            let mut sent = Vec::new();
            self.serving.poll_transmit(now_ns, &mut |run| {
                let datagrams = run.datagrams().filter(|_| run.to == address(2));
                sent.extend(datagrams.map(<[u8]>::to_vec));
            });
            for datagram in sent {
                self.client.on_datagram(&datagram, address(1), now_ns, &mut self.received);
            }
            self.client.on_timeout(now_ns);
            while let Some(event) = self.client.poll_event() {
                if let EndpointEvent::ImageAvailable { key, geometry, .. } = event {
                    let begin = geometry.join_position;
                    self.received.replays.push((key, begin, begin));
                }
            }
            let mut sent = Vec::new();
            self.client.poll_transmit(now_ns, &mut |run| sent.extend(run.datagrams().map(<[u8]>::to_vec)));
            for datagram in sent {
                self.serving.on_datagram(&datagram, address(2), now_ns, &self.store);
            }
        }
    }
}

/// What the client received.
#[derive(Default)]
struct Received {
    assembler: Option<FragmentAssembler>,
    messages: Vec<Vec<u8>>,
    /// Images of the replay stream: where each begins, and how far it is.
    replays: Vec<(ImageKey, i64, i64)>,
}

impl ImageSink for Received {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = position;
        for frame in frames(bytes) {
            let frame = frame.expect("whole frames");
            if image.stream_id == RESPONSE_STREAM_ID && image.session_id == RESPONSE_SESSION_ID {
                let assembler = self.assembler.get_or_insert_with(|| FragmentAssembler::new(1 << 20));
                if let Some(message) = assembler.on_frame(&frame, at) {
                    self.messages.push(message.bytes.to_vec());
                }
            }
            at += frame.aligned_length() as i64;
        }
        if image.stream_id != RESPONSE_STREAM_ID
            && let Some((_, _, end)) = self.replays.iter_mut().find(|(known, ..)| *known == image)
        {
            *end = at;
        }
        Ok(())
    }
}

/// Two recordings of the same frames.
struct Store {
    recordings: Vec<Recording>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Reader {
    bytes: Vec<u8>,
}

impl Store {
    fn new() -> Self {
        let recording = |recording_id, stop_position| Recording {
            recording_id,
            start_timestamp: 0,
            stop_timestamp: -1,
            start_position: 0,
            stop_position,
            initial_term_id: 0,
            segment_file_length: 65_536,
            term_buffer_length: 65_536,
            mtu_length: 1408,
            session_id: 3,
            stream_id: 100,
            stripped_channel: "aeron:udp".to_owned(),
            original_channel: "aeron:udp?alias=log".to_owned(),
            source_identity: "a:1".to_owned(),
        };
        let mut bytes = Vec::with_capacity(RECORDED_LENGTH);
        while bytes.len() < RECORDED_LENGTH {
            let header = DataHeader {
                frame_length: 64,
                flags: UNFRAGMENTED,
                frame_type: FrameType::Data,
                term_offset: bytes.len() as i32,
                session_id: 3,
                stream_id: 100,
                term_id: 0,
                reserved_value: 0,
            };
            bytes.extend_from_slice(&header.encode());
            bytes.resize(bytes.len() + 64 - HEADER_LENGTH, 1);
        }
        Self { recordings: vec![recording(1, RECORDED_LENGTH as i64), recording(2, -1)], bytes }
    }
}

impl RecordingStore for Store {
    type Reader = Reader;

    fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    fn reader(&self, recording_id: i64) -> Option<Reader> {
        self.find(recording_id).map(|_| Reader { bytes: self.bytes.clone() })
    }

    fn commit_position(&self) -> i64 {
        RECORDED_LENGTH as i64
    }
}

impl RecordedFrames for Reader {
    fn end_position(&self) -> i64 {
        self.bytes.len() as i64
    }

    fn frames(&mut self, from: i64, to: i64) -> Result<&[u8], String> {
        assert!(0 <= from && from <= to && to <= self.end_position(), "{from}..{to}");
        Ok(&self.bytes[from as usize..to as usize])
    }
}
