//! Writers: they commit numbers 1, 2, 3, … as fast as they can, and know which were acknowledged, and when.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// One commit: acknowledged when this returns. `Err` ends the writer, and its test.
pub type Commit = Box<dyn FnMut(i64) -> Result<(), String> + Send>;

/// Somebody who writes.
pub struct Writer {
    commits: Arc<Mutex<Vec<Instant>>>,
    first: i64,
    /// The pause after each commit, in microseconds.
    pause: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Writer {
    /// Starts to write numbers after `last`. `open` runs on the writer's own thread.
    pub fn start(last: i64, open: impl FnOnce() -> Commit + Send + 'static) -> Self {
        let (commits, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let pause = Arc::new(AtomicU64::new(0));
        let (done, stopping, paused) = (Arc::clone(&commits), Arc::clone(&stop), Arc::clone(&pause));
        let thread = std::thread::spawn(move || {
            let mut commit = open();
            let mut number = last;
            while !stopping.load(Ordering::Relaxed) {
                number += 1;
                commit(number)?;
                done.lock().unwrap().push(Instant::now());
                match paused.load(Ordering::Relaxed) {
                    0 => {}
                    microseconds => std::thread::sleep(Duration::from_micros(microseconds)),
                }
            }
            Ok(())
        });
        let writer = Self { commits, first: last, pause, stop, thread: Some(thread) };
        writer.goes_on(Duration::from_secs(20));
        writer
    }

    /// From now on not at full rate: for tests of many minutes, in which the database must stay small.
    pub fn slow_down(&self) {
        self.pause.store(2_000, Ordering::Relaxed);
    }

    /// The last number that was acknowledged.
    pub fn acknowledged(&self) -> i64 {
        self.first + i64::try_from(self.commits.lock().unwrap().len()).unwrap()
    }

    /// Waits until a number is acknowledged whose commit began after now; says how long that took.
    #[track_caller]
    pub fn goes_on(&self, within: Duration) -> Duration {
        let (started, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < before + 2 {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the writer has ended");
            assert!(started.elapsed() < within, "nothing was committed within {within:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        started.elapsed()
    }

    /// The longest time without an acknowledged commit that ended after `since`, up to now.
    pub fn longest_stall(&self, since: Instant) -> Duration {
        self.longest_stall_between(since, Instant::now())
    }

    /// The longest time without an acknowledged commit that ended after `since` and began before `until`.
    pub fn longest_stall_between(&self, since: Instant, until: Instant) -> Duration {
        let commits = self.commits.lock().unwrap();
        let begin = commits.partition_point(|at| *at < since);
        let mut previous = commits.get(begin.wrapping_sub(1)).copied().unwrap_or(since).max(since);
        let mut longest = Duration::ZERO;
        for at in commits.iter().skip(begin).copied().chain([Instant::now()]) {
            if previous >= until {
                break;
            }
            longest = longest.max(at.saturating_duration_since(previous));
            previous = at;
        }
        longest
    }

    /// Ends it; the last number that was acknowledged.
    #[track_caller]
    pub fn stop(mut self) -> i64 {
        self.end();
        self.acknowledged()
    }

    #[track_caller]
    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(matches!(ended, Ok(Ok(()))) || std::thread::panicking(), "the writer failed: {ended:?}");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asserts that numbers are 1 to `n` without a gap, that all that were acknowledged before the cut are there, and
/// none that came after the backup was done.
#[track_caller]
pub fn assert_whole(numbers: &[i64], acknowledged_before: i64, begun_after: i64) {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let gap = sorted.iter().zip(1..).find(|(found, expected)| *found != expected);
    assert_eq!(gap, None, "there is a gap, or a number twice (found, expected), in {} numbers", sorted.len());
    let last = sorted.last().copied().unwrap_or_default();
    assert!(
        last >= acknowledged_before,
        "{acknowledged_before} was acknowledged, and {last} is the last one there"
    );
    assert!(last <= begun_after, "{last} is there, but only {begun_after} had been begun");
}
