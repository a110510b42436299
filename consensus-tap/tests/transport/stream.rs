use super::recorder::Delivered;
use super::rng::{Rng, fill};
use consensus_tap::endpoint::Endpoint;
use consensus_tap::image::ImageKey;
use consensus_tap::publication::{OfferError, PublicationId, PublicationParams};
use std::collections::HashMap;

/// One publication, what it was offered, and what became of it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: PublicationId,
    pub(crate) params: PublicationParams,
    rng: Rng,
    message_length_max: u64,
    /// Every message taken: the seed of its bytes, its length, the position of its end.
    messages: Vec<(u64, usize, i64)>,
    index_by_end_position: HashMap<i64, usize>,
    /// The next message that an image must deliver.
    next_index: HashMap<ImageKey, usize>,
    pub(crate) delivered_count: u64,
}

impl Stream {
    /// A stream's geometry, legal and at its edges.
    pub(crate) fn params(rng: &mut Rng, session_id: i32, stream_id: i32) -> PublicationParams {
        let term_length = rng.pick(&[64 * 1024, 64 * 1024, 256 * 1024]);
        let initial_term_id = rng.pick(&[0, -1, i32::MAX, i32::MIN, 77]);
        let term_id = initial_term_id.wrapping_add(rng.below(3) as i32);
        let term_offset = rng.pick(&[0, 32, term_length / 2, term_length - 32]);
        let mtu = rng.pick(&[64, 288, 1408, 1408, 1408, 4096]);
        PublicationParams {
            initial_term_id,
            term_id,
            term_offset,
            term_length,
            mtu,
            ..PublicationParams::new(session_id, stream_id)
        }
    }

    pub(crate) fn new(id: PublicationId, params: PublicationParams, mut rng: Rng) -> Self {
        let longest = (params.term_length as u64 / 8).min(20 * 1024);
        let message_length_max = rng.pick(&[0, 100, 2_000, longest, longest]);
        Self {
            id,
            params,
            rng,
            message_length_max,
            messages: Vec::new(),
            index_by_end_position: HashMap::new(),
            next_index: HashMap::new(),
            delivered_count: 0,
        }
    }

    /// Offers one message. The next one will be another if this one was not taken.
    pub(crate) fn offer(&mut self, endpoint: &mut Endpoint) -> Result<i64, OfferError> {
        let seed = self.rng.next();
        let length = self.rng.between(0, self.message_length_max) as usize;
        let position_before = endpoint.publication_position(self.id);
        let outcome = endpoint.offer(self.id, &fill(seed, length));
        match outcome {
            Ok(end_position) => {
                assert!(Some(end_position) > position_before);
                self.index_by_end_position.insert(end_position, self.messages.len());
                self.messages.push((seed, length, end_position));
            }
            Err(_) => assert_eq!(endpoint.publication_position(self.id), position_before),
        }
        outcome
    }

    /// How far the stream has advanced.
    pub(crate) fn offered_bytes(&self) -> i64 {
        let terms_before = i64::from(self.params.term_id.wrapping_sub(self.params.initial_term_id));
        let start = terms_before * i64::from(self.params.term_length) + i64::from(self.params.term_offset);
        self.messages.last().map_or(0, |&(_, _, end_position)| end_position - start)
    }

    /// Checks a message that an image delivered: the right bytes, none left out.
    pub(crate) fn on_delivered(&mut self, image: ImageKey, join_position: i64, message: &Delivered) {
        let index = *self
            .index_by_end_position
            .get(&message.end_position)
            .unwrap_or_else(|| panic!("no message of {image:?} ends at {}", message.end_position));
        let (seed, length, _) = self.messages[index];
        assert!(message.bytes == fill(seed, length), "message {index} of {image:?} is another");
        match self.next_index.insert(image, index + 1) {
            Some(expected) => assert_eq!(index, expected, "{image:?} leaves a message out"),
            None => {
                assert!(message.begin_position >= join_position);
                // The first message must be the first that begins behind the join position, so the one
                // before it began earlier; only padding may lie between.
                let before = index.checked_sub(1).map(|before| self.messages[before]);
                if let Some((_, length_before, end_before)) = before {
                    let framed = self.framed_length(length_before);
                    assert!(end_before - framed < join_position, "{image:?} leaves out its first message");
                }
            }
        }
        self.delivered_count += 1;
    }

    /// Whether an image delivered everything up to the end.
    pub(crate) fn is_complete(&self, image: ImageKey) -> bool {
        self.next_index.get(&image) == Some(&self.messages.len())
    }

    fn framed_length(&self, length: usize) -> i64 {
        let payload_length_max = self.params.mtu as usize - 32;
        let rest = length % payload_length_max;
        let whole = length / payload_length_max * self.params.mtu as usize;
        let rest = if rest == 0 && length > 0 { 0 } else { (rest + 32).next_multiple_of(32) };
        (whole + rest) as i64
    }
}
