//! Drawings of a plan: as text, for Mermaid, for Graphviz. Dead letters are left out; nobody asked for them.

use super::plan::{Node, Output, Plan, Port};
use crate::schema::Schema;
use std::fmt::Write;

/// The plan as lines of text: every part, what it is, and where its streams go; with `fields`, what flows.
pub fn text(plan: &Plan, fields: bool) -> String {
    let mut text = format!("{}\n", plan.name);
    for part in parts(plan) {
        let key = if part.key.is_empty() { String::new() } else { format!(", key {}", part.key) };
        write!(text, "\n{} {} ({}{key})\n", part.section, part.name, part.kind).expect("a String takes all");
        if let (true, Some(schema)) = (fields, &part.output) {
            writeln!(text, "  {}", listed(schema)).expect("a String takes all");
        }
        for (output, to) in part.node.map(|node| readers(plan, node)).unwrap_or_default() {
            let output = if output == Output::Out { String::new() } else { format!("{} ", output.name()) };
            writeln!(text, "  {output}-> {to}").expect("a String takes all");
        }
    }
    text
}

/// The plan as a Mermaid flowchart.
pub fn mermaid(plan: &Plan, fields: bool) -> String {
    let mut text = String::from("flowchart LR\n");
    let safe = |label: String| label.replace('"', "#quot;").replace('\n', "<br/>");
    for part in parts(plan) {
        let (open, close) = match part.section {
            "source" => ("([", "])"),
            "step" => ("[", "]"),
            _ => ("[/", "/]"),
        };
        writeln!(text, "  {}{open}\"{}\"{close}", part.id, safe(part.label(fields))).expect("a String takes all");
    }
    for (from, output, to) in edges(plan) {
        let arrow = if output == Output::Out { "-->".into() } else { format!("-. {} .->", output.name()) };
        writeln!(text, "  {from} {arrow} {to}").expect("a String takes all");
    }
    text
}

/// The plan in Graphviz' language.
pub fn graphviz(plan: &Plan, fields: bool) -> String {
    let safe = |label: String| label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", safe(plan.name.clone()));
    for part in parts(plan) {
        let shape = match part.section {
            "source" => ", shape=oval",
            "step" => "",
            _ => ", shape=note",
        };
        writeln!(text, "  {} [label=\"{}\"{shape}];", part.id, safe(part.label(fields))).expect("a String takes all");
    }
    for (from, output, to) in edges(plan) {
        let style =
            if output == Output::Out { String::new() } else { format!(" [label=\"{}\", style=dashed]", output.name()) };
        writeln!(text, "  {from} -> {to}{style};").expect("a String takes all");
    }
    text.push_str("}\n");
    text
}

/// A source, step or sink as it is drawn.
struct Part<'a> {
    section: &'static str,
    id: String,
    name: &'a str,
    kind: &'static str,
    key: String,
    node: Option<Node>,
    output: Option<Schema>,
}

impl Part<'_> {
    fn label(&self, fields: bool) -> String {
        let mut label = format!("{}\n{}", self.name, self.kind);
        if !self.key.is_empty() {
            label.push_str(&format!(" by {}", self.key));
        }
        match &self.output {
            Some(schema) if fields => format!("{label}\n{}", listed(schema)),
            _ => label,
        }
    }
}

/// All parts that somebody wrote: sources, steps in the order of the data, sinks.
fn parts(plan: &Plan) -> Vec<Part<'_>> {
    let part = |section, index: usize, name, kind| Part {
        section,
        id: format!("{section}_{index}"),
        name,
        kind,
        key: String::new(),
        node: None,
        output: None,
    };
    let sources = plan.sources.iter().enumerate().map(|(i, s)| Part {
        node: Some(Node::Source(i)),
        output: Some(s.output.clone()),
        ..part("source", i, s.name.as_str(), s.kind)
    });
    let steps = plan.steps.iter().enumerate().map(|(i, s)| Part {
        node: Some(Node::Step(i)),
        output: Some(s.planned.output.clone()),
        key: s.key_fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
        ..part("step", i, s.name.as_str(), s.kind)
    });
    let sinks = plan
        .sinks
        .iter()
        .enumerate()
        .filter(|(_, s)| !s.implicit)
        .map(|(i, s)| part("sink", i, s.name.as_str(), s.kind));
    sources.chain(steps).chain(sinks).collect()
}

/// Everything that reads, with what it reads: identifier, name, ports.
fn consumers(plan: &Plan) -> impl Iterator<Item = (String, &str, &[Port])> {
    let steps = plan.steps.iter().enumerate().map(|(i, s)| (format!("step_{i}"), s.name.as_str(), s.inputs.as_slice()));
    let sinks = plan.sinks.iter().enumerate().filter(|(_, s)| !s.implicit);
    steps.chain(sinks.map(|(i, s)| (format!("sink_{i}"), s.name.as_str(), s.inputs.as_slice())))
}

fn edges(plan: &Plan) -> Vec<(String, Output, String)> {
    let id = |node: Node| match node {
        Node::Source(index) => format!("source_{index}"),
        Node::Step(index) => format!("step_{index}"),
    };
    let edge = |(to, _, ports): (String, _, &[Port])| {
        ports.iter().map(|port| (id(port.node), port.output, to.clone())).collect::<Vec<_>>()
    };
    consumers(plan).flat_map(edge).collect()
}

/// Who reads the streams of a part, in order of stream.
fn readers(plan: &Plan, node: Node) -> Vec<(Output, &str)> {
    let all = consumers(plan).flat_map(|(_, name, ports)| ports.iter().map(move |port| (*port, name)));
    let mut readers: Vec<(Output, &str)> =
        all.filter(|(port, _)| port.node == node).map(|(port, name)| (port.output, name)).collect();
    readers.sort_by_key(|(output, _)| *output);
    readers
}

fn listed(schema: &Schema) -> String {
    schema.fields().iter().map(|f| format!("{} {}", f.name, f.kind)).collect::<Vec<_>>().join(", ")
}
