//! What a step allocates does not grow with the records that come in.
//!
//! An allocator that counts serves the whole process, so this is a test program of its own, with one test in it: beside
//! others, their allocations would be counted too.

use eagre::batch::{Batch, Head};
use eagre::engine::driver::{Driver, Mark, Ordering};
use eagre::key::Keys;
use eagre::operator::{Planning, StepNames};
use eagre::origin::Origins;
use eagre::schema::{self, Field, Kind, Schema};
use eagre::stats::random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counted.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator has no safe form")]
// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps to the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the place was given out by `alloc`, which is the system's.
        unsafe { System.dealloc(place, layout) }
    }
}

const SENSORS: usize = 500;

/// A step of one input, alone on a worker.
struct Step {
    driver: Driver,
    input: Schema,
    random: Random,
    time: i64,
    epoch: u64,
}

impl Step {
    fn new(kind: &str, config: &str) -> Step {
        let input = Schema::new([Field::new("sensor", Kind::Text), Field::new("value", Kind::Float)]);
        let registry = eagre::standard();
        let part = registry.operators().iter().find(|part| part.name == kind).expect("a kind that there is");
        let operator = (part.parse)(toml::Value::Table(config.parse().expect("TOML"))).expect("a configuration");
        let (inputs, key) = ([input.clone()], [input.fields()[0].clone()]);
        let planned = operator.plan(&mut Planning::new("step", &inputs, &key, None)).expect("a plan");
        let origins = Origins::new(vec!["step".into()]);
        origins.assign("in[0]");
        let late = vec![schema::late(&input)];
        let names = StepNames { name: "step".into(), number: 0, output: planned.output, late, origins };
        let driver = Driver::new(names, (planned.make)(), Ordering::from(planned.arrival), [0]);
        Step { driver, input, random: Random::new(1), time: 0, epoch: 0 }
    }

    /// Rows 1 ms apart, out of order by up to 50 ms.
    fn batch(&mut self, rows: usize) -> Batch {
        let first = self.time;
        let times = (first..).take(rows).map(|n| 1000 * n - self.random.pick(50_000) as i64).collect();
        self.time += rows as i64;
        let head = Head { times, origins: vec![0; rows], sequences: (first..).take(rows).collect(), stamps: vec![] };
        let sensor = |_| format!("sensor-{:05}", self.random.pick(SENSORS as u64));
        let sensors: arrow::array::ArrayRef =
            Arc::new(arrow::array::StringArray::from_iter_values((0..rows).map(sensor)));
        let values = arrow::array::Float64Array::from_iter_values((0..rows).map(|_| self.random.normal()));
        let keys = Keys::of(std::slice::from_ref(&sensors), rows);
        Batch::new(&self.input, head, vec![sensors, Arc::new(values)]).with_keys(keys)
    }

    /// Feeds a batch and closes its epoch; how many allocations that took, what came out included.
    fn feed(&mut self, rows: usize) -> usize {
        let batch = self.batch(rows);
        let watermark = 1000 * self.time - 50_000;
        let before = COUNT.load(Relaxed);
        self.driver.accept(0, batch);
        self.driver.hear(self.epoch, [Mark { source: 0, origin: 0, watermark }]);
        self.driver.close(Some(self.epoch + 1));
        drop(self.driver.drain());
        self.epoch += 1;
        COUNT.load(Relaxed) - before
    }
}

/// The most that a batch takes, of some rows and of eight times as many, once the step has run for a while. A batch in
/// which a window fires or an anomaly shows takes more, for the columns that it gives away.
#[track_caller]
fn check(kind: &str, config: &str, most: usize, most_with_results: usize) {
    let mut step = Step::new(kind, config);
    (0..100).for_each(|_| assert!(step.feed(1000) < usize::MAX));
    for rows in [500, 4000] {
        let counts: Vec<usize> = (0..40).map(|_| step.feed(rows)).collect();
        let (least, greatest) = (counts.iter().min().copied(), counts.iter().max().copied());
        let (least, greatest) = (least.expect("a count"), greatest.expect("a count"));
        println!("{kind}: {rows} rows, {least} to {greatest} allocations");
        assert!(least <= most && greatest <= most_with_results, "{kind}: {rows} rows took {least} to {greatest}");
    }
}

#[test]
fn what_a_batch_allocates_does_not_grow_with_its_rows() {
    let functions = "n = 'count()', sum = 'sum(value)', max = 'max(value)', stddev = 'stddev(value)'";
    check("aggregate", &format!("window = '10s'\naggregates = {{ {functions} }}"), 6, 120);
    check("aggregate", &format!("window = {{ size = '60s', slide = '5s' }}\naggregates = {{ {functions} }}"), 6, 120);
    check("zscore", "field = 'value'\nthreshold = 100", 80, 90);
}
