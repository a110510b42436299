//! A server, its clients, and the network between them, in virtual time.

use std::net::SocketAddr;

use consensus_tap::archive::server::ArchiveServerConfig;
use consensus_tap::authentication::{AcceptAll, Authenticator};
use consensus_tap::codec::archive_control::ControlResponseCode;
use consensus_tap::serving::{Serving, ServingAction, ServingConfig};

use crate::client::Client;
use crate::network::Network;
use crate::rng::Rng;
use crate::store::MemoryStore;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
/// The counter that may bound replays.
pub(crate) const LIMIT_COUNTER_ID: i32 = 61;
/// The server's subscriptions, which are there with nobody connected.
pub(crate) const SUBSCRIPTION_COUNT: usize = 3;
pub(crate) const ARCHIVE_ID: i64 = 4_711;

pub(crate) struct Rig {
    pub(crate) now_ns: u64,
    pub(crate) network: Network,
    pub(crate) server: SocketAddr,
    pub(crate) serving: Serving<MemoryStore>,
    pub(crate) store: MemoryStore,
    pub(crate) clients: Vec<Client>,
    pub(crate) reports: Vec<String>,
    /// Names that do not resolve.
    pub(crate) unknown_host: Option<&'static str>,
    /// Whether nobody looks names up.
    pub(crate) is_deaf: bool,
}

impl Rig {
    /// A server that lets everybody in, over a network that loses nothing.
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self::with(store, ArchiveServerConfig::default(), Box::new(AcceptAll), quiet_network())
    }

    pub(crate) fn with(
        store: MemoryStore,
        config: ArchiveServerConfig,
        authenticator: Box<dyn Authenticator>,
        network: Network,
    ) -> Self {
        let config =
            ArchiveServerConfig { archive_id: ARCHIVE_ID, limit_counter_id: LIMIT_COUNTER_ID, ..config };
        Self {
            now_ns: SECOND,
            network,
            server: SocketAddr::from(([10, 0, 0, 1], 8_010)),
            serving: Serving::new(
                ServingConfig { archive: config, ..ServingConfig::default() },
                authenticator,
                Box::new(AcceptAll),
                7,
            ),
            store,
            clients: Vec::new(),
            reports: Vec::new(),
            unknown_host: None,
            is_deaf: false,
        }
    }

    pub(crate) fn add_client(&mut self) -> usize {
        let number = self.clients.len() as u8 + 1;
        self.clients.push(Client::new(number, self.server, self.now_ns));
        self.clients.len() - 1
    }

    /// Adds a client and opens its session; returns it and the session's id.
    pub(crate) fn connect(&mut self) -> (usize, i64) {
        let client = self.add_client();
        self.clients[client].send_connect(1, b"");
        let (code, session_id, text) = self.answer(client, 1);
        assert_eq!(code, ControlResponseCode::Ok, "{text}");
        (client, session_id)
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(
        &mut self,
        client: usize,
        correlation_id: i64,
    ) -> (ControlResponseCode, i64, String) {
        self.run_until("an answer", |rig| !rig.clients[client].answers(correlation_id).is_empty());
        self.clients[client].answers(correlation_id).remove(0)
    }

    pub(crate) fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline_ns = self.now_ns + 120 * SECOND;
        while !is_so(self) {
            assert!(self.now_ns < deadline_ns, "not in time: {what}");
            self.step(MS / 2);
        }
    }

    pub(crate) fn run_for(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            self.step(MS / 2);
        }
    }

    pub(crate) fn step(&mut self, duration_ns: u64) {
        self.now_ns += duration_ns;
        let now_ns = self.now_ns;
        while let Some(datagram) = self.network.receive(now_ns) {
            if datagram.to == self.server {
                self.serving.on_datagram(&datagram.bytes, datagram.from, now_ns, &self.store);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == datagram.to)
            {
                client.on_datagram(&datagram.bytes, datagram.from, now_ns);
            }
        }
        self.serving.on_timeout(now_ns, &self.store);
        while let Some(action) = self.serving.poll_action() {
            match action {
                ServingAction::Resolve { .. } if self.is_deaf => {}
                ServingAction::Resolve { token, endpoint } => {
                    assert!(token.is_of_client, "the server itself needs no name");
                    let is_known = self.unknown_host != Some(endpoint.host.as_str());
                    let address = endpoint.socket_addr().filter(|_| is_known);
                    self.serving.on_resolved(token, address, now_ns, &self.store);
                }
                ServingAction::Announced(outcome) => panic!("nothing was announced: {outcome:?}"),
                ServingAction::Beacon(beacon) => panic!("nobody else stands by: {beacon:?}"),
                ServingAction::Report(text) => self.reports.push(text),
            }
        }
        let Self { serving, network, server, .. } = self;
        serving.poll_transmit(now_ns, &mut |run| {
            run.datagrams().for_each(|datagram| network.send(*server, run.to, datagram, now_ns));
        });
        for client in &mut self.clients {
            client.on_timeout(now_ns);
            let address = client.address;
            client.endpoint.poll_transmit(now_ns, &mut |run| {
                run.datagrams().for_each(|datagram| network.send(address, run.to, datagram, now_ns));
            });
        }
    }
}

/// Loses nothing and keeps the order.
pub(crate) fn quiet_network() -> Network {
    let mut network = Network::new(Rng::new(0));
    network.heal();
    network
}
