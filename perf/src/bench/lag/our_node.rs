use super::Follows;
use crate::cluster::Cluster;
use crate::error::BenchError;
use crate::node::{HookedAudit, launch_here, threads};
use hdrhistogram::Histogram;
use standby_node::NodeHandle;
use standby_node::agent::idle::IdleStrategy;
use standby_node::audit::Audit;
use standby_node::config::Layout;
use standby_node::sys::clock::monotonic_ns;
use std::io;
use std::sync::{Arc, Mutex};

/// Our node, in this process, so that every lag can be counted.
#[derive(Debug)]
pub(super) struct OurNode {
    node: NodeHandle,
    lags: Arc<Mutex<Histogram<u64>>>,
}

impl OurNode {
    pub(super) fn start(cluster: &Cluster) -> Result<Self, BenchError> {
        let bounds = Histogram::new_with_bounds(1, LAG_NS_MAX, 3).expect("the bounds are in order");
        let lags = Arc::new(Mutex::new(bounds));
        let recorded = Arc::clone(&lags);
        let node = launch_here(cluster, DIRECTORY, threads(LAYOUT, IDLE), move || {
            let audit = Audit::new(monotonic_ns).with_output(Box::new(io::sink()));
            let recorded = Arc::clone(&recorded);
            Box::new(HookedAudit::new(audit, move |message: &[u8]| {
                if let Some(sent_ns) = message.get(8..16) {
                    let sent_ns = u64::from_le_bytes(sent_ns.try_into().expect("8 bytes"));
                    let lag_ns = monotonic_ns().saturating_sub(sent_ns);
                    recorded.lock().expect("nobody panics with it").saturating_record(lag_ns);
                }
            }))
        })?;
        Ok(Self { node, lags })
    }

    pub(super) fn stop(self, cluster: &Cluster) -> Result<(), BenchError> {
        self.node.stop().map_err(BenchError::run)?;
        cluster.files().remove(DIRECTORY)
    }
}

impl Follows for OurNode {
    fn reset(&mut self) -> Result<(), BenchError> {
        self.lags.lock().expect("nobody panics with it").reset();
        Ok(())
    }

    fn lags(&mut self) -> Result<Histogram<u64>, BenchError> {
        Ok(self.lags.lock().expect("nobody panics with it").clone())
    }
}

/// What two cores get by default.
const LAYOUT: Layout = Layout::Shared;
const IDLE: IdleStrategy = IdleStrategy::BACKOFF;
const DIRECTORY: &str = "node";
const LAG_NS_MAX: u64 = 3_600_000_000_000;
