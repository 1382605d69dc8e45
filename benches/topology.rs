//! What incremental topology costs: series, point clouds, distances, several scales.
//!
//! `cargo bench --bench topology [-- series|rips|distances|scales] [--rounds N]` prints tables of the processor time of
//! one thread. `--peers PYTHON` asks the libraries of others the same, each in its own process: PYTHON is that of an
//! environment with gudhi, ripser, giotto-ph, POT and persim (`support/topology_peers.py` says how to make one).
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/topology_distances.rs"]
mod topology_distances;
#[path = "support/topology_rips.rs"]
mod topology_rips;
#[path = "support/topology_scales.rs"]
mod topology_scales;
#[path = "support/topology_series.rs"]
mod topology_series;

const SUBJECTS: &[&str] = &["series", "rips", "distances", "scales"];
/// Repetitions of what is measured again and again.
const ROUNDS: usize = 31;
/// Slides of a cloud for each of those rounds.
const SLIDES_PER_ROUND: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|argument| argument == name).map(|at| arguments.get(at + 1));
    let rounds = option("--rounds").map_or(ROUNDS, |rounds| {
        rounds.and_then(|rounds| rounds.parse().ok()).expect("--rounds takes a number of rounds")
    });
    let named = |subject: &&&str| arguments.iter().any(|argument| argument == *subject);
    let all = !SUBJECTS.iter().any(|subject| named(&subject));
    for subject in SUBJECTS.iter().filter(|subject| all || named(subject)) {
        println!("## {subject}\n");
        match *subject {
            "series" => topology_series::run(cpu::thread_time),
            "rips" => topology_rips::run(SLIDES_PER_ROUND * rounds),
            "scales" => topology_scales::run(),
            _ => topology_distances::run(rounds),
        }
        println!();
    }
    if let Some(python) = option("--peers") {
        let python = python.expect("--peers takes the path of a python with the libraries");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/topology_peers.py");
        let status = std::process::Command::new(python).arg(script).status();
        assert!(status.is_ok_and(|status| status.success()), "{python} {script} failed");
    }
}
