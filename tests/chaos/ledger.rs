//! The ledger: what is in the topics against what must be there. [`prove`] shows, before anything is believed, that it
//! sees each kind of fault.

use crate::cluster::{PATIENCE, Topic, client};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const EXAMPLES_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rows that are there.
    pub rows: u64,
    /// Rows that ought to be there and are not.
    pub lost: u64,
    /// Rows that are there once more than they ought to be.
    pub doubled: u64,
    /// Counts that do not follow the one before them.
    pub gaps: u64,
    /// Rows that nobody expected, and keys whose rows are not in order.
    pub wrong: u64,
    /// Some of them, in words.
    pub examples: Vec<String>,
}

impl Findings {
    /// Whether everything is as it ought to be.
    pub fn is_clean(&self) -> bool {
        [self.lost, self.doubled, self.gaps, self.wrong] == [0; 4]
    }

    /// Takes over what was found elsewhere.
    pub fn add(&mut self, other: Findings) {
        self.rows += other.rows;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.gaps += other.gaps;
        self.wrong += other.wrong;
        self.examples.extend(other.examples);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

/// The rows of a topic in the order of each partition, by partition and key. A row is its timestamp and payload.
pub type Rows = BTreeMap<(i32, String), Vec<String>>;

/// A consumer of all partitions of a topic from their beginning, which sees only what was committed.
pub fn committed(brokers: &str, topic: &Topic) -> BaseConsumer {
    let mut config = client(brokers);
    config.set("group.id", "ledger").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create().unwrap();
    let mut list = TopicPartitionList::new();
    for number in topic.numbers(&consumer) {
        list.add_partition_offset(&topic.name, number, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// Everything that was committed to a topic.
pub fn read(brokers: &str, topic: &Topic) -> Rows {
    let consumer = committed(brokers, topic);
    let (mut rows, mut open, begun) = (Rows::new(), topic.numbers(&consumer).len(), Instant::now());
    while open > 0 {
        assert!(begun.elapsed() < PATIENCE, "topic {} cannot be read to its end", topic.name);
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let time = message.timestamp().to_millis().unwrap_or_default();
                let row = format!("{time} {}", text(message.payload()));
                rows.entry((message.partition(), text(message.key()))).or_default().push(row);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("topic {}: {error}", topic.name),
            None => {}
        }
    }
    rows
}

/// Key, number and count of a row of the counter.
pub fn counted(row: &str) -> (u64, i64) {
    let object: serde_json::Value = serde_json::from_str(row.split_once(' ').map_or(row, |(_, json)| json)).unwrap();
    (object["id"].as_u64().unwrap(), object["count"].as_i64().unwrap())
}

/// Holds the counter's rows against the records of each key in their order: each has its count, once, in order.
pub fn check_counts(rows: &Rows, expected: &BTreeMap<String, Vec<u64>>) -> Findings {
    let mut found = Findings::default();
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for ((_, key), rows) in rows {
        let (due, mut before) = (expected.get(key).map_or(&[][..], Vec::as_slice), 0);
        for row in rows {
            let (id, count) = counted(row);
            found.rows += 1;
            *seen.entry(id).or_default() += 1;
            if count != before + 1 {
                found.gaps += 1;
                found.note(|| format!("key {key}: count {count} (record {id}) follows count {before}"));
            }
            if usize::try_from(count - 1).ok().and_then(|n| due.get(n)) != Some(&id) {
                found.wrong += 1;
                found.note(|| format!("key {key}: record {id} does not have count {count}"));
            }
            before = count;
        }
    }
    found.doubled = seen.values().map(|times| times - 1).sum();
    for (key, id) in expected.iter().flat_map(|(key, ids)| ids.iter().map(move |id| (key, id))) {
        if !seen.contains_key(id) {
            found.lost += 1;
            found.note(|| format!("key {key}: record {id} was never counted"));
        }
    }
    found
}

/// Holds rows against those of a run that nobody disturbed: the same bytes, in the same order for each key.
pub fn compare(what: &str, rows: &Rows, calm: &Rows) -> Findings {
    let mut found = Findings { rows: rows.values().map(|rows| rows.len() as u64).sum(), ..Findings::default() };
    let nothing = Vec::new();
    let keys: std::collections::BTreeSet<_> = rows.keys().chain(calm.keys()).collect();
    for place in keys {
        let (here, there) = (rows.get(place).unwrap_or(&nothing), calm.get(place).unwrap_or(&nothing));
        if here == there {
            continue;
        }
        let before = (found.lost, found.doubled, found.wrong);
        let mut times: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        here.iter().for_each(|row| times.entry(row).or_default().0 += 1);
        there.iter().for_each(|row| times.entry(row).or_default().1 += 1);
        for (row, (is, due)) in times.into_iter().filter(|(_, (is, due))| is != due) {
            match due {
                0 => found.wrong += is as u64,
                _ if is > due => found.doubled += (is - due) as u64,
                _ => found.lost += (due - is) as u64,
            }
            found.note(|| format!("{what}, key {}: {is} times instead of {due}: {row}", place.1));
        }
        if before == (found.lost, found.doubled, found.wrong) {
            found.wrong += 1;
            found.note(|| format!("{what}, key {}: its rows are out of order", place.1));
        }
    }
    found
}

/// The lines of all dead-letter files under a folder, by file; sorted, since their order is not promised.
pub fn letters(folder: &Path) -> Rows {
    let mut rows = Rows::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        rows.insert((0, path.file_name().unwrap().to_string_lossy().into_owned()), lines);
    }
    rows
}

/// Shows that each fault is seen: rows as they must be, then each in turn with one thing wrong.
pub fn prove() {
    let expected = BTreeMap::from([("a".to_owned(), vec![7, 5, 9])]);
    let row = |id: u64, count: i64| format!("0 {{\"id\":{id},\"count\":{count}}}");
    let rows_of = |rows: &[(u64, i64)]| {
        let rows = rows.iter().map(|(id, count)| row(*id, *count)).collect();
        Rows::from([((0, "a".to_owned()), rows)])
    };
    let good = rows_of(&[(7, 1), (5, 2), (9, 3)]);
    let check = |rows: &[(u64, i64)], counts: [u64; 4], compared: [u64; 3]| {
        let found = check_counts(&rows_of(rows), &expected);
        assert_eq!([found.lost, found.doubled, found.gaps, found.wrong], counts, "{rows:?}: {found:?}");
        let found = compare("rows", &rows_of(rows), &good);
        assert_eq!([found.lost, found.doubled, found.wrong], compared, "{rows:?}: {found:?}");
    };
    check(&[(7, 1), (5, 2), (9, 3)], [0, 0, 0, 0], [0, 0, 0]);
    check(&[(7, 1), (5, 2)], [1, 0, 0, 0], [1, 0, 0]);
    check(&[(7, 1), (9, 3)], [1, 0, 1, 0], [1, 0, 0]);
    check(&[(7, 1), (5, 2), (5, 2), (9, 3)], [0, 1, 1, 0], [0, 1, 0]);
    check(&[(7, 1), (5, 2), (7, 1), (5, 2), (9, 3)], [0, 2, 1, 0], [0, 2, 0]);
    check(&[(7, 1), (5, 2), (9, 1)], [0, 0, 1, 1], [1, 0, 1]);
    check(&[(7, 1), (9, 3), (5, 2)], [0, 0, 2, 0], [0, 0, 1]);
    check(&[(7, 1), (5, 2), (9, 3), (4, 4)], [0, 0, 0, 1], [0, 0, 1]);
    check(&[], [3, 0, 0, 0], [3, 0, 0]);
}
