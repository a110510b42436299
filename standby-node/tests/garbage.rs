//! Any bytes at all on the node's socket: the shipped binary counts them, keeps its memory, answers its operator,
//! and ends in order. No member is there, so nothing that arrives is wanted.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use consensus_tap::wire::data::UNFRAGMENTED;
use consensus_tap::wire::{
    DataHeader, ErrorFrame, FrameType, Nak, Rttm, Setup, StatusMessage, error_frame, rttm, status_message,
};
use support::node::{Node, NodeFlags};

/// Streams that the node listens to whatever its state: consensus always, the others while it has a source.
const STREAMS: [i32; 4] = [108, 100, 20, 10];
const DATAGRAM_COUNT: usize = 200_000;
/// After so many the sender gives the node a moment: what its socket drops proves nothing.
const BURST: usize = 64;
/// What a flood may add to the node's own memory.
const GROWTH_MAX_KIB: u64 = 64 * 1024;

#[test]
fn a_flood_of_garbage_is_counted_and_costs_no_memory() {
    for network in ["mmsg", "io-uring"] {
        let mut node =
            Node::start(NodeFlags { extra: vec!["--network".into(), network.into()], ..Default::default() });
        let Some(address) = node.local_addr_or_exit() else {
            // Where the kernel has no io_uring the node says so in words; the default backend is always there.
            assert_eq!(network, "io-uring", "{}", node.output());
            assert!(node.output().contains("network = \"io-uring\""), "{}", node.output());
            continue;
        };
        flood_and_look(node, address);
    }
}

fn flood_and_look(mut node: Node, address: SocketAddr) {
    let before = node.anonymous_kib();
    let received_before = node.number("invalid_packets");
    assert_eq!(received_before, 0);

    let mut garbage = Garbage::new(7);
    let sockets: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    for index in 0..DATAGRAM_COUNT {
        let datagram = garbage.datagram();
        // The kernel may be out of buffers for a moment; one datagram more or less is nothing.
        let _ = sockets[index % sockets.len()].send_to(&datagram, address);
        if index % BURST == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
        if index % 50_000 == 49_999 {
            assert!(node.is_running(), "{}", node.output());
        }
    }

    let status = node.await_status("counted the garbage", |status| {
        status["invalid_packets"].as_i64().is_some_and(|count| count > 1_000)
    });
    assert_eq!(status["state"], "BACKUP_QUERY", "nobody who may not has become a source: {status:#}");
    assert_eq!(
        status["recorded_position"].as_i64(),
        Some(-1),
        "nothing is recorded of strangers: {status:#}"
    );
    let grown = node.anonymous_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "anonymous memory grew by {grown} KiB");
    let code = node.terminate();
    assert_eq!(code, Some(0), "{}", node.output());
    assert!(!node.output().contains("panicked"), "{}", node.output());
}

/// Makes datagrams: noise, frames as they should be with numbers as they should not, and such frames falsified.
struct Garbage {
    state: u64,
}

impl Garbage {
    fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Mostly of a few sessions, so that images are made, filled and starved; sometimes of any.
    fn session_id(&mut self) -> i32 {
        if self.below(4) == 0 { self.next() as i32 } else { self.below(64) as i32 }
    }

    fn stream_id(&mut self) -> i32 {
        match self.below(8) {
            at @ 0..4 => STREAMS[at as usize],
            4 => self.next() as i32,
            _ => STREAMS[0],
        }
    }

    /// A number that a field may hold, or one at its limit.
    fn number(&mut self, likely: i32) -> i32 {
        match self.below(8) {
            0 => i32::MIN,
            1 => i32::MAX,
            2 => -1,
            3 => self.next() as i32,
            _ => likely,
        }
    }

    fn datagram(&mut self) -> Vec<u8> {
        let mut datagram = match self.below(10) {
            0 => {
                let length = self.below(2_000);
                (0..length).map(|_| self.next() as u8).collect()
            }
            1 | 2 => self.setup(),
            3..6 => self.data(),
            _ => self.control(),
        };
        if self.below(4) == 0 && !datagram.is_empty() {
            for _ in 0..=self.below(3) {
                let at = self.below(datagram.len() as u64) as usize;
                datagram[at] ^= 1 << self.below(8);
            }
        }
        if self.below(16) == 0 {
            datagram.truncate(self.below(datagram.len() as u64 + 1) as usize);
        }
        datagram
    }

    fn setup(&mut self) -> Vec<u8> {
        let term_length = 1 << (16 + self.below(15));
        let setup = Setup {
            flags: self.next() as u8,
            term_offset: self.number(0),
            session_id: self.session_id(),
            stream_id: self.stream_id(),
            initial_term_id: self.number(0),
            active_term_id: self.number(0),
            term_length: self.number(term_length),
            mtu: self.number(1408),
            ttl: self.number(0),
        };
        setup.encode().to_vec()
    }

    fn data(&mut self) -> Vec<u8> {
        let length = 32 * (1 + self.below(43)) as usize;
        let header = DataHeader {
            frame_length: self.number(length as i32),
            flags: if self.below(2) == 0 { UNFRAGMENTED } else { self.next() as u8 },
            frame_type: if self.below(8) == 0 { FrameType::Pad } else { FrameType::Data },
            term_offset: 32 * self.below(4096) as i32,
            session_id: self.session_id(),
            stream_id: self.stream_id(),
            term_id: self.number(0),
            reserved_value: self.next() as i64,
        };
        let mut datagram = header.encode().to_vec();
        datagram.resize(length, self.next() as u8);
        datagram
    }

    fn control(&mut self) -> Vec<u8> {
        let (session_id, stream_id) = (self.session_id(), self.stream_id());
        match self.below(4) {
            0 => {
                let length = self.number(1408);
                Nak { session_id, stream_id, term_id: self.number(0), term_offset: self.number(0), length }
                    .encode()
                    .to_vec()
            }
            1 => {
                let message = StatusMessage {
                    flags: if self.below(4) == 0 { status_message::SEND_SETUP } else { 0 },
                    session_id,
                    stream_id,
                    consumption_term_id: self.number(0),
                    consumption_term_offset: self.number(0),
                    receiver_window: self.number(128 << 10),
                    receiver_id: self.next() as i64,
                    group_tag: (self.below(4) == 0).then_some(7),
                };
                let (bytes, length) = message.encode();
                bytes[..length].to_vec()
            }
            2 => Rttm {
                flags: if self.below(2) == 0 { rttm::REPLY } else { 0 },
                session_id,
                stream_id,
                echo_timestamp_ns: self.next() as i64,
                reception_delta_ns: self.next() as i64,
                receiver_id: 0,
            }
            .encode()
            .to_vec(),
            _ => {
                let text = [b'x'; 300];
                let mut bytes = [0; error_frame::ERROR_LENGTH_MAX];
                let error = ErrorFrame {
                    session_id,
                    stream_id,
                    receiver_id: self.next() as i64,
                    group_tag: None,
                    error_code: self.number(error_frame::IMAGE_REJECTED),
                    text: &text[..self.below(300) as usize],
                };
                let length = error.encode(&mut bytes);
                bytes[..length].to_vec()
            }
        }
    }
}
