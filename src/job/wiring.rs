//! Who reads from whom: names to ports, steps in the order of the data, no cycles.

use super::faulty::{Located, Place};
use super::plan::{Node, Output, Port};
use super::spec::Spec;
use std::collections::BTreeMap;

/// The ports that the parts of a job read, with the place where each is named.
pub(super) struct Wiring {
    /// The steps (by their number in the file) in topological order; steps on a cycle are not among them.
    pub order: Vec<usize>,
    /// What each step of `order` reads; nothing where a name leads nowhere. Steps are numbered by `order`.
    pub steps: Vec<Inputs>,
    /// What each sink reads.
    pub sinks: Vec<Inputs>,
}

/// What a part reads, or `None` where that cannot be said.
pub(super) type Inputs = Option<Vec<(Port, Place)>>;

impl Wiring {
    /// Whether every input leads somewhere.
    pub fn is_whole(&self, spec: &Spec) -> bool {
        self.order.len() == spec.steps.len() && self.steps.iter().chain(&self.sinks).all(Option::is_some)
    }
}

#[derive(Clone, Copy)]
enum Named {
    Source(usize),
    Step(usize),
    Sink,
}

/// Joins the parts of a job by their names.
pub(super) fn wire(spec: &Spec, faults: &mut Vec<Located>) -> Wiring {
    let names = names(spec, faults);
    let mut resolve = |inputs: &[(String, Place)]| -> Inputs {
        let ports: Vec<Option<(Port, Place)>> = inputs
            .iter()
            .map(|(text, place)| port(text, &names).map(|p| (p, place.clone())).map_err(|f| faults.push(f(place))).ok())
            .collect();
        if ports.is_empty() { None } else { ports.into_iter().collect() }
    };
    let mut steps: Vec<Inputs> = spec.steps.iter().map(|step| resolve(&step.inputs)).collect();
    let mut sinks: Vec<Inputs> = spec.sinks.iter().map(|sink| resolve(&sink.inputs)).collect();
    let order = in_order(spec, &steps, faults);
    let number: BTreeMap<usize, usize> = order.iter().enumerate().map(|(index, file)| (*file, index)).collect();
    for inputs in steps.iter_mut().chain(&mut sinks) {
        renumber(inputs, &number);
    }
    let steps = order.iter().map(|file| steps[*file].take()).collect();
    Wiring { order, steps, sinks }
}

/// Names steps by their place in the order; what reads from a cycle reads nothing.
fn renumber(inputs: &mut Inputs, number: &BTreeMap<usize, usize>) {
    for (port, _) in inputs.iter_mut().flatten() {
        if let Node::Step(file) = port.node {
            match number.get(&file) {
                Some(index) => port.node = Node::Step(*index),
                None => {
                    *inputs = None;
                    return;
                }
            }
        }
    }
}

/// All names, each of which only one part may have.
fn names<'a>(spec: &'a Spec, faults: &mut Vec<Located>) -> BTreeMap<&'a str, Named> {
    let sources = spec.sources.iter().enumerate().map(|(i, s)| (s.name.as_str(), &s.node.key, Named::Source(i)));
    let steps = spec.steps.iter().enumerate().map(|(i, s)| (s.name.as_str(), &s.node.key, Named::Step(i)));
    let sinks = spec.sinks.iter().map(|s| (s.name.as_str(), &s.node.key, Named::Sink));
    let mut all: Vec<_> = sources.chain(steps).chain(sinks).collect();
    all.sort_by(|a, b| a.1.cmp(b.1));
    let mut names = BTreeMap::new();
    for (name, place, named) in all {
        if let Some(other) = names.get(name) {
            let other = match other {
                Named::Source(_) => "source",
                Named::Step(_) => "step",
                Named::Sink => "sink",
            };
            let fault = Located::at(place, format!("a {other} is called `{name}` already"));
            faults.push(fault.help("every source, step and sink has a name of its own"));
        } else {
            names.insert(name, named);
        }
    }
    names
}

/// The port that a text names: `valid`, `valid.rejected`.
fn port(text: &str, names: &BTreeMap<&str, Named>) -> Result<Port, impl FnOnce(&Place) -> Located> {
    let (name, output) = text.split_once('.').unwrap_or((text, "out"));
    let found = names.get(name).copied();
    let (node, outputs): (_, &[&str]) = match found {
        Some(Named::Source(index)) => (Some(Node::Source(index)), &["out", "rejected"]),
        Some(Named::Step(index)) => (Some(Node::Step(index)), &["out", "rejected", "late"]),
        Some(Named::Sink) | None => (None, &[]),
    };
    let output = match output {
        _ if !outputs.contains(&output) => None,
        "rejected" => Some(Output::Rejected),
        "late" => Some(Output::Late),
        _ => Some(Output::Out),
    };
    if let (Some(node), Some(output)) = (node, output) {
        return Ok(Port { node, output });
    }
    let readable: Vec<String> =
        names.iter().filter(|(_, n)| !matches!(n, Named::Sink)).map(|(name, _)| (*name).to_owned()).collect();
    let (text, name) = (text.to_owned(), name.to_owned());
    Err(move |place: &Place| {
        let readable = readable.iter().map(String::as_str);
        match found {
            Some(Named::Sink) => {
                Located::at(place, format!("`{name}` is a sink, nothing comes out of it")).nearest("", readable)
            }
            None => Located::at(place, format!("there is no source or step `{name}`")).nearest(&name, readable),
            Some(_) => {
                let output = text[name.len() + 1..].to_owned();
                Located::at(place, format!("no output `{output}` comes out of `{name}`"))
                    .nearest(&output, outputs.iter().copied())
            }
        }
    })
}

/// Every step behind those it reads, otherwise as in the file. Each cycle is reported once, as a path.
fn in_order(spec: &Spec, steps: &[Inputs], faults: &mut Vec<Located>) -> Vec<usize> {
    let reads = |step: usize| {
        let ports = steps[step].iter().flatten().map(|(port, _)| port.node);
        ports.filter_map(|node| if let Node::Step(other) = node { Some(other) } else { None }).collect::<Vec<_>>()
    };
    let mut left: Vec<usize> = (0..steps.len()).collect();
    let mut order: Vec<usize> = Vec::new();
    while let Some(at) = left.iter().position(|step| reads(*step).iter().all(|other| order.contains(other))) {
        order.push(left.remove(at));
    }
    while let Some(first) = left.first().copied() {
        // Upstream from any step that is left, until a step comes again or none that is left is read.
        let mut path = vec![first];
        let next = |path: &[usize]| reads(path[path.len() - 1]).into_iter().find(|other| left.contains(other));
        let cycle = loop {
            match next(&path) {
                None => break None,
                Some(step) => match path.iter().position(|s| *s == step) {
                    Some(start) => break Some(path.split_off(start)),
                    None => path.push(step),
                },
            }
        };
        match cycle {
            Some(mut cycle) => {
                cycle.reverse();
                faults.push(told(spec, &cycle, steps));
                left.retain(|step| !cycle.contains(step));
            }
            None => {
                let end = path[path.len() - 1];
                left.retain(|step| *step != end);
            }
        }
    }
    order
}

/// A cycle, in the direction of the data and from its first step in the file, at the input that closes it.
fn told(spec: &Spec, cycle: &[usize], steps: &[Inputs]) -> Located {
    let first = (0..cycle.len()).min_by_key(|i| cycle[*i]).expect("a cycle has steps");
    let turned: Vec<usize> = cycle[first..].iter().chain(&cycle[..first]).copied().collect();
    let names: Vec<&str> = turned.iter().chain(&turned[..1]).map(|step| spec.steps[*step].name.as_str()).collect();
    let last = Node::Step(turned[turned.len() - 1]);
    let inputs = steps[turned[0]].iter().flatten();
    let place = inputs.filter(|(port, _)| port.node == last).map(|(_, place)| place).next();
    let place = place.unwrap_or(&spec.steps[turned[0]].node.at);
    Located::at(place, format!("this goes round in a circle: {}", names.join(" -> "))).help("a job flows one way")
}
