//! The longest pair of a window, without looking at all of them.
//!
//! A maximum cannot be taken back like a sum, but the residues tell it. A minimum whose pair is closed within the front
//! or within the back is counted there. All others stand in one of the two residues, and there persistence falls with
//! the distance from the lowest point: of two minima on the same side of it, the farther one is higher and both its
//! barriers are lower or the same. So there are three candidates in each residue, its lowest point and the minima next
//! to it on either side. (Where those are infinitely long and so do not count, the next ones follow.)

use super::change::{inner, nearest, sooner};
use super::front::longer;
use super::residue::{Point, Residue, later};

/// The greatest finite length of the pairs of `front` and `back`, their beginnings facing each other, and of `closed`.
#[inline]
pub(super) fn longest<const SUPER: bool>(front: &Residue, back: &Residue, closed: f64) -> f64 {
    let ends = towards_end::<SUPER>(front, towards_end::<SUPER>(back, closed));
    towards_seam::<SUPER>(front, back, towards_seam::<SUPER>(back, front, ends))
}

/// The same of minima after the lowest: nothing lower lies outside of them, so their barrier is on the inner side.
#[inline(always)]
fn towards_end<const SUPER: bool>(own: &Residue, mut found: f64) -> f64 {
    let points = own.points();
    if !points.is_empty() {
        for index in (own.first::<SUPER>() + 2..points.len()).step_by(2) {
            let length = length(points[index], points[index - 1]);
            found = longer(found, length);
            if length < f64::INFINITY {
                break;
            }
        }
    }
    found
}

/// The same of the lowest point and of the minima before it: the other side of the seam may have something lower.
#[inline(always)]
fn towards_seam<const SUPER: bool>(own: &Residue, other: &Residue, mut found: f64) -> f64 {
    let points = own.points();
    if points.is_empty() {
        return found;
    }
    let mut index = own.first::<SUPER>();
    if let Some(barrier) = across::<SUPER>(own, other, index) {
        found = longer(found, length(points[index], barrier));
    }
    while index >= 2 {
        index -= 2;
        // The barrier towards the end bounds the length, which spares most searches for the other one.
        if length(points[index], points[index + 1]) <= found {
            break;
        }
        let death = sooner::<SUPER>(across::<SUPER>(own, other, index), points[index + 1]);
        let length = length(points[index], death);
        found = longer(found, length);
        if length < f64::INFINITY {
            break;
        }
    }
    found
}

/// The barrier on the other side of the seam and before it; none where nothing earlier is there.
#[inline(always)]
fn across<const SUPER: bool>(own: &Residue, other: &Residue, index: usize) -> Option<Point> {
    nearest::<SUPER>(other, Some(own.points()[index]))
        .map(|at| later::<SUPER>(inner(other.points(), at), inner(own.points(), index)))
}

#[inline(always)]
fn length(birth: Point, death: Point) -> f64 {
    (birth.value - death.value).abs()
}
