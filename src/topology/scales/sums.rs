//! Sums over the lengths of a diagram's pairs, for windows that have most of them in common: exact, and as cheap to
//! add to each other as integers.
//!
//! They are integers: fixed-point numbers of 128 bits, in units that are chosen with the first length ([`Grid`]). To
//! count a step takes three additions, to read the sum of two parts an addition and a rounding. Lengths that are off
//! the grid (some millions of times as long as the first one, or so short that they have bits below a unit) go into
//! long sums beside them ([`ExactSum`]), which have room for every float.
//!
//! **Exact.** A length is either on the grid as it is, without rounding, or off it, always; so what enters and leaves
//! is taken out where it was put in. The value of both parts together is rounded once: it has the bits of any other
//! exact sum of the same lengths, whatever the grid.

use crate::stats::elementary::ln;
use crate::topology::exact::ExactSum;
use crate::topology::series::statistics::Summary;

/// Which of the sums that cost something are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub squares: bool,
    pub entropy: bool,
    pub longest: bool,
}

/// Sums over the pairs of a diagram, or what is to be added to such sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    short: Short,
    /// How many lengths are off the grid. Where a window has none, its long sums are 0.
    others: i64,
    long: [ExactSum; 3],
}

impl Sums {
    /// Counts a step and its lengths off the grid (negative where they leave), or else counts them `BACK`.
    #[inline(always)]
    pub fn count<const BACK: bool>(&mut self, change: &Short, others: &[f64]) {
        if BACK {
            self.short.subtract(change);
        } else {
            self.short.add(change);
        }
        for length in others {
            self.count_other(length.abs(), if length.is_sign_negative() != BACK { -1 } else { 1 });
        }
    }

    /// Counts a step without lengths off the grid.
    #[inline(always)]
    pub fn add(&mut self, change: &Short) {
        self.short.add(change);
    }

    #[cold]
    fn count_other(&mut self, length: f64, by: i64) {
        self.others += by;
        let numbers = [length, length * length, length * ln(length)];
        self.long.iter_mut().zip(numbers).for_each(|(sum, number)| sum.change(number, by));
    }

    /// Counts, total, squares if wanted, and in place of the entropy the sum of `p ln p` if wanted, of the pairs that
    /// these and other sums count together.
    #[inline(always)]
    pub fn summary(&self, other: &Sums, grid: Grid, wanted: Wanted) -> Summary {
        let mut short = self.short;
        short.add(&other.short);
        let all_on_grid = self.others + other.others == 0;
        let value = |of: usize, wanted| match wanted {
            false => 0.0,
            true if all_on_grid => grid.value(short.numbers[of], of),
            true => grid.value_with(short.numbers[of], of, &self.long[of], &other.long[of]),
        };
        let [total, power_total, entropy] = [value(0, true), value(1, wanted.squares), value(2, wanted.entropy)];
        let (count, infinite) = (short.count as u64, short.infinite as u64);
        Summary { count, infinite, total, power_total, longest: 0.0, entropy }
    }

    /// Bytes that they hold beside their own struct.
    pub fn heap_bytes(&self) -> usize {
        self.long.iter().map(ExactSum::heap_bytes).sum()
    }
}

/// The sums over the lengths that are on a grid, in its units: exact as they are. What enters is counted by one window
/// and may be taken out of another, so one alone may run over; those of a window together do not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Short {
    /// The total, the sum of squares, and that of `p ln p`.
    numbers: [i128; 3],
    pub count: i32,
    pub infinite: i32,
}

impl Short {
    /// Adds the numbers of a length, so many times.
    #[inline(always)]
    pub fn add_numbers(&mut self, numbers: &[i128; 3], by: i128) {
        self.numbers.iter_mut().zip(numbers).for_each(|(own, number)| *own = own.wrapping_add(by * number));
    }

    #[inline(always)]
    fn add(&mut self, other: &Short) {
        self.numbers.iter_mut().zip(&other.numbers).for_each(|(own, number)| *own = own.wrapping_add(*number));
        self.count = self.count.wrapping_add(other.count);
        self.infinite = self.infinite.wrapping_add(other.infinite);
    }

    #[inline(always)]
    fn subtract(&mut self, other: &Short) {
        self.numbers.iter_mut().zip(&other.numbers).for_each(|(own, number)| *own = own.wrapping_sub(*number));
        self.count = self.count.wrapping_sub(other.count);
        self.infinite = self.infinite.wrapping_sub(other.infinite);
    }
}

/// Fixed-point numbers of 128 bits: what one unit of each of [`Short::numbers`] is, as a power of two.
///
/// Lengths up to `2^22` times as long as the one that the grid was made for are on it, and down to `2^-25` of it; also
/// shorter ones, if their last bits are 0. (Of squares, half as far.) Sums of up to `2^24` of them do not run over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grid {
    units: [i32; 3],
}

/// Bits of a number on the grid below those of the length that the grid was made for, and above.
const BITS_BELOW: i32 = 78;
const BITS_ABOVE: i32 = 22;

impl Grid {
    /// The grid for lengths that are not much longer than this one.
    pub fn for_lengths_like(length: f64) -> Grid {
        // So that all units are normal floats, and all sums of numbers on the grid are finite.
        let exponent = exponent(length).clamp(-400, 400);
        Grid { units: [exponent - BITS_BELOW, 2 * exponent - BITS_BELOW, exponent - BITS_BELOW] }
    }

    /// A length, its square, and it times its logarithm, as far as wanted, in units; none if one is off the grid.
    #[inline(always)]
    pub fn numbers(self, length: f64, wanted: Wanted) -> Option<[i128; 3]> {
        let total = on_grid(length, self.units[0])?;
        let squares = if wanted.squares { on_grid(length * length, self.units[1])? } else { 0 };
        let weighted = if wanted.entropy { on_grid(length * ln(length), self.units[2])? } else { 0 };
        Some([total, squares, weighted])
    }

    /// So many units, rounded once.
    #[inline(always)]
    fn value(self, number: i128, of: usize) -> f64 {
        number as f64 * power_of_two(self.units[of])
    }

    /// The same and two sums of what is off the grid, rounded once.
    #[cold]
    fn value_with(self, number: i128, of: usize, one: &ExactSum, other: &ExactSum) -> f64 {
        let mut sum = one.clone();
        for part in 0..4 {
            let digits = (number.unsigned_abs() >> (32 * part)) as u32;
            sum.change(f64::from(digits) * power_of_two(self.units[of] + 32 * part), number.signum() as i64);
        }
        sum.value_with(other)
    }
}

/// A number in units of `2^unit`, if that is a whole number and not too large. Of subnormal numbers 0 only.
#[inline(always)]
fn on_grid(number: f64, unit: i32) -> Option<i128> {
    if number == 0.0 {
        return Some(0);
    }
    let exponent = exponent(number);
    let mantissa = (number.to_bits() & ((1 << 52) - 1)) | 1 << 52;
    let shift = exponent - 52 - unit;
    let magnitude = if shift > BITS_BELOW + BITS_ABOVE - 52 || (mantissa.trailing_zeros() as i32) < -shift {
        return None;
    } else if shift >= 0 {
        i128::from(mantissa) << shift
    } else {
        i128::from(mantissa >> -shift)
    };
    Some(if number < 0.0 { -magnitude } else { magnitude })
}

/// `k` of a normal number from `2^k` to less than `2^(k + 1)`.
#[inline(always)]
fn exponent(number: f64) -> i32 {
    (number.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// `2^k` for `k` in -1022..=1023.
#[inline(always)]
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    /// Sums of lengths on and off the grid, in two parts, against exact sums in one.
    #[test]
    fn of_two_parts_have_the_bits_of_one_sum() {
        let wanted = Wanted { squares: true, entropy: true, longest: false };
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let width = [1, 20, 60, 900][seed as usize % 4];
            let grid = Grid::for_lengths_like(2_f64.powi(random.pick(2 * width) as i32 - width as i32));
            let mut parts = [Sums::default(), Sums::default()];
            let mut exact: [ExactSum; 3] = Default::default();
            let (mut kept, mut off): (Vec<f64>, usize) = (Vec::new(), 0);
            for _ in 0..60 {
                let leaves = random.pick(3) == 0 && !kept.is_empty();
                let length = if leaves {
                    kept.swap_remove(random.pick(kept.len() as u64) as usize)
                } else {
                    let length = random.unit() * 2_f64.powi(random.pick(2 * width) as i32 - width as i32);
                    kept.push(if random.pick(4) == 0 { length.ceil() } else { length });
                    kept[kept.len() - 1]
                };
                let (mut change, mut others, sign) = (Short::default(), Vec::new(), if leaves { -1 } else { 1 });
                change.count += sign;
                match grid.numbers(length, wanted) {
                    Some(numbers) => change.add_numbers(&numbers, i128::from(sign)),
                    None => others.push(length.copysign(f64::from(sign))),
                }
                off += others.len();
                parts[random.pick(2) as usize].count::<false>(&change, &others);
                let numbers = [length, length * length, length * ln(length)];
                exact.iter_mut().zip(numbers).for_each(|(sum, number)| sum.change(number, i64::from(sign)));
                let Summary { total, power_total, entropy, .. } = parts[0].summary(&parts[1], grid, wanted);
                let expected = exact.each_ref().map(|sum| sum.value().to_bits());
                assert_eq!([total, power_total, entropy].map(f64::to_bits), expected, "seed {seed}");
            }
            assert!(width < 60 || off > 0);
        }
    }
}
