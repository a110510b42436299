//! How old messages are, without a clock read for each that is old anyway.

/// A clock that is read again for every message that is fresh, and now and then in a row of old ones: beside a
/// backlog, the time that a few messages take to apply is nothing.
#[derive(Debug)]
pub(super) struct LagClock {
    monotonic_ns: fn() -> u64,
    read_ns: u64,
    /// Old messages for which the last reading still serves.
    uses_left: u32,
}

impl LagClock {
    pub(super) fn new(monotonic_ns: fn() -> u64) -> Self {
        Self { monotonic_ns, read_ns: 0, uses_left: 0 }
    }

    pub(super) fn now_ns(&self) -> u64 {
        (self.monotonic_ns)()
    }

    /// How long ago a message was sent, 0 if that is still to come.
    #[inline]
    pub(super) fn lag_ns(&mut self, send_time_ns: i64) -> u64 {
        let lag_ns = (self.read_ns as i64).wrapping_sub(send_time_ns);
        if self.uses_left > 0 && lag_ns >= OLD_NS {
            self.uses_left -= 1;
            return lag_ns as u64;
        }
        self.read_ns = self.now_ns();
        self.uses_left = USES;
        u64::try_from((self.read_ns as i64).wrapping_sub(send_time_ns)).unwrap_or(0)
    }

    /// The next message may be long after the last: the clock is read for it.
    pub(super) fn forget(&mut self) {
        self.uses_left = 0;
    }
}

/// Older messages are a backlog.
const OLD_NS: i64 = 100_000_000;
/// Applying so many messages takes microseconds, and less than `OLD_NS` even where each has a mebibyte.
const USES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW_NS: Cell<u64> = const { Cell::new(0) };
    }

    /// Every reading is a millisecond after the one before.
    fn tick() -> u64 {
        NOW_NS.with(|now| now.replace(now.get() + 1_000_000))
    }

    #[test]
    fn each_fresh_message_has_a_reading_of_its_own() {
        NOW_NS.set(1_000_000_000);
        let mut clock = LagClock::new(tick);
        let lags: Vec<u64> = (0..100).map(|_| clock.lag_ns(1_000_000_000 - OLD_NS / 2)).collect();
        let expected = (0..50).map(|reading| OLD_NS as u64 / 2 + reading * 1_000_000);
        assert_eq!(lags[..50], expected.collect::<Vec<_>>());
    }

    #[test]
    fn old_messages_share_a_reading_but_never_for_long() {
        NOW_NS.set(10_000_000_000);
        let mut clock = LagClock::new(tick);
        let per_reading = 1 + USES as usize;
        let lags: Vec<u64> = (0..3 * per_reading).map(|_| clock.lag_ns(1)).collect();
        let expected = (0..lags.len()).map(|at| 9_999_999_999 + (at / per_reading) as u64 * 1_000_000);
        assert_eq!(lags, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_comes_after_a_pause_is_read_anew() {
        NOW_NS.set(10_000_000_000);
        let mut clock = LagClock::new(tick);
        assert_eq!(clock.lag_ns(1), 9_999_999_999);
        clock.forget();
        NOW_NS.set(20_000_000_000);
        assert_eq!(clock.lag_ns(1), 19_999_999_999);
    }

    #[test]
    fn a_message_from_the_future_has_no_lag() {
        NOW_NS.set(5);
        assert_eq!(LagClock::new(tick).lag_ns(6), 0);
        assert_eq!(LagClock::new(tick).lag_ns(i64::MIN), 0);
    }
}
