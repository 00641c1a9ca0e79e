//! The longest stall of a writer: ours, beside the bare snapshot and beside the script that people write.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    measure::{line, median, milliseconds, ratio, run, title},
    page, picture,
    support::{Application, Subject, kind::Kind, writer::Writer},
};

const ROUNDS: usize = 9;

/// What the script waits for, so that its client has the lock: nothing tells it when.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// A database, and the medians of the longest stalls of each round.
pub struct Stalls {
    pub name: &'static str,
    pub bare: Duration,
    pub ours: Duration,
    pub script: Duration,
}

impl Stalls {
    /// What ours may be at most: what the file system costs anyway, three tenths of it, and 20 ms.
    pub fn limit(&self) -> Duration {
        self.bare.mul_f64(1.3) + Duration::from_millis(20)
    }
}

pub fn measure() {
    let kinds = [
        ("MariaDB, all InnoDB", Kind::Mariadb),
        ("MariaDB, commits held too", Kind::MariadbBlocked),
        ("MySQL, all InnoDB", Kind::Mysql),
        ("MySQL, writes held too", Kind::MysqlBlocked),
    ];
    let all: Vec<Stalls> = kinds.into_iter().filter_map(|(name, kind)| measure_one(name, &kind)).collect();
    if let Some(docs) = std::env::var_os("STANDSTILL_BENCH_DOCS").map(PathBuf::from) {
        std::fs::write(docs.join("freeze.svg"), picture::draw(&all)).unwrap();
        std::fs::write(docs.join("freeze.md"), page::write(&all, ROUNDS)).unwrap();
    }
}

fn measure_one(name: &'static str, kind: &Kind) -> Option<Stalls> {
    title(&format!("The longest stall of a writer at full rate on btrfs: {name}"));
    let subject = Subject::sized(kind, 8192)?;
    let writer = subject.database().writer();
    let (mut bare, mut ours, mut script) = (Vec::new(), Vec::new(), Vec::new());
    // One after the other in each round, so that what the machine does besides meets all three.
    for round in 0..ROUNDS {
        let since = settled(&writer);
        let released = back_up(&subject);
        ours.push(stall(&writer, since, released));

        // A writer has its bad moments when nobody takes a backup too: the same time, with a snapshot in it.
        let window = released - since;
        let since = settled(&writer);
        snapshot(&subject, round);
        std::thread::sleep(window.saturating_sub(since.elapsed()));
        bare.push(stall(&writer, since, Instant::now()));

        let since = settled(&writer);
        script.push(by_script(&subject, &writer, since, round));
    }
    writer.stop();
    let stalls = Stalls { name, bare: median(bare), ours: median(ours), script: median(script) };
    line("the bare snapshot, nothing held", &milliseconds(stalls.bare), "");
    line("ours", &milliseconds(stalls.ours), &format!("at most {}", milliseconds(stalls.limit())));
    line("a client with FLUSH TABLES WITH READ LOCK, and a sleep", &milliseconds(stalls.script), "");
    line("ours / the script", &format!("{:.2}", ratio(stalls.ours, stalls.script)), "at most 1");
    Some(stalls)
}

/// What the round before left to be written is written, and the writer is at work.
fn settled(writer: &Writer) -> Instant {
    run(&mut Command::new("sync"));
    writer.goes_on(Duration::from_secs(30));
    Instant::now()
}

/// The longest stall that began before `until`, once it is over.
fn stall(writer: &Writer, since: Instant, until: Instant) -> Duration {
    writer.goes_on(Duration::from_secs(30));
    writer.longest_stall_between(since, until)
}

fn snapshot(subject: &Subject, round: usize) {
    let at = subject.data().with_file_name(format!("bare-{round}"));
    let quiet = |words: &[&str]| {
        let path = at.to_str().unwrap();
        let data = subject.data();
        let mut command = Command::new("btrfs");
        command.arg("subvolume").args(words).stdout(Stdio::null());
        if words[0] == "snapshot" {
            command.arg(data);
        }
        run(command.arg(path));
    };
    quiet(&["snapshot", "-r"]);
    quiet(&["delete"]);
}

/// What is found everywhere: a client in the background that locks and then idles, a wait, the snapshot, a kill.
fn by_script(subject: &Subject, writer: &Writer, since: Instant, round: usize) -> Duration {
    let mut client = client(subject).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut statements = client.stdin.take().unwrap();
    statements.write_all(b"FLUSH TABLES WITH READ LOCK;\n").unwrap();
    std::thread::sleep(USUAL_WAIT);
    snapshot(subject, round);
    client.kill().unwrap();
    let _status = client.wait().unwrap();
    stall(writer, since, Instant::now())
}

fn client(subject: &Subject) -> Command {
    let Application::Mariadb(server) = &subject.application else {
        unreachable!("only servers with this lock are measured")
    };
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--user=root", "--unbuffered"]);
    command.arg(format!("--socket={}", server.socket().display()));
    command
}

/// Takes a backup; when its last hold was released. What comes later, the upload, shares the disk with the writer
/// in a backup without any hold too.
fn back_up(subject: &Subject) -> Instant {
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    let released = report["holds"].as_array().unwrap().iter();
    let released =
        released.map(|hold| hold["releasedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    let ago = SystemTime::now().duration_since(released.max().unwrap().into()).unwrap();
    Instant::now().checked_sub(ago).unwrap()
}
