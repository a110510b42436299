//! `archive.catalog` on disk: records appended in Java's order, fields changed in place.

use std::path::{Path, PathBuf};

use consensus_tap::file::FormatError;
use consensus_tap::file::catalog::{
    self as format, CAPACITY_DEFAULT, CAPACITY_MAX, Descriptor, Header, NEXT_RECORDING_ID_OFFSET,
    NULL_POSITION, NULL_TIMESTAMP, Record, RecordState, field,
};

use super::{ControlFile, ControlFileSync, StoreError, SyncLevel};

/// The catalog of a node's archive.
///
/// A record counts from the moment its header says so, which is stored behind the next recording id and its
/// descriptor. A directory left by `kill -9` therefore opens in a Java archive. At a sync level above
/// [`SyncLevel::None`] each step is on the disk before the next one begins, and a call returns when its change
/// is.
#[derive(Debug)]
pub struct Catalog {
    file: ControlFile,
    catalog: format::Catalog,
    capacity: u64,
    level: SyncLevel,
}

impl Catalog {
    /// Opens the file, or creates an empty one of [`CAPACITY_DEFAULT`] bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Format`] with the offset of the fault.
    pub fn open_or_create(path: &Path, level: SyncLevel) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(path)?;
        // An empty file, or zeros, are what a crash between creating and writing leaves.
        if file.read(CAPACITY_MAX)?.iter().all(|byte| *byte == 0) {
            file.set_length(CAPACITY_DEFAULT)?;
            file.write(0, &Header::new(0).encode())?;
            file.sync(SyncLevel::All)?;
        }
        let catalog = parse(&file)?;
        let capacity = file.length()?;
        // Pages that an earlier process could not sync count as clean until they are written again. And synced, at any
        // level: a record may reach the disk by itself, and is lost behind a header that did not.
        file.rewrite(catalog.end)?;
        // A power cut may have lost a record and kept parts of those behind it. What is added from now on ends elsewhere,
        // and the next power cut could leave it in front of them.
        let image = file.read(CAPACITY_MAX)?;
        let left = image.get(usize::try_from(catalog.end).unwrap_or(usize::MAX)..).unwrap_or_default();
        if let Some(last) = left.iter().rposition(|byte| *byte != 0) {
            file.write(catalog.end, &vec![0; last + 1])?;
        }
        file.sync(SyncLevel::All)?;
        let mut catalog = Self { file, catalog, capacity, level };
        catalog.pass_over_ids_below(catalog.next_recording_id())?;
        Ok(catalog)
    }

    /// Gives no id below `recording_id` from now on: there are files of a recording whose record a power cut took.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn pass_over_ids_below(&mut self, recording_id: i64) -> Result<(), StoreError> {
        if recording_id > self.catalog.header.next_recording_id {
            self.put_next_recording_id(recording_id)?;
        }
        Ok(())
    }

    /// Reads the file as it is, beside a running node as well; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::open_or_create`].
    pub fn read(path: &Path) -> Result<Option<format::Catalog>, StoreError> {
        ControlFile::open_read_only(path)?.map(|file| parse(&file)).transpose()
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.file.path.clone()
    }

    /// The id that [`Self::add`] will give.
    pub fn next_recording_id(&self) -> i64 {
        self.catalog.next_recording_id()
    }

    /// The recordings in use, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Descriptor> {
        let records = self.catalog.records.iter();
        records.filter(|record| record.state == RecordState::Valid).map(|record| &record.descriptor)
    }

    /// All records in file order, whatever their state.
    pub fn records(&self) -> &[Record] {
        &self.catalog.records
    }

    /// What is known of a recording in use.
    pub fn descriptor(&self, recording_id: i64) -> Option<&Descriptor> {
        self.catalog.find(recording_id).map(|record| &record.descriptor)
    }

    /// Adds a recording under the next id, whatever id `descriptor` names, and returns that id. With a stop
    /// position it is complete, without one it is active.
    ///
    /// # Errors
    /// [`StoreError::CatalogFull`]; [`StoreError::Format`] for strings that are not ASCII; [`StoreError::Io`].
    pub fn add(&mut self, descriptor: Descriptor) -> Result<i64, StoreError> {
        let level = self.level;
        self.append(descriptor, RecordState::Valid, level)
    }

    /// Adds a recording that nobody sees before [`Self::reveal`]: for snapshots, of which only complete
    /// ones may be found. After a crash its record stays, without effect, and its id is not used again.
    ///
    /// Never waits for the disk: a power cut can lose no more than a record that nobody was told of.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_hidden(&mut self, descriptor: Descriptor) -> Result<i64, StoreError> {
        self.append(descriptor, RecordState::Invalid, SyncLevel::None)
    }

    /// As [`Self::add_hidden`], in the record of a hidden recording that was given up, and under its id. False where the
    /// new one takes another length: nothing is changed then.
    ///
    /// # Errors
    /// As [`Self::add_hidden`]; [`StoreError::Recording`] when there is no hidden one with this id.
    pub fn reuse_hidden(&mut self, recording_id: i64, descriptor: Descriptor) -> Result<bool, StoreError> {
        let at = self.index_of(recording_id, RecordState::Invalid)?;
        let descriptor = Descriptor { recording_id, ..descriptor };
        let bytes = descriptor
            .encode_record(RecordState::Invalid, self.catalog.header.alignment)
            .map_err(|error| self.file.bad(error, "use a channel that is plain ASCII"))?;
        let Record { offset, length, .. } = self.catalog.records[at];
        if bytes.len() as u64 != length {
            return Ok(false);
        }
        // A crash in between leaves a mixture of both, which is as hidden as either.
        self.file.write(offset, &bytes)?;
        self.catalog.records[at].descriptor = descriptor;
        Ok(true)
    }

    /// Notes where a hidden recording ends. It must be on the disk before [`Self::reveal`], which a sync by
    /// [`Self::for_sync`] does.
    ///
    /// # Errors
    /// [`StoreError::Recording`] when there is no hidden one with this id; [`StoreError::Io`].
    pub fn stop_hidden(
        &mut self,
        recording_id: i64,
        stop_position: i64,
        stop_timestamp_ms: i64,
    ) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Invalid)?;
        self.put_stop(at, stop_position, stop_timestamp_ms)
    }

    /// Makes a hidden recording count. Not on the disk before the next sync.
    ///
    /// # Errors
    /// As [`Self::stop_hidden`].
    pub fn reveal(&mut self, recording_id: i64) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Invalid)?;
        self.put_state(at, RecordState::Valid)
    }

    /// Makes a recording that was given up count as deleted, hidden or not. Not on the disk before the next sync.
    ///
    /// # Errors
    /// [`StoreError::Recording`] when there is none with this id; [`StoreError::Io`].
    pub fn withdraw(&mut self, recording_id: i64) -> Result<(), StoreError> {
        let hidden = self.index_of(recording_id, RecordState::Invalid);
        let at = hidden.or_else(|_| self.index_of(recording_id, RecordState::Valid))?;
        self.put_state(at, RecordState::Deleted)
    }

    /// A handle by which another thread puts the file on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn for_sync(&self) -> Result<ControlFileSync, StoreError> {
        self.file.for_sync()
    }

    /// Ends an active recording, or moves the end of a stopped one after truncating it.
    ///
    /// # Errors
    /// [`StoreError::Recording`] when it is not in use; [`StoreError::Io`].
    pub fn stop(
        &mut self,
        recording_id: i64,
        stop_position: i64,
        stop_timestamp_ms: i64,
    ) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Valid)?;
        self.put_stop(at, stop_position, stop_timestamp_ms)?;
        self.file.sync(self.level)
    }

    /// Makes a stopped recording active again, under the session of the image that extends it.
    /// `control_session_id` and `correlation_id` name the request, 0 where there was none.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn extend(
        &mut self,
        recording_id: i64,
        control_session_id: i64,
        correlation_id: i64,
        session_id: i32,
    ) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Valid)?;
        let record = &mut self.catalog.records[at];
        let offset = record.offset;
        self.file.write(offset + field::CONTROL_SESSION_ID, &control_session_id.to_le_bytes())?;
        self.file.write(offset + field::CORRELATION_ID, &correlation_id.to_le_bytes())?;
        self.file.write(offset + field::SESSION_ID, &session_id.to_le_bytes())?;
        record.descriptor.control_session_id = control_session_id;
        record.descriptor.correlation_id = correlation_id;
        record.descriptor.session_id = session_id;
        self.put_stop(at, NULL_POSITION, NULL_TIMESTAMP)?;
        self.file.sync(self.level)
    }

    /// Moves the start of a recording, before the segments below it are purged.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn set_start_position(&mut self, recording_id: i64, position: i64) -> Result<(), StoreError> {
        self.move_start_position(recording_id, position)?;
        self.file.sync(self.level)
    }

    /// As [`Self::set_start_position`], not on the disk before the next sync.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn move_start_position(&mut self, recording_id: i64, position: i64) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Valid)?;
        let record = &mut self.catalog.records[at];
        self.file.write(record.offset + field::START_POSITION, &position.to_le_bytes())?;
        record.descriptor.start_position = position;
        Ok(())
    }

    /// Marks a recording as deleted; its segment files may go afterwards.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn delete(&mut self, recording_id: i64) -> Result<(), StoreError> {
        let at = self.index_of(recording_id, RecordState::Valid)?;
        self.put_state(at, RecordState::Deleted)?;
        self.file.sync(self.level)
    }

    /// Puts what was written on the disk, whatever the level this was opened with.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what is on the disk is then not known.
    pub fn sync(&self, level: SyncLevel) -> Result<(), StoreError> {
        self.file.sync(level)
    }

    fn append(
        &mut self,
        descriptor: Descriptor,
        state: RecordState,
        level: SyncLevel,
    ) -> Result<i64, StoreError> {
        let recording_id = self.next_recording_id();
        let descriptor = Descriptor { recording_id, ..descriptor };
        let bytes = descriptor
            .encode_record(state, self.catalog.header.alignment)
            .map_err(|error| self.file.bad(error, "use a channel that is plain ASCII"))?;
        let offset = self.catalog.end;
        let length = u64::try_from(bytes.len()).expect("a usize fits");
        self.grow(offset + length + HEADER_LENGTH)?;

        let (header, block) = bytes.split_at(format::RECORD_HEADER_LENGTH);
        self.file.write(offset + HEADER_LENGTH, block)?;
        // A longer record that a crash cut short may have left bytes where readers will look for the next.
        self.file.write(offset + length, &[0; format::RECORD_HEADER_LENGTH])?;
        // Before the record is found: a Java archive refuses a file with a record of an id that is still to come.
        self.put_next_recording_id(recording_id + 1)?;
        self.file.sync(level)?;
        self.file.write(offset, header)?;
        self.catalog.records.push(Record { offset, length, state, checksum: 0, descriptor });
        self.catalog.end = offset + length;
        self.file.sync(level)?;
        Ok(recording_id)
    }

    fn put_next_recording_id(&mut self, recording_id: i64) -> Result<(), StoreError> {
        self.file.write(NEXT_RECORDING_ID_OFFSET, &recording_id.to_le_bytes())?;
        self.catalog.header.next_recording_id = recording_id;
        Ok(())
    }

    /// Makes room up to `end`, half as much again each time, as Java does.
    fn grow(&mut self, end: u64) -> Result<(), StoreError> {
        if end > CAPACITY_MAX {
            return Err(StoreError::CatalogFull { path: self.path() });
        }
        let mut capacity = self.capacity.max(HEADER_LENGTH);
        while capacity < end {
            capacity = (capacity + (capacity >> 1)).min(CAPACITY_MAX);
        }
        if capacity > self.capacity {
            self.file.set_length(capacity)?;
            self.capacity = capacity;
        }
        Ok(())
    }

    fn put_stop(&mut self, at: usize, position: i64, timestamp_ms: i64) -> Result<(), StoreError> {
        let record = &mut self.catalog.records[at];
        self.file.write(record.offset + field::STOP_TIMESTAMP, &timestamp_ms.to_le_bytes())?;
        self.file.write(record.offset + field::STOP_POSITION, &position.to_le_bytes())?;
        record.descriptor.stop_timestamp = timestamp_ms;
        record.descriptor.stop_position = position;
        Ok(())
    }

    fn put_state(&mut self, at: usize, state: RecordState) -> Result<(), StoreError> {
        let record = &mut self.catalog.records[at];
        self.file.write(record.offset + field::STATE, &(state as i32).to_le_bytes())?;
        record.state = state;
        Ok(())
    }

    fn index_of(&self, recording_id: i64, state: RecordState) -> Result<usize, StoreError> {
        let expected = match state {
            RecordState::Valid => "one in use",
            RecordState::Invalid => "a hidden one",
            RecordState::Deleted => "a deleted one",
        };
        let error = |found| StoreError::Recording { path: self.path(), recording_id, expected, found };
        let at = self
            .catalog
            .records
            .binary_search_by_key(&recording_id, |record| record.descriptor.recording_id)
            .map_err(|_| error("is not in the catalog"))?;
        match self.catalog.records[at].state {
            found if found == state => Ok(at),
            RecordState::Valid => Err(error("is in use")),
            RecordState::Invalid => Err(error("is marked invalid")),
            RecordState::Deleted => Err(error("is deleted")),
        }
    }
}

const HEADER_LENGTH: u64 = 32;
const _: () = assert!(format::RECORD_HEADER_LENGTH == 32 && format::HEADER_LENGTH == 32);

fn parse(file: &ControlFile) -> Result<format::Catalog, StoreError> {
    let image = file.read(CAPACITY_MAX)?;
    format::Catalog::parse(&image).map_err(|error| {
        let next_step = next_step(&error);
        file.bad(error, next_step)
    })
}

fn next_step(error: &FormatError) -> &'static str {
    match error.offset() {
        0 | 16 => "run `ArchiveTool migrate` of Aeron 1.51 on the directory if an older archive wrote it",
        _ => "restore the file from a backup, or let this node start anew from a member with `reseed`",
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::file::catalog::FILE_NAME;

    use super::*;

    fn descriptor(start_position: i64) -> Descriptor {
        Descriptor {
            start_timestamp: 1000,
            stop_timestamp: NULL_TIMESTAMP,
            start_position,
            stop_position: NULL_POSITION,
            segment_file_length: 128 * 1024,
            term_buffer_length: 64 * 1024,
            mtu_length: 1408,
            stream_id: 100,
            stripped_channel: "aeron:udp?endpoint=a:1".into(),
            original_channel: "aeron:udp?endpoint=a:1|alias=log".into(),
            source_identity: "10.0.0.1:5000".into(),
            ..Descriptor::default()
        }
    }

    fn catalog(level: SyncLevel) -> (tempfile::TempDir, PathBuf, Catalog) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let catalog = Catalog::open_or_create(&path, level).unwrap();
        (temp, path, catalog)
    }

    fn reopened(path: &Path) -> format::Catalog {
        Catalog::open_or_create(path, SyncLevel::None).unwrap().catalog
    }

    #[test]
    fn every_change_is_there_after_opening_again() {
        let (_temp, path, mut catalog) = catalog(SyncLevel::Data);
        assert_eq!(reopened(&path), catalog.catalog);
        for start in [0, 64, 128] {
            catalog.add(descriptor(start)).unwrap();
        }
        catalog.stop(0, 4096, 2000).unwrap();
        catalog.stop(1, 640, 2000).unwrap();
        catalog.extend(1, 8, 9, 77).unwrap();
        catalog.set_start_position(0, 1024).unwrap();
        catalog.delete(2).unwrap();
        assert_eq!(reopened(&path), catalog.catalog);
        assert_eq!(catalog.iter().map(|d| d.recording_id).collect::<Vec<_>>(), [0, 1]);
        let extended = catalog.descriptor(1).unwrap();
        assert!(extended.is_active());
        assert_eq!((extended.control_session_id, extended.correlation_id, extended.session_id), (8, 9, 77));
        assert_eq!(catalog.descriptor(2), None);
        let error = catalog.stop(2, 1, 1).unwrap_err().to_string();
        assert!(error.ends_with("recording 2 is deleted, expected one in use"), "{error}");
    }

    #[test]
    fn what_lies_behind_a_record_that_a_power_cut_lost_is_wiped_before_anything_is_added() {
        let (_temp, path, mut catalog) = catalog(SyncLevel::None);
        catalog.add_hidden(descriptor(0)).unwrap();
        let end = catalog.catalog.end;
        catalog.add_hidden(descriptor(0)).unwrap();
        catalog.add_hidden(descriptor(0)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[end as usize..][..format::RECORD_HEADER_LENGTH].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(reopened(&path).records.len(), 1);
        assert!(std::fs::read(&path).unwrap()[end as usize..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_hidden_recording_is_found_only_once_it_is_revealed() {
        let (_temp, path, mut catalog) = catalog(SyncLevel::None);
        let hidden = catalog.add_hidden(descriptor(0)).unwrap();
        let open = catalog.add(descriptor(0)).unwrap();
        assert_eq!(catalog.descriptor(hidden), None);
        assert_eq!(reopened(&path).find(hidden), None);
        catalog.stop_hidden(hidden, 960, 5).unwrap();
        assert_eq!(reopened(&path).find(hidden), None);
        catalog.reveal(hidden).unwrap();
        assert_eq!(reopened(&path).find(hidden).unwrap().descriptor.stop_position, 960);
        assert!(catalog.stop_hidden(open, 960, 5).is_err());
        assert!(catalog.reveal(open).is_err());
        catalog.withdraw(hidden).unwrap();
        assert_eq!(reopened(&path).find(hidden), None);
    }

    #[test]
    fn a_crash_before_the_record_header_leaves_no_record_and_its_place_is_used_again() {
        let (_temp, path, mut catalog) = catalog(SyncLevel::None);
        catalog.add(descriptor(0)).unwrap();
        let long = Descriptor { original_channel: "x".repeat(1000), ..descriptor(64) };
        let bytes = long.encode_record(RecordState::Valid, 64).unwrap();
        catalog.file.write(catalog.catalog.end + 32, &bytes[32..]).unwrap();
        assert_eq!(reopened(&path).records.len(), 1);

        // And one between the record header and the next id: the record counts, its id is taken.
        catalog.add(descriptor(64)).unwrap();
        catalog.file.write(NEXT_RECORDING_ID_OFFSET, &0_i64.to_le_bytes()).unwrap();
        assert_eq!(reopened(&path).next_recording_id(), 2);
    }

    #[test]
    fn the_file_grows_by_half_and_stays_readable() {
        let (_temp, path, mut catalog) = catalog(SyncLevel::None);
        let long = Descriptor { original_channel: "x".repeat(100_000), ..descriptor(0) };
        for _ in 0..12 {
            catalog.add(long.clone()).unwrap();
        }
        assert_eq!(path.metadata().unwrap().len(), CAPACITY_DEFAULT + CAPACITY_DEFAULT / 2);
        assert_eq!(reopened(&path), catalog.catalog);
    }

    #[test]
    fn a_file_that_is_no_catalog_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        std::fs::write(&path, [7; 100]).unwrap();
        let error = Catalog::open_or_create(&path, SyncLevel::None).unwrap_err().to_string();
        assert!(error.contains("archive.catalog: at offset 0: version: expected major version 3"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), [7; 100]);
    }
}
