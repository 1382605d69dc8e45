//! Sends numbered records to one topic, and knows up to which number they are delivered.
//!
//! It waits for nothing: [`Publisher::send`] says when there is no room, and brokers that are away are the client's to
//! find again, for ever. The producer is idempotent, so that within a run no retry doubles a record or changes the
//! order of those with one key.

use super::{Names, Properties, Refused, Security, Watch, check, check_topic, config};
use super::{lasts, missing_topic, not_made, partitions_of, readmit};
use crate::fault::{Failure, Fault};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Where a cluster is, and how one logs in: what the `kafka` sink of a job says of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// host:port, one or several.
    #[serde(default)]
    pub brokers: Names,
    /// Login and encryption.
    pub security: Option<Security>,
    /// Other settings of librdkafka.
    #[serde(default)]
    pub properties: Properties,
}

const KEPT: Refused = &[
    ("transactional.id", "records are published one by one"),
    ("enable.idempotence", "it is always on"),
    ("acks", "it is always \"all\""),
    ("request.required.acks", "it is always \"all\""),
    ("message.timeout.ms", "records wait until they are delivered"),
    ("delivery.timeout.ms", "records wait until they are delivered"),
    ("delivery.report.only.error", "what is delivered is counted"),
];

impl Cluster {
    /// Every fault of it and of a topic's name.
    pub fn check(&self, topic: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        check_topic(topic, "topic", &mut faults);
        check(&self.brokers, self.security.as_ref(), &self.properties, KEPT, &mut faults);
        faults
    }
}

/// A message to be.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its timestamp, in milliseconds since 1970.
    pub time: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// What it says.
    pub payload: &'a [u8],
}

/// A producer for one topic. Records in its queue are lost with the process.
pub struct Publisher {
    producer: ThreadedProducer<Deliveries>,
    topic: Arc<str>,
    brokers: Names,
    search: Arc<Search>,
}

/// How one looks for the topic, on a thread of its own.
#[derive(Default)]
struct Search {
    is_found: AtomicBool,
    is_over: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// How long one request waits.
const REQUEST: Duration = Duration::from_secs(2);
/// How long a refused login is tried again: a broker that is starting itself may not know its users yet.
const REFUSED_FOR: Duration = Duration::from_secs(2);

impl Publisher {
    /// A producer whose first record will have the number after `delivered`. Looks for the topic in the background.
    pub fn open(cluster: &Cluster, topic: &str, delivered: u64) -> Result<Publisher, Failure> {
        let own = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.codec", "lz4"),
            ("linger.ms", "5"),
            ("message.timeout.ms", "0"),
            ("queue.buffering.max.messages", "50000"),
            ("queue.buffering.max.kbytes", "32768"),
        ];
        let own = [&own[..], &super::PRODUCING].concat();
        let config = config(&cluster.brokers, cluster.security.as_ref(), &cluster.properties, &own)?;
        let standing = Standing { delivered, ..Standing::default() };
        let deliveries = Deliveries { watch: Watch::new(cluster.security.as_ref()), standing: Mutex::new(standing) };
        let producer: ThreadedProducer<Deliveries> = config.create_with_context(deliveries).map_err(not_made)?;
        let publisher =
            Publisher { producer, topic: topic.into(), brokers: cluster.brokers.clone(), search: Arc::default() };
        publisher.look_for_topic().map_err(|error| Failure::new(format!("a thread cannot be started: {error}")))?;
        Ok(publisher)
    }

    /// Sends a record, and says whether there was room. Numbers must rise.
    pub fn send(&self, number: u64, outgoing: Outgoing<'_>) -> Result<bool, Failure> {
        if !self.search.is_found.load(Ordering::Acquire) {
            return Ok(false);
        }
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, number as usize)
            .payload(outgoing.payload)
            .timestamp(outgoing.time);
        record.key = outgoing.key;
        self.standing().under_way.push_back((number, false));
        let Err((error, _)) = self.producer.send(record) else { return Ok(true) };
        self.standing().under_way.pop_back();
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => Ok(false),
            error => {
                self.check()?;
                Err(self.lost(&Lost { number, partition: -1, error }))
            }
        }
    }

    /// All records up to this number are delivered.
    pub fn delivered(&self) -> u64 {
        self.standing().delivered
    }

    /// The failure that waiting does not mend, if there is one.
    pub fn check(&self) -> Result<(), Failure> {
        self.watch().failure().map_or(Ok(()), Err)?;
        let failure = self.search.failure.lock().expect("no thread panics while it looks for the topic").clone();
        failure.map_or(Ok(()), Err)?;
        let lost = self.standing().lost.take();
        lost.map_or(Ok(()), |lost| Err(self.lost(&lost)))
    }

    /// What is wrong with the cluster just now.
    pub fn trouble(&self) -> Option<String> {
        self.watch().trouble()
    }

    /// Helps a client that has lost all brokers; to be called now and then.
    pub fn readmit(&self) {
        readmit(self.producer.client(), self.watch(), &self.brokers);
    }

    fn watch(&self) -> &Watch {
        &self.producer.context().watch
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.producer.context().standing.lock().expect("no thread panics while it counts deliveries")
    }

    /// A request for metadata waits, which nobody else should.
    fn look_for_topic(&self) -> io::Result<()> {
        let (producer, topic, search) = (self.producer.clone(), self.topic.clone(), self.search.clone());
        let look = move || {
            while !search.is_over.load(Ordering::Relaxed) {
                match look(&producer, &topic) {
                    Ok(true) => return search.is_found.store(true, Ordering::Release),
                    Ok(false) => thread::sleep(Duration::from_millis(100)),
                    Err(failure) => {
                        *search.failure.lock().expect("no thread panics while it looks for the topic") = Some(failure);
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("eagre:topic".into()).spawn(look).map(drop)
    }

    fn lost(&self, lost: &Lost) -> Failure {
        let place = if lost.partition < 0 { String::new() } else { format!("[{}]", lost.partition) };
        let code = lost.error.rdkafka_error_code();
        let reason = code.map_or_else(|| lost.error.to_string(), |code| code.to_string());
        let failure = format!("record {} could not be delivered to {}{place}: {reason}", lost.number, self.topic);
        match code {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Failure::new(failure).help("raise the topic's max.message.bytes: the record is tried again then")
            }
            _ => Failure::new(failure),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.search.is_over.store(true, Ordering::Relaxed);
    }
}

/// Whether the topic is there; a failure if there is none, or if waiting does not help.
fn look(producer: &ThreadedProducer<Deliveries>, topic: &str) -> Result<bool, Failure> {
    let watch = &producer.context().watch;
    let error = match partitions_of(producer.client(), topic, REQUEST) {
        Ok(Some(_)) => {
            watch.answered();
            watch.mended("the topic");
            return Ok(true);
        }
        Ok(None) => return Err(missing_topic(producer.client(), topic, REQUEST)),
        Err(error) => error,
    };
    let code = error.rdkafka_error_code();
    let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
    if code.is_some_and(lasts) {
        return Err(Failure::new(format!("topic `{topic}` cannot be written: {reason}")));
    }
    watch.refusal(REFUSED_FOR).map_or(Ok(()), Err)?;
    watch.note("the topic", format!("{reason}, retrying"));
    Ok(false)
}

/// What became of the records: the context of the producer, called on its own thread.
struct Deliveries {
    watch: Watch,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    delivered: u64,
    /// The numbers that are not delivered, and those behind them; and whether each is delivered.
    under_way: VecDeque<(u64, bool)>,
    lost: Option<Lost>,
}

/// The first record that could not be delivered.
struct Lost {
    number: u64,
    partition: i32,
    error: KafkaError,
}

impl Standing {
    fn deliver(&mut self, number: u64) {
        if let Ok(place) = self.under_way.binary_search_by_key(&number, |(other, _)| *other) {
            self.under_way[place].1 = true;
        }
        while let Some((number, true)) = self.under_way.front() {
            self.delivered = *number;
            self.under_way.pop_front();
        }
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.watch.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.stats_raw(statistics);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.watch.generate_oauth_token(config)
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut standing = self.standing.lock().expect("no thread panics while it counts deliveries");
        match result {
            Ok(_) => standing.deliver(number as u64),
            Err((error, message)) => {
                let lost = || Lost { number: number as u64, partition: message.partition(), error: error.clone() };
                standing.lost.get_or_insert_with(lost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered_has_no_gap() {
        let mut standing = Standing { delivered: 4, ..Standing::default() };
        // Numbers 6 and 7 were damaged and skipped.
        standing.under_way.extend([5, 8, 9, 10].map(|number| (number, false)));
        for (number, delivered) in [(9, 4), (5, 5), (5, 5), (10, 5), (8, 10), (77, 10)] {
            standing.deliver(number);
            assert_eq!(standing.delivered, delivered, "after {number}");
        }
        assert!(standing.under_way.is_empty());
    }
}
