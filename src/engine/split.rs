//! Sends every row of a batch to the worker that owns its key group. A key is hashed here, once.

use crate::batch::Batch;
use crate::expression::Expression;
use crate::key::{Keys, group_of, worker_of};
use crate::operator::Outputs;
use arrow::array::ArrayRef;
use std::collections::BTreeMap;

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
        for (row, hash) in (0..).zip(keys.hashes()).filter(|(row, _)| !failed.contains_key(row)) {
            self.rows[worker_of(group_of(*hash), self.workers)].push(row);
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

    /// The columns of the key, and the first reason of each row that has none.
    fn evaluate(&self, batch: &Batch) -> (Vec<ArrayRef>, BTreeMap<u32, String>) {
        let mut failed = BTreeMap::new();
        let columns = self.key.iter().map(|expression| {
            let evaluated = expression.evaluate(batch);
            for (row, reason) in evaluated.failed {
                failed.entry(row).or_insert(reason);
            }
            evaluated.values
        });
        (columns.collect(), failed)
    }
}
