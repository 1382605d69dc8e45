//! The program `eagre`.

use std::process::ExitCode;

fn main() -> ExitCode {
    eagre::main(eagre::standard())
}
