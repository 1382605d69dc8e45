//! `aggregate` counts, sums, averages and ranks the records of each key by windows of event time.
//!
//! ```toml
//! [step.minutes]
//! kind   = "aggregate"
//! input  = "readings"
//! key    = "sensor"
//! window = "10s"
//! aggregates = { n = "count()", mean = "mean(value)", p99 = "p99(value)", busy = "sum(status >= 500)" }
//! ```
//!
//! | setting | default | |
//! | --- | --- | --- |
//! | `window` | | `"10s"`, `{ size = "60s", slide = "5s" }`, `{ session = "30s" }`, `{ count = 100 }` or `"global"` |
//! | `aggregates` | | the fields to compute, each `name = "function(argument)"` |
//! | `offset` | `"0s"` | windows begin at `offset + k * slide` since 1970-01-01 UTC |
//! | `allowed_lateness` | `"0s"` | how long after its end a window still takes records, and corrects its result |
//! | `correct_every` | the slide | corrections go out at multiples of this |
//! | `early` | none | results of windows that are still open, at multiples of this |
//! | `empty` | none | windows without records are told too, so long after a key was last seen |
//!
//! A tumbling window is a size; a hopping one has a `slide` too; a session ends when its key has been silent so long;
//! a count window holds so many records of a key, and with `slide = 10` a new one begins every 10. `empty` counts
//! from the end of the pane in which the key was seen.
//!
//! **Functions.** The argument is a field or any SQL expression over the record.
//!
//! | function | gives | |
//! | --- | --- | --- |
//! | `count()`, `count(x)` | int | records; values that are not null |
//! | `sum(x)` | int or float | of ints exact, or null beyond 64 bits; of bools: how many are true |
//! | `mean(x)` (`avg`) | float | `sum / count` |
//! | `variance(x)`, `stddev(x)` | float | of the population: divided by n |
//! | `sample_variance(x)`, `sample_stddev(x)` | float | divided by n - 1; null below two values |
//! | `min(x)`, `max(x)` | as `x` | of ints, floats and times |
//! | `first(x)`, `last(x)` | as `x` | in canonical order (event time, origin, sequence) |
//! | `rate()`, `rate(x)` | float | records, or their sum, by the second of the window |
//! | `p50(x)`, `p999(x)`, `median(x)`, `quantile(x, 0.999)` | float | nearest rank, to 0.05 % |
//! | `exact_quantile(x, 0.5)`, `exact_median(x)` | float | interpolated, as `quantile_cont` of SQL |
//! | `distinct(x)`, `distinct(x, 14)` | int | different values by HyperLogLog, to 1.6 % at precision 12 |
//! | `top_k(x, 5)` | text | the most frequent values: `[{"value":"/cart","count":812}]` |
//!
//! Early, a rate is of the part of the window so far. Variances never subtract sums. Quantiles keep 12 bytes for a
//! bin that was hit, exact ones 8 bytes for every value. A `top_k` says `"error":3` where a count may be so much too
//! high.
//!
//! Nulls are left out by all but `count()`. Of no values `count`, `distinct` and `rate` are 0, `top_k` is `[]` and the
//! others are null. A NaN is a value: it makes sums, means and variances NaN; `min`, `max` and quantiles pass it over.
//!
//! **Outputs.** `out` has `window_start`, `window_end`, the fields of the key, and the aggregates by name. With
//! `early` or `allowed_lateness` there are two more: `firing` is `early`, `on_time` or `correction`; `revision` is 0,
//! and 1, 2, ... for corrections. A correction repeats the whole result. Where somebody takes it, `made_from` names
//! the records: `readings[0]@120-980 readings[2]@88-402`. Event time is `window_end` less 1 us, of an early result
//! the point it was made at less 1 us. Rows at one point come by window, then by key. A count window goes from its
//! first record to 1 us after its last, and so does a global one.
//!
//! `late` takes the records that are late for every window that holds them, with the reason; `rejected` those of
//! which an argument cannot be computed.
//!
//! **What a result holds.** The result that a window gives at a point holds exactly the records whose partition's
//! watermark was below that point when they were read: not a question of timing, so every run gives the same bits, on
//! any number of workers. A record is late for a window when that watermark had reached `window_end +
//! allowed_lateness`. An early result holds whole panes up to its point, and goes out where something is new in it.
//! Session and count windows see their records in order, and late ones go to `late` at once.
//!
//! **At the end of input** every window fires. A count window that never had all its records is not told: a live job
//! would not tell it either.

mod accumulators;
mod copying;
mod core;
mod functions;
mod grid;
mod keys;
mod panes;
mod plan;
mod runs;
mod slots;
#[cfg(test)]
mod tests;

use crate::operator::{Operator, Planned, Planning};
use crate::time::Interval;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The configuration of an aggregation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Which records belong together in time.
    window: Window,
    /// What to compute: name of the field, and function.
    aggregates: BTreeMap<String, String>,
    /// Where windows begin: at `offset + k * slide` since 1970-01-01 UTC.
    offset: Option<Interval>,
    /// How long after its end a window still takes records.
    #[serde(default)]
    allowed_lateness: Interval,
    /// How far apart the corrections of a window are; by default as far as windows are.
    correct_every: Option<Interval>,
    /// How far apart the results of a window that is still open are.
    early: Option<Interval>,
    /// How long after a key was last seen its empty windows are told.
    empty: Option<Interval>,
}

impl Operator for Aggregate {
    const NAME: &'static str = "aggregate";
    const MANUAL: &'static str = include_str!("mod.rs");

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        plan::plan(self, planning)
    }
}

/// A window as it is written.
#[derive(Clone, Debug)]
enum Window {
    Global,
    Tumbling(Interval),
    Table(WindowTable),
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WindowTable {
    /// How long a window is.
    size: Option<Interval>,
    /// How far apart windows begin: a length of time, or a number of records.
    slide: Option<Slide>,
    /// How long a key is silent before its session ends.
    session: Option<Interval>,
    /// How many records a window has.
    count: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Slide {
    Time(Interval),
    Records(u64),
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Window, D::Error> {
        from.deserialize_any(WindowVisitor)
    }
}

struct WindowVisitor;

impl<'de> Visitor<'de> for WindowVisitor {
    type Value = Window;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a window: \"10s\", { size = \"60s\", slide = \"5s\" }, { session = \"30s\" }, { count = 100 } or \"global\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Window, E> {
        match text {
            "global" => Ok(Window::Global),
            _ => Interval::parse(text).map(Window::Tumbling).map_err(|_| {
                E::custom(format!(
                    "`{text}` is no window; write \"10s\", \"global\", or a table: {{ size = \"60s\", slide = \"5s\" }}"
                ))
            }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Window, A::Error> {
        WindowTable::deserialize(MapAccessDeserializer::new(map)).map(Window::Table)
    }
}

impl JsonSchema for Window {
    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (interval, table) = (generator.subschema_for::<Interval>(), generator.subschema_for::<WindowTable>());
        json_schema!({ "description": "10s, global, or a table for hopping, session and count windows.",
            "anyOf": [{ "const": "global" }, interval, table] })
    }
}

impl<'de> Deserialize<'de> for Slide {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Slide, D::Error> {
        from.deserialize_any(SlideVisitor)
    }
}

struct SlideVisitor;

impl Visitor<'_> for SlideVisitor {
    type Value = Slide;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time (\"5s\"), or a number of records (10)")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Slide, E> {
        Interval::parse(text).map(Slide::Time).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, records: i64) -> Result<Slide, E> {
        u64::try_from(records).map(Slide::Records).map_err(|_| E::custom("a number of records is not negative"))
    }

    fn visit_u64<E: Error>(self, records: u64) -> Result<Slide, E> {
        Ok(Slide::Records(records))
    }
}

impl JsonSchema for Slide {
    fn schema_name() -> Cow<'static, str> {
        "Slide".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let interval = generator.subschema_for::<Interval>();
        json_schema!({ "anyOf": [interval, { "type": "integer", "minimum": 1 }] })
    }
}
