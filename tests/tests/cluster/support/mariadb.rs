//! MariaDB, or what speaks its protocol, in a pod, and somebody who writes to it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Space, client, eventually, image,
    place::{Outcome, Started},
    writer::{Commit, Writer},
};

/// How long a server may take to learn that a run is over: one from outside of the cluster is told of by others.
const SOON: Duration = Duration::from_secs(15);

/// What the servers of one database are, as data.
#[derive(Debug)]
pub struct Flavour {
    /// The name of its StatefulSet and of its Secret.
    pub name: &'static str,
    /// Its image, which is also the name of its manifest and of its container.
    pub image: &'static str,
    /// What serves in a container.
    pub serve: &'static str,
    /// Its client.
    pub client: &'static str,
    /// The client that asks whether it is there.
    pub admin: &'static str,
    /// The variable that says where root's password is.
    pub password_file: &'static str,
    /// The least that backups need, by the blueprints' READMEs.
    pub grants: &'static str,
    /// A table's worth of numbers from 1 to 5000, named `seq`.
    pub numbers: &'static str,
    /// What a new server needs besides.
    pub prepare: &'static str,
    /// What somebody holds, one sentence for each row.
    pub held: &'static str,
    /// Fails while somebody holds the server for a backup; does nothing else.
    pub try_to_hold: &'static str,
}

/// MariaDB.
pub static MARIADB: Flavour = Flavour {
    name: "maria",
    image: "mariadb",
    serve: "serve-mariadb",
    client: "mariadb",
    admin: "mariadb-admin",
    password_file: "MARIADB_ROOT_PASSWORD_FILE",
    grants: "RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES",
    numbers: "SELECT seq FROM seq_1_to_5000",
    // Without a password, and of no use in a pod.
    prepare: "DELETE FROM mysql.global_priv WHERE USER = 'root' AND HOST NOT IN ('localhost', '%'); FLUSH PRIVILEGES;",
    held: "",
    // One backup at a time: where a stage cannot be begun, somebody is in one.
    try_to_hold: "SET SESSION lock_wait_timeout = 0; BACKUP STAGE START; BACKUP STAGE END;",
};

impl Flavour {
    /// Whether the cluster has its image; says so if not.
    pub fn is_here(&self, space: &Space) -> bool {
        image::is_there(&space.state, self.image_name())
    }

    fn image_name(&self) -> &'static str {
        if self.image == "mariadb" { "databases" } else { self.image }
    }

    /// The image, with its registry.
    fn image(&self) -> String {
        format!("standstill.test/{}:1", self.image_name())
    }

    /// A shell command that connects to the server of the pod.
    fn connect(&self) -> String {
        format!(
            "MYSQL_PWD=$(cat /run/secrets/{}/password) exec {} --no-defaults --socket=/run/mysqld/mysqld.sock \
             --user=root --batch --skip-column-names --unbuffered",
            self.name, self.client
        )
    }
}

/// A server in a pod.
pub struct Server<'a> {
    space: &'a Space,
    flavour: &'static Flavour,
    pod: String,
    values: PathBuf,
}

impl<'a> Server<'a> {
    /// Starts the StatefulSet, with the tables of the tests.
    pub fn start(space: &'a Space, flavour: &'static Flavour) -> Self {
        space.apply_file(&format!("{}.yaml", flavour.image));
        let Flavour { name, grants, numbers, prepare, .. } = flavour;
        let server = Self::in_pod(space, flavour, &format!("{name}-0"));
        server.sql(&format!(
            "USE app; CREATE TABLE ballast (id INT PRIMARY KEY, text VARCHAR(200)) AS
                 SELECT seq AS id, REPEAT(SHA2(seq, 224), 3) AS text FROM ({numbers}) AS numbers;
             CREATE TABLE orders (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, KEY by_text (text));
             CREATE USER backup@'%' IDENTIFIED BY 'test-secret-of-{name}';
             GRANT {grants} ON *.* TO backup@'%';
             {prepare}"
        ));
        server
    }

    /// A pod of its own with a server on a claim that holds a database already, or on an empty directory.
    pub fn second(space: &'a Space, flavour: &'static Flavour, claim: Option<&str>) -> Self {
        let data = match claim {
            Some(claim) => format!(r#""persistentVolumeClaim": {{"claimName": "{claim}"}}"#),
            None => r#""emptyDir": {}"#.to_owned(),
        };
        let Flavour { name, serve, admin, password_file, .. } = flavour;
        space.apply(&format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "second"}}, "spec": {{
              "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false,
              "securityContext": {{"runAsUser": 3306, "runAsGroup": 3306, "runAsNonRoot": true}},
              "containers": [{{"name": "second", "image": "{}", "imagePullPolicy": "Never",
                "command": ["{serve}"], "args": ["--log-bin=binlog", "--server-id=8"],
                "env": [{{"name": "DATADIR", "value": "/var/lib/mysql/data"}},
                        {{"name": "{password_file}", "value": "/run/secrets/{name}/password"}}],
                "readinessProbe": {{"periodSeconds": 1, "exec": {{"command":
                  ["{admin}", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--silent", "ping"]}}}},
                "volumeMounts": [{{"name": "data", "mountPath": "/var/lib/mysql"}},
                  {{"name": "run", "mountPath": "/run/mysqld"}}, {{"name": "run", "mountPath": "/tmp"}},
                  {{"name": "password", "mountPath": "/run/secrets/{name}", "readOnly": true}}]}}],
              "volumes": [{{"name": "data", {data}}}, {{"name": "run", "emptyDir": {{}}}},
                {{"name": "password", "secret": {{"secretName": "{name}"}}}}]}}}}"#,
            flavour.image()
        ));
        let server = Self { space, flavour, pod: "second".to_owned(), values: PathBuf::new() };
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod/second"]);
        server
    }

    fn in_pod(space: &'a Space, flavour: &'static Flavour, pod: &str) -> Self {
        let text =
            format!("parameters:\n  password: {{secret: {{name: {}, key: password}}}}\n", flavour.name);
        let values = space.place.file("password.yaml", &text);
        let server = Self { space, flavour, pod: pod.to_owned(), values };
        eventually(Duration::from_mins(3), &format!("the server in {pod} answers"), || {
            server.try_sql("SELECT 1").is_ok_and(|answer| answer == "1")
        });
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{pod}")]);
        server
    }

    fn try_sql(&self, sql: &str) -> Result<String, String> {
        client::ask(self.space, &self.pod, &self.flavour.connect(), sql)
    }

    /// Runs statements; what they say.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"))
    }

    /// Somebody who writes to it, over a connection inside the pod.
    pub fn writer(&self) -> Writer {
        let last: i64 = self.sql("SELECT COALESCE(MAX(id), 0) FROM app.orders").parse().unwrap();
        Writer::start(last, self.commits())
    }

    /// What such a writer does.
    pub fn commits(&self) -> impl FnOnce() -> Commit + Send + use<> {
        client::commits(self.space, &self.pod, &self.flavour.connect(), |number| {
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
        let rows = self.sql(&format!(
            "SELECT CONCAT('session ', ID, ': ', COMMAND) FROM information_schema.PROCESSLIST WHERE USER = 'backup';
             SELECT CONCAT('advisory lock of ', IS_USED_LOCK('standstill')) FROM DUAL WHERE IS_USED_LOCK('standstill') IS NOT NULL;
             {}",
            self.flavour.held
        ));
        let mut held: Vec<String> = rows.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if self.try_sql(self.flavour.try_to_hold).is_err() {
            held.push("a backup".to_owned());
        }
        held
    }

    /// The target that it is.
    pub fn target(&self) -> String {
        format!("statefulset/{}", self.flavour.name)
    }

    /// Starts a command on a target.
    #[track_caller]
    pub fn begin(&self, arguments: &[&str], target: &str) -> Started {
        let values = self.values.to_str().unwrap();
        let target = format!("--set=target.workload={target}");
        let common = ["--output=json", "--values", values, &target];
        let arguments: Vec<&str> = arguments.iter().chain(&common).copied().collect();
        self.space.start(&arguments)
    }

    /// Runs a command on a target that must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str], target: &str) -> Outcome {
        let outcome = self.begin(arguments, target).wait();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        println!("{}: {:?}, writes waited {}", arguments[0], outcome.took, outcome.json()["freeze"]);
        outcome
    }

    /// Backs up under a writer and verifies; the last row that was acknowledged before, and the last begun after.
    pub fn back_up(&self, arguments: &[&str]) -> (i64, i64) {
        let writer = self.writer();
        let before = writer.acknowledged();
        let arguments: Vec<&str> = ["backup"].iter().chain(arguments).copied().collect();
        let target = self.target();
        let since = Instant::now();
        let backup = self.ok(&arguments, &target);
        println!("the longest stall of the writer: {:?}", writer.longest_stall(since));
        let after = writer.stop() + 1;
        assert_eq!(backup.json()["consistency"], "application", "{backup}");
        eventually(SOON, "no session is left", || self.held().is_empty());
        let verified = self.ok(&["verify", "latest"], &target);
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
        self.space.assert_clean();
        (before, after)
    }
}
