//! Mean and variance that forget exponentially, by count or by time.
//!
//! Each value has the weight `decay^age`, and mean and variance are the weighted ones of everything seen:
//!
//! - by count ([`Ewma`]): the age is the number of values since, and `decay = 1 - alpha`;
//! - by time ([`TimedEwma`]): `decay = exp(-dt / tau)`, so a value `tau * ln 2` old (the half life) counts half. Values
//!   at the same instant have equal weight, and a gap makes all before it lighter together.
//!
//! This is `ewm(adjust=True)` of pandas, with `bias=True` for the deviation. The textbook step `mean += alpha * (x -
//! mean)`, with `alpha = 1 - exp(-dt / tau)` by time, is its limit once the first value is forgotten, but it trusts
//! that first value for some `1 / alpha` events and, by time, ignores a second value at the same instant altogether.
//! Here the first values are weighed as in a plain mean.
//!
//! Numerics: one weighted Welford step (West, CACM 22, 1979), no subtraction of sums; an outlier fades and leaves no
//! trace in the rounding. `exp` is [`super::elementary::exp`], so the bits are the same on every machine.

use serde::{Deserialize, Serialize};

use super::elementary::exp;

/// Weighted count, mean and sum of squared deviations: what both forms keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Decayed {
    weight: f64,
    mean: f64,
    m2: f64,
}

impl Decayed {
    fn push(&mut self, x: f64, decay: f64) {
        self.weight = 1.0 + decay * self.weight;
        let delta = x - self.mean;
        self.mean += delta / self.weight;
        self.m2 = decay * self.m2 + delta * (x - self.mean);
    }

    fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.mean)
    }

    fn stddev(&self) -> f64 {
        if self.weight > 0.0 { (self.m2 / self.weight).sqrt() } else { 0.0 }
    }

    fn z(&self, x: f64) -> Option<f64> {
        let stddev = self.stddev();
        (stddev > 0.0).then(|| (x - self.mean) / stddev)
    }
}

/// Exponentially weighted moments by count.
///
/// ```
/// use eagre::stats::ewma::Ewma;
/// let mut ewma = Ewma::new(0.5);
/// [1.0, 2.0].into_iter().for_each(|x| ewma.push(x));
/// // Weights 1/2 and 1.
/// assert!((ewma.mean().unwrap() - 2.5 / 1.5).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    alpha: f64,
    state: Decayed,
}

impl Ewma {
    /// `alpha` is the weight of a new value against all the past, between 0 (never forgets) and 1 (knows only the
    /// newest value); numbers outside are taken as the nearer end. `2 / (n + 1)` forgets about as fast as a window of
    /// `n` values.
    pub fn new(alpha: f64) -> Self {
        Ewma { alpha: alpha.clamp(0.0, 1.0), state: Decayed::default() }
    }

    /// Adds one value.
    pub fn push(&mut self, x: f64) {
        self.state.push(x, 1.0 - self.alpha);
    }

    /// Weighted mean; None before the first value.
    pub fn mean(&self) -> Option<f64> {
        self.state.mean()
    }

    /// Weighted population standard deviation; 0 before the second value.
    pub fn stddev(&self) -> f64 {
        self.state.stddev()
    }

    /// How many standard deviations `x` lies above the mean; None while the deviation is 0.
    pub fn z(&self, x: f64) -> Option<f64> {
        self.state.z(x)
    }
}

/// Exponentially weighted moments by time. Times and `tau` are in the same unit, any unit.
///
/// ```
/// use eagre::stats::ewma::TimedEwma;
/// let mut ewma = TimedEwma::with_half_life(10.0);
/// ewma.push(1.0, 0);
/// ewma.push(4.0, 10);
/// // The first value is one half life old: weights 1/2 and 1.
/// assert!((ewma.mean().unwrap() - 3.0).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedEwma {
    tau: f64,
    newest: i64,
    state: Decayed,
}

impl TimedEwma {
    /// `tau` is the age at which a value counts `1/e`. Above 0: at 0 and below, only values at the newest instant
    /// count.
    pub fn with_tau(tau: f64) -> Self {
        TimedEwma { tau, newest: i64::MIN, state: Decayed::default() }
    }

    /// `half_life` is the age at which a value counts one half.
    pub fn with_half_life(half_life: f64) -> Self {
        TimedEwma::with_tau(half_life * std::f64::consts::LOG2_E)
    }

    /// Adds one value at `time`. Times come in non-decreasing order; an older one counts as if it came at the newest.
    pub fn push(&mut self, x: f64, time: i64) {
        let elapsed = if self.state.weight > 0.0 { time.saturating_sub(self.newest).max(0) } else { 0 };
        self.newest = self.newest.max(time);
        let decay = match elapsed {
            0 => 1.0,
            _ if self.tau > 0.0 => exp(-(elapsed as f64) / self.tau),
            _ => 0.0,
        };
        self.state.push(x, decay);
    }

    /// Weighted mean; None before the first value.
    pub fn mean(&self) -> Option<f64> {
        self.state.mean()
    }

    /// Weighted population standard deviation; 0 before the second value.
    pub fn stddev(&self) -> f64 {
        self.state.stddev()
    }

    /// How many standard deviations `x` lies above the mean; None while the deviation is 0.
    pub fn z(&self, x: f64) -> Option<f64> {
        self.state.z(x)
    }
}

#[cfg(test)]
mod tests {
    use super::super::moments::Moments;
    use super::*;
    use proptest::prelude::*;

    /// The definition: weights first, then the weighted mean and deviation in two passes.
    fn by_definition(values: &[(f64, f64)]) -> (f64, f64) {
        let total: f64 = values.iter().map(|(_, w)| w).sum();
        let mean = values.iter().map(|(x, w)| x * w).sum::<f64>() / total;
        (mean, (values.iter().map(|(x, w)| w * (x - mean) * (x - mean)).sum::<f64>() / total).sqrt())
    }

    #[test]
    fn few_values() {
        let mut ewma = Ewma::new(0.1);
        assert_eq!((ewma.mean(), ewma.stddev(), ewma.z(1.0)), (None, 0.0, None));
        ewma.push(7.0);
        assert_eq!((ewma.mean(), ewma.stddev(), ewma.z(1.0)), (Some(7.0), 0.0, None));
        ewma.push(7.0);
        assert_eq!((ewma.mean(), ewma.z(9.0)), (Some(7.0), None));
    }

    #[test]
    fn alpha_at_its_ends() {
        let (mut all, mut newest, mut plain) = (Ewma::new(0.0), Ewma::new(1.0), Moments::default());
        for x in [3.0, 1.0, 4.0, 1.0, 5.0] {
            all.push(x);
            newest.push(x);
            plain.push(x);
        }
        assert_eq!((all.mean(), all.stddev()), (Some(plain.mean), plain.stddev()));
        assert_eq!((newest.mean(), newest.stddev()), (Some(5.0), 0.0));
    }

    #[test]
    fn by_hand() {
        // Weights 0.343, 0.49, 0.7 and 1.
        let mut ewma = Ewma::new(0.3);
        [1.0, 2.0, 4.0, 8.0].into_iter().for_each(|x| ewma.push(x));
        assert!((ewma.mean().unwrap() - 4.786024476904855).abs() < 1e-12);
        assert!((ewma.stddev() - 2.77331663224905).abs() < 1e-12);
    }

    #[test]
    fn by_time_the_same_instant_has_the_same_weight_and_a_long_gap_forgets() {
        let mut ewma = TimedEwma::with_tau(5.0);
        [1.0, 2.0, 6.0].into_iter().for_each(|x| ewma.push(x, 1_000));
        assert_eq!(ewma.mean(), Some(3.0));
        ewma.push(100.0, 1_000_000);
        assert_eq!((ewma.mean(), ewma.stddev()), (Some(100.0), 0.0));
        let mut instant = TimedEwma::with_tau(0.0);
        [(1.0, i64::MIN), (2.0, 3), (4.0, 3)].into_iter().for_each(|(x, time)| instant.push(x, time));
        assert_eq!(instant.mean(), Some(3.0));
    }

    proptest! {
        #[test]
        fn as_defined(events in prop::collection::vec((-100.0..100.0_f64, 0_i64..30), 1..100), alpha in 0.01..0.9_f64) {
            let (mut counted, mut timed, mut time) = (Ewma::new(alpha), TimedEwma::with_tau(20.0), 0);
            let mut times = Vec::new();
            for (x, gap) in &events {
                time += gap;
                times.push(time);
                counted.push(*x);
                timed.push(*x, time);
            }
            let n = events.len();
            let weigh =
                |weight: &dyn Fn(usize) -> f64| -> Vec<_> { (0..n).map(|i| (events[i].0, weight(i))).collect() };
            let (mean, stddev) = by_definition(&weigh(&|i| (1.0 - alpha).powi((n - 1 - i) as i32)));
            prop_assert!((counted.mean().unwrap() - mean).abs() < 1e-9 && (counted.stddev() - stddev).abs() < 1e-6);
            let (mean, stddev) = by_definition(&weigh(&|i| (-((time - times[i]) as f64) / 20.0).exp()));
            prop_assert!((timed.mean().unwrap() - mean).abs() < 1e-9 && (timed.stddev() - stddev).abs() < 1e-6);
        }
    }
}
