//! Persistence of a sliding window: values enter at the right end and leave at the left one.
//!
//! A window is its values and an index of them: for blocks of the series, what they reach (`index.rs`). A value
//! that enters or leaves is compared with its neighbours from its end inwards, as far as its change reaches and no
//! farther (`change.rs`). No part of the diagram is kept, so nothing has to be rebuilt or taken back when the
//! other end of the window comes along.
//!
//! **Cost.** Amortised O(1) for a value that enters and for one that leaves. If changes are listened to, O(log n) for
//! each pair that changes and once more: so for every series, in every single step, not only on average (the proof is
//! in `change.rs`). One value can change many pairs at once, as a new lowest one does; any structure has to tell of
//! them. Statistics need not hear of each ([`Window::summing`]): then every step is O(log n) (`sums.rs`). The longest
//! pair and the extremes cost O(log n). Memory is 8 bytes for each value that room was made for, 1.15 for the index and
//! 16 for each infinite value, whatever the series; sums, where there are any, take about 2.2 bytes a value at most. A
//! Betti curve of 1,024 levels adds 16 bytes a value to a window of 1,024, and next to nothing to one of a million.
//!
//! **Exact.** The diagram is that of the values in the window and of nothing else, and [`Window::pairs`] computes it
//! from them alone. Stored state is just the values: what is rebuilt from them answers with the same bits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::index::{Index, SHIFTS};
use super::pair::{Changes, Filtration, Pair};
use super::residue::{Point, Residue};
use super::statistics::Statistics;
use super::sums::{MANY, Sums};
use super::view::View;

/// A window over a series, and its persistence.
///
/// ```
/// use eagre::topology::series::{pair::{Filtration, Pair}, window::Window};
/// let mut window = Window::new(Filtration::Sublevel, 0.0);
/// let mut changes = Vec::new();
/// for value in [0.0, 3.0, 1.0, 2.0] {
///     window.push(value, &mut ());
/// }
/// window.evict(&mut changes);
/// assert_eq!(changes, [
///     (false, Pair { birth: 1.0, death: 3.0, born: 2, died: Some(1) }),
///     (true, Pair { birth: 1.0, death: f64::INFINITY, born: 2, died: None }),
///     (false, Pair { birth: 0.0, death: f64::INFINITY, born: 0, died: None }),
/// ]);
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    view: View,
    index: Index,
    sums: Option<Sums>,
}

impl Window {
    /// An empty window. Pairs that live no longer than `tolerance` are left out, which moves the diagram by at most
    /// `tolerance / 2` in bottleneck distance: each of them can be matched to the diagonal at that cost. With 0 only
    /// pairs of no length are left out.
    pub fn new(filtration: Filtration, tolerance: f64) -> Window {
        Window::with_capacity(filtration, tolerance, 0)
    }

    /// An empty window with room for `count` values.
    pub fn with_capacity(filtration: Filtration, tolerance: f64, count: usize) -> Window {
        Window::with_index(filtration, tolerance, Index::new(count, SHIFTS))
    }

    /// An empty window with blocks of any sizes, which change its speed and nothing else.
    pub(super) fn with_index(filtration: Filtration, tolerance: f64, index: Index) -> Window {
        Window { view: View::new(filtration, tolerance), index, sums: None }
    }

    /// The same window, made ready for statistics: where nothing hears of changes but these or copies of them, one step
    /// takes O(log n), however many pairs it changes; with a Betti curve, O(log n) for each level. O(n).
    pub fn summing(self, statistics: &Statistics) -> Window {
        self.summing_more_than(MANY, statistics)
    }

    /// The same with sums over more than `many` pairs each, which changes its speed and nothing else.
    pub(super) fn summing_more_than(mut self, many: u64, statistics: &Statistics) -> Window {
        let View { filtration, tolerance, .. } = self.view;
        self.sums = Some(Sums::new(&self.index, many, (filtration, tolerance), statistics));
        self
    }

    /// How many values are in it.
    pub fn len(&self) -> usize {
        self.index.values().len()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.index.values().is_empty()
    }

    /// Position of its oldest value: how many have left.
    pub fn head(&self) -> u64 {
        self.index.range().start
    }

    /// Position of the next value that enters.
    pub fn tail(&self) -> u64 {
        self.index.range().end
    }

    /// Whether it looks from this side, with this tolerance.
    pub(super) fn looks(&self, filtration: Filtration, tolerance: f64) -> bool {
        (self.view.filtration, self.view.tolerance) == (filtration, tolerance)
    }

    /// Its values, the oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.index.values().iter().copied()
    }

    /// Adds a value at the right end and tells `changes` which pairs enter and leave the diagram. Refuses NaN: it
    /// changes nothing and returns false. Negative zero becomes zero; infinities are values.
    #[inline]
    pub fn push(&mut self, value: f64, changes: &mut impl Changes) -> bool {
        if value.is_nan() {
            return false;
        }
        // The sum of -0.0 and 0.0 is 0.0.
        let value = value + 0.0;
        self.view.enter(&self.index, self.sums.as_ref(), value, changes);
        self.index.push(value);
        if let Some(sums) = &mut self.sums {
            sums.finish(&self.index, self.index.range().end);
        }
        true
    }

    /// Removes the oldest value and tells `changes` which pairs enter and leave the diagram. Returns false where there
    /// was none.
    #[inline]
    pub fn evict(&mut self, changes: &mut impl Changes) -> bool {
        let Some(value) = self.index.evict() else { return false };
        self.view.leave(&self.index, self.sums.as_ref(), value, changes);
        if let Some(sums) = &mut self.sums {
            sums.forget(self.index.range().start);
        }
        true
    }

    /// All pairs of the diagram, from the values alone: by birth's position for each side. O(n).
    pub fn pairs(&self) -> Vec<Pair> {
        let points = (self.head()..).zip(self.values()).map(|(position, value)| Point { value, position });
        pairs(points, self.view.filtration, self.view.tolerance)
    }

    /// The greatest finite length in the diagram; 0 where there is none. O(log n).
    pub fn longest(&self) -> f64 {
        self.view.longest(&self.index)
    }

    /// Its lowest and its highest value; of equal ones the earliest and the latest. O(log n).
    pub fn extremes(&self) -> Option<(Point, Point)> {
        self.view.extremes(&self.index)
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.index.heap_bytes() + self.view.heap_bytes() + self.sums.as_ref().map_or(0, Sums::heap_bytes)
    }
}

/// All pairs of the diagram of these points, which come in order and without NaN. O(n).
pub(super) fn pairs(points: impl Iterator<Item = Point>, filtration: Filtration, tolerance: f64) -> Vec<Pair> {
    let mut residue = Residue::default();
    let (mut below, mut above) = (Vec::new(), Vec::new());
    for point in points {
        residue.push(point, |a, b| {
            let (low, high) = if a.below(b) { (a, b) } else { (b, a) };
            below.push(Pair::new::<false>(low, Some(high)));
            above.push(Pair::new::<true>(high, Some(low)));
        });
    }
    residue.pairs::<false>(|birth, death| below.push(Pair::new::<false>(birth, death)));
    residue.pairs::<true>(|birth, death| above.push(Pair::new::<true>(birth, death)));
    let mut all = match filtration {
        Filtration::Sublevel => below,
        Filtration::Superlevel => above,
        Filtration::Extended => {
            let finite = below.into_iter().chain(above).filter(|pair| pair.died.is_some());
            finite.chain(whole_pair(&residue)).collect()
        }
    };
    all.retain(|pair| pair.outlives(tolerance));
    all.sort_by_key(|pair| (pair.birth > pair.death, pair.born));
    all
}

/// The pair of the lowest and the highest value.
pub(super) fn whole_pair(residue: &Residue) -> Option<Pair> {
    residue.last::<true>().map(|lowest| Pair::new::<false>(lowest, residue.last::<false>()))
}

/// No series is longer.
pub(super) const POSITION_MAX: u64 = 1 << 62;

/// What is stored of a window.
#[derive(Serialize, Deserialize)]
struct Stored<V> {
    filtration: Filtration,
    tolerance: f64,
    head: u64,
    values: V,
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (filtration, tolerance, head) = (self.view.filtration, self.view.tolerance, self.head());
        Stored { filtration, tolerance, head, values: self.index.values() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    /// Rebuilds the window from its values. O(n).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        let stored = Stored::<Vec<f64>>::deserialize(deserializer)?;
        if stored.head > POSITION_MAX {
            return Err(serde::de::Error::custom("a stored window begins after the end of all series"));
        }
        let mut window = Window::with_capacity(stored.filtration, stored.tolerance, stored.values.len());
        window.index.begin(stored.head);
        window.view.begin(stored.head);
        for value in stored.values {
            if !window.push(value, &mut ()) {
                return Err(serde::de::Error::custom("a window holds no NaN, but its stored state has one"));
            }
        }
        Ok(window)
    }
}
