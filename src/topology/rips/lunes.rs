//! The state: a distance and a certificate for every pair of points, and how to find a certificate.
//!
//! **The order of edges.** Edges are ordered by length; among equals, by their younger end, then by their older one,
//! earlier points first: the edge that could be drawn first comes first. The order is strict, so ties, duplicates and
//! grids need no case of their own, and it does not change while points come at the young end and leave at the old one,
//! so a certificate stays good. Of two equal edges with a common end, the one whose other end is older comes first:
//! the ends decide, and no edge needs a number.
//!
//! **Slots.** A point sits in one slot of a ring for as long as it is in the window. A row of the matrix holds its
//! distances by slot, padded to whole cache lines with [`ABSENT`], which is also the distance to itself.
//!
//! **The lune** of an edge `ab` is the set of points `c` with `ac` and `bc` earlier than `ab`, joined by the edges
//! earlier than `ab`. [`Lunes::certificate`] looks for a hub where one is likely: the point nearest to both ends, first
//! among the points younger than the older end. A hub younger than an end never breaks a certificate by leaving,
//! because that end leaves before it. (In a window with an outlier in the middle of a ring, that outlier would else be
//! the hub of most lunes, and all of them would break at the one step at which it leaves.)

use super::certificate::Code;
use super::lanes::{ABSENT, Block, Change, Lanes, Leaver, Rows, Slots, at};

/// Points in slots `head`, `head + 1`, … of a ring, oldest first. The number of slots is a multiple of 64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub side: usize,
    pub head: usize,
    pub count: usize,
}

impl Ring {
    /// How many points are older than the one in `slot`.
    #[inline(always)]
    pub fn rank(&self, slot: usize) -> usize {
        if slot >= self.head { slot - self.head } else { slot + self.side - self.head }
    }

    /// The slot of the point that so many are older than, or of the next one that comes.
    #[inline(always)]
    pub fn slot(&self, rank: usize) -> usize {
        let slot = self.head + rank;
        if slot >= self.side { slot - self.side } else { slot }
    }

    /// The slots of the points with these ranks.
    #[inline(always)]
    pub fn ranks<const W: usize>(&self, from: usize, to: usize) -> Slots<W> {
        if to - from == self.side {
            return [u64::MAX; W];
        }
        let (start, end) = (self.slot(from), self.slot(to));
        let wraps = if start > end { u64::MAX } else { 0 };
        let prefix = |end: usize, w: usize| match end.saturating_sub(64 * w) {
            bits @ 0..64 => (1 << bits) - 1,
            _ => u64::MAX,
        };
        // Between two places of a circle is, in a row, between or outside of them.
        std::array::from_fn(|w| (prefix(end, w) ^ prefix(start, w)) ^ wraps)
    }
}

/// One edge and what is asked about it again and again.
struct Edge {
    old: usize,
    young: usize,
    length: i32,
}

/// Distances and certificates of all pairs of points of a window.
#[derive(Clone, Debug)]
pub(super) struct Lunes {
    pub ring: Ring,
    pub lanes: Lanes,
    /// Symmetric; bits of `f32`.
    lengths: Vec<Block>,
    /// Of the pairs with the smaller slot as row.
    codes: Vec<Block>,
    /// The pairs whose lune is empty or has many components, a bit each, with the smaller slot as row.
    marks: Vec<u64>,
}

impl Lunes {
    /// No points, room for `side`: a multiple of 64.
    pub fn new(side: usize, lanes: Lanes) -> Lunes {
        Lunes {
            ring: Ring { side, head: 0, count: 0 },
            lanes,
            lengths: vec![Block([ABSENT; 16]); side * side / 16],
            codes: vec![Block([0; 16]); side * side / 16],
            marks: vec![0; side * side / 64],
        }
    }

    /// The distances of the point in `slot`.
    #[inline(always)]
    pub fn row(&self, slot: usize) -> &[Block] {
        self.rows().row(slot)
    }

    #[inline(always)]
    fn rows(&self) -> Rows<'_> {
        Rows { entries: &self.lengths, blocks: self.ring.side / 16 }
    }

    /// The distance of two points: bits of an `f32`.
    #[inline(always)]
    pub fn length(&self, a: usize, b: usize) -> i32 {
        at(self.row(a), b)
    }

    /// Writes the distances of the point that now is in `slot`, [`ABSENT`] where there is none.
    pub fn set_row(&mut self, slot: usize, row: &[Block]) {
        let side = self.ring.side;
        self.lengths[slot * side / 16..][..side / 16].copy_from_slice(row);
        for other in 0..side {
            let entry = other * side + slot;
            self.lengths[entry >> 4].0[entry & 15] = at(row, other);
        }
    }

    /// The place of a pair in a matrix of pairs.
    #[inline(always)]
    pub fn pair(&self, a: usize, b: usize) -> usize {
        a.min(b) * self.ring.side + a.max(b)
    }

    #[inline(always)]
    pub fn code(&self, a: usize, b: usize) -> Code {
        self.code_of(self.pair(a, b))
    }

    #[inline(always)]
    pub fn code_of(&self, pair: usize) -> Code {
        Code(self.codes[pair >> 4].0[pair & 15])
    }

    /// Writes a certificate without its mark: for another number of the same kind.
    #[inline(always)]
    pub fn renumber(&mut self, pair: usize, code: Code) {
        self.codes[pair >> 4].0[pair & 15] = code.0;
    }

    #[inline(always)]
    pub fn set_code(&mut self, a: usize, b: usize, code: Code) {
        let pair = self.pair(a, b);
        self.renumber(pair, code);
        let marked = u64::from(code.is_empty() || code.is_many());
        let word = &mut self.marks[pair >> 6];
        *word = *word & !(1 << (pair & 63)) | marked << (pair & 63);
    }

    pub fn clear_marks(&mut self) {
        self.marks.fill(0);
    }

    /// Takes a slot that no point is in out of every lune.
    pub fn vacate(&mut self, slot: usize) {
        let side = self.ring.side;
        self.set_row(slot, &vec![Block([ABSENT; 16]); side / 16]);
        self.marks[slot * side / 64..][..side / 64].fill(0);
        for other in 0..slot {
            self.marks[(other * side + slot) >> 6] &= !(1 << (slot & 63));
        }
    }

    /// The marked pairs, each once: rows in order, and slots in order in each row.
    #[inline(always)]
    pub fn marked(&self, mut found: impl FnMut(usize, usize)) {
        let words = self.ring.side / 64;
        for (place, word) in self.marks.iter().enumerate().filter(|(_, word)| **word != 0) {
            let mut word = *word;
            while word != 0 {
                found(place / words, 64 * (place % words) + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }

    /// The pairs of old points whose certificate a change may break. `newcomers` are slots, the youngest of the ring.
    pub fn broken<const W: usize>(&self, leavers: &[Leaver], newcomers: &[usize], out: &mut Vec<(u16, u16)>) {
        let rows: Vec<&[Block]> = newcomers.iter().map(|slot| self.row(*slot)).collect();
        let change = Change { leavers, newcomers: &rows };
        let old: Slots<W> = self.ring.ranks(0, self.ring.count - newcomers.len());
        let blocks = self.ring.side / 16;
        for rank in 0..self.ring.count - newcomers.len() {
            let a = self.ring.slot(rank);
            let broken = self.lanes.broken::<W>(a, self.row(a), &self.codes[a * blocks..][..blocks], &change);
            for w in a / 64..W {
                let mut bits = broken[w] & old[w];
                if w == a / 64 {
                    bits &= u64::MAX << (a % 64) << 1;
                }
                while bits != 0 {
                    out.push((a as u16, (64 * w + bits.trailing_zeros() as usize) as u16));
                    bits &= bits - 1;
                }
            }
        }
    }

    /// Looks at the lune of a pair and finds a certificate for it. O(n / 16) for most lunes.
    pub fn certificate<const W: usize>(&self, a: usize, b: usize) -> Code {
        let edge = self.edge(a, b);
        let younger: Slots<W> = self.ring.ranks(self.ring.rank(edge.old) + 1, self.ring.count);
        let lune = self.lanes.lune(self.rows(), edge.old, edge.young, edge.length, &younger);
        if lune.tie {
            return self.certificate_with_ties::<W>(&edge);
        }
        let Some(nearest) = lune.nearest else { return Code::EMPTY };
        if is_empty(&lune.missed) {
            return Code::hubs(&[nearest]);
        }
        // No younger hub in the middle; an older one will do.
        let all = self.lanes.lune(self.rows(), edge.old, edge.young, edge.length, &[0; W]);
        match all.nearest {
            Some(nearest) if !all.tie => self.dominated(&edge, lune.inside, nearest, all.missed),
            _ => self.dominated(&edge, lune.inside, nearest, lune.missed),
        }
    }

    #[cold]
    fn certificate_with_ties<const W: usize>(&self, edge: &Edge) -> Code {
        let inside: Slots<W> = self.lune_with_ties(edge);
        if is_empty(&inside) {
            return Code::EMPTY;
        }
        let hub = first(&inside);
        let missed = self.missed(edge, &inside, hub);
        self.dominated(edge, inside, hub, missed)
    }

    /// The certificate of a lune of which `hub` misses some points, or none.
    fn dominated<const W: usize>(&self, edge: &Edge, inside: Slots<W>, hub: usize, missed: Slots<W>) -> Code {
        if is_empty(&missed) {
            return Code::hubs(&[hub]);
        }
        self.several_hubs(edge, &inside, hub, missed).unwrap_or_else(|| self.searched(edge, inside))
    }

    /// Calls `found` with a point of each component of the lune of a pair.
    pub fn components<const W: usize>(&self, a: usize, b: usize, found: impl FnMut(usize)) {
        let edge = self.edge(a, b);
        let lune = self.lanes.lune::<W>(self.rows(), edge.old, edge.young, edge.length, &[0; W]);
        let inside = if lune.tie { self.lune_with_ties(&edge) } else { lune.inside };
        self.search(&edge, inside, found);
    }

    #[inline(always)]
    fn edge(&self, a: usize, b: usize) -> Edge {
        let (old, young) = if self.ring.rank(a) < self.ring.rank(b) { (a, b) } else { (b, a) };
        Edge { old, young, length: self.length(a, b) }
    }

    /// The lune when some distances equal the edge's: `ac` is earlier than an equal `ab` if `c` is older than `b`.
    #[cold]
    fn lune_with_ties<const W: usize>(&self, edge: &Edge) -> Slots<W> {
        let (from_old, at_old) = self.lanes.below::<W>(self.row(edge.old), edge.length);
        let (from_young, at_young) = self.lanes.below::<W>(self.row(edge.young), edge.length);
        let before_old: Slots<W> = self.ring.ranks(0, self.ring.rank(edge.old));
        let before_young: Slots<W> = self.ring.ranks(0, self.ring.rank(edge.young));
        std::array::from_fn(|w| {
            (from_old[w] | at_old[w] & before_young[w]) & (from_young[w] | at_young[w] & before_old[w])
        })
    }

    /// The points joined to `c` by edges earlier than this one. On a tie, both ends must be older than its younger end.
    /// (To leave an edge out is safe: a lune taken for two pieces gives a relation that is true and known. To take one
    /// too many is not.)
    #[inline(always)]
    fn neighbours<const W: usize>(&self, edge: &Edge, c: usize) -> Slots<W> {
        let (below, equal) = self.lanes.below::<W>(self.row(c), edge.length);
        if is_empty(&equal) || self.ring.rank(c) > self.ring.rank(edge.young) {
            return below;
        }
        let before: Slots<W> = self.ring.ranks(0, self.ring.rank(edge.young));
        std::array::from_fn(|w| below[w] | equal[w] & before[w])
    }

    /// The points of the lune that are neither `c` nor joined to it.
    #[inline(always)]
    fn missed<const W: usize>(&self, edge: &Edge, inside: &Slots<W>, c: usize) -> Slots<W> {
        let near: Slots<W> = self.neighbours(edge, c);
        let mut missed: Slots<W> = std::array::from_fn(|w| inside[w] & !near[w]);
        remove(&mut missed, c);
        missed
    }

    /// Up to three hubs joined to each other that miss nothing, greedily: each next one is joined to a point that was
    /// missed so far and to those before.
    fn several_hubs<const W: usize>(
        &self,
        edge: &Edge,
        inside: &Slots<W>,
        hub: usize,
        missed: Slots<W>,
    ) -> Option<Code> {
        let (mut hubs, mut missed) = ([hub; 3], missed);
        for place in 1..3 {
            let near: Slots<W> = self.neighbours(edge, first(&missed));
            let mut candidates: Slots<W> = std::array::from_fn(|w| inside[w] & !missed[w] & near[w]);
            let mut best = None;
            for _ in 0..CANDIDATES {
                let Some(candidate) = spread(&mut candidates) else { break };
                let misses = self.missed(edge, inside, candidate);
                if is_empty(&misses) {
                    return Some(Code::hubs(&[candidate]));
                }
                let left: Slots<W> = std::array::from_fn(|w| misses[w] & missed[w]);
                let size: u32 = left.iter().map(|word| word.count_ones()).sum();
                if best.as_ref().is_none_or(|(least, _, _)| size < *least) {
                    best = Some((size, candidate, left));
                }
            }
            let (size, candidate, left) = best?;
            (hubs[place], missed) = (candidate, left);
            if size == 0 {
                return Some(Code::hubs(&hubs[..=place]));
            }
        }
        None
    }

    /// The certificate by searching the whole lune.
    #[cold]
    fn searched<const W: usize>(&self, edge: &Edge, inside: Slots<W>) -> Code {
        let mut points = Vec::new();
        self.search(edge, inside, |point| points.push(point));
        if points.len() == 1 { Code::loose(points[0]) } else { Code::many(&points) }
    }

    /// Breadth first; `found` is called with the first point of each component.
    fn search<const W: usize>(&self, edge: &Edge, mut left: Slots<W>, mut found: impl FnMut(usize)) {
        while !is_empty(&left) {
            let start = first(&left);
            found(start);
            remove(&mut left, start);
            let mut front: Slots<W> = [0; W];
            let mut next = Some(start);
            while let Some(point) = next {
                let near: Slots<W> = self.neighbours(edge, point);
                for w in 0..W {
                    front[w] |= left[w] & near[w];
                    left[w] &= !near[w];
                }
                next = if is_empty(&left) { None } else { take(&mut front) };
            }
        }
    }
}

/// How many candidates for a further hub are tried.
const CANDIDATES: usize = 6;

#[inline(always)]
pub(super) fn is_empty<const W: usize>(slots: &Slots<W>) -> bool {
    slots.iter().fold(0, |all, word| all | word) == 0
}

#[inline(always)]
pub(super) fn remove<const W: usize>(slots: &mut Slots<W>, slot: usize) {
    slots[slot >> 6] &= !(1 << (slot & 63));
}

/// The first slot of a set that is not empty.
#[inline(always)]
pub(super) fn first<const W: usize>(slots: &Slots<W>) -> usize {
    let word = slots.iter().position(|word| *word != 0).expect("a set that is not empty");
    64 * word + slots[word].trailing_zeros() as usize
}

/// Takes the first slot out of the set.
#[inline(always)]
pub(super) fn take<const W: usize>(slots: &mut Slots<W>) -> Option<usize> {
    let word = slots.iter().position(|word| *word != 0)?;
    let slot = 64 * word + slots[word].trailing_zeros() as usize;
    slots[word] &= slots[word] - 1;
    Some(slot)
}

/// Takes a slot out of the set, and rotates through it so that the next one comes from elsewhere.
#[inline(always)]
fn spread<const W: usize>(slots: &mut Slots<W>) -> Option<usize> {
    let word = slots.iter().position(|word| *word != 0)?;
    let top = W - 1 - slots.iter().rev().position(|word| *word != 0)?;
    let from_top = slots.iter().map(|word| word.count_ones()).sum::<u32>() & 1 == 1;
    let slot = if from_top {
        64 * top + 63 - slots[top].leading_zeros() as usize
    } else {
        64 * word + slots[word].trailing_zeros() as usize
    };
    remove(slots, slot);
    Some(slot)
}
