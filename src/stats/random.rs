//! Random numbers that are specified: the same seed gives the same numbers on every machine and in every version.
//!
//! - [`Random::next_u64`] is xoshiro256** (Blackman, Vigna: Scrambled linear pseudorandom number generators, TOMS 47,
//!   2021; period `2^256 - 1`), its state filled by SplitMix64 (Steele, Lea, Flood 2014).
//! - [`Random::unit`], [`Random::pick`], [`Random::normal`] and [`Random::exponential`] are made of it with operations
//!   that IEEE 754 fixes to the bit. The normal is the inverse of the distribution function by Wichura's rational
//!   approximations (algorithm AS 241, PPND16, Applied Statistics 37, 1988; relative error about 1e-16), with the
//!   room's own logarithm in the tails. One draw gives one normal, so a stream can be counted; the tails reach to 8.2
//!   standard deviations, as far as 53 bits do.
//! - [`Random::at`] is SplitMix64 read at any place, for what must not depend on what was drawn before.
//! - [`Random::split`] gives a stream of its own for each number, whatever was drawn before: partition 7 of a generated
//!   source is the same with 8 partitions and with 800.
//!
//! Not for secrets.

use serde::{Deserialize, Serialize};

use super::elementary::ln;

/// A generator of random numbers.
///
/// ```
/// use eagre::stats::random::Random;
/// let mut random = Random::new(42);
/// let mut again = Random::new(42);
/// assert_eq!(random.next_u64(), again.next_u64());
/// assert_ne!(random.split(1).next_u64(), random.split(2).next_u64());
/// assert!((0.0..1.0).contains(&random.unit()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Random {
    /// What the streams split off are made from; drawing does not change it.
    seed: u64,
    state: [u64; 4],
}

impl Default for Random {
    /// Seed 0.
    fn default() -> Self {
        Random::new(0)
    }
}

impl Random {
    /// The generator of `seed`; every seed is as good as another.
    pub fn new(seed: u64) -> Self {
        let mut position = seed;
        Random { seed, state: std::array::from_fn(|_| split_mix(&mut position)) }
    }

    /// The stream `stream_id` of this generator's seed, independent of the generator's own numbers, of the other
    /// streams, and of how much was drawn.
    pub fn split(&self, stream_id: u64) -> Random {
        // Two steps of mixing keep the child's seed away from the sequence that fills the parent's state.
        let mut position = self.seed ^ SPLIT;
        let mut child = split_mix(&mut position) ^ stream_id;
        Random::new(split_mix(&mut child))
    }

    /// 64 random bits that belong to a number: those of one number say nothing of those of another, nor of what is
    /// drawn. One multiplication and one mixing.
    ///
    /// ```
    /// use eagre::stats::random::Random;
    /// let mut random = Random::new(42);
    /// let bits = random.at(7);
    /// random.next_u64();
    /// assert_eq!(random.at(7), bits);
    /// ```
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        split_mix(&mut (self.seed ^ AT).wrapping_add(index.wrapping_mul(GAMMA)))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in [0, 1): a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * TWO_MINUS_53
    }

    /// A uniform choice of `0..n`, without bias (Lemire, TOMACS 29, 2019).
    ///
    /// # Panics
    ///
    /// When `n` is 0: there is nothing to pick.
    pub fn pick(&mut self, n: u64) -> u64 {
        assert!(n > 0, "cannot pick one of 0 things; pick(n) takes n from 1 up");
        let too_few = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= too_few {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Normal with mean 0 and standard deviation 1. One draw.
    pub fn normal(&mut self) -> f64 {
        // Halfway between the multiples of 2^-53, so that neither 0 nor 1 comes.
        normal_quantile(((self.next_u64() >> 12) as f64 + 0.5) * (2.0 * TWO_MINUS_53))
    }

    /// Exponential with mean 1: the gaps between events that come at random. One draw.
    pub fn exponential(&mut self) -> f64 {
        -ln(1.0 - self.unit())
    }
}

const TWO_MINUS_53: f64 = 1.0 / 9007199254740992.0;

/// Any constant will do; this one is the fraction of the square root of 3.
const SPLIT: u64 = 0xbb67_ae85_84ca_a73b;

/// Keeps [`Random::at`] away from the numbers that fill the state; the fraction of the square root of 5.
const AT: u64 = 0x3c6e_f372_fe94_f82b;

/// How far SplitMix64 goes in a step: 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64.
fn split_mix(position: &mut u64) -> u64 {
    *position = position.wrapping_add(GAMMA);
    let mut z = *position;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value below which a standard normal lies with probability `p`, for `p` between 0 and 1.
///
/// ```
/// use eagre::stats::random::normal_quantile;
/// assert!((normal_quantile(0.975) - 1.959963984540054).abs() < 1e-14);
/// ```
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE, r) / polynomial(&CENTRE_BELOW, r);
    }
    let r = (-ln(if q < 0.0 { p } else { 1.0 - p })).sqrt();
    let magnitude = if r <= 5.0 {
        polynomial(&TAIL, r - 1.6) / polynomial(&TAIL_BELOW, r - 1.6)
    } else {
        polynomial(&FAR, r - 5.0) / polynomial(&FAR_BELOW, r - 5.0)
    };
    if q < 0.0 { -magnitude } else { magnitude }
}

/// Highest power first.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

const CENTRE: [f64; 8] = [
    2509.0809287301227,
    33430.57558358813,
    67265.7709270087,
    45921.95393154987,
    13731.69376550946,
    1971.5909503065513,
    133.14166789178438,
    3.3871328727963665,
];
const CENTRE_BELOW: [f64; 8] = [
    5226.495278852854,
    28729.085735721943,
    39307.89580009271,
    21213.794301586597,
    5394.196021424751,
    687.1870074920579,
    42.31333070160091,
    1.0,
];
const TAIL: [f64; 8] = [
    0.0007745450142783414,
    0.022723844989269184,
    0.2417807251774506,
    1.2704582524523684,
    3.6478483247632045,
    5.769497221460691,
    4.630337846156546,
    1.4234371107496835,
];
const TAIL_BELOW: [f64; 8] = [
    1.0507500716444169e-9,
    0.0005475938084995345,
    0.015198666563616457,
    0.14810397642748008,
    0.6897673349851,
    1.6763848301838038,
    2.053191626637759,
    1.0,
];
const FAR: [f64; 8] = [
    2.0103343992922881e-7,
    2.7115555687434876e-5,
    0.0012426609473880784,
    0.026532189526576124,
    0.29656057182850487,
    1.7848265399172913,
    5.463784911164114,
    6.657904643501103,
];
const FAR_BELOW: [f64; 8] = [
    2.0442631033899397e-15,
    1.421511758316446e-7,
    1.8463183175100548e-5,
    0.0007868691311456133,
    0.014875361290850615,
    0.1369298809227358,
    0.599832206555888,
    1.0,
];

#[cfg(test)]
mod tests {
    use super::super::moments::Moments;
    use super::*;

    #[test]
    fn reference_vectors() {
        let mut position = 1234567;
        let mixed: Vec<u64> = (0..3).map(|_| split_mix(&mut position)).collect();
        assert_eq!(mixed, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
        let mut random = Random { seed: 0, state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(drawn, [11520, 0, 1509978240, 1215971899390074240, 1216172134540287360]);
    }

    /// Numbers of this version that later ones must repeat.
    #[test]
    fn bits_are_pinned() {
        let mut random = Random::new(42).split(7);
        let bits = [random.unit(), random.normal(), random.normal(), random.exponential()].map(f64::to_bits);
        assert_eq!(
            (bits, random.pick(1_000_000)),
            ([4598983734317449742, 4610289709281543203, 4603193089187215806, 4603420253838474406], 144576)
        );
    }

    #[test]
    fn quantiles_of_the_normal() {
        for (p, expected) in [
            (0.5, 0.0),
            (0.6, 0.2533471031357998),
            (0.975, 1.9599639845400536),
            (0.99, 2.3263478740408408),
            (1e-5, -4.2648907939228256),
            (1e-12, -7.034483825301132),
            (1e-16, -8.222082216130435),
        ] {
            let ours = normal_quantile(p);
            assert!((ours - expected).abs() <= 1e-14 * expected.abs(), "{p}: {ours} not {expected}");
        }
    }

    #[test]
    fn distributions_have_their_moments() {
        let n = 400_000;
        let mut random = Random::new(11);
        let check = |name: &str, values: Moments, mean: f64, variance: f64| {
            let allowed = 4.0 * (variance / f64::from(n)).sqrt();
            assert!((values.mean - mean).abs() < allowed, "{name}: mean {}", values.mean);
            assert!((values.variance() / variance - 1.0).abs() < 0.02, "{name}: variance {}", values.variance());
        };
        check("unit", (0..n).map(|_| random.unit()).collect(), 0.5, 1.0 / 12.0);
        check("normal", (0..n).map(|_| random.normal()).collect(), 0.0, 1.0);
        check("exponential", (0..n).map(|_| random.exponential()).collect(), 1.0, 1.0);
        check("pick", (0..n).map(|_| random.pick(6) as f64).collect(), 2.5, 35.0 / 12.0);
        check("square of normal", (0..n).map(|_| random.normal()).map(|x| x * x).collect(), 1.0, 2.0);
    }

    #[test]
    fn streams_are_their_own() {
        let mut random = Random::new(3);
        let before = random.split(5);
        random.next_u64();
        assert_eq!(random.split(5), before);
        let mut first: Vec<u64> = (0..10_000).map(|id| random.split(id).next_u64()).collect();
        first.extend((0..100).map(|seed| Random::new(seed).next_u64()));
        first.extend((0..100).map(|id| random.split(id).split(1).next_u64()));
        first.extend((0..100).map(|index| random.at(index)));
        first.extend(random.state);
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 10_304);
        // Neighbouring streams do not move together.
        let (mut a, mut b) = (random.split(0), random.split(1));
        let product: Moments = (0..100_000).map(|_| a.normal() * b.normal()).collect();
        assert!(product.mean.abs() < 4.0 / 100_000_f64.sqrt(), "{}", product.mean);
    }

    #[test]
    fn pick_reaches_all_and_storage_keeps_the_place() {
        let mut random = Random::new(8);
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[random.pick(3) as usize] += 1);
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
        assert_eq!(random.pick(1), 0);
        // Scaling 2^64 numbers to three quarters of them without rejection would give every third one twice the share.
        let mut thirds = [0; 3];
        (0..3_000).for_each(|_| thirds[(random.pick(3 << 62) % 3) as usize] += 1);
        assert!(thirds.iter().all(|count| (850..1150).contains(count)), "{thirds:?}");
        let mut again: Random = postcard::from_bytes(&postcard::to_stdvec(&random).unwrap()).unwrap();
        assert_eq!(again.next_u64(), random.next_u64());
    }
}
