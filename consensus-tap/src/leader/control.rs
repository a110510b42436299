//! From the first event of a term to the last: what the leader may do when, and what operators ask of it.

use super::{AppendError, ControlAction, Leader, LeaderAction, LogAppender};
use crate::codec::log::{ClusterAction, ClusterActionRequest};
use crate::image::SubscriptionParams;
use crate::module::ConsensusModuleState;

/// How far a leader is in its term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// The log must say that the term begins.
    TermToAppend,
    /// It does, up to here.
    TermToCommit { end_position: i64 },
    /// Clients are served.
    Active,
    /// Clients wait.
    Suspended,
    /// Nothing is appended any more; what is there must be committed and applied.
    Terminating,
    /// It is.
    Terminated,
}

impl Phase {
    pub(super) fn allows(self, action: ControlAction) -> bool {
        match self {
            Self::Active => action != ControlAction::Resume,
            Self::Suspended => matches!(action, ControlAction::Resume | ControlAction::Abort),
            Self::TermToAppend | Self::TermToCommit { .. } | Self::Terminating | Self::Terminated => false,
        }
    }
}

impl Leader {
    /// Gets on in the term, and does what the operator asked for.
    pub(super) fn advance_phase(
        &mut self,
        now_ns: u64,
        commit_position: i64,
        state: &ConsensusModuleState,
        log: &mut impl LogAppender,
    ) -> usize {
        match self.phase {
            Phase::TermToAppend => match self.log.append_new_term(&self.start, self.config.member_id, log) {
                Ok(end_position) => self.phase = Phase::TermToCommit { end_position },
                Err(_) => {
                    self.counters.log_full += 1;
                    return 0;
                }
            },
            Phase::TermToCommit { end_position } if commit_position >= end_position => {
                let params = SubscriptionParams {
                    receive_window_length: self.config.ingress_window_length,
                    ..SubscriptionParams::new(self.config.ingress_stream_id)
                };
                self.subscription = Some(self.endpoint.add_subscription(params));
                self.phase = if state.is_suspended() { Phase::Suspended } else { Phase::Active };
                self.forgive_silence(now_ns);
                self.actions.push_back(LeaderAction::Serving);
            }
            Phase::Active | Phase::Suspended => {
                let Some(action) = self.pending_control else { return 0 };
                let Ok(log_position) = self.append_control(action, log) else {
                    self.counters.log_full += 1;
                    return 0;
                };
                self.pending_control = None;
                self.phase = match action {
                    ControlAction::Suspend => Phase::Suspended,
                    ControlAction::Shutdown | ControlAction::Abort => Phase::Terminating,
                    ControlAction::Resume | ControlAction::Snapshot | ControlAction::StandbySnapshot => {
                        Phase::Active
                    }
                };
                if action == ControlAction::Resume {
                    self.forgive_silence(now_ns);
                }
                self.actions.push_back(LeaderAction::ControlDone { action, log_position });
            }
            Phase::Terminating => {
                // No event will ever say that padding at the end is applied.
                let event_end = self.log.event_end();
                if commit_position < event_end || state.log_position() < event_end {
                    return 0;
                }
                self.phase = Phase::Terminated;
                let log_position = self.log.position();
                self.actions.push_back(LeaderAction::Terminated { log_position });
            }
            Phase::TermToCommit { .. } | Phase::Terminated => return 0,
        }
        1
    }

    /// Appends what the log must say of an action, and returns the end of the log.
    fn append_control(
        &mut self,
        action: ControlAction,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let (action, flags) = match action {
            ControlAction::Suspend => (ClusterAction::Suspend, 0),
            ControlAction::Resume => (ClusterAction::Resume, 0),
            ControlAction::Snapshot | ControlAction::Shutdown => (ClusterAction::Snapshot, 0),
            ControlAction::StandbySnapshot => {
                (ClusterAction::Snapshot, ClusterActionRequest::STANDBY_SNAPSHOT)
            }
            ControlAction::Abort => return Ok(self.log.position()),
        };
        self.log.append_action(action, flags, log)
    }
}
