//! The command line: what a person types, and what they read.
//!
//! Exit codes: 0, all is well; 1, the job ran and failed, or what was asked for is damaged or not there; 2, the job or
//! the arguments are wrong.

/// Says a line on standard error. That nobody can hear it is no reason to end.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let line = format!($($text)*) + "\n";
        let _ = std::io::stderr().write_all(line.as_bytes());
    }};
}

mod args;
mod checkpoint;
mod cluster;
mod demo;
mod doctor;
mod json;
mod lines;
mod live;
mod mesh;
mod publish;
mod run;
mod show;
mod state;

use crate::engine;
use crate::job::{self, Overrides};
use crate::registry::Registry;
use args::{Arguments, Command, GraphFormat, JobArguments};
use clap::{CommandFactory, Parser};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// The job ran and failed.
const FAILED: u8 = 1;
/// The job or the arguments are wrong.
const WRONG: u8 = 2;

/// Runs the program on the arguments it was given, with these parts.
pub fn main(registry: Registry) -> ExitCode {
    end_with_a_worker();
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(run) => run::run(&run, &registry),
        Command::Cluster(cluster) => cluster::cluster(&cluster, &registry),
        Command::Check { job } => check(&job, &registry),
        Command::Graph { job, format, fields } => graph(&job, format, fields, &registry),
        Command::Checkpoint { what } => checkpoint::checkpoint(&what, &registry),
        Command::State(state) => state::state(&state, &registry),
        Command::Publish(publish) => publish::publish(&publish),
        Command::Demo(demo) => demo::demo(&demo, registry),
        Command::Schema => print(&format!("{:#}\n", job::json_schema(&registry))),
        Command::Manual { file, check } => manual(file.as_deref(), check, &registry),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "eagre", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}

/// A panic of a worker outside of any step leaves the other workers waiting for ever: it ends the process.
fn end_with_a_worker() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        if !engine::is_guarded() && std::thread::current().name().is_some_and(|name| name.starts_with("timely:")) {
            #[allow(clippy::disallowed_methods, reason = "there is nobody left to end it")]
            std::process::exit(101);
        }
    }));
}

/// Reads and plans the job that the arguments name; or says what is wrong.
fn plan(arguments: &JobArguments, registry: &Registry) -> Result<job::Plan, String> {
    let file = arguments.job.display().to_string();
    let text = std::fs::read_to_string(&arguments.job).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "error: {file} cannot be read: {error}\n  \
            help: jobs that ship with eagre are in dataflows/; `eagre demo` needs no file"
        ),
        _ => format!("error: {file} cannot be read: {error}"),
    })?;
    let overrides = arguments.set.iter().fold(Overrides::from_environment(), |overrides, set| overrides.set(set));
    job::plan(&text, &file, &overrides, registry)
        .map_err(|faulty| faulty.render(std::io::stderr().is_terminal() && colour()))
}

fn wrong(what: &str) -> ExitCode {
    say!("{what}");
    ExitCode::from(WRONG)
}

fn check(arguments: &JobArguments, registry: &Registry) -> ExitCode {
    match plan(arguments, registry) {
        Err(what) => wrong(&what),
        Ok(plan) => print(&format!("{} is well: {}\n", arguments.job.display(), show::plan(&plan))),
    }
}

fn graph(arguments: &JobArguments, format: GraphFormat, fields: bool, registry: &Registry) -> ExitCode {
    match plan(arguments, registry) {
        Err(what) => wrong(&what),
        Ok(plan) => print(&match format {
            GraphFormat::Text => job::graph::text(&plan, fields),
            GraphFormat::Mermaid => job::graph::mermaid(&plan, fields),
            GraphFormat::Graphviz => job::graph::graphviz(&plan, fields),
        }),
    }
}

fn manual(file: Option<&std::path::Path>, check: bool, registry: &Registry) -> ExitCode {
    let text = job::manual(registry);
    let Some(file) = file else { return print(&text) };
    if check {
        let there = std::fs::read_to_string(file).unwrap_or_default();
        if there == text {
            return ExitCode::SUCCESS;
        }
        say!("error: {0} is not what the parts say; run `eagre manual {0}`", file.display());
        return ExitCode::from(FAILED);
    }
    match std::fs::write(file, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {} cannot be written: {error}", file.display());
            ExitCode::from(FAILED)
        }
    }
}

/// Prints to standard output, and ends the program.
fn print(text: &str) -> ExitCode {
    put(text).err().unwrap_or(ExitCode::SUCCESS)
}

/// Prints to standard output. When it cannot, the program is to end with that code: a reader that went away has what
/// they wanted, which is not an error.
fn put(text: &str) -> Result<(), ExitCode> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(ExitCode::SUCCESS),
        Err(error) => {
            say!("error: standard output: {error}");
            Err(ExitCode::from(FAILED))
        }
    }
}

/// Whether colour is wanted (see no-color.org).
#[allow(clippy::disallowed_methods, reason = "a terminal's settings come by environment, and reach no result")]
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
