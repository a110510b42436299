//! How far a recording is final: the one word by which its writer lets readers borrow bytes.

use crossbeam_utils::CachePadded;

use crate::sync::Arc;
use crate::sync::atomic::{AtomicI64, Ordering};

/// How far the bytes of a recording are final. Cloned into the writer and every reader of the recording.
#[derive(Clone, Debug)]
pub struct Published {
    position: Arc<CachePadded<AtomicI64>>,
}

impl Published {
    /// Starts at `position`: everything below it is final.
    ///
    /// While readers with an earlier `Published` of the same recording live, no writer may be opened with a new
    /// one: it could truncate what they have borrowed. And no other process may write or shorten the
    /// recording's segment files, which the archive's mark file is there to prevent.
    ///
    /// So this crate alone makes them: `RecordingWriter` for the one recording that it writes, and what is
    /// complete gets one at its end (`History::place`, the snapshot check, the last sync of a log), which no
    /// writer moves.
    pub(crate) fn new(position: i64) -> Self {
        Self { position: Arc::new(CachePadded::new(AtomicI64::new(position))) }
    }

    /// Bytes below this position of the recording are in their segment files, for good.
    pub fn position(&self) -> i64 {
        // Pairs with the Release in `publish`: the bytes below are visible too.
        self.position.load(Ordering::Acquire)
    }

    /// The position, for the thread that publishes.
    pub(super) fn own_position(&self) -> i64 {
        // Only that thread stores it, so a relaxed load reads its own last store.
        self.position.load(Ordering::Relaxed)
    }

    /// Makes everything below `position` final. Called by one thread only.
    ///
    /// # Panics
    /// When `position` is lower than what was published before.
    pub(super) fn publish(&self, position: i64) {
        let before = self.own_position();
        assert!(position >= before, "the published position only grows: {position} < {before}");
        // Pairs with the Acquire in `position`.
        self.position.store(position, Ordering::Release);
    }
}
