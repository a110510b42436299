//! One service's messages to the cluster that the log does not hold yet.

use super::ring::{CAPACITY_MAX, Ring, RingPosition};
use crate::codec::log::{SESSION_HEADER_LENGTH, SessionMessage, service_session_id};
use crate::codec::snapshot::ServiceCounters;

/// The messages that a service offered and the log does not hold, with what numbers them.
///
/// Every node numbers the offers of its service the same way, and the log tells the number of each message
/// it holds; so each node knows which of its offers are still to be appended. A standby that becomes leader
/// appends all that is pending, in order, and no other.
#[derive(Clone, Debug)]
pub struct PendingMessages {
    service_id: usize,
    next_service_session_id: i64,
    log_service_session_id: i64,
    ring: Ring,
    scratch: Vec<u8>,
}

/// One pending message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingServiceMessage<'a> {
    /// The session id that it gets in the log.
    pub cluster_session_id: i64,
    /// What the service offered.
    pub payload: &'a [u8],
}

impl PendingMessages {
    pub(super) fn new(service_id: usize) -> Self {
        Self::bounded(service_id, CAPACITY_MAX)
    }

    pub(super) fn bounded(service_id: usize, capacity_max: usize) -> Self {
        Self {
            service_id,
            next_service_session_id: service_session_id(service_id, 1),
            log_service_session_id: service_session_id(service_id, 0),
            ring: Ring::new(capacity_max),
            scratch: Vec::with_capacity(SESSION_HEADER_LENGTH),
        }
    }

    /// The service.
    pub fn service_id(&self) -> usize {
        self.service_id
    }

    /// Session id that the service's next message gets.
    pub fn next_service_session_id(&self) -> i64 {
        self.next_service_session_id
    }

    /// Session id of the service's newest message in the log.
    pub fn log_service_session_id(&self) -> i64 {
        self.log_service_session_id
    }

    /// How many messages the log holds that this node's service never offered: above 0 the service is not
    /// deterministic, here or on the members.
    pub fn missed_count(&self) -> u64 {
        let missed = self.log_service_session_id as i128 + 1 - self.next_service_session_id as i128;
        u64::try_from(missed).unwrap_or(0)
    }

    /// The messages in the order in which they are to be appended.
    pub fn iter(&self) -> impl Iterator<Item = PendingServiceMessage<'_>> {
        self.iter_from(RingPosition::default()).map(|(message, _)| message)
    }

    /// As [`Self::iter`], from a place on, each with the place that follows.
    pub(crate) fn iter_from(
        &self,
        from: RingPosition,
    ) -> impl Iterator<Item = (PendingServiceMessage<'_>, RingPosition)> {
        self.ring.iter_from(from).map(|(message, next)| {
            let cluster_session_id = cluster_session_id_of(message);
            (PendingServiceMessage { cluster_session_id, payload: &message[SESSION_HEADER_LENGTH..] }, next)
        })
    }

    /// Bytes in use in the ring, as a Java member counts them.
    pub fn size(&self) -> usize {
        self.ring.size()
    }

    /// Takes an offer of the service. Returns false when the ring is full.
    pub(super) fn offer(&mut self, leadership_term_id: i64, payload: &[u8]) -> bool {
        let cluster_session_id = self.next_service_session_id;
        if cluster_session_id > self.log_service_session_id {
            let header = SessionMessage {
                leadership_term_id,
                cluster_session_id,
                timestamp: NOT_APPENDED,
                payload: &[],
            };
            self.scratch.clear();
            header.encode(&mut self.scratch);
            if !self.ring.push(&[&self.scratch, payload]) {
                return false;
            }
        }
        self.next_service_session_id = cluster_session_id.wrapping_add(1);
        true
    }

    /// The log holds the message with this id, and so all before it.
    pub(super) fn on_logged(&mut self, cluster_session_id: i64) {
        self.log_service_session_id = cluster_session_id;
        self.ring.pop_while(|message| cluster_session_id_of(message) <= cluster_session_id);
    }

    /// Takes the counters of a snapshot, and drops all messages. Returns false when the ring would exceed
    /// its largest capacity.
    pub(super) fn load(&mut self, counters: ServiceCounters) -> bool {
        self.next_service_session_id = counters.next_service_session_id;
        self.log_service_session_id = counters.log_service_session_id;
        usize::try_from(counters.pending_message_capacity).is_ok_and(|capacity| self.ring.reset(capacity))
    }

    /// Takes a whole pending message of a snapshot. Returns false when the ring is full.
    pub(super) fn load_message(&mut self, message: &[u8]) -> bool {
        let Some((header, payload)) = message.split_first_chunk::<SESSION_HEADER_LENGTH>() else {
            return false;
        };
        // A leader's snapshot may bear the position at which a message was appended; here it is not.
        let mut header = *header;
        header[TIMESTAMP_OFFSET..].copy_from_slice(&NOT_APPENDED.to_le_bytes());
        self.ring.push(&[&header, payload])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The messages with their headers, as a snapshot holds them.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.ring.iter()
    }

    /// The next id as a snapshot states it: with nothing pending it follows the log, whatever the service
    /// did, or no member could load the snapshot.
    pub(super) fn corrected_next_service_session_id(&self) -> i64 {
        if self.is_empty() {
            self.log_service_session_id.wrapping_add(1)
        } else {
            self.next_service_session_id
        }
    }
}

/// Timestamp of a pending message that its leader has not appended.
const NOT_APPENDED: i64 = i64::MAX;
const CLUSTER_SESSION_ID_OFFSET: usize = 16;
const TIMESTAMP_OFFSET: usize = 24;

fn cluster_session_id_of(message: &[u8]) -> i64 {
    let bytes = message[CLUSTER_SESSION_ID_OFFSET..].first_chunk().expect("the ring holds whole headers");
    i64::from_le_bytes(*bytes)
}
