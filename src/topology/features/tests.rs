//! Features where the answer is known by hand, and where nothing may go wrong.

use super::*;
use crate::stats::random::Random;
use proptest::prelude::*;

const GRID: Grid = Grid { from: 0.0, to: 4.0, points: 5 };

fn intervals(bars: &[(f64, f64)], infinite: Infinite) -> Intervals {
    Intervals::of(&Diagram::new(bars.iter().map(|(birth, death)| Bar { birth: *birth, death: *death })), infinite)
}

#[test]
fn of_bars_by_hand() {
    let bars = intervals(&[(0.0, 4.0), (1.0, 3.0)], Infinite::LeaveOut);
    assert_eq!((bars.count(), bars.max(), bars.total(0), bars.total(1), bars.total(3)), (2, 4.0, 2.0, 6.0, 72.0));
    assert_eq!(bars.betti_curve(&GRID).unwrap(), [1.0, 2.0, 2.0, 1.0, 0.0]);
    assert_eq!(bars.landscape(3, &GRID).unwrap()[..10], [0.0, 1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(bars.landscape(3, &GRID).unwrap()[10..], [0.0; 5]);
    assert_eq!(bars.silhouette(&GRID, 1).unwrap(), [0.0, 4.0 / 6.0, 10.0 / 6.0, 4.0 / 6.0, 0.0]);
    assert_eq!(bars.amplitude(Amplitude::Bottleneck), 2.0);
    let equal = intervals(&[(0.0, 2.0); 8], Infinite::LeaveOut);
    assert!((equal.entropy() - 8.0_f64.ln()).abs() < 1e-15);
}

#[test]
fn infinite_bars_and_those_below_the_diagonal() {
    let infinite = f64::INFINITY;
    let bars = [(1.0, infinite), (3.0, 1.0), (2.0, -infinite), (7.0, infinite), (-infinite, infinite)];
    let count = |infinite| intervals(&bars, infinite).count();
    assert_eq!(count(Infinite::LeaveOut), 1);
    assert_eq!(intervals(&bars, Infinite::LeaveOut).max(), 2.0);
    assert_eq!(intervals(&bars, Infinite::ClipAt(7.0)).total(1), 6.0 + 2.0 + 9.0 + 14.0);
    assert_eq!((count(Infinite::ClipAt(f64::INFINITY)), count(Infinite::ClipAt(f64::NAN))), (1, 1));
}

#[test]
fn grids() {
    assert_eq!((0..5).map(|number| GRID.place(number)).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(Grid { from: 0.1, to: 0.7, points: 8 }.place(7), 0.7);
    assert_eq!(Grid { points: 1, ..GRID }.places(9).unwrap(), [0.0]);
    assert!(Grid { points: 0, ..GRID }.places(9).unwrap().is_empty());
}

#[test]
fn what_would_not_fit_into_memory_is_refused() {
    let bars = intervals(&[(0.0, 4.0)], Infinite::LeaveOut);
    let check = |points: usize, rows: usize| {
        let grid = Grid { points, ..GRID };
        let shape =
            ImageShape { births: grid, persistences: Grid { points: rows, ..GRID }, bandwidth: 1.0, weight_power: 1 };
        let refused = TooLarge { rows, points };
        assert_eq!((bars.landscape(rows, &grid), bars.image(&shape)), (Err(refused), Err(refused)));
        assert!(refused.to_string().contains("it may have 16777216"));
    };
    for (points, rows) in [(usize::MAX, 2), (2, usize::MAX), (1 << 13, 1 << 12), (NUMBERS_MAX + 1, 1)] {
        check(points, rows);
    }
    let grid = Grid { points: usize::MAX, ..GRID };
    assert!(
        bars.betti_curve(&grid).is_err() && bars.silhouette(&grid, 1).is_err() && bars.landscape(0, &grid).is_err()
    );
}

/// All features, one after the other.
fn all(bars: &Intervals, grid: Grid, levels: usize, bandwidth: f64) -> Vec<f64> {
    let shape = ImageShape { births: grid, persistences: grid, bandwidth, weight_power: 1 };
    let numbers = vec![bars.entropy(), bars.max(), bars.total(2), bars.amplitude(Amplitude::Wasserstein2)];
    [
        numbers,
        bars.betti_curve(&grid).unwrap(),
        bars.landscape(levels, &grid).unwrap(),
        bars.silhouette(&grid, 2).unwrap(),
        bars.image(&shape).unwrap(),
    ]
    .concat()
}

#[test]
fn nothing_far_out_panics() {
    let far = [(-1.7e308, 1.7e308), (0.0, 5e-324), (1e308, -1e308), (f64::INFINITY, 0.0), (f64::NAN, 1.0)];
    let grids =
        [(-1.7e308, 1.7e308, 3), (0.0, 0.0, 4), (f64::NAN, 1.0, 3), (5.0, -5.0, 4), (0.0, 1.0, 0), (1.0, 2.0, 1)];
    for (from, to, points) in grids {
        for (levels, bandwidth) in [(0, 0.0), (2, 1e-300), (1, f64::NAN)] {
            for bars in [&far[..], &[]] {
                let bars = intervals(bars, Infinite::ClipAt(1e308));
                assert_eq!(
                    all(&bars, Grid { from, to, points }, levels, bandwidth).len(),
                    4 + points * (2 + levels + points)
                );
            }
        }
    }
    assert_eq!(all(&Intervals::default(), GRID, 2, 1.0), [0.0; 4 + 5 * 9]);
}

#[test]
fn bits_are_pinned() {
    let mut random = Random::new(17);
    let mut bar = || (random.unit() * 3.0, 3.0 + random.unit());
    let bars = intervals(&[(); 30].map(|()| bar()), Infinite::LeaveOut);
    // A polynomial of all features in their order.
    let mixed = all(&bars, GRID, 3, 0.7).iter().fold(0.0, |sum, x| sum * 0.9 + x);
    assert_eq!(mixed.to_bits(), 4626691054312964516);
}

proptest! {
    #[test]
    fn have_their_shape_whatever_the_bits(
        bars in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..10),
        (from, to, bandwidth, clip) in any::<(u64, u64, u64, u64)>(),
    ) {
        let bars: Vec<(f64, f64)> = bars.into_iter().map(|(a, b)| (f64::from_bits(a), f64::from_bits(b))).collect();
        let bars = intervals(&bars, Infinite::ClipAt(f64::from_bits(clip)));
        let grid = Grid { from: f64::from_bits(from), to: f64::from_bits(to), points: 6 };
        prop_assert_eq!(all(&bars, grid, 2, f64::from_bits(bandwidth)).len(), 4 + 6 * (1 + 2 + 1 + 6));
    }

    #[test]
    fn hold_together(bars in proptest::collection::vec((0.0..4.0, 0.0..3.0), 1..20)) {
        let bars: Vec<(f64, f64)> = bars.into_iter().map(|(birth, length)| (birth, birth + length)).collect();
        let bars = intervals(&bars, Infinite::LeaveOut);
        let grid = Grid { from: 0.0, to: 7.0, points: 29 };
        prop_assert!(all(&bars, grid, 3, 0.5).iter().all(|x| x.is_finite() && *x >= 0.0));
        prop_assert!(bars.entropy() <= (bars.count() as f64).ln() + 1e-12);
        // A landscape's levels fall, and together they are all tents; so is the silhouette of equal weights.
        let levels = bars.landscape(bars.count(), &grid).unwrap();
        let mean = bars.silhouette(&grid, 0).unwrap();
        for (at, mean) in mean.iter().enumerate() {
            let tents: Vec<f64> = levels.iter().skip(at).step_by(29).copied().collect();
            prop_assert!(tents.is_sorted_by(|high, low| high >= low));
            prop_assert!((tents.iter().sum::<f64>() - mean * bars.count() as f64).abs() < 1e-12);
        }
    }
}
