//! The tests that remember: what was let through within a time, and the last valid values of a key.

use super::checks::{Broken, Checks, Named};
use crate::batch::Batch;
use crate::expression::{Evaluated, Expression};
use crate::fault::Failure;
use crate::key::{self, KeyGroup, Keys, group_of};
use crate::operator::{Copying, Instance, Outputs, Shown, StateRow, shown};
use crate::schema::{Field, Kind};
use crate::stats::moments::Moments;
use crate::stats::sliding::Sliding;
use crate::time::{self, AFTER_ALL, BEFORE_ALL, EventTime, Interval};
use crate::value::number_at;
use arrow::array::Array;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Values that must not come again together within a time.
pub(super) struct Unique {
    /// As a person reads them.
    pub names: String,
    pub values: Vec<Expression>,
    pub within: Interval,
    pub says: Option<String>,
}

/// A number that must not lie far from the mean of the last valid ones.
pub(super) struct Beyond {
    pub column: Named,
    pub beyond: f64,
    pub last: usize,
    pub warmup: u64,
    pub relearn: u64,
    pub says: Option<String>,
}

/// At work with rules that remember, by key group and key.
pub(super) struct Remembering {
    checks: Arc<Checks>,
    groups: BTreeMap<KeyGroup, BTreeMap<Box<[u8]>, Memory>>,
    changed: BTreeSet<KeyGroup>,
    /// The watermark at which all keys were last rid of what is too old.
    swept: EventTime,
}

/// What is remembered of a key, for each rule that remembers.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    seen: Vec<Seen>,
    baselines: Vec<Baseline>,
    /// When its last record was.
    touched: EventTime,
}

/// The same in the first format, which did not say when.
type Former = (Vec<Seen>, Vec<Baseline>);

/// The values that were let through within the time of a rule `unique`.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    times: BTreeMap<Vec<u8>, EventTime>,
    /// The same, oldest first.
    order: VecDeque<(EventTime, Vec<u8>)>,
}

/// The last valid values for a rule `z_beyond`.
#[derive(Default, Serialize, Deserialize)]
struct Baseline {
    values: Sliding<Moments>,
    /// How many values in a row have been beyond.
    beyond: u64,
}

impl Remembering {
    /// With nothing remembered yet.
    pub fn new(checks: Arc<Checks>) -> Remembering {
        Remembering { checks, groups: BTreeMap::new(), changed: BTreeSet::new(), swept: BEFORE_ALL }
    }

    fn take_over(&mut self, group: KeyGroup, mut memories: BTreeMap<Box<[u8]>, Memory>) {
        // The rules may have become others since.
        memories.values_mut().for_each(|memory| memory.fit(&self.checks));
        self.groups.insert(group, memories);
    }

    /// Rids all keys of what is too old to matter, so that a key that falls silent takes no room. What a record is
    /// judged by does not hang on it.
    fn sweep(&mut self, watermark: EventTime) {
        let (checks, changed) = (&self.checks, &mut self.changed);
        self.groups.retain(|group, memories| {
            memories.retain(|_, memory| {
                for (unique, seen) in checks.unique.iter().zip(&mut memory.seen) {
                    if seen.evict(watermark, unique.within) {
                        changed.insert(*group);
                    }
                }
                if watermark != AFTER_ALL && memory.is_over(checks, watermark) && memory.unlearn() {
                    changed.insert(*group);
                }
                !memory.is_empty()
            });
            !memories.is_empty()
        });
    }
}

fn unreadable(group: KeyGroup, error: &postcard::Error) -> Failure {
    Failure::new(format!("the state of `validate` in key group {group} cannot be read: {error}"))
}

impl Instance for Remembering {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        let mut broken = self.checks.plain(batch);
        let unique: Vec<Vec<Option<Vec<u8>>>> = self.checks.unique.iter().map(|u| u.keys(batch, &mut broken)).collect();
        let keys: &Keys = batch.keys().expect("a keyed step's batches have keys");
        for row in 0..batch.len() {
            let group = group_of(keys.hashes()[row]);
            self.changed.insert(group);
            let memories = self.groups.entry(group).or_default();
            if !memories.contains_key(keys.key(row)) {
                memories.insert(keys.key(row).into(), Memory::of(&self.checks));
            }
            let memory = memories.get_mut(keys.key(row)).expect("it was there or has been added");
            memory.touch(&self.checks, batch.times()[row]);
            let values: Vec<Option<&[u8]>> = unique.iter().map(|rows| rows[row].as_deref()).collect();
            memory.judge(&self.checks, batch, row, &values, &mut broken);
            if !broken.has(row) {
                memory.learn(&self.checks, batch, row, &values);
            }
        }
        broken.part(batch, out);
    }

    fn on_watermark(&mut self, watermark: EventTime, _out: &mut Outputs) {
        let times = self.checks.unique.iter().map(|unique| unique.within).chain(self.checks.ttl);
        let Some(shortest) = times.min() else { return };
        if watermark.saturating_sub(shortest.micros()) >= self.swept {
            self.swept = watermark;
            self.sweep(watermark);
        }
    }

    fn snapshot(&mut self) -> Copying {
        let bytes = |group| {
            let memories = self.groups.get(&group).filter(|memories| !memories.is_empty());
            memories.map(|m| postcard::to_stdvec(m).expect("state can be written")).unwrap_or_default()
        };
        Copying::of(std::mem::take(&mut self.changed).into_iter().map(|group| (group, bytes(group))).collect())
    }

    fn restore(&mut self, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        let memories = postcard::from_bytes(bytes).map_err(|error| unreadable(group, &error))?;
        self.take_over(group, memories);
        Ok(())
    }

    fn state_version(&self) -> u32 {
        2
    }

    fn restore_former(&mut self, _version: u32, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        // There was one format before.
        let former: BTreeMap<Box<[u8]>, Former> =
            postcard::from_bytes(bytes).map_err(|error| unreadable(group, &error))?;
        // They live until they are touched, and are saved anew.
        let memory = |(key, (seen, baselines))| (key, Memory { seen, baselines, touched: AFTER_ALL });
        self.take_over(group, former.into_iter().map(memory).collect());
        self.changed.insert(group);
        Ok(())
    }

    fn keys(&self) -> usize {
        self.groups.values().map(BTreeMap::len).sum()
    }

    fn inspect(&mut self, see: &mut dyn FnMut(StateRow<'_>)) {
        for (key, memory) in self.groups.values().flatten() {
            let bytes = postcard::to_stdvec(&(key, memory)).expect("state can be written").len();
            see(StateRow { key, values: memory.shown(&self.checks), bytes });
        }
    }

    fn remembers(&self) -> Vec<Field> {
        Memory::of(&self.checks).shown(&self.checks).into_iter().map(|(field, _)| field).collect()
    }
}

impl Unique {
    /// The bytes of each row's values; none where one of them is null. What cannot be computed breaks the rule.
    fn keys(&self, batch: &Batch, broken: &mut Broken) -> Vec<Option<Vec<u8>>> {
        let mut columns = Vec::new();
        for expression in &self.values {
            let Evaluated { values, failed } = expression.evaluate(batch);
            failed.into_iter().for_each(|(row, reason)| broken.add(row as usize, &self.says, || reason));
            columns.push(values);
        }
        let known = |row: usize| columns.iter().all(|column| !column.is_null(row));
        (0..batch.len()).map(|row| known(row).then(|| key::encode_row(&columns, row))).collect()
    }
}

impl Memory {
    fn of(checks: &Checks) -> Memory {
        let mut memory = Memory { touched: AFTER_ALL, ..Memory::default() };
        memory.fit(checks);
        memory
    }

    fn fit(&mut self, checks: &Checks) {
        self.seen.resize_with(checks.unique.len(), Seen::default);
        self.baselines.resize_with(checks.beyond.len(), Baseline::default);
    }

    /// Whether the key's baselines are forgotten when event time is `at`.
    fn is_over(&self, checks: &Checks, at: EventTime) -> bool {
        checks.ttl.is_some_and(|ttl| self.touched.saturating_add(ttl.micros()) < at)
    }

    /// Notes a record of the key, for which it may have to begin anew.
    fn touch(&mut self, checks: &Checks, at: EventTime) {
        if self.is_over(checks, at) {
            self.unlearn();
        }
        self.touched = at;
    }

    /// Forgets the baselines; whether there were any.
    fn unlearn(&mut self) -> bool {
        let is_new = self.has_learnt_nothing();
        self.baselines.fill_with(Baseline::default);
        !is_new
    }

    fn has_learnt_nothing(&self) -> bool {
        self.baselines.iter().all(|baseline| baseline.values.is_empty() && baseline.beyond == 0)
    }

    fn is_empty(&self) -> bool {
        self.seen.iter().all(|seen| seen.order.is_empty()) && self.has_learnt_nothing()
    }

    /// How many values each rule remembers, and what it holds new ones against.
    fn shown(&self, checks: &Checks) -> Vec<Shown> {
        let unique = checks.unique.iter().zip(&self.seen).map(|(rule, seen)| {
            let name = rule.names.replace(|c: char| !c.is_alphanumeric(), "_");
            shown(format!("{name}_seen"), Kind::Int, seen.order.len() as i64)
        });
        let beyond = checks.beyond.iter().zip(&self.baselines).flat_map(|(rule, baseline)| {
            let (name, moments) = (&rule.column.name, baseline.values.query());
            let known = |number: f64| (moments.count > 0).then_some(number);
            [
                shown(format!("{name}_count"), Kind::Int, moments.count as i64),
                shown(format!("{name}_mean"), Kind::Float, known(moments.mean)),
                shown(format!("{name}_deviation"), Kind::Float, known(moments.stddev())),
                shown(format!("{name}_beyond"), Kind::Int, baseline.beyond as i64),
            ]
        });
        unique.chain(beyond).collect()
    }

    /// Adds the rules that the row breaks by what is remembered.
    fn judge(&mut self, checks: &Checks, batch: &Batch, row: usize, values: &[Option<&[u8]>], broken: &mut Broken) {
        let time = batch.times()[row];
        for ((unique, seen), value) in checks.unique.iter().zip(&mut self.seen).zip(values) {
            seen.evict(time, unique.within);
            if let Some(before) = value.and_then(|value| seen.times.get(value)) {
                broken.add(row, &unique.says, || {
                    let before = time::format(*before);
                    format!("{} came already at {before}, less than {} before", unique.names, unique.within)
                });
            }
        }
        // What is wrong in itself says nothing about the level.
        let counts = !broken.has(row);
        for (rule, baseline) in checks.beyond.iter().zip(&mut self.baselines) {
            let Some(value) = number_at(batch.column(rule.column.index), row) else { continue };
            if let Some((z, moments)) = baseline.judge(rule, value, counts) {
                broken.add(row, &rule.says, || {
                    let (name, mean, count) = (&rule.column.name, moments.mean, moments.count);
                    format!(
                        "`{name}` is {value}, {:.1} standard deviations from {mean:.6}, the mean of the last {count}",
                        z.abs()
                    )
                });
            }
        }
    }

    /// Takes a valid row in.
    fn learn(&mut self, checks: &Checks, batch: &Batch, row: usize, values: &[Option<&[u8]>]) {
        let time = batch.times()[row];
        for (seen, value) in self.seen.iter_mut().zip(values) {
            let Some(value) = value else { continue };
            seen.times.insert(value.to_vec(), time);
            seen.order.push_back((time, value.to_vec()));
        }
        for (rule, baseline) in checks.beyond.iter().zip(&mut self.baselines) {
            if let Some(value) = number_at(batch.column(rule.column.index), row).filter(|value| value.is_finite()) {
                baseline.values.push_within(Moments::of(value), rule.last);
            }
        }
    }
}

impl Seen {
    /// Forgets what was let through `within` or longer before; whether that was anything.
    fn evict(&mut self, now: EventTime, within: Interval) -> bool {
        let before = self.order.len();
        while self.order.front().is_some_and(|(time, _)| now.saturating_sub(*time) >= within.micros()) {
            let (_, value) = self.order.pop_front().expect("there is a first");
            self.times.remove(&value);
        }
        self.order.len() < before
    }
}

impl Baseline {
    /// How far beyond a value lies, if it does, and of what. One that `counts` may show that the level has changed.
    fn judge(&mut self, rule: &Beyond, value: f64, counts: bool) -> Option<(f64, Moments)> {
        let moments = self.values.query();
        let z = moments.z(value).filter(|z| moments.count >= rule.warmup && z.abs() > rule.beyond);
        match z {
            None if counts => self.beyond = 0,
            Some(_) if counts && rule.relearn > 0 && self.beyond == rule.relearn => {
                *self = Baseline::default();
                return None;
            }
            Some(_) if counts => self.beyond += 1,
            _ => {}
        }
        z.map(|z| (z, moments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::StepNames;
    use crate::origin::Origins;
    use crate::schema::Schema;

    fn remembering(keys: u8) -> Remembering {
        let column = Named { name: "x".into(), index: 0 };
        let beyond = Beyond { column, beyond: 3.0, last: 4, warmup: 2, relearn: 0, says: None };
        let checks = Checks { beyond: vec![beyond], ttl: Some(Interval::from_micros(50)), ..Checks::default() };
        let mut remembering = Remembering::new(Arc::new(checks));
        for key in 0..keys {
            let mut memory = Memory::of(&remembering.checks);
            memory.touch(&remembering.checks, EventTime::from(key));
            memory.baselines[0].values.push_within(Moments::of(1.0), 4);
            remembering.groups.entry(7).or_default().insert(Box::new([key]), memory);
        }
        remembering
    }

    #[test]
    fn keys_that_fall_silent_take_no_room_also_on_disk() {
        let names = StepNames {
            name: "valid".into(),
            number: 0,
            output: Schema::new([]),
            late: Vec::new(),
            origins: Origins::default(),
        };
        let (out, mut ended, mut remembering) = (&mut Outputs::new(names), remembering(3), remembering(100));
        ended.on_watermark(AFTER_ALL, out);
        assert_eq!(ended.keys(), 3, "at the end they stay, for people to look at");
        remembering.on_watermark(100, out);
        assert_eq!(remembering.keys(), 50);
        remembering.on_watermark(1_000, out);
        let mut saved = Vec::new();
        let Copying::Whole(copied) = remembering.snapshot() else { panic!("a group has changed") };
        copied(&mut |group, bytes| saved.push((group, bytes.len())));
        assert_eq!((remembering.keys(), saved), (0, vec![(7, 0)]));
    }

    #[test]
    fn the_former_format_is_read_and_its_keys_live_until_they_are_touched() {
        let former: BTreeMap<Box<[u8]>, Former> =
            BTreeMap::from([(Box::from(*b"a"), (Vec::new(), vec![Baseline { beyond: 1, ..Baseline::default() }]))]);
        let mut remembering = remembering(0);
        let bytes = postcard::to_stdvec(&former).expect("it can be written");
        remembering.restore_from(1, 3, &bytes).expect("the former format");
        remembering.sweep(1_000_000);
        assert_eq!(remembering.groups[&3][&b"a"[..]].baselines[0].beyond, 1);
    }
}
