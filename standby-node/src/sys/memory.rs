//! Memory: blocks that the kernel writes into, and keeping all of it out of the swap.

use std::alloc::{self, Layout};
use std::fs;
use std::io;
use std::ptr::NonNull;
use std::slice;

use thiserror::Error;

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

/// Why the memory stays swappable. The node runs without the lock, with the risk of a page fault from disk.
#[derive(Debug, Error)]
pub enum MemoryLockError {
    /// The process may lock some memory, but not all. It is not tried: past the limit, allocations would fail.
    #[error(
        "memory is not locked: the process lacks CAP_IPC_LOCK and its limit is {limit_bytes} bytes; \
         set LimitMEMLOCK=infinity (systemd) or `ulimit -l unlimited`"
    )]
    Limited {
        /// RLIMIT_MEMLOCK.
        limit_bytes: u64,
    },
    /// The system refused.
    #[error("memory is not locked: {0}")]
    System(#[from] io::Error),
}

/// Keeps all pages, present and future, in memory from the moment they are first touched. Best effort: the
/// caller logs an error as a warning.
///
/// # Errors
///
/// When the process may not.
pub fn lock_all() -> Result<(), MemoryLockError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that lives across the call, which only writes to it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if result != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let status = fs::read_to_string("/proc/self/status")?;
    if limit.rlim_cur != libc::RLIM_INFINITY && !may_lock_all(&status) {
        return Err(MemoryLockError::Limited { limit_bytes: limit.rlim_cur });
    }
    // ONFAULT: a mapping of a whole segment is not read from disk at once, and untouched buffers cost nothing.
    // SAFETY: locking pages changes no byte of them.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// Whether the effective capabilities in `/proc/self/status` hold CAP_IPC_LOCK, see capabilities(7), proc(5).
fn may_lock_all(status: &str) -> bool {
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    capabilities.is_some_and(|bits| bits & (1 << CAP_IPC_LOCK) != 0)
}

const CAP_IPC_LOCK: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_or_says_what_to_change() {
        match lock_all() {
            Ok(()) => {
                let status = fs::read_to_string("/proc/self/status").unwrap();
                let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
                assert_ne!(locked.split_whitespace().nth(1), Some("0"), "{locked}");
                // SAFETY: unlocking pages changes no byte of them.
                assert_eq!(unsafe { libc::munlockall() }, 0);
            }
            Err(error) => assert!(error.to_string().starts_with("memory is not locked: "), "{error}"),
        }
    }

    #[test]
    fn the_capability_is_found_among_the_effective_ones() {
        assert!(may_lock_all("CapPrm:\t0\nCapEff:\t0000000000004000\n"));
        assert!(!may_lock_all("CapPrm:\tffffffff\nCapEff:\t00000000ffffbfff\n"));
        assert!(!may_lock_all("CapEff:\tnonsense\n") && !may_lock_all(""));
    }

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
