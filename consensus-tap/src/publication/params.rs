use crate::wire::{DATAGRAM_LENGTH_MAX, FRAME_ALIGNMENT, Reject, StreamTerms, TermLength};

/// What a publication sends, and from which position on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicationParams {
    /// Tells the publication from others of its stream. Not one that was used within the last 10 s: a
    /// receiver would take it for the old one.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The term of position 0.
    pub initial_term_id: i32,
    /// The term to begin in.
    pub term_id: i32,
    /// Where to begin in it: a multiple of 32, less than the term length.
    pub term_offset: i32,
    /// Bytes of a term: a power of two from 64 KiB to 1 GiB. The publication holds two terms in memory;
    /// a message is at most an eighth of one.
    pub term_length: i32,
    /// The longest frame and datagram, in bytes: a multiple of 32 from 64 to 65,504. Receivers refuse one
    /// larger than their window.
    pub mtu: i32,
    /// How long to stay after the last byte was sent, to send again what was lost, in nanoseconds.
    pub linger_ns: u64,
    /// Whether receivers are told that the stream has ended.
    pub signals_end_of_stream: bool,
}

impl PublicationParams {
    /// The shortest terms, as control streams use them, in bytes.
    pub const TERM_LENGTH: i32 = 64 * 1024;
    /// Aeron's default MTU, in bytes.
    pub const MTU: i32 = 1408;
    /// Aeron's default linger, in nanoseconds.
    pub const LINGER_NS: u64 = 5_000_000_000;

    /// A stream that begins at position 0, with default settings.
    pub fn new(session_id: i32, stream_id: i32) -> Self {
        Self {
            session_id,
            stream_id,
            initial_term_id: 0,
            term_id: 0,
            term_offset: 0,
            term_length: Self::TERM_LENGTH,
            mtu: Self::MTU,
            linger_ns: Self::LINGER_NS,
            signals_end_of_stream: true,
        }
    }

    /// Checks the parameters, and returns what maps the stream's positions and the first of them.
    ///
    /// # Errors
    /// The first that is wrong: [`Reject::IllegalTermLength`], [`Reject::IllegalMtu`],
    /// [`Reject::OutsideTerm`], [`Reject::Unaligned`].
    pub fn check(&self) -> Result<(StreamTerms, i64), Reject> {
        let term_length = TermLength::new(self.term_length)?;
        if self.mtu <= FRAME_ALIGNMENT as i32
            || self.mtu > DATAGRAM_LENGTH_MAX as i32
            || self.mtu % FRAME_ALIGNMENT as i32 != 0
        {
            return Err(Reject::IllegalMtu);
        }
        if self.term_offset >= self.term_length {
            return Err(Reject::OutsideTerm);
        }
        let terms = StreamTerms { initial_term_id: self.initial_term_id, term_length };
        Ok((terms, terms.position(self.term_id, self.term_offset)?))
    }
}
