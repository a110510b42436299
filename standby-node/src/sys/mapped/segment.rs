//! Segment files of a recording, mapped: one writer, any number of readers, all in this process.
//!
//! The rule that makes borrowing sound: a recording has one [`Published`] position. [`SegmentMap`], the only way
//! to write, refuses to touch a byte below it, and it only grows; [`SegmentView`], the readers' way, refuses to
//! lend a byte at or above it. So no byte is ever lent and written at once. What is left to the caller, because
//! no type can hold it, is stated on `Published::new`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use memmap2::{Advice, MmapRaw};

use super::published::Published;
use super::{MapError, MappedFile};

/// A segment file mapped for its one writer.
#[derive(Debug)]
pub struct SegmentMap {
    file: MappedFile,
    base_position: i64,
    published: Published,
}

impl SegmentMap {
    /// Takes over the writable mapping of the segment whose first byte is at `base_position`.
    ///
    /// No two of one segment may live at once, which two callers see to: `RecordingWriter` has one segment at a time and
    /// is the only writer of its recording; `store::segment::open_whole` has one for a recovery, before anybody reads
    /// or writes the recording.
    ///
    /// # Panics
    /// When the file is mapped read-only.
    pub(crate) fn new(file: MappedFile, base_position: i64, published: Published) -> Self {
        assert!(file.is_writable(), "a writer needs a writable mapping");
        Self { file, base_position, published }
    }

    /// Bytes of the segment.
    pub fn length(&self) -> usize {
        self.file.length()
    }

    /// Position of the segment's first byte.
    pub fn base_position(&self) -> i64 {
        self.base_position
    }

    /// The file, to sync it.
    pub fn file(&self) -> &MappedFile {
        &self.file
    }

    /// Gives the mapping back, to unmap it elsewhere.
    pub fn into_file(self) -> MappedFile {
        self.file
    }

    /// A view of the segment through this very mapping, which lives as long as either of them.
    pub fn view(&self) -> SegmentView {
        SegmentView {
            map: Arc::clone(&self.file.map),
            base_position: self.base_position,
            published: self.published.clone(),
        }
    }

    /// Pre-faults the segment from `offset` to `end`.
    ///
    /// # Errors
    /// As [`MappedFile::populate`].
    ///
    /// # Panics
    /// When `end` lies below `offset` or beyond the segment.
    pub fn populate(&mut self, offset: usize, end: usize) -> Result<(), MapError> {
        assert!(offset <= end, "the range {offset}..{end} runs backwards");
        self.file.populate(offset, end - offset)
    }

    /// Gives the segment blocks for its first `length` bytes.
    ///
    /// # Errors
    /// As [`MappedFile::create`]; a part may have been allocated.
    pub fn allocate(&mut self, length: usize) -> Result<(), MapError> {
        self.file.allocate(length)
    }

    /// Gives back the blocks of whole pages from `offset` on, which are zeros then. Nothing is stored there any more.
    ///
    /// # Errors
    /// [`MapError::Io`]; the file may be too short then, and must not be used.
    ///
    /// # Panics
    /// When bytes from `offset` on are published.
    pub fn release_from(&mut self, offset: usize) -> Result<(), MapError> {
        let _ = self.unpublished(offset, 0);
        self.file.release_from(offset)
    }

    /// Copies `bytes` to `offset`, unordered.
    ///
    /// # Panics
    /// When the range lies beyond the segment or reaches below the published position.
    pub fn copy_in(&mut self, offset: usize, bytes: &[u8]) {
        let at = self.unpublished(offset, bytes.len());
        // SAFETY: `unpublished` proved that the destination lies in the writable mapping and that no reader
        // borrows it (readers stay below the published position). `bytes` does not overlap it: it is borrowed
        // from elsewhere, since borrowing from this mapping (`bytes()`) would exclude `&mut self`, and views
        // lend nothing at or above the published position.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Sets `length` bytes from `offset` on to zero.
    ///
    /// # Panics
    /// As [`Self::copy_in`].
    pub fn zero(&mut self, offset: usize, length: usize) {
        let at = self.unpublished(offset, length);
        // SAFETY: `unpublished` proved that the range lies in the writable mapping and that nobody borrows it.
        unsafe { std::ptr::write_bytes(at, 0, length) };
    }

    /// Stores a frame length (little endian) with Release: whoever finds it, also after this process was killed,
    /// finds everything that was copied before it.
    ///
    /// # Panics
    /// As [`Self::copy_in`], and when `offset` is not a multiple of 4.
    pub fn store_length_release(&mut self, offset: usize, length: i32) {
        let at = self.unpublished(offset, size_of::<i32>()).cast::<i32>();
        assert!(at.is_aligned(), "offset {offset} is not a multiple of 4");
        // SAFETY: `unpublished` proved that the four bytes lie in the writable mapping and that nobody borrows
        // them; aligned, as just checked.
        let word = unsafe { AtomicI32::from_ptr(at) };
        word.store(length.to_le(), Ordering::Release);
    }

    /// Makes everything below `position` readable, for good.
    ///
    /// # Panics
    /// When `position` is lower than what was published before, or lies beyond this segment.
    pub fn publish(&mut self, position: i64) {
        assert!(
            position - self.base_position <= self.file.length() as i64,
            "{position} is beyond the segment"
        );
        self.published.publish(position);
    }

    /// The bytes of `offset..offset + length`, as this writer left them.
    ///
    /// # Panics
    /// When the range lies beyond the segment.
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let _ = self.file.checked_end(offset, length);
        // SAFETY: `checked_end` proved that the range lies in the mapping.
        let at = unsafe { self.file.map.as_ptr().add(offset) };
        // SAFETY: in bounds as above, and mapped as long as `self` lives. All writes of this process go through
        // `&mut self` of the one `SegmentMap` of this segment, which this borrow excludes; other processes do
        // not write segments (see `Published::new`).
        unsafe { std::slice::from_raw_parts(at, length) }
    }

    /// Where `offset..offset + length` lies, provided that it is within the segment and not yet published.
    fn unpublished(&mut self, offset: usize, length: usize) -> *mut u8 {
        let _ = self.file.checked_end(offset, length);
        let published = self.published.own_position();
        let position = self.base_position + offset as i64;
        assert!(position >= published, "bytes below {published} are final, {position} was to be written");
        // SAFETY: `checked_end` proved that the range lies in the mapping.
        unsafe { self.file.map.as_mut_ptr().add(offset) }
    }
}

/// A segment file mapped for reading. Clones share the mapping; the last of them to go unmaps it.
#[derive(Clone, Debug)]
pub struct SegmentView {
    map: Arc<MmapRaw>,
    base_position: i64,
    published: Published,
}

impl SegmentView {
    /// Maps the segment file at `path`, whose first byte is at `base_position`, for reading.
    ///
    /// # Errors
    /// As [`MappedFile::open_read_only`].
    pub(crate) fn open(
        path: &Path,
        base_position: i64,
        length: usize,
        published: Published,
    ) -> Result<Self, MapError> {
        let file = MappedFile::open_read_only(path, Some(length))?;
        Ok(Self { map: file.map, base_position, published })
    }

    /// Position of the segment's first byte.
    pub fn base_position(&self) -> i64 {
        self.base_position
    }

    /// Whether this is the only view, and no writer has the mapping.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.map) == 1
    }

    /// The bytes from position `from` to position `to`.
    ///
    /// # Panics
    /// When the range is not within the segment, or reaches above the published position.
    pub fn bytes(&self, from: i64, to: i64) -> &[u8] {
        let (offset, length) = self.range(from, to);
        // SAFETY: `range` proved that the range lies in the mapping.
        let at = unsafe { self.map.as_ptr().add(offset) };
        // SAFETY: in bounds as above, and mapped as long as `self` lives. The range lies below the published
        // position, read with Acquire: the writer's stores to it happened before, and it never stores there again
        // (`SegmentMap::unpublished`), through whichever mapping. Nobody else writes or shortens the file (see
        // `Published::new`).
        unsafe { std::slice::from_raw_parts(at, length) }
    }

    /// Faults in the pages of a range, so that reading there takes no page fault. Where the kernel cannot (before
    /// 5.14), the faults are left to the reader.
    ///
    /// # Errors
    /// What the kernel says, if it could not provide a page.
    ///
    /// # Panics
    /// As [`Self::bytes`].
    pub fn populate(&self, from: i64, to: i64) -> io::Result<()> {
        let (offset, length) = self.range(from, to);
        match self.map.advise_range(Advice::PopulateRead, offset, length) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }

    /// Offset and length of a range of what is published of this segment.
    fn range(&self, from: i64, to: i64) -> (usize, usize) {
        assert!(self.base_position <= from, "{from} lies before the segment");
        assert!(from <= to, "the range {from}..{to} runs backwards");
        assert!(to <= self.published.position(), "{to} is not published yet");
        let end = (to - self.base_position) as usize;
        assert!(end <= self.map.len(), "{to} lies behind the segment of {} bytes", self.map.len());
        ((from - self.base_position) as usize, (to - from) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &Path) -> (SegmentMap, SegmentView) {
        let path = directory.join("0-65536.rec");
        let published = Published::new(65536);
        let file = MappedFile::create(&path, 65536).unwrap();
        let map = SegmentMap::new(file, 65536, published.clone());
        (map, SegmentView::open(&path, 65536, 65536, published).unwrap())
    }

    #[test]
    fn a_reader_sees_what_was_published() {
        let directory = tempfile::tempdir().unwrap();
        let (mut map, view) = pair(directory.path());
        map.copy_in(4, b"frame");
        map.store_length_release(0, 0x0102);
        map.publish(65536 + 32);
        assert_eq!(&view.bytes(65536, 65536 + 9), b"\x02\x01\0\0frame");
        assert_eq!(map.bytes(0, 9), b"\x02\x01\0\0frame");
    }

    #[test]
    fn a_view_of_the_writers_mapping_outlives_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let (mut map, _other) = pair(directory.path());
        let view = map.view();
        map.copy_in(0, b"frame");
        map.publish(65536 + 32);
        assert!(!view.is_alone());
        drop(map);
        assert!(view.is_alone());
        view.populate(65536, 65536 + 32).unwrap();
        assert_eq!(&view.bytes(65536, 65536 + 5), b"frame");
    }

    #[test]
    #[should_panic(expected = "not published yet")]
    fn a_reader_gets_nothing_beyond_the_published_position() {
        let directory = tempfile::tempdir().unwrap();
        let (mut map, view) = pair(directory.path());
        map.publish(65536 + 32);
        let _ = view.bytes(65536, 65536 + 64);
    }

    #[test]
    #[should_panic(expected = "are final")]
    fn the_writer_cannot_touch_what_was_published() {
        let directory = tempfile::tempdir().unwrap();
        let (mut map, _view) = pair(directory.path());
        map.publish(65536 + 32);
        map.copy_in(0, &[1]);
    }

    #[test]
    #[should_panic(expected = "only grows")]
    fn the_published_position_never_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (mut map, _view) = pair(directory.path());
        map.publish(65536 + 32);
        map.publish(65536);
    }
}
