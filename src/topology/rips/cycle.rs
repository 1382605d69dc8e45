//! A loop to look at: closed paths of points that live as a bar does.
//!
//! The relation that kills a loop is a sum of loops (the reduced column of the boundary matrix). Each of them, say that
//! opened by the edge `g`, has one closed path with `phi` equal to its unit vector: `g` and the way between its ends in
//! the spanning tree, where every edge has `phi` 0 and is earlier than `g`. The sum of these paths is born with the
//! youngest loop and is null-homologous from the relation's edge on, and not before. Its edges meet each point an even
//! number of times, so they are closed paths.

use std::collections::{BTreeMap, BTreeSet};

use super::algebra::{self, Reading, ends};
use super::lunes::Lunes;
use super::sweep::{self, Purpose, sweep};

/// The closed paths, as ranks, of the loop whose first edge `born` names. The points must be laid out by age.
pub(super) fn representative<const W: usize>(
    lunes: &mut Lunes,
    scratch: (&mut sweep::Scratch, &mut algebra::Scratch),
    born: impl Fn((usize, usize)) -> bool,
) -> Option<Vec<Vec<usize>>> {
    if lunes.ring.count == 0 {
        return None;
    }
    sweep::<W>(lunes, scratch.0, Purpose::Answer);
    let reading = algebra::read::<W>(lunes, scratch.1, None);
    let alive =
        |number: &usize| reading.deaths[*number].is_none_or(|death| death >> 20 > reading.births[*number] >> 20);
    let number = (0..reading.births.len()).filter(alive).find(|number| born(ends(reading.births[*number])))?;
    let mut reading = algebra::read::<W>(lunes, scratch.1, Some(number));
    if reading.sum.is_empty() {
        reading.sum.push(number);
    }
    Some(closed_paths(sum_of_paths(&reading, lunes.ring.count)))
}

/// The sum over F2 of the fundamental paths of the reading's loops.
fn sum_of_paths(reading: &Reading, points: usize) -> BTreeSet<(usize, usize)> {
    let mut tree = vec![Vec::new(); points];
    for (key, _) in &reading.merges {
        let (a, b) = ends(*key);
        tree[a].push(b);
        tree[b].push(a);
    }
    let (parents, depths) = rooted(&tree);
    let mut sum = BTreeSet::new();
    let mut flip = |a: usize, b: usize| {
        let edge = (a.min(b), a.max(b));
        if !sum.remove(&edge) {
            sum.insert(edge);
        }
    };
    for number in &reading.sum {
        let (mut a, mut b) = ends(reading.births[*number]);
        flip(a, b);
        while a != b {
            let climbing = if depths[a] >= depths[b] { &mut a } else { &mut b };
            flip(*climbing, parents[*climbing]);
            *climbing = parents[*climbing];
        }
    }
    sum
}

/// Each point's parent and depth in the tree with point 0 as root.
fn rooted(tree: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    let (mut parents, mut depths) = (vec![0; tree.len()], vec![0; tree.len()]);
    let mut stack = vec![0];
    while let Some(point) = stack.pop() {
        for child in &tree[point] {
            if *child != parents[point] || point == 0 {
                parents[*child] = point;
                depths[*child] = depths[point] + 1;
                stack.push(*child);
            }
        }
    }
    (parents, depths)
}

/// Takes edges that meet each point evenly apart into paths that meet no point twice. Each begins at its oldest point.
fn closed_paths(edges: BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let mut neighbours: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (a, b) in edges {
        neighbours.entry(a).or_default().insert(b);
        neighbours.entry(b).or_default().insert(a);
    }
    let mut paths = Vec::new();
    let mut walk: Vec<usize> = Vec::new();
    loop {
        let here = match walk.last() {
            Some(here) => *here,
            None => match neighbours.keys().next() {
                Some(start) => *start,
                None => break,
            },
        };
        if walk.is_empty() {
            walk.push(here);
        }
        let Some(next) = neighbours.get(&here).and_then(|all| all.first().copied()) else {
            walk.pop();
            continue;
        };
        part(&mut neighbours, here, next);
        part(&mut neighbours, next, here);
        match walk.iter().position(|point| *point == next) {
            Some(place) => {
                paths.push(from_oldest(walk[place..].to_vec()));
                walk.truncate(place + 1);
            }
            None => walk.push(next),
        }
    }
    paths
}

fn part(neighbours: &mut BTreeMap<usize, BTreeSet<usize>>, from: usize, to: usize) {
    if let Some(all) = neighbours.get_mut(&from) {
        all.remove(&to);
        if all.is_empty() {
            neighbours.remove(&from);
        }
    }
}

fn from_oldest(mut path: Vec<usize>) -> Vec<usize> {
    let oldest = (0..path.len()).min_by_key(|place| path[*place]).unwrap_or(0);
    path.rotate_left(oldest);
    if path.len() > 2 && path[path.len() - 1] < path[1] {
        path[1..].reverse();
    }
    path
}
