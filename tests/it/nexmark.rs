//! The Nexmark queries that ship equal those of DuckDB over the same events.
//!
//! `make.py` in `tests/oracles/` lets `dataflows/nexmark_q0.toml` write 20,000 events, 100 to a second across midnight,
//! reads them into DuckDB and runs `sql/nexmark/*.sql`, the queries of the field. Here every job runs as it ships, over
//! these events, on one worker and on three. The rows must be the same ones: integers, times and texts exactly, the one
//! float to 1e-12 of itself.

use crate::oracles::{Row, agrees, by_key, compare, read_rows};
use eagre::engine;
use eagre::job::{self, Overrides};
use std::fs;

/// What `make.py` sets, too.
const EVENTS: [&str; 2] = ["source.bids.rate=100", "source.bids.start=2026-01-01T23:58:20Z"];

#[test]
fn pass_through_conversion_and_selection() {
    check("q0", &["event_time"], 500);
    check("q1", &["event_time"], 500);
    check("q2", &["event_time"], 20_000);
}

#[test]
fn hot_items_and_highest_bid() {
    check("q5", &["window_end"], 20_000);
    check("q7", &["window_end"], 20_000);
}

#[test]
fn sessions_and_windows_of_bidders() {
    check("q11", &["window_start", "bidder"], 20_000);
    check("q12", &["window_start", "bidder"], 20_000);
}

#[test]
fn report_of_a_day() {
    check("q15", &["window_start"], 20_000);
}

/// Runs a query over the first so many events, on one worker and on three.
#[track_caller]
fn check(query: &str, key: &[&str], events: u64) {
    for workers in [1, 3] {
        let found = by_key(run(query, events, workers), key);
        compare(&format!("nexmark/{query}"), key, found, agrees);
    }
}

fn run(query: &str, events: u64, workers: usize) -> Vec<Row> {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("out.jsonl");
    let name = format!("nexmark_{query}");
    let text = fs::read_to_string(format!("dataflows/{name}.toml")).unwrap();
    let mut sets: Vec<String> = EVENTS.map(str::to_owned).into();
    sets.push(format!("source.bids.events={events}"));
    sets.push(format!("sink.out.path={}", out.display()));
    sets.push(format!("data_dir={}", temporary.path().display()));
    let overrides = sets.into_iter().fold(Overrides::default(), Overrides::set);
    let plan = job::plan(&text, &name, &overrides, &eagre::standard()).unwrap_or_else(|f| panic!("{f}"));
    engine::start(plan, workers).unwrap().wait().unwrap();
    read_rows(&out)
}
