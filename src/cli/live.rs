//! The live table of steps, drawn in place on standard error: how fast records come in and go out, how far event time
//! has come, how busy each step is, what waits, what was late or rejected.

use super::{doctor, show};
use crate::engine::Status;
use crate::job::Plan;
use crate::time::{AFTER_ALL, BEFORE_ALL, EventTime};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Paragraph, Row, Table};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use std::io::{Stderr, stderr};
use std::time::Duration;

/// The heads of the columns, and how wide each is at least: numbers that grow shall not move the others.
const HEADS: [(&str, usize); COLUMNS] = [
    ("step", 8),
    ("kind", 4),
    ("in/s", 5),
    ("out/s", 5),
    ("watermark", 9),
    ("lag", 8),
    ("busy", 5),
    ("queue", 5),
    ("late", 5),
    ("rejected", 8),
];
const COLUMNS: usize = 10;
const WATERMARK: usize = 4;
/// What is left out where there is no room, first to last; of the watermark the date first.
const LEFT_OUT: [usize; COLUMNS] = [1, WATERMARK, 3, WATERMARK, 5, 7, 8, 9, 2, 6];
/// A longer name is cut.
const NAME_MAX: usize = 18;

/// A table on the terminal that is drawn again and again.
pub struct Live {
    terminal: Option<Terminal<CrosstermBackend<Stderr>>>,
    before: Option<Status>,
}

impl Live {
    /// A table that has not been drawn.
    pub fn new() -> Live {
        Live { terminal: None, before: None }
    }

    /// Draws how the job stands; rates are those since the last drawing.
    pub fn draw(&mut self, plan: &Plan, status: &Status) {
        let rows = lines(plan, status, self.before.as_ref());
        if self.terminal.is_none() {
            let options = TerminalOptions { viewport: Viewport::Inline(rows.len() as u16 + 3) };
            self.terminal = Terminal::with_options(CrosstermBackend::new(stderr()), options).ok();
        }
        if let Some(terminal) = &mut self.terminal {
            // A terminal that cannot be drawn on is no reason to stop a job.
            let _ = terminal.draw(|frame| paint(frame, rows, status));
        }
        self.before = Some(status.clone());
    }

    /// Takes the table away: the summary follows.
    pub fn finish(mut self) {
        if let Some(terminal) = &mut self.terminal {
            // A terminal that cannot be cleared is no reason to fail.
            let _ = terminal.clear();
        }
    }
}

/// A line of the table.
struct Part {
    name: String,
    kind: String,
    /// Records per second in and out.
    rates: [Option<f64>; 2],
    watermark: Option<EventTime>,
    /// The part of one core that it keeps busy.
    busy: f64,
    queue: u64,
    late: u64,
    rejected: u64,
    trouble: Option<String>,
}

fn lines(plan: &Plan, status: &Status, before: Option<&Status>) -> Vec<Part> {
    let period =
        before.map_or(status.elapsed, |b| status.elapsed.saturating_sub(b.elapsed)).max(Duration::from_millis(1));
    let rate = |now: u64, then: u64| Some((now - then) as f64 / period.as_secs_f64());
    let busy = |now: u64, then: u64| (now - then) as f64 / period.as_nanos() as f64;
    let mut parts = Vec::new();
    for (i, (source, (counts, _))) in plan.sources.iter().zip(&status.sources).enumerate() {
        let then = before.map(|b| &b.sources[i].0);
        let mine = status.partitions.iter().filter(|(_, s)| s.source == i).map(|(_, s)| s.watermark);
        parts.push(Part {
            name: source.name.clone(),
            kind: source.kind.into(),
            rates: [None, rate(counts.records, then.map_or(0, |t| t.records))],
            watermark: mine.min(),
            busy: busy(counts.busy_ns, then.map_or(0, |t| t.busy_ns)),
            queue: counts.queue.max(0) as u64 + behind(status, i),
            late: counts.late,
            rejected: counts.rejected,
            trouble: show::unwell(&counts.condition),
        });
    }
    for (i, (step, counts)) in plan.steps.iter().zip(&status.steps).enumerate() {
        let then = before.map(|b| &b.steps[i]);
        let total = |ns: &[u64]| ns.iter().sum::<u64>();
        parts.push(Part {
            name: step.name.clone(),
            kind: step.kind.into(),
            rates: [rate(counts.records, then.map_or(0, |t| t.records)), rate(counts.out, then.map_or(0, |t| t.out))],
            watermark: Some(counts.watermark),
            busy: busy(total(&counts.busy_ns), then.map_or(0, |t| total(&t.busy_ns))) / counts.busy_ns.len() as f64,
            queue: counts.waiting,
            late: counts.late,
            rejected: counts.rejected,
            trouble: show::growing(step, counts),
        });
    }
    for (i, (sink, counts)) in plan.sinks.iter().zip(&status.sinks).enumerate().filter(|(_, (sink, _))| !sink.implicit)
    {
        let then = before.map(|b| &b.sinks[i]);
        parts.push(Part {
            name: sink.name.clone(),
            kind: sink.kind.into(),
            rates: [rate(counts.records, then.map_or(0, |t| t.records)), None],
            watermark: None,
            busy: busy(counts.busy_ns, then.map_or(0, |t| t.busy_ns)),
            queue: counts.queue.max(0) as u64,
            late: 0,
            rejected: 0,
            trouble: show::unwell(&counts.condition),
        });
    }
    parts
}

/// The records of a source that have not been read, as far as it knows.
fn behind(status: &Status, source: usize) -> u64 {
    status.partitions.iter().filter(|(_, s)| s.source == source).filter_map(|(_, s)| s.behind).sum()
}

fn paint(frame: &mut Frame<'_>, parts: Vec<Part>, status: &Status) {
    let [table, progress, footer] =
        Layout::vertical([Constraint::Length(parts.len() as u16 + 1), Constraint::Length(1), Constraint::Length(1)])
            .areas(frame.area());
    let trouble = parts.iter().find_map(|p| p.trouble.as_ref().map(|t| format!("{}: {t}", p.name)));
    let newest = status.partitions.iter().map(|(_, s)| s.watermark).filter(|w| *w != AFTER_ALL).max();
    let rows = parts.iter().map(|part| cells(part, newest)).collect();
    frame.render_widget(fit(rows, usize::from(table.width)), table);
    paint_progress(frame, progress, status);
    let line = match trouble {
        Some(trouble) => Line::from(cut(trouble, footer.width)).fg(Color::Yellow),
        None => Line::from(cut(doctor::sentence(status), footer.width)).dim(),
    };
    frame.render_widget(Paragraph::new(line), footer);
}

/// A table of those columns that find room, each as wide as what is in it: no number is cut.
fn fit(mut rows: Vec<[Span<'static>; COLUMNS]>, room: usize) -> Table<'static> {
    let width = |rows: &[[Span<'_>; COLUMNS]], column: usize| {
        let (head, least) = HEADS[column];
        rows.iter().map(|row| row[column].width()).chain([head.len(), least]).max().unwrap_or(least)
    };
    let mut widths: [usize; COLUMNS] = std::array::from_fn(|column| width(&rows, column));
    let mut shown: Vec<usize> = (0..COLUMNS).collect();
    let mut dated = true;
    for column in LEFT_OUT {
        if shown.iter().map(|column| widths[*column] + 1).sum::<usize>() <= room + 1 {
            break;
        }
        if column == WATERMARK && std::mem::take(&mut dated) {
            rows.iter_mut().for_each(|row| undate(&mut row[WATERMARK]));
            widths[WATERMARK] = width(&rows, WATERMARK);
        } else {
            shown.retain(|other| *other != column);
        }
    }
    let header = Row::new(shown.iter().map(|column| HEADS[*column].0)).style(Style::new().add_modifier(Modifier::DIM));
    let lengths: Vec<Constraint> = shown.iter().map(|column| Constraint::Length(widths[*column] as u16)).collect();
    let rows =
        rows.into_iter().map(|row| Row::new(shown.iter().map(|column| row[*column].clone()).collect::<Vec<_>>()));
    Table::new(rows.collect::<Vec<_>>(), lengths).header(header).column_spacing(1)
}

/// A sentence as far as there is room, in whole words.
fn cut(text: String, room: u16) -> String {
    let fits = |words: &str| words.chars().count() <= usize::from(room);
    if fits(&text) {
        return text;
    }
    let ends = text.rmatch_indices(' ').map(|(at, _)| format!("{} …", &text[..at]));
    ends.into_iter().find(|words| fits(words)).unwrap_or_default()
}

/// Takes the date off a time.
fn undate(cell: &mut Span<'static>) {
    if let Some((date, clock)) = cell.content.split_once(' ')
        && date.starts_with(|c: char| c.is_ascii_digit())
    {
        cell.content = clock.to_owned().into();
    }
}

fn cells(part: &Part, newest: Option<EventTime>) -> [Span<'static>; COLUMNS] {
    let number = |n: Option<f64>| Span::raw(n.map_or(String::new(), show::short));
    let many = |n: u64| if n == 0 { Span::raw("·").dim() } else { Span::raw(show::short(n as f64)).fg(Color::Yellow) };
    let busy = Span::raw(format!("{:.0} %", part.busy * 100.0));
    let busy = if part.busy > 0.9 { busy.fg(Color::Red) } else { busy };
    let lag = match (part.watermark, newest) {
        (Some(mine), Some(newest)) if mine != BEFORE_ALL && mine != AFTER_ALL => {
            show::duration(Duration::from_micros(newest.saturating_sub(mine).max(0) as u64))
        }
        _ => String::new(),
    };
    let name = match part.name.char_indices().nth(NAME_MAX - 1) {
        Some((at, last)) if at + last.len_utf8() < part.name.len() => format!("{}…", &part.name[..at]),
        _ => part.name.clone(),
    };
    let name = Span::raw(name).bold();
    [
        if part.trouble.is_some() { name.fg(Color::Yellow) } else { name },
        Span::raw(part.kind.clone()).dim(),
        number(part.rates[0]),
        number(part.rates[1]),
        Span::raw(part.watermark.map_or(String::new(), show::watermark)),
        Span::raw(lag),
        busy,
        Span::raw(show::short(part.queue as f64)),
        many(part.late),
        many(part.rejected),
    ]
}

/// A bar where all input is bounded, else the time that the job has run.
fn paint_progress(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let total: Option<u64> = status.sources.iter().map(|(_, total)| *total).sum();
    let read: u64 = status.sources.iter().map(|(s, _)| s.progress).sum();
    let elapsed = show::duration(status.elapsed);
    match total {
        Some(total) if total > 0 => {
            let done = (read as f64 / total as f64).clamp(0.0, 1.0);
            let left = status.elapsed.mul_f64((1.0 - done) / done.max(1e-6));
            let label = format!("{:3.0} %  {elapsed}, {} left ", done * 100.0, show::duration(left));
            frame.render_widget(
                LineGauge::default().ratio(done).label(label).filled_style(Style::new().fg(Color::Cyan)),
                area,
            );
        }
        _ => frame.render_widget(Paragraph::new(Line::from(format!("running for {elapsed}")).dim()), area),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::buffer::Buffer;
    use ratatui::widgets::Widget;

    /// The table as it is drawn in so many places.
    fn drawn(room: u16) -> Vec<String> {
        let part = Part {
            name: "a-step-with-quite-a-long-name".into(),
            kind: "aggregate".into(),
            rates: [Some(20_000.0), Some(1_800.0)],
            watermark: Some(1_767_229_557_123_000),
            busy: 0.04,
            queue: 110,
            late: 12_345,
            rejected: 7,
            trouble: None,
        };
        let area = Rect::new(0, 0, room, 2);
        let mut buffer = Buffer::empty(area);
        let newest = part.watermark.map(|at| at + 5_025_000_000);
        fit(vec![cells(&part, newest)], usize::from(room)).render(area, &mut buffer);
        let line = |y| (0..room).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..2).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn columns_that_find_no_room_are_left_out_whole() {
        let check = |room: u16, head: &str, row: &str| {
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let (found, expected) = (drawn(room), [head, row]);
            assert!(found.iter().zip(expected).all(|(line, right)| words(line) == words(right)), "{room}: {found:?}");
        };
        let name = "a-step-with-quite…";
        check(
            120,
            "step kind in/s out/s watermark lag busy queue late rejected",
            &format!("{name} aggregate 20.0k 1.80k 2026-01-01 01:05:57 1 h 23 min 4 % 110 12.3k 7"),
        );
        let (head, row) = ("watermark lag busy queue late rejected", "01:05:57 1 h 23 min 4 % 110 12.3k 7");
        check(80, &format!("step in/s out/s {head}"), &format!("{name} 20.0k 1.80k {row}"));
        check(60, "step in/s busy queue late rejected", &format!("{name} 20.0k 4 % 110 12.3k 7"));
        check(30, "step in/s busy", &format!("{name} 20.0k 4 %"));
        check(20, "step", name);
        assert_eq!(["a b", "a bc", "abcd"].map(|text| cut(text.into(), 3)), ["a b", "a …", ""]);
    }
}
