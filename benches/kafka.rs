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

#[path = "support/child.rs"]
mod child;
#[path = "support/w1.rs"]
mod w1;

use child::{Usage, measure};
use eagre::job::{Overrides, plan};
use eagre::kafka_client::wait_for;
use hdrhistogram::Histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as native;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PARTITIONS: i32 = 4;
/// Of a topic whose messages are passed on: one for each worker.
const PASSED_PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

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
    let j1 = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support/j1.toml"))?;
    let from = j1.find("kind = \"file\"\npath = \"w1.jsonl\"").ok_or("the source of j1.toml")?;
    let source = format!("kind = \"kafka\"\nbrokers = {brokers:?}\ntopic = {topic:?}\nuntil = \"now\"");
    let job = format!("{}{source}{}", &j1[..from], &j1[from + "kind = \"file\"\npath = \"w1.jsonl\"".len()..]);
    fs::write(folder.join("j1.toml"), job)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
    command.arg("run").arg(folder.join("j1.toml")).args(["--workers", &workers.to_string(), "--live", "never"]);
    command.args(["--set", &format!("sink.rows.path={}", folder.join("j1.jsonl").display())]);
    command.args(["--set", &format!("data_dir={}", folder.display())]);
    Ok(command)
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench");
    config
}

/// Puts the lines of a file into a new topic, unless it has them.
fn fill(brokers: &str, topic: &str, lines: &Path, events: u64) -> Outcome<()> {
    if held(brokers, topic) == events {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    // The events happened some time ago: they must not be taken for old ones.
    let new = new.set("retention.ms", "-1").set("message.timestamp.type", "LogAppendTime");
    wait_for(admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(PATIENCE))))?;
    let mut config = client(brokers);
    config.remove("group.id");
    config.set("compression.codec", "lz4").set("linger.ms", "20").set("queue.buffering.max.messages", "200000");
    let producer: BaseProducer = config.create()?;
    for (number, line) in fs::read_to_string(lines)?.lines().enumerate() {
        send(&producer, topic, Some(number as i32 % PARTITIONS), line)?;
    }
    producer.flush(PATIENCE)?;
    let held = held(brokers, topic);
    if held == events { Ok(()) } else { Err(format!("topic {topic} has {held} messages, wanted {events}").into()) }
}

/// How many messages a topic has; 0 where it is not there.
fn held(brokers: &str, topic: &str) -> u64 {
    let Ok(consumer) = client(brokers).create::<BaseConsumer>() else { return 0 };
    let ends = (0..PARTITIONS).map(|p| consumer.fetch_watermarks(topic, p, PATIENCE).map_or(0, |(_, end)| end as u64));
    ends.sum()
}

fn send(producer: &BaseProducer, topic: &str, partition: Option<i32>, payload: &str) -> Outcome<()> {
    let mut record = BaseRecord::<str, str>::to(topic).payload(payload);
    record.partition = partition;
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
            Err((error, _)) => return Err(error.into()),
        };
        producer.poll(Duration::from_millis(5));
    }
}

/// A consumer of all of these topics from their beginning.
fn consumer(brokers: &str, topics: &[&str], partitions: i32) -> Outcome<BaseConsumer> {
    let mut config = client(brokers);
    config.set("check.crcs", "true").set("fetch.queue.backoff.ms", "5").set("fetch.wait.max.ms", "5");
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    for topic in topics {
        (0..partitions).try_for_each(|p| all.add_partition_offset(topic, p, Offset::Beginning))?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}

/// How many messages are taken at once.
const BATCH: usize = 4_096;

/// The floor: takes so many messages, looks at nothing but their number and length.
fn consume(brokers: &str, topic: &str, events: u64) -> Outcome<()> {
    let consumer = consumer(brokers, &[topic], PARTITIONS)?;
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
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    for topic in &topics {
        let new = NewTopic::new(topic, PASSED_PARTITIONS, TopicReplication::Fixed(1));
        wait_for(admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(PATIENCE))))?;
    }
    let job = format!(
        "name = 'latency'\nworkers = 2\n\
         [source.due]\nkind = 'kafka'\nbrokers = '{brokers}'\ntopic = '{}'\nfields = {{ due = 'int', key = 'int' }}\n\
         properties = {{ 'fetch.wait.max.ms' = 5 }}\n\
         [step.windows]\nkind = 'aggregate'\ninput = 'due'\nkey = 'key'\nwindow = {{ count = 1 }}\n\
         aggregates = {{ due = 'max(due)' }}\n\
         [sink.told]\nkind = 'kafka'\ninput = 'windows'\nbrokers = '{brokers}'\ntopic = '{}'\nlinger = '1ms'\n",
        topics[0], topics[1]
    );
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
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    wait_for(admin.delete_topics(&names, &AdminOptions::new()))?;
    Ok(told?)
}

/// Passes on every message as it comes, until it is ended.
fn relay(brokers: &str, from: &str, to: &str, ended: &AtomicBool) -> Outcome<()> {
    let consumer = consumer(brokers, &[from], PASSED_PARTITIONS)?;
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

/// Sends messages that say when they were due.
fn falling(brokers: &str, topic: &str, rate: u64, seconds: u64, begun: Instant) -> Outcome<()> {
    let producer: BaseProducer = passing(brokers).create()?;
    let period = 1_000_000_000 / rate;
    let first = begun.elapsed().as_nanos() as u64 + 1_000_000_000;
    for number in 0..rate * seconds {
        let due = first + number * period;
        while (begun.elapsed().as_nanos() as u64) < due {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(500));
        }
        let payload = format!("{{\"due\":{due},\"key\":{}}}", number % 100);
        send(&producer, topic, Some(number as i32 % PASSED_PARTITIONS), &payload)?;
    }
    Ok(producer.flush(PATIENCE)?)
}

/// The settings of a producer that does not let messages wait.
fn passing(brokers: &str) -> ClientConfig {
    let mut config = client(brokers);
    config.remove("group.id");
    config.set("linger.ms", "1");
    config
}

/// How long messages took that come out of each topic, but for those of the first second.
fn told(brokers: &str, topics: &[String; 3], begun: Instant, ended: &AtomicBool) -> Outcome<Told> {
    let consumer = consumer(brokers, &topics.each_ref().map(String::as_str), PASSED_PARTITIONS)?;
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
