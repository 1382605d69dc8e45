//! Exact optimal transport between two diagrams: the cheapest matching of points with each other and the diagonal.
//!
//! The linear programme of a matching where every point x of one side and y of the other may go to the diagonal
//! instead, at cost d(x) and d(y), has this dual: the greatest sum of potentials u(x) and v(y) with
//!
//! ```text
//! u(x) <= d(x)      v(y) <= d(y)      u(x) + v(y) <= c(x, y)
//! ```
//!
//! The diagonal's potential is 0, since any number of points may go there. A matching is optimal when its pairs and its
//! points on the diagonal hold with equality (complementary slackness).
//!
//! **Algorithm.** Shortest augmenting paths (Jonker, Volgenant: *A shortest augmenting path algorithm for dense and
//! sparse linear assignment problems*, 1987), with the diagonal as one node and not n copies. Potentials begin with the
//! nearest neighbours, so that equal points begin matched. Each point that is left free is the start of one search
//! (Dijkstra over reduced costs) that ends at the diagonal or at a point that is not matched to a point; then the
//! potentials of what was settled are moved so that the path is tight, and the path is flipped. Searches start from one
//! side, then from the other.
//!
//! **Why it is quick.** A path never needs to be longer than the straight way to the diagonal, and points are sorted by
//! birth, so a search looks at neighbours only: O(k + log n) for each free point, where k is what lies within its
//! persistence; O(n^3) when everything lies there.

use super::{Point, essential_ways, near, points, scale};
use crate::topology::diagram::Bar;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The power of the ways that is summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    One,
    Two,
}

impl Order {
    fn power(self, way: f64) -> f64 {
        if self == Order::One { way } else { way * way }
    }

    fn root(self, sum: f64) -> f64 {
        if self == Order::One { sum } else { sum.sqrt() }
    }
}

/// The memory of the searches. It carries nothing from one distance to the next but its allocations.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    sides: [Side; 2],
    search: Search,
}

impl Transport {
    /// The distance between two multisets of bars in canonical order.
    pub(super) fn distance(&mut self, one: &[Bar], other: &[Bar], order: Order) -> f64 {
        let (one, other) = if precedes(one, other) { (one, other) } else { (other, one) };
        let scale = scale(one, other);
        let Some(essential) = essential_ways(one, other, scale) else {
            return f64::INFINITY;
        };
        let [from, to] = &mut self.sides;
        from.fill(points(one, scale), order);
        to.fill(points(other, scale), order);
        begin(from, to, order);
        self.search.match_all(from, to, order);
        self.search.match_all(to, from, order);
        let essential = essential.iter().fold(0.0, |sum, way| sum + order.power(*way));
        order.root(cost(from, to, essential, order)) / scale
    }
}

/// Whether the first comes first: the shorter one, or the lesser bar at the first difference. Decides from which side
/// the matching is searched, so that both directions of a distance have the same bits.
fn precedes(one: &[Bar], other: &[Bar]) -> bool {
    let bars = || one.iter().zip(other).map(|(bar, other)| bar.order(other)).find(|order| order.is_ne());
    one.len().cmp(&other.len()).then_with(|| bars().unwrap_or(std::cmp::Ordering::Equal)).is_le()
}

/// Not yet matched.
const FREE: u32 = u32::MAX;
/// Matched to the diagonal.
const DIAGONAL: u32 = u32::MAX - 1;

/// The points of one diagram in order of birth, and what is known of each.
#[derive(Clone, Debug, Default)]
struct Side {
    points: Vec<Point>,
    nodes: Vec<Node>,
    /// No potential is greater.
    potential_max: f64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The cost of going to the diagonal.
    diagonal: f64,
    potential: f64,
    mate: u32,
    /// Of the running search, where this side is searched from the other: the point before it, and its distance.
    parent: u32,
    distance: f64,
}

impl Side {
    fn fill(&mut self, points: impl Iterator<Item = Point>, order: Order) {
        self.points.clear();
        self.points.extend(points);
        self.nodes.clear();
        self.nodes.extend(self.points.iter().map(|point| Node {
            diagonal: order.power(point.diagonal),
            potential: 0.0,
            mate: FREE,
            parent: FREE,
            distance: f64::INFINITY,
        }));
    }
}

/// Potentials of nearest neighbours, and the matching that they hold tight.
fn begin(from: &mut Side, to: &mut Side, order: Order) {
    let mut potential_max: f64 = 0.0;
    for (point, node) in from.points.iter().zip(&mut from.nodes) {
        let mut nearest = node.diagonal;
        near(&to.points, point.birth, |at, births| {
            nearest = nearest.min(order.power(point.to(&to.points[at])));
            order.power(births) < nearest
        });
        node.potential = nearest;
        potential_max = potential_max.max(nearest);
    }
    for (y, (point, node)) in to.points.iter().zip(&mut to.nodes).enumerate() {
        let (mut left, mut tight) = (node.diagonal, DIAGONAL);
        near(&from.points, point.birth, |x, births| {
            let reduced = (order.power(point.to(&from.points[x])) - from.nodes[x].potential).max(0.0);
            if reduced < left || (reduced == left && from.nodes[x].mate == FREE) {
                (left, tight) = (reduced, x as u32);
            }
            order.power(births) - potential_max <= left
        });
        node.potential = left;
        if tight == DIAGONAL {
            node.mate = DIAGONAL;
        } else if from.nodes[tight as usize].mate == FREE {
            node.mate = tight;
            from.nodes[tight as usize].mate = y as u32;
        }
    }
}

/// One search for a shortest augmenting path, and the memory it needs.
#[derive(Clone, Debug, Default)]
struct Search {
    /// Points to settle, nearest first: the bits of a distance, which is not negative, order like it.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    settled: Vec<(u32, f64)>,
    reached: Vec<u32>,
}

/// Where the best path known ends.
#[derive(Clone, Copy)]
enum End {
    /// Over this point of the side it started from, to the diagonal.
    Diagonal(u32),
    /// At this point of the other side, which is not matched to a point.
    Point(u32),
}

impl Search {
    /// Matches all points of one side that are free. Of the other side potentials can only fall meanwhile.
    fn match_all(&mut self, from: &mut Side, to: &mut Side, order: Order) {
        to.potential_max = to.nodes.iter().fold(0.0, |most: f64, node| most.max(node.potential));
        for start in 0..from.points.len() {
            if from.nodes[start].mate == FREE {
                self.augment(from, to, start, order);
            }
        }
    }

    /// Matches `start`, by the path that adds least to the cost.
    fn augment(&mut self, from: &mut Side, to: &mut Side, start: usize, order: Order) {
        self.queue.clear();
        self.settled.clear();
        self.reached.clear();
        self.queue.push(Reverse((0, start as u32)));
        let (mut best, mut end) = (f64::INFINITY, End::Diagonal(start as u32));
        while let Some(Reverse((bits, x))) = self.queue.pop() {
            let distance = f64::from_bits(bits);
            if distance >= best {
                break;
            }
            let node = from.nodes[x as usize];
            if to.nodes.get(node.mate as usize).is_some_and(|mate| mate.distance < distance) {
                continue;
            }
            self.settled.push((x, distance));
            let over = distance + (node.diagonal - node.potential).max(0.0);
            if over < best {
                (best, end) = (over, End::Diagonal(x));
            }
            self.relax(from, to, (x, distance), (&mut best, &mut end), order);
        }
        self.tighten(from, to, best);
        flip(from, to, end);
        for y in &self.reached {
            to.nodes[*y as usize].distance = f64::INFINITY;
        }
    }

    /// Looks from a settled point at every point that could lie on a path better than the best known.
    fn relax(&mut self, from: &Side, to: &mut Side, settled: (u32, f64), best: (&mut f64, &mut End), order: Order) {
        let (x, distance) = settled;
        let (best, end) = best;
        let (point, potential) = (from.points[x as usize], from.nodes[x as usize].potential);
        let Side { points, nodes, potential_max } = to;
        near(points, point.birth, |y, births| {
            let node = &mut nodes[y];
            let way = order.power(point.to(&points[y]));
            let there = distance + (way - potential - node.potential).max(0.0);
            if there < *best && there < node.distance {
                if node.distance == f64::INFINITY {
                    self.reached.push(y as u32);
                }
                (node.distance, node.parent) = (there, x);
                if node.mate < DIAGONAL {
                    self.queue.push(Reverse((there.to_bits(), node.mate)));
                } else {
                    (*best, *end) = (there, End::Point(y as u32));
                }
            }
            order.power(births) < *best - distance + potential + *potential_max
        });
    }

    /// Moves the potentials of what was settled so that the best path, and all matched pairs, are tight.
    fn tighten(&self, from: &mut Side, to: &mut Side, best: f64) {
        for (x, distance) in &self.settled {
            let node = &mut from.nodes[*x as usize];
            let move_by = best - distance;
            node.potential += move_by;
            if node.mate < DIAGONAL {
                to.nodes[node.mate as usize].potential -= move_by;
            }
        }
    }
}

/// Flips the path that ends at `end`: what was matched along it is not, what was not is.
fn flip(from: &mut Side, to: &mut Side, end: End) {
    let mut open = match end {
        End::Diagonal(x) => std::mem::replace(&mut from.nodes[x as usize].mate, DIAGONAL),
        End::Point(y) => y,
    };
    while open < DIAGONAL {
        let parent = to.nodes[open as usize].parent;
        to.nodes[open as usize].mate = parent;
        open = std::mem::replace(&mut from.nodes[parent as usize].mate, open);
    }
}

/// The cost of the matching, begun with `sum`: point by point of one side, then the points of the other that lie on the
/// diagonal.
fn cost(from: &Side, to: &Side, sum: f64, order: Order) -> f64 {
    let matched = from.points.iter().zip(&from.nodes).fold(sum, |sum, (point, node)| {
        sum + to.points.get(node.mate as usize).map_or(node.diagonal, |mate| order.power(point.to(mate)))
    });
    to.nodes.iter().filter(|node| node.mate >= DIAGONAL).fold(matched, |sum, node| sum + node.diagonal)
}
