//! Which member is told of which snapshot set, and when: the conductor's part of announcing.
//!
//! ```text
//!   set entered -> remembered on the disk -> sent by the archive agent -> outcome -> remembered
//! ```
//! A set that was sent and whose fate is unknown is never sent again; the member gets a newer one instead, and one is
//! asked for at most once a minute. A member that could not be reached was sent nothing, and is tried again with the
//! newest set.

use consensus_tap::channel::HostPort;
use consensus_tap::codec::consensus::{ClusterMember, parse_cluster_members};
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::serving::{AnnouncedMember, Announcement, AnnouncementOutcome, MemberOutcome};
use consensus_tap::tap::{Routing, TapConfig};

use crate::store::standby_snapshots::{MemberRecord, RecordedOutcome, StandbySnapshots};
use crate::sys::clock;

/// How often a member that cannot be reached is tried again.
const RETRY_INTERVAL_NS: u64 = 10_000_000_000;
/// How often a new snapshot may be asked for.
const REQUEST_INTERVAL_NS: u64 = 60_000_000_000;

/// What was announced, and what is to be.
#[derive(Debug)]
pub struct Announcing {
    tap: TapConfig,
    records: StandbySnapshots,
    /// The records are not on the disk as they are here.
    is_changed: bool,
    /// Waits for the records to be on the disk.
    waiting: Vec<Announcement>,
    /// The newest set that was announced and is still there, for members that come back.
    newest: Option<SnapshotSet>,
    members: Vec<ClusterMember>,
    retry_due_ns: u64,
    request_due_ns: u64,
    is_snapshot_wanted: bool,
}

impl Announcing {
    /// Goes on from what is known of earlier runs. `tap` says who we are and where endpoints are reached.
    pub fn new(tap: TapConfig, records: StandbySnapshots) -> Self {
        let is_snapshot_wanted =
            records.members.iter().any(|record| record.outcome == RecordedOutcome::Unknown);
        Self {
            tap,
            records,
            is_changed: false,
            waiting: Vec::new(),
            newest: None,
            members: Vec::new(),
            retry_due_ns: 0,
            request_due_ns: 0,
            is_snapshot_wanted,
        }
    }

    /// These sets are in the archive. The newest that members were told of before the start is what one gets that could
    /// not be reached then; not an older one, which it may have been sent before.
    pub fn on_sets_found(&mut self, sets: &[SnapshotSet]) {
        let newest = self.records.members.iter().map(|record| record.log_position).max();
        self.newest = sets.iter().find(|set| Some(set.log_position) == newest).cloned();
    }

    /// The source listed these members. Who is no longer among them needs nothing any more.
    pub fn on_members(&mut self, cluster_members: &str) {
        // The tap has read the list before.
        let Ok(members) = parse_cluster_members(cluster_members) else { return };
        // There is no such cluster: the list is of a source that does not know it yet, or there was no source so far.
        if members.iter().all(ClusterMember::is_standby) {
            return;
        }
        let before = self.records.members.len();
        self.records.members.retain(|record| members.iter().any(|member| member.id == record.member_id));
        self.is_changed |= self.records.members.len() != before;
        self.members = members.into_iter().filter(|member| self.may_be_told(member)).collect();
    }

    /// A complete, durable set was entered: every member is to be told of it.
    pub fn announce(&mut self, set: &SnapshotSet) {
        self.newest = Some(set.clone());
        self.tell(set, |_| true);
    }

    /// These sets are about to be purged: nobody is told of them any more.
    pub fn on_purge(&mut self, sets: &[SnapshotSet]) {
        self.newest.take_if(|newest| sets.contains(newest));
    }

    /// What became of an announcement.
    pub fn on_outcome(&mut self, outcome: &MemberOutcome, now_ns: u64) {
        let MemberOutcome { member_id, log_position, outcome } = outcome;
        let (recorded, detail) = match outcome {
            AnnouncementOutcome::Taken => (RecordedOutcome::Taken, ""),
            AnnouncementOutcome::Refused { reason } => (RecordedOutcome::Refused, reason.as_str()),
            AnnouncementOutcome::Unknown { reason } => (RecordedOutcome::Unknown, *reason),
            AnnouncementOutcome::Unreachable { reason } => (RecordedOutcome::Unreachable, *reason),
        };
        self.is_snapshot_wanted |= recorded == RecordedOutcome::Unknown;
        if recorded == RecordedOutcome::Unreachable {
            self.retry_due_ns = now_ns + RETRY_INTERVAL_NS;
        }
        // A member may have left the cluster meanwhile, or been told of a newer set.
        let record = self.records.members.iter_mut().find(|record| record.member_id == *member_id);
        let Some(record) = record else { return };
        match recorded {
            RecordedOutcome::Taken => {
                record.taken_log_position = record.taken_log_position.max(Some(*log_position));
                record.unknown_log_position = None;
            }
            RecordedOutcome::Unknown => {
                record.unknown_log_position.get_or_insert(*log_position);
            }
            RecordedOutcome::Refused | RecordedOutcome::Unreachable
                if record.unknown_log_position == Some(*log_position) =>
            {
                record.unknown_log_position = None;
            }
            RecordedOutcome::Refused | RecordedOutcome::Unreachable => {}
        }
        if record.log_position == *log_position {
            record.outcome = recorded;
            detail.clone_into(&mut record.detail);
            record.time_ms = clock::epoch_ms();
        }
        self.is_changed = true;
    }

    /// Time passed: members that could not be reached are told of the newest set again.
    pub fn on_timeout(&mut self, now_ns: u64) {
        if now_ns < self.retry_due_ns {
            return;
        }
        self.retry_due_ns = now_ns + RETRY_INTERVAL_NS;
        if let Some(set) = self.newest.take() {
            self.tell(&set, |record| record.outcome == RecordedOutcome::Unreachable);
            self.newest = Some(set);
        }
    }

    /// What is to be written to the disk now. [`Self::on_saved`] says that it is there.
    pub fn poll_save(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_changed).then(|| self.records.to_bytes())
    }

    /// The records that were polled last are on the disk: what waited for that may be sent.
    pub fn on_saved(&mut self) -> Vec<Announcement> {
        if self.is_changed { Vec::new() } else { std::mem::take(&mut self.waiting) }
    }

    /// The records could not be written: nothing is sent that would be forgotten.
    pub fn on_save_failed(&mut self) {
        self.waiting.clear();
        self.is_snapshot_wanted = true;
    }

    /// Whether a new snapshot should be taken at the next message boundary, since some member's fate is unknown. True
    /// at most once a minute; asking takes the wish away.
    pub fn take_snapshot_wish(&mut self, now_ns: u64) -> bool {
        if !self.is_snapshot_wanted || now_ns < self.request_due_ns {
            return false;
        }
        self.is_snapshot_wanted = false;
        self.request_due_ns = now_ns + REQUEST_INTERVAL_NS;
        true
    }

    /// What each member was last told of.
    pub fn records(&self) -> &StandbySnapshots {
        &self.records
    }

    /// Standbys take no snapshots, nor does one that leads, which takes its own; and with `routing = single` nobody is
    /// told but the endpoints that are configured.
    fn may_be_told(&self, member: &ClusterMember) -> bool {
        if member.id == self.tap.member_id || member.is_one_node() {
            return false;
        }
        let is_configured = |endpoint: HostPort| {
            let reached = self.tap.reached_at(&endpoint);
            self.tap.consensus_endpoints.iter().any(|other| self.tap.reached_at(other) == reached)
        };
        self.tap.routing == Routing::All || member.consensus_endpoint.parse().is_ok_and(is_configured)
    }

    /// Prepares an announcement to those members that were not told as much before, or that could not be reached.
    fn tell(&mut self, set: &SnapshotSet, wants: impl Fn(&MemberRecord) -> bool) {
        let mut told = Vec::new();
        for member in &self.members {
            let known = self.records.members.iter_mut().find(|record| record.member_id == member.id);
            if let Some(record) = &known
                && (!wants(record)
                    || (record.log_position >= set.log_position
                        && record.outcome != RecordedOutcome::Unreachable))
            {
                continue;
            }
            let Ok(endpoint) = member.consensus_endpoint.parse() else { continue };
            let record = MemberRecord {
                member_id: member.id,
                endpoint: member.consensus_endpoint.clone(),
                log_position: set.log_position,
                outcome: RecordedOutcome::Unknown,
                detail: "it was about to be sent".to_owned(),
                time_ms: clock::epoch_ms(),
                taken_log_position: known.as_ref().and_then(|record| record.taken_log_position),
                unknown_log_position: known.as_ref().and_then(|record| record.possibly_taken()),
            };
            match known {
                Some(known) => *known = record,
                None => self.records.members.push(record),
            }
            told.push(AnnouncedMember {
                member_id: member.id,
                consensus_endpoint: self.tap.reached_at(&endpoint),
            });
        }
        if !told.is_empty() {
            self.is_changed = true;
            self.waiting.push(Announcement::new(set, told));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_tap::serving::AnnouncementOutcome as Outcome;

    const MEMBERS: &str = "0,i,a:1,l,u,x|1,i,b:1,l,u,x|99,s:1,s:1,s:1,s:1,s:1|100,t:1,t:1,t:1,t:1,t:1";
    const SECOND_NS: u64 = 1_000_000_000;

    fn set(log_position: i64) -> SnapshotSet {
        SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position,
            timestamp: 0,
            consensus_module: 1,
            services: vec![2],
        }
    }

    fn announcing(records: StandbySnapshots) -> Announcing {
        let settings = crate::config::Settings {
            dir: Some("d".into()),
            host: Some("localhost".into()),
            consensus_endpoints: Some(vec!["a:1".into()]),
            endpoint_map: Some(vec!["b:1=relay:7".parse().unwrap()]),
            ..Default::default()
        };
        let config = crate::config::NodeConfig::new(settings, 2).unwrap();
        let mut announcing = Announcing::new(config.tap, records);
        announcing.on_members(MEMBERS);
        announcing
    }

    /// Writes what is to be written; who is then told of what.
    fn save(announcing: &mut Announcing) -> Vec<(i32, String, i64)> {
        if announcing.poll_save().is_none() {
            return Vec::new();
        }
        let told = announcing.on_saved();
        let members = told.iter().flat_map(|announcement| {
            announcement.members().iter().map(|member| (member, announcement.log_position()))
        });
        members
            .map(|(member, position)| (member.member_id, member.consensus_endpoint.to_string(), position))
            .collect()
    }

    fn end(announcing: &mut Announcing, member_id: i32, log_position: i64, outcome: Outcome, now_ns: u64) {
        announcing.on_outcome(&MemberOutcome { member_id, log_position, outcome }, now_ns);
    }

    fn outcome(announcing: &Announcing, member_id: i32) -> RecordedOutcome {
        announcing.records().member(member_id).expect("a record").outcome
    }

    #[test]
    fn members_are_told_once_the_disk_says_so_and_standbys_never() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        let bytes = announcing.poll_save().expect("to be remembered before it is sent");
        let saved: StandbySnapshots = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(saved.members.len(), 2);
        assert!(saved.members.iter().all(|record| record.outcome == RecordedOutcome::Unknown));
        announcing.announce(&set(8192));
        assert!(announcing.on_saved().is_empty(), "the newer one is not on the disk");
        let told = save(&mut announcing);
        assert_eq!(told[0], (0, "a:1".to_owned(), 4096));
        assert_eq!(told[3], (1, "relay:7".to_owned(), 8192));
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn a_standby_that_leads_is_not_told() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.on_members("100,i:9,s:1,s:1,s:1,s:1|99,t:1,t:1,t:1,t:1,t:1");
        announcing.announce(&set(4096));
        assert!(save(&mut announcing).is_empty());
        assert!(announcing.records().members.is_empty());
    }

    #[test]
    fn a_set_is_announced_to_a_member_once_also_after_a_restart() {
        let mut first = announcing(StandbySnapshots::default());
        first.announce(&set(4096));
        assert_eq!(save(&mut first).len(), 2);
        first.announce(&set(4096));
        first.announce(&set(1024));
        assert!(save(&mut first).is_empty());

        let mut second = announcing(first.records().clone());
        second.announce(&set(4096));
        assert!(save(&mut second).is_empty());
        assert!(second.take_snapshot_wish(0), "what was sent before the restart has no outcome");
        second.announce(&set(8192));
        assert_eq!(save(&mut second).len(), 2);
    }

    #[test]
    fn an_unknown_outcome_asks_for_a_snapshot_once_a_minute() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        save(&mut announcing);
        assert!(!announcing.take_snapshot_wish(SECOND_NS));
        end(&mut announcing, 0, 4096, Outcome::Unknown { reason: "silence" }, SECOND_NS);
        assert!(announcing.take_snapshot_wish(2 * SECOND_NS));
        assert!(!announcing.take_snapshot_wish(2 * SECOND_NS));
        end(&mut announcing, 1, 4096, Outcome::Unknown { reason: "silence" }, 3 * SECOND_NS);
        assert!(!announcing.take_snapshot_wish(61 * SECOND_NS));
        assert!(announcing.take_snapshot_wish(62 * SECOND_NS));
        assert!(!announcing.take_snapshot_wish(200 * SECOND_NS), "nothing was announced since");
    }

    #[test]
    fn a_member_that_could_not_be_reached_is_told_of_the_newest_set_when_it_is_back() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        save(&mut announcing);
        end(&mut announcing, 0, 4096, Outcome::Taken, SECOND_NS);
        end(&mut announcing, 1, 4096, Outcome::Unreachable { reason: "down" }, SECOND_NS);
        save(&mut announcing);
        announcing.on_timeout(2 * SECOND_NS);
        assert!(save(&mut announcing).is_empty(), "not at once");
        announcing.on_timeout(12 * SECOND_NS);
        assert_eq!(save(&mut announcing), [(1, "relay:7".to_owned(), 4096)]);
        assert!(!announcing.take_snapshot_wish(13 * SECOND_NS), "an older one will do");
        end(&mut announcing, 1, 4096, Outcome::Taken, 13 * SECOND_NS);
        announcing.on_timeout(30 * SECOND_NS);
        assert_eq!(outcome(&announcing, 1), RecordedOutcome::Taken);
        save(&mut announcing);
        assert!(save(&mut announcing).is_empty());
    }

    #[test]
    fn what_a_member_has_taken_is_remembered_until_it_takes_more_or_leaves() {
        let mut announcing = announcing(StandbySnapshots::default());
        let taken = |announcing: &Announcing| announcing.records().member(0).unwrap().taken_log_position;
        announcing.announce(&set(4096));
        save(&mut announcing);
        end(&mut announcing, 0, 4096, Outcome::Taken, 0);
        announcing.announce(&set(8192));
        save(&mut announcing);
        assert_eq!((outcome(&announcing, 0), taken(&announcing)), (RecordedOutcome::Unknown, Some(4096)));
        end(&mut announcing, 0, 8192, Outcome::Refused { reason: "no".to_owned() }, 0);
        assert_eq!((outcome(&announcing, 0), taken(&announcing)), (RecordedOutcome::Refused, Some(4096)));
        assert_eq!(announcing.records().referred_positions(), [4096, 4096]);
        announcing.on_members("1,i,b:1,l,u,x");
        assert!(announcing.records().member(0).is_none());
        assert!(announcing.poll_save().is_some());
    }

    #[test]
    fn a_list_without_members_makes_nothing_forgotten() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        save(&mut announcing);
        let known = announcing.records().clone();
        for list in ["", "99,s:1,s:1,s:1,s:1,s:1|100,t:1,t:1,t:1,t:1,t:1"] {
            announcing.on_members(list);
            assert_eq!(*announcing.records(), known, "{list:?}");
        }
        announcing.announce(&set(8192));
        assert_eq!(save(&mut announcing).len(), 2, "the members are still told");
    }

    #[test]
    fn a_member_that_could_not_be_reached_before_a_restart_is_told_after_it() {
        let mut first = announcing(StandbySnapshots::default());
        first.announce(&set(4096));
        save(&mut first);
        end(&mut first, 0, 4096, Outcome::Unknown { reason: "silence" }, 0);
        end(&mut first, 1, 4096, Outcome::Unreachable { reason: "down" }, 0);

        for (sets, told) in [
            // The newest here was never announced.
            (vec![set(8192), set(4096), set(1024)], vec![(1, "relay:7".to_owned(), 4096)]),
            // What there is may have been sent before.
            (vec![set(1024)], Vec::new()),
        ] {
            let mut second = announcing(first.records().clone());
            second.on_sets_found(&sets);
            second.on_timeout(0);
            assert_eq!(save(&mut second), told);
        }
    }

    #[test]
    fn what_a_member_may_have_stays_until_it_has_certainly_taken_more() {
        let mut announcing = announcing(StandbySnapshots::default());
        let mut tell = |log_position, outcome| {
            announcing.announce(&set(log_position));
            save(&mut announcing);
            end(&mut announcing, 0, log_position, outcome, 0);
            announcing.records().member(0).and_then(MemberRecord::referred_position)
        };
        let refused = || Outcome::Refused { reason: "no".to_owned() };
        assert_eq!(tell(1024, refused()), None);
        assert_eq!(tell(2048, Outcome::Unknown { reason: "silence" }), Some(2048));
        assert_eq!(tell(4096, refused()), Some(2048));
        assert_eq!(tell(8192, Outcome::Taken), Some(8192));
        assert_eq!(tell(16_384, Outcome::Unknown { reason: "silence" }), Some(8192));
    }

    #[test]
    fn a_member_that_comes_back_is_not_told_of_what_was_purged() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        save(&mut announcing);
        end(&mut announcing, 0, 4096, Outcome::Unreachable { reason: "down" }, 0);
        save(&mut announcing);
        announcing.on_purge(&[set(4096)]);
        announcing.on_timeout(20 * SECOND_NS);
        assert!(save(&mut announcing).is_empty());
    }

    #[test]
    fn with_single_routing_only_the_configured_endpoints_are_told() {
        let mut tap = announcing(StandbySnapshots::default()).tap;
        tap.routing = Routing::Single;
        tap.consensus_endpoints = vec!["b:1".parse().unwrap()];
        let mut announcing = Announcing::new(tap, StandbySnapshots::default());
        announcing.on_members(MEMBERS);
        announcing.announce(&set(4096));
        assert_eq!(save(&mut announcing), [(1, "relay:7".to_owned(), 4096)]);
        // What others took before is not forgotten.
        let mut before = announcing_to_all();
        before.tap = announcing.tap;
        before.on_members(MEMBERS);
        assert_eq!(before.records().referred_positions(), [4096, 4096]);
    }

    /// After an announcement to all members, without an outcome.
    fn announcing_to_all() -> Announcing {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        announcing
    }

    #[test]
    fn nothing_is_sent_that_could_not_be_remembered() {
        let mut announcing = announcing(StandbySnapshots::default());
        announcing.announce(&set(4096));
        assert!(announcing.poll_save().is_some());
        announcing.on_save_failed();
        announcing.announce(&set(8192));
        assert_eq!(save(&mut announcing).iter().map(|told| told.2).collect::<Vec<_>>(), [8192, 8192]);
        assert!(announcing.take_snapshot_wish(0));
    }
}
