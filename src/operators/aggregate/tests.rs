//! Cases for every rule of the manual, each run in every way that must not matter; random ones against a naive account.

use super::Aggregate;
use crate::check;
use crate::registry::Registry;
use crate::stats::random::Random;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;

const FIELDS: &str = "sensor:text value:float path:text status:int ok:bool seen:time";

fn registry() -> Registry {
    Registry::default().operator::<Aggregate>()
}

fn config(settings: &str) -> String {
    format!("kind = \"aggregate\"\nkey = \"sensor\"\n{settings}")
}

/// Runs a script; `expected` is the output without what all lines share.
#[track_caller]
fn check(settings: &str, script: &str, expected: &str) {
    check::check(&registry(), &config(settings), FIELDS, script, expected);
}

/// The values of one field, line by line, of a step that computes it in one window of 1 s.
#[track_caller]
fn one(function: &str, script: &str) -> String {
    let settings = format!("window = \"1s\"\naggregates = {{ x = \"{function}\" }}");
    let all = check::agree(&registry(), &config(&settings), FIELDS, &format!("{script}\n-- end"));
    let value = |line: &str| line.split_whitespace().find_map(|word| word.strip_prefix("x=")).map(str::to_owned);
    all.lines().filter_map(value).collect::<Vec<_>>().join(" ")
}

#[test]
fn tumbling_windows() {
    let script = "
        9 sensor=b value=2
        1 sensor=a value=1
        10 sensor=a value=4
        -1 sensor=a value=8
        -- 10
        12 sensor=a value=16 @1:7
        -- 19
        -- 20
        -- end";
    check(
        "window = \"10us\"\naggregates = { n = \"count()\", total = \"sum(value)\" }",
        script,
        "
        -1 window_start=-10 window_end=0 sensor=a n=1 total=8.0 made_from=in[0]@3
        9 window_start=0 window_end=10 sensor=a n=1 total=1.0 made_from=in[0]@1
        9 window_start=0 window_end=10 sensor=b n=1 total=2.0 made_from=in[0]@0
        19 window_start=10 window_end=20 sensor=a n=2 total=20.0 made_from=in[0]@2_in[1]@7",
    );
    check(
        "window = \"10us\"\noffset = \"3us\"\naggregates = { n = \"count()\" }",
        "2 sensor=a\n3 sensor=a\n-- end",
        "
        2 window_start=-7 window_end=3 sensor=a n=1 made_from=in[0]@0
        12 window_start=3 window_end=13 sensor=a n=1 made_from=in[0]@1",
    );
}

#[test]
fn hopping_windows_are_made_from_panes() {
    let script = "5 sensor=a value=1\n12 sensor=a value=2\n-- 20\n31 sensor=a value=4\n-- end";
    check(
        "window = { size = \"20us\", slide = \"10us\" }\naggregates = { s = \"sum(value)\" }",
        script,
        "
        9 window_start=-10 window_end=10 sensor=a s=1.0 made_from=in[0]@0
        19 window_start=0 window_end=20 sensor=a s=3.0 made_from=in[0]@0-1
        29 window_start=10 window_end=30 sensor=a s=2.0 made_from=in[0]@1
        39 window_start=20 window_end=40 sensor=a s=4.0 made_from=in[0]@2
        49 window_start=30 window_end=50 sensor=a s=4.0 made_from=in[0]@2",
    );
    // The size is no multiple of the slide: panes of 5.
    check(
        "window = { size = \"15us\", slide = \"10us\" }\naggregates = { s = \"sum(value)\" }",
        "4 sensor=a value=1\n6 sensor=a value=2\n-- end",
        "
        4 window_start=-10 window_end=5 sensor=a s=1.0 made_from=in[0]@0
        14 window_start=0 window_end=15 sensor=a s=3.0 made_from=in[0]@0-1",
    );
}

#[test]
fn late_records_are_told_from_the_rest() {
    let script = "
        15 sensor=a value=1
        9 sensor=a value=2 ^15
        16 sensor=a value=4
        11 sensor=a value=8 ^16
        -- 16
        -- end";
    check("window = \"10us\"\naggregates = { s = \"sum(value)\" }", script, "
        late: 9 sensor=a value=2.0 path=null status=null ok=null seen=null reason=its_window,_1970-01-01T00:00:00Z_to_1970-01-01T00:00:00.000010Z,_was_closed:_the_watermark_of_its_partition_was_1970-01-01T00:00:00.000015Z_already,_and_allowed_lateness_is_0s ^15
        19 window_start=10 window_end=20 sensor=a s=13.0 made_from=in[0]@0-3");
    // Late for the first of two windows, counted in the second.
    let script = "12 sensor=a value=1\n-- 12\n5 sensor=a value=2 ^12\n-- end";
    check(
        "window = { size = \"20us\", slide = \"10us\" }\naggregates = { s = \"sum(value)\" }",
        script,
        "
        19 window_start=0 window_end=20 sensor=a s=3.0 made_from=in[0]@0-1
        29 window_start=10 window_end=30 sensor=a s=1.0 made_from=in[0]@0",
    );
}

#[test]
fn corrections_go_out_on_their_grid() {
    let script = "
        5 sensor=a value=1
        5 sensor=b value=1
        -- 10
        6 sensor=a value=2 ^11
        7 sensor=a value=4 ^14
        8 sensor=a value=8 ^15
        4 sensor=c value=32 ^29
        -- 15
        9 sensor=a value=16 ^30
        -- 26
        -- end";
    let settings =
        "window = \"10us\"\nallowed_lateness = \"20us\"\ncorrect_every = \"5us\"\naggregates = { s = \"sum(value)\" }";
    check(settings, script, "
        9 window_start=0 window_end=10 sensor=a s=1.0 firing=on_time revision=0 made_from=in[0]@0
        9 window_start=0 window_end=10 sensor=b s=1.0 firing=on_time revision=0 made_from=in[0]@1
        9 window_start=0 window_end=10 sensor=a s=7.0 firing=correction revision=1 made_from=in[0]@0-3 ^14
        9 window_start=0 window_end=10 sensor=a s=15.0 firing=correction revision=2 made_from=in[0]@0-4 ^19
        late: 9 sensor=a value=16.0 path=null status=null ok=null seen=null reason=its_window,_1970-01-01T00:00:00Z_to_1970-01-01T00:00:00.000010Z,_was_closed:_the_watermark_of_its_partition_was_1970-01-01T00:00:00.000030Z_already,_and_allowed_lateness_is_20us ^30
        9 window_start=0 window_end=10 sensor=c s=32.0 firing=correction revision=1 made_from=in[0]@5 ^29");
    // The deadline (17) lies between two points of the grid: what came at 18 is late, although the last point is 20.
    let settings = "window = \"10us\"\nallowed_lateness = \"7us\"\naggregates = { s = \"sum(value)\" }";
    let late = check::agree(
        &registry(),
        &config(settings),
        FIELDS,
        "1 sensor=a value=1\n2 sensor=a value=2 ^16\n3 sensor=a value=4 ^17\n-- end",
    );
    let lines: Vec<&str> = late.lines().filter(|line| !line.starts_with("late:")).collect();
    assert_eq!(lines.len(), 2, "{late}");
    assert!(lines[1].contains("s=3.0 firing=correction revision=1") && lines[1].ends_with("^19"), "{late}");
}

#[test]
fn early_results_hold_complete_panes() {
    let script = "
        1 sensor=a value=1
        3 sensor=b value=1
        6 sensor=a value=2
        -- 5
        2 sensor=a value=4 ^6
        -- 6
        -- 13
        21 sensor=a value=8
        -- end";
    check(
        "window = \"20us\"\nearly = \"5us\"\naggregates = { s = \"sum(value)\", r = \"rate()\" }",
        script,
        "
        4 window_start=0 window_end=20 sensor=a r=200000.0 s=1.0 firing=early revision=0 made_from=in[0]@0
        4 window_start=0 window_end=20 sensor=b r=200000.0 s=1.0 firing=early revision=0 made_from=in[0]@1
        9 window_start=0 window_end=20 sensor=a r=300000.0 s=7.0 firing=early revision=0 made_from=in[0]@0-3
        19 window_start=0 window_end=20 sensor=a r=150000.0 s=7.0 firing=on_time revision=0 made_from=in[0]@0-3
        19 window_start=0 window_end=20 sensor=b r=50000.0 s=1.0 firing=on_time revision=0 made_from=in[0]@1
        24 window_start=20 window_end=40 sensor=a r=200000.0 s=8.0 firing=early revision=0 made_from=in[0]@4
        39 window_start=20 window_end=40 sensor=a r=50000.0 s=8.0 firing=on_time revision=0 made_from=in[0]@4",
    );
}

#[test]
fn empty_windows_are_told_for_a_while() {
    let script = "5 sensor=a value=1\n25 sensor=b value=1\n-- 31\n-- 55\n75 sensor=a value=2\n-- end";
    check(
        "window = \"10us\"\nempty = \"25us\"\naggregates = { n = \"count()\", s = \"sum(value)\" }",
        script,
        "
        9 window_start=0 window_end=10 sensor=a n=1 s=1.0 made_from=in[0]@0
        19 window_start=10 window_end=20 sensor=a n=0 s=null made_from=
        29 window_start=20 window_end=30 sensor=a n=0 s=null made_from=
        29 window_start=20 window_end=30 sensor=b n=1 s=1.0 made_from=in[0]@1
        39 window_start=30 window_end=40 sensor=b n=0 s=null made_from=
        49 window_start=40 window_end=50 sensor=b n=0 s=null made_from=
        79 window_start=70 window_end=80 sensor=a n=1 s=2.0 made_from=in[0]@2
        89 window_start=80 window_end=90 sensor=a n=0 s=null made_from=
        99 window_start=90 window_end=100 sensor=a n=0 s=null made_from=",
    );
}

#[test]
fn global_windows() {
    let script =
        "5 sensor=b value=1\n7 sensor=a value=2\n-- 6\n3 sensor=b value=4 ^6\n12 sensor=b value=8\n-- 30\n-- end";
    check(
        "window = \"global\"\naggregates = { s = \"sum(value)\" }",
        script,
        "
        7 window_start=7 window_end=8 sensor=a s=2.0 made_from=in[0]@1 ^9223372036854775806
        12 window_start=3 window_end=13 sensor=b s=13.0 made_from=in[0]@0-3 ^9223372036854775806",
    );
    check("window = \"global\"\nearly = \"5us\"\naggregates = { s = \"sum(value)\" }", script, "
        9 window_start=7 window_end=8 sensor=a s=2.0 firing=early revision=0 made_from=in[0]@1
        9 window_start=3 window_end=6 sensor=b s=5.0 firing=early revision=0 made_from=in[0]@0-2
        14 window_start=3 window_end=13 sensor=b s=13.0 firing=early revision=0 made_from=in[0]@0-3
        7 window_start=7 window_end=8 sensor=a s=2.0 firing=on_time revision=0 made_from=in[0]@1 ^9223372036854775806
        12 window_start=3 window_end=13 sensor=b s=13.0 firing=on_time revision=0 made_from=in[0]@0-3 ^9223372036854775806");
}

#[test]
fn sessions_end_after_a_gap() {
    let script = "
        8 sensor=a value=2
        1 sensor=a value=1
        3 sensor=b value=1
        -- 9
        17 sensor=a value=4
        27 sensor=a value=8 @1:0
        -- 20
        10 sensor=a value=8 ^20
        -- end";
    check("window = { session = \"10us\" }\naggregates = { s = \"sum(value)\", r = \"rate()\" }", script, "
        12 window_start=3 window_end=13 sensor=b r=100000.0 s=1.0 made_from=in[0]@2
        26 window_start=1 window_end=27 sensor=a r=115384.61538461539 s=7.0 made_from=in[0]@0-3
        36 window_start=27 window_end=37 sensor=a r=100000.0 s=8.0 made_from=in[1]@0
        late: 10 sensor=a value=8.0 path=null status=null ok=null seen=null reason=older_than_the_watermark_of_its_partition,_which_was_1970-01-01T00:00:00.000020Z_already;_this_step_needs_its_records_in_order ^20");
}

#[test]
fn count_windows_hold_so_many_records_of_a_key() {
    let script: String = (0..7).map(|i| format!("{i} sensor=a value={i}\n{i} sensor=b\n")).collect();
    check(
        "window = { count = 3 }\naggregates = { s = \"sum(value)\" }",
        &format!("{script}-- 4\n-- end"),
        "
        2 window_start=0 window_end=3 sensor=a s=3.0 made_from=in[0]@0-4
        2 window_start=0 window_end=3 sensor=b s=null made_from=in[0]@1-5
        5 window_start=3 window_end=6 sensor=a s=12.0 made_from=in[0]@6-10
        5 window_start=3 window_end=6 sensor=b s=null made_from=in[0]@7-11",
    );
    let script: String = (0..10).map(|i| format!("{i} sensor=a value={i}\n")).collect();
    check(
        "window = { count = 6, slide = 4 }\naggregates = { s = \"sum(value)\" }",
        &format!("{script}-- 3\n-- end"),
        "
        5 window_start=0 window_end=6 sensor=a s=15.0 made_from=in[0]@0-5
        9 window_start=4 window_end=10 sensor=a s=39.0 made_from=in[0]@4-9",
    );
}

#[test]
fn every_function_of_known_values() {
    let script = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].iter().enumerate().fold(String::new(), |mut text, (i, v)| {
        let status = *v as i64 - 5;
        writeln!(text, "{i} sensor=a value={v} status={status} path=/{v} ok={} seen={}", *v > 4.5, 100 - i)
            .expect("text");
        text
    }) + "8 sensor=a";
    for (function, expected) in [
        ("count()", "9"),
        ("count(*)", "9"),
        ("count(value)", "8"),
        ("count(status)", "8"),
        ("count(path)", "8"),
        ("sum(value)", "40.0"),
        ("sum(status)", "0"),
        ("sum(ok)", "4"),
        ("sum(value > 4.5)", "4"),
        ("sum(value * 2 + status)", "80.0"),
        ("mean(value)", "5.0"),
        ("avg(ok)", "0.5"),
        ("variance(value)", "4.0"),
        ("var_pop(status)", "4.0"),
        ("stddev(value)", "2.0"),
        ("stddev(status)", "2.0"),
        ("sample_variance(value)", "4.571428571428571"),
        ("sample_stddev(value)", "2.138089935299395"),
        ("min(value)", "2.0"),
        ("max(status)", "4"),
        ("min(seen)", "93"),
        ("max(seen)", "100"),
        ("first(path)", "/2"),
        ("last(path)", "/9"),
        ("last(value)", "9.0"),
        ("first(ok)", "false"),
        ("rate()", "9.0"),
        ("rate(value)", "40.0"),
        ("exact_quantile(value, 0.5)", "4.5"),
        ("exact_median(status)", "-0.5"),
        ("quantile(value, 1)", "9.0"),
        ("quantile(value, 0)", "2.0"),
        ("distinct(path)", "5"),
        ("distinct(value, 14)", "5"),
        ("top_k(path, 2)", "[{\"value\":\"/4\",\"count\":3},{\"value\":\"/5\",\"count\":2}]"),
        ("top_k(ok, 1)", "[{\"value\":false,\"count\":4}]"),
    ] {
        assert_eq!(one(function, &script), expected, "{function}");
    }
    let median: f64 = one("median(value)", &script).parse().expect("a number");
    assert!((median / 4.0 - 1.0).abs() < 0.0005, "{median}");
}

#[test]
fn nulls_and_nans() {
    let nulls = "1 sensor=a\n2 sensor=a";
    for function in
        ["sum(value)", "mean(status)", "min(seen)", "stddev(value)", "p99(value)", "exact_median(value)", "first(path)"]
    {
        assert_eq!(one(function, nulls), "null", "{function}");
    }
    for function in ["count(value)", "count(path)", "distinct(path)"] {
        assert_eq!(one(function, nulls), "0", "{function}");
    }
    let nan = "1 sensor=a value=1\n2 sensor=a value=NaN\n3 sensor=a value=3";
    for (function, expected) in [
        ("count(value)", "3"),
        ("sum(value)", "\"NaN\""),
        ("variance(value)", "\"NaN\""),
        ("min(value)", "1.0"),
        ("max(value)", "3.0"),
        ("exact_median(value)", "2.0"),
        ("p99(value)", "3.0"),
        ("distinct(value)", "3"),
    ] {
        assert_eq!(one(function, nan), expected, "{function}");
    }
    assert_eq!(one("sample_variance(value)", "1 sensor=a value=1"), "null");
    assert_eq!(one("sum(status)", &"1 sensor=a status=9223372036854775807\n".repeat(2)), "null");
    assert_eq!(
        one("sum(status)", "1 sensor=a status=9223372036854775807\n2 sensor=a status=-1"),
        "9223372036854775806"
    );
}

#[test]
fn an_argument_that_fails_costs_its_record() {
    let script = "1 sensor=a status=0\n2 sensor=a status=5\n-- end";
    let all = check::agree(
        &registry(),
        &config("window = \"10us\"\naggregates = { n = \"count()\", s = \"sum(10 / status)\" }"),
        FIELDS,
        script,
    );
    assert!(all.contains("n=1 s=2") && all.contains("rejected: 1 reason=`10_/_status`_has_no_value"), "{all}");
}

#[test]
fn no_key_and_many_keys() {
    let script = "1 sensor=a status=1\n2 sensor=b status=1\n3 sensor=a status=2\n-- end";
    check::check(
        &registry(),
        "kind = \"aggregate\"\nwindow = \"10us\"\naggregates = { n = \"count()\" }",
        FIELDS,
        script,
        "9 window_start=0 window_end=10 n=3 made_from=in[0]@0-2",
    );
    check::check(
        &registry(),
        "kind = \"aggregate\"\nkey = [\"status\", \"sensor\"]\nwindow = \"10us\"\naggregates = { n = \"count()\" }",
        FIELDS,
        script,
        "
        9 window_start=0 window_end=10 status=1 sensor=a n=1 made_from=in[0]@0
        9 window_start=0 window_end=10 status=1 sensor=b n=1 made_from=in[0]@1
        9 window_start=0 window_end=10 status=2 sensor=a n=1 made_from=in[0]@2",
    );
}

#[test]
fn mistakes_are_named_where_they_are() {
    for (settings, says) in [
        ("window = \"10 parsecs\"\naggregates = { n = \"count()\" }", "window: `10 parsecs` is no window"),
        ("window = 10\naggregates = { n = \"count()\" }", "expected a window: \"10s\""),
        ("window = { size = \"10s\", sldie = \"5s\" }\naggregates = { n = \"count()\" }", "unknown field `sldie`"),
        (
            "window = { slide = \"5s\" }\naggregates = { n = \"count()\" }",
            "window: these settings make no window together",
        ),
        (
            "window = { size = \"10s\", slide = \"20s\" }\naggregates = { n = \"count()\" }",
            "window.slide: windows 20s apart",
        ),
        (
            "window = { size = \"10s\", slide = 5 }\naggregates = { n = \"count()\" }",
            "window.slide: a number of records",
        ),
        ("window = { size = \"1d\", slide = \"1s\" }\naggregates = { n = \"count()\" }", "made of 86400 panes of 1s"),
        ("window = { count = 0 }\naggregates = { n = \"count()\" }", "window.count: a number of records is at least 1"),
        ("window = { count = 5, slide = \"5s\" }\naggregates = { n = \"count()\" }", "window.slide: a length of time"),
        ("window = \"0s\"\naggregates = { n = \"count()\" }", "window: must be longer than nothing"),
        (
            "window = { session = \"5s\" }\nearly = \"1s\"\naggregates = { n = \"count()\" }",
            "early: a session window has no `early`",
        ),
        (
            "window = \"global\"\nempty = \"1s\"\naggregates = { n = \"count()\" }",
            "empty: a global window has no `empty`",
        ),
        ("window = \"global\"\naggregates = { n = \"rate()\" }", "aggregates.n: a window of this form has no length"),
        ("window = \"5s\"\nearly = \"5s\"\naggregates = { n = \"count()\" }", "early: must be shorter than the window"),
        (
            "window = \"5s\"\ncorrect_every = \"1s\"\naggregates = { n = \"count()\" }",
            "nothing is corrected without `allowed_lateness`",
        ),
        ("window = \"5s\"\naggregates = {}", "aggregates: nothing is computed"),
        (
            "window = \"5s\"\naggregates = { n = \"cuont()\" }",
            "aggregates.n: no aggregate function `cuont` (did you mean `count`?)",
        ),
        (
            "window = \"5s\"\naggregates = { n = \"mean(valeu)\" }",
            "no field `valeu` in `valeu` (did you mean `value`?)",
        ),
        (
            "window = \"5s\"\naggregates = { n = \"mean(path)\" }",
            "aggregates.n: `path` is text, and this function needs numbers",
        ),
        (
            "window = \"5s\"\naggregates = { sensor = \"count()\" }",
            "`sensor` is the name of another field of the output",
        ),
        ("window = \"5s\"\naggregates = { n = \"count()\" }\nlateness = \"5s\"", "unknown field `lateness`"),
    ] {
        let said = check::faults(&registry(), &config(settings), FIELDS);
        assert!(said.contains(says), "{settings}\n{said}");
    }
}

/// A record of a random log: partition, time, key, value.
type Record = (u32, i64, u8, i64);

/// A record with its sequence and its stamp: what its partition alone says of it.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    record: Record,
    sequence: i64,
    stamp: Option<i64>,
}

/// Reads every partition with a watermark 6 us behind its newest record.
fn stamped(records: &[Record]) -> Vec<Vec<(Stamped, i64)>> {
    let mut partitions = vec![Vec::new(); 3];
    let mut watermarks = [i64::MIN; 3];
    for record in records {
        let partition = record.0 as usize;
        let watermark = watermarks[partition];
        watermarks[partition] = watermark.max(record.1 - 6);
        let sequence = partitions[partition].len() as i64;
        let stamp = (record.1 < watermark).then_some(watermark);
        partitions[partition].push((Stamped { record: *record, sequence, stamp }, watermarks[partition]));
    }
    partitions
}

/// The partitions read at some speeds, with epochs of some lengths.
fn interleaved(partitions: &[Vec<(Stamped, i64)>], seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut next = [0; 3];
    let mut text = String::new();
    while (0..3).any(|p| next[p] < partitions[p].len()) {
        let partition = random.pick(3) as usize;
        for _ in 0..random.pick(6) {
            let Some((Stamped { record: (_, time, key, value), sequence, stamp }, _)) =
                partitions[partition].get(next[partition])
            else {
                break;
            };
            next[partition] += 1;
            write!(text, "{time} sensor=k{key} value={value}.1 status={value} path=p{value} @{partition}:{sequence}")
                .expect("text");
            stamp.iter().for_each(|stamp| write!(text, " ^{stamp}").expect("text"));
            text.push('\n');
        }
        if random.pick(3) == 0 {
            let of = |p: usize| {
                if next[p] == partitions[p].len() {
                    i64::MAX
                } else {
                    next[p].checked_sub(1).map_or(i64::MIN, |i| partitions[p][i].1)
                }
            };
            writeln!(text, "-- {}", (0..3).map(of).min().expect("three").min(1_000_000)).expect("text");
        }
    }
    text + "-- end\n"
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// What the windows of a grid tell of the number of records and the sum: straight from the rule of the stamp.
fn naive(records: &[Stamped], size: i64, slide: i64, allowed: i64, correct: i64) -> Vec<String> {
    let mut windows: BTreeMap<(i64, u8), Vec<Stamped>> = BTreeMap::new();
    for stamped in records {
        let (_, time, key, _) = stamped.record;
        let mut start = time.div_euclid(slide) * slide;
        while start + size > time {
            if stamped.stamp.is_none_or(|stamp| start + size + allowed > stamp) {
                windows.entry((start, key)).or_default().push(*stamped);
            }
            start -= slide;
        }
    }
    let mut lines = Vec::new();
    for ((start, key), records) in windows {
        let (end, mut told, mut revision) = (start + size, 0, 0);
        let first = (end.div_euclid(correct) + 1) * correct;
        let points = std::iter::once(end).chain((first..=end + allowed + correct).step_by(correct as usize));
        for point in points {
            let below: Vec<&Stamped> = records.iter().filter(|r| r.stamp.is_none_or(|stamp| stamp < point)).collect();
            if below.len() == told {
                continue;
            }
            told = below.len();
            revision += i64::from(point > end);
            let sum: i64 = below.iter().map(|r| r.record.3).sum();
            let firing = if point > end {
                format!("firing=correction revision={revision}")
            } else {
                "firing=on_time revision=0".into()
            };
            lines.push(format!(
                "{} window_start={start} window_end={end} sensor=k{key} n={told} s={sum} {firing}",
                end - 1
            ));
        }
    }
    lines.sort_unstable();
    lines
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (0u32..3, 0i64..40, 0u8..3, 0i64..9);
    prop::collection::vec(record, 1..60).prop_map(|mut records| {
        // Time goes on in every partition, with records out of order by up to 40 us.
        records.iter_mut().enumerate().for_each(|(i, record)| record.1 += i as i64 * 3);
        records
    })
}

const ALL_AGGREGATES: &str = r#"
aggregates.n = "count()"
aggregates.s = "sum(value)"
aggregates.sd = "stddev(value)"
aggregates.m = "mean(value * 0.3)"
aggregates.lo = "min(value)"
aggregates.p = "p90(value)"
aggregates.e = "exact_median(value)"
aggregates.d = "distinct(path)"
aggregates.t = "top_k(path, 3)"
aggregates.f = "first(value)"
aggregates.l = "last(path)""#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_matters(records in records(), seeds in (0u64..1000, 0u64..1000)) {
        let partitions = stamped(&records);
        for settings in [
            "window = \"10us\"",
            "window = { size = \"20us\", slide = \"5us\" }\nallowed_lateness = \"13us\"\ncorrect_every = \"4us\"",
            "window = { size = \"20us\", slide = \"10us\" }\nearly = \"5us\"\nallowed_lateness = \"10us\"\noffset = \"3us\"",
            "window = \"10us\"\nempty = \"30us\"\nallowed_lateness = \"9us\"",
            "window = \"global\"\nearly = \"20us\"",
            "window = { session = \"7us\" }",
            "window = { count = 4, slide = 2 }",
        ] {
            let timed = !settings.contains("global") && !settings.contains("count");
            let rate = if timed { "\naggregates.r = \"rate(value)\"" } else { "" };
            let config = config(&format!("{settings}\n{ALL_AGGREGATES}{rate}"));
            let one = check::agree(&registry(), &config, FIELDS, &interleaved(&partitions, seeds.0));
            let other = check::agree(&registry(), &config, FIELDS, &interleaved(&partitions, seeds.1));
            prop_assert_eq!(sorted(&one), sorted(&other), "{}", settings);
        }
    }

    #[test]
    fn results_are_those_of_the_rule(records in records(), seed in 0u64..1000) {
        let partitions = stamped(&records);
        let all: Vec<Stamped> = partitions.iter().flatten().map(|(stamped, _)| *stamped).collect();
        for (size, slide, allowed, correct) in [(10, 10, 15, 10), (20, 5, 13, 4), (15, 10, 40, 7), (12, 4, 3, 4)] {
            let settings = format!(
                "window = {{ size = \"{size}us\", slide = \"{slide}us\" }}\nallowed_lateness = \"{allowed}us\"\ncorrect_every = \"{correct}us\"\n\
                 aggregates = {{ n = \"count()\", s = \"sum(status)\" }}");
            let text = check::agree(&registry(), &config(&settings), FIELDS, &interleaved(&partitions, seed));
            let results: String = text.lines().filter(|line| !line.starts_with("late:")).map(|line| {
                line.split_once(" made_from").map_or(line, |(head, _)| head).to_owned() + "\n"
            }).collect();
            prop_assert_eq!(sorted(&results), naive(&all, size, slide, allowed, correct), "{}", settings);
        }
    }
}
