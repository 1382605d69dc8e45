//! The dominant period of a series: how long a window must be to see a loop closed.
//!
//! By normalised autocorrelation, the method of McLeod and Wyvill: *A smarter way to find pitch* (2005). With the mean
//! taken away, `n(l) = 2 sum x[t] x[t + l] / sum (x[t]^2 + x[t + l]^2)` lies between -1 and 1 at every lag l and does
//! not fall with l only because fewer pairs are left, as the plain autocorrelation does. The highest place of each
//! positive hill (after the first, around lag 0) is a candidate. The period is the first candidate that reaches nine
//! tenths of the highest: multiples of the period are as high as the period, harmonics are lower.
//!
//! A strong trend has one hill only and no period; take differences first.

/// A period and how clearly it is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// In steps of the series.
    pub lag: usize,
    /// The normalised autocorrelation at the lag: 1 for a repetition to the bit; noise gives about `2 / sqrt(n)`.
    pub strength: f64,
}

/// What part of the highest candidate's height the first must reach.
const SHARE: f64 = 0.9;

/// The dominant period, at most `lag_max` and at most half of the series. Nothing where no hill follows the first.
/// O(n lag_max).
///
/// ```
/// use eagre::stats::elementary::sin_turns;
/// use eagre::topology::scales::period::period;
/// let series: Vec<f64> = (0..300).map(|t| sin_turns(t as f64 / 32.0) + 0.5 * sin_turns(t as f64 / 16.0)).collect();
/// assert_eq!(period(&series, 150).map(|period| period.lag), Some(32));
/// ```
pub fn period(series: &[f64], lag_max: usize) -> Option<Period> {
    let mean = series.iter().fold(0.0, |sum, x| sum + x) / series.len() as f64;
    let centred: Vec<f64> = series.iter().map(|x| x - mean).collect();
    let hills = hills(&centred, lag_max.min(series.len() / 2));
    let highest = hills.iter().fold(0.0, |highest: f64, hill| highest.max(hill.strength));
    hills.into_iter().find(|hill| hill.strength >= SHARE * highest)
}

/// The highest place of each positive hill after the first.
fn hills(centred: &[f64], lag_max: usize) -> Vec<Period> {
    let mut hills: Vec<Period> = Vec::new();
    let (mut below, mut fell) = (false, false);
    for lag in 1..=lag_max {
        let strength = autocorrelation(centred, lag);
        if strength > 0.0 && fell {
            match hills.last_mut() {
                Some(hill) if !below && strength > hill.strength => *hill = Period { lag, strength },
                Some(_) if !below => {}
                _ => hills.push(Period { lag, strength }),
            }
        }
        below = strength <= 0.0;
        fell |= below;
    }
    hills
}

/// The normalised autocorrelation at a lag; 0 where there is nothing but zeros.
fn autocorrelation(centred: &[f64], lag: usize) -> f64 {
    let (product, square) = centred.iter().zip(&centred[lag..]).fold((0.0, 0.0), |(product, square), (now, later)| {
        (product + now * later, square + (now * now + later * later))
    });
    if square > 0.0 { 2.0 * product / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::elementary::sin_turns;
    use crate::stats::random::Random;

    fn noisy(period: f64, noise: f64, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..400).map(|t| sin_turns(f64::from(t) / period) + noise * random.normal()).collect()
    }

    #[test]
    fn finds_a_period_in_noise() {
        for (lag, noise) in [(8, 0.0), (25, 0.2), (40, 0.5), (90, 0.1)] {
            let found = period(&noisy(lag as f64, noise, 5), 200).expect("a period");
            assert!(found.lag.abs_diff(lag) <= 1 + lag / 20, "{found:?} for {lag}");
            assert!(found.strength > 0.6, "{found:?}");
        }
        assert!(period(&noisy(1e9, 1.0, 5), 200).expect("noise has hills").strength < 0.3);
    }

    #[test]
    fn a_repetition_is_seen_to_the_bit() {
        let wave = [1.0, 5.0, 2.0, -4.0, -4.0, 0.0];
        let series: Vec<f64> = wave.iter().copied().cycle().take(72).collect();
        assert_eq!(period(&series, 36), Some(Period { lag: 6, strength: 1.0 }));
    }

    #[test]
    fn nothing_where_nothing_repeats() {
        for series in [&[][..], &[1.0], &[3.0; 20], &[f64::NAN; 20], &[f64::INFINITY; 8]] {
            assert_eq!(period(series, 100), None);
        }
        let trend: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(period(&trend, 50), None);
    }
}
