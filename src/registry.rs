//! The list of parts that a job may name.

use crate::fault::{Failure, Fault};
use crate::operator::{Operator, Planned, Planning};
use crate::schema::Schema;
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::source::{Feed, Resource, Source};
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;

/// Every kind of source, operator and sink that a job may name.
#[derive(Default)]
pub struct Registry {
    sources: Vec<Part<dyn AnySource>>,
    operators: Vec<Part<dyn AnyOperator>>,
    sinks: Vec<Part<dyn AnySink>>,
}

/// A kind of source, operator or sink.
pub struct Part<T: ?Sized> {
    /// The word in `kind = "..."`.
    pub name: &'static str,
    /// Its manual, as text with `#` headings.
    pub manual: String,
    /// The JSON Schema of its configuration.
    pub schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Reads its configuration; the fault names the setting.
    pub parse: fn(toml::Value) -> Result<Box<T>, Fault>,
}

impl Registry {
    /// Adds a kind of source; its manual is the `//!` head of `file`.
    pub fn source<S: Source>(mut self, file: &str) -> Registry {
        add(&mut self.sources, part::<S, _>(S::NAME, file, |value| parse::<S>(value).map(|s| Box::new(s) as _)));
        self
    }

    /// Adds a kind of operator.
    pub fn operator<O: Operator>(mut self) -> Registry {
        add(&mut self.operators, part::<O, _>(O::NAME, O::MANUAL, |value| parse::<O>(value).map(|o| Box::new(o) as _)));
        self
    }

    /// Adds a kind of sink; its manual is the `//!` head of `file`.
    pub fn sink<S: Sink>(mut self, file: &str) -> Registry {
        add(&mut self.sinks, part::<S, _>(S::NAME, file, |value| parse::<S>(value).map(|s| Box::new(s) as _)));
        self
    }

    /// The kinds of source.
    pub fn sources(&self) -> &[Part<dyn AnySource>] {
        &self.sources
    }

    /// The kinds of operator.
    pub fn operators(&self) -> &[Part<dyn AnyOperator>] {
        &self.operators
    }

    /// The kinds of sink.
    pub fn sinks(&self) -> &[Part<dyn AnySink>] {
        &self.sinks
    }
}

fn add<T: ?Sized>(list: &mut Vec<Part<T>>, part: Part<T>) {
    assert!(list.iter().all(|p| p.name != part.name), "two kinds are called `{}`", part.name);
    list.push(part);
}

fn part<C: JsonSchema, T: ?Sized>(
    name: &'static str,
    file: &str,
    parse: fn(toml::Value) -> Result<Box<T>, Fault>,
) -> Part<T> {
    let head = file.lines().take_while(|line| line.starts_with("//!"));
    let manual = head
        .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    Part { name, manual, schema: |generator| generator.root_schema_for::<C>(), parse }
}

fn parse<C: DeserializeOwned>(value: toml::Value) -> Result<C, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        Fault::at(if path == "." { "" } else { &path }, error.inner().message())
    })
}

/// A source whose type is forgotten; see [`Source`].
pub trait AnySource: Send + Sync {
    /// See [`Source::plan`].
    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema>;
    /// See [`Source::reads`].
    fn reads(&self) -> Vec<Resource>;
    /// See [`Source::open`].
    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure>;
}

impl<S: Source> AnySource for S {
    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        Source::plan(self, faults)
    }

    fn reads(&self) -> Vec<Resource> {
        Source::reads(self)
    }

    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        Source::open(self, name, wanted)
    }
}

/// An operator whose type is forgotten; see [`Operator`].
pub trait AnyOperator: Send + Sync {
    /// See [`Operator::MIXED_INPUTS`].
    fn mixed_inputs(&self) -> bool;
    /// See [`Operator::FORGETS`].
    fn forgets(&self) -> bool;
    /// See [`Operator::plan`].
    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned>;
}

impl<O: Operator> AnyOperator for O {
    fn mixed_inputs(&self) -> bool {
        O::MIXED_INPUTS
    }

    fn forgets(&self) -> bool {
        O::FORGETS
    }

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        Operator::plan(self, planning)
    }
}

/// A sink whose type is forgotten; see [`Sink`].
pub trait AnySink: Send + Sync {
    /// See [`Sink::plan`].
    fn plan(&self, input: &Schema, faults: &mut Vec<Fault>);
    /// See [`Sink::writes`].
    fn writes(&self) -> Option<Resource>;
    /// See [`Sink::shards`].
    fn shards(&self) -> Shards;
    /// See [`Sink::delivers_exactly_once`].
    fn delivers_exactly_once(&self) -> bool;
    /// See [`Sink::open`].
    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure>;
}

impl<S: Sink> AnySink for S {
    fn plan(&self, input: &Schema, faults: &mut Vec<Fault>) {
        Sink::plan(self, input, faults);
    }

    fn writes(&self) -> Option<Resource> {
        Sink::writes(self)
    }

    fn shards(&self) -> Shards {
        Sink::shards(self)
    }

    fn delivers_exactly_once(&self) -> bool {
        Sink::delivers_exactly_once(self)
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Sink::open(self, opening)
    }
}
