//! Store and forward: records that cannot be had again wait in files, in order, until they are delivered.
//!
//! ```text
//!  append ─> tail segment ─ sync ─> durable                     DIR/TOPIC/0000000007-00000000000000004711.spool
//!              │ full: the next one                                       ordinal    number of its first record
//!              v
//!            segments ─ peek, advance ─> (a producer) ─ delivered ─ sync ─> removed, oldest first
//! ```
//! Records are numbered from 1. A segment only ever grows at its end, by [entries](entry) that carry checksums:
//! records, and marks that say what is durable and what is delivered.
//!
//! What it guarantees, each with its trial on a [disk that fails](crate::disk):
//!
//! 1. What [`Spool::sync`] made durable is given out in order and without a gap until it is said to be delivered,
//!    through any number of killed processes and power cuts. What was appended and not yet synced survives a killed
//!    process; a power cut takes an end of it, never a piece of the middle.
//! 2. Nothing is delivered twice but what was in flight: after a killed process it is what came after the last
//!    [`Spool::mark`], after a power cut what came after the last sync.
//! 3. An end that is torn is cut, and [`Opened`] says so. Damage to what was durable is a failure that names file and
//!    byte; with [`Limits::skip_damaged`] it is skipped and counted. (Of records that were delivered it may be told
//!    falsely, where the folder could not be synced and the power was cut later on.)
//! 4. A failed sync is final: the spool takes no more, and what it had not made durable is written anew, into another
//!    file, by the process that opens it next. A full disk is not: the same call may do better when there is room.
//! 5. Memory: two segments at most.
//!
//! Rules that recovery rests on: a segment is synced before the next one is made, so of all but the last every byte
//! counts. Where the records of two segments overlap, the newer segment is right. Before a segment is removed, a mark
//! says that it was delivered; and they are removed one at a time, the folder being synced in between.

pub mod entry;
mod recovery;
#[cfg(test)]
mod trials;

pub use entry::Record;

use crate::disk::{Disk, RealDisk};
use crate::fault::Failure;
use entry::Entry;
use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much a spool may hold, and whether it goes on behind damage.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The bytes of all segments; some marks, 25 bytes each, may come on top.
    pub bytes_max: u64,
    /// A segment that has as many bytes is followed by another.
    pub segment_bytes: u64,
    /// Whether records that are damaged are skipped and counted, instead of failing.
    pub skip_damaged: bool,
}

/// What was found when a spool was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// How many records are left to deliver.
    pub left: u64,
    /// What was cut off or skipped, for people.
    pub notices: Vec<String>,
}

/// Records on their way.
pub struct Spool {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limits: Limits,
    /// Oldest first; the last one is the tail's, if there is a tail.
    segments: VecDeque<Segment>,
    tail: Option<Tail>,
    /// Records of the last segment that may not be durable, as they are to be written into the first tail.
    unsure: Vec<u8>,
    reading: Reading,
    ordinal_next: u64,
    last: u64,
    durable: u64,
    delivered: u64,
    marked: u64,
    next: u64,
    lost: u64,
    /// Damaged records that are passed over: they count as delivered when all before them are.
    skipped: VecDeque<(u64, u64)>,
    failed: Option<Failure>,
    _lock: Option<File>,
}

struct Segment {
    path: PathBuf,
    ordinal: u64,
    first: u64,
    bytes: u64,
}

/// The segment that grows, as it is on the disk.
struct Tail {
    bytes: Vec<u8>,
    /// Whether its entry in the folder is durable.
    entered: bool,
    /// Whether a failed write left rubbish at its end.
    spoiled: bool,
    /// Whether anything was written since it was synced.
    dirty: bool,
}

/// Where records are read: in the tail, if the ordinal is its, else in these bytes.
#[derive(Default)]
struct Reading {
    ordinal: Option<u64>,
    bytes: Vec<u8>,
    at: usize,
}

/// Why a write did not happen.
enum Unwritten {
    /// There is no room; later there may be.
    Full,
    Failed(Failure),
}

impl Spool {
    /// Opens the spool in a folder, which is made if need be. Fails if another process has it open, and on damage.
    pub fn open(folder: &Path, limits: Limits) -> Result<(Spool, Opened), Failure> {
        let there = folder.ancestors().find(|path| path.exists()).map_or(0, |path| path.components().count());
        let cannot = |error: io::Error| failure("cannot make the folder", folder, &error);
        fs::create_dir_all(folder).map_err(cannot)?;
        for made in folder.ancestors().filter(|path| path.components().count() > there) {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            RealDisk.sync_folder(parent).map_err(cannot)?;
        }
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| failure("cannot open", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is in use by another process", folder.display());
                return Err(Failure::new(message).help("wait for it to end, or name another folder"));
            }
            Err(TryLockError::Error(error)) => return Err(failure("cannot lock", &path, &error)),
        }
        let (mut spool, opened) = Spool::on(Arc::new(RealDisk), folder, limits)?;
        spool._lock = Some(lock);
        Ok((spool, opened))
    }

    /// The same on a file system of the caller's, which must see to it that nobody else opens it.
    pub fn on(disk: Arc<dyn Disk>, folder: &Path, limits: Limits) -> Result<(Spool, Opened), Failure> {
        let found = recovery::look(disk.as_ref(), folder, limits.skip_damaged)?;
        let delivered = found.delivered;
        let spool = Spool {
            disk,
            folder: folder.to_owned(),
            limits,
            ordinal_next: found.segments.back().map_or(1, |segment| segment.ordinal + 1),
            segments: found.segments,
            tail: None,
            unsure: found.unsure,
            reading: Reading::default(),
            last: found.last,
            durable: found.durable,
            delivered,
            marked: delivered,
            next: delivered + 1,
            lost: found.lost,
            skipped: VecDeque::new(),
            failed: None,
            _lock: None,
        };
        let left = spool.left();
        Ok((spool, Opened { left, notices: found.notices }))
    }

    /// Takes records, as many as there is room for, and says how many. A process that is killed does not lose them.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<usize, Failure> {
        let mut taken = 0;
        while taken < records.len() {
            match self.append_some(&records[taken..]) {
                Ok(0) | Err(Unwritten::Full) => break,
                Ok(number) => taken += number,
                // Some were taken: the next call fails.
                Err(Unwritten::Failed(_)) if taken > 0 => break,
                Err(Unwritten::Failed(failure)) => return Err(failure),
            }
        }
        Ok(taken)
    }

    /// Makes what was appended and marked durable, and removes what was delivered. A full disk is no failure:
    /// [`Spool::safe`] tells how far it came.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.mark()?;
        let removable = self.segments.len() > 1 && self.end_of(0) <= self.delivered;
        let synced = match &self.tail {
            Some(_) => self.sync_tail().map_err(Unwritten::Failed),
            // Marks of a former process say what is removable: they may not be durable.
            None if removable || !self.unsure.is_empty() => self.rotate(),
            None => Ok(()),
        };
        unless_full(synced)?;
        // While the newest segment may not be durable, older ones may have the only records that are.
        while self.unsure.is_empty() && self.segments.len() > 1 && self.end_of(0) <= self.delivered {
            self.remove_first()?;
        }
        Ok(())
    }

    /// Notes how far things were delivered, so that a process that is killed does not send them again. A full disk is
    /// no failure.
    pub fn mark(&mut self) -> Result<(), Failure> {
        if self.marked == self.delivered || self.segments.is_empty() {
            return Ok(());
        }
        let ready = if self.is_ready() { Ok(()) } else { self.rotate() };
        unless_full(ready.and_then(|()| if self.marked < self.delivered { self.write_mark() } else { Ok(()) }))
    }

    /// The next record and its number; `None` when all have been given out.
    pub fn peek(&mut self) -> Result<Option<(u64, Record<'_>)>, Failure> {
        while self.next <= self.last {
            if let Some(at) = self.find_next()? {
                let read = Entry::read(self.readable(), at);
                return Ok(read.and_then(|(entry, _)| match entry {
                    Entry::Record(number, record) => Some((number, record)),
                    _ => None,
                }));
            }
        }
        Ok(None)
    }

    /// Goes on behind the record that was peeked.
    pub fn advance(&mut self) {
        debug_assert!(self.next <= self.last, "there is a record to go on behind");
        self.next += 1;
    }

    /// All records up to this number, which were given out, are delivered.
    pub fn delivered(&mut self, number: u64) {
        debug_assert!(number < self.next, "only what was given out can be delivered");
        self.delivered = self.delivered.max(number);
        while let Some((_, last)) = self.skipped.pop_front_if(|(first, _)| *first <= self.delivered + 1) {
            self.delivered = self.delivered.max(last);
        }
    }

    /// Leaves what is not delivered durable. If all is delivered, it leaves a file that says so, of about a hundred
    /// bytes: numbers go on from there, so that files which a failing disk brings back are known for old.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.sync()?;
        if self.left() > 0 || self.bytes() < SMALL {
            return Ok(());
        }
        unless_full(self.rotate())?;
        self.sync()
    }

    /// How many records are not delivered.
    pub fn left(&self) -> u64 {
        self.last - self.delivered
    }

    /// The number of the last record that was appended.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Up to this number records are durable or delivered.
    pub fn safe(&self) -> u64 {
        self.durable.max(self.delivered)
    }

    /// How many damaged records were skipped.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends to one segment.
    fn append_some(&mut self, records: &[Record<'_>]) -> Result<usize, Unwritten> {
        let grown = |tail: &Tail| tail.bytes.len() as u64 >= self.limits.segment_bytes;
        if !self.is_ready() || self.tail.as_ref().is_some_and(grown) {
            self.rotate()?;
        }
        let used = self.tail.as_ref().map_or(0, |tail| tail.bytes.len() as u64);
        let room = self.limits.bytes_max.saturating_sub(self.bytes());
        let (mut bytes, mut number) = (Vec::new(), 0);
        for record in records {
            let written = bytes.len() as u64;
            if written + record.bytes() as u64 > room || used + written >= self.limits.segment_bytes {
                break;
            }
            number += 1;
            Entry::Record(self.last + number, *record).write(&mut bytes);
        }
        if number > 0 {
            self.write(&bytes)?;
            self.last += number;
            self.tail.iter_mut().for_each(|tail| tail.dirty = true);
        }
        Ok(number as usize)
    }

    /// Whether there is a tail that can be written.
    fn is_ready(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| !tail.spoiled)
    }

    /// Begins a new tail, when the former one is durable.
    fn rotate(&mut self) -> Result<(), Unwritten> {
        if self.tail.is_some() {
            self.sync_tail().map_err(Unwritten::Failed)?;
        }
        self.whole().map_err(Unwritten::Failed)?;
        let ordinal = self.ordinal_next;
        self.ordinal_next += 1;
        let first = self.durable + 1;
        let path = self.folder.join(format!("{ordinal:010}-{first:020}.{ENDING}"));
        let mut bytes = Vec::new();
        Entry::Start { first, delivered: self.delivered }.write(&mut bytes);
        bytes.extend_from_slice(&self.unsure);
        // What is before the first one of a process may not be durable: its start must be, for it says what is
        // delivered.
        let is_first = self.tail.is_none();
        let made = if is_first { self.put(&path, &bytes) } else { self.disk.write(&path, &bytes) };
        if let Err(error) = made {
            if !is_first {
                // It is of no use to anybody; what cannot be removed does no harm.
                let _ = self.disk.remove(&path);
            }
            return Err(self.unwritten("cannot write", &path, &error));
        }
        self.unsure.clear();
        let former = self.segments.back().map(|segment| segment.ordinal);
        self.segments.push_back(Segment { path, ordinal, first, bytes: bytes.len() as u64 });
        let tail = self.tail.replace(Tail { bytes, entered: is_first, spoiled: false, dirty: !is_first });
        if let Some(tail) = tail.filter(|_| former == self.reading.ordinal) {
            self.reading.bytes = tail.bytes;
        }
        if is_first {
            self.durable = self.last;
            self.write_mark()?;
        }
        Ok(())
    }

    /// Puts a file there, whole and durable. After an error it may be there, whole; it stays then, for if it were
    /// removed and came back, its ordinal would have been given to another.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = path.with_extension(ASIDE);
        let put = self.disk.write(&aside, bytes).and_then(|()| self.disk.sync(&aside));
        let put = put.and_then(|()| self.disk.rename(&aside, path)).and_then(|()| self.disk.sync_folder(&self.folder));
        put.inspect_err(|_| drop(self.disk.remove(&aside)))
    }

    fn sync_tail(&mut self) -> Result<(), Failure> {
        self.whole()?;
        let (Some(tail), Some(segment)) = (&mut self.tail, self.segments.back()) else { return Ok(()) };
        if !tail.dirty {
            return Ok(());
        }
        let synced = self.disk.sync(&segment.path);
        let synced = synced.and_then(|()| if tail.entered { Ok(()) } else { self.disk.sync_folder(&self.folder) });
        if let Err(error) = synced {
            let failure = failure("cannot make durable", &segment.path, &error);
            return Err(self.fails(
                failure.help("the disk may be broken; what it held for written is written anew by the next run"),
            ));
        }
        (tail.entered, tail.dirty) = (true, false);
        let news = self.durable < self.last;
        self.durable = self.last;
        if news && !tail.spoiled { unless_full(self.write_mark()) } else { Ok(()) }
    }

    fn write_mark(&mut self) -> Result<(), Unwritten> {
        let mut bytes = Vec::new();
        Entry::Mark { durable: self.durable, delivered: self.delivered }.write(&mut bytes);
        self.write(&bytes)?;
        if self.marked < self.delivered {
            self.marked = self.delivered;
            self.tail.iter_mut().for_each(|tail| tail.dirty = true);
        }
        Ok(())
    }

    /// Writes to the end of the tail.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        self.whole().map_err(Unwritten::Failed)?;
        let (Some(tail), Some(segment)) = (&mut self.tail, self.segments.back_mut()) else { return Ok(()) };
        segment.bytes += bytes.len() as u64;
        if let Err(error) = self.disk.append(&segment.path, bytes) {
            tail.spoiled = true;
            let path = segment.path.clone();
            return Err(self.unwritten("cannot write", &path, &error));
        }
        tail.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The place of the next record in what is readable. `None` if it is damaged and was skipped, with those behind it.
    fn find_next(&mut self) -> Result<Option<usize>, Failure> {
        let index = self.segments.iter().rposition(|segment| segment.first <= self.next);
        let index = index.expect("what is not delivered lies in a segment");
        let Segment { ordinal, ref path, .. } = self.segments[index];
        if self.reading.ordinal != Some(ordinal) {
            let is_tail = self.tail.is_some() && index + 1 == self.segments.len();
            let bytes = if is_tail { Ok(Vec::new()) } else { self.disk.read(path) };
            let bytes = bytes.map_err(|error| failure("cannot read", path, &error))?;
            self.reading = Reading { ordinal: Some(ordinal), bytes, at: 0 };
        }
        loop {
            match Entry::read(self.readable(), self.reading.at) {
                Some((Entry::Record(number, _), _)) if number == self.next => return Ok(Some(self.reading.at)),
                Some((Entry::Record(number, _), _)) if number > self.next => break,
                Some((_, after)) => self.reading.at = after,
                None => break,
            }
        }
        let end = self.end_of(index);
        if !self.limits.skip_damaged {
            return Err(recovery::damaged(&self.segments[index].path, self.reading.at, self.next, end));
        }
        self.lost += end + 1 - self.next;
        self.skipped.push_back((self.next, end));
        self.next = end + 1;
        self.delivered(self.delivered);
        Ok(None)
    }

    fn readable(&self) -> &[u8] {
        match (&self.tail, self.segments.back()) {
            (Some(tail), Some(segment)) if self.reading.ordinal == Some(segment.ordinal) => &tail.bytes,
            _ => &self.reading.bytes,
        }
    }

    /// The last record of a segment.
    fn end_of(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(self.last, |next| next.first - 1)
    }

    fn remove_first(&mut self) -> Result<(), Failure> {
        self.whole()?;
        let Some(segment) = self.segments.pop_front() else { return Ok(()) };
        let removed = self.disk.remove(&segment.path).and_then(|()| self.disk.sync_folder(&self.folder));
        removed.map_err(|error| self.fails(failure("cannot remove", &segment.path, &error)))
    }

    fn whole(&self) -> Result<(), Failure> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fails(&mut self, failure: Failure) -> Failure {
        self.failed = Some(failure.clone());
        failure
    }

    fn unwritten(&mut self, what: &str, path: &Path, error: &io::Error) -> Unwritten {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Unwritten::Full,
            _ => Unwritten::Failed(self.fails(failure(what, path, error))),
        }
    }
}

/// A segment without records is smaller, and one with some marks may be.
const SMALL: u64 = 256;

/// What the names of segments end with, and what those end with that are not whole yet.
const ENDING: &str = "spool";
const ASIDE: &str = "aside";

fn unless_full(done: Result<(), Unwritten>) -> Result<(), Failure> {
    match done {
        Err(Unwritten::Failed(failure)) => Err(failure),
        Ok(()) | Err(Unwritten::Full) => Ok(()),
    }
}

fn failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;
    use crate::stats::random::Random;

    const SMALL: Limits = Limits { bytes_max: 4_000, segment_bytes: 300, skip_damaged: false };
    const FOLDER: &str = "spool/readings";

    fn open(disk: &SimulatedDisk, limits: Limits) -> Result<(Spool, Opened), Failure> {
        Spool::on(Arc::new(disk.clone()), Path::new(FOLDER), limits)
    }

    /// Appends records of 100 bytes in the file; gives how many there was room for.
    fn append(spool: &mut Spool, texts: std::ops::Range<u32>) -> usize {
        let payloads: Vec<String> = texts.map(|text| format!("{text:063}")).collect();
        let record = |payload: &String| (payload.clone(), b"keyed!!!");
        let owned: Vec<_> = payloads.iter().map(record).collect();
        let records: Vec<Record<'_>> =
            owned.iter().map(|(text, key)| Record { time: 5, key: Some(&key[..]), payload: text.as_bytes() }).collect();
        spool.append(&records).expect("appended")
    }

    /// Takes what is left, as numbers; a failure is the last.
    fn rest(spool: &mut Spool) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match spool.peek() {
                Ok(Some((number, record))) => {
                    let text = String::from_utf8_lossy(record.payload).trim_start_matches('0').to_owned();
                    all.push(text);
                    spool.advance();
                    spool.delivered(number);
                }
                Ok(None) => return all,
                Err(failure) => {
                    all.push(failure.to_string());
                    return all;
                }
            }
        }
    }

    /// A disk with records 1 to 9 in segments of three, all synced.
    fn nine() -> (SimulatedDisk, Vec<PathBuf>) {
        let disk = SimulatedDisk::new(1);
        let (mut spool, _) = open(&disk, SMALL).expect("a spool");
        for begin in [1, 4, 7] {
            assert_eq!(append(&mut spool, begin..begin + 3), 3);
        }
        spool.sync().expect("synced");
        let files = disk.list(Path::new(FOLDER)).expect("a list");
        assert_eq!(files.len(), 3);
        (disk, files)
    }

    #[test]
    fn a_torn_end_is_cut_and_that_is_said() {
        let disk = SimulatedDisk::new(1);
        let (mut spool, opened) = open(&disk, SMALL).expect("a spool");
        assert_eq!(opened, Opened::default());
        append(&mut spool, 1..3);
        drop(spool);
        let file = disk.list(Path::new(FOLDER)).expect("a list").remove(0);
        disk.damage(&file, |bytes| bytes.truncate(bytes.len() - 1));
        let (mut spool, opened) = open(&disk, SMALL).expect("a spool");
        assert_eq!(opened.left, 1);
        let notice = "the last 99 bytes are no whole record and are cut, as after a crash";
        assert_eq!(opened.notices, [format!("{}: {notice}", file.display())]);
        append(&mut spool, 7..8);
        assert_eq!(rest(&mut spool), ["1", "7"]);
    }

    #[test]
    fn damage_is_told_with_its_place_or_skipped() {
        let skips = Limits { skip_damaged: true, ..SMALL };
        let check = |which: usize, change: fn(&mut Vec<u8>), told: &[&str], skipped: &[&str], lost: u64| {
            let (disk, files) = nine();
            disk.damage(&files[which], change);
            let found = match open(&disk, SMALL) {
                Ok((mut spool, _)) => rest(&mut spool),
                Err(failure) => vec![failure.to_string()],
            };
            let told: Vec<String> =
                told.iter().map(|text| text.replace("FILE", &files[which].display().to_string())).collect();
            assert_eq!(found, told);
            let (mut spool, _) = open(&disk, skips).expect("a spool");
            assert_eq!(
                (rest(&mut spool), spool.left(), spool.lost()),
                (skipped.iter().map(|s| s.to_string()).collect(), 0, lost)
            );
            assert_eq!(append(&mut spool, 10..11), 1);
            assert_eq!(rest(&mut spool), ["10"]);
        };
        let help = |from: u32, to: u32| {
            format!("\n  help: --skip-damaged goes on behind what cannot be read: records {from} to {to} are lost then")
        };
        let second = format!("FILE is damaged at byte 138: record 5 should be there{}", help(5, 6));
        let flip: fn(&mut Vec<u8>) = |bytes| bytes[200] ^= 1;
        check(1, flip, &["1", "2", "3", "4", &second], &["1", "2", "3", "4", "7", "8", "9"], 2);
        let newest = format!("FILE is damaged at byte 138: record 8 should be there{}", help(8, 9));
        check(2, flip, &[&newest], &["1", "2", "3", "4", "5", "6", "7"], 2);
        let empty = format!("FILE is damaged at byte 0: record 1 should be there{}", help(1, 3));
        check(0, Vec::clear, &[&empty], &["4", "5", "6", "7", "8", "9"], 3);
    }

    #[test]
    fn whatever_is_on_disk_is_given_right_or_refused() {
        for seed in 0..2_000 {
            let (disk, files) = nine();
            let random = &mut Random::new(seed);
            for _ in 0..1 + random.pick(3) {
                disk.damage(&files[random.pick(3) as usize], |bytes| {
                    let (at, with) = (random.pick(bytes.len() as u64) as usize, random.next_u64() as u8);
                    match random.pick(4) {
                        0 => bytes.truncate(at + 1),
                        1 => bytes.insert(at, with),
                        2 => bytes.extend_from_within(at..),
                        _ => bytes[at] = with,
                    }
                });
            }
            for limits in [SMALL, Limits { skip_damaged: true, ..SMALL }] {
                let Ok((mut spool, _)) = open(&disk, limits) else { continue };
                let mut found = rest(&mut spool);
                found.pop_if(|last| last.contains(" is damaged at byte ") && !limits.skip_damaged);
                let numbers: Vec<u32> = found.iter().map(|text| text.parse().expect("a number")).collect();
                assert!(
                    numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|n| (1..10).contains(n)),
                    "{seed}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_segment_that_is_gone_is_missed() {
        let (disk, files) = nine();
        disk.remove(&files[1]).expect("removed");
        let (mut spool, _) = open(&disk, SMALL).expect("a spool");
        let found = rest(&mut spool);
        assert!(found.len() == 4 && found[3].contains("record 4 should be there"), "{found:?}");
    }

    #[test]
    fn a_full_spool_takes_again_what_was_delivered() {
        let disk = SimulatedDisk::new(1);
        let (mut spool, _) = open(&disk, SMALL).expect("a spool");
        let taken = append(&mut spool, 0..100);
        assert!((30..40).contains(&taken) && spool.bytes() < SMALL.bytes_max + 100, "{taken}");
        assert_eq!(append(&mut spool, 0..1), 0);
        assert_eq!(rest(&mut spool).len(), taken);
        spool.sync().expect("synced");
        let again = append(&mut spool, 0..100);
        assert!((30..40).contains(&again), "{again}");
        spool.finish().expect("finished");
        assert_eq!(open(&disk, SMALL).expect("a spool").1.left, again as u64);
    }

    #[test]
    fn two_processes_do_not_share_a_spool() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/c");
        let (mut spool, _) = Spool::open(&path, SMALL).expect("a spool");
        append(&mut spool, 1..12);
        let failure = Spool::open(&path, SMALL).err().expect("in use").to_string();
        assert!(failure.contains("a/b/c is in use by another process"), "{failure}");
        drop(spool);
        let (mut spool, opened) = Spool::open(&path, SMALL).expect("a spool");
        assert_eq!((opened.left, rest(&mut spool).len()), (11, 11));
        spool.finish().expect("finished");
        assert_eq!(Spool::open(&path, SMALL).expect("a spool").1, Opened::default());
    }
}
