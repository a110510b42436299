//! What may speak against an activation, by name: what an operator reads, and may override.

use std::fmt;

/// One reason to refuse. The first ones may be overridden by name; nothing overrides the others.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Check {
    /// A member of the cluster gives signs of life.
    MemberLiving = 0,
    /// Of a member nobody can say whether it lives.
    MemberUnknown = 1,
    /// Another standby cannot be asked.
    StandbyUnreachable = 2,
    /// More of the log is known to exist than is applied here.
    Behind = 3,
    /// The log has a tail that no source has confirmed since the machine went down.
    UnverifiedTail = 4,
    /// Nobody ever told how far the cluster's log reaches.
    PositionUnknown = 5,
    /// The cluster's log is not a continuation of ours.
    Diverged = 6,
    /// Another standby, which cannot be asked, was promised that this one stays a standby.
    Granted = 7,
    /// There is no fence.
    Unfenced = 8,
    /// The fence did not succeed.
    FenceFailed = 9,
    /// Another standby is active, or is becoming it.
    StandbyActive = 10,
    /// Another standby claimed at the same time and comes first.
    ClaimLost = 11,
    /// There is no log to lead.
    NoLog = 12,
    /// There is no service to serve with.
    NoServices = 13,
    /// The recording cannot go on.
    RecordingFailed = 14,
    /// The decision could not be put on the disk.
    RecordNotWritten = 15,
    /// The node was led aside: another one with a newer term was seen.
    NewerTerm = 16,
    /// What is under way did not end in time.
    TimedOut = 17,
    /// The newest term that was told of is farther from the log's own than can be.
    TermTooFar = 18,
}

/// Counter values from here on say why the last request was refused.
const REFUSED_VALUE: i64 = 100;

impl Check {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::MemberLiving,
        Self::MemberUnknown,
        Self::StandbyUnreachable,
        Self::Behind,
        Self::UnverifiedTail,
        Self::PositionUnknown,
        Self::Diverged,
        Self::Granted,
        Self::Unfenced,
        Self::FenceFailed,
        Self::StandbyActive,
        Self::ClaimLost,
        Self::NoLog,
        Self::NoServices,
        Self::RecordingFailed,
        Self::RecordNotWritten,
        Self::NewerTerm,
        Self::TimedOut,
        Self::TermTooFar,
    ];

    /// As operators write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemberLiving => "member-living",
            Self::MemberUnknown => "member-unknown",
            Self::StandbyUnreachable => "standby-unreachable",
            Self::Behind => "behind",
            Self::UnverifiedTail => "unverified-tail",
            Self::PositionUnknown => "position-unknown",
            Self::Diverged => "diverged",
            Self::Granted => "granted",
            Self::Unfenced => "unfenced",
            Self::FenceFailed => "fence-failed",
            Self::StandbyActive => "standby-active",
            Self::ClaimLost => "claim-lost",
            Self::NoLog => "no-log",
            Self::NoServices => "no-services",
            Self::RecordingFailed => "recording-failed",
            Self::RecordNotWritten => "record-not-written",
            Self::NewerTerm => "newer-term",
            Self::TimedOut => "timed-out",
            Self::TermTooFar => "term-too-far",
        }
    }

    /// Whether an operator may override it.
    pub fn is_forceable(self) -> bool {
        self <= Self::Granted
    }

    /// What the transition state counter shows after a refusal.
    pub fn value(self) -> i64 {
        REFUSED_VALUE + self as i64
    }

    /// The reason that a counter's value stands for.
    pub fn from_value(value: i64) -> Option<Self> {
        let index = value.checked_sub(REFUSED_VALUE).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| Self::ALL.get(index)).copied()
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// By name.
    pub check: Check,
    /// In words, with the next step.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.name(), self.reason)
    }
}

/// Checks that an operator overrides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ForcedChecks(u64);

/// A name that stands for no check, or for one that nothing overrides.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ForceError {
    /// No such name.
    #[error("\"{0}\" is no check: the checks that can be forced are {names}", names = forceable_names())]
    Unknown(String),
    /// Nothing overrides it.
    #[error("\"{0}\" cannot be forced: the checks that can be are {names}", names = forceable_names())]
    NotForceable(&'static str),
}

impl ForcedChecks {
    /// None is overridden.
    pub const NONE: Self = Self(0);

    /// Those with these names.
    ///
    /// # Errors
    /// [`ForceError`] for the first that is none.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ForceError> {
        let mut forced = Self::NONE;
        for name in names {
            let found = Check::ALL.into_iter().find(|check| check.name() == name);
            match found {
                Some(check) if check.is_forceable() => forced = forced.with(check),
                Some(check) => return Err(ForceError::NotForceable(check.name())),
                None => return Err(ForceError::Unknown(name.to_owned())),
            }
        }
        Ok(forced)
    }

    /// As a file holds them: bit n for the check with value n. Bits that stand for nothing are dropped.
    pub fn from_bits(bits: u64) -> Self {
        let is_set = |check: &Check| bits & 1 << *check as u8 != 0 && check.is_forceable();
        Check::ALL.into_iter().filter(is_set).fold(Self::NONE, Self::with)
    }

    /// See [`Self::from_bits`].
    pub fn bits(self) -> u64 {
        self.0
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, check: Check) -> Self {
        Self(self.0 | 1 << check as u8)
    }

    /// These without one.
    #[must_use]
    pub fn without(self, check: Check) -> Self {
        Self(self.0 & !(1 << check as u8))
    }

    /// Those that still stand when a node that led is started again. What an operator knew of others, of how
    /// far their logs reached and of one power cut, says nothing of what came after.
    #[must_use]
    pub(super) fn at_a_restart(self) -> Self {
        let stale = [
            Check::MemberLiving,
            Check::StandbyUnreachable,
            Check::Granted,
            Check::Behind,
            Check::UnverifiedTail,
        ];
        stale.into_iter().fold(self, Self::without)
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether one is overridden.
    pub fn has(self, check: Check) -> bool {
        self.0 & 1 << check as u8 != 0
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        Check::ALL.into_iter().filter(|check| self.has(*check)).map(Check::name).collect()
    }
}

fn forceable_names() -> String {
    let names: Vec<&str> =
        Check::ALL.into_iter().filter(|check| check.is_forceable()).map(Check::name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_found_by_name_and_by_the_counter_that_shows_it() {
        for (index, check) in Check::ALL.into_iter().enumerate() {
            assert_eq!(check as usize, index);
            assert_eq!(Check::from_value(check.value()), Some(check));
            let forced = ForcedChecks::from_names([check.name()]);
            assert_eq!(forced.is_ok(), check.is_forceable(), "{}", check.name());
        }
        assert_eq!((Check::from_value(99), Check::from_value(8)), (None, None));
    }

    #[test]
    fn what_is_forced_survives_a_file_and_nothing_else_does() {
        let forced = ForcedChecks::from_names(["member-living", "behind"]).unwrap();
        assert_eq!(ForcedChecks::from_bits(forced.bits()), forced);
        assert_eq!(forced.names(), ["member-living", "behind"]);
        assert_eq!(ForcedChecks::from_bits(u64::MAX).names().len(), 8, "no file forces what nobody may");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let error = ForcedChecks::from_names(["member-dead"]).unwrap_err().to_string();
        assert!(error.contains("member-dead") && error.contains("member-living"), "{error}");
        let error = ForcedChecks::from_names(["unfenced"]).unwrap_err().to_string();
        assert!(error.contains("cannot be forced"), "{error}");
    }
}
