//! A window as a stretch of an index: what its diagram changes when a value enters or leaves it.
//!
//! The index holds the values and what blocks of them reach; a view is where in it a window begins, from which side it
//! looks, and the little that a window has of its own. Windows that end together share one index (`scales`), each with
//! a view. What is told is found by the walk of `change.rs`.

use std::ops::Range;

use super::change::{First, Seen, Steps, end_point};
use super::index::Index;
use super::longest::Segments;
use super::pair::{Changes, Filtration, Pair, longer};
use super::residue::Point;
use super::sums::{Summed, Sums};

/// A window over the newest values of an index.
#[derive(Clone, Debug)]
pub(in super::super) struct View {
    pub filtration: Filtration,
    pub tolerance: f64,
    /// Position of its oldest value.
    head: u64,
    /// Lowest and highest value. Kept for extended persistence only, which has a pair of them.
    extremes: Option<(Point, Point)>,
    segments: Segments,
}

impl View {
    /// Of no values, which begins at position 0. Pairs that live no longer than `tolerance` are left out.
    pub fn new(filtration: Filtration, tolerance: f64) -> View {
        View { filtration, tolerance, head: 0, extremes: None, segments: Segments::default() }
    }

    /// Begins at another position; there are no values yet.
    pub fn begin(&mut self, head: u64) {
        self.head = head;
    }

    /// Position of its oldest value.
    #[inline(always)]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Tells `changes` of the pairs that a value changes which enters at the right end. The index does not have it yet.
    #[inline(always)]
    pub fn enter(&mut self, index: &Index, sums: Option<&Sums>, value: f64, changes: &mut impl Changes) {
        let (new, extremes) = (Point { value, position: index.range().end }, self.extremes);
        if self.filtration == Filtration::Extended {
            self.extremes = Some(widened(extremes, new));
        }
        self.tell::<_, true>(index, sums, new, [extremes, self.extremes], changes);
        if value.is_infinite() {
            self.segments.wall(index, self.range(index), value);
        }
    }

    /// Tells `changes` of the pairs that the oldest value changes, which leaves. The index may have it or not.
    #[inline(always)]
    pub fn leave(&mut self, index: &Index, sums: Option<&Sums>, value: f64, changes: &mut impl Changes) {
        let (old, extremes) = (Point { value, position: self.head }, self.extremes);
        self.head += 1;
        if extremes.is_some_and(|(low, high)| low == old || high == old) {
            self.extremes = self.extremes(index);
        }
        self.tell::<_, false>(index, sums, old, [extremes, self.extremes], changes);
        self.segments.forget(self.head);
    }

    /// The greatest finite length in the diagram; 0 where there is none. O(log n).
    pub fn longest(&self, index: &Index) -> f64 {
        let side = |superlevel| self.segments.longest(index, self.range(index), superlevel);
        let found = match self.filtration {
            Filtration::Sublevel => side(false),
            Filtration::Superlevel => side(true),
            Filtration::Extended => {
                let whole = self.extremes.map_or(0.0, |(low, high)| high.value - low.value);
                longer(side(false).max(side(true)), whole)
            }
        };
        if found > self.tolerance { found } else { 0.0 }
    }

    /// Its lowest and its highest value; of equal ones the earliest and the latest. O(log n).
    pub fn extremes(&self, index: &Index) -> Option<(Point, Point)> {
        let range = self.range(index);
        let whole = index.stretch(range.clone());
        let low = index.find::<false>(range.clone(), |stretch| stretch.low == whole.low)?;
        let high = index.find::<true>(range, |stretch| stretch.high == whole.high)?;
        Some((Point { value: whole.low, position: low }, Point { value: whole.high, position: high }))
    }

    /// Bytes that it holds beside its own struct.
    pub fn heap_bytes(&self) -> usize {
        self.segments.heap_bytes()
    }

    #[inline(always)]
    fn range(&self, index: &Index) -> Range<u64> {
        self.head..index.range().end
    }

    /// Tells of the pairs that a value changes as it enters at the right end, or leaves at the left one, and of the
    /// extremes before and after. The index does not have it.
    #[inline(always)]
    fn tell<C: Changes, const ENTERS: bool>(
        &self,
        index: &Index,
        sums: Option<&Sums>,
        end: Point,
        [before, after]: [Option<(Point, Point)>; 2],
        changes: &mut C,
    ) {
        if !C::WANTED {
            return;
        }
        let whole = |extremes: Option<(Point, Point)>, enters, changes: &mut C| {
            if let Some((low, high)) = extremes.filter(|_| before != after) {
                tell_pair(Pair::new::<false>(low, Some(high)), enters, self.tolerance, changes);
            }
        };
        whole(before, false, changes);
        if self.filtration != Filtration::Superlevel {
            self.tell_side::<C, false, ENTERS>(index, sums, end, changes);
        }
        if self.filtration != Filtration::Sublevel {
            self.tell_side::<C, true, ENTERS>(index, sums, end, changes);
        }
        whole(after, true, changes);
    }

    /// Tells of the pairs of the sublevel sets, or of the superlevel ones.
    #[inline(always)]
    fn tell_side<C: Changes, const SUPER: bool, const ENTERS: bool>(
        &self,
        index: &Index,
        sums: Option<&Sums>,
        end: Point,
        changes: &mut C,
    ) {
        let (range, tolerance) = (self.range(index), self.tolerance);
        let first = if let Some(statistics) = changes.statistics() {
            let sums = sums.filter(|sums| sums.fit(statistics));
            let mut summed = Summed { sums, index, tolerance, enters: ENTERS, statistics };
            end_point::<SUPER, ENTERS>(index, range, end, &mut summed)
        } else {
            end_point::<SUPER, ENTERS>(index, range, end, &mut Told::<C, SUPER, ENTERS> { index, tolerance, changes })
        };
        match first {
            First::New(other) if self.filtration != Filtration::Extended => {
                if let Some(other) = other {
                    let other = Pair::new::<SUPER>(other.locate(index, SUPER), None);
                    tell_pair(other, !ENTERS, tolerance, changes);
                }
                tell_pair(Pair::new::<SUPER>(end, None), ENTERS, tolerance, changes);
            }
            First::New(_) | First::Another => {}
        }
    }
}

/// Who is told of the pair of each step as a value enters, or else leaves.
struct Told<'a, C, const SUPER: bool, const ENTERS: bool> {
    index: &'a Index,
    tolerance: f64,
    changes: &'a mut C,
}

impl<C: Changes, const SUPER: bool, const ENTERS: bool> Steps for Told<'_, C, SUPER, ENTERS> {
    #[inline(always)]
    fn step(&mut self, birth: Seen, death: Seen, with: bool) {
        let (birth, death) = (birth.locate(self.index, SUPER), death.locate(self.index, !SUPER));
        tell_pair(Pair::new::<SUPER>(birth, Some(death)), with == ENTERS, self.tolerance, self.changes);
    }
}

#[inline(always)]
fn tell_pair(pair: Pair, enters: bool, tolerance: f64, changes: &mut impl Changes) {
    if pair.outlives(tolerance) {
        if enters { changes.enter(pair) } else { changes.leave(pair) }
    }
}

/// Lowest and highest, with one more point.
#[inline(always)]
fn widened(extremes: Option<(Point, Point)>, new: Point) -> (Point, Point) {
    let (low, high) = extremes.unwrap_or((new, new));
    (if new.below(low) { new } else { low }, if high.below(new) { new } else { high })
}
