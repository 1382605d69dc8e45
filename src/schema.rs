//! What the columns of a batch are: five kinds of value, and four system columns that every batch begins with.
//!
//! ```text
//! event_time   when it happened, microseconds UTC
//! origin       which source partition it came from; for a derived row, which step and key group
//! sequence     its place there: Kafka offset, byte position, or a counter
//! stamp        null, or for a record older than its partition's watermark, that watermark
//! then the fields of the stream
//! ```
//! `(event_time, origin, sequence)` is the canonical order of records and their provenance.

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The number of system columns; field `i` of a stream is column `SYSTEM + i` of its batches.
pub const SYSTEM: usize = 4;

/// The names of the system columns, in their order; no field may have one of these names.
pub const SYSTEM_NAMES: [&str; SYSTEM] = ["event_time", "origin", "sequence", "stamp"];

/// The kinds of value that a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// True or false.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// 64-bit IEEE floating point.
    Float,
    /// UTF-8 text.
    Text,
    /// Microseconds since 1970-01-01 UTC.
    Time,
}

impl Kind {
    /// All kinds, in the order of the documents.
    pub const ALL: [Kind; 5] = [Kind::Bool, Kind::Int, Kind::Float, Kind::Text, Kind::Time];

    /// The Arrow type that holds it.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Bool => DataType::Boolean,
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The kind that holds every value of an Arrow type (rounded to microseconds, or to f64, where it must be), if one
    /// does.
    pub fn of(arrow: &DataType) -> Option<Kind> {
        use DataType::*;
        match arrow {
            Boolean => Some(Kind::Bool),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(Kind::Int),
            Float16 | Float32 | Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
                Some(Kind::Float)
            }
            Utf8 | LargeUtf8 | Utf8View => Some(Kind::Text),
            Dictionary(_, values) => Kind::of(values),
            Timestamp(..) | Date32 | Date64 => Some(Kind::Time),
            _ => None,
        }
    }

    /// Whether sums and means of it make sense.
    pub fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Float)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Text => "text",
            Kind::Time => "time",
        })
    }
}

/// A named column of a stream; every field may be null.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name, unique in the stream.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

impl Field {
    /// A field of that name and kind.
    pub fn new(name: impl Into<String>, kind: Kind) -> Field {
        Field { name: name.into(), kind }
    }
}

/// The fields of a stream, in order, with the Arrow schema of its batches. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Schema {
    fields: Arc<[Field]>,
    arrow: SchemaRef,
}

impl Schema {
    /// A schema of these fields behind the system columns. Two fields of one name are a mistake of the caller's.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Schema {
        let fields: Arc<[Field]> = fields.into_iter().collect();
        let columns =
            system_fields().into_iter().chain(fields.iter().map(|f| ArrowField::new(&f.name, f.kind.arrow(), true)));
        let arrow = Arc::new(ArrowSchema::new(columns.collect::<Vec<_>>()));
        Schema { fields, arrow }
    }

    /// The fields, without the system columns.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The Arrow schema of a batch: the system columns, then the fields.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The position of a field among the fields.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str())
    }

    /// These fields and more behind them.
    pub fn with(&self, more: impl IntoIterator<Item = Field>) -> Schema {
        Schema::new(self.fields.iter().cloned().chain(more))
    }

    /// Only the fields that `keep` wants.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Schema {
        Schema::new(self.fields.iter().filter(|f| keep(&f.name)).cloned())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields.iter().map(|f| (&f.name, f.kind))).finish()
    }
}

/// The stream of records that a step could not take: why, and what they were.
///
/// `reason` says what was found and what would be right, `place` names the partition and sequence as a person writes
/// it (`readings[3]@1042`), `payload` is the record: the bytes as they came where they could not be decoded, else JSON.
pub fn rejected() -> Schema {
    Schema::new(["step", "reason", "place", "payload"].map(|name| Field::new(name, Kind::Text)))
}

/// The stream of records that came too late for a step: its input, with the reason and the place behind it.
pub fn late(input: &Schema) -> Schema {
    let more = ["reason", "place"].map(|name| Field::new(name, Kind::Text));
    input.filtered(|name| name != "reason" && name != "place").with(more)
}

fn system_fields() -> [ArrowField; SYSTEM] {
    [
        ArrowField::new(SYSTEM_NAMES[0], Kind::Time.arrow(), false),
        ArrowField::new(SYSTEM_NAMES[1], DataType::UInt32, false),
        ArrowField::new(SYSTEM_NAMES[2], DataType::Int64, false),
        ArrowField::new(SYSTEM_NAMES[3], Kind::Time.arrow(), true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_behind_the_system_columns() {
        let schema = Schema::new([Field::new("sensor", Kind::Text), Field::new("value", Kind::Float)]);
        assert_eq!(schema.index_of("value"), Some(1));
        assert_eq!(schema.arrow().index_of("value").ok(), Some(SYSTEM + 1));
        assert_eq!(schema.arrow().field(0).name(), "event_time");
        assert_eq!(late(&schema).names().collect::<Vec<_>>(), ["sensor", "value", "reason", "place"]);
    }

    #[test]
    fn every_kind_is_the_kind_of_its_arrow_type() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&kind.arrow()), Some(kind));
        }
        assert_eq!(Kind::of(&DataType::Binary), None);
    }
}
