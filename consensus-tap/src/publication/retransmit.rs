//! What to send again. A 1.51 receiver asks for a gap 10,000 times a second; a range that was sent again
//! is therefore left alone for 10 ms. As in Aeron's unicast senders only the latest range is remembered.

use crate::wire::{FRAME_ALIGNMENT, Nak, StreamTerms};
use std::ops::Range;

const LINGER_NS: u64 = 10_000_000;
/// The most that one NAK gets: 16 default windows.
const RANGE_LENGTH_MAX: i64 = 16 * 128 * 1024;

/// Remembers the range that is being sent again.
#[derive(Debug, Default)]
pub(super) struct Retransmitter {
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug)]
struct Action {
    position: i64,
    end_position: i64,
    /// Up to where it was sent.
    sent_position: i64,
    linger_until_ns: u64,
}

/// What becomes of a NAK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Retransmit,
    /// Its range was sent again just now.
    Ignored,
    /// Its range was never sent, is gone, or makes no sense.
    Rejected,
}

impl Retransmitter {
    /// Takes a NAK; only positions in `available` can be sent again.
    pub(super) fn on_nak(
        &mut self,
        nak: &Nak,
        terms: &StreamTerms,
        available: Range<i64>,
        now_ns: u64,
    ) -> Answer {
        let term_length = terms.term_length.bytes();
        if nak.length <= 0 || nak.term_offset > term_length - FRAME_ALIGNMENT as i32 {
            return Answer::Rejected;
        }
        let position = match terms.position(nak.term_id, nak.term_offset) {
            Ok(position) if available.contains(&position) => position,
            _ => return Answer::Rejected,
        };
        let lingers = self.action.is_some_and(|action| {
            now_ns < action.linger_until_ns && (action.position..action.end_position).contains(&position)
        });
        if lingers {
            return Answer::Ignored;
        }
        let length_max = RANGE_LENGTH_MAX.min(8 * i64::from(term_length));
        let end_position = (position + i64::from(nak.length).min(length_max))
            .min(terms.term_end(position))
            .min(available.end);
        let linger_until_ns = now_ns.saturating_add(LINGER_NS);
        self.action = Some(Action { position, end_position, sent_position: position, linger_until_ns });
        Answer::Retransmit
    }

    /// The range that is still to be sent.
    pub(super) fn next(&self) -> Option<(i64, i64)> {
        let action = self.action.filter(|action| action.sent_position < action.end_position)?;
        Some((action.sent_position, action.end_position))
    }

    /// Notes that so many bytes of it were sent; 0 gives it up.
    pub(super) fn sent(&mut self, advance: i64) {
        if let Some(action) = &mut self.action {
            action.sent_position = if advance == 0 { i64::MAX } else { action.sent_position + advance };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TermLength;

    const TERMS: StreamTerms = StreamTerms { initial_term_id: 0, term_length: TermLength::MIN };

    fn nak(term_offset: i32, length: i32) -> Nak {
        Nak { session_id: 1, stream_id: 2, term_id: 0, term_offset, length }
    }

    #[test]
    fn a_range_is_left_alone_for_ten_milliseconds() {
        let mut retransmitter = Retransmitter::default();
        assert_eq!(retransmitter.on_nak(&nak(64, 128), &TERMS, 0..4096, 0), Answer::Retransmit);
        retransmitter.sent(128);
        assert_eq!(retransmitter.next(), None);
        assert_eq!(retransmitter.on_nak(&nak(160, 32), &TERMS, 0..4096, LINGER_NS - 1), Answer::Ignored);
        assert_eq!(retransmitter.on_nak(&nak(192, 32), &TERMS, 0..4096, 1), Answer::Retransmit);
        assert_eq!(retransmitter.on_nak(&nak(64, 32), &TERMS, 0..4096, LINGER_NS), Answer::Retransmit);
        assert_eq!(retransmitter.next(), Some((64, 96)));
    }

    #[test]
    fn what_cannot_be_sent_again_is_rejected() {
        let mut retransmitter = Retransmitter::default();
        let rejected = [nak(64, 0), nak(64, -1), nak(-32, 32), nak(33, 32), nak(65_536, 32), nak(4096, 32)];
        for nak in rejected.into_iter().chain([Nak { term_id: -1, ..nak(64, 32) }, nak(0, 32)]) {
            assert_eq!(retransmitter.on_nak(&nak, &TERMS, 32..4096, 0), Answer::Rejected, "{nak}");
        }
        assert_eq!(retransmitter.next(), None);
    }

    #[test]
    fn a_range_ends_with_its_term_and_with_what_was_sent() {
        let mut retransmitter = Retransmitter::default();
        retransmitter.on_nak(&nak(65_536 - 64, i32::MAX), &TERMS, 0..200_000, 0);
        assert_eq!(retransmitter.next(), Some((65_536 - 64, 65_536)));
        retransmitter.on_nak(&nak(0, i32::MAX), &TERMS, 0..4096, 0);
        assert_eq!(retransmitter.next(), Some((0, 4096)));
        retransmitter.sent(0);
        assert_eq!(retransmitter.next(), None, "a range that cannot be read is given up");
    }
}
