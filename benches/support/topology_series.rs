//! Persistence of a sliding series: how fast, how much memory, how long the worst step.
//!
//! One thread; CPU time of that thread (the machine is shared). Rates are medians over pieces of a stream that slides
//! through a full window: a value enters and one leaves. Latency is that of such a slide with its summary, measured
//! one by one with the same clock, whose own cost is printed beside it; of equal passes the least, which leaves
//! interrupts out.

use std::hint::black_box;
use std::time::Duration;

use eagre::stats::random::Random;
use eagre::topology::series::pair::Filtration;
use eagre::topology::series::statistics::{BettiCurve, Statistics};
use eagre::topology::series::tree::Tree;
use eagre::topology::series::window::Window;

/// Values slid for one figure, and in how many pieces.
const SLIDES: usize = 2_000_000;
const PIECES: usize = 10;

/// How often each slide is timed. All passes do the same, so the least time of a slide is the one without interrupts.
const PASSES: usize = 3;

/// Prints all tables. `clock` is the CPU time that this thread has used.
pub fn run(clock: impl Fn() -> Duration) {
    println!("H0 of a sliding series (sublevel), one thread, CPU time");
    println!("series        n     keep up          and summary      B/value  longest slide with summary, us");
    println!("                    ns      M/s      ns      M/s               p50    p99    p99.9  p99.99 max");
    for kind in ["walk", "noise", "sine", "growing", "decaying", "waist"] {
        for count in [1 << 10, 1 << 15, 1 << 20] {
            window(kind, count, &clock);
        }
    }
    let empty: Vec<f64> = (0..10_001).map(|_| clock().as_secs_f64()).collect();
    let cost = median(empty.windows(2).map(|pair| pair[1] - pair[0]).collect());
    println!("(reading the clock: {:.2} us)", cost * 1e6);
    for count in [1 << 10, 1 << 15, 1 << 20] {
        [0, 100, 1024].into_iter().for_each(|levels| cascades(count, levels, &clock));
    }
    for kind in ["walk", "noise"] {
        tree(kind, 1 << 20, &clock);
    }
}

/// A stream of one kind.
fn series(kind: &str, count: usize) -> Vec<f64> {
    let (mut random, mut walk) = (Random::new(42), 0.0);
    let value = |i| {
        let (normal, t) = (random.normal(), i as f64);
        walk += normal;
        match kind {
            "walk" => walk,
            "noise" => normal,
            "sine" => (t * std::f64::consts::TAU / 32.0).sin() + 0.1 * normal,
            // A zigzag that grows, decays, or does both in turn: all of the window stays in the residue.
            "growing" => {
                if i % 2 == 0 {
                    t
                } else {
                    -t
                }
            }
            "decaying" => {
                if i % 2 == 0 {
                    count as f64 - t
                } else {
                    t - count as f64
                }
            }
            _ => (((i + 1000) % 3000) as f64 - 1500.5).abs() * if i % 2 == 0 { 1.0 } else { -1.0 },
        }
    };
    (0..count).map(value).collect()
}

fn window(kind: &str, count: usize, clock: &impl Fn() -> Duration) {
    let values = series(kind, count + SLIDES);
    let (full, rest) = values.split_at(count);
    let mut window = Window::with_capacity(Filtration::Sublevel, 0.0, count);
    full.iter().for_each(|value| _ = window.push(*value, &mut ()));
    let keep = pieces(rest, clock, |value| {
        window.evict(&mut ());
        window.push(value, &mut ());
    });
    let mut statistics = Statistics::new(2, None);
    let mut window = Window::with_capacity(Filtration::Sublevel, 0.0, count).summing(&statistics);
    full.iter().for_each(|value| _ = window.push(*value, &mut statistics));
    let summary = pieces(rest, clock, |value| {
        window.evict(&mut statistics);
        window.push(value, &mut statistics);
        black_box(statistics.summary(|| window.longest()));
    });
    let mut times = vec![f64::INFINITY; rest.len()];
    for _ in 0..PASSES {
        let (mut window, mut statistics) = (window.clone(), statistics.clone());
        for (value, time) in rest.iter().zip(&mut times) {
            let start = clock();
            window.evict(&mut statistics);
            window.push(*value, &mut statistics);
            black_box(statistics.summary(|| window.longest()));
            *time = time.min((clock() - start).as_secs_f64() * 1e6);
        }
    }
    let bytes = (window.heap_bytes() + statistics.heap_bytes()) as f64 / count as f64;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{kind:8} {count:8} {:7.1} {:7.1}  {:7.1} {:7.1}  {bytes:8.2}  {:6.2} {:6.2} {:6.2} {:6.2} {:8.2}",
        keep * 1e9,
        1e-6 / keep,
        summary * 1e9,
        1e-6 / summary,
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0),
    );
}

/// The dearest steps there are: a value that changes every pair of the window, with statistics, with a Betti curve of
/// so many levels too, and told one by one.
fn cascades(count: usize, levels: u32, clock: &impl Fn() -> Duration) {
    let swing = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let window = |values: &mut dyn Iterator<Item = f64>| {
        let at: Vec<f64> = (1..=levels).map(|k| (f64::from(2 * k) / f64::from(levels) - 1.0) * count as f64).collect();
        let mut statistics = Statistics::new(2, (levels > 0).then(|| BettiCurve::new(&at)));
        let mut window = Window::with_capacity(Filtration::Sublevel, 0.0, count + 1).summing(&statistics);
        values.for_each(|value| _ = window.push(value, &mut statistics));
        (window, statistics, Vec::with_capacity(2 * count))
    };
    let enters = window(&mut (0..count).map(|i| swing(i) * (count - i) as f64));
    let leaves = window(&mut std::iter::once(-1e9).chain((0..count).map(|i| swing(i) * i as f64)));
    let least = |step: &dyn Fn() -> Duration| (0..PASSES).map(|_| step()).min().unwrap_or_default().as_secs_f64() * 1e6;
    let times = [(&enters, true), (&leaves, false)].map(|(start, enters)| {
        let timed = |told: bool| {
            let (mut window, mut statistics, mut list) = start.clone();
            list.reserve(2 * count);
            let begun = clock();
            match (told, enters) {
                (false, true) => window.push(-1e9, &mut statistics),
                (false, false) => window.evict(&mut statistics),
                (true, true) => window.push(-1e9, &mut list),
                (true, false) => window.evict(&mut list),
            };
            black_box(statistics.summary(|| window.longest()));
            clock() - begun
        };
        [false, true].map(|told| least(&|| timed(told)))
    });
    let bytes = (leaves.0.heap_bytes() + leaves.1.heap_bytes()) as f64 / count as f64;
    let [[enters, enters_told], [leaves, leaves_told]] = times;
    println!(
        "{count:8}, {levels:4} levels: all pairs change as a value enters, statistics {enters:.1} us, \
         told {enters_told:.1} us; \
         as one leaves, {leaves:.1} us, told {leaves_told:.1} us; {bytes:.2} B/value",
    );
}

fn tree(kind: &str, count: usize, clock: &impl Fn() -> Duration) {
    let values = series(kind, count + SLIDES / 10);
    let mut tree = Tree::new(Filtration::Sublevel, 0.0, 2, count);
    values[..count].iter().for_each(|value| _ = tree.push(Some(*value)));
    let push = pieces(&values[count..], clock, |value| _ = tree.push(Some(value)));
    let mut random = Random::new(7);
    let (head, tail) = (tree.head(), tree.tail());
    let query = pieces(&values[..20_000], clock, |_| {
        let from = head + random.pick(tail - head);
        black_box(tree.summary(from, from + random.pick(tail - from + 1)));
    });
    let eight = pieces(&values[..20_000], clock, |_| {
        for scale in 13..21 {
            black_box(tree.summary(tail - (1 << scale), tail));
        }
    });
    let correct = pieces(&values[..20_000], clock, |value| _ = tree.set(head + random.pick(tail - head), Some(value)));
    println!(
        "tree {kind:6} {count}: push {:.0} ns, a range {:.2} us, 8 scales {:.2} us, correction {:.2} us, {:.0} B/value",
        push * 1e9,
        query * 1e6,
        eight * 1e6,
        correct * 1e6,
        tree.heap_bytes() as f64 / count as f64,
    );
}

/// Seconds for one value, the median over pieces.
fn pieces(values: &[f64], clock: &impl Fn() -> Duration, mut each: impl FnMut(f64)) -> f64 {
    let piece = values.chunks_exact(values.len() / PIECES).map(|piece| {
        let start = clock();
        piece.iter().for_each(|value| each(*value));
        (clock() - start).as_secs_f64() / piece.len() as f64
    });
    median(piece.collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
