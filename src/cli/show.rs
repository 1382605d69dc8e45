//! Numbers, times and plans as people read them.

use crate::engine::metrics::StepCounts;
use crate::engine::{Condition, Health};
use crate::job::plan::Output;
use crate::job::{Plan, StepPlan};
use crate::time::{self, AFTER_ALL, BEFORE_ALL, EventTime};
use std::time::Duration;

/// A plan in one sentence.
pub fn plan(plan: &Plan) -> String {
    let written = plan.sinks.iter().filter(|s| !s.implicit).count();
    format!("{}, {}, {}", count(plan.sources.len(), "source"), count(plan.steps.len(), "step"), count(written, "sink"))
}

/// A number of things: `1 step`, `2 steps`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number as u64), if number == 1 { "" } else { "s" })
}

/// A number with its thousands apart: `1 234 567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number in three or four characters: `987`, `12.3k`, `4.56M`.
pub fn short(number: f64) -> String {
    match number.abs() {
        n if n < 1_000.0 => format!("{number:.0}"),
        n if n < 10_000.0 => format!("{:.2}k", number / 1e3),
        n if n < 100_000.0 => format!("{:.1}k", number / 1e3),
        n if n < 1e6 => format!("{:.0}k", number / 1e3),
        n if n < 1e7 => format!("{:.2}M", number / 1e6),
        n if n < 1e9 => format!("{:.1}M", number / 1e6),
        _ => format!("{:.2}G", number / 1e9),
    }
}

/// A duration in two units at most: `850 ms`, `12.3 s`, `4 min 10 s`, `3 h 05 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3_600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:02.0} min", (s / 3_600.0).floor(), (s % 3_600.0 / 60.0).floor()),
    }
}

/// A number of bytes: `812 B`, `34.5 kB`, `1.20 GB`.
pub fn bytes(number: u64) -> String {
    let (scaled, unit) = match number as f64 {
        n if n < 1e3 => return format!("{number} B"),
        n if n < 1e6 => (n / 1e3, "kB"),
        n if n < 1e9 => (n / 1e6, "MB"),
        n => (n / 1e9, "GB"),
    };
    let decimals = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.decimals$} {unit}")
}

/// How long ago something was, in one unit: `12 s ago`, `3 h ago`, `5 days ago`.
pub fn ago(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..120 => format!("{s} s ago"),
        s @ 120..7_200 => format!("{} min ago", s / 60),
        s @ 7_200..172_800 => format!("{} h ago", s / 3_600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// Rows under their headings, every column as wide as it must be. A column whose heading begins with a blank is set to
/// the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).map(|cell| cell.chars().count());
        cells.chain([headings[column].trim_start().chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for ((cell, width), heading) in row.iter().zip(&widths).zip(&headings) {
            match heading.strip_prefix(' ') {
                Some(_) => line.push_str(&format!("  {:>width$}", cell.trim_start())),
                None => line.push_str(&format!("  {cell:<width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A watermark: `2026-01-01 12:00:03`, or in words where there is none.
pub fn watermark(watermark: EventTime) -> String {
    match watermark {
        BEFORE_ALL => "none yet".into(),
        AFTER_ALL => "ended".into(),
        time => time::format(time - time.rem_euclid(1_000_000)).replace('T', " ").trim_end_matches('Z').to_owned(),
    }
}

/// An output's name behind its node's: `scores`, `scores.late`.
pub fn port(node: &str, output: Output) -> String {
    if output == Output::Out { node.to_owned() } else { format!("{node}.{}", output.name()) }
}

/// Where a job keeps what no sink takes.
pub fn dead_letters(plan: &Plan) -> String {
    plan.data_dir.join(&plan.name).join("dead-letters").display().to_string()
}

/// What is wrong with a source or sink, if something is: `open since 12:00:13 UTC: broker 10.0.0.1:9092 is away ...`.
pub fn unwell(condition: &Condition) -> Option<String> {
    let Condition { health, since, reason } = condition;
    let since = since
        .map(|since| format!(" since {} UTC", time::format(since).get(11..19).unwrap_or_default()))
        .unwrap_or_default();
    let reason = reason.as_deref().unwrap_or_default();
    (*health != Health::Healthy).then(|| format!("{health}{since}: {reason}"))
}

/// What is to be done about a step whose keys grow without end, if they do.
pub fn growing(step: &StepPlan, counts: &StepCounts) -> Option<String> {
    let ttl = if step.forgets { "a ttl (ttl = \"1h\") or " } else { "" };
    let advice = format!("it remembers ever more keys, more than 100,000 now; give it {ttl}a key with fewer values");
    counts.grows.then_some(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (1_234.0, "1.23k"), (45_678.0, "45.7k"), (2_500_000.0, "2.50M")]
        {
            assert_eq!(short(number), text);
        }
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((count(1, "step"), count(2, "step")), ("1 step".into(), "2 steps".into()));
    }

    #[test]
    fn sizes_and_ages_are_short() {
        for (number, text) in [(812, "812 B"), (34_560, "34.6 kB"), (1_200_000_000, "1.20 GB"), (999_960, "1000 kB")] {
            assert_eq!(bytes(number), text);
        }
        for (seconds, text) in [(12, "12 s ago"), (200, "3 min ago"), (9_000, "2 h ago"), (500_000, "5 days ago")] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".into(), "7".into(), "x".into()], vec!["long".into(), "1234".into(), String::new()]];
        assert_eq!(table(&["name", " n", "more"], &rows), "  name     n  more\n  a        7  x\n  long  1234\n");
    }

    #[test]
    fn durations_have_two_units() {
        for (ms, text) in [(850, "850 ms"), (12_340, "12.3 s"), (250_000, "4 min 10 s"), (11_100_000, "3 h 05 min")] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }
}
