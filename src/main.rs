//! The program `eagre`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_memory();
    eagre::main(eagre::standard())
}

/// Tells the allocator of glibc to keep what is freed: batches come and go, and what it gives back to the system it has
/// to ask for anew and the system has to fill with zeros, which took a tenth of the time of reading Parquet. Large
/// pieces (above 32 MB) still come and go.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_memory() {
    /// From how many bytes on a piece is the system's own, at most; and how many free ones at the end of a heap it gets
    /// back.
    const MMAP_THRESHOLD: (i32, i32) = (-3, 32 << 20);
    const TRIM_THRESHOLD: (i32, i32) = (-1, 64 << 20);

    #[allow(
        unsafe_code,
        reason = "the allocator is told in C alone; it checks its arguments, and no other thread is there"
    )]
    unsafe extern "C" {
        safe fn mallopt(parameter: i32, value: i32) -> i32;
    }
    for (parameter, value) in [MMAP_THRESHOLD, TRIM_THRESHOLD] {
        mallopt(parameter, value);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_memory() {}
