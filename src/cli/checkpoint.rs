//! `eagre checkpoint`: the checkpoints of a job, as they lie in their folder or bucket.
//!
//! Only what is there is read; the job may run meanwhile. Nothing is changed but by `prune`, which never removes what a
//! kept checkpoint names.

use super::args::{CheckpointCommand, Format, JobArguments, Place};
use super::{FAILED, print, show, wrong};
use crate::checkpoint::manifest::{Partition, Sink, Step};
use crate::checkpoint::part;
use crate::checkpoint::store::Found;
use crate::checkpoint::{Local, Manifest, Storage, Store, storage};
use crate::engine::wall;
use crate::fault::Failure;
use crate::job::Plan;
use crate::registry::Registry;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Does what was asked for.
pub fn checkpoint(what: &CheckpointCommand, registry: &Registry) -> ExitCode {
    let place = match what {
        CheckpointCommand::List { place, .. }
        | CheckpointCommand::Verify { place, .. }
        | CheckpointCommand::Show { place, .. }
        | CheckpointCommand::Prune { place, .. }
        | CheckpointCommand::Export { place, .. } => place,
    };
    let dir = match folder(place, registry) {
        Ok(dir) => dir,
        Err(what) => return wrong(&what),
    };
    let done = Checkpoints::open(&dir).and_then(|checkpoints| match what {
        CheckpointCommand::List { format, .. } => checkpoints.list(*format).map(|text| (text, true)),
        CheckpointCommand::Verify { id, format, .. } => checkpoints.verify(place.id(id).unwrap_or("all"), *format),
        CheckpointCommand::Show { id, format, .. } => {
            checkpoints.show(place.id(id).unwrap_or("latest"), *format).map(|text| (text, true))
        }
        CheckpointCommand::Prune { keep, format, .. } => {
            checkpoints.prune(*keep as usize, *format).map(|text| (text, true))
        }
        CheckpointCommand::Export { id, to, .. } => {
            checkpoints.export(place.id(id).unwrap_or("latest"), to).map(|text| (text, true))
        }
    });
    match done {
        Ok((text, whole)) => match print(&text) {
            ExitCode::SUCCESS if !whole => ExitCode::from(FAILED),
            code => code,
        },
        Err(failure) => {
            say!("error: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

impl Place {
    /// The number that was typed: behind --dir it stands where a job would.
    fn id<'a>(&'a self, id: &'a Option<String>) -> Option<&'a str> {
        match (id, &self.dir, &self.job) {
            (Some(id), ..) => Some(id),
            (None, Some(_), Some(job)) => job.to_str(),
            _ => None,
        }
    }
}

/// The folder or URL with the checkpoints.
fn folder(place: &Place, registry: &Registry) -> Result<PathBuf, String> {
    match (&place.dir, &place.job) {
        (Some(dir), _) => Ok(dir.clone()),
        (None, Some(job)) => {
            let arguments = JobArguments { job: job.clone(), set: place.set.clone() };
            dir_of(&super::plan(&arguments, registry)?)
        }
        (None, None) => Err("error: no job and no --dir".into()),
    }
}

/// Where the checkpoints of a job are.
pub fn dir_of(plan: &Plan) -> Result<PathBuf, String> {
    let none =
        || format!("error: job `{}` makes no checkpoints\n  help: add [checkpoint], or name their --dir", plan.name);
    plan.checkpoint.as_ref().map(|settings| settings.dir.clone()).ok_or_else(none)
}

/// The checkpoints in a folder or bucket.
pub struct Checkpoints {
    storage: Arc<dyn Storage>,
    /// What is in it.
    pub store: Store,
}

impl Checkpoints {
    /// Those of a folder, which must be there, or of a URL.
    pub fn open(dir: &Path) -> Result<Checkpoints, Failure> {
        if !storage::is_url(dir) && !dir.is_dir() {
            let failure = Failure::new(format!("there is no folder {}", dir.display()));
            return Err(failure.help("a job makes it when it writes its first checkpoint"));
        }
        let storage = storage::open(dir)?;
        Ok(Checkpoints { store: Store::open(storage.clone())?, storage })
    }

    /// The checkpoint of that number, or the newest.
    pub fn find(&self, id: &str) -> Result<Manifest, Failure> {
        let all = self.store.list()?;
        if all.is_empty() {
            return Err(Failure::new(format!("there is no checkpoint in {}", self.storage.place())));
        }
        let found = match id {
            "latest" => all.into_iter().next(),
            _ => {
                let number = id.parse::<u64>().map_err(|_| no_id(id, &all))?;
                let place = all.iter().position(|found| found.id == number).ok_or_else(|| no_id(id, &all))?;
                all.into_iter().nth(place)
            }
        };
        found.expect("one was found").manifest
    }

    fn list(&self, format: Format) -> Result<String, Failure> {
        let names: BTreeSet<String> = self.storage.list()?.into_iter().collect();
        let all = self.store.list()?;
        if format == Format::Json {
            return Ok(lines(all.iter().map(|found| listed(found, &names))));
        }
        if all.is_empty() {
            return Ok(format!("no checkpoint in {}\n", self.storage.place()));
        }
        let row = |found: &Found| match &found.manifest {
            Err(failure) => row_of([&found.id.to_string(), "", "", "", "", "", &format!("damaged: {failure}")]),
            Ok(manifest) => {
                let faults = missing(manifest, &names);
                row_of([
                    &manifest.id.to_string(),
                    &show::watermark(manifest.begun_at),
                    &show::ago(age(manifest)),
                    &show::duration(micros(manifest.took)),
                    &show::bytes(size(manifest)),
                    &manifest.workers.to_string(),
                    &if faults.is_empty() {
                        "all files there".into()
                    } else {
                        format!("damaged: {}", faults.join("; "))
                    },
                ])
            }
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        let job = all.iter().find_map(|found| found.manifest.as_ref().ok()).map_or("", |manifest| &manifest.job);
        let head = format!("{job}: {} in {}\n", show::count(all.len(), "checkpoint"), self.storage.place());
        let headings = [" id", "begun", " age", " took", " size", " workers", "files"];
        Ok(head.trim_start_matches(": ").to_owned() + &show::table(&headings, &rows))
    }

    fn verify(&self, id: &str, format: Format) -> Result<(String, bool), Failure> {
        let all = match id {
            "all" => self.store.list()?,
            id => {
                let manifest = self.find(id)?;
                vec![Found { id: manifest.id, manifest: Ok(manifest) }]
            }
        };
        let (mut text, mut whole) = (String::new(), true);
        for Found { id, manifest } in all {
            let (faults, read) = match manifest {
                Err(failure) => (vec![failure.to_string()], String::new()),
                Ok(manifest) => {
                    let files = show::count(manifest.files().count(), "file");
                    (self.store.verify(&manifest)?, format!(" ({files}, {})", show::bytes(size(&manifest))))
                }
            };
            whole &= faults.is_empty();
            match format {
                Format::Json => text += &lines([json!({ "id": id, "whole": faults.is_empty(), "faults": faults })]),
                Format::Text if faults.is_empty() => text += &format!("checkpoint {id} is whole{read}\n"),
                Format::Text => {
                    text += &format!("checkpoint {id} is damaged:\n");
                    faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
                }
            }
        }
        if text.is_empty() && format == Format::Text {
            text = format!("no checkpoint in {}\n", self.storage.place());
        }
        Ok((text, whole))
    }

    fn show(&self, id: &str, format: Format) -> Result<String, Failure> {
        let manifest = self.find(id)?;
        let kept: Vec<Kept> = manifest.steps.iter().map(|step| self.kept(step)).collect();
        if format == Format::Json {
            let steps = manifest.steps.iter().zip(&kept).map(|(step, kept)| {
                json!({ "name": step.name, "key_groups": kept.groups, "state_bytes": kept.bytes, "file_bytes": files_of(step),
                    "fault": kept.fault })
            });
            let steps: Vec<Value> = steps.collect();
            return Ok(lines([json!({ "place": self.storage.place(), "bytes": size(&manifest),
                "files": manifest.files().count(), "steps": steps, "manifest": manifest })]));
        }
        let mut text = format!(
            "checkpoint {} of {}, in {}\n  begun {}, {}; took {} on {}; by Eagre {}\n  {} in {}\n",
            manifest.id,
            manifest.job,
            self.storage.place(),
            show::watermark(manifest.begun_at),
            show::ago(age(&manifest)),
            show::duration(micros(manifest.took)),
            show::count(manifest.workers, "worker"),
            manifest.version,
            show::bytes(size(&manifest)),
            show::count(manifest.files().count(), "file"),
        );
        let mut section = |title: &str, headings: &[&str], rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                text += &format!("\n{title}\n{}", show::table(headings, &rows));
            }
        };
        let headings = ["partition", " position", " sequence", "watermark", "state"];
        section("sources", &headings, manifest.partitions.iter().map(partition).collect());
        let headings = ["step", "kind", "fingerprint", "watermark", " key groups", " state", " waiting", "files"];
        section(
            "steps",
            &headings,
            manifest.steps.iter().zip(&kept).map(|(step, kept)| step_row(step, kept)).collect(),
        );
        section("sinks", &["sink", " shards", " held back"], manifest.sinks.iter().map(sink).collect());
        Ok(text)
    }

    /// What the files of a step come to.
    fn kept(&self, step: &Step) -> Kept {
        match self.store.groups(step) {
            Err(failure) => Kept { groups: 0, bytes: 0, fault: Some(failure.to_string()) },
            Ok(groups) => {
                let full = || groups.values().filter(|group| !group.state.is_empty());
                Kept { groups: full().count(), bytes: full().map(|group| group.state.len() as u64).sum(), fault: None }
            }
        }
    }

    fn prune(&self, keep: usize, format: Format) -> Result<String, Failure> {
        let (checkpoints, files) = (self.ids()?, self.storage.list()?);
        self.store.collect(keep)?;
        let left: BTreeSet<String> = self.storage.list()?.into_iter().collect();
        let removed: Vec<&String> = files.iter().filter(|name| !left.contains(*name)).collect();
        let kept = self.ids()?;
        let gone: Vec<u64> = checkpoints.difference(&kept).copied().collect();
        if format == Format::Json {
            return Ok(lines([json!({ "removed": gone, "kept": kept, "files": removed })]));
        }
        let numbers = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let kept: Vec<u64> = kept.into_iter().collect();
        let mut text = match (gone.len(), removed.len()) {
            (0, 0) => "nothing to remove".to_owned(),
            (0, files) => format!("removed {} that no checkpoint names", show::count(files, "file")),
            (n, files) => {
                let word = if n == 1 { "checkpoint" } else { "checkpoints" };
                format!("removed {word} {}, {} in all", numbers(&gone), show::count(files, "file"))
            }
        };
        if kept.len() > keep {
            text += ": a damaged checkpoint stays until a person has looked at it, and what may be of use with it";
        }
        Ok(format!("{text}; kept {}\n", if kept.is_empty() { "none".into() } else { numbers(&kept) }))
    }

    fn ids(&self) -> Result<BTreeSet<u64>, Failure> {
        Ok(self.store.list()?.iter().map(|found| found.id).collect())
    }

    fn export(&self, id: &str, to: &Path) -> Result<String, Failure> {
        let manifest = self.find(id)?;
        let taken = to.exists() && to.read_dir().is_ok_and(|mut files| files.next().is_some());
        if taken || to.is_file() {
            let failure = Failure::new(format!("{} is not empty", to.display()));
            return Err(failure.help("name a folder that is new or empty"));
        }
        let copy = Local::open(to)?;
        for file in manifest.files() {
            copy.put(&file.name, &self.store.read(file)?)?;
        }
        copy.put("README.txt", readme(&manifest).as_bytes())?;
        Store::open(Arc::new(copy))?.commit(&manifest)?;
        let (files, bytes) = (show::count(manifest.files().count() + 2, "file"), show::bytes(size(&manifest)));
        Ok(format!("checkpoint {} is in {}: {files}, {bytes}, every checksum right\n", manifest.id, to.display()))
    }
}

/// What the files of a step come to.
struct Kept {
    groups: usize,
    bytes: u64,
    fault: Option<String>,
}

fn no_id(id: &str, all: &[Found]) -> Failure {
    let there: Vec<String> = all.iter().map(|found| found.id.to_string()).collect();
    Failure::new(format!("there is no checkpoint {id}")).help(format!("there are {}, and `latest`", there.join(", ")))
}

fn row_of<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn lines(objects: impl IntoIterator<Item = Value>) -> String {
    objects.into_iter().map(|object| format!("{object}\n")).collect()
}

fn listed(found: &Found, names: &BTreeSet<String>) -> Value {
    match &found.manifest {
        Err(failure) => json!({ "id": found.id, "faults": [failure.to_string()] }),
        Ok(manifest) => json!({ "id": manifest.id, "job": manifest.job, "version": manifest.version,
            "begun_at": crate::time::format(manifest.begun_at), "age_s": age(manifest).as_secs(),
            "took_us": manifest.took, "bytes": size(manifest), "files": manifest.files().count(),
            "workers": manifest.workers, "faults": missing(manifest, names) }),
    }
}

fn missing(manifest: &Manifest, names: &BTreeSet<String>) -> Vec<String> {
    let gone = manifest.files().filter(|file| !names.contains(&file.name));
    gone.map(|file| format!("{} is missing", file.name)).collect()
}

fn age(manifest: &Manifest) -> Duration {
    micros(wall::time_of_day() - manifest.begun_at)
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn size(manifest: &Manifest) -> u64 {
    manifest.files().map(|file| file.bytes).sum::<u64>() + manifest.to_bytes().len() as u64
}

fn files_of(step: &Step) -> u64 {
    step.parts.iter().chain(step.waiting.iter().map(|waiting| &waiting.file)).map(|file| file.bytes).sum()
}

fn partition(partition: &Partition) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or("-".into(), |number| number.to_string());
    let state = match (partition.ended, partition.idle, partition.position) {
        (true, ..) => "ended",
        (_, true, _) => "silent: nobody waits for it",
        (_, _, None) => "nothing read yet",
        _ => "",
    };
    let name = if partition.name.starts_with(&partition.source) {
        partition.name.clone()
    } else {
        format!("{}: {}", partition.source, partition.name)
    };
    let (position, sequence) = (number(partition.position), number(partition.sequence));
    vec![name, position, sequence, show::watermark(partition.watermark), state.to_owned()]
}

fn step_row(step: &Step, kept: &Kept) -> Vec<String> {
    let waiting: u64 = step.waiting.iter().map(|waiting| waiting.file.bytes).sum();
    row_of([
        &step.name,
        &step.kind,
        &step.fingerprint,
        &show::watermark(step.watermark),
        &kept.groups.to_string(),
        &show::bytes(kept.bytes),
        &show::bytes(waiting),
        &kept.fault.as_ref().map_or_else(|| step.parts.len().to_string(), |fault| format!("damaged: {fault}")),
    ])
}

fn sink(sink: &Sink) -> Vec<String> {
    let held: u64 = sink.outbox.iter().flatten().map(|file| file.bytes).sum();
    row_of([&sink.name, &sink.shards.to_string(), &show::bytes(held)])
}

fn readme(manifest: &Manifest) -> String {
    format!(
        "Checkpoint {} of the job `{}`, written by Eagre {} at {}.\n\n\
        The *.manifest.json says in one line of JSON how far the sources were read, and which file holds what, with\n\
        lengths and CRC-32C. `eagre checkpoint show --dir .` tells it; `eagre state JOB --dir . --sql ...` shows the keys.\n\n\
        The files of steps are Arrow IPC files: {} of key groups have the columns {}.\n\
        `state` is what the step wrote, in postcard. Files of sinks are what those hold back, in their own form.\n",
        manifest.id,
        manifest.job,
        manifest.version,
        crate::time::format(manifest.begun_at),
        show::count(manifest.steps.iter().map(|step| step.parts.len()).sum(), "file"),
        part::COLUMNS.join(", "),
    )
}
