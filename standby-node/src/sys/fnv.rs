//! FNV-1a with 64 bits, 64 bytes at a time where the processor can.
//!
//! Byte by byte, `h = (h ^ b) * p` is a chain of an exclusive or and a multiplication, four cycles a byte. But of `h`,
//! only the low eight bits `s` meet the byte: `h ^ b = h + d` with `d = (s ^ b) - s`. So n bytes make
//! `h * p^n + sum of d[i] * p^(n - i)`, which is no chain, once all `s` are known. And of these, each bit of
//! `s' = (s ^ b) * 0xb3` depends on itself and on lower bits only: with bit k of all 64 bytes in one word, a plane, the
//! states are the running parity of the plane and of what the lower planes carry into it. Carry-less multiplication by
//! ones gives 64 running parities at once, and eight of them, plane by plane, all states.

/// How a hash goes on over bytes.
pub type Fnv1a = fn(u64, &[u8]) -> u64;

/// The fastest that this processor has. All give the same.
pub fn fnv_1a() -> Fnv1a {
    #[cfg(target_arch = "x86_64")]
    if planes::is_supported() {
        return planes::fnv_1a;
    }
    serial
}

/// Byte by byte. Each step needs the one before it, so the multiplier's latency is the floor, and a plain loop is at it.
#[inline]
pub fn serial(mut hash: u64, bytes: &[u8]) -> u64 {
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    hash
}

/// The multiplier.
pub const FNV_PRIME: u64 = 0x100_0000_01b3;

#[cfg(target_arch = "x86_64")]
mod planes {
    use std::arch::x86_64::*;

    use super::{FNV_PRIME, serial};

    const BLOCK: usize = 64;
    const GROUP: usize = 4 * BLOCK;
    /// Below this, byte by byte is as fast.
    const LENGTH_MIN: usize = 40;

    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("pclmulqdq")
    }

    /// Only for a processor that [`is_supported`] is true of: `super::fnv_1a` alone hands it out.
    pub(super) fn fnv_1a(hash: u64, bytes: &[u8]) -> u64 {
        if bytes.len() < LENGTH_MIN {
            return serial(hash, bytes);
        }
        // SAFETY: the processor has the features, see above.
        unsafe { in_groups(hash, bytes) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni,pclmulqdq")]
    fn in_groups(hash: u64, bytes: &[u8]) -> u64 {
        bytes.chunks(GROUP).fold(hash, |hash, group| {
            let sums = match group.len().div_ceil(BLOCK) {
                1 => weighted::<1>(hash, group),
                2 => weighted::<2>(hash, group),
                3 => weighted::<3>(hash, group),
                _ => weighted::<4>(hash, group),
            };
            let scaled = hash.wrapping_mul(POWERS.0[GROUP - group.len()]);
            scaled.wrapping_add(_mm512_reduce_add_epi64(sums) as u64)
        })
    }

    /// What a group of `N` blocks, of which the last need not be full, adds to the hash: in eight parts.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni,pclmulqdq")]
    fn weighted<const N: usize>(hash: u64, group: &[u8]) -> __m512i {
        let mut blocks = [_mm512_setzero_si512(); N];
        for (block, bytes) in blocks.iter_mut().zip(group.chunks(BLOCK)) {
            let mask = u64::MAX >> (BLOCK - bytes.len());
            // SAFETY: the mask has a bit for each of the bytes, no more than 64, and nothing else is touched.
            *block = unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) };
        }
        let mut planes = blocks.map(|block| planes_of(block));
        // Bit k of the state meets the first bit of plane k.
        planes[0] = _mm512_xor_si512(planes[0], _mm512_maskz_set1_epi64(hash as u8, 1));
        let met = met_planes(&planes.map(|planes| words_of(planes)));
        let mut weights = POWERS.0[GROUP - group.len()..].as_chunks::<8>().0.iter();
        let mut sums = _mm512_setzero_si512();
        for (block, met) in blocks.into_iter().zip(met) {
            for eight in differences(block, from_planes(met)) {
                let weights =
                    weights.next().expect("there are as many as a group has bytes, and a block more");
                // SAFETY: these are eight weights of eight bytes.
                let weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
                sums = _mm512_add_epi64(sums, _mm512_mullo_epi64(_mm512_cvtepi16_epi64(eight), weights));
            }
        }
        sums
    }

    /// How much the exclusive or with each byte of a block moves the hash, from what came of it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    fn differences(block: __m512i, met: __m512i) -> [__m128i; 8] {
        let state = _mm512_xor_si512(met, block);
        // Up to 255 either way: in words of 16 bits.
        let low = _mm512_sub_epi16(
            _mm512_cvtepu8_epi16(_mm512_castsi512_si256(met)),
            _mm512_cvtepu8_epi16(_mm512_castsi512_si256(state)),
        );
        let high = _mm512_sub_epi16(
            _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(met)),
            _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(state)),
        );
        [
            _mm512_extracti32x4_epi32::<0>(low),
            _mm512_extracti32x4_epi32::<1>(low),
            _mm512_extracti32x4_epi32::<2>(low),
            _mm512_extracti32x4_epi32::<3>(low),
            _mm512_extracti32x4_epi32::<0>(high),
            _mm512_extracti32x4_epi32::<1>(high),
            _mm512_extracti32x4_epi32::<2>(high),
            _mm512_extracti32x4_epi32::<3>(high),
        ]
    }

    /// Planes of `state ^ byte` from the planes of the bytes. Each needs the lower ones of its block and the same one of
    /// the block before: so each block is a plane behind the one before it, and `N` chains of instructions run side by
    /// side.
    ///
    /// 0xb3 x is 3 x + 48 x + 128 x: `once` has the bits of 3 x, and two adders carry.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni,pclmulqdq")]
    fn met_planes<const N: usize>(planes: &[[__m128i; 8]; N]) -> [[__m128i; 8]; N] {
        let zero = _mm_setzero_si128();
        let ones = _mm_set1_epi64x(-1);
        let (mut met, mut once) = ([[zero; 8]; N], [[zero; 8]; N]);
        let (mut carry, mut carry_48) = ([zero; N], [zero; N]);
        // Bit k of the state behind a block, which the one behind it begins with; of the first it is in its planes.
        let states = &mut [zero; 8];
        // Written out by macros: as loops these are more than the compiler unrolls, and run through memory.
        macro_rules! advance {
            ($block:literal, $plane:expr) => {
                let plane: usize = $plane;
                if $block < N && plane < 8 {
                    let (met, once) = (&mut met[$block], &mut once[$block]);
                    let (carry, carry_48) = (&mut carry[$block], &mut carry_48[$block]);
                    // What lower bits make of bit `plane` in the multiplication.
                    let mut carried = zero;
                    if plane >= 1 {
                        let below = if plane >= 2 { met[plane - 2] } else { zero };
                        once[plane - 1] = xor_3(met[plane - 1], below, *carry);
                        *carry = majority(met[plane - 1], below, *carry);
                        carried = _mm_xor_si128(met[plane - 1], *carry);
                    }
                    if plane >= 5 {
                        *carry_48 = majority(once[plane - 1], once[plane - 5], *carry_48);
                    }
                    if plane >= 4 {
                        carried = xor_3(carried, once[plane - 4], *carry_48);
                    }
                    if plane == 7 {
                        carried = _mm_xor_si128(carried, met[0]);
                    }
                    let turned = xor_3(planes[$block][plane], carried, states[plane]);
                    let after = _mm_clmulepi64_si128::<0>(turned, ones);
                    met[plane] = _mm_xor_si128(after, carried);
                    if $block + 1 < N {
                        states[plane] = _mm_srli_epi64::<63>(after);
                    }
                }
            };
        }
        macro_rules! step {
            ($($step:literal)*) => {$(
                advance!(0, $step);
                advance!(1, usize::wrapping_sub($step, 1));
                advance!(2, usize::wrapping_sub($step, 2));
                advance!(3, usize::wrapping_sub($step, 3));
            )*};
        }
        step!(0 1 2 3 4 5 6 7 8 9 10);
        met
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn xor_3(a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        _mm_ternarylogic_epi64::<0x96>(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn majority(a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        _mm_ternarylogic_epi64::<0xe8>(a, b, c)
    }

    /// Bit i of word k is bit k of byte i.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
    fn planes_of(bytes: __m512i) -> __m512i {
        _mm512_permutexvar_epi8(bytes_of(&TURN), transpose(bytes))
    }

    /// The eight words, each in the low half of a register.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn words_of(planes: __m512i) -> [__m128i; 8] {
        let pair = [
            _mm512_extracti32x4_epi32::<0>(planes),
            _mm512_extracti32x4_epi32::<1>(planes),
            _mm512_extracti32x4_epi32::<2>(planes),
            _mm512_extracti32x4_epi32::<3>(planes),
        ];
        let high = |plane: usize| _mm_unpackhi_epi64(pair[plane], pair[plane]);
        [pair[0], high(0), pair[1], high(1), pair[2], high(2), pair[3], high(3)]
    }

    /// The bytes of eight planes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
    fn from_planes(planes: [__m128i; 8]) -> __m512i {
        let pair = |plane: usize| _mm_unpacklo_epi64(planes[plane], planes[plane + 1]);
        let joined = _mm512_castsi128_si512(pair(0));
        let joined = _mm512_inserti32x4::<1>(joined, pair(2));
        let joined = _mm512_inserti32x4::<2>(joined, pair(4));
        let joined = _mm512_inserti32x4::<3>(joined, pair(6));
        transpose(_mm512_permutexvar_epi8(bytes_of(&TURN), joined))
    }

    /// In each word of eight bytes, bit i of byte k becomes bit k of byte i.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
    fn transpose(words: __m512i) -> __m512i {
        // The instruction numbers the bytes of its matrix from the other end.
        let matrix = _mm512_shuffle_epi8(words, bytes_of(&REVERSE));
        let unit = _mm512_set1_epi64(i64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]));
        _mm512_gf2p8affine_epi64_epi8::<0>(unit, matrix)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn bytes_of(bytes: &[u8; BLOCK]) -> __m512i {
        // SAFETY: there are 64 bytes.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// Byte k of word g for byte g of word k.
    const TURN: [u8; BLOCK] = {
        let mut indices = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            indices[at] = (at % 8 * 8 + at / 8) as u8;
            at += 1;
        }
        indices
    };

    /// The bytes of each word from its last to its first, within 16 bytes.
    const REVERSE: [u8; BLOCK] = {
        let mut indices = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            indices[at] = (at % 16 / 8 * 8 + 7 - at % 8) as u8;
            at += 1;
        }
        indices
    };

    /// Powers of the prime from the 256th down to the first, and zeros for what lies behind the end of a block.
    #[repr(align(64))]
    struct Powers([u64; GROUP + BLOCK]);

    static POWERS: Powers = {
        let mut powers = [0; GROUP + BLOCK];
        let mut power = 1_u64;
        let mut at = GROUP;
        while at > 0 {
            at -= 1;
            power = power.wrapping_mul(FNV_PRIME);
            powers[at] = power;
        }
        Powers(powers)
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_published_vectors() {
        const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        for hash in [serial, fnv_1a()] {
            assert_eq!(hash(OFFSET_BASIS, b""), 0xcbf2_9ce4_8422_2325);
            assert_eq!(hash(OFFSET_BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
            assert_eq!(hash(OFFSET_BASIS, b"foobar"), 0x8594_4171_f739_67e8);
        }
    }

    #[test]
    fn every_length_gives_what_byte_by_byte_does() {
        let bytes: Vec<u8> = (0..400_u64).map(|at| (at.wrapping_mul(FNV_PRIME) >> 33) as u8).collect();
        let hash = fnv_1a();
        for length in 0..bytes.len() {
            assert_eq!(hash(7, &bytes[..length]), serial(7, &bytes[..length]), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_what_byte_by_byte_does(
            start: u64,
            bytes in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            prop_assert_eq!(fnv_1a()(start, &bytes), serial(start, &bytes));
        }
    }
}
