//! The sliced Wasserstein distance: the mean, over directions of the plane, of the distance of projections.
//!
//! Carrière, Cuturi, Oudot: *Sliced Wasserstein kernel for persistence diagrams* (2017). Each diagram is completed by
//! the other's projections to the diagonal, so that both have as many points; on a line the optimal matching is that of
//! the sorted points. It is at most 2 sqrt(2) times W1 of Euclidean ground metric, and bounds it from below up to a
//! factor of the number of points. Like W1 it does not see the bars that both diagrams have, which add the same points
//! to both sides of every line; so only what changed is projected.

use super::{Change, points, scale};
use crate::stats::elementary::sin_turns;
use crate::topology::diagram::{Bar, Diagram};

/// The sliced 1-Wasserstein distance over this many directions, evenly spread over half a turn from straight down
/// (GUDHI's `SlicedWassersteinDistance`). Finite bars only; 0 for 0 directions. O(k log k) a direction for k bars that
/// differ, and O(n) to find them.
pub fn sliced_wasserstein(one: &Diagram, other: &Diagram, directions: usize) -> f64 {
    let change = Change::between(one, other);
    let scale = scale(change.gone(), change.come());
    let sum = (0..directions).fold(0.0, |sum, number| {
        let turns = number as f64 / (2.0 * directions as f64) - 0.25;
        let line = (sin_turns(turns + 0.25), sin_turns(turns));
        sum + distance_on(line, &change, scale)
    });
    if directions == 0 { 0.0 } else { sum / directions as f64 / scale }
}

/// The distance of the projections to one line, given by its direction.
fn distance_on(line: (f64, f64), change: &Change, scale: f64) -> f64 {
    let gone = projected(line, change.gone(), change.come(), scale);
    let come = projected(line, change.come(), change.gone(), scale);
    gone.iter().zip(&come).fold(0.0, |sum, (one, other)| sum + (one - other).abs())
}

/// The places on the line of the bars, and of the other bars' projections to the diagonal, sorted.
fn projected((cosine, sine): (f64, f64), bars: &[Bar], other: &[Bar], scale: f64) -> Vec<f64> {
    let place = |birth: f64, death: f64| birth * cosine + death * sine;
    let points_of = points(bars, scale).map(|point| place(point.birth, point.death));
    let on_diagonal = points(other, scale).map(|point| (point.birth + point.death) * 0.5).map(|at| place(at, at));
    let mut places: Vec<f64> = points_of.chain(on_diagonal).collect();
    places.sort_unstable_by(f64::total_cmp);
    places
}
