//! Who is who among origins: the numbers that records carry, and the names that people read.
//!
//! A source partition's number is given once, in order, and never given again, and so is a step's: both outlive
//! restarts and changes of the job. A derived row's origin is computed: the high bit, the number of the step, the key
//! group.

use crate::key::{KEY_GROUPS, KeyGroup};
use std::fmt::Write;
use std::sync::{Arc, RwLock, RwLockWriteGuard};

/// The number of a source partition, or of a step's key group.
pub type Origin = u32;

const DERIVED: Origin = 1 << 31;

/// The origin of the rows that a step derives for a key group.
pub fn derived(step: u16, group: KeyGroup) -> Origin {
    DERIVED | (u32::from(step) * KEY_GROUPS as u32 + u32::from(group))
}

/// The names of all origins of a running job; shared, and only ever added to.
#[derive(Clone, Default)]
pub struct Origins(Arc<RwLock<Names>>);

#[derive(Default)]
struct Names {
    partitions: Vec<String>,
    steps: Vec<String>,
}

impl Origins {
    /// Names for the steps of a job; step `i` derives rows under `steps[i]`.
    pub fn new(steps: Vec<String>) -> Origins {
        Origins(Arc::new(RwLock::new(Names { partitions: Vec::new(), steps })))
    }

    /// Gives a source partition the next number.
    pub fn assign(&self, partition: &str) -> Origin {
        let partitions = &mut self.names().partitions;
        partitions.push(partition.to_owned());
        (partitions.len() - 1) as Origin
    }

    /// Gives a source partition another name.
    pub fn rename(&self, origin: Origin, partition: &str) {
        self.names().partitions[origin as usize] = partition.to_owned();
    }

    /// Says what the steps are called, by number.
    pub fn name_steps(&self, steps: Vec<String>) {
        self.names().steps = steps;
    }

    fn names(&self) -> RwLockWriteGuard<'_, Names> {
        self.0.write().expect("no thread panics while it names an origin")
    }

    /// The name of an origin: `readings[3]`, or `windows#17` for rows that step `windows` derived for key group 17.
    pub fn name(&self, origin: Origin) -> String {
        let mut text = String::new();
        self.write_name(&mut text, origin);
        text
    }

    /// A record's place as a person writes it: `readings[3]@1042`.
    pub fn place(&self, origin: Origin, sequence: i64) -> String {
        let mut text = String::new();
        self.write_name(&mut text, origin);
        write!(text, "@{sequence}").expect("writing to a String does not fail");
        text
    }

    /// Appends the name of an origin.
    pub fn write_name(&self, text: &mut String, origin: Origin) {
        let names = self.0.read().expect("no thread panics while it names an origin");
        let written = if origin & DERIVED == 0 {
            match names.partitions.get(origin as usize) {
                Some(name) => text.write_str(name),
                None => write!(text, "origin {origin}"),
            }
        } else {
            let rest = (origin & !DERIVED) as usize;
            match names.steps.get(rest / KEY_GROUPS).filter(|name| !name.is_empty()) {
                Some(name) => write!(text, "{name}#{}", rest % KEY_GROUPS),
                None => write!(text, "step {}#{}", rest / KEY_GROUPS, rest % KEY_GROUPS),
            }
        };
        written.expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let origins = Origins::new(vec!["valid".into(), "windows".into()]);
        assert_eq!(origins.assign("readings[0]"), 0);
        assert_eq!(origins.assign("readings[1]"), 1);
        origins.rename(1, "readings:b[1]");
        assert_eq!(origins.place(1, 42), "readings:b[1]@42");
        assert_eq!(origins.name(derived(1, 17)), "windows#17");
    }
}
