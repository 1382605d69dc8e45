//! Numbers that sum a diagram up, kept as its pairs come and go.
//!
//! **The same bits whatever the history.** Persistence is one rounded subtraction, a function of the pair alone. Counts
//! are integers and sums are exact ([`super::super::exact`]), so a pair that leaves takes out precisely what it brought
//! in. A statistic is therefore a function of the diagram of the window: not of the path that led there, of where the
//! window began, of a restart, or of the structure (window or tree) that was asked.
//!
//! A pair of infinite length (the component that never dies, one bounded by an infinite value) is counted apart and is
//! in no sum.

use std::cell::Cell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::exact::ExactSum;
use super::pair::{Changes, Pair};
use crate::stats::elementary::{ln, raised};

/// What a diagram amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many pairs of finite length there are.
    pub count: u64,
    /// How many pairs of infinite length there are.
    pub infinite: u64,
    /// Total persistence: the sum of the finite lengths.
    pub total: f64,
    /// The sum of the finite lengths to a power, 2 unless told otherwise.
    pub power_total: f64,
    /// The greatest finite length; 0 where there is none.
    pub longest: f64,
    /// Persistent entropy (Atienza, Gonzalez-Diaz, Rucco 2019): that of the finite lengths as shares of their total, in
    /// nats. 0 where there is none.
    pub entropy: f64,
}

/// The sums over finite lengths: those of a diagram, or of a change of one, in which lengths are missing too.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    power: u32,
    count: i64,
    infinite: i64,
    total: ExactSum,
    power_total: ExactSum,
    /// Sum of `p ln p`: the entropy is `ln S - (sum of p ln p) / S` with `S` the total.
    weighted: ExactSum,
}

impl Totals {
    /// No pairs yet. `power` is that of [`Summary::power_total`].
    pub(super) fn new(power: u32) -> Totals {
        let none = ExactSum::default;
        Totals { power, count: 0, infinite: 0, total: none(), power_total: none(), weighted: none() }
    }

    /// Adds a length above 0, or takes it out where `sign` is -1.
    #[inline(always)]
    pub(super) fn change(&mut self, length: f64, sign: i64) {
        if length == f64::INFINITY {
            self.infinite += sign;
            return;
        }
        self.count += sign;
        self.total.change(length, sign);
        self.power_total.change(raised(length, self.power), sign);
        self.weighted.change(length * ln(length), sign);
    }

    /// Forgets all lengths.
    pub(super) fn clear(&mut self) {
        (self.count, self.infinite) = (0, 0);
        self.total.clear();
        self.power_total.clear();
        self.weighted.clear();
    }

    /// Adds the lengths of another.
    pub(super) fn merge(&mut self, other: &Totals) {
        self.count += other.count;
        self.infinite += other.infinite;
        self.total.merge(&other.total);
        self.power_total.merge(&other.power_total);
        self.weighted.merge(&other.weighted);
    }

    /// Takes out the lengths of another.
    fn take_out(&mut self, other: &Totals) {
        self.count -= other.count;
        self.infinite -= other.infinite;
        self.total.take_out(&other.total);
        self.power_total.take_out(&other.power_total);
        self.weighted.take_out(&other.weighted);
    }

    /// With the greatest length, which no sum can tell.
    #[inline]
    pub(super) fn summary(&self, longest: f64) -> Summary {
        let total = self.total.value();
        let entropy = if self.count == 0 { 0.0 } else { ln(total) - self.weighted.value() / total };
        let (count, infinite, power_total) = (self.count as u64, self.infinite as u64, self.power_total.value());
        // One bar of any length has no entropy; rounding must not make it negative.
        Summary { count, infinite, total, power_total, longest, entropy: if count <= 1 { 0.0 } else { entropy } }
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        self.total.heap_bytes() + self.power_total.heap_bytes() + self.weighted.heap_bytes()
    }
}

/// How many pairs are alive at each level of a grid.
///
/// A pair is alive at `t` if `birth <= t < death`; for a superlevel pair, if `birth >= t > death`.
#[derive(Clone, Debug, PartialEq)]
pub struct BettiCurve {
    /// Shared by all that counts at the same levels.
    levels: Arc<[f64]>,
    /// By how much the curve rises at each level.
    steps: Vec<i64>,
}

impl BettiCurve {
    /// A curve over these levels, which are put in order; NaN is left out.
    pub fn new(levels: &[f64]) -> BettiCurve {
        let mut levels: Vec<f64> = levels.iter().copied().filter(|level| !level.is_nan()).collect();
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup();
        BettiCurve { steps: vec![0; levels.len() + 1], levels: levels.into() }
    }

    /// The levels, in order.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// How many pairs are alive at each. O(levels).
    pub fn values(&self) -> impl Iterator<Item = i64> {
        self.steps[..self.levels.len()].iter().scan(0, |alive, step| {
            *alive += step;
            Some(*alive)
        })
    }

    /// The curve of no pairs at the same levels.
    pub(super) fn cleared(&self) -> BettiCurve {
        BettiCurve { levels: Arc::clone(&self.levels), steps: vec![0; self.steps.len()] }
    }

    /// Whether it has the levels of another, or of a copy of it.
    pub(super) fn shares_levels(&self, other: &BettiCurve) -> bool {
        Arc::ptr_eq(&self.levels, &other.levels)
    }

    /// A pair comes so many times. O(log levels).
    #[inline(never)]
    pub(super) fn change(&mut self, birth: f64, death: f64, by: i64) {
        let (from, to) = if birth < death {
            (self.levels.partition_point(|t| *t < birth), self.levels.partition_point(|t| *t < death))
        } else {
            (self.levels.partition_point(|t| *t <= death), self.levels.partition_point(|t| *t <= birth))
        };
        self.steps[from] += by;
        self.steps[to] -= by;
    }

    /// Where it rises and falls, and by how much.
    pub(super) fn steps(&self) -> Vec<(u32, i64)> {
        (0..).zip(self.steps.iter().copied()).filter(|(_, step)| *step != 0).collect()
    }

    /// Adds the pairs of a curve that has these steps, so many times.
    pub(super) fn merge(&mut self, steps: &[(u32, i64)], times: i64) {
        steps.iter().for_each(|(at, step)| self.steps[*at as usize] += times * step);
    }
}

/// The greatest finite length as far as comings and goings tell it: when the longest pair leaves, the next one is
/// unknown, but no longer.
#[derive(Clone, Copy, Debug)]
struct Longest {
    at_most: f64,
    known: bool,
}

impl Default for Longest {
    fn default() -> Longest {
        Longest { at_most: f64::INFINITY, known: false }
    }
}

/// The statistics of a diagram that changes.
#[derive(Clone, Debug)]
pub struct Statistics {
    totals: Totals,
    betti: Option<BettiCurve>,
    longest: Cell<Longest>,
}

impl Statistics {
    /// Of the empty diagram. `power` is that of [`Summary::power_total`].
    pub fn new(power: u32, betti: Option<BettiCurve>) -> Statistics {
        Statistics { totals: Totals::new(power), betti, longest: Cell::new(Longest { at_most: 0.0, known: true }) }
    }

    /// What the diagram amounts to. O(1), but for `longest`: it is asked for the greatest finite length if that cannot
    /// be told from what came and went, because the longest pair left ([`super::window::Window::longest`]).
    #[inline]
    pub fn summary(&self, longest: impl FnOnce() -> f64) -> Summary {
        if !self.longest.get().known {
            self.longest.set(Longest { at_most: longest(), known: true });
        }
        self.totals.summary(self.longest.get().at_most)
    }

    /// A pair of this length enters, or else leaves.
    #[inline(never)]
    pub(super) fn change(&mut self, length: f64, enters: bool) {
        self.totals.change(length, if enters { 1 } else { -1 });
        let longest = self.longest.get_mut();
        if enters && length >= longest.at_most && length < f64::INFINITY {
            *longest = Longest { at_most: length, known: true };
        } else if !enters {
            longest.known &= length != longest.at_most;
        }
    }

    /// A pair enters, or else leaves.
    #[inline(always)]
    pub(super) fn change_pair(&mut self, birth: f64, death: f64, enters: bool) {
        self.change((death - birth).abs(), enters);
        if let Some(betti) = &mut self.betti {
            betti.change(birth, death, if enters { 1 } else { -1 });
        }
    }

    /// Many pairs enter and leave, or else, unless they `enter`, leave and enter: their lengths, and the steps that
    /// they make in the Betti curve if there is one.
    pub(super) fn change_many(&mut self, lengths: &Totals, steps: &[(u32, i64)], enter: bool) {
        if enter {
            self.totals.merge(lengths)
        } else {
            self.totals.take_out(lengths)
        }
        if let Some(betti) = &mut self.betti {
            betti.merge(steps, if enter { 1 } else { -1 });
        }
        self.longest.set(Longest::default());
    }

    /// The power of [`Summary::power_total`].
    #[inline]
    pub(super) fn power(&self) -> u32 {
        self.totals.power
    }

    /// The Betti curve, if it was asked for.
    #[inline]
    pub fn betti(&self) -> Option<&BettiCurve> {
        self.betti.as_ref()
    }

    /// Bytes that it holds beside its own struct.
    pub fn heap_bytes(&self) -> usize {
        let betti = self.betti.as_ref().map_or(0, |curve| 8 * (curve.levels.len() + curve.steps.capacity()));
        self.totals.heap_bytes() + betti
    }
}

impl Changes for Statistics {
    #[inline(always)]
    fn enter(&mut self, pair: Pair) {
        self.change_pair(pair.birth, pair.death, true);
    }

    #[inline(always)]
    fn leave(&mut self, pair: Pair) {
        self.change_pair(pair.birth, pair.death, false);
    }

    #[inline(always)]
    fn statistics(&mut self) -> Option<&mut Statistics> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers() {
        for (x, power, expected) in [(3.0, 0, 1.0), (3.0, 1, 3.0), (3.0, 2, 9.0), (-2.0, 3, -8.0), (2.0, 10, 1024.0)] {
            assert_eq!(raised(x, power), expected);
        }
    }

    #[test]
    fn of_a_few_pairs() {
        let pair = |birth, death| Pair { birth, death, born: 0, died: None };
        let mut statistics = Statistics::new(2, Some(BettiCurve::new(&[2.0, 0.0, 1.0, f64::NAN, 1.0])));
        assert_eq!(statistics.summary(|| 0.0), Summary::default());
        statistics.enter(pair(0.0, 1.0));
        statistics.enter(pair(0.5, f64::INFINITY));
        assert_eq!(statistics.summary(|| 1.0).entropy, 0.0);
        statistics.enter(pair(1.0, 2.0));
        statistics.enter(pair(2.0, 1.5));
        statistics.leave(pair(2.0, 1.5));
        let summary = statistics.summary(|| 1.0);
        assert_eq!((summary.count, summary.infinite, summary.total, summary.power_total), (2, 1, 2.0, 2.0));
        assert!((summary.entropy - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(statistics.betti().unwrap().values().collect::<Vec<_>>(), [1, 2, 1]);
        statistics.enter(pair(1.0, 0.0));
        assert_eq!(statistics.betti().unwrap().values().collect::<Vec<_>>(), [1, 3, 1]);
    }
}
