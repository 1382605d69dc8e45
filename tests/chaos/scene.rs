//! A trial while it goes on: the job that runs, how far it is, and what went wrong so far.

use crate::program::{Program, Running};
use crate::tail::Tail;
use crate::trial::Stage;
use eagre::stats::random::Random;
use std::thread;
use std::time::{Duration, Instant};

/// Without a new row for so long nothing is to be hoped for.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// More than these are no accident.
const FAULTS_MAX: usize = 5;
const GAVE_UP_MAX: usize = 50;

/// A trial while it goes on.
pub struct Scene<'a> {
    /// Where it takes place.
    pub stage: &'a Stage,
    /// Where chance comes from.
    pub random: Random,
    /// The job.
    pub program: Program,
    /// How far it is.
    pub tail: Tail,
    /// Whether the job may end by itself: it is then started again.
    pub may_give_up: bool,
    /// What came of it so far.
    pub told: Told,
    rows_at_start: u64,
    awaits_first: bool,
}

/// What there is to tell of a trial.
#[derive(Default)]
pub struct Told {
    /// How often it was disturbed.
    pub kills: usize,
    /// How often the job ended by itself where that may be.
    pub gave_up: usize,
    /// Of the starts, how long each took to its first new row in the topic of counts, in seconds.
    pub first_s: Vec<f64>,
    /// What went wrong, other than rows.
    pub faults: Vec<String>,
}

impl<'a> Scene<'a> {
    /// Before the first start.
    pub fn new(stage: &'a Stage, random: Random, program: Program, tail: Tail, may_give_up: bool) -> Scene<'a> {
        let told = Told::default();
        Scene { stage, random, program, tail, may_give_up, told, rows_at_start: 0, awaits_first: false }
    }

    /// Starts the job as one process with so many workers.
    pub fn start(&mut self, workers: u64) -> Running {
        self.begins();
        self.program.start(1, workers)
    }

    /// Says that a start begins: the next new row is its first.
    pub fn begins(&mut self) {
        self.rows_at_start = self.tail.rows();
        self.awaits_first = true;
    }

    /// One to four workers.
    pub fn workers(&mut self) -> u64 {
        1 + self.random.pick(4)
    }

    /// Whether chance says yes, once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.random.pick(times) == 0
    }

    /// A time between two others, in milliseconds.
    pub fn between(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(from_ms + self.random.pick(to_ms - from_ms))
    }

    /// Lets it run for some time, or until it ends by itself.
    pub fn lives(&mut self, running: &mut Running, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !running.has_ended() {
            self.look(running);
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets it run until its first new row has come.
    pub fn lives_to_first(&mut self, running: &mut Running) {
        let begun = Instant::now();
        while self.awaits_first && !running.has_ended() {
            self.look(running);
            if begun.elapsed() > PATIENCE {
                self.fault(format!("no row within {PATIENCE:?}: {}", running.said()));
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn look(&mut self, running: &Running) {
        if self.awaits_first && self.tail.rows() > self.rows_at_start {
            self.awaits_first = false;
            self.told.first_s.push(running.begun.elapsed().as_secs_f64());
        }
    }

    /// Waits for the next checkpoint, and a moment more: the sinks are then about to publish it, or have just done so.
    pub fn aim(&mut self, running: &mut Running) {
        let (newest, begun) = (self.program.newest_checkpoint(), Instant::now());
        while self.program.newest_checkpoint() == newest && begun.elapsed() < Duration::from_secs(1) {
            self.look(running);
            thread::sleep(Duration::from_micros(500));
        }
        let moment = Duration::from_micros(self.random.pick(30_000));
        self.lives(running, moment);
    }

    /// Whether it has ended by itself; notes it where it may not.
    pub fn gave_up(&mut self, running: &mut Running) -> bool {
        let ended = running.has_ended();
        match (ended, self.may_give_up) {
            (true, true) => self.told.gave_up += 1,
            (true, false) => self.fault(format!("it ended by itself: {}", running.said())),
            (false, _) => {}
        }
        ended
    }

    /// Notes that something is wrong.
    pub fn fault(&mut self, text: String) {
        eprintln!("chaos: {text}");
        self.told.faults.push(text);
    }

    /// Whether it makes no sense to go on.
    pub fn is_hopeless(&self) -> bool {
        self.told.faults.len() >= FAULTS_MAX || self.told.gave_up >= GAVE_UP_MAX
    }

    /// Stops the job, which has to end well.
    pub fn stop(&mut self, running: Running) {
        if let Err(what) = running.stop() {
            self.fault(format!("it did not stop well: {what}"));
        }
    }

    /// Lets the job run, or starts it, until so many records have come out; then stops it.
    pub fn work_off(&mut self, due: u64, running: Option<Running>) {
        let (mut best, mut since) = (0, Instant::now());
        let workers = self.workers();
        let mut running = running.unwrap_or_else(|| self.start(workers));
        while self.tail.distinct() < due && !self.is_hopeless() {
            self.lives(&mut running, Duration::from_millis(100));
            if self.gave_up(&mut running) {
                running = self.start(workers);
            }
            if self.tail.distinct() > best {
                (best, since) = (self.tail.distinct(), Instant::now());
            }
            if since.elapsed() > PATIENCE {
                self.fault(format!("{best} of {due} records came out, and no more: {}", running.said()));
                break;
            }
        }
        self.stop(running);
    }
}
