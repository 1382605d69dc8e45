//! The operators that come with Eagre, one file each: manual at its head, configuration, state, code, tests.

// pub mod aggregate;
pub mod filter;
pub mod novelty;
pub mod refractory;
pub mod select;
pub mod union;
pub mod validate;
pub mod zscore;

use crate::registry::Registry;

/// Adds all of them to a registry.
pub fn standard(registry: Registry) -> Registry {
    registry
        // .operator::<aggregate::Aggregate>()
        .operator::<filter::Filter>()
        .operator::<novelty::Novelty>()
        .operator::<refractory::Refractory>()
        .operator::<select::Select>()
        .operator::<union::Union>()
        .operator::<validate::Validate>()
        .operator::<zscore::Zscore>()
}
