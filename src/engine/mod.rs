//! The engine: mounts a plan on timely dataflow and runs it. The only room that names timely.
//!
//! ```text
//!  reader thread (one per worker)       worker thread (timely)                          writer thread (per shard)
//!  Reader -> decode pool -> stamp ==> source -> split ~~exchange~~> Driver -> ... -> sink ==batches==> Writer
//!                 watermarks ======> source ~~broadcast, per epoch~~> Driver             <==written==
//! ```
//! Timely's time is the **epoch**, minted at the sources; event time travels as data. A [`driver::Driver`] runs one
//! operator on one worker and knows nothing of timely; everything else here moves data between handles and drivers.

mod coordinate;
mod decode;
mod drain;
pub mod driver;
mod health;
mod intake;
mod keeper;
mod ledger;
mod mesh;
pub mod metrics;
mod mount;
mod order;
mod outlet;
mod parcel;
mod partitions;
mod render;
mod resume;
mod save;
mod shared;
mod split;
mod stamp;
mod start;
#[cfg(test)]
mod tests;
mod threads;
pub mod wall;

pub use health::{Condition, Health};
pub use mesh::{MeshSettings, Place};
pub use metrics::Made;
pub use mount::is_guarded;
pub use partitions::Standing;
pub use resume::{From, Resumption};
pub use start::{Job, Status, start, start_among};
pub use threads::Spent;
