//! Distances against every matching of small diagrams, against a textbook assignment of larger ones, and the axioms.

use super::*;
use crate::stats::random::Random;
use crate::topology::series::pair::{self, Filtration, Pair};
use crate::topology::series::window::Window;
use proptest::prelude::*;

const INFINITE: f64 = f64::INFINITY;

fn diagram(bars: &[(f64, f64)]) -> Diagram {
    Diagram::new(bars.iter().map(|(birth, death)| Bar { birth: *birth, death: *death }))
}

/// Bars that lie on a coarse grid (many equal, many ways equal) or anywhere, some below the diagonal.
fn random_diagram(random: &mut Random, bars: usize, coarse: bool) -> Diagram {
    let bar = |random: &mut Random| {
        let (birth, length) = (random.unit() * 6.0, random.unit() * random.unit() * 4.0 - 0.2);
        if coarse {
            Bar { birth: birth.floor(), death: birth.floor() + length.ceil() }
        } else {
            Bar { birth, death: birth + length }
        }
    };
    Diagram::new((0..bars).map(|_| bar(random)).collect::<Vec<_>>())
}

/// All costs of the textbook's square: rows are one diagram's bars, then as many diagonals as the other has bars.
fn square(one: &Diagram, other: &Diagram, cost: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    let sides = [one, other].map(|diagram| points(diagram.bars(), 1.0).collect::<Vec<_>>());
    let [rows, columns] = &sides;
    let cell = |row: usize, column: usize| match (rows.get(row), columns.get(column)) {
        (Some(point), Some(partner)) => cost(point.to(partner)),
        (Some(point), None) | (None, Some(point)) => cost(point.diagonal),
        (None, None) => 0.0,
    };
    let size = rows.len() + columns.len();
    (0..size).map(|row| (0..size).map(|column| cell(row, column)).collect()).collect()
}

/// The Hungarian algorithm, O(n^3), as textbooks have it.
fn assigned(costs: &[Vec<f64>]) -> f64 {
    let size = costs.len();
    let (mut u, mut v, mut mate) = (vec![0.0; size + 1], vec![0.0; size + 1], vec![0; size + 1]);
    for row in 1..=size {
        let (mut least, mut used, mut way) = (vec![INFINITE; size + 1], vec![false; size + 1], vec![0; size + 1]);
        mate[0] = row;
        let mut column = 0;
        while mate[column] != 0 {
            used[column] = true;
            let (mut delta, mut next) = (INFINITE, 0);
            for j in (1..=size).filter(|j| !used[*j]).collect::<Vec<_>>() {
                let reduced = costs[mate[column] - 1][j - 1] - u[mate[column]] - v[j];
                if reduced < least[j] {
                    (least[j], way[j]) = (reduced, column);
                }
                if least[j] < delta {
                    (delta, next) = (least[j], j);
                }
            }
            for j in 0..=size {
                if used[j] {
                    u[mate[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            mate[column] = mate[way[column]];
            column = way[column];
        }
    }
    (1..=size).map(|column| costs[mate[column] - 1][column - 1]).sum()
}

/// The least value of all permutations, each folded from its cells.
fn of_every_matching(costs: &[Vec<f64>], fold: fn(f64, f64) -> f64) -> f64 {
    fn least(costs: &[Vec<f64>], row: usize, free: &mut Vec<bool>, so_far: f64, fold: fn(f64, f64) -> f64) -> f64 {
        let Some(cells) = costs.get(row) else { return so_far };
        let mut best = INFINITE;
        for (column, cost) in cells.iter().enumerate() {
            if std::mem::replace(&mut free[column], false) {
                best = best.min(least(costs, row + 1, free, fold(so_far, *cost), fold));
                free[column] = true;
            }
        }
        best
    }
    least(costs, 0, &mut vec![true; costs.len()], 0.0, fold)
}

fn assert_close(ours: f64, expected: f64) {
    assert!((ours - expected).abs() <= 1e-12 * (1.0 + expected), "{ours} not {expected}");
}

#[test]
fn are_those_of_every_matching() {
    let mut random = Random::new(11);
    for round in 0..600 {
        let mut side = || {
            let bars = random.next_u64() as usize % 5;
            random_diagram(&mut random, bars, round % 2 == 0)
        };
        let (one, other) = (side(), side());
        let sum = |sum: f64, cost: f64| sum + cost;
        assert_close(wasserstein_1(&one, &other), of_every_matching(&square(&one, &other, |way| way), sum));
        let squares = of_every_matching(&square(&one, &other, |way| way * way), sum);
        assert_close(wasserstein_2(&one, &other), squares.sqrt());
        let longest = of_every_matching(&square(&one, &other, |way| way), f64::max);
        assert_eq!(bottleneck(&one, &other), longest, "{one:?} {other:?}");
    }
}

#[test]
fn wasserstein_is_that_of_the_textbook() {
    let mut random = Random::new(12);
    for round in 0..200 {
        let sizes = [random.next_u64() as usize % 40, random.next_u64() as usize % 40];
        let [one, other] = sizes.map(|bars| random_diagram(&mut random, bars, round % 3 == 0));
        let other = if round % 2 == 0 { with_common(&one, &other) } else { other };
        assert_close(wasserstein_1(&one, &other), assigned(&square(&one, &other, |way| way)));
        assert_close(wasserstein_2(&one, &other), assigned(&square(&one, &other, |way| way * way)).sqrt());
    }
}

/// Half of the first diagram's bars and all of the other's.
fn with_common(one: &Diagram, other: &Diagram) -> Diagram {
    Diagram::new(one.bars().iter().step_by(2).chain(other.bars()).copied())
}

#[test]
fn bottleneck_is_the_least_radius_that_lets_all_match() {
    let mut random = Random::new(13);
    for round in 0..300 {
        let sizes = [random.next_u64() as usize % 30, random.next_u64() as usize % 30];
        let [one, other] = sizes.map(|bars| random_diagram(&mut random, bars, round % 3 == 0));
        let other = if round % 2 == 0 { with_common(&one, &other) } else { other };
        let costs = square(&one, &other, |way| way);
        let mut radii = costs.concat();
        radii.push(0.0);
        radii.sort_unstable_by(f64::total_cmp);
        radii.dedup();
        let least = radii.partition_point(|radius| !all_match(&costs, *radius));
        assert_eq!(bottleneck(&one, &other), radii[least], "{one:?} {other:?}");
    }
}

/// Kuhn's algorithm on the square.
fn all_match(costs: &[Vec<f64>], radius: f64) -> bool {
    fn finds(costs: &[Vec<f64>], row: usize, radius: f64, seen: &mut [bool], mate: &mut [Option<usize>]) -> bool {
        (0..costs.len()).any(|column| {
            if costs[row][column] > radius || std::mem::replace(&mut seen[column], true) {
                return false;
            }
            let free = mate[column].is_none_or(|other| finds(costs, other, radius, seen, mate));
            if free {
                mate[column] = Some(row);
            }
            free
        })
    }
    let mut mate = vec![None; costs.len()];
    (0..costs.len()).all(|row| finds(costs, row, radius, &mut vec![false; costs.len()], &mut mate))
}

#[test]
fn what_stays_costs_nothing_in_w1() {
    let mut random = Random::new(14);
    let mut transport = Transport::default();
    for round in 0..2_000 {
        let sizes = [0; 3].map(|_| random.next_u64() as usize % 24);
        let [stays, goes, comes] = sizes.map(|bars| random_diagram(&mut random, bars, round % 2 == 0));
        let both = |diagram: &Diagram| Diagram::new(stays.bars().iter().chain(diagram.bars()).copied());
        let (before, after) = (both(&goes), both(&comes));
        let whole = transport.distance(before.bars(), after.bars(), Order::One);
        let change = Change::between(&before, &after);
        assert!(change.gone().iter().all(|bar| !change.come().contains(bar)), "nothing is in both");
        assert_close(change.wasserstein_1(&mut transport), whole);
        assert_close(Change::new(goes.bars().to_vec(), comes.bars().to_vec()).wasserstein_1(&mut transport), whole);
    }
}

#[test]
fn what_stays_matters_in_w2_and_bottleneck() {
    let (before, after) = (diagram(&[(0.0, 20.0), (1.0, 21.0)]), diagram(&[(1.0, 21.0), (2.0, 22.0)]));
    assert_eq!((bottleneck(&before, &after), wasserstein_2(&before, &after)), (1.0, 2.0_f64.sqrt()));
    assert_eq!(wasserstein_1(&before, &after), 2.0);
    let (before, after) = (diagram(&[(0.0, 20.0)]), diagram(&[(2.0, 22.0)]));
    assert_eq!((bottleneck(&before, &after), wasserstein_2(&before, &after)), (2.0, 2.0));
}

#[test]
fn what_a_slide_tells_is_all_that_w1_needs() {
    let mut random = Random::new(15);
    let mut transport = Transport::default();
    for filtration in [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended] {
        let mut window = Window::new(filtration, 0.0);
        let mut height = 0.0;
        for step in 0..600 {
            height += random.pick(7) as f64 - 3.0;
            let before = pair::diagram(&window.pairs());
            let mut told: Vec<(bool, Pair)> = Vec::new();
            if step >= 40 {
                window.evict(&mut told);
            }
            window.push(height, &mut told);
            let after = pair::diagram(&window.pairs());
            let bars = |entered| told.iter().filter(|told| told.0 == entered).map(|told| told.1.bar()).collect();
            let change = Change::new(bars(false), bars(true));
            assert_eq!(change, Change::between(&before, &after));
            let (w1, whole) =
                (change.wasserstein_1(&mut transport), transport.distance(before.bars(), after.bars(), Order::One));
            assert!(w1 == whole || (w1 - whole).abs() < 1e-9, "{w1} not {whole} at {step}");
        }
    }
}

/// All four distances.
fn all(one: &Diagram, other: &Diagram) -> [f64; 4] {
    [wasserstein_1(one, other), wasserstein_2(one, other), bottleneck(one, other), sliced_wasserstein(one, other, 12)]
}

#[test]
fn infinite_bars_are_matched_among_themselves() {
    let check = |one: &[(f64, f64)], other: &[(f64, f64)], expected: [f64; 3]| {
        let found = all(&diagram(one), &diagram(other));
        assert_eq!(found[..3], expected, "{one:?} {other:?}");
        assert_eq!(found, all(&diagram(other), &diagram(one)));
    };
    let (inf, none) = (INFINITE, [INFINITE; 3]);
    check(&[(0.0, inf), (5.0, inf)], &[(9.0, inf), (2.0, inf)], [6.0, 20.0_f64.sqrt(), 4.0]);
    check(&[(0.0, inf), (0.0, 2.0)], &[(3.0, inf)], [4.0, 10.0_f64.sqrt(), 3.0]);
    check(&[(-inf, 3.0), (4.0, -inf)], &[(4.0, -inf), (-inf, 1.0)], [2.0, 2.0, 2.0]);
    check(&[(-inf, inf), (inf, 0.0)], &[(-inf, inf), (inf, 0.0)], [0.0; 3]);
    check(&[(0.0, inf)], &[(0.0, -inf)], none);
    check(&[(0.0, inf)], &[], none);
    check(&[(0.0, inf)], &[(-inf, inf)], none);
}

#[test]
fn nothing_far_out_breaks_a_distance() {
    let great = [(-1e308, 1e308), (0.0, 1.7e308), (-1.7e308, 1.7e308), (1e308, -1e308)];
    let small = [(0.0, 5e-324), (5e-324, 1e-323), (0.0, 1e-310)];
    let mixed = [(0.0, 1e-300), (1.0, 2.0), (-1e300, 1e300)];
    for (one, other) in
        [(&great[..], &great[1..]), (&great, &small), (&small, &small[..2]), (&mixed, &great), (&great, &[])]
    {
        assert!(all(&diagram(one), &diagram(other)).iter().all(|distance| !distance.is_nan() && *distance >= 0.0));
    }
    assert_eq!(all(&diagram(&[(0.0, 3e-200)]), &diagram(&[(0.0, 2e-200)]))[..3], [1e-200; 3]);
    assert_eq!(all(&diagram(&[(0.0, 3e200)]), &diagram(&[]))[..3], [1.5e200; 3]);
    assert_eq!(all(&diagram(&[]), &diagram(&[])), [0.0; 4]);
    let apart = diagram(&[(0.0, 1.0), (f64::NAN, 2.0), (3.0, f64::NAN)]);
    assert_eq!(all(&apart, &diagram(&[(0.0, 1.0)])), [0.0; 4]);
    assert_eq!(sliced_wasserstein(&apart, &diagram(&[]), 0), 0.0);
}

/// Components of the sublevel sets of a series, by union and find.
fn sublevel(series: &[f64]) -> Diagram {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|a, b| series[*a].total_cmp(&series[*b]));
    // The minimum of each component, at both of its ends.
    let mut lowest: Vec<Option<(usize, f64)>> = vec![None; series.len()];
    let mut bars = Vec::new();
    for at in order {
        let left = at.checked_sub(1).and_then(|left| lowest[left]);
        let right = lowest.get(at + 1).copied().flatten();
        let (start, end) = (left.map_or(at, |(start, _)| start), right.map_or(at, |(end, _)| end));
        let minimum = match (left, right) {
            (Some((_, left)), Some((_, right))) => {
                bars.push(Bar { birth: left.max(right), death: series[at] });
                left.min(right)
            }
            (Some((_, minimum)), None) | (None, Some((_, minimum))) => minimum,
            (None, None) => series[at],
        };
        (lowest[start], lowest[end]) = (Some((end, minimum)), Some((start, minimum)));
    }
    bars.extend(lowest.first().copied().flatten().map(|(_, birth)| Bar { birth, death: INFINITE }));
    Diagram::new(bars)
}

fn bars() -> impl Strategy<Value = Diagram> {
    let anywhere = (-3.0..6.0, 0.0..5.0).prop_map(|(birth, length)| (birth, birth + length));
    let coarse = (0..5, -1..4).prop_map(|(birth, length)| (f64::from(birth), f64::from(birth + length)));
    let below = (0..3, 0..2).prop_map(|(birth, up)| (f64::from(birth), if up == 0 { INFINITE } else { -1.0 }));
    proptest::collection::vec(prop_oneof![4 => anywhere, 4 => coarse, 1 => below], 0..14)
        .prop_map(|bars| diagram(&bars))
}

#[test]
fn bits_are_pinned() {
    let mut random = Random::new(16);
    let [one, other] = [40, 50].map(|bars| random_diagram(&mut random, bars, false));
    assert_eq!(
        all(&one, &other).map(f64::to_bits),
        [4624731673248709671, 4613228429216517009, 4607396567709366182, 4620376615894434529]
    );
}

/// Bars of any bits: NaN, infinities, the smallest and the greatest of numbers.
fn any_bars() -> impl Strategy<Value = Diagram> {
    let number = prop_oneof![any::<u64>().prop_map(f64::from_bits), (-2..3).prop_map(f64::from)];
    proptest::collection::vec((number.clone(), number), 0..10).prop_map(|bars| diagram(&bars))
}

proptest! {
    #[test]
    fn are_numbers_whatever_the_bits((one, other) in (any_bars(), any_bars())) {
        let distances = all(&one, &other);
        prop_assert!(distances.iter().all(|distance| *distance >= 0.0), "{distances:?}");
        prop_assert_eq!(distances.map(f64::to_bits), all(&other, &one).map(f64::to_bits));
        prop_assert_eq!(all(&one, &one), [0.0; 4]);
    }

    #[test]
    fn are_metrics((one, other, third) in (bars(), bars(), bars())) {
        let distances = all(&one, &other);
        prop_assert_eq!(distances.map(f64::to_bits), all(&other, &one).map(f64::to_bits));
        prop_assert_eq!(all(&one, &one), [0.0; 4]);
        prop_assert_eq!(distances[0] == 0.0, one == other);
        let (there, back) = (all(&one, &third), all(&third, &other));
        for at in 0..4 {
            prop_assert!(distances[at] <= (there[at] + back[at]) * (1.0 + 1e-12), "{} of {distances:?}", at);
        }
        prop_assert!(distances[2] <= distances[1] * (1.0 + 1e-12) && distances[1] <= distances[0] * (1.0 + 1e-12));
    }

    #[test]
    fn move_no_further_than_the_series(
        pairs in proptest::collection::vec((0..9_i32, -10..10_i32), 1..60),
    ) {
        let series: Vec<f64> = pairs.iter().map(|(value, _)| f64::from(*value)).collect();
        let moved: Vec<f64> = pairs.iter().map(|(value, by)| f64::from(*value) + f64::from(*by) / 8.0).collect();
        let furthest = pairs.iter().map(|(_, by)| f64::from(by.abs()) / 8.0).fold(0.0, f64::max);
        prop_assert!(bottleneck(&sublevel(&series), &sublevel(&moved)) <= furthest);
    }

    #[test]
    fn follow_scale_and_shift((one, other) in (bars(), bars()), shift in -8..8_i32) {
        let moved = |diagram: &Diagram| Diagram::new(diagram.bars().iter().map(|bar| {
            Bar { birth: 4.0 * bar.birth, death: 4.0 * bar.death }
        }).collect::<Vec<_>>());
        let scaled = all(&moved(&one), &moved(&other));
        prop_assert_eq!(scaled, all(&one, &other).map(|distance| 4.0 * distance));
        let shifted = |diagram: &Diagram| Diagram::new(diagram.bars().iter().map(|bar| {
            Bar { birth: bar.birth + f64::from(shift), death: bar.death + f64::from(shift) }
        }).collect::<Vec<_>>());
        let (here, there) = (all(&one, &other), all(&shifted(&one), &shifted(&other)));
        for (here, there) in here.iter().zip(there).take(3) {
            prop_assert!(*here == there || (here - there).abs() < 1e-11);
        }
    }
}
