//! The other standbys: what they last said, and the promise that at most one of us leads.
//!
//! Everybody tells everybody the same thing over and over, a [`Beacon`]: how it stands, the claim that it
//! makes, the claim that it has granted. So nothing is lost with a datagram, and a node that restarts knows
//! where it is when it has heard everybody once.
//!
//! - A claim is open while its beacon names it. It is *held* once every other standby has granted it.
//! - A grant is on the disk before it is told, and lasts until its claim is withdrawn: its owner says, in a
//!   later beacon, that it claims nothing, or something else. Who has granted does not claim.
//! - Of two open claims that of the smaller member id wins; a held one never yields.

use super::facts::LogFacts;
use super::report::StandbyLook;
use super::state::TransitionState;

/// No datagram is under way for so many times as long as a standby without a word counts as reachable.
const SILENCE_CONTACTS: u64 = 10;

/// No claim.
pub const NO_CLAIM: i64 = 0;
/// The term of a log that is not read to its end, is not there, or holds no term.
pub const UNREAD: i64 = -1;

/// What a standby says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Beacon {
    /// Who says it.
    pub member_id: i32,
    /// How it stands.
    pub state: TransitionState,
    /// Of all beacons of one member the one with the greater incarnation, then sequence, is the later one.
    pub incarnation: i64,
    /// See `incarnation`.
    pub sequence: i64,
    /// The newest leadership term that it knows, -1 for none. Of an active one: its own.
    pub leadership_term_id: i64,
    /// Where its log ends, -1 without one.
    pub log_position: i64,
    /// The leadership term that its log ends in, [`UNREAD`] until that is known.
    pub log_term_id: i64,
    /// Its claim, [`NO_CLAIM`] for none.
    pub claim_id: i64,
    /// What it has granted.
    pub grant: Option<Grant>,
}

impl Beacon {
    /// How far its log goes: one that ends in a newer term is ahead of any that does not, for what an older term
    /// appended behind that is no part of the cluster's log. One that is not read may end in any term that it knows.
    pub(super) fn log_end(&self) -> (i64, i64) {
        let term_id = if self.log_term_id == UNREAD { self.leadership_term_id } else { self.log_term_id };
        (term_id, self.log_position)
    }
}

/// A promise to stay a standby, for as long as a claim lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Who claims.
    pub member_id: i32,
    /// Its claim.
    pub claim_id: i64,
}

/// What is known of the others.
#[derive(Debug)]
pub(super) struct Peers {
    own_member_id: i32,
    contact_timeout_ns: u64,
    known: Vec<Peer>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) member_id: i32,
    heard_ns: u64,
    beacon: Option<Beacon>,
}

impl Peers {
    pub(super) fn new(own_member_id: i32, member_ids: &[i32], contact_timeout_ns: u64) -> Self {
        let known = member_ids.iter().map(|id| Peer { member_id: *id, heard_ns: 0, beacon: None });
        Self { own_member_id, contact_timeout_ns, known: known.collect() }
    }

    /// Takes what a standby said. Returns false for one that is not of ours, and for what is older than what
    /// is known. After a long silence whatever comes is new: it was restarted with its clock set back.
    pub(super) fn on_beacon(&mut self, beacon: &Beacon, now_ns: u64) -> bool {
        let Some(peer) = self.known.iter_mut().find(|peer| peer.member_id == beacon.member_id) else {
            return false;
        };
        let order = |beacon: &Beacon| (beacon.incarnation, beacon.sequence);
        let is_older = peer.beacon.as_ref().is_some_and(|known| order(known) >= order(beacon));
        let silence_ns = now_ns.saturating_sub(peer.heard_ns);
        if is_older && silence_ns < SILENCE_CONTACTS * self.contact_timeout_ns {
            return false;
        }
        peer.beacon = Some(*beacon);
        peer.heard_ns = now_ns;
        true
    }

    /// Place of this node among all standbys, by id.
    pub(super) fn own_place(&self) -> i64 {
        self.known.iter().filter(|peer| peer.member_id < self.own_member_id).count() as i64
    }

    /// The newest term that any of them ever told of.
    pub(super) fn newest_term_id(&self) -> i64 {
        self.known
            .iter()
            .filter_map(|peer| peer.beacon)
            .map(|beacon| beacon.leadership_term_id)
            .max()
            .unwrap_or(-1)
    }

    /// What those say that were heard of a moment ago.
    pub(super) fn in_contact(&self, now_ns: u64) -> impl Iterator<Item = &Beacon> {
        self.known.iter().filter_map(move |peer| peer.contact(now_ns, self.contact_timeout_ns))
    }

    /// Those that were not.
    pub(super) fn out_of_contact(&self, now_ns: u64) -> impl Iterator<Item = i32> {
        let is_out = move |peer: &&Peer| peer.contact(now_ns, self.contact_timeout_ns).is_none();
        self.known.iter().filter(is_out).map(|peer| peer.member_id)
    }

    /// What is known of each.
    pub(super) fn looks(&self, now_ns: u64) -> Vec<StandbyLook> {
        let look = |peer: &Peer| StandbyLook {
            member_id: peer.member_id,
            heard_age_ns: peer.beacon.map(|_| now_ns.saturating_sub(peer.heard_ns)),
            state: peer.beacon.map(|beacon| beacon.state),
            log_position: peer.beacon.map(|beacon| beacon.log_position).filter(|position| *position >= 0),
        };
        self.known.iter().map(look).collect()
    }

    pub(super) fn is_in_contact(&self, member_id: i32, now_ns: u64) -> bool {
        self.in_contact(now_ns).any(|beacon| beacon.member_id == member_id)
    }

    /// The one whose log goes farthest beyond ours.
    pub(super) fn ahead_of(&self, own: &LogFacts, now_ns: u64) -> Option<&Beacon> {
        let with_log = self.in_contact(now_ns).filter(|beacon| beacon.log_position > 0);
        let farthest = with_log.max_by_key(|beacon| beacon.log_end());
        farthest.filter(|beacon| beacon.log_end() > (own.leadership_term_id, own.end_position))
    }

    /// Whether all that can be heard have granted a claim of ours.
    pub(super) fn have_granted(&self, claim_id: i64, now_ns: u64) -> bool {
        let granted = Some(Grant { member_id: self.own_member_id, claim_id });
        self.in_contact(now_ns).all(|beacon| beacon.grant == granted)
    }
}

impl Peer {
    fn contact(&self, now_ns: u64, timeout_ns: u64) -> Option<&Beacon> {
        self.beacon.as_ref().filter(|_| now_ns.saturating_sub(self.heard_ns) < timeout_ns)
    }
}
