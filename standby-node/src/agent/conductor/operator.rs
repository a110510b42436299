//! What operators ask of the cluster that this node leads: the toggle that `ClusterControl` sets, one request at a time.
//!
//! As in a Java consensus module: SUSPEND stays in the toggle until RESUME takes its place, SNAPSHOT stays until the
//! snapshot counts, SHUTDOWN and ABORT stay for good.

use consensus_tap::file::cnc::counters::{
    CONTROL_ABORT, CONTROL_RESUME, CONTROL_SHUTDOWN, CONTROL_SNAPSHOT, CONTROL_STANDBY_SNAPSHOT,
    CONTROL_SUSPEND, TOGGLE_NEUTRAL,
};
use consensus_tap::leader::ControlAction;

use super::Conductor;
use super::leading::ends_node;
use crate::agent::leading::LeadCommand;
use crate::status::ModuleState;

/// One request, from the toggle to its end.
#[derive(Debug, Default)]
pub(super) struct OperatorRequest {
    is_suspended: bool,
    in_hand: Option<InHand>,
    /// The end of the log will not move any more.
    is_terminated: bool,
}

#[derive(Debug)]
struct InHand {
    action: ControlAction,
    /// Where the log says so, once it does.
    log_position: Option<i64>,
    /// Whether the snapshot that belongs to it counts, once that is known.
    snapshot: Option<bool>,
}

impl Conductor {
    /// Looks at the toggle.
    pub(super) fn serve_operator(&mut self) -> usize {
        let operator = &self.leadership.operator;
        // A snapshot that is under way would cost this one its parts.
        if operator.in_hand.is_some() || !self.snapshots.is_idle() {
            return 0;
        }
        let toggle = self.leadership.gauges.toggle.get_volatile();
        let is_suspended = operator.is_suspended;
        let action = match toggle {
            TOGGLE_NEUTRAL => return 0,
            CONTROL_SUSPEND if is_suspended => return 0,
            CONTROL_SUSPEND => ControlAction::Suspend,
            CONTROL_RESUME if is_suspended => ControlAction::Resume,
            CONTROL_SNAPSHOT if !is_suspended => ControlAction::Snapshot,
            CONTROL_STANDBY_SNAPSHOT if !is_suspended => ControlAction::StandbySnapshot,
            CONTROL_SHUTDOWN if !is_suspended => ControlAction::Shutdown,
            CONTROL_ABORT => ControlAction::Abort,
            other => {
                let state = if is_suspended { "suspended" } else { "active" };
                let text =
                    format!("cluster control toggle: {other} is nothing that can be done while {state}");
                tracing::warn!("{text}");
                self.life.record_error(&text);
                let standing = if is_suspended { CONTROL_SUSPEND } else { TOGGLE_NEUTRAL };
                self.leadership.gauges.toggle.set_ordered(standing);
                return 1;
            }
        };
        tracing::info!(?action, "an operator asks");
        self.leadership.operator.in_hand = Some(InHand { action, log_position: None, snapshot: None });
        self.leadership.command(LeadCommand::Control(action));
        1
    }

    /// The log says that clients wait, since before this node led. The toggle stands as if it had been set here.
    pub(super) fn take_over_suspended(&mut self) {
        tracing::warn!("the cluster was suspended before this node led: clients wait until `resume`");
        self.leadership.operator.is_suspended = true;
        self.leadership.gauges.show_state(ModuleState::Suspended);
        self.leadership.gauges.toggle.set_ordered(CONTROL_SUSPEND);
    }

    /// The log says so.
    pub(super) fn on_control_done(&mut self, action: ControlAction, log_position: i64) {
        let gauges = &self.leadership.gauges;
        let operator = &mut self.leadership.operator;
        match action {
            ControlAction::Suspend => {
                operator.is_suspended = true;
                operator.in_hand = None;
                gauges.show_state(ModuleState::Suspended);
            }
            ControlAction::Resume => {
                operator.is_suspended = false;
                operator.in_hand = None;
                gauges.show_state(ModuleState::Active);
                gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
            }
            ControlAction::Snapshot | ControlAction::StandbySnapshot | ControlAction::Shutdown => {
                if operator.in_hand.is_none() {
                    // A client asked for it, not the toggle; operators see it there all the same.
                    gauges.toggle.compare_and_set(TOGGLE_NEUTRAL, CONTROL_SNAPSHOT);
                }
                if action == ControlAction::StandbySnapshot {
                    gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
                } else {
                    gauges.show_state(ModuleState::Snapshot);
                }
                let log_position = Some(log_position);
                operator.in_hand = Some(InHand { action, log_position, snapshot: None });
            }
            ControlAction::Abort => gauges.show_state(ModuleState::Terminating),
        }
        tracing::info!(?action, log_position, "done");
    }

    /// Not now: the toggle is looked at again.
    pub(super) fn on_control_refused(&mut self, action: ControlAction) {
        tracing::debug!(?action, "not now");
        self.leadership.operator.in_hand = None;
    }

    /// A snapshot at `log_position` counts, or was given up.
    pub(super) fn on_snapshot_ended(&mut self, log_position: i64, counts: bool) {
        let operator = &mut self.leadership.operator;
        let Some(in_hand) = &mut operator.in_hand else { return };
        if in_hand.log_position.is_none_or(|position| log_position < position) {
            return;
        }
        match in_hand.action {
            ControlAction::Shutdown => {
                in_hand.snapshot = Some(counts);
                self.leadership.gauges.show_state(ModuleState::Terminating);
                self.stop_if_done();
            }
            action => {
                operator.in_hand = None;
                if action == ControlAction::Snapshot {
                    self.leadership.gauges.show_state(ModuleState::Active);
                    self.leadership.gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
                }
            }
        }
    }

    /// Nothing is appended any more, and all that is there is applied.
    pub(super) fn on_terminated(&mut self, log_position: i64) {
        tracing::info!(log_position, "the log has ended");
        self.leadership.operator.is_terminated = true;
        self.stop_if_done();
    }

    fn stop_if_done(&mut self) {
        let OperatorRequest { in_hand, is_terminated, .. } = &self.leadership.operator;
        let Some(in_hand) = in_hand.as_ref().filter(|in_hand| *is_terminated && ends_node(in_hand.action))
        else {
            return;
        };
        if in_hand.action == ControlAction::Abort || in_hand.snapshot.is_some() {
            self.leadership.stop.wish();
        }
    }
}
