//! Numbers and vectors of a diagram, for whatever cannot take a diagram itself: detectors, models, tables.
//!
//! | method of [`Intervals`] | answers | shape | unit | cost, n bars |
//! | --- | --- | --- | --- | --- |
//! | [`count`](Intervals::count) | how many bars | number | bars | O(1) |
//! | [`max`](Intervals::max) | the longest persistence | number | value | O(n) |
//! | [`total`](Intervals::total) | the sum of powers of persistence | number | value^p | O(n) |
//! | [`entropy`](Intervals::entropy) | how evenly persistence is spread | number | nat | O(n) |
//! | [`amplitude`](Intervals::amplitude) | the distance to the empty diagram | number | value | O(n) |
//! | [`betti_curve`](Intervals::betti_curve) | bars alive at each place | points | bars | O(n log g + g) |
//! | [`landscape`](Intervals::landscape) | the k highest tents at each place | levels x points | value | O(n g k) |
//! | [`silhouette`](Intervals::silhouette) | the weighted mean tent at each place | points | value | O(n g) |
//! | [`image`](Intervals::image) | a density over births and persistences | rows x columns | value^(p - 2) | O(n w h) |
//!
//! g is the number of places of the grid (w by h for an image); tents cost only the places below them. Vectors are
//! flat, row after row, and have at most [`NUMBERS_MAX`] numbers: who asks for more gets [`TooLarge`] and no vector.
//!
//! **Infinite bars** have no place in most of these: [`Infinite`] says whether they are left out or clipped. A bar that
//! dies below its birth (superlevel and extended diagrams) is read as the interval between the two.
//!
//! **Same bits everywhere**: sums in the diagram's canonical order, `exp` and `ln` of [`crate::stats::elementary`].

mod curves;
mod image;
mod landscape;
mod numbers;

pub use image::ImageShape;
pub use numbers::Amplitude;

use super::diagram::{Bar, Diagram};

/// The most numbers of a vector, and places of a grid: 128 MiB.
pub const NUMBERS_MAX: usize = 1 << 24;

/// A vector that would have more than [`NUMBERS_MAX`] numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Its rows: levels of a landscape, persistences of an image.
    pub rows: usize,
    /// The places of a row.
    pub points: usize,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let TooLarge { rows, points } = self;
        write!(f, "a vector of {rows} x {points} numbers; it may have {NUMBERS_MAX}: take fewer points or fewer levels")
    }
}

impl std::error::Error for TooLarge {}

/// What becomes of bars that never end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Infinite {
    /// They are not looked at.
    LeaveOut,
    /// Infinite ends are moved to this value (to its negative where they are minus infinity), as `max_edge_length` or
    /// the end of a grid would have it. What then has no length is left out.
    ClipAt(f64),
}

/// The bars of a diagram as finite intervals, in the diagram's order.
///
/// ```
/// use eagre::topology::diagram::{Bar, Diagram};
/// use eagre::topology::features::{Infinite, Intervals};
/// let diagram = Diagram::new([Bar { birth: 0.0, death: f64::INFINITY }, Bar { birth: 1.0, death: 3.0 }]);
/// assert_eq!(Intervals::of(&diagram, Infinite::LeaveOut).total(1), 2.0);
/// assert_eq!(Intervals::of(&diagram, Infinite::ClipAt(5.0)).total(1), 7.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intervals(Vec<Interval>);

/// From the lesser end of a bar to its greater.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    low: f64,
    high: f64,
}

impl Interval {
    fn persistence(self) -> f64 {
        self.high - self.low
    }

    /// The tent function of the interval: how far `at` is inside it, 0 outside.
    fn tent(self, at: f64) -> f64 {
        (at - self.low).min(self.high - at).max(0.0)
    }
}

impl Intervals {
    /// The intervals of a diagram. O(n).
    pub fn of(diagram: &Diagram, infinite: Infinite) -> Intervals {
        Intervals(diagram.bars().iter().filter_map(|bar| finite(bar, infinite)).collect())
    }
}

fn finite(bar: &Bar, infinite: Infinite) -> Option<Interval> {
    let end = |x: f64| match infinite {
        _ if x.is_finite() => Some(x),
        Infinite::LeaveOut => None,
        Infinite::ClipAt(limit) => Some(if x > 0.0 { limit } else { -limit }).filter(|x| x.is_finite()),
    };
    let (birth, death) = (end(bar.birth)?, end(bar.death)?);
    let interval = Interval { low: birth.min(death), high: birth.max(death) };
    (interval.low < interval.high).then_some(interval)
}

/// Places at equal distances, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The first place.
    pub from: f64,
    /// The last place; not below the first.
    pub to: f64,
    /// How many places; one alone lies at `from`.
    pub points: usize,
}

impl Grid {
    /// The place of this number, counted from 0.
    pub fn place(&self, number: usize) -> f64 {
        let steps = self.points.saturating_sub(1);
        if number > 0 && number == steps {
            return self.to;
        }
        self.from + number as f64 * ((self.to - self.from) / steps.max(1) as f64)
    }

    /// All places, if so many rows of them are not too many.
    fn places(&self, rows: usize) -> Result<Vec<f64>, TooLarge> {
        let points = self.points;
        if points.saturating_mul(rows.max(1)) > NUMBERS_MAX || rows > NUMBERS_MAX {
            return Err(TooLarge { rows, points });
        }
        Ok((0..points).map(|number| self.place(number)).collect())
    }
}

#[cfg(test)]
mod tests;
