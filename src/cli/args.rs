//! What may be typed.

use crate::engine::From;
use crate::sink::Size;
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
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
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
    /// List, verify, look at, clear away and copy the checkpoints of a job.
    Checkpoint {
        /// What to do with them.
        #[command(subcommand)]
        what: CheckpointCommand,
    },
    /// Look at what the steps of a job remember, as a checkpoint has it.
    State(StateArguments),
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
    /// With [checkpoint] in the job: which checkpoint to go on from: `latest`, `none` for the beginning, or a number.
    #[arg(long, value_name = "WHICH", default_value = "latest", value_parser = from)]
    pub from: From,
    /// Let a step begin with nothing, whatever the checkpoint has of it (may be given several times).
    #[arg(long, value_name = "STEP")]
    pub reset: Vec<String>,
    /// Leave out what the checkpoint has of steps, sinks and sources that are not in the job, or of a source that reads
    /// other topics or files now.
    #[arg(long)]
    pub skip_missing: bool,
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
    /// Write what is counted to this file every five seconds, as Prometheus' textfile collector reads it (its name has
    /// to end in .prom); process 2 of several writes to NAME-2.prom.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
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
    /// Let process N write what it counts to NAME-N.prom every five seconds, for the textfile collector of Prometheus.
    #[arg(long, value_name = "NAME.prom")]
    pub metrics: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    Interval::parse(text).map(Interval::to_std)
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "latest" => Ok(From::Latest),
        "none" => Ok(From::Nothing),
        number => {
            number.parse().map(From::Id).map_err(|_| "expected `latest`, `none` or the number of a checkpoint".into())
        }
    }
}

/// What can be done with checkpoints.
#[derive(Subcommand)]
pub enum CheckpointCommand {
    /// List them, newest first. Says which files are missing; `verify` reads them.
    List {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Read every file of a checkpoint, or of all, and say what is damaged (exit code 1).
    Verify {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// A checkpoint's number, `latest`, or `all` (the default).
        id: Option<String>,
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show how far the sources were read, what the steps keep and what the sinks hold back.
    Show {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// A checkpoint's number, or `latest` (the default).
        id: Option<String>,
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Clear away all but the newest, and files that none of those names.
    Prune {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// How many to keep.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Copy a checkpoint to a folder of its own, with all its files. The copy is a checkpoint too.
    Export {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// A checkpoint's number, or `latest` (the default).
        id: Option<String>,
        /// The folder, which must be new or empty.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// Where checkpoints are.
#[derive(Args)]
pub struct Place {
    /// The job file (TOML); its `[checkpoint]` says where they are. To be left out with --dir.
    #[arg(required_unless_present = "dir")]
    pub job: Option<PathBuf>,
    /// The folder or the URL (s3://bucket/prefix) that they are in.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Override a setting of the job: --set checkpoint.dir=/mnt/checkpoints.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

/// What to look at.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct StateArguments {
    /// Look at more than one checkpoint or step.
    #[command(subcommand)]
    pub what: Option<StateCommand>,
    /// Which job.
    #[command(flatten)]
    pub job: Option<StateJob>,
    /// The step to look at; without --key, its first rows.
    #[arg(long, conflicts_with = "sql")]
    pub step: Option<String>,
    /// The key, as it is written in results: pump-17; the values of a key of several fields with `/` between them.
    #[arg(long, requires = "step")]
    pub key: Option<String>,
    /// A query; every step that keeps something is a table of its name.
    #[arg(long, value_name = "QUERY")]
    pub sql: Option<String>,
    /// The checkpoint to look into: its number, or `latest`.
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub checkpoint: String,
    /// For people or for programs (an object a line).
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// What can be asked of the state of several checkpoints or steps.
#[derive(Subcommand)]
pub enum StateCommand {
    /// Which keys came, went and changed from one checkpoint to another.
    Diff {
        /// Which job.
        #[command(flatten)]
        job: StateJob,
        /// The one checkpoint: its number, or `latest`.
        a: String,
        /// The other.
        b: String,
        /// Only this step.
        #[arg(long)]
        step: Option<String>,
        /// How many keys of a step are told in full.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// For people or for programs (an object a line, all keys).
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Which steps and keys keep most.
    Top {
        /// Which job.
        #[command(flatten)]
        job: StateJob,
        /// What to go by.
        #[arg(long, value_enum, default_value = "bytes")]
        by: Measure,
        /// How many keys are told.
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// The checkpoint to look into: its number, or `latest`.
        #[arg(long, value_name = "ID", default_value = "latest")]
        checkpoint: String,
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// A job, and where its checkpoints are.
#[derive(Args)]
pub struct StateJob {
    /// The job file (TOML).
    pub job: PathBuf,
    /// The folder or the URL with its checkpoints, where it is not the one that the job names.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Override a setting of the job, as it was overridden when it ran.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

/// What steps and keys are compared by.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// How much they keep.
    Bytes,
    /// How many keys there are.
    Keys,
}

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
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
