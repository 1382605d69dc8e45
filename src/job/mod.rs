//! From the text of a job to a plan with nothing left to doubt.

pub mod plan;
