//! What Kafka's own tools see of a job: a consumer group that stands where its newest checkpoint does, and no lag when
//! everything is read, also where a partition ends with the marks of transactions.

use super::cluster::{PATIENCE, Sender, Topic, client, minutes_ago, real};
use super::{eventually, job_text, reading, start, stop};
use crate::program::Folder;
use eagre::engine::{Health, Job};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::thread;
use std::time::{Duration, Instant};

/// A transaction of so many readings in each of two partitions.
fn transact(producer: &BaseProducer, topic: &Topic, readings: u64, commits: bool) {
    producer.begin_transaction().unwrap();
    for (id, partition) in (0..readings).flat_map(|id| [(id, 0), (id, 1)]) {
        let payload = reading(minutes_ago(20), "a", 1.0, id);
        let record = BaseRecord::<str, [u8]>::to(&topic.name).partition(partition).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    if commits { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }.unwrap();
}

fn transactional(brokers: &str, topic: &Topic) -> BaseProducer {
    let producer: BaseProducer = client(brokers).set("transactional.id", &topic.name).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// What the group was told of the two partitions of a topic.
fn group_of(brokers: &str, group: &str, topic: &Topic) -> Vec<Offset> {
    let consumer: BaseConsumer = client(brokers).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(&topic.name, 0, 1);
    consumer.committed_offsets(list, PATIENCE).unwrap().elements().iter().map(|p| p.offset()).collect()
}

fn offsets(ends: &[i64]) -> Vec<Offset> {
    ends.iter().map(|end| Offset::Offset(*end)).collect()
}

/// A job with checkpoints that counts the readings of a topic.
fn kept(brokers: &str, topic: &Topic, folder: &Folder, more: &str) -> String {
    let steps = "[checkpoint]\nevery = '100ms'\n[step.few]\nkind = 'filter'\ninput = 'readings'\nwhere = 'id = 0'\n";
    let text = job_text(brokers, &[topic], folder, &format!("{more}\n{steps}"));
    text.replace("name = 'real'", &format!("name = '{}'", topic.name))
}

fn lags(job: &Job) -> Vec<Option<u64>> {
    job.status().partitions.iter().map(|(_, standing)| standing.behind).collect()
}

#[test]
fn a_group_shows_where_checkpoints_are_and_there_is_no_lag_behind_the_marks_of_transactions() {
    let Some(brokers) = real("a_group_shows") else { return };
    let (topic, folder) = (Topic::new(&brokers, "shown", 2), Folder::new(&[]));
    let producer = transactional(&brokers, &topic);
    transact(&producer, &topic, 100, true);
    transact(&producer, &topic, 10, false);
    assert_eq!(topic.ends(), [112, 112], "the marks have offsets");
    let text = kept(&brokers, &topic, &folder, "");
    let shows = |ends: &[i64]| group_of(&brokers, &topic.name, &topic) == offsets(ends);
    let job = start(&text, 2).unwrap();
    eventually("all is read", &job, |status| status.sources[0].0.records == 200);
    eventually("the group", &job, |_| shows(&[112, 112]));
    eventually("no lag", &job, |_| lags(&job) == [Some(0); 2]);
    // The end moves on, and there is nothing to read.
    transact(&producer, &topic, 7, false);
    eventually("the group behind an aborted transaction", &job, |_| shows(&[120, 120]));
    eventually("still no lag", &job, |_| lags(&job) == [Some(0); 2]);
    stop(job);
    // What comes last is in the last checkpoint, and nobody waits for the next one to show it.
    transact(&producer, &topic, 5, true);
    let job = start(&text, 1).unwrap();
    assert!(job.resumed().is_some());
    eventually("the rest", &job, |status| status.sources[0].0.records == 10 && lags(&job) == [Some(0); 2]);
    let status = stop(job);
    assert_eq!((status.sources[0].0.condition.health, shows(&[126, 126])), (Health::Healthy, true));
}

#[test]
fn lag_grows_while_nothing_can_be_read() {
    let Some(brokers) = real("lag_grows") else { return };
    let (topic, folder) = (Topic::new(&brokers, "stuck", 1), Folder::new(&[]));
    let produce = |count: u64| {
        let sender = Sender::new(&brokers);
        (0..count).for_each(|id| sender.send(&topic, 0, Some(&reading(minutes_ago(20), "a", 1.0, id))));
        sender.flush();
    };
    // Nobody is where the sink writes to.
    let more = "[engine]\nepoch_records_max = 1000\n[sink.out]\nkind = 'kafka'\ninput = 'readings'\nbrokers = '127.0.0.1:1'\ntopic = 'x'\n";
    let job = start(&job_text(&brokers, &[&topic], &folder, more), 1).unwrap();
    produce(100_000);
    let lag = || lags(&job)[0].unwrap_or(0);
    eventually("lag", &job, |status| status.sources[0].0.records > 0 && lag() > 0);
    // Longer than what is fetched ahead lasts.
    thread::sleep(Duration::from_secs(2));
    produce(100_000);
    let status = eventually("all of the lag", &job, |_| lag() > 100_000);
    assert!(status.sources[0].0.records < 100_000, "it is not stuck: {}", status.sources[0].0.records);
}

#[test]
fn a_group_that_refuses_disturbs_nothing() {
    let Some(brokers) = real("a_group_that_refuses") else { return };
    let (topic, folder) = (Topic::new(&brokers, "refused", 2), Folder::new(&[]));
    let group = format!("{}-taken", topic.name);
    // Somebody has joined the group, and reads something else: a stranger may not speak for it.
    let other = Topic::new(&brokers, "other", 1);
    let member: BaseConsumer = client(&brokers).set("group.id", &group).create().unwrap();
    member.subscribe(&[&other.name]).unwrap();
    let joined = Instant::now();
    while member.assignment().unwrap().count() == 0 {
        assert!(joined.elapsed() < PATIENCE, "the member has not joined");
        drop(member.poll(Duration::from_millis(50)));
    }
    let producer = transactional(&brokers, &topic);
    transact(&producer, &topic, 100, true);
    let job = start(&kept(&brokers, &topic, &folder, &format!("group = '{group}'")), 2).unwrap();
    let degraded = |status: &eagre::engine::Status| status.sources[0].0.condition.health == Health::Degraded;
    let status = eventually("a remark", &job, degraded);
    let reason = status.sources[0].0.condition.reason.clone().unwrap();
    let expected = format!("the consumer group `{group}` does not show how far checkpoints are: ");
    assert!(reason.starts_with(&expected) && reason.len() > expected.len(), "{reason}");
    eventually("all is read", &job, |status| status.sources[0].0.records == 200);
    let before = job.status().checkpoints.0;
    eventually("checkpoints", &job, |status| status.checkpoints.0 > before + 3);
    // When the group is free again it shows where the job is.
    drop(member);
    eventually("the group", &job, |_| {
        thread::sleep(Duration::from_millis(100));
        group_of(&brokers, &group, &topic) == offsets(&topic.ends())
    });
    eventually("health", &job, |status| status.sources[0].0.condition.health == Health::Healthy);
    stop(job);
}
