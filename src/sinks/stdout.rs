//! Results on standard output: an aligned table where a person looks on, JSON lines where a program does.
//!
//! ```toml
//! [sink.alerts]
//! kind = "stdout"
//! input = "scores"
//! # format = "auto"   # "table", "json" or "csv"; auto: a table on a terminal, JSON lines otherwise
//! # limit = 100       # show so many rows and count the rest
//! ```
//! ```text
//! alerts · 2026-01-01
//! event_time    sensor       value  note
//! 12:00:00.407  sensor-01  21.5017  –
//! 12:00:01.407  sensor-02     -3.2  over the limit
//! ```
//!
//! - On a terminal rows appear as they come; elsewhere those of one sink in order of event time, once the watermark has
//!   passed them, the same in every run. Several sinks may share the output: none tears another's lines, and a table
//!   (or CSV) repeats its header, with the sink's name, when another has written in between; how their rows lie between
//!   each other may differ from run to run.
//! - The table has times as hours, minutes, seconds and milliseconds (UTC), with the date where it changes; floats with
//!   six significant digits; a dash for null. Columns are as wide as what they have shown so far. What is too wide for
//!   the terminal is cut with an ellipsis, and columns that find no place are counted in the header. JSON and CSV have
//!   everything, to the last digit.
//! - Control characters in text are shown as escapes, so no record can take over the terminal. `NO_COLOR` is respected.
//! - When the reader goes away (`eagre run … | head`) the job ends: [`is_closed`] knows that failure, which is not the
//!   user's mistake.

use crate::batch::Batch;
use crate::fault::{Failure, Fault};
use crate::formats::encode::{Lines, Style};
use crate::schema::{Kind, Schema};
use crate::sink::{Opening, Shards, Sink, Writer};
use crate::time::{self, EventTime};
use crate::value::Cells;
use ratatui::text::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The settings of a sink on standard output.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stdout {
    /// How rows are shown.
    #[serde(default)]
    pub format: Format,
    /// How many rows are shown at most.
    pub limit: Option<u64>,
}

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A table on a terminal, JSON lines otherwise.
    #[default]
    Auto,
    /// An aligned table.
    Table,
    /// A JSON object on every line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// Whether a failure says that nobody reads standard output any more; a program ends then without complaint.
pub fn is_closed(failure: &Failure) -> bool {
    failure.message.ends_with(CLOSED)
}

const CLOSED: &str = "standard output was closed";

impl Sink for Stdout {
    const NAME: &'static str = "stdout";

    fn plan(&self, _input: &Schema, _faults: &mut Vec<Fault>) {}

    fn shards(&self) -> Shards {
        // Whoever watches a terminal wants rows at once.
        if io::stdout().is_terminal() { Shards::One } else { Shards::InOrder }
    }

    fn open(&self, opening: Opening<'_>) -> Result<Box<dyn Writer>, Failure> {
        Ok(self.open_on(SCREEN.clone(), opening.name, opening.input))
    }
}

impl Stdout {
    fn open_on(&self, screen: SharedScreen, name: &str, input: &Schema) -> Box<dyn Writer> {
        let style = match self.format {
            Format::Json => Some(Style::Json),
            Format::Csv => Some(Style::Csv),
            Format::Table => None,
            Format::Auto if lock(&screen).terminal => None,
            Format::Auto => Some(Style::Json),
        };
        let rows_left = self.limit.unwrap_or(u64::MAX);
        match style {
            Some(style) => Box::new(LineWriter {
                name: name.to_owned(),
                lines: Lines::new(style, input),
                text: String::new(),
                rows_left,
                screen,
            }),
            None => Box::new(TableWriter { table: Table::new(name, input), rows_left, rows_hidden: 0, screen }),
        }
    }
}

/// What all sinks on standard output share: who wrote last, and when the last header was.
struct Screen {
    out: Box<dyn Write + Send>,
    terminal: bool,
    styled: bool,
    /// Columns and lines there are now.
    size: fn() -> (usize, usize),
    last: Option<String>,
    lines_since_header: usize,
}

type SharedScreen = Arc<Mutex<Screen>>;

static SCREEN: LazyLock<SharedScreen> = LazyLock::new(|| {
    let terminal = io::stdout().is_terminal();
    let styled = terminal && !crossterm::style::Colored::ansi_color_disabled_memoized();
    let size =
        || crossterm::terminal::size().map_or((80, 24), |(width, height)| (usize::from(width), usize::from(height)));
    Arc::new(Mutex::new(Screen {
        out: Box::new(io::stdout()),
        terminal,
        styled,
        size,
        last: None,
        lines_since_header: 0,
    }))
});

/// A writer that panicked ends the job; until then the others may go on writing.
fn lock(screen: &SharedScreen) -> std::sync::MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn put(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(CLOSED),
            _ => Failure::new(format!("cannot write to standard output: {error}")),
        })
    }
}

/// Takes rows off what is left to show; says how many of these may be shown.
fn admit(rows_left: &mut u64, rows: usize) -> usize {
    let shown = (*rows_left).min(rows as u64);
    *rows_left -= shown;
    shown as usize
}

/// JSON or CSV.
struct LineWriter {
    name: String,
    lines: Lines,
    text: String,
    rows_left: u64,
    screen: SharedScreen,
}

/// How many bytes are gathered before they are written.
const TEXT_MAX: usize = 64 * 1024;

impl Writer for LineWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let shown = admit(&mut self.rows_left, batch.len());
        let mut from = 0;
        while from < shown {
            let to = shown.min(from + 256);
            self.lines.write(batch, from..to, &mut self.text);
            from = to;
            if self.text.len() >= TEXT_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.text.is_empty() {
            return Ok(());
        }
        let mut screen = lock(&self.screen);
        if screen.last.as_ref() != Some(&self.name) {
            screen.last = Some(self.name.clone());
            if let Some(header) = self.lines.header() {
                screen.put(&format!("{header}\n"))?;
            }
        }
        screen.put(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

/// A table for people.
struct TableWriter {
    table: Table,
    rows_left: u64,
    rows_hidden: u64,
    screen: SharedScreen,
}

/// How many rows are gathered before they are written.
const ROWS_MAX: usize = 1_000;

impl Writer for TableWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let shown = admit(&mut self.rows_left, batch.len());
        self.rows_hidden += (batch.len() - shown) as u64;
        for row in 0..shown {
            self.table.add(batch, row);
            if self.table.rows.len() >= ROWS_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.table.rows.is_empty() {
            return Ok(());
        }
        let mut screen = lock(&self.screen);
        let text = self.table.print(&mut screen);
        screen.put(&text)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        if self.rows_hidden == 0 {
            return Ok(());
        }
        let mut screen = lock(&self.screen);
        let text =
            styled(screen.styled, DIM, &format!("… {} more rows of {}", self.rows_hidden, self.table.name)) + "\n";
        screen.put(&text)
    }
}

/// Rows that wait to be shown, and how wide their columns are.
struct Table {
    name: String,
    columns: Vec<Column>,
    rows: Vec<TableRow>,
    layout: Layout,
    /// The day of the last row shown.
    day: Option<i64>,
}

struct Column {
    label: String,
    kind: Kind,
    /// As wide as anything it has shown, or would have shown had there been room.
    width: usize,
}

struct TableRow {
    day: i64,
    /// `None` for null.
    cells: Vec<Option<String>>,
}

/// How wide each column is on this terminal; those behind the last find no room.
#[derive(Clone, Default, PartialEq, Eq)]
struct Layout(Vec<usize>);

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const GAP: usize = 2;
const TEXT_WIDTH_MIN: usize = 8;
const FLOAT_WIDTH_MIN: usize = 8;
const MORE_WIDTH: usize = GAP + "+99 more".len();

impl Table {
    fn new(name: &str, schema: &Schema) -> Table {
        let fields = schema.fields().iter().map(|field| (field.name.as_str(), field.kind));
        let columns = std::iter::once(("event_time", Kind::Time)).chain(fields).map(|(name, kind)| {
            let label = visible(name);
            let least = if kind == Kind::Float { FLOAT_WIDTH_MIN } else { 1 };
            Column { width: width(&label).max(least), label, kind }
        });
        Table {
            name: visible(name),
            columns: columns.collect(),
            rows: Vec::new(),
            layout: Layout::default(),
            day: None,
        }
    }

    fn add(&mut self, batch: &Batch, row: usize) {
        let at = batch.times()[row];
        let day = at.div_euclid(DAY);
        let fields = batch.columns().iter().map(|column| cell(Cells::of(column), row, day));
        let cells: Vec<Option<String>> = std::iter::once(Some(clock(at))).chain(fields).collect();
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = column.width.max(cell.as_deref().map_or(1, width));
        }
        self.rows.push(TableRow { day, cells });
    }

    /// All waiting rows as lines, with headers where they are needed.
    fn print(&mut self, screen: &mut Screen) -> String {
        let (columns, lines) = (screen.size)();
        let layout = self.fit(columns);
        let mut header_due = layout != self.layout;
        self.layout = layout;
        let mut text = String::new();
        for row in std::mem::take(&mut self.rows) {
            let other = screen.last.as_ref() != Some(&self.name);
            if header_due || other || screen.lines_since_header + HEADER_LINES >= lines.max(10) {
                text.push_str(if screen.last.is_some() { "\n" } else { "" });
                self.header(&mut text, row.day, screen.styled);
                screen.last = Some(self.name.clone());
                screen.lines_since_header = 0;
                header_due = false;
            } else if self.day != Some(row.day) {
                text += &(styled(screen.styled, DIM, &date(row.day)) + "\n");
                screen.lines_since_header += 1;
            }
            self.day = Some(row.day);
            self.line(&mut text, &row.cells, screen.styled);
            screen.lines_since_header += 1;
        }
        text
    }

    /// Widths that fit: the widest texts give way first, then the last columns.
    fn fit(&self, room: usize) -> Layout {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.width).collect();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        while total(&widths) > room {
            let texts = self
                .columns
                .iter()
                .zip(&mut widths)
                .filter(|(column, width)| column.kind == Kind::Text && **width > TEXT_WIDTH_MIN);
            match texts.map(|(_, width)| width).max_by_key(|width| **width) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        while total(&widths) > room - room.min(if widths.len() < self.columns.len() { MORE_WIDTH } else { 0 })
            && widths.len() > 1
        {
            widths.pop();
        }
        Layout(widths)
    }

    /// An empty line apart from what was there before: the sink's name and the date, then the names of the columns.
    fn header(&self, text: &mut String, day: i64, style: bool) {
        text.push_str(&styled(style, BOLD, &self.name));
        text.push_str(&styled(style, DIM, &format!(" · {}", date(day))));
        text.push('\n');
        let mut labels = String::new();
        for (column, width) in self.columns.iter().zip(&self.layout.0) {
            pad(&mut labels, &cut(&column.label, *width), "", column.kind.is_number(), *width);
        }
        let more = self.columns.len() - self.layout.0.len();
        if more > 0 {
            labels.push_str(&format!("+{more} more"));
        }
        text.push_str(&styled(style, DIM, labels.trim_end()));
        text.push('\n');
    }

    fn line(&self, text: &mut String, cells: &[Option<String>], style: bool) {
        for ((column, width), cell) in self.columns.iter().zip(&self.layout.0).zip(cells) {
            let (shown, dim) = match cell {
                Some(cell) => (cut(cell, *width), ""),
                None => ("–".to_owned(), if style { DIM } else { "" }),
            };
            pad(text, &shown, dim, column.kind.is_number(), *width);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// The name and date, the labels, and an empty line before them.
const HEADER_LINES: usize = 3;

const DAY: i64 = 86_400_000_000;

/// A value as the table shows it; `None` for null.
fn cell(cells: Cells<'_>, row: usize, day: i64) -> Option<String> {
    if cells.is_null(row) {
        return None;
    }
    Some(match cells {
        Cells::Bool(cells) => cells.value(row).to_string(),
        Cells::Int(cells) => cells.value(row).to_string(),
        Cells::Origin(cells) => cells.value(row).to_string(),
        Cells::Float(cells) => significant(cells.value(row)),
        Cells::Text(cells) => visible(cells.value(row)),
        Cells::Time(cells) if cells.value(row).div_euclid(DAY) == day => clock(cells.value(row)),
        Cells::Time(cells) => format!("{} {}", date(cells.value(row).div_euclid(DAY)), clock(cells.value(row))),
    })
}

/// Hours, minutes, seconds and milliseconds of a time.
fn clock(at: EventTime) -> String {
    let millis = at.rem_euclid(DAY) / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60, millis % 1_000)
}

/// A day since 1970 as a date.
fn date(day: i64) -> String {
    let text = time::format(day.saturating_mul(DAY));
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A float with six significant digits, and all digits before the point.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return (value + 0.0).to_string();
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("this format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if !(-5..15).contains(&exponent) {
        return format!("{}e{exponent}", short(mantissa));
    }
    let text = format!("{value:.*}", usize::try_from(5 - exponent).unwrap_or(0));
    short(&text).to_owned()
}

/// Without zeros at the end of the decimals.
fn short(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// Text whose control characters are escapes.
fn visible(text: &str) -> String {
    if !text.contains(|c: char| c.is_control()) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// How many places of a terminal a text takes.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// A text cut to a width, with an ellipsis where something is missing.
fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut kept = text.chars().take(room).collect::<String>();
    while !kept.is_empty() && width(&kept) + 1 > room {
        kept.pop();
    }
    kept + "…"
}

/// Appends a cell, aligned, and the gap to the next.
fn pad(text: &mut String, shown: &str, style: &str, right: bool, room: usize) {
    let space = " ".repeat(room.saturating_sub(width(shown)));
    let (before, after) = if right { (space.as_str(), "") } else { ("", space.as_str()) };
    text.push_str(before);
    text.push_str(&styled(!style.is_empty(), style, shown));
    text.push_str(after);
    text.push_str(&" ".repeat(GAP));
}

fn styled(on: bool, style: &str, text: &str) -> String {
    if on { format!("{style}{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::Field;
    use crate::value::{ColumnBuilder, Value};

    /// What would be on the screen.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("the page").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().expect("the page"))).expect("text")
        }
    }

    fn screen(terminal: bool, size: fn() -> (usize, usize)) -> (Page, SharedScreen) {
        let page = Page::default();
        let out = Box::new(page.clone());
        (page, Arc::new(Mutex::new(Screen { out, terminal, styled: false, size, last: None, lines_since_header: 0 })))
    }

    fn open(settings: &str, screen: &SharedScreen, name: &str) -> Box<dyn Writer> {
        toml::from_str::<Stdout>(settings).expect("settings").open_on(screen.clone(), name, &schema())
    }

    fn schema() -> Schema {
        Schema::new([
            Field::new("sensor", Kind::Text),
            Field::new("value", Kind::Float),
            Field::new("n", Kind::Int),
            Field::new("at", Kind::Time),
        ])
    }

    const NOON: i64 = 1_767_268_800_000_000;

    /// A batch of rows: event time in milliseconds after noon, and the fields.
    fn batch(rows: &[(i64, Value, Value)]) -> Batch {
        let schema = schema();
        let mut columns: Vec<ColumnBuilder> = schema.fields().iter().map(|f| ColumnBuilder::new(f.kind)).collect();
        for (i, (millis, sensor, value)) in rows.iter().enumerate() {
            let at = Value::Time(NOON + millis * 1_000 - if i == 1 { DAY } else { 0 });
            let values = [sensor.clone(), value.clone(), Value::Int(i as i64), at];
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        let times = rows.iter().map(|(millis, ..)| NOON + millis * 1_000).collect();
        let head = Head {
            times,
            origins: vec![0; rows.len()],
            sequences: (0..rows.len() as i64).collect(),
            ..Head::default()
        };
        Batch::new(&schema, head, columns.iter_mut().map(ColumnBuilder::finish).collect())
    }

    fn sample() -> Batch {
        batch(&[
            (407, "s-1".into(), 21.501_712_3.into()),
            (1_000, Value::Null, f64::NAN.into()),
            (2_000, "日本\n語".into(), Value::Null),
        ])
    }

    fn wide() -> (usize, usize) {
        (80, 24)
    }

    #[test]
    fn a_table_as_text() {
        let (page, screen) = screen(true, wide);
        let mut writer = open("", &screen, "alerts");
        writer.write(&sample()).expect("written");
        writer.flush().expect("flushed");
        let expected = "\
alerts · 2026-01-01
event_time    sensor       value  n  at
12:00:00.407  s-1        21.5017  0  12:00:00.407
12:00:01.000  –              NaN  1  2025-12-31 12:00:01.000
12:00:02.000  日本\\n語         –  2  12:00:02.000
";
        assert_eq!(page.text(), expected);
        // The same widths: no new header. Another day: its date.
        writer
            .write(&batch(&[(0, "s-2".into(), (-3.25).into()), (86_400_000, "s-2".into(), 0.0.into())]))
            .expect("written");
        writer.finish().expect("finished");
        let expected = "\
12:00:00.000  s-2          -3.25  0  12:00:00.000
2026-01-02
12:00:00.000  s-2              0  1  2026-01-01 12:00:00.000
";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn a_narrow_table_cuts_texts_and_then_columns() {
        let row = [(0, "a long name of a sensor".into(), 1.0.into())];
        let check = |size: fn() -> (usize, usize), expected: &str| {
            let (page, screen) = screen(true, size);
            let mut writer = open("format = 'table'", &screen, "alerts");
            writer.write(&batch(&row)).expect("written");
            writer.finish().expect("finished");
            assert_eq!(page.text(), format!("alerts · 2026-01-01\n{expected}"));
        };
        check(
            || (50, 24),
            "event_time    sensor        value  n  at\n12:00:00.000  a long n…         1  0  12:00:00.000\n",
        );
        check(|| (46, 24), "event_time    sensor       value  n  +1 more\n12:00:00.000  a long …         1  0\n");
        check(|| (3, 1), "event_time    +4 more\n12:00:00.000\n");
    }

    #[test]
    fn headers_come_again() {
        let (page, screen) = screen(true, || (80, 12));
        let (mut a, mut b) = (open("", &screen, "a"), open("format = 'json'", &screen, "b"));
        let rows: Vec<_> = (0..12).map(|i| (i, Value::from("s"), Value::from(1.0))).collect();
        a.write(&batch(&rows)).expect("written");
        a.flush().expect("flushed");
        let headers = |text: &str| text.lines().filter(|line| line.starts_with("a · ")).count();
        assert_eq!(headers(&page.text()), 2);
        a.write(&batch(&rows[..1])).expect("written");
        a.flush().expect("flushed");
        assert_eq!(headers(&page.text()), 0);
        b.write(&batch(&rows[..1])).expect("written");
        b.flush().expect("flushed");
        a.write(&batch(&rows[..1])).expect("written");
        a.flush().expect("flushed");
        let text = page.text();
        assert!(
            text.starts_with("{\"event_time\":\"2026-01-01T12:00:00Z\",\"sensor\":\"s\",")
                && text.contains("}\n\na · 2026-01-01\n"),
            "{text}"
        );
        // A wider cell moves the columns.
        a.write(&batch(&[(0, "a wider name".into(), 1.0.into())])).expect("written");
        a.flush().expect("flushed");
        assert_eq!(headers(&page.text()), 1);
    }

    #[test]
    fn lines_where_no_person_looks_on() {
        let (page, screen) = screen(false, wide);
        let mut json = open("limit = 1", &screen, "a");
        json.write(&sample()).expect("written");
        json.finish().expect("finished");
        let line = r#"{"event_time":"2026-01-01T12:00:00.407Z","sensor":"s-1","value":21.5017123,"n":0,"at":"2026-01-01T12:00:00.407Z"}"#;
        assert_eq!(page.text(), format!("{line}\n"));
        let mut csv = open("format = 'csv'", &screen, "b");
        for _ in 0..2 {
            csv.write(&batch(&[(0, "x".into(), 1.0.into())])).expect("written");
            csv.flush().expect("flushed");
        }
        let row = "2026-01-01T12:00:00Z,x,1.0,0,2026-01-01T12:00:00Z\n";
        assert_eq!(page.text(), format!("event_time,sensor,value,n,at\n{row}{row}"));
    }

    #[test]
    fn a_limit_counts_the_rest() {
        let (page, screen) = screen(true, wide);
        let mut writer = open("limit = 1", &screen, "alerts");
        writer.write(&sample()).expect("written");
        writer.write(&sample()).expect("written");
        writer.finish().expect("finished");
        let text = page.text();
        assert!(text.ends_with("12:00:00.407\n… 5 more rows of alerts\n") && text.lines().count() == 4, "{text}");
    }

    #[test]
    fn style_is_quiet() {
        let (page, screen) = screen(true, wide);
        lock(&screen).styled = true;
        let mut writer = open("", &screen, "alerts");
        writer.write(&batch(&[(0, Value::Null, 5.0.into())])).expect("written");
        writer.finish().expect("finished");
        let expected = "\u{1b}[1malerts\u{1b}[0m\u{1b}[2m · 2026-01-01\u{1b}[0m\n\
            \u{1b}[2mevent_time    sensor     value  n  at\u{1b}[0m\n\
            12:00:00.000  \u{1b}[2m–\u{1b}[0m              5  0  12:00:00.000\n";
        assert_eq!(page.text(), expected);
        assert_eq!(visible("\u{1b}[31mred\t"), "\\u{1b}[31mred\\t");
    }

    #[test]
    fn numbers_have_six_digits() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (21.501_712_3, "21.5017"),
            (9.999_999_9, "10"),
            (-0.000_123_456_7, "-0.000123457"),
            (1_234_567.89, "1234568"),
            (1e-7, "1e-7"),
            (-1.234_567_8e20, "-1.23457e20"),
            (f64::INFINITY, "inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
    }

    #[test]
    fn a_closed_pipe_is_known() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (_, screen) = screen(false, wide);
        lock(&screen).out = Box::new(Closed);
        let mut writer = open("", &screen, "a");
        writer.write(&sample()).expect("gathered");
        let failure = writer.flush().expect_err("closed");
        assert!(is_closed(&failure) && is_closed(&failure.doing("sink `a`")) && !is_closed(&Failure::new("full")));
    }
}
