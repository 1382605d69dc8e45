//! What may be typed.

use crate::sinks::file::Size;
use crate::time::Interval;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

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
    /// Send lines from standard input to a Kafka topic; what cannot be sent now waits on disk.
    ///
    /// Every line is on disk before it is sent, and leaves it when the brokers have it: a broker that is away, a full
    /// queue, a killed process lose nothing. What is left is sent first by the next `eagre publish` of the topic, or by
    /// `eagre publish TOPIC --drain`. Lines may arrive twice after a crash; within a run none does.
    Publish(PublishArguments),
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
}

/// What to publish, where, and how to wait.
#[derive(Args)]
pub struct PublishArguments {
    /// The topic, which must be there.
    pub topic: String,
    /// Brokers: host:port, one or several with commas (default: those of --cluster, else localhost:9092).
    #[arg(long, value_name = "HOST:PORT,...", env = "EAGRE_BROKERS")]
    pub brokers: Option<String>,
    /// A file (TOML) with `brokers`, `security` and `properties`, as in a job's `kafka` sink.
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// The field of a JSON line that is the message's key. A line that has none goes without, and is counted.
    #[arg(long, value_name = "FIELD")]
    pub key: Option<String>,
    /// Where lines wait; each topic has a folder of its own in it.
    #[arg(long, value_name = "DIR", default_value = "eagre-data/spool")]
    pub spool: PathBuf,
    /// How much may wait. When it is full and nothing can be sent, publishing fails and says how much was taken.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = Size::parse)]
    pub spool_max: Size,
    /// A longer line is not taken, nor what comes behind it.
    #[arg(long, value_name = "SIZE", default_value = "1MB", value_parser = Size::parse)]
    pub line_max: Size,
    /// How long to wait for brokers that take nothing, when the input has ended and lines are left.
    #[arg(long, value_name = "INTERVAL", default_value = "1m", value_parser = Interval::parse)]
    pub wait: Interval,
    /// Read no input: send what is left.
    #[arg(long)]
    pub drain: bool,
    /// Skip what is damaged in the spool, and count it.
    #[arg(long)]
    pub skip_damaged: bool,
    /// How progress and the summary are shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: StatusFormat,
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
