//! MariaDB in a pod, and somebody who writes to it.

use std::{path::PathBuf, time::Duration};

use super::{Space, client, eventually, place::Outcome, writer::Writer};

/// A shell command that connects to the server of the pod.
const CLIENT: &str = "MYSQL_PWD=$(cat /run/secrets/maria/password) exec mariadb --no-defaults --socket=/run/mysqld/mysqld.sock \
                      --user=root --batch --skip-column-names --unbuffered";
/// The least that backups need, by the blueprints' READMEs.
const GRANTS: &str =
    "RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES";

/// A server in a pod.
pub struct Maria<'a> {
    space: &'a Space,
    pod: String,
    values: PathBuf,
}

impl<'a> Maria<'a> {
    /// Starts the StatefulSet `maria`, with the tables of the tests.
    pub fn start(space: &'a Space) -> Self {
        space.apply_file("mariadb.yaml");
        let server = Self::in_pod(space, "maria-0");
        server.sql(&format!(
            "USE app; CREATE TABLE ballast (id INT PRIMARY KEY, text VARCHAR(200)) AS
                 SELECT seq AS id, REPEAT(MD5(seq), 6) AS text FROM seq_1_to_5000;
             CREATE TABLE orders (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, KEY by_text (text));
             CREATE USER backup@'%' IDENTIFIED BY 'test-secret-of-maria';
             GRANT {GRANTS} ON *.* TO backup@'%';
             DELETE FROM mysql.global_priv WHERE USER = 'root' AND HOST NOT IN ('localhost', '%'); FLUSH PRIVILEGES;"
        ));
        server
    }

    /// A pod of its own with a server on a claim that holds a database already, or on an empty directory.
    pub fn second(space: &'a Space, claim: Option<&str>) -> Self {
        let data = match claim {
            Some(claim) => format!(r#""persistentVolumeClaim": {{"claimName": "{claim}"}}"#),
            None => r#""emptyDir": {}"#.to_owned(),
        };
        space.apply(&format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "second"}}, "spec": {{
              "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false,
              "securityContext": {{"runAsUser": 3306, "runAsGroup": 3306, "runAsNonRoot": true}},
              "containers": [{{"name": "mariadb", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                "command": ["serve-mariadb"], "args": ["--log-bin=binlog", "--server-id=8"],
                "env": [{{"name": "DATADIR", "value": "/var/lib/mysql/data"}},
                        {{"name": "MARIADB_ROOT_PASSWORD_FILE", "value": "/run/secrets/maria/password"}}],
                "readinessProbe": {{"periodSeconds": 1, "exec": {{"command":
                  ["mariadb-admin", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--silent", "ping"]}}}},
                "volumeMounts": [{{"name": "data", "mountPath": "/var/lib/mysql"}},
                  {{"name": "run", "mountPath": "/run/mysqld"}}, {{"name": "run", "mountPath": "/tmp"}},
                  {{"name": "password", "mountPath": "/run/secrets/maria", "readOnly": true}}]}}],
              "volumes": [{{"name": "data", {data}}}, {{"name": "run", "emptyDir": {{}}}},
                {{"name": "password", "secret": {{"secretName": "maria"}}}}]}}}}"#
        ));
        let server = Self { space, pod: "second".to_owned(), values: PathBuf::new() };
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod/second"]);
        server
    }

    fn in_pod(space: &'a Space, pod: &str) -> Self {
        let text = "parameters:\n  password: {secret: {name: maria, key: password}}\n";
        let values = space.place.file("maria.yaml", text);
        let server = Self { space, pod: pod.to_owned(), values };
        eventually(Duration::from_mins(3), &format!("MariaDB in {pod} answers"), || {
            server.try_sql("SELECT 1").is_ok_and(|answer| answer == "1")
        });
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{pod}")]);
        server
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
        let last: i64 = self.sql("SELECT COALESCE(MAX(id), 0) FROM app.orders").parse().unwrap();
        client::writer(self.space, &self.pod, CLIENT, last, |number| {
            (
                format!("INSERT INTO app.orders VALUES ({number}, 'order {number}'); SELECT {number};"),
                number.to_string(),
            )
        })
    }

    /// Every number in `orders`, after the engine's own check of the tables.
    #[track_caller]
    pub fn numbers(&self) -> Vec<i64> {
        let checked = self.sql("CHECK TABLE app.orders, app.ballast EXTENDED");
        assert!(checked.lines().all(|line| line.ends_with("OK")), "{checked}");
        let rows = self.sql("SELECT id FROM app.orders ORDER BY id");
        rows.lines().map(|id| id.parse().unwrap()).collect()
    }

    /// What runs hold in it.
    pub fn held(&self) -> Vec<String> {
        let rows = self.sql(
            "SELECT CONCAT('session ', ID, ': ', COMMAND) FROM information_schema.PROCESSLIST WHERE USER = 'backup';
             SELECT CONCAT('advisory lock of ', IS_USED_LOCK('standstill')) FROM DUAL WHERE IS_USED_LOCK('standstill') IS NOT NULL;",
        );
        let mut held: Vec<String> = rows.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        // One backup at a time: where a stage cannot be begun, somebody is in one.
        if self.try_sql("SET SESSION lock_wait_timeout = 0; BACKUP STAGE START; BACKUP STAGE END;").is_err() {
            held.push("backup stage".to_owned());
        }
        held
    }

    /// Runs a command on a target that must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str], target: &str) -> Outcome {
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
    pub fn back_up(&self, arguments: &[&str]) -> (i64, i64) {
        let writer = self.writer();
        let before = writer.acknowledged();
        let arguments: Vec<&str> = ["backup"].iter().chain(arguments).copied().collect();
        let backup = self.ok(&arguments, "statefulset/maria");
        let after = writer.stop() + 1;
        assert_eq!(backup.json()["consistency"], "application", "{backup}");
        assert_eq!(self.held(), Vec::<String>::new());
        let verified = self.ok(&["verify", "latest"], "statefulset/maria");
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
        self.space.assert_clean();
        (before, after)
    }
}
