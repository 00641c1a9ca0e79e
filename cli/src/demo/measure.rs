//! What the writer's record says: how long it waited, and which rows must be in a restored copy.

use std::{collections::HashSet, time::Duration};

use serde::Serialize;

use super::chart::Span;

/// An order that the database acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    pub id: u64,
    /// From the start of its statement to the acknowledgement of its commit, since the beginning of the story.
    pub span: Span,
}

/// How long commits took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub commits: usize,
    pub median_microseconds: u64,
    pub p99_microseconds: u64,
    pub max_microseconds: u64,
}

impl Latency {
    /// Of these commits; all zero for none.
    fn of<'a>(commits: impl Iterator<Item = &'a Acknowledged>) -> Self {
        let mut took: Vec<u64> =
            commits.map(|order| u64::try_from(order.span.length().as_micros()).unwrap_or(u64::MAX)).collect();
        took.sort_unstable();
        // The nearest rank: a value that was measured, never one between two.
        let rank = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100).max(1);
            took.get(rank - 1).copied().unwrap_or(0)
        };
        Self {
            commits: took.len(),
            median_microseconds: rank(50),
            p99_microseconds: rank(99),
            max_microseconds: rank(100),
        }
    }
}

/// The writer's waits before, during and after the database was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    pub before: Latency,
    /// Of the commits that were on at any moment of the hold.
    pub during: Latency,
    pub after: Latency,
}

impl Latencies {
    /// Each commit belongs to one of the three.
    pub fn around(held: Span, orders: &[Acknowledged]) -> Self {
        Self {
            before: Latency::of(orders.iter().filter(|order| order.span.to < held.from)),
            during: Latency::of(orders.iter().filter(|order| order.span.overlaps(held))),
            after: Latency::of(orders.iter().filter(|order| order.span.from > held.to)),
        }
    }
}

/// The writer's rows in a restored copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// Rows that were there before the writer began.
    pub initial: u64,
    /// Rows whose commit was acknowledged to the writer in all.
    pub acknowledged: u64,
    /// Those of them that were acknowledged before the cut: they must be in the copy.
    pub acknowledged_before_cut: u64,
    /// The writer's rows in the copy. There may be one more than acknowledged: its answer was under way.
    pub found: u64,
    /// Rows that must be in the copy, and are not.
    pub missing: u64,
    /// Ids below the copy's highest that are not in it.
    pub gaps: u64,
}

impl Rows {
    /// Compares what was acknowledged with the ids found in the copy.
    pub fn compare(initial: u64, orders: &[Acknowledged], cut: Duration, found: &[u64]) -> Self {
        let ids: HashSet<u64> = found.iter().copied().collect();
        let before_cut = || orders.iter().filter(|order| order.span.to <= cut);
        let length = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let missing_initial = (1..=initial).filter(|id| !ids.contains(id)).count();
        let missing = before_cut().filter(|order| !ids.contains(&order.id)).count();
        Self {
            initial,
            acknowledged: length(orders.len()),
            acknowledged_before_cut: length(before_cut().count()),
            found: length(ids.iter().filter(|id| **id > initial).count()),
            missing: length(missing + missing_initial),
            gaps: ids.iter().max().copied().unwrap_or(0).saturating_sub(length(ids.len())),
        }
    }

    /// Whether everything that must be there is, and something had to be.
    pub const fn are_whole(&self) -> bool {
        self.missing == 0 && self.gaps == 0 && self.acknowledged_before_cut > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: u64, from: u64, to: u64) -> Acknowledged {
        Acknowledged { id, span: Span::new(Duration::from_millis(from), Duration::from_millis(to)) }
    }

    #[test]
    fn a_commit_that_waited_for_the_hold_counts_as_during_it() {
        let orders = [order(1, 0, 1), order(2, 1, 3), order(3, 3, 40), order(4, 40, 41)];
        let held = Span::new(Duration::from_millis(10), Duration::from_millis(39));
        let latencies = Latencies::around(held, &orders);
        assert_eq!(latencies.before.commits, 2);
        assert_eq!((latencies.during.commits, latencies.during.max_microseconds), (1, 37_000));
        assert_eq!((latencies.after.commits, latencies.after.median_microseconds), (1, 1_000));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let orders: Vec<_> = (1..=200).map(|took| order(took, 0, took)).collect();
        let latency = Latency::of(orders.iter());
        assert_eq!(latency.median_microseconds, 100_000);
        assert_eq!(latency.p99_microseconds, 198_000);
        assert_eq!(latency.max_microseconds, 200_000);
        assert_eq!(Latency::of(std::iter::empty()).max_microseconds, 0);
    }

    #[test]
    fn rows_acknowledged_before_the_cut_must_be_in_the_copy() {
        let orders = [order(3, 0, 1), order(4, 1, 2), order(5, 2, 9)];
        let cut = Duration::from_millis(5);
        let rows = Rows::compare(2, &orders, cut, &[1, 2, 3, 4]);
        assert!(rows.are_whole());
        assert_eq!((rows.acknowledged, rows.acknowledged_before_cut, rows.found), (3, 2, 2));
        let lost = Rows::compare(2, &orders, cut, &[1, 2, 3]);
        assert_eq!(lost.missing, 1);
        assert!(!lost.are_whole());
    }

    #[test]
    fn a_row_that_was_there_from_the_beginning_must_be_in_the_copy_too() {
        let rows = Rows::compare(2, &[order(3, 0, 1)], Duration::from_millis(5), &[2, 3]);
        assert_eq!((rows.missing, rows.gaps), (1, 1));
        assert!(!rows.are_whole());
    }

    #[test]
    fn a_gap_is_seen_even_where_nothing_was_acknowledged() {
        let rows = Rows::compare(1, &[order(2, 0, 1), order(3, 8, 9)], Duration::from_millis(5), &[1, 2, 4]);
        assert_eq!((rows.missing, rows.gaps), (0, 1));
        assert!(!rows.are_whole());
    }

    #[test]
    fn nothing_is_proven_by_no_rows() {
        assert!(!Rows::compare(0, &[], Duration::ZERO, &[]).are_whole());
    }
}
