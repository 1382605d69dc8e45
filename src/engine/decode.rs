//! Reads and decodes on a pool of threads, and gives the rows back in the order in which they were asked for.
//!
//! A reader that has nothing else to do takes a task itself ([`DecodePool::help`]): its core is not left idle, and
//! nobody has to be woken.

use crate::formats::{Frames, MakeDecoder};
use crate::source::{Bench, Done, Errand};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Builder;

/// Frames smaller than this are decoded where they are: a thread's wake-up costs more.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Threads that decode. They end when the pool is dropped.
#[derive(Clone)]
pub struct DecodePool(Arc<Handle>);

/// All handles of a pool: the threads hold the queue alone.
struct Handle {
    queue: Arc<Queue>,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    tasks: Mutex<Tasks>,
    some: Condvar,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    /// How many threads wait for a task.
    idle: usize,
    closed: bool,
}

struct Task {
    decoders: Decoders,
    errand: Errand,
    done: SyncSender<Done>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The decoders of a source: as many as threads have needed one at once.
#[derive(Clone)]
pub struct Decoders {
    make: Option<MakeDecoder>,
    free: Arc<Mutex<Vec<Bench>>>,
}

/// Rows that are being decoded.
pub enum Decoding {
    /// They are here.
    Ready(Done),
    /// They are on their way.
    Pending(Receiver<Done>),
}

impl Decoders {
    /// Decoders made by `make`, when they are needed; without it only for rows that need none.
    pub fn new(make: Option<MakeDecoder>) -> Decoders {
        Decoders { make, free: Arc::default() }
    }

    fn run(&self, errand: impl FnOnce(&mut Bench) -> Done) -> Done {
        let free = || self.free.lock().expect("no decoder panics while the list is held");
        // The bench that was put back last is the one that the processor knows best.
        let bench = free().pop();
        let make = || Bench { decoder: self.make.as_ref().map(|make| make()), bytes: Vec::new() };
        let mut bench = bench.unwrap_or_else(make);
        let done = errand(&mut bench);
        free().push(bench);
        done
    }
}

fn decode(frames: &Frames, bench: &mut Bench) -> Done {
    let decoder = bench.decoder.as_mut().expect("a feed that gives frames has a decoder");
    Done { rows: vec![decoder.decode(frames)], broken: None }
}

impl DecodePool {
    /// A pool of so many threads.
    pub fn new(threads: usize) -> DecodePool {
        let queue = Arc::new(Queue::default());
        for number in 0..threads {
            let queue = queue.clone();
            let work = move || {
                while let Some(task) = queue.wait() {
                    task.run();
                }
            };
            Builder::new().name(format!("eagre:decode-{number}")).spawn(work).expect("a thread can be started");
        }
        DecodePool(Arc::new(Handle { queue, threads }))
    }

    /// How many tasks of one partition keep all threads and a helper busy.
    pub fn depth(&self) -> usize {
        self.0.threads + 2
    }

    /// Begins to decode; `wake` is called when the rows are there.
    pub fn decode(&self, decoders: &Decoders, frames: Frames, wake: &Arc<dyn Fn() + Send + Sync>) -> Decoding {
        if frames.bytes.len() <= INLINE_BYTES_MAX {
            return Decoding::Ready(decoders.run(|bench| decode(&frames, bench)));
        }
        self.run(decoders, Box::new(move |bench| decode(&frames, bench)), wake)
    }

    /// Begins an errand; `wake` is called when it is done.
    pub fn run(&self, decoders: &Decoders, errand: Errand, wake: &Arc<dyn Fn() + Send + Sync>) -> Decoding {
        let (done, pending) = sync_channel(1);
        self.0.queue.put(Task { decoders: decoders.clone(), errand, done, wake: wake.clone() });
        Decoding::Pending(pending)
    }

    /// Does the task that has waited longest, on this thread; says whether there was one.
    pub fn help(&self) -> bool {
        let task = self.0.queue.tasks().waiting.pop_front();
        task.map(Task::run).is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.tasks().closed = true;
        self.queue.some.notify_all();
    }
}

impl Queue {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().expect("no decoder panics while it holds the queue")
    }

    fn put(&self, task: Task) {
        let mut tasks = self.tasks();
        tasks.waiting.push_back(task);
        let is_awaited = tasks.idle > 0;
        drop(tasks);
        if is_awaited {
            self.some.notify_one();
        }
    }

    /// The next task; `None` when there will be no more.
    fn wait(&self) -> Option<Task> {
        let mut tasks = self.tasks();
        loop {
            if let Some(task) = tasks.waiting.pop_front() {
                return Some(task);
            }
            if tasks.closed {
                return None;
            }
            tasks.idle += 1;
            tasks = self.some.wait(tasks).expect("no decoder panics while it holds the queue");
            tasks.idle -= 1;
        }
    }
}

impl Task {
    fn run(self) {
        let done = self.decoders.run(self.errand);
        // A reader that has stopped does not miss them.
        let _ = self.done.send(done);
        (self.wake)();
    }
}

impl Decoding {
    /// The rows, if they are there. Panics where the decoder panicked.
    pub fn take(self) -> Result<Done, Decoding> {
        match self {
            Decoding::Ready(done) => Ok(done),
            Decoding::Pending(pending) => match pending.try_recv() {
                Ok(done) => Ok(done),
                Err(TryRecvError::Empty) => Err(Decoding::Pending(pending)),
                Err(TryRecvError::Disconnected) => panic!("a decoder panicked; its message is above"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Decoder, Layout, Rows};

    struct Echo;
    impl Decoder for Echo {
        fn decode(&mut self, frames: &Frames) -> Rows {
            Rows { times: vec![frames.bytes.len() as i64], sequences: vec![frames.bytes[0].into()], ..Rows::default() }
        }
    }

    #[test]
    fn every_frame_comes_back_once() {
        for (threads, helps) in [(2, false), (1, true), (0, true)] {
            let pool = DecodePool::new(threads);
            let decoders = Decoders::new(Some(Arc::new(|| Box::new(Echo))));
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
            let sizes = [10, INLINE_BYTES_MAX + 1, 5, INLINE_BYTES_MAX + 2];
            let frames = |n: usize| Frames { bytes: vec![n as u8; sizes[n]], layout: Layout::default() };
            let all: Vec<Decoding> = (0..4).map(|n| pool.decode(&decoders, frames(n), &wake)).collect();
            while helps && pool.help() {}
            for (n, mut decoding) in all.into_iter().enumerate() {
                let done = loop {
                    match decoding.take() {
                        Ok(done) => break done,
                        Err(still) => decoding = still,
                    }
                };
                assert_eq!((&done.rows[0].times, &done.rows[0].sequences), (&vec![sizes[n] as i64], &vec![n as i64]));
            }
        }
    }

    #[test]
    fn an_errand_finds_the_buffer_of_the_last_one() {
        let (pool, decoders) = (DecodePool::new(0), Decoders::new(None));
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let fill = |bench: &mut Bench| {
            bench.bytes.push(b'x');
            Done { rows: vec![Rows { times: vec![bench.bytes.len() as i64], ..Rows::default() }], broken: None }
        };
        let all: Vec<Decoding> = (0..2).map(|_| pool.run(&decoders, Box::new(fill), &wake)).collect();
        while pool.help() {}
        let lengths = all.into_iter().map(|d| d.take().ok().map(|done| done.rows[0].times[0]));
        assert_eq!(lengths.collect::<Vec<_>>(), [Some(1), Some(2)]);
    }
}
