//! The state of a job's steps as tables: a row for every key, or for every open window of a key.
//!
//! The job is planned, an instance of the step is made and takes over the key groups of the checkpoint; then it is
//! asked what it remembers. What is shown is therefore what the step would go on with, in its own words.

use super::super::checkpoint::Checkpoints;
use crate::checkpoint::Manifest;
use crate::checkpoint::manifest;
use crate::fault::{Failure, nearest};
use crate::job::{Plan, StepPlan};
use crate::key;
use crate::operator::{Instance, Shown};
use crate::schema::{Field, Kind};
use crate::time;
use crate::value::{ColumnBuilder, Value};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use std::sync::Arc;

/// What a step remembers, in order of key and window.
pub struct Table {
    /// The step's name.
    pub step: String,
    /// Its kind.
    pub kind: &'static str,
    /// The fields of its key.
    pub key_fields: Vec<Field>,
    /// The columns of the state; those of the key stand before them.
    pub fields: Vec<Field>,
    /// A row for every key, or for every open window of a key.
    pub rows: Vec<Row>,
    /// How many keys there are.
    pub keys: usize,
    /// How many key groups there are, and their bytes.
    pub groups: (usize, u64),
}

/// What is remembered of a key, or of one window of it.
pub struct Row {
    /// The bytes of the key.
    pub key: Box<[u8]>,
    /// The values of the columns; a column that is not there is null.
    pub values: Vec<Value>,
    /// How many bytes it takes, about.
    pub bytes: u64,
}

impl Row {
    /// The key as a person reads it.
    pub fn key(&self) -> String {
        key::show(&self.key)
    }

    /// The value of a column.
    pub fn value(&self, column: usize) -> &Value {
        self.values.get(column).unwrap_or(&Value::Null)
    }
}

/// The steps that remember anything.
pub fn steps(plan: &Plan) -> impl Iterator<Item = &StepPlan> {
    plan.steps.iter().filter(|step| step.planned.keyed)
}

/// The step of that name, which must be one that remembers.
pub fn step<'a>(plan: &'a Plan, name: &str) -> Result<&'a StepPlan, Failure> {
    match plan.steps.iter().find(|step| step.name == name) {
        Some(step) if step.planned.keyed => Ok(step),
        Some(step) => {
            Err(Failure::new(format!("step `{name}` remembers nothing: it is of kind `{}`, without a key", step.kind)))
        }
        None => {
            let failure = Failure::new(format!("the job has no step `{name}`"));
            let names: Vec<&str> = steps(plan).map(|step| step.name.as_str()).collect();
            Err(failure.help(near(name, &names)))
        }
    }
}

/// "Did you mean", or all of the right words.
pub fn near(word: &str, right: &[&str]) -> String {
    match nearest(word, right.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if right.is_empty() => "there is none".into(),
        None => format!("one of {}", crate::fault::list(right)),
    }
}

impl Table {
    /// What a checkpoint has of a step. Refused where the step is another than the one that wrote it.
    pub fn load(checkpoints: &Checkpoints, manifest: &Manifest, step: &StepPlan) -> Result<Table, Failure> {
        let saved = saved(manifest, step)?;
        let doing = |failure: Failure| failure.doing(format!("step `{}` of checkpoint {}", step.name, manifest.id));
        let groups = checkpoints.store.groups(saved).map_err(|failure| doing(failure).help(DAMAGED))?;
        let mut instance = (step.planned.make)();
        let (mut count, mut bytes) = (0, 0);
        for (group, kept) in groups.iter().filter(|(_, kept)| !kept.state.is_empty()) {
            instance.restore_from(kept.version, *group, &kept.state).map_err(doing)?;
            count += 1;
            bytes += kept.state.len() as u64;
        }
        let mut table = Table::of(instance.as_mut(), step);
        table.groups = (count, bytes);
        Ok(table)
    }

    /// What an instance remembers.
    fn of(instance: &mut dyn Instance, step: &StepPlan) -> Table {
        let mut fields = Columns(Vec::new());
        for field in instance.remembers() {
            fields.place(&field, &[]);
        }
        let mut rows = Vec::new();
        instance.inspect(&mut |row| {
            let values = fields.row(row.values);
            rows.push(Row { key: row.key.into(), values, bytes: row.bytes as u64 });
        });
        let keys = instance.keys();
        let mut table = Table {
            step: step.name.clone(),
            kind: step.kind,
            key_fields: step.key_fields.clone(),
            fields: fields.0,
            rows,
            keys,
            groups: (0, 0),
        };
        let window = table.window();
        table.rows.sort_by(|a, b| (&a.key, start(a, window)).cmp(&(&b.key, start(b, window))));
        table.fields = table.fields.iter().enumerate().map(|(at, field)| table.settled(at, field)).collect();
        table
    }

    /// The column that tells the rows of a key apart, where a key may have several.
    pub fn window(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.name == WINDOW)
    }

    /// The start of a row's window.
    pub fn window_of(&self, row: &Row) -> Option<i64> {
        start(row, self.window())
    }

    /// A column with the kind that its values have; text where they differ.
    fn settled(&self, at: usize, field: &Field) -> Field {
        let mut kind = None;
        for row in &self.rows {
            kind = match (kind, kind_of(row.value(at))) {
                (known, None) => known,
                (None, found) => found,
                (Some(Kind::Int | Kind::Float), Some(Kind::Float)) | (Some(Kind::Float), Some(Kind::Int)) => {
                    Some(Kind::Float)
                }
                (Some(known), Some(found)) if known == found => Some(known),
                _ => Some(Kind::Text),
            };
        }
        Field::new(&field.name, kind.unwrap_or(field.kind))
    }

    /// The names of all columns, those of the key first.
    pub fn names(&self) -> Vec<String> {
        self.schema().into_iter().map(|field| field.name).collect()
    }

    /// All columns: `key` as a person reads it, the fields of the key, `key_group`, the state, `bytes`. One whose name
    /// is taken is called `state_` and its name.
    fn schema(&self) -> Vec<Field> {
        let mut all: Vec<Field> = Vec::new();
        if !self.key_fields.iter().any(|field| field.name == "key") {
            all.push(Field::new("key", Kind::Text));
        }
        all.extend(self.key_fields.iter().cloned());
        let own =
            self.fields.iter().cloned().chain([Field::new("key_group", Kind::Int), Field::new("bytes", Kind::Int)]);
        for mut field in own {
            while all.iter().any(|other| other.name == field.name) {
                field.name.insert_str(0, "state_");
            }
            all.push(field);
        }
        all
    }

    /// The table as Arrow has it.
    pub fn records(&self) -> RecordBatch {
        let schema = self.schema();
        let mut columns: Vec<ArrayRef> = Vec::new();
        if schema[0].name == "key" && !self.key_fields.iter().any(|field| field.name == "key") {
            columns.push(column(Kind::Text, self.rows.iter().map(|row| Value::Text(row.key()))));
        }
        let kinds: Vec<Kind> = self.key_fields.iter().map(|field| field.kind).collect();
        columns.extend(key::decode(self.rows.iter().map(|row| &*row.key), &kinds));
        for (at, field) in self.fields.iter().enumerate() {
            columns.push(column(field.kind, self.rows.iter().map(|row| fitted(row.value(at), field.kind))));
        }
        let group = |row: &Row| Value::Int(i64::from(key::group_of(xxhash_rust::xxh3::xxh3_64(&row.key))));
        columns.push(column(Kind::Int, self.rows.iter().map(group)));
        columns.push(column(Kind::Int, self.rows.iter().map(|row| Value::Int(row.bytes as i64))));
        let fields: Vec<ArrowField> =
            schema.iter().map(|field| ArrowField::new(&field.name, field.kind.arrow(), true)).collect();
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
            .expect("columns of one length and these kinds")
    }
}

const DAMAGED: &str = "`eagre checkpoint verify` says what is damaged; --checkpoint ID looks into another";

/// What tells the rows of a key apart.
const WINDOW: &str = "window_start";

fn start(row: &Row, window: Option<usize>) -> Option<i64> {
    match window.map(|at| row.value(at)) {
        Some(Value::Time(start)) => Some(*start),
        _ => None,
    }
}

/// The columns that were seen so far.
struct Columns(Vec<Field>);

impl Columns {
    /// The values of a row, each in its column.
    fn row(&mut self, shown: Vec<Shown>) -> Vec<Value> {
        let (mut values, mut taken) = (Vec::with_capacity(self.0.len()), Vec::new());
        for (at, (field, value)) in shown.into_iter().enumerate() {
            // Rows mostly have the same columns in the same order.
            let usual = self.0.get(at).is_some_and(|known| known.name == field.name) && !taken.contains(&at);
            let at = if usual { at } else { self.place(&field, &taken) };
            taken.push(at);
            if values.len() <= at {
                values.resize(at + 1, Value::Null);
            }
            values[at] = value;
        }
        values
    }

    /// The column of a field that is in none of the `taken`: of two fields of one name the second is `name_2`.
    fn place(&mut self, field: &Field, taken: &[usize]) -> usize {
        let mut name = field.name.clone();
        let mut count = 1;
        loop {
            match self.0.iter().position(|known| known.name == name) {
                Some(at) if taken.contains(&at) => {
                    count += 1;
                    name = format!("{}_{count}", field.name);
                }
                Some(at) => return at,
                None => {
                    self.0.push(Field::new(name, field.kind));
                    return self.0.len() - 1;
                }
            }
        }
    }
}

fn kind_of(value: &Value) -> Option<Kind> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(Kind::Bool),
        Value::Int(_) => Some(Kind::Int),
        Value::Float(_) => Some(Kind::Float),
        Value::Text(_) => Some(Kind::Text),
        Value::Time(_) => Some(Kind::Time),
    }
}

fn fitted(value: &Value, kind: Kind) -> Value {
    match (value, kind) {
        (Value::Null, _) => Value::Null,
        (Value::Text(text), Kind::Text) => Value::Text(text.clone()),
        (other, Kind::Text) => Value::Text(told(other)),
        (other, _) => other.clone(),
    }
}

/// A value as a person reads it.
pub fn told(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Time(value) => time::format(*value),
    }
}

fn column(kind: Kind, values: impl Iterator<Item = Value>) -> ArrayRef {
    let mut column = ColumnBuilder::new(kind);
    values.for_each(|value| column.push(value));
    column.finish()
}

/// What a checkpoint has of a step, under its name or a former one.
fn saved<'a>(manifest: &'a Manifest, step: &StepPlan) -> Result<&'a manifest::Step, Failure> {
    let named = |name: &str| manifest.steps.iter().find(|saved| saved.name == name);
    let saved = named(&step.name).or_else(|| step.was.as_deref().and_then(named));
    let Some(saved) = saved else {
        let there: Vec<&str> = manifest.steps.iter().map(|saved| saved.name.as_str()).collect();
        let failure = Failure::new(format!("checkpoint {} has no step `{}`", manifest.id, step.name));
        return Err(
            failure.help(format!("it was made before the step was added; it has {}", crate::fault::list(&there)))
        );
    };
    let refused = |why: String| {
        let said = format!("the state of `{}` in checkpoint {} is another step's: {why}", step.name, manifest.id);
        Err(Failure::new(said).help("take the job file that the checkpoint was made with"))
    };
    if saved.kind != step.kind {
        return refused(format!("that was of kind `{}`, this is of kind `{}`", saved.kind, step.kind));
    }
    let fingerprint = format!("{:016x}", step.fingerprint);
    if saved.fingerprint != fingerprint {
        return refused(
            "its settings, its key, the fields that it reads or what is taken of it have changed since".into(),
        );
    }
    Ok(saved)
}
