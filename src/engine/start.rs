//! Starts a planned job: opens its sources and sinks, mounts the plan on every worker, and waits for the end.

use super::decode::{DecodePool, Decoders};
use super::drain::Route;
use super::driver::Driver;
use super::health::Growth;
use super::intake::{self, Found, Lane, Place};
use super::keeper::Keeper;
use super::ledger::{Interval, Ledger, beginning, first_epoch, numbered, shards_of};
use super::mesh::{self, FoundWord, MeshSettings, Peers, Word};
use super::metrics::{Made, Metrics, SinkCounts, SourceCounts, StepCounts, read_step};
use super::mount::Mounting;
use super::partitions::{Partitions, Reached, Standing};
use super::render::{Rendered, render, sources_in_order};
use super::resume::{self, Resumed, Resumption, State};
use super::shared::Shared;
use super::split::Splitter;
use super::stamp::Stamper;
use super::threads::{Role, Spent};
use super::wall;
use crate::batch::Batch;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::{Store, storage};
use crate::expression::Expression;
use crate::fault::Failure;
use crate::job::plan::{Plan, StepPlan};
use crate::key::worker_of;
use crate::origin::{Origin, Origins};
use crate::sink::{Delivery, Opening, Shards, Writer};
use crate::source::Feed;
use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use timely::execute::execute_from;
use timely::worker::Worker;

/// How a worker waits when it has nothing to do; it is woken by whoever has something for it.
const PARK: Duration = Duration::from_millis(200);

/// A running job.
pub struct Job {
    start: Arc<Start>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the job has ended.
    ended: Receiver<()>,
    begun: Instant,
    /// Of the keys of each step.
    growth: Mutex<Vec<Growth>>,
}

/// What a job is started with; the same for every worker.
pub struct Start {
    /// The plan.
    pub plan: Plan,
    /// The state of the job.
    pub shared: Arc<Shared>,
    /// Its open sources.
    pub sources: Vec<OpenSource>,
    /// How it is made to survive, if it is.
    pub keeping: Option<Keeping>,
    /// How many shards each sink has.
    pub shards: Vec<usize>,
    /// The number of each step that its rows carry.
    pub numbers: Vec<u16>,
    /// How many workers of this process have not mounted their part yet.
    mounting: AtomicUsize,
}

/// How a job is made to survive.
pub struct Keeping {
    keeper: Keeper,
    store: Arc<Store>,
    /// What it goes on with.
    resumed: Option<Resumed>,
    /// Under which number what it goes on with becomes the newest checkpoint, where it goes back to an older one.
    back: Option<Interval>,
    /// Whether what is not in the job any more is left out.
    skips: bool,
    workers: usize,
    shards: Vec<usize>,
}

impl Keeping {
    /// The ledger that the job goes on with.
    pub fn ledger(&self, plan: &Plan) -> Ledger {
        let before = self.resumed.as_ref().map(|resumed| resumed.manifest.clone());
        Ledger::new(plan, &self.shards, before, self.workers)
    }
}

/// An open source, for all workers.
pub struct OpenSource {
    /// The source.
    pub feed: Arc<dyn Feed>,
    /// How its frames are decoded.
    pub decoders: Decoders,
    /// Whether its partitions are of one topic, so that their numbers name them; settled when the job starts.
    pub alone: bool,
    /// For each worker, the partitions that it is to open.
    pub found: Vec<Arc<Mutex<Vec<Found>>>>,
}

/// The writers of one worker: for each sink, those of the shards that are there.
pub type Writers = Vec<Vec<(usize, Box<dyn Writer>)>>;

/// How a job stands: everything that is counted, at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether it was stopped before the end of its input.
    pub stopped: bool,
    /// Time since the start.
    pub elapsed: Duration,
    /// Sources in the order of the plan, with how much there is to read of each.
    pub sources: Vec<(SourceCounts, Option<u64>)>,
    /// Steps in the order of the plan.
    pub steps: Vec<StepCounts>,
    /// Sinks in the order of the plan.
    pub sinks: Vec<SinkCounts>,
    /// Source partitions.
    pub partitions: Vec<(Origin, Standing)>,
    /// How many checkpoints were made, the newest, and what could not be done beside them.
    pub checkpoints: (u64, Option<Made>, Option<String>),
    /// Processor time, by what threads do.
    pub spent: Spent,
}

/// Opens sources and sinks and sets the workers going. Where the job has checkpoints, it goes on from the newest.
pub fn start(plan: Plan, workers: usize) -> Result<Job, Failure> {
    start_among(plan, workers, None, &Resumption::default())
}

/// Starts the part of a job that is this process's, of several that run it, with so many workers each, where a
/// checkpoint says that it had come to.
///
/// # Errors
///
/// Another process that does not fit, does not come, or fails; a checkpoint that does not fit; a source or sink that
/// cannot be opened.
pub fn start_among(
    plan: Plan,
    workers: usize,
    mesh: Option<&MeshSettings>,
    resumption: &Resumption,
) -> Result<Job, Failure> {
    let (peers, connected) = match mesh {
        None => (Peers::none(workers), None),
        Some(mesh) => mesh::join(&plan, workers, mesh).map(|(peers, connected)| (peers, Some(connected)))?,
    };
    let partitions = Partitions::new(groups(&plan)).telling(peers.teller());
    let shared = Arc::new(Shared::new(Metrics::new(&plan, workers), partitions, Origins::default(), peers));
    let records = connected.map(|connected| connected.start(&shared)).transpose()?;
    let start = Start::new(plan, shared.clone(), resumption);
    start.and_then(|start| begin(start, records)).inspect_err(|failure| {
        shared.fail(failure.clone());
        shared.peers.flush();
    })
}

fn begin(mut start: Start, records: Option<mesh::Records>) -> Result<Job, Failure> {
    start.sources = (0..start.plan.sources.len()).map(|i| start.open_source(i)).collect::<Result<_, _>>()?;
    let writers = start.open_sinks()?;
    let start = Arc::new(start);
    let pool = DecodePool::new(
        std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1)),
        &start.shared.metrics.threads,
    );
    discover(&start);
    let writers = Mutex::new(writers);
    let begun = wall::now();
    let (mine, shared) = (start.clone(), start.shared.clone());
    let place = shared.peers.place();
    let (ends, ended) = mpsc::channel();
    let run = move || {
        let _ends = ends;
        let guards = mesh::allocators(place, records, &shared).and_then(|(builders, links)| {
            execute_from(builders, links, timely::WorkerConfig::default(), move |worker| {
                let take = |local: usize| writers.lock().expect("no worker panics here")[local].take();
                let writers = place.local(worker.index()).and_then(take);
                work(worker, &mine, &pool, writers.expect("every worker has its writers, and takes them once"));
            })
        });
        let failed = match guards {
            Ok(guards) => guards.join().into_iter().find_map(Result::err),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            shared.fail(Failure::new(format!("a worker ended: {error}")));
        }
        shared.peers.end();
    };
    let thread = Builder::new().name("eagre:job".into()).spawn(run);
    let thread = thread.map_err(|e| Failure::new(format!("the job's thread cannot be started: {e}")))?;
    let growth = Mutex::new(start.plan.steps.iter().map(|_| Growth::default()).collect());
    Ok(Job { start, thread: Some(thread), ended, begun, growth })
}

impl Job {
    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.start.plan
    }

    /// From which checkpoint it goes on, and what a person should know of that.
    pub fn resumed(&self) -> Option<(u64, &[String])> {
        let resumed = self.start.keeping.as_ref()?.resumed.as_ref()?;
        Some((resumed.manifest.id, &resumed.notices))
    }

    /// What it goes on with.
    #[cfg(test)]
    pub(in crate::engine) fn manifest(&self) -> Option<&Manifest> {
        Some(&self.start.keeping.as_ref()?.resumed.as_ref()?.manifest)
    }

    /// Stops reading; what was read is worked off, then the job ends.
    pub fn stop(&self) {
        self.start.shared.stop();
    }

    /// Ends the job as a failure would.
    #[cfg(test)]
    pub(in crate::engine) fn fail(&self, failure: Failure) {
        self.start.shared.fail(failure);
    }

    /// A handle that stops the job from anywhere.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.start.shared.clone();
        move || shared.stop()
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.start.shared.fallen() || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits so long for it to end; says whether it has.
    pub fn ends_within(&self, time: Duration) -> bool {
        self.ended.recv_timeout(time) == Err(RecvTimeoutError::Disconnected) || self.start.shared.fallen()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let shared = &self.start.shared;
        let total = |i: usize| self.start.sources[i].feed.total();
        Status {
            stopped: shared.stopping(),
            elapsed: self.begun.elapsed(),
            sources: shared.metrics.sources.iter().enumerate().map(|(i, s)| (s.read(), total(i))).collect(),
            steps: self.steps(),
            sinks: shared.metrics.sinks.iter().map(|s| s.read()).collect(),
            partitions: shared.partitions.all(),
            checkpoints: shared.metrics.checkpoints.read(),
            spent: shared.metrics.threads.spent(),
        }
    }

    fn steps(&self) -> Vec<StepCounts> {
        let (plan, metrics) = (&self.start.plan, &self.start.shared.metrics);
        let mut growth = self.growth.lock().expect("nobody panics while looking");
        let steps = plan.steps.iter().zip(&metrics.steps).zip(growth.iter_mut());
        let counts = steps.map(|((step, workers), growth)| {
            let counts = read_step(workers);
            let grows = step.ttl.is_none() && growth.look(self.begun.elapsed(), counts.keys);
            StepCounts { grows, ..counts }
        });
        counts.collect()
    }

    /// Waits for the end; gives how it stood then.
    ///
    /// Where another process has gone or failed, or this one has, the workers of this one are left to themselves: the
    /// process is to end.
    pub fn wait(&mut self) -> Result<Status, Failure> {
        while !self.ends_within(PARK) {}
        let thread = self.thread.take().filter(|_| !self.start.shared.fallen());
        let joined = thread.map_or(Ok(()), JoinHandle::join);
        if self.start.keeping.is_some() && self.start.shared.failure().is_none() {
            self.start.sources.iter().for_each(|source| source.feed.settle(SETTLED_WITHIN));
        }
        self.start.shared.peers.flush();
        let status = self.status();
        match self.start.shared.failure() {
            Some(failure) => Err(failure),
            None => {
                joined.map(|()| status).map_err(|_| Failure::new("the job's thread panicked; its message is above"))
            }
        }
    }
}

/// How long the end of a job waits for what its sources show elsewhere.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

impl OpenSource {
    /// Tells the worker that a partition belongs to.
    fn tell(&self, origin: Origin, found: Found) {
        let worker = &self.found[origin as usize % self.found.len()];
        worker.lock().expect("nobody panics while adding a partition").push(found);
    }
}

impl Start {
    fn new(plan: Plan, shared: Arc<Shared>, resumption: &Resumption) -> Result<Start, Failure> {
        let workers = shared.peers.place().all_workers();
        let kept = match &plan.checkpoint {
            None => None,
            Some(settings) => Some(keep(&plan, &shared, &settings.dir, resumption)?),
        };
        let before = kept.as_ref().and_then(|kept| kept.resumed.as_ref()).map(|resumed| &resumed.manifest);
        let shards = shards_of(&plan, before, workers);
        // Origins keep their numbers, those of partitions that are gone as well.
        for (number, partition) in before.iter().flat_map(|before| before.partitions.iter().enumerate()) {
            let gone = format!("?{number}");
            shared.origins.assign(if partition.name.is_empty() { &gone } else { &partition.name });
        }
        let names = numbered(&plan, before);
        let number = |step: &StepPlan| names.iter().position(|name| *name == step.name).expect("it has been named");
        let numbers = plan.steps.iter().map(|step| number(step) as u16).collect();
        shared.origins.name_steps(names);
        let keeping = kept.map(|Kept { store, resumed, back }| {
            let store = Arc::new(store);
            let keeper = Keeper::start(store.clone(), &shared);
            let skips = resumption.skip_missing;
            Keeping { keeper, store, resumed, back, skips, workers, shards: shards.clone() }
        });
        let mounting = AtomicUsize::new(shared.peers.place().workers);
        Ok(Start { plan, shared, sources: Vec::new(), keeping, shards, numbers, mounting })
    }

    /// Hears that a worker has mounted its part: the last one lets go of the state that all have taken over.
    fn mounted(&self) {
        if self.mounting.fetch_sub(1, AcqRel) == 1 {
            let let_go =
                |resumed: &Resumed| *resumed.state.write().expect("nobody panics while reading it") = State::default();
            self.resumed().into_iter().for_each(let_go);
        }
    }

    fn resumed(&self) -> Option<&Resumed> {
        self.keeping.as_ref().and_then(|keeping| keeping.resumed.as_ref())
    }

    /// How batches find their shard of a sink.
    pub fn route(&self, sink: usize) -> Route {
        let plan = &self.plan.sinks[sink];
        match plan.sink.shards() {
            Shards::PerWorker if plan.delivery == Delivery::AtLeastOnce => Route::Here,
            _ => Route::Shards(self.shards[sink]),
        }
    }

    /// Lets a driver go on where it was: step `number`, which these sources reach, on a worker of so many. `keys` are
    /// the keys of its inputs: rows that waited go to whom they belong, without keys to whom the partition belongs.
    pub fn resume(
        &self,
        number: usize,
        sources: &BTreeSet<usize>,
        driver: &mut Driver,
        keys: Option<&[Vec<Expression>]>,
        (worker, workers): (usize, usize),
    ) {
        let Some(resumed) = self.resumed() else { return };
        let all = self.shared.partitions.all();
        // Those that had ended then. Where others are quick, more have by now, whose records are still to come.
        let had_ended = |origin: Origin| resumed.manifest.partitions.get(origin as usize).is_some_and(|p| p.ended);
        let ended = all.iter().filter(|(origin, s)| had_ended(*origin) && sources.contains(&s.source));
        driver.resume(ended.map(|(origin, _)| (*origin, AFTER_ALL)), BEFORE_ALL);
        let step = &resumed.manifest.steps[number];
        // A partition that is gone holds nobody back.
        let known = step.partitions.iter().filter(|(origin, _)| all.iter().any(|(there, _)| there == origin));
        driver.resume(known.copied(), step.watermark);
        let state = resumed.state.read().expect("nobody panics while letting go of it");
        for group in state.groups[number].values().filter(|group| worker_of(group.group, workers) == worker) {
            if let Err(failure) = driver.restore(group) {
                return self.shared.fail(failure.doing(format_args!("the state of `{}` cannot be read", step.name)));
            }
        }
        for (input, batch) in &state.waiting[number] {
            let mine = match keys.map(|keys| keys.get(*input)) {
                None => batch.take(&rows_of(batch, |origin| origin as usize % workers == worker)),
                // What puts rows in order for a sink has them all on the first worker.
                Some(None) => batch.take(&rows_of(batch, |_| worker == 0)),
                Some(Some(key)) => {
                    let mut mine = None;
                    let mut splitter = Splitter::new(key.clone(), workers);
                    splitter.split(batch, driver.outputs(), |to, rows| {
                        mine = if to == worker { Some(rows) } else { mine.take() }
                    });
                    let Some(mine) = mine else { continue };
                    mine
                }
            };
            driver.wait(*input, mine);
        }
    }

    /// The partitions of these sources that are known now.
    pub fn origins_of(&self, sources: &BTreeSet<usize>) -> Vec<Origin> {
        let of = |(origin, standing): (Origin, Standing)| sources.contains(&standing.source).then_some(origin);
        self.shared.partitions.all().into_iter().filter_map(of).collect()
    }

    fn open_source(&self, i: usize) -> Result<OpenSource, Failure> {
        let plan = &self.plan.sources[i];
        let doing = |failure: Failure| failure.doing(format_args!("source `{}`", plan.name));
        let feed: Arc<dyn Feed> = plan.source.open(&plan.name, &plan.output).map_err(doing)?.into();
        let workers = self.shared.peers.place().all_workers();
        let found: Vec<Arc<Mutex<Vec<Found>>>> = (0..workers).map(|_| Arc::default()).collect();
        let decoders = Decoders::new(feed.decoder());
        let before = self.resumed().map(|resumed| resumed.logs(&plan.name)).unwrap_or_default();
        if !before.is_empty() {
            feed.goes_on(&before);
        }
        let own = first_partitions(&plan.name, &feed).map_err(doing)?;
        let names = self.shared.agree_on(own.clone())?;
        let own: BTreeSet<String> = own.into_iter().collect();
        let alone = names.iter().all(|name| topic(name) == topic(&names[0]));
        self.still_there(i, &before, &names)?;
        let open = OpenSource { feed, decoders, alone, found };
        for (name, shown) in self.named(i, names, open.alone) {
            let Some(origin) = self.add(i, &name, &shown) else { continue };
            let mine = self.shared.reads(origin);
            if mine && !own.contains(&name) {
                self.see(&open, &name).map_err(doing)?;
            }
            self.open_first(i, &open, origin, name);
        }
        Ok(open)
    }

    /// A source of which the checkpoint knows only partitions that are gone would be read again from where it starts,
    /// into state that has all of it: another topic or path stands in its place.
    fn still_there(&self, i: usize, before: &[String], now: &[String]) -> Result<(), Failure> {
        let skips = self.keeping.as_ref().is_some_and(|keeping| keeping.skips);
        if skips || before.is_empty() || before.iter().any(|log| now.contains(log)) {
            return Ok(());
        }
        let names = |logs: &[String]| {
            let few: Vec<String> = logs.iter().take(3).map(|log| format!("`{log}`")).collect();
            let more =
                if logs.len() > few.len() { format!(" and {} more", logs.len() - few.len()) } else { String::new() };
            if logs.is_empty() { "nothing".into() } else { few.join(", ") + &more }
        };
        let (source, before, now) = (&self.plan.sources[i].name, names(before), names(now));
        let message = format!(
            "source `{source}`: none of the partitions is there that the checkpoint has been read from: they were \
             {before}, and now there is {now}"
        );
        Err(Failure::new(message).help(
            "--skip-missing reads what is there now from where the source starts, into the state that the steps have; \
             --from none begins at the beginning",
        ))
    }

    /// All partitions of a source, each with the name that people read.
    fn named(&self, i: usize, names: Vec<String>, alone: bool) -> Vec<(String, String)> {
        let named = |name: String| {
            let shown = show(&self.plan.sources[i].name, &name, alone);
            (name, shown)
        };
        names.into_iter().map(named).collect()
    }

    /// Gives a partition that this run does not know yet its number: the one that it had, or the next.
    fn add(&self, i: usize, log: &str, shown: &str) -> Option<Origin> {
        let Shared { origins, partitions, .. } = &*self.shared;
        if partitions.all().iter().any(|(_, standing)| standing.source == i && standing.log == log) {
            return None;
        }
        let known = self.resumed().and_then(|resumed| resumed.origin(&self.plan.sources[i].name, log));
        known.iter().for_each(|origin| origins.rename(*origin, shown));
        let origin = known.unwrap_or_else(|| origins.assign(shown));
        partitions.add(i, origin, (shown, log));
        Some(origin)
    }

    /// Opens a partition that is there when the job starts: where it was left, or at the beginning.
    fn open_first(&self, i: usize, open: &OpenSource, origin: Origin, name: String) {
        let mine = self.shared.reads(origin);
        let Some(resumed) = self.resumed() else {
            return if mine {
                self.open_partition(i, open, origin, name, BEFORE_ALL)
            };
        };
        // One that had not been opened begins as one that is new.
        let known = resumed.manifest.partitions.get(origin as usize).filter(|known| known.position.is_some());
        let Some(known) = known else {
            let reached = sources_of_drivers(&self.plan).into_iter().zip(&resumed.manifest.steps);
            let reached = reached.filter(|(sources, _)| sources.contains(&i)).map(|(_, step)| step.watermark).max();
            return if mine {
                self.open_partition(i, open, origin, name, reached.unwrap_or(BEFORE_ALL))
            };
        };
        let (watermark, newest) = (known.watermark, known.newest);
        let partitions = &self.shared.partitions;
        partitions.advance(origin, Reached { watermark, newest }, known.sequence, 0);
        if known.ended {
            return partitions.end(origin);
        }
        if known.idle {
            partitions.idle(origin, watermark);
        }
        if !mine {
            return;
        }
        let place =
            Place { position: known.position, sequence: known.sequence, newest, idle: known.idle, ended: false };
        let stamper = self.stamper(i, open, origin, watermark).resumed(Reached { watermark, newest });
        open.tell(origin, Found::Open(origin, name, place, stamper));
    }

    fn open_partition(&self, i: usize, open: &OpenSource, origin: Origin, name: String, watermark: EventTime) {
        let stamper = self.stamper(i, open, origin, watermark);
        open.tell(origin, Found::Open(origin, name, Place::BEGINNING, stamper));
    }

    fn stamper(&self, i: usize, open: &OpenSource, origin: Origin, watermark: EventTime) -> Stamper {
        let plan = &self.plan.sources[i];
        let mut policy = plan.time.clone();
        policy.max_ahead = policy.max_ahead.filter(|_| !open.feed.invents_time());
        Stamper::new(&plan.name, origin, plan.output.clone(), policy, watermark)
    }

    /// Opens a partition that was found while the job runs. Every step is told of it first, and takes no watermark past
    /// it; when all have heard, it begins at the watermark that the steps have come to, so that no window that has
    /// fired can get a record that would have been on time.
    fn grow(&self, i: usize, open: &OpenSource, name: String, shown: &str) {
        let peers = &self.shared.peers;
        let naming = peers.naming();
        let Some(origin) = self.add(i, &name, shown) else { return };
        if peers.place().leads() {
            peers.tell(Word::Found(FoundWord { source: i, name: name.clone(), shown: shown.to_owned() }));
        }
        drop(naming);
        if self.shared.reads(origin) {
            open.tell(origin, Found::Announced(origin));
            self.shared.wake_readers();
        }
        let fed: Vec<bool> = sources_of_drivers(&self.plan).iter().map(|sources| sources.contains(&i)).collect();
        let drivers = || self.shared.metrics.steps.iter().zip(&fed).filter(|(_, fed)| **fed).map(|(counts, _)| counts);
        let heard = |epoch: u64| drivers().all(|counts| read_step(counts).epoch > epoch);
        while !self.shared.announcement(origin).is_some_and(heard) {
            if self.shared.stopping() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let reached =
            drivers().map(|counts| counts.iter().map(|w| w.watermark.load(Relaxed)).max().unwrap_or(BEFORE_ALL));
        let reached = reached.max().unwrap_or(BEFORE_ALL);
        peers.tell(Word::Heard(origin, reached));
        peers.heard(origin, peers.place().process, reached);
        while self.shared.reads(origin) && !self.shared.stopping() {
            if let Some(reached) = peers.all_heard(origin) {
                self.shared.partitions.begin(origin, reached);
                self.open_partition(i, open, origin, name, reached);
                return self.shared.wake_readers();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until this process sees a partition that the leader has found.
    fn see(&self, open: &OpenSource, name: &str) -> Result<(), Failure> {
        let begun = wall::now();
        while !open.feed.partitions()?.iter().any(|seen| seen == name) {
            if begun.elapsed() > SEEN_WITHIN || self.shared.stopping() {
                let message = format!("process 0 has found `{name}`, which this process does not see");
                return Err(Failure::new(message).help("every process has to reach all that the job reads"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The writers of each worker of this process, for each sink. All are opened at once: a broker takes half a second
    /// over each that delivers exactly once.
    fn open_sinks(&self) -> Result<Vec<Option<Writers>>, Failure> {
        let place = self.shared.peers.place();
        let local = |shard: usize| place.local(shard % place.all_workers());
        let none = || self.plan.sinks.iter().map(|_| Vec::new()).collect::<Writers>();
        let mut all: Vec<Writers> = (0..place.workers).map(|_| none()).collect();
        let shards = (0..self.plan.sinks.len()).flat_map(|number| (0..self.shards[number]).map(move |s| (number, s)));
        let mine = shards.filter_map(|(number, shard)| Some((local(shard)?, number, shard)));
        // Those that may refuse come before those that cut back what is on disk.
        let may_refuse =
            |(_, number, _): &(usize, usize, usize)| self.plan.sinks[*number].sink.shards() == Shards::PerWorker;
        let (asking, cutting): (Vec<_>, Vec<_>) = mine.partition(may_refuse);
        for (cuts, mine) in [(false, asking), (true, cutting)] {
            if cuts {
                self.go_back()?;
            }
            let opened = std::thread::scope(|scope| {
                let open = |number, shard| scope.spawn(move || self.open_shard(number, shard));
                let threads: Vec<_> = mine.iter().map(|(_, number, shard)| open(*number, *shard)).collect();
                threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
            });
            for ((worker, number, shard), writer) in mine.into_iter().zip(opened) {
                let writer = writer.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let name = &self.plan.sinks[number].name;
                let writer = writer.map_err(|failure| failure.doing(format_args!("sink `{name}`")))?;
                all[worker][number].push((shard, writer));
            }
        }
        Ok(all.into_iter().map(Some).collect())
    }

    /// Where the job goes back to an older checkpoint, or to the beginning, or where a run that was taken over may
    /// still make one, makes what is gone on from the newest: what sinks take back from now on is what others have, so
    /// that none of these may be gone on with, whatever happens. Nobody refuses to go back any more when this is done.
    fn go_back(&self) -> Result<(), Failure> {
        let Some((keeping, id)) = self.keeping.as_ref().and_then(|keeping| Some((keeping, keeping.back?))) else {
            return Ok(());
        };
        self.shared.all_ready()?;
        if !self.shared.peers.place().leads() {
            return Ok(());
        }
        let nothing = || beginning(&self.plan, &vec![0; self.plan.sinks.len()]);
        let manifest = keeping.resumed.as_ref().map_or_else(nothing, |resumed| resumed.manifest.clone());
        keeping.store.commit(&Manifest { id, ..manifest })
    }

    fn open_shard(&self, number: usize, shard: usize) -> Result<Box<dyn Writer>, Failure> {
        let plan = &self.plan.sinks[number];
        let before = self.resumed().filter(|resumed| resumed.manifest.sinks[number].shards > 0);
        let state = before.map(|resumed| resumed.state.read().expect("nobody panics while letting go of it"));
        let mut writer = plan.sink.open(Opening {
            job: &self.plan.name,
            name: &plan.name,
            input: &plan.input,
            shard: (shard, self.shards[number]),
            delivery: plan.delivery,
            resumes: before.is_some(),
            origins: &self.shared.origins,
        })?;
        // Where there were more shards, those that are no more are published by others.
        let all = state.iter().flat_map(|state| state.outboxes[number].iter().skip(shard).step_by(self.shards[number]));
        for (sealed, outbox) in all {
            writer.recover(*sealed, outbox)?;
        }
        Ok(writer)
    }
}

/// A store of checkpoints, and what a job goes on with.
struct Kept {
    store: Store,
    resumed: Option<Resumed>,
    /// See [`Keeping`].
    back: Option<Interval>,
}

/// What the leader has decided: its claim, what to go on with, whether that is not the newest.
type Decided = (Interval, Option<Interval>, bool);

/// Opens the store, finds what the job goes on with, and claims the numbers of new checkpoints. Of several processes
/// the leader finds and claims, and the others go by that.
fn keep(plan: &Plan, shared: &Shared, dir: &Path, resumption: &Resumption) -> Result<Kept, Failure> {
    let mut store = Store::open(storage::open(dir)?)?;
    let (first, goes_back, resumed) = if shared.peers.place().leads() {
        let newest = |store: &Store| Ok::<_, Failure>(store.list()?.first().map(|found| found.id));
        let before = newest(&store)?;
        let mut resumed = resume::resume(&store, plan, resumption)?;
        let first = store.claim()?;
        // A run that was still alive may have gone on until the claim was there.
        let after = newest(&store)?;
        if after != before {
            resumed = resume::resume(&store, plan, resumption)?;
        }
        let id = resumed.as_ref().map(|resumed| resumed.manifest.id);
        // A run that was taken over may still be writing the manifest of a checkpoint, which would then be the newest,
        // and of which the sinks have cut back what it names: so that what is gone on from is made the newest before
        // they do.
        let cuts = |sink: &crate::job::SinkPlan| {
            sink.sink.shards() != Shards::PerWorker && sink.delivery == Delivery::ExactlyOnce
        };
        let goes_back = id != after || first > 1 && plan.sinks.iter().any(cuts);
        shared.agree(said(&(first, id, goes_back)))?;
        (first, goes_back, resumed)
    } else {
        let decided = shared.agree(Vec::new())?;
        let (first, id, goes_back): Decided = postcard::from_bytes(&decided)
            .map_err(|error| Failure::new(format!("what process 0 has decided cannot be read: {error}")))?;
        store.under(first);
        let from = id.map_or(resume::From::Nothing, resume::From::Id);
        let resumed = resume::resume(&store, plan, &Resumption { from, ..resumption.clone() })?;
        (first, goes_back, resumed)
    };
    shared.begin_in(first_epoch(first + u64::from(goes_back)));
    Ok(Kept { store, resumed, back: goes_back.then_some(first) })
}

fn said(decided: &Decided) -> Vec<u8> {
    postcard::to_stdvec(decided).expect("numbers can be written")
}

/// The rows of a batch whose origin is wanted.
fn rows_of(batch: &Batch, wanted: impl Fn(Origin) -> bool) -> Vec<u32> {
    (0..).zip(batch.origins()).filter(|(_, origin)| wanted(**origin)).map(|(row, _)| row).collect()
}

/// How long a partition that the leader has found may take to be seen by another process.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// How long the first partitions may take before it is said what they wait for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The partitions that a source begins with. Brokers that are away are waited for: what is wrong is said meanwhile.
fn first_partitions(source: &str, feed: &Arc<dyn Feed>) -> Result<Vec<String>, Failure> {
    let (tell, told) = mpsc::channel();
    let asked = feed.clone();
    let ask = move || tell.send(asked.partitions());
    Builder::new().name("eagre:discover".into()).spawn(ask).expect("a thread can be started");
    let mut said = None;
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("looking for its partitions panicked")),
            Err(RecvTimeoutError::Timeout) => {
                let trouble = feed.trouble().filter(|trouble| said.as_ref() != Some(trouble));
                trouble.iter().for_each(|trouble| eprintln!("source `{source}`: {trouble}"));
                said = trouble.or(said);
            }
        }
    }
}

/// What comes before the number of a partition, if it has one: the topic of `readings[3]`.
fn topic(partition: &str) -> Option<&str> {
    partition.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map(|(topic, _)| topic)
}

/// A partition's name with its source's before it: `readings[3]` for a single topic of Kafka, `readings:topic[3]` where
/// there are several, `readings:data/a.jsonl` for files.
fn show(source: &str, partition: &str, alone: bool) -> String {
    match topic(partition) {
        Some(topic) if alone => format!("{source}{}", &partition[topic.len()..]),
        _ => format!("{source}:{partition}"),
    }
}

/// Builds the plan on a worker and steps it to its end.
fn work(worker: &mut Worker, start: &Arc<Start>, pool: &DecodePool, writers: Writers) {
    let _counted = start.shared.metrics.threads.count(Role::Work);
    let rendered = worker.dataflow(|scope| {
        let mounting = Mounting {
            scope,
            shared: start.shared.clone(),
            probe: timely::dataflow::ProbeHandle::new(),
            settings: start.plan.engine.clone(),
            keeper: start.keeping.as_ref().map(|keeping| keeping.keeper.clone()),
        };
        render(start, mounting, writers)
    });
    start.mounted();
    let Rendered { lanes, reader, sources, probe } = rendered;
    spawn_reader(worker.index(), lanes, pool.clone(), start, &reader);
    let mut reached = None;
    while worker.has_dataflows() {
        worker.step_or_park(Some(PARK));
        let now = probe.with_frontier(|frontier| frontier.first().copied());
        if now != reached {
            reached = now;
            sources.iter().for_each(|source| source.activate());
        }
    }
}

fn spawn_reader(
    worker: usize,
    lanes: Vec<Lane>,
    pool: DecodePool,
    start: &Arc<Start>,
    reader: &Arc<std::sync::OnceLock<std::thread::Thread>>,
) {
    let shared = start.shared.clone();
    let read = move || {
        if catch_unwind(AssertUnwindSafe(|| intake::read(lanes, &pool, &shared))).is_err() {
            shared.fail(Failure::new("a source panicked while it was read; its message is above"));
        }
    };
    let thread = Builder::new().name(format!("eagre:read-{worker}")).spawn(read).expect("a thread can be started");
    start.shared.add_reader(thread.thread().clone());
    let _ = reader.set(thread.thread().clone());
}

/// Looks for new partitions, on a thread of its own because brokers may take their time. Among several processes the
/// leader looks and the others hear of them.
fn discover(start: &Arc<Start>) {
    if !start.shared.peers.place().leads() {
        return hear_of_partitions(start);
    }
    for (i, open) in start.sources.iter().enumerate() {
        let Some(every) = open.feed.discovers() else { continue };
        let (start, shared) = (start.clone(), start.shared.clone());
        let look = move || {
            while !start.shared.stopping() {
                std::thread::park_timeout(every);
                let open = &start.sources[i];
                match open.feed.partitions() {
                    Ok(names) => {
                        let named = start.named(i, names, open.alone);
                        named.into_iter().for_each(|(name, shown)| start.grow(i, open, name, &shown));
                    }
                    Err(failure) => {
                        let source = &start.plan.sources[i].name;
                        return start.shared.fail(failure.doing(format_args!("source `{source}`")));
                    }
                }
            }
        };
        let thread = Builder::new().name("eagre:discover".into()).spawn(look).expect("a thread can be started");
        shared.add_discoverer(thread.thread().clone());
    }
}

fn hear_of_partitions(start: &Arc<Start>) {
    let mine = start.clone();
    let hear = move || {
        while !mine.shared.stopping() {
            let Some(FoundWord { source, name, shown }) = mine.shared.peers.found_within(HEAR_EVERY) else { continue };
            let open = &mine.sources[source];
            if let Err(failure) = mine.see(open, &name) {
                return mine.shared.fail(failure.doing(format_args!("source `{}`", mine.plan.sources[source].name)));
            }
            mine.grow(source, open, name, &shown);
        }
    };
    Builder::new().name("eagre:discover".into()).spawn(hear).expect("a thread can be started");
}

/// How often a process that hears of partitions looks whether the job has stopped.
const HEAR_EVERY: Duration = Duration::from_millis(200);

/// The sources of every step, and behind them of what puts rows in order for each sink.
fn sources_of_drivers(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let of_sinks = plan.sinks.iter().map(|sink| sources_in_order(plan, sink).unwrap_or_default());
    plan.steps.iter().map(|step| step.sources.clone()).chain(of_sinks).collect()
}

/// Sources that meet in some step, or in the order of some sink, belong to one group.
fn groups(plan: &Plan) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..plan.sources.len()).collect();
    for sources in sources_of_drivers(plan) {
        let Some(first) = sources.first().map(|s| groups[*s]) else { continue };
        let joined: Vec<usize> = sources.iter().map(|s| groups[*s]).collect();
        groups.iter_mut().filter(|g| joined.contains(g)).for_each(|g| *g = first);
    }
    groups
}
