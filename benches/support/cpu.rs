//! Time of one thread on its processor, which other programs on the machine do not lengthen as they do wall time.

use std::hint::black_box;
use std::time::Duration;

/// Median over rounds of the nanoseconds that one call takes. Each round repeats the call for about a millisecond.
pub fn median_ns<T>(rounds: usize, mut call: impl FnMut() -> T) -> f64 {
    let once = time_ns(1, &mut call).max(time_ns(1, &mut call)).max(20.0);
    let calls = (1e6 / once).ceil() as usize;
    let mut times: Vec<f64> = (0..rounds.max(1)).map(|_| time_ns(calls, &mut call)).collect();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn time_ns<T>(calls: usize, call: &mut impl FnMut() -> T) -> f64 {
    let begun = thread_time();
    for _ in 0..calls {
        black_box(call());
    }
    (thread_time() - begun).as_nanos() as f64 / calls as f64
}

/// What this thread has had of a processor so far.
#[allow(unsafe_code, reason = "the clock of a thread has no safe form in the standard library")]
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "this system has a clock for each thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
