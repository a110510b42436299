//! Bytes that make a snapshot as large as wanted.
//!
//! Kept in shared pieces: a frozen copy costs one reference a piece, and the live one copies a piece when it is
//! first written to afterwards. A stop of the apply loop for a whole copy of some hundred MiB is what
//! snapshots on a standby are there to avoid.

use std::sync::Arc;

use service_api::{ServiceError, SnapshotReader, SnapshotWriter};

use super::{FNV_OFFSET_BASIS, words};
use crate::sys::fnv::FNV_PRIME;

/// Words of 8 bytes, the hash of a message in each.
#[derive(Clone, Default)]
pub(super) struct Ballast {
    /// Each of `PIECE_LENGTH` bytes; the last may be shorter, but is a multiple of 8 too.
    pieces: Vec<Arc<[u8]>>,
    length: usize,
}

impl Ballast {
    /// `length` zeros, a multiple of 8.
    pub(super) fn zeroed(length: usize) -> Self {
        assert!(length.is_multiple_of(8));
        let piece = |at: usize| Arc::from(vec![0; PIECE_LENGTH.min(length - at)]);
        Self { pieces: (0..length).step_by(PIECE_LENGTH).map(piece).collect(), length }
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Notes the hash of the message of this number.
    #[inline]
    pub(super) fn write(&mut self, count: i64, hash: u64) {
        if self.length != 0 {
            // The remainder of an unsigned product, as the Java twin takes it for counts from any snapshot.
            let at = ((count as u64).wrapping_mul(8) % self.length as u64) as usize;
            let piece = Arc::make_mut(&mut self.pieces[at / PIECE_LENGTH]);
            piece[at % PIECE_LENGTH..][..8].copy_from_slice(&hash.to_le_bytes());
        }
    }

    /// Writes the bytes and then their hash.
    pub(super) fn write_to(&self, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        let message_length = snapshot.max_message_length().min(PIECE_LENGTH) & !7;
        if message_length == 0 {
            return Err("audit snapshot: its messages cannot hold 8 bytes".into());
        }
        for piece in &self.pieces {
            for message in piece.chunks(message_length) {
                snapshot.write(message)?;
            }
        }
        snapshot.write(&self.hash().to_le_bytes())
    }

    /// Reads what [`write_to`](Self::write_to) wrote, in messages of whatever length. The memory grows with what
    /// arrives, not with what a damaged header promises.
    pub(super) fn read(snapshot: &mut dyn SnapshotReader, length: i64) -> Result<Self, ServiceError> {
        let length =
            usize::try_from(length).ok().filter(|length| length.is_multiple_of(8)).ok_or_else(|| {
                damaged(format!("the ballast is to have {length} bytes, expected a multiple of 8"))
            })?;
        let mut ballast = Self { pieces: Vec::new(), length: 0 };
        let mut piece = Vec::new();
        while ballast.length < length {
            let message = snapshot.read()?.ok_or_else(|| {
                damaged(format!("it ends after {} of {length} bytes of ballast", ballast.length))
            })?;
            if message.len() > length - ballast.length {
                return Err(damaged(format!("the ballast is longer than {length} bytes")));
            }
            ballast.length += message.len();
            let mut rest = message;
            while !rest.is_empty() {
                let (fits, more) = rest.split_at(rest.len().min(PIECE_LENGTH - piece.len()));
                piece.extend_from_slice(fits);
                rest = more;
                if piece.len() == PIECE_LENGTH {
                    ballast.pieces.push(Arc::from(piece.as_slice()));
                    piece.clear();
                }
            }
        }
        if !piece.is_empty() {
            ballast.pieces.push(Arc::from(piece));
        }

        let message = snapshot.read()?.ok_or_else(|| damaged("it ends before the hash of the ballast"))?;
        let [expected] = words(message).ok_or_else(|| {
            damaged(format!("the hash of the ballast has {} bytes, expected 8", message.len()))
        })?;
        let found = ballast.hash();
        if found != expected {
            return Err(damaged(format!("the ballast has the hash {found:016x}, expected {expected:016x}")));
        }
        if snapshot.read()?.is_some() {
            return Err(damaged("it goes on after its end"));
        }
        Ok(ballast)
    }

    fn hash(&self) -> u64 {
        let words = self.pieces.iter().flat_map(|piece| piece.as_chunks::<8>().0);
        words.fold(FNV_OFFSET_BASIS, |hash, word| (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FNV_PRIME))
    }
}

fn damaged(what: impl AsRef<str>) -> ServiceError {
    ServiceError::new(format!("audit snapshot: {}: use an older snapshot", what.as_ref()))
}

/// Also the longest message of ballast in a snapshot.
const PIECE_LENGTH: usize = 64 * 1024;
