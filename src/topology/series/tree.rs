//! Persistence of any stretch of a series, and values that are corrected afterwards.
//!
//! A segment tree (Bentley 1977) over a ring of leaves of 64 places. Each node has the residue of its stretch and the
//! sums over its closed pairs; a node is made of its two children, because residues are a monoid ([`super::residue`]).
//! A stretch is put together from O(log n) nodes and two ragged ends; all scales of a multi-scale window are stretches
//! of one tree. A value that comes late, is corrected or retracted costs one leaf and the path to the root.
//!
//! A place may be empty: one that is kept for a value still to come, or one whose value was retracted. The series
//! goes on across it as if it were not there.
//!
//! Summaries have the same bits as those of [`super::window`], because sums are exact.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pair::{Filtration, Pair, longer};
use super::residue::{Point, Residue};
use super::statistics::{Summary, Totals};
use super::window::{POSITION_MAX, pairs, whole_pair};

/// Places of a leaf.
const LEAF: u64 = 64;

/// What a stretch of the series amounts to.
#[derive(Clone, Debug)]
struct Stretch {
    residue: Residue,
    /// Over the pairs closed within it.
    totals: Totals,
    longest: f64,
}

impl Stretch {
    fn empty(power: u32) -> Stretch {
        Stretch { residue: Residue::default(), totals: Totals::new(power), longest: 0.0 }
    }

    fn clear(&mut self) {
        self.residue.clear();
        self.totals.clear();
        self.longest = 0.0;
    }

    /// Adds one value behind.
    fn push(&mut self, new: Point, tolerance: f64) {
        let Stretch { residue, totals, longest } = self;
        residue.push(new, |a, b| count(a, b, tolerance, totals, longest));
    }

    /// Adds another stretch behind.
    fn join(&mut self, later: &Stretch, tolerance: f64) {
        let Stretch { residue, totals, longest } = self;
        totals.merge(&later.totals);
        *longest = longest.max(later.longest);
        residue.join(&later.residue, |a, b| count(a, b, tolerance, totals, longest));
    }
}

/// Counts a closed pair.
fn count(a: Point, b: Point, tolerance: f64, totals: &mut Totals, longest: &mut f64) {
    let pair = Pair::new::<false>(a, Some(b));
    if pair.outlives(tolerance) {
        totals.change(pair.persistence(), 1);
        *longest = longer(*longest, pair.persistence());
    }
}

/// The newest values of a series, of which any stretch can be asked and any value corrected.
///
/// ```
/// use eagre::topology::series::{pair::Filtration, tree::Tree};
/// let mut tree = Tree::new(Filtration::Sublevel, 0.0, 2, 1000);
/// [0.0, 3.0, 1.0, 2.0, 0.5].map(|value| tree.push(Some(value)));
/// assert_eq!(tree.summary(0, 5).total, 2.5 + 1.0);
/// assert_eq!(tree.summary(1, 4).total, 0.0);
/// tree.set(3, Some(4.0));
/// assert_eq!(tree.summary(0, 5).total, 2.0 + 3.5);
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    filtration: Filtration,
    tolerance: f64,
    power: u32,
    count: u64,
    tail: u64,
    /// A ring; NaN in empty places.
    values: Vec<f64>,
    /// The leaves are the second half; the node `k` is made of `2k` and `2k + 1`.
    nodes: Vec<Stretch>,
}

impl Tree {
    /// An empty tree that keeps the newest `count` places. Pairs that live no longer than `tolerance` are left out,
    /// as in [`super::window::Window::new`]; `power` is that of [`Summary::power_total`].
    pub fn new(filtration: Filtration, tolerance: f64, power: u32, count: usize) -> Tree {
        // One more, because the oldest and the newest leaf may both be ragged.
        let leaves = count.max(1).div_ceil(LEAF as usize) + 1;
        Tree {
            filtration,
            tolerance,
            power,
            count: count.max(1) as u64,
            tail: 0,
            values: vec![f64::NAN; leaves * LEAF as usize],
            nodes: vec![Stretch::empty(power); 2 * leaves],
        }
    }

    /// The oldest place that is kept.
    pub fn head(&self) -> u64 {
        self.tail.saturating_sub(self.count)
    }

    /// The place of the next value.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The value at a place, if one is kept there.
    pub fn value(&self, position: u64) -> Option<f64> {
        let kept = (self.head()..self.tail).contains(&position);
        Some(self.values[self.slot(position)]).filter(|value| kept && !value.is_nan())
    }

    /// Adds a place at the end, with its value or empty, and returns its position. NaN is no value: the place is empty.
    /// Amortised O(1).
    pub fn push(&mut self, value: Option<f64>) -> u64 {
        let (position, slot) = (self.tail, self.slot(self.tail));
        self.values[slot] = value.map_or(f64::NAN, |value| value + 0.0);
        self.tail += 1;
        if self.tail.is_multiple_of(LEAF) {
            self.renew(position / LEAF);
        }
        position
    }

    /// Gives a place another value, or none. Returns false, and changes nothing, where the place is not kept. O(log n)
    /// joins.
    pub fn set(&mut self, position: u64, value: Option<f64>) -> bool {
        if !(self.head()..self.tail).contains(&position) {
            return false;
        }
        let slot = self.slot(position);
        self.values[slot] = value.map_or(f64::NAN, |value| value + 0.0);
        if (position / LEAF + 1) * LEAF <= self.tail {
            self.renew(position / LEAF);
        }
        true
    }

    /// The summary of the places from `from` to before `to`, as far as they are kept. O(log n) joins.
    pub fn summary(&self, from: u64, to: u64) -> Summary {
        let mut stretch = self.stretch(from.max(self.head()), to.min(self.tail));
        let (tolerance, filtration) = (self.tolerance, self.filtration);
        let Stretch { residue, totals, longest } = &mut stretch;
        if filtration == Filtration::Extended {
            // A pair that is closed is one of the sublevel and one of the superlevel sets.
            let closed = totals.clone();
            totals.merge(&closed);
        }
        let mut add = |pair: Pair| {
            if pair.outlives(tolerance) && !(filtration == Filtration::Extended && pair.died.is_none()) {
                totals.change(pair.persistence(), 1);
                *longest = longer(*longest, pair.persistence());
            }
        };
        if filtration != Filtration::Superlevel {
            residue.pairs::<false>(|birth, death| add(Pair::new::<false>(birth, death)));
        }
        if filtration != Filtration::Sublevel {
            residue.pairs::<true>(|birth, death| add(Pair::new::<true>(birth, death)));
        }
        if filtration == Filtration::Extended {
            whole_pair(residue).into_iter().for_each(add);
        }
        stretch.totals.summary(stretch.longest)
    }

    /// All pairs of the places from `from` to before `to`, as far as they are kept: by birth's position for each side.
    /// O(to - from).
    pub fn pairs(&self, from: u64, to: u64) -> Vec<Pair> {
        pairs(self.points(from.max(self.head())..to.min(self.tail)), self.filtration, self.tolerance)
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let inside: usize = self.nodes.iter().map(|node| node.residue.heap_bytes() + node.totals.heap_bytes()).sum();
        inside + self.nodes.capacity() * size_of::<Stretch>() + self.values.capacity() * size_of::<f64>()
    }

    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    fn slot(&self, position: u64) -> usize {
        (position % self.values.len() as u64) as usize
    }

    fn points(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = Point> {
        range.map(|position| Point { value: self.values[self.slot(position)], position }).filter(|p| !p.value.is_nan())
    }

    /// Makes a leaf anew, and the nodes above it. Those above the place where the ring closes have an order that is
    /// none; no stretch asks for them.
    fn renew(&mut self, leaf: u64) {
        let mut index = self.leaves() + (leaf % self.leaves() as u64) as usize;
        let mut node = std::mem::replace(&mut self.nodes[index], Stretch::empty(self.power));
        node.clear();
        self.points(leaf * LEAF..(leaf + 1) * LEAF).for_each(|point| node.push(point, self.tolerance));
        self.nodes[index] = node;
        while index > 1 {
            index /= 2;
            let mut node = std::mem::replace(&mut self.nodes[index], Stretch::empty(self.power));
            node.clear();
            node.join(&self.nodes[2 * index], self.tolerance);
            node.join(&self.nodes[2 * index + 1], self.tolerance);
            self.nodes[index] = node;
        }
    }

    /// Puts a stretch of kept places together.
    fn stretch(&self, from: u64, to: u64) -> Stretch {
        let mut stretch = Stretch::empty(self.power);
        let (first, last) = (from.div_ceil(LEAF), to / LEAF);
        if first >= last {
            self.points(from..to).for_each(|point| stretch.push(point, self.tolerance));
            return stretch;
        }
        self.points(from..first * LEAF).for_each(|point| stretch.push(point, self.tolerance));
        let leaves = self.leaves() as u64;
        let (begin, end) = (first % leaves, first % leaves + (last - first));
        self.join_leaves(&mut stretch, begin as usize, end.min(leaves) as usize);
        self.join_leaves(&mut stretch, 0, end.saturating_sub(leaves) as usize);
        self.points(last * LEAF..to).for_each(|point| stretch.push(point, self.tolerance));
        stretch
    }

    /// Joins the leaves `begin..end` of the ring, which does not close between them: the nodes that hang to the left of
    /// both paths upwards, then those to the right, which come in the wrong order and wait.
    fn join_leaves(&self, stretch: &mut Stretch, begin: usize, end: usize) {
        let (mut left, mut right, mut waiting) = (begin + self.leaves(), end + self.leaves(), Vec::new());
        while left < right {
            if left % 2 == 1 {
                stretch.join(&self.nodes[left], self.tolerance);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                waiting.push(right);
            }
            left /= 2;
            right /= 2;
        }
        waiting.iter().rev().for_each(|node| stretch.join(&self.nodes[*node], self.tolerance));
    }
}

/// The most places of a stored tree.
const COUNT_MAX: u64 = 1 << 26;

/// What is stored of a tree.
#[derive(Serialize, Deserialize)]
struct Stored {
    filtration: Filtration,
    tolerance: f64,
    power: u32,
    count: u64,
    head: u64,
    values: Vec<f64>,
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tree { filtration, tolerance, power, count, .. } = *self;
        let values = (self.head()..self.tail).map(|position| self.values[self.slot(position)]).collect();
        Stored { filtration, tolerance, power, count, head: self.head(), values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tree {
    /// Rebuilds the tree from its values. O(n).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let (values, count) = (stored.values.len() as u64, stored.count);
        if values > count || count > COUNT_MAX || stored.head > POSITION_MAX {
            let found = format!("{values} values from position {}", stored.head);
            return Err(serde::de::Error::custom(format!("{found} are no tree of at most {count} places")));
        }
        let mut tree = Tree::new(stored.filtration, stored.tolerance, stored.power, stored.count as usize);
        tree.tail = stored.head;
        stored.values.into_iter().for_each(|value| _ = tree.push(Some(value)));
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bits, series, summarised, union_find};
    use super::*;
    use crate::stats::random::Random;

    /// Random stretches of a tree that slides and is corrected, against union-find.
    fn check(seed: u64, count: usize) -> usize {
        let mut random = Random::new(seed);
        let filtration = [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended][seed as usize % 3];
        let tolerance = if seed.is_multiple_of(4) { 0.5 } else { 0.0 };
        let mut tree = Tree::new(filtration, tolerance, 3, count);
        let mut places: Vec<Option<f64>> = Vec::new();
        let mut compared = 0;
        for value in series(seed, 2 * count + 500, &mut random) {
            let value = Some(value).filter(|_| random.pick(10) > 0);
            places.push(value);
            tree.push(value);
            let (head, tail) = (tree.head(), tree.tail());
            if random.pick(5) == 0 {
                let place = head + random.pick(tail - head);
                let value = (random.pick(5) > 0).then(|| random.normal().round());
                places[place as usize] = value;
                assert!(tree.set(place, value));
                if tail.is_multiple_of(97) {
                    tree = postcard::from_bytes(&postcard::to_stdvec(&tree).unwrap()).unwrap();
                }
            }
            if random.pick(8) == 0 {
                let from = head + random.pick(tail - head);
                let to = from + random.pick(tail - from + 1);
                let kept: Vec<(u64, f64)> =
                    (from..to).filter_map(|place| places[place as usize].map(|value| (place, value + 0.0))).collect();
                let values: Vec<f64> = kept.iter().map(|(_, value)| *value).collect();
                let mut pairs = union_find(&values, 0, filtration, tolerance);
                for pair in &mut pairs {
                    pair.born = kept[pair.born as usize].0;
                    pair.died = pair.died.map(|died| kept[died as usize].0);
                }
                assert_eq!(tree.pairs(from, to), pairs, "seed {seed}, {from}..{to}");
                assert_eq!(bits(tree.summary(from, to)), bits(summarised(&pairs, 3)), "seed {seed}, {from}..{to}");
                compared += 1;
            }
        }
        compared
    }

    #[test]
    fn any_stretch_agrees_with_union_find() {
        let compared: usize = (0..48).map(|seed| check(seed, [1, 40, 64, 200, 500, 1100][seed as usize % 6])).sum();
        assert!(compared > 5_000, "{compared}");
    }

    #[test]
    fn places_that_are_not_kept() {
        let mut tree = Tree::new(Filtration::Sublevel, 0.0, 2, 0);
        assert_eq!((tree.summary(0, 9), tree.set(0, None)), (Summary::default(), false));
        tree.push(Some(1.0));
        tree.push(Some(-0.0));
        assert_eq!((tree.value(0), tree.value(1).map(f64::to_bits), tree.value(2)), (None, Some(0), None));
        assert!(!tree.set(0, Some(2.0)) && tree.set(1, Some(f64::NAN)));
        assert_eq!((tree.value(1), tree.pairs(0, 9), tree.summary(9, 0)), (None, vec![], Summary::default()));
    }
}
