//! A window with all that belongs to it: how far it reaches, what it does with gaps, and its statistics.
//!
//! The whole is a function of the values that are in the window (and of the newest value, where gaps hold it). Stored
//! state is those values; what is restored goes on with the same bits.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::gaps::{Gaps, Missing};
use super::pair::{Changes, Filtration, Pair};
use super::statistics::{BettiCurve, Statistics, Summary};
use super::window::Window;

/// How far back a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The newest so many values, at least 1.
    Count(u64),
    /// The values younger than this, in the unit of the times: those in `(newest - span, newest]`.
    Time(i64),
}

/// What a window is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How far back it reaches.
    pub reach: Reach,
    /// From which side the series is looked at.
    pub filtration: Filtration,
    /// What becomes of missing values.
    pub gaps: Gaps,
    /// Pairs that live no longer are left out: the diagram moves by at most half of it in bottleneck distance.
    pub tolerance: f64,
    /// The power of [`Summary::power_total`].
    pub power: u32,
    /// The levels of the Betti curve, at most [`LEVELS_MAX`]; none for no curve.
    pub levels: Vec<f64>,
}

impl Settings {
    /// Sublevel sets, gaps skipped, no tolerance, squares, no Betti curve.
    pub fn new(reach: Reach) -> Settings {
        let (filtration, gaps) = (Filtration::Sublevel, Gaps::Skip);
        Settings { reach, filtration, gaps, tolerance: 0.0, power: 2, levels: Vec::new() }
    }

    /// What is wrong with them.
    fn fault(&self) -> Option<&'static str> {
        if self.levels.len() > LEVELS_MAX {
            return Some("the Betti curve has more than 1024 levels; take fewer");
        }
        let reaches = match self.reach {
            Reach::Count(count) => count > 0,
            Reach::Time(span) => span > 0,
        };
        if !reaches {
            return Some("the window reaches back 0 or less; let it reach over 1 value or 1 unit of time at least");
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return Some("the tolerance is negative or no number; 0 leaves out nothing");
        }
        if self.gaps == Gaps::Break && self.filtration == Filtration::Extended {
            return Some("extended persistence has no walls; for gaps = \"break\" take sublevel and superlevel apart");
        }
        None
    }
}

/// The most levels of a Betti curve that is kept up.
pub const LEVELS_MAX: usize = 1024;

/// For how many values room is made before they come.
const ROOM_MAX: u64 = 1 << 16;

/// A sliding window and the statistics of its diagram.
///
/// ```
/// use eagre::topology::series::sliding::{Reach, Settings, Sliding};
/// let mut hour = Sliding::new(Settings::new(Reach::Time(3600))).unwrap();
/// for (time, value) in [(0, 2.0), (600, 5.0), (1200, 1.0), (1800, 4.0), (2400, 3.0)] {
///     hour.push(time, value, &mut ()).unwrap();
/// }
/// assert_eq!(hour.summary().total, (5.0 - 2.0) + (4.0 - 3.0));
/// hour.advance(3600, &mut ());
/// assert_eq!(hour.summary().total, 4.0 - 3.0);
/// ```
#[derive(Clone, Debug)]
pub struct Sliding {
    settings: Settings,
    window: Window,
    statistics: Statistics,
    /// When the values came; empty for a window by count.
    times: VecDeque<i64>,
    /// The value that came last, also when it has left.
    last: Option<f64>,
}

impl Sliding {
    /// An empty window, or what is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Sliding, &'static str> {
        if let Some(fault) = settings.fault() {
            return Err(fault);
        }
        let levels = &settings.levels;
        let betti = (!levels.is_empty()).then(|| BettiCurve::new(levels));
        let room = match settings.reach {
            Reach::Count(count) => count.min(ROOM_MAX) as usize,
            Reach::Time(_) => 0,
        };
        let statistics = Statistics::new(settings.power, betti);
        Ok(Sliding {
            window: Window::with_capacity(settings.filtration, settings.tolerance, room).summing(&statistics),
            statistics,
            times: VecDeque::new(),
            last: None,
            settings,
        })
    }

    /// Adds a value, lets those leave that are out of reach now, and tells `changes` of every pair that enters or
    /// leaves the diagram. Times come in non-decreasing order; one that is older than the newest counts as equal to
    /// it. Returns the position that the value took: none if it was skipped. Amortised O(1) for each value and each
    /// change.
    pub fn push(&mut self, time: i64, value: f64, changes: &mut impl Changes) -> Result<Option<u64>, Missing> {
        let Some(value) = self.settings.gaps.fill(value, self.last, self.settings.filtration)? else {
            self.advance(time, changes);
            return Ok(None);
        };
        let time = self.times.back().map_or(time, |newest| time.max(*newest));
        match self.settings.reach {
            Reach::Count(count) => self.leave_to(count - 1, changes),
            Reach::Time(_) => self.advance(time, changes),
        }
        if matches!(self.settings.reach, Reach::Time(_)) {
            self.times.push_back(time);
        }
        self.last = Some(value);
        self.window.push(value, &mut (&mut self.statistics, changes));
        Ok(Some(self.window.tail() - 1))
    }

    /// Lets the values leave that are out of reach at this time. A window by count does not mind.
    pub fn advance(&mut self, time: i64, changes: &mut impl Changes) {
        if let Reach::Time(span) = self.settings.reach {
            while self.times.front().is_some_and(|oldest| *oldest <= time.saturating_sub(span)) {
                self.times.pop_front();
                self.window.evict(&mut (&mut self.statistics, &mut *changes));
            }
        }
    }

    /// The statistics of the present diagram. O(1), and O(log n) when the longest pair has left.
    #[inline]
    pub fn summary(&self) -> Summary {
        self.statistics.summary(|| self.window.longest())
    }

    /// How many pairs are alive at each level of the settings, in order of the levels; none if no levels were given.
    pub fn betti(&self) -> Option<&BettiCurve> {
        self.statistics.betti()
    }

    /// All pairs of the present diagram. O(n).
    pub fn pairs(&self) -> Vec<Pair> {
        self.window.pairs()
    }

    /// The values and their positions.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.window.heap_bytes() + self.statistics.heap_bytes() + self.times.capacity() * size_of::<i64>()
    }

    fn leave_to(&mut self, count: u64, changes: &mut impl Changes) {
        while self.window.len() as u64 > count {
            self.window.evict(&mut (&mut self.statistics, &mut *changes));
        }
    }
}

/// What is stored.
#[derive(Serialize, Deserialize)]
struct Stored<S, W, T> {
    settings: S,
    window: W,
    times: T,
    last: Option<f64>,
}

impl Serialize for Sliding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sliding { settings, window, times, last, .. } = self;
        Stored { settings, window, times, last: *last }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sliding {
    /// Rebuilds the statistics from the pairs of the window: exact sums have the same bits. O(n).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sliding, D::Error> {
        let stored = Stored::<Settings, Window, VecDeque<i64>>::deserialize(deserializer)?;
        let mut sliding = Sliding::new(stored.settings).map_err(serde::de::Error::custom)?;
        let times = if matches!(sliding.settings.reach, Reach::Time(_)) { stored.window.len() } else { 0 };
        if stored.times.len() != times
            || !stored.times.iter().is_sorted()
            || stored.last.is_some_and(f64::is_nan)
            || !stored.window.looks(sliding.settings.filtration, sliding.settings.tolerance)
        {
            return Err(serde::de::Error::custom("a stored window does not fit its settings, its times or its gaps"));
        }
        stored.window.pairs().into_iter().for_each(|pair| sliding.statistics.enter(pair));
        sliding.window = stored.window.summing(&sliding.statistics);
        (sliding.times, sliding.last) = (stored.times, stored.last);
        Ok(sliding)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bits, series, summarised, union_find};
    use super::*;
    use crate::stats::random::Random;

    /// Slides by count or time with gaps, stopped and restored now and then, against the rules spelt out on plain
    /// lists.
    fn check(seed: u64) {
        let mut random = Random::new(seed);
        let gaps = [Gaps::Skip, Gaps::Hold, Gaps::Break][seed as usize % 3];
        let filtration = [Filtration::Sublevel, Filtration::Superlevel, Filtration::Extended][seed as usize / 3 % 3];
        let reach = if seed.is_multiple_of(2) { Reach::Count(1 + random.pick(30)) } else { Reach::Time(10) };
        let settings = Settings { gaps, filtration, levels: vec![0.0, 1.0], ..Settings::new(reach) };
        if gaps == Gaps::Break && filtration == Filtration::Extended {
            assert!(Sliding::new(settings).unwrap_err().contains("walls"));
            return;
        }
        let mut sliding = Sliding::new(settings).unwrap();
        let wall = if filtration == Filtration::Superlevel { f64::NEG_INFINITY } else { f64::INFINITY };
        let mut all: Vec<(i64, f64)> = Vec::new();
        let mut time = 0;
        for value in series(seed, 300, &mut random) {
            time += random.pick(3) as i64;
            let value = if random.pick(6) == 0 { f64::NAN } else { value };
            let last = all.last().map(|(_, value)| *value);
            let expected = match (value.is_nan(), gaps, last) {
                (false, ..) => Some(value + 0.0),
                (true, Gaps::Hold, last) => last,
                (true, Gaps::Break, Some(last)) if last != wall => Some(wall),
                _ => None,
            };
            let position = sliding.push(time, value, &mut ()).unwrap();
            all.extend(expected.map(|value| (time, value)));
            assert_eq!(position, expected.map(|_| all.len() as u64 - 1));
            let head = match reach {
                Reach::Count(count) => all.len().saturating_sub(count as usize),
                Reach::Time(span) => all.partition_point(|(at, _)| *at <= time - span),
            };
            let values: Vec<f64> = all[head..].iter().map(|(_, value)| *value).collect();
            let pairs = union_find(&values, head as u64, filtration, 0.0);
            assert_eq!(sliding.pairs(), pairs, "seed {seed}");
            assert_eq!(bits(sliding.summary()), bits(summarised(&pairs, 2)), "seed {seed}");
            if random.pick(20) == 0 {
                let betti = sliding.betti().unwrap().clone();
                sliding = postcard::from_bytes(&postcard::to_stdvec(&sliding).unwrap()).unwrap();
                assert_eq!(sliding.betti(), Some(&betti));
            }
        }
    }

    #[test]
    fn windows_gaps_and_restarts() {
        (0..120).for_each(check);
    }

    #[test]
    fn faults() {
        let settings = Settings::new(Reach::Count(3));
        let check = |settings: Settings, words: &str| assert!(Sliding::new(settings).unwrap_err().contains(words));
        check(Settings { reach: Reach::Count(0), ..settings.clone() }, "reaches back 0");
        check(Settings { reach: Reach::Time(-1), ..settings.clone() }, "reaches back 0");
        check(Settings { tolerance: f64::NAN, ..settings.clone() }, "tolerance");
        let mut sliding = Sliding::new(Settings { gaps: Gaps::Reject, ..settings }).unwrap();
        assert_eq!(sliding.push(0, f64::NAN, &mut ()), Err(Missing));
        assert_eq!(sliding.push(0, -0.0, &mut ()), Ok(Some(0)));
        assert_eq!(sliding.window().values().map(f64::to_bits).collect::<Vec<_>>(), [0]);
    }
}
