//! The conductor's part in snapshots: those that come from the members, and those that are taken here.

use consensus_tap::codec::consensus::SnapshotEntry;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::tap::RecordingKey;

use super::Conductor;
use crate::agent::fetched_snapshots::RecordedSet;
use crate::agent::receiver::ReceiverCommand;
use crate::agent::snapshot_control::SnapshotEvent;
use crate::agent::storage::StorageJob;
use crate::store::recording_writer::RecordingWriter;
use crate::sys::clock;

impl Conductor {
    /// A recording for a snapshot of the members is there, in the order in which they were asked for.
    pub(super) fn on_snapshot_opened(
        &mut self,
        index: usize,
        row: SnapshotEntry,
        opened: Result<Box<RecordingWriter>, (i64, String)>,
    ) {
        match opened {
            Ok(writer) => {
                self.fetched.on_opened(index, row);
                self.command(ReceiverCommand::Opened { key: RecordingKey::Snapshot(index), writer });
            }
            Err((recording_id, reason)) => {
                self.history.discard_snapshot(recording_id);
                self.on_snapshot_failed(reason);
            }
        }
    }

    pub(super) fn on_snapshot_failed(&mut self, reason: String) {
        if self.log.is_some() {
            self.command(ReceiverCommand::SnapshotFailed { reason });
        } else {
            self.fail(reason);
        }
    }

    /// A whole set is recorded: whoever may wait for the disk makes it durable.
    pub(super) fn on_snapshots_recorded(&mut self, writers: &[RecordingWriter]) {
        let syncers = self.fetched.on_recorded(writers, &self.history);
        self.rings.jobs.push(StorageJob::SyncSnapshots(syncers));
    }

    /// Begins to enter the sets that may be entered now.
    pub(super) fn enter_snapshots(&mut self) {
        while let Some(RecordedSet { rows, recordings, .. }) =
            self.fetched.take_ready(self.module_position.get())
        {
            // One of our own may have come first while the members' were on their way; their files go with the next start.
            if self.newest_snapshot().is_none_or(|newest| newest < rows[0].log_position) {
                self.snapshots.publish_fetched(&rows, recordings, &mut self.history);
            }
        }
        self.create_waiting_log();
    }

    /// Asks for newer snapshots when that is due.
    pub(super) fn query_snapshots(&mut self) {
        if self.backup.as_mut().is_some_and(|backup| backup.poll(self.now_ns, clock::epoch_ms)) {
            let snapshot_position = self.newest_snapshot();
            self.command(ReceiverCommand::QuerySnapshots { snapshot_position });
        }
    }

    /// Log position of the newest snapshot set.
    pub(super) fn newest_snapshot(&self) -> Option<i64> {
        self.history.latest_snapshot_set(self.starting.service_count()).map(|set| set.log_position)
    }

    pub(super) fn on_snapshot_event(&mut self, event: SnapshotEvent) {
        match event {
            SnapshotEvent::Mark => self.mark_snapshot(),
            SnapshotEvent::Published(set) => {
                self.serve_recordings();
                self.on_snapshot_published(&set);
            }
            SnapshotEvent::GivenUp { log_position, error } => {
                self.life.record_error(&error);
                if let Some(log_position) = log_position {
                    self.on_snapshot_ended(log_position, false);
                }
            }
            SnapshotEvent::FetchedPublished(set) => {
                tracing::info!(position = set.log_position, "snapshots of the members recorded");
                self.serve_recordings();
                if let Some(backup) = &self.backup {
                    backup.on_retrieved();
                }
                self.retention.on_history_changed();
                self.create_waiting_log();
            }
            SnapshotEvent::FetchedFailed(reason) => self.fail(reason),
        }
    }

    /// A set of our own is on the disk, in the catalog and in recording.log: from here on members may be told of it.
    /// Where nothing certain is heard of one, another is asked for ([`SnapshotControl::request_soon`]).
    fn on_snapshot_published(&mut self, set: &SnapshotSet) {
        let SnapshotSet { log_position, leadership_term_id, consensus_module, services, .. } = set;
        tracing::info!(
            log_position,
            leadership_term_id,
            consensus_module,
            ?services,
            "standby snapshot taken"
        );
        self.downstream.on_snapshot_published(set);
        self.retention.on_snapshot_published(*log_position);
        self.on_snapshot_ended(*log_position, true);
    }
}
