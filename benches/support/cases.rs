//! The cases of `windows.rs`: which job over which events, by which programs; and how each program is started.
//!
//! **J1**: tumbling 10 s for each sensor: count, sum, min, max, mean, population stddev. **J1p**: and exact percentiles
//! 50, 95, 99. **J2**: J1 over hopping windows of 60 s every 5 s. **J3**: the values that are more than 4.39 deviations
//! from the mean of the 99 before them, in event time.

use super::answers;
use super::read::{PARSERS, Parser};
use super::w1::{Data, Variant};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured together.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name on the command line; what has a `/` in it is also chosen by what is before it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// j1, j1p, j2 or j3.
    pub job: &'static str,
    /// The job file of eagre.
    pub file: &'static str,
    /// How events come and are written.
    pub variant: Variant,
    /// How many sensors.
    pub keys: usize,
    /// How many times the events that were asked for: this divided by that.
    pub times: (u64, u64),
    /// Numbers of workers; two read the two part files.
    pub workers: &'static [usize],
    /// Whether the events are read from Parquet.
    pub parquet: bool,
    /// Floor programs.
    pub floors: &'static [Parser],
    /// Other engines.
    pub peers: &'static [Peer],
    /// Whether `all` means this too.
    pub in_all: bool,
}

const J1: Case = Case {
    name: "j1",
    about: "J1, 1,000 sensors",
    job: "j1",
    file: "j1.toml",
    variant: Variant::Plain,
    keys: 1_000,
    times: (1, 1),
    workers: &[1, 2],
    parquet: false,
    floors: &[Parser::Hand, Parser::Serde],
    peers: &[Peer::DuckDb, Peer::Polars, Peer::Bytewax],
    in_all: true,
};

/// One worker; without the slowest of the peers.
const ONE: Case = Case { workers: &[1], peers: &[Peer::DuckDb, Peer::Polars], ..J1 };

/// One worker beside the hand-written program alone: eagre is compared with itself at another size.
const GROWTH: Case = Case { workers: &[1], floors: &[Parser::Hand], peers: &[], ..J1 };

/// All cases, in the order in which they are measured.
pub const CASES: [Case; 14] = [
    J1,
    Case { name: "j1-10k", about: "J1, 10,000 sensors", keys: 10_000, ..ONE },
    Case { name: "j1p", about: "J1 with exact percentiles", job: "j1p", file: "j1p.toml", ..ONE },
    Case { name: "j2", about: "J2: windows of 60 s every 5 s", job: "j2", file: "j2.toml", ..ONE },
    Case { name: "j3", about: "J3: the last values of each sensor", job: "j3", file: "j3.toml", ..ONE },
    Case {
        name: "parquet",
        about: "J1 from Parquet",
        file: "j1_parquet.toml",
        parquet: true,
        floors: &[Parser::Arrow],
        peers: &[Peer::DuckDb, Peer::Polars],
        ..J1
    },
    Case {
        name: "shapes",
        about: "J1, lines of four shapes in turn",
        variant: Variant::Shapes,
        floors: &[Parser::Serde],
        ..GROWTH
    },
    Case {
        name: "odd",
        about: "J1, every 20th line unlike all others",
        variant: Variant::Odd,
        floors: &[Parser::Serde],
        ..GROWTH
    },
    Case { name: "growth/fifth", about: "J1, a fifth of the events", times: (1, 5), ..GROWTH },
    Case { name: "growth/4x", about: "J1, four times the events", times: (4, 1), ..GROWTH },
    Case { name: "growth/20x", about: "J1, twenty times the events", times: (20, 1), in_all: false, ..GROWTH },
    Case { name: "keys/100k", about: "J1, 100,000 sensors", keys: 100_000, ..GROWTH },
    Case { name: "keys/1m", about: "J1, 1,000,000 sensors", keys: 1_000_000, ..GROWTH },
    Case {
        name: "million",
        about: "J1, 1,000,000 sensors in one window",
        variant: Variant::Crowd,
        keys: 1_000_000,
        ..GROWTH
    },
];

impl Case {
    /// The events of this case where so many were asked for.
    pub fn data(&self, events: u64) -> Data {
        let parts = self.workers.iter().any(|workers| *workers > 1);
        Data { variant: self.variant, keys: self.keys, events: events * self.times.0 / self.times.1, parts }
    }

    /// Whether a name on the command line means this case.
    pub fn is_meant(&self, name: &str) -> bool {
        let group = self.name.split_once('/').is_some_and(|(group, _)| group == name);
        self.name == name || (self.in_all && (group || name == "all"))
    }

    /// Who does it with so many workers, in order; of the peers those that `are_there`.
    pub fn programs(&self, workers: usize, are_there: impl Fn(Peer) -> bool) -> Vec<Program> {
        let mut programs = vec![Program::Eagre];
        programs.extend((workers > 1).then_some(Program::EagreOneFile));
        programs.extend(self.floors.iter().map(|parser| Program::Floor(*parser)));
        let peers = self.peers.iter().filter(|peer| workers == 1 || **peer != Peer::Bytewax);
        programs.extend(peers.filter(|peer| are_there(**peer)).map(|peer| Program::Peer(*peer)));
        programs
    }
}

/// Another engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    /// DuckDB.
    DuckDb,
    /// Polars.
    Polars,
    /// Bytewax: J1 by one worker, because its second is a process of its own.
    Bytewax,
}

/// The peers and the names of their packages.
pub const PEERS: [(Peer, &str); 3] = [(Peer::DuckDb, "duckdb"), (Peer::Polars, "polars"), (Peer::Bytewax, "bytewax")];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// Ours.
    Eagre,
    /// Ours with all workers, from one file.
    EagreOneFile,
    /// A program that does nothing but this job.
    Floor(Parser),
    /// Another engine.
    Peer(Peer),
}

impl Program {
    /// Its name in tables and records.
    pub fn name(self) -> String {
        match self {
            Program::Eagre => "eagre".to_owned(),
            Program::EagreOneFile => "eagre:one-file".to_owned(),
            Program::Floor(parser) => {
                format!("floor:{}", PARSERS.iter().find(|(known, _)| *known == parser).map_or("", |(_, name)| name))
            }
            Program::Peer(peer) => {
                PEERS.iter().find(|(known, _)| *known == peer).map_or("", |(_, name)| name).to_owned()
            }
        }
    }

    /// Whether it reads the part files when there is more than one worker.
    pub fn reads_parts(self) -> bool {
        matches!(self, Program::Eagre | Program::Floor(_))
    }

    /// The command that does a job over some files.
    pub fn command(
        self,
        case: &Case,
        workers: usize,
        inputs: &[&Path],
        output: &Path,
        python: &Path,
    ) -> io::Result<Command> {
        for file in answers::files(output).into_iter().filter(|file| file.exists()) {
            fs::remove_file(file)?;
        }
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        Ok(match self {
            Program::Eagre | Program::EagreOneFile => eagre(case.file, workers, inputs, output),
            Program::Floor(_) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["floor", case.job, &self.name()]).arg(output).args(inputs);
                command
            }
            Program::Peer(Peer::Bytewax) => {
                let mut command = Command::new(python);
                command.args(["-m", "bytewax.run", "with_bytewax.py:flow"]).current_dir(peers);
                command.env("W1_IN", inputs[0]).env("W1_OUT", output);
                command
            }
            Program::Peer(_) => {
                let mut command = Command::new(python);
                command.arg(peers.join(format!("with_{}.py", self.name())));
                command.args([case.job, &workers.to_string()]).arg(output).args(inputs);
                command
            }
        })
    }
}

/// The parser of a floor program's name.
pub fn parser(name: &str) -> Option<Parser> {
    PARSERS.iter().find(|(_, known)| name.strip_prefix("floor:") == Some(known)).map(|(parser, _)| *parser)
}

/// The command that runs a job of benches/support/.
pub fn eagre(job: &str, workers: usize, inputs: &[&Path], output: &Path) -> Command {
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support").join(job);
    let paths: Vec<String> = inputs.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
    let folder: PathBuf = output.parent().map(Path::to_owned).unwrap_or_default();
    let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
    command.arg("run").arg(job).args(["--workers", &workers.to_string(), "--live", "never"]);
    command.args(["--set", &format!("source.readings.path=[{}]", paths.join(","))]);
    command.args(["--set", &format!("sink.rows.path={}", output.display())]);
    command.args(["--set", &format!("data_dir={}", folder.display())]);
    command
}
