//! Sums over long staircases, made beforehand: how one value changes half a million pairs in microseconds.
//!
//! A staircase (`change.rs`) forgets where it began. Once the lowest and the highest value passed both lie within one
//! block, all before them lies between them and makes no further step: from there on the steps are those of the
//! block's own staircase, which begins at the block's near edge. So when a block is finished, the own staircases of
//! its two edges are followed once, and for each of its parts (blocks of the next smaller size) the sum over the steps
//! made within that part is kept. A walk that comes later goes into the first part that reaches beyond it, which is
//! enough to lie within the block, and takes the sums of the parts behind.
//!
//! Pairs that come and pairs that go are steps that fall and steps that rise, or the other way round, so one sum serves
//! both: that of the lengths that fall less that of those that rise. Sums are exact, and a change is the same number to
//! the bit, whether made of steps or of sums.
//!
//! A Betti curve is a sum too, one for each level: a pair adds 1 where it is alive. A pair of the superlevel sets is
//! alive at its upper end and not at its lower one, one of the sublevel sets the other way round, so each side has its
//! own.
//!
//! **Cost.** A part is kept only if its steps are many: each sum stands for more than 128 values, and a series
//! without long staircases has none. A walk makes at most that many steps in each part that has no sum, and looks into
//! O(log n) of them.

use std::collections::BTreeMap;

use super::change::{Seen, Staircase, Steps};
use super::index::{Block, Index};
use super::pair::{Filtration, outlives};
use super::statistics::{BettiCurve, Statistics, Totals};

/// A part of no more steps than this has no sum, and is walked through.
pub(super) const MANY: u64 = 128;

/// What the steps within a part of a block amount to, when the staircase begins at the block's near edge.
#[derive(Clone, Debug)]
struct Part {
    /// The lengths that fall less those that rise.
    totals: Totals,
    /// And the steps of their Betti curve: as pairs of the sublevel sets, and of the superlevel ones.
    curves: [Vec<(u32, i64)>; 2],
    count: u64,
    /// Whether the last step, not counted yet, falls.
    falls: bool,
}

/// The parts with many steps.
#[derive(Clone, Debug)]
pub(in super::super) struct Sums {
    power: u32,
    tolerance: f64,
    /// At the levels that are asked for, if any: of the sublevel sets, and of the superlevel ones.
    curves: [Option<BettiCurve>; 2],
    many: u64,
    /// By the position and the number of their values, and whether the walk leads to the left.
    parts: BTreeMap<(u64, u64, bool), Part>,
}

impl Sums {
    /// What such statistics sum up of the lengths above `tolerance`, over more than `many` steps each, for the blocks
    /// that the index has.
    pub(super) fn new(
        index: &Index,
        many: u64,
        (filtration, tolerance): (Filtration, f64),
        statistics: &Statistics,
    ) -> Sums {
        let sides = [filtration != Filtration::Superlevel, filtration != Filtration::Sublevel];
        let curves = sides.map(|side| statistics.betti().filter(|_| side).map(BettiCurve::cleared));
        let mut sums = Sums { power: statistics.power(), tolerance, curves, many, parts: BTreeMap::new() };
        let small = index.span(1);
        (index.range().start / small + 1..=index.range().end / small).for_each(|end| sums.finish(index, end * small));
        sums
    }

    /// Whether they are of what these statistics sum up.
    #[inline(always)]
    pub(super) fn fit(&self, statistics: &Statistics) -> bool {
        self.power == statistics.power() && statistics.betti().is_none_or(|betti| self.fit_curve(betti))
    }

    fn fit_curve(&self, betti: &BettiCurve) -> bool {
        self.curves.iter().flatten().next().is_some_and(|curve| betti.shares_levels(curve))
    }

    /// Makes the sums of the blocks that end before `tail`. Amortised O(1) for each value.
    #[inline(always)]
    pub(super) fn finish(&mut self, index: &Index, tail: u64) {
        if tail & (index.span(1) - 1) == 0 {
            self.finish_blocks(index, tail);
        }
    }

    fn finish_blocks(&mut self, index: &Index, tail: u64) {
        for level in 1.. {
            let (part, block) = (index.span(level), index.span(level + 1));
            if tail & (block - 1) != 0 || tail - block < index.range().start {
                return;
            }
            if part > self.many {
                let parts = (0..block / part).map(|number| tail - block + number * part);
                self.follow::<true>(index, part, parts.clone().rev());
                self.follow::<false>(index, part, parts);
            }
        }
    }

    /// Follows the own staircase of a block from part to part.
    fn follow<const BACK: bool>(&mut self, index: &Index, span: u64, mut parts: impl Iterator<Item = u64>) {
        let Some(start) = parts.next() else { return };
        let stretch = index.stretch(start..start + span);
        let low = index.find::<false>(start..start + span, |part| part.low == stretch.low);
        let high = index.find::<true>(start..start + span, |part| part.high == stretch.high);
        let mut stairs = Staircase::<false, BACK>::over(&Block { start, span, stretch }, (low < high) == BACK);
        for start in parts {
            let curves = self.curves.clone();
            let mut made = Made { sums: self, index, totals: Totals::new(self.power), curves, count: 0 };
            stairs.walk(index, start..start + span, None, &mut made);
            stairs.make_due(&mut made);
            let Made { totals, curves, count, .. } = made;
            if count > self.many {
                let curves = curves.map(|curve| curve.map_or_else(Vec::new, |curve| curve.steps()));
                self.parts.insert((start, span, BACK), Part { totals, curves, count, falls: stairs.falls() });
            }
        }
    }

    /// Forgets what begins before `head`.
    #[inline(always)]
    pub(super) fn forget(&mut self, head: u64) {
        while self.parts.first_key_value().is_some_and(|((start, ..), _)| *start < head) {
            self.parts.pop_first();
        }
    }

    /// The sum over the steps in `part` when a walk with this staircase comes to it.
    #[inline(never)]
    fn part<const SUPER: bool, const BACK: bool>(
        &self,
        index: &Index,
        stairs: Staircase<SUPER, BACK>,
        part: Block,
    ) -> Option<&Part> {
        if part.span <= self.many || self.parts.is_empty() {
            return None;
        }
        let block = index.around(&part);
        let whole = if BACK { block.end <= stairs.origin + 1 } else { block.start >= stairs.origin };
        if whole && block.contains(&stairs.record.start) && block.contains(&stairs.highest().start) {
            self.parts.get(&(part.start, part.span, BACK))
        } else {
            None
        }
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        // A node of the map has room for 11 entries, and at least half of it is in use.
        let inside = |part: &Part| {
            let steps = part.curves.iter().map(Vec::capacity).sum::<usize>();
            part.totals.heap_bytes() + steps * size_of::<(u32, i64)>()
        };
        self.parts.values().map(|part| 2 * size_of::<((u64, u64, bool), Part)>() + inside(part)).sum()
    }
}

/// The steps of a part that has no sum yet.
struct Made<'a> {
    sums: &'a Sums,
    index: &'a Index,
    totals: Totals,
    curves: [Option<BettiCurve>; 2],
    count: u64,
}

impl Steps for Made<'_> {
    fn step(&mut self, birth: Seen, death: Seen, with: bool) {
        self.count += 1;
        let ([birth, death], sign) = ([birth.value, death.value], if with { 1 } else { -1 });
        if !outlives(birth, death, self.sums.tolerance) {
            return;
        }
        self.totals.change(death - birth, sign);
        let [below, above] = &mut self.curves;
        below.iter_mut().for_each(|curve| curve.change(birth, death, sign));
        above.iter_mut().for_each(|curve| curve.change(death, birth, sign));
    }

    fn within<const SUPER: bool, const BACK: bool>(
        &mut self,
        stairs: Staircase<SUPER, BACK>,
        block: Block,
    ) -> Option<bool> {
        let part = self.sums.part(self.index, stairs, block)?;
        self.totals.merge(&part.totals);
        for (curve, steps) in self.curves.iter_mut().zip(&part.curves) {
            curve.iter_mut().for_each(|curve| curve.merge(steps, 1));
        }
        self.count += part.count;
        Some(part.falls)
    }
}

/// Statistics that follow the changes as a value enters, or else leaves.
pub(super) struct Summed<'a> {
    pub sums: Option<&'a Sums>,
    pub index: &'a Index,
    pub tolerance: f64,
    pub enters: bool,
    pub statistics: &'a mut Statistics,
}

impl Steps for Summed<'_> {
    #[inline(always)]
    fn step(&mut self, birth: Seen, death: Seen, with: bool) {
        if outlives(birth.value, death.value, self.tolerance) {
            self.statistics.change_pair(birth.value, death.value, with == self.enters);
        }
    }

    #[inline(always)]
    fn within<const SUPER: bool, const BACK: bool>(
        &mut self,
        stairs: Staircase<SUPER, BACK>,
        block: Block,
    ) -> Option<bool> {
        let part = self.sums?.part(self.index, stairs, block)?;
        // What falls is there with the new value, or else, upside down, without it.
        self.statistics.change_many(&part.totals, &part.curves[usize::from(SUPER)], self.enters != SUPER);
        Some(part.falls)
    }
}
