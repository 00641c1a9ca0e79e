//! The verb `freeze`: a hold of the runtime's keeper, whose commands are our own.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::Evidence,
    runtime::{Command, KeeperProgram, KeeperSpec},
};

use super::place;

/// How long freezing, which writes back what is dirty, and thawing may take. Whoever waits for a disk cannot be ended
/// before anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the keeper is told. It is the same each time: the journal has it before the freeze.
pub(super) fn spec(context: &HookContext) -> Result<KeeperSpec> {
    let volume = context.volume()?;
    let path = volume.to_str().ok_or_else(|| {
        Error::input(format!("{} is not UTF-8", volume.display())).remedy("Mount the file system elsewhere.")
    })?;
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let name = format!("freeze-{:08x}", hasher.finish() >> 32);
    let marker = context.scratch.join(&name).display().to_string();
    let command =
        |order: &str| -> Command { context.runtime.agent(&["hold", super::NAME, order, path, &marker]) };
    let program = KeeperProgram::Pair {
        acquire: command("freeze"),
        confirm: Some((command("check"), "result.exitCode == 0".into())),
        release: command("thaw"),
    };
    Ok(KeeperSpec { name, program, lease: context.lease, timeout: PATIENCE })
}

/// Freezes.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when something of ours is on the file system: nothing was touched then.
pub(super) async fn acquire(context: &HookContext) -> Result<Acquired> {
    let volume = context.volume()?;
    place::whole(volume)?;
    place::supported(volume)?;
    place::nothing_of_ours(context).await?;
    // Once more, and before anybody waits: what is dirty now is what the freeze writes while writers wait.
    place::sync(context).await?;
    let spec = spec(context)?;
    let record = context.runtime.keeper_record(&spec, &context.run)?;
    let kept = context.runtime.keep(&spec, &record).await?;
    let evidence = Evidence::of("frozen", volume.display().to_string());
    Ok(Acquired {
        hold: Box::new(Frozen { kept: kept.hold, evidence }),
        outputs: kept.outputs,
        since: kept.since,
    })
}

/// The keeper's hold, and what it is of.
struct Frozen {
    kept: Box<dyn Hold>,
    evidence: Evidence,
}

#[async_trait]
impl Hold for Frozen {
    async fn renew(&mut self) -> Result<()> {
        self.kept.renew().await
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        Ok(self.evidence.clone().merge(self.kept.confirm().await?))
    }

    async fn release(&mut self) -> Result<Receipt> {
        self.kept.release().await
    }
}
