//! Curves over the filtration's values: how many bars are alive, and what the mean tent is.

use super::{Grid, Intervals, TooLarge};
use crate::stats::elementary::raised;

impl Intervals {
    /// The Betti curve: how many bars are alive at each place of the grid. A bar is alive from its birth on, until just
    /// before its death.
    pub fn betti_curve(&self, grid: &Grid) -> Result<Vec<f64>, TooLarge> {
        let places = grid.places(1)?;
        let mut steps = vec![0.0; places.len() + 1];
        for interval in &self.0 {
            steps[places.partition_point(|place| *place < interval.low)] += 1.0;
            steps[places.partition_point(|place| *place < interval.high)] -= 1.0;
        }
        let mut alive = 0.0;
        steps.truncate(places.len());
        for step in &mut steps {
            alive += *step;
            *step = alive;
        }
        Ok(steps)
    }

    /// The silhouette: the mean of the bars' tents, each weighted by its persistence to this power (0 weighs all the
    /// same, great powers show the longest bar alone). 0 where there is no bar. Chazal, Fasy, Lecci, Rinaldo,
    /// Wasserman: *Stochastic convergence of persistence landscapes and silhouettes* (2014); GUDHI's is this times
    /// sqrt(2).
    pub fn silhouette(&self, grid: &Grid, power: u32) -> Result<Vec<f64>, TooLarge> {
        let places = grid.places(1)?;
        let mut sums = vec![0.0; places.len()];
        // Weights are relative to the longest bar's, so that no power overflows.
        let longest = self.max();
        let mut weights = 0.0;
        for interval in &self.0 {
            let weight = raised(interval.persistence() / longest, power);
            weights += weight;
            let start = places.partition_point(|place| *place <= interval.low);
            for (sum, place) in
                sums[start..].iter_mut().zip(&places[start..]).take_while(|(_, at)| **at < interval.high)
            {
                *sum += weight * interval.tent(*place);
            }
        }
        if weights > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= weights);
        }
        Ok(sums)
    }
}
