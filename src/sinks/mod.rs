//! The sinks that come with Eagre: one file or folder each, and a line in the list.

pub mod file;
pub mod kafka;
pub mod stdout;

use crate::registry::Registry;

/// The registry with every sink of this room.
pub fn standard(registry: Registry) -> Registry {
    registry
        .sink::<stdout::Stdout>(include_str!("stdout.rs"))
        .sink::<file::FileSink>(include_str!("file/mod.rs"))
        .sink::<kafka::KafkaSink>(include_str!("kafka/mod.rs"))
}
