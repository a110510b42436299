//! What others are told: how we stand, to those that ask us as a member, and our snapshots, to the members.

use std::path::PathBuf;

use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::serving::{AnnouncementOutcome, MemberOutcome};
use consensus_tap::tap::TapReport;

use super::{ArchiveCommand, Conductor, StorageJob};
use crate::agent::storage::FileOwner;
use crate::announcing::Announcing;
use crate::standing::StandingKeeper;

/// What the conductor keeps for the archive agent to tell.
#[derive(Debug)]
pub struct Downstream {
    standing: StandingKeeper,
    /// Something that may have changed the standing has happened.
    is_stale: bool,
    announcing: Announcing,
    /// Where announcements are remembered.
    path: PathBuf,
    is_saving: bool,
}

impl Downstream {
    /// Nothing was told yet in this run; `path` is where announcements are remembered.
    pub fn new(standing: StandingKeeper, announcing: Announcing, path: PathBuf) -> Self {
        Self { standing, is_stale: true, announcing, path, is_saving: false }
    }

    /// Terms, snapshots or the log are not what they were.
    pub(super) fn on_history_changed(&mut self) {
        self.is_stale = true;
    }

    /// The members as the last source named them; empty before the first.
    pub(super) fn cluster_members(&self) -> &str {
        self.standing.cluster_members()
    }

    /// The services run, and these sets are there.
    pub(super) fn on_started(&mut self, sets: &[SnapshotSet]) {
        self.announcing.on_sets_found(sets);
    }

    /// A set of our own counts, and the archive agent lists it: every member is to be told.
    pub(super) fn on_snapshot_published(&mut self, set: &SnapshotSet) {
        self.announcing.announce(set);
    }

    /// From where on snapshot sets must stay for the members.
    pub(super) fn referred_positions(&self) -> Vec<i64> {
        self.announcing.records().referred_positions()
    }

    /// These sets are about to go.
    pub(super) fn on_purge(&mut self, sets: &[SnapshotSet]) {
        self.announcing.on_purge(sets);
    }

    pub(super) fn on_leadership_term(&mut self, leadership_term_id: i64, leader_member_id: i32) {
        self.standing.on_leadership_term(leadership_term_id, leader_member_id);
        self.is_stale = true;
    }

    /// This node leads, and serves clients: it is the only member.
    pub(super) fn on_leading(&mut self, member_id: i32, leadership_term_id: i64, member_entry: String) {
        self.standing.on_leading(member_id, leadership_term_id, member_entry);
        self.is_stale = true;
    }

    /// What the tap says of its source.
    pub(super) fn on_report(&mut self, report: &TapReport) {
        match report {
            TapReport::SourceChosen(source) => return self.standing.on_source_chosen(source.clone()),
            TapReport::Following { .. } => self.standing.on_following(),
            TapReport::SourceChanged(source) => self.standing.on_source_changed(source),
            TapReport::SourceLost { .. } | TapReport::Halted { .. } => self.standing.on_source_lost(),
            TapReport::SnapshotsNotFetched { .. } | TapReport::SourcesBehind { .. } => return,
        }
        self.announcing.on_members(self.standing.cluster_members());
        self.is_stale = true;
    }
}

impl Conductor {
    /// Passes on what changed, and has remembered what is about to be sent.
    pub(super) fn tell_others(&mut self) -> usize {
        let Downstream { standing, is_stale, announcing, path, is_saving } = &mut self.downstream;
        let mut work = 0;
        if std::mem::take(is_stale)
            && let Some(standing) = standing.take_changed(&self.history)
        {
            self.rings.archive_commands.push(ArchiveCommand::Standing(standing));
            work += 1;
        }
        announcing.on_timeout(self.now_ns);
        if announcing.take_snapshot_wish(self.now_ns) {
            self.snapshots.request_soon();
        }
        if !*is_saving && let Some(bytes) = announcing.poll_save() {
            *is_saving = true;
            work += 1;
            self.rings.jobs.push(StorageJob::Replace {
                owner: FileOwner::Announcements,
                path: path.clone(),
                bytes,
            });
        }
        work
    }

    /// The announcements are remembered, so they may be sent; or why not.
    pub(super) fn on_announcements_saved(&mut self, saved: Result<(), String>) {
        self.downstream.is_saving = false;
        match saved {
            Ok(()) => {
                for announcement in self.downstream.announcing.on_saved() {
                    self.rings.archive_commands.push(ArchiveCommand::Announce(Box::new(announcement)));
                }
            }
            Err(reason) => {
                self.downstream.announcing.on_save_failed();
                let text = format!("members are not told of snapshots: {reason}");
                tracing::error!("{text}");
                self.life.record_error(&text);
            }
        }
    }

    /// An announcement came to its end at one member.
    pub(super) fn on_announced(&mut self, outcome: &MemberOutcome) {
        let MemberOutcome { member_id, log_position, outcome: what } = outcome;
        match what {
            AnnouncementOutcome::Taken => {
                tracing::info!(member_id, log_position, "snapshot taken by a member")
            }
            AnnouncementOutcome::Refused { reason } => {
                let text = format!(
                    "member {member_id} refuses standby snapshots: {reason}; it takes them with \
                     aeron.cluster.accept.standby.snapshots=true"
                );
                tracing::warn!(log_position, "{text}");
                self.life.record_error(&text);
            }
            AnnouncementOutcome::Unknown { reason } => {
                tracing::warn!(
                    member_id,
                    log_position,
                    reason,
                    "nobody knows whether a member has our snapshot"
                );
            }
            AnnouncementOutcome::Unreachable { reason } => {
                tracing::warn!(member_id, log_position, reason, "a member could not be told of our snapshot");
            }
        }
        self.downstream.announcing.on_outcome(outcome, self.now_ns);
        // What this member had before may go now.
        self.retention.on_history_changed();
    }
}
