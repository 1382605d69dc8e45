//! Puts records into canonical order: holds them until the watermark has passed, then gives them out sorted.

use crate::batch::Batch;
use crate::key::Keys;
use crate::origin::Origin;
use crate::time::EventTime;
use arrow::array::{Array, RecordBatch};
use arrow::compute::interleave_record_batch;

/// Records that wait for the watermark. Rows are released by their *point*: the event time, or for a record that was
/// late at its source, its stamp; among equals in canonical order, then by input.
#[derive(Default)]
pub struct Order {
    waiting: Vec<Waiting>,
}

struct Waiting {
    input: usize,
    batch: Batch,
    /// Those of its rows that are left; `None` while all are.
    left: Option<Vec<u32>>,
    /// The earliest point of its rows.
    from: EventTime,
}

/// Where a row is that may go.
#[derive(Clone, Copy)]
struct Place {
    point: EventTime,
    batch: u32,
    row: u32,
}

/// What rows of a batch are put in order by.
struct Ready<'a> {
    input: usize,
    times: &'a [EventTime],
    origins: &'a [Origin],
    sequences: &'a [i64],
}

impl Order {
    /// Takes a batch in.
    pub fn push(&mut self, input: usize, batch: Batch) {
        let from = (0..batch.len()).map(points(&batch)).min();
        if let Some(from) = from {
            self.waiting.push(Waiting { input, batch, left: None, from });
        }
    }

    /// Gives out, sorted, the rows whose point is before the watermark: one batch for each run of rows of one input.
    /// O(n log n) in the rows given out, O(n) in those of batches that are split.
    pub fn release(&mut self, watermark: EventTime) -> Vec<(usize, Batch)> {
        let mut ready: Vec<(usize, Batch)> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if waiting.from >= watermark {
                return true;
            }
            // What must stay keeps its place among the batches: rows that are equal in all else keep their order.
            let number = ready.len() as u32;
            ready.push((waiting.input, waiting.batch.clone()));
            waiting.gather(number, watermark, &mut places)
        });
        let order: Vec<Ready> = ready.iter().map(Ready::of).collect();
        places.sort_unstable_by(|a, b| {
            let rank = |place: &Place| order[place.batch as usize].rank(place);
            a.point.cmp(&b.point).then_with(|| rank(a).cmp(&rank(b)))
        });
        let input = |place: &Place| ready[place.batch as usize].0;
        places.chunk_by(|a, b| input(a) == input(b)).map(|run| (input(&run[0]), interleave(&ready, run))).collect()
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(Waiting::len).sum()
    }

    /// The rows that wait, for a snapshot.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, Batch)> {
        self.waiting
            .iter()
            .map(|w| (w.input, w.left.as_ref().map_or_else(|| w.batch.clone(), |rows| w.batch.take(rows))))
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.left.as_ref().map_or(self.batch.len(), Vec::len)
    }

    /// Notes the places of the rows that may go, and keeps those that must stay; says whether there are any.
    fn gather(&mut self, number: u32, watermark: EventTime, places: &mut Vec<Place>) -> bool {
        let (kept, from) = self.part(number, watermark, places);
        let is_some = !kept.is_empty();
        // A few rows do not hold the memory of many. Each is copied seldom: what is kept is a fourth of what was, or less.
        (self.batch, self.left) = match kept.len() * 4 < self.batch.len() {
            true => (self.batch.take(&kept), None),
            false => (self.batch.clone(), Some(kept)),
        };
        self.from = from;
        is_some
    }

    /// Notes the places of the rows that may go; gives the others, and their earliest point.
    fn part(&self, number: u32, watermark: EventTime, places: &mut Vec<Place>) -> (Vec<u32>, EventTime) {
        let points = points(&self.batch);
        let (mut kept, mut from) = (Vec::new(), EventTime::MAX);
        let mut look = |row: u32| {
            let point = points(row as usize);
            if point < watermark {
                places.push(Place { point, batch: number, row });
            } else {
                from = from.min(point);
                kept.push(row);
            }
        };
        match &self.left {
            Some(left) => left.iter().for_each(|row| look(*row)),
            None => (0..self.batch.len() as u32).for_each(look),
        }
        (kept, from)
    }
}

impl<'a> Ready<'a> {
    fn of((input, batch): &'a (usize, Batch)) -> Ready<'a> {
        Ready { input: *input, times: batch.times(), origins: batch.origins(), sequences: batch.sequences() }
    }

    /// The order of rows of one point.
    fn rank(&self, place: &Place) -> (EventTime, Origin, i64, usize, u32, u32) {
        let row = place.row as usize;
        (self.times[row], self.origins[row], self.sequences[row], self.input, place.batch, place.row)
    }
}

/// The point of each row of a batch.
fn points(batch: &Batch) -> impl Fn(usize) -> EventTime {
    let (times, stamps) = (batch.times(), Some(batch.stamps()).filter(|_| batch.any_late()));
    move |row| match stamps {
        Some(stamps) if stamps.is_valid(row) => stamps.value(row).max(times[row]),
        _ => times[row],
    }
}

fn interleave(ready: &[(usize, Batch)], run: &[Place]) -> Batch {
    let first = &ready[run[0].batch as usize].1;
    if run.iter().all(|place| place.batch == run[0].batch) {
        let in_place = run.len() == first.len() && run.iter().enumerate().all(|(i, place)| place.row as usize == i);
        let rows = || run.iter().map(|place| place.row).collect::<Vec<_>>();
        return if in_place { first.clone() } else { first.take(&rows()) };
    }
    let records: Vec<&RecordBatch> = ready.iter().map(|(_, batch)| batch.records()).collect();
    let indices: Vec<(usize, usize)> = run.iter().map(|place| (place.batch as usize, place.row as usize)).collect();
    let batch = Batch::from_records(interleave_record_batch(&records, &indices).expect("batches of one schema"));
    let keys: Option<Vec<&Keys>> = ready.iter().map(|(_, batch)| batch.keys()).collect();
    match keys {
        Some(keys) => batch.with_keys(Keys::interleave(&keys, &indices)),
        None => batch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::Schema;

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
        let batches = order.release(watermark);
        let rows =
            |b: &Batch| (0..b.len()).map(|r| (b.times()[r], b.origins()[r], b.sequences()[r])).collect::<Vec<_>>();
        batches.iter().flat_map(|(_, b)| rows(b)).collect()
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
    fn rows_that_are_left_keep_their_order_whether_few_or_many() {
        for left in 1..8 {
            let rows: Vec<_> = (0..8).map(|i| (if i < 8 - left { 1 } else { 20 - i }, 0, i, None)).collect();
            let mut order = Order::default();
            order.push(0, batch(&rows));
            assert_eq!(released(&mut order, 2).len() as i64, 8 - left);
            assert_eq!(released(&mut order, 13), []);
            let waiting: Vec<i64> = order.waiting().flat_map(|(_, b)| b.sequences().to_vec()).collect();
            assert_eq!((order.len() as i64, waiting), (left, ((8 - left)..8).collect()));
            let last: Vec<i64> = released(&mut order, EventTime::MAX).iter().map(|row| row.2).collect();
            assert_eq!(last, ((8 - left)..8).rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn equal_rows_keep_the_order_they_came_in() {
        let mut order = Order::default();
        let twice = |value: i64| batch(&[(5, 0, 0, None), (1 + value, 0, 9, None)]);
        order.push(0, twice(0));
        order.push(0, twice(1));
        let keys =
            |batches: Vec<(usize, Batch)>| batches.iter().map(|(_, b)| b.sequences().to_vec()).collect::<Vec<_>>();
        assert_eq!(keys(order.release(2)), [[9]]);
        let waiting: Vec<i64> = order.waiting().flat_map(|(_, b)| b.times().to_vec()).collect();
        assert_eq!(waiting, [5, 5, 2], "the kept row of the first batch is still before those of the second");
    }
}
