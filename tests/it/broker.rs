//! A Kafka broker within the process: topics to read from, and topics to read back. One for each test.

use eagre::kafka_client::wait_for;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A message: its partition and its payload, if it has one.
pub type Sent = (i32, Option<Vec<u8>>);

/// Starts a broker; gives its address. It ends with the process.
pub fn start() -> String {
    noida::kafka::spawn("127.0.0.1:0").unwrap().to_string()
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("message.max.bytes", "100000000");
    config
}

/// Makes a topic that takes large messages.
pub fn create(brokers: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().unwrap();
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "33554432");
    wait_for(admin.create_topics([&topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
}

/// Sends messages in their order, and waits until the broker has them.
pub fn produce(brokers: &str, topic: &str, messages: &[Sent]) {
    let producer: BaseProducer = client(brokers).create().unwrap();
    for (partition, payload) in messages {
        let record = BaseRecord::<str, [u8]>::to(topic).partition(*partition);
        let record = payload.iter().fold(record, |record, payload| record.payload(payload));
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Everything in a topic, a line for each message: partition, key, payload. Sorted.
pub fn lines(brokers: &str, topic: &str) -> Vec<String> {
    let mut lines = lines_in_order(brokers, topic);
    lines.sort_unstable();
    lines
}

/// The same in the order of each partition.
pub fn lines_in_order(brokers: &str, topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = client(brokers).set("group.id", "tests").create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let numbers: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    let (mut list, mut wanted) = (TopicPartitionList::new(), 0);
    for number in numbers {
        let (low, high) = consumer.fetch_watermarks(topic, number, PATIENCE).unwrap();
        wanted += (high - low) as usize;
        list.add_partition_offset(topic, number, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut lines, begun) = (Vec::new(), Instant::now());
    while lines.len() < wanted {
        assert!(begun.elapsed() < PATIENCE, "{} of {wanted} messages of {topic}", lines.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
        lines.push(format!("{} {} {}", message.partition(), text(message.key()), text(message.payload())));
    }
    lines
}
