//! Timers that services have scheduled and the log has not seen fire.

use std::collections::BTreeMap;

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

    /// How many timer events of the log belonged to a schedule that had been cancelled or moved.
    pub fn outdated_event_count(&self) -> u64 {
        self.outdated_event_count
    }

    pub(super) fn schedule(&mut self, correlation_id: i64, deadline: i64) {
        self.deadlines.insert(correlation_id, deadline);
    }

    pub(super) fn cancel(&mut self, correlation_id: i64) {
        self.deadlines.remove(&correlation_id);
    }

    pub(super) fn on_timer_event(&mut self, correlation_id: i64, timestamp: i64) {
        match self.deadlines.get(&correlation_id) {
            Some(&deadline) if deadline <= timestamp => {
                self.deadlines.remove(&correlation_id);
            }
            _ => self.outdated_event_count += 1,
        }
    }
}
