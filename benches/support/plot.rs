//! Bar charts as SVG text, readable on light and dark ground and without colours.

use std::fmt::Write;

/// Bars under one heading.
pub struct Group {
    /// The heading.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
pub struct Bar {
    /// Whose it is.
    pub program: String,
    /// How long it is.
    pub value: f64,
    /// What is written behind it.
    pub text: String,
}

/// All in px: of the picture, before the bars, of the longest bar, of a bar's row, of a heading's row.
const WIDTH: usize = 760;
const LEFT: usize = 170;
const LONGEST: usize = 470;
const ROW: usize = 22;
const HEADING: usize = 34;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2937; }
  .title { font-size: 15px; font-weight: 600; }
  .group { font-weight: 600; }
  .ours { fill: #2563eb; } .floor { fill: #94a3b8; } .peer { fill: #d4a373; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb; }
    .ours { fill: #60a5fa; } .floor { fill: #64748b; } .peer { fill: #b08968; }
  }
";

/// A chart of horizontal bars, all on one scale that begins at 0.
pub fn chart(title: &str, groups: &[Group]) -> String {
    let values = groups.iter().flat_map(|group| group.bars.iter().map(|bar| bar.value));
    let scale = LONGEST as f64 / values.fold(f64::MIN_POSITIVE, f64::max);
    let rows: usize = groups.iter().map(|group| HEADING + ROW * group.bars.len()).sum();
    let height = 40 + rows;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"22\">{title}</text>\n"
    );
    let mut top = 34;
    for group in groups {
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<text class=\"group\" x=\"8\" y=\"{}\">{}</text>", top + 22, group.title);
        top += HEADING;
        for bar in &group.bars {
            let class = match bar.program.split_once(':').map_or(bar.program.as_str(), |(first, _)| first) {
                "eagre" => "ours",
                "floor" => "floor",
                _ => "peer",
            };
            let (text, length) = (top + 14, (bar.value * scale).max(1.0));
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{text}\">{}</text>",
                LEFT - 8,
                bar.program,
                top + 1,
                LEFT as f64 + length + 6.0,
                bar.text
            );
            top += ROW;
        }
    }
    svg + "</svg>\n"
}
