//! Readers of one file: text in frames of whole records, Parquet in rows, and one that only says what is wrong.
//!
//! ```text
//!   stream -> buffer: | record | record | record | rec...
//!             position^                   last end^   the rest waits for more
//! ```
//! In the middle of a plain file of lines only the end of the last record is looked for; the bytes are read where they
//! are decoded, which spares them a way through memory.
//!
//! What is given depends on the bytes of the file alone, never on how many of them came at a time: a record that is
//! longer than the limit is rejected wherever the buffer ends, and goes on to the first line break behind the limit.

use super::stream::{Got, Stream, identity, read_at};
use super::{Lines, Settings};
use crate::fault::Failure;
use crate::formats::csv::{RecordEnds, check_header, header_of};
use crate::formats::parquet::{RowGroup, RowGroups};
use crate::formats::{Bad, Frames, Layout, Rows, Wanted, bad, only_bad};
use crate::source::{Bench, Position, Read, Reader};
use std::fs::File;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The position behind a file that could not be read to its end, when that has been said.
const BROKEN: Position = Position::MAX;

/// How long to wait before looking for more in a file that is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Rows of Parquet that are read at a time.
const PARQUET_ROWS: usize = 8192;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads JSON lines or CSV.
pub(super) struct TextReader {
    path: String,
    stream: Stream,
    ends: Ends,
    wanted: Wanted,
    /// What every frame begins with; `None` until it has been read.
    header: Option<Vec<u8>>,
    buffer: Vec<u8>,
    /// Of the first byte of the buffer.
    position: Position,
    /// Where to begin, once the header has been read.
    from: Position,
    /// What has to be read and thrown away before that.
    skip: u64,
    /// A record that is too long, and whose end has not been seen.
    long: Option<Long>,
    state: State,
    line_bytes_max: usize,
    chunk_bytes: usize,
}

enum State {
    Reading,
    /// All bytes are in the buffer.
    Ending,
    /// No more bytes can be had, and why.
    Breaking(String),
    Ended,
}

struct Long {
    bad: Bad,
    /// Its first bytes, up to the limit, are still in the buffer.
    whole: bool,
}

/// Finds the ends of records.
#[derive(Clone)]
enum Ends {
    Lines { scanned: usize },
    Csv(RecordEnds),
}

impl TextReader {
    /// A reader of a stream's records behind a position.
    pub(super) fn new(
        path: &str,
        stream: Stream,
        settings: &Settings,
        wanted: Wanted,
        from: Option<Position>,
    ) -> TextReader {
        let (ends, header) = match &settings.lines {
            Lines::Json => (Ends::Lines { scanned: 0 }, Some(Vec::new())),
            Lines::Csv { delimiter, columns } => {
                let header = (!columns.is_empty()).then(|| header_of(columns.iter().map(String::as_str), *delimiter));
                (Ends::Csv(RecordEnds::new(*delimiter)), header)
            }
        };
        let from = from.unwrap_or(0);
        let mut reader = TextReader {
            path: path.to_owned(),
            stream,
            ends,
            wanted,
            buffer: Vec::new(),
            position: 0,
            from,
            skip: 0,
            long: None,
            state: if from == BROKEN { State::Ended } else { State::Reading },
            line_bytes_max: settings.line_bytes_max,
            chunk_bytes: settings.chunk_bytes,
            header,
        };
        if reader.header.is_some() && from != BROKEN {
            reader.jump();
        }
        reader
    }

    /// Goes to where reading begins.
    fn jump(&mut self) {
        if self.from <= self.position {
            return;
        }
        match self.stream.seek(self.from as u64) {
            Ok(true) => self.buffer.clear(),
            Ok(false) => {
                let wanted = (self.from - self.position) as u64;
                let known = wanted.min(self.buffer.len() as u64);
                self.buffer.drain(..known as usize);
                self.skip = wanted - known;
            }
            Err(_) => self.state = State::Breaking(self.shorter()),
        }
        self.position = self.from;
        self.ends.restart();
    }

    fn shorter(&self) -> String {
        format!("it is shorter than byte {}, to which it was read before: it was cut or replaced since", self.from)
    }

    fn fill(&mut self, bytes: usize) -> Option<Read> {
        match self.stream.read(&mut self.buffer, bytes) {
            Ok(Got::Bytes) => {}
            Ok(Got::Nothing) => return Some(Read::Idle(LOOK_AGAIN)),
            Ok(Got::End) if self.skip > 0 => self.state = State::Breaking(self.shorter()),
            Ok(Got::End) => self.state = State::Ending,
            Ok(Got::Changed(why)) => self.state = State::Breaking(why.to_owned()),
            Err(error) => self.state = State::Breaking(error.to_string()),
        }
        let skipped = self.skip.min(self.buffer.len() as u64);
        self.buffer.drain(..skipped as usize);
        self.skip -= skipped;
        if self.position == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
        }
        None
    }

    /// Whole records of the buffer, or what is to be said of it.
    fn cut(&mut self) -> Option<Read> {
        if self.header.is_none() {
            self.cut_header();
        }
        if self.header.is_none() || self.skip > 0 {
            return None;
        }
        if self.long.is_some() {
            return self.cut_long();
        }
        let end = match self.ends.last(&self.buffer) {
            Some(end) => end,
            None if self.buffer.len() > self.line_bytes_max => return self.begin_long(),
            None if matches!(self.state, State::Ending) && !self.buffer.is_empty() => self.buffer.len(),
            None => return None,
        };
        if end > self.line_bytes_max {
            match self.first_long(end) {
                Some(0) => return self.begin_long(),
                Some(start) => return Some(self.frame(start)),
                None => {}
            }
        }
        Some(self.frame(end))
    }

    /// The next so many bytes as an errand, where that gives the same as reading them here: the file has so many, whole
    /// records end in them, and none of these can be too long.
    fn defer(&mut self, bytes: usize) -> Option<Read> {
        let is_first = self.position == 0;
        let plain = matches!(self.ends, Ends::Lines { .. }) && matches!(self.state, State::Reading);
        if is_first || !plain || self.long.is_some() || self.skip > 0 || bytes > self.line_bytes_max {
            return None;
        }
        let file = self.stream.random()?;
        let from = self.position as u64;
        let mut edge = [0; EDGE_BYTES_MAX];
        let edge = &mut edge[..bytes.min(EDGE_BYTES_MAX)];
        let edge_at = from + (bytes - edge.len()) as u64;
        read_at(&file, edge, edge_at).ok()?;
        let to = edge_at + memchr::memrchr(b'\n', edge)? as u64 + 1;
        self.stream.seek(to).ok()?;
        self.buffer.clear();
        self.position = to as i64;
        self.ends.restart();
        let part = Part { file, path: self.path.clone(), from, length: (to - from) as usize };
        Some(Read::Errand(Box::new(move |bench, give| part.read(bench, give))))
    }

    fn cut_header(&mut self) {
        let Ends::Csv(ends) = &mut self.ends else { unreachable!("JSON lines have no header") };
        let ended = matches!(self.state, State::Ending);
        let end = match ends.next(&self.buffer) {
            Some(end) => end,
            None if self.buffer.len() > self.line_bytes_max => {
                return self.state =
                    State::Breaking(format!("no header line in the first {} bytes", self.line_bytes_max));
            }
            None if ended && !self.buffer.is_empty() => self.buffer.len(),
            None => return,
        };
        let mut header = self.buffer[..end].to_vec();
        if header.last() != Some(&b'\n') {
            header.push(b'\n');
        }
        if let Err(wrong) = check_header(&header, self.ends.delimiter(), &self.wanted) {
            return self.state = State::Breaking(wrong);
        }
        self.take(end);
        self.header = Some(header);
        self.jump();
    }

    /// Where the first record that is too long begins, in whole records up to `end`.
    fn first_long(&self, end: usize) -> Option<usize> {
        let (mut ends, mut start) = (self.ends.clone(), 0);
        ends.restart();
        while start < end {
            let next = ends.next(&self.buffer[..end]).unwrap_or(end);
            if next - start > self.line_bytes_max + 1 {
                return Some(start);
            }
            start = next;
        }
        None
    }

    /// The first record of the buffer is too long.
    fn begin_long(&mut self) -> Option<Read> {
        let reason =
            format!("a record longer than {} bytes, wanted a line break before (line_bytes_max)", self.line_bytes_max);
        self.long = Some(Long { bad: bad(self.position, 0, reason, &self.buffer), whole: true });
        self.cut_long()
    }

    fn cut_long(&mut self) -> Option<Read> {
        let long = self.long.as_mut().expect("a long record has begun");
        let behind = if long.whole { self.line_bytes_max } else { 0 };
        match memchr::memchr(b'\n', &self.buffer[behind..]) {
            Some(at) => self.take(behind + at + 1),
            None => {
                let reading = matches!(self.state, State::Reading);
                long.whole = false;
                self.take(self.buffer.len());
                if reading {
                    return None;
                }
            }
        }
        self.long.take().map(|long| Read::Rows(only_bad(&self.wanted, long.bad)))
    }

    fn frame(&mut self, end: usize) -> Read {
        let header = self.header.as_ref().expect("a header comes before the first frame");
        let layout = Layout::Lines { at: self.position - header.len() as i64 };
        let mut bytes = Vec::with_capacity(header.len() + self.chunk_bytes + self.buffer.len() - end);
        if header.is_empty() {
            bytes.extend_from_slice(&self.buffer[end..]);
            mem::swap(&mut bytes, &mut self.buffer);
            bytes.truncate(end);
            self.position += end as i64;
            self.ends.restart();
        } else {
            bytes.extend_from_slice(header);
            bytes.extend_from_slice(&self.buffer[..end]);
            self.take(end);
        }
        Read::Frames(Frames { bytes, layout })
    }

    /// Takes bytes off the front of the buffer; a record begins behind them.
    fn take(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.position += bytes as i64;
        self.ends.restart();
    }

    fn end(&mut self) -> Read {
        match mem::replace(&mut self.state, State::Ended) {
            State::Breaking(why) => {
                let bad = broken(&self.path, &why, self.position, &self.buffer);
                let read = Read::Rows(only_bad(&self.wanted, bad));
                self.position = BROKEN;
                read
            }
            _ => Read::End,
        }
    }
}

impl Reader for TextReader {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        let bytes = limit.saturating_mul(RECORD_BYTES).max(READ_BYTES_LEAST).min(self.chunk_bytes);
        loop {
            if matches!(self.state, State::Ended) {
                return Ok(Read::End);
            }
            if let Some(read) = self.cut().or_else(|| self.defer(bytes)) {
                return Ok(read);
            }
            if !matches!(self.state, State::Reading) {
                return Ok(self.end());
            }
            if let Some(idle) = self.fill(bytes) {
                return Ok(idle);
            }
        }
    }

    fn position(&self) -> Position {
        match &self.long {
            Some(long) => long.bad.sequence,
            // Before the header has been read, nothing has been given.
            None if self.position < self.from => self.from,
            None => self.position,
        }
    }

    fn progress(&self) -> u64 {
        self.stream.progress()
    }

    fn end(&mut self) {
        (self.state, self.position) = (State::Ended, BROKEN);
    }
}

/// Where the last record of a part ends is looked for in so many bytes at its end.
const EDGE_BYTES_MAX: usize = 4096;

/// Whole lines of a file.
struct Part {
    file: Arc<File>,
    path: String,
    from: u64,
    length: usize,
}

impl Part {
    fn read(&self, bench: &mut Bench, give: &mut dyn FnMut(Rows)) -> Result<(), Bad> {
        let at = self.from as i64;
        let mut bytes = mem::take(&mut bench.bytes);
        bytes.resize(self.length, 0);
        read_at(&self.file, &mut bytes, self.from).map_err(|error| broken(&self.path, &error.to_string(), at, &[]))?;
        let frames = Frames { bytes, layout: Layout::Lines { at } };
        give(bench.decoder.as_mut().expect("a feed of lines has a decoder").decode(&frames));
        bench.bytes = frames.bytes;
        Ok(())
    }
}

fn broken(path: &str, why: &str, position: Position, bytes: &[u8]) -> Bad {
    bad(position, 0, format!("{path}: {why}; nothing behind byte {position} was read"), bytes)
}

/// About what a record has: a limit of records is one of bytes by this.
const RECORD_BYTES: usize = 128;
const READ_BYTES_LEAST: usize = 4096;

impl Ends {
    fn delimiter(&self) -> u8 {
        match self {
            Ends::Lines { .. } => b'\n',
            Ends::Csv(ends) => ends.delimiter(),
        }
    }

    /// A record begins with the buffer, and nothing of it has been looked at.
    fn restart(&mut self) {
        *self = match self {
            Ends::Lines { .. } => Ends::Lines { scanned: 0 },
            Ends::Csv(ends) => Ends::Csv(RecordEnds::new(ends.delimiter())),
        };
    }

    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Ends::Csv(ends) => ends.next(bytes),
            Ends::Lines { scanned } => {
                let end = memchr::memchr(b'\n', &bytes[*scanned..]).map(|at| *scanned + at + 1);
                *scanned = end.unwrap_or(bytes.len());
                end
            }
        }
    }

    /// The last end in what has not been looked at yet.
    fn last(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Ends::Csv(ends) => std::iter::from_fn(|| ends.next(bytes)).last(),
            Ends::Lines { scanned } => {
                let end = memchr::memrchr(b'\n', &bytes[*scanned..]).map(|at| *scanned + at + 1);
                *scanned = bytes.len();
                end
            }
        }
    }
}

/// Reads Parquet.
pub(super) struct ParquetReader {
    path: String,
    rows: RowGroups,
    wanted: Wanted,
    bytes: u64,
    identity: (u64, u64),
    /// The same file, open once for each row group that is read at the same time.
    files: Arc<Mutex<Vec<File>>>,
    broken: bool,
    /// Whether nobody waits for a whole row group.
    in_pieces: bool,
}

/// A row group that takes more than this is read some rows at a time.
const ROW_GROUP_BYTES_MAX: usize = 32 << 20;

impl ParquetReader {
    /// A reader of a file's rows from one on.
    pub(super) fn open(path: &str, wanted: &Wanted, from: Position) -> Result<ParquetReader, Failure> {
        let file = File::open(path).map_err(|e| Failure::new(e.to_string()))?;
        let (bytes, identity) = file.metadata().map_or((0, (0, 0)), |m| (m.len(), identity(&m)));
        let rows = RowGroups::open(file, wanted.clone(), from, PARQUET_ROWS)?;
        if rows.rows() < from {
            return Err(Failure::new(format!("it has {} rows, and was read to row {from} before", rows.rows())));
        }
        let (path, wanted, files) = (path.to_owned(), wanted.clone(), Arc::default());
        Ok(ParquetReader { path, rows, wanted, bytes, identity, files, broken: false, in_pieces: false })
    }

    /// The next row group as an errand, unless it is too large.
    fn errand(&mut self) -> Option<Read> {
        if self.in_pieces {
            return None;
        }
        let file = self.files.lock().expect("nobody panics while holding the files").pop();
        let file = file.or_else(|| self.again().ok().flatten())?;
        let Some(group) = self.rows.take(ROW_GROUP_BYTES_MAX) else {
            self.files.lock().expect("nobody panics while holding the files").push(file);
            return None;
        };
        let (path, files) = (self.path.clone(), self.files.clone());
        Some(Read::Errand(Box::new(move |_, give| read_group(group, file, &path, &files, give))))
    }

    /// The same file once more; `None` where another one is in its place.
    fn again(&self) -> io::Result<Option<File>> {
        let file = File::open(&self.path)?;
        let is_same = identity(&file.metadata()?) == self.identity;
        Ok(is_same.then_some(file))
    }
}

fn read_group(
    group: RowGroup,
    file: File,
    path: &str,
    files: &Mutex<Vec<File>>,
    give: &mut dyn FnMut(Rows),
) -> Result<(), Bad> {
    let again = file.try_clone();
    let read = group.read(file, give);
    files.lock().expect("nobody panics while holding the files").extend(again);
    read.map_err(|(row, failure)| unreadable(path, &failure, row))
}

impl Reader for ParquetReader {
    fn read(&mut self, _: usize) -> Result<Read, Failure> {
        if self.broken {
            return Ok(Read::End);
        }
        if let Some(read) = self.errand() {
            return Ok(read);
        }
        match self.rows.read() {
            Ok(Some(rows)) => Ok(Read::Rows(rows)),
            Ok(None) => Ok(Read::End),
            Err(failure) => {
                self.broken = true;
                let bad = unreadable(&self.path, &failure, self.rows.next_row());
                Ok(Read::Rows(only_bad(&self.wanted, bad)))
            }
        }
    }

    fn hear(&mut self, enough_to_do: bool) {
        self.in_pieces = enough_to_do;
    }

    fn end(&mut self) {
        self.broken = true;
    }

    fn position(&self) -> Position {
        if self.broken { BROKEN } else { self.rows.next_row() }
    }

    fn progress(&self) -> u64 {
        let (rows, next) = (self.rows.rows().max(1) as f64, self.rows.next_row() as f64);
        (self.bytes as f64 * next / rows) as u64
    }
}

/// A file that cannot be read at all: says so once, and ends.
pub(super) struct Unreadable {
    wanted: Wanted,
    bad: Option<Bad>,
}

impl Unreadable {
    /// What is said of the file, unless it was said before.
    pub(super) fn new(path: &str, failure: &Failure, wanted: &Wanted, from: Option<Position>) -> Unreadable {
        let said = from == Some(BROKEN);
        let bad = (!said).then(|| unreadable(path, failure, from.unwrap_or(0)));
        Unreadable { wanted: wanted.clone(), bad }
    }
}

/// Whether a position says that the file could not be read to its end.
pub(super) fn is_broken(from: Option<Position>) -> bool {
    from == Some(BROKEN)
}

impl Reader for Unreadable {
    fn read(&mut self, _: usize) -> Result<Read, Failure> {
        Ok(self.bad.take().map_or(Read::End, |bad| Read::Rows(only_bad(&self.wanted, bad))))
    }

    fn position(&self) -> Position {
        self.bad.as_ref().map_or(BROKEN, |bad| bad.sequence)
    }
}

fn unreadable(path: &str, failure: &Failure, sequence: Position) -> Bad {
    let help = failure.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    bad(sequence, 0, format!("{path}: {}{help}", failure.message), &[])
}
