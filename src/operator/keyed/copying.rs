//! A copy of keys, states and timers that is made bit by bit, while they go on changing: see
//! [`sweep`](super::super::sweep).

use super::{Slot, Timer, WRITES};
use crate::key::{KEY_GROUPS, KeyGroup, group_of};
use crate::operator::sweep::Sweep;
use crate::time::EventTime;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// What a key group on disk begins with, before key, state, timers and last touch of each key, in order of key. The
/// former format begins with the number of keys, which is not 0, and has no touches.
pub const FORM: u8 = 0;

/// A key as it is saved.
pub type Saved<K, S> = (K, S, Vec<EventTime>, EventTime);

/// A copy that is being made: of the slots and timers as they were when it was begun. The slots come first.
pub struct PartialCopy<S> {
    /// By key group.
    changed: Vec<bool>,
    /// The slots that it still wants.
    sweep: Sweep,
    slots: Vec<Slot<S>>,
    timers: Vec<Timer>,
    /// Up to where it has looked at the timers.
    told: Option<Timer>,
    /// The timers behind that, that came since it was begun.
    since: BTreeSet<Timer>,
}

impl<S: Clone> PartialCopy<S> {
    /// Nothing of so many slots yet, of which so many are some key's, in the groups that changed.
    pub fn of(changed: Vec<bool>, slots: usize, keys: usize) -> PartialCopy<S> {
        PartialCopy {
            changed,
            sweep: Sweep::of(slots),
            // Room for all at once: to make more of it again and again costs more than the copy.
            slots: Vec::with_capacity(keys),
            timers: Vec::new(),
            told: None,
            since: BTreeSet::new(),
        }
    }

    /// Takes a slot before it changes, if it is still wanted.
    #[inline]
    pub fn preserve(&mut self, slot: usize, slots: &[Option<Slot<S>>]) {
        if self.sweep.claim(slot) {
            self.take(&slots[slot]);
        }
    }

    /// Hears that a slot that was nobody's is a key's now.
    pub fn leave_out(&mut self, slot: usize) {
        self.sweep.claim(slot);
    }

    /// Takes a slot as it is, where its group changed.
    fn take(&mut self, slot: &Option<Slot<S>>) {
        if let Some(slot) = slot.as_ref().filter(|slot| self.changed[group_of(slot.hash) as usize]) {
            self.slots.push(slot.clone());
        }
    }

    fn is_ahead(&self, timer: &Timer) -> bool {
        self.told.as_ref().is_none_or(|told| timer > told)
    }

    /// Hears that a timer is gone.
    pub fn lose(&mut self, timer: &Timer) {
        if self.is_ahead(timer) && !self.since.remove(timer) {
            self.tell(timer);
        }
    }

    /// Hears that a timer has come, for another that was there before.
    pub fn gain(&mut self, timer: Timer, before: Option<Timer>) {
        before.iter().for_each(|before| self.lose(before));
        if self.is_ahead(&timer) {
            self.since.insert(timer);
        }
    }

    fn tell(&mut self, timer: &Timer) {
        if self.changed[group_of(xxh3_64(&timer.1)) as usize] {
            self.timers.push(timer.clone());
        }
    }

    /// Copies so many slots and timers; says whether that was all.
    pub fn go_on(&mut self, keys: usize, slots: &[Option<Slot<S>>], timers: &BTreeSet<Timer>) -> bool {
        for _ in 0..keys {
            match self.sweep.next() {
                Some(slot) => self.take(&slots[slot]),
                None => return self.go_on_with_timers(keys, timers),
            }
        }
        false
    }

    fn go_on_with_timers(&mut self, keys: usize, timers: &BTreeSet<Timer>) -> bool {
        let from = self.told.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut ahead = timers.range((from, Bound::Unbounded));
        for timer in ahead.by_ref().take(keys) {
            if !self.since.remove(timer) {
                self.tell(timer);
            }
            self.told = Some(timer.clone());
        }
        ahead.next().is_none()
    }
}

impl<S: Serialize> PartialCopy<S> {
    /// Makes bytes of the key groups that changed. A timer that was asked for by a key that has been forgotten since
    /// has another key's place in memory, and is nobody's.
    pub fn save(&self, save: &mut dyn FnMut(KeyGroup, Vec<u8>)) {
        let mut due: Vec<(*const u8, EventTime)> = self.timers.iter().map(|(at, key)| (key.as_ptr(), *at)).collect();
        due.sort_unstable();
        let due_of = |slot: &Slot<S>| -> Vec<EventTime> {
            let from = due.partition_point(|(of, _)| *of < slot.key.as_ptr());
            due[from..].iter().take_while(|(of, _)| *of == slot.key.as_ptr()).map(|(_, at)| *at).collect()
        };
        let mut groups = vec![Vec::new(); KEY_GROUPS];
        self.slots.iter().for_each(|slot| groups[group_of(slot.hash) as usize].push(slot));
        for (group, mut slots) in groups.into_iter().enumerate().filter(|(group, _)| self.changed[*group]) {
            slots.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            let keys = slots.iter().map(|slot| (&*slot.key, &slot.state, due_of(slot), slot.touched));
            let keys: Vec<Saved<&[u8], &S>> = keys.collect();
            let bytes = if keys.is_empty() { Ok(Vec::new()) } else { postcard::to_extend(&keys, vec![FORM]) };
            save(group as KeyGroup, bytes.expect(WRITES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cx, Emits, Keyed, KeyedOperator, Shape};
    use super::*;
    use crate::operator::{Instance, Planning, Reject};
    use crate::schema::{Kind, Schema};
    use crate::time::Interval;
    use crate::value::Row;
    use proptest::prelude::*;
    use schemars::JsonSchema;
    use std::sync::Arc;

    /// Sums the times at which it is called, asks to be woken, and forgets.
    #[derive(Clone, serde::Deserialize, JsonSchema)]
    struct Restless {}

    impl KeyedOperator for Restless {
        const NAME: &'static str = "restless";
        type State = i64;

        fn plan(&mut self, _: &mut Planning<'_>) -> Emits {
            Emits::key_and([("sum", Kind::Int)])
        }

        fn on_record(&self, _: &mut Cx<'_, i64>, _: Row<'_>) -> Result<(), Reject> {
            Ok(())
        }

        fn on_timer(&self, cx: &mut Cx<'_, i64>, at: EventTime) {
            *cx.state += at;
            if at % 3 > 0 {
                cx.wake_at(at + at % 7 + 1);
            }
            if at % 11 == 0 {
                cx.forget();
            }
        }
    }

    fn whole(keyed: &mut Keyed<Restless>) -> Vec<(KeyGroup, Vec<u8>)> {
        let mut groups = Vec::new();
        if let Some(copied) = keyed.copy_on(usize::MAX) {
            copied(&mut |group, bytes| groups.push((group, bytes)));
        }
        groups
    }

    fn go_on(keyed: &mut Keyed<Restless>, key: u8, at: EventTime) {
        let hash = xxh3_64(&[key]);
        let slot = keyed.find_or_add(hash, &[key]);
        let slot = keyed.touch(slot, at);
        keyed.call(slot, at, None).expect("a timer rejects nothing");
        if at % 4 == 0 {
            keyed.fire(at);
            keyed.forget_before(at);
        }
    }

    fn restless(ttl: Option<i64>) -> Keyed<Restless> {
        let shape = Shape {
            output: Schema::new([]),
            carried: vec![],
            key: vec![],
            own: vec![Kind::Int],
            extends_input: false,
            made_from: false,
        };
        Keyed::new(Arc::new(Restless {}), Arc::new(shape), ttl.map(Interval::from_micros))
    }

    proptest! {
        #[test]
        fn a_copy_is_of_the_point_at_which_it_was_begun(
            before in prop::collection::vec(0u8..24, 0..60),
            after in prop::collection::vec((0u8..24, 0usize..4), 0..60),
            ttl in prop::option::of(5i64..40),
        ) {
            let (mut at_once, mut bit_by_bit) = (restless(ttl), restless(ttl));
            for keyed in [&mut at_once, &mut bit_by_bit] {
                (1..).zip(&before).for_each(|(at, key)| go_on(keyed, *key, at));
                keyed.snapshot();
            }
            let (expected, mut was, mut begun) = (whole(&mut at_once), Vec::new(), !before.is_empty());
            for (at, (key, keys)) in (before.len() as i64 + 1..).zip(&after) {
                go_on(&mut at_once, *key, at);
                go_on(&mut bit_by_bit, *key, at);
                if let Some(copied) = bit_by_bit.copy_on(*keys).filter(|_| begun) {
                    copied(&mut |group, bytes| was.push((group, bytes)));
                    begun = false;
                }
            }
            was.extend(whole(&mut bit_by_bit));
            prop_assert_eq!(expected, was);
            at_once.snapshot();
            bit_by_bit.snapshot();
            prop_assert_eq!(whole(&mut at_once), whole(&mut bit_by_bit), "and the next one");
        }
    }
}
