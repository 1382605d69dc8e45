//! The rows of a keyed step on their way out.
//!
//! Keys are worked off one after the other, so rows come in another order than that of time. Each comes with its
//! [`Rank`]; they go out in order of rank, those of one rank in the order in which they came.

use super::Emits;
use crate::batch::Batch;
use crate::key::{self, KeyGroup, group_of};
use crate::operator::{Derived, MADE_FROM, Outputs, Planning};
use crate::origin::{Origin, Origins};
use crate::schema::{Field, Kind, SYSTEM, Schema};
use crate::time::EventTime;
use crate::value::{ColumnBuilder, Row, Value};
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder, UInt32Array, new_null_array};
use arrow::compute;
use arrow::datatypes::{Float64Type, Int64Type};
use std::fmt::Write;
use std::sync::Arc;

/// How the rows of a keyed step are put together.
pub struct Shape {
    pub output: Schema,
    /// Input fields that are carried along, by position.
    pub carried: Vec<usize>,
    pub key: Vec<Kind>,
    pub own: Vec<Kind>,
    /// Input fields that the operator reads, by position.
    pub reads: Vec<usize>,
    pub extends_input: bool,
    pub made_from: bool,
}

impl Shape {
    /// The shape of what a step emits.
    pub fn new(emits: &Emits, planning: &Planning<'_>) -> Shape {
        let input = planning.input();
        let own = |name: &str| emits.fields.iter().any(|f| f.name == name);
        // A row that extends one that was derived itself was made from the same records.
        let made_before = emits.extends_input && input.field(MADE_FROM).is_some();
        let carried: Vec<usize> = if emits.extends_input {
            (0..input.fields().len()).filter(|i| !own(&input.fields()[*i].name)).collect()
        } else {
            Vec::new()
        };
        let key = if emits.extends_input { &[] } else { planning.key() };
        let made_from = planning.wants(MADE_FROM) && !made_before;
        let fields = carried.iter().map(|i| input.fields()[*i].clone());
        let fields = fields.chain(key.iter().cloned()).chain(emits.fields.iter().cloned());
        let fields = fields.chain(made_from.then(|| Field::new(MADE_FROM, Kind::Text)));
        Shape {
            output: Schema::new(fields),
            carried,
            key: key.iter().map(|f| f.kind).collect(),
            own: emits.fields.iter().map(|f| f.kind).collect(),
            reads: emits.uses.iter().filter_map(|name| input.index_of(name)).collect(),
            extends_input: emits.extends_input,
            made_from,
        }
    }

    /// The numbers of a batch that the operator reads, eight bytes each; an empty slice for a field of another kind.
    pub fn numbers<'a>(&self, batch: &'a Batch) -> impl Iterator<Item = &'a [u8]> {
        self.reads.iter().map(|field| {
            let column = batch.column(*field);
            let floats = column.as_primitive_opt::<Float64Type>().map(|floats| floats.values().inner());
            let ints = || column.as_primitive_opt::<Int64Type>().map(|ints| ints.values().inner());
            floats.or_else(ints).map_or(&[][..], |numbers| numbers.as_slice())
        })
    }
}

/// When a row is given out: with the row of that number in canonical order, or just before it by a timer, these in
/// order of time and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The number of the row.
    pub number: u32,
    /// Whether it is with the row.
    pub with_row: bool,
    /// The time of the timer.
    pub at: EventTime,
    /// The key of the timer.
    pub key: Option<Arc<[u8]>>,
}

/// Rows on their way out.
pub struct Emitter {
    shape: Arc<Shape>,
    /// The number of the batch whose row is at hand.
    pub batch: usize,
    /// When what is emitted now is given out.
    pub rank: Rank,
    ranks: Vec<Rank>,
    times: Vec<EventTime>,
    groups: Vec<KeyGroup>,
    /// The batch and row that each extends; [`NO_ROW`] where a timer emits.
    rows: Vec<(usize, usize)>,
    keys: Vec<Vec<u8>>,
    own: Vec<ColumnBuilder>,
    places: Vec<Option<(Origin, i64)>>,
}

const NO_ROW: (usize, usize) = (usize::MAX, 0);

impl Emitter {
    /// Nothing yet.
    pub fn new(shape: Arc<Shape>) -> Emitter {
        let own = shape.own.iter().map(|kind| ColumnBuilder::new(*kind)).collect();
        Emitter {
            shape,
            batch: 0,
            rank: Rank::default(),
            ranks: vec![],
            times: vec![],
            groups: vec![],
            rows: vec![],
            keys: vec![],
            own,
            places: vec![],
        }
    }

    /// Takes a row of a key, at a time, extending the row at hand.
    pub fn emit(
        &mut self,
        (key, hash): (&[u8], u64),
        time: EventTime,
        row: Option<Row<'_>>,
        values: impl IntoIterator<Item = Value>,
    ) {
        self.ranks.push(self.rank.clone());
        self.times.push(time);
        self.groups.push(group_of(hash));
        self.rows.push(row.map_or(NO_ROW, |row| (self.batch, row.index())));
        self.places.push(row.map(|r| (r.origin(), r.sequence())));
        if !self.shape.key.is_empty() {
            self.keys.push(key.to_vec());
        }
        let mut given = 0;
        for value in values {
            self.own[given].push(value);
            given += 1;
        }
        assert_eq!(given, self.own.len(), "a row has a value for every field that was planned");
    }

    /// Hands the rows over; `batches` are those whose rows they extend.
    pub fn flush(&mut self, batches: &[Batch], out: &mut Outputs) {
        if self.times.is_empty() {
            return;
        }
        let mut own: Vec<ArrayRef> = self.own.iter_mut().map(ColumnBuilder::finish).collect();
        if !self.ranks.is_sorted() {
            self.arrange(&mut own);
        }
        self.ranks.clear();
        let mut columns = self.carried(batches);
        let keys = std::mem::take(&mut self.keys);
        columns.extend(key::decode(keys.iter().map(Vec::as_slice), &self.shape.key));
        columns.extend(own);
        if self.shape.made_from {
            columns.push(self.made_from(out.origins()));
        }
        self.places.clear();
        let (times, groups) = (std::mem::take(&mut self.times), std::mem::take(&mut self.groups));
        out.derive(Derived { times, stamps: Vec::new(), groups, columns });
    }

    /// Puts the rows in order of rank.
    fn arrange(&mut self, own: &mut [ArrayRef]) {
        let mut order: Vec<u32> = (0..self.ranks.len() as u32).collect();
        order.sort_by(|a, b| self.ranks[*a as usize].cmp(&self.ranks[*b as usize]));
        arranged(&mut self.times, &order);
        arranged(&mut self.groups, &order);
        arranged(&mut self.rows, &order);
        arranged(&mut self.places, &order);
        if !self.keys.is_empty() {
            arranged(&mut self.keys, &order);
        }
        let order = UInt32Array::from(order);
        for column in own {
            *column = compute::take(column, &order, None).expect("numbers of these rows");
        }
    }

    fn made_from(&self, origins: &Origins) -> ArrayRef {
        let mut column = StringBuilder::new();
        let mut text = String::new();
        for place in &self.places {
            text.clear();
            if let Some((origin, sequence)) = place {
                origins.write_name(&mut text, *origin);
                write!(text, "@{sequence}").expect("writing to a String does not fail");
            }
            column.append_option(place.is_some().then_some(&text));
        }
        Arc::new(column.finish())
    }

    fn carried(&mut self, batches: &[Batch]) -> Vec<ArrayRef> {
        let Shape { output, carried, extends_input, .. } = &*self.shape;
        let mut rows = std::mem::take(&mut self.rows);
        if !extends_input {
            return Vec::new();
        }
        // What a timer emits extends the row of nulls behind the last batch.
        rows.iter_mut().filter(|row| **row == NO_ROW).for_each(|row| row.0 = batches.len());
        let carry = |(at, from): (usize, &usize)| {
            let nulls = new_null_array(output.arrow().field(SYSTEM + at).data_type(), 1);
            let columns = batches.iter().map(|batch| &**batch.column(*from));
            let columns: Vec<&dyn Array> = columns.chain([&*nulls as &dyn Array]).collect();
            compute::interleave(&columns, &rows).expect("rows of these batches")
        };
        carried.iter().enumerate().map(carry).collect()
    }
}

fn arranged<T: Clone>(values: &mut Vec<T>, order: &[u32]) {
    *values = order.iter().map(|from| values[*from as usize].clone()).collect();
}
