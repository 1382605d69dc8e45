//! Everything incremental against union-find from scratch, on random slides.

use super::pair::{Changes, Filtration, Pair, diagram};
use super::statistics::{BettiCurve, Statistics, Summary};
use super::window::Window;
use crate::stats::random::Random;

/// The pairs of these values, the first at position `head`, by union-find over the values in their order: textbook, and
/// nothing in common with the code it tests.
pub(super) fn union_find(values: &[f64], head: u64, filtration: Filtration, tolerance: f64) -> Vec<Pair> {
    let sides: &[bool] = match filtration {
        Filtration::Sublevel => &[false],
        Filtration::Superlevel => &[true],
        Filtration::Extended => &[false, true],
    };
    let extended = filtration == Filtration::Extended;
    let mut pairs: Vec<Pair> = sides.iter().flat_map(|side| one_side(values, head, *side, extended)).collect();
    if extended && !values.is_empty() {
        let at = |i: usize| (values[i], head + i as u64);
        let order = sorted(values);
        let ((birth, born), (death, died)) = (at(order[0]), at(order[order.len() - 1]));
        pairs.push(Pair { birth, death, born, died: Some(died) });
    }
    pairs.retain(|pair| pair.birth != pair.death && (pair.birth - pair.death).abs() > tolerance);
    pairs.sort_by_key(|pair| (pair.birth > pair.death, pair.born));
    pairs
}

fn sorted(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].partial_cmp(&values[*b]).unwrap().then(a.cmp(b)));
    order
}

fn one_side(values: &[f64], head: u64, above: bool, finite_only: bool) -> Vec<Pair> {
    let mut order = sorted(values);
    if above {
        order.reverse();
    }
    let mut rank = vec![0; values.len()];
    order.iter().enumerate().for_each(|(r, i)| rank[*i] = r);
    // The root of a component is its first value in the order.
    let mut parent: Vec<Option<usize>> = vec![None; values.len()];
    let mut pairs = Vec::new();
    let root = |parent: &[Option<usize>], mut i: usize| {
        while parent[i] != Some(i) {
            i = parent[i].unwrap();
        }
        i
    };
    for i in order.iter().copied() {
        parent[i] = Some(i);
        for j in [i.wrapping_sub(1), i + 1] {
            if j < values.len() && parent[j].is_some() {
                let (a, b) = (root(&parent, i), root(&parent, j));
                let (old, young) = if rank[a] < rank[b] { (a, b) } else { (b, a) };
                parent[young] = Some(old);
                let (birth, death) = (values[young], values[i]);
                pairs.push(Pair { birth, death, born: head + young as u64, died: Some(head + i as u64) });
            }
        }
    }
    if let (Some(first), false) = (order.first(), finite_only) {
        let death = if above { f64::NEG_INFINITY } else { f64::INFINITY };
        pairs.push(Pair { birth: values[*first], death, born: head + *first as u64, died: None });
    }
    pairs
}

/// The statistics of pairs, from scratch.
pub(super) fn summarised(pairs: &[Pair], power: u32) -> Summary {
    let mut statistics = Statistics::new(power, None);
    // Another order than that in which they came.
    pairs.iter().rev().for_each(|pair| statistics.enter(*pair));
    let finite = pairs.iter().map(|pair| pair.persistence()).filter(|length| length.is_finite());
    statistics.summary(finite.fold(0.0, f64::max))
}

/// The bits, so that equal means equal.
pub(super) fn bits(summary: Summary) -> [u64; 6] {
    let Summary { count, infinite, total, power_total, longest, entropy } = summary;
    [count, infinite, total.to_bits(), power_total.to_bits(), longest.to_bits(), entropy.to_bits()]
}

/// The diagram as told by changes: a pair may enter once only, and leave only when it is in.
#[derive(Default)]
struct Told(Vec<Pair>);

impl Changes for Told {
    fn enter(&mut self, pair: Pair) {
        assert!(!self.0.contains(&pair), "{pair:?} enters, and is in already");
        self.0.push(pair);
    }

    fn leave(&mut self, pair: Pair) {
        let at = self.0.iter().position(|other| *other == pair);
        self.0.swap_remove(at.unwrap_or_else(|| panic!("{pair:?} leaves, and is not in")));
    }
}

/// Series of many kinds, with ties in most of them.
pub(super) fn series(kind: u64, count: usize, random: &mut Random) -> Vec<f64> {
    let mut walk = 0.0;
    let mut value = |i: usize, random: &mut Random| {
        let (t, normal) = (i as f64, random.normal());
        walk += normal;
        let swing = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        match kind % 12 {
            0 => normal,
            1 => walk,
            2 => (walk * 2.0).round(),
            3 => random.pick(4) as f64,
            4 => random.pick(2) as f64,
            5 => t * swing,
            6 => (count as f64 - t) * swing,
            7 => swing * ((t * 0.07) % 5.0 - 2.5).abs(),
            8 => [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0][random.pick(4) as usize] + random.pick(3) as f64,
            9 => {
                if random.pick(6) == 0 {
                    f64::INFINITY
                } else {
                    normal
                }
            }
            10 => normal * 2_f64.powi(random.pick(120) as i32 - 60),
            _ => ((t * 0.05) % 3.0 - 1.5).abs() * if random.pick(3) == 0 { -swing } else { swing } + 0.01 * normal,
        }
    };
    (0..count).map(|i| value(i, random)).collect()
}

/// What one run of slides is made with.
struct Run {
    filtration: Filtration,
    kind: u64,
    count: usize,
    tolerance: f64,
    seed: u64,
}

/// Slides over a series with windows of varying length; returns how many windows were compared.
fn slides(run: &Run) -> usize {
    let mut random = Random::new(run.seed);
    let values: Vec<f64> = series(run.kind, 400, &mut random).iter().map(|value| value + 0.0).collect();
    let mut window =
        Window::with_blocks(run.filtration, run.tolerance, [[4, 16], [2, 8], [8, 16]][run.seed as usize % 3]);
    let (mut told, mut statistics) = (Told::default(), Statistics::new(2, Some(BettiCurve::new(&[-1.0, 0.0, 1.5]))));
    let mut compared = 0;
    for value in values.iter().copied() {
        window.push(value, &mut (&mut told, &mut statistics));
        let wild = random.pick(40) == 0;
        let evictions = if wild { random.pick(run.count as u64) as usize } else { random.pick(4) as usize / 3 };
        let until = run.count.min(window.len()) - evictions.min(run.count.min(window.len()));
        loop {
            compared += 1;
            let (head, tail) = (window.head() as usize, window.tail() as usize);
            let pairs = union_find(&values[head..tail], head as u64, run.filtration, run.tolerance);
            let place =
                format!("filtration {:?}, kind {}, seed {}, {head}..{tail}", run.filtration, run.kind, run.seed);
            told.0.sort_by_key(|pair| (pair.birth > pair.death, pair.born));
            assert_eq!(told.0, pairs, "told: {place}");
            assert_eq!(window.pairs(), pairs, "pairs: {place}");
            let summary = statistics.summary(window.longest());
            assert_eq!(bits(summary), bits(summarised(&pairs, 2)), "{place}: {summary:?}");
            let mut curve = BettiCurve::new(&[-1.0, 0.0, 1.5]);
            let alive = |pair: &Pair, t: f64| {
                if pair.birth < pair.death {
                    pair.birth <= t && t < pair.death
                } else {
                    pair.birth >= t && t > pair.death
                }
            };
            let expected: Vec<i64> =
                curve.levels().iter().map(|t| pairs.iter().filter(|p| alive(p, *t)).count() as i64).collect();
            curve = statistics.betti().unwrap().clone();
            assert_eq!(curve.values().collect::<Vec<_>>(), expected, "{place}");
            if window.len() <= until {
                break;
            }
            window.evict(&mut (&mut told, &mut statistics));
        }
    }
    compared
}

#[test]
fn every_slide_agrees_with_union_find() {
    let mut compared = 0;
    for seed in 0..270 {
        let filtration = [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended][seed as usize % 3];
        let count = [1, 2, 3, 7, 20, 50, 90][seed as usize % 7];
        let tolerance = if seed % 5 == 0 { 0.5 } else { 0.0 };
        compared += slides(&Run { filtration, kind: seed / 3, count, tolerance, seed });
    }
    assert!(compared >= 100_000, "{compared} windows compared");
}

#[test]
fn diagrams() {
    let pairs = union_find(&[0.0, 2.0, 1.0, 3.0], 0, Filtration::Sublevel, 0.0);
    assert_eq!(diagram(&pairs).bars().len(), 2);
}
