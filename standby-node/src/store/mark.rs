//! Mark files: who runs here, since when, still alive, and what went wrong.
//!
//! ```text
//! (missing) --activate--> version 0, activity timestamp i64::MAX --ready--> version, activity timestamp
//!     ready --update, each second--> ready --terminate--> activity timestamp -1
//! ```
//! A Java process takes a file for alive while its activity timestamp is less than 10 s old. Nodes of this
//! kind keep each other out by the lock of [`NodeDirectory`] and tell their own leftovers by its holder, so
//! that one that was killed starts again at once; against Java processes, which know nothing of the lock,
//! Java's rule is kept. Their process id proves nothing: it may be of another container.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use consensus_tap::file::FormatError;
use consensus_tap::file::archive_mark::{self, ArchiveMark};
use consensus_tap::file::cluster_mark::{
    self, ACTIVATION_IN_PROGRESS, ACTIVITY_TIMESTAMP_OFFSET, ClusterMark, ComponentType, FILE_LENGTH,
    HEADER_LENGTH, TERMINATED, VERSION_OFFSET,
};
use consensus_tap::file::error_log::ErrorLog;

use super::directory::{Holder, NodeDirectory};
use super::{ControlFile, StoreError, SyncLevel};

/// How long a process must have been silent before its directory may be taken over, milliseconds.
pub const LIVENESS_TIMEOUT_MS: i64 = 10_000;

/// One kind of mark file; the kinds differ in their header.
#[derive(Debug)]
pub struct MarkFile<Header> {
    file: ControlFile,
    version: i32,
    errors: ErrorLog,
    header: PhantomData<Header>,
}

/// `cluster/cluster-mark.dat`.
pub type ClusterMarkFile = MarkFile<ClusterMark>;

/// `archive/archive-mark.dat`.
pub type ArchiveMarkFile = MarkFile<ArchiveMark>;

impl MarkFile<ClusterMark> {
    /// Takes the file over, or creates it, with the given fields. Version, timestamps, process id and lengths
    /// are set here; the component type is that of a backup, which a Java consensus module may replace.
    /// Readers see the file as not ready before [`Self::ready`]. Earlier errors are kept.
    ///
    /// # Errors
    /// [`StoreError::Active`] while a Java process runs here; [`StoreError::OtherComponent`] when a member
    /// did; [`StoreError::Format`], [`StoreError::Io`].
    pub fn activate(directory: &NodeDirectory, fields: ClusterMark, now_ms: i64) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(&directory.cluster().join(cluster_mark::FILE_NAME))?;
        let header = file.read(HEADER_LENGTH_U64)?;
        let has_header = header.iter().any(|byte| *byte != 0);
        if has_header {
            let old = ClusterMark::parse(&header).map_err(|error| file.bad(error, NEXT_STEP))?;
            check_silent(&file, directory, old.activity_timestamp, old.pid, old.start_timestamp, now_ms)?;
            if !matches!(old.component_type, ComponentType::Backup | ComponentType::Unknown) {
                let found = format!("{:?}", old.component_type);
                return Err(StoreError::OtherComponent { path: file.path, found });
            }
        }
        let Holder { pid, start_timestamp_ms } = directory.holder();
        let fields = ClusterMark {
            version: 0,
            component_type: ComponentType::Backup,
            activity_timestamp: ACTIVATION_IN_PROGRESS,
            start_timestamp: start_timestamp_ms,
            pid: i64::from(pid),
            ..fields
        };
        let header = fields.encode().map_err(|error| file.bad(error, SHORTER_STRINGS))?;
        Self::take_over(file, has_header, &header, cluster_mark::VERSION)
    }

    /// Reads the file at `path` as it is, beside a running node as well, with its error log; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Format`], [`StoreError::Io`].
    pub fn read(path: &Path) -> Result<Option<(ClusterMark, ErrorLog)>, StoreError> {
        read_mark(path, ClusterMark::parse)
    }

    /// Says that the node could not start.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn start_failed(&mut self) -> Result<(), StoreError> {
        self.terminate()?;
        self.file.write(VERSION_OFFSET, &cluster_mark::VERSION_FAILED.to_le_bytes())
    }
}

impl MarkFile<ArchiveMark> {
    /// Takes the file over, or creates it, as [`ClusterMarkFile::activate`].
    ///
    /// # Errors
    /// [`StoreError::Active`] while a Java archive runs here; [`StoreError::Format`], [`StoreError::Io`].
    pub fn activate(directory: &NodeDirectory, fields: ArchiveMark, now_ms: i64) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(&directory.archive().join(archive_mark::FILE_NAME))?;
        let header = file.read(HEADER_LENGTH_U64)?;
        let has_header = header.iter().any(|byte| *byte != 0);
        if has_header {
            let old = ArchiveMark::parse(&header).map_err(|error| file.bad(error, NEXT_STEP))?;
            check_silent(&file, directory, old.activity_timestamp, old.pid, old.start_timestamp, now_ms)?;
        }
        let Holder { pid, start_timestamp_ms } = directory.holder();
        let fields = ArchiveMark {
            version: 0,
            activity_timestamp: ACTIVATION_IN_PROGRESS,
            start_timestamp: start_timestamp_ms,
            pid: i64::from(pid),
            ..fields
        };
        let header = fields.encode().map_err(|error| file.bad(error, SHORTER_STRINGS))?;
        Self::take_over(file, has_header, &header, archive_mark::VERSION)
    }

    /// Reads the file at `path` as it is, as [`ClusterMarkFile::read`].
    ///
    /// # Errors
    /// [`StoreError::Format`], [`StoreError::Io`].
    pub fn read(path: &Path) -> Result<Option<(ArchiveMark, ErrorLog)>, StoreError> {
        read_mark(path, ArchiveMark::parse)
    }
}

impl<Header> MarkFile<Header> {
    fn take_over(
        file: ControlFile,
        has_header: bool,
        header: &[u8],
        version: i32,
    ) -> Result<Self, StoreError> {
        // In this order a Java process that looks at any moment either sees a process that is alive, or a
        // file that is not ready.
        // A file without a header has no process to speak of, and half a header would be taken for a damaged one.
        let timestamp = to_usize(ACTIVITY_TIMESTAMP_OFFSET);
        if has_header {
            file.write(ACTIVITY_TIMESTAMP_OFFSET, &header[timestamp..timestamp + 8])?;
        }
        file.set_length(FILE_LENGTH_U64)?;
        file.write(0, header)?;
        let image = file.read(FILE_LENGTH_U64)?;
        let region = image.get(HEADER_LENGTH..).unwrap_or_default();
        let mut errors = ErrorLog::parse(region);
        // Room for what will go wrong is worth more than what went wrong in a life before the last.
        if errors.used_length() > region.len() / 2 {
            file.write(HEADER_LENGTH_U64, &vec![0; region.len()])?;
            errors = ErrorLog::new(region.len());
        }
        Ok(Self { file, version, errors, header: PhantomData })
    }

    /// Tells readers that the file may be used.
    ///
    /// # Errors
    /// [`StoreError::Io`], as for all calls below.
    pub fn ready(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.put_activity_timestamp(now_ms)?;
        self.file.write(VERSION_OFFSET, &self.version.to_le_bytes())?;
        self.file.sync(SyncLevel::Data)
    }

    /// Gives a sign of life. Call it each second, at most.
    pub fn update(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.put_activity_timestamp(now_ms)
    }

    fn put_activity_timestamp(&mut self, timestamp: i64) -> Result<(), StoreError> {
        self.file.write(ACTIVITY_TIMESTAMP_OFFSET, &timestamp.to_le_bytes())
    }

    /// Says that the node has ended in order.
    pub fn terminate(&mut self) -> Result<(), StoreError> {
        self.put_activity_timestamp(TERMINATED)?;
        self.file.sync(SyncLevel::Data)
    }

    /// Adds an error to the error log, or counts it once more. False when the log is full.
    pub fn record_error(&mut self, text: &str, now_ms: i64) -> Result<bool, StoreError> {
        let Ok(mut edits) = self.errors.observe(text, now_ms) else { return Ok(false) };
        for edit in &mut edits {
            edit.offset += HEADER_LENGTH_U64;
        }
        self.file.store(&edits).map(|()| true)
    }

    /// The error log.
    pub fn errors(&self) -> &ErrorLog {
        &self.errors
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.file.path.clone()
    }
}

const HEADER_LENGTH_U64: u64 = 8192;
const FILE_LENGTH_U64: u64 = 1_056_768;
const _: () = assert!(HEADER_LENGTH == 8192 && FILE_LENGTH == 1_056_768);
/// What to do about a file that is damaged, though a process rewrites it at each start.
pub(super) const NEXT_STEP: &str =
    "remove the file if no process uses this directory, and start the node again";
const SHORTER_STRINGS: &str = "use shorter, plain ASCII paths and channels";

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("an offset in a header of 8 KiB")
}

fn read_mark<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, FormatError>,
) -> Result<Option<(T, ErrorLog)>, StoreError> {
    let Some(file) = ControlFile::open_read_only(path)? else { return Ok(None) };
    let image = file.read(FILE_LENGTH_U64)?;
    // A header of zeros is what a power cut leaves of a file that nobody had finished: nobody has run here by it.
    if image.iter().take(HEADER_LENGTH).all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = parse(&image).map_err(|error| file.bad(error, NEXT_STEP))?;
    Ok(Some((header, ErrorLog::parse(image.get(HEADER_LENGTH..).unwrap_or_default()))))
}

/// Refuses to touch a directory in which a process that does not take our lock, a Java one, may be alive.
///
/// # Errors
/// [`StoreError::Active`]; [`StoreError::Format`], [`StoreError::Io`].
pub fn check_nobody_runs(directory: &NodeDirectory, now_ms: i64) -> Result<(), StoreError> {
    let cluster = directory.cluster().join(cluster_mark::FILE_NAME);
    if let Some(file) = ControlFile::open_read_only(&cluster)?
        && let Some((old, _)) = ClusterMarkFile::read(&cluster)?
    {
        check_silent(&file, directory, old.activity_timestamp, old.pid, old.start_timestamp, now_ms)?;
    }
    let archive = directory.archive().join(archive_mark::FILE_NAME);
    if let Some(file) = ControlFile::open_read_only(&archive)?
        && let Some((old, _)) = ArchiveMarkFile::read(&archive)?
    {
        check_silent(&file, directory, old.activity_timestamp, old.pid, old.start_timestamp, now_ms)?;
    }
    Ok(())
}

/// Whether a mark file's process gave a sign of life within [`LIVENESS_TIMEOUT_MS`].
pub fn is_active(activity_timestamp: i64, start_timestamp: i64, now_ms: i64) -> bool {
    activity_timestamp != TERMINATED
        && age_ms(activity_timestamp, start_timestamp, now_ms) < LIVENESS_TIMEOUT_MS
}

/// Time since the last sign of life, milliseconds.
fn age_ms(activity_timestamp: i64, start_timestamp: i64, now_ms: i64) -> i64 {
    // A process that died while taking the file over has left no sign of life but its start.
    let last_seen =
        if activity_timestamp == ACTIVATION_IN_PROGRESS { start_timestamp } else { activity_timestamp };
    now_ms.saturating_sub(last_seen)
}

/// Refuses while a process that does not take our lock may be alive.
fn check_silent(
    file: &ControlFile,
    directory: &NodeDirectory,
    activity_timestamp: i64,
    pid: i64,
    start_timestamp: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let ours = directory
        .previous_holders()
        .iter()
        .any(|holder| i64::from(holder.pid) == pid && holder.start_timestamp_ms == start_timestamp);
    if ours || !is_active(activity_timestamp, start_timestamp, now_ms) {
        return Ok(());
    }
    let age_ms = age_ms(activity_timestamp, start_timestamp, now_ms);
    Err(StoreError::Active { path: file.path.clone(), pid, age_ms, timeout_ms: LIVENESS_TIMEOUT_MS })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(now_ms: i64) -> (tempfile::TempDir, NodeDirectory) {
        let temp = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(temp.path(), now_ms).unwrap();
        (temp, directory)
    }

    fn cluster_mark(directory: &NodeDirectory) -> ClusterMark {
        let path = directory.cluster().join(cluster_mark::FILE_NAME);
        ClusterMark::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_file_goes_from_activating_through_ready_to_terminated() {
        let (_temp, directory) = directory(1_000);
        let fields = ClusterMark { member_id: 9, ..ClusterMark::default() };
        let mut file = ClusterMarkFile::activate(&directory, fields, 1_000).unwrap();
        let seen = cluster_mark(&directory);
        assert_eq!((seen.version, seen.activity_timestamp), (0, ACTIVATION_IN_PROGRESS));
        file.ready(1_001).unwrap();
        file.update(2_000).unwrap();
        let seen = cluster_mark(&directory);
        assert_eq!((seen.version, seen.activity_timestamp), (cluster_mark::VERSION, 2_000));
        assert_eq!((seen.pid, seen.member_id), (i64::from(std::process::id()), 9));
        file.terminate().unwrap();
        assert_eq!(cluster_mark(&directory).activity_timestamp, TERMINATED);
    }

    #[test]
    fn a_file_tells_of_a_failed_start_and_the_next_one_takes_it_over() {
        let (_temp, directory) = directory(1_000);
        ClusterMarkFile::activate(&directory, ClusterMark::default(), 1_000).unwrap().start_failed().unwrap();
        let seen = cluster_mark(&directory);
        assert_eq!((seen.version, seen.activity_timestamp), (cluster_mark::VERSION_FAILED, TERMINATED));
        let mut again = ClusterMarkFile::activate(&directory, ClusterMark::default(), 1_001).unwrap();
        again.ready(1_002).unwrap();
        assert_eq!(cluster_mark(&directory).version, cluster_mark::VERSION);
    }

    #[test]
    fn a_node_that_was_killed_starts_again_at_once() {
        let (temp, first) = directory(1_000);
        ClusterMarkFile::activate(&first, ClusterMark::default(), 1_000).unwrap().ready(1_000).unwrap();
        ArchiveMarkFile::activate(&first, ArchiveMark::default(), 1_000).unwrap().ready(1_000).unwrap();
        drop(first);
        let second = NodeDirectory::open(temp.path(), 1_500).unwrap();
        ClusterMarkFile::activate(&second, ClusterMark::default(), 1_500).unwrap();
        ArchiveMarkFile::activate(&second, ArchiveMark::default(), 1_500).unwrap();
    }

    #[test]
    fn starts_that_fail_half_way_do_not_block_the_next_one() {
        let (temp, mut first) = directory(1_000);
        ClusterMarkFile::activate(&first, ClusterMark::default(), 1_000).unwrap().ready(1_000).unwrap();
        ArchiveMarkFile::activate(&first, ArchiveMark::default(), 1_000).unwrap().ready(1_000).unwrap();
        first.taken_over().unwrap();
        drop(first);
        // One takes over nothing, one only the first of the files.
        drop(NodeDirectory::open(temp.path(), 2_000).unwrap());
        let third = NodeDirectory::open(temp.path(), 3_000).unwrap();
        ClusterMarkFile::activate(&third, ClusterMark::default(), 3_000).unwrap();
        drop(third);
        let fourth = NodeDirectory::open(temp.path(), 4_000).unwrap();
        ClusterMarkFile::activate(&fourth, ClusterMark::default(), 4_000).unwrap();
        ArchiveMarkFile::activate(&fourth, ArchiveMark::default(), 4_000).unwrap();
    }

    #[test]
    fn a_java_process_that_was_active_just_now_is_not_disturbed() {
        let (_temp, directory) = directory(20_000);
        let path = directory.archive().join(archive_mark::FILE_NAME);
        let java = ArchiveMark {
            version: archive_mark::VERSION,
            activity_timestamp: 11_000,
            start_timestamp: 5_000,
            pid: 4711,
            ..ArchiveMark::default()
        };
        let bytes = java.encode().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let error = ArchiveMarkFile::activate(&directory, ArchiveMark::default(), 20_000).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("archive-mark.dat: pid 4711 was active here 9000 ms ago"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        ArchiveMarkFile::activate(&directory, ArchiveMark::default(), 21_000).unwrap();
    }

    #[test]
    fn a_members_directory_is_refused() {
        let (_temp, directory) = directory(20_000);
        let path = directory.cluster().join(cluster_mark::FILE_NAME);
        let member = ClusterMark {
            component_type: ComponentType::ConsensusModule,
            activity_timestamp: TERMINATED,
            ..ClusterMark::default()
        };
        std::fs::write(&path, member.encode().unwrap()).unwrap();
        let error = ClusterMarkFile::activate(&directory, ClusterMark::default(), 20_000).unwrap_err();
        assert!(matches!(error, StoreError::OtherComponent { .. }), "{error}");
    }

    #[test]
    fn errors_outlive_the_process() {
        let (_temp, directory) = directory(1);
        let mut file = ClusterMarkFile::activate(&directory, ClusterMark::default(), 1).unwrap();
        assert!(file.record_error("no source answers", 5).unwrap());
        assert!(file.record_error("no source answers", 6).unwrap());
        file.terminate().unwrap();
        let file = ClusterMarkFile::activate(&directory, ClusterMark::default(), 2).unwrap();
        let seen = &file.errors().observations()[0];
        assert_eq!((seen.text.as_str(), seen.count, seen.first_timestamp), ("no source answers", 2, 5));
    }
}
