//! The delay of an embedding: the first minimum of the mutual information of a series and itself later.
//!
//! Fraser, Swinney: *Independent coordinates for strange attractors from mutual information* (1986). At that lag the
//! coordinates of a delay embedding tell as little of each other as nearby lags allow, without lying so far apart that
//! they have nothing to do with each other.
//!
//! **Specified.** Values are put into k bins of equal probability: the bin of v is `floor(k r / n)`, where r is how
//! many of the n values are less than v. Equal values share a bin. The information at lag l is that of the n - l pairs
//! `(x[t], x[t + l])`, in nats, with the pairs' own margins: the sum over cells of `c / N ln(c N / (row column))`,
//! where c of the N pairs lie in the cell, so many in its row and so many in its column. Counts are integers and the
//! sum goes row by row, so the same series gives the same bits everywhere, and independent coordinates give 0 without
//! rounding. Values are compared in IEEE 754's total order; a NaN is a greatest value.

use crate::stats::elementary::ln;

/// The delay, from 1 to `lag_max`: the lag of the first minimum of [`mutual_information`] in as many bins as
/// [`bins_for`] says, that is deeper than half of what chance alone makes of independent values,
/// `(bins - 1)^2 / (2 n)` nats. Nothing where there is none: of noise, of a random walk. A series without any noise and
/// with few different values (a sine of a whole period) has minima everywhere; there is no delay to be found in it.
/// O(n log n + lags (n + bins^2)).
///
/// ```
/// use eagre::stats::{elementary::sin_turns, random::Random};
/// use eagre::topology::scales::delay::delay;
/// let mut random = Random::new(1);
/// let series: Vec<f64> = (0..1000).map(|t| sin_turns(t as f64 / 40.0) + 0.2 * random.normal()).collect();
/// assert_eq!(delay(&series, 30), Some(9));
/// let noise: Vec<f64> = (0..1000).map(|_| random.normal()).collect();
/// assert_eq!(delay(&noise, 30), None);
/// ```
pub fn delay(series: &[f64], lag_max: usize) -> Option<usize> {
    let bins = bins_for(series.len());
    let chance = ((bins - 1) * (bins - 1)) as f64 / (2 * series.len()) as f64;
    first_minimum(&mutual_information(series, bins, lag_max), 0.5 * chance).map(|at| at + 1)
}

/// How many bins to a coordinate for so many values: as many as leave five pairs to a cell on average (Cochran's rule),
/// at least 2.
pub fn bins_for(values: usize) -> usize {
    (values / 5).isqrt().max(2)
}

/// The mutual information at lags 1, 2, ... to `lag_max` (or the last that leaves a pair), in nats.
pub fn mutual_information(series: &[f64], bins: usize, lag_max: usize) -> Vec<f64> {
    let bins = bins.clamp(1, series.len().max(1));
    let symbols = symbols(series, bins);
    (1..series.len().min(lag_max.saturating_add(1))).map(|lag| information(&symbols, bins, lag)).collect()
}

/// The place of the first minimum inside a curve to which it falls, and from which it rises, by more than `depth`. Of a
/// flat minimum, the first place.
pub fn first_minimum(curve: &[f64], depth: f64) -> Option<usize> {
    let mut high = *curve.first()?;
    let mut low = 0;
    for (at, here) in curve.iter().enumerate() {
        if *here < curve[low] {
            low = at;
        } else if *here > curve[low] + depth {
            if high > curve[low] + depth {
                return Some(low);
            }
            low = at;
        }
        high = high.max(*here);
    }
    None
}

/// The bin of each value.
fn symbols(series: &[f64], bins: usize) -> Vec<usize> {
    let mut sorted = series.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |value: &f64| sorted.partition_point(|other| other.total_cmp(value).is_lt());
    series.iter().map(|value| (rank(value) as u128 * bins as u128 / sorted.len() as u128) as usize).collect()
}

fn information(symbols: &[usize], bins: usize, lag: usize) -> f64 {
    let (mut cells, mut rows, mut columns) = (vec![0.0; bins * bins], vec![0.0; bins], vec![0.0; bins]);
    for (now, later) in symbols.iter().zip(&symbols[lag..]) {
        cells[now * bins + later] += 1.0;
        rows[*now] += 1.0;
        columns[*later] += 1.0;
    }
    let pairs = (symbols.len() - lag) as f64;
    let margins = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column));
    let cells = cells.iter().zip(margins).filter(|(cell, _)| **cell > 0.0);
    cells.fold(0.0, |sum, (cell, margin): (&f64, f64)| sum + cell * ln(cell * pairs / margin)) / pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    #[test]
    fn knows_all_and_nothing() {
        let repeated: Vec<f64> = (0..400).map(|t| f64::from(t % 4)).collect();
        let curve = mutual_information(&repeated, 4, 4);
        assert!(curve.iter().all(|information| (information - ln(4.0)).abs() < 1e-3), "{curve:?}");
        let mut random = Random::new(3);
        let noise: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        // Chance alone gives about (k - 1)^2 / 2 N.
        assert!(mutual_information(&noise, 8, 3).iter().all(|information| (0.0..0.004).contains(information)));
    }

    #[test]
    fn does_not_see_a_monotone_change_of_the_values() {
        let mut random = Random::new(4);
        let series: Vec<f64> = (0..500).map(|_| random.normal()).collect();
        let bent: Vec<f64> = series.iter().map(|x| x * x * x).collect();
        assert_eq!(mutual_information(&series, 9, 20), mutual_information(&bent, 9, 20));
    }

    #[test]
    fn minima() {
        let check = |curve: &[f64], expected| assert_eq!(first_minimum(curve, 0.0), expected, "{curve:?}");
        check(&[3.0, 2.0, 4.0], Some(1));
        check(&[3.0, 2.0, 2.0, 4.0, 1.0, 2.0], Some(1));
        check(&[3.0, 2.0, 2.0, 1.0, 2.0], Some(3));
        check(&[1.0, 2.0, 1.0, 2.0], Some(2));
        for none in [&[][..], &[1.0], &[2.0, 1.0], &[1.0, 2.0], &[3.0, 2.0, 2.0], &[f64::NAN, 1.0]] {
            check(none, None);
        }
        assert_eq!(first_minimum(&[5.0, 4.0, 4.5, 3.0, 3.5, 6.0], 1.0), Some(3));
        assert_eq!(first_minimum(&[1.0, 0.5, 3.0, 1.0, 2.5], 1.0), Some(3));
    }

    #[test]
    fn nothing_can_be_chosen_from_next_to_nothing() {
        for series in [&[][..], &[1.0], &[1.0, f64::NAN], &[2.0; 50]] {
            assert_eq!(delay(series, usize::MAX), None);
        }
        assert_eq!(mutual_information(&[1.0, 2.0, 3.0], 0, 9).len(), 2);
    }
}
