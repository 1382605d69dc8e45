//! Aggregates over a sliding window that never subtract.
//!
//! Taking the oldest value out of a running sum is fast and wrong: once a value of 1e12 has come and gone, the sum has
//! lost all the small ones, and the standard deviation of the window is 0 or nonsense for ever after. That outlier is
//! the event which an anomaly detector is there for. The window here keeps partial aggregates in a queue and only ever
//! *combines* them, so a value that has left leaves no trace.
//!
//! The algorithm is DABA Lite (Tangwongsan, Hirzel, Schneider: In-order sliding-window aggregation in worst-case
//! constant time, VLDB Journal 2021, arXiv:2009.13768). It is two stacks laid in one queue, with the flip spread over
//! the operations:
//!
//! ```text
//!   0            left            right       accumulate     back        len
//!   |  to `back`  |  to `right`   |  values    |  to `back`   |  values   |
//!   oldest ------------------- front ------------------------- newest ----
//! ```
//!
//! "To `back`" means that a slot holds the aggregate from its own item up to that place. Each operation turns one slot
//! of the second part into one of the first, and one of the third into one of the fourth; when both are done, the whole
//! front answers for itself, and the values behind it become the next third part.
//!
//! Guarantees: at most three combines for a push, two for an eviction, one for a query, in the worst case. Only
//! associativity is asked of the combination, not commutativity nor an inverse. The answer is a function of the
//! operations in their order.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::moments::Moments;

/// Something that can be aggregated: an associative combination with an identity.
pub trait Monoid: Clone {
    /// The aggregate of nothing. `x.combine(&identity)` and `identity.combine(&x)` are `x`.
    fn identity() -> Self;

    /// The aggregate of one's own values followed by those of `later`. Associative (floats: up to rounding).
    fn combine(&self, later: &Self) -> Self;
}

impl Monoid for Moments {
    fn identity() -> Self {
        Moments::default()
    }

    #[inline]
    fn combine(&self, later: &Self) -> Self {
        self.joined(*later)
    }
}

/// A first-in-first-out queue with the aggregate of its items at hand. When to evict is the caller's business.
///
/// ```
/// use eagre::stats::{moments::Moments, sliding::Sliding};
/// let mut last_three = Sliding::default();
/// for x in [1e12, 1.0, 2.0, 3.0] {
///     last_three.push_within(Moments::of(x), 3);
/// }
/// assert_eq!(last_three.query().mean, 2.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sliding<M> {
    items: VecDeque<M>,
    left: usize,
    right: usize,
    accumulate: usize,
    back: usize,
    /// What the slots of `left..right` still lack: the aggregate, at the last flip, of the slots behind them.
    middle: M,
    /// Aggregate of `back..`.
    newest: M,
}

impl<M: Monoid> Default for Sliding<M> {
    fn default() -> Self {
        let (middle, newest) = (M::identity(), M::identity());
        Sliding { items: VecDeque::new(), left: 0, right: 0, accumulate: 0, back: 0, middle, newest }
    }
}

impl<M: Monoid> Sliding<M> {
    /// An empty window with room for `capacity` items. It grows beyond that when it must (one move of the queue, the
    /// only step that is not constant time).
    pub fn with_capacity(capacity: usize) -> Self {
        Sliding { items: VecDeque::with_capacity(capacity), ..Sliding::default() }
    }

    /// Number of items in the window.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the window holds nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds the newest item.
    #[inline]
    pub fn push(&mut self, item: M) {
        self.newest = self.newest.combine(&item);
        self.items.push_back(item);
        self.step();
    }

    /// Adds the newest item, after evicting as many of the oldest as leaves at most `count` (at least 1) in the window.
    #[inline]
    pub fn push_within(&mut self, item: M, count: usize) {
        while self.len() >= count.max(1) {
            self.evict();
        }
        self.push(item);
    }

    /// Removes the oldest item. Returns false where there was none.
    #[inline]
    pub fn evict(&mut self) -> bool {
        if self.items.pop_front().is_none() {
            return false;
        }
        // Positions count from the oldest item. After every step each lies past the first item, or there is none.
        self.left -= 1;
        self.right -= 1;
        self.accumulate -= 1;
        self.back -= 1;
        self.step();
        true
    }

    /// The aggregate of the whole window, oldest first; the identity when it is empty.
    #[inline]
    pub fn query(&self) -> M {
        self.items.front().map_or_else(M::identity, |front| front.combine(&self.newest))
    }

    /// Does the share of the flip that falls to one operation.
    #[inline]
    fn step(&mut self) {
        let end = self.items.len();
        if self.back == 0 {
            // The front is empty: the items at the back, at most one, become the front.
            (self.left, self.right, self.accumulate, self.back) = (end, end, end, end);
            (self.middle, self.newest) = (M::identity(), M::identity());
            return;
        }
        if self.left == self.back {
            // The front is all suffixes: flip. It keeps its place as the left sublist, the back becomes the right one.
            (self.left, self.right, self.accumulate, self.back) = (0, self.back, end, end);
            self.middle = std::mem::replace(&mut self.newest, M::identity());
        }
        if self.left == self.right {
            self.left += 1;
            self.right += 1;
            self.accumulate += 1;
            return;
        }
        self.items[self.left] = self.items[self.left].combine(&self.middle);
        self.left += 1;
        if self.accumulate != self.back {
            self.items[self.accumulate - 1] = self.items[self.accumulate - 1].combine(&self.items[self.accumulate]);
        }
        self.accumulate -= 1;
    }
}

/// A [`Sliding`] whose items leave by time.
///
/// Times are in whatever unit the caller counts (event time in microseconds, as a rule), and come in non-decreasing
/// order.
///
/// ```
/// use eagre::stats::{moments::Moments, sliding::TimedSliding};
/// let mut last_ten_seconds = TimedSliding::default();
/// for (time, x) in [(0, 5.0), (4, 1.0), (11, 3.0)] {
///     last_ten_seconds.evict_before(time - 10);
///     last_ten_seconds.push(time, Moments::of(x));
/// }
/// assert_eq!((last_ten_seconds.len(), last_ten_seconds.query().mean), (2, 2.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedSliding<M> {
    times: VecDeque<i64>,
    window: Sliding<M>,
}

impl<M: Monoid> Default for TimedSliding<M> {
    fn default() -> Self {
        TimedSliding { times: VecDeque::new(), window: Sliding::default() }
    }
}

impl<M: Monoid> TimedSliding<M> {
    /// Number of items in the window.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether the window holds nothing.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The time of the oldest item.
    pub fn oldest(&self) -> Option<i64> {
        self.times.front().copied()
    }

    /// The time of the newest item.
    pub fn newest(&self) -> Option<i64> {
        self.times.back().copied()
    }

    /// Adds the newest item. An item older than the newest one keeps its place in the order of coming and leaves only
    /// after those before it.
    pub fn push(&mut self, time: i64, item: M) {
        self.times.push_back(time);
        self.window.push(item);
    }

    /// Removes the items older than `bound`, and says how many. An item at exactly `bound` stays.
    pub fn evict_before(&mut self, bound: i64) -> usize {
        let before = self.len();
        while self.times.front().is_some_and(|time| *time < bound) {
            self.evict();
        }
        before - self.len()
    }

    /// Removes the oldest item. Returns false where there was none.
    pub fn evict(&mut self) -> bool {
        self.times.pop_front();
        self.window.evict()
    }

    /// The aggregate of the whole window, oldest first.
    pub fn query(&self) -> M {
        self.window.query()
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;

    /// Concatenation: associative, not commutative, and shows every item and its place. Counts its combines.
    impl Monoid for String {
        fn identity() -> Self {
            String::new()
        }

        fn combine(&self, later: &Self) -> Self {
            COMBINES.set(COMBINES.get() + 1);
            format!("{self}{later}")
        }
    }

    thread_local! {
        static COMBINES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Welford's method with the oldest value taken out again: what this file is there to avoid.
    #[derive(Default)]
    struct Subtracting {
        values: VecDeque<f64>,
        mean: f64,
        m2: f64,
    }

    impl Subtracting {
        fn push_within(&mut self, x: f64, count: usize) {
            self.values.push_back(x);
            let delta = x - self.mean;
            self.mean += delta / self.values.len() as f64;
            self.m2 += delta * (x - self.mean);
            if self.values.len() > count {
                let old = self.values.pop_front().unwrap();
                let delta = old - self.mean;
                self.mean -= delta / self.values.len() as f64;
                self.m2 -= delta * (old - self.mean);
            }
        }

        fn stddev(&self) -> f64 {
            (self.m2.max(0.0) / self.values.len() as f64).sqrt()
        }
    }

    #[test]
    fn a_spike_leaves_no_trace() {
        let (count, mut random) = (1000, Random::new(1));
        let mut values: Vec<f64> = (0..5000).map(|_| random.normal()).collect();
        values[2500] = 1e12;
        let (mut ours, mut theirs) = (Sliding::default(), Subtracting::default());
        let mut worst = 0.0_f64;
        let mut worst_subtracting = 0.0_f64;
        for (i, x) in values.iter().enumerate() {
            ours.push_within(Moments::of(*x), count);
            theirs.push_within(*x, count);
            if i >= 2500 + count {
                let window = &values[i + 1 - count..=i];
                let mean = window.iter().sum::<f64>() / count as f64;
                let exact = (window.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / count as f64).sqrt();
                worst = worst.max((ours.query().stddev() - exact).abs() / exact);
                worst_subtracting = worst_subtracting.max((theirs.stddev() - exact).abs() / exact);
            }
        }
        assert!(worst < 1e-12, "worst relative error {worst}");
        assert!(worst_subtracting > 0.5, "subtraction was expected to fail, but its error is {worst_subtracting}");
    }

    #[test]
    fn infinity_and_nan_leave_no_trace() {
        let mut window = Sliding::default();
        for x in [f64::NAN, f64::INFINITY, 1.0, 2.0, 3.0] {
            window.push_within(Moments::of(x), 3);
        }
        assert_eq!(window.query().mean, 2.0);
    }

    #[test]
    fn empty() {
        let mut window = Sliding::<Moments>::with_capacity(4);
        assert!(!window.evict() && window.is_empty());
        assert_eq!(window.query(), Moments::default());
        let mut timed = TimedSliding::<Moments>::default();
        assert!(!timed.evict() && timed.evict_before(9) == 0 && timed.is_empty());
        assert_eq!((timed.oldest(), timed.newest()), (None, None));
    }

    #[test]
    fn by_time_the_bound_itself_stays() {
        let mut timed = TimedSliding::default();
        for (time, item) in [(1, "a"), (1, "b"), (2, "c"), (5, "d")] {
            timed.push(time, item.to_string());
        }
        assert_eq!((timed.evict_before(1), timed.query()), (0, "abcd".to_string()));
        assert_eq!((timed.evict_before(2), timed.query()), (2, "cd".to_string()));
        assert_eq!((timed.oldest(), timed.newest(), timed.len()), (Some(2), Some(5), 2));
    }

    proptest! {
        /// Any mixture of pushes and evictions, also with a stop and a restart in the middle, agrees with the whole
        /// recomputed.
        #[test]
        fn as_recomputed(pushes in prop::collection::vec(prop::bool::weighted(0.55), 0..400), stop in 0_usize..400) {
            let (mut window, mut naive) = (Sliding::<String>::default(), VecDeque::new());
            for (i, push) in pushes.into_iter().enumerate() {
                if i == stop {
                    window = postcard::from_bytes(&postcard::to_stdvec(&window).unwrap()).unwrap();
                }
                COMBINES.set(0);
                if push {
                    let item = format!("{i} ");
                    naive.push_back(item.clone());
                    window.push(item);
                } else {
                    prop_assert_eq!(window.evict(), naive.pop_front().is_some());
                }
                let allowed = if push { 3 } else { 2 };
                prop_assert!(COMBINES.get() <= allowed);
                prop_assert_eq!(window.len(), naive.len());
                prop_assert_eq!(window.query(), naive.iter().map(String::as_str).collect::<String>());
            }
        }
    }
}
