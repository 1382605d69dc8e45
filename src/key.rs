//! Keys: the bytes that say which records belong together, their hash, and where that hash sends them.
//!
//! A key is made of the values of one or more columns, each as a tag byte and a payload whose byte order is the order
//! of the values, so that keys sort as their values do. The bytes are hashed once, with XXH3 (a specified algorithm:
//! stored state stays where it is), `key group = hash % 4096`, and a worker owns a range of key groups.

use crate::schema::Kind;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryArray, BooleanBuilder, Float64Builder, Int64Builder, StringArray,
    StringBuilder, TimestampMicrosecondBuilder, UInt64Array, make_builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The bytes of a key; short ones lie where the key is looked up, which spares a miss of the cache.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Their number, and they.
    Short(u8, [u8; SHORT]),
    /// Elsewhere.
    Long(Box<[u8]>),
}

/// Makes [`Bytes`] 24 bytes with length and tag.
const SHORT: usize = 22;

impl Bytes {
    /// A copy of a key's bytes.
    pub fn of(bytes: &[u8]) -> Bytes {
        if bytes.len() > SHORT {
            return Bytes::Long(bytes.into());
        }
        let mut short = [0; SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Bytes::Short(bytes.len() as u8, short)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Short(length, bytes) => &bytes[..*length as usize],
            Bytes::Long(bytes) => bytes,
        }
    }
}

/// How many key groups there are; fixed for ever, because state is stored by them.
pub const KEY_GROUPS: usize = 4096;

/// A key group: the unit in which state is stored and given to workers.
pub type KeyGroup = u16;

/// The key group of a hash.
pub fn group_of(hash: u64) -> KeyGroup {
    (hash % KEY_GROUPS as u64) as KeyGroup
}

/// The worker that owns a key group, of so many.
pub fn worker_of(group: KeyGroup, workers: usize) -> usize {
    group as usize * workers / KEY_GROUPS
}

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const TIME: u8 = 6;

/// How many bytes of text are copied at once.
const SPAN: usize = 32;

/// The keys of the rows of one batch, with their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    hashes: Vec<u64>,
}

impl Keys {
    /// The keys that these columns make, row by row. O(bytes).
    pub fn of(columns: &[ArrayRef], rows: usize) -> Keys {
        let mut keys = Keys {
            bytes: Vec::with_capacity(rows * 16),
            ends: Vec::with_capacity(rows),
            hashes: Vec::with_capacity(rows),
        };
        match columns {
            [text] if text.data_type() == &DataType::Utf8 => keys.encode_text(text),
            _ => keys.encode(columns, rows),
        }
        let mut start = 0;
        for end in &keys.ends {
            keys.hashes.push(xxh3_64(&keys.bytes[start..*end as usize]));
            start = *end as usize;
        }
        keys
    }

    /// The keys as two columns, to be sent or kept: bytes and hashes.
    pub fn to_columns(&self) -> [ArrayRef; 2] {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| *end as i32));
        let offsets = OffsetBuffer::new(starts.collect::<Vec<i32>>().into());
        let bytes = BinaryArray::new(offsets, self.bytes.as_slice().into(), None);
        [Arc::new(bytes), Arc::new(UInt64Array::from(self.hashes.clone()))]
    }

    /// The keys that [`Keys::to_columns`] gave; none where the columns are no such two.
    pub fn from_columns(bytes: &ArrayRef, hashes: &ArrayRef) -> Option<Keys> {
        let (bytes, hashes) = (bytes.as_binary_opt::<i32>()?, hashes.as_primitive_opt::<UInt64Type>()?);
        let (offsets, values) = (bytes.value_offsets(), bytes.value_data());
        let (first, last) = (*offsets.first()?, *offsets.last()?);
        Some(Keys {
            bytes: values[first as usize..last as usize].to_vec(),
            ends: offsets[1..].iter().map(|end| (end - first) as u32).collect(),
            hashes: hashes.values().to_vec(),
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The hash of every row's key.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The bytes of a row's key.
    pub fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    /// The keys of some rows, in that order.
    pub fn take(&self, rows: &[u32]) -> Keys {
        let mut taken = Keys {
            bytes: Vec::with_capacity(rows.len() * 16),
            ends: Vec::with_capacity(rows.len()),
            hashes: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            taken.bytes.extend_from_slice(self.key(*row as usize));
            taken.ends.push(taken.bytes.len() as u32);
            taken.hashes.push(self.hashes[*row as usize]);
        }
        taken
    }

    /// The keys of rows of several batches: `places` are pairs of batch and row.
    pub fn interleave(all: &[&Keys], places: &[(usize, usize)]) -> Keys {
        let mut taken = Keys::default();
        for (batch, row) in places {
            taken.bytes.extend_from_slice(all[*batch].key(*row));
            taken.ends.push(taken.bytes.len() as u32);
            taken.hashes.push(all[*batch].hashes[*row]);
        }
        taken
    }

    /// A single column of text, the common case: no terminator is needed behind the last column.
    fn encode_text(&mut self, column: &ArrayRef) {
        let text = column.as_string::<i32>();
        if text.null_count() > 0 {
            return self.encode(std::slice::from_ref(column), text.len());
        }
        let (offsets, data) = (text.value_offsets(), text.value_data());
        let length = offsets[text.len()] - offsets[0];
        self.bytes.resize(length as usize + text.len() + SPAN, 0);
        let mut end = 0;
        for bounds in offsets.windows(2) {
            let (from, until) = (bounds[0] as usize, bounds[1] as usize);
            let to = &mut self.bytes[end..];
            to[0] = TEXT;
            // A copy of a length that is known is no call; what is behind the text gives way to the next.
            match (to[1..].first_chunk_mut::<SPAN>(), data[from..].first_chunk::<SPAN>()) {
                (Some(to), Some(span)) if until - from <= SPAN => *to = *span,
                _ => to[1..][..until - from].copy_from_slice(&data[from..until]),
            }
            end += 1 + until - from;
            self.ends.push(end as u32);
        }
        self.bytes.truncate(end);
    }

    fn encode(&mut self, columns: &[ArrayRef], rows: usize) {
        for row in 0..rows {
            for (i, column) in columns.iter().enumerate() {
                encode_value(&mut self.bytes, column, row, i + 1 == columns.len());
            }
            self.ends.push(self.bytes.len() as u32);
        }
    }
}

/// The bytes of one key, from single-row columns: what [`Keys::of`] gives for that row.
pub fn encode_row(columns: &[ArrayRef], row: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, column) in columns.iter().enumerate() {
        encode_value(&mut bytes, column, row, i + 1 == columns.len());
    }
    bytes
}

/// The values of many keys as columns of these kinds; the inverse of [`Keys::of`].
pub fn decode<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone, kinds: &[Kind]) -> Vec<ArrayRef> {
    if let ([Kind::Text], Some(text)) = (kinds, decode_text(keys.clone())) {
        return vec![text];
    }
    let mut builders: Vec<Box<dyn ArrayBuilder>> = kinds.iter().map(|k| make_builder(&k.arrow(), 0)).collect();
    for key in keys {
        let mut rest = key;
        for (i, builder) in builders.iter_mut().enumerate() {
            rest = decode_value(rest, kinds[i], i + 1 == kinds.len(), builder.as_mut());
        }
    }
    builders.iter_mut().map(|b| b.finish()).collect()
}

/// A single column of text, the common case; `None` where a key is null, which the general way knows.
fn decode_text<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Option<ArrayRef> {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for key in keys {
        bytes.extend_from_slice(key.strip_prefix(&[TEXT])?);
        ends.push(i32::try_from(bytes.len()).ok()?);
    }
    // Whether it is UTF-8 is looked at once, not text by text.
    let text = StringArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), None);
    text.ok().map(|text| Arc::new(text) as ArrayRef)
}

/// A key as a person reads it: its values with `/` between them.
pub fn show(key: &[u8]) -> String {
    let mut words = Vec::new();
    let mut rest = key;
    while let Some((tag, payload)) = rest.split_first() {
        let (word, after) = show_value(*tag, payload);
        words.push(word);
        rest = after;
    }
    words.join("/")
}

fn encode_value(bytes: &mut Vec<u8>, column: &ArrayRef, row: usize, last: bool) {
    if column.is_null(row) {
        return bytes.push(NULL);
    }
    match column.data_type() {
        DataType::Boolean => bytes.push(if column.as_boolean().value(row) { TRUE } else { FALSE }),
        DataType::Int64 => encode_int(bytes, INT, column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(..) => {
            encode_int(bytes, TIME, column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Float64 => {
            bytes.push(FLOAT);
            bytes.extend_from_slice(&order_float(column.as_primitive::<Float64Type>().value(row)).to_be_bytes());
        }
        _ => encode_str(bytes, column.as_string::<i32>().value(row).as_bytes(), last),
    }
}

fn encode_int(bytes: &mut Vec<u8>, tag: u8, value: i64) {
    bytes.push(tag);
    bytes.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
}

/// Text ends at `00`, and a `00` within it is written `00 ff`; the last column needs neither.
fn encode_str(bytes: &mut Vec<u8>, text: &[u8], last: bool) {
    bytes.push(TEXT);
    if last {
        return bytes.extend_from_slice(text);
    }
    for byte in text {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

/// Bits whose unsigned order is the order of the floats; all NaNs are one, and `-0` is `0`.
fn order_float(value: f64) -> u64 {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn restore_float(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

fn fixed(payload: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = payload.split_at(8);
    (u64::from_be_bytes(number.try_into().expect("eight bytes")), rest)
}

/// The text at the head of a payload and what follows it.
fn text(payload: &[u8], last: bool) -> (Cow<'_, str>, &[u8]) {
    if last {
        return (String::from_utf8_lossy(payload), &[]);
    }
    let mut bytes = Vec::new();
    let mut at = 0;
    while payload[at] != 0 || payload[at + 1] != 0 {
        bytes.push(payload[at]);
        at += if payload[at] == 0 { 2 } else { 1 };
    }
    (String::from_utf8_lossy(&bytes).into_owned().into(), &payload[at + 2..])
}

fn decode_value<'a>(key: &'a [u8], kind: Kind, last: bool, builder: &mut dyn ArrayBuilder) -> &'a [u8] {
    let any = builder.as_any_mut();
    let (tag, payload) = key.split_first().expect("a key has every column");
    let null = *tag == NULL;
    let mut rest = payload;
    let mut number = || {
        let (number, after) = fixed(payload);
        rest = after;
        number
    };
    match kind {
        Kind::Bool => builder_of::<BooleanBuilder>(any).append_option((!null).then_some(*tag == TRUE)),
        Kind::Int => builder_of::<Int64Builder>(any).append_option((!null).then(|| (number() ^ 1 << 63) as i64)),
        Kind::Time => {
            builder_of::<TimestampMicrosecondBuilder>(any).append_option((!null).then(|| (number() ^ 1 << 63) as i64))
        }
        Kind::Float => builder_of::<Float64Builder>(any).append_option((!null).then(|| restore_float(number()))),
        Kind::Text if null => builder_of::<StringBuilder>(any).append_null(),
        Kind::Text => {
            let (value, after) = text(payload, last);
            rest = after;
            builder_of::<StringBuilder>(any).append_value(value);
        }
    }
    rest
}

fn builder_of<B: ArrayBuilder>(any: &mut dyn std::any::Any) -> &mut B {
    any.downcast_mut::<B>().expect("the builder of the column's kind")
}

/// A last column of text has no terminator; one in the middle has.
fn show_value(tag: u8, payload: &[u8]) -> (String, &[u8]) {
    match tag {
        NULL => ("null".into(), payload),
        FALSE | TRUE => ((tag == TRUE).to_string(), payload),
        INT | TIME => {
            let (bits, rest) = fixed(payload);
            let value = (bits ^ 1 << 63) as i64;
            (if tag == INT { value.to_string() } else { crate::time::format(value) }, rest)
        }
        FLOAT => {
            let (bits, rest) = fixed(payload);
            (restore_float(bits).to_string(), rest)
        }
        _ => {
            let (word, rest) = text(payload, !payload.windows(2).any(|w| w == [0, 0]));
            (word.into_owned(), rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Float64Array, Int64Array};

    fn columns() -> Vec<ArrayRef> {
        vec![
            Arc::new(StringArray::from(vec![Some("a"), Some("a\0b"), None, Some("a"), Some("")])),
            Arc::new(Int64Array::from(vec![Some(-5), Some(0), Some(7), None, Some(i64::MIN)])),
            Arc::new(Float64Array::from(vec![Some(-1.5), Some(0.0), Some(f64::INFINITY), Some(2.0), None])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(true)])),
            Arc::new(StringArray::from(vec![Some("x"), Some("x\0\0"), None, Some("é"), Some("")])),
        ]
    }

    #[test]
    fn keys_come_back_as_the_values_they_were_made_of() {
        let columns = columns();
        let kinds = [Kind::Text, Kind::Int, Kind::Float, Kind::Bool, Kind::Text];
        let keys = Keys::of(&columns, 5);
        let back = decode((0..5).map(|row| keys.key(row)), &kinds);
        for (before, after) in columns.iter().zip(&back) {
            assert_eq!(before, after);
        }
        for text in [&columns[0], &columns[4], &columns[0].slice(0, 2)] {
            let keys = Keys::of(std::slice::from_ref(text), text.len());
            assert_eq!(&decode((0..text.len()).map(|row| keys.key(row)), &[Kind::Text])[0], text);
        }
        assert_eq!(show(keys.key(0)), "a/-5/-1.5/true/x");
        assert_eq!(keys.take(&[3, 1]).key(1), keys.key(1));
        assert_eq!(keys.key(3), encode_row(&columns, 3));
    }

    #[test]
    fn keys_sort_as_their_values_do() {
        let floats = [f64::NEG_INFINITY, -2.0, -0.5, 0.0, 1e-300, 3.0, f64::INFINITY];
        let keys = Keys::of(&[Arc::new(Float64Array::from(floats.to_vec())) as ArrayRef], floats.len());
        assert!((1..floats.len()).all(|i| keys.key(i - 1) < keys.key(i)));
        let texts = ["", "a", "a\0", "ab", "b"];
        let column = Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let keys = Keys::of(&[column.clone(), column], texts.len());
        assert!((1..texts.len()).all(|i| keys.key(i - 1) < keys.key(i)));
    }

    #[test]
    fn hashes_never_change() {
        let keys = Keys::of(&[Arc::new(StringArray::from(vec!["pump-17"])) as ArrayRef], 1);
        assert_eq!(keys.hashes()[0], xxh3_64(b"\x05pump-17"));
        assert_eq!(worker_of(4095, 3), 2);
        assert_eq!((0..KEY_GROUPS).filter(|g| worker_of(*g as KeyGroup, 3) == 0).count(), 1366);
    }
}
