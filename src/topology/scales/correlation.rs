//! How features move together over the last slides: running covariance and correlation.
//!
//! With the features of several scales side by side in one vector, a correlation between two scales that breaks, or one
//! that appears, says that something changed at one scale and not at the other, or at both.
//!
//! **No drift, and recomputable to the bit.** The sums of features and of their products are exact ([`ExactSum`]; a
//! product is the sum of two floats, by Dekker 1971), so subtracting what leaves the window undoes what adding it did.
//! A covariance is `(n sum(xy) - sum(x) sum(y)) / n^2`, its numerator from the first 159 bits of each sum, so nothing
//! cancels however far the mean is from zero. The answers are a function of the vectors in the window: those of a
//! correlation that was just filled with them have the same bits. A feature that does not change has the variance 0,
//! exactly.

use crate::topology::exact::ExactSum;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Features greater in magnitude are refused: the exact product of two could overflow.
const MAGNITUDE_MAX: f64 = 1e140;

/// The most features: there is a sum for each two of them.
pub const FEATURES_MAX: usize = 512;

/// Covariances of all pairs of features over the last vectors. State: the vectors, and about 100 bytes a pair.
///
/// ```
/// use eagre::topology::scales::correlation::Correlation;
/// let mut correlation = Correlation::new(2, 3);
/// for x in [900.0, 1.0, 2.0, 3.0] {
///     assert!(correlation.push(&[x, -2.0 * x]));
/// }
/// assert_eq!(correlation.covariance(0, 0), Some(2.0 / 3.0));
/// assert_eq!(correlation.correlation(0, 1), Some(-1.0));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Correlation {
    features: usize,
    window: usize,
    /// The vectors in the window, oldest first, one after the other.
    vectors: VecDeque<f64>,
    #[serde(skip_serializing)]
    sums: Vec<ExactSum>,
    /// Of each pair (i, j <= i): row after row of a triangle.
    #[serde(skip_serializing)]
    products: Vec<ExactSum>,
}

impl Correlation {
    /// Over the last `window` vectors of so many features. Both are at least 1, and 0 is taken for 1; features are at
    /// most [`FEATURES_MAX`], and more are taken for as many.
    pub fn new(features: usize, window: usize) -> Correlation {
        let (features, window) = (features.clamp(1, FEATURES_MAX), window.max(1));
        Correlation {
            features,
            window,
            vectors: VecDeque::new(),
            sums: vec![ExactSum::default(); features],
            products: vec![ExactSum::default(); features * (features + 1) / 2],
        }
    }

    /// Takes a vector in, and the oldest out once the window is full. Refuses one of another length, or with a NaN or a
    /// number above 1e140 in magnitude, and changes nothing then. O(features^2).
    pub fn push(&mut self, vector: &[f64]) -> bool {
        if vector.len() != self.features || !vector.iter().all(|x| x.abs() <= MAGNITUDE_MAX) {
            return false;
        }
        if self.count() == self.window {
            let oldest: Vec<f64> = self.vectors.drain(..self.features).collect();
            self.change(&oldest, ExactSum::subtract);
        }
        self.vectors.extend(vector);
        self.change(vector, ExactSum::add);
        true
    }

    /// Whether it is of so many features over so many vectors.
    pub(super) fn fits(&self, features: usize, window: usize) -> bool {
        (self.features, self.window) == (features.clamp(1, FEATURES_MAX), window.max(1))
    }

    /// How many vectors are in the window.
    pub fn count(&self) -> usize {
        self.vectors.len() / self.features
    }

    /// The population covariance of two features; nothing while the window is empty, or where there is no such feature.
    pub fn covariance(&self, one: usize, other: usize) -> Option<f64> {
        let count = self.count() as f64;
        (count > 0.0).then(|| Some(self.numerator(one, other)? / (count * count)))?
    }

    /// The correlation of two features, from -1 to 1; nothing where one of them does not change.
    pub fn correlation(&self, one: usize, other: usize) -> Option<f64> {
        let spread = self.numerator(one, one)?.sqrt() * self.numerator(other, other)?.sqrt();
        (spread > 0.0).then(|| Some((self.numerator(one, other)? / spread).clamp(-1.0, 1.0)))?
    }

    /// `n sum(xy) - sum(x) sum(y)`.
    fn numerator(&self, one: usize, other: usize) -> Option<f64> {
        let (row, column) = (one.max(other), one.min(other));
        if row >= self.features {
            return None;
        }
        let product = self.products.get(row * (row + 1) / 2 + column)?;
        let mut sum = ExactSum::default();
        let mut add = |one: f64, other: f64| two_product(one, other).iter().for_each(|part| sum.add(*part));
        for part in parts(product) {
            add(self.count() as f64, part);
        }
        let others = parts(&self.sums[column]);
        for part in parts(&self.sums[row]) {
            others.iter().for_each(|other| add(-part, *other));
        }
        Some(sum.value())
    }

    fn change(&mut self, vector: &[f64], change: impl Fn(&mut ExactSum, f64)) {
        let mut products = self.products.iter_mut();
        for (row, x) in vector.iter().enumerate() {
            change(&mut self.sums[row], *x);
            for (y, product) in vector[..=row].iter().zip(&mut products) {
                two_product(*x, *y).iter().for_each(|part| change(product, *part));
            }
        }
    }
}

/// What is stored: the vectors. The sums are exact, so those that are made anew have the same bits.
#[derive(Deserialize)]
struct Stored {
    features: usize,
    window: usize,
    vectors: Vec<f64>,
}

impl TryFrom<Stored> for Correlation {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Correlation, String> {
        let Stored { features, window, vectors } = stored;
        let mut correlation = Correlation::new(features, window);
        let fits = correlation.fits(features, window) && vectors.len() / correlation.features <= window;
        if fits && vectors.chunks(correlation.features).all(|vector| correlation.push(vector)) {
            return Ok(correlation);
        }
        let found = format!("{} numbers", vectors.len());
        Err(format!("{found} are no window of at most {window} vectors of {features} features up to 1e140"))
    }
}

/// The first three floats of a sum: it rounded, then what is left rounded, and again. A function of the sum's value.
fn parts(sum: &ExactSum) -> [f64; 3] {
    let mut rest = sum.clone();
    [(); 3].map(|()| {
        let part = rest.value();
        rest.subtract(part);
        part
    })
}

/// A product and what rounding took from it (Dekker, Veltkamp). Of products below 2^-960 a part is lost, the same part
/// whenever it is asked for.
fn two_product(one: f64, other: f64) -> [f64; 2] {
    let halves = |x: f64| {
        let lifted = x * 134217729.0;
        let high = lifted - (lifted - x);
        (high, x - high)
    };
    let product = one * other;
    let ((high, low), (other_high, other_low)) = (halves(one), halves(other));
    [product, low * other_low - (((product - high * other_high) - low * other_high) - high * other_low)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    fn vector(random: &mut Random, at: usize) -> Vec<f64> {
        let common = random.normal();
        let jump = if at % 50 == 7 { 1e12 } else { 0.0 };
        vec![common + 1e6, common - 0.5 * random.normal(), random.normal() * 1e-6 + jump, 3.0]
    }

    #[test]
    fn has_the_bits_of_one_filled_anew() {
        let mut random = Random::new(1);
        let mut running = Correlation::new(4, 20);
        let mut vectors = Vec::new();
        for at in 0..500 {
            vectors.push(vector(&mut random, at));
            assert!(running.push(&vectors[at]));
            let mut anew = Correlation::new(4, 20);
            vectors[(at + 1usize).saturating_sub(20)..].iter().for_each(|vector| assert!(anew.push(vector)));
            for (one, other) in (0..4).flat_map(|one| (0..4).map(move |other| (one, other))) {
                let bits = |correlation: &Correlation| {
                    [correlation.covariance(one, other), correlation.correlation(one, other)]
                        .map(|x| x.map(f64::to_bits))
                };
                assert_eq!(bits(&running), bits(&anew), "{at}: {one}, {other}");
            }
        }
    }

    #[test]
    fn is_that_of_the_definition() {
        let mut random = Random::new(2);
        let mut running = Correlation::new(2, 64);
        let mut pair = || {
            let x = random.normal();
            (x, x * 0.5 + random.normal())
        };
        let pairs: Vec<(f64, f64)> = (0..64).map(|_| pair()).collect();
        pairs.iter().for_each(|(x, y)| assert!(running.push(&[x + 1e9, y - 1e9])));
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / 64.0;
        let (x, y) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
        let expected = mean(&|pair| (pair.0 - x) * (pair.1 - y));
        assert!((running.covariance(0, 1).expect("full") - expected).abs() < 1e-7, "the shift takes bits of the input");
    }

    #[test]
    fn refuses_what_is_no_vector_of_numbers() {
        let mut running = Correlation::new(2, 3);
        assert!(running.push(&[1.0, 2.0]));
        let state = |running: &Correlation| (running.count(), running.covariance(0, 0), running.covariance(0, 1));
        let before = state(&running);
        for bad in [&[1.0][..], &[1.0, f64::NAN], &[f64::INFINITY, 0.0], &[1e141, 0.0], &[1.0, 2.0, 3.0]] {
            assert!(!running.push(bad));
            assert_eq!(state(&running), before);
        }
        assert_eq!((running.correlation(0, 1), running.covariance(0, 2)), (None, None));
        assert_eq!(Correlation::new(0, 0).covariance(0, 0), None);
        assert!(running.push(&[-1e140, 1e140]) && running.push(&[5e-324, -1e140]));
        assert!(running.covariance(1, 1).is_some_and(f64::is_finite));
        assert_eq!(
            two_product(1.0 + f64::EPSILON, 1.0 + f64::EPSILON),
            [1.0 + 2.0 * f64::EPSILON, f64::EPSILON.powi(2)]
        );
    }
}
