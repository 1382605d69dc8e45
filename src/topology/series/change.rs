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
//!   Only where `inner` is above `outer` anything changes, and only such records are told;
//! - the walk ends at the first value lower than `new`, into which `new` runs over the highest value passed; or at the
//!   far end, where the last record was the lowest of the window, and `new` is now.
//!
//! A record that leaves is one that enters, read backwards: the same function serves both.
//!
//! **Cost.** The walk passes a block of the index with one look unless it holds the lower value that ends the walk, or
//! a pair is told in it, or a value above `outer` follows upon which the next record makes a pair. So the blocks that
//! it looks into, each at O(log n), are at most two for each pair told, and two more. O(log n) for each pair that
//! changes, and once more, for any series at all.

use super::index::{Block, Index, Next};
use super::residue::{Point, earlier};

/// What becomes of a birth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It is not in the window.
    Absent,
    /// It never dies.
    Never,
    /// It dies here; of no length if at the birth itself.
    Dies(Point),
}

/// An extreme value of a block. Where in the block is looked up only when it is told.
#[derive(Clone, Copy)]
struct Seen {
    value: f64,
    start: u64,
    span: u64,
}

/// Gives the births whose fate is another when `new` stands beside the values of the index, at their left end, or else
/// at the `RIGHT` one: the birth, its fate without `new` and that with it.
#[inline(always)]
pub(super) fn end_point<const SUPER: bool, const RIGHT: bool>(
    index: &Index,
    new: Point,
    mut give: impl FnMut(Point, Fate, Fate),
) {
    let mut range = index.range();
    if range.is_empty() {
        return give(new, Fate::Absent, Fate::Never);
    }
    let start = if RIGHT { range.end - 1 } else { range.start };
    let beside = Point { value: index.value(start), position: start };
    if earlier::<SUPER>(beside, new) {
        return;
    }
    if RIGHT {
        range.end -= 1
    } else {
        range.start += 1
    }
    let seen = |block: &Block, value| Seen { value, start: block.start, span: block.span };
    let mut record = Seen { value: beside.value, start, span: 1 };
    let (mut outer, mut inner, mut ended) = (record, None::<Seen>, false);
    index.walk::<RIGHT>(range, |block| {
        let (low, high) = (block.stretch.low, block.stretch.high);
        let (first, last) = if SUPER { (high, low) } else { (low, high) };
        if !beyond::<RIGHT>(SUPER, first, record.value) {
            if beyond::<RIGHT>(!SUPER, last, inner.unwrap_or(outer).value) {
                inner = Some(seen(&block, last));
            }
            return Next::Behind;
        }
        let ends = beyond::<RIGHT>(SUPER, first, new.value);
        if block.span > 1 && (ends || inner.is_some() || beyond::<RIGHT>(!SUPER, last, outer.value)) {
            return Next::Into;
        }
        if let Some(inner) = inner.take() {
            let (before, after) = (locate::<SUPER>(index, inner), locate::<SUPER>(index, outer));
            give(locate_first::<SUPER>(index, record), Fate::Dies(before), Fate::Dies(after));
            outer = inner;
        }
        record = seen(&block, first);
        ended = ends;
        if ends { Next::Stop } else { Next::Behind }
    });
    let barrier = Fate::Dies(locate::<SUPER>(index, outer));
    if ended {
        return give(new, Fate::Absent, barrier);
    }
    give(locate_first::<SUPER>(index, record), Fate::Never, barrier);
    give(new, Fate::Absent, Fate::Never);
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

/// The point of a block's value that is its last in the filtration.
#[inline(always)]
fn locate<const SUPER: bool>(index: &Index, seen: Seen) -> Point {
    if seen.span == 1 { Point { value: seen.value, position: seen.start } } else { extreme(index, seen, !SUPER) }
}

/// The point of a block's value that is its first in the filtration.
#[inline(always)]
fn locate_first<const SUPER: bool>(index: &Index, seen: Seen) -> Point {
    if seen.span == 1 { Point { value: seen.value, position: seen.start } } else { extreme(index, seen, SUPER) }
}

/// The point of a block's lowest or highest value: the earliest of the lowest, the latest of the highest.
#[inline(never)]
fn extreme(index: &Index, seen: Seen, highest: bool) -> Point {
    let range = seen.start..seen.start + seen.span;
    let found = match highest {
        false => index.find::<false>(range, |stretch| stretch.low == seen.value),
        true => index.find::<true>(range, |stretch| stretch.high == seen.value),
    };
    Point { value: seen.value, position: found.expect("a block has its extreme value") }
}
