use super::Follows;
use crate::cluster::{Cluster, ask_for_lag, reset_lag};
use crate::error::BenchError;
use hdrhistogram::Histogram;

/// A Java member that follows: its own service counts.
#[derive(Debug)]
pub(super) struct Follower<'cluster> {
    cluster: &'cluster mut Cluster,
}

impl<'cluster> Follower<'cluster> {
    /// Member 1, since member 0 leads.
    pub(super) fn of(cluster: &'cluster mut Cluster) -> Self {
        Self { cluster }
    }
}

impl Follows for Follower<'_> {
    fn reset(&mut self) -> Result<(), BenchError> {
        let (member, _) = self.cluster.member(FOLLOWER_ID);
        reset_lag(member)
    }

    fn lags(&mut self) -> Result<Histogram<u64>, BenchError> {
        let (member, files) = self.cluster.member(FOLLOWER_ID);
        ask_for_lag(member, files)
    }
}

const FOLLOWER_ID: u16 = 1;
