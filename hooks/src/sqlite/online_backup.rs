//! The gentle way: a consistent copy is made while the application goes on writing. Nothing stays held.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Outputs},
    units::milliseconds,
};

use super::{
    arguments::{self, FactsWanted},
    client::ask,
    facts,
    task::{BackedUp, BackupTask, Database, JournalMode, Task},
};

/// A ceiling for a helper that hangs; the step's timeout and the run's cancellation come first.
const WITHIN: Duration = Duration::from_hours(24);

/// Makes the copy.
///
/// # Errors
/// [`standstill_core::ErrorKind::Damaged`] when the copy, and so the database, is damaged.
pub(super) async fn acquire(
    context: &HookContext,
    arguments: arguments::OnlineBackup,
    database: Database,
) -> Result<Acquired> {
    let file = database.file.clone();
    // One directory for each file, so that several holds of one run do not meet.
    let into = context.scratch.join(format!("sqlite-{}", file.to_string_lossy().replace('/', "%")));
    let task = Task::Backup(BackupTask {
        database,
        method: arguments.method,
        into: into.clone(),
        block_milliseconds: milliseconds(arguments.max_block.duration()?),
        integrity: arguments.integrity,
        tables: (arguments.facts == FactsWanted::Exact).then_some(arguments.tables),
    });
    let started = Instant::now();
    let copy: BackedUp = ask(context, &task, WITHIN).await?;
    let ended = Instant::now();
    if let Some([first, ..]) = copy.problems.as_deref() {
        return Err(Error::damaged(format!("{} is damaged: {first}", file.display()))
            .remedy("Restore it from an earlier recovery point; this backup was not kept."));
    }
    let outputs = Outputs::from([
        ("files".to_owned(), json!({ "directory": into })),
        ("journalMode".to_owned(), copy.journal_mode.as_str().into()),
        ("pageCount".to_owned(), copy.page_count.into()),
        ("bytes".to_owned(), copy.bytes.into()),
    ]);
    // The helper started after, and ended before, what was measured here.
    let since = started + Duration::from_micros(copy.cut_microseconds);
    let released = ended.checked_sub(Duration::from_micros(copy.after_microseconds)).unwrap_or(ended);
    let evidence = Evidence::of("pageCount", copy.page_count)
        .and("bytes", copy.bytes)
        .and("integrityCheck", if copy.problems.is_some() { Value::from("ok") } else { Value::Null });
    let receipt = Receipt {
        evidence: evidence.clone(),
        outputs: Outputs::new(),
        facts: facts::of(&file, &copy.counts),
        released,
        froze: (copy.journal_mode == JournalMode::Rollback)
            .then(|| Duration::from_micros(copy.froze_microseconds)),
    };
    Ok(Acquired { hold: Box::new(Copied { evidence, receipt }), outputs, since })
}

/// What is left of a moment: its proof.
struct Copied {
    evidence: Evidence,
    receipt: Receipt,
}

#[async_trait]
impl Hold for Copied {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        Ok(self.evidence.clone())
    }

    async fn release(&mut self) -> Result<Receipt> {
        Ok(self.receipt.clone())
    }
}
