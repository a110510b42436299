//! How far behind the source the services are, in bytes and in time.

use std::collections::VecDeque;

/// Samples kept: at ten a second, the last minute and a half. Beyond that the oldest stands for all before it.
const SAMPLES_MAX: usize = 1024;

/// Positions that the source was known to have recorded, until the services reach them.
///
/// The source's recorded position is an upper bound of what is committed, so the lag is one too: with a source
/// that records what it cannot commit, it grows.
#[derive(Debug, Default)]
pub struct LagTracker {
    unreached: VecDeque<Sample>,
    newest_position: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    position: i64,
    told_ns: u64,
}

impl LagTracker {
    /// The source said at `now_ns` that it has recorded up to `position`.
    pub fn on_source_position(&mut self, position: i64, now_ns: u64) {
        if position <= self.newest_position && !self.unreached.is_empty() {
            return;
        }
        self.newest_position = position;
        if self.unreached.len() == SAMPLES_MAX {
            // The oldest tells the lag; the newest tells the bytes; one between them tells least.
            self.unreached.remove(1);
        }
        self.unreached.push_back(Sample { position, told_ns: now_ns });
    }

    /// Another source: what the last one said no longer counts.
    pub fn reset(&mut self) {
        self.unreached.clear();
        self.newest_position = 0;
    }

    /// The services stand at `applied_position`: the age of the oldest sample that they have not reached, 0
    /// when there is none.
    pub fn lag_ns(&mut self, applied_position: i64, now_ns: u64) -> u64 {
        while self.unreached.front().is_some_and(|sample| sample.position <= applied_position) {
            self.unreached.pop_front();
        }
        self.unreached.front().map_or(0, |sample| now_ns.saturating_sub(sample.told_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_position_not_reached() {
        let mut lag = LagTracker::default();
        lag.on_source_position(64, 100);
        lag.on_source_position(128, 200);
        assert_eq!(lag.lag_ns(0, 250), 150);
        assert_eq!(lag.lag_ns(64, 250), 50);
        assert_eq!(lag.lag_ns(128, 250), 0);
    }

    #[test]
    fn a_position_told_again_does_not_make_the_lag_younger() {
        let mut lag = LagTracker::default();
        lag.on_source_position(64, 100);
        lag.on_source_position(64, 200);
        assert_eq!(lag.lag_ns(32, 300), 200);
        assert_eq!(lag.lag_ns(64, 300), 0);
        lag.on_source_position(64, 400);
        assert_eq!(lag.lag_ns(64, 500), 0);
    }

    #[test]
    fn a_long_lag_keeps_its_oldest_sample_in_bounded_memory() {
        let mut lag = LagTracker::default();
        for i in 1..=10 * SAMPLES_MAX as u64 {
            lag.on_source_position(i as i64 * 32, i);
        }
        assert_eq!(lag.unreached.len(), SAMPLES_MAX);
        assert_eq!(lag.lag_ns(0, 20_001), 20_000);
    }
}
