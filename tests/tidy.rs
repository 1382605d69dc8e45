//! What the compiler does not check: who may import whom, and how long things get.
//!
//! Reads the text of every Rust file; needs nothing but the standard library. The first test holds the house to the
//! rules, the others show that each rule fires. A file is seen as characters of code, of comments and of string
//! literals, so that what a string says is never taken for code. Code under `#[cfg(test)]` may import from anywhere;
//! every other rule holds for it too.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the house, lowest layer first: `docs/architecture.md`. Imports only go down this list or stay in their
/// layer.
const LAYERS: &[(&str, &[&str])] = &[
    ("words", &["time", "batch", "schema", "key", "fault", "origin", "value"]),
    ("mathematics", &["stats", "topology", "learning"]),
    ("seam", &["formats"]),
    ("contracts", &["expression", "source", "operator", "sink", "model", "registry", "kafka_client"]),
    ("keeping", &["disk", "log", "checkpoint", "spool", "models", "privacy"]),
    ("parts", PARTS),
    ("job", &["job"]),
    ("engine", &["engine"]),
    ("trial", &["check"]),
    ("service", &["serve"]),
    ("face", &["cli", "lib", "main"]),
];
/// Rooms of independent parts: a part imports no other part, of its own room or another.
const PARTS: &[&str] = &["sources", "operators", "sinks"];
/// Where Rust files lie.
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples"];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 900;
const COLUMNS_MAX: usize = 120;

/// Paths that only some files of `src/` may name.
const RESERVED: &[Reserved] = &[
    Reserved {
        names: &["timely", "differential_dataflow"],
        free_to: |file| file.room == "engine",
        why: "only engine/ speaks timely",
    },
    Reserved {
        names: &["rdkafka", "rdkafka_sys"],
        free_to: |file| {
            ["src/sources/kafka", "src/sinks/kafka", "src/kafka_client"]
                .iter()
                .any(|start| file.path.starts_with(start))
        },
        why: "only the files of Kafka's source, sink and client speak to Kafka",
    },
    Reserved {
        names: &["arrow", "parquet", "datafusion", "serde_json", "std::io", "crate::batch", "crate::schema"],
        free_to: |file| layer(&file.room).is_none_or(|layer| LAYERS[layer].0 != "mathematics"),
        why: "mathematics is pure: slices and numbers in, numbers out",
    },
    Reserved {
        names: &["std::fs", "std::net", "tokio"],
        free_to: |file| layer(&file.room).is_none_or(|layer| !["words", "mathematics"].contains(&LAYERS[layer].0)),
        why: "words and mathematics touch no file and no network",
    },
];

struct Reserved {
    names: &'static [&'static str],
    free_to: fn(&File) -> bool,
    why: &'static str,
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| rust_files(&root.join(folder))).collect();
    assert!(paths.len() > 1, "no Rust files under {}", root.display());
    let mut faults = Vec::new();
    let mut names = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a readable file");
        let name =
            path.strip_prefix(root).expect("a path under the root").to_str().expect("a UTF-8 path").replace('\\', "/");
        faults.extend(faults_of(&name, &text));
        names.push(name);
    }
    for room in PARTS {
        let list = fs::read_to_string(root.join(format!("src/{room}/mod.rs"))).unwrap_or_default();
        faults.extend(unlisted(room, &list, &names));
    }
    assert!(faults.is_empty(), "\n\n{}\n\n{} faults\n", faults.join("\n"), faults.len());
}

/// Every fault of one file, as `path:line: what`. `path` is relative to the repository, with slashes.
fn faults_of(path: &str, text: &str) -> Vec<String> {
    let file = File::read(path, text);
    let mut faults = Faults { path: path.to_owned(), found: Vec::new() };
    opening(text, &mut faults);
    lengths(&file, &mut faults);
    leftovers(&file, &mut faults);
    if path.starts_with("src/") {
        let paths = paths(&file);
        imports(&file, &paths, &mut faults);
        reserved(&file, &paths, &mut faults);
        unwraps(&file, &mut faults);
    }
    // One line that imports three things it may not is one fault.
    faults.found.dedup();
    faults.found
}

fn opening(text: &str, faults: &mut Faults) {
    if !text.starts_with("//!") {
        faults.add(0, "a file opens with `//!` and says what it is for".into());
    }
}

fn lengths(file: &File, faults: &mut Faults) {
    if file.lines.len() > FILE_LINES_MAX {
        faults.add(0, format!("a file of {} lines; at most {FILE_LINES_MAX}: part it", file.lines.len()));
    }
    for (start, lines) in functions(file) {
        if lines > FUNCTION_LINES_MAX {
            faults.add(start, format!("a function of {lines} lines; at most {FUNCTION_LINES_MAX}"));
        }
    }
    for (n, line) in file.lines.iter().enumerate() {
        // A row of a table cannot be wrapped.
        let table = line.raw.trim_start().starts_with("//! |");
        if line.columns > COLUMNS_MAX && !table && !line.raw.contains("://") {
            faults.add(n, format!("{} columns without its strings; at most {COLUMNS_MAX}", line.columns));
        }
    }
}

/// First line and length of every function with a body of more than one line, from `fn` to the brace at its
/// indentation.
fn functions(file: &File) -> Vec<(usize, usize)> {
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut found = Vec::new();
    for (n, line) in file.lines.iter().enumerate() {
        let (indent, code) = (line.indent(), line.code.trim());
        let ends = code.ends_with([';', '}']);
        if code.starts_with('}') {
            // Deeper ones were declarations without a body.
            open.retain(|(_, depth)| *depth <= indent);
            if let Some((start, _)) = open.pop_if(|(_, depth)| *depth == indent) {
                found.push((start, n - start + 1));
            }
        } else if is_function(code) {
            open.retain(|(_, depth)| *depth < indent);
            if !ends {
                open.push((n, indent));
            }
        } else if code.starts_with(')') && code.ends_with(';') {
            open.pop_if(|(_, depth)| *depth == indent);
        }
    }
    found
}

fn is_function(code: &str) -> bool {
    const QUALIFIERS: &[&str] =
        &["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "default", "\"\""];
    code.split_whitespace().find(|word| !QUALIFIERS.contains(word)) == Some("fn")
}

fn leftovers(file: &File, faults: &mut Faults) {
    for (n, line) in file.lines.iter().enumerate() {
        for name in ["dbg!(", "todo!(", "unimplemented!("] {
            if line.code.contains(name) {
                faults.add(n, format!("`{}` is for the desk, not for the house", name.trim_end_matches('(')));
            }
        }
        for word in ["TODO", "FIXME"] {
            if line.without_text.contains(word) {
                faults.add(n, format!("`{word}`: do it, or open an issue"));
            }
        }
        if line.ends_blank {
            faults.add(n, "white space at the end of the line".into());
        }
    }
}

fn unwraps(file: &File, faults: &mut Faults) {
    for (n, line) in file.lines.iter().enumerate() {
        if !line.test && line.code.contains(".unwrap()") {
            faults
                .add(n, "`unwrap()`: a user's mistake is a value; an invariant has an `expect` that states it".into());
        }
    }
}

/// The layers: `paths` that lead to a room of this crate must lead down, or stay in their layer.
fn imports(file: &File, paths: &[Named], faults: &mut Faults) {
    let room = file.room.as_str();
    let Some(mine) = layer(room) else {
        return faults.add(0, format!("`{room}` is in no layer: add it to the list in tests/tidy.rs"));
    };
    if LAYERS[mine].0 == "face" {
        return;
    }
    for named in paths.iter().filter(|named| !file.lines[named.line].test) {
        let Some(target) = file.absolute(named) else { continue };
        // `super::*` at the top and `crate::name!` lead to the crate's root, which is `lib`.
        let used = target.first().map_or("lib", String::as_str);
        match layer(used) {
            _ if used.ends_with('!') => {}
            None => faults.add(named.line, format!("`crate::{used}` is no room: name the room that has it")),
            Some(its) if its > mine => faults.add(named.line, {
                format!("`{room}` ({}) may not use `{used}` ({}), which is above it", LAYERS[mine].0, LAYERS[its].0)
            }),
            Some(its) if its == mine && PARTS.contains(&room) && !file.may_use_part(&target) => {
                faults.add(
                    named.line,
                    format!("a part may not use another part: `{}`; share it below", target.join("::")),
                );
            }
            Some(_) => {}
        }
    }
}

fn reserved(file: &File, paths: &[Named], faults: &mut Faults) {
    for named in paths {
        let path = match file.absolute(named) {
            Some(target) => format!("crate::{}::", target.join("::")),
            None => format!("{}::", named.path.join("::")),
        };
        for rule in RESERVED.iter().filter(|rule| !(rule.free_to)(file)) {
            if let Some(name) = rule.names.iter().find(|name| path.starts_with(&format!("{name}::"))) {
                faults.add(named.line, format!("`{name}`: {}", rule.why));
            }
        }
    }
}

/// Files of a room of parts that its `mod.rs` does not list.
fn unlisted(room: &str, list: &str, files: &[String]) -> Vec<String> {
    let listed = File::read("src/list.rs", list);
    let has = |part: &str| {
        let line = format!("mod {part};");
        listed.lines.iter().any(|l| l.code.trim() == line || l.code.trim().ends_with(&format!(" {line}")))
    };
    let folder = format!("src/{room}/");
    let mut parts: Vec<&str> = files
        .iter()
        .filter_map(|path| path.strip_prefix(&folder)?.split('/').next())
        .map(|name| name.trim_end_matches(".rs"))
        .collect();
    parts.sort_unstable();
    parts.dedup();
    parts.retain(|part| *part != "mod" && !has(part));
    parts.iter().map(|part| format!("{folder}mod.rs:1: `{part}` is not listed")).collect()
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, rooms)| rooms.contains(&room))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let files = |path: PathBuf| if path.is_dir() { rust_files(&path) } else { vec![path] };
    paths.into_iter().flat_map(files).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

struct Faults {
    path: String,
    found: Vec<String>,
}

impl Faults {
    fn add(&mut self, line: usize, what: String) {
        self.found.push(format!("{}:{}: {what}", self.path, line + 1));
    }
}

/// One file, seen line by line.
struct File {
    path: String,
    /// Its module path: `src/sinks/file.rs` is `["sinks", "file"]`.
    module: Vec<String>,
    /// The first name of the module path; `lib` or `main` at the root.
    room: String,
    lines: Vec<Line>,
}

#[derive(Default)]
struct Line {
    raw: String,
    /// Comments and what string literals say are blanks here.
    code: String,
    /// What string literals say are blanks here; comments are not.
    without_text: String,
    /// Characters, without those that string literals say.
    columns: usize,
    /// Whether it ends in white space that is not part of a string literal.
    ends_blank: bool,
    /// Whether it is under `#[cfg(test)]`.
    test: bool,
    /// The modules opened in this file that the line is in.
    inside: Vec<String>,
}

impl Line {
    fn indent(&self) -> usize {
        self.raw.chars().take_while(|c| *c == ' ').count()
    }
}

impl File {
    fn read(path: &str, text: &str) -> File {
        let stem = path.split_once('/').map_or(path, |(_, rest)| rest).trim_end_matches(".rs");
        let module: Vec<String> =
            stem.split('/').filter(|name| !["mod", "lib", "main"].contains(name)).map(str::to_owned).collect();
        let room = module.first().map_or(stem, String::as_str).to_owned();
        let mut lines = lines(text);
        mark_modules(&mut lines);
        mark_tests(&mut lines);
        if path.ends_with("/tests.rs") {
            lines.iter_mut().for_each(|line| line.test = true);
        }
        File { path: path.to_owned(), module, room, lines }
    }

    /// Where in this crate a path leads, without the word `crate`; `None` for a path to elsewhere.
    fn absolute(&self, named: &Named) -> Option<Vec<String>> {
        let mut module = [self.module.as_slice(), &self.lines[named.line].inside].concat();
        let mut rest = named.path.as_slice();
        match rest.first()?.as_str() {
            "crate" => return Some(rest[1..].to_vec()),
            "self" => rest = &rest[1..],
            "super" => {}
            _ => return None,
        }
        while rest.first().is_some_and(|name| name == "super") {
            module.pop();
            rest = &rest[1..];
        }
        module.extend(rest.iter().filter(|name| *name != "*").cloned());
        Some(module)
    }

    /// For a file in a room of parts: whether the target is in its own part. `mod.rs`, the list, may name all parts of
    /// its room. `kafka` and `kafka_login` are one part in two files.
    fn may_use_part(&self, target: &[String]) -> bool {
        let Some(mine) = self.module.get(1) else { return target[0] == self.room };
        let Some(its) = target.get(1) else { return false };
        let extends = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        target[0] == self.room && (extends(mine, its) || extends(its, mine))
    }
}

fn mark_modules(lines: &mut [Line]) {
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in lines {
        let (indent, code) = (line.indent(), line.code.trim());
        if code.starts_with('}') {
            open.pop_if(|(depth, _)| *depth == indent);
        }
        line.inside = open.iter().map(|(_, name)| name.clone()).collect();
        let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
        if let (Some("mod"), Some(name), Some("{"), None) = (words.next(), words.next(), words.next(), words.next()) {
            open.push((indent, name.to_owned()));
        }
    }
}

/// Marks each item under `#[cfg(test)]`: to the end of its line, or to the brace at its indentation.
fn mark_tests(lines: &mut [Line]) {
    let mut under: Option<usize> = None;
    for line in lines {
        let (indent, code) = (line.indent(), line.code.trim());
        let attribute = code.starts_with("#[");
        if attribute && code.starts_with("#[cfg(") && code.contains("test") && !code.contains("not(test") {
            under.get_or_insert(indent);
        }
        line.test = under.is_some();
        if under == Some(indent) && !attribute && code.ends_with([';', '}']) {
            under = None;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Code,
    Comment,
    Text,
}

fn lines(text: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    for (c, class) in classify(text) {
        let line = lines.last_mut().expect("one from the start");
        if c == '\n' {
            lines.push(Line::default());
            continue;
        }
        line.raw.push(c);
        line.code.push(if class == Class::Code { c } else { ' ' });
        line.without_text.push(if class == Class::Text { ' ' } else { c });
        line.columns += usize::from(class != Class::Text);
        line.ends_blank = c.is_whitespace() && class != Class::Text;
    }
    // What follows the last line break is no line.
    lines.pop_if(|line| line.raw.is_empty());
    lines
}

/// Each character with what it belongs to. The quotes of a literal are code, what is between them is text.
fn classify(text: &str) -> Vec<(char, Class)> {
    let chars: Vec<char> = text.chars().collect();
    let mut classes = vec![Class::Code; chars.len()];
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (skip, length, class) = match rest {
            ['/', '/', ..] => (0, rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()), Class::Comment),
            ['/', '*', ..] => (0, block_comment(rest), Class::Comment),
            ['"', ..] => (1, quoted(&rest[1..], '"'), Class::Text),
            ['\'', '\\', ..] => (1, quoted(&rest[1..], '\''), Class::Text),
            // Anything else after a quote is a lifetime.
            ['\'', _, '\'', ..] => (1, 1, Class::Text),
            ['r', '"' | '#', ..] if !in_word(&chars, at) => raw_text(rest),
            _ => (1, 0, Class::Code),
        };
        let end = (at + skip + length).min(chars.len());
        classes[at + skip..end].fill(class);
        // The closing quote is code too, and must not open the next literal.
        at = if class == Class::Text { end + 1 } else { end };
    }
    chars.into_iter().zip(classes).collect()
}

/// Whether the `r` at `at` ends a name, as in `for"`; `br"` opens a literal.
fn in_word(chars: &[char], at: usize) -> bool {
    let word = |i: usize| chars[i].is_alphanumeric() || chars[i] == '_';
    at > 0 && word(at - 1) && !(chars[at - 1] == 'b' && (at == 1 || !word(at - 2)))
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a literal up to its closing quote.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at.min(rest.len())
}

/// `r"…"` and `r#"…"#`: what to skip, the length of the text. `r#name` is code.
fn raw_text(rest: &[char]) -> (usize, usize, Class) {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return (1, 0, Class::Code);
    }
    let text = &rest[2 + hashes..];
    let closes = |i: usize| text[i] == '"' && text[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (2 + hashes, (0..text.len()).find(|i| closes(*i)).unwrap_or(text.len()), Class::Text)
}

/// A path that the code names, and on which line its end is. `use a::{b, c}` names two.
struct Named {
    path: Vec<String>,
    line: usize,
}

/// Every path of at least two names. A macro's name ends in `!`.
fn paths(file: &File) -> Vec<Named> {
    let tokens = Tokens(file.lines.iter().enumerate().flat_map(|(n, line)| words(&line.code, n)).collect());
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.0.len() {
        let follows = at > 0 && tokens.word(at - 1) == "::" && at > 1 && is_name(tokens.word(at - 2));
        if is_name(tokens.word(at)) && tokens.word(at + 1) == "::" && !follows {
            at = tokens.tree(at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Names, `::` and single other characters, with their lines.
struct Tokens(Vec<(usize, String)>);

impl Tokens {
    fn word(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |(_, word)| word)
    }

    /// Reads `a::b`, `a::*` or `a::{…}` from `at` under `prefix`; where it ends.
    fn tree(&self, mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match self.word(at) {
                "{" => return self.group(at + 1, &path, found),
                word if is_name(word) || word == "*" => path.push(word.to_owned()),
                _ => break,
            }
            at += 1;
            if self.word(at) != "::" {
                break;
            }
            at += 1;
        }
        if self.word(at) == "!" && ["(", "[", "{"].contains(&self.word(at + 1)) {
            path.last_mut().expect("a name before `!`").push('!');
        }
        found.push(Named { path, line: self.0[at - 1].0 });
        at
    }

    fn group(&self, mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
        while at < self.0.len() && self.word(at) != "}" {
            match self.word(at) {
                "as" => at += 2,
                "," => at += 1,
                word if is_name(word) || word == "*" => at = self.tree(at, prefix, found),
                _ => at += 1,
            }
        }
        at + 1
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn words(code: &str, line: usize) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let named = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if named(first) => rest.find(|c| !named(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        words.push((line, rest[..length].to_owned()));
        rest = rest[length..].trim_start();
    }
    words
}

/// Judges one file and compares with the faults expected, each `line: part of the message`.
fn check(path: &str, text: &str, expected: &[&str]) {
    let found = faults_of(path, text);
    let fits = |(fault, expected): (&String, &&str)| {
        let (line, message) = expected.split_once(": ").expect("line: message");
        fault.starts_with(&format!("{path}:{line}: ")) && fault.contains(message)
    };
    let same = found.len() == expected.len() && found.iter().zip(expected).all(fits);
    assert!(same, "\n{path}:\n{text}\nexpected {expected:#?}\nfound {found:#?}");
}

#[test]
fn imports_go_down() {
    check("src/key.rs", "//! Keys.\nuse crate::time::EventTime;\nuse crate::fault;\n", &[]);
    check("src/key.rs", "//! Keys.\nuse crate::job::Plan;\n", &["2: `key` (words) may not use `job` (job)"]);
    check("src/key.rs", "//! Keys.\nuse super::job::Plan;\n", &["2: may not use `job`"]);
    check("src/stats/ewma.rs", "//! E.\nuse super::moments::Moments;\nuse crate::learning;\nuse crate::time;\n", &[]);
    check("src/stats/ewma.rs", "//! E.\nuse super::super::engine::Epoch;\n", &["2: may not use `engine`"]);
    check("src/log/mod.rs", "//! Log.\nuse self::segment::Segment;\nuse crate::formats::json;\n", &[]);
    check(
        "src/engine/mod.rs",
        "//! Engine.\nuse crate::{\n    job::Plan,\n    serve::{Api as A, Page},\n    cli,\n};\n",
        &["4: may not use `serve`", "5: may not use `cli`"],
    );
    check("src/serve/api.rs", "//! Api.\nfn api() -> crate::cli::Exit {}\n", &["2: may not use `cli`"]);
    check("src/cli/run.rs", "//! Run.\nuse crate::{engine, serve, main};\n", &[]);
    check("src/job/plan.rs", "//! Plan.\nuse crate::Registry;\n", &["2: `crate::Registry` is no room"]);
    check("src/job/plan.rs", "//! Plan.\nfn f() {\n    crate::faults![];\n    a != b;\n}\n", &[]);
    check("src/job/plan.rs", "//! Plan.\nuse crate::*;\n", &["2: `crate::*` is no room"]);
    check("src/attic/mod.rs", "//! Attic.\n", &["1: `attic` is in no layer"]);
}

#[test]
fn parts_stay_apart() {
    let other = "a part may not use another part";
    check("src/operators/zscore.rs", "//! Z.\nuse crate::operator::Operator;\nuse crate::stats::Moments;\n", &[]);
    check("src/operators/zscore.rs", "//! Z.\nuse crate::operators::union::Union;\n", &[&format!("2: {other}")]);
    check("src/operators/zscore.rs", "//! Z.\nuse super::union;\n", &[&format!("2: {other}: `operators::union`")]);
    check("src/operators/zscore.rs", "//! Z.\nuse super::*;\n", &[&format!("2: {other}")]);
    check("src/operators/zscore.rs", "//! Z.\nuse crate::sinks::stdout;\n", &[&format!("2: {other}")]);
    check("src/sources/kafka.rs", "//! K.\nuse super::kafka_login::Login;\nuse crate::formats::json;\n", &[]);
    check("src/sources/kafkaesque.rs", "//! K.\nuse super::kafka::Login;\n", &[&format!("2: {other}")]);
    check("src/sources/kafka/login.rs", "//! K.\nuse super::Kafka;\nuse super::super::kafka;\n", &[]);
    check("src/sources/mod.rs", "//! S.\nuse self::file::File;\nuse crate::sources::kafka;\n", &[]);
    check("src/sources/mod.rs", "//! S.\nuse crate::sinks::file;\n", &[&format!("2: {other}")]);
    check("src/sinks/file.rs", "//! F.\nuse crate::engine::Epoch;\n", &["2: may not use `engine`"]);
}

#[test]
fn tests_may_import_from_anywhere_and_strings_and_comments_are_no_code() {
    let tests = "//! Z.\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::engine::run;\n\n    fn f() {\n        a.unwrap();\n    }\n}\n";
    check("src/operators/zscore.rs", tests, &[]);
    let after = format!("{tests}use crate::engine::run;\n");
    check("src/operators/zscore.rs", &after, &["11: may not use `engine`"]);
    check("src/key.rs", "//! K.\n#[cfg(test)]\nuse crate::job::a;\nuse crate::job::b;\n", &["4: may not use `job`"]);
    check("src/key.rs", "//! K.\nmod inner {\n    use super::fault;\n    use super::super::fault;\n}\n", &[]);
    for unseen in [
        "// crate::job::x, a.unwrap()",
        "/* /* crate::job::x */ a.unwrap() */",
        "\"crate::job \\\" .unwrap() dbg!(x)\";",
        "r#\"crate::job \" todo!() \"#;",
        "br\"\\\"; ('\"', '\\'', b'\"', \"crate::job\");",
    ] {
        check("src/key.rs", &format!("//! K.\n{unseen}\n"), &[]);
        check("src/key.rs", &format!("//! K.\n{unseen}\nuse crate::job;\n"), &["3: may not use `job`"]);
    }
    check("src/key.rs", "//! K.\nfn f<'a>(x: &'a str) -> crate::job::X<'a> {}\n", &["2: may not use `job`"]);
}

#[test]
fn reserved_names() {
    check("src/engine/mount.rs", "//! M.\nuse timely::dataflow::Scope;\n", &[]);
    check("src/job/plan.rs", "//! P.\nuse timely::dataflow::Scope;\n", &["2: only engine/ speaks timely"]);
    check("src/cli/run.rs", "//! R.\nfn f() -> ::timely::Config {}\n", &["2: only engine/ speaks timely"]);
    check("src/log/mod.rs", "//! L.\nuse differential_dataflow::input;\n", &["2: only engine/ speaks timely"]);
    check("benches/floor.rs", "//! F.\nuse timely::dataflow::Scope;\n", &[]);
    for path in ["src/sources/kafka.rs", "src/sinks/kafka/shard.rs", "src/kafka_client.rs"] {
        check(path, "//! K.\nuse rdkafka::config::ClientConfig;\n", &[]);
    }
    check("src/sinks/file.rs", "//! F.\nuse rdkafka::config;\n", &["2: Kafka's source, sink and client"]);
    let pure = "2: mathematics is pure";
    check("src/stats/mod.rs", "//! S.\nuse arrow::array::Array;\n", &[pure]);
    check("src/stats/mod.rs", "//! S.\nuse std::{cmp::Ordering, io};\n", &[pure]);
    check("src/learning/mod.rs", "//! S.\nuse crate::batch::Batch;\n", &[pure]);
    check("src/topology/mod.rs", "//! S.\nfn f(x: serde_json::Value) {}\n", &[pure]);
    check("src/stats/mod.rs", "//! S.\nuse std::fs;\n", &["2: touch no file"]);
    check("src/fault.rs", "//! S.\nuse std::fs::File;\n", &["2: touch no file"]);
    check("src/formats/json.rs", "//! S.\nuse std::{fs, io};\nuse arrow::array;\n", &[]);
}

#[test]
fn lengths_have_limits() {
    let function = |lines: usize| format!("//! F.\npub const fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    check("tests/it/main.rs", &function(70), &[]);
    check("src/key.rs", &function(71), &["2: a function of 71 lines"]);
    let nested = format!("//! F.\nimpl A {{\n    fn f(&self) {{\n{}    }}\n}}\n", "        g();\n".repeat(69));
    check("src/key.rs", &nested, &["3: a function of 71 lines"]);
    let declared = format!(
        "//! F.\ntrait A {{\n    fn f(\n        a: A,\n    );\n    fn g();\n{}}}\n",
        "    const A: B;\n".repeat(80)
    );
    check("src/key.rs", &declared, &[]);
    let tested =
        format!("//! F.\n#[cfg(test)]\nmod tests {{\n    fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(69));
    check("src/key.rs", &tested, &["4: a function of 71 lines"]);

    check("src/key.rs", &format!("//! F.\n{}", "const A: B = C;\n".repeat(899)), &[]);
    check("src/key.rs", &format!("//! F.\n{}", "const A: B = C;\n".repeat(900)), &["1: a file of 901 lines"]);

    check("src/key.rs", &format!("//! {}\n", "é".repeat(116)), &[]);
    check("src/key.rs", &format!("//! {}\n", "é".repeat(117)), &["1: 121 columns"]);
    check("src/key.rs", &format!("//! https://{}\n", "e".repeat(117)), &[]);
    check("src/key.rs", &format!("//! F.\nconst A: &str = \"{}\";\n", "e".repeat(200)), &[]);
    check("src/key.rs", &format!("//! F.\nconst A: &str = \"{}\";\n//{}\n", "e", "e".repeat(119)), &["3: 121 columns"]);
}

#[test]
fn leftovers_are_found() {
    check("benches/b.rs", "use a;\n", &["1: opens with `//!`"]);
    check("src/key.rs", "// Keys.\n", &["1: opens with `//!`"]);
    check("src/key.rs", "", &["1: opens with `//!`"]);
    for (code, what) in [("dbg!(a)", "`dbg!`"), ("todo!()", "`todo!`"), ("unimplemented!(\"a\")", "`unimplemented!`")] {
        check("tests/it/main.rs", &format!("//! F.\nfn f() {{\n    {code}\n}}\n"), &[&format!("3: {what}")]);
    }
    check("examples/e.rs", "//! F.\n// TODO: more\n/* FIXME */\n", &["2: `TODO`", "3: `FIXME`"]);
    check("src/key.rs", "//! F.\nfn f() {\n    a.unwrap();\n}\n", &["3: `unwrap()`"]);
    check("src/key.rs", "//! F.\nfn f() {\n    a.unwrap_or(b).unwrap_or_default();\n}\n", &[]);
    check("src/key/tests.rs", "//! F.\nfn f() {\n    a.unwrap();\n}\n", &[]);
    check("benches/b.rs", "//! F.\nfn f() {\n    a.unwrap();\n}\n", &[]);
    check("src/key.rs", "//! F. \nfn f() {}\t\n", &["1: white space", "2: white space"]);
    check("src/key.rs", "//! F.\nconst A: &str = \"a \n b\";\n", &[]);
}

#[test]
fn parts_are_listed() {
    let files =
        ["src/sinks/mod.rs", "src/sinks/file.rs", "src/sinks/kafka/mod.rs", "src/sinks/kafka/shard.rs", "src/key.rs"];
    let files = files.map(String::from);
    assert_eq!(unlisted("sinks", "pub mod file;\nmod kafka;\n", &files), [""; 0]);
    assert_eq!(
        unlisted("sinks", "pub mod file;\n// mod kafka;\n", &files),
        ["src/sinks/mod.rs:1: `kafka` is not listed"]
    );
    assert_eq!(unlisted("sinks", "", &files).len(), 2);
    assert_eq!(unlisted("operators", "", &files), [""; 0]);
}
