//! What was known of the source when it was last heard of.

use consensus_tap::tap::{LagTracker, TapState};
use consensus_tap::transition::{Facts, SourcePosition};

use crate::status::SourceGauges;

/// What the receiver's counters say of its source, over time.
#[derive(Debug)]
pub(super) struct SourceWatch {
    gauges: SourceGauges,
    lag: LagTracker,
    source_member_id: i64,
    source_position: i64,
    received_position: i64,
    end_position: i64,
}

impl SourceWatch {
    pub(super) fn new(gauges: SourceGauges) -> Self {
        Self {
            gauges,
            lag: LagTracker::default(),
            source_member_id: -1,
            source_position: -1,
            received_position: -1,
            end_position: -1,
        }
    }

    /// Brings what is known of the source up to date.
    pub(super) fn look(&mut self, facts: &mut Facts, end_position: Option<i64>, now_ns: u64) {
        let tap = self.gauges.read();
        facts.tap_state = TapState::from_value(tap.state).unwrap_or_default();
        facts.source_member_id = i32::try_from(tap.source_member_id).unwrap_or(-1);
        facts.received_position = tap.received_position;
        facts.leadership_term_id = facts.leadership_term_id.max(tap.leadership_term_id);
        if tap.source_member_id >= 0 && tap.source_member_id != self.source_member_id {
            self.source_member_id = tap.source_member_id;
            self.lag.reset();
        }
        let end_position = end_position.unwrap_or(-1);
        if end_position > self.end_position || tap.received_position > self.received_position {
            facts.last_byte_ns = now_ns;
        }
        (self.end_position, self.received_position) = (end_position, tap.received_position);
        if tap.source_position < 0 {
            return;
        }
        let told_ns = now_ns.saturating_sub(tap.source_position_age_ns.max(0) as u64);
        if tap.source_position != self.source_position {
            self.source_position = tap.source_position;
            self.lag.on_source_position(tap.source_position, told_ns);
        }
        facts.source_position = Some(SourcePosition { position: tap.source_position, told_ns });
        // For how long the source went on telling of what had not come.
        facts.overdue_ns = self.lag.lag_ns(end_position, told_ns);
    }
}
