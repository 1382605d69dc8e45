//! The contract of a sink: where results go.
//!
//! A writer runs on a thread of its own, never on a worker. What it was given and has not flushed may be lost with the
//! process; what it flushed is kept.

use crate::batch::Batch;
use crate::fault::{Failure, Fault};
use crate::origin::Origins;
use crate::schema::Schema;
use crate::source::Resource;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::sync::Arc;

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

    /// Opens a writer.
    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure>;
}

/// What a writer is opened with.
#[derive(Clone)]
pub struct Opening<'a> {
    /// The sink's name in the job.
    pub name: &'a str,
    /// The fields of the batches that will come.
    pub input: &'a Schema,
    /// Which writer of how many.
    pub shard: (usize, usize),
    /// The names of origins.
    pub origins: &'a Origins,
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

/// Says what is wrong with the outside world just now: from any thread, also while the writer waits.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// An open shard of a sink.
///
/// 1. `write` may wait: the engine then stops reading (back-pressure), it does not fill memory.
/// 2. After `flush` returns, everything written before is where it belongs; unless `flushing` says that this is still
///    to come, which the engine then asks again and again, and writes on meanwhile.
/// 3. `finish` is called once, at the end of the job, instead of a last `flush`.
pub trait Writer: Send {
    /// Takes a batch.
    fn write(&mut self, batch: &Batch) -> Result<(), Failure>;

    /// Makes everything written so far visible.
    fn flush(&mut self) -> Result<(), Failure>;

    /// How many of the flushes that were begun are still under way, the newest ones: 0 where `flush` waits by itself. A
    /// writer that sends to others says it here, so that what comes next does not wait for their answer.
    fn flushing(&mut self) -> Result<usize, Failure> {
        Ok(0)
    }

    /// Flushes and closes; waits until that is done.
    fn finish(&mut self) -> Result<(), Failure> {
        self.flush()
    }

    /// What says what is wrong with the outside world, for people; asked for once, before anything is written.
    fn trouble(&self) -> Option<Trouble> {
        None
    }
}
