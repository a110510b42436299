//! A bounded ring of one producer and one consumer, with those of rtrb's functions that are used, and its
//! ordering: a push happens before the pop that takes it, a pop before the push that uses its slot again, and
//! nothing else.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};

/// Makes rings.
#[derive(Debug)]
pub struct RingBuffer<T> {
    slots: Vec<Mutex<Option<T>>>,
    pushed: AtomicUsize,
    popped: AtomicUsize,
}

impl<T> RingBuffer<T> {
    /// A ring of `capacity` slots.
    #[expect(clippy::new_ret_no_self, reason = "as rtrb has it")]
    pub fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let slots = (0..capacity).map(|_| Mutex::new(None)).collect();
        let ring = Arc::new(Self { slots, pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0) });
        (Producer { ring: Arc::clone(&ring) }, Consumer { ring })
    }

    fn slot(&self, index: usize) -> &Mutex<Option<T>> {
        &self.slots[index % self.slots.len()]
    }
}

/// The end that pushes.
#[derive(Debug)]
pub struct Producer<T> {
    ring: Arc<RingBuffer<T>>,
}

/// The ring had no room.
#[derive(Debug)]
pub enum PushError<T> {
    /// What was to be pushed.
    Full(T),
}

impl<T> Producer<T> {
    /// Whether a push would be refused.
    pub fn is_full(&self) -> bool {
        let pushed = self.ring.pushed.load(Ordering::Relaxed);
        pushed - self.ring.popped.load(Ordering::Acquire) == self.ring.slots.len()
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// [`PushError::Full`].
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.is_full() {
            return Err(PushError::Full(value));
        }
        let pushed = self.ring.pushed.load(Ordering::Relaxed);
        *self.ring.slot(pushed).lock().expect("nobody panicked") = Some(value);
        self.ring.pushed.store(pushed + 1, Ordering::Release);
        Ok(())
    }
}

/// The end that pops.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: Arc<RingBuffer<T>>,
}

/// The ring was empty.
#[derive(Debug)]
pub struct PopError;

impl<T> Consumer<T> {
    /// Takes the oldest value.
    ///
    /// # Errors
    /// [`PopError`] when there is none.
    pub fn pop(&mut self) -> Result<T, PopError> {
        let popped = self.ring.popped.load(Ordering::Relaxed);
        if popped == self.ring.pushed.load(Ordering::Acquire) {
            return Err(PopError);
        }
        let value = self.ring.slot(popped).lock().expect("nobody panicked").take();
        self.ring.popped.store(popped + 1, Ordering::Release);
        value.ok_or(PopError)
    }
}
