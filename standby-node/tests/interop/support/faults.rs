//! What a relay does to datagrams: seeded chances, and the frames it looks into.

use std::time::Duration;

/// How bad one direction is. The default is a perfect network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    /// Chance that a datagram is lost, 0 to 1.
    pub(crate) loss: f64,
    /// Chance that it comes twice.
    pub(crate) duplication: f64,
    /// Chance that it is held back by `reorder_delay`, so that later ones overtake it.
    pub(crate) reordering: f64,
    pub(crate) reorder_delay: Duration,
    /// What every datagram takes.
    pub(crate) delay: Duration,
    /// Up to so much more, evenly drawn, which reorders as well.
    pub(crate) jitter: Duration,
}

impl Faults {
    /// When the copies of the next datagram are due, from now on; none when it is lost.
    pub(crate) fn draw(&self, random: &mut Random) -> impl Iterator<Item = Duration> {
        let copies =
            if random.chance(self.loss) { 0 } else { 1 + usize::from(random.chance(self.duplication)) };
        let mut delays = [Duration::ZERO; 2];
        for delay in &mut delays[..copies] {
            *delay = self.delay + self.jitter.mul_f64(random.fraction());
            if random.chance(self.reordering) {
                *delay += self.reorder_delay;
            }
        }
        delays.into_iter().take(copies)
    }
}

/// SplitMix64: the same seed gives the same run of chances.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 up to, but not including, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The end of the first DATA frame of the stream that begins a message and does not end it: `Some(length)` of the
/// datagram's part up to and including that frame, `None` when there is no such frame.
pub(crate) fn split_message_end(datagram: &[u8], stream_id: i32) -> Option<usize> {
    let mut at = 0;
    while let Some(header) = datagram.get(at..at + DATA_HEADER_LENGTH) {
        let length = usize::try_from(i32_at(header, 0)).unwrap_or(0);
        if u16::from_le_bytes([header[6], header[7]]) != TYPE_DATA || length < DATA_HEADER_LENGTH {
            return None;
        }
        let end = at + length.next_multiple_of(FRAME_ALIGNMENT);
        if i32_at(header, STREAM_ID_OFFSET) == stream_id && header[FLAGS_OFFSET] & (BEGIN | END) == BEGIN {
            return Some(end.min(datagram.len()));
        }
        at = end;
    }
    None
}

const DATA_HEADER_LENGTH: usize = 32;
const FRAME_ALIGNMENT: usize = 32;
const FLAGS_OFFSET: usize = 5;
const STREAM_ID_OFFSET: usize = 16;
const TYPE_DATA: u16 = 1;
const BEGIN: u8 = 0x80;
const END: u8 = 0x40;

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: i32, flags: u8, stream_id: i32) -> Vec<u8> {
        let mut bytes = vec![7; usize::try_from(length).unwrap().next_multiple_of(32)];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[FLAGS_OFFSET] = flags;
        bytes[6..8].copy_from_slice(&TYPE_DATA.to_le_bytes());
        bytes[16..20].copy_from_slice(&stream_id.to_le_bytes());
        bytes
    }

    #[test]
    fn a_split_message_is_found_behind_whole_ones() {
        let whole = frame(40, BEGIN | END, 100);
        let datagram = [whole.clone(), frame(96, BEGIN, 100), frame(50, END, 100)].concat();
        assert_eq!(split_message_end(&datagram, 100), Some(64 + 96));
        assert_eq!(split_message_end(&datagram, 101), None);
        assert_eq!(split_message_end(&whole, 100), None);
        assert_eq!(split_message_end(&whole[..20], 100), None);
    }

    #[test]
    fn one_seed_gives_one_run_of_faults() {
        let faults = Faults { loss: 0.3, duplication: 0.2, ..Faults::default() };
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| faults.draw(&mut random).count()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let lost = draw(1).iter().filter(|&&copies| copies == 0).count();
        assert!((200..400).contains(&lost), "{lost} of 1000 lost at 30 %");
    }
}
