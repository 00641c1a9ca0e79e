//! How rewrites of the append-only file are held off: by a setting that tells by itself what it was before.
//!
//! `auto-aof-rewrite-min-size` is set to more bytes than any disk has, so the server never rewrites the file by
//! itself. (Percentages would not do: a file that began empty grows by any percentage.) The last thirteen digits of
//! the new value are the earlier setting, and the four before them are the run's:
//!
//! ```text
//!   4 0 1234 0000067108864
//!       run  64 MiB, as it was
//! ```
//!
//! So whoever finds it can put it right, with nothing but the value itself: the holder, the run that recovers a dead
//! one, and a person. It does not outlive the server either, unless somebody has it write its configuration down.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use standstill_core::{Error, Result};

use super::{config::Config, connect::Session};

/// The setting.
pub(super) const SETTING: &str = "auto-aof-rewrite-min-size";
/// What marks a value as ours.
const MARK: u64 = 4_000_000_000_000_000_000;
/// Beyond any earlier setting: ten terabytes.
const LIMIT: u64 = 10_000_000_000_000;
/// How many runs can be told apart.
const RUNS: u64 = 10_000;

/// A value of the setting that holds rewrites off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    run: u64,
    /// The setting as it was before, in bytes.
    pub before: u64,
}

impl Mark {
    /// That of a run.
    ///
    /// # Errors
    /// When the earlier setting is so large that it cannot be kept; rewrites never happen then anyway.
    pub fn of(run: &str, before: u64) -> Result<Self> {
        if before >= LIMIT {
            return Err(Error::input(format!("{SETTING} is {before} bytes"))
                .remedy(format!("Set it to less than ten terabytes: CONFIG SET {SETTING} 64mb.")));
        }
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        Ok(Self { run: hasher.finish() % RUNS, before })
    }

    /// Reads a value; `None` if it is no mark.
    pub const fn read(value: u64) -> Option<Self> {
        let Some(rest) = value.checked_sub(MARK) else { return None };
        if rest >= RUNS * LIMIT {
            return None;
        }
        Some(Self { run: rest / LIMIT, before: rest % LIMIT })
    }

    /// The value.
    pub const fn value(self) -> u64 {
        MARK + self.run * LIMIT + self.before
    }

    /// Whether both are of one run.
    pub const fn is_of(self, other: Self) -> bool {
        self.run == other.run
    }
}

/// The setting's value.
pub(super) async fn current(session: &Session) -> Result<u64> {
    let config = Config::of(session, &[SETTING]).await?;
    let place = session.place();
    let value = config.needed(SETTING, place)?;
    value.parse().map_err(|cause| {
        Error::failed(format!("{SETTING} of the server at {place} is `{value}`")).because(cause)
    })
}

/// Changes the setting, and reads it back.
pub(super) async fn set(session: &Session, value: u64) -> Result<()> {
    let text = value.to_string();
    let words = ["CONFIG", "SET", SETTING, &text];
    let _ok: String = session.ask(super::connect::LOOKUP, "change a setting (CONFIG SET)", &words).await?;
    if current(session).await? == value {
        return Ok(());
    }
    Err(Error::failed(format!("{SETTING} of the server at {} does not keep its value", session.place()))
        .remedy("Look for whoever else changes the server's settings."))
}

/// Puts the setting back if it is a run's mark; whether it was.
///
/// # Errors
/// When it is not known that it is no mark of that run's.
pub(super) async fn lift(session: &Session, run: &str) -> Result<bool> {
    let ours = Mark::of(run, 0)?;
    match Mark::read(current(session).await?) {
        Some(mark) if mark.is_of(ours) => set(session, mark.before).await.map(|()| true),
        _ => Ok(false),
    }
}

/// Another run's mark is there: it is at work, or it is dead, and so is its holder.
pub(super) fn foreign(mark: Mark, place: &str) -> Error {
    Error::temporary(format!("rewrites of the append-only file at {place} are held off by another run"))
        .remedy(format!(
            "If no run is at work, finish the dead one with `standstill recover`, or give: CONFIG SET {SETTING} {}.",
            mark.before
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_setting_is_read_off_the_mark_by_eye_and_by_program() {
        let mark = Mark::of("some run", 67_108_864).unwrap();
        assert!(mark.value().to_string().ends_with("0000067108864"), "{}", mark.value());
        assert_eq!(Mark::read(mark.value()), Some(mark));
        assert!(i64::try_from(mark.value()).is_ok(), "the server takes no more");
    }

    #[test]
    fn a_usual_setting_and_a_mark_of_nobody_are_no_marks() {
        for value in [0, 67_108_864, MARK - 1, MARK + RUNS * LIMIT, u64::MAX] {
            assert_eq!(Mark::read(value), None, "{value}");
        }
        assert!(Mark::of("some run", LIMIT).is_err());
    }

    #[test]
    fn marks_of_two_runs_are_told_apart() {
        let (one, other) = (Mark::of("one", 1).unwrap(), Mark::of("other", 1).unwrap());
        assert!(one.is_of(Mark::of("one", 2).unwrap()) && !one.is_of(other));
    }
}
