//! `recording.log` on disk: appended rows, and fields changed in place.

use std::path::{Path, PathBuf};

use consensus_tap::file::recording_log::{Entry, RecordingLog, Row, RowError, SnapshotSet};
use consensus_tap::file::{Edit, FormatError};

use super::{ControlFile, ControlFileSync, StoreError, SyncLevel};

/// The recording log of a node. Every change is in the file when its call returns; what a crash of the host
/// must not undo needs [`Self::sync`] as well.
#[derive(Debug)]
pub struct RecordingLogFile {
    file: ControlFile,
    log: RecordingLog,
    cut_length: u64,
}

impl RecordingLogFile {
    /// Opens the file, or creates an empty one and syncs its name into the directory.
    ///
    /// A last row that is cut short, or zeros in place of the last rows, come from a crash while appending:
    /// nobody was told that these rows were there. They are cut off, see [`Self::cut_length`].
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Format`] for any other fault, with its offset.
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(path)?;
        let (log, cut_length) = load(&file)?;
        // Pages that an earlier process could not sync count as clean until they are written again.
        file.rewrite(LENGTH_MAX)?;
        Ok(Self { file, log, cut_length })
    }

    /// Reads the file as it is, beside a running node as well; `None` when there is none. With it come the bytes
    /// at its end that are no whole row yet: a node is appending, or died while it was.
    ///
    /// # Errors
    /// As [`Self::open_or_create`].
    pub fn read(path: &Path) -> Result<Option<(RecordingLog, u64)>, StoreError> {
        let Some(file) = ControlFile::open_read_only(path)? else { return Ok(None) };
        let (log, unfinished, _) = parse(&file)?;
        Ok(Some((log, unfinished)))
    }

    /// The rows and the queries on them.
    pub fn log(&self) -> &RecordingLog {
        &self.log
    }

    /// Bytes of a torn append that [`Self::open_or_create`] or [`Self::reload`] cut off, 0 if none.
    pub fn cut_length(&self) -> u64 {
        self.cut_length
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.file.path.clone()
    }

    /// Enters a term, see [`RecordingLog::plan_append_term`].
    ///
    /// # Errors
    /// [`StoreError::Row`] when the term does not fit what is there, [`StoreError::Io`].
    pub fn append_term(
        &mut self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        timestamp: i64,
    ) -> Result<(), StoreError> {
        let plan =
            self.log.plan_append_term(recording_id, leadership_term_id, term_base_log_position, timestamp);
        self.carry_out(plan)
    }

    /// Brings the log up to a term, filling in skipped ones, see [`RecordingLog::plan_coherent`].
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn ensure_coherent(
        &mut self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        log_position: Option<i64>,
        timestamp: i64,
    ) -> Result<(), StoreError> {
        let plan = self.log.plan_coherent(
            recording_id,
            leadership_term_id,
            term_base_log_position,
            log_position,
            timestamp,
        );
        self.carry_out(plan)
    }

    /// Takes back what is beyond a later term's base, see [`RecordingLog::plan_cut`]. Returns how many rows that were.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn cut(
        &mut self,
        leadership_term_id: i64,
        term_base_log_position: i64,
        event_position: i64,
    ) -> Result<usize, StoreError> {
        let edits = self.log.plan_cut(leadership_term_id, term_base_log_position, event_position);
        let count = edits.len();
        if count > 0 {
            self.carry_out(Ok(edits))?;
        }
        Ok(count)
    }

    /// Enters one snapshot row, see [`RecordingLog::plan_append_snapshot`].
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn append_snapshot(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let plan = self.log.plan_append_snapshot(entry);
        self.carry_out(plan)
    }

    /// Enters a snapshot: the services' rows, then the consensus module's, without which the others do not
    /// count.
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn append_snapshot_set(&mut self, set: &SnapshotSet) -> Result<(), StoreError> {
        set.entries().iter().try_for_each(|entry| self.append_snapshot(entry))
    }

    /// Ends a term, see [`RecordingLog::plan_commit_log_position`].
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn commit_log_position(
        &mut self,
        leadership_term_id: i64,
        log_position: i64,
    ) -> Result<(), StoreError> {
        let plan = self.log.plan_commit_log_position(leadership_term_id, log_position);
        self.carry_out(plan)
    }

    /// Marks the row that starts at `offset` as invalid.
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn invalidate(&mut self, offset: u64) -> Result<(), StoreError> {
        let plan = self.log.plan_invalidate(offset);
        self.carry_out(plan)
    }

    /// Marks a whole set as invalid: its consensus module's row first, without which it counts no more.
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn withdraw_snapshot_set(&mut self, set: &SnapshotSet) -> Result<(), StoreError> {
        for entry in set.entries().iter().rev() {
            let is_its_row = |row: &&Row| row.entry == *entry;
            let offsets: Vec<u64> = self.log.rows().iter().filter(is_its_row).map(|row| row.offset).collect();
            offsets.into_iter().try_for_each(|offset| self.invalidate(offset))?;
        }
        Ok(())
    }

    /// As [`Self::withdraw_snapshot_set`], on the disk.
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn invalidate_snapshot_set(&mut self, set: &SnapshotSet) -> Result<(), StoreError> {
        self.withdraw_snapshot_set(set)?;
        self.sync(SyncLevel::All)
    }

    /// Marks the newest snapshot as invalid; false when there is none.
    ///
    /// # Errors
    /// As [`Self::append_term`].
    pub fn invalidate_latest_snapshot(&mut self) -> Result<bool, StoreError> {
        let plan = self.log.plan_invalidate_latest_snapshot();
        let found = plan.as_ref().is_ok_and(|edits| !edits.is_empty());
        self.carry_out(plan).map(|()| found)
    }

    /// Puts what was written on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what is on the disk is then not known.
    pub fn sync(&self, level: SyncLevel) -> Result<(), StoreError> {
        self.file.sync(level)
    }

    /// A handle by which another thread puts the file on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn for_sync(&self) -> Result<ControlFileSync, StoreError> {
        self.file.for_sync()
    }

    /// Reads the file again, after a tool has changed it.
    ///
    /// # Errors
    /// As [`Self::open_or_create`].
    pub fn reload(&mut self) -> Result<(), StoreError> {
        (self.log, self.cut_length) = load(&self.file)?;
        Ok(())
    }

    fn carry_out(&mut self, plan: Result<Vec<Edit>, RowError>) -> Result<(), StoreError> {
        let edits = plan.map_err(|source| StoreError::Row { path: self.path(), source })?;
        match self.file.store(&edits) {
            Ok(()) => {
                self.log.apply(&edits);
                Ok(())
            }
            Err(error) => {
                // Part of the edits may be there; what counts is what the file says.
                self.reload()?;
                Err(error)
            }
        }
    }
}

/// Longest file that is read. Aeron's own rows would take decades to fill it.
const LENGTH_MAX: u64 = 256 * 1024 * 1024;

fn load(file: &ControlFile) -> Result<(RecordingLog, u64), StoreError> {
    let (log, unfinished_length, error) = parse(file)?;
    if let Some(error) = error {
        tracing::warn!(path = %file.path.display(), %error, "cutting off a row that was never completed");
        let end = file.length()? - unfinished_length;
        if matches!(error, FormatError::Unwritten { .. }) {
            keep_aside(file, end)?;
        }
        file.set_length(end)?;
        file.sync(SyncLevel::All)?;
    }
    Ok((log, unfinished_length))
}

/// Copies what stands behind a row of zeros into a file beside this one. A power cut may have left it, of appends that
/// nobody was told of; but a page that rotted to zeros looks the same.
fn keep_aside(file: &ControlFile, end: u64) -> Result<(), StoreError> {
    let image = file.read(LENGTH_MAX)?;
    let cut = image.get(usize::try_from(end).unwrap_or(usize::MAX)..).unwrap_or_default();
    if cut.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let mut path = file.path.clone().into_os_string();
    path.push(format!(".cut-{end}"));
    let (aside, _) = ControlFile::open_or_create(Path::new(&path))?;
    aside.set_length(0)?;
    aside.write(0, cut)?;
    aside.sync(SyncLevel::All)?;
    tracing::warn!(path = %aside.path.display(), "kept the rows that stood behind it");
    Ok(())
}

/// The whole rows, how many bytes behind them are no whole row, and why not.
fn parse(file: &ControlFile) -> Result<(RecordingLog, u64, Option<FormatError>), StoreError> {
    let mut image = file.read(LENGTH_MAX)?;
    let error = match RecordingLog::parse(image.clone()) {
        Ok(log) => return Ok((log, 0, None)),
        Err(error) => error,
    };
    let end = match &error {
        FormatError::Truncated { offset, .. } | FormatError::Unwritten { offset, .. } => {
            usize::try_from(*offset).expect("an offset in the image")
        }
        FormatError::Unexpected { .. } => return Err(file.bad(error, NEXT_STEP)),
    };
    let unfinished_length = u64::try_from(image.len() - end).expect("a usize fits");
    image.truncate(end);
    let log = RecordingLog::parse(image).map_err(|error| file.bad(error, NEXT_STEP))?;
    Ok((log, unfinished_length, Some(error)))
}

const NEXT_STEP: &str =
    "restore the file from a backup, or let this node start anew from a member with `reseed`";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use consensus_tap::file::recording_log::{FILE_NAME, NULL_POSITION};

    use super::*;

    fn set(log_position: i64) -> SnapshotSet {
        SnapshotSet {
            leadership_term_id: 1,
            term_base_log_position: 640,
            log_position,
            timestamp: 5,
            consensus_module: 3,
            services: vec![4, 5],
        }
    }

    #[test]
    fn what_was_entered_is_there_after_opening_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let mut file = RecordingLogFile::open_or_create(&path).unwrap();
        file.append_term(0, 0, 0, 1).unwrap();
        file.ensure_coherent(0, 3, 640, None, 2).unwrap();
        file.append_snapshot_set(&set(960)).unwrap();
        file.append_snapshot_set(&set(1280)).unwrap();
        assert!(file.invalidate_latest_snapshot().unwrap());
        file.commit_log_position(3, 1600).unwrap();
        file.sync(SyncLevel::Data).unwrap();
        let again = RecordingLogFile::open_or_create(&path).unwrap();
        assert_eq!(again.log(), file.log());
        assert_eq!(again.log().snapshot_sets(2), [set(960)]);
        assert_eq!(again.log().last_term().unwrap().entry.log_position, 1600);
    }

    #[test]
    fn a_torn_append_is_cut_off_and_a_damaged_row_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let mut file = RecordingLogFile::open_or_create(&path).unwrap();
        file.append_term(0, 0, 0, 1).unwrap();
        file.append_term(0, 1, 640, 1).unwrap();
        for (length, cut) in [(100, 36), (64 + 4096, 4096)] {
            file.file.set_length(64).unwrap();
            file.file.set_length(length).unwrap();
            if cut == 36 {
                file.file.write(64, &[1; 36]).unwrap();
            }
            file.reload().unwrap();
            assert_eq!((file.cut_length(), file.log().image().len()), (cut, 64));
            assert_eq!(path.metadata().unwrap().len(), 64);
        }
        file.file.file.write_all_at(&[9], 44).unwrap();
        let error = file.reload().unwrap_err().to_string();
        assert!(error.contains("recording.log: at offset 44: type: expected 0 TERM"), "{error}");
        assert!(error.contains("`reseed`"), "{error}");
        assert_eq!(path.metadata().unwrap().len(), 64);
    }

    #[test]
    fn rows_behind_a_row_of_zeros_are_kept_aside() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let mut file = RecordingLogFile::open_or_create(&path).unwrap();
        for (term, base) in [(0, 0), (1, 640), (2, 1280)] {
            file.append_term(0, term, base, 1).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        file.file.write(64, &[0; 64]).unwrap();
        file.reload().unwrap();
        assert_eq!((file.cut_length(), std::fs::read(&path).unwrap().len()), (128, 64));
        let aside = std::fs::read(temp.path().join("recording.log.cut-64")).unwrap();
        assert_eq!((&aside[..64], &aside[64..]), (&[0; 64][..], &whole[128..]));
    }

    #[test]
    fn a_refused_row_leaves_the_file_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let mut file = RecordingLogFile::open_or_create(&path).unwrap();
        file.append_term(0, 0, 0, 1).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = file.append_term(0, 0, 64, 1).unwrap_err().to_string();
        assert!(
            error.ends_with("recording.log: leadership term 0 is already in the recording log"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(file.log().last_term().unwrap().entry.log_position, NULL_POSITION);
    }
}
