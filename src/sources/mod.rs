//! Where records come from: one file or folder for each kind of source, none of which knows another.

pub mod file;
