//! Jobs that die and go on: what they deliver is what an undisturbed run delivers, each row once.

use super::{From, Resumption, resume};
use crate::batch::Batch;
use crate::checkpoint::Store;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::storage::{self, Local, Storage};
use crate::engine::{Job, MeshSettings, start_among};
use crate::fault::{Failure, Fault};
use crate::formats::{MakeDecoder, Rows};
use crate::job::{Overrides, Plan, plan};
use crate::schema::{Field, Kind, Schema};
use crate::sink::{Delivery, Opening, Shards, Sink, Writer};
use crate::source::{Feed, Position, Read, Reader, Source, Wake};
use crate::stats::random::Random;
use crate::time::Interval;
use arrow::array::{ArrayRef, Int64Array};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was delivered, by book, sink and shard.
static BOOKS: Mutex<BTreeMap<Page, Delivered>> = Mutex::new(BTreeMap::new());

type Page = (String, String, usize);
/// Under which number the last time, and all rows.
type Delivered = (u64, Vec<String>);

/// `kind = "pledge"`: delivers exactly once into a book, in memory that outlives the job.
#[derive(Deserialize, JsonSchema)]
struct Pledge {
    book: String,
    /// Whether there is one shard, in order.
    #[serde(default)]
    one: bool,
    /// The shard that asks for a checkpoint as soon as it has anything.
    #[serde(default = "no_shard")]
    full: usize,
    /// The shard that cannot be opened.
    #[serde(default = "no_shard")]
    refuses: usize,
}

fn no_shard() -> usize {
    usize::MAX
}

struct Pledging {
    place: Page,
    rows: Vec<String>,
    sealed: Option<(u64, Vec<String>)>,
    full: usize,
}

impl Sink for Pledge {
    const NAME: &'static str = "pledge";

    fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        if self.one { Shards::InOrder } else { Shards::PerWorker }
    }

    fn delivers_exactly_once(&self) -> bool {
        true
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        if self.refuses == opening.shard.0 {
            return Err(Failure::new("it refuses"));
        }
        let place = (self.book.clone(), opening.name.to_owned(), opening.shard.0);
        Ok(Box::new(Pledging { place, rows: Vec::new(), sealed: None, full: self.full }))
    }
}

impl Pledging {
    fn deliver(&self, id: u64, rows: &[String]) {
        let mut books = BOOKS.lock().expect("no test panics while it delivers");
        let (last, all) = books.entry(self.place.clone()).or_default();
        assert!(id > *last, "{:?}: checkpoint {id} is delivered after {last}", self.place);
        *last = id;
        all.extend_from_slice(rows);
    }
}

impl Writer for Pledging {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        for row in 0..batch.len() {
            let (time, origin, sequence) = (batch.times()[row], batch.origins()[row], batch.sequences()[row]);
            self.rows.push(format!("{time} {origin}@{sequence} {}", batch.row_json(row)));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn seal(&mut self, id: u64) -> Result<Vec<u8>, Failure> {
        let rows = std::mem::take(&mut self.rows);
        let outbox = rows.join("\n").into_bytes();
        assert!(self.sealed.replace((id, rows)).is_none(), "the interval before is published first");
        Ok(outbox)
    }

    fn publish(&mut self, id: u64) -> Result<(), Failure> {
        let (sealed, rows) = self.sealed.take().expect("something is sealed");
        assert_eq!(sealed, id);
        self.deliver(id, &rows);
        Ok(())
    }

    fn staged(&self) -> usize {
        self.rows.len()
    }

    fn staged_max(&self) -> usize {
        if self.place.2 == self.full { 1 } else { usize::MAX }
    }

    fn recover(&mut self, id: u64, outbox: &[u8]) -> Result<(), Failure> {
        let last =
            BOOKS.lock().expect("no test panics while it delivers").get(&self.place).map_or(0, |(last, _)| *last);
        if last < id {
            let rows: Vec<String> = String::from_utf8_lossy(outbox).lines().map(str::to_owned).collect();
            self.deliver(id, &rows);
        }
        Ok(())
    }
}

/// `kind = "logs"`: topics with a partition each, of which so many records are there: numbers, a second apart.
#[derive(Clone, Deserialize, JsonSchema)]
struct Logs {
    topics: Vec<String>,
    records: i64,
}

struct LogReader {
    /// How many there are, and how many have been given.
    records: i64,
    at: i64,
    fields: usize,
}

impl Source for Logs {
    const NAME: &'static str = "logs";

    fn plan(&self, _: &mut Vec<Fault>) -> Option<Schema> {
        Some(Schema::new([Field::new("n", Kind::Int)]))
    }

    fn open(&self, _: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        Ok(Box::new((self.clone(), wanted.fields().len())))
    }
}

impl Feed for (Logs, usize) {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok(self.0.topics.iter().map(|topic| format!("{topic}[0]")).collect())
    }

    fn open(&self, _: &str, from: Option<Position>, _: Wake) -> Result<Box<dyn Reader>, Failure> {
        Ok(Box::new(LogReader { records: self.0.records, at: from.unwrap_or(0), fields: self.1 }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }
}

impl Reader for LogReader {
    fn read(&mut self, _: usize) -> Result<Read, Failure> {
        if self.at >= self.records {
            return Ok(Read::Idle(Duration::from_millis(5)));
        }
        let there = self.at..self.records;
        self.at = self.records;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(there.clone()));
        let (columns, times) = (vec![numbers; self.fields], there.clone().map(|n| n * 1_000_000).collect());
        Ok(Read::Rows(Rows { columns, times, sequences: there.collect(), bad: Vec::new() }))
    }

    fn position(&self) -> Position {
        self.at
    }
}

/// Windows, z-scores, a join of streams, rows in order, late and rejected ones: with something of everything that has
/// to be remembered.
fn job(book: &str, folder: &Path, records: u64) -> Plan {
    planned(&job_text(book, folder, records))
}

fn job_text(book: &str, folder: &Path, records: u64) -> String {
    let folder = folder.display();
    format!(
        "name = 'survivor'\ndata_dir = '{folder}'\n[checkpoint]\nevery = '10ms'\n[engine]\nepoch_records_max = 500
        [source.readings]\nkind = 'generator'\nsensors = 40\npartitions = 3\nseed = 7\ncount = {records}
        interval = '100ms'\nmax_delay = '500ms'\nout_of_order = {{ share = 0.2, max = '1500ms' }}\nduplicates = 0.01
        [step.checked]\nkind = 'validate'\ninput = 'readings'\nkey = 'sensor'
        rules = [{{ field = 'value', required = true }}, {{ unique = ['event_time'], within = '1m' }}]
        [step.windows]\nkind = 'aggregate'\ninput = 'checked'\nkey = 'site'\nwindow = '10s'
        aggregates = {{ n = 'count()', mean = 'mean(value)', p99 = 'p99(value)' }}
        [step.hops]\nkind = 'aggregate'\ninput = 'readings'\nkey = 'sensor'\nwindow = {{ size = '10s', slide = '5s' }}\nallowed_lateness = '2s'
        aggregates = {{ n = 'count()', sd = 'stddev(value)' }}
        [step.scores]\nkind = 'zscore'\ninput = 'checked'\nkey = 'sensor'\nfield = 'value'\nwindow = 50\nthreshold = 3
        [step.both]\nkind = 'union'\ninput = ['checked', 'readings']
        [step.sessions]\nkind = 'aggregate'\ninput = 'checked'\nkey = 'sensor'\nwindow = {{ session = '150ms' }}
        aggregates = {{ n = 'count()', sum = 'sum(value)' }}
        [step.twenties]\nkind = 'aggregate'\ninput = 'checked'\nkey = 'sensor'\nwindow = {{ count = 20 }}
        aggregates = {{ top = 'max(value)' }}
        [sink.of_sessions]\nkind = 'pledge'\ninput = 'sessions'\nbook = '{book}'
        [sink.of_twenties]\nkind = 'pledge'\ninput = 'twenties'\nbook = '{book}'
        [sink.of_windows]\nkind = 'pledge'\ninput = 'windows'\nbook = '{book}'\none = true
        [sink.of_hops]\nkind = 'pledge'\ninput = 'hops'\nbook = '{book}'
        [step.sums]\nkind = 'aggregate'\ninput = 'both'\nkey = 'site'\nwindow = '7s'\naggregates = {{ sum = 'sum(value)' }}
        [sink.of_both]\nkind = 'pledge'\ninput = 'sums'\nbook = '{book}'
        [sink.of_scores]\nkind = 'pledge'\ninput = 'scores'\nbook = '{book}'
        [sink.refused]\nkind = 'pledge'\ninput = 'checked.rejected'\nbook = '{book}'
        [sink.late]\nkind = 'pledge'\ninput = 'scores.late'\nbook = '{book}'"
    )
}

fn planned(text: &str) -> Plan {
    let registry = crate::standard().sink::<Pledge>("").source::<Logs>("");
    plan(text, "survivor.toml", &Overrides::default(), &registry)
        .unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

/// All that was delivered, sorted; of a sink that is given rows in order, as they came.
fn delivered(book: &str) -> Vec<String> {
    let books = BOOKS.lock().expect("no test panics while it delivers");
    let mine = books.iter().filter(|((name, ..), _)| name == book);
    let (ordered, others): (Vec<_>, Vec<_>) = mine.partition(|((_, sink, _), _)| sink == "of_windows");
    let rows = |of: Vec<(_, &Delivered)>| -> Vec<String> { of.into_iter().flat_map(|(_, b)| b.1.clone()).collect() };
    let (ordered, mut others) = (rows(ordered), rows(others));
    others.sort_unstable();
    ordered.into_iter().chain(others).collect()
}

fn begin(book: &str, folder: &Path, records: u64, workers: usize) -> Job {
    start_among(job(book, folder, records), workers, None, &Resumption::default()).expect("started")
}

/// Dies as if the process were gone: nothing more is written, nothing is said.
fn die(mut job: Job) {
    job.fail(Failure::new("killed"));
    let _ = job.wait();
}

const RECORDS: u64 = 12_000;

/// What the job delivers into a book of that name when nothing happens.
fn undisturbed(book: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    begin(book, folder.path(), RECORDS, 2).wait().expect("it ends");
    delivered(book)
}

#[test]
fn a_job_that_dies_again_and_again_delivers_everything_once() {
    let expected = undisturbed("undisturbed");
    assert!(expected.len() > 500, "{} rows", expected.len());
    let (mut deaths, mut resumed) = (0, 0);
    for seed in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut random, book) = (Random::new(seed), format!("book {seed}"));
        // On a busy machine it takes longer to come anywhere.
        let mut patience = 300;
        loop {
            let job = begin(&book, folder.path(), RECORDS, 1 + random.pick(4) as usize);
            job.manifest().into_iter().for_each(nobody_is_ahead);
            resumed += usize::from(job.resumed().is_some());
            if job.ends_within(Duration::from_millis(20 + random.pick(patience))) {
                let status = { job }.wait().expect("it ends");
                assert!(status.checkpoints.0 > 0);
                break;
            }
            // On a busy machine the first checkpoint may take longer than that.
            let waits = random.pick(2) == 0;
            while waits && job.status().checkpoints.0 == 0 && !job.ends_within(Duration::from_millis(5)) {}
            die(job);
            (deaths, patience) = (deaths + 1, patience * 3 / 2);
        }
        nobody_is_ahead(&newest(folder.path(), "survivor"));
        compare(&delivered(&book), &expected, &book);
    }
    assert!(deaths > 3 && resumed > 1, "{deaths} deaths, {resumed} times resumed");
}

#[test]
fn a_job_that_is_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    for workers in [3, 1, 2, 3, 2, 1, 4] {
        let mut job = begin("stopped", folder.path(), RECORDS, workers);
        job.ends_within(Duration::from_millis(60));
        job.stop();
        job.wait().expect("it ends");
    }
    begin("stopped", folder.path(), RECORDS, 2).wait().expect("it ends");
    compare(&delivered("stopped"), &undisturbed("not stopped"), "stopped");
}

/// No step has come further in time than what has been read for it.
#[track_caller]
fn nobody_is_ahead(manifest: &Manifest) {
    for step in &manifest.steps {
        for (origin, watermark) in &step.partitions {
            let read = manifest.partitions[*origin as usize].watermark;
            assert!(
                *watermark <= read,
                "checkpoint {}: `{}` is at {watermark}, {origin} at {read}",
                manifest.id,
                step.name
            );
        }
    }
}

#[track_caller]
fn compare(was: &[String], expected: &[String], what: &str) {
    let differs = was.iter().zip(expected).position(|(a, b)| a != b);
    let around = |rows: &[String]| rows[differs.unwrap_or(0)..].iter().take(3).cloned().collect::<Vec<_>>();
    let count = (was.len(), expected.len());
    assert!(differs.is_none() && count.0 == count.1, "{what}: {count:?} {:#?} {:#?}", around(was), around(expected));
}

#[test]
fn what_does_not_fit_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    begin("fits", folder.path(), 2_000, 2).wait().expect("it ends");
    let id = newest(folder.path(), "survivor").id;
    let check = |change: &dyn Fn(&mut Plan), resumption: Resumption, expected: &str| {
        let mut plan = job("fits", folder.path(), 2_000);
        plan.checkpoint.as_mut().expect("there is one").keep = 1_000;
        change(&mut plan);
        let said = match start_among(plan, 1, None, &resumption) {
            Ok(job) => {
                die(job);
                String::new()
            }
            Err(failure) => failure.to_string(),
        };
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
    };
    let usual = || Resumption { from: From::Id(id), ..Resumption::default() };
    check(&|plan| plan.steps[0].fingerprint ^= 1, usual(), "`checked` is no longer what it was");
    check(&|plan| plan.steps[0].fingerprint ^= 1, Resumption { reset: vec!["checked".into()], ..usual() }, "");
    check(&|_| {}, Resumption { reset: vec!["check".into()], ..usual() }, "did you mean `checked`?");
    check(&|plan| plan.steps[0].name = "tested".into(), usual(), "it has state of `checked`, which is not in the job");
    check(&|plan| plan.steps[0].name = "tested".into(), Resumption { skip_missing: true, ..usual() }, "");
    let renamed = |plan: &mut Plan| (plan.steps[0].name, plan.steps[0].was) = ("tested".into(), Some("checked".into()));
    check(&renamed, usual(), "");
    let less = |plan: &mut Plan| plan.sinks.retain(|sink| sink.name != "of_hops");
    check(&less, usual(), "it keeps rows of sink `of_hops`, which is not in the job");
    check(&|plan| plan.name = "other".into(), usual(), "it is of job `survivor`, and this is `other`");
    check(&|_| {}, Resumption { from: From::Id(99), ..usual() }, "there is no checkpoint 99");
    check(&|_| {}, Resumption { from: From::Nothing, ..usual() }, "");
}

#[test]
fn a_sink_that_was_added_gets_what_comes_from_now_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut before = job("added", folder.path(), RECORDS);
    before.sinks.retain(|sink| sink.name != "of_hops");
    let mut stopped = start_among(before, 2, None, &Resumption::default()).expect("started");
    stopped.ends_within(Duration::from_millis(60));
    stopped.stop();
    stopped.wait().expect("it ends");
    let mut job = begin("added", folder.path(), RECORDS, 3);
    assert!(job.resumed().is_some());
    job.wait().expect("it ends");
}

#[test]
fn a_worker_that_mounts_late_begins_with_the_others() {
    let (folder, book) = (tempfile::tempdir().expect("a folder"), "late");
    // One worker reads and sends to the others in the first interval; then the first worker ends that interval; then
    // the last takes what was sent to it.
    let late = || {
        let mut plan = job(book, folder.path(), RECORDS);
        plan.checkpoint.as_mut().expect("there is one").every = Interval::from_secs(3_600);
        let make = plan.steps[0].planned.make.clone();
        let late = [("-0", 300), ("-2", 600)].map(|(worker, millis)| (worker, millis, AtomicBool::new(false)));
        plan.steps[0].planned.make = Arc::new(move || {
            for (worker, millis, has_slept) in &late {
                if runs_on(worker) && !has_slept.swap(true, Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(*millis));
                }
            }
            make()
        });
        start_among(plan, 3, None, &Resumption::default()).expect("started")
    };
    let job = late();
    while job.status().checkpoints.0 == 0 {
        assert!(!job.ends_within(Duration::from_millis(1)), "it ended before its first checkpoint");
    }
    die(job);
    // Again: by the time that the last has mounted, partitions have been read to their end whose records it needs.
    let mut job = late();
    assert!(job.resumed().is_some());
    job.wait().expect("it ends");
    compare(&delivered(book), &undisturbed("not late"), book);
}

fn runs_on(worker: &str) -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("timely") && name.ends_with(worker))
}

#[test]
fn files_that_are_made_one_slowly_are_named_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().display();
    let text = format!(
        "name = 'slow'\ndata_dir = '{place}'\n[checkpoint]\nevery = '10ms'
        [source.readings]\nkind = 'generator'\nsensors = 40\nrate = '5000/s'
        [step.windows]\nkind = 'aggregate'\ninput = 'readings'\nkey = 'sensor'\nwindow = '10s'\naggregates = {{ n = 'count()' }}
        [sink.out]\nkind = 'pledge'\ninput = 'windows'\nbook = 'slow'"
    );
    let plan = || {
        let mut plan = planned(&text);
        plan.checkpoint.as_mut().expect("there is one").dir = format!("slow://{place}").into();
        plan
    };
    let (mut wholes, mut before) = (0, 0);
    for _ in 0..2 {
        let mut job = start_among(plan(), 1, None, &Resumption::default()).expect("started");
        let first = job.resumed().map_or(0, |(id, _)| id);
        assert_eq!(first, before, "it goes on from the newest");
        while job.status().checkpoints.0 < 25 {
            assert!(!job.ends_within(Duration::from_millis(1)), "it goes on for ever");
        }
        job.stop();
        let status = job.wait().expect("it ends");
        let store = Store::open(storage::open(folder.path()).expect("there")).expect("a store");
        let manifest = store.list().expect("listed").remove(0).manifest.expect("whole");
        assert_eq!(store.verify(&manifest).expect("read"), Vec::<String>::new());
        wholes += manifest.files().filter(|file| file.name.contains(".whole")).count();
        let made = status.checkpoints.0;
        assert!(manifest.id <= first + 2 * made, "{made} checkpoints after {first}, and the last is {}", manifest.id);
        before = manifest.id;
    }
    assert!(wholes > 0, "files were made one");
}

/// Starts a job in two processes, which are two only to each other.
fn start_two(text: &str, resumption: Resumption) -> Vec<Result<Job, Failure>> {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let hosts = listeners.map(|listener| listener.local_addr().expect("an address").to_string());
    thread::scope(|scope| {
        let start = |process: usize| {
            let (hosts, resumption) = (hosts.to_vec(), resumption.clone());
            scope.spawn(move || {
                let mesh =
                    MeshSettings { process, hosts, connect_timeout: Duration::from_secs(10), trusted_network: false };
                start_among(planned(text), 1, Some(&mesh), &resumption)
            })
        };
        [start(0), start(1)].into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn processes_agree_that_a_sink_is_full_and_that_they_go_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "name = 'two'\ndata_dir = '{}'\n[checkpoint]\nevery = '1h'
        [source.readings]\nkind = 'generator'\nsensors = 40\npartitions = 2\nrate = '5000/s'
        [sink.kept]\nkind = 'pledge'\ninput = 'readings'\nbook = 'full'\nfull = 1",
        folder.path().display()
    );
    let run = |resumption: Resumption| {
        let jobs: Vec<Job> = start_two(&text, resumption).into_iter().map(|job| job.expect("started")).collect();
        let checkpoints = || jobs[0].status().checkpoints.0;
        let in_time = (0..200).any(|_| checkpoints() > 3 || jobs[0].ends_within(Duration::from_millis(50)));
        assert!(in_time && checkpoints() > 3, "{} checkpoints", checkpoints());
        jobs[0].stop();
        jobs.into_iter().for_each(|mut job| drop(job.wait().expect("it ends")));
        newest(folder.path(), "two").id
    };
    let last = run(Resumption::default());
    let back = || Resumption { from: From::Id(last - 1), ..Resumption::default() };
    for refused in start_two(&text.replace("full = 1", "refuses = 1"), back()) {
        assert!(refused.is_err_and(|failure| failure.to_string().contains("it refuses")));
    }
    assert_eq!(newest(folder.path(), "two").id, last, "one of them has refused");
    assert!(run(back()) > last + 1);
}

/// What the newest checkpoint in a job's folder says.
fn newest(folder: &Path, job: &str) -> Manifest {
    let dir = folder.join(job).join("checkpoints");
    let store = Store::open(storage::open(&dir).expect("a folder")).expect("a store");
    store.list().expect("listed").remove(0).manifest.expect("whole")
}

#[test]
fn who_goes_back_goes_on_from_there_although_it_dies_at_once() {
    let (folder, book) = (tempfile::tempdir().expect("a folder"), "back");
    let text = job_text(book, folder.path(), RECORDS);
    let text = text.replace("every = '10ms'", "every = '1h'\nkeep = 1000");
    let mut first = start_among(planned(&text), 2, None, &Resumption::default()).expect("started");
    while first.status().sources[0].0.records < 1_000 {
        assert!(!first.ends_within(Duration::from_millis(1)), "it has more to do");
    }
    first.stop();
    first.wait().expect("it ends");
    start_among(planned(&text), 2, None, &Resumption::default()).expect("started").wait().expect("it ends");
    let before = newest(folder.path(), "survivor");
    let dir = folder.path().join("survivor/checkpoints");
    let store = Store::open(storage::open(&dir).expect("a folder")).expect("a store");
    let oldest = store.list().expect("listed").pop().expect("there are some").manifest.expect("whole");
    assert_ne!(before.partitions, oldest.partitions);
    let refused = |sink: &str, from: From| {
        let (named, refuses) = (format!("[sink.{sink}]"), format!("[sink.{sink}]\nrefuses = 0"));
        let resumption = Resumption { from, ..Resumption::default() };
        let refused = start_among(planned(&text.replace(&named, &refuses)), 2, None, &resumption);
        let said = refused.err().expect("it refuses").message;
        assert!(said.ends_with("it refuses"), "{said}");
        newest(folder.path(), "survivor")
    };
    assert_eq!(refused("of_hops", From::Id(oldest.id)), before, "whoever refuses is asked first");
    // Files are cut back when nobody has refused: from here on only the older checkpoint fits them.
    let back = refused("of_windows", From::Id(oldest.id));
    assert!(back.id > before.id);
    assert_eq!((&back.partitions, &back.sinks), (&oldest.partitions, &oldest.sinks));
    let again = refused("of_windows", From::Latest);
    assert_eq!((&again.partitions, &again.sinks), (&back.partitions, &back.sinks), "going on is not going back");
    assert!(again.id > back.id, "what a run that was taken over still writes is never the newest");
    let nothing = refused("of_windows", From::Nothing);
    assert!(nothing.id > back.id && nothing.partitions.is_empty() && nothing.files().next().is_none());
    BOOKS.lock().expect("no test panics while it delivers").retain(|(name, ..), _| name != book);
    let mut job = begin(book, folder.path(), RECORDS, 3);
    assert_eq!(job.resumed().map(|(id, _)| id), Some(nothing.id));
    job.wait().expect("it ends");
    compare(&delivered(book), &undisturbed("not back"), book);
}

#[test]
fn a_partition_is_the_log_that_it_is_however_it_is_called() {
    let (folder, book) = (tempfile::tempdir().expect("a folder"), "logs");
    let run = |topics: &str, records: i64, skip_missing: bool, expected: u64| -> Result<Vec<String>, String> {
        let text = format!(
            "name = 'logs'\ndata_dir = '{}'\n[checkpoint]\nevery = '1h'
            [source.in]\nkind = 'logs'\ntopics = [{topics}]\nrecords = {records}\nmax_delay = '0s'
            [sink.out]\nkind = 'pledge'\ninput = 'in'\nbook = '{book}'",
            folder.path().display(),
        );
        let resumption = Resumption { skip_missing, ..Resumption::default() };
        let mut job = start_among(planned(&text), 1, None, &resumption).map_err(|failure| failure.to_string())?;
        while job.status().sources[0].0.records < expected {
            assert!(!job.ends_within(Duration::from_millis(1)), "it goes on for ever");
        }
        job.stop();
        job.wait().expect("it ends");
        let mut books = BOOKS.lock().expect("no test panics while it delivers");
        let mut rows = std::mem::take(&mut books.get_mut(&(book.into(), "out".into(), 0)).expect("a book").1);
        rows.iter_mut().for_each(|row| *row = row.split(' ').nth(1).expect("a place").to_owned());
        rows.sort_unstable();
        Ok(rows)
    };
    let names = || newest(folder.path(), "logs").partitions.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(run("'a'", 2, false, 2).expect("it runs"), ["0@0", "0@1"]);
    assert_eq!(names(), ["in[0]"]);
    assert_eq!(run("'a', 'b'", 3, false, 4).expect("it runs"), ["0@2", "1@0", "1@1", "1@2"], "a second topic");
    assert_eq!(names(), ["in:a[0]", "in:b[0]"]);
    let refused = run("'c'", 3, false, 3).expect_err("another topic in their place");
    assert!(refused.contains("they were `a[0]`, `b[0]`, and now there is `c[0]`"), "{refused}");
    assert!(refused.contains("--skip-missing reads what is there now"), "{refused}");
    assert_eq!(run("'c'", 3, true, 3).expect("the way out"), ["2@0", "2@1", "2@2"]);
    assert_eq!(run("'b'", 4, false, 1).expect("it runs"), ["1@3"], "one that was away");
    assert_eq!(names(), ["in:a[0]", "in[0]", "in[0]"]);
}

#[test]
fn a_step_that_is_added_above_a_window_changes_nothing_of_it() {
    let text = |book: &str, folder: &Path, above: &str| {
        format!(
            "name = 'edited'\ndata_dir = '{}'\n[checkpoint]\nevery = '10ms'
            [source.readings]\nkind = 'generator'\nsensors = 20\npartitions = 2\ncount = 6000\ninterval = '100ms'
            {above}
            [step.hops]\nkind = 'aggregate'\ninput = 'readings'\nkey = 'sensor'\nwindow = '1s'
            aggregates = {{ mean = 'mean(value)' }}
            [step.day]\nkind = 'aggregate'\ninput = 'hops'\nwindow = '1d'
            aggregates = {{ sum = 'sum(mean)', sd = 'stddev(mean)' }}
            [sink.out]\nkind = 'pledge'\ninput = 'day'\nbook = '{book}'",
            folder.display(),
        )
    };
    let above = "[step.above]\nkind = 'aggregate'\ninput = 'readings'\nkey = 'site'\nwindow = '1s'
        aggregates = { n = 'count()' }\n[sink.beside]\nkind = 'pledge'\ninput = 'above'\nbook = 'above'";
    let told = |book: &str| -> Vec<String> {
        delivered(book).iter().map(|row| row[row.find('{').expect("a row")..].to_owned()).collect()
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let whole = text("whole", folders[0].path(), "");
    start_among(planned(&whole), 2, None, &Resumption::default()).expect("started").wait().expect("it ends");
    let edited = |above: &str| planned(&text("edited", folders[1].path(), above));
    assert_eq!(edited(above).steps[0].name, "above");
    let mut first = start_among(edited(""), 2, None, &Resumption::default()).expect("started");
    while first.status().steps[1].records < 100 {
        assert!(!first.ends_within(Duration::from_millis(1)), "it has more to do");
    }
    first.stop();
    first.wait().expect("it ends");
    start_among(edited(above), 2, None, &Resumption::default()).expect("started").wait().expect("it ends");
    assert_eq!(newest(folders[1].path(), "edited").numbered, ["hops", "day", "above"]);
    let rows = told("edited");
    assert!(rows.len() == 1 && rows[0].contains("hops#"), "{rows:?}");
    assert_eq!(rows, told("whole"));
}

#[test]
fn what_is_taken_of_a_window_is_part_of_what_it_was() {
    let plan = |more: &str| {
        planned(&format!(
            "name = 'taken'\n[source.in]\nkind = 'logs'\ntopics = ['a']\nrecords = 1
            [step.w]\nkind = 'aggregate'\ninput = 'in'\nwindow = '10s'\naggregates = {{ sum = 'sum(n)' }}
            [step.taken]\nkind = 'select'\ninput = 'w'\nkeep = ['sum']
            [sink.out]\nkind = 'pledge'\ninput = 'taken'\nbook = 'taken'\n{more}"
        ))
    };
    let more = "[sink.all]\nkind = 'pledge'\ninput = 'w'\nbook = 'taken'";
    let fingerprint = |more: &str| plan(more).steps[0].fingerprint;
    assert_eq!(fingerprint(""), fingerprint(""));
    assert_ne!(fingerprint(""), fingerprint(more), "its slots know now of which records they are made");
}

/// A folder of which it is known how often each file was read.
struct Counting(Local, Mutex<BTreeMap<String, usize>>);

impl Storage for Counting {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.0.put(name, bytes)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        *self.1.lock().expect("no panic").entry(name.to_owned()).or_default() += 1;
        self.0.read(name)
    }

    fn list(&self) -> Result<Vec<String>, Failure> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.0.remove(name)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

#[test]
fn a_file_is_read_once_and_all_that_is_damaged_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    begin("counted", folder.path(), 4_000, 1).wait().expect("it ends");
    let dir = folder.path().join("survivor/checkpoints");
    let resumed = |plan: &Plan| {
        let storage = Arc::new(Counting(Local::open(&dir).expect("a folder"), Mutex::default()));
        let store = Store::open(storage.clone()).expect("a store");
        let resumed = resume(&store, plan, &Resumption::default());
        let read = storage.1.lock().expect("no panic").clone();
        (resumed.map(|resumed| resumed.expect("there is one").manifest), read)
    };
    let mut plan = job("counted", folder.path(), 4_000);
    let (manifest, read) = resumed(&plan);
    let manifest = manifest.expect("it fits");
    let files: Vec<&String> = manifest.files().map(|file| &file.name).collect();
    assert!(files.len() > 3 && files.iter().all(|name| read[*name] == 1), "{read:?}");
    for name in &files[..2] {
        fs::write(dir.join(name), "something else").expect("written");
    }
    let said = resumed(&plan).0.expect_err("damaged").to_string();
    assert!(files[..2].iter().all(|name| said.contains(*name)) && said.contains("--from ID"), "{said}");
    plan.sinks.iter_mut().for_each(|sink| sink.delivery = Delivery::AtLeastOnce);
    assert!(resumed(&plan).0.is_ok_and(|before| before.id < manifest.id), "the one before is taken");
}
