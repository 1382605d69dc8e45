//! Writes to a sink on a thread of its own, so that no worker ever waits for a disk or a broker.

use super::ledger::Interval;
use super::metrics;
use super::shared::Shared;
use super::threads::Role;
use super::wall;
use crate::batch::Batch;
use crate::fault::Failure;
use crate::sink::Writer;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;
use timely::scheduling::activate::SyncActivator;

/// A handle to a writer thread. Orders are carried out in turn; [`Outlet::done`] says how many were.
pub struct Outlet {
    orders: Sender<Order>,
    given: u64,
    done: Arc<AtomicU64>,
    sealed: Receiver<(Interval, Vec<u8>)>,
}

enum Order {
    Write(Batch),
    Flush,
    Seal(Interval),
    Publish(Interval),
    Finish,
}

/// What a writer thread works for.
pub struct Post {
    /// The sink's name.
    pub name: String,
    /// Its number.
    pub sink: usize,
    /// The job's state.
    pub shared: Arc<Shared>,
    /// Wakes the sink operator when something is done.
    pub activator: SyncActivator,
}

impl Outlet {
    /// Starts a thread that writes.
    pub fn start(writer: Box<dyn Writer>, post: Post) -> Outlet {
        let troubles = &post.shared.metrics.sinks[post.sink].troubles;
        troubles.lock().expect("nobody panics while saying what is wrong").extend(writer.trouble());
        let (orders, queue) = channel();
        let done = Arc::new(AtomicU64::new(0));
        let count = done.clone();
        let (seals, sealed) = channel();
        let work = move || work(writer, &post, &queue, &seals, &count);
        Builder::new().name("eagre:write".into()).spawn(work).expect("a thread can be started");
        Outlet { orders, given: 0, done, sealed }
    }

    /// Gives a batch to write; returns the number of this order.
    pub fn write(&mut self, batch: Batch) -> u64 {
        self.order(Order::Write(batch))
    }

    /// Asks for a flush.
    pub fn flush(&mut self) -> u64 {
        self.order(Order::Flush)
    }

    /// Asks for what is kept back to be sealed, as part of a checkpoint; see [`Outlet::sealed`].
    pub fn seal(&mut self, id: Interval) {
        self.order(Order::Seal(id));
    }

    /// The outboxes that have been sealed.
    pub fn sealed(&self) -> impl Iterator<Item = (Interval, Vec<u8>)> {
        self.sealed.try_iter()
    }

    /// Asks for what was sealed to be published.
    pub fn publish(&mut self, id: Interval) {
        self.order(Order::Publish(id));
    }

    /// Asks for the end.
    pub fn finish(&mut self) -> u64 {
        self.order(Order::Finish)
    }

    /// How many orders were carried out.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    fn order(&mut self, order: Order) -> u64 {
        self.given += 1;
        // The thread ends only after `Finish`, which is the last order.
        let _ = self.orders.send(order);
        self.given
    }
}

/// How soon a writer whose flushes are under way is asked again when there is nothing to write: from so much to so
/// much.
const LOOK: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(5));

fn work(
    writer: Box<dyn Writer>,
    post: &Post,
    queue: &Receiver<Order>,
    seals: &Sender<(Interval, Vec<u8>)>,
    done: &AtomicU64,
) {
    let _counted = post.shared.metrics.threads.count(Role::Write);
    let mut working = Working { writer, post, done, carried: 0, owes_flush: false, flushes: VecDeque::new() };
    let mut look = LOOK.0;
    loop {
        // What waits already is written before a flush that is owed, so that one flush serves several epochs.
        let next = match (working.owes_flush, working.flushes.is_empty()) {
            (true, _) => queue.recv_timeout(Duration::ZERO),
            (false, false) => queue.recv_timeout(look),
            (false, true) => queue.recv().map_err(RecvTimeoutError::from),
        };
        look = if next.is_ok() { LOOK.0 } else { (look * 2).min(LOOK.1) };
        match next {
            Ok(Order::Flush) => (working.owes_flush, working.carried) = (true, working.carried + 1),
            Ok(Order::Write(batch)) => working.write(&batch),
            Ok(Order::Seal(id)) => working.seal(id, seals),
            Ok(Order::Publish(id)) => working.publish(id),
            Ok(Order::Finish) => return working.finish(),
            Err(RecvTimeoutError::Timeout) if working.owes_flush => working.flush(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        working.look();
    }
}

/// A writer at work.
struct Working<'a> {
    writer: Box<dyn Writer>,
    post: &'a Post,
    done: &'a AtomicU64,
    /// Orders that count as done once a flush that is not begun has been carried out.
    carried: u64,
    owes_flush: bool,
    /// The orders that count as done with each flush that is under way.
    flushes: VecDeque<u64>,
}

impl Working<'_> {
    fn write(&mut self, batch: &Batch) {
        self.call(|writer| writer.write(batch));
        let metrics = &self.post.shared.metrics.sinks[self.post.sink];
        metrics.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        metrics.queue.take();
        if self.writer.staged() >= self.writer.staged_max() {
            self.post.shared.fill();
        }
        self.carried += 1;
        self.count();
    }

    /// Begins to bring everything so far to where it belongs.
    fn flush(&mut self) {
        self.call(|writer| writer.flush());
        self.owes_flush = false;
        self.flushes.push_back(std::mem::take(&mut self.carried));
        self.sink().under_way.fetch_add(1, Ordering::Relaxed);
    }

    fn sink(&self) -> &metrics::Sink {
        &self.post.shared.metrics.sinks[self.post.sink]
    }

    /// Counts flushes and publications that have come to their end.
    fn flushed(&self, flushes: usize) {
        self.sink().under_way.fetch_sub(flushes as i64, Ordering::Relaxed);
        self.sink().flushed.fetch_add(flushes as u64, Ordering::Relaxed);
    }

    fn seal(&mut self, id: Interval, seals: &Sender<(Interval, Vec<u8>)>) {
        self.call(|writer| {
            let outbox = writer.seal(id)?;
            // An operator that is gone does not wait for it.
            let _ = seals.send((id, outbox));
            Ok(())
        });
        self.carried += 1;
        self.count();
        self.wake();
    }

    fn publish(&mut self, id: Interval) {
        self.sink().under_way.fetch_add(1, Ordering::Relaxed);
        self.call(|writer| writer.publish(id));
        self.flushed(1);
        self.carried += 1;
        self.count();
    }

    /// Looks which flushes have come to their end: an epoch is done when it is flushed, and before that there is
    /// nothing that the worker could let go of.
    fn look(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        // Where the writer is asked no more, because the job has failed, nothing is waited for.
        let mut left = 0;
        self.call(|writer| writer.flushing().map(|flushes| left = flushes));
        if left >= self.flushes.len() {
            return;
        }
        self.flushed(self.flushes.len() - left);
        let ended = self.flushes.drain(..self.flushes.len() - left).sum();
        self.done.fetch_add(ended, Ordering::Release);
        self.count();
        self.wake();
    }

    /// Counts what is written, where no flush comes before it.
    fn count(&mut self) {
        if !self.owes_flush && self.flushes.is_empty() {
            self.done.fetch_add(std::mem::take(&mut self.carried), Ordering::Release);
        }
    }

    fn finish(mut self) {
        self.call(|writer| writer.finish());
        self.flushed(self.flushes.len());
        self.done.fetch_add(self.flushes.drain(..).sum::<u64>() + self.carried + 1, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // A worker that is gone does not wait for it.
        let _ = self.post.activator.activate();
    }

    fn call(&mut self, call: impl FnOnce(&mut dyn Writer) -> Result<(), Failure>) {
        let Post { name, sink, shared, .. } = self.post;
        if shared.failed() {
            return;
        }
        let begun = wall::now();
        let called = catch_unwind(AssertUnwindSafe(|| call(self.writer.as_mut())));
        let called = called.unwrap_or_else(|_| Err(Failure::new("the writer panicked; its message is above")));
        if let Err(failure) = called {
            shared.fail(failure.doing(format_args!("sink `{name}`")));
        }
        shared.metrics.sinks[*sink].busy.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}
