//! What `eagre run --format json` says on standard error: an object on every line, each with its `kind`.
//!
//! `status` every second and `summary` at the end count everything; `stopping` says that a signal was heard, `error`
//! why the job did not run or failed. Times are RFC 3339, or null where there is none.

use super::doctor;
use crate::engine::{Condition, Spent, Standing, Status, metrics};
use crate::job::Plan;
use crate::time::{self, AFTER_ALL, BEFORE_ALL, EventTime};
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that is counted; `kind` is `status` or `summary`.
pub fn status(kind: &str, plan: &Plan, status: &Status) -> Value {
    let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, total))| {
        json!({ "name": p.name, "records": s.records, "rejected": s.rejected, "late": s.late, "queue": s.queue,
            "queue_most": s.queue_most, "progress": s.progress, "total": total, "busy_ns": s.busy_ns,
            "health": health(&s.condition), "trouble": s.condition.reason })
    });
    let steps = plan.steps.iter().zip(&status.steps).map(|(p, s)| step(&p.name, p.kind, s));
    let sinks = plan.sinks.iter().zip(&status.sinks).map(|(p, s)| {
        json!({ "name": p.name, "kind": p.kind, "dead_letters": p.implicit, "records": s.records, "queue": s.queue,
            "queue_most": s.queue_most, "busy_ns": s.busy_ns, "health": health(&s.condition),
            "trouble": s.condition.reason })
    });
    let partitions = status.partitions.iter().map(|(origin, s)| {
        json!({ "origin": origin, "name": s.name, "watermark": time_or_null(s.watermark), "offset": s.sequence,
            "records": s.records, "behind": s.behind, "idle": s.idle, "ended": s.ended })
    });
    json!({ "kind": kind, "job": plan.name, "elapsed_s": status.elapsed.as_secs_f64(), "stopped": status.stopped,
        "partitions": partitions.collect::<Vec<_>>(), "sources": sources.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(), "sinks": sinks.collect::<Vec<_>>(), "cpu_ns": spent(&status.spent),
        "oldest": doctor::slowest(status).map(oldest) })
}

/// That a signal was heard.
pub fn stopping() -> Value {
    json!({ "kind": "stopping" })
}

/// Why the job did not run, or failed.
pub fn error(message: &str, help: Option<&str>) -> Value {
    json!({ "kind": "error", "error": message, "help": help })
}

/// How a source or sink is, and since when; `trouble` beside it says why.
fn health(condition: &Condition) -> Value {
    json!({ "state": condition.health.to_string(), "since": condition.since.map(time::format) })
}

fn step(name: &str, kind: &str, counts: &metrics::StepCounts) -> Value {
    let open = counts.epoch != u64::MAX;
    json!({ "name": name, "kind": kind, "records": counts.records, "batches": counts.batches, "out": counts.out,
        "rejected": counts.rejected, "late": counts.late, "waiting": counts.waiting, "keys": counts.keys, "grows": counts.grows,
        "busy_ns": counts.busy_ns, "watermark": time_or_null(counts.watermark),
        "ended": counts.watermark == AFTER_ALL, "epoch": open.then_some(counts.epoch) })
}

/// The partition that holds everything back.
fn oldest(partition: &Standing) -> Value {
    json!({ "partition": partition.name, "offset": partition.sequence,
        "watermark": time_or_null(partition.watermark), "for_s": partition.advanced.elapsed().as_secs_f64(),
        "idle": partition.idle })
}

/// Processor time of every thread, in nanoseconds: with `else` they add up to `process`.
fn spent(spent: &Spent) -> Value {
    let nanos = |times: &[Duration]| times.iter().map(|time| time.as_nanos() as u64).collect::<Vec<_>>();
    json!({ "process": spent.process.as_nanos() as u64, "read": nanos(&spent.read), "decode": nanos(&spent.decode),
        "work": nanos(&spent.work), "write": nanos(&spent.write), "else": spent.rest().as_nanos() as u64 })
}

fn time_or_null(at: EventTime) -> Option<String> {
    (at != BEFORE_ALL && at != AFTER_ALL).then(|| time::format(at))
}
