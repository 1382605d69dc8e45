//! Writes rows to a topic of Apache Kafka.
//!
//! ```toml
//! [sink.alerts]
//! kind = "kafka"
//! input = "scores"
//! brokers = "localhost:9092"
//! topic = "alerts"
//! key = "sensor"
//! headers = { engine = "eagre", host = "{host}" }
//! ```
//!
//! # Settings
//!
//! - `key`: the field whose value is the message's key; messages of one key keep their order. A null is no key.
//! - `headers`: constant text, or with fields in braces; `"{field}"` alone is a null header where the field is null.
//! - `format`: `"json"`: an object whose first field is `event_time`, as RFC 3339, before those of the row.
//! - `compression`: `"none"`, `"gzip"`, `"snappy"`, `"lz4"` (default) or `"zstd"`.
//! - `acks`: `"all"` (default: every replica in sync has the message), `"1"` or `"0"`.
//! - `linger`: how long a message waits for others to go with it (default `"5ms"`).
//! - `delivery_timeout`: how long a message is tried to be delivered before the job fails (default `"5m"`; `"0s"`: for
//!   ever).
//! - `transaction_timeout`: how long a transaction may be open (default `"1m"`; brokers take up to 15m).
//! - `outbox_max`: from how many bytes that wait in memory a checkpoint is made at once (default `"256MiB"`; at four
//!   times as many the job fails).
//! - `create = { partitions = 8, replication = 1 }`: makes the topic if it does not exist.
//! - `security`, `properties`: as in the source.
//!
//! # What it guarantees
//!
//! Without `[checkpoint]` in the job, or with `delivery = "at_least_once"`, delivery is at least once: what was flushed
//! is acknowledged by the brokers. Within a run nothing is doubled or put out of order by a retry, because the producer
//! is idempotent (with `acks = "all"`). A message's timestamp is the row's event time, never the clock's. Keys are
//! spread over the partitions as Java's clients do it (murmur2). A broker that is away is waited for, and the job waits
//! with it; a message that cannot be delivered fails the job.
//!
//! # Exactly once
//!
//! With `[checkpoint]` in the job a consumer with `isolation.level = read_committed` (that of librdkafka; Java's must
//! be told so) sees every row once, whenever the process dies:
//!
//! - Rows wait in memory for the next checkpoint, which keeps them. When it is there, each writer publishes its rows in
//!   one transaction: they are seen as often as `checkpoint.every` says.
//! - The same transaction commits the number of the checkpoint as the offset of the group `JOB.SINK.NUMBER` on
//!   partition 0 of the topic. A job that goes on reads it, and publishes what its checkpoint keeps unless that is told
//!   there.
//! - `JOB.SINK.NUMBER` is the transactional id, too: a job that begins **fences** every other run of it, and aborts
//!   what that left open. A run that was fenced fails and never writes again. Jobs that write to one cluster must have
//!   different names. With access control the job needs: write to topic and transactional id, read of the group.
//! - A transaction is open only while rows are published. If the brokers are away for longer than `transaction_timeout`
//!   just then, they fence the job too: begun again, it goes on.
//! - A job that is begun again after more than the brokers' `offsets.retention.minutes` (7 days) finds no marker, and
//!   one that goes back to an older checkpoint (`--from`) would publish rows again: both are refused with the way out.

mod outbox;
mod transactions;

#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod tests;

use self::outbox::{Messages, Waiting};
use self::transactions::Transactions;
use crate::batch::{self, Batch};
use crate::fault::{Failure, Fault, list};
use crate::kafka_client::{self, Format, Names, Properties, Refused, Security, Watch};
use crate::schema::Schema;
use crate::sink::{Delivery, Opening, Shards, Sink, Size, Trouble, Writer};
use crate::source::Resource;
use crate::time::{self, Interval};
use crate::value::{Value, value_at};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The `kafka` sink.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSink {
    /// Where to find the cluster: host:port, one or several.
    brokers: Names,
    /// The topic to write to.
    topic: String,
    /// The field that is the message's key.
    key: Option<String>,
    /// Headers of every message: text, with fields in braces.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// How rows are written.
    #[serde(default)]
    format: Format,
    /// How batches of messages are compressed (default: lz4).
    #[serde(default)]
    compression: Compression,
    /// Who must have a message before it counts as delivered (default: all).
    #[serde(default)]
    acks: Acks,
    /// How long a message waits for others (default: 5ms).
    linger: Option<Interval>,
    /// How long delivery is tried (default: 5m; 0s: for ever).
    delivery_timeout: Option<Interval>,
    /// How long a transaction may be open (default: 1m).
    transaction_timeout: Option<Interval>,
    /// How many bytes of messages wait before a checkpoint is asked for (default: 256MiB).
    outbox_max: Option<Size>,
    /// Makes the topic if it does not exist.
    create: Option<Create>,
    /// Login and encryption.
    security: Option<Security>,
    /// Other settings of librdkafka.
    #[serde(default)]
    properties: Properties,
}

/// How batches of messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    #[default]
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Who must have a message before it counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Acks {
    /// Every replica that is in sync.
    #[default]
    #[serde(rename = "all")]
    All,
    /// The partition's leader.
    #[serde(rename = "1")]
    Leader,
    /// Nobody.
    #[serde(rename = "0")]
    Nobody,
}

/// How a topic is made.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// How many partitions.
    partitions: i32,
    /// How many replicas of each (default: 1).
    #[serde(default = "one")]
    replication: i32,
}

fn one() -> i32 {
    1
}

const REFUSED: Refused = &[
    ("transactional.id", "it follows from the names of job and sink where `delivery` is exactly once"),
    ("transaction.timeout.ms", "write `transaction_timeout`"),
    ("enable.idempotence", "it follows from `acks`: with \"all\" the producer is idempotent"),
    ("acks", "write `acks`"),
    ("request.required.acks", "write `acks`"),
    ("compression.codec", "write `compression`"),
    ("compression.type", "write `compression`"),
    ("linger.ms", "write `linger`"),
    ("queue.buffering.max.ms", "write `linger`"),
    ("message.timeout.ms", "write `delivery_timeout`"),
    ("delivery.timeout.ms", "write `delivery_timeout`"),
    ("delivery.report.only.error", "the sink counts what is delivered"),
];

impl KafkaSink {
    fn delivery_timeout(&self) -> Interval {
        self.delivery_timeout.unwrap_or(Interval::from_secs(300))
    }

    fn transaction_timeout(&self) -> Interval {
        self.transaction_timeout.unwrap_or(Interval::from_secs(60))
    }

    /// The settings of a producer; with a transactional id where it delivers exactly once.
    fn config(&self, transactional: Option<&str>) -> Result<ClientConfig, Failure> {
        let millis = |interval: Interval| (interval.micros() as f64 / 1e3).to_string();
        let linger = self.linger.unwrap_or(Interval::from_millis(if transactional.is_some() { 0 } else { 5 }));
        let linger = millis(linger);
        let transaction = millis(self.transaction_timeout());
        let timeout = match self.delivery_timeout() {
            long if transactional.is_some() && (long.is_zero() || long > self.transaction_timeout()) => {
                transaction.clone()
            }
            timeout => (timeout.micros() / 1_000).to_string(),
        };
        let (acks, idempotent) = match self.acks {
            Acks::All => ("all", "true"),
            Acks::Leader => ("1", "false"),
            Acks::Nobody => ("0", "false"),
        };
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        let own = [
            ("acks", acks),
            ("enable.idempotence", idempotent),
            ("compression.codec", compression),
            ("linger.ms", &linger),
            ("message.timeout.ms", &timeout),
            ("queue.buffering.max.messages", "200000"),
            ("queue.buffering.max.kbytes", "131072"),
        ];
        let exactly = transactional.map(|id| [("transactional.id", id), ("transaction.timeout.ms", &*transaction)]);
        let own = own.into_iter().chain(kafka_client::PRODUCING).chain(exactly.into_iter().flatten());
        let own: Vec<_> = own.collect();
        kafka_client::config(&self.brokers, self.security.as_ref(), &self.properties, &own)
    }

    fn check_names(&self, input: &Schema, faults: &mut Vec<Fault>) {
        kafka_client::check_topic(&self.topic, "topic", faults);
        if let Some(key) = self.key.as_ref().filter(|key| input.index_of(key).is_none()) {
            faults.push(Fault::at("key", format!("there is no field `{key}`")).nearest(key, input.names()));
        }
        for (name, text) in &self.headers {
            if let Err((message, help)) = Template::read(text, input) {
                faults.push(Fault { path: vec!["headers".into(), name.clone()], message, help: Some(help) });
            }
        }
    }

    fn check_numbers(&self, faults: &mut Vec<Fault>) {
        if self.linger.is_some_and(|linger| linger > Interval::from_secs(900)) {
            faults.push(Fault::at("linger", "a message may linger for 15 minutes at most"));
        }
        let timeout = self.delivery_timeout.unwrap_or_default();
        if !timeout.is_zero() && timeout <= self.linger.unwrap_or(Interval::from_millis(5)) {
            faults.push(
                Fault::at("delivery_timeout", "it must be longer than `linger`")
                    .help("write for example \"5m\", or \"0s\" for ever"),
            );
        }
        if timeout > Interval::from_secs(86_400 * 24) {
            faults.push(Fault::at("delivery_timeout", "it may be 24 days at most").help("write \"0s\" for ever"));
        }
        if !(Interval::from_secs(1)..=Interval::from_secs(86_400)).contains(&self.transaction_timeout()) {
            let fault = Fault::at("transaction_timeout", "it must be between 1s and 1d");
            faults.push(fault.help("brokers take up to 15m, unless their transaction.max.timeout.ms says more"));
        }
        let Some(create) = self.create else { return };
        if create.partitions < 1 {
            faults.push(Fault::at("create.partitions", "a topic has at least one partition"));
        }
        if create.replication < 1 {
            faults.push(Fault::at("create.replication", "a partition has at least one replica"));
        }
        if self.security.as_ref().is_some_and(Security::uses_tokens) {
            faults.push(
                Fault::at("create", "a topic cannot be made with an OAUTHBEARER login").help("make it beforehand"),
            );
        }
    }
}

impl Sink for KafkaSink {
    const NAME: &'static str = "kafka";

    fn plan(&self, input: &Schema, faults: &mut Vec<Fault>) {
        kafka_client::check(&self.brokers, self.security.as_ref(), &self.properties, REFUSED, faults);
        self.check_names(input, faults);
        self.check_numbers(faults);
    }

    fn writes(&self) -> Option<Resource> {
        Some(Resource::Topic { brokers: self.brokers.0.clone(), topic: self.topic.clone() })
    }

    fn shards(&self) -> Shards {
        Shards::PerWorker
    }

    /// Where only the leader answers, or nobody, there are no transactions.
    fn delivers_exactly_once(&self) -> bool {
        self.acks == Acks::All
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        let deliveries = Deliveries { watch: Watch::new(self.security.as_ref()), lost: Mutex::default() };
        let exactly = opening.delivery == Delivery::ExactlyOnce;
        let id = exactly.then(|| transactional_id(opening.job, opening.name, opening.shard.0));
        let producer = self.config(id.as_deref())?.create_with_context(deliveries).map_err(kafka_client::not_made)?;
        let headers = self.headers.iter().map(|(name, text)| match Template::read(text, opening.input) {
            Ok(template) => Ok((name.clone(), template)),
            Err((message, _)) => Err(Failure::new(message)),
        });
        let mut writer = KafkaWriter {
            sink: self.clone(),
            producer,
            is_there: false,
            key: self.key.as_ref().and_then(|key| opening.input.index_of(key)),
            headers: headers.collect::<Result<_, _>>()?,
            names: opening.input.names().map(quoted).collect(),
            under_way: Arc::default(),
            flushes: VecDeque::new(),
        };
        // A topic that is missing is told at once, by one of the writers; brokers that are away are waited for when
        // there is something to write.
        writer.find_topic(Some(if opening.shard.0 == 0 { PATIENCE } else { Duration::ZERO }))?;
        match id {
            None => Ok(Box::new(writer)),
            Some(id) => Ok(Box::new(Transactions::open(writer, id, self.outbox_max.map_or(OUTBOX_MAX, Size::bytes))?)),
        }
    }
}

/// Who writes a shard, whichever process it is. Names of jobs and sinks have no dots, so that no two of them meet.
fn transactional_id(job: &str, sink: &str, shard: usize) -> String {
    format!("{job}.{sink}.{shard}")
}

/// How many bytes of messages wait before a checkpoint is asked for.
const OUTBOX_MAX: u64 = 256 << 20;

/// `,"name":`
fn quoted(name: &str) -> String {
    let mut text = String::from(",");
    batch::write_json_text(&mut text, name);
    text.push(':');
    text
}

/// A header's text: constants, and fields between them.
#[derive(Clone, Debug, PartialEq)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(usize),
}

impl Template {
    /// Reads `"host {host}"`; the error is a message and what would be right.
    fn read(text: &str, input: &Schema) -> Result<Template, (String, String)> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let wrong = || (format!("`{text}` has a brace that is not closed"), "write \"{field}\"".to_owned());
            let (name, after) = behind.split_once('}').ok_or_else(wrong)?;
            let unknown = || {
                let near = crate::fault::nearest(name, input.names()).map(|near| format!("did you mean `{{{near}}}`?"));
                let all = || format!("one of {}", list(&input.names().collect::<Vec<_>>()));
                (format!("there is no field `{name}`"), near.unwrap_or_else(all))
            };
            let field = input.index_of(name).ok_or_else(unknown)?;
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.to_owned())));
            pieces.push(Piece::Field(field));
            rest = after;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
        Ok(Template(pieces))
    }

    /// The text for a row; `None` where the whole of it is a field that is null.
    fn fill(&self, batch: &Batch, row: usize) -> Option<String> {
        if let [Piece::Field(field)] = self.0[..] {
            return plain(batch, field, row);
        }
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) => plain(batch, *field, row).unwrap_or_default(),
        };
        Some(self.0.iter().map(piece).collect())
    }
}

/// A value as text without quotes; `None` for null.
fn plain(batch: &Batch, field: usize, row: usize) -> Option<String> {
    match value_at(batch.column(field), row) {
        Value::Null => None,
        Value::Text(text) => Some(text),
        Value::Time(at) => Some(time::format(at)),
        _ => {
            let mut text = String::new();
            batch::write_json(&mut text, batch.column(field), row);
            Some(text.trim_matches('"').to_owned())
        }
    }
}

/// What became of the messages.
struct Deliveries {
    watch: Watch,
    lost: Mutex<Option<Lost>>,
}

/// The first message that could not be delivered, and how many there were.
struct Lost {
    partition: i32,
    error: KafkaError,
    count: u64,
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
    type DeliveryOpaque = Arc<AtomicUsize>;

    fn delivery(&self, result: &DeliveryResult<'_>, under_way: Arc<AtomicUsize>) {
        if let Err((error, message)) = result {
            let mut lost = self.lost.lock().expect("no thread panics while it counts lost messages");
            lost.get_or_insert_with(|| Lost { partition: message.partition(), error: error.clone(), count: 0 })
                .count += 1;
        }
        // What is lost is told before it counts as done.
        under_way.fetch_sub(1, Ordering::Release);
    }
}

/// How long one request waits, and how long a sink looks for its topic when it is opened.
const REQUEST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a refused login is tried again: a broker that is starting itself may not know its users yet.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// How long a writer sleeps while the queue is full: from so much to so much.
const NAP: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(5));

/// An open shard.
struct KafkaWriter {
    sink: KafkaSink,
    producer: ThreadedProducer<Deliveries>,
    is_there: bool,
    key: Option<usize>,
    headers: Vec<(String, Template)>,
    names: Vec<String>,
    /// How many messages are under way, of those written since the last flush was begun.
    under_way: Arc<AtomicUsize>,
    /// The same for every flush that was begun.
    flushes: VecDeque<Arc<AtomicUsize>>,
}

impl KafkaWriter {
    fn watch(&self) -> &Watch {
        &self.producer.context().watch
    }

    fn readmit(&self) {
        kafka_client::readmit(self.producer.client(), self.watch(), &self.sink.brokers);
    }

    /// Looks whether the topic exists, and makes it if that is wanted; without `patience` until the brokers answer.
    fn find_topic(&mut self, patience: Option<Duration>) -> Result<(), Failure> {
        let mut waited = Duration::ZERO;
        while !self.is_there && patience.is_none_or(|patience| waited < patience) {
            let began = kafka_client::now();
            match kafka_client::partitions_of(self.producer.client(), &self.sink.topic, REQUEST) {
                Ok(Some(_)) => self.is_there = true,
                Ok(None) => match self.sink.create {
                    Some(create) => self.create(create)?,
                    None => return Err(self.missing()),
                },
                Err(error) => self.not_yet(&error)?,
            }
            waited += Duration::from_micros((kafka_client::now() - began).max(0) as u64);
        }
        if self.is_there {
            self.watch().answered();
            self.watch().mended("the topic");
        }
        Ok(())
    }

    /// Waits for the topic as long as delivery is tried.
    fn reach_topic(&mut self) -> Result<(), Failure> {
        let timeout = self.sink.delivery_timeout();
        self.find_topic(Some(timeout.to_std()).filter(|timeout| !timeout.is_zero()))?;
        if !self.is_there {
            let trouble = self.watch().trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
            return Err(Failure::new(format!("topic `{}` could not be reached{trouble}", self.sink.topic))
                .help(format!("it was tried for {timeout}, as `delivery_timeout` says")));
        }
        Ok(())
    }

    fn missing(&self) -> Failure {
        let failure = kafka_client::missing_topic(self.producer.client(), &self.sink.topic, REQUEST);
        let help = failure.help.clone().map_or_else(String::new, |help| format!("{help} "));
        failure.help(format!("{help}(create = {{ partitions = 8, replication = 1 }} makes it)"))
    }

    fn not_yet(&self, error: &KafkaError) -> Result<(), Failure> {
        self.readmit();
        let code = error.rdkafka_error_code();
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        if code.is_some_and(kafka_client::lasts) {
            return Err(Failure::new(format!("topic `{}` cannot be written: {reason}", self.sink.topic)));
        }
        self.watch().refusal(REFUSED_FOR).or_else(|| self.watch().failure()).map_or(Ok(()), Err)?;
        self.watch().note("the topic", format!("{reason}, retrying"));
        thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn create(&self, create: Create) -> Result<(), Failure> {
        let name = &self.sink.topic;
        let failed = |reason: String| Failure::new(format!("topic `{name}` cannot be made: {reason}"));
        let config = kafka_client::config(&self.sink.brokers, self.sink.security.as_ref(), &self.sink.properties, &[])?;
        let admin: AdminClient<Watch> = config.create_with_context(Watch::new(None)).map_err(kafka_client::not_made)?;
        let topic = NewTopic::new(name, create.partitions, TopicReplication::Fixed(create.replication));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let answer = kafka_client::wait_for(admin.create_topics([&topic], &options))
            .map_err(|error| failed(error.to_string()))?;
        match answer.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => {
                thread::sleep(Duration::from_millis(20))
            }
            Some(Err((_, code))) => return Err(failed(code.to_string())),
            None => return Err(failed("no answer".into())),
        }
        Ok(())
    }

    /// The failure to deliver something, if there was one.
    fn check(&self) -> Result<(), Failure> {
        self.watch().failure().map_or(Ok(()), Err)?;
        let lost = self.producer.context().lost.lock().expect("no thread panics while it counts lost messages");
        lost.as_ref().map_or(Ok(()), |lost| Err(self.lost(lost)))
    }

    fn lost(&self, lost: &Lost) -> Failure {
        let place = if lost.partition < 0 { String::new() } else { format!("[{}]", lost.partition) };
        let code = lost.error.rdkafka_error_code();
        let reason = code.map_or_else(|| lost.error.to_string(), |code| code.to_string());
        let what = if lost.count == 1 { "a message".to_owned() } else { format!("{} messages", lost.count) };
        let failure = Failure::new(format!("{what} could not be delivered to {}{place}: {reason}", self.sink.topic));
        match code {
            Some(RDKafkaErrorCode::MessageTimedOut) => {
                let timeout = self.sink.delivery_timeout();
                let trouble = self.watch().trouble().map_or_else(String::new, |trouble| format!("{trouble}; "));
                failure.help(format!("{trouble}it was tried for {timeout}, as `delivery_timeout` says"))
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => failure.help("raise the topic's max.message.bytes"),
            Some(RDKafkaErrorCode::InvalidTimestamp) => {
                failure.help("the broker takes no event time that far from its clock; set the topic's message.timestamp.type to LogAppendTime")
            }
            _ => failure,
        }
    }

    /// Appends a row as the payload of a message.
    fn encode(&self, text: &mut String, batch: &Batch, row: usize) {
        match self.sink.format {
            Format::Json => self.write_json(text, batch, row),
        }
    }

    fn write_json(&self, text: &mut String, batch: &Batch, row: usize) {
        text.push_str("{\"event_time\":\"");
        time::write_to(text, batch.times()[row]);
        text.push('"');
        for (name, column) in self.names.iter().zip(batch.columns()) {
            text.push_str(name);
            batch::write_json(text, column, row);
        }
        text.push('}');
    }

    fn send(&self, batch: &Batch, row: usize, text: &str) -> Result<(), Failure> {
        let key = self.key.and_then(|field| plain(batch, field, row));
        let mut record = BaseRecord::<[u8], str, _>::with_opaque_to(&self.sink.topic, self.under_way.clone())
            .payload(text)
            .timestamp(stamp(batch.times()[row]));
        if let Some(key) = &key {
            record = record.key(key.as_bytes());
        }
        if !self.headers.is_empty() {
            let insert = |headers: OwnedHeaders, (name, template): &(String, Template)| {
                headers.insert(Header { key: name, value: template.fill(batch, row).as_deref() })
            };
            record =
                record.headers(self.headers.iter().fold(OwnedHeaders::new_with_capacity(self.headers.len()), insert));
        }
        self.hand_over(record)
    }

    /// A message that waited.
    fn record<'a>(&'a self, message: &'a Waiting<'a>) -> Record<'a> {
        let record = BaseRecord::with_opaque_to(&self.sink.topic, self.under_way.clone()).payload(message.payload);
        let record = record.timestamp(message.timestamp);
        let record = message.key.iter().fold(record, |record, key| record.key(key.as_bytes()));
        if message.headers.is_empty() {
            return record;
        }
        let insert =
            |headers: OwnedHeaders, (key, value): &(&str, Option<&str>)| headers.insert(Header { key, value: *value });
        let headers = OwnedHeaders::new_with_capacity(message.headers.len());
        record.headers(message.headers.iter().fold(headers, insert))
    }

    fn hand_over(&self, mut record: Record<'_>) -> Result<(), Failure> {
        let mut nap = NAP.0;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => {
                    self.check()?;
                    let lost = Lost { partition: -1, error, count: 1 };
                    return Err(self.lost(&lost));
                }
            };
            self.check()?;
            self.readmit();
            thread::sleep(nap);
            nap = (nap * 2).min(NAP.1);
        }
    }
}

type Record<'a> = BaseRecord<'a, [u8], str, Arc<AtomicUsize>>;

/// An event time in the milliseconds of a message; times before 1970 have no place there, and 0 would mean the clock.
fn stamp(at: time::EventTime) -> i64 {
    at.div_euclid(1_000).max(1)
}

impl Writer for KafkaWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.reach_topic()?;
        let mut text = String::new();
        for row in 0..batch.len() {
            text.clear();
            self.encode(&mut text, batch, row);
            self.send(batch, row, &text)?;
        }
        self.check()
    }

    /// Only draws a line: messages go to the brokers by themselves.
    fn flush(&mut self) -> Result<(), Failure> {
        self.flushes.push_back(std::mem::take(&mut self.under_way));
        self.check()
    }

    fn flushing(&mut self) -> Result<usize, Failure> {
        while self.flushes.front().is_some_and(|under_way| under_way.load(Ordering::Acquire) == 0) {
            self.flushes.pop_front();
        }
        if !self.flushes.is_empty() {
            self.readmit();
        }
        self.check().map(|()| self.flushes.len())
    }

    /// What a former run kept for a checkpoint, exactly once, is sent: perhaps again.
    fn recover(&mut self, _: u64, outbox: &[u8]) -> Result<(), Failure> {
        if outbox.is_empty() {
            return Ok(());
        }
        let (_, messages) = Messages::unseal(outbox)?;
        self.reach_topic()?;
        messages.iter().try_for_each(|message| self.hand_over(self.record(&message)))?;
        self.settle()
    }

    fn trouble(&self) -> Option<Trouble> {
        let context = self.producer.context().clone();
        Some(Arc::new(move || context.watch.trouble()))
    }
}
