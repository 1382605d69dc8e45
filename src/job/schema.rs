//! The JSON Schema of a job file, put together from the parts that a registry lists, so that editors complete and
//! check it.

use super::overrides::engine_keys;
use crate::registry::{Part, Registry};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

const INTERVAL: &str = "^(([0-9.]+(us|ms|s|m|h|d|w) ?)+|0)$";
const NEVER: &str = "^(([0-9.]+(us|ms|s|m|h|d|w) ?)+|0|never)$";

/// The JSON Schema (draft 2020-12) of a whole job file. Every kind of part is one alternative, told apart by `kind`.
pub fn json_schema(registry: &Registry) -> Value {
    let mut generator = generator();
    let sources = section("source", registry.sources(), &mut generator);
    let steps = section("step", registry.operators(), &mut generator);
    let sinks = section("sink", registry.sinks(), &mut generator);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of Eagre",
        "description": "Sources, steps and sinks, joined by name into a dataflow.",
        "type": "object",
        "properties": job_properties(),
        "required": ["name", "source"],
        "additionalProperties": false,
    });
    for (name, alternatives) in [("source", sources), ("step", steps), ("sink", sinks)] {
        schema["properties"][name] = alternatives;
    }
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        schema["$defs"] = Value::Object(definitions);
    }
    schema
}

/// The settings of a kind of part, from its JSON Schema.
pub(super) struct Properties {
    schema: Map<String, Value>,
}

impl Properties {
    pub fn of<T: ?Sized>(part: &Part<T>) -> Properties {
        let schema = (part.schema)(&mut generator()).to_value();
        Properties { schema: schema.as_object().cloned().unwrap_or_default() }
    }

    /// The names of the settings, in order of name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|p| p.keys().map(String::as_str))
    }

    /// The settings that must be there.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether there are no settings but these.
    pub fn is_closed(&self) -> bool {
        let others = ["$ref", "oneOf", "anyOf", "allOf"].iter().any(|k| self.schema.contains_key(*k));
        self.schema.get("additionalProperties") == Some(&Value::Bool(false)) && !others
    }

    /// Whether a setting is text and nothing else.
    pub fn is_text(&self, name: &str) -> bool {
        let root = Value::Object(self.schema.clone());
        match root.get("properties").and_then(|p| p.get(name)) {
            Some(setting) => {
                resolve(&root, setting)["type"] == "string"
                    || resolve(&root, setting)["type"] == json!(["string", "null"])
            }
            None => false,
        }
    }

    /// The whole schema.
    pub fn schema(&self) -> Value {
        Value::Object(self.schema.clone())
    }
}

/// What a schema's `$ref` leads to, or the schema itself.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// The first paragraph of a manual behind its heading.
pub(super) fn first_paragraph(manual: &str) -> String {
    let text = manual.lines().skip_while(|l| l.trim().is_empty() || l.starts_with('#'));
    text.take_while(|l| !l.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The schemas of the engine's own keys of a kind of part.
pub(super) fn engine_properties(section: &str) -> Map<String, Value> {
    let interval = |default: &str, says: &str| match says.contains("never") {
        true => {
            json!({ "type": "string", "pattern": NEVER, "examples": ["10s", "1h", "never"], "default": default, "description": says })
        }
        false => {
            json!({ "type": "string", "pattern": INTERVAL, "examples": ["10s", "1h"], "default": default, "description": says })
        }
    };
    let ports = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
        "description": "What comes in: the name of a source or step, NAME.rejected, NAME.late, or a list of these." });
    let all = json!({
        "input": ports,
        "key": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
            "description": "What records are kept apart by: a field, an SQL expression with a name (\"upper(region) as region\"), or a list of these." },
        "ttl": { "type": "string", "pattern": INTERVAL, "examples": ["10s", "1h"], "description": "How long a key is remembered: the step forgets one, and the timers it had asked for, when no record of it has come for longer than this, by event time; a record that comes just so long after the last still finds it. May be changed without losing state." },
        "was": { "type": "string", "description": "What the step was called before: it takes over the state of that step from a checkpoint." },
        "delivery": { "enum": ["at_least_once", "exactly_once"], "description": "What is promised of rows when the job dies and goes on from a checkpoint; without it, with [checkpoint] exactly once where the kind can." },
        "max_delay": interval("0s", "How long records may come out of order: the watermark of a partition is its newest event time less this."),
        "idle_after": interval("10s", "A partition that is silent for so long holds the others back no more; \"never\" waits for ever."),
        "max_drift": interval("1m", "A partition whose event time is more than this ahead of the slowest waits for it; \"never\" lets it run."),
        "max_ahead": interval("1d", "A record whose event time is more than this in the future goes to NAME.rejected; \"never\" takes it."),
    });
    let wanted = |name: &&str| *name != "kind";
    engine_keys(section).iter().filter(|k| wanted(k)).map(|k| ((*k).to_owned(), all[*k].clone())).collect()
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_deserialize().into_generator()
}

/// The settings of a job that belong to no part.
pub(super) fn job_properties() -> Value {
    json!({
        "name": { "type": "string", "pattern": "^[a-z0-9_-]+$", "description": "The job's name; its files lie in a folder of this name." },
        "workers": { "type": "integer", "minimum": 1, "maximum": 1024, "description": "How many threads work; without it, as many as the machine has cores. `--workers` overrides it." },
        "data_dir": { "type": "string", "default": "eagre-data", "description": "Where the job keeps its own files: dead letters go to {data_dir}/{name}/dead-letters/." },
        "engine": {
            "type": "object",
            "description": "How the engine works; nothing here changes a result.",
            "properties": {
                "epoch": { "type": "string", "pattern": INTERVAL, "examples": ["10s", "1h"], "default": "2ms", "description": "The shortest time between two epochs while records come in live." },
                "epoch_records_max": { "type": "integer", "minimum": 1, "default": 65536, "description": "How many records of one worker go into one epoch." },
                "epochs_ahead_max": { "type": "integer", "minimum": 1, "default": 4, "description": "How many epochs a source may be ahead of the sinks." },
            },
            "additionalProperties": false,
        },
        "checkpoint": {
            "type": "object",
            "description": "With this table the job survives: it goes on from its newest checkpoint.",
            "properties": {
                "every": { "type": "string", "pattern": INTERVAL, "examples": ["10s", "100ms"], "default": "10s", "description": "The time between two checkpoints; what is delivered exactly once is seen as often." },
                "keep": { "type": "integer", "minimum": 1, "default": 3, "description": "How many checkpoints are kept." },
                "dir": { "type": "string", "description": "The folder that they lie in, or s3://bucket/prefix (gs://, az://) with a program built for it; without it {data_dir}/{name}/checkpoints." },
            },
            "additionalProperties": false,
        },
    })
}

fn section<T: ?Sized>(name: &str, parts: &[Part<T>], generator: &mut SchemaGenerator) -> Value {
    let kinds: Vec<Value> = parts.iter().map(|part| alternative(name, part, generator)).collect();
    let says = match name {
        "source" => "Where records come from, by name.",
        "step" => "What is done with them, by name.",
        _ => "Where results go, by name.",
    };
    json!({
        "type": "object",
        "description": says,
        "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
        "additionalProperties": if kinds.is_empty() { json!(true) } else { json!({ "oneOf": kinds }) },
    })
}

fn alternative<T: ?Sized>(section: &str, part: &Part<T>, generator: &mut SchemaGenerator) -> Value {
    let mut schema = (part.schema)(generator).to_value();
    let object = schema.as_object_mut().expect("the schema of a configuration is an object");
    object.remove("$schema");
    object.remove("$defs");
    object.insert("title".into(), part.name.into());
    let says = first_paragraph(&part.manual);
    if !says.is_empty() {
        object.insert("description".into(), says.into());
    }
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    let properties = properties.as_object_mut().expect("properties are an object");
    properties.insert("kind".into(), json!({ "const": part.name }));
    properties.extend(engine_properties(section));
    let input = (section != "source").then_some("input");
    let required = object.entry("required").or_insert_with(|| json!([]));
    let required = required.as_array_mut().expect("required is a list");
    required.splice(0..0, ["kind"].into_iter().chain(input).map(Value::from));
    schema
}
