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
//! - the minima concerned are those higher than `new` with nothing lower between them and `new`: records seen from
//!   `new`, which stand in the residue after its lowest point, in order. (A record that is not in the residue was
//!   closed with the barrier on its other side, by something beyond that barrier on this side. So that barrier is the
//!   nearer one now, with `new` and without.)
//!
//! The window is kept as two residues with their beginnings facing each other ([`super::window`]). `new` is added at
//! the end of `near`; `far` is the other one. The records of `near` are walked from its end. Only where `new` is
//! lower than all of `near`, the walk goes on with the lowest point of `near`, and then with those records of `far`
//! (seen from the seam) which lie between that point and `new`; a binary search skips those that `near` shadows. A
//! record that leaves is one that enters, read backwards: the same function serves both.

use super::residue::{Point, Residue, earlier, later};

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

/// Gives the births whose fate is another for `far`, `near` and `new` in a row than for `far` and `near`: the birth,
/// its fate without `new` and that with it. (Both may be the same now and then.) O(1) for each, and one binary
/// search.
#[inline(always)]
pub(super) fn end_point<const SUPER: bool>(
    near: &Residue,
    far: &Residue,
    new: Point,
    mut give: impl FnMut(Point, Fate, Fate),
) {
    let Some(&beside) = near.points().last().or(far.points().first()) else {
        return give(new, Fate::Absent, Fate::Never);
    };
    if earlier::<SUPER>(beside, new) {
        return;
    }
    let points = near.points();
    if !points.is_empty() {
        let first = near.first::<SUPER>();
        let mut index = points.len() - 1 - (points.len() - 1 - first) % 2;
        while index > first && earlier::<SUPER>(new, points[index]) {
            give(points[index], Fate::Dies(points[index - 1]), Fate::Dies(outer(points, index)));
            index -= 2;
        }
        if earlier::<SUPER>(points[index], new) {
            return give(new, Fate::Absent, Fate::Dies(points[index + 1]));
        }
    }
    beyond_near::<SUPER>(near, far, new, give);
}

/// The step where `new` comes before all of `near` in the filtration.
#[inline(never)]
fn beyond_near<const SUPER: bool>(near: &Residue, far: &Residue, new: Point, mut give: impl FnMut(Point, Fate, Fate)) {
    let lowest = (!near.points().is_empty()).then(|| near.first::<SUPER>());
    let seen = nearest::<SUPER>(far, lowest.map(|index| near.points()[index]));
    if let Some(index) = lowest {
        let barrier = seen.map(|at| later::<SUPER>(inner(far.points(), at), inner(near.points(), index)));
        let death = sooner::<SUPER>(barrier, outer(near.points(), index));
        give(near.points()[index], barrier.map_or(Fate::Never, Fate::Dies), Fate::Dies(death));
    }
    let Some(mut index) = seen else {
        return give(new, Fate::Absent, Fate::Never);
    };
    let (points, first, highest) = (far.points(), far.first::<SUPER>(), near.last::<SUPER>());
    let barrier = |index| highest.map_or(inner(points, index), |point| later::<SUPER>(inner(points, index), point));
    while index < first && earlier::<SUPER>(new, points[index]) {
        let death = sooner::<SUPER>(Some(points[index + 1]), barrier(index));
        give(points[index], Fate::Dies(points[index + 1]), Fate::Dies(death));
        index += 2;
    }
    if earlier::<SUPER>(points[index], new) {
        return give(new, Fate::Absent, Fate::Dies(barrier(index)));
    }
    give(points[index], Fate::Never, Fate::Dies(barrier(index)));
    give(new, Fate::Absent, Fate::Never);
}

/// Of the records of `far`, seen from the seam, the nearest that is earlier than `than`: its index.
#[inline(always)]
pub(super) fn nearest<const SUPER: bool>(far: &Residue, than: Option<Point>) -> Option<usize> {
    let points = far.points();
    if points.is_empty() {
        return None;
    }
    let first = far.first::<SUPER>();
    let Some(than) = than else { return Some(first % 2) };
    if !earlier::<SUPER>(points[first], than) {
        return None;
    }
    // Every second point from the seam to the first one is a record, each earlier in the filtration than the one
    // before.
    let (mut no, mut yes) = (0, first / 2);
    while no < yes {
        let middle = (no + yes) / 2;
        if earlier::<SUPER>(points[first % 2 + 2 * middle], than) {
            yes = middle;
        } else {
            no = middle + 1;
        }
    }
    Some(first % 2 + 2 * yes)
}

/// What stands between a record and the seam: its barrier on that side, itself where it stands at the seam.
#[inline(always)]
pub(super) fn inner(points: &[Point], index: usize) -> Point {
    points[index.saturating_sub(1)]
}

/// What stands between a record and the end: its barrier on that side, itself where it stands at the end.
#[inline(always)]
fn outer(points: &[Point], index: usize) -> Point {
    points[(index + 1).min(points.len() - 1)]
}

/// The nearer of two barriers, of which the first may be infinite.
#[inline(always)]
pub(super) fn sooner<const SUPER: bool>(one: Option<Point>, other: Point) -> Point {
    one.filter(|one| earlier::<SUPER>(*one, other)).unwrap_or(other)
}
