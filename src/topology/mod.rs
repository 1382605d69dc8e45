//! Persistent homology of things that slide: the shape of a window, kept up as records enter and leave.
//!
//! The room is pure. Slices and numbers go in, diagrams and numbers come out; no batch, no clock, no IO.
//!
//! | file | answers |
//! | --- | --- |
//! | [`diagram`] | what an answer is: bars, in one canonical order |
//! | [`exact`] | sums without rounding, which forget what was taken out |
//! | [`series`] | components of the level sets of a series: which hills and valleys a window has, and how deep |
//! | [`rips`] | components and loops of a sliding cloud of points |
//! | [`distances`] | how far two diagrams lie apart: Wasserstein, bottleneck, sliced; cheaply for consecutive windows |
//! | [`features`] | numbers and vectors of a diagram: persistences, entropy, curves, landscapes, silhouettes, images |
//! | [`scales`] | what windows of several sizes have in common, and which size and delay suit a series |

pub mod diagram;
pub mod distances;
pub mod exact;
pub mod features;
#[cfg(test)]
mod oracles;
pub mod rips;
pub mod scales;
pub mod series;
