//! Sums without rounding, from which a term can be taken out again.
//!
//! A sum of floats depends on the order of its terms, and a term that was added and subtracted again leaves its
//! rounding errors behind. Statistics kept that way drift, and depend on history. This sum is a long fixed-point
//! number (Kulisch, Miranker: Computer Arithmetic in Theory and Practice, 1981; sparse as in Neal: Fast exact
//! summation using small and large superaccumulators, arXiv:1505.05571). A finite f64 is an integer multiple of
//! 2^-1074 with 53 significant bits; it is cut at the multiples of 64 bits and each of its two pieces is added to the
//! limb it falls in.
//!
//! **Invariant.** A limb is the plain sum of its pieces, without carries: below 2^64 each, in 128 bits, so that up to
//! 2^63 terms fit. The limbs are therefore a function of the multiset of terms that are in, and of nothing else. The
//! value is the exact sum, rounded once, to nearest, ties to even.

/// An exact sum of floats.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// Which 64 bits of the fixed-point number the first limb counts: those from `2^(64 base - 1074)`.
    base: usize,
    limbs: Vec<i128>,
    /// How many infinite terms are in. Both signs are counted as positive: no caller has negative ones.
    infinite: u64,
}

impl ExactSum {
    /// Adds a term that is not NaN. About 2 ns.
    #[inline(always)]
    pub fn add(&mut self, term: f64) {
        self.change(term, 1);
    }

    /// Takes out a term that is in.
    #[inline(always)]
    pub fn subtract(&mut self, term: f64) {
        self.change(term, -1);
    }

    /// Adds a term, or takes it out where `sign` is -1.
    #[inline(always)]
    pub fn change(&mut self, term: f64, sign: i64) {
        let bits = term.to_bits();
        let exponent = (bits >> 52) as usize & 0x7ff;
        if exponent == 0x7ff {
            self.infinite = self.infinite.wrapping_add_signed(sign);
            return;
        }
        let mantissa = (bits & ((1 << 52) - 1)) | (u64::from(exponent > 0) << 52);
        let offset = exponent.max(1) - 1;
        let wide = u128::from(mantissa) << (offset % 64);
        let limb = offset / 64;
        if limb.wrapping_sub(self.base) >= self.limbs.len().saturating_sub(1) {
            self.make_room(limb);
        }
        // All ones to negate: the complement, less minus one.
        let mask = -i128::from(term.is_sign_negative() != (sign < 0));
        let at = limb - self.base;
        if let [low, high, ..] = &mut self.limbs[at..] {
            *low += (i128::from(wide as u64) ^ mask) - mask;
            *high += (i128::from((wide >> 64) as u64) ^ mask) - mask;
        }
    }

    /// Makes the limbs reach from `limb` to the one above it.
    #[cold]
    fn make_room(&mut self, limb: usize) {
        if self.limbs.is_empty() {
            self.base = limb;
        }
        let missing = self.base.saturating_sub(limb);
        self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
        self.base -= missing;
        let end = (limb + 2 - self.base).max(self.limbs.len());
        self.limbs.resize(end, 0);
    }

    /// Takes out all terms.
    pub fn clear(&mut self) {
        self.limbs.fill(0);
        self.infinite = 0;
    }

    /// Adds the terms of another sum.
    pub fn merge(&mut self, other: &ExactSum) {
        self.combine::<1>(other);
    }

    /// Takes out the terms of another sum.
    pub fn take_out(&mut self, other: &ExactSum) {
        self.combine::<-1>(other);
    }

    fn combine<const SIGN: i128>(&mut self, other: &ExactSum) {
        self.infinite = self.infinite.wrapping_add_signed(SIGN as i64 * other.infinite as i64);
        if let Some(top) = other.limbs.len().checked_sub(2) {
            for limb in [other.base, other.base + top] {
                if limb.wrapping_sub(self.base) >= self.limbs.len().saturating_sub(1) {
                    self.make_room(limb);
                }
            }
            let own = &mut self.limbs[other.base - self.base..];
            own.iter_mut().zip(&other.limbs).for_each(|(own, limb)| *own += SIGN * limb);
        }
    }

    /// The sum, rounded once.
    #[inline]
    pub fn value(&self) -> f64 {
        if self.infinite > 0 { f64::INFINITY } else { rounded(self.base, self.limbs.iter().copied()) }
    }

    /// The sum of this and another, rounded once.
    #[inline]
    pub fn value_with(&self, other: &ExactSum) -> f64 {
        // Terms that one of them counts may be taken out of the other.
        if self.infinite.wrapping_add(other.infinite) > 0 {
            return f64::INFINITY;
        }
        if (self.base, self.limbs.len()) == (other.base, other.limbs.len()) {
            return rounded(self.base, self.limbs.iter().zip(&other.limbs).map(|(one, other)| one + other));
        }
        let (limb, end) = (ExactSum::limb, |sum: &ExactSum| sum.base + sum.limbs.len());
        let limbs = self.base.min(other.base)..end(self).max(end(other));
        rounded(limbs.start, limbs.map(|at| limb(self, at) + limb(other, at)))
    }

    fn limb(&self, at: usize) -> i128 {
        self.limbs.get(at.wrapping_sub(self.base)).copied().unwrap_or(0)
    }

    /// Bytes that it holds beside its own struct.
    pub fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * size_of::<i128>()
    }
}

/// The fixed-point number with these limbs, the first of which counts from `2^(64 base - 1074)`, rounded once.
#[inline(always)]
fn rounded(base: usize, limbs: impl DoubleEndedIterator<Item = i128> + Clone) -> f64 {
    // Nearly always it has the sign of its last limb, and is read once.
    let negative = limbs.clone().next_back().is_some_and(|limb| limb < 0);
    match magnitude(base, limbs.clone(), negative) {
        Some(magnitude) => {
            if negative {
                -magnitude
            } else {
                magnitude
            }
        }
        None => {
            let magnitude = magnitude(base, limbs, !negative).unwrap_or(0.0);
            if negative { magnitude } else { -magnitude }
        }
    }
}

/// The same of a number that is not negative, or of one times minus one; none of others.
#[inline(always)]
fn magnitude(base: usize, limbs: impl Iterator<Item = i128>, negated: bool) -> Option<f64> {
    // All ones to negate: the complement, less minus one.
    let mask = -i128::from(negated);
    let (mut carry, mut before, mut rest, mut count) = (0_i128, 0_u64, 0_u64, 0);
    // The highest digit that is not 0, the one below it, whether any follow, and its place.
    let (mut top, mut below, mut follow, mut place) = (0, 0, 0, 0);
    let mut read = |digit: u64| {
        if digit != 0 {
            (top, below, follow, place) = (digit, before, rest, count);
        }
        (rest, before, count) = (rest | before, digit, count + 1);
    };
    for limb in limbs {
        let sum = (limb ^ mask) - mask + carry;
        read(sum as u64);
        carry = sum >> 64;
    }
    read(carry as u64);
    if carry < 0 {
        return None;
    }
    // 64 leading bits, and a last one that says whether anything follows: enough to round once.
    let shift = top.leading_zeros() % 64;
    let leading = (u128::from(top) << 64 | u128::from(below)) << shift;
    let mantissa = (leading >> 64) as u64 | u64::from((leading as u64 | follow) != 0);
    let exponent = 64 * (base + place) as i32 - 1074 - shift as i32;
    Some(mantissa as f64 * power_of_two(exponent / 2) * power_of_two(exponent - exponent / 2))
}

/// `2^k` for `k` in -1022..=1023.
#[inline(always)]
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    fn sum(terms: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        terms.iter().for_each(|term| sum.add(*term));
        sum.value()
    }

    #[test]
    fn sums_are_exact() {
        let tiny = f64::from_bits(1);
        for (terms, expected) in [
            (&[][..], 0.0),
            (&[0.1; 10], 1.0),
            (&[1e300, 1.0, -1e300], 1.0),
            (&[1.0, 2_f64.powi(-53)], 1.0),
            (&[1.0, 2_f64.powi(-53), tiny], 1.0 + f64::EPSILON),
            (&[1.0 + f64::EPSILON, 2_f64.powi(-53)], 1.0 + 2.0 * f64::EPSILON),
            (&[-1.0, -(2_f64.powi(-53)), -tiny], -1.0 - f64::EPSILON),
            (&[tiny, tiny], 2.0 * tiny),
            (&[-tiny, f64::MIN_POSITIVE], f64::MIN_POSITIVE - tiny),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (&[1.0, f64::INFINITY], f64::INFINITY),
        ] {
            assert_eq!(sum(terms).to_bits(), expected.to_bits(), "{terms:?}");
        }
    }

    #[test]
    fn whole_numbers_sum_as_integers() {
        let mut random = Random::new(1);
        let (mut sum, mut integer) = (ExactSum::default(), 0_i128);
        for _ in 0..100_000 {
            let term = (random.next_u64() as i64 >> random.pick(64)) >> 11;
            let scale = random.pick(60);
            sum.add(term as f64 * (1_u64 << scale) as f64);
            integer += i128::from(term) << scale;
            assert_eq!(sum.value(), integer as f64);
        }
    }

    #[test]
    fn what_was_taken_out_leaves_no_trace() {
        let mut random = Random::new(2);
        let mut draw = || random.normal() * 2_f64.powi(random.pick(600) as i32 - 300);
        let stay: Vec<f64> = (0..100).map(|_| draw()).collect();
        let go: Vec<f64> = (0..1000).map(|_| draw()).chain([f64::INFINITY]).collect();
        let (mut one, mut other) = (ExactSum::default(), ExactSum::default());
        go.iter().for_each(|term| one.add(*term));
        stay[..50].iter().for_each(|term| one.add(*term));
        go.iter().rev().for_each(|term| one.subtract(*term));
        stay[50..].iter().rev().for_each(|term| other.add(*term));
        assert_eq!(one.value_with(&other).to_bits(), sum(&stay).to_bits());
        assert_eq!(other.value_with(&one).to_bits(), sum(&stay).to_bits());
        one.merge(&other);
        assert_eq!(one.value().to_bits(), sum(&stay).to_bits());
        go.iter().for_each(|term| one.add(*term));
        other.clear();
        go.iter().for_each(|term| other.add(*term));
        one.take_out(&other);
        assert_eq!(one.value().to_bits(), sum(&stay).to_bits());
    }
}
