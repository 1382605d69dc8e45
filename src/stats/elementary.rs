//! `ln`, `exp`, powers and a sine that give the same bits on every machine.
//!
//! Rust's `f64::ln` and `f64::exp` call the platform's mathematics library, and those differ in the last bit between
//! systems and versions. A replay on another machine would then differ too. These are made of `+ - * /` and integer
//! operations on the bits, which IEEE 754 fixes. They are the algorithms of FreeBSD's msun (`e_log.c`, `e_exp.c`,
//! `k_sin.c`, `k_cos.c`, Sun Microsystems 1993): error below 1 unit in the last place.

const LN_2_HIGH: f64 = 0.6931471803691238;
const LN_2_LOW: f64 = 1.9082149292705877e-10;

/// Natural logarithm. `ln(0)` is minus infinity; NaN for negative numbers and for NaN.
///
/// ```
/// use eagre::stats::elementary::ln;
/// assert_eq!(ln(1.0), 0.0);
/// assert!((ln(10.0) - std::f64::consts::LN_10).abs() < 1e-15);
/// ```
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    // Subnormal numbers are lifted into the normal range first.
    let (bits, lift) = if x < f64::MIN_POSITIVE { ((x * TWO_54).to_bits(), 54) } else { (x.to_bits(), 0) };
    let mut exponent = (bits >> 52) as i32 - 1023 - lift;
    let mut mantissa = f64::from_bits((bits & MANTISSA) | 1.0_f64.to_bits());
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let k = f64::from(exponent);
    let f = mantissa - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (0.3999999999940942 + w * (0.22222198432149784 + w * 0.15313837699209373));
    let odd = z * (0.6666666666666735 + w * (0.2857142874366239 + w * (0.1818357216161805 + w * 0.14798198605116586)));
    let half_square = 0.5 * f * f;
    k * LN_2_HIGH - ((half_square - (s * (half_square + (even + odd)) + k * LN_2_LOW)) - f)
}

/// `e` to the power `x`. Infinity above about 709.78, 0 below about -745.13, NaN for NaN.
///
/// ```
/// use eagre::stats::elementary::exp;
/// assert_eq!(exp(0.0), 1.0);
/// assert!((exp(1.0) - std::f64::consts::E).abs() < 1e-15);
/// ```
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 709.782712893384 {
        return f64::INFINITY;
    }
    if x < -745.1332191019411 {
        return 0.0;
    }
    let k = (x * std::f64::consts::LOG2_E + if x < 0.0 { -0.5 } else { 0.5 }) as i32;
    let high = x - f64::from(k) * LN_2_HIGH;
    let low = f64::from(k) * LN_2_LOW;
    let r = high - low;
    let t = r * r;
    let c = r - t
        * (0.16666666666666602
            + t * (-0.0027777777777015593
                + t * (6.613756321437934e-5 + t * (-1.6533902205465252e-6 + t * 4.1381367970572385e-8))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    // Two factors, because 2^k alone may lie outside the normal range.
    y * power_of_two(k / 2) * power_of_two(k - k / 2)
}

/// The sine of an angle in whole turns, so that the period is exact: `sin_turns(0.25)` is 1. The cosine is
/// `sin_turns(turns + 0.25)`.
///
/// ```
/// use eagre::stats::elementary::sin_turns;
/// assert_eq!([0.0, 0.25, 0.5, 0.75, 7.0].map(sin_turns), [0.0, 1.0, 0.0, -1.0, 0.0]);
/// ```
pub fn sin_turns(turns: f64) -> f64 {
    let turn = turns - turns.floor();
    let quarter = (turn * 4.0 + 0.5).floor();
    let x = (turn - quarter * 0.25) * std::f64::consts::TAU;
    let z = x * x;
    let value = if quarter as i64 % 2 == 0 {
        x + x * z * horner(&SINE, z)
    } else {
        1.0 - (0.5 * z - z * z * horner(&COSINE, z))
    };
    if (quarter as i64) & 2 == 0 { value } else { 0.0 - value }
}

/// Highest power first.
fn horner(coefficients: &[f64; 6], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

const SINE: [f64; 6] = [
    1.58969099521155e-10,
    -2.5050760253406863e-8,
    2.7557313707070068e-6,
    -0.0001984126982985795,
    0.00833333333332249,
    -0.16666666666666632,
];
const COSINE: [f64; 6] = [
    -1.1359647557788195e-11,
    2.087572321298175e-9,
    -2.7557314351390663e-7,
    2.480158728947673e-5,
    -0.001388888888887411,
    0.0416666666666666,
];

const TWO_54: f64 = 18014398509481984.0;
const MANTISSA: u64 = (1 << 52) - 1;

/// `2^k` for `k` in -1022..=1023.
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

/// `x` times itself, `power` times over; 1 for the power 0. By squaring: the multiplications and their order are fixed,
/// unlike those of `powi`. O(log power).
#[inline(always)]
pub fn raised(x: f64, power: u32) -> f64 {
    if power == 2 {
        return x * x;
    }
    let (mut result, mut square, mut left) = (1.0, x, power);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, other: f64) -> bool {
        ours.to_bits().abs_diff(other.to_bits()) <= 1
    }

    #[test]
    fn agree_with_the_platform_to_the_last_place() {
        for i in 1..200_000 {
            let x = f64::from(i) * 0.01;
            assert!(close(ln(x), x.ln()), "ln({x})");
            assert!(close(ln(1.0 / (x * 1e300)), (1.0 / (x * 1e300)).ln()), "ln of a small number");
            let y = (x - 1000.0) * 0.7;
            assert!(close(exp(y), y.exp()) || y < -700.0, "exp({y}) = {} not {}", exp(y), y.exp());
        }
    }

    #[test]
    fn the_sine_agrees_with_the_platform() {
        for i in -20_000..20_000 {
            let turns = f64::from(i) / 16_384.0;
            let expected = (turns * std::f64::consts::TAU).sin();
            assert!(
                (sin_turns(turns) - expected).abs() < 2e-15,
                "sin_turns({turns}) = {} not {expected}",
                sin_turns(turns)
            );
        }
        assert!(sin_turns(f64::NAN).is_nan());
        assert_eq!([sin_turns(0.1), sin_turns(-0.3)].map(f64::to_bits), [4603469518431672926, 13830113611944842495]);
    }

    #[test]
    fn edges() {
        assert!(ln(-1.0).is_nan() && ln(f64::NAN).is_nan() && exp(f64::NAN).is_nan());
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert!(close(ln(5e-324), -744.4400719213812));
        assert!(close(ln(f64::MAX), 709.782712893384));
        assert_eq!(exp(1000.0), f64::INFINITY);
        assert_eq!((exp(-1000.0), exp(f64::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(exp(-745.0), 5e-324);
    }

    #[test]
    fn bits_are_pinned() {
        let bits = [ln(3.0), ln(0.1), exp(0.5), exp(-3.7)].map(f64::to_bits);
        assert_eq!(bits, [4607626529066517258, 13835739416338191637, 4610103999673009820, 4582783292742766660]);
    }
}
