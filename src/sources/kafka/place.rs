//! Where reading starts and ends, as a job file says it.

use crate::time::{self, EventTime};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A place in every partition of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Before the oldest record there is.
    #[default]
    Earliest,
    /// Behind the newest record there is when the job starts.
    Latest,
    /// Before the first record that is stamped at that time or later; where there is none, behind the newest.
    Time(EventTime),
    /// At an offset: by the partition's number, or by `topic[number]`.
    Offsets(BTreeMap<String, i64>),
}

impl Place {
    /// The offset that is given for a partition.
    pub fn offset(&self, topic: &str, number: i32) -> Option<i64> {
        let Place::Offsets(offsets) = self else { return None };
        offsets.get(&format!("{topic}[{number}]")).or_else(|| offsets.get(&number.to_string())).copied()
    }

    /// What is wrong with the names or numbers of given offsets.
    pub fn wrong(&self, topics: &[String]) -> Option<String> {
        let Place::Offsets(offsets) = self else { return None };
        offsets.iter().find_map(|(name, offset)| {
            let number = name
                .strip_suffix(']')
                .and_then(|n| n.split_once('['))
                .map_or(Some(name.as_str()), |(topic, number)| topics.iter().any(|t| t == topic).then_some(number));
            match number.map(str::parse::<u16>) {
                Some(Ok(_)) if *offset >= 0 => None,
                Some(Ok(_)) => Some(format!("the offset {offset} of `{name}` is negative")),
                _ => Some(format!("`{name}` is no partition of this source; write its number, or `topic[number]`")),
            }
        })
    }
}

fn read(value: toml::Value) -> Result<Place, String> {
    const RIGHT: &str = "write \"earliest\", \"latest\", \"now\", a time, or { offsets = { \"0\" = 12 } }";
    match value {
        toml::Value::String(text) => match text.as_str() {
            "earliest" => Ok(Place::Earliest),
            "latest" | "now" => Ok(Place::Latest),
            text => time::parse(text).map(Place::Time).map_err(|_| format!("`{text}` is no place in a topic; {RIGHT}")),
        },
        toml::Value::Datetime(at) => time::parse(&at.to_string()).map(Place::Time),
        toml::Value::Table(table) => {
            let mut entries = table.into_iter();
            match (entries.next(), entries.next()) {
                (Some((word, value)), None) if word == "timestamp" => match read(value)? {
                    Place::Time(at) => Ok(Place::Time(at)),
                    _ => Err("`timestamp` must be a time, for example 2026-01-31T12:00:00Z".into()),
                },
                (Some((word, toml::Value::Table(offsets))), None) if word == "offsets" => {
                    let number = |(name, value): (String, toml::Value)| match value.as_integer() {
                        Some(offset) => Ok((name, offset)),
                        None => Err(format!("the offset of `{name}` must be an integer")),
                    };
                    offsets.into_iter().map(number).collect::<Result<_, _>>().map(Place::Offsets)
                }
                _ => Err(format!("expected one of `timestamp` and `offsets`; {RIGHT}")),
            }
        }
        other => Err(format!("{} is no place in a topic; {RIGHT}", other.type_str())),
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        read(toml::Value::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "description": "A place in every partition: earliest, latest, now, a time, or offsets by partition.",
            "anyOf": [
                { "type": "string", "examples": ["earliest", "latest", "now", "2026-01-31T12:00:00Z"] },
                { "type": "object", "properties": { "timestamp": { "type": "string" } }, "required": ["timestamp"], "additionalProperties": false },
                { "type": "object", "properties": { "offsets": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } } },
                  "required": ["offsets"], "additionalProperties": false },
            ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, String> {
        let table: toml::Table = format!("at = {text}").parse().expect("TOML");
        Place::deserialize(table["at"].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_read() {
        let at = time::parse("2026-01-31T12:00:00Z").expect("a time");
        for (text, expected) in [
            ("'earliest'", Place::Earliest),
            ("'latest'", Place::Latest),
            ("'now'", Place::Latest),
            ("'2026-01-31T12:00:00Z'", Place::Time(at)),
            ("2026-01-31T12:00:00Z", Place::Time(at)),
            ("{ timestamp = '2026-01-31 12:00:00' }", Place::Time(at)),
            ("{ offsets = { '0' = 12 } }", Place::Offsets(BTreeMap::from([("0".into(), 12)]))),
        ] {
            assert_eq!(place(text), Ok(expected), "{text}");
        }
        for (text, reason) in [
            ("'soon'", "`soon` is no place"),
            ("7", "integer is no place"),
            ("{ offset = 1 }", "expected one of"),
            ("{ timestamp = 'latest' }", "must be a time"),
            ("{ offsets = { '0' = 'x' } }", "must be an integer"),
        ] {
            assert!(place(text).expect_err(text).contains(reason), "{text}: {:?}", place(text));
        }
    }

    #[test]
    fn offsets_are_found_by_partition() {
        let offsets = place("{ offsets = { '1' = 5, 'b[1]' = 7 } }").expect("offsets");
        assert_eq!((offsets.offset("a", 1), offsets.offset("b", 1), offsets.offset("a", 0)), (Some(5), Some(7), None));
        assert_eq!(offsets.wrong(&["b".into()]), None);
        assert!(offsets.wrong(&["a".into()]).expect("wrong").contains("`b[1]` is no partition"));
        assert!(place("{ offsets = { '1' = -5 } }").expect("offsets").wrong(&[]).expect("wrong").contains("negative"));
    }
}
