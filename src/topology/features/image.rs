//! Persistence images.

use super::{Grid, Intervals, TooLarge};
use crate::stats::elementary::{exp, raised};

/// Where a persistence image is looked at, and how blurred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageShape {
    /// The columns: births.
    pub births: Grid,
    /// The rows: persistences.
    pub persistences: Grid,
    /// Standard deviation of the Gaussian that each bar becomes, in units of the values; above 0.
    pub bandwidth: f64,
    /// A bar weighs its persistence to this power. 0 would make an image jump when a bar of no length appears; from 1
    /// on it is stable.
    pub weight_power: u32,
}

impl Intervals {
    /// The persistence image: the sum of the bars' Gaussians over (birth, persistence), weighted, as a density at the
    /// places of the shape's grids. Row after row from the least persistence, `persistences.points` rows of
    /// `births.points`. Adams et al.: *Persistence images* (2017), with the density at a pixel's place in place of its
    /// integral, as GUDHI does. One `exp` for each bar and each column or row, one multiplication a pixel.
    pub fn image(&self, shape: &ImageShape) -> Result<Vec<f64>, TooLarge> {
        let births = shape.births.places(shape.persistences.points)?;
        let persistences = shape.persistences.places(1)?;
        let mut image = vec![0.0; births.len() * persistences.len()];
        if image.is_empty() {
            return Ok(image);
        }
        let scale = 1.0 / (shape.bandwidth * shape.bandwidth * std::f64::consts::TAU);
        for interval in &self.0 {
            let weight = raised(interval.persistence(), shape.weight_power) * scale;
            let columns = bell(&births, interval.low, shape.bandwidth);
            let rows = bell(&persistences, interval.persistence(), shape.bandwidth);
            for (row, pixels) in rows.iter().zip(image.chunks_exact_mut(births.len())) {
                let weight = weight * row;
                pixels.iter_mut().zip(&columns).for_each(|(pixel, column)| *pixel += weight * column);
            }
        }
        Ok(image)
    }
}

/// A Gaussian of height 1 at these places.
fn bell(places: &[f64], middle: f64, bandwidth: f64) -> Vec<f64> {
    let height = |place: &f64| {
        let deviations = (place - middle) / bandwidth;
        exp(-0.5 * deviations * deviations)
    };
    places.iter().map(height).collect()
}
