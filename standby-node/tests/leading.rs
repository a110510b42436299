//! A node that begins a cluster of its own and leads it, with clients of ours.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use standby_node::agent::idle::{IdleStrategy, Idler};
use standby_node::cluster_client::{ClusterClient, OfferError, config};

use crate::support::node::{Node, NodeFlags, TIMEOUT};

mod support;

/// Bytes of an `audit`'s reply: the message's first 16, its hash, its count.
const REPLY_LENGTH: usize = 32;

fn bootstrapped(extra: &[&str]) -> Node {
    let mut flags = vec!["--bootstrap".to_owned(), "--log-term-length".to_owned(), "1m".to_owned()];
    flags.extend(extra.iter().map(|flag| (*flag).to_owned()));
    Node::running(NodeFlags { extra: flags, ..NodeFlags::default() })
}

/// Where clients reach it.
fn ingress_endpoint(node: &Node) -> String {
    let output = node.output();
    let (_, rest) = output.rsplit_once("ingress_addr=").expect("it tells where");
    rest.split_whitespace().next().expect("an address").to_owned()
}

fn connect(node: &Node) -> ClusterClient {
    node.await_output("leading member_id=100", 1);
    let members = format!("100={}", ingress_endpoint(node));
    ClusterClient::connect(config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read"))
        .unwrap_or_else(|error| panic!("{error}\n{}", node.output()))
}

/// A message that `audit` interprets: command and send time, then a payload of its own.
fn message(command: u64, number: u64, length: usize) -> Vec<u8> {
    let mut message = command.to_le_bytes().to_vec();
    message.extend_from_slice(&number.to_le_bytes());
    message.extend_from_slice(&number.wrapping_mul(31).to_le_bytes());
    message.extend_from_slice(&5u64.to_le_bytes());
    message.resize(length.max(32), number as u8 | 1);
    message
}

/// Sends so many messages of various lengths, some of which set timers or are offered on, and expects a reply to each,
/// in order and with rising counts. Returns the last count.
fn exchange(client: &mut ClusterClient, count: u64, window: usize) -> i64 {
    let mut waiting = VecDeque::new();
    let mut last_count = 0;
    let mut idler = Idler::new(IdleStrategy::BACKOFF);
    let deadline = Instant::now() + TIMEOUT;
    let mut number = 0;
    while number < count || !waiting.is_empty() {
        assert!(Instant::now() < deadline, "{} replies are missing of {number}", waiting.len());
        let mut work = 0;
        if number < count && waiting.len() < window {
            let next = message(
                if number % 20 == 3 { number / 20 % 3 } else { 0 },
                number,
                number as usize * 37 % 4000,
            );
            match client.offer(&next) {
                Ok(_) => {
                    waiting.push_back(next);
                    number += 1;
                    work += 1;
                }
                Err(OfferError::BackPressured) => {}
                Err(error) => panic!("message {number}: {error}"),
            }
        }
        let polled = client.poll(&mut |_: i64, reply: &[u8]| {
            assert_eq!(reply.len(), REPLY_LENGTH);
            let sent = waiting.pop_front().expect("a reply to nothing");
            assert_eq!(reply[..16], sent[..16], "replies come in order");
            let count = i64::from_le_bytes(reply[24..].try_into().expect("8 bytes"));
            assert!(count > last_count, "{count} after {last_count}");
            last_count = count;
        });
        work += polled.expect("the session lives");
        idler.idle(work);
    }
    last_count
}

#[test]
fn a_node_of_its_own_answers_a_client_in_order() {
    for extra in [&["--layout", "shared"][..], &["--layout", "dedicated", "--idle", "backoff"]] {
        for level in ["0", "1"] {
            let mut node = bootstrapped(&[extra, &["--file-sync-level", level]].concat());
            let mut client = connect(&node);
            let count = exchange(&mut client, 2_000, 200);
            assert!(count > 2_000, "timers and service messages count too");
            client.close(Duration::from_secs(1)).expect("it ends in order");
            node.await_output("session closed", 1);
            assert_eq!(node.terminate(), Some(0), "{}", node.output());
        }
    }
}
