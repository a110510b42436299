//! `perf`: benches that start their own peers and print `RESULT` lines.
//!
//! `cargo run --release -p perf -- BENCH [--quick] [--check]`. README.md has the table of cases and says how to
//! read the lines; each bench is a file below `bench`. `perf load --help` is a cluster client for scripts.
#![forbid(unsafe_code)]

mod allocations;
mod bench;
mod cluster;
mod error;
mod host;
mod java;
#[cfg(test)]
mod leading;
mod load;
mod message_counter;
mod node;
mod process;
mod report;
mod results;

use clap::{Parser, ValueEnum};
use error::BenchError;
use report::Session;
use results::ResultsDirectory;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures the standby against its peers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What to measure.
    bench: Bench,
    /// Three short pairs of runs instead of five long ones; ends within 50 s.
    #[arg(long)]
    quick: bool,
    /// Also fail when a target is missed.
    #[arg(long)]
    check: bool,
    /// Where histograms and the description of the machine go [default: results in the workspace].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Bench {
    /// Round trips and throughput over Aeron frames, against bare UDP and Java Aeron.
    Transport,
    /// Messages a second from the recording into a service.
    Apply,
    /// Rate and CPU time of taking over a long log, against ClusterBackup.
    Catchup,
    /// Time from a client to the applied message, against a Java consumer of the same replay.
    Lag,
    /// Memory of a following node, and what its hot threads allocate.
    Footprint,
    /// What a stopped or slow standby does to the cluster's clients.
    Backpressure,
    /// How long a snapshot stops clients and the standby's own services.
    SnapshotStall,
    /// A member's archive fetching a standby snapshot from us, and from a Java archive.
    Replicate,
    /// Replaying the local log after a restart, against a Java member.
    Restart,
    /// What a client waits for, and how much passes, at an active node, against a Java cluster of one member.
    ActiveRtt,
    /// From a standby's flag to serving clients.
    Activation,
}

fn main() -> ExitCode {
    if node::is_asked_for() {
        return node::main();
    }
    if bench::active_rtt::echo::is_asked_for() {
        return bench::active_rtt::echo::main();
    }
    if load::is_asked_for() {
        return load::main();
    }
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(all_met) if all_met || !arguments.check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_TARGET_MISSED),
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every target was met.
fn run(arguments: &Arguments) -> Result<bool, BenchError> {
    if cfg!(debug_assertions) {
        eprintln!("perf: built without --release: the figures mean nothing");
    }
    let name = arguments.bench.to_possible_value().expect("no bench is hidden").get_name().to_owned();
    let root = arguments.results.clone().unwrap_or_else(|| java::workspace_root().join("results"));
    let directory = ResultsDirectory::create(&root, &name)?;
    let mut session = Session::new(directory, arguments.quick);
    match arguments.bench {
        Bench::Transport => bench::transport::run(&mut session)?,
        Bench::Apply => bench::apply::run(&mut session)?,
        Bench::Catchup => bench::catchup::run(&mut session)?,
        Bench::Lag => bench::lag::run(&mut session)?,
        Bench::Footprint => bench::footprint::run(&mut session)?,
        Bench::Backpressure => bench::backpressure::run(&mut session)?,
        Bench::SnapshotStall => bench::snapshot_stall::run(&mut session)?,
        Bench::Replicate => bench::replicate::run(&mut session)?,
        Bench::Restart => bench::restart::run(&mut session)?,
        Bench::ActiveRtt => bench::active_rtt::run(&mut session)?,
        Bench::Activation => bench::activation::run(&mut session)?,
    }
    session.finish()
}

const EXIT_TARGET_MISSED: u8 = 3;
