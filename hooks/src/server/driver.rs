//! The thread that serves all sessions.

use std::sync::OnceLock;

use standstill_core::{Error, Result};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// Where all sessions' sockets are served: a thread of its own, so that neither a busy upload on the runner's
/// threads nor the end of the runtime that opened a session keeps a renewal from going out.
fn driver() -> Result<&'static Handle> {
    static DRIVER: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = DRIVER.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).thread_name("sessions").enable_all().build().ok()
    });
    let runtime = runtime.as_ref().ok_or_else(|| Error::failed("no thread can be started for sessions"))?;
    Ok(runtime.handle())
}

/// Runs something to its end beside the sessions, whether or not it is still awaited.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn spawn<F>(future: F) -> Result<JoinHandle<F::Output>>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    Ok(driver()?.spawn(future))
}

/// A task that ends with the future that waits for it, so a connection that comes too late is closed again.
pub(crate) struct AbortOnDrop<T>(pub JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
