//! Everything that is wrong with a job, each fault at its place: a line and column of the file, an environment
//! variable, or a `--set`.

use crate::fault::Fault;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;

/// Where a setting came from. Places sort as they are reported: the file from top to bottom, then variables, then
/// flags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Bytes `start..end` of the job file.
    File(usize, usize),
    /// An environment variable.
    Variable(String),
    /// The path that a `--set` names.
    Flag(String),
}

/// A fault at its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Located {
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

impl Located {
    /// A fault whose path is known to lead to this place.
    pub fn new(place: &Place, fault: Fault) -> Located {
        Located { place: place.clone(), message: fault.message, help: fault.help }
    }

    /// A fault that has no path of its own.
    pub fn at(place: &Place, message: impl Into<String>) -> Located {
        Located { place: place.clone(), message: message.into(), help: None }
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Located {
        self.help = Some(help.into());
        self
    }

    /// The same, advising the nearest of the right words.
    pub fn nearest<'a>(self, word: &str, right: impl IntoIterator<Item = &'a str>) -> Located {
        let advised = Fault::at("", "").nearest(word, right);
        Located { help: advised.help.or(self.help), ..self }
    }
}

/// A job that cannot be run: all its faults, each with its place.
#[derive(Clone, Debug)]
pub struct Faulty {
    file: String,
    text: String,
    faults: Vec<Located>,
}

impl Faulty {
    /// The faults of a job file, sorted by place. The same fault at the same place is told once.
    pub(super) fn new(file: &str, text: &str, mut faults: Vec<Located>) -> Faulty {
        faults.sort();
        faults.dedup();
        Faulty { file: file.to_owned(), text: text.to_owned(), faults }
    }

    /// How many faults there are; at least one.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// All faults as rustc shows its own: what is wrong, where, the line with a caret under it, what would be right.
    /// The last line counts them.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for fault in &self.faults {
            text.push_str(&renderer.render(&[self.group(fault)]));
            text.push_str("\n\n");
        }
        let s = if self.faults.len() == 1 { "" } else { "s" };
        text.push_str(&format!("{} fault{s} in {}", self.faults.len(), self.file));
        text
    }

    fn group<'a>(&'a self, fault: &'a Located) -> Group<'a> {
        let title = Level::ERROR.primary_title(fault.message.as_str());
        let group = match &fault.place {
            Place::File(start, end) => {
                let (start, end) = narrowed(&self.text, *start, *end, &fault.message);
                let caret = AnnotationKind::Primary.span(start..end);
                title.element(Snippet::source(self.text.as_str()).path(self.file.as_str()).annotation(caret))
            }
            Place::Variable(name) => title.element(Origin::path(format!("environment variable {name}"))),
            Place::Flag(path) => title.element(Origin::path(format!("--set {path}"))),
        };
        match &fault.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Faulty {}

/// Where the caret goes: under the first word that the message names, when that is one word of several in a text; else
/// under the whole. Never over more than one line.
fn narrowed(text: &str, start: usize, end: usize, message: &str) -> (usize, usize) {
    let end = end.min(text.len());
    let raw = text.get(start..end).unwrap_or_default();
    let lines_end = raw.find('\n').map_or(end, |n| start + n);
    let word = message.split('`').nth(1).unwrap_or_default().trim_end_matches("()");
    if word.is_empty() || !raw.starts_with(['"', '\'']) || raw.trim_matches(['"', '\'']) == word {
        return (start, lines_end);
    }
    let whole = |at: usize| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !raw[..at].ends_with(part) && !raw[at + word.len()..].starts_with(part)
    };
    let found = raw.match_indices(word).map(|(at, _)| at).find(|at| whole(*at));
    found.map_or((start, lines_end), |at| (start + at, start + at + word.len()))
}
