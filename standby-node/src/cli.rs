//! The operator's verbs. A user's binary calls [`main`] with its own services and has all of them.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use service_api::{ClusteredService, ServiceError};

use crate::config::{NodeConfig, Settings};
use crate::launch::launch;
use crate::progress::Progress;
use crate::status::{CheckLimits, StatusReport};

/// A warm standby for Aeron Cluster: follows the log of an unmodified cluster and keeps a Rust service warm.
#[derive(Debug, Parser)]
#[command(name = "standby-node", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow a cluster until SIGTERM or SIGINT
    Run(Box<RunArgs>),
    /// Show what a node is doing
    Status(StatusArgs),
    /// Move a node's history aside, so that its next start begins again from the members
    Reseed(ReseedArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// No progress bar while catching up
    #[arg(long)]
    no_progress: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// For monitors: exit with 1 and say why unless the node follows within the limits
    #[arg(long)]
    check: bool,
    /// Most bytes that the services may be behind the source
    #[arg(long, value_name = "N", requires = "check")]
    max_lag_bytes: Option<u64>,
    /// Longest time in seconds that the services may be behind the source
    #[arg(long, value_name = "SECONDS", requires = "check")]
    max_lag: Option<f64>,
}

#[derive(Args, Debug)]
struct ReseedArgs {
    /// Directory of the node, which must not run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Makes a service from its configured name, or says which names there are.
pub type ServiceFactory = fn(&str, &NodeConfig) -> Result<Box<dyn ClusteredService>, String>;

/// Parses the command line, runs the verb, and returns the process's exit code: 0 for success, 1 for failure or a
/// failed check, 2 for a wrong command line.
pub fn main(services: ServiceFactory) -> ExitCode {
    let Cli { verb } = Cli::parse();
    let result = match verb {
        Verb::Run(args) => run(args, services),
        Verb::Status(args) => status(&args),
        Verb::Reseed(args) => reseed(&args),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            // Where even this cannot be written, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr(), "standby-node: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Box<RunArgs>, services: ServiceFactory) -> Result<ExitCode, String> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let file = match &args.config {
        Some(path) => Settings::from_file(path).map_err(|error| error.to_string())?,
        None => Settings::default(),
    };
    let core_count = std::thread::available_parallelism().map_or(1, usize::from);
    let config = NodeConfig::new(args.settings.over(file), core_count).map_err(|error| error.to_string())?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot handle signal {signal}: {error}"))?;
    }
    let node = launch(config, move |id, config| {
        services(&config.services[usize::from(id.0)], config).map_err(ServiceError::from)
    })
    .map_err(|error| error.to_string())?;
    let mut progress = (!args.no_progress).then(|| Progress::new(node.aeron_dir()));
    node.run_until(|| {
        if let Some(progress) = &mut progress {
            progress.update();
        }
        stop.load(Ordering::Acquire)
    })
    .map_err(|error| error.to_string())?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn status(args: &StatusArgs) -> Result<ExitCode, String> {
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let report = StatusReport::read(&aeron_dir).map_err(|error| error.to_string())?;
    if args.check {
        let lag = args
            .max_lag
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(|error| format!("--max-lag: {error}"))?;
        let problems = report.problems(CheckLimits { lag_bytes: args.max_lag_bytes, lag });
        for problem in &problems {
            print(&format!("{problem}\n"))?;
        }
        return Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())? + "\n"))?;
    } else {
        print(&report.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reseed(args: &ReseedArgs) -> Result<ExitCode, String> {
    let moved = crate::store::reseed::move_aside(&args.dir).map_err(|error| error.to_string())?;
    print(&format!("history moved to {}; the next `run` begins again from the members\n", moved.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output, which may be a full disk or a pipe that nobody reads any more.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}
