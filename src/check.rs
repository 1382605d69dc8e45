//! One test shape for every operator: configuration and records in, records out, all as text.
//!
//! ```text
//! fields   sensor:text value:float                                      of every input
//! script   time [sensor=a value=1.5 ...] [@origin:sequence] [^stamp]     one record a line; times are microseconds
//!          -- watermark                                                 closes an epoch
//! ```
//! A configuration with `input = ["a", "b"]` has two inputs: records of origin 0 come by the first, of 1 by the second.
//! [`check`] runs the script straight and compares; then again in ways that must not matter: every row a batch of its
//! own, all watermarks in one leap, restarted from a snapshot after every epoch, split over three workers, restarted
//! onto another number of workers. Outputs must be the same bits: in the same order within a key group.

use crate::batch::{self, Batch, Head};
use crate::checkpoint::part::Group;
use crate::engine::driver::{Driver, Epoch, Mark, Ordering, Snapshot};
use crate::expression::Expression;
use crate::key::{KeyGroup, Keys, group_of, worker_of};
use crate::operator::{Planned, Planning, StepNames};
use crate::origin::Origins;
use crate::registry::Registry;
use crate::schema::{self, Field, Kind, Schema};
use crate::time::{EventTime, Interval};
use crate::value::{ColumnBuilder, Value};
use std::collections::BTreeMap;

/// Runs an operator over a script and compares its outputs, line by line, with what is expected; then in every way that
/// must give the same. Panics with both texts where they differ.
///
/// `config` is what a job file would say under `[step.NAME]`, `kind` and `key` included. A line of output is
/// `time field=value ...`, with `rejected:` or `late:` before it for those outputs, and `^stamp` behind a late-stamped
/// row.
#[track_caller]
pub fn check(registry: &Registry, config: &str, fields: &str, script: &str, expected: &str) {
    let straight = run(registry, config, fields, script, Way::default());
    assert_eq!(tidy(expected), tidy(&straight), "the output of\n{config}\n(left: expected, right: was)");
    agree(registry, config, fields, script);
}

/// Only the second half of [`check`]: all ways agree, whatever the output is. Returns it.
#[track_caller]
pub fn agree(registry: &Registry, config: &str, fields: &str, script: &str) -> String {
    let straight = run(registry, config, fields, script, Way::default());
    for way in Way::all() {
        let again = run(registry, config, fields, script, way);
        assert_eq!(sorted(&straight), sorted(&again), "run {way:?}:\n{config}\n(left: straight, right: that way)");
    }
    straight
}

/// The faults of a configuration, one a line.
pub fn faults(registry: &Registry, config: &str, fields: &str) -> String {
    match plan(registry, config, &parse_fields(fields)) {
        Ok(_) => String::new(),
        Err(faults) => faults,
    }
}

/// A way to run a script.
#[derive(Clone, Copy, Debug)]
struct Way {
    workers: usize,
    workers_after: usize,
    row_by_row: bool,
    one_leap: bool,
    restart: bool,
}

impl Default for Way {
    fn default() -> Way {
        Way { workers: 1, workers_after: 1, row_by_row: false, one_leap: false, restart: false }
    }
}

impl Way {
    fn all() -> [Way; 6] {
        let straight = Way::default();
        [
            Way { row_by_row: true, ..straight },
            Way { one_leap: true, ..straight },
            Way { restart: true, ..straight },
            Way { workers: 3, workers_after: 3, ..straight },
            Way { workers: 3, workers_after: 2, restart: true, ..straight },
            Way { workers: 2, workers_after: 2, restart: true, row_by_row: true, ..straight },
        ]
    }
}

struct Step {
    planned: Planned,
    key: Vec<Expression>,
    input: Schema,
    inputs: usize,
    origins: Origins,
}

impl Step {
    fn fresh(&self) -> Driver {
        let names = StepNames {
            name: "step".into(),
            number: 0,
            output: self.planned.output.clone(),
            late: vec![schema::late(&self.input); self.inputs],
            origins: self.origins.clone(),
        };
        Driver::new(names, (self.planned.make)(), Ordering::from(self.planned.arrival), [0])
    }

    fn worker(&self, batch: &Batch, row: usize, workers: usize) -> usize {
        if self.planned.keyed { worker_of(group_of(self.keys(batch).hashes()[row]), workers) } else { 0 }
    }

    fn keys(&self, batch: &Batch) -> Keys {
        let columns: Vec<_> = self.key.iter().map(|k| k.evaluate(batch).values).collect();
        Keys::of(&columns, batch.len())
    }
}

fn run(registry: &Registry, config: &str, fields: &str, script: &str, way: Way) -> String {
    let input = parse_fields(fields);
    let (planned, key, inputs) = plan(registry, config, &input).unwrap_or_else(|faults| panic!("{config}\n{faults}"));
    let origins = Origins::new(vec!["step".into()]);
    origins.assign("in[0]");
    origins.assign("in[1]");
    let step = Step { planned, key, input, inputs, origins };
    let mut workers: Vec<Driver> = (0..way.workers).map(|_| step.fresh()).collect();
    let (mut kept, mut text) = (BTreeMap::new(), String::new());
    let (parts, rest) = parse_script(script, &step.input);
    for (epoch, part) in (0..).zip(&parts) {
        deliver(&step, &mut workers, &part.records, way.row_by_row);
        hear(&mut workers, epoch, part, way);
        collect(&mut workers, &mut text);
        if way.restart {
            let next = parts.get(epoch as usize + 1).map(|part| (epoch + 1, part));
            workers = restart(&step, workers, &mut kept, way, next);
        }
    }
    deliver(&step, &mut workers, &rest, way.row_by_row);
    finish(&mut workers, parts.len() as Epoch, &mut text);
    text
}

/// Records, and the watermark behind them.
struct Part {
    records: Vec<Record>,
    watermark: EventTime,
}

/// The parts of a script, and the records behind the last watermark.
fn parse_script(script: &str, input: &Schema) -> (Vec<Part>, Vec<Record>) {
    let (mut parts, mut records, mut sequence) = (Vec::new(), Vec::new(), 0);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("--").map(str::trim) {
            None => records.push(parse_record(line, input, &mut sequence)),
            Some(mark) => {
                let watermark = if mark == "end" { EventTime::MAX } else { mark.parse().expect("a watermark") };
                parts.push(Part { records: std::mem::take(&mut records), watermark });
            }
        }
    }
    (parts, records)
}

fn hear(workers: &mut [Driver], epoch: Epoch, part: &Part, way: Way) {
    for driver in workers {
        driver.hear(epoch, [Mark { source: 0, origin: 0, watermark: part.watermark }]);
        if !way.one_leap {
            driver.close(Some(epoch + 1));
        }
    }
}

fn finish(workers: &mut [Driver], epoch: Epoch, text: &mut String) {
    for driver in workers.iter_mut() {
        driver.close(Some(epoch));
    }
    collect(workers, text);
}

type Record = (EventTime, u32, i64, Option<EventTime>, Vec<Value>);

fn deliver(step: &Step, workers: &mut [Driver], records: &[Record], row_by_row: bool) {
    let rows = if row_by_row { 1 } else { records.len().max(1) };
    let input = |record: &Record| record.1 as usize % step.inputs;
    for chunk in records.chunks(rows).flat_map(|chunk| chunk.chunk_by(|a, b| input(a) == input(b))) {
        let batch = build(&step.input, chunk);
        let (input, count) = (input(&chunk[0]), workers.len());
        for (worker, driver) in workers.iter_mut().enumerate() {
            let mine: Vec<u32> =
                (0..batch.len() as u32).filter(|row| step.worker(&batch, *row as usize, count) == worker).collect();
            if !mine.is_empty() {
                let batch = batch.take(&mine);
                let keys = step.keys(&batch);
                driver.accept(input, if step.planned.keyed { batch.with_keys(keys) } else { batch });
            }
        }
    }
}

fn collect(workers: &mut [Driver], text: &mut String) {
    for driver in workers {
        let Some(ports) = driver.drain() else { continue };
        for (prefix, batches) in [("", ports.out), ("rejected: ", ports.rejected), ("late: ", ports.late)] {
            for batch in batches {
                (0..batch.len()).for_each(|row| show(text, prefix, &batch, row));
            }
        }
    }
}

/// Every group that was ever saved, as it was saved last.
type Kept = BTreeMap<KeyGroup, Group>;

fn restart(step: &Step, old: Vec<Driver>, kept: &mut Kept, way: Way, next: Option<(Epoch, &Part)>) -> Vec<Driver> {
    let workers = way.workers_after;
    let mut fresh: Vec<Driver> = (0..workers).map(|_| step.fresh()).collect();
    for mut snapshot in copies(step, old, way, next) {
        kept.extend(snapshot.take_groups().into_iter().map(|saved| (saved.group, saved)));
        let Snapshot { waiting, partitions, watermark, .. } = snapshot;
        for (worker, new) in fresh.iter_mut().enumerate() {
            new.resume(partitions.clone(), watermark);
            for (input, batch) in &waiting {
                let mine = (0..batch.len() as u32).filter(|row| step.worker(batch, *row as usize, workers) == worker);
                new.wait(*input, batch.take(&mine.collect::<Vec<_>>()));
            }
        }
    }
    for saved in kept.values() {
        let owner = if step.planned.keyed { worker_of(saved.group, workers) } else { 0 };
        fresh[owner].restore(saved).expect("a snapshot can be restored");
    }
    fresh
}

/// Copies what is known bit by bit, while the next part comes: nothing of that may be in the copies.
fn copies(step: &Step, mut workers: Vec<Driver>, way: Way, next: Option<(Epoch, &Part)>) -> Vec<Snapshot> {
    let mut snapshots: Vec<Snapshot> = workers.iter_mut().map(Driver::snapshot).collect();
    let mut copy_on = |workers: &mut [Driver], keys: usize| {
        workers.iter_mut().zip(&mut snapshots).for_each(|(driver, snapshot)| {
            driver.copy_on(snapshot, keys);
        });
    };
    if let Some((epoch, part)) = next {
        copy_on(&mut workers, 1);
        deliver(step, &mut workers, &part.records, way.row_by_row);
        copy_on(&mut workers, 1);
        hear(&mut workers, epoch, part, way);
    }
    copy_on(&mut workers, usize::MAX);
    snapshots
}

/// The step, its key, and how many inputs it has.
type PlannedCase = (Planned, Vec<Expression>, usize);

fn plan(registry: &Registry, config: &str, input: &Schema) -> Result<PlannedCase, String> {
    let mut table: toml::Table = config.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let kind = table.remove("kind").and_then(|k| k.as_str().map(str::to_owned)).expect("the configuration has a kind");
    let key = match table.remove("key") {
        None => Vec::new(),
        Some(toml::Value::Array(keys)) => keys.iter().map(|k| k.as_str().expect("text").to_owned()).collect(),
        Some(key) => vec![key.as_str().expect("text").to_owned()],
    };
    let inputs = table.remove("input").and_then(|input| Some(input.as_array()?.len())).unwrap_or(1);
    let ttl = table.remove("ttl").map(|ttl| Interval::parse(ttl.as_str().expect("text")).expect("an interval"));
    let key: Vec<Expression> = key.iter().map(|k| Expression::plan(k, input, "key").expect("a key")).collect();
    let fields: Vec<Field> = key.iter().map(|k| Field::new(k.to_string(), k.kind())).collect();
    let part = registry.operators().iter().find(|part| part.name == kind).expect("a kind that is registered");
    let operator = (part.parse)(toml::Value::Table(table)).map_err(|fault| fault.to_string())?;
    let schemas = vec![input.clone(); inputs];
    let mut planning = Planning::new("step", &schemas, &fields, None).forgetting_after(ttl);
    let planned = operator.plan(&mut planning);
    let faults: Vec<String> = planning.into_faults().iter().map(ToString::to_string).collect();
    planned.filter(|_| faults.is_empty()).map(|planned| (planned, key, inputs)).ok_or_else(|| faults.join("\n"))
}

fn parse_fields(text: &str) -> Schema {
    Schema::new(text.split_whitespace().map(|field| {
        let (name, kind) = field.split_once(':').expect("name:kind");
        Field::new(name, Kind::ALL.into_iter().find(|k| k.to_string() == kind).expect("a kind"))
    }))
}

fn parse_record(line: &str, schema: &Schema, sequence: &mut i64) -> Record {
    let mut words = line.split_whitespace();
    let time = words.next().and_then(|t| t.parse().ok()).expect("a time");
    let mut record: Record = (time, 0, *sequence, None, vec![Value::Null; schema.fields().len()]);
    for word in words {
        if let Some(stamp) = word.strip_prefix('^') {
            record.3 = Some(stamp.parse().expect("a stamp"));
        } else if let Some((origin, at)) = word.strip_prefix('@').and_then(|w| w.split_once(':')) {
            (record.1, record.2) = (origin.parse().expect("an origin"), at.parse().expect("a sequence"));
        } else {
            let (name, value) = word.split_once('=').expect("field=value");
            let field = schema.index_of(name).unwrap_or_else(|| panic!("no field {name}"));
            record.4[field] = parse_value(value, schema.fields()[field].kind);
        }
    }
    *sequence = record.2 + 1;
    record
}

fn parse_value(text: &str, kind: Kind) -> Value {
    match kind {
        _ if text == "null" => Value::Null,
        Kind::Bool => Value::Bool(text == "true"),
        Kind::Int => Value::Int(text.parse().expect("an int")),
        Kind::Float => Value::Float(text.parse().expect("a float")),
        Kind::Text => Value::Text(text.replace('_', " ")),
        Kind::Time => Value::Time(text.parse().expect("microseconds")),
    }
}

fn build(schema: &Schema, records: &[Record]) -> Batch {
    let mut head = Head::default();
    let mut columns: Vec<ColumnBuilder> = schema.fields().iter().map(|f| ColumnBuilder::new(f.kind)).collect();
    for (time, origin, sequence, stamp, values) in records {
        head.times.push(*time);
        head.origins.push(*origin);
        head.sequences.push(*sequence);
        head.stamps.push(*stamp);
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value.clone()));
    }
    Batch::new(schema, head, columns.iter_mut().map(ColumnBuilder::finish).collect())
}

fn show(text: &mut String, prefix: &str, batch: &Batch, row: usize) {
    text.push_str(&format!("{prefix}{}", batch.times()[row]));
    let schema = batch.records().schema();
    for (i, column) in batch.columns().iter().enumerate() {
        let name = schema.field(schema::SYSTEM + i).name();
        let told_elsewhere = match prefix {
            "rejected: " => name == "step" || name == "place" || name == "payload",
            "late: " => name == "place",
            _ => false,
        };
        if told_elsewhere {
            continue;
        }
        text.push_str(&format!(" {name}="));
        match crate::value::value_at(column, row) {
            Value::Text(value) => text.push_str(&value.replace(' ', "_")),
            Value::Time(value) => text.push_str(&value.to_string()),
            _ => batch::write_json(text, column, row),
        }
    }
    if let Some(stamp) = batch.stamp(row) {
        text.push_str(&format!(" ^{stamp}"));
    }
    text.push('\n');
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn tidy(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
