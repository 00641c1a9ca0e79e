//! Statements that run for long in a server of MariaDB or MySQL.

use std::{thread::JoinHandle, time::Duration};

use super::{
    eventually,
    mariadb::{Server, Session},
};

/// A statement that runs until it is ended; it was seen to run.
pub struct Long {
    /// Its connection.
    pub id: u32,
    /// Where those that run are listed.
    processes: &'static str,
    thread: Option<JoinHandle<Result<(), String>>>,
    other: Session,
}

impl Long {
    /// Starts it, and waits until it has run for more than a second.
    #[track_caller]
    pub fn start(server: &Server, sql: &'static str) -> Self {
        let (session, other) = (server.connect(), server.connect());
        let id = session.id();
        let thread = Some(std::thread::spawn(move || session.run(sql)));
        let long = Self { id, processes: server.flavour.processes, thread, other };
        eventually(Duration::from_secs(10), "the statement runs for a while", || long.age() > 1);
        long
    }

    /// For how many whole seconds it has run; 0 when it does not.
    fn age(&self) -> i64 {
        let Self { processes, id, .. } = self;
        let sql = format!("SELECT TIME FROM {processes} WHERE ID = {id} AND COMMAND = 'Query'");
        self.other.rows(&sql).unwrap().first().map_or(0, |row| row.get(0).unwrap())
    }

    /// What a message says of it: what it is, whose, for how long, and how it is ended.
    pub fn said(&self, word: &str) -> [String; 3] {
        let Self { id, .. } = self;
        [
            format!("{word} of connection {id} (root@localhost"),
            ") has been running for ".to_owned(),
            format!("KILL QUERY {id};"),
        ]
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        let _ended = self.other.run(&format!("KILL QUERY {}", self.id));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
