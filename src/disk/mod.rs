//! The calls of a file system that durable files rest on, as a seam: the real one, and in tests one that fails.
//!
//! Checkpoints and the spool write through it, so that both can be tried against thousands of full disks, failed syncs
//! and power cuts.

#[cfg(test)]
pub mod simulated;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file system. Paths are absolute or relative to the process; errors are the system's.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Writes a file that must not exist yet. What was written need not survive a power cut before [`Disk::sync`].
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Writes behind what a file holds, which must be there already. After an error any part of the bytes may be there.
    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's contents durable. After an error nothing may be assumed of them.
    fn sync(&self, file: &Path) -> io::Result<()>;

    /// Renames a file within its folder, over another one if need be, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file within its folder, atomically; an error if there is one of that name.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The whole of a file.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// The length of a file in bytes.
    fn size(&self, file: &Path) -> io::Result<u64>;

    /// The files of a folder, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).open(file)?.write_all(bytes)
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(file)?.write_all(bytes)
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        File::open(file)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to).map_err(without_links)?;
        fs::remove_file(from)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        fs::read(file)
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        Ok(fs::metadata(file)?.len())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }
}

/// The error of a link, in words where the file system has none: on FAT, say, that is "Operation not permitted", which
/// sounds as if somebody else might.
fn without_links(error: io::Error) -> io::Error {
    const EPERM: i32 = 1;
    match (error.raw_os_error(), error.kind()) {
        (Some(EPERM), _) | (_, io::ErrorKind::Unsupported) => {
            io::Error::new(io::ErrorKind::Unsupported, format!("this file system has no hard links ({error})"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_links_is_called_so() {
        let check = |code: i32, kind: io::ErrorKind, expected: bool| {
            let told = without_links(io::Error::from_raw_os_error(code));
            assert_eq!((told.kind(), told.to_string().contains("has no hard links")), (kind, expected), "{told}");
        };
        check(1, io::ErrorKind::Unsupported, true);
        check(95, io::ErrorKind::Unsupported, true);
        check(13, io::ErrorKind::PermissionDenied, false);
        check(17, io::ErrorKind::AlreadyExists, false);
    }
}
