//! The engine against a real Apache Kafka: large topics, lag, a broker that restarts, topics that grow or vanish, bad
//! messages, empty partitions, logins, TLS, and the main job through the program.
//!
//! Where `EAGRE_KAFKA` names no broker they say that they are skipped.

mod cluster;
mod publish;

use self::cluster::{OwnBroker, PATIENCE, Sender, Topic, listener, minutes_ago, real, real_with_logins, say};
use crate::program::Folder;
use eagre::engine::{self, Health, Job, Status};
use eagre::fault::Failure;
use eagre::job::{self, Overrides};
use eagre::stats::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn start(text: &str, workers: usize) -> Result<Job, Failure> {
    let plan = job::plan(text, "test.toml", &Overrides::default(), &eagre::standard());
    engine::start(plan.unwrap_or_else(|faults| panic!("{}", faults.render(false))), workers)
}

/// Runs a bounded job to its end.
fn run(text: &str, workers: usize) -> Status {
    start(text, workers).and_then(|mut job| job.wait()).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Waits until a job stands so, and gives how it stands.
#[track_caller]
fn eventually(what: &str, job: &Job, mut so: impl FnMut(&Status) -> bool) -> Status {
    let begun = Instant::now();
    loop {
        let status = job.status();
        if so(&status) {
            return status;
        }
        assert!(!job.is_finished(), "the job ended before this: {what}");
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}: {status:#?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Stops a job; gives how it stood at its end.
fn stop(mut job: Job) -> Status {
    job.stop();
    job.wait().unwrap_or_else(|failure| panic!("{failure}"))
}

/// A source `readings` of these topics, and the rest of the job.
fn job_text(brokers: &str, topics: &[&Topic], folder: &Folder, more: &str) -> String {
    let topics: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    format!(
        "name = 'real'
        data_dir = '{}'
        [source.readings]
        kind = 'kafka'
        brokers = '{brokers}'
        topics = {topics:?}
        fields = {{ ts = 'time(ms)', sensor = 'text', value = 'float', id = 'int' }}
        event_time = 'ts'
        max_delay = '2s'
        {more}",
        folder.path("data").display()
    )
}

/// A reading, about 100 bytes.
fn reading(millis: i64, sensor: &str, value: f64, id: u64) -> Vec<u8> {
    format!("{{\"ts\":{millis},\"sensor\":\"{sensor}\",\"value\":{value},\"id\":{id},\"site\":\"hall-7\",\"unit\":\"celsius\",\"state\":\"ok\"}}")
        .into_bytes()
}

/// The sum of a field of integers.
fn sum(rows: &[Value], field: &str) -> u64 {
    rows.iter().map(|row| row[field].as_u64().unwrap()).sum()
}

/// CPU time of this process in seconds, other tests included.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: Vec<f64> = stat.rsplit_once(')').unwrap().1.split(' ').filter_map(|word| word.parse().ok()).collect();
    // Behind the name come the state, which is no number, and 10 numbers before the two times.
    (ticks[10] + ticks[11]) / 100.0
}

const MILLION: u64 = 1_000_000;

/// A million readings of 50 sensors in random order within two seconds, some far from the others.
fn produce_million(brokers: &str, topics: &[Topic; 2], base: i64) {
    let (sender, mut random) = (Sender::new(brokers), Random::new(7));
    for id in 0..MILLION {
        let sensor = random.pick(50);
        let spike = if random.pick(5_000) == 0 { 40.0 } else { 0.0 };
        let value = (20.0 + sensor as f64 + random.normal() + spike) / 3.0;
        let millis = base + id as i64 - random.pick(2_000) as i64;
        let payload = reading(millis, &format!("s{sensor:02}"), value, id);
        sender.send(&topics[random.pick(2) as usize], random.pick(8) as i32, Some(&payload));
        if id % 1_000 == 0 {
            sender.poll();
        }
    }
    sender.flush();
}

const MILLION_JOB: &str = "
        until = 'now'
        [step.windows]
        kind = 'aggregate'
        input = 'readings'
        key = 'sensor'
        window = '10s'
        aggregates = { n = 'count()', mean = 'mean(value)', sd = 'stddev(value)', p95 = 'p95(value)', last = 'last(id)' }
        [step.scores]
        kind = 'zscore'
        input = 'readings'
        key = 'sensor'
        field = 'value'
        window = 50
        threshold = 6
        [sink.windows_topic]
        kind = 'kafka'
        input = 'windows'
        brokers = 'BROKERS'
        topic = 'WINDOWS'
        key = 'sensor'
        create = { partitions = 4 }
        [sink.scores_topic]
        kind = 'kafka'
        input = 'scores'
        brokers = 'BROKERS'
        topic = 'SCORES'
        create = { partitions = 2 }
        [sink.windows_file]
        kind = 'file'
        input = 'windows'
        path = 'FOLDER/windows.jsonl'
        [sink.scores_file]
        kind = 'file'
        input = 'scores'
        path = 'FOLDER/scores.jsonl'
";

/// What a run over the million writes: windows and scores.
fn run_million(brokers: &str, topics: &[Topic; 2], workers: usize) -> [Vec<String>; 2] {
    let folder = Folder::new(&[]);
    let out = ["windows", "scores"].map(|name| Topic::planned(brokers, name));
    let more = MILLION_JOB
        .replace("BROKERS", brokers)
        .replace("WINDOWS", &out[0].name)
        .replace("SCORES", &out[1].name)
        .replace("FOLDER", &folder.path("").display().to_string());
    let text = job_text(brokers, &[&topics[0], &topics[1]], &folder, &more);
    let (begun, cpu_begun) = (Instant::now(), cpu());
    let status = run(&text, workers);
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu() - cpu_begun);
    say(&format!("a million messages on {workers} workers: {wall:.1} s, {cpu:.1} s of CPU"));
    let (source, total) = &status.sources[0];
    assert_eq!((source.records, source.rejected, source.late, *total), (MILLION, 0, 0, Some(MILLION)));
    assert_eq!(status.partitions.len(), 16);
    assert_eq!(status.steps.iter().map(|step| step.records).collect::<Vec<_>>(), [MILLION, MILLION]);
    let written = out.each_ref().map(Topic::payloads);
    for (payloads, file) in written.iter().zip(["windows.jsonl", "scores.jsonl"]) {
        let mut lines = folder.lines(file);
        lines.sort_unstable();
        assert!(lines == *payloads, "{file} differs from its topic on {workers} workers");
    }
    written
}

#[test]
fn a_million_messages_of_two_topics_give_the_same_on_any_number_of_workers() {
    let Some(brokers) = real("a_million_messages") else { return };
    let topics = ["a", "b"].map(|name| Topic::new(&brokers, name, 8));
    produce_million(&brokers, &topics, minutes_ago(20));
    let [windows, scores] = run_million(&brokers, &topics, 1);
    let rows: Vec<Value> = windows.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sum(&rows, "n"), MILLION);
    assert!(rows.len() >= 100 * 50 && scores.len() > 100, "{} windows, {} scores", rows.len(), scores.len());
    let again = run_million(&brokers, &topics, 3);
    assert!(again == [windows, scores], "3 workers write other lines than 1");
}

/// How far behind the end each partition of a single topic is.
fn lag(status: &Status, ends: &[i64]) -> Vec<i64> {
    let behind = |(p, end): (usize, &i64)| {
        let name = format!("readings[{p}]");
        let standing = status.partitions.iter().find(|(_, s)| s.name == name).map(|(_, standing)| standing);
        end - 1 - standing.filter(|s| s.records > 0).map_or(-1, |s| s.sequence)
    };
    ends.iter().enumerate().map(behind).collect()
}

#[test]
fn a_job_that_lags_catches_up_while_more_is_produced() {
    let Some(brokers) = real("a_job_that_lags") else { return };
    let (topic, base, folder) = (Topic::new(&brokers, "lag", 4), minutes_ago(20), Folder::new(&[]));
    let sender = Sender::new(&brokers);
    let send = |id: u64| {
        sender.send(&topic, (id % 4) as i32, Some(&reading(base + id as i64, &format!("s{}", id % 9), 1.0, id)))
    };
    (0..200_000).for_each(send);
    sender.flush();
    let more = "
        [step.few]
        kind = 'filter'
        input = 'readings'
        where = 'id % 1000 = 0'
        [sink.out]
        kind = 'file'
        input = 'few'
        path = 'FOLDER/few.jsonl'
    ";
    let text = job_text(&brokers, &[&topic], &folder, &more.replace("FOLDER", &folder.path("").display().to_string()));
    let job = start(&text, 2).unwrap();
    let at_first: i64 = lag(&job.status(), &topic.ends()).iter().sum();
    assert!(at_first > 0, "it has no lag to begin with");
    eventually("lag", &job, |status| status.partitions.iter().any(|(_, s)| s.behind > Some(0)));
    for id in 200_000..240_000 {
        send(id);
        if id % 400 == 0 {
            sender.poll();
            thread::sleep(Duration::from_millis(10));
        }
    }
    sender.flush();
    let ends = topic.ends();
    assert_eq!(ends, [60_000; 4]);
    eventually("no lag", &job, |status| lag(status, &ends) == [0; 4]);
    eventually("all read", &job, |status| status.partitions.iter().all(|(_, s)| s.quiet && s.behind == Some(0)));
    let status = stop(job);
    assert_eq!((status.sources[0].0.records, status.steps[0].records), (240_000, 240_000));
    assert_eq!(folder.lines("few.jsonl").len(), 240);
}

/// Everything of the source to a topic.
fn copy(brokers: &str, out: &Topic) -> String {
    let create = "create = { partitions = 3 }";
    format!(
        "[sink.out]\nkind = 'kafka'\ninput = 'readings'\nbrokers = '{brokers}'\ntopic = '{}'\nkey = 'sensor'\n{create}\n",
        out.name
    )
}

/// Sets a flag when it is dropped.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ids(topic: &Topic) -> Vec<u64> {
    let mut ids: Vec<u64> = topic.objects().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_broker_that_restarts_is_waited_for_and_nothing_is_lost() {
    if real("a_broker_that_restarts").is_none() {
        return;
    }
    let broker = OwnBroker::start("kafka-restart");
    let (brokers, folder) = (broker.brokers(), Folder::new(&[]));
    let (topic, out, base) = (Topic::new(&brokers, "in", 4), Topic::planned(&brokers, "out"), minutes_ago(20));
    // Asking for metadata so often meets nearly every time a broker that answers, as it goes down, that there are no
    // brokers at all, after which librdkafka by itself would never come back.
    let often = "properties = { 'topic.metadata.refresh.interval.ms' = '10' }";
    let more = format!("discover_every = '1s'\n{often}\n{}{often}\n", copy(&brokers, &out));
    let job = start(&job_text(&brokers, &[&topic], &folder, &more), 2).unwrap();
    let (sender, enough) = (Sender::new(&brokers), AtomicBool::new(false));
    let send_all = || {
        let mut id = 0;
        while !enough.load(Ordering::Relaxed) {
            let payload = reading(base + id as i64, &format!("s{}", id % 9), id as f64, id);
            sender.send(&topic, (id % 4) as i32, Some(&payload));
            sender.poll();
            id += 1;
            thread::sleep(Duration::from_millis(1));
        }
        sender.flush();
        id
    };
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(send_all);
        // A test that fails must not wait for ever for the thread that sends.
        let _ends = AtEnd(&enough);
        eventually("the first records", &job, |status| status.sinks[0].records > 500);
        broker.command("stop");
        let away = |trouble: &Option<String>| trouble.as_ref().is_some_and(|t| t.contains("is away since"));
        let status = eventually("trouble", &job, |status| away(&status.sources[0].0.condition.reason));
        let (said, before) = (status.sources[0].0.condition.reason.clone().unwrap(), status.sources[0].0.records);
        assert!(said.starts_with(&format!("broker {brokers} is away since ")), "{said}");
        // Long enough for the job to look for new partitions while nobody answers.
        thread::sleep(Duration::from_secs(3));
        assert!(!job.is_finished(), "it does not wait: {:?}", job.status());
        broker.command("start");
        eventually("records again", &job, |status| status.sources[0].0.records > before + 500);
        eventually("no trouble", &job, |status| status.sources[0].0.condition.health == Health::Healthy);
        enough.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    say(&format!("sent {sent} across a restart of the broker"));
    eventually("all of them", &job, |status| status.sinks[0].records >= sent);
    let status = stop(job);
    assert_eq!(status.sources[0].0.records, sent);
    assert!(ids(&out) == (0..sent).collect::<Vec<u64>>(), "{} of {sent} ids", ids(&out).len());
}

const COUNTS: &str = "
        [step.counts]
        kind = 'aggregate'
        input = 'readings'
        key = 'sensor'
        window = '10s'
        aggregates = { n = 'count()' }
        [sink.out]
        kind = 'file'
        input = 'counts'
        path = 'FOLDER/counts.jsonl'
";

fn counts(folder: &Folder) -> String {
    COUNTS.replace("FOLDER", &folder.path("").display().to_string())
}

/// The windows in a file, each of which must be there once: when it begins (seconds after `base`), key, and count.
fn windows(folder: &Folder, base: i64) -> BTreeMap<(i64, String), u64> {
    let rows = folder.objects("counts.jsonl");
    let window = |row: &Value| {
        let start = eagre::time::parse(row["window_start"].as_str().unwrap()).unwrap();
        ((start / 1_000 - base) / 1_000, row["sensor"].as_str().unwrap().to_owned())
    };
    let windows: BTreeMap<_, _> = rows.iter().map(|row| (window(row), row["n"].as_u64().unwrap())).collect();
    assert_eq!(windows.len(), rows.len(), "a window came out twice");
    windows
}

/// The windows of so many seconds in which each of two keys has that many records.
fn even_windows(seconds: i64, n: u64) -> BTreeMap<(i64, String), u64> {
    (0..seconds / 10).flat_map(|w| ["a", "b"].map(|key| ((w * 10, key.to_owned()), n))).collect()
}

/// Sends records of two keys, `n` of each in every ten seconds, to each of these partitions.
fn send_even(sender: &Sender, topic: &Topic, partitions: &[i32], base: i64, seconds: std::ops::Range<i64>, n: i64) {
    for tick in seconds.start * n / 10..seconds.end * n / 10 {
        for (partition, key) in partitions.iter().flat_map(|p| ["a", "b"].map(|key| (*p, key))) {
            let payload = reading(base + tick * 10_000 / n, key, 1.0, tick as u64);
            sender.send(topic, partition, Some(&payload));
        }
    }
    sender.flush();
}

#[test]
fn a_topic_that_grows_is_read_whole_and_every_window_comes_once() {
    let Some(brokers) = real("a_topic_that_grows") else { return };
    let (topic, folder, base) = (Topic::new(&brokers, "grows", 2), Folder::new(&[]), minutes_ago(20));
    let more = format!("discover_every = '1s'\nidle_after = 'never'\n{}", counts(&folder));
    let job = start(&job_text(&brokers, &[&topic], &folder, &more), 2).unwrap();
    let sender = Sender::new(&brokers);
    send_even(&sender, &topic, &[0, 1], base, 0..60, 100);
    eventually("the first records", &job, |status| status.sources[0].0.records == 2_400);
    topic.grow(4);
    // The first sender would not know the new partitions for minutes.
    let sender = Sender::new(&brokers);
    send_even(&sender, &topic, &[2, 3], base, 60..120, 100);
    eventually("the new partitions", &job, |status| status.sources[0].0.records == 4_800);
    send_even(&sender, &topic, &[0, 1], base, 60..120, 100);
    (0..4).for_each(|p| sender.send(&topic, p, Some(&reading(base + 600_000, "mark", 1.0, 0))));
    sender.flush();
    eventually("all windows", &job, |status| status.sinks[0].records == 24);
    let status = stop(job);
    let mut names: Vec<&str> = status.partitions.iter().map(|(_, standing)| standing.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["readings[0]", "readings[1]", "readings[2]", "readings[3]"]);
    assert_eq!((status.sources[0].0.late, status.steps[0].late), (0, 0));
    let mut expected = even_windows(120, 200);
    expected.iter_mut().filter(|((start, _), _)| *start >= 60).for_each(|(_, n)| *n = 400);
    assert_eq!(windows(&folder, base), expected);
}

#[test]
fn a_topic_that_is_deleted_ends_the_job() {
    let Some(brokers) = real("a_topic_that_is_deleted") else { return };
    let (topics, folder) = (["kept", "deleted"].map(|name| Topic::new(&brokers, name, 2)), Folder::new(&[]));
    let more = format!("discover_every = '1s'\n{}", counts(&folder));
    let mut job = start(&job_text(&brokers, &[&topics[0], &topics[1]], &folder, &more), 2).unwrap();
    let sender = Sender::new(&brokers);
    sender.send(&topics[1], 0, Some(&reading(minutes_ago(20), "a", 1.0, 1)));
    sender.flush();
    eventually("a record", &job, |status| status.sources[0].0.records == 1);
    topics[1].delete();
    let begun = Instant::now();
    while !job.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody notices that the topic is gone");
        thread::sleep(Duration::from_millis(10));
    }
    let failure = job.wait().expect_err("the topic is gone").to_string();
    assert!(failure.contains(&topics[1].name), "{failure}");
    assert!(failure.contains("was there when the job started"), "{failure}");
}

#[test]
fn poisoned_messages_are_rejected_and_all_others_get_through() {
    let Some(brokers) = real("poisoned_messages") else { return };
    let (topic, folder, base) = (Topic::new(&brokers, "poisoned", 2), Folder::new(&[]), minutes_ago(20));
    let [out, refused] = ["out", "refused"].map(|name| Topic::planned(&brokers, name));
    let huge = "x".repeat(20_000_000).into_bytes();
    let good = |id: u64| Some(reading(base + id as i64, "a", 1.0, id));
    let messages =
        [good(0), Some(b"hello".to_vec()), good(2), None, good(4), Some(huge), good(6), Some(Vec::new()), good(8)];
    let sender = Sender::new(&brokers);
    for partition in 0..2 {
        messages.iter().for_each(|message| sender.send(&topic, partition, message.as_deref()));
    }
    sender.flush();
    let more = format!(
        "until = 'now'\n{}[sink.refused]\nkind = 'kafka'\ninput = 'readings.rejected'\nbrokers = '{brokers}'\n\
        topic = '{}'\ncreate = {{ partitions = 1 }}\n",
        copy(&brokers, &out),
        refused.name
    );
    let status = run(&job_text(&brokers, &[&topic], &folder, &more), 2);
    assert_eq!((status.sources[0].0.records, status.sources[0].0.rejected), (10, 8));
    assert_eq!(ids(&out), [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]);
    let said = |row: &Value| format!("{}: {}", row["place"].as_str().unwrap(), row["reason"].as_str().unwrap());
    let mut said: Vec<String> = refused.objects().iter().map(said).collect();
    said.sort_unstable();
    let reasons = [
        "1: not JSON: expected value, column 1",
        "3: no payload, wanted a JSON object",
        "5: not JSON: expected value, column 1",
        "7: not JSON: EOF while parsing a value, column 1",
    ];
    let expected = [0, 1].map(|p| reasons.map(|reason| format!("readings[{p}]@{reason}")));
    assert_eq!(said, expected.concat());
}

#[test]
fn an_empty_partition_holds_nobody_up_for_ever() {
    let Some(brokers) = real("an_empty_partition") else { return };
    let (topic, base) = (Topic::new(&brokers, "empty", 4), minutes_ago(20));
    let sender = Sender::new(&brokers);
    send_even(&sender, &topic, &[0, 1, 3], base, 0..61, 100);
    let mut expected = even_windows(60, 300);

    let folder = Folder::new(&[]);
    let job = start(&job_text(&brokers, &[&topic], &folder, &format!("idle_after = '1s'\n{}", counts(&folder))), 2);
    let job = job.unwrap();
    eventually("the windows that are complete", &job, |status| status.sinks[0].records == 12);
    let status = stop(job);
    let empty = status.partitions.iter().find(|(_, standing)| standing.name == "readings[2]").unwrap();
    assert!(empty.1.idle && empty.1.records == 0, "{empty:?}");
    assert_eq!(windows(&folder, base), expected);

    let folder = Folder::new(&[]);
    let status = run(&job_text(&brokers, &[&topic], &folder, &format!("until = 'now'\n{}", counts(&folder))), 2);
    assert!(status.partitions.iter().all(|(_, standing)| standing.ended));
    expected.extend([((60, "a".to_owned()), 30), ((60, "b".to_owned()), 30)]);
    assert_eq!(windows(&folder, base), expected);
}

/// The lines of a source or sink that logs in; over TLS where there is a file of the authority.
fn security(mechanism: &str, password: &str, authority: Option<&str>) -> String {
    let protocol = if authority.is_some() { "SASL_SSL" } else { "SASL_PLAINTEXT" };
    let authority = authority.map_or(String::new(), |file| format!(", ca_file = '{file}'"));
    format!(
        "security = {{ protocol = '{protocol}', mechanism = '{mechanism}', username = 'eagre', password = '{password}'{authority} }}\n"
    )
}

#[test]
fn logins_and_tls_work_for_source_and_sink() {
    let Some((brokers, authority)) = real_with_logins("logins_and_tls") else { return };
    let topic = Topic::new(&brokers, "login", 2);
    let (sender, base) = (Sender::new(&brokers), minutes_ago(20));
    (0..100).for_each(|id| sender.send(&topic, (id % 2) as i32, Some(&reading(base + id as i64, "a", 1.0, id))));
    sender.flush();
    for (mechanism, authority) in [
        ("SCRAM-SHA-256", None),
        ("SCRAM-SHA-512", None),
        ("SCRAM-SHA-256", Some(authority.as_str())),
        ("SCRAM-SHA-512", Some(authority.as_str())),
        ("PLAIN", Some(authority.as_str())),
    ] {
        let (folder, out) = (Folder::new(&[]), Topic::planned(&brokers, "login-out"));
        let login = security(mechanism, "tide", authority);
        let there = listener(&brokers, if authority.is_some() { 3 } else { 2 });
        let more = format!("until = 'now'\n{login}{}{login}", copy(&there, &out));
        run(&job_text(&there, &[&topic], &folder, &more), 2);
        assert!(ids(&out) == (0..100).collect::<Vec<u64>>(), "{mechanism} {authority:?}");
    }
}

#[test]
fn logins_that_fail_name_the_broker_and_what_to_do() {
    let Some((brokers, _)) = real_with_logins("logins_that_fail") else { return };
    let (topic, folder) = (Topic::new(&brokers, "refused", 1), Folder::new(&[]));
    let out = Topic::planned(&brokers, "refused-out");
    let other = folder.path("other.pem").display().to_string();
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=other -keyout /dev/null -out".split(' '))
        .arg(&other)
        .output();
    assert!(made.unwrap().status.success());
    let [login, tls] = [listener(&brokers, 2), listener(&brokers, 3)];
    let wrong = |mechanism| security(mechanism, "ebb", None);
    let untrusted = security("SCRAM-SHA-512", "tide", Some(&other));
    let refuses = |broker: &str| format!("broker {broker} refuses the login: ");
    let source = |there: &str, security: &str| (there.to_owned(), format!("{security}{}", copy(&brokers, &out)));
    let sink = |there: &str, security: &str| (brokers.clone(), format!("{}{security}", copy(there, &out)));
    for ((there, more), part, said) in [
        (source(&login, &wrong("SCRAM-SHA-256")), "source `readings`", refuses(&login)),
        (source(&login, &wrong("SCRAM-SHA-512")), "source `readings`", refuses(&login)),
        (source(&login, &wrong("PLAIN")), "source `readings`", refuses(&login)),
        (sink(&login, &wrong("SCRAM-SHA-256")), "sink `out`", refuses(&login)),
        (source(&tls, &untrusted), "source `readings`", format!("broker {tls} and this client do not agree on TLS: ")),
    ] {
        let begun = Instant::now();
        let started = start(&job_text(&there, &[&topic], &folder, &more), 2);
        let failure = started.and_then(|mut job| job.wait()).expect_err("it cannot log in");
        assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?} to say {failure}", begun.elapsed());
        let help = "look at `security`: protocol, mechanism, username, password and certificates";
        assert!(failure.message.starts_with(&format!("{part}: {said}")), "{failure}");
        assert_eq!(failure.help.as_deref(), Some(help));
        assert!(!failure.to_string().contains("ebb"), "{failure}");
    }
}

/// Two minutes of four servers, ten times a second. One request is slow, and three measurements are of nothing known.
fn produce_metrics(brokers: &str, topic: &Topic, base: i64) {
    let (sender, mut random) = (Sender::new(brokers), Random::new(3));
    let send = |partition: i32, millis: i64, host: i32, metric: &str, value: f64| {
        let payload = format!(
            "{{\"ts\":{},\"host\":\"web-{host}\",\"region\":\"eu\",\"metric\":\"{metric}\",\"value\":{value},\"status\":200}}",
            base + millis
        );
        sender.send(topic, partition, Some(payload.as_bytes()));
    };
    for tick in 0..1_200 {
        for host in 0..4 {
            let slow = if (tick, host) == (900, 2) { 5_000.0 } else { 0.0 };
            send(host, tick * 100, host, "latency_ms", 20.0 + random.unit() + slow);
            send(host + 4, tick * 100, host, "cpu", random.unit());
        }
    }
    for partition in 0..8 {
        send(partition, 150_000, 9, "cpu", 0.5);
    }
    (0..3).for_each(|partition| send(partition, 150_000, partition, "luck", 1.0));
    sender.send(topic, 3, Some(b"{\"ts\":"));
    sender.flush();
}

/// The rows of a topic without those of the last measurements, which close the windows before them.
fn before_the_end(topic: &Topic) -> Vec<String> {
    topic.payloads().into_iter().filter(|row| !row.contains("web-9")).collect()
}

#[test]
fn the_main_job_runs_through_the_program_to_its_end_and_to_ctrl_c() {
    let Some(brokers) = real("the_main_job") else { return };
    let topic = Topic::new(&brokers, "server-metrics", 8);
    produce_metrics(&brokers, &topic, minutes_ago(20));
    let mut aggregates = Vec::new();
    for bounded in [true, false] {
        let folder = Folder::new(&[]);
        let out = ["aggregates", "alarms", "refused"].map(|name| Topic::planned(&brokers, name));
        let mut sets =
            vec![format!("source.metrics.brokers={brokers}"), format!("source.metrics.topic={}", topic.name)];
        for (sink, topic) in ["aggregates", "alarms", "refused"].iter().zip(&out) {
            sets.push(format!("sink.{sink}.brokers={brokers}"));
            sets.push(format!("sink.{sink}.topic={}", topic.name));
        }
        sets.extend(bounded.then(|| "source.metrics.until=now".to_owned()));
        let job = concat!(env!("CARGO_MANIFEST_DIR"), "/dataflows/server_metrics.toml");
        let mut arguments = vec!["run", job, "--workers", "2"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let stdout = fs::File::create(folder.path("stdout")).unwrap();
        let running = folder.start(&arguments, Stdio::null(), Stdio::from(stdout));
        if !bounded {
            let (count, begun) = (|topic: &Topic| topic.ends().iter().sum::<i64>(), Instant::now());
            while out.each_ref().map(count) != [96, 1, 4] {
                assert!(begun.elapsed() < PATIENCE, "waited in vain: {}", folder.said());
                thread::sleep(Duration::from_millis(50));
            }
            running.interrupt();
        }
        let ended = running.wait(&folder);
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert_eq!(ended.said.contains("stopping: what was read is worked off"), !bounded, "{}", ended.said);
        check_alarms(&folder, &out);
        let rows = before_the_end(&out[0]);
        assert_eq!(rows.len(), 12 * 8);
        aggregates.push(rows);
    }
    assert!(aggregates[0] == aggregates[1], "the same windows, whatever ends the run");
    let rows: Vec<Value> = aggregates[0].iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(sum(&rows, "n"), 1_200 * 8);
}

/// One alarm of one slow request, in a topic, a file and on standard output; what is refused, with its place.
fn check_alarms(folder: &Folder, out: &[Topic; 3]) {
    let alarms = out[1].payloads();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    let alarm: Value = serde_json::from_str(&alarms[0]).unwrap();
    assert_eq!(alarm["host"], "web-2");
    assert!(alarm["value"].as_f64().unwrap() > 5_000.0 && alarm["z"].as_f64().unwrap() > 1_000.0, "{alarm}");
    assert_eq!(folder.lines("eagre-data/server_metrics/alerts.jsonl"), alarms);
    assert_eq!(folder.lines("stdout"), alarms);
    let refused = out[2].objects();
    let of = |text: &str| refused.iter().filter(|row| row["payload"].as_str().unwrap().contains(text)).count();
    assert_eq!((refused.len(), of("luck")), (4, 3), "{refused:?}");
    assert!(refused.iter().all(|row| row["place"].as_str().unwrap().starts_with("metrics[")), "{refused:?}");
}
