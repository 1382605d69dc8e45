//! Persistent homology of a series in a sliding window: the hills and valleys it has, how deep they are, and which
//! records made them. Exact, in time O(log n) for each pair that a record changes.
//!
//! A series is a function on a line. Its sublevel sets at `t` (where it is at most `t`) fall into components; as `t`
//! rises, one is born at each minimum, and where two meet at a maximum the younger one dies. The pairs of birth and
//! death are the persistence diagram of degree 0, which on a line is all there is.
//!
//! To see how the diagram is kept while the window slides, read `change.rs`: what one record changes, and how it is
//! found in the values. To see how any stretch is put together, read [`residue`]: what is known of it, and why that is
//! enough.
//!
//! | file | answers |
//! | --- | --- |
//! | [`residue`] | the summary of a stretch: the extremes that are not paired yet; joining is associative |
//! | `change` | the incremental step: which pairs change when a record enters or leaves |
//! | `sums` | the same for statistics and Betti curves alone: half a million pairs at once, in microseconds |
//! | [`window`] | the window: steps in O(log n) for each pair that changes, whatever the series; 9.2 bytes a value |
//! | `view` | the step of one window: which pairs enter and leave; several windows may share the values |
//! | `index` | what stretches of the window reach: lowest, highest, greatest rise and fall |
//! | [`tree`] | any stretch of a series (all scales of one), and corrections of values long past |
//! | [`pair`] | sublevel, superlevel, extended; a pair with the positions of its records; who hears of changes |
//! | [`statistics`] | count, total and power total, longest, entropy, Betti curve, the same bits whatever the history |
//! | `longest` | the greatest length, which can be neither summed nor taken back: a greatest rise or fall |
//! | [`gaps`] | what becomes of missing values: reject, skip, hold, break |
//! | [`sliding`] | all of it: a window by count or by time, with gaps and statistics, that can be stored |
//!
//! **What is guaranteed.** Diagram, pairs and statistics are functions of the values in the window, to the bit: not of
//! those that were in it before, of the sizes of blocks, of restarts, or of whether window or tree was asked. The tests
//! compare each with union-find from scratch on more than 100,000 windows.
//!
//! **Ties.** Values are ordered by value, then by position: of equal values the later one is the higher. Pairs of no
//! length are left out. Negative zero is zero, infinities are values, NaN is none.
//!
//! **Limits.** One value can change many pairs at once, as a new lowest value does at the end of an oscillation that
//! decays; to tell of them takes O(log n) for each: of half a million some milliseconds, which is what it takes to
//! write them down. Statistics do not pay for it, nor does a Betti curve ([`sliding`]).
//! Apart from that no series is worse than another, in time or in memory.

pub mod gaps;
pub mod pair;
pub mod residue;
pub mod sliding;
pub mod statistics;
pub mod tree;
pub mod window;

mod change;
pub(super) mod index;
mod longest;
pub(super) mod sums;
pub(super) mod view;

#[cfg(test)]
mod tests;
