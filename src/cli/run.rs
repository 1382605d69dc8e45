//! `eagre run`: starts a job, shows how it goes, stops it cleanly, sums it up.

use super::args::{RunArguments, StatusFormat, When};
use super::live::Live;
use super::{FAILED, WRONG, doctor, plan, show};
use crate::engine::{self, Job, Spent, Standing, Status, wall};
use crate::job::Plan;
use crate::registry::Registry;
use crate::sinks::stdout;
use crate::time::EventTime;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const DRAW_EVERY: Duration = Duration::from_millis(250);
const DOCTOR_EVERY: Duration = Duration::from_secs(5);

/// Runs a job to its end, or until it is stopped.
pub fn run(arguments: &RunArguments, registry: &Registry) -> ExitCode {
    let plan = match plan(&arguments.job, registry) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let workers = arguments.workers.map(usize::from).or(plan.workers).unwrap_or_else(cores);
    let live = !arguments.doctor && draws(arguments.live, &plan);
    let mut job = match engine::start(plan, workers) {
        Ok(job) => job,
        Err(failure) => {
            eprintln!("error: {failure}");
            return ExitCode::from(FAILED);
        }
    };
    if let Err(error) = stop_on_signal(&job) {
        eprintln!("error: signals cannot be heard: {error}");
        return ExitCode::from(WRONG);
    }
    watch(&job, arguments, live.then(Live::new));
    match job.wait() {
        Ok(status) => {
            match arguments.format {
                StatusFormat::Json => eprintln!("{}", as_json(job.plan(), &status)),
                StatusFormat::Text => summary(job.plan(), &status, workers),
            }
            ExitCode::SUCCESS
        }
        // `eagre run … | head`: who asked has what they wanted.
        Err(failure) if stdout::is_closed(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            if arguments.format == StatusFormat::Json {
                eprintln!("{}", json!({ "error": failure.message, "help": failure.help }));
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(FAILED)
        }
    }
}

/// The first Ctrl-C stops reading and lets the job finish; the second ends the process.
fn stop_on_signal(job: &Job) -> Result<(), ctrlc::Error> {
    let stop = job.stopper();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            #[allow(clippy::disallowed_methods, reason = "the second Ctrl-C means now")]
            std::process::exit(130);
        }
        eprintln!("\nstopping: what was read is worked off (Ctrl-C again ends at once)");
        stop();
    })
}

/// The live table would be torn by a sink that writes to the same terminal.
fn draws(when: When, plan: &Plan) -> bool {
    let prints = plan.sinks.iter().any(|sink| sink.kind == "stdout");
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => std::io::stderr().is_terminal() && !prints,
    }
}

fn watch(job: &Job, arguments: &RunArguments, mut live: Option<Live>) {
    let (mut drawn, mut told) = (wall::now(), wall::now());
    let mut troubles = Troubles::default();
    let due = |last: &mut Instant, every: Duration| {
        let due = last.elapsed() >= every;
        if due {
            *last = wall::now();
        }
        due
    };
    while !job.ends_within(LOOK_EVERY) {
        if arguments.doctor && due(&mut told, DOCTOR_EVERY) {
            eprint!("{}", doctor::report(job.plan(), &job.status()));
        }
        match (&mut live, arguments.format) {
            (_, StatusFormat::Json) if due(&mut drawn, Duration::from_secs(1)) => {
                eprintln!("{}", as_json(job.plan(), &job.status()))
            }
            (Some(live), StatusFormat::Text) if due(&mut drawn, DRAW_EVERY) => live.draw(job.plan(), &job.status()),
            (None, StatusFormat::Text) if due(&mut drawn, DRAW_EVERY) => troubles.tell(job.plan(), &job.status()),
            _ => {}
        }
    }
    if let Some(live) = live {
        live.finish();
    }
}

/// What is wrong around the job, by who says so: brokers that are away, for instance.
#[derive(Default)]
struct Troubles(BTreeMap<String, String>);

impl Troubles {
    /// Says on standard error what is wrong, once, and when it is well again.
    fn tell(&mut self, plan: &Plan, status: &Status) {
        let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, _))| ("source", &p.name, &s.trouble));
        let sinks = plan.sinks.iter().zip(&status.sinks).map(|(p, s)| ("sink", &p.name, &s.trouble));
        for (part, name, trouble) in sources.chain(sinks) {
            let who = format!("{part} `{name}`");
            match trouble {
                Some(trouble) if self.0.get(&who) != Some(trouble) => {
                    eprintln!("{who}: {trouble}");
                    self.0.insert(who, trouble.clone());
                }
                None if self.0.remove(&who).is_some() => eprintln!("{who}: well again"),
                _ => {}
            }
        }
    }
}

/// Everything that is counted, as one JSON object.
fn as_json(plan: &Plan, status: &Status) -> serde_json::Value {
    let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, total))| {
        json!({ "name": p.name, "records": s.records, "rejected": s.rejected, "late": s.late, "queue": s.queue, "queue_most": s.queue_most,
            "progress": s.progress, "total": total, "busy_ns": s.busy_ns, "trouble": s.trouble })
    });
    let steps = plan.steps.iter().zip(&status.steps).map(|(p, s)| {
        json!({ "name": p.name, "kind": p.kind, "records": s.records, "batches": s.batches, "out": s.out, "rejected": s.rejected,
            "late": s.late, "waiting": s.waiting, "keys": s.keys, "busy_ns": s.busy_ns, "watermark": show::watermark(s.watermark), "epoch": s.epoch })
    });
    let sinks = plan.sinks.iter().zip(&status.sinks).map(|(p, s)| {
        json!({ "name": p.name, "kind": p.kind, "records": s.records, "queue": s.queue, "queue_most": s.queue_most,
            "busy_ns": s.busy_ns, "trouble": s.trouble })
    });
    let partitions = status.partitions.iter().map(|(origin, s)| {
        json!({ "origin": origin, "name": s.name, "watermark": show::watermark(s.watermark), "offset": s.sequence,
            "records": s.records, "behind": s.behind, "idle": s.idle, "ended": s.ended })
    });
    json!({ "job": plan.name, "elapsed_s": status.elapsed.as_secs_f64(),
        "partitions": partitions.collect::<Vec<_>>(), "sources": sources.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(), "sinks": sinks.collect::<Vec<_>>(), "cpu_ns": spent(&status.spent),
        "oldest": doctor::sentence(status) })
}

/// Processor time of every thread, in nanoseconds: with `else` they add up to `process`.
fn spent(spent: &Spent) -> serde_json::Value {
    let nanos = |times: &[Duration]| times.iter().map(|time| time.as_nanos() as u64).collect::<Vec<_>>();
    json!({ "process": spent.process.as_nanos() as u64, "read": nanos(&spent.read), "decode": nanos(&spent.decode),
        "work": nanos(&spent.work), "write": nanos(&spent.write), "else": spent.rest().as_nanos() as u64 })
}

/// What the job did, when it is over.
fn summary(plan: &Plan, status: &Status, workers: usize) {
    let read: u64 = status.sources.iter().map(|(s, _)| s.records).sum();
    let per_second = read as f64 / status.elapsed.as_secs_f64().max(1e-9);
    let (took, workers) = (show::duration(status.elapsed), show::count(workers, "worker"));
    eprintln!(
        "\n{}: {} in {took} on {workers} ({}/s)",
        plan.name,
        show::count(read as usize, "record"),
        show::short(per_second)
    );
    for (source, (counts, _)) in plan.sources.iter().zip(&status.sources) {
        line(
            &source.name,
            "read",
            counts.records,
            &[("behind the watermark", counts.late), ("rejected", counts.rejected)],
        );
        why(&counts.why);
    }
    for (step, counts) in plan.steps.iter().zip(&status.steps) {
        let busy = counts.busy_ns.iter().map(|busy| show::duration(Duration::from_nanos(*busy)));
        let busy = busy.collect::<Vec<_>>().join(" + ");
        let did = format!("in, {} out, busy {busy},", show::grouped(counts.out));
        line(&step.name, &did, counts.records, &[("late", counts.late), ("rejected", counts.rejected)]);
        why(&counts.why);
    }
    for (sink, counts) in plan.sinks.iter().zip(&status.sinks) {
        let from: Vec<String> = sink.inputs.iter().map(|port| show::port(plan.giver(*port), port.output)).collect();
        if !sink.implicit {
            line(&sink.name, "written", counts.records, &[]);
        } else if counts.records > 0 {
            let kept = show::count(counts.records as usize, "record");
            eprintln!("  {:<18} {kept} that no sink takes, kept under {}", from.join(", "), show::dead_letters(plan));
        }
    }
    shares(&status.spent);
    queues(plan, status);
    advice(plan, status);
}

/// How many batches ever waited, by who was waited for: behind a source its worker, before a sink its writer.
fn queues(plan: &Plan, status: &Status) {
    let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, _))| (&p.name, s.queue_most));
    let sinks = plan.sinks.iter().zip(&status.sinks).filter(|(p, _)| !p.implicit).map(|(p, s)| (&p.name, s.queue_most));
    let all = sources.chain(sinks).map(|(name, most)| format!("{name} {most}")).collect::<Vec<_>>();
    eprintln!("  {:<18} {:>12} batches that waited: {}", "", "the most", all.join(", "));
}

/// Who has had the processors; what is left over is planning, timely's own threads and those of clients.
fn shares(spent: &Spent) {
    let of = |times: &[Duration]| times.iter().sum::<Duration>();
    let parts = [("reading", of(&spent.read)), ("decoding", of(&spent.decode)), ("working", of(&spent.work))];
    let parts = parts.into_iter().chain([("writing", of(&spent.write)), ("all else", spent.rest())]);
    let share = |time: Duration| (time.as_secs_f64() / spent.process.as_secs_f64() * 100.0).round();
    let parts = parts.map(|(what, time)| format!("{what} {} %", share(time))).collect::<Vec<_>>();
    if !spent.process.is_zero() {
        eprintln!("  {:<18} {:>12} of processors: {}", "", show::duration(spent.process), parts.join(", "));
    }
}

/// The first rejection says most.
fn why(why: &Option<String>) {
    if let Some(why) = why {
        eprintln!("  {:<18} the first: {why}", "");
    }
}

/// What a person may not have meant, or not expect.
fn advice(plan: &Plan, status: &Status) {
    if status.stopped {
        eprintln!("  stopped before the end of the input: windows that were still open are not told");
    }
    let early = |s: &&Standing| s.records > 0 && s.newest < YEAR_1980;
    if let Some(standing) = status.partitions.iter().map(|(_, s)| s).find(early) {
        let (source, newest) = (&plan.sources[standing.source].name, show::watermark(standing.newest));
        eprintln!("  the newest event of `{source}` is of {newest}: is its time in another unit, time(s) or time(ms)?");
    }
}

/// Events from before it are more likely numbers in the wrong unit.
const YEAR_1980: EventTime = 315_532_800_000_000;

fn line(name: &str, did: &str, records: u64, extra: &[(&str, u64)]) {
    let extra: Vec<String> =
        extra.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{} {what}", show::grouped(*n))).collect();
    let text = format!("  {name:<18} {:>12} {did} {}", show::grouped(records), extra.join(", "));
    eprintln!("{}", text.trim_end().trim_end_matches(','));
}
