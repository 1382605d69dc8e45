//! The contract of a sink: where results go.
//!
//! A writer runs on a thread of its own, never on a worker. What it was given and has not flushed may be lost with the
//! process; what it flushed is kept, once that flush is no longer under way.

use crate::batch::Batch;
use crate::fault::{Failure, Fault};
use crate::origin::Origins;
use crate::schema::Schema;
use crate::source::Resource;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The configuration of a kind of sink; it is what a job file says under `[sink.NAME]`.
pub trait Sink: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The word in `kind = "..."`.
    const NAME: &'static str;

    /// Checks the configuration against the fields it will be given. Every fault is reported.
    fn plan(&self, input: &Schema, faults: &mut Vec<Fault>);

    /// The file or topic that it writes: no source may read it, and no other sink write the same file.
    fn writes(&self) -> Option<Resource> {
        None
    }

    /// How many writers there are.
    fn shards(&self) -> Shards;

    /// Whether its writers can deliver exactly once: whether [`Writer::seal`], [`Writer::publish`] and
    /// [`Writer::recover`] do what they say.
    fn delivers_exactly_once(&self) -> bool {
        false
    }

    /// Opens a writer.
    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure>;
}

/// What a writer is opened with.
#[derive(Clone)]
pub struct Opening<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The sink's name in the job.
    pub name: &'a str,
    /// The fields of the batches that will come.
    pub input: &'a Schema,
    /// Which writer of how many. With [`Delivery::ExactlyOnce`] how many there are never changes in the life of a job's
    /// checkpoints, whatever the number of workers.
    pub shard: (usize, usize),
    /// What is promised of rows.
    pub delivery: Delivery,
    /// Whether the job goes on from a checkpoint: what an earlier run left is then kept.
    pub resumes: bool,
    /// The names of origins.
    pub origins: &'a Origins,
}

/// What is promised of the rows that a sink is given, when the job dies and goes on from its newest checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// None is lost; rows that were written after the checkpoint are written again. They are seen at once.
    #[default]
    AtLeastOnce,
    /// None is lost and none is seen twice. They are seen when the checkpoint is there that they belong to.
    ExactlyOnce,
}

impl Delivery {
    /// The word in `delivery = "..."`.
    pub fn name(self) -> &'static str {
        match self {
            Delivery::AtLeastOnce => "at_least_once",
            Delivery::ExactlyOnce => "exactly_once",
        }
    }
}

/// How many writers a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// One, on the first worker, which is given rows as they come: a terminal.
    One,
    /// One, on the first worker, which is given rows in canonical order once the watermark has passed them, so that it
    /// writes the same bytes in every run: a file. A sink that takes what a source rejects is given all as it comes.
    InOrder,
    /// One on every worker: a topic.
    PerWorker,
}

/// A number of bytes, as `"100MB"` or `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Size(u64);

impl Size {
    /// Reads `"500KB"`, `"1.5 MiB"`; the error says what would be right.
    pub fn parse(text: &str) -> Result<Size, String> {
        Size::try_from(text.to_owned())
    }

    /// The number.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Size, String> {
        let wrong = || format!("`{text}` is not a size; write for example \"500KB\", \"100MB\" or \"1GiB\"");
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let unit = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[at..])).ok_or_else(wrong)?.1;
        let bytes = text[..at].trim().parse::<f64>().map_err(|_| wrong())? * unit;
        if (1.0..1e18).contains(&bytes) { Ok(Size(bytes as u64)) } else { Err(wrong()) }
    }
}

const SIZES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

/// Says what is wrong with the outside world just now: from any thread, also while the writer waits.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// An open shard of a sink.
///
/// 1. `write` may wait: the engine then stops reading (back-pressure), it does not fill memory.
/// 2. After `flush` returns, everything written before is where it belongs; unless `flushing` says that this is still
///    to come, which the engine then asks again and again, and writes on meanwhile.
/// 3. `finish` is called once, at the end of the job, instead of a last `flush`. Neither it nor `seal` returns before
///    all flushes have come to their end.
///
/// **With checkpoints** the engine also calls, in this order and for one checkpoint after the other:
///
/// ```text
/// recover(id, outbox)?   write* seal(id)   write* publish(id)   write* seal(id+)   write* publish(id+) ...   finish
/// ```
/// What is written between `seal(5)` and `seal(6)` belongs to checkpoint 6; `publish(5)` comes before `seal(6)`.
/// Numbers of checkpoints rise and have gaps. A writer that delivers at least once needs none of this: what it is given
/// is flushed before a checkpoint is made.
///
/// **A writer that delivers exactly once** shows nothing of what it was given (or shows what will be written again, the
/// same, byte for byte) before `publish`. `flush` is then no more than a hint that an epoch has ended.
pub trait Writer: Send {
    /// Takes a batch.
    fn write(&mut self, batch: &Batch) -> Result<(), Failure>;

    /// Makes everything written so far visible, or begins to.
    fn flush(&mut self) -> Result<(), Failure>;

    /// How many of the flushes that were begun are still under way, the newest ones: 0 where `flush` waits by itself. A
    /// writer that sends to others says it here, so that what comes next does not wait for their answer.
    fn flushing(&mut self) -> Result<usize, Failure> {
        Ok(0)
    }

    /// Flushes, and waits until no flush is under way.
    fn settle(&mut self) -> Result<(), Failure> {
        self.flush()?;
        let mut nap = Duration::from_micros(100);
        while self.flushing()? > 0 {
            thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Says that everything written so far belongs to checkpoint `id` or one before, and gives the *outbox*, which the
    /// checkpoint keeps: all that [`Writer::recover`] needs to publish it, should the process die. What is not in the
    /// outbox must be durable when this returns.
    fn seal(&mut self, _id: u64) -> Result<Vec<u8>, Failure> {
        self.settle()?;
        Ok(Vec::new())
    }

    /// Hears that checkpoint `id`, with what `seal(id)` gave, is there for good: what belongs to it is to be seen. When
    /// this returns, it is, durably.
    fn publish(&mut self, _id: u64) -> Result<(), Failure> {
        Ok(())
    }

    /// Is told, first of all, that the job goes on from checkpoint `id`, and the outbox that it has of this shard:
    /// publishes that, unless it has been published, and takes back what was written after it.
    fn recover(&mut self, _id: u64, _outbox: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    /// How many bytes it holds in memory that wait for the next checkpoint.
    fn staged(&self) -> usize {
        0
    }

    /// From so many bytes that wait a checkpoint is to be made at once, whenever the next one would be due: what waits
    /// is bounded then, and no row waits for long.
    fn staged_max(&self) -> usize {
        usize::MAX
    }

    /// Settles and closes. What was written after the last `seal` need not be seen: the job makes it again when it goes
    /// on.
    fn finish(&mut self) -> Result<(), Failure> {
        self.settle()
    }

    /// What says what is wrong with the outside world, for people; asked for once, before anything is written.
    fn trouble(&self) -> Option<Trouble> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(Size::try_from(text.to_owned()).ok().map(Size::bytes), expected, "{text}");
        };
        check("1.5 MiB", Some(1_572_864));
        check("100MB", Some(100_000_000));
        check("3b", Some(3));
        ["10", "-1MB", "", "MB", "1 XB", "0.1B"].into_iter().for_each(|text| check(text, None));
    }
}
