//! The room as a whole: steps against sweeps, sweeps against the textbook and against `cocycle`, shapes whose bars are
//! known, and what must not change an answer.
//!
//! The tests that always run are a sample. `cargo test --release rips -- --ignored` compares 100,000 answers of sliding
//! windows and 1,000 clouds.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::{ABSENT, Block};
use super::lunes::Lunes;
use super::sweep::{Purpose, sweep};
use super::*;
use crate::stats::elementary::sin_turns;
use crate::stats::random::Random;

const KINDS: [&str; 8] = ["noise", "walk", "grid", "duplicates", "growing", "ring", "delay", "line"];

/// Points that come one after the other.
fn stream(kind: &str, count: usize, random: &mut Random) -> Vec<Vec<f64>> {
    let mut walk = [0.0; 3];
    let mut embedding = DelayEmbedding::new(3, 4);
    let mut point = |t: usize| {
        let normal = random.normal();
        let unit = random.unit();
        let whole = |random: &mut Random, n| random.pick(n) as f64;
        match kind {
            "noise" => vec![normal, random.normal(), random.normal()],
            "walk" => {
                walk.iter_mut().for_each(|x| *x = 0.98 * *x + random.normal());
                walk.to_vec()
            }
            "grid" => vec![whole(random, 5), whole(random, 4), whole(random, 2)],
            "duplicates" => vec![whole(random, 3), (t / 7 % 3) as f64, 0.0],
            "growing" => vec![(t % 2) as f64 * t as f64, -(t as f64), normal],
            // Every so often a point in the middle, which is then the hub of most lunes.
            "ring" if t % 19 == 7 => vec![0.01 * normal, 0.0, 0.0],
            "ring" => vec![sin_turns(unit), sin_turns(unit + 0.25), 0.02 * normal],
            "delay" => {
                let sample = sin_turns(t as f64 / 16.0) + 0.1 * normal;
                embedding.push(sample).map_or_else(|| vec![0.0; 3], <[f64]>::to_vec)
            }
            _ => vec![t as f64, 0.0, 0.0],
        }
    };
    (0..count).map(&mut point).collect()
}

fn window(lanes: Lanes, metric: Metric, strategy: Strategy) -> Window {
    let mut window = Window::with_lanes(metric, 3, lanes);
    window.set_strategy(strategy);
    window
}

/// Slides windows of about `n` points and asks each of them, in every strategy and on every kind of lanes, for the same
/// answers. Returns how many were compared.
fn check_slides(kind: &str, metric: Metric, n: usize, steps: usize, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut windows = Vec::new();
    for lanes in Lanes::available() {
        for strategy in [Strategy::Incremental, Strategy::Cheapest] {
            windows.push(window(lanes, metric, strategy));
        }
    }
    windows.push(window(Lanes::detect(), metric, Strategy::FromScratch));
    let mut workspace = Workspace::default();
    let mut answers = 0;
    for (t, point) in stream(kind, steps, &mut random.split(1)).iter().enumerate() {
        // Mostly slides; sometimes the window grows or shrinks, and sometimes several points come between two answers.
        let length = windows[0].len();
        let evicted = if length < n / 2 { 0 } else { [1, 1, 1, 1, 0, 2][random.pick(6) as usize] };
        let evicted = evicted.max(length.saturating_sub(n));
        let asked = random.pick(4) > 0;
        for window in &mut windows {
            for _ in 0..evicted {
                window.evict();
            }
            window.push(t as u64, point).unwrap_or_default();
        }
        if asked {
            let [answer, others @ ..] = &mut windows[..] else { unreachable!("at least three windows") };
            let answer = answer.diagram(&mut workspace);
            for other in others {
                assert_eq!(other.diagram(&mut workspace), answer, "{kind} {metric:?} n {n} seed {seed} step {t}");
                answers += 1;
            }
        }
    }
    answers
}

#[test]
fn steps_equal_sweeps_on_all_lanes() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        check_slides(kind, Metric::Euclidean, 12, 60, i as u64);
        check_slides(kind, Metric::Manhattan, 40, 60, i as u64);
    }
    check_slides("ring", Metric::Chebyshev, 70, 90, 9);
    check_slides("delay", Metric::Euclidean, 150, 180, 9);
    check_slides("noise", Metric::Cosine, 30, 60, 9);
    check_slides("walk", Metric::Correlation, 20, 60, 9);
}

#[test]
#[ignore = "a minute in a release build"]
fn steps_equal_sweeps_a_hundred_thousand_times() {
    let mut answers = 0;
    for seed in 0..6 {
        for kind in KINDS {
            for (n, steps) in [(9, 800), (24, 800), (63, 800), (65, 400), (130, 300), (190, 400), (300, 500)] {
                let metric = [Metric::Euclidean, Metric::Manhattan, Metric::Chebyshev][seed as usize % 3];
                answers += check_slides(kind, metric, n, steps, 1000 + seed);
            }
        }
    }
    println!("{answers} answers are equal");
    assert!(answers >= 100_000);
}

/// Windows that end together and learn each from the next larger one, against windows for themselves.
fn check_nested(kind: &str, metric: Metric, sizes: &[usize], steps: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut windows: Vec<[Window; 2]> = sizes
        .iter()
        .map(|_| [Strategy::Incremental, Strategy::Cheapest].map(|s| window(Lanes::detect(), metric, s)))
        .collect();
    let mut workspace = Workspace::default();
    for (t, point) in stream(kind, steps, &mut random.split(1)).iter().enumerate() {
        for (windows, size) in windows.iter_mut().zip(sizes) {
            for window in windows {
                window.push(t as u64, point).unwrap_or_default();
                while window.len() > *size {
                    window.evict();
                }
            }
        }
        for number in (0..sizes.len()).filter(|_| random.pick(5) > 0) {
            let (larger, smaller) = windows.split_at_mut(number);
            let [window, alone] = &mut smaller[0];
            let found = window.diagram_within(larger.last().map(|[larger, _]| larger), &mut workspace);
            assert_eq!(
                found,
                alone.diagram(&mut workspace),
                "{kind} {metric:?} {sizes:?} seed {seed} step {t} {number}"
            );
        }
    }
}

#[test]
fn windows_learn_nothing_wrong_from_larger_ones() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        check_nested(kind, Metric::Euclidean, &[40, 40, 30, 20, 7, 1], 120, i as u64);
        check_nested(kind, Metric::Manhattan, &[90, 64, 45], 130, i as u64);
    }
    check_nested("delay", Metric::Euclidean, &[200, 150, 70], 260, 9);
}

/// The diagram of a matrix of distances; records are ranks.
fn rips(distances: &[Vec<f32>]) -> RipsDiagram {
    let side = 64 * distances.len().div_ceil(64).max(1);
    let mut lunes = Lunes::new(side, Lanes::detect());
    for (a, row) in distances.iter().enumerate() {
        let mut blocks = vec![Block([ABSENT; 16]); side / 16];
        for (b, distance) in row.iter().enumerate().filter(|(b, _)| *b != a) {
            blocks[b / 16].0[b % 16] = distance.to_bits() as i32;
        }
        lunes.set_row(a, &blocks);
    }
    lunes.ring.count = distances.len();
    let (mut first, mut second) = Default::default();
    let reading = match side {
        64 => {
            sweep::<1>(&mut lunes, &mut first, Purpose::Answer);
            algebra::read::<1>(&mut lunes, &mut second, None)
        }
        128 => {
            sweep::<2>(&mut lunes, &mut first, Purpose::Answer);
            algebra::read::<2>(&mut lunes, &mut second, None)
        }
        _ => {
            sweep::<3>(&mut lunes, &mut first, Purpose::Answer);
            algebra::read::<3>(&mut lunes, &mut second, None)
        }
    };
    reading.diagram(|rank| rank as u64)
}

fn distances(metric: Metric, points: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let row = |a: &Vec<f64>| points.iter().map(|b| metric.distance(a, b)).collect();
    points.iter().map(row).collect()
}

/// Length, younger end, older end: the order of edges.
type EdgeKey = (u32, usize, usize);

/// The textbook: boundary matrices of all edges and triangles, reduced over F2 column by column.
struct Textbook {
    edges: Vec<EdgeKey>,
    /// The edges of each triangle, in the order of their last edges.
    triangles: Vec<BTreeSet<usize>>,
}

impl Textbook {
    fn new(distances: &[Vec<f32>]) -> Textbook {
        let n = distances.len();
        let mut edges: Vec<EdgeKey> =
            (0..n).flat_map(|b| (0..b).map(move |a| (distances[a][b].to_bits(), b, a))).collect();
        edges.sort_unstable();
        let number: BTreeMap<(usize, usize), usize> =
            edges.iter().enumerate().map(|(number, (_, b, a))| ((*a, *b), number)).collect();
        let mut triangles = Vec::new();
        for c in 0..n {
            for b in 0..c {
                triangles.extend((0..b).map(|a| BTreeSet::from([number[&(a, b)], number[&(a, c)], number[&(b, c)]])));
            }
        }
        triangles.sort_by_key(|triangle| *triangle.last().expect("three edges"));
        Textbook { edges, triangles }
    }

    fn diagram(&self) -> RipsDiagram {
        let ends = |edge: usize| [self.edges[edge].2 as u64, self.edges[edge].1 as u64];
        let length = |edge: usize| f64::from(f32::from_bits(self.edges[edge].0));
        let bar = |birth, death, born, dead| RipsBar { bar: Bar { birth, death }, birth: born, death: dead };
        let mut diagram = RipsDiagram::default();
        let columns = self.edges.iter().map(|(_, b, a)| BTreeSet::from([*a, *b]));
        let components = reduce(columns);
        for (edge, point) in components.iter().enumerate() {
            if let Some(point) = point.filter(|_| length(edge) > 0.0) {
                diagram.components.push(bar(0.0, length(edge), [point as u64; 2], Some(ends(edge))));
            }
        }
        diagram.components.push(bar(0.0, f64::INFINITY, [0; 2], None));
        let loops = reduce(self.triangles.iter().cloned());
        for (triangle, edge) in loops.iter().enumerate() {
            let Some(edge) = edge else { continue };
            let last = *self.triangles[triangle].last().expect("three edges");
            if length(*edge) < length(last) {
                diagram.loops.push(bar(length(*edge), length(last), ends(*edge), Some(ends(last))));
            }
        }
        diagram.loops.sort_by(|one, other| one.bar.order(&other.bar).then(one.birth.cmp(&other.birth)));
        diagram
    }

    /// From which length on a closed path, as edges, is a boundary.
    fn filled(&self, mut path: BTreeSet<usize>) -> f64 {
        let mut basis: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for triangle in &self.triangles {
            let last = *triangle.last().expect("three edges");
            let mut column = triangle.clone();
            reduced(&mut column, &basis);
            if let Some(pivot) = column.last().copied() {
                basis.insert(pivot, column);
            }
            reduced(&mut path, &basis);
            if path.is_empty() {
                return f64::from(f32::from_bits(self.edges[last].0));
            }
        }
        f64::INFINITY
    }
}

/// The pivot of each column once reduced.
fn reduce(columns: impl Iterator<Item = BTreeSet<usize>>) -> Vec<Option<usize>> {
    let mut basis = BTreeMap::new();
    let mut pivot = |mut column: BTreeSet<usize>| {
        reduced(&mut column, &basis);
        let pivot = column.last().copied()?;
        basis.insert(pivot, column);
        Some(pivot)
    };
    columns.map(&mut pivot).collect()
}

fn reduced(column: &mut BTreeSet<usize>, basis: &BTreeMap<usize, BTreeSet<usize>>) {
    while let Some(known) = column.last().and_then(|pivot| basis.get(pivot)) {
        *column = column.symmetric_difference(known).copied().collect();
    }
}

#[test]
fn sweeps_equal_the_textbook_to_the_record() {
    let mut random = Random::new(5);
    for kind in KINDS {
        for n in [1, 2, 3, 5, 8, 13] {
            let points = stream(kind, n, &mut random);
            let distances = distances(Metric::Euclidean, &points);
            assert_eq!(rips(&distances), Textbook::new(&distances).diagram(), "{kind} {n} {points:?}");
        }
    }
    // Not metrics at all: whole numbers, so that ties abound.
    for seed in 0..60 {
        let n = 4 + seed % 9;
        let mut matrix = vec![vec![0.0; n]; n];
        for (a, b) in (0..n).flat_map(|b| (0..b).map(move |a| (a, b))) {
            matrix[a][b] = random.pick(1 + seed as u64 / 4) as f32;
            matrix[b][a] = matrix[a][b];
        }
        assert_eq!(rips(&matrix), Textbook::new(&matrix).diagram(), "{matrix:?}");
    }
}

/// Compares with `cocycle` on the same rounded distances.
fn check_with_cocycle(kind: &str, metric: Metric, n: usize, seed: u64) {
    use cocycle::diagram::IntervalEnd;
    use cocycle::filtration::RipsBuilder;
    use cocycle::geometry::{DissimilarityMatrixView, MatrixLayout};
    use cocycle::persistence::PersistenceExt;
    let mut points = stream(kind, n, &mut Random::new(seed));
    let mut window = Window::new(metric, 3);
    points.retain(|point| window.push(0, point).is_ok());
    let ours = window.diagram(&mut Workspace::default());
    points.iter_mut().for_each(|point| metric.prepare(3, point).expect("points that the window took"));
    let matrix: Vec<f64> = distances(metric, &points).concat().into_iter().map(f64::from).collect();
    let view = DissimilarityMatrixView::new(&matrix, points.len(), MatrixLayout::Square).unwrap();
    let theirs = RipsBuilder::from_distance_matrix(view).persistence().compute().unwrap();
    for (degree, ours) in [(0, ours.degree_0()), (1, ours.degree_1())] {
        let intervals = theirs.diagram().intervals().filter(|interval| interval.dimension() == degree);
        let bars = intervals.map(|interval| Bar {
            birth: interval.birth(),
            death: match interval.end() {
                IntervalEnd::Finite(death) => death,
                _ => f64::INFINITY,
            },
        });
        assert_eq!(ours, Diagram::new(bars), "{kind} {metric:?} n {n} seed {seed} degree {degree}");
    }
}

const METRICS: [Metric; 5] =
    [Metric::Euclidean, Metric::Manhattan, Metric::Chebyshev, Metric::Cosine, Metric::Correlation];

#[test]
fn diagrams_equal_those_of_cocycle() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        check_with_cocycle(kind, METRICS[i % 5], 24, i as u64);
    }
}

#[test]
#[ignore = "ten seconds in a release build"]
fn diagrams_equal_those_of_cocycle_on_a_thousand_clouds() {
    for seed in 0..9 {
        for kind in KINDS {
            for metric in METRICS {
                for n in [7, 30, 90] {
                    check_with_cocycle(kind, metric, n, 1 + seed);
                }
            }
        }
    }
}

#[test]
fn polygons() {
    for n in 4..60 {
        let mut window = Window::new(Metric::Euclidean, 2);
        for i in 0..n {
            let turns = f64::from(i) / f64::from(n);
            window.push(i as u64, &[sin_turns(turns + 0.25), sin_turns(turns)]).unwrap();
        }
        let loops = window.diagram(&mut Workspace::default()).loops;
        let chord = |sides: i32| 2.0 * sin_turns(f64::from(sides) / f64::from(2 * n));
        let (birth, death) = (chord(1), chord((n + 2) / 3));
        let long: Vec<&RipsBar> = loops.iter().filter(|bar| bar.bar.persistence() > 1e-5).collect();
        assert_eq!(long.len(), 1, "{n}: {loops:?}");
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
        assert!(close(long[0].bar.birth, birth) && close(long[0].bar.death, death), "{n}: {loops:?}");
    }
}

/// The barycentric subdivision of the projective plane of six points, with distance 1 along its edges and 2 elsewhere.
/// A subdivision is a flag complex, so this is the Rips complex at scale 1.
#[test]
fn the_projective_plane_has_a_loop_over_two() {
    let faces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 1, 5]];
    let faces = faces.into_iter().chain([[1, 2, 4], [2, 3, 5], [1, 3, 4], [2, 4, 5], [1, 3, 5]]);
    let mut simplices = BTreeSet::new();
    for [a, b, c] in faces {
        for simplex in [vec![a], vec![b], vec![c], vec![a, b], vec![a, c], vec![b, c], vec![a, b, c]] {
            simplices.insert(simplex);
        }
    }
    let simplices: Vec<Vec<i32>> = simplices.into_iter().collect();
    assert_eq!(simplices.len(), 31);
    let within = |a: &[i32], b: &[i32]| a.iter().all(|point| b.contains(point));
    let distance = |a: &Vec<i32>, b: &Vec<i32>| match a == b {
        true => 0.0,
        false if within(a, b) || within(b, a) => 1.0,
        false => 2.0,
    };
    let matrix: Vec<Vec<f32>> = simplices.iter().map(|a| simplices.iter().map(|b| distance(a, b)).collect()).collect();
    assert_eq!(rips(&matrix).degree_1().bars(), [Bar { birth: 1.0, death: 2.0 }]);
}

/// Two groups whose points are nearer to all of the other group: (m - 1)^2 loops at once.
#[test]
fn as_many_loops_as_there_can_be() {
    for m in [2, 10, 34, 66] {
        let distance = |a: usize, b: usize| if a == b { 0.0 } else { [1.0, 2.0][usize::from((a < m) == (b < m))] };
        let matrix: Vec<Vec<f32>> = (0..2 * m).map(|a| (0..2 * m).map(|b| distance(a, b)).collect()).collect();
        let loops = rips(&matrix).loops;
        assert_eq!(loops.len(), (m - 1) * (m - 1));
        assert!(loops.iter().all(|bar| bar.bar == Bar { birth: 1.0, death: 2.0 }));
    }
    // All points equally far, or all the same: no loops.
    for length in [0.0, 1.0] {
        let matrix: Vec<Vec<f32>> =
            (0..40).map(|a| (0..40).map(|b| if a == b { 0.0 } else { length }).collect()).collect();
        let diagram = rips(&matrix);
        assert_eq!((diagram.loops.len(), diagram.components.len()), (0, if length > 0.0 { 40 } else { 1 }));
    }
}

#[test]
fn what_changes_nothing() {
    let diagram = |points: &[Vec<f64>]| {
        let mut window = Window::new(Metric::Euclidean, 3);
        points.iter().for_each(|point| window.push(7, point).unwrap());
        let diagram = window.diagram(&mut Workspace::default());
        (diagram.degree_0(), diagram.degree_1())
    };
    for kind in ["noise", "grid", "ring", "delay"] {
        let mut random = Random::new(3);
        let points = stream(kind, 50, &mut random);
        let expected = diagram(&points);
        let map = |change: fn(&Vec<f64>) -> Vec<f64>| points.iter().map(change).collect::<Vec<_>>();
        let mut shuffled = points.clone();
        (1..50).for_each(|i| shuffled.swap(i, random.pick(i as u64 + 1) as usize));
        assert_eq!(diagram(&shuffled), expected, "{kind}: order");
        assert_eq!(diagram(&map(|x| vec![-x[0], x[1], -x[2]])), expected, "{kind}: mirrored");
        let doubled = |diagram: &Diagram| {
            let bars = diagram.bars().iter().map(|bar| Bar { birth: 2.0 * bar.birth, death: 2.0 * bar.death });
            Diagram::new(bars)
        };
        let twice = (doubled(&expected.0), doubled(&expected.1));
        assert_eq!(diagram(&map(|x| x.iter().map(|x| 2.0 * x).collect())), twice, "{kind}: scaled");
        let again: Vec<Vec<f64>> = points.iter().chain(&points[10..14]).cloned().collect();
        assert_eq!(diagram(&again), expected, "{kind}: duplicates");
    }
}

#[test]
fn cycles_live_as_their_bars_do() {
    for (i, kind) in ["noise", "ring", "grid", "delay", "growing"].into_iter().enumerate() {
        let points = stream(kind, 25, &mut Random::new(i as u64));
        let mut window = Window::new(Metric::Euclidean, 3);
        let mut workspace = Workspace::default();
        // Slots and ranks differ, and positions are neither.
        (0..50).for_each(|_| window.push(0, &[0.0; 3]).unwrap());
        while window.evict().is_some() {}
        points.iter().enumerate().for_each(|(rank, point)| window.push(100 + rank as u64, point).unwrap());
        let book = Textbook::new(&distances(Metric::Euclidean, &points));
        for bar in window.diagram(&mut workspace).loops {
            let cycles = window.cycles(&bar, &mut workspace).expect("a bar of the window");
            let mut path = BTreeSet::new();
            for cycle in &cycles {
                assert!(cycle.len() > 2 && cycle.iter().collect::<BTreeSet<_>>().len() == cycle.len(), "{cycle:?}");
                for (a, b) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                    let (old, young) = (*a.min(b) as usize - 100, *a.max(b) as usize - 100);
                    let edge = book.edges.iter().position(|edge| (edge.2, edge.1) == (old, young)).expect("an edge");
                    assert!(path.insert(edge), "an edge twice in {cycles:?}");
                }
            }
            let last = book.edges[*path.last().expect("an edge")];
            assert_eq!([last.2 as u64 + 100, last.1 as u64 + 100], bar.birth);
            assert_eq!(book.filled(path), bar.bar.death, "{kind} {bar:?} {cycles:?}");
        }
        let none = RipsBar { bar: Bar { birth: 0.0, death: 1.0 }, birth: [1, 2], death: None };
        assert_eq!(window.cycles(&none, &mut workspace), None);
    }
}

#[test]
fn a_window_read_back_answers_alike() {
    for metric in METRICS {
        let mut workspace = Workspace::default();
        let mut window = Window::new(metric, 3);
        let points = stream("walk", 120, &mut Random::new(8));
        for (position, point) in points[..80].iter().enumerate() {
            window.push(position as u64, point).unwrap();
            if position > 30 {
                window.evict();
                window.diagram(&mut workspace);
            }
        }
        let bytes = postcard::to_stdvec(&window).unwrap();
        let mut again: Window = postcard::from_bytes(&bytes).unwrap();
        for (position, point) in points.iter().enumerate().skip(80) {
            assert_eq!(again.diagram(&mut workspace), window.diagram(&mut workspace), "{metric:?} {position}");
            assert_eq!(postcard::to_stdvec(&again).unwrap(), postcard::to_stdvec(&window).unwrap());
            again.slide(position as u64, point).unwrap();
            window.slide(position as u64, point).unwrap();
        }
    }
    let spoilt = |positions: Vec<u64>, coordinates: Vec<f64>| {
        let bytes = postcard::to_stdvec(&(Metric::Euclidean, 2_usize, positions, coordinates)).unwrap();
        postcard::from_bytes::<Window>(&bytes).is_err()
    };
    assert!(!spoilt(vec![4], vec![1.0, 2.0]));
    assert!(spoilt(vec![4], vec![1.0]));
    assert!(spoilt(vec![4], vec![1.0, f64::NAN]));
    assert!(spoilt(vec![0; 1025], vec![0.0; 2050]));
}

#[test]
fn refusals_change_nothing() {
    let mut window = Window::new(Metric::Euclidean, 1);
    let mut workspace = Workspace::default();
    assert_eq!((window.diagram(&mut workspace), window.evict()), (RipsDiagram::default(), None));
    (0..POINTS_MAX as u64).for_each(|t| window.push(t, &[(t % 10) as f64]).unwrap());
    let before = window.diagram(&mut workspace);
    assert_eq!(window.push(9999, &[0.0]), Err(PointFault::Full { points: POINTS_MAX }));
    assert!(window.slide(9999, &[f64::NAN]).is_err());
    assert!(window.slide(9999, &[1.0, 2.0]).is_err());
    assert_eq!((window.len(), window.diagram(&mut workspace)), (POINTS_MAX, before));
    window.slide(9999, &[0.0]).unwrap();
    assert_eq!(window.positions().last(), Some(9999));
}

/// One thing done to a window; numbers are any at all.
#[derive(Clone, Debug)]
enum Deed {
    Push(Vec<f64>),
    Slide(Vec<f64>),
    Evict,
    Ask,
    Keep,
}

fn deeds() -> impl proptest::strategy::Strategy<Value = Vec<Deed>> {
    use proptest::prelude::*;
    let whole = || prop::collection::vec((-2..3_i32).prop_map(f64::from), 2);
    let deed = prop_oneof![
        6 => whole().prop_map(Deed::Push),
        4 => whole().prop_map(Deed::Slide),
        2 => prop::collection::vec(any::<f64>(), 1..4).prop_map(Deed::Push),
        1 => prop::collection::vec(prop::num::f64::ANY, 2).prop_map(Deed::Slide),
        2 => Just(Deed::Evict),
        5 => Just(Deed::Ask),
        1 => Just(Deed::Keep),
    ];
    prop::collection::vec(deed, 0..120)
}

fn few_cases() -> proptest::prelude::ProptestConfig {
    proptest::prelude::ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() }
}

proptest::proptest! {
    #![proptest_config(few_cases())]
    #[test]
    fn whatever_is_done_steps_equal_sweeps(deeds in deeds(), metric in 0..5_usize) {
        let mut workspace = Workspace::default();
        let mut stepping = Window::new(METRICS[metric], 2);
        stepping.set_strategy(Strategy::Incremental);
        let mut sweeping = Window::with_lanes(METRICS[metric], 2, Lanes::available()[0]);
        sweeping.set_strategy(Strategy::FromScratch);
        for (t, deed) in deeds.iter().enumerate() {
            let both = [&mut stepping, &mut sweeping];
            match deed {
                Deed::Push(point) => both.into_iter().for_each(|window| window.push(t as u64, point).unwrap_or(())),
                Deed::Slide(point) => both.into_iter().for_each(|window| window.slide(t as u64, point).unwrap_or(())),
                Deed::Evict => assert_eq!(stepping.evict(), sweeping.evict()),
                Deed::Ask => assert_eq!(stepping.diagram(&mut workspace), sweeping.diagram(&mut workspace)),
                Deed::Keep => {
                    stepping = postcard::from_bytes(&postcard::to_stdvec(&stepping).unwrap()).unwrap();
                    stepping.set_strategy(Strategy::Incremental);
                }
            }
        }
        let answer = sweeping.diagram(&mut workspace);
        assert_eq!(stepping.diagram(&mut workspace), answer);
        for bar in &answer.loops {
            assert!(stepping.cycles(bar, &mut workspace).is_some());
        }
    }
}
