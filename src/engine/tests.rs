//! Partitions that fall silent, wake, lag and lose their broker, through a whole job.

use super::{Job, start};
use crate::batch::Batch;
use crate::fault::{Failure, Fault};
use crate::formats::{MakeDecoder, Rows};
use crate::job::{Overrides, plan};
use crate::schema::{Field, Kind, Schema};
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::source::{Feed, Position, Read, Reader, Source, Wake};
use arrow::array::{ArrayRef, StringArray};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// `kind = "tide"`: for each partition a script. A number is a record of that second; `wake` gives nothing until the
/// source calls, `away` nothing for 300 ms because nobody answers, `idle` nothing for ever, and `fail` fails. Where the
/// script is over, the partition ends.
#[derive(Clone, Deserialize, JsonSchema)]
struct Tide {
    partitions: Vec<String>,
}

impl Source for Tide {
    const NAME: &'static str = "tide";

    fn plan(&self, _: &mut Vec<Fault>) -> Option<Schema> {
        Some(Schema::new([Field::new("blob", Kind::Text)]))
    }

    fn open(&self, _: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        let blob: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(8 << 20)]));
        let columns = wanted.names().map(|_| blob.clone()).collect();
        Ok(Box::new(TideFeed { partitions: self.partitions.clone(), columns }))
    }
}

struct TideFeed {
    partitions: Vec<String>,
    /// Those of every record: 8 MiB, if somebody wants them.
    columns: Vec<ArrayRef>,
}

impl Feed for TideFeed {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..self.partitions.len()).map(|p| p.to_string()).collect())
    }

    fn open(&self, partition: &str, _: Option<Position>, wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let number: usize = partition.parse().expect("a number");
        let script = self.partitions[number].split(' ').map(str::to_owned).collect();
        Ok(Box::new(TideReader {
            script,
            columns: self.columns.clone(),
            at: 0,
            since: None,
            called: Arc::default(),
            wake,
        }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }
}

struct TideReader {
    script: Vec<String>,
    columns: Vec<ArrayRef>,
    at: usize,
    since: Option<Instant>,
    called: Arc<AtomicBool>,
    wake: Wake,
}

impl Reader for TideReader {
    fn read(&mut self, _: usize) -> Result<Read, Failure> {
        let Some(word) = self.script.get(self.at) else { return Ok(Read::End) };
        let begun = self.since.is_none();
        match word.as_str() {
            "idle" => return Ok(Read::Idle(Duration::from_millis(5))),
            "away" => {
                if super::wall::now().duration_since(*self.since.get_or_insert_with(super::wall::now)).as_millis() < 300
                {
                    return Ok(Read::Idle(Duration::from_millis(5)));
                }
            }
            "wake" if !self.called.load(Ordering::SeqCst) => {
                self.since = Some(super::wall::now());
                let (called, wake) = (self.called.clone(), self.wake.clone());
                let call = move || {
                    std::thread::sleep(Duration::from_millis(50));
                    called.store(true, Ordering::SeqCst);
                    wake();
                };
                begun.then(|| Builder::new().name("tide".into()).spawn(call).expect("a thread can be started"));
                return Ok(Read::Idle(Duration::from_secs(60)));
            }
            "wake" => self.called.store(false, Ordering::SeqCst),
            "fail" => return Err(Failure::new("the tide is out")),
            second => {
                let time = second.parse::<i64>().expect("a second") * 1_000_000;
                self.at += 1;
                let (columns, times, sequences) = (self.columns.clone(), vec![time], vec![self.at as i64]);
                let rows = Rows { columns, times, sequences, bad: Vec::new() };
                return Ok(Read::Rows(rows));
            }
        }
        (self.at, self.since) = (self.at + 1, None);
        self.read(1)
    }

    fn position(&self) -> Position {
        self.at as Position
    }

    fn is_connected(&self) -> bool {
        self.script.get(self.at).is_none_or(|word| word != "away")
    }
}

/// `kind = "stuck"`: never comes back from writing.
#[derive(Deserialize, JsonSchema)]
struct Stuck {}

impl Sink for Stuck {
    const NAME: &'static str = "stuck";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::One
    }

    fn open(&self, _: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(Stuck {}))
    }
}

impl Writer for Stuck {
    fn write(&mut self, _: &Batch) -> Result<(), Failure> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// `kind = "far"`: acknowledges nothing until it has been given six rows.
#[derive(Deserialize, JsonSchema)]
struct Far {}

impl Sink for Far {
    const NAME: &'static str = "far";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        Shards::One
    }

    fn open(&self, _: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(Box::new(FarWriter { rows: 0, flushes: 0 }))
    }
}

struct FarWriter {
    rows: usize,
    flushes: usize,
}

impl Writer for FarWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.rows += batch.len();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.flushes += 1;
        Ok(())
    }

    fn flushing(&mut self) -> Result<usize, Failure> {
        if self.rows >= 6 {
            self.flushes = 0;
        }
        Ok(self.flushes)
    }
}

/// Starts a job that counts what comes every 10 seconds.
fn run(folder: &tempfile::TempDir, policy: &str, partitions: &[&str]) -> Job {
    let text = format!(
        "name = 'tides'\ndata_dir = '{}'\n[source.tide]\nkind = 'tide'\npartitions = {partitions:?}\n{policy}
        [step.counts]\nkind = 'aggregate'\ninput = 'tide'\nwindow = '10s'\naggregates = {{ n = 'count()' }}",
        folder.path().display()
    );
    let registry = crate::standard().source::<Tide>("").sink::<Stuck>("").sink::<Far>("");
    let plan = plan(&text, "tides.toml", &Overrides::default(), &registry);
    start(plan.unwrap_or_else(|faults| panic!("{}", faults.render(false))), 2).expect("started")
}

/// Waits until a job is over, or a condition holds; not for long.
fn wait(job: &Job, until: impl Fn(&Job) -> bool) {
    let begun = super::wall::now();
    while !job.is_finished() && !until(job) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:#?}", job.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_reader_that_calls_is_read_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = run(&folder, "", &["1 wake 2"]);
    wait(&job, |_| false);
    assert_eq!(job.wait().expect("it ends").sources[0].0.records, 2);
}

#[test]
fn partitions_on_different_workers_keep_step_without_naps() {
    let folder = tempfile::tempdir().expect("a folder");
    let hours = (0..500).map(|hour| (hour * 3_600).to_string()).collect::<Vec<_>>().join(" ");
    let mut job = run(&folder, "max_drift = '1m'", &[&hours, &hours]);
    wait(&job, |_| false);
    assert_eq!(job.wait().expect("it ends").sources[0].0.records, 1_000);
}

#[test]
fn where_all_are_silent_the_newest_window_fires_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = run(&folder, "idle_after = '300ms'\nmax_delay = '2s'", &["5 15 100 idle", "5 17 51 idle", "idle"]);
    // 100 s is in the window that ends at 110 s: the others fire.
    wait(&job, |job| job.status().steps[0].watermark == 100_000_001);
    assert_eq!(job.status().steps[0].out, 3);
    job.stop();
    wait(&job, |_| false);
}

#[test]
fn a_partition_whose_broker_is_away_is_not_silent() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = run(&folder, "idle_after = '50ms'\nmax_drift = 'never'", &["5 100 idle", "7 away 20 30"]);
    wait(&job, |job| job.status().steps[0].watermark == 100_000_001);
    let status = job.status();
    assert_eq!((status.sources[0].0.late, status.steps[0].out), (0, 3));
    job.stop();
    wait(&job, |_| false);
}

#[test]
fn a_failure_ends_the_job_although_a_writer_waits_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = run(&folder, "[sink.stuck]\nkind = 'stuck'\ninput = 'tide'", &["5 wake fail"]);
    wait(&job, |_| false);
    assert_eq!(job.wait().expect_err("it fails").message, "the tide is out");
}

#[test]
fn short_epochs_do_not_wait_for_the_acknowledgement_of_those_before() {
    let folder = tempfile::tempdir().expect("a folder");
    // Six epochs, of which the first is not done before the last is written.
    let mut job = run(&folder, "[sink.far]\nkind = 'far'\ninput = 'tide'", &["1 wake 2 wake 3 wake 4 wake 5 wake 6"]);
    wait(&job, |_| false);
    assert_eq!(job.wait().expect("it ends").sinks[0].records, 6);
}

#[test]
fn a_partition_that_ends_holds_nobody_back_who_is_silent_on_another_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = run(&folder, "max_drift = 'never'", &["5 100 105 115 idle", "7 wake 20"]);
    wait(&job, |job| job.status().steps[0].watermark == 115_000_000);
    assert_eq!(job.status().steps[0].out, 3);
    job.stop();
    wait(&job, |_| false);
}

#[test]
fn large_records_do_not_pile_up_before_a_slow_sink() {
    let folder = tempfile::tempdir().expect("a folder");
    let seconds = (0..400).map(|second| second.to_string()).collect::<Vec<_>>().join(" ");
    // Epochs end by what is in them.
    let policy = "[engine]\nepoch = '1m'\n[sink.stuck]\nkind = 'stuck'\ninput = 'tide'";
    let job = run(&folder, policy, &[&seconds]);
    // The worker that has nothing to read ends one epoch early, sooner or later: four of 64 MiB are sure to come.
    wait(&job, |job| job.status().sources[0].0.records >= 24);
    std::thread::sleep(Duration::from_millis(300));
    // Five epochs of 64 MiB, and what lies in the channel.
    let read = job.status().sources[0].0.records;
    assert!(read <= 60, "{read} records of 8 MiB were read");
    job.stop();
}
