//! A group: orders in PostgreSQL, and an index of them in MariaDB, written in this order.

use super::{
    Postgres, Space,
    mariadb::{MARIADB, Server},
    place::{Outcome, Started},
    writer::{Commit, Writer, assert_whole},
};

/// The group's text. Writes to the index wait; those to the orders go on.
const TEXT: &str = "apiVersion: standstill.dev/v1alpha1
kind: Group
metadata: {name: shop}
spec:
  summary: Orders, and an index of them that is written after them
  lease: 5s
  members:
    - {name: orders, blueprint: postgresql, parameters: {dataDir: /var/lib/postgresql/data, database: app}}
    - {name: index, blueprint: mariadb, parameters: {dataDir: /var/lib/mysql/data, user: backup, stage: block-commit}}
";
/// Which pods the members are, and their passwords.
const VALUES: &str = "parameters:
  orders.password: {secret: {name: pg, key: password}}
  index.password: {secret: {name: maria, key: password}}
target: {orders.workload: statefulset/pg, index.workload: statefulset/maria}
";

/// Both databases.
pub struct Group<'a> {
    space: &'a Space,
    pub orders: Postgres<'a>,
    pub index: Server<'a>,
    blueprint: String,
    values: String,
}

impl<'a> Group<'a> {
    /// Starts both.
    pub fn start(space: &'a Space) -> Self {
        let file = |name: &str, text: &str| space.place.file(name, text).to_str().unwrap().to_owned();
        let (blueprint, values) = (file("shop.yaml", TEXT), file("shop-values.yaml", VALUES));
        Self {
            orders: Postgres::start(space),
            index: Server::start(space, &MARIADB),
            space,
            blueprint,
            values,
        }
    }

    /// Somebody who writes to both, over connections inside the pods.
    pub fn writer(&self) -> Writer {
        let (to_orders, to_index) = (self.orders.commits(), self.index.commits());
        Writer::start(0, move || {
            let (mut order, mut index) = (to_orders(), to_index());
            let commit: Commit = Box::new(move |number| {
                order(number)?;
                index(number)
            });
            commit
        })
    }

    /// What runs hold in either.
    pub fn held(&self) -> Vec<String> {
        [self.orders.held(), self.index.held()].concat()
    }

    /// Starts a backup.
    #[track_caller]
    pub fn start_backup(&self, more: &[&str]) -> Started {
        let arguments = ["backup", &self.blueprint, "--output=json", "--values", &self.values];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.start(&arguments)
    }

    /// Starts a backup of the index alone.
    #[track_caller]
    pub fn start_backup_of_index(&self) -> Started {
        let arguments = ["backup", "mariadb", "--name=index", "--output=json", "--set=user=backup"];
        let server = ["--set=dataDir=/var/lib/mysql/data", "--set=password=secret:maria/password"];
        let target = ["--set=target.workload=statefulset/maria", "--set=lease=5s"];
        self.space.start(&[&arguments[..], &server, &target].concat())
    }

    /// Runs `restore` or `verify` of the newest recovery point, which must succeed.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let arguments = [command, "latest", "--output=json"];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let outcome = self.space.run(&arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome
    }

    /// The file with the values of both.
    pub fn values(&self) -> &str {
        &self.values
    }

    /// Asserts that copies on two claims fit together: no row of the index is without its order.
    #[track_caller]
    pub fn assert_whole(&self, orders: &str, index: &str, before: i64, after: i64) {
        let orders = Postgres::on_claim(self.space, orders).numbers();
        let index = Server::second(self.space, &MARIADB, Some(index)).numbers();
        assert_whole(&orders, before, after);
        assert_whole(&index, before, after);
        assert!(index.len() <= orders.len(), "{} rows in the index of {} orders", index.len(), orders.len());
    }
}
