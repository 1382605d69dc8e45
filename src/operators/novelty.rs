//! `novelty` finds values outside the range of all that their key has shown before, and says how far outside.
//!
//! ```toml
//! [step.records]
//! kind      = "novelty"
//! input     = "readings"
//! key       = "sensor"
//! field     = "value"
//! last      = "1d"
//! threshold = 0.1
//! warmup    = 3
//! ```
//!
//! | setting | default | |
//! | --- | --- | --- |
//! | `field` | | the number to test |
//! | `last` | all the past | the range of the last so many values, or of those of the last so long (`"7d"`; exactly that old counts) |
//! | `threshold` | `0` | a value is novel when its grade is above this: 0.1 is a tenth of the range outside of it |
//! | `warmup` | `30` | how many values the past must have before it judges; with `last` of fewer values, that many |
//! | `nan` | `"reject"` | what to do with NaN and infinity: to `rejected`, or `"skip"` |
//! | `emit` | `"anomalies"` | or `"all"`: every record, with the field `anomaly` |
//!
//! **The grade** is the distance from the range in widths of the range: 0 within it, 1 for a value as far outside as the
//! range is wide. Where all the past is one value, which has no width, the distance is divided by that value or by
//! itself, whichever is larger: the grade is then above 0 and at most 1. The tested value is not in its own past; it
//! joins after the test, so the same value is not novel twice (until it has left `last`).
//!
//! **Outputs.** `out` has the fields of the record, and behind them (an input field of the same name gives way):
//!
//! | field | |
//! | --- | --- |
//! | `value` | the number tested |
//! | `low`, `high` | the range that it was compared with |
//! | `novelty` | the grade; null while warming up |
//! | `baseline_from`, `baseline_until` | the times of the oldest and the newest value of the past |
//! | `baseline_count` | how many these were |
//! | `anomaly` | with `emit = "all"` only |
//!
//! A null goes to `rejected`; so does NaN or infinity, unless `nan = "skip"`, which lets the record by without a grade
//! (with `emit = "all"`; otherwise nothing comes out). Records come in canonical order; one that is late goes to `late`.

use crate::fault::Fault;
use crate::operator::keyed::{Cx, Emits, KeyedOperator};
use crate::operator::{Column, Emit, Nan, Planning, Reject, Span};
use crate::schema::{Field, Kind};
use crate::stats::extremes::{Range, SlidingExtremes};
use crate::time::{EventTime, Interval};
use crate::value::{Row, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

const WARMUP_DEFAULT: u64 = 30;

/// The configuration of a novelty detector.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Novelty {
    /// The number to test.
    field: Column,
    /// The last so many values, or those of the last so long; all the past by default.
    last: Option<Span>,
    /// A value is novel when its grade is above this.
    #[serde(default)]
    threshold: f64,
    /// How many values the past must have before it judges; 30 by default.
    warmup: Option<u64>,
    /// What to do with NaN and infinity.
    #[serde(default)]
    nan: Nan,
    /// What to give out.
    #[serde(default)]
    emit: Emit,
}

/// What is remembered of a key.
#[derive(Default, Serialize, Deserialize)]
pub struct State {
    /// The range of all the past, where that is asked for.
    range: Range,
    /// How many values came at all; the position of the next.
    count: u64,
    first: Option<EventTime>,
    newest: Option<EventTime>,
    /// The extremes of the last values, where those are asked for.
    extremes: SlidingExtremes,
    /// The times of the last values.
    times: VecDeque<EventTime>,
    /// Whether a timer is set that forgets the key once all its past is too old.
    waking: bool,
}

/// The past that a value is compared with.
struct Past {
    range: Range,
    count: u64,
    from: Option<EventTime>,
    until: Option<EventTime>,
}

impl KeyedOperator for Novelty {
    const NAME: &'static str = "novelty";
    const MANUAL: &'static str = include_str!("novelty.rs");

    type State = State;

    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
        planning.number(&mut self.field, "field");
        if !(self.threshold >= 0.0 && self.threshold.is_finite()) {
            planning.fault(Fault::at("threshold", format!("{} is no grade", self.threshold)).help("0 or a number above it"));
        }
        match (self.warmup, self.last) {
            (Some(0), _) => planning.fault(Fault::at("warmup", "nothing is novel to an empty past").help("1 or more")),
            (Some(warmup), Some(Span::Count(count))) if warmup > count as u64 => {
                let says = format!("the last {count} values are never {warmup}");
                planning.fault(Fault::at("warmup", says).help(format!("at most {count}")));
            }
            _ => {}
        }
        let mut fields: Vec<Field> = ["value", "low", "high", "novelty"].map(|name| Field::new(name, Kind::Float)).into();
        fields.extend(["baseline_from", "baseline_until"].map(|name| Field::new(name, Kind::Time)));
        fields.push(Field::new("baseline_count", Kind::Int));
        fields.extend((self.emit == Emit::All).then(|| Field::new("anomaly", Kind::Bool)));
        Emits { extends_input: true, fields, uses: BTreeSet::from([self.field.name.clone()]) }
    }

    fn on_record(&self, cx: &mut Cx<'_, State>, row: Row<'_>) -> Result<(), Reject> {
        let value = self.nan.number(row, &self.field)?;
        let time = cx.time();
        cx.state.leave(self.last, time);
        let past = cx.state.past(self.last);
        let grade = value.filter(|_| past.count >= self.warmup()).map(|value| past.range.novelty(value));
        let anomaly = grade.is_some_and(|grade| grade > self.threshold);
        if let Some(value) = value {
            cx.state.join(self.last, time, value);
        }
        if let (Some(Span::Time(interval)), false) = (self.last, cx.state.waking) {
            cx.state.waking = true;
            cx.wake_at(after(time, interval));
        }
        if self.emit == Emit::All || anomaly {
            let numbers = [value, past.range.min(), past.range.max(), grade].map(Value::from);
            let times = [past.from, past.until].map(|time| time.map_or(Value::Null, Value::Time));
            let anomaly = (self.emit == Emit::All).then_some(Value::Bool(anomaly));
            cx.emit(numbers.into_iter().chain(times).chain([Value::Int(past.count as i64)]).chain(anomaly));
        }
        Ok(())
    }

    fn on_timer(&self, cx: &mut Cx<'_, State>, at: EventTime) {
        match (self.last, cx.state.newest) {
            (Some(Span::Time(interval)), Some(newest)) if after(newest, interval) > at => cx.wake_at(after(newest, interval)),
            _ => cx.forget(),
        }
    }
}

impl Novelty {
    fn warmup(&self) -> u64 {
        let count = if let Some(Span::Count(count)) = self.last { count as u64 } else { u64::MAX };
        self.warmup.unwrap_or(WARMUP_DEFAULT.min(count))
    }
}

impl State {
    /// Lets go of what is too old for a value of that time, or one too many.
    fn leave(&mut self, last: Option<Span>, now: EventTime) {
        match last {
            Some(Span::Time(interval)) => {
                let bound = now.saturating_sub(interval.micros());
                while self.times.front().is_some_and(|time| *time < bound) {
                    self.times.pop_front();
                }
                self.extremes.evict_before(bound);
            }
            Some(Span::Count(count)) => {
                while self.times.len() > count {
                    self.times.pop_front();
                }
                self.extremes.evict_before(self.count as i64 - count as i64);
            }
            None => {}
        }
    }

    fn past(&self, last: Option<Span>) -> Past {
        if last.is_none() {
            return Past { range: self.range, count: self.count, from: self.first, until: self.newest };
        }
        let mut range = Range::default();
        for extreme in [self.extremes.min(), self.extremes.max()].into_iter().flatten() {
            range.push(extreme);
        }
        Past { range, count: self.times.len() as u64, from: self.times.front().copied(), until: self.times.back().copied() }
    }

    fn join(&mut self, last: Option<Span>, time: EventTime, value: f64) {
        match last {
            Some(Span::Time(_)) => {
                self.extremes.push(time, value);
            }
            Some(Span::Count(_)) => {
                self.extremes.push(self.count as i64, value);
            }
            None => {
                self.range.push(value);
            }
        }
        if last.is_some() {
            self.times.push_back(time);
        }
        self.count += 1;
        self.first = self.first.or(Some(time));
        self.newest = Some(time);
    }
}

/// The first time at which a value of that time is too old for a past of that length.
fn after(time: EventTime, past: Interval) -> EventTime {
    time.saturating_add(past.micros()).saturating_add(1)
}
