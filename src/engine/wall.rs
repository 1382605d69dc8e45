//! The only place that looks at a clock. What it shows paces epochs, idleness and waiting; it never reaches a result.

use crate::time::EventTime;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, for measuring how long something takes.
#[allow(clippy::disallowed_methods, reason = "the engine's one clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day in microseconds since 1970, against which `max_ahead` is held.
#[allow(clippy::disallowed_methods, reason = "the engine's one clock")]
pub fn time_of_day() -> EventTime {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}
