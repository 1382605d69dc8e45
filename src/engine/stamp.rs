//! Gives the records of a partition their stamps, and the partition its watermark.
//!
//! **A record's stamp is its own partition's watermark at the moment it was read**: a function of that partition's log
//! and of nothing else. The watermark is the newest event time so far less `max_delay`.

use super::partitions::Reached;
use crate::batch::{Batch, Head};
use crate::formats::Rows;
use crate::job::plan::TimePolicy;
use crate::origin::{Origin, Origins};
use crate::schema::{self, Schema};
use crate::time::{self, AFTER_ALL, BEFORE_ALL, EventTime};
use arrow::array::{ArrayRef, BooleanArray, StringArray};
use std::sync::Arc;

/// The time of one partition, as its log tells it.
pub struct Stamper {
    source: String,
    origin: Origin,
    output: Schema,
    policy: TimePolicy,
    newest: EventTime,
    watermark: EventTime,
}

/// What became of some rows.
pub struct Stamped {
    /// The records.
    pub batch: Option<Batch>,
    /// What could not be decoded, or lies too far in the future.
    pub rejected: Option<Batch>,
    /// How many records are older than their stamp.
    pub late: usize,
}

/// A row that lies too far in the future, and how far time had come when it was read.
type Ahead = (usize, EventTime);

impl Stamper {
    /// The stamper of a partition of a source. A partition that appears while the job runs begins at the watermark
    /// `from`; others at [`BEFORE_ALL`].
    pub fn new(source: &str, origin: Origin, output: Schema, policy: TimePolicy, from: EventTime) -> Stamper {
        Stamper { source: source.into(), origin, output, policy, newest: BEFORE_ALL, watermark: from }
    }

    /// The same, where a checkpoint says how far event time had come.
    pub fn resumed(mut self, reached: Reached) -> Stamper {
        (self.newest, self.watermark) = (reached.newest, reached.watermark);
        self
    }

    /// The watermark behind everything stamped so far.
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// How far event time has come.
    pub fn reached(&self) -> Reached {
        Reached { watermark: self.watermark, newest: self.newest }
    }

    /// Stamps rows. `now` is the wall clock, against which only `max_ahead` is held.
    pub fn stamp(&mut self, rows: Rows, now: EventTime, origins: &Origins) -> Stamped {
        let limit = self.policy.max_ahead.map_or(AFTER_ALL, |ahead| now.saturating_add(ahead.micros()));
        let mut ahead = Vec::new();
        let mut stamps: Vec<Option<EventTime>> = Vec::new();
        let mut late = 0;
        let mut bad = rows.bad.iter().peekable();
        let mut bad_times = Vec::with_capacity(rows.bad.len());
        for (row, time) in rows.times.iter().copied().enumerate() {
            while bad.next_if(|b| b.after <= row).is_some() {
                bad_times.push(self.seen());
            }
            if time > limit {
                ahead.push((row, self.seen()));
                continue;
            }
            if time < self.watermark {
                stamps.resize(row, None);
                stamps.push(Some(self.watermark));
                late += 1;
            } else if time > self.newest {
                self.newest = time;
                self.watermark = self.watermark.max(time.saturating_sub(self.policy.max_delay.micros()));
            }
        }
        bad_times.resize(rows.bad.len(), self.seen());
        if !stamps.is_empty() {
            stamps.resize(rows.times.len(), None);
        }
        let rejected = self.reject(&rows, &bad_times, &ahead, now, origins);
        Stamped { batch: self.batch(rows, stamps, &ahead), rejected, late }
    }

    /// Raises the watermark of a silent partition: to what the others have reached, and past its own newest record, so
    /// that nothing waits for it.
    pub fn raise(&mut self, others: EventTime) -> EventTime {
        let own = if self.newest == BEFORE_ALL { BEFORE_ALL } else { self.newest.saturating_add(1) };
        self.watermark = self.watermark.max(others).max(own);
        self.watermark
    }

    /// The partition has ended: nothing will come after it.
    pub fn end(&mut self) {
        self.watermark = AFTER_ALL;
    }

    /// The time of a record that has none of its own.
    fn seen(&self) -> EventTime {
        let seen = self.newest.max(self.watermark);
        if seen == BEFORE_ALL { 0 } else { seen }
    }

    fn batch(&self, rows: Rows, stamps: Vec<Option<EventTime>>, ahead: &[Ahead]) -> Option<Batch> {
        if rows.times.is_empty() {
            return None;
        }
        let origins = vec![self.origin; rows.times.len()];
        let count = rows.times.len();
        let head = Head { times: rows.times, origins, sequences: rows.sequences, stamps };
        let batch = Batch::new(&self.output, head, rows.columns);
        if ahead.is_empty() {
            return Some(batch);
        }
        let mut keep = vec![true; count];
        ahead.iter().for_each(|(row, _)| keep[*row] = false);
        Some(batch.filter(&BooleanArray::from(keep))).filter(|b| !b.is_empty())
    }

    fn reject(
        &self,
        rows: &Rows,
        bad_times: &[EventTime],
        ahead: &[Ahead],
        now: EventTime,
        origins: &Origins,
    ) -> Option<Batch> {
        if rows.bad.is_empty() && ahead.is_empty() {
            return None;
        }
        let mut head = Head::default();
        let (mut reasons, mut places, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |time: EventTime, sequence: i64, reason: String, payload: String| {
            head.times.push(time);
            head.origins.push(self.origin);
            head.sequences.push(sequence);
            reasons.push(reason);
            places.push(origins.place(self.origin, sequence));
            payloads.push(payload);
        };
        for (bad, time) in rows.bad.iter().zip(bad_times) {
            add(*time, bad.sequence, bad.reason.clone(), String::from_utf8_lossy(&bad.payload).into_owned());
        }
        if !ahead.is_empty() {
            let whole = self.whole(rows);
            for (row, seen) in ahead {
                add(*seen, rows.sequences[*row], self.too_far_ahead(rows.times[*row], now), whole.row_json(*row));
            }
        }
        let source = StringArray::from_iter_values(std::iter::repeat_n(&self.source, head.times.len()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(source),
            Arc::new(StringArray::from(reasons)),
            Arc::new(StringArray::from(places)),
            Arc::new(StringArray::from(payloads)),
        ];
        Some(Batch::new(&schema::rejected(), head, columns))
    }

    fn whole(&self, rows: &Rows) -> Batch {
        let head = Head {
            times: rows.times.clone(),
            origins: vec![self.origin; rows.times.len()],
            sequences: rows.sequences.clone(),
            stamps: Vec::new(),
        };
        Batch::new(&self.output, head, rows.columns.clone())
    }

    fn too_far_ahead(&self, time: EventTime, now: EventTime) -> String {
        let max_ahead = self.policy.max_ahead.unwrap_or_default();
        let (time, now) = (time::format(time), time::format(now - now.rem_euclid(1_000_000)));
        format!("its time {time} is more than max_ahead = \"{max_ahead}\" after the clock, which shows {now}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Bad;
    use crate::time::Interval;

    fn stamper(max_delay: i64) -> Stamper {
        let policy = TimePolicy {
            max_delay: Interval::from_micros(max_delay),
            idle_after: None,
            max_drift: None,
            max_ahead: Some(Interval::from_micros(100)),
        };
        Stamper::new("readings", 0, Schema::new([]), policy, BEFORE_ALL)
    }

    fn rows(times: &[EventTime]) -> Rows {
        Rows { times: times.to_vec(), sequences: (0..times.len() as i64).collect(), ..Rows::default() }
    }

    fn origins() -> Origins {
        let origins = Origins::default();
        origins.assign("readings[0]");
        origins
    }

    #[test]
    fn the_stamp_does_not_depend_on_how_the_log_was_cut() {
        let times = [10, 30, 12, 25, 19, 40, 29, 30];
        let expected = [None, None, Some(25), None, Some(25), None, Some(35), Some(35)];
        for cut in 0..=times.len() {
            let mut stamper = stamper(5);
            let parts = [rows(&times[..cut]), rows(&times[cut..])];
            let stamped: Vec<Stamped> = parts.into_iter().map(|rows| stamper.stamp(rows, 1_000, &origins())).collect();
            let stamps = stamped
                .iter()
                .flat_map(|s| &s.batch)
                .flat_map(|b| (0..b.len()).map(|r| b.stamp(r)).collect::<Vec<_>>());
            assert_eq!(stamps.collect::<Vec<_>>(), expected, "cut at {cut}");
            assert_eq!(stamped.iter().map(|s| s.late).sum::<usize>(), 4);
            assert_eq!(stamper.watermark(), 35);
        }
    }

    #[test]
    fn a_bad_clock_does_not_carry_the_watermark_away() {
        let mut stamper = stamper(5);
        let mut rows = rows(&[10, 9_999, 30]);
        rows.bad.push(Bad { sequence: 3, after: 3, reason: "not JSON".into(), payload: b"{".to_vec() });
        let stamped = stamper.stamp(rows, 500, &origins());
        assert_eq!(stamped.batch.map(|b| b.times().to_vec()), Some(vec![10, 30]));
        assert_eq!(stamper.watermark(), 25);
        let rejected = stamped.rejected.expect("two rejected");
        assert_eq!(rejected.times(), [30, 10], "each at the time that had come when it was read");
        assert!(rejected.row_json(1).contains("max_ahead"), "{}", rejected.row_json(1));
        assert!(rejected.row_json(1).contains("readings[0]@1"));
    }

    #[test]
    fn a_silent_partition_is_raised_and_what_comes_after_is_late() {
        let mut stamper = stamper(5);
        stamper.stamp(rows(&[10]), 500, &origins());
        assert_eq!(stamper.raise(8), 11);
        assert_eq!(stamper.raise(20), 20);
        assert_eq!(stamper.stamp(rows(&[15, 22]), 500, &origins()).late, 1);
    }
}
