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
//! Sums are exact, so the sum of `common` and `own` has the bits of one that was kept for the window alone.
//!
//! **Cost.** That of one window, and for each further one a few additions and the reading of its sums: eight windows
//! that are asked at every value cost about three times as much as one. 8.5 bytes a value in each window, and about 20
//! a value of the longest one to remember what changes.

use std::collections::VecDeque;

use crate::stats::elementary::ln;
use crate::topology::exact::ExactSum;
use crate::topology::series::pair::{Changes, Filtration, Pair};
use crate::topology::series::statistics::Summary;
use crate::topology::series::window::Window;

/// For how many values of a window room is made before they come.
const ROOM_MAX: usize = 1 << 16;

/// Which of the sums that cost something are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub squares: bool,
    pub entropy: bool,
    pub longest: bool,
}

/// Windows of several lengths over the newest values of a series.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    filtration: Filtration,
    wanted: Wanted,
    /// The shortest first, each of another length.
    nests: Vec<Nest>,
    common: Sums,
    told: Told,
    remembered: Remembered,
    summaries: Vec<Summary>,
    summarised: bool,
}

#[derive(Clone, Debug)]
struct Nest {
    length: usize,
    window: Window,
    own: Sums,
    longest: Longest,
    /// How many remembered changes it has counted, of all that there ever were.
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
            window: Window::with_capacity(filtration, 0.0, length.min(ROOM_MAX)),
            own: Sums::default(),
            longest: Longest { at_most: 0.0, known: true },
            counted: 0,
        };
        Nested {
            filtration,
            wanted,
            summaries: vec![Summary::default(); lengths.len()],
            summarised: true,
            nests: lengths.into_iter().map(nest).collect(),
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
                nest.longest = Longest { at_most: nest.window.longest(), known: true };
            }
        }
    }

    /// Brings the summaries up to date. One kind of number after the other, so that the machine need not wait for one
    /// to begin with the next.
    pub(super) fn summarise(&mut self) {
        if std::mem::replace(&mut self.summarised, true) {
            return;
        }
        let (common, wanted) = (&self.common, self.wanted);
        for (nest, summary) in self.nests.iter().zip(&mut self.summaries) {
            summary.count = (common.count + nest.own.count) as u64;
            summary.infinite = (common.infinite + nest.own.infinite) as u64;
            summary.total = common.total.value_with(&nest.own.total);
            if wanted.squares {
                summary.power_total = common.squares.value_with(&nest.own.squares);
            }
            if wanted.longest {
                summary.longest = nest.longest.at_most;
            }
        }
        if wanted.entropy {
            for (nest, summary) in self.nests.iter().zip(&mut self.summaries) {
                summary.entropy = common.weighted.value_with(&nest.own.weighted);
            }
            for summary in &mut self.summaries {
                // One bar of any length has no entropy; rounding must not make it negative.
                let entropy = ln(summary.total) - summary.entropy / summary.total;
                summary.entropy = if summary.count <= 1 { 0.0 } else { entropy };
            }
        }
    }

    /// The statistics of the window of this length, as they were when brought up to date; 0 where they are not wanted.
    pub(super) fn summary(&self, length: usize) -> Summary {
        let place = self.nests.binary_search_by_key(&length, |nest| nest.length);
        place.map(|place| self.summaries[place]).unwrap_or_default()
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        let nests: usize = self.nests.iter().map(|nest| nest.window.heap_bytes() + nest.own.heap_bytes()).sum();
        let Remembered { changes, counts, .. } = &self.remembered;
        let remembered = changes.capacity() * size_of::<Change>() + counts.capacity() * size_of::<u32>();
        nests + self.nests.capacity() * size_of::<Nest>() + remembered + self.common.heap_bytes()
    }

    fn enter(&mut self, value: f64) {
        let Some(last) = self.nests.last() else { return };
        let (farthest, count, mut from) = (last.window.head(), self.nests.len(), 0);
        loop {
            let Some(nest) = self.nests.get_mut(from) else { return };
            self.told.clear(nest.window.tail());
            nest.window.push(value, &mut self.told);
            let shared = self.filtration != Filtration::Extended && !self.told.lowest;
            // Also shared where all that are longer hold the same values.
            if shared || (nest.window.head() == farthest && from + 1 < count) {
                break;
            }
            nest.count(&self.told, self.wanted);
            from += 1;
        }
        self.told.changes.iter().for_each(|change| self.common.count::<false>(*change, self.wanted));
        for (index, nest) in self.nests.iter_mut().enumerate() {
            if index < from {
                // It has counted its own, and what is common now is not.
                self.told.changes.iter().for_each(|change| nest.own.count::<true>(*change, self.wanted));
                continue;
            }
            if index > from {
                nest.window.push(value, &mut ());
            }
            nest.longest.hear(self.told.left, self.told.entered);
        }
    }

    fn leave(&mut self) {
        let alone = self.nests.len() == 1;
        for (index, nest) in self.nests.iter_mut().enumerate() {
            if nest.window.len() <= nest.length {
                return;
            }
            let position = nest.window.head();
            let known = if index > 0 { self.remembered.count(position) } else { None };
            if let Some(count) = known {
                nest.window.evict(&mut ());
                for change in self.remembered.range(nest.counted, count) {
                    nest.own.count::<false>(change, self.wanted);
                    nest.longest.hear(-change.length, change.length);
                }
                nest.counted += u64::from(count);
                continue;
            }
            self.told.clear(position);
            nest.window.evict(&mut self.told);
            nest.count(&self.told, self.wanted);
            if index == 0 && !alone {
                self.remembered.push(&self.told, self.filtration);
            }
        }
        // All windows are full, so the longest has just counted what there is of the oldest.
        if let Some(last) = self.nests.last().filter(|_| !alone) {
            self.remembered.forget(last.window.head(), last.counted);
        }
    }
}

impl Nest {
    /// Counts what its own window has told.
    fn count(&mut self, told: &Told, wanted: Wanted) {
        told.changes.iter().for_each(|change| self.own.count::<false>(*change, wanted));
        self.longest.hear(told.left, told.entered);
    }
}

/// A pair that enters, or that leaves.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// How long it lives; negative where it leaves.
    length: f64,
    /// Its length times the logarithm of that, if entropy is wanted.
    weighted: f64,
}

/// What the step of one window has changed.
#[derive(Clone, Debug, Default)]
struct Told {
    wanted: Wanted,
    /// Where the step was made.
    position: u64,
    /// Whether the value is, or was, the lowest of the window.
    lowest: bool,
    changes: Vec<Change>,
    /// The greatest finite length that left, and that entered; below 0 where there was none.
    left: f64,
    entered: f64,
}

impl Told {
    fn clear(&mut self, position: u64) {
        self.changes.clear();
        (self.position, self.lowest, self.left, self.entered) = (position, false, -1.0, -1.0);
    }

    #[inline(always)]
    fn hear<const ENTERS: bool>(&mut self, pair: Pair) {
        let length = pair.persistence();
        self.lowest |= pair.died.is_none() && pair.born == self.position;
        let greatest = if ENTERS { &mut self.entered } else { &mut self.left };
        if length > *greatest && length < f64::INFINITY {
            *greatest = length;
        }
        let weighted = if self.wanted.entropy { length * ln(length) } else { 0.0 };
        self.changes.push(Change { length: if ENTERS { length } else { -length }, weighted });
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
    /// How many changes each value made; [`ASK`] where the longer windows have to be asked.
    counts: VecDeque<u32>,
    changes: VecDeque<Change>,
    /// How many changes have been forgotten.
    forgotten: u64,
}

/// More changes than a value can make.
const ASK: u32 = u32::MAX;

impl Remembered {
    /// Of the value after the last one.
    #[inline]
    fn push(&mut self, told: &Told, filtration: Filtration) {
        if told.lowest || filtration == Filtration::Extended {
            self.counts.push_back(ASK);
            return;
        }
        self.counts.push_back(told.changes.len() as u32);
        self.changes.extend(&told.changes);
    }

    /// How many changes the value at a position made, if longer windows need not be asked.
    #[inline]
    fn count(&self, position: u64) -> Option<u32> {
        let count = self.counts.get((position - self.first) as usize).copied();
        count.filter(|count| *count != ASK)
    }

    /// So many changes, from the one of this number on.
    #[inline]
    fn range(&self, from: u64, count: u32) -> impl Iterator<Item = Change> {
        let from = (from - self.forgotten) as usize;
        (from..from + count as usize).map(|index| self.changes[index])
    }

    /// Forgets the values before a position, and the changes before the one of this number.
    fn forget(&mut self, position: u64, number: u64) {
        while self.first < position && self.counts.pop_front().is_some() {
            self.first += 1;
        }
        while self.forgotten < number && self.changes.pop_front().is_some() {
            self.forgotten += 1;
        }
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
    /// Hears the greatest length that left and the greatest that entered, below 0 where there is none.
    #[inline(always)]
    fn hear(&mut self, left: f64, entered: f64) {
        self.known &= left != self.at_most;
        if entered >= self.at_most && entered < f64::INFINITY {
            *self = Longest { at_most: entered, known: true };
        }
    }
}

/// Sums over the pairs of a diagram, or what is to be added to such sums.
#[derive(Clone, Debug, Default)]
struct Sums {
    count: i64,
    infinite: i64,
    total: ExactSum,
    squares: ExactSum,
    weighted: ExactSum,
}

impl Sums {
    /// Counts a change, or else counts it `BACK`.
    #[inline(always)]
    fn count<const BACK: bool>(&mut self, change: Change, wanted: Wanted) {
        let (length, out) = (change.length.abs(), (change.length < 0.0) != BACK);
        let by = if out { -1 } else { 1 };
        if length == f64::INFINITY {
            self.infinite += by;
            return;
        }
        self.count += by;
        self.total.change(length, by);
        if wanted.squares {
            self.squares.change(length * length, by);
        }
        if wanted.entropy {
            self.weighted.change(change.weighted, by);
        }
    }

    fn heap_bytes(&self) -> usize {
        self.total.heap_bytes() + self.squares.heap_bytes() + self.weighted.heap_bytes()
    }
}
