//! Puts records into canonical order: holds them until the watermark has passed, then gives them out sorted.

use crate::batch::Batch;
use crate::key::Keys;
use crate::origin::Origin;
use crate::time::EventTime;
use arrow::array::RecordBatch;
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
    /// The earliest point of its rows.
    from: EventTime,
}

type Place = (EventTime, EventTime, Origin, i64, usize, u32, u32);

impl Order {
    /// Takes a batch in.
    pub fn push(&mut self, input: usize, batch: Batch) {
        let from = (0..batch.len()).map(|row| point(&batch, row)).min();
        if let Some(from) = from {
            self.waiting.push(Waiting { input, batch, from });
        }
    }

    /// Gives out, sorted, the rows whose point is before the watermark: one batch for each run of rows of one input.
    /// O(n log n) in the rows given out, O(n) in those of batches that are split.
    pub fn release(&mut self, watermark: EventTime) -> Vec<(usize, Batch)> {
        let mut ready: Vec<Batch> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if waiting.from >= watermark {
                return true;
            }
            // What must stay keeps its place among the batches: rows that are equal in all else keep their order.
            let kept = gather(waiting, ready.len() as u32, watermark, &mut places);
            let whole = waiting.batch.clone();
            if !kept.is_empty() {
                waiting.batch = whole.take(&kept);
                waiting.from =
                    (0..kept.len()).map(|row| point(&waiting.batch, row)).min().expect("some rows were kept");
            }
            ready.push(whole);
            !kept.is_empty()
        });
        places.sort_unstable();
        places.chunk_by(|a, b| a.4 == b.4).map(|run| (run[0].4, interleave(&ready, run))).collect()
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(|w| w.batch.len()).sum()
    }

    /// The rows that wait, for a snapshot.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, &Batch)> {
        self.waiting.iter().map(|w| (w.input, &w.batch))
    }
}

/// Notes the places of the rows that may go; gives the rows that must stay.
fn gather(waiting: &Waiting, number: u32, watermark: EventTime, places: &mut Vec<Place>) -> Vec<u32> {
    let Waiting { input, batch, .. } = waiting;
    let (times, origins, sequences) = (batch.times(), batch.origins(), batch.sequences());
    let mut kept = Vec::new();
    for row in 0..batch.len() {
        let point = point(batch, row);
        if point < watermark {
            places.push((point, times[row], origins[row], sequences[row], *input, number, row as u32));
        } else {
            kept.push(row as u32);
        }
    }
    kept
}

fn point(batch: &Batch, row: usize) -> EventTime {
    batch.stamp(row).unwrap_or(EventTime::MIN).max(batch.times()[row])
}

fn interleave(ready: &[Batch], run: &[Place]) -> Batch {
    let first = &ready[run[0].5 as usize];
    let one = run.iter().all(|place| place.5 == run[0].5);
    if one {
        let in_place = run.len() == first.len() && run.iter().enumerate().all(|(i, place)| place.6 as usize == i);
        let rows = || run.iter().map(|place| place.6).collect::<Vec<_>>();
        return if in_place { first.clone() } else { first.take(&rows()) };
    }
    let records: Vec<&RecordBatch> = ready.iter().map(Batch::records).collect();
    let indices: Vec<(usize, usize)> = run.iter().map(|place| (place.5 as usize, place.6 as usize)).collect();
    let batch = Batch::from_records(interleave_record_batch(&records, &indices).expect("batches of one schema"));
    let keys: Option<Vec<&Keys>> = ready.iter().map(Batch::keys).collect();
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
