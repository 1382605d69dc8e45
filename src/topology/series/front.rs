//! The older half of a window: a residue from which the oldest value can be taken.
//!
//! Built from its right end to its left, the residue is a stack, and every step writes down what it removed. Evicting
//! the oldest value takes back the last step. A step may add one value, or the residue of a whole block of values: such
//! a step is taken back when the window's end reaches the block, and then done again in finer steps. Only the oldest
//! block is ever resolved to single values, so the memory of steps does not grow with the window.

use super::residue::{Point, Residue};

/// One step: what has to be known to take it back.
#[derive(Clone, Debug)]
struct Step {
    /// How many values it added.
    span: u64,
    /// How many points of the residue below it stayed.
    kept: usize,
    /// Where the points that it removed begin in the list of these.
    removed: usize,
    /// The longest finite pair before it.
    longest: f64,
}

/// A stack of values that grows to the left, block by block, and shrinks from the left.
#[derive(Clone, Debug, Default)]
pub(super) struct Front {
    residue: Residue,
    /// The longest finite pair closed in it; 0 if none.
    longest: f64,
    steps: Vec<Step>,
    removed: Vec<Point>,
}

impl Front {
    pub(super) fn residue(&self) -> &Residue {
        &self.residue
    }

    pub(super) fn longest(&self) -> f64 {
        self.longest
    }

    /// How many values the leftmost step added: 0 when there is none.
    #[inline(always)]
    pub(super) fn span(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.span)
    }

    /// Adds at the left `span` values that have this residue (from left to right) and this longest closed pair.
    #[inline(always)]
    pub(super) fn prepend(&mut self, span: u64, points: &[Point], longest: f64) {
        let (removed, before) = (self.removed.len(), self.longest);
        let mut floor = self.residue.points().len();
        self.longest = self.longest.max(longest);
        for &point in points.iter().rev() {
            let kept = self.residue.kept::<true>(point);
            let goes = &self.residue.points()[kept..];
            self.longest = longest_of(self.longest, goes);
            if kept < floor {
                self.removed.extend(goes[..floor - kept].iter().rev());
                floor = kept;
            }
            self.residue.place::<true>(kept, point);
        }
        self.steps.push(Step { span, kept: floor, removed, longest: before });
    }

    /// Adds one value at the left.
    #[inline(always)]
    pub(super) fn prepend_value(&mut self, value: Point) {
        let (removed, longest) = (self.removed.len(), self.longest);
        let kept = self.residue.kept::<true>(value);
        let goes = &self.residue.points()[kept..];
        self.longest = longest_of(longest, goes);
        goes.iter().rev().for_each(|point| self.removed.push(*point));
        self.residue.place::<true>(kept, value);
        self.steps.push(Step { span: 1, kept, removed, longest });
    }

    /// Takes back the leftmost step.
    #[inline(always)]
    pub(super) fn undo(&mut self) {
        if let Some(step) = self.steps.pop() {
            self.residue.restore::<true>(step.kept, self.removed[step.removed..].iter().rev().copied());
            self.removed.truncate(step.removed);
            self.longest = step.longest;
        }
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        self.residue.heap_bytes()
            + self.steps.capacity() * size_of::<Step>()
            + self.removed.capacity() * size_of::<Point>()
    }
}

/// The longest finite pair of those in `closed`, which stand two by two, and of `longest`.
#[inline(always)]
pub(super) fn longest_of(longest: f64, closed: &[Point]) -> f64 {
    closed.chunks_exact(2).fold(longest, |longest, pair| longer(longest, (pair[0].value - pair[1].value).abs()))
}

/// The longer of two lengths, as long as it is finite. The difference of equal infinities is no number, and no length.
#[inline(always)]
pub(super) fn longer(longest: f64, length: f64) -> f64 {
    if length > longest && length < f64::INFINITY { length } else { longest }
}
