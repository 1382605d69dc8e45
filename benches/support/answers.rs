//! Whether programs gave the same answer: the same rows, counts equal, floats to 1e-9 of their size.
//!
//! Rows are JSON lines in one file, or in one for each thread; in any order, with the job's fields and any others.
//! Times are milliseconds, or RFC 3339.

use serde::Deserialize;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Compares the answers of some programs with the first one; gives its number of rows.
pub fn compare(outputs: &[PathBuf]) -> Result<usize, Box<dyn Error>> {
    let [first, others @ ..] = outputs else { return Ok(0) };
    let expected = rows(first)?;
    for other in others {
        let found = rows(other)?;
        let (one, two) = (first.display(), other.display());
        if found.len() != expected.len() {
            return Err(format!("{one} has {} rows, {two} {}", expected.len(), found.len()).into());
        }
        if let Some((a, b)) = expected.iter().zip(&found).find(|(a, b)| !same(a, b)) {
            return Err(format!("{one} says {a:?}, {two} {b:?}").into());
        }
    }
    Ok(expected.len())
}

/// The files that a program may have written: eagre and most others one, the floor one for each thread.
pub fn files(output: &Path) -> [PathBuf; 3] {
    [output.to_owned(), output.with_added_extension("0"), output.with_added_extension("1")]
}

/// A row of any of the jobs.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Row<'a> {
    /// The window, or in J3 the event.
    #[serde(alias = "ts")]
    window_start: Time<'a>,
    sensor: String,
    count: Option<u64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    stddev: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    value: Option<f64>,
    deviation: Option<f64>,
    z: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Milliseconds(i64),
    Text(&'a str),
}

/// What rows are ordered and compared by.
#[derive(Debug)]
struct Answer {
    milliseconds: i64,
    sensor: String,
    count: Option<u64>,
    /// The mean, to whose size a deviation's error belongs.
    mean: f64,
    /// Equal to 1e-9 of their size.
    numbers: [Option<f64>; 8],
    /// stddev, deviation. Who subtracts sums of squares has an error of the size of the mean's square in the variance.
    deviations: [Option<f64>; 2],
    z: Option<f64>,
}

fn rows(output: &Path) -> Result<Vec<Answer>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for file in files(output).into_iter().filter(|file| file.exists()) {
        for line in fs::read_to_string(file)?.lines() {
            rows.push(answer(serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?)?);
        }
    }
    let value = |answer: &Answer| answer.numbers[7].unwrap_or(0.0);
    rows.sort_unstable_by(|a, b| {
        (a.milliseconds, &a.sensor).cmp(&(b.milliseconds, &b.sensor)).then(value(a).total_cmp(&value(b)))
    });
    Ok(rows)
}

fn answer(row: Row<'_>) -> Result<Answer, Box<dyn Error>> {
    let milliseconds = match row.window_start {
        Time::Milliseconds(time) => time,
        Time::Text(text) => eagre::time::parse(text)?.div_euclid(1000),
    };
    Ok(Answer {
        milliseconds,
        sensor: row.sensor,
        count: row.count,
        mean: row.mean.ok_or("a row without a mean")?,
        numbers: [row.sum, row.min, row.max, row.mean, row.p50, row.p95, row.p99, row.value],
        deviations: [row.stddev, row.deviation],
        z: row.z,
    })
}

fn same(a: &Answer, b: &Answer) -> bool {
    let both = |a: Option<f64>, b: Option<f64>, close: &dyn Fn(f64, f64) -> bool| match (a, b) {
        (Some(a), Some(b)) => close(a, b),
        (None, None) => true,
        _ => false,
    };
    let number = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(1.0);
    let deviation = |x: f64, y: f64| (x * x - y * y).abs() <= 1e-9 * (a.mean * a.mean).max(1.0);
    let score = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(1.0);
    (a.milliseconds, &a.sensor, a.count) == (b.milliseconds, &b.sensor, b.count)
        && a.numbers.iter().zip(&b.numbers).all(|(a, b)| both(*a, *b, &number))
        && a.deviations.iter().zip(&b.deviations).all(|(a, b)| both(*a, *b, &deviation))
        && both(a.z, b.z, &score)
}
