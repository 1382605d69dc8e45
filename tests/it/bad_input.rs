//! Whatever is wrong is told with its place and what would be right, and everything else gets through.

use crate::broker;
use crate::program::{Ended, Folder, parquet_lines, wait};
use rdkafka::mocking::MockCluster;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn ended(code: i32, said: &str) -> Ended {
    Ended { code: Some(code), said: said.into() }
}

const FIVE_FAULTS: &str = r#"name = "five"

[source.readings]
kind = "file"
path = "reedings.jsonl"
fields = { ts = "time(ms)", sensor = "text", value = "float" }
event_time = "ts"

[step.valid]
kind = "filtre"
input = "readings"
where = "value > 0"

[step.high]
kind = "filter"
input = "readings"
where = "valeu > 3"

[step.minutes]
kind = "aggregate"
input = "readings"
key = "sensro"
window = "1m"
aggregates = { n = "count()" }

[sink.out]
kind = "stdout"
input = "minuts"
"#;

const FIVE_PLACES: &str = r#"error: no file `reedings.jsonl` in FOLDER
 --> five.toml:5:8
  |
5 | path = "reedings.jsonl"
  |        ^^^^^^^^^^^^^^^^
  |
  = help: did you mean `readings.jsonl`?

error: there is no step of kind `filtre`
  --> five.toml:10:8
   |
10 | kind = "filtre"
   |        ^^^^^^^^
   |
   = help: did you mean `filter`?

error: no field `valeu` in `valeu > 3`
  --> five.toml:17:10
   |
17 | where = "valeu > 3"
   |          ^^^^^
   |
   = help: did you mean `value`?

error: no field `sensro` in `sensro`
  --> five.toml:22:7
   |
22 | key = "sensro"
   |       ^^^^^^^^
   |
   = help: did you mean `sensor`?

error: there is no source or step `minuts`
  --> five.toml:28:9
   |
28 | input = "minuts"
   |         ^^^^^^^^
   |
   = help: did you mean `minutes`?

5 faults in five.toml
"#;

#[test]
fn a_job_with_five_faults_shows_five_places() {
    let folder = Folder::new(&[("five.toml", FIVE_FAULTS.as_bytes()), ("readings.jsonl", b"")]);
    for command in ["run", "check", "graph"] {
        assert_eq!(folder.run(&[command, "five.toml"]), ended(2, FIVE_PLACES), "{command}");
    }
}

#[test]
fn a_job_that_is_not_there_and_settings_that_are_not_known() {
    let folder = Folder::new(&[("job.toml", POISONED.as_bytes()), ("in.jsonl", b"")]);
    let missing = "error: nowhere.toml cannot be read: No such file or directory (os error 2)\n  \
        help: jobs that ship with eagre are in dataflows/; `eagre demo` needs no file\n";
    assert_eq!(folder.run(&["run", "nowhere.toml"]), ended(2, missing));
    let unknown = "error: no source is called `reading`\n--> --set source.reading.path\n = help: did you mean `readings`?\n\n\
        error: a part of kind `file` has no setting `paths`\n--> --set source.readings.paths\n = help: did you mean `path`?\n\n\
        2 faults in job.toml\n";
    let sets = ["--set", "source.readings.paths=x", "--set", "source.reading.path=x"];
    assert_eq!(folder.run(&[&["run", "job.toml"], &sets[..]].concat()), ended(2, unknown));
}

/// Counts and sums by sensor of everything that gets through, and what does not.
const POISONED: &str = r#"
    name = "poisoned"
    [source.readings]
    kind = "file"
    path = "in.jsonl"
    fields = { ts = "time(ms)", sensor = "text", value = "float", note = "text" }
    event_time = "ts"
    [step.totals]
    kind = "aggregate"
    input = "readings"
    key = "sensor"
    window = "global"
    aggregates = { n = "count()", sum = "sum(value)", notes = "distinct(note)" }
    [sink.through]
    kind = "file"
    input = "totals"
    path = "through.jsonl"
    [sink.refused]
    kind = "file"
    input = "readings.rejected"
    path = "refused.jsonl"
"#;

/// Records with everything that can be wrong with one, and why each is rejected; no reason where it gets through.
fn poisons() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let good = |sensor: &str| (text(&format!("{{\"ts\":1767225600000,\"sensor\":{sensor},\"value\":1}}")), None);
    let bad = |line: &str, reason| (text(line), Some(reason));
    let deep = |field: &str| {
        let nested = "[".repeat(10_000) + &"]".repeat(10_000);
        text(&format!("{{\"ts\":1767225600000,\"sensor\":\"deep\",\"value\":1,\"{field}\":{nested}}}"))
    };
    let long = "x".repeat(20_000_000);
    vec![
        good("\"a\""),
        bad("hello", "not JSON: expected value, column 1"),
        good("\"b\""),
        (
            b"{\"ts\":1767225600000,\"sensor\":\"\xff\xfe\"}".to_vec(),
            Some("not UTF-8: found byte 0xff, column 31; wanted text in UTF-8"),
        ),
        good("\"a\""),
        (text(&format!("{{\"ts\":1767225600000,\"sensor\":\"long\",\"note\":\"{long}\",\"value\":1}}")), None),
        good("\"a\""),
        bad(
            "{\"ts\":1767225600000,\"sensor\":\"a\",\"value\":NaN}",
            "not JSON: found NaN or Infinity, wanted a number or null, column 42",
        ),
        good("null"),
        (text("{\"ts\":1767225600000,\"value\":1}"), None),
        bad(
            "{\"ts\":1767225600000,\"sensor\":7,\"value\":1}",
            "field `sensor`: found number 7, wanted text, column 30",
        ),
        bad(
            "{\"ts\":1767225600000,\"sensor\":\"a\",\"sensor\":\"b\"}",
            "field `sensor` comes twice, wanted once, column 45",
        ),
        (deep("other"), None),
        (deep("note"), Some("field `note`: found an array, wanted text, column 54")),
        bad(
            "{\"ts\":253402300799000,\"sensor\":\"a\",\"value\":1}",
            "its time 9999-12-31T23:59:59Z is more than max_ahead = \"1d\" after the clock, which shows ",
        ),
        good("\"b\""),
    ]
}

/// What got through: a null key is a key of its own, and a field that is not there is null.
const THROUGH: [(&str, u64); 5] = [("\"a\"", 3), ("\"b\"", 2), ("\"deep\"", 1), ("\"long\"", 1), ("null", 2)];

fn check_through(folder: &Folder, expected: &[(&str, u64)]) {
    let objects = folder.objects("through.jsonl");
    let mut found: Vec<(String, u64, f64)> = objects
        .iter()
        .map(|row| (row["sensor"].to_string(), row["n"].as_u64().unwrap(), row["sum"].as_f64().unwrap()))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected: Vec<(String, u64, f64)> = expected.iter().map(|(key, n)| (key.to_string(), *n, *n as f64)).collect();
    assert_eq!(found, expected);
}

/// Places and reasons, without the clock's time.
fn check_refused(folder: &Folder, expected: &[(String, &str)]) {
    let objects = folder.objects("refused.jsonl");
    let mut found: Vec<(&str, &str)> =
        objects.iter().map(|row| (row["place"].as_str().unwrap(), row["reason"].as_str().unwrap())).collect();
    for (_, reason) in &mut found {
        *reason = reason.find("which shows ").map_or(*reason, |at| &reason[..at + "which shows ".len()]);
    }
    let expected: Vec<(&str, &str)> = expected.iter().map(|(place, reason)| (place.as_str(), *reason)).collect();
    assert_eq!(found, expected);
}

#[test]
fn poisoned_lines_are_rejected_and_all_others_get_through() {
    let (mut file, mut refused, mut long_at) = (Vec::new(), Vec::new(), 0);
    for (line, reason) in poisons() {
        refused.extend(reason.map(|reason| (format!("readings:in.jsonl@{}", file.len()), reason)));
        long_at = if line.len() > 1_000_000 { file.len() } else { long_at };
        file.extend_from_slice(&line);
        file.push(b'\n');
    }
    let folder = Folder::new(&[("job.toml", POISONED.as_bytes()), ("in.jsonl", &file)]);
    assert_eq!(folder.run(&["run", "job.toml"]).code, Some(0));
    check_through(&folder, &THROUGH);
    check_refused(&folder, &refused);

    let short = folder.run(&["run", "job.toml", "--set", "source.readings.line_bytes_max=1000000"]);
    assert_eq!(short.code, Some(0));
    check_through(&folder, &THROUGH.into_iter().filter(|(sensor, _)| *sensor != "\"long\"").collect::<Vec<_>>());
    let reason = "a record longer than 1000000 bytes, wanted a line break before (line_bytes_max)";
    refused.insert(2, (format!("readings:in.jsonl@{long_at}"), reason));
    check_refused(&folder, &refused);
}

#[test]
fn poisoned_messages_are_rejected_and_all_others_get_through() {
    let brokers = broker::start();
    broker::create(&brokers, "readings", 1);
    let mut poisons: Vec<(Option<Vec<u8>>, Option<&str>)> =
        poisons().into_iter().map(|(payload, reason)| (Some(payload), reason)).collect();
    poisons.insert(3, (None, Some("no payload, wanted a JSON object")));
    poisons.insert(3, (Some(Vec::new()), Some("not JSON: EOF while parsing a value, column 1")));
    let messages: Vec<broker::Sent> = poisons.iter().map(|(payload, _)| (0, payload.clone())).collect();
    broker::produce(&brokers, "readings", &messages);
    let reasons = poisons.iter().enumerate().filter_map(|(i, (_, reason))| Some((i, (*reason)?)));
    let refused: Vec<(String, &str)> =
        reasons.map(|(offset, reason)| (format!("readings[0]@{offset}"), reason)).collect();
    let folder = Folder::new(&[("job.toml", from_kafka(POISONED, &brokers).as_bytes())]);
    assert_eq!(folder.run(&["run", "job.toml"]).code, Some(0));
    check_through(&folder, &THROUGH);
    check_refused(&folder, &refused);
}

fn from_kafka(job: &str, brokers: &str) -> String {
    let source = format!("kind = 'kafka'\nbrokers = '{brokers}'\ntopic = 'readings'\nuntil = 'now'");
    job.replace("kind = \"file\"\n    path = \"in.jsonl\"", &source)
}

#[test]
fn a_sink_whose_brokers_are_all_away_is_open_and_nothing_piles_up() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    let job = format!(
        "name = 'away'\n[source.readings]\nkind = 'generator'\nrate = '20000/s'\n[sink.out]\nkind = 'kafka'\n\
         input = 'readings'\nbrokers = '{}'\ntopic = 'out'\n",
        cluster.bootstrap_servers()
    );
    let folder = Folder::new(&[("job.toml", job.as_bytes())]);
    let running = folder.start(&["run", "job.toml", "--format", "json"], Stdio::null(), Stdio::null());
    let last = || -> Value {
        let said = folder.said();
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        whole.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
    };
    let sink = |status: &Value, state: &str| status["sinks"][0]["health"]["state"] == state;
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let works = |status: &Value| sink(status, "healthy") && status["sinks"][0]["records"].as_u64() > Some(20_000);
    wait("the first records", || works(&last()), || folder.said());
    cluster.broker_down(1).unwrap();
    wait("trouble", || sink(&last(), "degraded"), || folder.said());
    let before = (memory(), last()["sources"][0]["records"].as_u64().unwrap());
    wait("an open sink", || sink(&last(), "open"), || folder.said());
    let (open, after) = (last(), memory());
    let (reason, since) = (open["sinks"][0]["trouble"].to_string(), &open["sinks"][0]["health"]["since"]);
    assert!(reason.contains("is away since") && since.is_string(), "{open}");
    let read = open["sources"][0]["records"].as_u64().unwrap() - before.1;
    assert!(read < 20_000, "{read} records were read in the ten seconds or more in which none could be written");
    assert!(after < before.0 + 20_000, "it takes {after} kB and took {} kB", before.0);
    cluster.broker_up(1).unwrap();
    wait("the brokers' return", || sink(&last(), "healthy"), || folder.said());
    running.interrupt();
    assert_eq!(running.wait(&folder).code, Some(0));
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_the_nearest() {
    let brokers = broker::start();
    broker::create(&brokers, "reading", 1);
    let folder = Folder::new(&[("job.toml", from_kafka(POISONED, &brokers).as_bytes())]);
    let missing = "error: source `readings`: there is no topic `readings`\n  help: did you mean `reading`?\n";
    assert_eq!(folder.run(&["run", "job.toml"]), ended(1, missing));
}

const STRAIGHT: &str = r#"
    name = "straight"
    [source.readings]
    kind = "file"
    path = "in.jsonl"
    fields = { ts = "time(ms)", sensor = "text", value = "float" }
    event_time = "ts"
    [sink.out]
    kind = "file"
    input = "readings"
    path = "out.jsonl"
"#;

fn line(i: i64) -> String {
    format!("{{\"ts\":{},\"sensor\":\"s\",\"value\":{i}}}", 1_767_225_600_000 + i * 1_000)
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_that_is_said() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("readings", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let send = |i: i64| broker::produce(&brokers, "readings", &[(0, Some(line(i).into_bytes()))]);
    send(0);
    cluster.broker_down(1).unwrap();
    let job = from_kafka(STRAIGHT, &brokers).replace("until = 'now'", "idle_after = '1s'");
    let folder = Folder::new(&[("job.toml", job.as_bytes())]);
    let running = folder.start(&["run", "job.toml"], Stdio::null(), Stdio::null());
    folder.hears("source `readings`: broker ");
    folder.hears("is away since");
    let count = || folder.said().matches("is away since").count();
    let at_start = count();
    cluster.broker_up(1).unwrap();
    let has = |count: usize| wait("the records", || folder.lines("out.jsonl").len() == count, || folder.said());
    has(1);
    // If it ran before the client knew that the broker is back, that is said too.
    let well = || folder.said().ends_with("source `readings`: well again\n");
    std::thread::sleep(Duration::from_secs(1));
    wait("the broker's return", || well() || count() == at_start, || folder.said());
    let before = count();
    cluster.broker_down(1).unwrap();
    wait("trouble", || count() > before && !well(), || folder.said());
    cluster.broker_up(1).unwrap();
    wait("the broker's second return", well, || folder.said());
    send(1);
    has(2);
    running.interrupt();
    assert_eq!(running.wait(&folder).code, Some(0));
}

#[test]
fn a_sink_says_that_its_broker_is_away_and_goes_on_when_it_is_back() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    cluster.broker_down(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let folder = Folder::new(&[("job.toml", STRAIGHT.as_bytes()), ("in.jsonl", line(7).as_bytes())]);
    let sink = format!("sink.out={{ kind = 'kafka', input = 'readings', brokers = '{brokers}', topic = 'out' }}");
    let running = folder.start(&["run", "job.toml", "--set", &sink], Stdio::null(), Stdio::null());
    folder.hears("sink `out`: degraded since ");
    folder.hears("is away since");
    cluster.broker_up(1).unwrap();
    assert_eq!(running.wait(&folder).code, Some(0));
    let lines = broker::lines(&brokers, "out");
    assert!(lines.len() == 1 && lines[0].contains("\"value\":7"), "{lines:?}");
}

#[test]
fn a_full_disk_is_told_with_the_file_and_what_helps() {
    let input = (0..3).map(|i| line(i) + "\n").collect::<String>();
    let folder = Folder::new(&[("job.toml", STRAIGHT.as_bytes()), ("in.jsonl", input.as_bytes())]);
    let set = ["--set", "sink.out.path=/dev/full", "--set", "sink.out.format=json"];
    let full = "error: sink `out`: cannot write to /dev/full: No space left on device (os error 28); 0 of N rows had \
        been written\n  help: the disk is full: make room or choose another `path`, then run the job again; \
        `compression` makes files smaller\n";
    let failed = folder.run(&[&["run", "job.toml"], &set[..]].concat());
    // The last row comes when the input has ended, behind the others or with them.
    let said = failed.said.replace("0 of 2 rows", "0 of N rows").replace("0 of 3 rows", "0 of N rows");
    assert_eq!((failed.code, &*said), (Some(1), full));
    let nowhere = folder.run(&["run", "job.toml", "--set", "sink.out.path=/dev/null/out.jsonl"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.said.starts_with("error: sink `out`: cannot open /dev/null/out.jsonl for writing"), "{nowhere:?}");
}

const PARQUET: &str = r#"
    name = "parquet"
    [source.made]
    kind = "generator"
    sensors = 3
    count = 3000
    [step.timed]
    kind = "select"
    input = "made"
    keep = ["sensor", "value"]
    derive = { at = "event_time" }
    [sink.out]
    kind = "file"
    input = "timed"
    path = "b-whole.parquet"
"#;

const FROM_PARQUET: &str = r#"
    name = "from_parquet"
    [source.readings]
    kind = "file"
    path = "*.parquet"
    event_time = "at"
    [sink.through]
    kind = "file"
    input = "readings"
    path = "through.jsonl"
    [sink.refused]
    kind = "file"
    input = "readings.rejected"
    path = "refused.jsonl"
"#;

#[test]
fn half_a_parquet_file_is_told_and_the_whole_one_beside_it_is_read() {
    let folder = Folder::new(&[("make.toml", PARQUET.as_bytes()), ("job.toml", FROM_PARQUET.as_bytes())]);
    assert_eq!(folder.run(&["run", "make.toml"]).code, Some(0));
    let whole = folder.path("b-whole.parquet");
    assert_eq!(parquet_lines(&whole).len(), 3_000);
    let bytes = fs::read(&whole).unwrap();
    fs::write(folder.path("a-half.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let ran = folder.run(&["run", "job.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(folder.lines("through.jsonl").len(), 3_000);
    let refused: Vec<Value> = folder.objects("refused.jsonl");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["place"], "readings:a-half.parquet@0");
    assert!(refused[0]["reason"].as_str().unwrap().starts_with("a-half.parquet: "), "{refused:?}");
    let alone = folder.run(&["run", "job.toml", "--set", "source.readings.path=a-half.parquet"]);
    assert_eq!(alone.code, Some(2), "{alone:?}");
    assert!(alone.said.starts_with("error: a-half.parquet: "), "{alone:?}");
}

#[test]
fn standard_input_is_read_to_its_end() {
    let folder = Folder::new(&[("job.toml", STRAIGHT.as_bytes())]);
    let set = ["--set", "source.readings.path=-", "--set", "source.readings.format=json"];
    let mut running = folder.start(&[&["run", "job.toml"], &set[..]].concat(), Stdio::piped(), Stdio::null());
    let mut input = running.0.stdin.take().unwrap();
    input.write_all(format!("{}\nnonsense\n{}", line(0), line(1)).as_bytes()).unwrap();
    drop(input);
    assert_eq!(running.wait(&folder).code, Some(0));
    let out =
        "{\"event_time\":\"2026-01-01T00:00:00Z\",\"sensor\":\"s\",\"ts\":\"2026-01-01T00:00:00Z\",\"value\":0.0}";
    let next = out.replace("00Z", "01Z").replace("0.0", "1.0");
    assert_eq!(folder.lines("out.jsonl"), [out, next.as_str()]);
    assert!(folder.said().contains("1 record that no sink takes"), "{}", folder.said());
}

#[test]
fn what_one_job_has_written_another_reads() {
    let own = ["--set", "source.readings.event_time=event_time"];
    for ending in ["jsonl", "csv", "parquet"] {
        let path = format!("made.{ending}");
        let make = PARQUET.replace("b-whole.parquet", &path);
        let mut read = FROM_PARQUET.replace("*.parquet", &path);
        if ending != "parquet" {
            read = read.replace("kind = \"file\"\n    path = \"made", FIELDS_THEN_PATH);
        }
        let folder = Folder::new(&[("make.toml", make.as_bytes()), ("job.toml", read.as_bytes())]);
        assert_eq!(folder.run(&["run", "make.toml"]).code, Some(0));
        let ran = folder.run(&[&["run", "job.toml"], &own[..]].concat());
        assert_eq!((ran.code, folder.lines("refused.jsonl")), (Some(0), vec![]), "{ending}: {ran:?}");
        let through = folder.objects("through.jsonl");
        assert_eq!(through.len(), 3_000, "{ending}");
        assert!(through.iter().all(|row| row["event_time"] == row["at"] && row.as_object().unwrap().len() == 4));
        assert!(folder.lines("through.jsonl").iter().all(|line| line.matches("event_time").count() == 1), "{ending}");
    }
    let folder = Folder::new(&[("job.toml", STRAIGHT.replace("value =", "origin =").as_bytes()), ("in.jsonl", b"")]);
    let ran = folder.run(&["check", "job.toml"]);
    assert!(ran.said.starts_with("error: `origin` is a name of Eagre's own\n --> job.toml:6:"), "{ran:?}");
}

const FIELDS_THEN_PATH: &str = "fields = { event_time = 'time', at = 'time', sensor = 'text', value = 'float' }
    kind = \"file\"\n    path = \"made";

/// Goes on until it is stopped, and speaks on standard output.
const ENDLESS: &str = r#"
    name = "endless"
    [source.readings]
    kind = "generator"
    sensors = 4
    rate = "RATE"
    max_ahead = "never"
    [sink.out]
    kind = "stdout"
    input = "readings"
"#;

#[test]
fn a_reader_that_goes_away_ends_the_job_quietly() {
    let folder = Folder::new(&[("job.toml", ENDLESS.replace("RATE", "2000/s").as_bytes())]);
    let mut running = folder.start(&["run", "job.toml"], Stdio::null(), Stdio::piped());
    let mut first = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"event_time\":\"2026-01-01T00:00:0"), "{first}");
    assert_eq!(running.wait(&folder), ended(0, ""));
}

#[test]
fn ctrl_c_ends_a_job_cleanly_and_twice_at_once() {
    let folder = Folder::new(&[("job.toml", ENDLESS.replace("RATE", "2000/s").as_bytes())]);
    let output = fs::File::create(folder.path("out")).unwrap();
    let running = folder.start(&["run", "job.toml", "--workers", "2"], Stdio::null(), output.into());
    wait("a record", || !folder.lines("out").is_empty(), || folder.said());
    let begun = Instant::now();
    running.interrupt();
    let stopped = running.wait(&folder);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let summary: Vec<&str> = stopped.said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(summary[0], "stopping: what was read is worked off (Ctrl-C again ends at once)");
    assert!(summary[1].starts_with("endless: ") && summary[1].contains(" on 2 workers "), "{stopped:?}");
    let written = folder.lines("out").len().to_string();
    let counted: Vec<&str> = summary[3].split_whitespace().collect();
    assert_eq!(counted[..3], ["out", &written, "written"], "{stopped:?}");

    // Nobody reads, so what was read cannot be worked off.
    fs::write(folder.path("job.toml"), ENDLESS.replace("RATE", "max")).unwrap();
    let running = folder.start(&["run", "job.toml"], Stdio::null(), Stdio::piped());
    std::thread::sleep(Duration::from_millis(500));
    running.interrupt();
    folder.hears("stopping: ");
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    running.interrupt();
    let stopped = running.wait(&folder);
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    assert!(!stopped.said.contains("records in"), "{stopped:?}");
}

/// Reads what lies in a folder, and writes two files and a topic.
const OWN_INPUT: &str = r#"
    name = "own"
    [source.files]
    kind = "file"
    path = ["in.jsonl", "more/*.jsonl"]
    fields = { ts = "time(ms)" }
    event_time = "ts"
    [source.topic]
    kind = "kafka"
    brokers = ["a:9092", "b:9092"]
    topics = ["numbers", "letters"]
    fields = { ts = "time(ms)" }
    [step.all]
    kind = "union"
    input = ["files", "topic"]
    [sink.one]
    kind = "file"
    input = "all"
    path = "one.jsonl"
    [sink.two]
    kind = "file"
    input = "all"
    path = "two.jsonl"
    [sink.out]
    kind = "kafka"
    input = "all"
    brokers = "b:9092"
    topic = "results"
"#;

#[cfg(unix)]
#[test]
fn a_job_does_not_write_what_it_reads_or_writes_elsewhere_by_whatever_name() {
    let folder = Folder::new(&[("job.toml", OWN_INPUT.as_bytes()), ("in.jsonl", b""), ("one.jsonl", b"")]);
    fs::create_dir(folder.path("more")).unwrap();
    fs::write(folder.path("more/a-00003.jsonl"), "").unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.path(name)).unwrap();
    ["in.jsonl", "more", "not-there.jsonl"].iter().zip(["link", "there", "nowhere"]).for_each(|(to, at)| link(to, at));
    fs::hard_link(folder.path("in.jsonl"), folder.path("hard.jsonl")).unwrap();
    fs::hard_link(folder.path("more/a-00003.jsonl"), folder.path("harder.jsonl")).unwrap();
    let check = |said: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        let checked = folder.run(&[&["check", "job.toml"], &sets[..]].concat());
        let well = said.is_empty() && checked.code == Some(0);
        assert!(well || (checked.code == Some(2) && checked.said.contains(said)), "{said}: {sets:?}: {checked:?}");
    };
    let absolute = |name: &str| folder.path(name).display().to_string();
    check("", &[]);
    let (read, format) = ("is read by source `files`", "sink.two.format=json");
    for path in [&absolute("in.jsonl"), "./in.jsonl", "new/../more/.././in.jsonl", "link", "hard.jsonl"] {
        check(read, &[&format!("sink.two.path={path}"), format]);
    }
    for path in [&absolute("more/new.jsonl"), "there/{name}.jsonl", "harder.jsonl"] {
        check(read, &[&format!("sink.two.path={path}")]);
    }
    check(read, &["sink.two.path=there/a.jsonl", "sink.two.roll_size=1MB"]);
    check(
        read,
        &["sink.two.path=there/a-{part}.jsonl", "sink.two.roll_size=1MB", "source.files.path=more/a-00003.jsonl"],
    );
    check("", &["sink.two.path=more/deeper/new.jsonl"]);
    let twice = "is written by sink `one` too";
    check(twice, &[&format!("sink.two.path={}", absolute("one.jsonl"))]);
    check(twice, &["sink.one.path=nowhere", "sink.one.format=json", "sink.two.path=not-there.jsonl"]);
    check("where the job keeps", &["sink.two.path=eagre-data/own/dead-letters/files.rejected.jsonl"]);
    check("where the job keeps", &["data_dir=there/..", "sink.two.path=own/dead-letters/x.jsonl"]);
    check("the job keeps what no sink takes", &["source.files.path=./eagre-data/own/*/files.*.jsonl"]);
    check("", &["source.files.path=eagre-data/other/dead-letters/*.jsonl"]);
    check("topic `letters` is read by source `topic`", &["sink.out.topic=letters"]);
    check("", &["sink.out.topic=letters", "sink.out.brokers=c:9092"]);
}

#[test]
fn nobody_reads_standard_output_or_it_is_full() {
    let folder = Folder::new(&[]);
    let demo = ["demo", "--records", "2000"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(folder.start(&demo, Stdio::null(), writer.into()).wait(&folder), ended(0, ""));
    #[cfg(target_os = "linux")]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = "error: standard output: No space left on device (os error 28)\n";
        assert_eq!(folder.start(&demo, Stdio::null(), full.into()).wait(&folder), ended(1, said));
    }
}

#[test]
fn a_program_is_told_objects_only() {
    let job = ENDLESS.replace("RATE", "1000/s");
    let folder = Folder::new(&[("job.toml", job.as_bytes()), ("five.toml", FIVE_FAULTS.as_bytes())]);
    let running = folder.start(&["run", "job.toml", "--format", "json", "--doctor"], Stdio::null(), Stdio::null());
    folder.hears("\"status\"");
    running.interrupt();
    assert_eq!(running.wait(&folder).code, Some(0));
    let told = folder.objects("stderr");
    let kinds: Vec<&str> = told.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds.len(), told.len());
    assert_eq!((kinds[0], &kinds[kinds.len() - 2..]), ("status", &["stopping", "summary"][..]), "{kinds:?}");
    let summary = &told[told.len() - 1];
    assert_eq!(summary["stopped"], Value::Bool(true));
    let watermark = summary["partitions"][0]["watermark"].as_str().unwrap();
    assert!(watermark.contains('T') && watermark.ends_with('Z'), "{watermark}");
    assert_eq!(folder.run(&["run", "five.toml", "--format", "json"]).code, Some(2));
    let told = folder.objects("stderr");
    assert_eq!((told.len(), &told[0]["kind"]), (1, &Value::from("error")));
    assert!(told[0]["error"].as_str().unwrap().contains("there is no step of kind `filtre`"));
}

#[test]
fn an_input_that_cannot_be_read_at_all_is_named() {
    let folder = Folder::new(&[("job.toml", POISONED.as_bytes()), ("in.jsonl.gz", b"no gzip")]);
    let done = folder.run(&["run", "job.toml", "--set", "source.readings.path=in.jsonl.gz"]);
    let lines: Vec<String> =
        done.said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for told in ["readings 1 read, 1 rejected", "nothing of `readings` could be read: all it gave was rejected"] {
        assert!(lines.iter().any(|line| line == told), "{told}: {done:?}");
    }
}
