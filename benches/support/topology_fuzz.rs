//! Bytes made into calls of every public entry of the topology room.
//!
//! A case is a seed. It makes bytes, and the bytes make calls: any order, any size from 0, values of any bits (NaN,
//! infinities, subnormals, negative zero, the largest; and small grids, for ties). No call may panic. Answers that were
//! kept up are compared with those made from scratch, of every lane, and of what was stored and read back; stored bytes
//! are damaged, and what is read from them must be refused or work.

use eagre::stats::random::Random;
use eagre::topology::diagram::{Bar, Diagram};
use eagre::topology::distances::{Change, Transport, bottleneck, sliced_wasserstein, wasserstein_1, wasserstein_2};
use eagre::topology::features::{Amplitude, Grid, ImageShape, Infinite, Intervals, NUMBERS_MAX};
use eagre::topology::rips::{self, DelayEmbedding, Lanes, Metric, Strategy, Workspace};
use eagre::topology::scales::correlation::Correlation;
use eagre::topology::scales::delay::{bins_for, first_minimum, mutual_information};
use eagre::topology::scales::{Feature, HOP_OF_STRETCHES, Number, ScaleSettings, Scales, Settings, Shape};
use eagre::topology::series::gaps::Gaps;
use eagre::topology::series::pair::{Changes, Filtration, Pair, diagram};
use eagre::topology::series::residue::{Point, Residue};
use eagre::topology::series::sliding::{self, Reach, Sliding};
use eagre::topology::series::statistics::{BettiCurve, Statistics, Summary};
use eagre::topology::series::tree::Tree;
use eagre::topology::series::window::Window;
use serde::{Serialize, de::DeserializeOwned};

/// What can be fuzzed.
pub const MODES: &[&str] = &["series", "rips", "distances", "features", "scales"];

/// Runs the case of a seed; panics where the room does, or where two answers differ.
pub fn case(mode: &str, seed: u64) {
    let mut bytes = Bytes::new(seed);
    match mode {
        "series" => match bytes.pick(5) {
            0 => tree(&mut bytes),
            1 => residue(&mut bytes),
            2 => oscillation(&mut bytes),
            _ => sliding(&mut bytes),
        },
        "rips" => match bytes.pick(8) {
            0 => embedding(&mut bytes),
            _ => cloud(&mut bytes),
        },
        "distances" => distances(&mut bytes),
        "features" => features(&mut bytes),
        "scales" => match bytes.pick(4) {
            0 => choices(&mut bytes),
            _ => scales(&mut bytes),
        },
        _ => panic!("no mode {mode}; there are {MODES:?}"),
    }
}

/// Bytes that are read from the front; zeros after the end.
struct Bytes {
    bytes: Vec<u8>,
    read: usize,
    /// Of this case, how likely a value is on a small grid.
    grid: u64,
    last: f64,
}

impl Bytes {
    fn new(seed: u64) -> Bytes {
        let mut random = Random::new(seed);
        let size = [16, 100, 1000, 4000][random.pick(4) as usize];
        let (size, grid) = (random.pick(size), [0, 8, 14][random.pick(3) as usize]);
        Bytes { bytes: (0..size).map(|_| random.next_u64() as u8).collect(), read: 0, grid, last: 0.0 }
    }

    fn more(&self) -> bool {
        self.read < self.bytes.len()
    }

    fn byte(&mut self) -> u8 {
        self.read += 1;
        self.bytes.get(self.read - 1).copied().unwrap_or(0)
    }

    fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }

    fn pick(&mut self, of: u64) -> u64 {
        (u64::from(self.byte()) << 8 | u64::from(self.byte())) % of
    }

    fn chance(&mut self, of: u64) -> bool {
        self.pick(of) == 0
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.pick(list.len() as u64) as usize].clone()
    }

    /// A size: mostly small, at times one at the end of what there is.
    fn size(&mut self, most: u64) -> u64 {
        if self.chance(40) { self.of(&[0, 1, u64::MAX, u64::MAX / 2, 1 << 32]) } else { self.pick(most) }
    }

    fn value(&mut self) -> f64 {
        if self.pick(16) < self.grid {
            self.last = self.pick(7) as f64 - 3.0;
            return self.last;
        }
        self.last = match self.pick(12) {
            0 => f64::NAN,
            1 => self.of(&[f64::INFINITY, f64::NEG_INFINITY]),
            2 => self.of(&[0.0, -0.0, f64::MIN_POSITIVE, -f64::MIN_POSITIVE, f64::MAX, f64::MIN, 1e30, -1e140]),
            3 => f64::from_bits(self.bits() >> 12),
            4 | 5 => f64::from_bits(self.bits()),
            6 => self.last,
            _ => self.bits() as i64 as f64 / 2_f64.powi(60),
        };
        self.last
    }

    fn values(&mut self, most: u64) -> Vec<f64> {
        (0..self.pick(most)).map(|_| self.value()).collect()
    }

    fn filtration(&mut self) -> Filtration {
        self.of(&[Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended])
    }
}

/// What is stored and read back; if `damaged`, only where the damage was not noticed.
fn restored<T: Serialize + DeserializeOwned>(what: &T, bytes: &mut Bytes, damaged: bool) -> Option<T> {
    let mut stored = postcard::to_stdvec(what).expect("all state can be stored");
    if !damaged {
        return Some(postcard::from_bytes(&stored).expect("what was stored can be read"));
    }
    for _ in 0..=bytes.pick(3) {
        let at = bytes.pick(stored.len().max(1) as u64) as usize;
        match bytes.pick(4) {
            0 => stored.truncate(at),
            1 => stored.insert(at.min(stored.len()), bytes.byte()),
            _ => {
                let byte = bytes.byte();
                stored.iter_mut().skip(at).take(1).for_each(|place| *place ^= byte);
            }
        }
    }
    postcard::from_bytes(&stored).ok()
}

/// Equal to the bit, and NaN like NaN.
fn same<T: std::fmt::Debug>(one: &T, other: &T) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

fn sliding(bytes: &mut Bytes) {
    let reach = if bytes.chance(2) { Reach::Count(bytes.size(300)) } else { Reach::Time(bytes.size(300) as i64) };
    let settings = sliding::Settings {
        reach,
        filtration: bytes.filtration(),
        gaps: bytes.of(&[Gaps::Skip, Gaps::Hold, Gaps::Break, Gaps::Reject]),
        tolerance: if bytes.chance(2) { 0.0 } else { bytes.value() },
        power: bytes.of(&[0, 1, 2, 3, u32::MAX]),
        levels: bytes.values(5),
    };
    let Ok(mut sliding) = Sliding::new(settings) else { return };
    let (mut time, mut changes) = (0_i64, Vec::<(bool, Pair)>::new());
    while bytes.more() {
        time = if bytes.chance(60) { bytes.bits() as i64 } else { time.saturating_add(bytes.pick(4) as i64) };
        match bytes.pick(40) {
            0 => sliding.advance(time, &mut changes),
            1 => {
                let again = restored(&sliding, bytes, false).expect("undamaged");
                compare(&sliding, &again);
                sliding = again;
            }
            2 => {
                if let Some(damaged) = restored(&sliding, bytes, true) {
                    sliding = damaged;
                    compare(&sliding, &sliding);
                }
            }
            _ => _ = sliding.push(time, bytes.value(), &mut changes),
        }
        assert!(sliding.summary().longest >= 0.0);
        changes.clear();
    }
    let again = restored(&sliding, bytes, false).expect("undamaged");
    compare(&sliding, &again);
    assert!(sliding.heap_bytes() < 1 << 24);
}

/// Zigzags that grow and decay, and values that cut through them, of which nobody hears but the statistics: long enough
/// for sums over many pairs at once.
fn oscillation(bytes: &mut Bytes) {
    let count = 1 << (7 + bytes.pick(8));
    let settings = sliding::Settings {
        filtration: bytes.filtration(),
        tolerance: if bytes.chance(2) { 0.0 } else { bytes.value() },
        power: bytes.of(&[0, 1, 2, 3]),
        levels: bytes.values(5),
        ..sliding::Settings::new(Reach::Count(count))
    };
    let Ok(mut sliding) = Sliding::new(settings) else { return };
    for _ in 0..bytes.pick(12) {
        let (mut width, growth) = (bytes.value(), bytes.of(&[-1.0, 1.0, 0.0, -1e-3, 1e-3, 1e300]));
        for _ in 0..bytes.pick(2 * count) {
            width = -(width + growth * width.signum());
            sliding.push(0, width, &mut ()).expect("gaps are skipped");
        }
        for _ in 0..bytes.pick(4) {
            sliding.push(0, bytes.value(), &mut ()).expect("gaps are skipped");
        }
        let again = restored(&sliding, bytes, false).expect("undamaged");
        compare(&sliding, &again);
    }
}

/// Two windows that should be equal, and the first with its pairs.
fn compare(sliding: &Sliding, again: &Sliding) {
    same(&sliding.summary(), &again.summary());
    same(&sliding.pairs(), &again.pairs());
    same(
        &sliding.betti().map(|curve| curve.values().collect::<Vec<i64>>()),
        &again.betti().map(|c| c.values().collect()),
    );
    let lengths = sliding.pairs().into_iter().map(Pair::persistence);
    let finite: Vec<f64> = lengths.filter(|length| *length < f64::INFINITY).collect();
    same(&sliding.summary().longest, &finite.iter().copied().fold(0.0, f64::max));
    same(&sliding.summary().count, &(finite.len() as u64));
    assert!(diagram(&sliding.pairs()).bars().len() <= sliding.pairs().len());
    assert_eq!(sliding.window().values().count(), sliding.window().len());
    assert_eq!(sliding.window().extremes().is_none(), sliding.window().is_empty());
}

/// The summary of a list of values, from scratch.
fn summary(values: &[f64], filtration: Filtration, tolerance: f64, power: u32) -> (Summary, usize) {
    let (mut window, mut statistics) = (Window::new(filtration, tolerance), Statistics::new(power, None));
    values.iter().for_each(|value| _ = window.push(*value, &mut ()));
    window.pairs().into_iter().for_each(|pair| statistics.enter(pair));
    (statistics.summary(|| window.longest()), window.pairs().len())
}

fn tree(bytes: &mut Bytes) {
    let (filtration, power, count) = (bytes.filtration(), bytes.of(&[0, 1, 2, 5]), bytes.pick(400) as usize);
    let tolerance = if bytes.chance(2) { 0.0 } else { bytes.value() };
    let mut tree = Tree::new(filtration, tolerance, power, count);
    let mut intact = true;
    while bytes.more() {
        let place = |bytes: &mut Bytes, tree: &Tree| {
            if bytes.chance(20) { bytes.bits() } else { tree.tail().saturating_sub(bytes.pick(420)) + bytes.pick(4) }
        };
        let value = Some(bytes.value()).filter(|value| !value.is_nan() || value.is_sign_negative());
        match bytes.pick(30) {
            0 => {
                let (from, to) = (place(bytes, &tree), place(bytes, &tree));
                let kept = from.max(tree.head())..to.min(tree.tail());
                let values: Vec<f64> = kept.filter_map(|position| tree.value(position)).collect();
                let (expected, pairs) = summary(&values, filtration, tolerance, power);
                if intact {
                    same(&tree.summary(from, to), &expected);
                    assert_eq!(tree.pairs(from, to).len(), pairs);
                }
                tree.summary(from, to);
            }
            1 => tree = restored(&tree, bytes, false).expect("undamaged"),
            2 if bytes.chance(8) => {
                if let Some(damaged) = restored(&tree, bytes, true) {
                    (tree, intact) = (damaged, false);
                }
            }
            3..10 => {
                let at = place(bytes, &tree);
                let kept = (tree.head()..tree.tail()).contains(&at);
                assert_eq!(tree.set(at, value), kept);
            }
            _ => _ = tree.push(value),
        }
    }
    assert!(tree.heap_bytes() < 1 << 32);
}

fn residue(bytes: &mut Bytes) {
    let values: Vec<f64> = bytes.values(200).into_iter().filter(|value| !value.is_nan()).collect();
    let points = values.iter().enumerate().map(|(at, value)| Point { value: value + 0.0, position: at as u64 });
    let points: Vec<Point> = points.collect();
    let (left, right) = points.split_at(bytes.pick(points.len() as u64 + 1) as usize);
    let (mut whole, mut closed) = (Residue::default(), 0);
    points.iter().for_each(|point| whole.push(*point, |_, _| closed += 1));
    let [mut joined, other] = [left, right].map(|points| {
        let mut residue = Residue::default();
        points.iter().for_each(|point| residue.push(*point, |_, _| closed -= 1));
        residue
    });
    joined.join(&other, |_, _| closed -= 1);
    same(&joined.points().to_vec(), &whole.points().to_vec());
    assert_eq!(closed, 0);
    for value in bytes.values(20) {
        for gaps in [Gaps::Skip, Gaps::Hold, Gaps::Break, Gaps::Reject] {
            let (last, filtration) = (bytes.value(), bytes.filtration());
            assert!(gaps.fill(value, Some(last), filtration).is_ok() || value.is_nan());
        }
    }
    let mut statistics = Statistics::new(2, Some(BettiCurve::new(&bytes.values(9))));
    let pairs: Vec<Pair> = (0..bytes.pick(50)).filter_map(|born| pair(bytes, born)).collect();
    pairs.iter().for_each(|pair| statistics.enter(*pair));
    pairs.iter().for_each(|pair| statistics.leave(*pair));
    same(&statistics.summary(|| 0.0), &Summary::default());
    assert!(statistics.betti().is_none_or(|curve| curve.values().all(|alive| alive == 0)));
}

fn pair(bytes: &mut Bytes, born: u64) -> Option<Pair> {
    let pair = Pair { birth: bytes.value(), death: bytes.value(), born, died: None };
    (pair.persistence() > 0.0).then_some(pair)
}

const METRICS: [Metric; 5] =
    [Metric::Euclidean, Metric::Manhattan, Metric::Chebyshev, Metric::Cosine, Metric::Correlation];

fn cloud(bytes: &mut Bytes) {
    let (metric, dimension) = (bytes.of(&METRICS), bytes.pick(5) as usize);
    let mut most = bytes.of(&[5, 20, 70, 150]);
    let mut windows: Vec<rips::Window> =
        Lanes::available().into_iter().map(|lanes| rips::Window::with_lanes(metric, dimension, lanes)).collect();
    let mut workspace = Workspace::default();
    let mut position = 0;
    while bytes.more() {
        position += 1;
        let size = if bytes.chance(50) { bytes.pick(9) as usize } else { dimension };
        let call = bytes.pick(24);
        let point: Vec<f64> = if call < 12 { (0..size).map(|_| bytes.value()).collect() } else { Vec::new() };
        match call {
            0..6 => windows.iter_mut().for_each(|window| _ = window.push(position, &point)),
            6..12 => windows.iter_mut().for_each(|window| _ = window.slide(position, &point)),
            12 => windows.iter_mut().for_each(|window| _ = window.evict()),
            13 => (0..bytes.pick(most)).for_each(|_| windows.iter_mut().for_each(|window| _ = window.evict())),
            14 => {
                let strategy = bytes.of(&[Strategy::Cheapest, Strategy::FromScratch, Strategy::Incremental]);
                windows.iter_mut().for_each(|window| window.set_strategy(strategy));
            }
            15 => {
                let which = bytes.pick(windows.len() as u64) as usize;
                windows[which] = restored(&windows[which], bytes, false).expect("undamaged");
            }
            16 => {
                if let Some(mut damaged) = restored(&windows[0], bytes, true) {
                    damaged.diagram(&mut workspace);
                    _ = damaged.push(position, &point);
                    damaged.diagram(&mut workspace);
                }
            }
            17 if bytes.chance(400) => {
                most = 1024;
                burst(bytes, dimension, &mut windows);
            }
            _ => answers(bytes, &mut windows, &mut workspace),
        }
        while windows[0].len() as u64 > most {
            windows.iter_mut().for_each(|window| _ = window.evict());
        }
    }
    answers(bytes, &mut windows, &mut workspace);
}

/// Many points at once, on a grid or not, for the longest rows of distances.
fn burst(bytes: &mut Bytes, dimension: usize, windows: &mut [rips::Window]) {
    let (mut random, grid) = (Random::new(bytes.bits()), bytes.chance(2));
    for position in 0..bytes.pick(1100) {
        let value = random.normal();
        let mut coordinate = || if grid { (4.0 * random.unit()).floor() } else { value + random.normal() };
        let point: Vec<f64> = (0..dimension).map(|_| coordinate()).collect();
        windows.iter_mut().for_each(|window| _ = window.push(position, &point));
    }
}

/// All lanes and a window made anew answer the same.
fn answers(bytes: &mut Bytes, windows: &mut [rips::Window], workspace: &mut Workspace) {
    let mut anew: rips::Window = restored(&windows[0], bytes, false).expect("undamaged");
    anew.set_strategy(Strategy::FromScratch);
    let expected = anew.diagram(workspace);
    for window in windows.iter_mut() {
        same(&window.diagram(workspace), &expected);
        assert_eq!(window.positions().count(), window.len());
    }
    if let Some(bar) = expected.loops.get(bytes.pick(9) as usize) {
        assert!(windows[0].cycles(bar, workspace).is_some());
        let mut other = *bar;
        other.birth[bytes.pick(2) as usize] ^= bytes.pick(4);
        windows[0].cycles(&other, workspace);
    }
    if let Some(bar) = expected.components.last() {
        windows[0].cycles(bar, workspace);
    }
    assert!(expected.degree_0().bars().len() <= windows[0].len());
    assert_eq!(expected.degree_1().bars().len(), expected.loops.len());
}

fn embedding(bytes: &mut Bytes) {
    let mut embedding = DelayEmbedding::new(bytes.pick(6) as usize, bytes.size(9) as usize);
    while bytes.more() {
        let value = bytes.value();
        match bytes.pick(20) {
            0 => embedding.clear(),
            1 => embedding = restored(&embedding, bytes, false).expect("undamaged"),
            2 => {
                if let Some(damaged) = restored(&embedding, bytes, true) {
                    embedding = damaged;
                }
            }
            _ => _ = embedding.push(value).map(<[f64]>::len),
        }
    }
}

fn bars(bytes: &mut Bytes, most: u64) -> Vec<Bar> {
    (0..bytes.pick(most)).map(|_| Bar { birth: bytes.value(), death: bytes.value() }).collect()
}

fn distances(bytes: &mut Bytes) {
    let mut transport = Transport::default();
    let mut before = Diagram::default();
    while bytes.more() {
        // What stays, so that there is something in common.
        let stays: Vec<Bar> = before.bars().iter().copied().filter(|_| !bytes.chance(3)).collect();
        let next = Diagram::new(stays.into_iter().chain(bars(bytes, 12)));
        let directions = bytes.pick(9) as usize;
        let all = |one: &Diagram, other: &Diagram| {
            let sliced = sliced_wasserstein(one, other, directions);
            [wasserstein_1(one, other), wasserstein_2(one, other), bottleneck(one, other), sliced]
        };
        let found = all(&before, &next);
        same(&found, &all(&next, &before));
        assert!(found.iter().all(|distance| *distance >= 0.0), "{found:?} {before:?} {next:?}");
        same(&all(&next, &next), &[0.0; 4]);
        // Bottleneck counts the longest way, W2 all of them, W1 no less: but for rounding, of sums to their size, and
        // of ways (for W2 of their squares) to the longest that there might be.
        let ends = before.bars().iter().chain(next.bars()).flat_map(|bar| [bar.birth.abs(), bar.death.abs()]);
        let largest = ends.filter(|end| end.is_finite()).fold(0.0, f64::max);
        let below = |low: f64, high: f64, loss: i32| low * (1.0 - 1e-9) <= high + largest * 2_f64.powi(loss);
        let ordered = below(found[2], found[0], -1060) && below(found[2], found[1], -500);
        assert!(ordered && below(found[1], found[0], -500), "{found:?} {before:?} {next:?}");
        let change = Change::between(&before, &next);
        same(&change.wasserstein_1(&mut transport), &found[0]);
        let loose = Change::new(bars(bytes, 6), bars(bytes, 6));
        assert!(loose.wasserstein_1(&mut transport) >= 0.0 && loose.gone().len() + loose.come().len() < 12);
        before = next;
        if before.bars().len() > 60 {
            before = Diagram::default();
        }
    }
}

fn features(bytes: &mut Bytes) {
    while bytes.more() {
        let diagram = Diagram::new(bars(bytes, 20));
        let infinite = if bytes.chance(2) { Infinite::LeaveOut } else { Infinite::ClipAt(bytes.value()) };
        let intervals = Intervals::of(&diagram, infinite);
        let count =
            |bytes: &mut Bytes, most| if bytes.chance(60) { bytes.bits() as usize } else { bytes.pick(most) as usize };
        let mut grid = || Grid { from: bytes.value(), to: bytes.value(), points: count(bytes, 20) };
        let (births, persistences) = (grid(), grid());
        let power = bytes.of(&[0, 1, 2, 7, u32::MAX]);
        assert!(intervals.count() <= diagram.bars().len());
        assert!(intervals.max() >= 0.0 && intervals.total(power) >= 0.0);
        intervals.entropy();
        for amplitude in [Amplitude::Bottleneck, Amplitude::Wasserstein1, Amplitude::Wasserstein2] {
            assert!(intervals.amplitude(amplitude) >= 0.0);
        }
        let levels = count(bytes, 6);
        let image = ImageShape { births, persistences, bandwidth: bytes.value(), weight_power: power };
        for (rows, vector) in [
            (1, intervals.betti_curve(&births)),
            (1, intervals.silhouette(&births, power)),
            (levels, intervals.landscape(levels, &births)),
            (persistences.points, intervals.image(&image)),
        ] {
            match vector {
                Ok(vector) => assert_eq!(vector.len(), rows * births.points),
                Err(refused) => assert!(rows.max(1).saturating_mul(births.points.max(1)) > NUMBERS_MAX, "{refused}"),
            }
        }
    }
}

fn shape(bytes: &mut Bytes) -> Shape {
    if bytes.chance(2) {
        return Shape::Series { window: bytes.size(150) as usize };
    }
    let (window, delay) = (bytes.size(30) as usize, bytes.size(6) as usize);
    Shape::Cloud { window, delay, dimension: bytes.size(5) as usize }
}

fn scale(bytes: &mut Bytes) -> ScaleSettings {
    let shape = shape(bytes);
    let numbers = [Number::Count, Number::Longest, Number::Total, Number::SquareTotal, Number::Entropy];
    let cloud = u64::from(matches!(shape, Shape::Cloud { .. }));
    let degree = |bytes: &mut Bytes| bytes.pick(cloud + 1) as u8 + u8::from(bytes.chance(60));
    let features = (0..bytes.pick(4)).map(|_| Feature { degree: degree(bytes), number: bytes.of(&numbers) }).collect();
    ScaleSettings { shape, features }
}

fn scales(bytes: &mut Bytes) {
    let settings = Settings {
        scales: (0..bytes.pick(5)).map(|_| scale(bytes)).collect(),
        filtration: bytes.filtration(),
        hop: bytes.of(&[0, 1, HOP_OF_STRETCHES, usize::MAX]),
        keep: bytes.pick(200) as usize,
        correlate: bytes.size(9) as usize,
    };
    let Ok(mut scales) = Scales::new(settings) else { return };
    let mut workspace = Workspace::default();
    while bytes.more() {
        match bytes.pick(50) {
            0 => _ = scales.replace(bytes.pick(5) as usize, scale(bytes)),
            1 => scales.set_hop(bytes.of(&[0, 1, HOP_OF_STRETCHES, usize::MAX])),
            2 => {
                let suited = scales.ring().suited(bytes.pick(60) as usize);
                if let Some(shape) = Shape::suited(suited, bytes.size(5) as usize, bytes.size(4) as usize) {
                    _ = scales.replace(0, ScaleSettings { shape, features: Vec::new() });
                }
            }
            3 if bytes.chance(4) => {
                if let Some(mut damaged) = restored(&scales, bytes, true).filter(|damaged: &Scales| is_small(damaged)) {
                    damaged.push(bytes.value());
                    damaged.observe(&mut workspace);
                }
            }
            4..8 => agree(bytes, &mut scales, &mut workspace),
            8 => _ = scales.remember(&bytes.values(20)),
            9 => {
                let (one, other) = (bytes.size(20) as usize, bytes.size(20) as usize);
                let found = scales.correlation().correlation(one, other);
                assert!(found.is_none_or(|found| found.abs() <= 1.0));
                scales.correlation().covariance(one, other);
            }
            _ => _ = scales.push(bytes.value()),
        }
    }
    agree(bytes, &mut scales, &mut workspace);
}

/// A damaged length may be one that is allowed, but that takes too long here.
fn is_small(scales: &Scales) -> bool {
    scales.ring().keep() < 1 << 16
}

/// Scales that were restored, and that take the other way with series, answer the same; and go on doing so.
fn agree(bytes: &mut Bytes, scales: &mut Scales, workspace: &mut Workspace) {
    let mut again = restored(&*scales, bytes, false).expect("undamaged");
    let mut other = again.clone();
    other.set_hop(if scales.settings().hop < HOP_OF_STRETCHES { HOP_OF_STRETCHES } else { 1 });
    let found = scales.observe(workspace);
    same(&found, &again.observe(workspace));
    same(&found, &other.observe(workspace));
    same(&scales.correlation().covariance(0, 0), &again.correlation().covariance(0, 0));
    if bytes.chance(2) {
        *scales = if bytes.chance(2) { again } else { other };
    }
    let (ring, _) = scales.parts();
    same(&ring.value(ring.tail().wrapping_sub(1)), &ring.values().last());
    assert!(ring.value(ring.tail()).is_none() && ring.heap_bytes() < 1 << 32);
}

fn choices(bytes: &mut Bytes) {
    let (bins, lags) = (bytes.size(20) as usize, bytes.size(50) as usize);
    let series = bytes.values(100);
    let information = mutual_information(&series, bins, lags);
    assert!(information.len() <= lags && bins_for(lags) >= 2);
    first_minimum(&bytes.values(30), bytes.value());
    let (features, window) = (bytes.size(9) as usize, bytes.size(9) as usize);
    let mut correlation = Correlation::new(features, window);
    while bytes.more() {
        let count = if bytes.chance(9) { bytes.pick(9) } else { features.max(1) as u64 };
        correlation.push(&(0..count.min(600)).map(|_| bytes.value()).collect::<Vec<f64>>());
        assert!(correlation.correlation(0, 1).is_none_or(|found| found.abs() <= 1.0));
        if bytes.chance(20) {
            let again = restored(&correlation, bytes, false).expect("undamaged");
            same(&again.covariance(1, 0), &correlation.covariance(0, 1));
            if let Some(damaged) = restored(&correlation, bytes, true) {
                correlation = damaged;
            }
        }
    }
}
