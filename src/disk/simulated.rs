//! A disk for tests: it keeps what was synced and nothing else, and fails when it is told to.
//!
//! - Data that was not synced survives a power cut in part: up to any length, any of its sectors written or not,
//!   perhaps with a wrong byte at its end.
//! - An entry of a folder that was created, renamed or removed since the folder was synced may survive or not, each for
//!   itself.
//! - After a failed `sync` the system holds the data for written: the next `sync` says that all is well, and it is not.
//! - A write for which there is no room leaves a part of its bytes.

use super::Disk;
use crate::stats::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk in memory; its clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// How many of a hundred calls fail.
    fails: u32,
    contents: Vec<Content>,
    /// What the running system sees, and what a power cut leaves.
    seen: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Entries that were changed since the folder was synced.
    changed: Vec<PathBuf>,
}

/// A file: as the running system sees it, and as it is on the disk. Of what is seen, so many bytes are held for
/// written.
#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    clean: usize,
}

/// What a disk writes at once.
const SECTOR: usize = 512;

impl SimulatedDisk {
    /// An empty disk that does not fail.
    pub fn new(seed: u64) -> SimulatedDisk {
        let random = Random::new(seed ^ 0xD15C);
        let (contents, seen, durable, changed) = Default::default();
        SimulatedDisk(Arc::new(Mutex::new(State { random, fails: 0, contents, seen, durable, changed })))
    }

    /// From now on so many of a hundred calls that write fail.
    pub fn fail(&self, percent: u32) {
        self.state().fails = percent;
    }

    /// Whether calls may fail.
    pub fn fails(&self) -> bool {
        self.state().fails > 0
    }

    /// Cuts the power, and has it back.
    pub fn cut_power(&self) {
        let state = &mut *self.state();
        for path in std::mem::take(&mut state.changed) {
            state.settle(&path);
        }
        state.seen = state.durable.clone();
        let kept: BTreeSet<usize> = state.seen.values().copied().collect();
        for i in 0..state.contents.len() {
            if !kept.contains(&i) {
                state.contents[i] = Content::default();
                continue;
            }
            state.tear(i);
            let content = &mut state.contents[i];
            content.seen = content.durable.clone();
            content.clean = content.seen.len();
        }
    }

    /// Changes a file behind everybody's back.
    pub fn damage(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let state = &mut *self.state();
        let content = &mut state.contents[state.seen[file]];
        change(&mut content.seen);
        content.durable = content.seen.clone();
        content.clean = content.seen.len();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics while it holds the disk")
    }
}

impl State {
    fn fails(&mut self) -> bool {
        self.random.pick(100) < u64::from(self.fails)
    }

    /// An entry reaches the disk, or does not.
    fn settle(&mut self, path: &Path) {
        if self.random.pick(2) == 0 {
            match self.seen.get(path) {
                Some(content) => drop(self.durable.insert(path.to_owned(), *content)),
                None => drop(self.durable.remove(path)),
            }
        }
    }

    /// As many of the bytes as are written, and whether that is all.
    fn written<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], io::Result<()>) {
        if !self.fails() {
            return (bytes, Ok(()));
        }
        let error = if self.random.pick(4) == 0 { broken() } else { full() };
        (&bytes[..self.random.pick(bytes.len() as u64 + 1) as usize], Err(error))
    }

    /// What is not held for written reaches the disk in part.
    fn tear(&mut self, i: usize) {
        let Content { seen, durable, clean } = &mut self.contents[i];
        if *clean == seen.len() {
            return;
        }
        let kept = *clean + self.random.pick((seen.len() - *clean) as u64 + 1) as usize;
        durable.resize(durable.len().max(kept), 0);
        let mut at = *clean;
        while at < kept {
            let end = ((at / SECTOR + 1) * SECTOR).min(kept);
            if self.random.pick(4) > 0 {
                durable[at..end].copy_from_slice(&seen[at..end]);
            }
            at = end;
        }
        if kept > *clean && self.random.pick(2) == 0 {
            durable[kept - 1] ^= 0x55;
        }
        *clean = seen.len();
    }
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

fn broken() -> io::Error {
    io::Error::other("Input/output error")
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for SimulatedDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state();
        if state.seen.contains_key(file) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let (written, result) = state.written(bytes);
        state.contents.push(Content { seen: written.to_vec(), durable: Vec::new(), clean: 0 });
        state.seen.insert(file.to_owned(), state.contents.len() - 1);
        state.changed.push(file.to_owned());
        result
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state();
        let content = *state.seen.get(file).ok_or_else(missing)?;
        let (written, result) = state.written(bytes);
        state.contents[content].seen.extend_from_slice(written);
        result
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let content = *state.seen.get(file).ok_or_else(missing)?;
        if state.fails() {
            state.tear(content);
            return Err(broken());
        }
        let Content { seen, durable, clean } = &mut state.contents[content];
        durable.resize(seen.len().max(durable.len()), 0);
        durable[*clean..].copy_from_slice(&seen[*clean..]);
        *clean = seen.len();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        if state.fails() {
            return Err(broken());
        }
        let content = state.seen.remove(from).ok_or_else(missing)?;
        state.seen.insert(to.to_owned(), content);
        state.changed.extend([from.to_owned(), to.to_owned()]);
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.state().seen.contains_key(to) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        self.rename(from, to)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let changed = std::mem::take(&mut state.changed);
        if state.fails() {
            changed.iter().for_each(|path| state.settle(path));
            return Err(broken());
        }
        for path in changed {
            match state.seen.get(&path) {
                Some(content) => drop(state.durable.insert(path, *content)),
                None => drop(state.durable.remove(&path)),
            }
        }
        Ok(())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.seen.get(file).map(|content| state.contents[*content].seen.clone()).ok_or_else(missing)
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        self.read(file).map(|bytes| bytes.len() as u64)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.state().seen.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        if state.fails() {
            return Err(broken());
        }
        state.seen.remove(file).ok_or_else(missing)?;
        state.changed.push(file.to_owned());
        Ok(())
    }
}
