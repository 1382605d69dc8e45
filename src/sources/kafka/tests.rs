//! The `kafka` source against a broker in this process, and against rdkafka's mock cluster where faults are wanted.

#![allow(clippy::disallowed_methods, reason = "these tests wait for brokers, and not for ever")]

use super::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn broker() -> String {
    noida::kafka::spawn("127.0.0.1:0").expect("a broker").to_string()
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client")
}

fn create(brokers: &str, topic: &str, partitions: i32) {
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "33554432");
    let admin = admin(brokers);
    let made = kafka_client::wait_for(admin.create_topics([&topic], &AdminOptions::new())).expect("an answer");
    made[0].as_ref().expect("a topic");
}

/// Times are recent, because a broker drops what is older than its retention.
fn base() -> i64 {
    kafka_client::now() / 1_000 / 86_400_000 * 86_400_000
}

/// Produces `partition:time:payload`, one a line; `-` is a tombstone.
fn produce(brokers: &str, topic: &str, messages: &[&str]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.max.bytes", "100000000")
        .create()
        .expect("a producer");
    for message in messages {
        let [partition, time, payload] = message.splitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("partition:time:payload")
        };
        let record = BaseRecord::<str, str>::to(topic).partition(partition.parse().expect("a number"));
        let record = record.timestamp(base() + time.parse::<i64>().expect("a time"));
        let record = if payload == "-" { record } else { record.payload(payload) };
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(5)).expect("delivered");
}

fn source(brokers: &str, more: &str) -> KafkaSource {
    let text = format!("brokers = '{brokers}'\nfields = {{ v = 'int' }}\n{more}");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn open(brokers: &str, more: &str) -> Box<dyn Feed> {
    let source = source(brokers, more);
    let mut faults = Vec::new();
    let schema = source.plan(&mut faults).unwrap_or_else(|| panic!("{faults:?}"));
    source.open("readings", &schema).expect("a consumer")
}

fn nobody() -> Wake {
    Arc::new(|| {})
}

/// Reads until the end, or until `count` records have come: `offset:time:payload` each, then `end` if it has ended.
fn read(reader: &mut dyn Reader, count: usize) -> Vec<String> {
    let began = Instant::now();
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(began.elapsed() < Duration::from_secs(20), "no more after {lines:?}");
        match reader.read(3).expect("readable") {
            Read::Frames(frames) => lines.extend(show(&frames)),
            Read::Idle(_) => thread::sleep(Duration::from_millis(2)),
            Read::End => {
                lines.push("end".into());
                break;
            }
            Read::Rows(_) | Read::Errand(_) => panic!("messages are not decoded here"),
        }
    }
    lines
}

fn show(frames: &Frames) -> Vec<String> {
    let Layout::Messages(messages) = &frames.layout else { panic!("messages") };
    let mut from = 0;
    let line = |i: usize| {
        let payload = String::from_utf8_lossy(&frames.bytes[from..messages.ends[i]]).into_owned();
        from = messages.ends[i];
        let payload = if messages.absent[i] { "-".into() } else { payload };
        format!("{}:{}:{payload}", messages.sequences[i], messages.times[i] / 1_000 - base())
    };
    (0..messages.ends.len()).map(line).collect()
}

/// Reads all partitions of a bounded source: a line for each.
fn run(feed: &dyn Feed) -> Vec<String> {
    let names = feed.partitions().expect("partitions");
    names
        .iter()
        .map(|name| {
            format!("{name} {}", read(&mut *feed.open(name, None, nobody()).expect("a reader"), usize::MAX).join(" "))
        })
        .collect()
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_reads_from_its_start_to_its_end() {
    let brokers = broker();
    create(&brokers, "t", 3);
    produce(&brokers, "t", &["0:10:a", "0:20:b", "0:30:-", "0:40:d", "1:25:x"]);
    let at = |millis: i64| crate::time::format((base() + millis) * 1_000);
    let later = at(25);
    for (places, expected) in [
        ("until = 'now'".to_owned(), ["0:10:a 1:20:b 2:30:- 3:40:d end", "0:25:x end", "end"]),
        (format!("start = '{later}'\nuntil = 'now'"), ["2:30:- 3:40:d end", "0:25:x end", "end"]),
        (format!("until = {{ timestamp = '{later}' }}"), ["0:10:a 1:20:b end", "end", "end"]),
        (
            "start = { offsets = { '0' = 1, 't[1]' = 1 } }\nuntil = { offsets = { '0' = 3 } }".to_owned(),
            ["1:20:b 2:30:- end", "end", "end"],
        ),
        ("start = 'latest'\nuntil = 'now'".to_owned(), ["end", "end", "end"]),
    ] {
        let feed = open(&brokers, &format!("topic = 't'\n{places}"));
        let expected: Vec<String> = expected.iter().enumerate().map(|(i, line)| format!("t[{i}] {line}")).collect();
        assert_eq!(run(&*feed), expected, "{places}");
        assert_eq!(feed.discovers(), None);
    }
    let feed = open(&brokers, "topic = 't'\nuntil = 'now'");
    feed.partitions().expect("partitions");
    assert_eq!(feed.total(), Some(5));
    let mut reader = feed.open("t[0]", Some(3), nobody()).expect("a reader");
    assert_eq!(read(&mut *reader, 9), ["3:40:d", "end"], "from a position");
    assert_eq!((reader.position(), reader.progress()), (4, 4));
}

#[test]
fn partitions_that_came_while_nobody_read_are_read_from_their_beginning() {
    let brokers = broker();
    create(&brokers, "t", 3);
    create(&brokers, "new", 1);
    produce(&brokers, "t", &["0:10:a", "1:20:b", "2:30:c", "2:40:d"]);
    produce(&brokers, "new", &["0:10:n"]);
    let feed = open(&brokers, "topics = ['t', 'new']\nstart = 'latest'\nuntil = 'now'");
    feed.goes_on(&["t[0]".into(), "t[1]".into()]);
    assert_eq!(run(&*feed), ["new[0] end", "t[0] end", "t[1] end", "t[2] 0:30:c 1:40:d end"]);
}

#[test]
fn a_bounded_run_ends_behind_the_records_of_a_transaction() {
    let brokers = broker();
    create(&brokers, "t", 1);
    let config = [("bootstrap.servers", brokers.as_str()), ("transactional.id", "x")];
    let config: ClientConfig = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(Duration::from_secs(5)).expect("transactions");
    for (payload, kept) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().expect("begun");
        let record = BaseRecord::<str, str>::to("t").partition(0).payload(payload).timestamp(base());
        producer.send(record).map_err(|(error, _)| error).expect("sent");
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        let finished = if kept {
            producer.commit_transaction(Duration::from_secs(5))
        } else {
            producer.abort_transaction(Duration::from_secs(5))
        };
        finished.expect("finished");
    }
    let feed = open(&brokers, "topic = 't'\nuntil = 'now'");
    assert_eq!(run(&*feed), ["t[0] 0:0:a 4:0:c end"]);
    assert_eq!(feed.total(), Some(6), "messages and the marks of their transactions");
}

#[test]
fn an_endless_run_is_woken_and_sees_new_partitions() {
    let brokers = broker();
    create(&brokers, "t", 1);
    create(&brokers, "u", 1);
    produce(&brokers, "t", &["0:1:a"]);
    let feed = open(&brokers, "topics = ['u', 't']\nproperties = { 'fetch.wait.max.ms' = 10 }");
    assert_eq!(feed.partitions().expect("partitions"), ["t[0]", "u[0]"]);
    assert_eq!((feed.total(), feed.discovers()), (None, Some(Duration::from_secs(30))));
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let wake: Wake = Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut reader = feed.open("t[0]", None, wake).expect("a reader");
    assert_eq!(read(&mut *reader, 1), ["0:1:a"]);
    wait("the end of the partition", || {
        let before = calls.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(100));
        matches!(reader.read(9), Ok(Read::Idle(_))) && calls.load(Ordering::SeqCst) == before
    });
    let before = calls.load(Ordering::SeqCst);
    produce(&brokers, "t", &["0:2:b"]);
    wait("a call", || calls.load(Ordering::SeqCst) > before);
    assert_eq!(read(&mut *reader, 1), ["1:2:b"]);
    assert_eq!(reader.position(), 2);
    kafka_client::wait_for(admin(&brokers).create_partitions([&NewPartitions::new("t", 2)], &AdminOptions::new()))
        .expect("more partitions");
    produce(&brokers, "t", &["1:5:n"]);
    wait("the new partition", || feed.partitions().expect("partitions").len() == 3);
    assert_eq!(feed.partitions().expect("partitions"), ["t[0]", "u[0]", "t[1]"]);
    let mut new = feed.open("t[1]", None, nobody()).expect("a reader");
    assert_eq!(read(&mut *new, 1), ["0:5:n"], "a new partition is read from its beginning");
    produce(&brokers, "t", &["0:6:c"]);
    assert_eq!(read(&mut *reader, 1), ["2:6:c"], "and the others are not disturbed");
    drop(reader);
    let mut again = feed.open("t[0]", Some(1), nobody()).expect("a reader");
    assert_eq!(read(&mut *again, 2), ["1:2:b", "2:6:c"], "a partition may be opened again");
}

#[test]
fn an_offset_that_is_gone_is_a_failure() {
    let brokers = broker();
    create(&brokers, "t", 1);
    produce(&brokers, "t", &["0:1:a", "0:2:b"]);
    let feed = open(&brokers, "topic = 't'");
    feed.partitions().expect("partitions");
    let mut reader = feed.open("t[0]", Some(77), nobody()).expect("a reader");
    let mut found = None;
    wait("the failure", || {
        found = reader.read(9).err();
        found.is_some()
    });
    let failure = found.expect("a failure").to_string();
    assert!(failure.starts_with("t[0] has no offset 77 (any more); it holds offsets 0 to 1"), "{failure}");
    assert!(failure.contains("set `start`"), "{failure}");
}

#[test]
fn a_topic_that_is_missing_is_a_failure_with_the_nearest_name() {
    let brokers = broker();
    create(&brokers, "readings", 1);
    let failure = open(&brokers, "topic = 'raedings'").partitions().expect_err("no such topic");
    assert_eq!(failure.to_string(), "there is no topic `raedings`\n  help: did you mean `readings`?");
    let failure = open(&brokers, "topic = 'x'").partitions().expect_err("no such topic");
    assert_eq!(failure.to_string(), "there is no topic `x`\n  help: there are `readings`");
}

#[test]
fn a_message_of_20_mb_passes() {
    let brokers = broker();
    create(&brokers, "t", 1);
    let large = "x".repeat(20_000_000);
    produce(&brokers, "t", &[&format!("0:1:{large}"), "0:2:b"]);
    let feed = open(&brokers, "topic = 't'\nuntil = 'now'");
    let lines = run(&*feed);
    assert_eq!(lines[0].len(), large.len() + "t[0] 0:1: 1:2:b end".len());
}

#[test]
fn brokers_that_are_away_are_waited_for() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", &["0:1:a"]);
    cluster.broker_down(1).expect("down");
    let feed: Arc<dyn Feed> = open(&brokers, "topic = 't'\nproperties = { 'fetch.wait.max.ms' = 10 }").into();
    let asked = feed.clone();
    let asking = thread::Builder::new().spawn(move || asked.partitions()).expect("a thread");
    wait("trouble at the start", || feed.trouble().is_some_and(|trouble| trouble.contains("is away since")));
    assert!(!asking.is_finished());
    cluster.broker_up(1).expect("up");
    assert_eq!(asking.join().expect("no panic").expect("partitions"), ["t[0]"]);
    let mut reader = feed.open("t[0]", None, nobody()).expect("a reader");
    assert_eq!(read(&mut *reader, 1), ["0:1:a"]);
    wait("no trouble", || feed.trouble().is_none());
    cluster.broker_down(1).expect("down");
    wait("trouble", || feed.trouble().is_some() && matches!(reader.read(9), Ok(Read::Idle(_))));
    cluster.broker_up(1).expect("up");
    produce(&brokers, "t", &["0:2:b"]);
    assert_eq!(read(&mut *reader, 1), ["1:2:b"]);
    wait("no trouble", || feed.trouble().is_none());
}

#[test]
fn a_configuration_is_checked() {
    let faults = |more: &str| {
        let mut faults = Vec::new();
        let schema = source("localhost:9092", more).plan(&mut faults);
        assert_eq!(schema.is_some(), faults.is_empty());
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    for (more, expected) in [
        ("topic = 't'", ""),
        ("topics = ['a', 'b']\nstart = { offsets = { 'a[0]' = 1 } }", ""),
        ("", "no topic is named (write `topic = \"name\"`)"),
        ("topic = 'a'\ntopics = ['b']", "topics: write either `topic` or `topics`"),
        (
            "topic = 'a b'",
            "topic: `a b` is no name of a topic (up to 249 letters, digits, dots, underscores and hyphens)",
        ),
        (
            "topic = 't'\nevent_time = 'v'",
            "event_time: `v` is int, not a time (write fields.v = \"time\", or \"time(ms)\" where it is a number of milliseconds)",
        ),
        ("topic = 't'\nevent_time = 'w'", "event_time: there is no field `w` (did you mean `v`?)"),
        (
            "topic = 't'\nuntil = 'earliest'",
            "until: nothing comes before the earliest record (write \"now\", a time or offsets)",
        ),
        (
            "topic = 't'\nstart = { offsets = { 'u[0]' = 1 } }",
            "start: `u[0]` is no partition of this source; write its number, or `topic[number]`",
        ),
        (
            "topic = 't'\ndiscover_every = '1ms'",
            "discover_every: brokers are asked at most once a second (write for example \"30s\")",
        ),
        (
            "topic = 't'\nproperties = { 'group.protocol' = 'consumer' }",
            "properties.group.protocol: `group.protocol` may not be set here (this source assigns its partitions itself and joins no group)",
        ),
    ] {
        assert_eq!(faults(more), expected, "{more}");
    }
}

#[test]
fn a_group_shows_what_it_was_told_last() {
    let brokers = broker();
    create(&brokers, "t.a-b", 2);
    let committed = |group: &str| {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("t.a-b", 0, 1);
        let list = consumer.committed_offsets(list, Duration::from_secs(5)).expect("offsets");
        list.elements().iter().map(|p| p.offset()).collect::<Vec<_>>()
    };
    for (more, group) in [("", "job"), ("group = 'shown'", "shown")] {
        let feed = open(&brokers, &format!("topic = 't.a-b'\n{more}"));
        feed.settle(Duration::from_secs(20));
        (1..50).for_each(|at| feed.kept("job", &[("t.a-b[0]".into(), at), ("t.a-b[1]".into(), 7)]));
        feed.settle(Duration::from_secs(20));
        assert_eq!((committed(group), feed.remark()), (vec![Offset::Offset(49), Offset::Offset(7)], None));
    }
}

#[test]
fn a_group_that_nobody_coordinates_is_a_remark_and_partitions_are_read_all_the_same() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 2, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", &["0:1:a", "1:2:b"]);
    let wrong = [rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 1_000];
    cluster.request_errors(rdkafka::types::RDKafkaApiKey::FindCoordinator, &wrong);
    let feed = open(&brokers, "topic = 't'\nproperties = { 'fetch.wait.max.ms' = 10 }");
    feed.partitions().expect("partitions");
    let mut first = feed.open("t[0]", None, nobody()).expect("a reader");
    assert_eq!(read(&mut *first, 1), ["0:1:a"]);
    feed.kept("job", &[("t[0]".into(), 1)]);
    let mut second = feed.open("t[1]", None, nobody()).expect("a reader");
    assert_eq!(read(&mut *second, 1), ["0:2:b"], "a commit that is under way holds up nothing");
    wait("a remark", || feed.remark().is_some());
    let remark = feed.remark().expect("a remark");
    assert!(remark.contains("`job`") && remark.contains("uthoriz"), "{remark}");
    assert_eq!(feed.trouble(), None);
}
