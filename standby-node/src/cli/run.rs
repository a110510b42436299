//! `run`: follow a cluster until told to stop.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use service_api::ServiceError;

use super::ServiceFactory;
use crate::config::{NodeConfig, Settings};
use crate::launch::launch;
use crate::progress::Progress;

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// No progress bar while catching up
    #[arg(long)]
    no_progress: bool,
}

pub(super) fn run(args: Box<RunArgs>, services: ServiceFactory) -> Result<ExitCode, String> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        // It would say so on standard error, and panic where that cannot be written.
        .log_internal_errors(false)
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
