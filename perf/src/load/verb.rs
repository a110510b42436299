//! `perf load`: a client for scripts and demos.
//!
//! Prints `load connected session=… leader=… term=…`, `load newleader member=… term=…`, `load sent=…
//! replied=…` each second and, last, one line with all that came of it. SIGTERM ends it as its time does.
//! Exits with 1 when a reply came twice, out of order or not at all, or the session ended.

use super::{Load, LoadOptions, NewLeader};
use crate::error::BenchError;
use clap::Parser;
use hdrhistogram::Histogram;
use signal_hook::consts::{SIGINT, SIGTERM};
use standby_node::agent::idle::IdleStrategy;
use standby_node::cluster_client::{ClusterClient, config};
use standby_node::sys::clock::monotonic_ns;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sends audit messages to a cluster and checks the replies.
#[derive(Debug, Parser)]
#[command(name = "perf load")]
struct Arguments {
    /// Where members, and a standby, take ingress: 0=host:port,1=host:port.
    #[arg(long)]
    ingress_endpoints: String,
    /// Where they answer to; port 0 for any free one.
    #[arg(long, default_value = "aeron:udp?endpoint=localhost:0")]
    egress_channel: String,
    /// Messages a second; 0 for as fast as replies allow.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// How long to send.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Bytes of the shortest message.
    #[arg(long, default_value_t = 64)]
    size_min: usize,
    /// Bytes of the longest message.
    #[arg(long, default_value_t = 256)]
    size_max: usize,
    /// Most messages that wait for their replies.
    #[arg(long, default_value_t = 100_000)]
    window: usize,
    /// Send again what a dead leader took along.
    #[arg(long)]
    resend: bool,
    /// How long to wait for a new leader.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    new_leader_timeout: Duration,
    /// How long to try to connect.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// How long to wait for the last replies.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    /// What to do between two empty cycles.
    #[arg(long, default_value = "backoff")]
    idle: IdleStrategy,
}

/// Whether this process is to make a load, and not to be a bench.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().nth(1).is_some_and(|verb| verb == VERB)
}

/// Makes the load.
pub(crate) fn main() -> ExitCode {
    // The verb stands where a program's own name does.
    let arguments = Arguments::parse_from(std::env::args().skip(1));
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("perf load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every reply came as it should.
fn run(arguments: &Arguments) -> Result<bool, BenchError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(BenchError::io("register a signal handler"))?;
    }
    let options = LoadOptions {
        lengths: (arguments.size_min, arguments.size_max),
        window: arguments.window,
        resends: arguments.resend,
        idle: arguments.idle,
    };
    let mut load = Load::new(connect(arguments)?, options);
    let client = load.client();
    let (session, leader) = (client.cluster_session_id(), client.leader_member_id());
    println!("load connected session={session} leader={leader} term={}", client.leadership_term_id());

    let begun_ns = monotonic_ns();
    let end_ns = begun_ns + arguments.duration.as_nanos() as u64;
    let mut report_due_ns = begun_ns;
    load.send(u64::MAX, arguments.rate, |load, now_ns| {
        if let Some(NewLeader { member_id, leadership_term_id }) = load.take_new_leader() {
            println!("load newleader member={member_id} term={leadership_term_id}");
        }
        if now_ns >= report_due_ns {
            report_due_ns = now_ns + REPORT_INTERVAL_NS;
            println!("load sent={} replied={}", load.ledger.sent, load.ledger.replied);
        }
        now_ns < end_ns && !stop.load(Ordering::Relaxed)
    })?;
    let is_drained = load.drain(arguments.drain_timeout)?;
    println!("{}", summary(&load));
    let faults = load.ledger.faults;
    load.close()?;
    Ok(is_drained && faults.is_none())
}

fn connect(arguments: &Arguments) -> Result<ClusterClient, BenchError> {
    let deadline = Instant::now() + arguments.connect_timeout;
    loop {
        let mut config =
            config(&arguments.ingress_endpoints, &arguments.egress_channel).map_err(BenchError::run)?;
        config.new_leader_timeout_ns = Some(arguments.new_leader_timeout.as_nanos() as u64);
        match ClusterClient::connect(config) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(BenchError::run(error)),
            Err(_) => {}
        }
    }
}

fn summary(load: &Load) -> String {
    let ledger = &load.ledger;
    let faults = ledger.faults;
    let mut line = format!(
        "load ended sent={} replied={} open={} unreplied={} resent={} lost={} out_of_order={} extra={} \
         count_errors={} malformed={} new_leaders={} max_gap_us={}",
        ledger.sent,
        ledger.replied,
        ledger.open_count(),
        ledger.unreplied_count(),
        load.resent,
        ledger.lost_count,
        faults.out_of_order,
        faults.extra,
        faults.count_errors,
        faults.malformed,
        ledger.new_leader_count,
        ledger.gap.longest_ns / 1000,
    );
    for (name, round_trips) in [("before", &ledger.round_trips.before), ("after", &ledger.round_trips.after)]
    {
        percentiles(&mut line, name, round_trips);
    }
    line
}

fn percentiles(line: &mut String, name: &str, round_trips: &Histogram<u64>) {
    if round_trips.is_empty() {
        return;
    }
    for (quantile, text) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999"), (1.0, "max")] {
        let micros = round_trips.value_at_quantile(quantile) as f64 / 1e3;
        let _ = write!(line, " {name}_{text}_us={micros:.1}");
    }
}

const VERB: &str = "load";
const REPORT_INTERVAL_NS: u64 = 1_000_000_000;
