//! What a decision rests on: figures that the node keeps all the time, so that looking is enough.

use std::fmt;

use crate::tap::TapState;

/// What is known at one moment. Times are those of the caller's clock, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Services of this node.
    pub service_count: usize,
    /// The log, once it is read.
    pub log: Option<LogFacts>,
    /// What the tap does.
    pub tap_state: TapState,
    /// Who is followed, -1 for nobody.
    pub source_member_id: i32,
    /// The highest position that arrived, in order or not; -1 before the first.
    pub received_position: i64,
    /// When the log, or what has arrived of it, last grew.
    pub last_byte_ns: u64,
    /// How far the last source's log was recorded, as it last told.
    pub source_position: Option<SourcePosition>,
    /// For how long the oldest position that a source told had not been reached when the last byte came.
    pub overdue_ns: u64,
    /// Where the files' data ends, if no source has confirmed all of it since the machine went down.
    pub unverified_end: Option<i64>,
    /// The newest leadership term that this node has heard of; -1 for none.
    pub leadership_term_id: i64,
    /// The newest term in recording.log, -1 for none.
    pub recorded_term_id: i64,
    /// Whether anybody ever named the members of the cluster.
    pub are_members_named: bool,
    /// The members that were named, but for this node and those that are standbys of ours, which say themselves
    /// how they stand.
    pub members: Vec<MemberSign>,
    /// When `members` was looked at.
    pub members_ns: u64,
}

/// The log as it lies here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogFacts {
    /// Which recording.
    pub recording_id: i64,
    /// The leadership term that it ends in, as far as it is read; -1 for none.
    pub leadership_term_id: i64,
    /// Where it ends.
    pub end_position: i64,
    /// The last message boundary that everything here has reached.
    pub applied_position: i64,
    /// Whether all that reads the log has read it to its end: `applied_position` is the last boundary there
    /// is.
    pub is_read: bool,
}

/// What a source said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourcePosition {
    /// How far its log was recorded, of which all or less was committed.
    pub position: i64,
    /// When it said so.
    pub told_ns: u64,
}

/// When a member was last heard of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberSign {
    /// Who.
    pub member_id: i32,
    /// Where it is probed.
    pub endpoint: String,
    /// Since when it has been probed; `None` if it is not.
    pub probed_since_ns: Option<u64>,
    /// When its driver last answered; `None` if never.
    pub last_sign_ns: Option<u64>,
}

/// What a member's signs say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemberState {
    /// It was heard of within the timeout.
    Living,
    /// It was probed for as long as the timeout, and nothing was heard. Not a proof of death.
    Silent,
    /// Nobody can say.
    Unknown,
}

impl MemberState {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Living => "living",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}

impl MemberSign {
    /// What the signs say at `now_ns`.
    pub fn state(&self, now_ns: u64, timeout_ns: u64) -> MemberState {
        let is_older = |since_ns: u64| now_ns.saturating_sub(since_ns) >= timeout_ns;
        match (self.last_sign_ns, self.probed_since_ns) {
            (Some(sign_ns), _) if !is_older(sign_ns) => MemberState::Living,
            (_, Some(since_ns)) if is_older(since_ns) => MemberState::Silent,
            _ => MemberState::Unknown,
        }
    }
}

impl Facts {
    /// What would be lost by serving from here on, as far as it can be told.
    pub fn loss(&self, now_ns: u64) -> Loss {
        let (end_position, applied_position) =
            self.log.map_or((0, 0), |log| (log.end_position, log.applied_position));
        Loss {
            applied_position,
            end_position,
            source_position: self.source_position.map(|source| source.position),
            source_position_age_ns: self.source_position.map(|source| now_ns.saturating_sub(source.told_ns)),
            beyond_gap_length: (self.received_position - end_position).max(0),
        }
    }
}

/// What serving from here on may lose.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loss {
    /// What this node serves from.
    pub applied_position: i64,
    /// Where its log ends; behind the applied position lies a message that never ended.
    pub end_position: i64,
    /// How far the source's log was recorded, as it last told; `None` if it never did.
    pub source_position: Option<i64>,
    /// How old that figure is.
    pub source_position_age_ns: Option<u64>,
    /// Up to so many bytes arrived behind a gap that nobody is left to fill.
    pub beyond_gap_length: i64,
}

impl Loss {
    /// Bytes of the source's log that are not applied here, as it last told; `None` where it never did.
    pub fn known_bytes(&self) -> Option<i64> {
        self.source_position.map(|position| (position - self.applied_position).max(0))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "applied to {}, ", self.applied_position)?;
        match (self.source_position, self.source_position_age_ns, self.known_bytes()) {
            (Some(position), Some(age_ns), Some(bytes)) => write!(
                f,
                "the source had recorded {position} when it was last asked, {:.3} s ago: {bytes} bytes of \
                 that, and what it committed since, are not here",
                age_ns as f64 / 1e9
            )?,
            _ => f.write_str("how far the source's log reached is unknown, and so is what is not here")?,
        }
        if self.beyond_gap_length > 0 {
            write!(f, "; up to {} bytes behind a gap are discarded", self.beyond_gap_length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn sign(probed_since_ns: Option<u64>, last_sign_ns: Option<u64>) -> MemberSign {
        MemberSign { member_id: 0, endpoint: String::new(), probed_since_ns, last_sign_ns }
    }

    #[test]
    fn a_member_is_silent_only_when_it_was_probed_for_the_whole_time() {
        let state = |sign: &MemberSign, now_ns| sign.state(now_ns, SECOND_NS);
        let never = sign(Some(5 * SECOND_NS), None);
        assert_eq!(state(&never, 5 * SECOND_NS + 1), MemberState::Unknown);
        assert_eq!(state(&never, 6 * SECOND_NS), MemberState::Silent);
        let heard = sign(Some(0), Some(5 * SECOND_NS));
        assert_eq!(state(&heard, 6 * SECOND_NS - 1), MemberState::Living);
        assert_eq!(state(&heard, 6 * SECOND_NS), MemberState::Silent);
        assert_eq!(state(&sign(None, None), 60 * SECOND_NS), MemberState::Unknown);
        assert_eq!(state(&sign(None, Some(0)), 60 * SECOND_NS), MemberState::Unknown, "no longer probed");
    }

    #[test]
    fn what_would_be_lost_is_said_and_so_is_that_nobody_knows() {
        let log = LogFacts {
            recording_id: 0,
            leadership_term_id: 0,
            end_position: 4096,
            applied_position: 4000,
            is_read: true,
        };
        let mut facts = Facts { log: Some(log), received_position: 5000, ..Facts::default() };
        let words = facts.loss(0).to_string();
        assert!(words.contains("unknown") && words.contains("904 bytes behind a gap"), "{words}");
        facts.source_position = Some(SourcePosition { position: 6000, told_ns: 0 });
        let loss = facts.loss(250_000_000);
        assert_eq!(loss.known_bytes(), Some(2000));
        assert!(loss.to_string().contains("0.250 s ago: 2000 bytes"), "{loss}");
    }
}
