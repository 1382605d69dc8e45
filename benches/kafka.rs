//! J1 from a topic, beside a program that does nothing but consume it in batches by librdkafka; and how long a message
//! takes from one topic through the engine into another, beside a loop that does nothing but pass each on, at the same
//! time and from the same topic, and beside the way into the first topic alone.
//!
//! `EAGRE_KAFKA=127.0.0.1:19092 cargo bench --bench kafka [-- --events 2000000 --rounds 5 --rate 10000 --seconds 10]`;
//! `scripts/kafka start` starts a broker. Without one it says so and ends. The lines of W1 are put once into a topic of
//! four partitions. Each run is a process of its own, and the runs alternate. `--events 0` measures latency only.
#![allow(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "a benchmark reads the clock and the environment, and rdkafka has no binding for consuming in batches"
)]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/child.rs"]
mod child;
#[path = "support/w1.rs"]
mod w1;

use broker::{
    Outcome, PARTITIONS, PASSED_PARTITIONS, PATIENCE, consumer, delete_topics, falling, fill, j1_job, make_topics,
    passing, passing_job, send,
};
use child::{Usage, measure};
use eagre::job::{Overrides, plan};
use hdrhistogram::Histogram;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as native;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [floor, brokers, topic, events] = &arguments[..]
        && floor == "floor"
    {
        return consume(brokers, topic, events.parse()?);
    }
    let Some(brokers) = std::env::var("EAGRE_KAFKA").ok().filter(|brokers| !brokers.is_empty()) else {
        println!("skipped: EAGRE_KAFKA names no broker (`scripts/kafka start` starts one)");
        return Ok(());
    };
    let option = |name: &str, default: u64| -> Outcome<u64> {
        Ok(arguments.iter().skip_while(|a| *a != name).nth(1).map_or(Ok(default), |text| text.parse())?)
    };
    let rounds = option("--rounds", 5)? as usize;
    if option("--events", 2_000_000)? > 0 {
        throughput(&brokers, option("--events", 2_000_000)?, rounds)?;
    }
    latency(&brokers, option("--rate", 10_000)?, option("--seconds", 10)?, rounds)
}

fn throughput(brokers: &str, events: u64, rounds: usize) -> Outcome<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
    fs::create_dir_all(&folder)?;
    let topic = format!("bench-w1-{events}");
    fill(brokers, &topic, &w1::generate(&folder, events)?.whole, events)?;
    let mut runs: [Vec<Usage>; 3] = Default::default();
    for _ in 0..rounds {
        let mut floor = Command::new(std::env::current_exe()?);
        runs[0].push(measure(floor.args(["floor", brokers, &topic, &events.to_string()]))?);
        for workers in [1, 2] {
            runs[workers].push(measure(&mut engine(brokers, &topic, &folder, workers)?)?);
            let rows = fs::read_to_string(folder.join("j1.jsonl"))?;
            let count = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["count"].as_u64();
            assert_eq!(rows.lines().filter_map(count).sum::<u64>(), events, "every message is in one window");
        }
    }
    println!("Kafka with J1: {events} messages in {PARTITIONS} partitions, medians of {rounds} rounds");
    println!("program               messages/s  x floor  CPU us/message  peak MB");
    let median = |runs: &[Usage], of: fn(&Usage) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let floor = median(&runs[0], |run| run.wall_s);
    for (name, runs) in ["librdkafka, batches", "eagre, 1 worker", "eagre, 2 workers"].into_iter().zip(&runs) {
        let (wall, cpu) = (median(runs, |run| run.wall_s), median(runs, Usage::cpu_s));
        let (rate, memory) = (events as f64 / wall, median(runs, |run| run.rss_max_mb));
        println!("{name:<20} {rate:>11.0} {:>8.2} {:>15.3} {memory:>8.1}", floor / wall, cpu * 1e6 / events as f64);
    }
    Ok(())
}

fn engine(brokers: &str, topic: &str, folder: &Path, workers: usize) -> Outcome<Command> {
    let job = j1_job(brokers, topic, "", None)?;
    fs::write(folder.join("j1.toml"), job)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
    command.arg("run").arg(folder.join("j1.toml")).args(["--workers", &workers.to_string(), "--live", "never"]);
    command.args(["--set", &format!("sink.rows.path={}", folder.join("j1.jsonl").display())]);
    command.args(["--set", &format!("data_dir={}", folder.display())]);
    Ok(command)
}

/// How many messages are taken at once.
const BATCH: usize = 4_096;

/// The floor: takes so many messages, looks at nothing but their number and length.
fn consume(brokers: &str, topic: &str, events: u64) -> Outcome<()> {
    let consumer = consumer(brokers, &[topic], PARTITIONS, "read_uncommitted")?;
    let mut batch = vec![std::ptr::null_mut(); BATCH];
    // SAFETY: the client lives until the end of this function, and the queue is given back before.
    let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let (mut taken, mut bytes) = (0, 0);
    while taken < events {
        // SAFETY: the queue is alive and there is room for so many pointers.
        let count = unsafe { native::rd_kafka_consume_batch_queue(queue, 100, batch.as_mut_ptr(), BATCH) };
        for message in &batch[..count.max(0) as usize] {
            // SAFETY: the call has filled so many, each is ours, and it is given back once.
            unsafe {
                taken += u64::from((**message).err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
                bytes += (**message).len;
                native::rd_kafka_message_destroy(*message);
            }
        }
    }
    // SAFETY: it was got above and is given back once.
    unsafe { native::rd_kafka_queue_destroy(queue) };
    println!("{taken} messages, {bytes} bytes");
    Ok(())
}

/// The ways that are measured: the topics in which they end.
const WAYS: [&str; 3] = ["into the first topic", "through the engine", "through a bare loop"];

/// How long messages took on each way.
type Told = [Histogram<u64>; 3];

fn latency(brokers: &str, rate: u64, seconds: u64, rounds: usize) -> Outcome<()> {
    let told = (0..rounds).map(|round| passed(brokers, round, rate, seconds)).collect::<Outcome<Vec<Told>>>()?;
    println!("from a topic into another, {rate} messages/s for {seconds} s, in ms: medians of {rounds} rounds");
    println!("way                         told      p50      p90      p99    p99.9  least p99");
    for (i, way) in WAYS.into_iter().enumerate() {
        let ms = |quantile: f64| {
            let of = |told: &Told| told[i].value_at_quantile(quantile) as f64 / 1e6;
            let mut ms: Vec<f64> = told.iter().map(of).collect();
            ms.sort_by(f64::total_cmp);
            ms
        };
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| ms(quantile)[rounds / 2]);
        let count: u64 = told.iter().map(|told| told[i].len()).sum();
        println!("{way:<22} {count:>9} {p50:>8.2} {p90:>8.2} {p99:>8.2} {p999:>8.2} {:>10.2}", ms(0.99)[0]);
    }
    Ok(())
}

/// One round: the engine and the bare loop pass on the same messages at the same time.
fn passed(brokers: &str, round: usize, rate: u64, seconds: u64) -> Outcome<Told> {
    let number = std::process::id();
    let topics = ["in", "out", "relayed"].map(|way| format!("bench-{way}-{number}-{round}"));
    make_topics(brokers, &topics)?;
    let job = passing_job(brokers, &topics[0], &topics[1], "", "");
    let planned = plan(&job, "latency.toml", &Overrides::default(), &eagre::standard()).map_err(|f| f.render(false))?;
    let mut job = eagre::engine::start(planned, 2).map_err(|failure| failure.to_string())?;
    let (begun, ended) = (Instant::now(), AtomicBool::new(false));
    let told = std::thread::scope(|scope| {
        let told = scope.spawn(|| told(brokers, &topics, begun, &ended).map_err(|error| error.to_string()));
        let relayed = scope.spawn(|| relay(brokers, &topics[0], &topics[2], &ended).map_err(|error| error.to_string()));
        let sent = falling(brokers, &topics[0], rate, seconds, begun).map_err(|error| error.to_string());
        std::thread::sleep(Duration::from_secs(1));
        ended.store(true, SeqCst);
        let panicked = |_| "panicked".to_owned();
        sent.and(relayed.join().map_err(panicked)?)?;
        told.join().map_err(panicked)?
    });
    job.stop();
    job.wait().map_err(|failure| failure.to_string())?;
    delete_topics(brokers, &topics)?;
    Ok(told?)
}

/// Passes on every message as it comes, until it is ended.
fn relay(brokers: &str, from: &str, to: &str, ended: &AtomicBool) -> Outcome<()> {
    let consumer = consumer(brokers, &[from], PASSED_PARTITIONS, "read_uncommitted")?;
    let mut config = passing(brokers);
    // As the engine's sink does it.
    config.set("compression.codec", "lz4").set("enable.idempotence", "true").set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create()?;
    while !ended.load(SeqCst) {
        if let Some(message) = consumer.poll(Duration::from_millis(5)) {
            let message = message?;
            let payload = std::str::from_utf8(message.payload().ok_or("a payload")?)?;
            send(&producer, to, None, payload)?;
        }
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(PATIENCE)?)
}

/// How long messages took that come out of each topic, but for those of the first second.
fn told(brokers: &str, topics: &[String; 3], begun: Instant, ended: &AtomicBool) -> Outcome<Told> {
    let consumer = consumer(brokers, &topics.each_ref().map(String::as_str), PASSED_PARTITIONS, "read_uncommitted")?;
    let histogram = || Histogram::new_with_max(60_000_000_000, 3);
    let mut took = [histogram()?, histogram()?, histogram()?];
    let mut first = None;
    while !ended.load(SeqCst) {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        let row: serde_json::Value = serde_json::from_slice(message.payload().ok_or("a payload")?)?;
        let due = row["due"].as_u64().ok_or("a time")?;
        if due > *first.get_or_insert(due) + 1_000_000_000 {
            let way = topics.iter().position(|topic| topic == message.topic()).ok_or("a topic of ours")?;
            took[way].saturating_record((begun.elapsed().as_nanos() as u64).saturating_sub(due).max(1));
        }
    }
    Ok(took)
}
