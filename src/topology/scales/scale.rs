//! One scale: a window over the ring, and the numbers of its diagram.
//!
//! The windows of series are kept up by the ring, for all of them at once; their scales only read them. The scale of a
//! cloud follows the ring when it is asked to, by all the values that came since. Scales have nothing in common but the
//! ring, which they only read; so they may be worked on by several threads at once.
//!
//! **A function of the ring.** Whatever a scale answers is decided by the values in the ring: the window of a series
//! scale holds its newest `window` values, that of a cloud scale the points that end in one of its newest `window`
//! values. A scale that is far behind, was restored or has replaced another begins anew, and answers the same bits.

use serde::{Deserialize, Serialize};

use super::ring::{Ring, Suited};
use crate::topology::diagram::Diagram;
use crate::topology::features::{Infinite, Intervals};
use crate::topology::rips::{self, Metric, POINTS_MAX, Workspace};
use crate::topology::series::statistics::Summary;

/// The most values that a scale may reach back.
pub const REACH_MAX: usize = 1 << 24;

/// The most coordinates of a point of an embedding.
pub const DIMENSION_MAX: usize = 64;

/// Where a scale looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The level sets of the newest values: degree 0.
    Series {
        /// How many values.
        window: usize,
    },
    /// The Rips complex of a delay embedding, Euclidean: degrees 0 and 1. A point with a coordinate beyond 1e30 is left
    /// out.
    Cloud {
        /// How many values, each the last coordinate of a point: at most 1,024.
        window: usize,
        /// How many values lie from one coordinate to the next, at least 1.
        delay: usize,
        /// How many coordinates, at least 1.
        dimension: usize,
    },
}

impl Shape {
    /// The cloud of so many coordinates that suits a series: its delay (or 1), and a window of so many of its periods.
    /// None where the series has no period.
    pub fn suited(suited: Suited, dimension: usize, periods: usize) -> Option<Shape> {
        let window = suited.period?.lag.saturating_mul(periods).min(POINTS_MAX);
        Some(Shape::Cloud { window, delay: suited.delay.unwrap_or(1), dimension })
    }

    /// How many values back it reaches.
    pub fn reach(self) -> usize {
        match self {
            Shape::Series { window } => window,
            Shape::Cloud { window, delay, dimension } => {
                window.saturating_add(dimension.saturating_sub(1).saturating_mul(delay))
            }
        }
    }

    /// Whether the points of this cloud are the newest ones of another.
    pub(super) fn is_in(self, other: Shape) -> bool {
        match (self, other) {
            (
                Shape::Cloud { window, delay, dimension },
                Shape::Cloud { window: larger, delay: other_delay, dimension: other_dimension },
            ) => window <= larger && (delay, dimension) == (other_delay, other_dimension),
            _ => false,
        }
    }

    fn degree_max(self) -> u8 {
        u8::from(matches!(self, Shape::Cloud { .. }))
    }
}

/// A number of a diagram. Bars that never die are in none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// How many bars.
    Count,
    /// The longest persistence, 0 where there is none.
    Longest,
    /// The sum of persistences.
    Total,
    /// The sum of squared persistences.
    SquareTotal,
    /// Persistent entropy, in nats.
    Entropy,
}

/// One coordinate of a scale's vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// 0 for components; 1 for loops, which only a cloud has.
    pub degree: u8,
    /// Which number.
    pub number: Number,
}

/// What a scale is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleSettings {
    /// Where it looks.
    pub shape: Shape,
    /// Its vector.
    pub features: Vec<Feature>,
}

impl ScaleSettings {
    /// What is wrong with them.
    pub(super) fn fault(&self) -> Option<String> {
        let shape = self.shape;
        if let Shape::Cloud { window, delay, dimension } = shape {
            if window > POINTS_MAX {
                return Some(format!("the window of a cloud has {window} points; it may have {POINTS_MAX}"));
            }
            if delay == 0 || !(1..=DIMENSION_MAX).contains(&dimension) {
                let found = format!("the embedding has delay {delay} and dimension {dimension}");
                return Some(format!("{found}; the delay is at least 1, the dimension from 1 to {DIMENSION_MAX}"));
            }
        }
        let (Shape::Series { window } | Shape::Cloud { window, .. }) = shape;
        if window == 0 || shape.reach() > REACH_MAX {
            let found = format!("the window is of {window} values and the scale reaches {} back", shape.reach());
            return Some(format!("{found}; it may be from 1 to {REACH_MAX}"));
        }
        let degree = self.features.iter().map(|feature| feature.degree).find(|degree| *degree > shape.degree_max())?;
        Some(format!("a feature of degree {degree}; a series has degree 0 only, a cloud 0 and 1"))
    }
}

/// One scale over a ring.
#[derive(Clone, Debug)]
pub struct Scale {
    settings: ScaleSettings,
    /// That of a cloud; none for a series.
    cloud: Option<Box<rips::Window>>,
    /// Position of the first value that the cloud has not taken in.
    seen: u64,
    /// The numbers of the cloud's diagram, of the degrees that are asked for.
    summaries: [Summary; 2],
}

impl Scale {
    /// A scale that has seen nothing yet.
    pub(super) fn new(settings: ScaleSettings) -> Scale {
        Scale { cloud: cloud(settings.shape), settings, seen: 0, summaries: Default::default() }
    }

    /// What it is.
    pub fn settings(&self) -> &ScaleSettings {
        &self.settings
    }

    /// Takes in what has come since, and appends its vector to `vector`. For a cloud the cost is that of so many slides
    /// of the window (of the whole window, where more came than it holds), and of its diagram.
    pub fn features(&mut self, ring: &Ring, workspace: &mut Workspace, vector: &mut Vec<f64>) {
        self.follow(ring, None, workspace);
        self.append(ring, vector);
    }

    /// Takes in what has come since. `larger` may be a scale of the same embedding that reaches farther back, and that
    /// has followed the ring.
    pub(super) fn follow(&mut self, ring: &Ring, larger: Option<&Scale>, workspace: &mut Workspace) {
        self.take_in(ring);
        let Some(cloud) = &mut self.cloud else { return };
        let diagram = cloud.diagram_within(larger.and_then(|larger| larger.cloud.as_deref()), workspace);
        let wants = |degree| self.settings.features.iter().any(|feature| feature.degree == degree);
        let summary = |wanted: bool, diagram: &dyn Fn() -> Diagram| {
            if wanted { summary(&diagram()) } else { Summary::default() }
        };
        self.summaries = [summary(wants(0), &|| diagram.degree_0()), summary(wants(1), &|| diagram.degree_1())];
    }

    /// Appends its vector, as it was when it followed the ring.
    pub(super) fn append(&self, ring: &Ring, vector: &mut Vec<f64>) {
        match self.settings.shape {
            Shape::Series { window } => self.append_of(&[ring.summary(window)], vector),
            Shape::Cloud { .. } => self.append_of(&self.summaries, vector),
        }
    }

    /// Appends the features of these degrees.
    fn append_of(&self, degrees: &[Summary], vector: &mut Vec<f64>) {
        vector.extend(self.settings.features.iter().map(|feature| {
            let summary = &degrees[usize::from(feature.degree).min(degrees.len() - 1)];
            match feature.number {
                Number::Count => summary.count as f64,
                Number::Longest => summary.longest,
                Number::Total => summary.total,
                Number::SquareTotal => summary.power_total,
                Number::Entropy => summary.entropy,
            }
        }));
    }

    fn take_in(&mut self, ring: &Ring) {
        let Shape::Cloud { window, delay, dimension } = self.settings.shape else { return };
        let first = ring.tail().saturating_sub(window as u64).max(ring.head());
        if self.seen < first {
            // Nothing that it holds is in the window any more.
            self.cloud = cloud(self.settings.shape);
            self.seen = first;
        }
        let Some(cloud) = &mut self.cloud else { return };
        for last in self.seen..ring.tail() {
            while cloud.positions().next().is_some_and(|position| position + window as u64 <= last) {
                cloud.evict();
            }
            if let Some(point) = point(ring, last, delay, dimension) {
                // A point that is none has no place in the cloud, and leaves one free.
                _ = cloud.push(last, &point);
            }
        }
        self.seen = ring.tail();
    }
}

/// The empty window of a cloud; none for a series.
fn cloud(shape: Shape) -> Option<Box<rips::Window>> {
    let Shape::Cloud { dimension, .. } = shape else { return None };
    Some(Box::new(rips::Window::new(Metric::Euclidean, dimension)))
}

/// The point whose last coordinate is the value at `last`, if all of it is in the ring.
fn point(ring: &Ring, last: u64, delay: usize, dimension: usize) -> Option<Vec<f64>> {
    let first = last.checked_sub(((dimension - 1) * delay) as u64)?;
    (0..dimension).map(|coordinate| ring.value(first + (coordinate * delay) as u64)).collect()
}

fn summary(diagram: &Diagram) -> Summary {
    let intervals = Intervals::of(diagram, Infinite::LeaveOut);
    Summary {
        count: intervals.count() as u64,
        infinite: (diagram.bars().len() - intervals.count()) as u64,
        total: intervals.total(1),
        power_total: intervals.total(2),
        longest: intervals.max(),
        entropy: intervals.entropy(),
    }
}
