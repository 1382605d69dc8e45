//! From the configuration to the plan: every fault at its setting, accumulators shared where they can be.

use super::accumulators::{Measure, Spec};
use super::core::{Argument, Shape};
use super::functions::{Call, Function, parse};
use super::grid::Grid;
use super::panes::Panes;
use super::runs::{Ending, Runs};
use super::{Aggregate, Slide, Window, WindowTable};
use crate::fault::Fault;
use crate::operator::{Arrival, MADE_FROM, Make, Planned, Planning};
use crate::schema::{Field, Kind, SYSTEM_NAMES, Schema};
use crate::time::Interval;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// How many panes a window may be made of: each window that fires looks at all of them.
const PANES_MAX: i64 = 4096;

/// The precision of `distinct` where none is written.
const PRECISION: u8 = 12;

/// What makes the windows.
enum Form {
    Panes(Grid),
    Runs(Ending),
}

/// Checks a configuration and plans the step.
pub(super) fn plan(config: &Aggregate, planning: &mut Planning<'_>) -> Option<Planned> {
    let before = planning.faults();
    let form = form(config, planning);
    let mut builder = Builder::default();
    let mut fields = vec![Field::new("window_start", Kind::Time), Field::new("window_end", Kind::Time)];
    fields.extend(planning.key().iter().cloned());
    if config.aggregates.is_empty() {
        planning.fault(Fault::at("aggregates", "nothing is computed").help("write for example { n = \"count()\" }"));
    }
    let timed =
        matches!(&form, Some(Form::Panes(grid)) if !grid.whole()) || matches!(&form, Some(Form::Runs(Ending::Gap(_))));
    for (name, text) in &config.aggregates {
        let at = format!("aggregates.{name}");
        check_name(name, &fields, &at, planning);
        let call = parse(text, &at).map_err(|fault| planning.fault(fault)).ok();
        if let Some(kind) = call.and_then(|call| builder.add(&call, &at, timed || form.is_none(), planning)) {
            fields.push(Field::new(name, kind));
        }
    }
    same_inputs(planning);
    let form = form.filter(|_| planning.faults() == before)?;
    builder.fields = fields[2 + planning.key().len()..].to_vec();
    Some(finish(config, form, builder, fields, planning))
}

fn finish(
    config: &Aggregate,
    form: Form,
    mut builder: Builder,
    mut fields: Vec<Field>,
    planning: &Planning<'_>,
) -> Planned {
    let revisions = config.early.is_some() || !config.allowed_lateness.is_zero();
    if revisions {
        fields.extend([Field::new("firing", Kind::Text), Field::new("revision", Kind::Int)]);
    }
    let by_records = match &form {
        Form::Panes(grid) => grid.whole(),
        Form::Runs(ending) => matches!(ending, Ending::Records { .. }),
    };
    let span = by_records.then(|| builder.accumulator(Spec::Span, false));
    let places = planning.wants(MADE_FROM).then(|| builder.accumulator(Spec::Places, false));
    fields.extend(places.map(|_| Field::new(MADE_FROM, Kind::Text)));
    let uses = builder.arguments.iter().flat_map(|argument| argument.expression.fields().iter().cloned()).collect();
    let Builder { arguments, accumulators, measures, fields: told } = builder;
    let key = planning.key().iter().map(|field| field.kind).collect();
    let shape = Arc::new(Shape { arguments, accumulators, measures, fields: told, key, revisions, span, places });
    let empty = config.empty.map(Interval::micros);
    let (arrival, make): (Arrival, Make) = match form {
        Form::Panes(grid) => {
            let grid = Arc::new(grid);
            (Arrival::AsTheyCome, Arc::new(move || Box::new(Panes::new(grid.clone(), empty, shape.clone()))))
        }
        Form::Runs(ending) => (Arrival::InOrder, Arc::new(move || Box::new(Runs::new(ending, shape.clone())))),
    };
    let output = Schema::new(fields);
    Planned { output, uses, passes: false, keeps_origin: false, keyed: true, arrival, make }
}

fn check_name(name: &str, fields: &[Field], at: &str, planning: &mut Planning<'_>) {
    let own = ["firing", "revision", MADE_FROM];
    if fields.iter().any(|field| field.name == name) || own.contains(&name) || SYSTEM_NAMES.contains(&name) {
        planning.fault(
            Fault::at(at, format!("`{name}` is the name of another field of the output")).help("choose another name"),
        );
    }
}

fn same_inputs(planning: &mut Planning<'_>) {
    let inputs = planning.inputs();
    if inputs.iter().any(|input| input != &inputs[0]) {
        planning.fault(
            Fault::at("input", "the inputs have different fields")
                .help("bring them together with a step of kind `union` or `select`"),
        );
    }
}

fn form(config: &Aggregate, planning: &mut Planning<'_>) -> Option<Form> {
    let Aggregate { window, .. } = config;
    match window {
        Window::Global => {
            refuse(config, "global", &["offset", "allowed_lateness", "correct_every", "empty"], planning);
            let early = positive(config.early, "early", planning);
            let pane = early.unwrap_or(0);
            Some(Form::Panes(Grid { size: 0, slide: 0, pane, offset: 0, allowed: 0, correct: 0, early }))
        }
        Window::Tumbling(size) => grid(config, ("window", *size), ("window", *size), planning),
        Window::Table(table) => match table {
            WindowTable { size: Some(size), slide: None, session: None, count: None } => {
                grid(config, ("window.size", *size), ("window.size", *size), planning)
            }
            WindowTable { size: Some(size), slide: Some(Slide::Time(slide)), session: None, count: None } => {
                grid(config, ("window.size", *size), ("window.slide", *slide), planning)
            }
            WindowTable { session: Some(gap), size: None, slide: None, count: None } => {
                refuse(config, "session", &["offset", "allowed_lateness", "correct_every", "early", "empty"], planning);
                positive(Some(*gap), "window.session", planning).map(|gap| Form::Runs(Ending::Gap(gap)))
            }
            WindowTable { count: Some(count), size: None, session: None, slide } => {
                refuse(config, "count", &["offset", "allowed_lateness", "correct_every", "early", "empty"], planning);
                records(*count, *slide, planning)
            }
            WindowTable { size: Some(_), slide: Some(Slide::Records(_)), session: None, count: None } => {
                planning.fault(
                    Fault::at("window.slide", "a number of records, but `size` is a length of time")
                        .help("write it as \"5s\""),
                );
                None
            }
            _ => {
                let help = "write { size, slide }, { session } or { count }; or just \"10s\"";
                planning.fault(Fault::at("window", "these settings make no window together").help(help));
                None
            }
        },
    }
}

/// Faults for settings that windows of this form do not have.
fn refuse(config: &Aggregate, form: &str, refused: &[&str], planning: &mut Planning<'_>) {
    let Aggregate { offset, allowed_lateness, correct_every, early, empty, .. } = config;
    let written = [
        ("offset", offset.is_some()),
        ("allowed_lateness", !allowed_lateness.is_zero()),
        ("correct_every", correct_every.is_some()),
        ("early", early.is_some()),
        ("empty", empty.is_some()),
    ];
    for (name, _) in written.iter().filter(|(name, written)| *written && refused.contains(name)) {
        let fault = Fault::at(name, format!("a {form} window has no `{name}`"));
        planning.fault(fault.help("it belongs to tumbling and hopping windows"));
    }
}

fn positive(interval: Option<Interval>, at: &str, planning: &mut Planning<'_>) -> Option<i64> {
    if interval.is_some_and(Interval::is_zero) {
        planning.fault(Fault::at(at, "must be longer than nothing"));
    }
    interval.map(Interval::micros).filter(|micros| *micros > 0)
}

fn grid(
    config: &Aggregate,
    size: (&str, Interval),
    slide: (&str, Interval),
    planning: &mut Planning<'_>,
) -> Option<Form> {
    let before = planning.faults();
    let size_micros = positive(Some(size.1), size.0, planning);
    let slide_micros = if slide.0 == size.0 { size_micros } else { positive(Some(slide.1), slide.0, planning) };
    let early = positive(config.early, "early", planning);
    let correct = positive(config.correct_every, "correct_every", planning);
    let (size_micros, slide_micros) = (size_micros?, slide_micros?);
    if slide_micros > size_micros {
        let message = format!("windows {} apart that are {} long leave records out", slide.1, size.1);
        planning.fault(Fault::at(slide.0, message).help("a slide is not longer than the size"));
    }
    if config.correct_every.is_some() && config.allowed_lateness.is_zero() {
        planning.fault(Fault::at("correct_every", "nothing is corrected without `allowed_lateness`"));
    }
    if early.is_some_and(|early| early >= size_micros) {
        planning.fault(Fault::at("early", "must be shorter than the window"));
    }
    let pane = [Some(slide_micros), early].into_iter().flatten().fold(size_micros, gcd);
    if size_micros / pane > PANES_MAX {
        let (panes, pane) = (size_micros / pane, Interval::from_micros(pane));
        let message = format!("a window would be made of {panes} panes of {pane}, and at most {PANES_MAX} are allowed");
        planning.fault(Fault::at(slide.0, message).help("choose lengths with a greater common divisor"));
    }
    if planning.faults() > before {
        return None;
    }
    let offset = config.offset.unwrap_or_default().micros();
    let (allowed, correct) = (config.allowed_lateness.micros(), correct.unwrap_or(slide_micros));
    Some(Form::Panes(Grid { size: size_micros, slide: slide_micros, pane, offset, allowed, correct, early }))
}

fn records(count: u64, slide: Option<Slide>, planning: &mut Planning<'_>) -> Option<Form> {
    let slide = match slide {
        None => count,
        Some(Slide::Records(slide)) => slide,
        Some(Slide::Time(_)) => {
            planning.fault(
                Fault::at("window.slide", "a length of time, but `count` is a number of records")
                    .help("write it as 10"),
            );
            return None;
        }
    };
    if count == 0 || slide == 0 || slide > count {
        let (at, right) =
            if count == 0 { ("window.count", "at least 1") } else { ("window.slide", "from 1 to `count`") };
        planning.fault(Fault::at(at, format!("a number of records is {right}")));
        return None;
    }
    let part = gcd(count as i64, slide as i64) as u64;
    if count / part > PANES_MAX as u64 {
        let message = format!("a window would be made of {} parts, and at most {PANES_MAX} are allowed", count / part);
        planning.fault(Fault::at("window.slide", message).help("choose numbers with a greater common divisor"));
        return None;
    }
    Some(Form::Runs(Ending::Records { part, window: (count / part) as usize, slide: (slide / part) as usize }))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Collects what the aggregates need, each thing once.
#[derive(Default)]
struct Builder {
    arguments: Vec<Argument>,
    accumulators: Vec<(Spec, bool)>,
    measures: Vec<(usize, Measure)>,
    fields: Vec<Field>,
}

impl Builder {
    /// Adds an aggregate; gives the kind of its results.
    fn add(&mut self, call: &Call, at: &str, timed: bool, planning: &mut Planning<'_>) -> Option<Kind> {
        if call.function == Function::Rate && !timed {
            planning.fault(
                Fault::at(at, "a window of this form has no length, so there is no rate").help("take \"count()\""),
            );
            return None;
        }
        let Some(text) = &call.argument else {
            let measure = if call.function == Function::Rate { Measure::Rate } else { Measure::Count };
            self.measure(Spec::Records, measure);
            return Some(if measure == Measure::Rate { Kind::Float } else { Kind::Int });
        };
        let expression = planning.expression(text, at)?;
        let kind = expression.kind();
        if !fits(call.function, kind) {
            let right =
                if matches!(call.function, Function::Min | Function::Max) { "numbers or times" } else { "numbers" };
            let fault = Fault::at(at, format!("`{text}` is {kind}, and this function needs {right}"));
            planning.fault(if kind == Kind::Text {
                fault.help("count(), distinct(), top_k(), first() and last() take text")
            } else {
                fault
            });
            return None;
        }
        let cast = cast(call.function, kind);
        let known = self.arguments.iter().position(|a| a.expression.to_string() == *text && a.cast == cast);
        let argument = known.unwrap_or_else(|| {
            self.arguments.push(Argument { expression, cast });
            self.arguments.len() - 1
        });
        Some(self.of_values(call, argument, kind))
    }

    fn of_values(&mut self, call: &Call, argument: usize, kind: Kind) -> Kind {
        let summary = if kind == Kind::Float { Spec::Floats(argument) } else { Spec::Ints(argument) };
        let sum_kind = if kind == Kind::Float { Kind::Float } else { Kind::Int };
        let parameter = call.parameter.unwrap_or_default();
        let (spec, measure, result) = match call.function {
            Function::Count if kind.is_number() => (summary, Measure::Count, Kind::Int),
            Function::Count => (Spec::Values(argument), Measure::Count, Kind::Int),
            Function::Sum => (summary, Measure::Sum, sum_kind),
            Function::Mean => (summary, Measure::Mean, Kind::Float),
            Function::Variance => (summary, Measure::Variance, Kind::Float),
            Function::SampleVariance => (summary, Measure::SampleVariance, Kind::Float),
            Function::Stddev => (summary, Measure::Stddev, Kind::Float),
            Function::SampleStddev => (summary, Measure::SampleStddev, Kind::Float),
            Function::Min => (summary, Measure::Min(kind), kind),
            Function::Max => (summary, Measure::Max(kind), kind),
            Function::Rate => (summary, Measure::Rate, Kind::Float),
            Function::First => (Spec::Edge(argument, kind, false), Measure::It, kind),
            Function::Last => (Spec::Edge(argument, kind, true), Measure::It, kind),
            Function::Distinct => {
                let precision = call.parameter.map_or(PRECISION, |precision| precision as u8);
                (Spec::Distinct(argument, precision), Measure::It, Kind::Int)
            }
            Function::TopK => (Spec::Top(argument, kind, parameter as usize), Measure::It, Kind::Text),
            Function::Quantile => (Spec::Bins(argument), Measure::Quantile(parameter), Kind::Float),
            Function::ExactQuantile => (Spec::Kept(argument), Measure::Quantile(parameter), Kind::Float),
        };
        self.measure(spec, measure);
        result
    }

    fn measure(&mut self, spec: Spec, measure: Measure) {
        let accumulator = self.accumulator(spec, measure.needs_moments());
        self.measures.push((accumulator, measure));
    }

    fn accumulator(&mut self, spec: Spec, moments: bool) -> usize {
        if let Some(known) = self.accumulators.iter().position(|(known, _)| *known == spec) {
            self.accumulators[known].1 |= moments;
            return known;
        }
        self.accumulators.push((spec, moments));
        self.accumulators.len() - 1
    }
}

fn fits(function: Function, kind: Kind) -> bool {
    match function {
        Function::Count | Function::First | Function::Last | Function::Distinct | Function::TopK => true,
        Function::Min | Function::Max => kind.is_number() || kind == Kind::Time,
        Function::Quantile | Function::ExactQuantile => kind.is_number(),
        _ => kind.is_number() || kind == Kind::Bool,
    }
}

/// What the values are turned into: a bool counts as 0 or 1, a time as its microseconds, quantiles are of floats.
fn cast(function: Function, kind: Kind) -> Option<DataType> {
    match (function, kind) {
        (Function::Count | Function::First | Function::Last | Function::Distinct | Function::TopK, _) => None,
        (Function::Quantile | Function::ExactQuantile, Kind::Int) => Some(DataType::Float64),
        (_, Kind::Bool | Kind::Time) => Some(DataType::Int64),
        _ => None,
    }
}
