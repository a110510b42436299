//! A node's directory as it lies there: read beside a running node or after its end, never written.
//!
//! Each report here is one verb's: made from files, printed as text or as JSON. They read what any Aeron node writes,
//! so that they work on a member's directory as well, where that holds `archive` and `cluster` side by side.

pub mod archive_report;
pub mod node_report;
pub mod recording_check;
pub mod recording_log_report;
pub mod recovery_plan;
pub mod snapshot_check;
pub mod snapshot_report;

use std::path::{Path, PathBuf};

use consensus_tap::file::archive_mark::{self, ArchiveMark};
use consensus_tap::file::catalog::{self, Record};
use consensus_tap::file::cluster_mark::{self, ClusterMark};
use consensus_tap::file::error_log::ErrorLog;
use consensus_tap::file::node_state::{self, CandidateTerm};
use consensus_tap::file::recording_log::{self, RecordingLog, SnapshotSet};

use crate::store::StoreError;
use crate::store::catalog::Catalog;
use crate::store::directory::Holder;
use crate::store::durability::{self, DurabilityFile, DurableMark};
use crate::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use crate::store::node_state::NodeStateFile;
use crate::store::recording_log::RecordingLogFile;
use crate::store::segment::SegmentError;

/// The files of one node.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    root: PathBuf,
}

/// Why a directory cannot be reported on.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// A control-plane file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A segment file.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The file is not there.
    #[error("{}: there is no such file; check --dir, or start the node once", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// recording.log names a recording that the catalog does not have.
    #[error(
        "{}: a row names recording {recording_id}, which {} does not have in use: restore the archive, or run `reseed`",
        recording_log.display(),
        catalog.display()
    )]
    UnknownRecording {
        /// recording.log.
        recording_log: PathBuf,
        /// The catalog.
        catalog: PathBuf,
        /// Which recording.
        recording_id: i64,
    },
    /// No snapshot set is as asked for.
    #[error("{}: no valid snapshot set {what}; `snapshot list` shows what there is", path.display())]
    NoSnapshot {
        /// recording.log.
        path: PathBuf,
        /// What was asked for.
        what: String,
    },
}

impl NodeFiles {
    /// The files in `root`.
    ///
    /// # Errors
    /// [`StoreError::NoHistory`] when no node has run there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let files = Self { root: root.to_owned() };
        if files.archive().is_dir() && files.cluster().is_dir() {
            return Ok(files);
        }
        Err(StoreError::NoHistory { path: root.to_owned() })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The archive's directory.
    pub fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// The cluster's directory.
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where the catalog lies.
    pub fn catalog_path(&self) -> PathBuf {
        self.archive().join(catalog::FILE_NAME)
    }

    /// Where the recording log lies.
    pub fn recording_log_path(&self) -> PathBuf {
        self.cluster().join(recording_log::FILE_NAME)
    }

    /// The catalog.
    ///
    /// # Errors
    /// [`InspectionError`]; as for all calls below.
    pub fn catalog(&self) -> Result<catalog::Catalog, InspectionError> {
        let path = self.catalog_path();
        Catalog::read(&path)?.ok_or(InspectionError::Missing { path })
    }

    /// The recording log, and how many bytes behind its rows are none.
    pub fn recording_log(&self) -> Result<(RecordingLog, u64), InspectionError> {
        let path = self.recording_log_path();
        RecordingLogFile::read(&path)?.ok_or(InspectionError::Missing { path })
    }

    /// The cluster's mark file and its error log.
    pub fn cluster_mark(&self) -> Result<Option<(ClusterMark, ErrorLog)>, InspectionError> {
        Ok(ClusterMarkFile::read(&self.cluster().join(cluster_mark::FILE_NAME))?)
    }

    /// The archive's mark file and its error log.
    pub fn archive_mark(&self) -> Result<Option<(ArchiveMark, ErrorLog)>, InspectionError> {
        Ok(ArchiveMarkFile::read(&self.archive().join(archive_mark::FILE_NAME))?)
    }

    /// The newest candidate term, where the node has one.
    pub fn candidate_term(&self) -> Result<Option<CandidateTerm>, InspectionError> {
        Ok(NodeStateFile::read(&self.cluster().join(node_state::FILE_NAME))?)
    }

    /// What survives a power cut, where the node keeps that.
    pub fn durable_mark(&self) -> Result<Option<DurableMark>, InspectionError> {
        Ok(DurabilityFile::read(&self.cluster().join(durability::FILE_NAME))?)
    }

    /// Whether a process uses these files now, as far as a look without the lock can tell: one of the mark files gives
    /// a sign of life, and the process that holds, or last held, the lock has not gone.
    ///
    /// # Errors
    /// [`InspectionError`] when a mark file cannot be read.
    pub fn is_in_use(&self, now_ms: i64) -> Result<bool, InspectionError> {
        let marks = [
            self.cluster_mark()?.map(|(mark, _)| (mark.activity_timestamp, mark.pid, mark.start_timestamp)),
            self.archive_mark()?.map(|(mark, _)| (mark.activity_timestamp, mark.pid, mark.start_timestamp)),
        ];
        let holder = Holder::read(&self.root)?;
        Ok(marks.into_iter().flatten().any(|(activity_timestamp, pid, start_timestamp)| {
            let is_ours = holder.is_some_and(|holder| {
                i64::from(holder.pid) == pid && holder.start_timestamp_ms == start_timestamp
            });
            // A pid is looked up only for a node of ours: a Java process may live in another container.
            let has_gone = is_ours && holder.is_some_and(|holder| holder.has_gone());
            crate::store::mark::is_active(activity_timestamp, start_timestamp, now_ms) && !has_gone
        }))
    }

    /// The catalog's record of a recording that recording.log names.
    ///
    /// # Errors
    /// [`InspectionError::UnknownRecording`].
    pub fn record<'a>(
        &self,
        catalog: &'a catalog::Catalog,
        recording_id: i64,
    ) -> Result<&'a Record, InspectionError> {
        catalog.find(recording_id).ok_or_else(|| InspectionError::UnknownRecording {
            recording_log: self.recording_log_path(),
            catalog: self.catalog_path(),
            recording_id,
        })
    }

    /// The valid snapshot sets, newest first: with `services` those that are complete for that many, else with as
    /// many services as each has.
    ///
    /// # Errors
    /// [`InspectionError`].
    pub fn snapshot_sets(&self, services: Option<usize>) -> Result<Vec<SnapshotSet>, InspectionError> {
        let (log, _) = self.recording_log()?;
        Ok(services.map_or_else(|| log.snapshot_sets_as_found(), |count| log.snapshot_sets(count)))
    }

    /// The valid set at `log_position`, or the newest.
    ///
    /// # Errors
    /// [`InspectionError::NoSnapshot`].
    pub fn snapshot_set(
        &self,
        services: Option<usize>,
        log_position: Option<i64>,
    ) -> Result<SnapshotSet, InspectionError> {
        let sets = self.snapshot_sets(services)?;
        let is_wanted = |set: &SnapshotSet| log_position.is_none_or(|position| set.log_position == position);
        sets.into_iter().find(is_wanted).ok_or_else(|| {
            let at = log_position.map_or_else(|| "is there".to_owned(), |at| format!("at log position {at}"));
            let with = services.map(|count| format!(" with {count} services")).unwrap_or_default();
            InspectionError::NoSnapshot { path: self.recording_log_path(), what: at + &with }
        })
    }
}

/// A position as people read it: -1 stands for none.
fn position_text(position: i64) -> String {
    if position == -1 { "none".to_owned() } else { position.to_string() }
}
