//! The next segment of a recording, created, allocated and pre-faulted away from the receive thread.
//!
//! ```text
//!                 wanted base (atomic)
//!   RecordingWriter ────────────────▶ SegmentPreparer      <id>-<base>.rec.next
//!   with its SegmentSupply ◀───────── ready (ring of 1)    renamed by the writer when it reaches the base
//!                          ─────────▶ retired (ring of 4)  full segments, unmapped by the preparer
//! ```
//! Creating and faulting in a segment takes tens of milliseconds, unmapping one a few: neither may happen where
//! datagrams are received.

use std::path::{Path, PathBuf};

use consensus_tap::file::segment::{PREPARED_SUFFIX, RecordingGeometry};

use super::segment::{SegmentError, remove};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::sync::ring::{Consumer, Producer, PushError, RingBuffer};
use crate::sys::disk;
use crate::sys::mapped::MappedFile;

const READY_CAPACITY: usize = 1;
const RETIRED_CAPACITY: usize = 4;
const NOTHING_WANTED: i64 = i64::MIN;

/// Makes the two ends for one recording in `directory`.
pub fn segment_pipeline(directory: &Path, geometry: RecordingGeometry) -> (SegmentSupply, SegmentPreparer) {
    let wanted = Arc::new(AtomicI64::new(NOTHING_WANTED));
    let (ready_producer, ready_consumer) = RingBuffer::new(READY_CAPACITY);
    let (retired_producer, retired_consumer) = RingBuffer::new(RETIRED_CAPACITY);
    let supply =
        SegmentSupply { wanted: Arc::clone(&wanted), ready: ready_consumer, retired: retired_producer };
    let preparer = SegmentPreparer {
        directory: directory.to_owned(),
        geometry,
        wanted,
        last_prepared: NOTHING_WANTED,
        ready: ready_producer,
        retired: retired_consumer,
    };
    (supply, preparer)
}

/// Prepares one segment ahead of the writer. Run by an agent that may block.
#[derive(Debug)]
pub struct SegmentPreparer {
    directory: PathBuf,
    geometry: RecordingGeometry,
    wanted: Arc<AtomicI64>,
    last_prepared: i64,
    ready: Producer<PreparedSegment>,
    retired: Consumer<MappedFile>,
}

impl SegmentPreparer {
    /// Unmaps what the writer is done with and prepares the segment that it will need next. Returns how much was
    /// done. Blocks while it does.
    ///
    /// # Errors
    /// [`SegmentError`] when the segment cannot be created, above all because the disk is full. It is tried again
    /// at the next call; a writer that comes to need it tries for itself.
    pub fn do_work(&mut self) -> Result<usize, SegmentError> {
        let mut work = 0;
        while let Ok(file) = self.retired.pop() {
            discard(file);
            work += 1;
        }
        // Pairs with the Release in `SegmentSupply::want`; the value alone is what counts.
        let wanted = self.wanted.load(Ordering::Acquire);
        if wanted != NOTHING_WANTED && wanted != self.last_prepared && !self.ready.is_full() {
            let file = self.prepare(wanted)?;
            self.last_prepared = wanted;
            if self.wanted.load(Ordering::Acquire) != wanted {
                // The writer could not wait and made its own; in the ring, this one would be in the way.
                discard(file);
                return Ok(work + 1);
            }
            let prepared = PreparedSegment { base_position: wanted, file };
            self.ready.push(prepared).expect("only this end pushes, and it saw room");
            work += 1;
        }
        Ok(work)
    }

    fn prepare(&self, base_position: i64) -> Result<MappedFile, SegmentError> {
        let path = self.directory.join(self.geometry.prepared_name(base_position));
        // Left behind by an attempt that failed half-way.
        if path.exists() {
            remove(&path)?;
        }
        let length = self.geometry.segment_length() as usize;
        let mut file = MappedFile::create(&path, length)?;
        file.populate(0, length)?;
        Ok(file)
    }
}

/// The writer's end: takes prepared segments, gives back full ones.
#[derive(Debug)]
pub struct SegmentSupply {
    wanted: Arc<AtomicI64>,
    ready: Consumer<PreparedSegment>,
    retired: Producer<MappedFile>,
}

impl SegmentSupply {
    /// Asks for the segment at `base_position` to be prepared.
    pub(super) fn want(&self, base_position: i64) {
        // Pairs with the Acquire in `SegmentPreparer::do_work`.
        self.wanted.store(base_position, Ordering::Release);
    }

    /// The prepared segment at `base_position`, if it is ready. One that came too late for another base is given
    /// back.
    pub(super) fn take(&mut self, base_position: i64) -> Option<MappedFile> {
        let prepared = self.ready.pop().ok()?;
        if prepared.base_position == base_position {
            return Some(prepared.file);
        }
        self.retire(prepared.file);
        None
    }

    /// Lets the preparer unmap `file`, and remove it if it was never used.
    pub(super) fn retire(&mut self, file: MappedFile) {
        if let Err(PushError::Full(file)) = self.retired.push(file) {
            discard(file);
        }
    }
}

impl Drop for SegmentSupply {
    fn drop(&mut self) {
        self.want(NOTHING_WANTED);
        while let Ok(prepared) = self.ready.pop() {
            discard(prepared.file);
        }
    }
}

#[derive(Debug)]
struct PreparedSegment {
    base_position: i64,
    file: MappedFile,
}

/// Unmaps a file, and removes it if it still has the name of a prepared one.
fn discard(file: MappedFile) {
    let name = file.path().file_name().and_then(|name| name.to_str());
    if name.is_some_and(|name| name.ends_with(PREPARED_SUFFIX)) {
        // Recovery removes it at the next start, should this fail.
        let _ = disk::remove(file.path());
    }
}
