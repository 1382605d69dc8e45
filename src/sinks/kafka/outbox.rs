//! Messages that wait for their checkpoint: in memory, and as the checkpoint keeps them.
//!
//! ```text
//! version (1 byte), head (postcard), messages (postcard, one behind the other, compressed with zstd)
//! ```

use crate::fault::Failure;
use serde::{Deserialize, Serialize};
use std::iter;

/// A message that waits.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key.
    #[serde(borrow)]
    pub key: Option<&'a str>,
    /// The headers.
    #[serde(borrow)]
    pub headers: Vec<(&'a str, Option<&'a str>)>,
    /// The row.
    pub payload: &'a str,
}

/// Messages that wait, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    bytes: Vec<u8>,
    count: u64,
}

/// What an outbox says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which chain of runs it is of: those that went on from each other's checkpoints.
    pub chain: String,
    /// Whether anything of the chain had been published before.
    pub marked: bool,
    /// How many messages there are.
    count: u64,
}

impl Head {
    /// That of a chain of which nothing has been published.
    pub fn of(chain: String) -> Head {
        Head { chain, marked: false, count: 0 }
    }
}

const VERSION: u8 = 1;
const LEVEL: i32 = 1;

impl Messages {
    /// Adds a message.
    pub fn push(&mut self, message: &Waiting<'_>) {
        postcard::to_io(message, &mut self.bytes).expect("writing to memory does not fail");
        self.count += 1;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How much memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The messages, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Waiting<'_>> {
        let mut rest = &self.bytes[..];
        iter::from_fn(move || {
            let (message, behind) = next(rest)?.expect("messages were read before, or written here");
            rest = behind;
            Some(message)
        })
    }

    /// The outbox that keeps them.
    pub fn seal(&self, head: &Head) -> Result<Vec<u8>, Failure> {
        let head = Head { count: self.count, ..head.clone() };
        let mut outbox = postcard::to_extend(&head, vec![VERSION]).expect("writing to memory does not fail");
        zstd::stream::copy_encode(&self.bytes[..], &mut outbox, LEVEL)
            .map_err(|error| Failure::new(format!("messages cannot be compressed: {error}")))?;
        Ok(outbox)
    }

    /// What an outbox keeps.
    pub fn unseal(outbox: &[u8]) -> Result<(Head, Messages), Failure> {
        let wrong =
            |error: String| Failure::new(format!("what the checkpoint has of the Kafka sink is unreadable: {error}"));
        let rest = match outbox.split_first() {
            Some((&VERSION, rest)) => rest,
            version => {
                let version = version.map_or(0, |(version, _)| *version);
                let message = format!("the checkpoint is of another version of the Kafka sink ({version})");
                return Err(Failure::new(message).help("go on with the version of Eagre that wrote it"));
            }
        };
        let (head, rest): (Head, _) = postcard::take_from_bytes(rest).map_err(|error| wrong(error.to_string()))?;
        let bytes = zstd::decode_all(rest).map_err(|error| wrong(error.to_string()))?;
        let (mut behind, mut count) = (&bytes[..], 0);
        while let Some(message) = next(behind) {
            behind = message.map_err(|error| wrong(error.to_string()))?.1;
            count += 1;
        }
        if count != head.count {
            return Err(wrong(format!("{count} of {} messages are there", head.count)));
        }
        Ok((head, Messages { bytes, count }))
    }
}

/// The next message and what is behind it; `None` at the end.
fn next(bytes: &[u8]) -> Option<postcard::Result<(Waiting<'_>, &[u8])>> {
    (!bytes.is_empty()).then(|| postcard::take_from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting<'a>(key: Option<&'a str>, payload: &'a str) -> Waiting<'a> {
        Waiting { timestamp: 1_767_225_600_000, key, headers: vec![("host", key), ("engine", Some("eagre"))], payload }
    }

    #[test]
    fn messages_come_back_as_they_were() {
        let mut messages = Messages::default();
        let all = [waiting(Some("a"), "{}"), waiting(None, ""), Waiting { headers: vec![], ..waiting(Some("é"), "x") }];
        all.iter().for_each(|message| messages.push(message));
        let head = Head { chain: "7".into(), marked: true, count: 0 };
        let outbox = messages.seal(&head).expect("sealed");
        let (found, back) = Messages::unseal(&outbox).expect("read");
        assert_eq!((found, back.count(), &back), (Head { count: 3, ..head }, 3, &messages));
        assert_eq!(back.iter().collect::<Vec<_>>(), all);
        let (_, none) = Messages::unseal(&Messages::default().seal(&Head::default()).expect("sealed")).expect("read");
        assert_eq!((none.count(), none.iter().count()), (0, 0));
    }

    #[test]
    fn what_is_no_outbox_is_told() {
        let mut messages = Messages::default();
        (0..100).for_each(|_| messages.push(&waiting(Some("key"), "payload")));
        let outbox = messages.seal(&Head::default()).expect("sealed");
        let check = |bytes: &[u8], expected: &str| {
            let failure = Messages::unseal(bytes).expect_err("wrong").to_string();
            assert!(failure.contains(expected), "{failure}");
        };
        check(&[9, 0, 0], "another version of the Kafka sink (9)");
        check(&outbox[..outbox.len() / 2], "unreadable");
        check(&outbox[..2], "unreadable");
        let mut fewer = Messages { bytes: messages.bytes.clone(), count: 101 };
        check(&fewer.seal(&Head::default()).expect("sealed"), "100 of 101 messages");
        fewer.bytes.truncate(70);
        check(&fewer.seal(&Head::default()).expect("sealed"), "unreadable");
    }
}
