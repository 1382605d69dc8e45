//! Chaos: a job that reads Kafka and writes Kafka is killed, cut off, held and doubled, again and again, and what it
//! wrote in the end must be what it would have written in peace. Nothing lost, nothing twice, nothing out of order.
//!
//! `scripts/chaos` runs it; `docs/survival.md` says what is shown. Without arguments it is a test among others: 20
//! kills, on the broker that `EAGRE_KAFKA` names.
//!
//! | file | |
//! | --- | --- |
//! | `modes` | what is done to the job |
//! | `trial` `scene` | feeding it, disturbing it, judging it |
//! | `feed` | the input |
//! | `program` | the job as a process that can be killed |
//! | `proxy` | a connection that can be cut |
//! | `ledger` `tail` | what came out |

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may look at clocks and may panic")]

#[allow(dead_code, reason = "the tests in tests/it use the rest")]
#[path = "../it/broker.rs"]
mod broker;
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
#[path = "../it/kafka/cluster.rs"]
mod cluster;
mod feed;
#[path = "../../examples/gapless.rs"]
mod gapless;
mod ledger;
mod modes;
mod program;
mod proxy;
mod scene;
mod tail;
mod trial;

use clap::Parser;
use modes::Mode;
use std::env;
use std::process::ExitCode;
use trial::{Outcome, Stage, Terms, trial};

/// Disturbs a job and shows that nothing is lost and nothing comes twice.
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// How often the job is disturbed, in each mode.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// What is done to it; several, with commas between.
    #[arg(long, value_enum, value_delimiter = ',')]
    mode: Vec<Mode>,
    /// What is random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages a second.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// What the sinks promise: with "at_least_once" the ledger has to find doubled rows.
    #[arg(long, default_value = "exactly_once")]
    delivery: String,
    /// Sets something in the job that is disturbed, as `eagre run --set` does.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// As a test among others: a name that is searched for.
    #[arg(hide = true)]
    filter: Option<String>,
}

fn main() -> ExitCode {
    if env::var_os(program::AS_PROGRAM).is_some() {
        return gapless::main();
    }
    let arguments = Arguments::parse();
    if arguments.filter.as_deref().is_some_and(|filter| !"chaos".contains(filter)) {
        return ExitCode::SUCCESS;
    }
    ledger::prove();
    let stages: Vec<(Mode, Option<Stage>)> = match arguments.mode.is_empty() {
        true => match cluster::real("chaos") {
            Some(brokers) => vec![(Mode::Kill, Some(Stage::shared(brokers)))],
            None => return ExitCode::SUCCESS,
        },
        false => arguments.mode.iter().map(|mode| (*mode, None)).collect(),
    };
    let mut table = Table::default();
    let mut all_well = true;
    for (mode, stage) in stages {
        let folder = tempfile::tempdir().unwrap();
        let terms = Terms {
            seed: arguments.seed,
            kills: arguments.kills,
            rate: arguments.rate,
            delivery: &arguments.delivery,
            sets: &arguments.set,
            folder: folder.path(),
            may_give_up: mode.may_give_up(),
        };
        let outcome = trial(&terms, stage.unwrap_or_else(|| mode.stage()), mode.disturb());
        table.row(mode, &outcome);
        if !is_well(&outcome) {
            all_well = false;
            eprintln!("chaos: {mode:?} with seed {}: what was written is in {}", terms.seed, folder.keep().display());
        }
    }
    println!("{}", table.0);
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a trial was passed; says why not.
fn is_well(outcome: &Outcome) -> bool {
    outcome.found.examples.iter().for_each(|example| eprintln!("chaos: {example}"));
    outcome.found.is_clean() && outcome.told.faults.is_empty()
}

/// The table, as Markdown.
struct Table(String);

impl Default for Table {
    fn default() -> Table {
        Table(
            "| mode | disturbed | starts | ended by itself | first row after, median | longest | messages | rows | lost | doubled | gaps | wrong | seconds |\n\
            | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
                .into(),
        )
    }
}

impl Table {
    fn row(&mut self, mode: Mode, outcome: &Outcome) {
        let Outcome { told, starts, messages, found, seconds } = outcome;
        let mut first = told.first_s.clone();
        first.sort_by(f64::total_cmp);
        let at = |place: usize| first.get(place).map_or("-".into(), |s| format!("{s:.2} s"));
        let (median, longest) = (at(first.len() / 2), at(first.len().saturating_sub(1)));
        self.0 += &format!(
            "\n| {mode:?} | {} | {starts} | {} | {median} | {longest} | {messages} | {} | {} | {} | {} | {} | {seconds:.0} |",
            told.kills, told.gave_up, found.rows, found.lost, found.doubled, found.gaps, found.wrong
        );
    }
}
