//! Percentiles of the last ten seconds: what an operator wants to know is how it is now, not since the start.

use hdrhistogram::Histogram;

/// One window's length. A new one begins when the last is over.
pub const WINDOW_NS: u64 = 10_000_000_000;
/// Longest lag that is told apart from longer ones.
const LAG_NS_MAX: u64 = 60_000_000_000;
/// Significant digits: percentiles are good to a thousandth.
const DIGITS: u8 = 3;

/// Records lags and sums them up window by window. Recording takes no memory and a few nanoseconds; the walk over
/// the histogram is made once a window.
#[derive(Debug)]
pub struct LagWindow {
    current: Histogram<u64>,
    ends_ns: u64,
    last: Option<LagFigures>,
}

/// One window, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LagFigures {
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many there were.
    pub count: u64,
}

impl LagWindow {
    /// A window that begins with the first call of [`figures`](Self::figures).
    pub fn new() -> Self {
        let current = Histogram::new_with_bounds(1, LAG_NS_MAX, DIGITS).expect("the bounds are valid");
        Self { current, ends_ns: 0, last: None }
    }

    /// One lag more.
    pub fn record(&mut self, lag_ns: u64) {
        self.current.saturating_record(lag_ns);
    }

    /// What the histogram of the window under way holds.
    pub fn current(&self) -> &Histogram<u64> {
        &self.current
    }

    /// The last window that is over and held anything, or what there is before the first is over.
    pub fn figures(&mut self, now_ns: u64) -> LagFigures {
        if now_ns >= self.ends_ns {
            let is_first_call = std::mem::replace(&mut self.ends_ns, now_ns + WINDOW_NS) == 0;
            if !is_first_call && !self.current.is_empty() {
                self.last = Some(self.sum_up());
                self.current.reset();
            }
        }
        self.last.unwrap_or_else(|| self.sum_up())
    }

    fn sum_up(&self) -> LagFigures {
        let lag = &self.current;
        LagFigures {
            p50_ns: lag.value_at_quantile(0.5),
            p99_ns: lag.value_at_quantile(0.99),
            p999_ns: lag.value_at_quantile(0.999),
            max_ns: lag.max(),
            count: lag.len(),
        }
    }
}

impl Default for LagWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_old_messages_is_forgotten_after_its_window() {
        let mut lag = LagWindow::new();
        lag.figures(1);
        lag.record(30_000_000_000);
        assert_eq!(lag.figures(2).count, 1, "the first window is shown while it lasts");
        assert_eq!(lag.figures(1 + WINDOW_NS).count, 1);
        (0..100).for_each(|_| lag.record(1_000));
        assert!(lag.figures(2 + WINDOW_NS).max_ns > 1_000_000, "a window is shown when it is over");
        let figures = lag.figures(1 + 2 * WINDOW_NS);
        assert_eq!((figures.p50_ns, figures.max_ns, figures.count), (1_000, 1_000, 100));
    }

    #[test]
    fn a_window_without_any_leaves_the_last_figures() {
        let mut lag = LagWindow::new();
        lag.figures(1);
        lag.record(5_000);
        assert_eq!(lag.figures(1 + WINDOW_NS).count, 1);
        assert_eq!(lag.figures(1 + 3 * WINDOW_NS).count, 1);
    }
}
