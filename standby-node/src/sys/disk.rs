//! The one room through which this process changes files: every creation, write, sync, rename and removal.
//!
//! Stores into a mapping do not pass here. They are memory until a sync takes them to the disk, and that passes.
//! cnc.dat is never synced: it is the memory of a running process that others may look into, and what one leaves of it
//! means nothing to the next but that it has gone.
//!
//! What a disk may do to a node (refuse, fill up, forget what was not synced) can so be tried without a disk that
//! does it: a test puts a [`Watcher`] between its own thread and the system. There is no other way to reach it, no
//! setting and no environment variable, and where nobody watches it costs a look at a thread-local before a system
//! call.

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use memmap2::MmapRaw;

/// One change of a file or a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation<'a> {
    /// A directory comes into being.
    CreateDirectory {
        /// Its path.
        path: &'a Path,
    },
    /// An empty file comes into being.
    Create {
        /// Its path.
        path: &'a Path,
    },
    /// A file becomes longer, with zeros, or shorter.
    SetLength {
        /// The file.
        path: &'a Path,
        /// Bytes.
        length: u64,
    },
    /// A file gets all the blocks that its length needs.
    Allocate {
        /// The file.
        path: &'a Path,
        /// Bytes.
        length: u64,
    },
    /// Bytes are written.
    Write {
        /// The file.
        path: &'a Path,
        /// Where, bytes from its start.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// Everything written to a file goes to the disk.
    Sync {
        /// The file.
        path: &'a Path,
    },
    /// A part of a mapped file goes to the disk, with the metadata that is needed to find it there.
    SyncRange {
        /// The file.
        path: &'a Path,
        /// Where the part begins, bytes.
        offset: usize,
        /// Bytes.
        length: usize,
    },
    /// A file or directory gets another name.
    Rename {
        /// The old one.
        from: &'a Path,
        /// The new one; what had it is gone.
        to: &'a Path,
    },
    /// A file loses its name.
    Remove {
        /// Its path.
        path: &'a Path,
    },
    /// A directory loses its name, with all that is in it.
    RemoveTree {
        /// Its path.
        path: &'a Path,
    },
    /// The names in a directory go to the disk.
    SyncDirectory {
        /// The directory.
        path: &'a Path,
    },
}

/// Sees every operation of one thread.
pub trait Watcher {
    /// Before the system is asked.
    ///
    /// # Errors
    /// What the caller shall get instead of the system's answer; the system is not asked then.
    fn before(&mut self, operation: &Operation<'_>) -> io::Result<()>;

    /// When the system has done it.
    fn after(&mut self, operation: &Operation<'_>);
}

thread_local! {
    static WATCHER: Cell<Option<Box<dyn Watcher>>> = const { Cell::new(None) };
}

/// Puts a watcher between this thread and its files, until the guard is dropped.
///
/// # Panics
/// When there is one already.
#[must_use = "the watcher goes with the guard"]
pub fn watch(watcher: Box<dyn Watcher>) -> Watching {
    let before = WATCHER.replace(Some(watcher));
    assert!(before.is_none(), "this thread's files are watched already");
    Watching { _not_send: std::marker::PhantomData }
}

/// A watcher is in place for as long as this lives.
#[derive(Debug)]
pub struct Watching {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        WATCHER.set(None);
    }
}

/// Creates a directory that only its owner may enter.
///
/// # Errors
/// Those of the system, as for everything below; [`io::ErrorKind::AlreadyExists`] when the name is taken.
pub fn create_directory(path: &Path) -> io::Result<()> {
    carry_out(Operation::CreateDirectory { path }, || DirBuilder::new().mode(0o700).create(path))
}

/// Creates an empty file that only its owner may open, for reading and writing.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the name is taken.
pub fn create(path: &Path) -> io::Result<File> {
    carry_out(Operation::Create { path }, || {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    })
}

/// Opens a file for reading and writing; it must be there.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when it is not.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Makes a file longer, with zeros that take no blocks, or shorter.
///
/// # Errors
/// As the system says.
pub fn set_length(file: &File, path: &Path, length: u64) -> io::Result<()> {
    carry_out(Operation::SetLength { path, length }, || file.set_len(length))
}

/// Gives a file blocks for its first `length` bytes, and makes it as long as that if it is shorter.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`]; a part may have been allocated.
pub fn allocate(file: &File, path: &Path, length: u64) -> io::Result<()> {
    let wanted = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    carry_out(Operation::Allocate { path, length }, || {
        loop {
            // SAFETY: the call takes no pointer; the descriptor is open for as long as `file` lives.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, wanted) } {
                0 => return Ok(()),
                libc::EINTR => {}
                code => return Err(io::Error::from_raw_os_error(code)),
            }
        }
    })
}

/// Writes bytes into the page cache.
///
/// # Errors
/// A part may have been written.
pub fn write(file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    carry_out(Operation::Write { path, offset, bytes }, || file.write_all_at(bytes, offset))
}

/// Puts a file's data on the disk, with what is needed to find it there.
///
/// # Errors
/// What was written since the last sync may be lost then, even if a later sync succeeds.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    carry_out(Operation::Sync { path }, || file.sync_data())
}

/// Puts a file's data and all of its metadata on the disk.
///
/// # Errors
/// As [`sync_data`].
pub fn sync_all(file: &File, path: &Path) -> io::Result<()> {
    carry_out(Operation::Sync { path }, || file.sync_all())
}

/// Puts a range of a mapped file on the disk.
///
/// # Errors
/// As [`sync_data`].
pub fn sync_range(map: &MmapRaw, path: &Path, offset: usize, length: usize) -> io::Result<()> {
    carry_out(Operation::SyncRange { path, offset, length }, || map.flush_range(offset, length))
}

/// Gives a file or directory another name, in place of what has it.
///
/// # Errors
/// Both names are as they were then.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    carry_out(Operation::Rename { from, to }, || std::fs::rename(from, to))
}

/// Removes a file.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when it is not there.
pub fn remove(path: &Path) -> io::Result<()> {
    carry_out(Operation::Remove { path }, || std::fs::remove_file(path))
}

/// Removes a directory with all that is in it.
///
/// # Errors
/// A part may be left.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    carry_out(Operation::RemoveTree { path }, || std::fs::remove_dir_all(path))
}

/// Puts the names in a directory on the disk.
///
/// # Errors
/// Names that were made, changed or removed since the last sync may be as before, then.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    carry_out(Operation::SyncDirectory { path }, || File::open(path)?.sync_all())
}

fn carry_out<T>(operation: Operation<'_>, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // Nobody watches a thread that is being torn down.
    let watcher = WATCHER.try_with(Cell::take).unwrap_or_default();
    let Some(mut watcher) = watcher else { return call() };
    let result = watcher.before(&operation).and_then(|()| call());
    if result.is_ok() {
        watcher.after(&operation);
    }
    WATCHER.set(Some(watcher));
    result
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Refuses what is done to files with a name, and notes the rest.
    struct Grudge {
        name: &'static str,
        seen: Rc<RefCell<Vec<String>>>,
    }

    impl Watcher for Grudge {
        fn before(&mut self, operation: &Operation<'_>) -> io::Result<()> {
            match operation {
                Operation::Remove { path } if path.ends_with(self.name) => {
                    Err(io::Error::from_raw_os_error(libc::EIO))
                }
                _ => Ok(()),
            }
        }

        fn after(&mut self, operation: &Operation<'_>) {
            let text = format!("{operation:?}");
            self.seen.borrow_mut().push(text.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }

    #[test]
    fn what_a_watcher_refuses_does_not_happen_and_the_rest_does() {
        let temp = tempfile::tempdir().unwrap();
        let (kept, gone) = (temp.path().join("kept"), temp.path().join("gone"));
        let seen = Rc::new(RefCell::new(Vec::new()));
        let watching = watch(Box::new(Grudge { name: "kept", seen: Rc::clone(&seen) }));
        let file = create(&kept).unwrap();
        write(&file, &kept, 3, b"abc").unwrap();
        sync_data(&file, &kept).unwrap();
        assert_eq!(remove(&kept).unwrap_err().raw_os_error(), Some(libc::EIO));
        rename(&kept, &gone).unwrap();
        remove(&gone).unwrap();
        assert_eq!(*seen.borrow(), ["Create", "Write", "Sync", "Rename", "Remove"]);
        drop(watching);

        drop(create(&kept).unwrap());
        remove(&kept).unwrap();
        assert_eq!(seen.borrow().len(), 5, "nobody watches any more");
    }

    #[test]
    fn other_threads_are_not_watched() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("kept");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let _watching = watch(Box::new(Grudge { name: "kept", seen: Rc::clone(&seen) }));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(create(&path).unwrap());
                remove(&path).unwrap();
            });
        });
        assert!(seen.borrow().is_empty());
    }
}
