//! The Apache Kafka that tests are run against: where it is, topics of its own for each test, messages into them, and a
//! second broker that a test may stop. `tests/chaos` uses it too.
//!
//! `scripts/kafka` starts one; `EAGRE_KAFKA` says where it is. Topics have names that no other run has, and are deleted
//! with the test.

use crate::broker;
use eagre::kafka_client::{self, Names, wait_for};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, io, process, thread};

/// What takes longer than this will not come: starting a broker on a busy machine is the longest.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Writes to standard error, past the test harness, which keeps to itself what a passing test prints.
pub fn say(text: &str) {
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// The broker that tests are run against. Where there is none, says that the test is skipped.
pub fn real(test: &str) -> Option<String> {
    let brokers = env::var("EAGRE_KAFKA").ok().filter(|brokers| !brokers.is_empty());
    if brokers.is_none() {
        say(&format!("skipped: kafka::{test}: EAGRE_KAFKA names no broker (`scripts/kafka start` starts one)"));
    }
    brokers
}

/// The same, if it has the listeners and users of `scripts/kafka`; and the file of its certificates' authority, by
/// which that is told.
pub fn real_with_logins(test: &str) -> Option<(String, String)> {
    let (brokers, authority) = (real(test)?, home().join("tls/ca.pem"));
    if !authority.exists() {
        say(&format!(
            "skipped: kafka::{test}: no {}; KAFKA_HOME says where the broker's files are",
            authority.display()
        ));
        return None;
    }
    Some((brokers, authority.display().to_string()))
}

/// Another listener of the same broker; `scripts/kafka` says which there are.
pub fn listener(brokers: &str, number: u16) -> String {
    let (host, port) = brokers.rsplit_once(':').unwrap();
    format!("{host}:{}", port.parse::<u16>().unwrap() + number)
}

/// Where `scripts/kafka` keeps the broker's files.
fn home() -> PathBuf {
    env::var_os("KAFKA_HOME").map_or_else(|| root().join("target/kafka"), PathBuf::from)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The time some minutes ago, at a full minute, in milliseconds: a broker drops what is older than its retention.
pub fn minutes_ago(minutes: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.as_secs() as i64 / 60 - minutes) * 60_000
}

/// A topic of a test; it is deleted when the test lets go of it.
pub struct Topic {
    brokers: String,
    /// Its name.
    pub name: String,
}

impl Topic {
    /// Makes a topic.
    pub fn new(brokers: &str, name: &str, partitions: i32) -> Topic {
        let topic = Topic::planned(brokers, name);
        let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(1));
        wait_for(topic.admin().create_topics([&new], &options())).unwrap()[0].as_ref().unwrap();
        topic
    }

    /// A topic that somebody else makes.
    pub fn planned(brokers: &str, name: &str) -> Topic {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Topic { brokers: brokers.into(), name: format!("it-{name}-{millis:x}-{:x}-{count}", process::id()) }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        client(&self.brokers).create().unwrap()
    }

    /// Adds partitions, up to this many.
    pub fn grow(&self, partitions: usize) {
        let new = NewPartitions::new(&self.name, partitions);
        wait_for(self.admin().create_partitions([&new], &options())).unwrap()[0].as_ref().unwrap();
        while self.numbers(&client(&self.brokers).create().unwrap()).len() < partitions {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The numbers of its partitions.
    pub fn numbers(&self, consumer: &BaseConsumer) -> Vec<i32> {
        let metadata = consumer.fetch_metadata(Some(&self.name), PATIENCE).unwrap();
        metadata.topics()[0].partitions().iter().map(|p| p.id()).collect()
    }

    /// Deletes it.
    pub fn delete(&self) {
        wait_for(self.admin().delete_topics(&[&self.name], &options())).unwrap()[0].as_ref().unwrap();
    }

    /// Where each of its partitions ends.
    pub fn ends(&self) -> Vec<i64> {
        let consumer: BaseConsumer = client(&self.brokers).create().unwrap();
        // A partition that was made just now may have no leader yet.
        let end = |p: &i32| loop {
            if let Ok((_, end)) = consumer.fetch_watermarks(&self.name, *p, PATIENCE) {
                return end;
            }
            thread::sleep(Duration::from_millis(50));
        };
        self.numbers(&consumer).iter().map(end).collect()
    }

    /// The payloads of all its messages, sorted.
    pub fn payloads(&self) -> Vec<String> {
        let lines = broker::lines(&self.brokers, &self.name);
        let mut payloads: Vec<String> =
            lines.iter().map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect();
        payloads.sort_unstable();
        payloads
    }

    /// The same as JSON.
    pub fn objects(&self) -> Vec<serde_json::Value> {
        self.payloads().iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It may be gone, or its broker: neither is what the test is about.
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
        let _ = wait_for(self.admin().delete_topics(&[&self.name], &options));
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// The settings of a client that comes back soon.
pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "500");
    config
}

/// Sends messages, each once, in their order.
pub struct Sender {
    producer: BaseProducer,
    brokers: Names,
    polls: AtomicU32,
}

impl Sender {
    /// A sender to that broker.
    pub fn new(brokers: &str) -> Sender {
        let mut config = client(brokers);
        config.set("compression.codec", "lz4").set("enable.idempotence", "true").set("linger.ms", "5");
        config.set("message.max.bytes", "100000000").set("queue.buffering.max.messages", "200000");
        let brokers = Names(vec![brokers.to_owned()]);
        Sender { producer: config.create().unwrap(), brokers, polls: AtomicU32::new(0) }
    }

    /// Sends a message, or a tombstone. Waits while there is no room.
    pub fn send(&self, topic: &Topic, partition: i32, payload: Option<&[u8]>) {
        let mut record = BaseRecord::<str, [u8]>::to(&topic.name).partition(partition);
        record.payload = payload;
        loop {
            record = match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => panic!("{error}"),
            };
            self.producer.poll(Duration::from_millis(10));
        }
    }

    /// Does what is to be done for messages under way; now and then tells the client its brokers again, for it may have
    /// lost all of them while one was restarted (`kafka_client::readmit` says how).
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
        if self.polls.fetch_add(1, Ordering::Relaxed) % 1_000 == 999 {
            kafka_client::add_brokers(self.producer.client(), &self.brokers);
        }
    }

    /// Waits until the broker has all of them.
    pub fn flush(&self) {
        let begun = Instant::now();
        while self.producer.flush(Duration::from_secs(1)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{} messages are not delivered", self.producer.in_flight_count());
            kafka_client::add_brokers(self.producer.client(), &self.brokers);
        }
    }
}

/// A broker of a test's own. It is wiped when the test lets go of it.
pub struct OwnBroker {
    home: PathBuf,
    port: u16,
    /// What its last listener calls itself.
    advertised: u16,
}

impl OwnBroker {
    /// Starts a broker.
    pub fn start(name: &str) -> OwnBroker {
        let port = free_ports(29_092, 5);
        OwnBroker::begin(name, port, port + 4)
    }

    /// Starts a broker whose listener [`OwnBroker::proxied_port`] tells clients to come to another port.
    #[allow(dead_code, reason = "the chaos harness includes this file and stands behind a proxy")]
    pub fn start_behind(name: &str, advertised: u16) -> OwnBroker {
        OwnBroker::begin(name, free_ports(29_092, 5), advertised)
    }

    fn begin(name: &str, port: u16, advertised: u16) -> OwnBroker {
        let own = root().join("target").join(name);
        fs::create_dir_all(&own).unwrap();
        let (libs, theirs) = (own.join("libs"), home().join("libs"));
        if !libs.exists() && theirs.join(".complete").exists() {
            std::os::unix::fs::symlink(fs::canonicalize(theirs).unwrap(), &libs).unwrap();
        }
        let broker = OwnBroker { home: own, port, advertised };
        broker.command("wipe");
        broker.command("start");
        broker
    }

    /// Where it is.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The listener that a proxy may be put before.
    #[allow(dead_code, reason = "the chaos harness includes this file and stands behind a proxy")]
    pub fn proxied_port(&self) -> u16 {
        self.port + 4
    }

    /// Does what `scripts/kafka` calls so.
    pub fn command(&self, word: &str) {
        let mut command = Command::new(root().join("scripts/kafka"));
        command.arg(word).env("KAFKA_HOME", &self.home).env("KAFKA_PORT", self.port.to_string());
        command.env("KAFKA_PROXY_PORT", self.advertised.to_string());
        let output = command.env("KAFKA_HEAP", "256m").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/kafka {word}: {said}");
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.command("wipe");
    }
}

/// So many ports in a row that nobody listens on. Two processes that ask at the same time are given different ones,
/// most likely.
pub fn free_ports(from: u16, count: u16) -> u16 {
    let is_free = |port: &u16| (*port..*port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let own = from + (process::id() % 150) as u16 * 10;
    (own..u16::MAX - count).step_by(10).find(is_free).unwrap()
}
