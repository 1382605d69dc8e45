//! `eagre publish`: lines reach their topic, each once and in order, through brokers that are away and processes that
//! are killed; what cannot be sent is kept, and what cannot be kept is told.

use crate::broker;
use crate::program::{Ended, Folder, Running, wait};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, String) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("readings", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    (cluster, brokers)
}

/// A folder with that many numbered lines.
fn folder(lines: usize) -> Folder {
    let text: String = (0..lines).map(|i| line(i) + "\n").collect();
    Folder::new(&[("lines", text.as_bytes())])
}

/// About 100 bytes.
fn line(i: usize) -> String {
    format!("{{\"id\":{i},\"sensor\":\"s{}\",\"note\":\"{}\"}}", i % 7, "x".repeat(60))
}

fn start(folder: &Folder, brokers: &str, more: &str) -> Running {
    let input = File::open(folder.path("lines")).unwrap();
    start_with(folder, brokers, more, Stdio::from(input))
}

fn start_with(folder: &Folder, brokers: &str, more: &str, input: Stdio) -> Running {
    let mut arguments = vec!["publish", "readings", "--brokers", brokers];
    arguments.extend(more.split_whitespace());
    folder.start(&arguments, input, Stdio::null())
}

fn publish(folder: &Folder, brokers: &str, more: &str) -> Ended {
    start(folder, brokers, more).wait(folder)
}

/// The ids of what is in the topic, in order.
fn ids(brokers: &str) -> Vec<usize> {
    let id = |line: String| {
        let object: Value = serde_json::from_str(line.splitn(3, ' ').nth(2).unwrap()).unwrap();
        object["id"].as_u64().unwrap() as usize
    };
    broker::lines_in_order(brokers, "readings").into_iter().map(id).collect()
}

fn upto(end: usize) -> Vec<usize> {
    (0..end).collect()
}

/// The bytes that the spool has on disk, but for the lock.
fn spooled(folder: &Folder) -> u64 {
    let files = std::fs::read_dir(folder.path("eagre-data/spool/readings")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// The last object of a kind that was told, or null.
fn told(folder: &Folder, kind: &str) -> Value {
    let said = folder.said();
    let mut objects = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.rfind(|object| object["kind"] == kind).unwrap_or_default()
}

#[test]
fn lines_arrive_with_their_keys_and_nothing_is_left() {
    let brokers = broker::start();
    broker::create(&brokers, "readings", 1);
    let text = "{\"sensor\":\"a\",\"v\":1}\r\n\n{\"v\":2}\n{\"sensor\":3.5}\nno json\n{\"sensor\":{\"x\":1}}";
    let cluster = format!("brokers = '{brokers}'\nproperties = {{ 'client.id' = 'lines' }}");
    let folder = Folder::new(&[("lines", text.as_bytes()), ("cluster.toml", cluster.as_bytes())]);
    let input = Stdio::from(File::open(folder.path("lines")).unwrap());
    let arguments = ["publish", "readings", "--cluster", "cluster.toml", "--key", "sensor"];
    let ended = folder.start(&arguments, input, Stdio::null()).wait(&folder);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for part in ["readings: 5 lines taken, 5 sent in ", " 1 empty and passed over\n", " 2 sent without a key\n"] {
        assert!(ended.said.contains(part), "{}", ended.said);
    }
    let expected = [
        "0 a {\"sensor\":\"a\",\"v\":1}",
        "0 - {\"v\":2}",
        "0 3.5 {\"sensor\":3.5}",
        "0 - no json",
        "0 {\"x\":1} {\"sensor\":{\"x\":1}}",
    ];
    assert_eq!(broker::lines_in_order(&brokers, "readings"), expected);
    assert!(spooled(&folder) < 256, "{} bytes are left", spooled(&folder));
}

#[test]
fn what_a_killed_process_had_taken_is_sent_by_the_next_one_first() {
    let (cluster, brokers) = cluster();
    cluster.broker_down(1).unwrap();
    let folder = folder(2_000);
    let mut killed = start(&folder, &brokers, "--format json");
    wait("the lines", || told(&folder, "status")["taken"] == 2_000, || folder.said());
    assert!(told(&folder, "status")["trouble"].as_str().is_some_and(|trouble| trouble.contains("is away since")));
    killed.0.kill().unwrap();
    drop(killed);
    // Another one does not reach the broker either, and gives up.
    std::fs::write(folder.path("lines"), (2_000..2_010).map(|i| line(i) + "\n").collect::<String>()).unwrap();
    let ended = publish(&folder, &brokers, "--wait 300ms");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let left = "error: 2\u{202f}010 records could not be sent yet and are safe in eagre-data/spool/readings";
    assert!(ended.said.contains("2\u{202f}000 records of a former run are sent first\n"), "{}", ended.said);
    assert!(ended.said.contains("readings: 10 lines taken, 0 sent") && ended.said.contains(left), "{}", ended.said);
    cluster.broker_up(1).unwrap();
    let ended = publish(&folder, &brokers, "--drain");
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(ids(&brokers), upto(2_010));
    assert!(spooled(&folder) < 256, "{} bytes are left", spooled(&folder));
}

#[test]
fn a_broker_may_go_and_come_back_and_lines_go_on_to_be_taken() {
    let (cluster, brokers) = cluster();
    let folder = folder(0);
    let mut running = start_with(&folder, &brokers, "--format json", Stdio::piped());
    let mut input = running.0.stdin.take().unwrap();
    let mut send = |ids: std::ops::Range<usize>| {
        input.write_all(ids.map(|i| line(i) + "\n").collect::<String>().as_bytes()).unwrap();
    };
    let has = |what: &str, number: usize| {
        wait(&format!("{number} {what}"), || told(&folder, "status")[what] == number, || folder.said());
    };
    send(0..100);
    has("sent", 100);
    cluster.broker_down(1).unwrap();
    send(100..3_000);
    has("taken", 3_000);
    has("safe", 3_000);
    assert!(told(&folder, "status")["spooled"].as_u64() > Some(0), "{}", folder.said());
    cluster.broker_up(1).unwrap();
    has("sent", 3_000);
    send(3_000..3_001);
    drop(input);
    let ended = running.wait(&folder);
    assert_eq!((ended.code, &told(&folder, "summary")["sent"]), (Some(0), &Value::from(3_001)), "{}", ended.said);
    assert_eq!(ids(&brokers), upto(3_001));
}

#[test]
fn a_full_spool_says_how_much_was_taken() {
    let (cluster, brokers) = cluster();
    cluster.broker_down(1).unwrap();
    let folder = folder(5_000);
    let ended = publish(&folder, &brokers, "--spool-max 64KiB --line-max 8KiB --format json");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let (summary, error) = (told(&folder, "summary"), told(&folder, "error"));
    let number = |name: &str| summary[name].as_u64().unwrap() as usize;
    let taken = number("taken");
    assert!((400..600).contains(&taken) && number("safe") == taken && number("spooled") == taken, "{summary}");
    assert_eq!((number("not_taken"), &summary["not_taken_is_all"]), (5_000 - taken, &Value::Bool(true)));
    let error = error["error"].as_str().unwrap();
    let full = "the spool is full: 65.5 kB of 65.5 kB in eagre-data/spool/readings; broker ";
    assert!(error.starts_with("the spool is full: 6") && error.contains(" of 65.5 kB in "), "{error} {full}");
    cluster.broker_up(1).unwrap();
    assert_eq!(publish(&folder, &brokers, "--drain").code, Some(0));
    assert_eq!(ids(&brokers), upto(taken));
    // A broker that takes what comes makes room all the time.
    let ended = publish(&folder, &brokers, "--spool-max 64KiB --line-max 8KiB");
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(ids(&brokers)[taken..], upto(5_000));
}

#[test]
fn a_signal_stops_reading_and_leaves_the_rest_in_the_spool() {
    let (cluster, brokers) = cluster();
    cluster.broker_down(1).unwrap();
    let folder = folder(0);
    let mut running = start_with(&folder, &brokers, "", Stdio::piped());
    let mut input = running.0.stdin.take().unwrap();
    input.write_all((line(0) + "\n" + &line(1) + "\nnot whole").as_bytes()).unwrap();
    folder.hears("readings: broker ");
    wait("the lines", || spooled(&folder) > 200, || folder.said());
    running.interrupt();
    let ended = running.wait(&folder);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("stopping: no more is read"), "{}", ended.said);
    assert!(ended.said.contains("error: 2 records could not be sent yet and are safe in "), "{}", ended.said);
    cluster.broker_up(1).unwrap();
    assert_eq!(publish(&folder, &brokers, "--drain").code, Some(0));
    assert_eq!(ids(&brokers), upto(2));
}

#[test]
fn what_is_wrong_is_told() {
    let (_cluster, brokers) = cluster();
    let check = |arguments: &[&str], code: i32, said: &[&str]| {
        let folder = folder(3);
        let input = Stdio::from(File::open(folder.path("lines")).unwrap());
        let ended = folder.start(&[&["publish"], arguments].concat(), input, Stdio::null()).wait(&folder);
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        said.iter().for_each(|part| assert!(ended.said.contains(part), "{part}: {}", ended.said));
    };
    check(
        &["o t", "--brokers", "a b"],
        2,
        &["error: topic: `o t` is no name of a topic", "error: brokers: `a b` is no broker"],
    );
    check(&["out", "--spool-max", "1MB"], 2, &["error: --spool-max must be at least four times --line-max"]);
    check(&["out", "--spool-max", "much"], 2, &["`much` is not a size"]);
    check(&["out", "--cluster", "none.toml"], 2, &["error: none.toml cannot be read: "]);
    let missing = [
        "error: there is no topic `reading`",
        "help: did you mean `readings`?",
        "3 in eagre-data/spool/reading, not sent",
    ];
    check(&["reading", "--brokers", &brokers], 1, &missing);
    let long = ["error: line 1 is longer than 16 B", "3 not taken"];
    check(&["readings", "--brokers", &brokers, "--line-max", "16B"], 1, &long);
}
