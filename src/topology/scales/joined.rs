//! Several scales over one ring, and how their features move together.
//!
//! A value is pushed once, into the ring. What that costs:
//!
//! - **Series** are kept up by the ring as the value comes. What it changes is found once for all windows
//!   (`nested.rs`); each further window costs a few additions, and the reading of its sums when it is asked.
//! - **Series** asked every [`HOP_OF_STRETCHES`] values or more are stretches of one tree in the ring: a value is
//!   pushed into it once for all of them, and only the reading is done for each.
//! - **Clouds** follow the ring when they are asked. They share it and a workspace. A slide costs about n^2: windows
//!   whose sizes halve cost little more than the largest. Of one embedding, a smaller window takes over from the next
//!   larger one what it knows of lunes (`rips/nested.rs`), which saves it most of the search.
//!
//! Both ways of a series have the same bits, since sums are exact. The whole is a function of the settings, of the
//! values in the ring, and (the correlation) of the vectors it remembers; so that is what is stored.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::correlation::{Correlation, FEATURES_MAX};
use super::nested::Nested;
use super::ring::{Ring, Upkeep};
use super::scale::{Number, REACH_MAX, Scale, ScaleSettings, Shape};
use super::sums::Wanted;
use crate::topology::rips::Workspace;
use crate::topology::series::pair::Filtration;
use crate::topology::series::tree::Tree;

/// Series that are asked every so many values, or more seldom, are stretches of one tree.
pub const HOP_OF_STRETCHES: usize = 80;

/// The most scales over one ring.
pub const SCALES_MAX: usize = 64;

/// What the scales of a series are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The scales, in the order of their features.
    pub scales: Vec<ScaleSettings>,
    /// From which side series scales look.
    pub filtration: Filtration,
    /// Every how many values features are asked for, about. Changes what they cost and not what they are.
    pub hop: usize,
    /// How many values the ring keeps at least; more if a scale reaches farther back.
    pub keep: usize,
    /// Over how many vectors features are correlated, at least 1.
    pub correlate: usize,
}

impl Settings {
    /// Sublevel sets, asked at every value, correlated over 100 vectors.
    pub fn new(scales: Vec<ScaleSettings>) -> Settings {
        Settings { scales, filtration: Filtration::Sublevel, hop: 1, keep: 0, correlate: 100 }
    }

    fn fault(&self) -> Option<String> {
        let found = self.scales.len();
        if found == 0 || found > SCALES_MAX {
            return Some(format!("{found} scales; there may be from 1 to {SCALES_MAX}"));
        }
        if self.features() > FEATURES_MAX {
            return Some(format!("{} features in all; there may be {FEATURES_MAX}", self.features()));
        }
        if self.keep > REACH_MAX {
            return Some(format!("the ring is to keep {} values; it may keep {REACH_MAX}", self.keep));
        }
        self.scales.iter().enumerate().find_map(|(index, scale)| Some(format!("scale {index}: {}", scale.fault()?)))
    }

    fn features(&self) -> usize {
        self.scales.iter().map(|scale| scale.features.len()).sum()
    }

    fn reach(&self) -> usize {
        self.scales.iter().map(|scale| scale.shape.reach()).fold(self.keep, usize::max)
    }

    /// The clouds, those that reach farther back first, each with the one before it that it is in.
    fn order(&self) -> Vec<(usize, Option<usize>)> {
        let shape = |index: usize| self.scales[index].shape;
        let clouds = (0..self.scales.len()).filter(|index| matches!(shape(*index), Shape::Cloud { .. }));
        let mut order: Vec<usize> = clouds.collect();
        order.sort_by_key(|index| std::cmp::Reverse(shape(*index).reach()));
        let larger = |place: usize| {
            order[..place].iter().rev().copied().find(|larger| shape(order[place]).is_in(shape(*larger)))
        };
        (0..order.len()).map(|place| (order[place], larger(place))).collect()
    }

    /// The windows of the series among the scales, empty.
    fn upkeep(&self, keep: usize) -> Upkeep {
        let series = || self.scales.iter().filter(|scale| matches!(scale.shape, Shape::Series { .. }));
        if series().next().is_none() {
            return Upkeep::Nothing;
        }
        if self.hop >= HOP_OF_STRETCHES {
            return Upkeep::Stretches(Tree::new(self.filtration, 0.0, 2, keep));
        }
        let wants = |number| series().any(|scale| scale.features.iter().any(|feature| feature.number == number));
        let wanted = Wanted {
            squares: wants(Number::SquareTotal),
            entropy: wants(Number::Entropy),
            longest: wants(Number::Longest),
        };
        let lengths = series().map(|scale| scale.shape.reach());
        Upkeep::Windows(Box::new(Nested::new(self.filtration, wanted, lengths)))
    }
}

/// Scales over one ring.
///
/// ```
/// use eagre::topology::rips::Workspace;
/// use eagre::topology::scales::{Feature, Number, Scales, ScaleSettings, Settings, Shape};
/// let features = vec![Feature { degree: 0, number: Number::Total }];
/// let scale = |window| ScaleSettings { shape: Shape::Series { window }, features: features.clone() };
/// let mut scales = Scales::new(Settings::new(vec![scale(3), scale(6)])).unwrap();
/// for value in [4.0, 0.0, 3.0, 1.0, 2.0, 0.5] {
///     scales.push(value);
/// }
/// assert_eq!(scales.observe(&mut Workspace::default()), [1.0, 2.5 + 1.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Scales {
    settings: Settings,
    ring: Ring,
    scales: Vec<Scale>,
    /// The scales in the order in which they follow the ring, each with one that it learns from.
    order: Vec<(usize, Option<usize>)>,
    correlation: Correlation,
}

impl Scales {
    /// Scales over an empty ring, or what is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Scales, String> {
        if let Some(fault) = settings.fault() {
            return Err(fault);
        }
        Ok(Scales {
            ring: Ring::new(settings.reach(), settings.upkeep(settings.reach())),
            scales: settings.scales.iter().cloned().map(Scale::new).collect(),
            order: settings.order(),
            correlation: Correlation::new(settings.features(), settings.correlate),
            settings,
        })
    }

    /// Adds a value to the ring. Refuses NaN (what a gap is, [`crate::topology::series::gaps`] decides): it changes
    /// nothing and returns false. Amortised O(1) for each series scale.
    pub fn push(&mut self, value: f64) -> bool {
        self.ring.push(value)
    }

    /// The features of all scales, side by side; and remembers them in the correlation, if they are finite and at most
    /// 1e140.
    pub fn observe(&mut self, workspace: &mut Workspace) -> Vec<f64> {
        let mut vector = Vec::with_capacity(self.settings.features());
        self.features(workspace, &mut vector);
        self.remember(&vector);
        vector
    }

    /// Appends the features of all scales to `vector`, side by side, and does not remember them. Clouds of one
    /// embedding learn from each other.
    pub fn features(&mut self, workspace: &mut Workspace, vector: &mut Vec<f64>) {
        self.ring.summarise();
        for (index, larger) in &self.order {
            let (before, scale, after) = apart(&mut self.scales, *index);
            let larger =
                larger.map(|larger| if larger < *index { &before[larger] } else { &after[larger - index - 1] });
            scale.follow(&self.ring, larger, workspace);
        }
        self.scales.iter().for_each(|scale| scale.append(&self.ring, vector));
    }

    /// The ring, and the scales that follow it: to be worked on in parallel, each thread with a workspace of its own,
    /// and each scale for itself.
    /// The vectors are put side by side in the order of the scales and given to [`Scales::remember`].
    pub fn parts(&mut self) -> (&Ring, &mut [Scale]) {
        self.ring.summarise();
        (&self.ring, &mut self.scales)
    }

    /// Takes the features of all scales into the correlation; false where they are not that many, or not all finite
    /// and at most 1e140.
    pub fn remember(&mut self, vector: &[f64]) -> bool {
        self.correlation.push(vector)
    }

    /// How the features of the last vectors move together.
    pub fn correlation(&self) -> &Correlation {
        &self.correlation
    }

    /// The values.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// What it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts another scale in the place of one, as the series suggests ([`Ring::suited`]). It answers for the values
    /// that are in the ring already; the correlation begins anew. Or says why not, and changes nothing. O(n).
    pub fn replace(&mut self, index: usize, scale: ScaleSettings) -> Result<(), String> {
        let mut settings = self.settings.clone();
        let Some(place) = settings.scales.get_mut(index) else {
            return Err(format!("no scale {index}; there are {}", self.scales.len()));
        };
        *place = scale;
        if let Some(fault) = settings.fault() {
            return Err(fault);
        }
        let (reach, kept) = (settings.scales[index].shape.reach(), self.ring.keep());
        if reach > kept {
            return Err(format!("the scale reaches {reach} values back, but the ring keeps {kept}; set keep to more"));
        }
        self.scales[index] = Scale::new(settings.scales[index].clone());
        self.order = settings.order();
        self.correlation = Correlation::new(settings.features(), settings.correlate);
        self.ring.keep_up(settings.upkeep(kept));
        // What was kept is kept, also where no scale reaches that far any more.
        settings.keep = kept;
        self.settings = settings;
        Ok(())
    }

    /// Says anew how often features are asked for. O(n).
    pub fn set_hop(&mut self, hop: usize) {
        let seldom = |hop| hop >= HOP_OF_STRETCHES;
        let changes = seldom(self.settings.hop) != seldom(hop);
        self.settings.hop = hop;
        if changes {
            self.ring.keep_up(self.settings.upkeep(self.ring.keep()));
        }
    }
}

/// The scales before one, that one, and those after it.
fn apart(scales: &mut [Scale], index: usize) -> (&[Scale], &mut Scale, &[Scale]) {
    let (before, rest) = scales.split_at_mut(index);
    let (scale, after) = rest.split_first_mut().expect("the order names scales that there are");
    (before, scale, after)
}

/// What is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    settings: Settings,
    head: u64,
    values: Vec<f64>,
    correlation: Correlation,
}

impl Serialize for Scales {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (settings, correlation) = (self.settings.clone(), self.correlation.clone());
        let values = self.ring.values().collect();
        Stored { settings, head: self.ring.head(), values, correlation }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scales {
    /// Refills the ring; the scales follow it when they are asked.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scales, D::Error> {
        let Stored { settings, head, values, correlation } = Stored::deserialize(deserializer)?;
        let mut scales = Scales::new(settings).map_err(de::Error::custom)?;
        let keep = scales.ring.keep();
        if values.len() > keep || values.iter().any(|value| value.is_nan()) || head > POSITION_MAX {
            let found = format!("{} values from position {head}", values.len());
            return Err(de::Error::custom(format!("{found} are no ring of at most {keep} values without NaN")));
        }
        if !correlation.fits(scales.settings.features(), scales.settings.correlate) {
            return Err(de::Error::custom("the correlation is not that of the features of the scales"));
        }
        scales.ring = Ring::filled(keep, scales.settings.upkeep(keep), head, values);
        scales.correlation = correlation;
        Ok(scales)
    }
}

/// No series is longer.
const POSITION_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::super::{Feature, Number, Shape, Suited};
    use super::*;
    use crate::stats::elementary::sin_turns;
    use crate::stats::random::Random;
    use crate::topology::diagram::Diagram;
    use crate::topology::features::{Infinite, Intervals};
    use crate::topology::rips::{self, DelayEmbedding, Metric};
    use crate::topology::series::window::Window;

    const NUMBERS: [Number; 5] = [Number::Count, Number::Longest, Number::Total, Number::SquareTotal, Number::Entropy];

    fn scale(shape: Shape) -> ScaleSettings {
        let degrees = if matches!(shape, Shape::Cloud { .. }) { 0..2 } else { 0..1 };
        let features = degrees.flat_map(|degree| NUMBERS.map(|number| Feature { degree, number }));
        ScaleSettings { shape, features: features.collect() }
    }

    fn shapes() -> Vec<Shape> {
        let cloud = |window, delay, dimension| Shape::Cloud { window, delay, dimension };
        let series = [1, 7, 100, 150].map(|window| Shape::Series { window });
        series.into_iter().chain([cloud(20, 3, 2), cloud(40, 1, 3), cloud(1, 5, 1)]).collect()
    }

    fn numbers(diagram: &Diagram) -> [f64; 5] {
        let all = Intervals::of(diagram, Infinite::LeaveOut);
        [all.count() as f64, all.max(), all.total(1), all.total(2), all.entropy()]
    }

    /// The features by their definition, from plain values.
    fn from_scratch(values: &[f64], shape: Shape) -> Vec<f64> {
        let newest = |count: usize| &values[values.len().saturating_sub(count)..];
        match shape {
            Shape::Series { window } => {
                let mut kept = Window::new(Filtration::Sublevel, 0.0);
                newest(window).iter().for_each(|value| _ = kept.push(*value, &mut ()));
                numbers(&crate::topology::series::pair::diagram(&kept.pairs())).to_vec()
            }
            Shape::Cloud { dimension, delay, .. } => {
                let mut cloud = rips::Window::new(Metric::Euclidean, dimension);
                let mut embedding = DelayEmbedding::new(dimension, delay);
                for value in newest(shape.reach()) {
                    if let Some(point) = embedding.push(*value) {
                        cloud.push(0, point).unwrap();
                    }
                }
                let diagram = cloud.diagram(&mut Workspace::default());
                [numbers(&diagram.degree_0()), numbers(&diagram.degree_1())].concat()
            }
        }
    }

    fn series(count: usize) -> Vec<f64> {
        let mut random = Random::new(3);
        (0..count).map(|t| sin_turns(t as f64 / 16.0) + 0.1 * random.normal()).collect()
    }

    /// Asked every `hop` values, against the definition; stopped and restored in between.
    fn check(hop: usize, said: usize) {
        let settings = Settings { hop: said, ..Settings::new(shapes().into_iter().map(scale).collect()) };
        let mut scales = Scales::new(settings).unwrap();
        let mut workspace = Workspace::default();
        let values = series(600);
        for (at, value) in values.iter().enumerate() {
            assert!(scales.push(*value) && !scales.push(f64::NAN));
            if at % hop > 0 {
                continue;
            }
            let found = scales.observe(&mut workspace);
            let expected: Vec<f64> =
                shapes().into_iter().flat_map(|shape| from_scratch(&values[..=at], shape)).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{at}: {found}, not {expected}");
            }
            if at % 50 == 0 {
                let before = scales.clone();
                scales = postcard::from_bytes(&postcard::to_stdvec(&scales).unwrap()).unwrap();
                assert_eq!(scales.clone().observe(&mut workspace), found);
                let same = |pair: (usize, usize)| {
                    let of = |scales: &Scales| scales.correlation().covariance(pair.0, pair.1).map(f64::to_bits);
                    assert_eq!(of(&before), of(&scales));
                };
                [(0, 0), (1, 7), (30, 2)].into_iter().for_each(same);
            }
        }
    }

    #[test]
    fn features_are_those_of_each_window_alone() {
        [(1, 1), (7, 1), (7, HOP_OF_STRETCHES), (64, HOP_OF_STRETCHES), (200, 1)]
            .into_iter()
            .for_each(|(hop, said)| check(hop, said));
    }

    #[test]
    fn scales_are_worked_on_in_parallel() {
        let mut scales = Scales::new(Settings::new(shapes().into_iter().map(scale).collect())).unwrap();
        let mut twin = scales.clone();
        for value in series(300) {
            scales.push(value);
            twin.push(value);
        }
        let (ring, parts) = scales.parts();
        let mut vectors = vec![Vec::new(); parts.len()];
        std::thread::scope(|scope| {
            for (scale, vector) in parts.iter_mut().zip(&mut vectors) {
                scope.spawn(|| scale.features(ring, &mut Workspace::default(), vector));
            }
        });
        assert!(scales.remember(&vectors.concat()));
        assert_eq!(vectors.concat(), twin.observe(&mut Workspace::default()));
    }

    #[test]
    fn a_scale_that_suits_takes_the_place_of_another() {
        let settings = Settings { keep: 400, ..Settings::new(vec![scale(Shape::Series { window: 9 })]) };
        let mut scales = Scales::new(settings).unwrap();
        series(1000).into_iter().for_each(|value| _ = scales.push(value));
        let suited = scales.ring().suited(100);
        assert_eq!(suited.period.map(|period| period.lag), Some(16));
        let shape = Shape::suited(suited, 2, 3).unwrap();
        assert_eq!(shape, Shape::Cloud { window: 48, delay: suited.delay.unwrap(), dimension: 2 });
        scales.replace(0, scale(shape)).unwrap();
        let found = scales.observe(&mut Workspace::default());
        let expected = from_scratch(&series(1000), shape);
        assert_eq!(found, expected);
        // One loop, that of the period, has nearly all of the persistence.
        assert!(found[6] > 0.8 * found[7], "{found:?}");
        assert_eq!(Shape::suited(Suited { delay: None, period: None }, 2, 3), None);
    }

    #[test]
    fn faults() {
        let check = |scales: Vec<ScaleSettings>, words: &str| {
            let fault = Scales::new(Settings::new(scales)).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        };
        let cloud = |window, delay, dimension| vec![scale(Shape::Cloud { window, delay, dimension })];
        check(vec![], "0 scales");
        check(vec![scale(Shape::Series { window: 0 })], "scale 0: the window is of 0 values");
        check(vec![scale(Shape::Series { window: 1 << 25 })], "may be from 1 to 16777216");
        check(cloud(1025, 1, 2), "it may have 1024");
        check(cloud(10, 0, 2), "the delay is at least 1");
        check(cloud(10, usize::MAX, 64), "reaches 18446744073709551615 back");
        let loops = Feature { degree: 1, number: Number::Count };
        check(
            vec![ScaleSettings { shape: Shape::Series { window: 5 }, features: vec![loops] }],
            "a series has degree 0",
        );
        check(vec![scale(Shape::Series { window: 5 }); 65], "65 scales");
        let mut scales = Scales::new(Settings::new(vec![scale(Shape::Series { window: 5 })])).unwrap();
        let longer = scale(Shape::Series { window: 6 });
        assert!(scales.replace(0, longer.clone()).unwrap_err().contains("set keep to more"));
        assert!(scales.replace(1, longer).unwrap_err().contains("no scale 1"));
        assert!(!scales.remember(&[1.0]));
    }
}
