//! The accumulators: partial aggregates in slots, folded record by record in the order of the rows.
//!
//! A slot is a number; every accumulator of a step keeps one partial for it. A batch is folded one accumulator at a
//! time, in a loop over the slots of the rows and one typed column. Rows that count nowhere go to a slot of their own,
//! so that the loop has no branch for them. Never a kernel that sums a column whole: it would let the batch's boundary
//! into the bits.

use crate::batch::{Batch, write_json};
use crate::key::{self, Keys};
use crate::origin::{Origin, Origins};
use crate::schema::Kind;
use crate::stats::hyperloglog::HyperLogLog;
use crate::stats::moments::Moments;
use crate::stats::quantile::{Histogram, exact_quantiles};
use crate::stats::top_k::TopK;
use crate::time::EventTime;
use crate::value::{ColumnBuilder, Value, value_at};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int64Type};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How many keys a `top_k` holds for each that it tells, and at least.
const TOP_FACTOR: usize = 10;
const TOP_LEAST: usize = 100;

/// What an accumulator is made of; two aggregates of the same share it. Numbers are positions among the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// Counts records.
    Records,
    /// Counts values.
    Values(usize),
    /// Sums, extremes and moments of floats.
    Floats(usize),
    /// The same of integers, and extremes of times.
    Ints(usize),
    /// Bins for quantiles.
    Bins(usize),
    /// All the values.
    Kept(usize),
    /// Different values, with the precision.
    Distinct(usize, u8),
    /// Frequent values: their kind, and how many are asked for.
    Top(usize, Kind, usize),
    /// The first value, or the last.
    Edge(usize, Kind, bool),
    /// The times of the first and the last record.
    Span,
    /// Which records these are.
    Places,
}

impl Spec {
    /// An accumulator. `moments` says whether somebody asks for more than sums and extremes.
    pub fn build(&self, moments: bool) -> Box<dyn Accumulator> {
        match self.clone() {
            Spec::Records => boxed(Records),
            Spec::Values(argument) => boxed(Values { argument }),
            Spec::Floats(argument) => boxed(Floats { argument, moments }),
            Spec::Ints(argument) => boxed(Ints { argument, moments }),
            Spec::Bins(argument) => boxed(Bins { argument }),
            Spec::Kept(argument) => boxed(Kept { argument }),
            Spec::Distinct(argument, precision) => boxed(Distinct { argument, precision }),
            Spec::Top(argument, kind, k) => boxed(Top { argument, kind, k }),
            Spec::Edge(argument, kind, last) => boxed(Edge { argument, kind, last }),
            Spec::Span => boxed(SpanOf),
            Spec::Places => boxed(Places),
        }
    }
}

/// What is read out of a partial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// How many.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// Population variance.
    Variance,
    /// Sample variance; null below two values.
    SampleVariance,
    /// Population standard deviation.
    Stddev,
    /// Sample standard deviation; null below two values.
    SampleStddev,
    /// The least, as a number or as a time.
    Min(Kind),
    /// The greatest.
    Max(Kind),
    /// The sum by the second.
    Rate,
    /// A quantile.
    Quantile(f64),
    /// The only thing that the accumulator tells.
    It,
    /// The time of the first record, or 1 us after the last.
    Bound(bool),
}

impl Measure {
    /// Whether the moments are needed for it.
    pub fn needs_moments(self) -> bool {
        matches!(self, Measure::Variance | Measure::SampleVariance | Measure::Stddev | Measure::SampleStddev)
    }
}

/// The rows of a batch on their way into slots.
pub struct Rows<'a> {
    /// The slot of every row.
    pub slots: &'a [u32],
    /// The batch.
    pub batch: &'a Batch,
    /// The values of the step's arguments.
    pub arguments: &'a [ArrayRef],
}

/// What it takes to read results out.
pub struct Finishing<'a> {
    /// The slot of every result.
    pub slots: &'a [u32],
    /// The length of every result's window in microseconds.
    pub lengths: &'a [i64],
    /// The names of origins.
    pub origins: &'a Origins,
}

/// An accumulator whose partials are of some type.
pub trait Accumulator {
    /// Makes room for so many slots, the new ones empty.
    fn grow(&mut self, slots: usize);
    /// Folds rows in, in their order.
    fn update(&mut self, rows: &Rows<'_>);
    /// Adds a slot to another, whose records come before.
    fn merge(&mut self, into: u32, from: u32);
    /// Empties a slot.
    fn clear(&mut self, slot: u32);
    /// Reads results.
    fn finish(&self, measure: Measure, cx: &Finishing<'_>) -> ArrayRef;
    /// Appends a slot's partial.
    fn save(&self, slot: u32, bytes: &mut Vec<u8>);
    /// Takes a partial from the head of the bytes; gives the rest.
    fn load<'a>(&mut self, slot: u32, bytes: &'a [u8]) -> Result<&'a [u8], postcard::Error>;
}

/// What is particular to an accumulator.
trait Fold: 'static {
    type Partial: Serialize + DeserializeOwned;

    fn empty(&self) -> Self::Partial;
    fn fold(&self, partials: &mut [Self::Partial], rows: &Rows<'_>);
    fn merge(&self, into: &mut Self::Partial, from: &Self::Partial);
    fn kind(&self, measure: Measure) -> Kind;
    fn read(&self, measure: Measure, partial: &Self::Partial, length: i64, origins: &Origins) -> Value;
}

struct Folded<F: Fold> {
    fold: F,
    partials: Vec<F::Partial>,
}

fn boxed<F: Fold>(fold: F) -> Box<dyn Accumulator> {
    Box::new(Folded { fold, partials: Vec::new() })
}

impl<F: Fold> Accumulator for Folded<F> {
    fn grow(&mut self, slots: usize) {
        self.partials.resize_with(slots, || self.fold.empty());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        self.fold.fold(&mut self.partials, rows);
    }

    fn merge(&mut self, into: u32, from: u32) {
        let both = self.partials.get_disjoint_mut([into as usize, from as usize]);
        let [into, from] = both.expect("two slots that exist");
        self.fold.merge(into, from);
    }

    fn clear(&mut self, slot: u32) {
        self.partials[slot as usize] = self.fold.empty();
    }

    fn finish(&self, measure: Measure, cx: &Finishing<'_>) -> ArrayRef {
        let mut column = ColumnBuilder::new(self.fold.kind(measure));
        for (slot, length) in cx.slots.iter().zip(cx.lengths) {
            column.push(self.fold.read(measure, &self.partials[*slot as usize], *length, cx.origins));
        }
        column.finish()
    }

    fn save(&self, slot: u32, bytes: &mut Vec<u8>) {
        let saved = postcard::to_extend(&self.partials[slot as usize], std::mem::take(bytes));
        *bytes = saved.expect("a partial can be written");
    }

    fn load<'a>(&mut self, slot: u32, bytes: &'a [u8]) -> Result<&'a [u8], postcard::Error> {
        let (partial, rest) = postcard::take_from_bytes(bytes)?;
        self.partials[slot as usize] = partial;
        Ok(rest)
    }
}

/// Folds the values of a column that are not null, in the order of the rows.
#[inline(always)]
fn fold_values<A: ArrowPrimitiveType, P>(
    partials: &mut [P],
    slots: &[u32],
    column: &PrimitiveArray<A>,
    mut push: impl FnMut(&mut P, A::Native),
) {
    if column.null_count() == 0 {
        for (slot, value) in slots.iter().zip(column.values()) {
            push(&mut partials[*slot as usize], *value);
        }
    } else {
        for (slot, value) in slots.iter().zip(column) {
            value.into_iter().for_each(|value| push(&mut partials[*slot as usize], value));
        }
    }
}

fn float(value: f64) -> Value {
    Value::Float(if value.is_nan() { f64::NAN } else { value })
}

/// Multiplied first: micros make a whole divisor, seconds would not.
fn by_second(sum: f64, micros: i64) -> Value {
    float(sum * 1e6 / micros as f64)
}

fn count(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

struct Records;

impl Fold for Records {
    type Partial = u64;

    fn empty(&self) -> u64 {
        0
    }

    fn fold(&self, partials: &mut [u64], rows: &Rows<'_>) {
        rows.slots.iter().for_each(|slot| partials[*slot as usize] += 1);
    }

    fn merge(&self, into: &mut u64, from: &u64) {
        *into += from;
    }

    fn kind(&self, measure: Measure) -> Kind {
        if measure == Measure::Rate { Kind::Float } else { Kind::Int }
    }

    fn read(&self, measure: Measure, partial: &u64, length: i64, _: &Origins) -> Value {
        if measure == Measure::Rate { by_second(*partial as f64, length) } else { count(*partial) }
    }
}

struct Values {
    argument: usize,
}

impl Fold for Values {
    type Partial = u64;

    fn empty(&self) -> u64 {
        0
    }

    fn fold(&self, partials: &mut [u64], rows: &Rows<'_>) {
        let column = &rows.arguments[self.argument];
        for (row, slot) in rows.slots.iter().enumerate() {
            partials[*slot as usize] += u64::from(!column.is_null(row));
        }
    }

    fn merge(&self, into: &mut u64, from: &u64) {
        *into += from;
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Int
    }

    fn read(&self, _: Measure, partial: &u64, _: i64, _: &Origins) -> Value {
        count(*partial)
    }
}

struct Floats {
    argument: usize,
    moments: bool,
}

/// Count, sum, extremes and, where they are wanted, moments.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct FloatSummary {
    moments: Moments,
    sum: f64,
    /// NaN until there is a value that is none.
    min: f64,
    max: f64,
}

impl FloatSummary {
    #[inline(always)]
    fn push(&mut self, value: f64) {
        self.sum += value;
        self.widen(value, value);
    }

    #[inline(always)]
    fn widen(&mut self, min: f64, max: f64) {
        if min < self.min || self.min.is_nan() {
            self.min = min;
        }
        if max > self.max || self.max.is_nan() {
            self.max = max;
        }
    }
}

impl Fold for Floats {
    type Partial = FloatSummary;

    /// Minus zero is the zero of addition: a sum of nothing but minus zeros stays one, however it was cut.
    fn empty(&self) -> FloatSummary {
        FloatSummary { moments: Moments::default(), sum: -0.0, min: f64::NAN, max: f64::NAN }
    }

    fn fold(&self, partials: &mut [FloatSummary], rows: &Rows<'_>) {
        let column = rows.arguments[self.argument].as_primitive::<Float64Type>();
        if self.moments {
            fold_values(partials, rows.slots, column, |partial, value| {
                partial.moments.push(value);
                partial.push(value);
            });
        } else {
            fold_values(partials, rows.slots, column, |partial, value| {
                partial.moments.count += 1;
                partial.push(value);
            });
        }
    }

    fn merge(&self, into: &mut FloatSummary, from: &FloatSummary) {
        into.moments.merge(&from.moments);
        into.sum += from.sum;
        into.widen(from.min, from.max);
    }

    fn kind(&self, measure: Measure) -> Kind {
        if measure == Measure::Count { Kind::Int } else { Kind::Float }
    }

    fn read(&self, measure: Measure, partial: &FloatSummary, length: i64, _: &Origins) -> Value {
        match (measure, partial.moments.count) {
            (Measure::Count, n) => count(n),
            (Measure::Rate, 0) => float(0.0),
            (Measure::Rate, _) => by_second(partial.sum, length),
            (_, 0) => Value::Null,
            (Measure::Sum, _) => float(partial.sum),
            (Measure::Mean, n) => float(partial.sum / n as f64),
            (Measure::Min(_), _) => float(partial.min),
            (Measure::Max(_), _) => float(partial.max),
            _ => spread(measure, &partial.moments),
        }
    }
}

fn spread(measure: Measure, moments: &Moments) -> Value {
    match (measure, moments.count) {
        (Measure::Variance, _) => float(moments.variance()),
        (Measure::Stddev, _) => float(moments.stddev()),
        (_, 0 | 1) => Value::Null,
        (Measure::SampleVariance, _) => float(moments.sample_variance()),
        (Measure::SampleStddev, _) => float(moments.sample_variance().sqrt()),
        (other, _) => panic!("{other:?} was planned for moments"),
    }
}

struct Ints {
    argument: usize,
    moments: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct IntSummary {
    moments: Moments,
    sum: i128,
    min: i64,
    max: i64,
}

impl Fold for Ints {
    type Partial = IntSummary;

    fn empty(&self) -> IntSummary {
        IntSummary { moments: Moments::default(), sum: 0, min: i64::MAX, max: i64::MIN }
    }

    fn fold(&self, partials: &mut [IntSummary], rows: &Rows<'_>) {
        let column = rows.arguments[self.argument].as_primitive::<Int64Type>();
        let moments = self.moments;
        fold_values(partials, rows.slots, column, |partial, value| {
            if moments {
                partial.moments.push(value as f64);
            } else {
                partial.moments.count += 1;
            }
            partial.sum += i128::from(value);
            partial.min = partial.min.min(value);
            partial.max = partial.max.max(value);
        });
    }

    fn merge(&self, into: &mut IntSummary, from: &IntSummary) {
        into.moments.merge(&from.moments);
        into.sum += from.sum;
        into.min = into.min.min(from.min);
        into.max = into.max.max(from.max);
    }

    fn kind(&self, measure: Measure) -> Kind {
        match measure {
            Measure::Count | Measure::Sum => Kind::Int,
            Measure::Min(kind) | Measure::Max(kind) => kind,
            _ => Kind::Float,
        }
    }

    fn read(&self, measure: Measure, partial: &IntSummary, length: i64, _: &Origins) -> Value {
        match (measure, partial.moments.count) {
            (Measure::Count, n) => count(n),
            (Measure::Rate, _) => by_second(partial.sum as f64, length),
            (_, 0) => Value::Null,
            (Measure::Sum, _) => i64::try_from(partial.sum).map_or(Value::Null, Value::Int),
            (Measure::Mean, n) => float(partial.sum as f64 / n as f64),
            (Measure::Min(_), _) => Value::Int(partial.min),
            (Measure::Max(_), _) => Value::Int(partial.max),
            _ => spread(measure, &partial.moments),
        }
    }
}

struct Bins {
    argument: usize,
}

impl Fold for Bins {
    type Partial = Histogram;

    fn empty(&self) -> Histogram {
        Histogram::default()
    }

    fn fold(&self, partials: &mut [Histogram], rows: &Rows<'_>) {
        let column = rows.arguments[self.argument].as_primitive::<Float64Type>();
        fold_values(partials, rows.slots, column, |partial, value| {
            // A NaN is no measurement: it is refused, and has no rank.
            let _ = partial.record(value);
        });
    }

    fn merge(&self, into: &mut Histogram, from: &Histogram) {
        into.merge(from);
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Float
    }

    fn read(&self, measure: Measure, partial: &Histogram, _: i64, _: &Origins) -> Value {
        partial.quantile(quantile_of(measure)).into()
    }
}

fn quantile_of(measure: Measure) -> f64 {
    let Measure::Quantile(q) = measure else { panic!("{measure:?} was planned for a quantile") };
    q
}

struct Kept {
    argument: usize,
}

impl Fold for Kept {
    type Partial = Vec<f64>;

    fn empty(&self) -> Vec<f64> {
        Vec::new()
    }

    fn fold(&self, partials: &mut [Vec<f64>], rows: &Rows<'_>) {
        let column = rows.arguments[self.argument].as_primitive::<Float64Type>();
        fold_values(partials, rows.slots, column, |partial, value| {
            if !value.is_nan() {
                partial.push(value);
            }
        });
    }

    fn merge(&self, into: &mut Vec<f64>, from: &Vec<f64>) {
        into.extend_from_slice(from);
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Float
    }

    fn read(&self, measure: Measure, partial: &Vec<f64>, _: i64, _: &Origins) -> Value {
        exact_quantiles(partial, &[quantile_of(measure)])[0].into()
    }
}

struct Distinct {
    argument: usize,
    precision: u8,
}

impl Fold for Distinct {
    type Partial = HyperLogLog;

    fn empty(&self) -> HyperLogLog {
        HyperLogLog::new(self.precision)
    }

    fn fold(&self, partials: &mut [HyperLogLog], rows: &Rows<'_>) {
        let column = &rows.arguments[self.argument];
        let keys = Keys::of(std::slice::from_ref(column), column.len());
        for (row, (slot, hash)) in rows.slots.iter().zip(keys.hashes()).enumerate() {
            if !column.is_null(row) {
                partials[*slot as usize].insert(*hash);
            }
        }
    }

    fn merge(&self, into: &mut HyperLogLog, from: &HyperLogLog) {
        into.merge(from);
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Int
    }

    fn read(&self, _: Measure, partial: &HyperLogLog, _: i64, _: &Origins) -> Value {
        Value::Int(partial.estimate().round() as i64)
    }
}

struct Top {
    argument: usize,
    kind: Kind,
    k: usize,
}

impl Fold for Top {
    type Partial = TopK;

    fn empty(&self) -> TopK {
        TopK::new((self.k * TOP_FACTOR).max(TOP_LEAST))
    }

    fn fold(&self, partials: &mut [TopK], rows: &Rows<'_>) {
        let column = &rows.arguments[self.argument];
        let keys = Keys::of(std::slice::from_ref(column), column.len());
        for (row, slot) in rows.slots.iter().enumerate() {
            if !column.is_null(row) {
                partials[*slot as usize].add(keys.key(row), 1);
            }
        }
    }

    fn merge(&self, into: &mut TopK, from: &TopK) {
        into.merge(from);
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Text
    }

    /// `[{"value":"/cart","count":812}, ...]`; with `"error":3` where the count may be so much too high.
    fn read(&self, _: Measure, partial: &TopK, _: i64, _: &Origins) -> Value {
        let heavies = partial.top(self.k);
        let values = key::decode(heavies.iter().map(|heavy| &*heavy.key), &[self.kind]);
        let mut text = String::from("[");
        for (row, heavy) in heavies.iter().enumerate() {
            text.push_str(if row == 0 { "{\"value\":" } else { ",{\"value\":" });
            write_json(&mut text, &values[0], row);
            write!(text, ",\"count\":{}", heavy.count).expect("writing to a String does not fail");
            if heavy.error > 0 {
                write!(text, ",\"error\":{}", heavy.error).expect("writing to a String does not fail");
            }
            text.push('}');
        }
        text.push(']');
        Value::Text(text)
    }
}

struct Edge {
    argument: usize,
    kind: Kind,
    last: bool,
}

/// A value, and the place in canonical order of the record that had it.
type Edged = Option<((EventTime, Origin, i64), Value)>;

impl Edge {
    fn replaces(&self, new: (EventTime, Origin, i64), old: &Edged) -> bool {
        old.as_ref().is_none_or(|(place, _)| if self.last { new >= *place } else { new < *place })
    }
}

impl Fold for Edge {
    type Partial = Edged;

    fn empty(&self) -> Edged {
        None
    }

    fn fold(&self, partials: &mut [Edged], rows: &Rows<'_>) {
        let column = &rows.arguments[self.argument];
        let (times, origins, sequences) = (rows.batch.times(), rows.batch.origins(), rows.batch.sequences());
        for (row, slot) in rows.slots.iter().enumerate() {
            let place = (times[row], origins[row], sequences[row]);
            let partial = &mut partials[*slot as usize];
            if !column.is_null(row) && self.replaces(place, partial) {
                *partial = Some((place, value_at(column, row)));
            }
        }
    }

    fn merge(&self, into: &mut Edged, from: &Edged) {
        if let Some((place, _)) = from
            && self.replaces(*place, into)
        {
            into.clone_from(from);
        }
    }

    fn kind(&self, _: Measure) -> Kind {
        self.kind
    }

    fn read(&self, _: Measure, partial: &Edged, _: i64, _: &Origins) -> Value {
        partial.as_ref().map_or(Value::Null, |(_, value)| value.clone())
    }
}

struct SpanOf;

impl Fold for SpanOf {
    type Partial = (EventTime, EventTime);

    fn empty(&self) -> (EventTime, EventTime) {
        (EventTime::MAX, EventTime::MIN)
    }

    fn fold(&self, partials: &mut [(EventTime, EventTime)], rows: &Rows<'_>) {
        for (slot, time) in rows.slots.iter().zip(rows.batch.times()) {
            self.merge(&mut partials[*slot as usize], &(*time, *time));
        }
    }

    fn merge(&self, into: &mut (EventTime, EventTime), from: &(EventTime, EventTime)) {
        *into = (into.0.min(from.0), into.1.max(from.1));
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Time
    }

    fn read(&self, measure: Measure, partial: &(EventTime, EventTime), _: i64, _: &Origins) -> Value {
        Value::Time(if measure == Measure::Bound(false) { partial.0 } else { partial.1.saturating_add(1) })
    }
}

struct Places;

impl Fold for Places {
    /// By origin: the first and the last sequence.
    type Partial = Vec<(Origin, i64, i64)>;

    fn empty(&self) -> Self::Partial {
        Vec::new()
    }

    fn fold(&self, partials: &mut [Self::Partial], rows: &Rows<'_>) {
        let (origins, sequences) = (rows.batch.origins(), rows.batch.sequences());
        for (row, slot) in rows.slots.iter().enumerate() {
            add_place(&mut partials[*slot as usize], (origins[row], sequences[row], sequences[row]));
        }
    }

    fn merge(&self, into: &mut Self::Partial, from: &Self::Partial) {
        from.iter().for_each(|place| add_place(into, *place));
    }

    fn kind(&self, _: Measure) -> Kind {
        Kind::Text
    }

    fn read(&self, _: Measure, partial: &Self::Partial, _: i64, origins: &Origins) -> Value {
        let mut text = String::new();
        for (origin, first, last) in partial {
            text.push_str(if text.is_empty() { "" } else { " " });
            origins.write_name(&mut text, *origin);
            let written = if first == last { write!(text, "@{first}") } else { write!(text, "@{first}-{last}") };
            written.expect("writing to a String does not fail");
        }
        Value::Text(text)
    }
}

fn add_place(places: &mut Vec<(Origin, i64, i64)>, (origin, first, last): (Origin, i64, i64)) {
    match places.binary_search_by_key(&origin, |place| place.0) {
        Ok(at) => places[at] = (origin, places[at].1.min(first), places[at].2.max(last)),
        Err(at) => places.insert(at, (origin, first, last)),
    }
}
