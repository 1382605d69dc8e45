//! Checkpoints in a real object store: a job that is killed again and again goes on from there and tells the same, and
//! of two runs the newer one fences off the other.
//!
//! `EAGRE_S3` names a place (`s3://bucket/prefix`) and the usual `AWS_` variables say where it is; docs/survival.md has
//! the steps. Without it, and in a program that is built without `s3`, they say that they are skipped.

use crate::program::{Folder, Running, wait};
use std::fs::File;
use std::io::Write;
use std::process::{self, Command, Stdio};
use std::time::SystemTime;
use std::{env, io};

const RECORDS: usize = 30_000;

const JOB: &str = "
name = 'objects'
[checkpoint]
dir = 'PLACE'
every = '100ms'
[source.readings]
kind = 'generator'
sensors = 20
partitions = 3
count = 30000
rate = '6000/s'
[step.minutes]
kind = 'aggregate'
input = 'readings'
key = 'sensor'
window = '1m'
aggregates = { count = 'count()', mean = 'mean(value)' }
[sink.out]
kind = 'file'
input = 'minutes'
path = 'NAME.jsonl'
[sink.all]
kind = 'file'
input = 'readings'
path = 'NAME-all.jsonl'
";

/// A place of the object store that no other test has; none where there is no store, or the program knows none.
fn place(test: &str) -> Option<String> {
    let place = env::var("EAGRE_S3").ok().filter(|address| !address.is_empty()).map(|address| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        format!("{address}/{test}-{now:x}-{:x}", process::id())
    });
    let knows = |place: &String| !folder(place).run(&["check", "job.toml"]).said.contains("was built without `s3://`");
    let reason = match &place {
        None => "EAGRE_S3 names no place in an object store",
        Some(place) if !knows(place) => "the program is built without `--features s3`",
        Some(_) => return place,
    };
    // Past the test harness, which keeps to itself what a passing test prints.
    io::stderr().write_all(format!("skipped: objects::{test}: {reason}\n").as_bytes()).unwrap();
    None
}

/// Starts the program with what the environment says of the object store.
fn start(folder: &Folder, job: &str, workers: usize, said: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
    command.args(["run", job, "--workers", &workers.to_string()]).current_dir(folder.path(""));
    // Others that begin with EAGRE_ would be settings of the job.
    command.env_clear().envs(env::vars().filter(|(name, _)| name.starts_with("AWS_")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path(said)).unwrap());
    Running(command.spawn().unwrap())
}

fn folder(place: &str) -> Folder {
    let job = |name: &str| JOB.replace("NAME", name).replace("PLACE", place).into_bytes();
    Folder::new(&[("job.toml", &job("kept")), ("other.toml", &job("other"))])
}

/// Waits for the end of a program; whether all was well, and what it said.
fn end(mut running: Running, folder: &Folder, said: &str) -> (bool, String) {
    let mut status = None;
    let text = || folder.lines(said).join("\n");
    wait(
        "the end",
        || {
            status = running.0.try_wait().unwrap();
            status.is_some()
        },
        text,
    );
    (status.unwrap().success(), text())
}

#[test]
fn a_job_that_is_killed_goes_on_from_an_object_store() {
    let Some(place) = place("killed") else { return };
    let (folder, straight) = (folder(&place), folder(&format!("{place}-straight")));
    let mut written = 0;
    for workers in [2, 1, 3] {
        let running = start(&folder, "job.toml", workers, "said");
        let enough = written + RECORDS / 5;
        let rows = || folder.lines("kept-all.jsonl").len();
        wait("rows", || rows() >= enough, || format!("{} rows: {:?}", rows(), folder.lines("said")));
        written = rows();
        // It is killed with what it has under way.
        drop(running);
    }
    let (well, said) = end(start(&folder, "job.toml", 2, "said"), &folder, "said");
    assert!(well && said.contains("goes on from checkpoint"), "{said}");
    let (well, said) = end(start(&straight, "job.toml", 1, "said"), &straight, "said");
    assert!(well, "{said}");
    assert_eq!(folder.lines("kept-all.jsonl").len(), RECORDS);
    for file in ["kept.jsonl", "kept-all.jsonl"] {
        let [kept, straight] = [&folder, &straight].map(|folder| {
            let mut lines = folder.lines(file);
            lines.sort_unstable();
            lines
        });
        assert!(kept == straight, "{file} differs from that of an undisturbed run");
    }
}

/// Starts a job twice: the first ends, and says why; the second goes on to its end.
fn check_fence(place: &str) {
    let folder = folder(place);
    let older = start(&folder, "job.toml", 1, "older");
    wait("rows", || folder.lines("kept-all.jsonl").len() > RECORDS / 10, || folder.lines("older").join("\n"));
    let newer = start(&folder, "other.toml", 1, "newer");
    let (well, said) = end(older, &folder, "older");
    assert!(!well && said.contains("another run of the job has taken over"), "{said}");
    let (well, said) = end(newer, &folder, "newer");
    assert!(well, "{said}");
}

#[test]
fn the_newer_of_two_runs_fences_off_the_other_in_an_object_store() {
    place("fenced").iter().for_each(|place| check_fence(place));
}

#[test]
fn the_newer_of_two_runs_fences_off_the_other_in_a_folder() {
    check_fence("kept");
}
