//! Writes checkpoints on threads of its own: workers hand over what is to be kept and go on.

use super::shared::Shared;
use super::threads::Role;
use crate::checkpoint::Store;
use crate::fault::Failure;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use timely::scheduling::activate::SyncActivator;

/// Threads that write to a store of checkpoints. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Keeper(Sender<Task>);

type Task = Box<dyn FnOnce(&Store, &Shared) + Send>;

/// How many files are written at once: what takes long is waiting for the disk.
const THREADS: usize = 4;

impl Keeper {
    /// Begins to keep things in a store.
    pub fn start(store: Arc<Store>, shared: &Arc<Shared>) -> Keeper {
        let (orders, queue) = channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let (store, queue, shared) = (store.clone(), queue.clone(), shared.clone());
            let work = move || {
                step_back();
                let counted = shared.metrics.threads.count(Role::Write);
                let next = || queue.lock().expect("nobody panics while waiting for a task").recv();
                while let Ok(task) = next() {
                    counted.work(|| task(&store, &shared));
                }
            };
            Builder::new().name(format!("eagre:keep-{number}")).spawn(work).expect("a thread can be started");
        }
        Keeper(orders)
    }

    /// Does some keeping. What comes of it lies in the letterbox, whose owner is woken; a failure ends the job: nothing
    /// may be assumed of what was written.
    pub fn keep<T: Send + 'static>(
        &self,
        letterbox: &Letterbox<T>,
        work: impl FnOnce(&Store) -> Result<T, Failure> + Send + 'static,
    ) {
        let (to, wake) = (letterbox.to.clone(), letterbox.wake.clone());
        self.task(move |store, shared| {
            let done = catch_unwind(AssertUnwindSafe(|| work(store)))
                .unwrap_or_else(|_| Err(Failure::new("that panicked; its message is above")));
            match done {
                // A worker that is gone waits for nothing.
                Ok(done) => drop(to.send(done)),
                Err(failure) => shared.fail(failure.doing("a checkpoint could not be written")),
            }
            // Also after a failure: at the end of the input nothing else wakes it.
            let _ = wake.activate();
        });
    }

    /// Clears something away. Where that fails it is told as trouble and tried again with the next checkpoint.
    pub fn clear_up(&self, work: impl FnOnce(&Store) -> Result<(), Failure> + Send + 'static) {
        self.task(move |store, shared| shared.metrics.checkpoints.trouble(work(store).err()));
    }

    fn task(&self, work: impl FnOnce(&Store, &Shared) + Send + 'static) {
        let guarded = move |store: &Store, shared: &Shared| {
            if catch_unwind(AssertUnwindSafe(|| work(store, shared))).is_err() {
                shared.fail(Failure::new("a checkpoint could not be written: that panicked; its message is above"));
            }
        };
        self.0.send(Box::new(guarded)).expect("the threads live as long as a handle does");
    }
}

/// Lets workers have the processor first: of a great checkpoint they wait only for the copy.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no call of the standard library does it")]
fn step_back() {
    // SAFETY: it takes numbers and touches no memory. On Linux 0 is the calling thread. Where it is forbidden, a
    // checkpoint is only more in the way.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// Where what was kept is told to an operator.
pub struct Letterbox<T> {
    to: Sender<T>,
    from: Receiver<T>,
    wake: SyncActivator,
}

impl<T> Letterbox<T> {
    /// The letterbox of the operator that `wake` wakes.
    pub fn new(wake: SyncActivator) -> Letterbox<T> {
        let (to, from) = channel();
        Letterbox { to, from, wake }
    }

    /// What has come.
    pub fn take(&self) -> impl Iterator<Item = T> {
        self.from.try_iter()
    }
}
