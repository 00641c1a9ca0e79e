//! A network in between that can stop passing on what a server sends, without closing anything.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A port that leads to another one.
pub struct Relay {
    pub port: u16,
    /// How many times all connections were cut.
    cuts: Arc<AtomicU64>,
    /// Both ends of every connection.
    ends: Arc<Mutex<Vec<TcpStream>>>,
    /// How many bytes of each connection may come from the server.
    limit: Arc<AtomicU64>,
    /// How many connections wait at the limit.
    full: Arc<AtomicU64>,
}

impl Relay {
    /// Begins to pass everything on.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (limit, full) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let (limiting, filling) = (Arc::clone(&limit), Arc::clone(&full));
        let cuts = Arc::new(AtomicU64::new(0));
        let cutting = Arc::clone(&cuts);
        let ends = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::clone(&ends);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                // A server that is not there is one that closes at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let born = cutting.load(Ordering::SeqCst);
                let way = |limit: &Arc<AtomicU64>, full: &Arc<AtomicU64>| Way {
                    born,
                    cuts: Arc::clone(&cutting),
                    limit: Arc::clone(limit),
                    full: Arc::clone(full),
                };
                let (there, back) =
                    (way(&Arc::new(AtomicU64::new(u64::MAX)), &Arc::default()), way(&limiting, &filling));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                ending.lock().unwrap().extend([from.try_clone().unwrap(), to.try_clone().unwrap()]);
                std::thread::spawn(move || there.pass(from, to));
                std::thread::spawn(move || back.pass(server, client));
            }
        });
        Self { port, cuts, ends, limit, full }
    }

    /// From now on each connection gets no more than that many bytes from the server.
    pub fn pass_at_most(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::SeqCst);
    }

    /// From now on nothing of what either side sends over the connections that there are arrives, and neither hears of
    /// it, as where packets are dropped. Connections that are made later are whole.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Now every side hears that its connections are gone.
    pub fn hang_up(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _gone = end.shutdown(Shutdown::Both);
        }
    }

    /// Whether a connection waits at the limit.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst) > 0
    }
}

/// One direction of a connection.
struct Way {
    /// How many cuts there had been when it was made.
    born: u64,
    cuts: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
    full: Arc<AtomicU64>,
}

impl Way {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let (mut passed, mut buffer) = (0_u64, [0; 16 * 1024]);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut waits = false;
            while passed + count as u64 > self.limit.load(Ordering::SeqCst) {
                if !waits {
                    self.full.fetch_add(1, Ordering::SeqCst);
                    waits = true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if waits {
                self.full.fetch_sub(1, Ordering::SeqCst);
            }
            if self.is_cut() {
                continue;
            }
            passed += count as u64;
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // That one side closed a connection does not arrive at the other, either.
        if !self.is_cut() {
            let _gone = to.shutdown(Shutdown::Both);
        }
        let _gone = from.shutdown(Shutdown::Both);
    }

    fn is_cut(&self) -> bool {
        self.cuts.load(Ordering::SeqCst) > self.born
    }
}
