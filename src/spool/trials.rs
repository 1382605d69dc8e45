//! The spool against a disk that fills up, tears writes, loses what was not synced and fails, held to a ledger of what
//! was taken. Compiled with `SEED=n` it tries that one seed, with `SEEDS=n` so many.

use super::{Limits, Record, Spool};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::fault::Failure;
use crate::stats::random::Random;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const SEEDS: u64 = 2_000;
const FOLDER: &str = "spool/readings";

/// A spool, and what is known of the lines that were given to it.
struct Trial {
    random: Random,
    disk: SimulatedDisk,
    limits: Limits,
    spool: Option<Spool>,
    /// All lines that were taken, by what is in them, but those that a power cut took. The record of the first would
    /// have the number `before + 1`.
    lines: Vec<u64>,
    before: i64,
    line_next: u64,
    /// Lines that were not taken for want of room. The bytes of some may be on the disk.
    refused: BTreeSet<u64>,
    /// How many of the lines are given out, delivered, delivered when last marked, delivered when last synced, safe.
    given: usize,
    delivered: usize,
    marked: usize,
    synced: usize,
    safe: usize,
    /// How many were delivered before, which a power cut may have made forgotten.
    ever: usize,
    /// What was tried, to be sure that it was tried.
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    cuts: u64,
    kills: u64,
    failures: u64,
    full: u64,
    lost: u64,
    twice: u64,
    alarms: u64,
}

/// What is in a line: its number in all of the trial, and something more.
fn payload(line: u64) -> Vec<u8> {
    let more = line.wrapping_mul(0x9E37_79B9) % 180;
    line.to_le_bytes().into_iter().chain((0..more).map(|i| i as u8)).collect()
}

fn number_of(record: Record<'_>) -> u64 {
    let line = u64::from_le_bytes(record.payload[..8].try_into().expect("eight bytes"));
    assert_eq!(record.payload, payload(line), "a line is changed");
    assert_eq!((record.time, record.key), (line as i64, key(line).as_deref()), "a line is changed");
    line
}

fn key(line: u64) -> Option<Vec<u8>> {
    (!line.is_multiple_of(3)).then(|| vec![b'k'; line as usize % 5])
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let mut random = Random::new(seed);
        let limits = Limits {
            bytes_max: 1_500 + random.pick(12_000),
            segment_bytes: 200 + random.pick(2_000),
            skip_damaged: false,
        };
        let mut trial = Trial {
            disk: SimulatedDisk::new(seed),
            random,
            limits,
            spool: None,
            lines: Vec::new(),
            before: 0,
            line_next: 0,
            refused: BTreeSet::new(),
            given: 0,
            delivered: 0,
            marked: 0,
            synced: 0,
            safe: 0,
            ever: 0,
            seen: Seen::default(),
        };
        trial.open();
        trial
    }

    fn open(&mut self) {
        let opened = Spool::on(Arc::new(self.disk.clone()), Path::new(FOLDER), self.limits);
        let (spool, found) = opened.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(found.left, spool.left());
        self.spool = Some(spool);
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().expect("it is open")
    }

    fn step(&mut self) {
        if self.spool.is_none() {
            return;
        }
        let mut done = Ok(());
        match self.random.pick(100) {
            0..30 => done = self.append(),
            30..55 => done = self.give(),
            55..70 => self.deliver(),
            70..78 => done = self.mark(),
            78..90 => done = self.sync(),
            90..92 => done = self.finish(),
            92..95 => self.ends(false),
            95..97 => self.ends(true),
            _ => self.disk.fail([0, 0, 5, 30][self.random.pick(4) as usize]),
        }
        if done.is_err() {
            self.seen.failures += 1;
            let cut = self.random.pick(2) == 0;
            self.ends(cut);
        }
        if let Some(spool) = &self.spool {
            self.safe = self.safe.max((spool.durable as i64 - self.before).max(0) as usize);
        }
    }

    fn append(&mut self) -> Result<(), Failure> {
        let new: Vec<u64> = (0..1 + self.random.pick(12)).map(|i| self.line_next + i).collect();
        let bytes: Vec<_> = new.iter().map(|line| (key(*line), payload(*line))).collect();
        let record = |(line, (key, payload)): (&u64, &'_ (Option<Vec<u8>>, Vec<u8>))| {
            (*line as i64, key.clone(), payload.clone())
        };
        let owned: Vec<_> = new.iter().zip(&bytes).map(record).collect();
        let records: Vec<Record<'_>> =
            owned.iter().map(|(time, key, payload)| Record { time: *time, key: key.as_deref(), payload }).collect();
        let (before, appended) = (self.spool().last(), self.spool().append(&records));
        let taken = *appended.as_ref().unwrap_or(&0);
        assert_eq!(self.spool().last(), before + taken as u64);
        self.lines.extend(&new[..taken]);
        self.refused.extend(&new[taken..]);
        self.line_next += new.len() as u64;
        appended?;
        assert!(taken == 0 || self.spool().bytes() < self.limits.bytes_max + 100, "more than there is room for");
        self.seen.full += u64::from(taken < new.len());
        Ok(())
    }

    fn give(&mut self) -> Result<(), Failure> {
        for _ in 0..self.random.pick(10) {
            let number = (self.before + self.given as i64 + 1) as u64;
            let Some((found, record)) = self.spool().peek()? else {
                assert_eq!(self.given, self.lines.len(), "not all is given out");
                break;
            };
            let line = number_of(record);
            assert_eq!((found, line), (number, self.lines[self.given]), "out of order");
            self.spool().advance();
            self.given += 1;
        }
        Ok(())
    }

    fn deliver(&mut self) {
        self.delivered += self.random.pick((self.given - self.delivered) as u64 + 1) as usize;
        self.spool_delivered();
        assert_eq!(self.spool().left() as usize, self.lines.len() - self.delivered);
    }

    fn spool_delivered(&mut self) {
        let number = (self.before + self.delivered as i64).max(0) as u64;
        self.spool().delivered(number);
        self.ever = self.ever.max(self.delivered);
    }

    fn mark(&mut self) -> Result<(), Failure> {
        let full = self.is_full();
        self.spool().mark()?;
        self.marked = if full { self.marked } else { self.delivered };
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let full = self.is_full();
        self.spool().sync()?;
        if !full {
            self.marked = self.delivered;
            // Marks of a former process stay as they are until this one writes something.
            self.synced = if self.spool().tail.is_some() { self.delivered } else { self.synced };
            assert_eq!(self.spool().safe(), self.spool().last());
        }
        Ok(())
    }

    /// Whether notes may find no room.
    fn is_full(&mut self) -> bool {
        self.disk.fails()
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let full = self.is_full();
        self.spool.take().expect("it is open").finish()?;
        if !full {
            self.safe = self.lines.len();
            self.marked = self.delivered;
        }
        if !full && self.delivered == self.lines.len() {
            self.is_empty();
        }
        self.reopens(false);
        Ok(())
    }

    /// The process ends, by a power cut or by a signal.
    fn ends(&mut self, cut: bool) {
        self.spool = None;
        if cut {
            self.disk.cut_power();
            self.seen.cuts += 1;
        } else {
            self.seen.kills += 1;
        }
        self.reopens(cut);
    }

    /// Holds what is found to what is known.
    fn reopens(&mut self, cut: bool) {
        self.open();
        let mut found = match self.rest() {
            Ok(found) => found,
            Err(failure) => return self.alarmed(&failure),
        };
        let taken = found.iter().take_while(|line| !self.refused.contains(line)).count();
        let refused = found.split_off(taken);
        assert!(refused.iter().all(|line| self.refused.contains(line)), "a gap behind lines that were not taken");
        let place = |line: u64| self.lines.iter().position(|other| *other == line).expect("a line that was removed");
        let end = found.last().map_or(self.lines.len().min(self.delivered), |last| place(*last) + 1);
        let begin = found.first().map_or(end, |first| place(*first));
        assert_eq!(found, self.lines[begin..end], "a gap");
        assert!(begin <= self.ever, "the lines before {begin} are lost, only {} were delivered", self.ever);
        let marked = if cut { self.synced } else { self.marked };
        assert!(begin >= marked, "{} lines are given twice, though it was noted", marked - begin);
        let kept = if cut { self.safe } else { self.lines.len() };
        assert!(end.max(self.ever) >= kept, "{} lines are lost at the end", kept - end);
        self.seen.lost += (self.lines.len() - end) as u64;
        self.seen.twice += self.delivered.saturating_sub(begin) as u64;
        self.lines.truncate(end);
        self.ever = self.ever.min(end);
        self.safe = self.safe.min(end);
        self.refused.retain(|line| !refused.contains(line));
        self.lines.extend(refused);
        (self.given, self.delivered, self.marked) = (begin, begin, begin);
        self.synced = if cut { begin } else { self.synced };
        self.open();
        self.before = (self.spool().last() - self.spool().left()) as i64 - begin as i64;
    }

    /// All that the spool gives out.
    fn rest(&mut self) -> Result<Vec<u64>, Failure> {
        let mut found = Vec::new();
        while let Some((_, record)) = self.spool().peek()? {
            found.push(number_of(record));
            self.spool().advance();
        }
        Ok(found)
    }

    /// Damage is told though nobody damaged anything. That may be only where records that had been delivered came back
    /// in part: the folder could not be synced, and then the power was cut. What was not delivered is all there.
    fn alarmed(&mut self, failure: &Failure) {
        assert!(self.seen.failures + self.seen.full > 0, "{failure:?}");
        self.seen.alarms += 1;
        self.limits.skip_damaged = true;
        self.open();
        let mut found = self.rest().expect("what is damaged is skipped");
        let delivered = &self.lines[..self.ever];
        found.retain(|line| !delivered.contains(line));
        let end = self.ever + found.len();
        assert!(self.lines.get(self.ever..end) == Some(&found) && end >= self.safe, "{failure:?}: {found:?}");
        self.spool = None;
    }

    /// Everything is delivered in the end, and nothing is left behind.
    fn drains(&mut self) {
        self.disk.fail(0);
        self.ends(false);
        while self.given < self.lines.len() {
            self.give().expect("nothing fails any more");
        }
        self.delivered = self.given;
        self.spool_delivered();
        self.spool.take().expect("it is open").finish().expect("nothing fails any more");
        self.is_empty();
    }

    /// Whether next to nothing is left on the disk, but for what was not finished: the next process clears that away.
    fn is_empty(&self) {
        let mut files = self.disk.list(Path::new(FOLDER)).expect("a list");
        files.retain(|file| file.extension().is_none_or(|ending| ending != super::ASIDE));
        let bytes: u64 = files.iter().map(|file| self.disk.size(file).expect("a file")).sum();
        assert!(bytes < super::SMALL, "{files:?}");
    }
}

#[test]
fn nothing_that_is_safe_is_lost_and_nothing_comes_out_of_order() {
    let number = |text: Option<&str>| text.map(|text| text.parse::<u64>().expect("a number"));
    let (only, seeds) = (number(option_env!("SEED")), number(option_env!("SEEDS")).unwrap_or(SEEDS));
    let mut seen = Seen::default();
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        let run = std::panic::catch_unwind(|| {
            let mut trial = Trial::new(seed);
            (0..300).for_each(|_| trial.step());
            if trial.spool.is_some() {
                trial.drains();
            }
            trial.seen
        });
        let one = run.unwrap_or_else(|_| panic!("seed {seed}"));
        seen.cuts += one.cuts;
        seen.kills += one.kills;
        seen.failures += one.failures;
        seen.full += one.full;
        seen.lost += one.lost;
        seen.twice += one.twice;
        seen.alarms += one.alarms;
    }
    println!("{seeds} seeds: {seen:?}");
    let all = [seen.cuts, seen.kills, seen.failures, seen.full, seen.lost, seen.twice];
    assert!(only.is_some() || all.iter().all(|number| *number > seeds), "not all was tried: {seen:?}");
    assert!(seen.alarms <= seeds / 500, "damage is told where there is none: {seen:?}");
}
