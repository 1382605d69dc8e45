//! Minimum and maximum: of a sliding window, and of all the past.
//!
//! [`SlidingExtremes`] is a pair of monotone deques: a value stays only while no later one is at least as extreme, so
//! the front is the extreme of the window. Amortised O(1) a value; on noise the deques hold some `ln n` values, on a
//! ramp all `n`. [`Range`] is the least and the greatest value ever seen, and says how far outside of it a new value
//! lies.
//!
//! Guarantees: the answers are values that came, to the bit (minus zero becomes zero); NaN is refused and changes
//! nothing; [`Range`] does not depend on the order, and merging ranges commutes and associates to the bit.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Least and greatest value of a window that ends by time or by count, which is the caller's business.
///
/// Each value comes with a position: its time, or a running number. Positions do not decrease.
///
/// ```
/// use eagre::stats::extremes::SlidingExtremes;
/// let mut last_three = SlidingExtremes::default();
/// for (number, x) in (0..).zip([9.0, 1.0, 5.0, 4.0, 6.0]) {
///     last_three.push(number, x);
///     last_three.evict_before(number - 2);
/// }
/// assert_eq!((last_three.min(), last_three.max()), (Some(4.0), Some(6.0)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlidingExtremes {
    minima: VecDeque<(i64, f64)>,
    maxima: VecDeque<(i64, f64)>,
}

impl SlidingExtremes {
    /// Adds the newest value. NaN is refused: it returns false and nothing changes.
    pub fn push(&mut self, position: i64, x: f64) -> bool {
        if x.is_nan() {
            return false;
        }
        let x = x + 0.0;
        push_monotone(&mut self.minima, position, x, |earlier| earlier >= x);
        push_monotone(&mut self.maxima, position, x, |earlier| earlier <= x);
        true
    }

    /// Forgets the values at positions less than `bound`. One at exactly `bound` stays.
    pub fn evict_before(&mut self, bound: i64) {
        for deque in [&mut self.minima, &mut self.maxima] {
            while deque.front().is_some_and(|(position, _)| *position < bound) {
                deque.pop_front();
            }
        }
    }

    /// The least value in the window; None when empty.
    pub fn min(&self) -> Option<f64> {
        self.minima.front().map(|(_, x)| *x)
    }

    /// The greatest value in the window; None when empty.
    pub fn max(&self) -> Option<f64> {
        self.maxima.front().map(|(_, x)| *x)
    }
}

fn push_monotone(deque: &mut VecDeque<(i64, f64)>, position: i64, x: f64, outdone: impl Fn(f64) -> bool) {
    while deque.back().is_some_and(|(_, earlier)| outdone(*earlier)) {
        deque.pop_back();
    }
    deque.push_back((position, x));
}

/// Least and greatest of all values seen.
///
/// ```
/// use eagre::stats::extremes::Range;
/// let mut range = Range::default();
/// [20.0, 40.0, 30.0].into_iter().for_each(|x| assert!(range.push(x)));
/// assert_eq!((range.novelty(25.0), range.novelty(45.0), range.novelty(0.0)), (0.0, 0.25, 1.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    bounds: Option<(f64, f64)>,
}

impl Range {
    /// Widens the range to `x`. NaN is refused: it returns false and nothing changes.
    pub fn push(&mut self, x: f64) -> bool {
        if x.is_nan() {
            return false;
        }
        let x = x + 0.0;
        self.merge(&Range { bounds: Some((x, x)) });
        true
    }

    /// Widens the range to all that `other` has seen.
    pub fn merge(&mut self, other: &Range) {
        self.bounds = match (self.bounds, other.bounds) {
            (Some((low, high)), Some((other_low, other_high))) => Some((low.min(other_low), high.max(other_high))),
            (one, other) => one.or(other),
        };
    }

    /// The least value seen.
    pub fn min(&self) -> Option<f64> {
        self.bounds.map(|(low, _)| low)
    }

    /// The greatest value seen.
    pub fn max(&self) -> Option<f64> {
        self.bounds.map(|(_, high)| high)
    }

    /// How far outside all the past `x` lies: 0 within it, else the distance to the nearer end, in widths of the range.
    ///
    /// Where all the past is one value `c`, there is no width to measure by, and the distance is divided by the larger
    /// of `|c|` and itself: a graded answer above 0 and at most 1. Nothing is new to an empty range, nor is NaN: 0.
    pub fn novelty(&self, x: f64) -> f64 {
        let Some((low, high)) = self.bounds else { return 0.0 };
        let excess = if x < low {
            low - x
        } else if x > high {
            x - high
        } else {
            return 0.0;
        };
        if high > low {
            excess / (high - low)
        } else if excess > low.abs() {
            1.0
        } else {
            excess / low.abs()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_nan() {
        let (mut window, mut range) = (SlidingExtremes::default(), Range::default());
        assert!(!window.push(0, f64::NAN) && !range.push(f64::NAN));
        assert_eq!((window.min(), window.max(), range.min(), range.max()), (None, None, None, None));
        assert_eq!((range.novelty(1e9), range.novelty(f64::NAN)), (0.0, 0.0));
    }

    #[test]
    fn novelty() {
        let check = |past: &[f64], x: f64, expected: f64| {
            let mut range = Range::default();
            past.iter().for_each(|y| assert!(range.push(*y)));
            assert_eq!(range.novelty(x), expected, "{x} after {past:?}");
        };
        check(&[1.0, 3.0], 3.0, 0.0);
        check(&[1.0, 3.0], 4.0, 0.5);
        check(&[1.0, 3.0], -9.0, 5.0);
        check(&[1.0, 3.0], f64::INFINITY, f64::INFINITY);
        check(&[50.0], 50.0, 0.0);
        check(&[50.0, 50.0], 51.0, 0.02);
        check(&[50.0], -1e6, 1.0);
        check(&[0.0], 1e-9, 1.0);
        check(&[-0.0], 0.0, 0.0);
        check(&[5.0], f64::INFINITY, 1.0);
    }

    proptest! {
        #[test]
        fn as_by_looking(values in prop::collection::vec((0_i64..4, -20_i32..20), 1..200), width in 0_i64..30) {
            let (mut window, mut seen, mut now) = (SlidingExtremes::default(), Vec::new(), 0);
            for (gap, x) in values {
                now += gap;
                seen.push((now, f64::from(x)));
                window.push(now, f64::from(x));
                window.evict_before(now - width);
                let inside = || seen.iter().filter(|(time, _)| *time >= now - width).map(|(_, x)| *x);
                prop_assert_eq!(window.min(), inside().reduce(f64::min));
                prop_assert_eq!(window.max(), inside().reduce(f64::max));
                window = postcard::from_bytes(&postcard::to_stdvec(&window).unwrap()).unwrap();
            }
        }

        #[test]
        fn ranges_merge_in_any_order(
            values in prop::collection::vec(prop_oneof![-9.0..9.0_f64, Just(-0.0), Just(0.0)], 0..30),
            cut in 0_usize..30,
        ) {
            let range_of = |values: &[f64]| {
                let mut range = Range::default();
                values.iter().for_each(|x| assert!(range.push(*x)));
                range
            };
            let cut = cut.min(values.len());
            let (mut there, mut back) = (range_of(&values[..cut]), range_of(&values[cut..]));
            let left = there;
            there.merge(&back);
            back.merge(&left);
            let bytes = |range: &Range| postcard::to_stdvec(range).unwrap();
            prop_assert_eq!(bytes(&there), bytes(&range_of(&values)));
            prop_assert_eq!(bytes(&there), bytes(&back));
        }
    }
}
