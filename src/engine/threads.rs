//! How much processor time the threads of a job have had, by what they do: what a summary adds up.
//!
//! Linux tells it for every thread, to the nanosecond, and for the process in hundredths of a second. Elsewhere it is
//! not known, and all is zero. A reader that decodes ([`super::decode::DecodePool::help`]) has its time divided as the
//! time that passed meanwhile.

use super::wall;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads sources, and stamps what was read.
    Read,
    /// Decodes.
    Decode,
    /// Runs steps.
    Work,
    /// Writes to a sink.
    Write,
}

/// The threads of a job.
#[derive(Default)]
pub struct Threads(Mutex<Vec<Arc<Thread>>>);

/// A thread that is counted until this is dropped, which it has to be on that thread.
pub struct Counted(Arc<Thread>);

struct Thread {
    role: Role,
    /// Where the system says how long it ran.
    place: PathBuf,
    ended: Mutex<Option<u64>>,
    /// Nanoseconds at its own work, and at decoding for the pool.
    own: AtomicU64,
    helped: AtomicU64,
}

/// The processor time that threads of each kind have had, each thread by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Reading and stamping.
    pub read: Vec<Duration>,
    /// Decoding; the last is by readers that helped.
    pub decode: Vec<Duration>,
    /// Running steps, in no certain order of workers.
    pub work: Vec<Duration>,
    /// Writing to sinks.
    pub write: Vec<Duration>,
    /// The whole process since it began: those above and all else, such as planning and the threads of a client.
    pub process: Duration,
}

impl Threads {
    /// Counts the calling thread.
    pub fn count(&self, role: Role) -> Counted {
        let place = fs::read_link("/proc/thread-self")
            .map_or_else(|_| PathBuf::new(), |thread| Path::new("/proc").join(thread).join("schedstat"));
        let (ended, own, helped) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        let thread = Arc::new(Thread { role, place, ended, own, helped });
        lock(&self.0).push(thread.clone());
        Counted(thread)
    }

    /// What they have had so far.
    pub fn spent(&self) -> Spent {
        let mut spent = Spent::default();
        let mut helped = Duration::ZERO;
        for thread in lock(&self.0).iter() {
            let time = Duration::from_nanos(thread.nanos());
            let (own, lent) = (thread.own.load(Relaxed) as f64, thread.helped.load(Relaxed) as f64);
            let for_others = time.mul_f64(if lent > 0.0 { lent / (own + lent) } else { 0.0 });
            helped += for_others;
            let times = match thread.role {
                Role::Read => &mut spent.read,
                Role::Decode => &mut spent.decode,
                Role::Work => &mut spent.work,
                Role::Write => &mut spent.write,
            };
            times.push(time.saturating_sub(for_others));
        }
        spent.decode.push(helped);
        // What a process has had is told in coarser steps.
        spent.process = process().max(spent.counted());
        spent
    }
}

impl Counted {
    /// Does something of the thread's own work.
    pub fn work<R>(&self, work: impl FnOnce() -> R) -> R {
        timed(&self.0.own, work)
    }

    /// Decodes for the pool.
    pub fn help<R>(&self, work: impl FnOnce() -> R) -> R {
        timed(&self.0.helped, work)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let nanos = self.0.nanos();
        *lock(&self.0.ended) = Some(nanos);
    }
}

impl Thread {
    fn nanos(&self) -> u64 {
        let ended = lock(&self.ended);
        ended.unwrap_or_else(|| first(fs::read_to_string(&self.place).unwrap_or_default().split(' '), 0))
    }
}

impl Spent {
    /// Time of the process that none of the threads has had.
    pub fn rest(&self) -> Duration {
        self.process.saturating_sub(self.counted())
    }

    /// The time of all counted threads.
    fn counted(&self) -> Duration {
        [&self.read, &self.decode, &self.work, &self.write].into_iter().flatten().sum()
    }
}

/// The processor time of the process, those of its threads that have ended included.
fn process() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program comes before, in brackets, and may be anything.
    let behind = text.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let ticks = [USER_TIME, USER_TIME + 1].into_iter().map(|field| first(behind.split(' '), field)).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// Which field behind the name it is; the system's own time comes next.
const USER_TIME: usize = 11;

fn first<'a>(mut fields: impl Iterator<Item = &'a str>, skip: usize) -> u64 {
    fields.nth(skip).and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn timed<R>(nanos: &AtomicU64, work: impl FnOnce() -> R) -> R {
    let begun = wall::now();
    let done = work();
    nanos.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
    done
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while threads are counted")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Keeps a processor busy for so long.
    fn spin(millis: u64) {
        let begun = wall::now();
        while begun.elapsed() < Duration::from_millis(millis) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn times_are_kept_when_threads_have_ended_and_helpers_divide_theirs() {
        let threads = Arc::new(Threads::default());
        let run = |role, work: fn(&Counted)| {
            let threads = threads.clone();
            let run = move || work(&threads.count(role));
            std::thread::Builder::new().name("counted".into()).spawn(run).expect("a thread")
        };
        let running = [
            run(Role::Work, |_| spin(40)),
            run(Role::Read, |counted| {
                counted.work(|| counted.help(|| spin(40)));
                assert!(counted.0.own.swap(100, Relaxed) >= counted.0.helped.swap(300, Relaxed));
            }),
        ];
        running.into_iter().for_each(|thread| thread.join().expect("an end"));
        let spent = threads.spent();
        assert!(spent.work[0] > Duration::ZERO && spent.read[0] > Duration::ZERO, "{spent:?}");
        let (for_others, own) = (spent.decode[0].as_nanos(), spent.read[0].as_nanos());
        assert!(for_others.abs_diff(3 * own) < 10, "three parts of four were for others: {spent:?}");
        let ours: Duration = [&spent.read, &spent.decode, &spent.work].into_iter().flatten().sum();
        assert_eq!(
            spent.process.checked_sub(ours),
            Some(spent.rest()),
            "the parts are no more than the whole: {spent:?}"
        );
    }
}
