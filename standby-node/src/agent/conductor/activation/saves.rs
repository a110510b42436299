//! `activation.dat`: what was decided and promised goes to the disk, one change after the other.

use std::collections::VecDeque;
use std::path::PathBuf;

use consensus_tap::file::activation::{Activation as ActivationFile, ActivationPhase, ActivationRecord};
use consensus_tap::transition::{Decision, Grant};

use crate::agent::storage::{FileOwner, StorageJob};
use crate::store::SyncLevel;
use crate::sys::clock;

/// Something that is to be on the disk.
#[derive(Clone, Debug)]
pub(super) enum Save {
    /// What this node promises.
    Grant(Option<Grant>),
    /// That it leads.
    Decision(Decision),
    /// That it may not any more.
    Fenced,
    /// That it led once.
    Forgotten,
    /// Of the cluster, as the source named them.
    Members(String),
}

/// The file, and what is to be written there.
#[derive(Debug)]
pub(super) struct Saves {
    path: PathBuf,
    /// What the disk has, or is about to.
    file: ActivationFile,
    file_sync_level: SyncLevel,
    waiting: VecDeque<Save>,
    is_under_way: bool,
}

impl Saves {
    /// `file` is what lies at `path`.
    pub(super) fn new(path: PathBuf, file: ActivationFile, file_sync_level: SyncLevel) -> Self {
        Self { path, file, file_sync_level, waiting: VecDeque::new(), is_under_way: false }
    }

    /// What the disk has, or is about to.
    pub(super) fn file(&self) -> &ActivationFile {
        &self.file
    }

    /// Members that go to the disk with what is written next.
    pub(super) fn set_cluster_members(&mut self, cluster_members: String) {
        self.file.cluster_members = cluster_members;
    }

    pub(super) fn push(&mut self, save: Save) {
        self.waiting.push_back(save);
    }

    /// Whether all is on the disk.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is to be written next, if nothing is on its way.
    pub(super) fn next(&mut self) -> Option<StorageJob> {
        if self.is_under_way {
            return None;
        }
        let save = self.waiting.front()?;
        let mut file = self.file.clone();
        match save {
            Save::Grant(grant) => file.grant = grant.map(|grant| (grant.member_id, grant.claim_id)),
            Save::Decision(decision) => {
                file.record = Some(ActivationRecord {
                    phase: ActivationPhase::Leading,
                    leadership_term_id: decision.leadership_term_id,
                    base_log_position: decision.base_log_position,
                    claim_id: decision.claim_id,
                    log_recording_id: decision.log_recording_id,
                    forced_checks: decision.forced.bits(),
                    time_ms: clock::epoch_ms(),
                    file_sync_level: self.file_sync_level as i32,
                });
            }
            Save::Fenced => {
                if let Some(record) = &mut file.record {
                    record.phase = ActivationPhase::Fenced;
                }
            }
            Save::Forgotten => file.record = None,
            Save::Members(members) => file.cluster_members.clone_from(members),
        }
        self.is_under_way = true;
        let bytes = file.encode();
        self.file = file;
        Some(StorageJob::Replace { owner: FileOwner::Activation, path: self.path.clone(), bytes })
    }

    /// The last one was written, or could not be. Returns what it was.
    pub(super) fn on_written(&mut self) -> Option<Save> {
        self.is_under_way = false;
        self.waiting.pop_front()
    }
}
