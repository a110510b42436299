//! The node's cnc.dat: makes it, keeps its heartbeat, and reads that of another process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use consensus_tap::file::cnc::{
    CNC_VERSION, CncFormatError, CncIdentity, CncLayout, HEADER_LENGTH, VERSION_OFFSET,
};

use super::counters::{Counter, CounterRecord, CountersManager, CountersReader};
use super::directory::Holder;
use super::error_log::{ErrorEntry, ErrorLog, read_errors};
use crate::advice::next_step;
use crate::sys::disk;
use crate::sys::mapped::{MapError, MappedFile, SharedFile};

/// Name of the file in its directory.
pub const CNC_FILE_NAME: &str = "cnc.dat";
/// For how long after its last heartbeat a process counts as living, ms.
pub const LIVENESS_TIMEOUT_MS: i64 = 10_000;

const HEARTBEAT_CLOSED: i64 = -1;

/// What a cnc.dat is made with.
#[derive(Clone, Debug)]
pub struct CncSettings {
    /// Room for this many counters, a power of two from 64 to 2^20.
    pub counter_capacity: usize,
    /// Bytes of the error log, a multiple of 4096 up to 1 GiB.
    pub error_log_length: usize,
    /// What Java clients use as their timeout between services, ns.
    pub client_liveness_timeout_ns: i64,
    /// Version of the software as printed in labels, such as `version=0.1.0 commit=abc`.
    pub version_label: String,
    /// Version of the software as Aeron encodes one: `major << 16 | minor << 8 | patch`.
    pub version: i32,
}

impl Default for CncSettings {
    fn default() -> Self {
        Self {
            counter_capacity: 1024,
            error_log_length: 1 << 20,
            client_liveness_timeout_ns: 10_000_000_000,
            version_label: concat!("version=", env!("CARGO_PKG_VERSION"), " commit=unknown").to_owned(),
            version: 0x100,
        }
    }
}

/// Why a cnc.dat cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CncError {
    /// The file could not be created or mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The directory could not be made, or an old file not be removed.
    #[error("cannot {action} {path}: {source}; {}", next_step(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is not one that we can read.
    #[error("{path}: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CncFormatError,
    },
    /// A living process, ours or a media driver, has the directory.
    #[error(
        "{path} belongs to process {pid}, whose heartbeat is {age_ms} ms old: stop it, or choose another \
             directory"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that made it.
        pid: i64,
        /// Age of its last heartbeat.
        age_ms: i64,
    },
}

/// The cnc.dat of this process. Dropping it closes it in order: the heartbeat becomes -1.
#[derive(Debug)]
pub struct CncFile {
    file: Arc<SharedFile>,
    layout: CncLayout,
    error_log: ErrorLog,
}

impl CncFile {
    /// Makes a new cnc.dat in `directory`, in place of one whose process has gone, with all of Aeron's system
    /// counters as a media driver has them, and a first heartbeat at `now_ms` (epoch). Returns it with the one
    /// manager of its counters.
    ///
    /// # Errors
    /// [`CncError::InUse`] when the old file's process lives; [`CncError::Io`], [`CncError::Map`].
    ///
    /// # Panics
    /// When `settings` are out of their ranges.
    pub fn create(
        directory: &Path,
        settings: &CncSettings,
        now_ms: i64,
    ) -> Result<(Self, CountersManager), CncError> {
        Self::create_after(&[], directory, settings, now_ms)
    }

    /// As [`create`](Self::create), knowing that the processes `gone` have ended, however fresh a heartbeat: whoever
    /// holds the lock on a node's directory knows it of the previous holders.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    ///
    /// # Panics
    /// As [`create`](Self::create).
    pub fn create_after(
        gone: &[Holder],
        directory: &Path,
        settings: &CncSettings,
        now_ms: i64,
    ) -> Result<(Self, CountersManager), CncError> {
        // A directory that an operator named for it may be Aeron's own, in which others have files too: made as Aeron
        // makes it, and not only for its owner.
        std::fs::create_dir_all(directory).map_err(|source| io_error("create", directory, source))?;
        let path = directory.join(CNC_FILE_NAME);
        remove_abandoned(&path, gone, now_ms)?;
        let layout = CncLayout::new(settings.counter_capacity, settings.error_log_length);
        let identity = CncIdentity {
            client_liveness_timeout_ns: settings.client_liveness_timeout_ns,
            start_timestamp_ms: now_ms,
            pid: i64::from(std::process::id()),
        };
        let mut file = MappedFile::create(&path, layout.file_length())?;
        file.populate(0, layout.file_length())?;
        let file = Arc::new(SharedFile::new(file));
        file.copy_in(0, &layout.encode(&identity));

        let mut counters = CountersManager::new(Arc::clone(&file), layout);
        let errors = counters.allocate_system_counters(&settings.version_label, settings.version);
        let error_log = ErrorLog::new(
            Arc::clone(&file),
            layout.error_log_offset(),
            layout.error_log_length(),
            Some(errors),
        );
        let cnc = Self { file, layout, error_log };
        cnc.heartbeat(now_ms);
        // Readers wait for the version: everything above is visible to whoever sees it.
        cnc.file.atomic_i32(VERSION_OFFSET).store(CNC_VERSION, Ordering::SeqCst);
        Ok((cnc, counters))
    }

    /// Tells clients and tools that this process lives, `now_ms` since the epoch. Due every second; they give it
    /// up after ten.
    pub fn heartbeat(&self, now_ms: i64) {
        self.file.atomic_i64(self.layout.heartbeat_offset()).store(now_ms, Ordering::Release);
    }

    /// The error log. Clones write to the same log, from any thread.
    pub fn error_log(&self) -> ErrorLog {
        self.error_log.clone()
    }
}

impl Drop for CncFile {
    fn drop(&mut self) {
        self.heartbeat(HEARTBEAT_CLOSED);
    }
}

/// Another process's cnc.dat, or this one's as others see it.
#[derive(Debug)]
pub struct CncReader {
    file: Arc<SharedFile>,
    layout: CncLayout,
    identity: CncIdentity,
    version: i32,
}

impl CncReader {
    /// Maps the cnc.dat in `directory` for reading.
    ///
    /// # Errors
    /// [`CncError::Map`] when there is none, [`CncError::Format`] when it is not ready or of another version.
    pub fn open(directory: &Path) -> Result<Self, CncError> {
        let path = directory.join(CNC_FILE_NAME);
        Self::read(MappedFile::open_read_only(&path, None)?, &path)
    }

    /// Maps the cnc.dat in `directory` so that its counters can be set too: how an operator's tool flips a toggle.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_writable(directory: &Path) -> Result<Self, CncError> {
        let path = directory.join(CNC_FILE_NAME);
        Self::read(MappedFile::open_writable(&path, None)?, &path)
    }

    /// Version of the layout, `major << 16 | minor << 8 | patch`.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The process that made the file.
    pub fn pid(&self) -> i64 {
        self.identity.pid
    }

    /// When it made the file, epoch ms.
    pub fn start_timestamp_ms(&self) -> i64 {
        self.identity.start_timestamp_ms
    }

    /// Whether this very process made the file; a pid alone may be another's by now.
    fn is_of(&self, holder: Holder) -> bool {
        self.pid() == i64::from(holder.pid) && self.start_timestamp_ms() == holder.start_timestamp_ms
    }

    /// How old its last heartbeat is at `now_ms` (epoch); `None` when it closed the file in order.
    pub fn heartbeat_age_ms(&self, now_ms: i64) -> Option<i64> {
        match self.file.load_i64(self.layout.heartbeat_offset()) {
            HEARTBEAT_CLOSED => None,
            heartbeat => Some(now_ms.saturating_sub(heartbeat)),
        }
    }

    /// Whether the process lives, as Aeron judges it: a heartbeat not older than ten seconds.
    pub fn is_alive(&self, now_ms: i64) -> bool {
        self.heartbeat_age_ms(now_ms).is_some_and(|age_ms| age_ms <= LIVENESS_TIMEOUT_MS)
    }

    /// The counters in use, by id.
    pub fn counters(&self) -> impl Iterator<Item = CounterRecord> + '_ {
        CountersReader::new(&self.file, self.layout).into_iter()
    }

    /// The counter of `type_id` whose key begins with `key`.
    pub fn find(&self, type_id: i32, key: &[u8]) -> Option<CounterRecord> {
        self.counters().find(|counter| counter.type_id == type_id && counter.key.starts_with(key))
    }

    /// A handle to set counter `id`, while its owner has it allocated.
    ///
    /// # Panics
    /// When the file was not opened by [`Self::open_writable`], or there is no room for such an id.
    pub fn counter(&self, id: i32) -> Counter {
        assert!(self.file.is_writable(), "cnc.dat is mapped read-only");
        Counter::new(Arc::clone(&self.file), &self.layout, id)
    }

    /// What the error log holds, oldest first.
    pub fn errors(&self) -> Vec<ErrorEntry> {
        read_errors(&self.file, self.layout.error_log_offset(), self.layout.error_log_length())
    }

    fn read(file: MappedFile, path: &Path) -> Result<Self, CncError> {
        let file = SharedFile::new(file);
        let format_error = |source| CncError::Format { path: path.to_owned(), source };
        if file.length() < HEADER_LENGTH {
            return Err(format_error(CncFormatError::Truncated));
        }
        // The version is loaded first, with Acquire: the fields were written before it.
        let version = file.load_i32(VERSION_OFFSET);
        let mut header = [0; HEADER_LENGTH];
        file.copy_out(0, &mut header);
        header[VERSION_OFFSET..VERSION_OFFSET + 4].copy_from_slice(&version.to_le_bytes());
        let (layout, identity) = CncLayout::decode(&header, file.length()).map_err(format_error)?;
        Ok(Self { file: Arc::new(file), layout, identity, version })
    }
}

/// Removes an old file, unless its process lives. One that cannot be read belongs to nobody: a driver that is just
/// starting would be met a moment later by its own check.
fn remove_abandoned(path: &Path, gone: &[Holder], now_ms: i64) -> Result<(), CncError> {
    if !path.exists() {
        return Ok(());
    }
    if let Ok(old) = MappedFile::open_read_only(path, None).map_err(CncError::from)
        && let Ok(old) = CncReader::read(old, path)
        && !gone.iter().any(|gone| old.is_of(*gone))
        && old.is_alive(now_ms)
    {
        let age_ms = old.heartbeat_age_ms(now_ms).unwrap_or_default();
        return Err(CncError::InUse { path: path.to_owned(), pid: old.pid(), age_ms });
    }
    disk::remove(path).map_err(|source| io_error("remove", path, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> CncError {
    CncError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "cnc/tests.rs"]
mod tests;
