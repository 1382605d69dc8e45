//! A series as a cloud of points: the delay embedding.
//!
//! The point of sample `t` is `(x[t - (d-1) tau], ..., x[t - tau], x[t])`. By Takens' theorem (1981) such points trace
//! the attractor of the system that made the series, up to a smooth change of coordinates: a period becomes a loop,
//! which is what H1 sees (Perea, Harer: Sliding windows and persistence, Found. Comput. Math. 2015).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Makes points of a series, one a sample, once enough samples have come.
///
/// ```
/// use eagre::topology::rips::DelayEmbedding;
/// let mut embedding = DelayEmbedding::new(3, 2);
/// let points: Vec<Vec<f64>> = (0..6).filter_map(|t| embedding.push(f64::from(t)).map(<[f64]>::to_vec)).collect();
/// assert_eq!(points, [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct DelayEmbedding {
    delay: usize,
    /// The last `(dimension - 1) * delay + 1` samples, oldest first.
    samples: VecDeque<f64>,
    point: Vec<f64>,
}

/// The most samples of a point.
const DIMENSION_MAX: usize = 1 << 20;

impl DelayEmbedding {
    /// Points of `dimension` samples that lie `delay` samples apart. Both are at least 1, and 0 is taken for 1; there
    /// are at most 1,048,576 samples in a point, and more are taken for as many.
    pub fn new(dimension: usize, delay: usize) -> DelayEmbedding {
        let point = vec![0.0; dimension.clamp(1, DIMENSION_MAX)];
        DelayEmbedding { delay: delay.max(1), samples: VecDeque::new(), point }
    }

    /// The point that ends in `sample`, once `(dimension - 1) * delay` samples have come before. O(dimension).
    pub fn push(&mut self, sample: f64) -> Option<&[f64]> {
        let span = self.span();
        if self.samples.len() == span {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        if self.samples.len() < span {
            return None;
        }
        for (coordinate, sample) in self.point.iter_mut().zip(self.samples.iter().step_by(self.delay)) {
            *coordinate = *sample;
        }
        Some(&self.point)
    }

    fn span(&self) -> usize {
        (self.point.len() - 1).saturating_mul(self.delay).saturating_add(1)
    }

    /// Forgets all samples: after a gap in the series no point should reach across it.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

/// As it is stored; what was read back may have been damaged.
#[derive(Deserialize)]
struct Stored {
    delay: usize,
    samples: VecDeque<f64>,
    point: Vec<f64>,
}

impl TryFrom<Stored> for DelayEmbedding {
    type Error = &'static str;

    fn try_from(Stored { delay, samples, point }: Stored) -> Result<DelayEmbedding, &'static str> {
        let embedding = DelayEmbedding { delay, samples, point };
        if embedding.delay == 0 || embedding.point.is_empty() || embedding.samples.len() > embedding.span() {
            return Err("a stored embedding has no delay, no dimension, or more samples than it needs");
        }
        Ok(embedding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_not_bridged() {
        let mut embedding = DelayEmbedding::new(2, 1);
        assert_eq!(embedding.push(1.0), None);
        assert_eq!(embedding.push(2.0), Some([1.0, 2.0].as_slice()));
        embedding.clear();
        assert_eq!(embedding.push(3.0), None);
        assert_eq!(embedding.push(4.0), Some([3.0, 4.0].as_slice()));
        assert_eq!(DelayEmbedding::new(0, 0).push(5.0), Some([5.0].as_slice()));
    }
}
