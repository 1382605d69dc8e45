//! Reads and decodes on a pool of threads, and gives the rows back in the order in which they were asked for.
//!
//! A reader that has nothing else to do takes a task itself ([`DecodePool::help`]): its core is not left idle, and
//! nobody has to be woken.

use super::threads::{Counted, Role, Threads};
use crate::formats::{Bad, Frames, MakeDecoder, Rows};
use crate::source::{Bench, Errand};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
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
    to: Sender<Decoded>,
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
    Ready(Rows),
    /// They are on their way.
    Pending(Receiver<Decoded>),
}

/// What comes of decoding.
pub enum Decoded {
    /// Rows; more may come.
    Rows(Rows),
    /// That was all, or why there is nothing more.
    All(Result<(), Bad>),
}

impl Decoders {
    /// Decoders made by `make`, when they are needed; without it only for rows that need none.
    pub fn new(make: Option<MakeDecoder>) -> Decoders {
        Decoders { make, free: Arc::default() }
    }

    fn run<R>(&self, errand: impl FnOnce(&mut Bench) -> R) -> R {
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

fn decode(frames: &Frames, bench: &mut Bench) -> Rows {
    bench.decoder.as_mut().expect("a feed that gives frames has a decoder").decode(frames)
}

impl DecodePool {
    /// A pool of so many threads.
    pub fn new(threads: usize, counts: &Arc<Threads>) -> DecodePool {
        let queue = Arc::new(Queue::default());
        for number in 0..threads {
            let (queue, counts) = (queue.clone(), counts.clone());
            let work = move || {
                let _counted = counts.count(Role::Decode);
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
        let errand = move |bench: &mut Bench, give: &mut dyn FnMut(Rows)| {
            give(decode(&frames, bench));
            Ok(())
        };
        self.run(decoders, Box::new(errand), wake)
    }

    /// Begins an errand; `wake` is called when there is something of it.
    pub fn run(&self, decoders: &Decoders, errand: Errand, wake: &Arc<dyn Fn() + Send + Sync>) -> Decoding {
        let (to, pending) = channel();
        self.0.queue.put(Task { decoders: decoders.clone(), errand, to, wake: wake.clone() });
        Decoding::Pending(pending)
    }

    /// Does the task that has waited longest, on this thread; says whether there was one.
    pub fn help(&self, counted: &Counted) -> bool {
        let task = self.0.queue.tasks().waiting.pop_front();
        task.map(|task| counted.help(|| task.run())).is_some()
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
        let Task { decoders, errand, to, wake } = self;
        // A reader that has stopped does not miss what it would have been given.
        let mut given = None;
        let mut give = |rows| {
            if let Some(before) = given.replace(rows) {
                let _ = to.send(Decoded::Rows(before));
                wake();
            }
        };
        let done = decoders.run(|bench| errand(bench, &mut give));
        // The last rows and the end come together, so that the reader is woken once.
        let _ = given.map(|rows| to.send(Decoded::Rows(rows)));
        let _ = to.send(Decoded::All(done));
        wake();
    }
}

impl Decoding {
    /// Adds to `rows` what is there; says whether that is all, or why there is nothing more. Panics where the decoder
    /// panicked.
    pub fn take(&mut self, rows: &mut VecDeque<Rows>) -> Option<Result<(), Bad>> {
        let pending = match self {
            Decoding::Ready(ready) => {
                rows.push_back(std::mem::take(ready));
                return Some(Ok(()));
            }
            Decoding::Pending(pending) => pending,
        };
        loop {
            match pending.try_recv() {
                Ok(Decoded::Rows(more)) => rows.push_back(more),
                Ok(Decoded::All(done)) => return Some(done),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => panic!("a decoder panicked; its message is above"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Decoder, Layout, bad};

    struct Echo;
    impl Decoder for Echo {
        fn decode(&mut self, frames: &Frames) -> Rows {
            Rows { times: vec![frames.bytes.len() as i64], sequences: vec![frames.bytes[0].into()], ..Rows::default() }
        }
    }

    #[test]
    fn every_frame_comes_back_once() {
        for (threads, helps) in [(2, false), (1, true), (0, true)] {
            let counts = Arc::new(Threads::default());
            let (pool, counted) = (DecodePool::new(threads, &counts), counts.count(Role::Read));
            let decoders = Decoders::new(Some(Arc::new(|| Box::new(Echo))));
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
            let sizes = [10, INLINE_BYTES_MAX + 1, 5, INLINE_BYTES_MAX + 2];
            let frames = |n: usize| Frames { bytes: vec![n as u8; sizes[n]], layout: Layout::default() };
            let all: Vec<Decoding> = (0..4).map(|n| pool.decode(&decoders, frames(n), &wake)).collect();
            while helps && pool.help(&counted) {}
            for (n, mut decoding) in all.into_iter().enumerate() {
                let mut rows = VecDeque::new();
                while decoding.take(&mut rows).is_none() {}
                assert_eq!((&rows[0].times, &rows[0].sequences), (&vec![sizes[n] as i64], &vec![n as i64]));
                assert_eq!(rows.len(), 1);
            }
        }
    }

    #[test]
    fn an_errand_finds_the_buffer_of_the_last_one() {
        let counts = Arc::new(Threads::default());
        let (pool, decoders) = (DecodePool::new(0, &counts), Decoders::new(None));
        let counted = counts.count(Role::Read);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let fill = |bench: &mut Bench, give: &mut dyn FnMut(Rows)| {
            bench.bytes.push(b'x');
            give(Rows { times: vec![bench.bytes.len() as i64], ..Rows::default() });
            give(Rows::default());
            if bench.bytes.len() > 1 { Err(bad(7, 0, "torn".into(), &[])) } else { Ok(()) }
        };
        let mut all: Vec<Decoding> = (0..2).map(|_| pool.run(&decoders, Box::new(fill), &wake)).collect();
        let mut rows = VecDeque::new();
        assert!(all[0].take(&mut rows).is_none(), "nobody has done anything yet");
        while pool.help(&counted) {}
        let ends: Vec<_> = all.iter_mut().map(|decoding| decoding.take(&mut rows)).collect();
        assert_eq!(ends, [Some(Ok(())), Some(Err(bad(7, 0, "torn".into(), &[])))]);
        assert_eq!(rows.iter().map(|r| r.times.clone()).collect::<Vec<_>>(), [vec![1], vec![], vec![2], vec![]]);
    }
}
