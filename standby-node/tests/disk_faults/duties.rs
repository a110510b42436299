//! What a standby does beside following: snapshots of its own, purges, announcements.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use consensus_tap::file::retention::{Pins, RetentionPolicy};
use consensus_tap::wire::TermLength;
use standby_node::store::snapshot_recording::{ReservedRecording, SnapshotRecording, WrittenRecording};
use standby_node::store::standby_snapshots::{MemberRecord, RecordedOutcome, StandbySnapshots, replace_file};

use crate::cluster::{Cluster, SERVICE_COUNT};
use crate::node::{Failure, Node, Promises, words};

/// Room for a snapshot that grows by more than one step.
const TERM_LENGTH: i32 = 256 * 1024;

/// What the file of announcements may say.
pub(crate) struct Announcements {
    /// What was saved last, and what could not be saved for certain since.
    possible: Vec<StandbySnapshots>,
    saved_count: i64,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { possible: vec![StandbySnapshots::default()], saved_count: 0 }
    }
}

impl std::fmt::Debug for Announcements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let positions =
            self.possible.iter().map(|saved| saved.members.first().map(|first| first.log_position));
        f.debug_list().entries(positions).finish()
    }
}

impl Announcements {
    /// What a start finds is what was saved, whole.
    pub(crate) fn check(&self, path: &Path) {
        let found = StandbySnapshots::read(path).expect("whatever happened, the file can be read");
        assert!(self.possible.contains(&found), "{found:?} was not saved last");
    }
}

impl Node<'_> {
    /// Takes a snapshot of its own where the module stands, unless there is one.
    pub(crate) fn take_own_snapshot_once(&mut self, promises: &mut Promises) -> Result<(), Failure> {
        let position = self.module_position;
        if self.log.is_none() || promises.sets.contains_key(&position) {
            return Ok(());
        }
        let term_length = TermLength::new(TERM_LENGTH).expect("a power of two");
        let places = self.history.reserve_snapshots(SERVICE_COUNT, term_length).map_err(words)?;
        let ids: Vec<i64> = places.iter().map(ReservedRecording::recording_id).collect();
        let written = places
            .iter()
            .zip((0..SERVICE_COUNT as i32).chain([-1]))
            .map(|(place, service_id)| write_snapshot(self.cluster, place, position, service_id));
        let written: Result<Vec<WrittenRecording>, Failure> = written.collect();
        let Ok(recordings) = written.inspect_err(|_| {
            // As the snapshot agent and the conductor give it up.
            places.iter().for_each(|place| drop(place.remove_files()));
            self.history.withdraw_snapshots(None, &ids);
        }) else {
            return Err("a snapshot could not be written".to_owned());
        };
        promises.open_sets.push(position);
        let module_first: Vec<i64> =
            ids[SERVICE_COUNT..].iter().chain(&ids[..SERVICE_COUNT]).copied().collect();
        let set = self.cluster.snapshot_set(position, &module_first);
        self.enter(&recordings, &set).inspect_err(|_| self.history.withdraw_snapshots(Some(&set), &ids))?;
        promises.open_sets.retain(|open| *open != position);
        promises.sets.insert(position, set);
        Ok(())
    }

    /// Purges what is not among the newest sets, as the conductor does.
    pub(crate) fn purge(&mut self, kept_count: usize, promises: &mut Promises) -> Result<(), Failure> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let durable_position = log.synced.syncer.durable_position();
        let newest = self.history.latest_snapshot_set(SERVICE_COUNT);
        if newest.is_some_and(|set| set.log_position > durable_position) {
            return Ok(());
        }
        let policy = RetentionPolicy::KeepSnapshots(kept_count);
        let pins = Pins { log_positions: vec![self.module_position], set_positions: Vec::new() };
        let going = self.history.plan_purge(policy, &pins, SERVICE_COUNT, &log.place, durable_position);
        if going.is_empty(&log.place) {
            return self.history.unnamed_files().delete().map(drop).map_err(words);
        }
        log.writer.purged_below(going.purge.log_start_position);
        let gone: BTreeSet<i64> = going.purge.sets.iter().map(|set| set.log_position).collect();
        promises.open_sets.extend(&gone);
        self.history.withdraw_sets(&going).map_err(words)?.sync().map_err(words)?;
        // From here on they are gone for good.
        promises.open_sets.retain(|position| !gone.contains(position));
        promises.sets.retain(|position, _| !gone.contains(position));
        let disowned = self.history.disown(&going, &mut log.place).map_err(words)?;
        let files = self.history.unnamed_files();
        disowned.sync().map_err(words)?;
        promises.log_start = log.place.start_position();
        files.delete().map(drop).map_err(words)
    }

    /// Remembers that members are about to be told of something.
    pub(crate) fn announce(&mut self, promises: &mut Promises) -> Result<(), Failure> {
        let known = &mut promises.announcements;
        known.saved_count += 1;
        let records = StandbySnapshots { members: (0..3).map(|id| record(id, known.saved_count)).collect() };
        known.possible.push(records.clone());
        replace_file(&self.announcements_path(), &records.to_bytes()).map_err(words)?;
        known.possible = vec![records];
        Ok(())
    }

    pub(crate) fn announcements_path(&self) -> PathBuf {
        StandbySnapshots::path_in(&self.directory.cluster())
    }
}

fn record(member_id: i32, log_position: i64) -> MemberRecord {
    MemberRecord {
        member_id,
        endpoint: format!("member-{member_id}:9"),
        log_position,
        outcome: RecordedOutcome::Unknown,
        // More than a page of a disk in all.
        detail: "it was about to be sent".repeat(10),
        time_ms: 1,
        taken_log_position: None,
        unknown_log_position: None,
    }
}

fn write_snapshot(
    cluster: &Cluster,
    place: &ReservedRecording,
    position: i64,
    service_id: i32,
) -> Result<WrittenRecording, Failure> {
    let mut recording = SnapshotRecording::create(place).map_err(words)?;
    for message in cluster.snapshot_messages(position, service_id) {
        recording.append(&message).map_err(words)?;
    }
    recording.finish().map_err(words)
}

/// The messages that frames hold, one behind the other, fragments put together.
pub(crate) fn messages_of(mut frames: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(header) = frames.first_chunk::<32>() {
        let length = i32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let (flags, is_data) = (header[5], header[6] == 1);
        if is_data {
            if flags & 0x80 != 0 {
                messages.push(Vec::new());
            }
            let message: &mut Vec<u8> = messages.last_mut().expect("a message begins first");
            message.extend_from_slice(&frames[32..length]);
        }
        frames = &frames[length.next_multiple_of(32)..];
    }
    messages
}
