//! What a segment of a spool is made of: entries, one behind the other.
//!
//! ```text
//! entry   length u32 | CRC-32C u32 | body          all numbers little-endian; the length is that of the body, and the
//!                                                  checksum is over the length and the body
//! start   0 | "eagre spool 1" | first u64 | delivered u64      the first entry of every segment, and only there
//! record  1 | number u64 | time i64 | key length u32 | key | payload           no key: a length of 2^32 - 1
//! mark    2 | durable u64 | delivered u64
//! ```
//! Any bytes may be read: what is not an entry is `None`, never a panic and never a large allocation.

/// A line on its way to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was taken, in milliseconds since 1970.
    pub time: i64,
    /// The message's key.
    pub key: Option<&'a [u8]>,
    /// The message.
    pub payload: &'a [u8],
}

/// An entry of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The segment begins.
    Start {
        /// The number of its first record.
        first: u64,
        /// When the segment was made, all records up to this number were delivered.
        delivered: u64,
    },
    /// A record, with its number.
    Record(u64, Record<'a>),
    /// How far things had come when it was written.
    Mark {
        /// All records up to this number were durable.
        durable: u64,
        /// All records up to this number were delivered.
        delivered: u64,
    },
}

const FORMAT: &[u8] = b"eagre spool 1";
const NO_KEY: u32 = u32::MAX;
/// The bytes before the body.
const HEAD: usize = 8;
/// The bytes of a record besides its key and its payload.
const RECORD: usize = HEAD + 1 + 8 + 8 + 4;
/// The bytes of a mark.
pub const MARK: usize = HEAD + 1 + 8 + 8;

impl Record<'_> {
    /// How many bytes it takes in a segment.
    pub fn bytes(&self) -> usize {
        RECORD + self.key.map_or(0, <[u8]>::len) + self.payload.len()
    }
}

impl<'a> Entry<'a> {
    /// Writes it behind what is there.
    pub fn write(&self, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend_from_slice(&[0; HEAD]);
        match self {
            Entry::Start { first, delivered } => {
                to.push(0);
                to.extend_from_slice(FORMAT);
                to.extend_from_slice(&first.to_le_bytes());
                to.extend_from_slice(&delivered.to_le_bytes());
            }
            Entry::Record(number, record) => {
                to.push(1);
                to.extend_from_slice(&number.to_le_bytes());
                to.extend_from_slice(&record.time.to_le_bytes());
                to.extend_from_slice(&record.key.map_or(NO_KEY, |key| key.len() as u32).to_le_bytes());
                to.extend_from_slice(record.key.unwrap_or_default());
                to.extend_from_slice(record.payload);
            }
            Entry::Mark { durable, delivered } => {
                to.push(2);
                to.extend_from_slice(&durable.to_le_bytes());
                to.extend_from_slice(&delivered.to_le_bytes());
            }
        }
        let length = ((to.len() - begin - HEAD) as u32).to_le_bytes();
        to[begin..begin + 4].copy_from_slice(&length);
        let checksum = checksum(length, &to[begin + HEAD..]).to_le_bytes();
        to[begin + 4..begin + HEAD].copy_from_slice(&checksum);
    }

    /// The entry at a place, and where the next one begins; `None` if there is no whole entry.
    pub fn read(bytes: &'a [u8], at: usize) -> Option<(Entry<'a>, usize)> {
        let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let (stored, rest) = rest.split_first_chunk::<4>()?;
        let body = rest.get(..u32::from_le_bytes(*length) as usize)?;
        let entry = (checksum(*length, body) == u32::from_le_bytes(*stored)).then(|| Entry::parse(body))??;
        Some((entry, at + HEAD + body.len()))
    }

    fn parse(body: &'a [u8]) -> Option<Entry<'a>> {
        let (kind, body) = body.split_first()?;
        let mut body = Body(body);
        match kind {
            0 => {
                body.0 = body.0.strip_prefix(FORMAT)?;
                Some(Entry::Start { first: body.number()?, delivered: body.number()? })
            }
            1 => {
                let (number, time) = (body.number()?, body.number()? as i64);
                let key = match u32::from_le_bytes(body.chunk()?) {
                    NO_KEY => None,
                    length => {
                        let (key, rest) = body.0.split_at_checked(length as usize)?;
                        body.0 = rest;
                        Some(key)
                    }
                };
                Some(Entry::Record(number, Record { time, key, payload: body.0 }))
            }
            2 => Some(Entry::Mark { durable: body.number()?, delivered: body.number()? }),
            _ => None,
        }
    }
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn number(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::Random;

    fn all() -> Vec<Entry<'static>> {
        let record = |key: Option<&'static str>, payload: &'static str| {
            Entry::Record(7, Record { time: -3, key: key.map(str::as_bytes), payload: payload.as_bytes() })
        };
        let start = Entry::Start { first: 7, delivered: 6 };
        let mark = Entry::Mark { durable: u64::MAX, delivered: 0 };
        vec![start, record(None, "x"), record(Some(""), ""), record(Some("key"), "a long payload"), mark]
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let (mut bytes, mut at) = (Vec::new(), 0);
        all().iter().for_each(|entry| entry.write(&mut bytes));
        for entry in all() {
            let (read, next) = Entry::read(&bytes, at).expect("an entry");
            assert_eq!(read, entry);
            match entry {
                Entry::Record(_, record) => assert_eq!(next - at, record.bytes()),
                Entry::Mark { .. } => assert_eq!(next - at, MARK),
                Entry::Start { .. } => {}
            }
            at = next;
        }
        assert_eq!((at, Entry::read(&bytes, at)), (bytes.len(), None));
        assert_eq!(Entry::read(&bytes, at + 1), None);
    }

    #[test]
    fn a_changed_bit_or_a_missing_byte_is_seen() {
        for entry in all() {
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            assert_eq!(Entry::read(&bytes[..bytes.len() - 1], 0), None);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::read(&bytes, 0), None, "bit {bit} of {entry:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn any_bytes_with_a_right_checksum_are_an_entry_or_none() {
        let mut random = Random::new(1);
        for _ in 0..100_000 {
            let body: Vec<u8> = (0..random.pick(40)).map(|i| random.pick(if i == 0 { 4 } else { 256 }) as u8).collect();
            let length = (body.len() as u32).to_le_bytes();
            let bytes = [&length[..], &checksum(length, &body).to_le_bytes(), &body].concat();
            if let Some((entry, end)) = Entry::read(&bytes, 0) {
                let mut again = Vec::new();
                entry.write(&mut again);
                assert!(end == bytes.len() && again.len() <= bytes.len(), "{entry:?}");
            }
        }
    }
}
