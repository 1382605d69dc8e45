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
//! - `field`: the number to test
//! - `last` (default all the past): the range of the last so many values, or of those of the last so long (`"7d"`;
//!   exactly that old counts)
//! - `threshold` (default `0`): a value is novel when its grade is above this: 0.1 is a tenth of the range outside
//!   of it
//! - `warmup` (default `30`): how many values the past must have before it judges; with `last` of fewer values,
//!   that many
//! - `nan` (default `"reject"`): what to do with NaN and infinity: to `rejected`, or `"skip"`
//! - `emit` (default `"anomalies"`): or `"all"`: every record, with the field `anomaly`
//!
//! **The grade** is the distance from the range in widths of the range: 0 within it, 1 for a value as far outside
//! as the range is wide. Where all the past is one value, which has no width, the distance is divided by that value
//! or by itself, whichever is larger: the grade is then above 0 and at most 1. The tested value is not in its own
//! past; it joins after the test, so the same value is not novel twice (until it has left `last`).
//!
//! **Outputs.** `out` has the fields of the record, and behind them (an input field of the same name gives way):
//!
//! - `value`: the number tested
//! - `low`, `high`: the range that it was compared with
//! - `novelty`: the grade; null while warming up
//! - `baseline_from`, `baseline_until`: the times of the oldest and the newest value of the past
//! - `baseline_count`: how many these were
//! - `anomaly`: with `emit = "all"` only
//!
//! A null goes to `rejected`; so does NaN or infinity, unless `nan = "skip"`, which lets the record by without a
//! grade (with `emit = "all"`; otherwise nothing comes out). Records come in canonical order; one that is late goes
//! to `late`.

use crate::fault::Fault;
use crate::operator::keyed::{Cx, Emits, KeyedOperator};
use crate::operator::{Column, Emit, Nan, Planning, Reject, Shown, Span, shown, shown_time, too_old_at};
use crate::schema::{Field, Kind};
use crate::stats::extremes::{Range, SlidingExtremes};
use crate::time::EventTime;
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
#[derive(Clone, Default, Serialize, Deserialize)]
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
            planning.fault(
                Fault::at("threshold", format!("{} is no grade", self.threshold)).help("0 or a number above it"),
            );
        }
        match (self.warmup, self.last) {
            (Some(0), _) => planning.fault(Fault::at("warmup", "nothing is novel to an empty past").help("1 or more")),
            (Some(warmup), Some(Span::Count(count))) if warmup > count as u64 => {
                let says = format!("the last {count} values are never {warmup}");
                planning.fault(Fault::at("warmup", says).help(format!("at most {count}")));
            }
            _ => {}
        }
        let mut fields: Vec<Field> =
            ["value", "low", "high", "novelty"].map(|name| Field::new(name, Kind::Float)).into();
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
            cx.wake_at(too_old_at(time, interval));
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
            (Some(Span::Time(interval)), Some(newest)) if too_old_at(newest, interval) > at => {
                cx.wake_at(too_old_at(newest, interval))
            }
            _ => cx.forget(),
        }
    }

    fn inspect(&self, state: &State) -> Vec<Shown> {
        let past = state.past(self.last);
        vec![
            shown("count", Kind::Int, past.count as i64),
            shown("low", Kind::Float, past.range.min()),
            shown("high", Kind::Float, past.range.max()),
            shown_time("baseline_from", past.from),
            shown_time("baseline_until", past.until),
        ]
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
        Past {
            range,
            count: self.times.len() as u64,
            from: self.times.front().copied(),
            until: self.times.back().copied(),
        }
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

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};

    /// Runs values of one sensor, 10 us apart.
    #[track_caller]
    fn grades(config: &str, values: &str, expected: &str) {
        let records =
            values.split_whitespace().enumerate().map(|(i, x)| format!("{} sensor=a value={x}", 10 * (i + 1)));
        let script = records.collect::<Vec<_>>().join("\n") + "\n-- end";
        check(&registry(), config, "sensor:text value:float", &script, expected);
    }

    #[test]
    fn the_example() {
        let expected = "50 sensor=a value=31.0 low=10.0 high=21.0 novelty=0.9090909090909091 baseline_from=10 baseline_until=40 baseline_count=4 made_from=in[0]@4
            70 sensor=a value=-11.0 low=10.0 high=31.0 novelty=1.0 baseline_from=10 baseline_until=60 baseline_count=6 made_from=in[0]@6";
        grades(&example(Novelty::MANUAL), "10 20 15 21 31 31 -11", expected);
    }

    #[test]
    fn the_past_may_be_short() {
        let row = |low: &str, from: u32| {
            format!(
                "60 sensor=a value=1.0 low={low} high=9.0 novelty=0.5 baseline_from={from} baseline_until=50 baseline_count=3 made_from=in[0]@5"
            )
        };
        let config = "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nwarmup = 3\nthreshold = 0.4\n";
        grades(&format!("{config}last = 3"), "0 0 9 4 5 1", &row("4.0", 30).replace("0.5", "0.6"));
        grades(&format!("{config}last = '30us'"), "0 0 9 4 5 1", &row("4.0", 30).replace("0.5", "0.6"));
        grades(config, "0 0 9 4 5 1", "");
    }

    #[test]
    fn a_past_of_one_value_grades_by_the_value() {
        let row = |time: u32, novelty: &str, value: &str, range: &str, count: u32| {
            let until = time - 10;
            format!(
                "{time} sensor=a value={value} {range} novelty={novelty} baseline_from=10 baseline_until={until} baseline_count={count} anomaly={} made_from=in[0]@{count}",
                novelty == "0.5"
            )
        };
        let first = "10 sensor=a value=4.0 low=null high=null novelty=null baseline_from=null baseline_until=null baseline_count=0 anomaly=false made_from=in[0]@0";
        let rows = [
            first.to_owned(),
            row(20, "0.0", "4.0", "low=4.0 high=4.0", 1),
            row(30, "0.5", "6.0", "low=4.0 high=4.0", 2),
        ];
        grades(
            "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nwarmup = 1\nemit = 'all'",
            "4 4 6",
            &rows.join("\n"),
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, says) in [
            ("last = 5\nwarmup = 6", "warmup: the last 5 values are never 6 (at most 5)"),
            ("warmup = 0", "warmup: nothing is novel to an empty past (1 or more)"),
            ("threshold = -1", "threshold: -1 is no grade (0 or a number above it)"),
            ("last = '0s'", "last: an interval of no length holds nothing"),
            ("last = true", "last: `true` is neither a number of values, like 100, nor an interval, like \"10m\""),
        ] {
            let config = format!("kind = 'novelty'\nkey = 'x'\nfield = 'x'\n{setting}");
            assert_eq!(faults(&registry(), &config, "x:float"), says, "{setting}");
        }
    }
}
