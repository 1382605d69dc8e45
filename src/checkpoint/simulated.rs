//! A disk for tests: it keeps what was synced and nothing else, and fails when it is told to.
//!
//! - Data that was not synced survives a power cut as any prefix, perhaps with a wrong byte at its end.
//! - An entry of a folder that was created, renamed or removed since the folder was synced may survive or not, each for
//!   itself.
//! - After a failed `sync` the system holds the data for written: the next `sync` says that all is well, and it is not.

use super::disk::Disk;
use crate::stats::random::Random;
use std::collections::BTreeMap;
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

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: bool,
}

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

    /// Cuts the power, and has it back.
    pub fn cut_power(&self) {
        let state = &mut *self.state();
        for path in std::mem::take(&mut state.changed) {
            state.settle(&path);
        }
        state.seen = state.durable.clone();
        for i in 0..state.contents.len() {
            state.tear(i);
        }
    }

    /// Changes a file behind everybody's back.
    pub fn damage(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let state = &mut *self.state();
        change(&mut state.contents[state.seen[file]].seen);
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

    /// What was not synced survives as any prefix.
    fn tear(&mut self, i: usize) {
        let keep = self.random.pick(self.contents[i].seen.len() as u64 + 1) as usize;
        let garbage = self.random.pick(2) == 0;
        let content = &mut self.contents[i];
        if content.dirty {
            content.durable = content.seen[..keep].to_vec();
            if let Some(last) = content.durable.last_mut().filter(|_| garbage) {
                *last ^= 0x55;
            }
            content.dirty = false;
        }
        content.seen = content.durable.clone();
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
        let fails = state.fails();
        let written = if fails { state.random.pick(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        state.contents.push(Content { seen: bytes[..written].to_vec(), durable: Vec::new(), dirty: true });
        state.seen.insert(file.to_owned(), state.contents.len() - 1);
        state.changed.push(file.to_owned());
        if fails { Err(full()) } else { Ok(()) }
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let content = *state.seen.get(file).ok_or_else(missing)?;
        if state.fails() {
            // The system goes on seeing all of it, and takes it for written.
            let seen = state.contents[content].seen.clone();
            state.tear(content);
            state.contents[content].seen = seen;
            return Err(broken());
        }
        let content = &mut state.contents[content];
        if std::mem::take(&mut content.dirty) {
            content.durable = content.seen.clone();
        }
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
