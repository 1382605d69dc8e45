//! The arithmetic of windows, panes and points: pure, in microseconds.
//!
//! ```text
//! time    --|----|----|----|----|----|-->   panes: the greatest common divisor of size, slide and early
//!           [  window w       )             w + size is its end: the point of its first result
//!                [  window w + slide  )
//! stamps    A record that came late is put into a bucket: the smallest cut above its stamp. Cuts are all the points
//!           at which anything fires or closes, so "stamped below X" is "in a bucket up to X" for every point X.
//! ```
//! A bucket that nothing can tell from "on time" is [`ON_TIME`]: the record came before its pane was used at all.

use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime, floor_to};

/// The bucket of records that came before their pane was used for the first time. Below all other buckets.
pub const ON_TIME: EventTime = EventTime::MIN;

/// The pane and the window of everything: a global window's.
pub const WHOLE: EventTime = EventTime::MIN;

/// The shape of the windows of a step. All lengths in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The length of a window; 0 where there is one window of everything.
    pub size: i64,
    /// How far apart windows begin; the size where they tumble.
    pub slide: i64,
    /// The length of a pane; 0 where there is one pane of everything.
    pub pane: i64,
    /// Windows, corrections and early results begin at `offset + k * slide`.
    pub offset: i64,
    /// How long after its end a window still takes records.
    pub allowed: i64,
    /// How far apart corrections are.
    pub correct: i64,
    /// How far apart early results are.
    pub early: Option<i64>,
}

impl Grid {
    /// Whether there is one window of everything.
    pub fn whole(&self) -> bool {
        self.size == 0
    }

    /// The pane that holds a time: its start.
    #[inline]
    pub fn pane_of(&self, time: EventTime) -> EventTime {
        if self.pane == 0 { WHOLE } else { floor_to(time, self.pane, self.offset) }
    }

    /// The end of a pane. That of the whole is before every point: it can be used at any.
    pub fn pane_end(&self, pane: EventTime) -> EventTime {
        if pane == WHOLE { WHOLE } else { pane.saturating_add(self.pane) }
    }

    /// The end of a window.
    pub fn end_of(&self, window: EventTime) -> EventTime {
        if self.whole() { AFTER_ALL } else { window.saturating_add(self.size) }
    }

    /// The start of the last window that holds a pane.
    pub fn last_window(&self, pane: EventTime) -> EventTime {
        if self.whole() { WHOLE } else { floor_to(pane, self.slide, self.offset) }
    }

    /// The stamp from which on a record is late for the window with this end.
    pub fn deadline(&self, end: EventTime) -> EventTime {
        end.saturating_add(self.allowed)
    }

    /// The last point at which the window with this end may fire.
    pub fn last_point(&self, end: EventTime) -> EventTime {
        if self.allowed == 0 { end } else { self.correction(self.deadline(end)) }
    }

    /// The point of corrections at or after a bucket.
    pub fn correction(&self, bucket: EventTime) -> EventTime {
        ceil_to(bucket, self.correct, self.offset)
    }

    /// The smallest window end at or after a time.
    pub fn end_from(&self, time: EventTime) -> EventTime {
        ceil_to(time, self.slide, self.end_phase())
    }

    /// The smallest window end above a time; none before all time, nor of a window of everything.
    pub fn next_end_after(&self, time: EventTime) -> Option<EventTime> {
        (!self.whole() && time != BEFORE_ALL).then(|| self.next_end(time))
    }

    fn next_end(&self, time: EventTime) -> EventTime {
        above(time, self.slide, self.end_phase())
    }

    /// The bucket of a record of this pane that came when its partition's watermark was `stamp`.
    pub fn bucket(&self, pane: EventTime, stamp: EventTime) -> EventTime {
        if stamp < self.first_use(pane) {
            return ON_TIME;
        }
        let mut cut = AFTER_ALL;
        if !self.whole() {
            cut = cut.min(self.next_end(stamp));
        }
        if self.allowed > 0 {
            cut = cut.min(above(stamp, self.correct, self.offset));
            cut = cut.min(above(stamp, self.slide, self.end_phase().saturating_add(self.allowed)));
        }
        self.early.map_or(cut, |early| cut.min(above(stamp, early, self.offset)))
    }

    /// Whether the result at `point` of the window with this end holds the records of a bucket.
    #[inline]
    pub fn includes(&self, bucket: EventTime, end: EventTime, point: EventTime) -> bool {
        bucket <= point && bucket <= self.deadline(end)
    }

    /// Whether the records of a bucket of a pane are new at `point` to the window with this end.
    pub fn is_new(&self, pane: EventTime, bucket: EventTime, end: EventTime, point: EventTime) -> bool {
        match point.cmp(&end) {
            std::cmp::Ordering::Less => self.early_point(pane, bucket) == Some(point),
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => bucket > end && self.correction(bucket) == point,
        }
    }

    /// The windows that hold a pane, latest first.
    pub fn windows(&self, pane: EventTime) -> impl Iterator<Item = EventTime> {
        let earlier = move |window: &EventTime| {
            let earlier = window.saturating_sub(self.slide);
            let holds = !self.whole() && earlier < *window && self.end_of(earlier) >= self.pane_end(pane);
            holds.then_some(earlier)
        };
        std::iter::successors(Some(self.last_window(pane)), earlier)
    }

    /// Calls with every point and window at which a bucket of a pane is used for the first time.
    pub fn uses(&self, pane: EventTime, bucket: EventTime, mut visit: impl FnMut(EventTime, EventTime)) {
        let early = self.early_point(pane, bucket);
        for window in self.windows(pane) {
            let end = self.end_of(window);
            if bucket > end && bucket <= self.deadline(end) {
                visit(self.correction(bucket), window);
            } else if bucket <= end {
                early.filter(|point| *point < end).into_iter().for_each(|point| visit(point, window));
                visit(end, window);
            }
        }
    }

    /// The point of the first early result that holds a bucket of a pane.
    fn early_point(&self, pane: EventTime, bucket: EventTime) -> Option<EventTime> {
        let from = self.pane_end(pane).max(bucket);
        self.early.filter(|_| from != WHOLE).map(|early| ceil_to(from, early, self.offset))
    }

    /// The first point that uses what is on time in a pane.
    fn first_use(&self, pane: EventTime) -> EventTime {
        let end = if self.whole() { AFTER_ALL } else { self.end_from(self.pane_end(pane)) };
        self.early_point(pane, ON_TIME).map_or(end, |early| early.min(end))
    }

    fn end_phase(&self) -> i64 {
        self.offset.saturating_add(self.size)
    }
}

/// The smallest point of a grid at or after a time.
fn ceil_to(time: EventTime, step: i64, offset: i64) -> EventTime {
    let below = floor_to(time, step, offset);
    if below == time { below } else { below.saturating_add(step) }
}

/// The smallest point of a grid after a time.
fn above(time: EventTime, step: i64, offset: i64) -> EventTime {
    floor_to(time, step, offset).saturating_add(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPPING: Grid = Grid { size: 30, slide: 10, pane: 10, offset: 0, allowed: 15, correct: 10, early: None };
    const TUMBLING: Grid = Grid { size: 10, slide: 10, pane: 10, offset: 3, allowed: 0, correct: 10, early: None };

    fn uses(grid: &Grid, pane: EventTime, bucket: EventTime) -> Vec<(EventTime, EventTime)> {
        let mut all = Vec::new();
        grid.uses(pane, bucket, |point, window| all.push((point, window)));
        all.sort_unstable();
        all
    }

    #[test]
    fn a_pane_belongs_to_its_windows() {
        assert_eq!(uses(&HOPPING, 20, ON_TIME), [(30, 0), (40, 10), (50, 20)]);
        assert_eq!(uses(&TUMBLING, -7, ON_TIME), [(3, -7)]);
        assert_eq!((TUMBLING.pane_of(2), TUMBLING.pane_of(3)), (-7, 3));
        assert_eq!((HOPPING.last_window(20), HOPPING.last_point(30), TUMBLING.last_point(13)), (20, 50, 13));
    }

    #[test]
    fn a_late_bucket_is_used_by_the_windows_that_still_take_it() {
        // Stamp 35: the window that ended at 30 takes it until 45 and tells at 40; the others have it when they end.
        assert_eq!(HOPPING.bucket(20, 35), 40);
        assert_eq!(uses(&HOPPING, 20, 40), [(40, 0), (40, 10), (50, 20)]);
        // Stamp 47: too late for that window, although its last point is 50.
        assert_eq!(HOPPING.bucket(20, 47), 50);
        assert_eq!(uses(&HOPPING, 20, 50), [(50, 10), (50, 20)]);
        // Stamp 45 lies at the deadline itself.
        assert_eq!((HOPPING.bucket(20, 44), HOPPING.bucket(20, 45)), (45, 50));
        assert_eq!(HOPPING.bucket(20, 29), ON_TIME);
    }

    #[test]
    fn early_points_need_complete_panes() {
        let grid = Grid { early: Some(5), pane: 5, size: 20, slide: 20, allowed: 0, ..HOPPING };
        assert_eq!(uses(&grid, 5, ON_TIME), [(10, 0), (20, 0)]);
        assert_eq!(uses(&grid, 15, ON_TIME), [(20, 0)]);
        assert_eq!((grid.bucket(0, 4), grid.bucket(0, 5)), (ON_TIME, 10));
        assert!(grid.is_new(5, ON_TIME, 20, 10) && !grid.is_new(5, ON_TIME, 20, 15));
        let whole = Grid { size: 0, slide: 0, pane: 5, early: Some(5), ..grid };
        assert_eq!(uses(&whole, 5, ON_TIME), [(10, WHOLE), (AFTER_ALL, WHOLE)]);
        assert_eq!(uses(&Grid { pane: 0, early: None, ..whole }, WHOLE, ON_TIME), [(AFTER_ALL, WHOLE)]);
    }
}
