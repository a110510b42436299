//! The recording is at every moment a prefix of what was committed: no other byte ever enters it.

use crate::tap::cluster::Cluster;
use crate::tap::log::{SimLog, is_same_log};
use crate::tap::standby::Standby;

#[derive(Debug, Default)]
pub(crate) struct Claim {
    checked_to: i64,
    /// The history that the recording followed so far.
    history: usize,
}

impl Claim {
    pub(super) fn check(&mut self, cluster: &Cluster, standby: &Standby) {
        let Some(log) = &standby.recorder.log else { return };
        let (from, to) = (self.checked_to.max(log.start), log.end());
        if from >= to {
            return;
        }
        let is_in = |history: &SimLog, from: i64| {
            let committed = history.bytes.get(from as usize..to as usize);
            let recorded = &log.bytes[(from - log.start) as usize..];
            committed.is_some_and(|committed| is_same_log(recorded, committed))
        };
        if !is_in(&cluster.histories[self.history], from) {
            // What is on its way when a cluster is set back is of the history before.
            let whole =
                (0..cluster.histories.len()).find(|index| is_in(&cluster.histories[*index], log.start));
            let Some(history) = whole else {
                panic!("{from}..{to} was recorded, and never committed: {:?}", standby.tap.status())
            };
            self.history = history;
        }
        self.checked_to = to;
    }
}
