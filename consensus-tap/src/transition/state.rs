//! Where a change from standby to active stands, as operators see it.

/// The value of the transition state counter (type 224). After a request that was refused the counter shows
/// [`super::Check::value`] instead, until the next one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(i64)]
pub enum TransitionState {
    /// Nothing was asked for, or it is over: the node follows.
    #[default]
    Following = 0,
    /// Takes what can still be had of the log, and has it applied.
    Drain = 1,
    /// Looks whether anything speaks against it.
    Check = 2,
    /// Asks the other standbys to stay standbys.
    Claim = 3,
    /// Leaves the source: the log's end no longer moves.
    Seal = 4,
    /// The operator's hook makes sure that nobody else serves.
    Fence = 5,
    /// The decision and the new term go to the disk.
    Term = 6,
    /// The new term is appended; clients are told next.
    Serve = 7,
    /// This node leads.
    Active = 8,
    /// This node led, or was about to, and may not: it serves nobody, follows nobody, and waits for
    /// `activate` or `deactivate`.
    Fenced = 9,
}

impl TransitionState {
    const ALL: [Self; 10] = [
        Self::Following,
        Self::Drain,
        Self::Check,
        Self::Claim,
        Self::Seal,
        Self::Fence,
        Self::Term,
        Self::Serve,
        Self::Active,
        Self::Fenced,
    ];

    /// The state's name, as operators see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Following => "FOLLOWING",
            Self::Drain => "DRAIN",
            Self::Check => "CHECK",
            Self::Claim => "CLAIM",
            Self::Seal => "SEAL",
            Self::Fence => "FENCE",
            Self::Term => "TERM",
            Self::Serve => "SERVE",
            Self::Active => "ACTIVE",
            Self::Fenced => "FENCED",
        }
    }

    /// The state with this value.
    pub fn from_value(value: i64) -> Option<Self> {
        usize::try_from(value).ok().and_then(|index| Self::ALL.get(index)).copied()
    }

    /// Whether a node in this state claims to lead, or does: others must not.
    pub fn is_beyond_check(self) -> bool {
        (Self::Claim..=Self::Active).contains(&self)
    }

    /// Whether a node in this state holds its claim: nothing that others claim makes it yield.
    pub fn is_beyond_claim(self) -> bool {
        (Self::Seal..=Self::Active).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_value_and_is_found_by_it() {
        for (value, state) in (0..).zip(TransitionState::ALL) {
            assert_eq!(state as i64, value);
            assert_eq!(TransitionState::from_value(value), Some(state));
        }
        assert_eq!(TransitionState::from_value(10), None);
        assert_eq!(TransitionState::from_value(-1), None);
    }
}
