//! What was measured, as `benches/runs/DATE-MACHINE.json` keeps it (format 1), and the figures that follow from it.
//!
//! ```text
//! format     1
//! machine    { processor, cores, memory_gib, system, compiler }
//! cases      by name: { about, job, events, keys, rounds, few, at, commit, load, rows, measured: [
//!                { program, version, workers, runs: [{ wall_s, user_s, system_s, rss_max_mb }], start_up: [...] } ] }
//! printed    by name: what another benchmark printed, line by line
//! ```
//!
//! `start_up` are runs of the same program with `few` events. A case that is measured again takes the place of what was
//! there; all else stays, so a file can be made in several goes.

use super::child::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

const FORMAT: u32 = 1;

/// A file of measurements.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// 1.
    pub format: u32,
    /// Where they were made.
    pub machine: Machine,
    /// By name.
    pub cases: BTreeMap<String, CaseRecord>,
    /// What other benchmarks printed, by name.
    #[serde(default)]
    pub printed: BTreeMap<String, Vec<String>>,
}

/// Where measurements were made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    /// As /proc/cpuinfo has it.
    pub processor: String,
    /// That a program may use.
    pub cores: usize,
    /// Of the machine.
    pub memory_gib: f64,
    /// Kernel and architecture.
    pub system: String,
    /// The version of rustc.
    pub compiler: String,
}

/// The measurements of one case.
#[derive(Debug, Serialize, Deserialize)]
pub struct CaseRecord {
    /// What it is.
    pub about: String,
    /// The job: j1, j1p, j2, j3.
    pub job: String,
    /// In a full run.
    pub events: u64,
    /// How many sensors they are of.
    pub keys: usize,
    /// How often each program ran.
    pub rounds: usize,
    /// Events of a run that is nothing but start-up.
    pub few: u64,
    /// When, in UTC.
    pub at: String,
    /// Of eagre.
    pub commit: String,
    /// Programs that wanted a core, on average over the minute before the case and its last one.
    pub load: [f64; 2],
    /// Rows of the answer.
    pub rows: usize,
    /// By program and workers.
    pub measured: Vec<Measured>,
}

/// The runs of one program with so many workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub program: String,
    /// Its version, where it is not built here.
    pub version: String,
    /// Worker threads; as many part files.
    pub workers: usize,
    /// Of all events.
    pub runs: Vec<Usage>,
    /// Of a few events.
    pub start_up: Vec<Usage>,
}

impl Record {
    /// Reads a file, or begins a new record where there is none.
    pub fn open(path: &Path) -> Result<Record, Box<dyn Error>> {
        if !path.exists() {
            let (cases, printed) = (BTreeMap::new(), BTreeMap::new());
            return Ok(Record { format: FORMAT, machine: Machine::here(), cases, printed });
        }
        let record: Record = serde_json::from_str(&fs::read_to_string(path)?)
            .map_err(|error| format!("{} is no record of format {FORMAT}: {error}", path.display()))?;
        Ok(record)
    }

    /// Writes the file.
    pub fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

impl Machine {
    fn here() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let processor = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kib =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
        Machine {
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.map_or(0.0, |kib: f64| (kib / 1048576.0 * 10.0).round() / 10.0),
            system: said("uname", &["-s", "-r", "-m"]),
            compiler: said("rustc", &["--version"]),
        }
    }
}

/// What a program prints, in one line.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Programs that wanted a core, on average over the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

impl CaseRecord {
    /// The runs of a program.
    pub fn of(&self, program: &str, workers: usize) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.program == program && measured.workers == workers)
    }

    /// Processor time an event in ns, without start-up.
    pub fn net_ns(&self, of: &Measured) -> f64 {
        (of.cpu_s() - of.start_up_s()) * 1e9 / (self.events - self.few) as f64
    }

    /// Events a second, start-up included.
    pub fn rate(&self, of: &Measured) -> f64 {
        self.events as f64 / of.wall_s()
    }
}

impl Measured {
    /// From start to end.
    pub fn wall_s(&self) -> f64 {
        median(&self.runs, |run| run.wall_s)
    }

    /// Of all threads.
    pub fn cpu_s(&self) -> f64 {
        median(&self.runs, Usage::cpu_s)
    }

    /// Processor time of a run with few events.
    pub fn start_up_s(&self) -> f64 {
        median(&self.start_up, Usage::cpu_s)
    }

    /// The most memory held.
    pub fn peak_mb(&self) -> f64 {
        median(&self.runs, |run| run.rss_max_mb)
    }
}

fn median(runs: &[Usage], of: impl Fn(&Usage) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
