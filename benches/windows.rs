//! J1 through the whole program, beside the floor in the same run.
//!
//! `cargo bench --bench windows [-- --events 5000000 --rounds 5 --record FILE]` writes the events of W1 once
//! (support/w1.rs), then in every round runs, one after another so that a slow moment of the machine falls on all: the
//! floor programs (support/floor.rs, started as processes of their own), and `eagre run benches/support/j1.toml`, each
//! with one worker on the one file and with two on the two part files. It prints medians, and fails when an answer
//! differs: rows, keys and counts must be equal, floats to 1e-9 of their size.
//!
//! *net* is without start-up: the same with 1,000 events is taken off. CPU is of all threads of the process; the
//! engine's one worker has a reader and a decoding pool beside it, so compare CPU, not wall, with the one thread of the
//! floor.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

#[path = "support/child.rs"]
mod child;
#[path = "support/floor.rs"]
mod floor;
#[path = "support/w1.rs"]
mod w1;

use child::{Usage, measure};
use floor::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Events of the run that is nothing but start-up.
const FEW: u64 = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Program {
    Hand,
    Serde,
    Eagre,
}

const PROGRAMS: [(Program, &str); 3] =
    [(Program::Hand, "floor:hand"), (Program::Serde, "floor:serde_json"), (Program::Eagre, "eagre")];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [floor, parser, output, inputs @ ..] = &arguments[..]
        && floor == "floor"
    {
        let parser = if parser == "hand" { Parser::Hand } else { Parser::Serde };
        let inputs: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
        return Ok(floor::run(parser, Path::new(output), &inputs)?);
    }
    if let [compare, one, other] = &arguments[..]
        && compare == "compare"
    {
        return answers(Path::new(one), Path::new(other));
    }
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let events = option("--events").map_or(Ok(1_000_000), |text| text.parse())?;
    let rounds = option("--rounds").map_or(Ok(5), |text| text.parse())?;
    let measured = run(events, rounds)?;
    print(events, rounds, &measured);
    if let Some(path) = option("--record") {
        fs::write(path, serde_json::to_string_pretty(&record(events, rounds, &measured))? + "\n")?;
    }
    Ok(())
}

/// Every run of a program with so many workers.
#[derive(Default)]
struct Runs {
    full: Vec<Usage>,
    few: Vec<Usage>,
}

type Measured = BTreeMap<(usize, Program), Runs>;

fn run(events: u64, rounds: usize) -> Outcome<Measured> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("windows");
    fs::create_dir_all(&folder)?;
    let (full, few) = (w1::generate(&folder, events)?, w1::generate(&folder, FEW)?);
    let mut measured = Measured::new();
    for round in 0..rounds {
        for workers in [1, 2] {
            let mut outputs = Vec::new();
            for (program, name) in PROGRAMS {
                let runs = measured.entry((workers, program)).or_default();
                let output = folder.join(format!("j1-{}-{workers}.jsonl", name.replace(':', "-")));
                runs.few.push(start(program, workers, &few, &output)?);
                runs.full.push(start(program, workers, &full, &output)?);
                outputs.push(output);
            }
            // In a process of its own: a child begins with the peak of its parent's memory, which must stay small.
            for two in outputs.windows(2) {
                measure(Command::new(std::env::current_exe()?).arg("compare").args(two))?;
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(measured)
}

fn start(program: Program, workers: usize, files: &w1::Files, output: &Path) -> Outcome<Usage> {
    let inputs: Vec<&Path> = match workers {
        1 => vec![&files.whole],
        _ => files.parts.iter().map(PathBuf::as_path).collect(),
    };
    for file in outputs(output).into_iter().filter(|file| file.exists()) {
        fs::remove_file(file)?;
    }
    let mut command = match program {
        Program::Hand | Program::Serde => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["floor", if program == Program::Hand { "hand" } else { "serde" }]).arg(output).args(inputs);
            command
        }
        Program::Eagre => {
            let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support/j1.toml");
            let paths: Vec<String> = inputs.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
            let folder = output.parent().ok_or("an output in a folder")?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
            command.arg("run").arg(job).args(["--workers", &workers.to_string(), "--live", "never"]);
            command.args(["--set", &format!("source.readings.path=[{}]", paths.join(","))]);
            command.args(["--set", &format!("sink.rows.path={}", output.display())]);
            command.args(["--set", &format!("data_dir={}", folder.display())]);
            command
        }
    };
    Ok(measure(&mut command)?)
}

/// The files that a program may have written: the engine one, the floor one for each thread.
fn outputs(output: &Path) -> [PathBuf; 3] {
    [output.to_owned(), output.with_added_extension("0"), output.with_added_extension("1")]
}

/// A window's row by start (ms) and sensor: count, sum, min, max, mean, stddev.
type Rows = BTreeMap<(i64, String), [f64; 6]>;

fn rows(output: &Path) -> Outcome<Rows> {
    let mut rows = Rows::new();
    for file in outputs(output).into_iter().filter(|file| file.exists()) {
        for line in fs::read_to_string(file)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let start = match &row["window_start"] {
                Value::String(text) => eagre::time::parse(text)? / 1000,
                start => start.as_i64().ok_or("a window's start")?,
            };
            let sensor = row["sensor"].as_str().ok_or("a sensor")?.to_owned();
            let numbers =
                ["count", "sum", "min", "max", "mean", "stddev"].map(|name| row[name].as_f64().unwrap_or(f64::NAN));
            if rows.insert((start, sensor), numbers).is_some() {
                return Err(format!("a window came twice: {line}").into());
            }
        }
    }
    Ok(rows)
}

fn answers(one: &Path, other: &Path) -> Outcome<()> {
    let (ours, theirs) = (rows(one)?, rows(other)?);
    let (one, other) = (one.display(), other.display());
    if !ours.keys().eq(theirs.keys()) {
        return Err(format!("{one} has {} windows, {other} {}, and not the same", ours.len(), theirs.len()).into());
    }
    for (key, a) in &ours {
        let b = &theirs[key];
        // The floor subtracts sums of squares, which leaves an error of the size of the mean's square in the variance.
        let variance = (a[5] * a[5] - b[5] * b[5]).abs() <= 1e-9 * (a[4] * a[4]).max(1.0);
        let close = (1..5).all(|i| (a[i] - b[i]).abs() <= 1e-9 * a[i].abs().max(1.0));
        if a[0] != b[0] || !close || !variance {
            return Err(format!("{key:?}: {one} says {a:?}, {other} {b:?}").into());
        }
    }
    Ok(())
}

fn median(runs: &[Usage], of: impl Fn(&Usage) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of a program: wall s, CPU s, CPU ns an event without start-up, events a second, peak MB, start-up CPU s.
fn medians(events: u64, runs: &Runs) -> [f64; 6] {
    let (wall, cpu) = (median(&runs.full, |run| run.wall_s), median(&runs.full, Usage::cpu_s));
    let start = median(&runs.few, Usage::cpu_s);
    let net = (cpu - start) * 1e9 / (events - FEW) as f64;
    [wall, cpu, net, events as f64 / wall, median(&runs.full, |run| run.rss_max_mb), start]
}

fn print(events: u64, rounds: usize, measured: &Measured) {
    println!("J1: tumbling 10 s for each of 1,000 sensors, {events} events, medians of {rounds} rounds");
    println!(
        "workers program            wall s   CPU s  net CPU ns/event  events/s   peak MB  start-up CPU s  \
         CPU: x hand  x serde_json"
    );
    for ((workers, program), runs) in measured {
        let name = PROGRAMS.iter().find(|(known, _)| known == program).map_or("", |(_, name)| name);
        let [wall, cpu, net, rate, memory, start] = medians(events, runs);
        let ratio = |to: Program| net / medians(events, &measured[&(*workers, to)])[2];
        println!(
            "{workers:>7} {name:<17} {wall:>7.3} {cpu:>7.3} {net:>17.1} {rate:>9.0} {memory:>9.1} {start:>15.3} \
             {:>12.2} {:>13.2}",
            ratio(Program::Hand),
            ratio(Program::Serde)
        );
    }
}

fn record(events: u64, rounds: usize, measured: &Measured) -> Value {
    let runs = measured.iter().map(|((workers, program), runs)| {
        let name = PROGRAMS.iter().find(|(known, _)| known == program).map_or("", |(_, name)| name);
        json!({ "program": name, "workers": workers, "runs": runs.full, "start_up": runs.few })
    });
    let machine = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processors = machine.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors: Vec<&str> = processors.map(|(_, name)| name).collect();
    let runs: Vec<Value> = runs.collect();
    json!({ "job": "J1", "events": events, "rounds": rounds, "processors": processors, "measured": runs })
}
