//! The keys that a worker has state for, as dense numbers.

use crate::key;
use crate::operator::sweep::Sweep;
use hashbrown::HashTable;
use std::ops::Deref;

/// No pane begins here: the cache of a key is empty.
const NO_PANE: i64 = i64::MAX;

/// How many keys are looked up at once. Nothing in a step of that waits for the one before, so that the misses of the
/// cache are waited for together.
const BLOCK: usize = 32;

/// No key has this number.
const NO_KEY: u32 = u32::MAX;

/// Keys by number; numbers of forgotten keys are given again.
#[derive(Default)]
pub struct Keys {
    index: HashTable<Pointer>,
    entries: Vec<Entry>,
    /// The end of the last pane in which a key was seen; as long as the last number for which it was asked.
    seen: Vec<i64>,
    /// The living keys in order of their bytes, as of the last [`Keys::rank`].
    order: Vec<u32>,
    /// The place of each key in that order, by number. Apart from the entries: all of it is written and read at once.
    ranks: Vec<u32>,
    /// Keys that came since.
    unranked: Vec<u32>,
    /// Numbers that may be given again after the next ranking, and now.
    dead: Vec<u32>,
    free: Vec<u32>,
}

/// Where an entry is, and half of its hash: that it is another's shows without looking there.
#[derive(Clone, Copy)]
struct Pointer {
    hash_half: u32,
    id: u32,
}

impl Pointer {
    fn half(hash: u64) -> u32 {
        (hash >> 32) as u32
    }
}

/// What is known of a key: one line of the cache.
#[repr(align(64))]
pub struct Entry {
    /// Its hash.
    pub hash: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// How many slots it has.
    pub live: u32,
    /// Whether it had slots, and has none.
    pub idle: bool,
    cached_pane: i64,
    cached_origin: u32,
    cached_slot: u32,
    alive: bool,
}

/// The bytes of a key; short ones lie where the key is looked up, which spares a miss of the cache.
#[derive(Clone)]
pub enum Bytes {
    /// Their number, and they.
    Short(u8, [u8; SHORT]),
    /// Elsewhere.
    Long(Box<[u8]>),
}

/// Makes an entry's bytes 24 with length and tag.
const SHORT: usize = 22;

impl Bytes {
    fn of(bytes: &[u8]) -> Bytes {
        if bytes.len() > SHORT {
            return Bytes::Long(bytes.into());
        }
        let mut short = [0; SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Bytes::Short(bytes.len() as u8, short)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Short(length, bytes) => &bytes[..*length as usize],
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl Entry {
    /// The slot of the pane and origin that the key's last record went to.
    #[inline]
    pub fn cached(&self, pane: i64, origin: u32) -> Option<u32> {
        (self.cached_pane == pane && self.cached_origin == origin).then_some(self.cached_slot)
    }

    /// Remembers the slot of a pane and origin.
    pub fn cache(&mut self, pane: i64, origin: u32, slot: u32) {
        (self.cached_pane, self.cached_origin, self.cached_slot) = (pane, origin, slot);
    }

    /// Forgets what was remembered.
    pub fn uncache(&mut self) {
        self.cached_pane = NO_PANE;
    }
}

impl Keys {
    /// Appends the numbers of many keys; new ones where keys are new.
    pub fn find_or_add_all(&mut self, keys: &key::Keys, numbers: &mut Vec<u32>) {
        let hashes = keys.hashes();
        for from in (0..hashes.len()).step_by(BLOCK) {
            let block = &hashes[from..hashes.len().min(from + BLOCK)];
            let mut likely = [NO_KEY; BLOCK];
            for (likely, hash) in likely.iter_mut().zip(block) {
                let found = self.index.find(*hash, |pointer| pointer.hash_half == Pointer::half(*hash));
                *likely = found.map_or(NO_KEY, |pointer| pointer.id);
            }
            for (i, (likely, hash)) in likely.into_iter().zip(block).enumerate() {
                let bytes = keys.key(from + i);
                let is = self.entries.get(likely as usize).is_some_and(|entry| *entry.bytes == *bytes);
                numbers.push(if is { likely } else { self.find_or_add(*hash, bytes) });
            }
        }
    }

    /// The number of a key; a new one where the key is new.
    pub fn find_or_add(&mut self, hash: u64, bytes: &[u8]) -> u32 {
        let entries = &self.entries;
        let is = |pointer: &Pointer| {
            pointer.hash_half == Pointer::half(hash) && *entries[pointer.id as usize].bytes == *bytes
        };
        match self.index.find(hash, is) {
            Some(pointer) => pointer.id,
            None => self.add(hash, bytes),
        }
    }

    #[cold]
    fn add(&mut self, hash: u64, bytes: &[u8]) -> u32 {
        let entry = Entry {
            hash,
            bytes: Bytes::of(bytes),
            live: 0,
            idle: false,
            cached_pane: NO_PANE,
            cached_origin: 0,
            cached_slot: 0,
            alive: true,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        if let Some(seen) = self.seen.get_mut(id as usize) {
            *seen = i64::MIN;
        }
        let entries = &self.entries;
        let pointer = Pointer { hash_half: Pointer::half(hash), id };
        self.index.insert_unique(hash, pointer, |pointer| entries[pointer.id as usize].hash);
        self.unranked.push(id);
        id
    }

    /// The end of the last pane in which a key was seen, where that was noted; else [`i64::MIN`].
    pub fn seen(&self, id: u32) -> i64 {
        self.seen.get(id as usize).copied().unwrap_or(i64::MIN)
    }

    /// Notes that a key was seen in a pane that ends there.
    pub fn see(&mut self, id: u32, end: i64) {
        self.seen.resize(self.entries.len(), i64::MIN);
        let seen = &mut self.seen[id as usize];
        *seen = end.max(*seen);
    }

    /// What is known of a key.
    #[inline]
    pub fn entry(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    /// The same, to be changed.
    #[inline]
    pub fn entry_mut(&mut self, id: u32) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// Forgets a key, once.
    pub fn forget(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        if !std::mem::replace(&mut entry.alive, false) {
            return;
        }
        if let Ok(found) = self.index.find_entry(entry.hash, |other| other.id == id) {
            found.remove();
        }
        self.dead.push(id);
    }

    /// Gives every living key its rank. O(new log new + all), and nothing where no key is new.
    pub fn rank(&mut self) {
        if self.unranked.is_empty() {
            return;
        }
        let (entries, alive) = (&self.entries, |id: &u32| self.entries[*id as usize].alive);
        let mut new = std::mem::take(&mut self.unranked);
        new.retain(alive);
        new.sort_unstable_by(|a, b| entries[*a as usize].bytes.cmp(&*entries[*b as usize].bytes));
        let mut old = std::mem::take(&mut self.order).into_iter().filter(alive).peekable();
        let mut order = Vec::with_capacity(entries.len());
        for id in new {
            while let Some(before) = old.next_if(|o| *entries[*o as usize].bytes < *entries[id as usize].bytes) {
                order.push(before);
            }
            order.push(id);
        }
        order.extend(old);
        self.ranks.resize(entries.len(), 0);
        for (rank, id) in order.iter().enumerate() {
            self.ranks[*id as usize] = rank as u32;
        }
        self.order = order;
        self.free.append(&mut self.dead);
    }

    /// The place of a key in the order of keys, as of the last [`Keys::rank`].
    #[inline]
    pub fn rank_of(&self, id: u32) -> u32 {
        self.ranks[id as usize]
    }

    /// For those who never rank: the numbers of forgotten keys may be given again from now on.
    pub fn recycle(&mut self) {
        self.unranked.clear();
        self.free.append(&mut self.dead);
    }

    /// The living keys by number, in no order that means anything but the same in every run.
    pub fn living(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.entries.len() as u32).filter(|id| self.entries[*id as usize].alive)
    }

    /// Owes the numbers of all living keys to a copy.
    pub fn wanted(&self) -> Sweep {
        let mut wanted = Sweep::of(self.entries.len());
        for dead in self.free.iter().chain(&self.dead) {
            wanted.claim(*dead as usize);
        }
        wanted
    }

    /// How many keys live.
    pub fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_order_of_the_bytes_whoever_comes_and_goes() {
        let mut keys = Keys::default();
        let ranked = |keys: &mut Keys| -> Vec<Vec<u8>> {
            keys.rank();
            let mut all: Vec<_> = keys.living().map(|id| (keys.rank_of(id), keys.entry(id).bytes.to_vec())).collect();
            all.sort_unstable();
            all.into_iter().map(|(_, bytes)| bytes).collect()
        };
        let add = |keys: &mut Keys, text: &str| keys.find_or_add(text.len() as u64, text.as_bytes());
        let b = add(&mut keys, "b");
        add(&mut keys, "d, which is a long key");
        assert_eq!(add(&mut keys, "b"), b);
        assert_eq!(ranked(&mut keys), [b"b".as_slice(), b"d, which is a long key".as_slice()]);
        keys.forget(b);
        add(&mut keys, "c");
        add(&mut keys, "a");
        assert_eq!(ranked(&mut keys), [b"a".as_slice(), b"c", b"d, which is a long key".as_slice()]);
        let again = add(&mut keys, "b");
        assert_eq!((again, keys.len()), (b, 4));
        assert_eq!(ranked(&mut keys), [b"a".as_slice(), b"b", b"c", b"d, which is a long key".as_slice()]);
    }
}
