//! Files mapped into memory: allocation before mapping, pre-faulting, syncing.
//!
//! [`MappedFile`] owns the file and the mapping and hands out nothing of its memory. Two owners build on it,
//! each with its own rule for who may touch which byte:
//! - [`shared::SharedFile`] is for files that other processes write at the same time (cnc.dat, mark files): every
//!   access is atomic, and no reference to its bytes exists.
//! - [`segment::SegmentMap`] and [`segment::SegmentView`] are for segment files of a recording, which this
//!   process alone writes: bytes below the published position never change, so readers may borrow them.
//!
//! A file is always fully allocated before it is mapped for writing: a store into a hole of a full file system
//! would raise SIGBUS, where `posix_fallocate` returns an error. (A copy-on-write file system can still run out
//! of space at write-back, which `sync` then reports.)

mod published;
pub mod segment;
pub mod shared;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::disk;
use crate::advice::next_step;

pub use published::Published;
pub use segment::{SegmentMap, SegmentView};
pub use shared::SharedFile;

/// Bytes of a page: the unit of pre-faulting and of syncing.
pub const PAGE_LENGTH: usize = 4096;
/// Bytes that are written once more at a time.
const REWRITE_LENGTH: usize = 256 * PAGE_LENGTH;

/// A file and its shared mapping, from its first byte to its last. Sent between threads freely.
#[derive(Debug)]
pub struct MappedFile {
    /// Views of a segment share it.
    map: Arc<MmapRaw>,
    file: File,
    path: PathBuf,
    access: Access,
}

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Access {
    Read,
    /// Mapped as for writing, but never written: the file may still have holes.
    Sync,
    Write,
}

/// Why a file could not be created, mapped or synced.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// A system call failed.
    #[error("cannot {action} {path}: {source}; {}", next_step(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("{path} is empty: restore the file or remove it")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The file is shorter or longer than its format says.
    #[error("{path} is {found} bytes long, expected {expected}: restore the file or remove it")]
    Length {
        /// Which file.
        path: PathBuf,
        /// Length that the format demands, bytes.
        expected: usize,
        /// Length of the file, bytes.
        found: u64,
    },
}

impl MappedFile {
    /// Creates a file of `length` zero bytes, allocates all of it, and maps it for reading and writing.
    ///
    /// # Errors
    /// [`MapError::Io`] when the file exists, when the disk is full (the file is removed again), or when it
    /// cannot be mapped.
    ///
    /// # Panics
    /// When `length` is 0.
    pub fn create(path: &Path, length: usize) -> Result<Self, MapError> {
        Self::create_sparse(path, length, length)
    }

    /// As [`Self::create`], but allocates only the first `allocated_length` bytes. Storing behind them may find a full
    /// disk, which ends the process: the caller does not.
    ///
    /// # Errors
    /// As [`Self::create`].
    ///
    /// # Panics
    /// When `allocated_length` is 0 or above `length`.
    pub fn create_sparse(path: &Path, length: usize, allocated_length: usize) -> Result<Self, MapError> {
        assert!(allocated_length > 0, "an empty file cannot be mapped");
        assert!(allocated_length <= length, "{allocated_length} of {length} bytes cannot be allocated");
        let file = disk::create(path).map_err(|source| io_error("create", path, source))?;
        let allocated = disk::allocate(&file, path, allocated_length as u64).and_then(|()| {
            if allocated_length < length { disk::set_length(&file, path, length as u64) } else { Ok(()) }
        });
        allocated.map_err(|source| {
            // A half-allocated file would only confuse the next start.
            let _ = disk::remove(path);
            io_error("allocate", path, source)
        })?;
        Self::map(file, path, Access::Write)
    }

    /// Maps an existing file for reading and writing, and allocates what is sparse of it.
    ///
    /// # Errors
    /// [`MapError::Io`] when it cannot be opened, allocated or mapped; [`MapError::Length`] when it is empty or
    /// its length differs from `expected_length`.
    pub fn open_writable(path: &Path, expected_length: Option<usize>) -> Result<Self, MapError> {
        let file = disk::open(path).map_err(|source| io_error("open", path, source))?;
        let length = checked_length(&file, path, expected_length)?;
        disk::allocate(&file, path, length as u64).map_err(|source| io_error("allocate", path, source))?;
        Self::map(file, path, Access::Write)
    }

    /// Maps an existing file for reading.
    ///
    /// # Errors
    /// As [`Self::open_writable`].
    pub fn open_read_only(path: &Path, expected_length: Option<usize>) -> Result<Self, MapError> {
        let file = File::open(path).map_err(|source| io_error("open", path, source))?;
        checked_length(&file, path, expected_length)?;
        Self::map(file, path, Access::Read)
    }

    /// Maps an existing file only to sync what others write to it.
    ///
    /// # Errors
    /// As [`Self::open_writable`].
    pub fn open_for_sync(path: &Path, expected_length: Option<usize>) -> Result<Self, MapError> {
        let file = disk::open(path).map_err(|source| io_error("open", path, source))?;
        checked_length(&file, path, expected_length)?;
        Self::map(file, path, Access::Sync)
    }

    /// Gives the file blocks for its first `length` bytes, which it must have.
    ///
    /// # Errors
    /// [`MapError::Io`], above all when the disk is full: a part may have been allocated.
    ///
    /// # Panics
    /// When the file is shorter.
    pub fn allocate(&mut self, length: usize) -> Result<(), MapError> {
        let end = self.checked_end(0, length);
        disk::allocate(&self.file, &self.path, end as u64)
            .map_err(|source| io_error("allocate", &self.path, source))
    }

    /// Gives back the blocks behind the page that byte `offset` ends in; there are zeros then, and storing there may find
    /// a full disk, which ends the process: the caller does not, and no borrow of these bytes exists.
    ///
    /// # Errors
    /// [`MapError::Io`]; the file may be shorter than its mapping then, and must not be touched.
    fn release_from(&mut self, offset: usize) -> Result<(), MapError> {
        let kept = self.checked_end(offset, 0).next_multiple_of(PAGE_LENGTH);
        if kept >= self.length() {
            return Ok(());
        }
        // Shorter and longer again: every file system can, where punching a hole is not known to all.
        disk::set_length(&self.file, &self.path, kept as u64)
            .and_then(|()| disk::set_length(&self.file, &self.path, self.length() as u64))
            .map_err(|source| io_error("shorten", &self.path, source))
    }

    /// Whether stores may be made through this mapping.
    pub fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    /// Bytes mapped.
    pub fn length(&self) -> usize {
        self.map.len()
    }

    /// Where the file is, as last named by [`Self::rename`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Faults in every page of `offset..offset + length` for writing, so that later stores take no page fault.
    /// The content stays as it is. Blocks for some 50 ms per 64 MiB: not for a hot thread.
    ///
    /// # Errors
    /// [`MapError::Io`] when the kernel cannot provide the pages.
    ///
    /// # Panics
    /// When the file is mapped read-only or the range lies beyond its end.
    pub fn populate(&mut self, offset: usize, length: usize) -> Result<(), MapError> {
        assert!(self.is_writable(), "only a writable mapping takes write faults");
        let end = self.checked_end(offset, length);
        let first_page = offset - offset % PAGE_LENGTH;
        match self.map.advise_range(Advice::PopulateWrite, first_page, end - first_page) {
            Ok(()) => Ok(()),
            // Kernels before 5.14 do not know the advice.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                for page in (first_page..end).step_by(PAGE_LENGTH) {
                    self.touch(page);
                }
                Ok(())
            }
            Err(source) => Err(io_error("pre-fault", &self.path, source)),
        }
    }

    /// Writes the pages of `offset..offset + length` to the disk and waits for it, with the metadata that is
    /// needed to find them again. Pages outside of the range stay as they are: those that were pre-faulted keep
    /// taking stores without a fault, which `fdatasync` of the whole file would end.
    ///
    /// # Errors
    /// [`MapError::Io`]: what was not yet on disk may now be lost, even if a later call succeeds.
    ///
    /// # Panics
    /// When the file is mapped read-only (the kernel would silently do nothing) or the range lies beyond its end.
    pub fn sync_range(&self, offset: usize, length: usize) -> Result<(), MapError> {
        assert!(self.access != Access::Read, "only a mapping of a file opened for writing can be synced");
        let _ = self.checked_end(offset, length);
        disk::sync_range(&self.map, &self.path, offset, length)
            .map_err(|source| io_error("sync", &self.path, source))
    }

    /// Writes all pages of the file to the disk (`fdatasync`) and waits for it.
    ///
    /// # Errors
    /// As [`Self::sync_range`].
    pub fn sync_data(&self) -> Result<(), MapError> {
        disk::sync_data(&self.file, &self.path).map_err(|source| io_error("sync", &self.path, source))
    }

    /// Writes the bytes of a range once more, as they are: the next sync takes them to the disk, whatever became of the
    /// syncs before.
    ///
    /// # Errors
    /// [`MapError::Io`].
    ///
    /// # Panics
    /// As [`Self::sync_range`].
    pub fn rewrite(&self, offset: usize, length: usize) -> Result<(), MapError> {
        assert!(self.access != Access::Read, "only a file opened for writing can be written");
        let end = self.checked_end(offset, length);
        let mut bytes = vec![0; REWRITE_LENGTH];
        for at in (offset..end).step_by(REWRITE_LENGTH) {
            let part = &mut bytes[..REWRITE_LENGTH.min(end - at)];
            self.file
                .read_exact_at(part, at as u64)
                .map_err(|source| io_error("read", &self.path, source))?;
            disk::write(&self.file, &self.path, at as u64, part)
                .map_err(|source| io_error("write to", &self.path, source))?;
        }
        Ok(())
    }

    /// Gives the file another name; the mapping stays.
    ///
    /// # Errors
    /// [`MapError::Io`] when the rename fails; the file then keeps its name.
    pub fn rename(&mut self, to: &Path) -> Result<(), MapError> {
        disk::rename(&self.path, to).map_err(|source| io_error("rename", &self.path, source))?;
        to.clone_into(&mut self.path);
        Ok(())
    }

    fn map(file: File, path: &Path, access: Access) -> Result<Self, MapError> {
        let options = MmapOptions::new();
        let map = match access {
            Access::Read => options.map_raw_read_only(&file),
            Access::Sync | Access::Write => options.map_raw(&file),
        };
        let map = map.map_err(|source| io_error("map", path, source))?;
        Ok(Self { map: Arc::new(map), file, path: path.to_owned(), access })
    }

    /// End of a range within the mapping.
    fn checked_end(&self, offset: usize, length: usize) -> usize {
        let end = offset.checked_add(length).expect("a range within a file does not wrap");
        assert!(end <= self.length(), "range {offset}..{end} lies beyond the mapping of {}", self.length());
        end
    }

    fn touch(&mut self, offset: usize) {
        let _ = self.checked_end(offset, 1);
        // SAFETY: `checked_end` proved that the byte lies in the mapping.
        let byte = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: in bounds as above; any byte is a valid `u8`. Volatile, so that the compiler keeps the access.
        let value = unsafe { byte.read_volatile() };
        // SAFETY: in bounds as above, mapped writable (`populate` checked), and `&mut self` excludes every other
        // access of this process through this mapping. Only owners that exclude other writers of the file
        // pre-fault it (new files, and segments, which this process alone writes).
        unsafe { byte.write_volatile(value) };
    }
}

/// Makes a rename or creation within `directory` survive a power cut.
///
/// # Errors
/// [`MapError::Io`] when the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), MapError> {
    disk::sync_directory(directory).map_err(|source| io_error("sync", directory, source))
}

fn checked_length(file: &File, path: &Path, expected: Option<usize>) -> Result<usize, MapError> {
    let found = file.metadata().map_err(|source| io_error("examine", path, source))?.len();
    // A file that does not fit a `usize` cannot be mapped: the mapping says so.
    let length = usize::try_from(found).unwrap_or(usize::MAX);
    match expected {
        Some(expected) if expected != length => {
            Err(MapError::Length { path: path.to_owned(), expected, found })
        }
        _ if length == 0 => Err(MapError::Empty { path: path.to_owned() }),
        _ => Ok(length),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> MapError {
    MapError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_file_is_allocated_and_zero() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = MappedFile::create(&path, 1 << 20).unwrap();
        file.populate(0, 1 << 20).unwrap();
        assert_eq!(file.length(), 1 << 20);
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= 1 << 20);
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_file_is_never_created_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"kept").unwrap();
        assert!(MappedFile::create(&path, 4096).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_file_too_large_for_the_disk_is_an_error_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(matches!(MappedFile::create(&path, 1 << 50), Err(MapError::Io { action: "allocate", .. })));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [1; 100]).unwrap();
        let error = MappedFile::open_read_only(&path, Some(4096)).unwrap_err();
        assert!(matches!(error, MapError::Length { expected: 4096, found: 100, .. }));
        std::fs::write(&path, []).unwrap();
        assert!(matches!(MappedFile::open_writable(&path, None), Err(MapError::Empty { .. })));
    }

    #[test]
    fn touching_pages_keeps_their_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 3 * PAGE_LENGTH]).unwrap();
        let mut file = MappedFile::open_writable(&path, None).unwrap();
        file.touch(0);
        file.touch(PAGE_LENGTH);
        file.sync_range(PAGE_LENGTH, 100).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 3 * PAGE_LENGTH]);
    }

    #[test]
    #[should_panic(expected = "beyond the mapping")]
    fn a_range_beyond_the_end_panics() {
        let directory = tempfile::tempdir().unwrap();
        let file = MappedFile::create(&directory.path().join("file"), PAGE_LENGTH).unwrap();
        let _ = file.sync_range(1, PAGE_LENGTH);
    }
}
