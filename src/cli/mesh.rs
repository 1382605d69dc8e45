//! What the command line says of several processes, and how a process heeds its supervisor.

use super::args::MeshArguments;
use crate::engine::MeshSettings;
use crate::fault::Failure;
use std::io::{ErrorKind, Read, stdin};
use std::sync::{Arc, Mutex};

type Stop = Box<dyn Fn() + Send>;

/// Which of several processes this is; none where it is alone.
///
/// # Errors
///
/// What does not fit together: as many hosts as processes, each of them once. Hosts that are reached over a network,
/// unless it is trusted.
pub fn settings(arguments: &MeshArguments) -> Result<Option<MeshSettings>, Failure> {
    let (Some(process), Some(hosts)) = (arguments.process, &arguments.hosts) else { return Ok(None) };
    let listed = list(hosts)?;
    let process = usize::from(process);
    if let Some(processes) = arguments.processes.map(usize::from).filter(|processes| *processes != listed.len()) {
        let message = format!("--processes says {processes}, and --hosts {hosts} names {}", listed.len());
        return Err(Failure::new(message).help("name one host:port for each process"));
    }
    if process >= listed.len() {
        let message = format!("there is no process {process}: --hosts {hosts} names {}", listed.len());
        return Err(Failure::new(message).help("processes are numbered from 0"));
    }
    for (number, host) in listed.iter().enumerate() {
        if let Some(other) = listed[..number].iter().position(|other| other == host) {
            return Err(Failure::new(format!("processes {other} and {number} are both at {host}")));
        }
    }
    if listed.len() == 1 {
        return Ok(None);
    }
    let (connect_timeout, trusted_network) = (arguments.connect_timeout, arguments.trusted_network);
    let settings = MeshSettings { process, hosts: listed, connect_timeout, trusted_network };
    settings.check().map(|()| Some(settings))
}

/// The hosts of a list with commas, or of a file with one on each line; `#` begins a comment.
fn list(hosts: &str) -> Result<Vec<String>, Failure> {
    let text = match std::fs::read_to_string(hosts) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && hosts.contains(':') => hosts.replace(',', "\n"),
        Err(error) => {
            return Err(Failure::new(format!("--hosts {hosts}: {error}"))
                .help("name a file with a host:port on each line, or write 127.0.0.1:7000,127.0.0.1:7001"));
        }
    };
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(host, _)| host).trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Whoever started this process and holds the other end of its standard input.
pub struct Supervisor(Arc<Mutex<Heeding>>);

#[derive(Default)]
struct Heeding {
    /// Stops the job, once there is one.
    stop: Option<Stop>,
}

impl Supervisor {
    /// Listens: when standard input ends, the process is to stop. Where no job has begun it ends at once.
    pub fn heed() -> Supervisor {
        let heeding: Arc<Mutex<Heeding>> = Arc::default();
        let heard = heeding.clone();
        let listen = move || {
            let mut bytes = [0; 64];
            while stdin().read(&mut bytes).is_ok_and(|read| read > 0) {}
            match &heard.lock().expect("nobody panics while it heeds").stop {
                Some(stop) => stop(),
                #[allow(clippy::disallowed_methods, reason = "nothing has begun, and nobody waits for it")]
                None => std::process::exit(130),
            }
        };
        std::thread::Builder::new().name("eagre:heed".into()).spawn(listen).expect("a thread can be started");
        Supervisor(heeding)
    }

    /// From now on, that is how to stop.
    pub fn stops(&self, stop: impl Fn() + Send + 'static) {
        self.0.lock().expect("nobody panics while it heeds").stop = Some(Box::new(stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn mesh(processes: Option<u16>, process: u16, hosts: &str) -> Result<Option<MeshSettings>, String> {
        let (process, hosts) = (Some(process), Some(hosts.to_owned()));
        let (connect_timeout, trusted_network, supervised) = (Duration::from_secs(60), false, false);
        let arguments = MeshArguments { processes, process, hosts, connect_timeout, trusted_network, supervised };
        settings(&arguments).map_err(|failure| failure.message)
    }

    #[test]
    fn hosts_come_from_a_list_or_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# the rack\n127.0.0.1:1\n\n  127.0.0.1:2 # the leader's neighbour\n")
            .expect("written");
        let text = "127.0.0.1:1,127.0.0.1:2";
        for hosts in [text, file.path().to_str().expect("a name")] {
            let settings = mesh(Some(2), 1, hosts).expect("well").expect("several");
            assert_eq!((settings.process, settings.hosts), (1, text.split(',').map(str::to_owned).collect()));
        }
        assert!(mesh(None, 0, "a:1").expect("well").is_none(), "one process is alone");
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let check = |processes, process, hosts, told: &str| {
            assert_eq!(mesh(processes, process, hosts).expect_err("wrong"), told);
        };
        check(Some(3), 0, "a:1,b:2", "--processes says 3, and --hosts a:1,b:2 names 2");
        check(None, 2, "a:1,b:2", "there is no process 2: --hosts a:1,b:2 names 2");
        check(None, 0, "a:1,b:2,a:1", "processes 0 and 2 are both at a:1");
        check(None, 0, "nowhere.txt", "--hosts nowhere.txt: No such file or directory (os error 2)");
    }
}
