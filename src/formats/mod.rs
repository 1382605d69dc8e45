//! Bytes to columns and back: the seam where JSON, CSV and Parquet meet, and where Avro and Protobuf will.
//!
//! A source cuts its bytes into [`Frames`], cheaply and in order. A [`Decoder`] makes [`Rows`] of them, dearly and
//! anywhere: decoding is a pure function of the frame, so that chunks of one partition are decoded by many threads and
//! put back in their order. What cannot be decoded is kept as [`Bad`] with the reason.

pub mod csv;
pub mod encode;
pub mod json;
pub mod parquet;
pub mod parquet_writer;
pub(crate) mod scan;
pub(crate) mod table;

pub(crate) use table::{bad, only_bad};

use crate::schema::{Field, Kind, Schema};
use crate::time::EventTime;
use arrow::array::ArrayRef;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records that are not decoded yet, all of one source partition and in its order.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// The bytes of all records.
    pub bytes: Vec<u8>,
    /// How the records lie in them.
    pub layout: Layout,
}

/// How records lie in the bytes of [`Frames`].
#[derive(Clone, Debug)]
pub enum Layout {
    /// Lines that end with `\n` (the last may lack it); a record's sequence is the position of its first byte, and
    /// the first line is at position `at` of its partition. Empty lines are no records.
    Lines {
        /// Position of the first byte of the frame in its partition.
        at: i64,
    },
    /// Messages one behind the other.
    Messages(Messages),
}

/// Where messages lie, and what their envelopes said.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Where each message ends in the bytes.
    pub ends: Vec<usize>,
    /// Each message's sequence (the Kafka offset).
    pub sequences: Vec<i64>,
    /// The time of each message's envelope, in microseconds.
    pub times: Vec<EventTime>,
    /// Whether the message has no payload at all (a tombstone), which is not the same as an empty one.
    pub absent: Vec<bool>,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout::Lines { at: 0 }
    }
}

/// Decoded records of one source partition, in its order.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// A column for every wanted field, of [`Kind::arrow`]'s types.
    pub columns: Vec<ArrayRef>,
    /// The event time of every row.
    pub times: Vec<EventTime>,
    /// The sequence of every row.
    pub sequences: Vec<i64>,
    /// What could not be decoded, in order of sequence.
    pub bad: Vec<Bad>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its sequence in the partition.
    pub sequence: i64,
    /// How many rows of the same [`Rows`] came before it.
    pub after: usize,
    /// What was found and what would be right.
    pub reason: String,
    /// The record as it came, cut to [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

/// How much of a bad record is kept: the rest can be read again at its place in the source.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Makes rows of frames. One is made for each decoding thread; it may learn (the shape of a line), but what it gives
/// must depend on the frame alone.
pub trait Decoder: Send {
    /// Decodes a whole frame.
    fn decode(&mut self, frames: &Frames) -> Rows;
}

/// What a decoder has to find: the fields, how each is written, and where the event time is.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The fields to give as columns, in order.
    pub schema: Schema,
    /// How each of them is written, in the same order.
    pub written: Vec<Written>,
    /// Where the event time comes from.
    pub event_time: TimeFrom,
}

/// Where a record's event time comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFrom {
    /// A field of the record (it need not be a wanted column), and how it is written.
    Field(String, Written),
    /// The envelope: the Kafka message's timestamp.
    Envelope,
}

/// How a field is written in text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it is.
    pub kind: Kind,
    /// For a time that is written as a number: how many microseconds are one (as a fraction for nanoseconds).
    pub unit: TimeUnit,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// As RFC 3339 text.
    #[default]
    Text,
    /// As a number of seconds (decimals allowed).
    Seconds,
    /// As a number of milliseconds.
    Millis,
    /// As a number of microseconds.
    Micros,
    /// As a number of nanoseconds.
    Nanos,
}

impl TimeUnit {
    /// Microseconds of an integer in this unit, unless it does not fit.
    pub fn micros(self, number: i64) -> Option<EventTime> {
        match self {
            TimeUnit::Text => None,
            TimeUnit::Seconds => number.checked_mul(1_000_000),
            TimeUnit::Millis => number.checked_mul(1_000),
            TimeUnit::Micros => Some(number),
            TimeUnit::Nanos => Some(number.div_euclid(1_000)),
        }
    }

    /// The nearest microsecond to a float in this unit (the one that it lies in, for nanoseconds), unless it does not
    /// fit.
    pub fn micros_of_float(self, number: f64) -> Option<EventTime> {
        let micros = match self {
            TimeUnit::Text => return None,
            TimeUnit::Seconds => number * 1e6,
            TimeUnit::Millis => number * 1e3,
            TimeUnit::Micros => number,
            TimeUnit::Nanos => (number / 1e3).floor(),
        };
        Some(micros.round()).filter(|micros| micros.abs() < 9e18).map(|micros| micros as EventTime)
    }
}

/// The kinds that a job file may give a field, as they are written.
pub const FIELD_KINDS: [(&str, Written); 9] = [
    ("bool", Written { kind: Kind::Bool, unit: TimeUnit::Text }),
    ("int", Written { kind: Kind::Int, unit: TimeUnit::Text }),
    ("float", Written { kind: Kind::Float, unit: TimeUnit::Text }),
    ("text", Written { kind: Kind::Text, unit: TimeUnit::Text }),
    ("time", Written { kind: Kind::Time, unit: TimeUnit::Text }),
    ("time(s)", Written { kind: Kind::Time, unit: TimeUnit::Seconds }),
    ("time(ms)", Written { kind: Kind::Time, unit: TimeUnit::Millis }),
    ("time(us)", Written { kind: Kind::Time, unit: TimeUnit::Micros }),
    ("time(ns)", Written { kind: Kind::Time, unit: TimeUnit::Nanos }),
];

/// The `fields` of a source in a job file: `fields = { sensor = "text", value = "float", ts = "time(ms)" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub BTreeMap<String, Written>);

impl Fields {
    /// The schema of all fields, in order of name.
    pub fn schema(&self) -> Schema {
        Schema::new(self.0.iter().map(|(name, written)| Field::new(name, written.kind)))
    }

    /// How the fields of a schema are written.
    pub fn written(&self, schema: &Schema) -> Vec<Written> {
        schema.names().map(|name| self.0[name]).collect()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields, D::Error> {
        let texts = BTreeMap::<String, Written>::deserialize(from)?;
        Ok(Fields(texts))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Written, D::Error> {
        let text = String::deserialize(from)?;
        let found = FIELD_KINDS.iter().find(|(name, _)| *name == text).map(|(_, written)| *written);
        found.ok_or_else(|| {
            let names: Vec<&str> = FIELD_KINDS.iter().map(|(name, _)| *name).collect();
            let near = crate::fault::nearest(&text, names.iter().copied()).map(|n| format!(", did you mean `{n}`?"));
            serde::de::Error::custom(format!(
                "`{text}` is no kind of field{}; one of {}",
                near.unwrap_or_default(),
                crate::fault::list(&names)
            ))
        })
    }
}

impl JsonSchema for Fields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fields".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = FIELD_KINDS.iter().map(|(name, _)| *name).collect();
        schemars::json_schema!({ "type": "object", "additionalProperties": { "enum": names },
            "description": "The fields of a record that the job may use, and what they are." })
    }
}

/// Makes decoders, one for each thread that decodes.
pub type MakeDecoder = Arc<dyn Fn() -> Box<dyn Decoder> + Send + Sync>;
