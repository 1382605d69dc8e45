//! What benchmarks through a real broker share: topics, and messages into them and out of them.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use eagre::kafka_client::wait_for;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What may go wrong in a benchmark ends it.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Of the topic with the lines of W1.
pub const PARTITIONS: i32 = 4;
/// Of a topic whose messages are passed on: one for each worker.
pub const PASSED_PARTITIONS: i32 = 2;
/// How long a broker is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of a client.
pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench");
    config
}

/// Makes topics whose messages are passed on.
pub fn make_topics(brokers: &str, topics: &[String]) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    for topic in topics {
        let new = NewTopic::new(topic, PASSED_PARTITIONS, TopicReplication::Fixed(1));
        wait_for(admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(PATIENCE))))?;
    }
    Ok(())
}

/// Deletes topics.
pub fn delete_topics(brokers: &str, topics: &[String]) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    wait_for(admin.delete_topics(&names, &AdminOptions::new()))?;
    Ok(())
}

/// Puts the lines of a file into a new topic, unless it has them.
pub fn fill(brokers: &str, topic: &str, lines: &Path, events: u64) -> Outcome<()> {
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

/// Hands a message to a producer; waits while its queue is full.
pub fn send(producer: &BaseProducer, topic: &str, partition: Option<i32>, payload: &str) -> Outcome<()> {
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
pub fn consumer(brokers: &str, topics: &[&str], partitions: i32, isolation: &str) -> Outcome<BaseConsumer> {
    let mut config = client(brokers);
    config.set("check.crcs", "true").set("fetch.queue.backoff.ms", "5").set("fetch.wait.max.ms", "5");
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("isolation.level", isolation);
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    for topic in topics {
        (0..partitions).try_for_each(|p| all.add_partition_offset(topic, p, Offset::Beginning))?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}

/// The settings of a producer that does not let messages wait.
pub fn passing(brokers: &str) -> ClientConfig {
    let mut config = client(brokers);
    config.remove("group.id");
    config.set("linger.ms", "1");
    config
}

/// Sends messages of 100 keys at a rate, that say when they were due.
pub fn falling(brokers: &str, topic: &str, rate: u64, seconds: u64, begun: Instant) -> Outcome<()> {
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

/// The job that passes messages on: J1 as windows of one record, from a topic into another. `more` is what else is said
/// of the sink, `head` stands before all.
pub fn passing_job(brokers: &str, from: &str, to: &str, head: &str, more: &str) -> String {
    format!(
        "name = 'latency'\nworkers = 2\n{head}\
         [source.due]\nkind = 'kafka'\nbrokers = '{brokers}'\ntopic = '{from}'\n\
         fields = {{ due = 'int', key = 'int' }}\nproperties = {{ 'fetch.wait.max.ms' = 5 }}\n\
         [step.windows]\nkind = 'aggregate'\ninput = 'due'\nkey = 'key'\nwindow = {{ count = 1 }}\n\
         aggregates = {{ due = 'max(due)' }}\n\
         [sink.told]\nkind = 'kafka'\ninput = 'windows'\nbrokers = '{brokers}'\ntopic = '{to}'\nlinger = '1ms'\n{more}"
    )
}

/// J1 over a topic. `head` is put before the source, and `sink` in place of its sink.
pub fn j1_job(brokers: &str, topic: &str, head: &str, sink: Option<&str>) -> Outcome<String> {
    const SOURCE: &str = "kind = \"file\"\npath = \"w1.jsonl\"";
    const SINK: &str = "kind = \"file\"\ninput = \"windows\"\npath = \"j1.jsonl\"";
    let j1 = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support/j1.toml"))?;
    if !j1.contains(SOURCE) || !j1.contains(SINK) {
        return Err("j1.toml is not what it was".into());
    }
    let source = format!("kind = \"kafka\"\nbrokers = {brokers:?}\ntopic = {topic:?}\nuntil = \"now\"");
    let j1 = j1.replace(SOURCE, &source).replace("[source.readings]", &format!("{head}[source.readings]"));
    Ok(sink.map_or(j1.clone(), |sink| j1.replace(SINK, sink)))
}
