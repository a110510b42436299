//! Carries out a purge: of snapshot sets, and of the log's segments before a position.
//!
//! Order of writes: what goes is first disowned on the disk (a row of recording.log, a record of the catalog), then
//! deleted. A crash in between leaves files that nobody finds; the next purge deletes them ([`leftovers`]).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use consensus_tap::file::catalog::{Record, RecordState};
use consensus_tap::file::recording_log::{RecordingLog, SnapshotSet};
use consensus_tap::file::retention::Purge;
use consensus_tap::file::segment::{RecordingGeometry, SegmentName};

use super::catalog::Catalog;
use super::recording_log::RecordingLogFile;
use super::snapshot_checksum::remove_beside;
use super::{StoreError, SyncLevel, sync_directory};
use crate::sys::disk;

/// What a purge deleted, or would.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Deletions {
    /// Segment files.
    pub files: Vec<PathBuf>,
    /// Bytes that they occupy.
    pub occupied: u64,
}

impl Deletions {
    /// Takes in others.
    pub fn add(&mut self, others: Self) {
        self.files.extend(others.files);
        self.occupied += others.occupied;
    }
}

/// The segment files that `purge` deletes.
///
/// # Errors
/// [`StoreError::Io`].
pub fn planned_deletions(
    archive: &Path,
    log: &RecordingGeometry,
    purge: &Purge,
) -> Result<Deletions, StoreError> {
    let recordings: Vec<i64> = purge.sets.iter().flat_map(recordings_of).collect();
    select(archive, |name| {
        recordings.contains(&name.recording_id)
            || (name.recording_id == log.recording_id() && name.base_position < purge.log_start_position)
    })
}

/// Segment files that no recording in use has: below the start of one, or of one that is deleted. With a recording log
/// also of recordings that were never completed, which none of its rows names: one that is named was marked as invalid by
/// an operator, who may take that back. Only where no node runs are these certain to stay so.
///
/// # Errors
/// [`StoreError::Io`].
pub fn leftovers(
    archive: &Path,
    records: &[Record],
    named_by: Option<&RecordingLog>,
) -> Result<Deletions, StoreError> {
    let named: Option<HashSet<i64>> =
        named_by.map(|log| log.rows().iter().map(|row| row.entry.recording_id).collect());
    select(archive, |name| {
        let Ok(at) =
            records.binary_search_by_key(&name.recording_id, |record| record.descriptor.recording_id)
        else {
            // Not in this catalog at all: somebody put it there.
            return false;
        };
        match records[at].state {
            RecordState::Deleted => true,
            RecordState::Invalid => named.as_ref().is_some_and(|named| !named.contains(&name.recording_id)),
            RecordState::Valid => records[at]
                .descriptor
                .geometry()
                .is_ok_and(|geometry| name.base_position < geometry.first_segment_base()),
        }
    })
}

/// Files in an archive's directory that its catalog does not name. Finding them and deleting them takes time.
#[derive(Debug)]
pub struct UnnamedFiles {
    archive: PathBuf,
    records: Vec<Record>,
}

impl UnnamedFiles {
    /// Files beside those that `records`, in order of ids, name.
    pub(super) fn new(archive: &Path, records: Vec<Record>) -> Self {
        Self { archive: archive.to_owned(), records }
    }

    /// Deletes them. One that another thread deletes meanwhile is gone as well.
    ///
    /// # Errors
    /// [`StoreError::Io`] at the first that cannot be deleted.
    pub fn delete(&self) -> Result<Deletions, StoreError> {
        let deletions = leftovers(&self.archive, &self.records, None)?;
        if !deletions.files.is_empty() {
            delete(&self.archive, &deletions)?;
        }
        Ok(deletions)
    }
}

/// Carries out what [`plan_purge`](consensus_tap::file::retention::plan_purge) decided, and returns what it deleted.
///
/// # Errors
/// [`StoreError`]; what was disowned until then stays so, and the next purge goes on.
pub fn carry_out(
    archive: &Path,
    catalog: &mut Catalog,
    recording_log: &mut RecordingLogFile,
    log: &RecordingGeometry,
    purge: &Purge,
) -> Result<Deletions, StoreError> {
    let deletions = planned_deletions(archive, log, purge)?;
    for set in &purge.sets {
        recording_log.invalidate_snapshot_set(set)?;
    }
    for recording_id in purge.sets.iter().flat_map(recordings_of) {
        catalog.delete(recording_id)?;
    }
    if purge.log_start_position > log.start_position() {
        catalog.set_start_position(log.recording_id(), purge.log_start_position)?;
    }
    catalog.sync(SyncLevel::All)?;
    delete(archive, &deletions)?;
    Ok(deletions)
}

/// Deletes these files; one that is gone already is no error.
///
/// # Errors
/// [`StoreError::Io`] at the first that cannot be deleted.
pub fn delete(archive: &Path, deletions: &Deletions) -> Result<(), StoreError> {
    for path in &deletions.files {
        match disk::remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io(path, "remove it")(error));
            }
            _ => {}
        }
        remove_beside(path).map_err(StoreError::io(path, "remove its checksum"))?;
    }
    sync_directory(archive)
}

/// The recordings of a set, the consensus module's last.
pub(crate) fn recordings_of(set: &SnapshotSet) -> impl Iterator<Item = i64> {
    set.services.iter().copied().chain([set.consensus_module])
}

/// The segment files in the archive's directory that are wanted, by recording and position.
fn select(archive: &Path, is_wanted: impl Fn(SegmentName) -> bool) -> Result<Deletions, StoreError> {
    use std::os::unix::fs::MetadataExt;

    let mut names = Vec::new();
    for entry in std::fs::read_dir(archive).map_err(StoreError::io(archive, "list it"))? {
        let name = entry.map_err(StoreError::io(archive, "list it"))?.file_name();
        names.extend(name.to_str().and_then(SegmentName::parse).filter(|name| is_wanted(*name)));
    }
    names.sort_unstable();
    let mut deletions = Deletions::default();
    for name in names {
        let path = archive.join(name.to_string());
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Another thread has just deleted it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io(&path, "ask for its length")(error)),
        };
        deletions.occupied += metadata.blocks() * BLOCK_LENGTH;
        deletions.files.push(path);
    }
    Ok(deletions)
}

/// Unit in which the system counts what a file occupies, bytes.
const BLOCK_LENGTH: u64 = 512;
