//! Shows in a consumer group how far a job was read at its newest checkpoint, where Kafka's own tools look for it
//! (`kafka-consumer-groups.sh --describe`, monitors of lag).
//!
//! Nothing is read back from the group, and nothing hangs on it: what cannot be committed is a remark, and the next
//! checkpoint tries anew. The client is one of its own, with a thread of its own, because while a commit is under way
//! librdkafka begins to read no partition that is added to a client (`rd_kafka_assignment_serve`): a group without
//! coordinator would stop a job.

use super::queue;
use crate::fault::Failure;
use crate::kafka_client::{self, Names, Watch};
use crate::source::Position;
use crate::time::EventTime;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Where partitions would be read next, by topic and number.
type Places = BTreeMap<(String, i32), Position>;

/// A consumer group that is told how far a job has come.
pub struct Group {
    orders: Sender<Order>,
    remark: Arc<Mutex<Option<String>>>,
}

enum Order {
    Show(Places),
    /// Let go of this when everything is shown, or cannot be.
    Settle(Sender<()>),
}

impl Group {
    /// A group whose client is made on its thread.
    pub fn start(
        name: &str,
        brokers: Names,
        make: impl FnOnce() -> Result<BaseConsumer<Watch>, Failure> + Send + 'static,
    ) -> Group {
        let (orders, heard) = channel();
        let remark = Arc::new(Mutex::new(None));
        let (group, said) = (name.to_owned(), remark.clone());
        let work = move || match make() {
            Ok(consumer) => Teller::new(consumer, group, brokers, heard, said).run(),
            Err(failure) => say(&said, &group, &failure.message),
        };
        let thread = thread::Builder::new().name("eagre:kafka-group".into());
        thread.spawn(work).expect("a thread can be started");
        Group { orders, remark }
    }

    /// Shows where partitions would be read next. Never waits.
    pub fn show(&self, places: Places) {
        // A client that could not be made has said so.
        let _ = self.orders.send(Order::Show(places));
    }

    /// Waits until everything is shown that can be, but no longer than this.
    pub fn settle(&self, within: Duration) {
        let (done, settled) = channel();
        if self.orders.send(Order::Settle(done)).is_ok() {
            // It is let go of, not sent to; and where it takes too long, nothing hangs on it.
            let _ = settled.recv_timeout(within);
        }
    }

    /// Why it could not be shown the last time.
    pub fn remark(&self) -> Option<String> {
        self.remark.lock().expect("nobody panics while saying what is wrong").clone()
    }
}

fn say(remark: &Mutex<Option<String>>, group: &str, reason: &str) {
    let text = format!("the consumer group `{group}` does not show how far checkpoints are: {reason}");
    *remark.lock().expect("nobody panics while saying what is wrong") = Some(text);
}

/// How long a thread with nothing to do sleeps, and one that waits for an answer.
const IDLE: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_millis(10);

/// Brokers forget what a group was told long ago (`offsets.retention.minutes`): all is told again that often.
const AGAIN: EventTime = 3_600_000_000;

/// What speaks to the group.
struct Teller {
    consumer: BaseConsumer<Watch>,
    group: String,
    brokers: Names,
    orders: Receiver<Order>,
    remark: Arc<Mutex<Option<String>>>,
    /// What is to be committed, what is being, and what was.
    wanted: Places,
    under_way: Option<Places>,
    shown: Places,
    shown_since: EventTime,
    settling: Vec<Sender<()>>,
    /// What the client said last beside its answers.
    error: Option<String>,
}

impl Teller {
    fn new(
        consumer: BaseConsumer<Watch>,
        group: String,
        brokers: Names,
        orders: Receiver<Order>,
        remark: Arc<Mutex<Option<String>>>,
    ) -> Teller {
        let (wanted, shown, under_way, settling) = Default::default();
        let shown_since = kafka_client::now();
        Teller {
            consumer,
            group,
            brokers,
            orders,
            remark,
            wanted,
            under_way,
            shown,
            shown_since,
            settling,
            error: None,
        }
    }

    /// Works until nobody orders anything any more.
    fn run(mut self) {
        while self.hear() {
            self.commit();
            self.poll();
        }
    }

    /// Takes what was ordered; says whether there is still something to do, or may be.
    fn hear(&mut self) -> bool {
        let mut wait = if self.under_way.is_some() { Duration::ZERO } else { IDLE };
        loop {
            match self.orders.recv_timeout(wait) {
                Ok(Order::Show(places)) => self.wanted.extend(places),
                Ok(Order::Settle(done)) => self.settling.push(done),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return self.under_way.is_some(),
            }
            wait = Duration::ZERO;
        }
    }

    /// Begins to commit what is new, unless something is being committed: what comes meanwhile goes together.
    fn commit(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        if kafka_client::now() - self.shown_since > AGAIN {
            (self.shown, self.shown_since) = (Places::new(), kafka_client::now());
        }
        let mut news = mem::take(&mut self.wanted);
        news.retain(|partition, position| self.shown.get(partition) != Some(position));
        if news.is_empty() {
            return self.settling.clear();
        }
        let mut list = TopicPartitionList::new();
        for ((topic, number), position) in &news {
            list.add_partition_offset(topic, *number, Offset::Offset(*position)).expect("positions are not negative");
        }
        match queue::commit(&self.consumer, &list) {
            Ok(()) => self.under_way = Some(news),
            Err(error) => say(&self.remark, &self.group, &error.to_string()),
        }
    }

    /// Serves the client, and hears what came of a commit.
    fn poll(&mut self) {
        let wait = if self.under_way.is_some() { ANSWER } else { Duration::ZERO };
        if let Some(Err(error)) = self.consumer.poll(wait) {
            self.error = Some(error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()));
        }
        kafka_client::readmit(self.consumer.client(), self.consumer.context(), &self.brokers);
        let Some(answer) = self.consumer.context().take_commit() else { return };
        let news = self.under_way.take().unwrap_or_default();
        let error = self.error.take();
        match answer {
            Ok(()) => {
                self.shown.extend(news);
                *self.remark.lock().expect("nobody panics while saying what is wrong") = None;
            }
            // That there is no coordinator says less than why there is none.
            Err(reason) => say(&self.remark, &self.group, &error.unwrap_or(reason)),
        }
    }
}
