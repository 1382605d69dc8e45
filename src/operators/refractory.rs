//! `refractory` lets one alert of a key through in an interval, unless it gets worse, and counts what it held back.
//!
//! ```toml
//! [step.alerts]
//! kind     = "refractory"
//! input    = "spikes"
//! key      = "sensor"
//! every    = "10m"
//! severity = "z"
//! summary  = true
//! ```
//!
//! - `every`: the interval: after an alert has gone through, the next ones of its key are held back for so long
//! - `severity`: a number that says how bad an alert is, whatever its sign
//! - `factor` (default `1.5`): an alert within the interval goes through all the same when its severity is more
//!   than so many times that of the one that went through last; the interval begins anew with it
//! - `summary` (default `false`): at the end of an interval in which alerts were held back, a row says so
//!
//! The interval is one of event time and begins with the alert that went through; one that comes when it is just
//! over goes through. An alert whose severity is null or NaN is no worse than any.
//!
//! **Outputs.** `out` has the fields of the alert and `held_back`, the number of alerts of its key that were held
//! back since the last row that went through (an input field of that name gives way).
//!
//! With `summary = true` there is also the field `summary`: false for an alert that went through, true for the row
//! at the end of an interval. That row repeats the fields of the worst alert that was held back (the newest of
//! equals, or where there is no `severity`), has their number in `held_back`, and the end of the interval, less 1
//! us, as its event time. Without it a number that is never told waits for the key's next alert.
//!
//! Alerts that are held back go nowhere else. Nothing goes to `rejected`. Records come in canonical order; one that
//! is late goes to `late`.

use crate::fault::Fault;
use crate::operator::keyed::{Cx, Emits, KeyedOperator};
use crate::operator::{Column, Planning, Reject, Shown, shown, shown_time};
use crate::schema::{Field, Kind};
use crate::time::{EventTime, Interval};
use crate::value::{Row, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const FACTOR_DEFAULT: f64 = 1.5;

/// The configuration of a refractory step.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refractory {
    /// For how long the alerts of a key are held back after one has gone through.
    every: Interval,
    /// A number that says how bad an alert is, whatever its sign.
    severity: Option<Column>,
    /// How many times as bad an alert must be to go through within the interval; 1.5 by default.
    factor: Option<f64>,
    /// Whether a row at the end of an interval says how many alerts were held back.
    #[serde(default)]
    summary: bool,
}

/// What is remembered of a key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The end of the interval, while there is one.
    until: Option<EventTime>,
    /// The severity of the alert that went through last.
    severity: Option<f64>,
    /// How many were held back since.
    held: i64,
    /// The worst of these, for the summary.
    worst: Option<(Option<f64>, Vec<Value>)>,
}

impl KeyedOperator for Refractory {
    const NAME: &'static str = "refractory";
    const MANUAL: &'static str = include_str!("refractory.rs");

    type State = State;

    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
        if let Some(severity) = &mut self.severity {
            planning.number(severity, "severity");
        }
        if self.every.is_zero() {
            planning.fault(Fault::at("every", "an interval of no length holds nothing back").help("every = \"10m\""));
        }
        match self.factor {
            Some(_) if self.severity.is_none() => {
                let says = "`factor` compares severities, and there is no `severity`";
                planning.fault(Fault::at("factor", says).help("severity = \"z\""));
            }
            Some(factor) if !(factor >= 1.0 && factor.is_finite()) => {
                planning.fault(
                    Fault::at("factor", format!("{factor} times as bad is not worse")).help("1 or a number above it"),
                );
            }
            _ => {}
        }
        let held_back = Field::new("held_back", Kind::Int);
        let emits = if self.summary {
            // A summary has no record at hand: all fields are the step's own, given from what it remembers.
            let input = planning.input().fields().iter().filter(|f| f.name != "held_back" && f.name != "summary");
            let fields = input.cloned().chain([held_back, Field::new("summary", Kind::Bool)]).collect();
            Emits { extends_input: true, fields, uses: Default::default() }
        } else {
            Emits { extends_input: true, fields: vec![held_back], uses: Default::default() }
        };
        emits.using(self.severity.as_ref().map(|severity| severity.name.as_str()))
    }

    fn on_record(&self, cx: &mut Cx<'_, State>, row: Row<'_>) -> Result<(), Reject> {
        let time = cx.time();
        let severity = self.severity.as_ref().and_then(|field| row.number(field.index)).map(f64::abs);
        let within = cx.state.until.is_some_and(|until| time < until);
        if within && !self.worse(severity, cx.state.severity) {
            cx.state.hold(severity, self.summary.then(|| carried(row)));
            return Ok(());
        }
        let until = time.saturating_add(self.every.micros());
        let held_back = cx.state.held;
        *cx.state = State { until: Some(until), severity, ..State::default() };
        cx.wake_at(until);
        if self.summary {
            cx.emit(carried(row).into_iter().chain([Value::Int(held_back), Value::Bool(false)]));
        } else {
            cx.emit([Value::Int(held_back)]);
        }
        Ok(())
    }

    fn on_timer(&self, cx: &mut Cx<'_, State>, at: EventTime) {
        // A worse alert may have gone through and begun another interval.
        if cx.state.until != Some(at) {
            return;
        }
        if let Some((_, fields)) = cx.state.worst.take() {
            let held_back = cx.state.held;
            cx.emit(fields.into_iter().chain([Value::Int(held_back), Value::Bool(true)]));
            cx.state.held = 0;
        }
        if cx.state.held == 0 {
            cx.forget();
        }
    }

    fn inspect(&self, state: &State) -> Vec<Shown> {
        let worst = state.worst.as_ref().and_then(|(severity, _)| *severity);
        vec![
            shown_time("until", state.until),
            shown("severity", Kind::Float, state.severity),
            shown("held_back", Kind::Int, state.held),
            shown("worst", Kind::Float, worst),
        ]
    }
}

impl Refractory {
    fn worse(&self, severity: Option<f64>, than: Option<f64>) -> bool {
        let factor = self.factor.unwrap_or(FACTOR_DEFAULT);
        severity.zip(than).is_some_and(|(severity, than)| severity > factor * than)
    }
}

impl State {
    fn hold(&mut self, severity: Option<f64>, fields: Option<Vec<Value>>) {
        self.held += 1;
        let Some(fields) = fields else { return };
        let known = |severity: Option<f64>| severity.filter(|s| !s.is_nan()).unwrap_or(f64::NEG_INFINITY);
        if self.worst.as_ref().is_none_or(|(worst, _)| known(severity) >= known(*worst)) {
            self.worst = Some((severity, fields));
        }
    }
}

/// The fields of a record that a summary repeats.
fn carried(row: Row<'_>) -> Vec<Value> {
    let schema = row.batch().records().schema();
    let names = schema.fields().iter().skip(crate::schema::SYSTEM).map(|f| f.name().as_str());
    let indices = names.enumerate().filter(|(_, name)| *name != "held_back" && *name != "summary");
    indices.map(|(index, _)| row.value(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};

    #[test]
    fn the_example() {
        // 10 minutes are 600 s; the second alert is not 1.5 times as bad as the first, the third is.
        let script = "0 sensor=a z=4
                      60000000 sensor=a z=5
                      70000000 sensor=b z=9
                      120000000 sensor=a z=-7
                      180000000 sensor=a z=8
                      190000000 sensor=a z=-9
                      200000000 sensor=a z=6
                      -- 719999999
                      720000000 sensor=a z=4
                      -- end";
        let expected = "0 sensor=a z=4.0 held_back=0 summary=false made_from=in[0]@0
            70000000 sensor=b z=9.0 held_back=0 summary=false made_from=in[0]@2
            120000000 sensor=a z=-7.0 held_back=1 summary=false made_from=in[0]@3
            719999999 sensor=a z=-9.0 held_back=3 summary=true made_from=null
            720000000 sensor=a z=4.0 held_back=0 summary=false made_from=in[0]@7";
        check(&registry(), &example(Refractory::MANUAL), "sensor:text z:float", script, expected);
    }

    #[test]
    fn without_a_summary_the_next_alert_tells_the_number() {
        let script = "0 sensor=a
                      99 sensor=a
                      100 sensor=a
                      150 sensor=a
                      160 sensor=a
                      -- 1000
                      2000 sensor=a
                      -- end";
        let expected = "0 sensor=a held_back=0 made_from=in[0]@0
            100 sensor=a held_back=1 made_from=in[0]@2
            2000 sensor=a held_back=2 made_from=in[0]@5";
        check(&registry(), "kind = 'refractory'\nkey = 'sensor'\nevery = '100us'", "sensor:text", script, expected);
    }

    #[test]
    fn a_null_severity_is_no_worse_than_any() {
        let script = "0 sensor=a z=null
                      10 sensor=a z=9
                      100 sensor=a z=1
                      110 sensor=a z=null
                      120 sensor=a z=2
                      130 sensor=a z=3
                      -- end";
        let expected = "0 sensor=a z=null held_back=0 made_from=in[0]@0
            100 sensor=a z=1.0 held_back=1 made_from=in[0]@2
            130 sensor=a z=3.0 held_back=2 made_from=in[0]@5";
        let config = "kind = 'refractory'\nkey = 'sensor'\nevery = '100us'\nseverity = 'z'\nfactor = 2";
        check(&registry(), config, "sensor:text z:float", script, expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, says) in [
            ("every = '0s'", "every: an interval of no length holds nothing back (every = \"10m\")"),
            (
                "every = '1s'\nfactor = 2",
                "factor: `factor` compares severities, and there is no `severity` (severity = \"z\")",
            ),
            (
                "every = '1s'\nseverity = 'z'\nfactor = 0.5",
                "factor: 0.5 times as bad is not worse (1 or a number above it)",
            ),
            ("every = '1s'\nseverity = 'zz'", "severity: no field `zz` comes in (did you mean `z`?)"),
        ] {
            assert_eq!(
                faults(&registry(), &format!("kind = 'refractory'\nkey = 'z'\n{setting}"), "z:float"),
                says,
                "{setting}"
            );
        }
    }
}
