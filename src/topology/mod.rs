//! Persistent homology of things that slide: the shape of a window, kept up as records enter and leave.
//!
//! The room is pure. Slices and numbers go in, diagrams and numbers come out; no batch, no clock, no IO.
//!
//! | file | answers |
//! | --- | --- |
//! | [`diagram`] | what an answer is: bars, in one canonical order |
//! | [`rips`] | components and loops of a sliding cloud of points |

pub mod diagram;
pub mod rips;
