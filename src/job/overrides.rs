//! What the environment and the command line change in a job: `EAGRE_SOURCE__READINGS__TOPIC=x`, `--set
//! source.readings.topic=x`.
//!
//! The environment goes over the file, `--set` over both. A value that reads as TOML is taken so (`4`, `true`, `["a",
//! "b"]`), anything else is text. What leads to no setting is a fault: a misspelt override must not pass in silence.

use super::faulty::{Located, Place};
use super::schema::Properties;
use super::spec::{CHECKPOINT_KEYS, ENGINE_KEYS, JOB_KEYS, SECTIONS, SINK_KEYS, SOURCE_KEYS, STEP_KEYS};
use super::tree::Node;
use crate::fault::nearest;
use crate::registry::Registry;
use std::collections::BTreeMap;

const PREFIX: &str = "EAGRE_";

/// Variables with the prefix that are not settings of a job: other rooms and the scripts read them.
pub const RESERVED: [&str; 6] = ["EAGRE_KAFKA", "EAGRE_LOG", "EAGRE_WORKERS", "EAGRE_JOB", "EAGRE_SEED", "EAGRE_TEST"];

/// What goes over the job file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    variables: BTreeMap<String, String>,
    sets: Vec<String>,
}

impl Overrides {
    /// The `EAGRE_` variables of this process. They are read here and nowhere else.
    pub fn from_environment() -> Overrides {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Overrides { variables: variables.filter(|(name, _)| name.starts_with(PREFIX)).collect(), sets: Vec::new() }
    }

    /// The same with a variable.
    pub fn variable(mut self, name: &str, value: &str) -> Overrides {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with what follows a `--set`: `source.readings.topic=x`.
    pub fn set(mut self, text: impl Into<String>) -> Overrides {
        self.sets.push(text.into());
        self
    }

    /// Puts all of it over the file.
    pub(super) fn apply(&self, root: &mut Node, registry: &Registry, faults: &mut Vec<Located>) {
        let reserved = |name: &str| {
            RESERVED.iter().any(|r| name == *r || name.strip_prefix(r).is_some_and(|n| n.starts_with('_')))
        };
        let mut variables: Vec<_> = self.variables.iter().filter(|(name, _)| !reserved(name)).collect();
        // A part's kind says which settings it has.
        variables.sort_by_key(|(name, _)| !name.ends_with("__KIND"));
        for (name, value) in variables {
            match lead(root, registry, name) {
                Ok(path) => put(root, registry, &path, value, &Place::Variable(name.clone())),
                Err(fault) => faults.push(fault),
            }
        }
        for set in &self.sets {
            match flag(root, set) {
                Ok((path, value)) => put(root, registry, &path, value, &Place::Flag(path.join("."))),
                Err(fault) => faults.push(fault),
            }
        }
    }
}

fn put(root: &mut Node, registry: &Registry, path: &[String], value: &str, place: &Place) {
    let text_only = match path {
        [key] => key == "name" || key == "data_dir",
        [section, key] => section == "checkpoint" && key == "dir",
        [section, name, key] => {
            key == "kind" || properties(root, registry, section, name).is_some_and(|p| p.is_text(key))
        }
        _ => false,
    };
    root.set(path, Node::overriding(value, place, text_only));
}

/// The path that a `--set` names, and its value.
fn flag<'a>(root: &Node, set: &'a str) -> Result<(Vec<String>, &'a str), Located> {
    let place = Place::Flag(set.to_owned());
    let Some((path, value)) = set.split_once('=') else {
        return Err(Located::at(&place, "no value is set").help("write --set source.readings.topic=metrics"));
    };
    let (path_text, value) = (path.trim(), value.trim());
    let place = Place::Flag(path_text.to_owned());
    let path: Vec<String> = path_text.split('.').map(str::to_owned).collect();
    let section = path[0].as_str();
    let whole = path.len() == 2 && value.starts_with('{');
    if SECTIONS.contains(&section) && !whole {
        let nodes = root.child(section).map(Node::entries).unwrap_or_default();
        let names = nodes.iter().map(|(name, _)| name.as_str());
        match path.get(1) {
            Some(name) if root.child(section).and_then(|s| s.child(name)).is_none() => {
                return Err(Located::at(&place, format!("no {section} is called `{name}`")).nearest(name, names));
            }
            Some(_) if path.len() > 2 => {}
            _ => {
                return Err(
                    Located::at(&place, "this names no setting").help(format!("write --set {section}.NAME.KEY=VALUE"))
                );
            }
        }
    }
    Ok((path, value))
}

/// The path that a variable's name leads to, matched without regard to case; `-` is written `_`.
fn lead(root: &Node, registry: &Registry, variable: &str) -> Result<Vec<String>, Located> {
    let place = Place::Variable(variable.to_owned());
    let mut path: Vec<String> = Vec::new();
    let mut rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    while !rest.is_empty() {
        let known = known(root, registry, &path);
        let found = known.iter().filter(|name| leads(rest, name)).max_by_key(|name| name.len());
        let word = rest.split("__").next().unwrap_or_default();
        let taken = match found {
            Some(name) => {
                path.push(name.clone());
                name.len()
            }
            None if path.len() > 2 => {
                path.push(word.to_lowercase());
                word.len()
            }
            None => return Err(astray(&place, variable, rest, word, &path, &known)),
        };
        rest = rest[taken..].strip_prefix("__").unwrap_or_default();
    }
    let section = path.first().is_some_and(|p| SECTIONS.contains(&p.as_str()));
    if path.is_empty() || section && path.len() < 3 || path == ["engine"] || path == ["checkpoint"] {
        return Err(
            Located::at(&place, "this variable leads to no setting").help("write EAGRE_SOURCE__NAME__KEY=VALUE")
        );
    }
    Ok(path)
}

fn leads(rest: &str, name: &str) -> bool {
    let word = |text: &str| text.to_ascii_uppercase().replace('-', "_");
    word(rest).strip_prefix(&word(name)).is_some_and(|after| after.is_empty() || after.starts_with("__"))
}

fn astray(place: &Place, variable: &str, rest: &str, word: &str, path: &[String], known: &[String]) -> Located {
    let lower = word.to_lowercase();
    let what = match path {
        [] => format!("a job has no setting `{lower}`"),
        [section] if ["engine", "checkpoint"].contains(&section.as_str()) => {
            format!("`{section}` has no setting `{lower}`")
        }
        [section] => format!("no {section} is called `{lower}`"),
        _ => format!("`{}` has no setting `{lower}`", path.join(".")),
    };
    let fault = Located::at(place, format!("this variable leads nowhere: {what}"));
    match nearest(&lower, known.iter().map(String::as_str)) {
        Some(near) => {
            let before = &variable[..variable.len() - rest.len()];
            let near = near.to_ascii_uppercase().replace('-', "_");
            fault.help(format!("did you mean `{before}{near}{}`?", &rest[word.len()..]))
        }
        None => fault.nearest(&lower, known.iter().map(String::as_str)),
    }
}

/// The names that may follow a path.
fn known(root: &Node, registry: &Registry, path: &[String]) -> Vec<String> {
    let (node, found) = root.find(path);
    let there = node.entries().iter().map(|(name, _)| name.clone()).filter(|_| found == path.len());
    let words = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>();
    match path {
        [] => words(&JOB_KEYS),
        [section] if section == "engine" => words(&ENGINE_KEYS),
        [section] if section == "checkpoint" => words(&CHECKPOINT_KEYS),
        [section, name] => {
            let keys = engine_keys(section);
            let part = properties(root, registry, section, name);
            let more = part.iter().flat_map(|p| p.names().map(str::to_owned)).chain(there);
            let mut all = words(keys);
            for name in more {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            all
        }
        _ => there.collect(),
    }
}

pub(super) fn engine_keys(section: &str) -> &'static [&'static str] {
    match section {
        "source" => &SOURCE_KEYS,
        "step" => &STEP_KEYS,
        _ => &SINK_KEYS,
    }
}

fn properties(root: &Node, registry: &Registry, section: &str, name: &str) -> Option<Properties> {
    let kind = root.child(section)?.child(name)?.child("kind")?.text()?;
    match section {
        "source" => registry.sources().iter().find(|p| p.name == kind).map(Properties::of),
        "step" => registry.operators().iter().find(|p| p.name == kind).map(Properties::of),
        _ => registry.sinks().iter().find(|p| p.name == kind).map(Properties::of),
    }
}
