//! Cases whose answers other libraries gave: GUDHI, Ripser, POT, hera, persim.
//!
//! The files lie in `tests/oracles/topology/`, made by the script there. A file is a list of cases: `case NAME`, then
//! tables, each `NAME ROWS COLUMNS` and its rows. [`cases`] reads one; the tests below hold the room to them.

use super::diagram::{Bar, Diagram};
use super::distances::{bottleneck, sliced_wasserstein, wasserstein_1, wasserstein_2};
use super::features::{Amplitude, Grid, ImageShape, Infinite, Intervals};
use super::rips::{self, Metric};
use super::series::{self, pair::Filtration};
use std::collections::BTreeMap;

const DISTANCES: &str = include_str!("../../tests/oracles/topology/distances.txt");
const FEATURES: &str = include_str!("../../tests/oracles/topology/features.txt");
const RIPS: &str = include_str!("../../tests/oracles/topology/rips.txt");
const SERIES: &str = include_str!("../../tests/oracles/topology/series.txt");

/// A question and its answers: tables of numbers by name.
pub struct Case {
    pub name: String,
    tables: BTreeMap<String, Vec<Vec<f64>>>,
}

impl Case {
    /// Whether it has a table.
    pub fn has(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }

    /// The rows of a table.
    pub fn table(&self, name: &str) -> &[Vec<f64>] {
        self.tables.get(name).unwrap_or_else(|| panic!("{} has a table {name}", self.name))
    }

    /// The numbers of a table, row after row.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        self.table(name).concat()
    }

    /// A table of births and deaths.
    pub fn diagram(&self, name: &str) -> Diagram {
        Diagram::new(self.table(name).iter().map(|row| Bar { birth: row[0], death: row[1] }))
    }
}

/// The cases of a file.
pub fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["case", name] = words[..] {
            cases.push(Case { name: name.to_string(), tables: BTreeMap::new() });
            continue;
        }
        let [name, rows, columns] = words[..] else { panic!("a table's head, not {line}") };
        let (rows, columns): (usize, usize) = (rows.parse().expect("rows"), columns.parse().expect("columns"));
        let numbers = |line: &str| line.split(' ').map(|word| word.parse().expect("a number")).collect::<Vec<f64>>();
        let table: Vec<Vec<f64>> = lines.by_ref().take(rows).map(numbers).collect();
        assert!(table.len() == rows && table.iter().all(|row| row.len() == columns), "{name} is whole");
        cases.last_mut().expect("a table follows its case").tables.insert(name.to_string(), table);
    }
    cases
}

/// Whether numbers agree to this part of the greatest of those expected, infinities exactly.
pub fn assert_close(case: &Case, what: &str, ours: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(ours.len(), expected.len(), "{} {what}", case.name);
    let greatest = expected.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    for (at, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let close = ours == expected || (ours - expected).abs() <= relative * greatest;
        assert!(close, "{} {what}[{at}]: {ours} not {expected}", case.name);
    }
}

#[test]
fn distances() {
    for case in cases(DISTANCES) {
        let (one, other) = (case.diagram("one"), case.diagram("other"));
        let expected = case.numbers("bottleneck_w1_w2_sliced50");
        assert_close(&case, "bottleneck", &[bottleneck(&one, &other)], &expected[..1], 1e-12);
        let wasserstein = [wasserstein_1(&one, &other), wasserstein_2(&one, &other)];
        assert_close(&case, "wasserstein", &wasserstein, &expected[1..3], 1e-12);
        // The oracle's directions have 32 bits.
        assert_close(&case, "sliced", &[sliced_wasserstein(&one, &other, 50)], &expected[3..], 1e-6);
    }
}

#[test]
fn features() {
    let grid = Grid { from: 0.0, to: 8.0, points: 17 };
    let shape = |bandwidth, weight_power| ImageShape {
        births: Grid { from: 0.0, to: 5.0, points: 6 },
        persistences: Grid { from: 0.0, to: 8.0, points: 5 },
        bandwidth,
        weight_power,
    };
    for case in cases(FEATURES) {
        let bars = Intervals::of(&case.diagram("bars"), Infinite::LeaveOut);
        let check = |what: &str, ours: &[f64]| assert_close(&case, what, ours, &case.numbers(what), 1e-12);
        check("entropy_max_total1_total2", &[bars.entropy(), bars.max(), bars.total(1), bars.total(2)]);
        let amplitudes = [Amplitude::Bottleneck, Amplitude::Wasserstein1, Amplitude::Wasserstein2];
        check("amplitude_bottleneck_w1_w2", &amplitudes.map(|amplitude| bars.amplitude(amplitude)));
        check("betti_0_8_17", &bars.betti_curve(&grid).expect("a small grid"));
        check("landscape_4_0_8_17", &bars.landscape(4, &grid).expect("a small grid"));
        check("silhouette_1_0_8_17", &bars.silhouette(&grid, 1).expect("a small grid"));
        check("silhouette_3_0_8_17", &bars.silhouette(&grid, 3).expect("a small grid"));
        check("image_1_half_0_5_6_0_8_5", &bars.image(&shape(0.5, 1)).expect("a small grid"));
        check("image_2_quarter_0_5_6_0_8_5", &bars.image(&shape(0.25, 2)).expect("a small grid"));
    }
}

/// Whether a diagram is the one expected, but for rounding; bars that rounding alone can make may be missing.
fn assert_diagram(case: &Case, what: &str, ours: &Diagram, tolerance: f64) {
    let long = |diagram: &Diagram| {
        let bars = diagram.bars().iter().filter(|bar| bar.persistence() > 4.0 * tolerance);
        Diagram::new(bars.copied())
    };
    let apart = bottleneck(&long(ours), &long(&case.diagram(what)));
    assert!(apart <= tolerance, "{} {what}: {apart} apart: {ours:?}", case.name);
}

#[test]
fn series_of_a_window() {
    for case in cases(SERIES) {
        let values = case.numbers("series");
        let diagram = |filtration| {
            let mut window = series::window::Window::new(filtration, 0.0);
            // What was in it before leaves no trace.
            values.iter().rev().for_each(|value| assert!(window.push(*value, &mut ())));
            for value in &values {
                assert!(window.evict(&mut ()) && window.push(*value, &mut ()));
            }
            series::pair::diagram(&window.pairs())
        };
        assert_eq!(diagram(Filtration::Sublevel), case.diagram("sublevel"), "{}", case.name);
        assert_eq!(diagram(Filtration::Superlevel), case.diagram("superlevel"), "{}", case.name);
        let tables = ["ordinary", "relative", "extended_plus", "extended_minus"].map(|table| case.diagram(table));
        let extended = Diagram::new(tables.iter().flat_map(|diagram| diagram.bars().iter().copied()));
        assert_eq!(diagram(Filtration::Extended), extended, "{}", case.name);
    }
}

#[test]
fn rips_of_a_cloud() {
    for case in cases(RIPS) {
        // The rows of a metric's matrix are points with these distances in the maximum norm (Kuratowski, 1935).
        let is_cloud = case.has("points");
        let (table, metric) = if is_cloud { ("points", Metric::Euclidean) } else { ("distances", Metric::Chebyshev) };
        let points = case.table(table);
        let mut window = rips::Window::new(metric, points[0].len());
        let mut workspace = rips::Workspace::default();
        for (position, point) in points.iter().chain(points).enumerate() {
            // Once around, so that all points came by a slide too.
            let taken = if position < points.len() { rips::Window::push } else { rips::Window::slide };
            taken(&mut window, position as u64, point).expect("a point");
            window.diagram(&mut workspace);
        }
        let diagram = window.diagram(&mut workspace);
        let greatest = points.concat().iter().fold(1.0, |most: f64, x| most.max(x.abs()));
        // Distances have the precision of 32 bits.
        assert_diagram(&case, "h0", &diagram.degree_0(), 4e-7 * greatest);
        assert_diagram(&case, "h1", &diagram.degree_1(), 4e-7 * greatest);
    }
}
