//! Where every source partition stands: shared by all readers, so that a silent one can follow the others, a hasty one
//! wait for them, and a person be told which of them holds a window open.

use super::wall;
use crate::origin::Origin;
use crate::time::{BEFORE_ALL, EventTime};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// All partitions of a running job.
pub struct Partitions {
    /// Sources that meet in some step have one group: their watermarks are merged there.
    groups: Vec<usize>,
    places: Mutex<BTreeMap<Origin, Standing>>,
}

/// Where a partition stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its source, by number.
    pub source: usize,
    /// Its name.
    pub name: String,
    /// Its watermark.
    pub watermark: EventTime,
    /// The newest event time that was read.
    pub newest: EventTime,
    /// The sequence of the last record that was read.
    pub sequence: i64,
    /// How many records were read.
    pub records: u64,
    /// How many records it holds that have not been read, where the source knows.
    pub behind: Option<u64>,
    /// Whether it has given all that it has: it is not catching up.
    pub quiet: bool,
    /// Whether it has been silent for so long that nobody waits for it.
    pub idle: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// When its watermark last rose.
    pub advanced: Instant,
}

/// How far event time has come in a partition.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Its watermark.
    pub watermark: EventTime,
    /// Its newest event time.
    pub newest: EventTime,
}

impl Partitions {
    /// Partitions of sources that belong to these groups.
    pub fn new(groups: Vec<usize>) -> Partitions {
        Partitions { groups, places: Mutex::default() }
    }

    /// Adds a partition; gives the watermark that it begins with.
    pub fn add(&self, source: usize, origin: Origin, name: &str, watermark: EventTime) {
        let (name, advanced) = (name.to_owned(), wall::now());
        let standing = Standing {
            source,
            name,
            watermark,
            newest: BEFORE_ALL,
            sequence: -1,
            records: 0,
            behind: None,
            quiet: false,
            idle: false,
            ended: false,
            advanced,
        };
        self.with(|places| places.insert(origin, standing));
    }

    /// Notes where a partition begins that is added while the job runs: at the beginning of time it would be taken for
    /// the slowest, and everyone, it included, would wait for it.
    pub fn begin(&self, origin: Origin, watermark: EventTime) {
        self.change(origin, |standing| rise(standing, watermark));
    }

    /// Notes what was read of a partition.
    pub fn advance(&self, origin: Origin, reached: Reached, sequence: Option<i64>, records: u64) {
        self.change(origin, |standing| {
            standing.sequence = sequence.unwrap_or(standing.sequence);
            standing.records += records;
            standing.quiet = false;
            standing.idle = false;
            standing.newest = reached.newest;
            rise(standing, reached.watermark);
        });
    }

    /// Notes how many records a partition holds that have not been read.
    pub fn behind(&self, origin: Origin, records: Option<u64>) {
        self.change(origin, |standing| standing.behind = records);
    }

    /// Notes that a partition has given all that it has.
    pub fn quiet(&self, origin: Origin) {
        self.change(origin, |standing| standing.quiet = true);
    }

    /// Notes that a partition has been silent for long, and where its watermark was raised to.
    pub fn idle(&self, origin: Origin, watermark: EventTime) {
        self.change(origin, |standing| {
            standing.idle = true;
            rise(standing, watermark);
        });
    }

    /// Notes that a partition has ended.
    pub fn end(&self, origin: Origin) {
        self.change(origin, |standing| standing.ended = true);
    }

    /// What the partitions that meet those of `source` in some step have reached: the least watermark of those that are
    /// neither silent nor ended. Where all are silent, the greatest: none of them waits for another.
    pub fn reached(&self, source: usize) -> EventTime {
        let meets = |s: &&Standing| self.groups[s.source] == self.groups[source] && !s.ended;
        self.with(|places| {
            let speaking = places.values().filter(meets).filter(|s| !s.idle).map(|s| s.watermark).min();
            let all = || places.values().filter(meets).map(|s| s.watermark).max();
            speaking.or_else(all).unwrap_or(BEFORE_ALL)
        })
    }

    /// The least watermark of the partitions that meet those of `source` in some step and still have something to give,
    /// one that has not spoken yet included; none when there are none. Who is far ahead of it would only fill memory.
    pub fn slowest(&self, source: usize) -> Option<EventTime> {
        let gives = |s: &&Standing| self.groups[s.source] == self.groups[source] && !s.quiet && !s.ended;
        self.with(|places| places.values().filter(gives).map(|s| s.watermark).min())
    }

    /// Where every partition stands, by origin.
    pub fn all(&self) -> Vec<(Origin, Standing)> {
        self.with(|places| places.iter().map(|(origin, standing)| (*origin, standing.clone())).collect())
    }

    fn change(&self, origin: Origin, change: impl FnOnce(&mut Standing)) {
        self.with(|places| places.get_mut(&origin).map(change));
    }

    fn with<R>(&self, look: impl FnOnce(&mut BTreeMap<Origin, Standing>) -> R) -> R {
        look(&mut self.places.lock().expect("no reader panics while it notes where it stands"))
    }
}

fn rise(standing: &mut Standing, watermark: EventTime) {
    if watermark > standing.watermark {
        standing.watermark = watermark;
        standing.advanced = wall::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_speak_hold_the_others_back() {
        let reached = |watermark| Reached { watermark, newest: watermark };
        let partitions = Partitions::new(vec![0, 0, 1]);
        for (origin, source) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
            partitions.add(source, origin, "p", BEFORE_ALL);
        }
        partitions.advance(0, reached(50), Some(3), 4);
        partitions.advance(2, reached(40), Some(0), 1);
        assert_eq!((partitions.reached(0), partitions.slowest(0)), (BEFORE_ALL, Some(BEFORE_ALL)));
        partitions.quiet(1);
        assert_eq!((partitions.reached(0), partitions.slowest(0)), (BEFORE_ALL, Some(40)));
        partitions.idle(1, 40);
        assert_eq!((partitions.reached(0), partitions.reached(2)), (40, BEFORE_ALL));
        partitions.end(2);
        assert_eq!(partitions.reached(0), 50);
        partitions.idle(0, 51);
        assert_eq!(partitions.reached(0), 51, "all are silent: what is in the newest window is not waited for either");
        partitions.add(0, 4, "p", BEFORE_ALL);
        partitions.begin(4, 60);
        assert_eq!((partitions.reached(0), partitions.slowest(0)), (60, Some(51)));
    }
}
