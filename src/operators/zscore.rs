//! `zscore` finds values that lie far from what their key did lately, in standard deviations.
//!
//! ```toml
//! [step.spikes]
//! kind      = "zscore"
//! input     = "readings"
//! key       = "sensor"
//! field     = "value"
//! window    = 4
//! threshold = 5
//! ```
//!
//! - `field`: the number to test
//! - `window` (default `100`): compare with the last so many values, or with those of the last so long (`"10m"`;
//!   exactly that old counts)
//! - `ewma`: instead of `window`: all the past, forgotten exponentially, by count (`{ alpha = 0.002 }`: the weight
//!   of a new value) or by time (`{ half_life = "10m" }`)
//! - `robust`: instead of `window`: `{ window = 100, floor = 0.001 }` compares with the median and takes 1.4826
//!   times the MAD for the deviation, but at least the share `floor` (default 0) of the median; `window` may be a
//!   time
//! - `threshold` (default `3`): a value is an anomaly when `z` is beyond this
//! - `direction` (default `"both"`): `"up"` or `"down"`: only values above, or below
//! - `min_deviation` (default `0`): the deviation counts as at least this, in the unit of the values: what a
//!   difference must be to be news
//! - `warmup` (default `30`): how many values a baseline must have before it judges; with a `window` of fewer
//!   values, that many
//! - `nan` (default `"reject"`): what to do with NaN and infinity: to `rejected`, or `"skip"`
//! - `emit` (default `"anomalies"`): or `"all"`: every record, with the field `anomaly`
//!
//! **A value is never in its own baseline**: it is tested against what came before it, then joins. Anomalies join
//! too, so that after a lasting change of level the alerts end when the window has seen enough of it; `robust`
//! takes half a window for that, and one outlier does not blind it. A spike that leaves the window leaves no trace
//! in the moments: they are only ever combined, never subtracted (DABA Lite). The deviation is the population's
//! (divided by n).
//!
//! **Where the deviation is 0** (all values of the baseline are equal, and there is no `min_deviation`) a value
//! equal to them has `z` 0; any other is infinitely far away: it is an anomaly, and its `z` is null, since no
//! number says so.
//!
//! **Outputs.** `out` has the fields of the record, and behind them (an input field of the same name gives way):
//!
//! - `value`: the number tested
//! - `mean`: of the baseline; with `robust` this field is `median`
//! - `deviation`: of the baseline, as it was used: not below `min_deviation` or the floor
//! - `z`: (value - mean) / deviation; null while warming up
//! - `baseline_from`, `baseline_until`: the times of the oldest and the newest value that it was compared with
//! - `baseline_count`: how many these were
//! - `anomaly`: with `emit = "all"` only
//!
//! A null goes to `rejected`; so does NaN or infinity, unless `nan = "skip"`, which lets the record by without a
//! score (with `emit = "all"`; otherwise nothing comes out) and without joining the baseline. Records come in
//! canonical order; one that is late goes to `late`.

use crate::fault::Fault;
use crate::operator::keyed::{Cx, Emits, KeyedOperator};
use crate::operator::{Column, Emit, Nan, Planning, Reject, Shown, Span, shown, shown_time, too_old_at};
use crate::schema::{Field, Kind};
use crate::stats::ewma::{Ewma, TimedEwma};
use crate::stats::moments::Moments;
use crate::stats::robust::{Floor, RobustWindow};
use crate::stats::sliding::TimedSliding;
use crate::time::{EventTime, Interval};
use crate::value::{Row, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

const WINDOW_DEFAULT: Span = Span::Count(100);
const WARMUP_DEFAULT: u64 = 30;

/// The configuration of a z-score.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zscore {
    /// The number to test.
    field: Column,
    /// Compare with the last so many values, or with those of the last so long; 100 by default.
    window: Option<Span>,
    /// Compare with all the past, forgotten exponentially.
    ewma: Option<Forgetting>,
    /// Compare with median and MAD.
    robust: Option<Robust>,
    /// A value is an anomaly when z is beyond this.
    #[serde(default = "three")]
    threshold: f64,
    /// Which side counts.
    #[serde(default)]
    direction: Direction,
    /// The deviation counts as at least this.
    #[serde(default)]
    min_deviation: f64,
    /// How many values a baseline must have before it judges; 30 by default.
    warmup: Option<u64>,
    /// What to do with NaN and infinity.
    #[serde(default)]
    nan: Nan,
    /// What to give out.
    #[serde(default)]
    emit: Emit,
}

/// How an exponentially weighted baseline forgets: by count or by time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Forgetting {
    /// The weight of a new value, between 0 and 1.
    alpha: Option<f64>,
    /// The age at which a value counts half.
    half_life: Option<Interval>,
}

/// A baseline of median and MAD.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Robust {
    /// The last so many values, or those of the last so long; 100 by default.
    window: Option<Span>,
    /// The deviation is at least this share of the median.
    #[serde(default)]
    floor: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Both,
    Up,
    Down,
}

fn three() -> f64 {
    3.0
}

/// What is remembered of a key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct State {
    baseline: Option<Baseline>,
    /// Whether a timer is set that forgets the key once its whole window is too old.
    waking: bool,
}

/// What a value is compared with.
#[derive(Clone, Serialize, Deserialize)]
enum Baseline {
    Moments(TimedSliding<Moments>),
    Ewma(Ewma, Extent),
    TimedEwma(TimedEwma, Extent),
    Robust(RobustWindow, VecDeque<EventTime>),
}

/// How many values a baseline was made of, and from when to when.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Extent {
    count: u64,
    from: Option<EventTime>,
    until: Option<EventTime>,
}

/// What became of a value.
struct Score {
    center: Option<f64>,
    deviation: Option<f64>,
    z: Option<f64>,
    anomaly: bool,
}

impl KeyedOperator for Zscore {
    const NAME: &'static str = "zscore";
    const MANUAL: &'static str = include_str!("zscore.rs");

    type State = State;

    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
        planning.number(&mut self.field, "field");
        self.check_baseline(planning);
        self.check_numbers(planning);
        let center = if self.robust.is_some() { "median" } else { "mean" };
        let mut fields: Vec<Field> =
            ["value", center, "deviation", "z"].map(|name| Field::new(name, Kind::Float)).into();
        fields.extend(["baseline_from", "baseline_until"].map(|name| Field::new(name, Kind::Time)));
        fields.push(Field::new("baseline_count", Kind::Int));
        fields.extend((self.emit == Emit::All).then(|| Field::new("anomaly", Kind::Bool)));
        Emits { extends_input: true, fields, uses: BTreeSet::from([self.field.name.clone()]) }
    }

    fn on_record(&self, cx: &mut Cx<'_, State>, row: Row<'_>) -> Result<(), Reject> {
        let value = self.nan.number(row, &self.field)?;
        let time = cx.time();
        let span = self.span();
        let baseline = cx.state.baseline.get_or_insert_with(|| self.begin());
        if let Some(Span::Time(interval)) = span {
            baseline.evict_before(time.saturating_sub(interval.micros()));
        }
        let extent = baseline.extent();
        let score = self.score(baseline, &extent, value);
        if let Some(value) = value {
            baseline.push(time, value, span);
        }
        if let (Some(Span::Time(interval)), false) = (span, cx.state.waking) {
            cx.state.waking = true;
            cx.wake_at(too_old_at(time, interval));
        }
        if self.emit == Emit::All || score.anomaly {
            cx.emit(self.fields(value, &extent, score));
        }
        Ok(())
    }

    fn on_timer(&self, cx: &mut Cx<'_, State>, at: EventTime) {
        let newest = cx.state.baseline.as_ref().and_then(|baseline| baseline.extent().until);
        match (self.span(), newest) {
            (Some(Span::Time(interval)), Some(newest)) if too_old_at(newest, interval) > at => {
                cx.wake_at(too_old_at(newest, interval))
            }
            _ => cx.forget(),
        }
    }

    fn inspect(&self, state: &State) -> Vec<Shown> {
        let baseline = state.baseline.as_ref();
        let extent = baseline.map(Baseline::extent).unwrap_or_default();
        let (center, deviation) = baseline.and_then(|baseline| self.measure(baseline)).unzip();
        let name = if self.robust.is_some() { "median" } else { "mean" };
        vec![
            shown("count", Kind::Int, extent.count as i64),
            shown(name, Kind::Float, center),
            shown("deviation", Kind::Float, deviation),
            shown_time("baseline_from", extent.from),
            shown_time("baseline_until", extent.until),
        ]
    }
}

impl Zscore {
    fn check_baseline(&self, planning: &mut Planning<'_>) {
        let given =
            [("window", self.window.is_some()), ("ewma", self.ewma.is_some()), ("robust", self.robust.is_some())];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if let [first, second, ..] = given[..] {
            let says = format!("`{first}` and `{second}` are two baselines");
            planning.fault(Fault::at(second, says).help("one of `window`, `ewma`, `robust`"));
        }
        if let Some(Forgetting { alpha, half_life }) = &self.ewma {
            if alpha.is_some() == half_life.is_some() {
                let help = "ewma = { alpha = 0.002 } or { half_life = \"10m\" }";
                planning.fault(Fault::at("ewma", "an EWMA forgets either by count or by time").help(help));
            }
            if alpha.is_some_and(|alpha| !(alpha > 0.0 && alpha <= 1.0)) {
                planning.fault(Fault::at("ewma.alpha", "the weight of a new value lies between 0 and 1"));
            }
            if half_life.is_some_and(Interval::is_zero) {
                planning.fault(Fault::at("ewma.half_life", "a half life has a length"));
            }
        }
        if let Some(Span::Count(count @ 0..2)) = self.span() {
            let at = if self.robust.is_some() { "robust.window" } else { "window" };
            planning.fault(Fault::at(at, format!("{count} value has no deviation")).help("take two or more"));
        }
    }

    fn check_numbers(&self, planning: &mut Planning<'_>) {
        let floor = self.robust.as_ref().map_or(0.0, |robust| robust.floor);
        for (at, value) in [("min_deviation", self.min_deviation), ("robust.floor", floor)] {
            if !(value >= 0.0 && value.is_finite()) {
                planning.fault(Fault::at(at, format!("{value} is no deviation")).help("0 or a number above it"));
            }
        }
        if !(self.threshold > 0.0 && self.threshold.is_finite()) {
            let says = format!("{} is no threshold", self.threshold);
            planning.fault(Fault::at("threshold", says).help("a number above 0; `direction = \"down\"` looks below"));
        }
        match (self.warmup, self.span()) {
            (Some(warmup), Some(Span::Count(count))) if warmup > count as u64 => {
                let says = format!("a window of {count} values never has {warmup}");
                planning.fault(Fault::at("warmup", says).help(format!("at most {count}")));
            }
            (Some(0 | 1), _) => planning.fault(Fault::at("warmup", "one value has no deviation").help("2 or more")),
            _ => {}
        }
    }

    /// How much of the past the baseline holds; `None` where it forgets exponentially.
    fn span(&self) -> Option<Span> {
        match &self.robust {
            Some(robust) => Some(robust.window.unwrap_or(WINDOW_DEFAULT)),
            None if self.ewma.is_some() => None,
            None => Some(self.window.unwrap_or(WINDOW_DEFAULT)),
        }
    }

    fn warmup(&self) -> u64 {
        let count = if let Some(Span::Count(count)) = self.span() { count as u64 } else { u64::MAX };
        self.warmup.unwrap_or(WARMUP_DEFAULT.min(count))
    }

    fn begin(&self) -> Baseline {
        match (&self.robust, &self.ewma) {
            (Some(_), _) => Baseline::Robust(RobustWindow::new(usize::MAX), VecDeque::new()),
            (None, Some(Forgetting { alpha: Some(alpha), .. })) => Baseline::Ewma(Ewma::new(*alpha), Extent::default()),
            (None, Some(Forgetting { half_life, .. })) => {
                let half_life = half_life.unwrap_or_default().micros() as f64;
                Baseline::TimedEwma(TimedEwma::with_half_life(half_life), Extent::default())
            }
            (None, None) => Baseline::Moments(TimedSliding::default()),
        }
    }

    fn score(&self, baseline: &Baseline, extent: &Extent, value: Option<f64>) -> Score {
        let (center, deviation) = self.measure(baseline).unzip();
        let (Some(center_of), Some(scale), Some(value)) = (center, deviation, value) else {
            return Score { center, deviation, z: None, anomaly: false };
        };
        if extent.count < self.warmup() {
            return Score { center, deviation, z: None, anomaly: false };
        }
        let away = value - center_of;
        // With no deviation to measure by, what is away at all is infinitely far away.
        let z = if away == 0.0 { 0.0 } else { away / scale };
        let far = match self.direction {
            Direction::Both => z.abs(),
            Direction::Up => z,
            Direction::Down => -z,
        };
        Score { center, deviation, z: z.is_finite().then_some(z), anomaly: far > self.threshold }
    }

    /// What a value is compared with: mean or median, and the deviation.
    fn measure(&self, baseline: &Baseline) -> Option<(f64, f64)> {
        let relative = self.robust.as_ref().map_or(0.0, |robust| robust.floor);
        baseline.center_and_deviation(Floor { absolute: self.min_deviation, relative })
    }

    fn fields(&self, value: Option<f64>, extent: &Extent, score: Score) -> impl Iterator<Item = Value> {
        let numbers = [value, score.center, score.deviation, score.z].map(Value::from);
        let times = [extent.from, extent.until].map(|time| time.map_or(Value::Null, Value::Time));
        let anomaly = (self.emit == Emit::All).then_some(Value::Bool(score.anomaly));
        numbers.into_iter().chain(times).chain([Value::Int(extent.count as i64)]).chain(anomaly)
    }
}

impl Baseline {
    fn evict_before(&mut self, bound: EventTime) {
        match self {
            Baseline::Moments(window) => {
                window.evict_before(bound);
            }
            Baseline::Robust(window, times) => {
                while times.front().is_some_and(|time| *time < bound) {
                    times.pop_front();
                    window.evict();
                }
            }
            Baseline::Ewma(..) | Baseline::TimedEwma(..) => {}
        }
    }

    /// Adds a value; where the window has a number of values, the oldest makes room.
    fn push(&mut self, time: EventTime, value: f64, span: Option<Span>) {
        let count = if let Some(Span::Count(count)) = span { count } else { usize::MAX };
        match self {
            Baseline::Moments(window) => {
                while window.len() >= count {
                    window.evict();
                }
                window.push(time, Moments::of(value));
            }
            Baseline::Ewma(ewma, extent) => {
                ewma.push(value);
                extent.add(time);
            }
            Baseline::TimedEwma(ewma, extent) => {
                ewma.push(value, time);
                extent.add(time);
            }
            Baseline::Robust(window, times) => {
                while window.len() >= count {
                    window.evict();
                    times.pop_front();
                }
                window.push(value);
                times.push_back(time);
            }
        }
    }

    fn extent(&self) -> Extent {
        match self {
            Baseline::Moments(w) => Extent { count: w.len() as u64, from: w.oldest(), until: w.newest() },
            Baseline::Ewma(_, extent) | Baseline::TimedEwma(_, extent) => *extent,
            Baseline::Robust(_, times) => {
                Extent { count: times.len() as u64, from: times.front().copied(), until: times.back().copied() }
            }
        }
    }

    /// Mean or median, and the deviation but at least the floor; `None` while there are no values.
    fn center_and_deviation(&self, floor: Floor) -> Option<(f64, f64)> {
        match self {
            Baseline::Moments(window) => {
                let moments = window.query();
                (moments.count > 0).then(|| (moments.mean, moments.stddev().max(floor.absolute)))
            }
            Baseline::Ewma(ewma, _) => ewma.mean().map(|mean| (mean, ewma.stddev().max(floor.absolute))),
            Baseline::TimedEwma(ewma, _) => ewma.mean().map(|mean| (mean, ewma.stddev().max(floor.absolute))),
            Baseline::Robust(window, _) => window.median().zip(window.scale(floor)),
        }
    }
}

impl Extent {
    fn add(&mut self, time: EventTime) {
        self.count += 1;
        self.from = self.from.or(Some(time));
        self.until = Some(time);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};
    use crate::stats::random::Random;

    /// Runs values of one sensor, 10 us apart.
    #[track_caller]
    fn scores(config: &str, values: &str, expected: &str) {
        let config = format!("kind = 'zscore'\nkey = 'sensor'\nfield = 'x'\n{config}");
        let records = values.split_whitespace().enumerate().map(|(i, x)| format!("{} sensor=a x={x}", 10 * (i + 1)));
        let script = records.collect::<Vec<_>>().join("\n") + "\n-- end";
        check(&registry(), &config, "sensor:text x:float", &script, expected);
    }

    #[test]
    fn the_example() {
        let script = "10 sensor=a value=1
                      20 sensor=a value=3
                      25 sensor=b value=8
                      50 sensor=a value=8
                      40 sensor=a value=3
                      30 sensor=a value=1
                      -- 60
                      45 sensor=a value=3 ^60
                      70 sensor=a value=8
                      80 sensor=a value=null
                      -- end";
        let expected = "
            50 sensor=a value=8.0 mean=2.0 deviation=1.0 z=6.0 baseline_from=10 baseline_until=40 baseline_count=4 made_from=in[0]@3
            rejected: 80 reason=`value`_is_null,_where_a_number_is_needed
            late: 45 sensor=a value=3.0 reason=older_than_the_watermark_of_its_partition,_which_was_1970-01-01T00:00:00.000060Z_already;_this_step_needs_its_records_in_order ^60";
        check(&registry(), &example(Zscore::MANUAL), "sensor:text value:float", script, expected);
    }

    #[test]
    fn a_spike_that_has_left_the_window_leaves_no_trace() {
        let expected = "
            50 sensor=a x=1e12 value=1e12 mean=2.0 deviation=1.0 z=999999999998.0 baseline_from=10 baseline_until=40 baseline_count=4 made_from=in[0]@4
            100 sensor=a x=8.0 value=8.0 mean=2.0 deviation=1.0 z=6.0 baseline_from=60 baseline_until=90 baseline_count=4 made_from=in[0]@9";
        let expected = expected.replace("1e12", "1000000000000.0");
        scores("window = 4\nthreshold = 5", "1 3 1 3 1e12 1 3 1 3 8", &expected);
    }

    #[test]
    fn by_time_what_is_too_old_is_gone() {
        // At 60 the window of 30 us holds 30, 40 and 50; the value at exactly 30 us of age counts.
        let config = "window = '30us'\nwarmup = 3\nthreshold = 5";
        let expected = "60 sensor=a x=9.0 value=9.0 mean=2.0 deviation=0.816496580927726 z=8.573214099741124 \
                        baseline_from=30 baseline_until=50 baseline_count=3 made_from=in[0]@5";
        scores(config, "100 -100 1 2 3 9", expected);
    }

    #[test]
    fn as_computed_anew_for_every_record() {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..300).map(|n| if n == 100 { 1e9 } else { random.normal() }).collect();
        let times: Vec<i64> = (0..300).map(|n| 10 * n + random.pick(10) as i64).collect();
        let records = times.iter().zip(&values).map(|(time, x)| format!("{time} sensor=a x={x}"));
        let script = records.collect::<Vec<_>>().join("\n") + "\n-- end";
        for (window, span) in [("12", Span::Count(12)), ("'125us'", Span::Time(Interval::from_micros(125)))] {
            let config =
                format!("kind = 'zscore'\nkey = 'sensor'\nfield = 'x'\nemit = 'all'\nwarmup = 5\nwindow = {window}");
            let output = crate::check::agree(&registry(), &config, "sensor:text x:float", &script);
            for (n, line) in output.lines().enumerate().skip(12) {
                let first = match span {
                    Span::Count(count) => n - count,
                    Span::Time(interval) => times.partition_point(|time| *time < times[n] - interval.micros()),
                };
                let baseline = &values[first..n];
                let mean = baseline.iter().sum::<f64>() / baseline.len() as f64;
                let deviation =
                    (baseline.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / baseline.len() as f64).sqrt();
                for (name, expected) in [("deviation", deviation), ("z", (values[n] - mean) / deviation)] {
                    let text = line.split_once(&format!(" {name}=")).and_then(|(_, rest)| rest.split(' ').next());
                    let found: f64 = text.and_then(|text| text.parse().ok()).expect(line);
                    assert!(
                        (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                        "{name} is {found}, not {expected}: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn exponential_baselines_weigh_the_new_more() {
        let expected = "30 sensor=a x=9.0 value=9.0 mean=1.6666666666666665 deviation=0.4714045207910318 z=15.556349186104043 \
                        baseline_from=10 baseline_until=20 baseline_count=2 made_from=in[0]@2";
        // Weights 1/2 and 1: a half life of 10 us is alpha 1/2 for values 10 us apart.
        scores("ewma = { alpha = 0.5 }\nwarmup = 2", "1 2 9", expected);
        let config = "kind = 'zscore'\nkey = 'sensor'\nfield = 'x'\newma = { half_life = '10us' }\nwarmup = 2";
        let script = "10 sensor=a x=1\n20 sensor=a x=2\n30 sensor=a x=9\n-- end";
        let by_time = crate::check::agree(&registry(), config, "sensor:text x:float", script);
        let z: f64 = by_time.split("z=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a z");
        assert!((z - 15.556349186104045).abs() < 1e-9, "{by_time}");
    }

    #[test]
    fn median_and_mad_are_not_blinded_by_an_outlier() {
        let config = "robust = { window = 5 }\nthreshold = 5\nmin_deviation = 0.5";
        let expected = "
            60 sensor=a x=900.0 value=900.0 median=3.0 deviation=1.482602218505602 z=605.0173059258852 baseline_from=10 baseline_until=50 baseline_count=5 made_from=in[0]@5
            70 sensor=a x=20.0 value=20.0 median=4.0 deviation=1.482602218505602 z=10.791836003137307 baseline_from=20 baseline_until=60 baseline_count=5 made_from=in[0]@6";
        scores(config, "1 2 3 4 5 900 20", expected);
        // Without its floor the deviation here is 0; with it, a thousandth of 1000.
        let config = "robust = { window = 3, floor = 0.001 }";
        let expected = "50 sensor=a x=1005.0 value=1005.0 median=1000.0 deviation=1.0 z=5.0 baseline_from=20 baseline_until=40 baseline_count=3 made_from=in[0]@4";
        scores(config, "1000 1000 1000 1002 1005", expected);
    }

    #[test]
    fn where_nothing_deviates_any_difference_is_infinite() {
        let row = |z: &str, deviation: &str| {
            format!(
                "50 sensor=a x=8.0 value=8.0 mean=7.0 deviation={deviation} z={z} baseline_from=20 baseline_until=40 baseline_count=3 made_from=in[0]@4"
            )
        };
        scores("window = 3", "7 7 7 7 8", &row("null", "0.0"));
        scores("window = 3\ndirection = 'up'", "7 7 7 7 8", &row("null", "0.0"));
        scores("window = 3\ndirection = 'down'", "7 7 7 7 8", "");
        scores("window = 3\nmin_deviation = 0.25", "7 7 7 7 8", &row("4.0", "0.25"));
        scores("window = 3\nmin_deviation = 0.5", "7 7 7 7 8", "");
    }

    #[test]
    fn all_records_say_whether_they_are_anomalies() {
        let expected = "
            10 sensor=a x=1.0 value=1.0 mean=null deviation=null z=null baseline_from=null baseline_until=null baseline_count=0 anomaly=false made_from=in[0]@0
            20 sensor=a x=NaN value=null mean=1.0 deviation=0.0 z=null baseline_from=10 baseline_until=10 baseline_count=1 anomaly=false made_from=in[0]@1
            30 sensor=a x=3.0 value=3.0 mean=1.0 deviation=0.0 z=null baseline_from=10 baseline_until=10 baseline_count=1 anomaly=false made_from=in[0]@2
            40 sensor=a x=-9.0 value=-9.0 mean=2.0 deviation=1.0 z=-11.0 baseline_from=10 baseline_until=30 baseline_count=2 anomaly=true made_from=in[0]@3";
        scores("warmup = 2\nemit = 'all'\nnan = 'skip'", "1 NaN 3 -9", &expected.replace("x=NaN", "x=\"NaN\""));
        scores("", "1 inf", "rejected: 20 reason=`x`_is_inf,_where_a_finite_number_is_needed");
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, says) in [
            ("field = 'y'", "field: no field `y` comes in (did you mean `x`?)"),
            ("field = 'name'", "field: field `name` is text, this needs `int`, `float`"),
            ("window = 1", "window: 1 value has no deviation (take two or more)"),
            (
                "window = 5\nrobust = {}",
                "robust: `window` and `robust` are two baselines (one of `window`, `ewma`, `robust`)",
            ),
            (
                "ewma = {}",
                "ewma: an EWMA forgets either by count or by time (ewma = { alpha = 0.002 } or { half_life = \"10m\" })",
            ),
            ("ewma = { alpha = 2.0 }", "ewma.alpha: the weight of a new value lies between 0 and 1"),
            ("window = 5\nwarmup = 6", "warmup: a window of 5 values never has 6 (at most 5)"),
            ("threshold = -3", "threshold: -3 is no threshold (a number above 0; `direction = \"down\"` looks below)"),
            ("min_deviation = nan", "min_deviation: NaN is no deviation (0 or a number above it)"),
            ("direction = 'upwards'", "direction: unknown variant `upwards`, expected one of `both`, `up`, `down`"),
        ] {
            let field = if setting.starts_with("field") { "" } else { "field = 'x'\n" };
            let config = format!("kind = 'zscore'\nkey = 'x'\n{field}{setting}");
            assert_eq!(faults(&registry(), &config, "x:float name:text"), says, "{setting}");
        }
    }
}
