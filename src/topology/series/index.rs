//! An index of the values of a window: what a stretch of them reaches, and where.
//!
//! Blocks of 32 values, blocks of 8 such blocks, and so on; each begins at a multiple of its size and knows its
//! [`Stretch`]: lowest and highest value, greatest rise and greatest fall. A stretch of the series is made of O(log n)
//! parts: at most 31 values and 7 blocks of each size at either end. A finished block never changes, whatever enters
//! and leaves around it, so there is nothing to rebuild: a value that enters costs one fold for each block that it
//! finishes, a value that leaves costs nothing but the blocks that it leaves behind. What all blocks in a row amount to
//! is known too, so that most walks through the whole window end after a look at the values beside them. 1.15 bytes a
//! value.

use std::collections::VecDeque;
use std::ops::Range;

use super::residue::Point;

/// Values of the smallest block and blocks of a larger one, as powers of two.
pub(in super::super) const SHIFTS: [u32; 2] = [5, 3];

/// What a stretch of values without infinite ones amounts to. (Of one with infinite values only the first two fields
/// mean anything.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub low: f64,
    pub high: f64,
    /// The most by which a value lies above an earlier one.
    pub rise: f64,
    /// The most by which a value lies below an earlier one.
    pub fall: f64,
}

impl Stretch {
    /// No values.
    pub(super) const EMPTY: Stretch = Stretch { low: f64::INFINITY, high: f64::NEG_INFINITY, rise: 0.0, fall: 0.0 };

    #[inline(always)]
    fn of(value: f64) -> Stretch {
        Stretch { low: value, high: value, rise: 0.0, fall: 0.0 }
    }

    /// This one and then another: associative.
    #[inline(always)]
    pub(super) fn then(self, later: Stretch) -> Stretch {
        // A difference of equal infinities is no number, and not taken.
        let max = |a: f64, b: f64| if b > a { b } else { a };
        Stretch {
            low: if later.low < self.low { later.low } else { self.low },
            high: max(self.high, later.high),
            rise: max(max(self.rise, later.rise), later.high - self.low),
            fall: max(max(self.fall, later.fall), self.high - later.low),
        }
    }
}

/// Values that stand in a row: one of them, or a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Position of the first.
    pub start: u64,
    /// How many there are.
    pub span: u64,
    pub stretch: Stretch,
}

impl Block {
    /// A value.
    #[inline(always)]
    pub(super) fn of(point: Point) -> Block {
        Block { start: point.position, span: 1, stretch: Stretch::of(point.value) }
    }
}

/// What to do after a look at a block.
pub(super) enum Next {
    /// Go on behind it.
    Behind,
    /// Look at its parts.
    Into,
    /// Stop.
    Stop,
}

/// The blocks of one size.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Number of the first block that is kept, which begins at `number * span`.
    first: u64,
    blocks: VecDeque<Stretch>,
}

/// The values of a window, the oldest at position `head`, and the blocks in it.
#[derive(Clone, Debug)]
pub(in super::super) struct Index {
    head: u64,
    values: VecDeque<f64>,
    /// From the smallest blocks.
    levels: Vec<Level>,
    /// All of the smallest blocks in a row.
    middle: Block,
    shifts: [u32; 2],
}

impl Index {
    /// Without values, and with room for `count`.
    pub(in super::super) fn new(count: usize, shifts: [u32; 2]) -> Index {
        let (values, middle) = (VecDeque::with_capacity(count), Block { start: 0, span: 0, stretch: Stretch::EMPTY });
        Index { head: 0, values, levels: Vec::new(), middle, shifts }
    }

    /// The positions of the values.
    #[inline(always)]
    pub(in super::super) fn range(&self) -> Range<u64> {
        self.head..self.head + self.values.len() as u64
    }

    pub(super) fn values(&self) -> &VecDeque<f64> {
        &self.values
    }

    /// The value at a position in the range.
    #[inline(always)]
    pub(in super::super) fn value(&self, position: u64) -> f64 {
        self.values[(position - self.head) as usize]
    }

    /// Begins at another position; there are no values yet.
    pub(super) fn begin(&mut self, head: u64) {
        self.head = head;
    }

    /// Adds a value, which is not NaN, at the right end.
    #[inline(always)]
    pub(in super::super) fn push(&mut self, value: f64) {
        self.values.push_back(value);
        let tail = self.range().end;
        if tail & ((1 << self.shifts[0]) - 1) == 0 {
            self.finish(tail);
        }
    }

    /// Removes the value at the left end.
    #[inline(always)]
    pub(in super::super) fn evict(&mut self) -> Option<f64> {
        let value = self.values.pop_front()?;
        self.head += 1;
        if (self.head - 1) & ((1 << self.shifts[0]) - 1) == 0 {
            self.forget();
        }
        Some(value)
    }

    /// Finishes the blocks that end at `tail`. (One that began before the window did is never looked at.)
    #[inline(never)]
    fn finish(&mut self, tail: u64) {
        let fold = |all: Stretch, one: Stretch| all.then(one);
        let count = self.values.len().min(1 << self.shifts[0]);
        let mut stretch =
            self.values.range(self.values.len() - count..).fold(Stretch::EMPTY, |all, x| fold(all, Stretch::of(*x)));
        if count == 1 << self.shifts[0] {
            let Block { start, span, stretch: others } = self.middle;
            let start = if span == 0 { tail - count as u64 } else { start };
            self.middle = Block { start, span: span + count as u64, stretch: others.then(stretch) };
        }
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let span = self.span(level + 1);
            let Level { first, blocks } = &mut self.levels[level];
            if blocks.is_empty() {
                *first = tail / span - 1;
            }
            blocks.push_back(stretch);
            if tail & (self.span(level + 2) - 1) != 0 {
                return;
            }
            let blocks = &self.levels[level].blocks;
            let count = blocks.len().min(1 << self.shifts[1]);
            stretch = blocks.range(blocks.len() - count..).copied().fold(Stretch::EMPTY, fold);
        }
    }

    /// Forgets the blocks of which a value has left.
    #[inline(never)]
    fn forget(&mut self) {
        for level in 0..self.levels.len() {
            let span = self.span(level + 1);
            let Level { first, blocks } = &mut self.levels[level];
            while !blocks.is_empty() && *first * span < self.head {
                blocks.pop_front();
                *first += 1;
            }
        }
        let (end, span) = (self.middle.start + self.middle.span, self.span(1));
        let start = self.head.next_multiple_of(span).min(end);
        self.middle.span = 0;
        self.middle = Block { start, span: end - start, stretch: self.stretch(start..end) };
    }

    /// Values of a block: of level 0 those of a value, of level 1 those of the smallest block.
    #[inline(always)]
    pub(super) fn span(&self, level: usize) -> u64 {
        1 << self.shift(level)
    }

    #[inline(always)]
    fn shift(&self, level: usize) -> u32 {
        if level == 0 { 0 } else { self.shifts[0] + (level as u32 - 1) * self.shifts[1] }
    }

    /// The positions of the block of the next larger size that a block is a part of.
    #[inline(always)]
    pub(super) fn around(&self, part: &Block) -> Range<u64> {
        let span = part.span << self.shifts[1];
        let start = part.start & !(span - 1);
        start..start + span
    }

    /// Looks at the values of `range` from its left end, or else `BACK` from its right end, in blocks as large as fit,
    /// and goes where `look` says. O(log n) and O(1) for each look into a block and for each value of one of the
    /// smallest.
    #[inline(always)]
    pub(super) fn walk<const BACK: bool>(&self, mut range: Range<u64>, mut look: impl FnMut(Block) -> Next) {
        let (small, top) = (self.span(1) - 1, self.levels.len() + 1);
        let edge = if BACK { self.middle.start + self.middle.span } else { self.middle.start };
        let (mut level, mut whole) = (0, self.middle.span > 0);
        while !range.is_empty() {
            let (at, room) = (if BACK { range.end } else { range.start }, range.end - range.start);
            if at & small == 0 {
                level =
                    if whole && at == edge && self.middle.span <= room { top } else { self.largest(level, at, room) };
            }
            loop {
                #[cfg(test)]
                steps::count();
                let block = if level == top { self.middle } else { self.block(level, at, BACK) };
                match look(block) {
                    Next::Behind if BACK => range.end = block.start,
                    Next::Behind => range.start += block.span,
                    Next::Into if level == top => whole = false,
                    Next::Into => {
                        level -= 1;
                        continue;
                    }
                    Next::Stop => return,
                }
                break;
            }
        }
    }

    /// The level of the largest blocks that begin or end at a position and fit within so many values. It is near
    /// that of the last one.
    #[inline(always)]
    fn largest(&self, last: usize, at: u64, room: u64) -> usize {
        let fits = |level: usize| at & (self.span(level) - 1) == 0 && self.span(level) <= room;
        let mut level = last.min(self.levels.len());
        while !fits(level) {
            level -= 1;
        }
        while level < self.levels.len() && fits(level + 1) {
            level += 1;
        }
        level
    }

    /// The block that begins at a position, or else ends there.
    #[inline(always)]
    fn block(&self, level: usize, at: u64, ends: bool) -> Block {
        let span = self.span(level);
        let start = if ends { at - span } else { at };
        if level == 0 {
            return Block { start, span, stretch: Stretch::of(self.value(start)) };
        }
        let Level { first, blocks } = &self.levels[level - 1];
        Block { start, span, stretch: blocks[((start >> self.shift(level)) - first) as usize] }
    }

    /// What the values of `range` amount to. O(log n).
    pub(super) fn stretch(&self, range: Range<u64>) -> Stretch {
        let mut all = Stretch::EMPTY;
        self.walk::<false>(range, |block| {
            all = all.then(block.stretch);
            Next::Behind
        });
        all
    }

    /// What the values of `range` amount to before the first of the lowest values, or else of the `HIGHEST`, and from
    /// there on. O(log n).
    pub(super) fn split<const HIGHEST: bool>(&self, mut range: Range<u64>) -> (Stretch, Stretch) {
        let beyond = |one: Stretch, other: Stretch| if HIGHEST { one.high > other.high } else { one.low < other.low };
        let (mut before, mut after) = (Stretch::EMPTY, Stretch::EMPTY);
        // Of each block with the value only that is looked into, and what comes before and after it stays as it is.
        loop {
            let (whole, behind) = (range.end - range.start, after);
            let mut first = Block { start: range.start, span: 0, stretch: Stretch::EMPTY };
            after = Stretch::EMPTY;
            self.walk::<false>(range, |block| {
                if block.span == whole && whole > 1 {
                    return Next::Into;
                }
                if first.span == 0 || beyond(block.stretch, first.stretch) {
                    before = before.then(first.stretch).then(after);
                    (first, after) = (block, Stretch::EMPTY);
                } else {
                    after = after.then(block.stretch);
                }
                Next::Behind
            });
            after = after.then(behind);
            if first.span <= 1 {
                return (before, first.stretch.then(after));
            }
            range = first.start..first.start + first.span;
        }
    }

    /// Position of the first value from the left, or else `BACK` from the right, for which `holds`; a block for which
    /// it does not hold has no such value. O(log n).
    pub(super) fn find<const BACK: bool>(&self, range: Range<u64>, holds: impl Fn(Stretch) -> bool) -> Option<u64> {
        let mut found = None;
        self.walk::<BACK>(range, |block| match (holds(block.stretch), block.span) {
            (false, _) => Next::Behind,
            (true, 1) => {
                found = Some(block.start);
                Next::Stop
            }
            (true, _) => Next::Into,
        });
        found
    }

    /// Bytes that it holds beside its own struct.
    pub(in super::super) fn heap_bytes(&self) -> usize {
        let blocks: usize = self.levels.iter().map(|level| level.blocks.capacity() * size_of::<Stretch>()).sum();
        self.values.capacity() * size_of::<f64>() + blocks + self.levels.capacity() * size_of::<Level>()
    }
}

/// How many values and blocks the index has looked at.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;

    std::thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    pub(in super::super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Those since the last time it was asked.
    pub(in super::super) fn take() -> u64 {
        STEPS.replace(0)
    }
}
