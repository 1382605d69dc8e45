//! Everything incremental against union-find from scratch, on random slides.

use proptest::prelude::*;

use super::super::diagram::{Bar, Diagram};
use super::index::{Index, steps};
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
    Summary { longest: finite.fold(0.0, f64::max), ..statistics.summary(|| 0.0) }
}

/// The bits, so that equal means equal.
pub(super) fn bits(summary: Summary) -> [u64; 6] {
    let Summary { count, infinite, total, power_total, longest, entropy } = summary;
    [count, infinite, total.to_bits(), power_total.to_bits(), longest.to_bits(), entropy.to_bits()]
}

fn with_blocks(filtration: Filtration, tolerance: f64, shifts: [u32; 2]) -> Window {
    Window::with_index(filtration, tolerance, Index::new(0, shifts))
}

/// Those of Betti curves: some values of grids lie on them.
const LEVELS: [f64; 4] = [-1.0, 0.0, 0.3, 1.5];

/// A window that takes sums of more steps than `many`, and its statistics.
fn summed(window: &Window, many: u64) -> (Window, Statistics) {
    let statistics = Statistics::new(2, Some(BettiCurve::new(&LEVELS)).filter(|_| many.is_multiple_of(2)));
    (window.clone().summing_more_than(many, &statistics), statistics)
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
    let mut window = with_blocks(run.filtration, run.tolerance, [[2, 2], [1, 1], [3, 1]][run.seed as usize % 3]);
    let (mut summing, mut sums) = summed(&window, run.seed % 4);
    let (mut told, mut statistics) = (Told::default(), Statistics::new(2, Some(BettiCurve::new(&LEVELS))));
    let mut compared = 0;
    for value in values.iter().copied() {
        window.push(value, &mut (&mut told, &mut statistics));
        summing.push(value, &mut sums);
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
            let summary = statistics.summary(|| window.longest());
            assert_eq!(bits(summary), bits(summarised(&pairs, 2)), "{place}: {summary:?}");
            assert_eq!(bits(sums.summary(|| summing.longest())), bits(summary), "sums: {place}");
            assert_eq!(window.longest().to_bits(), summary.longest.to_bits(), "{place}");
            let alive = |pair: &Pair, t: f64| {
                if pair.birth < pair.death {
                    pair.birth <= t && t < pair.death
                } else {
                    pair.birth >= t && t > pair.death
                }
            };
            let expected = LEVELS.map(|t| pairs.iter().filter(|p| alive(p, t)).count() as i64);
            for curve in statistics.betti().into_iter().chain(sums.betti()) {
                assert_eq!(curve.values().collect::<Vec<_>>(), expected, "{place}");
            }
            if window.len() <= until {
                break;
            }
            window.evict(&mut (&mut told, &mut statistics));
            summing.evict(&mut sums);
        }
    }
    compared
}

#[test]
fn every_slide_agrees_with_union_find() {
    let mut compared = 0;
    for seed in 0..270_u64 {
        let filtration = [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended][seed as usize % 3];
        let count = [1, 2, 3, 7, 20, 50, 90][seed as usize % 7];
        let tolerance = if seed.is_multiple_of(5) { 0.5 } else { 0.0 };
        compared += slides(&Run { filtration, kind: seed / 3, count, tolerance, seed });
    }
    assert!(compared >= 100_000, "{compared} windows compared");
}

/// Windows that span many blocks of the sizes that are used, compared now and then; and their Betti curve with the
/// number of runs of values at or below a level.
#[test]
fn long_windows_agree_too() {
    for (kind, count, filtration) in [
        (0, 20_000, Filtration::Sublevel),
        (1, 9_000, Filtration::Extended),
        (2, 600, Filtration::Superlevel),
        (5, 20_000, Filtration::Sublevel),
        (7, 10_000, Filtration::Extended),
        (11, 17_000, Filtration::Sublevel),
    ] {
        let values = series(kind, 45_000, &mut Random::new(kind));
        let mut window = Window::new(filtration, 0.0);
        let mut statistics = Statistics::new(2, Some(BettiCurve::new(&[-2.0, 0.25])));
        for (i, value) in values.iter().enumerate() {
            if window.len() == count {
                window.evict(&mut statistics);
            }
            window.push(*value, &mut statistics);
            if i % 2_500 == 0 || i + 1 == values.len() {
                let head = window.head() as usize;
                let pairs = union_find(&values[head..=i], head as u64, filtration, 0.0);
                assert_eq!(window.pairs(), pairs, "kind {kind}, {i}");
                let summary = statistics.summary(|| window.longest());
                assert_eq!(bits(summary), bits(summarised(&pairs, 2)), "kind {kind}, {i}");
                let runs =
                    |t: f64| values[head..=i].chunk_by(|a, b| (*a <= t) == (*b <= t)).filter(|r| r[0] <= t).count();
                if filtration == Filtration::Sublevel {
                    let curve: Vec<i64> = statistics.betti().unwrap().values().collect();
                    assert_eq!(curve, [runs(-2.0) as i64, runs(0.25) as i64], "kind {kind}, {i}");
                }
            }
        }
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Count(u64);

impl Changes for Count {
    fn enter(&mut self, _: Pair) {
        self.0 += 1;
    }

    fn leave(&mut self, _: Pair) {
        self.0 += 1;
    }
}

/// No step looks at more than O(log n) values and blocks for each pair that it tells of, and as many once more,
/// however the series was made to hurt: oscillations that grow and decay, ramps, ramps under a spike, walls. In 2^14
/// values there are four sizes of blocks, and a walk passes at most 31 values and 7 blocks of each size at both ends.
#[test]
fn worst_steps() {
    const WALK: u64 = 2 * (31 + 4 * 7) + 4;
    let (count, mut random) = (1 << 14, Random::new(3));
    let ramp = |i: usize| if i % 7_000 < 10 { (i % 2) as f64 * 1e6 } else { -((i % 7_000) as f64) };
    let spikes = |i: usize| if i.is_power_of_two() { 1e9 } else { (i % 1_000) as f64 * (0.5 - (i % 2) as f64) };
    let mut all: Vec<Vec<f64>> = (0..12).map(|kind| series(kind, 2 * count, &mut random)).collect();
    all.extend([(0..2 * count).map(ramp).collect::<Vec<f64>>(), (0..2 * count).map(spikes).collect()]);
    all.extend([all[12].iter().rev().copied().collect::<Vec<f64>>(), all[13].iter().rev().copied().collect()]);
    for (kind, values) in all.iter().enumerate() {
        for filtration in [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended] {
            let mut window = Window::new(filtration, 0.0);
            let mut check = |step: &mut dyn FnMut(&mut Window, &mut Count)| {
                let mut told = Count::default();
                steps::take();
                step(&mut window, &mut told);
                let (told, steps) = (told.0, steps::take());
                // Three places to look up for each pair, besides the blocks to look into. Extended: two sides, and the
                // extremes.
                assert!(steps <= (told + 4) * WALK, "series {kind}, {filtration:?}: {steps} steps, {told} told");
                if window.tail().is_multiple_of(64) {
                    window.longest();
                }
                let longest = steps::take();
                assert!(longest <= 8 * WALK, "series {kind}, {filtration:?}: {longest} steps to the longest");
                window.len()
            };
            for value in values.iter().copied() {
                if check(&mut |window, told| _ = window.push(value, told)) > count {
                    check(&mut |window, told| _ = window.evict(told));
                }
            }
            while check(&mut |window, told| _ = window.evict(told)) > 0 {}
        }
    }
}

/// A step that changes the pair of every other value looks at few values where only sums are asked for: so many for
/// each size of blocks, though the window is 32 times as long and the step tells of 32 times as many pairs.
#[test]
fn worst_steps_of_sums() {
    for shift in [12, 15, 17] {
        let (count, sizes) = (1 << shift, (shift - 2) / 3);
        let swing = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let growing = (0..count).map(|i| swing(i) * i as f64);
        let decaying = (0..count).map(|i| swing(i) * (count - i) as f64);
        let waist = (0..3 * count).map(|i| swing(i) * ((i % 6_000) as f64 - 3_000.5).abs());
        let after: Vec<f64> = std::iter::once(-1e9).chain(growing).chain([1.0; 9]).collect();
        let before: Vec<f64> = decaying.chain([-1e9, 1e9, 0.0]).collect();
        for (kind, values) in [after, before, waist.collect()].into_iter().enumerate() {
            for filtration in [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended] {
                let turn = if filtration == Filtration::Superlevel { -1.0 } else { 1.0 };
                let place = format!("series {kind}, {filtration:?}, {count} values");
                let mut window = Window::new(filtration, 0.0);
                // A curve at every seventh value of the series, and between.
                let levels: Vec<f64> = (-300..300).map(|k| f64::from(k) * 3.5).collect();
                let curve = Some(BettiCurve::new(&levels)).filter(|_| shift == 12);
                let mut sums = Statistics::new(2, curve);
                let mut summing = window.clone().summing(&sums);
                let (mut statistics, mut most) = (sums.clone(), 0);
                for value in values.iter().map(|value| turn * value) {
                    let mut told = Count::default();
                    let slide = |window: &mut Window, changes: &mut dyn FnMut(&mut Window, bool)| {
                        if window.len() == count {
                            changes(window, false);
                        }
                        changes(window, true);
                    };
                    slide(&mut window, &mut |window, enters| {
                        let changes = &mut (&mut told, &mut statistics);
                        if enters {
                            window.push(value, changes)
                        } else {
                            window.evict(changes)
                        };
                    });
                    steps::take();
                    slide(&mut summing, &mut |window, enters| {
                        if enters {
                            window.push(value, &mut sums)
                        } else {
                            window.evict(&mut sums)
                        };
                    });
                    let steps = steps::take();
                    assert!(steps <= 1_500 * sizes, "{place}: {steps} steps");
                    if told.0 > most {
                        most = told.0;
                        let curve = |one: &Statistics| one.betti().map(|curve| curve.values().collect::<Vec<i64>>());
                        let [summed, all] =
                            [&sums, &statistics].map(|one| (bits(one.summary(|| window.longest())), curve(one)));
                        assert_eq!(summed, all, "{place}: {most} told");
                    }
                }
                assert_eq!(bits(sums.summary(|| summing.longest())), bits(summarised(&window.pairs(), 2)), "{place}");
                assert!(kind == 2 || most >= count as u64, "{place}: {most} told");
            }
        }
    }
}

/// The window over all these values.
fn whole(values: &[f64], filtration: Filtration, tolerance: f64) -> (Window, Summary) {
    let mut window = with_blocks(filtration, tolerance, [2, 2]);
    let mut statistics = Statistics::new(2, None);
    for value in values {
        assert!(window.push(*value, &mut statistics));
    }
    let summary = statistics.summary(|| window.longest());
    (window, summary)
}

fn bars(values: &[f64], filtration: Filtration) -> Diagram {
    diagram(&whole(values, filtration, 0.0).0.pairs())
}

#[test]
fn analytic_cases() {
    let bar = |birth, death| Bar { birth, death };
    let (up, down) = (f64::INFINITY, f64::NEG_INFINITY);
    let wave: Vec<f64> = [0.0, 1.0, 0.0, -1.0].repeat(5);
    let waves = |side: f64, first: Option<Bar>, never: Bar, count| {
        Diagram::new(std::iter::repeat_n(bar(-side, side), count).chain(first).chain([never]))
    };
    for (values, filtration, expected) in [
        (&[][..], Filtration::Sublevel, Diagram::default()),
        (&[], Filtration::Extended, Diagram::default()),
        (&[3.0], Filtration::Sublevel, Diagram::new([bar(3.0, up)])),
        (&[3.0], Filtration::Extended, Diagram::default()),
        (&[2.0; 9], Filtration::Superlevel, Diagram::new([bar(2.0, down)])),
        (&[1.0, 2.0, 2.0, 5.0], Filtration::Sublevel, Diagram::new([bar(1.0, up)])),
        (&[1.0, 2.0, 2.0, 5.0], Filtration::Extended, Diagram::new([bar(1.0, 5.0)])),
        (&[1.0, up, up, 2.0], Filtration::Sublevel, Diagram::new([bar(1.0, up), bar(2.0, up)])),
        (&[1.0, down, 2.0], Filtration::Superlevel, Diagram::new([bar(1.0, down), bar(2.0, down)])),
        (&[up, up], Filtration::Sublevel, Diagram::default()),
        (&wave, Filtration::Sublevel, waves(1.0, Some(bar(0.0, 1.0)), bar(-1.0, up), 4)),
        (&wave, Filtration::Superlevel, waves(-1.0, None, bar(1.0, down), 4)),
    ] {
        assert_eq!(bars(values, filtration), expected, "{values:?} {filtration:?}");
    }
    let mut window = Window::new(Filtration::Sublevel, 0.0);
    assert!(!window.push(f64::NAN, &mut ()) && window.is_empty() && !window.evict(&mut ()));
}

/// What a closed pair takes out of a series is a way there and a way back, and the pair is one of the sublevel and
/// one of the superlevel sets. Each step of the residue is one pair. So total variation is total extended
/// persistence.
#[test]
fn total_variation_is_total_extended_persistence() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let values: Vec<f64> = (0..random.pick(60)).map(|_| (random.normal() * 8.0).round()).collect();
        let variation: f64 = values.windows(2).map(|step| (step[1] - step[0]).abs()).sum();
        assert_eq!(whole(&values, Filtration::Extended, 0.0).1.total, variation, "{values:?}");
    }
}

/// Whether the bottleneck distance is at most `bound`. Points farther than that from the diagonal need a partner in the
/// other diagram; if those of each diagram can be served, all can at once (Mendelsohn, Dulmage 1958).
fn within_bottleneck(one: &Diagram, other: &Diagram, bound: f64) -> bool {
    let near = |a: &Bar, b: &Bar| {
        let apart = |x: f64, y: f64| if x == y { 0.0 } else { (x - y).abs() };
        apart(a.birth, b.birth).max(apart(a.death, b.death)) <= bound
    };
    let serves = |from: &[Bar], to: &[Bar]| {
        let mut partner = vec![None; to.len()];
        (0..from.len()).filter(|i| from[*i].persistence() > 2.0 * bound).all(|i| {
            fn augment(
                i: usize,
                near: &dyn Fn(usize, usize) -> bool,
                partner: &mut [Option<usize>],
                seen: &mut [bool],
            ) -> bool {
                (0..partner.len()).any(|j| {
                    if !near(i, j) || std::mem::replace(&mut seen[j], true) {
                        return false;
                    }
                    let free = partner[j].is_none_or(|k| augment(k, near, partner, seen));
                    if free {
                        partner[j] = Some(i);
                    }
                    free
                })
            }
            augment(i, &|i, j| near(&from[i], &to[j]), &mut partner, &mut vec![false; to.len()])
        })
    };
    serves(one.bars(), other.bars()) && serves(other.bars(), one.bars())
}

#[test]
fn diagrams_are_stable() {
    let mut tight = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let filtration = [Filtration::Sublevel, Filtration::Superlevel][seed as usize % 2];
        let values = series(seed / 2 % 4, 40, &mut random);
        let sup = 0.1 * (1 + random.pick(8)) as f64;
        let moved: Vec<f64> = values.iter().map(|x| x + sup * (2.0 * random.unit() - 1.0)).collect();
        let (one, other) = (bars(&values, filtration), bars(&moved, filtration));
        assert!(within_bottleneck(&one, &other, sup * (1.0 + 1e-12)), "{values:?} {moved:?}");
        tight += usize::from(!within_bottleneck(&one, &other, sup * 0.5));
        let coarse = diagram(&whole(&values, filtration, sup).0.pairs());
        assert!(within_bottleneck(&one, &coarse, sup / 2.0));
        assert!(coarse.bars().iter().all(|bar| bar.persistence() > sup && one.bars().contains(bar)));
    }
    assert!(tight > 100, "a bound that is never nearly reached tests nothing: {tight}");
}

proptest! {
    /// What must not matter does not, and what turns the series over turns the diagram over.
    #[test]
    fn metamorphic(
        whole_numbers in prop::collection::vec(-20..20_i32, 0..60),
        repeats in prop::collection::vec(1..4_usize, 60),
    ) {
        let values: Vec<f64> = whole_numbers.iter().map(|x| f64::from(*x)).collect();
        let mapped = |diagram: &Diagram, map: &dyn Fn(f64) -> f64| {
            Diagram::new(diagram.bars().iter().map(|bar| Bar { birth: map(bar.birth), death: map(bar.death) }))
        };
        let backwards: Vec<f64> = values.iter().rev().copied().collect();
        let negated: Vec<f64> = values.iter().map(|x| 0.0 - x).collect();
        let scaled: Vec<f64> = values.iter().map(|x| 3.0 * x + 7.0).collect();
        let repeated: Vec<f64> = values.iter().zip(&repeats).flat_map(|(x, n)| std::iter::repeat_n(*x, *n)).collect();
        for filtration in [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended] {
            let diagram = bars(&values, filtration);
            prop_assert_eq!(&bars(&backwards, filtration), &diagram);
            prop_assert_eq!(&bars(&repeated, filtration), &diagram);
            prop_assert_eq!(bars(&scaled, filtration), mapped(&diagram, &|x| 3.0 * x + 7.0));
            prop_assert_eq!(
                bits(whole(&backwards, filtration, 0.0).1),
                bits(whole(&repeated, filtration, 0.0).1)
            );
        }
        let turned = mapped(&bars(&values, Filtration::Superlevel), &|x| 0.0 - x);
        prop_assert_eq!(bars(&negated, Filtration::Sublevel), turned);
    }

    /// Any floats at all, in any mixture of entering and leaving.
    #[test]
    fn any_floats(
        values in prop::collection::vec(any::<f64>(), 0..80),
        evictions in prop::collection::vec(0..3_usize, 80),
    ) {
        for filtration in [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended] {
            let mut window = with_blocks(filtration, 0.0, [1, 1]);
            let (mut told, mut kept) = (Told::default(), Vec::new());
            for (value, count) in values.iter().zip(&evictions) {
                prop_assert_eq!(window.push(*value, &mut told), !value.is_nan());
                kept.extend(Some(value + 0.0).filter(|value| !value.is_nan()));
                (0..*count).for_each(|_| _ = window.evict(&mut told));
                let head = window.head();
                let pairs = union_find(&kept[head as usize..], head, filtration, 0.0);
                told.0.sort_by_key(|pair| (pair.birth > pair.death, pair.born));
                prop_assert_eq!(&told.0, &pairs);
                let mut statistics = Statistics::new(2, None);
                pairs.iter().for_each(|pair| statistics.enter(*pair));
                prop_assert_eq!(bits(statistics.summary(|| window.longest())), bits(summarised(&pairs, 2)));
            }
        }
    }
}
