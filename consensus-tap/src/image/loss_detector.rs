//! When to ask again for what is missing.
//!
//! A 1.51 receiver asks at once and then every 100 us until the gap is filled, 10,000 NAKs a second; its
//! sender answers the first and ignores, for 10 ms, every NAK that begins in a range it just sent again.
//! So asking more often than that helps only when the NAK itself was lost. The retry starts at 1 ms, which
//! is soon enough for a lost NAK, and doubles to 10 ms: the fifth NAK leaves 15 ms after the first, when
//! the sender listens again in case its answer was lost.

/// When a gap is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NakSettings {
    /// From finding a gap to the first NAK, in nanoseconds. With 0 the gap is asked for when timeouts are
    /// next handled, so datagrams that were swapped within one batch cause no NAK.
    pub delay_ns: u64,
    /// From the first NAK to the second, in nanoseconds; it doubles from there.
    pub retry_ns: u64,
    /// The longest time between two NAKs, in nanoseconds.
    pub retry_ns_max: u64,
}

impl Default for NakSettings {
    fn default() -> Self {
        Self { delay_ns: 0, retry_ns: 1_000_000, retry_ns_max: 10_000_000 }
    }
}

/// A range that is missing, within one term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gap {
    pub(super) position: i64,
    pub(super) end_position: i64,
}

/// Watches the first gap of an image.
#[derive(Debug)]
pub(super) struct LossDetector {
    settings: NakSettings,
    watched: Option<Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    gap: Gap,
    /// Up to where it was asked for.
    asked_end_position: i64,
    due_ns: u64,
    retry_ns: u64,
}

impl LossDetector {
    pub(super) fn new(settings: NakSettings) -> Self {
        Self { settings, watched: None }
    }

    /// Takes the first gap as it is now. Returns whether it is a new one.
    pub(super) fn observe(&mut self, gap: Option<Gap>, now_ns: u64) -> bool {
        let Some(gap) = gap else {
            self.watched = None;
            return false;
        };
        match &mut self.watched {
            Some(watched) if watched.gap.position == gap.position => {
                watched.gap = gap;
                false
            }
            // What was asked for is arriving: leave it the time of a retry before asking for the rest.
            Some(watched) if gap.position < watched.asked_end_position => {
                watched.gap = gap;
                watched.retry_ns = self.settings.retry_ns;
                watched.due_ns = now_ns.saturating_add(self.settings.retry_ns);
                false
            }
            _ => {
                self.watched = Some(Watched {
                    gap,
                    asked_end_position: gap.position,
                    due_ns: now_ns.saturating_add(self.settings.delay_ns),
                    retry_ns: self.settings.retry_ns,
                });
                true
            }
        }
    }

    /// The gap to ask for now, if it is time.
    pub(super) fn on_timeout(&mut self, now_ns: u64) -> Option<Gap> {
        let watched = self.watched.as_mut().filter(|watched| now_ns >= watched.due_ns)?;
        watched.asked_end_position = watched.gap.end_position;
        watched.due_ns = now_ns.saturating_add(watched.retry_ns);
        watched.retry_ns = watched.retry_ns.saturating_mul(2).min(self.settings.retry_ns_max);
        Some(watched.gap)
    }

    /// When [`Self::on_timeout`] next has something to say.
    pub(super) fn due_ns(&self) -> u64 {
        self.watched.map_or(u64::MAX, |watched| watched.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn gap(position: i64, end_position: i64) -> Option<Gap> {
        Some(Gap { position, end_position })
    }

    #[test]
    fn naks_a_gap_at_once_and_again_only_after_the_retry_delay() {
        let mut detector = LossDetector::new(NakSettings::default());
        assert!(detector.observe(gap(64, 128), 0));
        assert_eq!(detector.on_timeout(0), gap(64, 128));
        let mut asked_at = Vec::new();
        for now_ns in (0..40 * MS).step_by(100_000) {
            assert!(!detector.observe(gap(64, 128), now_ns));
            asked_at.extend(detector.on_timeout(now_ns).map(|_| now_ns / MS));
        }
        assert_eq!(asked_at, [1, 3, 7, 15, 25, 35]);
    }

    #[test]
    fn the_delay_lets_a_reordered_datagram_arrive() {
        let mut detector = LossDetector::new(NakSettings { delay_ns: MS, ..NakSettings::default() });
        detector.observe(gap(64, 128), 0);
        assert_eq!(detector.on_timeout(MS - 1), None);
        detector.observe(None, MS);
        assert_eq!((detector.on_timeout(MS), detector.due_ns()), (None, u64::MAX));
    }

    #[test]
    fn an_answer_that_is_arriving_is_not_asked_for_again() {
        let mut detector = LossDetector::new(NakSettings::default());
        detector.observe(gap(0, 4096), 0);
        assert!(detector.on_timeout(0).is_some());
        assert!(!detector.observe(gap(1024, 4096), MS / 2), "the rest of the same gap");
        assert_eq!(detector.on_timeout(MS), None);
        assert_eq!(detector.on_timeout(MS + MS / 2), gap(1024, 4096));
        assert!(detector.observe(gap(8192, 8224), 2 * MS), "a gap that was never asked for");
        assert_eq!(detector.on_timeout(2 * MS), gap(8192, 8224));
    }

    #[test]
    fn a_gap_that_grows_at_its_end_keeps_its_time() {
        let mut detector = LossDetector::new(NakSettings { delay_ns: MS, ..NakSettings::default() });
        assert!(detector.observe(gap(0, 32), 0));
        assert!(!detector.observe(gap(0, 64), MS / 2));
        assert_eq!(detector.on_timeout(MS), gap(0, 64));
    }
}
