//! Delivery exactly once: one transaction for each checkpoint that has rows.
//!
//! ```text
//! write -> messages in memory --seal--> outbox in the checkpoint
//!                             --publish--> begin, messages, all acknowledged, marker, commit
//! recover: fence and abort what is left; marker says this checkpoint: nothing to do, else publish its outbox
//! ```
//! The *marker* is an offset that the transaction commits for the group `JOB.SINK.SHARD`: the number of the checkpoint,
//! on partition 0 of the topic, with the *chain* of runs in its metadata. A chain begins where a job starts without a
//! checkpoint, so that the marker of a job that was begun anew says nothing of the old one.
//!
//! librdkafka tells three kinds of error apart. What can be tried again goes on where it was when the same call is made
//! again; what needs an abort is aborted, and the same messages are published in another transaction; what is fatal is
//! a failure. A producer that another has fenced can never write again.

use super::outbox::{Head, Messages, Waiting};
use super::{Deliveries, KafkaWriter, NAP, PATIENCE, REQUEST, plain, stamp};
use crate::batch::Batch;
use crate::fault::Failure;
use crate::kafka_client::{self, Watch};
use crate::sink::{Trouble, Writer};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{NoCustomPartitioner, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::Offset;
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// How long to wait before a transaction that was aborted is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// So many times the setting, and the job fails.
const FULL: usize = 4;

/// What a producer calls [`Producer`]'s methods on.
type Calls = ThreadedProducer<Deliveries, NoCustomPartitioner>;

/// A shard that delivers exactly once.
pub struct Transactions {
    base: KafkaWriter,
    /// The transactional id, and the group of the marker.
    id: String,
    /// The group as the marker is committed for it; `None` until leftovers are aborted.
    group: Option<ConsumerGroupMetadata>,
    head: Head,
    waiting: Messages,
    sealed: Messages,
    outbox_max: usize,
}

/// What the marker says.
#[derive(Debug, PartialEq, Eq)]
struct Marker {
    chain: String,
    checkpoint: u64,
}

/// Why a transaction did not come to its end.
enum Halt {
    /// It must be aborted, and can be made again.
    Abort(KafkaError),
    /// It can not.
    Fail(Failure),
}

impl Transactions {
    /// A shard around an open producer, whose transactional id is `id`. Brokers that are away are waited for later.
    pub fn open(base: KafkaWriter, id: String, outbox_max: u64) -> Result<Transactions, Failure> {
        let head = Head::of(format!("{:x}", kafka_client::now()));
        let (waiting, sealed) = Default::default();
        let outbox_max = usize::try_from(outbox_max).unwrap_or(usize::MAX);
        let mut shard = Transactions { base, id, group: None, head, waiting, sealed, outbox_max };
        if shard.base.is_there {
            shard.prepare(&Patience::of(PATIENCE))?;
        }
        Ok(shard)
    }

    fn patience(&self) -> Patience {
        let timeout = self.base.sink.delivery_timeout();
        if timeout.is_zero() { Patience::endless() } else { Patience::of(timeout.to_std()) }
    }

    /// Fences other producers of this id and aborts what they left; whether it came to that.
    fn prepare(&mut self, patience: &Patience) -> Result<bool, Failure> {
        if self.group.is_some() {
            return Ok(true);
        }
        match self.call(patience, |producer| producer.init_transactions(REQUEST)) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(Halt::Abort(error)) => return Err(self.failure(&error)),
            Err(Halt::Fail(failure)) => return Err(failure),
        }
        self.group = self.consumer()?.group_metadata();
        Ok(true)
    }

    /// The same, with all the time that delivery has.
    fn prepare_for_sure(&mut self, patience: &Patience) -> Result<(), Failure> {
        self.base.reach_topic()?;
        if self.prepare(patience)? { Ok(()) } else { Err(self.too_late("the brokers could not be reached")) }
    }

    /// Calls again and again until the brokers have answered; whether they have.
    fn call(&self, patience: &Patience, call: impl Fn(&Calls) -> KafkaResult<()>) -> Result<bool, Halt> {
        loop {
            let error = match call(&self.base.producer) {
                Ok(()) => {
                    self.base.watch().mended("the transaction");
                    return Ok(true);
                }
                Err(error) => error,
            };
            self.base.readmit();
            match &error {
                KafkaError::Transaction(reason) if reason.is_fatal() => return Err(Halt::Fail(self.failure(&error))),
                KafkaError::Transaction(reason) if reason.txn_requires_abort() => return Err(Halt::Abort(error)),
                KafkaError::Transaction(reason) if !reason.is_retriable() => {
                    return Err(Halt::Fail(self.failure(&error)));
                }
                _ => {}
            }
            self.base.watch().refusal(super::REFUSED_FOR).map_or(Ok(()), |refused| Err(Halt::Fail(refused)))?;
            self.base.watch().note("the transaction", format!("{}, retrying", words(&error)));
            if patience.is_over() {
                return Ok(false);
            }
            thread::sleep(NAP.1);
        }
    }

    fn consumer(&self) -> Result<BaseConsumer<Watch>, Failure> {
        let sink = &self.base.sink;
        let own =
            [("group.id", self.id.as_str()), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let config = kafka_client::config(&sink.brokers, sink.security.as_ref(), &Default::default(), &own)?;
        config.create_with_context(Watch::new(sink.security.as_ref())).map_err(kafka_client::not_made)
    }

    /// The marker of this shard, once nothing is pending.
    fn marker(&self, patience: &Patience) -> Result<Option<Marker>, Failure> {
        let consumer = self.consumer()?;
        loop {
            // A login by token is made while the consumer is polled.
            let _ = consumer.poll(Duration::ZERO);
            let error = match consumer.committed_offsets(self.place(), REQUEST) {
                Ok(list) => return Ok(marker_of(&list)),
                Err(error) => error,
            };
            if error.rdkafka_error_code().is_some_and(kafka_client::lasts) {
                return Err(self.failure(&error));
            }
            consumer.context().refusal(super::REFUSED_FOR).map_or(Ok(()), Err)?;
            self.base.watch().note("the transaction", format!("{}, retrying", words(&error)));
            if patience.is_over() {
                return Err(self.too_late("the brokers could not be asked what was published"));
            }
            thread::sleep(PAUSE);
        }
    }

    fn place(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.base.sink.topic, 0);
        list
    }

    /// Publishes messages as those of a checkpoint.
    fn transact(&mut self, id: u64, messages: &Messages) -> Result<(), Failure> {
        let patience = self.patience();
        self.prepare_for_sure(&patience)?;
        loop {
            let error = match self.attempt(id, messages, &patience) {
                Ok(()) => break,
                Err(Halt::Fail(failure)) => return Err(failure),
                Err(Halt::Abort(error)) => error,
            };
            self.base.watch().note("the transaction", format!("{}, made again", words(&error)));
            self.abort(&patience)?;
            if patience.is_over() {
                return Err(self.too_late(&words(&error)));
            }
            thread::sleep(PAUSE);
        }
        self.base.watch().mended("the transaction");
        self.head.marked = true;
        Ok(())
    }

    fn attempt(&mut self, id: u64, messages: &Messages, patience: &Patience) -> Result<(), Halt> {
        let within = |done: bool| if done { Ok(()) } else { Err(Halt::Fail(self.too_late("no answer"))) };
        within(self.call(patience, |producer| producer.begin_transaction())?)?;
        let sent = messages.iter().try_for_each(|message| self.send(&message));
        // Why a message was lost says more than that the ones behind it are refused.
        self.drain().and(sent)?;
        let place = self.place();
        let marked = i64::try_from(id).map_err(|_| rdkafka_range()).and_then(|id| {
            let mut element = place.find_partition(&self.base.sink.topic, 0).ok_or_else(rdkafka_range)?;
            element.set_metadata(format!("{} {id}", self.head.chain));
            element.set_offset(Offset::Offset(id))
        });
        marked.map_err(|error| Halt::Fail(self.failure(&error)))?;
        let group = self.group.as_ref().expect("a shard is prepared before it publishes");
        within(self.call(patience, |producer| producer.send_offsets_to_transaction(&place, group, REQUEST))?)?;
        within(self.call(patience, |producer| producer.commit_transaction(REQUEST))?)
    }

    fn send(&self, message: &Waiting<'_>) -> Result<(), Halt> {
        let mut record = self.base.record(message);
        let mut nap = NAP.0;
        self.base.under_way.fetch_add(1, Ordering::Relaxed);
        loop {
            record = match self.base.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => {
                    self.base.under_way.fetch_sub(1, Ordering::Relaxed);
                    return Err(self.halt(error));
                }
            };
            self.base.readmit();
            thread::sleep(nap);
            nap = (nap * 2).min(NAP.1);
        }
    }

    /// Waits until all messages are acknowledged. The library's own flush waits in steps of 100 ms.
    fn drain(&self) -> Result<(), Halt> {
        self.await_answers();
        let lost = self.base.producer.context().lost.lock().expect("no thread panics while it counts lost messages");
        match lost.as_ref() {
            Some(lost) if lost.error.rdkafka_error_code().is_some_and(lasts) => Err(Halt::Fail(self.base.lost(lost))),
            Some(lost) => Err(self.halt(lost.error.clone())),
            None => Ok(()),
        }
    }

    fn await_answers(&self) {
        let mut nap = NAP.0;
        while self.base.under_way.load(Ordering::Acquire) > 0 || self.base.producer.in_flight_count() > 0 {
            self.base.readmit();
            thread::sleep(nap);
            nap = (nap * 2).min(NAP.1);
        }
    }

    /// Whether a producer with this error can go on.
    fn halt(&self, error: KafkaError) -> Halt {
        match self.base.producer.client().fatal_error() {
            None => Halt::Abort(error),
            Some(_) => Halt::Fail(self.failure(&error)),
        }
    }

    fn abort(&mut self, patience: &Patience) -> Result<(), Failure> {
        match self.call(patience, |producer| producer.abort_transaction(REQUEST)) {
            Ok(true) => {}
            Ok(false) => return Err(self.too_late("a transaction could not be aborted")),
            Err(Halt::Abort(error)) => return Err(self.failure(&error)),
            Err(Halt::Fail(failure)) => return Err(failure),
        }
        self.await_answers();
        *self.base.producer.context().lost.lock().expect("no thread panics while it counts lost messages") = None;
        Ok(())
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        let topic = &self.base.sink.topic;
        match self.base.producer.client().fatal_error() {
            Some((RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced, _)) => {
                let message =
                    format!("another run of this job has taken over topic `{topic}` (`{}` is fenced)", self.id);
                Failure::new(message).help(
                    "let one run of a job go at a time; where there is no other, a transaction was open for longer than \
                     `transaction_timeout`: begin the job again, it goes on from its newest checkpoint",
                )
            }
            Some((_, reason)) => Failure::new(format!("topic `{topic}` cannot be written exactly once: {reason}")),
            None => Failure::new(format!("topic `{topic}` cannot be written exactly once: {}", words(error))),
        }
    }

    fn too_late(&self, what: &str) -> Failure {
        let trouble = self.base.watch().trouble().map_or_else(String::new, |trouble| format!("{trouble}; "));
        let timeout = self.base.sink.delivery_timeout();
        Failure::new(format!("topic `{}` cannot be written exactly once: {what}", self.base.sink.topic))
            .help(format!("{trouble}it was tried for {timeout}, as `delivery_timeout` says"))
    }

    fn unknown(&self, id: u64, count: u64) -> Failure {
        let message = format!(
            "nothing tells whether the {count} messages of checkpoint {id} were published: group `{}` has no marker",
            self.id
        );
        Failure::new(message).help(
            "its offset has expired (offsets.retention.minutes of the brokers), or `brokers`, `topic` or the job's name \
             was changed; `--set sink.NAME.delivery=at_least_once` publishes them now",
        )
    }

    fn newer(&self, id: u64, marker: u64) -> Failure {
        let topic = &self.base.sink.topic;
        Failure::new(format!("topic `{topic}` has what belongs to checkpoint {marker}, and the job goes on from {id}"))
            .help(
                "rows in between would be there twice: go on from the newest checkpoint, or say that this may be: \
                 `--set sink.NAME.delivery=at_least_once`",
            )
    }
}

/// What waiting does not mend.
fn lasts(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{InvalidRecord, InvalidTimestamp, PolicyViolation};
    kafka_client::lasts(code) && code != RDKafkaErrorCode::Fatal
        || matches!(code, InvalidTimestamp | InvalidRecord | PolicyViolation)
}

fn marker_of(list: &TopicPartitionList) -> Option<Marker> {
    let elements = list.elements();
    let element = elements.first()?;
    let Offset::Offset(checkpoint) = element.offset() else { return None };
    let (chain, _) = element.metadata().split_once(' ')?;
    Some(Marker { chain: chain.to_owned(), checkpoint: u64::try_from(checkpoint).ok()? })
}

fn rdkafka_range() -> KafkaError {
    KafkaError::SetPartitionOffset(RDKafkaErrorCode::InvalidArgument)
}

fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(reason) => reason.string(),
        other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}

/// How long something is still tried.
struct Patience {
    until: Option<i64>,
}

impl Patience {
    fn of(time: Duration) -> Patience {
        Patience { until: Some(kafka_client::now().saturating_add(time.as_micros() as i64)) }
    }

    fn endless() -> Patience {
        Patience { until: None }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| kafka_client::now() >= until)
    }
}

impl Writer for Transactions {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut text = String::new();
        for row in 0..batch.len() {
            text.clear();
            self.base.encode(&mut text, batch, row);
            let key = self.base.key.and_then(|field| plain(batch, field, row));
            let filled: Vec<Option<String>> = self.base.headers.iter().map(|(_, t)| t.fill(batch, row)).collect();
            let names = self.base.headers.iter().map(|(name, _)| name.as_str());
            let headers = names.zip(filled.iter().map(Option::as_deref)).collect();
            let timestamp = stamp(batch.times()[row]);
            self.waiting.push(&Waiting { timestamp, key: key.as_deref(), headers, payload: &text });
        }
        if self.staged() > self.outbox_max.saturating_mul(FULL) {
            let message = format!("{} bytes of messages wait for their checkpoint", self.staged());
            return Err(Failure::new(message).help("make `checkpoint.every` shorter, or `outbox_max` larger"));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn seal(&mut self, _: u64) -> Result<Vec<u8>, Failure> {
        self.sealed = mem::take(&mut self.waiting);
        self.sealed.seal(&self.head)
    }

    fn publish(&mut self, id: u64) -> Result<(), Failure> {
        let messages = mem::take(&mut self.sealed);
        if messages.count() == 0 { Ok(()) } else { self.transact(id, &messages) }
    }

    fn recover(&mut self, id: u64, outbox: &[u8]) -> Result<(), Failure> {
        if outbox.is_empty() {
            return Ok(());
        }
        let (head, messages) = Messages::unseal(outbox)?;
        let patience = self.patience();
        self.prepare_for_sure(&patience)?;
        let marker = self.marker(&patience)?.filter(|marker| marker.chain == head.chain);
        let (expired, marked) = (head.marked && marker.is_none(), head.marked || marker.is_some());
        self.head = head;
        self.head.marked = marked;
        match marker.map(|marker| marker.checkpoint) {
            Some(newer) if newer > id => Err(self.newer(id, newer)),
            Some(same) if same == id => Ok(()),
            _ if messages.count() == 0 => Ok(()),
            _ if expired => Err(self.unknown(id, messages.count())),
            _ => self.transact(id, &messages),
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn staged(&self) -> usize {
        self.waiting.bytes() + self.sealed.bytes()
    }

    fn staged_max(&self) -> usize {
        self.outbox_max
    }

    fn trouble(&self) -> Option<Trouble> {
        self.base.trouble()
    }
}
