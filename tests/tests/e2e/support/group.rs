//! A group: orders in PostgreSQL, and an index of them in SQLite, written in this order.

use std::path::Path;

use super::{
    database::Database,
    postgresql::{Server, Session, Version},
    sqlite::{self, Sqlite},
    writer::{Commit, Writer},
};

/// The group's text.
pub const TEXT: &str = "apiVersion: standstill.dev/v1alpha1
kind: Group
metadata: {name: shop}
spec:
  summary: Orders, and an index of them that is written after them
  members:
    - {name: orders, blueprint: postgresql}
    - {name: index, blueprint: sqlite}
";

/// Both databases.
pub struct Group {
    pub orders: Server,
    pub index: Sqlite,
}

impl Group {
    /// Makes both in directories of their own.
    pub fn make(version: &Version, orders: &Path, index: &Path, sockets: &Path) -> Self {
        let orders = Server::make(version, orders, sockets, "");
        orders.sql("CREATE DATABASE app");
        orders.make_tables("app");
        Self { orders, index: Sqlite::make(index) }
    }
}

/// The numbers of the index, all of which must be among the orders.
fn judge(orders: &[i64], index: Vec<i64>) -> Result<Vec<i64>, String> {
    let orders: std::collections::BTreeSet<i64> = orders.iter().copied().collect();
    let lost = index.iter().filter(|number| !orders.contains(number)).count();
    if lost == 0 { Ok(index) } else { Err(format!("{lost} rows of the index have no order")) }
}

impl Database for Group {
    fn writer(&self) -> Writer {
        let (sockets, port) = (self.orders.sockets.clone(), self.orders.port);
        let file = self.index.directory.join(sqlite::FILE);
        let last =
            self.index.open().query_row("SELECT coalesce(max(id), 0) FROM orders", (), |row| row.get(0));
        Writer::start(last.unwrap(), move || {
            let orders = Session::open(&sockets, port, "app");
            let index = sqlite::open(&file);
            let commit: Commit = Box::new(move |number| {
                // A number whose index failed may be there from an earlier writer.
                orders.run(&format!(
                    "INSERT INTO orders VALUES ({number}, 'order {number}') ON CONFLICT DO NOTHING"
                ))?;
                let inserted = index.execute("INSERT INTO orders VALUES (?1, ?1)", [number]);
                inserted.map(|_| ()).map_err(|cause| cause.to_string())
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        [Database::held(&self.orders), self.index.held()].concat()
    }

    fn read_copy(&self, copy: &Path) -> Vec<i64> {
        let orders = self.orders.read_copy(&copy.join("orders"));
        judge(&orders, self.index.read_copy(&copy.join("index"))).unwrap()
    }

    fn plain_copy(&self, to: &Path) -> bool {
        std::fs::create_dir(to).unwrap();
        self.orders.plain_copy(&to.join("orders")) && self.index.plain_copy(&to.join("index"))
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        let orders = self.orders.read_careless_copy(&copy.join("orders"))?;
        judge(&orders, self.index.read_careless_copy(&copy.join("index"))?)
    }
}
