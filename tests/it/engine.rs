//! The engine as a whole: ends, stops, failures, panics, back-pressure, idle partitions.

use crate::parts::{Event, put_log, registry, take_lines};
use eagre::engine;
use eagre::job::{self, Overrides};
use eagre::operator::keyed::{Cx, Emits, KeyedOperator};
use eagre::operator::{Column, Planning, Reject};
use eagre::value::Row;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::{Duration, Instant};

fn log(name: &str, partitions: usize, records: usize) {
    let event = |i: usize| Event {
        time: i as i64 * 1_000,
        key: format!("k{}", i % 7),
        site: "s".into(),
        value: Some(i as f64),
    };
    put_log(name, (0..partitions).map(|p| (0..records).map(|i| event(i * partitions + p)).collect()).collect());
}

fn start(text: &str, workers: usize) -> Result<engine::Job, eagre::fault::Failure> {
    let registry = registry().operator::<Bomb>();
    let plan = job::plan(text, "test.toml", &Overrides::default(), &registry)
        .unwrap_or_else(|f| panic!("{}", f.render(false)));
    engine::start(plan, workers)
}

/// `kind = "bomb"`: panics at a value.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bomb {
    field: Column,
    at: f64,
}

impl KeyedOperator for Bomb {
    const NAME: &'static str = "bomb";
    type State = ();

    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
        planning.number(&mut self.field, "field");
        Emits::record_and([]).using([self.field.name.as_str()])
    }

    fn on_record(&self, cx: &mut Cx<'_, ()>, row: Row<'_>) -> Result<(), Reject> {
        assert!(row.number(self.field.index) != Some(self.at), "the value {} was reached", self.at);
        cx.emit([]);
        Ok(())
    }
}

const THROUGH: &str = "
    name = 'through'
    data_dir = '/tmp/eagre-test'
    [engine]
    epoch_records_max = 50
    [source.in]
    kind = 'log'
    log = 'NAME'
    [step.big]
    kind = 'filter'
    input = 'in'
    where = 'value >= 100'
    [sink.out]
    kind = 'collect'
    input = 'big'
    into = 'NAME'
";

#[test]
fn a_bounded_job_ends_by_itself_and_counts_what_it_did() {
    log("ends", 3, 200);
    let mut job = start(&THROUGH.replace("NAME", "ends"), 2).unwrap();
    let status = job.wait().unwrap();
    assert_eq!(take_lines("ends").len(), 500);
    assert_eq!((status.sources[0].0.records, status.steps[0].records, status.steps[0].out), (600, 600, 500));
    assert_eq!(status.partitions.iter().filter(|(_, s)| s.ended && s.records == 200).count(), 3);
}

#[test]
fn a_panic_ends_the_job_with_the_name_of_the_step() {
    log("panics", 2, 2_000);
    let text = THROUGH.replace("NAME", "panics").replace("kind = 'filter'", "kind = 'bomb'\nkey = 'key'");
    let text = text.replace("where = 'value >= 100'", "field = 'value'\nat = 1234");
    for workers in [1, 3] {
        let failure = start(&text, workers).unwrap().wait().expect_err("it panics");
        assert_eq!(failure.message, "step `big` panicked: the value 1234 was reached");
    }
}

#[test]
fn a_stop_works_off_what_was_read() {
    log("stops", 2, 2_000_000);
    let mut job = start(&THROUGH.replace("NAME", "stops"), 2).unwrap();
    while job.status().sinks[0].records == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    job.stop();
    let status = job.wait().unwrap();
    let read = status.sources[0].0.records;
    assert!(read < 4_000_000, "it did not stop");
    assert_eq!(status.steps[0].records, read);
    assert_eq!(take_lines("stops").len() as u64, status.steps[0].out);
}

#[test]
fn a_slow_sink_holds_the_source_back() {
    log("slow", 2, 200_000);
    let text = THROUGH.replace("NAME", "slow").replace("kind = 'collect'", "kind = 'collect'\nslow_ms = 2");
    let mut job = start(&text, 2).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        let status = job.status();
        let (read, written) = (status.sources[0].0.records, status.sinks[0].records);
        assert!(read <= written + 100 + 5_000, "{read} read, {written} written");
        std::thread::sleep(Duration::from_millis(5));
    }
    job.stop();
    job.wait().unwrap();
    take_lines("slow");
}

const TIMED: &str = "
    name = 'timed'
    data_dir = '/tmp/eagre-test'
    [engine]
    epoch_records_max = 50
    [source.in]
    kind = 'log'
    log = 'NAME'
    endless = true
    POLICY
    [step.w]
    kind = 'aggregate'
    input = 'in'
    key = 'key'
    window = '1s'
    aggregates = { n = 'count()' }
    [sink.out]
    kind = 'collect'
    input = 'w'
    into = 'NAME'
";

/// Waits until something holds, at most five seconds.
#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_silent_partition_is_waited_for_and_then_no_longer() {
    let event = |i: i64| Event { time: i * 100_000, key: "k".into(), site: "s".into(), value: None };
    put_log("silent", vec![(0..100).map(event).collect(), vec![]]);
    let text = TIMED.replace("NAME", "silent").replace("POLICY", "idle_after = '300ms'");
    let mut job = start(&text, 2).unwrap();
    let begun = Instant::now();
    eventually("reading", || job.status().sources[0].0.records == 100);
    while begun.elapsed() < Duration::from_millis(250) {
        assert_eq!(
            job.status().sinks[0].records,
            0,
            "a window fired while a partition that is not silent yet may hold more"
        );
    }
    eventually("nine windows", || job.status().sinks[0].records == 9);
    let silent = job.status().partitions.into_iter().find(|(origin, _)| *origin == 1).unwrap().1;
    assert!(silent.idle && silent.watermark >= 9_900_000, "{silent:?}");
    job.stop();
    job.wait().unwrap();
    assert_eq!(take_lines("silent").len(), 9);
}

#[test]
fn a_partition_that_is_far_ahead_waits_for_the_others() {
    let event = |step: i64| move |i: i64| Event { time: i * step, key: "k".into(), site: "s".into(), value: None };
    // The second partition is slow in event time: a thousandth of the first one's step.
    put_log("drift", vec![(0..20_000).map(event(100_000)).collect(), (0..20_000).map(event(100)).collect()]);
    let text = TIMED.replace("NAME", "drift").replace("POLICY", "max_drift = '10s'\nidle_after = 'never'");
    let mut job = start(&text, 2).unwrap();
    eventually("reading", || job.status().partitions[1].1.records > 5_000);
    let status = job.status();
    let [fast, slow] = [0, 1].map(|i| status.partitions[i].1.watermark);
    // What is being decoded when the limit is reached comes on top: a few reads of at most 40 records.
    assert!(fast - slow < 10_000_000 + 40 * 6 * 100_000, "{fast} against {slow}");
    job.stop();
    job.wait().unwrap();
    take_lines("drift");
}
