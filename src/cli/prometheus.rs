//! What is counted, as text that Prometheus reads, in a file: for the textfile collector of its node exporter.
//!
//! A file and no port, because a job has no server of its own, and no HTTP library is in its tree: the collector that
//! is on the machine anyway serves the file, and adds when it was written (`node_textfile_mtime_seconds`). It is
//! written aside and renamed, so that nobody reads half of it; all of a job's metrics carry its name, and that of the
//! process where there are several.

use crate::engine::metrics::{StepCounts, Tallied};
use crate::engine::{Condition, Health, Status};
use crate::job::Plan;
use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A file that is written again and again.
pub struct MetricsFile {
    path: PathBuf,
    /// Of several processes.
    process: Option<usize>,
    /// Why it could not be written the last time.
    wrong: Option<String>,
}

impl MetricsFile {
    /// The file of that path; each of several processes has its own, with its number before the end of the name.
    pub fn new(path: &Path, process: Option<usize>) -> MetricsFile {
        let numbered = |process: usize| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let end = path.extension().map_or(String::new(), |end| format!(".{}", end.to_string_lossy()));
            path.with_file_name(format!("{stem}-{process}{end}"))
        };
        MetricsFile { path: process.map_or(path.to_owned(), numbered), process, wrong: None }
    }

    /// Writes how a job stands. What cannot be written is said once, and stops nothing.
    pub fn write(&mut self, plan: &Plan, status: &Status, now: EventTime, runs: bool) {
        let text = text(plan, status, self.process, now, runs);
        let wrong = self.replace(&text).err().map(|error| error.to_string());
        if let Some(wrong) = wrong.as_ref().filter(|wrong| self.wrong.as_ref() != Some(wrong)) {
            say!("metrics cannot be written to {}: {wrong}", self.path.display());
        }
        self.wrong = wrong;
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".aside");
        fs::write(&aside, text)?;
        fs::rename(&aside, &self.path)
    }
}

/// Everything that is counted, at `now`, in microseconds since 1970.
fn text(plan: &Plan, status: &Status, process: Option<usize>, now: EventTime, runs: bool) -> String {
    let mut text = Text { lines: String::new(), common: format!("job=\"{}\"", escaped(&plan.name)) };
    if let Some(process) = process {
        text.common += &format!(",process=\"{process}\"");
    }
    let nothing = || Vec::<(&str, &str)>::new();
    text.family("eagre_running", "gauge", "Whether the job runs; 0 after its end.", [(nothing(), f64::from(runs))]);
    let seconds = status.elapsed.as_secs_f64();
    text.family("eagre_uptime_seconds", "gauge", "How long it has run.", [(nothing(), seconds)]);
    health(&mut text, plan, status);
    sources(&mut text, plan, status);
    steps(&mut text, plan, status);
    sinks(&mut text, plan, status);
    if plan.checkpoint.is_some() {
        checkpoints(&mut text, plan, status, now);
    }
    text.lines
}

struct Text {
    lines: String,
    /// The labels that every metric has.
    common: String,
}

impl Text {
    /// A metric with all its samples; nothing where there are none.
    fn family<L: AsRef<[(K, V)]>, K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let _ = write!(self.lines, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let labels = labels.as_ref().iter().map(|(k, v)| format!(",{}=\"{}\"", k.as_ref(), escaped(v.as_ref())));
            let _ = writeln!(self.lines, "{name}{{{}{}}} {value}", self.common, labels.collect::<String>());
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The conditions of all sources and sinks, as state sets: one of three states is 1.
fn health(text: &mut Text, plan: &Plan, status: &Status) {
    let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, _))| ("source", &p.name, &s.condition));
    let sinks = plan.sinks.iter().zip(&status.sinks).filter(|(p, _)| !p.implicit);
    let parts: Vec<_> = sources.chain(sinks.map(|(p, s)| ("sink", &p.name, &s.condition))).collect();
    let states = parts.iter().flat_map(|(part, name, condition)| {
        [Health::Healthy, Health::Degraded, Health::Open].map(|state| {
            let labels = vec![("part", *part), ("name", name.as_str())];
            let labels = [labels, vec![("state", state_name(state))]].concat();
            (labels, f64::from(condition.health == state))
        })
    });
    text.family("eagre_health", "gauge", "Which of three states a source or sink is in.", states);
    let since = parts.iter().filter_map(|(part, name, Condition { since, .. })| {
        Some((vec![("part", *part), ("name", name.as_str())], seconds((*since)?)))
    });
    text.family("eagre_health_since_timestamp_seconds", "gauge", "When that state began.", since);
    let reasons = parts.iter().filter_map(|(part, name, Condition { reason, .. })| {
        Some((vec![("part", *part), ("name", name.as_str()), ("reason", reason.as_deref()?)], 1.0))
    });
    text.family("eagre_health_reason", "gauge", "Why it is not healthy.", reasons);
}

fn state_name(state: Health) -> &'static str {
    match state {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Open => "open",
    }
}

/// Seconds since 1970.
fn seconds(time: EventTime) -> f64 {
    time as f64 / 1e6
}

fn sources(text: &mut Text, plan: &Plan, status: &Status) {
    let all = || plan.sources.iter().zip(&status.sources).map(|(p, (s, _))| ([("source", p.name.as_str())], s));
    let of = |count: fn(&crate::engine::metrics::SourceCounts) -> f64| all().map(move |(name, s)| (name, count(s)));
    text.family("eagre_source_records_total", "counter", "Records read.", of(|s| s.records as f64));
    text.family("eagre_source_rejected_total", "counter", "Records rejected.", of(|s| s.rejected as f64));
    text.family("eagre_source_late_total", "counter", "Records behind the watermark.", of(|s| s.late as f64));
    text.family("eagre_source_queue_batches", "gauge", "Batches that wait for a worker.", of(|s| s.queue as f64));
    let partitions = || {
        let source = |number: usize| plan.sources[number].name.as_str();
        let labels = move |s: usize, name| [("source", source(s)), ("partition", name)];
        status.partitions.iter().map(move |(_, s)| (labels(s.source, s.name.as_str()), s))
    };
    let lags = partitions().filter_map(|(labels, s)| Some((labels, s.behind? as f64)));
    text.family("eagre_partition_lag_records", "gauge", "Records that have not been read.", lags);
    let watermarks = partitions().filter_map(|(labels, s)| Some((labels, watermark(s.watermark)?)));
    text.family("eagre_partition_watermark_timestamp_seconds", "gauge", "How far event time is.", watermarks);
}

fn watermark(watermark: EventTime) -> Option<f64> {
    (watermark != BEFORE_ALL && watermark != AFTER_ALL).then(|| seconds(watermark))
}

fn steps(text: &mut Text, plan: &Plan, status: &Status) {
    let all = || plan.steps.iter().zip(&status.steps).map(|(p, s)| ([("step", p.name.as_str())], s));
    let of = |count: fn(&StepCounts) -> f64| all().map(move |(name, s)| (name, count(s)));
    text.family("eagre_step_in_records_total", "counter", "Records taken in.", of(|s| s.records as f64));
    text.family("eagre_step_out_records_total", "counter", "Records given out.", of(|s| s.out as f64));
    text.family("eagre_step_rejected_total", "counter", "Records rejected.", of(|s| s.rejected as f64));
    text.family("eagre_step_late_total", "counter", "Records found late.", of(|s| s.late as f64));
    let busy = of(|s| s.busy_ns.iter().sum::<u64>() as f64 / 1e9);
    text.family("eagre_step_busy_seconds_total", "counter", "Time at work, over all workers.", busy);
    text.family("eagre_step_keys", "gauge", "Keys that have state.", of(|s| s.keys as f64));
    text.family("eagre_step_waiting_records", "gauge", "Records that wait for order.", of(|s| s.waiting as f64));
    let watermarks = all().filter_map(|(name, s)| Some((name, watermark(s.watermark)?)));
    text.family("eagre_step_watermark_timestamp_seconds", "gauge", "How far event time is.", watermarks);
}

fn sinks(text: &mut Text, plan: &Plan, status: &Status) {
    let all = || plan.sinks.iter().zip(&status.sinks).map(|(p, s)| ([("sink", p.name.as_str())], s));
    let written = all().map(|(name, s)| (name, s.records as f64));
    text.family("eagre_sink_records_total", "counter", "Records written.", written);
    let waiting = all().map(|(name, s)| (name, s.queue as f64));
    text.family("eagre_sink_queue_batches", "gauge", "Batches that wait to be written.", waiting);
}

/// The age is since the newest of this run was begun, or since the run began: it grows where none is made any more.
/// Of several processes the first makes them; each says what its own steps took.
fn checkpoints(text: &mut Text, plan: &Plan, status: &Status, now: EventTime) {
    let (count, newest, _) = &status.checkpoints;
    let mut one = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        text.family(name, kind, help, value.map(|value| (Vec::<(&str, &str)>::new(), value)));
    };
    one("eagre_checkpoints_total", "counter", "Checkpoints made by this run.", Some(*count as f64));
    let newest = newest.as_ref();
    let age = newest.map_or(status.elapsed, |made| made.age(now)).as_secs_f64();
    one("eagre_checkpoint_age_seconds", "gauge", "How much would be done again.", Some(age));
    one("eagre_checkpoint_id", "gauge", "The number of the newest.", newest.map(|made| made.id as f64));
    let took = newest.map(|made| made.took as f64 / 1e6);
    one("eagre_checkpoint_duration_seconds", "gauge", "How long the newest took.", took);
    one("eagre_checkpoint_bytes", "gauge", "What the newest comes to.", newest.map(|made| made.bytes as f64));
    let mut tally = |what: &str, unit: &str, per_unit: f64, help: &str, of: fn(&StepCounts) -> Tallied| {
        let all = || plan.steps.iter().zip(&status.steps).map(|(p, s)| ([("step", p.name.as_str())], of(s)));
        let name = format!("eagre_checkpoint_step_{what}{unit}");
        let of = |count: fn(Tallied) -> u64| all().map(move |(name, tally)| (name, count(tally) as f64 / per_unit));
        text.family(&name, "gauge", &format!("{help}, for the newest."), of(|tally| tally.newest));
        text.family(
            &format!("{name}_max"),
            "gauge",
            &format!("{help}, at most, on one worker."),
            of(|tally| tally.most),
        );
        text.family(&format!("{name}_total"), "counter", &format!("{help}, for all."), of(|tally| tally.total));
    };
    tally("copy", "_seconds", 1e9, "Copying state on the workers", |s| s.saved.copy_ns);
    tally("write", "_seconds", 1e9, "Encoding and writing it off the workers", |s| s.saved.write_ns);
    tally("bytes", "", 1.0, "Bytes written", |s| s.saved.bytes);
    tally("groups", "", 1.0, "Key groups written", |s| s.saved.groups);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut text = Text { lines: String::new(), common: "job=\"a\"".into() };
        text.family("x_total", "counter", "Counts.", [([("step", "s \"1\"\\\n")], 1.5), ([("step", "t")], 2e9)]);
        text.family("none", "gauge", "Is not there.", Vec::<([(&str, &str); 0], f64)>::new());
        let expected = "# HELP x_total Counts.\n# TYPE x_total counter\n\
            x_total{job=\"a\",step=\"s \\\"1\\\"\\\\\\n\"} 1.5\nx_total{job=\"a\",step=\"t\"} 2000000000\n";
        assert_eq!(text.lines, expected);
    }

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let path = |path: &str, process| MetricsFile::new(Path::new(path), process).path;
        assert_eq!(path("/a/eagre.prom", None), Path::new("/a/eagre.prom"));
        assert_eq!(path("/a/eagre.prom", Some(2)), Path::new("/a/eagre-2.prom"));
        assert_eq!(path("eagre", Some(0)), Path::new("eagre-0"));
    }
}
