//! The sink exactly once, called as the engine calls it, against a broker in this process and, where `EAGRE_KAFKA`
//! names one, a real one.

#![allow(clippy::disallowed_methods, reason = "these tests wait for brokers, and not for ever")]

use super::tests::{broker, rows, schema, sink};
use super::*;
use crate::origin::Origins;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

/// A cluster, and names that only one test uses.
struct World {
    brokers: String,
    name: String,
}

/// The cluster in this process, and the real one.
fn worlds() -> Vec<World> {
    let real = std::env::var("EAGRE_KAFKA").ok();
    let name = || format!("exactly-once-{:x}", kafka_client::now());
    real.into_iter().chain([broker()]).map(|brokers| World { brokers, name: name() }).collect()
}

/// A real broker keeps no topic of a test.
impl Drop for World {
    fn drop(&mut self) {
        if std::env::var("EAGRE_KAFKA").is_ok_and(|real| real == self.brokers) {
            let admin = ClientConfig::new().set("bootstrap.servers", &self.brokers).create();
            let admin: AdminClient<rdkafka::client::DefaultClientContext> = admin.expect("a client");
            drop(kafka_client::wait_for(admin.delete_topics(&[&self.name], &AdminOptions::new())));
        }
    }
}

impl World {
    fn open_as(&self, more: &str, delivery: Delivery) -> Result<Box<dyn Writer>, Failure> {
        let text = format!("topic = '{}'\ncreate = {{ partitions = 2 }}\n{more}", self.name);
        let (sink, origins, schema) = (sink(&self.brokers, &text), Origins::default(), schema());
        let (job, name, input, shard) = (&*self.name, "alerts", &schema, (0, 1));
        sink.open(Opening { job, name, input, shard, delivery, resumes: false, origins: &origins })
    }

    fn open(&self) -> Box<dyn Writer> {
        let more = "key = 'sensor'\nheaders = { sensor = '{sensor}' }";
        self.open_as(more, Delivery::ExactlyOnce).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The values of all messages that a reader sees, sorted.
    fn seen(&self, isolation: &str) -> Vec<String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "reader").set("enable.partition.eof", "true");
        config.set("isolation.level", isolation).set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("assigned");
        let (mut values, mut ended, began) = (Vec::new(), BTreeSet::new(), Instant::now());
        while ended.len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "no end after {values:?}");
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    let row: Value = serde_json::from_slice(message.payload().expect("a row")).expect("JSON");
                    values.push(row["value"].to_string());
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        values.sort_unstable();
        values
    }

    #[track_caller]
    fn check(&self, expected: &[&str]) {
        assert_eq!(self.seen("read_committed"), expected, "{}", self.brokers);
    }
}

/// Writes rows and seals them.
fn seal(writer: &mut dyn Writer, id: u64, texts: &[&str]) -> Vec<u8> {
    writer.write(&rows(texts)).and_then(|()| writer.flush()).expect("written");
    writer.seal(id).expect("sealed")
}

#[test]
fn rows_are_seen_when_they_are_published_and_once() {
    for world in worlds() {
        let mut writer = world.open();
        let first = seal(&mut *writer, 1, &["a:1.5", "-:2.5"]);
        world.check(&[]);
        writer.publish(1).expect("published");
        world.check(&["1.5", "2.5"]);
        // It dies between `publish` and the next `seal`: what the checkpoint has is there already.
        writer.write(&rows(&["a:9.5"])).expect("written");
        drop(writer);
        let mut writer = world.open();
        writer.recover(1, &first).expect("recovered");
        world.check(&["1.5", "2.5"]);
        // It dies between `seal` and `publish`.
        let second = seal(&mut *writer, 4, &["b:3.5"]);
        drop(writer);
        let mut writer = world.open();
        writer.recover(4, &second).expect("recovered");
        world.check(&["1.5", "2.5", "3.5"]);
        // And again, after that.
        drop(writer);
        let mut writer = world.open();
        writer.recover(4, &second).expect("recovered");
        let third = seal(&mut *writer, 5, &["c:4.5"]);
        writer.publish(5).expect("published");
        // An empty checkpoint moves no marker, and loses none.
        let empty = seal(&mut *writer, 6, &[]);
        writer.publish(6).and_then(|()| writer.finish()).expect("finished");
        let mut writer = world.open();
        writer.recover(6, &empty).expect("recovered");
        seal(&mut *writer, 7, &["d:5.5"]);
        writer.publish(7).expect("published");
        world.check(&["1.5", "2.5", "3.5", "4.5", "5.5"]);
        let failure = world.open().recover(5, &third).expect_err("an older checkpoint").to_string();
        assert!(failure.contains("what belongs to checkpoint 7, and the job goes on from 5"), "{failure}");
    }
}

#[test]
fn no_two_jobs_write_under_one_name() {
    assert_eq!(transactional_id("orders", "late-alerts", 3), "orders.late-alerts.3");
    assert_ne!(transactional_id("a-b", "c", 0), transactional_id("a", "b-c", 0));
    assert_ne!(transactional_id("a", "b-1", 0), transactional_id("a", "b", 10));
}

#[test]
fn an_open_transaction_of_the_dead_is_aborted() {
    for world in worlds() {
        let config = sink(&world.brokers, "topic = 'out'")
            .config(Some(&transactional_id(&world.name, "alerts", 0)))
            .expect("a configuration");
        drop(world.open());
        let dead: ThreadedProducer<rdkafka::producer::DefaultProducerContext> = config.create().expect("a producer");
        dead.init_transactions(REQUEST).and_then(|()| dead.begin_transaction()).expect("begun");
        dead.send(BaseRecord::<str, str>::to(&world.name).payload("{\"value\":0}"))
            .map_err(|(error, _)| error)
            .expect("queued");
        dead.flush(PATIENCE).expect("sent");
        world.check(&[]);
        let mut writer = world.open();
        let outbox = seal(&mut *writer, 1, &["a:1.5"]);
        writer.publish(1).expect("published");
        world.check(&["1.5"]);
        assert_eq!(world.seen("read_uncommitted"), ["0", "1.5"]);
        drop((writer, outbox));
    }
}

#[test]
fn a_zombie_never_writes_on() {
    for world in worlds() {
        let mut zombie = world.open();
        seal(&mut *zombie, 1, &["a:1.5"]);
        zombie.publish(1).expect("published");
        let outbox = seal(&mut *zombie, 2, &["b:2.5"]);
        let mut heir = world.open();
        heir.recover(2, &outbox).expect("recovered");
        for id in [2, 3] {
            let failure = zombie.publish(id).expect_err("fenced").to_string();
            assert!(failure.starts_with("another run of this job has taken over topic"), "{failure}");
            seal(&mut *zombie, id + 1, &["z:9.5"]);
        }
        seal(&mut *heir, 3, &["c:3.5"]);
        heir.publish(3).expect("published");
        world.check(&["1.5", "2.5", "3.5"]);
        assert_eq!(world.seen("read_uncommitted"), ["1.5", "2.5", "3.5"]);
    }
}

#[test]
fn a_job_that_begins_anew_does_not_heed_the_old_marker() {
    for world in worlds() {
        let mut writer = world.open();
        seal(&mut *writer, 1, &["a:1.5"]);
        writer.publish(1).expect("published");
        let mut writer = world.open();
        let outbox = seal(&mut *writer, 1, &["b:2.5"]);
        drop(writer);
        world.open().recover(1, &outbox).expect("recovered");
        world.check(&["1.5", "2.5"]);
    }
}

#[test]
fn a_marker_that_is_gone_is_told() {
    for world in worlds() {
        let mut writer = world.open();
        seal(&mut *writer, 1, &["a:1.5"]);
        writer.publish(1).expect("published");
        let outbox = seal(&mut *writer, 2, &["b:2.5"]);
        let other = World { brokers: broker(), name: world.name.clone() };
        let failure = other.open().recover(2, &outbox).expect_err("no marker").to_string();
        assert!(failure.contains("whether the 1 messages of checkpoint 2 were published"), "{failure}");
        // The way out publishes what waits.
        let mut writer = other.open_as("", Delivery::AtLeastOnce).expect("a writer");
        writer.recover(2, &outbox).expect("published");
        other.check(&["2.5"]);
    }
}

#[test]
fn the_outbox_is_bounded_and_its_settings_are_checked() {
    for world in worlds() {
        let mut writer = world.open_as("outbox_max = '100B'", Delivery::ExactlyOnce).expect("open");
        writer.write(&rows(&["a:1.5"])).expect("written");
        assert_eq!((writer.staged() > 60, writer.staged_max()), (true, 100));
        let failure = (0..10).find_map(|_| writer.write(&rows(&["a:1.5"])).err()).expect("full").to_string();
        assert!(failure.contains("bytes of messages wait") && failure.contains("outbox_max"), "{failure}");
        assert!(!sink("a", "topic = 'out'\nacks = '1'").delivers_exactly_once());
        let mut faults = Vec::new();
        sink("a", "topic = 'out'\ntransaction_timeout = '10ms'").plan(&schema(), &mut faults);
        assert_eq!(faults.iter().map(|fault| fault.path.join(".")).collect::<Vec<_>>(), ["transaction_timeout"]);
    }
}

/// A cluster that makes mistakes; its transactions are for show.
fn mock() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Box<dyn Writer>) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    let world = World { brokers: cluster.bootstrap_servers(), name: "mocked".into() };
    cluster.create_topic(&world.name, 2, 1).expect("a topic");
    let mut writer = world.open();
    seal(&mut *writer, 1, &["a:1.5", "b:2.5"]);
    (cluster, writer)
}

#[test]
fn what_can_be_mended_is_made_again() {
    use RDKafkaRespErr::*;
    for (request, errors) in [
        (RDKafkaApiKey::Produce, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR__TRANSPORT][..]),
        (RDKafkaApiKey::Produce, &[RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID]),
        (RDKafkaApiKey::AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING]),
        (RDKafkaApiKey::TxnOffsetCommit, &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION]),
        (RDKafkaApiKey::EndTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS]),
        (RDKafkaApiKey::EndTxn, &[RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID]),
    ] {
        let (cluster, mut writer) = mock();
        cluster.request_errors(request, errors);
        writer.publish(1).unwrap_or_else(|failure| panic!("{errors:?}: {failure}"));
        seal(&mut *writer, 2, &["c:3.5"]);
        writer.publish(2).unwrap_or_else(|failure| panic!("after {errors:?}: {failure}"));
    }
    let (cluster, mut writer) = mock();
    cluster.broker_down(1).expect("down");
    let publishing = thread::spawn(move || writer.publish(1));
    thread::sleep(Duration::from_millis(500));
    cluster.broker_up(1).expect("up");
    publishing.join().expect("no panic").expect("published");
}

#[test]
fn what_can_not_be_mended_is_a_failure() {
    use RDKafkaRespErr::*;
    for (request, error, expected) in [
        (RDKafkaApiKey::Produce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "raise the topic's max.message.bytes"),
        (RDKafkaApiKey::Produce, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, "message.timestamp.type to LogAppendTime"),
        (RDKafkaApiKey::Produce, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "another run of this job has taken over"),
        (RDKafkaApiKey::EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "another run of this job has taken over"),
        (
            RDKafkaApiKey::EndTxn,
            RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "cannot be written exactly once",
        ),
    ] {
        let (cluster, mut writer) = mock();
        cluster.request_errors(request, &[error]);
        let failure = writer.publish(1).expect_err("not mended").to_string();
        assert!(failure.contains(expected), "{error:?}: {failure}");
    }
}

#[test]
fn brokers_that_are_away_are_waited_for_and_not_for_ever() {
    let world = World { brokers: "127.0.0.1:1".into(), name: "away".into() };
    let mut writer = world.open_as("delivery_timeout = '300ms'", Delivery::ExactlyOnce).expect("it waits");
    seal(&mut *writer, 1, &["a:1.5"]);
    let failure = writer.publish(1).expect_err("too late").to_string();
    assert!(failure.contains("is away since") && failure.contains("`delivery_timeout`"), "{failure}");
}
