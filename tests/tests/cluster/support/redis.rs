//! Redis in a pod, and somebody who writes to it.

use std::{path::PathBuf, time::Duration};

use super::{
    Space, client, eventually,
    place::{Outcome, Started},
    writer::Writer,
};

/// A shell command that connects to the server of the pod.
const CLIENT: &str = "REDISCLI_AUTH=$(cat /run/secrets/redis/password) exec stdbuf -oL redis-cli";
/// What rewrites wait for by default, in bytes.
const MIN_SIZE: &str = "67108864";

/// A server in a pod.
pub struct Redis<'a> {
    space: &'a Space,
    pod: &'static str,
    values: PathBuf,
}

impl<'a> Redis<'a> {
    /// Starts the StatefulSet `redis`, with some keys and a user that may do just what is said, as a README has it.
    pub fn start(space: &'a Space, permissions: &str) -> Self {
        space.apply_file("redis.yaml");
        let text = "parameters:\n  dataDir: /var/lib/redis\n  user: backup\n  password: {secret: {name: redis, key: password}}\n\
                    target: {workload: statefulset/redis}\n";
        let server = Self { space, pod: "redis-0", values: space.place.file("redis.yaml", text) };
        server.await_ready();
        server.ask(&format!("ACL SETUSER backup on >test-secret-of-redis {permissions}"));
        server.ask("EVAL \"for i = 1, 5000 do redis.call('SET', 'ballast:' .. i, string.rep(i, 40)) end\" 0");
        server
    }

    /// Starts the StatefulSet `redis` with two pods, each a primary of its own, with such a user in both.
    pub fn start_two(space: &'a Space, permissions: &str) -> [Self; 2] {
        let first = Self::start(space, permissions);
        space.kubectl(&["scale", "statefulset/redis", "--replicas=2"]);
        eventually(Duration::from_mins(1), "there is a second pod", || {
            space.try_kubectl(&["get", "pod", "redis-1"]).status.success()
        });
        let second = Self { space, pod: "redis-1", values: first.values.clone() };
        second.await_ready();
        second.ask(&format!("ACL SETUSER backup on >test-secret-of-redis {permissions}"));
        for server in [&first, &second] {
            server.ask("CONFIG SET masterauth test-secret-of-redis");
        }
        [first, second]
    }

    /// Makes it a replica of another one, or of nobody.
    #[track_caller]
    pub fn follow(&self, primary: Option<&Self>) {
        let Some(primary) = primary else {
            assert_eq!(self.ask("REPLICAOF NO ONE"), "OK");
            return;
        };
        assert_eq!(self.ask(&format!("REPLICAOF {} 6379", primary.address())), "OK");
    }

    /// Waits until it has what its primary has.
    #[track_caller]
    pub fn await_replicated(&self) {
        eventually(Duration::from_mins(1), "the replica has caught up", || {
            self.ask("INFO replication").contains("master_link_status:up")
        });
    }

    /// The address of its pod.
    #[track_caller]
    pub fn address(&self) -> String {
        self.space.kubectl(&["get", "pod", self.pod, "--output=jsonpath={.status.podIP}"])
    }

    /// What tells this server from every other.
    #[track_caller]
    pub fn run_id(&self) -> String {
        let info = self.ask("INFO server");
        let id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        id.unwrap().trim().to_owned()
    }

    /// A pod of its own with a server on a claim that holds its files already.
    pub fn second(space: &'a Space, claim: &str, appends: bool) -> Self {
        let appends = if appends { "yes" } else { "no" };
        space.apply(&format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "second"}}, "spec": {{
              "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false,
              "securityContext": {{"runAsUser": 6379, "runAsGroup": 6379, "runAsNonRoot": true}},
              "containers": [{{"name": "redis", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                "command": ["serve-redis", "--appendonly", "{appends}"],
                "env": [{{"name": "DATADIR", "value": "/var/lib/redis"}},
                        {{"name": "REDIS_PASSWORD_FILE", "value": "/run/secrets/redis/password"}}],
                "volumeMounts": [{{"name": "data", "mountPath": "/var/lib/redis"}},
                  {{"name": "password", "mountPath": "/run/secrets/redis", "readOnly": true}}]}}],
              "volumes": [{{"name": "data", "persistentVolumeClaim": {{"claimName": "{claim}"}}}},
                {{"name": "password", "secret": {{"secretName": "redis"}}}}]}}}}"#
        ));
        let server = Self { space, pod: "second", values: PathBuf::new() };
        server.await_ready();
        server
    }

    #[track_caller]
    fn await_ready(&self) {
        eventually(Duration::from_mins(2), &format!("Redis in {} answers", self.pod), || {
            client::ask(self.space, self.pod, CLIENT, "PING\n").is_ok_and(|answer| answer == "PONG")
        });
        self.space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{}", self.pod)]);
    }

    /// Gives a command; the answer.
    #[track_caller]
    pub fn ask(&self, command: &str) -> String {
        client::ask(self.space, self.pod, CLIENT, &format!("{command}\n"))
            .unwrap_or_else(|cause| panic!("{command}: {cause}"))
    }

    /// Somebody who writes to it, over a connection inside the pod.
    pub fn writer(&self) -> Writer {
        let last = self.numbers().last().copied().unwrap_or_default();
        client::writer(self.space, self.pod, CLIENT, last, |number| {
            (format!("ZADD orders {number} {number}"), "1".to_owned())
        })
    }

    /// Every number that was written.
    #[track_caller]
    pub fn numbers(&self) -> Vec<i64> {
        let said = self.ask("ZRANGE orders 0 -1");
        said.lines().filter(|line| !line.is_empty()).map(|number| number.parse().unwrap()).collect()
    }

    /// What runs hold in it.
    #[track_caller]
    pub fn held(&self) -> Vec<String> {
        let clients = self.ask("CLIENT LIST");
        let mut held: Vec<String> =
            clients.lines().filter(|line| line.contains("name=standstill")).map(str::to_owned).collect();
        let setting = self.ask("CONFIG GET auto-aof-rewrite-min-size");
        if setting.lines().last() != Some(MIN_SIZE) {
            held.push(format!("rewrites are held off: {setting}"));
        }
        held
    }

    /// Starts a backup.
    #[track_caller]
    pub fn start_backup(&self, blueprint: &str, more: &[&str]) -> Started {
        let values = self.values.to_str().unwrap();
        let arguments = ["backup", blueprint, "--name=carts", "--output=json", "--values", values];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.start(&arguments)
    }

    /// Runs `restore` or `verify` of the newest recovery point, which must succeed.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let values = self.values.to_str().unwrap();
        let arguments = [command, "latest", "--output=json", "--values", values];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let outcome = self.space.run(&arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome
    }
}
