//! LOG_PURGED and DIVERGED are only said when they are so, and FAILED never without a fault of the disk.

use crate::tap::cluster::Cluster;
use crate::tap::log::is_same_log;
use crate::tap::standby::Standby;
use crate::tap::world::is_eligible;
use consensus_tap::tap::TapState;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A round of questions takes this long at most; who has the log for longer must have been heard.
const LASTING_NS: u64 = 20_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Claim {
    is_checked: bool,
    pub(super) is_disk_full: bool,
    /// Since when each member could have continued our log.
    continues_since_ns: BTreeMap<i32, u64>,
}

impl Claim {
    pub(super) fn check(&mut self, cluster: &Cluster, standby: &Standby, cut: &[SocketAddr], now_ns: u64) {
        let state = standby.state();
        for member in &cluster.members {
            let is_there = member.takes_part() && !member.is_recovering && !cut.contains(&member.address);
            let continues = is_there
                && is_eligible(cluster, standby, member)
                && member.log.start <= standby.recorder.end();
            if continues {
                self.continues_since_ns.entry(member.id).or_insert(now_ns);
            } else {
                self.continues_since_ns.remove(&member.id);
            }
        }
        if self.is_checked || !matches!(state, TapState::LogPurged | TapState::Diverged | TapState::Failed) {
            self.is_checked &= matches!(state, TapState::LogPurged | TapState::Diverged | TapState::Failed);
            return;
        }
        self.is_checked = true;
        let log = standby.recorder.log.as_ref().expect("nothing halts before there is a log");
        match state {
            TapState::LogPurged => {
                let is_lasting = |since_ns: &u64| now_ns > since_ns + LASTING_NS;
                assert!(
                    !self.continues_since_ns.values().any(is_lasting),
                    "a member has the log: {:?}",
                    standby.reports.last()
                );
            }
            TapState::Diverged => {
                // Of any history: what is on its way when a cluster is set back belongs to the one before.
                let is_fork = cluster.histories.iter().any(|history| {
                    let end = history.frame_end_at_or_before(log.end());
                    let common = history.bytes.get(log.start as usize..end as usize).unwrap_or_default();
                    let begins_amiss = history.end() > log.start && !history.is_frame_start(log.start);
                    begins_amiss || !is_same_log(&log.bytes[..common.len()], common)
                });
                assert!(is_fork, "no fork: {:?}", standby.reports.last());
            }
            _ => assert!(self.is_disk_full, "the disk is well: {:?}", standby.reports.last()),
        }
    }
}
