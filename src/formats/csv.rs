//! CSV to columns, as RFC 4180 has it: one record a line, cells between delimiters, quotes around cells that need them.
//!
//! The rules of typing are those of `table.rs`. Beyond them:
//!
//! - **A frame begins with the header line**, which names the columns, and is whole records behind it: its reader puts
//!   the header in front of every frame, so that each can be decoded on its own.
//! - **A quoted cell** may hold delimiters, line breaks, and quotes written twice. A quote opens a cell only at its
//!   beginning; elsewhere it is a character like any other. Text behind the closing quote rejects the record.
//! - **An empty cell** is null; a quoted empty cell is empty text, or null where the field is not text.
//! - **Numbers and truths** may have spaces around them; text keeps its own. `true` and `false` in any case.
//! - **A record** has as many cells as the header, or it is rejected. Empty lines are no records.
//! - **Records without quotes**, which most are, are read cell by cell in one pass; whatever is not simple there, or
//!   does not fit, is read again in the general way, whose answer counts.
//! - **Text** is UTF-8, or its record is rejected.

use crate::fault;
use crate::formats::scan::{self, byte};
use crate::formats::table::{Found, Table, not_utf8};
use crate::formats::{Decoder, Frames, Layout, Rows, TimeUnit, Wanted, Written};
use crate::schema::Kind;
use std::borrow::Cow;

/// Decodes CSV in lines.
pub struct CsvDecoder {
    table: Table,
    delimiter: u8,
    /// The field of each column, where it is wanted.
    columns: Vec<Option<usize>>,
    quick: bool,
    /// The wanted fields that no column has; `None` where every record is the general way's.
    absent: Option<Vec<usize>>,
}

impl CsvDecoder {
    /// A decoder of the wanted fields, between delimiters that are one ASCII character.
    pub fn new(wanted: &Wanted, delimiter: u8) -> CsvDecoder {
        // Behind the end there are zeros; the others may lie in a number.
        let quick = !delimiter.is_ascii_alphanumeric() && !b"\0+-.\"\r\n".contains(&delimiter);
        CsvDecoder { quick, ..CsvDecoder::general(wanted, delimiter) }
    }

    /// A decoder that takes nothing for simple: slow, and what [`CsvDecoder::new`] has to agree with.
    pub fn general(wanted: &Wanted, delimiter: u8) -> CsvDecoder {
        CsvDecoder { table: Table::new(wanted), delimiter, columns: Vec::new(), quick: false, absent: None }
    }

    /// Learns the columns; what is wanted and not there is missing from every record.
    fn header(&mut self, line: &str) {
        self.columns.clear();
        for cell in Cells::new(line, self.delimiter) {
            let name = cell.ok().and_then(|cell| self.table.field(&cell.text));
            self.columns.push(name);
        }
        let times = |field: &usize| self.columns.iter().filter(|c| **c == Some(*field)).count();
        let once = self.columns.iter().flatten().all(|field| times(field) == 1);
        let absent = || self.table.wanted_columns().into_iter().filter(|field| times(field) == 0).collect();
        self.absent = (self.quick && once).then(absent);
    }

    /// Puts the record that begins at `from` into the table, if it is without quotes and fits; gives where the next
    /// begins. Where `None`, something may have been put, and the general way decides.
    #[inline(always)]
    fn simple(&mut self, bytes: &[u8], from: usize, sequence: i64) -> Option<usize> {
        let absent = self.absent.as_ref()?;
        if matches!(byte(bytes, from), b'\n' | b'\r') {
            return None;
        }
        let (mut at, mut ended) = (from, false);
        for column in &self.columns {
            if ended {
                return None;
            }
            let cell = match *column {
                Some(field) => simple_cell(&mut self.table, bytes, at, self.delimiter, field)?,
                None => cell_end(bytes, at, self.delimiter)?,
            };
            ended = match byte(bytes, cell) {
                b'\n' => true,
                found if found == self.delimiter => false,
                _ => return None,
            };
            at = cell + 1;
        }
        (ended && self.table.close(absent, sequence, None)).then_some(at)
    }

    fn record(&mut self, line: &str) -> Result<(), String> {
        let mut cells = 0;
        for cell in Cells::new(line, self.delimiter) {
            let cell = cell?;
            if let Some(Some(field)) = self.columns.get(cells).copied() {
                self.table.put(field, found(self.table.written(field), &cell))?;
            }
            cells += 1;
        }
        if cells != self.columns.len() {
            return Err(format!("found {cells} cells, wanted {} as in the header", self.columns.len()));
        }
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, frames: &Frames) -> Rows {
        let Layout::Lines { at } = frames.layout else { unreachable!("CSV lies in lines") };
        let bytes = frames.bytes.as_slice();
        let (mut from, mut first) = (0, true);
        self.absent = None;
        while from < bytes.len() {
            let sequence = at + from as i64;
            if let Some(next) = self.simple(bytes, from, sequence) {
                from = next;
                continue;
            }
            let end = RecordEnds::at(self.delimiter, from).next(bytes).unwrap_or(bytes.len());
            let record = without_end(&bytes[from..end]);
            let text = std::str::from_utf8(record);
            if first {
                self.header(text.unwrap_or_default());
            } else if !record.is_empty() {
                self.table.undo();
                let read = text.map_err(|_| not_utf8(record)).and_then(|line| self.record(line));
                if let Err(reason) = read.and_then(|()| self.table.commit(sequence, None)) {
                    self.table.reject(sequence, reason, record);
                }
            }
            (from, first) = (end, false);
        }
        self.table.finish()
    }
}

/// Puts a wanted cell without quotes into the table, and gives where it ends: at a delimiter or line feed.
#[inline(always)]
fn simple_cell(table: &mut Table, bytes: &[u8], at: usize, delimiter: u8, field: usize) -> Option<usize> {
    let written = table.written(field);
    if is_number(written)
        && let Some((found, end)) = scan::number(bytes, at)
        && (byte(bytes, end) == delimiter || byte(bytes, end) == b'\n')
        // A negative zero without decimals is an integer here, so it has no sign.
        && !(byte(bytes, at) == b'-' && end == at + 2)
    {
        return table.place(field, found).then_some(end);
    }
    let end = cell_end(bytes, at, delimiter)?;
    let ends_line = byte(bytes, end) == b'\n';
    let cut = if ends_line && end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
    if written.kind == Kind::Text && cut > at {
        return table.place_text(field, &bytes[at..cut]).then_some(end);
    }
    let cell = Cell { text: Cow::Borrowed(std::str::from_utf8(&bytes[at..cut]).ok()?), quoted: false };
    table.place(field, found(written, &cell)).then_some(end)
}

/// Where the delimiter or line feed is that ends a cell in UTF-8, if nothing unusual comes before it.
#[inline(always)]
fn cell_end(bytes: &[u8], from: usize, delimiter: u8) -> Option<usize> {
    let mut at = from;
    let mut ascii = true;
    loop {
        let (stop, plain) = scan::text_until(bytes, at, [b'"', delimiter, 0x1f]);
        ascii &= plain;
        match byte(bytes, stop) {
            b'\r' | b'\t' if byte(bytes, stop) != delimiter => at = stop + 1,
            _ => return scan::is_utf8(&bytes[from..stop.min(bytes.len())], ascii).then_some(stop),
        }
    }
}

fn is_number(written: Written) -> bool {
    match written.kind {
        Kind::Int | Kind::Float => true,
        Kind::Time => written.unit != TimeUnit::Text,
        Kind::Bool | Kind::Text => false,
    }
}

/// Whether a header line names all wanted columns once; the error says which it does not, and the nearest it has.
pub fn check_header(line: &[u8], delimiter: u8, wanted: &Wanted) -> Result<(), String> {
    let text = std::str::from_utf8(without_end(line)).map_err(|_| format!("header: {}", not_utf8(line)))?;
    let names: Result<Vec<Cow<'_, str>>, String> =
        Cells::new(text, delimiter).map(|cell| cell.map(|c| c.text)).collect();
    let names = names.map_err(|wrong| format!("header: {wrong}"))?;
    let table = Table::new(wanted);
    for name in table.names() {
        match names.iter().filter(|n| *n == name).count() {
            1 => {}
            0 => {
                let near = fault::nearest(name, names.iter().map(|n| n.as_ref()));
                let near = near.map_or_else(|| format!("found `{text}`"), |near| format!("did you mean `{near}`?"));
                return Err(format!("no column `{name}` in the header: {near}"));
            }
            times => return Err(format!("the header names column `{name}` {times} times, wanted once")),
        }
    }
    Ok(())
}

/// The header line of a file that has none.
pub fn header_of<'a>(columns: impl IntoIterator<Item = &'a str>, delimiter: u8) -> Vec<u8> {
    let mut line = Vec::new();
    for name in columns {
        if !line.is_empty() {
            line.push(delimiter);
        }
        line.extend_from_slice(format!("\"{}\"", name.replace('"', "\"\"")).as_bytes());
    }
    line.push(b'\n');
    line
}

/// Finds where records end in bytes that begin with one, and that may grow between calls.
#[derive(Clone, Debug)]
pub struct RecordEnds {
    delimiter: u8,
    scanned: usize,
    inside: bool,
    /// Just behind the last closing quote: another one there was an escape.
    closed: usize,
}

impl RecordEnds {
    /// At the beginning of a record.
    pub fn new(delimiter: u8) -> RecordEnds {
        RecordEnds::at(delimiter, 0)
    }

    /// At the beginning of the record that begins there.
    fn at(delimiter: u8, scanned: usize) -> RecordEnds {
        RecordEnds { delimiter, scanned, inside: false, closed: usize::MAX }
    }

    /// What lies between cells.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The next end of a record, behind its `\n`; `None` when there is none in what there is so far. Every byte is
    /// looked at once.
    pub fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let rest = &bytes[self.scanned..];
            let hit = if self.inside { memchr::memchr(b'"', rest) } else { memchr::memchr2(b'"', b'\n', rest) };
            let Some(at) = hit.map(|n| self.scanned + n) else {
                self.scanned = bytes.len();
                return None;
            };
            self.scanned = at + 1;
            if bytes[at] == b'\n' && !self.inside {
                return Some(at + 1);
            }
            let begins = at == 0 || bytes[at - 1] == self.delimiter || bytes[at - 1] == b'\n';
            if self.inside {
                (self.inside, self.closed) = (false, at + 1);
            } else if begins || self.closed == at {
                self.inside = true;
            }
        }
    }
}

/// A record without its line break.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

struct Cell<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

/// The cells of a record.
struct Cells<'a> {
    rest: Option<&'a str>,
    delimiter: u8,
    count: usize,
}

impl<'a> Cells<'a> {
    fn new(line: &'a str, delimiter: u8) -> Cells<'a> {
        Cells { rest: Some(line), delimiter, count: 0 }
    }

    /// A cell whose opening quote has been taken off.
    fn quoted(&mut self, rest: &'a str) -> Result<Cell<'a>, String> {
        let (mut end, mut escapes) = (0, false);
        loop {
            let Some(quote) = memchr::memchr(b'"', &rest.as_bytes()[end..]) else {
                return Err(format!("cell {}: found no closing quote", self.count));
            };
            end += quote;
            if rest.as_bytes().get(end + 1) != Some(&b'"') {
                break;
            }
            (end, escapes) = (end + 2, true);
        }
        let after = &rest[end + 1..];
        self.rest = match after.as_bytes().first() {
            None => None,
            Some(byte) if *byte == self.delimiter => Some(&after[1..]),
            Some(_) => {
                return Err(format!("cell {}: found text behind the closing quote, wanted a delimiter", self.count));
            }
        };
        let text = if escapes { Cow::Owned(rest[..end].replace("\"\"", "\"")) } else { Cow::Borrowed(&rest[..end]) };
        Ok(Cell { text, quoted: true })
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Cell<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        self.count += 1;
        if let Some(rest) = rest.strip_prefix('"') {
            return Some(self.quoted(rest));
        }
        let text = match memchr::memchr(self.delimiter, rest.as_bytes()) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        Some(Ok(Cell { text: Cow::Borrowed(text), quoted: false }))
    }
}

/// What a cell says, read as its field is written.
fn found<'a>(written: Written, cell: &'a Cell<'_>) -> Found<'a> {
    let text = cell.text.as_ref();
    if text.is_empty() && !(cell.quoted && written.kind == Kind::Text) {
        return Found::Null;
    }
    let trimmed = text.trim();
    match written.kind {
        Kind::Bool if trimmed.eq_ignore_ascii_case("true") => Found::Bool(true),
        Kind::Bool if trimmed.eq_ignore_ascii_case("false") => Found::Bool(false),
        _ if is_number(written) => number(trimmed).unwrap_or(Found::Text(text)),
        _ => Found::Text(text),
    }
}

fn number(text: &str) -> Option<Found<'static>> {
    if let Ok(value) = text.parse() {
        return Some(Found::Int(value));
    }
    // Rust reads `nan` and `inf` as floats, which no field takes.
    text.parse().ok().filter(|f: &f64| f.is_finite()).map(Found::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::table::text_of;
    use crate::formats::{Fields, TimeFrom};

    fn wanted() -> Wanted {
        let fields: Fields = toml::from_str("t='time(ms)'\ns='text'\nf='float'\ni='int'\nb='bool'").expect("fields");
        let schema = fields.schema().filtered(|name| name != "t");
        let time = TimeFrom::Field("t".into(), fields.0["t"]);
        Wanted { written: fields.written(&schema), event_time: time, schema }
    }

    fn check(text: &[u8], expected: &str) {
        let wanted = wanted();
        let frames = Frames { bytes: text.to_vec(), layout: Layout::Lines { at: 0 } };
        assert_eq!(
            text_of(&wanted, CsvDecoder::new(&wanted, b',').decode(&frames)),
            expected,
            "{}",
            String::from_utf8_lossy(text)
        );
    }

    #[test]
    fn records_become_rows_or_say_why_not() {
        check(
            b"t,s,i,f,b\n1,plain,7,0.5,true\n2,\"a \"\"b\"\",\nc\", 8 ,1e3,FALSE\r\n\n3,,,,\n4,\"\",\"\",\"2\",\n",
            "\
10 1970-01-01T00:00:00.001Z {\"b\":true,\"f\":0.5,\"i\":7,\"s\":\"plain\"}
29 1970-01-01T00:00:00.002Z {\"b\":false,\"f\":1000.0,\"i\":8,\"s\":\"a \\\"b\\\",\\nc\"}
60 1970-01-01T00:00:00.003Z {\"b\":null,\"f\":null,\"i\":null,\"s\":null}
66 1970-01-01T00:00:00.004Z {\"b\":null,\"f\":2.0,\"i\":null,\"s\":\"\"}
",
        );
        check(
            b"i,t,x,f,s\nx,1,,,\n1.0,1,,,\n1.5,1,,,\n,1,,NaN,\n,1,,inf,\n,,,,\n1,1\n1,1,,,,\n,1,,,\xff\n,1,\"x\"y,,\n,1,a\"b,,\n,1,\"open,,\n",
            "\
10 ! field `i`: found text \"x\", wanted int
17 1970-01-01T00:00:00.001Z {\"b\":null,\"f\":null,\"i\":1,\"s\":null}
26 ! field `i`: found number 1.5, wanted int
35 ! field `f`: found text \"NaN\", wanted float
44 ! field `f`: found text \"inf\", wanted float
53 ! field `t`: found null, wanted the event time
58 ! found 2 cells, wanted 5 as in the header
62 ! found 6 cells, wanted 5 as in the header
70 ! not UTF-8: found byte 0xff, column 6; wanted text in UTF-8
77 ! cell 3: found text behind the closing quote, wanted a delimiter
87 1970-01-01T00:00:00.001Z {\"b\":null,\"f\":null,\"i\":null,\"s\":null}
96 ! cell 3: found no closing quote
",
        );
        check(b"t,s", "");
        check(b"s\na\n", "2 ! no field `t`, which is the event time\n");
    }

    #[test]
    fn any_ascii_character_may_lie_between_cells() {
        let wanted = wanted();
        for delimiter in (0..128).filter(|byte| !b"\"\r\n".contains(byte)) {
            for line in ["1,a,-0,-0,true\n", "1,a", "1,a\n", "1", "1,a,5,0.5,true,7\n", ",,,,\n", "1,a,5,0.5,\r"] {
                let bytes = format!("t,s,i,f,b\n{line}").replace(',', char::from(delimiter).to_string().as_str());
                let frames = Frames { bytes: bytes.into_bytes(), layout: Layout::Lines { at: 0 } };
                let [quick, general] = [CsvDecoder::new, CsvDecoder::general]
                    .map(|decoder| text_of(&wanted, decoder(&wanted, delimiter).decode(&frames)));
                assert_eq!(quick, general, "{delimiter} {line:?}");
            }
        }
    }

    #[test]
    fn ends_are_the_same_whatever_comes_at_a_time() {
        let text = b"a,b\n\"x\ny\",1\n\"\"\"\n\"\"\",\"\"\n5\" pipe,2\n\"a\"b\"c,3\nlast";
        let ends = |step: usize| {
            let (mut ends, mut found) = (RecordEnds::new(b','), Vec::new());
            for upto in (1..text.len()).step_by(step).chain([text.len()]) {
                found.extend(std::iter::from_fn(|| ends.next(&text[..upto])));
            }
            found
        };
        assert_eq!(ends(1), [4, 12, 23, 33, 42]);
        for step in 2..text.len() {
            assert_eq!(ends(step), ends(1), "{step}");
        }
    }

    #[test]
    fn a_header_names_what_is_wanted() {
        let check = |line: &str, expected: Result<(), &str>| {
            assert_eq!(check_header(line.as_bytes(), b';', &wanted()), expected.map_err(str::to_owned), "{line}");
        };
        check("t;s;i;\"f\";b\r\n", Ok(()));
        check("T;s;i;f;b", Err("no column `t` in the header: did you mean `T`?"));
        check("t,s,i,f,b", Err("no column `b` in the header: found `t,s,i,f,b`"));
        check("t;s;i;f;b;f", Err("the header names column `f` 2 times, wanted once"));
        assert_eq!(check_header(&header_of(["t", "s", "i", "f", "b"], b';'), b';', &wanted()), Ok(()));
        assert_eq!(header_of(["a\"b"], b','), b"\"a\"\"b\"\n");
    }
}
