//! Persistence landscapes.

use super::{Grid, Intervals, TooLarge};

impl Intervals {
    /// The persistence landscape: at each place of the grid the highest tents in order, `levels` of them. A tent rises
    /// from a bar's birth at slope 1, and falls to its death. Level after level, each a value a place; 0 where fewer
    /// tents stand. Bubenik: *Statistical topological data analysis using persistence landscapes* (2015); GUDHI's is
    /// this times sqrt(2). O(k) for each place below a tent.
    pub fn landscape(&self, levels: usize, grid: &Grid) -> Result<Vec<f64>, TooLarge> {
        let places = grid.places(levels)?;
        // Place after place first, so that a tent is put among those of one place at once.
        let mut highest = vec![0.0; places.len() * levels];
        for interval in &self.0 {
            let start = places.partition_point(|place| *place <= interval.low);
            let below = places.iter().enumerate().skip(start).take_while(|(_, place)| **place < interval.high);
            for (at, place) in below {
                put(&mut highest[at * levels..(at + 1) * levels], interval.tent(*place));
            }
        }
        Ok((0..levels).flat_map(|level| highest.iter().skip(level).step_by(levels)).copied().collect())
    }
}

/// Puts a value among values in falling order; the least falls out.
fn put(falling: &mut [f64], mut value: f64) {
    for slot in falling {
        if *slot < value {
            std::mem::swap(slot, &mut value);
        }
    }
}
