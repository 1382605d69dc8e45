//! Count, mean and variance in one pass.
//!
//! One value is added by Welford's method (Technometrics 4, 1962), two partials are joined by the formula of Chan,
//! Golub and LeVeque (1979) as in Pébay (SAND2008-6212). Neither ever subtracts two large sums: the relative error of
//! the variance is about `count * 2^-53 * (1 + (mean / stddev)^2)^(1/2)`, where the textbook "sum of squares minus
//! square of sum" loses twice the digits.
//!
//! Guarantees: the same values in the same order give the same bits on every machine; values that are all equal give a
//! variance of exactly 0; joining with an empty partial changes no bit. The join is commutative and associative only up
//! to rounding, so whoever joins does it in a fixed order.

use serde::{Deserialize, Serialize};

/// Count, mean and sum of squared deviations of the values seen.
///
/// ```
/// use eagre::stats::moments::Moments;
/// let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().collect();
/// assert_eq!((moments.mean, moments.stddev()), (5.0, 2.0));
/// assert_eq!(moments.z(9.0), Some(2.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many values.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// Sum of the squared deviations from the mean.
    pub m2: f64,
}

impl Moments {
    /// The moments of a single value.
    #[inline]
    pub fn of(x: f64) -> Self {
        Moments { count: 1, mean: x, m2: 0.0 }
    }

    /// Adds one value.
    #[inline]
    pub fn push(&mut self, x: f64) {
        self.count += 1;
        let delta = x - self.mean;
        self.mean += delta / float(self.count);
        self.m2 += delta * (x - self.mean);
    }

    /// Adds all the values of `other`, which come after one's own.
    #[inline]
    pub fn merge(&mut self, other: &Moments) {
        *self = self.joined(*other);
    }

    /// One's own values and, after them, those of `other`.
    #[inline]
    pub fn joined(self, other: Moments) -> Moments {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        let share = float(other.count) / float(count);
        let m2 = self.m2 + other.m2 + delta * delta * (float(self.count) * share);
        Moments { count, mean: self.mean + delta * share, m2 }
    }

    /// Population variance (divided by the count); 0 when empty.
    #[inline]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.m2 / float(self.count) }
    }

    /// Sample variance (divided by the count less one); 0 below two values.
    pub fn sample_variance(&self) -> f64 {
        if self.count < 2 { 0.0 } else { self.m2 / (self.count - 1) as f64 }
    }

    /// Population standard deviation, in the unit of the values.
    #[inline]
    pub fn stddev(&self) -> f64 {
        self.variance().sqrt()
    }

    /// How many standard deviations `x` lies above the mean. None below two values, and where all values are equal:
    /// then there is no scale to measure by.
    #[inline]
    pub fn z(&self, x: f64) -> Option<f64> {
        let stddev = self.stddev();
        (self.count >= 2 && stddev > 0.0).then(|| (x - self.mean) / stddev)
    }
}

#[inline]
fn float(count: u64) -> f64 {
    count as i64 as f64
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Moments::default();
        values.into_iter().for_each(|x| moments.push(x));
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two passes, with the mean corrected: as exact as f64 allows.
    fn two_pass(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let rough = values.iter().sum::<f64>() / n;
        let mean = rough + values.iter().map(|x| x - rough).sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
    }

    #[test]
    fn few_values() {
        let mut moments = Moments::default();
        assert_eq!((moments.variance(), moments.sample_variance(), moments.z(1.0)), (0.0, 0.0, None));
        moments.push(3.0);
        assert_eq!((moments, moments.z(4.0)), (Moments::of(3.0), None));
        moments.push(3.0);
        assert_eq!((moments.stddev(), moments.z(4.0)), (0.0, None));
        moments.push(6.0);
        assert_eq!((moments.mean, moments.variance(), moments.sample_variance()), (4.0, 2.0, 3.0));
    }

    #[test]
    fn far_from_zero() {
        let moments: Moments = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert!((moments.variance() - 0.25).abs() < 1e-8, "{}", moments.variance());
    }

    #[test]
    fn bits_survive_storage() {
        let moments: Moments = [0.1, 0.2, -7.7e-300].into_iter().collect();
        let bytes = postcard::to_stdvec(&moments).unwrap();
        assert_eq!(bytes.len(), 17);
        assert_eq!(postcard::from_bytes::<Moments>(&bytes).unwrap(), moments);
    }

    proptest! {
        #[test]
        fn as_two_passes_and_wherever_split(
            values in prop::collection::vec(-1e6..1e6_f64, 1..200),
            cut in 0_usize..200,
        ) {
            let (mean, variance) = two_pass(&values);
            let whole: Moments = values.iter().copied().collect();
            let cut = cut.min(values.len());
            let mut joined: Moments = values[..cut].iter().copied().collect();
            joined.merge(&values[cut..].iter().copied().collect());
            for m in [whole, joined] {
                prop_assert_eq!(m.count, values.len() as u64);
                prop_assert!((m.mean - mean).abs() <= 1e-9);
                prop_assert!((m.variance() - variance).abs() <= 1e-12 * (variance + mean * mean));
            }
        }
    }
}
