//! The distinct error log: each error once, with how often and when it was seen. In cnc.dat and in mark files.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use consensus_tap::file::cnc::{
    ERROR_ALIGNMENT, ERROR_COUNT_OFFSET, ERROR_FIRST_TIMESTAMP_OFFSET, ERROR_HEADER_LENGTH,
    ERROR_LAST_TIMESTAMP_OFFSET,
};

use super::counters::Counter;
use crate::sys::mapped::SharedFile;

/// So much of the log, a sixteenth, is kept for the last errors.
const RESERVED_PART: usize = 16;

/// Writes a distinct error log. Clones write to the same one; they take a lock, so hot threads hand their errors to
/// the conductor.
#[derive(Clone, Debug)]
pub struct ErrorLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Arc<SharedFile>,
    offset: usize,
    length: usize,
    /// Counts every observation, kept or not.
    errors: Option<Counter>,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// Text and file offset of every entry. Few, so a search suffices.
    entries: Vec<(String, usize)>,
    /// Bytes used.
    used: usize,
}

/// One distinct error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorEntry {
    /// What happened.
    pub text: String,
    /// How often.
    pub count: i32,
    /// When first, epoch ms.
    pub first_timestamp_ms: i64,
    /// When last, epoch ms.
    pub last_timestamp_ms: i64,
}

impl ErrorLog {
    /// A log in the zero bytes of `file` from `offset` (a multiple of 8) on. `errors` counts what is recorded.
    ///
    /// # Panics
    /// When the section lies beyond the file, is not aligned, or the file is mapped read-only.
    pub fn new(file: Arc<SharedFile>, offset: usize, length: usize, errors: Option<Counter>) -> Self {
        assert!(file.is_writable(), "an error log is written to");
        assert!(offset.is_multiple_of(ERROR_ALIGNMENT), "the error log begins at {offset}, no multiple of 8");
        assert!(offset + length <= file.length(), "the error log lies beyond the file");
        let index = Mutex::default();
        Self { shared: Arc::new(Shared { file, offset, length, errors, index }) }
    }

    /// Records that `text` happened at `now_ms` (epoch): a new entry, or one more observation of the old one.
    /// Returns false when it is new and there is no room left but the part that is kept for
    /// [`Self::record_last`]; it is counted all the same.
    pub fn record(&self, text: &str, now_ms: i64) -> bool {
        self.record_below(text, now_ms, self.shared.length - self.shared.length / RESERVED_PART)
    }

    /// As [`Self::record`], with the room that is kept for what must not be lost: why everything ended.
    pub fn record_last(&self, text: &str, now_ms: i64) -> bool {
        self.record_below(text, now_ms, self.shared.length)
    }

    fn record_below(&self, text: &str, now_ms: i64, length: usize) -> bool {
        let Shared { file, offset, errors, index, .. } = &*self.shared;
        if let Some(errors) = errors {
            errors.add(1);
        }
        // A thread that panicked in here left at worst an entry that is not published.
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = index.entries.iter().find(|(known, _)| known == text) {
            file.atomic_i32(at + ERROR_COUNT_OFFSET).fetch_add(1, Ordering::AcqRel);
            file.atomic_i64(at + ERROR_LAST_TIMESTAMP_OFFSET).store(now_ms, Ordering::Release);
            return true;
        }
        let entry_length = ERROR_HEADER_LENGTH + text.len();
        let used = index.used;
        if used + entry_length > length {
            return false;
        }
        let at = offset + used;
        file.copy_in(at + ERROR_HEADER_LENGTH, text.as_bytes());
        file.atomic_i64(at + ERROR_FIRST_TIMESTAMP_OFFSET).store(now_ms, Ordering::Relaxed);
        file.atomic_i64(at + ERROR_LAST_TIMESTAMP_OFFSET).store(now_ms, Ordering::Relaxed);
        file.atomic_i32(at + ERROR_COUNT_OFFSET).store(1, Ordering::Relaxed);
        // Publishes the entry: pairs with the Acquire load of its length in `read_errors`.
        file.atomic_i32(at).store(entry_length as i32, Ordering::Release);
        index.entries.push((text.to_owned(), at));
        index.used = (used + entry_length).next_multiple_of(ERROR_ALIGNMENT);
        true
    }
}

/// Reads the error log in `length` bytes of `file` from `offset` on, oldest first. Stops at the first entry that
/// cannot be one.
///
/// # Panics
/// When the section lies beyond the file or is not aligned.
pub fn read_errors(file: &SharedFile, offset: usize, length: usize) -> Vec<ErrorEntry> {
    let mut entries = Vec::new();
    let mut used = 0;
    while used + ERROR_HEADER_LENGTH <= length {
        let at = offset + used;
        let Ok(entry_length) = usize::try_from(file.load_i32(at)) else {
            break;
        };
        if entry_length < ERROR_HEADER_LENGTH || used + entry_length > length {
            break;
        }
        let mut text = vec![0; entry_length - ERROR_HEADER_LENGTH];
        file.copy_out(at + ERROR_HEADER_LENGTH, &mut text);
        entries.push(ErrorEntry {
            text: String::from_utf8_lossy(&text).into_owned(),
            count: file.load_i32(at + ERROR_COUNT_OFFSET),
            first_timestamp_ms: file.load_i64(at + ERROR_FIRST_TIMESTAMP_OFFSET),
            last_timestamp_ms: file.load_i64(at + ERROR_LAST_TIMESTAMP_OFFSET),
        });
        used = (used + entry_length).next_multiple_of(ERROR_ALIGNMENT);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mapped::MappedFile;

    #[test]
    fn a_log_full_of_ever_new_errors_has_room_for_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = MappedFile::create(&directory.path().join("cnc.dat"), 4096).unwrap();
        let file = Arc::new(SharedFile::new(file));
        let log = ErrorLog::new(Arc::clone(&file), 0, 4096, None);
        let kept = (0..1000).take_while(|index| log.record(&format!("error {index}"), 1)).count();
        assert!(log.record("error 0", 2), "a known one is only counted");
        assert!(log.record_last("why it ended", 3));
        let entries = read_errors(&file, 0, 4096);
        assert_eq!(entries.len(), kept + 1);
        assert_eq!(entries.last().unwrap().text, "why it ended");
    }
}
