//! What is in the folder of a spool after anything that may have happened to it.
//!
//! The newest segment is read whole: marks in it say what was durable and what was delivered. The others are known by
//! their names, and checked when their records are given out.

use super::entry::{self, Entry};
use super::{ASIDE, ENDING, Segment, failure};
use crate::disk::Disk;
use crate::fault::Failure;
use std::collections::VecDeque;
use std::path::Path;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Oldest first.
    pub segments: VecDeque<Segment>,
    /// The number of the last record.
    pub last: u64,
    /// Up to this number records are durable for certain.
    pub durable: u64,
    /// Up to this number records were delivered.
    pub delivered: u64,
    /// The entries behind what is durable.
    pub unsure: Vec<u8>,
    /// How many damaged records were skipped.
    pub lost: u64,
    /// What was cut off or skipped.
    pub notices: Vec<String>,
}

/// Looks into a folder. Reads the newest segment, older ones only while the newest says nothing.
pub(super) fn look(disk: &dyn Disk, folder: &Path, skip_damaged: bool) -> Result<Found, Failure> {
    let files = disk.list(folder).map_err(|error| failure("cannot list", folder, &error))?;
    let mut found = Found::default();
    for path in files {
        match name_of(&path) {
            Some((ordinal, first)) => found.segments.push_back(Segment { path, ordinal, first, bytes: 0 }),
            // What was not finished when its process ended. Where it cannot be removed it does no harm.
            None if path.extension().is_some_and(|ending| ending == ASIDE) => drop(disk.remove(&path)),
            None => {}
        }
    }
    found.segments.make_contiguous().sort_unstable_by_key(|segment| (segment.ordinal, segment.first));
    for segment in &mut found.segments {
        segment.bytes = disk.size(&segment.path).map_err(|error| failure("cannot look at", &segment.path, &error))?;
    }
    let Some(first) = found.segments.iter().map(|segment| segment.first).min() else { return Ok(found) };
    found.delivered = first - 1;
    found.read_newest(disk, skip_damaged)?;
    Ok(found)
}

impl Found {
    fn read_newest(&mut self, disk: &dyn Disk, skip_damaged: bool) -> Result<(), Failure> {
        let mut newest = None;
        for segment in self.segments.iter().rev() {
            let bytes = disk.read(&segment.path).map_err(|error| failure("cannot read", &segment.path, &error))?;
            let scan = Scan::of(&bytes, segment.first);
            self.delivered = self.delivered.max(scan.delivered);
            let began = scan.end > 0;
            newest.get_or_insert((segment, bytes, scan));
            if began {
                break;
            }
        }
        let Some((segment, bytes, scan)) = newest else { return Ok(()) };
        self.last = scan.last.max(self.delivered);
        let notice = |what: String| format!("{}: {what}", segment.path.display());
        if scan.durable > self.last {
            if !skip_damaged {
                return Err(damaged(&segment.path, scan.end, self.last + 1, scan.durable));
            }
            self.lost = scan.durable - self.last;
            self.notices.push(notice(format!("{} damaged records are skipped", self.lost)));
        } else if scan.end < bytes.len() {
            let cut = bytes.len() - scan.end;
            self.notices
                .push(notice(format!("the last {cut} bytes are no whole record and are cut, as after a crash")));
        }
        self.durable = scan.durable.clamp(segment.first - 1, scan.last.max(segment.first - 1)).max(self.delivered);
        self.unsure = behind(&bytes[..scan.end], self.durable).to_vec();
        Ok(())
    }
}

/// The ordinal and the first number that a segment's name says: `0000000007-00000000000000004711.spool`.
fn name_of(path: &Path) -> Option<(u64, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?.strip_suffix('.')?;
    let (ordinal, first) = name.split_once('-')?;
    let first: u64 = first.parse().ok().filter(|first| *first > 0)?;
    Some((ordinal.parse().ok()?, first))
}

/// What the newest segment says.
struct Scan {
    /// Where its entries end, or cannot be read further.
    end: usize,
    /// The last record before that.
    last: u64,
    /// What its marks say, those behind the end too.
    durable: u64,
    delivered: u64,
}

impl Scan {
    /// O(n) in the bytes.
    fn of(bytes: &[u8], first: u64) -> Scan {
        let mut scan = Scan { end: 0, last: first - 1, durable: 0, delivered: 0 };
        while let Some((entry, next)) = Entry::read(bytes, scan.end) {
            match entry {
                Entry::Start { first: said, delivered } if scan.end == 0 && said == first => scan.delivered = delivered,
                Entry::Record(number, _) if scan.end > 0 && number == scan.last + 1 => scan.last = number,
                Entry::Mark { durable, delivered } if scan.end > 0 => scan.hear(durable, delivered),
                _ => break,
            }
            scan.end = next;
        }
        // A mark says so by its length: what is not one is passed over without a checksum.
        let length = ((entry::MARK - 8) as u32).to_le_bytes();
        let rest = &bytes[scan.end..];
        for at in memchr::memmem::find_iter(rest, &length) {
            if let Some((Entry::Mark { durable, delivered }, _)) = Entry::read(rest, at) {
                scan.hear(durable, delivered);
            }
        }
        scan
    }

    fn hear(&mut self, durable: u64, delivered: u64) {
        self.durable = self.durable.max(durable);
        self.delivered = self.delivered.max(delivered);
    }
}

/// The entries from the first record behind a number.
fn behind(entries: &[u8], number: u64) -> &[u8] {
    let mut at = 0;
    while let Some((entry, next)) = Entry::read(entries, at) {
        if matches!(entry, Entry::Record(of, _) if of > number) {
            return &entries[at..];
        }
        at = next;
    }
    &[]
}

/// What was durable cannot be read.
pub(super) fn damaged(path: &Path, at: usize, first: u64, last: u64) -> Failure {
    let message = format!("{} is damaged at byte {at}: record {first} should be there", path.display());
    Failure::new(message)
        .help(format!("--skip-damaged goes on behind what cannot be read: records {first} to {last} are lost then"))
}
