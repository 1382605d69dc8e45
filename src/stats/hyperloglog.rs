//! How many different things: HyperLogLog.
//!
//! The first `precision` bits of a 64-bit hash choose one of `2^precision` registers; the register keeps the greatest
//! number of leading zeros (plus one) seen in the rest (Flajolet, Fusy, Gandouet, Meunier 2007). The estimate is Ertl's
//! improved raw estimator (O. Ertl: New cardinality estimation algorithms for HyperLogLog sketches, arXiv:1702.01284,
//! algorithm 6): without bias from 0 to beyond 10^18, with no table and no switch between formulas. It covers what
//! linear counting does for small numbers, and is made of `+ * / sqrt`.
//!
//! Guarantees: the state is a function of the *set* of hashes: order, repetition and merging leave no trace, down to
//! the bytes. Standard error `1.04 / sqrt(2^precision)`: 1.6 % at the default of 12. Memory: 4 bytes for a register
//! that was hit, at most `2^precision` bytes.
//!
//! The caller hashes, with a hash whose bits are all good and never change: XXH3 of the value's bytes.

use serde::{Deserialize, Serialize};

/// A set of hashes, of which only the number of different ones can be told.
///
/// ```
/// use eagre::stats::hyperloglog::HyperLogLog;
/// use xxhash_rust::xxh3::xxh3_64;
/// let mut users = HyperLogLog::default();
/// for visit in 0..9_000_u32 {
///     users.insert(xxh3_64(&(visit % 3_000).to_le_bytes()));
/// }
/// assert!((users.estimate() - 3_000.0).abs() < 150.0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HyperLogLog {
    precision: u8,
    registers: Registers,
}

/// Sparse while that is the smaller, so equal contents have equal states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Registers {
    /// `index << 6 | rank` of the registers above 0, ascending.
    Sparse(Vec<u32>),
    /// The rank of every register.
    Dense(Vec<u8>),
}

const RANK_BITS: u32 = 6;

impl Default for HyperLogLog {
    /// Precision 12: standard error 1.6 %, at most 4 KiB.
    fn default() -> Self {
        HyperLogLog::new(12)
    }
}

impl HyperLogLog {
    /// An empty set. `precision` is taken as the nearest of 4..=18.
    pub fn new(precision: u8) -> Self {
        HyperLogLog { precision: precision.clamp(4, 18), registers: Registers::Sparse(Vec::new()) }
    }

    /// The number of bits that choose the register.
    pub fn precision(&self) -> u8 {
        self.precision
    }

    /// One standard deviation of the relative error.
    pub fn standard_error(&self) -> f64 {
        1.04 / (self.size() as f64).sqrt()
    }

    /// Adds one hash. O(1); while sparse, O(registers hit).
    pub fn insert(&mut self, hash: u64) {
        let precision = u32::from(self.precision);
        let index = (hash >> (64 - precision)) as u32;
        // A one behind the last bit of the hash stops the count of zeros there.
        let rank = ((hash << precision) | 1 << (precision - 1)).leading_zeros() + 1;
        self.raise(index, rank as u8);
    }

    /// Adds all that `other` holds. Where the precisions differ, both are folded to the lower one, which is what
    /// inserting the hashes at that precision would have given.
    pub fn merge(&mut self, other: &HyperLogLog) {
        if self.precision > other.precision {
            let ours = std::mem::replace(self, HyperLogLog::new(other.precision));
            self.merge(&ours);
        }
        let dropped = u32::from(other.precision - self.precision);
        other.for_each(|index, rank| {
            let (index, rank) = fold(index, rank, dropped);
            self.raise(index, rank);
        });
    }

    /// The estimated number of different hashes. O(2^precision).
    pub fn estimate(&self) -> f64 {
        let size = self.size() as f64;
        let longest = 64 - usize::from(self.precision);
        let mut registers_of_rank = [0_u32; 62];
        let mut hit = 0;
        self.for_each(|_, rank| {
            registers_of_rank[usize::from(rank)] += 1;
            hit += 1;
        });
        let empty = f64::from(self.size() - hit) / size;
        let full = f64::from(registers_of_rank[longest + 1]) / size;
        let mut z = size * tau(1.0 - full);
        for count in registers_of_rank[1..=longest].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += size * sigma(empty);
        size * size / (2.0 * std::f64::consts::LN_2 * z)
    }

    fn size(&self) -> u32 {
        1 << self.precision
    }

    /// Calls with index and rank of every register above 0, by ascending index.
    fn for_each(&self, mut visit: impl FnMut(u32, u8)) {
        match &self.registers {
            Registers::Sparse(entries) => {
                entries.iter().for_each(|entry| visit(entry >> RANK_BITS, (entry & 63) as u8));
            }
            Registers::Dense(ranks) => {
                (0..).zip(ranks).filter(|(_, rank)| **rank > 0).for_each(|(index, rank)| visit(index, *rank));
            }
        }
    }

    fn raise(&mut self, index: u32, rank: u8) {
        let size = self.size() as usize;
        let entries = match &mut self.registers {
            Registers::Dense(ranks) => {
                let register = &mut ranks[index as usize];
                *register = rank.max(*register);
                return;
            }
            Registers::Sparse(entries) => entries,
        };
        let entry = index << RANK_BITS | u32::from(rank);
        let at = entries.partition_point(|other| other >> RANK_BITS < index);
        match entries.get_mut(at).filter(|other| **other >> RANK_BITS == index) {
            Some(other) => *other = entry.max(*other),
            None => entries.insert(at, entry),
        }
        if entries.len() * size_of::<u32>() > size {
            let mut ranks = vec![0; size];
            entries.iter().for_each(|entry| ranks[(entry >> RANK_BITS) as usize] = (entry & 63) as u8);
            self.registers = Registers::Dense(ranks);
        }
    }
}

/// Index and rank of a register after the precision has fallen by `dropped` bits: those bits of the index are now the
/// head of the rest that zeros are counted in.
fn fold(index: u32, rank: u8, dropped: u32) -> (u32, u8) {
    let head = index & ((1 << dropped) - 1);
    let zeros = dropped - (u32::BITS - head.leading_zeros());
    let rank = if head == 0 { dropped + u32::from(rank) } else { zeros + 1 };
    (index >> dropped, rank as u8)
}

/// `x + sum over k >= 1 of x^(2^k) * 2^(k-1)`: the part of the empty registers. Infinite at 1.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before {
            return sum;
        }
    }
}

/// `(1 - x - sum over k >= 1 of (1 - x^(2^-k))^2 * 2^-k) / 3`: the part of the registers at the greatest rank.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    fn sketch_of(precision: u8, hashes: &[u64]) -> HyperLogLog {
        let mut sketch = HyperLogLog::new(precision);
        hashes.iter().for_each(|hash| sketch.insert(*hash));
        sketch
    }

    #[test]
    fn edges() {
        assert_eq!(HyperLogLog::default().estimate(), 0.0);
        assert_eq!((HyperLogLog::new(1).precision(), HyperLogLog::new(99).precision()), (4, 18));
        for precision in [4, 12, 18] {
            let extremes = sketch_of(precision, &[0, 0, u64::MAX, 1]);
            assert!((extremes.estimate() - 2.0).abs() < 0.2, "{}", extremes.estimate());
        }
        // All registers at the greatest rank: beyond any number of hashes there is.
        let full: Vec<u64> = (0..16).map(|index| index << 60).collect();
        assert!(sketch_of(4, &full).estimate() > 1e18);
    }

    /// For many sizes and seeds: each error below 3 sigma but for the few that chance allows, and no bias over the
    /// seeds.
    #[test]
    fn error_is_the_one_promised() {
        for (precision, seeds) in [(6, 120), (12, 60), (14, 12)] {
            for n in [1_u64, 10, 100, 1_000, 3_000, 10_000, 50_000] {
                let sigma = HyperLogLog::new(precision).standard_error();
                let errors: Vec<f64> = (0..seeds)
                    .map(|seed| {
                        let mut sketch = HyperLogLog::new(precision);
                        (0..n).for_each(|i| sketch.insert(xxh3_64_with_seed(&i.to_le_bytes(), seed)));
                        sketch.estimate() / n as f64 - 1.0
                    })
                    .collect();
                let beyond = errors.iter().filter(|error| error.abs() > 3.0 * sigma).count();
                assert!(beyond <= 1 + seeds as usize / 100, "precision {precision}, {n}: {beyond} beyond 3 sigma");
                let bias = errors.iter().sum::<f64>() / seeds as f64;
                assert!(bias.abs() < 3.5 * sigma / (seeds as f64).sqrt(), "precision {precision}, {n}: bias {bias}");
            }
        }
    }

    #[test]
    fn sparse_is_small() {
        let mut random = Random::new(3);
        let hashes: Vec<u64> = (0..100).map(|_| random.next_u64()).collect();
        assert!(postcard::to_stdvec(&sketch_of(12, &hashes)).unwrap().len() < 320);
        let hashes: Vec<u64> = (0..100_000).map(|_| random.next_u64()).collect();
        assert_eq!(postcard::to_stdvec(&sketch_of(12, &hashes)).unwrap().len(), 4096 + 4);
    }

    proptest! {
        #[test]
        fn a_function_of_the_set(
            seed: u64,
            n in 0_usize..3_000,
            cut in 0_usize..3_000,
            precision in 4_u8..=14,
            lower in 0_u8..=6,
        ) {
            let mut random = Random::new(seed);
            // Masking makes long runs of zeros common.
            let hashes: Vec<u64> = (0..n).map(|_| random.next_u64() & random.next_u64() & random.next_u64()).collect();
            let cut = cut.min(n);
            let whole = sketch_of(precision, &hashes);
            let reversed: Vec<u64> = hashes.iter().rev().chain(&hashes).copied().collect();
            prop_assert_eq!(&sketch_of(precision, &reversed), &whole);
            let (left, right) = (sketch_of(precision, &hashes[..cut]), sketch_of(precision, &hashes[cut..]));
            let (mut there, mut back) = (left.clone(), right.clone());
            there.merge(&right);
            back.merge(&left);
            prop_assert_eq!(&there, &whole);
            prop_assert_eq!(&back, &whole);
            let bytes = postcard::to_stdvec(&whole).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<HyperLogLog>(&bytes).unwrap(), &whole);
            // Folding to a lower precision is having had it from the start.
            let coarse = precision.saturating_sub(lower).max(4);
            let (mut folded, mut into) = (whole.clone(), HyperLogLog::new(coarse));
            folded.merge(&HyperLogLog::new(coarse));
            into.merge(&whole);
            prop_assert_eq!(&folded, &sketch_of(coarse, &hashes));
            prop_assert_eq!(&into, &folded);
        }
    }
}
