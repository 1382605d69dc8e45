//! Several scales at once: how their features move together, and which scales suit a series.
//!
//! | file | answers | cost |
//! | --- | --- | --- |
//! | [`Scales`] | the features of all scales over one ring of values | those of the scales |
//! | `nested` | windows of one series: what a record changes is found once | that of one, and an eighth for each other |
//! | `sums` | sums that windows have in common, exact and as cheap as integers | O(1) |
//! | [`correlation`] | covariance and correlation of feature vectors over a sliding window, without drift | O(f^2) a slide |
//! | [`delay`] | the delay of an embedding: first minimum of mutual information | O(n) a lag |
//! | [`period`] | the window's length: the dominant period by autocorrelation | O(n) a lag |
//!
//! Clouds of one embedding learn from each other too (`rips/nested.rs`).
//!
//! A scale is a window (and a delay) over the series; its features are numbers of its diagram. [`Scales`] joins the
//! parts: one ring, scales that follow it each for itself, and the correlation of their features. The other three take
//! slices of numbers and do not know where they come from.
//!
//! **Deterministic.** Every choice is a function of the slice it is given, made of integer counts, sums in index order
//! and comparisons; ties go to the shorter lag. Same bits everywhere.

pub mod correlation;
pub mod delay;
mod joined;
mod nested;
pub mod period;
mod ring;
mod scale;
mod sums;

pub use joined::{HOP_OF_STRETCHES, SCALES_MAX, Scales, Settings};
pub use ring::{Ring, Suited};
pub use scale::{DIMENSION_MAX, Feature, Number, REACH_MAX, Scale, ScaleSettings, Shape};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bits_break_a_choice(bits in proptest::collection::vec(any::<u64>(), 0..80), lag_max in 0..100_usize) {
            let series: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            prop_assert!(delay::delay(&series, lag_max).is_none_or(|lag| (1..=lag_max).contains(&lag)));
            prop_assert!(period::period(&series, lag_max).is_none_or(|period| period.lag <= lag_max));
            let mut correlation = correlation::Correlation::new(2, 5);
            for vector in series.chunks_exact(2) {
                let fits = vector.iter().all(|x| x.abs() <= 1e140);
                prop_assert_eq!(correlation.push(vector), fits);
            }
            prop_assert!(correlation.correlation(0, 1).is_none_or(|x| x.abs() <= 1.0));
        }
    }
}
