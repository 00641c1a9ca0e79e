//! Clients whose exit status lies, kept open by a `session`: what they say is believed, and only what proves something.

use std::{fs, path::Path, time::Duration};

use crate::support::{Subject, eventually, kind::Kind, place::Outcome, postgresql::Version};

/// The text of a blueprint of `tests/sessions`.
fn session(client: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions").join(client);
    fs::read_to_string(folder.join("blueprint.yaml")).unwrap()
}

/// Backs up with such a blueprint and these values.
fn backup(subject: &Subject, text: &str, values: &[String]) -> Outcome {
    let blueprint = subject.place.file("session.yaml", text);
    let mut arguments =
        vec!["backup".to_owned(), blueprint.display().to_string(), "--output=json".to_owned()];
    arguments.extend(values.iter().map(|value| format!("--set={value}")));
    subject.place.run(arguments)
}

/// The same with a command of the shell's more, after the hold was acquired and before it is proven.
fn with_capture(subject: &Subject, text: &str, script: &str) -> String {
    let script = subject.script("meanwhile", script);
    let capture = "      capture:\n";
    text.replace(capture, &format!("{capture}        - exec: {{command: [\"{}\"]}}\n", script.display()))
}

/// It goes on after an error where nobody tells it not to, and ends with status 0.
#[test]
fn psql_that_did_not_get_its_lock_or_lost_it_claims_nothing() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let server = subject.server();
    let values = [format!("socketDir={}", server.sockets.display()), format!("port={}", server.port)];
    server.sql("CREATE TABLE numbers (id int PRIMARY KEY)");
    let other = server.connect("postgres");
    other.run("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE").unwrap();
    let text = session("psql");
    let outcome = backup(&subject, &text, &values);
    other.run("ROLLBACK").unwrap();
    subject.assert_refused(&outcome, 1, &["canceling statement due to lock timeout"]);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'psql' AND state LIKE 'idle%'";
    let program = server.version.bin.join("psql");
    let script = format!(
        "exec {} -q -h {} -p {} -U postgres -c \"{end}\" postgres",
        program.display(),
        server.sockets.display(),
        server.port
    );
    let outcome = backup(&subject, &with_capture(&subject, &text, &script), &values);
    subject.assert_refused(&outcome, 1, &["no line matched `^still held$`", "terminating connection"]);
    let outcome = backup(&subject, &text, &values);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
}

/// One that connects again by itself has lost its lock, and `UNLOCK TABLES` succeeds without one.
#[test]
fn mariadbs_client_that_did_not_get_its_lock_or_lost_it_claims_nothing() {
    let Some(subject) = Subject::new(&Kind::MariadbDump) else { return };
    let server = subject.mariadb();
    let values = [format!("socket={}", server.socket().display())];
    server.sql(
        "CREATE TABLE app.numbers (id INT PRIMARY KEY);
         CREATE TABLE app.log (id INT) ENGINE = MyISAM; INSERT INTO app.log VALUES (1)",
    );
    let long = server.connect();
    let id = long.id();
    let update = std::thread::spawn(move || long.run("UPDATE app.log SET id = SLEEP(60)"));
    let other = server.connect();
    eventually(Duration::from_secs(10), "the update runs", || {
        let running =
            format!("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {id} AND INFO LIKE 'UPDATE%'");
        !other.rows(&running).unwrap().is_empty()
    });
    let text = session("mariadb");
    let outcome = backup(&subject, &text, &values);
    other.run(&format!("KILL QUERY {id}")).unwrap();
    drop(update.join().unwrap());
    subject.assert_refused(&outcome, 1, &["Lock wait timeout exceeded"]);
    // The administrator's own session, which shows no statement, is the client's.
    let script = format!(
        "m='mariadb --no-defaults --batch --skip-column-names --user=root --socket={}'
         for id in $($m -e \"SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Sleep' AND USER = 'root' AND ID > {}\"); do
         $m -e \"KILL CONNECTION $id\"; done",
        server.socket().display(),
        other.id()
    );
    let outcome = backup(&subject, &with_capture(&subject, &text, &script), &values);
    subject.assert_refused(&outcome, 1, &["no line matched `^still held$`", "Server has gone away"]);
    let outcome = backup(&subject, &text, &values);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
}

/// It ends with status 0 after any error, and goes on to the marker.
#[test]
fn redis_cli_whose_save_failed_claims_nothing() {
    let Some(subject) = Subject::new(&Kind::Redis) else { return };
    let text = session("redis-cli");
    let directory = subject.data();
    let values = [
        format!("port={}", subject.redis().port),
        format!("directory={}", directory.display()),
        "lease=3s".to_owned(),
    ];
    // Over TCP it asks who one is.
    subject.redis().ask::<()>("ACL SETUSER default on nopass ~* &* +@all");
    // Nothing can take the name of a directory.
    fs::create_dir(directory.join("dump.rdb")).unwrap();
    let outcome = backup(&subject, &text, &values);
    fs::remove_dir(directory.join("dump.rdb")).unwrap();
    subject.assert_refused(&outcome, 1, &["no line matched `^paused$`", "not saved"]);
    let outcome = backup(&subject, &text, &values);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
}
