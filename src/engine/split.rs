//! Sends every row of a batch to the worker that owns its key group. A key is hashed here, once.

use crate::batch::Batch;
use crate::expression::Expression;
use crate::key::{Keys, group_of, worker_of};
use crate::operator::Outputs;
use arrow::array::ArrayRef;

/// Splits the batches of one input of a keyed step.
pub struct Splitter {
    key: Vec<Expression>,
    workers: usize,
    /// For each worker, the rows that go there; kept to be filled again.
    rows: Vec<Vec<u32>>,
}

impl Splitter {
    /// A splitter by these key expressions; none means that all rows have one key.
    pub fn new(key: Vec<Expression>, workers: usize) -> Splitter {
        Splitter { key, workers, rows: vec![Vec::new(); workers] }
    }

    /// Calls `send(worker, batch)` for each worker that gets rows. Rows whose key cannot be computed are rejected.
    pub fn split(&mut self, batch: &Batch, out: &mut Outputs, mut send: impl FnMut(usize, Batch)) {
        let (columns, failed) = self.evaluate(batch);
        for (row, reason) in &failed {
            out.reject(batch, *row as usize, reason.clone());
        }
        let keys = Keys::of(&columns, batch.len());
        if self.workers == 1 && failed.is_empty() {
            return send(0, batch.clone().with_keys(keys));
        }
        for (row, hash) in keys.hashes().iter().enumerate() {
            self.rows[worker_of(group_of(*hash), self.workers)].push(row as u32);
        }
        for (row, _) in &failed {
            self.rows.iter_mut().for_each(|rows| rows.retain(|r| r != row));
        }
        let batch = batch.clone().with_keys(keys);
        for (worker, rows) in self.rows.iter_mut().enumerate() {
            if rows.len() == batch.len() {
                send(worker, batch.clone());
            } else if !rows.is_empty() {
                send(worker, batch.take(rows));
            }
            rows.clear();
        }
    }

    fn evaluate(&self, batch: &Batch) -> (Vec<ArrayRef>, Vec<(u32, String)>) {
        let mut failed: Vec<(u32, String)> = Vec::new();
        let columns = self.key.iter().map(|expression| {
            let evaluated = expression.evaluate(batch);
            for (row, reason) in evaluated.failed {
                if failed.iter().all(|(r, _)| *r != row) {
                    failed.push((row, reason));
                }
            }
            evaluated.values
        });
        (columns.collect(), failed)
    }
}
