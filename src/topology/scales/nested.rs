//! Windows of one series that end together: what a record changes is found once for all of them.
//!
//! A value that enters is the newest of every window; one that is the oldest of a window was, or will be, the oldest of
//! each. [`crate::topology::series`] finds what it changes by a walk from that end of the window inwards, as far as the
//! first value that is lower (higher, for superlevel sets): of what lies behind, nothing is known, and nothing matters.
//! **So a walk that ends in the shortest window is that of every window**, and what it found is what changes in each:
//!
//! - When a value enters, the shortest window tells what changes, and this is counted once, in the sums that all
//!   windows have in `common`.
//! - When a value leaves the shortest window, what changes is counted in that window's own sums, and remembered until
//!   the value leaves the longer ones, whose sums it then changes alike.
//!
//! A walk that ends nowhere makes the value the lowest of the window, so that its component never dies there. Then the
//! next longer window is asked, and so on; of one that leaves, each for itself. Extended persistence, in which the
//! lowest and the highest value are a pair, is not shared.
//!
//! Sums are exact, so the sum of `common` and `own` has the bits of one that was kept for the window alone (`sums.rs`).
//!
//! **Cost.** That of one window, and for each further one about 20 ns: eight windows that are asked at every value cost
//! twice as much as one. The windows are stretches of one index, 9.2 bytes a value of the longest one; to remember what
//! changes takes 1 byte a value, and 96 a value that changes something (half of them, in noise).

use std::collections::VecDeque;

use super::sums::{Grid, Short, Sums, Wanted};
use crate::stats::elementary::ln;
use crate::topology::series::index::{Index, SHIFTS};
use crate::topology::series::pair::{Changes, Filtration, Pair};
use crate::topology::series::statistics::Summary;
use crate::topology::series::view::View;

/// For how many values of a window room is made before they come.
const ROOM_MAX: usize = 1 << 16;

/// Windows of several lengths over the newest values of a series.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    filtration: Filtration,
    wanted: Wanted,
    /// The values of the longest window, of which each other is a stretch.
    index: Index,
    /// The shortest first, each of another length.
    nests: Vec<Nest>,
    common: Sums,
    told: Told,
    remembered: Remembered,
    /// Those of the nests, and their statistics.
    lengths: Vec<usize>,
    summaries: Vec<Summary>,
    summarised: bool,
}

#[derive(Clone, Debug)]
struct Nest {
    length: usize,
    view: View,
    own: Sums,
    longest: Longest,
    /// How many remembered steps it has counted, of all that there ever were.
    counted: u64,
}

impl Nested {
    /// Windows of these lengths, each at least 1.
    pub(super) fn new(filtration: Filtration, wanted: Wanted, lengths: impl IntoIterator<Item = usize>) -> Nested {
        let mut lengths: Vec<usize> = lengths.into_iter().collect();
        lengths.sort_unstable();
        lengths.dedup();
        let nest = |length: usize| Nest {
            length,
            view: View::new(filtration, 0.0),
            own: Sums::default(),
            longest: Longest { at_most: 0.0, known: true },
            counted: 0,
        };
        Nested {
            filtration,
            wanted,
            index: Index::new(lengths.last().map_or(0, |length| *length.min(&ROOM_MAX)), SHIFTS),
            summaries: vec![Summary::default(); lengths.len()],
            summarised: true,
            nests: lengths.iter().copied().map(nest).collect(),
            lengths,
            common: Sums::default(),
            told: Told { wanted, ..Told::default() },
            remembered: Remembered::default(),
        }
    }

    /// Adds a value, which is not NaN; those that are out of reach now leave.
    pub(super) fn push(&mut self, value: f64) {
        self.summarised = false;
        self.enter(value);
        self.leave();
        if self.wanted.longest {
            for nest in self.nests.iter_mut().filter(|nest| !nest.longest.known) {
                nest.longest = Longest { at_most: nest.view.longest(&self.index), known: true };
            }
        }
    }

    /// Brings the summaries up to date. One kind of number after the other, so that the machine need not wait for one
    /// to begin with the next.
    pub(super) fn summarise(&mut self) {
        if std::mem::replace(&mut self.summarised, true) {
            return;
        }
        let (common, wanted, grid) = (&self.common, self.wanted, self.told.grid.unwrap_or_default());
        for (nest, summary) in self.nests.iter().zip(&mut self.summaries) {
            *summary = common.summary(&nest.own, grid, wanted);
            if wanted.longest {
                summary.longest = nest.longest.at_most;
            }
        }
        if wanted.entropy {
            for summary in &mut self.summaries {
                // One bar of any length has no entropy; rounding must not make it negative.
                let entropy = ln(summary.total) - summary.entropy / summary.total;
                summary.entropy = if summary.count <= 1 { 0.0 } else { entropy };
            }
        }
    }

    /// The statistics of the window of this length, as they were when brought up to date; 0 where they are not wanted.
    #[inline]
    pub(super) fn summary(&self, length: usize) -> Summary {
        let place = self.lengths.iter().position(|other| *other == length);
        place.map(|place| self.summaries[place]).unwrap_or_default()
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        let nests: usize = self.nests.iter().map(|nest| nest.view.heap_bytes() + nest.own.heap_bytes()).sum();
        let Remembered { kinds, steps, .. } = &self.remembered;
        let remembered = steps.capacity() * size_of::<Step>() + kinds.capacity() * size_of::<Kind>();
        let others = self.told.others.capacity() * size_of::<f64>() + self.common.heap_bytes();
        self.index.heap_bytes() + nests + self.nests.capacity() * size_of::<Nest>() + remembered + others
    }

    /// What the value changes as it enters: found in the shortest window in which the walk ends.
    fn enter(&mut self, value: f64) {
        // The sum of -0.0 and 0.0 is 0.0.
        let (value, count, mut from) = (value + 0.0, self.nests.len(), 0);
        let Some(farthest) = self.nests.last().map(|last| last.view.head()) else { return };
        while let Some(nest) = self.nests.get_mut(from) {
            self.told.clear(self.index.range().end);
            nest.view.enter(&self.index, None, value, &mut self.told);
            let shared = self.filtration != Filtration::Extended && !self.told.lowest;
            // Also shared where all that are longer hold the same values.
            if shared || (nest.view.head() == farthest && from + 1 < count) {
                break;
            }
            nest.count(&self.told);
            from += 1;
        }
        let (alone, together) = self.nests.split_at_mut(from);
        if let [first, others @ ..] = together {
            self.common.count::<false>(&self.told.step.change, &self.told.others);
            // They have counted their own, and what is common now is not.
            alone.iter_mut().for_each(|nest| nest.own.count::<true>(&self.told.step.change, &self.told.others));
            first.longest.hear(&self.told.step);
            for nest in others {
                nest.view.enter(&self.index, None, value, &mut ());
                nest.longest.hear(&self.told.step);
            }
        }
        self.index.push(value);
    }

    /// What the oldest values change as they leave: found in the shortest window, remembered for the longer ones.
    fn leave(&mut self) {
        let count = self.nests.len();
        for (number, nest) in self.nests.iter_mut().enumerate() {
            let position = nest.view.head();
            if self.index.range().end - position <= nest.length as u64 {
                return;
            }
            let last = number + 1 == count;
            let value = if last { self.index.evict() } else { Some(self.index.value(position)) };
            let Some(value) = value else { return };
            let kind = if number > 0 { self.remembered.kind(position) } else { Kind::Ask };
            match kind {
                Kind::Ask => {
                    self.told.clear(position);
                    nest.view.leave(&self.index, None, value, &mut self.told);
                    nest.count(&self.told);
                    if number == 0 && !last {
                        self.remembered.push(&self.told, self.filtration);
                    }
                }
                Kind::Step | Kind::Nothing => {
                    nest.view.leave(&self.index, None, value, &mut ());
                    if kind == Kind::Step {
                        let step = self.remembered.step(nest.counted);
                        nest.counted += 1;
                        nest.own.add(&step.change);
                        nest.longest.hear(step);
                    }
                }
            }
        }
        if count > 1 {
            self.remembered.forget();
        }
    }
}

impl Nest {
    /// Counts what its own window has told.
    fn count(&mut self, told: &Told) {
        self.own.count::<false>(&told.step.change, &told.others);
        self.longest.hear(&told.step);
    }
}

/// What a step of one window changes.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    change: Short,
    /// The greatest finite length that left, and that entered; below 0 where there was none.
    left: f64,
    entered: f64,
}

/// Hears what a step changes.
#[derive(Clone, Debug, Default)]
struct Told {
    wanted: Wanted,
    /// Chosen with the first finite length.
    grid: Option<Grid>,
    /// Where the step was made.
    position: u64,
    /// Whether the value is, or was, the lowest of the window.
    lowest: bool,
    /// Whether anything changes.
    heard: bool,
    step: Step,
    /// The lengths that are off the grid, and so not in the step: negative where they leave.
    others: Vec<f64>,
}

impl Told {
    fn clear(&mut self, position: u64) {
        self.others.clear();
        (self.position, self.lowest, self.heard) = (position, false, false);
        self.step = Step { left: -1.0, entered: -1.0, ..Step::default() };
    }

    #[inline(always)]
    fn hear<const ENTERS: bool>(&mut self, pair: Pair) {
        let (length, by) = (pair.persistence(), if ENTERS { 1 } else { -1 });
        self.heard = true;
        self.lowest |= pair.died.is_none() && pair.born == self.position;
        if length == f64::INFINITY {
            self.step.change.infinite += by;
            return;
        }
        let greatest = if ENTERS { &mut self.step.entered } else { &mut self.step.left };
        *greatest = greatest.max(length);
        self.step.change.count += by;
        let grid = *self.grid.get_or_insert_with(|| Grid::for_lengths_like(length));
        match grid.numbers(length, self.wanted) {
            Some(numbers) => self.step.change.add_numbers(&numbers, i128::from(by)),
            None => self.others.push(if ENTERS { length } else { -length }),
        }
    }
}

impl Changes for Told {
    #[inline(always)]
    fn enter(&mut self, pair: Pair) {
        self.hear::<true>(pair);
    }

    #[inline(always)]
    fn leave(&mut self, pair: Pair) {
        self.hear::<false>(pair);
    }
}

/// What changed as values left the shortest window, until they have left the longest.
#[derive(Clone, Debug, Default)]
struct Remembered {
    /// Position of the oldest value that is remembered.
    first: u64,
    kinds: VecDeque<Kind>,
    /// Of the values that have changed something.
    steps: VecDeque<Step>,
    /// How many steps have been forgotten.
    forgotten: u64,
}

/// What is remembered of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Step,
    /// Longer windows have to be asked.
    Ask,
}

impl Remembered {
    /// Of the value after the last one.
    #[inline(always)]
    fn push(&mut self, told: &Told, filtration: Filtration) {
        let kind = match told.heard {
            _ if told.lowest || filtration == Filtration::Extended || !told.others.is_empty() => Kind::Ask,
            true => Kind::Step,
            false => Kind::Nothing,
        };
        self.kinds.push_back(kind);
        if kind == Kind::Step {
            self.steps.push_back(told.step);
        }
    }

    #[inline(always)]
    fn kind(&self, position: u64) -> Kind {
        self.kinds[(position - self.first) as usize]
    }

    #[inline(always)]
    fn step(&self, number: u64) -> &Step {
        &self.steps[(number - self.forgotten) as usize]
    }

    /// Forgets the oldest value.
    fn forget(&mut self) {
        if self.kinds.pop_front() == Some(Kind::Step) {
            self.steps.pop_front();
            self.forgotten += 1;
        }
        self.first += 1;
    }
}

/// The greatest finite length as far as changes tell it: when the longest pair leaves, the next one is unknown, but no
/// longer.
#[derive(Clone, Copy, Debug)]
struct Longest {
    at_most: f64,
    known: bool,
}

impl Longest {
    #[inline(always)]
    fn hear(&mut self, step: &Step) {
        self.known &= step.left != self.at_most;
        if step.entered >= self.at_most {
            *self = Longest { at_most: step.entered, known: true };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use crate::topology::series::statistics::Statistics;
    use crate::topology::series::window::Window;

    /// Noise, grids with ties, decaying oscillations, lengths on and off the grid, infinite values, any bits at all.
    fn value(kind: u64, at: u64, random: &mut Random) -> f64 {
        let noise = random.normal();
        match kind {
            0 => noise,
            1 => noise.round(),
            2 => (1 + at % 64) as f64 * if at.is_multiple_of(2) { 0.0625 } else { -0.0625 } - (at / 64) as f64,
            3 => noise * 2_f64.powi(random.pick(200) as i32 - 100),
            4 => [f64::INFINITY, f64::NEG_INFINITY, -0.0].get(random.pick(30) as usize).copied().unwrap_or(noise),
            5 => noise * 1e300,
            6 => noise * 1e-300,
            _ => Some(f64::from_bits(random.next_u64())).filter(|value| !value.is_nan()).unwrap_or(noise),
        }
    }

    /// Against a window and statistics for each length alone, to the bit.
    fn check(seed: u64) {
        let mut random = Random::new(seed);
        let filtration = [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended][seed as usize % 3];
        let wanted = Wanted { squares: seed.is_multiple_of(2), entropy: true, longest: true };
        let lengths: Vec<usize> = (0..1 + random.pick(5)).map(|_| 1 + random.pick(150) as usize).collect();
        let mut nested = Nested::new(filtration, wanted, lengths.iter().copied());
        let alone = |length: &usize| (*length, Window::new(filtration, 0.0), Statistics::new(2, None));
        let mut alone: Vec<(usize, Window, Statistics)> = lengths.iter().map(alone).collect();
        for at in 0..600 {
            let value = value(seed / 3 % 8, at, &mut random);
            nested.push(value);
            nested.summarise();
            for (length, window, statistics) in &mut alone {
                window.push(value, statistics);
                if window.len() > *length {
                    window.evict(statistics);
                }
                let expected = statistics.summary(|| window.longest());
                let found = nested.summary(*length);
                let bits = |summary: Summary| {
                    let floats = [summary.total, summary.longest, summary.entropy].map(f64::to_bits);
                    (summary.count, summary.infinite, floats)
                };
                assert_eq!(bits(found), bits(expected), "seed {seed} at {at}, {length} of {lengths:?}");
                let squares = if wanted.squares { expected.power_total } else { found.power_total };
                assert_eq!(found.power_total.to_bits(), squares.to_bits(), "seed {seed} at {at}, {length}");
            }
        }
    }

    #[test]
    fn each_window_has_the_sums_that_it_has_alone() {
        (0..240).for_each(check);
    }
}
