//! Eagre: streaming analytics on timely dataflow.

pub mod batch;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod disk;
pub mod engine;
pub mod expression;
pub mod fault;
pub mod formats;
pub mod job;
pub mod kafka_client;
pub mod key;
pub mod operator;
pub mod operators;
pub mod origin;
pub mod registry;
pub mod schema;
pub mod sink;
pub mod sinks;
pub mod source;
pub mod sources;
pub mod spool;
pub mod stats;
pub mod time;
pub mod topology;
pub mod value;

pub use cli::main;

/// Every part that comes with the engine. Add your own: `eagre::main(eagre::standard().operator::<Slope>())`.
pub fn standard() -> registry::Registry {
    sinks::standard(operators::standard(sources::standard(registry::Registry::default())))
}
