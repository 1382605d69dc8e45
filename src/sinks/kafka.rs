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
//! - `create = { partitions = 8, replication = 1 }`: makes the topic if it does not exist.
//! - `security`, `properties`: as in the source.
//!
//! # What it guarantees
//!
//! Delivery is at least once: what was flushed is acknowledged by the brokers. Within a run nothing is doubled or put
//! out of order by a retry, because the producer is idempotent (with `acks = "all"`). A message's timestamp is the
//! row's event time, never the clock's. Keys are spread over the partitions as Java's clients do it (murmur2). A
//! broker that is away is waited for, and the job waits with it; a message that cannot be delivered fails the job.

use crate::batch::{self, Batch};
use crate::fault::{Failure, Fault, list};
use crate::kafka_client::{self, Format, Names, Properties, Refused, Security, Watch};
use crate::schema::Schema;
use crate::sink::{Opening, Shards, Sink, Trouble, Writer};
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
    ("transactional.id", "the engine publishes by itself"),
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

    fn config(&self) -> Result<ClientConfig, Failure> {
        let millis = |given: Option<Interval>, default| (given.unwrap_or(default).micros() as f64 / 1e3).to_string();
        let linger = millis(self.linger, Interval::from_millis(5));
        let timeout = (self.delivery_timeout().micros() / 1_000).to_string();
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
        let own = [&own[..], &kafka_client::PRODUCING].concat();
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

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        let deliveries = Deliveries { watch: Watch::new(self.security.as_ref()), lost: Mutex::default() };
        let producer = self.config()?.create_with_context(deliveries).map_err(kafka_client::not_made)?;
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
        Ok(Box::new(writer))
    }
}

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

/// An event time in the milliseconds of a message; times before 1970 have no place there, and 0 would mean the clock.
fn stamp(at: time::EventTime) -> i64 {
    at.div_euclid(1_000).max(1)
}

impl Writer for KafkaWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let timeout = self.sink.delivery_timeout();
        self.find_topic(Some(timeout.to_std()).filter(|timeout| !timeout.is_zero()))?;
        if !self.is_there {
            let trouble = self.watch().trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
            return Err(Failure::new(format!("topic `{}` could not be reached{trouble}", self.sink.topic))
                .help(format!("it was tried for {timeout}, as `delivery_timeout` says")));
        }
        let mut text = String::new();
        for row in 0..batch.len() {
            text.clear();
            match self.sink.format {
                Format::Json => self.write_json(&mut text, batch, row),
            }
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

    fn trouble(&self) -> Option<Trouble> {
        let context = self.producer.context().clone();
        Some(Arc::new(move || context.watch.trouble()))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "these tests wait for brokers, and not for ever")]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::origin::Origins;
    use crate::schema::{Field, Kind};
    use crate::sink::Delivery;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    use rdkafka::mocking::MockCluster;
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use std::time::Instant;

    fn broker() -> String {
        noida::kafka::spawn("127.0.0.1:0").expect("a broker").to_string()
    }

    fn schema() -> Schema {
        Schema::new([Field::new("sensor", Kind::Text), Field::new("value", Kind::Float)])
    }

    /// Rows that happened at a recent whole hour and the seconds behind it: `sensor:value`, `-` for null.
    fn rows(texts: &[&str]) -> Batch {
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

    fn sink(brokers: &str, more: &str) -> KafkaSink {
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
            let text = |bytes: Option<&[u8]>| {
                bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let headers = message
                .headers()
                .map_or_else(Vec::new, |h| h.iter().map(|h| format!("{}={}", h.key, text(h.value))).collect());
            let seconds = (message.timestamp().to_millis().expect("a timestamp") - base() / 1_000) / 1_000;
            let payload = text(message.payload()).replace(&time::format(base()), "BASE");
            lines.push(
                format!("{} {seconds} {payload} {}", text(message.key()), headers.join(",")).trim_end().to_owned(),
            );
        }
        lines
    }

    const CREATE: &str = "topic = 'out'\ncreate = { partitions = 2 }\n";

    #[test]
    fn rows_arrive_with_keys_headers_and_times() {
        for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let brokers = broker();
            let headers = "headers = { engine = 'eagre', sensor = '{sensor}', both = '<{sensor} {value}>' }";
            let mut writer =
                open(&brokers, &format!("{CREATE}compression = '{compression}'\nkey = 'sensor'\n{headers}"))
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
                format!(
                    r#"a 2 {{"event_time":"{}","sensor":"a","value":null}} both=<a >,engine=eagre,sensor=a"#,
                    value(2)
                ),
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
        assert!(
            failure.starts_with("topic `out` could not be reached: broker 127.0.0.1:1 is away since "),
            "{failure}"
        );
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
            failure.contains("is away since")
                && failure.ends_with("it was tried for 300ms, as `delivery_timeout` says"),
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
            (
                "topic = 'out'\nheaders = { a = '{' }",
                "headers.a: `{` has a brace that is not closed (write \"{field}\")",
            ),
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
}
