//! The distinct error log: at 8192 in both mark files, and in cnc.dat.
//!
//! ```text
//!   0        4                  8                16                24
//!  | length | observation count | last timestamp | first timestamp | text, UTF-8 … | padding to 8
//! ```
//! Entries lie side by side from the start of the region, each at a multiple of 8; a length (header and text)
//! of 0 ends them and is stored last when an entry is added. Timestamps are epoch milliseconds. An error seen
//! again only raises the count. Same bytes as Agrona's `DistinctErrorLog`.

use super::{Edit, to_u64};

/// The errors of one region, and where the next one goes.
///
/// It holds what the region holds, so its memory is bounded by the region's length.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorLog {
    observations: Vec<Observation>,
    end: usize,
    capacity: usize,
}

/// One distinct error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Where it starts in the region, bytes.
    pub offset: u64,
    /// How often it was seen.
    pub count: i32,
    /// Epoch milliseconds.
    pub last_timestamp: i64,
    /// Epoch milliseconds.
    pub first_timestamp: i64,
    /// What was seen. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The region has no room for one more distinct error. Count it; nothing was stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the error log is full")]
pub struct ErrorLogFull;

impl ErrorLog {
    /// An empty region of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { observations: Vec::new(), end: 0, capacity }
    }

    /// Reads a region, up to its first entry that does not fit in it or is shorter than its header: what
    /// lies behind such an entry cannot be found, and new entries replace it.
    pub fn parse(region: &[u8]) -> Self {
        let mut log = Self::new(region.len());
        while let Some(observation) = parse_observation(region, log.end) {
            let length = HEADER_LENGTH + observation.1;
            log.end = (log.end + length).next_multiple_of(ALIGNMENT);
            log.observations.push(observation.0);
        }
        log
    }

    /// Every distinct error, oldest first.
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// Bytes in use.
    pub fn used_length(&self) -> usize {
        self.end
    }

    /// Records an error: the edits, offsets from the start of the region, in the order in which readers must
    /// see them. The last edit of a new error is its length, which publishes it.
    ///
    /// # Errors
    /// [`ErrorLogFull`] for a new error that does not fit.
    pub fn observe(&mut self, text: &str, now_ms: i64) -> Result<Vec<Edit>, ErrorLogFull> {
        if let Some(known) = self.observations.iter_mut().find(|known| known.text == text) {
            known.count = known.count.saturating_add(1);
            known.last_timestamp = now_ms;
            return Ok(vec![
                Edit {
                    offset: known.offset + to_u64(COUNT_OFFSET),
                    bytes: known.count.to_le_bytes().to_vec(),
                },
                Edit {
                    offset: known.offset + to_u64(LAST_TIMESTAMP_OFFSET),
                    bytes: now_ms.to_le_bytes().to_vec(),
                },
            ]);
        }
        let length = HEADER_LENGTH + text.len();
        let end = self.end.checked_add(length).filter(|end| *end <= self.capacity).ok_or(ErrorLogFull)?;
        let raw_length = i32::try_from(length).map_err(|_| ErrorLogFull)?;
        let offset = to_u64(self.end);
        self.observations.push(Observation {
            offset,
            count: 1,
            last_timestamp: now_ms,
            first_timestamp: now_ms,
            text: text.to_owned(),
        });
        self.end = end.next_multiple_of(ALIGNMENT);

        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&1_i32.to_le_bytes());
        body.extend_from_slice(&now_ms.to_le_bytes());
        body.extend_from_slice(&now_ms.to_le_bytes());
        body.extend_from_slice(text.as_bytes());
        Ok(vec![
            Edit { offset: offset + to_u64(COUNT_OFFSET), bytes: body },
            Edit { offset, bytes: raw_length.to_le_bytes().to_vec() },
        ])
    }
}

const COUNT_OFFSET: usize = 4;
const LAST_TIMESTAMP_OFFSET: usize = 8;
const FIRST_TIMESTAMP_OFFSET: usize = 16;
const HEADER_LENGTH: usize = 24;
const ALIGNMENT: usize = 8;
const _: () = assert!(FIRST_TIMESTAMP_OFFSET + size_of::<i64>() == HEADER_LENGTH);

/// An entry and the bytes of its text.
fn parse_observation(region: &[u8], at: usize) -> Option<(Observation, usize)> {
    let rest = region.get(at..)?;
    let (header, _) = rest.split_first_chunk::<HEADER_LENGTH>()?;
    let i32_at = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let i64_at = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let length = usize::try_from(i32_at(0)).ok()?;
    let text = rest.get(HEADER_LENGTH..length)?;
    let observation = Observation {
        offset: to_u64(at),
        count: i32_at(COUNT_OFFSET),
        last_timestamp: i64_at(LAST_TIMESTAMP_OFFSET),
        first_timestamp: i64_at(FIRST_TIMESTAMP_OFFSET),
        text: String::from_utf8_lossy(text).into_owned(),
    };
    Some((observation, text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(region: &mut [u8], edits: &[Edit]) {
        for edit in edits {
            let at = usize::try_from(edit.offset).unwrap();
            region[at..at + edit.bytes.len()].copy_from_slice(&edit.bytes);
        }
    }

    #[test]
    fn an_error_seen_again_raises_its_count_and_keeps_its_first_timestamp() {
        let mut region = vec![0; 256];
        let mut log = ErrorLog::new(region.len());
        for (text, now_ms) in [("one", 10), ("two, longer", 11), ("one", 12)] {
            store(&mut region, &log.observe(text, now_ms).unwrap());
        }
        assert_eq!(region[..4], 27_i32.to_le_bytes());
        assert_eq!(ErrorLog::parse(&region), log);
        let first = &log.observations()[0];
        assert_eq!((first.count, first.first_timestamp, first.last_timestamp), (2, 10, 12));
        assert_eq!(log.observations()[1].offset, 32);
    }

    #[test]
    fn a_new_error_is_published_by_its_length() {
        let mut region = vec![0; 64];
        let edits = ErrorLog::new(64).observe("text", 1).unwrap();
        store(&mut region, &edits[..edits.len() - 1]);
        assert!(ErrorLog::parse(&region).observations().is_empty());
    }

    #[test]
    fn an_error_that_does_not_fit_is_refused_and_one_known_is_still_counted() {
        let mut log = ErrorLog::new(32);
        log.observe("12345678", 1).unwrap();
        assert_eq!(log.observe("x", 2), Err(ErrorLogFull));
        assert_eq!(log.observe("12345678", 3).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_region_is_read_without_a_panic(region in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut log = ErrorLog::parse(&region);
            prop_assert!(log.used_length() <= region.len().next_multiple_of(8));
            let _ = log.observe("text", 1);
        }

        #[test]
        fn what_was_observed_is_read_back(texts in prop::collection::vec(".{0,40}", 0..20)) {
            let mut region = vec![0; 4096];
            let mut log = ErrorLog::new(region.len());
            for (text, now_ms) in texts.iter().zip(0..) {
                store(&mut region, &log.observe(text, now_ms).unwrap());
            }
            prop_assert_eq!(ErrorLog::parse(&region), log);
        }
    }
}
