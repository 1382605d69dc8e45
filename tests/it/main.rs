//! The integration tests, in one binary: each further one would link the whole tree again.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may look at clocks and may panic")]

mod determinism;
mod engine;
mod oracles;
mod parts;
