//! Persistence diagrams: what all of this room answers with.
//!
//! A bar is a feature (a component, a loop) that is born at one value of the filtration and dies at another. A diagram
//! is a multiset of bars; here it is kept in one canonical order, so that equal diagrams are equal to the bit however
//! they came about. Bars of no length are not in it, nor are bars with a NaN; minus zero is zero.

use std::cmp::Ordering;

/// A feature that lives from `birth` to `death`, in units of the filtration's values. The death of a feature that
/// never dies is infinite (or, for a pair of an extended diagram, lies below its birth).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Where it is born.
    pub birth: f64,
    /// Where it dies.
    pub death: f64,
}

impl Bar {
    /// How long it lives; infinite for one that never dies.
    pub fn persistence(self) -> f64 {
        (self.death - self.birth).abs()
    }

    /// The canonical order: by birth, then by death, in the total order of IEEE 754.
    pub fn order(&self, other: &Bar) -> Ordering {
        self.birth.total_cmp(&other.birth).then(self.death.total_cmp(&other.death))
    }
}

/// A multiset of bars in canonical order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagram(Vec<Bar>);

impl Diagram {
    /// The diagram of these bars; those of no length are left out, and those with a NaN. O(n log n).
    pub fn new(bars: impl IntoIterator<Item = Bar>) -> Diagram {
        let mut bars: Vec<Bar> = bars
            .into_iter()
            .filter(|bar| bar.birth.partial_cmp(&bar.death).is_some_and(Ordering::is_ne))
            // Adding zero turns minus zero into zero and leaves every other number alone.
            .map(|bar| Bar { birth: bar.birth + 0.0, death: bar.death + 0.0 })
            .collect();
        bars.sort_unstable_by(Bar::order);
        Diagram(bars)
    }

    /// Its bars, in canonical order.
    pub fn bars(&self) -> &[Bar] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_diagrams_are_equal_in_whatever_order_their_bars_come() {
        let bar = |birth, death| Bar { birth, death };
        let one = Diagram::new([bar(1.0, 3.0), bar(2.0, 2.0), bar(0.0, f64::INFINITY), bar(1.0, 2.0)]);
        let other = Diagram::new([bar(0.0, f64::INFINITY), bar(1.0, 2.0), bar(1.0, 3.0)]);
        assert_eq!(one, other);
        assert_eq!(one.bars()[1], bar(1.0, 2.0));
        assert_eq!(one.bars()[2].persistence(), 2.0);
    }

    #[test]
    fn what_is_no_number_is_no_bar_and_zero_has_one_sign() {
        let bar = |birth, death| Bar { birth, death };
        let diagram =
            Diagram::new([bar(f64::NAN, 1.0), bar(1.0, f64::NAN), bar(0.0, -0.0), bar(-0.0, 2.0), bar(0.0, 1.0)]);
        assert_eq!(diagram.bars(), [bar(0.0, 1.0), bar(0.0, 2.0)]);
        assert!(diagram.bars().iter().all(|bar| bar.birth.is_sign_positive()));
    }
}
