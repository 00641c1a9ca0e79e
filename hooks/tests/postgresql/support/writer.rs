use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::task::JoinHandle;

use super::Server;

/// Inserts one row a commit into `orders`, and knows which were acknowledged. Older rows are updated too, so that
/// pages all over the table change.
pub struct Writer {
    acknowledged: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// The table that the writer writes to, with enough rows to make a copy take a moment.
pub const TABLE: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, note text); \
    CREATE SEQUENCE ticket; \
    INSERT INTO orders SELECT -n, repeat('x', 200) FROM generate_series(1, 20000) n";

impl Writer {
    pub async fn start(server: &Server) -> Self {
        server.run_sql(TABLE).await;
        let (acknowledged, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let client = server.client("postgres").await;
        let task = {
            let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
            tokio::spawn(async move {
                for id in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let sql = format!(
                        "INSERT INTO orders SELECT {id}, 'note ' || nextval('ticket'); \
                         UPDATE orders SET note = note || '.' WHERE id = -({id} * 37 % 20000 + 1)"
                    );
                    client.batch_execute(&sql).await.unwrap();
                    acknowledged.store(id, Ordering::Release);
                }
            })
        };
        let writer = Self { acknowledged, stop, task };
        writer.goes_on().await;
        writer
    }

    /// The last row whose commit was acknowledged.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Waits until ten more rows are acknowledged.
    pub async fn goes_on(&self) {
        let until = self.acknowledged() + 10;
        let waiting = async {
            while self.acknowledged() < until {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("the writer goes on");
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}
