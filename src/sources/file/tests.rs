//! What the readers of files give, however the bytes come, and what they say of files that are broken.

use super::*;
use crate::formats::only_bad;
use crate::formats::table::text_of;
use crate::source::{Bench, Read};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use std::io::{Cursor, Write};
use std::sync::mpsc::channel;
use tempfile::TempDir;

/// A folder with files, and a source of them.
struct Case {
    folder: TempDir,
    settings: String,
}

const JSON: &str = "fields = { t = 'time(ms)', s = 'text' }\nevent_time = 't'\n";

impl Case {
    fn new(settings: &str) -> Case {
        Case { folder: tempfile::tempdir().expect("a folder"), settings: settings.to_owned() }
    }

    fn with(self, name: &str, bytes: &[u8]) -> Case {
        fs::write(self.folder.path().join(name), bytes).expect("a written file");
        self
    }

    fn append(&self, name: &str, bytes: &str) {
        let file = fs::OpenOptions::new().append(true).open(self.folder.path().join(name));
        file.expect("a file").write_all(bytes.as_bytes()).expect("appended bytes");
    }

    /// `@` stands for the folder.
    fn source(&self, path: &str) -> FileSource {
        let folder = self.folder.path().to_str().expect("a name in UTF-8");
        let text = format!("path = {path}\n{}", self.settings).replace('@', folder);
        toml::from_str(&text).expect("a configuration")
    }

    fn feed(&self, path: &str, chunk_bytes: usize) -> FileFeed {
        let source = self.source(path);
        let schema = source.plan(&mut Vec::new()).expect("a schema");
        let mut feed = source.feed(&schema.filtered(|name| name != "t")).expect("a feed");
        feed.settings.chunk_bytes = chunk_bytes;
        feed
    }

    /// All that a file gives.
    fn read(&self, name: &str, chunk_bytes: usize) -> String {
        let feed = self.feed(&format!("'@/{name}'"), chunk_bytes);
        let partition = feed.partitions().expect("partitions").remove(0);
        drain(&feed, &mut *open(&feed, &partition, None))
            .concat()
            .replace(self.folder.path().to_str().expect("UTF-8"), "@")
    }

    /// The same text, however much is read at a time, and from wherever reading begins again.
    fn check(&self, name: &str, expected: &str) {
        for chunk_bytes in (1..40).chain([1 << 20]) {
            assert_eq!(self.read(name, chunk_bytes), expected, "{name} by {chunk_bytes}");
        }
        let feed = self.feed(&format!("'@/{name}'"), 1);
        let partition = feed.partitions().expect("partitions").remove(0);
        let mut reader = open(&feed, &partition, None);
        let mut given = String::new();
        loop {
            let again = drain(&feed, &mut *open(&feed, &partition, Some(reader.position()))).concat();
            let all = (given.clone() + &again).replace(self.folder.path().to_str().expect("UTF-8"), "@");
            assert_eq!(all, expected, "{name} again from {}", reader.position());
            match text(&feed, reader.read(1).expect("a read")) {
                Some(text) => given += &text,
                None => break,
            }
        }
    }
}

fn open(feed: &FileFeed, partition: &str, from: Option<Position>) -> Box<dyn Reader> {
    Feed::open(feed, partition, from, Arc::new(|| {})).expect("a reader")
}

/// What a read gave; `None` for none now, or ever.
fn text(feed: &FileFeed, read: Read) -> Option<String> {
    let rows = match read {
        Read::Frames(frames) => feed.decoder().expect("a decoder")().decode(&frames),
        Read::Rows(rows) => rows,
        Read::Errand(errand) => {
            let mut bench = Bench { decoder: feed.decoder().map(|make| make()), ..Bench::default() };
            let (wanted, mut text) = (&feed.settings.wanted, String::new());
            let done = errand(&mut bench, &mut |rows| text += &text_of(wanted, rows));
            return Some(text + &done.err().map_or(String::new(), |bad| text_of(wanted, only_bad(wanted, bad))));
        }
        Read::Idle(_) | Read::End => return None,
    };
    Some(text_of(&feed.settings.wanted, rows))
}

fn drain(feed: &FileFeed, reader: &mut dyn Reader) -> Vec<String> {
    std::iter::from_fn(|| text(feed, reader.read(100).expect("a read"))).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), flate2::Compression::default());
    to.write_all(text).expect("packed bytes");
    to.finish().expect("packed bytes")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).expect("packed bytes")
}

const LINES: &str = "{\"t\":1,\"s\":\"a\"}\n\n{\"t\":2,\"s\":\"é\"}\r\n{\"t\":3,\"s\":3}\n{\"t\":4}";
const ROWS: &str = "\
0 1970-01-01T00:00:00.001Z {\"s\":\"a\"}
17 1970-01-01T00:00:00.002Z {\"s\":\"é\"}
35 ! field `s`: found number 3, wanted text, column 12
49 1970-01-01T00:00:00.004Z {\"s\":null}
";

#[test]
fn lines_are_the_same_packed_or_not() {
    let (first, second) = LINES.as_bytes().split_at(20);
    let marked = ROWS.replace("0 1970-01-01T00:00:00.001Z", "3 1970-01-01T00:00:00.001Z");
    let marked = marked.replace("\n17 ", "\n20 ").replace("\n35 ", "\n38 ").replace("\n49 ", "\n52 ");
    let case = Case::new(JSON)
        .with("a.jsonl", LINES.as_bytes())
        .with("a.jsonl.gz", &gzip(LINES.as_bytes()))
        .with("two.json.gz", &[gzip(first), gzip(second)].concat())
        .with("a.ndjson.zst", &zstd(LINES.as_bytes()))
        .with("two.json.zst", &[zstd(first), zstd(second)].concat())
        .with("mark.json", format!("\u{feff}{LINES}").as_bytes())
        .with("empty.json", b"");
    for name in ["a.jsonl", "a.jsonl.gz", "two.json.gz", "a.ndjson.zst", "two.json.zst"] {
        case.check(name, ROWS);
    }
    case.check("mark.json", &marked);
    case.check("empty.json", "");
    let feed = case.feed("['@/a.jsonl', '@/a.jsonl.gz']", 8);
    let sizes: Vec<u64> = ["a.jsonl", "a.jsonl.gz"]
        .iter()
        .map(|n| case.folder.path().join(n).metadata().expect("a file").len())
        .collect();
    assert_eq!(feed.total(), Some(sizes.iter().sum()));
    for (partition, size) in feed.partitions().expect("partitions").iter().zip(sizes) {
        let mut reader = open(&feed, partition, None);
        drain(&feed, &mut *reader);
        assert_eq!(reader.progress(), size, "{partition}");
    }
}

#[test]
fn csv_is_cut_between_records() {
    let text = b"t,s\n1,\"a\nb\"\n2,\"\"\"\n\"\"\"\r\n3,x\"y\n\n4\n5,\"last\n line\"";
    let expected = "\
4 1970-01-01T00:00:00.001Z {\"s\":\"a\\nb\"}
12 1970-01-01T00:00:00.002Z {\"s\":\"\\\"\\n\\\"\"}
23 1970-01-01T00:00:00.003Z {\"s\":\"x\\\"y\"}
30 ! found 1 cells, wanted 2 as in the header
32 1970-01-01T00:00:00.005Z {\"s\":\"last\\n line\"}
";
    let semicolons = String::from_utf8_lossy(text).replace(',', ";");
    let case = Case::new(JSON)
        .with("a.csv", text)
        .with("a.csv.gz", &gzip(text))
        .with("a.tsv", String::from_utf8_lossy(text).replace(',', "\t").as_bytes())
        .with("head.csv", b"t,s")
        .with("none.csv", b"")
        .with("wrong.csv", b"t,S\n1,x\n");
    case.check("a.csv", expected);
    case.check("a.csv.gz", expected);
    case.check("a.tsv", expected);
    case.check("head.csv", "");
    case.check("none.csv", "");
    case.check(
        "wrong.csv",
        "0 ! @/wrong.csv: no column `s` in the header: did you mean `S`?; nothing behind byte 0 was read\n",
    );
    Case::new(&format!("{JSON}delimiter = ';'")).with("b.csv", semicolons.as_bytes()).check("b.csv", expected);
    let headless =
        Case::new(&format!("{JSON}header = false\ncolumns = ['x', 's', 't']")).with("c.csv", b"-,a,1\n-,\"b\n\",2\n");
    headless.check("c.csv", "0 1970-01-01T00:00:00.001Z {\"s\":\"a\"}\n6 1970-01-01T00:00:00.002Z {\"s\":\"b\\n\"}\n");
}

#[test]
fn long_lines_are_rejected_wherever_the_buffer_ends() {
    let settings = format!("{JSON}line_bytes_max = 16\n");
    let long = "x".repeat(100);
    let lines =
        format!("{{\"t\":1,\"s\":\"a\"}}\n{{\"t\":2,\"s\":\"{long}\"}}\n{{\"t\":3,\"s\":\"c\"}} \n{{\"t\":4}}\n{long}");
    let reason = "! a record longer than 16 bytes, wanted a line break before (line_bytes_max)";
    let expected = format!(
        "0 1970-01-01T00:00:00.001Z {{\"s\":\"a\"}}\n16 {reason}\n131 1970-01-01T00:00:00.003Z {{\"s\":\"c\"}}\n148 1970-01-01T00:00:00.004Z {{\"s\":null}}\n156 {reason}\n"
    );
    let csv = "t,s\n1,\"a\n3456789 1234567\n3,\"\n2,b\n4,\"\n";
    let records = format!("4 {reason}\n25 1970-01-01T00:00:00.003Z {{\"s\":\"\\n2,b\\n4,\"}}\n");
    let case = Case::new(&settings)
        .with("a.json", lines.as_bytes())
        .with("a.json.gz", &gzip(lines.as_bytes()))
        .with("a.csv", csv.as_bytes());
    case.check("a.json", &expected);
    case.check("a.json.gz", &expected);
    case.check("a.csv", &records);
}

#[test]
fn a_broken_file_says_so_once_and_gives_what_it_has() {
    let lines: String = (0..12_000).map(|i| format!("{{\"t\":{i},\"s\":\"{}\"}}\n", i * 7919 % 10_007)).collect();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int64Array::from_iter_values(0..100))),
        ("s", Arc::new(StringArray::from_iter_values((0..100).map(|i| format!("text {i}"))))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a written batch");
    let parquet = writer.into_inner().expect("bytes");
    let mut holed = parquet.clone();
    holed[4..60].fill(0xff);
    let case = Case::new(JSON)
        .with("a.json.gz", &half(gzip(lines.as_bytes())))
        .with("a.json.zst", &half(zstd(lines.as_bytes())))
        .with("no.json.gz", b"hello")
        .with("a.parquet", &parquet)
        .with("half.parquet", &half(parquet.clone()))
        .with("holed.parquet", &holed);
    for name in ["a.json.gz", "a.json.zst"] {
        let text = case.read(name, 1000);
        let (rows, last) = text.trim_end().rsplit_once('\n').expect("two lines");
        assert!(lines.starts_with("{\"t\":0") && rows.lines().count() > 100, "{name}: {}", rows.lines().count());
        assert!(rows.lines().all(|line| line.contains('Z')), "{name}");
        assert!(last.contains(&format!("! @/{name}: ")) && last.contains("; nothing behind byte"), "{last}");
        let feed = case.feed(&format!("'@/{name}'"), 1000);
        let partition = feed.partitions().expect("partitions").remove(0);
        let mut reader = open(&feed, &partition, None);
        drain(&feed, &mut *reader);
        assert_eq!(drain(&feed, &mut *open(&feed, &partition, Some(reader.position()))), [""; 0], "said before");
    }
    assert!(case.read("no.json.gz", 9).starts_with("0 ! @/no.json.gz: "));
    case.check("half.parquet", "0 ! @/half.parquet: not a whole Parquet file: Parquet error: Invalid Parquet file. Corrupt footer (write it again: a Parquet file is read from its end)\n");
    let text = case.read("holed.parquet", 9);
    assert!(text.starts_with("0 ! @/holed.parquet: after row 0: ") && text.lines().count() == 1, "{text}");
    assert_eq!(case.read("a.parquet", 9).lines().count(), 100);
    let feed = case.feed("'@/*.parquet'", 9);
    let given: Vec<usize> = feed
        .partitions()
        .expect("partitions")
        .iter()
        .map(|p| drain(&feed, &mut *open(&feed, p, None)).concat().lines().count())
        .collect();
    assert_eq!(given, [100, 1, 1], "one file that cannot be read does not stop the others");
    let rest = drain(&feed, &mut *open(&feed, &feed.partitions().expect("partitions")[0], Some(98))).concat();
    assert_eq!(
        rest,
        "98 1970-01-01T00:00:00.098Z {\"s\":\"text 98\"}\n99 1970-01-01T00:00:00.099Z {\"s\":\"text 99\"}\n"
    );
}

#[test]
fn files_come_in_order_of_name() {
    let case = Case::new(JSON).with("b.json", b"").with("a10.json", b"").with("a2.json", b"").with("c.txt", b"");
    fs::create_dir(case.folder.path().join("d.json")).expect("a folder");
    let names = |path: &str| {
        let partitions = case.feed(path, 9).partitions().expect("partitions");
        partitions.iter().map(|p| p.rsplit('/').next().expect("a name").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("'@/*.json'"), "a10.json a2.json b.json");
    assert_eq!(names("['@/b.json', '@/*.json']"), "b.json a10.json a2.json");
    assert_eq!(names("'@/a[0-9].json'"), "a2.json");
    let failure = |path: &str| {
        let source = case.source(path);
        let schema = source.plan(&mut Vec::new()).expect("a schema");
        Source::open(&source, "readings", &schema).err().expect("a failure").to_string()
    };
    let text = failure("'@/z*.json'");
    assert!(text.starts_with("no file matches `/") && text.contains(" in /") && text.contains("`a10.json`"), "{text}");
}

#[test]
fn a_file_that_is_cut_while_it_is_read_ends_where_it_was_cut() {
    let case = Case::new(JSON).with("a.jsonl", "{\"t\":1,\"s\":\"a\"}\n".repeat(100).as_bytes());
    let feed = case.feed("'@/a.jsonl'", 64);
    let partition = feed.partitions().expect("partitions").remove(0);
    let mut reader = open(&feed, &partition, None);
    let errand = loop {
        match reader.read(1).expect("a read") {
            Read::Errand(errand) => break errand,
            Read::Frames(_) => {}
            _ => panic!("the middle of a file is read by errands"),
        }
    };
    fs::OpenOptions::new().write(true).open(&partition).expect("a file").set_len(50).expect("a shorter file");
    let mut bench = Bench { decoder: feed.decoder().map(|make| make()), ..Bench::default() };
    let bad = errand(&mut bench, &mut |_| panic!("what was cut cannot be decoded")).expect_err("a reason");
    assert!(bad.reason.ends_with(&format!("nothing behind byte {} was read", bad.sequence)), "{}", bad.reason);
    assert!(bad.sequence > 0 && bad.sequence <= 64, "behind what was given before");
    reader.end();
    assert!(matches!(reader.read(1), Ok(Read::End)) && reader::is_broken(Some(reader.position())));
}

#[test]
fn a_row_group_that_was_begun_in_pieces_is_ended_as_a_whole() {
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20_000));
    let batch = RecordBatch::try_from_iter([("t", times)]).expect("columns");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a written batch");
    let case = Case::new("event_time = 't'\nfields = { t = 'time(us)' }\n")
        .with("a.parquet", &writer.into_inner().expect("bytes"));
    let feed = case.feed("'@/a.parquet'", 64);
    let mut reader = open(&feed, &feed.partitions().expect("partitions")[0], None);
    reader.hear(true);
    let Ok(Read::Rows(first)) = reader.read(1) else { panic!("nobody waits for more") };
    reader.hear(false);
    let Ok(Read::Errand(errand)) = reader.read(1) else { panic!("the rest") };
    let mut sequences = first.sequences;
    errand(&mut Bench::default(), &mut |rows| sequences.extend(rows.sequences)).expect("rows");
    assert!(sequences.into_iter().eq(0..20_000) && matches!(reader.read(1), Ok(Read::End)));
}

#[test]
fn a_file_is_followed_while_it_is_the_same() {
    let case = Case::new(&format!("{JSON}follow = true\n"))
        .with("a.json", b"{\"t\":1}\n{\"t\"")
        .with("b.json", b"{\"t\":5}\n{");
    let feed = case.feed("'@/*.json'", 9);
    assert_eq!((feed.total(), feed.discovers().is_some()), (None, true));
    let partitions = feed.partitions().expect("partitions");
    let (mut a, mut b) = (open(&feed, &partitions[0], None), open(&feed, &partitions[1], None));
    assert_eq!(drain(&feed, &mut *a).concat(), "0 1970-01-01T00:00:00.001Z {\"s\":null}\n");
    assert!(matches!(a.read(9), Ok(Read::Idle(_))));
    case.append("a.json", ":2}\n");
    assert_eq!(drain(&feed, &mut *a).concat(), "8 1970-01-01T00:00:00.002Z {\"s\":null}\n");
    let case = case.with("aa.json", b"{\"t\":9}\n");
    assert_eq!(feed.partitions().expect("partitions")[..2], partitions, "what was there keeps its place");
    assert!(feed.partitions().expect("partitions")[2].ends_with("aa.json"));
    drain(&feed, &mut *b);
    let case = case.with("a.json", b"{}\n");
    let path = case.folder.path();
    fs::rename(path.join("b.json"), path.join("b.old")).expect("a renamed file");
    fs::write(path.join("b.json"), "{\"t\":7}\n").expect("a new file");
    for (reader, why) in [(a, "@/a.json: the file was cut short"), (b, "@/b.json: another file has taken the place")] {
        let mut reader = reader;
        let text = drain(&feed, &mut *reader).concat().replace(path.to_str().expect("UTF-8"), "@");
        assert!(text.contains(why) && text.lines().count() == 1, "{text}");
        assert!(matches!(reader.read(9), Ok(Read::End)));
    }
    let text = drain(&feed, &mut *open(&feed, &partitions[0], Some(16))).concat();
    assert!(text.contains("it is shorter than byte 16"), "{text}");
}

#[test]
fn a_pipe_is_read_by_a_thread_of_its_own() {
    let feed = Case::new(JSON).feed("['-']\nformat = 'json'", 9);
    assert_eq!((feed.partitions().expect("partitions"), feed.total()), (vec!["-".to_owned()], None));
    for (bytes, compression) in
        [(LINES.as_bytes().to_vec(), Compression::None), (gzip(LINES.as_bytes()), Compression::Gzip)]
    {
        for from in [None, Some(17)] {
            let (woken, waits) = channel();
            let wake: Wake = Arc::new(move || woken.send(()).unwrap_or(()));
            let stream = Stream::piped(Cursor::new(bytes.clone()), compression, wake).expect("a stream");
            let mut reader = TextReader::new("-", stream, &feed.settings, feed.settings.wanted.clone(), from);
            let mut given = String::new();
            loop {
                match reader.read(9).expect("a read") {
                    Read::End => break,
                    Read::Idle(long) => drop(waits.recv_timeout(long)),
                    read => given += &text(&feed, read).expect("records"),
                }
            }
            let expected =
                if from.is_none() { ROWS.to_owned() } else { ROWS.lines().skip(1).map(|l| format!("{l}\n")).collect() };
            assert_eq!(given, expected);
        }
    }
}

/// What is wrong with a source in a folder that has `readings.json` and `a.bin`.
fn check_faults(path: &str, settings: &str, expected: &[&str]) {
    let case = Case::new(settings).with("readings.json", b"").with("a.bin", b"");
    let folder = case.folder.path().to_str().expect("UTF-8");
    let mut faults = Vec::new();
    case.source(path).plan(&mut faults);
    let plain = |f: &Fault| f.to_string().replace(folder, "@").replace(&working_folder(), " in .");
    assert_eq!(faults.iter().map(plain).collect::<Vec<_>>(), expected, "{path}\n{settings}");
}

#[test]
fn faults_of_paths_say_what_would_be_right() {
    let check = check_faults;
    check("'@/reading.json'", JSON, &["path: no file `@/reading.json` in . (did you mean `@/readings.json`?)"]);
    check("'@/x/y.json'", JSON, &["path: no file `@/x/y.json` in . (`@` has `a.bin`, `readings.json`)"]);
    check("'@'", &format!("{JSON}format = 'json'"), &["path: `@` is a folder (its files are `@/*`)"]);
    check("[]", JSON, &["path: no path is given (write a file, a pattern such as \"data/*.jsonl\", or \"-\")"]);
    check(
        "'a***'",
        JSON,
        &[
            "path: `a***` is no pattern: wildcards are either regular `*` or recursive `**` at character 4",
            "format: the ending of `a***` does not say what it holds (write format = \"json\", \"csv\" or \"parquet\")",
        ],
    );
    check(
        "['@/*.json', '@/*.csv.gz']",
        JSON,
        &["path: `@/*.json` and `@/*.csv.gz` are of different formats (make a source for each, and a `union` step)"],
    );
    check(
        "'@/*.parquet'",
        "event_time = 't'",
        &["fields: there is no file yet whose columns could be offered (declare the fields)"],
    );
    let typo = toml::from_str::<FileSource>("path = 5").expect_err("a fault").to_string();
    assert!(typo.contains("a path or a list of paths"), "{typo}");
}

#[test]
fn faults_of_settings_say_what_would_be_right() {
    let check = check_faults;
    check(
        "'@/readings.json'",
        "event_time = 't'",
        &[
            "fields: the fields of a record are not given (write for example fields = { ts = \"time\", sensor = \"text\", value = \"float\" })",
        ],
    );
    check(
        "'@/readings.json'",
        "event_time = 't'\nfields = { t = 'int' }\nheader = false\nline_bytes_max = 0",
        &[
            "line_bytes_max: no line fits into 0 bytes (the default is 33554432)",
            "header: `header` is a setting of CSV, and these files are not",
            "event_time: field `t` is of kind int, and an event time is a time (declare it in `fields` as t = \"time(ms)\")",
        ],
    );
    check(
        "'@/readings.json'",
        "event_time = 't'\nfields = { t = 'int', origin = 'text', event_time = 'time' }",
        &[
            "fields.event_time: `event_time` is a name of Eagre's own",
            "fields.origin: `origin` is a name of Eagre's own",
            "event_time: field `t` is of kind int, and an event time is a time (declare it in `fields` as t = \"time(ms)\")",
        ],
    );
    check(
        "'@/readings.json'",
        "event_time = 'time'\nfields = { times = 'time' }",
        &["event_time: no field `time` (did you mean `times`?)"],
    );
    check(
        "'*.csv'",
        &format!("{JSON}delimiter = '→'\nheader = false\ncolumns = ['t', 't']"),
        &[
            "delimiter: '→' cannot lie between cells (one ASCII character such as \",\" or \";\")",
            "columns: two columns have one name (write the names of all columns in order)",
            "columns: field `s` is none of the columns (write the names of all columns in order)",
        ],
    );
    check(
        "'-'",
        "event_time = 't'\nformat = 'parquet'\nfields = { t = 'time' }\ncompression = 'gzip'",
        &[
            "path: Parquet is read from its end, which standard input does not have (name a file)",
            "compression: Parquet is compressed inside (leave `compression` out)",
        ],
    );
}
