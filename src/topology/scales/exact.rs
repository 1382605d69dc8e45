//! Sums of floats without rounding.
//!
//! A sum is kept as an unevaluated sum of parts that do not overlap, least first, and rounded once, when it is read.
//! So it depends on the multiset of its terms alone: not on their order, nor on terms that were added and taken away
//! again. That is what lets a sliding window subtract what leaves and never drift.
//!
//! Shewchuk: *Adaptive precision floating-point arithmetic and fast robust geometric predicates* (1997); the rounding
//! is that of Python's `math.fsum` (Hettinger). Products are split by Dekker and Veltkamp (1971). Only `+ - *`.

use serde::{Deserialize, Serialize};

/// A sum without rounding. Two to five parts as a rule, 40 at most.
///
/// ```
/// use eagre::topology::scales::exact::ExactSum;
/// let mut sum = ExactSum::default();
/// [1e100, 1.0, 0.1, -1e100].map(|term| sum.add(term));
/// assert_eq!(sum.value(), 1.1);
/// sum.add(-0.1);
/// assert_eq!(sum.value(), 1.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds a term; finite, and so is the sum. O(parts).
    pub fn add(&mut self, term: f64) {
        let (mut carried, mut kept) = (term, 0);
        for at in 0..self.parts.len() {
            let (sum, error) = two_sum(carried, self.parts[at]);
            if error != 0.0 {
                self.parts[kept] = error;
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    /// Adds a product, without rounding it where factors and product are between 2^-480 and 2^480 in magnitude. What is
    /// lost of smaller ones is lost again when the negative is added, so a term can always be taken away.
    pub fn add_product(&mut self, one: f64, other: f64) {
        let (product, error) = two_product(one, other);
        self.add(error);
        self.add(product);
    }

    /// The sum, rounded to the nearest float, to the even one of two as near.
    pub fn value(&self) -> f64 {
        let mut lesser = self.parts.iter().rev();
        let mut sum = lesser.next().copied().unwrap_or(0.0);
        let mut error = 0.0;
        for part in lesser.by_ref() {
            (sum, error) = two_sum(sum, *part);
            if error != 0.0 {
                break;
            }
        }
        // Half way between two floats what remains below decides, and `two_sum` has not seen it.
        let below = lesser.next().copied().unwrap_or(0.0);
        if (error > 0.0 && below > 0.0) || (error < 0.0 && below < 0.0) {
            let (up, lost) = two_sum(sum, 2.0 * error);
            if lost == 0.0 {
                return up;
            }
        }
        sum
    }

    /// `factor` times this sum minus the product of two others, rounded once.
    pub fn scaled_less_product(&self, factor: f64, one: &ExactSum, other: &ExactSum) -> f64 {
        let mut sum = ExactSum::default();
        self.parts.iter().for_each(|part| sum.add_product(factor, *part));
        for part in &one.parts {
            other.parts.iter().for_each(|other| sum.add_product(-part, *other));
        }
        sum.value()
    }
}

/// The rounded sum, and what rounding took (Knuth).
fn two_sum(one: f64, other: f64) -> (f64, f64) {
    let sum = one + other;
    let of_other = sum - one;
    (sum, (one - (sum - of_other)) + (other - of_other))
}

/// The rounded product, and what rounding took (Dekker).
fn two_product(one: f64, other: f64) -> (f64, f64) {
    let product = one * other;
    let ((high, low), (other_high, other_low)) = (split(one), split(other));
    (product, low * other_low - (((product - high * other_high) - low * other_high) - high * other_low))
}

/// Two halves of 26 bits each (Veltkamp).
fn split(x: f64) -> (f64, f64) {
    let lifted = x * 134217729.0;
    let high = lifted - (lifted - x);
    (high, x - high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    #[test]
    fn depends_on_its_terms_alone() {
        let mut random = Random::new(6);
        for _ in 0..300 {
            let mut number = || (random.unit() - 0.5) * [1e-9, 1.0, 1e9, 1e40][random.next_u64() as usize % 4];
            let terms: Vec<(f64, f64)> = (0..40).map(|_| (number(), number())).collect();
            let mut there = ExactSum::default();
            terms.iter().for_each(|(x, y)| there.add_product(*x, *y));
            let mut back = ExactSum::default();
            terms.iter().chain(&terms).rev().for_each(|(x, y)| back.add_product(*x, *y));
            terms.iter().for_each(|(x, y)| back.add_product(-x, *y));
            assert_eq!(there.value().to_bits(), back.value().to_bits());
            terms.iter().for_each(|(x, y)| back.add_product(-x, *y));
            assert_eq!(back, ExactSum::default());
        }
    }

    #[test]
    fn rounds_once() {
        let sum = |terms: &[f64]| {
            let mut sum = ExactSum::default();
            terms.iter().for_each(|term| sum.add(*term));
            sum.value()
        };
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 10000000000000002.0);
        assert_eq!(sum(&[1e16, 1.0, -1e-16]), 1e16);
        assert_eq!(sum(&[9007199254740992.0, -0.5, -5e-324]), 9007199254740991.0);
        assert_eq!(sum(&[f64::MAX, -f64::MAX, 5e-324]), 5e-324);
        let (product, error) = two_product(1.0 + f64::EPSILON, 1.0 + f64::EPSILON);
        assert_eq!((product, error), (1.0 + 2.0 * f64::EPSILON, f64::EPSILON * f64::EPSILON));
    }
}
