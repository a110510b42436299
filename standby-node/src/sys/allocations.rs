//! Counts allocations, thread by thread.
//!
//! For programs that measure: made the global allocator, it is the system's, plus one relaxed increment in a slot of
//! the calling thread. A node does not use it, so it is there with the feature `allocation-counts` only. Only allocating
//! and growing count: what a thread frees was allocated before it, or by another thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// How many allocations the calling thread has made so far.
pub fn of_this_thread() -> u64 {
    COUNTS[this_slot()].load(Ordering::Relaxed)
}

/// How many allocations the running threads of this process with one of these names have made so far. `None` when
/// there is none of some name, or one of them came too late for a slot of its own.
pub fn of_threads_named(names: &[&str]) -> Option<u64> {
    let mut found = vec![false; names.len()];
    let mut count = 0;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread may end while we look.
        let Ok(name) = fs::read_to_string(thread.path().join("comm")) else { continue };
        let Some(index) = names.iter().position(|&wanted| wanted == name.trim_end()) else { continue };
        let thread_id: i32 = thread.file_name().to_str()?.parse().ok()?;
        found[index] = true;
        count += match THREAD_IDS.iter().position(|id| id.load(Ordering::Relaxed) == thread_id) {
            Some(slot) => COUNTS[slot].load(Ordering::Relaxed),
            // A thread that never allocated has no slot, unless there are none left.
            None if NEXT_SLOT.load(Ordering::Relaxed) < SLOT_COUNT => 0,
            None => return None,
        };
    }
    found.into_iter().all(|found| found).then_some(count)
}

/// The system's allocator, counted. Nothing is counted before it is made the global one.
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: every method passes its arguments to the system's allocator and returns its answer, so it holds to the
// contract as that does. Counting touches only statics and a thread-local without a destructor: it neither
// allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is the one that is needed here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from this allocator, so from the system's; the rest is the caller's promise.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count() {
    COUNTS[this_slot()].fetch_add(1, Ordering::Relaxed);
}

/// The last slot is shared by all threads that came too late for one of their own.
fn this_slot() -> usize {
    SLOT.try_with(|slot| {
        if slot.get() == NO_SLOT {
            let own = NEXT_SLOT.fetch_add(1, Ordering::Relaxed).min(SLOT_COUNT - 1);
            // SAFETY: gettid has no preconditions.
            THREAD_IDS[own].store(unsafe { libc::gettid() }, Ordering::Relaxed);
            slot.set(own);
        }
        slot.get()
    })
    .unwrap_or(SLOT_COUNT - 1)
}

thread_local! {
    static SLOT: Cell<usize> = const { Cell::new(NO_SLOT) };
}

static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);
/// Whose slot it is; 0 for nobody's.
static THREAD_IDS: [AtomicI32; SLOT_COUNT] = [const { AtomicI32::new(0) }; SLOT_COUNT];
static COUNTS: [AtomicU64; SLOT_COUNT] = [const { AtomicU64::new(0) }; SLOT_COUNT];
const SLOT_COUNT: usize = 1024;
const NO_SLOT: usize = usize::MAX;
