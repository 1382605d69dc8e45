//! What changed between two diagrams, and the 1-Wasserstein distance from that alone.
//!
//! **W1 does not see what stays.** For diagrams A, B and C, `W1(A + C, B + C) = W1(A, B)`. A slide of a window changes
//! a handful of bars, so the distance between consecutive windows, exact, is a matching of a handful of points however
//! large the diagrams are. (Bubenik, Elchesen: *Virtual persistence diagrams, signed measures, Wasserstein distances,
//! and Banach spaces*, 2022.)
//!
//! Why: collapse the diagonal to one point Δ, with the metric `min(d(x, y), d(x, Δ) + d(Δ, y))`. W1 is the cost of
//! moving the measure A + |B| Δ to B + |A| Δ in this metric space, and by Kantorovich and Rubinstein that is the
//! greatest `sum over A of f - sum over B of f` over all functions f with Lipschitz constant 1 and f(Δ) = 0. The terms
//! of C cancel.
//!
//! **W2 and bottleneck do see it.** Their cost is no metric (a square breaks the triangle inequality, a maximum forgets
//! how often it is reached), so a chain of short ways through bars that stay may be better than one long way: from {0}
//! to {2} with {1} in both, bottleneck answers 1 with it and 2 without (were the diagonal far). Nothing is cancelled
//! there; [`Transport`] starts with the common bars matched to themselves and lets searches undo it.

use super::transport::{Order, Transport};
use crate::topology::diagram::{Bar, Diagram};
use std::cmp::Ordering;

/// The bars that went and the bars that came, in canonical order, with none in both.
///
/// ```
/// use eagre::topology::diagram::{Bar, Diagram};
/// use eagre::topology::distances::{Change, Transport};
/// let bar = |birth, death| Bar { birth, death };
/// let change = Change::new(vec![bar(0.0, 4.0), bar(1.0, 2.0)], vec![bar(1.0, 2.0), bar(0.0, 5.0)]);
/// assert_eq!((change.gone(), change.come()), (&[bar(0.0, 4.0)][..], &[bar(0.0, 5.0)][..]));
/// assert_eq!(change.wasserstein_1(&mut Transport::default()), 1.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    gone: Vec<Bar>,
    come: Vec<Bar>,
}

impl Change {
    /// The change from one diagram to another. O(n).
    pub fn between(from: &Diagram, to: &Diagram) -> Change {
        let mut change = Change::default();
        let (mut gone, mut come) = (from.bars().iter(), to.bars().iter());
        let (mut left, mut right) = (gone.next(), come.next());
        loop {
            match (left, right) {
                (Some(bar), Some(other)) if bar.order(other) == Ordering::Equal => {
                    (left, right) = (gone.next(), come.next());
                }
                (Some(bar), other) if other.is_none_or(|other| bar.order(other) == Ordering::Less) => {
                    change.gone.push(*bar);
                    left = gone.next();
                }
                (_, Some(bar)) => {
                    change.come.push(*bar);
                    right = come.next();
                }
                (_, None) => return change,
            }
        }
    }

    /// The change when these bars go and those come, in any order; what does both is left out. O(k log k).
    pub fn new(gone: Vec<Bar>, come: Vec<Bar>) -> Change {
        Change::between(&Diagram::new(gone), &Diagram::new(come))
    }

    /// The bars that went.
    pub fn gone(&self) -> &[Bar] {
        &self.gone
    }

    /// The bars that came.
    pub fn come(&self) -> &[Bar] {
        &self.come
    }

    /// The 1-Wasserstein distance between the diagrams before and after; infinite where the number of infinite bars
    /// changed. Needs nothing of the bars that stayed.
    pub fn wasserstein_1(&self, transport: &mut Transport) -> f64 {
        transport.distance(&self.gone, &self.come, Order::One)
    }
}
