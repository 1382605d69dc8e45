//! Where every source partition stands: shared by all readers, so that a silent one can follow the others, a hasty one
//! wait for them, and a person be told which of them holds a window open.
//!
//! Partitions that other processes read are among them, as those processes said last: their watermarks may have come
//! further meanwhile, never less far.

use super::wall;
use crate::origin::Origin;
use crate::time::{BEFORE_ALL, EventTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

/// All partitions of a running job.
pub struct Partitions {
    /// Sources that meet in some step have one group: their watermarks are merged there.
    groups: Vec<usize>,
    places: Mutex<Places>,
    /// Called when there is news for other processes.
    teller: Option<Teller>,
}

/// Says that there is something to tell.
pub type Teller = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Places {
    standings: BTreeMap<Origin, Standing>,
    /// Those of this process that have moved on since that was last told.
    news: BTreeSet<Origin>,
    /// What was heard of partitions that have not been added yet.
    early: BTreeMap<Origin, Report>,
}

/// What a process tells the others of one of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    origin: Origin,
    watermark: EventTime,
    newest: EventTime,
    sequence: i64,
    records: u64,
    behind: Option<u64>,
    quiet: bool,
    idle: bool,
    ended: bool,
}

/// Where a partition stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its source, by number.
    pub source: usize,
    /// Its name in the job.
    pub name: String,
    /// Its name within the source.
    pub log: String,
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
        Partitions { groups, places: Mutex::default(), teller: None }
    }

    /// The same, calling when there is news for other processes.
    pub fn telling(self, teller: Option<Teller>) -> Partitions {
        Partitions { teller, ..self }
    }

    /// Adds a partition, with its names in the job and within the source, about which nothing is known yet.
    pub fn add(&self, source: usize, origin: Origin, (name, log): (&str, &str)) {
        let (name, log, advanced) = (name.to_owned(), log.to_owned(), wall::now());
        let standing = Standing {
            source,
            name,
            log,
            watermark: BEFORE_ALL,
            newest: BEFORE_ALL,
            sequence: -1,
            records: 0,
            behind: None,
            quiet: false,
            idle: false,
            ended: false,
            advanced,
        };
        self.with(|places| {
            let standing = places.standings.entry(origin).or_insert(standing);
            places.early.remove(&origin).iter().for_each(|report| standing.hear(report));
        });
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
        self.with(|places| places.standings.get_mut(&origin).map(|standing| standing.behind = records));
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
            let speaking = places.standings.values().filter(meets).filter(|s| !s.idle).map(|s| s.watermark).min();
            let all = || places.standings.values().filter(meets).map(|s| s.watermark).max();
            speaking.or_else(all).unwrap_or(BEFORE_ALL)
        })
    }

    /// The least watermark of the partitions that meet those of `source` in some step and still have something to give,
    /// one that has not spoken yet included; none when there are none. Who is far ahead of it would only fill memory.
    pub fn slowest(&self, source: usize) -> Option<EventTime> {
        let gives = |s: &&Standing| self.groups[s.source] == self.groups[source] && !s.quiet && !s.ended;
        self.with(|places| places.standings.values().filter(gives).map(|s| s.watermark).min())
    }

    /// Where every partition stands, by origin.
    pub fn all(&self) -> Vec<(Origin, Standing)> {
        self.with(|places| places.standings.iter().map(|(origin, standing)| (*origin, standing.clone())).collect())
    }

    /// Where those partitions of this process stand that have moved on since this was last asked.
    pub fn news(&self) -> Vec<Report> {
        self.with(|places| {
            let news = std::mem::take(&mut places.news);
            news.into_iter().filter_map(|origin| Some(places.standings.get(&origin)?.report(origin))).collect()
        })
    }

    /// Hears where partitions of another process stand.
    pub fn hear(&self, reports: Vec<Report>) {
        self.with(|places| {
            for report in reports {
                match places.standings.get_mut(&report.origin) {
                    Some(standing) => standing.hear(&report),
                    None => drop(places.early.insert(report.origin, report)),
                }
            }
        });
    }

    /// The name of a partition within its source.
    pub fn log(&self, origin: Origin) -> String {
        self.with(|places| places.standings.get(&origin).map_or_else(String::new, |standing| standing.log.clone()))
    }

    fn change(&self, origin: Origin, change: impl FnOnce(&mut Standing)) {
        let tells = self.teller.is_some();
        let is_first = self.with(|places| {
            let Some(standing) = places.standings.get_mut(&origin) else { return false };
            let before = standing.report(origin);
            change(standing);
            let is_news = tells && standing.report(origin) != before;
            let is_first = is_news && places.news.is_empty();
            places.news.extend(is_news.then_some(origin));
            is_first
        });
        if let Some(teller) = self.teller.as_ref().filter(|_| is_first) {
            teller();
        }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Places) -> R) -> R {
        look(&mut self.places.lock().expect("no reader panics while it notes where it stands"))
    }
}

impl Standing {
    fn report(&self, origin: Origin) -> Report {
        let Standing { watermark, newest, sequence, records, behind, quiet, idle, ended, .. } = *self;
        Report { origin, watermark, newest, sequence, records, behind, quiet, idle, ended }
    }

    fn hear(&mut self, report: &Report) {
        let Report { newest, sequence, records, behind, quiet, idle, ended, .. } = *report;
        (self.newest, self.sequence, self.records, self.behind) = (newest, sequence, records, behind);
        (self.quiet, self.idle, self.ended) = (quiet, idle, ended);
        rise(self, report.watermark);
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn only_those_that_speak_hold_the_others_back() {
        let reached = |watermark| Reached { watermark, newest: watermark };
        let partitions = Partitions::new(vec![0, 0, 1]);
        for (origin, source) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
            partitions.add(source, origin, ("p", "log"));
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
        partitions.add(0, 4, ("p", "log"));
        partitions.begin(4, 60);
        assert_eq!((partitions.reached(0), partitions.slowest(0)), (60, Some(51)));
    }

    #[test]
    fn other_processes_are_told_what_is_new_and_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        let teller: Teller = Box::new(move || {
            called.fetch_add(1, SeqCst);
        });
        let (here, there) = (Partitions::new(vec![0]).telling(Some(teller)), Partitions::new(vec![0]));
        let reached = |watermark| Reached { watermark, newest: watermark };
        (0..2).for_each(|origin| here.add(0, origin, ("p", "log")));
        here.advance(0, reached(5), Some(3), 4);
        here.advance(1, reached(7), Some(0), 1);
        here.idle(1, 9);
        there.add(0, 0, ("p", "log"));
        there.hear(here.news());
        assert_eq!((there.reached(0), here.reached(0)), (5, 5));
        there.add(0, 1, ("p", "log"));
        there.advance(0, reached(20), None, 0);
        there.idle(0, 20);
        assert_eq!(there.reached(0), 20, "what was heard early is kept: the other is idle, at 9");
        here.idle(1, 9);
        here.behind(0, Some(3));
        assert!(here.news().is_empty(), "that is not new");
        here.end(0);
        here.end(1);
        let ended: Vec<_> = here.news().iter().map(|report| (report.origin, report.ended)).collect();
        assert_eq!((ended, calls.load(SeqCst)), (vec![(0, true), (1, true)], 2));
    }
}
