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
use crate::stats::quantile::{Histogram, Sorting, exact_quantile};
use crate::stats::top_k::TopK;
use crate::time::EventTime;
use crate::value::{ColumnBuilder, Value, value_at};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, PrimitiveArray, StringArray, StringBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampMicrosecondType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::Arc;

/// How many keys a `top_k` holds for each that it tells, and at least.
const TOP_FACTOR: usize = 10;
const TOP_LEAST: usize = 100;

/// For how many values an emptied slot keeps its room; more would add up where a large key has had it.
const KEPT_ROOM: usize = 64;

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
    /// Adds slots to others, whose records come before: pairs of into and from, in their order.
    fn merge(&mut self, pairs: &[(u32, u32)]);
    /// Empties slots.
    fn clear(&mut self, slots: &[u32]);
    /// Reads results: a column for each measure.
    fn finish(&self, measures: &[Measure], cx: &Finishing<'_>) -> Vec<ArrayRef>;
    /// Appends a slot's partial.
    fn save(&self, slot: u32, bytes: &mut Vec<u8>);
    /// Makes room for the copies of so many slots.
    fn expect_copies(&mut self, count: usize);
    /// Copies the partials of some slots, behind those that were copied before.
    fn copy(&mut self, slots: &[u32]);
    /// All that was copied, in that order.
    fn take_copies(&mut self) -> Box<dyn Copies>;
    /// Takes a partial from the head of the bytes; gives the rest.
    fn load<'a>(&mut self, slot: u32, bytes: &'a [u8]) -> Result<&'a [u8], postcard::Error>;
}

/// Partials that can be saved on any thread.
pub trait Copies: Send {
    /// Appends one of them.
    fn save(&self, number: usize, bytes: &mut Vec<u8>);
}

impl<P: Serialize + Send> Copies for Vec<P> {
    fn save(&self, number: usize, bytes: &mut Vec<u8>) {
        let saved = postcard::to_extend(&self[number], std::mem::take(bytes));
        *bytes = saved.expect("a partial can be written");
    }
}

/// What is particular to an accumulator.
trait Fold: 'static {
    type Partial: Clone + Send + Serialize + DeserializeOwned + 'static;

    fn empty(&self) -> Self::Partial;

    /// Empties a partial; one that holds memory may keep some of it for the next.
    fn clear(&self, partial: &mut Self::Partial) {
        *partial = self.empty();
    }

    fn fold(&self, partials: &mut [Self::Partial], rows: &Rows<'_>);
    fn merge(&self, into: &mut Self::Partial, from: &Self::Partial);
    fn column(&self, measure: Measure, results: &Results<'_, Self::Partial>) -> ArrayRef;

    /// The columns of several measures; to be overridden where they share work.
    fn columns(&self, measures: &[Measure], results: &Results<'_, Self::Partial>) -> Vec<ArrayRef> {
        measures.iter().map(|measure| self.column(*measure, results)).collect()
    }
}

/// The partials that results are read from.
struct Results<'a, P> {
    partials: &'a [P],
    cx: &'a Finishing<'a>,
}

impl<P> Results<'_, P> {
    fn each(&self) -> impl ExactSizeIterator<Item = &P> {
        self.cx.slots.iter().map(|slot| &self.partials[*slot as usize])
    }

    /// Beside each the length of its window.
    fn timed(&self) -> impl ExactSizeIterator<Item = (&P, i64)> {
        self.each().zip(self.cx.lengths.iter().copied())
    }

    fn ints(&self, read: impl Fn(&P) -> Option<i64>) -> ArrayRef {
        Arc::new(column::<Int64Type>(self.each().map(read)))
    }

    fn times(&self, read: impl Fn(&P) -> Option<i64>) -> ArrayRef {
        Arc::new(column::<TimestampMicrosecondType>(self.each().map(read)).with_timezone("UTC"))
    }

    fn floats(&self, read: impl Fn(&P) -> Option<f64>) -> ArrayRef {
        Arc::new(column::<Float64Type>(self.each().map(|partial| read(partial).map(plain))))
    }

    /// Sums by the second.
    fn rates(&self, sum: impl Fn(&P) -> f64) -> ArrayRef {
        Arc::new(column::<Float64Type>(self.timed().map(|(partial, micros)| Some(by_second(sum(partial), micros)))))
    }
}

/// A column, with room for nulls only where there are some.
fn column<A: ArrowPrimitiveType>(values: impl ExactSizeIterator<Item = Option<A::Native>>) -> PrimitiveArray<A> {
    let (rows, mut nulls) = (values.len(), Vec::new());
    let mut known = Vec::with_capacity(rows);
    for (row, value) in values.enumerate() {
        if value.is_none() {
            nulls.push(row);
        }
        known.push(value.unwrap_or_default());
    }
    let valid = (!nulls.is_empty()).then(|| {
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        nulls.iter().for_each(|row| valid.set_bit(*row, false));
        NullBuffer::new(valid.finish())
    });
    PrimitiveArray::new(known.into(), valid)
}

struct Folded<F: Fold> {
    fold: F,
    partials: Vec<F::Partial>,
    copies: Vec<F::Partial>,
}

fn boxed<F: Fold>(fold: F) -> Box<dyn Accumulator> {
    Box::new(Folded { fold, partials: Vec::new(), copies: Vec::new() })
}

impl<F: Fold> Accumulator for Folded<F> {
    fn grow(&mut self, slots: usize) {
        self.partials.resize_with(slots, || self.fold.empty());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        self.fold.fold(&mut self.partials, rows);
    }

    fn merge(&mut self, pairs: &[(u32, u32)]) {
        for (into, from) in pairs {
            let both = self.partials.get_disjoint_mut([*into as usize, *from as usize]);
            let [into, from] = both.expect("two slots that exist");
            self.fold.merge(into, from);
        }
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.fold.clear(&mut self.partials[*slot as usize]));
    }

    fn finish(&self, measures: &[Measure], cx: &Finishing<'_>) -> Vec<ArrayRef> {
        self.fold.columns(measures, &Results { partials: &self.partials, cx })
    }

    fn save(&self, slot: u32, bytes: &mut Vec<u8>) {
        self.partials.save(slot as usize, bytes);
    }

    fn expect_copies(&mut self, count: usize) {
        self.copies.reserve(count);
    }

    fn copy(&mut self, slots: &[u32]) {
        self.copies.extend(slots.iter().map(|slot| self.partials[*slot as usize].clone()));
    }

    fn take_copies(&mut self) -> Box<dyn Copies> {
        Box::new(std::mem::take(&mut self.copies))
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

/// All NaNs are one.
fn plain(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// Multiplied first: micros make a whole divisor, seconds would not.
fn by_second(sum: f64, micros: i64) -> f64 {
    plain(sum * 1e6 / micros as f64)
}

fn count(count: u64) -> Option<i64> {
    Some(i64::try_from(count).unwrap_or(i64::MAX))
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

    fn column(&self, measure: Measure, results: &Results<'_, u64>) -> ArrayRef {
        if measure == Measure::Rate { results.rates(|n| *n as f64) } else { results.ints(|n| count(*n)) }
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

    fn column(&self, _: Measure, results: &Results<'_, u64>) -> ArrayRef {
        results.ints(|n| count(*n))
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

    fn column(&self, measure: Measure, results: &Results<'_, FloatSummary>) -> ArrayRef {
        let some = |read: fn(&FloatSummary) -> f64| {
            results.floats(move |partial| (partial.moments.count > 0).then(|| read(partial)))
        };
        match measure {
            Measure::Count => results.ints(|partial| count(partial.moments.count)),
            // Of no values it is zero, and not minus zero.
            Measure::Rate => results.rates(|partial| if partial.moments.count == 0 { 0.0 } else { partial.sum }),
            Measure::Sum => some(|partial| partial.sum),
            Measure::Mean => some(|partial| partial.sum / partial.moments.count as f64),
            Measure::Min(_) => some(|partial| partial.min),
            Measure::Max(_) => some(|partial| partial.max),
            _ => results.floats(|partial| spread(measure, &partial.moments)),
        }
    }
}

fn spread(measure: Measure, moments: &Moments) -> Option<f64> {
    match (measure, moments.count) {
        (_, 0) => None,
        (Measure::Variance, _) => Some(moments.variance()),
        (Measure::Stddev, _) => Some(moments.stddev()),
        (_, 1) => None,
        (Measure::SampleVariance, _) => Some(moments.sample_variance()),
        (Measure::SampleStddev, _) => Some(moments.sample_variance().sqrt()),
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

    fn column(&self, measure: Measure, results: &Results<'_, IntSummary>) -> ArrayRef {
        let some = |read: fn(&IntSummary) -> i64| {
            move |partial: &IntSummary| (partial.moments.count > 0).then(|| read(partial))
        };
        match measure {
            Measure::Count => results.ints(|partial| count(partial.moments.count)),
            Measure::Rate => results.rates(|partial| partial.sum as f64),
            Measure::Sum => results.ints(|partial| match partial.moments.count {
                0 => None,
                _ => i64::try_from(partial.sum).ok(),
            }),
            Measure::Mean => results.floats(|partial| match partial.moments.count {
                0 => None,
                n => Some(partial.sum as f64 / n as f64),
            }),
            Measure::Min(Kind::Time) => results.times(some(|partial| partial.min)),
            Measure::Max(Kind::Time) => results.times(some(|partial| partial.max)),
            Measure::Min(_) => results.ints(some(|partial| partial.min)),
            Measure::Max(_) => results.ints(some(|partial| partial.max)),
            _ => results.floats(|partial| spread(measure, &partial.moments)),
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

    fn column(&self, measure: Measure, results: &Results<'_, Histogram>) -> ArrayRef {
        results.floats(|partial| partial.quantile(quantile_of(measure)))
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

    fn clear(&self, partial: &mut Vec<f64>) {
        partial.clear();
        if partial.capacity() > KEPT_ROOM {
            *partial = Vec::new();
        }
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

    fn column(&self, measure: Measure, results: &Results<'_, Vec<f64>>) -> ArrayRef {
        self.columns(&[measure], results).remove(0)
    }

    /// Sorts the values of a result once, for all its quantiles.
    fn columns(&self, measures: &[Measure], results: &Results<'_, Vec<f64>>) -> Vec<ArrayRef> {
        let quantiles: Vec<f64> = measures.iter().map(|measure| quantile_of(*measure)).collect();
        let mut columns = vec![Vec::with_capacity(results.cx.slots.len()); measures.len()];
        let mut sorting = Sorting::default();
        for partial in results.each() {
            let sorted = sorting.sort(partial);
            for (column, q) in columns.iter_mut().zip(&quantiles) {
                column.push(exact_quantile(sorted, *q).map(plain));
            }
        }
        columns.into_iter().map(|values| Arc::new(column::<Float64Type>(values.into_iter())) as ArrayRef).collect()
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

    fn column(&self, _: Measure, results: &Results<'_, HyperLogLog>) -> ArrayRef {
        results.ints(|partial| Some(partial.estimate().round() as i64))
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

    fn column(&self, _: Measure, results: &Results<'_, TopK>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(results.each().map(|partial| self.text(partial))))
    }
}

impl Top {
    /// `[{"value":"/cart","count":812}, ...]`; with `"error":3` where the count may be so much too high.
    fn text(&self, partial: &TopK) -> String {
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
        text
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

    fn column(&self, _: Measure, results: &Results<'_, Edged>) -> ArrayRef {
        let mut column = ColumnBuilder::new(self.kind);
        for partial in results.each() {
            column.push(partial.as_ref().map_or(Value::Null, |(_, value)| value.clone()));
        }
        column.finish()
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

    fn column(&self, measure: Measure, results: &Results<'_, (EventTime, EventTime)>) -> ArrayRef {
        let first = measure == Measure::Bound(false);
        results.times(|partial| Some(if first { partial.0 } else { partial.1.saturating_add(1) }))
    }
}

struct Places;

/// Which records of an origin: the first and the last sequence.
type Stretch = (Origin, i64, i64);

/// The records of a slot, by origin. Nearly always there is one, which takes no memory of its own.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Stretch>", into = "Vec<Stretch>")]
enum Stretches {
    #[default]
    None,
    One(Stretch),
    /// Ascending by origin.
    Several(Vec<Stretch>),
}

impl Stretches {
    #[inline(always)]
    fn add(&mut self, (origin, first, last): Stretch) {
        match self {
            Stretches::One(one) if one.0 == origin => *one = (origin, one.1.min(first), one.2.max(last)),
            Stretches::None => *self = Stretches::One((origin, first, last)),
            _ => self.add_another((origin, first, last)),
        }
    }

    #[cold]
    fn add_another(&mut self, (origin, first, last): Stretch) {
        let mut all: Vec<Stretch> = std::mem::take(self).into();
        match all.binary_search_by_key(&origin, |stretch| stretch.0) {
            Ok(at) => all[at] = (origin, all[at].1.min(first), all[at].2.max(last)),
            Err(at) => all.insert(at, (origin, first, last)),
        }
        *self = Stretches::Several(all);
    }

    fn all(&self) -> &[Stretch] {
        match self {
            Stretches::None => &[],
            Stretches::One(one) => std::slice::from_ref(one),
            Stretches::Several(all) => all,
        }
    }
}

impl From<Vec<Stretch>> for Stretches {
    fn from(all: Vec<Stretch>) -> Stretches {
        let mut stretches = Stretches::default();
        all.into_iter().for_each(|stretch| stretches.add(stretch));
        stretches
    }
}

impl From<Stretches> for Vec<Stretch> {
    fn from(stretches: Stretches) -> Vec<Stretch> {
        match stretches {
            Stretches::Several(all) => all,
            few => few.all().to_vec(),
        }
    }
}

impl Fold for Places {
    type Partial = Stretches;

    fn empty(&self) -> Stretches {
        Stretches::default()
    }

    fn fold(&self, partials: &mut [Stretches], rows: &Rows<'_>) {
        let places = rows.batch.origins().iter().zip(rows.batch.sequences());
        for (slot, (origin, sequence)) in rows.slots.iter().zip(places) {
            partials[*slot as usize].add((*origin, *sequence, *sequence));
        }
    }

    fn merge(&self, into: &mut Stretches, from: &Stretches) {
        from.all().iter().for_each(|stretch| into.add(*stretch));
    }

    fn column(&self, _: Measure, results: &Results<'_, Stretches>) -> ArrayRef {
        let rows = results.cx.slots.len();
        let mut column = StringBuilder::with_capacity(rows, rows * 48);
        let (mut text, mut name, mut named) = (String::new(), String::new(), None);
        let mut digits = itoa::Buffer::new();
        for partial in results.each() {
            text.clear();
            for (origin, first, last) in partial.all() {
                if named != Some(*origin) {
                    name.clear();
                    results.cx.origins.write_name(&mut name, *origin);
                    named = Some(*origin);
                }
                text.push_str(if text.is_empty() { "" } else { " " });
                text.push_str(&name);
                text.push('@');
                text.push_str(digits.format(*first));
                if first != last {
                    text.push('-');
                    text.push_str(digits.format(*last));
                }
            }
            column.append_value(&text);
        }
        Arc::new(column.finish())
    }
}
