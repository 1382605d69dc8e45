//! Several processes that run one job: who they are, how they meet, what they tell each other.
//!
//! ```text
//! process 1                                   process 0 (the leader)
//! connect ──── hello: version, job, … ──────> accept     both refuse what does not fit
//!         <─── hello ────────────────────────
//!   records ═══ timely: batches, marks, progress ═══ records     one link of each kind between every two
//!   words   ─── epochs, standings, stop, failure ─── words
//! ```
//! Timely carries records, marks and progress. Words are what else the processes of a job must tell each other: few,
//! small, and in the order in which a process said them. When a link breaks, or a process fails, every process ends
//! with a message that names the one it was: a graph that has lost a part of itself cannot come to an end.

mod handshake;
mod link;
mod peers;

pub use link::{Records, allocators};
pub use peers::{FoundWord, Peers, Word};

use super::shared::Shared;
use crate::fault::Failure;
use crate::job::Plan;
use handshake::Hello;
use peers::Links;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

/// Which of several processes this one is, and how it finds the others.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// Its number.
    pub process: usize,
    /// Where each process is reached (`host:port`), in order of their numbers.
    pub hosts: Vec<String>,
    /// How long the others may take to come.
    pub connect_timeout: Duration,
    /// Whether everyone who can reach the hosts may be trusted.
    pub trusted_network: bool,
}

impl MeshSettings {
    /// How a process is called in messages: `process 1 at 10.0.0.2:7000`.
    pub fn name(&self, process: usize) -> String {
        name(&self.hosts, process)
    }

    /// Refuses a network on which others may listen, unless somebody said that they may be trusted.
    ///
    /// # Errors
    ///
    /// The first host that is reached from elsewhere than this machine, or that nobody knows.
    pub fn check(&self) -> Result<(), Failure> {
        if self.trusted_network {
            return Ok(());
        }
        for (process, host) in self.hosts.iter().enumerate() {
            let addresses = host.to_socket_addrs().map_err(|error| {
                Failure::new(format!("process {process}: `{host}` is no address: {error}"))
                    .help("a host is written host:port, for example 127.0.0.1:7000")
            })?;
            if let Some(open) = addresses.into_iter().find(|address| !address.ip().is_loopback()) {
                let message = format!("process {process} at {host} would be reached over a network ({})", open.ip());
                return Err(Failure::new(message).help(
                    "between processes nothing is encrypted and nobody is asked who they are: whoever reaches the \
                    port can read and forge records. Where only your own machines can, say --trusted-network",
                ));
            }
        }
        Ok(())
    }
}

/// Where a process stands among those that run a job. Workers are numbered over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub process: usize,
    /// How many processes there are.
    pub processes: usize,
    /// Workers of each process.
    pub workers: usize,
}

impl Place {
    /// The only process.
    pub fn alone(workers: usize) -> Place {
        Place { process: 0, processes: 1, workers }
    }

    /// Whether it decides for all.
    pub fn leads(self) -> bool {
        self.process == 0
    }

    /// The workers of all processes.
    pub fn all_workers(self) -> usize {
        self.processes * self.workers
    }

    /// Which of this process's workers that one is; none where it is another's.
    pub fn local(self, worker: usize) -> Option<usize> {
        worker.checked_sub(self.process * self.workers).filter(|local| *local < self.workers)
    }
}

/// The links of a process, until the job's threads are at them.
pub struct Connected {
    words: Links,
    records: Records,
}

/// Meets the other processes of a job.
///
/// # Errors
///
/// A process that does not fit, does not come in time, or ends meanwhile.
pub fn join(plan: &Plan, workers: usize, settings: &MeshSettings) -> Result<(Peers, Connected), Failure> {
    let connected = handshake::connect(settings, Hello::of(plan, workers, settings))?;
    let place = Place { process: settings.process, processes: settings.hosts.len(), workers };
    let (peers, words) = Peers::at(place, settings.hosts.clone(), connected.words);
    Ok((peers, Connected { words, records: connected.records }))
}

impl Connected {
    /// Starts the threads that tell and hear words; gives the links for records.
    pub fn start(self, shared: &Arc<Shared>) -> Result<Records, Failure> {
        let started = self.words.start(shared);
        started.map_err(|error| Failure::new(format!("the processes of the job cannot talk: {error}")))?;
        Ok(self.records)
    }
}

fn name(hosts: &[String], process: usize) -> String {
    format!("process {process} at {}", hosts[process])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_numbered_over_all_processes() {
        let place = Place { process: 1, processes: 3, workers: 2 };
        let local: Vec<_> = (0..place.all_workers()).map(|worker| place.local(worker)).collect();
        assert_eq!(local, [None, None, Some(0), Some(1), None, None]);
    }

    #[test]
    fn a_network_is_refused_unless_it_is_trusted() {
        let check = |host: &str, trusted_network: bool| {
            let hosts = vec!["127.0.0.1:7000".into(), host.to_owned()];
            let settings = MeshSettings { process: 0, hosts, connect_timeout: Duration::ZERO, trusted_network };
            settings.check().map_err(|failure| failure.message)
        };
        let refused = "process 1 at 10.1.2.3:7001 would be reached over a network (10.1.2.3)".to_owned();
        assert_eq!(check("10.1.2.3:7001", false), Err(refused));
        assert!(check("0.0.0.0:7001", false).is_err(), "every address of the machine is no loopback");
        assert!(check("nowhere", false).is_err_and(|message| message.contains("`nowhere` is no address")));
        for (host, trusted) in [("10.1.2.3:7001", true), ("127.0.0.1:7001", false), ("[::1]:7001", false)] {
            assert_eq!(check(host, trusted), Ok(()), "{host}");
        }
    }
}
