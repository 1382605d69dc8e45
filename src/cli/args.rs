//! What may be typed.

use crate::time::Interval;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;

/// Streaming analytics that give the same answer every time.
///
/// Events flow from Kafka, files or a generator through windows, z-scores and other operators to topics, files or the
/// terminal. A job is one TOML file. Try `eagre demo`, then `eagre run dataflows/quickstart.toml`.
#[derive(Parser)]
#[command(name = "eagre", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand)]
pub enum Command {
    /// Run a job.
    Run(RunArguments),
    /// Run a job in several processes on this machine: when one of them dies, all begin again together.
    Cluster(ClusterArguments),
    /// Check a job file; every fault is shown with its place.
    Check {
        /// Which job.
        #[command(flatten)]
        job: JobArguments,
    },
    /// Draw the graph of a job.
    Graph {
        /// Which job.
        #[command(flatten)]
        job: JobArguments,
        /// How to draw it.
        #[arg(long, value_enum, default_value = "text")]
        format: GraphFormat,
        /// Show the fields that flow along the edges.
        #[arg(long)]
        fields: bool,
    },
    /// See what it does in ten seconds: sensors with hidden faults, and which of them were found.
    Demo(DemoArguments),
    /// Print the JSON Schema of job files, for editors.
    Schema,
    /// Print the reference of job files (or write it to a file, or check that a file is up to date).
    Manual {
        /// The file to write or check.
        file: Option<PathBuf>,
        /// Only say whether the file is up to date.
        #[arg(long)]
        check: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Which job, with which changes.
#[derive(Args)]
pub struct JobArguments {
    /// The job file (TOML).
    pub job: PathBuf,
    /// Override a setting: --set source.readings.topic=metrics (also by environment: EAGRE_SOURCE__READINGS__TOPIC).
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

/// How to run.
#[derive(Args)]
pub struct RunArguments {
    /// Which job.
    #[command(flatten)]
    pub job: JobArguments,
    /// Worker threads (default: what the job says, else the machine's cores).
    #[arg(long, short, env = "EAGRE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// How progress and the summary are shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: StatusFormat,
    /// Whether to draw the live table of steps on standard error: `lag` is how far a watermark is behind the newest,
    /// `queue` what waits, `busy` the part of the time, by the clock, that each worker is at the step.
    #[arg(long, value_enum, default_value = "auto")]
    pub live: When,
    /// Say every five seconds which partition holds the oldest open window, and since when (with --format json every
    /// object does).
    #[arg(long)]
    pub doctor: bool,
    /// Which of several processes this is.
    #[command(flatten)]
    pub mesh: MeshArguments,
}

/// Which of several processes this is, and where the others are.
#[derive(Args)]
pub struct MeshArguments {
    /// How many processes run the job together; start each of them with its own --process.
    #[arg(long, requires = "process", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub processes: Option<u16>,
    /// The number of this process: 0 leads, and writes what is written once.
    #[arg(long, requires = "hosts")]
    pub process: Option<u16>,
    /// Where the processes are reached, in the order of their numbers: a file with a host:port on each line, or the
    /// list itself with commas between.
    #[arg(long, value_name = "FILE|LIST", requires = "process")]
    pub hosts: Option<String>,
    /// How long the other processes may take to come.
    #[arg(long, default_value = "60s", value_parser = interval, value_name = "TIME")]
    pub connect_timeout: Duration,
    /// Let processes be reached over a network. Nothing between them is encrypted and nobody is asked who they are: say
    /// this only where nobody but your own machines can reach them.
    #[arg(long)]
    pub trusted_network: bool,
    /// Stop when standard input ends: `eagre cluster` holds the other end.
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// How to run a job in several processes on this machine.
#[derive(Args)]
pub struct ClusterArguments {
    /// Which job.
    #[command(flatten)]
    pub job: JobArguments,
    /// How many processes.
    #[arg(long, short, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub processes: u16,
    /// Worker threads of each process (default: what the job says, else the machine's cores divided among them).
    #[arg(long, short, env = "EAGRE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// How often in a row all processes begin again before that is given up; a run that was well for a minute counts as
    /// a new row.
    #[arg(long, default_value_t = 5)]
    pub restarts: u32,
}

fn interval(text: &str) -> Result<Duration, String> {
    Interval::parse(text).map(Interval::to_std)
}

/// How to show off.
#[derive(Args)]
pub struct DemoArguments {
    /// The seed of the sensors.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// How many records.
    #[arg(long, default_value_t = 200_000)]
    pub records: u64,
    /// Worker threads.
    #[arg(long, short, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
}

/// How a graph is drawn.
#[derive(Clone, Copy, ValueEnum)]
pub enum GraphFormat {
    /// For the terminal.
    Text,
    /// For Markdown.
    Mermaid,
    /// For `dot`.
    Graphviz,
}

/// How progress and the summary are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Text,
    /// For programs: a JSON object a line on standard error, its `kind` status, stopping, summary or error.
    Json,
}

/// When to do a thing.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless a sink writes to standard output or --doctor does its reports.
    Auto,
    /// Also beside a sink that writes there; standard error has to be a terminal.
    Always,
    /// Never.
    Never,
}
