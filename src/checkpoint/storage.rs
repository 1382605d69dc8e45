//! Where the files of checkpoints are put: whole and durable, or not at all.
//!
//! The contract is that of an object store, because one may stand behind it: names are flat, a file never changes, and
//! after [`Storage::put`] returned it is there for good. A folder keeps it by writing aside, syncing, renaming and
//! syncing the folder.

use super::objects::{self, Objects};
use crate::disk::{Disk, RealDisk};
use crate::fault::Failure;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files by name.
pub trait Storage: Send + Sync {
    /// Puts a file there. The name must be new. After an error it may or may not be there, whole.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure>;

    /// The whole of a file; `None` if there is none of that name.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure>;

    /// The names of all files, sorted, rubbish that an error left behind included.
    fn list(&self) -> Result<Vec<String>, Failure>;

    /// Removes a file; one that is not there is no error.
    fn remove(&self, name: &str) -> Result<(), Failure>;

    /// Where the files are, for people.
    fn place(&self) -> String;
}

/// The storage that a setting names: a folder, which is made if need be, or a URL like `s3://bucket/prefix`.
pub fn open(dir: &Path) -> Result<Arc<dyn Storage>, Failure> {
    Ok(match scheme(dir) {
        None => Arc::new(Local::open(dir)?),
        Some(("file", path)) => Arc::new(Local::open(Path::new(path))?),
        #[cfg(test)]
        Some(("slow", path)) => Arc::new(slow::Slow(Local::open(Path::new(path))?)),
        Some((scheme, _)) => Arc::new(Objects::open(scheme, &dir.to_string_lossy())?),
    })
}

/// Whether [`open`] would understand a setting; looks at nothing but its text.
pub fn check(dir: &Path) -> Result<(), Failure> {
    match scheme(dir) {
        None | Some(("file", _)) => Ok(()),
        Some((scheme, _)) => objects::is_built(scheme),
    }
}

/// Whether a setting names something else than a folder of this machine.
pub fn is_url(dir: &Path) -> bool {
    scheme(dir).is_some()
}

fn scheme(dir: &Path) -> Option<(&str, &str)> {
    let (scheme, rest) = dir.to_str()?.split_once("://")?;
    scheme.chars().all(|c| c.is_ascii_alphanumeric()).then_some((scheme, rest))
}

/// What the name of a file ends with until it is whole. Nobody reads such files; they are cleared away as rubbish.
const ASIDE: &str = ".aside";

/// A folder of a file system.
#[derive(Clone)]
pub struct Local {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Local {
    /// The folder of that path; it is made if need be.
    pub fn open(folder: &Path) -> Result<Local, Failure> {
        Local::on(Arc::new(RealDisk), folder)
    }

    /// The same on a file system of the caller's.
    pub fn on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Local, Failure> {
        disk.create_folder(folder).map_err(|error| failure("cannot make the folder", folder, &error))?;
        Ok(Local { disk, folder: folder.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Storage for Local {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (aside, file) = (self.path(&format!("{name}{ASIDE}")), self.path(name));
        let written = self
            .disk
            .write(&aside, bytes)
            .and_then(|()| self.disk.sync(&aside))
            .and_then(|()| self.disk.rename_new(&aside, &file))
            .and_then(|()| self.disk.sync_folder(&self.folder));
        written.map_err(|error| {
            // What is left is of no use to anybody; where it cannot be removed now, it is cleared away later.
            let _ = self.disk.remove(&aside);
            failure("cannot write", &file, &error)
        })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.disk.read(&self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("cannot read", &self.path(name), &error)),
        }
    }

    fn list(&self) -> Result<Vec<String>, Failure> {
        let files = self.disk.list(&self.folder).map_err(|error| failure("cannot list", &self.folder, &error))?;
        Ok(files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        match self.disk.remove(&self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failure("cannot remove", &self.path(name), &error))
            }
            _ => Ok(()),
        }
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

fn failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("{what} {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::StorageFull => failure.help("the disk is full: make room, or keep fewer checkpoints"),
        io::ErrorKind::Unsupported => failure
            .help("checkpoints are put into a folder by links, so that none takes another's place: choose a `dir` on another file system, or an object store"),
        io::ErrorKind::PermissionDenied => failure.help("the user that runs the job must be allowed to write there"),
        io::ErrorKind::AlreadyExists => failure.help("another run of the job writes there, and only one may go on"),
        _ => failure,
    }
}

/// `slow://`: a folder on a disk that takes long over large files.
#[cfg(test)]
mod slow {
    use super::*;
    use std::{thread, time::Duration};

    pub struct Slow(pub Local);

    impl Storage for Slow {
        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
            let put = self.0.put(name, bytes);
            // These are the files that were made of several.
            thread::sleep(Duration::from_millis(if name.contains(".whole") { 100 } else { 0 }));
            put
        }

        fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
            self.0.read(name)
        }

        fn list(&self) -> Result<Vec<String>, Failure> {
            self.0.list()
        }

        fn remove(&self, name: &str) -> Result<(), Failure> {
            self.0.remove(name)
        }

        fn place(&self) -> String {
            self.0.place()
        }
    }
}
