//! Several scales at once: how their features move together, and which scales suit a series.
//!
//! | file | answers | cost |
//! | --- | --- | --- |
//! | [`correlation`] | covariance and correlation of feature vectors over a sliding window, without drift | O(f^2) a slide |
//! | [`delay`] | the delay of an embedding: first minimum of mutual information | O(n) a lag |
//! | [`period`] | the window's length: the dominant period by autocorrelation | O(n) a lag |
//!
//! A scale is a window (and a delay) over the series; its features are numbers of its diagram. What is here takes
//! vectors of numbers, one number for each feature of each scale, and does not know where they come from.
//!
//! **Deterministic.** Every choice is a function of the slice it is given, made of integer counts, sums in index order
//! and comparisons; ties go to the shorter lag. Same bits everywhere.

pub mod correlation;
pub mod delay;
pub mod period;
