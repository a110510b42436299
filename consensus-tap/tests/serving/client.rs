//! A client of an archive, by hand: requests as bytes, responses as they come, replays byte for byte.

use std::collections::HashMap;
use std::net::SocketAddr;

use consensus_tap::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveResponse, AuthConnectRequest, ControlResponseCode,
};
use consensus_tap::codec::message::{Secret, SemanticVersion};
use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{
    FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams, UnavailableReason,
};
use consensus_tap::publication::{PublicationId, PublicationParams, PublicationState};
use consensus_tap::wire::data::HEADER_LENGTH;
use consensus_tap::wire::frames;

pub(crate) const RESPONSE_STREAM_ID: i32 = 20;
pub(crate) const REPLAY_STREAM_ID: i32 = 33;

/// A client and its socket.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) publication: PublicationId,
    session_id: i32,
    waiting: Vec<Vec<u8>>,
    pub(crate) received: Received,
}

/// What a client received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    assembler: Option<FragmentAssembler>,
    /// Responses, oldest first.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) replays: HashMap<i32, ReplayImage>,
    response_image: Option<ImageKey>,
    /// Why the response stream ended.
    pub(crate) responses_ended: Option<UnavailableReason>,
}

/// The image of a replay, and all it delivered, padding as it lies in a recording.
#[derive(Debug)]
pub(crate) struct ReplayImage {
    pub(crate) join_position: i64,
    pub(crate) initial_term_id: i32,
    pub(crate) mtu: i32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: Option<UnavailableReason>,
}

impl Client {
    pub(crate) fn new(number: u8, server: SocketAddr, now_ns: u64) -> Self {
        let mut endpoint = Endpoint::new(100 + i64::from(number));
        let session_id = 5_000 + i32::from(number);
        endpoint.add_subscription(SubscriptionParams::of_session(RESPONSE_STREAM_ID, session_id));
        endpoint.add_subscription(SubscriptionParams::new(REPLAY_STREAM_ID));
        let publication = endpoint.add_publication(PublicationParams::new(session_id, 10), server, now_ns);
        Self {
            address: SocketAddr::from(([10, 0, 1, number], 7_000)),
            endpoint,
            publication,
            session_id,
            waiting: Vec::new(),
            received: Received::default(),
        }
    }

    /// The channel that this client reads its responses from.
    pub(crate) fn response_channel(&self) -> String {
        format!("aeron:udp?endpoint={}|session-id={}", self.address, self.session_id)
    }

    /// Sends a request as soon as there is somebody to take it.
    pub(crate) fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut request = Vec::new();
        encode(&mut request);
        self.waiting.push(request);
    }

    pub(crate) fn send_connect(&mut self, correlation_id: i64, credentials: &[u8]) {
        self.send_connect_of(correlation_id, credentials, ARCHIVE_PROTOCOL_VERSION);
    }

    pub(crate) fn send_connect_of(
        &mut self,
        correlation_id: i64,
        credentials: &[u8],
        version: SemanticVersion,
    ) {
        let response_channel = self.response_channel();
        self.send(|out| {
            AuthConnectRequest {
                correlation_id,
                response_stream_id: RESPONSE_STREAM_ID,
                version,
                response_channel: &response_channel,
                encoded_credentials: Secret(credentials),
                client_info: "test",
            }
            .encode(out);
        });
    }

    /// The control responses to a request: code, relevant id, text.
    pub(crate) fn answers(&self, correlation_id: i64) -> Vec<(ControlResponseCode, i64, String)> {
        let decoded =
            self.received.messages.iter().map(|message| ArchiveResponse::decode(message).expect("ours"));
        decoded
            .filter_map(|message| match message {
                ArchiveResponse::Control(response) if response.correlation_id == correlation_id => {
                    Some((response.code, response.relevant_id, response.error_message.to_owned()))
                }
                _ => None,
            })
            .collect()
    }

    /// The ids of the recordings that a listing sent.
    pub(crate) fn listed(&self, correlation_id: i64) -> Vec<i64> {
        let decoded =
            self.received.messages.iter().map(|message| ArchiveResponse::decode(message).expect("ours"));
        decoded
            .filter_map(|message| match message {
                ArchiveResponse::Descriptor(recording) if recording.correlation_id == correlation_id => {
                    Some(recording.recording_id)
                }
                _ => None,
            })
            .collect()
    }

    pub(crate) fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) {
        self.endpoint.on_datagram(bytes, from, now_ns, &mut self.received);
    }

    pub(crate) fn on_timeout(&mut self, now_ns: u64) {
        self.endpoint.on_timeout(now_ns);
        while let Some(event) = self.endpoint.poll_event() {
            self.received.on_event(event);
        }
        if self.endpoint.publication_state(self.publication) == PublicationState::Connected {
            let Self { waiting, endpoint, publication, .. } = self;
            waiting.retain(|request| endpoint.offer(*publication, request).is_err());
        }
    }
}

impl Received {
    fn on_event(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::ImageAvailable { key, geometry, .. } if key.stream_id == REPLAY_STREAM_ID => {
                let image = ReplayImage {
                    join_position: geometry.join_position,
                    initial_term_id: geometry.terms.initial_term_id,
                    mtu: geometry.mtu,
                    bytes: Vec::new(),
                    ended: None,
                };
                assert!(self.replays.insert(key.session_id, image).is_none(), "one image a session");
            }
            EndpointEvent::ImageAvailable { key, .. } => {
                self.response_image = Some(key);
                self.assembler = Some(FragmentAssembler::new(1 << 20));
            }
            EndpointEvent::ImageUnavailable { key, reason, .. } if key.stream_id == REPLAY_STREAM_ID => {
                self.replays.get_mut(&key.session_id).expect("it was there").ended = Some(reason);
            }
            EndpointEvent::ImageUnavailable { reason, .. } => self.responses_ended = Some(reason),
            EndpointEvent::PublicationRejected { .. } => {}
        }
    }
}

impl ImageSink for Received {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = position;
        for frame in frames(bytes) {
            let frame = frame.expect("whole frames");
            if image.stream_id == REPLAY_STREAM_ID {
                assert_eq!((frame.session_id(), frame.stream_id()), (image.session_id, image.stream_id));
                let replay = self.replays.get_mut(&image.session_id).expect("it is there");
                assert_eq!(replay.join_position + replay.bytes.len() as i64, at, "without a gap");
                replay.bytes.extend_from_slice(&frame.header().encode());
                replay.bytes.extend_from_slice(frame.payload());
                let end = (at - replay.join_position) as usize + frame.aligned_length();
                replay.bytes.resize(end, 0);
            } else {
                let assembler = self.assembler.as_mut().expect("the image was announced");
                if let Some(message) = assembler.on_frame(&frame, at) {
                    self.messages.push(message.bytes.to_vec());
                }
            }
            at += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

/// Recorded bytes but for what a replay may change: session and stream.
pub(crate) fn without_session_and_stream(bytes: &[u8]) -> Vec<u8> {
    let mut normal = bytes.to_vec();
    let mut at = 0;
    while at < normal.len() {
        let length = i32::from_le_bytes(normal[at..at + 4].try_into().expect("four bytes")) as usize;
        normal[at + 12..at + 20].fill(0);
        at += length.next_multiple_of(HEADER_LENGTH);
    }
    normal
}
