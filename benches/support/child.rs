//! Runs a program and says what it took: wall time, processor time of all its threads, and the most memory it held.

use serde::{Deserialize, Serialize};
use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a run took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// From start to end.
    pub wall_s: f64,
    /// In the program.
    pub user_s: f64,
    /// In the kernel for the program.
    pub system_s: f64,
    /// The most memory that it held.
    pub rss_max_mb: f64,
}

impl Usage {
    /// User and system time.
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Runs a program to its end; an error, with what it said, when it fails.
pub fn measure(command: &mut Command) -> io::Result<Usage> {
    let said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let begun = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = wait(child.id())?;
    let wall_s = begun.elapsed().as_secs_f64();
    if status != 0 {
        return Err(io::Error::other(format!("{command:?} ended with {status}:\n{}", read(said))));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let (user_s, system_s) = (seconds(usage.ru_utime), seconds(usage.ru_stime));
    Ok(Usage { wall_s, user_s, system_s, rss_max_mb: usage.ru_maxrss as f64 / 1024.0 })
}

/// Waits for a child that nobody else waits for. The standard library waits too, but keeps the usage to itself.
#[allow(unsafe_code, reason = "wait4 has no safe form in the standard library")]
fn wait(child: u32) -> io::Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: a rusage is a struct of numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; the id is that of a child which has not been waited for.
    let waited = unsafe { libc::wait4(child as libc::pid_t, &mut status, 0, &mut usage) };
    if waited < 0 { Err(io::Error::last_os_error()) } else { Ok((status, usage)) }
}

fn read(mut said: std::fs::File) -> String {
    use io::{Read, Seek};
    let mut text = String::new();
    let read = said.rewind().and_then(|()| said.read_to_string(&mut text));
    read.map_or_else(|error| error.to_string(), |_| text)
}
