//! A cnc.dat of two counters: atomics at the offsets of their words, and texts that are one word each.

use std::cell::RefCell;
use std::collections::HashMap;

use consensus_tap::file::cnc::{
    CncLayout, KEY_OFFSET, LABEL_LENGTH_OFFSET, LABEL_OFFSET, OWNER_ID_OFFSET, REFERENCE_ID_OFFSET,
    REGISTRATION_ID_OFFSET, REUSE_DEADLINE_OFFSET, TYPE_ID_OFFSET,
};
use loom::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering, fence};

/// Counters that the file has room for.
const COUNTER_COUNT: usize = 2;

thread_local! {
    /// Texts that were written, by number; 0 is none.
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The file.
#[derive(Debug)]
pub struct SharedFile {
    i32s: HashMap<usize, AtomicI32>,
    i64s: HashMap<usize, AtomicI64>,
    texts: HashMap<usize, AtomicUsize>,
}

impl SharedFile {
    /// An empty file.
    pub fn new(layout: &CncLayout) -> Self {
        TEXTS.with_borrow_mut(Vec::clear);
        let metadata = || (0..COUNTER_COUNT).map(|id| layout.metadata_offset(id));
        let values = || (0..COUNTER_COUNT).map(|id| layout.value_offset(id));
        let value_words = [0, REGISTRATION_ID_OFFSET, OWNER_ID_OFFSET, REFERENCE_ID_OFFSET];
        Self {
            i32s: metadata()
                .flat_map(|at| [at, at + TYPE_ID_OFFSET, at + LABEL_LENGTH_OFFSET])
                .map(|at| (at, AtomicI32::new(0)))
                .collect(),
            i64s: metadata()
                .map(|at| at + REUSE_DEADLINE_OFFSET)
                .chain(values().flat_map(|at| value_words.map(|word| at + word)))
                .map(|at| (at, AtomicI64::new(0)))
                .collect(),
            texts: metadata()
                .flat_map(|at| [at + KEY_OFFSET, at + LABEL_OFFSET])
                .map(|at| (at, AtomicUsize::new(0)))
                .collect(),
        }
    }

    /// A word of eight bytes.
    ///
    /// # Panics
    /// When there is none.
    pub fn atomic_i64(&self, offset: usize) -> &AtomicI64 {
        &self.i64s[&offset]
    }

    /// A word of four bytes.
    ///
    /// # Panics
    /// When there is none.
    pub fn atomic_i32(&self, offset: usize) -> &AtomicI32 {
        &self.i32s[&offset]
    }

    /// As the node's: a relaxed load and a fence.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn load_i64(&self, offset: usize) -> i64 {
        let value = self.i64s[&offset].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// As [`Self::load_i64`]; behind the counters there are zeros.
    pub fn load_i32(&self, offset: usize) -> i32 {
        let Some(word) = self.i32s.get(&offset) else { return 0 };
        let value = word.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Writes a text, unordered.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let number = TEXTS.with_borrow_mut(|texts| {
            texts.push(bytes.to_vec());
            texts.len()
        });
        self.texts[&offset].store(number, Ordering::Relaxed);
    }

    /// Reads the first bytes of a text, unordered.
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) {
        let number = self.texts[&offset].load(Ordering::Relaxed);
        TEXTS.with_borrow(|texts| match number.checked_sub(1) {
            Some(index) => {
                let text = &texts[index];
                let length = out.len().min(text.len());
                out[..length].copy_from_slice(&text[..length]);
                out[length..].fill(0);
            }
            None => out.fill(0),
        });
    }
}
