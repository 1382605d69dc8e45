//! Same logs, same job: the same bits, for any number of workers, whatever the speed at which partitions are read and
//! wherever epochs are cut. A property test that shrinks to the smallest log that breaks it.

use crate::parts::{Event, put_log, registry, take_lines};
use eagre::engine;
use eagre::job::{self, Overrides};
use eagre::stats::random::Random;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Jobs that together use every operator; `collect` sinks take every output.
const JOBS: &[(&str, &str)] = &[
    (
        "windows",
        "[step.w]
        kind = 'aggregate'
        input = 'in'
        key = 'key'
        window = { size = '10s', slide = '5s' }
        allowed_lateness = '20s'
        early = '5s'
        aggregates = { n = 'count()', sum = 'sum(value)', mean = 'mean(value)', sd = 'stddev(value)', lo = 'min(value)', p90 = 'p90(value)', f = 'first(value)', l = 'last(value)' }",
    ),
    (
        "chained",
        "[step.w]
        kind = 'aggregate'
        input = 'in'
        key = ['site', 'key']
        window = '5s'
        allowed_lateness = '5s'
        aggregates = { mean = 'mean(value)', n = 'count()' }
        [step.x]
        kind = 'aggregate'
        input = 'w'
        key = 'site'
        window = '20s'
        allowed_lateness = '30s'
        aggregates = { sd = 'stddev(mean)', sum = 'sum(mean)', n = 'sum(n)' }",
    ),
    (
        "sessions",
        "[step.w]
        kind = 'aggregate'
        input = 'in'
        key = 'key'
        window = { session = '3s' }
        aggregates = { n = 'count()', sum = 'sum(value)', sd = 'stddev(value)' }
        [step.c]
        kind = 'aggregate'
        input = 'in'
        key = 'key'
        window = { count = 7 }
        aggregates = { sum = 'sum(value)', l = 'last(value)' }",
    ),
    (
        "scores",
        "[step.z]
        kind = 'zscore'
        input = 'in'
        key = 'key'
        field = 'value'
        window = 8
        warmup = 3
        emit = 'all'
        [step.n]
        kind = 'novelty'
        input = 'in'
        key = 'key'
        field = 'value'
        warmup = 3
        [step.r]
        kind = 'refractory'
        input = 'n'
        key = 'key'
        every = '4s'
        [step.by_site]
        kind = 'aggregate'
        input = 'z'
        key = 'site'
        window = '10s'
        aggregates = { sum = 'sum(z)', sd = 'stddev(value)' }",
    ),
    (
        "rowwise",
        "[step.v]
        kind = 'validate'
        input = 'in'
        key = 'key'
        rules = [{ field = 'value', required = true }, { field = 'value', max = 90 }, { unique = ['value'], within = '30s' }]
        [step.a]
        kind = 'filter'
        input = 'v'
        where = 'value > 20'
        [step.b]
        kind = 'select'
        input = 'v'
        keep = ['key', 'site']
        derive = { value = 'value * 1.5' }
        [step.u]
        kind = 'union'
        input = ['a', 'b']
        [step.w]
        kind = 'aggregate'
        input = 'u'
        key = 'site'
        window = '10s'
        aggregates = { sum = 'sum(value)', sd = 'stddev(value)' }
        [step.late]
        kind = 'aggregate'
        input = 'w.late'
        key = 'key'
        window = 'global'
        aggregates = { sum = 'sum(value)' }
        [step.bad]
        kind = 'aggregate'
        input = 'v.rejected'
        key = 'reason'
        window = '1m'
        aggregates = { n = 'count()' }",
    ),
];

/// A job's whole text: the source, the steps, and a sink on every output of every step.
fn text(steps: &str, log: &str, seed: u64, epoch_records_max: usize) -> String {
    let names: Vec<&str> = steps.lines().filter_map(|l| l.trim().strip_prefix("[step.")?.strip_suffix(']')).collect();
    let mut text = format!(
        "name = 'determinism'\ndata_dir = '/tmp/eagre-test'\n[engine]\nepoch = '1ms'\nepoch_records_max = {epoch_records_max}\n
        [source.in]\nkind = 'log'\nlog = '{log}'\nseed = {seed}\nmax_delay = '2s'\nmax_drift = '10s'\n{steps}\n"
    );
    for (i, (step, port)) in
        names.iter().flat_map(|step| ["out", "rejected", "late"].map(|port| (step, port))).enumerate()
    {
        text.push_str(&format!(
            "[sink.s{i}]\nkind = 'collect'\ninput = '{step}.{port}'\ninto = '{log}.{step}.{port}'\n"
        ));
    }
    text
}

/// Every output of a run, sorted.
fn run(steps: &str, log: &str, seed: u64, epoch_records_max: usize, workers: usize) -> Vec<String> {
    let text = text(steps, log, seed, epoch_records_max);
    let plan = job::plan(&text, "test.toml", &Overrides::default(), &registry())
        .unwrap_or_else(|f| panic!("{}", f.render(false)));
    engine::start(plan, workers).unwrap().wait().unwrap();
    let mut lines = Vec::new();
    for step in steps.lines().filter_map(|l| l.trim().strip_prefix("[step.")?.strip_suffix(']')) {
        for port in ["out", "rejected", "late"] {
            lines.extend(
                take_lines(&format!("{log}.{step}.{port}")).into_iter().map(|line| format!("{step}.{port} {line}")),
            );
        }
    }
    lines.sort_unstable();
    lines
}

/// A log as proptest makes it: for each record the step of time in ms, how late it comes in ms, key, and value in
/// tenths.
type Seeds = Vec<Vec<(u16, u16, u8, Option<i16>)>>;

fn logs() -> impl Strategy<Value = Seeds> {
    let late = prop_oneof![6 => Just(0u16), 3 => 0..3_000u16, 1 => 0..30_000u16];
    let record = (0..1_500u16, late, 0..5u8, proptest::option::weighted(0.95, -100..1_000i16));
    prop::collection::vec(prop::collection::vec(record, 0..120), 1..4)
}

fn events(seeds: &Seeds) -> Vec<Vec<Event>> {
    let event = |now: i64, (_, late, key, value): (u16, u16, u8, Option<i16>)| Event {
        time: (now - i64::from(late)) * 1_000,
        key: format!("k{key}"),
        site: format!("s{}", key % 2),
        // Tenths, thirds and sevenths: sums of these depend on their order in the last bits.
        value: value.map(|v| f64::from(v) / [10.0, 3.0, 7.0][usize::from(key) % 3]),
    };
    let partition = |seeds: &Vec<(u16, u16, u8, Option<i16>)>| {
        let mut now = 1_767_225_600_000;
        let mut events = Vec::new();
        for seed in seeds {
            now += i64::from(seed.0);
            events.push(event(now, *seed));
        }
        events
    };
    seeds.iter().map(partition).collect()
}

fn the_same_bits(job: usize, seeds: &Seeds, salt: u64) -> Result<(), TestCaseError> {
    static LOG: AtomicU64 = AtomicU64::new(0);
    let log = format!("determinism-{}", LOG.fetch_add(1, Ordering::Relaxed));
    put_log(&log, events(seeds));
    let (name, steps) = JOBS[job];
    let expected = run(steps, &log, salt, 64, 1);
    for (i, workers) in [1, 2, 3, 8].into_iter().enumerate() {
        let epoch_records_max = 1 + Random::new(salt ^ workers as u64).pick(150) as usize;
        let again = run(steps, &log, salt + 1 + i as u64, epoch_records_max, workers);
        let differs = expected.iter().zip(&again).find(|(a, b)| a != b);
        prop_assert_eq!(
            expected.len(),
            again.len(),
            "{} on {} workers: number of rows; first difference {:?}",
            name,
            workers,
            differs
        );
        prop_assert!(differs.is_none(), "{name} on {workers} workers, epochs of {epoch_records_max}: {differs:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn windows_have_the_same_bits(seeds in logs(), salt in any::<u32>()) {
        the_same_bits(0, &seeds, salt.into())?;
    }

    #[test]
    fn windows_of_windows_have_the_same_bits(seeds in logs(), salt in any::<u32>()) {
        the_same_bits(1, &seeds, salt.into())?;
    }

    #[test]
    fn sessions_and_counts_have_the_same_bits(seeds in logs(), salt in any::<u32>()) {
        the_same_bits(2, &seeds, salt.into())?;
    }

    #[test]
    fn scores_have_the_same_bits(seeds in logs(), salt in any::<u32>()) {
        the_same_bits(3, &seeds, salt.into())?;
    }

    #[test]
    fn rows_that_pass_reject_and_come_late_have_the_same_bits(seeds in logs(), salt in any::<u32>()) {
        the_same_bits(4, &seeds, salt.into())?;
    }
}
