//! The seam to the machine: sixteen distances at a time with AVX-512, eight with AVX2, one without.
//!
//! Three questions are asked of rows of distances, and this file answers them for each kind of machine: who is in a
//! lune ([`Lanes::lune`]), who is near ([`Lanes::below`]), and which certificates of a row a change may break
//! ([`Lanes::broken`]). Distances are compared as the integers of their bits, which for floats that are not negative
//! sort alike. Integers have no rounding, so **every kind of machine answers with the same bits**; the tests at the
//! end hold them to it.
//!
//! The kind is chosen when the program runs ([`Lanes::detect`]). This is the only file of the room with `unsafe` in it:
//! for instructions that the compiler cannot know to be there, and for loads and gathers by pointer.
#![allow(unsafe_code, reason = "vector instructions; each block says why it is sound")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::certificate::{EMPTY, SLOT_BITS, SLOT_MASK};

/// The distance to a point that is not there, and of a point to itself: farther than every distance there is.
pub(super) const ABSENT: i32 = i32::MAX;

/// Sixteen neighbouring entries of a row: one line of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Block(pub [i32; 16]);

/// A set of slots, 64 to a word.
pub(super) type Slots<const W: usize> = [u64; W];

/// Which vector instructions are used. A value of it exists only where the machine has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(Width);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The distances of all pairs: rows of `blocks` blocks.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub entries: &'a [Block],
    pub blocks: usize,
}

impl<'a> Rows<'a> {
    /// The distances of the point in `slot`.
    #[inline(always)]
    pub fn row(self, slot: usize) -> &'a [Block] {
        &self.entries[slot * self.blocks..][..self.blocks]
    }
}

/// What [`Lanes::lune`] finds.
pub(super) struct Lune<const W: usize> {
    /// The slots whose distance to both ends is below the bound.
    pub inside: Slots<W>,
    /// Whether some distance looked at is exactly the bound; then the order of time decides, and the sets are too
    /// small.
    pub tie: bool,
    /// The slot inside whose larger distance is least, of the preferred ones if there are any.
    pub nearest: Option<usize>,
    /// The other slots inside that are not below the bound from the nearest one.
    pub missed: Slots<W>,
}

/// A point that left: its slot, and its row as it was.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    pub slot: usize,
    pub row: Vec<Block>,
}

/// What has changed since the certificates were good.
pub(super) struct Change<'a> {
    pub leavers: &'a [Leaver],
    /// The rows of the points that came.
    pub newcomers: &'a [&'a [Block]],
}

/// What the parts of a step cost, in edges of a sweep.
pub(super) struct Costs {
    /// Looking whether a certificate broke by one point that left and one that came: of an edge, in hundredths.
    pub pass_percent: usize,
    /// Finding the certificate of a newcomer's pair.
    pub newcomer: usize,
    /// Finding that of a pair whose certificate broke, which is the harder kind.
    pub broken: usize,
}

impl Default for Lanes {
    /// The widest that the machine has.
    fn default() -> Self {
        Lanes::detect()
    }
}

impl Lanes {
    /// The widest that the machine has.
    pub fn detect() -> Lanes {
        *Lanes::available().last().expect("plain Rust runs everywhere")
    }

    /// All that the machine has, the narrowest first.
    pub fn available() -> Vec<Lanes> {
        let mut found = vec![Lanes(Width::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
                found.push(Lanes(Width::Avx2));
            }
            let dq = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
            if dq && is_x86_feature_detected!("bmi1") {
                found.push(Lanes(Width::Avx512));
            }
        }
        found
    }

    /// Who lies nearer than `bound` to both ends of the edge `ab`, and whether the one in the middle is a hub. Rows
    /// have 4 `W` blocks.
    #[inline(always)]
    pub(super) fn lune<const W: usize>(self, rows: Rows, a: usize, b: usize, bound: i32, prefer: &Slots<W>) -> Lune<W> {
        match self.0 {
            Width::Scalar => scalar::lune(rows, a, b, bound, prefer),
            // SAFETY: a `Lanes` of this width is made only by `available`, which has found the features.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { avx2::lune(rows, a, b, bound, prefer) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { avx512::lune(rows, a, b, bound, prefer) },
        }
    }

    /// The slots of a row below `bound`, and those on it.
    #[inline(always)]
    pub(super) fn below<const W: usize>(self, row: &[Block], bound: i32) -> (Slots<W>, Slots<W>) {
        match self.0 {
            Width::Scalar => scalar::below(row, bound),
            // SAFETY: a `Lanes` of this width is made only by `available`, which has found the features.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { avx2::below(row, bound) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { avx512::below(row, bound) },
        }
    }

    /// What the parts of a step cost, in edges of a sweep. Measured, from 64 to 512 points.
    pub(super) fn costs(self) -> Costs {
        match self.0 {
            Width::Scalar => Costs { pass_percent: 40, newcomer: 20, broken: 70 },
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => Costs { pass_percent: 15, newcomer: 9, broken: 24 },
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => Costs { pass_percent: 8, newcomer: 6, broken: 14 },
        }
    }

    /// The slots `b`, from the block of `a` on, for which the certificate of the pair `ab` may no longer hold. Answers
    /// for absent slots have no meaning.
    #[inline(always)]
    pub(super) fn broken<const W: usize>(self, a: usize, row: &[Block], codes: &[Block], change: &Change) -> Slots<W> {
        match self.0 {
            Width::Scalar => scalar::broken(a, row, codes, change),
            // SAFETY: a `Lanes` of this width is made only by `available`, which has found the features.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { avx2::broken(a, row, codes, change) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { avx512::broken(a, row, codes, change) },
        }
    }
}

/// The sign, which sorts a preferred slot before all others.
const PREFERRED: i32 = i32::MIN;

#[inline(always)]
fn finish<const W: usize>(
    inside: Slots<W>,
    tie: bool,
    nearest: Option<usize>,
    below: Slots<W>,
    equal: Slots<W>,
) -> Lune<W> {
    let mut missed: Slots<W> = std::array::from_fn(|w| inside[w] & !below[w]);
    if let Some(nearest) = nearest {
        missed[nearest >> 6] &= !(1 << (nearest & 63));
    }
    let tie = tie || (0..W).fold(0, |all, w| all | equal[w] & inside[w]) != 0;
    Lune { inside, tie, nearest, missed }
}

/// The entry of a row at `slot`.
#[inline(always)]
pub(super) fn at(row: &[Block], slot: usize) -> i32 {
    row[slot >> 4].0[slot & 15]
}

/// Plain Rust: the definition that the others are held to.
mod scalar {
    use super::*;

    #[inline(always)]
    pub(super) fn lune<const W: usize>(rows: Rows, a: usize, b: usize, bound: i32, prefer: &Slots<W>) -> Lune<W> {
        let (a, b) = (&rows.row(a)[..4 * W], &rows.row(b)[..4 * W]);
        let (mut inside, mut tie, mut least, mut nearest) = ([0; W], 0, i32::MAX, None);
        for block in 0..4 * W {
            let farther: [i32; 16] = std::array::from_fn(|i| a[block].0[i].max(b[block].0[i]));
            let shift = 16 * (block & 3);
            let within = bits(|i| farther[i] < bound);
            inside[block >> 2] |= within << shift;
            tie |= bits(|i| farther[i] == bound);
            let preferred = prefer[block >> 2] >> shift;
            let ordered: [i32; 16] =
                std::array::from_fn(|i| farther[i] | if preferred >> i & 1 == 1 { PREFERRED } else { 0 });
            let mut nearer = within & bits(|i| ordered[i] < least);
            while nearer != 0 {
                let i = nearer.trailing_zeros() as usize;
                nearer &= nearer - 1;
                if ordered[i] < least {
                    (least, nearest) = (ordered[i], Some(16 * block + i));
                }
            }
        }
        let (below, equal) = nearest.map_or(([0; W], [0; W]), |nearest| below(rows.row(nearest), bound));
        finish(inside, tie != 0, nearest, below, equal)
    }

    #[inline(always)]
    pub(super) fn below<const W: usize>(row: &[Block], bound: i32) -> (Slots<W>, Slots<W>) {
        let (mut below, mut equal) = ([0; W], [0; W]);
        for (block, row) in row[..4 * W].iter().enumerate() {
            let shift = 16 * (block & 3);
            below[block >> 2] |= bits(|i| row.0[i] < bound) << shift;
            equal[block >> 2] |= bits(|i| row.0[i] == bound) << shift;
        }
        (below, equal)
    }

    #[inline(always)]
    pub(super) fn broken<const W: usize>(a: usize, row: &[Block], codes: &[Block], change: &Change) -> Slots<W> {
        let mut broken = [0; W];
        for block in a >> 4..4 * W {
            let (bounds, codes) = (&row[block].0, &codes[block].0);
            let hubs_of =
                |code: i32| [0, 1, 2].map(|place| ((code >> (place * SLOT_BITS) & SLOT_MASK) as usize).min(64 * W - 1));
            let hubs = bits(|i| (0..EMPTY).contains(&codes[i]));
            let mut found = 0;
            for leaver in change.leavers {
                found |= hubs & bits(|i| hubs_of(codes[i]).contains(&leaver.slot));
                let (near, old) = (at(&leaver.row, a), &leaver.row[block].0);
                found |= bits(|i| codes[i] < 0 && near.max(old[i]) <= bounds[i]);
            }
            for newcomer in change.newcomers {
                let (near, new) = (at(newcomer, a), &newcomer[block].0);
                let joined = bits(|i| near.max(new[i]) < bounds[i]);
                let sees = |i: usize| hubs_of(codes[i]).iter().any(|hub| at(newcomer, *hub) < bounds[i]);
                found |= joined & (!hubs | bits(|i| joined >> i & 1 == 1 && !sees(i)));
            }
            broken[block >> 2] |= (found & 0xFFFF) << (16 * (block & 3));
        }
        broken
    }

    #[inline(always)]
    fn bits(test: impl Fn(usize) -> bool) -> u64 {
        let bytes: [u8; 16] = std::array::from_fn(|i| u8::from(test(i)));
        // The product puts the lowest bit of byte i at bit 56 + i: a form that compilers turn into vector code.
        let byte = |half: &[u8]| {
            let word = half.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            word.wrapping_mul(0x0102_0408_1020_4080) >> 56
        };
        byte(&bytes[..8]) | byte(&bytes[8..]) << 8
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    fn load(block: &Block) -> __m512i {
        // SAFETY: a block is 64 bytes that lie on a multiple of 64.
        unsafe { _mm512_load_si512(std::ptr::from_ref(block).cast()) }
    }

    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    pub(super) fn lune<const W: usize>(rows: Rows, a: usize, b: usize, bound: i32, prefer: &Slots<W>) -> Lune<W> {
        let (a, b) = (&rows.row(a)[..4 * W], &rows.row(b)[..4 * W]);
        let (bounds, first) = (_mm512_set1_epi32(bound), _mm512_set1_epi32(PREFERRED));
        let mut slots = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let mut nearest = _mm512_set1_epi32(i32::MAX);
        let (mut least, mut inside, mut tie) = (nearest, [0; W], 0);
        for w in 0..W {
            for q in 0..4 {
                let farther = _mm512_max_epi32(load(&a[4 * w + q]), load(&b[4 * w + q]));
                let within = _mm512_cmplt_epi32_mask(farther, bounds);
                inside[w] |= u64::from(within) << (16 * q);
                tie |= _mm512_cmpeq_epi32_mask(farther, bounds);
                let preferred = (prefer[w] >> (16 * q)) as u16;
                let ordered = _mm512_mask_or_epi32(farther, preferred, farther, first);
                let nearer = _mm512_mask_cmplt_epi32_mask(within, ordered, least);
                least = _mm512_mask_mov_epi32(least, nearer, ordered);
                nearest = _mm512_mask_mov_epi32(nearest, nearer, slots);
                slots = _mm512_add_epi32(slots, _mm512_set1_epi32(16));
            }
        }
        let best = _mm512_set1_epi32(_mm512_reduce_min_epi32(least));
        let nearest = _mm512_mask_reduce_min_epi32(_mm512_cmpeq_epi32_mask(least, best), nearest);
        if nearest == i32::MAX {
            return finish(inside, tie != 0, None, [0; W], [0; W]);
        }
        let (below, equal) = below(rows.row(nearest as usize), bound);
        finish(inside, tie != 0, Some(nearest as usize), below, equal)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    pub(super) fn below<const W: usize>(row: &[Block], bound: i32) -> (Slots<W>, Slots<W>) {
        let row = &row[..4 * W];
        let bounds = _mm512_set1_epi32(bound);
        let (mut below, mut equal) = ([0; W], [0; W]);
        for w in 0..W {
            for q in 0..4 {
                let entries = load(&row[4 * w + q]);
                below[w] |= u64::from(_mm512_cmplt_epi32_mask(entries, bounds)) << (16 * q);
                equal[w] |= u64::from(_mm512_cmpeq_epi32_mask(entries, bounds)) << (16 * q);
            }
        }
        (below, equal)
    }

    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    pub(super) fn broken<const W: usize>(a: usize, row: &[Block], codes: &[Block], change: &Change) -> Slots<W> {
        let (row, codes) = (&row[..4 * W], &codes[..4 * W]);
        let mut broken = [0; W];
        for block in a >> 4..4 * W {
            let (bounds, codes) = (load(&row[block]), load(&codes[block]));
            let hubs = _mm512_cmplt_epu32_mask(codes, _mm512_set1_epi32(EMPTY));
            let sensitive = _mm512_movepi32_mask(codes);
            let mut found = 0;
            for leaver in change.leavers {
                found |= hubs & names(codes, leaver.slot);
                if sensitive != 0 {
                    let (near, old) = (_mm512_set1_epi32(at(&leaver.row, a)), load(&leaver.row[block]));
                    found |= _mm512_mask_cmple_epi32_mask(sensitive, _mm512_max_epi32(near, old), bounds);
                }
            }
            for newcomer in change.newcomers {
                let (near, new) = (_mm512_set1_epi32(at(newcomer, a)), load(&newcomer[block]));
                let joined = _mm512_cmplt_epi32_mask(_mm512_max_epi32(near, new), bounds);
                found |= joined & !hubs;
                found |= unseen::<W>(joined & hubs, newcomer, codes, bounds);
            }
            broken[block >> 2] |= u64::from(found) << (16 * (block & 3));
        }
        broken
    }

    /// The pairs whose code names `slot` as a hub.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    fn names(codes: __m512i, slot: usize) -> u16 {
        let differs = _mm512_xor_si512(codes, _mm512_set1_epi32(0x0010_0401 * slot as i32));
        _mm512_testn_epi32_mask(differs, _mm512_set1_epi32(SLOT_MASK))
            | _mm512_testn_epi32_mask(differs, _mm512_set1_epi32(SLOT_MASK << SLOT_BITS))
            | _mm512_testn_epi32_mask(differs, _mm512_set1_epi32(SLOT_MASK << (2 * SLOT_BITS)))
    }

    /// The entries of 4 blocks at slots modulo 64: for small windows, faster than to gather.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    fn look_up(blocks: &[Block], slots: __m512i) -> __m512i {
        let lower = _mm512_permutex2var_epi32(load(&blocks[0]), slots, load(&blocks[1]));
        let upper = _mm512_permutex2var_epi32(load(&blocks[2]), slots, load(&blocks[3]));
        _mm512_mask_mov_epi32(lower, _mm512_test_epi32_mask(slots, _mm512_set1_epi32(32)), upper)
    }

    /// Of the `joined` pairs, those none of whose hubs is near the newcomer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,bmi1")]
    fn unseen<const W: usize>(joined: u16, newcomer: &[Block], codes: __m512i, bounds: __m512i) -> u16 {
        let newcomer = &newcomer[..4 * W];
        let (last, far) = (_mm512_set1_epi32((64 * W) as i32 - 1), _mm512_set1_epi32(ABSENT));
        let mut unseen = joined;
        let mut hubs = codes;
        for _ in 0..3 {
            if unseen == 0 {
                break;
            }
            let slots = _mm512_min_epi32(_mm512_and_si512(hubs, _mm512_set1_epi32(SLOT_MASK)), last);
            let distances = match W {
                1 => look_up(&newcomer[..4], slots),
                2 => {
                    let upper = _mm512_test_epi32_mask(slots, _mm512_set1_epi32(64));
                    _mm512_mask_mov_epi32(look_up(&newcomer[..4], slots), upper, look_up(&newcomer[4..8], slots))
                }
                // SAFETY: the slots are not negative and below 64 W, and the row has that many entries of 4 bytes.
                _ => unsafe { _mm512_mask_i32gather_epi32::<4>(far, unseen, slots, newcomer.as_ptr().cast()) },
            };
            unseen &= !_mm512_cmplt_epi32_mask(distances, bounds);
            hubs = _mm512_srli_epi32::<10>(hubs);
        }
        unseen
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;

    /// The eight entries of a half of a block.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn load(row: &[Block], half: usize) -> __m256i {
        let entries = &row[half >> 1].0[8 * (half & 1)..][..8];
        // SAFETY: half a block is 32 bytes that lie on a multiple of 32.
        unsafe { _mm256_load_si256(entries.as_ptr().cast()) }
    }

    /// One bit a lane.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn bits(lanes: __m256i) -> u64 {
        _mm256_movemask_ps(_mm256_castsi256_ps(lanes)) as u64
    }

    /// All ones in the lanes whose bit is set.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn lanes(bits: u64) -> __m256i {
        let each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits as i32), each), each)
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn lune<const W: usize>(rows: Rows, a: usize, b: usize, bound: i32, prefer: &Slots<W>) -> Lune<W> {
        let (a, b) = (&rows.row(a)[..4 * W], &rows.row(b)[..4 * W]);
        let (bounds, first) = (_mm256_set1_epi32(bound), _mm256_set1_epi32(PREFERRED));
        let mut slots = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mut nearest = _mm256_set1_epi32(i32::MAX);
        let (mut least, mut inside, mut tie) = (nearest, [0; W], _mm256_setzero_si256());
        for half in 0..8 * W {
            let shift = 8 * (half & 7);
            let farther = _mm256_max_epi32(load(a, half), load(b, half));
            let within = _mm256_cmpgt_epi32(bounds, farther);
            inside[half >> 3] |= bits(within) << shift;
            tie = _mm256_or_si256(tie, _mm256_cmpeq_epi32(farther, bounds));
            let preferred = lanes(prefer[half >> 3] >> shift & 0xFF);
            let ordered = _mm256_or_si256(farther, _mm256_and_si256(preferred, first));
            let nearer = _mm256_and_si256(within, _mm256_cmpgt_epi32(least, ordered));
            least = _mm256_blendv_epi8(least, ordered, nearer);
            nearest = _mm256_blendv_epi8(nearest, slots, nearer);
            slots = _mm256_add_epi32(slots, _mm256_set1_epi32(8));
        }
        let best = _mm256_set1_epi32(minimum(least));
        let out = _mm256_set1_epi32(i32::MAX);
        let nearest = minimum(_mm256_blendv_epi8(out, nearest, _mm256_cmpeq_epi32(least, best)));
        let tie = bits(tie) != 0;
        if nearest == i32::MAX {
            return finish(inside, tie, None, [0; W], [0; W]);
        }
        let (below, equal) = below(rows.row(nearest as usize), bound);
        finish(inside, tie, Some(nearest as usize), below, equal)
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn minimum(lanes: __m256i) -> i32 {
        let four = _mm_min_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
        let two = _mm_min_epi32(four, _mm_shuffle_epi32::<0b_01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_min_epi32(two, _mm_shuffle_epi32::<0b_10_11_00_01>(two)))
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn below<const W: usize>(row: &[Block], bound: i32) -> (Slots<W>, Slots<W>) {
        let bounds = _mm256_set1_epi32(bound);
        let (mut below, mut equal) = ([0; W], [0; W]);
        for half in 0..8 * W {
            let entries = load(row, half);
            below[half >> 3] |= bits(_mm256_cmpgt_epi32(bounds, entries)) << (8 * (half & 7));
            equal[half >> 3] |= bits(_mm256_cmpeq_epi32(entries, bounds)) << (8 * (half & 7));
        }
        (below, equal)
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn broken<const W: usize>(a: usize, row: &[Block], codes: &[Block], change: &Change) -> Slots<W> {
        let mut broken = [0; W];
        for half in a >> 4 << 1..8 * W {
            let (bounds, codes) = (load(row, half), load(codes, half));
            let sensitive = bits(codes);
            let hubs = bits(_mm256_cmpgt_epi32(_mm256_set1_epi32(EMPTY), codes)) & !sensitive;
            let mut found = 0;
            for leaver in change.leavers {
                found |= hubs & names(codes, leaver.slot);
                if sensitive != 0 {
                    let (near, old) = (_mm256_set1_epi32(at(&leaver.row, a)), load(&leaver.row, half));
                    found |= sensitive & !bits(_mm256_cmpgt_epi32(_mm256_max_epi32(near, old), bounds));
                }
            }
            for newcomer in change.newcomers {
                let (near, new) = (_mm256_set1_epi32(at(newcomer, a)), load(newcomer, half));
                let joined = bits(_mm256_cmpgt_epi32(bounds, _mm256_max_epi32(near, new)));
                found |= joined & !hubs;
                found |= unseen::<W>(joined & hubs, newcomer, codes, bounds);
            }
            broken[half >> 3] |= found << (8 * (half & 7));
        }
        broken
    }

    /// The pairs whose code names `slot` as a hub.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn names(codes: __m256i, slot: usize) -> u64 {
        let differs = _mm256_xor_si256(codes, _mm256_set1_epi32(0x0010_0401 * slot as i32));
        [0, 1, 2].iter().fold(0, |named, place| {
            let masked = _mm256_and_si256(differs, _mm256_set1_epi32(SLOT_MASK << (place * SLOT_BITS)));
            named | bits(_mm256_cmpeq_epi32(masked, _mm256_setzero_si256()))
        })
    }

    /// Of the `joined` pairs, those none of whose hubs is near the newcomer.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn unseen<const W: usize>(joined: u64, newcomer: &[Block], codes: __m256i, bounds: __m256i) -> u64 {
        let newcomer = &newcomer[..4 * W];
        let last = _mm256_set1_epi32((64 * W) as i32 - 1);
        let mut unseen = joined;
        let mut hubs = codes;
        for _ in 0..3 {
            if unseen == 0 {
                break;
            }
            let slots = _mm256_min_epi32(_mm256_and_si256(hubs, _mm256_set1_epi32(SLOT_MASK)), last);
            // SAFETY: the slots are not negative and below 64 W, and the row has that many entries of 4 bytes.
            let distances = unsafe { _mm256_i32gather_epi32::<4>(newcomer.as_ptr().cast(), slots) };
            unseen &= !bits(_mm256_cmpgt_epi32(bounds, distances));
            hubs = _mm256_srli_epi32::<10>(hubs);
        }
        unseen
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Code;
    use super::*;
    use crate::stats::random::Random;

    /// Few lengths, so that ties abound; some points are absent.
    fn matrix(blocks: usize, lengths: u64, random: &mut Random) -> Vec<Block> {
        let mut entry = |_| if random.pick(9) == 0 { ABSENT } else { random.pick(lengths) as i32 };
        (0..16 * blocks * blocks).map(|_| Block(std::array::from_fn(&mut entry))).collect()
    }

    fn codes(side: usize, random: &mut Random) -> Vec<Block> {
        let mut code = |_| {
            let slots = [0, 1, 2].map(|_| random.pick(side as u64) as usize);
            match random.pick(8) {
                0 => Code::EMPTY.0,
                1 => Code::opens(slots[0]).0,
                2 => Code::many(&slots).0,
                3 => Code::loose(slots[0]).0,
                kind => Code::hubs(&slots[..kind as usize % 3 + 1]).0,
            }
        };
        (0..side / 16).map(|_| Block(std::array::from_fn(&mut code))).collect()
    }

    fn check<const W: usize>(lengths: u64, random: &mut Random) {
        let (side, blocks) = (64 * W, 4 * W);
        let entries = matrix(blocks, lengths, random);
        let rows = Rows { entries: &entries, blocks };
        let prefer: Slots<W> = std::array::from_fn(|_| random.next_u64() & random.next_u64());
        let codes = codes(side, random);
        let mut slot = || random.pick(side as u64) as usize;
        let (a, b, bound) = (slot(), slot(), slot() as i32 % lengths as i32);
        let leavers: Vec<Leaver> =
            (0..slot() % 3).map(|_| slot()).map(|slot| Leaver { slot, row: rows.row(slot).to_vec() }).collect();
        let newcomers: Vec<&[Block]> = (0..slot() % 3).map(|_| rows.row(slot())).collect();
        let change = Change { leavers: &leavers, newcomers: &newcomers };
        let answers = |lanes: Lanes| {
            let lune = lanes.lune::<W>(rows, a, b, bound, &prefer);
            let broken = lanes.broken::<W>(a, rows.row(a), &codes, &change);
            (lune.inside, lune.tie, lune.nearest, lune.missed, lanes.below::<W>(rows.row(b), bound), broken)
        };
        let expected = answers(Lanes(Width::Scalar));
        for lanes in Lanes::available() {
            assert_eq!(answers(lanes), expected, "{lanes:?} W {W} a {a} b {b} bound {bound}");
        }
    }

    #[test]
    fn all_lanes_answer_with_the_same_bits() {
        let mut random = Random::new(1);
        for lengths in [3, 40, 1 << 30] {
            (0..60).for_each(|_| check::<1>(lengths, &mut random));
            (0..30).for_each(|_| check::<2>(lengths, &mut random));
            (0..8).for_each(|_| check::<3>(lengths, &mut random));
            (0..8).for_each(|_| check::<4>(lengths, &mut random));
            (0..4).for_each(|_| check::<6>(lengths, &mut random));
            check::<8>(lengths, &mut random);
        }
        check::<12>(100, &mut random);
        check::<16>(100, &mut random);
    }
}
