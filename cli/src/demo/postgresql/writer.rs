//! The writer's connection.

use standstill_core::{Error, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};

use super::{
    super::{application::note, writer::Orders},
    server::connect,
};

/// A connection that inserts one order at a time, each in a transaction of its own.
pub struct Writer {
    client: Client,
    insert: Statement,
    /// Drives the connection whenever a statement is waited for. Dropped last.
    runtime: Runtime,
}

impl Writer {
    pub fn connect(sockets: &str, port: &str) -> Result<Self> {
        let port =
            port.parse().map_err(|cause| Error::input(format!("`{port}` is not a port")).because(cause))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::failed("the writer cannot start").because(cause))?;
        let connected = runtime.block_on(async {
            let client = connect(sockets, port).await?;
            let insert = client.prepare("INSERT INTO orders (id, note) VALUES ($1, $2)").await?;
            Ok((client, insert))
        });
        let (client, insert) = connected.map_err(failed("connect to"))?;
        Ok(Self { client, insert, runtime })
    }
}

fn failed(attempt: &str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let message = format!("the writer cannot {attempt} the database");
    |cause| Error::failed(message).because(cause)
}

impl Orders for Writer {
    fn last(&mut self) -> Result<u64> {
        let row = self.runtime.block_on(self.client.query_one("SELECT max(id) FROM orders", &[]));
        let last: i64 = row.and_then(|row| row.try_get(0)).map_err(failed("read"))?;
        Ok(last.cast_unsigned())
    }

    fn place(&mut self, id: u64) -> Result<()> {
        let (id, note) = (id.cast_signed(), note(id));
        let placed = self.runtime.block_on(self.client.execute(&self.insert, &[&id, &note]));
        placed.map(drop).map_err(failed("insert into"))
    }
}
