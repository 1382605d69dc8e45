//! The program as a person runs it: in a folder of its own, with its exit code and what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with some files, in which the program runs.
pub struct Folder(TempDir);

impl Folder {
    /// A folder with these files.
    pub fn new(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            fs::write(folder.path(name), bytes).unwrap();
        }
        folder
    }

    /// Where a file of the folder is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The lines of a file; none where there is no file.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let bytes = fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// The objects of a file of JSON lines.
    pub fn objects(&self, name: &str) -> Vec<serde_json::Value> {
        self.lines(name).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments, Stdio::null(), Stdio::null()).wait(self)
    }

    /// Starts the program. What it says on standard error is in the file `stderr`.
    pub fn start(&self, arguments: &[&str], input: Stdio, output: Stdio) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eagre"));
        command.args(arguments).current_dir(self.0.path()).env_clear().stdin(input).stdout(output);
        command.stderr(fs::File::create(self.path("stderr")).unwrap());
        Running(command.spawn().unwrap())
    }

    /// What was said on standard error so far; the folder is called FOLDER.
    pub fn said(&self) -> String {
        let root = fs::canonicalize(self.0.path()).unwrap();
        let text = fs::read(self.path("stderr")).unwrap();
        String::from_utf8_lossy(&text).replace(&root.display().to_string(), "FOLDER")
    }

    /// Waits until standard error has a text.
    pub fn hears(&self, text: &str) {
        wait(&format!("`{text}` on standard error"), || self.said().contains(text), || self.said());
    }
}

/// Waits until something is so.
pub fn wait(what: &str, mut so: impl FnMut() -> bool, instead: impl Fn() -> String) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}: {}", instead());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program that runs. It is killed when the test lets go of it.
pub struct Running(pub Child);

impl Running {
    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    pub fn wait(mut self, folder: &Folder) -> Ended {
        let mut status = None;
        let ended = || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        };
        wait("the program's end", ended, || folder.said());
        Ended { code: status.and_then(|status| status.code()), said: folder.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the program ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub said: String,
}

/// The rows of a Parquet file, as JSON lines.
pub fn parquet_lines(path: &Path) -> Vec<String> {
    let file = fs::File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1_000).unwrap();
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    reader.for_each(|batch| writer.write(&batch.unwrap()).unwrap());
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect()
}
