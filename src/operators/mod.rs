//! The operators that come with Eagre, one file each: manual at its head, configuration, state, code, tests.

pub mod aggregate;
