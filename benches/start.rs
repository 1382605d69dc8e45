//! How long a person waits for `eagre demo`: until its first line, its first finding and its end.
//!
//! `cargo bench --bench start [-- --rounds 15]`. Beside it `eagre --version`, which is what it takes to start a process
//! of this size. Medians and the worst, in milliseconds by the clock.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What is waited for, and where in the output it is told: nothing is the end.
const POINTS: [(&str, &str, Option<&str>); 4] = [
    ("--version", "end", None),
    ("demo", "first line", Some("readings of")),
    ("demo", "first finding", Some(" sensor-")),
    ("demo", "end", None),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = arguments.iter().skip_while(|argument| *argument != "--rounds").nth(1);
    let rounds: usize = rounds.map_or(Ok(15), |text| text.parse())?;
    let mut times = POINTS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((command, _, told), times) in POINTS.iter().zip(&mut times) {
            times.push(wait(command, *told)?);
        }
    }
    println!("eagre         until            median ms  worst ms   ({rounds} rounds)");
    for ((command, until, _), times) in POINTS.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{command:<13} {until:<14} {:>11.1} {:>9.1}", times[rounds / 2], times[rounds - 1]);
    }
    Ok(())
}

/// Milliseconds until a line has a text, or until the end.
fn wait(command: &str, told: Option<&str>) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_eagre")).arg(command).stdout(Stdio::piped()).spawn()?;
    let mut at = None;
    for line in BufReader::new(child.stdout.take().ok_or("an output")?).lines() {
        if told.is_some_and(|told| line.as_ref().is_ok_and(|line| line.contains(told))) {
            at = at.or(Some(begun.elapsed()));
        }
    }
    let status = child.wait()?;
    let end = begun.elapsed();
    match (status.success(), told) {
        (false, _) => Err(format!("eagre {command} ended with {status}").into()),
        (true, Some(told)) => Ok(at.ok_or(format!("eagre {command} never said `{told}`"))?.as_secs_f64() * 1e3),
        (true, None) => Ok(end.as_secs_f64() * 1e3),
    }
}
