//! Writes the directory of a member that lost its disk: a Java member starts from it without replaying history.
//!
//! ```text
//! OUT/archive/archive.catalog      the log's recording 0, then the newest snapshot set's
//! OUT/archive/0-<base>.rec …       the log from the segment of the snapshot's position on
//! OUT/cluster/recording.log        the terms that the log holds, and the snapshot set
//! OUT/cluster/node-state.dat       the newest term seen, so that the member cannot vote in it twice
//! OUT/cluster/durable-position.dat so that a standby may start here too; Java passes it over
//! ```
//! No mark file: nobody has run there. Everything is on the disk before `archive` and then `cluster` get their names,
//! so an interrupted seed leaves nothing that a member would start from.
//!
//! Reads beside a running node. Where its log ends is found once, and every byte below is read after that; what a power
//! cut left unconfirmed is not handed on.

use std::path::{Path, PathBuf};

use consensus_tap::file::catalog::{self, Descriptor};
use consensus_tap::file::node_state::{self, CandidateTerm};
use consensus_tap::file::recording_log::{
    self, CONSENSUS_MODULE_ID, Entry, EntryKind, NULL_POSITION, RecordingLog, RowError, SnapshotSet,
};
use consensus_tap::file::segment::{RecordingGeometry, ScanEnd, scan};
use serde::Serialize;

use crate::advice::next_step;
use crate::inspection::recording_check::{Depth, RecordingFault, check_recording, read_segment};
use crate::inspection::snapshot_check::{SnapshotFault, read_module, read_service};
use crate::inspection::{InspectionError, NodeFiles};
use crate::store::catalog::Catalog;
use crate::store::durability::{self, DurabilityFile};
use crate::store::node_state::NodeStateFile;
use crate::store::segment::SegmentError;
use crate::store::{StoreError, SyncLevel};
use crate::sys::disk;

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct SeedReport {
    /// For which member.
    pub member_id: i32,
    /// Where.
    pub out: PathBuf,
    /// Where the snapshot set was taken; `None` where the whole log is there instead.
    pub snapshot_position: Option<i64>,
    /// Where the log begins.
    pub log_start_position: i64,
    /// Where it ends: from here on the member fetches it from the leader.
    pub log_end_position: i64,
    /// Newest term seen, in which the member cannot vote again.
    pub candidate_term_id: i64,
    /// Snapshot sets that were newer, and why they were not used.
    pub faulty_snapshots: Vec<String>,
}

/// Why no directory was written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// What is to be read.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// What is to be written, or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A segment file.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The log's recording.
    #[error("the log, recording {recording_id}: {source}")]
    Log {
        /// Which recording.
        recording_id: i64,
        /// What is wrong.
        source: RecordingFault,
    },
    /// A row cannot be written.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The system refused.
    #[error("{}: cannot {action}: {source}; {}", path.display(), next_step(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is something already.
    #[error("{}: is not empty; name a new directory, or empty this one first", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Two members would share a directory.
    #[error("{}: is named twice; each member has a directory of its own", path.display())]
    SameDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A member and the standby would bear one id.
    #[error("--member-id {0} is the standby's own; name the id of the member that lost its disk")]
    OwnMemberId(i32),
    /// Not an id.
    #[error("--member-id {0} is none: ids count from 0")]
    BadMemberId(i32),
    /// There is no log yet.
    #[error("{}: no log is recorded here yet; let the node follow its cluster first", path.display())]
    NoLog {
        /// recording.log.
        path: PathBuf,
    },
    /// Nothing to start from.
    #[error(
        "the log begins at position {start_position} and no valid snapshot set covers what came before{}; take a \
         snapshot first",
        faults.iter().map(|fault| format!("; {fault}")).collect::<String>()
    )]
    NoSnapshot {
        /// Where the log begins.
        start_position: i64,
        /// Why the sets that are there cannot be used.
        faults: Vec<String>,
    },
}

/// Writes `out` for a member, from the files of a node. `services` is how many services the cluster has; by default as
/// many as the newest snapshot.
///
/// # Errors
/// [`SeedError`]; `out` then holds nothing that a member would start from.
pub fn seed(
    files: &NodeFiles,
    out: &Path,
    member_id: i32,
    services: Option<usize>,
    now_ms: i64,
) -> Result<SeedReport, SeedError> {
    check_member_id(files, member_id)?;
    Source::open(files, services, now_ms)?.write(out, member_id, now_ms)
}

/// Writes a directory for each of `members`, a fresh cluster that takes over from the node in `files`. All of them hold
/// the same log to its end, so whichever is elected loses nothing. The node may bear the id of one of them, for it
/// does not go on.
///
/// # Errors
/// [`SeedError`]; then none of the directories holds anything that a member would start from.
pub fn hand_over(
    files: &NodeFiles,
    members: &[(i32, PathBuf)],
    services: Option<usize>,
    now_ms: i64,
) -> Result<Vec<SeedReport>, SeedError> {
    check_members(members)?;
    let source = Source::open(files, services, now_ms)?;
    let mut reports = Vec::new();
    for (member_id, out) in members {
        match source.write(out, *member_id, now_ms) {
            Ok(report) => reports.push(report),
            Err(error) => {
                // A cluster of fewer members than were asked for is none that an operator wants to find.
                for SeedReport { out, .. } in &reports {
                    discard(out)?;
                }
                return Err(error);
            }
        }
    }
    Ok(reports)
}

/// Whether [`hand_over`] can write for these members: ids and directories, which are made. A node that leads is asked
/// to end only after that.
///
/// # Errors
/// [`SeedError`]; then each directory is as it was, or new and empty.
pub fn check_members(members: &[(i32, PathBuf)]) -> Result<(), SeedError> {
    for (member_id, out) in members {
        if *member_id < 0 {
            return Err(SeedError::BadMemberId(*member_id));
        }
        is_new(out)?;
    }
    let mut found = Vec::with_capacity(members.len());
    for (_, out) in members {
        prepare(out)?;
        let path = out.canonicalize().map_err(io(out, "find it"))?;
        if found.contains(&path) {
            return Err(SeedError::SameDirectory { path: out.clone() });
        }
        found.push(path);
    }
    Ok(())
}

/// Removes what was written, so that the directory is empty again.
fn discard(out: &Path) -> Result<(), SeedError> {
    for name in ["cluster", "archive"] {
        let (path, going) = (out.join(name), out.join(format!("{name}.going")));
        // Under that name nobody starts from it, however far the removal gets.
        disk::rename(&path, &going).map_err(io(&path, "rename it"))?;
        std::fs::remove_dir_all(&going).map_err(io(&going, "remove it"))?;
    }
    Ok(())
}

impl Source<'_> {
    fn write(&self, out: &Path, member_id: i32, now_ms: i64) -> Result<SeedReport, SeedError> {
        prepare(out)?;
        let (archive, cluster) = (out.join("archive.seeding"), out.join("cluster.seeding"));
        create_directory(&archive)?;
        create_directory(&cluster)?;
        self.write_archive(&archive, now_ms)?;
        self.write_cluster(&cluster, now_ms)?;
        for (from, name) in [(archive, "archive"), (cluster, "cluster")] {
            disk::sync_directory(&from).map_err(io(&from, "sync its names"))?;
            disk::rename(&from, &out.join(name)).map_err(io(&from, "rename it"))?;
        }
        disk::sync_directory(out).map_err(io(out, "sync its names"))?;
        Ok(SeedReport {
            member_id,
            out: out.to_owned(),
            snapshot_position: self.set.as_ref().map(|set| set.log_position),
            log_start_position: self.start_position,
            log_end_position: self.end_position,
            candidate_term_id: self.candidate_term_id,
            faulty_snapshots: self.faults.clone(),
        })
    }
}

/// What is handed on.
struct Source<'a> {
    files: &'a NodeFiles,
    catalog: catalog::Catalog,
    log: Descriptor,
    terms: Vec<Entry>,
    set: Option<SnapshotSet>,
    start_position: i64,
    end_position: i64,
    candidate_term_id: i64,
    faults: Vec<String>,
}

impl<'a> Source<'a> {
    fn open(files: &'a NodeFiles, services: Option<usize>, now_ms: i64) -> Result<Self, SeedError> {
        // In this order every term that is named has begun below the end that is found.
        let (recording_log, _) = files.recording_log()?;
        let catalog = files.catalog()?;
        let no_log = || SeedError::NoLog { path: files.recording_log_path() };
        let recording_id = recording_log.log_recording_id().ok_or_else(no_log)?;
        let log = files.record(&catalog, recording_id)?.descriptor.clone();
        let end_position = log_end(files, &catalog, recording_id, now_ms)?;
        let sets = services
            .map_or_else(|| recording_log.snapshot_sets_as_found(), |n| recording_log.snapshot_sets(n));
        let (set, faults) = newest_sound(files, &catalog, sets, log.start_position, end_position);
        if set.is_none() && log.start_position > 0 {
            return Err(SeedError::NoSnapshot { start_position: log.start_position, faults });
        }
        let geometry = geometry(&log)?;
        let start_position = match &set {
            Some(set) => geometry.segment_base(set.log_position).max(log.start_position),
            None => log.start_position,
        };
        let candidate = files.candidate_term()?.map_or(-1, |term| term.candidate_term_id);
        let newest_term = recording_log.last_term().map_or(-1, |row| row.entry.leadership_term_id);
        let terms = terms(&recording_log, set.as_ref(), end_position);
        let candidate_term_id = candidate.max(newest_term);
        Ok(Self { files, catalog, log, terms, set, start_position, end_position, candidate_term_id, faults })
    }

    fn write_archive(&self, archive: &Path, now_ms: i64) -> Result<(), SeedError> {
        let log = Descriptor {
            recording_id: LOG_RECORDING_ID,
            start_position: self.start_position,
            stop_position: self.end_position,
            stop_timestamp: now_ms,
            ..self.log.clone()
        };
        let mut descriptors = vec![(self.log.clone(), log)];
        for (recording_id, new) in self.set.iter().flat_map(recordings_of).zip(LOG_RECORDING_ID + 1..) {
            let old = self.files.record(&self.catalog, recording_id)?.descriptor.clone();
            let new = Descriptor { recording_id: new, ..old.clone() };
            descriptors.push((old, new));
        }
        let path = archive.join(catalog::FILE_NAME);
        let mut written = Catalog::open_or_create(&path, SyncLevel::None)?;
        for (old, new) in descriptors {
            copy(&self.files.archive(), &geometry(&old)?, archive, &geometry(&new)?, new.stop_position)?;
            let expected = new.recording_id;
            let recording_id = written.add(new)?;
            assert_eq!(recording_id, expected, "a new catalog gives ids from 0 on");
        }
        Ok(written.sync(SyncLevel::All)?)
    }

    fn write_cluster(&self, cluster: &Path, now_ms: i64) -> Result<(), SeedError> {
        let mut rows = Vec::new();
        for term in &self.terms {
            rows.extend(term.encode()?);
        }
        if let Some(set) = &self.set {
            let ids: Vec<i64> = recordings_of(set).zip(LOG_RECORDING_ID + 1..).map(|(_, new)| new).collect();
            let set = SnapshotSet { consensus_module: ids[0], services: ids[1..].to_vec(), ..set.clone() };
            for entry in set.entries() {
                rows.extend(entry.encode()?);
            }
        }
        let path = cluster.join(recording_log::FILE_NAME);
        let file = disk::create(&path).map_err(io(&path, "create it"))?;
        disk::write(&file, &path, 0, &rows)
            .and_then(|()| disk::sync_all(&file, &path))
            .map_err(io(&path, "write it"))?;

        // Java passes this over; a standby that starts here may trust all of it.
        let path = cluster.join(durability::FILE_NAME);
        DurabilityFile::open_or_create(&path)?.mark(LOG_RECORDING_ID, self.end_position, false)?;

        let mut state = NodeStateFile::open_or_create(&cluster.join(node_state::FILE_NAME))?;
        let term = CandidateTerm {
            candidate_term_id: self.candidate_term_id,
            timestamp: now_ms,
            log_position: self.end_position,
        };
        Ok(state.update(term, SyncLevel::All)?)
    }
}

/// Recording of the log in a directory that is written here.
const LOG_RECORDING_ID: i64 = 0;

fn check_member_id(files: &NodeFiles, member_id: i32) -> Result<(), SeedError> {
    if member_id < 0 {
        return Err(SeedError::BadMemberId(member_id));
    }
    match files.cluster_mark()? {
        Some((mark, _)) if mark.member_id == member_id => Err(SeedError::OwnMemberId(member_id)),
        _ => Ok(()),
    }
}

/// Up to where the log may be handed on.
fn log_end(
    files: &NodeFiles,
    catalog: &catalog::Catalog,
    recording_id: i64,
    now_ms: i64,
) -> Result<i64, SeedError> {
    let record = files.record(catalog, recording_id)?;
    let is_in_use = files.is_in_use(now_ms)?;
    let check =
        check_recording(&files.archive(), &files.catalog_path(), record, Depth::LastSegment, is_in_use);
    // What troubles a Java archive at the end of our files is not handed on: the copy has an end of its own.
    let data_end = match check.data_end {
        Some(data_end) if check.faults.iter().all(RecordingFault::is_repairable) => data_end,
        _ => return Err(SeedError::Log { recording_id, source: check.into_first_fault() }),
    };
    let durable = files.durable_mark()?.filter(|mark| mark.recording_id == recording_id);
    Ok(match durable {
        // After a power cut nobody has vouched for what lies behind that position yet.
        Some(mark) if !mark.is_of_this_boot => {
            mark.position.clamp(record.descriptor.start_position, data_end)
        }
        _ => data_end,
    })
}

/// The newest set that the log covers and that reads well to its end, and what is wrong with the newer ones.
fn newest_sound(
    files: &NodeFiles,
    catalog: &catalog::Catalog,
    sets: Vec<SnapshotSet>,
    start_position: i64,
    end_position: i64,
) -> (Option<SnapshotSet>, Vec<String>) {
    let mut faults = Vec::new();
    for set in sets {
        let at = set.log_position;
        if !(start_position..=end_position).contains(&at) {
            faults.push(format!("snapshot at {at}: the log runs from {start_position} to {end_position}"));
            continue;
        }
        match check_set(files, catalog, &set) {
            Ok(()) => return (Some(set), faults),
            Err(fault) => faults.push(format!("snapshot at {at}: {fault}")),
        }
    }
    (None, faults)
}

fn check_set(files: &NodeFiles, catalog: &catalog::Catalog, set: &SnapshotSet) -> Result<(), SnapshotFault> {
    read_module(files, catalog, set)?;
    (0..set.services.len())
        .try_for_each(|service_id| read_service(files, catalog, set, service_id).map(|_| ()))
}

/// The TERM rows of the log up to its end, for the new recording.
fn terms(recording_log: &RecordingLog, set: Option<&SnapshotSet>, end_position: i64) -> Vec<Entry> {
    let has_begun = |entry: &Entry| entry.term_base_log_position < end_position;
    let mut terms: Vec<Entry> = recording_log
        .rows()
        .iter()
        .map(|row| &row.entry)
        .filter(|entry| entry.kind == EntryKind::Term && entry.valid && has_begun(entry))
        .map(|entry| Entry {
            recording_id: LOG_RECORDING_ID,
            // Where it ended is told by a term that the copy may not hold any more.
            log_position: if entry.log_position < end_position { entry.log_position } else { NULL_POSITION },
            ..entry.clone()
        })
        .collect();
    if let Some(set) = set
        && !terms.iter().any(|term| term.leadership_term_id == set.leadership_term_id)
    {
        let entry = Entry {
            recording_id: LOG_RECORDING_ID,
            leadership_term_id: set.leadership_term_id,
            term_base_log_position: set.term_base_log_position,
            log_position: NULL_POSITION,
            timestamp: set.timestamp,
            service_id: CONSENSUS_MODULE_ID,
            kind: EntryKind::Term,
            valid: true,
        };
        let at = terms.partition_point(|term| term.leadership_term_id < set.leadership_term_id);
        terms.insert(at, entry);
    }
    terms
}

/// Consensus module first, then the services upwards.
fn recordings_of(set: &SnapshotSet) -> impl Iterator<Item = i64> {
    [set.consensus_module].into_iter().chain(set.services.iter().copied())
}

/// Copies a recording from the new one's start to `end`, checking every frame on the way. As in an archive, an empty
/// segment follows a full last one.
fn copy(
    from_archive: &Path,
    from: &RecordingGeometry,
    to_archive: &Path,
    to: &RecordingGeometry,
    end: i64,
) -> Result<(), SeedError> {
    let recording_id = from.recording_id();
    let mut base = from.segment_base(to.start_position());
    while base <= end {
        let path = to_archive.join(to.segment_name(base));
        let length = (end - base).min(i64::from(from.segment_length()));
        let length = usize::try_from(length).expect("base lies at or below the end");
        let file = disk::create(&path).map_err(io(&path, "create it"))?;
        if length > 0 {
            let segment = read_segment(from_archive, from, base)
                .map_err(|source| SeedError::Log { recording_id, source })?;
            let bytes = &segment.bytes[..length];
            let found = scan(from, base, bytes, from.first_frame_offset(base), |_| {});
            if found.end != ScanEnd::Full {
                let (offset, path) = (found.stop_offset, from_archive.join(from.segment_name(base)));
                let position = base + offset as i64;
                return Err(SegmentError::Damaged { path, offset, position }.into());
            }
            // Below the new start position, zeros, as in the first segment of any recording.
            let first = to.first_frame_offset(base).min(length);
            let bytes = [&vec![0; first], &bytes[first..]].concat();
            disk::write(&file, &path, 0, &bytes).map_err(io(&path, "write it"))?;
        }
        disk::set_length(&file, &path, from.segment_length() as u64)
            .and_then(|()| disk::sync_all(&file, &path))
            .map_err(io(&path, "write it"))?;
        base += i64::from(from.segment_length());
    }
    Ok(())
}

fn prepare(out: &Path) -> Result<(), SeedError> {
    if is_new(out)? { create_directory(out) } else { Ok(()) }
}

/// Whether there is nothing of that name yet: an empty directory is as good, anything else is an error.
fn is_new(out: &Path) -> Result<bool, SeedError> {
    match std::fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(false),
            Some(_) => Err(SeedError::NotEmpty { path: out.to_owned() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io(out, "list it")(error)),
    }
}

fn create_directory(path: &Path) -> Result<(), SeedError> {
    disk::create_directory(path).map_err(io(path, "create the directory"))
}

fn geometry(descriptor: &Descriptor) -> Result<RecordingGeometry, SeedError> {
    let recording_id = descriptor.recording_id;
    descriptor.geometry().map_err(|source| {
        let source = RecordingFault::Geometry { path: PathBuf::from(catalog::FILE_NAME), offset: 0, source };
        SeedError::Log { recording_id, source }
    })
}

fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> SeedError {
    let path = path.to_owned();
    move |source| SeedError::Io { path, action, source }
}
