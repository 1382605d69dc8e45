//! `ln` and `exp` that give the same bits on every machine.
//!
//! Rust's `f64::ln` and `f64::exp` call the platform's mathematics library, and those differ in the last bit between
//! systems and versions. A replay on another machine would then differ too. These two are made of `+ - * /` and integer
//! operations on the bits, which IEEE 754 fixes. They are the algorithms of FreeBSD's msun (`e_log.c`, `e_exp.c`, Sun
//! Microsystems 1993): error below 1 unit in the last place.

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

const TWO_54: f64 = 18014398509481984.0;
const MANTISSA: u64 = (1 << 52) - 1;

/// `2^k` for `k` in -1022..=1023.
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
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
