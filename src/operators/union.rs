//! `union` makes one stream of several that have the same fields.
//!
//! ```toml
//! [step.everything]
//! kind  = "union"
//! input = ["readings", "corrections"]
//! ```
//!
//! It has no settings of its own: `input` lists the streams, two or more.
//!
//! **Outputs.** `out` has the fields of the first input, in its order; those of the others are found by name. A
//! field that one input lacks, or that is of another kind there, is a fault; a `select` before the union renames,
//! drops or casts (`derive = { value = "cast(value as double)" }`). Records keep their event time, origin and
//! place. Nothing goes to `rejected` or `late`.
//!
//! **Order.** Records come out as they come in. Two inputs that stem from one source may carry records of the same
//! origin (even the same record, when two filters overlap: then it comes twice); a step behind the union that needs
//! an order gets the canonical one, by event time, origin and sequence, as everywhere.

use crate::batch::Batch;
use crate::fault::Fault;
use crate::operator::{Arrival, Instance, Operator, Outputs, Planned, Planning};
use crate::schema::Schema;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The configuration of a union.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Union {}

impl Operator for Union {
    const NAME: &'static str = "union";
    const MANUAL: &'static str = include_str!("union.rs");
    const MIXED_INPUTS: bool = true;

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let before = planning.faults();
        let (output, inputs) = (planning.input().filtered(|name| planning.wants(name)), planning.inputs());
        if inputs.len() < 2 {
            planning.fault(Fault::at("input", "a union is made of two inputs or more").help("input = [\"a\", \"b\"]"));
        }
        for (i, input) in inputs.iter().enumerate().skip(1) {
            compare(&output, input, i, planning);
        }
        if planning.faults() > before {
            return None;
        }
        let place = |input: &Schema| output.names().filter_map(|name| input.index_of(name)).collect();
        let places: Arc<[Vec<usize>]> = inputs.iter().map(place).collect();
        Some(Planned {
            output: output.clone(),
            uses: BTreeSet::new(),
            passes: true,
            keeps_origin: true,
            keyed: false,
            arrival: Arrival::AsTheyCome,
            make: Arc::new(move || Box::new(Uniting { output: output.clone(), places: places.clone() })),
        })
    }
}

/// Reports every field in which an input differs from the first. What nobody takes may be there or not.
fn compare(first: &Schema, input: &Schema, i: usize, planning: &mut Planning<'_>) {
    let at = format!("input.{i}");
    let number = i + 1;
    for field in first.fields() {
        match input.field(&field.name) {
            None => {
                let says = format!("input {number} has no field `{}`, which input 1 has", field.name);
                planning.fault(
                    Fault::at(&at, says).nearest(&field.name, input.names().filter(|n| first.field(n).is_none())),
                );
            }
            Some(other) if other.kind != field.kind => {
                let says = format!(
                    "field `{}` is {} in input {number}, but {} in input 1",
                    field.name, other.kind, field.kind
                );
                planning.fault(Fault::at(&at, says).help("cast it in a step of kind `select` before the union"));
            }
            Some(_) => {}
        }
    }
    for field in input.fields().iter().filter(|f| first.field(&f.name).is_none()) {
        if !planning.wants(&field.name) {
            continue;
        }
        let says = format!("input 1 has no field `{}`, which input {number} has", field.name);
        planning.fault(Fault::at(&at, says).help("drop or rename it in a step of kind `select` before the union"));
    }
}

struct Uniting {
    output: Schema,
    /// For every input, where the output's fields are.
    places: Arc<[Vec<usize>]>,
}

impl Instance for Uniting {
    fn on_batch(&mut self, input: usize, batch: &Batch, out: &mut Outputs) {
        let columns = self.places[input].iter().map(|i| batch.column(*i).clone()).collect();
        out.push(batch.with_columns(&self.output, columns));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use crate::batch::Head;
    use crate::operator::StepNames;
    use crate::origin::Origins;
    use crate::schema::{Field, Kind};
    use crate::value::ColumnBuilder;

    fn schema(fields: &[(&str, Kind)]) -> Schema {
        Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, *kind)))
    }

    /// A batch of one row, whose fields are null.
    fn batch(schema: &Schema, time: i64) -> Batch {
        let null = |field: &Field| {
            let mut column = ColumnBuilder::new(field.kind);
            column.push_null();
            column.finish()
        };
        let head = Head { times: vec![time], origins: vec![1], sequences: vec![time], stamps: vec![Some(time + 1)] };
        Batch::new(schema, head, schema.fields().iter().map(null).collect())
    }

    #[test]
    fn fields_are_found_by_name() {
        let config = example(Union::MANUAL).replace("kind  = \"union\"", "");
        let union: Union = toml::from_str(&config).expect("no settings");
        let inputs = [schema(&[("a", Kind::Int), ("b", Kind::Text)]), schema(&[("b", Kind::Text), ("a", Kind::Int)])];
        let planned = union.plan(&mut Planning::new("step", &inputs, &[], None)).expect("no faults");
        let (name, late, origins) = ("step".into(), inputs.to_vec(), Origins::default());
        let mut out = Outputs::new(StepNames { name, number: 0, output: planned.output.clone(), late, origins });
        let mut instance = (planned.make)();
        instance.on_batch(1, &batch(&inputs[1], 5), &mut out);
        instance.on_batch(0, &batch(&inputs[0], 4), &mut out);
        let row = |b: Batch| (b.times()[0], b.sequences()[0], b.stamp(0), b.row_json(0));
        let rows: Vec<_> = out.drain().out.into_iter().map(row).collect();
        let json = "{\"a\":null,\"b\":null}".to_owned();
        assert_eq!(rows, [(5, 5, Some(6), json.clone()), (4, 4, Some(5), json)]);
    }

    #[test]
    fn what_nobody_takes_need_not_be_there() {
        let inputs = [schema(&[("a", Kind::Int), ("b", Kind::Text)]), schema(&[("c", Kind::Text), ("a", Kind::Int)])];
        let wanted = BTreeSet::from(["a".to_owned()]);
        let planned = Union {}.plan(&mut Planning::new("step", &inputs, &[], Some(&wanted))).expect("no faults");
        assert_eq!(planned.output, schema(&[("a", Kind::Int)]));
    }

    #[test]
    fn every_difference_is_named() {
        let faults = |inputs: &[Schema]| {
            let mut planning = Planning::new("step", inputs, &[], None);
            assert!(Union {}.plan(&mut planning).is_none());
            planning.into_faults().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let first = schema(&[("value", Kind::Int), ("host", Kind::Text)]);
        assert_eq!(
            faults(std::slice::from_ref(&first)),
            ["input: a union is made of two inputs or more (input = [\"a\", \"b\"])"]
        );
        let second = schema(&[("value", Kind::Float), ("hots", Kind::Text)]);
        assert_eq!(
            faults(&[first, second]),
            [
                "input.1: field `value` is float in input 2, but int in input 1 (cast it in a step of kind `select` before the union)",
                "input.1: input 2 has no field `host`, which input 1 has (did you mean `hots`?)",
                "input.1: input 1 has no field `hots`, which input 2 has (drop or rename it in a step of kind `select` before the union)",
            ]
        );
    }
}
