//! Persistent homology of things that slide: the shape of a window, kept up as records enter and leave.
//!
//! The room is pure. Slices and numbers go in, diagrams and numbers come out; no batch, no clock, no IO.
//!
//! | file | answers |
//! | --- | --- |
//! | [`diagram`] | what an answer is: bars, in one canonical order |
//! | [`series`] | components of the level sets of a series: which hills and valleys a window has, and how deep |

pub mod diagram;
pub mod series;
