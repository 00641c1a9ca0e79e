//! A network in between that can stop passing on what a server sends, without closing anything.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A port that leads to another one.
pub struct Relay {
    pub port: u16,
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
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                // A server that is not there is one that closes at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (limit, full) = (Arc::clone(&limiting), Arc::clone(&filling));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, &AtomicU64::new(u64::MAX), &AtomicU64::new(0)));
                std::thread::spawn(move || pass(server, client, &limit, &full));
            }
        });
        Self { port, limit, full }
    }

    /// From now on each connection gets no more than that many bytes from the server.
    pub fn pass_at_most(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::SeqCst);
    }

    /// Whether a connection waits at the limit.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst) > 0
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: &AtomicU64, full: &AtomicU64) {
    let (mut passed, mut buffer) = (0_u64, [0; 16 * 1024]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut waits = false;
        while passed + count as u64 > limit.load(Ordering::SeqCst) {
            if !waits {
                full.fetch_add(1, Ordering::SeqCst);
                waits = true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if waits {
            full.fetch_sub(1, Ordering::SeqCst);
        }
        passed += count as u64;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
    let _gone = from.shutdown(Shutdown::Both);
}
