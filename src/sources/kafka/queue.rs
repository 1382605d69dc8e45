//! The queue of one partition, emptied many messages at a time.
//!
//! Here is the `unsafe` code of the source. librdkafka's `rd_kafka_consume_batch_queue` costs 0.10 us of our thread
//! a message where the safe `poll` costs 0.22 us, but rdkafka has no binding for it. What it rests on:
//!
//! 1. The native queue is a counted reference that this type owns, taken from a client which the type keeps alive.
//! 2. A message that the batch call hands over belongs to us until `rd_kafka_message_destroy`; topic, payload and
//!    error text lie in memory that it owns.
//! 3. librdkafka's functions may be called from any thread.

#![allow(unsafe_code, reason = "rdkafka has no binding for reading in batches")]

use crate::kafka_client::Watch;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as native;
use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

/// What lay in the queue.
pub enum Event<'a> {
    /// A message.
    Message {
        /// Its offset.
        offset: i64,
        /// Its timestamp in milliseconds, if it has one.
        millis: Option<i64>,
        /// Its payload; `None` for a tombstone.
        payload: Option<&'a [u8]>,
    },
    /// Everything before this offset has been read, and there is nothing more just now.
    End {
        /// The offset that comes next.
        offset: i64,
    },
    /// Something is wrong with the partition.
    Wrong {
        /// What.
        code: RDKafkaErrorCode,
        /// The same in words.
        reason: String,
    },
}

/// The queue of one partition; messages come into it from the moment the partition is assigned.
pub struct Queue {
    native: NativeQueue,
    batch: Vec<*mut native::rd_kafka_message_t>,
    /// Wakes who reads, and keeps the client alive; declared last because the native queue must go first.
    _split: PartitionQueue<Watch>,
}

// SAFETY: the pointers in `batch` are null between calls, and the native queue may be used from any thread (clause 3).
unsafe impl Send for Queue {}

struct NativeQueue(NonNull<native::rd_kafka_queue_t>);

impl Drop for NativeQueue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours (clause 1) and given back once.
        unsafe { native::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// A message that is ours until it is dropped.
struct Message(NonNull<native::rd_kafka_message_t>);

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is ours (clause 2) and given back once.
        unsafe { native::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

impl Queue {
    /// Splits a partition from the rest of its consumer; `wake` is called when the queue was empty and is so no more.
    /// To be called before the partition is assigned. `None` where librdkafka does not know what a topic of that name
    /// could be.
    pub fn split(
        consumer: &Arc<BaseConsumer<Watch>>,
        topic: &str,
        partition: i32,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Option<Queue> {
        let mut split = consumer.split_partition_queue(topic, partition)?;
        split.set_nonempty_callback(wake);
        let topic = CString::new(topic).ok()?;
        // SAFETY: client and topic are valid for the call, and `split` keeps the client alive from here on (clause 1).
        let queue =
            unsafe { native::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition) };
        Some(Queue { native: NativeQueue(NonNull::new(queue)?), batch: Vec::new(), _split: split })
    }

    /// Gives what lies in the queue, at most `limit` events, in order, and says how many there were. Never waits.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(Event<'_>)) -> usize {
        self.batch.clear();
        self.batch.resize(limit, ptr::null_mut());
        // SAFETY: the queue lives (clause 1) and `batch` has room for `limit` pointers.
        let count =
            unsafe { native::rd_kafka_consume_batch_queue(self.native.0.as_ptr(), 0, self.batch.as_mut_ptr(), limit) };
        let messages: Vec<Message> = self.batch[..usize::try_from(count).unwrap_or(0)]
            .iter()
            .filter_map(|m| NonNull::new(*m))
            .map(Message)
            .collect();
        self.batch.clear();
        messages.iter().for_each(|message| take(message.event()));
        messages.len()
    }
}

/// The offset behind the newest message of a partition, as the last answer of its broker said; asks nobody.
pub fn high_watermark(consumer: &BaseConsumer<Watch>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and topic are valid for the call, and it writes to the two numbers only.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (code == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Commits offsets to the group of a consumer, without waiting: what came of it is told to the consumer's context when
/// it is polled. (The commits of rdkafka that do not wait tell nobody.)
pub fn commit(consumer: &BaseConsumer<Watch>, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
    use native::rd_kafka_resp_err_t::*;
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives, and the reference to its queue is ours to give back (clause 1).
    let queue = unsafe { native::rd_kafka_queue_get_consumer(client) };
    let queue = NativeQueue(NonNull::new(queue).ok_or(RDKafkaErrorCode::UnknownGroup)?);
    // SAFETY: client, list and queue live for the call; librdkafka copies the list and counts a reference to the queue.
    let code = unsafe { native::rd_kafka_commit_queue(client, offsets.ptr(), queue.0.as_ptr(), None, ptr::null_mut()) };
    if code == RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) }
}

impl Message {
    fn event(&self) -> Event<'_> {
        use native::rd_kafka_resp_err_t::*;
        // SAFETY: the message lives as long as `self` (clause 2).
        let message = unsafe { self.0.as_ref() };
        match message.err {
            RD_KAFKA_RESP_ERR_NO_ERROR => {
                Event::Message { offset: message.offset, millis: self.millis(), payload: self.payload() }
            }
            RD_KAFKA_RESP_ERR__PARTITION_EOF => Event::End { offset: message.offset },
            code => {
                let reason = self.payload().map(|text| String::from_utf8_lossy(text).into_owned());
                let code = RDKafkaErrorCode::from(code);
                Event::Wrong { code, reason: reason.unwrap_or_else(|| code.to_string()) }
            }
        }
    }

    fn millis(&self) -> Option<i64> {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and `kind` is a place to write to.
        let millis = unsafe { native::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) };
        (millis >= 0).then_some(millis)
    }

    fn payload(&self) -> Option<&[u8]> {
        // SAFETY: a payload that is not null has `len` bytes and lives as long as the message (clause 2).
        unsafe {
            let message = self.0.as_ref();
            (!message.payload.is_null()).then(|| slice::from_raw_parts(message.payload.cast::<u8>(), message.len))
        }
    }
}
