//! The program `eagre`.

fn main() {}
