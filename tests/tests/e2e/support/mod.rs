//! What the tests stand on.
//!
//! - [`place`]: a directory of a test's own, and the binary run in it
//! - [`database`]: what is protected: [`sqlite`], [`postgresql`], [`mariadb`] (and [`mysql`]), [`redis`], [`etcd`],
//!   [`files`], [`kv`], [`group`], each with a [`writer`]
//! - [`subject`]: a database, a blueprint and the values that bind them, of one [`kind`]
//! - [`cases`]: what every server is tried with
//! - [`slow`]: a backup that stands still in the middle; [`long`]: a statement in its way
//! - [`pages`]: what the blueprints' pages promise
//! - [`filesystem`]: loop-mounted file systems; [`certificates`]: for TLS
//! - [`object_store`]: an S3 server
//! - [`relay`]: a network that falls silent
//! - [`leftovers`]: what a run may not leave behind
//! - [`watch`]: whether secrets are seen in `/proc`
//! - [`sample`]: what a normal run leaves out of the full one

mod acting;
pub mod cases;
pub mod certificates;
pub mod database;
pub mod etcd;
pub mod files;
pub mod filesystem;
pub mod group;
pub mod kind;
pub mod kv;
pub mod leftovers;
pub mod long;
pub mod mariadb;
pub mod matrix;
pub mod mongodb;
pub mod mongodb_client;
pub mod mysql;
pub mod object_store;
pub mod pages;
pub mod place;
pub mod postgresql;
pub mod process;
pub mod redis;
pub mod relay;
pub mod sample;
pub mod slow;
pub mod sqlite;
pub mod subject;
#[allow(dead_code, reason = "the tests on Kubernetes use the rest")]
pub mod watch;
pub mod writer;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::TcpListener,
    time::{Duration, Instant},
};

pub use place::Place;
pub use subject::{Application, Subject};

/// A port of the loopback address that nobody listens on now. It is below those that outgoing connections get (32768 and
/// up by default, ip(7)), or one of them could have it before the server that it is for.
pub fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(random % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until a condition of the outside world holds.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.elapsed()
}
