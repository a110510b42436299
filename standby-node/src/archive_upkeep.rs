//! What an operator does to the archive of a node that does not run: purge it, mend it.

use std::fmt::Write as _;
use std::path::PathBuf;

use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::file::retention::{Pins, Purge, RetentionPolicy, plan_purge};
use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::tap::OVERLAP_LENGTH;
use serde::Serialize;

use crate::inspection::recording_check::{Depth, RecordingCheck, RecordingFault, check_recording};
use crate::inspection::{InspectionError, NodeFiles};
use crate::store::catalog::Catalog;
use crate::store::purge::{Deletions, carry_out, delete, leftovers, planned_deletions, recordings_of};
use crate::store::recording_log::RecordingLogFile;
use crate::store::repair::{cut_off_last_frame, make_next_segment};
use crate::store::segment::SegmentError;
use crate::store::standby_snapshots::StandbySnapshots;
use crate::store::{StoreError, SyncLevel};

/// What a purge deleted, or would.
#[derive(Clone, Debug, Serialize)]
pub struct PurgeReport {
    /// Whether nothing was deleted yet.
    pub is_dry_run: bool,
    /// Log positions of the snapshot sets that go, oldest first.
    pub snapshot_positions: Vec<i64>,
    /// Log positions of those that stay, newest first.
    pub kept_snapshot_positions: Vec<i64>,
    /// Where the log began.
    pub log_start_position: i64,
    /// Where it begins then.
    pub new_log_start_position: i64,
    /// Segment files that go.
    pub files: Vec<PathBuf>,
    /// Bytes on the disk that they occupy.
    pub occupied: u64,
}

/// Why an archive cannot be purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// What is there cannot be read.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// A file cannot be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's recording.
    #[error(
        "the log, recording {recording_id}: {source}; nothing is purged from an archive that is not sound"
    )]
    Log {
        /// Which recording.
        recording_id: i64,
        /// What is wrong.
        source: RecordingFault,
    },
    /// There is no log yet.
    #[error("{}: no log is recorded here yet, so there is nothing to purge", path.display())]
    NoLog {
        /// recording.log.
        path: PathBuf,
    },
}

impl PurgeReport {
    /// Says what would go.
    ///
    /// # Errors
    /// [`PurgeError`].
    pub fn plan(
        files: &NodeFiles,
        policy: RetentionPolicy,
        services: Option<usize>,
    ) -> Result<Self, PurgeError> {
        let planned = Planned::new(files, policy, services)?;
        let mut deletions = planned_deletions(&files.archive(), &planned.log, &planned.purge)?;
        let (recording_log, _) = files.recording_log()?;
        deletions.add(leftovers(&files.archive(), &files.catalog()?.records, Some(&recording_log))?);
        Ok(planned.report(true, deletions))
    }

    /// Deletes what goes, and what earlier purges and fetches left. The caller holds the directory's lock.
    ///
    /// # Errors
    /// [`PurgeError`].
    pub fn carry_out(
        files: &NodeFiles,
        policy: RetentionPolicy,
        services: Option<usize>,
    ) -> Result<Self, PurgeError> {
        let planned = Planned::new(files, policy, services)?;
        let archive = files.archive();
        let mut catalog = Catalog::open_or_create(&files.catalog_path(), SyncLevel::None)?;
        let mut recording_log = RecordingLogFile::open_or_create(&files.recording_log_path())?;
        let left = leftovers(&archive, catalog.records(), Some(recording_log.log()))?;
        delete(&archive, &left)?;
        let mut deletions =
            carry_out(&archive, &mut catalog, &mut recording_log, &planned.log, &planned.purge)?;
        deletions.add(left);
        Ok(planned.report(false, deletions))
    }

    /// Some lines.
    pub fn to_text(&self) -> String {
        let (goes, begins) =
            if self.is_dry_run { ("would go", "would begin") } else { ("is gone", "begins") };
        let mut text = String::new();
        for position in &self.snapshot_positions {
            let _ = writeln!(text, "snapshot set at log position {position} {goes}");
        }
        let kept: Vec<_> = self.kept_snapshot_positions.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "kept snapshot sets: {}",
            if kept.is_empty() { "none, so all of the log stays".to_owned() } else { kept.join(", ") }
        );
        let _ = writeln!(
            text,
            "the log {begins} at {} instead of {}",
            self.new_log_start_position, self.log_start_position
        );
        for file in &self.files {
            let _ = writeln!(text, "{} {goes}", file.display());
        }
        let _ = writeln!(text, "{} files, {} bytes on the disk", self.files.len(), self.occupied);
        text
    }
}

struct Planned {
    log: RecordingGeometry,
    purge: Purge,
    kept: Vec<i64>,
}

impl Planned {
    fn new(files: &NodeFiles, policy: RetentionPolicy, services: Option<usize>) -> Result<Self, PurgeError> {
        let (recording_log, _) = files.recording_log()?;
        let catalog = files.catalog()?;
        let no_log = || PurgeError::NoLog { path: files.recording_log_path() };
        let recording_id = recording_log.log_recording_id().ok_or_else(no_log)?;
        let record = files.record(&catalog, recording_id)?;
        let check =
            check_recording(&files.archive(), &files.catalog_path(), record, Depth::LastSegment, false);
        let (log, end) = match (check.geometry, check.data_end) {
            (Some(log), Some(end)) if check.faults.iter().all(RecordingFault::is_repairable) => (log, end),
            _ => {
                let source = check.into_first_fault();
                return Err(PurgeError::Log { recording_id, source });
            }
        };
        // As a running node decides: only what a power cut would leave counts, and what a source compares with stays.
        let durable = files.durable_mark()?.filter(|mark| mark.recording_id == recording_id);
        let end = durable.map_or(end, |mark| mark.position.clamp(log.start_position(), end));
        // A set that the log does not reach, or whose recordings are not in use, is none to start from: it makes no older
        // one unwanted.
        let is_there = |set: &SnapshotSet| {
            set.log_position <= end
                && recordings_of(set).all(|recording_id| catalog.find(recording_id).is_some())
        };
        let sets: Vec<_> = files.snapshot_sets(services)?.into_iter().filter(is_there).collect();
        let announced = StandbySnapshots::read(&StandbySnapshots::path_in(&files.cluster()))?;
        let pins = Pins {
            set_positions: announced.referred_positions(),
            log_positions: vec![end.saturating_sub(OVERLAP_LENGTH)],
        };
        let purge = plan_purge(policy, &pins, &sets, &log, end);
        let kept = sets.iter().filter(|set| !purge.sets.contains(set)).map(|set| set.log_position).collect();
        Ok(Self { log, purge, kept })
    }

    fn report(self, is_dry_run: bool, deletions: Deletions) -> PurgeReport {
        PurgeReport {
            is_dry_run,
            snapshot_positions: self.purge.sets.iter().map(|set| set.log_position).collect(),
            kept_snapshot_positions: self.kept,
            log_start_position: self.log.start_position(),
            new_log_start_position: self.purge.log_start_position,
            files: deletions.files,
            occupied: deletions.occupied,
        }
    }
}

/// Mends what can be mended of what was found, and says what that was. The caller holds the directory's lock.
///
/// # Errors
/// [`SegmentError`] at the first that cannot be mended.
pub fn repair_all(files: &NodeFiles, checks: &[RecordingCheck]) -> Result<Vec<String>, SegmentError> {
    let archive = files.archive();
    let mut repaired = Vec::new();
    for check in checks {
        for fault in &check.faults {
            match (fault, &check.geometry) {
                (RecordingFault::LastFrameTorn { path, position, .. }, Some(geometry)) => {
                    cut_off_last_frame(&archive, geometry, *position)?;
                    repaired.push(format!("{}: ends at position {position} now", path.display()));
                }
                (RecordingFault::NextSegmentMissing { path, segment_length }, _) => {
                    make_next_segment(path, *segment_length)?;
                    repaired.push(format!("{}: is there now", path.display()));
                }
                _ => {}
            }
        }
    }
    Ok(repaired)
}
