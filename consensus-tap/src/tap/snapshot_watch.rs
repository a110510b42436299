//! While the log is followed: whether the source has snapshots that are newer than ours, and when to fetch them.
//!
//! The source tells its snapshots with every backup response, so nobody else has to be asked. A set is fetched only once
//! our own recording of the log has reached its position: then it is one of the log that we have, and committed.

use super::{Recorder, RecordingKey, SECOND_NS, Tap};

/// A failed fetch is tried again after this long, and after twice as long each time that it fails again.
const PAUSE_MIN_NS: u64 = 10 * SECOND_NS;
const PAUSE_MAX_NS: u64 = 640 * SECOND_NS;

/// What is known of the snapshots here and there.
#[derive(Debug)]
pub(super) struct SnapshotWatch {
    /// Log position of the newest set that is here.
    newest_position: Option<i64>,
    step: Step,
    /// No fetch before this.
    due_ns: u64,
    pause_ns: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Nothing is wanted.
    Content,
    /// Newer snapshots are wanted, and the source is to say which it has.
    Asking,
    /// The source has said so.
    Told,
}

impl SnapshotWatch {
    pub(super) fn new() -> Self {
        Self { newest_position: None, step: Step::Content, due_ns: 0, pause_ns: PAUSE_MIN_NS }
    }

    /// A set is here.
    pub(super) fn on_held(&mut self, log_position: i64) {
        self.newest_position = self.newest_position.max(Some(log_position));
        self.step = Step::Content;
        self.due_ns = 0;
        self.pause_ns = PAUSE_MIN_NS;
    }

    /// The source told which snapshots it has.
    pub(super) fn on_told(&mut self) {
        if self.step == Step::Asking {
            self.step = Step::Told;
        }
    }

    /// What is wanted of a source is wanted of the next one, too.
    pub(super) fn on_source(&mut self, is_wanted_of_each: bool) {
        if is_wanted_of_each || self.step == Step::Asking {
            self.step = Step::Told;
        }
    }

    /// A fetch failed.
    pub(super) fn postpone(&mut self, now_ns: u64) {
        self.step = Step::Told;
        self.due_ns = now_ns + self.pause_ns;
        self.pause_ns = (2 * self.pause_ns).min(PAUSE_MAX_NS);
    }

    fn is_due(&self, now_ns: u64) -> bool {
        self.step == Step::Told && now_ns >= self.due_ns
    }
}

impl Tap {
    /// Newer snapshots are wanted now: the source is asked for them at once, or whichever is followed next.
    /// `newest_position` is that of the newest set that is here, by whatever way it came.
    pub fn query_snapshots(&mut self, newest_position: Option<i64>) {
        self.watch = SnapshotWatch {
            newest_position: self.watch.newest_position.max(newest_position),
            step: Step::Asking,
            ..SnapshotWatch::new()
        };
        self.timers.refresh_ns = 0;
    }

    /// Fetches the source's newest set if it is wanted and newer than ours.
    pub(super) fn watch_snapshots(&mut self, now_ns: u64, recorder: &impl Recorder) {
        self.status.is_fetching_beside = self.fetch.is_some();
        if self.fetch.is_some() || !self.watch.is_due(now_ns) {
            return;
        }
        let Some(source) = self.source.as_ref() else { return };
        let set = match source.snapshot_set(self.config.service_count) {
            Ok(set) => set,
            Err(reason) => return self.fetch_failed(&reason, now_ns),
        };
        let Some(position) = set.first().map(|row| row.log_position) else {
            self.watch.step = Step::Content;
            return;
        };
        if Some(position) <= self.watch.newest_position {
            self.watch.step = Step::Content;
            return;
        }
        let is_ours = self.replay.as_ref().is_some_and(|replay| replay.is_verified())
            && recorder.position(RecordingKey::Log).is_some_and(|end| end >= position);
        if is_ours {
            self.begin_fetch(set, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fetch_waits_twice_as_long_each_time_until_one_succeeds() {
        let mut watch = SnapshotWatch::new();
        watch.on_source(true);
        assert!(watch.is_due(0));
        let mut now_ns = 0;
        for pause_s in [10, 20, 40, 80, 160, 320, 640, 640] {
            watch.postpone(now_ns);
            assert!(!watch.is_due(now_ns + pause_s * SECOND_NS - 1));
            now_ns += pause_s * SECOND_NS;
            assert!(watch.is_due(now_ns), "{pause_s} s");
        }
        watch.on_held(64);
        assert!(!watch.is_due(u64::MAX));
        watch.on_source(true);
        watch.postpone(now_ns);
        assert!(watch.is_due(now_ns + PAUSE_MIN_NS));
    }

    #[test]
    fn a_wish_waits_for_the_sources_word_and_outlives_the_source() {
        let mut watch = SnapshotWatch::new();
        watch.on_told();
        assert!(!watch.is_due(0), "nothing was asked");
        watch.step = Step::Asking;
        assert!(!watch.is_due(0));
        watch.on_source(false);
        assert!(watch.is_due(0));
    }
}
