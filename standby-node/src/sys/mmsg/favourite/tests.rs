use std::net::UdpSocket;
use std::time::Duration;

use super::*;
use crate::net::socket::{BufferLengths, SocketError};
use crate::net::{DatagramIo, Offload};
use crate::sys::mmsg::MmsgIo;
use crate::sys::readiness::Readiness;

/// Longer than it takes to be chosen.
const ROUNDS: u32 = LEAD_TO_WIN + 200;

fn node() -> MmsgIo {
    let buffers = BufferLengths { receive: Some(1 << 20), send: None };
    MmsgIo::new(NetworkSocket::open("test", "127.0.0.1:0", buffers).unwrap(), Offload::default())
}

fn peer_at(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind(address).unwrap();
    peer.set_nonblocking(true).unwrap();
    peer
}

fn peer() -> UdpSocket {
    peer_at("127.0.0.1:0")
}

/// Number and sender of what one call brings.
fn receive(node: &mut MmsgIo, limit: usize) -> Vec<(u32, SocketAddr)> {
    let mut received = Vec::new();
    node.receive(limit, |bytes, from| {
        received.push((u32::from_le_bytes(bytes.try_into().unwrap()), from));
    })
    .unwrap();
    received
}

/// Sends a number to the node and takes it there, within as few calls as a peer may have to wait for.
fn ping(node: &mut MmsgIo, peer: &UdpSocket, number: u32) {
    peer.send_to(&number.to_le_bytes(), node.local_addr()).unwrap();
    let received = (0..OTHERS_INTERVAL).find_map(|_| receive(node, 64).pop());
    assert_eq!(received, Some((number, peer.local_addr().unwrap())));
}

/// Answers the peer, who must hear it from the node's own address.
fn pong(node: &mut MmsgIo, peer: &UdpSocket) {
    node.send(peer.local_addr().unwrap(), b"pong", 4).unwrap();
    assert_eq!(node.flush().unwrap(), 1);
    let mut bytes = [0; 8];
    assert_eq!(peer.recv_from(&mut bytes).unwrap(), (4, node.local_addr()));
}

fn favourite(node: &MmsgIo) -> Option<SocketAddr> {
    node.favourite.peer
}

fn make_favourite(node: &mut MmsgIo, peer: &UdpSocket) {
    for number in 0..ROUNDS {
        ping(node, peer, number);
    }
    assert_eq!(favourite(node), peer.local_addr().ok());
}

#[test]
fn who_sends_most_is_chosen_and_answered_from_the_same_address() {
    let (mut node, peer) = (node(), peer());
    pong(&mut node, &peer);
    for number in 0..ROUNDS {
        ping(&mut node, &peer, number);
        pong(&mut node, &peer);
    }
    assert_eq!(favourite(&node), peer.local_addr().ok());
}

#[test]
fn nothing_is_lost_or_out_of_order_while_the_choice_is_made() {
    let (mut node, peer) = (node(), peer());
    let (mut sent, mut expected) = (0, 0);
    while expected < 4 * ROUNDS {
        // Up to 16 datagrams wait in one socket or the other all the time.
        while sent - expected < 16 {
            peer.send_to(&sent.to_le_bytes(), node.local_addr()).unwrap();
            sent += 1;
        }
        for (number, _) in receive(&mut node, 3) {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    assert_eq!(favourite(&node), peer.local_addr().ok());
}

#[test]
fn others_are_heard_and_answered_beside_the_favourite() {
    let (mut node, first, second) = (node(), peer(), peer());
    make_favourite(&mut node, &first);
    for number in 0..ROUNDS {
        ping(&mut node, &first, number);
        ping(&mut node, &second, number);
        pong(&mut node, &second);
        pong(&mut node, &first);
    }
    assert_eq!(favourite(&node), first.local_addr().ok(), "nobody is ahead of it");
}

#[test]
fn a_favourite_that_fills_every_call_leaves_room_for_others() {
    let (mut node, first, second) = (node(), peer(), peer());
    make_favourite(&mut node, &first);
    for number in 0..64_u32 {
        first.send_to(&number.to_le_bytes(), node.local_addr()).unwrap();
    }
    second.send_to(&7_u32.to_le_bytes(), node.local_addr()).unwrap();
    let calls =
        (1..).find(|_| receive(&mut node, 1).iter().any(|(_, from)| *from != first.local_addr().unwrap()));
    assert!(calls.unwrap() <= 1 + OTHERS_INTERVAL, "{calls:?}");
}

#[test]
fn a_new_peer_takes_the_place_of_one_that_is_silent() {
    let (mut node, first, second) = (node(), peer(), peer());
    make_favourite(&mut node, &first);
    make_favourite(&mut node, &second);
    ping(&mut node, &first, 1);
    pong(&mut node, &first);
    make_favourite(&mut node, &first);
}

#[test]
fn a_favourite_that_is_gone_harms_nothing_and_may_come_back() {
    let (mut node, first, second) = (node(), peer(), peer());
    make_favourite(&mut node, &first);
    let address = first.local_addr().unwrap();
    drop(first);
    for number in 0..8 {
        // Each meets the ICMP message of the one before.
        node.send(address, b"pong", 4).unwrap();
        assert_eq!(node.flush().unwrap(), 1);
        ping(&mut node, &second, number);
        pong(&mut node, &second);
    }
    let back = peer_at(&address.to_string());
    ping(&mut node, &back, 1);
    pong(&mut node, &back);
    assert_eq!(node.counters().datagrams_refused, 0);
}

#[test]
fn a_second_node_at_the_address_is_refused_as_ever() {
    let (mut node, peer) = (node(), peer());
    make_favourite(&mut node, &peer);
    let again = NetworkSocket::open("test", &node.local_addr().to_string(), BufferLengths::default());
    assert!(matches!(again, Err(SocketError::PortInUse { .. })), "{again:?}");
    let shares = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    shares.set_reuse_port(true).unwrap();
    assert!(shares.bind(&node.local_addr().into()).is_err(), "not even one that would share it");
}

#[test]
fn a_node_that_hears_at_any_address_has_no_favourite() {
    let socket = NetworkSocket::open("test", "0.0.0.0:0", BufferLengths::default()).unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], socket.local_addr().port()));
    let mut node = MmsgIo::new(socket, Offload::default());
    let peer = peer();
    for number in 0..ROUNDS {
        peer.send_to(&number.to_le_bytes(), to).unwrap();
        assert_eq!(receive(&mut node, 64).len(), 1);
    }
    assert_eq!(favourite(&node), None);
}

#[test]
fn bursts_of_the_favourite_are_merged_as_they_were_before() {
    let (mut node, mut sender) = (node(), node());
    let run = vec![7; 20 * 1000];
    for _ in 0..ROUNDS {
        sender.send(node.local_addr(), &run, 1000).unwrap();
        sender.flush().unwrap();
        let mut count = 0;
        while count < 20 {
            count += node.receive(64, |bytes, _| assert_eq!(bytes, &run[..1000])).unwrap();
        }
    }
    assert_eq!(favourite(&node), Some(sender.local_addr()));
    assert_eq!(node.favourite.receiver.merging, node.receiver.merging);
    assert_eq!(node.receiver.merging, Merging::On);
}

#[test]
fn the_favourite_and_all_others_wake_a_thread_that_sleeps() {
    let (mut node, favourite, other) = (node(), peer(), peer());
    make_favourite(&mut node, &favourite);
    for sender in [&favourite, &other] {
        let mut readiness = Readiness::default();
        node.sleep_at(&mut readiness);
        assert!(!readiness.wait(Duration::from_millis(1)));
        sender.send_to(&7_u32.to_le_bytes(), node.local_addr()).unwrap();
        assert!(readiness.wait(Duration::from_secs(10)));
        let received = (0..OTHERS_INTERVAL).find_map(|_| receive(&mut node, 64).pop());
        assert_eq!(received, sender.local_addr().ok().map(|from| (7, from)));
    }
}
