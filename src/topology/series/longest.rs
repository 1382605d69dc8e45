//! The longest pair of a window, without looking at all of them.
//!
//! Take sublevel sets. Left of the lowest value of the window every minimum has something lower to its right, so it
//! dies no later than at the highest value before that, and lives no longer than the greatest **rise** there: the most
//! by which a value lies above an earlier one. The rise is itself a pair. Let it lead from `m` to `e`: a value lower
//! than `m` before `e`, or higher than `e` after `m` with nothing lower than `m` between, would make a greater one. So
//! `m` has nothing lower to its left, its other barrier is `e`, and it dies there. Right of the lowest value, read this
//! backwards: the longest pair is the greatest **fall**. Rise and fall of a stretch are O(log n) blocks of the index
//! ([`super::index`]), and differences are rounded once, as the lengths of pairs are, so the bits are the same.
//!
//! **Infinite values** cut the series into segments. A pair of finite length lies within one, and what the segment
//! borders on decides: at a *low* border (minus infinity) there is something lower than any minimum, at a *high* one
//! (plus infinity) its barrier is infinite. The end of the window is high for sublevel and low for superlevel sets,
//! where all is turned upside down. With both borders high it is as above; with both low the same upside down; from low
//! to high every pair is a fall (the minimum is lower than its border on the right only), from high to low a rise.
//! Segments between two infinite values stay as they are until they leave, so the window keeps their maximum as any
//! sliding maximum (a queue in which no length is followed by a longer one).

use std::collections::VecDeque;
use std::ops::Range;

use super::index::{Index, Stretch};
use super::pair::Filtration;
use super::residue::Point;
use super::window::pairs;

/// The longest finite pair of each segment between two infinite values, as far as no later one is longer; with the
/// position of the infinite value at its left.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments(VecDeque<(u64, f64)>);

impl Segments {
    /// Hears of an infinite value that is about to enter beside the values of `range`.
    #[cold]
    pub(super) fn wall(&mut self, index: &Index, range: Range<u64>, wall: f64) {
        if let Some(left) = index.find::<true>(range.clone(), infinite) {
            let length = between(index, [index.value(left) < 0.0, wall < 0.0], left + 1..range.end);
            let length = length.expect("the infinite value at the left is the newest");
            while self.0.back().is_some_and(|(_, other)| *other <= length) {
                self.0.pop_back();
            }
            self.0.push_back((left, length));
        }
    }

    /// Forgets the segments at the left of which nothing infinite is left.
    #[inline(always)]
    pub(super) fn forget(&mut self, head: u64) {
        if self.0.front().is_some_and(|(left, _)| *left < head) {
            self.0.pop_front();
        }
    }

    /// The longest finite pair of the sublevel sets of the values of `range`, or of the superlevel ones. O(log n).
    pub(super) fn longest(&self, index: &Index, range: Range<u64>, superlevel: bool) -> f64 {
        if let Some(length) = between(index, [superlevel; 2], range.clone()) {
            return length;
        }
        let (first, last) = (index.find::<false>(range.clone(), infinite), index.find::<true>(range.clone(), infinite));
        let (first, last) = first.zip(last).expect("only an infinite value is between no borders");
        let before = between(index, [superlevel, index.value(first) < 0.0], range.start..first);
        let after = between(index, [index.value(last) < 0.0, superlevel], last + 1..range.end);
        let inside = self.0.front().map(|(_, length)| *length);
        [before, after, inside].into_iter().flatten().fold(0.0, f64::max)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u64, f64)>()
    }
}

fn infinite(stretch: Stretch) -> bool {
    (stretch.low == f64::NEG_INFINITY) | (stretch.high == f64::INFINITY)
}

/// The longest finite pair of a segment of finite values: whether its left border and its right one are `low`. None if
/// a value is infinite.
fn between(index: &Index, low: [bool; 2], range: Range<u64>) -> Option<f64> {
    let (before, after) = match low {
        [false, false] => index.split::<false>(range.clone()),
        [true, true] => index.split::<true>(range.clone()),
        _ => (Stretch::EMPTY, index.stretch(range.clone())),
    };
    if infinite(before.then(after)) {
        return None;
    }
    let length = match low {
        [true, false] => after.fall,
        [false, true] => after.rise,
        [false, false] => before.rise.max(after.fall),
        [true, true] => before.fall.max(after.rise),
    };
    Some(if length < f64::INFINITY { length } else { from_pairs(index, low, range) })
}

/// The same from all its pairs: for values so far apart (1.8e308) that a difference of finite ones is infinite. O(n).
#[cold]
fn from_pairs(index: &Index, low: [bool; 2], range: Range<u64>) -> f64 {
    let border = |low| if low { f64::NEG_INFINITY } else { f64::INFINITY };
    let inside = range.clone().map(|position| (position + 1, index.value(position)));
    let bordered = [(range.start, border(low[0]))].into_iter().chain(inside).chain([(range.end + 1, border(low[1]))]);
    let points = bordered.map(|(position, value)| Point { value, position });
    let lengths = pairs(points, Filtration::Sublevel, 0.0).into_iter().map(|pair| pair.persistence());
    lengths.filter(|length| *length < f64::INFINITY).fold(0.0, f64::max)
}
