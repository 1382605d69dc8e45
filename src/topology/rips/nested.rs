//! What a window learns from a larger one that ends with the same points.
//!
//! Their distances are the same, so the lune of an edge in the smaller window is that in the larger one, without the
//! points that are not in the smaller window any more. Hence, in the smaller window,
//!
//! - a lune that is empty in the larger one is empty;
//! - a lune with hubs in the larger one is connected with the same hubs, if these are in the smaller window: they are
//!   in the lune, joined to each other, and whatever is in the lune is joined to one of them.
//!
//! A hub is sought among the points younger than the edge's older end first (`lunes.rs`), and these are in every window
//! that the edge is in. So nearly all certificates that a slide asks for are found by looking them up.

use super::certificate::Code;
use super::lunes::{Lunes, Ring};

/// The certificates of a larger window.
#[derive(Clone, Copy)]
pub(super) struct Larger<'a> {
    pub lunes: &'a Lunes,
    /// How many of its points are older than all of the smaller window.
    pub older: usize,
}

impl Larger<'_> {
    /// The certificate of a pair of the smaller window, given by slots of its ring, if it can be told from here.
    #[inline(always)]
    pub fn certificate(self, ring: Ring, a: usize, b: usize) -> Option<Code> {
        let there = |slot: usize| self.lunes.ring.slot(ring.rank(slot) + self.older);
        let here = |slot: usize| Some(ring.slot(self.lunes.ring.rank(slot).checked_sub(self.older)?));
        let code = self.lunes.code(there(a), there(b));
        if code.is_empty() {
            return Some(Code::EMPTY);
        }
        if !code.has_hubs() {
            return None;
        }
        Some(Code::hubs(&[here(code.slot(0))?, here(code.slot(1))?, here(code.slot(2))?]))
    }
}
