//! Session and count windows: one run of records for each key, in canonical order.
//!
//! ```text
//! session   t1 t2  t3 |------ gap ------|            ends at t3 + gap; a record there or later begins another
//! count     [ part ][ part ][ part ]                 parts of gcd(count, slide) records; a window is the last so many
//! ```
//! Windows that close while a batch is gone through are only noted: the batch is folded whole, then they are told.

use super::accumulators::Copies;
use super::core::{Core, Fired, Firing, Shape};
use super::slots::NOWHERE;
use crate::batch::Batch;
use crate::fault::Failure;
use crate::key::{Bytes, KEY_GROUPS, KeyGroup, group_of};
use crate::operator::sweep::Sweep;
use crate::operator::{Copied, Copying, Instance, Outputs, StateRow};
use crate::schema::Field;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What ends a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// So many microseconds without a record.
    Gap(i64),
    /// So many records: in a part, in parts to a window, in parts from one window to the next.
    Records { part: u64, window: usize, slide: usize },
}

/// Windows made of runs, at work.
pub struct Runs {
    ending: Ending,
    core: Core,
    /// The run of each key, by its number.
    runs: Vec<Run>,
    /// When to look at which session: its end, or an earlier time that was its end once.
    timers: BTreeSet<(EventTime, u32)>,
    /// Windows that are closed and not told yet.
    closed: Vec<Closed>,
    /// The copy that is being made.
    copy: Option<PartialCopy>,
}

/// The records of a key that are in no closed window, or may be in another.
#[derive(Clone, Debug, Default)]
struct Run {
    first: EventTime,
    last: EventTime,
    /// How many records the last part holds; 0 where the next record begins one.
    filled: u64,
    parts: VecDeque<u32>,
}

/// A closed window: its parts, the first of which are not needed any more.
struct Closed {
    key: u32,
    window: (EventTime, EventTime),
    point: Option<EventTime>,
    parts: Vec<u32>,
    done: usize,
}

impl Runs {
    /// Nothing yet.
    pub fn new(ending: Ending, shape: Arc<Shape>) -> Runs {
        let core = Core::new(shape);
        Runs { ending, core, runs: Vec::new(), timers: BTreeSet::new(), closed: Vec::new(), copy: None }
    }

    fn assign(&mut self, batch: &Batch, failed: &[u32]) {
        let keys = batch.keys().expect("a step that is planned as keyed has keys");
        let times = batch.times();
        for (row, time) in times.iter().enumerate() {
            self.close(*time);
            if failed.binary_search(&(row as u32)).is_ok() {
                self.core.assigned.push(NOWHERE);
                continue;
            }
            let hash = keys.hashes()[row];
            self.core.touch(hash);
            let key = self.core.keys.find_or_add(hash, keys.key(row));
            if self.runs.len() <= key as usize {
                self.runs.resize(key as usize + 1, Run::default());
            }
            self.preserve(key);
            let slot = match self.ending {
                Ending::Gap(gap) => self.extend_session(key, *time, gap),
                Ending::Records { part, window, slide } => self.count(key, part, window, slide),
            };
            self.core.assigned.push(slot);
        }
    }

    /// Lets the copy that is being made have a key before it changes.
    fn preserve(&mut self, key: u32) {
        self.copy.iter_mut().for_each(|copy| copy.preserve(key, &self.runs, &mut self.core));
    }

    fn extend_session(&mut self, key: u32, time: EventTime, gap: i64) -> u32 {
        let run = &mut self.runs[key as usize];
        if run.parts.is_empty() {
            run.first = time;
            run.parts.push_back(self.core.slots.take());
            self.timers.insert((time.saturating_add(gap), key));
        }
        run.last = time;
        run.parts[0]
    }

    fn count(&mut self, key: u32, part: u64, window: usize, slide: usize) -> u32 {
        let run = &mut self.runs[key as usize];
        if run.filled == 0 {
            run.parts.push_back(self.core.slots.take());
        }
        let slot = *run.parts.back().expect("a part was begun");
        run.filled = (run.filled + 1) % part;
        if run.filled == 0 && run.parts.len() == window {
            let parts = run.parts.iter().copied().collect();
            run.parts.drain(..slide);
            self.closed.push(Closed { key, window: (0, 0), point: None, parts, done: slide });
        }
        slot
    }

    /// Closes the sessions that end up to a time, in order of end, start and key.
    fn close(&mut self, until: EventTime) {
        let Ending::Gap(gap) = self.ending else { return };
        while let Some(end) = self.timers.first().map(|(end, _)| *end).filter(|end| *end <= until) {
            let mut due = Vec::new();
            let later = self.timers.split_off(&(end + 1, 0));
            for (_, key) in std::mem::replace(&mut self.timers, later) {
                let true_end = self.runs[key as usize].last.saturating_add(gap);
                if true_end > end {
                    self.timers.insert((true_end, key));
                } else {
                    due.push(key);
                }
            }
            let keys = &self.core.keys;
            due.sort_unstable_by_key(|key| (self.runs[*key as usize].first, &*keys.entry(*key).bytes));
            for key in due {
                self.preserve(key);
                let run = &mut self.runs[key as usize];
                let parts = run.parts.drain(..).collect();
                self.closed.push(Closed { key, window: (run.first, end), point: Some(end), parts, done: 1 });
            }
        }
    }

    /// Tells the closed windows, in their order.
    fn tell(&mut self, out: &mut Outputs) {
        let closed = std::mem::take(&mut self.closed);
        for Closed { key, window, point, parts, .. } in &closed {
            let give = parts.len() > 1;
            let slot = if give { self.core.merged(parts.iter().copied()) } else { parts[0] };
            let hash = self.core.keys.entry(*key).hash;
            self.core.touch(hash);
            self.core.fired.push(Fired {
                key: *key,
                window: *window,
                point: *point,
                firing: Firing::OnTime,
                revision: 0,
                slot,
                give,
            });
        }
        self.core.flush(out);
        for Closed { key, parts, done, .. } in closed {
            self.core.slots.give(&parts[..done]);
            if self.runs[key as usize].parts.is_empty() {
                self.core.keys.forget(key);
            }
        }
        self.core.keys.recycle();
    }
}

/// A key of a key group on disk; a key group is a list of these, in order of key.
#[derive(Serialize, Deserialize)]
struct SavedRun {
    key: Vec<u8>,
    first: EventTime,
    last: EventTime,
    filled: u64,
    parts: Vec<Vec<u8>>,
}

/// A copy that is being made, of all as it was when it was begun: see [`sweep`](crate::operator::sweep). The partials
/// of its parts lie with the accumulators until it is whole.
struct PartialCopy {
    /// By key group.
    changed: Vec<bool>,
    /// The keys that it still wants, by number.
    wanted: Sweep,
    runs: Vec<CopiedRun>,
    /// How many parts they have.
    parts: usize,
}

struct CopiedRun {
    group: KeyGroup,
    bytes: Bytes,
    first: EventTime,
    last: EventTime,
    filled: u64,
    parts: Range<usize>,
}

impl PartialCopy {
    /// Takes a key before it changes, if it is still wanted.
    fn preserve(&mut self, key: u32, runs: &[Run], core: &mut Core) {
        if self.wanted.claim(key as usize) {
            self.take(key, runs, core);
        }
    }

    fn take(&mut self, key: u32, runs: &[Run], core: &mut Core) {
        let entry = core.keys.entry(key);
        let group = group_of(entry.hash);
        if self.changed[group as usize] {
            let Run { first, last, filled, parts } = &runs[key as usize];
            let copied = self.parts..self.parts + parts.len();
            self.parts = copied.end;
            let bytes = entry.bytes.clone();
            self.runs.push(CopiedRun { group, bytes, first: *first, last: *last, filled: *filled, parts: copied });
            let (front, back) = parts.as_slices();
            core.slots.copy(front);
            core.slots.copy(back);
        }
    }

    /// Makes bytes of it.
    fn save(&self, partials: &[Box<dyn Copies>], save: &mut dyn FnMut(KeyGroup, Vec<u8>)) {
        let part = |number: usize| {
            let mut bytes = Vec::new();
            partials.iter().for_each(|of| of.save(number, &mut bytes));
            bytes
        };
        let mut groups = vec![Vec::new(); KEY_GROUPS];
        self.runs.iter().for_each(|run| groups[run.group as usize].push(run));
        for (group, mut runs) in groups.into_iter().enumerate().filter(|(group, _)| self.changed[*group]) {
            runs.sort_unstable_by(|a, b| a.bytes.cmp(&*b.bytes));
            let saved = |run: &&CopiedRun| {
                let CopiedRun { bytes, first, last, filled, parts, .. } = run;
                let (key, parts) = (bytes.to_vec(), parts.clone().map(part).collect());
                SavedRun { key, first: *first, last: *last, filled: *filled, parts }
            };
            let runs: Vec<SavedRun> = runs.iter().map(saved).collect();
            let write = || postcard::to_stdvec(&runs).expect("state can be written");
            save(group as KeyGroup, if runs.is_empty() { Vec::new() } else { write() });
        }
    }
}

impl Instance for Runs {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        let (arguments, failed) = self.core.evaluate(batch, out);
        self.assign(batch, &failed);
        self.core.update(batch, &arguments, !failed.is_empty());
        self.tell(out);
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Outputs) {
        self.close(watermark);
        self.tell(out);
    }

    fn snapshot(&mut self) -> Copying {
        let changed = self.core.changed();
        if !changed.contains(&true) {
            return Copying::Unchanged;
        }
        let (wanted, runs) = (self.core.keys.wanted(), Vec::with_capacity(self.core.keys.len()));
        self.core.slots.expect_copies(self.core.keys.len());
        self.copy = Some(PartialCopy { changed, wanted, runs, parts: 0 });
        Copying::Begun
    }

    fn copy_on(&mut self, keys: usize) -> Option<Copied> {
        let copy = self.copy.as_mut()?;
        let enough = copy.parts.saturating_add(keys);
        for _ in 0..keys {
            if copy.parts > enough {
                break;
            }
            let Some(key) = copy.wanted.next() else {
                let (copy, partials) = (self.copy.take()?, self.core.slots.take_copies());
                return Some(Box::new(move |save| copy.save(&partials, save)));
            };
            copy.take(key as u32, &self.runs, &mut self.core);
        }
        None
    }

    fn restore(&mut self, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        let unreadable =
            |e: postcard::Error| Failure::new(format!("the windows of key group {group} cannot be read: {e}"));
        for SavedRun { key, first, last, filled, parts } in
            postcard::from_bytes::<Vec<SavedRun>>(bytes).map_err(unreadable)?
        {
            let id = self.core.keys.find_or_add(xxh3_64(&key), &key);
            self.runs.resize((id as usize + 1).max(self.runs.len()), Run::default());
            let mut slots = VecDeque::new();
            for partials in parts {
                let slot = self.core.slots.take();
                self.core.slots.load(slot, &partials)?;
                slots.push_back(slot);
            }
            self.runs[id as usize] = Run { first, last, filled, parts: slots };
            if let Ending::Gap(gap) = self.ending {
                self.timers.insert((last.saturating_add(gap), id));
            }
        }
        Ok(())
    }

    fn form(&self) -> String {
        self.core.shape.form()
    }

    fn keys(&self) -> usize {
        self.core.keys.len()
    }

    fn inspect(&mut self, see: &mut dyn FnMut(StateRow<'_>)) {
        let keys: Vec<u32> = self.core.keys.living().filter(|key| !self.runs[*key as usize].parts.is_empty()).collect();
        let mut rows = Vec::new();
        for key in keys {
            let Run { first, last, parts, .. } = &self.runs[key as usize];
            let bytes = parts.iter().map(|slot| self.core.slots.save(*slot).len()).sum();
            let end = if let Ending::Gap(gap) = self.ending { last.saturating_add(gap) } else { *last };
            let give = parts.len() > 1;
            let slot = if give { self.core.merged(parts.iter().copied()) } else { parts[0] };
            let (window, firing) = ((*first, end), Firing::OnTime);
            rows.push((Fired { key, window, point: None, firing, revision: 0, slot, give }, bytes));
        }
        self.core.show(&mut rows, see);
    }

    fn remembers(&self) -> Vec<Field> {
        self.core.shape.remembers()
    }
}
