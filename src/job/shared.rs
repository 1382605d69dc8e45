//! No sink writes what a source of the same job reads, and no two sinks write one file: such a job would lose its
//! input, read its own results, or tear its output.
//!
//! Files are the same by what they are, not by how they are called: links, `..` and relative paths are resolved, and a
//! file that exists is told by its device and number. The time in a path (`%Y`) is taken as it is written. Topics are
//! the same by name, where source and sink name a broker in common.

use super::faulty::Located;
use super::spec::Spec;
use crate::fault::Fault;
use crate::source::Resource;
use glob::{MatchOptions, Pattern};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Finds what parts of a job share, the files in which it keeps what no sink takes included.
pub(super) fn shared(spec: &Spec, faults: &mut Vec<Located>) {
    let sources = spec.sources.iter().filter_map(|source| Some((source, source.part.as_ref()?.reads())));
    let read: Vec<(&str, Vec<Resource>)> = sources.map(|(source, targets)| (source.name.as_str(), targets)).collect();
    topics(spec, &read, faults);
    let dead = spec.data_dir.join(&spec.name).join("dead-letters");
    let (folder, shown) = (resolved(&dead, LINKS_MAX), dead.display());
    let read: Vec<(&str, Read)> = read.iter().map(|(name, targets)| (*name, Read::all(targets))).collect();
    let mut written: Vec<(&str, Written)> = Vec::new();
    for sink in &spec.sinks {
        let Some(Resource::File(path)) = sink.part.as_ref().and_then(|part| part.writes()) else { continue };
        let path = path.replace("{name}", &sink.name);
        let file = Written::new(&path);
        let mut fault = |what: String, help: &str| faults.push(sink.node.locate(Fault::at("path", what).help(help)));
        if let Some((other, _)) = written.iter().find(|(_, other)| other.place.is(&file.place)) {
            let help = "give each sink a file of its own, or one sink both inputs";
            fault(format!("`{path}` is written by sink `{other}` too"), help);
        }
        if let Some((source, _)) = read.iter().find(|(_, read)| read.meets(&file)) {
            fault(format!("`{path}` is read by source `{source}`"), HELP);
        }
        if file.place.path.starts_with(&folder) {
            fault(format!("`{path}` lies in {shown}, where the job keeps what no sink takes"), "name another folder");
        }
        written.push((&sink.name, file));
    }
    for (source, (_, read)) in spec.sources.iter().filter(|source| source.part.is_some()).zip(&read) {
        let ports = spec.sources.iter().map(|s| &s.name).chain(spec.steps.iter().map(|s| &s.name));
        let mut files = ports.flat_map(|name| ["out", "rejected", "late"].map(|port| format!("{name}.{port}.jsonl")));
        if files.any(|name| read.meets(&Written::new(&dead.join(name).to_string_lossy()))) {
            let fault = Fault::at("path", format!("in {shown} the job keeps what no sink takes"));
            faults.push(source.node.locate(fault.help(HELP)));
        }
    }
}

const HELP: &str = "a job cannot write what it reads";

fn topics(spec: &Spec, read: &[(&str, Vec<Resource>)], faults: &mut Vec<Located>) {
    for sink in &spec.sinks {
        let Some(Resource::Topic { brokers, topic }) = sink.part.as_ref().and_then(|part| part.writes()) else {
            continue;
        };
        let same = |target: &Resource| match target {
            Resource::Topic { brokers: others, topic: other } => {
                *other == topic && others.iter().any(|broker| brokers.contains(broker))
            }
            Resource::File(_) | Resource::StandardInput => false,
        };
        if let Some((source, _)) = read.iter().find(|(_, targets)| targets.iter().any(same)) {
            let fault = Fault::at("topic", format!("topic `{topic}` is read by source `{source}`"));
            faults.push(sink.node.locate(fault.help(HELP)));
        }
    }
}

/// A file, by how it is called once all links are resolved, and by its device and number where it exists.
struct Place {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Place {
    fn new(path: &Path) -> Place {
        let path = resolved(path, LINKS_MAX);
        Place { identity: identity(&path), path }
    }

    fn is(&self, other: &Place) -> bool {
        self.path == other.path || (self.identity.is_some() && self.identity == other.identity)
    }
}

/// A file that a sink writes; where files are numbered, all of them.
struct Written {
    place: Place,
    numbered: Option<Pattern>,
}

impl Written {
    fn new(path: &str) -> Written {
        let place = Place::new(Path::new(path));
        let pattern = || Pattern::new(&Pattern::escape(&place.path.to_string_lossy()).replace("{part}", "*")).ok();
        Written { numbered: if path.contains("{part}") { pattern() } else { None }, place }
    }
}

/// The files that a source reads: those there are, and those that it would read if they were there.
struct Read {
    found: Vec<Place>,
    patterns: Vec<Pattern>,
}

impl Read {
    fn all(targets: &[Resource]) -> Read {
        let mut read = Read { found: Vec::new(), patterns: Vec::new() };
        for target in targets {
            let Resource::File(path) = target else { continue };
            let Some(wild) = path.find(['*', '?', '[']) else {
                read.found.push(Place::new(Path::new(path)));
                continue;
            };
            read.found.extend(glob::glob(path).into_iter().flatten().flatten().map(|path| Place::new(&path)));
            let (folder, rest) = path.split_at(path[..wild].rfind('/').map_or(0, |slash| slash + 1));
            let folder = resolved(Path::new(if folder.is_empty() { "." } else { folder }), LINKS_MAX);
            let pattern = format!("{}/{rest}", Pattern::escape(&folder.to_string_lossy()).trim_end_matches('/'));
            read.patterns.extend(Pattern::new(&pattern).ok());
        }
        read
    }

    fn meets(&self, file: &Written) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let numbered = |path: &Path| file.numbered.as_ref().is_some_and(|all| all.matches_path_with(path, options));
        self.found.iter().any(|found| found.is(&file.place) || numbered(&found.path))
            || self.patterns.iter().any(|pattern| pattern.matches_path_with(&file.place.path, options))
    }
}

/// More links in a row lead nowhere: Linux gives up at as many.
const LINKS_MAX: usize = 40;

/// A path without links and dots: as the file system has it as far as it exists, the rest as it would be made.
fn resolved(path: &Path, links: usize) -> PathBuf {
    let Ok(whole) = std::path::absolute(path) else { return path.to_owned() };
    if let Ok(found) = whole.canonicalize() {
        return found;
    }
    let (Some(parent), Some(last)) = (whole.parent(), whole.components().next_back()) else { return whole };
    if let (Ok(to), Some(links)) = (fs::read_link(&whole), links.checked_sub(1)) {
        return resolved(&parent.join(to), links);
    }
    let parent = resolved(parent, links);
    let path = match last {
        Component::ParentDir => parent.parent().map_or(parent.clone(), Path::to_owned),
        last => parent.join(last),
    };
    path.canonicalize().unwrap_or(path)
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    // Of devices and pipes there is no content to lose.
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}
