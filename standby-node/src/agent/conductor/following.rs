//! What the tap asks of the conductor and tells it, and the terms that its log brings.

use consensus_tap::codec::log::NewLeadershipTermEvent;
use consensus_tap::tap::{TapAction, TapReport, TapState};

use super::Conductor;
use crate::agent::AgentError;
use crate::agent::receiver::ReceiverCommand;
use crate::agent::storage::{Asker, StorageJob};
use crate::store::StoreError;
use crate::store::history::HistoryError;

impl Conductor {
    pub(super) fn on_action(&mut self, action: TapAction) {
        match action {
            TapAction::Resolve { token, endpoint } => {
                self.resolve(Asker::Receiver(token), endpoint);
            }
            // Asked for before the tap heard that following has ended.
            TapAction::OpenSnapshot { .. } | TapAction::OpenLog { .. } if self.failed => {}
            TapAction::OpenSnapshot { index, row, descriptor } => {
                match self.history.plan_snapshot(&descriptor) {
                    Ok(planned) => self.rings.jobs.push(StorageJob::OpenSnapshot { index, row, planned }),
                    Err(error) => self.on_snapshot_failed(error.to_string()),
                }
            }
            TapAction::OpenLog { start_position, descriptor } => {
                self.waiting_log = Some((start_position, descriptor));
                self.create_waiting_log();
            }
            TapAction::Report(report) => self.report(report),
            // The receiver sends these with the writers that belong to them.
            TapAction::SnapshotsRecorded | TapAction::DiscardSnapshots => {}
        }
    }

    /// Creates the log that was asked for, once no snapshots wait to be entered before it.
    pub(super) fn create_waiting_log(&mut self) {
        if self.fetched.is_waiting() || self.snapshots.is_publishing_fetched() || self.failed {
            return;
        }
        let Some((start_position, descriptor)) = self.waiting_log.take() else { return };
        let set = self
            .history
            .latest_snapshot_set(self.starting.service_count())
            .filter(|set| set.log_position == start_position);
        match self.history.create_log(start_position, &descriptor, set.as_ref()) {
            Ok(planned) => self.rings.jobs.push(StorageJob::OpenLog(Box::new(planned))),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn report(&mut self, report: TapReport) {
        self.downstream.on_report(&report);
        self.on_cluster_members();
        match report {
            TapReport::SourceChosen(source) => tracing::info!(
                member_id = source.member_id,
                leader_member_id = source.leader_member_id,
                leadership_term_id = source.leadership_term_id,
                archive = %source.archive_endpoint,
                "source chosen"
            ),
            // Only others need to know.
            TapReport::SourceChanged(_) => {}
            TapReport::Following { member_id, replay_position } => {
                tracing::info!(member_id, replay_position, "following");
            }
            TapReport::SourceLost { endpoint, reason } => {
                let text = format!("{endpoint}: {reason}");
                if let Some(repeated) = self.sources_lost.admit(&text, self.now_ns) {
                    tracing::warn!(%endpoint, reason, repeated, "candidate given up");
                }
                // The error log counts for itself.
                self.life.record_error(&text);
            }
            TapReport::SnapshotsNotFetched { member_id, reason } => {
                let text = format!("snapshots of member {member_id} could not be fetched: {reason}");
                tracing::warn!("{text}; they are tried again");
                self.life.record_error(&text);
            }
            TapReport::SourcesBehind { position, limit } => {
                // The error log keeps each text for good: figures that change are for the node's log.
                let text = "for a minute every source's committed log has ended before ours: the cluster may have \
                            been restored from an older state";
                tracing::error!(position, limit, "{text}");
                self.life.record_error(text);
            }
            TapReport::Halted { state, reason } => {
                tracing::error!(state = state.name(), reason, "following has ended");
                self.retention.halt();
                self.life.record_halt(&format!("{}: {reason}", state.name()));
                if state == TapState::Failed {
                    tracing::error!(
                        "the recording is kept as it is; remove the cause and start the node again"
                    );
                }
            }
        }
    }

    /// The log said that a term began: recording.log gets its row, the tap looks whether its source still suits.
    pub(super) fn on_term(&mut self, term: &NewLeadershipTermEvent) -> Result<(), AgentError> {
        let NewLeadershipTermEvent { leadership_term_id, leader_member_id, term_base_log_position, .. } =
            *term;
        tracing::info!(leadership_term_id, leader_member_id, term_base_log_position, "new leadership term");
        // A row that a full disk refused is entered at the next start, when the term is read again.
        if let Some(log) = &self.log
            && let Err(error) = self.history.on_leadership_term(log.recording_id(), term)
        {
            let reason = match &error {
                HistoryError::Store(StoreError::Row { .. }) => format!(
                    "{error}: the log and this file contradict each other, and will at every start; find out which \
                     side is right, then `reseed`"
                ),
                _ => error.to_string(),
            };
            self.fail(reason);
        }
        self.downstream.on_leadership_term(leadership_term_id, leader_member_id);
        if !self.leadership.is_leading() {
            self.command(ReceiverCommand::LeadershipTerm { leadership_term_id, leader_member_id });
        }
        Ok(())
    }
}
