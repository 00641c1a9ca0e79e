//! The freeze of `sqlite` on btrfs, beside the bare snapshot command.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    measure::{line, median, milliseconds, run, title},
    support::{Subject, kind::Kind},
};

const ROUNDS: usize = 5;

pub fn measure() {
    for (name, rows) in [("10 MB", 18_000_u64), ("2 GB", 3_600_000)] {
        title(&format!("The freeze of sqlite on btrfs, {name}"));
        let Some(subject) = Subject::sized(&Kind::SqliteOnBtrfs, 8192) else { return };
        let connection = match &subject.application {
            crate::support::Application::Sqlite(sqlite) => sqlite.open(),
            _ => unreachable!(),
        };
        connection
            .execute_batch(&format!(
                "PRAGMA journal_size_limit = 0;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO ballast SELECT i + 10000, hex(randomblob(250)) FROM n;
                 PRAGMA wal_checkpoint(TRUNCATE);"
            ))
            .unwrap();
        drop(connection);
        run(&mut Command::new("sync"));
        let writer = subject.database().writer();
        let (mut frozen, mut bare, mut stalls) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let snapshot = subject.data().with_file_name(format!("bare-{round}"));
            let started = Instant::now();
            run(Command::new("btrfs")
                .args(["subvolume", "snapshot", "-r"])
                .arg(subject.data())
                .arg(&snapshot)
                .stdout(Stdio::null()));
            bare.push(started.elapsed());
            run(Command::new("btrfs").args(["subvolume", "delete"]).arg(&snapshot).stdout(Stdio::null()));
            let since = Instant::now();
            let outcome = subject.backup();
            assert_eq!(outcome.code(), Some(0), "{outcome}");
            let freeze = outcome.json()["freeze"]["milliseconds"].as_u64().unwrap();
            frozen.push(Duration::from_millis(freeze));
            stalls.push(writer.longest_stall(since));
        }
        writer.stop();
        let (frozen, bare) = (median(frozen), median(bare));
        line("the freeze", &milliseconds(frozen), "");
        line("the bare snapshot command", &milliseconds(bare), "");
        let more = frozen.as_secs_f64() - bare.as_secs_f64();
        line("more", &format!("{:+.1} ms", more * 1000.0), "at most 20 ms");
        line("the writer's longest wait in the whole backup", &milliseconds(median(stalls)), "");
    }
}
