//! The integration tests, in one binary: each further one would link the whole tree again.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may look at clocks and may panic")]

mod bad_input;
mod broker;
mod checkpoints;
mod dataflows;
mod decoders;
mod determinism;
mod documents;
mod engine;
mod kafka;
mod mesh;
mod nexmark;
mod oracles;
mod parts;
mod program;
mod publish;
mod topology;
