//! Term and position arithmetic.
//!
//! A stream is cut into terms of one length. Term ids are i32, may be negative and wrap; what counts is
//! their wrapping distance from the initial term id, which must not be negative. A position is
//! `distance << bits | term offset`, and so a multiple of 32 that never exceeds `term length * 2^31`.

use super::Reject;

/// Frames begin at multiples of this many bytes.
pub const FRAME_ALIGNMENT: usize = 32;
/// The longest message that any Aeron stream carries, in bytes.
pub const MESSAGE_LENGTH_MAX: usize = 16 * 1024 * 1024;

/// The bytes that a frame of `length` occupies: the next multiple of 32.
///
/// # Panics
/// When the result exceeds `usize`, which no length of a frame does.
pub const fn align(length: usize) -> usize {
    (length + FRAME_ALIGNMENT - 1) & !(FRAME_ALIGNMENT - 1)
}

/// [`align`] for positions and offsets.
pub const fn align_i64(length: i64) -> i64 {
    (length + FRAME_ALIGNMENT as i64 - 1) & !(FRAME_ALIGNMENT as i64 - 1)
}

/// A legal length of a term: a power of two from 64 KiB to 1 GiB.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TermLength {
    bits: u8,
}

impl TermLength {
    /// 64 KiB.
    pub const MIN: Self = Self { bits: 16 };
    /// 1 GiB.
    pub const MAX: Self = Self { bits: 30 };

    /// Checks a length in bytes.
    ///
    /// # Errors
    /// [`Reject::IllegalTermLength`].
    pub const fn new(bytes: i32) -> Result<Self, Reject> {
        if bytes < Self::MIN.bytes() || bytes > Self::MAX.bytes() || !(bytes as u32).is_power_of_two() {
            return Err(Reject::IllegalTermLength);
        }
        Ok(Self { bits: bytes.trailing_zeros() as u8 })
    }

    /// The length in bytes.
    pub const fn bytes(self) -> i32 {
        1 << self.bits
    }

    /// The binary logarithm of the length: 16 to 30.
    pub const fn bits(self) -> u32 {
        self.bits as u32
    }

    /// The longest message that a stream with this term length carries, in bytes.
    pub const fn message_length_max(self) -> usize {
        let eighth = self.bytes() as usize / 8;
        if eighth < MESSAGE_LENGTH_MAX { eighth } else { MESSAGE_LENGTH_MAX }
    }
}

/// What maps the term ids and offsets of one stream to positions and back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StreamTerms {
    /// The id of the term that position 0 is in.
    pub initial_term_id: i32,
    /// The length of every term.
    pub term_length: TermLength,
}

impl StreamTerms {
    /// The position of an offset in a term. The offset may equal the term length.
    ///
    /// # Errors
    /// [`Reject::OutsideTerm`] when the term lies before the initial one or the offset outside the term,
    /// [`Reject::Unaligned`] when the offset is no multiple of 32.
    pub const fn position(&self, term_id: i32, term_offset: i32) -> Result<i64, Reject> {
        let distance = term_id.wrapping_sub(self.initial_term_id);
        if distance < 0 || term_offset < 0 || term_offset > self.term_length.bytes() {
            return Err(Reject::OutsideTerm);
        }
        if term_offset % FRAME_ALIGNMENT as i32 != 0 {
            return Err(Reject::Unaligned);
        }
        Ok(((distance as i64) << self.term_length.bits()) + term_offset as i64)
    }

    /// The id of the term that a position lies in; a position at the end of a term lies in the next one.
    pub const fn term_id(&self, position: i64) -> i32 {
        self.initial_term_id.wrapping_add((position >> self.term_length.bits()) as i32)
    }

    /// The offset of a position in its term: 0 up to, not including, the term length.
    pub const fn term_offset(&self, position: i64) -> i32 {
        (position & (self.term_length.bytes() as i64 - 1)) as i32
    }

    /// The first position behind the term that `position` lies in.
    pub const fn term_end(&self, position: i64) -> i64 {
        position - self.term_offset(position) as i64 + self.term_length.bytes() as i64
    }

    /// The position that no stream of these terms can pass.
    pub const fn position_max(&self) -> i64 {
        1 << (self.term_length.bits() + 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_ids_wrap_around_and_positions_do_not() {
        let terms = StreamTerms { initial_term_id: i32::MAX, term_length: TermLength::MIN };
        assert_eq!(terms.position(i32::MAX, 64), Ok(64));
        assert_eq!(terms.position(i32::MIN, 32), Ok(65_536 + 32));
        assert_eq!(terms.term_id(65_536 + 32), i32::MIN);
        assert_eq!(terms.term_offset(65_536 + 32), 32);
        assert_eq!(terms.position(i32::MAX - 1, 0), Err(Reject::OutsideTerm));
        assert_eq!(terms.term_id(terms.position_max() - 32), i32::MAX.wrapping_add(i32::MAX));
    }

    #[test]
    fn the_end_of_a_term_is_the_start_of_the_next() {
        let terms = StreamTerms { initial_term_id: 7, term_length: TermLength::MIN };
        assert_eq!(terms.position(7, 65_536), terms.position(8, 0));
        assert_eq!(terms.term_id(65_536), 8);
        assert_eq!(terms.term_end(65_535), 65_536);
        assert_eq!(terms.term_end(65_536), 131_072);
        assert_eq!(terms.position(7, 65_568), Err(Reject::OutsideTerm));
        assert_eq!(terms.position(7, 33), Err(Reject::Unaligned));
    }

    #[test]
    fn only_powers_of_two_from_64_kib_to_1_gib_are_term_lengths() {
        assert_eq!(TermLength::new(65_536).map(TermLength::bits), Ok(16));
        assert_eq!(TermLength::new(1 << 30).map(TermLength::bits), Ok(30));
        for illegal in [0, -1, i32::MIN, 32_768, 65_537, 65_536 * 3, i32::MAX] {
            assert_eq!(TermLength::new(illegal), Err(Reject::IllegalTermLength), "{illegal}");
        }
        assert_eq!(TermLength::MIN.message_length_max(), 8_192);
        assert_eq!(TermLength::MAX.message_length_max(), MESSAGE_LENGTH_MAX);
    }

    #[test]
    fn lengths_align_up_to_32() {
        assert_eq!([0, 1, 32, 33].map(align), [0, 32, 32, 64]);
        assert_eq!([0, 1, 32, 33].map(align_i64), [0, 32, 32, 64]);
    }
}
