//! A mapping that other processes write at the same time: cnc.dat and the mark files.
//!
//! Every access is an atomic of its size, so a racing writer can make a value stale or a text torn, never the
//! program undefined. What is published by a word (a counter's state, an error's length) is written before a
//! Release store of that word and read after an Acquire load of it.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, Ordering, fence};

use super::MappedFile;

/// A file whose bytes are only reached through atomics. Shared between threads behind an `Arc`.
#[derive(Debug)]
pub struct SharedFile {
    file: MappedFile,
}

impl SharedFile {
    /// Takes the mapping over.
    pub fn new(file: MappedFile) -> Self {
        Self { file }
    }

    /// Bytes mapped.
    pub fn length(&self) -> usize {
        self.file.length()
    }

    /// Whether [`Self::atomic_i64`], [`Self::atomic_i32`] and [`Self::copy_in`] may be used.
    pub fn is_writable(&self) -> bool {
        self.file.is_writable()
    }

    /// The file itself, to sync or name it.
    pub fn file(&self) -> &MappedFile {
        &self.file
    }

    /// The eight bytes at `offset`, in the host's byte order.
    ///
    /// # Panics
    /// When `offset` is not a multiple of 8, lies beyond the end, or the file is mapped read-only.
    pub fn atomic_i64(&self, offset: usize) -> &AtomicI64 {
        assert!(self.is_writable(), "the file is mapped read-only");
        self.any_i64(offset)
    }

    /// The four bytes at `offset`, in the host's byte order.
    ///
    /// # Panics
    /// When `offset` is not a multiple of 4, lies beyond the end, or the file is mapped read-only.
    pub fn atomic_i32(&self, offset: usize) -> &AtomicI32 {
        assert!(self.is_writable(), "the file is mapped read-only");
        self.any_i32(offset)
    }

    /// Reads eight bytes with Acquire, also from a read-only mapping.
    ///
    /// # Panics
    /// As [`Self::atomic_i64`], but for the read-only mapping.
    pub fn load_i64(&self, offset: usize) -> i64 {
        // Of atomic operations, only small relaxed loads are defined on read-only pages: hence the fence.
        let value = self.any_i64(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Reads four bytes with Acquire, also from a read-only mapping.
    ///
    /// # Panics
    /// As [`Self::atomic_i32`], but for the read-only mapping.
    pub fn load_i32(&self, offset: usize) -> i32 {
        let value = self.any_i32(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Writes `bytes` at `offset`, one by one and unordered: publish them with a Release store afterwards.
    ///
    /// # Panics
    /// When the range lies beyond the end or the file is mapped read-only.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        assert!(self.is_writable(), "the file is mapped read-only");
        let _ = self.file.checked_end(offset, bytes.len());
        for (index, byte) in bytes.iter().enumerate() {
            self.any_u8(offset + index).store(*byte, Ordering::Relaxed);
        }
    }

    /// Reads bytes from `offset` on into `out`, one by one and unordered.
    ///
    /// # Panics
    /// When the range lies beyond the end.
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) {
        let _ = self.file.checked_end(offset, out.len());
        for (index, byte) in out.iter_mut().enumerate() {
            *byte = self.any_u8(offset + index).load(Ordering::Relaxed);
        }
    }

    fn any_i64(&self, offset: usize) -> &AtomicI64 {
        let pointer = self.at(offset, size_of::<i64>()).cast::<i64>();
        assert!(pointer.is_aligned(), "offset {offset} is not a multiple of 8");
        // SAFETY: `at` proved that the eight bytes lie in the mapping, which lives as long as `self`; aligned, as
        // just checked. `AtomicI64` allows any bytes, and this process reaches them only through atomics, because
        // `SharedFile` owns the mapping and hands out nothing else. Other processes write aligned words. On a
        // read-only mapping only relaxed loads are made (`load_i64`).
        unsafe { AtomicI64::from_ptr(pointer) }
    }

    fn any_i32(&self, offset: usize) -> &AtomicI32 {
        let pointer = self.at(offset, size_of::<i32>()).cast::<i32>();
        assert!(pointer.is_aligned(), "offset {offset} is not a multiple of 4");
        // SAFETY: as in `any_i64`, for four bytes.
        unsafe { AtomicI32::from_ptr(pointer) }
    }

    fn any_u8(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: as in `any_i64`, for one byte, which needs no alignment.
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }
    }

    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        let _ = self.file.checked_end(offset, length);
        // SAFETY: `checked_end` proved that `offset..offset + length` lies in the mapping.
        unsafe { self.file.map.as_mut_ptr().add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_one_file_see_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cnc.dat");
        let writer = SharedFile::new(MappedFile::create(&path, 4096).unwrap());
        let reader = SharedFile::new(MappedFile::open_read_only(&path, None).unwrap());
        writer.copy_in(17, b"label");
        writer.atomic_i64(8).store(-5, Ordering::Release);
        writer.atomic_i32(4).store(7, Ordering::Release);
        assert_eq!(reader.load_i64(8), -5);
        assert_eq!(reader.load_i32(4), 7);
        let mut label = [0; 5];
        reader.copy_out(17, &mut label);
        assert_eq!(&label, b"label");
    }

    #[test]
    #[should_panic(expected = "read-only")]
    fn a_read_only_mapping_gives_no_way_to_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cnc.dat");
        std::fs::write(&path, [0; 64]).unwrap();
        let reader = SharedFile::new(MappedFile::open_read_only(&path, None).unwrap());
        reader.atomic_i64(0).store(1, Ordering::Release);
    }

    #[test]
    #[should_panic(expected = "multiple of 8")]
    fn an_unaligned_word_panics() {
        let directory = tempfile::tempdir().unwrap();
        let file = SharedFile::new(MappedFile::create(&directory.path().join("f"), 4096).unwrap());
        let _ = file.load_i64(4);
    }
}
