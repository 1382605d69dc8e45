//! `eagre publish` against a broker that is killed, while it is killed itself.

use super::cluster::{OwnBroker, Topic, real, say};
use crate::broker;
use crate::program::{Folder, Running, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::process::{ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

/// A process that publishes numbered lines.
struct Publishing {
    running: Running,
    input: ChildStdin,
    /// The numbers that were written to it.
    written: Range<u64>,
}

impl Publishing {
    fn start(folder: &Folder, broker: &OwnBroker, topic: &Topic, next: u64) -> Publishing {
        let (brokers, format) = (broker.brokers(), ["--format", "json", "--wait", "2m", "--key", "sensor"]);
        let arguments = [&["publish", &topic.name, "--brokers", &brokers], &format[..]].concat();
        let mut running = folder.start(&arguments, Stdio::piped(), Stdio::null());
        let input = running.0.stdin.take().unwrap();
        Publishing { running, input, written: next..next }
    }

    /// Writes lines, about 20,000 in a second.
    fn write(&mut self, lines: u64) {
        for _ in 0..lines / 100 {
            self.burst(100);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes lines as fast as they are taken.
    fn burst(&mut self, lines: u64) {
        let line = |id| format!("{{\"id\":{id},\"sensor\":\"s{}\",\"note\":\"{}\"}}\n", id % 50, "x".repeat(60));
        let text: String = (self.written.end..self.written.end + lines).map(line).collect();
        self.input.write_all(text.as_bytes()).unwrap();
        self.written.end += lines;
    }

    /// Kills it; gives the numbers of the lines that it had said were safe.
    fn kill(mut self, folder: &Folder) -> Range<u64> {
        self.running.0.kill().unwrap();
        self.running.0.wait().unwrap();
        self.written.start..self.written.start + told(folder, "status", "safe")
    }
}

fn told(folder: &Folder, kind: &str, field: &str) -> u64 {
    let said = folder.said();
    let mut objects = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.rfind(|object| object["kind"] == kind).map_or(0, |object| object[field].as_u64().unwrap())
}

#[test]
fn lines_outlive_their_broker_and_their_process() {
    if real("lines_outlive_their_broker").is_none() {
        return;
    }
    let (broker, folder) = (OwnBroker::start("kafka-publish"), Folder::new(&[]));
    let topic = Topic::new(&broker.brokers(), "published", 1);
    let mut safe = Vec::new();
    // Killed while it sends, when the broker has gone, and when it has never been there.
    let mut first = Publishing::start(&folder, &broker, &topic, 0);
    first.write(20_000);
    wait("the first lines", || told(&folder, "status", "sent") > 1_000, || folder.said());
    first.burst(200_000);
    let mut next = first.written.end;
    safe.push(first.kill(&folder));
    for away in [false, true] {
        let mut process = Publishing::start(&folder, &broker, &topic, next);
        process.write(10_000);
        if !away {
            wait("new lines", || told(&folder, "status", "sent") > 1_000, || folder.said());
            broker.command("kill");
        }
        process.write(10_000);
        wait("the spool", || told(&folder, "status", "safe") == 20_000, || folder.said());
        next = process.written.end;
        safe.push(process.kill(&folder));
    }
    let mut last = Publishing::start(&folder, &broker, &topic, next);
    last.write(1_000);
    broker.command("start");
    last.write(1_000);
    safe.push(last.written.clone());
    drop(last.input);
    let ended = last.running.wait(&folder);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    check(&broker, &topic, &safe);
}

/// All that was safe is there; each number came first in its turn.
fn check(broker: &OwnBroker, topic: &Topic, safe: &[Range<u64>]) {
    let lines = broker::lines_in_order(&broker.brokers(), &topic.name);
    let (mut seen, mut newest) = (BTreeSet::new(), None);
    for line in &lines {
        let object: Value = serde_json::from_str(line.splitn(3, ' ').nth(2).unwrap()).unwrap();
        let id = object["id"].as_u64().unwrap();
        if seen.insert(id) {
            assert!(newest < Some(id), "{id} came behind {newest:?}");
            newest = Some(id);
        }
    }
    let missing: Vec<u64> = safe.iter().cloned().flatten().filter(|id| !seen.contains(id)).collect();
    assert!(missing.is_empty(), "{} of {safe:?} are missing, first {:?}", missing.len(), missing.first());
    say(&format!(
        "published {} lines, {} of them twice; said to be safe: {safe:?}",
        seen.len(),
        lines.len() - seen.len()
    ));
}
