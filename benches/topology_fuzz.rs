//! Fuzzes the topology room: random bytes made into calls of every public entry (`support/topology_fuzz.rs`).
//!
//! `cargo bench --bench topology_fuzz -- [MODE ...] [--seconds N] [--seed S]`, with `RUSTFLAGS` set to
//! `-C overflow-checks -C debug-assertions`, runs cases of these modes (all: series, rips, distances, features, scales)
//! for N seconds each, 10 unless told, from the seed S on. A case that fails is named by its mode and its seed, which
//! make it fail again. `cargo test` runs a few of each.
#![allow(clippy::disallowed_methods, reason = "a fuzzer reads the clock to know when to stop")]

use std::time::{Duration, Instant};

#[path = "support/topology_fuzz.rs"]
mod fuzz;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, or: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(or, |at| arguments.get(at + 1).and_then(|number| number.parse().ok()).expect("options take a number"))
    };
    let (seconds, first) = (option("--seconds", 10), option("--seed", 0));
    let named = |mode: &str| arguments.iter().any(|argument| argument == mode);
    let all = !fuzz::MODES.iter().any(|mode| named(mode));
    for mode in fuzz::MODES.iter().filter(|mode| all || named(mode)) {
        let (start, mut seed) = (Instant::now(), first);
        while start.elapsed() < Duration::from_secs(seconds) {
            if std::panic::catch_unwind(|| fuzz::case(mode, seed)).is_err() {
                println!("{mode}: the case of seed {seed} fails");
                std::process::exit(1);
            }
            seed += 1;
        }
        println!("{mode}: {} cases from seed {first}, none fails", seed - first);
    }
}
