//! Summaries of whole blocks of the series, ready for the window's older half to be rebuilt from them.
//!
//! Blocks have two sizes, the larger a multiple of the smaller, and begin at multiples of their size, so they depend on
//! nothing but positions. A block's summary is its residue and its longest closed pair. It costs one step for each value,
//! and one for each point of a small block's residue in the large one.

use std::collections::VecDeque;

use super::front::longest_of;
use super::residue::{Point, Residue};

/// What a stretch of the series amounts to.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) residue: Residue,
    pub(super) longest: f64,
}

impl Summary {
    #[inline(always)]
    pub(super) fn push(&mut self, new: Point) {
        let kept = self.residue.kept(new);
        self.longest = longest_of(self.longest, &self.residue.points()[kept..]);
        self.residue.place(kept, new);
    }

    /// Puts the stretch `points`, with this longest closed pair, behind one's own.
    pub(super) fn join(&mut self, points: &[Point], longest: f64) {
        self.longest = self.longest.max(longest);
        points.iter().for_each(|point| self.push(*point));
    }

    pub(super) fn clear(&mut self) {
        self.residue.clear();
        self.longest = 0.0;
    }
}

/// The finished blocks of one size, and the one that is being filled.
#[derive(Clone, Debug)]
struct Level {
    span: u64,
    /// Number of the first finished block, which begins at `number * span`.
    first: u64,
    finished: VecDeque<(Box<[Point]>, f64)>,
    open: Summary,
}

impl Level {
    /// Finishes the open block if the series now ends at its end.
    fn finish(&mut self, tail: u64) -> Option<(&[Point], f64)> {
        if !tail.is_multiple_of(self.span) {
            return None;
        }
        if self.finished.is_empty() {
            self.first = tail / self.span - 1;
        }
        self.finished.push_back((self.open.residue.points().into(), self.open.longest));
        self.open.clear();
        self.finished.back().map(|(points, longest)| (&points[..], *longest))
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

    /// Adds the newest value.
    #[inline(always)]
    pub(super) fn push(&mut self, new: Point) {
        self.small.open.push(new);
        let tail = new.position + 1;
        if tail & (self.small.span - 1) == 0 {
            self.finish(tail);
        }
    }

    #[inline(never)]
    fn finish(&mut self, tail: u64) {
        if let Some((points, longest)) = self.small.finish(tail) {
            self.large.open.join(points, longest);
            self.large.finish(tail);
        }
    }

    /// The small block that is being filled.
    pub(super) fn open(&self) -> &Summary {
        &self.small.open
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
