//! Distances between persistence diagrams.
//!
//! | function | distance | cost, n bars in each |
//! | --- | --- | --- |
//! | [`wasserstein_1`] | the least total way of a matching | that of [`Change`]: of the bars that differ |
//! | [`wasserstein_2`] | the root of the least total squared way | one short search for each bar that differs |
//! | [`bottleneck`] | the least longest way of a matching | one matching for each of O(log n) thresholds |
//! | [`sliced_wasserstein`] | mean over directions of the distance of projections | O(n log n) a direction |
//!
//! **Ground metric.** A bar is a point (birth, death) of the plane, and the way between two points is measured by the
//! maximum norm, as in GUDHI's `bottleneck_distance`, in hera and in GUDHI's `wasserstein_distance` with
//! `internal_p = inf`. Every point may be matched to the diagonal instead, half its persistence away. Bars that die
//! below their birth (of superlevel and extended diagrams) are points below the diagonal and are never matched across.
//!
//! **Infinite bars** are matched among themselves: those that go the same way are sorted by their finite end and
//! matched in this order, which is optimal on a line. Where their numbers differ the distance is infinite. The sliced
//! distance looks at finite bars only.
//!
//! **Same bits everywhere.** Only `+ - * / sqrt` and comparisons. The matching is exact up to the rounding of the sums
//! that compare alternatives; what is answered is the sum over the matching found, in the diagrams' canonical order,
//! from the smaller diagram's side. So a distance has the same bits on every machine and in both directions.
//! Coordinates are scaled by a power of two first, which changes no bit and lets no square overflow.
//!
//! Sources. Wasserstein: Cohen-Steiner, Edelsbrunner, Harer, Mileyko, *Lipschitz functions have Lp-stable persistence*
//! (2010). Bottleneck and its stability: Cohen-Steiner, Edelsbrunner, Harer, *Stability of persistence diagrams*
//! (2007). Geometry in the searches: Kerber, Morozov, Nigmetov, *Geometry helps to compare persistence diagrams*
//! (2017).

mod bottleneck;
mod change;
mod sliced;
mod transport;

pub use bottleneck::bottleneck;
pub use change::Change;
pub use sliced::sliced_wasserstein;
pub use transport::Transport;

use super::diagram::{Bar, Diagram};
use transport::Order;

/// The 1-Wasserstein distance: the least sum, over all matchings, of the ways of all bars. In units of the filtration's
/// values. Bars that both diagrams have cost nothing but a look: see [`Change`].
pub fn wasserstein_1(one: &Diagram, other: &Diagram) -> f64 {
    Change::between(one, other).wasserstein_1(&mut Transport::default())
}

/// The 2-Wasserstein distance: the root of the least sum, over all matchings, of the squared ways of all bars. In units
/// of the filtration's values.
pub fn wasserstein_2(one: &Diagram, other: &Diagram) -> f64 {
    Transport::default().distance(one.bars(), other.bars(), Order::Two)
}

/// A finite bar as a point of the plane.
#[derive(Clone, Copy, Debug)]
struct Point {
    birth: f64,
    death: f64,
    /// How far the diagonal is.
    diagonal: f64,
}

impl Point {
    /// The way to another point.
    fn to(&self, other: &Point) -> f64 {
        (self.birth - other.birth).abs().max((self.death - other.death).abs())
    }
}

/// The finite bars as points, scaled; in the order of the bars.
fn points(bars: &[Bar], scale: f64) -> impl Iterator<Item = Point> {
    bars.iter().filter(|bar| bar.birth.is_finite() && bar.death.is_finite()).map(move |bar| {
        let (birth, death) = (bar.birth * scale, bar.death * scale);
        Point { birth, death, diagonal: (death - birth).abs() * 0.5 }
    })
}

/// Calls `visit` with each point at or after `birth`, then with each before it, nearest first, and with the cost of the
/// way in births alone; each of the two walks ends when `visit` answers that no point further on can matter.
fn near(points: &[Point], birth: f64, mut visit: impl FnMut(usize, f64) -> bool) {
    let middle = points.partition_point(|point| point.birth < birth);
    for (at, point) in points.iter().enumerate().skip(middle) {
        if !visit(at, point.birth - birth) {
            break;
        }
    }
    for (at, point) in points[..middle].iter().enumerate().rev() {
        if !visit(at, birth - point.birth) {
            break;
        }
    }
}

/// A power of two by which all finite coordinates come below 4 in magnitude.
fn scale(one: &[Bar], other: &[Bar]) -> f64 {
    let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
    let most = one.iter().chain(other).fold(0.0, |most: f64, bar| most.max(finite(bar.birth)).max(finite(bar.death)));
    let exponent = most.to_bits() >> 52;
    f64::from_bits((2046 - exponent).max(1) << 52)
}

/// The ways of the infinite bars, scaled; nothing where their numbers differ.
fn essential_ways(one: &[Bar], other: &[Bar], scale: f64) -> Option<Vec<f64>> {
    let is_finite = |bar: &Bar| bar.birth.is_finite() && bar.death.is_finite();
    if one.iter().chain(other).all(is_finite) {
        return Some(Vec::new());
    }
    let (one, other) = (essential_ends(one, scale), essential_ends(other, scale));
    if one.len() != other.len() {
        return None;
    }
    let way = |((kind, end), (other_kind, other_end)): (&Essential, &Essential)| {
        (kind == other_kind).then(|| (end - other_end).abs())
    };
    one.iter().zip(&other).map(way).collect()
}

/// How an infinite bar goes (the signs of its infinite ends, 0 for a finite end), and its finite end.
type Essential = ((i8, i8), f64);

/// The infinite bars in order of kind, then of finite end.
fn essential_ends(bars: &[Bar], scale: f64) -> Vec<Essential> {
    let sign = |x: f64| if x.is_finite() { 0 } else { x.signum() as i8 };
    let end = |bar: &Bar| [bar.birth, bar.death].into_iter().find(|x| x.is_finite()).unwrap_or(0.0) * scale;
    let mut ends: Vec<Essential> = bars
        .iter()
        .map(|bar| ((sign(bar.birth), sign(bar.death)), end(bar)))
        .filter(|(kind, _)| *kind != (0, 0))
        .collect();
    ends.sort_unstable_by(|(kind, end), (other_kind, other_end)| kind.cmp(other_kind).then(end.total_cmp(other_end)));
    ends
}

#[cfg(test)]
mod tests;
