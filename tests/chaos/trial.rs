//! A trial: messages are fed to the job while it is disturbed; it works them off; what it wrote is held against what it
//! had to write, which the harness counts itself, and against what the same job writes when nobody disturbs it.

use crate::cluster::{OwnBroker, Topic, free_ports, minutes_ago};
use crate::feed::{Feed, Input, PARTITIONS};
use crate::ledger::{self, Findings, Rows};
use crate::program::{Program, Running};
use crate::proxy::Proxy;
use crate::scene::{Scene, Told};
use crate::tail::Tail;
use eagre::stats::random::Random;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What a trial is to be.
pub struct Terms<'a> {
    /// Everything random follows from it, but not the moments at which things happen.
    pub seed: u64,
    /// How often it is disturbed.
    pub kills: usize,
    /// Messages a second.
    pub rate: u64,
    /// What the sinks are to promise.
    pub delivery: &'a str,
    /// What else is set in the job that is disturbed.
    pub sets: &'a [String],
    /// Where everything is written to.
    pub folder: &'a Path,
    /// Whether the job may end by itself: it is then started again.
    pub may_give_up: bool,
}

/// What came of a trial.
pub struct Outcome {
    /// What happened.
    pub told: Told,
    /// How often the job was started.
    pub starts: usize,
    /// Messages sent.
    pub messages: u64,
    /// What the ledger found.
    pub found: Findings,
    /// From the first message to the last row.
    pub seconds: f64,
}

/// Where a trial takes place.
pub struct Stage {
    /// The broker, as the harness reaches it.
    pub brokers: String,
    /// The same, as the job reaches it.
    pub job_brokers: String,
    /// What lies between the job and the broker.
    pub proxy: Option<Proxy>,
    /// The broker, where it is the trial's own.
    pub broker: Option<OwnBroker>,
}

impl Stage {
    /// A broker that others may use too.
    pub fn shared(brokers: String) -> Stage {
        Stage { job_brokers: brokers.clone(), brokers, proxy: None, broker: None }
    }

    /// A broker of its own, whose files lie in a folder of that name.
    pub fn own(name: &str) -> Stage {
        let broker = OwnBroker::start(name);
        Stage { broker: Some(broker), ..Stage::shared(String::new()) }.named()
    }

    /// A broker of its own that the job reaches through a proxy alone.
    pub fn behind_a_proxy(name: &str) -> Stage {
        let port = free_ports(25_000, 1);
        let broker = OwnBroker::start_behind(name, port);
        let proxy = Proxy::start(port, broker.proxied_port());
        let stage = Stage { broker: Some(broker), proxy: Some(proxy), ..Stage::shared(String::new()) }.named();
        Stage { job_brokers: format!("127.0.0.1:{port}"), ..stage }
    }

    fn named(self) -> Stage {
        let brokers = self.broker.as_ref().map_or_else(String::new, OwnBroker::brokers);
        Stage { job_brokers: brokers.clone(), brokers, ..self }
    }
}

const SINKS: [&str; 3] = ["windows", "scores", "counts"];

/// The topics of a job.
struct Topics {
    input: Arc<Topic>,
    out: [Topic; 3],
}

impl Topics {
    fn new(brokers: &str, kind: &str, input: Arc<Topic>) -> Topics {
        Topics { input, out: SINKS.map(|name| Topic::new(brokers, &format!("{kind}-{name}"), 3)) }
    }

    /// The job that reads and writes them.
    fn program(&self, folder: &Path, brokers: &str, delivery: &str, sets: &[String]) -> Program {
        let delivery = SINKS.map(|name| format!("sink.{name}_topic.delivery={delivery}"));
        let sets: Vec<&str> = sets.iter().chain(&delivery).map(String::as_str).collect();
        let names = self.out.each_ref().map(|topic| topic.name.as_str());
        Program::new(folder.to_owned(), brokers, &self.input.name, names, &sets)
    }

    fn read(&self, brokers: &str) -> [Rows; 3] {
        self.out.each_ref().map(|topic| ledger::read(brokers, topic))
    }
}

/// Does it all.
pub fn trial(terms: &Terms<'_>, stage: Stage, disturb: fn(&mut Scene<'_>, usize) -> Option<Running>) -> Outcome {
    let brokers = stage.brokers.as_str();
    let input = Arc::new(Topic::new(brokers, "chaos-in", PARTITIONS));
    let topics = Topics::new(brokers, "chaos", input.clone());
    let messages = Input::new(terms.seed, minutes_ago(20));

    let program = topics.program(&terms.folder.join("chaos"), &stage.job_brokers, terms.delivery, terms.sets);
    let (tail, random) = (Tail::start(brokers, &topics.out[2]), Random::new(terms.seed).split(2));
    let mut scene = Scene::new(&stage, random, program, tail, terms.may_give_up);
    let begun = Instant::now();
    let feed = Feed::start(messages.clone(), brokers, input.clone(), terms.rate);
    let running = disturb(&mut scene, terms.kills);
    let total = feed.finish();
    let expected = messages.expected(total);
    let due = expected.values().map(|ids| ids.len() as u64).sum();
    scene.work_off(due, running);
    let seconds = begun.elapsed().as_secs_f64();
    let sent: i64 = input.ends().iter().sum();
    assert_eq!(sent, total as i64 + i64::from(PARTITIONS), "the input is not what the harness means to have sent");

    let (rows, letters) = (topics.read(brokers), ledger::letters(&scene.program.letters()));
    let calm = Topics::new(brokers, "calm", input);
    let calm_letters = undisturbed(terms, &stage, &calm, due, &mut scene.told);
    let calm_rows = calm.read(brokers);
    let counts = ledger::check_counts(&rows[2], &expected);
    // What is lost or doubled among the counts is known; this is for all else that a row says.
    let same = ledger::compare("counts", &rows[2], &calm_rows[2]);
    let mut found = if counts.is_clean() { Findings { rows: counts.rows, ..same } } else { counts };
    found.add(ledger::compare("windows", &rows[0], &calm_rows[0]));
    found.add(ledger::compare("scores", &rows[1], &calm_rows[1]));
    found.add(ledger::compare("dead letters", &letters, &calm_letters));
    let starts = scene.program.starts();
    Outcome { told: scene.told, starts, messages: total, found, seconds }
}

/// Runs the same job over the same input with nobody in its way, and without what is on trial: no checkpoint comes up,
/// nothing is delivered by transactions. Gives its dead letters.
fn undisturbed(terms: &Terms<'_>, stage: &Stage, topics: &Topics, due: u64, told: &mut Told) -> Rows {
    let brokers = stage.brokers.as_str();
    let never = ["checkpoint.every=1d".to_owned()];
    let program = topics.program(&terms.folder.join("calm"), brokers, "at_least_once", &never);
    let tail = Tail::start(brokers, &topics.out[2]);
    let mut scene = Scene::new(stage, Random::new(0), program, tail, false);
    let running = scene.start(2);
    scene.work_off(due, Some(running));
    told.faults.extend(scene.told.faults);
    ledger::letters(&scene.program.letters())
}
