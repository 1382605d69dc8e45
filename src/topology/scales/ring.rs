//! The newest values of one series, which all scales of it read.
//!
//! A value is stored once, however many scales there are. Its position is how many values came before it. For the
//! scales of a series the ring also keeps up their windows (`nested.rs`) or, where they are asked seldom, a tree
//! ([`crate::topology::series::tree`]) of which each of their windows is a stretch.

use std::collections::VecDeque;

use super::delay::delay;
use super::nested::Nested;
use super::period::{Period, period};
use crate::topology::series::statistics::Summary;
use crate::topology::series::tree::Tree;

/// How the windows of series are kept up.
#[derive(Clone, Debug)]
pub(super) enum Upkeep {
    /// There are none.
    Nothing,
    /// Value by value.
    Windows(Box<Nested>),
    /// Put together from a tree when asked for.
    Stretches(Tree),
}

/// The newest values of a series.
#[derive(Clone, Debug)]
pub struct Ring {
    keep: usize,
    tail: u64,
    values: VecDeque<f64>,
    upkeep: Upkeep,
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
    /// A ring that keeps so many values.
    pub(super) fn new(keep: usize, upkeep: Upkeep) -> Ring {
        Ring { keep, tail: 0, values: VecDeque::new(), upkeep }
    }

    /// A ring of these values, the first of which has the position `head`; of too many the newest.
    pub(super) fn filled(keep: usize, upkeep: Upkeep, head: u64, values: impl IntoIterator<Item = f64>) -> Ring {
        let mut ring = Ring { tail: head, ..Ring::new(keep, upkeep) };
        values.into_iter().for_each(|value| _ = ring.push(value));
        ring
    }

    /// Keeps windows of the values that it has up in another way. O(n).
    pub(super) fn keep_up(&mut self, upkeep: Upkeep) {
        let values = std::mem::take(&mut self.values);
        *self = Ring::filled(self.keep, upkeep, self.tail - values.len() as u64, values);
    }

    /// Adds a value. Refuses NaN: it changes nothing and returns false. Negative zero becomes zero. Amortised O(1)
    /// for each window that is kept up.
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
        match &mut self.upkeep {
            Upkeep::Nothing => {}
            Upkeep::Windows(nested) => nested.push(value),
            Upkeep::Stretches(tree) => _ = tree.push(Some(value)),
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

    /// Brings the statistics of windows that are kept up to date.
    pub(super) fn summarise(&mut self) {
        if let Upkeep::Windows(nested) = &mut self.upkeep {
            nested.summarise();
        }
    }

    /// The statistics of the newest values, so many, if such a window is kept up; up to date.
    pub(super) fn summary(&self, window: usize) -> Summary {
        match &self.upkeep {
            Upkeep::Nothing => Summary::default(),
            Upkeep::Windows(nested) => nested.summary(window),
            Upkeep::Stretches(tree) => tree.summary(tree.tail().saturating_sub(window as u64), tree.tail()),
        }
    }

    /// Which delay and which period suit the values that are in it, none longer than `lag_max`: a function of those
    /// values alone. O(n lag_max).
    pub fn suited(&self, lag_max: usize) -> Suited {
        let values: Vec<f64> = self.values().collect();
        Suited { delay: delay(&values, lag_max), period: period(&values, lag_max) }
    }

    /// Bytes that it holds on the heap, with the windows of series that are kept up.
    pub fn heap_bytes(&self) -> usize {
        let upkeep = match &self.upkeep {
            Upkeep::Nothing => 0,
            Upkeep::Windows(nested) => nested.heap_bytes(),
            Upkeep::Stretches(tree) => tree.heap_bytes(),
        };
        self.values.capacity() * size_of::<f64>() + upkeep
    }
}
