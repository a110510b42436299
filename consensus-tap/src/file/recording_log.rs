//! `recording.log`: which terms the log has had, and which snapshots exist.
//!
//! ```text
//!   0             8                    16                       24            32         40          44     48
//!  | recording id | leadership term id | term base log position | log position| timestamp| service id| type |
//!  48 (type 2 only)
//!  | endpoint length | endpoint, ASCII …
//! ```
//! No file header. A row starts at a multiple of 64 bytes and fills a multiple of 64; what lies behind its
//! last field is undefined (Java leaves remains of earlier rows there). Bit 31 of the type marks an invalid
//! row; a type of -1 is a removed row, which still takes its slot. Same bytes as Aeron's
//! `io.aeron.cluster.RecordingLog`.
//!
//! Readers do not go by file order but by [`RecordingLog::rows`]: term, base, kind (terms before standby
//! snapshots before snapshots), then log position, then service id downwards, so that the consensus module's
//! row (-1) closes its set. All TERM rows name the same recording.

mod row;

use std::cmp::Ordering;

pub use self::row::{
    CONSENSUS_MODULE_ID, ENDPOINT_LENGTH_MAX, Entry, EntryKind, NULL_POSITION, ROW_ALIGNMENT,
};
use self::row::{INVALID_FLAG, LOG_POSITION_OFFSET, TYPE_OFFSET, parse_row};
use super::{Edit, FormatError, Image, to_u64};

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "recording.log";
/// Most terms that [`RecordingLog::plan_coherent`] fills in at once. A gap this wide is no election history.
pub const SKIPPED_TERMS_MAX: i64 = 16_384;

/// One row and its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Where it starts in the file, bytes.
    pub offset: u64,
    /// Its ordinal in the file; removed rows count too.
    pub index: usize,
    /// What it says.
    pub entry: Entry,
}

/// A complete snapshot: the consensus module's and one of each service, at one log position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SnapshotSet {
    /// Term in which it was taken.
    pub leadership_term_id: i64,
    /// Log position at which that term began.
    pub term_base_log_position: i64,
    /// Log position of the snapshot.
    pub log_position: i64,
    /// Cluster time of the consensus module's row.
    pub timestamp: i64,
    /// Recording of the consensus module's snapshot.
    pub consensus_module: i64,
    /// Recordings of the services' snapshots, by service id.
    pub services: Vec<i64>,
}

/// How a term that is about to be entered relates to what is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TermCheck {
    /// No valid row for this term.
    Absent,
    /// The term is there, with this recording and this base: entering it again changes nothing.
    Same,
    /// The term is there with another recording or another base.
    Conflict,
}

/// Why a row was not entered. The file is as it was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowError {
    /// Recording ids are 0 and up.
    #[error("recording id {0} is not one: expected 0 or more")]
    BadRecordingId(i64),
    /// All TERM rows must name one recording.
    #[error("a TERM row must name recording {expected}, as the rows before it, not {found}")]
    OtherRecording {
        /// The recording of the existing TERM rows.
        expected: i64,
        /// The recording asked for.
        found: i64,
    },
    /// The term has a row already.
    #[error("leadership term {0} is already in the recording log")]
    DuplicateTerm(i64),
    /// The term has no valid row.
    #[error("leadership term {0} is not in the recording log")]
    UnknownTerm(i64),
    /// The previous term ended elsewhere than where the new one is said to begin: a fork.
    #[error("leadership term {term} cannot begin at {base}: the term before it ended at {previous_end}")]
    BaseMismatch {
        /// The new term.
        term: i64,
        /// Its base as asked for.
        base: i64,
        /// Where the last term in the log ended.
        previous_end: i64,
    },
    /// More than [`SKIPPED_TERMS_MAX`] terms would have to be filled in.
    #[error("terms {from} to {to} are missing, more than an election history can explain")]
    GapTooWide {
        /// First missing term.
        from: i64,
        /// The term asked for.
        to: i64,
    },
    /// The endpoint is empty, too long, or not ASCII.
    #[error("endpoint {0:?} is not usable: expected 1 to 4044 ASCII characters")]
    BadEndpoint(String),
    /// No row starts at this offset.
    #[error("no row at offset {0} of the recording log")]
    NoSuchRow(u64),
    /// A TERM row where a snapshot belongs.
    #[error("the entry is a TERM row, expected a snapshot")]
    NotASnapshot,
}

/// The rows of a recording log, and the plans for changing it.
///
/// A `plan_*` decides and gives the [`Edit`]s; once these are in the file, [`Self::apply`] brings this value
/// up to date, so that it always equals a parse of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RecordingLog {
    image: Vec<u8>,
    rows: Vec<Row>,
    term_recording_id: Option<i64>,
}

impl RecordingLog {
    /// Reads the image of a whole file.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] for a last row that is cut short and [`FormatError::Unwritten`] for zeros in
    /// place of a row. Both are what a crash while appending leaves; after a power cut whole rows may stand behind
    /// the zeros. A file that is synced before anybody is told of its rows may be cut at that offset.
    /// [`FormatError::Unexpected`] for everything else.
    pub fn parse(image: Vec<u8>) -> Result<Self, FormatError> {
        let mut rows = Vec::new();
        let mut term_recording_id = None;
        let mut offset = 0;
        for index in 0.. {
            if offset >= image.len() {
                break;
            }
            let (entry, length) = parse_row(Image { bytes: &image }, offset)?;
            if let Some(entry) = entry {
                if entry.kind == EntryKind::Term {
                    let expected = *term_recording_id.get_or_insert(entry.recording_id);
                    if entry.recording_id != expected {
                        let what = "recording id of a TERM row";
                        return Err(FormatError::unexpected(offset, what, expected, entry.recording_id));
                    }
                }
                rows.push(Row { offset: to_u64(offset), index, entry });
            }
            offset += length;
        }
        rows.sort_by(compare_rows);
        Ok(Self { image, rows, term_recording_id })
    }

    /// All rows that were not removed, valid or not, in the order readers go by.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The file's content.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Recording of the log, `None` before the first TERM row.
    pub fn log_recording_id(&self) -> Option<i64> {
        self.last_term().map(|row| row.entry.recording_id)
    }

    /// The newest valid TERM row.
    pub fn last_term(&self) -> Option<&Row> {
        self.rows.iter().rfind(|row| is_valid_term(row))
    }

    /// The valid TERM row of one term; of several, the last in order.
    pub fn find_term(&self, leadership_term_id: i64) -> Option<&Row> {
        self.rows.iter().rfind(|row| is_valid_term(row) && row.entry.leadership_term_id == leadership_term_id)
    }

    /// Whether entering this term would be new, nothing, or a contradiction.
    pub fn check_term(
        &self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
    ) -> TermCheck {
        match self.find_term(leadership_term_id) {
            None => TermCheck::Absent,
            Some(Row { entry, .. })
                if entry.recording_id == recording_id
                    && entry.term_base_log_position == term_base_log_position =>
            {
                TermCheck::Same
            }
            Some(_) => TermCheck::Conflict,
        }
    }

    /// Every complete, valid snapshot set for `service_count` services, newest first: the first is the one to
    /// start from, the others are what to fall back to when its recordings turn out damaged.
    ///
    /// Newest means last in the order of [`Self::rows`], as for Java's recovery. A set whose rows are partly
    /// invalid or missing is left out, where Java would fail.
    pub fn snapshot_sets(&self, service_count: usize) -> Vec<SnapshotSet> {
        let mut sets: Vec<SnapshotSet> = Vec::new();
        for (at, newest) in self.set_heads() {
            if sets.last().is_some_and(|set| set.is_at(newest)) {
                continue;
            }
            let mut services = vec![None; service_count];
            for entry in self.rows_of_set(at) {
                let slot = usize::try_from(entry.service_id).ok().and_then(|id| services.get_mut(id));
                if let (Some(slot @ None), true) = (slot, entry.valid) {
                    *slot = Some(entry.recording_id);
                }
            }
            if let Some(services) = services.into_iter().collect::<Option<Vec<_>>>() {
                sets.push(SnapshotSet::new(newest, services));
            }
        }
        sets
    }

    /// Every valid snapshot, newest first, with as many services as its rows name without a gap: for whoever looks at
    /// a recording log and does not know how many services its node has.
    pub fn snapshot_sets_as_found(&self) -> Vec<SnapshotSet> {
        let mut sets: Vec<SnapshotSet> = Vec::new();
        for (at, newest) in self.set_heads() {
            if sets.last().is_some_and(|set| set.is_at(newest)) {
                continue;
            }
            let mut services = Vec::new();
            for entry in self.rows_of_set(at).filter(|entry| entry.valid) {
                // From service 0 upwards, so the first that is not the next leaves a gap, or comes twice.
                if usize::try_from(entry.service_id) == Ok(services.len()) {
                    services.push(entry.recording_id);
                }
            }
            sets.push(SnapshotSet::new(newest, services));
        }
        sets
    }

    /// The valid consensus module rows of snapshots, newest first, each with its place among the rows.
    fn set_heads(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.rows.iter().enumerate().rev().map(|(at, row)| (at, &row.entry)).filter(|(_, entry)| {
            entry.kind == EntryKind::Snapshot && entry.valid && entry.service_id == CONSENSUS_MODULE_ID
        })
    }

    /// The other rows of the set whose consensus module row stands at `head`: they lie below it, side by side, service
    /// 0 next to it.
    fn rows_of_set(&self, head: usize) -> impl Iterator<Item = &Entry> {
        let newest = &self.rows[head].entry;
        self.rows[..head]
            .iter()
            .rev()
            .map(|row| &row.entry)
            .take_while(move |entry| entry.kind == EntryKind::Snapshot && same_place(entry, newest))
    }

    /// The newest complete, valid snapshot set.
    pub fn latest_snapshot_set(&self, service_count: usize) -> Option<SnapshotSet> {
        self.snapshot_sets(service_count).into_iter().next()
    }

    /// What a `BackupQuery` for `log_position` is answered with: the newest complete, valid set that is not behind
    /// that position, and where all are behind it the oldest.
    pub fn snapshot_set_at_or_before_or_lowest(
        &self,
        log_position: i64,
        service_count: usize,
    ) -> Option<SnapshotSet> {
        SnapshotSet::at_or_before_or_lowest(&self.snapshot_sets(service_count), log_position).cloned()
    }

    /// Enters a term. The term before it (id - 1), if it is there, ends at the new base; the new row is open,
    /// or ends at the base of the term behind it (id + 1) when that is known.
    ///
    /// # Errors
    /// [`RowError::BadRecordingId`], [`RowError::OtherRecording`], [`RowError::DuplicateTerm`].
    pub fn plan_append_term(
        &self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        timestamp: i64,
    ) -> Result<Vec<Edit>, RowError> {
        self.check_term_recording(recording_id)?;
        if self.find_term(leadership_term_id).is_some() {
            return Err(RowError::DuplicateTerm(leadership_term_id));
        }
        let mut edits = Vec::with_capacity(2);
        let previous = leadership_term_id.checked_sub(1).and_then(|id| self.find_term(id));
        if let Some(previous) = previous.filter(|row| row.entry.log_position != term_base_log_position) {
            edits.push(end_term(previous, term_base_log_position));
        }
        let next = leadership_term_id.checked_add(1).and_then(|id| self.find_term(id));
        let log_position = next.map_or(NULL_POSITION, |row| row.entry.term_base_log_position);
        let entry = term(recording_id, leadership_term_id, term_base_log_position, log_position, timestamp);
        edits.push(Edit { offset: self.end(), bytes: entry.encode()? });
        Ok(edits)
    }

    /// Brings the log up to a term that has begun, filling in the terms that nobody saw.
    ///
    /// The last known term, if open, ends at `term_base_log_position`; every term skipped gets a row that
    /// begins and ends there, which Java needs to truncate a stale tail. A term that is there already is left
    /// alone, so the call may be repeated after a crash. With an empty log only this term is entered: a
    /// standby that joins late has no rows for what came before. `log_position` ends the term, where it is
    /// known that it has ended.
    ///
    /// # Errors
    /// As [`Self::plan_append_term`]; [`RowError::BaseMismatch`] when the last term ended elsewhere or a row
    /// for this very term contradicts the base; [`RowError::GapTooWide`]; [`RowError::UnknownTerm`] for an
    /// older term without a row.
    pub fn plan_coherent(
        &self,
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        log_position: Option<i64>,
        timestamp: i64,
    ) -> Result<Vec<Edit>, RowError> {
        self.check_term_recording(recording_id)?;
        let end = log_position.unwrap_or(NULL_POSITION);
        let base = term_base_log_position;
        let Some(last) = self.last_term() else {
            let entry = term(recording_id, leadership_term_id, base, end, timestamp);
            return Ok(vec![Edit { offset: self.end(), bytes: entry.encode()? }]);
        };
        let last_id = last.entry.leadership_term_id;
        if leadership_term_id <= last_id {
            let row = self.find_term(leadership_term_id).ok_or(RowError::UnknownTerm(leadership_term_id))?;
            if row.entry.term_base_log_position != base {
                let previous_end = row.entry.term_base_log_position;
                return Err(RowError::BaseMismatch { term: leadership_term_id, base, previous_end });
            }
            return Ok(log_position
                .filter(|position| row.entry.log_position != *position)
                .map(|position| end_term(row, position))
                .into_iter()
                .collect());
        }
        if leadership_term_id.checked_sub(last_id).is_none_or(|gap| gap > SKIPPED_TERMS_MAX) {
            return Err(RowError::GapTooWide { from: last_id + 1, to: leadership_term_id });
        }
        let mut edits = Vec::new();
        match last.entry.log_position {
            NULL_POSITION => edits.push(end_term(last, base)),
            previous_end if previous_end != base => {
                return Err(RowError::BaseMismatch { term: leadership_term_id, base, previous_end });
            }
            _ => {}
        }
        let mut bytes = Vec::new();
        for skipped in last_id + 1..leadership_term_id {
            bytes.extend(term(recording_id, skipped, base, base, timestamp).encode()?);
        }
        bytes.extend(term(recording_id, leadership_term_id, base, end, timestamp).encode()?);
        edits.push(Edit { offset: self.end(), bytes });
        Ok(edits)
    }

    /// Takes back what rows of older terms say of the log beyond the begin of this one: terms and snapshots of a tail that
    /// was lost, such as in a power cut, and that something else stands in for now. Snapshots up to where the term's first
    /// event begins are sound: that may lie behind padding, on whose end one may have been taken.
    pub fn plan_cut(
        &self,
        leadership_term_id: i64,
        term_base_log_position: i64,
        event_position: i64,
    ) -> Vec<Edit> {
        let base = term_base_log_position;
        let older = self
            .rows
            .iter()
            .rev()
            .filter(|Row { entry, .. }| entry.valid && entry.leadership_term_id < leadership_term_id);
        let cut = older.filter_map(|row| match &row.entry {
            Entry { kind: EntryKind::Term, term_base_log_position: begin, .. } if *begin > base => {
                Some(invalidate(row))
            }
            Entry { kind: EntryKind::Term, log_position: end, .. } if *end > base => {
                Some(end_term(row, base))
            }
            Entry { kind: EntryKind::Term, .. } => None,
            snapshot => (snapshot.log_position > event_position).then(|| invalidate(row)),
        });
        cut.collect()
    }

    /// Enters a snapshot row, valid. An invalid row for the same snapshot is overwritten in its place.
    /// A set is complete with its consensus module row: enter the services' rows first.
    ///
    /// # Errors
    /// [`RowError::BadRecordingId`], [`RowError::BadEndpoint`], [`RowError::NotASnapshot`].
    pub fn plan_append_snapshot(&self, entry: &Entry) -> Result<Vec<Edit>, RowError> {
        if entry.kind == EntryKind::Term {
            return Err(RowError::NotASnapshot);
        }
        if entry.recording_id < 0 {
            return Err(RowError::BadRecordingId(entry.recording_id));
        }
        let entry = Entry { valid: true, ..entry.clone() };
        let bytes = entry.encode()?;
        let replaced = self.rows.iter().rfind(|Row { entry: old, .. }| {
            !old.valid
                && old.kind == entry.kind
                && old.service_id == entry.service_id
                && same_place(old, &entry)
        });
        Ok(vec![Edit { offset: replaced.map_or(self.end(), |row| row.offset), bytes }])
    }

    /// Ends a term at `log_position`, or moves its end. No edit when it ends there already.
    ///
    /// # Errors
    /// [`RowError::UnknownTerm`].
    pub fn plan_commit_log_position(
        &self,
        leadership_term_id: i64,
        log_position: i64,
    ) -> Result<Vec<Edit>, RowError> {
        let row = self.find_term(leadership_term_id).ok_or(RowError::UnknownTerm(leadership_term_id))?;
        if row.entry.log_position == log_position {
            return Ok(Vec::new());
        }
        Ok(vec![end_term(row, log_position)])
    }

    /// Marks the row that starts at `offset` as invalid.
    ///
    /// # Errors
    /// [`RowError::NoSuchRow`].
    pub fn plan_invalidate(&self, offset: u64) -> Result<Vec<Edit>, RowError> {
        let row = self.rows.iter().find(|row| row.offset == offset).ok_or(RowError::NoSuchRow(offset))?;
        Ok(vec![invalidate(row)])
    }

    /// Marks the newest snapshot as invalid: of the valid consensus module rows (own and standby) those with
    /// the highest log position, each with its services. No edits when there is none.
    ///
    /// # Errors
    /// [`RowError::UnknownTerm`] when such a row's term is not in the log.
    pub fn plan_invalidate_latest_snapshot(&self) -> Result<Vec<Edit>, RowError> {
        let mut edits = Vec::new();
        let mut highest = NULL_POSITION;
        for (at, row) in self.rows.iter().enumerate().rev() {
            let entry = &row.entry;
            if !is_valid_snapshot(row) || entry.service_id != CONSENSUS_MODULE_ID {
                continue;
            }
            if entry.log_position < highest {
                break;
            }
            if self.find_term(entry.leadership_term_id).is_none() {
                return Err(RowError::UnknownTerm(entry.leadership_term_id));
            }
            if entry.log_position > highest {
                edits.clear();
                highest = entry.log_position;
            }
            let set = self.rows[..=at].iter().rev().zip(CONSENSUS_MODULE_ID..);
            edits.extend(
                set.take_while(|(row, id)| is_valid_snapshot(row) && row.entry.service_id == *id)
                    .map(|(row, _)| invalidate(row)),
            );
        }
        Ok(edits)
    }

    /// Takes over edits that are now in the file.
    ///
    /// # Panics
    /// When the edits were not planned by this value in its present state.
    pub fn apply(&mut self, edits: &[Edit]) {
        let mut image = std::mem::take(&mut self.image);
        for Edit { offset, bytes } in edits {
            let offset = usize::try_from(*offset).expect("an edit lies within a file held in memory");
            let end = offset + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[offset..end].copy_from_slice(bytes);
        }
        *self = Self::parse(image).expect("planned edits keep the file well formed");
    }

    fn end(&self) -> u64 {
        to_u64(self.image.len().next_multiple_of(ROW_ALIGNMENT))
    }

    fn check_term_recording(&self, recording_id: i64) -> Result<(), RowError> {
        match self.term_recording_id {
            _ if recording_id < 0 => Err(RowError::BadRecordingId(recording_id)),
            Some(expected) if expected != recording_id => {
                Err(RowError::OtherRecording { expected, found: recording_id })
            }
            _ => Ok(()),
        }
    }
}

impl SnapshotSet {
    fn new(consensus_module: &Entry, services: Vec<i64>) -> Self {
        Self {
            leadership_term_id: consensus_module.leadership_term_id,
            term_base_log_position: consensus_module.term_base_log_position,
            log_position: consensus_module.log_position,
            timestamp: consensus_module.timestamp,
            consensus_module: consensus_module.recording_id,
            services,
        }
    }

    /// Of sets, newest first: the first that is not behind `log_position`, and where all are, the last.
    pub fn at_or_before_or_lowest(sets: &[Self], log_position: i64) -> Option<&Self> {
        sets.iter().find(|set| set.log_position <= log_position).or(sets.last())
    }

    /// The rows of this set in the order they are entered: services downwards, the consensus module last.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |service_id, recording_id| Entry {
            recording_id,
            leadership_term_id: self.leadership_term_id,
            term_base_log_position: self.term_base_log_position,
            log_position: self.log_position,
            timestamp: self.timestamp,
            service_id,
            kind: EntryKind::Snapshot,
            valid: true,
        };
        let services = (0..).zip(&self.services).map(|(id, recording)| entry(id, *recording));
        let mut entries: Vec<Entry> = services.collect();
        entries.reverse();
        entries.push(entry(CONSENSUS_MODULE_ID, self.consensus_module));
        entries
    }

    fn is_at(&self, entry: &Entry) -> bool {
        self.leadership_term_id == entry.leadership_term_id
            && self.term_base_log_position == entry.term_base_log_position
            && self.log_position == entry.log_position
    }
}

fn compare_rows(a: &Row, b: &Row) -> Ordering {
    let rank = |entry: &Entry| match entry.kind {
        EntryKind::Term => 0,
        EntryKind::StandbySnapshot { .. } => 1,
        EntryKind::Snapshot => 2,
    };
    let (left, right) = (&a.entry, &b.entry);
    left.leadership_term_id
        .cmp(&right.leadership_term_id)
        .then(left.term_base_log_position.cmp(&right.term_base_log_position))
        .then(rank(left).cmp(&rank(right)))
        .then_with(|| match left.kind {
            EntryKind::Term => a.index.cmp(&b.index),
            _ => left.log_position.cmp(&right.log_position).then(right.service_id.cmp(&left.service_id)),
        })
}

fn term(recording_id: i64, id: i64, base: i64, log_position: i64, timestamp: i64) -> Entry {
    Entry {
        recording_id,
        leadership_term_id: id,
        term_base_log_position: base,
        log_position,
        timestamp,
        service_id: CONSENSUS_MODULE_ID,
        kind: EntryKind::Term,
        valid: true,
    }
}

fn end_term(row: &Row, log_position: i64) -> Edit {
    Edit { offset: row.offset + to_u64(LOG_POSITION_OFFSET), bytes: log_position.to_le_bytes().to_vec() }
}

fn invalidate(row: &Row) -> Edit {
    let raw_type = row.entry.raw_type() | INVALID_FLAG;
    Edit { offset: row.offset + to_u64(TYPE_OFFSET), bytes: raw_type.to_le_bytes().to_vec() }
}

fn same_place(a: &Entry, b: &Entry) -> bool {
    a.leadership_term_id == b.leadership_term_id
        && a.term_base_log_position == b.term_base_log_position
        && a.log_position == b.log_position
}

fn is_valid_term(row: &Row) -> bool {
    row.entry.valid && row.entry.kind == EntryKind::Term
}

fn is_valid_snapshot(row: &Row) -> bool {
    row.entry.valid && row.entry.kind != EntryKind::Term
}

#[cfg(test)]
mod tests;
