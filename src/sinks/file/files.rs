//! All files of a sink: which row goes into which, when one is closed, and what becomes of them after a crash.

use super::Template;
use super::durable::{self, Asides, Complete, Mark, Numbers, Outbox, UnderWay};
use super::part::{How, Kind, Part, Place};
use crate::batch::Batch;
use crate::fault::Failure;
use crate::formats::parquet_writer;
use crate::sink::Writer;
use crate::time::{EventTime, floor_to};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All files of a sink.
pub struct Files {
    /// The sink's name.
    pub name: String,
    /// What is written into them.
    pub kind: Arc<Kind>,
    /// Whether what an earlier run left is kept.
    pub keep: bool,
    /// Whether rows are written behind what is there.
    pub append: bool,
    /// Whether a file is given no number that one has already.
    pub spare: bool,
    /// Whether rows are delivered exactly once.
    pub exact: bool,
    /// The size at which a file is closed.
    pub roll_size: u64,
    /// The event time that one holds, in microseconds.
    pub roll_every: Option<i64>,
    /// Their path.
    pub template: Template,
    /// What is written where, in words: two runs of one shape may go on with each other's files.
    pub shape: String,
    /// Their numbers.
    pub numbers: Numbers,
    /// The files that are written to, by the beginning of their time.
    pub open: BTreeMap<EventTime, Part>,
    /// Files that are not to be seen yet.
    pub asides: Asides,
    /// Those of them that are complete.
    pub complete: Vec<Complete>,
    /// How many of these the sealed checkpoint has.
    pub sealed: usize,
    /// The file that was cut back, locked until it is written to.
    pub cut: Option<File>,
    /// Whether the one file was not there at the checkpoint that is gone on from, and is to be made.
    pub is_gone: bool,
}

const OPEN_MAX: usize = 8;

impl Files {
    /// Takes away what an earlier run left, so that a run without results does not show the old ones.
    pub fn clear(&mut self) -> Result<(), Failure> {
        self.asides.keep_only(&BTreeSet::new())?;
        let Some(path) = self.single()?.filter(|path| !self.keep && path.is_file()) else { return Ok(()) };
        fs::remove_file(&path).map_err(|error| {
            let message = format!("cannot replace {}: {error}", path.display());
            Failure::new(message).help("check who may write to its folder")
        })
    }

    /// The path of the file where there is only one.
    fn single(&self) -> Result<Option<PathBuf>, Failure> {
        let path = self.path_at(0)?;
        Ok((!self.is_numbered()).then(|| path.into()))
    }

    fn is_numbered(&self) -> bool {
        self.template.path.contains("{part}")
    }

    /// The path of files of a time, the number left open.
    fn path_at(&self, time: EventTime) -> Result<String, Failure> {
        let path = self.template.at(time);
        path.map(|path| path.replace("{name}", &self.name))
            .map_err(|reason| Failure::new(format!("no file name for rows of this time: {reason}")))
    }

    /// Whether files lie aside until they are complete.
    fn goes_aside(&self) -> bool {
        self.exact && (self.is_numbered() || self.kind.lines.is_none())
    }

    /// The beginning of the time whose file a row belongs to.
    fn period(&self, time: EventTime) -> EventTime {
        self.roll_every.map_or(0, |every| floor_to(time, every, 0))
    }

    /// The file for rows of a period, opened now if need be.
    fn part(&mut self, period: EventTime) -> Result<&mut Part, Failure> {
        if !self.open.contains_key(&period) {
            while self.open.len() >= OPEN_MAX {
                let (_, oldest) = self.open.pop_first().expect("there are some");
                self.close(oldest)?;
            }
            let unnumbered = self.path_at(period)?;
            let path = self.numbers.next(&unnumbered, period, self.spare);
            let part = self.begin(path)?;
            self.open.insert(period, part);
        }
        Ok(self.open.get_mut(&period).expect("just put there"))
    }

    fn begin(&mut self, path: PathBuf) -> Result<Part, Failure> {
        let one_parquet = self.kind.lines.is_none() && !self.is_numbered();
        let earlier = one_parquet && self.keep && path.is_file();
        if earlier && !self.exact {
            let message = format!("{} is there already, and Parquet cannot be written on", path.display());
            return Err(Failure::new(message).help("set roll_size, or leave out delivery = \"at_least_once\""));
        }
        if !self.goes_aside() {
            let how = match (self.keep, mem::take(&mut self.is_gone)) {
                (true, false) => How::Kept,
                (true, true) => How::New,
                (false, _) => How::Emptied,
            };
            self.cut = None;
            return Part::open(path, &Place::Own { how }, &self.kind, self.exact);
        }
        let number = self.asides.number();
        let place = Place::Aside { number, path: self.asides.path(number) };
        let mut part = Part::open(path.clone(), &place, &self.kind, true)?;
        if earlier {
            part.import(&path, u64::MAX)?;
        }
        Ok(part)
    }

    /// Closes a file; one that lies aside is seen when it has been published.
    fn close(&mut self, mut part: Part) -> Result<(), Failure> {
        part.close()?;
        self.complete.extend(part.aside.map(|number| Complete { path: part.path, number }));
        Ok(())
    }

    /// Writes rows of one period, which lie behind each other.
    fn write_run(&mut self, batch: &Batch, mut rows: Range<usize>, period: EventTime) -> Result<(), Failure> {
        let (roll_size, kind) = (self.roll_size, self.kind.clone());
        while !rows.is_empty() {
            let part = self.part(period)?;
            rows.start += part.write(batch, rows.clone(), &kind, roll_size)?;
            if part.bytes() >= roll_size {
                self.open.remove(&period).map_or(Ok(()), |part| self.close(part))?;
            }
        }
        Ok(())
    }

    /// Closes all files and shows them.
    fn finish_all(&mut self) -> Result<(), Failure> {
        for part in mem::take(&mut self.open).into_values() {
            self.close(part)?;
        }
        self.asides.reveal(&mem::take(&mut self.complete), false)?;
        self.sealed = 0;
        self.asides.leave()
    }

    fn outbox(&mut self) -> Result<Outbox, Failure> {
        let mut outbox = Outbox { shape: self.shape.clone(), complete: self.complete.clone(), ..Outbox::default() };
        for (&period, part) in &mut self.open {
            let (mark, path) = (part.seal()?, part.path.clone());
            let (rows, is_parquet) = (part.rows, part.is_parquet());
            match part.aside {
                Some(number) => outbox.under_way.push(UnderWay { period, path, number, mark, rows, is_parquet }),
                None => outbox.single = Some((path, Some(mark))),
            }
        }
        if let (None, Some(path), false) = (&outbox.single, self.single()?, self.goes_aside()) {
            let mark = Mark::at_end(&path).map_err(|error| unreadable(&path, &error))?;
            outbox.single = Some((path, mark));
        }
        self.asides.sync()?;
        outbox.numbers = self.numbers.clone();
        outbox.next_aside = self.asides.next();
        Ok(outbox)
    }

    /// Cuts the one file back that is written under its own name. People may take it away or empty it between runs.
    fn restore_single(&mut self, path: &Path, mark: Option<Mark>) -> Result<(), Failure> {
        self.is_gone = mark.is_none() && self.exact && !self.append;
        match mark {
            Some(_) if durable::length(path).is_ok_and(|length| length.is_none_or(|length| length == 0)) => Ok(()),
            Some(mark) => mark.cut(path).map(|cut| self.cut = cut),
            None if path.is_file() => fs::remove_file(path).map_err(|error| unreadable(path, &error)),
            None => Ok(()),
        }
    }

    /// Goes on with a file aside; `None` where it was completed, and perhaps taken away, by a run that ended well.
    fn restore(&mut self, file: &UnderWay) -> Result<Option<Part>, Failure> {
        let at = self.asides.path(file.number);
        let (path, number) = (file.path.clone(), file.number);
        if file.is_parquet {
            if file.mark.cut(&at.with_extension("journal"))?.is_some() {
                return Part::replay(path, number, &at, &self.kind).map(Some);
            }
            return self.restore_parquet(file);
        }
        let had = file.mark.bytes;
        let more = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > had);
        if !at.exists() && more(&path) {
            // An older checkpoint: the file was completed after it.
            let back = durable::make_folder(durable::folder_of(&at)).and_then(|()| fs::rename(&path, &at));
            back.map_err(|error| unreadable(&path, &error))?;
        }
        if file.mark.cut(&at)?.is_none() {
            return Ok(None);
        }
        Part::reopen(path, number, &at, file.rows, &self.kind).map(Some)
    }

    /// A Parquet file that has been completed since is made once more where rows must come out of it, or go into it.
    fn restore_parquet(&mut self, file: &UnderWay) -> Result<Option<Part>, Failure> {
        if !file.path.is_file() {
            return Ok(None);
        }
        let rows = parquet_writer::rows_of(&file.path).map_err(|error| unreadable(&file.path, &error))?;
        if rows < file.rows {
            let message = format!("{} has {rows} rows, but had {} at the checkpoint", file.path.display(), file.rows);
            return Err(Failure::new(message).help("bring the file back as it was, or begin anew with `--from none`"));
        }
        if rows == file.rows && self.is_numbered() {
            return Ok(None);
        }
        // Under another number: to the checkpoint, its own stands for the journal that is gone.
        let number = self.asides.number();
        let place = Place::Aside { number, path: self.asides.path(number) };
        let mut part = Part::open(file.path.clone(), &place, &self.kind, true)?;
        part.import(&file.path, file.rows)?;
        Ok(Some(part))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot go on with {}: {error}", path.display()))
        .help("check the disk, and who may read and write there")
}

impl Writer for Files {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let times = batch.times();
        let mut from = 0;
        while from < batch.len() {
            let period = self.period(times[from]);
            let rows = times[from..].iter().take_while(|time| self.period(**time) == period).count();
            self.write_run(batch, from..from + rows, period)?;
            from += rows;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.open.values_mut().filter(|part| part.aside.is_none()).try_for_each(Part::flush)
    }

    fn seal(&mut self, _: u64) -> Result<Vec<u8>, Failure> {
        if !self.exact {
            return self.flush().map(|()| Vec::new());
        }
        let outbox = self.outbox()?;
        self.sealed = self.complete.len();
        Ok(outbox.encode())
    }

    fn publish(&mut self, _: u64) -> Result<(), Failure> {
        let complete: Vec<Complete> = self.complete.drain(..mem::take(&mut self.sealed)).collect();
        self.asides.reveal(&complete, false)
    }

    fn recover(&mut self, _: u64, outbox: &[u8]) -> Result<(), Failure> {
        if outbox.is_empty() {
            return Ok(());
        }
        let outbox = Outbox::decode(outbox)?;
        self.numbers = outbox.numbers;
        self.asides.resume(outbox.next_aside);
        self.asides.reveal(&outbox.complete, true)?;
        if let Some((path, mark)) = &outbox.single {
            self.restore_single(path, *mark)?;
        }
        for file in outbox.under_way {
            if let Some(part) = self.restore(&file)? {
                self.open.insert(file.period, part);
            }
        }
        if !self.exact || outbox.shape != self.shape {
            // What was under way under another shape is not gone on with, but not lost either.
            self.finish_all()?;
            return self.asides.keep_only(&BTreeSet::new());
        }
        self.spare = self.append;
        let numbers = self.open.values().filter_map(|part| part.aside).collect();
        self.asides.keep_only(&numbers)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.finish_all()
    }
}
