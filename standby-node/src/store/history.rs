//! What this node has of the cluster: one recording of the log, snapshot sets, and the recording log that ties
//! them together.
//!
//! Order of writes: a snapshot counts once its recording is durable, then in the catalog, then in recording.log; a
//! log counts once its recording is in the catalog and a TERM row names it. A crash between two steps leaves
//! something that nobody finds, never something half-made that somebody does.

mod error;
mod log;
mod place;
mod purging;
mod snapshots;
#[cfg(test)]
mod tests;

pub use self::error::HistoryError;
pub use self::log::{LogFrames, OpenedLog, PlannedLog};
pub use self::place::RecordingPlace;
pub use self::purging::Going;
pub use self::snapshots::PlannedSnapshot;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use consensus_tap::archive::Recording;
use consensus_tap::codec::log::NewLeadershipTermEvent;
use consensus_tap::file::catalog::{Descriptor, NULL_POSITION, NULL_TIMESTAMP, Record, RecordState};
use consensus_tap::file::recording_log::{Entry, EntryKind, Row, SnapshotSet};
use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::log::SnapshotKind;
use consensus_tap::serving::LastTerm;

use super::SyncLevel;
use super::catalog::Catalog;
use super::directory::NodeDirectory;
use super::durability::{BootId, DurabilityFile, Trust};
use super::purge::UnnamedFiles;
use super::recording_list::RecordingList;
use super::recording_log::RecordingLogFile;
use super::recording_syncer::RecordingSyncer;
use super::recovery::{recover, rewrite};
use super::segment::{SegmentError, highest_recording_id, remove_recording, segment_bases};
use crate::sys::clock;
use crate::sys::mapped::Published;

/// The archive and recording log of one node.
#[derive(Debug)]
pub struct History {
    archive: PathBuf,
    catalog: Catalog,
    recording_log: RecordingLogFile,
    durability_path: PathBuf,
    boot: BootId,
    level: SyncLevel,
    /// Hidden recordings that were given up, and whose files are gone.
    given_up: Vec<i64>,
}

impl History {
    /// Opens catalog and recording log, or creates them empty.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub fn open(directory: &NodeDirectory, level: SyncLevel) -> Result<Self, HistoryError> {
        Self::open_in_boot(directory, level, BootId::current())
    }

    /// As [`Self::open`], in a boot of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in_boot(
        directory: &NodeDirectory,
        level: SyncLevel,
        boot: BootId,
    ) -> Result<Self, HistoryError> {
        let archive = directory.archive();
        let mut catalog = Catalog::open_or_create(&archive.join("archive.catalog"), level)?;
        if let Some(recording_id) = highest_recording_id(&archive)? {
            catalog.pass_over_ids_below(recording_id.saturating_add(1))?;
        }
        let recording_log = RecordingLogFile::open_or_create(&directory.cluster().join("recording.log"))?;
        if recording_log.cut_length() > 0 {
            tracing::warn!(
                bytes = recording_log.cut_length(),
                "cut off a row of recording.log that a crash left unfinished"
            );
        }
        let durability_path = directory.cluster().join("durable-position.dat");
        check_start(&catalog, &durability_path)?;
        let given_up = remove_unpublished(&archive, &catalog, &recording_log);
        Ok(Self { archive, catalog, recording_log, durability_path, boot, level, given_up })
    }

    /// Opens the log to be extended from its end, wherever the last process left it; `None` if there is none.
    ///
    /// After a power cut that end is the durable position, and what lies behind it is kept as a tail: frames that
    /// a source sends again confirm it, the first that differs replaces it.
    ///
    /// # Errors
    /// [`HistoryError`] when the files are not what the catalog says; nothing is changed then.
    pub fn recover_log(&mut self) -> Result<Option<OpenedLog>, HistoryError> {
        let Some(recording_id) = self.log_recording_id()? else {
            self.withdraw_lost_sets()?;
            return Ok(None);
        };
        // In an archive that has not even the log, everything is left as it is.
        let geometry = geometry_of(self.descriptor(recording_id)?)?;
        self.complete_first_term(recording_id)?;
        self.withdraw_lost_sets()?;
        let mut durability = DurabilityFile::open_in_boot(&self.durability_path, self.boot.clone())?;
        let trust = durability.trust(recording_id, geometry.start_position());
        // An orderly end said where the frames end, and so did the last sync: a file that ends below is damaged.
        let stop_position = self.descriptor(recording_id)?.stop_position;
        let durable_position = durability.position(recording_id, geometry.start_position());
        let known_end = match trust {
            Trust::All => durable_position.max(stop_position),
            Trust::Below(_) => durable_position,
        };
        if let Trust::Below(_) = trust {
            // On the disk before the tail is touched: a sync that failed may have left a newer mark there.
            durability.distrust()?;
            durability.sync()?;
        }
        let tail_end = recover(&self.archive, &geometry, trust, known_end)?.stop_position;
        let position = match trust {
            Trust::All => tail_end,
            Trust::Below(durable_position) => durable_position,
        };
        rewrite(&self.archive, &geometry, durable_position, tail_end)?;
        if position < tail_end {
            tracing::warn!(
                position,
                tail_end,
                "the machine went down, or a sync failed: the log's tail counts only as a source confirms it"
            );
        }
        let descriptor = self.descriptor(recording_id)?;
        if descriptor.stop_position != NULL_POSITION {
            let session_id = descriptor.session_id;
            self.catalog.extend(recording_id, 0, 0, session_id)?;
        }
        // The process before may have died between a write and its sync. What names the log is on the disk before more of
        // the log is said to be.
        self.catalog.sync(SyncLevel::All)?;
        self.recording_log.sync(SyncLevel::All)?;
        self.planned_log(geometry, position, tail_end, durability).open().map(Some)
    }

    /// Enters the recording of the log, from `start_position` on, as the source's archive describes it. Its files are
    /// still to be opened.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn create_log(
        &mut self,
        start_position: i64,
        source: &Recording,
        snapshot: Option<&SnapshotSet>,
    ) -> Result<PlannedLog, HistoryError> {
        let descriptor = Descriptor { start_position, ..active_descriptor(source) };
        let recording_id = self.catalog.next_recording_id();
        let geometry = geometry_of(&Descriptor { recording_id, ..descriptor.clone() })?;
        // Left by a catalog that was lost: what nobody knows the origin of is never continued.
        if let Some(base) = segment_bases(&self.archive, &geometry)?.first() {
            let path = self.archive.join(geometry.segment_name(*base));
            return Err(SegmentError::Exists { path }.into());
        }
        // Hidden until the durable position names it: so no crash leaves a recording that counts and that nobody finds.
        // All of it is on the disk before anything is recorded, whatever the level, or a durable position would mean
        // nothing.
        let recording_id = self.catalog.add_hidden(descriptor)?;
        self.catalog.sync(SyncLevel::All)?;
        let mut durability = DurabilityFile::open_in_boot(&self.durability_path, self.boot.clone())?;
        durability.mark(recording_id, start_position, false)?;
        self.catalog.reveal(recording_id)?;
        self.catalog.sync(SyncLevel::All)?;
        if let Some(set) = snapshot {
            self.enter_first_term(recording_id, set)?;
        }
        Ok(self.planned_log(geometry, start_position, start_position, durability))
    }

    /// Takes back the entry of a log in which no term has begun and nothing was recorded: one that was to begin a cluster,
    /// or that a source was to fill. What comes next may be of another shape.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn discard_unbegun_log(&mut self, log: OpenedLog) -> Result<(), HistoryError> {
        let recording_id = log.place.recording_id();
        drop(log);
        self.catalog.withdraw(recording_id)?;
        self.catalog.sync(SyncLevel::All)?;
        Ok(remove_recording(&self.archive, recording_id)?)
    }

    /// Whether nothing was ever recorded in this log: no term has begun in it.
    pub fn is_unbegun(&self, log: &OpenedLog) -> bool {
        log.tail_end == log.place.start_position() && self.recording_log.log().last_term().is_none()
    }

    /// The log begins within the term of this set; later ones enter when their events are applied.
    fn enter_first_term(&mut self, recording_id: i64, set: &SnapshotSet) -> Result<(), HistoryError> {
        self.recording_log.append_term(
            recording_id,
            set.leadership_term_id,
            set.term_base_log_position,
            set.timestamp,
        )?;
        Ok(self.recording_log.sync(SyncLevel::All)?)
    }

    /// A node that was killed while it created the log may not have come to its first row.
    fn complete_first_term(&mut self, recording_id: i64) -> Result<(), HistoryError> {
        let start_position = self.descriptor(recording_id)?.start_position;
        if self.recording_log.log().log_recording_id().is_some() {
            return Ok(());
        }
        let sets = self.snapshot_sets_as_found();
        match sets.iter().find(|set| set.log_position == start_position) {
            Some(set) => self.enter_first_term(recording_id, set),
            None => Ok(()),
        }
    }

    fn planned_log(
        &self,
        geometry: RecordingGeometry,
        position: i64,
        tail_end: i64,
        durability: DurabilityFile,
    ) -> PlannedLog {
        PlannedLog { archive: self.archive.clone(), geometry, position, tail_end, durability }
    }

    /// How the frames of the log are made: the longest, and the session and stream that they are of.
    ///
    /// # Errors
    /// [`HistoryError::Unknown`].
    pub fn log_frames(&self, recording_id: i64) -> Result<LogFrames, HistoryError> {
        let Descriptor { mtu_length, session_id, stream_id, .. } = *self.descriptor(recording_id)?;
        Ok(LogFrames { mtu_length, session_id, stream_id })
    }

    /// Enters a term that this node is about to begin as its leader, and those skipped before it. On the disk when this
    /// returns.
    ///
    /// # Errors
    /// [`HistoryError::Store`] when the row contradicts one that is there, or cannot be written.
    pub fn begin_leadership_term(
        &mut self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        timestamp: i64,
    ) -> Result<(), HistoryError> {
        let base = term_base_log_position;
        self.enter_term(recording_id, leadership_term_id, (base, base), timestamp)?;
        Ok(self.recording_log.sync(SyncLevel::All)?)
    }

    fn enter_term(
        &mut self,
        recording_id: i64,
        leadership_term_id: i64,
        (base, event_position): (i64, i64),
        timestamp: i64,
    ) -> Result<(), HistoryError> {
        let rows = self.recording_log.cut(leadership_term_id, base, event_position)?;
        if rows > 0 {
            tracing::warn!(
                leadership_term_id,
                log_position = base,
                rows,
                "what recording.log said of the log beyond this term's begin counts no more: that was lost"
            );
        }
        Ok(self.recording_log.ensure_coherent(recording_id, leadership_term_id, base, None, timestamp)?)
    }

    /// The newest term of the log.
    pub fn last_term(&self) -> Option<LastTerm> {
        let row = self.recording_log.log().last_term()?;
        Some(LastTerm {
            log_recording_id: row.entry.recording_id,
            leadership_term_id: row.entry.leadership_term_id,
            term_base_log_position: row.entry.term_base_log_position,
        })
    }

    /// The term of the bytes that lie before `position`, as far as terms are entered.
    pub fn term_before(&self, position: i64) -> Option<i64> {
        let began_before = |row: &&Row| {
            let Entry { kind, valid, term_base_log_position, .. } = &row.entry;
            *kind == EntryKind::Term && *valid && *term_base_log_position < position
        };
        // In the order of their terms.
        let row = self.recording_log.log().rows().iter().rfind(began_before)?;
        Some(row.entry.leadership_term_id)
    }

    /// Enters a term that the log has just begun, and those skipped before it, unless they are there.
    ///
    /// # Errors
    /// [`HistoryError::Store`] when the row contradicts one that is there, or cannot be written.
    pub fn on_leadership_term(
        &mut self,
        recording_id: i64,
        event: &NewLeadershipTermEvent,
    ) -> Result<(), HistoryError> {
        let NewLeadershipTermEvent { leadership_term_id, term_base_log_position, timestamp, .. } = *event;
        let base = term_base_log_position;
        let begins = (base, event.begin_position().max(base));
        self.enter_term(recording_id, leadership_term_id, begins, timestamp)?;
        Ok(self.recording_log.sync(self.level)?)
    }

    /// Ends the log's recording in order.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn close_log(&mut self, recording_id: i64, position: i64) -> Result<(), HistoryError> {
        // The catalog never says more than the disk has: the bytes first, then where they end.
        let geometry = geometry_of(self.descriptor(recording_id)?)?;
        // Read only: the storage agent may still write it.
        let mark =
            DurabilityFile::read(&self.durability_path)?.filter(|mark| mark.recording_id == recording_id);
        let start_position = geometry.start_position();
        let durable_position =
            mark.map_or(start_position, |mark| mark.position.clamp(start_position, position));
        RecordingSyncer::new(&self.archive, geometry, Published::new(position), durable_position).sync()?;
        self.catalog.stop(recording_id, position, clock::epoch_ms())?;
        self.catalog.sync(SyncLevel::All)?;
        Ok(self.recording_log.sync(SyncLevel::All)?)
    }

    /// Every recording that can be read: complete ones, and the log, whose place tells how far it is.
    pub fn recordings(&self, log: Option<&RecordingPlace>) -> RecordingList {
        let mut list = RecordingList::default();
        for descriptor in self.catalog.iter() {
            if let Some(place) = self.served_place(descriptor, log) {
                list.push(recording_of(descriptor), place);
            }
        }
        list.set_log(log.map(RecordingPlace::recording_id));
        list
    }

    /// Where a recording can be read, `None` for one that is not served.
    fn served_place(&self, descriptor: &Descriptor, log: Option<&RecordingPlace>) -> Option<RecordingPlace> {
        if let Some(log) = log.filter(|log| log.recording_id() == descriptor.recording_id) {
            return Some(log.clone());
        }
        // Nobody knows the end of one that some other process may be making.
        if descriptor.is_active() {
            return None;
        }
        match geometry_of(descriptor) {
            Ok(geometry) => Some(self.place(geometry, Published::new(descriptor.stop_position))),
            Err(error) => {
                tracing::warn!(%error, "a recording is not served");
                None
            }
        }
    }

    fn place(&self, geometry: RecordingGeometry, published: Published) -> RecordingPlace {
        RecordingPlace { directory: self.archive.clone(), geometry, published, views: None, committed: None }
    }

    fn synced_recording_id(&self) -> Result<Option<i64>, HistoryError> {
        let mark = DurabilityFile::read(&self.durability_path)?;
        let recording_id = mark.map(|mark| mark.recording_id);
        let found = recording_id.filter(|recording_id| self.catalog.descriptor(*recording_id).is_some());
        if let Some(recording_id) = found {
            let path = self.recording_log.path();
            tracing::warn!(path = %path.display(), recording_id, "no TERM row names the log; its last sync does");
        }
        Ok(found)
    }

    /// Which recording recording.log names as the log. Where its rows are gone, or the first term has not begun yet, the
    /// mark of the last sync still knows; the rows come back as the log is read.
    fn log_recording_id(&self) -> Result<Option<i64>, HistoryError> {
        let log = self.recording_log.log();
        let path = || self.recording_log.path();
        let is_invalid_term = |row: &Row| row.entry.kind == EntryKind::Term && !row.entry.valid;
        let Some(recording_id) = log.log_recording_id() else {
            return match log.rows().iter().find(|row| is_invalid_term(row)) {
                Some(row) => Err(HistoryError::NoValidTerm { path: path(), offset: row.offset }),
                None => self.synced_recording_id(),
            };
        };
        let names_it =
            |row: &Row| row.entry.kind == EntryKind::Snapshot && row.entry.recording_id == recording_id;
        match log.rows().iter().find(|row| names_it(row)) {
            Some(row) => Err(HistoryError::NamedTwice { path: path(), offset: row.offset, recording_id }),
            None => Ok(Some(recording_id)),
        }
    }

    fn descriptor(&self, recording_id: i64) -> Result<&Descriptor, HistoryError> {
        self.catalog
            .descriptor(recording_id)
            .ok_or_else(|| HistoryError::Unknown { path: self.recording_log.path(), recording_id })
    }
}

/// A purge moves the log's start up to where the log is on the disk at most, so a start beyond that is damage. What it
/// says is not acted on, or files that are sound would go.
fn check_start(catalog: &Catalog, durability_path: &Path) -> Result<(), HistoryError> {
    let Some(mark) = DurabilityFile::read(durability_path)? else { return Ok(()) };
    match catalog.descriptor(mark.recording_id) {
        Some(log) if log.start_position > mark.position => Err(HistoryError::StartBeyondDurable {
            catalog: catalog.path(),
            recording_id: mark.recording_id,
            start_position: log.start_position,
            durability: durability_path.to_owned(),
            durable_position: mark.position,
        }),
        _ => Ok(()),
    }
}

/// Removes the files of snapshots that were never entered, whether a crash or the node's end came before, and those that
/// a purge of snapshots or a set that was given up left: hundreds of MiB each, and nobody will ever find them. A recording that an
/// operator marked as invalid is another matter: recording.log names it. Returns the hidden ones whose files are gone.
fn remove_unpublished(archive: &Path, catalog: &Catalog, recording_log: &RecordingLogFile) -> Vec<i64> {
    let rows = recording_log.log().rows();
    let named: HashSet<i64> = rows.iter().map(|row| row.entry.recording_id).collect();
    let is_unpublished = |record: &&Record| {
        record.state == RecordState::Invalid
            && SNAPSHOT_STREAM_IDS.contains(&record.descriptor.stream_id)
            && (record.descriptor.is_active() || !named.contains(&record.descriptor.recording_id))
    };
    let mut removed = Vec::new();
    for record in catalog.records().iter().filter(is_unpublished) {
        let recording_id = record.descriptor.recording_id;
        match remove_recording(archive, recording_id) {
            Ok(()) => removed.push(recording_id),
            Err(error) => tracing::warn!(%error, "could not remove a snapshot that was never published"),
        }
    }
    // Not what lies below the log's start: that the catalog is right there shows once the log is read.
    let known = catalog.records().iter().filter(|record| record.state == RecordState::Deleted);
    if let Err(error) = UnnamedFiles::new(archive, known.cloned().collect()).delete() {
        tracing::warn!(%error, "could not remove what an earlier purge left");
    }
    removed
}

const SNAPSHOT_STREAM_IDS: [i32; 2] =
    [SnapshotKind::ConsensusModule.stream_id(), SnapshotKind::Service.stream_id()];

/// The catalog's entry for a recording of ours that is like one of another archive.
fn active_descriptor(source: &Recording) -> Descriptor {
    Descriptor {
        control_session_id: 0,
        correlation_id: 0,
        recording_id: 0,
        start_timestamp: clock::epoch_ms(),
        stop_timestamp: NULL_TIMESTAMP,
        start_position: source.start_position,
        stop_position: NULL_POSITION,
        initial_term_id: source.initial_term_id,
        segment_file_length: source.segment_file_length,
        term_buffer_length: source.term_buffer_length,
        mtu_length: source.mtu_length,
        session_id: source.session_id,
        stream_id: source.stream_id,
        stripped_channel: source.stripped_channel.clone(),
        original_channel: source.original_channel.clone(),
        source_identity: source.source_identity.clone(),
    }
}

/// What other archives are told of a recording of ours.
fn recording_of(descriptor: &Descriptor) -> Recording {
    Recording {
        recording_id: descriptor.recording_id,
        start_timestamp: descriptor.start_timestamp,
        stop_timestamp: descriptor.stop_timestamp,
        start_position: descriptor.start_position,
        stop_position: descriptor.stop_position,
        initial_term_id: descriptor.initial_term_id,
        segment_file_length: descriptor.segment_file_length,
        term_buffer_length: descriptor.term_buffer_length,
        mtu_length: descriptor.mtu_length,
        session_id: descriptor.session_id,
        stream_id: descriptor.stream_id,
        stripped_channel: descriptor.stripped_channel.clone(),
        original_channel: descriptor.original_channel.clone(),
        source_identity: descriptor.source_identity.clone(),
    }
}

fn geometry_of(descriptor: &Descriptor) -> Result<RecordingGeometry, HistoryError> {
    descriptor
        .geometry()
        .map_err(|source| HistoryError::Geometry { recording_id: descriptor.recording_id, source })
}
