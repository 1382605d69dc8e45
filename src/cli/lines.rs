//! Lines from standard input, read on a thread of its own, a few chunks ahead: whoever takes them need not wait, and
//! what is not taken is not read.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::wall;

/// How much is read at once, and how many chunks may wait.
const READ_BYTES: usize = 256 * 1024;
const CHUNKS: usize = 2;

/// Something of the input.
pub enum Chunk {
    /// Whole lines, each with its end; the last of all may have none.
    Lines(Vec<u8>),
    /// A line is longer than may be kept. Nothing comes behind it. (A whole one that is too long may be among lines.)
    TooLong,
    /// The input cannot be read. Nothing comes behind it.
    Failed(io::Error),
}

/// What there is to be had within a time.
pub enum Next {
    Chunk(Chunk),
    /// Nothing yet.
    Nothing,
    /// There is no more.
    End,
}

/// Lines that come.
pub struct Lines {
    chunks: Receiver<Chunk>,
    stop: Arc<AtomicBool>,
}

impl Lines {
    /// Starts to read.
    pub fn of(input: impl Read + Send + 'static, line_bytes_max: usize) -> io::Result<Lines> {
        let (sender, chunks) = sync_channel(CHUNKS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let read = move || read(input, line_bytes_max, &sender, &stopped);
        thread::Builder::new().name("eagre:lines".into()).spawn(read)?;
        Ok(Lines { chunks, stop })
    }

    /// What comes next; waits no longer than that.
    pub fn next(&self, wait: Duration) -> Next {
        match self.chunks.recv_timeout(wait) {
            Ok(chunk) => Next::Chunk(chunk),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Reads no more; what has been read is still to be had.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reads on, for so long at most, only to count: how many lines there were, and whether that was all.
    pub fn count(self, patience: Duration) -> (u64, bool) {
        let (begun, mut count): (Instant, u64) = (wall::now(), 0);
        while let Some(left) = patience.checked_sub(begun.elapsed()) {
            match self.next(left) {
                Next::Chunk(Chunk::Lines(bytes)) => count += ranges(&bytes).count() as u64,
                Next::Chunk(_) => return (count + 1, false),
                Next::Nothing => {}
                Next::End => return (count, true),
            }
        }
        (count, false)
    }
}

/// Where the lines of a chunk are, without their ends: `\n` or `\r\n`.
pub fn ranges(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(begin..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest);
        let (line, next) = length.map_or((rest, bytes.len()), |length| (&rest[..length], begin + length + 1));
        let line = begin..begin + line.strip_suffix(b"\r").unwrap_or(line).len();
        begin = next;
        Some(line)
    })
}

fn read(mut input: impl Read, line_bytes_max: usize, to: &SyncSender<Chunk>, stop: &AtomicBool) {
    let mut bytes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let chunk = match fill(&mut input, &mut bytes) {
            Ok(0) if bytes.is_empty() => return,
            // The last line may have no end.
            Ok(0) => Some(Chunk::Lines(std::mem::take(&mut bytes))),
            Ok(new) => whole(&mut bytes, new, line_bytes_max),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => Some(Chunk::Failed(error)),
        };
        let is_last = matches!(chunk, Some(Chunk::TooLong | Chunk::Failed(_)));
        // Who hears nothing more has ended.
        if chunk.is_some_and(|chunk| to.send(chunk).is_err()) || is_last {
            return;
        }
    }
}

/// Reads some bytes behind those that are there.
fn fill(input: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let had = bytes.len();
    bytes.resize(had + READ_BYTES, 0);
    let read = input.read(&mut bytes[had..]);
    bytes.truncate(had + read.as_ref().map_or(0, |read| *read));
    read
}

/// Takes the whole lines. Only the new bytes are searched for the end of a line.
fn whole(bytes: &mut Vec<u8>, new: usize, line_bytes_max: usize) -> Option<Chunk> {
    let had = bytes.len() - new;
    match memchr::memrchr(b'\n', &bytes[had..]) {
        Some(end) => {
            let rest = bytes.split_off(had + end + 1);
            Some(Chunk::Lines(std::mem::replace(bytes, rest)))
        }
        None => (bytes.len() > line_bytes_max + 2).then_some(Chunk::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out so many bytes at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(self.1).min(to.len());
            to[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    fn lines(text: &str, step: usize, max: usize) -> Vec<String> {
        let lines = Lines::of(Slow(text.into(), step), max).expect("a thread");
        let mut all = Vec::new();
        loop {
            match lines.next(Duration::from_secs(10)) {
                Next::Chunk(Chunk::Lines(bytes)) => {
                    all.extend(ranges(&bytes).map(|range| String::from_utf8_lossy(&bytes[range]).into_owned()));
                }
                Next::Chunk(Chunk::TooLong) => all.push("(too long)".into()),
                Next::Chunk(Chunk::Failed(error)) => all.push(error.to_string()),
                Next::Nothing => all.push("(nothing)".into()),
                Next::End => return all,
            }
        }
    }

    #[test]
    fn lines_are_whole_wherever_reading_cuts_them() {
        let text = "a\nbb\r\n\nccc\r\r\nthe last has no end";
        for step in [1, 2, 3, 7, 100] {
            assert_eq!(lines(text, step, 50), ["a", "bb", "", "ccc\r", "the last has no end"], "{step}");
        }
        assert_eq!(lines("", 1, 10), [""; 0]);
        assert_eq!(lines("\n", 1, 10), [""]);
        assert_eq!(lines("short\nmuch too long a line\nshort\n", 1, 10), ["short", "(too long)"]);
    }

    #[test]
    fn what_is_left_is_counted() {
        let count = |text: &str| Lines::of(Slow(text.into(), 3), 10).expect("a thread").count(Duration::from_secs(10));
        assert_eq!(count("a\nb\nc"), (3, true));
        assert_eq!(count(""), (0, true));
        assert_eq!(count("a\nmuch too long a line\n"), (2, false));
    }
}
