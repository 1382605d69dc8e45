//! Single numbers of a diagram.

use super::Intervals;
use crate::stats::elementary::{ln, raised};

/// Which distance to the empty diagram is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amplitude {
    /// The bottleneck distance: half the longest persistence.
    Bottleneck,
    /// The 1-Wasserstein distance: half the sum of persistences.
    Wasserstein1,
    /// The 2-Wasserstein distance: the root of the sum of squared halves.
    Wasserstein2,
}

impl Intervals {
    /// How many bars.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The longest persistence; 0 where there is no bar.
    pub fn max(&self) -> f64 {
        self.persistences().fold(0.0, f64::max)
    }

    /// The sum of persistences to this power (total p-persistence): the power 0 counts, 1 is the total persistence.
    pub fn total(&self, power: u32) -> f64 {
        self.persistences().fold(0.0, |sum, persistence| sum + raised(persistence, power))
    }

    /// Persistence entropy, `- sum of (p / S) ln (p / S)` where S is the sum of persistences p: the logarithm of how
    /// many equally long bars would be as evenly spread. 0 where there is no bar. Chintakunta, Gentimis,
    /// Gonzalez-Diaz, Jimenez, Krim: *An entropy-based persistence barcode* (2015).
    pub fn entropy(&self) -> f64 {
        let sum = self.total(1);
        self.persistences().fold(0.0, |entropy, persistence| {
            let share = persistence / sum;
            if share > 0.0 { entropy - share * ln(share) } else { entropy }
        })
    }

    /// The distance to the empty diagram, in the ground metric of [`super::super::distances`]. Garin, Tauzin: *A
    /// topological "reading" lesson* (2019).
    pub fn amplitude(&self, amplitude: Amplitude) -> f64 {
        match amplitude {
            Amplitude::Bottleneck => self.max() * 0.5,
            Amplitude::Wasserstein1 => self.total(1) * 0.5,
            Amplitude::Wasserstein2 => self.total(2).sqrt() * 0.5,
        }
    }

    fn persistences(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|interval| interval.persistence())
    }
}
