//! Which keys come most often, in bounded memory: SpaceSaving.
//!
//! `capacity` keys are counted. When another one comes, the key that ranks last is dropped and its count inherited,
//! with a note of how much of the new count may be wrong (Metwally, Agrawal, El Abbadi: Efficient computation of
//! frequent and top-k elements, ICDT 2005). Merging follows Agarwal et al.: Mergeable summaries, PODS 2012.
//!
//! Guarantees:
//!
//! - **Exact while it can be.** Until a key has been dropped, [`TopK::exact`] is true and every count is the true one.
//! - **Bounds always.** For every key held, `count - error <= true weight <= count`. A key that is not held has a true
//!   weight of at most [`TopK::floor`], and the floor is at most `total / capacity` (by adding; merged parts add
//!   theirs).
//! - **Deterministic.** The state is a function of the weights added, in their order. Ranks are by count, descending,
//!   then by the bytes of the key, ascending; the hash table inside decides nothing. Equal contents are equal states
//!   and equal bytes.
//! - **Merging commutes** to the bit, ties included, for any two. It is associative while the result is exact; beyond
//!   that another grouping may keep other keys near the end of the ranking, with bounds that hold just the same.
//! - **No overflow.** Counts and totals stop at `u64::MAX`.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// A key with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heavy {
    /// The bytes of the key.
    pub key: Box<[u8]>,
    /// At least its true weight.
    pub count: u64,
    /// By how much the count may be too high.
    pub error: u64,
}

/// The heaviest keys of a stream.
///
/// ```
/// use eagre::stats::top_k::TopK;
/// let mut words = TopK::new(100);
/// "to be or not to be".split(' ').for_each(|word| words.add(word.as_bytes(), 1));
/// let top: Vec<_> = words.top(2).into_iter().map(|heavy| (heavy.key, heavy.count)).collect();
/// assert_eq!(top, [(b"be".as_slice().into(), 2), (b"to".as_slice().into(), 2)]);
/// assert!(words.exact());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct TopK {
    capacity: usize,
    total: u64,
    floor: u64,
    entries: Vec<Heavy>,
    index: Index,
    /// Entries as a heap with the one that ranks last at the root; empty until the first key must go, after which
    /// entries are only ever replaced. The counts in it may be out of date, and then are too low: adding to a key that
    /// is held need not touch the heap, and whoever looks for the last brings the root up to date first.
    heap: Vec<(u64, u32)>,
}

/// What a snapshot holds: entries by ascending key.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stored {
    capacity: usize,
    total: u64,
    floor: u64,
    entries: Vec<Heavy>,
}

impl From<TopK> for Stored {
    fn from(TopK { capacity, total, floor, mut entries, .. }: TopK) -> Self {
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Stored { capacity, total, floor, entries }
    }
}

impl From<Stored> for TopK {
    fn from(Stored { capacity, total, floor, entries }: Stored) -> Self {
        let mut top = TopK { total, floor, ..TopK::new(capacity) };
        entries.into_iter().for_each(|heavy| top.append(heavy));
        top
    }
}

impl PartialEq for TopK {
    fn eq(&self, other: &Self) -> bool {
        Stored::from(self.clone()) == Stored::from(other.clone())
    }
}

impl TopK {
    /// Holds at most `capacity` keys (at least 1, at most 2^31). To find the `k` heaviest with confidence, take some 10
    /// times `k`.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, 1 << 31);
        TopK { capacity, total: 0, floor: 0, entries: Vec::new(), index: Index::default(), heap: Vec::new() }
    }

    /// Adds `weight` to `key`. A weight of 0 changes nothing.
    pub fn add(&mut self, key: &[u8], weight: u64) {
        if weight == 0 {
            return;
        }
        self.total = self.total.saturating_add(weight);
        if let Some(at) = self.index.find(key, &self.entries) {
            self.entries[at].count = self.entries[at].count.saturating_add(weight);
        } else if self.entries.len() < self.capacity {
            self.append(Heavy { key: key.into(), count: self.floor.saturating_add(weight), error: self.floor });
        } else {
            self.replace_last(key, weight);
        }
    }

    /// Adds all that `other` holds; the capacity becomes the smaller of both. O(capacity log capacity).
    pub fn merge(&mut self, other: &TopK) {
        let mut merged: Vec<Heavy> = Vec::with_capacity(self.entries.len() + other.entries.len());
        for heavy in &self.entries {
            let (count, error) = other.bounds(&heavy.key);
            merged.push(Heavy {
                key: heavy.key.clone(),
                count: heavy.count.saturating_add(count),
                error: heavy.error.saturating_add(error),
            });
        }
        for heavy in other.entries.iter().filter(|heavy| self.index.find(&heavy.key, &self.entries).is_none()) {
            let (count, error) = (heavy.count.saturating_add(self.floor), heavy.error.saturating_add(self.floor));
            merged.push(Heavy { key: heavy.key.clone(), count, error });
        }
        merged.sort_unstable_by(by_rank);
        let capacity = self.capacity.min(other.capacity);
        // The ranking descends, so the first one dropped bounds them all.
        let dropped = merged.get(capacity).map_or(0, |heavy| heavy.count);
        merged.truncate(capacity);
        let (total, floor) =
            (self.total.saturating_add(other.total), dropped.max(self.floor.saturating_add(other.floor)));
        *self = Stored { capacity, total, floor, entries: merged }.into();
    }

    /// The `k` heaviest keys held, by count descending, then by key ascending.
    pub fn top(&self, k: usize) -> Vec<Heavy> {
        let mut ranked: Vec<&Heavy> = self.entries.iter().collect();
        ranked.sort_unstable_by(|a, b| by_rank(a, b));
        ranked.into_iter().take(k).cloned().collect()
    }

    /// Upper bound of the weight of `key`, and by how much it may be too high: `(count, error)`. For a key that is not
    /// held, the floor twice.
    pub fn bounds(&self, key: &[u8]) -> (u64, u64) {
        match self.index.find(key, &self.entries) {
            Some(at) => (self.entries[at].count, self.entries[at].error),
            None => (self.floor, self.floor),
        }
    }

    /// Whether every count is the true one, and every key that ever came is held.
    pub fn exact(&self) -> bool {
        self.floor == 0
    }

    /// The most that a key which is not held can weigh; 0 while [exact](TopK::exact).
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// All the weight added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of keys held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn append(&mut self, heavy: Heavy) {
        let at = self.entries.len();
        self.entries.push(heavy);
        self.index.insert(at, &self.entries);
    }

    fn replace_last(&mut self, key: &[u8], weight: u64) {
        let at = self.find_last();
        self.index.remove(at, &self.entries);
        self.floor = self.floor.max(self.entries[at].count);
        self.entries[at] = Heavy { key: key.into(), count: self.floor.saturating_add(weight), error: self.floor };
        self.index.insert(at, &self.entries);
        self.refresh_root();
    }

    /// The entry that ranks last. It is left at the root of the heap.
    fn find_last(&mut self) -> usize {
        if self.heap.is_empty() {
            self.heap = (0..).zip(&self.entries).map(|(at, heavy)| (heavy.count, at)).collect();
            (0..self.heap.len() / 2).rev().for_each(|i| self.sift_down(i));
        }
        loop {
            let (count, at) = self.heap[0];
            if count == self.entries[at as usize].count {
                return at as usize;
            }
            self.refresh_root();
        }
    }

    fn refresh_root(&mut self) {
        self.heap[0].0 = self.entries[self.heap[0].1 as usize].count;
        self.sift_down(0);
    }

    fn sift_down(&mut self, mut i: usize) {
        loop {
            let mut last = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < self.heap.len() && self.ranks_after(self.heap[child], self.heap[last]) {
                    last = child;
                }
            }
            if last == i {
                return;
            }
            self.heap.swap(i, last);
            i = last;
        }
    }

    fn ranks_after(&self, (a_count, a): (u64, u32), (b_count, b): (u64, u32)) -> bool {
        a_count < b_count || (a_count == b_count && self.entries[a as usize].key > self.entries[b as usize].key)
    }
}

fn by_rank(a: &Heavy, b: &Heavy) -> std::cmp::Ordering {
    b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key))
}

/// Where the entry of a key is: open addressing with linear probing over XXH3. A slot is 0 when free, else the position
/// of the entry plus one, with the upper half of the hash before it, which spares most comparisons of keys.
#[derive(Clone, Debug, Default)]
struct Index {
    slots: Vec<u64>,
    used: usize,
}

impl Index {
    fn find(&self, key: &[u8], entries: &[Heavy]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = xxh3_64(key);
        let mut i = self.home(hash);
        loop {
            let slot = self.slots[i];
            if slot == 0 {
                return None;
            }
            let at = position(slot);
            if slot >> 32 == hash >> 32 && *entries[at].key == *key {
                return Some(at);
            }
            i = self.next(i);
        }
    }

    /// Enters the entry at `at`, whose key is not there yet.
    fn insert(&mut self, at: usize, entries: &[Heavy]) {
        if (self.used + 1) * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![0; (old.len() * 2).max(16)];
            old.into_iter()
                .filter(|slot| *slot != 0)
                .for_each(|slot| self.place(slot, xxh3_64(&entries[position(slot)].key)));
        }
        let hash = xxh3_64(&entries[at].key);
        self.place(hash >> 32 << 32 | (at as u64 + 1), hash);
        self.used += 1;
    }

    /// Takes out the entry at `at` and closes the gap, so that no search ends too early.
    fn remove(&mut self, at: usize, entries: &[Heavy]) {
        let mut gap = self.home(xxh3_64(&entries[at].key));
        while position(self.slots[gap]) != at {
            gap = self.next(gap);
        }
        let mut i = self.next(gap);
        while self.slots[i] != 0 {
            let home = self.home(xxh3_64(&entries[position(self.slots[i])].key));
            let mask = self.slots.len() - 1;
            // It may move back into the gap unless that lies before its home.
            if i.wrapping_sub(home) & mask >= i.wrapping_sub(gap) & mask {
                self.slots[gap] = self.slots[i];
                gap = i;
            }
            i = self.next(i);
        }
        self.slots[gap] = 0;
        self.used -= 1;
    }

    fn place(&mut self, slot: u64, hash: u64) {
        let mut i = self.home(hash);
        while self.slots[i] != 0 {
            i = self.next(i);
        }
        self.slots[i] = slot;
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn next(&self, i: usize) -> usize {
        (i + 1) & (self.slots.len() - 1)
    }
}

/// The position of the entry that a slot in use names.
fn position(slot: u64) -> usize {
    slot as u32 as usize - 1
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Naive = BTreeMap<Vec<u8>, u64>;

    fn top_of(capacity: usize, stream: &[(u16, u64)]) -> TopK {
        let mut top = TopK::new(capacity);
        stream.iter().for_each(|(key, weight)| top.add(&key.to_be_bytes(), *weight));
        top
    }

    fn exact_of(stream: &[(u16, u64)]) -> Naive {
        let mut exact = Naive::new();
        stream.iter().for_each(|(key, weight)| *exact.entry(key.to_be_bytes().to_vec()).or_default() += weight);
        exact
    }

    fn check_bounds(top: &TopK, exact: &Naive) {
        assert_eq!(top.total(), exact.values().sum::<u64>());
        for (key, weight) in exact {
            let (count, error) = top.bounds(key);
            assert!(count >= *weight && count - error <= *weight, "{key:?}: {weight} is not within {count} - {error}");
        }
        if top.exact() {
            assert_eq!(top.len(), exact.iter().filter(|(_, weight)| **weight > 0).count());
        }
        assert!(top.len() <= top.capacity);
    }

    /// SpaceSaving as it is written in the paper, on plain lists.
    fn by_the_book(capacity: usize, stream: &[(u16, u64)]) -> Vec<Heavy> {
        let mut held: Vec<Heavy> = Vec::new();
        for (key, weight) in stream.iter().filter(|(_, weight)| *weight > 0) {
            let key = key.to_be_bytes();
            if let Some(heavy) = held.iter_mut().find(|heavy| *heavy.key == key) {
                heavy.count += weight;
            } else {
                held.sort_by(by_rank);
                let error = if held.len() == capacity { held.pop().map_or(0, |last| last.count) } else { 0 };
                held.push(Heavy { key: key.as_slice().into(), count: error + weight, error });
            }
        }
        held.sort_by(by_rank);
        held
    }

    #[test]
    fn edges() {
        let mut top = TopK::new(0);
        top.add(b"", 0);
        assert!(top.is_empty() && top.exact() && top.top(5).is_empty());
        top.add(b"", 3);
        top.add(b"a", 1);
        assert_eq!(top.top(5), [Heavy { key: b"a".as_slice().into(), count: 4, error: 3 }]);
        assert_eq!((top.floor(), top.total(), top.exact(), top.bounds(b"")), (3, 4, false, (3, 3)));
    }

    #[test]
    fn the_heaviest_of_a_skewed_stream_are_found() {
        let mut random = Random::new(9);
        // Key k comes with a probability of about 1 / k.
        let stream: Vec<(u16, u64)> = (0..200_000).map(|_| ((1.0 / (random.unit() + 1e-4)) as u16, 1)).collect();
        let (top, exact) = (top_of(500, &stream), exact_of(&stream));
        let mut ranked: Vec<_> = exact.iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let found: Vec<Vec<u8>> = top.top(20).into_iter().map(|heavy| heavy.key.into_vec()).collect();
        assert!(!top.exact());
        assert_eq!(found, ranked.iter().take(20).map(|(key, _)| (*key).clone()).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn as_by_the_book(
            stream in prop::collection::vec((0_u16..40, 0_u64..4), 0..400),
            capacity in 1_usize..50,
            stop in 0_usize..400,
        ) {
            let (head, tail) = stream.split_at(stop.min(stream.len()));
            // A stop and a restart in the middle change nothing.
            let mut top: TopK = postcard::from_bytes(&postcard::to_stdvec(&top_of(capacity, head)).unwrap()).unwrap();
            tail.iter().for_each(|(key, weight)| top.add(&key.to_be_bytes(), *weight));
            prop_assert_eq!(&top, &top_of(capacity, &stream));
            prop_assert_eq!(top.top(usize::MAX), by_the_book(capacity, &stream));
            check_bounds(&top, &exact_of(&stream));
            prop_assert!(top.floor() <= top.total() / capacity as u64);
        }

        #[test]
        fn merging(
            left in prop::collection::vec((0_u16..60, 0_u64..4), 0..300),
            right in prop::collection::vec((0_u16..60, 0_u64..4), 0..300),
            more in prop::collection::vec((0_u16..60, 0_u64..4), 0..60),
            a in 1_usize..70,
            b in 1_usize..70,
        ) {
            let (mut there, mut back) = (top_of(a, &left), top_of(b, &right));
            let other = back.clone();
            back.merge(&there);
            there.merge(&other);
            prop_assert_eq!(postcard::to_stdvec(&there).unwrap(), postcard::to_stdvec(&back).unwrap());
            more.iter().for_each(|(key, weight)| there.add(&key.to_be_bytes(), *weight));
            let all: Vec<_> = left.iter().chain(&right).chain(&more).copied().collect();
            check_bounds(&there, &exact_of(&all));
            if there.exact() {
                prop_assert_eq!(&there, &top_of(a.min(b), &all));
            }
        }
    }
}
