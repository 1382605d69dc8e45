//! The jobs of the comparison with other engines through the whole program, beside floors and peers in the same run.
//!
//! `windows [CASE...] [--events 5000000] [--rounds 5] [--data FOLDER] [--peers PYTHON] [--record FILE]`, which
//! `scripts/bench` starts. A case (support/cases.rs) is a job over events of W1 (support/w1.rs), which are made once.
//! In every round one program after another does it, each a process of its own, so that a slow moment of the machine
//! falls on all: `eagre run` of a job in support/, the floor programs (support/floor.rs), and the peers (peers/) whose
//! packages `PYTHON` has. Then their answers are compared (support/answers.rs); a case whose answers differ is told and
//! not recorded, the others go on, and the end is an error.
//!
//! *net* is without start-up: the same with 1,000 events is taken off. CPU is of all threads of the process; the
//! engine's one worker has a reader and a decoding pool beside it, so compare CPU, not wall, with the one thread of the
//! floor.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/cases.rs"]
mod cases;
#[path = "support/child.rs"]
mod child;
#[path = "support/floor.rs"]
mod floor;
#[path = "support/read.rs"]
mod read;
#[path = "support/record.rs"]
mod record;
#[path = "support/w1.rs"]
mod w1;

use cases::{CASES, Case, PEERS, Peer, Program};
use child::measure;
use record::{CaseRecord, Measured, Record};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Events of the run that is nothing but start-up.
const FEW: u64 = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [floor, job, name, output, inputs @ ..] if floor == "floor" => {
            let parser = cases::parser(name).ok_or("a floor program")?;
            let inputs: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
            Ok(floor::run(job, parser, Path::new(output), &inputs)?)
        }
        [compare, rows, outputs @ ..] if compare == "compare" => {
            let outputs: Vec<PathBuf> = outputs.iter().map(PathBuf::from).collect();
            Ok(fs::write(rows, answers::compare(&outputs)?.to_string())?)
        }
        [verb, name, events, folder] if verb == "make" => {
            let case = CASES.iter().find(|case| case.name == name).ok_or("a case")?;
            make(case, events.parse()?, Path::new(folder))
        }
        [list] if list == "--list" => {
            CASES.iter().for_each(|case| println!("{:<14} {}", case.name, case.about));
            Ok(())
        }
        _ => all(&Settings::read(&arguments)?),
    }
}

/// What is asked for.
struct Settings {
    cases: Vec<Case>,
    events: u64,
    rounds: usize,
    data: PathBuf,
    python: PathBuf,
    /// The versions of the peers that are there.
    peers: BTreeMap<Peer, String>,
    record: Option<PathBuf>,
}

impl Settings {
    fn read(arguments: &[String]) -> Outcome<Settings> {
        let mut names = Vec::new();
        let mut options: BTreeMap<&str, &str> = BTreeMap::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(option) => options.insert(option, arguments.next().ok_or(format!("a value for --{option}"))?),
                None => {
                    names.push(argument.as_str());
                    None
                }
            };
        }
        if let Some(unknown) = names.iter().find(|name| !CASES.iter().any(|case| case.is_meant(name))) {
            return Err(format!("no case `{unknown}`; `--list` shows them").into());
        }
        let names = if names.is_empty() { vec!["j1"] } else { names };
        let data = options.get("data").map(PathBuf::from);
        let data = data.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench-data"));
        // Absolute, because Bytewax runs in another folder; without following links, or a venv would be none.
        let python = options.get("peers").map(std::path::absolute).transpose()?.unwrap_or_default();
        Ok(Settings {
            cases: CASES.into_iter().filter(|case| names.iter().any(|name| case.is_meant(name))).collect(),
            events: options.get("events").map_or(Ok(5_000_000), |text| text.parse())?,
            rounds: options.get("rounds").map_or(Ok(5), |text| text.parse())?,
            data: std::path::absolute(data)?,
            peers: if options.contains_key("peers") { installed(&python) } else { BTreeMap::new() },
            python,
            record: options.get("record").map(PathBuf::from),
        })
    }
}

/// The peers that a Python has, with their versions.
fn installed(python: &Path) -> BTreeMap<Peer, String> {
    let version = |package: &str| {
        let script = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))";
        record::said(&python.display().to_string(), &["-c", script, package])
    };
    let versions = PEERS.map(|(peer, package)| (peer, package, version(package))).into_iter();
    let found = versions.filter_map(|(peer, package, version)| {
        if version.is_empty() {
            eprintln!("{package} is not installed for {}: left out", python.display());
        }
        (!version.is_empty()).then_some((peer, version))
    });
    found.collect()
}

fn all(settings: &Settings) -> Outcome<()> {
    fs::create_dir_all(&settings.data)?;
    let mut failed = Vec::new();
    for case in &settings.cases {
        match one(case, settings) {
            Ok(record) => {
                print(&record);
                if let Some(path) = &settings.record {
                    let mut all = Record::open(path)?;
                    all.cases.insert(case.name.to_owned(), record);
                    all.save(path)?;
                }
            }
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                failed.push(case.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// Measures a case.
fn one(case: &Case, settings: &Settings) -> Outcome<CaseRecord> {
    let data = case.data(settings.events);
    let (full, few) = (files(case, settings, data.events)?, files(case, settings, FEW)?);
    let before = record::load();
    let mut measured: Vec<Measured> = Vec::new();
    let mut rows = 0;
    for round in 0..settings.rounds {
        for workers in case.workers.iter().copied() {
            let programs = case.programs(workers, |peer| settings.peers.contains_key(&peer));
            let mut outputs = Vec::new();
            for program in programs {
                let output = settings.data.join(format!("out-{}-{workers}.jsonl", program.name().replace(':', "-")));
                let run = |files: &w1::Files| -> io::Result<child::Usage> {
                    let parts = workers > 1 && program.reads_parts();
                    let inputs: Vec<&Path> =
                        if parts { files.parts.iter().map(PathBuf::as_path).collect() } else { vec![&files.whole] };
                    measure(&mut program.command(case, workers, &inputs, &output, &settings.python)?)
                };
                let at = place(&mut measured, program, workers, settings);
                measured[at].start_up.push(run(&few)?);
                measured[at].runs.push(run(&full)?);
                outputs.push(output);
            }
            rows = compare(&settings.data, &outputs)?;
        }
        eprintln!("{}: round {} of {}", case.name, round + 1, settings.rounds);
    }
    Ok(CaseRecord {
        about: case.about.to_owned(),
        job: case.job.to_owned(),
        events: data.events,
        keys: case.keys,
        rounds: settings.rounds,
        few: FEW,
        at: now(),
        commit: record::said("git", &["describe", "--always", "--dirty"]),
        load: [before, record::load()],
        rows,
        measured,
    })
}

/// The files of a case, made where they are not there, and in the page cache. By a process of its own: a child begins
/// with its parent's peak of memory, which must stay small.
fn files(case: &Case, settings: &Settings, events: u64) -> Outcome<w1::Files> {
    let mut make = Command::new(std::env::current_exe()?);
    measure(make.args(["make", case.name, &events.to_string()]).arg(&settings.data))?;
    let extension = if case.parquet { "parquet" } else { "jsonl" };
    Ok(w1::Files::of(&settings.data, w1::Data { events, ..case.data(0) }, extension))
}

/// What that process does.
fn make(case: &Case, events: u64, folder: &Path) -> Outcome<()> {
    let data = w1::Data { events, ..case.data(0) };
    let lines = w1::generate(folder, data)?;
    let rows = w1::Files::of(folder, data, "parquet");
    let [lines, rows] = [lines, rows].map(|files| {
        let parts = files.parts.into_iter().filter(|_| data.parts);
        std::iter::once(files.whole).chain(parts).collect::<Vec<PathBuf>>()
    });
    for (lines, rows) in lines.iter().zip(&rows).filter(|(_, rows)| case.parquet && !rows.exists()) {
        let new = rows.with_extension("new.parquet");
        measure(&mut cases::eagre("parquet.toml", 1, &[lines], &new))?;
        fs::rename(new, rows)?;
    }
    for path in if case.parquet { rows } else { lines } {
        io::copy(&mut fs::File::open(path)?, &mut io::sink())?;
    }
    Ok(())
}

/// Where the runs of a program are kept.
fn place(measured: &mut Vec<Measured>, program: Program, workers: usize, settings: &Settings) -> usize {
    let name = program.name();
    let found = measured.iter().position(|known| known.program == name && known.workers == workers);
    found.unwrap_or_else(|| {
        let version = match program {
            Program::Peer(peer) => settings.peers.get(&peer).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        measured.push(Measured { program: name, version, workers, runs: Vec::new(), start_up: Vec::new() });
        measured.len() - 1
    })
}

/// Compares answers, in a process of its own too.
fn compare(folder: &Path, outputs: &[PathBuf]) -> Outcome<usize> {
    let rows = folder.join("rows");
    measure(Command::new(std::env::current_exe()?).arg("compare").arg(&rows).args(outputs))?;
    Ok(fs::read_to_string(rows)?.parse()?)
}

fn now() -> String {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    eagre::time::format(time.as_secs() as i64 * 1_000_000)
}

fn print(case: &CaseRecord) {
    println!(
        "{}; {} events, {} rows, medians of {} rounds; load {} to {}",
        case.about, case.events, case.rows, case.rounds, case.load[0], case.load[1]
    );
    println!("workers program            wall s   CPU s  net CPU ns/event  events/s   peak MB  CPU: eagre is x of it");
    for measured in &case.measured {
        let ours = case.of("eagre", measured.workers).map_or(f64::NAN, |ours| case.net_ns(ours));
        println!(
            "{:>7} {:<17} {:>7.3} {:>7.3} {:>17.1} {:>9.0} {:>9.1} {:>20.2}",
            measured.workers,
            measured.program,
            measured.wall_s(),
            measured.cpu_s(),
            case.net_ns(measured),
            case.rate(measured),
            measured.peak_mb(),
            ours / case.net_ns(measured)
        );
    }
    println!();
}
