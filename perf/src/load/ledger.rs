//! What was sent and what came of it.

use std::collections::{HashSet, VecDeque};

use hdrhistogram::Histogram;
use standby_node::cluster_client::{EgressListener, OfferError};

use super::message::{REPLY_LENGTH, Reply};

/// Messages by their stamps, which rise from one to the next, and the replies to them.
///
/// Replies must come in the order of sending, and each message's count must be higher than the last. A
/// leader's death may swallow replies: [`Self::on_leader_lost`] then takes what is open out of the order, so
/// that a late reply still counts but nothing waits for it.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: VecDeque<u64>,
    orphans: HashSet<u64>,
    pub(crate) sent: u64,
    pub(crate) replied: u64,
    pub(crate) faults: Faults,
    pub(crate) gap: Gap,
    pub(crate) round_trips: RoundTrips,
    last_stamp: u64,
    last_count: i64,
    new_leader: Option<NewLeader>,
    pub(crate) new_leader_count: u32,
    /// How many messages that had been replied to are not in the log any more.
    pub(crate) lost_count: i64,
    is_count_due: bool,
    now_ns: u64,
}

/// Another member leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLeader {
    pub(crate) member_id: i32,
    pub(crate) leadership_term_id: i64,
}

/// Replies that should not have come as they did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Faults {
    /// To a message that was not the oldest without one.
    pub(crate) out_of_order: u64,
    /// To a message that had one, or that nobody sent.
    pub(crate) extra: u64,
    /// With a count that did not rise.
    pub(crate) count_errors: u64,
    /// Shorter or longer than replies are.
    pub(crate) malformed: u64,
}

/// The longest time in which a reply was due and none came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gap {
    pub(crate) longest_ns: u64,
    last_progress_ns: u64,
}

/// Times from when a message should have left to its reply, in nanoseconds.
#[derive(Debug)]
pub(crate) struct RoundTrips {
    /// Before the first change of the leader.
    pub(crate) before: Histogram<u64>,
    /// Of what was due when the last change of the leader was over.
    pub(crate) after: Histogram<u64>,
    /// Messages due from here on count for `after`.
    after_from_ns: Option<u64>,
}

impl Faults {
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, ROUND_TRIP_NS_MAX, 3).expect("the bounds are in order");
        Self {
            open: VecDeque::with_capacity(OPEN_CAPACITY),
            orphans: HashSet::new(),
            sent: 0,
            replied: 0,
            faults: Faults::default(),
            gap: Gap::default(),
            round_trips: RoundTrips { before: histogram(), after: histogram(), after_from_ns: None },
            last_stamp: 0,
            last_count: 0,
            new_leader: None,
            new_leader_count: 0,
            lost_count: 0,
            is_count_due: false,
            now_ns: 0,
        }
    }

    /// The time of what comes next.
    pub(crate) fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// A message was offered. `is_new` is false for one that is sent again.
    pub(crate) fn on_sent(&mut self, stamp: u64, is_new: bool) {
        if self.open.is_empty() {
            self.gap.last_progress_ns = self.now_ns.min(stamp);
        }
        self.open.push_back(stamp);
        if is_new {
            self.sent += 1;
        } else {
            self.orphans.remove(&stamp);
        }
    }

    /// How many messages wait for their replies.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Messages that a leader took along.
    pub(crate) fn unreplied_count(&self) -> usize {
        self.orphans.len()
    }

    /// The news of a new leader, once.
    pub(crate) fn take_new_leader(&mut self) -> Option<NewLeader> {
        self.new_leader.take()
    }

    /// Nothing that is open may be replied to any more; returns it in the order of sending.
    pub(crate) fn on_leader_lost(&mut self) -> VecDeque<u64> {
        self.orphans.extend(&self.open);
        std::mem::take(&mut self.open)
    }

    /// The service answers again, behind a backlog: round trips of what is due later count as ordinary ones.
    pub(crate) fn calm_from(&mut self, time_ns: u64) {
        self.round_trips.after_from_ns = Some(time_ns);
    }

    fn on_reply(&mut self, reply: Reply) {
        if self.open.front() == Some(&reply.stamp) {
            self.open.pop_front();
        } else if self.orphans.remove(&reply.stamp) {
            // Late, but the one reply to that message.
        } else if let Some(index) = self.open.iter().position(|&stamp| stamp == reply.stamp) {
            self.open.remove(index);
            self.faults.out_of_order += 1;
        } else {
            self.faults.extra += 1;
            return;
        }
        self.check_count(reply.count);
        self.replied += 1;
        self.last_stamp = self.last_stamp.max(reply.stamp);
        self.gap.longest_ns = self.gap.longest_ns.max(self.now_ns - self.gap.last_progress_ns);
        self.gap.last_progress_ns = self.now_ns;
        self.record(reply.stamp);
    }

    fn check_count(&mut self, count: i64) {
        if std::mem::take(&mut self.is_count_due) && count <= self.last_count {
            // The state that the new leader went on with lacks messages that were applied, and this one is
            // new in it.
            self.lost_count += self.last_count - (count - 1);
        } else if count <= self.last_count {
            self.faults.count_errors += 1;
        }
        self.last_count = count;
    }

    fn record(&mut self, stamp: u64) {
        let round_trip_ns = self.now_ns.saturating_sub(stamp);
        let round_trips = &mut self.round_trips;
        if self.new_leader_count == 0 {
            round_trips.before.saturating_record(round_trip_ns);
        } else if round_trips.after_from_ns.is_some_and(|from_ns| stamp >= from_ns) {
            round_trips.after.saturating_record(round_trip_ns);
        }
    }
}

impl EgressListener for Ledger {
    fn on_message(&mut self, _timestamp: i64, payload: &[u8]) {
        match Reply::parse(payload) {
            Some(reply) => self.on_reply(reply),
            None => self.faults.malformed += 1,
        }
    }

    fn on_new_leader(&mut self, leadership_term_id: i64, member_id: i32, _ingress_endpoints: &str) {
        self.new_leader_count += 1;
        self.new_leader = Some(NewLeader { member_id, leadership_term_id });
        self.round_trips.after_from_ns = None;
        self.is_count_due = true;
    }
}

/// Why an offer is worth repeating, or not at all.
pub(crate) fn is_transient(error: OfferError) -> bool {
    matches!(error, OfferError::BackPressured | OfferError::NotConnected)
}

const _: () = assert!(REPLY_LENGTH == 32);
const OPEN_CAPACITY: usize = 64 * 1024;
const ROUND_TRIP_NS_MAX: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(stamp: u64, count: i64) -> Vec<u8> {
        let mut bytes = vec![0; REPLY_LENGTH];
        bytes[8..16].copy_from_slice(&stamp.to_le_bytes());
        bytes[24..32].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    fn sent(stamps: &[u64]) -> Ledger {
        let mut ledger = Ledger::new();
        ledger.set_now(1);
        stamps.iter().for_each(|&stamp| ledger.on_sent(stamp, true));
        ledger
    }

    #[test]
    fn replies_in_order_leave_nothing_open_and_nothing_to_blame() {
        let mut ledger = sent(&[10, 20, 30]);
        for (stamp, count) in [(10, 1), (20, 2), (30, 4)] {
            ledger.set_now(stamp + 5);
            ledger.on_message(0, &reply(stamp, count));
        }
        assert_eq!((ledger.replied, ledger.open_count(), ledger.faults), (3, 0, Faults::default()));
        assert_eq!((ledger.round_trips.before.len(), ledger.gap.longest_ns), (3, 14));
    }

    #[test]
    fn each_kind_of_fault_is_counted() {
        let mut ledger = sent(&[10, 20, 30]);
        ledger.set_now(100);
        ledger.on_message(0, &reply(20, 5));
        ledger.on_message(0, &reply(20, 6));
        ledger.on_message(0, &reply(10, 5));
        ledger.on_message(0, b"short");
        let expected = Faults { out_of_order: 1, extra: 1, count_errors: 1, malformed: 1 };
        assert_eq!((ledger.faults, ledger.open_count()), (expected, 1));
    }

    #[test]
    fn what_a_leader_took_along_may_still_be_replied_to_once() {
        let mut ledger = sent(&[10, 20]);
        ledger.set_now(100);
        assert_eq!(ledger.on_leader_lost(), [10, 20]);
        ledger.on_message(0, &reply(20, 1));
        ledger.on_message(0, &reply(20, 2));
        assert_eq!((ledger.replied, ledger.unreplied_count(), ledger.faults.extra), (1, 1, 1));
        ledger.on_sent(10, false);
        ledger.on_message(0, &reply(10, 2));
        assert_eq!((ledger.sent, ledger.replied, ledger.unreplied_count()), (2, 2, 0));
    }

    #[test]
    fn a_count_that_goes_back_with_a_new_leader_is_what_was_lost() {
        let mut ledger = sent(&[10, 20, 30, 40]);
        ledger.set_now(100);
        ledger.on_message(0, &reply(10, 7));
        ledger.on_message(0, &reply(20, 8));
        ledger.on_new_leader(2, 1, "");
        ledger.on_leader_lost();
        // The new leader's state had 5 messages: those of counts 6, 7 and 8 are gone.
        ledger.on_message(0, &reply(30, 6));
        ledger.on_message(0, &reply(40, 7));
        assert_eq!((ledger.lost_count, ledger.faults), (3, Faults::default()));
        assert_eq!(ledger.take_new_leader().map(|leader| leader.member_id), Some(1));
        assert!(ledger.take_new_leader().is_none());
    }

    #[test]
    fn round_trips_of_the_backlog_count_for_neither_side() {
        let mut ledger = sent(&[10]);
        ledger.set_now(20);
        ledger.on_message(0, &reply(10, 1));
        ledger.on_new_leader(2, 1, "");
        for stamp in [30, 40, 50] {
            ledger.on_sent(stamp, true);
        }
        ledger.on_message(0, &reply(30, 2));
        ledger.calm_from(50);
        ledger.on_message(0, &reply(40, 3));
        ledger.on_message(0, &reply(50, 4));
        assert_eq!((ledger.round_trips.before.len(), ledger.round_trips.after.len()), (1, 1));
    }
}
