//! What was measured: holds, freezes and phases, by the monotonic clock.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{hook::Moment, language::Phase, plan::Limits, units::milliseconds};

/// A hold, as measured.
#[derive(Debug, Clone, Copy)]
struct Held {
    blocks_writes: bool,
    /// The ceilings of its member.
    limits: Limits,
    since: Instant,
    until: Option<Instant>,
    acquired_at: Timestamp,
    released_at: Option<Timestamp>,
}

/// A phase, as measured. `quiesce` ends with the cut; the releases belong to `recover`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) phase: Phase,
    pub(super) started: Moment,
    pub(super) ended: Instant,
}

/// The measures of a run.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    holds: BTreeMap<String, Held>,
    others: Duration,
    phases: Vec<Measured>,
    pub(super) started_at: Timestamp,
    pub(super) cut_at: Option<Timestamp>,
    recovery_began: Option<Instant>,
    recovered: Option<Instant>,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            holds: BTreeMap::new(),
            others: Duration::ZERO,
            phases: Vec::new(),
            started_at: Timestamp::now(),
            cut_at: None,
            recovery_began: None,
            recovered: None,
        }
    }

    /// A hold is on.
    pub(super) fn held(&mut self, step: &str, blocks_writes: bool, since: Instant, limits: Limits) {
        let acquired_at = wall_clock(since);
        let held = Held { blocks_writes, limits, since, until: None, acquired_at, released_at: None };
        self.holds.insert(step.to_owned(), held);
    }

    /// A hold is off.
    pub(super) fn released(&mut self, step: &str, until: Instant) {
        if let Some(held) = self.holds.get_mut(step) {
            held.until = Some(until);
            held.released_at = Some(wall_clock(until));
        }
    }

    /// Something that is not a hold made writes wait.
    pub(super) fn froze(&mut self, duration: Duration) {
        self.others += duration;
    }

    /// Data begins to come back, or a server to start; the first time counts.
    pub(super) fn recovering(&mut self) {
        self.recovery_began.get_or_insert_with(Instant::now);
    }

    /// Data is back, or a server serves; the last time counts.
    pub(super) fn recovered(&mut self) {
        self.recovered = Some(Instant::now());
    }

    /// From the start of the restore to a database with its data back, in milliseconds.
    pub(super) fn recovery_time(&self) -> Option<u64> {
        Some(milliseconds(self.recovered?.saturating_duration_since(self.recovery_began?)))
    }

    /// A step of a phase ran in this time.
    pub(super) fn phase(&mut self, phase: Phase, started: Moment) {
        let ended = Instant::now();
        match self.phases.last_mut() {
            Some(last) if last.phase == phase => last.ended = ended,
            _ => self.phases.push(Measured { phase, started, ended }),
        }
    }

    /// The phases, in the order they ran.
    pub(super) fn phases(&self) -> &[Measured] {
        &self.phases
    }

    /// When a hold was acquired and released.
    pub(super) fn times(&self, step: &str) -> Option<(Timestamp, Option<Timestamp>)> {
        self.holds.get(step).map(|held| (held.acquired_at, held.released_at))
    }

    /// Whether writes wait for a hold, once it was acquired.
    pub(super) fn blocks_writes(&self, step: &str) -> Option<bool> {
        self.holds.get(step).map(|held| held.blocks_writes)
    }

    /// When the first write-blocking hold was acquired.
    fn frozen_since(&self) -> Option<Instant> {
        self.holds.values().filter(|held| held.blocks_writes).map(|held| held.since).min()
    }

    /// How long writes waited: from the first write-blocking hold to the last one's end, and what else made them wait.
    pub(super) fn freeze(&self) -> Duration {
        let first = self.frozen_since();
        let blocking = self.holds.values().filter(|held| held.blocks_writes);
        let last = blocking.map(|held| held.until.unwrap_or_else(Instant::now)).max();
        let held = match (first, last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        };
        held + self.others
    }

    /// Whether writes wait for a hold that is on besides this one.
    pub(super) fn others_block(&self, step: &str) -> bool {
        self.holds.iter().any(|(other, held)| other != step && held.blocks_writes && held.until.is_none())
    }

    /// When the first hold that is on reaches its ceiling, but for this one, and which ceiling that is.
    pub(super) fn ceiling(&self, but: Option<&str>) -> Option<(Instant, &'static str, Duration)> {
        let counts = |step: &str, held: &Held| held.until.is_none() && but != Some(step);
        let on = || self.holds.iter().filter(move |(step, held)| counts(step, held)).map(|(_, held)| held);
        let own = on().map(|held| {
            let (name, limit) = if held.blocks_writes {
                ("maxFreeze", held.limits.max_freeze)
            } else {
                ("maxHold", held.limits.max_hold)
            };
            (held.since + limit, name, limit)
        });
        // That of a group counts over all its members.
        let frozen = self.frozen_since().filter(|_| on().any(|held| held.blocks_writes));
        let whole = frozen.map(|since| (since + self.limits.max_freeze, "maxFreeze", self.limits.max_freeze));
        own.chain(whole).min_by_key(|(instant, ..)| *instant)
    }
}

/// When an instant was, for people: a hold's calls return later than what they report.
fn wall_clock(instant: Instant) -> Timestamp {
    let ago = jiff::SignedDuration::try_from(instant.elapsed()).unwrap_or_default();
    Timestamp::now().checked_sub(ago).unwrap_or_else(|_| Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_freeze_spans_write_blocking_holds_only() {
        let mut meter = Meter::new(Limits::default());
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        meter.held("a", true, start, Limits::default());
        meter.held("b", false, start, Limits::default());
        meter.held("c", true, after(10), Limits::default());
        meter.released("c", after(40));
        meter.released("a", after(50));
        assert_eq!(meter.freeze(), Duration::from_millis(50));
        meter.froze(Duration::from_millis(7));
        assert_eq!(meter.freeze(), Duration::from_millis(57));
    }

    #[test]
    fn the_ceiling_is_that_of_the_hold_that_reaches_it_first() {
        let mut meter = Meter::new(Limits::default());
        assert!(meter.ceiling(None).is_none());
        let start = Instant::now();
        meter.held("long", false, start, Limits::default());
        assert_eq!(meter.ceiling(None).unwrap().1, "maxHold");
        meter.held("freeze", true, start, Limits::default());
        assert_eq!(
            meter.ceiling(None).unwrap(),
            (start + Duration::from_secs(30), "maxFreeze", Duration::from_secs(30))
        );
        assert_eq!(
            meter.ceiling(Some("freeze")).unwrap().1,
            "maxHold",
            "whoever lets it go waits for it anyway"
        );
        assert!(meter.others_block("long") && !meter.others_block("freeze"));
        meter.released("freeze", start);
        assert_eq!(meter.ceiling(None).unwrap().1, "maxHold");
        assert!(!meter.others_block("long"));
    }

    #[test]
    fn the_ceiling_of_a_group_counts_from_its_first_freeze_and_each_members_own_stays() {
        let of = |seconds| Limits { max_freeze: Duration::from_secs(seconds), ..Limits::default() };
        let mut meter = Meter::new(of(10));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        meter.held("orders", true, start, of(30));
        meter.held("index", true, after(8), of(30));
        assert_eq!(meter.ceiling(None).unwrap().0, after(10));
        meter.held("strict", true, after(8), of(1));
        assert_eq!(meter.ceiling(None).unwrap().0, after(9));
        meter.released("strict", after(9));
        meter.released("orders", after(9));
        assert_eq!(
            meter.ceiling(None).unwrap().0,
            after(10),
            "one that was let go early does not stop the clock"
        );
    }
}
