//! Pairs: what the diagram of a series consists of, with the records that gave birth and death.

use serde::{Deserialize, Serialize};

use super::super::diagram::{Bar, Diagram};
use super::residue::Point;
use super::statistics::Statistics;

/// From which side a series is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filtration {
    /// The sets where the series is at most `t`, as `t` rises. Components are born at minima and die at maxima; that of
    /// the lowest value never dies.
    #[default]
    Sublevel,
    /// The sets where the series is at least `t`, as `t` falls. Components are born at maxima and die at minima.
    Superlevel,
    /// Extended persistence (Cohen-Steiner, Edelsbrunner, Harer 2009): the finite pairs of the sublevel sets, those of
    /// the superlevel sets, and one pair of the lowest and the highest value instead of the two that never die.
    Extended,
}

/// A component of the level sets of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The value at which it is born: that of a minimum, or of a maximum for superlevel sets.
    pub birth: f64,
    /// The value at which it meets an older one; infinite where it never does. Below `birth` for superlevel sets.
    pub death: f64,
    /// Position of the value that gave birth.
    pub born: u64,
    /// Position of the value that gave death.
    pub died: Option<u64>,
}

impl Pair {
    /// The pair of two points; without `death` it never dies.
    #[inline(always)]
    pub(super) fn new<const SUPER: bool>(birth: Point, death: Option<Point>) -> Pair {
        let never = if SUPER { f64::NEG_INFINITY } else { f64::INFINITY };
        Pair {
            birth: birth.value,
            death: death.map_or(never, |death| death.value),
            born: birth.position,
            died: death.map(|death| death.position),
        }
    }

    /// How long it lives.
    #[inline(always)]
    pub fn persistence(self) -> f64 {
        (self.death - self.birth).abs()
    }

    /// Whether it lives longer than `tolerance`, and so is in the diagram.
    #[inline(always)]
    pub(super) fn outlives(self, tolerance: f64) -> bool {
        outlives(self.birth, self.death, tolerance)
    }

    /// Its bar.
    pub fn bar(self) -> Bar {
        Bar { birth: self.birth, death: self.death }
    }
}

/// The diagram of these pairs.
pub fn diagram(pairs: &[Pair]) -> Diagram {
    Diagram::new(pairs.iter().map(|pair| pair.bar()))
}

/// Who wants to hear of every pair that enters or leaves the diagram.
pub trait Changes {
    /// False for one who does not listen: the pairs are then not even looked for.
    const WANTED: bool = true;

    /// The pair is in the diagram from now on.
    fn enter(&mut self, pair: Pair);

    /// The pair was in the diagram and is no more.
    fn leave(&mut self, pair: Pair);

    /// The statistics of one who need not hear of each pair, if only they are kept up: many pairs may then change at
    /// once.
    fn statistics(&mut self) -> Option<&mut Statistics> {
        None
    }
}

/// Does not listen.
impl Changes for () {
    const WANTED: bool = false;

    fn enter(&mut self, _: Pair) {}

    fn leave(&mut self, _: Pair) {}
}

/// Keeps a list, in order; `true` for a pair that enters. One slide may take a pair out and put it back.
impl Changes for Vec<(bool, Pair)> {
    fn enter(&mut self, pair: Pair) {
        self.push((true, pair));
    }

    fn leave(&mut self, pair: Pair) {
        self.push((false, pair));
    }
}

/// Both hear of it.
impl<A: Changes, B: Changes> Changes for (&mut A, &mut B) {
    const WANTED: bool = A::WANTED || B::WANTED;

    #[inline(always)]
    fn enter(&mut self, pair: Pair) {
        self.0.enter(pair);
        self.1.enter(pair);
    }

    #[inline(always)]
    fn leave(&mut self, pair: Pair) {
        self.0.leave(pair);
        self.1.leave(pair);
    }

    #[inline(always)]
    fn statistics(&mut self) -> Option<&mut Statistics> {
        match (A::WANTED, B::WANTED) {
            (true, false) => self.0.statistics(),
            (false, true) => self.1.statistics(),
            _ => None,
        }
    }
}

/// Whether a birth and a death lie farther apart than `tolerance`.
#[inline(always)]
pub(super) fn outlives(birth: f64, death: f64, tolerance: f64) -> bool {
    // Equal infinities have no length, though their difference is no number.
    (birth != death) & ((death - birth).abs() > tolerance)
}

/// The longer of two lengths, as long as it is finite. The difference of equal infinities is no number, and no length.
#[inline(always)]
pub(super) fn longer(longest: f64, length: f64) -> f64 {
    if length > longest && length < f64::INFINITY { length } else { longest }
}
