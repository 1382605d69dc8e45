//! The sink at least once, against brokers in this process.

#![allow(clippy::disallowed_methods, reason = "these tests wait for brokers, and not for ever")]

use super::*;
use crate::batch::Head;
use crate::origin::Origins;
use crate::schema::{Field, Kind};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::Instant;

pub(super) fn broker() -> String {
    noida::kafka::spawn("127.0.0.1:0").expect("a broker").to_string()
}

pub(super) fn schema() -> Schema {
    Schema::new([Field::new("sensor", Kind::Text), Field::new("value", Kind::Float)])
}

/// Rows that happened at a recent whole hour and the seconds behind it: `sensor:value`, `-` for null.
pub(super) fn rows(texts: &[&str]) -> Batch {
    let mut head = Head::default();
    let (mut sensors, mut values) = (Vec::new(), Vec::new());
    for (i, text) in texts.iter().enumerate() {
        let (sensor, value) = text.split_once(':').expect("sensor:value");
        head.times.push(base() + i as i64 * 1_000_000);
        head.origins.push(0);
        head.sequences.push(i as i64);
        sensors.push((sensor != "-").then(|| sensor.to_owned()));
        values.push(value.parse::<f64>().ok());
    }
    let columns: Vec<ArrayRef> =
        vec![std::sync::Arc::new(StringArray::from(sensors)), std::sync::Arc::new(Float64Array::from(values))];
    Batch::new(&schema(), head, columns)
}

fn base() -> i64 {
    time::floor_to(kafka_client::now(), 3_600_000_000, 0)
}

pub(super) fn sink(brokers: &str, more: &str) -> KafkaSink {
    let text = format!("brokers = '{brokers}'\n{more}");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn open(brokers: &str, more: &str) -> Result<Box<dyn Writer>, Failure> {
    let (sink, origins) = (sink(brokers, more), Origins::default());
    let mut faults = Vec::new();
    sink.plan(&schema(), &mut faults);
    assert_eq!(faults, []);
    sink.open(Opening {
        job: "job",
        delivery: Delivery::AtLeastOnce,
        resumes: false,
        name: "alerts",
        input: &schema(),
        shard: (0, 1),
        origins: &origins,
    })
}

/// All messages of a topic, by partition: `key seconds payload headers`.
fn topic(brokers: &str, topic: &str, count: usize) -> Vec<String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let partitions =
        kafka_client::partitions_of(consumer.client(), topic, REQUEST).expect("an answer").expect("the topic");
    let mut list = TopicPartitionList::new();
    partitions
        .iter()
        .for_each(|number| list.add_partition_offset(topic, *number, Offset::Beginning).expect("an offset"));
    consumer.assign(&list).expect("assigned");
    let began = Instant::now();
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(began.elapsed() < Duration::from_secs(20), "no more after {lines:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else { continue };
        let text =
            |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned());
        let headers = message
            .headers()
            .map_or_else(Vec::new, |h| h.iter().map(|h| format!("{}={}", h.key, text(h.value))).collect());
        let seconds = (message.timestamp().to_millis().expect("a timestamp") - base() / 1_000) / 1_000;
        let payload = text(message.payload()).replace(&time::format(base()), "BASE");
        lines.push(format!("{} {seconds} {payload} {}", text(message.key()), headers.join(",")).trim_end().to_owned());
    }
    lines
}

pub(super) const CREATE: &str = "topic = 'out'\ncreate = { partitions = 2 }\n";

#[test]
fn rows_arrive_with_keys_headers_and_times() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let brokers = broker();
        let headers = "headers = { engine = 'eagre', sensor = '{sensor}', both = '<{sensor} {value}>' }";
        let mut writer = open(&brokers, &format!("{CREATE}compression = '{compression}'\nkey = 'sensor'\n{headers}"))
            .expect("a writer");
        writer.write(&rows(&["a:1.5", "-:NaN", "a:x"])).expect("written");
        writer.finish().expect("flushed");
        let mut lines = topic(&brokers, "out", 3);
        lines.sort_unstable();
        let value = |seconds: i64| time::format(base() + seconds * 1_000_000);
        let expected = [
            format!(
                r#"- 1 {{"event_time":"{}","sensor":null,"value":"NaN"}} both=< NaN>,engine=eagre,sensor=-"#,
                value(1)
            ),
            r#"a 0 {"event_time":"BASE","sensor":"a","value":1.5} both=<a 1.5>,engine=eagre,sensor=a"#.to_owned(),
            format!(r#"a 2 {{"event_time":"{}","sensor":"a","value":null}} both=<a >,engine=eagre,sensor=a"#, value(2)),
        ];
        assert_eq!(lines, expected, "{compression}");
    }
}

#[test]
fn keys_keep_their_order_and_a_full_queue_only_slows() {
    let brokers = broker();
    let mut writer =
        open(&brokers, &format!("{CREATE}key = 'sensor'\nproperties = {{ 'queue.buffering.max.messages' = 50 }}"))
            .expect("a writer");
    let texts: Vec<String> = (0..2_000).map(|i| format!("s{}:{i}", i % 7)).collect();
    writer.write(&rows(&texts.iter().map(String::as_str).collect::<Vec<_>>())).expect("written");
    writer.finish().expect("flushed");
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    for line in topic(&brokers, "out", texts.len()) {
        let mut words = line.split(' ');
        let (key, seconds) =
            (words.next().expect("a key"), words.next().and_then(|s| s.parse::<i64>().ok()).expect("seconds"));
        assert!(seen.insert(key.to_owned(), seconds).is_none_or(|before| before < seconds), "{line}");
    }
    assert_eq!(seen.len(), 7);
}

#[test]
fn a_topic_that_is_missing_is_a_failure_or_made() {
    let brokers = broker();
    open(&brokers, CREATE).expect("made");
    open(&brokers, CREATE).expect("it is there already");
    let failure = open(&brokers, "topic = 'uot'").err().expect("a failure").to_string();
    assert_eq!(
        failure,
        "there is no topic `uot`\n  help: did you mean `out`? (create = { partitions = 8, replication = 1 } makes it)"
    );
}

#[test]
fn brokers_that_are_away_are_waited_for() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("out", 1, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    let mut writer = open(&brokers, "topic = 'out'").expect("a writer");
    cluster.broker_down(1).expect("down");
    writer.write(&rows(&["a:1"])).expect("queued");
    let began = Instant::now();
    while !writer.trouble().and_then(|say| say()).is_some_and(|trouble| trouble.contains("is away since")) {
        assert!(began.elapsed() < Duration::from_secs(20), "no trouble is seen");
        thread::sleep(Duration::from_millis(5));
    }
    cluster.broker_up(1).expect("up");
    writer.finish().expect("flushed");
    let refused =
        [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT];
    cluster.request_errors(RDKafkaApiKey::Produce, &refused);
    writer.write(&rows(&["a:2", "b:3"])).expect("queued");
    writer.finish().expect("flushed in spite of the errors");
    assert_eq!(topic(&brokers, "out", 3).len(), 3);
}

#[test]
fn a_topic_is_not_looked_for_longer_than_delivery_is_tried() {
    let mut writer = open("127.0.0.1:1", "topic = 'out'\ndelivery_timeout = '300ms'").expect("it waits");
    let failure = writer.write(&rows(&["a:1"])).expect_err("too late").to_string();
    assert!(failure.starts_with("topic `out` could not be reached: broker 127.0.0.1:1 is away since "), "{failure}");
    assert!(failure.ends_with("it was tried for 300ms, as `delivery_timeout` says"), "{failure}");
}

#[test]
fn what_cannot_be_delivered_is_a_failure() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("out", 1, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    let mut writer = open(&brokers, "topic = 'out'\nacks = '1'").expect("a writer");
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    writer.write(&rows(&["a:1"])).expect("queued");
    let failure = writer.finish().expect_err("refused").to_string();
    assert!(failure.starts_with("a message could not be delivered to out[0]: "), "{failure}");
    assert!(failure.ends_with("raise the topic's max.message.bytes"), "{failure}");
    let mut writer = open(&brokers, "topic = 'out'\ndelivery_timeout = '300ms'").expect("a writer");
    cluster.broker_down(1).expect("down");
    writer.write(&rows(&["a:1", "b:2"])).expect("queued");
    let failure = writer.finish().expect_err("too late").to_string();
    assert!(
        failure.starts_with("2 messages could not be delivered to out[0]: ") || failure.starts_with("a message"),
        "{failure}"
    );
    assert!(
        failure.contains("is away since") && failure.ends_with("it was tried for 300ms, as `delivery_timeout` says"),
        "{failure}"
    );
}

#[test]
fn a_configuration_is_checked() {
    for (more, expected) in [
        ("topic = 'out'\nheaders = { a = 'x{value}' }", ""),
        ("topic = 'out'\nkey = 'sensr'", "key: there is no field `sensr` (did you mean `sensor`?)"),
        (
            "topic = 'o t'",
            "topic: `o t` is no name of a topic (up to 249 letters, digits, dots, underscores and hyphens)",
        ),
        ("topic = 'out'\nheaders = { a = '{' }", "headers.a: `{` has a brace that is not closed (write \"{field}\")"),
        (
            "topic = 'out'\nheaders = { a = '{valeu}' }",
            "headers.a: there is no field `valeu` (did you mean `{value}`?)",
        ),
        (
            "topic = 'out'\ndelivery_timeout = '1ms'",
            "delivery_timeout: it must be longer than `linger` (write for example \"5m\", or \"0s\" for ever)",
        ),
        ("topic = 'out'\ncreate = { partitions = 0 }", "create.partitions: a topic has at least one partition"),
        (
            "topic = 'out'\ncreate = { partitions = 1 }\nsecurity = { mechanism = 'OAUTHBEARER', token_file = 't' }",
            "create: a topic cannot be made with an OAUTHBEARER login (make it beforehand)",
        ),
        ("topic = 'out'\nproperties = { acks = 1 }", "properties.acks: `acks` may not be set here (write `acks`)"),
    ] {
        let mut faults = Vec::new();
        sink("a", more).plan(&schema(), &mut faults);
        let found: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected, "{more}");
    }
}
