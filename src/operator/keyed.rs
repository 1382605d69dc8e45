//! The contract that most operators are written against: a function of one record and the state of its key.
//!
//! The engine owns the state: it finds it by key, keeps it by key group, snapshots, restores and forgets it. Records of
//! a key come in canonical order, once the watermark has passed them; timers fire between them at their times.
//!
//! **With a `ttl`** a key is forgotten as soon as event time is more than `ttl` past its last record: a record or timer
//! that comes just then still finds it, a later one does not. Whether a key is forgotten is asked of the times alone;
//! the queue by which room is made as the watermark passes decides nothing.

mod copying;

use super::{
    Arrival, Copied, Copying, Instance, MADE_FROM, Operator, Outputs, Planned, Planning, Reject, no_longer_read,
};
use super::{Shown, StateRow, flattened, shown_time};
use crate::batch::{Batch, Picked};
use crate::fault::Failure;
use crate::key::{self, KEY_GROUPS, KeyGroup, group_of};
use crate::operator::Derived;
use crate::origin::{Origin, Origins};
use crate::schema::{Field, Kind, SYSTEM, Schema};
use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime, Interval};
use crate::value::{ColumnBuilder, Row, Value};
use arrow::array::{Array, ArrayRef, StringBuilder, new_null_array};
use arrow::compute;
use copying::{FORM, PartialCopy};
use hashbrown::HashTable;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// An operator with state for every key.
///
/// 1. `on_record` and `on_timer` must depend on the configuration, the state and the record alone.
/// 2. Whatever is to be remembered is in `State`; `&self` is configuration.
pub trait KeyedOperator: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// The word in `kind = "..."`.
    const NAME: &'static str;

    /// The part's manual: the `//!` lines at the head of this text.
    const MANUAL: &'static str = "";

    /// What is remembered for each key.
    type State: Default + Clone + Send + Serialize + DeserializeOwned + 'static;

    /// The version of the format of `State`. Whoever changes the format takes the next number and reads the former ones
    /// in [`KeyedOperator::upgrade`].
    const STATE_VERSION: u32 = 1;

    /// Reads a state that was saved under a former version: `saved.read::<StateAsItWas>()`, made into what it is now.
    fn upgrade(version: u32, _saved: &mut SavedState<'_>) -> Result<Self::State, Failure> {
        Err(no_longer_read(version))
    }

    /// Checks the configuration, binds its [`super::Column`]s, and says what rows will come out.
    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits;

    /// Takes a record. An error sends it to `rejected` with that reason; the state stays as it is then left.
    fn on_record(&self, cx: &mut Cx<'_, Self::State>, row: Row<'_>) -> Result<(), Reject>;

    /// Hears that event time has reached `at`, which [`Cx::wake_at`] asked for.
    fn on_timer(&self, _cx: &mut Cx<'_, Self::State>, _at: EventTime) {}

    /// The state of a key as a person looks into it (`eagre state`): always the same columns, also for the state of a
    /// new key. To be overridden where the fields of the state are not what a person would ask for.
    fn inspect(&self, state: &Self::State) -> Vec<Shown> {
        flattened(state)
    }
}

/// Bytes of a state as it was saved, and of all that lies behind it.
pub struct SavedState<'a> {
    bytes: &'a [u8],
}

impl SavedState<'_> {
    /// Reads what comes next.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let (read, rest) = postcard::take_from_bytes(self.bytes).map_err(|e| Failure::new(e.to_string()))?;
        self.bytes = rest;
        Ok(read)
    }
}

/// What rows a keyed operator gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emits {
    /// Whether each begins with the fields of the record at hand (null where a timer emits).
    pub extends_input: bool,
    /// The fields behind the input's, or behind the key's where the row is the operator's own.
    pub fields: Vec<Field>,
    /// The input fields that the operator reads.
    pub uses: BTreeSet<String>,
}

impl Emits {
    /// Rows that are the record at hand and more fields. A field of the input's with such a name is replaced.
    pub fn record_and(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Emits {
        let fields = fields.into_iter().map(|(name, kind)| Field::new(name, kind)).collect();
        Emits { extends_input: true, fields, uses: BTreeSet::new() }
    }

    /// Rows of the operator's own: the key and these fields.
    pub fn key_and(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Emits {
        Emits { extends_input: false, ..Emits::record_and(fields) }
    }

    /// The same, reading these input fields.
    pub fn using<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Emits {
        self.uses.extend(fields.into_iter().map(str::to_owned));
        self
    }
}

/// What an operator has at hand while it takes a record or hears a timer.
pub struct Cx<'a, S> {
    /// The state of the key.
    pub state: &'a mut S,
    key: &'a [u8],
    hash: u64,
    at: EventTime,
    row: Option<Row<'a>>,
    emitter: &'a mut Emitter,
    wake: &'a mut Vec<EventTime>,
    forget: &'a mut bool,
}

impl<S> Cx<'_, S> {
    /// The key as a person reads it.
    pub fn key(&self) -> String {
        key::show(self.key)
    }

    /// The event time of the record, or of the timer.
    pub fn time(&self) -> EventTime {
        self.at
    }

    /// Gives out a row; the values are those of [`Emits::fields`], in order.
    pub fn emit(&mut self, values: impl IntoIterator<Item = Value>) {
        let time = if self.row.is_some() { self.at } else { self.at - 1 };
        self.emitter.emit((self.key, self.hash), time, self.row, values);
    }

    /// Asks for [`KeyedOperator::on_timer`] when event time reaches `at`.
    pub fn wake_at(&mut self, at: EventTime) {
        self.wake.push(at);
    }

    /// Forgets the key: its state is what a new key's is, and takes no room.
    pub fn forget(&mut self) {
        *self.forget = true;
    }
}

impl<K: KeyedOperator> Operator for K {
    const NAME: &'static str = K::NAME;
    const MANUAL: &'static str = K::MANUAL;
    const FORGETS: bool = true;

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let before = planning.faults();
        let mut operator = self.clone();
        let emits = KeyedOperator::plan(&mut operator, planning);
        if planning.faults() > before {
            return None;
        }
        let shape = Shape::new(&emits, planning);
        let (operator, shape, ttl) = (Arc::new(operator), Arc::new(shape), planning.ttl());
        Some(Planned {
            output: shape.output.clone(),
            uses: emits.uses,
            passes: emits.extends_input,
            keeps_origin: false,
            keyed: true,
            arrival: Arrival::InOrder,
            make: Arc::new(move || Box::new(Keyed::new(operator.clone(), shape.clone(), ttl))),
        })
    }
}

/// How the rows of a keyed step are put together.
struct Shape {
    output: Schema,
    /// Input fields that are carried along, by position.
    carried: Vec<usize>,
    key: Vec<Kind>,
    own: Vec<Kind>,
    extends_input: bool,
    made_from: bool,
}

impl Shape {
    fn new(emits: &Emits, planning: &Planning<'_>) -> Shape {
        let input = planning.input();
        let own = |name: &str| emits.fields.iter().any(|f| f.name == name);
        // A row that extends one that was derived itself was made from the same records.
        let made_before = emits.extends_input && input.field(MADE_FROM).is_some();
        let carried: Vec<usize> = if emits.extends_input {
            (0..input.fields().len()).filter(|i| !own(&input.fields()[*i].name)).collect()
        } else {
            Vec::new()
        };
        let key = if emits.extends_input { &[] } else { planning.key() };
        let made_from = planning.wants(MADE_FROM) && !made_before;
        let fields = carried.iter().map(|i| input.fields()[*i].clone());
        let fields = fields.chain(key.iter().cloned()).chain(emits.fields.iter().cloned());
        let fields = fields.chain(made_from.then(|| Field::new(MADE_FROM, Kind::Text)));
        Shape {
            output: Schema::new(fields),
            carried,
            key: key.iter().map(|f| f.kind).collect(),
            own: emits.fields.iter().map(|f| f.kind).collect(),
            extends_input: emits.extends_input,
            made_from,
        }
    }
}

/// Rows on their way out.
struct Emitter {
    shape: Arc<Shape>,
    times: Vec<EventTime>,
    groups: Vec<KeyGroup>,
    /// The number of the batch whose row is at hand.
    batch: usize,
    /// The batch and row that each extends; none where timers emit.
    rows: Vec<(usize, usize)>,
    keys: Vec<Vec<u8>>,
    own: Vec<ColumnBuilder>,
    places: Vec<Option<(Origin, i64)>>,
}

impl Emitter {
    fn new(shape: Arc<Shape>) -> Emitter {
        let own = shape.own.iter().map(|kind| ColumnBuilder::new(*kind)).collect();
        Emitter { shape, times: vec![], groups: vec![], batch: 0, rows: vec![], keys: vec![], own, places: vec![] }
    }

    fn emit(
        &mut self,
        (key, hash): (&[u8], u64),
        time: EventTime,
        row: Option<Row<'_>>,
        values: impl IntoIterator<Item = Value>,
    ) {
        self.times.push(time);
        self.groups.push(group_of(hash));
        self.rows.extend(row.map(|row| (self.batch, row.index())));
        self.places.push(row.map(|r| (r.origin(), r.sequence())));
        if !self.shape.key.is_empty() {
            self.keys.push(key.to_vec());
        }
        let mut given = 0;
        for value in values {
            self.own[given].push(value);
            given += 1;
        }
        assert_eq!(given, self.own.len(), "a row has a value for every field that was planned");
    }

    /// Hands the rows over; `batches` are those whose rows they extend.
    fn flush(&mut self, batches: &[Batch], out: &mut Outputs) {
        if self.times.is_empty() {
            return;
        }
        let mut columns = self.carried(batches);
        let keys = std::mem::take(&mut self.keys);
        columns.extend(key::decode(keys.iter().map(Vec::as_slice), &self.shape.key));
        columns.extend(self.own.iter_mut().map(ColumnBuilder::finish));
        if self.shape.made_from {
            columns.push(self.made_from(out.origins()));
        }
        self.places.clear();
        let (times, groups) = (std::mem::take(&mut self.times), std::mem::take(&mut self.groups));
        out.derive(Derived { times, stamps: Vec::new(), groups, columns });
    }

    fn made_from(&self, origins: &Origins) -> ArrayRef {
        let mut column = StringBuilder::new();
        let mut text = String::new();
        for place in &self.places {
            text.clear();
            if let Some((origin, sequence)) = place {
                origins.write_name(&mut text, *origin);
                write!(text, "@{sequence}").expect("writing to a String does not fail");
            }
            column.append_option(place.is_some().then_some(&text));
        }
        Arc::new(column.finish())
    }

    fn carried(&mut self, batches: &[Batch]) -> Vec<ArrayRef> {
        let Shape { output, carried, extends_input, .. } = &*self.shape;
        let rows = std::mem::take(&mut self.rows);
        if !extends_input {
            return Vec::new();
        }
        let carry = |(at, from): (usize, &usize)| {
            if rows.is_empty() {
                return new_null_array(output.arrow().field(SYSTEM + at).data_type(), self.times.len());
            }
            let columns: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(*from)).collect();
            compute::interleave(&columns, &rows).expect("rows of these batches")
        };
        carried.iter().enumerate().map(carry).collect()
    }
}

/// A keyed operator at work: the states of its keys, and their timers.
struct Keyed<K: KeyedOperator> {
    operator: Arc<K>,
    emitter: Emitter,
    index: HashTable<Pointer>,
    slots: Vec<Option<Slot<K::State>>>,
    free: Vec<usize>,
    timers: BTreeSet<Timer>,
    /// In microseconds.
    ttl: Option<i64>,
    /// When to look whether the key of a slot is to be forgotten: for each that may be, at or before its time.
    looks: BinaryHeap<Reverse<(EventTime, usize)>>,
    /// By key group.
    changed: Vec<bool>,
    /// The times that the call at hand has asked for.
    wake: Vec<EventTime>,
    /// The copy that is being made.
    copy: Option<PartialCopy<K::State>>,
}

/// When a key is to be woken.
type Timer = (EventTime, Arc<[u8]>);

/// Where a slot is, and half of its hash: that it is another's shows without looking there.
#[derive(Clone, Copy)]
struct Pointer {
    hash_half: u32,
    slot: u32,
}

fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// How many keys are looked up at once. Nothing in a step of that waits for the one before, so that the misses of the
/// cache are waited for together.
const BLOCK: usize = 32;

#[derive(Clone)]
struct Slot<S> {
    hash: u64,
    key: Arc<[u8]>,
    state: S,
    /// The point of the key's last record; [`AFTER_ALL`] where none was noted, which is never forgotten.
    touched: EventTime,
    /// When it is looked whether the key is to be forgotten; [`BEFORE_ALL`] where it is not.
    look: EventTime,
}

impl<K: KeyedOperator> Keyed<K> {
    fn new(operator: Arc<K>, shape: Arc<Shape>, ttl: Option<Interval>) -> Keyed<K> {
        Keyed {
            ttl: ttl.map(Interval::micros),
            looks: BinaryHeap::new(),
            operator,
            emitter: Emitter::new(shape),
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            changed: vec![false; KEY_GROUPS],
            wake: Vec::new(),
            copy: None,
        }
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is = |pointer: &Pointer| pointer.hash_half == half(hash) && self.is_of(pointer.slot as usize, hash, key);
        self.index.find(hash, is).map(|pointer| pointer.slot as usize)
    }

    fn is_of(&self, slot: usize, hash: u64, key: &[u8]) -> bool {
        self.slots[slot].as_ref().is_some_and(|slot| slot.hash == hash && *slot.key == *key)
    }

    /// The slot that is likely a key's, from the index alone.
    fn likely(&self, hash: u64) -> Option<usize> {
        let found = self.index.find(hash, |pointer| pointer.hash_half == half(hash));
        found.map(|pointer| pointer.slot as usize)
    }

    fn find_or_add(&mut self, hash: u64, key: &[u8]) -> usize {
        if let Some(slot) = self.find(hash, key) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        // It was nobody's when the copy was begun.
        self.copy.iter_mut().for_each(|copy| copy.leave_out(slot));
        self.slots[slot] =
            Some(Slot { hash, key: key.into(), state: K::State::default(), touched: AFTER_ALL, look: BEFORE_ALL });
        let slots = &self.slots;
        let pointer = Pointer { hash_half: half(hash), slot: slot as u32 };
        let hash_of = |at: &Pointer| slots[at.slot as usize].as_ref().expect("an indexed slot is filled").hash;
        self.index.insert_unique(hash, pointer, hash_of);
        slot
    }

    fn slot(&self, slot: usize) -> &Slot<K::State> {
        self.slots[slot].as_ref().expect("a slot that was found")
    }

    fn forget(&mut self, slot: usize) {
        self.preserve(slot);
        let Some(Slot { hash, .. }) = self.slots[slot].take() else { return };
        self.free.push(slot);
        self.changed[group_of(hash) as usize] = true;
        if let Ok(found) = self.index.find_entry(hash, |pointer| pointer.slot as usize == slot) {
            found.remove();
        }
    }

    /// Whether the key is forgotten when event time is `at`.
    fn is_over(&self, slot: usize, at: EventTime) -> bool {
        self.ttl.is_some_and(|ttl| self.slot(slot).touched.saturating_add(ttl) < at)
    }

    /// Notes a record of the key, for which it may have to begin anew; gives its slot.
    fn touch(&mut self, mut slot: usize, at: EventTime) -> usize {
        if self.is_over(slot, at) {
            let Slot { hash, key, .. } = self.slot(slot);
            let (hash, key) = (*hash, key.clone());
            self.forget(slot);
            slot = self.find_or_add(hash, &key);
        }
        self.note(slot, at);
        slot
    }

    /// Lets the copy that is being made have a slot before it changes.
    #[inline]
    fn preserve(&mut self, slot: usize) {
        if let Some(copy) = &mut self.copy {
            copy.preserve(slot, &self.slots);
        }
    }

    /// Notes when a key was touched last.
    fn note(&mut self, slot: usize, at: EventTime) {
        self.preserve(slot);
        let entry = self.slots[slot].as_mut().expect("a slot that was found");
        entry.touched = at;
        if let Some(ttl) = self.ttl.filter(|_| entry.look == BEFORE_ALL && at != AFTER_ALL) {
            entry.look = at.saturating_add(ttl);
            self.looks.push(Reverse((entry.look, slot)));
        }
    }

    /// Forgets the keys whose time is over. At the end of everything they stay, for people to look at.
    fn forget_before(&mut self, watermark: EventTime) {
        let Some(ttl) = self.ttl.filter(|_| watermark != AFTER_ALL) else { return };
        while let Some(Reverse((at, slot))) = self.looks.peek().copied().filter(|Reverse((at, _))| *at < watermark) {
            self.looks.pop();
            // The slot may have become another key's.
            let Some(entry) = self.slots[slot].as_mut().filter(|entry| entry.look == at) else { continue };
            entry.look = entry.touched.saturating_add(ttl);
            if entry.look < watermark {
                self.forget(slot);
            } else {
                self.looks.push(Reverse((entry.look, slot)));
            }
        }
    }

    /// Calls the operator for one key; whatever it changed is noted here and nowhere else.
    fn call(&mut self, slot: usize, at: EventTime, row: Option<Row<'_>>) -> Result<(), Reject> {
        self.preserve(slot);
        let Slot { hash, key, state, .. } = self.slots[slot].as_mut().expect("a slot that was found");
        let hash = *hash;
        self.changed[group_of(hash) as usize] = true;
        let mut forget = false;
        let mut cx = Cx {
            state,
            key: &*key,
            hash,
            at,
            row,
            emitter: &mut self.emitter,
            wake: &mut self.wake,
            forget: &mut forget,
        };
        let called = match row {
            Some(row) => self.operator.on_record(&mut cx, row),
            None => {
                self.operator.on_timer(&mut cx, at);
                Ok(())
            }
        };
        for at in self.wake.drain(..) {
            // One that the key had asked for before it was forgotten gives way.
            let before = self.timers.replace((at, key.clone()));
            if let Some(copy) = &mut self.copy {
                copy.gain((at, key.clone()), before);
            }
        }
        if forget {
            self.forget(slot);
        }
        called
    }

    /// Whether a timer was asked for by the key as it lives now: what was before it was forgotten is forgotten too.
    fn is_its_own(&self, slot: usize, timer: &Arc<[u8]>) -> bool {
        self.slots[slot].as_ref().is_some_and(|slot| Arc::ptr_eq(&slot.key, timer))
    }

    /// The timers of each key, in order of time.
    fn timers_by_key(&self) -> BTreeMap<&[u8], Vec<EventTime>> {
        let mut timers: BTreeMap<&[u8], Vec<EventTime>> = BTreeMap::new();
        for (at, key) in &self.timers {
            if self.find(xxh3_64(key), key).is_some_and(|slot| self.is_its_own(slot, key)) {
                timers.entry(key).or_default().push(*at);
            }
        }
        timers
    }

    /// Fires the timers up to and at `until`, in order of time and key.
    fn fire(&mut self, until: EventTime) {
        while self.timers.first().is_some_and(|(at, _)| *at <= until) {
            let timer = self.timers.pop_first().expect("there is a first");
            self.copy.iter_mut().for_each(|copy| copy.lose(&timer));
            let (at, key) = timer;
            let is_due = |slot: &usize| self.is_its_own(*slot, &key) && !self.is_over(*slot, at);
            if let Some(slot) = self.find(xxh3_64(&key), &key).filter(is_due) {
                self.call(slot, at, None).expect("a timer rejects nothing");
            }
        }
    }
}

impl<K: KeyedOperator> Instance for Keyed<K> {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        let rows = 0..batch.len();
        self.take_all(std::slice::from_ref(batch), rows.map(|row| (0, row)), out);
    }

    fn on_rows(&mut self, _input: usize, rows: Picked<'_>, out: &mut Outputs) {
        let places = rows.places.iter().map(|place| (place.batch as usize, place.row as usize));
        self.take_all(rows.batches, places, out);
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Outputs) {
        self.fire(watermark);
        self.emitter.flush(&[], out);
        self.forget_before(watermark);
    }

    fn snapshot(&mut self) -> Copying {
        if !self.changed.contains(&true) {
            return Copying::Unchanged;
        }
        let changed = std::mem::replace(&mut self.changed, vec![false; KEY_GROUPS]);
        self.copy = Some(PartialCopy::of(changed, self.slots.len(), self.index.len()));
        Copying::Begun
    }

    fn copy_on(&mut self, keys: usize) -> Option<Copied> {
        let is_whole = self.copy.as_mut()?.go_on(keys, &self.slots, &self.timers);
        let copy = self.copy.take_if(|_| is_whole)?;
        Some(Box::new(move |save| copy.save(save)))
    }

    fn restore(&mut self, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        self.take_over(bytes, |saved| saved.read()).map_err(|failure| unreadable::<K>(group, failure))
    }

    fn state_version(&self) -> u32 {
        K::STATE_VERSION
    }

    fn restore_former(&mut self, version: u32, group: KeyGroup, bytes: &[u8]) -> Result<(), Failure> {
        // It is saved anew with the next snapshot, so that a step's groups are of one version again.
        self.changed[group as usize] = true;
        self.take_over(bytes, |saved| K::upgrade(version, saved)).map_err(|failure| unreadable::<K>(group, failure))
    }

    fn keys(&self) -> usize {
        self.index.len()
    }

    fn inspect(&mut self, see: &mut dyn FnMut(StateRow<'_>)) {
        let timers = self.timers_by_key();
        for slot in self.slots.iter().flatten() {
            let own = timers.get(&*slot.key).map_or(&[][..], Vec::as_slice);
            let saved = postcard::to_stdvec(&(&*slot.key, &slot.state, own, slot.touched)).expect(WRITES);
            let mut values = self.operator.inspect(&slot.state);
            values.push(shown_time(WAKES_AT, own.first().copied()));
            see(StateRow { key: &slot.key, values, bytes: saved.len() });
        }
    }

    fn remembers(&self) -> Vec<Field> {
        let own = self.operator.inspect(&K::State::default()).into_iter().map(|(field, _)| field);
        own.chain([Field::new(WAKES_AT, Kind::Time)]).collect()
    }
}

/// The column with the time of a key's next timer.
const WAKES_AT: &str = "wakes_at";
const WRITES: &str = "state can be written";

fn unreadable<K: KeyedOperator>(group: KeyGroup, failure: Failure) -> Failure {
    failure.doing(format_args!("the state of `{}` in key group {group} cannot be read", K::NAME))
}

impl<K: KeyedOperator> Keyed<K> {
    /// Takes over the keys of a group, each with its state as `read` reads it.
    fn take_over(
        &mut self,
        bytes: &[u8],
        read: impl Fn(&mut SavedState<'_>) -> Result<K::State, Failure>,
    ) -> Result<(), Failure> {
        let touches = bytes.first() == Some(&FORM);
        let mut saved = SavedState { bytes: if touches { &bytes[1..] } else { bytes } };
        for _ in 0..saved.read::<usize>()? {
            let key: Vec<u8> = saved.read()?;
            let slot = self.find_or_add(xxh3_64(&key), &key);
            let state = read(&mut saved)?;
            let timers: Vec<EventTime> = saved.read()?;
            let touched = if touches { saved.read()? } else { AFTER_ALL };
            let entry = self.slots[slot].as_mut().expect("a slot that was found");
            entry.state = state;
            let key = entry.key.clone();
            self.timers.extend(timers.into_iter().map(|at| (at, key.clone())));
            self.note(slot, touched);
        }
        Ok(())
    }

    /// Takes rows, each a batch's number and its own there, in that order.
    fn take_all(&mut self, batches: &[Batch], rows: impl Iterator<Item = (usize, usize)>, out: &mut Outputs) {
        let keys = |batch| Batch::keys(batch).expect("a keyed step's batches have keys");
        let heads: Vec<_> = batches.iter().map(|batch| (batch.times(), keys(batch), batch.any_late())).collect();
        let mut rows = rows.peekable();
        let mut block = Vec::with_capacity(BLOCK);
        while rows.peek().is_some() {
            block.extend(rows.by_ref().take(BLOCK).map(|(number, row)| {
                let (times, keys, _) = heads[number];
                let (hash, key) = (keys.hashes()[row], keys.key(row));
                (number, row, times[row], hash, key, self.likely(hash))
            }));
            for (.., hash, key, likely) in &mut block {
                *likely = likely.filter(|slot| self.is_of(*slot, *hash, key));
            }
            for (number, row, time, hash, key, likely) in block.drain(..) {
                if self.timers.first().is_some_and(|(at, _)| *at <= time) {
                    self.fire_within(time, batches, out);
                }
                // A key may have been forgotten since, and its slot be another's.
                let slot = likely.filter(|slot| self.is_of(*slot, hash, key));
                let slot = slot.unwrap_or_else(|| self.find_or_add(hash, key));
                let stamp = if heads[number].2 { batches[number].stamp(row) } else { None };
                let slot = self.touch(slot, stamp.map_or(time, |stamp| stamp.max(time)));
                self.emitter.batch = number;
                if let Err(Reject(reason)) = self.call(slot, time, Some(Row::new(&batches[number], row))) {
                    out.reject(&batches[number], row, reason);
                }
            }
        }
        self.emitter.flush(batches, out);
    }

    /// Fires timers between two rows: what the rows before gave goes out first.
    fn fire_within(&mut self, time: EventTime, batches: &[Batch], out: &mut Outputs) {
        self.emitter.flush(batches, out);
        self.fire(time);
        self.emitter.flush(&[], out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::copying::Saved;
    use super::*;
    use crate::check::check;
    use crate::registry::Registry;

    /// Asks to be woken at the time that a record names; at 0 forgets its key.
    #[derive(Clone, serde::Deserialize, JsonSchema)]
    struct Alarm {
        at: Column,
    }

    impl KeyedOperator for Alarm {
        const NAME: &'static str = "alarm";
        type State = i64;

        fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
            planning.number(&mut self.at, "at");
            Emits::key_and([("records", Kind::Int)]).using([self.at.name.as_str()])
        }

        fn on_record(&self, cx: &mut Cx<'_, i64>, row: Row<'_>) -> Result<(), Reject> {
            *cx.state += 1;
            match row.number(self.at.index) {
                Some(at) if at > 0.0 => cx.wake_at(at as EventTime),
                _ => cx.forget(),
            }
            Ok(())
        }

        fn on_timer(&self, cx: &mut Cx<'_, i64>, _at: EventTime) {
            let records = *cx.state;
            cx.emit([Value::Int(records)]);
        }
    }

    #[test]
    fn a_forgotten_key_is_not_woken_by_what_it_asked_for_before() {
        let script = "0 key=a at=100
                      0 key=b at=100
                      -- 5
                      10 key=a at=0
                      10 key=b at=0
                      20 key=a at=150
                      20 key=b at=100
                      -- 50
                      60 key=b at=100
                      -- end";
        let expected = "99 key=b records=2 made_from=null
                        149 key=a records=1 made_from=null";
        let job = "kind = 'alarm'\nkey = 'key'\nat = 'at'";
        check(&Registry::default().operator::<Alarm>(), job, "key:text at:int", script, expected);
    }

    #[test]
    fn a_key_is_forgotten_when_no_record_of_it_has_come_for_longer_than_the_ttl() {
        let job = "kind = 'alarm'\nkey = 'key'\nat = 'at'\nttl = '50us'";
        let check = |script: &str, expected: &str| {
            check(&Registry::default().operator::<Alarm>(), job, "key:text at:int", script, expected);
        };
        // A record that comes just so long after the last finds the key; one that comes later begins anew.
        let two = "0 key=a at=200
                   0 key=b at=200
                   -- 20
                   50 key=a at=90
                   51 key=b at=90
                   -- end";
        check(two, "89 key=a records=2 made_from=null\n89 key=b records=1 made_from=null");
        // A timer just so long after the last record still fires; a later one does not, whatever the watermarks were.
        let timers = "0 key=a at=50
                      0 key=b at=51
                      -- 10
                      -- 60
                      70 key=b at=71
                      -- 71
                      -- 200
                      300 key=a at=301
                      -- end";
        let expected = "49 key=a records=1 made_from=null
                        70 key=b records=1 made_from=null
                        300 key=a records=1 made_from=null";
        check(timers, expected);
        // Timers do not keep a key: only records touch it. What a key asked for goes with it.
        let asked = "0 key=a at=40
                     30 key=a at=60
                     -- 45
                     -- 85
                     90 key=a at=95
                     -- end";
        check(
            asked,
            "39 key=a records=2 made_from=null\n59 key=a records=2 made_from=null\n94 key=a records=1 made_from=null",
        );
    }

    fn alarm(ttl: i64) -> Keyed<Alarm> {
        let shape = Shape {
            output: Schema::new([]),
            carried: vec![],
            key: vec![],
            own: vec![Kind::Int],
            extends_input: false,
            made_from: false,
        };
        Keyed::new(Arc::new(Alarm { at: Column::new("at") }), Arc::new(shape), Some(Interval::from_micros(ttl)))
    }

    fn add(keyed: &mut Keyed<Alarm>, key: &str, at: EventTime) {
        let slot = keyed.find_or_add(xxh3_64(key.as_bytes()), key.as_bytes());
        keyed.touch(slot, at);
        keyed.changed[group_of(xxh3_64(key.as_bytes())) as usize] = true;
    }

    /// The key groups that changed, as they are saved.
    fn saved_of(instance: &mut dyn Instance) -> Vec<(KeyGroup, Vec<u8>)> {
        let mut groups = Vec::new();
        if let Copying::Begun = instance.snapshot() {
            let copied = instance.copy_on(usize::MAX).expect("all of it");
            copied(&mut |group, bytes| groups.push((group, bytes)));
        }
        groups
    }

    #[test]
    fn room_is_made_as_the_watermark_passes_also_after_a_restart() {
        let mut keyed = alarm(50);
        (0..100).for_each(|n| add(&mut keyed, &format!("key-{n}"), n));
        add(&mut keyed, "key-0", 99);
        keyed.forget_before(100);
        assert_eq!((keyed.keys(), keyed.looks.len()), (51, 51));
        let mut again = alarm(50);
        for (group, bytes) in saved_of(&mut keyed).into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            again.restore(group, &bytes).expect("it was saved so");
        }
        for keyed in [&mut keyed, &mut again] {
            keyed.forget_before(149);
            assert_eq!(keyed.keys(), 2, "key-99 and key-0 were touched at 99");
            keyed.forget_before(AFTER_ALL);
            assert_eq!(keyed.keys(), 2, "at the end they stay");
            keyed.forget_before(150);
            assert_eq!((keyed.keys(), keyed.looks.len(), keyed.free.len()), (0, 0, keyed.slots.len()));
        }
        let groups = saved_of(&mut again).iter().filter(|(_, bytes)| bytes.is_empty()).count();
        assert!(groups > 45, "what is forgotten is gone from disk too: {groups}");
    }

    #[test]
    fn a_group_of_the_former_format_is_read_and_its_keys_live_until_they_are_touched() {
        let former = postcard::to_stdvec(&vec![(b"a".to_vec(), 7i64, vec![20i64])]).expect("it can be written");
        let mut keyed = alarm(50);
        keyed.restore(3, &former).expect("the former format");
        keyed.forget_before(1_000_000);
        assert_eq!((keyed.keys(), keyed.timers.len(), keyed.slot(0).state), (1, 1, 7));
        keyed.touch(0, 1_000_000);
        keyed.forget_before(1_000_051);
        assert_eq!(keyed.keys(), 0);
    }

    /// Had a count as text once, and then forgot how to read what was before that.
    #[derive(Clone, serde::Deserialize, JsonSchema)]
    struct Third {}

    impl KeyedOperator for Third {
        const NAME: &'static str = "third";
        const STATE_VERSION: u32 = 3;
        type State = i64;

        fn plan(&mut self, _: &mut Planning<'_>) -> Emits {
            Emits::key_and([("n", Kind::Int)])
        }

        fn on_record(&self, _: &mut Cx<'_, i64>, _: Row<'_>) -> Result<(), Reject> {
            Ok(())
        }

        fn upgrade(version: u32, saved: &mut SavedState<'_>) -> Result<i64, Failure> {
            match version {
                2 => saved.read::<String>()?.parse().map_err(|_| Failure::new("no count")),
                _ => Err(no_longer_read(version)),
            }
        }
    }

    #[test]
    fn a_state_of_a_former_version_is_read_as_the_step_says() {
        let inputs = [Schema::new([])];
        let planned = Operator::plan(&Third {}, &mut Planning::new("step", &inputs, &[], None)).expect("no faults");
        let saved: Vec<Saved<&[u8], &str>> = vec![(b"a", "41", vec![], 0), (b"b", "1", vec![], 0)];
        let saved = postcard::to_extend(&saved, vec![FORM]).expect(WRITES);
        let group = group_of(xxh3_64(b"a"));
        let mut third = (planned.make)();
        third.restore_from(2, group, &saved).expect("a version that it knows");
        let mut states = Vec::new();
        third.inspect(&mut |row| states.push((row.key.to_vec(), row.values[0].1.clone())));
        assert_eq!(states.len(), 2);
        assert!(format!("{states:?}").contains("41"), "{states:?}");
        let groups = saved_of(&mut *third);
        assert!(groups.iter().any(|(of, bytes)| *of == group && !bytes.is_empty()), "it is saved anew: {groups:?}");
        let said = |version, bytes: &[u8]| {
            (planned.make)().restore_from(version, group, bytes).expect_err("refused").to_string()
        };
        assert!(said(1, &saved).contains("version 1, which is not read any more"), "{}", said(1, &saved));
        let later = "its format has version 4, and this program knows 3: a later Eagre wrote it";
        assert_eq!(said(4, &saved), later);
        assert!(said(2, &saved[..4]).contains("cannot be read"), "{}", said(2, &saved[..4]));
    }
}
