//! From the text of a job to a plan that can run, or to everything that is wrong with it.
//!
//! ```text
//! text, environment, --set --read--> Spec (typed part by part) --join--> Plan (names, order, fields, demand)
//!                               \------------ faults -----------/   all of them, each at its place
//! ```
//! Nothing is left to doubt in a [`Plan`]: every name leads somewhere, every step knows its input's and output's
//! fields, sources give only the fields that somebody uses, and what no step or sink takes goes to a dead-letter
//! file.

mod faulty;
pub mod graph;
mod manual;
mod overrides;
pub mod plan;
mod schema;
mod shared;
mod spec;
mod tree;
mod wiring;

pub use faulty::Faulty;
pub use manual::manual;
pub use overrides::{Overrides, RESERVED};
pub use plan::{
    CheckpointSettings, EngineSettings, Node, Output, Plan, Port, SinkPlan, SourcePlan, StepPlan, TimePolicy,
};
pub use schema::json_schema;

use crate::registry::Registry;

/// Plans a job. `file` is what the text is called in faults.
///
/// # Errors
///
/// All faults of the job at once: those of the text, of the overrides, of every part, and of how they are joined.
pub fn plan(text: &str, file: &str, overrides: &Overrides, registry: &Registry) -> Result<Plan, Faulty> {
    let mut faults = Vec::new();
    let spec = spec::read(text, overrides, registry, &mut faults);
    let planned = spec.and_then(|spec| plan::plan(spec, registry, &mut faults));
    match planned {
        Some(plan) if faults.is_empty() => Ok(plan),
        _ => Err(Faulty::new(file, text, faults)),
    }
}

#[cfg(test)]
mod tests;
