//! Timely's workers of several processes, on links that have met already.
//!
//! Where a link breaks, timely's own threads would panic, and the workers after them. A [`Link`] says which process has
//! gone and then gives nothing more, so that the process ends in words.

use super::Place;
use super::peers::lost;
use crate::engine::shared::Shared;
use std::any::Any;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Config, Hooks};

/// What timely ends a link with, when all is done: a header of so many zeros.
const END_BYTES: usize = 48;
/// A process that fails says why on its other link: that word goes first.
const WORDS_FIRST: Duration = Duration::from_millis(300);

/// The links of a process to each other one, for timely; none to itself.
pub type Records = Vec<Option<TcpStream>>;

/// What timely builds its workers of, with what has to live as long as they.
pub type Allocators = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// The workers of this process; `records` are its links to the others.
pub fn allocators(place: Place, records: Option<Records>, shared: &Arc<Shared>) -> Result<Allocators, String> {
    let Some(records) = records else { return Config::Process(place.workers).try_build() };
    let link = |(process, stream): (usize, Option<TcpStream>)| {
        stream.map(|stream| Link { stream, process, shared: shared.clone(), zeros: 0 })
    };
    let links = records.into_iter().enumerate().map(link).collect();
    let hooks = Hooks::default();
    let local = ProcessBuilder::new_typed_vector(place.workers, hooks.refill.clone(), None);
    initialize_networking_from_sockets(local, links, place.process, place.workers, hooks)
        .map(|(builders, guard)| {
            let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
            (builders, Box::new(guard) as Box<dyn Any + Send>)
        })
        .map_err(|error| format!("the processes of the job cannot be connected: {error}"))
}

/// A link to another process for timely.
struct Link {
    stream: TcpStream,
    process: usize,
    shared: Arc<Shared>,
    /// How many zeros the last bytes were that came, up to [`END_BYTES`].
    zeros: usize,
}

impl Link {
    fn note(&mut self, bytes: &[u8]) {
        let zeros = bytes.iter().rev().take(END_BYTES).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == bytes.len() { (self.zeros + zeros).min(END_BYTES) } else { zeros };
    }

    /// The process is gone. Never comes back.
    fn lost(&self, why: &str) -> ! {
        std::thread::sleep(WORDS_FIRST);
        lost(&self.shared, self.process, why);
        loop {
            std::thread::park();
        }
    }
}

impl Read for Link {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into) {
                Ok(0) if self.zeros >= END_BYTES => return Ok(0),
                Ok(0) => self.lost("its connection was closed"),
                Ok(read) => {
                    self.note(&into[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset && self.zeros >= END_BYTES => return Ok(0),
                Err(error) => self.lost(&error.to_string()),
            }
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(bytes) {
                Ok(written) => return Ok(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lost(&error.to_string()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Link> {
        let stream = self.stream.try_clone()?;
        Ok(Link { stream, process: self.process, shared: self.shared.clone(), zeros: self.zeros })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.stream.shutdown(how) {
            // The other side has ended first.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            ended => ended,
        }
    }
}
