use super::log::SimLog;
use super::member::Member;
use super::rng::{Rng, fill};
use consensus_tap::codec::consensus::SnapshotEntry;
use std::collections::HashMap;

const MS: u64 = 1_000_000;
const WORK_INTERVAL_NS: u64 = 10 * MS;
const LEADER_TIMEOUT_NS: u64 = 500 * MS;

/// Members with a consensus of their own: who leads, what is appended, what of it is committed.
///
/// It is a model of Raft's outcome, not of its messages: a leader needs a majority that takes part, has everything
/// committed, and commits in its own term only.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) members_text: String,
    /// What was ever committed: one history, and another for each time that the cluster was set back.
    pub(crate) histories: Vec<SimLog>,
    pub(crate) leader: Option<usize>,
    /// What the leader appends in parts of a thousand of its turns, and at most how much.
    pub(crate) appends_per_mille: u64,
    pub(crate) log_length_max: i64,
    rng: Rng,
    term_id: i64,
    pub(crate) service_count: i32,
    /// Position of the last snapshots.
    snapshots_end: i64,
    /// Every snapshot that was ever taken, by recording id.
    pub(crate) snapshots_taken: HashMap<i64, SimLog>,
    work_due_ns: u64,
    leader_lost_ns: Option<u64>,
    election_ends_ns: Option<u64>,
    next_recording_id: i64,
    pub(crate) elections: u64,
    pub(crate) truncations: u64,
}

impl Cluster {
    pub(crate) fn new(mut rng: Rng, member_count: usize, service_count: i32) -> Self {
        let term_length = rng.pick(&[64 * 1024, 64 * 1024, 128 * 1024]);
        let members: Vec<Member> = (0..member_count).map(|id| Member::new(id as i32, term_length)).collect();
        let describe = |id| format!("{id},m{id}:1,m{id}:2,m{id}:3,m{id}:4,m{id}:5");
        let members_text: Vec<String> = (0..member_count).map(describe).collect();
        let mut cluster = Self {
            members,
            members_text: members_text.join("|"),
            histories: vec![SimLog::new(100, term_length)],
            leader: None,
            appends_per_mille: 300,
            log_length_max: 600_000,
            rng,
            term_id: -1,
            service_count,
            snapshots_end: -1,
            snapshots_taken: HashMap::new(),
            work_due_ns: 0,
            leader_lost_ns: None,
            election_ends_ns: None,
            next_recording_id: 10,
            elections: 0,
            truncations: 0,
        };
        for index in 0..member_count {
            cluster.start(index);
        }
        cluster
    }

    pub(crate) fn committed(&self) -> &SimLog {
        self.histories.last().expect("there is a history from the start")
    }

    pub(crate) fn start(&mut self, index: usize) {
        self.members[index].is_paused = false;
        self.members[index].start();
        self.members[index].start_module();
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.members[index].node = None;
        self.leader = self.leader.filter(|leader| *leader != index);
    }

    /// Deletes what a dead member had on its disk. It must not be missed by a majority.
    pub(crate) fn wipe(&mut self, index: usize) {
        let term_length = self.members[index].log.terms.term_length.bytes();
        let member = &mut self.members[index];
        member.log = SimLog::new(100, term_length);
        member.snapshots.clear();
        member.snapshot_recordings.clear();
        member.is_recovering = true;
    }

    /// Starts the cluster anew from an older state, or from none: what was committed beyond is gone for ever.
    pub(crate) fn set_back(&mut self, position: i64) {
        let position = self.committed().frame_end_at_or_before(position);
        let mut history = self.committed().clone();
        history.truncate(position);
        for index in 0..self.members.len() {
            self.kill(index);
            let member = &mut self.members[index];
            member.log = history.clone();
            member.snapshots.retain(|row| row.log_position <= position);
            member.is_isolated = false;
            member.is_recovering = false;
            self.start(index);
        }
        self.leader = None;
        self.histories.push(history);
    }

    /// All members that take part record snapshots at the end of what is committed.
    pub(crate) fn take_snapshots(&mut self) {
        let log_position = self.committed().end();
        let Some(leadership) =
            self.committed().leaderships.iter().rfind(|leadership| leadership.base < log_position).copied()
        else {
            return;
        };
        if self.snapshots_end == log_position {
            // Two snapshots at one position there cannot be: the first stands in the log.
            return;
        }
        self.snapshots_end = log_position;
        let services: Vec<i32> = (-1..self.service_count).rev().collect();
        for service_id in services {
            self.next_recording_id += 1;
            let recording_id = self.next_recording_id;
            let mut recording = SimLog::new(if service_id < 0 { 107 } else { 106 }, 64 * 1024);
            for part in 0..self.rng.between(1, 60) {
                recording.append(9, &fill(part + recording_id as u64, 1000));
            }
            self.snapshots_taken.insert(recording_id, recording.clone());
            let row = SnapshotEntry {
                recording_id,
                leadership_term_id: leadership.term_id,
                term_base_log_position: leadership.base,
                log_position,
                timestamp: 0,
                service_id,
            };
            for member in self.members.iter_mut().filter(|member| member.log.end() >= log_position) {
                if let Some(node) = &mut member.node {
                    node.archive.snapshots.insert(recording_id, recording.clone());
                    member.snapshot_recordings.insert(recording_id, recording.clone());
                    // A member names its newest set only.
                    member.snapshots.retain(|row| row.log_position == log_position);
                    member.snapshots.push(row);
                }
            }
        }
    }

    /// A member's snapshot recordings are deleted, whoever reads them; with `knows_it` it names them no more.
    pub(crate) fn lose_snapshots(&mut self, index: usize, knows_it: bool, now_ns: u64) {
        let member = &mut self.members[index];
        member.snapshot_recordings.clear();
        if knows_it {
            member.snapshots.clear();
        }
        if let Some(node) = &mut member.node {
            node.archive.delete_snapshots(&mut node.endpoint, now_ns);
        }
    }

    /// Deletes the log before a member's newest snapshot, as an operator does.
    pub(crate) fn purge(&mut self, index: usize) {
        let member = &mut self.members[index];
        let newest = member.snapshots.iter().map(|row| row.log_position).max();
        if let Some(position) = newest {
            member.log.purge(position);
        }
    }

    pub(crate) fn do_work(&mut self, now_ns: u64) {
        for member in &mut self.members {
            member.do_work(&self.members_text, now_ns);
        }
        if now_ns < self.work_due_ns {
            return;
        }
        self.work_due_ns = now_ns + WORK_INTERVAL_NS;
        self.elect(now_ns);
        self.append(now_ns);
        self.replicate(now_ns);
    }

    fn elect(&mut self, now_ns: u64) {
        for member in self.members.iter_mut().filter(|member| member.is_isolated) {
            let id = member.id;
            if let Some(module) = member.module_mut().filter(|module| module.leader_id != id) {
                module.is_in_election = true;
            }
        }
        let takes_part: Vec<usize> = (0..self.members.len())
            .filter(|index| self.members[*index].takes_part() && !self.members[*index].is_recovering)
            .collect();
        let has_majority = 2 * takes_part.len() > self.members.len();
        if let Some(ends_ns) = self.election_ends_ns {
            if now_ns >= ends_ns && has_majority {
                self.election_ends_ns = None;
                self.begin_reign(&takes_part, now_ns);
            }
            return;
        }
        let has_leader = self.leader.is_some_and(|leader| {
            takes_part.contains(&leader) && !self.members[leader].module().is_some_and(|m| m.is_in_election)
        });
        if has_leader && has_majority {
            self.leader_lost_ns = None;
            return;
        }
        let lost_ns = *self.leader_lost_ns.get_or_insert(now_ns);
        if now_ns >= lost_ns + LEADER_TIMEOUT_NS && has_majority {
            self.leader_lost_ns = None;
            self.leader = None;
            self.elections += 1;
            self.election_ends_ns = Some(now_ns + self.rng.between(50, 1_500) * MS);
            for index in takes_part {
                if let Some(module) = self.members[index].module_mut() {
                    module.is_in_election = true;
                    module.is_in_snapshot = false;
                }
            }
        }
    }

    fn begin_reign(&mut self, takes_part: &[usize], now_ns: u64) {
        let best = takes_part
            .iter()
            .copied()
            .max_by_key(|index| {
                let log = &self.members[*index].log;
                (log.leaderships.last().map_or(-1, |leadership| leadership.term_id), log.end())
            })
            .expect("a majority is not empty");
        let committed_end = self.committed().end() as usize;
        let log = &self.members[best].log;
        assert!(
            log.bytes.get(..committed_end) == Some(&self.committed().bytes[..]),
            "the model lost a commit: {best} of {takes_part:?}"
        );
        self.term_id += self.rng.between(1, 3) as i64;
        let (term_id, leader_id) = (self.term_id, best as i32);
        self.members[best].log.begin_term(term_id, leader_id, now_ns);
        self.leader = Some(best);
        for index in takes_part {
            let module = self.members[*index].module_mut().expect("it takes part");
            module.is_in_election = false;
            module.leader_id = leader_id;
        }
    }

    /// Whoever believes to lead appends: the leader, and one that was cut off from the others.
    fn append(&mut self, now_ns: u64) {
        for index in 0..self.members.len() {
            let appends = self.rng.chance(self.appends_per_mille);
            let member = &mut self.members[index];
            let believes = member
                .module()
                .is_some_and(|m| m.leader_id == index as i32 && !m.is_in_election && !m.is_in_snapshot);
            if !believes || member.is_paused || !appends || member.log.end() > self.log_length_max {
                continue;
            }
            for _ in 0..self.rng.between(1, 4) {
                let length = self.rng.pick(&[0, 40, 300, 1_300, 1_344, 6_000]);
                let seed = self.rng.next();
                member.log.append_session_message(now_ns, &fill(seed, length));
            }
        }
    }

    fn replicate(&mut self, now_ns: u64) {
        let leads = |leader: &usize| {
            let member = &self.members[*leader];
            member.takes_part() && member.module().is_some_and(|module| !module.is_in_election)
        };
        let Some(leader) = self.leader.filter(leads) else { return };
        let mut leader_log = std::mem::replace(&mut self.members[leader].log, SimLog::new(100, 64 * 1024));
        for index in (0..self.members.len()).filter(|index| *index != leader) {
            let member = &mut self.members[index];
            if !member.takes_part() {
                continue;
            }
            let common = member.log.common_end(&leader_log);
            if common < member.log.end() {
                self.truncations += 1;
                member.truncate_log(common, now_ns);
                // As Aeron does, it begins its election again.
                member.stop_module();
                member.start_module();
            }
            if member.log.end() == 0 {
                // A log that is replicated anew begins where the leader's does.
                member.log.start = leader_log.start;
            }
            let step = self.rng.pick(&[2_000, 20_000, 60_000]);
            let limit = member.log.end() + step;
            member.log.copy_from(&leader_log, limit);
            member.is_recovering &= member.log.end() < self.histories[self.histories.len() - 1].end();
        }
        let base = leader_log.leaderships.last().map_or(0, |leadership| leadership.base);
        let mut ends: Vec<i64> = self
            .members
            .iter()
            .enumerate()
            .filter(|(index, member)| *index != leader && member.takes_part())
            .map(|(_, member)| member.log.end())
            .chain([leader_log.end()])
            .collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let majority = self.members.len() / 2;
        if let Some(end) = ends.get(majority).filter(|end| **end > base) {
            let history = self.histories.last_mut().expect("there is a history");
            history.copy_from(&leader_log, *end);
        }
        let committed_end = self.committed().end();
        std::mem::swap(&mut self.members[leader].log, &mut leader_log);
        self.members[leader].advance_commit(committed_end);
        for index in (0..self.members.len()).filter(|index| *index != leader) {
            let is_late = self.rng.chance(300);
            let member = &mut self.members[index];
            let is_slow = is_late || member.policy.is_slow;
            let caught_up = member.log.end() >= committed_end;
            let takes_part = member.takes_part();
            let Some(module) = member.module_mut().filter(|_| takes_part) else { continue };
            if module.is_in_election && caught_up && self.election_ends_ns.is_none() {
                module.is_in_election = false;
                module.leader_id = leader as i32;
            }
            module.leader_id = leader as i32;
            if !is_slow && !module.is_in_snapshot && !module.is_in_election {
                member.advance_commit(committed_end);
            }
        }
    }
}
