//! Which of many things a copy still wants, while they go on changing.
//!
//! At a point everything is owed to the copy. A thing is copied when the sweep comes to it or just before it changes,
//! whichever is first: so the copy is that of the point, and nobody waits until all of it is made.

/// The numbers that are owed.
pub struct Sweep {
    /// A bit for each number.
    owed: Vec<u64>,
    /// Below this word nothing is owed any more.
    word: usize,
}

impl Sweep {
    /// All numbers below `count` are owed. O(count / 64).
    pub fn of(count: usize) -> Sweep {
        let mut owed = vec![u64::MAX; count.div_ceil(64)];
        if let Some(last) = owed.last_mut().filter(|_| !count.is_multiple_of(64)) {
            *last = (1 << (count % 64)) - 1;
        }
        Sweep { owed, word: 0 }
    }

    /// No number below `count` is owed. O(count / 64).
    pub fn none(count: usize) -> Sweep {
        Sweep { owed: vec![0; count.div_ceil(64)], word: 0 }
    }

    /// Owes a number below the count. Before the first is claimed.
    pub fn owe(&mut self, number: usize) {
        self.owed[number / 64] |= 1 << (number % 64);
    }

    /// Whether a number is owed; from now on it is not.
    #[inline]
    pub fn claim(&mut self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        self.owed.get_mut(number / 64).is_some_and(|word| {
            let is_owed = *word & bit != 0;
            *word &= !bit;
            is_owed
        })
    }
}

/// Claims what is owed, in ascending order.
impl Iterator for Sweep {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.owed.get_mut(self.word) {
            if *word == 0 {
                self.word += 1;
                continue;
            }
            let bit = word.trailing_zeros() as usize;
            *word &= *word - 1;
            return Some(self.word * 64 + bit);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_owed_once() {
        for count in [0, 1, 63, 64, 65, 200] {
            let mut sweep = Sweep::of(count);
            let (first, claimed) = (sweep.next(), [sweep.claim(2), sweep.claim(2), sweep.claim(count)]);
            assert_eq!((first, claimed), ((count > 0).then_some(0), [count > 2, false, false]), "{count}");
            assert_eq!(sweep.collect::<Vec<_>>(), (1..count).filter(|n| *n != 2).collect::<Vec<_>>());
        }
    }
}
