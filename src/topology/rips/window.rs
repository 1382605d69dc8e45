//! The window that a user holds: points come at one end and leave at the other, and its bars can be asked for.
//!
//! A change costs O(n) (the newcomer's distances, a copy of the leaver's row); the certificates wait until bars are
//! asked for. Then there are two ways, with the same answer to the bit:
//!
//! 1. **Step** ([`Window::step`]): one pass over all pairs finds the certificates that the change may have broken;
//!    these are found anew, and those of the newcomers' pairs for the first time. Any number of points that came and
//!    left since the last answer are one step.
//! 2. **Sweep** ([`sweep`]): all certificates from scratch.
//!
//! The pass and a certificate that is found by looking cost about so many times ([`Lanes::costs`]) what the sweep
//! spends on one edge. The newcomers are known beforehand and the broken ones are counted before one is repaired, so
//! the cheaper way is taken each time and **a step never costs much more than a sweep**: at worst a sweep and the
//! pass. The choice counts pairs and reads no clock.
//!
//! **State.** A window is its points. Everything else is made of them, so that is what is serialised, and a window that
//! was read back gives the same answers to the bit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::algebra::{self, Reading};
use super::cycle;
use super::lanes::{ABSENT, Block, Lanes, Leaver};
use super::lunes::Lunes;
use super::metric::{Metric, PointFault};
use super::nested::Larger;
use super::sweep::{self, Purpose, sweep};
use super::{RipsBar, RipsDiagram};

/// The most points that a window may hold.
pub const POINTS_MAX: usize = 1024;

/// The most coordinates that the points of a stored window may have.
const DIMENSION_MAX: usize = 1 << 20;

/// Does something with `W` for the words of a bitset of so many slots: one of [`WORDS`].
macro_rules! by_side {
    ($side:expr, $w:ident => $do:expr) => {
        match $side / 64 {
            1 => by_side!(@ 1, $w, $do),
            2 => by_side!(@ 2, $w, $do),
            3 => by_side!(@ 3, $w, $do),
            4 => by_side!(@ 4, $w, $do),
            6 => by_side!(@ 6, $w, $do),
            8 => by_side!(@ 8, $w, $do),
            12 => by_side!(@ 12, $w, $do),
            _ => by_side!(@ 16, $w, $do),
        }
    };
    (@ $words:literal, $w:ident, $do:expr) => {{
        const $w: usize = $words;
        $do
    }};
}

/// Which way certificates are brought up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The cheaper one, each time.
    #[default]
    Cheapest,
    /// A sweep, whenever something has changed.
    FromScratch,
    /// Steps, once a first sweep was made, whatever breaks.
    Incremental,
}

/// Room that a computation needs while it runs. One serves all the windows of a thread, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    sweep: sweep::Scratch,
    algebra: algebra::Scratch,
    broken: Vec<(u16, u16)>,
}

/// What the certificates are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certified {
    Nothing,
    /// Answers about the points that were there at the last answer.
    Answer,
    /// And steps from there on.
    Upkeep,
}

/// A sliding window over points, whose components and loops are kept up.
///
/// ```
/// use eagre::topology::rips::{Metric, Window, Workspace};
/// let mut window = Window::new(Metric::Euclidean, 2);
/// let mut workspace = Workspace::default();
/// for (position, corner) in [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].iter().enumerate() {
///     window.push(position as u64, corner).unwrap();
/// }
/// let loops = window.diagram(&mut workspace).loops;
/// assert_eq!((loops[0].bar.birth, loops[0].bar.death), (1.0, f64::from(2.0_f32.sqrt())));
/// assert_eq!(window.cycles(&loops[0], &mut workspace), Some(vec![vec![0, 1, 2, 3]]));
/// window.evict();
/// assert!(window.diagram(&mut workspace).loops.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    metric: Metric,
    dimension: usize,
    strategy: Strategy,
    lunes: Lunes,
    /// By slot.
    coordinates: Vec<f64>,
    /// By slot.
    positions: Vec<u64>,
    certified: Certified,
    /// How many of the youngest points have no certificates yet.
    newcomers: usize,
    /// Points that had certificates and left.
    leavers: Vec<Leaver>,
    /// Slots that were left since the last answer; some have been taken again.
    vacated: Vec<usize>,
    /// Rows to be used again.
    rows: Vec<Vec<Block>>,
}

impl Window {
    /// An empty window over points of `dimension` coordinates.
    pub fn new(metric: Metric, dimension: usize) -> Window {
        Window::with_lanes(metric, dimension, Lanes::detect())
    }

    /// As [`Window::new`], with these vector instructions.
    pub fn with_lanes(metric: Metric, dimension: usize, lanes: Lanes) -> Window {
        Window {
            metric,
            dimension,
            strategy: Strategy::default(),
            lunes: Lunes::new(SIDE_MIN, lanes),
            coordinates: Vec::new(),
            positions: vec![0; SIDE_MIN],
            certified: Certified::Nothing,
            newcomers: 0,
            leavers: Vec::new(),
            vacated: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Chooses how certificates are brought up to date from now on. Answers are the same with each.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
    }

    /// How many points the window holds.
    pub fn len(&self) -> usize {
        self.lunes.ring.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records of the points, oldest first.
    pub fn positions(&self) -> impl Iterator<Item = u64> {
        (0..self.len()).map(|rank| self.positions[self.lunes.ring.slot(rank)])
    }

    /// Takes in the point that the record `position` made, as the youngest. A point that is none, or one too many, is
    /// refused and changes nothing. O(n dimension).
    pub fn push(&mut self, position: u64, point: &[f64]) -> Result<(), PointFault> {
        if self.len() == POINTS_MAX {
            return Err(PointFault::Full { points: POINTS_MAX });
        }
        let mut point = point.to_vec();
        self.metric.prepare(self.dimension, &mut point)?;
        self.admit(position, &point);
        Ok(())
    }

    /// Lets the oldest point go and tells its record. O(n).
    pub fn evict(&mut self) -> Option<u64> {
        let slot = self.lunes.ring.slot(0);
        if self.is_empty() {
            return None;
        }
        if self.newcomers == self.len() {
            self.newcomers -= 1;
        } else if self.certified == Certified::Upkeep && self.may_step(self.leavers.len() + 1) {
            let mut row = self.rows.pop().unwrap_or_default();
            row.clear();
            row.extend_from_slice(self.lunes.row(slot));
            self.leavers.push(Leaver { slot, row });
        } else {
            self.certified = Certified::Nothing;
        }
        self.vacated.push(slot);
        self.lunes.ring.head = self.lunes.ring.slot(1);
        self.lunes.ring.count -= 1;
        Some(self.positions[slot])
    }

    /// Lets the oldest point go for a new one. When that is refused, nothing has changed.
    pub fn slide(&mut self, position: u64, point: &[f64]) -> Result<(), PointFault> {
        let mut point = point.to_vec();
        self.metric.prepare(self.dimension, &mut point)?;
        self.evict();
        self.admit(position, &point);
        Ok(())
    }

    /// The components and loops of the window.
    ///
    /// After a slide of one, O(n^2 / 16) to look for broken certificates, and O(n) certificates of O(n / 16) each; at
    /// most about a sweep, O(n^3 / 64). Reading the bars is linear in the components and loops there are, but for the
    /// reduction of the relations between loops.
    pub fn diagram(&mut self, workspace: &mut Workspace) -> RipsDiagram {
        self.diagram_within(None, workspace)
    }

    /// The same, where `larger` may be a window whose newest points are all the points of this one, and which has just
    /// told its diagram: what is known there of lunes is taken over where it holds here too (`nested.rs`).
    pub(in super::super) fn diagram_within(
        &mut self,
        larger: Option<&Window>,
        workspace: &mut Workspace,
    ) -> RipsDiagram {
        if self.is_empty() {
            return RipsDiagram::default();
        }
        if self.len() <= self.lunes.ring.side / 4 && self.lunes.ring.side > SIDE_MIN {
            // Half of it stays free, so that a window whose size goes up and down does not move each time.
            self.move_to(side_for(2 * self.len()));
        }
        let larger = larger.and_then(|larger| larger.around(self));
        let reading = by_side!(self.lunes.ring.side, W => self.read::<W>(larger, workspace));
        reading.diagram(|rank| self.positions[self.lunes.ring.slot(rank)])
    }

    /// Closed paths of records, each joined to the next and the last to the first, whose sum is a loop that lives as
    /// `bar` does: all its edges are there at the bar's birth, one of them is the bar's own, and it is filled in at the
    /// bar's death and not before. `None` if the window has no such bar. Costs a sweep.
    pub fn cycles(&self, bar: &RipsBar, workspace: &mut Workspace) -> Option<Vec<Vec<u64>>> {
        let positions: Vec<u64> = self.positions().collect();
        let born = |(old, young): (usize, usize)| [positions[old], positions[young]] == bar.birth;
        let mut lunes = self.laid_out(self.lunes.ring.side);
        let scratch = (&mut workspace.sweep, &mut workspace.algebra);
        let cycles = by_side!(lunes.ring.side, W => cycle::representative::<W>(&mut lunes, scratch, born))?;
        Some(cycles.into_iter().map(|cycle| cycle.into_iter().map(|rank| positions[rank]).collect()).collect())
    }

    /// Takes in a prepared point.
    fn admit(&mut self, position: u64, point: &[f64]) {
        if self.len() == self.lunes.ring.side {
            self.move_to(side_for(self.len() + 1));
        }
        let ring = self.lunes.ring;
        let slot = ring.slot(ring.count);
        // Made with the first point, when it is known that there are such points.
        self.coordinates.resize(ring.side * self.dimension, 0.0);
        self.coordinates[slot * self.dimension..][..self.dimension].copy_from_slice(point);
        self.positions[slot] = position;
        let mut row = self.rows.pop().unwrap_or_default();
        row.clear();
        row.resize(ring.side / 16, Block([ABSENT; 16]));
        for rank in 0..ring.count {
            let other = ring.slot(rank);
            let distance = self.metric.distance(point, &self.coordinates[other * self.dimension..][..self.dimension]);
            row[other >> 4].0[other & 15] = distance.to_bits() as i32;
        }
        self.lunes.set_row(slot, &row);
        self.rows.push(row);
        self.lunes.ring.count += 1;
        self.newcomers += 1;
    }

    /// What is known here of lunes, if the points of a smaller window are the newest ones here.
    fn around(&self, smaller: &Window) -> Option<Larger<'_>> {
        let known = self.certified == Certified::Upkeep && self.newcomers == 0 && self.vacated.is_empty();
        let older = self.len().checked_sub(smaller.len()).filter(|_| known)?;
        let same = (self.metric, self.dimension) == (smaller.metric, smaller.dimension);
        let newest = same && self.positions().skip(older).eq(smaller.positions());
        newest.then_some(Larger { lunes: &self.lunes, older })
    }

    fn read<const W: usize>(&mut self, larger: Option<Larger>, workspace: &mut Workspace) -> Reading {
        self.update::<W>(larger, workspace);
        algebra::read::<W>(&mut self.lunes, &mut workspace.algebra, None)
    }

    /// Makes the certificates good for an answer.
    fn update<const W: usize>(&mut self, larger: Option<Larger>, workspace: &mut Workspace) {
        let changed = self.newcomers > 0 || !self.vacated.is_empty();
        if !changed && self.certified != Certified::Nothing {
            return;
        }
        while let Some(slot) = self.vacated.pop() {
            if self.lunes.ring.rank(slot) >= self.len() {
                self.lunes.vacate(slot);
            }
        }
        let steps = self.may_step(self.newcomers.max(self.leavers.len()));
        let stepped = self.certified == Certified::Upkeep && steps && self.step::<W>(larger, workspace);
        if !stepped {
            let upkeep = steps && self.strategy != Strategy::FromScratch;
            let purpose = if upkeep { Purpose::Upkeep } else { Purpose::Answer };
            sweep::<W>(&mut self.lunes, &mut workspace.sweep, purpose);
            self.certified = if upkeep { Certified::Upkeep } else { Certified::Answer };
        }
        self.newcomers = 0;
        self.rows.extend(self.leavers.drain(..).map(|leaver| leaver.row));
    }

    /// Whether a step with so many newcomers may cost less than a sweep.
    fn may_step(&self, newcomers: usize) -> bool {
        let pass = self.lunes.lanes.costs().pass_percent * newcomers * self.len() * self.len() / 200;
        self.is_cheaper(newcomers, pass)
    }

    /// Whether so many certificates of newcomers, and what costs as much as so many edges of a sweep, cost less than
    /// one.
    fn is_cheaper(&self, newcomers: usize, edges: usize) -> bool {
        match self.strategy {
            Strategy::Cheapest => {
                let newcomers = self.lunes.lanes.costs().newcomer * newcomers * self.len();
                newcomers + edges <= self.len() * self.len() / 2
            }
            Strategy::FromScratch => false,
            Strategy::Incremental => true,
        }
    }

    /// Repairs what the change broke; false if a sweep is cheaper.
    fn step<const W: usize>(&mut self, larger: Option<Larger>, workspace: &mut Workspace) -> bool {
        let ring = self.lunes.ring;
        let certify = |lunes: &mut Lunes, a: usize, b: usize| {
            let known = larger.and_then(|larger| larger.certificate(ring, a, b));
            let code = known.unwrap_or_else(|| lunes.certificate::<W>(a, b));
            lunes.set_code(a, b, code);
        };
        let newcomers: Vec<usize> = (ring.count - self.newcomers..ring.count).map(|rank| ring.slot(rank)).collect();
        workspace.broken.clear();
        self.lunes.broken::<W>(&self.leavers, &newcomers, &mut workspace.broken);
        if !self.is_cheaper(newcomers.len(), self.lunes.lanes.costs().broken * workspace.broken.len()) {
            return false;
        }
        for (a, b) in &workspace.broken {
            certify(&mut self.lunes, *a as usize, *b as usize);
        }
        for newcomer in newcomers {
            for rank in 0..ring.rank(newcomer) {
                certify(&mut self.lunes, newcomer, ring.slot(rank));
            }
        }
        true
    }

    /// Moves the points to a ring of another size.
    fn move_to(&mut self, side: usize) {
        let ring = self.lunes.ring;
        let slots: Vec<usize> = (0..ring.count).map(|rank| ring.slot(rank)).collect();
        self.lunes = self.laid_out(side);
        self.positions = slots.iter().map(|slot| self.positions[*slot]).collect();
        self.positions.resize(side, 0);
        let points = slots.iter().flat_map(|slot| &self.coordinates[slot * self.dimension..][..self.dimension]);
        self.coordinates = points.copied().collect();
        self.coordinates.resize(side * self.dimension, 0.0);
        self.certified = Certified::Nothing;
        self.newcomers = 0;
        self.leavers.clear();
        self.vacated.clear();
        self.rows.clear();
    }

    /// The distances with the oldest point in slot 0, and no certificates.
    fn laid_out(&self, side: usize) -> Lunes {
        let ring = self.lunes.ring;
        let mut lunes = Lunes::new(side, self.lunes.lanes);
        for young in 0..ring.count {
            let mut row = vec![Block([ABSENT; 16]); side / 16];
            for old in 0..young {
                row[old >> 4].0[old & 15] = self.lunes.length(ring.slot(young), ring.slot(old));
            }
            lunes.set_row(young, &row);
        }
        lunes.ring.count = ring.count;
        lunes
    }
}

/// The fewest slots that a window has: one word of a bitset.
const SIDE_MIN: usize = 64;

/// How many words of a bitset the slots of a window may fill. No step is larger than a half, so that a window never
/// does much more work than it has points for.
const WORDS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// The slots of a window with room for so many points.
fn side_for(points: usize) -> usize {
    64 * WORDS.into_iter().find(|words| 64 * words >= points).unwrap_or(WORDS[WORDS.len() - 1])
}

/// A window as it is kept: its points, oldest first, as prepared.
#[derive(Serialize, Deserialize)]
struct Kept {
    metric: Metric,
    dimension: usize,
    positions: Vec<u64>,
    coordinates: Vec<f64>,
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points = (0..self.len()).map(|rank| self.lunes.ring.slot(rank) * self.dimension);
        let coordinates = points.flat_map(|start| &self.coordinates[start..][..self.dimension]).copied().collect();
        let positions = self.positions().collect();
        Kept { metric: self.metric, dimension: self.dimension, positions, coordinates }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = Kept::deserialize(deserializer)?;
        let (points, numbers) = (kept.positions.len(), kept.coordinates.len());
        let allowed = points <= POINTS_MAX && kept.dimension <= DIMENSION_MAX;
        if !allowed || points.checked_mul(kept.dimension) != Some(numbers) {
            let what = format!("{points} points of {} coordinates with {numbers} numbers", kept.dimension);
            return Err(de::Error::custom(format!("{what} are no window of at most {POINTS_MAX} points")));
        }
        let mut window = Window::new(kept.metric, kept.dimension);
        for (rank, position) in kept.positions.iter().enumerate() {
            let point = &kept.coordinates[rank * kept.dimension..][..kept.dimension];
            // Prepared points are measured as they are, but must be finite.
            Metric::Euclidean.prepare(kept.dimension, &mut point.to_vec()).map_err(de::Error::custom)?;
            window.admit(*position, point);
        }
        Ok(window)
    }
}
