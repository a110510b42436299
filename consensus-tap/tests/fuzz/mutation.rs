//! Inputs from seeds: cut, flipped, overwritten, repeated, spliced, or noise from the start.

/// SplitMix64: one number decides everything.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Longest noise, bytes: more than any header, less than bores.
const NOISE_LENGTH_MAX: usize = 512;
/// Values at which lengths and positions break.
const EDGES: [i64; 12] = [
    0,
    1,
    -1,
    31,
    32,
    i8::MIN as i64,
    u16::MAX as i64,
    i32::MIN as i64,
    i32::MAX as i64,
    1 << 30,
    i64::MIN,
    i64::MAX,
];

/// Makes one input.
#[derive(Debug)]
pub(crate) struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    rng: Rng,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(seeds: &'a [Vec<u8>], rng: Rng) -> Self {
        Self { seeds, rng }
    }

    pub(crate) fn input(mut self) -> Vec<u8> {
        if self.rng.below(8) == 0 {
            let length = self.rng.below(NOISE_LENGTH_MAX);
            return (0..length).map(|_| self.rng.next() as u8).collect();
        }
        let mut input = self.seed();
        for _ in 0..=self.rng.below(4) {
            self.mutate(&mut input);
        }
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        self.seeds[self.rng.below(self.seeds.len())].clone()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return input.push(self.rng.next() as u8);
        }
        let at = self.rng.below(input.len());
        match self.rng.below(8) {
            0 => input.truncate(at),
            1 => input[at] ^= 1 << self.rng.below(8),
            2 => input[at] = self.rng.next() as u8,
            3 | 4 => {
                let value = EDGES[self.rng.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.rng.below(4)];
                // Fields lie aligned more often than not.
                let at = if self.rng.below(4) > 0 { at / width * width } else { at };
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&value[..end - at]);
            }
            5 => {
                let end = at + self.rng.below(input.len() - at + 1);
                let copy = input[at..end].to_vec();
                let to = self.rng.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let other = self.seed();
                let from = self.rng.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let end = at + self.rng.below(input.len() - at + 1);
                input.drain(at..end);
            }
        }
    }
}
