//! Decodes frames on a pool of threads and gives the rows back in the order of the frames.

use crate::formats::{Decoder, Frames, MakeDecoder, Rows};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;

/// Frames smaller than this are decoded where they are: a thread's wake-up costs more.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Threads that decode. They end when the pool is dropped.
#[derive(Clone)]
pub struct DecodePool(Sender<Task>);

struct Task {
    decoders: Decoders,
    frames: Frames,
    done: std::sync::mpsc::SyncSender<Rows>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The decoders of a source: as many as threads have needed one at once.
#[derive(Clone)]
pub struct Decoders {
    make: MakeDecoder,
    free: Arc<Mutex<Vec<Box<dyn Decoder>>>>,
}

/// Rows that are being decoded.
pub enum Decoding {
    /// They are here.
    Ready(Box<Rows>),
    /// They are on their way.
    Pending(Receiver<Rows>),
}

impl Decoders {
    /// Decoders made by `make`, when they are needed.
    pub fn new(make: MakeDecoder) -> Decoders {
        Decoders { make, free: Arc::default() }
    }

    fn decode(&self, frames: &Frames) -> Rows {
        let free = || self.free.lock().expect("no decoder panics while the list is held");
        let decoder = free().pop();
        let mut decoder = decoder.unwrap_or_else(|| (self.make)());
        let rows = decoder.decode(frames);
        free().push(decoder);
        rows
    }
}

impl DecodePool {
    /// A pool of so many threads.
    pub fn new(threads: usize) -> DecodePool {
        let (tasks, queue) = channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = queue.clone();
            let work = move || {
                loop {
                    let task = queue.lock().expect("no decoder panics while it waits").recv();
                    let Ok(task) = task else { return };
                    let rows = task.decoders.decode(&task.frames);
                    // A reader that has stopped does not miss them.
                    let _ = task.done.send(rows);
                    (task.wake)();
                }
            };
            Builder::new().name(format!("eagre:decode-{number}")).spawn(work).expect("a thread can be started");
        }
        DecodePool(tasks)
    }

    /// Begins to decode; `wake` is called when the rows are there.
    pub fn decode(&self, decoders: &Decoders, frames: Frames, wake: &Arc<dyn Fn() + Send + Sync>) -> Decoding {
        if frames.bytes.len() <= INLINE_BYTES_MAX {
            return Decoding::Ready(Box::new(decoders.decode(&frames)));
        }
        let (done, rows) = sync_channel(1);
        let task = Task { decoders: decoders.clone(), frames, done, wake: wake.clone() };
        self.0.send(task).expect("the pool lives as long as its handles");
        Decoding::Pending(rows)
    }
}

impl Decoding {
    /// The rows, if they are there. Panics where the decoder panicked.
    pub fn take(self) -> Result<Rows, Decoding> {
        match self {
            Decoding::Ready(rows) => Ok(*rows),
            Decoding::Pending(rows) => match rows.try_recv() {
                Ok(rows) => Ok(rows),
                Err(TryRecvError::Empty) => Err(Decoding::Pending(rows)),
                Err(TryRecvError::Disconnected) => panic!("a decoder panicked; its message is above"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Layout;

    struct Echo;
    impl Decoder for Echo {
        fn decode(&mut self, frames: &Frames) -> Rows {
            Rows { times: vec![frames.bytes.len() as i64], sequences: vec![frames.bytes[0].into()], ..Rows::default() }
        }
    }

    #[test]
    fn every_frame_comes_back_once() {
        let pool = DecodePool::new(2);
        let decoders = Decoders::new(Arc::new(|| Box::new(Echo)));
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let sizes = [10, INLINE_BYTES_MAX + 1, 5, INLINE_BYTES_MAX + 2];
        let frames = |n: usize| Frames { bytes: vec![n as u8; sizes[n]], layout: Layout::default() };
        let all: Vec<Decoding> = (0..4).map(|n| pool.decode(&decoders, frames(n), &wake)).collect();
        for (n, mut decoding) in all.into_iter().enumerate() {
            let rows = loop {
                match decoding.take() {
                    Ok(rows) => break rows,
                    Err(still) => decoding = still,
                }
            };
            assert_eq!((rows.times, rows.sequences), (vec![sizes[n] as i64], vec![n as i64]));
        }
    }
}
