//! How far a log is durable, told by the thread that syncs it to those that wait for that.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use crossbeam_utils::CachePadded;

/// How far the log is durable, and the way to have it synced now.
#[derive(Clone, Debug)]
pub struct SyncWatch {
    durable_position: Arc<CachePadded<AtomicI64>>,
    thread: Arc<OnceLock<Thread>>,
}

impl Default for SyncWatch {
    fn default() -> Self {
        Self {
            durable_position: Arc::new(CachePadded::new(AtomicI64::new(i64::MIN))),
            thread: Arc::default(),
        }
    }
}

impl SyncWatch {
    /// Everything below `position` is on the disk.
    pub fn set_durable_position(&self, position: i64) {
        // Pairs with the Acquire in `durable_position`.
        self.durable_position.store(position, Ordering::Release);
    }

    /// The calling thread is the one that syncs, and that [`Self::wake`] wakes. Once.
    pub fn set_syncing_thread(&self) {
        let _ = self.thread.set(thread::current());
    }

    /// Everything below is on the disk; `i64::MIN` before the first sync.
    #[inline]
    pub fn durable_position(&self) -> i64 {
        self.durable_position.load(Ordering::Acquire)
    }

    /// Has what was recorded before synced as soon as the disk is free. A system call if the syncer sleeps, else none.
    #[inline]
    pub fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn whoever_waits_wakes_the_thread_that_syncs() {
        let watch = SyncWatch::default();
        watch.wake();
        assert_eq!(watch.durable_position(), i64::MIN);
        let syncing = watch.clone();
        let thread = thread::spawn(move || {
            syncing.set_syncing_thread();
            let started = Instant::now();
            syncing.set_durable_position(0);
            while syncing.durable_position() == 0 && started.elapsed() < Duration::from_secs(60) {
                thread::park_timeout(Duration::from_secs(60));
                syncing.set_durable_position(64);
            }
            started.elapsed()
        });
        while watch.durable_position() != 64 {
            watch.wake();
            thread::yield_now();
        }
        assert!(thread.join().unwrap() < Duration::from_secs(60));
    }
}
