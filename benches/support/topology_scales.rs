//! Eight scales over one ring against one: what sharing the ring is worth.
//!
//! The one scale is the largest of the eight, alone over a ring of its own. A figure is the CPU time of this thread for
//! one value: `hop` values are pushed and then the features of all scales are asked for (total, longest, entropy; of
//! loops for clouds), over and over, with full windows. Of `ROUNDS` pieces of the stream, made before, the median. The
//! correlation of the features is a figure of its own, for a vector.

use std::hint::black_box;

use eagre::stats::elementary::sin_turns;
use eagre::stats::random::Random;
use eagre::topology::rips::Workspace;
use eagre::topology::scales::{Feature, Number, ScaleSettings, Scales, Settings, Shape};

use crate::cpu::thread_time;

/// Pieces of the stream that are measured.
const ROUNDS: usize = 9;

/// Vectors correlated for one figure.
const VECTORS: u32 = 500;

/// Prints the table.
pub fn run() {
    println!("Eight scales over one ring, CPU of one thread, us a value");
    println!(
        "scales                                     hop       one     eight     ratio   correlation of eight, us a vector"
    );
    let halves = |largest: usize| (0..8).map(|k| largest >> k).collect::<Vec<usize>>();
    let roots: Vec<usize> = (0..8).map(|k| (512.0 * 0.5_f64.powf(f64::from(k) / 2.0)).round() as usize).collect();
    let cloud = |window: usize, delay: usize| Shape::Cloud { window, delay, dimension: 3 };
    let clouds = |windows: &[usize]| windows.iter().map(|window| cloud(*window, 5)).collect::<Vec<Shape>>();
    compare("clouds, windows 512, 256 .. 4", &clouds(&halves(512)), 1, 200);
    compare("clouds, windows 512, 362, 256 .. 45", &clouds(&roots), 1, 200);
    compare("clouds, windows 256, delays 1 .. 8", &(1..9).map(|delay| cloud(256, delay)).collect::<Vec<_>>(), 1, 200);
    let series: Vec<Shape> = halves(1 << 17).into_iter().map(|window| Shape::Series { window }).collect();
    for hop in [1, 16, 64, 79, 80, 128, 256, 1024] {
        compare("series, windows 131072, 65536 .. 1024", &series, hop, 65_536);
    }
}

fn compare(name: &str, shapes: &[Shape], hop: usize, values: usize) {
    let largest = shapes[..1].to_vec();
    let ([one, _], [eight, correlation]) = (measure(&largest, hop, values), measure(shapes, hop, values));
    println!("{name:40} {hop:5} {one:9.3} {eight:9.3} {:9.2} {correlation:9.2}", eight / one);
}

/// Microseconds a value for the features, and microseconds a vector for the correlation.
fn measure(shapes: &[Shape], hop: usize, values: usize) -> [f64; 2] {
    let settings = |shape: &Shape| {
        let degree = u8::from(matches!(shape, Shape::Cloud { .. }));
        let feature = |number| Feature { degree, number };
        let features = [Number::Total, Number::Longest, Number::Entropy].map(feature).to_vec();
        ScaleSettings { shape: *shape, features }
    };
    let settings = Settings { hop, ..Settings::new(shapes.iter().map(settings).collect()) };
    let mut scales = Scales::new(settings).expect("settings in order");
    let (mut random, mut workspace) = (Random::new(1), Workspace::default());
    let filled = 2 * shapes.iter().map(|shape| shape.reach()).max().unwrap_or(0);
    let mut value = |at: usize| sin_turns(at as f64 / 32.0) + 0.1 * random.normal();
    (0..filled).for_each(|at| _ = scales.push(value(at)));
    scales.observe(&mut workspace);
    let mut vector = Vec::new();
    let features = (0..ROUNDS).map(|round| {
        let piece: Vec<f64> = (0..values / hop * hop).map(|at| value(filled + round * values + at)).collect();
        let start = thread_time();
        for hop in piece.chunks_exact(hop) {
            hop.iter().for_each(|value| _ = scales.push(*value));
            vector.clear();
            scales.features(&mut workspace, &mut vector);
            black_box(&vector);
        }
        (thread_time() - start).as_secs_f64() * 1e6 / piece.len() as f64
    });
    let features = median(features.collect());
    let correlation = (0..ROUNDS).map(|_| {
        let start = thread_time();
        for _ in 0..VECTORS {
            vector.iter_mut().for_each(|number| *number *= 1.0 + f64::EPSILON);
            assert!(scales.remember(&vector));
        }
        (thread_time() - start).as_secs_f64() * 1e6 / f64::from(VECTORS)
    });
    [features, median(correlation.collect())]
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
