//! The mathematics of single series: moments, windows, quantiles, distinct counts, heavy hitters, chance.
//!
//! The room is pure. Slices and numbers go in, numbers come out; no batch, no clock, no IO. Every type is the whole of
//! its own state, so it can be kept per key, compared, serialised with serde and merged.
//!
//! | file | answers | state | cost of one value |
//! | --- | --- | --- | --- |
//! | [`moments`] | count, mean, variance of everything seen | 24 bytes | O(1) |
//! | [`sliding`] | any aggregate of the last N values, or of a span of time | one partial a value | O(1), worst case |
//! | [`ewma`] | mean and deviation that forget exponentially, by count or by time | 32 bytes | O(1) |
//! | [`robust`] | median and MAD of the last N values, exact | two floats a value | O(log n) and one short move |
//! | [`quantile`] | quantiles to 0.1 % in sparse bins; exact quantiles of a slice | 12 bytes a bin | O(log bins) |
//! | [`hyperloglog`] | how many different things | at most 2^precision bytes | O(1) |
//! | [`top_k`] | which things most often, with bounds | capacity entries | O(1), O(log k) when it must replace |
//! | [`extremes`] | minimum and maximum of a window; how far outside all the past | monotone deque | O(1) amortised |
//! | [`random`] | specified random numbers, the same on every machine | 40 bytes | O(1) |
//! | [`elementary`] | `ln`, `exp`, powers, sine made of IEEE operations only | none | about 5 ns |
//!
//! **Same bits everywhere.** Only `+ - * / sqrt` and comparisons of `f64` are used, which IEEE 754 fixes to the bit,
//! and no hash map's order reaches a result. `ln` and `exp` of the platform's mathematics library differ between
//! systems, so the room has its own.
//!
//! **Order.** Where an answer depends on the order of the values (any sum of floats does), it depends on nothing else.
//! [`quantile::Histogram`], [`hyperloglog::HyperLogLog`] and [`extremes::Range`] do not depend on it: their merge is
//! commutative and associative to the bit.
//!
//! **NaN is not a measurement.** Callers keep it out. Types that could be damaged by it for good (sorted windows, bins,
//! extremes) refuse it and change nothing; in [`moments`] and [`ewma`] it makes the answer NaN, and a sliding window is
//! well again once the NaN has left.

pub mod elementary;
pub mod ewma;
pub mod extremes;
pub mod hyperloglog;
pub mod moments;
pub mod quantile;
pub mod random;
pub mod robust;
pub mod sliding;
pub mod top_k;
