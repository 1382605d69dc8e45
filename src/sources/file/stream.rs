//! The bytes of a file, a compressed file or a pipe, as they come.
//!
//! Positions count decompressed bytes. A compressed file that ends too early gives all it has, and then the error.

use crate::source::Wake;
use flate2::read::MultiGzDecoder;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use super::Compression;

/// A stream of bytes that is read from its beginning on.
pub(super) enum Stream {
    /// A file as it is.
    Plain(Plain),
    /// A compressed file; `read` counts what was taken from the disk.
    Packed { bytes: Box<dyn Read + Send>, read: Arc<AtomicU64> },
    /// Standard input, read by a thread of its own, because reading it may wait.
    Piped { chunks: Receiver<io::Result<Vec<u8>>>, read: u64 },
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// Bytes, at least one.
    Bytes,
    /// None now, perhaps later.
    Nothing,
    /// None ever.
    End,
    /// A followed file is not what it was: why it cannot be read on.
    Changed(&'static str),
}

/// A file that is read as it is, and followed where it grows.
pub(super) struct Plain {
    file: Arc<File>,
    path: String,
    identity: (u64, u64),
    at: u64,
    follow: bool,
}

/// How many chunks of a pipe wait to be taken.
const PIPED_CHUNKS_MAX: usize = 16;
const PIPED_CHUNK_BYTES: usize = 64 * 1024;

impl Stream {
    /// Opens a file. A compressed one is whole: it is not followed.
    pub(super) fn open(path: &str, compression: Compression, follow: bool) -> io::Result<Stream> {
        let file = File::open(path)?;
        if compression == Compression::None {
            let identity = identity(&file.metadata()?);
            return Ok(Stream::Plain(Plain { file: Arc::new(file), path: path.to_owned(), identity, at: 0, follow }));
        }
        let read = Arc::new(AtomicU64::new(0));
        let bytes = unpacked(Counted { from: file, read: read.clone() }, compression)?;
        Ok(Stream::Packed { bytes, read })
    }

    /// Reads from what may wait, on a thread of its own that ends with its input or with this stream.
    pub(super) fn piped(from: impl Read + Send + 'static, compression: Compression, wake: Wake) -> io::Result<Stream> {
        let (send, chunks) = sync_channel(PIPED_CHUNKS_MAX);
        let pump = move || {
            let opened = unpacked(from, compression);
            let mut from = match opened {
                Ok(from) => from,
                Err(error) => return drop(send.send(Err(error))),
            };
            loop {
                let mut chunk = vec![0; PIPED_CHUNK_BYTES];
                let sent = match from.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(read) => {
                        chunk.truncate(read);
                        send.send(Ok(chunk))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        drop(send.send(Err(error)));
                        break;
                    }
                };
                if sent.is_err() {
                    return;
                }
                wake();
            }
            drop(send);
            wake();
        };
        thread::Builder::new().name("eagre stdin".into()).spawn(pump)?;
        Ok(Stream::Piped { chunks, read: 0 })
    }

    /// Appends up to about so many bytes; what came before an error is there, too.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> io::Result<Got> {
        let before = buffer.len();
        match self {
            Stream::Plain(plain) => {
                let read = (&*plain.file).take(bytes as u64).read_to_end(buffer);
                plain.at += (buffer.len() - before) as u64;
                read?;
                if buffer.len() == before {
                    return plain.at_end();
                }
            }
            Stream::Packed { bytes: from, .. } => {
                from.take(bytes as u64).read_to_end(buffer)?;
            }
            Stream::Piped { chunks, read } => match chunks.try_recv() {
                Ok(chunk) => {
                    buffer.append(&mut chunk?);
                    *read += (buffer.len() - before) as u64;
                }
                Err(TryRecvError::Empty) => return Ok(Got::Nothing),
                Err(TryRecvError::Disconnected) => return Ok(Got::End),
            },
        }
        Ok(if buffer.len() == before { Got::End } else { Got::Bytes })
    }

    /// Goes to a position without reading, where that can be done; `false` where what lies before has to be read.
    pub(super) fn seek(&mut self, position: u64) -> io::Result<bool> {
        let Stream::Plain(plain) = self else { return Ok(false) };
        if plain.file.metadata()?.len() < position {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        plain.at = (&*plain.file).seek(SeekFrom::Start(position))?;
        Ok(true)
    }

    /// The file, where any part of it may be read at any time: one that is not packed and not growing.
    pub(super) fn random(&self) -> Option<Arc<File>> {
        match self {
            Stream::Plain(plain) if cfg!(unix) && !plain.follow => Some(plain.file.clone()),
            _ => None,
        }
    }

    /// How many bytes were read, as they lie on the disk.
    pub(super) fn progress(&self) -> u64 {
        match self {
            Stream::Plain(plain) => plain.at,
            Stream::Packed { read, .. } => read.load(Ordering::Relaxed),
            Stream::Piped { read, .. } => *read,
        }
    }
}

impl Plain {
    fn at_end(&self) -> io::Result<Got> {
        if !self.follow {
            return Ok(Got::End);
        }
        if self.file.metadata()?.len() < self.at {
            return Ok(Got::Changed("the file was cut short while it was followed"));
        }
        match fs::metadata(&self.path) {
            Ok(now) if identity(&now) == self.identity => Ok(Got::Nothing),
            Ok(_) => Ok(Got::Changed("another file has taken the place of the one that was followed")),
            Err(_) => Ok(Got::Changed("the file was removed or renamed while it was followed")),
        }
    }
}

fn unpacked(from: impl Read + Send + 'static, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::Auto | Compression::None => Box::new(from),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIPED_CHUNK_BYTES, from))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(from)?),
    })
}

struct Counted<R> {
    from: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads a part of a file, wherever others read in it.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Files are not read at random here; see [`Stream::random`].
#[cfg(not(unix))]
pub(super) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Which file it is, whatever it is called.
#[cfg(unix)]
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Files cannot be told apart here: only those that get shorter are noticed.
#[cfg(not(unix))]
pub(super) fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
