//! Rips H0 and H1 of a sliding cloud: windows a second at every slide, the worst step, and a sweep beside them.
//!
//! Two streams of points in three dimensions. `delay`: a sine of period 32 with noise of a tenth, embedded with delay
//! 5; `ball`: Gaussian. Times are CPU times of this thread, of each step the least of three rounds. A step is a slide
//! and its diagram; the sweep is a diagram from scratch of the same windows (every 16th), distances not counted, as in
//! a step only the newcomer's are new.

use eagre::stats::elementary::sin_turns;
use eagre::stats::random::Random;
use eagre::topology::rips::{DelayEmbedding, Lanes, Metric, Strategy, Window, Workspace};

/// Prints the table.
pub fn run(slides: usize) {
    println!("Rips H0 + H1, every slide; CPU of one thread; times in us; lanes {:?}", Lanes::available());
    println!("stream      n  lanes    windows/s     mean      p50      p99      max    sweep   max/sweep   loops");
    for stream in ["delay", "ball"] {
        for n in [64, 128, 256, 512] {
            for lanes in Lanes::available().into_iter().rev() {
                measure(stream, n, slides, lanes);
            }
        }
    }
}

/// The steps of a stream are the same in every round, so the least time of each is its own and not the machine's.
const ROUNDS: usize = 3;

fn measure(stream: &str, n: usize, slides: usize, lanes: Lanes) {
    let points = points(stream, n + slides);
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&points, n, lanes)).collect();
    let least = |times: fn(&Round) -> &Vec<f64>| -> Vec<f64> {
        let least = |i: usize| rounds.iter().map(|round| times(round)[i]).fold(f64::INFINITY, f64::min);
        (0..times(&rounds[0]).len()).map(least).collect()
    };
    let (mut steps, sweeps) = (least(|round| &round.steps), least(|round| &round.sweeps));
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let sweep = sweeps.iter().sum::<f64>() / sweeps.len() as f64;
    steps.sort_unstable_by(f64::total_cmp);
    let [p50, p99, max] = [50, 99, 100].map(|share| steps[(steps.len() * share / 100).min(steps.len() - 1)]);
    let (rate, loops) = (1e6 / mean, rounds[0].loops as f64 / slides as f64);
    println!(
        "{stream:6} {n:6}  {:7} {rate:10.0} {mean:8.1} {p50:8.1} {p99:8.1} {max:8.1} {sweep:8.1} {:11.2} {loops:7.1}",
        format!("{lanes:?}").trim_start_matches("Lanes(").trim_end_matches(')'),
        max / sweep
    );
}

struct Round {
    steps: Vec<f64>,
    sweeps: Vec<f64>,
    loops: usize,
}

fn round(points: &[Vec<f64>], n: usize, lanes: Lanes) -> Round {
    let mut workspace = Workspace::default();
    let mut window = Window::with_lanes(Metric::Euclidean, 3, lanes);
    let mut twin = window.clone();
    twin.set_strategy(Strategy::FromScratch);
    for (position, point) in points[..n].iter().enumerate() {
        window.push(position as u64, point).expect("a point");
        twin.push(position as u64, point).expect("a point");
    }
    window.diagram(&mut workspace);
    let mut round = Round { steps: Vec::new(), sweeps: Vec::new(), loops: 0 };
    for (position, point) in points.iter().enumerate().skip(n) {
        let start = cpu();
        window.slide(position as u64, point).expect("a point");
        let diagram = window.diagram(&mut workspace);
        round.steps.push(cpu() - start);
        round.loops += diagram.loops.len();
        twin.slide(position as u64, point).expect("a point");
        if position % 16 == 0 {
            let start = cpu();
            let again = twin.diagram(&mut workspace);
            round.sweeps.push(cpu() - start);
            assert_eq!(diagram, again, "{n} points, slide {position}");
        }
    }
    round
}

fn points(stream: &str, count: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(1);
    if stream == "ball" {
        return (0..count).map(|_| (0..3).map(|_| random.normal()).collect()).collect();
    }
    let mut embedding = DelayEmbedding::new(3, 5);
    let sample = |t: usize, noise: f64| sin_turns(t as f64 / 32.0) + 0.1 * noise;
    (0..count + 10).filter_map(|t| embedding.push(sample(t, random.normal())).map(<[f64]>::to_vec)).collect()
}

/// CPU time of this thread, in microseconds.
fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, and this is one.
    #[allow(unsafe_code, reason = "the standard library has no clock of a thread's CPU time")]
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(answer, 0, "the clock of this thread");
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
