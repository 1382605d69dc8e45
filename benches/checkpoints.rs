//! What it costs to survive: checkpoints of a million keys, and delivery exactly once through Kafka, each beside the
//! same job without them in the same run.
//!
//! `cargo bench --bench checkpoints [-- --only state,j1,seen,transactions --keys 1000000 --rounds 3 --workers 2]`
//!
//! - `state`: windows of an hour (count, sum, min, max, mean, stddev) and z-scores of so many keys, all of which change
//!   between two checkpoints: throughput and processor time, size and duration of a checkpoint, latency while nothing,
//!   and while a checkpoint is under way, and the time until a job that was killed takes its first record.
//! - `j1`: J1 from a topic into a topic. `seen`: from when a message is due until a consumer that reads what is
//!   committed has it. `transactions`: bare transactions of so many messages with offsets, as [decision 7] has them.
//!
//! The last three want `EAGRE_KAFKA=127.0.0.1:19092`. Every run is a process of its own, and the runs alternate.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock and the environment")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/child.rs"]
mod child;
#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/w1.rs"]
mod w1;

use broker::{
    Outcome, PASSED_PARTITIONS, PATIENCE, consumer, delete_topics, falling, fill, j1_job, make_topics, passing,
    passing_job, send,
};
use child::{Usage, measure};
use crowd::{BEGUN, FIRST, TOOK, WRITTEN, cpu_s, nanos, registry};
use eagre::job::{Overrides, plan};
use hdrhistogram::Histogram;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [child, order] = &arguments[..]
        && child == "child"
    {
        return live(&serde_json::from_str(order)?);
    }
    let text = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let option = |name: &str, default: u64| -> Outcome<u64> { Ok(text(name).map_or(Ok(default), |t| t.parse())?) };
    let wants = |what: &str| text("--only").is_none_or(|only| only.split(',').any(|one| one == what));
    let rounds = option("--rounds", 3)? as usize;
    println!("load of the machine: {}", fs::read_to_string("/proc/loadavg")?.trim());
    if wants("state") {
        let order = Order {
            keys: option("--keys", 1_000_000)?,
            events: option("--events", 10_000_000)?,
            rate: option("--rate", 50_000)?,
            seconds: option("--seconds", 25)?,
            workers: option("--workers", 2)? as usize,
            ..Order::default()
        };
        state(&order, rounds)?;
    }
    let Some(brokers) = std::env::var("EAGRE_KAFKA").ok().filter(|brokers| !brokers.is_empty()) else {
        println!("through Kafka: skipped: EAGRE_KAFKA names no broker (`scripts/kafka start` starts one)");
        return Ok(());
    };
    if wants("j1") {
        j1(&brokers, option("--messages", 5_000_000)?, rounds)?;
    }
    if wants("seen") {
        seen(&brokers, option("--rate", 20_000)?, option("--seconds", 15)?, rounds)?;
    }
    if wants("transactions") {
        transactions(&brokers, option("--count", 300)?)?;
    }
    println!("load of the machine: {}", fs::read_to_string("/proc/loadavg")?.trim());
    Ok(())
}

fn folder() -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkpoints");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a child is to do.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Order {
    keys: u64,
    /// How many records come behind those that fill.
    events: u64,
    /// 0: as many as possible.
    rate: u64,
    seconds: u64,
    workers: usize,
    /// Empty: no checkpoints.
    every: String,
    folder: PathBuf,
    /// Whether to die when everything is in a checkpoint.
    dies: bool,
}

/// What a child found.
#[derive(Serialize, Deserialize)]
struct Found {
    /// From the last record of the fill to the last one.
    wall_s: f64,
    cpu_s: f64,
    /// When the first record was taken and the first row came, from the start of the process.
    first_ms: [f64; 2],
    /// p50, p99 and the most, in ms: of all, and of those that were due while a checkpoint was under way.
    all: [f64; 3],
    during: [f64; 3],
    made: Vec<Checkpoint>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Checkpoint {
    begun_at: i64,
    took_ms: f64,
    /// In the folder, for this one.
    written: u64,
    whole: u64,
}

fn state(order: &Order, rounds: usize) -> Outcome<()> {
    let ways = ["", "10s", "1s"];
    let mut fast: [Vec<Found>; 3] = Default::default();
    let mut paced: [Vec<Found>; 3] = Default::default();
    let mut restored = Vec::new();
    for _ in 0..rounds {
        for (way, every) in ways.iter().enumerate() {
            let order = Order { every: (*every).to_owned(), ..order.clone() };
            fast[way].push(child(&Order { rate: 0, ..order.clone() }, true)?);
            paced[way].push(child(&Order { events: order.rate * order.seconds, ..order.clone() }, true)?);
        }
        let order = Order { every: "1s".to_owned(), events: order.keys, rate: 0, ..order.clone() };
        child(&Order { dies: true, ..order.clone() }, true)?;
        restored.push(child(&Order { events: order.events + 100_000, ..order }, false)?);
    }
    fs::remove_dir_all(folder()?.join("state")).ok();
    println!("windows and z-scores of {} keys, {} workers, medians of {rounds} rounds", order.keys, order.workers);
    println!("every   records/s  x none  CPU us/record  x none");
    let of = |runs: &[Found], what: fn(&Found) -> f64| median(runs.iter().map(what).collect());
    let floor = [of(&fast[0], |run| run.wall_s), of(&fast[0], |run| run.cpu_s)];
    for (every, runs) in ways.iter().zip(&fast) {
        let (wall, cpu, events) = (of(runs, |run| run.wall_s), of(runs, |run| run.cpu_s), order.events as f64);
        let (every, rate, us) = (if every.is_empty() { "none" } else { every }, events / wall, cpu * 1e6 / events);
        println!("{every:<6} {rate:>10.0} {:>7.3} {us:>14.3} {:>7.3}", floor[0] / wall, cpu / floor[1]);
    }
    println!("\n{} records/s for {} s, ms", order.rate, order.seconds);
    println!("every       p50     p99     max  under way: p50     p99     max  checkpoints  took ms  MB written");
    for (every, runs) in ways.iter().zip(&paced) {
        let every = if every.is_empty() { "none" } else { every };
        let three =
            |of: fn(&Found) -> &[f64; 3]| [0, 1, 2].map(|i| median(runs.iter().map(|run| of(run)[i]).collect()));
        let ([p50, p99, most], [during, during_p99, during_most]) = (three(|run| &run.all), three(|run| &run.during));
        let made: Vec<&Checkpoint> = runs.iter().flat_map(|run| &run.made).collect();
        let took = median(made.iter().map(|made| made.took_ms).collect());
        let mb = median(made.iter().map(|made| made.written as f64 / 1e6).collect());
        print!("{every:<6} {p50:>8.2}{p99:>8.2}{most:>8.1} {during:>15.2}{during_p99:>8.2}{during_most:>8.1}");
        println!(" {:>12} {took:>8.0} {mb:>11.1}", made.len());
    }
    let ms = |i: usize| median(restored.iter().map(|run| run.first_ms[i]).collect());
    println!("\nrestored: first record taken after {:.0} ms, first row after {:.0} ms", ms(0), ms(1));
    Ok(())
}

/// A run of the job with a million keys, in a process of its own.
fn child(order: &Order, fresh: bool) -> Outcome<Found> {
    let folder = folder()?.join("state");
    if fresh {
        fs::remove_dir_all(&folder).ok();
    }
    let order = Order { folder, ..order.clone() };
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["child", &serde_json::to_string(&order)?]).output()?;
    let found = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&found)
        .map_err(|error| format!("{error}: {found}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The child: runs the job until all rows are there, and ends without ending the job.
fn live(order: &Order) -> Outcome<()> {
    nanos();
    // Every key twice, so that there are deviations.
    let fill = order.keys * 2;
    let count = fill + order.events;
    let planned = plan(&job(order, fill, count + BEYOND), "state.toml", &Overrides::default(), &registry())
        .map_err(|f| f.render(false))?;
    let running = eagre::engine::start(planned, order.workers).map_err(|failure| failure.to_string())?;
    let (resumes, mut made, mut filled, mut all_there) = (running.resumed().is_some(), Vec::new(), None, None);
    loop {
        std::thread::sleep(Duration::from_millis(5));
        note(&running, &mut made);
        let written = WRITTEN.load(Relaxed);
        if filled.is_none() && (written >= fill || resumes) {
            filled = Some((nanos(), cpu_s()?));
        }
        if all_there.is_none() && (written >= count || resumes && written > 0) {
            all_there = Some((nanos(), cpu_s()?));
        }
        let Some((there, _)) = all_there else { continue };
        if !order.dies || made.last().is_some_and(|made| made.begun_at > unix(there)) {
            break;
        }
        if running.is_finished() {
            return Err("the job ended too soon".into());
        }
    }
    let ((from, before), (until, after)) = filled.zip(all_there).ok_or("the job ended too soon")?;
    let under_way = |due| made.iter().any(|made| made.is_under_way(unix(due)));
    let found = Found {
        wall_s: (until - from) as f64 / 1e9,
        cpu_s: after - before,
        first_ms: [0, 1].map(|i| FIRST[i].load(Relaxed) as f64 / 1e6),
        all: quantiles(|_| true)?,
        during: quantiles(under_way)?,
        made: made.iter().filter(|made| made.begun_at > unix(from)).cloned().collect(),
    };
    println!("{}", serde_json::to_string(&found)?);
    std::process::exit(0)
}

/// The source gives so many more than are waited for: the last ones of all wait until it is idle.
const BEYOND: u64 = 200_000;

fn job(order: &Order, fill: u64, count: u64) -> String {
    let Order { keys, rate, every, folder, .. } = order;
    let folder = folder.display();
    let checkpoint =
        if every.is_empty() { String::new() } else { format!("[checkpoint]\nevery = '{every}'\nkeep = 1\n") };
    format!(
        "name = 'state'\ndata_dir = '{folder}'\n{checkpoint}\
         [source.due]\nkind = 'crowd'\nkeys = {keys}\nfill = {fill}\ncount = {count}\nrate = {rate}\n\
         [step.windows]\nkind = 'aggregate'\ninput = 'due'\nkey = 'key'\nwindow = '1h'\n\
         [step.windows.aggregates]\ncount = 'count()'\nsum = 'sum(value)'\nmin = 'min(value)'\nmax = 'max(value)'\n\
         mean = 'mean(value)'\nstddev = 'stddev(value)'\n\
         [step.scores]\nkind = 'zscore'\ninput = 'due'\nkey = 'key'\nfield = 'value'\newma = {{ alpha = 0.01 }}\nwarmup = 2\n\
         emit = 'all'\n\
         [sink.of_windows]\nkind = 'told'\ninput = 'windows'\n[sink.of_scores]\nkind = 'told'\ninput = 'scores'\n"
    )
}

/// Microseconds since 1970 of a moment of this process.
fn unix(nanos: i64) -> i64 {
    (BEGUN.1 as i64 + nanos) / 1_000
}

/// Notes a checkpoint that is new.
fn note(running: &eagre::engine::Job, made: &mut Vec<Checkpoint>) {
    if let (_, Some(newest), _) = running.status().checkpoints
        && made.last().is_none_or(|last| last.begun_at != newest.begun_at)
    {
        let written = newest.written.iter().map(|(_, bytes)| bytes).sum();
        let (begun_at, took_ms) = (newest.begun_at, newest.took as f64 / 1e3);
        made.push(Checkpoint { begun_at, took_ms, written, whole: newest.bytes });
    }
}

impl Checkpoint {
    fn is_under_way(&self, at: i64) -> bool {
        (self.begun_at..self.begun_at + (self.took_ms * 1e3) as i64).contains(&at)
    }
}

/// The median, the 99th percentile and the most, in ms, of the records that were due then; not of the first 3 seconds.
fn quantiles(counts: impl Fn(i64) -> bool) -> Outcome<[f64; 3]> {
    let took = TOOK.lock().map_err(|_| "the sink panicked")?;
    let first = took.iter().map(|(due, _)| *due).min().unwrap_or(0) + 3_000_000_000;
    let mut took: Vec<u32> =
        took.iter().filter(|(due, _)| *due > first && counts(*due)).map(|(_, took)| *took).collect();
    took.sort_unstable();
    let at = |quantile: f64| took.get(((took.len() as f64 * quantile) as usize).min(took.len().saturating_sub(1)));
    Ok([0.5, 0.99, 1.0].map(|quantile| at(quantile).map_or(0.0, |took| f64::from(*took) / 1e3)))
}

/// J1 through Kafka: who waits for what.
fn j1(brokers: &str, events: u64, rounds: usize) -> Outcome<()> {
    let folder = folder()?;
    let topic = format!("bench-w1-{events}");
    let data = w1::Data { parts: false, ..w1::Data::from(events) };
    fill(brokers, &topic, &w1::generate(&folder, data)?.whole, events)?;
    let ways = [
        ("none", "at_least_once"),
        ("10s", "at_least_once"),
        ("1s", "at_least_once"),
        ("10s", "exactly_once"),
        ("1s", "exactly_once"),
        ("100ms", "exactly_once"),
    ];
    let mut runs: [Vec<Usage>; 6] = Default::default();
    for round in 0..rounds {
        for (way, (every, delivery)) in ways.into_iter().enumerate() {
            let out = [format!("bench-j1-{}-{round}-{way}", std::process::id())];
            make_topics(brokers, &out)?;
            let data_dir = folder.join("j1");
            fs::remove_dir_all(&data_dir).ok();
            let kept = if every == "none" { String::new() } else { format!("[checkpoint]\nevery = '{every}'\n\n") };
            let sink = format!(
                "kind = \"kafka\"\ninput = \"windows\"\nbrokers = {brokers:?}\ntopic = {:?}\ndelivery = \"{delivery}\"",
                out[0]
            );
            fs::write(folder.join("j1.toml"), j1_job(brokers, &topic, &kept, Some(&sink))?)?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
            command.arg("run").arg(folder.join("j1.toml")).args(["--workers", "2", "--live", "never"]);
            command.args(["--set", &format!("data_dir={}", data_dir.display())]);
            runs[way].push(measure(&mut command)?);
            delete_topics(brokers, &out)?;
        }
    }
    println!("\nJ1 from Kafka into Kafka: {events} messages, 2 workers, medians of {rounds} rounds");
    println!("every  delivery       messages/s  CPU us/message  x at least once without checkpoints: speed, CPU");
    let of = |way: usize, what: fn(&Usage) -> f64| median(runs[way].iter().map(what).collect());
    let floor = (of(0, |run| run.wall_s), of(0, Usage::cpu_s));
    for (way, (every, delivery)) in ways.into_iter().enumerate() {
        let (wall, cpu, events) = (of(way, |run| run.wall_s), of(way, Usage::cpu_s), events as f64);
        let (rate, us) = (events / wall, cpu * 1e6 / events);
        println!("{every:<6} {delivery:<14} {rate:>10.0} {us:>15.3} {:>10.3} {:>8.3}", floor.0 / wall, cpu / floor.1);
    }
    Ok(())
}

/// From when messages are due until a consumer of what is committed has them.
fn seen(brokers: &str, rate: u64, seconds: u64, rounds: usize) -> Outcome<()> {
    let ways = [("none", "at_least_once"), ("1s", "exactly_once"), ("100ms", "exactly_once"), ("20ms", "exactly_once")];
    let mut runs: [Vec<[f64; 4]>; 4] = Default::default();
    let mut counts = [0; 4];
    for round in 0..rounds {
        for (way, (every, delivery)) in ways.into_iter().enumerate() {
            let took = seen_once(brokers, &format!("{round}-{way}"), (every, delivery), (rate, seconds))?;
            let ms = |quantile: f64| took.value_at_quantile(quantile) as f64 / 1e6;
            runs[way].push([ms(0.5), ms(0.99), ms(0.999), ms(1.0)]);
            counts[way] += took.len();
        }
    }
    println!(
        "\nfrom a topic to a consumer of what is committed, {rate} messages/s for {seconds} s, ms, medians of {rounds}"
    );
    println!("every  delivery            seen      p50      p99    p99.9      max  least p99");
    for (way, (every, delivery)) in ways.into_iter().enumerate() {
        let of = |i: usize| median(runs[way].iter().map(|run| run[i]).collect());
        let least = runs[way].iter().map(|run| run[1]).fold(f64::INFINITY, f64::min);
        let [p50, p99, p999, most] = [0, 1, 2, 3].map(of);
        println!(
            "{every:<6} {delivery:<14} {:>9} {p50:>8.1} {p99:>8.1} {p999:>8.1} {most:>8.1} {least:>10.1}",
            counts[way]
        );
    }
    Ok(())
}

fn seen_once(brokers: &str, name: &str, way: (&str, &str), (rate, seconds): (u64, u64)) -> Outcome<Histogram<u64>> {
    let topics = ["in", "seen"].map(|way| format!("bench-{way}-{}-{name}", std::process::id()));
    make_topics(brokers, &topics)?;
    let folder = folder()?.join("seen");
    fs::remove_dir_all(&folder).ok();
    let (every, delivery) = way;
    let kept = if every == "none" { String::new() } else { format!("[checkpoint]\nevery = '{every}'\n") };
    let head = format!("data_dir = '{}'\n{kept}", folder.display());
    let job = passing_job(brokers, &topics[0], &topics[1], &head, &format!("delivery = '{delivery}'\n"));
    let planned = plan(&job, "seen.toml", &Overrides::default(), &eagre::standard()).map_err(|f| f.render(false))?;
    let mut job = eagre::engine::start(planned, 2).map_err(|failure| failure.to_string())?;
    let (begun, ended) = (Instant::now(), AtomicBool::new(false));
    let took = std::thread::scope(|scope| {
        let took = scope.spawn(|| committed(brokers, &topics[1], begun, &ended).map_err(|error| error.to_string()));
        let sent = falling(brokers, &topics[0], rate, seconds, begun).map_err(|error| error.to_string());
        std::thread::sleep(Duration::from_secs(2));
        ended.store(true, SeqCst);
        sent.and(took.join().map_err(|_| "panicked".to_owned())?)
    });
    job.stop();
    job.wait().map_err(|failure| failure.to_string())?;
    delete_topics(brokers, &topics)?;
    Ok(took?)
}

/// How long messages took until they were seen committed, but for those of the first two seconds.
fn committed(brokers: &str, topic: &str, begun: Instant, ended: &AtomicBool) -> Outcome<Histogram<u64>> {
    let consumer = consumer(brokers, &[topic], PASSED_PARTITIONS, "read_committed")?;
    let mut took = Histogram::new_with_max(60_000_000_000, 3)?;
    let mut first = None;
    while !ended.load(SeqCst) {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        let row: serde_json::Value = serde_json::from_slice(message.payload().ok_or("a payload")?)?;
        let due = row["due"].as_u64().ok_or("a time")?;
        if due > *first.get_or_insert(due) + 2_000_000_000 {
            took.saturating_record((begun.elapsed().as_nanos() as u64).saturating_sub(due).max(1));
        }
    }
    Ok(took)
}

/// Bare transactions: begin, so many messages of 100 bytes, all acknowledged, offsets, commit.
fn transactions(brokers: &str, count: u64) -> Outcome<()> {
    let topics = [format!("bench-transactions-{}", std::process::id())];
    make_topics(brokers, &topics)?;
    println!("\n{count} bare transactions of one producer, one after the other, ms");
    println!("messages  offsets      p50      p99      max  of it flush p50  offsets p50  commit p50");
    for messages in [10, 100, 1_000] {
        for offsets in [false, true] {
            let mut took: [Histogram<u64>; 4] = std::array::from_fn(|_| histogram());
            let producer = producer(brokers, &topics[0], messages)?;
            let group = consumer(brokers, &[], 0, "read_committed")?.group_metadata().ok_or("a group")?;
            let mut place = TopicPartitionList::new();
            for number in 0..count {
                place.set_all_offsets(Offset::Offset(number as i64)).ok();
                if place.count() == 0 {
                    place.add_partition_offset(&topics[0], 0, Offset::Offset(number as i64))?;
                }
                let begun = Instant::now();
                producer.begin_transaction()?;
                let payload = "x".repeat(100);
                (0..messages).try_for_each(|n| send(&producer, &topics[0], Some(n % PASSED_PARTITIONS), &payload))?;
                while producer.in_flight_count() > 0 {
                    producer.poll(Duration::from_micros(100));
                }
                let flushed = begun.elapsed();
                if offsets {
                    producer.send_offsets_to_transaction(&place, &group, PATIENCE)?;
                }
                let told = begun.elapsed();
                producer.commit_transaction(PATIENCE)?;
                let done = begun.elapsed();
                let parts = [done, flushed, told - flushed, done - told];
                took.iter_mut().zip(parts).for_each(|(took, part)| took.saturating_record(part.as_nanos() as u64));
            }
            let ms = |i: usize, quantile: f64| took[i].value_at_quantile(quantile) as f64 / 1e6;
            let with = if offsets { "yes" } else { "no" };
            print!("{messages:>8}  {with:<7} {:>8.2} {:>8.2} {:>8.2}", ms(0, 0.5), ms(0, 0.99), ms(0, 1.0));
            println!(" {:>16.2} {:>12.2} {:>11.2}", ms(1, 0.5), ms(2, 0.5), ms(3, 0.5));
        }
    }
    delete_topics(brokers, &topics)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("bounds of a minute")
}

fn producer(brokers: &str, topic: &str, number: i32) -> Outcome<BaseProducer> {
    let mut config = passing(brokers);
    config.set("transactional.id", format!("{topic}-{number}")).set("compression.codec", "lz4").set("linger.ms", "0");
    let producer: BaseProducer = config.create()?;
    producer.init_transactions(PATIENCE)?;
    Ok(producer)
}
