//! All certificates from scratch: edges in order, lunes as intersections of bitsets.
//!
//! Edges are drawn in order into a graph that is kept as one bitset a point. When `ab` comes, its lune is the
//! intersection of the neighbours of `a` and of `b`, and the lune's own edges are already drawn: `n / 64` words each
//! tell whether it is empty, has a hub, or falls apart. O(n^2 (n / 64)), and no triangle is ever listed.
//!
//! **Where it ends.** Once every point is joined to one point `c`, the complex is a cone over `c` and has no loop; it
//! stays one (the *enclosing radius*, as in Ripser: Bauer 2021). Longer edges are not drawn. Any point joined to all
//! others by shorter edges is a hub of theirs, which certifies them for free.
//!
//! Points are numbered by age here, so what the sweep finds depends on the points and their order alone, not on slots.

use super::certificate::Code;
use super::lanes::{ABSENT, Slots};
use super::lunes::{Lunes, first, is_empty, remove, take};

/// What a sweep needs while it runs; empty at first, and as large as the largest window afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    edges: Vec<u64>,
    spare: Vec<u64>,
    joined: Vec<u64>,
    farthest: Vec<i32>,
}

/// What certificates are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For one answer: those of drawn edges are right, and say no more than the answer needs.
    Answer,
    /// For the steps that follow as well: all pairs have one, and it should last.
    Upkeep,
}

/// Writes the certificates of all pairs.
pub(super) fn sweep<const W: usize>(lunes: &mut Lunes, scratch: &mut Scratch, purpose: Purpose) {
    lunes.clear_marks();
    let radius = measure(lunes, &mut scratch.farthest);
    collect(lunes, radius, scratch, purpose);
    sort_by_length(&mut scratch.edges, &mut scratch.spare);
    scratch.joined.clear();
    scratch.joined.resize(lunes.ring.count * W, 0);
    let (joined, _) = scratch.joined.as_chunks_mut::<W>();
    for edge in &scratch.edges {
        let (young, old) = ((edge >> 16 & 0xFFFF) as usize, (edge & 0xFFFF) as usize);
        let inside: Slots<W> = std::array::from_fn(|w| joined[young][w] & joined[old][w]);
        let (a, b) = (lunes.ring.slot(young), lunes.ring.slot(old));
        let Some(youngest) = last(&inside) else {
            lunes.set_code(a, b, Code::EMPTY);
            draw(joined, young, old);
            continue;
        };
        let missed = missed(joined, &inside, youngest);
        if is_empty(&missed) {
            let pair = lunes.pair(a, b);
            lunes.renumber(pair, Code::hubs(&[lunes.ring.slot(youngest)]));
        } else {
            let code = look_closer(lunes, joined, inside, youngest, missed, purpose);
            lunes.set_code(a, b, code);
        }
        draw(joined, young, old);
    }
}

/// The farthest distance of each point, by age, and the least of them: the enclosing radius.
fn measure(lunes: &Lunes, farthest: &mut Vec<i32>) -> i32 {
    let present = |length: i32| if length == ABSENT { 0 } else { length };
    let eccentricity = |rank| {
        let row = lunes.row(lunes.ring.slot(rank));
        let mut most = [0; 16];
        for block in row {
            for (most, length) in most.iter_mut().zip(block.0) {
                *most = present(length).max(*most);
            }
        }
        most.into_iter().fold(0, i32::max)
    };
    farthest.clear();
    farthest.extend((0..lunes.ring.count).map(eccentricity));
    farthest.iter().copied().min().unwrap_or(0)
}

/// The edges up to the radius, as length, younger end, older end; those of equal length already in order. Pairs beyond
/// it get, for upkeep, the youngest point as hub that is nearer to all points than the pair is long.
fn collect(lunes: &mut Lunes, radius: i32, scratch: &mut Scratch, purpose: Purpose) {
    // From young to old, those nearer to all than every younger one; the last one's distance is the radius.
    let mut hubs: Vec<(i32, usize)> = Vec::new();
    for (rank, farthest) in scratch.farthest.iter().enumerate().rev() {
        if hubs.last().is_none_or(|(least, _)| farthest < least) {
            hubs.push((*farthest, rank));
        }
    }
    scratch.edges.clear();
    for young in 0..lunes.ring.count {
        let a = lunes.ring.slot(young);
        for old in 0..young {
            let b = lunes.ring.slot(old);
            let length = lunes.length(a, b);
            if length <= radius {
                scratch.edges.push((length as u64) << 32 | (young as u64) << 16 | old as u64);
            } else if purpose == Purpose::Upkeep
                && let Some((_, hub)) = hubs.iter().find(|(farthest, _)| *farthest < length)
            {
                let pair = lunes.pair(a, b);
                lunes.renumber(pair, Code::hubs(&[lunes.ring.slot(*hub)]));
            }
        }
    }
}

/// Sorts by the upper half of the words; those equal in it stay in order. Radix sort from the least digit up.
fn sort_by_length(edges: &mut Vec<u64>, spare: &mut Vec<u64>) {
    match edges.len() {
        0..8192 => radix_sort::<8>(edges, spare),
        _ => radix_sort::<11>(edges, spare),
    }
}

fn radix_sort<const BITS: u32>(edges: &mut Vec<u64>, spare: &mut Vec<u64>) {
    let differing = edges.iter().fold(0, |bits, edge| bits | (edge ^ edges[0]));
    spare.resize(edges.len(), 0);
    for shift in (32..64).step_by(BITS as usize) {
        let digit = |edge: u64| (edge >> shift) as usize & ((1 << BITS) - 1);
        if digit(differing) == 0 {
            continue;
        }
        let mut starts = vec![0_u32; 1 << BITS];
        edges.iter().for_each(|edge| starts[digit(*edge)] += 1);
        let mut sum = 0;
        starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
        for edge in edges.iter() {
            let place = &mut starts[digit(*edge)];
            spare[*place as usize] = *edge;
            *place += 1;
        }
        std::mem::swap(edges, spare);
    }
}

#[inline(always)]
fn draw<const W: usize>(joined: &mut [Slots<W>], a: usize, b: usize) {
    joined[a][b >> 6] |= 1 << (b & 63);
    joined[b][a >> 6] |= 1 << (a & 63);
}

#[inline(always)]
fn missed<const W: usize>(joined: &[Slots<W>], inside: &Slots<W>, point: usize) -> Slots<W> {
    let mut missed: Slots<W> = std::array::from_fn(|w| inside[w] & !joined[point][w]);
    remove(&mut missed, point);
    missed
}

/// The certificate of a lune whose youngest point is no hub.
fn look_closer<const W: usize>(
    lunes: &Lunes,
    joined: &[Slots<W>],
    inside: Slots<W>,
    youngest: usize,
    missed_by_youngest: Slots<W>,
    purpose: Purpose,
) -> Code {
    if purpose == Purpose::Upkeep
        && let Some(code) = hubs(lunes, joined, &inside, youngest, &missed_by_youngest)
    {
        return code;
    }
    let mut points = Vec::new();
    let mut left = inside;
    let mut start = youngest;
    loop {
        points.push(lunes.ring.slot(start));
        remove(&mut left, start);
        flood(joined, &mut left, start);
        match last(&left) {
            Some(next) => start = next,
            None if points.len() == 1 => return Code::loose(points[0]),
            None => return Code::many(&points),
        }
    }
}

/// Takes all that can be reached from `start` out of `left`.
#[inline(always)]
fn flood<const W: usize>(joined: &[Slots<W>], left: &mut Slots<W>, start: usize) {
    let mut front: Slots<W> = [0; W];
    let mut next = Some(start);
    while let Some(point) = next {
        for w in 0..W {
            front[w] |= left[w] & joined[point][w];
            left[w] &= !joined[point][w];
        }
        next = if is_empty(left) { None } else { take(&mut front) };
    }
}

/// One hub among the few youngest points, or two with the youngest point as the first.
fn hubs<const W: usize>(
    lunes: &Lunes,
    joined: &[Slots<W>],
    inside: &Slots<W>,
    youngest: usize,
    missed_by_youngest: &Slots<W>,
) -> Option<Code> {
    let mut candidates = *inside;
    // A hub is the youngest point's neighbour, and joined to what that one misses.
    let far = first(missed_by_youngest);
    for w in 0..W {
        candidates[w] &= joined[youngest][w] & joined[far][w];
    }
    let mut second = None;
    for _ in 0..CANDIDATES {
        let Some(candidate) = last(&candidates) else { break };
        remove(&mut candidates, candidate);
        let missed = missed(joined, inside, candidate);
        if is_empty(&missed) {
            return Some(Code::hubs(&[lunes.ring.slot(candidate)]));
        }
        if second.is_none() && (0..W).all(|w| missed[w] & missed_by_youngest[w] == 0) {
            second = Some(candidate);
        }
    }
    second.map(|second| Code::hubs(&[lunes.ring.slot(youngest), lunes.ring.slot(second)]))
}

/// How many points are tried as a hub of one lune.
const CANDIDATES: usize = 4;

/// The last point of a set.
#[inline(always)]
fn last<const W: usize>(slots: &Slots<W>) -> Option<usize> {
    let word = slots.iter().rposition(|word| *word != 0)?;
    Some(64 * word + 63 - slots[word].leading_zeros() as usize)
}
