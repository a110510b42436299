//! What this node says of itself to those that ask it as a member: kept by the conductor, told on change only.

use std::sync::Arc;

use consensus_tap::serving::Standing;
use consensus_tap::tap::Source;

use crate::store::history::History;

/// Follows what the tap and the log say of the cluster.
#[derive(Debug)]
pub struct StandingKeeper {
    commit_position_counter_id: i32,
    /// Chosen, and not yet followed.
    chosen: Option<Box<Source>>,
    standing: Arc<Standing>,
    leader_member_id: i32,
    /// Newest term whose leader is known.
    leadership_term_id: i64,
    is_following: bool,
    is_leading: bool,
    cluster_members: String,
}

/// Nobody leads, or nobody knows.
const NULL_MEMBER_ID: i32 = -1;

impl StandingKeeper {
    /// A node that follows nobody yet. `commit_position_counter_id` is its own counter of type 203.
    pub fn new(commit_position_counter_id: i32) -> Self {
        Self {
            commit_position_counter_id,
            chosen: None,
            standing: Arc::default(),
            leader_member_id: NULL_MEMBER_ID,
            leadership_term_id: -1,
            is_following: false,
            is_leading: false,
            cluster_members: String::new(),
        }
    }

    /// A source was chosen; whether it serves us is to be seen.
    pub fn on_source_chosen(&mut self, source: Box<Source>) {
        self.chosen = Some(source);
    }

    /// The chosen source sends the log.
    pub fn on_following(&mut self) {
        if let Some(source) = self.chosen.take() {
            self.on_source_changed(&source);
        }
    }

    /// The source that is followed says something new.
    pub fn on_source_changed(&mut self, source: &Source) {
        self.is_following = true;
        self.leader_member_id = source.leader_member_id;
        self.leadership_term_id = source.leadership_term_id;
        self.cluster_members.clone_from(&source.cluster_members);
    }

    /// Nobody sends the log any more: who leads is not known.
    pub fn on_source_lost(&mut self) {
        self.chosen = None;
        self.is_following = false;
        self.leader_member_id = NULL_MEMBER_ID;
    }

    /// The log says that a term began. While we catch up it tells of leaders that are long gone.
    pub fn on_leadership_term(&mut self, leadership_term_id: i64, leader_member_id: i32) {
        if self.is_following && leadership_term_id > self.leadership_term_id {
            self.leadership_term_id = leadership_term_id;
            self.leader_member_id = leader_member_id;
        }
    }

    /// This node leads: it is the cluster's only member, with `member_entry`.
    pub fn on_leading(&mut self, member_id: i32, leadership_term_id: i64, member_entry: String) {
        self.chosen = None;
        self.is_following = false;
        self.is_leading = true;
        self.leader_member_id = member_id;
        self.leadership_term_id = leadership_term_id;
        self.cluster_members = member_entry;
    }

    /// The member list as the source that is followed sent it last.
    pub fn cluster_members(&self) -> &str {
        &self.cluster_members
    }

    /// The standing, if it is another than the last that was taken.
    pub fn take_changed(&mut self, history: &History) -> Option<Arc<Standing>> {
        let standing = Standing {
            last_term: history.last_term(),
            commit_position_counter_id: self.commit_position_counter_id,
            leader_member_id: self.leader_member_id,
            is_following: self.is_following,
            is_leading: self.is_leading,
            cluster_members: self.cluster_members.clone(),
            snapshot_sets: history.snapshot_sets_as_found(),
        };
        if *self.standing == standing {
            return None;
        }
        self.standing = Arc::new(standing);
        Some(Arc::clone(&self.standing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SyncLevel;
    use crate::store::directory::NodeDirectory;

    fn source(member_id: i32, leader_member_id: i32, leadership_term_id: i64) -> Box<Source> {
        Box::new(Source {
            member_id,
            leader_member_id,
            log_recording_id: 0,
            commit_position_counter_id: 7,
            leadership_term_id,
            term_base_log_position: 0,
            archive_endpoint: "a:1".parse().unwrap(),
            archive_response_endpoint: None,
            consensus_endpoints: Vec::new(),
            snapshots: Vec::new(),
            cluster_members: format!("{member_id},i,c,l,u,a"),
        })
    }

    #[test]
    fn a_source_counts_once_it_serves_us_and_its_leader_until_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(dir.path(), 1).unwrap();
        let history = History::open(&directory, SyncLevel::None).unwrap();
        let mut keeper = StandingKeeper::new(61);
        let first = keeper.take_changed(&history).expect("the first is news");
        assert_eq!((first.leader_member_id, first.commit_position_counter_id), (-1, 61));

        keeper.on_source_chosen(source(2, 0, 5));
        assert!(keeper.take_changed(&history).is_none(), "it may not serve us");
        keeper.on_following();
        let following = keeper.take_changed(&history).expect("news");
        assert!(following.is_following);
        assert_eq!((following.leader_member_id, following.cluster_members.as_str()), (0, "2,i,c,l,u,a"));

        keeper.on_leadership_term(4, 1);
        assert!(keeper.take_changed(&history).is_none(), "a leader of the past, met while catching up");
        keeper.on_leadership_term(6, 1);
        assert_eq!(keeper.take_changed(&history).expect("news").leader_member_id, 1);

        keeper.on_source_lost();
        let lost = keeper.take_changed(&history).expect("news");
        assert_eq!((lost.leader_member_id, lost.is_following), (-1, false));
        assert_eq!(lost.cluster_members, "2,i,c,l,u,a", "the members are still known");
        keeper.on_leadership_term(7, 2);
        assert!(keeper.take_changed(&history).is_none(), "what is read now was there before");
    }
}
