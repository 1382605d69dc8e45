//! Slots: the partials of all accumulators of a step under one number, given out and taken back.

use super::accumulators::{Accumulator, Copies, Finishing, Measure, Rows};
use crate::fault::Failure;
use arrow::array::ArrayRef;

/// Where rows go that count nowhere. Emptied after every batch that had some.
pub const NOWHERE: u32 = 0;

/// A slot that is always empty: the aggregates of no records.
pub const EMPTY: u32 = 1;

/// How many slots are made at once, at least.
const GROWTH: usize = 64;

/// All slots of one instance.
pub struct Slots {
    accumulators: Vec<Box<dyn Accumulator>>,
    count: usize,
    free: Vec<u32>,
}

impl Slots {
    /// No slots but the two that always are.
    pub fn new(mut accumulators: Vec<Box<dyn Accumulator>>) -> Slots {
        accumulators.iter_mut().for_each(|a| a.grow(2));
        Slots { accumulators, count: 2, free: Vec::new() }
    }

    /// An empty slot.
    pub fn take(&mut self) -> u32 {
        if self.free.is_empty() {
            let count = self.count + GROWTH.max(self.count / 2);
            self.accumulators.iter_mut().for_each(|a| a.grow(count));
            self.free.extend((self.count as u32..count as u32).rev());
            self.count = count;
        }
        self.free.pop().expect("there is a free slot now")
    }

    /// Empties slots and takes them back.
    pub fn give(&mut self, slots: &[u32]) {
        self.clear(slots);
        self.free.extend_from_slice(slots);
    }

    /// Empties slots.
    pub fn clear(&mut self, slots: &[u32]) {
        self.accumulators.iter_mut().for_each(|a| a.clear(slots));
    }

    /// How many slot numbers there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Folds rows in, in their order.
    pub fn update(&mut self, rows: &Rows<'_>) {
        self.accumulators.iter_mut().for_each(|a| a.update(rows));
    }

    /// Joins slots into others: pairs of into and from, in their order.
    pub fn merge(&mut self, pairs: &[(u32, u32)]) {
        self.accumulators.iter_mut().for_each(|a| a.merge(pairs));
    }

    /// What an accumulator tells of some slots: a column for each measure.
    pub fn finish(&self, accumulator: usize, measures: &[Measure], cx: &Finishing<'_>) -> Vec<ArrayRef> {
        self.accumulators[accumulator].finish(measures, cx)
    }

    /// The bytes of a slot.
    pub fn save(&self, slot: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.accumulators.iter().for_each(|a| a.save(slot, &mut bytes));
        bytes
    }

    /// Makes room for the copies of so many slots.
    pub fn expect_copies(&mut self, count: usize) {
        self.accumulators.iter_mut().for_each(|a| a.expect_copies(count));
    }

    /// Copies the partials of some slots, behind those that were copied before.
    pub fn copy(&mut self, slots: &[u32]) {
        self.accumulators.iter_mut().for_each(|a| a.copy(slots));
    }

    /// What was copied of each accumulator, to be saved on any thread.
    pub fn take_copies(&mut self) -> Vec<Box<dyn Copies>> {
        self.accumulators.iter_mut().map(|a| a.take_copies()).collect()
    }

    /// Fills a slot from its bytes.
    pub fn load(&mut self, slot: u32, mut bytes: &[u8]) -> Result<(), Failure> {
        for accumulator in &mut self.accumulators {
            let rest = accumulator.load(slot, bytes);
            bytes = rest.map_err(|e| Failure::new(format!("a partial aggregate cannot be read: {e}")))?;
        }
        if bytes.is_empty() { Ok(()) } else { Err(Failure::new("a partial aggregate was made by other aggregates")) }
    }
}
