//! Timers that services have scheduled and the log has not seen fire.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Deadlines by correlation id, which all services share.
///
/// Only a leader fires timers, and its consensus module hears of a schedule or cancel later than the log
/// order says, over IPC from a service that lags behind. So a timer event may stand in the log behind the
/// event whose handler cancelled or moved that timer:
///
/// - Cancelled: the event finds no timer here, and changes nothing. (A Java follower counts such an event
///   and swallows the next schedule of that id, because there the event may overtake the schedule it
///   belongs to. Here it cannot, and to swallow would lose a timer that the leader has.)
/// - Moved to a later time: the event's timestamp lies before our deadline. It is the old schedule that
///   fired, and the leader then took in the new one; so the timer stays.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    deadlines: BTreeMap<i64, i64>,
    /// Deadline and correlation id of every timer, for a leader that asks which are due.
    by_deadline: BTreeSet<(i64, i64)>,
    schedule_count: u64,
    outdated_event_count: u64,
}

impl Timers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.deadlines.len()
    }

    /// Cluster time at which the timer is due, if it is scheduled.
    pub fn deadline(&self, correlation_id: i64) -> Option<i64> {
        self.deadlines.get(&correlation_id).copied()
    }

    /// Correlation id and deadline of every timer, in ascending order of correlation id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.deadlines.iter().map(|(&correlation_id, &deadline)| (correlation_id, deadline))
    }

    /// Deadline and correlation id of every timer that is due at `cluster_time`, the earliest first, behind `after`.
    pub fn due(&self, after: Option<(i64, i64)>, cluster_time: i64) -> impl Iterator<Item = (i64, i64)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_deadline
            .range((start, Bound::Unbounded))
            .copied()
            .take_while(move |(deadline, _)| *deadline <= cluster_time)
    }

    /// How often a timer was scheduled: while it stays the same, no timer becomes due but by time.
    pub fn schedule_count(&self) -> u64 {
        self.schedule_count
    }

    /// How many timer events of the log belonged to a schedule that had been cancelled or moved.
    pub fn outdated_event_count(&self) -> u64 {
        self.outdated_event_count
    }

    pub(super) fn schedule(&mut self, correlation_id: i64, deadline: i64) {
        self.schedule_count += 1;
        if let Some(moved) = self.deadlines.insert(correlation_id, deadline) {
            self.by_deadline.remove(&(moved, correlation_id));
        }
        self.by_deadline.insert((deadline, correlation_id));
    }

    pub(super) fn cancel(&mut self, correlation_id: i64) {
        if let Some(deadline) = self.deadlines.remove(&correlation_id) {
            self.by_deadline.remove(&(deadline, correlation_id));
        }
    }

    pub(super) fn on_timer_event(&mut self, correlation_id: i64, timestamp: i64) {
        match self.deadlines.get(&correlation_id) {
            Some(&deadline) if deadline <= timestamp => self.cancel(correlation_id),
            _ => self.outdated_event_count += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_by_deadline_and_once_behind_a_place() {
        let mut timers = Timers::default();
        for (correlation_id, deadline) in [(1, 30), (2, 10), (3, 20), (4, 10), (5, 40)] {
            timers.schedule(correlation_id, deadline);
        }
        timers.schedule(3, 31);
        timers.cancel(4);
        timers.cancel(99);
        let due = |after, now| timers.due(after, now).collect::<Vec<_>>();
        assert_eq!(due(None, 9), []);
        assert_eq!(due(None, 31), [(10, 2), (30, 1), (31, 3)]);
        assert_eq!(due(Some((10, 2)), 30), [(30, 1)]);
        assert_eq!((timers.schedule_count(), timers.count()), (6, 4));
    }

    #[test]
    fn a_timer_that_fired_is_not_due_again_and_one_that_was_moved_is() {
        let mut timers = Timers::default();
        timers.schedule(1, 10);
        timers.schedule(2, 10);
        timers.schedule(2, 25);
        timers.on_timer_event(1, 12);
        timers.on_timer_event(2, 12);
        assert_eq!(timers.due(None, 30).collect::<Vec<_>>(), [(25, 2)]);
        assert_eq!(timers.outdated_event_count(), 1);
    }
}
