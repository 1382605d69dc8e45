//! What the watermark lets go at once, worked off key by key.
//!
//! Every key has a turn: its rows in canonical order, its timers between them. What comes of a turn carries its rank,
//! and goes out as if the rows and timers of all keys had been taken in the order of time.

use super::chains::are_few;
use super::emitter::Rank;
use super::{FIRES, Keyed, KeyedOperator};
use crate::batch::{Batch, Picked, Place};
use crate::key::Keys;
use crate::operator::{Outputs, Reject};
use crate::time::{BEFORE_ALL, EventTime};
use crate::value::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Rows that the watermark lets go at once.
struct Release<'a> {
    rows: Picked<'a>,
    /// Their last point.
    until: EventTime,
    /// The numbers of their places, chained by key.
    numbers: &'a [u32],
    /// For each batch, the numbers that the operator reads of it.
    read: Vec<&'a [u8]>,
    /// How many these are.
    reads: usize,
}

/// How many rows ahead are brought near.
const AHEAD: usize = 64;
/// Bytes of a line of the cache, and of a number.
const LINE: usize = 64;
const NUMBER: usize = 8;

impl Release<'_> {
    /// Reads what the operator will read of the next rows; says how far. They lie far apart: to wait for all together
    /// takes less than to wait for each.
    fn bring_near(&self, from: usize) -> usize {
        let until = self.numbers.len().min(from + AHEAD);
        let mut any = 0;
        for number in &self.numbers[from..until] {
            let Place { batch, row, .. } = self.rows.places[*number as usize];
            for numbers in &self.read[batch as usize * self.reads..][..self.reads] {
                any ^= numbers.get(row as usize * NUMBER).copied().unwrap_or(0);
            }
        }
        black_box(any);
        until
    }
}

fn keys_of(batch: &Batch) -> &Keys {
    batch.keys().expect("a keyed step's batches have keys")
}

/// A key whose rows and timers are worked off.
pub struct Turn {
    slot: usize,
    /// Its timers that are due up to the last row of any key.
    pub due: BTreeSet<EventTime>,
    /// How far it has come.
    now: EventTime,
}

impl<K: KeyedOperator> Keyed<K> {
    /// Takes rows, which come in canonical order; none is late, so that a row's point is its time.
    pub(super) fn take(&mut self, rows: Picked<'_>, out: &mut Outputs) {
        let Some(until) = rows.places.iter().map(|place| place.point).max() else { return };
        let mut chains = std::mem::take(&mut self.chains);
        chains.chain(&rows, |batch, rows, slots| self.find_all(keys_of(batch), rows, slots));
        let mut due = self.due_until(until);
        let read: Vec<&[u8]> = rows.batches.iter().flat_map(|batch| self.shape.numbers(batch)).collect();
        // Another thread has made them. Once through as they lie: so the processor sees what comes next.
        if !are_few(&rows) {
            black_box(read.iter().flat_map(|numbers| numbers.iter().step_by(LINE)).fold(0, |any, byte| any ^ byte));
        }
        let release = Release { rows, until, numbers: chains.numbers(), read, reads: self.shape.reads.len() };
        let mut near = 0;
        for (slot, chain) in chains.iter() {
            let due = due.remove(&slot).unwrap_or_default();
            self.work_off(Turn { slot, due, now: BEFORE_ALL }, chain, &release, &mut near);
        }
        for (slot, due) in due {
            self.work_off(Turn { slot, due, now: BEFORE_ALL }, 0..0, &release, &mut near);
        }
        self.chains = chains;
        self.rejected.sort_unstable_by_key(|(number, _)| *number);
        for (number, Reject(reason)) in self.rejected.drain(..) {
            let place = rows.places[number as usize];
            out.reject(&rows.batches[place.batch as usize], place.row as usize, reason);
        }
        self.emitter.flush(rows.batches, out);
    }

    /// The slots of some rows' keys; new ones where keys are new.
    fn find_all(&mut self, keys: &Keys, rows: &[u32], slots: &mut [u32]) {
        // No step of this waits for the one before, so that the misses of the cache are waited for together.
        for (row, slot) in rows.iter().zip(&mut *slots) {
            *slot = self.likely(keys.hashes()[*row as usize]);
        }
        for (row, slot) in rows.iter().zip(slots) {
            let (hash, key) = (keys.hashes()[*row as usize], keys.key(*row as usize));
            if self.names.get(*slot as usize).is_none_or(|name| **name != *key) {
                *slot = self.find_or_add(hash, key) as u32;
            }
        }
    }

    /// Takes the timers up to and at `until`: for each slot, the times.
    fn due_until(&mut self, until: EventTime) -> BTreeMap<usize, BTreeSet<EventTime>> {
        let mut due: BTreeMap<usize, BTreeSet<EventTime>> = BTreeMap::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= until) {
            let timer = self.timers.pop_first().expect("there is a first");
            self.copy.iter_mut().for_each(|copy| copy.lose(&timer));
            let (at, key) = timer;
            if let Some(slot) = self.find(xxh3_64(&key), &key).filter(|slot| self.is_its_own(*slot, &key)) {
                due.entry(slot).or_default().insert(at);
            }
        }
        due
    }

    /// Works off the rows of a key, and its timers between them and up to the last row of any key.
    fn work_off(&mut self, mut turn: Turn, chain: Range<usize>, release: &Release<'_>, near: &mut usize) {
        let Picked { batches, places } = release.rows;
        for link in chain {
            if link == *near {
                *near = release.bring_near(link);
            }
            let number = release.numbers[link];
            let Place { point: at, batch, row } = places[number as usize];
            if !turn.due.is_empty() {
                self.fire_due(&mut turn, at, release);
            }
            let (batch, row) = (batch as usize, row as usize);
            if self.slots[turn.slot].is_none() {
                let keys = keys_of(&batches[batch]);
                turn.slot = self.find_or_add(keys.hashes()[row], keys.key(row));
            } else if self.is_over(turn.slot, at) {
                turn.due.clear();
            }
            turn.slot = self.touch(turn.slot, at);
            turn.now = at;
            self.emitter.batch = batch;
            self.emitter.rank = Rank { number, with_row: true, ..Rank::default() };
            let row = Row::new(&batches[batch], row);
            if let Err(reject) = self.call(turn.slot, at, Some(row), Some((&mut turn, release.until))) {
                self.rejected.push((number, reject));
            }
        }
        self.fire_due(&mut turn, release.until, release);
    }

    /// Fires a key's timers up to and at `until`.
    fn fire_due(&mut self, turn: &mut Turn, until: EventTime, release: &Release<'_>) {
        while let Some(at) = turn.due.first().copied().filter(|at| *at <= until) {
            turn.due.remove(&at);
            if self.is_over(turn.slot, at) {
                continue;
            }
            // One that was asked for just now, and for no later time, goes out with what asked for it.
            if at > turn.now {
                turn.now = at;
                let number = release.rows.places.partition_point(|place| place.point < at) as u32;
                let key = Some(self.slot(turn.slot).key.clone());
                self.emitter.rank = Rank { number, with_row: false, at, key };
            }
            self.call(turn.slot, at, None, Some((turn, release.until))).expect(FIRES);
        }
    }
}
