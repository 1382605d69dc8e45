//! Checkpoints: what a job needs to go on after anything short of losing its disk.
//!
//! A checkpoint is a *manifest* and the files that it names. The files are written first, each under a name that was
//! never used before; the manifest is put last, at once and durably, and **is** the checkpoint: before it is there,
//! there is none, and what was written for it is rubbish that [`Store::collect`] clears away.
//!
//! | file | answers |
//! | --- | --- |
//! | [`manifest`] | what a checkpoint says: positions, watermarks, where the state of each step lies |
//! | [`part`] | the state of key groups as a file that any Arrow tool reads |
//! | [`store`] | writing, listing, verifying and clearing away checkpoints |
//! | [`storage`] | where files are put: whole and durable, or not at all |
//! | [`objects`] | the same in an object store |
//!
//! They rest on [`crate::disk`].
//!
//! Three rules, each with its test against a simulated disk that tears writes, loses what was not synced and fails:
//!
//! 1. A checkpoint is either whole or not there. Every file has its length and CRC-32C in the manifest, the manifest
//!    its own.
//! 2. An error while writing is never tried again under the same name: after a failed `fsync` the kernel may have
//!    dropped the data and the next `fsync` says that all is well.
//! 3. Nothing that a kept checkpoint names is ever removed, and nothing is removed before a newer one is durable.

pub mod manifest;
pub mod objects;
pub mod part;
pub mod storage;
pub mod store;

pub use manifest::{FileRef, Manifest};
pub use storage::{Local, Storage};
pub use store::{Found, Store};
