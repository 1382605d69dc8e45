//! Puts records into canonical order: holds them until the watermark has passed, then gives them out sorted.
//!
//! Rows are not moved: what is sorted are their places, and who takes them reads them where they are.

use crate::batch::{Batch, Picked, Place};
use crate::origin::Origin;
use crate::time::EventTime;

/// Records that wait for the watermark. Rows are released by their *point*: the event time, or for a record that was
/// late at its source, its stamp; among equals in canonical order, then by input.
#[derive(Default)]
pub struct Order {
    waiting: Vec<Waiting>,
    places: Vec<Place>,
    spare: Vec<Place>,
}

struct Waiting {
    input: usize,
    batch: Batch,
    /// The rows that wait, ascending, once some have gone.
    rows: Option<Vec<u32>>,
    /// The earliest point of the rows that wait.
    from: EventTime,
    /// Where all rows are of one origin, on time and ascending: that origin, the first sequence and the last.
    stretch: Option<(Origin, i64, i64)>,
}

impl Order {
    /// Takes a batch in.
    pub fn push(&mut self, input: usize, batch: Batch) {
        let points = Points::of(&batch);
        if let Some(from) = (0..batch.len()).map(|row| points.point(row)).min() {
            let stretch = stretch(&batch);
            self.waiting.push(Waiting { input, batch, rows: None, from, stretch });
        }
    }

    /// Gives out, sorted, the rows whose point is before the watermark: those of one input that follow each other
    /// together. O(n) in the rows given out and in those of batches that are split; O(n log n) where points lie far
    /// apart.
    pub fn release(&mut self, watermark: EventTime, mut give: impl FnMut(usize, Picked<'_>)) {
        let (mut ready, mut inputs) = (Vec::new(), Vec::new());
        let mut came_in_order = InOrder::default();
        let places = &mut self.places;
        self.waiting.retain_mut(|waiting| {
            if waiting.from >= watermark {
                return true;
            }
            came_in_order.look(waiting);
            inputs.push(waiting.input);
            ready.push(waiting.batch.clone());
            waiting.leave((ready.len() - 1) as u32, watermark, places)
        });
        sort_by_point(places, &mut self.spare);
        if !came_in_order.yes {
            settle(places, &ready, &inputs);
        }
        let input = |place: &Place| inputs[place.batch as usize];
        for run in places.chunk_by(|a, b| input(a) == input(b)) {
            give(input(&run[0]), Picked { batches: &ready, places: run });
        }
        places.clear();
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.rows.as_ref().map_or(waiting.batch.len(), Vec::len)).sum()
    }

    /// The rows that wait, for a snapshot.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, Batch)> {
        let rows = |waiting: &Waiting| match &waiting.rows {
            Some(rows) => waiting.batch.take(rows),
            None => waiting.batch.clone(),
        };
        self.waiting.iter().map(move |waiting| (waiting.input, rows(waiting)))
    }
}

impl Waiting {
    /// Notes the places of the rows that may go, in the order in which they came; whether some must stay.
    fn leave(&mut self, number: u32, watermark: EventTime, places: &mut Vec<Place>) -> bool {
        let points = Points::of(&self.batch);
        let (mut kept, mut from) = (Vec::new(), EventTime::MAX);
        let mut look = |row: u32| {
            let point = points.point(row as usize);
            if point < watermark {
                places.push(Place { point, batch: number, row });
            } else {
                kept.push(row);
                from = from.min(point);
            }
        };
        match &self.rows {
            Some(rows) => rows.iter().copied().for_each(&mut look),
            None => (0..self.batch.len() as u32).for_each(&mut look),
        }
        let some_stay = !kept.is_empty();
        self.from = from;
        // A few rows do not hold the memory of many. Each is copied seldom: what stays is a fourth of what was, or
        // less.
        match kept.len() * 4 < self.batch.len() {
            true => (self.batch, self.rows) = (self.batch.take(&kept), None),
            false => self.rows = Some(kept),
        }
        some_stay
    }
}

fn stretch(batch: &Batch) -> Option<(Origin, i64, i64)> {
    let (origins, sequences) = (batch.origins(), batch.sequences());
    let (first, last) = (*sequences.first()?, *sequences.last()?);
    let one_origin = origins.iter().fold(true, |one, origin| one & (*origin == origins[0]));
    (one_origin && !batch.any_late() && sequences.is_sorted()).then_some((origins[0], first, last))
}

/// Whether all rows of several batches came in order of sequence and from one origin: then those of one point are in
/// canonical order as they came.
struct InOrder {
    yes: bool,
    /// The input, the origin and the last sequence of the batch before.
    before: Option<(usize, Origin, i64)>,
}

impl Default for InOrder {
    fn default() -> InOrder {
        InOrder { yes: true, before: None }
    }
}

impl InOrder {
    fn look(&mut self, waiting: &Waiting) {
        let Some((origin, first, last)) = waiting.stretch else {
            self.yes = false;
            return;
        };
        let follows =
            |(input, of, until): (usize, Origin, i64)| (input, of) == (waiting.input, origin) && until <= first;
        self.yes &= self.before.is_none_or(follows);
        self.before = Some((waiting.input, origin, last));
    }
}

/// The points of a batch's rows.
struct Points<'a> {
    batch: &'a Batch,
    times: &'a [EventTime],
    any_late: bool,
}

impl Points<'_> {
    fn of(batch: &Batch) -> Points<'_> {
        Points { batch, times: batch.times(), any_late: batch.any_late() }
    }

    #[inline]
    fn point(&self, row: usize) -> EventTime {
        let stamp = if self.any_late { self.batch.stamp(row) } else { None };
        stamp.map_or(self.times[row], |stamp| stamp.max(self.times[row]))
    }
}

/// Places among which no other way than comparing is taken.
const FEW: usize = 128;

/// Bits of a digit, and of the widest range of points that is sorted digit by digit.
const DIGIT: u32 = 11;
const DIGITS_MAX: u32 = 4 * DIGIT;

/// Sorts by point; places of one point keep their order. By counting, digit after digit, where points lie as close
/// together as they do in a stream: three passes for 2.4 hours.
fn sort_by_point(places: &mut Vec<Place>, spare: &mut Vec<Place>) {
    if places.is_sorted_by_key(|place| place.point) {
        return;
    }
    let points = || places.iter().map(|place| place.point);
    let (least, most) = (points().min().unwrap_or_default(), points().max().unwrap_or_default());
    let bits = u64::BITS - most.abs_diff(least).leading_zeros();
    if places.len() < FEW || bits > DIGITS_MAX {
        return places.sort_by_key(|place| place.point);
    }
    for shift in (0..bits).step_by(DIGIT as usize) {
        let digit = |place: &Place| (place.point.abs_diff(least) >> shift) as usize & ((1 << DIGIT) - 1);
        let mut starts = [0u32; 1 << DIGIT];
        places.iter().for_each(|place| starts[digit(place)] += 1);
        let mut sum = 0;
        for start in &mut starts {
            (*start, sum) = (sum, sum + *start);
        }
        spare.clear();
        spare.resize(places.len(), places[0]);
        for place in places.iter() {
            let start = &mut starts[digit(place)];
            spare[*start as usize] = *place;
            *start += 1;
        }
        std::mem::swap(places, spare);
    }
}

/// Puts places of one point into canonical order, where they did not come in it.
fn settle(places: &mut [Place], ready: &[Batch], inputs: &[usize]) {
    let heads: Vec<_> = ready.iter().map(|batch| (batch.times(), batch.origins(), batch.sequences())).collect();
    let canonical = |place: &Place| -> (EventTime, Origin, i64, usize, u32, u32) {
        let ((times, origins, sequences), row) = (heads[place.batch as usize], place.row as usize);
        (times[row], origins[row], sequences[row], inputs[place.batch as usize], place.batch, place.row)
    };
    for equals in places.chunk_by_mut(|a, b| a.point == b.point) {
        if equals.is_sorted_by_key(canonical) {
            continue;
        }
        // Where there are many, to read of each row once what it is compared by takes less than to read it each time.
        match equals.len() < FEW {
            true => equals.sort_unstable_by_key(canonical),
            false => equals.sort_by_cached_key(canonical),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::key::Keys;
    use crate::schema::{Field, Kind, Schema};
    use crate::stats::random::Random;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    fn batch(rows: &[(EventTime, Origin, i64, Option<EventTime>)]) -> Batch {
        let head = Head {
            times: rows.iter().map(|r| r.0).collect(),
            origins: rows.iter().map(|r| r.1).collect(),
            sequences: rows.iter().map(|r| r.2).collect(),
            stamps: rows.iter().map(|r| r.3).collect(),
        };
        let keys = Keys::of(&[], rows.len());
        Batch::new(&Schema::new([]), head, vec![]).with_keys(keys)
    }

    fn released(order: &mut Order, watermark: EventTime) -> Vec<(EventTime, Origin, i64)> {
        let mut rows = Vec::new();
        order.release(watermark, |_, picked| {
            let b = picked.gathered();
            rows.extend((0..b.len()).map(|r| (b.times()[r], b.origins()[r], b.sequences()[r])));
        });
        rows
    }

    #[test]
    fn rows_come_out_in_canonical_order_whatever_came_first() {
        let rows = [(5, 0, 0, None), (3, 1, 7, None), (5, 0, 1, None), (9, 0, 2, None), (3, 0, 3, Some(6))];
        for split in 0..=rows.len() {
            let mut order = Order::default();
            order.push(0, batch(&rows[split..]));
            order.push(0, batch(&rows[..split]));
            assert_eq!(released(&mut order, 6), [(3, 1, 7), (5, 0, 0), (5, 0, 1)]);
            assert_eq!(order.len(), 2);
            assert_eq!(released(&mut order, EventTime::MAX), [(3, 0, 3), (9, 0, 2)]);
        }
    }

    #[test]
    fn equal_rows_keep_the_order_they_came_in() {
        let mut order = Order::default();
        let twice = |value: i64| batch(&[(5, 0, 0, None), (1 + value, 0, 9, None)]);
        order.push(0, twice(0));
        order.push(0, twice(1));
        assert_eq!(released(&mut order, 2), [(1, 0, 9)]);
        let waiting: Vec<i64> = order.waiting().flat_map(|(_, b)| b.times().to_vec()).collect();
        assert_eq!(waiting, [5, 5, 2], "the kept row of the first batch is still before those of the second");
    }

    #[test]
    fn inputs_may_have_different_fields() {
        let (mut order, mut given) = (Order::default(), Vec::new());
        for time in 0..4 {
            let head = || Head { times: vec![time], origins: vec![0], sequences: vec![time], ..Head::default() };
            let (text, int): (ArrayRef, ArrayRef) =
                (Arc::new(StringArray::from(vec!["a"])), Arc::new(Int64Array::from(vec![time])));
            let (text_field, int_field) = (Field::new("text", Kind::Text), Field::new("int", Kind::Int));
            order.push(
                0,
                Batch::new(
                    &Schema::new([text_field.clone(), int_field.clone()]),
                    head(),
                    vec![text.clone(), int.clone()],
                ),
            );
            order.push(1, Batch::new(&Schema::new([int_field]), Head { times: vec![time + 10], ..head() }, vec![int]));
        }
        order.release(EventTime::MAX, |input, picked| {
            let batch = picked.gathered();
            given.push((input, batch.len(), batch.row_json(3)));
        });
        let expected = [(0, 4, r#"{"text":"a","int":3}"#.to_owned()), (1, 4, r#"{"int":3}"#.to_owned())];
        assert_eq!(given, expected);
    }

    #[test]
    fn places_are_sorted_by_digits_as_by_comparing() {
        let mut random = Random::new(3);
        for (rows, range) in [(5, 9), (1000, 4), (1000, 100_000), (1000, 1 << 40), (1000, 1 << 50)] {
            let place = |row| Place { point: random.pick(range) as i64 - (range / 2) as i64, batch: 0, row };
            let mut places: Vec<Place> = (0..rows).map(place).collect();
            let mut expected = places.clone();
            expected.sort_unstable();
            sort_by_point(&mut places, &mut Vec::new());
            assert_eq!(places, expected, "{rows} of {range}");
        }
    }
}
