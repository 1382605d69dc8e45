//! Windows and z-scores equal those of DuckDB: an oracle that we did not write.
//!
//! `tests/oracles/` has the data (three files, out of order by up to 2 s, with nulls, ties and one value of 1e12), the
//! SQL and what DuckDB made of it; `make.py` there makes all of it. Every case runs as a job on one worker and on
//! three. The rows must be the same ones, none missing and none extra; counts, keys, times and texts exactly; floats to
//! 1e-12 of themselves, and z (a difference, which may be near 0) to 1e-12 of itself or of 1.

use eagre::job::{self, Overrides};
use eagre::{engine, time};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-12;

pub type Row = Map<String, Value>;

/// Rows by their key columns.
pub type Rows = BTreeMap<Vec<String>, Row>;

const WINDOWS: &[&str] = &["window_start", "sensor"];
const SCORES: &[&str] = &["id"];

#[test]
fn tumbling() {
    let aggregates =
        "n = 'count()'\nvalues = 'count(value)'\nsum = 'sum(value)'\nmin = 'min(value)'\nmax = 'max(value)'
        mean = 'mean(value)'\nvariance = 'variance(value)'\nsample_variance = 'sample_variance(value)'
        stddev = 'stddev(value)'\nsample_stddev = 'sample_stddev(value)'\nfirst = 'first(value)'\nlast = 'last(value)'
        p50 = 'exact_quantile(value, 0.5)'\np95 = 'exact_quantile(value, 0.95)'\np99 = 'exact_quantile(value, 0.99)'
        rate = 'rate()'";
    aggregate("tumbling", WINDOWS, "key = 'sensor'\nwindow = '10s'", aggregates);
}

#[test]
fn integers_and_expressions() {
    let aggregates =
        "n = 'count(bytes)'\nsum = 'sum(bytes)'\nmin = 'min(bytes)'\nmax = 'max(bytes)'\nmean = 'avg(bytes)'
        variance = 'var_pop(bytes)'\nsample_stddev = 'stddev_samp(bytes)'\nfirst = 'first(bytes)'
        ratio = 'sum(bytes / value)'";
    aggregate("integers", WINDOWS, "key = 'sensor'\nwindow = '10s'", aggregates);
}

#[test]
fn hopping() {
    let aggregates =
        "n = 'count()'\nsum = 'sum(value)'\nmin = 'min(value)'\nmax = 'max(value)'\nstddev = 'stddev(value)'
        bytes = 'max(bytes)'";
    aggregate("hopping", WINDOWS, "key = 'sensor'\nwindow = { size = '60s', slide = '5s' }", aggregates);
}

#[test]
fn sessions() {
    let aggregates = "n = 'count()'\nsum = 'sum(value)'\nmean = 'mean(value)'\nstddev = 'stddev(value)'
        first = 'first(value)'\nmedian = 'exact_median(value)'";
    aggregate("session", WINDOWS, "key = 'sensor'\nwindow = { session = '4s' }", aggregates);
}

#[test]
fn windows_of_so_many_records() {
    let aggregates = "n = 'count()'\nsum = 'sum(value)'\nvariance = 'variance(value)'\nmax = 'max(value)'";
    aggregate("counted", WINDOWS, "key = 'sensor'\nwindow = { count = 25 }", aggregates);
}

#[test]
fn one_window_of_everything() {
    let aggregates = "n = 'count()'\nsum = 'sum(value)'\nmin = 'min(value)'\nmax = 'max(value)'\nmean = 'mean(value)'
        stddev = 'stddev(value)'\nbytes = 'sum(bytes)'\np99 = 'exact_quantile(value, 0.99)'";
    aggregate("global", &["site"], "key = 'site'\nwindow = 'global'", aggregates);
    let aggregates =
        "n = 'count()'\nvalues = 'count(value)'\nsum = 'sum(value)'\nsample_variance = 'sample_variance(value)'
        p999 = 'exact_quantile(value, 0.999)'";
    aggregate("everything", &[], "window = 'global'", aggregates);
}

#[test]
fn two_keys() {
    let aggregates = "n = 'count()'\nsum = 'sum(value)'\nmean = 'mean(bytes)'\nvariance = 'variance(bytes)'";
    aggregate("two_keys", &["window_start", "site", "sensor"], "key = ['site', 'sensor']\nwindow = '30s'", aggregates);
}

/// Exact, because a `top_k` holds more values than there are codes.
#[test]
fn top_k() {
    let key = ["window_start", "site", "rank"];
    let step =
        "kind = 'aggregate'\ninput = 'in'\nkey = 'site'\nwindow = '30s'\naggregates = { top = 'top_k(code, 3)' }";
    for workers in [1, 3] {
        let ranked = run(step, workers).out.into_iter().flat_map(|row| {
            let top: Vec<Row> = serde_json::from_str(row["top"].as_str().unwrap()).unwrap();
            top.into_iter().zip(1..).map(move |(mut heavy, rank)| {
                heavy.insert("rank".into(), Value::from(rank));
                heavy.extend(["window_start", "site"].map(|name| (name.to_owned(), row[name].clone())));
                heavy
            })
        });
        compare("top_k", &key, by_key(ranked.collect(), &key), agrees);
    }
}

/// HyperLogLog at precision 12 has a standard error of 1.6 %; none of these is further off than three of them.
#[test]
fn distinct() {
    let key = ["window_start", "site"];
    let step = "kind = 'aggregate'\ninput = 'in'\nkey = 'site'\nwindow = '30s'
        aggregates = { ids = 'distinct(id)', codes = 'distinct(code)' }";
    for workers in [1, 3] {
        compare("distinct", &key, by_key(run(step, workers).out, &key), |column, expected, found| {
            let off = || number(expected) - number(&canonical(found));
            key.contains(&column) || off().abs() <= (3.0 * 0.01625 * number(expected)).round()
        });
    }
}

#[test]
fn zscore_of_the_last_hundred() {
    score("rolling", "in", "window = 100");
}

#[test]
fn zscore_of_the_last_minute() {
    score("rolling_time", "frequent", "window = '60s'");
}

#[test]
fn zscore_that_forgets_exponentially() {
    score("ewma", "frequent", "ewma = { alpha = 0.05 }");
    score("ewma_time", "frequent", "ewma = { half_life = '20s' }");
}

#[test]
fn zscore_by_median_and_mad() {
    score("robust", "frequent", "robust = { window = 100 }");
}

/// Windows on one worker and on three; nothing is rejected, nothing late.
#[track_caller]
fn aggregate(case: &str, key: &[&str], windows: &str, aggregates: &str) {
    let step = format!("kind = 'aggregate'\ninput = 'in'\n{windows}\n[step.out.aggregates]\n{aggregates}");
    for workers in [1, 3] {
        let ran = run(&step, workers);
        assert_eq!((ran.rejected, ran.late), (0, 0), "{case}: rejected, late");
        compare(case, key, by_key(ran.out, key), agrees);
    }
}

/// Scores on one worker and on three; what has no value is rejected and nothing else, and nothing is late.
#[track_caller]
fn score(case: &str, input: &str, baseline: &str) {
    let step = format!(
        "kind = 'zscore'\ninput = '{input}'\nkey = 'sensor'\nfield = 'value'\nemit = 'all'\n{baseline}
        [step.frequent]\nkind = 'filter'\ninput = 'in'\nwhere = \"sensor < 's06'\""
    );
    let data = (0..3).flat_map(|partition| read_rows(&folder().join(format!("data/p{partition}.jsonl"))));
    let without = data.filter(|row| row.get("value").is_none_or(Value::is_null));
    let without = without.filter(|row| input == "in" || row["sensor"].as_str() < Some("s06")).count();
    for workers in [1, 3] {
        let ran = run(&step, workers);
        assert_eq!((ran.rejected, ran.late), (without, 0), "{case}: rejected, late");
        compare(case, SCORES, by_key(ran.out, SCORES), agrees);
    }
}

/// Whether a value is the expected one: floats to the tolerance, all others exactly.
pub fn agrees(column: &str, expected: &str, found: &Value) -> bool {
    match found.as_f64().filter(|_| found.is_f64() && !expected.is_empty()) {
        None => canonical(found) == expected,
        Some(found) => {
            let expected = number(expected);
            let least = if column == "z" { 1.0 } else { 0.0 };
            (found - expected).abs() <= TOLERANCE * found.abs().max(expected.abs()).max(least)
        }
    }
}

/// Compares every column of `expected/{case}.psv`; panics with the first differences.
#[track_caller]
pub fn compare(case: &str, key: &[&str], mut found: Rows, agrees: impl Fn(&str, &str, &Value) -> bool) {
    let text = fs::read_to_string(folder().join("expected").join(format!("{case}.psv"))).unwrap();
    let mut lines = text.lines().map(|line| line.split('|').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let at: Vec<usize> = key.iter().map(|name| columns.iter().position(|column| column == name).unwrap()).collect();
    let mut wrong = Vec::new();
    for cells in lines {
        let key: Vec<String> = at.iter().map(|i| cells[*i].to_owned()).collect();
        let Some(row) = found.remove(&key) else {
            wrong.push(format!("{key:?} is missing"));
            continue;
        };
        for (column, expected) in columns.iter().zip(cells) {
            let found = row.get(*column).unwrap_or_else(|| panic!("{case}: no field `{column}` in {row:?}"));
            if !agrees(column, expected, found) {
                wrong.push(format!("{key:?}: {column} is {found}, DuckDB says {expected}"));
            }
        }
    }
    wrong.extend(found.into_keys().map(|key| format!("{key:?} is extra")));
    let shown = wrong[..wrong.len().min(10)].join("\n");
    assert!(wrong.is_empty(), "{case}: {} cells or rows differ:\n{shown}", wrong.len());
}

/// What came out of a job.
struct Ran {
    out: Vec<Row>,
    rejected: usize,
    late: usize,
}

/// Runs a job whose step `out` is this one, over the three files.
fn run(step: &str, workers: usize) -> Ran {
    let temporary = tempfile::tempdir().unwrap();
    let (data, to) = (folder().join("data"), temporary.path());
    let sink = |port: &str| {
        format!("[sink.to_{port}]\nkind = 'file'\ninput = 'out.{port}'\npath = '{}/{port}.jsonl'\n", to.display())
    };
    let text = format!(
        "name = 'oracle'\ndata_dir = '{}'
        [source.in]\nkind = 'file'\npath = '{}/p*.jsonl'\nmax_delay = '2s'\nevent_time = 'ts'
        [source.in.fields]\nts = 'time(ms)'\nid = 'int'\nvalue = 'float'\nbytes = 'int'
        sensor = 'text'\nsite = 'text'\ncode = 'text'
        [step.out]\n{step}\n{}",
        to.display(),
        data.display(),
        ["out", "rejected", "late"].map(sink).concat()
    );
    let plan = job::plan(&text, "oracle.toml", &Overrides::default(), &eagre::standard());
    let plan = plan.unwrap_or_else(|faulty| panic!("{}", faulty.render(false)));
    engine::start(plan, workers).unwrap().wait().unwrap();
    let rows = |port: &str| read_rows(&to.join(format!("{port}.jsonl")));
    Ran { out: rows("out"), rejected: rows("rejected").len(), late: rows("late").len() }
}

/// The rows of a file of JSON lines; none where there is no file, since one appears with its first row.
pub fn read_rows(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
pub fn by_key(rows: Vec<Row>, key: &[&str]) -> Rows {
    let mut keyed = Rows::new();
    for row in rows {
        let key: Vec<String> = key.iter().map(|name| canonical(&row[*name])).collect();
        assert!(keyed.insert(key.clone(), row).is_none(), "{key:?} came twice");
    }
    keyed
}

/// A value as DuckDB wrote it: nothing for null, microseconds for a time.
fn canonical(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => time::parse(text).map_or_else(|_| text.clone(), |time| time.to_string()),
        value => value.to_string(),
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles")
}
