//! The blueprints that have no file of their own here: PostgreSQL by its own programs, in streams.

use std::{fmt::Write as _, path::PathBuf};

use crate::support::{Postgres, Space, place::Outcome, sample::full, writer::assert_whole};

/// One round, or five in the full form, each in a namespace of its own.
pub fn in_rounds(name: &str, round: impl Fn(&Space)) {
    for number in 1..=if full() { 5 } else { 1 } {
        let Some(space) = Space::new(name) else { return };
        println!("round {number}");
        space.place.init();
        round(&space);
    }
}

/// A server under a writer, and values for a blueprint that has parameters of its own.
struct Scene<'a> {
    space: &'a Space,
    server: Postgres<'a>,
    values: PathBuf,
}

impl<'a> Scene<'a> {
    fn new(space: &'a Space, parameters: &[&str]) -> Self {
        let mut text = "parameters:\n  password: {secret: {name: pg, key: password}}\n".to_owned();
        for parameter in parameters {
            writeln!(text, "  {parameter}").unwrap();
        }
        let values = space.place.file("streams.yaml", &text);
        Self { space, server: Postgres::start(space), values }
    }

    /// Runs a command on a target that must succeed.
    #[track_caller]
    fn ok(&self, arguments: &[&str], target: &str) -> Outcome {
        let values = self.values.to_str().unwrap();
        let target = format!("--set=target.workload={target}");
        let common = ["--output=json", "--values", values, &target];
        let arguments: Vec<&str> = arguments.iter().chain(&common).copied().collect();
        let outcome = self.space.run(&arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        println!("{}: {:?}, writes waited {}", arguments[0], outcome.took, outcome.json()["freeze"]);
        outcome
    }

    /// Backs up under a writer and verifies; the last row that was acknowledged before, and the last begun after.
    fn back_up(&self, blueprint: &str) -> (i64, i64) {
        let writer = self.server.writer();
        let before = writer.acknowledged();
        let backup = self.ok(&["backup", blueprint, "--name=pg"], "statefulset/pg");
        let after = writer.stop() + 1;
        assert_eq!(backup.json()["consistency"], "application", "{backup}");
        assert_eq!(self.server.held(), Vec::<String>::new());
        let verified = self.ok(&["verify", "latest"], "statefulset/pg");
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
        self.space.assert_clean();
        (before, after)
    }
}

#[test]
fn a_base_backup_under_a_writer_comes_back_whole() {
    in_rounds("basebackup", |space| {
        let scene = Scene::new(space, &["dataDir: /var/lib/postgresql/data"]);
        let (before, after) = scene.back_up("postgresql-basebackup");
        scene.ok(&["restore", "latest", "--set=target.claim=restored"], "statefulset/pg");
        assert_whole(&Postgres::on_claim(space, "restored").numbers(), before, after);
        space.assert_clean();
    });
}

/// An empty server in the pod `second`, with the same password.
const SECOND: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: second}
spec:
  terminationGracePeriodSeconds: 2
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 5432, runAsGroup: 5432, fsGroup: 5432}
  containers:
  - name: postgres
    image: standstill.test/databases:1
    imagePullPolicy: Never
    command: [serve-postgresql]
    env:
    - {name: PGDATA, value: /var/lib/postgresql/data}
    - {name: POSTGRES_PASSWORD_FILE, value: /run/secrets/pg/password}
    readinessProbe: {exec: {command: [pg_isready, --quiet, --host=127.0.0.1]}, periodSeconds: 1}
    volumeMounts:
    - {name: data, mountPath: /var/lib/postgresql}
    - {name: run, mountPath: /run/postgresql}
    - {name: run, mountPath: /tmp}
    - {name: password, mountPath: /run/secrets/pg, readOnly: true}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: run, emptyDir: {}}
  - {name: password, secret: {secretName: pg, defaultMode: 0440}}
";

#[test]
fn a_dump_under_a_writer_is_restored_into_another_server() {
    in_rounds("dump", |space| {
        space.apply(SECOND);
        let scene = Scene::new(space, &[]);
        let (before, after) = scene.back_up("postgresql-dump");
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/second"]);
        scene.ok(&["restore", "latest"], "pod/second");
        assert_whole(&Postgres::in_pod(space, "second").numbers(), before, after);
        space.assert_clean();
    });
}
