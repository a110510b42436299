//! A few endpoints on a network in memory, in virtual time, that may lose what it carries.

use std::net::SocketAddr;

use crate::endpoint::{Endpoint, EndpointEvent, Inbox};
use crate::image::{ImageKey, ImageSink, Refused, UnavailableReason};
use crate::random::next_random;

/// Time of one step.
pub(super) const STEP_NS: u64 = 1_000_000;
pub(super) const SECOND_NS: u64 = 1_000_000_000;

pub(super) struct TestNetwork {
    pub(super) now_ns: u64,
    nodes: Vec<Node>,
    /// Of a thousand datagrams, so many are lost.
    loss_per_mille: u64,
    random: u64,
}

struct Node {
    address: SocketAddr,
    endpoint: Endpoint,
    inbox: Inbox,
    sources: Vec<(ImageKey, SocketAddr)>,
    is_cut_off: bool,
}

/// What a node's owner learns in a step.
pub(super) enum Incoming {
    Message { key: ImageKey, from: SocketAddr, bytes: Vec<u8> },
    Ended { key: ImageKey, reason: UnavailableReason },
}

struct Sink<'a>(&'a mut Inbox);

impl ImageSink for Sink<'_> {
    fn append(&mut self, key: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        if self.0.on_frames(key, position, frames) { Ok(()) } else { Err(Refused) }
    }
}

impl TestNetwork {
    pub(super) fn new(node_count: usize, loss_per_mille: u64, seed: u64) -> Self {
        let node = |index| Node {
            address: address(index),
            endpoint: Endpoint::new(index as i64 + 1),
            inbox: Inbox::default(),
            sources: Vec::new(),
            is_cut_off: false,
        };
        let nodes = (0..node_count).map(node).collect();
        Self { now_ns: SECOND_NS, nodes, loss_per_mille, random: seed }
    }

    pub(super) fn endpoint(&mut self, node: usize) -> &mut Endpoint {
        &mut self.nodes[node].endpoint
    }

    /// Loses everything to and from a node, or no longer.
    pub(super) fn cut_off(&mut self, node: usize, is_cut_off: bool) {
        self.nodes[node].is_cut_off = is_cut_off;
    }

    /// Lets a millisecond pass; each node gets what was sent to it.
    pub(super) fn step(&mut self) -> Vec<(usize, Incoming)> {
        self.now_ns += STEP_NS;
        let now_ns = self.now_ns;
        let mut datagrams = Vec::new();
        let mut incoming = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.endpoint.on_timeout(now_ns);
            while let Some(event) = node.endpoint.poll_event() {
                match event {
                    EndpointEvent::ImageAvailable { key, source, .. } => node.sources.push((key, source)),
                    EndpointEvent::ImageUnavailable { key, reason, .. } => {
                        node.inbox.close(key);
                        incoming.push((index, Incoming::Ended { key, reason }));
                    }
                    EndpointEvent::PublicationRejected { .. } => {}
                }
            }
            let from = node.address;
            node.endpoint.poll_transmit(now_ns, &mut |run| {
                datagrams.extend(run.datagrams().map(|bytes| (from, run.to, bytes.to_vec())));
            });
        }
        for (from, to, bytes) in datagrams {
            let is_lost = next_random(&mut self.random) % 1000 < self.loss_per_mille;
            let is_open = |address| self.nodes.iter().any(|node| node.address == address && !node.is_cut_off);
            if is_lost || !is_open(from) || !is_open(to) {
                continue;
            }
            let Some(index) = self.nodes.iter().position(|node| node.address == to) else { continue };
            let Node { endpoint, inbox, sources, .. } = &mut self.nodes[index];
            endpoint.on_datagram(&bytes, from, now_ns, &mut Sink(inbox));
            inbox.drain(|key, bytes| {
                let from = sources.iter().find(|(known, _)| *known == key).expect("it was announced").1;
                incoming.push((index, Incoming::Message { key, from, bytes: bytes.to_vec() }));
            });
        }
        incoming
    }
}

pub(super) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 9000 + node as u16))
}
