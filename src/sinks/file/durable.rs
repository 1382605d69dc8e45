//! What a file sink needs to lose nothing: files aside, how far they have come, and what of it a checkpoint keeps.
//!
//! ```text
//! aside -seal-> durable, named in the outbox -more rows-> ... -closed, seal-> complete -publish-> under its own name
//!        crash: cut back to its mark, or removed where the outbox does not know it
//! ```
//! Files aside lie in one folder, `.JOB.SINK.aside`, below what the sink's path always begins with, so that a rename
//! brings them to their place and none is overlooked when a job goes on.
//!
//! **A run that was taken over may still be there**, asleep, with files open. Who writes holds a lock of each file.
//! Where a run that goes on finds one locked, it goes on with a copy of its own under the same name: whatever the other
//! writes when it wakes up is in a file without a name. A lock that nobody holds any more is the system's to take away.

use crate::fault::Failure;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How far a file has come, so that it can be cut back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of the last bytes before: another file is not cut.
    tail: u32,
}

const TAIL: usize = 256;

impl Mark {
    /// A mark behind so many bytes, of which these are the last.
    pub fn new(bytes: u64, tail: &[u8]) -> Mark {
        Mark { bytes, tail: crc32c::crc32c(&tail[tail.len().saturating_sub(TAIL)..]) }
    }

    /// The mark at the end of a file; `None` where there is no file.
    pub fn at_end(path: &Path) -> io::Result<Option<Mark>> {
        let Some(bytes) = length(path)? else { return Ok(None) };
        Ok(Some(Mark::new(bytes, &tail_of(path, bytes)?)))
    }

    /// Cuts a file back to this mark, durably, and gives it locked; `None` where it is not there.
    pub fn cut(self, path: &Path) -> Result<Option<File>, Failure> {
        let name = path.display();
        let cannot = |error| Failure::new(format!("cannot cut {name} back to what the checkpoint has of it: {error}"));
        let Some(found) = length(path).map_err(cannot)? else { return Ok(None) };
        let help = "bring the file back as it was, or begin anew with `--from none`";
        if found < self.bytes {
            let message = format!("{name} has {found} bytes, but had {} at the checkpoint", self.bytes);
            return Err(Failure::new(message).help(help));
        }
        if Mark::new(self.bytes, &tail_of(path, self.bytes).map_err(cannot)?) != self {
            return Err(Failure::new(format!("{name} is not the file that it was at the checkpoint")).help(help));
        }
        let file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
        if !is_locked_by_another(&file).map_err(cannot)? {
            file.set_len(self.bytes).and_then(|()| file.sync_all()).map_err(cannot)?;
            return Ok(Some(file));
        }
        self.replace(path).map(Some).map_err(cannot)
    }

    /// Puts a copy as far as this mark in the place of a file.
    fn replace(self, path: &Path) -> io::Result<File> {
        let path = &path.canonicalize()?;
        let name = path.file_name().unwrap_or_default().display();
        let aside = path.with_file_name(format!(".{name}.{}.cut", std::process::id()));
        self.copy(path, &aside).and_then(|copy| fs::rename(&aside, path).map(|()| copy)).inspect_err(|_| {
            let _ = remove(&aside);
        })
    }

    fn copy(self, path: &Path, aside: &Path) -> io::Result<File> {
        let mut original = File::open(path)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).open(aside)?;
        is_locked_by_another(&copy)?;
        copy.set_permissions(original.metadata()?.permissions())?;
        io::copy(&mut Read::by_ref(&mut original).take(self.bytes), &mut copy)?;
        copy.sync_all()?;
        sync_folder(folder_of(path))?;
        Ok(copy)
    }
}

/// Takes the lock of a file, or says that another has it. Where there are no locks nobody has one.
pub fn is_locked_by_another(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(libc::ENOLCK)
}

/// Whether a path still leads to a file.
pub fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let here = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (here.dev(), here.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The length of a regular file; `None` where there is none.
pub fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last of the first so many bytes of a file.
pub fn tail_of(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let from = bytes.saturating_sub(TAIL as u64);
    let mut tail = vec![0; (bytes - from) as usize];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut tail)?;
    Ok(tail)
}

/// Keeps the last bytes of what a file has, when more come.
pub fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    let more = &more[more.len().saturating_sub(TAIL)..];
    let old = (TAIL - more.len()).min(tail.len());
    tail.drain(..tail.len() - old);
    tail.extend_from_slice(more);
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a folder and those above it, durably.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| sync_folder(above)),
    }
}

/// Waits until the disk has what was created, renamed and removed in a folder. An error is never tried again.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What a checkpoint keeps of a file sink.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// What is written where; a file is gone on with where this is the same.
    pub shape: String,
    /// The one file that is written under its own name, and how far it had come; no mark where it was not there yet.
    pub single: Option<(PathBuf, Option<Mark>)>,
    /// Files aside that are under way.
    pub under_way: Vec<UnderWay>,
    /// Files aside that are complete, to be seen.
    pub complete: Vec<Complete>,
    /// The numbers of files.
    pub numbers: Numbers,
    /// The number of the next file aside.
    pub next_aside: u64,
}

/// A file aside that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// The beginning of its time.
    pub period: EventTime,
    /// Its own name.
    pub path: PathBuf,
    /// Its number aside.
    pub number: u64,
    /// How far it has come, or its journal.
    pub mark: Mark,
    /// How many rows it has.
    pub rows: u64,
    /// Whether it is Parquet, of which the journal is kept.
    pub is_parquet: bool,
}

/// A file aside that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Its own name.
    pub path: PathBuf,
    /// Its number aside.
    pub number: u64,
}

const VERSION: u8 = 1;

impl Outbox {
    /// The outbox as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("writing to memory does not fail")
    }

    /// The outbox that these bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Outbox, Failure> {
        let rest = match bytes.split_first() {
            Some((&VERSION, rest)) => rest,
            Some((version, _)) => {
                let message = format!("the checkpoint is of another version of the file sink ({version})");
                return Err(Failure::new(message).help("go on with the version of Eagre that wrote it"));
            }
            None => return Ok(Outbox::default()),
        };
        let unreadable =
            |error| Failure::new(format!("what the checkpoint has of the file sink is unreadable: {error}"));
        postcard::from_bytes(rest).map_err(unreadable)
    }
}

/// The next number of a file, by its path with the number left open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The number, and the beginning of the time of the last file.
    next: BTreeMap<String, (u64, EventTime)>,
    /// Whether paths were forgotten, so that one that is not there may have files all the same.
    forgot: bool,
}

/// How many paths are remembered.
const PATHS_MAX: usize = 4_096;

impl Numbers {
    /// The next number for that path: one that no file of this job has and, with `spare`, no file at all.
    pub fn next(&mut self, unnumbered: &str, period: EventTime, spare: bool) -> PathBuf {
        let spare = spare || self.forgot && !self.next.contains_key(unnumbered);
        let (next, newest) = self.next.entry(unnumbered.to_owned()).or_insert((0, period));
        *newest = period.max(*newest);
        let path = loop {
            let path = PathBuf::from(unnumbered.replace("{part}", &format!("{next:05}")));
            *next += 1;
            if !(spare && unnumbered.contains("{part}") && path.exists()) {
                break path;
            }
        };
        if self.next.len() > PATHS_MAX {
            let oldest = self.next.iter().min_by_key(|(_, (_, newest))| *newest).map(|(path, _)| path.clone());
            oldest.map(|path| self.next.remove(&path));
            self.forgot = true;
        }
        path
    }
}

/// The folder of files that are not to be seen yet.
pub struct Asides {
    folder: PathBuf,
    next: u64,
    /// Whether files were made that the disk may not have.
    changed: bool,
}

impl Asides {
    /// The folder of a sink whose path has this template.
    pub fn new(template: &str, job: &str, sink: &str) -> Asides {
        let fixed = &template[..template.find(['{', '%']).unwrap_or(template.len())];
        let root = &fixed[..fixed.rfind('/').map_or(0, |at| at + 1)];
        Asides { folder: Path::new(root).join(format!(".{job}.{sink}.aside")), next: 0, changed: false }
    }

    /// Where a file aside lies.
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.part"))
    }

    /// A number that no file aside has, also none of a run that was taken over.
    pub fn number(&mut self) -> u64 {
        self.changed = true;
        while self.path(self.next).exists() || self.path(self.next).with_extension("journal").exists() {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Goes on at that number.
    pub fn resume(&mut self, next: u64) {
        (self.next, self.changed) = (next, true);
    }

    /// Waits until the disk knows of all files.
    pub fn sync(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.changed) && self.folder.is_dir() {
            sync_folder(&self.folder).map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    /// Gives files that are complete their own names, durably. With `again`, one that is not there has its name
    /// already.
    pub fn reveal(&self, files: &[Complete], again: bool) -> Result<(), Failure> {
        let mut folders = BTreeSet::new();
        for file in files {
            let (aside, folder) = (self.path(file.number), folder_of(&file.path));
            if !again || aside.exists() {
                match make_folder(folder).and_then(|()| fs::rename(aside, &file.path)) {
                    Err(error) if again && error.kind() == ErrorKind::NotFound => {}
                    named => named.map_err(|error| cannot_name(&file.path, &error))?,
                }
            }
            folders.extend(folder.is_dir().then_some(folder));
        }
        for folder in folders {
            sync_folder(folder).map_err(|error| cannot_name(folder, &error))?;
        }
        for file in files {
            remove(&self.path(file.number).with_extension("journal")).map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    /// Removes the folder where nothing is left in it: what is may be another run's.
    pub fn leave(&self) -> Result<(), Failure> {
        match fs::remove_dir(&self.folder) {
            Err(error) if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
                Err(self.failure(&error))
            }
            _ => Ok(()),
        }
    }

    /// Removes every file but those with these numbers, and the folder where none is left.
    pub fn keep_only(&mut self, numbers: &BTreeSet<u64>) -> Result<(), Failure> {
        let kept = |path: &Path| {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            number.is_some_and(|number| numbers.contains(&number))
        };
        let clear = || -> io::Result<()> {
            if !self.folder.is_dir() {
                return Ok(());
            }
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if !kept(&path) {
                    remove(&path)?;
                }
            }
            if numbers.is_empty() { fs::remove_dir(&self.folder) } else { Ok(()) }
        };
        clear().map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot keep files in {}: {error}", self.folder.display()))
            .help("check the disk, and who may write to this folder")
    }
}

fn cannot_name(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot put a complete file at {}: {error}", path.display()));
    match error.kind() {
        ErrorKind::CrossesDevices => failure.help("all files of a sink must lie on one disk"),
        _ => failure.help("check the disk, and who may write to its folder"),
    }
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
