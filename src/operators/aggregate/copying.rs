//! A copy of keys and slots that is made bit by bit, while they go on changing: see [`sweep`](crate::operator::sweep).

use super::accumulators::Copies;
use super::core::Core;
use super::keys::Keys;
use super::panes::Place;
use crate::key::{Bytes, KEY_GROUPS, KeyGroup, group_of};
use crate::operator::sweep::Sweep;
use crate::origin::Origin;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// A copy that is being made, of all as it was when it was begun. The keys come first. The partials of its slots lie
/// with the accumulators until it is whole.
pub struct PartialCopy {
    watermark: EventTime,
    /// How long keys count that have no slots.
    empty: Option<i64>,
    /// By key group.
    changed: Vec<bool>,
    /// The keys that it still wants, by number, and the slots.
    wanted_keys: Sweep,
    wanted: Sweep,
    keys: Vec<CopiedKey>,
    /// Of each slot.
    places: Vec<Place>,
    /// The slots at hand.
    scratch: Vec<u32>,
}

struct CopiedKey {
    number: u32,
    group: KeyGroup,
    bytes: Bytes,
    seen: EventTime,
}

impl PartialCopy {
    /// Nothing yet of the groups that changed; wants all keys that live.
    pub fn of(changed: Vec<bool>, watermark: EventTime, empty: Option<i64>, keys: &Keys) -> PartialCopy {
        PartialCopy {
            watermark,
            empty,
            changed,
            wanted_keys: keys.wanted(),
            wanted: Sweep::none(0),
            // Room for all at once: to make more of it again and again costs more than the copy.
            keys: Vec::with_capacity(keys.len()),
            places: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Wants so many slots, of all that there are.
    pub fn want<'a>(&mut self, all: usize, count: usize, slots: impl Iterator<Item = &'a u32>) {
        self.wanted = Sweep::none(all);
        slots.for_each(|slot| self.wanted.owe(*slot as usize));
        self.places.reserve(count);
    }

    /// Takes a key before it changes, if it is still wanted.
    pub fn preserve_key(&mut self, number: u32, keys: &Keys) {
        if self.wanted_keys.claim(number as usize) {
            self.take_key(number, keys);
        }
    }

    /// Takes those of some slots before they change that are still wanted.
    pub fn preserve(&mut self, slots: &[u32], places: &[Place], core: &mut Core) {
        self.scratch.clear();
        self.scratch.extend(slots.iter().filter(|slot| self.wanted.claim(**slot as usize)));
        self.take(places, core);
    }

    /// Copies so many keys and slots; says whether that was all.
    pub fn go_on(&mut self, count: usize, places: &[Place], core: &mut Core) -> bool {
        for _ in 0..count {
            let Some(number) = self.wanted_keys.next() else { return self.go_on_with_slots(count, places, core) };
            self.take_key(number as u32, &core.keys);
        }
        false
    }

    fn go_on_with_slots(&mut self, count: usize, places: &[Place], core: &mut Core) -> bool {
        self.scratch.clear();
        self.scratch.extend(self.wanted.by_ref().take(count).map(|slot| slot as u32));
        let is_whole = self.scratch.len() < count;
        self.take(places, core);
        is_whole
    }

    fn take_key(&mut self, number: u32, keys: &Keys) {
        let entry = keys.entry(number);
        let group = group_of(entry.hash);
        if self.changed[group as usize] {
            self.keys.push(CopiedKey { number, group, bytes: entry.bytes.clone(), seen: keys.seen(number) });
        }
    }

    /// Takes the slots at hand, where their groups changed.
    fn take(&mut self, places: &[Place], core: &mut Core) {
        if self.scratch.is_empty() {
            return;
        }
        let changed = &self.changed;
        let group = |slot: u32| group_of(core.keys.entry(places[slot as usize].key).hash);
        self.scratch.retain(|slot| changed[group(*slot) as usize]);
        self.places.extend(self.scratch.iter().map(|slot| places[*slot as usize]));
        core.slots.copy(&self.scratch);
    }

    /// Makes bytes of it.
    pub fn save(mut self, partials: &[Box<dyn Copies>], save: &mut dyn FnMut(KeyGroup, Vec<u8>)) {
        let places = &self.places;
        let mut slots: Vec<u32> = (0..places.len() as u32).collect();
        slots.sort_unstable_by_key(|slot| {
            let Place { key, origin, pane, bucket } = places[*slot as usize];
            (key, pane, origin, bucket)
        });
        self.keys.sort_unstable_by_key(|key| key.number);
        let (mut groups, mut rest) = (vec![Vec::<(&CopiedKey, &[u32])>::new(); KEY_GROUPS], &slots[..]);
        for key in &self.keys {
            let own = rest.iter().take_while(|slot| places[**slot as usize].key == key.number).count();
            let (slots, later) = rest.split_at(own);
            rest = later;
            if own > 0 || self.is_told(key) {
                groups[key.group as usize].push((key, slots));
            }
        }
        assert!(rest.is_empty(), "a slot's key lives");
        for (group, mut keys) in groups.into_iter().enumerate().filter(|(group, _)| self.changed[*group]) {
            keys.sort_unstable_by(|(a, _), (b, _)| a.bytes.cmp(&*b.bytes));
            let keys: Vec<SavedKey> = keys.iter().map(|(key, slots)| self.key(key, slots, partials)).collect();
            let saved = Saved { watermark: self.watermark, keys };
            let write = || postcard::to_stdvec(&saved).expect("state can be written");
            save(group as KeyGroup, if saved.keys.is_empty() { Vec::new() } else { write() });
        }
    }

    /// Whether windows will be told of a key although it has no slots.
    fn is_told(&self, key: &CopiedKey) -> bool {
        self.empty.is_some_and(|empty| key.seen != EventTime::MIN && self.watermark < key.seen.saturating_add(empty))
    }

    fn key(&self, key: &CopiedKey, slots: &[u32], all: &[Box<dyn Copies>]) -> SavedKey {
        let slot = |slot: &u32| {
            let Place { pane, bucket, origin, .. } = self.places[*slot as usize];
            let mut partials = Vec::new();
            all.iter().for_each(|of| of.save(*slot as usize, &mut partials));
            SavedSlot { pane, bucket, origin, partials }
        };
        SavedKey { key: key.bytes.to_vec(), seen: key.seen, slots: slots.iter().map(slot).collect() }
    }
}

/// A key group on disk: what had been fired when it was saved, and its keys in order.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    /// The watermark.
    pub watermark: EventTime,
    /// In order.
    pub keys: Vec<SavedKey>,
}

/// A key on disk.
#[derive(Serialize, Deserialize)]
pub struct SavedKey {
    /// Its bytes.
    pub key: Vec<u8>,
    /// The end of the last pane in which it was seen, where that was noted.
    pub seen: EventTime,
    /// Its slots.
    pub slots: Vec<SavedSlot>,
}

/// A slot on disk.
#[derive(Serialize, Deserialize)]
pub struct SavedSlot {
    /// The beginning of the pane.
    pub pane: EventTime,
    /// The bucket of lateness.
    pub bucket: EventTime,
    /// Whose records it has.
    pub origin: Origin,
    /// What the accumulators know.
    pub partials: Vec<u8>,
}
