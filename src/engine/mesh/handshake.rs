//! How the processes of a job meet: every process listens where it is to be reached, calls those with lower numbers,
//! and is called by the others. Two links for every two processes, each opened by a hello from either side.
//!
//! **Nothing runs unless all fit**: version, job, fingerprint, number of processes and workers, hosts. Both sides see
//! both hellos, so both say what does not fit.

use super::peers::{Word, frames};
use super::{MeshSettings, name};
use crate::engine::wall;
use crate::fault::Failure;
use crate::job::Plan;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What a hello begins with: who says anything else is no process of ours.
const MAGIC: &[u8; 8] = b"EAGREMSH";
/// A hello is no longer than this.
const HELLO_BYTES_MAX: u32 = 1 << 20;
/// How long a process may take to answer a hello.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After so long it is said who is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// The version of Eagre.
    pub version: String,
    /// The name of the job.
    pub job: String,
    /// What the job's text and all overrides come to.
    pub fingerprint: String,
    /// Workers of each process.
    pub workers: usize,
    /// Where all processes are reached.
    pub hosts: Vec<String>,
    /// Which of them it is.
    pub process: usize,
    /// Which link this is.
    link: usize,
}

/// The links of a process to each other one; none to itself.
pub struct Connected {
    /// For words.
    pub words: Vec<Option<TcpStream>>,
    /// For timely.
    pub records: Vec<Option<TcpStream>>,
}

/// Connects this process with all others.
///
/// # Errors
///
/// A process that does not fit, does not come in time, or ends meanwhile: by number and address.
pub fn connect(settings: &MeshSettings, mine: Hello) -> Result<Connected, Failure> {
    settings.check()?;
    let address = &settings.hosts[settings.process];
    let listening = TcpListener::bind(address).and_then(|l| l.set_nonblocking(true).map(|()| l));
    let listener = listening.map_err(|error| {
        Failure::new(format!("process {} cannot listen on {address}: {error}", settings.process)).help(
            "the address has to be one of this machine, and free: does this process run already, or another one with \
            the same --process?",
        )
    })?;
    let none = || settings.hosts.iter().map(|_| None).collect();
    let links = [none(), none()];
    let errors = vec![String::new(); settings.hosts.len()];
    let mut meeting = Meeting { settings, mine, listener, links, errors, begun: wall::now() };
    let met = meeting.meet();
    let [words, records] = meeting.links;
    if let Err(failure) = &met {
        // Whoever has come already need not wait for the others in vain.
        let word = Word::Failed(failure.message.clone()).frame();
        words.iter().flatten().for_each(|mut link| drop(link.write_all(&word)));
    }
    met.map(|()| Connected { words, records })
}

/// Numbers of links.
const WORDS: usize = 0;
const LINKS: usize = 2;

struct Meeting<'a> {
    settings: &'a MeshSettings,
    mine: Hello,
    listener: TcpListener,
    links: [Vec<Option<TcpStream>>; LINKS],
    /// For each process, why it could not be reached.
    errors: Vec<String>,
    begun: Instant,
}

impl Meeting<'_> {
    fn meet(&mut self) -> Result<(), Failure> {
        let mut told = false;
        loop {
            self.accept()?;
            self.call()?;
            self.look()?;
            let missing = self.missing();
            if missing.is_empty() {
                return self.links.iter().flatten().flatten().try_for_each(settle).map_err(broken);
            }
            if self.begun.elapsed() >= self.settings.connect_timeout {
                return Err(self.late(missing[0]));
            }
            if !told && self.begun.elapsed() >= PATIENCE {
                told = true;
                let names: Vec<String> = missing.iter().map(|process| self.settings.name(*process)).collect();
                eprintln!("process {} waits for {}", self.settings.process, names.join(", "));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn missing(&self) -> Vec<usize> {
        let is_there = |process: usize| self.links.iter().all(|links| links[process].is_some());
        (0..self.settings.hosts.len())
            .filter(|process| *process != self.settings.process && !is_there(*process))
            .collect()
    }

    fn late(&self, process: usize) -> Failure {
        let (name, within) = (self.settings.name(process), self.settings.connect_timeout.as_secs_f64());
        let why = match self.errors[process].as_str() {
            "" => "it has not called".to_owned(),
            error => error.to_owned(),
        };
        Failure::new(format!("{name} cannot be reached: no connection within {within} s ({why})"))
            .help("start every process, each with its own --process; --connect-timeout says how long they may take")
    }

    /// Takes the calls of processes with higher numbers.
    fn accept(&mut self) -> Result<(), Failure> {
        loop {
            let (mut stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(broken(error)),
            };
            let answered = stream
                .set_nonblocking(false)
                .and_then(|()| read_hello(&mut stream))
                .and_then(|theirs| say_hello(&mut stream, &self.mine, theirs.link).map(|()| theirs));
            match answered {
                Ok(theirs) => self.take(stream, theirs, None)?,
                Err(error) => eprintln!("a call from {from} is no process of this job, and is not heard: {error}"),
            }
        }
    }

    /// Calls the processes with lower numbers.
    fn call(&mut self) -> Result<(), Failure> {
        for process in 0..self.settings.process {
            for link in 0..LINKS {
                if self.links[link][process].is_some() {
                    continue;
                }
                let called = dial(&self.settings.hosts[process]).and_then(|mut stream| {
                    say_hello(&mut stream, &self.mine, link)?;
                    read_hello(&mut stream).map(|theirs| (stream, theirs))
                });
                match called {
                    Ok((stream, theirs)) => self.take(stream, Hello { link, ..theirs }, Some(process))?,
                    Err(error) => {
                        self.errors[process] = error.to_string();
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a link to a process that fits. `called` is the one that was called.
    fn take(&mut self, stream: TcpStream, theirs: Hello, called: Option<usize>) -> Result<(), Failure> {
        self.mine.refuses(&theirs)?;
        let process = theirs.process;
        let expected = called.map_or(process > self.settings.process, |called| called == process);
        let slot = self.links.get_mut(theirs.link).and_then(|links| links.get_mut(process));
        match slot {
            Some(slot @ None) if expected => *slot = Some(stream),
            _ => {
                return Err(Failure::new(format!("a second process says that it is process {process}"))
                    .help("start every process once, each with its own --process"));
            }
        }
        Ok(())
    }

    /// Looks whether those who have come are still there.
    fn look(&self) -> Result<(), Failure> {
        for (process, link) in self.links[WORDS].iter().enumerate() {
            let Some(link) = link else { continue };
            let gone = |why: &str| Err(Failure::new(format!("{} {why}", self.settings.name(process))));
            let mut heard = vec![0; 4096];
            let peeked = link.set_nonblocking(true).and_then(|()| link.peek(&mut heard));
            link.set_nonblocking(false).map_err(broken)?;
            match peeked {
                Ok(0) => return gone("has gone before all were connected"),
                Ok(bytes) => {
                    if let Some(Word::Failed(why)) =
                        frames(&heard[..bytes]).find(|word| matches!(word, Word::Failed(_)))
                    {
                        return gone(&format!("failed: {why}"));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return gone(&format!("has gone before all were connected: {error}")),
            }
        }
        Ok(())
    }
}

impl Hello {
    /// What this process says of itself.
    pub fn of(plan: &Plan, workers: usize, settings: &MeshSettings) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            job: plan.name.clone(),
            fingerprint: format!("{:016x}", plan.fingerprint),
            workers,
            hosts: settings.hosts.clone(),
            process: settings.process,
            link: WORDS,
        }
    }

    /// Says what does not fit.
    fn refuses(&self, theirs: &Hello) -> Result<(), Failure> {
        let hosts = |hello: &Hello| hello.hosts.join(", ");
        let count = |hello: &Hello| hello.hosts.len().to_string();
        let workers = |hello: &Hello| hello.workers.to_string();
        let points: [(&str, String, String, &str); 6] = [
            ("version of Eagre", theirs.version.clone(), self.version.clone(), "all need the same version"),
            ("job", theirs.job.clone(), self.job.clone(), "all need the same job file"),
            (
                "fingerprint of the job",
                theirs.fingerprint.clone(),
                self.fingerprint.clone(),
                "all need the same job file, the same --set and the same EAGRE_ variables",
            ),
            ("number of processes", count(theirs), count(self), "all need the same --processes and --hosts"),
            ("list of hosts", hosts(theirs), hosts(self), "all need the same --hosts, in the same order"),
            ("number of workers", workers(theirs), workers(self), "all need the same --workers"),
        ];
        let Some((what, theirs_is, mine_is, help)) = points.into_iter().find(|(_, theirs, mine, _)| theirs != mine)
        else {
            return Ok(());
        };
        let them = match theirs.hosts.get(theirs.process) {
            Some(_) => name(&theirs.hosts, theirs.process),
            None => format!("process {}", theirs.process),
        };
        let message = format!(
            "{them} does not fit: its {what} is {theirs_is}, that of this process ({}) is {mine_is}",
            self.process
        );
        Err(Failure::new(message).help(help))
    }
}

fn dial(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CALL) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn say_hello(stream: &mut TcpStream, mine: &Hello, link: usize) -> io::Result<()> {
    let text = serde_json::to_vec(&Hello { link, ..mine.clone() })?;
    let length = (text.len() as u32).to_le_bytes();
    stream.set_nodelay(true)?;
    stream.write_all(&[MAGIC.as_slice(), &length, &text].concat())
}

fn read_hello(stream: &mut TcpStream) -> io::Result<Hello> {
    stream.set_read_timeout(Some(ANSWER))?;
    let mut head = [0; MAGIC.len() + 4];
    stream.read_exact(&mut head)?;
    let (magic, length) = head.split_at(MAGIC.len());
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    if magic != MAGIC || length > HELLO_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "it does not say hello as Eagre does"));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// A link that is to be used.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(None)
}

fn broken(error: io::Error) -> Failure {
    Failure::new(format!("the processes of the job cannot be connected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::Builder;

    /// Hosts of free ports on this machine.
    fn hosts(count: usize) -> Vec<String> {
        let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        listeners.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect()
    }

    fn hello(process: usize, hosts: &[String]) -> Hello {
        let [version, job, fingerprint] = ["0.1.0", "trial", "77"].map(str::to_owned);
        Hello { version, job, fingerprint, workers: 2, hosts: hosts.to_vec(), process, link: 0 }
    }

    /// Lets these processes meet; gives what each of them says.
    fn meet(hellos: Vec<Hello>, hosts: &[String], millis: u64) -> Vec<Result<Connected, String>> {
        let start = |hello: Hello| {
            let settings = MeshSettings {
                process: hello.process,
                hosts: hosts.to_vec(),
                connect_timeout: Duration::from_millis(millis),
                trusted_network: false,
            };
            let run = move || connect(&settings, hello).map_err(|failure| failure.message);
            Builder::new().name("process".into()).spawn(run).expect("a thread")
        };
        let running: Vec<_> = hellos.into_iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    }

    #[test]
    fn three_processes_meet() {
        let hosts = hosts(3);
        let met = meet((0..3).map(|process| hello(process, &hosts)).collect(), &hosts, 20_000);
        for (process, connected) in met.into_iter().enumerate() {
            let connected = connected.unwrap_or_else(|what| panic!("{what}"));
            for links in [connected.words, connected.records] {
                let there: Vec<bool> = links.iter().map(Option::is_some).collect();
                assert_eq!(there, (0..3).map(|other| other != process).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_on_both_sides() {
        let check = |change: fn(&mut Hello), what: &str, theirs: &str, mine: &str| {
            let hosts = hosts(2);
            let mut hellos = vec![hello(0, &hosts), hello(1, &hosts)];
            change(&mut hellos[1]);
            let said: Vec<String> =
                meet(hellos, &hosts, 20_000).into_iter().map(|met| met.err().expect("a refusal")).collect();
            let expected = [(1, theirs, 0, mine), (0, mine, 1, theirs)].map(|(other, theirs, me, mine)| {
                let host = &hosts[other];
                format!(
                    "process {other} at {host} does not fit: its {what} is {theirs}, that of this process ({me}) is {mine}"
                )
            });
            assert_eq!(said, expected);
        };
        check(|hello| hello.version = "9.0.0".into(), "version of Eagre", "9.0.0", "0.1.0");
        check(|hello| hello.job = "other".into(), "job", "other", "trial");
        check(|hello| hello.fingerprint = "78".into(), "fingerprint of the job", "78", "77");
        check(|hello| hello.workers = 3, "number of workers", "3", "2");
    }

    #[test]
    fn who_does_not_come_is_named() {
        let hosts = hosts(3);
        let late = |process: usize, why: &str| {
            let host = &hosts[process];
            format!("process {process} at {host} cannot be reached: no connection within 0.3 s ({why})")
        };
        let said = meet(vec![hello(1, &hosts)], &hosts, 300);
        let refused = late(0, "Connection refused (os error 111)");
        assert_eq!(said.into_iter().map(|met| met.err().expect("nobody")).collect::<Vec<_>>(), [refused]);
        let said = meet(vec![hello(0, &hosts), hello(2, &hosts)], &hosts, 300);
        let said: Vec<String> = said.into_iter().map(|met| met.err().expect("one is missing")).collect();
        let first = said.iter().find(|what| what.contains("cannot be reached")).expect("the first to give up");
        assert!(first.starts_with(&format!("process 1 at {} cannot be reached", hosts[1])), "{said:?}");
    }

    #[test]
    fn strangers_are_not_heard() {
        let hosts = hosts(2);
        let stranger = hosts[0].clone();
        let call = move || {
            for _ in 0..50 {
                if let Ok(mut stream) = TcpStream::connect(&stranger) {
                    drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let calling = Builder::new().name("stranger".into()).spawn(call).expect("a thread");
        let met = meet((0..2).map(|process| hello(process, &hosts)).collect(), &hosts, 20_000);
        assert!(met.iter().all(Result::is_ok));
        calling.join().expect("no panic");
    }
}
