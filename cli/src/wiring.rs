//! Wires the crates together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    hook::Hooks,
    journal::JournalStore,
    language::{Scope, holds},
    repository::Repository,
    runner::{Host, Observer},
    runtime::Runtime,
    secret::ProcessSecrets,
};
use standstill_hooks::Registry;
use standstill_local::{LocalJournals, LocalLocks, LocalRuntime, StateDir};

/// All hooks.
pub fn hooks() -> Arc<dyn Hooks> {
    Arc::new(Registry::new())
}

/// The journals of a state directory.
pub fn journals(state: &StateDir) -> Result<Arc<dyn JournalStore>> {
    with_failpoints(Arc::new(LocalJournals::new(state)))
}

/// In builds for the crash matrix: journals at whose points this process can be made to die.
pub fn with_failpoints(journals: Arc<dyn JournalStore>) -> Result<Arc<dyn JournalStore>> {
    #[cfg(feature = "failpoints")]
    return Ok(Arc::new(crate::failpoints::FailingJournals::new(journals)?));
    #[cfg(not(feature = "failpoints"))]
    Ok(journals)
}

/// The runtime of this machine, or of the pod that this process runs in. `helpers` is the socket of the container for
/// helpers, where there is one.
pub fn runtime(state: &StateDir, lease: Duration, helpers: Option<PathBuf>) -> Result<Arc<dyn Runtime>> {
    let agent = std::env::current_exe()
        .map_err(|cause| Error::failed("this program's own file cannot be found").because(cause))?;
    let expectation = Arc::new(|expression: &str, result: &serde_json::Value| {
        let mut scope = Scope::default();
        scope.insert("result", result.clone());
        holds(expression, &scope)
    });
    let runtime = LocalRuntime::new(&agent, None, state, lease, expectation)?;
    Ok(Arc::new(match helpers {
        Some(socket) => runtime.with_helpers(socket),
        None => runtime,
    }))
}

/// The seams on this machine. `state` is where runs leave what must outlive them, `lease` how long children may
/// outlive this process.
pub fn host(
    state: &StateDir,
    repository: Option<Arc<dyn Repository>>,
    observer: Arc<dyn Observer>,
    lease: Duration,
) -> Result<Host> {
    Ok(Host {
        hooks: hooks(),
        runtime: runtime(state, lease, None)?,
        repository,
        journals: journals(state)?,
        locks: Arc::new(LocalLocks::new(state)),
        secrets: Arc::new(ProcessSecrets),
        observer,
    })
}
