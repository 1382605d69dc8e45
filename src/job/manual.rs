//! The reference of the job file, `docs/jobs.md`: written from the heads of the parts and the schemas of their
//! settings, so that it cannot say anything else than the program does.

use super::schema::{Properties, engine_properties, job_properties, resolve};
use crate::registry::{Part, Registry};
use serde_json::{Map, Value, json};

const HEAD: &str = include_str!("manual.md");

/// The reference of the job file for the parts of a registry, as Markdown. The same registry gives the same text.
pub fn manual(registry: &Registry) -> String {
    let mut text = HEAD.trim_end().to_owned();
    text.push_str("\n\n## Settings of the job\n\n");
    let job = json!({ "properties": job_properties(), "required": ["name"] });
    text.push_str(&table(&job));
    text.push_str(&section("Sources", "source", "Every source has these settings:", registry.sources()));
    text.push_str(&section("Steps", "step", "Every step has these settings:", registry.operators()));
    text.push_str(&section("Sinks", "sink", "Every sink has this setting:", registry.sinks()));
    text
}

fn section<T: ?Sized>(title: &str, section: &str, says: &str, parts: &[Part<T>]) -> String {
    let required: &[&str] = if section == "source" { &[] } else { &["input"] };
    let engine = json!({ "properties": engine_properties(section), "required": required });
    let mut text = format!("\n## {title}\n\n{says}\n\n{}", table(&engine));
    for part in parts {
        text.push_str(&format!("\n### `{}`\n", part.name));
        let manual = demoted(&part.manual);
        if !manual.is_empty() {
            text.push_str(&format!("\n{manual}\n"));
        }
        let schema = Properties::of(part).schema();
        if schema.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty()) {
            text.push_str(&format!("\n{}", table(&schema)));
        }
    }
    text
}

/// A manual under a heading of the third rank: its own headings go below that one. Lines in code are left alone.
fn demoted(manual: &str) -> String {
    let mut code = false;
    let line = |line: &str| {
        code ^= line.trim_start().starts_with("```");
        if line.starts_with('#') && !code { format!("###{line}") } else { line.to_owned() }
    };
    manual.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The settings of a schema as a Markdown table; settings of tables within follow with dotted names.
fn table(root: &Value) -> String {
    let mut text = String::from("| setting | is | default | |\n| --- | --- | --- | --- |\n");
    rows(root, root, "", 0, &mut text);
    text
}

fn rows(root: &Value, schema: &Value, prefix: &str, depth: usize, text: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required =
        |name: &str| schema.get("required").and_then(Value::as_array).is_some_and(|r| r.contains(&name.into()));
    // What must be there comes first.
    let (first, then): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| required(name));
    for (name, setting) in first.into_iter().chain(then) {
        let resolved = resolve(root, setting);
        let default = match setting.get("default").or_else(|| resolved.get("default")) {
            _ if required(name) => "required".to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(value) => format!("`{value}`"),
        };
        let says = described(root, setting).unwrap_or_default();
        let row = [format!("`{prefix}{name}`"), type_of(root, setting), default, says];
        let row = row.map(|cell| cell.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" "));
        text.push_str(&format!("| {} |\n", row.join(" | ")));
        if let Some((within, mark)) = inner(root, setting).filter(|_| depth < 3) {
            rows(root, within, &format!("{prefix}{name}{mark}."), depth + 1, text);
        }
    }
}

/// What is said about a setting, or else about what it holds.
fn described(root: &Value, setting: &Value) -> Option<String> {
    let said = [setting, resolve(root, setting)].into_iter().find_map(|schema| schema.get("description")?.as_str());
    let choices = setting.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    said.map(str::to_owned).or_else(|| choices.into_iter().find_map(|choice| described(root, choice)))
}

/// The schema of the tables that a setting holds, and how they are marked: `rules[]`, `windows.NAME`.
fn inner<'a>(root: &'a Value, setting: &'a Value) -> Option<(&'a Value, &'static str)> {
    let setting = resolve(root, setting);
    if setting.get("properties").is_some() {
        return Some((setting, ""));
    }
    for choice in setting.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        if let Some(found) = inner(root, choice) {
            return Some(found);
        }
    }
    let within = |key: &str, mark: &'static str| {
        let schema = resolve(root, setting.get(key)?);
        schema.get("properties").map(|_| (schema, mark))
    };
    within("items", "[]").or_else(|| within("additionalProperties", ".NAME"))
}

/// What values a schema takes, in a few words.
fn type_of(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let Some(object) = schema.as_object() else { return "anything".into() };
    if let Some(choices) = object.get("enum").and_then(Value::as_array) {
        return choices.iter().filter(|c| !c.is_null()).map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = object.get("const") {
        return format!("`{value}`");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = object.get(key).and_then(Value::as_array) {
            let mut names: Vec<String> = Vec::new();
            for name in choices.iter().map(|choice| type_of(root, choice)).filter(|name| name != "nothing") {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            return names.join(" or ");
        }
    }
    match object.get("type") {
        Some(Value::String(name)) => simple(root, object, name),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|n| *n != "null");
            names.map(|name| simple(root, object, name)).collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".into(),
    }
}

fn simple(root: &Value, object: &Map<String, Value>, name: &str) -> String {
    match name {
        "string" if object.get("examples").is_some_and(|e| e[0] == "10s") => {
            let never = object["examples"].as_array().is_some_and(|e| e.contains(&"never".into()));
            if never { "interval or `never`".into() } else { "interval".into() }
        }
        "string" => "text".into(),
        "integer" => "whole number".into(),
        "number" => "number".into(),
        "boolean" => "true or false".into(),
        "array" => match object.get("items") {
            Some(items) => format!("list of {}", type_of(root, items)),
            None => "list".into(),
        },
        "object" => match object.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("table of {}", type_of(root, values)),
            _ => "table".into(),
        },
        "null" => "nothing".into(),
        other => other.to_owned(),
    }
}
