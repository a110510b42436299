//! What an operator is told of a request: each step with its time, and how it ended.

use super::check::{ForcedChecks, Refusal};
use super::facts::{Loss, MemberState};
use super::state::TransitionState;

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestKind {
    /// To lead.
    Activate,
    /// To say what [`Self::Activate`] would do.
    DryRun,
    /// To lead again after a restart, as was decided before it.
    Resume,
    /// To lead a cluster that begins here: its log is empty, and nobody ever led it.
    Bootstrap,
}

/// One request on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionReport {
    /// What was asked for.
    pub kind: RequestKind,
    /// What the operator overrides.
    pub forced: ForcedChecks,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What serving from here on would lose, as known last.
    pub loss: Loss,
    /// What was known of each member of the cluster last.
    pub members: Vec<MemberLook>,
    /// What was known of each other standby last.
    pub standbys: Vec<StandbyLook>,
    /// `None` while it is under way.
    pub outcome: Option<Outcome>,
}

/// A member, as one look found it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberLook {
    /// Its id.
    pub member_id: i32,
    /// Where it is probed.
    pub endpoint: String,
    /// What its signs say.
    pub state: MemberState,
    /// For how long nothing was heard of it, ns; `None` if nothing ever was.
    pub sign_age_ns: Option<u64>,
}

/// Another standby, as one look found it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StandbyLook {
    /// Its id.
    pub member_id: i32,
    /// For how long nothing was heard of it, ns; `None` if nothing ever was.
    pub heard_age_ns: Option<u64>,
    /// How it stood then.
    pub state: Option<TransitionState>,
    /// Where its log ended then.
    pub log_position: Option<i64>,
}

/// A state that was entered, or something that happened in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// In which state.
    pub state: TransitionState,
    /// Since the request, ns.
    pub elapsed_ns: u64,
    /// In words.
    pub text: String,
}

/// How a request ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// This node leads.
    Active {
        /// The term.
        leadership_term_id: i64,
        /// Where it begins.
        base_log_position: i64,
    },
    /// It would.
    WouldActivate {
        /// The term.
        leadership_term_id: i64,
    },
    /// Something speaks against it. Of a dry run, everything that does.
    Refused(Vec<Refusal>),
}
