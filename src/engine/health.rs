//! How a source or a sink is, from what is known of it anyway, and whether the keys of a step grow without end.
//!
//! ```text
//! healthy   nothing is said to be wrong, and what is to go through does
//! degraded  something is said to be wrong, or nothing has gone through for so long that should have, or something
//!           beside it does not work
//! open      both: something is wrong, and for so long nothing at all has gone through; not where that may be because
//!           nothing is there
//! ```
//! (`open` as a circuit is.) This only tells. That nothing fills up meanwhile is the flow control's doing: a source is
//! read no further than some epochs ahead of what is flushed. That it is tried again is the client's. Times come from
//! outside, and nothing here reaches a result.

use crate::time::{EventTime, Interval};
use std::fmt;
use std::time::Duration;

/// After how long without anything going through it is said.
const STILL: Interval = Interval::from_secs(10);

/// How a source or sink is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It works.
    #[default]
    Healthy,
    /// It may work in part, or more slowly.
    Degraded,
    /// It does not work at all.
    Open,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Open => "open",
        })
    }
}

/// How a source or sink is, since when, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// How it is.
    pub health: Health,
    /// Since when, in microseconds since 1970 by the clock; none where it was never otherwise.
    pub since: Option<EventTime>,
    /// What is wrong.
    pub reason: Option<String>,
}

/// What is seen of a source or sink at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What is said to be wrong with the outside world.
    pub trouble: Option<String>,
    /// What does not work beside it: it keeps nothing from going through.
    pub remark: Option<String>,
    /// How much has gone through so far, in any unit.
    pub moved: u64,
    /// Whether something waits to go through.
    pub waits: bool,
    /// Whether nothing may have gone through because nothing is there: part of the outside world answers in spite of
    /// what is wrong, or whatever is there is known to wait.
    pub may_be_idle: bool,
}

/// Follows a source or sink.
#[derive(Debug, Default)]
pub struct Monitor {
    condition: Condition,
    moved: u64,
    /// Since when something is to go through and does not.
    still_since: Option<EventTime>,
}

impl Monitor {
    /// How it is, after what is seen at `now`, in microseconds since 1970.
    pub fn look(&mut self, now: EventTime, seen: Seen) -> Condition {
        let moved = std::mem::replace(&mut self.moved, seen.moved) != seen.moved;
        let expects = seen.waits || seen.trouble.is_some();
        self.still_since = self.still_since.filter(|_| !moved && expects).or(expects.then_some(now));
        let is_still = self.still_since.is_some_and(|since| now - since >= STILL.micros());
        let health = match (&seen.trouble, is_still) {
            (Some(_), true) if seen.waits || !seen.may_be_idle => Health::Open,
            (None, false) if seen.remark.is_none() => Health::Healthy,
            _ => Health::Degraded,
        };
        let silence = || format!("something waits, and nothing goes through for {STILL} or more");
        let reason = seen.trouble.or_else(|| is_still.then(silence)).or(seen.remark);
        let since = if health == self.condition.health { self.condition.since } else { Some(now) };
        self.condition = Condition { health, since, reason };
        self.condition.clone()
    }
}

/// Fewer keys than that are no reason to worry.
const MANY_KEYS: u64 = 100_000;
/// The first moment at which keys are counted; each later one comes after twice the time.
const FIRST_COUNT: Duration = Duration::from_secs(60);
/// In how many doublings of time, one after the other, keys must have grown by [`GROWN`].
const DOUBLINGS: u32 = 3;
/// Keys that come for ever double as the time does; those of a world that is known soon do not.
const GROWN: f64 = 1.7;

/// Follows the number of keys of a step.
#[derive(Debug, Default)]
pub struct Growth {
    next: Option<Duration>,
    keys: u64,
    doublings: u32,
}

impl Growth {
    /// Whether the keys grow without end, as far as one sees after the job has run for so long: in each of the last
    /// three doublings of that time their number has grown by more than 70 %, and it is more than 100,000.
    pub fn look(&mut self, elapsed: Duration, keys: u64) -> bool {
        let next = *self.next.get_or_insert(FIRST_COUNT);
        if elapsed >= next {
            let grown = self.keys > 0 && keys as f64 >= self.keys as f64 * GROWN;
            self.doublings = if grown { self.doublings + 1 } else { 0 };
            (self.keys, self.next) = (keys, Some(elapsed * 2));
        }
        self.doublings >= DOUBLINGS && keys > MANY_KEYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each: the second, what is wrong, what has gone through, whether something waits; and how it then is, since when
    /// and why.
    #[test]
    fn a_source_or_sink_is_as_what_is_seen_of_it() {
        let check = |all: &[(i64, &str, u64, bool, &str)]| {
            let mut monitor = Monitor::default();
            for (second, trouble, moved, waits, expected) in all {
                // What is in brackets stands beside it.
                let (remark, trouble) = match trouble.strip_prefix('(') {
                    Some(remark) => (Some(remark.to_owned()), None),
                    None => (None, (!trouble.is_empty()).then(|| (*trouble).to_owned())),
                };
                let may_be_idle = trouble.as_ref().is_some_and(|trouble| trouble.contains("of two"));
                let seen = Seen { trouble, remark, moved: *moved, waits: *waits, may_be_idle };
                let Condition { health, since, reason } = monitor.look(second * 1_000_000, seen);
                let since = since.map_or(String::new(), |since| format!(" since {}", since / 1_000_000));
                let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
                assert_eq!(format!("{health}{since}{reason}"), *expected, "second {second} of {all:?}");
            }
        };
        // What has nothing to do is well.
        check(&[(100, "", 0, false, "healthy"), (900, "", 0, false, "healthy"), (901, "", 0, true, "healthy")]);
        check(&[
            (100, "", 5, true, "healthy"),
            (101, "a is away", 6, true, "degraded since 101: a is away"),
            (109, "b is away", 7, true, "degraded since 101: b is away"),
            (118, "b is away", 7, true, "degraded since 101: b is away"),
            (119, "b is away", 7, true, "open since 119: b is away"),
            (150, "b is away", 7, false, "open since 119: b is away"),
            (151, "b is away", 8, true, "degraded since 151: b is away"),
            (152, "", 9, false, "healthy since 152"),
        ]);
        // A stream in which nothing comes, while one of its brokers is away.
        check(&[
            (100, "a of two is away", 5, false, "degraded since 100: a of two is away"),
            (150, "a of two is away", 5, false, "degraded since 100: a of two is away"),
            (151, "a of two is away", 5, true, "open since 151: a of two is away"),
            (152, "both are away", 5, false, "open since 151: both are away"),
        ]);
        // Trouble of one that was silent for long has just begun.
        check(&[(100, "", 5, false, "healthy"), (900, "a", 5, false, "degraded since 900: a")]);
        // What does not work beside it never makes it open.
        let beside = "degraded since 101: no group";
        check(&[
            (100, "", 5, false, "healthy"),
            (101, "(no group", 5, false, beside),
            (900, "(no group", 5, false, beside),
        ]);
        let nothing = "degraded since 110: something waits, and nothing goes through for 10s or more";
        check(&[
            (100, "", 5, true, "healthy"),
            (110, "", 5, true, nothing),
            (111, "", 5, false, "healthy since 111"),
            (120, "", 5, true, "healthy since 111"),
        ]);
    }

    #[test]
    fn keys_grow_without_end_where_they_double_with_the_time() {
        /// The first second, of many hours, in which it is said of so many keys after each second.
        fn said(keys: impl Fn(u64) -> u64) -> Option<u64> {
            let mut growth = Growth::default();
            (0..40_000).find(|second| growth.look(Duration::from_secs(*second), keys(*second)))
        }
        assert_eq!(said(|second| second * 1_000), Some(480), "after 1, 2, 4 and 8 minutes");
        assert_eq!(said(|second| second * 100), Some(1_001), "not before there are many");
        assert_eq!(said(|second| (second * 1_000).min(300_000)), None, "all are known after 5 minutes");
        assert_eq!(said(|_| 5_000_000), None, "many from the beginning");
        assert_eq!(said(|second| 2_000_000 + second * 100), None, "hardly more than there were");
        assert_eq!(said(|second| second * 2), None, "few");
        assert_eq!(said(|second| if second < 100 { 0 } else { second * 1_000 }), Some(960), "later");
    }
}
