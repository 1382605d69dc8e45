//! Persistence of a sliding window: values enter at the right end and leave at the left one.
//!
//! ```text
//!      head                        seam                tail
//!        |---------- front ----------|------- back ------|
//!         steps that can be taken back    residue, appended to
//! ```
//!
//! Two stacks make a queue, here as in any sliding-window aggregation (Tangwongsan, Hirzel, Schneider: General
//! incremental sliding-window aggregation, VLDB 2015). The **back** is the residue of the newer values; one more is
//! appended to it. The **front** is the residue of the older ones, built from right to left, so that taking back its
//! last step evicts the oldest value ([`super::front`]). When the front is used up, the seam moves to the right end and
//! a new front is built: not from single values, but from the residues of finished blocks ([`super::blocks`]).
//!
//! **Cost.** Amortised O(1) for a value that enters or leaves, and for each pair that changes; the summary is O(log r).
//! The worst single step is O(r n / L + r L / B + B) for small blocks of B values and large ones of L, where r is the
//! length of a residue: about ten to twenty points in walks and in noise, and O(n) only for an oscillation that grows
//! or decays all along the window. Memory is 8 bytes a value, 16 bytes a point of each block's residue, and the steps
//! of one small block: 9 bytes a value in all for windows from 2^16 values up, 20 for 2^10.
//!
//! **Exact.** The diagram is that of the values in the window and of nothing else, and [`Window::pairs`] computes it
//! from them alone. Stored state is just the values: what is rebuilt from them answers with the same bits.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blocks::Blocks;
use super::change::{Fate, end_point};
use super::front::{Front, longer, longest_of};
use super::longest::longest;
use super::pair::{Changes, Filtration, Pair};
use super::residue::{Point, Residue};

/// Sizes of small and large blocks: for windows of up to 2^14 values, where the single steps of one small block weigh
/// most, and for larger ones.
const SPANS: [[u64; 2]; 2] = [[64, 1024], [256, 8192]];

/// A window over a series, and its persistence.
///
/// ```
/// use eagre::topology::series::{pair::{Filtration, Pair}, window::Window};
/// let mut window = Window::new(Filtration::Sublevel, 0.0);
/// let mut changes = Vec::new();
/// for value in [0.0, 3.0, 1.0, 2.0] {
///     window.push(value, &mut ());
/// }
/// window.evict(&mut changes);
/// assert_eq!(changes, [
///     (false, Pair { birth: 1.0, death: 3.0, born: 2, died: Some(1) }),
///     (true, Pair { birth: 1.0, death: f64::INFINITY, born: 2, died: None }),
///     (false, Pair { birth: 0.0, death: f64::INFINITY, born: 0, died: None }),
/// ]);
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    filtration: Filtration,
    tolerance: f64,
    values: VecDeque<f64>,
    /// Position of the oldest value.
    head: u64,
    front: Front,
    back: Residue,
    /// The longest finite pair closed in the back.
    back_longest: f64,
    blocks: Blocks,
}

impl Window {
    /// An empty window. Pairs that live no longer than `tolerance` are left out, which moves the diagram by at most
    /// `tolerance / 2` in bottleneck distance: each of them can be matched to the diagonal at that cost. With 0 only
    /// pairs of no length are left out.
    pub fn new(filtration: Filtration, tolerance: f64) -> Window {
        Window::with_blocks(filtration, tolerance, SPANS[1])
    }

    /// An empty window with room for `count` values, and the best for as many.
    pub fn with_capacity(filtration: Filtration, tolerance: f64, count: usize) -> Window {
        let spans = SPANS[usize::from(count > 1 << 14)];
        Window { values: VecDeque::with_capacity(count), ..Window::with_blocks(filtration, tolerance, spans) }
    }

    /// An empty window with blocks of other sizes, which change its speed and nothing else.
    pub(super) fn with_blocks(filtration: Filtration, tolerance: f64, spans: [u64; 2]) -> Window {
        Window {
            filtration,
            tolerance,
            values: VecDeque::new(),
            head: 0,
            front: Front::default(),
            back: Residue::default(),
            back_longest: 0.0,
            blocks: Blocks::new(spans),
        }
    }

    /// How many values are in it.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Position of its oldest value: how many have left.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Position of the next value that enters.
    pub fn tail(&self) -> u64 {
        self.head + self.values.len() as u64
    }

    /// Whether it looks from this side, with this tolerance.
    pub(super) fn looks(&self, filtration: Filtration, tolerance: f64) -> bool {
        (self.filtration, self.tolerance) == (filtration, tolerance)
    }

    /// Its values, the oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied()
    }

    /// Adds a value at the right end and tells `changes` which pairs enter and leave the diagram. Refuses NaN: it
    /// changes nothing and returns false. Negative zero becomes zero; infinities are values.
    #[inline]
    pub fn push(&mut self, value: f64, changes: &mut impl Changes) -> bool {
        if value.is_nan() {
            return false;
        }
        // The sum of -0.0 and 0.0 is 0.0.
        let new = Point { value: value + 0.0, position: self.tail() };
        self.tell(&self.back, self.front.residue(), new, true, changes);
        self.values.push_back(new.value);
        let kept = self.back.kept::<false>(new);
        self.back_longest = longest_of(self.back_longest, &self.back.points()[kept..]);
        self.blocks.hear(new, &self.back, kept);
        self.back.place::<false>(kept, new);
        self.blocks.finish(new.position + 1, &self.back);
        true
    }

    /// Removes the oldest value and tells `changes` which pairs enter and leave the diagram. Returns false where there
    /// was none.
    #[inline]
    pub fn evict(&mut self, changes: &mut impl Changes) -> bool {
        let Some(&value) = self.values.front() else { return false };
        if self.front.span() != 1 {
            self.resolve();
        }
        let old = Point { value, position: self.head };
        self.front.undo();
        self.values.pop_front();
        self.head += 1;
        if self.head & (self.blocks.spans()[0] - 1) == 0 {
            self.blocks.forget(self.head);
        }
        self.tell(self.front.residue(), &self.back, old, false, changes);
        true
    }

    /// All pairs of the diagram, from the values alone: by birth's position for each side. O(n).
    pub fn pairs(&self) -> Vec<Pair> {
        let points = (self.head..).zip(self.values()).map(|(position, value)| Point { value, position });
        pairs(points, self.filtration, self.tolerance)
    }

    /// The greatest finite length in the diagram; 0 where there is none. O(log r).
    pub fn longest(&self) -> f64 {
        let closed = self.front.longest().max(self.back_longest);
        let (front, back) = (self.front.residue(), &self.back);
        let found = match self.filtration {
            Filtration::Sublevel => longest::<false>(front, back, closed),
            Filtration::Superlevel => longest::<true>(front, back, closed),
            Filtration::Extended => {
                let whole = self.extremes().map_or(0.0, |(low, high)| high.value - low.value);
                longest::<true>(front, back, longest::<false>(front, back, longer(closed, whole)))
            }
        };
        if found > self.tolerance { found } else { 0.0 }
    }

    /// Its lowest and its highest value; of equal ones the earliest and the latest.
    pub fn extremes(&self) -> Option<(Point, Point)> {
        let (front, back) = (self.front.residue(), &self.back);
        let one = |a: Option<Point>, b: Option<Point>, low: bool| match (a, b) {
            (Some(a), Some(b)) => Some(if a.below(b) == low { a } else { b }),
            (a, b) => a.or(b),
        };
        let lowest = one(front.last::<true>(), back.last::<true>(), true);
        let highest = one(front.last::<false>(), back.last::<false>(), false);
        lowest.zip(highest)
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>()
            + self.front.heap_bytes()
            + self.back.heap_bytes()
            + self.blocks.heap_bytes()
    }

    /// Makes the oldest value a step of its own.
    #[inline(never)]
    fn resolve(&mut self) {
        if self.front.span() == 0 {
            let tail = self.tail();
            let seam = tail - tail % self.blocks.spans()[0];
            if seam > self.head {
                // The back becomes what is in the unfinished block.
                let (points, longest) = self.blocks.open(&self.back);
                self.back.restore::<false>(0, points.into_iter());
                self.back_longest = longest;
                self.build(seam, self.blocks.spans()[1]);
            } else {
                self.back.clear();
                self.back_longest = 0.0;
                self.build(tail, 1);
            }
        }
        while self.front.span() > 1 {
            let span = self.front.span();
            self.front.undo();
            let finer = if span == self.blocks.spans()[0] { 1 } else { self.blocks.spans()[0] };
            self.build(self.head + span, finer);
        }
    }

    /// Builds the front from `end` leftwards to the oldest value, in steps as large as fit, but no larger than
    /// `largest`.
    fn build(&mut self, mut end: u64, largest: u64) {
        let [small, large] = self.blocks.spans();
        let fits = |span: u64, end: u64| span <= largest && end.is_multiple_of(span) && end - self.head >= span;
        while let Some(span) = [large, small].into_iter().find(|span| fits(*span, end)) {
            end -= span;
            let (points, longest) = self.blocks.block(span, end);
            self.front.prepend(span, points, longest);
        }
        let values = self.values.range(..(end - self.head) as usize);
        for (position, value) in (self.head..end).rev().zip(values.rev()) {
            self.front.prepend_value(Point { value: *value, position });
        }
    }

    /// Tells of the pairs that a value at the end of `near` changes, as it enters or as it leaves. Neither residue
    /// has it.
    #[inline(always)]
    fn tell<C: Changes>(&self, near: &Residue, far: &Residue, end: Point, enters: bool, changes: &mut C) {
        if !C::WANTED {
            return;
        }
        let (before, after) = match self.filtration {
            Filtration::Extended => turn(enters, self.extremes(), Some(widened(self.extremes(), end))),
            _ => (None, None),
        };
        let whole = |extremes: Option<(Point, Point)>| extremes.map(|(low, high)| Pair::new::<false>(low, Some(high)));
        if before != after {
            self.tell_pair(whole(before), None, changes);
        }
        if self.filtration != Filtration::Superlevel {
            end_point::<false>(near, far, end, |birth, without, with| {
                let (before, after) = turn(enters, without, with);
                self.tell_fate::<false>(birth, before, after, changes);
            });
        }
        if self.filtration != Filtration::Sublevel {
            end_point::<true>(near, far, end, |birth, without, with| {
                let (before, after) = turn(enters, without, with);
                self.tell_fate::<true>(birth, before, after, changes);
            });
        }
        if before != after {
            self.tell_pair(None, whole(after), changes);
        }
    }

    /// Tells of a birth whose fate was one and is another.
    #[inline(always)]
    fn tell_fate<const SUPER: bool>(&self, birth: Point, before: Fate, after: Fate, changes: &mut impl Changes) {
        let pair = |fate| match fate {
            Fate::Dies(death) => Some(Pair::new::<SUPER>(birth, Some(death))),
            Fate::Never if self.filtration != Filtration::Extended => Some(Pair::new::<SUPER>(birth, None)),
            Fate::Never | Fate::Absent => None,
        };
        if before != after {
            self.tell_pair(pair(before), pair(after), changes);
        }
    }

    #[inline(always)]
    fn tell_pair(&self, before: Option<Pair>, after: Option<Pair>, changes: &mut impl Changes) {
        if let Some(pair) = before.filter(|pair| pair.outlives(self.tolerance)) {
            changes.leave(pair);
        }
        if let Some(pair) = after.filter(|pair| pair.outlives(self.tolerance)) {
            changes.enter(pair);
        }
    }
}

/// What was and what is, for a record that enters or one that leaves.
#[inline(always)]
fn turn<T>(enters: bool, without: T, with: T) -> (T, T) {
    if enters { (without, with) } else { (with, without) }
}

/// Lowest and highest, with one more point.
#[inline(always)]
fn widened(extremes: Option<(Point, Point)>, new: Point) -> (Point, Point) {
    let (low, high) = extremes.unwrap_or((new, new));
    (if new.below(low) { new } else { low }, if high.below(new) { new } else { high })
}

/// All pairs of the diagram of these points, which come in order and without NaN. O(n).
pub(super) fn pairs(points: impl Iterator<Item = Point>, filtration: Filtration, tolerance: f64) -> Vec<Pair> {
    let mut residue = Residue::default();
    let (mut below, mut above) = (Vec::new(), Vec::new());
    for point in points {
        residue.push(point, |a, b| {
            let (low, high) = if a.below(b) { (a, b) } else { (b, a) };
            below.push(Pair::new::<false>(low, Some(high)));
            above.push(Pair::new::<true>(high, Some(low)));
        });
    }
    residue.pairs::<false>(|birth, death| below.push(Pair::new::<false>(birth, death)));
    residue.pairs::<true>(|birth, death| above.push(Pair::new::<true>(birth, death)));
    let mut all = match filtration {
        Filtration::Sublevel => below,
        Filtration::Superlevel => above,
        Filtration::Extended => {
            let finite = below.into_iter().chain(above).filter(|pair| pair.died.is_some());
            finite.chain(whole_pair(&residue)).collect()
        }
    };
    all.retain(|pair| pair.outlives(tolerance));
    all.sort_by_key(|pair| (pair.birth > pair.death, pair.born));
    all
}

/// The pair of the lowest and the highest value.
pub(super) fn whole_pair(residue: &Residue) -> Option<Pair> {
    residue.last::<true>().map(|lowest| Pair::new::<false>(lowest, residue.last::<false>()))
}

/// No series is longer.
pub(super) const POSITION_MAX: u64 = 1 << 62;

/// What is stored of a window.
#[derive(Serialize, Deserialize)]
struct Stored<V> {
    filtration: Filtration,
    tolerance: f64,
    head: u64,
    values: V,
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (filtration, tolerance, head) = (self.filtration, self.tolerance, self.head);
        Stored { filtration, tolerance, head, values: &self.values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    /// Rebuilds the window from its values. O(n).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        let stored = Stored::<Vec<f64>>::deserialize(deserializer)?;
        if stored.head > POSITION_MAX {
            return Err(serde::de::Error::custom("a stored window begins after the end of all series"));
        }
        let mut window = Window::with_capacity(stored.filtration, stored.tolerance, stored.values.len());
        window.head = stored.head;
        for value in stored.values {
            if !window.push(value, &mut ()) {
                return Err(serde::de::Error::custom("a window holds no NaN, but its stored state has one"));
            }
        }
        Ok(window)
    }
}
