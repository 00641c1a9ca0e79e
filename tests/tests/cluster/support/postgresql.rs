//! PostgreSQL in a pod, and somebody who writes to it.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{
    Space, client, eventually,
    place::{Outcome, Started},
    writer::{Commit, Writer},
};

/// The server's password, as its manifest says it.
pub const PASSWORD: &str = "test-secret-of-pg";
/// A shell command that connects to the server of the pod.
const CLIENT: &str = "PGPASSWORD=$(cat /run/secrets/pg/password) exec psql --no-psqlrc --quiet --tuples-only \
                      --no-align --set=ON_ERROR_STOP=1 --host=/run/postgresql --username=postgres --dbname=app";

/// A server in a pod `NAME-0` or `NAME`.
pub struct Postgres<'a> {
    space: &'a Space,
    pod: String,
    values: PathBuf,
}

impl<'a> Postgres<'a> {
    /// Starts the StatefulSet `pg`, with the tables of the tests.
    pub fn start(space: &'a Space) -> Self {
        space.apply_file("postgres.yaml");
        let values = space.place.file(
            "values.yaml",
            "parameters:\n  dataDir: /var/lib/postgresql/data\n  database: app\n  password: {secret: {name: pg, key: password}}\n\
             target: {workload: statefulset/pg}\n",
        );
        let server = Self { space, pod: "pg-0".to_owned(), values };
        server.await_ready();
        server.sql(
            "CREATE TABLE ballast AS SELECT n AS id, repeat(md5(n::text), 6) AS text FROM generate_series(1, 20000) n;
             CREATE TABLE orders (id bigint PRIMARY KEY, text text NOT NULL);
             CREATE INDEX by_text ON orders (text);",
        );
        server
    }

    /// Starts a server on a claim that holds a database already.
    pub fn on_claim(space: &'a Space, claim: &str) -> Self {
        let pod = format!("from-{claim}");
        space.apply(&format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{pod}"}}, "spec": {{
              "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false,
              "securityContext": {{"runAsUser": 5432, "runAsGroup": 5432, "runAsNonRoot": true}},
              "containers": [{{"name": "postgres", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                "command": ["serve-postgresql"],
                "env": [{{"name": "PGDATA", "value": "/var/lib/postgresql/data"}},
                        {{"name": "POSTGRES_PASSWORD_FILE", "value": "/run/secrets/pg/password"}}],
                "volumeMounts": [{{"name": "data", "mountPath": "/var/lib/postgresql"}},
                  {{"name": "run", "mountPath": "/run/postgresql"}}, {{"name": "run", "mountPath": "/tmp"}},
                  {{"name": "password", "mountPath": "/run/secrets/pg", "readOnly": true}}]}}],
              "volumes": [{{"name": "data", "persistentVolumeClaim": {{"claimName": "{claim}"}}}},
                {{"name": "run", "emptyDir": {{}}}},
                {{"name": "password", "secret": {{"secretName": "pg"}}}}]}}}}"#
        ));
        Self::in_pod(space, &pod)
    }

    /// The server of a pod that has the database already.
    pub fn in_pod(space: &'a Space, pod: &str) -> Self {
        let server = Self { space, pod: pod.to_owned(), values: PathBuf::new() };
        server.await_ready();
        server
    }

    /// Waits until it answers.
    #[track_caller]
    pub fn await_ready(&self) {
        eventually(Duration::from_mins(3), &format!("PostgreSQL in {} answers", self.pod), || {
            self.try_sql("SELECT 1").is_ok_and(|answer| answer == "1")
        });
        let ready = format!("pod/{}", self.pod);
        self.space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &ready]);
    }

    fn try_sql(&self, sql: &str) -> Result<String, String> {
        client::ask(self.space, &self.pod, CLIENT, sql)
    }

    /// Runs statements; what they say.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"))
    }

    /// Somebody who writes to it, over a connection inside the pod.
    pub fn writer(&self) -> Writer {
        let last: i64 = self.sql("SELECT coalesce(max(id), 0) FROM orders").parse().unwrap();
        Writer::start(last, self.commits())
    }

    /// What such a writer does.
    pub fn commits(&self) -> impl FnOnce() -> Commit + Send + use<> {
        client::commits(self.space, &self.pod, CLIENT, |number| {
            (
                format!("INSERT INTO orders VALUES ({number}, 'order {number}') RETURNING id;"),
                number.to_string(),
            )
        })
    }

    /// Every number in `orders`, after `pg_amcheck` of the whole database.
    pub fn numbers(&self) -> Vec<i64> {
        let check = "PGPASSWORD=$(cat /run/secrets/pg/password) exec pg_amcheck --heapallindexed --install-missing \
                     --host=/run/postgresql --username=postgres app";
        self.space.kubectl(&["exec", &self.pod, "--", "sh", "-c", check]);
        let rows = self.sql("SELECT id FROM orders ORDER BY id");
        rows.lines().map(|id| id.parse().unwrap()).collect()
    }

    /// What runs hold in it.
    pub fn held(&self) -> Vec<String> {
        let rows = self.sql(
            "SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL
             SELECT 'session ' || application_name FROM pg_stat_activity WHERE application_name LIKE 'standstill%'
             UNION ALL SELECT 'advisory lock of ' || pid FROM pg_locks WHERE locktype = 'advisory'",
        );
        rows.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The values that say where it is.
    pub fn values(&self) -> &str {
        self.values.to_str().unwrap()
    }

    /// Starts a backup with more environment variables.
    #[track_caller]
    pub fn start_backup_with(&self, env: &[(&str, OsString)]) -> Started {
        let values = self.values.to_str().unwrap();
        let arguments = ["backup", "postgresql", "--name=pg", "--output=json", "--values", values];
        self.space.start_with(&arguments, env)
    }

    /// Starts a backup with more arguments.
    #[track_caller]
    pub fn start_backup(&self, blueprint: &str, more: &[&str]) -> Started {
        let values = self.values.to_str().unwrap();
        let arguments = ["backup", blueprint, "--name=pg", "--output=json", "--values", values];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.start(&arguments)
    }

    /// Runs a backup with more arguments.
    #[track_caller]
    pub fn backup(&self, more: &[&str]) -> Outcome {
        self.start_backup("postgresql", more).wait()
    }

    /// Runs `restore` or `verify` of the newest recovery point.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let values = self.values.to_str().unwrap();
        let arguments = [command, "latest", "--output=json", "--values", values];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.run(&arguments)
    }
}
