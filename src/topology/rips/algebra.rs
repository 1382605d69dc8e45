//! From certificates to bars: a spanning tree, and linear algebra over F2 in as many unknowns as there are loops.
//!
//! Draw the edges in order, each together with all triangles and higher simplices that it completes. Drawing `ab` so
//! glues on a cone over the suspension of its lune. What that does to components and loops, hence, is decided by the
//! lune alone (the *reduced Rips filtration* of Koyama, Memoli, Robins, Turner 2023, arXiv:2307.16333, here for any
//! strict order of edges):
//!
//! - **empty**: `ab` joins two components, or opens a loop;
//! - **connected**: nothing changes, and `ab` is homologous to `ac + cb` for every point `c` of the lune;
//! - **k components**: `ab` is homologous to `ac + cb` for a `c` in each, so `k - 1` sums of loops become 0.
//!
//! Number the loops `0..m` by birth and let `phi(ab)` in `F2^m` be: 0 for an edge of the spanning tree, a unit vector
//! for an edge that opens a loop, and `phi(ac) + phi(cb)` otherwise. `phi` of a closed path is its class, as the tree's
//! edges vanish. A relation is reduced by those found before it; what is left has a youngest loop, and that loop dies
//! here (the elder rule: the older ones go on). The pairs are those of the textbook's reduction of boundary matrices,
//! which are unique once edges are in a strict order: no choice of tree, of `c` or of hub shows in them.
//!
//! Only marked pairs (empty and many; about 1.5 n of the n^2 / 2) are read and sorted; `phi` of others is computed when
//! asked for and remembered for the length of one reading.

use super::certificate::{Code, Way};
use super::lunes::Lunes;
use super::transposed::Matrix;
use super::{RipsBar, RipsDiagram};
use crate::topology::diagram::Bar;

/// An edge as a number that sorts as edges do: length, rank of the younger end, rank of the older one.
pub(super) type Key = u64;

/// What a reading needs while it runs; empty at first, and as large as the largest window afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    empty: Vec<Key>,
    many: Vec<Key>,
    /// By pair: 1 + the chain that is its `phi`, or 0.
    memo: Vec<u32>,
    remembered: Vec<u32>,
    stack: Vec<u32>,
    parents: Vec<u16>,
    word: Dense<1>,
    words: Dense<4>,
    many_words: Dense<16>,
    most_words: Dense<64>,
    mixed: Mixed,
}

/// The bars of a window, as edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Each edge that joins two components, and the rank of the oldest point of the younger one.
    pub merges: Vec<(Key, usize)>,
    /// The edge that opens each loop, in order.
    pub births: Vec<Key>,
    /// The edge that closes each loop.
    pub deaths: Vec<Option<Key>>,
    /// For the loop that was asked for: the loops whose sum dies with it.
    pub sum: Vec<usize>,
}

/// Reads all bars. `wanted` is the number of a loop whose representative is asked for.
pub(super) fn read<const W: usize>(lunes: &mut Lunes, scratch: &mut Scratch, wanted: Option<usize>) -> Reading {
    sort_marked(lunes, scratch);
    let mut reading = Reading::default();
    grow_tree(lunes, scratch, &mut reading);
    let pairs = lunes.ring.side * lunes.ring.side;
    if scratch.memo.len() < pairs {
        scratch.memo.resize(pairs, 0);
    }
    match reading.births.len() {
        0..=64 => close_loops::<W, Dense<1>>(lunes, scratch, |scratch| &mut scratch.word, &mut reading, wanted),
        65..=256 => close_loops::<W, Dense<4>>(lunes, scratch, |scratch| &mut scratch.words, &mut reading, wanted),
        257..=1024 => {
            close_loops::<W, Dense<16>>(lunes, scratch, |scratch| &mut scratch.many_words, &mut reading, wanted)
        }
        1025..=4096 => {
            close_loops::<W, Dense<64>>(lunes, scratch, |scratch| &mut scratch.most_words, &mut reading, wanted)
        }
        8193.. if wanted.is_none() && close_thousands::<W>(lunes, scratch, &mut reading) => {}
        _ => close_loops::<W, Mixed>(lunes, scratch, |scratch| &mut scratch.mixed, &mut reading, wanted),
    }
    forget(scratch);
    reading
}

/// Forgets what `phi` is of which pair.
fn forget(scratch: &mut Scratch) {
    for pair in scratch.remembered.drain(..) {
        scratch.memo[pair as usize] = 0;
    }
}

impl Reading {
    /// The bars with the records that they come from; `position` gives the record of a rank.
    pub fn diagram(&self, position: impl Fn(usize) -> u64) -> RipsDiagram {
        let ends = |key: Key| {
            let (old, young) = ends(key);
            [position(old), position(young)]
        };
        let component = |(key, oldest): &(Key, usize)| RipsBar {
            bar: Bar { birth: 0.0, death: length(*key) },
            birth: [position(*oldest); 2],
            death: Some(ends(*key)),
        };
        let mut components: Vec<RipsBar> = self.merges.iter().map(component).collect();
        components.retain(|bar| bar.bar.death > 0.0);
        components.push(RipsBar {
            bar: Bar { birth: 0.0, death: f64::INFINITY },
            birth: [position(0); 2],
            death: None,
        });
        let mut loops: Vec<RipsBar> = Vec::with_capacity(self.births.len());
        for (birth, death) in self.births.iter().zip(&self.deaths) {
            let bar = Bar { birth: length(*birth), death: death.map_or(f64::INFINITY, length) };
            if bar.birth < bar.death {
                loops.push(RipsBar { bar, birth: ends(*birth), death: death.map(ends) });
            }
        }
        loops.sort_unstable_by(|one, other| one.bar.order(&other.bar).then(one.birth.cmp(&other.birth)));
        RipsDiagram { components, loops }
    }
}

/// The ranks of an edge's older and younger end.
#[inline(always)]
pub(super) fn ends(key: Key) -> (usize, usize) {
    ((key & 0x3FF) as usize, (key >> 10 & 0x3FF) as usize)
}

/// The length of an edge.
fn length(key: Key) -> f64 {
    f64::from(f32::from_bits((key >> 20) as u32))
}

#[inline(always)]
fn key(lunes: &Lunes, a: usize, b: usize) -> Key {
    let (x, y) = (lunes.ring.rank(a) as u64, lunes.ring.rank(b) as u64);
    (lunes.length(a, b) as u64) << 20 | x.max(y) << 10 | x.min(y)
}

fn sort_marked(lunes: &Lunes, scratch: &mut Scratch) {
    scratch.empty.clear();
    scratch.many.clear();
    lunes.marked(|a, b| {
        let list = if lunes.code(a, b).is_empty() { &mut scratch.empty } else { &mut scratch.many };
        list.push(key(lunes, a, b));
    });
    scratch.empty.sort_unstable();
    scratch.many.sort_unstable();
}

/// Kruskal's algorithm over the edges with an empty lune; components are named by their oldest point.
fn grow_tree(lunes: &mut Lunes, scratch: &mut Scratch, reading: &mut Reading) {
    scratch.parents.clear();
    scratch.parents.extend(0..lunes.ring.count as u16);
    reading.merges.reserve(lunes.ring.count);
    for key in &scratch.empty {
        let (old, young) = ends(*key);
        let pair = lunes.pair(lunes.ring.slot(old), lunes.ring.slot(young));
        let (x, y) = (root(&mut scratch.parents, old), root(&mut scratch.parents, young));
        if x == y {
            lunes.renumber(pair, Code::opens(reading.births.len()));
            reading.births.push(*key);
        } else {
            lunes.renumber(pair, Code::EMPTY);
            scratch.parents[x.max(y)] = x.min(y) as u16;
            reading.merges.push((*key, x.max(y)));
        }
    }
}

#[inline(always)]
fn root(parents: &mut [u16], mut point: usize) -> usize {
    while parents[point] as usize != point {
        parents[point] = parents[parents[point] as usize];
        point = parents[point] as usize;
    }
    point
}

fn close_loops<const W: usize, C: Chains>(
    lunes: &Lunes,
    scratch: &mut Scratch,
    kept: fn(&mut Scratch) -> &mut C,
    reading: &mut Reading,
    wanted: Option<usize>,
) {
    let mut chains = std::mem::take(kept(scratch));
    chains.clear();
    reading.deaths.resize(reading.births.len(), None);
    let many = std::mem::take(&mut scratch.many);
    let mut relations = Relations { lunes, scratch, chains, basis: vec![NONE; reading.births.len()] };
    let (mut born, mut alive) = (0, 0);
    for key in &many {
        while born < reading.births.len() && reading.births[born] < *key {
            (born, alive) = (born + 1, alive + 1);
        }
        // When all loops so far are dead, every relation among them is known.
        if alive == 0 {
            continue;
        }
        each_relation::<W>(lunes, *key, |relation| {
            if alive > 0
                && let Some(dies) = relations.add(relation)
            {
                reading.deaths[dies] = Some(*key);
                alive -= 1;
            }
        });
    }
    if let Some(wanted) = wanted
        && relations.basis[wanted] != NONE
    {
        reading.sum = relations.chains.members(relations.basis[wanted] as usize);
    }
    *kept(relations.scratch) = relations.chains;
    relations.scratch.many = many;
}

/// The same for thousands of loops; false, and nothing is done, where that takes too much memory.
fn close_thousands<const W: usize>(lunes: &Lunes, scratch: &mut Scratch, reading: &mut Reading) -> bool {
    let mut chains = std::mem::take(&mut scratch.mixed);
    chains.clear();
    let many = std::mem::take(&mut scratch.many);
    let mut relations = Relations { lunes, scratch: &mut *scratch, chains, basis: Vec::new() };
    let (mut matrix, mut keys, mut fits) = (Matrix::default(), Vec::new(), true);
    for key in &many {
        each_relation::<W>(lunes, *key, |relation| {
            if fits {
                let sum = relations.sum(relation);
                let loops = relations.chains.chains[sum].members();
                if !loops.is_empty() {
                    fits = matrix.push(&loops);
                    keys.push(*key);
                }
                relations.chains.pop();
            }
        });
    }
    let closed = if fits { matrix.closed(reading.births.len()) } else { None };
    scratch.mixed = relations.chains;
    scratch.many = many;
    forget(scratch);
    let Some(closed) = closed else { return false };
    reading.deaths = closed.into_iter().map(|relation| relation.map(|relation| keys[relation])).collect();
    true
}

/// That `a - one - b` and `a - other - b` are homologous.
#[derive(Clone, Copy)]
struct Relation {
    a: usize,
    b: usize,
    one: usize,
    other: usize,
}

impl Relation {
    /// The edges that add up to 0.
    fn edges(self) -> [(usize, usize); 4] {
        [(self.a, self.one), (self.one, self.b), (self.a, self.other), (self.other, self.b)]
    }
}

/// Gives the relations of an edge whose lune has several components: of one of them with each other.
fn each_relation<const W: usize>(lunes: &Lunes, key: Key, mut relate: impl FnMut(Relation)) {
    let (old, young) = ends(key);
    let (a, b) = (lunes.ring.slot(old), lunes.ring.slot(young));
    let code = lunes.code(a, b);
    let one = code.slot(0);
    let mut with = |other: usize| {
        if other != one {
            relate(Relation { a, b, one, other });
        }
    };
    match code.named() {
        0 => lunes.components::<W>(a, b, with),
        named => (1..named).for_each(|place| with(code.slot(place))),
    }
}

/// The relations found so far.
struct Relations<'a, C> {
    lunes: &'a Lunes,
    scratch: &'a mut Scratch,
    chains: C,
    /// By loop: the reduced relation whose youngest loop it is.
    basis: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<C: Chains> Relations<'_, C> {
    /// The loops that add up to 0: a new chain.
    fn sum(&mut self, relation: Relation) -> usize {
        for (x, y) in relation.edges() {
            self.remember(x, y);
        }
        let sum = self.chains.push();
        for (x, y) in relation.edges() {
            self.include(sum, x, y);
        }
        sum
    }

    /// The loop that dies of a relation.
    fn add(&mut self, relation: Relation) -> Option<usize> {
        let sum = self.sum(relation);
        while let Some(youngest) = self.chains.last(sum) {
            match self.basis[youngest] {
                NONE => {
                    self.basis[youngest] = sum as u32;
                    return Some(youngest);
                }
                known => self.chains.add(sum, known as usize),
            }
        }
        self.chains.pop();
        None
    }

    /// Adds `phi(xy)`, which is remembered or needs no memory.
    #[inline(always)]
    fn include(&mut self, sum: usize, x: usize, y: usize) {
        let pair = self.lunes.pair(x, y);
        match self.lunes.code_of(pair).way() {
            Way::Tree => {}
            Way::Loop(number) => self.chains.flip(sum, number),
            Way::Through(_) => self.chains.add(sum, self.scratch.memo[pair] as usize - 1),
        }
    }

    /// Computes `phi(xy)` and what it needs, without recursion: edges grow shorter, but there may be many of them.
    fn remember(&mut self, x: usize, y: usize) {
        self.visit(x, y);
        let side = self.lunes.ring.side;
        while let Some(pair) = self.scratch.stack.last().copied() {
            let (a, b) = (pair as usize / side, pair as usize % side);
            let c = self.lunes.code_of(pair as usize).slot(0);
            let waiting = self.scratch.stack.len();
            self.visit(a, c);
            self.visit(c, b);
            if self.scratch.stack.len() > waiting {
                continue;
            }
            self.scratch.stack.pop();
            if self.scratch.memo[pair as usize] == 0 {
                let sum = self.chains.push();
                self.include(sum, a, c);
                self.include(sum, c, b);
                self.scratch.memo[pair as usize] = sum as u32 + 1;
                self.scratch.remembered.push(pair);
            }
        }
    }

    /// Puts a pair on the stack if its `phi` must be computed first.
    #[inline(always)]
    fn visit(&mut self, a: usize, b: usize) {
        let pair = self.lunes.pair(a, b);
        if self.scratch.memo[pair] == 0 && !self.lunes.code_of(pair).is_empty() {
            self.scratch.stack.push(pair as u32);
        }
    }
}

/// Sets of loops, added over F2. A chain is named by a number.
trait Chains: Default {
    /// Forgets all chains.
    fn clear(&mut self);
    /// A new chain, 0.
    fn push(&mut self) -> usize;
    /// Forgets the newest chain.
    fn pop(&mut self);
    fn flip(&mut self, chain: usize, number: usize);
    fn add(&mut self, chain: usize, other: usize);
    /// The youngest loop of a chain.
    fn last(&self, chain: usize) -> Option<usize>;
    fn members(&self, chain: usize) -> Vec<usize>;
}

/// Bitsets of `N` words: enough for all windows but the strangest.
#[derive(Clone, Debug, Default)]
struct Dense<const N: usize>(Vec<[u64; N]>);

impl<const N: usize> Chains for Dense<N> {
    fn clear(&mut self) {
        self.0.clear();
    }

    #[inline(always)]
    fn push(&mut self) -> usize {
        self.0.push([0; N]);
        self.0.len() - 1
    }

    fn pop(&mut self) {
        self.0.pop();
    }

    #[inline(always)]
    fn flip(&mut self, chain: usize, number: usize) {
        self.0[chain][number / 64] ^= 1 << (number % 64);
    }

    #[inline(always)]
    fn add(&mut self, chain: usize, other: usize) {
        let other = self.0[other];
        self.0[chain].iter_mut().zip(other).for_each(|(into, word)| *into ^= word);
    }

    #[inline(always)]
    fn last(&self, chain: usize) -> Option<usize> {
        let words = &self.0[chain];
        let word = words.iter().rposition(|word| *word != 0)?;
        Some(64 * word + 63 - words[word].leading_zeros() as usize)
    }

    fn members(&self, chain: usize) -> Vec<usize> {
        (0..64 * N).filter(|number| self.0[chain][number / 64] >> (number % 64) & 1 == 1).collect()
    }
}

/// Ascending lists, and bitsets in place of those that have grown long: for clouds that open thousands of loops at
/// once, as groups do whose points are nearer to all of the other groups than to each other.
#[derive(Clone, Debug, Default)]
struct Mixed {
    chains: Vec<Chain>,
    spare: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Chain {
    Few(Vec<u32>),
    /// With no more words than the youngest loop asks for, where others were added.
    Many(Vec<u64>),
}

/// A list with more than one entry for so many loops, from the oldest to its youngest, becomes a bitset.
const LOOPS_PER_ENTRY: usize = 64;

impl Chain {
    fn flip(&mut self, number: u32) {
        match self {
            Chain::Few(members) => match members.binary_search(&number) {
                Ok(place) => drop(members.remove(place)),
                Err(place) => members.insert(place, number),
            },
            Chain::Many(words) => {
                let word = number as usize / 64;
                if words.len() <= word {
                    words.resize(word + 1, 0);
                }
                words[word] ^= 1 << (number % 64);
            }
        }
    }

    /// Becomes a bitset if it is a long list.
    fn widen(&mut self) {
        if let Chain::Few(members) = self
            && let Some(youngest) = members.last()
            && members.len() > 64 + *youngest as usize / LOOPS_PER_ENTRY
        {
            let mut bits = Chain::Many(vec![0; *youngest as usize / 64 + 1]);
            members.iter().for_each(|number| bits.flip(*number));
            *self = bits;
        }
    }

    /// Adds another; `spare` is room for a list.
    fn add(&mut self, other: &Chain, spare: &mut Vec<u32>) {
        match (&mut *self, other) {
            (Chain::Many(words), Chain::Many(others)) => {
                if words.len() < others.len() {
                    words.resize(others.len(), 0);
                }
                words.iter_mut().zip(others).for_each(|(word, other)| *word ^= other);
                let words_left = words.iter().rposition(|word| *word != 0).map_or(0, |word| word + 1);
                words.truncate(words_left);
            }
            (Chain::Many(_), Chain::Few(members)) => members.iter().for_each(|number| self.flip(*number)),
            (Chain::Few(members), Chain::Many(words)) => {
                let mut sum = Chain::Many(words.clone());
                members.iter().for_each(|number| sum.flip(*number));
                *self = sum;
            }
            (Chain::Few(members), Chain::Few(others)) => {
                add_lists(members, others, spare);
                members.clone_from(spare);
                self.widen();
            }
        }
    }

    fn last(&self) -> Option<usize> {
        match self {
            Chain::Few(members) => members.last().map(|number| *number as usize),
            Chain::Many(words) => {
                let word = words.iter().rposition(|word| *word != 0)?;
                Some(64 * word + 63 - words[word].leading_zeros() as usize)
            }
        }
    }

    fn members(&self) -> Vec<u32> {
        match self {
            Chain::Few(members) => members.clone(),
            Chain::Many(words) => {
                let all = 0..64 * words.len() as u32;
                all.filter(|number| words[*number as usize / 64] >> (number % 64) & 1 == 1).collect()
            }
        }
    }
}

/// The numbers that are in one of two ascending lists and not in the other.
fn add_lists(one: &[u32], two: &[u32], sum: &mut Vec<u32>) {
    let (mut i, mut j) = (0, 0);
    sum.clear();
    while i < one.len() && j < two.len() {
        let (x, y) = (one[i], two[j]);
        if x != y {
            sum.push(x.min(y));
        }
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    sum.extend_from_slice(&one[i..]);
    sum.extend_from_slice(&two[j..]);
}

impl Chains for Mixed {
    fn clear(&mut self) {
        self.chains.clear();
    }

    fn push(&mut self) -> usize {
        self.chains.push(Chain::Few(Vec::new()));
        self.chains.len() - 1
    }

    fn pop(&mut self) {
        self.chains.pop();
    }

    fn flip(&mut self, chain: usize, number: usize) {
        self.chains[chain].flip(number as u32);
    }

    fn add(&mut self, chain: usize, other: usize) {
        let mut sum = std::mem::replace(&mut self.chains[chain], Chain::Few(Vec::new()));
        sum.add(&self.chains[other], &mut self.spare);
        self.chains[chain] = sum;
    }

    fn last(&self, chain: usize) -> Option<usize> {
        self.chains[chain].last()
    }

    fn members(&self, chain: usize) -> Vec<usize> {
        self.chains[chain].members().into_iter().map(|number| number as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use std::collections::BTreeSet;

    /// Chains of lists and bitsets against sets.
    #[test]
    fn chains_are_sets() {
        let mut random = Random::new(1);
        for loops in [3, 70, 300, 9000] {
            let (mut mixed, mut dense, mut sets) = (Mixed::default(), Dense::<141>::default(), Vec::new());
            for step in 0..400 {
                if step < 6 || random.pick(20) == 0 {
                    sets.push(BTreeSet::new());
                    assert_eq!((mixed.push(), dense.push()), (sets.len() - 1, sets.len() - 1));
                }
                let mut chain = || random.pick(sets.len() as u64) as usize;
                let (one, other) = (chain(), chain());
                for number in (0..random.pick(90)).map(|_| random.pick(loops) as usize) {
                    mixed.flip(one, number);
                    dense.flip(one, number);
                    sets[one] = &sets[one] ^ &BTreeSet::from([number]);
                }
                if one != other {
                    mixed.add(one, other);
                    dense.add(one, other);
                    sets[one] = &sets[one] ^ &sets[other];
                }
                let members: Vec<usize> = sets[one].iter().copied().collect();
                assert_eq!((mixed.last(one), dense.last(one)), (members.last().copied(), members.last().copied()));
                assert_eq!((mixed.members(one), dense.members(one)), (members.clone(), members), "{loops} {step}");
            }
        }
    }
}
