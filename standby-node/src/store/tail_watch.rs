//! How far the files of a log hold more than was recorded, left from before a power cut: what the writer, which
//! confirms or discards it, tells those who say what the next start may trust.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The tail of one recording, shared by its writer and its syncer.
#[derive(Clone, Debug)]
pub struct TailWatch {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    end: AtomicI64,
    is_settled: AtomicBool,
}

impl TailWatch {
    /// The tail of a recording that is recorded up to `position`, and whose files end at `end`.
    pub(super) fn new(position: i64, end: i64) -> Self {
        let state = State { end: AtomicI64::new(end), is_settled: AtomicBool::new(position >= end) };
        Self { state: Arc::new(state) }
    }

    /// Where it ends: there is none for who has recorded that far.
    pub fn end(&self) -> i64 {
        // Pairs with the Release in `discard`: what lay behind is zero already.
        self.state.end.load(Ordering::Acquire)
    }

    /// Nothing is left of it behind `position`.
    pub(super) fn discard(&self, position: i64) {
        self.state.end.store(position, Ordering::Release);
    }

    /// The durability file says that there is none.
    pub(crate) fn settle(&self) {
        self.state.is_settled.store(true, Ordering::Release);
    }

    /// Whether the durability file says that there is none: from here on a crash of the process loses nothing of what is
    /// recorded.
    pub fn is_settled(&self) -> bool {
        self.state.is_settled.load(Ordering::Acquire)
    }
}
