//! Memory: blocks that the kernel writes into.

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::slice;

/// A block of zeroed, page-aligned memory with a fixed place, for pointers that are handed to the kernel once
/// and stay valid. Only its owner knows when the kernel writes where, so reading is `unsafe`.
#[derive(Debug)]
pub(super) struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    /// Pages that are never touched cost nothing: a large block comes from the system unmapped.
    pub(super) fn new(length: usize) -> Self {
        assert!(length > 0, "an empty block has no place");
        let layout = Layout::from_size_align(length, PAGE_LENGTH).expect("a length that fits an isize");
        // SAFETY: the layout's size is not 0, checked above.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, layout }
    }

    /// Where `length` bytes at `offset` lie. Valid until the block is dropped.
    pub(super) fn pointer(&self, offset: usize, length: usize) -> *mut u8 {
        let end = offset.checked_add(length).expect("an end that fits a usize");
        assert!(end <= self.layout.size(), "{offset} + {length} lies outside of {}", self.layout.size());
        // SAFETY: the offset lies within the block or at its end, checked above.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The bytes at `offset`.
    ///
    /// # Safety
    ///
    /// Nobody, the kernel included, writes to them while the slice lives.
    pub(super) unsafe fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let pointer = self.pointer(offset, length);
        // SAFETY: `pointer` checked the bounds, the block was zeroed at its start and so is initialized, it
        // outlives `self`'s borrow, and the caller keeps writers away.
        unsafe { slice::from_raw_parts(pointer, length) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `start` came from `alloc_zeroed` with this very layout.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: the block is owned, and nothing about it is tied to the thread that allocated it.
unsafe impl Send for Region {}

const PAGE_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_starts_zeroed_on_a_page() {
        let region = Region::new(3 * PAGE_LENGTH + 5);
        // SAFETY: nothing else knows the block.
        let bytes = unsafe { region.bytes(0, 3 * PAGE_LENGTH + 5) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(bytes.as_ptr().addr().is_multiple_of(PAGE_LENGTH));
    }

    #[test]
    #[should_panic(expected = "lies outside")]
    fn no_pointer_leaves_the_block() {
        Region::new(64).pointer(60, 5);
    }
}
