//! What a node shows of its way from standby to leader, and of the members that it looks for.

use std::time::Duration;

use consensus_tap::file::cnc::counters as kind;
use consensus_tap::transition::MemberSign;

use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of the transition: types 224, 226, 229 and 230.
#[derive(Debug)]
pub struct TransitionGauges {
    /// The state, or why the last request was refused.
    pub state: Counter,
    /// Requests that were refused.
    pub refused: Counter,
    cycle_time_max_ns: Counter,
    cycle_time_exceeded: Counter,
    threshold_ns: u64,
    cluster_id: i32,
    members: Vec<(i32, Counter)>,
}

/// Nothing was heard yet.
const NEVER: i64 = -1;

impl TransitionGauges {
    /// Allocates them; cycles that take longer than `threshold` are counted.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        threshold: Duration,
    ) -> Result<Self, CountersFull> {
        let mut cluster = |type_id, name: &str| counters.allocate_for_cluster(type_id, name, cluster_id, 0);
        let exceeded = format!(
            "Cluster Transition work cycle time exceeded count: threshold={}ns",
            threshold.as_nanos()
        );
        Ok(Self {
            state: cluster(kind::TRANSITION_STATE, "Cluster Transition state")?,
            refused: cluster(kind::TRANSITION_ERRORS, "Cluster Transition errors")?,
            cycle_time_max_ns: cluster(
                kind::TRANSITION_CYCLE_TIME_MAX,
                "Cluster Transition max cycle time in ns",
            )?,
            cycle_time_exceeded: cluster(kind::TRANSITION_CYCLE_TIME_EXCEEDED, &exceeded)?,
            threshold_ns: threshold.as_nanos() as u64,
            cluster_id,
            members: Vec::new(),
        })
    }

    /// A duty cycle took so long.
    pub fn on_cycle(&self, cycle_ns: u64) {
        self.cycle_time_max_ns.max_ordered(cycle_ns as i64);
        if cycle_ns > self.threshold_ns {
            self.cycle_time_exceeded.add_ordered(1);
        }
    }

    /// Gives each member that has none a counter. One that finds no room is not shown.
    pub fn know_members(&mut self, members: &[MemberSign], counters: &mut CountersManager) {
        for member in members {
            if self.members.iter().any(|(id, _)| *id == member.member_id) {
                continue;
            }
            let mut key = self.cluster_id.to_le_bytes().to_vec();
            key.extend_from_slice(&member.member_id.to_le_bytes());
            let label = format!(
                "Standby member last sign age in ns - clusterId={} memberId={} {}",
                self.cluster_id, member.member_id, member.endpoint
            );
            match counters.allocate(kind::MEMBER_SIGN_AGE, &key, &label, NEVER) {
                Ok(counter) => self.members.push((member.member_id, counter)),
                Err(error) => tracing::warn!(member.member_id, %error, "a member's signs are not shown"),
            }
        }
    }

    /// Shows for how long nothing was heard of each.
    pub fn show_members(&self, members: &[MemberSign], now_ns: u64) {
        for (member_id, counter) in &self.members {
            let sign = members.iter().find(|member| member.member_id == *member_id);
            let heard_ns = sign.and_then(|member| member.last_sign_ns);
            counter.set_ordered(heard_ns.map_or(NEVER, |heard_ns| now_ns.saturating_sub(heard_ns) as i64));
        }
    }
}

/// What the receiver shows of its source, for the conductor to read.
#[derive(Debug)]
pub struct SourceGauges {
    pub(super) state: Counter,
    pub(super) source_member_id: Counter,
    pub(super) leadership_term_id: Counter,
    pub(super) received_position: Counter,
    pub(super) source_position: Counter,
    pub(super) source_position_age_ns: Counter,
}

/// One look at [`SourceGauges`].
#[derive(Clone, Copy, Debug)]
pub struct SourceFigures {
    /// The tap's state, by value.
    pub state: i64,
    /// Who is followed, -1 for nobody.
    pub source_member_id: i64,
    /// The newest term that was heard of, -1 for none.
    pub leadership_term_id: i64,
    /// The highest position that arrived, -1 before the first.
    pub received_position: i64,
    /// How far the source's log was recorded, -1 if it never told.
    pub source_position: i64,
    /// How old that figure is.
    pub source_position_age_ns: i64,
}

impl SourceGauges {
    /// What is shown now.
    pub fn read(&self) -> SourceFigures {
        SourceFigures {
            state: self.state.get(),
            source_member_id: self.source_member_id.get(),
            leadership_term_id: self.leadership_term_id.get(),
            received_position: self.received_position.get(),
            source_position: self.source_position.get(),
            source_position_age_ns: self.source_position_age_ns.get(),
        }
    }
}
