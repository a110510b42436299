//! Clients that a cluster would be better off without.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use consensus_tap::client::{
    ClientState, ClusterClient as Session, ClusterClientConfig, IngressEndpoints, SessionEnd,
};
use consensus_tap::codec::log::SessionMessage;
use consensus_tap::codec::message::{Secret, SemanticVersion};
use consensus_tap::codec::session::{CLUSTER_PROTOCOL_VERSION, SessionConnectRequest};
use consensus_tap::endpoint::{Endpoint, Transmit};
use consensus_tap::image::{ImageKey, ImageSink, Refused};
use consensus_tap::publication::{OfferError, PublicationId, PublicationParams, PublicationState};
use consensus_tap::wire::data::{BEGIN, HEADER_LENGTH};
use consensus_tap::wire::{DataHeader, FrameType, StatusMessage, VERSION};
use standby_node::cluster_client::Credentials;

/// Aeron's default.
const INGRESS_STREAM_ID: i32 = 101;
const EGRESS_STREAM_ID: i32 = 102;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client does with what the cluster sends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ears {
    /// It takes it.
    Open,
    /// It never polls: its receiver goes on to say where it stands, and that is always the same place.
    NeverPolled,
    /// Nothing of its receiver is heard any more.
    Dead,
}

/// A client with a session, driven by hand. Dropping it takes no leave.
pub(crate) struct WilfulClient {
    session: Session,
    socket: UdpSocket,
    start: Instant,
    pub(crate) ears: Ears,
    pub(crate) replies: u64,
}

impl WilfulClient {
    /// Begins to connect to the cluster whose leader takes ingress there.
    pub(crate) fn open(ingress: &str, credentials: Credentials, seed: u64) -> Self {
        let socket = nonblocking_socket();
        let endpoints: IngressEndpoints = format!("100={ingress}").parse().expect("endpoints");
        let egress = format!("aeron:udp?endpoint={}", socket.local_addr().expect("an address"));
        let mut config = ClusterClientConfig::new(endpoints, egress, seed);
        config.credentials = credentials;
        let session = Session::new(config, 0).expect("a configuration");
        Self { session, socket, start: Instant::now(), ears: Ears::Open, replies: 0 }
    }

    /// Connects, and returns why it could not.
    pub(crate) fn connect(&mut self) -> Result<(), SessionEnd> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while self.session.state() == ClientState::Connecting {
            assert!(Instant::now() < deadline, "neither a session nor a word");
            if self.poll() == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        self.session.end().cloned().map_or(Ok(()), Err)
    }

    /// Whether it has a session.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.state() == ClientState::Connected
    }

    /// Offers a message; false when the cluster takes no more now.
    pub(crate) fn offer(&mut self, message: &[u8]) -> bool {
        match self.session.offer(message) {
            Ok(_) => true,
            Err(OfferError::BackPressured | OfferError::NotConnected | OfferError::Closed) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Does what a client does, but for what its ears leave out.
    pub(crate) fn poll(&mut self) -> usize {
        let Self { session, socket, start, ears, replies } = self;
        let now_ns = start.elapsed().as_nanos() as u64;
        let mut work = 0;
        let mut datagram = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            work += 1;
            if *ears == Ears::Open || !is_egress_data(&datagram[..length]) {
                let mut listener = |_: i64, _: &[u8]| *replies += 1;
                session.on_datagram(&datagram[..length], from, now_ns, &mut listener);
            }
        }
        session.on_timeout(now_ns);
        while let Some((lookup, endpoint)) = session.poll_lookup() {
            session.on_resolved(lookup, endpoint.socket_addr(), now_ns);
        }
        session.poll_transmit(now_ns, &mut |run| {
            if *ears == Ears::Dead && is_egress_status(run.bytes) {
                return;
            }
            send(socket, run);
        });
        work
    }
}

/// A publication to the ingress, with whatever in it.
pub(crate) struct RawPublisher {
    endpoint: Endpoint,
    publication: PublicationId,
    socket: UdpSocket,
    start: Instant,
    position: i64,
}

impl RawPublisher {
    /// A publication with terms of `term_length` bytes; waits until the leader takes what it sends.
    pub(crate) fn connect(ingress: &str, session_id: i32, term_length: i32) -> Self {
        let mut publisher = Self::open(ingress, session_id, term_length);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while publisher.endpoint.publication_state(publisher.publication) != PublicationState::Connected {
            assert!(Instant::now() < deadline, "the ingress does not answer");
            publisher.poll();
            std::thread::sleep(Duration::from_micros(200));
        }
        publisher
    }

    /// As [`Self::connect`], without waiting.
    pub(crate) fn open(ingress: &str, session_id: i32, term_length: i32) -> Self {
        let start = Instant::now();
        let to: SocketAddr = ingress.parse().expect("an address");
        let mut endpoint = Endpoint::new(i64::from(session_id) | 1);
        let params =
            PublicationParams { term_length, ..PublicationParams::new(session_id, INGRESS_STREAM_ID) };
        let publication = endpoint.add_publication(params, to, 0);
        Self { endpoint, publication, socket: nonblocking_socket(), start, position: 0 }
    }

    /// Offers a whole message; false when the leader takes no more now.
    pub(crate) fn offer(&mut self, message: &[u8]) -> bool {
        match self.endpoint.offer(self.publication, message) {
            Ok(position) => {
                self.position = position;
                true
            }
            Err(OfferError::BackPressured) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Offers the first fragment of a message, or another one; never the last. False when the leader takes no
    /// more now.
    pub(crate) fn offer_fragment(&mut self, is_first: bool, term_length: i32) -> bool {
        const PAYLOAD_LENGTH: usize = 1_024;
        let header = DataHeader {
            frame_length: (HEADER_LENGTH + PAYLOAD_LENGTH) as i32,
            frame_type: FrameType::Data,
            flags: if is_first { BEGIN } else { 0 },
            term_offset: (self.position % i64::from(term_length)) as i32,
            session_id: 0,
            stream_id: INGRESS_STREAM_ID,
            term_id: (self.position / i64::from(term_length)) as i32,
            reserved_value: 0,
        };
        let mut frame = header.encode().to_vec();
        frame.resize(HEADER_LENGTH + PAYLOAD_LENGTH, 7);
        let taken = self.endpoint.offer_recorded(self.publication, &frame).expect("it is open");
        self.position += taken;
        taken > 0
    }

    /// Asks for a session whose answers go to `response_channel`; false when the leader takes no more now.
    pub(crate) fn request_session(&mut self, correlation_id: i64, response_channel: &str) -> bool {
        let mut request = Vec::new();
        SessionConnectRequest {
            correlation_id,
            response_stream_id: EGRESS_STREAM_ID,
            version: SemanticVersion::new(CLUSTER_PROTOCOL_VERSION.major(), 3, 0),
            response_channel,
            encoded_credentials: Secret(b""),
            client_info: "name=flood",
        }
        .encode(&mut request);
        self.offer(&request)
    }

    /// Offers a message to a session that is not there, or of a term that is not the leader's; false when the
    /// leader takes no more now.
    pub(crate) fn offer_astray(&mut self, cluster_session_id: i64, leadership_term_id: i64) -> bool {
        let message = SessionMessage { leadership_term_id, cluster_session_id, timestamp: 0, payload: &[] };
        self.offer(&message.header_bytes())
    }

    /// Sends what is due.
    pub(crate) fn poll(&mut self) {
        let Self { endpoint, socket, start, .. } = self;
        let now_ns = start.elapsed().as_nanos() as u64;
        let mut datagram = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            endpoint.on_datagram(&datagram[..length], from, now_ns, &mut NoSink);
        }
        endpoint.on_timeout(now_ns);
        while endpoint.poll_event().is_some() {}
        endpoint.poll_transmit(now_ns, &mut |run| send(socket, run));
    }

    /// Where answers may go: nobody reads there.
    pub(crate) fn deaf_channel(&self) -> String {
        format!("aeron:udp?endpoint={}", self.socket.local_addr().expect("an address"))
    }
}

/// Datagrams that are no frames, or frames that make no sense here: the kind goes with `index`.
pub(crate) fn malformed_datagram(index: u64) -> Vec<u8> {
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = random() as usize % 1_400;
    let mut datagram: Vec<u8> = (0..length.max(1)).map(|_| random() as u8).collect();
    if index.is_multiple_of(4) || datagram.len() < 40 {
        return datagram;
    }
    // A frame by its looks: version, type, stream of the ingress; the rest is as it came.
    let frame_types = [0u8, 1, 2, 3, 4, 5, 6, 7, 0x0b];
    let length = if index % 4 == 1 { datagram.len() as i32 } else { random() as i32 };
    datagram[..4].copy_from_slice(&length.to_le_bytes());
    datagram[4] = VERSION;
    datagram[5] = random() as u8;
    datagram[6] = frame_types[index as usize / 4 % frame_types.len()];
    datagram[7] = 0;
    if index % 4 != 3 {
        datagram[16..20].copy_from_slice(&INGRESS_STREAM_ID.to_le_bytes());
    }
    datagram
}

/// A socket that never waits.
pub(crate) fn nonblocking_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_nonblocking(true).expect("it can be told");
    socket
}

fn send(socket: &UdpSocket, run: Transmit<'_>) {
    for datagram in run.datagrams() {
        // What the kernel refuses is lost, as on any network.
        let _ = socket.send_to(datagram, run.to);
    }
}

fn is_egress_data(datagram: &[u8]) -> bool {
    let is_data = matches!(FrameType::of(datagram), Ok(FrameType::Data | FrameType::Pad));
    is_data && stream_of(datagram) == Some(EGRESS_STREAM_ID)
}

fn is_egress_status(datagram: &[u8]) -> bool {
    StatusMessage::parse(datagram).is_ok_and(|message| message.stream_id == EGRESS_STREAM_ID)
}

/// Of a data frame.
fn stream_of(datagram: &[u8]) -> Option<i32> {
    let bytes = datagram.get(16..20)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

/// Nobody sends to a publisher.
struct NoSink;

impl ImageSink for NoSink {
    fn append(&mut self, _key: ImageKey, _position: i64, _frames: &[u8]) -> Result<(), Refused> {
        Err(Refused)
    }
}
