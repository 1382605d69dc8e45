//! Writes to a sink on a thread of its own, so that no worker ever waits for a disk or a broker.

use super::shared::Shared;
use super::threads::Role;
use super::wall;
use crate::batch::Batch;
use crate::fault::Failure;
use crate::sink::Writer;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use timely::scheduling::activate::SyncActivator;

/// A handle to a writer thread. Orders are carried out in turn; [`Outlet::done`] says how many were.
pub struct Outlet {
    orders: Sender<Order>,
    given: u64,
    done: Arc<AtomicU64>,
}

enum Order {
    Write(Batch),
    Flush,
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
        let work = move || work(writer, &post, &queue, &count);
        Builder::new().name("eagre:write".into()).spawn(work).expect("a thread can be started");
        Outlet { orders, given: 0, done }
    }

    /// Gives a batch to write; returns the number of this order.
    pub fn write(&mut self, batch: Batch) -> u64 {
        self.order(Order::Write(batch))
    }

    /// Asks for a flush.
    pub fn flush(&mut self) -> u64 {
        self.order(Order::Flush)
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

fn work(mut writer: Box<dyn Writer>, post: &Post, queue: &Receiver<Order>, done: &AtomicU64) {
    let metrics = &post.shared.metrics.sinks[post.sink];
    let _counted = post.shared.metrics.threads.count(Role::Write);
    while let Ok(order) = queue.recv() {
        let last = matches!(order, Order::Finish);
        if !post.shared.failed() {
            let begun = wall::now();
            let written = catch_unwind(AssertUnwindSafe(|| carry_out(writer.as_mut(), &order)));
            let written = written.unwrap_or_else(|_| Err(Failure::new("the writer panicked; its message is above")));
            match written {
                Ok(()) => metrics.busy.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed),
                Err(failure) => {
                    post.shared.fail(failure.doing(format_args!("sink `{}`", post.name)));
                    0
                }
            };
        }
        if let Order::Write(batch) = &order {
            metrics.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
            metrics.queue.take();
        }
        done.fetch_add(1, Ordering::Release);
        // An epoch is done when it is flushed: before that there is nothing that the worker could let go of. One that is
        // gone does not wait for it.
        if !matches!(order, Order::Write(_)) {
            let _ = post.activator.activate();
        }
        if last {
            return;
        }
    }
}

fn carry_out(writer: &mut dyn Writer, order: &Order) -> Result<(), Failure> {
    match order {
        Order::Write(batch) => writer.write(batch),
        Order::Flush => writer.flush(),
        Order::Finish => writer.finish(),
    }
}
