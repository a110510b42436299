//! What operators ask of this node, whatever its role: the toggle that `NodeControl` sets.

use consensus_tap::file::cnc::counters::{
    NODE_REPLICATE_STANDBY_SNAPSHOT, NODE_VALIDATE_RECORDING_LOG, TOGGLE_INACTIVE, TOGGLE_NEUTRAL,
};

use super::Conductor;
use crate::agent::AgentError;

impl Conductor {
    /// The node knows what it has: requests may come.
    pub(super) fn accept_node_control(&self) {
        self.leadership.gauges.node_toggle.set_ordered(TOGGLE_NEUTRAL);
    }

    /// Looks at the toggle, and does at once what it asks for.
    pub(super) fn serve_node_control(&mut self) -> Result<usize, AgentError> {
        match self.leadership.gauges.node_toggle.get_volatile() {
            TOGGLE_INACTIVE | TOGGLE_NEUTRAL => return Ok(0),
            // As a member to which no standby has announced a snapshot: such announcements are refused here.
            NODE_REPLICATE_STANDBY_SNAPSHOT => {
                tracing::info!("no snapshot of a standby is known here: nothing is replicated");
            }
            NODE_VALIDATE_RECORDING_LOG => {
                let withdrawn_count = self.history.withdraw_lost_sets()?;
                if withdrawn_count > 0 {
                    self.snapshots.on_sets_withdrawn();
                }
                tracing::info!(
                    withdrawn_count,
                    "snapshots of the recording log were held against the catalog"
                );
            }
            other => {
                let text = format!("node control toggle: {other} is no request that this node knows");
                tracing::warn!("{text}");
                self.life.record_error(&text);
            }
        }
        self.accept_node_control();
        Ok(1)
    }
}
