use super::Follows;
use crate::cluster::{Cluster, Workplace, ask_for_lag, reset_lag};
use crate::error::BenchError;
use crate::process::Process;
use hdrhistogram::Histogram;
use std::time::Duration;

/// A Java process that consumes the replay: media driver, Aeron client, audit service, and no recording.
#[derive(Debug)]
pub(super) struct ReplayConsumer<'cluster> {
    process: Process,
    files: &'cluster Workplace,
}

impl<'cluster> ReplayConsumer<'cluster> {
    pub(super) fn start(cluster: &'cluster Cluster) -> Result<Self, BenchError> {
        let files = cluster.files();
        let mut command = files.java("ReplayConsumer");
        command
            .args(["--commands", "--consensus-endpoint", &cluster.consensus_endpoint(0)])
            .args(["--port", &cluster.peer_port().to_string()])
            .args(["--aeron-dir", &files.path("consumer-driver")])
            .args(FLAGS);
        let mut process = Process::spawn("java-replay-consumer", &command, files.errors("consumer"))?;
        process.await_line("started", START_TIMEOUT, |line| line.starts_with("replay started"))?;
        Ok(Self { process, files })
    }

    pub(super) fn stop(self) -> Result<(), BenchError> {
        self.process.stop()
    }
}

impl Follows for ReplayConsumer<'_> {
    fn reset(&mut self) -> Result<(), BenchError> {
        reset_lag(&mut self.process)
    }

    fn lags(&mut self) -> Result<Histogram<u64>, BenchError> {
        ask_for_lag(&mut self.process, self.files)
    }
}

const FLAGS: &[&str] = &["--idle", "backoff"];
const START_TIMEOUT: Duration = Duration::from_secs(60);
