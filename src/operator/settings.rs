//! Settings that several operators have, so that they are written and mean the same everywhere.

use super::{Column, Reject};
use crate::time::{EventTime, Interval};
use crate::value::Row;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// How much of the past: the last so many values (`100`), or those of the last so long (`"10m"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// So many values, at least one.
    Count(usize),
    /// All values not older than this.
    Time(Interval),
}

/// The first time at which a value of that time is too old for a past of that length.
pub fn too_old_at(time: EventTime, past: Interval) -> EventTime {
    time.saturating_add(past.micros()).saturating_add(1)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::Integer(count) if count >= 1 => Ok(Span::Count(count as usize)),
            toml::Value::String(text) => match Interval::parse(&text).map_err(D::Error::custom)? {
                Interval::ZERO => Err(D::Error::custom("an interval of no length holds nothing")),
                interval => Ok(Span::Time(interval)),
            },
            other => {
                let wrong = format!("`{other}` is neither a number of values, like 100, nor an interval, like \"10m\"");
                Err(D::Error::custom(wrong))
            }
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "description": "A number of values, or a length of time: 100 or \"10m\".",
            "anyOf": [{ "type": "integer", "minimum": 1 }, generator.subschema_for::<Interval>()]
        })
    }
}

/// What a detector gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Emit {
    /// The anomalies alone.
    #[default]
    Anomalies,
    /// Every record, with a field that says whether it is one.
    All,
}

/// What a detector does with a NaN or an infinity, which it cannot measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nan {
    /// Sends the record to `rejected`.
    #[default]
    Reject,
    /// Lets the record by without a score, and does not learn from it.
    Skip,
}

impl Nan {
    /// The number in a row's field; `None` for one that is to be skipped. A null is always refused.
    #[inline]
    pub fn number(self, row: Row<'_>, column: &Column) -> Result<Option<f64>, Reject> {
        match row.number(column.index) {
            None => Err(format!("`{}` is null, where a number is needed", column.name).into()),
            Some(value) if value.is_finite() => Ok(Some(value)),
            Some(_) if self == Nan::Skip => Ok(None),
            Some(value) => Err(format!("`{}` is {value}, where a finite number is needed", column.name).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_count_or_a_time() {
        let read = |text: &str| {
            toml::Value::try_from(text.parse::<toml::Table>().expect("toml")).expect("a table")["span"]
                .clone()
                .try_into::<Span>()
        };
        assert_eq!(read("span = 100"), Ok(Span::Count(100)));
        assert_eq!(read("span = \"10m\""), Ok(Span::Time(Interval::from_secs(600))));
        for wrong in ["span = 0", "span = \"0s\"", "span = \"10 parsecs\"", "span = 1.5", "span = true"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
