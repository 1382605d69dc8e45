//! What is known of a lune, in 32 bits.
//!
//! A **certificate** is a reason why a lune is as it is that can be checked after a change without looking at the lune
//! again. Most lunes are connected, and most of those have a **hub**: a point of the lune that is joined, by edges
//! earlier than the lune's own, to every other point of it. As long as the hub stays and every newcomer of the lune is
//! joined to it, the lune stays connected: two comparisons, where a search would read the whole lune. Where no single
//! hub is found, two or three that are joined to each other do (a connected dominating set).
//!
//! | kind | the lune | holds until |
//! | --- | --- | --- |
//! | hubs | connected, dominated by these one to three | a hub leaves, or a newcomer is joined to none |
//! | empty | has no points: the edge joins components or opens a loop | a point enters it |
//! | many | several components, a point of each of up to three | a point enters or leaves it |
//! | loose | connected, but no three hubs were found | a point enters or leaves it |

/// Bits of a slot.
pub(super) const SLOT_BITS: usize = 10;
/// The bits of the first slot.
pub(super) const SLOT_MASK: i32 = (1 << SLOT_BITS) - 1;
/// Codes from here up say "empty"; those below, and not negative, name hubs. Negative ones are sensitive to every
/// point that enters or leaves.
pub(super) const EMPTY: i32 = 1 << 30;
const MANY: i32 = i32::MIN;
const LOOSE: i32 = MANY | EMPTY;
/// The number of an empty lune whose edge opens no loop.
const TREE: i32 = EMPTY - 1;

/// A certificate: two bits of kind and three slots (or the number of a loop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub i32);

/// What a code says of the class of its edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An edge of the spanning tree: it is 0.
    Tree,
    /// The edge that opened this loop.
    Loop(usize),
    /// The sum of the edges to and from this point of its lune.
    Through(usize),
}

impl Code {
    /// Empty, and nothing is known of loops.
    pub const EMPTY: Code = Code(EMPTY | TREE);

    /// Connected, with one to three hubs.
    pub fn hubs(hubs: &[usize]) -> Code {
        Code(slots(hubs))
    }

    /// Several components, with a point of each; more than three are not named.
    pub fn many(points: &[usize]) -> Code {
        Code(MANY | if points.len() <= 3 { slots(points) } else { slots(&points[..1]) })
    }

    /// Connected, through this point of the lune.
    pub fn loose(point: usize) -> Code {
        Code(LOOSE | slots(&[point]))
    }

    /// Empty, and its edge opens the loop of this number.
    pub fn opens(number: usize) -> Code {
        Code(EMPTY | number as i32)
    }

    pub fn is_empty(self) -> bool {
        self.0 >= EMPTY
    }

    pub fn has_hubs(self) -> bool {
        (0..EMPTY).contains(&self.0)
    }

    pub fn is_many(self) -> bool {
        self.0 < LOOSE
    }

    /// The point of the lune, or of each of its components, that is named at this place.
    pub fn slot(self, place: usize) -> usize {
        (self.0 >> (place * SLOT_BITS) & SLOT_MASK) as usize
    }

    /// How many components [`Code::many`] names: two or three, or none when there are more.
    pub fn named(self) -> usize {
        match (self.slot(0) == self.slot(1), self.slot(1) == self.slot(2)) {
            (true, _) => 0,
            (_, true) => 2,
            _ => 3,
        }
    }

    pub fn way(self) -> Way {
        match self.0 & TREE {
            _ if !self.is_empty() => Way::Through(self.slot(0)),
            TREE => Way::Tree,
            number => Way::Loop(number as usize),
        }
    }
}

/// The last slot is repeated to fill the three places.
fn slots(slots: &[usize]) -> i32 {
    (0..3).fold(0, |code, place| code | (slots[place.min(slots.len() - 1)] as i32) << (place * SLOT_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_they_were_told() {
        let kinds = |code: Code| (code.is_empty(), code.is_many(), code.0 < 0);
        assert_eq!(kinds(Code::hubs(&[1023, 7])), (false, false, false));
        assert_eq!([0, 1, 2].map(|place| Code::hubs(&[1023, 7]).slot(place)), [1023, 7, 7]);
        assert_eq!(kinds(Code::EMPTY), (true, false, false));
        assert_eq!(Code::EMPTY.way(), Way::Tree);
        assert_eq!((kinds(Code::opens(262_144)), Code::opens(0).way()), ((true, false, false), Way::Loop(0)));
        assert_eq!(Code::opens(262_144).way(), Way::Loop(262_144));
        assert_eq!(kinds(Code::loose(5)), (false, false, true));
        assert_eq!(Code::loose(5).way(), Way::Through(5));
        for (points, named) in [([9, 0, 3, 4].as_slice(), 0), (&[9, 0, 3], 3), (&[9, 0], 2)] {
            let code = Code::many(points);
            assert_eq!((kinds(code), code.named(), code.way()), ((false, true, true), named, Way::Through(9)));
        }
    }
}
