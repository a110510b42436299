//! Who is measured: a server and the client that asks it. All that take part run at once, and all but one
//! stand still.

use super::echo::Echo;
use crate::cluster::{Client, Cluster, Workplace};
use crate::error::BenchError;
use crate::node::ActiveNode;
use crate::process::{Process, Signal};
use hdrhistogram::Histogram;
use std::thread;
use std::time::Duration;

/// What answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Node,
    Member,
    Echo,
}

/// A server with a client of its own.
#[derive(Debug)]
pub(super) struct Party {
    // Before the server: it takes leave of it.
    client: Client,
    server: Server,
    idle: &'static str,
    _files: Workplace,
}

#[derive(Debug)]
enum Server {
    Node(ActiveNode),
    Member(Cluster),
    Echo(Echo),
}

impl Party {
    /// Starts a server that idles like this, and a client.
    pub(super) fn start(kind: Kind, idle: &'static str) -> Result<Self, BenchError> {
        let files = Workplace::create()?;
        let server = match kind {
            Kind::Node => {
                let flags = [NODE_FLAGS, &["--idle", idle]].concat();
                Server::Node(ActiveNode::start(&files, "node", &flags)?)
            }
            Kind::Member => Server::Member(Cluster::start(1, &[MEMBER_FLAGS, &["--idle", idle]].concat())?),
            Kind::Echo => Server::Echo(Echo::start(&files, idle)?),
        };
        let endpoints = match &server {
            Server::Node(node) => node.ingress_endpoints().to_owned(),
            Server::Member(cluster) => cluster.ingress_endpoints(),
            Server::Echo(echo) => echo.ingress_endpoints().to_owned(),
        };
        let client = Client::start(&files, &[CLIENT_FLAGS, &["--ingress-endpoints", &endpoints]].concat())?;
        Ok(Self { client, server, idle, _files: files })
    }

    /// Sends messages as fast as replies allow, and some at the rate.
    pub(super) fn warm_up(&mut self) -> Result<(), BenchError> {
        self.client.send(WARM_UP_MESSAGES, 0)?;
        self.client.send(count_of(AWAKENING), RATE).map(drop)
    }

    /// Until its next turn.
    pub(super) fn stand_still(&self) -> Result<(), BenchError> {
        self.signal(Signal::Stop)
    }

    /// How the server idles.
    pub(super) fn idle(&self) -> &'static str {
        self.idle
    }

    /// Moves for a moment, so that nothing in it takes the time that it stood still for a failure. A client of Aeron
    /// that has heard nothing for five seconds looks for another leader.
    pub(super) fn breathe(&self) -> Result<(), BenchError> {
        self.signal(Signal::Continue)?;
        thread::sleep(REUNION);
        self.signal(Signal::Stop)
    }

    /// Moves, sends at the rate for a time, and stands still again. Returns the round trips, in nanoseconds.
    pub(super) fn turn(&mut self, duration: Duration) -> Result<Histogram<u64>, BenchError> {
        self.signal(Signal::Continue)?;
        // Each hears that the other lives; then caches fill.
        thread::sleep(REUNION);
        self.client.send(count_of(AWAKENING), RATE)?;
        self.client.reset()?;
        self.client.send(count_of(duration), RATE)?;
        let round_trips = self.client.round_trips()?;
        self.signal(Signal::Stop)?;
        Ok(round_trips)
    }

    fn signal(&self, signal: Signal) -> Result<(), BenchError> {
        let server: &Process = match &self.server {
            Server::Node(node) => node.process(),
            Server::Member(cluster) => cluster.process(0),
            Server::Echo(echo) => echo.process(),
        };
        // The server first: nobody is to wait for one that stands still.
        let (first, second) = match signal {
            Signal::Stop => (self.client.process(), server),
            _ => (server, self.client.process()),
        };
        first.signal(signal)?;
        second.signal(signal)
    }
}

fn count_of(duration: Duration) -> u64 {
    duration.as_millis() as u64 * RATE / 1000
}

/// At once, while the others stand still.
pub(super) const WARM_UP_MESSAGES: u64 = 50_000;
const RATE: u64 = 10_000;
/// Receivers of Aeron say five times a second that they live.
const REUNION: Duration = Duration::from_millis(250);
const AWAKENING: Duration = Duration::from_millis(100);
/// Of a node, but for how it idles.
pub(super) const NODE_FLAGS: &[&str] =
    &["--log-term-length", "64m", "--file-sync-level", "0", "--session-timeout", "60s"];
/// Of a member, but for how it idles.
pub(super) const MEMBER_FLAGS: &[&str] = &[
    "--term-length",
    "64m",
    "--segment-length",
    "128m",
    "--file-sync-level",
    "0",
    "--session-timeout-ms",
    "60000",
];
/// Of spin, yield and backoff, yield is the client's fastest here, whoever answers.
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "64", "--idle", "yield"];
