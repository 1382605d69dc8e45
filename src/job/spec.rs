//! What a job file says, read and typed part by part, before anything is joined.
//!
//! Reading goes on after a fault: unknown keys are reported and dropped, a wrong value is reported and taken out so
//! that the next one shows, a part that cannot be read keeps its name so that nobody who names it is blamed.

use super::faulty::{Located, Place};
use super::overrides::{Overrides, engine_keys};
use super::plan::{CheckpointSettings, EngineSettings, TimePolicy};
use super::schema::Properties;
use super::tree::{Node, Tree, segments};
use crate::checkpoint::storage;
use crate::fault::{Failure, Fault, nearest};
use crate::registry::{AnyOperator, AnySink, AnySource, Part, Registry};
use crate::sink::Delivery;
use crate::time::Interval;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The keys of a job.
pub(super) const JOB_KEYS: [&str; 8] =
    ["name", "workers", "data_dir", "engine", "checkpoint", "source", "step", "sink"];
/// Those of them that are tables of named parts.
pub(super) const SECTIONS: [&str; 3] = ["source", "step", "sink"];
/// The keys of `[engine]`.
pub(super) const ENGINE_KEYS: [&str; 3] = ["epoch", "epoch_records_max", "epochs_ahead_max"];
/// The keys of `[checkpoint]`.
pub(super) const CHECKPOINT_KEYS: [&str; 3] = ["every", "keep", "dir"];
/// The engine's own keys of a source.
pub(super) const SOURCE_KEYS: [&str; 5] = ["kind", "max_delay", "idle_after", "max_drift", "max_ahead"];
/// The engine's own keys of a step.
pub(super) const STEP_KEYS: [&str; 5] = ["kind", "input", "key", "ttl", "was"];
/// The engine's own keys of a sink.
pub(super) const SINK_KEYS: [&str; 3] = ["kind", "input", "delivery"];

/// A job as it is written.
pub(super) struct Spec {
    pub name: String,
    /// What all of it comes to, overrides included.
    pub fingerprint: u64,
    pub workers: Option<usize>,
    pub data_dir: PathBuf,
    pub engine: EngineSettings,
    pub checkpoint: Option<CheckpointSettings>,
    pub sources: Vec<Described<dyn AnySource>>,
    pub steps: Vec<Described<dyn AnyOperator>>,
    pub sinks: Vec<Described<dyn AnySink>>,
}

/// A source, step or sink as it is written.
pub(super) struct Described<T: ?Sized> {
    pub name: String,
    /// The kind, where there is one of that name.
    pub kind: &'static str,
    /// The part, where its settings could be read.
    pub part: Option<Arc<T>>,
    /// All that is written about it, for the places.
    pub node: Node,
    /// Ports by name, as written.
    pub inputs: Vec<(String, Place)>,
    /// Expressions, as written.
    pub key: Vec<(String, Place)>,
    /// How time is told; of sources only.
    pub time: TimePolicy,
    /// After how long a key that was not touched is forgotten; of steps only.
    pub ttl: Option<(Interval, Place)>,
    /// What it was called before; of steps only.
    pub was: Option<String>,
    /// What it is to promise, if that is said; of sinks only.
    pub delivery: Option<(Delivery, Place)>,
}

impl<T: ?Sized> Described<T> {
    /// What the part's kind and settings come to, and the form of what it remembers: where it reads from, what it is
    /// called and when it forgets a key do not count.
    pub fn fingerprint(&self, form: &str) -> u64 {
        let mut settings = self.node.to_toml();
        settings.as_table_mut().into_iter().for_each(|table| {
            table.retain(|name, _| !["input", "ttl", "was"].contains(&name));
        });
        xxh3_64(format!("{settings}\n{form}").as_bytes())
    }
}

/// Reads a job and reports everything that can be seen without joining its parts. `None` only when the text is not
/// TOML.
pub(super) fn read(text: &str, overrides: &Overrides, registry: &Registry, faults: &mut Vec<Located>) -> Option<Spec> {
    let mut root = Node::parse(text, faults)?;
    overrides.apply(&mut root, registry, faults);
    let fingerprint = xxh3_64(root.to_toml().to_string().as_bytes());
    let before = faults.len();
    unknown_keys(&mut root, &JOB_KEYS, "a job", faults);
    if faults.len() == before {
        emptiness(&root, faults);
    }
    let sources = section(&mut root, "source", registry.sources(), faults);
    let steps = section(&mut root, "step", registry.operators(), faults);
    let sinks = section(&mut root, "sink", registry.sinks(), faults);
    let name = job_name(&mut root, faults);
    let workers = at_least_one(&mut root, "workers", faults).map(|n| n as usize);
    let data_dir = text_of(&mut root, "data_dir", faults).map_or("eagre-data".into(), |(text, _)| text);
    let engine = engine(&mut root, faults);
    let data_dir = PathBuf::from(data_dir);
    let checkpoint = checkpoint(&mut root, &data_dir.join(&name), faults);
    Some(Spec { name, fingerprint, workers, data_dir, engine, checkpoint, sources, steps, sinks })
}

/// A job that does nothing.
fn emptiness(root: &Node, faults: &mut Vec<Located>) {
    let empty = |section: &str| root.child(section).is_none_or(|node| node.is_table() && node.entries().is_empty());
    if empty("source") {
        faults.push(Located::at(&root.at, "the job has no source").help("begin one with [source.NAME]"));
    }
    if empty("step") && empty("sink") {
        faults.push(Located::at(&root.at, "the job has no step and no sink").help("begin one with [sink.NAME]"));
    }
}

fn job_name(root: &mut Node, faults: &mut Vec<Located>) -> String {
    let missing = root.child("name").is_none();
    let Some((name, place)) = text_of(root, "name", faults) else {
        if missing {
            faults.push(Located::at(&root.at, "the job has no `name`").help("write name = \"my_job\" at the top"));
        }
        return String::new();
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)) {
        faults.push(
            Located::at(&place, "this cannot name a job").help("a name has lower-case letters, digits, `_` and `-`"),
        );
    }
    name
}

fn engine(root: &mut Node, faults: &mut Vec<Located>) -> EngineSettings {
    let mut settings =
        EngineSettings { epoch: Interval::from_millis(2), epoch_records_max: 65_536, epochs_ahead_max: 4 };
    let Some(mut node) = root.take("engine") else { return settings };
    if !node.is_table() {
        faults.push(Located::at(&node.at, "`engine` is a table").help("write [engine]"));
        return settings;
    }
    unknown_keys(&mut node, &ENGINE_KEYS, "`engine`", faults);
    settings.epoch = interval(&mut node, "epoch", faults).unwrap_or(settings.epoch);
    settings.epoch_records_max =
        at_least_one(&mut node, "epoch_records_max", faults).map_or(settings.epoch_records_max, |n| n as usize);
    settings.epochs_ahead_max =
        at_least_one(&mut node, "epochs_ahead_max", faults).map_or(settings.epochs_ahead_max, |n| n as u64);
    settings
}

fn checkpoint(root: &mut Node, folder: &Path, faults: &mut Vec<Located>) -> Option<CheckpointSettings> {
    let mut node = root.take("checkpoint")?;
    if !node.is_table() {
        faults.push(Located::at(&node.at, "`checkpoint` is a table").help("write [checkpoint]"));
        return None;
    }
    unknown_keys(&mut node, &CHECKPOINT_KEYS, "`checkpoint`", faults);
    let place = node.child("every").map_or(node.at.clone(), |every| every.at.clone());
    let every = interval(&mut node, "every", faults).unwrap_or(Interval::from_secs(10));
    if every < Interval::from_millis(10) {
        let fault = Located::at(&place, "checkpoints cannot come that fast");
        faults.push(fault.help("write for example every = \"10s\"; \"10ms\" is the least"));
    }
    let keep = at_least_one(&mut node, "keep", faults).map_or(3, |n| n as usize);
    let dir = text_of(&mut node, "dir", faults).map(|(text, place)| (PathBuf::from(text), place));
    if let Some((Err(Failure { message, help }), place)) = dir.as_ref().map(|(dir, at)| (storage::check(dir), at)) {
        faults.push(Located::new(place, Fault { path: Vec::new(), message, help }));
    }
    let dir = dir.map_or_else(|| folder.join("checkpoints"), |(dir, _)| dir);
    Some(CheckpointSettings { every, keep, dir })
}

/// The parts of a section, in the order of the file.
fn section<T: ?Sized>(
    root: &mut Node,
    section: &str,
    parts: &[Part<T>],
    faults: &mut Vec<Located>,
) -> Vec<Described<T>> {
    let Some(node) = root.child(section) else { return Vec::new() };
    if !node.is_table() {
        faults.push(Located::at(&node.at, format!("`{section}` holds tables")).help(format!("write [{section}.NAME]")));
    }
    let mut all = Vec::new();
    for (name, node) in node.entries() {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            let fault = Located::at(&node.key, format!("this cannot name a {section}"));
            faults.push(fault.help("a name has letters, digits, `_` and `-`"));
        }
        if node.is_table() {
            all.push(described(name, section, node, parts, faults));
        } else {
            faults.push(
                Located::at(&node.at, format!("a {section} is a table")).help(format!("write [{section}.{name}]")),
            );
        }
    }
    all
}

fn described<T: ?Sized>(
    name: &str,
    section: &str,
    node: &Node,
    parts: &[Part<T>],
    faults: &mut Vec<Located>,
) -> Described<T> {
    let mut config = node.clone();
    let part = part_of(&mut config, section, parts, faults);
    let inputs = if section == "source" { Vec::new() } else { words(&mut config, "input", faults) };
    if section != "source" && inputs.is_empty() && node.child("input").is_none() {
        let fault = Located::at(&node.at, "`input` is missing");
        faults.push(fault.help("write input = \"NAME\", of a source or a step"));
    }
    let key = if section == "step" { words(&mut config, "key", faults) } else { Vec::new() };
    let time = if section == "source" { time_policy(&mut config, faults) } else { TimePolicy::default() };
    let was = if section == "step" { text_of(&mut config, "was", faults).map(|(text, _)| text) } else { None };
    let ttl = if section == "step" { ttl(&mut config, faults) } else { None };
    let delivery = if section == "sink" { delivery(&mut config, faults) } else { None };
    let kind = part.map_or("", |p| p.name);
    let part = part.and_then(|part| parse(part, config, engine_keys(section), faults));
    Described { name: name.to_owned(), kind, part, node: node.clone(), inputs, key, time, ttl, was, delivery }
}

fn part_of<'a, T: ?Sized>(
    config: &mut Node,
    section: &str,
    parts: &'a [Part<T>],
    faults: &mut Vec<Located>,
) -> Option<&'a Part<T>> {
    let names = || parts.iter().map(|p| p.name);
    let missing = config.child("kind").is_none();
    let Some((kind, place)) = text_of(config, "kind", faults) else {
        if missing {
            faults.push(Located::at(&config.at, "`kind` is missing").nearest("", names()));
        }
        return None;
    };
    let found = parts.iter().find(|p| p.name == kind);
    if found.is_none() {
        faults.push(Located::at(&place, format!("there is no {section} of kind `{kind}`")).nearest(&kind, names()));
    }
    found
}

fn time_policy(config: &mut Node, faults: &mut Vec<Located>) -> TimePolicy {
    let TimePolicy { max_delay, idle_after, max_drift, max_ahead } = TimePolicy::default();
    TimePolicy {
        max_delay: interval(config, "max_delay", faults).unwrap_or(max_delay),
        idle_after: or_never(config, "idle_after", faults).unwrap_or(idle_after),
        max_drift: or_never(config, "max_drift", faults).unwrap_or(max_drift),
        max_ahead: or_never(config, "max_ahead", faults).unwrap_or(max_ahead),
    }
}

fn ttl(config: &mut Node, faults: &mut Vec<Located>) -> Option<(Interval, Place)> {
    let place = config.child("ttl")?.at.clone();
    let ttl = interval(config, "ttl", faults)?;
    if ttl.is_zero() {
        let fault = Located::at(&place, "a key that is forgotten at once remembers nothing");
        faults.push(fault.help("write for example ttl = \"1h\""));
    }
    Some((ttl, place))
}

fn delivery(config: &mut Node, faults: &mut Vec<Located>) -> Option<(Delivery, Place)> {
    let (text, place) = text_of(config, "delivery", faults)?;
    let all = [Delivery::AtLeastOnce, Delivery::ExactlyOnce];
    let found = all.into_iter().find(|delivery| delivery.name() == text);
    if found.is_none() {
        let fault = Located::at(&place, format!("`{text}` is none of the choices"));
        faults.push(fault.nearest(&text, all.into_iter().map(Delivery::name)));
    }
    Some((found?, place))
}

/// Reads a part's own settings; every wrong one is reported.
fn parse<T: ?Sized>(part: &Part<T>, mut config: Node, engine: &[&str], faults: &mut Vec<Located>) -> Option<Arc<T>> {
    let before = faults.len();
    let properties = Properties::of(part);
    let mut meant = Vec::new();
    if properties.is_closed() {
        let names: Vec<&str> = properties.names().chain(engine.iter().copied()).collect();
        let own: Vec<&str> = properties.names().collect();
        meant = unknown_settings(&mut config, &own, &names, part.name, faults);
    }
    let missing: Vec<String> =
        properties.required().filter(|name| config.child(name).is_none()).map(str::to_owned).collect();
    for name in missing.iter().filter(|name| !meant.contains(name)) {
        faults.push(Located::at(&config.at, format!("`{name}` is missing: a part of kind `{}` needs it", part.name)));
    }
    config.lost.extend(missing);
    loop {
        match (part.parse)(config.to_toml()) {
            Ok(parsed) => return (faults.len() == before).then(|| Arc::from(parsed)),
            Err(fault) if absorb(&fault, &mut config, faults) => {}
            Err(_) => return None,
        }
    }
}

/// Reports what serde found and takes it out of the way. False when nothing is left to look at.
fn absorb(fault: &Fault, config: &mut Node, faults: &mut Vec<Located>) -> bool {
    let mut path = segments(&fault.path);
    let words: Vec<String> = fault.message.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let word = words.first().cloned().unwrap_or_default();
    let others = || words.iter().skip(1).map(String::as_str);
    if fault.message.starts_with("missing field") {
        let (node, _) = config.find(&path);
        if !node.lost.contains(&word) {
            faults.push(Located::at(&node.at, format!("`{word}` is missing here")));
        }
    } else if fault.message.starts_with("unknown field") {
        if path.last() != Some(&word) {
            path.push(word.clone());
        }
        let (node, _) = config.find(&path);
        faults.push(Located::at(&node.key, format!("there is no setting `{word}` here")).nearest(&word, others()));
    } else if fault.message.starts_with("unknown variant") {
        let (node, _) = config.find(&path);
        faults.push(Located::at(&node.at, format!("`{word}` is none of the choices")).nearest(&word, others()));
    } else {
        let help = fault.help.clone();
        let said = Fault { path: path.clone(), message: in_words(&fault.message), help };
        faults.push(config.locate(said));
    }
    config.prune(&path)
}

/// serde's `invalid type: string "x", expected u32` in words of the job file.
fn in_words(message: &str) -> String {
    let parts = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = parts.and_then(|p| p.split_once(", expected ")) else {
        return message.trim().to_owned();
    };
    let kinds = [
        ("string", "text"),
        ("floating point", "the number"),
        ("integer", "the number"),
        ("boolean", "the truth value"),
        ("sequence", "a list"),
        ("map", "a table"),
    ];
    let found = kinds.iter().find_map(|(serde, ours)| Some(format!("{ours}{}", found.strip_prefix(serde)?)));
    let found = found.unwrap_or_else(|| parts.and_then(|p| p.split_once(", expected ")).map_or("", |p| p.0).to_owned());
    let expected = match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other.strip_prefix("struct ").map_or(other, |_| "a table"),
    };
    format!("expected {expected}, found {found}")
}

/// Reports and drops the keys that a part does not have; gives those that were probably meant.
fn unknown_settings(
    config: &mut Node,
    own: &[&str],
    all: &[&str],
    kind: &str,
    faults: &mut Vec<Located>,
) -> Vec<String> {
    let unknown: Vec<String> =
        config.entries().iter().map(|(k, _)| k.clone()).filter(|k| !own.contains(&k.as_str())).collect();
    for name in &unknown {
        let node = config.take(name).expect("a key that is there");
        let fault = Located::at(&node.key, format!("a part of kind `{kind}` has no setting `{name}`"));
        faults.push(fault.nearest(name, all.iter().copied()));
    }
    unknown.iter().filter_map(|name| nearest(name, all.iter().copied())).map(str::to_owned).collect()
}

fn unknown_keys(node: &mut Node, right: &[&str], what: &str, faults: &mut Vec<Located>) {
    let unknown: Vec<String> =
        node.entries().iter().map(|(k, _)| k.clone()).filter(|k| !right.contains(&k.as_str())).collect();
    for name in unknown {
        let child = node.take(&name).expect("a key that is there");
        faults.push(
            Located::at(&child.key, format!("{what} has no setting `{name}`")).nearest(&name, right.iter().copied()),
        );
    }
}

/// Takes a key whose value is text.
fn text_of(node: &mut Node, key: &str, faults: &mut Vec<Located>) -> Option<(String, Place)> {
    let taken = node.take(key)?;
    match taken.text() {
        Some(text) => Some((text.to_owned(), taken.at.clone())),
        None => {
            faults.push(Located::at(&taken.at, format!("expected text, found {}", taken.shown())));
            None
        }
    }
}

fn at_least_one(node: &mut Node, key: &str, faults: &mut Vec<Located>) -> Option<i64> {
    let taken = node.take(key)?;
    let right = taken.integer().filter(|n| *n >= 1 && (key != "workers" || *n <= 1024));
    if right.is_none() {
        let most = if key == "workers" { " to 1024" } else { "" };
        let fault = Located::at(&taken.at, format!("`{key}` cannot be {}", taken.shown()));
        faults.push(fault.help(format!("a whole number from 1{most}")));
    }
    right
}

fn interval(node: &mut Node, key: &str, faults: &mut Vec<Located>) -> Option<Interval> {
    let (text, place) = text_of(node, key, faults)?;
    Interval::parse(&text).map_err(|wrong| faults.push(Located::at(&place, wrong))).ok()
}

/// An interval, or `"never"` for none.
fn or_never(node: &mut Node, key: &str, faults: &mut Vec<Located>) -> Option<Option<Interval>> {
    match node.child(key).and_then(Node::text) {
        Some("never") => {
            node.take(key);
            Some(None)
        }
        _ => interval(node, key, faults).map(Some),
    }
}

/// A text, or a list of texts.
fn words(node: &mut Node, key: &str, faults: &mut Vec<Located>) -> Vec<(String, Place)> {
    let Some(taken) = node.take(key) else { return Vec::new() };
    let many = match &taken.value {
        Tree::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&taken),
    };
    if many.is_empty() {
        faults.push(Located::at(&taken.at, format!("`{key}` is an empty list")));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut words = Vec::new();
    for one in many {
        match one.text() {
            Some(text) if !seen.insert(text) => {
                faults.push(Located::at(&one.at, format!("`{text}` is named twice")));
            }
            Some(text) => words.push((text.to_owned(), one.at.clone())),
            None => faults.push(Located::at(&one.at, format!("expected text, found {}", one.shown()))),
        }
    }
    words
}
