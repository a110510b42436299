//! What every [`DatagramIo`] has to do, checked on each over loopback.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::backend::{NetworkBackend, NetworkIo};
use super::fault::FaultyIo;
use super::socket::{BufferLengths, NetworkSocket};
use super::{DATAGRAM_LENGTH_MAX, DatagramIo, Offload, RUN_LENGTH_MAX};
use crate::sys::readiness::Readiness;

const MERGED: Offload = Offload { send: true, receive: true };
const PLAIN: Offload = Offload { send: false, receive: false };

/// One module of tests per way to open a socket. `open` gives `None` where the host lacks the backend.
macro_rules! conformance {
    ($($implementation:ident: $open:expr;)*) => {$(
        mod $implementation {
            conformance!(@tests $open;
                datagrams_of_every_length_arrive_whole_and_in_order
                runs_arrive_as_their_datagrams
                frames_sent_one_by_one_arrive_one_by_one
                a_limit_is_kept_and_what_is_beyond_it_comes_next
                every_peer_is_told_from_the_others
                nothing_is_lost_of_a_paced_stream_between_two_threads
                a_closed_port_harms_nothing
                an_empty_datagram_arrives_empty
                both_address_families_work
                what_cannot_be_sent_is_refused_at_once
                a_queue_that_is_never_flushed_sends_by_itself_when_full
                a_thread_that_sleeps_until_it_is_readable_wakes_for_a_datagram
            );
        }
    )*};
    (@tests $open:expr; $($test:ident)*) => {$(
        #[test]
        fn $test() {
            super::$test($open);
        }
    )*};
}

conformance! {
    mmsg: |address| super::open(super::NetworkBackend::Mmsg, super::MERGED, address);
    mmsg_without_offload: |address| super::open(super::NetworkBackend::Mmsg, super::PLAIN, address);
    io_uring: |address| super::open(super::NetworkBackend::IoUring, super::MERGED, address);
    io_uring_without_offload: |address| super::open(super::NetworkBackend::IoUring, super::PLAIN, address);
    faulty_without_faults: super::open_faulty;
}

fn open(backend: NetworkBackend, offload: Offload, address: &str) -> Option<NetworkIo> {
    if let Err(error) = backend.probe() {
        // Not through `eprintln!`, which a passing test keeps to itself.
        writeln!(io::stderr(), "SKIPPED: {error}").unwrap();
        return None;
    }
    let buffers = BufferLengths { receive: Some(2 << 20), send: Some(1 << 20) };
    let socket = NetworkSocket::open("test", address, buffers).unwrap();
    Some(backend.open(socket, offload).unwrap())
}

fn open_faulty(address: &str) -> Option<FaultyIo<NetworkIo>> {
    open(NetworkBackend::Mmsg, MERGED, address).map(|io| FaultyIo::new(io, 1))
}

/// Opens a socket, or leaves the test where the host lacks the backend.
macro_rules! open_or_skip {
    ($open:ident) => {
        match $open("127.0.0.1:0") {
            Some(io) => io,
            None => return,
        }
    };
}

/// Receives until `count` datagrams are there.
fn receive_all(io: &mut impl DatagramIo, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut received = Vec::new();
    let start = Instant::now();
    while received.len() < count {
        io.receive(1024, |bytes, from| received.push((bytes.to_vec(), from))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {count} arrived", received.len());
    }
    received
}

fn receives_nothing(io: &mut impl DatagramIo) -> bool {
    (0..20).all(|_| io.receive(16, |_, _| ()).unwrap() == 0)
}

/// Bytes that tell where in which datagram they belong.
fn pattern(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (number * 41)) as u8).collect()
}

fn datagrams_of_every_length_arrive_whole_and_in_order<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let lengths =
        [1, 2, 31, 32, 33, 1407, 1408, 1472, 1473, 8192, 16_384, 32_768, 65_000, DATAGRAM_LENGTH_MAX];
    for _ in 0..3 {
        for (number, length) in lengths.into_iter().enumerate() {
            sender.send(receiver.local_addr(), &pattern(number, length), length).unwrap();
            assert_eq!(sender.flush().unwrap(), 1);
            let received = receive_all(&mut receiver, 1);
            assert!(received == [(pattern(number, length), sender.local_addr())], "length {length}");
        }
    }
    let small = &lengths[..9];
    for (number, &length) in small.iter().enumerate() {
        sender.send(receiver.local_addr(), &pattern(number, length), length).unwrap();
    }
    assert_eq!(sender.flush().unwrap(), small.len());
    let received = receive_all(&mut receiver, small.len());
    for (number, &length) in small.iter().enumerate() {
        assert!(received[number].0 == pattern(number, length), "length {length}");
    }
}

fn a_thread_that_sleeps_until_it_is_readable_wakes_for_a_datagram<Io: DatagramIo>(
    open: impl Fn(&str) -> Option<Io>,
) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let mut readiness = Readiness::default();
    receiver.sleep_at(&mut readiness);
    // Not every one has a descriptor.
    if readiness.is_empty() {
        return;
    }
    for number in 0..3 {
        // Armed, and read to its end.
        assert!(receives_nothing(&mut receiver));
        assert!(!readiness.wait(Duration::from_millis(1)));
        sender.send(receiver.local_addr(), &pattern(number, 100), 100).unwrap();
        sender.flush().unwrap();
        assert!(readiness.wait(Duration::from_secs(10)));
        assert_eq!(receive_all(&mut receiver, 1).len(), 1);
    }
}

fn runs_arrive_as_their_datagrams<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let runs = [
        (2 * 1408, 1408),
        (10 * 1408 + 7, 1408),
        (46 * 1408, 1408),
        (RUN_LENGTH_MAX, 1408),
        (64 * 96 + 5, 96),
        (300, 1),
        (40_000, 20_000),
        (40_001, 20_000),
        (20_000, 9000),
        (100, 5000),
    ];
    for (number, (length, segment_length)) in runs.into_iter().enumerate() {
        let bytes = pattern(number, length);
        sender.send(receiver.local_addr(), &bytes, segment_length).unwrap();
        assert_eq!(sender.flush().unwrap(), length.div_ceil(segment_length));
        let received = receive_all(&mut receiver, length.div_ceil(segment_length));
        for (datagram, expected) in received.iter().zip(bytes.chunks(segment_length)) {
            assert!(datagram.0 == expected, "run {length} in pieces of {segment_length}");
        }
        assert!(receives_nothing(&mut receiver));
    }
    let total: u64 = runs.iter().map(|&(length, _)| length as u64).sum();
    assert_eq!(sender.counters().bytes_sent, total);
    assert_eq!(receiver.counters().bytes_received, total);
    assert_eq!(receiver.counters().datagrams_received, sender.counters().datagrams_sent);
}

fn frames_sent_one_by_one_arrive_one_by_one<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let lengths: Vec<usize> = (0..200).map(|number| if number % 7 == 3 { 96 } else { 1408 }).collect();
    for (number, &length) in lengths.iter().enumerate() {
        sender.send(receiver.local_addr(), &pattern(number, length), length).unwrap();
    }
    sender.flush().unwrap();
    let received = receive_all(&mut receiver, lengths.len());
    for (number, &length) in lengths.iter().enumerate() {
        assert!(received[number] == (pattern(number, length), sender.local_addr()), "frame {number}");
    }
}

fn a_limit_is_kept_and_what_is_beyond_it_comes_next<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let bytes = pattern(1, 100 * 100);
    sender.send(receiver.local_addr(), &bytes, 100).unwrap();
    sender.flush().unwrap();
    let mut received = Vec::new();
    assert_eq!(receiver.receive(0, |_, _| panic!("none was asked for")).unwrap(), 0);
    let start = Instant::now();
    while received.len() < bytes.len() {
        let mut count = 0;
        let returned = receiver.receive(7, |bytes, _| {
            count += 1;
            received.extend_from_slice(bytes);
        });
        assert_eq!(returned.unwrap(), count);
        assert!(count <= 7, "{count}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(received == bytes);
}

fn every_peer_is_told_from_the_others<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let mut io = open_or_skip!(open);
    let peers: Vec<UdpSocket> = (0..40).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for round in 0..5_u8 {
        for (number, peer) in peers.iter().enumerate() {
            peer.send_to(&[round, number as u8], io.local_addr()).unwrap();
        }
    }
    let mut rounds: HashMap<SocketAddr, Vec<u8>> = HashMap::new();
    for (bytes, from) in receive_all(&mut io, 5 * peers.len()) {
        let peer = &peers[usize::from(bytes[1])];
        assert_eq!(from, peer.local_addr().unwrap());
        rounds.entry(from).or_default().push(bytes[0]);
        io.send(from, &bytes, bytes.len()).unwrap();
    }
    assert!(rounds.values().all(|rounds| rounds == &[0, 1, 2, 3, 4]));
    assert_eq!(io.flush().unwrap(), 5 * peers.len());
    for (number, peer) in peers.iter().enumerate() {
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for round in 0..5 {
            let mut bytes = [0; 8];
            assert_eq!(peer.recv_from(&mut bytes).unwrap(), (2, io.local_addr()));
            assert_eq!(bytes[..2], [round, number as u8]);
        }
    }
}

fn nothing_is_lost_of_a_paced_stream_between_two_threads<Io: DatagramIo + Send>(
    open: impl Fn(&str) -> Option<Io> + Sync,
) {
    const COUNT: u64 = 60_000;
    const WINDOW: u64 = 64;
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let received = &AtomicU64::new(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        // Both ends run in threads other than the one that opened them.
        let to = receiver.local_addr();
        scope.spawn(move || {
            let mut frame = pattern(0, 1408);
            for number in 0..COUNT {
                frame[..8].copy_from_slice(&number.to_ne_bytes());
                sender.send(to, &frame, frame.len()).unwrap();
                if number % 16 == 15 {
                    sender.flush().unwrap();
                }
                while number + 1 - received.load(Ordering::Acquire) >= WINDOW {
                    sender.flush().unwrap();
                    std::thread::yield_now();
                    assert!(Instant::now() < deadline, "stuck at {number} of {COUNT}");
                }
            }
            sender.flush().unwrap();
        });
        scope.spawn(move || {
            let mut next = 0;
            while next < COUNT {
                let work = receiver.receive(64, |bytes, _| {
                    assert_eq!(bytes.len(), 1408);
                    assert_eq!(u64::from_ne_bytes(bytes[..8].try_into().unwrap()), next);
                    next += 1;
                });
                received.store(next, Ordering::Release);
                if work.unwrap() == 0 {
                    std::thread::yield_now();
                }
                assert!(Instant::now() < deadline, "{next} of {COUNT} arrived");
            }
        });
    });
}

fn a_closed_port_harms_nothing<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for number in 0..50 {
        sender.send(closed, b"nobody", 6).unwrap();
        sender.send(receiver.local_addr(), &pattern(number, 100), 100).unwrap();
        sender.flush().unwrap();
        assert!(receives_nothing(&mut sender));
    }
    let received = receive_all(&mut receiver, 50);
    assert!((0..50).all(|number| received[number].0 == pattern(number, 100)));
}

fn an_empty_datagram_arrives_empty<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let mut io = open_or_skip!(open);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in [&b""[..], b"after"] {
        peer.send_to(bytes, io.local_addr()).unwrap();
    }
    let from = peer.local_addr().unwrap();
    assert_eq!(receive_all(&mut io, 2), [(vec![], from), (b"after".to_vec(), from)]);
}

fn both_address_families_work<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Some(mut sender) = open(address) else { return };
        let Some(mut receiver) = open(address) else { return };
        let bytes = pattern(3, 5 * 1408);
        sender.send(receiver.local_addr(), &bytes, 1408).unwrap();
        sender.flush().unwrap();
        let received = receive_all(&mut receiver, 5);
        assert!(received.iter().all(|(_, from)| *from == sender.local_addr()), "{address}");
        assert!(received.iter().flat_map(|(bytes, _)| bytes).eq(&bytes), "{address}");
    }
}

fn what_cannot_be_sent_is_refused_at_once<Io: DatagramIo>(open: impl Fn(&str) -> Option<Io>) {
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    let long = vec![0; DATAGRAM_LENGTH_MAX + 1];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let other_family = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9));
    for (to, bytes) in [(receiver.local_addr(), &long[..]), (nowhere, b"x"), (other_family, b"x")] {
        let error = sender.send(to, bytes, bytes.len()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
    sender.send(receiver.local_addr(), b"good", 4).unwrap();
    sender.flush().unwrap();
    assert_eq!(receive_all(&mut receiver, 1)[0].0, b"good");
}

fn a_queue_that_is_never_flushed_sends_by_itself_when_full<Io: DatagramIo>(
    open: impl Fn(&str) -> Option<Io>,
) {
    const COUNT: usize = 2000;
    let (mut sender, mut receiver) = (open_or_skip!(open), open_or_skip!(open));
    for number in 0..COUNT {
        sender.send(receiver.local_addr(), &pattern(number, 1408), 1408).unwrap();
    }
    assert_eq!(sender.flush().unwrap(), COUNT);
    assert_eq!(sender.counters().datagrams_sent, COUNT as u64);
    // The receive buffer holds as many as it can, the first ones.
    let mut received = 0;
    let mut check = |bytes: &[u8], _| {
        assert!(bytes == pattern(received, 1408), "datagram {received}");
        received += 1;
    };
    while receiver.receive(1024, &mut check).unwrap() > 0 {}
    assert!((1..=COUNT).contains(&received), "{received}");
}
