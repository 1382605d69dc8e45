//! The residue of a stretch of a series: what persistence still has to know of it.
//!
//! Samples are ordered by value and, where values are equal, by position (simulation of simplicity: of equal values
//! the later one is higher), so plateaus and ties are no special case. Take the extremes of the stretch, its two ends
//! among them, and look at four in a row, `e1 e2 e3 e4`. Where `e2` and `e3` both lie between `e1` and `e4`, they are
//! a pair of the persistence diagram, whatever comes before or after: the component that is born at the lower of them
//! meets an older one exactly at the higher. Take both out, and again, until no four are left of which this is true.
//! This is the rainflow count of material fatigue (Matsuishi, Endo 1968) and the stack algorithm for persistence on a
//! line (Glisse, `Persistence_on_a_line` of GUDHI). What remains is the **residue**, a zigzag that first widens and
//! then narrows:
//!
//! ```text
//!                      e4                     highest
//!            e2        /\        e6           The widest step, between lowest and highest, is the *peak*.
//!            /\       /  \      /\            Before it each extreme is a record from the left end,
//!      e0   /  \     /    \    /  \           after it each is a record from the right end.
//!        \ /    \   /      \  /    \  e8
//!        e1      \ /        \/      \/
//!                e3         e5      e7        lowest: e3
//! ```
//!
//! **A monoid.** Taking pairs out in any order leaves the same residue, because a pair stays removable however the
//! others are removed. So the residue of two stretches one after the other is the residue of their two residues in a
//! row, and this joining is associative. That is all that a segment tree ([`super::tree`]) asks for. (A sliding window
//! needs no residue to be kept: [`super::window`].)
//!
//! **Reading the rest.** In the residue of a whole window a minimum before the lowest pairs with the maximum next to it
//! on the right, one after the lowest with that on the left (its nearer barrier, since the zigzag widens towards the
//! peak), and the lowest never dies. For superlevel sets turn this upside down. The pairs taken out are the same.

use serde::{Deserialize, Serialize};

/// A value of the series and its position in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its value: not NaN, and no negative zero.
    pub value: f64,
    /// How many values came before it.
    pub position: u64,
}

impl Point {
    /// Whether it comes before `other` in the order of values, then positions.
    #[inline(always)]
    pub fn below(self, other: Point) -> bool {
        (self.value < other.value) | ((self.value == other.value) & (self.position < other.position))
    }
}

/// Whether `a` is nearer than `b` to where the filtration begins: lower for sublevel sets, higher for superlevel sets.
#[inline(always)]
pub(super) fn earlier<const SUPER: bool>(a: Point, b: Point) -> bool {
    if SUPER { b.below(a) } else { a.below(b) }
}

/// Whether `new`, which stands to the right of `old`, is higher. One comparison: see the positions.
#[inline(always)]
fn rises(old: Point, new: Point) -> bool {
    old.value <= new.value
}

/// A residue that grows at its right end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Residue {
    points: Vec<Point>,
    /// Index of the second point of the widest step; 0 where there is no step.
    peak: usize,
}

impl Residue {
    /// Its extremes, in the order in which they were added.
    #[inline(always)]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How many of its points stay when `new` is added at its end. Those after them go: first the pairs that `new`
    /// closes, two by two, then perhaps a last point that `new` replaces because it goes on in the same direction. O(1)
    /// for each point that goes.
    #[inline(always)]
    fn kept(&self, new: Point) -> usize {
        let points = &self.points[..];
        let mut kept = points.len();
        let Some(&last) = points.last() else { return 0 };
        let rises = rises(last, new);
        if kept >= 2 {
            kept -= usize::from(self::rises(points[kept - 2], last) == rises);
        }
        while let [.., e1, e2, e3] = points[..kept]
            && (self::rises(e1, e3) == rises) & (self::rises(e2, new) == rises)
        {
            kept -= 2;
        }
        kept
    }

    /// Puts `new` after the first `kept` points, as [`Residue::kept`] has counted them.
    #[inline(always)]
    fn place(&mut self, kept: usize, new: Point) {
        self.points.truncate(kept);
        self.points.push(new);
        if kept <= self.peak || (kept == self.peak + 1 && self.widens(kept)) {
            self.peak = kept;
        }
    }

    /// Adds `new` at the right and gives each pair that it closes.
    #[inline(always)]
    pub fn push(&mut self, new: Point, mut closed: impl FnMut(Point, Point)) {
        let kept = self.kept(new);
        for pair in self.points[kept..].chunks_exact(2) {
            closed(pair[0], pair[1]);
        }
        self.place(kept, new);
    }

    /// Adds another residue at the right and gives each pair that this closes. O(1) for each, and a copy.
    pub fn join(&mut self, right: &Residue, mut closed: impl FnMut(Point, Point)) {
        if self.points.is_empty() {
            self.points.extend_from_slice(&right.points);
            self.peak = right.peak;
            return;
        }
        // What comes after the peak lies within the widest step before it, and closes nothing.
        let (widening, narrowing) = right.points.split_at(right.points.len().min(right.peak + 1));
        widening.iter().for_each(|point| self.push(*point, &mut closed));
        self.points.extend_from_slice(narrowing);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.points.clear();
        self.peak = 0;
    }

    /// Whether the step to `points[index]` is wider than the one before it.
    #[inline(always)]
    fn widens(&self, index: usize) -> bool {
        if index < 2 {
            return true;
        }
        let (before, last, new) = (self.points[index - 2], self.points[index - 1], self.points[index]);
        rises(before, new) == rises(last, new)
    }

    /// Index of its first point in the filtration: the lowest for sublevel sets, the highest for superlevel sets.
    /// The residue is not empty.
    #[inline(always)]
    pub(super) fn first<const SUPER: bool>(&self) -> usize {
        let peak = self.peak;
        if peak > 0 && earlier::<SUPER>(self.points[peak - 1], self.points[peak]) { peak - 1 } else { peak }
    }

    /// Its last point in the filtration: the highest for sublevel sets.
    #[inline(always)]
    pub(super) fn last<const SUPER: bool>(&self) -> Option<Point> {
        (!self.points.is_empty()).then(|| match SUPER {
            true => self.points[self.first::<false>()],
            false => self.points[self.first::<true>()],
        })
    }

    /// Gives the pairs of the residue of a whole window: birth, and death but for the one that never dies.
    pub(super) fn pairs<const SUPER: bool>(&self, mut give: impl FnMut(Point, Option<Point>)) {
        if self.points.is_empty() {
            return;
        }
        let (points, first) = (&self.points, self.first::<SUPER>());
        for index in (first % 2..points.len()).step_by(2) {
            let death = match index.cmp(&first) {
                std::cmp::Ordering::Less => Some(points[index + 1]),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(points[index - 1]),
            };
            give(points[index], death);
        }
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }
}
