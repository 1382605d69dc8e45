//! The newest values of one series, which all scales of it read.
//!
//! A value is stored once, however many scales there are. Its position is how many values came before it. Where series
//! scales are asked seldom, the ring also keeps a tree ([`crate::topology::series::tree`]), of which each of their
//! windows is a stretch.

use std::collections::VecDeque;

use super::delay::delay;
use super::period::{Period, period};
use crate::topology::series::pair::Filtration;
use crate::topology::series::tree::Tree;

/// The newest values of a series.
#[derive(Clone, Debug)]
pub struct Ring {
    keep: usize,
    tail: u64,
    values: VecDeque<f64>,
    tree: Option<Tree>,
}

/// What suits the series that is in a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suited {
    /// The delay of an embedding, in values; none where the series has no first minimum of mutual information.
    pub delay: Option<usize>,
    /// The dominant period; none where no hill of the autocorrelation follows the first.
    pub period: Option<Period>,
}

impl Ring {
    /// A ring that keeps so many values, and the tree over them if stretches are to be asked for.
    pub(super) fn new(keep: usize, stretches: Option<Filtration>) -> Ring {
        let tree = stretches.map(|filtration| Tree::new(filtration, 0.0, 2, keep));
        Ring { keep, tail: 0, values: VecDeque::new(), tree }
    }

    /// The same values with another tree, or none. O(n).
    pub(super) fn with_stretches(self, stretches: Option<Filtration>) -> Ring {
        Ring::filled(self.keep, stretches, self.head(), self.values)
    }

    /// A ring of these values, the first of which has the position `head`; of too many the newest.
    pub(super) fn filled(
        keep: usize,
        stretches: Option<Filtration>,
        head: u64,
        values: impl IntoIterator<Item = f64>,
    ) -> Ring {
        let mut ring = Ring { tail: head, ..Ring::new(keep, stretches) };
        values.into_iter().for_each(|value| _ = ring.push(value));
        ring
    }

    /// Adds a value. Refuses NaN: it changes nothing and returns false. Negative zero becomes zero. Amortised O(1).
    pub(super) fn push(&mut self, value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        if self.values.len() == self.keep {
            self.values.pop_front();
        }
        // The sum of -0.0 and 0.0 is 0.0.
        self.values.push_back(value + 0.0);
        self.tail += 1;
        if let Some(tree) = &mut self.tree {
            tree.push(Some(value));
        }
        true
    }

    /// How many values it keeps.
    pub fn keep(&self) -> usize {
        self.keep
    }

    /// Position of the oldest value that it has.
    pub fn head(&self) -> u64 {
        self.tail - self.values.len() as u64
    }

    /// Position of the next value.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The values, the oldest first.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> {
        self.values.iter().copied()
    }

    /// The value at a position, if it is kept.
    pub fn value(&self, position: u64) -> Option<f64> {
        let place = position.checked_sub(self.head())?;
        self.values.get(usize::try_from(place).ok()?).copied()
    }

    /// The tree over the newest values, its positions counted from the first value that it was given.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// Which delay and which period suit the values that are in it, none longer than `lag_max`: a function of those
    /// values alone. O(n lag_max).
    pub fn suited(&self, lag_max: usize) -> Suited {
        let values: Vec<f64> = self.values().collect();
        Suited { delay: delay(&values, lag_max), period: period(&values, lag_max) }
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.tree.as_ref().map_or(0, Tree::heap_bytes)
    }
}
