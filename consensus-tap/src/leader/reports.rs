//! Words to the operator. What clients do may fill neither memory nor the error log.

use std::collections::VecDeque;

/// Reports that nobody took are counted only.
const WAITING_COUNT_MAX: usize = 64;
/// Of what clients do, so many reports are made in one interval; more would tell nothing new.
const COUNT_PER_INTERVAL: u32 = 16;
const INTERVAL_NS: u64 = 10_000_000_000;
/// Longer texts are cut: they hold what a client sent.
const TEXT_LENGTH_MAX: usize = 400;

/// Reports that wait for the node.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: VecDeque<String>,
    interval_end_ns: u64,
    count: u32,
    dropped_count: u64,
}

impl Reports {
    /// Says something that no client can make us say again and again.
    pub(super) fn push(&mut self, text: String) {
        if self.waiting.len() < WAITING_COUNT_MAX {
            self.waiting.push_back(text);
        } else {
            self.dropped_count += 1;
        }
    }

    /// Says what a client did, unless enough was said of clients lately.
    pub(super) fn push_of_client(&mut self, text: impl FnOnce() -> String, now_ns: u64) {
        if now_ns >= self.interval_end_ns {
            self.interval_end_ns = now_ns.saturating_add(INTERVAL_NS);
            self.count = 0;
        }
        if self.count == COUNT_PER_INTERVAL {
            self.dropped_count += 1;
            return;
        }
        self.count += 1;
        self.push(text().chars().take(TEXT_LENGTH_MAX).collect());
    }

    pub(super) fn pop(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }

    /// How many were not made.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_clients_only_so_much_is_said_at_a_time() {
        let mut reports = Reports::default();
        for _ in 0..100 {
            reports.push_of_client(|| "x".repeat(5_000), 1);
        }
        let said: Vec<String> = std::iter::from_fn(|| reports.pop()).collect();
        assert_eq!((said.len(), said[0].len(), reports.dropped_count()), (16, TEXT_LENGTH_MAX, 84));
        reports.push_of_client(|| "later".to_owned(), 1 + INTERVAL_NS);
        assert_eq!(reports.pop().as_deref(), Some("later"));
        (0..100).for_each(|_| reports.push("ours".to_owned()));
        assert_eq!(reports.dropped_count(), 84 + 36);
    }
}
