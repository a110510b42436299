//! Counters in cnc.dat: allocated by one manager, set and read through handles from any thread.

use consensus_tap::file::cnc::counters::CounterKind;
use consensus_tap::file::cnc::{
    CncLayout, KEY_LENGTH_MAX, KEY_OFFSET, LABEL_LENGTH_MAX, LABEL_LENGTH_OFFSET, LABEL_OFFSET,
    NOT_FREE_TO_REUSE, OWNER_ID_OFFSET, RECORD_ALLOCATED, RECORD_RECLAIMED, RECORD_UNUSED,
    REFERENCE_ID_OFFSET, REGISTRATION_ID_OFFSET, REUSE_DEADLINE_OFFSET, TYPE_ID_OFFSET, cluster_key,
    cluster_label, cluster_service_key, cluster_service_label, counters as kinds, label_bytes,
};

use crate::sync::Arc;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::sys::mapped::SharedFile;

/// For how long a freed counter's slot stays unused, so that tools do not mix up two counters: 1 s.
const REUSE_AFTER_MS: i64 = 1_000;
/// Version 1.0.0 of the client's control protocol, of which this process serves nothing.
const CONTROL_PROTOCOL_VERSION: i64 = 1 << 16;
const OWNER_NONE: i64 = -1;

/// Allocates and frees the counters of this process's cnc.dat. There is one.
#[derive(Debug)]
pub struct CountersManager {
    file: Arc<SharedFile>,
    layout: CncLayout,
    /// Ids below were allocated before; they are dense.
    used: usize,
    /// Freed ids, and from when on they may be used again.
    freed: Vec<(usize, i64)>,
}

/// Every slot is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("all {capacity} counters of cnc.dat are in use: raise the counter capacity")]
pub struct CountersFull {
    /// How many there are.
    pub capacity: usize,
}

impl CountersManager {
    pub(super) fn new(file: Arc<SharedFile>, layout: CncLayout) -> Self {
        Self { file, layout, used: 0, freed: Vec::new() }
    }

    /// Allocates a counter of `type_id` with `key` (at most 112 bytes) and `label`, at first `initial`. A slot
    /// that was freed is used again only if its time had come at the last [`Self::free`] or
    /// [`Self::allocate_at`].
    ///
    /// # Errors
    /// [`CountersFull`].
    ///
    /// # Panics
    /// When `key` is too long: keys are made by this program.
    pub fn allocate(
        &mut self,
        type_id: i32,
        key: &[u8],
        label: &str,
        initial: i64,
    ) -> Result<Counter, CountersFull> {
        self.allocate_at(type_id, key, label, initial, 0)
    }

    /// As [`Self::allocate`], but uses slots again that were freed a second before `now_ms` (epoch).
    ///
    /// # Errors
    /// [`CountersFull`].
    ///
    /// # Panics
    /// When `key` is too long.
    pub fn allocate_at(
        &mut self,
        type_id: i32,
        key: &[u8],
        label: &str,
        initial: i64,
        now_ms: i64,
    ) -> Result<Counter, CountersFull> {
        assert!(key.len() <= KEY_LENGTH_MAX, "a key of {} bytes is too long", key.len());
        let id = self.take_slot(now_ms)?;
        let at = self.layout.metadata_offset(id);
        let mut padded_key = [0; KEY_LENGTH_MAX];
        padded_key[..key.len()].copy_from_slice(key);
        let label = label_bytes(label);
        self.file.atomic_i32(at + TYPE_ID_OFFSET).store(type_id, Ordering::Relaxed);
        self.file.atomic_i64(at + REUSE_DEADLINE_OFFSET).store(NOT_FREE_TO_REUSE, Ordering::Relaxed);
        self.file.copy_in(at + KEY_OFFSET, &padded_key);
        self.file.copy_in(at + LABEL_OFFSET, &label);
        self.file.atomic_i32(at + LABEL_LENGTH_OFFSET).store(label.len() as i32, Ordering::Release);
        let counter = Counter::new(Arc::clone(&self.file), &self.layout, id as i32);
        counter.set_registration_id(0);
        counter.word(OWNER_ID_OFFSET).store(0, Ordering::Relaxed);
        counter.word(REFERENCE_ID_OFFSET).store(0, Ordering::Relaxed);
        counter.set_ordered(initial);
        // Publishes all of the above: pairs with the Acquire load of whoever walks the records.
        self.file.atomic_i32(at).store(RECORD_ALLOCATED, Ordering::Release);
        Ok(counter)
    }

    /// Allocates a counter of a cluster, keyed and labelled as Aeron does.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate_for_cluster(
        &mut self,
        type_id: i32,
        name: &str,
        cluster_id: i32,
        initial: i64,
    ) -> Result<Counter, CountersFull> {
        self.allocate(type_id, &cluster_key(cluster_id), &cluster_label(name, cluster_id), initial)
    }

    /// Allocates a counter of one service of a cluster, keyed and labelled as Aeron does.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate_for_service(
        &mut self,
        type_id: i32,
        name: &str,
        cluster_id: i32,
        service_id: i32,
        initial: i64,
    ) -> Result<Counter, CountersFull> {
        let label = cluster_service_label(name, cluster_id, service_id);
        self.allocate(type_id, &cluster_service_key(cluster_id, service_id), &label, initial)
    }

    /// Allocates one of our own kinds, at first 0: for `service_id` when the kind is per service, else for the
    /// cluster.
    ///
    /// # Errors
    /// [`CountersFull`].
    ///
    /// # Panics
    /// When the kind is per service and `service_id` is `None`, or the other way round.
    pub fn allocate_kind(
        &mut self,
        kind: &CounterKind,
        cluster_id: i32,
        service_id: Option<i32>,
    ) -> Result<Counter, CountersFull> {
        assert_eq!(kind.per_service, service_id.is_some(), "whether {} is per service", kind.name);
        match service_id {
            Some(service_id) => self.allocate_for_service(kind.type_id, kind.name, cluster_id, service_id, 0),
            None => self.allocate_for_cluster(kind.type_id, kind.name, cluster_id, 0),
        }
    }

    /// Frees a counter at `now_ms` (epoch). Its slot is used again after a second at the earliest; by then no
    /// clone of the handle may be left that writes.
    ///
    /// # Panics
    /// When it was freed already.
    pub fn free(&mut self, counter: Counter, now_ms: i64) {
        let id = counter.id as usize;
        assert!(self.freed.iter().all(|(freed, _)| *freed != id), "counter {id} was freed before");
        let at = self.layout.metadata_offset(id);
        let deadline_ms = now_ms.saturating_add(REUSE_AFTER_MS);
        // Aeron's order: readers stop to see the counter before its key goes.
        self.file.atomic_i32(at).store(RECORD_RECLAIMED, Ordering::Release);
        self.file.copy_in(at + KEY_OFFSET, &[0; KEY_LENGTH_MAX]);
        self.file.atomic_i64(at + REUSE_DEADLINE_OFFSET).store(deadline_ms, Ordering::Release);
        self.freed.push((id, deadline_ms));
    }

    /// A handle of system counter `id`, 0 to 45 (see `consensus_tap::file::cnc::counters`).
    ///
    /// # Panics
    /// When `id` is above 45.
    pub fn system_counter(&self, id: usize) -> Counter {
        assert!(id < kinds::SYSTEM_LABELS.len(), "there is no system counter {id}");
        Counter::new(Arc::clone(&self.file), &self.layout, id as i32)
    }

    /// Allocates Aeron's system counters, whose counter ids are their own, and returns the one that counts errors.
    pub(super) fn allocate_system_counters(&mut self, version_label: &str, version: i32) -> Counter {
        assert_eq!(self.used, 0, "system counters come first");
        for id in 0..kinds::SYSTEM_LABELS.len() {
            let initial = match id {
                kinds::SYSTEM_VERSION => i64::from(version),
                kinds::SYSTEM_CONTROL_PROTOCOL_VERSION => CONTROL_PROTOCOL_VERSION,
                _ => 0,
            };
            let label = kinds::system_label(id, version_label);
            let counter = self
                .allocate(kinds::SYSTEM, &(id as i32).to_le_bytes(), &label, initial)
                .expect("a layout has room for 64 counters at least");
            counter.set_registration_id(id as i64);
            counter.word(OWNER_ID_OFFSET).store(OWNER_NONE, Ordering::Release);
        }
        self.system_counter(kinds::SYSTEM_ERRORS)
    }

    fn take_slot(&mut self, now_ms: i64) -> Result<usize, CountersFull> {
        if let Some(index) = self.freed.iter().position(|(_, deadline_ms)| *deadline_ms <= now_ms) {
            return Ok(self.freed.swap_remove(index).0);
        }
        // Some tools never look at the last slot.
        let capacity = self.layout.counter_capacity() - 1;
        if self.used == capacity {
            return Err(CountersFull { capacity });
        }
        self.used += 1;
        Ok(self.used - 1)
    }
}

/// A counter's value. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Counter {
    file: Arc<SharedFile>,
    offset: usize,
    id: i32,
}

impl Counter {
    pub(super) fn new(file: Arc<SharedFile>, layout: &CncLayout, id: i32) -> Self {
        let index = usize::try_from(id).expect("counter ids count from 0");
        assert!(index < layout.counter_capacity(), "there is no counter {id}");
        Self { file, offset: layout.value_offset(index), id }
    }

    /// The counter's id, by which others refer to it.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The value, unordered with anything else: for the one thread that sets it.
    pub fn get(&self) -> i64 {
        self.value().load(Ordering::Relaxed)
    }

    /// The value, as the last of all threads and processes left it.
    pub fn get_volatile(&self) -> i64 {
        self.value().load(Ordering::SeqCst)
    }

    /// Sets the value with Release: what was written before is visible to whoever reads it with
    /// [`Self::get_volatile`].
    pub fn set_ordered(&self, value: i64) {
        self.value().store(value, Ordering::Release);
    }

    /// Sets the value if it is `expected`, and tells whether it did.
    pub fn compare_and_set(&self, expected: i64, value: i64) -> bool {
        self.value().compare_exchange(expected, value, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Adds `delta`, whoever else does, and returns the value before.
    pub fn add(&self, delta: i64) -> i64 {
        self.value().fetch_add(delta, Ordering::AcqRel)
    }

    /// Adds `delta` where only one thread ever sets the counter: no locked instruction.
    pub fn add_ordered(&self, delta: i64) {
        self.set_ordered(self.get().wrapping_add(delta));
    }

    /// Raises the value to `value` if it is lower, where only one thread ever sets the counter.
    pub fn max_ordered(&self, value: i64) {
        if self.get() < value {
            self.set_ordered(value);
        }
    }

    /// Sets the id by which Aeron finds the counter of a resource.
    pub fn set_registration_id(&self, registration_id: i64) {
        self.word(REGISTRATION_ID_OFFSET).store(registration_id, Ordering::Release);
    }

    fn value(&self) -> &AtomicI64 {
        self.word(0)
    }

    fn word(&self, offset: usize) -> &AtomicI64 {
        self.file.atomic_i64(self.offset + offset)
    }
}

/// A counter as found in a cnc.dat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CounterRecord {
    /// Its id.
    pub id: i32,
    /// Its type.
    pub type_id: i32,
    /// Its key, with the zeros behind it.
    pub key: [u8; KEY_LENGTH_MAX],
    /// Its label; bytes that are not UTF-8 are replaced.
    pub label: String,
    /// Its value.
    pub value: i64,
    /// Registration id of the resource that it belongs to.
    pub registration_id: i64,
    /// Client that owns it, -1 for the driver.
    pub owner_id: i64,
}

/// Walks the counters of a cnc.dat.
#[derive(Debug)]
pub(super) struct CountersReader<'a> {
    file: &'a SharedFile,
    layout: CncLayout,
}

impl<'a> CountersReader<'a> {
    pub(super) fn new(file: &'a SharedFile, layout: CncLayout) -> Self {
        Self { file, layout }
    }

    /// Every counter in use, up to the first slot that never was.
    pub(super) fn into_iter(self) -> impl Iterator<Item = CounterRecord> + 'a {
        (0..self.layout.counter_capacity())
            .map(move |id| (id, self.file.load_i32(self.layout.metadata_offset(id))))
            .take_while(|(_, state)| *state != RECORD_UNUSED)
            .filter(|(_, state)| *state == RECORD_ALLOCATED)
            .map(move |(id, _)| read_record(self.file, &self.layout, id))
    }
}

fn read_record(file: &SharedFile, layout: &CncLayout, id: usize) -> CounterRecord {
    let at = layout.metadata_offset(id);
    let value_at = layout.value_offset(id);
    let mut key = [0; KEY_LENGTH_MAX];
    file.copy_out(at + KEY_OFFSET, &mut key);
    let label_length = usize::try_from(file.load_i32(at + LABEL_LENGTH_OFFSET)).unwrap_or_default();
    let mut label = vec![0; label_length.min(LABEL_LENGTH_MAX)];
    file.copy_out(at + LABEL_OFFSET, &mut label);
    CounterRecord {
        id: id as i32,
        type_id: file.load_i32(at + TYPE_ID_OFFSET),
        key,
        label: String::from_utf8_lossy(&label).into_owned(),
        value: file.load_i64(value_at),
        registration_id: file.load_i64(value_at + REGISTRATION_ID_OFFSET),
        owner_id: file.load_i64(value_at + OWNER_ID_OFFSET),
    }
}
