//! Follows the topic of counts as it grows: how far the job is, as a consumer of committed rows sees it.

use crate::cluster::Topic;
use crate::ledger;
use eagre::kafka_client::{Names, add_brokers};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The thread that follows.
pub struct Tail {
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    rows: AtomicU64,
    distinct: AtomicU64,
    enough: AtomicBool,
}

impl Tail {
    /// Begins to follow a topic from its beginning.
    pub fn start(brokers: &str, topic: &Topic) -> Tail {
        let (seen, consumer) = (Arc::<Seen>::default(), ledger::committed(brokers, topic));
        let (shared, names) = (seen.clone(), Names(vec![brokers.to_owned()]));
        let work = move || follow(&consumer, &names, &shared);
        thread::Builder::new().name("tail".into()).spawn(work).unwrap();
        Tail { seen }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.seen.rows.load(Ordering::Relaxed)
    }

    /// Records so far that have at least one row.
    pub fn distinct(&self) -> u64 {
        self.seen.distinct.load(Ordering::Relaxed)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.seen.enough.store(true, Ordering::Relaxed);
    }
}

fn follow(consumer: &BaseConsumer, brokers: &Names, seen: &Seen) {
    let (mut ids, mut told) = (Vec::new(), Instant::now());
    while !seen.enough.load(Ordering::Relaxed) {
        // An error says that the broker is away, which is known.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
            let row = String::from_utf8_lossy(message.payload().unwrap_or_default());
            let id = ledger::counted(&row).0 as usize;
            ids.resize(ids.len().max(id + 1), false);
            let is_new = !std::mem::replace(&mut ids[id], true);
            seen.distinct.fetch_add(u64::from(is_new), Ordering::Relaxed);
            seen.rows.fetch_add(1, Ordering::Relaxed);
        }
        if told.elapsed() > Duration::from_secs(1) {
            add_brokers(consumer.client(), brokers);
            told = Instant::now();
        }
    }
}
