//! The time of the story: everything is told since its beginning.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// When the story began, by both clocks: the writer and the runs note the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    instant: Instant,
    timestamp: Timestamp,
}

impl Clock {
    pub fn start() -> Self {
        Self { instant: Instant::now(), timestamp: Timestamp::now() }
    }

    /// How long the story has lasted.
    pub fn elapsed(&self) -> Duration {
        self.instant.elapsed()
    }

    /// A time of day as a time of the story; zero for what was before it.
    pub fn since_start(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.timestamp)).unwrap_or_default()
    }

    /// A time of the story as a time of day.
    #[cfg(test)]
    pub fn at(&self, elapsed: Duration) -> Timestamp {
        self.timestamp.saturating_add(elapsed).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_the_story_is_at_its_beginning() {
        let clock = Clock::start();
        assert_eq!(clock.since_start(Timestamp::UNIX_EPOCH), Duration::ZERO);
        assert_eq!(clock.since_start(clock.at(Duration::from_secs(3))), Duration::from_secs(3));
    }
}
