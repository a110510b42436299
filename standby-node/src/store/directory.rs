//! Where a node keeps its files, and the lock that keeps a second node out.
//!
//! ```text
//! DIR/standby.lock           held with flock for as long as the node runs; "pid start-timestamp" of the holder, and
//!                            below it those before it whose mark files it has not taken over yet
//! DIR/archive/               archive.catalog, archive-mark.dat, <recording>-<position>.rec
//! DIR/cluster/               recording.log, cluster-mark.dat, durable-position.dat
//! DIR/aeron/                 cnc.dat
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::{ControlFile, StoreError, SyncLevel, sync_directory};
use crate::sys::disk;

/// A node's directory, created where needed and locked against other nodes until this value is dropped.
///
/// The lock goes with the process, however it ends, so that a node that was killed may be started again at
/// once: whoever holds the lock knows that the previous holder is gone.
#[derive(Debug)]
pub struct NodeDirectory {
    root: PathBuf,
    holder: Holder,
    /// Who held the lock and left mark files that nobody has taken over since, newest first.
    previous: Vec<Holder>,
    lock: ControlFile,
}

/// A process that holds, or held, the lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Process id, as that process sees it.
    pub pid: u32,
    /// When it took the lock, epoch milliseconds. Its mark files carry the same.
    pub start_timestamp_ms: i64,
}

impl Holder {
    /// Who holds, or last held, the lock on the node in `root`; `None` where nobody did, or the file does not tell.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(root: &Path) -> Result<Option<Self>, StoreError> {
        let Some(lock) = ControlFile::open_read_only(&root.join(LOCK))? else { return Ok(None) };
        Ok(parse_holders(&lock.read(HOLDERS_LENGTH_MAX)?).first().copied())
    }

    /// Whether its process has certainly gone: there is none with that pid. One of another container looks the same.
    pub fn has_gone(self) -> bool {
        !Path::new("/proc").join(self.pid.to_string()).exists()
    }
}

impl NodeDirectory {
    /// Creates what is missing (directories with mode 0700, files with 0600) and takes the lock.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while a node runs here; [`StoreError::Io`] when something cannot be
    /// created, with what to do about it.
    pub fn open(root: &Path, now_ms: i64) -> Result<Self, StoreError> {
        for directory in [root.to_owned(), root.join(ARCHIVE), root.join(CLUSTER), root.join(AERON)] {
            create_directory(&directory)?;
        }
        let root = root.canonicalize().map_err(StoreError::io(root, "resolve it"))?;
        // A process before may have died between making a directory and syncing its name.
        sync_directory(&root)?;
        if let Some(parent) = root.parent() {
            sync_directory(parent)?;
        }
        let (lock, mut previous) = take_lock(&root)?;
        previous.truncate(PREVIOUS_COUNT_MAX);
        let holder = Holder { pid: std::process::id(), start_timestamp_ms: now_ms };
        let directory = Self { root, holder, previous, lock };
        directory.write_holders(&directory.previous)?;
        Ok(directory)
    }

    /// This process has taken over every file that tells who runs here: whoever held the lock before is forgotten.
    ///
    /// A start that fails before must leave them known, or the next one takes the mark files of a node that was
    /// killed for those of a process that may live.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn taken_over(&mut self) -> Result<(), StoreError> {
        self.write_holders(&[])?;
        self.previous.clear();
        Ok(())
    }

    fn write_holders(&self, previous: &[Holder]) -> Result<(), StoreError> {
        let lines = std::iter::once(&self.holder).chain(previous);
        let text: String =
            lines.map(|holder| format!("{} {}\n", holder.pid, holder.start_timestamp_ms)).collect();
        // In this order there is a holder to be read at any moment.
        self.lock.write(0, text.as_bytes())?;
        self.lock.set_length(text.len() as u64)?;
        // After a power cut the next start knows by it that the mark files are leftovers.
        self.lock.sync(SyncLevel::Data)
    }

    /// Whether some node has run in `root`, also one whose history was moved aside.
    pub(super) fn has_been_used(root: &Path) -> bool {
        root.join(CLUSTER).is_dir() || root.join(LOCK).is_file()
    }

    /// Takes the lock of a node that does not run, for a verb that changes its files. The lock file goes on naming the
    /// node that ran last, by which the next one tells its leftovers; nothing is created but a lock file that is
    /// missing.
    ///
    /// # Errors
    /// [`StoreError::NoHistory`] when no node has run in `root`; [`StoreError::Locked`] while one runs;
    /// [`StoreError::Io`].
    pub fn open_stopped(root: &Path, now_ms: i64) -> Result<Self, StoreError> {
        if !root.join(ARCHIVE).is_dir() || !root.join(CLUSTER).is_dir() {
            return Err(StoreError::NoHistory { path: root.to_owned() });
        }
        let root = root.canonicalize().map_err(StoreError::io(root, "resolve it"))?;
        let (lock, previous) = take_lock(&root)?;
        let holder = Holder { pid: std::process::id(), start_timestamp_ms: now_ms };
        Ok(Self { root, holder, previous, lock })
    }

    /// The directory itself, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Holds the catalog, the archive's mark file and the segment files.
    pub fn archive(&self) -> PathBuf {
        self.root.join(ARCHIVE)
    }

    /// Holds the recording log, the cluster's mark file, and how far the log is durable.
    pub fn cluster(&self) -> PathBuf {
        self.root.join(CLUSTER)
    }

    /// Holds cnc.dat.
    pub fn aeron(&self) -> PathBuf {
        self.root.join(AERON)
    }

    /// This process.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// The processes that ran here before and no longer do, newest first, as far as files of theirs may be left.
    pub fn previous_holders(&self) -> &[Holder] {
        &self.previous
    }
}

const ARCHIVE: &str = "archive";
const CLUSTER: &str = "cluster";
const AERON: &str = "aeron";
const LOCK: &str = "standby.lock";
const HOLDERS_LENGTH_MAX: u64 = 4096;
/// More failed starts in a row than anybody has patience for; the next start after them waits ten seconds.
const PREVIOUS_COUNT_MAX: usize = 64;

/// Takes the lock, and tells who held it before.
fn take_lock(root: &Path) -> Result<(ControlFile, Vec<Holder>), StoreError> {
    let (lock, _) = ControlFile::open_or_create(&root.join(LOCK))?;
    let first = parse_holders(&lock.read(HOLDERS_LENGTH_MAX)?).first().copied();
    match lock.file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(StoreError::Locked { path: lock.path, pid: first.map(|holder| holder.pid) });
        }
        Err(std::fs::TryLockError::Error(source)) => {
            return Err(StoreError::io(&lock.path, "lock it")(source));
        }
    }
    // Read again: between the first look and the lock another node may have come and gone.
    let previous = parse_holders(&lock.read(HOLDERS_LENGTH_MAX)?);
    Ok((lock, previous))
}

fn create_directory(path: &Path) -> Result<(), StoreError> {
    match disk::create_directory(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(StoreError::io(path, "create the directory")(error)),
    }
}

fn parse_holders(bytes: &[u8]) -> Vec<Holder> {
    let text = String::from_utf8_lossy(bytes);
    let holder = |line: &str| {
        let (pid, start) = line.split_once(' ')?;
        Some(Holder { pid: pid.parse().ok()?, start_timestamp_ms: start.parse().ok()? })
    };
    text.lines().map_while(holder).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_node_is_refused_and_told_the_pid_of_the_first() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("node");
        let first = NodeDirectory::open(&root, 1000).unwrap();
        let error = NodeDirectory::open(&root, 2000).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("a node runs in this directory (pid {pid})")), "{error}");
        drop(first);
        let second = NodeDirectory::open(&root, 3000).unwrap();
        assert_eq!(second.previous_holders(), [Holder { pid, start_timestamp_ms: 1000 }]);
        assert_eq!(second.holder().start_timestamp_ms, 3000);
    }

    #[test]
    fn who_ran_before_is_known_until_the_files_are_taken_over() {
        let temp = tempfile::tempdir().unwrap();
        let starts = |directory: &NodeDirectory| -> Vec<i64> {
            directory.previous_holders().iter().map(|holder| holder.start_timestamp_ms).collect()
        };
        drop(NodeDirectory::open(temp.path(), 1).unwrap());
        for failed in 2..=100 {
            drop(NodeDirectory::open(temp.path(), failed).unwrap());
        }
        let mut last = NodeDirectory::open(temp.path(), 101).unwrap();
        assert_eq!(starts(&last), (37..=100).rev().collect::<Vec<_>>());
        last.taken_over().unwrap();
        assert!(last.previous_holders().is_empty());
        drop(last);
        assert_eq!(starts(&NodeDirectory::open(temp.path(), 102).unwrap()), [101]);
    }

    #[test]
    fn only_the_owner_may_look_inside() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("node");
        let directory = NodeDirectory::open(&root, 1).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&directory.archive()), 0o700);
        assert_eq!(mode(&root.join(LOCK)), 0o600);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_named_with_a_next_step() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("archive"), "").unwrap();
        let error = NodeDirectory::open(temp.path(), 1).unwrap_err().to_string();
        assert!(error.contains("archive: cannot create the directory"), "{error}");
        assert!(error.contains("move away what stands in its place"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        // /proc refuses new names even to root, whom modes do not stop.
        let error = NodeDirectory::open(Path::new("/proc/standby"), 1).unwrap_err().to_string();
        assert!(error.starts_with("/proc/standby: cannot create the directory: "), "{error}");
    }

    #[test]
    fn what_the_system_refuses_comes_with_a_next_step() {
        for (code, next_step) in [
            (libc::EROFS, "; mount the file system read-write, or choose another directory"),
            (libc::ENOSPC, "; free space on this file system, then start the node again"),
            (libc::EACCES, "; let the user of this process read and write there"),
        ] {
            let source = io::Error::from_raw_os_error(code);
            let error = StoreError::io(Path::new("/d/archive.catalog"), "write to it")(source).to_string();
            assert!(error.starts_with("/d/archive.catalog: cannot write to it: "), "{error}");
            assert!(error.ends_with(next_step), "{error}");
        }
    }
}
