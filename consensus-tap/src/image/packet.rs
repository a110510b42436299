use crate::wire::data::HEADER_LENGTH;
use crate::wire::{DataFrame, FRAME_ALIGNMENT, Reject, StreamTerms, frames};

/// Whole frames of one stream and one term that follow each other. Padding comes last, as its header only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) position: i64,
    /// Where its last frame ends: with padding, more than `position` and the bytes.
    pub(super) end_position: i64,
    pub(super) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks a datagram whose first frame is `first` and no heartbeat.
    ///
    /// A 1.51 sender always emits this form, and 1.53 receivers insist on it.
    ///
    /// # Errors
    /// [`Reject::Unaligned`], [`Reject::BadLength`] for a frame length that does not fit, a datagram longer
    /// than the MTU, or padding that is not last; [`Reject::BrokenChain`], [`Reject::OutsideTerm`].
    pub(super) fn parse(
        terms: &StreamTerms,
        mtu: usize,
        first: &DataFrame<'_>,
        datagram: &'a [u8],
    ) -> Result<Self, Reject> {
        if !datagram.len().is_multiple_of(FRAME_ALIGNMENT) {
            return Err(Reject::Unaligned);
        }
        if datagram.len() > mtu {
            return Err(Reject::BadLength);
        }
        let position = terms.position(first.term_id(), first.term_offset())?;
        let term_length = i64::from(terms.term_length.bytes());

        let mut walk = frames(datagram);
        let mut walked_length = 0;
        let mut term_offset = i64::from(first.term_offset());
        while let Some(frame) = walk.next() {
            let frame = frame?;
            if frame.term_id() != first.term_id()
                || frame.session_id() != first.session_id()
                || frame.stream_id() != first.stream_id()
                || i64::from(frame.term_offset()) != term_offset
            {
                return Err(Reject::BrokenChain);
            }
            if frame.is_padding() && walked_length + HEADER_LENGTH != datagram.len() {
                return Err(Reject::BadLength);
            }
            walked_length = walk.walked_length();
            term_offset = i64::from(first.term_offset()) + walked_length as i64;
            if term_offset > term_length {
                return Err(Reject::OutsideTerm);
            }
        }
        Ok(Self { position, end_position: position + walked_length as i64, bytes: datagram })
    }

    /// What of it lies at and behind `position`; `None` when no frame begins there.
    pub(super) fn skip_to(self, position: i64) -> Option<Self> {
        if position == self.position {
            return Some(self);
        }
        self.frames().find(|frame| frame.position == position).map(|frame| {
            let skipped_length = (position - self.position) as usize;
            debug_assert!(frame.position > self.position);
            Self { position, bytes: &self.bytes[skipped_length..], ..self }
        })
    }

    /// Its frames, each as a packet of its own.
    pub(super) fn frames(self) -> impl Iterator<Item = Packet<'a>> {
        let mut walk = frames(self.bytes);
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let position = self.position + walk.walked_length() as i64;
            let frame = walk.next()?.ok()?;
            let (bytes, behind) = rest.split_at(frame.aligned_length().min(rest.len()));
            rest = behind;
            Some(Packet { position, end_position: position + frame.aligned_length() as i64, bytes })
        })
    }
}
