//! Which relation closes which loop, where there are thousands of both.
//!
//! Write the relations as the columns of a matrix, in order, and the loops as its rows. Textbooks reduce columns from
//! left to right by their youngest loops. The pairs are decided by the ranks of the matrix's lower left corners, and
//! these do not change when the matrix is turned over: so loops may be reduced as well, from the youngest to the
//! oldest, each by its earliest relation (de Silva, Morozov, Vejdemo-Johansson: Dualities in persistent (co)homology,
//! 2011; the reason why Ripser is fast). Relations say little that is new: of two groups of 256 points that are nearer
//! to each other than to themselves, 165,000 speak of 65,000 loops, and 100,000 of them come to nothing after a long
//! reduction. No loop comes to nothing, and four of five are closed by the first relation that names them, without any
//! reduction.

/// A matrix over F2 with as many columns as there are relations, and a row for each loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Matrix {
    /// The loops of each relation, one relation after the other.
    loops: Vec<u32>,
    /// Where in them each relation ends.
    ends: Vec<usize>,
}

/// The most entries, here and in reduced loops: 128 MiB each.
const ENTRIES_MAX: usize = 1 << 25;

impl Matrix {
    /// Adds a relation between these loops. False, and nothing is added, where there are too many entries.
    pub fn push(&mut self, loops: &[u32]) -> bool {
        if self.loops.len() > ENTRIES_MAX {
            return false;
        }
        self.loops.extend_from_slice(loops);
        self.ends.push(self.loops.len());
        true
    }

    /// Which relation closes each of so many loops. None where reduced loops have too many entries.
    pub fn closed(&self, loops: usize) -> Option<Vec<Option<usize>>> {
        let rows = self.rows(loops);
        let mut closed = vec![None; loops];
        // By relation: the loop that it closes.
        let mut closes = vec![NONE; self.ends.len()];
        let mut reduced = Rows { entries: Vec::new(), ends: Vec::new() };
        // By loop: the place of what it was reduced to, where it is not its own row.
        let mut places = vec![NONE; loops];
        let mut sum = Sum::new(self.ends.len());
        for number in (0..loops).rev() {
            let Some(mut first) = rows.row(number).first().map(|first| *first as usize) else { continue };
            if closes[first] != NONE {
                sum.add(rows.row(number));
                let mut left = Some(first);
                while let Some(at) = left
                    && closes[at] != NONE
                {
                    let younger = closes[at] as usize;
                    let place = places[younger];
                    sum.add(if place == NONE { rows.row(younger) } else { reduced.row(place as usize) });
                    left = sum.first(at + 1);
                }
                places[number] = reduced.ends.len() as u32;
                sum.take(&mut reduced.entries);
                reduced.ends.push(reduced.entries.len());
                let Some(at) = left else { continue };
                first = at;
                if reduced.entries.len() > ENTRIES_MAX {
                    return None;
                }
            }
            closes[first] = number as u32;
            closed[number] = Some(first);
        }
        Some(closed)
    }

    /// The relations of each loop, ascending.
    fn rows(&self, loops: usize) -> Rows {
        let mut ends = vec![0; loops + 1];
        self.loops.iter().for_each(|number| ends[*number as usize + 1] += 1);
        (0..loops).for_each(|number| ends[number + 1] += ends[number]);
        let (mut entries, mut start) = (vec![0; self.loops.len()], 0);
        for (relation, end) in self.ends.iter().enumerate() {
            for number in &self.loops[start..*end] {
                let place = &mut ends[*number as usize];
                entries[*place] = relation as u32;
                *place += 1;
            }
            start = *end;
        }
        ends.truncate(loops);
        Rows { entries, ends }
    }
}

const NONE: u32 = u32::MAX;

/// Sparse rows, one after the other.
struct Rows {
    entries: Vec<u32>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Rows {
    fn row(&self, number: usize) -> &[u32] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start..self.ends[number]]
    }
}

/// A sum of rows, as bits.
struct Sum {
    words: Vec<u64>,
    /// A bit for each word that may not be 0.
    touched: Vec<u64>,
}

impl Sum {
    fn new(relations: usize) -> Sum {
        let words = relations.div_ceil(64);
        Sum { words: vec![0; words], touched: vec![0; words.div_ceil(64)] }
    }

    fn add(&mut self, row: &[u32]) {
        for entry in row {
            let word = *entry as usize / 64;
            self.words[word] ^= 1 << (entry % 64);
            self.touched[word / 64] |= 1 << (word % 64);
        }
    }

    /// The first relation in it. There is none before `from`.
    fn first(&mut self, from: usize) -> Option<usize> {
        for group in from / 4096..self.touched.len() {
            while self.touched[group] != 0 {
                let word = 64 * group + self.touched[group].trailing_zeros() as usize;
                if self.words[word] != 0 {
                    return Some(64 * word + self.words[word].trailing_zeros() as usize);
                }
                self.touched[group] &= self.touched[group] - 1;
            }
        }
        None
    }

    /// Appends its relations, ascending, and is 0 again.
    fn take(&mut self, entries: &mut Vec<u32>) {
        let mut from = 0;
        while let Some(first) = self.first(from) {
            let word = first / 64;
            while self.words[word] != 0 {
                entries.push((64 * word) as u32 + self.words[word].trailing_zeros());
                self.words[word] &= self.words[word] - 1;
            }
            from = 64 * word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;
    use std::collections::BTreeSet;

    /// The textbook: relations from the first to the last, each by its youngest loop.
    fn reduced(relations: &[BTreeSet<u32>], loops: usize) -> Vec<Option<usize>> {
        let mut closed: Vec<Option<usize>> = vec![None; loops];
        let mut kept: Vec<BTreeSet<u32>> = Vec::new();
        for (relation, members) in relations.iter().enumerate() {
            let mut sum = members.clone();
            while let Some(youngest) = sum.last()
                && let Some(known) = closed[*youngest as usize]
            {
                sum = &sum ^ &kept[known];
            }
            sum.last().into_iter().for_each(|youngest| closed[*youngest as usize] = Some(relation));
            kept.push(sum);
        }
        closed
    }

    #[test]
    fn turned_over_the_pairs_are_the_same() {
        let mut random = Random::new(1);
        for case in 0..300 {
            let (loops, count) = (1 + random.pick(40), [3, 30, 5000][case % 3]);
            let count = random.pick(count);
            let relation = |_| (0..random.pick(6)).map(|_| random.pick(loops) as u32).collect();
            let relations: Vec<BTreeSet<u32>> = (0..count).map(relation).collect();
            let mut matrix = Matrix::default();
            for relation in &relations {
                assert!(matrix.push(&relation.iter().copied().collect::<Vec<u32>>()));
            }
            assert_eq!(matrix.closed(loops as usize), Some(reduced(&relations, loops as usize)), "{case}");
        }
    }
}
