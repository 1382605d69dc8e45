//! Writing, listing, verifying and clearing away the checkpoints of one job.
//!
//! | name | what |
//! | --- | --- |
//! | `0000000042.manifest.json` | the manifest of checkpoint 42 |
//! | `0000000042-windows-3.arrow` | what worker 3 wrote of step `windows` for checkpoint 42 |
//! | `0000000041.claim` | a run makes its checkpoints from number 41 on |
//!
//! A file is named after the attempt for which it was written, and later checkpoints name it again while its state
//! still holds. The number of an attempt is used once, so a name never comes twice, whatever failed in between.

use super::manifest::{FileRef, Manifest, Step};
use super::part::{self, Group};
use super::storage::Storage;
use crate::fault::Failure;
use crate::key::KeyGroup;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// The checkpoints of a job.
pub struct Store {
    storage: Arc<dyn Storage>,
    next: u64,
    /// The number from which on this run makes checkpoints.
    claim: Option<u64>,
}

/// A checkpoint that was found, or why it cannot be used.
pub struct Found {
    /// Its number.
    pub id: u64,
    /// What it says.
    pub manifest: Result<Manifest, Failure>,
}

/// How many attempts a run may have in hand that does not know of a newer claim yet: one that it commits, and the next.
const IN_FLIGHT: u64 = 2;
/// How many it may have made between two looks, before one looks again.
const SLACK: u64 = 2;

const MANIFEST: &str = ".manifest.json";
const CLAIM: &str = ".claim";

impl Store {
    /// The checkpoints that are in a storage.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Store, Failure> {
        let newest = storage.list()?.iter().filter_map(|name| id_of(name)).max();
        Ok(Store { storage, next: newest.map_or(1, |id| id + 1), claim: None })
    }

    /// The number of a new attempt.
    pub fn begin(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Claims the checkpoints from a new number on for this run, which is given. A run that claimed before is fenced
    /// off: it commits nothing more, but what it was committing when the claim was put there, and writes at most the
    /// files of one attempt behind that. Both have numbers below the claim, whatever it has done meanwhile: two runs
    /// never write files of one name, by which the newer would end, too.
    pub fn claim(&mut self) -> Result<u64, Failure> {
        loop {
            let before = self.storage.list()?.iter().filter_map(|name| id_of(name)).max();
            let id = before.map_or(1, |before| before + IN_FLIGHT + SLACK + 1);
            let claim = format!("{id:010}{CLAIM}");
            self.storage.put(&claim, b"a run makes its checkpoints from this number on\n")?;
            let names = self.storage.list()?;
            let now = names.iter().filter(|name| **name != claim).filter_map(|name| id_of(name)).max();
            if now.unwrap_or(0) <= before.unwrap_or(0) + SLACK {
                (self.claim, self.next) = (Some(id), id + 1);
                return Ok(id);
            }
        }
    }

    /// Goes on under a claim that another process of the same run has made.
    pub fn under(&mut self, claim: u64) {
        (self.claim, self.next) = (Some(claim), claim + 1);
    }

    fn is_fenced(&self) -> Result<bool, Failure> {
        let Some(mine) = self.claim else { return Ok(false) };
        Ok(claims_in(&self.storage.list()?).any(|id| id > mine))
    }

    /// Puts a file of an attempt there, durably. `what` and `shard` tell it from its other files.
    pub fn put(&self, id: u64, what: &str, shard: usize, bytes: &[u8]) -> Result<FileRef, Failure> {
        let name = format!("{id:010}-{}-{shard}.arrow", escaped(what));
        self.storage.put(&name, bytes)?;
        Ok(FileRef::of(name, bytes))
    }

    /// Makes a checkpoint of what was put: when this returns, it is there for good.
    pub fn commit(&self, manifest: &Manifest) -> Result<(), Failure> {
        self.look_for_claims()?;
        self.storage.put(&manifest_name(manifest.id), &manifest.to_bytes())?;
        // A claim that was put there meanwhile may have looked for checkpoints before or after this one came. In either
        // case nobody may publish for it but the run that claimed.
        self.look_for_claims()
    }

    /// Fails where a run has claimed the checkpoints after this one.
    pub fn look_for_claims(&self) -> Result<(), Failure> {
        if !self.is_fenced()? {
            return Ok(());
        }
        Err(Failure::new(format!("another run of the job has taken over {}", self.storage.place()))
            .help("only one run of a job may go on: this one ends"))
    }

    /// All checkpoints, newest first. Only manifests are read; [`Store::verify`] reads the rest.
    pub fn list(&self) -> Result<Vec<Found>, Failure> {
        let names = self.storage.list()?;
        let ids: BTreeSet<u64> =
            names.iter().filter(|name| name.ends_with(MANIFEST)).filter_map(|n| id_of(n)).collect();
        // One that has gone meanwhile was cleared away by another run.
        let found = |id| self.manifest(id).map(|read| read.map(|manifest| Found { id, manifest })).transpose();
        ids.into_iter().rev().filter_map(found).collect()
    }

    /// What a checkpoint says, or what is wrong with it; the outer failure is the storage's.
    fn manifest(&self, id: u64) -> Result<Option<Result<Manifest, Failure>>, Failure> {
        let name = manifest_name(id);
        let Some(bytes) = self.storage.read(&name)? else { return Ok(None) };
        let read = Manifest::from_bytes(&bytes).and_then(|manifest| match manifest.id {
            found if found == id => Ok(manifest),
            found => Err(Failure::new(format!("it is the manifest of checkpoint {found}"))),
        });
        Ok(Some(read.map_err(|failure| failure.doing(format!("{name} cannot be used")))))
    }

    /// Everything that is wrong with the files of a checkpoint. Reads them all.
    pub fn verify(&self, manifest: &Manifest) -> Result<Vec<String>, Failure> {
        let mut faults = Vec::new();
        for file in manifest.files() {
            match self.storage.read(&file.name)? {
                Some(bytes) => faults.extend(file.fault(&bytes)),
                None => faults.push(format!("{} is missing", file.name)),
            }
        }
        Ok(faults)
    }

    /// A file of a checkpoint, if it is as it was written.
    pub fn read(&self, file: &FileRef) -> Result<Vec<u8>, Failure> {
        let bytes = self.storage.read(&file.name)?.ok_or_else(|| Failure::new(format!("{} is missing", file.name)))?;
        file.fault(&bytes).map_or(Ok(bytes), |fault| Err(Failure::new(fault)))
    }

    /// The key groups of a step, as its files have them one after the other.
    pub fn groups(&self, step: &Step) -> Result<BTreeMap<KeyGroup, Group>, Failure> {
        let mut groups = BTreeMap::new();
        for file in &step.parts {
            let bytes = self.read(file)?;
            part::decode(&bytes, &mut groups).map_err(|failure| failure.doing(&file.name))?;
        }
        Ok(groups)
    }

    /// The newest checkpoint of which every file is whole, and why newer ones were passed over.
    pub fn newest(&self) -> Result<(Option<Manifest>, Vec<Failure>), Failure> {
        let mut passed_over = Vec::new();
        for found in self.list()? {
            match found.manifest {
                Ok(manifest) => {
                    let faults = self.verify(&manifest)?;
                    if faults.is_empty() {
                        return Ok((Some(manifest), passed_over));
                    }
                    let said = format!("checkpoint {} cannot be used: {}", found.id, faults.join("; "));
                    passed_over.push(Failure::new(said));
                }
                Err(failure) => passed_over.push(failure),
            }
        }
        Ok((None, passed_over))
    }

    /// Clears away all but the newest `keep` checkpoints, and the files that none of those names. Files of an attempt
    /// that is later than the newest checkpoint may be under way and stay. A manifest that cannot be read is kept, and
    /// with it all files of its attempt and earlier ones: a person has to look at it first.
    pub fn collect(&self, keep: usize) -> Result<usize, Failure> {
        let found = self.list()?;
        let (kept, old) = found.split_at(found.len().min(keep.max(1)));
        let Some(newest) = kept.first().filter(|newest| newest.manifest.is_ok()) else { return Ok(0) };
        let unreadable = found.iter().filter(|found| found.manifest.is_err()).map(|found| found.id).max();
        let named: BTreeSet<&str> =
            kept.iter().filter_map(|f| f.manifest.as_ref().ok()).flat_map(|m| m.files().map(|f| &*f.name)).collect();
        let mut removed = 0;
        // Manifests first: one must not outlive a file that it names.
        for old in old.iter().filter(|old| old.manifest.is_ok()) {
            self.storage.remove(&manifest_name(old.id))?;
            removed += 1;
        }
        let names = self.storage.list()?;
        // A newer run may have gone back to what this one takes for old.
        if self.claim.is_some_and(|mine| claims_in(&names).any(|id| id > mine)) {
            return Ok(removed);
        }
        for name in names {
            let Some(id) = id_of(&name) else { continue };
            // The newest claim fences off the run before, however long it has slept.
            let is_claim = name.ends_with(CLAIM) && self.claim.is_none_or(|claim| id >= claim);
            let is_rubbish = !name.ends_with(MANIFEST) && !is_claim && !named.contains(&*name) && id <= newest.id;
            if is_rubbish && unreadable.is_none_or(|unreadable| id > unreadable) {
                self.storage.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn claims_in(names: &[String]) -> impl Iterator<Item = u64> {
    names.iter().filter(|name| name.ends_with(CLAIM)).filter_map(|name| id_of(name))
}

fn manifest_name(id: u64) -> String {
    format!("{id:010}{MANIFEST}")
}

/// The attempt that a file is of; other files in the folder are none of ours.
fn id_of(name: &str) -> Option<u64> {
    let digits = name.get(..10)?;
    let is_ours = name[10..].starts_with(['-', '.']) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// A name of a job's part as a piece of a file's name; different names stay different.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => text.push(char::from(byte)),
            other => write!(text, "%{other:02x}").expect("writing to a String does not fail"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::example;
    use crate::checkpoint::storage::Local;
    use crate::disk::simulated::SimulatedDisk;
    use crate::stats::random::Random;
    use std::path::Path;

    fn open(disk: &SimulatedDisk) -> Store {
        let storage = Local::on(Arc::new(disk.clone()), Path::new("checkpoints")).expect("a folder");
        Store::open(Arc::new(storage)).expect("a store")
    }

    /// What an attempt writes, so that it is known again: some parts of its own, some of the checkpoint before.
    fn attempt(store: &mut Store, random: &mut Random, before: &[FileRef]) -> (u64, Result<Vec<FileRef>, Failure>) {
        let id = store.begin();
        let mut parts: Vec<FileRef> = before.iter().filter(|_| random.pick(2) == 0).cloned().collect();
        for shard in 0..random.pick(4) as usize {
            match store.put(id, "win dows", shard, format!("{id} {shard} {}", "x".repeat(shard * 50)).as_bytes()) {
                Ok(file) => parts.push(file),
                Err(failure) => return (id, Err(failure)),
            }
        }
        (id, store.commit(&example(id, parts.clone())).map(|()| parts))
    }

    /// A job that checkpoints on a disk that fails, until the power is cut; what is there then.
    fn live_and_crash(seed: u64) {
        let mut random = Random::new(seed);
        let disk = SimulatedDisk::new(seed);
        let (mut committed, mut parts) = (0, Vec::new());
        for _ in 0..1 + random.pick(4) {
            disk.fail(0);
            let mut store = open(&disk);
            disk.fail(random.pick(3) as u32 * 5);
            for _ in 0..random.pick(12) {
                let (id, outcome) = attempt(&mut store, &mut random, &parts);
                if let Ok(files) = outcome {
                    (committed, parts) = (id, files);
                    if random.pick(2) == 0 {
                        let _ = store.collect(1 + random.pick(3) as usize);
                    }
                }
            }
            disk.fail(0);
            disk.cut_power();
            let store = open(&disk);
            let (newest, _) = store.newest().expect("the disk is well again");
            let id = newest.as_ref().map_or(0, |manifest| manifest.id);
            assert!(id >= committed, "seed {seed}: checkpoint {committed} was there for good and {id} is the newest");
            if let Some(manifest) = newest {
                parts = manifest.files().cloned().collect();
                for file in &parts {
                    let text = String::from_utf8(store.read(file).expect("verified")).expect("text");
                    let (of, shard) = (id_of(&file.name).expect("ours"), text.split(' ').nth(1).expect("a shard"));
                    let long = "x".repeat(shard.parse::<usize>().expect("a number") * 50);
                    assert_eq!(text, format!("{of} {shard} {long}"), "seed {seed}");
                }
                committed = id;
            }
        }
    }

    #[test]
    fn a_checkpoint_is_whole_or_not_there_whatever_the_disk_does() {
        (0..3_000).for_each(live_and_crash);
    }

    #[test]
    fn a_run_that_is_fenced_off_and_the_newer_one_never_write_files_of_one_name() {
        let disk = SimulatedDisk::new(3);
        let mut older = open(&disk);
        assert_eq!(older.claim().expect("claimed"), 1);
        let commit = |store: &Store, id: u64| {
            let file = store.put(id, "counts", 0, b"some state").expect("a name of its own");
            store.commit(&example(id, vec![file]))
        };
        commit(&older, 1).expect("committed");
        let mut newer = open(&disk);
        // It goes on while the newer one reads what it goes on from.
        (2..40).for_each(|id| commit(&older, id).expect("committed"));
        let first = newer.claim().expect("claimed");
        assert_eq!(newer.begin(), first + 1);
        // What it commits just then, it does not look for claims any more; the one behind that is refused.
        older.claim = None;
        commit(&older, 40).expect("committed");
        older.claim = Some(1);
        let refused = commit(&older, 41).expect_err("fenced off").to_string();
        assert!(refused.starts_with("another run of the job has taken over"), "{refused}");
        assert!(first > 41, "{first}");
        // One that slept between looking and committing has a checkpoint there that it may not publish.
        assert!(older.storage.read(&manifest_name(41)).expect("read").is_none());
        let late = older.put(42, "counts", 0, b"some state").expect("a name of its own");
        older.storage.put(&manifest_name(42), &example(42, vec![late]).to_bytes()).expect("a name of its own");
        assert!(older.look_for_claims().is_err());
        commit(&newer, first).expect("committed");
        assert_eq!(newer.newest().expect("read").0.map(|manifest| manifest.id), Some(first));
    }

    #[test]
    fn what_a_kept_checkpoint_names_is_never_cleared_away() {
        let disk = SimulatedDisk::new(1);
        let mut store = open(&disk);
        let mut base = Vec::new();
        for _ in 0..5 {
            let id = store.begin();
            let more = store.put(id, "counts", 0, format!("delta {id}").as_bytes()).expect("put");
            store.put(id, "counts", 9, b"of nobody").expect("put");
            base.push(more);
            store.commit(&example(id, base.clone())).expect("committed");
        }
        assert_eq!(store.collect(2).expect("collected"), 3 + 5);
        let ids: Vec<u64> = store.list().expect("a list").iter().map(|found| found.id).collect();
        assert_eq!(ids, [5, 4]);
        for found in store.list().expect("a list") {
            let manifest = found.manifest.expect("readable");
            assert_eq!(store.verify(&manifest).expect("read"), Vec::<String>::new());
        }
        assert_eq!(open(&disk).begin(), 6);
    }

    #[test]
    fn damage_is_told_and_the_checkpoint_before_is_used() {
        let disk = SimulatedDisk::new(2);
        let mut store = open(&disk);
        let mut files = BTreeMap::new();
        for _ in 0..3 {
            let id = store.begin();
            let file = store.put(id, "counts", 0, b"some state").expect("put");
            store.commit(&example(id, vec![file.clone()])).expect("committed");
            files.insert(id, file.name);
        }
        disk.damage(&Path::new("checkpoints").join(&files[&3]), |bytes| bytes[4] ^= 1);
        disk.damage(&Path::new("checkpoints").join(&files[&2]), |bytes| bytes.truncate(3));
        let (newest, passed_over) = store.newest().expect("readable");
        assert_eq!(newest.expect("the first is whole").id, 1);
        let said: Vec<String> = passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("checkpoint 3 cannot be used: 0000000003-counts-0.arrow has the checksum "));
        assert_eq!(said[1], "checkpoint 2 cannot be used: 0000000002-counts-0.arrow has 3 bytes and should have 10");
        disk.damage(&Path::new("checkpoints").join(manifest_name(3)), |bytes| bytes.truncate(9));
        assert_eq!(store.collect(1).expect("collected"), 0, "a person has to look at it first");
    }
}
