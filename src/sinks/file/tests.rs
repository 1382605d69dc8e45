//! Files as they are written and rolled, without checkpoints.

use super::*;
use crate::batch::{Batch, Head};
use crate::origin::Origins;
use crate::schema::{Field, Kind};
use arrow::array::{ArrayRef, Int64Array};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn schema() -> Schema {
    Schema::new([Field::new("n", Kind::Int)])
}

/// Rows with these event times, in seconds; `n` counts from the first.
fn batch(seconds: &[i64]) -> Batch {
    let numbers: Vec<i64> = (0..seconds.len() as i64).collect();
    let times = seconds.iter().map(|s| s * 1_000_000).collect();
    let head = Head { times, origins: vec![0; seconds.len()], sequences: numbers.clone(), ..Head::default() };
    Batch::new(&schema(), head, vec![Arc::new(Int64Array::from(numbers)) as ArrayRef])
}

fn settings(text: &str) -> FileSink {
    toml::from_str(text).expect("settings")
}

fn open(text: &str) -> Box<dyn Writer> {
    let (settings, mut faults) = (settings(text), Vec::new());
    settings.plan(&schema(), &mut faults);
    assert_eq!(faults, []);
    let (schema, origins) = (schema(), Origins::default());
    settings
        .open(Opening {
            job: "job",
            delivery: Delivery::AtLeastOnce,
            resumes: false,
            name: "alerts",
            input: &schema,
            shard: (0, 1),
            origins: &origins,
        })
        .expect("a writer")
}

/// Runs a sink with some batches (event times in seconds) and gives the files by name, read and decompressed.
fn run(folder: &Path, text: &str, batches: &[&[i64]]) -> BTreeMap<String, String> {
    let mut writer = open(&text.replace("FOLDER", folder.to_str().expect("a path")));
    for seconds in batches {
        writer.write(&batch(seconds)).expect("written");
        writer.flush().expect("flushed");
    }
    writer.finish().expect("finished");
    let mut files = BTreeMap::new();
    gather(folder, folder, &mut files);
    files
}

fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(root, &path, files);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        let name = path.strip_prefix(root).expect("below").display().to_string();
        let mut text = String::new();
        if name.ends_with(".gz") {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        } else if name.ends_with(".zst") {
            text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("text");
        } else {
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        files.insert(name, text);
    }
}

fn json(rows: &[(&str, i64)]) -> String {
    rows.iter().map(|(time, n)| format!("{{\"event_time\":\"1970-01-01T{time}Z\",\"n\":{n}}}\n")).collect()
}

fn check(text: &str, batches: &[&[i64]], expected: &[(&str, String)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = run(folder.path(), text, batches);
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, text)| (name.to_string(), text.clone())).collect();
    assert_eq!(files, expected, "{text}");
}

#[test]
fn files_hold_what_was_written() {
    let rows = json(&[("00:00:01", 0), ("00:00:02", 1), ("00:00:03", 0)]);
    let csv = "event_time,n\n1970-01-01T00:00:01Z,0\n1970-01-01T00:00:02Z,1\n1970-01-01T00:00:03Z,0\n".to_owned();
    let batches: &[&[i64]] = &[&[1, 2], &[], &[3]];
    check("path = 'FOLDER/a/b/{name}.json'", batches, &[("a/b/alerts.json", rows.clone())]);
    check("path = 'FOLDER/x.jsonl.gz'", batches, &[("x.jsonl.gz", rows.clone())]);
    check("path = 'FOLDER/x.zst'\nformat = 'json'", batches, &[("x.zst", rows.clone())]);
    check("path = 'FOLDER/x.csv'", batches, &[("x.csv", csv.clone())]);
    check("path = 'FOLDER/x.csv.gz'\ncompression = 'gzip'", batches, &[("x.csv.gz", csv)]);
    check("path = 'FOLDER/100%%.json'", batches, &[("100%.json", rows)]);
    check("path = 'FOLDER/x.json'", &[], &[]);
}

#[test]
fn files_roll_by_size() {
    let row = |n| json(&[("00:00:01", n)]);
    let text = "path = 'FOLDER/x.json'\nroll_size = '60B'";
    check(text, &[&[1, 1, 1], &[1]], &[("x-00000.json", row(0) + &row(1)), ("x-00001.json", row(2) + &row(0))]);
    let text = "path = 'FOLDER/{part}/x.csv'\nroll_size = '20B'";
    let csv = |n| format!("event_time,n\n1970-01-01T00:00:01Z,{n}\n");
    check(text, &[&[1, 1]], &[("00000/x.csv", csv(0)), ("00001/x.csv", csv(1))]);
}

#[test]
fn files_roll_by_event_time_whatever_the_order() {
    let hour = |h: i64| h * 3_600;
    let times: &[&[i64]] = &[&[hour(1), hour(2)], &[hour(1) + 5, hour(2) + 5]];
    let first = json(&[("01:00:00", 0), ("01:00:05", 0)]);
    let second = json(&[("02:00:00", 1), ("02:00:05", 1)]);
    let text = "path = 'FOLDER/%Y/%H.json'\nroll_every = '1h'";
    check(text, times, &[("1970/01-00000.json", first), ("1970/02-00000.json", second)]);
    // A tenth hour closes the first; what still comes for it begins another part.
    let many: Vec<i64> = (0..9).map(hour).chain([0]).collect();
    let mut expected: Vec<(String, String)> =
        (0..9).map(|h| (format!("{h:02}-00000.json"), json(&[(&format!("{h:02}:00:00"), h)]))).collect();
    expected.push(("00-00001.json".into(), json(&[("00:00:00", 9)])));
    let expected: Vec<(&str, String)> = expected.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    check("path = 'FOLDER/%H.json'\nroll_every = '1h'", &[&many], &expected);
}

#[test]
fn an_earlier_run_is_replaced_or_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let go = |text: &str, batches: &[&[i64]]| run(folder.path(), text, batches);
    let (a, b) = (json(&[("00:00:01", 0)]), json(&[("00:00:02", 0)]));
    let plain = "path = 'FOLDER/x.json'";
    assert_eq!(go(plain, &[&[1]])["x.json"], a);
    assert_eq!(go(plain, &[&[2]])["x.json"], b);
    let append = "path = 'FOLDER/x.json'\nappend = true";
    assert_eq!(go(append, &[&[1]])["x.json"], b.clone() + &a);
    assert!(!go(plain, &[]).contains_key("x.json"));
    let zipped = "path = 'FOLDER/x.csv.gz'\nappend = true";
    go(zipped, &[&[1]]);
    assert_eq!(go(zipped, &[&[2]])["x.csv.gz"], "event_time,n\n1970-01-01T00:00:01Z,0\n1970-01-01T00:00:02Z,0\n");
    let parts = "path = 'FOLDER/p.json'\nappend = true\nroll_size = '1MB'";
    go(parts, &[&[1]]);
    let files = go(parts, &[&[2]]);
    assert_eq!((&files["p-00000.json"], &files["p-00001.json"]), (&a, &b));
}

#[test]
fn parquet_rolls_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = run(folder.path(), "path = 'FOLDER/%d.parquet'\nroll_every = '1d'", &[&[1, 86_400], &[2]]);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["01-00000.parquet", "02-00000.parquet"]);
    let file = fs::File::open(folder.path().join("01-00000.parquet")).expect("a file");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10).expect("Parquet");
    assert_eq!(reader.map(|batch| batch.expect("rows").num_rows()).sum::<usize>(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told() {
    for text in [
        "format = 'json'",
        "format = 'csv'\ncompression = 'gzip'",
        "format = 'json'\ncompression = 'zstd'",
        "format = 'parquet'",
    ] {
        let mut writer = open(&format!("path = '/dev/full'\n{text}"));
        let rows = batch(&[1, 2, 3]);
        let failure =
            writer.write(&rows).and_then(|()| writer.flush()).and_then(|()| writer.finish()).expect_err("full");
        let message = failure.to_string();
        assert!(message.contains("/dev/full") && message.contains("No space left"), "{message}");
        assert!(message.contains("0 of 3 rows") || message.contains("no footer"), "{message}");
        assert!(message.contains("make room"), "{message}");
    }
    let failure = open("path = '/dev/null/x.json'").write(&batch(&[1])).expect_err("no folder");
    assert!(failure.to_string().starts_with("cannot open /dev/null/x.json for writing"), "{failure}");
}

/// `mount -t tmpfs -o size=64k tmpfs FOLDER` first, and name FOLDER in the file `/tmp/eagre-small-disk`.
#[test]
#[ignore = "needs a small disk"]
fn a_full_disk_leaves_whole_rows() {
    let folder = fs::read_to_string("/tmp/eagre-small-disk").expect("the name of a small disk");
    let path = PathBuf::from(folder.trim()).join("x.json");
    let mut writer = open(&format!("path = {path:?}"));
    let seconds: Vec<i64> = (0..100).collect();
    let failure =
        (0..1_000).find_map(|_| writer.write(&batch(&seconds)).and_then(|()| writer.flush()).err()).expect("full");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.len() > 40_000 && text.ends_with("}\n"), "{} bytes", text.len());
    assert!(failure.message.contains(&format!("{} of", text.lines().count())), "{failure}");
}

#[test]
fn faults_name_the_setting() {
    let check = |text: &str, expected: &[&str]| {
        let mut faults = Vec::new();
        settings(text).plan(&schema(), &mut faults);
        let found: Vec<String> = faults.iter().map(|fault| fault.path.join(".")).collect();
        assert_eq!(found, expected, "{text}: {faults:?}");
    };
    check("path = ''", &["path"]);
    check("path = 'out/x'", &["path"]);
    check("path = 'x.parquet'\nappend = true\ncompression = 'gzip'", &["append", "compression"]);
    check("path = 'x.parquet.gz'", &["path"]);
    check("path = 'x-{part}.json'", &["path"]);
    check("path = '{nme}/{name}{.json'", &["path", "path"]);
    check("path = '%H.json'", &["path"]);
    check("path = '%!.json'\nroll_every = '1h'", &["path"]);
    check("path = 'x.json'\nroll_every = '0'", &["roll_every"]);
    for text in [
        "path = 'x'\nroll_size = '10'",
        "path = 'x'\nroll_size = '-1MB'",
        "path = 'x'\ncompression = 'zip'",
        "format = 'json'",
    ] {
        assert!(toml::from_str::<FileSink>(text).is_err(), "{text}");
    }
    assert_eq!(settings("path = 'x'\nroll_size = '1.5 MiB'").roll_size.map(Size::bytes), Some(1_572_864));
}
