//! Tumbling, hopping and global windows: records are folded as they come, windows are put together from panes.
//!
//! ```text
//! slot = (pane, bucket of lateness, key, origin)      a record goes to one slot, however many windows hold it
//! agenda = (point, window), ascending                 filled when a pane gets its first slot, and for every late one
//! fire(point, window) = for each key, its slots in the panes of the window, in buckets up to the point,
//!                       joined by (pane, origin, bucket): an order that no timing can change
//! ```
//! A slot is filled by one origin in the order of its sequence, so its bits are the same in every run.

use super::copying::{PartialCopy, Saved, SavedKey, SavedSlot};
use super::core::{Core, Fired, Firing, Shape};
use super::grid::{Grid, ON_TIME, WHOLE};
use super::slots::{EMPTY, NOWHERE};
use crate::batch::Batch;
use crate::fault::Failure;
use crate::key::KeyGroup;
use crate::operator::{Copied, Copying, Instance, Outputs, StateRow};
use crate::origin::Origin;
use crate::schema::Field;
use crate::time::{self, BEFORE_ALL, EventTime};
use hashbrown::HashTable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// How many rows wait at most before they are handed over.
const ROWS_MAX: usize = 8192;

/// Of how many keys one must be in a window for its slots to be ordered by counting.
const FEW: usize = 8;

/// How many keys without slots are kept at least, before any is forgotten: some 2 MB.
const IDLE_KEYS: usize = 16_384;

/// Windows made of panes, at work.
pub struct Panes {
    grid: Arc<Grid>,
    /// How long after a key was last seen its windows are told although they are empty.
    empty: Option<i64>,
    core: Core,
    panes: BTreeMap<EventTime, Pane>,
    /// What each slot is for, by its number.
    places: Vec<Place>,
    /// Which windows fire, and when.
    agenda: BTreeSet<(EventTime, EventTime)>,
    /// Keys that count as seen from a point on, and the end of the pane they were seen in.
    sightings: BTreeMap<EventTime, Vec<(u32, EventTime)>>,
    watermark: EventTime,
    /// How many keys have no slots.
    idle: usize,
    scratch: Scratch,
    /// Panes that were freed, to be used again.
    spare: Vec<Pane>,
    /// The copy that is being made.
    copy: Option<PartialCopy>,
}

/// Memory that is used again from batch to batch, and from window to window.
#[derive(Default)]
struct Scratch {
    /// The key of every row.
    keys: Vec<u32>,
    gathered: Vec<Gathered>,
    /// The places of the gathered, in order of their keys.
    order: Vec<u32>,
    /// By rank: where the next of the key goes in that order.
    next: Vec<u32>,
    of_key: Vec<Gathered>,
}

#[derive(Default)]
struct Pane {
    slots: Vec<u32>,
    index: HashTable<u32>,
    /// Whether the agenda has what is on time here.
    scheduled: bool,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The key.
    pub key: u32,
    /// Whose records it has.
    pub origin: Origin,
    /// The beginning of the pane.
    pub pane: EventTime,
    /// The bucket of lateness.
    pub bucket: EventTime,
}

/// A slot of a window that fires. Sorted, the slots of a key are in the order in which they are joined.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gathered {
    pane: EventTime,
    origin: Origin,
    bucket: EventTime,
    slot: u32,
    key: u32,
}

impl Panes {
    /// Nothing yet.
    pub fn new(grid: Arc<Grid>, empty: Option<i64>, shape: Arc<Shape>) -> Panes {
        Panes {
            grid,
            empty,
            core: Core::new(shape),
            panes: BTreeMap::new(),
            places: Vec::new(),
            agenda: BTreeSet::new(),
            sightings: BTreeMap::new(),
            watermark: BEFORE_ALL,
            idle: 0,
            scratch: Scratch::default(),
            spare: Vec::new(),
            copy: None,
        }
    }

    /// Finds the slot of every row.
    fn assign(&mut self, batch: &Batch, failed: &[u32], late: &mut Vec<(u32, String)>) {
        let keys = batch.keys().expect("a step that is planned as keyed has keys");
        if batch.any_late() || !failed.is_empty() {
            return self.assign_troubled(batch, failed, late);
        }
        let (times, origins, hashes) = (batch.times(), batch.origins(), keys.hashes());
        let mut numbers = std::mem::take(&mut self.scratch.keys);
        self.core.keys.find_or_add_all(keys, &mut numbers);
        let (mut from, mut until) = (EventTime::MAX, EventTime::MIN);
        for (row, key) in numbers.iter().copied().enumerate() {
            if !(from <= times[row] && times[row] < until) {
                (from, until) = self.pane_around(times[row]);
            }
            self.core.touch(hashes[row]);
            let cached = self.core.keys.entry(key).cached(from, origins[row]);
            let place = Place { key, origin: origins[row], pane: from, bucket: ON_TIME };
            let slot = cached.unwrap_or_else(|| self.find_or_add(place));
            self.core.assigned.push(slot);
        }
        numbers.clear();
        self.scratch.keys = numbers;
    }

    /// The same where some rows are late, or failed: those that count nowhere make no keys.
    fn assign_troubled(&mut self, batch: &Batch, failed: &[u32], late: &mut Vec<(u32, String)>) {
        let keys = batch.keys().expect("a step that is planned as keyed has keys");
        for row in 0..batch.len() {
            let (pane, _) = self.pane_around(batch.times()[row]);
            let slot = match self.admit(batch, row, pane, failed, late) {
                None => NOWHERE,
                Some(bucket) => {
                    let hash = keys.hashes()[row];
                    self.core.touch(hash);
                    let key = self.core.keys.find_or_add(hash, keys.key(row));
                    self.find_or_add(Place { key, origin: batch.origins()[row], pane, bucket })
                }
            };
            self.core.assigned.push(slot);
        }
    }

    fn pane_around(&self, time: EventTime) -> (EventTime, EventTime) {
        let from = self.grid.pane_of(time);
        (from, if from == WHOLE { EventTime::MAX } else { self.grid.pane_end(from) })
    }

    /// The bucket of a row; none where it counts nowhere, because it failed or came too late for every window.
    fn admit(
        &self,
        batch: &Batch,
        row: usize,
        pane: EventTime,
        failed: &[u32],
        late: &mut Vec<(u32, String)>,
    ) -> Option<EventTime> {
        if failed.binary_search(&(row as u32)).is_ok() {
            return None;
        }
        let Some(stamp) = batch.stamp(row) else { return Some(ON_TIME) };
        let window = self.grid.last_window(pane);
        let end = self.grid.end_of(window);
        if self.grid.deadline(end) > stamp {
            return Some(self.grid.bucket(pane, stamp));
        }
        late.push((row as u32, self.too_late((window, end), stamp)));
        None
    }

    fn too_late(&self, (start, end): (EventTime, EventTime), stamp: EventTime) -> String {
        let last = if self.grid.slide < self.grid.size { "the last window that holds it" } else { "its window" };
        let (start, end, watermark) = (time::format(start), time::format(end), time::format(stamp));
        let allowed = time::Interval::from_micros(self.grid.allowed);
        format!(
            "{last}, {start} to {end}, was closed: the watermark of its partition was {watermark} already, and allowed_lateness is {allowed}"
        )
    }

    fn find_or_add(&mut self, place: Place) -> u32 {
        let (panes, places) = (&self.panes, &self.places);
        let is = |slot: &u32| places[*slot as usize] == place;
        let found = panes.get(&place.pane).and_then(|pane| pane.index.find(place.hash(), is)).copied();
        let slot = found.unwrap_or_else(|| self.add(place));
        if place.bucket == ON_TIME {
            self.core.keys.entry_mut(place.key).cache(place.pane, place.origin, slot);
        }
        slot
    }

    #[cold]
    fn add(&mut self, place: Place) -> u32 {
        let slot = self.core.slots.take();
        self.enter(place, slot);
        let pane = self.panes.get_mut(&place.pane).expect("a pane that was entered");
        if place.bucket != ON_TIME || !std::mem::replace(&mut pane.scheduled, true) {
            self.schedule(place, BEFORE_ALL);
        }
        self.sight(place, BEFORE_ALL);
        slot
    }

    /// Puts a slot into its place.
    fn enter(&mut self, place: Place, slot: u32) {
        self.places.resize(self.core.slots.len(), Place::default());
        self.places[slot as usize] = place;
        let pane = self.panes.entry(place.pane).or_insert_with(|| self.spare.pop().unwrap_or_default());
        pane.slots.push(slot);
        let places = &self.places;
        pane.index.insert_unique(place.hash(), slot, |slot| places[*slot as usize].hash());
        let entry = self.core.keys.entry_mut(place.key);
        entry.live += 1;
        self.idle -= usize::from(std::mem::take(&mut entry.idle));
    }

    /// Enters into the agenda all that a slot is for, after a point.
    fn schedule(&mut self, place: Place, after: EventTime) {
        let agenda = &mut self.agenda;
        self.grid.uses(place.pane, place.bucket, |point, window| {
            if point > after {
                agenda.insert((point, window));
            }
        });
    }

    /// Notes that a key was seen in a pane, from the point on that holds the record. The next window is looked at then,
    /// if that is after a point.
    fn sight(&mut self, place: Place, after: EventTime) {
        if self.empty.is_some() {
            let pane_end = self.grid.pane_end(place.pane);
            let point = pane_end.max(place.bucket);
            self.sightings.entry(point).or_default().push((place.key, pane_end));
            let end = self.grid.end_from(point);
            if end > after {
                self.agenda.insert((end, end.saturating_sub(self.grid.size)));
            }
        }
    }

    /// Lets keys count as seen that were seen up to a point.
    fn absorb(&mut self, point: EventTime) {
        while let Some(first) = self.sightings.first_entry().filter(|first| *first.key() <= point) {
            for (key, end) in first.remove() {
                self.copy.iter_mut().for_each(|copy| copy.preserve_key(key, &self.core.keys));
                self.core.keys.see(key, end);
            }
        }
    }

    /// Whether a window with this end is told of a key although it holds no record of it.
    fn tells_empty(&self, key: u32, end: EventTime) -> bool {
        let seen = self.core.keys.seen(key);
        self.empty.is_some_and(|empty| seen != EventTime::MIN && end <= seen.saturating_add(empty))
    }

    /// Fires a window at a point: rows in order of key.
    fn fire(&mut self, point: EventTime, window: EventTime, out: &mut Outputs) {
        let end = self.grid.end_of(window);
        self.core.keys.rank();
        let mut scratch = std::mem::take(&mut self.scratch);
        let Scratch { gathered, order, next, of_key, .. } = &mut scratch;
        self.gather(point, (window, end), gathered);
        if point == end && self.empty.is_some() {
            self.gather_empty(window, end, gathered);
        }
        self.sort_by_rank(gathered, order, next);
        for slots in order.chunk_by(|a, b| gathered[*a as usize].key == gathered[*b as usize].key) {
            of_key.extend(slots.iter().map(|place| gathered[*place as usize]));
            if !of_key.is_sorted() {
                of_key.sort_unstable();
            }
            if point == end || of_key.iter().any(|g| self.grid.is_new(g.pane, g.bucket, end, point)) {
                self.fire_key(point, (window, end), of_key);
            }
            of_key.clear();
            if self.core.fired.len() >= ROWS_MAX {
                self.core.flush(out);
            }
        }
        gathered.clear();
        order.clear();
        self.scratch = scratch;
    }

    /// Orders the gathered by the rank of their keys: by counting, unless few of the keys are among them.
    fn sort_by_rank(&self, gathered: &[Gathered], order: &mut Vec<u32>, next: &mut Vec<u32>) {
        let rank = |place: u32| self.core.keys.rank_of(gathered[place as usize].key);
        order.extend(0..gathered.len() as u32);
        if gathered.len() * FEW < self.core.keys.ranks() {
            return order.sort_by_cached_key(|place| rank(*place));
        }
        next.clear();
        next.resize(self.core.keys.ranks(), 0);
        order.iter().for_each(|place| next[rank(*place) as usize] += 1);
        let mut sum = 0;
        for next in &mut *next {
            (*next, sum) = (sum, sum + *next);
        }
        for place in 0..gathered.len() as u32 {
            let next = &mut next[rank(place) as usize];
            order[*next as usize] = place;
            *next += 1;
        }
    }

    fn gather(&self, point: EventTime, (window, end): (EventTime, EventTime), gathered: &mut Vec<Gathered>) {
        let until = end.min(point);
        for (start, pane) in self.panes.range(window..until) {
            for slot in &pane.slots {
                let Place { key, origin, bucket, .. } = self.places[*slot as usize];
                if self.grid.includes(bucket, end, point) {
                    gathered.push(Gathered { pane: *start, origin, bucket, slot: *slot, key });
                }
            }
        }
    }

    /// Adds an empty slot for every key whose windows are told, and sees to it that the next window is looked at too.
    fn gather_empty(&mut self, window: EventTime, end: EventTime, gathered: &mut Vec<Gathered>) {
        self.absorb(end);
        let next = end.saturating_add(self.grid.slide);
        let mut more = false;
        for key in self.core.keys.living() {
            more |= self.tells_empty(key, next);
            if self.tells_empty(key, end) {
                gathered.push(Gathered { pane: EventTime::MAX, origin: 0, bucket: ON_TIME, slot: EMPTY, key });
            }
        }
        if more {
            self.agenda.insert((next, window.saturating_add(self.grid.slide)));
        }
    }

    fn fire_key(&mut self, point: EventTime, window: (EventTime, EventTime), slots: &[Gathered]) {
        let Gathered { key, slot, .. } = slots[0];
        let real = if slots.len() > 1 { slots.iter().filter(|g| g.slot != EMPTY).count() } else { 1 };
        let give = real > 1;
        let slot = if give { self.core.merged(slots[..real].iter().map(|g| g.slot)) } else { slot };
        let firing = match point.cmp(&window.1) {
            std::cmp::Ordering::Less => Firing::Early,
            std::cmp::Ordering::Equal => Firing::OnTime,
            std::cmp::Ordering::Greater => Firing::Correction,
        };
        let revision = if firing == Firing::Correction { self.revision(window.1, slots) } else { 0 };
        let hash = self.core.keys.entry(key).hash;
        self.core.touch(hash);
        self.core.fired.push(Fired { key, window, point: Some(point), firing, revision, slot, give });
    }

    /// What the slots of a key in a window come to now, and their bytes; those of a pane count for its last window.
    fn present(&mut self, window: (EventTime, EventTime), slots: &[Gathered]) -> (Fired, usize) {
        let own = slots.iter().filter(|g| self.grid.last_window(g.pane) == window.0);
        let bytes = own.map(|g| self.core.slots.save(g.slot).len()).sum();
        let give = slots.len() > 1;
        let slot = if give { self.core.merged(slots.iter().map(|g| g.slot)) } else { slots[0].slot };
        let (key, firing) = (slots[0].key, Firing::OnTime);
        (Fired { key, window, point: None, firing, revision: 0, slot, give }, bytes)
    }

    /// How many points of correction the records of a window have had.
    fn revision(&self, end: EventTime, slots: &[Gathered]) -> i64 {
        let late = slots.iter().filter(|g| g.bucket > end);
        late.map(|g| self.grid.correction(g.bucket)).collect::<BTreeSet<_>>().len() as i64
    }

    /// Frees the panes that no window needs after a point.
    fn free(&mut self, point: EventTime) {
        self.absorb(point);
        while let Some(first) = self.panes.first_entry() {
            let last = self.grid.end_of(self.grid.last_window(*first.key()));
            if self.grid.last_point(last) > point {
                break;
            }
            let mut pane = first.remove();
            self.leave(&pane.slots);
            pane.slots.clear();
            pane.index.clear();
            pane.scheduled = false;
            self.spare.push(pane);
        }
        if self.idle > IDLE_KEYS && self.idle * 2 > self.core.keys.len() {
            self.forget_idle();
        }
    }

    /// Takes slots out of use.
    fn leave(&mut self, slots: &[u32]) {
        self.copy.iter_mut().for_each(|copy| copy.preserve(slots, &self.places, &mut self.core));
        self.core.slots.give(slots);
        for slot in slots {
            let entry = self.core.keys.entry_mut(self.places[*slot as usize].key);
            entry.live -= 1;
            entry.idle = entry.live == 0;
            entry.uncache();
            self.idle += usize::from(entry.idle);
            let hash = entry.hash;
            self.core.touch(hash);
        }
    }

    /// Forgets the keys that have no slots and are not told of any more. They are not forgotten at once: most come
    /// again in the next window.
    fn forget_idle(&mut self) {
        let gone: Vec<u32> = self.core.keys.living().filter(|key| !self.matters(*key)).collect();
        self.idle -= gone.iter().filter(|key| self.core.keys.entry(**key).idle).count();
        for key in gone {
            self.copy.iter_mut().for_each(|copy| copy.preserve_key(key, &self.core.keys));
            self.core.keys.forget(key);
        }
    }

    /// Whether anything is to be remembered of a key.
    fn matters(&self, key: u32) -> bool {
        self.core.keys.entry(key).live > 0 || self.tells_empty(key, self.watermark.saturating_add(1))
    }

    /// Joins what a global window has told at a point into one slot a key, so that its panes do not pile up.
    fn compact(&mut self, point: EventTime) {
        let complete: Vec<EventTime> = self.panes.range(..point).map(|(start, _)| *start).collect();
        let mut slots = Vec::new();
        for start in complete {
            let pane = self.panes.remove(&start).expect("a pane that was there");
            let (told, kept): (Vec<u32>, Vec<u32>) =
                pane.slots.into_iter().partition(|slot| self.places[*slot as usize].bucket <= point);
            slots.extend(told.into_iter().map(|slot| {
                let Place { key, origin, bucket, .. } = self.places[slot as usize];
                (self.core.keys.rank_of(key), Gathered { pane: start, origin, bucket, slot, key })
            }));
            for slot in kept {
                let place = self.places[slot as usize];
                self.enter(place, slot);
                self.core.keys.entry_mut(place.key).live -= 1;
                self.panes.get_mut(&start).expect("a pane that was entered").scheduled = true;
            }
        }
        slots.sort_unstable();
        let mut left = Vec::new();
        for of_key in slots.chunk_by(|a, b| a.0 == b.0) {
            let whole = self.core.merged(of_key.iter().map(|(_, g)| g.slot));
            self.enter(Place { key: of_key[0].1.key, origin: 0, pane: WHOLE, bucket: ON_TIME }, whole);
            left.extend(of_key.iter().map(|(_, g)| g.slot));
        }
        self.core.merge();
        self.leave(&left);
    }
}

impl Place {
    /// Mixes key, origin and bucket by one wide product, both halves of which count.
    fn hash(&self) -> u64 {
        let place = (u64::from(self.key) << 32 | u64::from(self.origin))
            ^ (self.bucket as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(place ^ 0x2d35_8dcc_aa6c_78a5) * u128::from(0x8bb8_4b93_962e_acc9_u64);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Instance for Panes {
    fn on_batch(&mut self, input: usize, batch: &Batch, out: &mut Outputs) {
        let (arguments, failed) = self.core.evaluate(batch, out);
        let mut late = Vec::new();
        self.assign(batch, &failed, &mut late);
        if let Some(copy) = &mut self.copy {
            let assigned = std::mem::take(&mut self.core.assigned);
            copy.preserve(&assigned, &self.places, &mut self.core);
            self.core.assigned = assigned;
        }
        self.core.update(batch, &arguments, !failed.is_empty() || !late.is_empty());
        out.late(input, batch, &late);
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Outputs) {
        while let Some((point, window)) = self.agenda.first().copied().filter(|(point, _)| *point <= watermark) {
            self.agenda.pop_first();
            self.fire(point, window, out);
            if self.grid.whole() && point < self.grid.end_of(window) {
                self.core.flush(out);
                self.compact(point);
            } else if self.core.fired.len() >= ROWS_MAX {
                self.core.flush(out);
                self.free(point - 1);
            }
        }
        self.core.flush(out);
        self.watermark = self.watermark.max(watermark);
        self.free(watermark);
    }

    fn snapshot(&mut self) -> Copying {
        let changed = self.core.changed();
        if !changed.contains(&true) {
            return Copying::Unchanged;
        }
        let mut copy = PartialCopy::of(changed, self.watermark, self.empty, &self.core.keys);
        let slots: usize = self.panes.values().map(|pane| pane.slots.len()).sum();
        copy.want(self.core.slots.len(), slots, self.panes.values().flat_map(|pane| &pane.slots));
        self.core.slots.expect_copies(slots);
        self.copy = Some(copy);
        Copying::Begun
    }

    fn copy_on(&mut self, keys: usize) -> Option<Copied> {
        let copy = self.copy.as_mut()?;
        if !copy.go_on(keys, &self.places, &mut self.core) {
            return None;
        }
        let (copy, partials) = (self.copy.take()?, self.core.slots.take_copies());
        Some(Box::new(move |save| copy.save(&partials, save)))
    }

    fn restore(&mut self, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        let unreadable =
            |e: postcard::Error| Failure::new(format!("the windows of key group {group} cannot be read: {e}"));
        let saved: Saved = postcard::from_bytes(bytes).map_err(unreadable)?;
        for SavedKey { key: bytes, seen, slots } in saved.keys {
            let key = self.core.keys.find_or_add(xxh3_64(&bytes), &bytes);
            self.core.keys.see(key, seen);
            for SavedSlot { pane, bucket, origin, partials } in slots {
                let place = Place { key, origin, pane, bucket };
                let slot = self.core.slots.take();
                self.core.slots.load(slot, &partials)?;
                self.enter(place, slot);
                self.schedule(place, saved.watermark);
                self.sight(place, saved.watermark);
                self.panes.get_mut(&pane).expect("a pane that was entered").scheduled |= bucket == ON_TIME;
            }
            let end = self.grid.next_end_after(saved.watermark).filter(|end| self.tells_empty(key, *end));
            self.agenda.extend(end.map(|end| (end, end - self.grid.size)));
        }
        self.watermark = self.watermark.max(saved.watermark);
        Ok(())
    }

    fn form(&self) -> String {
        self.core.shape.form()
    }

    fn keys(&self) -> usize {
        self.core.keys.len() - self.idle
    }

    fn inspect(&mut self, see: &mut dyn FnMut(StateRow<'_>)) {
        let open = |window: &EventTime| self.grid.last_point(self.grid.end_of(*window)) > self.watermark;
        let windows: BTreeSet<EventTime> =
            self.panes.keys().flat_map(|pane| self.grid.windows(*pane)).filter(open).collect();
        let (mut gathered, mut rows) = (Vec::new(), Vec::new());
        for window in windows {
            let end = self.grid.end_of(window);
            self.gather(EventTime::MAX, (window, end), &mut gathered);
            gathered.sort_unstable_by_key(|slot| (slot.key, *slot));
            for of_key in gathered.chunk_by(|a, b| a.key == b.key) {
                rows.push(self.present((window, end), of_key));
                if rows.len() >= ROWS_MAX {
                    self.core.show(&mut rows, see);
                }
            }
            gathered.clear();
        }
        self.core.show(&mut rows, see);
    }

    fn remembers(&self) -> Vec<Field> {
        self.core.shape.remembers()
    }
}
