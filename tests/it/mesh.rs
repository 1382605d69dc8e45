//! Several processes that run one job: the same bytes as one worker gives, and clear words when they do not fit, do not
//! come, or go.

use crate::program::{Folder, Running, wait};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Windows, scores and what comes late, of three partitions.
const JOB: &str = "
name = 'meshed'
[source.in]
kind = 'file'
path = 'in-*.jsonl'
fields = { ts = 'time(ms)', key = 'text', value = 'float' }
event_time = 'ts'
max_delay = '2s'
[step.w]
kind = 'aggregate'
input = 'in'
key = 'key'
window = { size = '10s', slide = '5s' }
allowed_lateness = '10s'
early = '5s'
aggregates = { n = 'count()', sum = 'sum(value)', sd = 'stddev(value)', p90 = 'p90(value)' }
[step.z]
kind = 'zscore'
input = 'in'
key = 'key'
field = 'value'
window = 8
warmup = 3
emit = 'all'
[step.by_key]
kind = 'aggregate'
input = 'z'
key = 'key'
window = '1m'
aggregates = { sum = 'sum(z)', sd = 'stddev(value)' }
[sink.windows]
kind = 'file'
input = 'w'
path = 'windows.jsonl'
[sink.scores]
kind = 'file'
input = 'z'
path = 'scores.jsonl'
[sink.sums]
kind = 'file'
input = 'by_key'
path = 'sums.jsonl'
[sink.late]
kind = 'file'
input = ['w.late', 'z.late']
path = 'late.jsonl'
";

/// What the job writes.
const OUTPUTS: [&str; 4] = ["windows.jsonl", "scores.jsonl", "sums.jsonl", "late.jsonl"];

/// A partition of the log: sums of thirds and sevenths depend on their order, and some records come late.
fn partition(number: i64, records: i64) -> String {
    let mut text = String::new();
    for i in 0..records {
        let late = if i % 17 == 3 { 4_000 + 900 * (i % 7) } else { (i % 5) * 300 };
        let (ts, key) = (1_767_225_600_000 + i * 40 - late, (i * 7 + number) % 11);
        let value = ((i * 31 + number * 17) % 101) as f64 / [10.0, 3.0, 7.0][(i % 3) as usize];
        writeln!(text, "{{\"ts\":{ts},\"key\":\"k{key}\",\"value\":{value}}}").unwrap();
    }
    text
}

/// A folder with the job, changed as `change` says, and its input.
fn folder(change: &[(&str, &str)]) -> Folder {
    let job = change.iter().fold(JOB.to_owned(), |job, (from, to)| job.replace(from, to));
    let inputs =
        [900, 1_400, 300].into_iter().zip(0..).map(|(records, n)| (format!("in-{n}.jsonl"), partition(n, records)));
    let inputs: Vec<(String, String)> = inputs.chain([("job.toml".to_owned(), job)]).collect();
    Folder::new(&inputs.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect::<Vec<_>>())
}

/// Hosts on free ports of this machine.
fn hosts(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

/// A process of several; what it says is in a file of its own.
struct Process {
    running: Running,
    said: String,
}

impl Process {
    fn start(folder: &Folder, number: usize, hosts: &[String], more: &[&str], output: Stdio) -> Process {
        let said = format!("stderr-{number}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
        command.args(["run", "job.toml", "--process", &number.to_string(), "--hosts", &hosts.join(",")]).args(more);
        command.current_dir(folder.path(".")).env_clear().stdin(Stdio::null()).stdout(output);
        command.stderr(fs::File::create(folder.path(&said)).unwrap());
        Process { running: Running(command.spawn().unwrap()), said }
    }

    /// Waits for the end; gives the exit code and what was said.
    fn wait(mut self, folder: &Folder) -> (Option<i32>, String) {
        let said = || fs::read_to_string(folder.path(&self.said)).unwrap();
        let mut status = None;
        let ended = || {
            status = self.running.0.try_wait().unwrap();
            status.is_some()
        };
        wait("the end of a process", ended, said);
        (status.and_then(|status| status.code()), said())
    }
}

fn start_all(folder: &Folder, hosts: &[String], more: &[&str]) -> Vec<Process> {
    (0..hosts.len()).map(|n| Process::start(folder, n, hosts, more, Stdio::null())).collect()
}

fn bytes(folder: &Folder) -> Vec<String> {
    OUTPUTS.map(|output| fs::read_to_string(folder.path(output)).unwrap()).to_vec()
}

/// The bytes that one worker writes.
fn expected() -> Vec<String> {
    let folder = folder(&[]);
    assert_eq!(folder.run(&["run", "job.toml", "--workers", "1"]).code, Some(0));
    let bytes = bytes(&folder);
    assert!(bytes.iter().all(|text| text.lines().count() > 20), "every output has something to compare");
    bytes
}

#[test]
fn several_processes_write_the_same_bytes_as_one_worker() {
    let expected = expected();
    let same = |folder: &Folder, what: &str| {
        for ((output, expected), bytes) in OUTPUTS.iter().zip(&expected).zip(bytes(folder)) {
            let differs = expected.lines().zip(bytes.lines()).find(|(a, b)| a != b);
            assert_eq!(differs, None, "{what}: {output}");
            assert_eq!(expected.len(), bytes.len(), "{what}: {output}");
        }
    };
    let one = folder(&[]);
    assert_eq!(one.run(&["run", "job.toml", "--workers", "3"]).code, Some(0));
    same(&one, "3 workers");
    for (processes, workers) in [(3, "1"), (2, "2")] {
        let folder = folder(&[]);
        for process in start_all(&folder, &hosts(processes), &["--workers", workers]) {
            let (code, said) = process.wait(&folder);
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains(&format!("one of {processes}")), "{said}");
        }
        same(&folder, &format!("{processes} processes of {workers}"));
    }
    let cluster = folder(&[]);
    let ended = cluster.run(&["cluster", "job.toml", "--processes", "3", "--workers", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    same(&cluster, "a cluster");
}

#[test]
fn processes_that_do_not_fit_are_refused_by_both() {
    let (folder, hosts) = (folder(&[]), hosts(2));
    let first = Process::start(&folder, 0, &hosts, &["--workers", "1"], Stdio::null());
    let more = ["--workers", "1", "--set", "step.z.warmup=4"];
    let second = Process::start(&folder, 1, &hosts, &more, Stdio::null());
    for (process, other) in [(first, 1), (second, 0)] {
        let (code, said) = process.wait(&folder);
        let at = &hosts[other];
        let start = format!("error: process {other} at {at} does not fit: its fingerprint of the job is ");
        assert!(code == Some(1) && said.starts_with(&start), "{code:?}: {said}");
        assert!(said.contains("the same --set"), "{said}");
    }
}

#[test]
fn who_cannot_be_reached_is_named_and_a_network_is_refused() {
    let (folder, hosts) = (folder(&[]), hosts(2));
    let (code, said) = Process::start(&folder, 1, &hosts, &["--connect-timeout", "300ms"], Stdio::null()).wait(&folder);
    let start = format!("error: process 0 at {} cannot be reached: no connection within 0.3 s (Connection", hosts[0]);
    assert!(code == Some(1) && said.starts_with(&start), "{code:?}: {said}");
    let open = [hosts[0].clone(), "10.9.8.7:7000".into()];
    let (code, said) = Process::start(&folder, 0, &open, &[], Stdio::null()).wait(&folder);
    let start =
        "error: process 1 at 10.9.8.7:7000 would be reached over a network (10.9.8.7)\n  help: between processes";
    assert!(code == Some(2) && said.starts_with(start) && said.contains("--trusted-network"), "{code:?}: {said}");
}

/// The job on files that go on growing: it never ends by itself.
fn endless() -> Folder {
    folder(&[("event_time = 'ts'", "event_time = 'ts'\nfollow = true\nidle_after = '300ms'")])
}

/// Waits until windows are written: all processes are at work.
fn at_work(folder: &Folder) {
    wait("windows", || !folder.lines("windows.jsonl").is_empty(), String::new);
}

#[test]
fn a_process_that_is_killed_ends_the_others_in_words() {
    let (folder, hosts) = (endless(), hosts(3));
    let mut processes = start_all(&folder, &hosts, &["--workers", "1"]);
    at_work(&folder);
    processes[1].running.0.kill().unwrap();
    processes.remove(1);
    for process in processes {
        let (code, said) = process.wait(&folder);
        let start = format!("error: process 1 at {} has gone: ", hosts[1]);
        assert!(code == Some(1) && said.starts_with(&start), "{code:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn ctrl_c_at_one_process_stops_all() {
    let (folder, hosts) = (endless(), hosts(2));
    let processes = start_all(&folder, &hosts, &["--workers", "1"]);
    at_work(&folder);
    processes[1].running.interrupt();
    for process in processes {
        let (code, said) = process.wait(&folder);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("stopped before the end of the input"), "{said}");
    }
}

#[test]
fn a_process_that_fails_tells_the_others_why() {
    let sink = "[sink.windows]\nkind = 'file'\ninput = 'w'\npath = 'windows.jsonl'";
    let folder = folder(&[(sink, "[sink.windows]\nkind = 'stdout'\ninput = 'w'")]);
    let hosts = hosts(2);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let first = Process::start(&folder, 0, &hosts, &["--workers", "1"], full.into());
    let second = Process::start(&folder, 1, &hosts, &["--workers", "1"], Stdio::null());
    let (code, said) = first.wait(&folder);
    assert!(code == Some(1) && said.starts_with("error: sink `windows`: "), "{code:?}: {said}");
    let (code, said) = second.wait(&folder);
    let start = format!("error: process 0 at {} failed: sink `windows`: ", hosts[0]);
    assert!(code == Some(1) && said.starts_with(&start), "{code:?}: {said}");
}

#[test]
fn a_file_that_appears_is_read_by_the_process_that_owns_it() {
    let folder = endless();
    let hosts = hosts(3);
    let processes = start_all(&folder, &hosts, &["--workers", "1"]);
    at_work(&folder);
    let line = |second: i64| format!("{{\"ts\":{},\"key\":\"new\",\"value\":1}}\n", 1_767_225_700_000 + second * 1_000);
    for file in 3..6 {
        fs::write(folder.path(&format!("in-{file}.jsonl")), (0..60).map(line).collect::<String>()).unwrap();
    }
    let seen = || folder.lines("scores.jsonl").iter().filter(|line| line.contains("\"new\"")).count();
    wait("the records of three new files", || seen() >= 3 * 50, || format!("{} of them", seen()));
    processes[0].running.interrupt();
    for process in processes {
        let (code, said) = process.wait(&folder);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// The process ids that a cluster has told, in order.
fn told(folder: &Folder) -> Vec<String> {
    folder.said().lines().filter_map(|line| line.split_once("] is process ").map(|(_, id)| id.to_owned())).collect()
}

#[test]
fn a_cluster_begins_again_when_a_process_dies_and_stops_when_asked() {
    let folder = endless();
    let arguments = ["cluster", "job.toml", "--processes", "3", "--workers", "1"];
    let cluster = folder.start(&arguments, Stdio::null(), Stdio::null());
    at_work(&folder);
    assert!(Command::new("kill").args(["-9", &told(&folder)[1]]).status().unwrap().success());
    folder.hears("all processes begin again in 0.5 s (restart 1 of 5)");
    fs::write(folder.path("windows.jsonl"), "").unwrap();
    let said = folder.said();
    assert!(said.contains("[1] ended with signal: 9") && said.contains("[2] error: process 1 at 127.0.0.1:"), "{said}");
    wait("three further processes", || told(&folder).len() == 6, || folder.said());
    at_work(&folder);
    cluster.interrupt();
    let ended = cluster.wait(&folder);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("stopping: what was read is worked off"), "{}", ended.said);
}

#[test]
fn a_cluster_gives_up_in_the_end_and_knows_a_job_that_is_wrong() {
    let folder = folder(&[("path = 'windows.jsonl'", "path = '/dev/full'\nformat = 'json'")]);
    let ended = folder.run(&["cluster", "job.toml", "--restarts", "1", "--workers", "1"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("error: given up after 1 restarts in a row"), "{}", ended.said);
    let ended = folder.run(&["cluster", "job.toml", "--set", "step.z.kind=zscroe"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(!ended.said.contains("is process"), "nothing was started: {}", ended.said);
}
