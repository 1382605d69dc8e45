//! Components and loops of a sliding cloud of points: exact Vietoris-Rips persistence in degrees 0 and 1 over F2.
//!
//! The Rips complex of a cloud at a scale has the points as vertices and every set of points that are pairwise at most
//! the scale apart as a simplex. As the scale grows, components merge and loops open and close; a diagram lists from
//! where to where each lives. Textbooks reduce a matrix with a column for each of the n^3 / 6 triangles. Here no
//! triangle is ever looked at, and when one point of n takes the place of another, almost nothing is.
//!
//! # The step in two minutes
//!
//! Put the edges in a strict order. The **lune** of an edge `ab` is the set of points joined to both ends by earlier
//! edges, as a graph with the earlier edges among them. When the edge comes with all the simplices that it completes,
//! components and loops change as its lune says, and by nothing else (Koyama, Memoli, Robins, Turner: Faster
//! computation of degree-1 persistent homology using the reduced Vietoris-Rips filtration, arXiv:2307.16333):
//!
//! | lune | then | how many of 32,640 edges, n = 256 |
//! | --- | --- | --- |
//! | empty | two components merge, or a loop opens | about 330 |
//! | connected | nothing | about 32,200 |
//! | in k pieces | up to k - 1 loops close | about 80 |
//!
//! So it is enough to know of every edge which of the three its lune is. Nearly all are connected, and nearly all of
//! these have a **hub**: a point of the lune that is joined to all others. When one point leaves and another comes, a
//! lune with a hub stays connected unless the leaver is the hub or the newcomer is in the lune and not joined to the
//! hub: one row of distances looked up at the hubs of all pairs, sixteen at a time, tells. About three pairs in a
//! thousand fail and are looked at; the newcomer's own n - 1 pairs are looked at for the first time. Then the few
//! hundred edges that are not connected are sorted and their components merged and their loops closed, by linear
//! algebra over a few hundred unknowns.
//!
//! Nothing drifts: every comparison is made on stored distances, and a certificate is a fact about them. A window that
//! slid a million times and one that was made anew hold the same answer, to the bit.
//!
//! | file | its one thing |
//! | --- | --- |
//! | `metric` | distances of points, and which points are refused |
//! | `embedding` | points of a series |
//! | `certificate` | what is known of a lune, in 32 bits |
//! | `lunes` | the order of edges; distances and certificates of all pairs; finding a certificate |
//! | `sweep` | all certificates from scratch |
//! | `algebra` | from certificates to bars |
//! | `transposed` | the same for thousands of loops |
//! | `cycle` | closed paths that live as a bar does |
//! | `nested` | what a window learns from a larger one that ends with the same points |
//! | `window` | points come and go; which way is cheaper |
//! | `lanes` | AVX-512, AVX2, or neither: the same bits; the only `unsafe` of the room |
//!
//! **Costs.** A window of n points has n' slots, the next of 64, 128, 192, 256, 384, 512, 768 and 1,024, and a little
//! more than 8 n'^2 bytes: 32 KiB for 64 points, 512 KiB for 256, 8 MiB for 1,024. Scratch memory is shared by the
//! windows of a thread ([`Workspace`]). Clouds whose points are pairwise about as far have up to n^2 / 4 loops at once:
//! answers stay exact, and take the time that so many loops take. Two groups of 512 points, each nearer to all of the
//! other group, take 0.2 s. Of three groups it depends on whether their distances are all alike: of 200 points each,
//! 1.4 s if they are, and 5 s if not, for then 6,700 loops live side by side, 1.4 million relations speak of them, and
//! both grow dense as they are reduced, so that neither columns nor rows (`transposed`) stay short.

mod algebra;
mod certificate;
mod cycle;
mod embedding;
mod lanes;
mod lunes;
mod metric;
mod nested;
mod sweep;
mod transposed;
mod window;

use super::diagram::{Bar, Diagram};

pub use embedding::DelayEmbedding;
pub use lanes::Lanes;
pub use metric::{COORDINATE_MAX, Metric, PointFault};
pub use window::{POINTS_MAX, Strategy, Window, Workspace};

/// A bar of a window of points, and the records that made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RipsBar {
    /// From which distance to which it lives.
    pub bar: Bar,
    /// The records whose points' edge opened the loop, older first. A component is born with its oldest point, named
    /// twice.
    pub birth: [u64; 2],
    /// The records whose points' edge merged the component into an older one, or closed the loop; older first.
    pub death: Option<[u64; 2]>,
}

/// The bars of a window, those of no length left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RipsDiagram {
    /// Degree 0, by death. All are born at 0; the last one, of the oldest point, never dies.
    pub components: Vec<RipsBar>,
    /// Degree 1, in the order of [`Bar::order`]. All of them die.
    pub loops: Vec<RipsBar>,
}

impl RipsDiagram {
    /// The diagram of degree 0.
    pub fn degree_0(&self) -> Diagram {
        Diagram::new(self.components.iter().map(|bar| bar.bar))
    }

    /// The diagram of degree 1.
    pub fn degree_1(&self) -> Diagram {
        Diagram::new(self.loops.iter().map(|bar| bar.bar))
    }
}

#[cfg(test)]
mod tests;
