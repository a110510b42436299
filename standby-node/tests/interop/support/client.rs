//! A Java cluster client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, field};
use super::java;
use super::process::Process;
use super::scratch::Scratch;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// What client a test wants.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    pub(crate) aeron_version: String,
    /// `0=host:port,1=host:port`.
    pub(crate) ingress_endpoints: String,
    /// Flags of LoadFlags.java and ClientFlags.java, for example `--count 2000`.
    pub(crate) flags: Vec<String>,
}

/// A running client. Dropping it kills it.
pub(crate) struct Client {
    process: Process,
    _scratch: Arc<Scratch>,
}

impl Client {
    /// Starts a client of the whole cluster.
    pub(crate) fn spawn(cluster: &Cluster, flags: &[&str]) -> Self {
        let config = ClientConfig {
            aeron_version: cluster.config().aeron_version.clone(),
            ingress_endpoints: cluster.ingress_endpoints(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        };
        Self::spawn_with(&config, cluster.scratch())
    }

    /// Starts a client of whatever endpoints, for example an activated standby's.
    pub(crate) fn spawn_with(config: &ClientConfig, scratch: &Arc<Scratch>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("client-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = java::command("Client", &config.aeron_version);
        command
            .args(["--ingress-endpoints", &config.ingress_endpoints, "--own-driver", "--aeron-dir"])
            .arg(scratch.data(&format!("driver-{name}")))
            .args(&config.flags);
        let process = Process::spawn(&name, &command, &scratch.log(&name));
        Self { process, _scratch: Arc::clone(scratch) }
    }

    /// The process, for its lines and signals.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for its session.
    ///
    /// # Panics
    /// If it does not connect.
    pub(crate) fn await_connected(&self) {
        let connected = self
            .process
            .await_line(0, CONNECT_TIMEOUT, "connected", |line| line.starts_with("client connected"));
        if let Err(error) = connected {
            panic!("{error}");
        }
    }

    /// Waits for the last line. With a rate and a count, allow for the time that takes.
    ///
    /// # Panics
    /// If the line does not come in time.
    pub(crate) fn wait(&self, timeout: Duration) -> ClientResult {
        self.await_result(0, timeout)
    }

    /// For one started with `--interactive`: sends so many messages (rate 0: as fast as replies allow) and waits
    /// for their replies. The result counts from the start of the client.
    pub(crate) fn send(&self, count: u64, rate: f64, timeout: Duration) -> ClientResult {
        self.ask(&format!("send {count} {rate}"), timeout)
    }

    /// For one started with `--interactive`, on members with `--burst-service`: one message that makes service 0
    /// offer so many service messages.
    pub(crate) fn burst(&self, service_messages: u64, timeout: Duration) -> ClientResult {
        self.ask(&format!("burst {service_messages}"), timeout)
    }

    /// SIGTERM: the client closes its session and prints its last line.
    pub(crate) fn stop(&self, timeout: Duration) -> ClientResult {
        let from = self.process.lines().count();
        self.process.signal("TERM");
        self.await_result(from, timeout)
    }

    fn ask(&self, line: &str, timeout: Duration) -> ClientResult {
        let from = self.process.lines().count();
        self.process.write_line(line);
        self.await_result(from, timeout)
    }

    fn await_result(&self, from: usize, timeout: Duration) -> ClientResult {
        let line =
            self.process.await_line(from, timeout, "the result", |line| line.starts_with("client sent="));
        ClientResult { line: line.unwrap_or_else(|error| panic!("{error}")) }
    }
}

/// Has a client send so many messages of up to 3,000 bytes, with timers and service messages among them.
///
/// # Panics
/// If it cannot.
pub(crate) fn send(cluster: &Cluster, count: u64) {
    let count_text = count.to_string();
    let load = ["--count", &count_text, "--rate", "1000", "--size-max", "3000"];
    let commands = ["--timer-share", "0.05", "--service-share", "0.05"];
    let bounds = ["--window", "4096", "--drain-timeout-ms", "2000"];
    let client = Client::spawn(cluster, &[&load[..], &commands, &bounds].concat());
    client.wait(SEND_TIMEOUT).expect_sent(count);
}

/// A client's last line.
#[derive(Clone, Debug)]
pub(crate) struct ClientResult {
    pub(crate) line: String,
}

impl ClientResult {
    /// A number of the line, for example `max_gap_us` or `p99_us`.
    ///
    /// # Panics
    /// If there is none of that name.
    pub(crate) fn number(&self, key: &str) -> f64 {
        let value = field(&self.line, key).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {key} in: {}", self.line))
    }

    pub(crate) fn sent(&self) -> u64 {
        self.number("sent") as u64
    }

    pub(crate) fn replied(&self) -> u64 {
        self.number("replied") as u64
    }

    /// Every message has its reply, in order and with rising counts.
    ///
    /// # Panics
    /// If not.
    pub(crate) fn expect_all_replied(&self) {
        assert_eq!(self.sent(), self.replied(), "{}", self.line);
        self.expect_in_order();
    }

    /// Every message was sent. Services give a reply up when a client that the machine starves does not take it, so
    /// a test that drives the machine to its limit asks for no more.
    ///
    /// # Panics
    /// If not.
    pub(crate) fn expect_sent(&self, count: u64) {
        assert_eq!(self.sent(), count, "{}", self.line);
    }

    /// What was replied came in order and with rising counts; a dead leader may have taken replies with it.
    ///
    /// # Panics
    /// If not.
    pub(crate) fn expect_in_order(&self) {
        for key in ["open", "out_of_order", "count_errors", "lost"] {
            assert!(self.number(key) == 0.0, "{key}: {}", self.line);
        }
    }
}
