//! What the processes of a job tell each other beside records: a thread that tells, and one for each other process
//! that hears.
//!
//! Words of one process arrive in the order in which they were said; those of several processes in any order. A process
//! that says nothing for [`SILENT_MAX`] is taken to be gone.

use super::{Place, name};
use crate::engine::driver::Epoch;
use crate::engine::partitions::{Report, Teller};
use crate::engine::shared::Shared;
use crate::engine::wall;
use crate::fault::Failure;
use crate::origin::Origin;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A process says something at least as often.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// A process that says nothing for so long is gone: its machine has lost power, or the network is cut.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// Where partitions stand is told no more often than that.
const STANDINGS_EVERY: Duration = Duration::from_millis(5);
/// How long one process may take to hear a word.
const HEAR_MAX: Duration = Duration::from_secs(10);
/// How long a process that ends waits for its last words to be sent.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A longer word is none.
const WORD_BYTES_MAX: usize = 1 << 30;

/// What one process tells all others.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// Nothing: it is still there.
    Alive,
    /// Something that the leader has decided.
    Decided(Vec<u8>),
    /// It has gone on to this epoch.
    Epoch(Epoch),
    /// Where partitions of its own stand.
    Standings(Vec<Report>),
    /// There is a new partition; told by the leader.
    Found(FoundWord),
    /// In which epoch it has announced a new partition to all steps.
    Announced(Origin, Epoch),
    /// All of its steps have heard of the partition; none has come further than this.
    Heard(Origin, EventTime),
    /// None of its sinks refuses to go back to an older checkpoint.
    Ready,
    /// Its sinks keep so much back that a checkpoint should come before its time.
    Full,
    /// It was asked to stop.
    Stop,
    /// It has failed, and why.
    Failed(String),
    /// Its part of the job is over.
    Done,
}

/// A partition that was found while the job runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct FoundWord {
    /// Which source of the job.
    pub source: usize,
    /// Its name within the source.
    pub name: String,
    /// The name that people read.
    pub shown: String,
}

/// The other processes of a job, seen from one; none, where it is alone.
pub struct Peers {
    place: Place,
    hosts: Vec<String>,
    queue: Option<Sender<Said>>,
    /// Words that were said and are not sent yet.
    unsent: Arc<AtomicUsize>,
    /// What the leader has decided and nobody has asked for yet.
    decided: (Sender<Vec<u8>>, Mutex<Receiver<Vec<u8>>>),
    found: (Sender<FoundWord>, Mutex<Receiver<FoundWord>>),
    /// For each new partition, how far the steps of each process have come.
    heard: Mutex<BTreeMap<Origin, BTreeMap<usize, EventTime>>>,
    /// How many others are ready to go back to an older checkpoint.
    ready: AtomicUsize,
    /// Whether this process's part of the job is over.
    ended: AtomicBool,
    naming: Mutex<()>,
}

enum Said {
    Word(Word),
    /// Partitions have moved on.
    MovedOn,
}

/// The links for words, until threads are at them.
pub struct Links {
    queue: Receiver<Said>,
    streams: Vec<Option<TcpStream>>,
}

impl Peers {
    /// No other processes.
    pub fn none(workers: usize) -> Peers {
        Peers::new(Place::alone(workers), Vec::new(), None)
    }

    /// The processes at these links.
    pub fn at(place: Place, hosts: Vec<String>, streams: Vec<Option<TcpStream>>) -> (Peers, Links) {
        let (sender, queue) = channel();
        (Peers::new(place, hosts, Some(sender)), Links { queue, streams })
    }

    fn new(place: Place, hosts: Vec<String>, queue: Option<Sender<Said>>) -> Peers {
        let (decide, decided) = channel();
        let (find, found) = channel();
        Peers {
            place,
            hosts,
            queue,
            unsent: Arc::default(),
            decided: (decide, Mutex::new(decided)),
            found: (find, Mutex::new(found)),
            heard: Mutex::default(),
            ready: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            naming: Mutex::default(),
        }
    }

    /// Where this process stands among them.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        self.queue.is_some()
    }

    /// How a process is called in messages.
    pub fn name(&self, process: usize) -> String {
        name(&self.hosts, process)
    }

    /// Tells all others. Does not wait.
    pub fn tell(&self, word: Word) {
        self.say(Said::Word(word));
    }

    /// Says that partitions have moved on: where they stand is told soon. None where nobody is to be told.
    pub fn teller(&self) -> Option<Teller> {
        let (queue, unsent) = (self.queue.clone()?, self.unsent.clone());
        Some(Box::new(move || say(&queue, &unsent, Said::MovedOn)))
    }

    /// Waits until all that was said is sent, or a while.
    pub fn flush(&self) {
        let begun = wall::now();
        while self.unsent.load(Ordering::Acquire) > 0 && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Says that this process's part of the job is over: whoever goes from now on is not missed.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.tell(Word::Done);
    }

    /// While this is held no other partition is named: all processes name them in one order.
    pub fn naming(&self) -> MutexGuard<'_, ()> {
        lock(&self.naming)
    }

    /// The next partition that the leader has found, if it comes in this time.
    pub fn found_within(&self, time: Duration) -> Option<FoundWord> {
        lock(&self.found.1).recv_timeout(time).ok()
    }

    /// What the leader has decided next, if it comes in this time.
    pub fn decided_within(&self, time: Duration) -> Option<Vec<u8>> {
        lock(&self.decided.1).recv_timeout(time).ok()
    }

    /// Notes that the steps of a process have heard of a new partition.
    pub fn heard(&self, origin: Origin, process: usize, reached: EventTime) {
        lock(&self.heard).entry(origin).or_default().insert(process, reached);
    }

    /// How far any step of any process has come that has heard of a new partition; none until all have.
    pub fn all_heard(&self, origin: Origin) -> Option<EventTime> {
        let heard = lock(&self.heard);
        let reached = heard.get(&origin).filter(|reached| reached.len() == self.place.processes)?;
        reached.values().max().copied()
    }

    /// Whether all others are ready to go back to an older checkpoint.
    pub fn are_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) + 1 >= self.place.processes
    }

    fn say(&self, said: Said) {
        if let Some(queue) = &self.queue {
            say(queue, &self.unsent, said);
        }
    }
}

fn say(queue: &Sender<Said>, unsent: &AtomicUsize, said: Said) {
    unsent.fetch_add(1, Ordering::AcqRel);
    // The thread that tells lives as long as the process.
    let _ = queue.send(said);
}

impl Links {
    /// Starts the threads that tell and hear.
    pub fn start(self, shared: &Arc<Shared>) -> io::Result<()> {
        let Links { queue, streams } = self;
        for (process, stream) in streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            stream.set_read_timeout(Some(SILENT_MAX))?;
            stream.set_write_timeout(Some(HEAR_MAX))?;
            let (stream, shared) = (stream.try_clone()?, shared.clone());
            let hear = move || hear(&shared, process, stream);
            Builder::new().name(format!("eagre:hear-{process}")).spawn(hear)?;
        }
        let shared = shared.clone();
        let tell = move || tell(&shared, &queue, streams.into_iter().flatten().collect());
        Builder::new().name("eagre:tell".into()).spawn(tell).map(drop)
    }
}

/// Sends what is said, and now and then that this process is still there.
fn tell(shared: &Shared, queue: &Receiver<Said>, mut streams: Vec<TcpStream>) {
    let mut standings_at: Option<Instant> = None;
    let mut told_at = wall::now();
    loop {
        let wait = standings_at.map_or(ALIVE_EVERY, |at| at.saturating_duration_since(wall::now()));
        let first = queue.recv_timeout(wait);
        let mut bytes = match first {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if standings_at.is_none() => Word::Alive.frame(),
            _ => Vec::new(),
        };
        let mut count = 0;
        for said in first.into_iter().chain(queue.try_iter()) {
            count += 1;
            match said {
                Said::Word(word) => bytes.extend(word.frame()),
                Said::MovedOn => drop(standings_at.get_or_insert(told_at + STANDINGS_EVERY)),
            }
        }
        if standings_at.is_some_and(|at| at <= wall::now()) {
            (standings_at, told_at) = (None, wall::now());
            bytes.extend(Word::Standings(shared.partitions.news()).frame());
        }
        // Who does not hear is found to be gone by the thread that hears them.
        streams.retain_mut(|stream| bytes.is_empty() || stream.write_all(&bytes).is_ok());
        shared.peers.unsent.fetch_sub(count, Ordering::AcqRel);
    }
}

/// Hears what a process says, until it goes.
fn hear(shared: &Shared, from: usize, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut done = false;
    let why = loop {
        match read(&mut reader) {
            Ok(Word::Done) => done = true,
            Ok(word) => take(shared, from, word),
            Err(error) => break error,
        }
    };
    if !done {
        let silent = format!("nothing was heard of it for {} s", SILENT_MAX.as_secs());
        let why = match why.kind() {
            ErrorKind::UnexpectedEof => "its connection was closed".into(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => silent,
            _ => why.to_string(),
        };
        lost(shared, from, &why);
    }
}

/// Ends this process's part of the job because another process has gone.
pub fn lost(shared: &Shared, process: usize, why: &str) {
    if !shared.peers.ended.load(Ordering::Acquire) {
        let gone = format!("{} has gone: {why}", shared.peers.name(process));
        shared.fall(
            Failure::new(gone)
                .help("what it said last tells why; a job goes on with all of its processes, or not at all"),
        );
    }
}

fn take(shared: &Shared, from: usize, word: Word) {
    let peers = &shared.peers;
    match word {
        Word::Alive | Word::Done => {}
        // Both ends of these channels are here.
        Word::Decided(what) => drop(peers.decided.0.send(what)),
        Word::Found(found) => drop(peers.found.0.send(found)),
        Word::Epoch(epoch) => {
            shared.reach_epoch(epoch);
        }
        Word::Standings(reports) => {
            shared.partitions.hear(reports);
            shared.moved_on();
        }
        Word::Announced(origin, epoch) => {
            shared.hear_announced(origin, epoch);
        }
        Word::Heard(origin, reached) => peers.heard(origin, from, reached),
        Word::Ready => drop(peers.ready.fetch_add(1, Ordering::AcqRel)),
        // Of the others only the leader makes checkpoints.
        Word::Full if peers.place.leads() => shared.fill(),
        Word::Full => {}
        Word::Stop => shared.halt(),
        Word::Failed(why) => {
            shared.fall(Failure::new(format!("{} failed: {why}", peers.name(from))));
        }
    }
}

impl Word {
    /// As it is sent: its length, then itself.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = postcard::to_extend(self, vec![0; 4]).expect("a word can be written");
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame
    }
}

/// The whole words at the beginning of what was sent.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Word> {
    std::iter::from_fn(move || read(&mut bytes).ok())
}

fn read(from: &mut impl Read) -> io::Result<Word> {
    let invalid = |what: String| io::Error::new(ErrorKind::InvalidData, what);
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > WORD_BYTES_MAX {
        return Err(invalid(format!("a word of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(|error| invalid(format!("a word that cannot be read: {error}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding what processes tell each other")
}
