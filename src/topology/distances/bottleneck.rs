//! The bottleneck distance: the least longest way of a matching.
//!
//! It is one of the O(n^2) ways between points or to the diagonal. Whether a matching exists whose ways are all at most
//! r is a question of covering: points within r of the diagonal may go there, all others of both sides must have a
//! partner within r. If one matching covers those of one side and another those of the other, then some matching covers
//! both (Mendelsohn, Dulmage, 1958), so two one-sided questions are asked, each by Hopcroft and Karp's algorithm (1973)
//! on the points that must be covered; neighbours within r are found by birth, as in Efrat, Itai, Katz: *Geometry helps
//! in bottleneck matching* (2001).
//!
//! The answer is at least the greatest of the points' ways to what is nearest to each, the diagonal or a point. Often
//! that is the answer. Where it is not, the ways above it are halved about their median until one is left.

use super::{Point, essential_ways, near, points, scale};
use crate::topology::diagram::Diagram;

/// The bottleneck distance, exactly: the length of one way between two bars or of one bar to the diagonal, in units of
/// the filtration's values; infinite where the numbers of infinite bars differ. O(n^2) memory at worst, for the ways
/// that lie between the bounds; time O(log n) matchings of O(n^2.5) at worst, of O(n log n) where few points are near.
pub fn bottleneck(one: &Diagram, other: &Diagram) -> f64 {
    let scale = scale(one.bars(), other.bars());
    let Some(essential) = essential_ways(one.bars(), other.bars(), scale) else {
        return f64::INFINITY;
    };
    let sides = [one, other].map(|diagram| points(diagram.bars(), scale).collect::<Vec<Point>>());
    let finite = finite_bottleneck(&sides[0], &sides[1]);
    essential.into_iter().fold(finite, f64::max) / scale
}

/// Of points in order of birth.
fn finite_bottleneck(one: &[Point], other: &[Point]) -> f64 {
    let mut least = nearest_max(one, other).max(nearest_max(other, one));
    let is_enough = |radius: f64| is_covered(one, other, radius) && is_covered(other, one, radius);
    if is_enough(least) {
        return least;
    }
    let mut most = one.iter().chain(other).fold(least, |most, point| most.max(point.diagonal));
    // A few cheap steps up spare most of the ways between the bounds.
    while least > 0.0 && 2.0 * least < most {
        if is_enough(2.0 * least) {
            most = 2.0 * least;
        } else {
            least *= 2.0;
        }
    }
    let mut ways = ways_between(one, other, least, most);
    while !ways.is_empty() {
        let middle = ways.len() / 2;
        let radius = *ways.select_nth_unstable_by(middle, f64::total_cmp).1;
        if is_enough(radius) {
            most = radius;
            ways.truncate(middle);
        } else {
            ways.drain(..=middle);
        }
    }
    most
}

/// The greatest of the points' ways to what is nearest to each.
fn nearest_max(points: &[Point], other: &[Point]) -> f64 {
    points.iter().fold(0.0, |most: f64, point| {
        let mut nearest = point.diagonal;
        near(other, point.birth, |at, births| {
            nearest = nearest.min(point.to(&other[at]));
            births < nearest
        });
        most.max(nearest)
    })
}

/// The ways of a matching that are more than `least` and at most `most`.
fn ways_between(one: &[Point], other: &[Point], least: f64, most: f64) -> Vec<f64> {
    let mut ways: Vec<f64> = one.iter().chain(other).map(|point| point.diagonal).collect();
    for point in one {
        near(other, point.birth, |at, births| {
            ways.push(point.to(&other[at]));
            births <= most
        });
    }
    ways.retain(|way| *way > least && *way <= most);
    ways
}

/// Whether all points further than `radius` from the diagonal can have a partner each within `radius`.
fn is_covered(points: &[Point], partners: &[Point], radius: f64) -> bool {
    let demanding: Vec<Demanding> = points
        .iter()
        .filter(|point| point.diagonal > radius)
        .map(|point| Demanding::new(*point, partners, radius))
        .collect();
    let taken = vec![None; partners.len()];
    Cover { demanding, partners, taken, radius }.completes()
}

/// A point that must have a partner.
struct Demanding {
    point: Point,
    /// The partners whose births are within the radius.
    near: std::ops::Range<usize>,
    partner: Option<usize>,
    /// Of the running phase: steps from a point without partner, and the next of `near` to try.
    level: Option<usize>,
    next: usize,
}

impl Demanding {
    fn new(point: Point, partners: &[Point], radius: f64) -> Demanding {
        let start = partners.partition_point(|partner| point.birth - partner.birth > radius);
        let end = partners.partition_point(|partner| partner.birth - point.birth <= radius);
        Demanding { point, near: start..end, partner: None, level: None, next: start }
    }
}

/// A matching of Hopcroft and Karp: phases of disjoint shortest augmenting paths.
struct Cover<'a> {
    demanding: Vec<Demanding>,
    partners: &'a [Point],
    /// Whose partner each is.
    taken: Vec<Option<usize>>,
    radius: f64,
}

impl Cover<'_> {
    /// Whether all can be matched.
    fn completes(mut self) -> bool {
        loop {
            let free: Vec<usize> = (0..self.demanding.len()).filter(|x| self.demanding[*x].partner.is_none()).collect();
            if free.is_empty() {
                return true;
            }
            if !self.level(&free) {
                return false;
            }
            for x in free {
                self.augment(x);
            }
        }
    }

    /// Levels of all that can be reached; whether a free partner can.
    fn level(&mut self, free: &[usize]) -> bool {
        for demanding in &mut self.demanding {
            demanding.level = demanding.partner.is_none().then_some(0);
            demanding.next = demanding.near.start;
        }
        let mut queue = free.to_vec();
        let (mut at, mut found) = (0, false);
        while at < queue.len() {
            let x = queue[at];
            at += 1;
            for y in self.demanding[x].near.clone() {
                if !self.is_near(x, y) {
                    continue;
                }
                match self.taken[y] {
                    None => found = true,
                    Some(mate) if self.demanding[mate].level.is_none() => {
                        self.demanding[mate].level = self.demanding[x].level.map(|level| level + 1);
                        queue.push(mate);
                    }
                    Some(_) => {}
                }
            }
        }
        found
    }

    /// Finds a path down the levels from a point without partner to a free partner, and flips it if there is one.
    fn augment(&mut self, start: usize) {
        let mut path = vec![start];
        while let Some(&x) = path.last() {
            let y = self.demanding[x].next;
            if y == self.demanding[x].near.end {
                self.demanding[x].level = None;
                path.pop();
                continue;
            }
            self.demanding[x].next = y + 1;
            if !self.is_near(x, y) {
                continue;
            }
            let Some(mate) = self.taken[y] else {
                return self.flip(&path);
            };
            if self.demanding[mate].level == self.demanding[x].level.map(|level| level + 1) {
                path.push(mate);
            }
        }
    }

    /// Gives each point of the path the partner it tried last.
    fn flip(&mut self, path: &[usize]) {
        for x in path {
            let y = self.demanding[*x].next - 1;
            self.demanding[*x].partner = Some(y);
            self.taken[y] = Some(*x);
        }
    }

    fn is_near(&self, x: usize, y: usize) -> bool {
        self.demanding[x].point.to(&self.partners[y]) <= self.radius
    }
}
