//! The way of a service's replies to whoever leads, and what the service is told of its clients.
//!
//! ```text
//!                filled buffers (ring)
//!   EgressSender ────────────────────▶ EgressReceiver      one pair for each service
//!                ◀──────────────────── empty buffers (ring)
//!                ◀──────────────────── slots: which session, who listens, how much was taken (atomics)
//!                ────────────────────▶ up to which event of the log all replies are in filled buffers (atomic)
//! ```
//! A reply is copied once, into a growing buffer, which is handed over after each message of the log if
//! an empty one is there to go on with. So nothing here waits, also where one thread runs both ends; what bounds the
//! buffers is the window of each session: replies that were offered and are not with the client's stream yet.
//!
//! One record, 8-byte aligned, of a layout that is private to this process:
//!
//! ```text
//!   0        4      8            16          24
//!  | length | slot | session id | timestamp | payload, `length` bytes, padded to 8 |
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use consensus_tap::codec::log::SESSION_HEADER_LENGTH;
use consensus_tap::leader::EgressState;
use rtrb::{Consumer, Producer, RingBuffer};
use service_api::host::{Egress, EgressHeader};
use service_api::{ClusterSessionId, OfferError};

/// A buffer that a burst blew up is cut down to this before it is used again.
const BUFFER_LENGTH_KEPT: usize = 4 * 1024 * 1024;

/// Most sessions that a node may be configured to have at once.
pub const SESSION_COUNT_MAX: usize = 4096;

/// Sessions that can be told apart: those that are open, and those that are closed while their last replies come. A cluster
/// that is taken over may have let in more; what opens beside so many others gets no replies.
pub const SLOT_COUNT: usize = 2 * SESSION_COUNT_MAX;

/// No session has this id.
const NO_SESSION: i64 = 0;

/// How much a service may reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EgressLimits {
    /// The longest reply, bytes with its header.
    pub message_length_max: usize,
    /// Bytes that may be offered to one session before whoever leads has taken them. A single message may be longer.
    pub window_length: usize,
    /// Whether the thread of the service also sends. Then a client that does not keep up cannot catch up for as long as
    /// the service tries again, and so is told as `NotConnected`: the reply is lost, and the service goes on.
    pub is_shared: bool,
}

/// Makes the two ends for one service, between which `buffer_count` buffers go round.
pub fn egress_ring(buffer_count: usize, limits: EgressLimits) -> (EgressSender, EgressReceiver) {
    let (filled_producer, filled_consumer) = RingBuffer::new(buffer_count);
    let (mut empty_producer, empty_consumer) = RingBuffer::new(buffer_count);
    for _ in 0..buffer_count {
        empty_producer.push(Replies::default()).expect("the ring is as long as there are buffers");
    }
    let slots: Arc<[Slot]> = (0..SLOT_COUNT).map(|_| Slot::default()).collect();
    let settled_position = Arc::new(AtomicI64::new(i64::MIN));
    (
        EgressSender {
            filled: filled_producer,
            empty: empty_consumer,
            slots: Arc::clone(&slots),
            offered: vec![0; SLOT_COUNT],
            limits,
            replies: Replies::default(),
            claim: None,
            handled_position: i64::MIN,
            settled_position: Arc::clone(&settled_position),
        },
        EgressReceiver {
            filled: filled_consumer,
            empty: empty_producer,
            slots,
            current: None,
            settled_position,
            replied_position: i64::MIN,
        },
    )
}

/// What the service is told of one session.
#[derive(Debug, Default)]
struct Slot {
    session_id: AtomicI64,
    /// One of the states below.
    state: AtomicU32,
    /// Bytes of records that are done with. Never set back, so it holds across sessions of a slot.
    taken: AtomicU64,
}

const NOT_CONNECTED: u32 = 0;
const CONNECTED: u32 = 1;
const BACK_PRESSURED: u32 = 2;

/// Where a session's slot is, the first place to look at apart from collisions.
fn first_slot(session_id: i64) -> usize {
    session_id.unsigned_abs() as usize % SLOT_COUNT
}

/// Records of replies, in the order in which they were offered.
#[derive(Debug, Default)]
struct Replies {
    bytes: Vec<u8>,
    /// When they were handed over, the service had handled the log up to here: its replies are in this buffer and
    /// those before.
    handled_position: i64,
}

const LENGTH_OFFSET: usize = 0;
const SLOT_OFFSET: usize = 4;
const SESSION_ID_OFFSET: usize = 8;
const TIMESTAMP_OFFSET: usize = 16;
const RECORD_HEADER_LENGTH: usize = 24;

/// One record.
#[derive(Clone, Copy, Debug)]
struct Reply<'a> {
    cluster_session_id: i64,
    /// In whose window it counts.
    slot: usize,
    /// Cluster time of the event that it answers.
    timestamp: i64,
    payload: &'a [u8],
}

impl Replies {
    fn begin(&mut self, slot: usize, header: &EgressHeader, payload: &[u8]) -> usize {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&[0; SLOT_OFFSET]);
        self.bytes.extend_from_slice(&(slot as u32).to_le_bytes());
        self.bytes.extend_from_slice(&header.cluster_session_id.0.to_le_bytes());
        self.bytes.extend_from_slice(&header.timestamp.to_le_bytes());
        self.bytes.extend_from_slice(payload);
        offset
    }

    /// Ends the record that begins at `offset`, and returns its length.
    fn end(&mut self, offset: usize) -> u64 {
        let length = self.bytes.len() - offset - RECORD_HEADER_LENGTH;
        self.bytes[offset + LENGTH_OFFSET..][..4].copy_from_slice(&(length as u32).to_le_bytes());
        self.bytes.resize(offset + RECORD_HEADER_LENGTH + length.next_multiple_of(8), 0);
        (self.bytes.len() - offset) as u64
    }

    /// The record at `offset`, and the offset of the next.
    fn get(&self, offset: usize) -> Option<(Reply<'_>, usize)> {
        let (header, rest) = self.bytes[offset..].split_first_chunk::<RECORD_HEADER_LENGTH>()?;
        let u32_at =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = u32_at(LENGTH_OFFSET) as usize;
        let i64_at = |at: usize| i64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let record_length = RECORD_HEADER_LENGTH + length.next_multiple_of(8);
        let reply = Reply {
            cluster_session_id: i64_at(SESSION_ID_OFFSET),
            timestamp: i64_at(TIMESTAMP_OFFSET),
            slot: u32_at(SLOT_OFFSET) as usize,
            payload: &rest[..length],
        };
        Some((reply, offset + record_length))
    }
}

/// The service's end.
#[derive(Debug)]
pub struct EgressSender {
    filled: Producer<Replies>,
    empty: Consumer<Replies>,
    slots: Arc<[Slot]>,
    /// By slot: bytes of records that were ever offered.
    offered: Vec<u64>,
    limits: EgressLimits,
    replies: Replies,
    claim: Option<OpenClaim>,
    /// End of the newest event that the service has handled.
    handled_position: i64,
    settled_position: Arc<AtomicI64>,
}

#[derive(Clone, Copy, Debug)]
struct OpenClaim {
    slot: usize,
    offset: usize,
}

impl EgressSender {
    /// Hands over what was offered, if there is a buffer to go on with. Costs a look where nothing was.
    #[inline]
    pub fn flush(&mut self) -> usize {
        if self.replies.bytes.is_empty() {
            return 0;
        }
        let Ok(empty) = self.empty.pop() else { return 0 };
        self.replies.handled_position = self.handled_position;
        let filled = std::mem::replace(&mut self.replies, empty);
        self.filled.push(filled).expect("there are no more buffers than slots");
        1
    }

    /// The service has handled the event that ends at `position`: hands over what it replied, as [`Self::flush`].
    #[inline]
    pub fn flush_handled(&mut self, position: i64) -> usize {
        self.handled_position = position;
        self.flush()
    }

    /// [`Self::flush`], and tells whoever leads how far the service has replied. To be called once a cycle.
    #[inline]
    pub fn settle(&mut self) -> usize {
        let work = self.flush();
        // Only this thread writes, and where nothing was handled there is nothing new to say.
        let is_news = self.settled_position.load(Ordering::Relaxed) < self.handled_position;
        if is_news && self.replies.bytes.is_empty() {
            self.settled_position.store(self.handled_position, Ordering::Release);
        }
        work
    }

    /// The slot of a session that takes a message of `length` bytes now.
    #[inline]
    fn admit(&self, id: ClusterSessionId, length: usize) -> Result<usize, OfferError> {
        let index = self.find(id.0).ok_or(OfferError::NotConnected)?;
        let slot = &self.slots[index];
        // Should the slot be another session's by now, whoever takes the record finds out.
        let state = slot.state.load(Ordering::Relaxed);
        if state == NOT_CONNECTED {
            return Err(OfferError::NotConnected);
        }
        let length_max = self.limits.message_length_max - SESSION_HEADER_LENGTH;
        if length > length_max {
            return Err(OfferError::TooLong { length, length_max });
        }
        let waiting = self.offered[index] - slot.taken.load(Ordering::Relaxed);
        let is_full = waiting > 0 && waiting as usize + length > self.limits.window_length;
        if is_full || state == BACK_PRESSURED {
            return Err(if self.limits.is_shared {
                OfferError::NotConnected
            } else {
                OfferError::BackPressured
            });
        }
        Ok(index)
    }

    #[inline]
    fn find(&self, session_id: i64) -> Option<usize> {
        let first = first_slot(session_id);
        if self.slots[first].session_id.load(Ordering::Acquire) == session_id {
            return Some(first);
        }
        self.find_displaced(session_id, first)
    }

    #[cold]
    fn find_displaced(&self, session_id: i64, first: usize) -> Option<usize> {
        let is_it = |slot: &usize| self.slots[*slot].session_id.load(Ordering::Acquire) == session_id;
        (first..SLOT_COUNT).chain(0..first).find(is_it)
    }
}

impl Egress for EgressSender {
    #[inline]
    fn offer(&mut self, header: &EgressHeader, payload: &[u8]) -> Result<(), OfferError> {
        let slot = self.admit(header.cluster_session_id, payload.len())?;
        let offset = self.replies.begin(slot, header, payload);
        self.offered[slot] += self.replies.end(offset);
        Ok(())
    }

    #[inline]
    fn try_claim(&mut self, header: &EgressHeader, length: usize) -> Result<(), OfferError> {
        let slot = self.admit(header.cluster_session_id, length)?;
        let offset = self.replies.begin(slot, header, &[]);
        self.replies.bytes.resize(self.replies.bytes.len() + length, 0);
        self.claim = Some(OpenClaim { slot, offset });
        Ok(())
    }

    fn claimed(&self) -> &[u8] {
        let claim = self.claim.expect("a claim is open");
        &self.replies.bytes[claim.offset + RECORD_HEADER_LENGTH..]
    }

    fn claimed_mut(&mut self) -> &mut [u8] {
        let claim = self.claim.expect("a claim is open");
        &mut self.replies.bytes[claim.offset + RECORD_HEADER_LENGTH..]
    }

    #[inline]
    fn commit(&mut self) -> Result<(), OfferError> {
        let OpenClaim { slot, offset } = self.claim.take().expect("a claim is open");
        self.offered[slot] += self.replies.end(offset);
        Ok(())
    }

    fn abort(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.replies.bytes.truncate(claim.offset);
        }
    }

    /// Lets the other thread work; what was offered is handed over first, or it might wait for us.
    fn idle(&mut self) {
        self.flush();
        std::thread::yield_now();
    }
}

/// The end of whoever leads.
#[derive(Debug)]
pub struct EgressReceiver {
    filled: Consumer<Replies>,
    empty: Producer<Replies>,
    slots: Arc<[Slot]>,
    /// The buffer being read, and how far it is.
    current: Option<(Replies, usize)>,
    settled_position: Arc<AtomicI64>,
    replied_position: i64,
}

impl EgressReceiver {
    /// The session may get replies once its client listens. Call it before any service can learn of the session. Returns
    /// false when there is no slot for it: then it gets none.
    #[must_use]
    pub fn open(&self, session_id: i64) -> bool {
        let first = first_slot(session_id);
        let ids = |slot: usize| self.slots[slot].session_id.load(Ordering::Relaxed);
        let slots = || (first..SLOT_COUNT).chain(0..first);
        if slots().any(|slot| ids(slot) == session_id) {
            return true;
        }
        let Some(free) = slots().find(|slot| ids(*slot) == NO_SESSION) else { return false };
        self.slots[free].state.store(NOT_CONNECTED, Ordering::Relaxed);
        self.slots[free].session_id.store(session_id, Ordering::Release);
        true
    }

    /// What the service is to be told of the session's client from now on.
    pub fn changed(&self, session_id: i64, state: EgressState) {
        let state = match state {
            EgressState::NotConnected => NOT_CONNECTED,
            EgressState::Connected => CONNECTED,
            EgressState::BackPressured => BACK_PRESSURED,
        };
        if let Some(slot) = self.find(session_id) {
            self.slots[slot].state.store(state, Ordering::Release);
        }
    }

    /// The session is gone.
    pub fn close(&self, session_id: i64) {
        if let Some(slot) = self.find(session_id) {
            self.slots[slot].state.store(NOT_CONNECTED, Ordering::Relaxed);
            self.slots[slot].session_id.store(NO_SESSION, Ordering::Release);
        }
    }

    /// Hands out up to `limit` replies, in order: session, cluster time and payload. Returns how many there were; they
    /// are done with then, for good or ill.
    #[inline]
    pub fn poll(&mut self, limit: usize, mut on_reply: impl FnMut(i64, i64, &[u8])) -> usize {
        let mut count = 0;
        while count < limit {
            let Some((replies, offset)) = self.current.take() else {
                let Ok(replies) = self.filled.pop() else { break };
                self.current = Some((replies, 0));
                continue;
            };
            match replies.get(offset) {
                Some((reply, next)) => {
                    on_reply(reply.cluster_session_id, reply.timestamp, reply.payload);
                    let taken = &self.slots[reply.slot].taken;
                    // One thread writes, so load and store need not be one step.
                    let length = (next - offset) as u64;
                    taken.store(taken.load(Ordering::Relaxed) + length, Ordering::Relaxed);
                    count += 1;
                    self.current = Some((replies, next));
                }
                None => self.recycle(replies),
            }
        }
        count
    }

    /// Everything that the service replied to the log up to here has been handed out by [`Self::poll`].
    pub fn replied_position(&mut self) -> i64 {
        // Looked at before the ring: what was settled by then is in there, or was.
        let settled_position = self.settled_position.load(Ordering::Acquire);
        if self.current.is_none() && self.filled.is_empty() {
            self.replied_position = self.replied_position.max(settled_position);
        }
        self.replied_position
    }

    fn recycle(&mut self, mut replies: Replies) {
        self.replied_position = self.replied_position.max(replies.handled_position);
        replies.bytes.clear();
        replies.bytes.shrink_to(BUFFER_LENGTH_KEPT);
        // The service's own buffer is one more than the ring holds when the service has stopped.
        let _ = self.empty.push(replies);
    }

    fn find(&self, session_id: i64) -> Option<usize> {
        let first = first_slot(session_id);
        let is_it = |slot: &usize| self.slots[*slot].session_id.load(Ordering::Relaxed) == session_id;
        (first..SLOT_COUNT).chain(0..first).find(is_it)
    }
}

#[cfg(test)]
mod tests;
