//! What the tests stand on.
//!
//! - [`space`]: a namespace of a test's own, and the binary run against it
//! - [`image`]: the binary as an image
//! - [`runs`], [`audit`]: what runs did, by their journals and by the API server's log
//! - [`postgresql`], [`mariadb`], [`mysql`], [`mongodb`], [`redis`], [`etcd`], [`sqlite`], [`kv`], [`numbers`]: a database in it, with a [`writer`], by a
//!   [`client`] in its pod
//! - [`group`]: two of them that belong together
//! - [`around`]: what a blueprint changes around them
//! - [`outage`]: parts of the cluster that are away

pub mod around;
pub mod audit;
pub mod client;
pub mod etcd;
pub mod group;
pub mod image;
pub mod kv;
pub mod mariadb;
pub mod mongodb;
pub mod mysql;
pub mod numbers;
pub mod outage;
pub mod postgresql;
pub mod redis;
pub mod runs;
pub mod space;
pub mod sqlite;

#[path = "../../e2e/support/mongodb_client.rs"]
pub mod mongodb_client;
#[path = "../../e2e/support/place.rs"]
#[allow(dead_code, reason = "the tests on this machine use the rest")]
pub mod place;
#[path = "../../e2e/support/process.rs"]
#[allow(dead_code, reason = "the tests on this machine use the rest")]
pub mod process;
#[path = "../../e2e/support/sample.rs"]
#[allow(dead_code, reason = "the tests on this machine use the rest")]
pub mod sample;
#[path = "../../e2e/support/watch.rs"]
#[allow(dead_code, reason = "the tests on this machine use the rest")]
pub mod watch;
#[path = "../../e2e/support/writer.rs"]
#[allow(dead_code, reason = "the tests on this machine use the rest")]
pub mod writer;

use std::time::{Duration, Instant};

pub use postgresql::Postgres;
pub use space::Space;

/// Waits until a condition of the outside world holds.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    started.elapsed()
}
