//! What a transition asks of the node. Each is answered by the named input of [`super::Transition`].

use super::check::ForcedChecks;
use super::facts::Loss;
use super::peers::Grant;
use super::report::Outcome;

/// A request to the node.
#[derive(Clone, Debug, PartialEq)]
pub enum TransitionAction {
    /// Tell the other standbys how this one stands ([`super::Transition::beacon`]), at once.
    TellPeers,
    /// Put the grant on the disk, or that there is none: answered by `on_grant_saved`.
    SaveGrant(Option<Grant>),
    /// Have the tap take the log from this standby.
    FollowPeer {
        /// Its member id.
        member_id: i32,
    },
    /// Have the tap leave its source, so that the log's end moves no more: answered by `on_sealed`.
    Seal,
    /// Look how far what no source has confirmed makes up a log, behind its end up to this position: answered by
    /// `on_tail_read`.
    ReadTail {
        /// Where the files' data ends.
        tail_end: i64,
    },
    /// Have the tap look for a source again, after [`Self::Seal`].
    Unseal,
    /// Run the operator's hook: answered by `on_fenced`.
    Fence {
        /// The term that is to begin.
        leadership_term_id: i64,
        /// Where.
        log_position: i64,
    },
    /// Put the decision on the disk, and the new term's rows: answered by `on_recorded`.
    Record(Decision),
    /// Begin to lead: answered by `on_leading`.
    Lead(Decision),
    /// Never lead again, by what is on the disk: another one does. Nothing answers.
    RecordFenced,
    /// Stop leading at once: another one does.
    StopLeading,
    /// The request came to its end: the flag goes back.
    Done(Outcome),
}

/// That this node leads, from where on, and why it may.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The term.
    pub leadership_term_id: i64,
    /// Its base: the end of the log, or of what is used of a tail behind it.
    pub base_log_position: i64,
    /// The newest term before it that the log knows; rows are due for those between.
    pub log_recording_id: i64,
    /// What the operator overrode.
    pub forced: ForcedChecks,
    /// Our claim among standbys.
    pub claim_id: i64,
    /// What is lost, as far as it is known.
    pub loss: Loss,
    /// Whether this node led before, and was restarted.
    pub is_resumed: bool,
}
