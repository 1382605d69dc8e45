//! Makes the tables of `docs/performance.md` and the plots beside it from a record of `benches/runs/`.
//!
//! `report [FILE]` takes the record that is newest by name where none is named. In the document it replaces what is
//! between `<!-- table: NAME -->` and `<!-- end -->`, and nothing else; NAME is `machine`, `bars`, `growth`, `printed`
//! or `case` and a case. `report printed NAME TEXT FILE` puts what another benchmark printed into a record.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

#[allow(dead_code, reason = "windows.rs uses the rest")]
#[path = "support/child.rs"]
mod child;
#[path = "support/plot.rs"]
mod plot;
#[allow(dead_code, reason = "windows.rs uses the rest")]
#[path = "support/record.rs"]
mod record;

use plot::{Bar, Group, chart};
use record::{CaseRecord, Measured, Record};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match &arguments[..] {
        [printed, name, text, file] if printed == "printed" => {
            let mut record = Record::open(Path::new(file))?;
            record.printed.insert(name.clone(), fs::read_to_string(text)?.lines().map(str::to_owned).collect());
            record.save(Path::new(file))
        }
        [file] => report(root, Path::new(file)),
        [] => report(root, &newest(&root.join("benches/runs"))?),
        _ => Err("report [FILE], or report printed NAME TEXT FILE".into()),
    }
}

/// The record that comes last by name, and so by date.
fn newest(folder: &Path) -> Outcome<PathBuf> {
    let files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let records = files.into_iter().filter(|path| path.is_file() && Record::open(path).is_ok());
    records.max().ok_or_else(|| format!("no record in {}", folder.display()).into())
}

fn report(root: &Path, file: &Path) -> Outcome<()> {
    let record = Record::open(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let document = root.join("docs/performance.md");
    fs::write(&document, fill(&fs::read_to_string(&document)?, &record, &name)?)?;
    let plots = root.join("docs/plots");
    fs::create_dir_all(&plots)?;
    fs::write(plots.join("cpu.svg"), cpu(&record))?;
    fs::write(plots.join("throughput.svg"), throughput(&record))?;
    fs::write(plots.join("growth.svg"), growth_plot(&record))?;
    fs::write(plots.join("memory.svg"), memory(&record))?;
    println!("{} and {} from {}", document.display(), plots.display(), file.display());
    Ok(())
}

/// The document with its tables made anew.
fn fill(document: &str, record: &Record, file: &str) -> Outcome<String> {
    let (begin, end) = ("<!-- table: ", "<!-- end -->");
    let mut filled = String::new();
    let mut rest = document;
    while let Some(at) = rest.find(begin) {
        let name_at = at + begin.len();
        let name_end = name_at + rest[name_at..].find(" -->").ok_or("a marker without an end")?;
        let name = &rest[name_at..name_end];
        let stop = name_end + rest[name_end..].find(end).ok_or_else(|| format!("no `{end}` behind {name}"))?;
        let table = match name.split_once(' ') {
            Some(("case", case)) => record.cases.get(case).map(case_table),
            _ if name == "machine" => Some(machine(record, file)),
            _ if name == "bars" => Some(bars(record)),
            _ if name == "growth" => Some(growth(record)),
            _ if name == "printed" => Some(printed(record)),
            _ => return Err(format!("no table `{name}`").into()),
        };
        let table = table.unwrap_or_else(|| "Not measured in this run.\n".to_owned());
        filled += &format!("{}{begin}{name} -->\n\n{table}\n{end}", &rest[..at]);
        rest = &rest[stop + end.len()..];
    }
    Ok(filled + rest)
}

fn machine(record: &Record, file: &str) -> String {
    let of = &record.machine;
    let mut text = format!(
        "{}, {} cores, {} GiB; {}; {}. Raw: [`benches/runs/{file}`](../benches/runs/{file}).\n\n",
        of.processor, of.cores, of.memory_gib, of.system, of.compiler
    );
    text += "| case | what | events | rounds | rows | begun to be told | commit | load before, after |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for (name, case) in &record.cases {
        text += &format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {}, {} |\n",
            case.about,
            thousands(case.events),
            case.rounds,
            thousands(case.rows as u64),
            case.at,
            case.commit,
            case.load[0],
            case.load[1]
        );
    }
    let versions = record.cases.values().flat_map(|case| &case.measured).filter(|of| !of.version.is_empty());
    let mut versions: Vec<String> = versions.map(|of| format!("{} {}", of.program, of.version)).collect();
    versions.sort();
    versions.dedup();
    if !versions.is_empty() {
        text += &format!("\nOther engines: {}.\n", versions.join(", "));
    }
    text
}

fn case_table(case: &CaseRecord) -> String {
    let mut text =
        "| workers | program | CPU ns/event | events/s | peak MB | start-up, CPU ms | eagre's CPU by its |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for of in &case.measured {
        let ours = case.of("eagre", of.workers).map_or(f64::NAN, |ours| case.net_ns(ours));
        text += &format!(
            "| {} | {} | {:.0} | {} | {:.0} | {:.0} | {:.2} |\n",
            of.workers,
            of.program,
            case.net_ns(of),
            millions(case.rate(of)),
            of.peak_mb(),
            of.start_up_s() * 1e3,
            ours / case.net_ns(of)
        );
    }
    text
}

/// A bar of the issue that this file speaks of.
struct Bars {
    work: &'static str,
    bar: f64,
    /// Where there is none, the bar.
    moonshot: f64,
    unit: Unit,
    measured: fn(&Record) -> Option<f64>,
    /// The case whose other programs are named beside it.
    beside: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Less is better.
    Nanoseconds,
    /// Less is better.
    Times,
    /// Less is better.
    Megabytes,
    /// More is better.
    Rate,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds => format!("{value:.0} ns"),
            Unit::Times => format!("{value:.2} x"),
            Unit::Megabytes => format!("{value:.0} MB"),
            Unit::Rate => format!("{}/s", millions(value)),
        }
    }
}

const BARS: [Bars; 13] = [
    Bars::new("J1, 1,000 sensors, CPU an event", Unit::Nanoseconds, [150.0, 90.0], "j1", |r| net(r, "j1")),
    Bars::new("J1, 10,000 sensors", Unit::Nanoseconds, [200.0, 140.0], "j1-10k", |r| net(r, "j1-10k")),
    Bars::new("J1 on 2 cores, one file or two", Unit::Rate, [11e6, 18e6], "", best_rate),
    Bars::new("J1p by J1", Unit::Times, [1.3, 1.1], "j1p", |r| by_j1(r, "j1p")),
    Bars::new("J2 by J1", Unit::Times, [1.3, 1.1], "j2", |r| by_j1(r, "j2")),
    Bars::new("J3 by J1", Unit::Times, [1.3, 1.1], "j3", |r| by_j1(r, "j3")),
    Bars::new("J1 from Parquet, by a core", Unit::Rate, [10e6, 20e6], "parquet", |r| Some(1e9 / net(r, "parquet")?)),
    Bars::new("J1 from Parquet by DuckDB's", Unit::Times, [1.0, 1.0], "", parquet_by_duckdb),
    Bars::new("1,000,000 sensors in one window", Unit::Megabytes, [1000.0, 300.0], "", million_mb),
    Bars::new("lines of four shapes in turn, by J1", Unit::Times, [1.5, 1.2], "shapes", |r| by_j1(r, "shapes")),
    Bars::new("every 20th line unlike all others, by J1", Unit::Times, [1.5, 1.2], "odd", |r| by_j1(r, "odd")),
    Bars::new("any number of events, by J1: the farthest", Unit::Times, [1.2, 1.2], "", farthest),
    Bars::new("1,000,000 sensors by 1,000", Unit::Times, [2.5, 2.5], "keys/1m", |r| by_j1(r, "keys/1m")),
];

impl Bars {
    const fn new(
        work: &'static str,
        unit: Unit,
        [bar, moonshot]: [f64; 2],
        beside: &'static str,
        measured: fn(&Record) -> Option<f64>,
    ) -> Bars {
        Bars { work, bar, moonshot, unit, measured, beside }
    }
}

/// A program with one worker in a case.
fn of<'a>(record: &'a Record, case: &str, program: &str) -> Option<(&'a CaseRecord, &'a Measured)> {
    let case = record.cases.get(case)?;
    Some((case, case.of(program, 1)?))
}

/// What an event costs eagre.
fn net(record: &Record, case: &str) -> Option<f64> {
    of(record, case, "eagre").map(|(case, ours)| case.net_ns(ours))
}

fn by_j1(record: &Record, case: &str) -> Option<f64> {
    Some(net(record, case)? / net(record, "j1")?)
}

fn best_rate(record: &Record) -> Option<f64> {
    let j1 = record.cases.get("j1")?;
    let ours = j1.measured.iter().filter(|of| of.program.starts_with("eagre"));
    ours.map(|of| j1.rate(of)).max_by(f64::total_cmp)
}

fn parquet_by_duckdb(record: &Record) -> Option<f64> {
    let (case, theirs) = of(record, "parquet", "duckdb")?;
    Some(net(record, "parquet")? / case.net_ns(theirs))
}

fn million_mb(record: &Record) -> Option<f64> {
    of(record, "million", "eagre").map(|(_, ours)| ours.peak_mb())
}

/// How many times more, or less, than in J1 an event costs where there are more or fewer of them.
fn farthest(record: &Record) -> Option<f64> {
    let sizes = ["growth/fifth", "growth/4x", "growth/20x"].iter().filter_map(|case| by_j1(record, case));
    sizes.map(|by| by.max(1.0 / by)).reduce(f64::max)
}

fn bars(record: &Record) -> String {
    let mut text = "| work | bar | moonshot | measured | | beside it, CPU ns/event |\n".to_owned();
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for bar in BARS {
        let measured = (bar.measured)(record);
        let verdict = measured.map_or("not measured".to_owned(), |value| verdict(&bar, value));
        let beside = record.cases.get(bar.beside).map(|case| {
            let one = case.measured.iter().filter(|of| of.workers == 1);
            let each: Vec<String> = one.map(|of| format!("{} {:.0}", of.program, case.net_ns(of))).collect();
            each.join(", ")
        });
        text += &format!(
            "| {} | {} {} | {} | {} | {verdict} | {} |\n",
            bar.work,
            if bar.unit == Unit::Rate { ">=" } else { "<=" },
            bar.unit.write(bar.bar),
            if bar.moonshot == bar.bar { String::new() } else { bar.unit.write(bar.moonshot) },
            measured.map_or(String::new(), |value| bar.unit.write(value)),
            beside.unwrap_or_default()
        );
    }
    text
}

fn verdict(bar: &Bars, value: f64) -> String {
    // How many times the bar it costs.
    let by = |limit: f64| if bar.unit == Unit::Rate { limit / value } else { value / limit };
    if by(bar.moonshot) <= 1.0 && bar.moonshot != bar.bar {
        "**moonshot**".to_owned()
    } else if by(bar.bar) <= 1.0 {
        "met".to_owned()
    } else {
        format!("missed: {:.2} x the bar", by(bar.bar))
    }
}

/// The sizes of growth, in order: by events, then by sensors.
const GROWTH: [&str; 7] = ["growth/fifth", "j1", "growth/4x", "growth/20x", "j1-10k", "keys/100k", "keys/1m"];

fn growth(record: &Record) -> String {
    let mut text =
        "| events | sensors | rows | eagre, CPU ns/event | by hand, CPU ns/event | eagre by hand | eagre, peak MB |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for name in GROWTH.into_iter().chain(["million"]) {
        let (Some((case, ours)), Some((_, hand))) = (of(record, name, "eagre"), of(record, name, "floor:hand")) else {
            continue;
        };
        text += &format!(
            "| {} | {} | {} | {:.0} | {:.0} | {:.2} | {:.0} |\n",
            thousands(case.events),
            if name == "million" { "1,000,000 in one window".to_owned() } else { thousands(case.keys as u64) },
            thousands(case.rows as u64),
            case.net_ns(ours),
            case.net_ns(hand),
            case.net_ns(ours) / case.net_ns(hand),
            ours.peak_mb()
        );
    }
    text
}

fn printed(record: &Record) -> String {
    let blocks = record.printed.iter().map(|(name, lines)| {
        format!("### `{name}`\n\n`scripts/bench {name}`\n\n```text\n{}\n```\n", lines.join("\n").trim())
    });
    blocks.collect::<Vec<String>>().join("\n")
}

/// The bars of a case's programs with so many workers.
fn group(case: &CaseRecord, workers: usize, title: String, of: impl Fn(&Measured) -> (f64, String)) -> Group {
    let measured = case.measured.iter().filter(|measured| measured.workers == workers);
    let bars = measured.map(|measured| {
        let (value, text) = of(measured);
        Bar { program: measured.program.clone(), value, text }
    });
    Group { title, bars: bars.collect() }
}

fn cpu(record: &Record) -> String {
    let cases = ["j1", "j1-10k", "j1p", "j2", "j3", "parquet"].map(|name| record.cases.get(name));
    let groups = cases
        .iter()
        .flatten()
        .map(|case| group(case, 1, case.about.clone(), |of| (case.net_ns(of), format!("{:.0} ns", case.net_ns(of)))));
    chart("CPU time an event, of all threads (less is better)", &groups.collect::<Vec<_>>())
}

fn throughput(record: &Record) -> String {
    let cases = ["j1", "parquet"].map(|name| record.cases.get(name));
    let groups = cases.iter().flatten().map(|case| {
        let title = format!("{}, two workers", case.about);
        group(case, 2, title, |of| (case.rate(of), format!("{}/s", millions(case.rate(of)))))
    });
    chart("Events a second, start-up included (more is better)", &groups.collect::<Vec<_>>())
}

fn growth_plot(record: &Record) -> String {
    let cases = GROWTH.map(|name| record.cases.get(name));
    let groups = cases.iter().flatten().map(|case| {
        let title = format!("{} events, {} sensors", thousands(case.events), thousands(case.keys as u64));
        let mut group = group(case, 1, title, |of| (case.net_ns(of), format!("{:.0} ns", case.net_ns(of))));
        group.bars.retain(|bar| bar.program == "eagre" || bar.program == "floor:hand");
        group
    });
    chart("CPU time an event as work grows (less is better)", &groups.collect::<Vec<_>>())
}

fn memory(record: &Record) -> String {
    let cases = ["j1", "j1-10k", "keys/1m", "million"].map(|name| record.cases.get(name));
    let groups = cases
        .iter()
        .flatten()
        .map(|case| group(case, 1, case.about.clone(), |of| (of.peak_mb(), format!("{:.0} MB", of.peak_mb()))));
    chart("The most memory that the process held (less is better)", &groups.collect::<Vec<_>>())
}

/// `12.3 M`.
fn millions(value: f64) -> String {
    format!("{:.2} M", value / 1e6)
}

/// `5,000,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}
