//! The input: messages that a seed and a number fix, sent at an even pace while the job is disturbed.
//!
//! Records of 16 busy keys and 2,000 rare ones (so that a checkpoint finds most key groups unchanged), in every
//! partition, up to 800 ms out of order. One in 200 is too late by far; one in 500 is no JSON. No two have the same
//! time, so which record of a key is its n-th is known by sorting. What closes the input lies minutes ahead in every
//! partition: all before it is then to come out, and nothing of itself.

use crate::cluster::{Sender, Topic};
use eagre::stats::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Of the topic that the job reads.
pub const PARTITIONS: i32 = 4;

/// Event time between two messages, whatever their pace by the clock.
const STEP_MS: i64 = 2;
const DISORDER_MS: u64 = 800;
const LATE_MS: i64 = 3_000;
const CLOSE_MS: i64 = 600_000;

/// The messages of a seed, in the order in which they are sent.
#[derive(Clone)]
pub struct Input {
    random: Random,
    base_ms: i64,
    next: u64,
}

/// A message.
pub struct Item {
    /// Where it is sent to.
    pub partition: i32,
    /// What it says.
    pub payload: String,
    /// What a counter is to make of it: its key and time; none where it is late or no record at all.
    pub counts: Option<(String, i64)>,
    /// Its number.
    pub id: u64,
}

impl Input {
    /// The messages from the first; the first happened at `base_ms`, in milliseconds since 1970.
    pub fn new(seed: u64, base_ms: i64) -> Input {
        Input { random: Random::new(seed).split(1), base_ms, next: 0 }
    }

    /// For each key, the numbers of its records in the order of their times: the n-th is the one with count n.
    pub fn expected(self, total: u64) -> BTreeMap<String, Vec<u64>> {
        let mut keys: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
        for item in self.take(total as usize) {
            let Some((key, time)) = item.counts else { continue };
            keys.entry(key).or_default().push((time, item.id));
        }
        let sorted = |mut records: Vec<(i64, u64)>| {
            records.sort_unstable();
            records.into_iter().map(|(_, id)| id).collect()
        };
        keys.into_iter().map(|(key, records)| (key, sorted(records))).collect()
    }

    /// What closes the input, a message for each partition.
    fn close(&self) -> impl Iterator<Item = (i32, String)> {
        let last_us = (self.base_ms + self.next as i64 * STEP_MS + CLOSE_MS) * 1_000;
        (0..PARTITIONS).map(move |p| (p, record(last_us + i64::from(p), "close", 0.0, 0)))
    }
}

impl Iterator for Input {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let (id, random) = (self.next, &mut self.random);
        self.next += 1;
        let partition = random.pick(PARTITIONS as u64) as i32;
        if random.pick(500) == 0 {
            return Some(Item { partition, payload: format!("not JSON: {id}"), counts: None, id });
        }
        let key = match random.pick(10) {
            0 => format!("rare-{:04}", random.pick(2_000)),
            _ => format!("busy-{:02}", random.pick(16)),
        };
        // A partition's first records are late for nobody.
        let late = random.pick(200) == 0 && id >= 1_000;
        let behind_ms = if late { LATE_MS } else { random.pick(DISORDER_MS) as i64 };
        // Two records whose milliseconds agree lie less than 1,500 apart, and not 1,000: they differ in microseconds.
        let time = (self.base_ms + id as i64 * STEP_MS - behind_ms) * 1_000 + (id % 1_000) as i64;
        let value = 20.0 + random.normal() + if random.pick(300) == 0 { 30.0 } else { 0.0 };
        let payload = record(time, &key, value, id);
        Some(Item { partition, payload, counts: (!late).then_some((key, time)), id })
    }
}

fn record(time: i64, key: &str, value: f64, id: u64) -> String {
    format!("{{\"ts\":{time},\"sensor\":\"{key}\",\"value\":{value},\"id\":{id}}}")
}

/// The thread that sends.
pub struct Feed {
    thread: Option<JoinHandle<u64>>,
    enough: Arc<AtomicBool>,
}

impl Feed {
    /// Begins to send so many messages a second.
    pub fn start(input: Input, brokers: &str, topic: Arc<Topic>, per_second: u64) -> Feed {
        let enough = Arc::<AtomicBool>::default();
        let (brokers, ends) = (brokers.to_owned(), enough.clone());
        let send = move || send_all(input, &Sender::new(&brokers), &topic, per_second, &ends);
        let thread = thread::Builder::new().name("feed".into()).spawn(send).unwrap();
        Feed { thread: Some(thread), enough }
    }

    /// Closes the input; says how many messages it has, without those that close it.
    pub fn finish(mut self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

fn send_all(mut input: Input, sender: &Sender, topic: &Topic, per_second: u64, enough: &AtomicBool) -> u64 {
    let begun = Instant::now();
    while !enough.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
        let now = due.saturating_sub(input.next) as usize;
        for item in input.by_ref().take(now) {
            sender.send(topic, item.partition, Some(item.payload.as_bytes()));
        }
        sender.poll();
        thread::sleep(Duration::from_millis(5));
    }
    input.close().for_each(|(partition, payload)| sender.send(topic, partition, Some(payload.as_bytes())));
    sender.flush();
    input.next
}
