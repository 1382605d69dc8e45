//! `eagre run`: starts a job, shows how it goes, stops it cleanly, sums it up.

use super::args::{RunArguments, StatusFormat, When};
use super::live::Live;
use super::prometheus::MetricsFile;
use super::{FAILED, WRONG, doctor, json, mesh, plan, show, wrong};
use crate::engine::metrics::{SavedCounts, StepCounts, Tallied};
use crate::engine::{self, Condition, Job, Made, MeshSettings, Resumption, Spent, Standing, Status, wall};
use crate::fault::Failure;
use crate::job::{Plan, SinkPlan};
use crate::registry::Registry;
use crate::sink::Shards;
use crate::sinks::stdout;
use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const DRAW_EVERY: Duration = Duration::from_millis(250);
const DOCTOR_EVERY: Duration = Duration::from_secs(5);
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Runs a job to its end, or until it is stopped.
pub fn run(arguments: &RunArguments, registry: &Registry) -> ExitCode {
    let plan = match plan(&arguments.job, registry) {
        Ok(plan) => plan,
        Err(what) if arguments.format == StatusFormat::Text => return wrong(&what),
        Err(what) => {
            say!("{}", json::error(&what, None));
            return ExitCode::from(WRONG);
        }
    };
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let workers = arguments.workers.map(usize::from).or(plan.workers).unwrap_or_else(cores);
    let mesh = match mesh::settings(&arguments.mesh) {
        Ok(mesh) => mesh,
        Err(failure) => return told(&failure, arguments.format, WRONG),
    };
    let supervisor = arguments.mesh.supervised.then(mesh::Supervisor::heed);
    let live = !arguments.doctor && draws(arguments.live, &plan);
    let resumption =
        Resumption { from: arguments.from, reset: arguments.reset.clone(), skip_missing: arguments.skip_missing };
    let mut job = match engine::start_among(plan, workers, mesh.as_ref(), &resumption) {
        Ok(job) => job,
        Err(failure) => return told(&failure, arguments.format, FAILED),
    };
    if arguments.format == StatusFormat::Text {
        goes_on(&job);
    }
    supervisor.iter().for_each(|supervisor| supervisor.stops(job.stopper()));
    if let Err(error) = stop_on_signal(&job, arguments.format) {
        say!("error: signals cannot be heard: {error}");
        return ExitCode::from(WRONG);
    }
    let process = mesh.as_ref().map(|mesh| mesh.process);
    let mut metrics = arguments.metrics.as_ref().map(|file| MetricsFile::new(file, process));
    watch(&job, arguments, live.then(Live::new), &mut metrics);
    let ended = job.wait();
    if let Some(metrics) = &mut metrics {
        metrics.write(job.plan(), &job.status(), wall::time_of_day(), false);
    }
    match ended {
        Ok(status) => {
            match arguments.format {
                StatusFormat::Json => say!("{}", json::status("summary", job.plan(), &status)),
                StatusFormat::Text => summary(job.plan(), &status, workers, mesh.as_ref(), job.resumed().is_some()),
            }
            ExitCode::SUCCESS
        }
        // `eagre run … | head`: who asked has what they wanted.
        Err(failure) if stdout::is_closed(&failure) => ExitCode::SUCCESS,
        Err(failure) => told(&failure, arguments.format, FAILED),
    }
}

/// Says where the job goes on.
fn goes_on(job: &Job) {
    let Some((id, notices)) = job.resumed() else { return };
    notices.iter().for_each(|notice| say!("{notice}"));
    say!("{}: goes on from checkpoint {id}", job.plan().name);
}

/// Says why, and gives the exit code for it.
fn told(failure: &Failure, format: StatusFormat, code: u8) -> ExitCode {
    match format {
        StatusFormat::Json => say!("{}", json::error(&failure.message, failure.help.as_deref())),
        StatusFormat::Text => say!("error: {failure}"),
    }
    ExitCode::from(code)
}

/// The first Ctrl-C stops reading and lets the job finish; the second ends the process.
fn stop_on_signal(job: &Job, format: StatusFormat) -> Result<(), ctrlc::Error> {
    let stop = job.stopper();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            #[allow(clippy::disallowed_methods, reason = "the second Ctrl-C means now")]
            std::process::exit(130);
        }
        match format {
            StatusFormat::Json => say!("{}", json::stopping()),
            StatusFormat::Text => say!("\nstopping: what was read is worked off (Ctrl-C again ends at once)"),
        }
        stop();
    })
}

/// The live table would be torn by a sink that writes to the same terminal.
fn draws(when: When, plan: &Plan) -> bool {
    let prints = plan.sinks.iter().any(|sink| sink.kind == "stdout");
    match when {
        When::Never => false,
        When::Always | When::Auto => std::io::stderr().is_terminal() && (when == When::Always || !prints),
    }
}

fn watch(job: &Job, arguments: &RunArguments, mut live: Option<Live>, metrics: &mut Option<MetricsFile>) {
    let (mut drawn, mut told, mut measured) = (wall::now(), wall::now(), wall::now());
    let measure = |metrics: &mut MetricsFile| metrics.write(job.plan(), &job.status(), wall::time_of_day(), true);
    metrics.iter_mut().for_each(measure);
    let mut troubles = Troubles::default();
    let due = |last: &mut Instant, every: Duration| {
        let due = last.elapsed() >= every;
        if due {
            *last = wall::now();
        }
        due
    };
    while !job.ends_within(LOOK_EVERY) {
        if metrics.is_some() && due(&mut measured, MEASURE_EVERY) {
            metrics.iter_mut().for_each(measure);
        }
        let advises = arguments.doctor && arguments.format == StatusFormat::Text;
        if advises && due(&mut told, DOCTOR_EVERY) {
            say!("{}", doctor::report(job.plan(), &job.status()));
        }
        match (&mut live, arguments.format) {
            (_, StatusFormat::Json) if due(&mut drawn, Duration::from_secs(1)) => {
                say!("{}", json::status("status", job.plan(), &job.status()))
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
        let sources = plan.sources.iter().zip(&status.sources);
        let sources = sources.map(|(p, (s, _))| ("source", &p.name, show::unwell(&s.condition)));
        let sinks = plan.sinks.iter().zip(&status.sinks).map(|(p, s)| ("sink", &p.name, show::unwell(&s.condition)));
        let steps = plan.steps.iter().zip(&status.steps).map(|(p, s)| ("step", &p.name, show::growing(p, s)));
        for (part, name, trouble) in sources.chain(steps).chain(sinks) {
            let who = format!("{part} `{name}`");
            match trouble {
                Some(trouble) if self.0.get(&who) != Some(&trouble) => {
                    say!("{who}: {trouble}");
                    self.0.insert(who, trouble);
                }
                None if self.0.remove(&who).is_some() => say!("{who}: well again"),
                _ => {}
            }
        }
    }
}

/// What the job did, when it is over; of several processes, what this one did.
fn summary(plan: &Plan, status: &Status, workers: usize, mesh: Option<&MeshSettings>, resumed: bool) {
    let of = mesh.map(|mesh| format!(" of process {}, one of {}", mesh.process, mesh.hosts.len())).unwrap_or_default();
    let writes = |sink: &SinkPlan| mesh.is_none_or(|mesh| mesh.process == 0) || sink.sink.shards() == Shards::PerWorker;
    let read: u64 = status.sources.iter().map(|(s, _)| s.records).sum();
    let per_second = read as f64 / status.elapsed.as_secs_f64().max(1e-9);
    let (took, workers) = (show::duration(status.elapsed), show::count(workers, "worker"));
    say!(
        "\n{}: {} in {took} on {workers}{of} ({}/s)",
        plan.name,
        show::count(read as usize, "record"),
        show::short(per_second)
    );
    for (source, (counts, _)) in plan.sources.iter().zip(&status.sources) {
        let read = counts.records + counts.rejected;
        line(&source.name, "read", read, &[("behind the watermark", counts.late), ("rejected", counts.rejected)]);
        why(&counts.why);
        unwell(&counts.condition);
    }
    for (step, counts) in plan.steps.iter().zip(&status.steps) {
        let did = format!("in, {} out, {}", show::grouped(counts.out), busy(&counts.busy_ns));
        line(&step.name, &did, counts.records, &[("late", counts.late), ("rejected", counts.rejected)]);
        why(&counts.why);
        saved(counts);
        show::growing(step, counts).iter().for_each(|advice| say!("  {:<18} {advice}", ""));
    }
    for (sink, counts) in plan.sinks.iter().zip(&status.sinks) {
        let from: Vec<String> = sink.inputs.iter().map(|port| show::port(plan.giver(*port), port.output)).collect();
        if !sink.implicit && writes(sink) {
            line(&sink.name, "written", counts.records, &[]);
            unwell(&counts.condition);
        } else if counts.records > 0 {
            let kept = show::count(counts.records as usize, "record");
            say!("  {:<18} {kept} that no sink takes, kept under {}", from.join(", "), show::dead_letters(plan));
        }
    }
    checkpoints(&status.checkpoints);
    shares(&status.spent);
    queues(plan, status);
    advice(plan, status, resumed);
}

/// What checkpoints took and wrote of a step: in all, and at most for one.
fn saved(counts: &StepCounts) {
    let SavedCounts { copy_ns, write_ns, bytes, groups } = &counts.saved;
    let time = |tally: &Tallied| {
        let [total, most] = [tally.total, tally.most].map(|nanos| show::duration(Duration::from_nanos(nanos)));
        format!("{total} (at most {most})")
    };
    if bytes.total > 0 {
        let (bytes, groups) = (show::bytes(bytes.total), show::count(groups.total as usize, "key group"));
        let (copied, written) = (time(copy_ns), time(write_ns));
        say!("  {:<18} {:>12} kept: {groups} copied in {copied}, written in {written}", "", bytes);
    }
}

/// What checkpoints were made.
fn checkpoints((count, newest, trouble): &(u64, Option<Made>, Option<String>)) {
    if let Some(Made { id, took, bytes, .. }) = newest {
        let took = show::duration(Duration::from_micros((*took).max(0) as u64));
        let size = show::short(*bytes as f64);
        say!("  {:<18} {:>12} checkpoints, the newest {id}: {size}B in {took}", "", show::grouped(*count));
    }
    trouble.iter().for_each(|trouble| say!("  {:<18} {trouble}", ""));
}

/// How many batches ever waited, by who was waited for: behind a source its worker, before a sink its writer.
fn queues(plan: &Plan, status: &Status) {
    let sources = plan.sources.iter().zip(&status.sources).map(|(p, (s, _))| (&p.name, s.queue_most));
    let sinks = plan.sinks.iter().zip(&status.sinks).filter(|(p, _)| !p.implicit).map(|(p, s)| (&p.name, s.queue_most));
    let all = sources.chain(sinks).map(|(name, most)| format!("{name} {most}")).collect::<Vec<_>>();
    say!("  {:<18} {:>12} batches that waited: {}", "", "the most", all.join(", "));
}

/// How long the workers were at a step by the clock, which runs on while another program has the processor.
fn busy(nanos: &[u64]) -> String {
    let told = |nanos: &u64| show::duration(Duration::from_nanos(*nanos));
    match (nanos, nanos.iter().min(), nanos.iter().max()) {
        ([one, more @ ..], Some(least), Some(most)) => match more {
            [] => format!("busy {}", told(one)),
            [other] => format!("busy {} + {}", told(one), told(other)),
            _ => format!("busy {} to {} each", told(least), told(most)),
        },
        _ => String::new(),
    }
}

/// Who has had the processors; what is left over is planning, timely's own threads and those of clients. A process
/// that has hardly had any is told no shares.
fn shares(spent: &Spent) {
    let of = |times: &[Duration]| times.iter().sum::<Duration>();
    let parts = [("reading", of(&spent.read)), ("decoding", of(&spent.decode)), ("working", of(&spent.work))];
    let parts = parts.into_iter().chain([("writing", of(&spent.write)), ("all else", spent.rest())]);
    let share = |time: Duration| (time.as_secs_f64() / spent.process.as_secs_f64() * 100.0).round();
    let parts = parts.map(|(what, time)| (what, share(time))).filter(|(_, share)| *share > 0.0);
    let parts = parts.map(|(what, share)| format!("{what} {share} %")).collect::<Vec<_>>().join(", ");
    let parts = if spent.process < SHARED_FROM { String::new() } else { format!(": {parts}") };
    if !spent.process.is_zero() {
        say!("  {:<18} {:>12} of processor time{parts} (busy: by the clock)", "", show::duration(spent.process));
    }
}

/// Less is not told apart by the system's clock ticks.
const SHARED_FROM: Duration = Duration::from_millis(100);

/// The first rejection says most.
fn why(why: &Option<String>) {
    if let Some(why) = why {
        say!("  {:<18} the first: {why}", "");
    }
}

/// What is still wrong at the end.
fn unwell(condition: &Condition) {
    show::unwell(condition).iter().for_each(|trouble| say!("  {:<18} {trouble}", ""));
}

/// What a person may not have meant, or not expect.
fn advice(plan: &Plan, status: &Status, resumed: bool) {
    let open = status.steps.iter().any(|step| step.watermark != AFTER_ALL);
    if status.stopped {
        let windows = match &status.checkpoints.1 {
            Some(Made { id, .. }) => format!(": the next run goes on from checkpoint {id}"),
            None if open => ": windows that were still open are not told".into(),
            None => String::new(),
        };
        say!("  stopped before the end of the input{windows}");
    }
    let was_over = resumed && !status.partitions.is_empty() && status.partitions.iter().all(|(_, s)| s.ended);
    if was_over && status.sources.iter().all(|(counts, _)| counts.records == 0) {
        say!("  the input had been read to its end before: --from none begins again");
    }
    for (source, (counts, _)) in plan.sources.iter().zip(&status.sources) {
        if counts.records == 0 && counts.rejected > 0 {
            say!("  nothing of `{}` could be read: all it gave was rejected", source.name);
        }
    }
    let early = |s: &&Standing| s.records > 0 && (BEFORE_ALL + 1..YEAR_1980).contains(&s.newest);
    if let Some(standing) = status.partitions.iter().map(|(_, s)| s).find(early) {
        let (source, newest) = (&plan.sources[standing.source].name, show::watermark(standing.newest));
        say!("  the newest event of `{source}` is of {newest}: is its time in another unit, time(s) or time(ms)?");
    }
}

/// Events from before it are more likely numbers in the wrong unit.
const YEAR_1980: EventTime = 315_532_800_000_000;

fn line(name: &str, did: &str, records: u64, extra: &[(&str, u64)]) {
    let extra = extra.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!(", {} {what}", show::grouped(*n)));
    say!("  {name:<18} {:>12} {did}{}", show::grouped(records), extra.collect::<String>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_times_are_told_in_few_words() {
        let check = |millis: &[u64], told: &str| {
            let nanos: Vec<u64> = millis.iter().map(|millis| millis * 1_000_000).collect();
            assert_eq!(busy(&nanos), told);
        };
        check(&[3], "busy 3 ms");
        check(&[3, 0], "busy 3 ms + 0 ms");
        check(&[3, 0, 5, 1], "busy 0 ms to 5 ms each");
    }
}
