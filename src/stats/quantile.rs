//! Quantiles: of a stream to 0.1 %, and of a slice exactly.
//!
//! **The choice.** [`Histogram`] is the algorithm of HdrHistogram (powers of two, each cut into equal bins; 1024 of
//! them for three significant digits), with the bins read straight off the bits of the `f64` and kept sparse. It is not
//! the `hdrhistogram` crate, for three reasons:
//!
//! - that one holds unsigned integers. Measurements are floats of either sign, and any scale to map them would be a
//!   guess;
//! - its table is dense. With three digits and automatic resizing one key takes 16 KiB from the first value, 88 KiB
//!   once a value of 10^6 and 168 KiB once one of 10^9 has come (measured), however few values there are. A key here
//!   takes 12 bytes for each bin that was ever hit: a thousand values of a bell curve 8 KiB, of a lognormal with sigma
//!   1.2 11 KiB (measured); only a million of the latter, 143 KiB, fill as much as the dense table. The price is time:
//!   13 to 20 ns a value where the crate takes 4 to 5;
//! - its state is compared and stored with its capacity, so equal contents can have different bytes.
//!
//! A test holds both against each other: on integers from 2048 on, the bins are the same.
//!
//! Guarantees of [`Histogram`]: relative error at most 1/2048 (0.049 %) for any finite value down to 2.3e-308, either
//! sign; zero, minimum and maximum exact; recording and merging commute and associate to the bit; equal contents are
//! equal states. Memory: 12 bytes a bin that was hit, at most 1024 bins for each doubling of the magnitude.

use serde::{Deserialize, Serialize};

/// Bits of the mantissa that choose the bin within a power of two.
const BIN_BITS: u32 = 10;
const SHIFT: u32 = 52 - BIN_BITS;

/// Counts of floats in log-linear bins.
///
/// ```
/// use eagre::stats::quantile::Histogram;
/// let mut histogram = Histogram::default();
/// (1..=1000).for_each(|i| assert!(histogram.record(f64::from(i))));
/// assert_eq!((histogram.quantile(0.0), histogram.quantile(1.0)), (Some(1.0), Some(1000.0)));
/// assert!((histogram.quantile(0.99).unwrap() - 990.0).abs() < 0.99);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Bins that were hit, ascending, and beside it how often.
    bins: Vec<i32>,
    counts: Vec<u64>,
    count: u64,
    /// Least and greatest value; 0 and 0 when empty.
    min: f64,
    max: f64,
}

impl Histogram {
    /// Counts `x`. NaN is refused: it returns false and nothing changes. Infinities have bins of their own.
    pub fn record(&mut self, x: f64) -> bool {
        self.record_many(x, 1)
    }

    /// Counts `x` as `count` values.
    pub fn record_many(&mut self, x: f64, count: u64) -> bool {
        if x.is_nan() || count == 0 {
            return !x.is_nan();
        }
        // Minus zero becomes zero, so that the order of values does not reach the minimum.
        let x = x + 0.0;
        self.widen(x, x);
        self.count += count;
        let bin = bin_of(x);
        match self.bins.binary_search(&bin) {
            Ok(at) => self.counts[at] += count,
            Err(at) => {
                self.bins.insert(at, bin);
                self.counts.insert(at, count);
            }
        }
        true
    }

    /// Adds all the values of `other`. O(bins of both).
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        self.widen(other.min, other.max);
        self.count += other.count;
        let (bins, counts) = (std::mem::take(&mut self.bins), std::mem::take(&mut self.counts));
        let mut ours = bins.into_iter().zip(counts).peekable();
        for (bin, count) in other.bins.iter().copied().zip(other.counts.iter().copied()) {
            while let Some((earlier, n)) = ours.next_if(|(b, _)| *b < bin) {
                self.bins.push(earlier);
                self.counts.push(n);
            }
            let same = ours.next_if(|(b, _)| *b == bin).map_or(0, |(_, n)| n);
            self.bins.push(bin);
            self.counts.push(count + same);
        }
        for (bin, count) in ours {
            self.bins.push(bin);
            self.counts.push(count);
        }
    }

    /// The value at quantile `q` (clamped to 0..=1) by nearest rank, as HdrHistogram has it: the middle of the bin that
    /// holds the value with rank `ceil(q * count)`. The first and the last rank are exact. None when empty or `q` is
    /// NaN. O(bins).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        let rank = rank(q, self.count);
        if rank == 1 {
            return Some(self.min);
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.map(|at| middle_of(self.bins[at]).clamp(self.min, self.max))
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The least value, exact; None when empty.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest value, exact; None when empty.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// The bins that were hit, ascending: the value in the middle of each, and how often.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bins.iter().map(|bin| middle_of(*bin)).zip(self.counts.iter().copied())
    }

    fn widen(&mut self, min: f64, max: f64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
    }
}

/// The quantile `q` (clamped to 0..=1) of values in ascending order, interpolated linearly between the two neighbours
/// of position `q * (n - 1)`: the `quantile_cont` of DuckDB and SQL, type 7 of R, the default of NumPy. None when empty
/// or `q` is NaN.
///
/// ```
/// use eagre::stats::quantile::exact_quantile;
/// assert_eq!(exact_quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// ```
pub fn exact_quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let (position, [below, above]) = neighbours(sorted.len(), q)?;
    let (low, high) = (sorted[below], sorted[above]);
    if low == high {
        return Some(low);
    }
    let share = position - below as f64;
    Some(if share == 0.0 { low } else { low * (1.0 - share) + high * share })
}

/// The position of quantile `q` among `count` values, and its neighbours.
fn neighbours(count: usize, q: f64) -> Option<(f64, [usize; 2])> {
    let last = count.checked_sub(1)?;
    if q.is_nan() {
        return None;
    }
    let position = q.clamp(0.0, 1.0) * last as f64;
    Some((position, [position.floor(), position.ceil()].map(|at| (at as usize).min(last))))
}

/// Sorts values into memory of its own, which the next ones use again.
///
/// ```
/// use eagre::stats::quantile::Sorting;
/// assert_eq!(Sorting::default().sort(&[4.0, -1.0, 2.0]), [-1.0, 2.0, 4.0]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sorting {
    keys: Vec<i64>,
    sorted: Vec<f64>,
    places: Vec<usize>,
}

impl Sorting {
    /// The values in the order of [`f64::total_cmp`]: NaN last. O(n log n).
    pub fn sort(&mut self, values: &[f64]) -> &[f64] {
        self.take(values);
        self.keys.sort_unstable();
        self.give()
    }

    /// The same as far as [`exact_quantile`] looks at it for some quantiles: other values are not at their places. O(n)
    /// for each quantile.
    ///
    /// ```
    /// use eagre::stats::quantile::{Sorting, exact_quantile};
    /// let values: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
    /// assert_eq!(exact_quantile(Sorting::default().sort_for(&values, &[0.5]), 0.5), Some(49.5));
    /// ```
    pub fn sort_for(&mut self, values: &[f64], quantiles: &[f64]) -> &[f64] {
        self.take(values);
        self.places.clear();
        self.places.extend(quantiles.iter().filter_map(|q| neighbours(values.len(), *q)).flat_map(|(_, at)| at));
        self.places.sort_unstable();
        self.places.dedup();
        let mut from = 0;
        for place in &self.places {
            // What is before a place that was put right is no greater, what is behind it no less.
            self.keys[from..].select_nth_unstable(place - from);
            from = place + 1;
        }
        self.give()
    }

    fn take(&mut self, values: &[f64]) {
        self.keys.clear();
        self.keys.extend(values.iter().map(|value| turned(value.to_bits() as i64)));
    }

    fn give(&mut self) -> &[f64] {
        self.sorted.clear();
        self.sorted.extend(self.keys.iter().map(|key| f64::from_bits(turned(*key) as u64)));
        &self.sorted
    }
}

/// The bits of a float as an integer that ascends with it, and back: integers compare in one instruction. All bits but
/// the sign are turned over below zero.
fn turned(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The rank, from 1, of quantile `q`. A product that lies within rounding of a whole number is that number: 0.07 of 100
/// is 7, not 8.
fn rank(q: f64, count: u64) -> u64 {
    let product = q.clamp(0.0, 1.0) * count as f64;
    let whole = product.round();
    let rank = if (product - whole).abs() <= 2.0 * f64::EPSILON * product { whole } else { product.ceil() };
    (rank as u64).clamp(1, count)
}

/// Sign, exponent and the first bits of the mantissa as one number that ascends with the value. Zero has bin 0.
fn bin_of(x: f64) -> i32 {
    if x == 0.0 {
        return 0;
    }
    let magnitude = (x.abs().to_bits() >> SHIFT) as i32 + 1;
    if x < 0.0 { -magnitude } else { magnitude }
}

fn middle_of(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let low = u64::from(bin.unsigned_abs() - 1) << SHIFT;
    let infinite = low >= f64::INFINITY.to_bits();
    let magnitude = f64::from_bits(if infinite { f64::INFINITY.to_bits() } else { low | 1 << (SHIFT - 1) });
    if bin < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;

    fn histogram_of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|x| assert!(histogram.record(*x)));
        histogram
    }

    fn any_float() -> impl Strategy<Value = f64> {
        prop_oneof![
            -1e3..1e3_f64,
            -1e-3..1e-3_f64,
            Just(0.0),
            Just(-0.0),
            -1e300..1e300_f64,
            (-5_i32..5).prop_map(f64::from)
        ]
    }

    #[test]
    fn edges() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.min(), histogram.count()), (None, None, 0));
        assert!(!histogram.record(f64::NAN));
        assert_eq!(histogram, Histogram::default());
        let bytes = |x: f64| postcard::to_stdvec(&histogram_of(&[x])).unwrap();
        assert_eq!(bytes(-0.0), bytes(0.0));
        assert!(histogram.record(3.3));
        assert_eq!((histogram.quantile(0.5), histogram.quantile(f64::NAN)), (Some(3.3), None));
        for x in [f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MAX, f64::MIN, 5e-324] {
            assert!(histogram.record(x));
        }
        let at = |rank: u32| histogram.quantile(f64::from(rank) / 7.0).unwrap();
        assert_eq!((at(1), at(3), at(7)), (f64::NEG_INFINITY, 0.0, f64::INFINITY));
        assert!((at(2) / f64::MIN - 1.0).abs() < 0.001 && (at(6) / f64::MAX - 1.0).abs() < 0.001);
        assert_eq!(middle_of(bin_of(f64::NEG_INFINITY)), f64::NEG_INFINITY);
    }

    #[test]
    fn ranks() {
        for (q, count, expected) in
            [(0.0, 9, 1), (1.0, 9, 9), (0.5, 9, 5), (0.5, 10, 5), (0.07, 100, 7), (0.95, 20, 19), (7.0, 3, 3)]
        {
            assert_eq!(rank(q, count), expected, "{q} of {count}");
        }
    }

    /// The hdrhistogram crate as an oracle: integers from 2048 on share a bin here exactly when they are equivalent
    /// there.
    #[test]
    fn bins_are_those_of_hdrhistogram() {
        let theirs = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let a = 2048 + (random.next_u64() >> (12 + random.pick(40)));
            let b = a + random.pick(1 + a / 700);
            assert_eq!(theirs.equivalent(a, b), bin_of(a as f64) == bin_of(b as f64), "{a} {b}");
        }
    }

    #[test]
    fn quantiles_are_those_of_hdrhistogram() {
        let mut theirs = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        let mut ours = Histogram::default();
        let mut random = Random::new(6);
        for _ in 0..50_000 {
            let x = 2048 + (random.exponential() * 1e6) as u64;
            theirs.record(x).unwrap();
            assert!(ours.record(x as f64));
        }
        for q in [0.001, 0.1, 0.5, 0.9, 0.99, 0.999] {
            let (a, b) = (theirs.value_at_quantile(q), ours.quantile(q).unwrap());
            assert!(theirs.equivalent(a, b as u64), "{q}: {a} {b}");
        }
    }

    #[test]
    fn exact_interpolates() {
        let values = [10.0, 20.0, 40.0, 80.0];
        for (q, expected) in
            [(0.0, 10.0), (0.5, 30.0), (0.25, 17.5), (0.9, 68.0), (1.0, 80.0), (-1.0, 10.0), (2.0, 80.0)]
        {
            assert!((exact_quantile(&values, q).unwrap() - expected).abs() < 1e-12, "{q}");
        }
        assert_eq!((exact_quantile(&[], 0.5), exact_quantile(&values, f64::NAN)), (None, None));
        assert_eq!(exact_quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75), Some(f64::INFINITY));
        assert_eq!(exact_quantile(Sorting::default().sort(&[3.0, -0.0, 1.0]), 0.5), Some(1.0));
        let mut floats = vec![0.0, -0.0, f64::NAN, -1e300, f64::INFINITY, f64::NEG_INFINITY, 5e-324, -2.0, 2.0];
        let sorted = Sorting::default().sort(&floats).to_vec();
        floats.sort_by(f64::total_cmp);
        assert_eq!(
            sorted.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn selected_is_as_good_as_sorted(
            values in prop::collection::vec(any_float(), 0..300),
            quantiles in prop::collection::vec(-0.1..1.1_f64, 0..5),
        ) {
            let (mut sorting, mut selecting) = (Sorting::default(), Sorting::default());
            let (sorted, selected) = (sorting.sort(&values), selecting.sort_for(&values, &quantiles));
            for q in quantiles {
                let [sorted, selected] = [sorted, selected].map(|values| exact_quantile(values, q).map(f64::to_bits));
                prop_assert_eq!(sorted, selected);
            }
        }

        #[test]
        fn within_the_error_of_the_nearest_rank(
            values in prop::collection::vec(any_float(), 1..300),
            q in 0.0..=1.0_f64,
        ) {
            let histogram = histogram_of(&values);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[rank(q, values.len() as u64) as usize - 1];
            let ours = histogram.quantile(q).unwrap();
            prop_assert!((ours - exact).abs() <= exact.abs() / 2048.0, "{} not {}", ours, exact);
            prop_assert_eq!(histogram.quantile(0.0), Some(sorted[0]));
            prop_assert_eq!(histogram.quantile(1.0), sorted.last().copied());
        }

        #[test]
        fn merging_is_recording_in_any_order(
            values in prop::collection::vec(any_float(), 0..200),
            cut in 0_usize..200,
        ) {
            let cut = cut.min(values.len());
            let (left, right) = (histogram_of(&values[..cut]), histogram_of(&values[cut..]));
            let (mut there, mut back) = (left.clone(), right.clone());
            there.merge(&right);
            back.merge(&left);
            let bytes = |histogram: &Histogram| postcard::to_stdvec(histogram).unwrap();
            prop_assert_eq!(bytes(&there), bytes(&histogram_of(&values)));
            prop_assert_eq!(bytes(&there), bytes(&back));
            prop_assert_eq!(postcard::from_bytes::<Histogram>(&bytes(&there)).unwrap(), there);
        }

        #[test]
        fn bins_ascend_with_the_values(a in any_float(), b in any_float()) {
            prop_assert!((a <= b && bin_of(a) <= bin_of(b)) || (b <= a && bin_of(b) <= bin_of(a)));
            prop_assert_eq!(bin_of(middle_of(bin_of(a))), bin_of(a));
        }
    }
}
