//! The program under test: this very binary, which is then an `eagre` with one operator more (`examples/gapless.rs`).
//! It runs as one process or several, and is killed, stopped and held like any other.

use crate::cluster::free_ports;
use std::env;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// With this variable the binary is the program and not the harness. No job has a setting of that name.
pub const AS_PROGRAM: &str = "EAGRE_TEST_CHAOS_PROGRAM";

/// How long a process may take to end once it has to.
const END_WITHIN: Duration = Duration::from_secs(60);

const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/job.toml");

/// A job with its topics and folder; it can be started again and again.
pub struct Program {
    folder: PathBuf,
    sets: Vec<String>,
    starts: usize,
}

impl Program {
    /// The job from one topic of these brokers to three others, with what else is set. All it writes lies in a folder.
    pub fn new(folder: PathBuf, brokers: &str, input: &str, out: [&str; 3], sets: &[&str]) -> Program {
        fs::create_dir_all(&folder).unwrap();
        let mut all = vec![
            format!("data_dir={}", folder.join("data").display()),
            format!("source.readings.brokers={brokers}"),
            format!("source.readings.topic={input}"),
        ];
        for (name, topic) in ["windows", "scores", "counts"].iter().zip(out) {
            all.push(format!("sink.{name}_topic.brokers={brokers}"));
            all.push(format!("sink.{name}_topic.topic={topic}"));
        }
        all.extend(sets.iter().map(|set| (*set).to_owned()));
        Program { folder, sets: all, starts: 0 }
    }

    /// Starts it, as that many processes with so many workers each.
    pub fn start(&mut self, processes: usize, workers: u64) -> Running {
        let ports = if processes > 1 { free_ports(27_000, processes as u16) } else { 0 };
        let hosts: Vec<String> = (0..processes as u16).map(|n| format!("127.0.0.1:{}", ports + n)).collect();
        let (hosts, count) = (hosts.join(","), processes.to_string());
        let place = |n: usize| match processes {
            1 => Vec::new(),
            _ => ["--processes", &count, "--process", &n.to_string(), "--hosts", &hosts].map(str::to_owned).to_vec(),
        };
        self.begin((0..processes).map(|n| ("run", place(n))), workers)
    }

    /// Starts it under the supervision of `eagre cluster`.
    pub fn start_cluster(&mut self, processes: usize, workers: u64) -> Running {
        let count = ["--processes", &processes.to_string(), "--restarts", "1000000"].map(str::to_owned).to_vec();
        self.begin([("cluster", count)].into_iter(), workers)
    }

    fn begin(&mut self, each: impl Iterator<Item = (&'static str, Vec<String>)>, workers: u64) -> Running {
        self.starts += 1;
        let log = self.folder.join(format!("log-{:04}", self.starts));
        let errors = File::create(&log).unwrap();
        let spawn = |(word, more): (&str, Vec<String>)| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args([word, JOB, "--workers", &workers.to_string()]).args(more);
            command.args(self.sets.iter().flat_map(|set| ["--set", set]));
            command.env_clear().env(AS_PROGRAM, "yes").current_dir(&self.folder);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.try_clone().unwrap());
            command.spawn().unwrap()
        };
        Running { children: each.map(spawn).collect(), log, begun: Instant::now(), ended: false }
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// The number of the newest checkpoint, as the name of its manifest.
    pub fn newest_checkpoint(&self) -> Option<String> {
        let names = fs::read_dir(self.folder.join("data/chaos/checkpoints")).ok()?;
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".manifest.json")).max()
    }

    /// Where its dead letters are.
    pub fn letters(&self) -> PathBuf {
        self.folder.join("data/chaos/dead-letters")
    }
}

/// A program that runs. It is killed when nobody wants it any more.
pub struct Running {
    children: Vec<Child>,
    log: PathBuf,
    /// Since when.
    pub begun: Instant,
    ended: bool,
}

impl Running {
    /// Ends one process as `kill -9` does.
    pub fn kill(&mut self, process: usize) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.children[process].kill();
        let _ = self.children[process].wait();
    }

    /// Sends all processes a signal, by its name.
    pub fn signal(&self, name: &str) {
        self.children.iter().for_each(|child| send(name, child.id()));
    }

    /// The processes that the first one has started, as `eagre cluster` does.
    pub fn grandchildren(&self) -> Vec<u32> {
        let id = self.children[0].id();
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    /// Whether any process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.ended |= self.children.iter_mut().any(|child| child.try_wait().unwrap().is_some());
        self.ended
    }

    /// Waits until all processes have ended; their codes. One that does not is an error, and is killed.
    pub fn wait(mut self) -> Result<Vec<ExitStatus>, String> {
        let begun = Instant::now();
        loop {
            let codes: Vec<Option<ExitStatus>> =
                self.children.iter_mut().map(|child| child.try_wait().unwrap()).collect();
            if codes.iter().all(Option::is_some) {
                return Ok(codes.into_iter().flatten().collect());
            }
            if begun.elapsed() > END_WITHIN {
                return Err(format!("{:?} after {END_WITHIN:?}: {}", codes, self.said()));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it as Ctrl-C does; it has to end well.
    pub fn stop(self) -> Result<(), String> {
        self.signal("INT");
        let (log, codes) = (self.log.clone(), self.wait()?);
        // Who has not come to listen for it yet is ended by it, as by any other kill.
        let is_well = |code: &ExitStatus| code.success() || code.signal() == Some(INTERRUPT);
        match codes.iter().all(is_well) {
            true => Ok(()),
            false => Err(format!("{codes:?}: {}", said(&log))),
        }
    }

    /// The last that it said.
    pub fn said(&self) -> String {
        said(&self.log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.grandchildren().into_iter().for_each(|id| send("KILL", id));
        (0..self.children.len()).for_each(|process| self.kill(process));
    }
}

/// The number of SIGINT.
const INTERRUPT: i32 = 2;

/// Sends a process a signal, by its name. One that has ended hears nothing.
pub fn send(signal: &str, process: u32) {
    let arguments = [format!("-{signal}"), process.to_string()];
    Command::new("kill").args(arguments).stderr(Stdio::null()).status().unwrap();
}

fn said(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n    {}", log.display(), lines[lines.len().saturating_sub(6)..].join("\n    "))
}
