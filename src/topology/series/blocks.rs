//! Summaries of whole blocks of the series, ready for the window's older half to be rebuilt from them.
//!
//! Blocks have two sizes, the larger a multiple of the smaller, and begin at multiples of their size, so they depend on
//! nothing but positions. A block's summary is its residue and its longest closed pair.
//!
//! A small block is read off the window's back, to which the same values are appended. Call the values that are lower
//! or higher than all before them in the block its *records*. The widening half of the block's residue consists of
//! records, ends with the last one, and never closes by appending. After the last record the back and the block have
//! the same points, and close the same pairs, for nothing before it lies between it and what follows. So all that a
//! value costs here is two comparisons that are foreseen nearly always. A large block joins the residues of its small
//! ones.

use std::collections::VecDeque;

use super::front::longest_of;
use super::residue::{Point, Residue};

/// What a stretch of the series amounts to.
#[derive(Clone, Debug, Default)]
struct Summary {
    residue: Residue,
    /// The longest finite pair closed in it; 0 if none.
    longest: f64,
}

/// The finished blocks of one size, and the one that is being filled.
#[derive(Clone, Debug)]
struct Level {
    span: u64,
    /// Number of the first finished block, which begins at `number * span`.
    first: u64,
    finished: VecDeque<(Box<[Point]>, f64)>,
    /// What is known of the block that is being filled: of a small one the records, of a large one all.
    open: Summary,
}

impl Level {
    /// Finishes the open block, where the series ends now.
    fn finish(&mut self, tail: u64, points: Box<[Point]>, longest: f64) {
        if self.finished.is_empty() {
            self.first = tail / self.span - 1;
        }
        self.finished.push_back((points, longest));
        self.open.residue.clear();
        self.open.longest = 0.0;
    }
}

/// Summaries at two sizes.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    small: Level,
    large: Level,
}

impl Blocks {
    /// Blocks of these sizes: powers of two, and the first one smaller.
    pub(super) fn new([small, large]: [u64; 2]) -> Blocks {
        let level = |span| Level { span, first: 0, finished: VecDeque::new(), open: Summary::default() };
        Blocks { small: level(small), large: level(large) }
    }

    /// The sizes, from the smallest.
    pub(super) fn spans(&self) -> [u64; 2] {
        [self.small.span, self.large.span]
    }

    /// Hears of the newest value before it is added to `back`, of which it leaves the first `kept` points.
    #[inline(always)]
    pub(super) fn hear(&mut self, new: Point, back: &Residue, kept: usize) {
        let open = &mut self.small.open;
        let [.., last] = open.residue.points()[..] else {
            return open.residue.push(new, |_, _| ());
        };
        for pair in back.points()[kept..].chunks_exact(2) {
            if pair[1].position > last.position {
                open.longest = longest_of(open.longest, pair);
            }
        }
        let before = if let [.., before, _] = open.residue.points()[..] { before } else { last };
        let (low, high) = if last.below(before) { (last, before) } else { (before, last) };
        if new.below(low) | high.below(new) {
            open.residue.push(new, |_, _| ());
        }
    }

    /// Finishes the blocks that end at `tail`, where `back` ends now.
    #[inline(always)]
    pub(super) fn finish(&mut self, tail: u64, back: &Residue) {
        if tail & (self.small.span - 1) == 0 {
            self.finish_small(tail, back);
        }
    }

    #[inline(never)]
    fn finish_small(&mut self, tail: u64, back: &Residue) {
        let (points, longest) = self.open(back);
        let large = &mut self.large.open;
        large.longest = large.longest.max(longest);
        for point in points.iter().copied() {
            large.residue.push(point, |a, b| large.longest = longest_of(large.longest, &[a, b]));
        }
        self.small.finish(tail, points, longest);
        if tail.is_multiple_of(self.large.span) {
            let (points, longest) = (self.large.open.residue.points().into(), self.large.open.longest);
            self.large.finish(tail, points, longest);
        }
    }

    /// Residue and longest closed pair of the small block that is being filled.
    pub(super) fn open(&self, back: &Residue) -> (Box<[Point]>, f64) {
        let records = self.small.open.residue.points();
        let Some(last) = records.last() else { return (Box::default(), 0.0) };
        let after = back.points().partition_point(|point| point.position <= last.position);
        ([records, &back.points()[after..]].concat().into(), self.small.open.longest)
    }

    /// Residue and longest closed pair of the finished block of size `span` that begins at `start`.
    pub(super) fn block(&self, span: u64, start: u64) -> (&[Point], f64) {
        let level = if span == self.small.span { &self.small } else { &self.large };
        let (points, longest) = &level.finished[(start / span - level.first) as usize];
        (points, *longest)
    }

    /// Forgets the blocks that begin before `head`.
    pub(super) fn forget(&mut self, head: u64) {
        for level in [&mut self.small, &mut self.large] {
            while !level.finished.is_empty() && level.first * level.span < head {
                level.finished.pop_front();
                level.first += 1;
            }
        }
    }

    /// Bytes that it holds beside its own struct.
    pub(super) fn heap_bytes(&self) -> usize {
        let of = |level: &Level| {
            let points: usize = level.finished.iter().map(|(points, _)| size_of_val(&points[..])).sum();
            points + level.finished.capacity() * size_of::<(Box<[Point]>, f64)>() + level.open.residue.heap_bytes()
        };
        of(&self.small) + of(&self.large)
    }
}
