//! The sliced Wasserstein distance: the mean, over directions of the plane, of the distance of projections.
//!
//! Carrière, Cuturi, Oudot: *Sliced Wasserstein kernel for persistence diagrams* (2017). Each diagram is completed by
//! the other's projections to the diagonal, so that both have as many points; on a line the optimal matching is that of
//! the sorted points. It is equivalent to W1 up to a factor of the number of points, and never more than 2 sqrt(2)
//! times it (with the Euclidean ground metric). Like W1 it does not see the bars that both diagrams have, which add the
//! same points to both sides of every line; so only what changed is projected.

use super::{Change, points, scale};
use crate::stats::elementary::sin_turns;
use crate::topology::diagram::{Bar, Diagram};

/// The sliced 1-Wasserstein distance over this many directions, evenly spread over half a turn from straight down (as
/// in persim; GUDHI's leaves out the last). Finite bars only; 0 for 0 directions. O(k log k) a direction for k bars
/// that differ, and O(n) to find them.
pub fn sliced_wasserstein(one: &Diagram, other: &Diagram, directions: usize) -> f64 {
    let change = Change::between(one, other);
    let scale = scale(change.gone(), change.come());
    let mut sides = [Side::new(change.gone(), change.come(), scale), Side::new(change.come(), change.gone(), scale)];
    let sum = (0..directions).fold(0.0, |sum, number| {
        let turns = number as f64 / (2.0 * directions as f64) - 0.25;
        let line = (sin_turns(turns + 0.25), sin_turns(turns));
        sides.iter_mut().for_each(|side| side.project(line));
        sides[0].line.iter().zip(&sides[1].line).fold(sum, |sum, (one, other)| sum + (one - other).abs())
    });
    if directions == 0 { 0.0 } else { sum / directions as f64 / scale }
}

/// One diagram completed by the other's projections to the diagonal.
struct Side {
    /// Birth and death.
    bars: Vec<(f64, f64)>,
    /// Births that are deaths, sorted.
    diagonal: Vec<f64>,
    /// The places of the bars on the line, in the sorting order of their bits.
    places: Vec<i64>,
    /// All places on the line, sorted.
    line: Vec<f64>,
}

impl Side {
    fn new(bars: &[Bar], other: &[Bar], scale: f64) -> Side {
        let mut diagonal: Vec<f64> = points(other, scale).map(|point| (point.birth + point.death) * 0.5).collect();
        diagonal.sort_unstable_by(f64::total_cmp);
        let bars: Vec<(f64, f64)> = points(bars, scale).map(|point| (point.birth, point.death)).collect();
        Side { bars, diagonal, places: Vec::new(), line: Vec::new() }
    }

    /// Projects to the line in this direction. On the diagonal the order is that of all lines, or its reverse.
    fn project(&mut self, (cosine, sine): (f64, f64)) {
        self.places.clear();
        self.places.extend(self.bars.iter().map(|(birth, death)| ordered(birth * cosine + death * sine)));
        self.places.sort_unstable();
        self.line.clear();
        let both = cosine + sine;
        let bars = self.places.iter().map(|place| ordered_back(*place));
        if both < 0.0 {
            merge(bars, self.diagonal.iter().rev().map(|at| at * both), &mut self.line);
        } else {
            merge(bars, self.diagonal.iter().map(|at| at * both), &mut self.line);
        }
    }
}

/// Integers in the order of the floats, which sort faster.
fn ordered(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The float of [`ordered`].
fn ordered_back(bits: i64) -> f64 {
    f64::from_bits((bits ^ ((bits >> 63) as u64 >> 1) as i64) as u64)
}

fn merge(one: impl Iterator<Item = f64>, other: impl Iterator<Item = f64>, into: &mut Vec<f64>) {
    let mut other = other.peekable();
    for x in one {
        while let Some(y) = other.next_if(|y| *y <= x) {
            into.push(y);
        }
        into.push(x);
    }
    into.extend(other);
}
