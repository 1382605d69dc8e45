//! What distances between diagrams cost, features of diagrams, and what is kept of several scales.

use crate::cpu::median_ns;
use eagre::stats::elementary::sin_turns;
use eagre::stats::random::Random;
use eagre::topology::diagram::{Bar, Diagram};
use eagre::topology::distances::{Change, Transport, bottleneck, sliced_wasserstein, wasserstein_1, wasserstein_2};
use eagre::topology::features::{Grid, ImageShape, Infinite, Intervals};
use eagre::topology::scales::{correlation::Correlation, delay::delay, period::period};
use std::hint::black_box;

/// Prints the tables.
pub fn run(rounds: usize) {
    let mut random = Random::new(1);
    consecutive(&mut random, rounds);
    whole(&mut random, rounds);
    features(&mut random, rounds);
    scales(&mut random, rounds);
}

/// Most bars short, a few long, as noise and a loop have them.
fn bars(random: &mut Random, count: usize) -> Vec<Bar> {
    let bar = |random: &mut Random| {
        let (birth, length) = (random.unit(), random.unit());
        Bar { birth, death: birth + 0.001 + length * length * length }
    };
    (0..count).map(|_| bar(random)).collect()
}

/// A diagram and the one after a slide, which has so many bars in place of as many others.
fn slide(random: &mut Random, count: usize, changed: usize) -> (Diagram, Diagram) {
    let before = bars(random, count);
    let after = before.iter().skip(changed).copied().chain(bars(random, changed));
    (Diagram::new(before.clone()), Diagram::new(after))
}

/// W1 between consecutive windows, from what changed; the floor adds up the ways between all of it, once.
fn consecutive(random: &mut Random, rounds: usize) {
    println!("W1 between consecutive windows, ns (floor: every way between changed bars, added up)");
    println!(
        "{:>8} {:>10} {:>10} {:>8} {:>18} {:>18}",
        "changed", "W1", "floor", "x floor", "and lists sorted", "and found in 256"
    );
    for changed in [1, 2, 3, 5, 7, 10, 22] {
        let slides: Vec<(Diagram, Diagram)> = (0..64).map(|_| slide(random, 256, changed)).collect();
        let changes: Vec<Change> = slides.iter().map(|(before, after)| Change::between(before, after)).collect();
        let mut transport = Transport::default();
        let each = 1.0 / slides.len() as f64;
        let w1 = each * median_ns(rounds, || sum(changes.iter().map(|change| change.wasserstein_1(&mut transport))));
        let floor = each * median_ns(rounds, || sum(changes.iter().map(ways)));
        let told = each
            * median_ns(rounds, || {
                let lists = changes.iter().map(|change| (change.gone().to_vec(), change.come().to_vec()));
                sum(lists.map(|(gone, come)| Change::new(gone, come).wasserstein_1(&mut transport)))
            });
        let found = each * median_ns(rounds, || sum(slides.iter().map(|(before, after)| wasserstein_1(before, after))));
        println!("{changed:>8} {w1:>10.0} {floor:>10.0} {:>8.1} {told:>18.0} {found:>18.0}", w1 / floor);
    }
}

fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + number)
}

fn ways(change: &Change) -> f64 {
    let way = |one: &Bar, other: &Bar| (one.birth - other.birth).abs().max((one.death - other.death).abs());
    sum(change.gone().iter().flat_map(|one| change.come().iter().map(move |other| way(one, other))))
}

/// Distances of whole diagrams: 5 bars changed, and two that have nothing in common.
fn whole(random: &mut Random, rounds: usize) {
    println!("\ndistances of whole diagrams, us");
    println!("{:>6} {:>10} {:>10} {:>10} {:>12} {:>12}", "bars", "diagrams", "W1", "W2", "bottleneck", "sliced 50");
    for count in [20, 73, 159, 255, 1034] {
        let (unlike, other) = (Diagram::new(bars(random, count)), Diagram::new(bars(random, count)));
        let (before, after) = slide(random, count, 5);
        for (name, one, other) in [("slide", &before, &after), ("unlike", &unlike, &other)] {
            let us = |distance: &dyn Fn(&Diagram, &Diagram) -> f64| median_ns(rounds, || distance(one, other)) / 1e3;
            let sliced = us(&|one, other| sliced_wasserstein(one, other, 50));
            let [w1, w2, bottleneck] = [us(&wasserstein_1), us(&wasserstein_2), us(&bottleneck)];
            println!("{count:>6} {name:>10} {w1:>10.2} {w2:>10.1} {bottleneck:>12.1} {sliced:>12.1}");
        }
    }
}

fn features(random: &mut Random, rounds: usize) {
    println!("\nfeatures, us");
    println!(
        "{:>6} {:>10} {:>10} {:>16} {:>16} {:>12}",
        "bars", "entropy", "Betti 100", "landscape 5x100", "silhouette 100", "image 20x20"
    );
    let grid = Grid { from: 0.0, to: 2.0, points: 100 };
    let twenty = Grid { points: 20, ..grid };
    let shape = ImageShape { births: twenty, persistences: twenty, bandwidth: 0.1, weight_power: 1 };
    for count in [20, 159, 1034] {
        let bars = Intervals::of(&Diagram::new(bars(random, count)), Infinite::LeaveOut);
        let entropy = median_ns(rounds, || bars.entropy()) / 1e3;
        let betti = median_ns(rounds, || bars.betti_curve(&grid)) / 1e3;
        let landscape = median_ns(rounds, || bars.landscape(5, &grid)) / 1e3;
        let silhouette = median_ns(rounds, || bars.silhouette(&grid, 1)) / 1e3;
        let image = median_ns(rounds, || bars.image(&shape)) / 1e3;
        println!("{count:>6} {entropy:>10.2} {betti:>10.2} {landscape:>16.1} {silhouette:>16.1} {image:>12.1}");
    }
}

fn scales(random: &mut Random, rounds: usize) {
    println!("\nscales, us");
    for features in [4, 16, 40] {
        let vectors: Vec<f64> = (0..features * 64).map(|_| random.normal()).collect();
        let mut correlation = Correlation::new(features, 32);
        let mut next = vectors.chunks_exact(features).cycle();
        let push = median_ns(rounds, || next.next().map(|vector| correlation.push(vector))) / 1e3;
        let read = median_ns(rounds, || correlation.correlation(0, features - 1)) / 1e3;
        println!("correlation of {features:>2} features: push {push:.2}, read one {read:.2}");
    }
    let series: Vec<f64> = (0..1024).map(|t| sin_turns(f64::from(t) / 32.0) + 0.1 * random.normal()).collect();
    println!("delay of 1024 values, 64 lags: {:.0}", median_ns(rounds, || delay(black_box(&series), 64)) / 1e3);
    println!("period of 1024 values, 512 lags: {:.0}", median_ns(rounds, || period(black_box(&series), 512)) / 1e3);
}
