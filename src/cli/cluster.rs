//! `eagre cluster`: runs a job in several processes on this machine, and sees to it that all of them are well.
//!
//! When one dies, the others end by themselves (a graph that has lost a part of itself cannot go on) and all begin
//! again together, after a while that doubles each time. What the processes say on standard error comes through with
//! their numbers before it; standard output is passed through as it is.

use super::args::ClusterArguments;
use super::{FAILED, WRONG, plan, wrong};
use crate::engine::wall;
use crate::job::Plan;
use crate::registry::Registry;
use crate::source::Resource;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the others may take to end when one has.
const GRACE: Duration = Duration::from_secs(10);
/// A run of that length was well: what comes after it is no further attempt of the same row.
const WELL: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);

/// Runs a job in several processes to its end, or until it is stopped.
pub fn cluster(arguments: &ClusterArguments, registry: &Registry) -> ExitCode {
    let plan = match plan(&arguments.job, registry) {
        Ok(plan) => plan,
        Err(what) => return wrong(&what),
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let cluster = match Cluster::new(arguments, &plan, asked.clone()) {
        Ok(cluster) => cluster,
        Err(what) => return wrong(&what),
    };
    let ask = move || {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            say!("\nstopping: what was read is worked off (Ctrl-C again ends at once)");
        }
    };
    if let Err(error) = ctrlc::set_handler(ask) {
        return wrong(&format!("error: signals cannot be heard: {error}"));
    }
    cluster.run(arguments.restarts)
}

/// The processes of a job and what they are started with.
struct Cluster {
    program: std::path::PathBuf,
    arguments: Vec<OsString>,
    processes: usize,
    /// How often a person has asked to stop.
    asked: Arc<AtomicUsize>,
}

/// How a run of all processes ended.
struct Ended {
    /// How each of them ended.
    statuses: Vec<Option<ExitStatus>>,
    /// How long it took.
    took: Duration,
}

impl Cluster {
    fn new(arguments: &ClusterArguments, plan: &Plan, asked: Arc<AtomicUsize>) -> Result<Cluster, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("error: the program cannot be found: {error}"))?;
        for source in &plan.sources {
            if source.source.reads().contains(&Resource::StandardInput) {
                return Err(format!(
                    "error: source `{}` reads standard input, which several processes do not have\n  \
                    help: let it read files or a topic, or take `eagre run`",
                    source.name
                ));
            }
        }
        let processes = usize::from(arguments.processes);
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers = arguments.workers.map(usize::from).or(plan.workers).unwrap_or((cores / processes).max(1));
        let mut all: Vec<OsString> = vec!["run".into(), arguments.job.job.clone().into()];
        all.extend(arguments.job.set.iter().flat_map(|set| ["--set".into(), set.into()]));
        all.extend(["--supervised", "--live", "never", "--workers", &workers.to_string()].map(OsString::from));
        all.extend(arguments.metrics.iter().flat_map(|file| ["--metrics".into(), file.into()]));
        all.extend(["--processes".into(), processes.to_string().into()]);
        Ok(Cluster { program, arguments: all, processes, asked })
    }

    /// Runs all processes, again and again where they die.
    fn run(&self, restarts: u32) -> ExitCode {
        let mut row = 0;
        loop {
            let ended = match self.run_once() {
                Ok(ended) => ended,
                Err(error) => {
                    say!("error: a process cannot be started: {error}");
                    return ExitCode::from(FAILED);
                }
            };
            if let Some(code) = self.verdict(&ended) {
                return code;
            }
            row = if ended.took >= WELL { 1 } else { row + 1 };
            if row > restarts {
                say!("error: given up after {restarts} restarts in a row");
                return ExitCode::from(FAILED);
            }
            let wait = LAST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(row - 1));
            say!("all processes begin again in {} s (restart {row} of {restarts})", wait.as_secs_f64());
            let until = wall::now() + wait;
            while wall::now() < until {
                if self.asked.load(Ordering::SeqCst) > 0 {
                    return ExitCode::from(FAILED);
                }
                sleep(LOOK_EVERY);
            }
        }
    }

    /// What is to be said to the world; none where all are to begin again.
    fn verdict(&self, ended: &Ended) -> Option<ExitCode> {
        let codes: Vec<Option<i32>> = ended.statuses.iter().map(|status| status.and_then(|s| s.code())).collect();
        match self.asked.load(Ordering::SeqCst) {
            // The leader comes to an end when all have worked off what there was, and not before.
            0 | 1 if codes[0] == Some(0) => Some(ExitCode::SUCCESS),
            0 if codes.contains(&Some(WRONG.into())) => Some(ExitCode::from(WRONG)),
            0 => None,
            1 => Some(ExitCode::from(FAILED)),
            _ => Some(ExitCode::from(130)),
        }
    }

    /// Starts all processes and waits until all have ended.
    fn run_once(&self) -> std::io::Result<Ended> {
        let begun = wall::now();
        let statuses = vec![None; self.processes];
        let mut running = Running { children: Vec::new(), passing: Vec::new(), statuses, until: None };
        let hosts = free_hosts(self.processes)?;
        for process in 0..self.processes {
            let (child, passing) = self.start(process, &hosts)?;
            running.children.push(child);
            running.passing.push(Some(passing));
        }
        while running.look() {
            match self.asked.load(Ordering::SeqCst) {
                0 => {}
                // A process whose standard input has ended stops.
                1 => running.children.iter_mut().for_each(|child| drop(child.stdin.take())),
                _ => running.kill(),
            }
            sleep(LOOK_EVERY);
        }
        Ok(Ended { statuses: std::mem::take(&mut running.statuses), took: begun.elapsed() })
    }

    /// Starts a process, and a thread that passes on what it says.
    fn start(&self, process: usize, hosts: &str) -> std::io::Result<(Child, JoinHandle<()>)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(["--process", &process.to_string(), "--hosts", hosts]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is heard here and handed on: a process that heard it twice would end at once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        say!("[{process}] is process {}", child.id());
        let said = child.stderr.take().expect("standard error is a pipe");
        let pass = move || {
            let lines = BufReader::new(said).split(b'\n').map_while(Result::ok);
            for line in lines.filter(|line| !line.is_empty()) {
                say!("[{process}] {}", String::from_utf8_lossy(&line));
            }
        };
        Ok((child, Builder::new().name(format!("eagre:said-{process}")).spawn(pass)?))
    }
}

/// Processes that run. They are killed when this is dropped.
struct Running {
    children: Vec<Child>,
    /// Pass on what they say.
    passing: Vec<Option<JoinHandle<()>>>,
    statuses: Vec<Option<ExitStatus>>,
    /// When those that are left are killed.
    until: Option<Instant>,
}

impl Running {
    /// Looks who has ended; says whether any has not.
    fn look(&mut self) -> bool {
        for (process, child) in self.children.iter_mut().enumerate() {
            if self.statuses[process].is_some() {
                continue;
            }
            let Ok(Some(status)) = child.try_wait() else { continue };
            // Its last words come first.
            let _ = self.passing[process].take().map(JoinHandle::join);
            if !status.success() {
                say!("[{process}] ended with {status}");
            }
            self.statuses[process] = Some(status);
            self.until.get_or_insert(wall::now() + GRACE);
        }
        if self.until.is_some_and(|until| wall::now() >= until) {
            self.kill();
        }
        self.statuses.iter().any(Option::is_none)
    }

    fn kill(&mut self) {
        for (child, _) in self.children.iter_mut().zip(&self.statuses).filter(|(_, status)| status.is_none()) {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Free ports of this machine, as `--hosts` has them.
fn free_hosts(count: usize) -> std::io::Result<String> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let hosts = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    Ok(hosts.collect::<std::io::Result<Vec<String>>>()?.join(","))
}
