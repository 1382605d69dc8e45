//! Helps a client of librdkafka that has lost every broker.
//!
//! A broker that is going down or coming up may answer a request for metadata with no brokers at all. librdkafka
//! (2.10 to at least 2.13) then forgets all that it knows, those of `bootstrap.servers` too, asks nobody any more and
//! says nothing: messages wait for ever (librdkafka issue 5301, open; seen about once in 14 restarts of a broker).
//! Its statistics show it: they name no broker. The client is told then where to begin, as when it was made.

#![allow(unsafe_code, reason = "rdkafka has no binding for adding brokers to a client")]

use super::{Names, Watch};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka_sys as native;
use std::ffi::CString;

/// Tells the client its brokers again, if its watch saw it without any; else does nothing. Cheap; to be called again
/// and again while the client lives.
pub fn readmit<C: ClientContext>(client: &Client<C>, watch: &Watch, brokers: &Names) {
    if watch.take_orphaned() {
        add_brokers(client, brokers);
    }
}

/// Adds brokers to those that a client begins with; ones it knows already stay as they are.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &Names) {
    let Ok(list) = CString::new(brokers.0.join(",")) else { return };
    // SAFETY: the client lives as long as the borrow, librdkafka copies the list, and the function may be called from
    // any thread.
    unsafe { native::rd_kafka_brokers_add(client.native_ptr(), list.as_ptr()) };
}
