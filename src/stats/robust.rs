//! Median and MAD of the last N values, exact, and the robust z-score made of them.
//!
//! The window is kept twice: in order of arrival, to know what leaves, and sorted. A value is placed by two binary
//! searches and one move of the floats between the place that becomes free and the place that is taken. The MAD (median
//! of the absolute deviations from the median) needs no second sort: the deviations to the left and to the right of the
//! median are each sorted already, so the k-th smallest of both is found by one binary search.
//!
//! Guarantees: the answers are those of sorting the window anew, to the bit. One value costs O(log n) comparisons and a
//! move of at most `8 n` bytes; the MAD costs O(log n). Good to windows of some ten thousand values; beyond that take
//! [`super::quantile::Histogram`].
//!
//! **The floor.** More than half of the values equal makes the MAD 0, and every other value then infinitely strange. A
//! [`Floor`] says below what scale a difference is no news: in the unit of the values, or as a share of the median.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What the MAD is multiplied by to estimate the standard deviation of normal data: one over the normal quantile of
/// 3/4.
pub const MAD_TO_STDDEV: f64 = 1.482602218505602;

/// The least scale that a robust z-score divides by: the larger of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// In the unit of the values.
    pub absolute: f64,
    /// As a share of the absolute value of the median.
    pub relative: f64,
}

/// The last N values, sorted and in order of arrival.
///
/// ```
/// use eagre::stats::robust::{Floor, RobustWindow};
/// let mut window = RobustWindow::new(5);
/// for x in [1000.0, 1.0, 2.0, 3.0, 4.0, 90.0] {
///     window.push(x);
/// }
/// assert_eq!((window.median(), window.mad()), (Some(3.0), Some(1.0)));
/// assert!(window.z(90.0, Floor::default()).unwrap() > 50.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct RobustWindow {
    capacity: usize,
    arrived: VecDeque<f64>,
    #[serde(skip)]
    sorted: Vec<f64>,
}

/// What a snapshot holds: the sorted half follows from the other.
#[derive(Deserialize)]
struct Stored {
    capacity: usize,
    arrived: VecDeque<f64>,
}

impl From<Stored> for RobustWindow {
    fn from(Stored { capacity, arrived }: Stored) -> Self {
        let mut sorted: Vec<f64> = arrived.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        RobustWindow { capacity, arrived, sorted }
    }
}

impl RobustWindow {
    /// A window of at most `capacity` values (at least 1).
    pub fn new(capacity: usize) -> Self {
        RobustWindow { capacity: capacity.max(1), arrived: VecDeque::new(), sorted: Vec::new() }
    }

    /// Number of values in the window.
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Whether the window holds nothing.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Adds the newest value; where the window is full, the oldest leaves. NaN is refused: it returns false and nothing
    /// changes.
    pub fn push(&mut self, x: f64) -> bool {
        if x.is_nan() {
            return false;
        }
        // Minus zero becomes zero, so that equal values have equal bits.
        let x = x + 0.0;
        if self.len() < self.capacity {
            self.sorted.insert(self.position(x), x);
        } else if let Some(oldest) = self.arrived.pop_front() {
            self.replace(oldest, x);
        }
        self.arrived.push_back(x);
        true
    }

    /// Removes the oldest value, for windows that end by time.
    pub fn evict(&mut self) -> Option<f64> {
        let oldest = self.arrived.pop_front()?;
        self.sorted.remove(self.position(oldest));
        Some(oldest)
    }

    /// The values in ascending order.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The median (of an even number of values the middle between the two in the middle); None when empty.
    pub fn median(&self) -> Option<f64> {
        let n = self.sorted.len();
        (n > 0).then(|| middle(self.sorted[(n - 1) / 2], self.sorted[n / 2]))
    }

    /// The median of the absolute deviations from the median; None when empty.
    pub fn mad(&self) -> Option<f64> {
        let median = self.median()?;
        let n = self.sorted.len();
        let upper = self.deviation(median, n / 2);
        Some(if n % 2 == 1 { upper } else { middle(self.deviation(median, n / 2 - 1), upper) })
    }

    /// The scale of the window, `max(MAD_TO_STDDEV * MAD, floor)`; None when empty.
    pub fn scale(&self, floor: Floor) -> Option<f64> {
        let (median, mad) = (self.median()?, self.mad()?);
        Some((MAD_TO_STDDEV * mad).max(floor.absolute).max(floor.relative * median.abs()))
    }

    /// How many scales `x` lies above the median. None when the window is empty or the scale is 0.
    pub fn z(&self, x: f64, floor: Floor) -> Option<f64> {
        let (median, scale) = (self.median()?, self.scale(floor)?);
        (scale > 0.0).then(|| (x - median) / scale)
    }

    fn position(&self, x: f64) -> usize {
        self.sorted.partition_point(|value| *value < x)
    }

    /// Takes `old` out of the sorted values and puts `new` in, by one move.
    fn replace(&mut self, old: f64, new: f64) {
        let (from, to) = (self.position(old), self.position(new));
        if to > from {
            self.sorted.copy_within(from + 1..to, from);
            self.sorted[to - 1] = new;
        } else {
            self.sorted.copy_within(to..from, to + 1);
            self.sorted[to] = new;
        }
    }

    /// The `k`-th smallest (from 0) of the absolute deviations from `median`, which must lie within the values. The
    /// search is for how many of the `k` smaller ones lie on the left.
    fn deviation(&self, median: f64, k: usize) -> f64 {
        let split = self.position(median);
        let (below, above) = self.sorted.split_at(split);
        let left = |i: usize| median - below[split - 1 - i];
        let right = |i: usize| above[i] - median;
        let (mut low, mut high) = (k.saturating_sub(above.len()), k.min(below.len()));
        while low < high {
            let i = low.midpoint(high);
            // Fewer than all of the left and, as i < k, at least one of the right: is the left one still the smaller?
            if left(i) < right(k - i - 1) {
                low = i + 1;
            } else {
                high = i;
            }
        }
        match (low < below.len(), k - low < above.len()) {
            (true, true) => left(low).min(right(k - low)),
            (true, false) => left(low),
            (false, _) => right(k - low),
        }
    }
}

fn middle(a: f64, b: f64) -> f64 {
    // Equal values, infinite ones too, are their own middle; halves first, so that large ones do not overflow.
    if a == b { a } else { 0.5 * a + 0.5 * b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn median_of(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        middle(values[(n - 1) / 2], values[n / 2])
    }

    fn by_sorting(values: &[f64]) -> (f64, f64) {
        let median = median_of(values.to_vec());
        (median, median_of(values.iter().map(|x| (x - median).abs()).collect()))
    }

    #[test]
    fn few_values() {
        let mut window = RobustWindow::new(3);
        assert_eq!((window.median(), window.mad(), window.z(1.0, Floor::default())), (None, None, None));
        assert!(!window.push(f64::NAN) && window.is_empty() && window.evict().is_none());
        window.push(7.0);
        assert_eq!((window.median(), window.mad()), (Some(7.0), Some(0.0)));
        window.push(-0.0);
        assert_eq!((window.median(), window.mad()), (Some(3.5), Some(3.5)));
        assert_eq!((window.evict(), window.sorted()), (Some(7.0), &[0.0][..]));
        window.push(f64::INFINITY);
        assert_eq!(window.median(), Some(f64::INFINITY));
    }

    #[test]
    fn floor() {
        let mut window = RobustWindow::new(9);
        [200.0; 9].into_iter().for_each(|x| assert!(window.push(x)));
        let z = |absolute, relative| window.z(201.0, Floor { absolute, relative });
        assert_eq!((z(0.0, 0.0), z(0.5, 0.0), z(0.0, 0.01), z(0.5, 0.01)), (None, Some(2.0), Some(0.5), Some(0.5)));
    }

    #[test]
    fn a_snapshot_holds_the_values_once() {
        let mut window = RobustWindow::new(100);
        (0..150).for_each(|i| assert!(window.push(f64::from(i * 37 % 101))));
        let bytes = postcard::to_stdvec(&window).unwrap();
        assert_eq!(bytes.len(), 2 + 800);
        assert_eq!(postcard::from_bytes::<RobustWindow>(&bytes).unwrap(), window);
    }

    proptest! {
        #[test]
        fn as_by_sorting(
            values in prop::collection::vec(prop_oneof![-1e3..1e3_f64, (-3_i8..3).prop_map(f64::from)], 1..200),
            capacity in 1_usize..40,
            evictions in prop::collection::vec(0_usize..200, 0..8),
        ) {
            let (mut window, mut naive) = (RobustWindow::new(capacity), VecDeque::new());
            for (i, x) in values.iter().enumerate() {
                if evictions.contains(&i) {
                    prop_assert_eq!(window.evict(), naive.pop_front());
                }
                prop_assert!(window.push(*x));
                naive.push_back(*x);
                if naive.len() > capacity {
                    naive.pop_front();
                }
                let (median, mad) = by_sorting(naive.make_contiguous());
                prop_assert_eq!((window.median(), window.mad()), (Some(median), Some(mad)));
            }
        }
    }
}
