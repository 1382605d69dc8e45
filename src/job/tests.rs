//! Text in, faults or plans out, with three small parts.

use super::*;
use crate::fault::{Failure, Fault};
use crate::formats::Fields;
use crate::operator::{Arrival, Column, Instance, Make, Operator, Outputs, Planned, Planning};
use crate::schema::{Kind, Schema};
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::source::{Feed, Source};
use crate::time::Interval;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Records from nowhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "one setting is read by nobody: its faults are what is tested")]
struct Memory {
    /// What the records have.
    fields: Fields,
    /// Where they are.
    topic: String,
    /// How many at once.
    #[serde(default)]
    batch_max: u32,
}

impl Source for Memory {
    const NAME: &'static str = "memory";

    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        if self.topic.contains(' ') {
            faults.push(Fault::at("topic", format!("`{}` has a space in it", self.topic)));
        }
        faults.is_empty().then(|| self.fields.schema())
    }

    fn open(&self, _: &str, _: &Schema) -> Result<Box<dyn Feed>, Failure> {
        Err(Failure::new("there is nothing to read"))
    }
}

/// Keeps records.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    #[serde(rename = "where")]
    condition: String,
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by nobody: their faults are what is tested")]
struct Limit {
    field: String,
    most: f64,
    every: Option<Interval>,
}

struct Idle;
impl Instance for Idle {
    fn on_batch(&mut self, _: usize, _: &crate::batch::Batch, _: &mut Outputs) {}
}

fn planned(output: Schema, uses: BTreeSet<String>, passes: bool, keyed: bool) -> Planned {
    let make: Make = Arc::new(|| Box::new(Idle));
    Planned { output, uses, passes, keeps_origin: passes, keyed, arrival: Arrival::InOrder, make }
}

impl Operator for Keep {
    const NAME: &'static str = "keep";
    const MANUAL: &'static str = "//! Keeps the records for which a condition is true.\n//! Others go nowhere.\n//!\n//! # Example\n//!\n//! ```toml\n//! # not a heading\n//! where = \"a > 1\"\n//! ```\n";

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        for (i, limit) in self.limits.iter().enumerate() {
            planning.field(&limit.field, &[Kind::Int, Kind::Float], &format!("limits.{i}.field"));
        }
        let condition = planning.condition(&self.condition, "where")?;
        (planning.faults() == 0).then(|| planned(planning.input().clone(), condition.fields().clone(), true, false))
    }
}

/// Counts the records of a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Count {
    of: Column,
}

impl Operator for Count {
    const NAME: &'static str = "count";

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        planning.any(&mut self.of.clone(), "of");
        if self.of.name == "spare" && !planning.wants("moody") {
            planning.fault(Fault::at("of", "not today"));
        }
        let output = Schema::new(planning.key().iter().cloned()).with([crate::schema::Field::new("count", Kind::Int)]);
        (planning.faults() == 0).then(|| planned(output, BTreeSet::from([self.of.name.clone()]), false, true))
    }
}

/// Takes streams that differ.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mix {}

impl Operator for Mix {
    const NAME: &'static str = "mix";
    const MIXED_INPUTS: bool = true;

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let uses = planning.inputs().iter().flat_map(Schema::names).map(str::to_owned).collect();
        Some(planned(crate::schema::rejected(), uses, false, false))
    }
}

/// Takes records and forgets them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "nothing is written")]
struct File {
    path: String,
    format: String,
    append: bool,
}

macro_rules! sink {
    ($sink:ty, $name:literal) => {
        impl Sink for $sink {
            const NAME: &'static str = $name;
            fn plan(&self, _: &Schema, _: &mut Vec<Fault>) {}
            fn shards(&self) -> Shards {
                Shards::One
            }
            fn open(&self, _: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
                Err(Failure::new("there is nowhere to write"))
            }
        }
    };
}
sink!(Nothing, "nothing");
sink!(File, "file");

fn registry() -> Registry {
    let registry = Registry::default().source::<Memory>("//! Records that are made up.\n");
    registry
        .operator::<Keep>()
        .operator::<Count>()
        .operator::<Mix>()
        .sink::<Nothing>("//! Forgets.\n")
        .sink::<File>("//! Writes files.\n")
}

const JOB: &str = r#"name = "metrics"
data_dir = "data"

[source.readings]
kind = "memory"
topic = "metrics"
fields = { host = "text", sensor = "text", value = "float", spare = "int" }
max_delay = "2s"
max_drift = "never"

[step.counts]
kind = "count"
input = "Valid"
of = "value"
key = ["sensor", "upper(host) as host"]

[step.Valid]
kind = "keep"
input = "readings"
where = "value > 1"

[sink.end]
kind = "nothing"
input = "counts"
"#;

fn faults_of(text: &str, overrides: Overrides) -> String {
    plan(text, "x.toml", &overrides, &registry()).err().expect("a job with faults").to_string()
}

/// Faults of [`JOB`] with texts replaced.
fn changed(changes: &[(&str, &str)], expected: &str) {
    let job = changes.iter().fold(JOB.to_owned(), |job, (old, new)| {
        assert!(job.contains(old), "{old}");
        job.replace(old, new)
    });
    assert_eq!(faults_of(&job, Overrides::default()), expected.trim_matches('\n'), "{changes:?}");
}

fn overridden(overrides: Overrides, expected: &str) {
    assert_eq!(faults_of(JOB, overrides), expected.trim_matches('\n'));
}

fn good(overrides: &Overrides) -> Plan {
    plan(JOB, "x.toml", overrides, &registry()).map_err(|f| f.to_string()).expect("a good job")
}

#[test]
fn five_faults_show_five_places() {
    let changes = [
        ("topic = ", "tpoic = "),
        ("\"2s\"", "\"2 parsecs\""),
        ("\"Valid\"", "\"valdi\""),
        ("where = \"value > 1\"", "where = true"),
        ("\"nothing\"", "\"notting\""),
    ];
    changed(
        &changes,
        r#"
error: a part of kind `memory` has no setting `tpoic`
 --> x.toml:6:1
  |
6 | tpoic = "metrics"
  | ^^^^^
  |
  = help: did you mean `topic`?

error: `2 parsecs` is not an interval; write for example "250ms", "10s", "5m", "1h" or "2d"
 --> x.toml:8:13
  |
8 | max_delay = "2 parsecs"
  |             ^^^^^^^^^^^

error: there is no source or step `valdi`
  --> x.toml:13:9
   |
13 | input = "valdi"
   |         ^^^^^^^
   |
   = help: did you mean `Valid`?

error: expected text, found the truth value `true`
  --> x.toml:20:9
   |
20 | where = true
   |         ^^^^

error: there is no sink of kind `notting`
  --> x.toml:23:8
   |
23 | kind = "notting"
   |        ^^^^^^^^^
   |
   = help: did you mean `nothing`?

5 faults in x.toml"#,
    );
}

/// What a changed job is told, without the drawings: message, place, help.
fn told(changes: &[(&str, &str)], expected: &[&str]) {
    let job = changes.iter().fold(JOB.to_owned(), |job, (old, new)| {
        assert!(job.contains(old), "{old}");
        job.replace(old, new)
    });
    assert_eq!(brief(&faults_of(&job, Overrides::default())), expected, "{changes:?}");
}

/// `message @ place; help` of every fault, and how far the caret reaches.
fn brief(rendered: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in rendered.lines() {
        let bare = line.trim_start_matches([' ', '|']);
        if let Some(message) = line.strip_prefix("error: ") {
            all.push(message.to_owned());
        } else if let Some(last) = all.last_mut() {
            match (bare.strip_prefix("--> "), bare.strip_prefix("= help: ")) {
                (Some(place), _) => *last += &format!(" @ {}", place.trim_start_matches("x.toml:")),
                (_, Some(help)) => *last += &format!("; {help}"),
                _ if !bare.is_empty() && bare.chars().all(|c| c == '^') => *last += &format!("+{}", bare.len()),
                _ => {}
            }
        }
    }
    all
}

#[test]
fn names_must_lead_somewhere() {
    told(
        &[("\"counts\"", "\"counts.rejetced\"")],
        &["no output `rejetced` comes out of `counts` @ 24:17+8; did you mean `rejected`?"],
    );
    told(
        &[("\"readings\"", "\"readings.late\"")],
        &["no output `late` comes out of `readings` @ 19:19+4; one of `out`, `rejected`"],
    );
    told(
        &[("\"counts\"", "\"end\"")],
        &["`end` is a sink, nothing comes out of it @ 24:9+5; one of `Valid`, `counts`, `readings`"],
    );
    told(
        &[("[step.Valid]", "[step.readings]"), ("\"Valid\"", "\"readings\"")],
        &["a source is called `readings` already @ 17:7+8; every source, step and sink has a name of its own"],
    );
    told(
        &[("[step.counts]", "[step.\"a.b\"]"), ("input = \"counts\"", "input = \"Valid\"")],
        &["this cannot name a step @ 11:7+5; a name has letters, digits, `_` and `-`"],
    );
    told(
        &[("\"readings\"", "\"counts.late\"")],
        &["this goes round in a circle: counts -> Valid -> counts @ 13:9+7; a job flows one way"],
    );
    told(
        &[("\"readings\"", "\"Valid\"")],
        &["this goes round in a circle: Valid -> Valid @ 19:9+7; a job flows one way"],
    );
    told(
        &[
            ("\"readings\"", "\"readings.rejected\""),
            ("value > 1", "reason > ''"),
            ("\"Valid\"", "[\"Valid\", \"Valid\"]"),
        ],
        &[
            "nothing reads `readings` @ 4:9+8; write input = \"readings\" in a step or sink",
            "`Valid` is named twice @ 13:19+7",
            "no field `value` comes in @ 14:6+7; one of `step`, `reason`, `place`, `payload`",
            "no field `sensor` in `sensor` @ 15:8+8; one of `step`, `reason`, `place`, `payload`",
            "no field `host` in `upper(host) as host` @ 15:25+4; one of `step`, `reason`, `place`, `payload`",
        ],
    );
    let first = "the first input has a field `count` (int), this has not";
    let help = "put a step of kind `select` before it, so that all inputs have the same fields";
    told(&[("input = \"counts\"", "input = [\"counts\", \"Valid\"]")], &[&format!("{first} @ 24:20+7; {help}")]);
}

#[test]
fn what_is_missing_is_missed_at_the_header() {
    told(
        &[
            ("of = \"value\"\n", ""),
            ("kind = \"nothing\"\n", ""),
            ("input = \"readings\"\n", ""),
            ("name = \"metrics\"\n", ""),
        ],
        &[
            "the job has no `name` @ 1:1+1; write name = \"my_job\" at the top",
            "`of` is missing: a part of kind `count` needs it @ 10:1+13",
            "`input` is missing @ 15:1+12; write input = \"NAME\", of a source or a step",
            "`kind` is missing @ 19:1+10; one of `nothing`, `file`",
        ],
    );
    assert_eq!(
        brief(&faults_of("name = \"x\"", Overrides::default())),
        [
            "the job has no source @ 1:1+1; begin one with [source.NAME]",
            "the job has no step and no sink @ 1:1+1; begin one with [sink.NAME]"
        ]
    );
}

#[test]
fn wrong_values_are_all_found() {
    told(
        &[(
            "\"metrics\"\ndata_dir",
            "\"My Job\"\nworkers = 0\nengine = { epoch = 10, epoch_size = 4 }\nsources = 3\ndata_dir",
        )],
        &[
            "this cannot name a job @ 1:8+8; a name has lower-case letters, digits, `_` and `-`",
            "`workers` cannot be 0 @ 2:11+1; a whole number from 1 to 1024",
            "expected text, found 10 @ 3:20+2",
            "`engine` has no setting `epoch_size` @ 3:24+10; one of `epoch`, `epoch_records_max`, `epochs_ahead_max`",
            "a job has no setting `sources` @ 4:1+7; did you mean `source`?",
        ],
    );
    let limits =
        "where = 5\nlimits = [{ field = 1, most = \"x\", every = \"1 day\" }, { feild = \"value\", most = 1.0 }]";
    told(
        &[("where = \"value > 1\"", limits)],
        &[
            "expected text, found the number `5` @ 20:9+1",
            "expected text, found the number `1` @ 21:21+1",
            "expected a number, found text \"x\" @ 21:31+3",
            "`1 day` is not an interval; write for example \"250ms\", \"10s\", \"5m\", \"1h\" or \"2d\" @ 21:44+7",
            "`field` is missing here @ 21:55+31",
            "there is no setting `feild` here @ 21:57+5; did you mean `field`?",
        ],
    );
    told(
        &[("topic = \"metrics\"", "topic = \"all metrics\"\nbatch_max = 99999999999999999999")],
        &["`all metrics` has a space in it @ 6:9+13", "`99999999999999999999` does not fit into 64 bits @ 7:13+20"],
    );
    let words = "expected a whole number that is not negative, found the number `-1` @ 7:13+2";
    told(&[("topic = \"metrics\"", "topic = \"metrics\"\nbatch_max = -1")], &[words]);
    told(&[("max_drift = \"never\"", "max_drift = = 5")], &["not TOML: extra `=`, expected nothing @ 9:13+1"]);
}

#[test]
fn fields_that_nobody_has_are_found_within_expressions() {
    told(&[("value > 1", "1 < valeu")], &["no field `valeu` in `1 < valeu` @ 20:14+5; did you mean `value`?"]);
    told(
        &[("upper(host) as host", "upper(hots) as host"), ("of = \"value\"", "of = \"valeu\"")],
        &[
            "no field `valeu` comes in @ 14:6+7; did you mean `value`?",
            "no field `hots` in `upper(hots) as host` @ 15:25+4; did you mean `host`?",
        ],
    );
    let key = "two fields of the key are called `sensor` @ 15:34+6; name one with `as`";
    told(&[("upper(host) as host", "upper(host) as sensor")], &[key]);
    let system =
        "`origin` is a column of the engine's, a key cannot be called so @ 15:18+8; name it: \"origin as my_origin\"";
    told(&[("upper(host) as host", "origin")], &[system]);
    let none = "a step of kind `keep` takes no key @ 21:7+6; it looks at every record alone: take `key` away";
    told(&[("where = \"value > 1\"", "where = \"value > 1\"\nkey = \"host\"")], &[none]);
    let takes_none = "a step of kind `keep` takes no ttl @ 21:7+4; it remembers nothing: take `ttl` away";
    told(&[("where = \"value > 1\"", "where = \"value > 1\"\nttl = \"1h\"")], &[takes_none]);
    let at_once = "a key that is forgotten at once remembers nothing @ 21:7+4; write for example ttl = \"1h\"";
    told(&[("where = \"value > 1\"", "where = \"value > 1\"\nttl = \"0s\"")], &[at_once, takes_none]);
    let own =
        "a step of kind `count` takes no ttl @ 15:7+4; it keeps its own account of what it remembers: take `ttl` away";
    told(&[("of = \"value\"", "of = \"value\"\nttl = \"1h\"")], &[own]);
    let limits = "where = \"value > 1\"\nlimits = [{ field = \"valeu\", most = 1 }, { field = \"host\", most = 1 }]";
    told(
        &[("where = \"value > 1\"", limits)],
        &[
            "no field `valeu` comes in @ 21:21+7; did you mean `value`?",
            "field `host` is text, this needs `int`, `float` @ 21:52+6",
        ],
    );
    let ours = "a mistake of Eagre's own: planned again with fewer fields, not today @ 14:6+7; please report it with this job file";
    told(&[("of = \"value\"", "of = \"spare\"")], &[ours]);
}

#[test]
fn overrides_are_named_in_their_faults() {
    let variables =
        Overrides::default().variable("EAGRE_STEP__VALID__WHERE", "valeu > 3").variable("EAGRE_LOG", "debug");
    overridden(
        variables.set("sink.end.kid=x").set("step.counts.of=spair"),
        r#"
error: no field `valeu` in `valeu > 3`
--> environment variable EAGRE_STEP__VALID__WHERE
 = help: did you mean `value`?

error: a part of kind `nothing` has no setting `kid`
--> --set sink.end.kid
 = help: did you mean `kind`?

2 faults in x.toml"#,
    );
    let astray = Overrides::default()
        .variable("EAGRE_SOURCE__READNGS__TOPIC", "x")
        .variable("EAGRE_SOURCE__READINGS__TPOIC", "x")
        .variable("EAGRE_SOURCE__READINGS__BATCH_MAX", "many")
        .variable("EAGRE_ENGNE__EPOCH", "1s")
        .variable("EAGRE_STEP", "x");
    let nowhere = "this variable leads nowhere:";
    assert_eq!(
        brief(&faults_of(JOB, astray.set("step.count.of=x").set("workers").set("worker=3"))),
        [
            &format!(
                "{nowhere} a job has no setting `engne` @ environment variable EAGRE_ENGNE__EPOCH; did you mean `EAGRE_ENGINE__EPOCH`?"
            ),
            "expected a whole number that is not negative, found text \"many\" @ environment variable EAGRE_SOURCE__READINGS__BATCH_MAX",
            &format!(
                "{nowhere} `source.readings` has no setting `tpoic` @ environment variable EAGRE_SOURCE__READINGS__TPOIC; did you mean `EAGRE_SOURCE__READINGS__TOPIC`?"
            ),
            &format!(
                "{nowhere} no source is called `readngs` @ environment variable EAGRE_SOURCE__READNGS__TOPIC; did you mean `EAGRE_SOURCE__READINGS__TOPIC`?"
            ),
            "this variable leads to no setting @ environment variable EAGRE_STEP; write EAGRE_SOURCE__NAME__KEY=VALUE",
            "no step is called `count` @ --set step.count.of; did you mean `counts`?",
            "a job has no setting `worker` @ --set worker; did you mean `workers`?",
            "no value is set @ --set workers; write --set source.readings.topic=metrics",
        ]
    );
    assert!(plan("=", "x", &Overrides::default(), &registry()).err().expect("a fault").render(true).contains('\u{1b}'));
}

#[test]
fn overrides_go_over_the_file() {
    let overrides = Overrides::default()
        .variable("EAGRE_WORKERS", "nonsense that another room reads")
        .variable("EAGRE_DATA_DIR", "7")
        .variable("EAGRE_SOURCE__READINGS__MAX_DELAY", "3s")
        .variable("EAGRE_SOURCE__READINGS__TOPIC", "7")
        .variable("EAGRE_STEP__VALID__LIMITS", "[{ field = \"value\", most = 1 }]")
        .variable("EAGRE_STEP__COUNTS__KEY", "sensor")
        .variable("EAGRE_SOURCE__READINGS__FIELDS__SPARE", "float")
        .set("source.readings.max_delay=4s")
        .set("step.Valid.limits.0.field=spare")
        .set("workers=3")
        .set("sink.more={ kind = \"nothing\", input = \"Valid\" }");
    let plan = good(&overrides);
    assert_eq!((plan.workers, plan.data_dir.to_str()), (Some(3), Some("7")));
    assert_eq!(plan.sources[0].time.max_delay, Interval::from_secs(4));
    assert_eq!(plan.sources[0].output.field("spare").map(|f| f.kind), Some(Kind::Float));
    assert_eq!(plan.steps[1].key_fields.len(), 1);
    assert_eq!(plan.sinks[1].name, "more");
}

#[test]
fn a_plan_has_order_fields_and_no_loose_ends() {
    let plan = good(&Overrides::default());
    assert_eq!(
        plan.engine,
        EngineSettings { epoch: Interval::from_millis(2), epoch_records_max: 65_536, epochs_ahead_max: 4 }
    );
    assert_eq!(
        plan.sources[0].time,
        TimePolicy { max_delay: Interval::from_secs(2), max_drift: None, ..TimePolicy::default() }
    );
    assert_eq!(plan.sources[0].output.names().collect::<Vec<_>>(), ["host", "sensor", "value"], "nobody uses `spare`");
    assert_eq!(plan.steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["Valid", "counts"]);
    let counts = &plan.steps[1];
    assert_eq!(counts.inputs, [Port { node: Node::Step(0), output: Output::Out }]);
    assert_eq!(counts.key[0].iter().map(|e| e.name()).collect::<Vec<_>>(), ["sensor", "host"]);
    assert_eq!(counts.sources, BTreeSet::from([0]));
    assert_eq!(counts.input_schemas[0].fields().len(), 3);
    let sinks: Vec<_> = plan.sinks.iter().map(|s| (s.name.as_str(), s.implicit)).collect();
    let implicit = ["readings.rejected", "Valid.rejected", "Valid.late", "counts.rejected", "counts.late"];
    assert_eq!(sinks, [("end", false)].into_iter().chain(implicit.map(|name| (name, true))).collect::<Vec<_>>());
    assert_eq!(plan.sinks[1].input, crate::schema::rejected());
    assert!(plan.sinks.iter().all(|sink| sink.inputs.iter().all(|port| plan.schema(*port) == sink.input)));
}

/// The fields that a source gives when the end of the job is changed.
fn asked(change: (&str, &str)) -> Vec<String> {
    assert!(JOB.contains(change.0));
    let plan = plan(&JOB.replace(change.0, change.1), "x.toml", &Overrides::default(), &registry());
    plan.map_err(|f| f.to_string()).expect("a good job").sources[0].output.names().map(str::to_owned).collect()
}

#[test]
fn a_source_gives_what_is_used() {
    let all = ["host", "sensor", "spare", "value"];
    assert_eq!(asked(("key = [\"sensor\", \"upper(host) as host\"]", "")), ["value"]);
    assert_eq!(asked(("input = \"counts\"", "input = \"Valid\"")), all, "a sink takes all");
    assert_eq!(
        asked(("input = \"counts\"", "input = \"counts.rejected\"")),
        ["host", "sensor", "value"],
        "dead letters of `out` keep its fields"
    );
    assert_eq!(
        asked(("input = \"counts\"", "input = \"counts.late\"")),
        all,
        "late records come with all their fields"
    );
    assert_eq!(asked(("[sink.end]\nkind = \"nothing\"\ninput = \"counts\"\n", "")), ["host", "sensor", "value"]);
}

#[test]
fn inputs_of_one_step_keep_the_same_fields() {
    let other = "[source.other]\nkind = \"memory\"\ntopic = \"x\"\nfields = { host = \"text\", sensor = \"text\", value = \"float\", spare = \"int\" }\n";
    let job = JOB.replace("input = \"readings\"", "input = [\"readings\", \"other\"]") + other;
    let planned =
        |job: &str| plan(job, "x.toml", &Overrides::default(), &registry()).map_err(|f| f.to_string()).expect("good");
    let narrow = planned(&job);
    assert_eq!(narrow.sources[1].output.fields().len(), 3);
    let wide = planned(&(job + "[sink.raw]\nkind = \"nothing\"\ninput = \"other\"\n"));
    assert_eq!(wide.sources[0].output, wide.sources[1].output);
    assert_eq!(wide.steps[0].input_schemas[0].fields().len(), 4);
}

#[test]
fn only_some_steps_take_inputs_that_differ() {
    let mixed = JOB.replace("input = \"counts\"", "input = \"both\"")
        + "[step.both]\nkind = \"mix\"\ninput = [\"counts\", \"Valid\"]\n";
    let plan = plan(&mixed, "x.toml", &Overrides::default(), &registry()).map_err(|f| f.to_string()).expect("good");
    assert_eq!(plan.steps[2].input_schemas.iter().map(|s| s.fields().len()).collect::<Vec<_>>(), [3, 4]);
    let count = mixed.replace("\"mix\"", "\"count\"\nof = \"sensor\"");
    let told = "the first input has a field `count` (int), this has not @ 28:20+7";
    assert!(brief(&faults_of(&count, Overrides::default()))[0].starts_with(told));
}

#[test]
fn whatever_is_cut_away_the_rest_is_read() {
    let pieces = (0..JOB.len()).map(|end| JOB[..end].to_owned());
    let lines = JOB.lines().map(|line| JOB.replacen(line, "", 1));
    let words = JOB.split_whitespace().map(|word| JOB.replacen(word, "\"\"", 1));
    for job in pieces.chain(lines).chain(words) {
        if let Err(faulty) = plan(&job, "x.toml", &Overrides::default(), &registry()) {
            assert!(faulty.count() > 0, "{job}");
            assert!(faulty.to_string().ends_with("in x.toml"), "{job}");
        }
    }
}

#[test]
fn a_plan_is_drawn() {
    let plan = plan(
        &JOB.replace("\"counts\"", "[\"counts\"]").replace("\"Valid\"", "\"Valid.late\""),
        "x.toml",
        &Overrides::default(),
        &registry(),
    );
    let plan = plan.map_err(|f| f.to_string()).expect("a good job");
    let fields = "metrics

source readings (memory)
  host text, sensor text, spare int, value float
  -> Valid

step Valid (keep)
  host text, sensor text, spare int, value float
  late -> counts

step counts (count, key sensor, host)
  sensor text, host text, count int
  -> end

sink end (nothing)
";
    assert_eq!(graph::text(&plan, true), fields);
    assert_eq!(
        graph::mermaid(&plan, false),
        r#"flowchart LR
  source_0(["readings<br/>memory"])
  step_0["Valid<br/>keep"]
  step_1["counts<br/>count by sensor, host"]
  sink_0[/"end<br/>nothing"/]
  source_0 --> step_0
  step_0 -. late .-> step_1
  step_1 --> sink_0
"#
    );
    assert_eq!(
        graph::graphviz(&plan, false),
        r#"digraph "metrics" {
  rankdir=LR;
  node [shape=box];
  source_0 [label="readings\nmemory", shape=oval];
  step_0 [label="Valid\nkeep"];
  step_1 [label="counts\ncount by sensor, host"];
  sink_0 [label="end\nnothing", shape=note];
  source_0 -> step_0;
  step_0 -> step_1 [label="late", style=dashed];
  step_1 -> sink_0;
}
"#
    );
}

#[test]
fn the_schema_knows_every_kind() {
    let schema = json_schema(&registry());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let kinds = |section: &str| {
        let kinds = schema["properties"][section]["additionalProperties"]["oneOf"].as_array().expect("kinds").iter();
        kinds.map(|k| k["properties"]["kind"]["const"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        [kinds("source"), kinds("step"), kinds("sink")].concat(),
        ["memory", "keep", "count", "mix", "nothing", "file"]
    );
    let keep = &schema["properties"]["step"]["additionalProperties"]["oneOf"][0];
    assert_eq!(keep["required"], serde_json::json!(["kind", "input", "where"]));
    assert_eq!(keep["additionalProperties"], false);
    assert_eq!(keep["description"], "Keeps the records for which a condition is true. Others go nowhere.");
    let text = schema.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|r| r.split('"').next().unwrap_or_default()) {
        assert!(schema.pointer(reference).is_some(), "{reference} leads nowhere");
    }
    // Every key of the sample is one that the schema names, part by part.
    let sample: serde_json::Value =
        toml::from_str::<toml::Table>(JOB).map(|t| serde_json::to_value(t).expect("JSON")).expect("TOML");
    for section in ["source", "step", "sink"] {
        for (name, part) in sample[section].as_object().expect("parts") {
            let alternatives =
                schema["properties"][section]["additionalProperties"]["oneOf"].as_array().expect("kinds");
            let kind =
                alternatives.iter().find(|k| k["properties"]["kind"]["const"] == part["kind"]).expect("its kind");
            for key in part.as_object().expect("a table").keys() {
                assert!(kind["properties"].get(key).is_some(), "{name}.{key}");
            }
        }
    }
}

#[test]
fn the_manual_lists_every_setting() {
    let manual = manual(&registry());
    for line in [
        "### `memory`",
        "| `topic` | text | required | Where they are. |",
        "| `batch_max` | whole number | `0` | How many at once. |",
        "| `limits` | list of table |  |  |",
        "| `limits[].every` | interval |  | A length of time: 250ms, 10s, 5m, 1h, 2d. |",
        "#### Example",
        "# not a heading",
        "| `engine.epoch_records_max` | whole number | `65536` | How many records of one worker go into one epoch. |",
        "| `max_delay` | interval | `\"0s\"` | How long records may come out of order: the watermark of a partition is its newest event time less this. |",
    ] {
        assert!(manual.lines().any(|l| l == line), "{line}\n{manual}");
    }
    assert_eq!(manual, super::manual(&registry()));
}

#[test]
fn the_example_of_the_manual_is_a_job() {
    let example =
        include_str!("manual.md").split("```").nth(1).and_then(|t| t.strip_prefix("toml\n")).expect("an example");
    let mut faults = Vec::new();
    let spec = spec::read(example, &Overrides::default(), &registry(), &mut faults).expect("TOML");
    assert_eq!(
        (spec.name.as_str(), spec.sources.len(), spec.steps.len(), spec.sinks.len()),
        ("server_metrics", 1, 1, 1)
    );
    assert_eq!(faults.len(), 3, "only the three kinds are unknown here: {faults:?}");
}
