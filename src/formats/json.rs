//! JSON to columns: one object a line, or one a message.
//!
//! `serde_json` reads each record straight into the columns; no value of a record is ever put together on the way. The
//! rules of typing are those of `table.rs`. Beyond them:
//!
//! - **Text** is UTF-8, or the record is rejected.
//! - **A record** is one JSON object. Anything else, and anything behind it, rejects the record. So do `NaN` and
//!   `Infinity`, which JSON does not have, and numbers too large for a float.
//! - **Numbers** are read to the nearest float, to the last bit.
//! - **An array or object** in a wanted field rejects the record, however deep it is; in other fields it is skipped,
//!   and neither way uses stack: nesting 10,000 deep does no harm.
//! - **Empty lines** are no records; a line may end with `\r\n`. An empty message is a record that is not JSON; a
//!   message without a payload (a tombstone) is rejected with that reason.
//!
//! A reason ends with the column where the reading stopped, counted in bytes from 1.

mod shape;

use crate::formats::table::{Found, Table, not_utf8};
use crate::formats::{Decoder, Frames, Layout, Messages, Rows, Wanted};
use crate::time::EventTime;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use shape::Shapes;
use std::fmt;
use std::ops::Range;

/// Decodes JSON in lines and in messages.
pub struct JsonDecoder {
    table: Table,
    /// What is tried first; the general decoder's alone where there is none.
    shapes: Option<Shapes>,
}

impl JsonDecoder {
    /// A decoder of the wanted fields.
    pub fn new(wanted: &Wanted) -> JsonDecoder {
        JsonDecoder { table: Table::new(wanted), shapes: Some(Shapes::new()) }
    }

    /// A decoder that reads every record as if it were the first: slow, and what [`JsonDecoder::new`] has to agree
    /// with.
    pub fn general(wanted: &Wanted) -> JsonDecoder {
        JsonDecoder { table: Table::new(wanted), shapes: None }
    }

    fn lines(&mut self, bytes: &[u8], at: i64) {
        let mut from = 0;
        while from < bytes.len() {
            if let Some(next) = self.line(bytes, from, at + from as i64) {
                from = next;
                continue;
            }
            let end = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |length| from + length);
            let cut = if end > from && bytes[end - 1] == b'\r' { end - 1 } else { end };
            if cut > from {
                self.record(&bytes[from..cut], at + from as i64, None);
            }
            from = end + 1;
        }
    }

    /// Reads a line of a known shape; gives where the next begins.
    #[inline(always)]
    fn line(&mut self, bytes: &[u8], from: usize, sequence: i64) -> Option<usize> {
        let (end, absent) = self.shapes.as_mut()?.read(&mut self.table, bytes, from)?;
        let next = match &bytes[end..] {
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => end + 2,
            [] | [b'\r'] => bytes.len(),
            _ => return None,
        };
        self.table.close(absent, sequence, None).then_some(next)
    }

    fn messages(&mut self, bytes: &[u8], messages: &Messages) {
        let mut from = 0;
        for (i, end) in messages.ends.iter().copied().enumerate() {
            let (sequence, envelope) = (messages.sequences[i], Some(messages.times[i]));
            if messages.absent[i] {
                self.table.reject(sequence, "no payload, wanted a JSON object".to_owned(), &[]);
            } else if !self.message(bytes, from..end, sequence, envelope) {
                self.record(&bytes[from..end], sequence, envelope);
            }
            from = end;
        }
    }

    /// Reads a message of a known shape; says whether it is one.
    #[inline(always)]
    fn message(&mut self, bytes: &[u8], at: Range<usize>, sequence: i64, envelope: Option<EventTime>) -> bool {
        let Some(shapes) = &mut self.shapes else { return false };
        let Some((end, absent)) = shapes.read(&mut self.table, bytes, at.start) else { return false };
        end == at.end && self.table.close(absent, sequence, envelope)
    }

    /// Reads a record of any shape. A known one that was tried in vain may have left something in the table.
    fn record(&mut self, payload: &[u8], sequence: i64, envelope: Option<EventTime>) {
        self.table.undo();
        let text = std::str::from_utf8(payload).map_err(|_| not_utf8(payload));
        let read = text.and_then(|text| read(&mut self.table, text).map(|()| text));
        match (read.and_then(|text| self.table.commit(sequence, envelope).map(|()| text)), &mut self.shapes) {
            (Err(reason), _) => self.table.reject(sequence, reason, payload),
            (Ok(text), Some(shapes)) => shapes.learn(&self.table, text),
            (Ok(_), None) => {}
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, frames: &Frames) -> Rows {
        match &frames.layout {
            Layout::Lines { at } => self.lines(&frames.bytes, *at),
            Layout::Messages(messages) => self.messages(&frames.bytes, messages),
        }
        self.table.finish()
    }
}

/// Puts the fields of any JSON object into the table: the truth, which a faster way for lines of a known shape, tried
/// before this one, has to agree with.
fn read(table: &mut Table, text: &str) -> Result<(), String> {
    let mut from = serde_json::Deserializer::from_str(text);
    let read = (&mut from).deserialize_map(Object(table)).and_then(|()| from.end());
    read.map_err(|error| reason(&error, text))
}

/// What serde_json says, as a sentence of ours.
#[cold]
fn reason(error: &serde_json::Error, text: &str) -> String {
    let said = error.to_string();
    let said = said.rfind(" at line ").map_or(said.as_str(), |end| &said[..end]);
    let (line, column) = (error.line().max(1), error.column().max(1));
    let place = if line == 1 { format!("column {column}") } else { format!("line {line}, column {column}") };
    if let Some(found) = said.strip_prefix("invalid type: ") {
        let found = found.split(", expected ").next().unwrap_or(found);
        return format!("found {found}, wanted a JSON object, {place}");
    }
    if error.is_data() {
        return format!("{said}, {place}");
    }
    let start = text.split('\n').take(line - 1).map(|l| l.len() + 1).sum::<usize>() + column.saturating_sub(2);
    let near = text.as_bytes().get(start..).unwrap_or_default();
    let near = &near[..near.len().min(5)];
    if ["NaN", "Inf", "nan", "inf"].iter().any(|word| near.windows(3).any(|w| w == word.as_bytes())) {
        return format!("not JSON: found NaN or Infinity, wanted a number or null, {place}");
    }
    format!("not JSON: {said}, {place}")
}

/// A record.
struct Object<'t>(&'t mut Table);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.0))? {
            match field {
                Some(field) => map.next_value_seed(Value { table: self.0, field })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a field; gives its number where it is wanted.
struct Name<'t>(&'t Table);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.field(name))
    }
}

/// The value of a wanted field.
struct Value<'t> {
    table: &'t mut Table,
    field: usize,
}

impl Value<'_> {
    #[inline]
    fn put<E: serde::de::Error>(self, found: Found<'_>) -> Result<(), E> {
        self.table.put(self.field, found).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(Found::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.put(Found::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.put(Found::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Found::Float(value as f64), Found::Int))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.put(Found::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put(Found::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        // Nothing fits an array, so this is an error and the elements are never read.
        self.put(Found::Array).and_then(|()| Err(A::Error::custom("an array fits no field")))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.put(Found::Object).and_then(|()| Err(A::Error::custom("an object fits no field")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::table::text_of;
    use crate::formats::{Fields, TimeFrom};

    fn wanted(fields: &str, event_time: &str) -> Wanted {
        let fields: Fields = toml::from_str(fields).expect("fields");
        let schema = fields.schema();
        let time = match event_time {
            "" => TimeFrom::Envelope,
            name => TimeFrom::Field(name.to_owned(), fields.0[name]),
        };
        Wanted { written: fields.written(&schema), event_time: time, schema: schema.filtered(|name| name != "hidden") }
    }

    fn usual() -> Wanted {
        let fields = "b='bool'\ni='int'\nf='float'\ns='text'\nt='time(ms)'";
        let mut wanted = wanted(fields, "t");
        wanted.schema = wanted.schema.filtered(|name| name != "t");
        wanted.written.pop();
        wanted
    }

    fn decode(wanted: &Wanted, lines: &[u8]) -> String {
        let frames = Frames { bytes: lines.to_vec(), layout: Layout::Lines { at: 1000 } };
        let general = text_of(wanted, JsonDecoder::general(wanted).decode(&frames));
        let mut learns = JsonDecoder::new(wanted);
        for round in ["first", "second"] {
            let learned = text_of(wanted, learns.decode(&frames));
            assert_eq!(learned, general, "{round} time: {}", String::from_utf8_lossy(lines));
        }
        general
    }

    /// One field and its value behind a good event time: the row as JSON without nulls, or the reason.
    fn check(field: &str, expected: &str) {
        let line = format!("{{\"t\":0,{field}}}");
        let text = decode(&usual(), line.as_bytes());
        let text = text.trim_start_matches("1000 ").trim_start_matches("1970-01-01T00:00:00Z ").trim_end();
        let short = text
            .replace("\"b\":null", "")
            .replace("\"i\":null", "")
            .replace("\"f\":null", "")
            .replace("\"s\":null", "");
        let short = if text.starts_with('{') { short.replace(",", "") } else { text.to_owned() };
        assert_eq!(short, expected, "{line}");
    }

    #[test]
    fn values_fit_their_fields_or_say_why_not() {
        check(r#""b":true"#, r#"{"b":true}"#);
        check(r#""b":1"#, "! field `b`: found number 1, wanted bool, column 12");
        check(r#""i":-7"#, r#"{"i":-7}"#);
        check(r#""i":1.0"#, r#"{"i":1}"#);
        check(r#""i":-0"#, r#"{"i":0}"#);
        check(r#""i":1e3"#, r#"{"i":1000}"#);
        check(r#""i":1.5"#, "! field `i`: found number 1.5, wanted int, column 14");
        check(r#""i":9223372036854775807"#, r#"{"i":9223372036854775807}"#);
        check(
            r#""i":9223372036854775808"#,
            "! field `i`: found number 9.223372036854776e18, wanted int of 64 bits, column 30",
        );
        check(r#""i":1e17"#, "! field `i`: found number 1e17, wanted int of 64 bits, column 15");
        check(r#""i":"7""#, "! field `i`: found text \"7\", wanted int, column 14");
        check(r#""f":3"#, r#"{"f":3.0}"#);
        check(r#""f":0.1e-2"#, r#"{"f":0.001}"#);
        check(r#""f":123456789012345678901234567890"#, r#"{"f":1.2345678901234568e29}"#);
        check(r#""f":"abc""#, "! field `f`: found text \"abc\", wanted float, column 16");
        check(r#""f":1e999"#, "! not JSON: number out of range, column 16");
        check(r#""s":"é\n\u00e9""#, r#"{"s":"é\né"}"#);
        check(r#""s":5"#, "! field `s`: found number 5, wanted text, column 12");
        check(r#""s":null"#, "{}");
        check(r#""s":[1]"#, "! field `s`: found an array, wanted text, column 12");
        check(r#""s":{"x":1}"#, "! field `s`: found an object, wanted text, column 12");
        check(r#""x":[{"y":[1]}]"#, "{}");
        check(r#""s":"a","s":"a""#, "! field `s` comes twice, wanted once, column 22");
        check(r#""s":"a","s":null"#, "! field `s` comes twice, wanted once, column 23");
        check(r#""x":1,"x":2"#, "{}");
        let long = format!("\"i\":\"{}\"", "x".repeat(50));
        check(&long, &format!("! field `i`: found text \"{}\"…, wanted int, column 63", "x".repeat(40)));
    }

    #[test]
    fn values_of_a_known_shape_are_what_they_are_in_general() {
        let values = "0 -0 -0.0 01 1. 7 9007199254740992 9007199254740993 -9007199254740993 9223372036854775807 \
            9223372036854775808 -9223372036854775808 -9223372036854775809 1234567890123456789 18446744073709551616 \
            1e3 1E-3 1e999 0e999 0.30000000000000004 5e-324 123456789.123456789 1e 1e+ +1 .5 NaN true false null tru \
            nulll [] [1] {} {\"x\":1} \"\" \"a\" \"é\" \"a\\nb\" \"\\u00e9\" \"\\ud83d\\ude00\" \"\\ud800\" \"\\udc00x\" \"\\u12\" \
            \"\\x\" \"\u{1f}\" \"open \"s\",\"s\":\"b\" 1,\"i\":2 1,\"t\":3 1,\"x\":3,\"x\":4 1}x 1}} \"\u{7f}\" '1'";
        let learned = r#"{"t":0,"b":true,"x":1,"i":5,"f":0.5,"s":"text"}"#;
        for value in values.split_whitespace() {
            for field in ["b", "x", "i", "f", "s", "t", "new"] {
                let others: String = learned[1..learned.len() - 1]
                    .split(',')
                    .filter(|part| !part.starts_with(&format!("\"{field}\"")))
                    .map(|part| format!("{part},"))
                    .collect();
                decode(&usual(), format!("{learned}\n{{{others}\"{field}\":{value}}}\n{learned}\n").as_bytes());
                let (start, end) = learned.split_once(&format!("\"{field}\":")).unwrap_or((learned, ""));
                let end = end.split_once(',').map_or("}", |(_, end)| end);
                decode(&usual(), format!("{learned}\n{start}\"{field}\":{value},{end}\n{learned}\r\n").as_bytes());
            }
        }
    }

    #[test]
    fn what_is_not_json_says_so() {
        for word in ["NaN", "Infinity", "-Infinity", "-NaN", "nan"] {
            let text = decode(&usual(), format!("{{\"t\":0,\"f\":{word}}}").as_bytes());
            assert!(
                text.contains("not JSON: found NaN or Infinity, wanted a number or null, column 1"),
                "{word}: {text}"
            );
        }
        let cases: [(&[u8], &str); 9] = [
            (b"hello", "1000 ! not JSON: expected value, column 1\n"),
            (b"{\"t\":0", "1000 ! not JSON: EOF while parsing an object, column 6\n"),
            (b"{\"t\":0}}", "1000 ! not JSON: trailing characters, column 8\n"),
            (b"[1]", "1000 ! found sequence, wanted a JSON object, column 0\n"),
            (b"5", "1000 ! found integer `5`, wanted a JSON object, column 1\n"),
            (b"null", "1000 ! found null, wanted a JSON object, column 4\n"),
            (b"   ", "1000 ! not JSON: EOF while parsing a value, column 3\n"),
            (b"\n\r\n\n", ""),
            (b"{\"t\":0,\"s\":\"\xff\"}", "1000 ! not UTF-8: found byte 0xff, column 13; wanted text in UTF-8\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(
                decode(&usual(), line),
                expected.replace("column 0", "column 1"),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn depth_uses_no_stack() {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        check(&format!("\"x\":{}", deep("[", "]")), "{}");
        check(&format!("\"x\":{}", deep("{\"a\":", "}")), "{}");
        check(&format!("\"s\":{}", deep("[", "]")), "! field `s`: found an array, wanted text, column 12");
        check(&format!("\"s\":{}", deep("{\"a\":", "}")), "! field `s`: found an object, wanted text, column 12");
        let text = decode(&usual(), deep("[", "]").as_bytes());
        assert!(text.contains("found sequence, wanted a JSON object"), "{text}");
    }

    #[test]
    fn a_bad_line_leaves_the_others_whole() {
        let lines = b"{\"t\":1,\"s\":\"a\",\"i\":1}\r\n{\"s\":\"lost\",\"b\":true,\"i\":\"x\",\"t\":2}\n\n\xff\xfe\n{\"b\":false,\"t\":3,\"s\":\"c\"}";
        let expected = "\
1000 1970-01-01T00:00:00.001Z {\"b\":null,\"f\":null,\"i\":1,\"s\":\"a\"}
1023 ! field `i`: found text \"x\", wanted int, column 28
1060 ! not UTF-8: found byte 0xff, column 1; wanted text in UTF-8
1063 1970-01-01T00:00:00.003Z {\"b\":false,\"f\":null,\"i\":null,\"s\":\"c\"}
";
        assert_eq!(decode(&usual(), lines), expected);
        let clean = decode(&usual(), &lines[..59]);
        assert_eq!(clean, expected.lines().take(2).map(|l| format!("{l}\n")).collect::<String>());
    }

    #[test]
    fn event_times_are_there_or_the_record_is_not() {
        for (kind, value, expected) in [
            ("time(ms)", "1767225600407", "2026-01-01T00:00:00.407Z {}"),
            ("time(s)", "1767225600.25", "2026-01-01T00:00:00.250Z {}"),
            ("time(s)", "-1", "1969-12-31T23:59:59Z {}"),
            ("time(us)", "1", "1970-01-01T00:00:00.000001Z {}"),
            ("time(ns)", "1999", "1970-01-01T00:00:00.000001Z {}"),
            ("time", "\"2026-01-01T01:00:00+01:00\"", "2026-01-01T00:00:00Z {}"),
            (
                "time",
                "5",
                "! field `t`: found number 5, wanted time as text such as \"2026-01-31T12:00:00Z\", column 6",
            ),
            (
                "time",
                "\"soon\"",
                "! field `t`: found text \"soon\", wanted time as text such as \"2026-01-31T12:00:00Z\", column 11",
            ),
            (
                "time(ms)",
                "\"5\"",
                "! field `t`: found text \"5\", wanted time as a number of milliseconds, of the years 1 to 9999, column 8",
            ),
            (
                "time(s)",
                "1767225600407",
                "! field `t`: found number 1767225600407, wanted time as a number of seconds, of the years 1 to 9999, column 18",
            ),
            (
                "time(s)",
                "1e300",
                "! field `t`: found number 1e300, wanted time as a number of seconds, of the years 1 to 9999, column 10",
            ),
            ("time(ms)", "null", "! field `t`: found null, wanted the event time, column 9"),
        ] {
            let mut wanted = wanted(&format!("t='{kind}'"), "t");
            wanted.schema = wanted.schema.filtered(|_| false);
            wanted.written.clear();
            assert_eq!(
                decode(&wanted, format!("{{\"t\":{value}}}").as_bytes()),
                format!("1000 {expected}\n"),
                "{kind} {value}"
            );
        }
        assert_eq!(decode(&usual(), b"{\"s\":\"a\"}"), "1000 ! no field `t`, which is the event time\n");
        let both = wanted("t='time(ms)'", "t");
        assert_eq!(
            decode(&both, b"{\"t\":1}\n{}\n"),
            "1000 1970-01-01T00:00:00.001Z {\"t\":\"1970-01-01T00:00:00.001Z\"}\n1008 ! no field `t`, which is the event time\n"
        );
    }

    #[test]
    fn messages_have_envelopes() {
        let wanted = wanted("s='text'", "");
        let parts: [(&[u8], i64, bool); 6] = [
            (b"{\"s\":\"a\"}", 5, false),
            (b"", 6, true),
            (b"", 7, false),
            (b"\xc3", 8, false),
            (b"\xa9", 9, false),
            (b"{\n\"s\":5}", -1, false),
        ];
        let mut messages = Messages::default();
        let mut bytes = Vec::new();
        for (i, (payload, time, absent)) in parts.into_iter().enumerate() {
            bytes.extend_from_slice(payload);
            messages.ends.push(bytes.len());
            messages.sequences.push(i as i64 * 10);
            messages.times.push(time);
            messages.absent.push(absent);
        }
        let mut decoder = JsonDecoder::new(&wanted);
        let frames = Frames { bytes, layout: Layout::Messages(messages) };
        let expected = "\
0 1970-01-01T00:00:00.000005Z {\"s\":\"a\"}
10 ! no payload, wanted a JSON object
20 ! not JSON: EOF while parsing a value, column 1
30 ! not UTF-8: found byte 0xc3, column 1; wanted text in UTF-8
40 ! not UTF-8: found byte 0xa9, column 1; wanted text in UTF-8
50 ! field `s`: found number 5, wanted text, line 2, column 5
";
        assert_eq!(text_of(&wanted, decoder.decode(&frames)), expected);
        assert_eq!(text_of(&wanted, decoder.decode(&frames)), expected, "a decoder is used again");
    }

    #[test]
    fn fields_are_found_by_name_whatever_their_number() {
        let names: Vec<String> = (0..300).map(|i| format!("field{i}")).collect();
        let fields: String = names.iter().map(|n| format!("{n}='int'\n")).collect();
        let wanted = wanted(&fields, "");
        let table = Table::new(&wanted);
        for name in &names {
            assert_eq!(table.field(name), wanted.schema.index_of(name), "{name}");
        }
        assert_eq!((table.field("field"), table.field("")), (None, None));
    }
}
