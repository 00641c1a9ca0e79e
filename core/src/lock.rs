//! One run per target at a time.

use async_trait::async_trait;

use crate::{Result, point::RunId};

/// A lock that is held until it is dropped; a dead process does not keep it.
#[async_trait]
pub trait LockGuard: Send + Sync {
    /// Whether the lock is still held, as whoever keeps it says now (a server's lock is lost with its session). One
    /// that does not answer in time counts as lost.
    async fn is_held(&self) -> bool;
}

/// Locks on the identity of a database.
#[async_trait]
pub trait TargetLock: Send + Sync {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Locked`], naming the run that has it.
    async fn acquire(&self, identity: &str, run: &RunId) -> Result<Box<dyn LockGuard>>;
}
