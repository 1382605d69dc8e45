//! A TCP proxy that lies between the job and the broker and treats connections badly on request: cuts them, tears a
//! request or answer in two and then cuts, closes one direction only, delays, or holds everything and says nothing.
//!
//! A thread for each direction of each connection; nothing is lost or changed while a connection lives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The proxy. Its threads end with the process.
pub struct Proxy {
    weather: Arc<Weather>,
}

#[derive(Default)]
struct Weather {
    /// Every piece waits so long.
    delay_ms: AtomicU64,
    /// Nothing passes.
    holds: AtomicBool,
    /// The next piece is torn.
    tears: AtomicBool,
    links: Mutex<Vec<[TcpStream; 2]>>,
}

impl Proxy {
    /// Passes what comes to one port of this machine on to another.
    pub fn start(from: u16, to: u16) -> Proxy {
        let (listener, weather) = (TcpListener::bind(("127.0.0.1", from)).unwrap(), Arc::<Weather>::default());
        let shared = weather.clone();
        let accept = move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A broker that is away: the client sees its connection closed.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                link(&shared, client, server);
            }
        };
        thread::Builder::new().name("proxy".into()).spawn(accept).unwrap();
        Proxy { weather }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        let links = std::mem::take(&mut *self.weather.links.lock().unwrap());
        links.iter().flatten().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// Lets half of the next piece through, then cuts that connection.
    pub fn tear(&self) {
        self.weather.tears.store(true, Ordering::Relaxed);
    }

    /// Closes one direction of all connections: what the job says (`true`), or what it hears.
    pub fn half_close(&self, says: bool) {
        let links = std::mem::take(&mut *self.weather.links.lock().unwrap());
        links.iter().for_each(|[client, server]| {
            let _ = (if says { server } else { client }).shutdown(Shutdown::Write);
        });
    }

    /// Delays every piece.
    pub fn delay(&self, time: Duration) {
        self.weather.delay_ms.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Lets nothing through, and closes nothing: new connections are taken and not served.
    pub fn hold(&self) {
        self.weather.holds.store(true, Ordering::Relaxed);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
        self.weather.holds.store(false, Ordering::Relaxed);
        self.weather.tears.store(false, Ordering::Relaxed);
    }
}

fn link(weather: &Arc<Weather>, client: TcpStream, server: TcpStream) {
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    weather.links.lock().unwrap().push([copy(&client), copy(&server)]);
    for (from, to) in [(copy(&client), copy(&server)), (server, client)] {
        let weather = weather.clone();
        thread::Builder::new().name("proxy".into()).spawn(move || pump(&weather, from, to)).unwrap();
    }
}

/// Passes one direction on until either end closes it.
fn pump(weather: &Weather, mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        thread::sleep(Duration::from_millis(weather.delay_ms.load(Ordering::Relaxed)));
        while weather.holds.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
        }
        let torn = weather.tears.swap(false, Ordering::Relaxed);
        let passes = if torn { length / 2 } else { length };
        if to.write_all(&piece[..passes]).is_err() || torn {
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
