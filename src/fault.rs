//! What can be wrong: a [`Fault`] in what a person wrote, a [`Failure`] of the world while a job runs.
//!
//! Faults are collected, never stopped at; each names the path of the setting it is about, and the job room turns that
//! path into file, line and column. A failure says what was tried, what was found and what would help.

use std::fmt;

/// Something wrong with a job, at one of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: the names that lead to the setting, below the part that reports it (`["where"]`, `["rules", "0"]`).
    pub path: Vec<String>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Fault {
    /// A fault at the setting that a dotted path names; the empty path is the part itself.
    pub fn at(path: &str, message: impl Into<String>) -> Fault {
        let path = path.split('.').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        Fault { path, message: message.into(), help: None }
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }

    /// The same, advising the nearest of the right words, or all of them where none is near.
    pub fn nearest<'a>(self, word: &str, right: impl IntoIterator<Item = &'a str>) -> Fault {
        let right: Vec<&str> = right.into_iter().collect();
        match nearest(word, right.iter().copied()) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if right.is_empty() => self,
            None => self.help(format!("one of {}", list(&right))),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

/// The word nearest to a mistyped one, if one is near enough to have been meant.
///
/// ```
/// assert_eq!(eagre::fault::nearest("filtre", ["filter", "select"]), Some("filter"));
/// ```
pub fn nearest<'a>(word: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |r: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &r.to_lowercase());
    right
        .into_iter()
        .map(|r| (distance(r), r))
        .filter(|(d, r)| *d <= (r.chars().count().max(word.chars().count()) / 3).max(1))
        .min_by_key(|(d, r)| (*d, r.len()))
        .map(|(_, r)| r)
}

/// Names in backticks with commas, as a sentence has them.
pub fn list(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// Something that went wrong while a job ran, and that a person must know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried and what happened.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
}

impl Failure {
    /// A failure with that message.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), help: None }
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// The same, with what was being done put before it.
    pub fn doing(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl std::error::Error for Failure {}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Failure {
        Failure::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["aggregate", "filter", "zscore"];
        for (typed, meant) in
            [("filtre", Some("filter")), ("Zscore", Some("zscore")), ("agregate", Some("aggregate")), ("window", None)]
        {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        let fault = Fault::at("rules.0.field", "no field `valeu`").nearest("valeu", ["value", "sensor"]);
        assert_eq!(fault.to_string(), "rules.0.field: no field `valeu` (did you mean `value`?)");
    }
}
