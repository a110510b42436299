//! A client, a cluster and the network between them, in virtual time.

use std::net::SocketAddr;

use consensus_tap::client::{ClientState, ClusterClient, ClusterClientConfig};
use consensus_tap::publication::OfferError;

use super::cluster::Cluster;
use super::listener::Heard;
use super::network::Network;
use super::rng::{Rng, fill};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
/// Of all that is sent to the cluster, the number stands first.
pub(crate) const NUMBER_LENGTH: usize = 8;

pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) network: Network,
    pub(crate) cluster: Cluster,
    pub(crate) client: ClusterClient,
    pub(crate) heard: Heard,
    /// Names do not resolve.
    pub(crate) is_without_names: bool,
    /// What was offered and taken, oldest first.
    pub(crate) offered: Vec<Vec<u8>>,
}

impl World {
    /// A world in which nothing is lost, and a client with what `configure` makes of its configuration.
    pub(crate) fn new(cluster: Cluster, configure: impl FnOnce(&mut ClusterClientConfig)) -> Self {
        let mut network = Network::new(Rng::new(1));
        network.heal();
        Self::with(cluster, network, configure)
    }

    pub(crate) fn with(
        cluster: Cluster,
        network: Network,
        configure: impl FnOnce(&mut ClusterClientConfig),
    ) -> Self {
        let endpoints = cluster.ingress_endpoints().parse().expect("endpoints");
        let mut config =
            ClusterClientConfig::new(endpoints, format!("aeron:udp?endpoint={}", client_address()), 9);
        configure(&mut config);
        let now_ns = SECOND;
        let client = ClusterClient::new(config, now_ns).expect("a configuration");
        let heard = Heard::default();
        let offered = Vec::new();
        Self { now_ns, network, cluster, client, heard, is_without_names: false, offered }
    }

    /// Lets a millisecond pass.
    pub(crate) fn step(&mut self) {
        self.now_ns += MS;
        let now_ns = self.now_ns;
        while let Some(datagram) = self.network.receive(now_ns) {
            if datagram.to == client_address() {
                self.client.on_datagram(&datagram.bytes, datagram.from, now_ns, &mut self.heard);
            } else {
                let mut members = self.cluster.members.iter_mut();
                let member = members.find(|member| member.address == datagram.to);
                if let Some(member) = member {
                    member.on_datagram(&datagram.bytes, datagram.from, now_ns);
                }
            }
        }
        self.client.on_timeout(now_ns);
        while let Some((lookup, endpoint)) = self.client.poll_lookup() {
            let address = endpoint.socket_addr().filter(|_| !self.is_without_names);
            self.client.on_resolved(lookup, address, now_ns);
        }
        let network = &mut self.network;
        self.client.poll_transmit(now_ns, &mut |run| {
            run.datagrams().for_each(|bytes| network.send(client_address(), run.to, bytes, now_ns));
        });
        self.cluster.on_timeout(now_ns, network);
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

    /// Waits for the session.
    pub(crate) fn connect(&mut self) {
        assert!(self.run_until(5 * SECOND, Self::is_connected), "{:?}", self.client.end());
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.state() == ClientState::Connected
    }

    /// Everything that was offered is in the log, and everything was answered, in order.
    pub(crate) fn expect_all_answered(&self) {
        // Not `assert_eq`: megabytes of numbers tell nothing.
        assert!(self.cluster.sessions[0].log == self.offered, "the log holds something else");
        assert!(self.heard.messages == self.offered, "{} answers", self.heard.messages.len());
    }

    /// Offers a message of this length; the next in the row.
    pub(crate) fn offer(&mut self, length: usize) -> Result<i64, OfferError> {
        let number = self.offered.len() as u64;
        let mut payload = fill(number, length.max(NUMBER_LENGTH));
        payload[..NUMBER_LENGTH].copy_from_slice(&number.to_le_bytes());
        let result = self.client.offer(&payload);
        if result.is_ok() {
            self.offered.push(payload);
        }
        result
    }
}

pub(crate) fn client_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 9, 9], 7000))
}
