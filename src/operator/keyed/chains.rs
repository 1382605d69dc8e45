//! Rows chained by key: all of a key's rows are worked off together.
//!
//! What a key remembers is then brought near once for all its rows, and the rows are looked up in the order in which
//! they lie in memory.

use crate::batch::{Batch, Picked, Place};
use std::ops::Range;

/// How many rows are looked up at once.
const BLOCK: usize = 32;

/// A row whose slot is not known.
pub const NO_SLOT: u32 = u32::MAX;

/// A row that is not among those chained.
const LEFT_OUT: u32 = u32::MAX - 1;

/// Rows chained by the slots of their keys. Kept from one time to the next, so that its memory is used again.
#[derive(Default)]
pub struct Chains {
    /// For each row of all batches, one batch behind the other: its slot.
    slots: Vec<u32>,
    /// Where each batch's rows begin there.
    begins: Vec<usize>,
    /// By slot: the last time that a row had it, and its chain then.
    last: Vec<(u64, u32)>,
    time: u64,
    /// The slot of each chain, and where the chain ends.
    chains: Vec<(u32, u32)>,
    /// For each place, its slot, and then its chain.
    of: Vec<u32>,
    /// The numbers of the places, chain after chain; within each ascending.
    numbers: Vec<u32>,
}

/// Whether most rows of the batches are not among these.
pub fn are_few(rows: &Picked<'_>) -> bool {
    rows.places.len() * 8 < rows.batches.iter().map(Batch::len).sum()
}

impl Chains {
    /// Chains rows. `find` looks up the slots of some rows of a batch; it gets them as they lie there, some at once.
    pub fn chain(&mut self, rows: &Picked<'_>, find: impl FnMut(&Batch, &[u32], &mut [u32])) {
        self.of.clear();
        match are_few(rows) {
            true => self.find_few(rows, find),
            false => self.find_many(rows, find),
        }
        self.count();
        self.gather();
    }

    /// Looks rows up one behind the other: what is not among them is not looked at.
    fn find_few(&mut self, rows: &Picked<'_>, mut find: impl FnMut(&Batch, &[u32], &mut [u32])) {
        let (mut block, mut slots) = ([0; BLOCK], [0; BLOCK]);
        for places in rows.places.chunk_by(|a, b| a.batch == b.batch).flat_map(|places| places.chunks(BLOCK)) {
            block.iter_mut().zip(places).for_each(|(row, place)| *row = place.row);
            let slots = &mut slots[..places.len()];
            find(&rows.batches[places[0].batch as usize], &block[..places.len()], slots);
            self.of.extend_from_slice(slots);
        }
    }

    /// Looks rows up as they lie in memory.
    fn find_many(&mut self, rows: &Picked<'_>, mut find: impl FnMut(&Batch, &[u32], &mut [u32])) {
        self.begin(rows);
        let (mut block, mut slots) = ([0; BLOCK], [0; BLOCK]);
        for (batch, begin) in rows.batches.iter().zip(&self.begins) {
            let of_batch = &mut self.slots[*begin..begin + batch.len()];
            let mut next = 0;
            while next < of_batch.len() {
                let mut length = 0;
                while next < of_batch.len() && length < BLOCK {
                    block[length] = next as u32;
                    length += usize::from(of_batch[next] == NO_SLOT);
                    next += 1;
                }
                find(batch, &block[..length], &mut slots[..length]);
                for (row, slot) in block[..length].iter().zip(&slots) {
                    of_batch[*row as usize] = *slot;
                }
            }
        }
        let slot = |place: &Place| self.slots[self.begins[place.batch as usize] + place.row as usize];
        self.of.extend(rows.places.iter().map(slot));
    }

    /// The slot of each chain, and where it lies among the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut begin = 0;
        self.chains.iter().map(move |(slot, end)| {
            let chain = begin..*end as usize;
            begin = chain.end;
            (*slot as usize, chain)
        })
    }

    /// The numbers of the places, chain after chain; within each ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    fn begin(&mut self, rows: &Picked<'_>) {
        self.begins.clear();
        let mut all = 0;
        for batch in rows.batches {
            self.begins.push(all);
            all += batch.len();
        }
        self.slots.clear();
        self.slots.resize(all, LEFT_OUT);
        for place in rows.places {
            self.slots[self.begins[place.batch as usize] + place.row as usize] = NO_SLOT;
        }
    }

    /// Gives each place its chain for its slot, and each chain its length.
    fn count(&mut self) {
        self.time += 1;
        self.chains.clear();
        for of in &mut self.of {
            let slot = *of;
            if self.last.len() <= slot as usize {
                self.last.resize(slot as usize + 1, (0, 0));
            }
            let last = &mut self.last[slot as usize];
            if last.0 != self.time {
                *last = (self.time, self.chains.len() as u32);
                self.chains.push((slot, 0));
            }
            self.chains[last.1 as usize].1 += 1;
            *of = last.1;
        }
    }

    fn gather(&mut self) {
        let mut sum = 0;
        for (_, length) in &mut self.chains {
            // Until the chain is filled, where its next place goes.
            (*length, sum) = (sum, sum + *length);
        }
        self.numbers.clear();
        self.numbers.resize(self.of.len(), 0);
        for (number, chain) in (0..).zip(&self.of) {
            let next = &mut self.chains[*chain as usize].1;
            self.numbers[*next as usize] = number;
            *next += 1;
        }
    }
}
