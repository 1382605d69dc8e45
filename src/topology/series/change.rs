//! The incremental step: which pairs one record changes when it enters or leaves at an end of the window.
//!
//! Stay with sublevel sets. Look at a minimum `m` of the window, and at its two **barriers**: the highest value
//! between `m` and the nearest lower value to its left, and the same to its right; a barrier is infinite where no
//! lower value is left on that side. Water that rises from `m` runs over the lower barrier first, into something
//! older. So the death of `m` is the lower of its barriers, and it never dies where both are infinite. (Of a value
//! that is no minimum, one barrier is the value itself, and the pair has no length.)
//!
//! A barrier changes twice in the life of `m` at most: the right one becomes finite when a lower value enters at the
//! right end, the left one becomes infinite when the lower value on its left leaves at the left end. **So all changes
//! of all slides together are at most a few for each record, however badly the series oscillates**, and what remains
//! is to find the minima concerned without looking at others. When `new` enters beside the window,
//!
//! - nothing changes unless it is lower than its neighbour;
//! - the minima concerned are those higher than `new` with nothing lower between them and `new`, that is, the records
//!   of a walk away from `new`. Their barrier towards `new`, so far infinite, becomes the highest value passed before
//!   them (`outer`); the other one, which they die at so far, is the highest on the way to the next record (`inner`).
//!   Only where `inner` is above `outer` anything changes;
//! - the walk ends at the first value lower than `new`, into which `new` runs over the highest value passed; or at the
//!   far end, where the last record was the lowest of the window and never died, and `new` does not now.
//!
//! The records that change and the highest values between them are a **staircase** that leads away from `new`, each
//! step of which encloses those before it. A step that falls, from `outer` to a record, is a pair that is there with
//! `new`; one that rises, from a record to `inner`, is a pair that is there without it.
//!
//! ```text
//!                          h3
//!             h2           /\      With `new`: l1 dies at h1, l2 at h2.
//!     h1      /\          /  \     Without: l1 at h2, l2 at h3.
//!     /\     /  \        /
//!    /  \   /    \      /
//!   /    \ /      \    /
//!  /      l1       \  /
//! new               l2
//! ```
//!
//! A record that leaves is one that enters, read backwards, and superlevel sets are sublevel sets upside down: the same
//! function serves all. (Names are those of sublevel sets.)
//!
//! **Cost.** The walk passes a block of the index with one look unless it holds the lower value that ends the walk, or
//! goes below the record and above all that was passed, so that a step is made in it. So the blocks that it looks into,
//! each at O(log n), are at most one for each pair told, and one more. O(log n) for each pair that changes, and once
//! more, for any series at all. Who wants no pairs but sums over them need not pay for each: `sums.rs`.

use std::ops::Range;

use super::index::{Block, Index, Next, Stretch};
use super::residue::{Point, earlier};

/// An extreme value of a block. Where in the block is looked up only when it is told.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub value: f64,
    pub start: u64,
    span: u64,
}

impl Seen {
    /// The point of a block's lowest value, or else `highest`: the earliest of the lowest, the latest of the highest.
    #[inline(always)]
    pub(super) fn locate(self, index: &Index, highest: bool) -> Point {
        let position = if self.span == 1 { self.start } else { self.search(index, highest) };
        Point { value: self.value, position }
    }

    #[inline(never)]
    fn search(self, index: &Index, highest: bool) -> u64 {
        let range = self.start..self.start + self.span;
        let found = match highest {
            false => index.find::<false>(range, |stretch| stretch.low == self.value),
            true => index.find::<true>(range, |stretch| stretch.high == self.value),
        };
        found.expect("a block has its extreme value")
    }
}

/// Who follows a staircase.
pub(super) trait Steps {
    /// A step: a pair of a birth and a death that is there `with` the new value, or else without it.
    fn step(&mut self, birth: Seen, death: Seen, with: bool);

    /// All steps within a block at once, if they are known, and whether the last one falls.
    #[inline(always)]
    fn within<const SUPER: bool, const BACK: bool>(&mut self, _: Staircase<SUPER, BACK>, _: Block) -> Option<bool> {
        None
    }
}

/// What is known of the values passed on a walk to the right, or else `BACK` to the left.
#[derive(Clone, Copy)]
pub(super) struct Staircase<const SUPER: bool, const BACK: bool> {
    /// Position of the first value.
    pub origin: u64,
    /// The lowest value.
    pub record: Seen,
    /// The highest value before the record; or the record itself, if the step that falls to it was made.
    outer: Seen,
    /// The highest value after the record, if it is above all before. The step that falls to the record is due then,
    /// and the one that rises from it when there is another record.
    inner: Option<Seen>,
}

impl<const SUPER: bool, const BACK: bool> Staircase<SUPER, BACK> {
    /// That of one value, or of a whole block in which all steps were made but the last one, of which is known whether
    /// it falls.
    #[inline(always)]
    pub(super) fn over(block: &Block, falls: bool) -> Self {
        let seen = |value| Seen { value, start: block.start, span: block.span };
        let (low, high) = (seen(block.stretch.low), seen(block.stretch.high));
        let (record, last) = if SUPER { (high, low) } else { (low, high) };
        let (outer, inner) = if falls != SUPER { (last, None) } else { (record, Some(last)) };
        let origin = if BACK { block.start + block.span - 1 } else { block.start };
        Staircase { origin, record, outer, inner }
    }

    /// The highest value.
    #[inline(always)]
    pub(super) fn highest(&self) -> Seen {
        self.inner.unwrap_or(self.outer)
    }

    /// Whether the last step falls in the series as it is, not upside down.
    pub(super) fn falls(&self) -> bool {
        self.inner.is_none() != SUPER
    }

    /// Walks on over `range`, up to the first value below `limit`. Returns whether there is one.
    #[inline(always)]
    pub(super) fn walk(
        &mut self,
        index: &Index,
        range: Range<u64>,
        limit: Option<f64>,
        steps: &mut impl Steps,
    ) -> bool {
        let mut ended = false;
        index.walk::<BACK>(range, |block| {
            let Stretch { low, high, .. } = block.stretch;
            let (first, last) = if SUPER { (high, low) } else { (low, high) };
            let seen = |value| Seen { value, start: block.start, span: block.span };
            let above = beyond::<BACK>(!SUPER, last, self.highest().value);
            if !beyond::<BACK>(SUPER, first, self.record.value) {
                if above {
                    self.inner = Some(seen(last));
                }
                return Next::Behind;
            }
            ended = limit.is_some_and(|limit| beyond::<BACK>(SUPER, first, limit));
            if block.span > 1 && (ended || above) {
                let Some(falls) = (if ended { None } else { steps.within(*self, block) }) else { return Next::Into };
                self.make_due(steps);
                *self = Staircase { origin: self.origin, ..Staircase::over(&block, falls) };
                return Next::Behind;
            }
            self.turn(steps);
            self.record = seen(first);
            if ended { Next::Stop } else { Next::Behind }
        });
        ended
    }

    /// Makes the step that falls to the record, if it is due.
    #[inline(always)]
    pub(super) fn make_due(&mut self, steps: &mut impl Steps) {
        if self.inner.is_some() {
            steps.step(self.record, self.outer, true);
            self.outer = self.record;
        }
    }

    /// Makes the steps that are due when there is another record.
    #[inline(always)]
    fn turn(&mut self, steps: &mut impl Steps) {
        if let Some(inner) = self.inner.take() {
            steps.step(self.record, inner, false);
            steps.step(self.record, self.outer, true);
            self.outer = inner;
        }
    }
}

/// Whether `new` is the first of all values in the filtration, and never dies; and if so, which one is without it.
pub(super) enum First {
    New(Option<Seen>),
    Another,
}

/// Gives the steps that change when `new` stands beside the values of `range`, at their left end, or else at the
/// `RIGHT` one.
#[inline(always)]
pub(super) fn end_point<const SUPER: bool, const RIGHT: bool>(
    index: &Index,
    mut range: Range<u64>,
    new: Point,
    steps: &mut impl Steps,
) -> First {
    if range.is_empty() {
        return First::New(None);
    }
    let start = if RIGHT { range.end - 1 } else { range.start };
    let beside = Point { value: index.value(start), position: start };
    if earlier::<SUPER>(beside, new) {
        return First::Another;
    }
    if RIGHT {
        range.end -= 1
    } else {
        range.start += 1
    }
    let mut stairs = Staircase::<SUPER, RIGHT>::over(&Block::of(beside), !SUPER);
    let ended = stairs.walk(index, range, Some(new.value), steps);
    // The value that ends the walk is the record, if any is, and `new` has its barrier.
    let record = if ended { Seen { value: new.value, start: new.position, span: 1 } } else { stairs.record };
    steps.step(record, stairs.outer, true);
    if ended { First::Another } else { First::New(Some(record)) }
}

/// Whether `value`, which comes later in a walk to the right or else to the `LEFT`, is lower than another, or else
/// `above` it: of equal values that at the right is higher.
#[inline(always)]
fn beyond<const LEFT: bool>(above: bool, value: f64, other: f64) -> bool {
    if above == LEFT {
        if above { value > other } else { value < other }
    } else if above {
        value >= other
    } else {
        value <= other
    }
}
