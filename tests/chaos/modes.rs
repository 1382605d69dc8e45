//! What can be done to a job that runs, and what it must come out of.

use crate::program::{Running, send};
use crate::scene::Scene;
use crate::trial::Stage;
use clap::ValueEnum;
use std::time::Duration;

/// A way to disturb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// `kill -9` of the job, then a start with other workers.
    Kill,
    /// `kill -9` of one of three processes of the job; the others have to notice.
    Processes,
    /// `kill -9` of one of the processes that `eagre cluster` looks after.
    Cluster,
    /// `kill -9` of the broker, which comes back.
    Broker,
    /// Connections between job and broker are cut, torn, half closed, delayed and held.
    Proxy,
    /// The job is held, another takes its place, and the first goes on as if nothing had been.
    Zombie,
}

impl Mode {
    /// The broker that it needs.
    pub fn stage(self) -> Stage {
        // Trials of several modes may go on at the same time.
        let name = format!("kafka-chaos-{self:?}").to_lowercase();
        match self {
            Mode::Proxy => Stage::behind_a_proxy(&name),
            _ => Stage::own(&name),
        }
    }

    /// Whether the job may end by itself: when the broker is away for long, or a transaction is beyond rescue.
    pub fn may_give_up(self) -> bool {
        matches!(self, Mode::Broker | Mode::Proxy)
    }

    /// Disturbs a job that many times; gives what then still runs.
    pub fn disturb(self) -> fn(&mut Scene<'_>, usize) -> Option<Running> {
        match self {
            Mode::Kill => kill,
            Mode::Processes => processes,
            Mode::Cluster => cluster,
            Mode::Broker => broker,
            Mode::Proxy => proxy,
            Mode::Zombie => zombie,
        }
    }
}

/// One in four is killed while it starts, of the others every second one when a checkpoint has just been made. Now and
/// then it is stopped as Ctrl-C does.
fn kill(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    while scene.told.kills < kills && !scene.is_hopeless() {
        let workers = scene.workers();
        let mut running = scene.start(workers);
        until_a_bad_moment(scene, &mut running);
        if scene.gave_up(&mut running) {
            continue;
        }
        if scene.once_in(10) {
            // Ctrl-C is heard when it has begun.
            scene.lives_to_first(&mut running);
            scene.stop(running);
            continue;
        }
        running.kill(0);
        scene.told.kills += 1;
    }
    None
}

fn until_a_bad_moment(scene: &mut Scene<'_>, running: &mut Running) {
    if scene.once_in(4) {
        let time = scene.between(0, 1_500);
        scene.lives(running, time);
        return;
    }
    scene.lives_to_first(running);
    let time = scene.between(0, 1_500);
    scene.lives(running, time);
    if scene.once_in(2) {
        scene.aim(running);
    }
}

fn processes(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    while scene.told.kills < kills && !scene.is_hopeless() {
        // The number of processes changes too, now and then.
        let count = if scene.once_in(8) { 2 } else { 3 };
        let workers = 1 + scene.random.pick(2);
        scene.begins();
        let mut running = scene.program.start(count, workers);
        until_a_bad_moment(scene, &mut running);
        if scene.gave_up(&mut running) {
            continue;
        }
        running.kill(scene.random.pick(count as u64) as usize);
        scene.told.kills += 1;
        if let Err(what) = running.wait() {
            scene.fault(format!("a process goes on without the one that was killed: {what}"));
        }
    }
    None
}

fn cluster(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    let workers = 1 + scene.random.pick(2);
    scene.begins();
    let mut running = scene.program.start_cluster(3, workers);
    while scene.told.kills < kills && !scene.is_hopeless() {
        until_a_bad_moment(scene, &mut running);
        if scene.gave_up(&mut running) {
            let workers = 1 + scene.random.pick(2);
            scene.begins();
            running = scene.program.start_cluster(3, workers);
            continue;
        }
        let processes = running.grandchildren();
        // Between two rounds there may be none.
        if !processes.is_empty() {
            send("KILL", processes[scene.random.pick(processes.len() as u64) as usize]);
            scene.told.kills += 1;
            scene.begins();
            running.begun = std::time::Instant::now();
        }
    }
    Some(running)
}

/// Now and then the job is killed as well, while the broker is away.
fn broker(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    let broker = scene.stage.broker.as_ref().expect("a broker of its own");
    let workers = scene.workers();
    let mut running = scene.start(workers);
    while scene.told.kills < kills && !scene.is_hopeless() {
        until_a_bad_moment(scene, &mut running);
        broker.command("kill");
        scene.told.kills += 1;
        let away = scene.between(0, 4_000);
        scene.lives(&mut running, away);
        if scene.once_in(4) {
            running.kill(0);
            let workers = scene.workers();
            running = scene.start(workers);
        } else {
            scene.begins();
            running.begun = std::time::Instant::now();
        }
        broker.command("start");
        if scene.gave_up(&mut running) {
            let workers = scene.workers();
            running = scene.start(workers);
        }
    }
    Some(running)
}

fn proxy(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    let proxy = scene.stage.proxy.as_ref().expect("a proxy");
    let workers = scene.workers();
    let mut running = scene.start(workers);
    while scene.told.kills < kills && !scene.is_hopeless() {
        until_a_bad_moment(scene, &mut running);
        match scene.random.pick(6) {
            0 => proxy.cut(),
            1 => proxy.tear(),
            2 => proxy.half_close(true),
            3 => proxy.half_close(false),
            4 => proxy.delay(scene.between(10, 400)),
            _ => proxy.hold(),
        }
        scene.told.kills += 1;
        let lasts = scene.between(100, 6_000);
        scene.lives(&mut running, lasts);
        proxy.heal();
        if scene.gave_up(&mut running) {
            let workers = scene.workers();
            running = scene.start(workers);
        } else {
            scene.begins();
            running.begun = std::time::Instant::now();
        }
    }
    Some(running)
}

/// How long a transaction may be open: `transaction.timeout.ms` of the sinks is set to this.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Every second one is held for longer than a transaction may be open, and than the broker takes to notice (10 s).
fn zombie(scene: &mut Scene<'_>, kills: usize) -> Option<Running> {
    let workers = scene.workers();
    let mut running = scene.start(workers);
    while scene.told.kills < kills && !scene.is_hopeless() {
        until_a_bad_moment(scene, &mut running);
        running.signal("STOP");
        let workers = scene.workers();
        let held = std::mem::replace(&mut running, scene.start(workers));
        scene.lives_to_first(&mut running);
        let time = match scene.once_in(2) {
            true => TRANSACTION_TIMEOUT + Duration::from_secs(11),
            false => scene.between(0, 3_000),
        };
        scene.lives(&mut running, time);
        held.signal("CONT");
        scene.told.kills += 1;
        match held.wait() {
            Ok(codes) if codes.iter().all(|code| code.success()) => scene.fault("a zombie ends as if well".into()),
            Ok(_) => {}
            Err(what) => scene.fault(format!("a zombie lives: {what}")),
        }
        if scene.gave_up(&mut running) {
            let workers = scene.workers();
            running = scene.start(workers);
        }
    }
    Some(running)
}
