//! The node's directory: archive, recording log, mark files, cnc.dat.
//!
//! These are control-plane files: few bytes, written in place with `pwrite`, read by Java tools that map
//! them. The formats are `consensus_tap::file`'s; here are the order of writes, the syncs, and errors that
//! name the path and the next step. Lengths of files grow sparsely; a full disk is an error of the write.

pub mod activation_record;
pub mod catalog;
pub mod cnc;
pub mod counters;
pub mod directory;
pub mod durability;
pub mod error_log;
pub mod history;
pub mod mark;
pub mod node_state;
pub mod purge;
pub mod recorded_snapshot;
pub mod recording_list;
pub mod recording_log;
pub mod recording_reader;
pub mod recording_syncer;
pub mod recording_writer;
pub mod recovery;
pub mod repair;
pub mod reseed;
pub mod segment;
pub mod segment_preparer;
pub mod segment_views;
pub mod snapshot_checksum;
pub mod snapshot_recording;
pub mod standby_snapshots;
pub mod sync_watch;
mod tail;
pub mod tail_watch;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consensus_tap::file::recording_log::RowError;
use consensus_tap::file::{Edit, FormatError};

use crate::advice::next_step;
use crate::sys::disk;

/// What must be on the disk before a call returns; Aeron's file sync levels.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum SyncLevel {
    /// 0: the page cache is enough. A process may be killed, a host may not lose power.
    #[default]
    None,
    /// 1: the file's data.
    Data,
    /// 2: data and metadata.
    All,
}

impl SyncLevel {
    /// The level with Aeron's number.
    pub fn from_number(level: u8) -> Option<Self> {
        [Self::None, Self::Data, Self::All].get(usize::from(level)).copied()
    }
}

/// Why a file of the node's directory could not be used. The message names the file and the next step.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{}: cannot {action}: {source}; {}", path.display(), next_step(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {source}; {next_step}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where, what was expected, what was found.
        source: FormatError,
        /// What the operator can do.
        next_step: &'static str,
    },
    /// A JSON file of ours that does not say what it should.
    #[error(
        "{}: {source}; remove it: what it remembers of announcements is found anew with the next snapshot",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<serde_json::Error>,
    },
    /// A row that the recording log does not take.
    #[error("{}: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: RowError,
    },
    /// Another node runs in this directory.
    #[error(
        "{}: a node runs in this directory ({}): stop it first, or use another directory",
        path.display(),
        pid.map_or_else(|| "its pid is not known".to_owned(), |pid| format!("pid {pid}"))
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process id of the holder, as the holder sees it.
        pid: Option<u32>,
    },
    /// A process that does not take our lock gave a sign of life here a moment ago.
    #[error(
        "{}: pid {pid} was active here {age_ms} ms ago; stop it, or wait until it has been silent for \
         {timeout_ms} ms",
        path.display()
    )]
    Active {
        /// The mark file.
        path: PathBuf,
        /// Process id in the mark file.
        pid: i64,
        /// Since its last sign of life, milliseconds.
        age_ms: i64,
        /// How long it must have been silent, milliseconds.
        timeout_ms: i64,
    },
    /// The directory belongs to a component that a standby must not replace.
    #[error(
        "{}: this directory belongs to a {found}, expected a backup or none; use another directory, or \
         remove this file when that node is gone for good",
        path.display()
    )]
    OtherComponent {
        /// The mark file.
        path: PathBuf,
        /// What the mark file says.
        found: String,
    },
    /// The archive has no such recording, or not in the state that the call needs.
    #[error("{}: recording {recording_id} {found}, expected {expected}", path.display())]
    Recording {
        /// The catalog.
        path: PathBuf,
        /// The recording.
        recording_id: i64,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The directory is no node's.
    #[error("{}: no node has run here; check --dir", path.display())]
    NoHistory {
        /// The directory.
        path: PathBuf,
    },
    /// The catalog has reached 2 GiB.
    #[error("{}: the catalog is full at {} bytes; purge recordings and run `ArchiveTool compact`", path.display(), i32::MAX)]
    CatalogFull {
        /// The catalog.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

/// One open file, with its path for errors.
#[derive(Debug)]
struct ControlFile {
    path: PathBuf,
    file: File,
}

impl ControlFile {
    /// Opens a file for reading and writing, and says whether it was created just now. A new name is synced
    /// into its directory.
    fn open_or_create(path: &Path) -> Result<(Self, bool), StoreError> {
        let (file, created) = match disk::create(path) {
            Ok(file) => {
                if let Some(parent) = path.parent() {
                    sync_directory(parent)?;
                }
                (file, true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (disk::open(path).map_err(StoreError::io(path, "open it for writing"))?, false)
            }
            Err(error) => return Err(StoreError::io(path, "create it")(error)),
        };
        Ok((Self { path: path.to_owned(), file }, created))
    }

    /// Opens a file for reading only; `None` when there is none.
    fn open_read_only(path: &Path) -> Result<Option<Self>, StoreError> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { path: path.to_owned(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(path, "open it for reading")(error)),
        }
    }

    fn length(&self) -> Result<u64, StoreError> {
        self.file.metadata().map(|data| data.len()).map_err(StoreError::io(&self.path, "ask for its length"))
    }

    fn set_length(&self, length: u64) -> Result<(), StoreError> {
        disk::set_length(&self.file, &self.path, length).map_err(StoreError::io(&self.path, "set its length"))
    }

    /// At most `length_max` bytes from the start.
    fn read(&self, length_max: u64) -> Result<Vec<u8>, StoreError> {
        let length = self.length()?.min(length_max);
        let mut bytes = vec![0; usize::try_from(length).expect("bounded by its callers")];
        let mut filled = 0;
        while filled < bytes.len() {
            let offset = u64::try_from(filled).expect("a usize fits");
            match self.file.read_at(&mut bytes[filled..], offset) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io(&self.path, "read it")(error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        disk::write(&self.file, &self.path, offset, bytes).map_err(StoreError::io(&self.path, "write to it"))
    }

    /// Writes what it holds below `end` once more, as it is.
    fn rewrite(&self, end: u64) -> Result<(), StoreError> {
        let bytes = self.read(end)?;
        if bytes.is_empty() { Ok(()) } else { self.write(0, &bytes) }
    }

    /// Stores edits in their order.
    fn store(&self, edits: &[Edit]) -> Result<(), StoreError> {
        edits.iter().try_for_each(|edit| self.write(edit.offset, &edit.bytes))
    }

    fn sync(&self, level: SyncLevel) -> Result<(), StoreError> {
        match level {
            SyncLevel::None => Ok(()),
            SyncLevel::Data => disk::sync_data(&self.file, &self.path),
            SyncLevel::All => disk::sync_all(&self.file, &self.path),
        }
        .map_err(StoreError::io(&self.path, "sync it to disk"))
    }

    /// A handle for another thread.
    fn for_sync(&self) -> Result<ControlFileSync, StoreError> {
        let file = self.file.try_clone().map_err(StoreError::io(&self.path, "open it once more"))?;
        Ok(ControlFileSync { path: self.path.clone(), file })
    }

    fn bad(&self, source: FormatError, next_step: &'static str) -> StoreError {
        StoreError::Format { path: self.path.clone(), source, next_step }
    }
}

/// Another handle of a control file, by which another thread puts it on the disk.
#[derive(Debug)]
pub struct ControlFileSync {
    path: PathBuf,
    file: File,
}

impl ControlFileSync {
    /// Waits until everything that was written before this call is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what is on the disk is then not known.
    pub fn sync(&self) -> Result<(), StoreError> {
        disk::sync_all(&self.file, &self.path).map_err(StoreError::io(&self.path, "sync it to disk"))
    }
}

/// Puts the names in a directory on the disk.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    disk::sync_directory(path).map_err(StoreError::io(path, "sync its names"))
}
