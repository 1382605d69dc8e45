//! The sources that come with Eagre: one file or folder each, and a line in the list. None of them knows another.

pub mod file;
pub mod generator;
pub mod kafka;
pub mod nexmark;

use crate::registry::Registry;

/// The registry with every source of this room.
pub fn standard(registry: Registry) -> Registry {
    registry
        .source::<file::FileSource>(include_str!("file.rs"))
        .source::<generator::Generator>(include_str!("generator/mod.rs"))
        .source::<kafka::KafkaSource>(include_str!("kafka/mod.rs"))
        .source::<nexmark::Nexmark>(include_str!("nexmark/mod.rs"))
}
