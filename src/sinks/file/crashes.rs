//! Exactly once, whatever happens: the contract is called as the engine calls it, and the process dies anywhere.
//!
//! A power cut is played after each death: of what the newest checkpoint does not name, every file loses its end, has
//! rubbish behind it or is gone.

use super::durable::Outbox;
use super::*;
use crate::batch::{Batch, Head};
use crate::formats::parquet_writer;
use crate::origin::Origins;
use crate::schema::{Field, Kind};
use crate::stats::random::Random;
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;

const ROWS: i64 = 90;

fn schema() -> Schema {
    Schema::new([Field::new("n", Kind::Int)])
}

/// Rows with these numbers, ten minutes apart; now and then one that is hours late.
fn batch(rows: Range<i64>) -> Batch {
    let times = rows.clone().map(|n| (n * 600 - if n % 11 == 7 { 9_000 } else { 0 }) * 1_000_000).collect();
    let numbers: Vec<i64> = rows.collect();
    let head = Head { times, origins: vec![0; numbers.len()], sequences: numbers.clone(), ..Head::default() };
    Batch::new(&schema(), head, vec![Arc::new(Int64Array::from(numbers)) as ArrayRef])
}

/// A newest checkpoint: its number, how many rows came before it, what the sink gave.
type Checkpoint = (u64, i64, Vec<u8>);

/// A sink in a folder of its own.
struct World {
    folder: tempfile::TempDir,
    text: String,
}

impl World {
    fn new(text: &str) -> World {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        World { folder: folder.expect("a folder"), text: text.to_owned() }
    }

    fn settings(&self, text: &str) -> FileSink {
        toml::from_str(&text.replace("FOLDER", self.folder.path().to_str().expect("a path"))).expect("settings")
    }

    fn open_as(
        &self,
        text: &str,
        delivery: Delivery,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Box<dyn Writer>, Failure> {
        let (schema, origins) = (schema(), Origins::default());
        let (job, name, input, shard) = ("job", "alerts", &schema, (0, 1));
        let opening = Opening { job, name, input, shard, delivery, resumes: checkpoint.is_some(), origins: &origins };
        let mut writer = self.settings(text).open(opening)?;
        checkpoint.map_or(Ok(()), |(id, _, outbox)| writer.recover(*id, outbox))?;
        Ok(writer)
    }

    fn open(&self, checkpoint: Option<&Checkpoint>) -> Box<dyn Writer> {
        self.open_as(&self.text, Delivery::ExactlyOnce, checkpoint).unwrap_or_else(|f| panic!("{}: {f}", self.text))
    }

    /// All files by name, those aside left out.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                let name = path.strip_prefix(self.folder.path()).expect("below").display().to_string();
                match path.is_dir() {
                    true if name.ends_with(".aside") => {}
                    true => folders.push(path),
                    false => drop(files.insert(name, fs::read(&path).expect("a file"))),
                }
            }
        }
        files
    }

    /// The numbers of all rows that can be seen, sorted.
    fn rows(&self) -> Vec<i64> {
        let mut rows: Vec<i64> = self.files().iter().flat_map(|(name, bytes)| self.rows_of(name, bytes)).collect();
        rows.sort_unstable();
        rows
    }

    fn rows_of(&self, name: &str, bytes: &[u8]) -> Vec<i64> {
        let mut rows = Vec::new();
        if name.ends_with(".parquet") {
            let each = |records: arrow::array::RecordBatch| {
                rows.extend_from_slice(records.column(1).as_primitive::<Int64Type>().values());
                Ok(())
            };
            parquet_writer::read(&self.folder.path().join(name), u64::MAX, each).expect("a whole file");
            return rows;
        }
        let mut text = String::new();
        match name.rsplit('.').next() {
            Some("gz") => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).expect("gzip")),
            Some("zst") => text = String::from_utf8(zstd::decode_all(bytes).expect("zstd")).expect("text"),
            _ => text = String::from_utf8(bytes.to_vec()).expect("text"),
        }
        let lines = text.lines().filter(|line| *line != "event_time,n");
        lines
            .map(|line| line.trim_end_matches('}').rsplit([',', ':']).next().expect("a cell").parse().expect(line))
            .collect()
    }

    /// What a power cut leaves of all that the newest checkpoint does not name.
    fn cut_power(&self, checkpoint: Option<&Checkpoint>, random: &mut Random) {
        let outbox = checkpoint.map_or_else(Outbox::default, |(_, _, bytes)| Outbox::decode(bytes).expect("an outbox"));
        let Ok(asides) = fs::read_dir(self.folder.path().join(".job.alerts.aside")) else {
            if let Some((path, Some(mark))) = &outbox.single {
                tear(path, mark.bytes, random);
            }
            return;
        };
        for path in asides.map(|entry| entry.expect("an entry").path()) {
            let number: u64 = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number");
            let is_journal = path.extension().is_some_and(|ending| ending == "journal");
            let under_way = outbox.under_way.iter().find(|file| file.number == number);
            match under_way {
                Some(file) if file.is_parquet == is_journal => tear(&path, file.mark.bytes, random),
                _ if outbox.complete.iter().any(|file| file.number == number) => {}
                _ if random.pick(2) == 0 => fs::remove_file(&path).expect("removed"),
                _ => tear(&path, 0, random),
            }
        }
    }

    /// Some of the files that are to be published get their names; then the process dies.
    fn publish_half(&self, outbox: &[u8], random: &mut Random) {
        for file in Outbox::decode(outbox).expect("an outbox").complete {
            if random.pick(2) == 0 {
                let aside = self.folder.path().join(format!(".job.alerts.aside/{:08}.part", file.number));
                fs::create_dir_all(file.path.parent().expect("a folder")).expect("made");
                fs::rename(aside, &file.path).expect("renamed");
            }
        }
    }
}

/// Of what comes behind so many bytes any part is left, perhaps with rubbish.
fn tear(path: &Path, durable: u64, random: &mut Random) {
    let mut file = OpenOptions::new().write(true).open(path).expect("a file");
    let length = file.metadata().expect("metadata").len();
    assert!(length >= durable, "{} has {length} bytes, {durable} are durable", path.display());
    file.set_len(durable + random.pick(length - durable + 1)).expect("cut");
    if random.pick(2) == 0 {
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).expect("the end");
        file.write_all(b"\0rubbish").expect("written");
    }
}

const KINDS: [&str; 10] = [
    "path = 'FOLDER/a/x.json'",
    "path = 'FOLDER/x.csv'\nappend = true",
    "path = 'FOLDER/x.json.gz'",
    "path = 'FOLDER/x.csv.zst'",
    "path = 'FOLDER/x.json'\nroll_size = '300B'",
    "path = 'FOLDER/x.csv.gz'\nroll_size = '120B'",
    "path = 'FOLDER/%d/%H.json'\nroll_every = '1h'\nroll_size = '200B'",
    "path = 'FOLDER/x.parquet'",
    "path = 'FOLDER/{part}/x.parquet'\nroll_size = '700B'",
    "path = 'FOLDER/%d-%H.parquet'\nroll_every = '2h'",
];

fn undisturbed(text: &str) -> BTreeMap<String, Vec<u8>> {
    let world = World::new(text);
    let mut writer = world.open(None);
    writer.write(&batch(0..ROWS)).expect("written");
    writer.seal(1).and_then(|_| writer.publish(1)).and_then(|()| writer.finish()).expect("done");
    assert_eq!(world.rows(), (0..ROWS).collect::<Vec<_>>(), "{text}");
    world.files()
}

/// A run that dies now and then, and with `stops` is also stopped and begun again.
fn disturbed(world: &World, random: &mut Random, stops: bool) {
    let mut writer = world.open(None);
    // What an appending sink finds at its first start is told from its own rows by a checkpoint that has none of these.
    let mut newest: Option<Checkpoint> = world.text.contains("append").then(|| (1, 0, writer.seal(1).expect("sealed")));
    let (mut at, mut published) = (0, 0);
    while published < ROWS {
        let to = (at + random.pick(12) as i64).min(ROWS);
        writer.write(&batch(at..to)).and_then(|()| writer.flush()).expect("written");
        at = to;
        let mut dies = random.pick(8) == 0;
        if !dies && random.pick(3) == 0 {
            let id = newest.as_ref().map_or(1, |(id, ..)| id + 1 + random.pick(2));
            let outbox = writer.seal(id).expect("sealed");
            let fate = random.pick(10);
            dies = fate < 3;
            if fate == 2 {
                world.publish_half(&outbox, random);
            } else if fate > 2 {
                writer.publish(id).expect("published");
            }
            if fate > 0 {
                (newest, published) = (Some((id, at, outbox)), at);
            }
        }
        if stops && !dies && published == at && newest.is_some() && random.pick(2) == 0 {
            writer.finish().expect("stopped");
            writer = world.open(newest.as_ref());
        }
        if dies {
            drop(writer);
            world.cut_power(newest.as_ref(), random);
            at = newest.as_ref().map_or(0, |(_, rows, _)| *rows);
            writer = world.open(newest.as_ref());
        }
        let early = world.text.contains("roll") && world.rows().into_iter().any(|row| row >= published);
        assert!(!early, "{}: rows are seen that are not published", world.text);
    }
    writer.finish().expect("finished");
}

#[test]
fn nothing_is_lost_and_nothing_is_there_twice() {
    for (kind, text) in KINDS.iter().enumerate() {
        let expected = undisturbed(text);
        for seed in 0..30 {
            let (world, stops) = (World::new(text), seed % 3 == 0);
            disturbed(&world, &mut Random::new(seed * 100 + kind as u64), stops);
            assert_eq!(world.rows(), (0..ROWS).collect::<Vec<_>>(), "{text}, seed {seed}");
            assert!(!world.folder.path().join(".job.alerts.aside").exists(), "{text}, seed {seed}");
            if !stops && ![".gz", ".zst", ".parquet"].iter().any(|ending| text.contains(ending)) {
                assert!(world.files() == expected, "{text}, seed {seed}: other bytes than without a crash");
            }
        }
    }
}

/// Writes rows, seals and publishes.
fn step(writer: &mut dyn Writer, id: u64, rows: Range<i64>) -> Checkpoint {
    let end = rows.end;
    writer.write(&batch(rows)).expect("written");
    let outbox = writer.seal(id).expect("sealed");
    writer.publish(id).expect("published");
    (id, end, outbox)
}

#[test]
fn an_older_checkpoint_takes_rows_back() {
    for text in KINDS {
        let world = World::new(text);
        let mut writer = world.open(None);
        step(&mut *writer, 1, 0..20);
        let older = step(&mut *writer, 2, 20..31);
        step(&mut *writer, 3, 31..60);
        writer.finish().expect("finished");
        let mut writer = world.open(Some(&older));
        step(&mut *writer, 4, 31..70);
        writer.finish().expect("finished");
        assert_eq!(world.rows(), (0..70).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn what_a_run_that_was_taken_over_writes_is_nowhere() {
    for text in KINDS {
        let world = World::new(text);
        let mut asleep = world.open(None);
        step(&mut *asleep, 1, 0..20);
        let newest = step(&mut *asleep, 2, 20..31);
        asleep.write(&batch(31..40)).and_then(|()| asleep.flush()).expect("written");
        let mut writer = world.open(Some(&newest));
        // It wakes up, and may write until it would commit.
        asleep.write(&batch(40..60)).and_then(|()| asleep.flush()).ok();
        step(&mut *writer, 4, 31..50);
        asleep.write(&batch(60..90)).and_then(|()| asleep.flush()).ok();
        drop(asleep);
        step(&mut *writer, 5, 50..70);
        writer.finish().expect("finished");
        assert_eq!(world.rows(), (0..70).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn delivery_and_shape_may_change_between_runs() {
    for text in KINDS {
        let world = World::new(text);
        let mut writer = world.open(None);
        let newest = step(&mut *writer, 1, 0..50);
        writer.write(&batch(50..55)).expect("written");
        drop(writer);
        let other = "path = 'FOLDER/other-{part}.json'\nroll_size = '1MB'";
        let mut writer = world.open_as(other, Delivery::ExactlyOnce, Some(&newest)).expect("open");
        assert_eq!(world.rows(), (0..50).collect::<Vec<_>>(), "{text}");
        let newest = step(&mut *writer, 2, 50..60);
        drop(writer);
        let mut writer = world.open_as(other, Delivery::AtLeastOnce, Some(&newest)).expect("open");
        writer.write(&batch(60..70)).and_then(|()| writer.finish()).expect("written");
        let before = (3, 70, Vec::new());
        let mut writer = world.open_as(other, Delivery::ExactlyOnce, Some(&before)).expect("open");
        step(&mut *writer, 4, 70..80);
        writer.finish().expect("finished");
        assert_eq!(world.rows(), (0..80).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn a_fresh_start_clears_what_lies_aside() {
    for text in KINDS.iter().filter(|text| !text.contains("append")) {
        let world = World::new(text);
        let mut writer = world.open(None);
        writer.write(&batch(0..40)).expect("written");
        writer.seal(1).expect("sealed");
        drop(writer);
        let mut writer = world.open(None);
        step(&mut *writer, 1, 0..7);
        writer.finish().expect("finished");
        assert_eq!(world.rows(), (0..7).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn a_file_that_was_changed_is_told() {
    let check = |change: fn(&Path), expected: Result<i64, &str>| {
        let world = World::new(KINDS[0]);
        let path = world.folder.path().join("a/x.json");
        let newest = step(&mut *world.open(None), 1, 0..50);
        change(&path);
        match (world.open_as(KINDS[0], Delivery::ExactlyOnce, Some(&newest)), expected) {
            (Ok(mut writer), Ok(first)) => {
                step(&mut *writer, 2, 50..60);
                assert_eq!(world.rows(), (first..60).collect::<Vec<_>>());
            }
            (Err(failure), Err(words)) => assert!(failure.to_string().contains(words), "{failure}"),
            (found, _) => panic!("{:?}", found.map(drop)),
        }
    };
    check(|_| {}, Ok(0));
    check(|path| fs::remove_file(path).expect("removed"), Ok(50));
    check(|path| fs::write(path, "").expect("emptied"), Ok(50));
    check(|path| fs::write(path, "{}").expect("written"), Err("has 2 bytes, but had 2"));
    check(|path| fs::write(path, [b'x'; 9_000]).expect("written"), Err("is not the file that it was"));
    let world = World::new(KINDS[0]);
    let newer = world.open_as(KINDS[0], Delivery::ExactlyOnce, Some(&(1, 0, vec![9, 1, 2]))).map(drop);
    assert!(newer.expect_err("unknown").to_string().contains("another version of the file sink (9)"));
}

#[test]
#[cfg(target_os = "linux")]
fn exactly_once_needs_a_regular_file() {
    let world = World::new("path = '/dev/full'\nformat = 'json'");
    let failure = world.open(None).write(&batch(0..1)).expect_err("refused").to_string();
    assert!(failure.contains("/dev/full, which is no regular file") && failure.contains("at_least_once"), "{failure}");
}

#[test]
fn paths_beyond_those_remembered_are_looked_for_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let unnumbered = |day: i64| format!("{}/{day}-{{part}}", folder.path().display());
    let mut numbers = Numbers::default();
    assert!(numbers.next(&unnumbered(0), 0, false).ends_with("0-00000"));
    assert!(numbers.next(&unnumbered(0), 0, false).ends_with("0-00001"));
    for day in 1..5_000 {
        numbers.next(&unnumbered(day), day, false);
    }
    ["0-00000", "0-00001"].iter().for_each(|name| fs::write(folder.path().join(name), "").expect("written"));
    assert!(numbers.next(&unnumbered(0), 5_000, false).ends_with("0-00002"));
    assert!(numbers.next(&unnumbered(0), 5_000, false).ends_with("0-00003"));
}
