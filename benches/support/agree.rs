//! Do a decoder that learns and one that does not say the same? Records that are alike, mutated and arbitrary, for
//! both.
//!
//! Every difference in a row, a bit of a float, a time, a sequence, a reason or a payload is a panic that shows the
//! frame. The same seed makes the same records.

use arrow::array::Array;
use eagre::formats::csv::CsvDecoder;
use eagre::formats::json::JsonDecoder;
use eagre::formats::{Decoder, FIELD_KINDS, Frames, Layout, Messages, Rows, TimeFrom, TimeUnit, Wanted, Written};
use eagre::schema::{Field, Kind, Schema};

/// Frames for one pair of decoders, before there is another pair, and other shapes.
const FRAMES: u64 = 500;

/// Decodes so many frames of JSON in both ways.
///
/// # Panics
///
/// When they differ.
pub fn json(seed: u64, runs: u64) {
    let mut random = Random(seed);
    let mut done = 0;
    while done < runs {
        let wanted = random.wanted();
        let (mut learns, mut general) = (JsonDecoder::new(&wanted), JsonDecoder::general(&wanted));
        let shapes: Vec<Shape> = (0..random.below(5) + 1).map(|_| random.shape(&wanted)).collect();
        for _ in 0..FRAMES.min(runs - done) {
            let records: Vec<Vec<u8>> = (0..random.below(6) + 1).map(|_| random.json_record(&shapes)).collect();
            let layout = if wanted.event_time == TimeFrom::Envelope { 3 } else { 2 };
            let frames = if random.below(layout) == 0 { random.lines(records) } else { random.messages(records) };
            agree(&frames, learns.decode(&frames), general.decode(&frames));
        }
        done += FRAMES;
    }
}

/// Decodes so many frames of CSV in both ways.
///
/// # Panics
///
/// When they differ.
pub fn csv(seed: u64, runs: u64) {
    let mut random = Random(seed);
    let mut done = 0;
    while done < runs {
        let wanted = random.wanted();
        let delimiter = random.pick(b",;\t");
        let (mut quick, mut general) = (CsvDecoder::new(&wanted, delimiter), CsvDecoder::general(&wanted, delimiter));
        let mut names: Vec<&str> = NAMES.iter().copied().filter(|_| random.below(8) > 0).collect();
        if random.below(4) == 0 {
            names.push(random.pick(&NAMES));
        }
        for _ in 0..FRAMES.min(runs - done) {
            let mut bytes = names.join(char::from(delimiter).to_string().as_str()).into_bytes();
            bytes.push(b'\n');
            for _ in 0..random.below(6) + 1 {
                let mut record = random.csv_record(&names, &wanted, delimiter);
                random.mutate(&mut record);
                bytes.extend(record);
                bytes.extend_from_slice(random.pick(&[b"\n".as_slice(), b"\n", b"\r\n", b"\n\n", b""]));
            }
            let frames = Frames { bytes, layout: Layout::Lines { at: 7 } };
            agree(&frames, quick.decode(&frames), general.decode(&frames));
        }
        done += FRAMES;
    }
}

fn agree(frames: &Frames, one: Rows, other: Rows) {
    let show = || format!("{:?}\n{}\n{one:#?}\n{other:#?}", frames.layout, String::from_utf8_lossy(&frames.bytes));
    assert_eq!((&one.times, &one.sequences), (&other.times, &other.sequences), "{}", show());
    assert_eq!(one.bad, other.bad, "{}", show());
    for (column, same) in one.columns.iter().zip(&other.columns) {
        // As data, in which a float is its bits.
        assert!(column.to_data() == same.to_data(), "{}", show());
    }
}

/// Two are alike for longer than what a shape compares at once.
const NAMES: [&str; 11] =
    ["ts", "sensor", "value", "on", "count", "note", "é", "at", "meta", "temperature_inside_1", "temperature_inside_2"];
const NUMBERS: [&str; 31] = [
    "007",
    "-01.5",
    "-0",
    "0",
    "-0",
    "-0.0",
    "0.0",
    "7",
    "-1",
    "1767225600407",
    "74.314404",
    "-3.25",
    "200",
    "1e3",
    "1E-3",
    "0e999",
    "1e999",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "123456789012345678.5",
    "0.30000000000000004",
    "12345678901234567890123",
    "5e-324",
    "1.7976931348623157e308",
    "0.000000000000000000000001",
];
const TEXTS: [&str; 21] = [
    "",
    "a",
    "sensor-00670",
    "edge-159.line-5.eu-west-3.example.net",
    "é",
    "日本語",
    "tab\\t",
    "\\\"quoted\\\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00x",
    "\\u12",
    "\\u12g4",
    "\\x",
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.123456+01:00",
    "2026-01-31 12:00:00",
    "2026-02-30T00:00:00Z",
    "exactly8",
    "exactly sixteen!",
];
const TIMES: [&str; 5] = [
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.123456+01:00",
    "2026-01-31 12:00:00",
    "2024-02-29T23:59:59.999999999-23:59",
    "1969-12-31T23:59:59.5Z",
];
const VALUES: [&str; 14] = [
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[1, 2.5, \"x\"]",
    "{\"a\": 1, \"b\": {\"ts\": [true]}}",
    "[[[]]]",
    "NaN",
    "-Infinity",
    "[1,]",
    "{\"a\"}",
    "tru",
    "nulll",
];
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b"0",
    b"-",
    b".",
    b"e",
    b"\xff",
    b"\xc3",
    b"\xa9",
    b"\x00",
    b"\"ts\": 1, ",
    b"null",
    b"\\u0041",
    b"12345678",
];

/// What records of one shape have in common.
struct Shape {
    /// The names, and what kind of value each has.
    fields: Vec<(String, u64)>,
    comma: &'static str,
    colon: &'static str,
    end: &'static str,
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn wanted(&mut self) -> Wanted {
        let kinds: Vec<Written> = NAMES.iter().map(|_| self.pick(&FIELD_KINDS).1).collect();
        let mut usual = kinds.clone();
        let times = [self.pick(&["time", "time(s)", "time(ms)", "time(ns)"]), "text", "float"];
        for (place, name) in times.iter().enumerate().filter(|_| self.below(4) > 0) {
            usual[place] = FIELD_KINDS.iter().find(|(kind, _)| kind == name).expect("a kind of field").1;
        }
        let here: Vec<usize> = (0..NAMES.len()).filter(|_| self.below(3) > 0).collect();
        let event_time = match self.below(4) {
            0 => TimeFrom::Envelope,
            _ if usual[0].kind == Kind::Time => TimeFrom::Field("ts".to_owned(), usual[0]),
            _ => TimeFrom::Envelope,
        };
        let schema = Schema::new(here.iter().map(|i| Field::new(NAMES[*i], usual[*i].kind)));
        Wanted { schema, written: here.iter().map(|i| usual[*i]).collect(), event_time }
    }

    /// The kind of value that fits a field, mostly: where records were rejected as a rule, no shape would be learned.
    fn kind(&mut self, wanted: &Wanted, name: &str) -> u64 {
        let event_time = match &wanted.event_time {
            TimeFrom::Field(field, written) if field == name => Some(*written),
            _ => None,
        };
        let written = wanted.schema.index_of(name).map(|field| wanted.written[field]).or(event_time);
        match written.filter(|_| self.below(40) > 0) {
            Some(Written { kind: Kind::Bool, .. }) => 3,
            Some(Written { kind: Kind::Int, .. }) => 0,
            Some(Written { kind: Kind::Float, .. }) => self.pick(&[2, 2, 0]),
            Some(Written { kind: Kind::Text, .. }) => 1,
            Some(Written { kind: Kind::Time, unit: TimeUnit::Text }) => 5,
            Some(Written { kind: Kind::Time, .. }) => 6,
            None => self.below(7),
        }
    }

    /// A name, seldom with an escape.
    fn spelled(&mut self, name: &str) -> String {
        let first = name.chars().next().map_or(0, u32::from);
        if self.below(40) > 0 { name.to_owned() } else { name.replacen(|_| true, &format!("\\u{first:04x}"), 1) }
    }

    fn shape(&mut self, wanted: &Wanted) -> Shape {
        let mut fields: Vec<(String, u64)> =
            NAMES.iter().map(|name| (self.spelled(name), self.kind(wanted, name))).collect();
        fields.retain(|_| self.below(6) > 0);
        let (one, other) = (self.below(9) as usize, self.below(9) as usize);
        if one.max(other) < fields.len() {
            fields.swap(one, other);
        }
        let comma = self.pick(&[", ", ",", " ,\t", ",\n"]);
        let colon = self.pick(&[": ", ":", " : ", ":                     "]);
        Shape { fields, comma, colon, end: self.pick(&["}", "}", "} ", " }"]) }
    }

    fn json_record(&mut self, shapes: &[Shape]) -> Vec<u8> {
        if self.below(40) == 0 {
            return (0..self.below(30)).flat_map(|_| self.pick(&PIECES).to_vec()).collect();
        }
        let shape = &shapes[self.below(shapes.len() as u64) as usize];
        let mut text = String::from("{");
        for (i, (name, kind)) in shape.fields.iter().enumerate() {
            let comma = if i > 0 { shape.comma } else { "" };
            let value = self.json_value(*kind);
            text += &format!("{comma}\"{name}\"{}{value}", shape.colon);
        }
        let mut record = (text + shape.end).into_bytes();
        self.mutate(&mut record);
        record
    }

    /// Mostly of its kind: 0 whole number, 1 text, 2 decimal, 3 truth, 4 anything, 5 time, 6 time as a number.
    fn json_value(&mut self, kind: u64) -> String {
        match (kind, self.below(90)) {
            (_, 0) => self.pick(&VALUES).to_owned(),
            (_, 1) | (0, 2..=4) | (2, 2..=19) => self.pick(&NUMBERS).to_owned(),
            (_, 2) | (1, _) => format!("\"{}\"", self.text()),
            (_, 3) => "null".to_owned(),
            (5, _) => format!("\"{}\"", self.pick(&TIMES)),
            (6, _) => (self.next() >> (31 + self.below(33))).to_string(),
            (0, _) => (self.next() >> self.below(60)).to_string(),
            (2, _) => self.decimal(),
            (3, _) => self.pick(&["true", "false", "null"]).to_owned(),
            _ => self.pick(&VALUES[..7]).to_owned(),
        }
    }

    fn text(&mut self) -> String {
        if self.below(4) == 0 { self.pick(&TEXTS).to_owned() } else { self.pick(&TEXTS[..6]).to_owned() }
    }

    fn decimal(&mut self) -> String {
        let (digits, places) = (self.next() >> self.below(60), self.below(20) as usize);
        let sign = self.pick(&["", "", "-"]);
        match places {
            15.. => format!("{:?}", f64::from_bits(self.next())),
            _ => format!("{sign}{}.{:0width$}", digits % 1000, digits / 1000 % 10_000_000, width = places + 1),
        }
    }

    fn csv_record(&mut self, names: &[&str], wanted: &Wanted, delimiter: u8) -> Vec<u8> {
        let mut record = Vec::new();
        for i in 0..names.len() + usize::from(self.below(50) == 0) {
            if i > 0 {
                record.push(delimiter);
            }
            let kind = names.get(i).map(|name| self.kind(wanted, name));
            let cell = match self.below(90) {
                9..20 => self.pick(&NUMBERS).to_owned(),
                20.. => match kind {
                    Some(1) => self.text(),
                    Some(2) => self.decimal(),
                    Some(3) => self.pick(&["true", "false", "True", ""]).to_owned(),
                    Some(5) => self.pick(&TIMES).to_owned(),
                    Some(6) => (self.next() >> (31 + self.below(33))).to_string(),
                    _ => (self.next() >> self.below(60)).to_string(),
                },
                0 => String::new(),
                1 => self.text(),
                2 => format!("\"{}\"", self.text().replace('"', "\"\"")),
                3 => self.pick(&["true", "FALSE", " 7 ", "+5", "007", ".5", "5.", "inf", "a\"b", "\u{a0}7"]).to_owned(),
                4 => self.pick(&NUMBERS).to_owned(),
                5 | 6 => self.decimal(),
                _ => (self.next() >> self.below(60)).to_string(),
            };
            record.extend_from_slice(cell.as_bytes());
        }
        record
    }

    /// Leaves half of the records alone, and changes little in the others.
    fn mutate(&mut self, record: &mut Vec<u8>) {
        for _ in 0..[0, 0, 0, 0, 1, 1, 2, 4][self.below(8) as usize] {
            let at = self.below(record.len() as u64 + 1) as usize;
            let end = (at + self.below(4) as usize).min(record.len());
            match self.below(6) {
                0 => drop(record.drain(at..end)),
                1 => record.truncate(at),
                2 => drop(record.splice(at..at, self.pick(&PIECES).iter().copied())),
                3 => drop(record.splice(at..end, self.pick(&PIECES).iter().copied())),
                4 if at < record.len() => record[at] ^= 1 << self.below(8),
                _ => {
                    let copy = record[at..end].to_vec();
                    drop(record.splice(at..at, copy));
                }
            }
        }
    }

    fn lines(&mut self, records: Vec<Vec<u8>>) -> Frames {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(record);
            bytes.extend_from_slice(self.pick(&[b"\n".as_slice(), b"\n", b"\n", b"\r\n", b"\n\n", b"\r\r\n", b"\r"]));
        }
        if self.below(4) == 0 {
            bytes.pop();
        }
        Frames { bytes, layout: Layout::Lines { at: 100 } }
    }

    fn messages(&mut self, records: Vec<Vec<u8>>) -> Frames {
        let (mut bytes, mut messages) = (Vec::new(), Messages::default());
        for (i, record) in records.into_iter().enumerate() {
            let absent = self.below(30) == 0;
            bytes.extend_from_slice(if absent { b"" } else { &record });
            messages.ends.push(bytes.len());
            messages.sequences.push(i as i64);
            messages.times.push(if self.below(30) == 0 { -1 } else { self.below(1 << 50) as i64 });
            messages.absent.push(absent);
        }
        Frames { bytes, layout: Layout::Messages(messages) }
    }
}
