//! What it costs to turn events into bytes and back: abomonation beside what the engine uses.
//!
//! `cargo bench --bench codecs [-- <events> <runs>]` prints one table: nanoseconds an event (median of the runs) to
//! encode, to read every field in place, and to decode into owned events; bytes an event; whether equal events gave
//! equal bytes. `x` is the ratio to the floor of the column, measured in the same runs: a copy of the fields' bytes, a
//! walk over the events in memory, `Vec::clone`. All measurements of one run follow each other, so that a slow moment
//! of the machine falls on all of them.
//!
//! abomonation is unsound (RUSTSEC-2021-0120). This is its one place in the house: see
//! `docs/decisions/0001-abomonation.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; nothing here reaches an output of the engine"
)]

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use arrow::ipc::{reader::StreamDecoder, writer::StreamWriter};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

const EVENTS: usize = 100_000;
const RUNS: usize = 61;
/// The fields of one event without any format: three words and nine bytes of text.
const FIELD_BYTES: usize = 8 + 8 + 8 + 9;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Event {
    ts: i64,
    key: u64,
    value: f64,
    attrs: String,
}

/// An event whose text stays in the encoded bytes.
#[derive(serde::Deserialize)]
struct EventRef<'a> {
    ts: i64,
    key: u64,
    value: f64,
    attrs: &'a str,
}

/// One way to make bytes of events. `read` returns the sum of [`weigh`] over all events.
struct Codec {
    name: &'static str,
    encode: fn(&Input) -> Vec<u8>,
    read: fn(&mut Encoded) -> u64,
    decode: fn(&mut Encoded) -> Vec<Event>,
}

/// What the engine would hold before it encodes: rows for the row formats, columns for Arrow.
struct Input {
    events: Vec<Event>,
    columns: RecordBatch,
}

/// The same bytes twice: abomonation writes into its buffer when it reads, Arrow wants a shared one.
struct Encoded {
    bytes: Vec<u8>,
    shared: Buffer,
}

/// Nanoseconds of each run for one codec.
#[derive(Default)]
struct Timings {
    encode: Vec<f64>,
    read: Vec<f64>,
    decode: Vec<f64>,
}

fn main() {
    // cargo passes `--bench`; only numbers are ours.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let count = numbers.next().unwrap_or(EVENTS).max(1);
    let runs = numbers.next().unwrap_or(RUNS).max(1);
    let input = Input::new(events(count));

    let floor = Codec { name: "floor (copy, walk, clone)", encode: copy_fields, read: |_| 0, decode: |_| Vec::new() };
    let mut rows = vec![(floor, Encoded::new(copy_fields(&input)), Timings::default())];
    rows.extend(codecs().into_iter().map(|codec| {
        let encoded = Encoded::new((codec.encode)(&input));
        (codec, encoded, Timings::default())
    }));
    for (codec, encoded, _) in rows.iter_mut().skip(1) {
        assert_eq!((codec.read)(encoded), weigh_all(&input.events), "{} reads what it wrote", codec.name);
        assert_eq!((codec.decode)(encoded), input.events, "{} decodes what it wrote", codec.name);
    }

    for _ in 0..runs {
        for (at, (codec, encoded, timings)) in rows.iter_mut().enumerate() {
            timings.encode.push(nanoseconds(|| (codec.encode)(&input)));
            if at == 0 {
                timings.read.push(nanoseconds(|| weigh_all(&input.events)));
                timings.decode.push(nanoseconds(|| input.events.clone()));
            } else {
                timings.read.push(nanoseconds(|| (codec.read)(encoded)));
                timings.decode.push(nanoseconds(|| (codec.decode)(encoded)));
            }
        }
    }
    print(&input, runs, rows);
}

fn codecs() -> Vec<Codec> {
    vec![
        Codec {
            name: "abomonation 0.7.3 (unsound)",
            encode: abomonate,
            read: read_abomonated,
            decode: revive_abomonated,
        },
        Codec { name: "postcard", encode: to_postcard, read: read_postcard, decode: from_postcard },
        Codec { name: "serde_json", encode: to_json, read: read_json, decode: from_json },
        Codec { name: "Arrow IPC", encode: |input| to_ipc(&input.columns), read: read_ipc, decode: from_ipc },
        Codec { name: "Arrow IPC, from rows", encode: rows_to_ipc, read: read_ipc, decode: from_ipc },
    ]
}

fn print(input: &Input, runs: usize, mut rows: Vec<(Codec, Encoded, Timings)>) {
    let count = input.events.len() as f64;
    println!(
        "{count} events of {{ts i64, key u64, value f64, attrs String(9)}}; ns/event, median of {runs} runs; x = times the floor\n"
    );
    println!(
        "{:<28} {:>8} {:>8} {:>6} {:>8} {:>6} {:>8} {:>6}  equal bytes",
        "", "B/event", "encode", "x", "read", "x", "decode", "x"
    );
    // Made once and kept alive, so that its strings lie elsewhere in memory than the originals.
    let equal = Input::new(input.events.clone());
    let mut floors = None;
    for (codec, encoded, timings) in &mut rows {
        let [encode, read, decode] =
            [&mut timings.encode, &mut timings.read, &mut timings.decode].map(|times| median(times) / count);
        let floor = *floors.get_or_insert([encode, read, decode]);
        println!(
            "{:<28} {:>8.1} {encode:>8.2} {:>6.1} {read:>8.2} {:>6.1} {decode:>8.2} {:>6.1}  {}",
            codec.name,
            encoded.bytes.len() as f64 / count,
            encode / floor[0],
            read / floor[1],
            decode / floor[2],
            if (codec.encode)(input) == (codec.encode)(&equal) { "yes" } else { "no" },
        );
    }
}

fn nanoseconds<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    let result = black_box(work());
    let taken = start.elapsed().as_nanos() as f64;
    drop(result);
    taken
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seeded events: times in order, 10,000 keys, text of nine bytes.
fn events(count: usize) -> Vec<Event> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..count)
        .map(|i| Event {
            ts: 1_760_000_000_000_000 + i as i64 * 10,
            key: next() % 10_000,
            value: (next() >> 11) as f64 / (1_u64 << 53) as f64,
            attrs: format!("region-{:02}", next() % 100),
        })
        .collect()
}

impl Input {
    fn new(events: Vec<Event>) -> Input {
        let columns = columns(&events);
        Input { events, columns }
    }
}

impl Encoded {
    fn new(bytes: Vec<u8>) -> Encoded {
        Encoded { shared: Buffer::from(bytes.as_slice()), bytes }
    }
}

/// Touches every field, and the text where it lies.
fn weigh(ts: i64, key: u64, value: f64, attrs: &str) -> u64 {
    let text = attrs.as_bytes().last().copied().unwrap_or(0);
    (ts as u64).wrapping_add(key).wrapping_add(value.to_bits()).wrapping_add(u64::from(text))
}

fn weigh_all(events: &[Event]) -> u64 {
    events.iter().fold(0, |sum, e| sum.wrapping_add(weigh(e.ts, e.key, e.value, &e.attrs)))
}

/// The floor of encoding: as many bytes as the fields have, copied in one go.
fn copy_fields(input: &Input) -> Vec<u8> {
    static SOURCE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SOURCE.get_or_init(|| vec![7; input.events.len() * FIELD_BYTES]).clone()
}

/// abomonation: the memory of the events as it lies, pointers and padding included, then the text.
#[allow(unsafe_code, reason = "abomonation has no other interface; being measured here is all it does in this house")]
mod unsound {
    use super::{Event, Write};
    use abomonation::Abomonation;

    // By hand, because abomonation_derive's output trips lints of today's compiler.
    impl Abomonation for Event {
        unsafe fn entomb<W: Write>(&self, write: &mut W) -> std::io::Result<()> {
            // SAFETY: the caller's promise is passed on; only `attrs` owns memory elsewhere.
            unsafe { self.attrs.entomb(write) }
        }

        unsafe fn exhume<'b>(&mut self, bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
            // SAFETY: as in `entomb`.
            unsafe { self.attrs.exhume(bytes) }
        }

        fn extent(&self) -> usize {
            self.attrs.extent()
        }
    }

    pub fn encode(events: &Vec<Event>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(abomonation::measure(events));
        // SAFETY: none can be given: it copies padding, which is why the crate is unsound.
        unsafe { abomonation::encode(events, &mut bytes) }.expect("a vector takes all bytes");
        bytes
    }

    pub fn read(bytes: &mut [u8]) -> &Vec<Event> {
        assert!(bytes.as_ptr().cast::<Vec<Event>>().is_aligned(), "abomonation reads only what is aligned");
        // SAFETY: aligned, and written by `encode` of this very program with this very layout. Nothing else checks it.
        let (events, rest) = unsafe { abomonation::decode::<Vec<Event>>(bytes) }.expect("bytes of `encode`");
        assert!(rest.is_empty());
        events
    }
}

fn abomonate(input: &Input) -> Vec<u8> {
    unsound::encode(&input.events)
}

fn read_abomonated(encoded: &mut Encoded) -> u64 {
    weigh_all(unsound::read(&mut encoded.bytes))
}

fn revive_abomonated(encoded: &mut Encoded) -> Vec<Event> {
    unsound::read(&mut encoded.bytes).clone()
}

fn to_postcard(input: &Input) -> Vec<u8> {
    postcard::to_stdvec(&input.events).expect("events have a postcard form")
}

fn read_postcard(encoded: &mut Encoded) -> u64 {
    postcard::from_bytes::<Weight>(&encoded.bytes).expect("bytes of `to_postcard`").0
}

fn from_postcard(encoded: &mut Encoded) -> Vec<Event> {
    postcard::from_bytes(&encoded.bytes).expect("bytes of `to_postcard`")
}

fn to_json(input: &Input) -> Vec<u8> {
    serde_json::to_vec(&input.events).expect("events have a JSON form")
}

fn read_json(encoded: &mut Encoded) -> u64 {
    serde_json::from_slice::<Weight>(&encoded.bytes).expect("bytes of `to_json`").0
}

fn from_json(encoded: &mut Encoded) -> Vec<Event> {
    serde_json::from_slice(&encoded.bytes).expect("bytes of `to_json`")
}

/// The sum of [`weigh`] over a sequence of events that is never kept.
struct Weight(u64);

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
        deserializer.deserialize_seq(WeightVisitor)
    }
}

struct WeightVisitor;

impl<'de> Visitor<'de> for WeightVisitor {
    type Value = Weight;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sequence of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Weight, A::Error> {
        let mut sum = 0_u64;
        while let Some(event) = sequence.next_element::<EventRef<'de>>()? {
            sum = sum.wrapping_add(weigh(event.ts, event.key, event.value, event.attrs));
        }
        Ok(Weight(sum))
    }
}

fn columns(events: &[Event]) -> RecordBatch {
    let arrays: [(&str, ArrayRef); 4] = [
        ("ts", Arc::new(events.iter().map(|e| e.ts).collect::<Int64Array>())),
        ("key", Arc::new(events.iter().map(|e| e.key).collect::<UInt64Array>())),
        ("value", Arc::new(events.iter().map(|e| e.value).collect::<Float64Array>())),
        ("attrs", Arc::new(StringArray::from_iter_values(events.iter().map(|e| &e.attrs)))),
    ];
    RecordBatch::try_from_iter(arrays).expect("columns of one length")
}

fn rows_to_ipc(input: &Input) -> Vec<u8> {
    to_ipc(&columns(&input.events))
}

fn to_ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 4096);
    let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref()).expect("a vector takes all bytes");
    writer.write(batch).and_then(|()| writer.finish()).expect("a vector takes all bytes");
    drop(writer);
    bytes
}

/// The columns, without a copy: they point into the encoded bytes.
fn ipc_columns(encoded: &Encoded) -> RecordBatch {
    let mut rest = encoded.shared.clone();
    StreamDecoder::new().decode(&mut rest).expect("bytes of `to_ipc`").expect("one batch")
}

fn read_ipc(encoded: &mut Encoded) -> u64 {
    fields(&ipc_columns(encoded)).fold(0, |sum, (ts, key, value, attrs)| sum.wrapping_add(weigh(ts, key, value, attrs)))
}

fn from_ipc(encoded: &mut Encoded) -> Vec<Event> {
    let batch = ipc_columns(encoded);
    fields(&batch).map(|(ts, key, value, attrs)| Event { ts, key, value, attrs: attrs.to_owned() }).collect()
}

fn fields(batch: &RecordBatch) -> impl Iterator<Item = (i64, u64, f64, &str)> {
    let ts = batch.column(0).as_primitive::<Int64Type>().values();
    let key = batch.column(1).as_primitive::<UInt64Type>().values();
    let value = batch.column(2).as_primitive::<Float64Type>().values();
    let attrs = batch.column(3).as_string::<i32>();
    (0..batch.num_rows()).map(move |row| (ts[row], key[row], value[row], attrs.value(row)))
}
