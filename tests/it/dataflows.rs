//! Every job that ships, on several numbers of workers: whatever it writes into files is the same, byte for byte and in
//! the same order; topics and dead letters once they are sorted. Its sinks are turned into a folder of the test, or
//! into topics of a broker of the test.

use crate::broker::{self, Sent};
use crate::program::parquet_lines;
use eagre::engine;
use eagre::job::{self, Overrides};
use eagre::stats::random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The job of `eagre demo`. Its own sink exists there alone; a file takes its place.
const DEMO: &str = "demo";

/// A job that ships, and what it has to write: its sinks, and the dead letters that no sink takes.
struct Shipped {
    name: &'static str,
    /// What makes it shorter.
    sets: &'static [&'static str],
    writes: &'static [&'static str],
}

/// All of them: a job that is not here fails the first test.
const SHIPPED: [Shipped; 13] = [
    Shipped {
        name: "analytics_topics",
        sets: &[],
        writes: &[
            "devices_file",
            "errors_file",
            "metrics_file",
            "pages_file",
            "purchases_file",
            "reality_file",
            "visits_file",
        ],
    },
    Shipped { name: DEMO, sets: &["source.sensors.count=40000"], writes: &["told", "truth"] },
    nexmark("nexmark_q0"),
    nexmark("nexmark_q1"),
    nexmark("nexmark_q11"),
    nexmark("nexmark_q12"),
    nexmark("nexmark_q15"),
    nexmark("nexmark_q2"),
    nexmark("nexmark_q5"),
    nexmark("nexmark_q7"),
    Shipped { name: "quickstart", sets: &[], writes: &["alarm", "refused", "windows"] },
    Shipped {
        name: "sensors",
        sets: &[],
        writes: &["alerts_file", "records_file", "visits_file", "windows", "dead-letters/readings.rejected"],
    },
    Shipped {
        name: "server_metrics",
        sets: &[],
        writes: &["aggregates", "alarms", "alarms_file", "refused", "terminal"],
    },
];

/// A Nexmark query, over fewer events.
const fn nexmark(name: &'static str) -> Shipped {
    Shipped { name, sets: &["source.bids.events=40000", "source.bids.rate=1000"], writes: &["out"] }
}

/// What a job wrote: lines by sink.
type Written = BTreeMap<String, Vec<String>>;

fn shipped(name: &str) -> &'static Shipped {
    SHIPPED.iter().find(|job| job.name == name).unwrap()
}

fn text(job: &Shipped) -> String {
    let folder = if job.name == DEMO { "src/cli" } else { "dataflows" };
    fs::read_to_string(format!("{folder}/{}.toml", job.name)).unwrap()
}

/// The job's parts of a section: names and settings.
fn parts(text: &str, section: &str) -> Vec<(String, toml::Table)> {
    let job: toml::Table = text.parse().unwrap();
    let parts = job[section].as_table().unwrap().clone();
    parts.into_iter().map(|(name, part)| (name, part.as_table().unwrap().clone())).collect()
}

fn is_kind(part: &toml::Table, kind: &str) -> bool {
    part["kind"].as_str() == Some(kind)
}

/// Turns sources to a broker, and sinks to a folder or to topics that are this run's own.
fn turned(job: &Shipped, folder: &Path, brokers: &str, run: usize) -> Overrides {
    let text = text(job);
    let folder = folder.display();
    let mut sets: Vec<String> = job.sets.iter().map(|set| set.to_string()).collect();
    sets.push(format!("data_dir={folder}"));
    for (name, _) in parts(&text, "source").iter().filter(|(_, source)| is_kind(source, "kafka")) {
        sets.push(format!("source.{name}.brokers={brokers}"));
        sets.push(format!("source.{name}.until=now"));
    }
    for (name, sink) in parts(&text, "sink") {
        if is_kind(&sink, "kafka") {
            sets.push(format!("sink.{name}.brokers={brokers}"));
            sets.push(format!("sink.{name}.topic={}", topic(&sink, run)));
        } else if is_kind(&sink, "file") {
            let ending = sink["path"].as_str().unwrap().rsplit('.').next().unwrap();
            sets.push(format!("sink.{name}.path={folder}/{name}.{ending}"));
        } else {
            let input = &sink["input"];
            sets.push(format!("sink.{name}={{ kind = 'file', input = {input}, path = '{folder}/{name}.jsonl' }}"));
        }
    }
    sets.into_iter().fold(Overrides::default(), Overrides::set)
}

fn topic(sink: &toml::Table, run: usize) -> String {
    format!("{}-{run}", sink["topic"].as_str().unwrap())
}

/// Runs a job; gives all that it wrote.
fn run(job: &Shipped, brokers: &str, workers: usize) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let overrides = turned(job, folder.path(), brokers, workers);
    let plan = job::plan(&text(job), job.name, &overrides, &eagre::standard()).unwrap_or_else(|f| panic!("{f}"));
    engine::start(plan, workers).and_then(|mut job| job.wait()).unwrap_or_else(|f| panic!("{}: {f}", job.name));
    let mut written = Written::new();
    gather(folder.path(), &mut written);
    for (name, sink) in parts(&text(job), "sink").iter().filter(|(_, sink)| is_kind(sink, "kafka")) {
        written.insert(name.clone(), broker::lines(brokers, &topic(sink, workers)));
    }
    written
}

/// The lines of all files of a folder, by their names without endings; those of dead letters sorted, because these are
/// written as they come.
fn gather(folder: &Path, written: &mut Written) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, written);
            continue;
        }
        let mut lines = match path.extension().is_some_and(|ending| ending == "parquet") {
            true => parquet_lines(&path),
            false => fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect(),
        };
        let name = path.file_stem().unwrap().to_str().unwrap();
        let dead = if folder.ends_with("dead-letters") { "dead-letters/" } else { "" };
        if !dead.is_empty() {
            lines.sort_unstable();
        }
        written.insert(format!("{dead}{name}"), lines);
    }
}

/// Runs a job on each of these numbers of workers, and holds all against the first.
fn check(job: &Shipped, brokers: &str, workers: &[usize]) -> Written {
    let first = run(job, brokers, workers[0]);
    let empty: Vec<&str> = job.writes.iter().copied().filter(|w| first.get(*w).is_none_or(Vec::is_empty)).collect();
    let counts: Vec<(&str, usize)> = first.iter().map(|(name, lines)| (name.as_str(), lines.len())).collect();
    assert!(empty.is_empty(), "{}: nothing in {empty:?}; there are {counts:?}", job.name);
    for workers in &workers[1..] {
        let again = run(job, brokers, *workers);
        for name in first.keys().chain(again.keys()) {
            let [one, other] = [&first, &again].map(|written| written.get(name).cloned().unwrap_or_default());
            let differs = one.iter().zip(&other).find(|(a, b)| a != b);
            let lines = (one.len(), other.len());
            assert!(one == other, "{} `{name}` on {workers} workers: {lines:?} lines, {differs:#?}", job.name);
        }
    }
    first
}

#[test]
fn every_job_is_here_and_can_be_planned() {
    let files = fs::read_dir("dataflows").unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.push(DEMO.into());
    names.sort_unstable();
    assert_eq!(names, SHIPPED.map(|job| job.name));
    for job in &SHIPPED {
        let overrides = match job.name {
            DEMO => Overrides::default()
                .set("sink.told={ kind = 'stdout', input = 'alerts' }")
                .set("sink.truth={ kind = 'stdout', input = 'faulty' }"),
            _ => Overrides::default(),
        };
        job::plan(&text(job), job.name, &overrides, &eagre::standard()).unwrap_or_else(|f| panic!("{f}"));
    }
}

#[test]
fn jobs_without_kafka_write_the_same_on_any_number_of_workers() {
    for name in [DEMO, "quickstart", "sensors"] {
        check(shipped(name), "", &[1, 2, 3, 8]);
    }
}

#[test]
fn nexmark_writes_the_same_on_any_number_of_workers() {
    for job in SHIPPED.iter().filter(|job| job.name.starts_with("nexmark")) {
        check(job, "", &[1, 2, 3, 8]);
    }
}

#[test]
fn server_metrics_writes_the_same_on_any_number_of_workers() {
    let brokers = broker::start();
    feed(&brokers, "server-metrics", 4, 6_000);
    let written = check(shipped("server_metrics"), &brokers, &[1, 2, 3]);
    assert_eq!(written["alarms"].len(), written["alarms_file"].len());
    assert_eq!(written["terminal"], written["alarms_file"]);
    let refused = written["refused"].join("\n");
    for reason in ["not JSON", "not UTF-8", "no payload", "no field `ts`", "comes twice", "wanted float", "disk"] {
        assert!(refused.contains(reason), "nothing refused for `{reason}`");
    }
}

#[test]
fn analytics_topics_write_the_same_on_any_number_of_workers() {
    let brokers = broker::start();
    for (topic, partitions) in
        [("analytics", 2), ("devices", 3), ("reality", 2), ("errors", 4), ("metrics", 3), ("user", 2)]
    {
        feed(&brokers, topic, partitions, 2_000);
    }
    let written = check(shipped("analytics_topics"), &brokers, &[1, 2, 3]);
    for source in ["analytics", "devices", "reality", "errors", "metrics", "user"] {
        // One in fifty is poisoned.
        assert_eq!(written[&format!("dead-letters/{source}.rejected")].len(), 40, "{source}");
    }
}

/// Fills a topic with records that are out of order by up to five seconds; one in fifty is poisoned.
fn feed(brokers: &str, topic: &str, partitions: i32, count: i64) {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // A broker drops messages that are days old, and a job's messages have its event time.
    let midnight = millis / 86_400_000 * 86_400_000;
    let mut random = Random::new(topic.len() as u64);
    let poisons: [Option<&[u8]>; 5] =
        [Some(b"hello"), Some(b"{\"ts\":\xff}"), None, Some(b"{}"), Some(b"{\"ts\":1,\"ts\":2}")];
    let messages: Vec<Sent> = (0..count)
        .map(|i| {
            let at = midnight + i * 100 - random.pick(5_000) as i64;
            let payload = match i % 50 {
                25 => poisons[(i / 50) as usize % poisons.len()].map(<[u8]>::to_vec),
                _ => Some(format!("{{\"ts\":{at},{}}}", record(topic, &mut random)).into_bytes()),
            };
            (random.pick(partitions as u64) as i32, payload)
        })
        .collect();
    broker::create(brokers, topic, partitions);
    broker::produce(brokers, topic, &messages);
}

/// A record of a topic, without its time.
fn record(topic: &str, random: &mut Random) -> String {
    let who = random.pick(5);
    let spike = random.pick(80) == 0;
    let usual = 20.0 + who as f64 + random.normal();
    let value = if spike { usual * 3.0 } else { usual };
    let action = if random.pick(2) == 0 { "purchase" } else { "view" };
    match topic {
        "server-metrics" => {
            let metric = ["cpu", "latency_ms", "latency_ms", "errors"][random.pick(4) as usize];
            let metric = if random.pick(300) == 0 { "disk" } else { metric };
            let value = if random.pick(300) == 0 { "\"much\"".into() } else { value.to_string() };
            format!("\"host\":\"h{who}\",\"region\":\"eu\",\"metric\":\"{metric}\",\"value\":{value},\"status\":200")
        }
        "analytics" => format!("\"session\":\"{}\",\"path\":\"/{who}\",\"duration_ms\":{value}", random.pick(400)),
        "devices" => format!("\"device\":\"d{who}\",\"battery\":0.5,\"temperature\":{value}"),
        "reality" => format!("\"place\":\"p{who}\",\"measured\":{value},\"forecast\":{}", 20 + who),
        "errors" => format!("\"service\":\"s{who}\",\"code\":{},\"message\":\"no\"", 500 + random.pick(6)),
        "metrics" => format!("\"service\":\"s{who}\",\"name\":\"load\",\"value\":{value}"),
        "user" => format!("\"user\":\"u{who}\",\"action\":\"{action}\",\"amount\":{value}"),
        other => panic!("nothing is known of {other}"),
    }
}
