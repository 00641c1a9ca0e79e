//! The lock that keeps runs on other hosts away from the same server: a name of a connection.
//!
//! The server has no locks, and the application's keys are not ours to write. But every connection may have a name,
//! all can be listed, and a name goes with its connection.

use std::time::Duration;

use async_trait::async_trait;
use standstill_core::{Error, ErrorKind, Result, hook::HookContext, lock::LockGuard};

use super::connect::{LOOKUP, Session};
use crate::server::lock::{Watched, guard, idle};

/// What the name of a lock's connection begins with; the run follows. The same in every version, for ever.
const NAME: &str = "standstill-run:";

/// The session that has the lock.
struct Named(Session);

#[async_trait]
impl Watched for Named {
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    async fn ask(&self, within: Duration) -> Result<()> {
        self.0.command(within, "keep the lock", &["PING"]).await.map(drop)
    }
}

/// Takes the lock without waiting. Of two that come at the same time one is turned away, perhaps both.
///
/// # Errors
/// [`standstill_core::ErrorKind::Locked`] when another run has it.
pub(super) async fn take(context: &HookContext) -> Result<Box<dyn LockGuard>> {
    let session = Session::open(context).await?;
    let name = format!("{NAME}{}", context.run);
    let _ok: String =
        session.ask(LOOKUP, "name the connection (CLIENT SETNAME)", &["CLIENT", "SETNAME", &name]).await?;
    let list: String = session.ask(LOOKUP, "list the connections (CLIENT LIST)", &["CLIENT", "LIST"]).await?;
    if let Some((run, address)) = other(&list, &name, idle(context.lease)) {
        return Err(Error::new(
            ErrorKind::Locked,
            format!("another run ({run}, from {address}) is working on the server at {}", session.place()),
        )
        .remedy("Wait until it is done, or end it; its lock ends with it."));
    }
    guard(Named(session), context.lease)
}

/// The run of another live connection with such a name, and where it comes from. A connection that was silent for
/// long is one whose client is gone without a word.
fn other<'list>(list: &'list str, own: &str, patience: Duration) -> Option<(&'list str, &'list str)> {
    list.lines().find_map(|line| {
        let field = |wanted: &str| {
            let mut pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(name, value)| (name == wanted).then_some(value))
        };
        let name = field("name")?;
        let run = name.strip_prefix(NAME)?;
        let silent = field("idle")?.parse().map_or(Duration::ZERO, Duration::from_secs);
        (name != own && silent < patience).then(|| (run, field("addr").unwrap_or("somewhere")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 name=app idle=0 flags=N\n\
        id=4 addr=10.0.0.1:5 name=standstill-run:abc idle=7 flags=N\n\
        id=5 addr=10.0.0.2:5 name=standstill-run:def idle=0 flags=N\n";

    #[test]
    fn another_run_is_found_by_the_name_of_its_connection() {
        let found = other(LIST, "standstill-run:def", Duration::from_secs(30));
        assert_eq!(found, Some(("abc", "10.0.0.1:5")));
    }

    #[test]
    fn neither_ones_own_connection_nor_a_silent_one_is_another_run() {
        assert_eq!(other(LIST, "standstill-run:def", Duration::from_secs(5)), None);
        assert_eq!(other(LIST, "standstill-run:def", Duration::from_secs(5)), None);
        assert_eq!(other("", "standstill-run:def", Duration::from_secs(30)), None);
    }
}
