//! The contract of a source: what it offers when the job is planned, and how its partitions are read when it runs.
//!
//! ```text
//! Source (configuration) --plan--> the fields it offers
//!                        --open--> Feed --open(partition, position)--> Reader --read--> Frames or Rows
//! ```
//! A source never sees epochs, watermarks, workers or capabilities: the engine's intake reads, decodes, stamps and
//! sends on. **A partition is what the log says it is** (a Kafka partition, a whole file), whatever the number of
//! workers.

use crate::fault::{Failure, Fault};
use crate::formats::{Bad, Decoder, Frames, MakeDecoder, Rows};
use crate::schema::Schema;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Where a partition is to be read next: an offset, a byte, a row number.
pub type Position = i64;

/// What a source reads or a sink writes, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A file, by its path. A source's may be a pattern (`*`, `?`, `[a-z]`, `**`); in a sink's {name} stands for the
    /// sink's name and {part} for a number.
    File(String),
    /// Standard input, which a process shares with nobody.
    StandardInput,
    /// A topic, and where its cluster is found.
    Topic {
        /// The addresses of some brokers.
        brokers: Vec<String>,
        /// The topic's name.
        topic: String,
    },
}

/// The configuration of a kind of source; it is what a job file says under `[source.NAME]`.
pub trait Source: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The word in `kind = "..."`.
    const NAME: &'static str;

    /// Checks the configuration and says which fields the source offers. Reads no data; may look at the schema of a
    /// file. Every fault is reported, `None` only when there was one.
    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema>;

    /// The files and topics that it reads: no sink of the job may write them.
    fn reads(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// Connects. `wanted` are those of the offered fields that the job uses: nothing else has to be decoded.
    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure>;
}

/// A source that is open.
///
/// 1. **Partitions** are given in a fixed order and only ever added to.
/// 2. **Reading a partition again** from a position gives the same records with the same sequences.
/// 3. **Sequences** rise strictly within a partition.
pub trait Feed: Send + Sync {
    /// The partitions there are now, by name (`topic[3]`, a path). Called again from time to time; an error ends the
    /// job, so what may pass by itself (brokers that do not answer) is trouble and no error once there are partitions.
    fn partitions(&self) -> Result<Vec<String>, Failure>;

    /// Hears, before anything else is asked, that the job goes on, and from which partitions it has been read: one of
    /// the same topic that has come since is read from its beginning, wherever the configuration starts.
    fn goes_on(&self, _before: &[String]) {}

    /// Opens a partition after what was read before (`None`: from where the configuration says). `wake` may be called
    /// from any thread when there is something to read after an [`Read::Idle`].
    fn open(&self, partition: &str, from: Option<Position>, wake: Wake) -> Result<Box<dyn Reader>, Failure>;

    /// How [`Frames`] are decoded; `None` for a feed that only gives [`Rows`].
    fn decoder(&self) -> Option<MakeDecoder>;

    /// Whether new partitions may appear, and how often to look for them.
    fn discovers(&self) -> Option<Duration> {
        None
    }

    /// How much there is to read in all (bytes, or records where bytes are not known), for a progress bar; `None` when
    /// unbounded.
    fn total(&self) -> Option<u64> {
        None
    }

    /// Whether every partition ends by itself: then none is ever taken to be silent.
    fn is_bounded(&self) -> bool {
        self.total().is_some()
    }

    /// Whether it makes event times up: then none is ever too far in the future, whatever the day.
    fn invents_time(&self) -> bool {
        false
    }

    /// What is wrong with the outside world just now ("broker 10.0.0.1:9092 is away since 12:00:03, retrying"), for the
    /// live table. Empty when all is well.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Whether in spite of the trouble some of it answers: then that nothing comes may be because nothing is there.
    fn answers_in_part(&self) -> bool {
        false
    }

    /// Hears that a checkpoint of a job is there for good, and where each of these partitions would be read next from
    /// it. That may be shown to people elsewhere; nothing may hang on it. Called on a worker: it never waits.
    fn kept(&self, _job: &str, _positions: &[(String, Position)]) {}

    /// Waits until that has been shown, but no longer than this. Called when the job has ended.
    fn settle(&self, _within: Duration) {}

    /// What could not be shown, and why: it keeps nothing from being read.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// Reading that any thread may do, and decoding with it: bytes are decoded where they were read, while the processor
/// has them at hand. What comes of it is put back in its order.
///
/// It gives rows as it has them. The error says why the partition cannot be read on: it ends there, and nothing that
/// was read behind it is taken.
pub type Errand = Box<dyn FnOnce(&mut Bench, &mut dyn FnMut(Rows)) -> Result<(), Bad> + Send>;

/// What a thread that decodes has at hand.
#[derive(Default)]
pub struct Bench {
    /// Decodes frames of the feed that the errand is of; `None` where it has no decoder.
    pub decoder: Option<Box<dyn Decoder>>,
    /// A buffer, to be used again and again.
    pub bytes: Vec<u8>,
}

/// Wakes the thread that reads.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// An open partition.
pub trait Reader: Send {
    /// Gives some records (about `limit`, at least one) or says that there are none now. Never waits longer than a read
    /// from a local disk does.
    fn read(&mut self, limit: usize) -> Result<Read, Failure>;

    /// Where the partition would be read next: behind everything given so far.
    fn position(&self) -> Position;

    /// How many records (about) the partition holds that have not been given: the consumer lag.
    fn behind(&self) -> Option<u64> {
        None
    }

    /// Whether what it reads from answers: while it does not, [`Read::Idle`] does not mean that the partition is
    /// silent, and the others go on waiting for it.
    fn is_connected(&self) -> bool {
        true
    }

    /// Hears before each read whether those who decode have enough to do: then what is read next waits in memory until
    /// its turn comes, and should be little.
    fn hear(&mut self, _enough_to_do: bool) {}

    /// Hears that an errand could not be done. The partition has ended, and is not read again.
    fn end(&mut self) {}

    /// How much has been read, in the unit of [`Feed::total`].
    fn progress(&self) -> u64 {
        0
    }
}

/// What a read gave.
pub enum Read {
    /// Records to decode.
    Frames(Frames),
    /// Records that are columns already.
    Rows(Rows),
    /// Records that are still to be read.
    Errand(Errand),
    /// Nothing now. All there is has been read; look again when woken, or after this long.
    Idle(Duration),
    /// Nothing more, ever.
    End,
}
