//! `eagre state`: what the steps of a job remember, as a checkpoint has it.

mod diff;
mod query;
mod tables;

use super::args::{Format, JobArguments, Measure, StateArguments, StateCommand, StateJob};
use super::checkpoint::{Checkpoints, dir_of};
use super::{FAILED, print, show, wrong};
use crate::checkpoint::Manifest;
use crate::fault::Failure;
use crate::job::Plan;
use crate::registry::Registry;
use crate::value::Cells;
use arrow::array::RecordBatch;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use diff::Difference;
use query::Answer;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use tables::{Row, Table};

/// How many rows of a step are shown where no key is asked for.
const FIRST_ROWS: usize = 20;

/// Answers what was asked.
pub fn state(arguments: &StateArguments, registry: &Registry) -> ExitCode {
    let job = match (&arguments.what, &arguments.job) {
        (Some(StateCommand::Diff { job, .. } | StateCommand::Top { job, .. }), _) | (None, Some(job)) => job,
        (None, None) => return wrong("error: which job?"),
    };
    let (plan, dir) = match planned(job, registry) {
        Ok(planned) => planned,
        Err(what) => return wrong(&what),
    };
    let told = Checkpoints::open(&dir).and_then(|checkpoints| Look { plan, checkpoints }.answer(arguments));
    match told {
        Ok(text) => print(&text),
        Err(failure) => {
            say!("error: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

fn planned(job: &StateJob, registry: &Registry) -> Result<(Plan, PathBuf), String> {
    let arguments = JobArguments { job: job.job.clone(), set: job.set.clone() };
    let plan = super::plan(&arguments, registry)?;
    let dir = job.dir.clone().map_or_else(|| dir_of(&plan), Ok)?;
    Ok((plan, dir))
}

/// A job and its checkpoints.
struct Look {
    plan: Plan,
    checkpoints: Checkpoints,
}

impl Look {
    fn answer(&self, arguments: &StateArguments) -> Result<String, Failure> {
        match &arguments.what {
            Some(StateCommand::Diff { a, b, step, limit, format, .. }) => {
                let (a, b) = (self.checkpoints.find(a)?, self.checkpoints.find(b)?);
                self.diff((&a, &b), step.as_deref(), *limit, *format)
            }
            Some(StateCommand::Top { by, limit, checkpoint, format, .. }) => {
                self.top(&self.checkpoints.find(checkpoint)?, *by, *limit, *format)
            }
            None => self.look(arguments, &self.checkpoints.find(&arguments.checkpoint)?),
        }
    }

    fn look(&self, arguments: &StateArguments, manifest: &Manifest) -> Result<String, Failure> {
        match (&arguments.sql, &arguments.step, &arguments.key) {
            (Some(sql), ..) => self.ask(sql, manifest, arguments.format),
            (None, Some(step), Some(key)) => self.key(step, key, manifest, arguments.format),
            (None, Some(step), None) => self.first(step, manifest, arguments.format),
            (None, None, _) => Ok(self.overview(manifest, arguments.format)),
        }
    }

    fn table(&self, step: &str, manifest: &Manifest) -> Result<Table, Failure> {
        Table::load(&self.checkpoints, manifest, tables::step(&self.plan, step)?)
    }

    /// Every step that remembers anything, or why it cannot be looked at.
    fn all(&self, manifest: &Manifest) -> Vec<(String, Result<Table, Failure>)> {
        let load = |step| Table::load(&self.checkpoints, manifest, step);
        tables::steps(&self.plan).map(|step| (step.name.clone(), load(step))).collect()
    }

    fn ask(&self, sql: &str, manifest: &Manifest, format: Format) -> Result<String, Failure> {
        let answer = query::ask(sql, |step| self.table(step, manifest))?;
        match format {
            Format::Json => json_lines(&answer.batches),
            Format::Text => answer_as_text(&answer),
        }
    }

    fn first(&self, step: &str, manifest: &Manifest, format: Format) -> Result<String, Failure> {
        let mut table = self.table(step, manifest)?;
        let more = table.rows.len().saturating_sub(FIRST_ROWS);
        table.rows.truncate(FIRST_ROWS);
        let records = table.records();
        let answer = Answer { schema: records.schema(), batches: vec![records] };
        match format {
            Format::Json => json_lines(&answer.batches),
            Format::Text if more == 0 => answer_as_text(&answer),
            Format::Text => Ok(answer_as_text(&answer)? + &format!("  and {} more\n", show::grouped(more as u64))),
        }
    }

    /// What is remembered of one key, as objects.
    fn key(&self, step: &str, key: &str, manifest: &Manifest, format: Format) -> Result<String, Failure> {
        let mut table = self.table(step, manifest)?;
        let own = |row: &Row| row.key() == key;
        if !table.rows.iter().any(own) {
            let keys: Vec<String> = table.rows.iter().map(Row::key).collect();
            let failure = Failure::new(format!("step `{step}` of checkpoint {} has no key `{key}`", manifest.id));
            return Err(failure.help(key_help(key, &keys)));
        }
        table.rows.retain(own);
        let records = table.records();
        Ok((0..records.num_rows()).map(|row| object(&records, row, format)).collect())
    }

    fn overview(&self, manifest: &Manifest, format: Format) -> String {
        let all = self.all(manifest);
        if format == Format::Json {
            let one = |(name, table): &(String, Result<Table, Failure>)| match table {
                Err(failure) => json!({ "step": name, "fault": failure.to_string() }),
                Ok(table) => json!({ "step": name, "kind": table.kind, "keys": table.keys, "rows": table.rows.len(),
                    "bytes": table.groups.1, "columns": table.names() }),
            };
            return all.iter().map(|table| format!("{}\n", one(table))).collect();
        }
        if all.is_empty() {
            return format!("no step of {} remembers anything\n", self.plan.name);
        }
        let mut text = format!("checkpoint {} of {}; every step is a table:\n", manifest.id, manifest.job);
        for (name, table) in all {
            text += &match table {
                Err(failure) => format!("\n{name}: {failure}\n"),
                Ok(table) => {
                    let (keys, bytes) = (show::count(table.keys, "key"), show::bytes(table.groups.1));
                    format!("\n{name} ({}): {keys}, {bytes}\n  {}\n", table.kind, table.names().join(", "))
                }
            };
        }
        text
    }

    fn diff(
        &self,
        (a, b): (&Manifest, &Manifest),
        step: Option<&str>,
        limit: usize,
        format: Format,
    ) -> Result<String, Failure> {
        let one = |name: &str| Ok(diff::compare(&self.table(name, a)?, &self.table(name, b)?));
        let mut differences: Vec<(String, Result<Difference, Failure>)> = Vec::new();
        match step {
            Some(name) => differences.push((name.to_owned(), Ok(one(name)?))),
            None => differences.extend(tables::steps(&self.plan).map(|step| (step.name.clone(), one(&step.name)))),
        }
        if differences.is_empty() {
            return Ok(format!("no step of {} remembers anything\n", self.plan.name));
        }
        let mut text = String::new();
        for (name, difference) in &differences {
            match (difference, format) {
                (Err(failure), Format::Json) => {
                    text += &format!("{}\n", json!({ "step": name, "fault": failure.message }))
                }
                (Err(failure), Format::Text) => text += &format!("{name}: {failure}\n"),
                (Ok(difference), Format::Json) => {
                    difference.changes.iter().for_each(|change| text += &format!("{}\n", change.json(name)));
                }
                (Ok(difference), Format::Text) => text += &told(name, difference, limit),
            }
        }
        Ok(text)
    }

    fn top(&self, manifest: &Manifest, by: Measure, limit: usize, format: Format) -> Result<String, Failure> {
        let mut tables = Vec::new();
        for (name, table) in self.all(manifest) {
            match table {
                Ok(table) => tables.push(table),
                Err(failure) => say!("{name}: {failure}"),
            }
        }
        tables.sort_by_key(|table| {
            let size = if by == Measure::Bytes { table.groups.1 } else { table.keys as u64 };
            (std::cmp::Reverse(size), table.step.clone())
        });
        let keys = heaviest(&tables, limit);
        if format == Format::Json {
            let steps = tables.iter().map(|table| {
                json!({ "step": table.step, "kind": table.kind, "keys": table.keys, "key_groups": table.groups.0,
                    "bytes": table.groups.1 })
            });
            let keys = keys.iter().map(|(step, key, bytes)| json!({ "step": step, "key": key, "bytes": bytes }));
            return Ok(steps.chain(keys).map(|object| format!("{object}\n")).collect());
        }
        let total: u64 = tables.iter().map(|table| table.groups.1).sum();
        let row = |table: &Table| {
            let share = (table.groups.1 as f64 / total.max(1) as f64 * 100.0).round();
            let per_key = table.groups.1 / table.keys.max(1) as u64;
            let numbers = [show::grouped(table.keys as u64), show::grouped(table.groups.0 as u64)];
            let sizes = [show::bytes(table.groups.1), format!("{share} %"), show::bytes(per_key)];
            let names = [table.step.clone(), table.kind.to_owned()];
            names.into_iter().chain(numbers).chain(sizes).collect::<Vec<_>>()
        };
        let headings = ["step", "kind", " keys", " key groups", " bytes", " share", " a key"];
        let mut text = show::table(&headings, &tables.iter().map(row).collect::<Vec<_>>());
        if !keys.is_empty() {
            let rows: Vec<_> = keys.into_iter().map(|(step, key, bytes)| vec![key, step, show::bytes(bytes)]).collect();
            text += &format!("\nthe largest keys\n{}", show::table(&["key", "step", " bytes"], &rows));
        }
        Ok(text)
    }
}

fn key_help(key: &str, keys: &[String]) -> String {
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut few = all.clone();
    few.dedup();
    match few.len() {
        0..=10 => tables::near(key, &few),
        n => match crate::fault::nearest(key, all) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}, from `{}` to `{}`", show::count(n, "key"), few[0], few[n - 1]),
        },
    }
}

/// A row as a JSON object: for people a field a line.
fn object(records: &RecordBatch, row: usize, format: Format) -> String {
    let (schema, mut text) = (records.schema(), String::from("{"));
    let (before, between) = if format == Format::Text { ("\n  ", ": ") } else { ("", ":") };
    for (at, (field, column)) in schema.fields().iter().zip(records.columns()).enumerate() {
        text += if at > 0 { "," } else { "" };
        text += &format!("{before}{}{between}", json!(field.name()));
        Cells::of(column).write_json(&mut text, row);
    }
    text + if format == Format::Text { "\n}\n" } else { "}\n" }
}

fn json_lines(batches: &[RecordBatch]) -> Result<String, Failure> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.finish()?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

fn answer_as_text(answer: &Answer) -> Result<String, Failure> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in &answer.batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    let fields = answer.schema.fields();
    let heading = |field: &arrow::datatypes::FieldRef| match field.data_type().is_numeric() {
        true => format!(" {}", field.name()),
        false => field.name().clone(),
    };
    let headings: Vec<String> = fields.iter().map(heading).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let table = show::table(&headings, &rows);
    Ok(if rows.is_empty() { format!("{table}  no rows\n") } else { table })
}

/// What became of a step's keys, for people.
fn told(step: &str, difference: &Difference, limit: usize) -> String {
    let (added, removed, changed) = difference.counts();
    let mut text =
        format!("{step}: {added} added, {removed} removed, {changed} changed, {} the same\n", difference.same);
    difference.changes.iter().take(limit).for_each(|change| text += &format!("  {}\n", change.line()));
    if difference.changes.len() > limit {
        text += &format!("  and {} more\n", show::grouped((difference.changes.len() - limit) as u64));
    }
    text
}

/// The keys that take most: step, key and bytes.
fn heaviest(tables: &[Table], limit: usize) -> Vec<(String, String, u64)> {
    let mut all: Vec<(u64, &str, &[u8])> = Vec::new();
    for table in tables {
        let mut keys: BTreeMap<&[u8], u64> = BTreeMap::new();
        table.rows.iter().for_each(|row| *keys.entry(&row.key).or_default() += row.bytes);
        all.extend(keys.into_iter().map(|(key, bytes)| (bytes, table.step.as_str(), key)));
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let told = all.into_iter().take(limit);
    told.map(|(bytes, step, key)| (step.to_owned(), crate::key::show(key), bytes)).collect()
}
