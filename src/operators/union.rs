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
//! **Outputs.** `out` has the fields of the first input, in its order; those of the others are found by name. A field
//! that one input lacks, or that is of another kind there, is a fault; a `select` before the union renames, drops or
//! casts (`derive = { value = "cast(value as double)" }`). Records keep their event time, origin and place. Nothing goes
//! to `rejected` or `late`.
//!
//! **Order.** Records come out as they come in. Two inputs that stem from one source may carry records of the same
//! origin (even the same record, when two filters overlap: then it comes twice); a step behind the union that needs an
//! order gets the canonical one, by event time, origin and sequence, as everywhere.

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

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let before = planning.faults();
        let (output, inputs) = (planning.input(), planning.inputs());
        if inputs.len() < 2 {
            planning.fault(Fault::at("input", "a union is made of two inputs or more").help("input = [\"a\", \"b\"]"));
        }
        for (i, input) in inputs.iter().enumerate().skip(1) {
            compare(output, input, i, planning);
        }
        if planning.faults() > before {
            return None;
        }
        let place = |input: &Schema| output.names().filter_map(|name| input.index_of(name)).collect();
        let places: Arc<[Vec<usize>]> = inputs.iter().map(place).collect();
        let output = output.clone();
        Some(Planned {
            output: output.clone(),
            uses: BTreeSet::new(),
            passes: true,
            keyed: false,
            arrival: Arrival::AsTheyCome,
            make: Arc::new(move || Box::new(Uniting { output: output.clone(), places: places.clone() })),
        })
    }
}

/// Reports every field in which an input differs from the first.
fn compare(first: &Schema, input: &Schema, i: usize, planning: &mut Planning<'_>) {
    let at = format!("input.{i}");
    let number = i + 1;
    for field in first.fields() {
        match input.field(&field.name) {
            None => {
                let says = format!("input {number} has no field `{}`, which input 1 has", field.name);
                planning.fault(Fault::at(&at, says).nearest(&field.name, input.names().filter(|n| first.field(n).is_none())));
            }
            Some(other) if other.kind != field.kind => {
                let says = format!("field `{}` is {} in input {number}, but {} in input 1", field.name, other.kind, field.kind);
                planning.fault(Fault::at(&at, says).help("cast it in a step of kind `select` before the union"));
            }
            Some(_) => {}
        }
    }
    for field in input.fields().iter().filter(|f| first.field(&f.name).is_none()) {
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
