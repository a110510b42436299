//! What of a node's history may be purged: one decision, for the operator's verb and for a running node.
//!
//! ```text
//!  log     |  segment  |  segment  |  segment  |  segment …
//!  sets        S1             S2          S3                      S3 is the newest
//!  purge   |<--------->|                                          keep 2: S1 goes, the log from S2's segment on stays
//! ```
//! Whatever the policy says, this stays: the newest set (without one, everything), every set at or behind a position
//! that pins sets, and the log from the oldest set that stays, from every pin, and from the recording's end on. The
//! log is cut between segments, as an archive purges it.

use super::recording_log::SnapshotSet;
use super::segment::RecordingGeometry;

/// What an operator wants to be rid of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetentionPolicy {
    /// Snapshot sets beyond the newest this many, and the log before the oldest that stays. 0 counts as 1.
    KeepSnapshots(usize),
    /// Snapshot sets and log before this position.
    BeforePosition(i64),
}

/// What must stay for the sake of somebody else.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    /// Positions from which on the log is being read: live replays, the slowest service.
    pub log_positions: Vec<i64>,
    /// Positions of the newest set that was taken as stored at each member: that set and every later one may be
    /// referred to.
    pub set_positions: Vec<i64>,
}

/// What goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Purge {
    /// Sets to be invalidated and deleted, oldest first.
    pub sets: Vec<SnapshotSet>,
    /// First position of the log that stays: its start as it is, or the base of a segment above it.
    pub log_start_position: i64,
}

impl Purge {
    /// Whether nothing goes from a log with this geometry.
    pub fn is_empty(&self, log: &RecordingGeometry) -> bool {
        self.sets.is_empty() && self.log_start_position == log.start_position()
    }
}

/// Decides what may go. `sets` are all that are valid, in any order; `log_end_position` is where the recording of the
/// log ends.
pub fn plan_purge(
    policy: RetentionPolicy,
    pins: &Pins,
    sets: &[SnapshotSet],
    log: &RecordingGeometry,
    log_end_position: i64,
) -> Purge {
    let mut newest_first: Vec<&SnapshotSet> = sets.iter().collect();
    // The term decides first, as in the order of a recording log: a later term may begin at a lower position only
    // where the log was truncated, and then the later one is what a node starts from.
    newest_first.sort_by_key(|set| std::cmp::Reverse((set.leadership_term_id, set.log_position)));
    let pinned_from = pins.set_positions.iter().copied().min().unwrap_or(i64::MAX);
    let goes = |(newer_count, set): (usize, &SnapshotSet)| {
        let unwanted = match policy {
            RetentionPolicy::KeepSnapshots(count) => newer_count >= count,
            RetentionPolicy::BeforePosition(position) => set.log_position < position,
        };
        newer_count > 0 && unwanted && set.log_position < pinned_from
    };
    let (purged, kept): (Vec<_>, Vec<_>) =
        newest_first.into_iter().enumerate().partition(|&(newer_count, set)| goes((newer_count, set)));

    let oldest_kept = kept.iter().map(|(_, set)| set.log_position).min();
    let limit = match policy {
        RetentionPolicy::KeepSnapshots(_) => i64::MAX,
        RetentionPolicy::BeforePosition(position) => position,
    };
    // Without a snapshot the log is the only way back to the state: all of it stays.
    let needed_from = oldest_kept.map_or(log.start_position(), |oldest| {
        let pinned = pins.log_positions.iter().copied().fold(log_end_position, i64::min);
        oldest.min(pinned).min(limit)
    });
    let log_start_position = if needed_from > log.start_position() {
        log.segment_base(needed_from).max(log.start_position())
    } else {
        log.start_position()
    };
    let sets = purged.into_iter().rev().map(|(_, set)| set.clone()).collect();
    Purge { sets, log_start_position }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: i64 = 65_536;

    fn log(start_position: i64) -> RecordingGeometry {
        RecordingGeometry::new(0, start_position, 65_536, 65_536, 0, 100).unwrap()
    }

    fn set(log_position: i64) -> SnapshotSet {
        SnapshotSet {
            leadership_term_id: 1,
            term_base_log_position: 0,
            log_position,
            timestamp: 0,
            consensus_module: log_position + 1,
            services: vec![log_position + 2],
        }
    }

    fn positions(purge: &Purge) -> Vec<i64> {
        purge.sets.iter().map(|set| set.log_position).collect()
    }

    #[test]
    fn the_newest_sets_stay_with_the_log_from_the_segment_of_the_oldest_of_them_on() {
        let sets = [set(SEGMENT * 5 + 64), set(64), set(SEGMENT * 3 + 96)];
        let plan = |count| {
            plan_purge(RetentionPolicy::KeepSnapshots(count), &Pins::default(), &sets, &log(0), SEGMENT * 6)
        };
        assert_eq!((positions(&plan(2)), plan(2).log_start_position), (vec![64], SEGMENT * 3));
        assert_eq!(positions(&plan(1)), [64, SEGMENT * 3 + 96]);
        assert_eq!(plan(1).log_start_position, SEGMENT * 5);
        assert_eq!(plan(0), plan(1), "the newest always stays");
        assert!(plan(3).is_empty(&log(0)), "the oldest lies in the first segment");
    }

    #[test]
    fn without_a_snapshot_nothing_goes() {
        for policy in [RetentionPolicy::KeepSnapshots(1), RetentionPolicy::BeforePosition(SEGMENT * 4)] {
            let purge = plan_purge(policy, &Pins::default(), &[], &log(96), SEGMENT * 5);
            assert!(purge.is_empty(&log(96)), "{purge:?}");
        }
    }

    #[test]
    fn a_position_bounds_what_goes_before_it() {
        let sets = [set(SEGMENT + 64), set(SEGMENT * 5)];
        let before = |position| {
            plan_purge(
                RetentionPolicy::BeforePosition(position),
                &Pins::default(),
                &sets,
                &log(0),
                SEGMENT * 9,
            )
        };
        assert_eq!(
            before(SEGMENT * 2 + 32),
            Purge { sets: vec![set(SEGMENT + 64)], log_start_position: SEGMENT * 2 }
        );
        assert_eq!(before(i64::MAX).log_start_position, SEGMENT * 5, "the newest set and its log stay");
        assert_eq!(before(SEGMENT + 64).log_start_position, SEGMENT, "the set at that very position stays");
    }

    #[test]
    fn what_others_read_or_may_refer_to_stays() {
        let sets = [set(64), set(SEGMENT * 3), set(SEGMENT * 5)];
        let reading = Pins { log_positions: vec![SEGMENT * 4, SEGMENT + 32], ..Pins::default() };
        let purge = plan_purge(RetentionPolicy::KeepSnapshots(1), &reading, &sets, &log(0), SEGMENT * 6);
        assert_eq!((purge.sets.len(), purge.log_start_position), (2, SEGMENT));

        let taken = Pins { set_positions: vec![SEGMENT * 5, SEGMENT * 3], ..Pins::default() };
        let purge = plan_purge(RetentionPolicy::KeepSnapshots(1), &taken, &sets, &log(0), SEGMENT * 6);
        assert_eq!((positions(&purge), purge.log_start_position), (vec![64], SEGMENT * 3));
    }

    fn policies() -> impl Strategy<Value = RetentionPolicy> {
        prop_oneof![
            (0_usize..6).prop_map(RetentionPolicy::KeepSnapshots),
            (-100..SEGMENT * 12).prop_map(RetentionPolicy::BeforePosition),
        ]
    }

    proptest! {
        #[test]
        fn a_node_can_start_and_everybody_read_on_after_any_purge(
            policy in policies(),
            at in prop::collection::btree_set(0_i64..2048 * 10, 0..6),
            start in 0_i64..2048 * 3,
            pins in prop::collection::vec(0_i64..2048 * 10, 0..3),
            taken in prop::collection::vec(0_i64..2048 * 10, 0..3),
        ) {
            let log = log(start * 32);
            let end = SEGMENT * 10;
            let sets: Vec<_> = at.iter().map(|at| set(at * 32)).collect();
            let pins = Pins {
                log_positions: pins.iter().map(|at| at * 32).collect(),
                set_positions: taken.iter().map(|at| at * 32).collect(),
            };
            let purge = plan_purge(policy, &pins, &sets, &log, end);

            let first = purge.log_start_position;
            prop_assert!(first >= log.start_position() && first <= end);
            prop_assert!(first == log.start_position() || first == log.segment_base(first), "cut within a segment");
            prop_assert!(pins.log_positions.iter().all(|pin| first <= (*pin).max(log.start_position())));

            let kept: Vec<_> = sets.iter().filter(|set| !purge.sets.contains(set)).collect();
            // The newest set is there, and the log from it on as far as it was there before.
            prop_assert_eq!(kept.last().copied(), sets.last());
            for set in &kept {
                prop_assert!(first <= set.log_position.max(log.start_position()));
            }
            if let Some(referred) = pins.set_positions.iter().min() {
                prop_assert!(purge.sets.iter().all(|set| set.log_position < *referred));
            }
            match policy {
                _ if sets.is_empty() => prop_assert!(purge.is_empty(&log)),
                RetentionPolicy::KeepSnapshots(count) => prop_assert!(kept.len() >= count.min(sets.len())),
                RetentionPolicy::BeforePosition(position) => {
                    prop_assert!(purge.sets.iter().all(|set| set.log_position < position));
                    prop_assert!(first <= position.max(log.start_position()));
                }
            }
            // A second purge by the same policy finds nothing more.
            let rest: Vec<_> = kept.into_iter().cloned().collect();
            let again = plan_purge(policy, &pins, &rest, &log, end);
            prop_assert!(again.sets.is_empty());
            prop_assert_eq!(again.log_start_position, first);
        }
    }
}
