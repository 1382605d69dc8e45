//! What a window does with a value that is missing: NaN, or no value at all.
//!
//! NaN has no place in an order and never enters one. What takes its place is a decision about the series, so it is
//! named in the settings.

use serde::{Deserialize, Serialize};

use super::pair::Filtration;

/// What becomes of a missing value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// It is an error of the record.
    Reject,
    /// The series goes on as if it had not been: its neighbours are neighbours of each other. It takes no place.
    #[default]
    Skip,
    /// The value before it holds on, and takes a place. Without one before, as `Skip`. No diagram changes, for a
    /// repeated value is no new extreme, but the window moves.
    Hold,
    /// A wall: components do not meet across it. It takes one place, however many values are missing in a row. For
    /// sublevel sets it is a value of plus infinity, for superlevel sets of minus infinity, so that the components at
    /// both sides never die or die at the wall, which is at infinity too. Not for extended persistence, where it would
    /// have to be both.
    Break,
}

/// A missing value where none may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = "the value is missing (NaN or null), and gaps are rejected";
        write!(f, "{reason}; with gaps = \"skip\", \"hold\" or \"break\" the series goes on")
    }
}

impl std::error::Error for Missing {}

impl Gaps {
    /// What enters the window for `value`, when `last` was the newest one in the series: nothing for `None`.
    ///
    /// ```
    /// use eagre::topology::series::{gaps::Gaps, pair::Filtration::Sublevel};
    /// assert_eq!(Gaps::Hold.fill(f64::NAN, Some(2.0), Sublevel), Ok(Some(2.0)));
    /// assert_eq!(Gaps::Break.fill(f64::NAN, Some(2.0), Sublevel), Ok(Some(f64::INFINITY)));
    /// assert_eq!(Gaps::Skip.fill(f64::NAN, Some(2.0), Sublevel), Ok(None));
    /// assert!(Gaps::Reject.fill(f64::NAN, Some(2.0), Sublevel).is_err());
    /// ```
    pub fn fill(self, value: f64, last: Option<f64>, filtration: Filtration) -> Result<Option<f64>, Missing> {
        if !value.is_nan() {
            return Ok(Some(value));
        }
        let wall = if filtration == Filtration::Superlevel { f64::NEG_INFINITY } else { f64::INFINITY };
        match self {
            Gaps::Reject => Err(Missing),
            Gaps::Skip => Ok(None),
            Gaps::Hold => Ok(last),
            Gaps::Break => Ok(last.filter(|last| *last != wall).map(|_| wall)),
        }
    }
}
