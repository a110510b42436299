//! What a service has requested of the cluster, in order.
//!
//! One growing buffer of records, 8-byte aligned, written once and read once:
//!
//! ```text
//!   0             8      12              16            24
//!  | log position | kind | payload length | id          | deadline or payload, padded to 8 |
//! ```
//! The layout is private to this process. Records of one buffer ascend by position.

use crate::{ClusterError, ClusterSessionId, LogPosition};

/// Requests of one service, each with the position of the event that caused it.
///
/// A runtime [swaps](super::ServiceDriver::swap_emissions) a filled buffer for an empty one, so two or three of
/// them go round and nothing is allocated once they have grown.
#[derive(Debug)]
pub struct Emissions {
    bytes: Vec<u8>,
    count: usize,
    length_max: usize,
}

impl Emissions {
    /// An empty buffer that may grow to [`EMISSIONS_LENGTH_MAX`].
    pub fn new() -> Self {
        Self::with_length_max(EMISSIONS_LENGTH_MAX)
    }

    /// An empty buffer that may grow to `length_max` bytes, headers included.
    pub fn with_length_max(length_max: usize) -> Self {
        Self { bytes: Vec::new(), count: 0, length_max }
    }

    /// The number of requests.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes in use, headers included.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Removes all requests and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Gives memory beyond `capacity` bytes back, for after a burst. Requests are kept.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// The requests in order.
    pub fn iter(&self) -> impl Iterator<Item = Emission<'_>> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (emission, next) = self.get(offset)?;
            offset = next;
            Some(emission)
        })
    }

    /// The request at `offset` and the offset of the one after it; `None` at the end. Begin at 0. A consumer
    /// that stops in the middle, as one does that must not pass a position, keeps the offset.
    ///
    /// # Panics
    /// If `offset` is neither 0 nor one that this buffer returned.
    pub fn get(&self, offset: usize) -> Option<(Emission<'_>, usize)> {
        let record = &self.bytes[offset..];
        if record.is_empty() {
            return None;
        }
        let (header, rest) = record.split_first_chunk::<HEADER_LENGTH>().expect("offset is that of a record");
        let payload_length = u32_at(header, PAYLOAD_LENGTH_OFFSET) as usize;
        let (id, payload) = (i64_at(header, ID_OFFSET), &rest[..payload_length]);
        let request = match header[KIND_OFFSET] {
            SCHEDULE_TIMER => Request::ScheduleTimer {
                correlation_id: id,
                deadline: i64::from_le_bytes(payload.try_into().expect("a deadline is 8 bytes")),
            },
            CANCEL_TIMER => Request::CancelTimer { correlation_id: id },
            OFFER => Request::Offer { payload },
            CLOSE_SESSION => Request::CloseSession { id: ClusterSessionId(id) },
            kind => unreachable!("no record of kind {kind} is ever written"),
        };
        let position = LogPosition(i64_at(header, POSITION_OFFSET));
        Some((Emission { position, request }, offset + HEADER_LENGTH + aligned(payload_length)))
    }

    #[inline]
    pub(crate) fn schedule_timer(
        &mut self,
        position: LogPosition,
        correlation_id: i64,
        deadline: i64,
    ) -> Result<(), ClusterError> {
        self.push(position, SCHEDULE_TIMER, correlation_id, &deadline.to_le_bytes())
    }

    #[inline]
    pub(crate) fn cancel_timer(
        &mut self,
        position: LogPosition,
        correlation_id: i64,
    ) -> Result<(), ClusterError> {
        self.push(position, CANCEL_TIMER, correlation_id, &[])
    }

    #[inline]
    pub(crate) fn offer(&mut self, position: LogPosition, payload: &[u8]) -> Result<(), ClusterError> {
        self.push(position, OFFER, 0, payload)
    }

    #[inline]
    pub(crate) fn close_session(
        &mut self,
        position: LogPosition,
        id: ClusterSessionId,
    ) -> Result<(), ClusterError> {
        self.push(position, CLOSE_SESSION, id.0, &[])
    }

    #[inline]
    fn push(&mut self, position: LogPosition, kind: u8, id: i64, payload: &[u8]) -> Result<(), ClusterError> {
        let record_length = HEADER_LENGTH.saturating_add(aligned(payload.len()));
        let payload_length = u32::try_from(payload.len()).map_err(|_| ClusterError::EmissionsFull)?;
        if record_length > self.length_max.saturating_sub(self.bytes.len()) {
            return Err(ClusterError::EmissionsFull);
        }
        let mut header = [0; HEADER_LENGTH];
        header[POSITION_OFFSET..POSITION_OFFSET + 8].copy_from_slice(&position.0.to_le_bytes());
        header[KIND_OFFSET] = kind;
        header[PAYLOAD_LENGTH_OFFSET..PAYLOAD_LENGTH_OFFSET + 4]
            .copy_from_slice(&payload_length.to_le_bytes());
        header[ID_OFFSET..ID_OFFSET + 8].copy_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
        self.bytes.extend_from_slice(&[0; 8][..aligned(payload.len()) - payload.len()]);
        self.count += 1;
        Ok(())
    }
}

impl Default for Emissions {
    fn default() -> Self {
        Self::new()
    }
}

/// One request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Emission<'a> {
    /// The end of the event that caused it.
    pub position: LogPosition,
    /// What is to be done.
    pub request: Request<'a>,
}

/// What a service may ask of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request<'a> {
    /// Fire at a deadline; move a timer that exists.
    ScheduleTimer {
        /// Of the timer, among all services.
        correlation_id: i64,
        /// In cluster time.
        deadline: i64,
    },
    /// Forget a timer, if it exists.
    CancelTimer {
        /// Of the timer, among all services.
        correlation_id: i64,
    },
    /// Put a message into the log.
    Offer {
        /// The message.
        payload: &'a [u8],
    },
    /// Close a session.
    CloseSession {
        /// Which one.
        id: ClusterSessionId,
    },
}

/// The limit of one buffer, that of the ring in which a Java consensus module keeps what services offered.
pub const EMISSIONS_LENGTH_MAX: usize = 1 << 30;

const POSITION_OFFSET: usize = 0;
const KIND_OFFSET: usize = 8;
const PAYLOAD_LENGTH_OFFSET: usize = 12;
const ID_OFFSET: usize = 16;
const HEADER_LENGTH: usize = 24;
const _: () = assert!(ID_OFFSET + size_of::<i64>() == HEADER_LENGTH && HEADER_LENGTH.is_multiple_of(8));

const SCHEDULE_TIMER: u8 = 1;
const CANCEL_TIMER: u8 = 2;
const OFFER: u8 = 3;
const CLOSE_SESSION: u8 = 4;

const fn aligned(length: usize) -> usize {
    length.saturating_add(7) & !7
}

fn i64_at(header: &[u8; HEADER_LENGTH], at: usize) -> i64 {
    i64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(header: &[u8; HEADER_LENGTH], at: usize) -> u32 {
    u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_requests_in_order_with_their_positions() {
        let mut emissions = Emissions::new();
        emissions.offer(LogPosition(32), b"odd length").unwrap();
        emissions.schedule_timer(LogPosition(32), -7, 1_000).unwrap();
        emissions.cancel_timer(LogPosition(64), i64::MIN).unwrap();
        emissions.offer(LogPosition(96), b"").unwrap();
        emissions.close_session(LogPosition(96), ClusterSessionId(3)).unwrap();
        assert_eq!(emissions.count(), 5);
        let at = |position, request| Emission { position: LogPosition(position), request };
        assert_eq!(
            emissions.iter().collect::<Vec<_>>(),
            [
                at(32, Request::Offer { payload: b"odd length" }),
                at(32, Request::ScheduleTimer { correlation_id: -7, deadline: 1_000 }),
                at(64, Request::CancelTimer { correlation_id: i64::MIN }),
                at(96, Request::Offer { payload: b"" }),
                at(96, Request::CloseSession { id: ClusterSessionId(3) }),
            ]
        );
    }

    #[test]
    fn refuses_what_would_pass_the_limit_and_keeps_what_it_has() {
        let mut emissions = Emissions::with_length_max(2 * HEADER_LENGTH + 8);
        emissions.offer(LogPosition(0), b"12345678").unwrap();
        assert_eq!(emissions.offer(LogPosition(0), b"1"), Err(ClusterError::EmissionsFull));
        emissions.cancel_timer(LogPosition(0), 1).unwrap();
        assert_eq!(emissions.cancel_timer(LogPosition(0), 2), Err(ClusterError::EmissionsFull));
        assert_eq!(emissions.count(), 2);
        assert_eq!(emissions.iter().count(), 2);
    }

    #[test]
    fn keeps_its_memory_when_cleared() {
        let mut emissions = Emissions::new();
        emissions.offer(LogPosition(0), &[1; 1000]).unwrap();
        let capacity = emissions.bytes.capacity();
        emissions.clear();
        assert!(emissions.is_empty() && emissions.get(0).is_none());
        assert_eq!(emissions.bytes.capacity(), capacity);
    }
}
