//! What a checkpoint says: how far the sources were read, where time stood, and in which files the state of each step
//! lies.
//!
//! On disk it is one line of JSON, so that people can read it: `{"crc32c":"9a3c01ff","manifest":{...}}`. The checksum
//! is of the bytes of the inner object as they stand there.

use crate::fault::Failure;
use crate::origin::Origin;
use crate::source::Position;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of this format. No other is read: the first did not say which log a partition is.
pub const FORMAT: u32 = 2;

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Its number; later ones are higher. Numbers have gaps where an attempt failed.
    pub id: u64,
    /// The version of Eagre that wrote it.
    pub version: String,
    /// The job's name.
    pub job: String,
    /// When it was begun, in microseconds since 1970 by the clock; for people.
    pub begun_at: i64,
    /// How long it took until the last part was durable, in microseconds.
    pub took: i64,
    /// How many workers wrote it, over all processes.
    pub workers: usize,
    /// The partitions of all sources; a partition's index is its origin, so that numbers stay what they were.
    pub partitions: Vec<Partition>,
    /// The steps, in the order of the plan.
    pub steps: Vec<Step>,
    /// The names of the steps by the number that rows of theirs carry: also of those that are gone, so that numbers
    /// stay what they were and none is given twice.
    pub numbered: Vec<String>,
    /// The sinks that keep something back until the checkpoint is there.
    pub sinks: Vec<Sink>,
}

/// How far a partition was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// The source's name in the job.
    pub source: String,
    /// The partition's name in the job, for people: `readings[3]`.
    pub name: String,
    /// The log that it is, by which it is found again: `topic[3]`, or a path.
    pub log: String,
    /// Where to go on reading; `None` when nothing of it was read.
    pub position: Option<Position>,
    /// The sequence of the last record that was taken: what is read again up to it is left out.
    pub sequence: Option<i64>,
    /// Its watermark.
    pub watermark: EventTime,
    /// Its newest event time.
    pub newest: EventTime,
    /// Whether it was silent for so long that it held nobody back.
    pub idle: bool,
    /// Whether it had come to its end.
    pub ended: bool,
}

/// The state of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the job.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What its configuration, inputs and key come to; state fits a step of the same fingerprint.
    pub fingerprint: String,
    /// The version of the format of its state.
    pub state_version: u32,
    /// The watermark that was last applied.
    pub watermark: EventTime,
    /// The watermark of each partition upstream.
    pub partitions: Vec<(Origin, EventTime)>,
    /// The files with its key groups, oldest first: what a later one says of a group is what counts.
    pub parts: Vec<FileRef>,
    /// The rows that wait to be put in order.
    pub waiting: Vec<Waiting>,
}

/// Rows that wait to be put in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The input of the step that they came by.
    pub input: usize,
    /// The file that they are in.
    pub file: FileRef,
}

/// What a sink kept back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// Its name in the job.
    pub name: String,
    /// What it promises of rows.
    pub delivery: String,
    /// How many shards it has.
    pub shards: usize,
    /// For each shard, the file with what is to be published once the checkpoint is there; none where there is nothing.
    pub outbox: Vec<Option<FileRef>>,
    /// For each shard, the number of the checkpoint that it was sealed for: this one, or one before that never came to
    /// be.
    pub sealed: Vec<u64>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its name in the storage.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// The CRC-32C of its bytes, in hexadecimal.
    pub crc32c: String,
}

impl FileRef {
    /// The reference to a file with these bytes.
    pub fn of(name: String, bytes: &[u8]) -> FileRef {
        FileRef { name, bytes: bytes.len() as u64, crc32c: checksum(bytes) }
    }

    /// What is wrong with these bytes for this reference.
    pub fn fault(&self, bytes: &[u8]) -> Option<String> {
        if bytes.len() as u64 != self.bytes {
            return Some(format!("{} has {} bytes and should have {}", self.name, bytes.len(), self.bytes));
        }
        let found = checksum(bytes);
        (found != self.crc32c)
            .then(|| format!("{} has the checksum {found} and should have {}", self.name, self.crc32c))
    }
}

impl Manifest {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let steps = self.steps.iter().flat_map(|step| step.parts.iter().chain(step.waiting.iter().map(|w| &w.file)));
        steps.chain(self.sinks.iter().flat_map(|sink| sink.outbox.iter().flatten()))
    }

    /// The manifest as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let inner = serde_json::to_string(self).expect("a manifest can be written");
        format!("{{\"crc32c\":\"{}\",\"manifest\":{inner}}}\n", checksum(inner.as_bytes())).into_bytes()
    }

    /// Reads a manifest as it was stored. The failure says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, Failure> {
        let stored: Stored<'_> = serde_json::from_slice(bytes)
            .map_err(|error| Failure::new(format!("it is no manifest, or was cut off: {error}")))?;
        let found = checksum(stored.manifest.get().as_bytes());
        if found != stored.crc32c {
            return Err(Failure::new(format!("it has the checksum {found} and should have {}", stored.crc32c)));
        }
        let format: Format = serde_json::from_str(stored.manifest.get()).map_err(unreadable)?;
        if format.format != FORMAT {
            return Err(Failure::new(format!(
                "it has format {} and this program knows {FORMAT}; version {} of Eagre wrote it",
                format.format, format.version
            )));
        }
        serde_json::from_str(stored.manifest.get()).map_err(unreadable)
    }
}

#[derive(Deserialize)]
struct Stored<'a> {
    crc32c: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
    version: String,
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::new(format!("its checksum is right but it cannot be read: {error}"))
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

#[cfg(test)]
pub(super) fn example(id: u64, parts: Vec<FileRef>) -> Manifest {
    let partition = Partition {
        source: "readings".into(),
        name: "readings[0]".into(),
        log: "measured[0]".into(),
        position: Some(4_711),
        sequence: Some(4_710),
        watermark: 17,
        newest: 18,
        idle: false,
        ended: false,
    };
    let step = Step {
        name: "windows".into(),
        kind: "aggregate".into(),
        fingerprint: "0badcafe".into(),
        state_version: 1,
        watermark: 17,
        partitions: vec![(0, 17)],
        parts,
        waiting: Vec::new(),
    };
    Manifest {
        format: FORMAT,
        id,
        version: "0.1.0".into(),
        job: "sensors".into(),
        begun_at: 1_767_225_600_000_000,
        took: 1_500,
        workers: 2,
        partitions: vec![partition],
        steps: vec![step],
        numbered: vec!["windows".into()],
        sinks: vec![Sink {
            name: "alerts".into(),
            delivery: "exactly_once".into(),
            shards: 1,
            outbox: vec![None],
            sealed: vec![3],
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_was_stored() {
        let manifest = example(3, vec![FileRef::of("a".into(), b"state")]);
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).expect("whole"), manifest);
    }

    #[test]
    fn any_byte_that_changed_is_noticed() {
        let bytes = example(3, Vec::new()).to_bytes();
        for i in 0..bytes.len() - 1 {
            let mut other = bytes.clone();
            other[i] ^= 1;
            assert!(Manifest::from_bytes(&other).is_err(), "byte {i}");
            assert!(Manifest::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn another_format_is_refused_with_who_wrote_it() {
        let mut manifest = example(3, Vec::new());
        (manifest.format, manifest.version) = (3, "0.9.0".into());
        let said = Manifest::from_bytes(&manifest.to_bytes()).expect_err("refused").to_string();
        assert_eq!(said, "it has format 3 and this program knows 2; version 0.9.0 of Eagre wrote it");
    }
}
