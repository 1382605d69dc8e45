//! `eagre checkpoint` and `eagre state` over checkpoints of steps that were driven here, without an engine; and that
//! every kind of step shows the same after a restart as before, and goes on as if nobody had looked.

use crate::program::Folder;
use arrow::array::ArrayRef;
use eagre::batch::{Batch, Head};
use eagre::checkpoint::manifest::{FORMAT, Manifest, Partition, Sink, Step};
use eagre::checkpoint::part::{self, Group};
use eagre::checkpoint::{FileRef, Local, Store};
use eagre::job::{self, Overrides, Plan, StepPlan};
use eagre::key::Keys;
use eagre::operator::{Copied, Copying, Instance, Outputs, StepNames};
use eagre::origin::Origins;
use eagre::schema::{self, SYSTEM};
use eagre::value::{ColumnBuilder, Value};
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;

const JOB: &str = r#"
name = "sensors"

[checkpoint]
dir = "kept"

[source.readings]
kind = "generator"
sensors = 20

[step.minutes]
kind = "aggregate"
input = "readings"
key = "sensor"
window = "1m"
aggregates = { count = "count()", mean = "mean(value)" }

[step.scores]
kind = "zscore"
input = "readings"
key = ["site", "sensor"]
field = "value"
window = 4

[step.high]
kind = "filter"
input = "readings"
where = "value > 3"

[sink.minutes_out]
kind = "stdout"
input = ["minutes"]

[sink.scores_out]
kind = "stdout"
input = ["scores"]

[sink.high_out]
kind = "stdout"
input = ["high"]
"#;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

fn plan(text: &str) -> Plan {
    let planned = job::plan(text, "job.toml", &Overrides::default(), &eagre::standard());
    planned.unwrap_or_else(|faulty| panic!("{}", faulty.render(false)))
}

/// A step at work, alone.
struct Driven<'a> {
    step: &'a StepPlan,
    instance: Box<dyn Instance>,
    outputs: Outputs,
    groups: BTreeMap<u16, Vec<u8>>,
}

impl Driven<'_> {
    fn new(step: &StepPlan) -> Driven<'_> {
        let names = StepNames {
            name: step.name.as_str().into(),
            number: 0,
            output: step.planned.output.clone(),
            late: step.input_schemas.iter().map(schema::late).collect(),
            origins: Origins::new(vec![step.name.clone()]),
        };
        Driven { step, instance: (step.planned.make)(), outputs: Outputs::new(names), groups: BTreeMap::new() }
    }

    /// Takes readings: second, sensor, value.
    fn take(&mut self, readings: &[(i64, &str, f64)]) {
        let input = &self.step.input_schemas[0];
        let mut columns: Vec<ColumnBuilder> =
            input.fields().iter().map(|field| ColumnBuilder::new(field.kind)).collect();
        let mut head = Head::default();
        for (number, (second, sensor, value)) in readings.iter().enumerate() {
            head.times.push(START + second * 1_000_000);
            head.origins.push(0);
            head.sequences.push(number as i64);
            head.stamps.push(None);
            for (field, column) in input.fields().iter().zip(&mut columns) {
                column.push(match field.name.as_str() {
                    "sensor" => Value::Text((*sensor).into()),
                    "site" => Value::Text("north".into()),
                    "value" => Value::Float(*value),
                    _ => Value::Null,
                });
            }
        }
        let batch = Batch::new(input, head, columns.iter_mut().map(ColumnBuilder::finish).collect());
        let key: Vec<ArrayRef> = self.step.key[0].iter().map(|part| part.evaluate(&batch).values).collect();
        let keys = Keys::of(&key, batch.len());
        let batch = if self.step.planned.keyed { batch.with_keys(keys) } else { batch };
        self.instance.on_batch(0, &batch, &mut self.outputs);
    }

    fn watermark(&mut self, second: i64) {
        self.instance.on_watermark(START + second * 1_000_000, &mut self.outputs);
    }

    /// What was given out since it was last asked.
    fn out(&mut self) -> Vec<String> {
        let ports = self.outputs.drain();
        let batches = ports.out.iter().chain(&ports.rejected).chain(&ports.late);
        let row = |batch: &Batch, row: usize| -> String {
            (0..batch.columns().len() + SYSTEM)
                .map(|at| format!("{:?} ", batch.records().column(at).slice(row, 1)))
                .collect()
        };
        batches.flat_map(|batch| (0..batch.len()).map(move |at| row(batch, at))).collect()
    }

    /// What it shows, in order.
    fn shown(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        self.instance.inspect(&mut |row| {
            let values = row.values.iter().map(|(field, value)| format!("{}={value:?}", field.name));
            rows.push(format!(
                "{} {} ({})",
                eagre::key::show(row.key),
                values.collect::<Vec<_>>().join(" "),
                row.bytes
            ));
        });
        rows.sort();
        rows
    }

    fn copied(&mut self) -> Option<Copied> {
        match self.instance.snapshot() {
            Copying::Unchanged => None,
            Copying::Whole(copied) => Some(copied),
            Copying::Begun => Some(self.instance.copy_on(usize::MAX).unwrap()),
        }
    }

    /// The next sequence of a key group's derived rows.
    fn sequence(&self, group: eagre::key::KeyGroup) -> i64 {
        self.outputs.sequences().get(group as usize).copied().unwrap_or(0)
    }

    /// Saves what changed; gives a fresh one that goes on from there.
    fn restarted(&mut self) -> Self {
        let mut fresh = Self::new(self.step);
        if let Some(copied) = self.copied() {
            copied(&mut |group, bytes| drop(self.groups.insert(group, bytes)));
        }
        for (group, bytes) in &self.groups {
            fresh.outputs.resume(*group, self.sequence(*group));
            if !bytes.is_empty() {
                fresh.instance.restore(*group, bytes).unwrap();
            }
        }
        fresh.groups = self.groups.clone();
        fresh
    }
}

const STEPS: [&str; 13] = [
    "kind = 'aggregate'\nkey = 'sensor'\nwindow = '10s'\naggregates = { n = 'count()', mean = 'mean(value)', p = 'p50(value)' }",
    "kind = 'aggregate'\nkey = 'sensor'\nwindow = { size = '30s', slide = '10s' }\nallowed_lateness = '20s'\naggregates = { sum = 'sum(value)' }",
    "kind = 'aggregate'\nkey = 'sensor'\nwindow = '30s'\nearly = '5s'\naggregates = { most = 'max(value)', r = 'rate()' }",
    "kind = 'aggregate'\nwindow = 'global'\naggregates = { n = 'count()', last = 'last(value)' }",
    "kind = 'aggregate'\nkey = 'sensor'\nwindow = { session = '15s' }\naggregates = { n = 'count()', first = 'first(value)' }",
    "kind = 'aggregate'\nkey = 'sensor'\nwindow = { count = 4, slide = 2 }\naggregates = { n = 'count()', top = 'top_k(value, 2)' }",
    "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\nwindow = '20s'",
    "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\newma = { alpha = 0.1 }\nemit = 'all'",
    "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\nrobust = { window = 5 }\nemit = 'all'",
    "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nwarmup = 1",
    "kind = 'refractory'\nkey = 'sensor'\nevery = '25s'\nseverity = 'value'\nsummary = true",
    "kind = 'validate'\nkey = 'sensor'\nrules = [{ unique = ['value'], within = '20s' }, { field = 'value', z_beyond = 2, last = 20 }]",
    "kind = 'filter'\nwhere = 'value > 2'",
];

#[test]
fn a_step_shows_the_same_after_a_restart_and_goes_on_as_if_nobody_had_looked() {
    for step in STEPS {
        let job = format!(
            "name = 'a'\n[source.readings]\nkind = 'generator'\n[step.s]\ninput = 'readings'\n{step}\n[sink.out]\nkind = 'stdout'\ninput = 's'"
        );
        let plan = plan(&job);
        let (mut watched, mut alone) = (Driven::new(&plan.steps[0]), Driven::new(&plan.steps[0]));
        let mut columns: Vec<String> = watched.instance.remembers().into_iter().map(|field| field.name).collect();
        assert_eq!((watched.shown().len(), columns.is_empty()), (0, !plan.steps[0].planned.keyed), "{step}");
        let mut shown = 0;
        for round in 0..8 {
            let readings = [(0, "a", 1.5), (1, "b", -2.0), (3, "a", f64::from(round)), (4, "c", 1.5), (8, "a", 2.5)];
            let readings = readings.map(|(second, sensor, value)| (10 * i64::from(round) + second, sensor, value));
            for driven in [&mut watched, &mut alone] {
                driven.take(&readings);
                driven.watermark(10 * i64::from(round) + 5);
            }
            let before = watched.shown();
            let mut fresh = watched.restarted();
            assert_eq!(before, fresh.shown(), "{step}, round {round}");
            assert_eq!(before, fresh.shown(), "{step}, round {round}: a second look");
            assert_eq!(watched.out(), alone.out(), "{step}, round {round}");
            watched = fresh;
            shown += before.len();
        }
        watched
            .instance
            .inspect(&mut |row| columns.retain(|name| row.values.iter().all(|(field, _)| field.name != *name)));
        assert!(columns.is_empty() || shown == 0, "{step}: {columns:?} are announced and not shown");
        assert!(shown > 4 || !plan.steps[0].planned.keyed, "{step}: {shown} rows were shown");
    }
}

/// Two checkpoints of the job: 1 after `readings`, 2 after `more` too.
fn made(folder: &Folder) -> Plan {
    fs::write(folder.path("job.toml"), JOB).unwrap();
    let plan = plan(JOB);
    let mut store = Store::open(Arc::new(Local::open(&folder.path("kept")).unwrap())).unwrap();
    let mut driven: Vec<Driven<'_>> = plan.steps.iter().map(Driven::new).collect();
    let mut parts: Vec<Vec<FileRef>> = vec![Vec::new(); driven.len()];
    let readings = [(0, "pump-1", 1.0), (1, "pump-2", 4.0), (2, "pump-1", 3.0), (70, "pump-10", 5.0)];
    let more = [(75, "pump-1", 8.5), (80, "pump-3", 1.0), (140, "pump-10", 7.0)];
    for (readings, watermark) in [(&readings[..], 20), (&more[..], 90)] {
        let id = store.begin();
        for (driven, parts) in driven.iter_mut().zip(&mut parts) {
            driven.take(readings);
            driven.watermark(watermark);
            let mut groups = Vec::new();
            let version = driven.instance.state_version();
            if let Some(copied) = driven.copied() {
                copied(&mut |group, state| {
                    groups.push(Group { group, next_sequence: driven.sequence(group), version, state });
                });
            }
            if !groups.is_empty() {
                let bytes = part::encode(&driven.step.name, &groups);
                parts.push(store.put(id, &driven.step.name, 0, &bytes).unwrap());
            }
        }
        let outbox = (id == 2).then(|| store.put(id, "sink-scores", 0, b"held").unwrap());
        store.commit(&manifest(id, watermark, &plan, &parts, outbox)).unwrap();
    }
    plan
}

fn manifest(id: u64, watermark: i64, plan: &Plan, parts: &[Vec<FileRef>], outbox: Option<FileRef>) -> Manifest {
    let watermark = START + watermark * 1_000_000;
    let step = |(step, parts): (&StepPlan, &Vec<FileRef>)| Step {
        name: step.name.clone(),
        kind: step.kind.into(),
        fingerprint: format!("{:016x}", step.fingerprint),
        state_version: 1,
        watermark,
        partitions: vec![(0, watermark)],
        parts: parts.clone(),
        waiting: Vec::new(),
    };
    Manifest {
        format: FORMAT,
        id,
        version: "0.1.0".into(),
        job: plan.name.clone(),
        begun_at: START,
        took: 35_000,
        workers: 2,
        partitions: vec![Partition {
            source: "readings".into(),
            name: "readings[0]".into(),
            log: "readings[0]".into(),
            position: Some(7),
            sequence: Some(6),
            watermark,
            newest: watermark,
            idle: false,
            ended: id == 2,
        }],
        steps: plan.steps.iter().zip(parts).map(step).collect(),
        numbered: plan.steps.iter().map(|step| step.name.clone()).collect(),
        sinks: vec![Sink {
            name: "scores".into(),
            delivery: "exactly_once".into(),
            shards: 1,
            outbox: vec![outbox],
            sealed: vec![1],
        }],
    }
}

/// Runs the program; what it printed and said, and its code where that is not 0. Blanks in a row are one; ages are N.
fn ask(folder: &Folder, arguments: &str) -> String {
    let pieces = arguments.split('\'').enumerate();
    let arguments: Vec<&str> = pieces
        .flat_map(|(at, piece)| if at % 2 == 0 { piece.split_whitespace().collect() } else { vec![piece] })
        .collect();
    let out = fs::File::create(folder.path("stdout")).unwrap();
    let ended = folder.start(&arguments, Stdio::null(), out.into()).wait(folder);
    let said = fs::read_to_string(folder.path("stdout")).unwrap() + &ended.said;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let aged = |at: usize| words.get(at + 1) == Some(&"days") || line.contains("age_s");
        let word =
            |(at, word): (usize, &&str)| if aged(at) && word.parse::<u32>().is_ok() { "N" } else { *word }.to_owned();
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = said.lines().map(line).filter(|line| !line.is_empty()).collect();
    let code = ended.code.filter(|code| *code != 0).map_or(String::new(), |code| format!("\n({code})"));
    lines.join("\n") + &code
}

#[track_caller]
fn check(folder: &Folder, arguments: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(ask(folder, arguments), expected.join("\n"), "eagre {arguments}\n(left: was, right: expected)");
}

#[test]
fn checkpoints_are_listed_and_shown() {
    let folder = Folder::new(&[]);
    made(&folder);
    check(
        &folder,
        "checkpoint list job.toml",
        "sensors: 2 checkpoints in kept
         id begun age took size workers files
         2 2026-01-01 00:00:00 N days ago 35 ms 8.04 kB 2 all files there
         1 2026-01-01 00:00:00 N days ago 35 ms 4.42 kB 2 all files there",
    );
    check(
        &folder,
        "checkpoint show --dir kept",
        "checkpoint 2 of sensors, in kept
         begun 2026-01-01 00:00:00, N days ago; took 35 ms on 2 workers; by Eagre 0.1.0
         8.04 kB in 5 files
         sources
         partition position sequence watermark state
         readings[0] 7 6 2026-01-01 00:01:30 ended
         steps
         step kind fingerprint watermark key groups state waiting files
         minutes aggregate b056bc1136066f45 2026-01-01 00:01:30 3 349 B 0 B 2
         scores zscore 7efcb05d02fa3571 2026-01-01 00:01:30 4 456 B 0 B 2
         high filter 2239c5c9593fc585 2026-01-01 00:01:30 0 0 B 0 B 0
         sinks
         sink shards held back
         scores 1 4 B",
    );
    let shown: serde_json::Value =
        serde_json::from_str(&ask(&folder, "checkpoint show --dir kept 1 --format json")).unwrap();
    assert_eq!((&shown["manifest"]["id"], &shown["steps"][0]["key_groups"]), (&1.into(), &3.into()));
    check(
        &folder,
        "checkpoint show job.toml 9",
        "error: there is no checkpoint 9\nhelp: there are 2, 1, and `latest`\n(1)",
    );
    check(
        &folder,
        "checkpoint list --dir nowhere",
        "error: there is no folder nowhere\nhelp: a job makes it when it writes its first checkpoint\n(1)",
    );
}

#[test]
fn damage_is_found() {
    let folder = Folder::new(&[]);
    made(&folder);
    check(
        &folder,
        "checkpoint verify job.toml",
        "checkpoint 2 is whole (5 files, 8.04 kB)\ncheckpoint 1 is whole (2 files, 4.42 kB)",
    );
    fs::remove_file(folder.path("kept/0000000002-minutes-0.arrow")).unwrap();
    let file = folder.path("kept/0000000002-scores-0.arrow");
    let mut bytes = fs::read(&file).unwrap();
    bytes.pop();
    fs::write(&file, &bytes).unwrap();
    let damage = format!(
        "checkpoint 2 is damaged:
         0000000002-minutes-0.arrow is missing
         0000000002-scores-0.arrow has {} bytes and should have {}
         (1)",
        bytes.len(),
        bytes.len() + 1
    );
    check(&folder, "checkpoint verify --dir kept latest", &damage);
    check(&folder, "checkpoint verify --dir kept 1 --format json", r#"{"faults":[],"id":1,"whole":true}"#);
    assert!(ask(&folder, "checkpoint list job.toml").contains("damaged: 0000000002-minutes-0.arrow is missing\n1 "));
    assert!(ask(&folder, "checkpoint show job.toml").contains("damaged: 0000000002-minutes-0.arrow is missing\n"));
    check(
        &folder,
        "state job.toml --step minutes",
        "error: step `minutes` of checkpoint 2: 0000000002-minutes-0.arrow is missing
         help: `eagre checkpoint verify` says what is damaged; --checkpoint ID looks into another
         (1)",
    );
    fs::write(folder.path("kept/0000000002.manifest.json"), "{").unwrap();
    assert!(
        ask(&folder, "checkpoint verify job.toml").starts_with("checkpoint 2 is damaged:\n0000000002.manifest.json")
    );
    assert!(ask(&folder, "checkpoint prune job.toml --keep 1").ends_with("; kept 1, 2"));
}

#[test]
fn old_ones_are_cleared_away_and_copies_are_checkpoints() {
    let folder = Folder::new(&[]);
    made(&folder);
    let said = "checkpoint 2 is in copy: 7 files, 8.04 kB, every checksum right";
    check(&folder, "checkpoint export job.toml --to copy", said);
    check(
        &folder,
        "checkpoint export job.toml --to copy",
        "error: copy is not empty\nhelp: name a folder that is new or empty\n(1)",
    );
    check(&folder, "checkpoint verify --dir copy", "checkpoint 2 is whole (5 files, 8.04 kB)");
    assert!(folder.lines("copy/README.txt")[0].starts_with("Checkpoint 2 of the job `sensors`"));
    check(&folder, "checkpoint prune job.toml --keep 1", "removed checkpoint 1, 1 file in all; kept 2");
    check(&folder, "checkpoint prune job.toml --keep 1", "nothing to remove; kept 2");
    check(&folder, "checkpoint verify job.toml", "checkpoint 2 is whole (5 files, 8.04 kB)");
}

#[test]
fn the_state_of_a_key_is_shown() {
    let folder = Folder::new(&[]);
    made(&folder);
    check(
        &folder,
        "state job.toml",
        "checkpoint 2 of sensors; every step is a table:
         minutes (aggregate): 3 keys, 349 B
         key, sensor, window_start, window_end, count, mean, key_group, bytes
         scores (zscore): 4 keys, 456 B
         key, site, sensor, count, mean, deviation, baseline_from, baseline_until, wakes_at, key_group, bytes",
    );
    check(
        &folder,
        "state job.toml --step minutes --key pump-3",
        r#"{
        "key": "pump-3",
        "sensor": "pump-3",
        "window_start": "2026-01-01T00:01:00Z",
        "window_end": "2026-01-01T00:02:00Z",
        "count": 1,
        "mean": 1.0,
        "key_group": 1982,
        "bytes": 46
        }"#,
    );
    check(
        &folder,
        "state job.toml --step scores --key north/pump-1 --checkpoint 1 --format json",
        r#"{"key":"north/pump-1","site":"north","sensor":"pump-1","count":2,"mean":2.0,"deviation":1.0,"baseline_from":"2026-01-01T00:00:00Z","baseline_until":"2026-01-01T00:00:02Z","wakes_at":null,"key_group":2309,"bytes":118}"#,
    );
    for (arguments, says) in [
        (
            "--step minutes --key pump-4",
            "step `minutes` of checkpoint 2 has no key `pump-4`\nhelp: did you mean `pump-1`?",
        ),
        ("--step minuts", "the job has no step `minuts`\nhelp: did you mean `minutes`?"),
        ("--step high", "step `high` remembers nothing: it is of kind `filter`, without a key"),
        (
            "--step scores --set step.scores.window=5",
            "the state of `scores` in checkpoint 2 is another step's: its settings, its key, the fields that it reads or what is \
             taken of it have changed since\n\
            help: take the job file that the checkpoint was made with",
        ),
    ] {
        check(&folder, &format!("state job.toml {arguments}"), &format!("error: {says}\n(1)"));
    }
}

#[test]
fn state_is_asked_in_sql() {
    let folder = Folder::new(&[]);
    made(&folder);
    for (sql, says) in [
        (
            "select key, count, mean from minutes order by mean desc limit 2",
            "key count mean\npump-1 1 8.5\npump-10 1 7.0",
        ),
        (
            "select s.key, m.window_start from minutes m join scores s using (sensor) where s.mean > 5",
            "key window_start\nnorth/pump-10 2026-01-01T00:01:00Z\nnorth/pump-10 2026-01-01T00:02:00Z",
        ),
        ("select count(*) as n from minutes where mean is null", "n\n0"),
        ("select key from minutes where mean > 100", "key\nno rows"),
        (
            "select key, meen from minutes",
            "error: no column `meen` in `select key, meen from minutes`\nhelp: did you mean `mean`?\n(1)",
        ),
        ("select key from minuts", "error: the job has no step `minuts`\nhelp: did you mean `minutes`?\n(1)"),
        (
            "drop table minutes",
            "error: `drop table minutes` cannot be answered: DDL not supported: DropTable
             help: a table is a step that remembers something; names with `-` stand in double quotes
             (1)",
        ),
    ] {
        check(&folder, &format!("state job.toml --sql '{sql}'"), says);
    }
    check(&folder, "state job.toml --sql 'select max(mean) as most from scores' --format json", r#"{"most":6.0}"#);
}

#[test]
fn what_became_of_keys_and_who_keeps_most_is_told() {
    let folder = Folder::new(&[]);
    made(&folder);
    check(
        &folder,
        "state diff job.toml 1 2",
        "minutes: 3 added, 2 removed, 0 changed, 1 the same
         - pump-1 [2026-01-01T00:00:00Z] count 2, mean 2
         + pump-1 [2026-01-01T00:01:00Z] count 1, mean 8.5
         + pump-10 [2026-01-01T00:02:00Z] count 1, mean 7
         - pump-2 [2026-01-01T00:00:00Z] count 1, mean 4
         + pump-3 [2026-01-01T00:01:00Z] count 1, mean 1
         scores: 1 added, 0 removed, 2 changed, 1 the same
         ~ north/pump-1 count 2 -> 3, mean 2 -> 4.166666666666666, deviation 1 -> 3.1710495984067415, baseline_until 2026-01-01T00:00:02Z -> 2026-01-01T00:01:15Z
         ~ north/pump-10 count 1 -> 2, mean 5 -> 6, deviation 0 -> 1, baseline_until 2026-01-01T00:01:10Z -> 2026-01-01T00:02:20Z
         + north/pump-3 count 1, mean 1, deviation 0, baseline_from 2026-01-01T00:01:20Z, baseline_until 2026-01-01T00:01:20Z",
    );
    check(&folder, "state diff job.toml 2 2 --step scores", "scores: 0 added, 0 removed, 0 changed, 4 the same");
    check(
        &folder,
        "state diff job.toml 1 2 --step scores --limit 0 --format text",
        "scores: 1 added, 0 removed, 2 changed, 1 the same\nand 3 more",
    );
    check(
        &folder,
        "state top job.toml --limit 2",
        "step kind keys key groups bytes share a key
         scores zscore 4 4 456 B 57 % 114 B
         minutes aggregate 3 3 349 B 43 % 116 B
         the largest keys
         key step bytes
         north/pump-1 scores 143 B
         north/pump-10 scores 119 B",
    );
}

#[test]
fn a_step_that_remembers_nothing_yet_is_a_table_and_a_renamed_one_keeps_its_state() {
    let folder = Folder::new(&[]);
    let plan = made(&folder);
    let store = Store::open(Arc::new(Local::open(&folder.path("empty")).unwrap())).unwrap();
    store.commit(&manifest(1, 0, &plan, &[const { Vec::new() }; 3], None)).unwrap();
    check(
        &folder,
        "state job.toml --dir empty --sql 'select key, count, mean + 1 as more from minutes'",
        "key count more\nno rows",
    );
    check(
        &folder,
        "state job.toml --dir empty --step scores",
        "key site sensor count mean deviation baseline_from baseline_until wakes_at key_group bytes\nno rows",
    );
    let renamed =
        JOB.replace("[step.scores]", "[step.z]\nwas = \"scores\"\nttl = \"1h\"").replace("[\"scores\"]", "[\"z\"]");
    fs::write(folder.path("job.toml"), renamed).unwrap();
    check(&folder, "state job.toml --sql 'select count(*) as n from z'", "n\n4");
    fs::write(folder.path("job.toml"), JOB.replace("[checkpoint]\ndir = \"kept\"", "")).unwrap();
    check(
        &folder,
        "checkpoint list job.toml",
        "error: job `sensors` makes no checkpoints\nhelp: add [checkpoint], or name their --dir\n(2)",
    );
}
