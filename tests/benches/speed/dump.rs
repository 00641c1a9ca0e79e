//! `backup postgresql-dump` of a database of 1 GB, beside the pipe that a person would write.

use std::{
    io::Read,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use standstill_core::{
    Error,
    point::RunId,
    repository::{NoProgress, PutStream, Repository as _, StreamSource},
    secret::Secret,
};
use standstill_repository::{Location, Repository};
use tokio_util::sync::CancellationToken;

use crate::{
    measure::{line, median, ratio, run, seconds, title},
    stream::{fresh_repository, fresh_restic, restic_stdin},
    support::{Subject, kind::Kind, place::PASSWORD, postgresql::Version},
};

const ROUNDS: usize = 3;

/// About 1 GB on disk: 10 million rows.
const ROWS: &str =
    "CREATE TABLE big AS SELECT n AS id, md5(n::text) || ' ' || md5((n * 7)::text) AS text, n % 1000 AS kind
    FROM generate_series(1, 10000000) n";

pub fn measure() {
    title("A dump of a database of 1 GB");
    let Some(version) = Version::first() else { return println!("  left out: there is no PostgreSQL") };
    let Some(subject) = Subject::new(&Kind::Dump(version)) else { return };
    let server = subject.server();
    server.connect("app").run(ROWS).unwrap();
    server.sql("CHECKPOINT");
    let size =
        server.connect("app").rows("SELECT pg_size_pretty(pg_database_size('app'))").unwrap().remove(0);
    let dump = || {
        let mut command = Command::new(server.version.bin.join("pg_dump"));
        command.args(["-Fc", "-Z0", "-U", "postgres", "-d", "app", "-h"]).arg(&server.sockets);
        command.args(["-p", &server.port.to_string()]);
        command
    };
    let place = &subject.place;
    let (repository, cache) = (place.join("restic"), place.join("cache"));
    let [mut whole, mut with_facts, mut pipe, mut ours] = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        fresh_repository(place);
        whole.push(run(place.command(backup(&subject, "none")).stdout(Stdio::null())).took);
        fresh_repository(place);
        with_facts.push(run(place.command(backup(&subject, "exact")).stdout(Stdio::null())).took);
        fresh_restic(&repository, &cache);
        pipe.push(restic_stdin(&repository, &cache, &mut dump()).took);
        fresh_repository(place);
        ours.push(into_our_repository(&mut dump(), &place.repository()));
    }
    let [whole, with_facts, pipe, ours] = [whole, with_facts, pipe, ours].map(median);
    line(&format!("standstill backup postgresql-dump ({size})"), &seconds(whole), "");
    line("pg_dump -Fc -Z0 | restic backup --stdin", &seconds(pipe), "");
    line("ratio", &format!("{:.2}", ratio(whole, pipe)), "at most 0.85");
    line("pg_dump -Fc -Z0 into our repository code", &seconds(ours), "");
    let added = whole.as_secs_f64() - ours.as_secs_f64();
    line("what the runner adds", &format!("{added:+.2} s"), "at most 1 s");
    let facts = with_facts.as_secs_f64() - whole.as_secs_f64();
    line("what exact facts add", &format!("{facts:+.2} s"), "");
}

fn backup(subject: &Subject, facts: &str) -> Vec<String> {
    let mut arguments = subject.backup_arguments();
    arguments.extend([
        "--quiet".to_owned(),
        "--set=databases=app".to_owned(),
        format!("--set=facts={facts}"),
    ]);
    arguments
}

/// The same pipe without a runner: `put_stream` and nothing else.
fn into_our_repository(producer: &mut Command, repository: &std::path::Path) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let started = Instant::now();
    runtime.block_on(async {
        let location: Location = repository.to_str().unwrap().parse().unwrap();
        let repository = Repository::open(&location, &Secret::new(PASSWORD.as_str())).await.unwrap();
        let mut child = producer.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let request =
            PutStream { run: RunId::generate(), application: "pipe".into(), artifact: "dump".into() };
        let source = Box::new(Pipe { child, output, bytes: 0 });
        repository.put_stream(request, source, Arc::new(NoProgress), CancellationToken::new()).await.unwrap();
    });
    started.elapsed()
}

struct Pipe {
    child: Child,
    output: ChildStdout,
    bytes: u64,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.output.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl StreamSource for Pipe {
    fn finish(&mut self) -> standstill_core::Result<u64> {
        let status =
            self.child.wait().map_err(|cause| Error::failed("the producer was lost").because(cause))?;
        if status.success() {
            Ok(self.bytes)
        } else {
            Err(Error::failed(format!("the producer ended with {status}")))
        }
    }
}
