//! `eagre publish`: lines from standard input to a topic, by way of a spool on disk.
//!
//! ```text
//! stdin ─ lines ─> take ─> spool ─> send ─> publisher ─> brokers
//!                            ^                  │
//!                            └── settle: delivered, marked, synced
//! ```
//! One loop does all of it and never waits for a broker: as long as the brokers take records, a line is in the spool
//! for milliseconds; when they do not, it stays there. Lines are read while there is room for them.
//!
//! What a line has been through: *taken*, it is in a file of the spool and survives the process; *safe*, a power cut
//! does not take it either (synced within [`TICK`] twice, or delivered); *sent*, all replicas in sync have it.

use super::args::{PublishArguments, StatusFormat};
use super::lines::{self, Chunk, Lines, Next};
use super::{FAILED, WRONG, json, show};
use crate::engine::wall;
use crate::fault::Failure;
use crate::kafka_client::publisher::{Cluster, Outgoing, Publisher};
use crate::kafka_client::{self, Names};
use crate::spool::{Limits, Record, Spool};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often what is delivered is noted, and what waits longer is synced.
const TICK: Duration = Duration::from_millis(100);
/// How often things are synced in any case, and told to programs.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long nothing is delivered before a full spool is a failure: with a broker that is known to be away, and without.
const FULL_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long one that was stopped waits for brokers that take nothing, and for lines that were being read.
const STOPPED_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(200));
/// How long lines that are not taken are counted.
const COUNT_FOR: Duration = Duration::from_secs(2);
/// How long the loop sleeps when there is nothing to do: from so much to so much.
const NAP: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Records that are sent before the loop looks at other things.
const SEND_MAX: usize = 10_000;
/// A segment of the spool; less where the spool is small.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Publishes until the input ends, the person stops it, or the spool is full.
pub fn publish(arguments: &PublishArguments) -> ExitCode {
    let teller = Teller::new(arguments);
    let cluster = match cluster(arguments) {
        Ok(cluster) => cluster,
        Err(failure) => return teller.fails(&failure, WRONG),
    };
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = stop_on_signal(&stop, arguments.format) {
        return teller.fails(&Failure::new(format!("signals cannot be heard: {error}")), WRONG);
    }
    let mut run = match Run::start(arguments, &cluster, stop, teller.clone()) {
        Ok(run) => run,
        Err(failure) => return teller.fails(&failure, FAILED),
    };
    let end = run.work();
    run.ends(end)
}

/// Where to publish; or all that is wrong with the arguments.
fn cluster(arguments: &PublishArguments) -> Result<Cluster, Failure> {
    let mut cluster = match &arguments.cluster {
        None => Cluster::default(),
        Some(file) => {
            let cannot = |error: &dyn fmt::Display| Failure::new(format!("{} cannot be read: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
            toml::from_str(&text).map_err(|error| cannot(&error))?
        }
    };
    if let Some(brokers) = &arguments.brokers {
        cluster.brokers = Names(brokers.split(',').map(|name| name.trim().to_owned()).collect());
    } else if cluster.brokers.0.is_empty() {
        cluster.brokers = Names(vec!["localhost:9092".into()]);
    }
    let mut faults: Vec<String> = cluster.check(&arguments.topic).iter().map(ToString::to_string).collect();
    if arguments.spool_max.bytes() < 4 * arguments.line_max.bytes() {
        faults.push("--spool-max must be at least four times --line-max".into());
    }
    if faults.is_empty() { Ok(cluster) } else { Err(Failure::new(faults.join("\nerror: "))) }
}

/// The first Ctrl-C stops reading, the second ends the process: what is in the spool is safe there.
fn stop_on_signal(stop: &Arc<AtomicBool>, format: StatusFormat) -> Result<(), ctrlc::Error> {
    let stop = stop.clone();
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::SeqCst) {
            #[allow(clippy::disallowed_methods, reason = "the second Ctrl-C means now")]
            std::process::exit(130);
        }
        match format {
            StatusFormat::Json => say!("{}", json::stopping()),
            StatusFormat::Text => say!("\nstopping: no more is read (Ctrl-C again ends at once)"),
        }
    })
}

/// Why it ended, if nothing failed.
enum End {
    /// All is sent.
    Done,
    /// Something is left in the spool.
    Left,
}

/// Lines that were read and not all taken.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Where they are, and their keys.
    lines: Vec<(Range<usize>, Option<String>)>,
    taken: usize,
    /// When they came, in milliseconds since 1970.
    time: i64,
}

#[derive(Default)]
struct Counts {
    /// Lines of the input so far that are taken, or empty.
    lines: u64,
    empty: u64,
    keyless: u64,
    /// Lines that were read and not taken, and whether there may be more.
    refused: u64,
    more: bool,
}

struct Run<'a> {
    arguments: &'a PublishArguments,
    spool: Spool,
    publisher: Publisher,
    input: Option<Lines>,
    waiting: Waiting,
    counts: Counts,
    /// The numbers of the last record and of the last one that was delivered, when it began.
    began_with: (u64, u64),
    stop: Arc<AtomicBool>,
    /// Whether lines wait for room, and whether to look again if there is some.
    is_full: bool,
    is_due: bool,
    /// Whether there was nothing to be read when that was last tried, and since when no more is to be.
    is_quiet: bool,
    stopped: Option<Instant>,
    /// Until when all was well: when something was delivered last, or nothing was left.
    progressed: Instant,
    ticked: Instant,
    synced: Instant,
    /// The last record when it ticked.
    last_at_tick: u64,
    nap: Duration,
    teller: Teller,
}

impl<'a> Run<'a> {
    fn start(
        arguments: &'a PublishArguments,
        cluster: &Cluster,
        stop: Arc<AtomicBool>,
        teller: Teller,
    ) -> Result<Run<'a>, Failure> {
        let bytes_max = arguments.spool_max.bytes();
        let segment_bytes = SEGMENT_BYTES.min(bytes_max / 8);
        let limits = Limits { bytes_max, segment_bytes, skip_damaged: arguments.skip_damaged };
        let (spool, opened) = Spool::open(&arguments.spool.join(&arguments.topic), limits)?;
        let publisher = Publisher::open(cluster, &arguments.topic, spool.last() - spool.left())?;
        let line_max = arguments.line_max.bytes() as usize;
        let cannot = |error| Failure::new(format!("standard input cannot be read: {error}"));
        let input = if arguments.drain { None } else { Some(Lines::of(std::io::stdin(), line_max).map_err(cannot)?) };
        opened.notices.iter().for_each(|notice| teller.notice(notice));
        if opened.left > 0 {
            let left = show::count(opened.left as usize, "record");
            teller.notice(&format!("{left} of a former run are sent first"));
        }
        let now = wall::now();
        Ok(Run {
            arguments,
            began_with: (spool.last(), spool.last() - spool.left()),
            last_at_tick: spool.last(),
            spool,
            publisher,
            input,
            waiting: Waiting::default(),
            counts: Counts::default(),
            stop,
            is_full: false,
            is_due: true,
            is_quiet: false,
            stopped: None,
            progressed: now,
            ticked: now,
            synced: now,
            nap: NAP.0,
            teller,
        })
    }

    fn work(&mut self) -> Result<End, Failure> {
        loop {
            self.publisher.check()?;
            let busy = self.take()? | self.send()? | self.settle()?;
            if let Some(end) = self.end()? {
                return Ok(end);
            }
            self.nap = if busy { NAP.0 } else { (self.nap * 2).min(NAP.1) };
            if !busy {
                self.rest()?;
            }
        }
    }

    /// Puts lines that were read into the spool, and reads more; says whether it did anything.
    fn take(&mut self) -> Result<bool, Failure> {
        if self.stopped.is_none() && self.stop.load(Ordering::Relaxed) {
            self.input.iter().for_each(Lines::stop);
            self.stopped = Some(wall::now());
        }
        if self.waiting.taken == self.waiting.lines.len() {
            let next = self.input.as_ref().map(|input| input.next(Duration::ZERO));
            if !self.hear(next)? {
                return Ok(false);
            }
        }
        if !std::mem::take(&mut self.is_due) && self.is_full {
            return Ok(false);
        }
        let Waiting { bytes, lines, taken, time } = &mut self.waiting;
        let mut records = Vec::with_capacity(lines.len() - *taken);
        for (range, key) in &lines[*taken..] {
            let key = key.as_ref().map(String::as_bytes);
            records.push(Record { time: *time, key, payload: &bytes[range.clone()] });
        }
        let number = self.spool.append(&records)?;
        self.is_full = number < records.len();
        *taken += number;
        self.counts.lines += number as u64;
        Ok(number > 0)
    }

    /// Takes in what came of the input; says whether there are lines now.
    fn hear(&mut self, next: Option<Next>) -> Result<bool, Failure> {
        self.is_quiet = !matches!(next, Some(Next::Chunk(_)));
        match next {
            None | Some(Next::Nothing) => Ok(false),
            Some(Next::End) => {
                self.input = None;
                self.progressed = wall::now();
                Ok(false)
            }
            Some(Next::Chunk(Chunk::Failed(error))) => {
                self.counts.more = true;
                Err(Failure::new(format!("standard input cannot be read: {error}")))
            }
            Some(Next::Chunk(Chunk::TooLong)) => {
                (self.counts.refused, self.counts.more) = (1, true);
                Err(self.too_long(0))
            }
            Some(Next::Chunk(Chunk::Lines(bytes))) => self.hear_lines(bytes).map(|()| true),
        }
    }

    fn hear_lines(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        let (mut lines, mut too_long) = (Vec::new(), false);
        let (all, max) = (lines::ranges(&bytes).collect::<Vec<_>>(), self.arguments.line_max.bytes() as usize);
        for (i, range) in all.iter().enumerate() {
            if range.is_empty() {
                (self.counts.empty, self.counts.lines) = (self.counts.empty + 1, self.counts.lines + 1);
                continue;
            }
            too_long = range.len() > max;
            if too_long {
                self.counts.refused = (all.len() - i) as u64;
                break;
            }
            let key = self.arguments.key.as_ref().and_then(|field| key_of(&bytes[range.clone()], field));
            self.counts.keyless += u64::from(self.arguments.key.is_some() && key.is_none());
            lines.push((range.clone(), key));
        }
        // What is the use of a clock here: it says when a message was taken, as any producer's does.
        let time = kafka_client::now().div_euclid(1_000);
        self.waiting = Waiting { bytes, lines, taken: 0, time };
        if too_long { Err(self.too_long(self.waiting.lines.len() as u64)) } else { Ok(()) }
    }

    /// The failure to take a line that comes behind so many others that wait.
    fn too_long(&self, behind: u64) -> Failure {
        let number = show::grouped(self.counts.lines + behind + 1);
        let max = show::bytes(self.arguments.line_max.bytes());
        Failure::new(format!("line {number} is longer than {max}"))
            .help("--line-max lets longer ones pass; the topic's max.message.bytes must let them pass, too")
    }

    /// Gives the producer what it has room for; says whether that was anything.
    fn send(&mut self) -> Result<bool, Failure> {
        for sent in 0..SEND_MAX {
            let Some((number, Record { time, key, payload })) = self.spool.peek()? else { return Ok(sent > 0) };
            if !self.publisher.send(number, Outgoing { time, key, payload })? {
                return Ok(sent > 0);
            }
            self.spool.advance();
        }
        Ok(true)
    }

    /// Notes what was delivered; syncs what waits; tells. Says whether anything was delivered.
    fn settle(&mut self) -> Result<bool, Failure> {
        let (before, now) = (self.spool.left(), wall::now());
        self.spool.delivered(self.publisher.delivered());
        let progress = self.spool.left() < before;
        if progress || self.spool.left() == 0 {
            self.progressed = now;
        }
        if now - self.ticked < TICK {
            return Ok(progress);
        }
        self.publisher.readmit();
        self.spool.mark()?;
        // In a good run records are delivered before they are old enough to be worth a sync.
        if self.spool.safe() < self.last_at_tick || self.is_full || now - self.synced >= SYNC_EVERY {
            self.spool.sync()?;
            self.synced = now;
        }
        (self.ticked, self.last_at_tick, self.is_due) = (now, self.spool.last(), true);
        let standing = self.standing();
        self.teller.tell(&standing);
        Ok(progress)
    }

    /// Whether it is over; a failure when lines can neither be sent nor kept.
    fn end(&self) -> Result<Option<End>, Failure> {
        let (idle, trouble) = (self.progressed.elapsed(), self.publisher.trouble());
        if self.is_full && idle >= if trouble.is_some() { FULL_FOR.0 } else { FULL_FOR.1 } {
            return Err(self.full(idle, trouble));
        }
        let is_taken = self.is_quiet && self.waiting.taken == self.waiting.lines.len();
        let stopped = self.stopped.map(|stopped| stopped.elapsed());
        let ended = is_taken && (self.input.is_none() || stopped.is_some_and(|since| since >= STOPPED_FOR.1));
        let patience = stopped.map_or(self.arguments.wait.to_std(), |_| STOPPED_FOR.0);
        Ok(match ended {
            true if self.spool.left() == 0 => Some(End::Done),
            true if idle >= patience => Some(End::Left),
            _ => None,
        })
    }

    fn full(&self, idle: Duration, trouble: Option<String>) -> Failure {
        let (bytes, max) = (self.spool.bytes(), self.arguments.spool_max.bytes());
        let what = if bytes < max - max / 8 { "the disk" } else { "the spool" };
        let why = trouble.unwrap_or_else(|| format!("nothing was sent for {}", show::duration(idle)));
        Failure::new(format!(
            "{what} is full: {} of {} in {}; {why}",
            show::bytes(bytes),
            show::bytes(max),
            self.folder()
        ))
        .help(format!("`eagre publish {} --drain` sends what is there; --spool-max makes room", self.arguments.topic))
    }

    /// Waits for lines, or for brokers.
    fn rest(&mut self) -> Result<(), Failure> {
        if self.waiting.taken < self.waiting.lines.len() || self.input.is_none() {
            std::thread::sleep(self.nap);
            return Ok(());
        }
        let next = self.input.as_ref().map(|input| input.next(self.nap));
        self.hear(next).map(drop)
    }

    fn folder(&self) -> String {
        self.arguments.spool.join(&self.arguments.topic).display().to_string()
    }

    /// Leaves the spool in order and sums up; the exit code.
    fn ends(mut self, end: Result<End, Failure>) -> ExitCode {
        if end.is_err() {
            self.account_for_the_rest();
        }
        let mut standing = self.standing();
        let end = self.spool.sync().and(end);
        standing.safe = self.spool.safe() - self.began_with.0.min(self.spool.safe());
        let (folder, topic) = (self.folder(), &self.arguments.topic);
        let end = self.spool.finish().and(end);
        self.teller.sum_up(&standing, &folder);
        match end {
            Ok(End::Done) => ExitCode::SUCCESS,
            Ok(End::Left) => {
                let left = show::count(standing.spooled as usize, "record");
                let failure = Failure::new(format!("{left} could not be sent yet and are safe in {folder}"));
                self.teller.fails(&failure.help(format!("`eagre publish {topic} --drain` sends them")), FAILED)
            }
            Err(failure) => self.teller.fails(&failure, FAILED),
        }
    }

    /// Puts what waits into the spool as far as it goes; counts what is not taken.
    fn account_for_the_rest(&mut self) {
        // A failure of the spool is told already.
        let _ = self.take_waiting();
        let waiting = (self.waiting.lines.len() - self.waiting.taken) as u64;
        let (rest, all) = self.input.take().map_or((0, true), |input| input.count(COUNT_FOR));
        self.counts.refused += waiting + rest;
        self.counts.more |= !all;
    }

    fn take_waiting(&mut self) -> Result<bool, Failure> {
        if self.is_full || self.waiting.taken == self.waiting.lines.len() { Ok(false) } else { self.take() }
    }

    fn standing(&self) -> Standing {
        let (last, delivered) = self.began_with;
        Standing {
            taken: self.spool.last() - last,
            sent: self.spool.last() - self.spool.left() - delivered,
            spooled: self.spool.left(),
            safe: self.spool.safe() - last.min(self.spool.safe()),
            bytes: self.spool.bytes(),
            lost: self.spool.lost(),
            empty: self.counts.empty,
            keyless: self.counts.keyless,
            refused: self.counts.refused,
            more: self.counts.more,
            stopped: self.stopped.is_some(),
            trouble: self.publisher.trouble(),
        }
    }
}

/// The text of a field of a JSON object, as the `kafka` sink makes keys; `None` where there is none.
fn key_of(line: &[u8], field: &str) -> Option<String> {
    struct Field<'a>(&'a str);
    impl<'de> Visitor<'de> for Field<'_> {
        type Value = Option<Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<String>()? {
                if name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    match serde_json::Deserializer::from_slice(line).deserialize_map(Field(field)).ok().flatten()? {
        Value::Null => None,
        Value::String(text) => Some(text),
        value => Some(value.to_string()),
    }
}

/// How things stand.
struct Standing {
    taken: u64,
    sent: u64,
    spooled: u64,
    safe: u64,
    bytes: u64,
    lost: u64,
    empty: u64,
    keyless: u64,
    refused: u64,
    more: bool,
    stopped: bool,
    trouble: Option<String>,
}

/// Tells people or programs, on standard error.
#[derive(Clone)]
struct Teller {
    topic: String,
    format: StatusFormat,
    is_terminal: bool,
    begun: Instant,
    told: Instant,
    trouble: Option<String>,
}

impl Teller {
    fn new(arguments: &PublishArguments) -> Teller {
        let (topic, format, now) = (arguments.topic.clone(), arguments.format, wall::now());
        let is_terminal = format == StatusFormat::Text && std::io::stderr().is_terminal();
        Teller { topic, format, is_terminal, begun: now, told: now, trouble: None }
    }

    fn notice(&self, text: &str) {
        match self.format {
            StatusFormat::Json => say!("{}", json!({ "kind": "notice", "notice": text })),
            StatusFormat::Text => say!("{text}"),
        }
    }

    /// To be called every [`TICK`].
    fn tell(&mut self, standing: &Standing) {
        let due = self.told.elapsed() >= SYNC_EVERY;
        match self.format {
            StatusFormat::Json if due => say!("{}", self.json("status", standing)),
            StatusFormat::Json => return,
            StatusFormat::Text if self.is_terminal => draw(&self.line(standing)),
            StatusFormat::Text => self.tell_trouble(standing),
        }
        if due {
            self.told = wall::now();
        }
    }

    fn tell_trouble(&mut self, standing: &Standing) {
        if standing.trouble == self.trouble {
            return;
        }
        match &standing.trouble {
            Some(trouble) => say!("{}: {trouble}", self.topic),
            None => say!("{}: well again", self.topic),
        }
        self.trouble.clone_from(&standing.trouble);
    }

    fn line(&self, standing: &Standing) -> String {
        let Standing { taken, sent, spooled, bytes, trouble, .. } = standing;
        let number = |number: &u64| show::grouped(*number);
        let trouble = trouble.as_ref().map_or_else(String::new, |trouble| format!(" · {trouble}"));
        let (taken, sent, spooled) = (number(taken), number(sent), number(spooled));
        format!("{}: {taken} taken, {sent} sent, {spooled} in the spool ({}){trouble}", self.topic, show::bytes(*bytes))
    }

    fn sum_up(&self, standing: &Standing, folder: &str) {
        if self.format == StatusFormat::Json {
            return say!("{}", self.json("summary", standing));
        }
        if self.is_terminal {
            draw("");
        }
        let (took, per_second) = (self.begun.elapsed(), standing.sent as f64 / self.begun.elapsed().as_secs_f64());
        let taken = show::count(standing.taken as usize, "line");
        let (sent, took, rate) = (show::grouped(standing.sent), show::duration(took), show::short(per_second));
        say!("{}: {taken} taken, {sent} sent in {took} ({rate}/s)", self.topic);
        let unsafe_lines = standing.taken.saturating_sub(standing.safe);
        let facts = [
            (standing.spooled, format!("in {folder}, not sent")),
            (unsafe_lines, "of them not safe: a power cut may take them".into()),
            (standing.refused, if standing.more { "or more not taken".into() } else { "not taken".into() }),
            (standing.empty, "empty and passed over".into()),
            (standing.keyless, "sent without a key".into()),
            (standing.lost, "damaged and lost".into()),
        ];
        for (number, what) in facts.iter().filter(|(number, _)| *number > 0) {
            say!("  {:>12} {what}", show::grouped(*number));
        }
    }

    fn json(&self, kind: &str, standing: &Standing) -> Value {
        json!({ "kind": kind, "topic": self.topic, "elapsed_s": self.begun.elapsed().as_secs_f64(),
            "taken": standing.taken, "sent": standing.sent, "spooled": standing.spooled, "safe": standing.safe,
            "spool_bytes": standing.bytes, "damaged": standing.lost, "empty": standing.empty,
            "without_key": standing.keyless, "not_taken": standing.refused, "not_taken_is_all": !standing.more,
            "stopped": standing.stopped, "trouble": standing.trouble })
    }

    fn fails(&self, failure: &Failure, code: u8) -> ExitCode {
        match self.format {
            StatusFormat::Json => say!("{}", json::error(&failure.message, failure.help.as_deref())),
            StatusFormat::Text => say!("error: {failure}"),
        }
        ExitCode::from(code)
    }
}

/// Draws a line in place of the one before; one that is too long is cut.
fn draw(line: &str) {
    let columns = crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
    let columns = if columns < 20 { 79 } else { columns - 1 };
    let line: String = line.chars().take(columns).collect();
    // A terminal that cannot be drawn on is no reason to stop.
    let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
}
