//! Reads topics of Apache Kafka.
//!
//! ```toml
//! [source.readings]
//! kind = "kafka"
//! brokers = "localhost:9092"              # or a list
//! topic = "readings"                      # or topics = ["readings", "more"]
//! fields = { ts = "time(ms)", sensor = "text", value = "float" }
//! event_time = "ts"                       # default: the message's own timestamp
//! ```
//!
//! # Settings
//!
//! - `start`: where a partition is read from: `"earliest"` (default), `"latest"`, a time
//!   (`"2026-01-31T12:00:00Z"` or `{ timestamp = ... }`: the first message that is stamped then or later), or
//!   `{ offsets = { "0" = 12, "1" = 7 } }` (a partition that is not named is read from its beginning). A partition
//!   that is added to a topic while the job runs, or between two runs of it, is read from its beginning.
//! - `until`: makes the run a bounded one: every partition ends there. `"now"` is where the partition ends when the job
//!   starts; a time and offsets are as above (a time that no message has reached yet, and a partition that is not
//!   named, mean `"now"`). Without it the job runs until it is stopped.
//! - `format`: `"json"`, one object a message.
//! - `discover_every`: how often to look for new partitions (default `"30s"`).
//! - `group`: the consumer group that shows how far the job is (default: the job's name).
//! - `security`: `protocol` (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL), `mechanism` (PLAIN, SCRAM-SHA-256,
//!   SCRAM-SHA-512, OAUTHBEARER), `username` and one of `password`, `password_file`, `password_env`; `ca_file`,
//!   `cert_file`, `key_file`, `key_password`; `token_file` or `token_command` for OAUTHBEARER.
//! - `properties`: other settings of librdkafka by their own names, such as `"fetch.wait.max.ms" = 10`.
//!
//! # What it guarantees
//!
//! Partitions are assigned, never subscribed to: no consumer group is joined and nothing is rebalanced. With
//! checkpoints, the offsets that the newest one would go on from are committed to `group`, for people and their tools
//! (`kafka-consumer-groups.sh --describe --group JOB`); they are never read, and a group that refuses them is told in
//! the health of the source and disturbs nothing. Each job should have a group of its own. A record's sequence is its
//! offset. Messages of open and aborted transactions are not seen (`"isolation.level" = "read_uncommitted"` in
//! `properties` shows them). A tombstone is a record without payload. No sink of the job may write a topic that it
//! reads; that is seen where both name a broker in the same words, and not seen where they call one cluster by
//! different addresses. A broker that is away is waited for; an offset that is no longer there is a failure, never a
//! silent jump; so is a topic that does not exist or is deleted. About 8 MB of messages are fetched ahead for each
//! partition (`"queued.max.messages.kbytes"`).

mod group;
mod place;
mod queue;

use self::group::Group;
use self::place::Place;
use self::queue::{Event, Queue};
use crate::fault::{Failure, Fault};
use crate::formats::json::JsonDecoder;
use crate::formats::{Fields, Frames, Layout, MakeDecoder, Messages, TimeFrom, Wanted};
use crate::kafka_client::{self, Format, Names, Properties, Refused, Security, Watch};
use crate::schema::{Kind, SYSTEM_NAMES, Schema};
use crate::source::{Feed, Position, Read, Reader, Resource, Source, Wake};
use crate::time::{EventTime, Interval};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

/// The `kafka` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSource {
    /// Where to find the cluster: host:port, one or several.
    brokers: Names,
    /// The topic to read.
    #[serde(default)]
    topic: Names,
    /// The topics to read, where there are several.
    #[serde(default)]
    topics: Names,
    /// Where to start (default: earliest).
    #[serde(default)]
    start: Place,
    /// Where to end (default: never).
    until: Option<Place>,
    /// The fields of a message.
    fields: Fields,
    /// The field that says when it happened (default: the message's timestamp).
    event_time: Option<String>,
    /// How messages are written.
    #[serde(default)]
    format: Format,
    /// How often to look for new partitions (default: 30s).
    discover_every: Option<Interval>,
    /// The consumer group that shows how far the job is (default: the job's name).
    group: Option<String>,
    /// Login and encryption.
    security: Option<Security>,
    /// Other settings of librdkafka.
    #[serde(default)]
    properties: Properties,
}

const OWN: &str = "this source assigns its partitions itself and joins no group";
const POSITIONS: &str = "the engine keeps the positions";

const REFUSED: Refused = &[
    ("group.id", "write `group`"),
    ("group.protocol", OWN),
    ("group.instance.id", OWN),
    ("group.remote.assignor", OWN),
    ("partition.assignment.strategy", OWN),
    ("enable.auto.commit", POSITIONS),
    ("auto.commit.enable", POSITIONS),
    ("enable.auto.offset.store", POSITIONS),
    ("auto.offset.reset", "write `start`; an offset that is gone must not be passed over in silence"),
    ("enable.partition.eof", "the end of a partition is how an idle one is told from a slow one"),
];

/// The client's settings. `fetch.queue.backoff.ms` is 1000 by default: a queue that was full waits that long to be
/// filled again, which costs 6 of 7 messages a second.
const SETTINGS: [(&str, &str); 12] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    ("check.crcs", "true"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "8192"),
    ("max.partition.fetch.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
    ("receive.message.max.bytes", "1000000000"),
];

/// The settings of the client that speaks to the group; the session is how long it looks for who coordinates the group.
const GROUP_SETTINGS: [(&str, &str); 3] =
    [("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("session.timeout.ms", "6000")];

impl KafkaSource {
    /// The topics, in order and each once.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.topic.0.iter().chain(&self.topics.0).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn check_topics(&self, faults: &mut Vec<Fault>) {
        match (self.topic.0.is_empty(), self.topics.0.is_empty()) {
            (true, true) => faults.push(Fault::at("", "no topic is named").help("write `topic = \"name\"`")),
            (false, false) => faults.push(Fault::at("topics", "write either `topic` or `topics`")),
            _ => {}
        }
        self.topic.0.iter().for_each(|topic| kafka_client::check_topic(topic, "topic", faults));
        self.topics.0.iter().for_each(|topic| kafka_client::check_topic(topic, "topics", faults));
    }

    fn check_places(&self, faults: &mut Vec<Fault>) {
        let topics = self.names();
        faults.extend(self.start.wrong(&topics).map(|wrong| Fault::at("start", wrong)));
        faults
            .extend(self.until.iter().filter_map(|until| until.wrong(&topics)).map(|wrong| Fault::at("until", wrong)));
        if self.until == Some(Place::Earliest) {
            faults.push(
                Fault::at("until", "nothing comes before the earliest record").help("write \"now\", a time or offsets"),
            );
        }
        if self.discover_every.is_some_and(|every| every < Interval::from_secs(1)) {
            faults.push(
                Fault::at("discover_every", "brokers are asked at most once a second")
                    .help("write for example \"30s\""),
            );
        }
    }

    fn check_fields(&self, faults: &mut Vec<Fault>) {
        if self.fields.0.is_empty() {
            faults.push(
                Fault::at("fields", "no field is named").help("write for example fields = { value = \"float\" }"),
            );
        }
        for name in self.fields.0.keys().filter(|name| SYSTEM_NAMES.contains(&name.as_str())) {
            faults.push(Fault {
                path: vec!["fields".into(), name.clone()],
                message: format!("`{name}` is a name of Eagre's own"),
                help: None,
            });
        }
        let Some(name) = &self.event_time else { return };
        match self.fields.0.get(name) {
            Some(written) if written.kind == Kind::Time => {}
            Some(written) => {
                let fault = Fault::at("event_time", format!("`{name}` is {}, not a time", written.kind));
                faults.push(fault.help(format!(
                    "write fields.{name} = \"time\", or \"time(ms)\" where it is a number of milliseconds"
                )));
            }
            None => {
                let names = self.fields.0.keys().map(String::as_str);
                faults.push(Fault::at("event_time", format!("there is no field `{name}`")).nearest(name, names));
            }
        }
    }

    fn check_group(&self, faults: &mut Vec<Fault>) {
        if self.group.as_ref().is_some_and(|group| group.trim().is_empty()) {
            faults.push(Fault::at("group", "the group has no name").help("leave it out for the job's name"));
        }
    }

    /// A client of that group, some of whose settings are its own.
    fn client(&self, group: &str, own: &[(&str, &str)]) -> Result<BaseConsumer<Watch>, Failure> {
        let own: Vec<(&str, &str)> = own.iter().copied().chain([("group.id", group)]).collect();
        let config = kafka_client::config(&self.brokers, self.security.as_ref(), &self.properties, &own)?;
        config.create_with_context(Watch::new(self.security.as_ref())).map_err(kafka_client::not_made)
    }

    fn wanted(&self, schema: &Schema) -> Wanted {
        let field = |name: &String| TimeFrom::Field(name.clone(), self.fields.0[name]);
        let event_time = self.event_time.as_ref().map_or(TimeFrom::Envelope, field);
        Wanted { schema: schema.clone(), written: self.fields.written(schema), event_time }
    }
}

impl Source for KafkaSource {
    const NAME: &'static str = "kafka";

    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        let before = faults.len();
        kafka_client::check(&self.brokers, self.security.as_ref(), &self.properties, REFUSED, faults);
        self.check_topics(faults);
        self.check_places(faults);
        self.check_fields(faults);
        self.check_group(faults);
        (faults.len() == before).then(|| self.fields.schema())
    }

    fn reads(&self) -> Vec<Resource> {
        let target = |topic| Resource::Topic { brokers: self.brokers.0.clone(), topic };
        self.names().into_iter().map(target).collect()
    }

    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        // Nothing comes of this group: without one, librdkafka has no queue for what a consumer is told.
        let group = self.group.clone().unwrap_or_else(|| format!("eagre-{name}"));
        let consumer = Arc::new(self.client(&group, &SETTINGS)?);
        let ends = Ends::default();
        serve(name, consumer.clone(), self.brokers.clone(), ends.clone());
        let (known, group, before) = Default::default();
        let (source, wanted) = (self.clone(), self.wanted(wanted));
        Ok(Box::new(KafkaFeed { source, wanted, consumer, ends, known, group, before }))
    }
}

/// Where partitions end, by topic and number. What is fetched tells it too, but nothing is fetched while nobody reads.
type Ends = Arc<Mutex<BTreeMap<(String, i32), i64>>>;

/// Serves the client's events (errors, statistics, tokens) until nobody else holds the consumer, and asks now and then
/// where the partitions end.
fn serve(name: &str, consumer: Arc<BaseConsumer<Watch>>, brokers: Names, ends: Ends) {
    let work = move || {
        let mut asked = kafka_client::now();
        while Arc::strong_count(&consumer) > 1 {
            consumer.poll(Duration::from_millis(100));
            kafka_client::readmit(consumer.client(), consumer.context(), &brokers);
            if kafka_client::now() - asked >= ASK_ENDS_EVERY && consumer.context().trouble().is_none() {
                // Brokers that do not answer now are told as trouble.
                let _ = ask_ends(&consumer, &ends);
                asked = kafka_client::now();
            }
        }
    };
    let thread = thread::Builder::new().name(format!("eagre:kafka-{name}"));
    thread.spawn(work).expect("a thread can be started");
}

/// How often, in microseconds, and how long it may take: the client's events wait meanwhile.
const ASK_ENDS_EVERY: EventTime = 5_000_000;
const ASK_ENDS: Duration = Duration::from_millis(500);

fn ask_ends(consumer: &BaseConsumer<Watch>, ends: &Ends) -> KafkaResult<()> {
    let mut list = consumer.assignment()?;
    if list.count() == 0 {
        return Ok(());
    }
    list.set_all_offsets(Offset::End)?;
    let list = consumer.offsets_for_times(list, ASK_ENDS)?;
    let mut ends = ends.lock().expect("nobody panics while noting an end");
    for partition in list.elements() {
        if let Offset::Offset(end) = partition.offset() {
            ends.insert((partition.topic().to_owned(), partition.partition()), end);
        }
    }
    Ok(())
}

/// How long one request for metadata or offsets waits; a start asks again and again.
const REQUEST: Duration = Duration::from_secs(2);

/// How long a refused login is tried again at the start: a broker that is starting itself may not know its users yet.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// An open source: the consumer, and the partitions that it has named.
struct KafkaFeed {
    source: KafkaSource,
    wanted: Wanted,
    consumer: Arc<BaseConsumer<Watch>>,
    ends: Ends,
    known: Mutex<Vec<Partition>>,
    /// Begun with the first checkpoint.
    group: OnceLock<Group>,
    /// Those that it has been read from when the job goes on.
    before: OnceLock<Vec<String>>,
}

/// A partition, and the offsets between which it is to be read.
#[derive(Clone, Debug)]
struct Partition {
    topic: String,
    number: i32,
    start: i64,
    from_beginning: bool,
    until: Option<i64>,
}

impl Partition {
    fn name(&self) -> String {
        format!("{}[{}]", self.topic, self.number)
    }
}

/// What a single try to reach the brokers came to.
enum Tried {
    /// It may work the next time.
    Again(String),
    /// It never will.
    Never(Failure),
}

impl KafkaFeed {
    fn watch(&self) -> &Watch {
        self.consumer.context()
    }

    /// The group that shows how far a job is.
    fn start_group(&self, job: &str) -> Group {
        let (name, source) = (self.source.group.as_deref().unwrap_or(job).to_owned(), self.source.clone());
        Group::start(&name.clone(), source.brokers.clone(), move || source.client(&name, &GROUP_SETTINGS))
    }

    fn known(&self) -> MutexGuard<'_, Vec<Partition>> {
        self.known.lock().expect("no thread panics while it holds the list of partitions")
    }

    /// The partitions at the start: asks until the brokers answer.
    fn first(&self) -> Result<Vec<Partition>, Failure> {
        loop {
            let until = self.source.until.as_ref();
            let found =
                self.look(&[], &self.source.start, until).and_then(|all| self.begin_those_that_came(all, until));
            let reason = match found {
                Ok(found) => {
                    self.watch().mended("the start");
                    return Ok(found);
                }
                Err(Tried::Never(failure)) => return Err(failure),
                Err(Tried::Again(reason)) => reason,
            };
            if let Some(failure) = self.watch().refusal(REFUSED_FOR).or_else(|| self.watch().failure()) {
                return Err(failure);
            }
            self.watch().note("the start", format!("{reason}, retrying"));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Of topics that have been read before, partitions that have come since are read from their beginning.
    fn begin_those_that_came(&self, all: Vec<Partition>, until: Option<&Place>) -> Result<Vec<Partition>, Tried> {
        let before = self.before.get().map_or(&[][..], Vec::as_slice);
        let of_topic = |topic: &str| before.iter().any(|name| name.rsplit_once('[').is_some_and(|(of, _)| of == topic));
        let (mut old, came): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|found| before.contains(&found.name()) || !of_topic(&found.topic));
        if !came.is_empty() {
            old.extend(self.look(&old, &Place::Earliest, until)?);
            old.sort_by(|a, b| (&a.topic, a.number).cmp(&(&b.topic, b.number)));
        }
        Ok(old)
    }

    /// The partitions that are not known yet, and where to read them.
    fn look(&self, known: &[Partition], start: &Place, until: Option<&Place>) -> Result<Vec<Partition>, Tried> {
        let mut found = Vec::new();
        for topic in self.source.names() {
            let numbers = kafka_client::partitions_of(self.consumer.client(), &topic, REQUEST)
                .map_err(|e| self.tried(&topic, &e))?;
            let Some(numbers) = numbers else {
                return Err(Tried::Never(kafka_client::missing_topic(self.consumer.client(), &topic, REQUEST)));
            };
            self.watch().answered();
            let is_known = |number: &i32| known.iter().any(|p| p.topic == topic && p.number == *number);
            found.extend(numbers.into_iter().filter(|number| !is_known(number)).map(|number| (topic.clone(), number)));
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let starts = self.resolve(&found, start, Place::Earliest)?;
        let untils = until.map(|until| self.resolve(&found, until, Place::Latest)).transpose()?;
        let partition = |(i, (topic, number)): (usize, (String, i32))| Partition {
            from_beginning: *start == Place::Earliest,
            start: starts[i],
            until: untils.as_ref().map(|untils| untils[i]),
            topic,
            number,
        };
        Ok(found.into_iter().enumerate().map(partition).collect())
    }

    /// The offset that a place is at in each partition; `others` is for those that a list of offsets does not name.
    fn resolve(&self, partitions: &[(String, i32)], place: &Place, others: Place) -> Result<Vec<i64>, Tried> {
        let given = |(topic, number): &(String, i32)| place.offset(topic, *number);
        let asked = match place {
            Place::Offsets(_) if partitions.iter().all(|p| given(p).is_some()) => {
                return Ok(partitions.iter().filter_map(given).collect());
            }
            Place::Offsets(_) => &others,
            place => place,
        };
        let ends = self.ask(
            partitions,
            match asked {
                Place::Time(at) => Offset::Offset(at.div_euclid(1_000).max(0)),
                Place::Earliest => Offset::Beginning,
                _ => Offset::End,
            },
        )?;
        let behind = if ends.contains(&Offset::End) { self.ask(partitions, Offset::End)? } else { ends.clone() };
        let number = |i: usize, p: &(String, i32)| match (given(p), ends[i], behind[i]) {
            (Some(given), ..) => Ok(given),
            (None, Offset::Offset(offset), _) | (None, _, Offset::Offset(offset)) => Ok(offset),
            (None, odd, _) => Err(Tried::Again(format!("{}[{}] has no offset yet ({odd:?})", p.0, p.1))),
        };
        partitions.iter().enumerate().map(|(i, p)| number(i, p)).collect()
    }

    /// Asks the brokers where the first message of a time is; the beginning and the end are special times.
    fn ask(&self, partitions: &[(String, i32)], time: Offset) -> Result<Vec<Offset>, Tried> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in partitions {
            list.add_partition_offset(topic, *number, time).expect("times are not negative");
        }
        let topic = &partitions[0].0;
        let list = self.consumer.offsets_for_times(list, REQUEST).map_err(|error| self.tried(topic, &error))?;
        let offset = |(topic, number): &(String, i32)| {
            let found = list
                .find_partition(topic, *number)
                .ok_or_else(|| Tried::Again(format!("{topic}[{number}] was not answered for")))?;
            // The topic has just been seen: its leader does not know of the new partition yet.
            let young =
                |error: &KafkaError| error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition);
            match found.error() {
                Ok(()) => Ok(found.offset()),
                Err(error) if young(&error) => Err(Tried::Again(format!("{topic}[{number}] is not led yet"))),
                Err(error) => Err(self.tried(topic, &error)),
            }
        };
        partitions.iter().map(offset).collect()
    }

    fn tried(&self, topic: &str, error: &KafkaError) -> Tried {
        let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        match error.rdkafka_error_code() {
            Some(code) if kafka_client::lasts(code) => {
                Tried::Never(Failure::new(format!("topic `{topic}` cannot be read: {reason}")))
            }
            _ => Tried::Again(self.watch().reason().unwrap_or(reason)),
        }
    }

    /// Partitions that were added to the topics since. Brokers that do not answer are trouble, no failure.
    fn grown(&self, known: &[Partition]) -> Result<Vec<Partition>, Failure> {
        match self.look(known, &Place::Earliest, None) {
            Ok(more) => Ok(more),
            Err(Tried::Again(_)) => Ok(Vec::new()),
            Err(Tried::Never(failure)) => {
                Err(failure.help("the topic was there when the job started; was it deleted?"))
            }
        }
    }
}

impl Feed for KafkaFeed {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        let known = self.known().clone();
        let more = if known.is_empty() {
            self.first()?
        } else if self.source.until.is_some() {
            Vec::new()
        } else {
            self.grown(&known)?
        };
        let mut known = self.known();
        for partition in more {
            if known.iter().all(|p| (&p.topic, p.number) != (&partition.topic, partition.number)) {
                known.push(partition);
            }
        }
        Ok(known.iter().map(Partition::name).collect())
    }

    fn goes_on(&self, before: &[String]) {
        // It is told once.
        let _ = self.before.set(before.to_vec());
    }

    fn open(&self, partition: &str, from: Option<Position>, wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let found = self.known().iter().find(|p| p.name() == partition).cloned();
        let Some(partition) = found else {
            return Err(Failure::new(format!("there is no partition `{partition}` in this source")));
        };
        let position = from.unwrap_or(partition.start);
        let offset =
            if from.is_none() && partition.from_beginning { Offset::Beginning } else { Offset::Offset(position) };
        let name = partition.name();
        let failed = |reason: String| Failure::new(format!("{name} cannot be read: {reason}"));
        let queue = Queue::split(&self.consumer, &partition.topic, partition.number, move || wake());
        let queue = queue.ok_or_else(|| failed("the client does not know the partition".into()))?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.number, offset)
            .map_err(|error| failed(error.to_string()))?;
        self.consumer.incremental_assign(&list).map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(KafkaReader {
            queue,
            name,
            position,
            partition,
            assigned: true,
            noted: false,
            usual: (0, 0),
            consumer: self.consumer.clone(),
            ends: self.ends.clone(),
        }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        let wanted = self.wanted.clone();
        match self.source.format {
            Format::Json => Some(Arc::new(move || Box::new(JsonDecoder::new(&wanted)))),
        }
    }

    fn discovers(&self) -> Option<Duration> {
        let every = self.source.discover_every.unwrap_or(Interval::from_secs(30));
        self.source.until.is_none().then(|| every.to_std())
    }

    fn total(&self) -> Option<u64> {
        let records = |p: &Partition| p.until.map_or(0, |until| (until - p.start).max(0) as u64);
        self.source.until.is_some().then(|| self.known().iter().map(records).sum())
    }

    fn trouble(&self) -> Option<String> {
        self.watch().trouble()
    }

    fn answers_in_part(&self) -> bool {
        self.watch().reaches_some()
    }

    fn kept(&self, job: &str, positions: &[(String, Position)]) {
        let place = |(name, position): &(String, Position)| {
            let (topic, number) = name.strip_suffix(']')?.rsplit_once('[')?;
            Some(((topic.to_owned(), number.parse().ok()?), *position))
        };
        self.group.get_or_init(|| self.start_group(job)).show(positions.iter().filter_map(place).collect());
    }

    fn settle(&self, within: Duration) {
        self.group.get().into_iter().for_each(|group| group.settle(within));
    }

    fn remark(&self) -> Option<String> {
        self.group.get()?.remark()
    }
}

/// How long an idle partition sleeps if its wake-up call is lost (rust-rdkafka#840).
const IDLE: Duration = Duration::from_millis(250);

/// The most messages of one read: the engine's limit may be larger than a batch that is worth its memory.
const BATCH_MAX: usize = 8_192;

/// An open partition.
struct KafkaReader {
    queue: Queue,
    name: String,
    position: Position,
    partition: Partition,
    assigned: bool,
    noted: bool,
    /// How many bytes and messages the last read gave.
    usual: (usize, usize),
    consumer: Arc<BaseConsumer<Watch>>,
    ends: Ends,
}

impl KafkaReader {
    fn has_ended(&self) -> bool {
        self.partition.until.is_some_and(|until| self.position >= until)
    }

    /// Gives the partition back, so that no more of it is fetched.
    fn give_back(&mut self) {
        if std::mem::take(&mut self.assigned) {
            let mut list = TopicPartitionList::new();
            list.add_partition(&self.partition.topic, self.partition.number);
            // It fails only where the partition is not assigned any more, which is what is wanted.
            let _ = self.consumer.incremental_unassign(&list);
        }
    }

    /// Room for as much as the last time.
    fn room(&self) -> (Vec<u8>, Messages) {
        let (bytes, count) = self.usual;
        let (ends, sequences) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (times, absent) = (Vec::with_capacity(count), Vec::with_capacity(count));
        (Vec::with_capacity(bytes), Messages { ends, sequences, times, absent })
    }

    /// Takes what lies in the queue; gives the first error, if there was one, and how many events there were.
    fn take(
        &mut self,
        limit: usize,
        bytes: &mut Vec<u8>,
        messages: &mut Messages,
    ) -> (usize, Option<(RDKafkaErrorCode, String)>) {
        let until = self.partition.until.unwrap_or(i64::MAX);
        let (mut position, mut wrong) = (self.position, None);
        let count = self.queue.drain(limit, |event| match event {
            // After a reconnection the client may fetch again what it has given: sequences only rise.
            Event::Message { offset, .. } if offset < position => {}
            Event::Message { offset, millis, payload } => {
                position = offset + 1;
                if offset < until {
                    bytes.extend_from_slice(payload.unwrap_or_default());
                    messages.ends.push(bytes.len());
                    messages.sequences.push(offset);
                    messages.times.push(millis.unwrap_or(0).saturating_mul(1_000));
                    messages.absent.push(payload.is_none());
                }
            }
            Event::End { offset } => position = offset.max(position),
            Event::Wrong { code, reason } => {
                wrong.get_or_insert((code, reason));
            }
        });
        self.position = position;
        (count, wrong)
    }

    fn wrong(&mut self, code: RDKafkaErrorCode, reason: String) -> Result<(), Failure> {
        let failure = Failure::new(format!("{} cannot be read at offset {}: {reason}", self.name, self.position));
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => Err(self.out_of_range()),
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                Err(failure.help("the topic was there when the job started; was it deleted?"))
            }
            RDKafkaErrorCode::InvalidMessageSize | RDKafkaErrorCode::MessageSizeTooLarge => {
                Err(failure.help("set \"receive.message.max.bytes\" in `properties`; it is 1000000000"))
            }
            code if kafka_client::lasts(code) => Err(failure),
            _ => {
                self.noted = true;
                self.consumer.context().note(&self.name, format!("{reason}, retrying"));
                Ok(())
            }
        }
    }

    fn out_of_range(&self) -> Failure {
        let (topic, number) = (&self.partition.topic, self.partition.number);
        let range = match self.consumer.fetch_watermarks(topic, number, REQUEST) {
            Ok((low, high)) if low == high => format!("; the partition is empty, its next offset is {high}"),
            Ok((low, high)) => format!("; it holds offsets {low} to {}", high - 1),
            Err(_) => String::new(),
        };
        Failure::new(format!("{} has no offset {} (any more){range}", self.name, self.position))
            .help("records were deleted by the topic's retention, or the topic was made anew; set `start` to an offset that is there, or to \"earliest\"")
    }
}

impl Reader for KafkaReader {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        let limit = limit.clamp(1, BATCH_MAX);
        loop {
            if self.has_ended() {
                self.give_back();
                return Ok(Read::End);
            }
            let (mut bytes, mut messages) = self.room();
            let (count, wrong) = self.take(limit, &mut bytes, &mut messages);
            match wrong {
                Some((code, reason)) => self.wrong(code, reason)?,
                None if count > 0 && std::mem::take(&mut self.noted) => self.consumer.context().mended(&self.name),
                None => {}
            }
            if !messages.ends.is_empty() {
                self.usual = (bytes.len(), messages.ends.len());
                return Ok(Read::Frames(Frames { bytes, layout: Layout::Messages(messages) }));
            }
            if count == 0 {
                return self.consumer.context().failure().map_or(Ok(Read::Idle(IDLE)), Err);
            }
        }
    }

    /// What lies behind the end is not given, although it may have come with the last messages.
    fn position(&self) -> Position {
        self.partition.until.map_or(self.position, |until| self.position.min(until))
    }

    fn is_connected(&self) -> bool {
        self.consumer.context().reaches(&self.partition.topic, self.partition.number)
    }

    fn behind(&self) -> Option<u64> {
        let (topic, number) = (&self.partition.topic, self.partition.number);
        let fetched = queue::high_watermark(&self.consumer, topic, number);
        let ends = self.ends.lock().expect("nobody panics while noting an end");
        let end = ends.get(&(topic.clone(), number)).copied().max(fetched)?;
        Some((end - self.position).max(0) as u64)
    }

    fn progress(&self) -> u64 {
        let position = self.partition.until.map_or(self.position, |until| self.position.min(until));
        (position - self.partition.start).max(0) as u64
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
