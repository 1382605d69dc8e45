//! `filter` lets the records through for which a condition holds.
//!
//! ```toml
//! [step.errors]
//! kind  = "filter"
//! input = "requests"
//! where = "status >= 500 and region = 'eu'"
//! ```
//!
//! - `where`: the condition: an SQL expression over the record's fields, and `event_time`, `origin`, `sequence`,
//!   `stamp`
//!
//! **Outputs.** `out` has the fields of the input. A record keeps its event time, its origin and its place there.
//! Where the condition is null (it compares with a field that is null, say), it does not hold. A record for which
//! it cannot be computed (a division by zero, text that is not a number) goes to `rejected` with the reason.
//! Nothing goes to `late`: a record that comes late goes through, and the step behind it judges.
//!
//! What does not hold is left out and not kept. To get both halves of a stream, take two filters, or `validate`
//! with a rule `where`, whose `rejected` is the other half.

use crate::batch::Batch;
use crate::expression::Expression;
use crate::operator::{Arrival, Instance, Operator, Outputs, Planned, Planning};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// The configuration of a filter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The condition, an SQL expression over the record's fields.
    #[serde(rename = "where")]
    condition: String,
}

impl Operator for Filter {
    const NAME: &'static str = "filter";
    const MANUAL: &'static str = include_str!("filter.rs");

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let condition = planning.condition(&self.condition, "where")?;
        Some(Planned {
            output: planning.input().clone(),
            uses: condition.fields().clone(),
            passes: true,
            keeps_origin: true,
            keyed: false,
            arrival: Arrival::AsTheyCome,
            make: Arc::new(move || Box::new(Filtering { condition: condition.clone() })),
        })
    }
}

struct Filtering {
    condition: Expression,
}

impl Instance for Filtering {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        let (holds, failed) = self.condition.mask(batch);
        for (row, reason) in failed {
            out.reject(batch, row as usize, reason);
        }
        out.push(batch.filter(&holds));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};

    #[test]
    fn the_example() {
        let script = "1 status=500 region=eu
                      2 status=500 region=us
                      3 status=200 region=eu
                      4 region=eu
                      -- end";
        check(&registry(), &example(Filter::MANUAL), "status:int region:text", script, "1 status=500 region=eu");
    }

    #[test]
    fn what_cannot_be_computed_is_rejected_and_lateness_is_kept() {
        let script = "1 a=4 b=2
                      2 a=4 b=0
                      3 a=9 b=3 ^6
                      -- end";
        let expected = "1 a=4 b=2
                        3 a=9 b=3 ^6
                        rejected: 2 reason=`a_/_b_>_1`_has_no_value_here:_Divide_by_zero_error";
        check(&registry(), "kind = 'filter'\nwhere = 'a / b > 1'", "a:int b:int", script, expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, says) in [
            ("where = 'statsu > 1'", "where: no field `statsu` in `statsu > 1` (did you mean `status`?)"),
            (
                "where = 'status'",
                "where: `status` gives int, not true or false (compare it with something: \"status > 0\")",
            ),
            ("", "missing field `where`"),
            ("where = 'status > 1'\nlimit = 3", "limit: unknown field `limit`, expected `where`"),
        ] {
            assert_eq!(faults(&registry(), &format!("kind = 'filter'\n{setting}"), "status:int"), says);
        }
    }
}
