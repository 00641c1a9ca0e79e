//! The tasks of steps that are done at the same time.

use tokio::task::JoinHandle;

use crate::{Error, Result};

/// Waits for tasks until all have ended, or until `interrupted` says why nobody may wait any longer. Then those that have
/// not ended are the caller's to wait for. One that has ended is never among them: asking it again would be a panic.
pub(super) async fn ended_early<W, E>(
    tasks: Vec<JoinHandle<()>>,
    interrupted: impl Fn() -> W,
) -> Option<(E, Vec<JoinHandle<()>>)>
where
    W: Future<Output = E>,
{
    let mut left = tasks.into_iter();
    while let Some(mut task) = left.next() {
        let error = tokio::select! {
            _ = &mut task => continue,
            error = interrupted() => error,
        };
        return Some((error, std::iter::once(task).chain(left).collect()));
    }
    None
}

/// Does something that must come to an end that is noted: a panic is one, too. Otherwise the run would begin it again,
/// and again, while something is held.
pub(super) async fn unbroken<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|cause| {
        Err(Error::failed("it broke off by a mistake of the program")
            .remedy("Report it, with what was printed before.")
            .because(cause))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn a_task_that_has_ended_is_not_left_to_be_waited_for_when_another_is_interrupted() {
        let may_end = CancellationToken::new();
        let told = may_end.clone();
        let tasks = vec![
            tokio::spawn(async {}),
            tokio::spawn(async move { told.cancelled().await }),
            tokio::spawn(async {}),
        ];
        // Nothing interrupts the first one; while the second is waited for something does.
        let waits = Cell::new(0);
        let interrupted = || {
            waits.set(waits.get() + 1);
            let first = waits.get() == 1;
            async move { if first { std::future::pending().await } else { "a ceiling" } }
        };
        let (why, left) = ended_early(tasks, interrupted).await.unwrap();
        assert_eq!((why, left.len()), ("a ceiling", 2));
        may_end.cancel();
        for task in left {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn tasks_that_all_end_are_not_interrupted() {
        let tasks = vec![tokio::spawn(async {}), tokio::spawn(async {})];
        assert!(ended_early(tasks, std::future::pending::<()>).await.is_none());
    }

    #[tokio::test]
    async fn a_panic_is_an_end() {
        let error = unbroken(async { if true { panic!("a mistake") } else { Ok(()) } }).await.unwrap_err();
        assert!(error.chain().contains("broke off by a mistake of the program"), "{}", error.chain());
    }
}
