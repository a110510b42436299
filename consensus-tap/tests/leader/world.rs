//! Clients, the node that leads them, the log that outlives it, and the network between.

use std::net::SocketAddr;

use consensus_tap::client::{
    ClientState, ClusterClient, ClusterClientConfig, EgressListener, IngressEndpoints,
};

use super::node::{Log, Node, node_address};
use crate::network::Network;
use crate::rng::{Rng, fill};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
pub(crate) const NODE_COUNT: i32 = 3;

pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) rng: Rng,
    pub(crate) network: Network,
    pub(crate) log: Log,
    pub(crate) node: Option<Node>,
    pub(crate) next_term: i64,
    pub(crate) clients: Vec<Client>,
}

pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) client: ClusterClient,
    pub(crate) heard: Heard,
    /// How many messages were offered and taken; they are numbered.
    pub(crate) offered_count: u64,
}

/// Numbers of replies.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) numbers: Vec<u64>,
    pub(crate) damaged_count: u64,
}

impl EgressListener for Heard {
    fn on_message(&mut self, _timestamp: i64, payload: &[u8]) {
        let head = payload.first_chunk().expect("a number stands first");
        let number = u64::from_le_bytes(*head);
        self.damaged_count += u64::from(payload != message(number, payload.len()));
        self.numbers.push(number);
    }
}

fn message(number: u64, length: usize) -> Vec<u8> {
    let mut payload = fill(number, length.max(8));
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

fn ingress_endpoints() -> IngressEndpoints {
    let endpoint = |id| format!("{id}={}", node_address(id));
    (0..NODE_COUNT).map(endpoint).collect::<Vec<_>>().join(",").parse().expect("endpoints")
}

impl World {
    pub(crate) fn new(seed: u64, client_count: usize) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::new(Rng::new(rng.next()));
        let now_ns = SECOND;
        let client = |index: usize| {
            let address = SocketAddr::from(([10, 0, 9, index as u8 + 1], 7_000));
            let channel = format!("aeron:udp?endpoint={address}");
            let seed = seed * 100 + index as u64;
            let mut config = ClusterClientConfig::new(ingress_endpoints(), channel, seed);
            config.ingress_term_length = 64 * 1024;
            config.new_leader_timeout_ns = Some(60 * SECOND);
            config.message_timeout_ns = 30 * SECOND;
            let client = ClusterClient::new(config, now_ns).expect("a configuration");
            Client { address, client, heard: Heard::default(), offered_count: 0 }
        };
        let clients = (0..client_count).map(client).collect();
        let mut world = Self { now_ns, rng, network, log: Log::default(), node: None, next_term: 0, clients };
        world.elect(0);
        world
    }

    /// The node leads from now on.
    pub(crate) fn elect(&mut self, id: i32) {
        self.node = Some(Node::new(id, self.next_term, &self.log, &mut self.rng));
        self.next_term += self.rng.between(1, 10) as i64;
    }

    /// The leader dies. What it committed survives, and of the rest whatever frames were on their way to the
    /// disk.
    pub(crate) fn kill(&mut self) {
        let node = self.node.take().expect("somebody leads");
        let boundaries = self.log.boundaries(node.commit_position);
        let end = self.rng.pick(&boundaries);
        self.log.bytes.truncate(end as usize);
        self.log.is_full = false;
    }

    /// Lets a millisecond pass.
    pub(crate) fn step(&mut self) {
        self.now_ns += MS;
        let now_ns = self.now_ns;
        while let Some(datagram) = self.network.receive(now_ns) {
            if let Some(node) = self.node.as_mut().filter(|node| node_address(node.id) == datagram.to) {
                node.on_datagram(&datagram.bytes, datagram.from, now_ns, &mut self.log);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == datagram.to)
            {
                client.client.on_datagram(&datagram.bytes, datagram.from, now_ns, &mut client.heard);
            }
        }
        if let Some(node) = &mut self.node {
            node.step(now_ns, &mut self.log, &mut self.rng, &mut self.network);
        }
        for Client { address, client, .. } in &mut self.clients {
            client.on_timeout(now_ns);
            while let Some((lookup, endpoint)) = client.poll_lookup() {
                client.on_resolved(lookup, endpoint.socket_addr(), now_ns);
            }
            client.poll_transmit(now_ns, &mut |run| {
                run.datagrams().for_each(|bytes| self.network.send(*address, run.to, bytes, now_ns));
            });
        }
    }

    pub(crate) fn run_for(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            self.step();
        }
    }

    /// Steps until something is so; false when it is not within `duration_ns`.
    pub(crate) fn run_until(&mut self, duration_ns: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns && !is_so(self) {
            self.step();
        }
        is_so(self)
    }

    pub(crate) fn are_connected(&self) -> bool {
        self.clients.iter().all(|client| client.client.state() == ClientState::Connected)
    }

    /// One of the clients offers a message.
    pub(crate) fn offer(&mut self, length_max: u64) {
        let index = self.rng.below(self.clients.len() as u64) as usize;
        let client = &mut self.clients[index];
        let payload = message(client.offered_count, self.rng.between(8, length_max) as usize);
        if client.client.offer(&payload).is_ok() {
            client.offered_count += 1;
        }
    }
}
