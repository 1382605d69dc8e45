//! Persistent homology of a series in a sliding window (degree 0: components of level sets).
pub mod gaps;
pub mod pair;
pub mod residue;
pub mod sliding;
pub mod statistics;
pub mod tree;
pub mod window;

mod blocks;
mod change;
mod front;
mod longest;

use super::exact;

#[cfg(test)]
mod tests;
