//! What all threads of a running job share.

use super::ledger::{Interval, first_epoch};
use super::mesh::{Peers, Word};
use super::metrics::Metrics;
use super::partitions::Partitions;
use super::shown::Shown;
use crate::fault::Failure;
use crate::origin::{Origin, Origins};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;
use timely::scheduling::activate::SyncActivator;

/// The state of a job that is not data.
pub struct Shared {
    /// What is counted.
    pub metrics: Metrics,
    /// Where the source partitions stand.
    pub partitions: Partitions,
    /// The names of origins.
    pub origins: Origins,
    /// The other processes that run the job.
    pub peers: Peers,
    /// What the sources are told of checkpoints.
    pub shown: Shown,
    epoch: AtomicU64,
    /// The epoch that everything begins in.
    first: AtomicU64,
    /// The newest checkpoint that is there for good.
    committed: AtomicU64,
    /// Whether sinks keep much back.
    full: AtomicBool,
    coordinator: Mutex<Option<SyncActivator>>,
    stopping: AtomicBool,
    /// Whether the graph has lost a part of itself, so that it cannot come to an end.
    fallen: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// In which epoch each partition that was found while the job runs was announced.
    announced: Mutex<BTreeMap<Origin, u64>>,
    sources: Mutex<Vec<SyncActivator>>,
    /// The sinks, which may wait for a checkpoint or a writer.
    sinks: Mutex<Vec<SyncActivator>>,
    readers: Mutex<Vec<Thread>>,
    discoverers: Mutex<Vec<Thread>>,
    /// Whether a reader waits for the slowest partition of its source.
    waits: AtomicBool,
}

impl Shared {
    /// The state of a job that has not begun.
    pub fn new(metrics: Metrics, partitions: Partitions, origins: Origins, peers: Peers) -> Shared {
        Shared {
            metrics,
            partitions,
            origins,
            peers,
            shown: Shown::default(),
            epoch: AtomicU64::new(0),
            first: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            full: AtomicBool::new(false),
            coordinator: Mutex::default(),
            stopping: AtomicBool::new(false),
            fallen: AtomicBool::new(false),
            failure: Mutex::default(),
            announced: Mutex::default(),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            readers: Mutex::default(),
            discoverers: Mutex::default(),
            waits: AtomicBool::new(false),
        }
    }

    /// The epoch that all sources are to be in.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Ends an epoch for all sources of all processes.
    pub fn end_epoch(&self, epoch: u64) -> u64 {
        if self.reach_epoch(epoch + 1) {
            self.peers.tell(Word::Epoch(epoch + 1));
        }
        self.epoch()
    }

    /// Ends an interval, and with it the epoch, for all sources of the process.
    pub fn end_interval(&self, interval: Interval) {
        if !self.peers.place().leads() {
            // From now on there is a reason to tell the leader again.
            self.was_full();
        }
        self.end_epoch(first_epoch(interval + 1) - 1);
    }

    /// Says that sinks keep so much back that a checkpoint should come before its time.
    pub fn fill(&self) {
        if !self.full.swap(true, Ordering::AcqRel) {
            if !self.peers.place().leads() {
                return self.peers.tell(Word::Full);
            }
            // A worker that is gone makes no checkpoint.
            lock(&self.coordinator).iter().for_each(|coordinator| {
                let _ = coordinator.activate();
            });
        }
    }

    /// Whether that has been said since it was asked last.
    pub fn was_full(&self) -> bool {
        self.full.swap(false, Ordering::AcqRel)
    }

    /// Whom to wake when sinks are full.
    pub fn add_coordinator(&self, coordinator: SyncActivator) {
        lock(&self.coordinator).replace(coordinator);
    }

    /// The newest checkpoint that is there for good; 0 before the first.
    pub fn committed(&self) -> Interval {
        self.committed.load(Ordering::Acquire)
    }

    /// Hears that a checkpoint is there for good.
    pub fn commit(&self, interval: Interval) {
        self.committed.fetch_max(interval, Ordering::AcqRel);
        self.wake_sinks();
    }

    fn wake_sinks(&self) {
        lock(&self.sinks).retain(|sink| sink.activate().is_ok());
    }

    /// Adds a sink operator, to be woken when a checkpoint is there, or the job has failed.
    pub fn add_sink(&self, sink: SyncActivator) {
        lock(&self.sinks).push(sink);
    }

    /// Says in which epoch everything begins.
    pub fn begin_in(&self, epoch: u64) {
        self.first.store(epoch, Ordering::Release);
        self.reach_epoch(epoch);
    }

    /// The epoch that everything begins in. Where others are quick, it is over before all workers have mounted: whoever
    /// began in a later one would take what belongs to the first into the state of the second, and have no say in the
    /// checkpoint of the first.
    pub fn first_epoch(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// Goes on to an epoch with all sources of this process; says whether that is news.
    pub fn reach_epoch(&self, epoch: u64) -> bool {
        let is_news = self.epoch.fetch_max(epoch, Ordering::AcqRel) < epoch;
        if is_news {
            self.wake_sources();
        }
        is_news
    }

    /// Whether the job is to stop: nothing more is read.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Stops reading, in all processes; what was read is worked off.
    pub fn stop(&self) {
        if !self.stopping() {
            self.peers.tell(Word::Stop);
        }
        self.halt();
    }

    /// Stops reading, in this process.
    pub fn halt(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_readers();
        lock(&self.discoverers).iter().for_each(Thread::unpark);
        self.wake_sources();
    }

    /// Stops because of a failure; the first one is kept. Other processes are told, and fail too.
    pub fn fail(&self, failure: Failure) {
        self.peers.tell(Word::Failed(failure.message.clone()));
        self.fall(failure);
    }

    /// Whether a worker of this process reads a partition.
    pub fn reads(&self, origin: Origin) -> bool {
        let place = self.peers.place();
        place.local(origin as usize % place.all_workers()).is_some()
    }

    /// Stops because of a failure that the other processes know of. Among several processes the graph cannot come to
    /// an end any more: whoever waits for that is to go.
    pub fn fall(&self, failure: Failure) {
        lock(&self.failure).get_or_insert(failure);
        self.fallen.store(self.peers.exist(), Ordering::Release);
        self.halt();
        // A sink may wait for a checkpoint that will never be there.
        self.wake_sinks();
    }

    /// Whether the graph cannot come to an end any more.
    pub fn fallen(&self) -> bool {
        self.fallen.load(Ordering::Acquire)
    }

    /// What the leader of several processes has to say, for all of them to go by: called by all of them, in one order.
    ///
    /// # Errors
    ///
    /// A process that has failed or gone meanwhile.
    pub fn agree(&self, own: Vec<u8>) -> Result<Vec<u8>, Failure> {
        if self.peers.place().leads() {
            self.peers.tell(Word::Decided(own.clone()));
            return Ok(own);
        }
        loop {
            if let Some(decided) = self.peers.decided_within(Duration::from_millis(50)) {
                return Ok(decided);
            }
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
        }
    }

    /// Waits until all processes have come to this place: called by all of them, once.
    ///
    /// # Errors
    ///
    /// A process that has failed or gone meanwhile.
    pub fn all_ready(&self) -> Result<(), Failure> {
        self.peers.tell(Word::Ready);
        while !self.peers.are_ready() {
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The leader's names in place of the own.
    pub fn agree_on(&self, names: Vec<String>) -> Result<Vec<String>, Failure> {
        let decided = self.agree(postcard::to_stdvec(&names).expect("names can be written"))?;
        postcard::from_bytes(&decided)
            .map_err(|error| Failure::new(format!("what process 0 has decided cannot be read: {error}")))
    }

    /// The failure that stopped the job.
    pub fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// Whether a failure stopped the job: what is under way is dropped.
    pub fn failed(&self) -> bool {
        self.stopping() && lock(&self.failure).is_some()
    }

    /// Notes the epoch in which a partition was announced to all steps.
    pub fn announced(&self, origin: Origin, epoch: u64) {
        if self.hear_announced(origin, epoch) {
            self.peers.tell(Word::Announced(origin, epoch));
        }
    }

    /// Hears in which epoch a partition was announced to all steps; says whether that is news.
    pub fn hear_announced(&self, origin: Origin, epoch: u64) -> bool {
        let mut announced = lock(&self.announced);
        let is_news = !announced.contains_key(&origin);
        announced.entry(origin).or_insert(epoch);
        is_news
    }

    /// The epoch in which a partition was announced, once it has been.
    pub fn announcement(&self, origin: Origin) -> Option<u64> {
        lock(&self.announced).get(&origin).copied()
    }

    /// Adds a source operator, to be woken when an epoch ends.
    pub fn add_source(&self, source: SyncActivator) {
        lock(&self.sources).push(source);
    }

    /// Adds a thread that reads, to be woken when there is news for it or the job stops.
    pub fn add_reader(&self, thread: Thread) {
        lock(&self.readers).push(thread);
    }

    /// Adds a thread that looks for partitions, to be woken when the job stops.
    pub fn add_discoverer(&self, thread: Thread) {
        lock(&self.discoverers).push(thread);
    }

    /// Wakes the threads that read.
    pub fn wake_readers(&self) {
        lock(&self.readers).iter().for_each(Thread::unpark);
    }

    /// Says that a reader waits for the slowest partition: the next call of [`Shared::moved_on`] wakes all readers.
    pub fn wait_for_slowest(&self) {
        self.waits.store(true, Ordering::SeqCst);
    }

    /// Says that a partition has moved on, or holds nobody back any more.
    pub fn moved_on(&self) {
        if self.waits.load(Ordering::SeqCst) && self.waits.swap(false, Ordering::SeqCst) {
            self.wake_readers();
        }
    }

    fn wake_sources(&self) {
        // A worker that is gone has no need to be woken.
        lock(&self.sources).retain(|source| source.activate().is_ok());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding the job's state")
}
